/* SPDX-License-Identifier: MIT */
#define _XOPEN_SOURCE 700 /* nftw */
#include "costs.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cli.h"

enum { WARM_RUNS = 3 };

/* What one process finds out. */
typedef struct one_run {
    double plan, first, call, queued, queued_empty, enqueue, enqueue_empty;
} one_run;

/* ---- In the process of its own ----------------------------------------------------------------------------------- */

typedef struct launcher {
    bench_device *device;
    const bench_op *op; /* NULL: the kernel that does nothing */
    void *state;
    cl_kernel nothing;
    double enqueue_seconds; /* of the last run, per call */
} launcher;

static bool launch(launcher *l) {
    if (l->op) return l->op->enqueue(l->device, l->state);
    const size_t one = 1;
    const cl_int code =
        clEnqueueNDRangeKernel(l->device->queue, l->nothing, 1, NULL, &one, NULL, 0, NULL, NULL);
    return !code || cli_fail_cl(code, "cannot launch an empty kernel");
}

static bool run_launcher(void *user, size_t calls) {
    launcher *l = user;
    const double begin = timing_now();
    for (size_t i = 0; i < calls; i++)
        if (!launch(l)) return false;
    l->enqueue_seconds = (timing_now() - begin) / (double)calls;
    return bench_finish(l->device);
}

/* The time until the call has returned, call by call, the queue empty before each. */
static bool median_enqueue(launcher *l, double *out) {
    enum { CALLS = 401 };
    timing_entry samples = {.seconds = cli_calloc(CALLS, sizeof(double))};
    bool ok = samples.seconds != NULL;
    for (size_t i = 0; ok && i < CALLS; i++) {
        ok = run_launcher(l, 1);
        samples.seconds[samples.count++] = l->enqueue_seconds;
    }
    *out = timing_statistics(&samples).median;
    timing_free(&samples, 1);
    return ok;
}

static bool measure_steady(launcher *l, launcher *empty, const timing_limits *limits, one_run *out) {
    timing_entry one[2] = {{.run = run_launcher, .user = l}, {.run = run_launcher, .user = empty}};
    timing_limits single = *limits;
    single.sample_seconds = 0.0; /* a sample is one call */
    single.seconds = limits->seconds < 0.5 ? limits->seconds : 0.5;
    bool ok = timing_interleave(one, 2, &single);
    if (ok) out->call = timing_statistics(&one[0]).median;
    timing_free(one, 2);
    ok = ok && timing_interleave(one, 2, limits);
    if (ok) {
        out->queued = timing_statistics(&one[0]).median;
        out->queued_empty = timing_statistics(&one[1]).median;
    }
    timing_free(one, 2);
    return ok && median_enqueue(l, &out->enqueue) && median_enqueue(empty, &out->enqueue_empty);
}

static bool measure(const bench_options *options, const bench_case *tiny, one_run *out) {
    bench_device device;
    launcher l = {.device = &device, .op = tiny->op}, empty = {.device = &device};
    bench_work work = {0};
    cl_int code = CL_SUCCESS;
    bool ok = bench_device_open(&device, options->device, options->verbose);
    if (ok) empty.nothing = clCreateKernel(device.program, "nothing", &code);
    if (ok && !empty.nothing) ok = cli_fail_cl(code, "cannot make an empty kernel");
    if (ok) {
        const cl_mem none = NULL;
        code = clSetKernelArg(empty.nothing, 0, sizeof none, &none);
        ok = !code || cli_fail_cl(code, "cannot set the argument of an empty kernel");
    }
    ok = ok && run_launcher(&empty, 1) && tiny->op->create(&device, &tiny->sizes, &l.state, &work);
    if (ok && tiny->op->plan) {
        const double begin = timing_now();
        ok = tiny->op->plan(&device, l.state, &work);
        out->plan = timing_now() - begin;
    }
    if (ok) {
        const double begin = timing_now();
        ok = run_launcher(&l, 1);
        out->first = timing_now() - begin;
    }
    ok = ok && measure_steady(&l, &empty, &options->limits, out);
    if (l.state) tiny->op->destroy(l.state);
    if (empty.nothing) clReleaseKernel(empty.nothing);
    bench_device_close(&device);
    return ok;
}

/* Every cache on disk that a driver or rosace may have is in this folder. */
static bool use_caches(const char *folder) {
    static const struct {
        const char *variable, *name;
    } caches[] = {{"ROSACE_CACHE_DIR", "rosace"}, {"POCL_CACHE_DIR", "pocl"},     {"MESA_SHADER_CACHE_DIR", "mesa"},
                  {"CUDA_CACHE_PATH", "cuda"},    {"NEO_CACHE_DIR", "neo"},       {"AMD_COMGR_CACHE_DIR", "comgr"},
                  {"XDG_CACHE_HOME", "home"},     {"cl_cache_dir", "intel-igc"}};
    char path[512];
    for (size_t i = 0; i < sizeof caches / sizeof *caches; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, caches[i].name);
        if ((mkdir(path, 0700) && errno != EEXIST) || setenv(caches[i].variable, path, 1))
            return cli_fail("%s: cannot be made: %s", path, strerror(errno));
    }
    return true;
}

/* ---- In the program's own process -------------------------------------------------------------------------------- */

static bool in_own_process(const bench_options *options, const bench_case *tiny, const char *folder, one_run *out) {
    int ends[2], status = 0;
    if (pipe(ends)) return cli_fail("cannot make a pipe: %s", strerror(errno));
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        one_run found = {0};
        close(ends[0]);
        const bool ok = use_caches(folder) && measure(options, tiny, &found) &&
                        write(ends[1], &found, sizeof found) == (ssize_t)sizeof found;
        _exit(ok ? 0 : 1);
    }
    close(ends[1]);
    const bool whole = child > 0 && read(ends[0], out, sizeof *out) == (ssize_t)sizeof *out;
    close(ends[0]);
    if (child < 0) return cli_fail("cannot start a process: %s", strerror(errno));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return (whole && WIFEXITED(status) && !WEXITSTATUS(status)) || cli_fail("%s: its costs are not known", tiny->name);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info, (void)kind, (void)place;
    return remove(path);
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool measure_op(const bench_options *options, const bench_case *tiny, bench_costs *out) {
    const char *parent = getenv("TMPDIR");
    char folder[256];
    one_run cold, warm;
    double plans[WARM_RUNS], firsts[WARM_RUNS];
    snprintf(folder, sizeof folder, "%s/rosace-bench-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(folder)) return cli_fail("%s: cannot be made: %s", folder, strerror(errno));
    bool ok = in_own_process(options, tiny, folder, &cold);
    for (int i = 0; ok && i < WARM_RUNS; i++) {
        ok = in_own_process(options, tiny, folder, &warm);
        plans[i] = warm.plan;
        firsts[i] = warm.first;
    }
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (!ok) return false;
    qsort(plans, WARM_RUNS, sizeof *plans, compare_doubles);
    qsort(firsts, WARM_RUNS, sizeof *firsts, compare_doubles);
    *out = (bench_costs){.op = tiny->op,
                         .plan_cold = cold.plan,
                         .first_cold = cold.first,
                         .plan_warm = plans[WARM_RUNS / 2],
                         .first_warm = firsts[WARM_RUNS / 2],
                         .call = warm.call,
                         .queued = warm.queued,
                         .queued_empty = warm.queued_empty,
                         .enqueue = warm.enqueue,
                         .enqueue_empty = warm.enqueue_empty};
    return true;
}

bool bench_costs_measure(const bench_options *options, bench_costs **out, size_t *count) {
    const char *const nothing_given[N_AXES] = {0};
    bench_cases tiny = {0};
    bool ok = true;
    *count = 0;
    *out = NULL;
    /* The smallest case of each operation that is wanted; its cases stand together. */
    for (size_t i = 0; ok && i < options->cases.count; i++) {
        const bench_op *op = options->cases.list[i].op;
        if (!i || op != options->cases.list[i - 1].op) ok = bench_cases_add(&tiny, op, op->tiny, nothing_given);
    }
    ok = ok && (*out = cli_calloc(tiny.count, sizeof **out));
    for (; ok && *count < tiny.count; ++*count)
        ok = measure_op(options, &tiny.list[*count], &(*out)[*count]);
    bench_cases_free(&tiny);
    return ok;
}
