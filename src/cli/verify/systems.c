/* SPDX-License-Identifier: MIT
 * The systems that `rosace verify` tries. A new one is a row here. Sizes are chosen for sequences of 33 and 75 keys: windows,
 * chunks and distances begin and end inside. */
#include "verify.h"

#define SEEN(is_causal, left, right) .causal = (is_causal), .window_left = (left), .window_right = (right)
#define CAUSAL .mask = {SEEN(true, -1, -1)}
#define ALL .mask = {SEEN(false, -1, -1)}
#define ROPE .struct_size = sizeof(rosace_rope_desc), .theta = 10000.0
#define SCALED(how, by, ...)                                                                                           \
    .rope = {ROPE, .scaling = {.kind = ROSACE_ROPE_SCALING_##how, .factor = (by), .beta_fast = 32.0, .beta_slow = 1.0, \
                               .low_freq_factor = 1.0, .high_freq_factor = 4.0, .exponent = 0.625, __VA_ARGS__}}

static const char several_axes[] = "attention takes one position a token: rotate q and k before";
static const char xpos[] = "attention does not rotate with xPos: rotate q and k before";
static const double longrope_short[16] = {1.0, 1.0, 1.05, 1.1, 1.1, 1.2, 1.2, 1.3, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0};
static const double longrope_long[16] = {1.1, 1.3, 1.5, 1.8, 2.2, 2.6, 3.0, 3.7, 4.5, 6.0, 8.0, 11.0, 16.0, 24.0, 40.0, 64.0};

/* clang-format off */
const verify_system verify_systems[] = {
    /* rotations */
    {"rope", "Su et al. 2021", .attention = {CAUSAL}, .rope = {ROPE}, .quick = true},
    {"rope-interleaved", "Su et al. 2021", .attention = {CAUSAL}, .rope = {ROPE, .interleaved = true}},
    {"rope-partial", "Black et al. 2022", .attention = {CAUSAL}, .rope = {ROPE, .rotary_dim = 8}},
    {"rope-inverse", "Su et al. 2021", .attention = {CAUSAL}, .rope = {ROPE, .inverse = true}},
    {"rope-linear", "Chen et al. 2023", .attention = {CAUSAL}, SCALED(LINEAR, 4.0, .share = 1.0)},
    {"rope-ntk", "bloc97 2023", .attention = {CAUSAL}, SCALED(NTK, 4.0, .share = 1.0)},
    {"rope-ntk-old", "Su 2023", .attention = {CAUSAL}, SCALED(NTK_OLD, 4.0, .share = 1.0)},
    {"rope-ntk-fixed", "Su 2023", .attention = {CAUSAL}, SCALED(NTK_FIXED, 4.0, .share = 1.0)},
    {"rope-ntk-mixed", "Su 2023", .attention = {CAUSAL}, SCALED(NTK_MIXED, 4.0, .share = 1.0)},
    {"rope-dynamic", "transformers", .attention = {CAUSAL}, SCALED(DYNAMIC, 2.0, .share = 1.0, .original_max_position = 32, .seq_len = 75)},
    {"rope-yarn", "Peng et al. 2023", .attention = {CAUSAL}, SCALED(YARN, 8.0, .share = 1.0, .original_max_position = 256)},
    {"rope-llama3", "Dubey et al. 2024", .attention = {CAUSAL}, SCALED(LLAMA3, 8.0, .share = 1.0, .original_max_position = 64)},
    {"rope-longrope", "Ding et al. 2024", .attention = {CAUSAL},
     SCALED(LONGROPE, 8.0, .share = 1.0, .original_max_position = 32, .seq_len = 75, .short_factor = longrope_short,
            .long_factor = longrope_long, .factor_count = 16)},
    {"rope-proportional", "transformers", .attention = {CAUSAL}, SCALED(PROPORTIONAL, 2.0, .share = 0.5)},
    {"rope-axes", "Wang et al. 2024", .rope = {ROPE, .axes = 3, .sections = {6, 5, 5}}, .rotate_only = several_axes},
    {"rope-axes-interleaved", "transformers", .rope = {ROPE, .axes = 3, .sections = {6, 5, 5}, .axis_order = ROSACE_ROPE_AXES_INTERLEAVED},
     .rotate_only = several_axes},
    {"rope-2d", "Heo et al. 2024", .rope = {ROPE, .axes = 2, .sections = {8, 8}, .axis_restart = true}, .rotate_only = several_axes},
    {"xpos", "Sun et al. 2022", .rope = {ROPE, .xpos_base = 512.0, .xpos_center = 40}, .rotate_only = xpos},
    {"rerope", "Su 2023", .attention = {CAUSAL, .rerope_window = 12}, .rope = {ROPE}},
    {"logn", "Su 2022", .attention = {CAUSAL, .logn_train_len = 16}},
    {"rope-logn", "Su 2022", .attention = {CAUSAL, .logn_train_len = 16}, .rope = {ROPE}},
    /* absolute positions and biases */
    {"none", "Haviv et al. 2022", .attention = {CAUSAL}, .quick = true},
    {"sinusoidal", "Vaswani et al. 2017", .sinusoidal = true, .quick = true, .rotate_only = "added to embeddings, not to scores"},
    {"shaw", "Shaw et al. 2018", .attention = {CAUSAL, .bias = ROSACE_BIAS_SHAW, .bias_max_distance = 9}},
    {"alibi", "Press et al. 2021", .attention = {CAUSAL, .bias = ROSACE_BIAS_ALIBI}, .quick = true},
    {"kerple-log", "Chi et al. 2022", .attention = {CAUSAL, .bias = ROSACE_BIAS_KERPLE_LOG}},
    {"kerple-power", "Chi et al. 2022", .attention = {CAUSAL, .bias = ROSACE_BIAS_KERPLE_POWER}},
    {"sandwich", "Chi et al. 2023", .attention = {CAUSAL, .bias = ROSACE_BIAS_SANDWICH, .bias_width = 128}},
    {"t5", "Raffel et al. 2020", .attention = {CAUSAL, .bias = ROSACE_BIAS_T5, .bias_buckets = 8, .bias_max_distance = 20, .bias_causal = true}},
    {"t5-encoder", "Raffel et al. 2020", .attention = {ALL, .bias = ROSACE_BIAS_T5, .bias_buckets = 8, .bias_max_distance = 20}},
    {"table", "a table of the caller's", .attention = {ALL, .bias = ROSACE_BIAS_TABLE, .bias_max_distance = 20}},
    /* masks */
    {"all", "Vaswani et al. 2017", .attention = {ALL}},
    {"window", "Beltagy et al. 2020", .attention = {.mask = {SEEN(true, 9, -1)}}, .quick = true},
    {"window-both", "Beltagy et al. 2020", .attention = {.mask = {SEEN(false, 9, 5)}}},
    {"sinks", "Xiao et al. 2023", .attention = {.mask = {SEEN(true, 9, -1), .sinks = 4}}},
    {"prefix", "Raffel et al. 2020", .attention = {.mask = {SEEN(true, -1, -1), .prefix = 21}}},
    {"chunk", "Llama 4 2025", .attention = {.mask = {SEEN(true, -1, -1), .chunk = 16}}},
    {"chunk-blockwise", "Sun et al. 2022", .attention = {.mask = {SEEN(true, -1, -1), .chunk = 16, .chunk_back = 1}}},
    {"mask-mixed", "all of them at once", .attention = {.mask = {SEEN(true, 25, -1), .sinks = 3, .prefix = 8, .chunk = 20, .chunk_back = 1}}},
    {"rope-window-sinks", "Han et al. 2023", .attention = {.mask = {SEEN(true, 9, -1), .sinks = 4}, .rerope_window = 10}, .rope = {ROPE}},
    {"alibi-window", "Press et al. 2021", .attention = {.mask = {SEEN(true, 9, -1)}, .bias = ROSACE_BIAS_ALIBI}},
    /* attention */
    {"heads", "Vaswani et al. 2017", .attention = {CAUSAL}, .kv_heads = 4},
    {"one-kv-head", "Shazeer 2019", .attention = {CAUSAL}, .kv_heads = 1},
    {"scale", "Raffel et al. 2020", .attention = {CAUSAL, .scale = 1.0f}},
    {"softcap", "Gemma Team 2024", .attention = {CAUSAL, .softcap = 2.0f}, .quick = true},
    {"softcap-window", "Gemma Team 2024", .attention = {.mask = {SEEN(true, 9, -1)}, .softcap = 2.0f}},
    {"sink-logits", "OpenAI 2025", .attention = {.mask = {SEEN(true, 9, -1)}, .sink_logits = true}},
    {.name = NULL},
};
/* clang-format on */
