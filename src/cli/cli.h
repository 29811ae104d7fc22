/* SPDX-License-Identifier: MIT
 * What the parts of the rosace program share: its commands, one way to fail, and reading of arguments. */
#ifndef ROSACE_CLI_H
#define ROSACE_CLI_H

#include <popt.h>
#include <rosace/rosace.h>

#if defined(__GNUC__)
#define CLI_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define CLI_PRINTF(f, a)
#endif

/* Exit statuses of the program. */
enum { CLI_OK = 0, CLI_FAILURE = 1, CLI_USAGE = 2 };

/* One command: argv[0] is "rosace NAME". Returns the exit status. */
int cmd_bench(int argc, const char **argv);
int cmd_devices(int argc, const char **argv);
int cmd_eval(int argc, const char **argv);
int cmd_tune(int argc, const char **argv);
int cmd_verify(int argc, const char **argv);

/* Prints "rosace: <text>" on the standard error and returns false, so that a check reads `return cli_fail(...)`. */
bool cli_fail(const char *format, ...) CLI_PRINTF(1, 2);
/* The same with ": " and rosace_last_error() behind it. */
bool cli_fail_rosace(const char *format, ...) CLI_PRINTF(1, 2);
/* "<text>: OpenCL error -5" */
bool cli_fail_cl(cl_int code, const char *format, ...) CLI_PRINTF(2, 3);

/* malloc of count * size, zeroed, that says so when there is none. */
void *cli_calloc(size_t count, size_t size);

/* ---- Arguments --------------------------------------------------------------------------------------------------- */

/* A command's help: what it does, its options, an example. */
typedef struct cli_command {
    const char *arguments; /* after the options in the usage line */
    const char *intro;
    const char *closing;
} cli_command;

/* Runs popt over the options (all of them store; none has a value to return). CLI_OK: go on; `*parsed` holds the other
 * arguments and is to be freed by poptFreeContext. CLI_USAGE: said what is wrong. -1: help was printed, end well. */
int cli_parse(const cli_command *command, const struct poptOption *options, int argc, const char **argv,
              poptContext *parsed);

/* A whole number in [least, most], nothing behind it. `option` is named in the error. */
bool cli_parse_integer(const char *option, const char *text, int64_t least, int64_t most, int64_t *out);

/* "128, 256,512" -> sorted ascending, no duplicates; *out is freed by the caller. */
bool cli_parse_lengths(const char *option, const char *text, int64_t **out, size_t *count);

/* The command line as a shell would take it again; freed by the caller. */
char *cli_command_line(int argc, const char **argv);

#endif
