/* SPDX-License-Identifier: MIT
 * Logits of small models of every architecture against those of transformers (tests/golden/models.py). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "src/cli/model/positions.h"

/* Of the largest logit. Both sides sum in fp32, over up to two layers: 2e-6 was seen. */
static const double relative = 5e-5;

START_TEST(logits_as_in_transformers)
{
    rosace_context *context = harness_context();
    for (const golden_case *c = golden_read("models.txt"); c; c = c->next) {
        harness_case("%s", c->name);
        const size_t batch = (size_t)golden_number(c, "batch", 0), length = (size_t)golden_number(c, "length", 0);
        const size_t vocab = (size_t)golden_number(c, "vocab", 0), count = batch * length * vocab;
        const int32_t *ids = golden_int32(c, "ids", batch * length);
        const double *expected = golden_values(c, "logits", count);
        float *logits = harness_alloc(count, sizeof *logits);
        char folder[512];
        snprintf(folder, sizeof folder, "%s/models/%s", GOLDEN_DIR, c->name);

        language_model *model;
        attention_plans plans;
        ck_assert_msg(model_load(context, harness_queue(), folder, &model), "%s cannot be loaded", c->name);
        const model_config *config = model_get_config(model);
        ck_assert_uint_eq(config->vocab, vocab);
        const position_system *system = position_find(position_kind_name(config->position));
        const position_settings settings = position_resolve(system, &(position_settings){-1, -1, -1, -1, -1}, config);
        ck_assert(position_plans(context, system, &settings, config, batch, (int64_t)length, ROSACE_PATH_AUTO, &plans));
        ck_assert(model_logits(model, &plans, ids, batch, length, logits));
        position_plans_free(&plans);
        model_free(&model);

        double largest = 0, worst = 0;
        for (size_t i = 0; i < count; i++) {
            largest = fmax(largest, fabs(expected[i]));
            worst = fmax(worst, fabs(logits[i] - expected[i]));
            ck_assert_msg(isfinite(logits[i]), "%s: logit %zu is not finite", c->name, i);
        }
        printf("%-22s largest error %.1e of %.2f\n", c->name, worst, largest);
        ck_assert_msg(largest > 1, "%s: logits up to %g say nothing", c->name, largest);
        ck_assert_msg(worst <= relative * largest, "%s: logits are off by %g of %g", c->name, worst, largest);
    }
}
END_TEST

HARNESS_DEVICE_SUITE("models", logits_as_in_transformers)
