/* SPDX-License-Identifier: MIT
 * The measurement itself: which windows of a text, how they are batched, what is averaged. */
#ifndef ROSACE_CLI_EVALUATE_H
#define ROSACE_CLI_EVALUATE_H

#include "model/model.h"
#include "model/positions.h"
#include "report.h"
#include "text.h"

/* Of the lengths N to evaluate the largest is `longest`. Window i ends before token
 *
 *     e_i = longest + 1 + floor(i (T - longest - 1) / (windows - 1))        e_0 = T when there is one window
 *
 * of the T tokens, whatever N is, so that every length predicts the same last tokens: inputs are tokens e_i - 1 - N ..
 * e_i - 2, targets tokens e_i - N .. e_i - 1. A bidirectional model, which sees what comes after, predicts every eighth token
 * instead, the last of each eight, from inputs where `mask_token` stands in its place. */
typedef struct evaluation {
    rosace_context *context;
    const token_text *text;
    size_t windows, last;
    int64_t longest;
    rosace_attention_path path;
    double bits_scale;   /* figures are nats times this */
    int32_t mask_token;  /* for bidirectional models */
    size_t batch_tokens; /* windows are run together up to so many tokens */
} evaluation;

/* Called between batches with what is done of the length. */
typedef void (*evaluation_progress)(void *user, size_t tokens, double seconds);

/* One length of one system; `variant` gets the name of the attention that ran. Settings are resolved ones. */
bool evaluate(const evaluation *evaluation, language_model *model, const position_system *system,
              const position_settings *settings, int64_t length, evaluation_progress progress, void *user,
              report_figure *out, char *variant, size_t variant_bytes);

#endif
