/* SPDX-License-Identifier: MIT
 * The command line of rosace eval. */
#ifndef ROSACE_CLI_EVAL_OPTIONS_H
#define ROSACE_CLI_EVAL_OPTIONS_H

#include "cli.h"
#include "model/positions.h"

typedef struct eval_options {
    char **folders; /* of the models, without slashes at their ends */
    size_t n_folders;
    char *text, *tokens; /* files; NULL: not given */
    int64_t *lengths;    /* ascending; n_lengths 0: not given */
    size_t n_lengths;
    int64_t longest;                                      /* 0: not given */
    const position_system *systems[POSITION_MAX_SYSTEMS]; /* n_systems 0: all */
    size_t n_systems;
    position_settings settings;
    size_t windows, last;
    int64_t mask_token; /* -1: not given */
    rosace_attention_path path;
    char *device, *json, *html; /* NULL: not given */
    bool verbose;
    char *command_line; /* as a shell would take it again */
} eval_options;

/* CLI_OK; CLI_USAGE after saying what is wrong; -1 when help was printed. Free in any case. */
int eval_options_parse(eval_options *out, int argc, const char **argv);
void eval_options_free(eval_options *options);

#endif
