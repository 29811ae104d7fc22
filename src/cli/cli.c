/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool cli_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("rosace: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return false;
}

bool cli_fail_rosace(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("rosace: ", stderr);
    vfprintf(stderr, format, args);
    fprintf(stderr, ": %s\n", rosace_last_error());
    va_end(args);
    return false;
}

bool cli_fail_cl(cl_int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("rosace: ", stderr);
    vfprintf(stderr, format, args);
    fprintf(stderr, ": OpenCL error %d\n", (int)code);
    va_end(args);
    return false;
}

void *cli_calloc(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size ? size : 1);
    if (!memory) cli_fail("out of memory (%zu x %zu bytes)", count, size);
    return memory;
}

static void print_help(const cli_command *command, poptContext context) {
    printf("%s\n\n", command->intro);
    fflush(stdout);
    poptPrintHelp(context, stdout, 0);
    printf("\n%s\n", command->closing);
}

int cli_parse(const cli_command *command, const struct poptOption *options, int argc, const char **argv,
              poptContext *parsed) {
    int help = 0;
    const struct poptOption table[] = {
        {NULL, '\0', POPT_ARG_INCLUDE_TABLE, (void *)(uintptr_t)options, 0, "Options:", NULL},
        {"help", 'h', POPT_ARG_NONE, &help, 0, "print this and end", NULL},
        POPT_TABLEEND,
    };
    poptContext context = poptGetContext("rosace", argc, argv, table, 0);
    *parsed = NULL;
    if (!context) {
        cli_fail("out of memory");
        return CLI_USAGE;
    }
    poptSetOtherOptionHelp(context, command->arguments);

    const int code = poptGetNextOpt(context);
    if (code < -1) {
        cli_fail("%s: %s (see %s --help)", poptBadOption(context, 0), poptStrerror(code), argv[0]);
        poptFreeContext(context);
        return CLI_USAGE;
    }
    if (help) {
        print_help(command, context);
        poptFreeContext(context);
        return -1;
    }
    *parsed = context;
    return CLI_OK;
}

bool cli_parse_integer(const char *option, const char *text, int64_t least, int64_t most, int64_t *out) {
    char *end = NULL;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < least || value > most)
        return cli_fail("%s %s: must be a whole number from %lld to %lld", option, *text ? text : "''",
                        (long long)least, (long long)most);
    *out = value;
    return true;
}

static int compare_lengths(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

bool cli_parse_lengths(const char *option, const char *text, int64_t **out, size_t *count) {
    size_t capacity = 1;
    for (const char *c = text; *c; c++)
        capacity += *c == ',';
    int64_t *lengths = cli_calloc(capacity, sizeof *lengths);
    char *copy = cli_calloc(strlen(text) + 1, 1);
    bool ok = lengths && copy;
    size_t n = 0;
    if (ok) strcpy(copy, text);
    for (char *item = copy; ok && item;) {
        char *next = strchr(item, ',');
        if (next) *next++ = '\0';
        item += strspn(item, " ");
        ok = cli_parse_integer(option, item, 1, 1 << 24, &lengths[n++]);
        item = next;
    }
    free(copy);
    if (!ok) {
        free(lengths);
        return false;
    }
    qsort(lengths, n, sizeof *lengths, compare_lengths);
    *count = 1;
    for (size_t i = 1; i < n; i++)
        if (lengths[i] != lengths[*count - 1]) lengths[(*count)++] = lengths[i];
    *out = lengths;
    return true;
}

char *cli_command_line(int argc, const char **argv) {
    size_t bytes = 1;
    for (int i = 0; i < argc; i++)
        bytes += strlen(argv[i]) * 4 + 3;
    char *out = cli_calloc(bytes, 1), *at = out;
    for (int i = 0; out && i < argc; i++) {
        const bool plain = *argv[i] && (i == 0 || !strpbrk(argv[i], " \t\n'\"\\$&;|<>()*?[]{}~#!`"));
        if (i) *at++ = ' ';
        if (!plain) *at++ = '\'';
        for (const char *c = argv[i]; *c; c++) {
            if (!plain && *c == '\'')
                at += sprintf(at, "'\\''");
            else
                *at++ = *c;
        }
        if (!plain) *at++ = '\'';
    }
    return out;
}
