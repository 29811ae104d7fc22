/* SPDX-License-Identifier: MIT
 * The position systems a model can be evaluated under: what is changed over the model as trained. One table has them
 * all; a new system is a row in it. */
#ifndef ROSACE_CLI_POSITIONS_H
#define ROSACE_CLI_POSITIONS_H

#include "model.h"

typedef struct position_system {
    const char *name;
    unsigned kinds;                   /* position_kind bits of the models it fits */
    bool window;                      /* window_left = settings.window */
    bool sinks;                       /* and the first settings.sinks keys stay visible */
    bool block;                       /* blockwise causal, blocks of settings.block */
    bool rerope;                      /* distances from settings.rerope_window on look alike */
    bool logn;                        /* queries scaled with the logarithm of their position */
    rosace_rope_scaling_kind scaling; /* by factor = length / training length */
    const char *about;
    bool leaky;                       /* with rerope: distances from there on grow settings.rerope_leak times slower */
} position_system;

enum { POSITION_MAX_SYSTEMS = 32 };

/* Ends with a NULL name. */
extern const position_system position_systems[];

/* Sizes that systems share; -1 asks for the default, which depends on the training length L. */
typedef struct position_settings {
    int64_t window;        /* (default L - 1) */
    int64_t sinks;         /* (default 4) */
    int64_t block;         /* (default L / 2) */
    int64_t rerope_window; /* (default 3 L / 4; W beside a window) */
    int64_t rerope_leak;   /* (default 16) */
} position_settings;

const position_system *position_find(const char *name);

/* True when the system can be laid over a model of this configuration. */
bool position_fits(const position_system *system, const model_config *config);

/* Defaults replaced; what the system does not use becomes -1. */
position_settings position_resolve(const position_system *system, const position_settings *settings,
                                   const model_config *config);

/* "window 127 sinks 4", from resolved settings */
void position_label(const position_system *system, const position_settings *settings, char *out, size_t bytes);

/* The attention of a model under a system, for calls of `batch` rows of `length` tokens. Settings are resolved ones. Layers with
 * a window of their own keep it, or take the system's where that is narrower; nothing else of a system changes them.
 * position_plans_free copes with what is there when it fails. */
bool position_plans(rosace_context *context, const position_system *system, const position_settings *settings,
                    const model_config *config, size_t batch, int64_t length, rosace_attention_path path, attention_plans *out);
void position_plans_free(attention_plans *plans);

/* The variants that run: one name, or those of both kinds of layers with " + " between them. */
void position_variant(const attention_plans *plans, char *out, size_t bytes);

#endif
