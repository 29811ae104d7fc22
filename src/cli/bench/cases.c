/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "op.h"

/* clang-format off */
const bench_axis_info bench_axes[N_AXES] = {
    /* option, letter, choices, least, most, about */
    [AXIS_DTYPE] =     {"dtype",     "",  "f32,f16,bf16", 0, 0, "storage: f32, f16, bf16"},
    [AXIS_LAYOUT] =    {"layout",    "",  "bshd,bhsd", 0, 0, "order of the axes in memory: bshd, bhsd"},
    [AXIS_PAIRS] =     {"pairs",     "",  "half,interleaved", 0, 0, "what rotates with what: half, interleaved"},
    [AXIS_TRANSPOSE] = {"transpose", "",  "nn,tn,nt,tt", 0, 0, "of A and of B: nn, tn, nt, tt"},
    [AXIS_PACKED] =    {"packed",    "",  "fresh,packed", 0, 0, "B as it is (fresh), or packed once before (packed)"},
    [AXIS_PATH] =      {"path",      "",  "auto,fused,gemm,clblast,tile", 0, 0, "auto, fused, gemm, clblast, tile"},
    [AXIS_BATCH] =     {"batch",     "b", NULL,   1, 1 << 20, "sequences or matrices"},
    [AXIS_SEQ] =       {"seq",       "n", NULL,   1, 1 << 24, "tokens of a sequence, keys of a decode"},
    [AXIS_QUERIES] =   {"queries",   "q", NULL,   1, 1 << 16, "query rows of a decode"},
    [AXIS_HEADS] =     {"heads",     "h", NULL,   1, 1 << 12, "query heads"},
    [AXIS_KV_HEADS] =  {"kv-heads",  "g", NULL,   0, 1 << 12, "key/value heads (0: as many as heads)"},
    [AXIS_HEAD_DIM] =  {"head-dim",  "d", NULL,   2, 1024, "elements of a head"},
    [AXIS_WINDOW] =    {"window",    "w", NULL,   0, 1 << 24, "keys that a query sees, itself counted (0: all)"},
    [AXIS_M] =         {"m",         "m", NULL,   1, 1 << 24, "rows of C"},
    [AXIS_N] =         {"n",         "n", NULL,   0, 1 << 24, "columns of C (0: as m)"},
    [AXIS_K] =         {"k",         "k", NULL,   0, 1 << 24, "length of the sums (0: as m)"},
};
/* clang-format on */

/* The i-th item of a list with commas; false behind its end. */
static bool list_item(const char *list, size_t i, char *out, size_t bytes) {
    while (i--) {
        list = strchr(list, ',');
        if (!list++) return false;
    }
    list += strspn(list, " ");
    size_t length = strcspn(list, ",");
    if (length >= bytes) length = bytes - 1;
    memcpy(out, list, length);
    out[length] = '\0';
    return true;
}

void bench_axis_text(bench_axis axis, int64_t value, char *out, size_t bytes) {
    if (!bench_axes[axis].choices || !list_item(bench_axes[axis].choices, (size_t)value, out, bytes))
        snprintf(out, bytes, "%lld", (long long)value);
}

static bool parse_value(bench_axis axis, const char *text, int64_t *out) {
    const bench_axis_info *info = &bench_axes[axis];
    char option[32], choice[32];
    snprintf(option, sizeof option, "--%s", info->option);
    if (!info->choices) return cli_parse_integer(option, text, info->least, info->most, out);
    for (size_t i = 0; list_item(info->choices, i, choice, sizeof choice); i++) {
        *out = (int64_t)i;
        if (!strcmp(choice, text)) return true;
    }
    return cli_fail("%s %s: must be one of %s", option, *text ? text : "''", info->choices);
}

static void name_case(bench_case *c) {
    size_t used = (size_t)snprintf(c->name, sizeof c->name, "%s%s%s", c->op->op, c->op->kind ? "_" : "",
                                   c->op->kind ? c->op->kind : "");
    for (int axis = 0; axis < N_AXES && used < sizeof c->name; axis++) {
        char text[32];
        const int64_t value = c->sizes.at[axis];
        /* What is left at "as the other" or at its first choice of path goes without saying. */
        if (!c->sizes.has[axis] ||
            (value == 0 && (axis == AXIS_PACKED || axis == AXIS_PATH || axis == AXIS_KV_HEADS || axis >= AXIS_WINDOW)))
            continue;
        if (value == 1 && (axis == AXIS_BATCH || axis == AXIS_QUERIES)) continue;
        bench_axis_text((bench_axis)axis, value, text, sizeof text);
        used += (size_t)snprintf(c->name + used, sizeof c->name - used, "_%s%s", bench_axes[axis].letter, text);
    }
}

static bool add_case(bench_cases *cases, const bench_op *op, const bench_sizes *sizes) {
    bench_case added = {.op = op, .sizes = *sizes};
    name_case(&added);
    for (size_t i = 0; i < cases->count; i++)
        if (!strcmp(cases->list[i].name, added.name)) return true;
    if (cases->count == cases->capacity) {
        const size_t capacity = cases->capacity ? 2 * cases->capacity : 16;
        bench_case *list = realloc(cases->list, capacity * sizeof *list);
        if (!list) return cli_fail("out of memory");
        cases->list = list;
        cases->capacity = capacity;
    }
    cases->list[cases->count++] = added;
    return true;
}

/* All combinations of the lists from `axis` on. */
static bool add_product(bench_cases *cases, const bench_op *op, const char *const *lists, int axis,
                        bench_sizes *sizes) {
    char item[32];
    while (axis < N_AXES && !lists[axis])
        axis++;
    if (axis == N_AXES) return add_case(cases, op, sizes);
    sizes->has[axis] = true;
    for (size_t i = 0; list_item(lists[axis], i, item, sizeof item); i++)
        if (!parse_value((bench_axis)axis, item, &sizes->at[axis]) || !add_product(cases, op, lists, axis + 1, sizes))
            return false;
    return true;
}

/* One product of the form "seq=4096 head-dim=64,128"; cuts `text` up. */
static bool add_sweep(bench_cases *cases, const bench_op *op, char *text, const char *const *given) {
    const char *lists[N_AXES] = {0};
    bench_sizes sizes = {0};
    for (char *word = text; *(word += strspn(word, " "));) {
        char *end = word + strcspn(word, " ");
        if (*end) *end++ = '\0';
        char *value = strchr(word, '=');
        int axis = 0;
        *value++ = '\0';
        while (strcmp(bench_axes[axis].option, word))
            axis++;
        lists[axis] = given[axis] ? given[axis] : value;
        word = end;
    }
    return add_product(cases, op, lists, 0, &sizes);
}

bool bench_cases_add(bench_cases *cases, const bench_op *op, const char *sweep, const char *const *given) {
    char *copy = cli_calloc(strlen(sweep) + 1, 1);
    bool ok = copy != NULL;
    if (ok) strcpy(copy, sweep);
    for (char *product = copy; ok && product;) {
        char *next = strchr(product, ';');
        if (next) *next++ = '\0';
        ok = add_sweep(cases, op, product, given);
        product = next;
    }
    free(copy);
    return ok;
}

void bench_cases_free(bench_cases *cases) {
    free(cases->list);
    memset(cases, 0, sizeof *cases);
}

rosace_tensor bench_tensor(const bench_sizes *sizes, cl_mem mem, size_t seq, size_t heads) {
    const rosace_dtype dtype = (rosace_dtype)sizes->at[AXIS_DTYPE];
    const size_t batch = (size_t)sizes->at[AXIS_BATCH], head_dim = (size_t)sizes->at[AXIS_HEAD_DIM];
    return sizes->at[AXIS_LAYOUT] == layout_bhsd ? rosace_tensor_bhsd(mem, dtype, batch, seq, heads, head_dim)
                                                 : rosace_tensor_bshd(mem, dtype, batch, seq, heads, head_dim);
}

size_t bench_kv_heads(const bench_sizes *sizes) {
    return (size_t)(sizes->at[AXIS_KV_HEADS] ? sizes->at[AXIS_KV_HEADS] : sizes->at[AXIS_HEADS]);
}
