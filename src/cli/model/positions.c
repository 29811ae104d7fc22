/* SPDX-License-Identifier: MIT */
#include "positions.h"

#include <stdio.h>
#include <string.h>

enum { ANY = POSITION_ROPE | POSITION_SINUSOIDAL | POSITION_ALIBI | POSITION_SHAW };
#define PI ROSACE_ROPE_SCALING_LINEAR
#define NTK ROSACE_ROPE_SCALING_NTK
#define YARN ROSACE_ROPE_SCALING_YARN

/* clang-format off */
const position_system position_systems[] = {
    /* name                fits                 window sinks  block  rerope logn   scaling */
    {"rope",                POSITION_ROPE,       false, false, false, false, false, 0,
     "rotary embedding as trained"},
    {"alibi",               POSITION_ALIBI,      false, false, false, false, false, 0,
     "linear biases as trained"},
    {"sinusoidal",          POSITION_SINUSOIDAL, false, false, false, false, false, 0,
     "sinusoidal table as trained"},
    {"shaw",                POSITION_SHAW,       false, false, false, false, false, 0,
     "clipped relative positions as trained"},
    {"window",              ANY,                 true,  false, false, false, false, 0,
     "only the last W keys before a query are visible"},
    {"window+sinks",        POSITION_ROPE,       true,  true,  false, false, false, 0,
     "and the first S keys, at their own places"},
    {"window+sinks+rerope", POSITION_ROPE,       true,  true,  false, true,  false, 0,
     "and the first S keys, never further off than W (LM-Infinite)"},
    {"bca",                 POSITION_ROPE,       false, false, true,  false, false, 0,
     "blockwise causal: the query's block of C keys and the one before"},
    {"rerope",              POSITION_ROPE,       false, false, false, true,  false, 0,
     "distances beyond a window look alike (ReRoPE)"},
    {"pi",                  POSITION_ROPE,       false, false, false, false, false, PI,
     "position interpolation by length / L"},
    {"ntk",                 POSITION_ROPE,       false, false, false, false, false, NTK,
     "NTK-aware base by length / L"},
    {"yarn",                POSITION_ROPE,       false, false, false, false, false, YARN,
     "YaRN by length / L"},
    {"logn",                POSITION_ROPE,       false, false, false, false, true,  0,
     "queries scaled by log(position) / log(L)"},
    {"window+logn",         POSITION_ROPE,       true,  false, false, false, true,  0,
     "window and log-n together"},
    {NULL, 0, false, false, false, false, false, 0, NULL},
};
/* clang-format on */

const position_system *position_find(const char *name) {
    for (const position_system *system = position_systems; system->name; system++)
        if (!strcmp(system->name, name)) return system;
    return NULL;
}

bool position_fits(const position_system *system, const model_config *config) {
    if (!(system->kinds & (unsigned)config->position)) return false;
    /* A scaling replaces the model's own, so it is for models without one. */
    return !system->scaling || config->rope.scaling.kind == ROSACE_ROPE_SCALING_NONE;
}

static int64_t either(bool used, int64_t value, int64_t fallback) {
    if (!used) return -1;
    return value >= 0 ? value : fallback;
}

position_settings position_resolve(const position_system *system, const position_settings *settings,
                                   const model_config *config) {
    const int64_t length = config->train_length;
    const int64_t window = either(system->window, settings->window, length - 1);
    return (position_settings){
        .window = window,
        .sinks = either(system->sinks, settings->sinks, 4),
        .block = either(system->block, settings->block, length / 2),
        .rerope_window = either(system->rerope, settings->rerope_window,
                                system->window ? (window > 1 ? window : 1) : length - length / 4),
    };
}

void position_label(const position_system *system, const position_settings *settings, char *out, size_t bytes) {
    const long long window = settings->window, sinks = settings->sinks, block = settings->block;
    const long long rerope = settings->rerope_window;
    if (system->sinks && system->rerope && rerope == window)
        snprintf(out, bytes, "window %lld + %lld sinks, capped", window, sinks);
    else if (system->sinks && system->rerope)
        snprintf(out, bytes, "window %lld + %lld sinks, capped %lld", window, sinks, rerope);
    else if (system->sinks)
        snprintf(out, bytes, "window %lld + %lld sinks", window, sinks);
    else if (system->window && system->logn)
        snprintf(out, bytes, "window %lld + log-n", window);
    else if (system->window)
        snprintf(out, bytes, "window %lld", window);
    else if (system->block)
        snprintf(out, bytes, "blockwise %lld", block);
    else if (system->rerope)
        snprintf(out, bytes, "ReRoPE %lld", rerope);
    else if (system->scaling == PI)
        snprintf(out, bytes, "interpolation");
    else if (system->scaling == NTK)
        snprintf(out, bytes, "NTK-aware");
    else if (system->scaling == YARN)
        snprintf(out, bytes, "YaRN");
    else if (system->logn)
        snprintf(out, bytes, "log-n");
    else
        snprintf(out, bytes, "as trained");
}

void position_describe(const position_system *system, const position_settings *settings, const model_config *config,
                       int64_t length, rosace_rope_desc *rope, rosace_attention_desc *desc) {
    *desc = (rosace_attention_desc)ROSACE_ATTENTION_DESC_DEFAULT;
    desc->n_heads = config->heads;
    desc->n_kv_heads = config->kv_heads;
    desc->head_dim = config->head_dim;
    desc->mask.causal = true;
    if (system->window) desc->mask.window_left = settings->window;
    if (system->sinks) desc->mask.sinks = settings->sinks;
    if (system->block) {
        desc->mask.chunk = settings->block;
        desc->mask.chunk_back = 1;
    }
    if (system->rerope) desc->rerope_window = settings->rerope_window;
    if (system->logn) desc->logn_train_len = config->train_length;

    if (config->position == POSITION_ALIBI) desc->bias = ROSACE_BIAS_ALIBI;
    if (config->position == POSITION_SHAW) {
        desc->bias = ROSACE_BIAS_SHAW;
        desc->bias_max_distance = config->shaw_max_distance;
    }
    if (config->position != POSITION_ROPE) return;
    *rope = config->rope;
    rope->scaling.seq_len = length;
    if (system->scaling && length > config->train_length) {
        rope->scaling.kind = system->scaling;
        rope->scaling.factor = (double)length / (double)config->train_length;
        rope->scaling.original_max_position = config->train_length;
    }
    desc->rope = rope;
}
