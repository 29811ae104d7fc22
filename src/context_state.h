/* SPDX-License-Identifier: MIT
 * What a context consists of; for the files that look after a part of it (context.c, plan.c, program.c, program_disk.c,
 * tuning.c).
 * Everybody else uses context.h. */
#ifndef ROSACE_SRC_CONTEXT_STATE_H
#define ROSACE_SRC_CONTEXT_STATE_H

#include "context.h"
#include "program.h"
#include "thread.h"

#include <jansson.h>

typedef struct rsc_program rsc_program; /* a built program in memory, program.c */

struct rosace_context {
    rosace_allocator allocator;
    rosace_log_fn log;
    void *log_user;

    cl_context cl; /* retained */
    rosace_device_info info;

    char *cache_dir;  /* NULL: no cache on disk */
    char *kernel_dir; /* NULL: embedded sources */

    rsc_mutex program_lock; /* over `programs`; held while building, so that no program is built twice */
    rsc_program *programs;
    rsc_mutex plan_lock; /* over the list `plans`; each entry has a lock of its own */
    rsc_plan_entry *plans;
    rsc_mutex tuning_lock; /* over `tuning` */
    json_t *tuning;        /* entries measured for this device, NULL: not read yet */
    bool tuning_off;       /* $ROSACE_TUNING = off */
    rsc_mutex clblast_lock; /* over the two that follow, each for f32 and f16 (ops/clblast_sets.c) */
    bool clblast_ready[2];
    const char *clblast_set[2]; /* what this context gave CLBlast last; NULL: nothing */
    bool has_program_lock, has_plan_lock, has_tuning_lock, has_clblast_lock;
};

/* For rosace_context_destroy. */
void rsc_programs_destroy(rosace_context *context);
void rsc_plans_destroy(rosace_context *context);
void rsc_tuning_destroy(rosace_context *context);

/* A copy of `text` in the context's memory, NULL when there is none left. */
char *rsc_copy_text(rosace_context *context, const char *text);

#endif
