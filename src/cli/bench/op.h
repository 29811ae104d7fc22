/* SPDX-License-Identifier: MIT
 * What is measured. An operation is one struct bench_op, and a line in the table bench_ops of ops.c; what it can be
 * measured at is a set of axes, each of them an option of the program. */
#ifndef ROSACE_CLI_BENCH_OP_H
#define ROSACE_CLI_BENCH_OP_H

#include "device.h"
#include "roofline.h"

/* One size or choice that cases differ by. Sorted as they stand in a case's name. */
typedef enum bench_axis {
    AXIS_DTYPE,     /* a rosace_dtype */
    AXIS_LAYOUT,    /* layout_bshd, layout_bhsd */
    AXIS_PAIRS,     /* pairs_half, pairs_interleaved */
    AXIS_TRANSPOSE, /* bit 0: A, bit 1: B */
    AXIS_PACKED,    /* 1: B has been packed once */
    AXIS_PATH,      /* path_auto ... */
    AXIS_BATCH,
    AXIS_SEQ, /* tokens; keys of a decode */
    AXIS_QUERIES,
    AXIS_HEADS,
    AXIS_KV_HEADS, /* 0: as many as heads */
    AXIS_HEAD_DIM,
    AXIS_WINDOW, /* keys a query sees, itself counted; 0: all */
    AXIS_M,
    AXIS_N, /* 0: as m */
    AXIS_K, /* 0: as m */
    N_AXES
} bench_axis;

enum { layout_bshd, layout_bhsd };
enum { pairs_half, pairs_interleaved };
enum { path_auto, path_fused, path_gemm, path_clblast, path_tile };

typedef struct bench_axis_info {
    const char *option;  /* without "--" */
    const char *letter;  /* before the value in a case's name */
    const char *choices; /* "f32,f16": a value is the place in this list; NULL: a number */
    int64_t least, most;
    const char *about;
} bench_axis_info;
extern const bench_axis_info bench_axes[N_AXES];

typedef struct bench_sizes {
    int64_t at[N_AXES]; /* only those that the operation's sweep names */
    bool has[N_AXES];
} bench_sizes;

/* What a case amounts to, by count and not by measurement. */
typedef struct bench_work {
    double flops;     /* 2 for a multiplication and an addition, over visible pairs alone; 0: not what limits it */
    double bytes;     /* that must be read or written; 0: not what limits it */
    char variant[96]; /* what runs, by the library's word; "" when it does not say */
} bench_work;

typedef struct bench_op {
    const char *op, *kind; /* "attention", "window"; kind NULL: the operation has but one */
    const char *about;
    roof_kind bound;   /* what its speed is compared with */
    unsigned beside;   /* further rooflines measured along with it: bits 1 << roof_kind */
    const char *sweep; /* "seq=4096 head-dim=64,128; seq=16384": products of axes, one behind the other */
    const char *quick; /* the same for --quick */
    const char *tiny;  /* one case that costs next to nothing, to see what a call costs by itself */
    /* Makes the tensors of a case and counts its work; *state is freed by destroy, on failure too. */
    bool (*create)(bench_device *device, const bench_sizes *sizes, void **state, bench_work *work);
    /* Makes the plan; NULL: the operation has none, its first call makes what it needs. */
    bool (*plan)(bench_device *device, void *state, bench_work *work);
    bool (*enqueue)(bench_device *device, void *state);
    void (*destroy)(void *state);
} bench_op;

extern const bench_op *const bench_ops[]; /* ends with NULL */

/* ---- Cases ------------------------------------------------------------------------------------------------------- */

typedef struct bench_case {
    const bench_op *op;
    bench_sizes sizes;
    char name[160]; /* "attention_window_f32_bhsd_n16384_h8_d64_w256" */
} bench_case;

typedef struct bench_cases {
    bench_case *list;
    size_t count, capacity;
} bench_cases;

/* Adds the cases of a sweep, `given[axis]` taking the place of what the sweep says of an axis (NULL: nothing given). A
 * case that is there already is not added again. False after saying what is wrong. */
bool bench_cases_add(bench_cases *cases, const bench_op *op, const char *sweep, const char *const *given);
void bench_cases_free(bench_cases *cases);

/* The text of a value: a number or the choice. */
void bench_axis_text(bench_axis axis, int64_t value, char *out, size_t bytes);

/* A tensor of this case's layout. */
rosace_tensor bench_tensor(const bench_sizes *sizes, cl_mem mem, size_t seq, size_t heads);
/* Key/value heads, 0 resolved. */
size_t bench_kv_heads(const bench_sizes *sizes);

#endif
