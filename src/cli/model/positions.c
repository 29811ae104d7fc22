/* SPDX-License-Identifier: MIT */
#include "positions.h"

#include <stdio.h>
#include <string.h>

#include "../cli.h"

/* HWFA has windows where it can have them. */
enum {
    ANY = POSITION_ROPE | POSITION_SINUSOIDAL | POSITION_ALIBI | POSITION_SHAW | POSITION_XPOS | POSITION_KERPLE |
          POSITION_SANDWICH
};
#define PI ROSACE_ROPE_SCALING_LINEAR
#define NTK ROSACE_ROPE_SCALING_NTK
#define YARN ROSACE_ROPE_SCALING_YARN

/* clang-format off */
const position_system position_systems[] = {
    /* name                fits                 window sinks  block  rerope logn   scaling */
    {"rope",                POSITION_ROPE,       false, false, false, false, false, 0,
     "rotary embedding as trained", false},
    {"alibi",               POSITION_ALIBI,      false, false, false, false, false, 0,
     "linear biases as trained", false},
    {"sinusoidal",          POSITION_SINUSOIDAL, false, false, false, false, false, 0,
     "sinusoidal table as trained", false},
    {"shaw",                POSITION_SHAW,       false, false, false, false, false, 0,
     "clipped relative positions as trained", false},
    {"xpos",                POSITION_XPOS,       false, false, false, false, false, 0,
     "rotary embedding and scores that fall with the distance, as trained", false},
    {"kerple",              POSITION_KERPLE,     false, false, false, false, false, 0,
     "learned logarithmic biases as trained", false},
    {"sandwich",            POSITION_SANDWICH,   false, false, false, false, false, 0,
     "products of sinusoids as biases, as trained", false},
    {"hwfa",                POSITION_HWFA,       false, false, false, false, false, 0,
     "windows, and a last layer that sees all, as trained", false},
    {"window",              ANY,                 true,  false, false, false, false, 0,
     "only the last W keys before a query are visible", false},
    {"window+sinks",        POSITION_ROPE,       true,  true,  false, false, false, 0,
     "and the first S keys, at their own places", false},
    {"window+sinks+rerope", POSITION_ROPE,       true,  true,  false, true,  false, 0,
     "and the first S keys, never further off than W (LM-Infinite)", false},
    {"bca",                 POSITION_ROPE,       false, false, true,  false, false, 0,
     "blockwise causal: the query's block of C keys and the one before", false},
    {"rerope",              POSITION_ROPE,       false, false, false, true,  false, 0,
     "distances beyond a window look alike (ReRoPE)", false},
    {"leaky-rerope",        POSITION_ROPE,       false, false, false, true,  false, 0,
     "distances beyond a window grow K times slower (Leaky ReRoPE)", true},
    {"pi",                  POSITION_ROPE,       false, false, false, false, false, PI,
     "position interpolation by length / L", false},
    {"ntk",                 POSITION_ROPE,       false, false, false, false, false, NTK,
     "NTK-aware base by length / L", false},
    {"yarn",                POSITION_ROPE,       false, false, false, false, false, YARN,
     "YaRN by length / L", false},
    {"logn",                POSITION_ROPE,       false, false, false, false, true,  0,
     "queries scaled by log(position) / log(L)", false},
    {"window+logn",         POSITION_ROPE,       true,  false, false, false, true,  0,
     "window and log-n together", false},
    {NULL, 0, false, false, false, false, false, 0, NULL, false},
};
/* clang-format on */

const position_system *position_find(const char *name) {
    for (const position_system *system = position_systems; system->name; system++)
        if (!strcmp(system->name, name)) return system;
    return NULL;
}

bool position_fits(const position_system *system, const model_config *config) {
    if (!(system->kinds & (unsigned)config->position)) return false;
    if (config->bidirectional && (system->sinks || system->block || system->rerope)) return false;
    /* A scaling replaces the model's own, so it is for models without one. */
    return !system->scaling || config->kinds[ATTENTION_FULL].rope.scaling.kind == ROSACE_ROPE_SCALING_NONE;
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
        .rerope_leak = either(system->leaky, settings->rerope_leak, 16),
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
    else if (system->leaky)
        snprintf(out, bytes, "leaky ReRoPE %lld, 1/%lld", rerope, (long long)settings->rerope_leak);
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

/* ---- Attention --------------------------------------------------------------------------------------------------- */

static void describe_mask(const position_system *system, const position_settings *settings, const model_config *config,
                          const attention_kind *kind, rosace_mask *mask) {
    int64_t window = kind->window;
    if (system->window && (window < 0 || settings->window < window)) window = settings->window;
    mask->causal = !config->bidirectional;
    mask->window_left = window;
    if (config->bidirectional) mask->window_right = window;
    if (kind->window >= 0) return;
    if (system->sinks) mask->sinks = settings->sinks;
    if (system->block) {
        mask->chunk = settings->block;
        mask->chunk_back = 1;
    }
}

static void describe_bias(const model_config *config, rosace_attention_desc *desc) {
    switch (config->position) {
    case POSITION_ALIBI:
        desc->bias = ROSACE_BIAS_ALIBI;
        break;
    case POSITION_SHAW:
        desc->bias = ROSACE_BIAS_SHAW;
        desc->bias_max_distance = config->shaw_max_distance;
        break;
    case POSITION_KERPLE:
        desc->bias = ROSACE_BIAS_KERPLE_LOG;
        break;
    case POSITION_SANDWICH:
        desc->bias = ROSACE_BIAS_SANDWICH;
        desc->bias_width = config->sandwich_width;
        break;
    default:
        break;
    }
}

static rosace_rope_desc describe_rope(const position_system *system, const model_config *config, const attention_kind *kind,
                                      int64_t length) {
    rosace_rope_desc rope = kind->rope;
    rope.scaling.seq_len = length;
    rope.xpos_center = rope.xpos_base > 0.0 ? length / 2 : 0;
    if (system->scaling && kind->window < 0 && length > config->train_length) {
        rope.scaling.kind = system->scaling;
        rope.scaling.factor = (double)length / (double)config->train_length;
        rope.scaling.original_max_position = config->train_length;
    }
    return rope;
}

static bool make_plan(rosace_context *context, const position_system *system, const position_settings *settings,
                      const model_config *config, size_t index, size_t batch, int64_t length, rosace_attention_path path,
                      attention_plans *out) {
    const attention_kind *kind = &config->kinds[index];
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = config->heads;
    desc.n_kv_heads = config->kv_heads;
    desc.head_dim = config->head_dim;
    desc.scale = config->attention_scale;
    desc.softcap = config->score_softcap;
    describe_mask(system, settings, config, kind, &desc.mask);
    desc.sink_logits = config->sinks;
    describe_bias(config, &desc);
    if (system->rerope && kind->window < 0) desc.rerope_window = settings->rerope_window;
    if (system->leaky && kind->window < 0) desc.rerope_leak = (double)settings->rerope_leak;
    if ((system->logn && kind->window < 0) || kind->logn) desc.logn_train_len = config->train_length;

    rosace_rope_desc rope = describe_rope(system, config, kind, length);
    if (kind->rotates && config->position == POSITION_XPOS)
        out->rope[index] = rope; /* attention does not know of xPos: queries and keys are rotated before it */
    else if (kind->rotates)
        desc.rope = &rope;
    desc.path = path;
    desc.max_batch = batch;
    desc.max_seq_q = desc.max_seq_k = (size_t)length;
    return !rosace_attention_plan_create(context, &desc, &out->plan[index]) ||
           cli_fail_rosace("%s at length %lld", system->name, (long long)length);
}

bool position_plans(rosace_context *context, const position_system *system, const position_settings *settings,
                    const model_config *config, size_t batch, int64_t length, rosace_attention_path path, attention_plans *out) {
    memset(out, 0, sizeof *out);
    for (size_t kind = 0; kind < ATTENTION_KINDS; kind++)
        if (config_has_kind(config, kind) &&
            !make_plan(context, system, settings, config, kind, batch, length, path, out))
            return false;
    return true;
}

void position_plans_free(attention_plans *plans) {
    for (size_t kind = 0; kind < ATTENTION_KINDS; kind++)
        rosace_attention_plan_destroy(&plans->plan[kind]);
}

void position_variant(const attention_plans *plans, char *out, size_t bytes) {
    const char *names[ATTENTION_KINDS];
    size_t n = 0;
    for (size_t kind = 0; kind < ATTENTION_KINDS; kind++)
        if (plans->plan[kind]) names[n++] = rosace_attention_plan_variant(plans->plan[kind]);
    if (n == 2 && strcmp(names[0], names[1]))
        snprintf(out, bytes, "%s + %s", names[0], names[1]);
    else
        snprintf(out, bytes, "%s", n ? names[0] : "");
}
