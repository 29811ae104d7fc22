/* SPDX-License-Identifier: MIT
 * The rosace program: a table of commands. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

static int cmd_help(int argc, const char **argv);
static int cmd_version(int argc, const char **argv);

static const struct {
    const char *name, *title; /* argv[0] of the command */
    int (*run)(int argc, const char **argv);
    const char *about;
} commands[] = {
    {"bench", "rosace bench", cmd_bench, "measure the operations on a device, against the limits of that device"},
    {"devices", "rosace devices", cmd_devices, "list the OpenCL devices of this machine and what each can do"},
    {"eval", "rosace eval", cmd_eval, "measure a language model at growing lengths under each position system"},
    {"help", "rosace help", cmd_help, "print this, or the help of a command"},
    {"tune", "rosace tune", cmd_tune, "measure which kernels are the fastest on a device, and remember it"},
    {"verify", "rosace verify", cmd_verify, "compare every operation on a device with a reference in double precision"},
    {"version", "rosace version", cmd_version, "print the version"},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static int run_command(const char *name, int argc, const char **argv) {
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i].name)) continue;
        argv[0] = commands[i].title;
        return commands[i].run(argc, argv);
    }
    cli_fail("unknown command '%s' (see rosace help)", name);
    return CLI_USAGE;
}

static void print_overview(FILE *file) {
    fputs("rosace: rotary position embedding and local-window attention on every OpenCL device\n\n"
          "Usage: rosace COMMAND [OPTION...]\n\n"
          "Commands:\n",
          file);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(file, "  %-9s %s\n", commands[i].name, commands[i].about);
    fputs("\nrosace COMMAND --help describes a command. The environment variable ROSACE_DEVICE chooses the device\n"
          "where no --device does, e.g. ROSACE_DEVICE=gpu; rosace devices shows what there is to choose from.\n",
          file);
}

static int cmd_help(int argc, const char **argv) {
    if (argc < 2) {
        print_overview(stdout);
        return CLI_OK;
    }
    const char *help[] = {NULL, "--help", NULL};
    return strcmp(argv[1], "help") ? run_command(argv[1], 2, help) : (print_overview(stdout), CLI_OK);
}

static int cmd_version(int argc, const char **argv) {
    if (argc > 1 && strcmp(argv[1], "--help")) {
        cli_fail("version: unexpected argument '%s'", argv[1]);
        return CLI_USAGE;
    }
    printf("rosace %s\n", rosace_version());
    return CLI_OK;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) return cmd_help(1, NULL);
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) return cmd_version(1, NULL);
    const int status = run_command(argv[1], argc - 1, (const char **)argv + 1);
    if (fflush(stdout) || ferror(stdout)) {
        cli_fail("cannot write to the standard output");
        return CLI_FAILURE;
    }
    return status;
}
