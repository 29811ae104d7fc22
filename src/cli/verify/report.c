/* SPDX-License-Identifier: MIT
 * The cells as lines for people, and as JSON. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../report.h"
#include "verify.h"

static const char *const outcome_names[] = {"passed", "failed", "declined"};

void verify_print_header(unsigned dtypes)
{
    printf("%-22s %-7s %-8s", "system", "path", "way");
    for (rosace_dtype d = ROSACE_F32; d < VERIFY_DTYPES; d++)
        if (dtypes >> d & 1) printf(" | %4s max abs      ulp  of bound", rosace_dtype_name(d));
    putchar('\n');
}

static void print_failure(const verify_cell *cell)
{
    if (*cell->reason) {
        printf("    FAILED %s: %s\n", rosace_dtype_name(cell->dtype), cell->reason);
        return;
    }
    const bool lse = cell->out.share <= 1.0;
    const verify_error *e = lse ? &cell->lse : &cell->out;
    printf("    FAILED %s: a %s is %.9g, the reference has %.9g, allowed error %.3g (%s)\n", rosace_dtype_name(cell->dtype),
           lse ? "log-sum-exp" : "result", e->got, e->expected, e->allowed, *cell->variant ? cell->variant : "rotation");
}

void verify_print_row(const verify_cell *cells, size_t count)
{
    bool declined = true;
    for (size_t i = 0; i < count; i++)
        declined = declined && cells[i].outcome == VERIFY_DECLINED && !strcmp(cells[i].reason, cells[0].reason);
    printf("%-22s %-7s %-8s", cells->system->name, verify_path_names[cells->path], cells->direction);
    if (declined) {
        printf(" | not here: %s\n", cells->reason);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const verify_cell *c = &cells[i];
        if (c->outcome == VERIFY_DECLINED) printf(" | %30s", "not here");
        else if (*c->reason) printf(" | %30s", "FAILED");
        else printf(" | %12.2e %8.2f %6.0f%%%s", c->out.absolute, c->out.ulp, 100.0 * fmax(c->out.share, c->lse.share),
                    c->outcome == VERIFY_FAILED ? "!" : " ");
    }
    putchar('\n');
    for (size_t i = 0; i < count; i++) {
        if (cells[i].outcome == VERIFY_FAILED) print_failure(&cells[i]);
        if (cells[i].outcome == VERIFY_DECLINED) printf("    not here, %s: %s\n", rosace_dtype_name(cells[i].dtype), cells[i].reason);
    }
    fflush(stdout);
}

/* Infinite where a NaN stands for a number: JSON has neither. */
static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *error_json(const verify_error *e)
{
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "values", (json_int_t)e->values, "max_abs", number(e->absolute), "max_ulp",
                     number(e->ulp), "of_allowed", number(e->share), "allowed", number(e->allowed));
}

static json_t *cell_json(const verify_cell *c)
{
    const bool ran = c->out.values > 0;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "system", c->system->name, "source", c->system->source,
                     "path", verify_path_names[c->path], "dtype", rosace_dtype_name(c->dtype), "direction", c->direction, "outcome",
                     outcome_names[c->outcome], "variant", *c->variant ? json_string(c->variant) : json_null(), "reason",
                     *c->reason ? json_string(c->reason) : json_null(), "out", ran ? error_json(&c->out) : json_null(), "lse",
                     c->lse.values ? error_json(&c->lse) : json_null());
}

bool verify_write_json(const void *user, FILE *file)
{
    const verify_report *report = user;
    json_t *cells = json_array();
    bool ok = cells != NULL;
    for (size_t i = 0; ok && i < report->count; i++) ok = !json_array_append_new(cells, cell_json(&report->cells[i]));
    json_t *root = json_pack("{s:i, s:s, s:s, s:o, s:{s:I, s:I, s:I}, s:o}", "schema", 1, "rosace", rosace_version(), "command",
                             report->command, "device", device_json(report->device), "count", outcome_names[VERIFY_PASSED],
                             (json_int_t)report->outcomes[VERIFY_PASSED], outcome_names[VERIFY_FAILED],
                             (json_int_t)report->outcomes[VERIFY_FAILED], outcome_names[VERIFY_DECLINED],
                             (json_int_t)report->outcomes[VERIFY_DECLINED], "cells", cells);
    ok = ok && root && !json_dumpf(root, file, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    fputc('\n', file);
    json_decref(root);
    return ok || cli_fail("verify: cannot write JSON");
}
