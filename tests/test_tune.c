/* SPDX-License-Identifier: MIT
 * The tuner: which rows it may choose, what it keeps, and that it goes on where it stopped. No time decides a test. */
#include "program_fixture.h"

#include <rosace/attention.h>
#include <rosace/tune.h>

#include "src/ops/attention.h"
#include "src/tune/tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- An operation of the test's own ------------------------------------------------------------------------------- */

/* Its rows fill the output with a number, and say how often they were asked to. */
typedef struct fake_row {
    const char *name;
    float value;
    rosace_status made, run; /* what making and running it gives */
    unsigned runs;
    bool slow; /* takes milliseconds, so that no other row is given up for its speed */
} fake_row;
static fake_row rows[8];
static size_t n_rows, live_plans;
static bool standard_alone; /* the first row must not run once another has */
enum { COUNT = 64, MOST = 100 };

static fake_row *fake_named(const char *name)
{
    for (size_t i = 0; i < n_rows; i++)
        if (!strcmp(rows[i].name, name)) return &rows[i];
    return NULL;
}

static bool fake_row_at(const rosace_device_info *device, const rsc_subject *subject, size_t index, char row[RSC_ROW_BYTES])
{
    (void)device, (void)subject;
    if (index < n_rows) snprintf(row, RSC_ROW_BYTES, "%s", rows[index].name);
    return index < n_rows;
}

static rosace_status fake_prepare(rsc_bench *bench)
{
    bench->dtype = ROSACE_F32;
    bench->tolerance = 1e-3f;
    return rsc_bench_buffer(bench, 0, ROSACE_F32, MOST * COUNT, false);
}

static rosace_status fake_make(rsc_bench *bench, void **plan, char row[RSC_ROW_BYTES])
{
    if (!rsc_tuned(bench->context, "fake", bench->subject->class_name, row)) strcpy(row, rows[0].name);
    fake_row *made = fake_named(row);
    if (made->made) return rsc_fail(made->made, "%s cannot be made", made->name);
    ck_assert_uint_le(bench->size, MOST);
    bench->out_count = bench->size * COUNT;
    *plan = made;
    live_plans++;
    return ROSACE_OK;
}

static rosace_status fake_run(rsc_bench *bench, void *plan)
{
    fake_row *row = plan;
    for (size_t i = 1; standard_alone && row == rows && i < n_rows; i++) ck_assert_uint_eq(rows[i].runs, 0);
    row->runs++;
    if (row->slow) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    if (row->run) return rsc_fail(row->run, "%s cannot be run", row->name);
    if (isinf(row->value)) return ROSACE_OK; /* writes nothing */
    const cl_int code = clEnqueueFillBuffer(bench->queue, bench->buffers[0], &row->value, sizeof row->value, 0,
                                            bench->out_count * sizeof row->value, 0, NULL, NULL);
    return code ? rsc_fail_cl(code, "fake") : ROSACE_OK;
}

static void fake_drop(rsc_bench *bench, void *plan)
{
    (void)bench, (void)plan;
    live_plans--;
}

static const rsc_tunable fake = {.operation = "fake",
                                 .row_at = fake_row_at,
                                 .prepare = fake_prepare,
                                 .make = fake_make,
                                 .run = fake_run,
                                 .drop = fake_drop};

typedef struct watcher {
    int calls, warnings, stop_at;
    char warning[1024];
} watcher;

static bool watch(void *user, const char *row, const char *warning)
{
    watcher *w = user;
    (void)row;
    if (warning) {
        w->warnings++;
        strncat(w->warning, warning, sizeof w->warning - strlen(w->warning) - 1);
    }
    return ++w->calls != w->stop_at;
}

static rosace_status measure_fake(rosace_context *context, double deadline, watcher *w, rsc_measurement *out)
{
    static rsc_subject subject = {.class_name = "class", .least = 30, .most = MOST};
    rsc_bench bench = {.context = context, .queue = harness_queue(), .subject = &subject};
    live_plans = 0;
    const rosace_status status = rsc_measure(&fake, &bench, deadline, watch, w, out);
    ck_assert_uint_eq(live_plans, 0);
    return status;
}

static void set_rows(size_t count, const fake_row *list)
{
    memcpy(rows, list, count * sizeof *list);
    n_rows = count;
}

static rosace_context *open_fake(void)
{
    rosace_context *context;
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.cl_context = rosace_context_cl(harness_context());
    desc.cl_device = rosace_context_cl_device(harness_context());
    desc.cache_dir = "";
    harness_ok(rosace_context_create(&desc, &context));
    return context;
}

START_TEST(a_row_with_another_answer_is_never_chosen)
{
    rosace_context *context = open_fake();
    static const fake_row list[] = {{.name = "standard", .value = 1.0f},          {.name = "other", .value = 2.0f},
                                    {.name = "close", .value = 1.0005f},          {.name = "silent", .value = INFINITY},
                                    {.name = "unmakeable", .made = ROSACE_UNSUPPORTED}, {.name = "nan", .value = NAN},
                                    {.name = "broken", .run = ROSACE_OPENCL_ERROR}};
    set_rows(sizeof list / sizeof *list, list);
    watcher w = {0};
    rsc_measurement m;
    harness_ok(measure_fake(context, INFINITY, &w, &m));
    ck_assert(m.finished);
    ck_assert_uint_eq(m.n_rows, n_rows);
    ck_assert_uint_eq(m.standard, 0);
    ck_assert_msg(m.best == 0 || m.best == 2, "%s", m.rows[m.best].name);
    for (size_t i = 0; i < n_rows; i++) {
        const bool right = i == 0 || i == 2;
        ck_assert_msg(m.rows[i].wrong == !right, "%s", rows[i].name);
        ck_assert_msg((m.rows[i].runs > 0) == right, "%s", rows[i].name);
        ck_assert_msg(right || rows[i].runs <= 1, "%s ran %u times", rows[i].name, rows[i].runs);
        ck_assert_msg(right || strstr(w.warning, rows[i].name), "nothing said of %s", rows[i].name);
    }
    ck_assert_int_eq(w.warnings, 5);
    rosace_context_destroy(&context);
}
END_TEST

START_TEST(a_standard_that_cannot_come_back_runs_first)
{
    static const fake_row list[] = {{.name = "first", .value = 1.0f, .slow = true}, {.name = "second", .value = 1.0f}};
    rosace_context *context = open_fake();
    rsc_subject subject = {.class_name = "class", .least = 30, .most = MOST};
    rsc_bench bench = {.context = context, .queue = harness_queue(), .subject = &subject};
    rsc_tunable once = fake;
    rsc_measurement m;
    watcher w = {0};
    once.standard_first = true;
    set_rows(2, list);
    standard_alone = true;
    harness_ok(rsc_measure(&once, &bench, rsc_seconds() + 1000.0, watch, &w, &m));
    standard_alone = false;
    ck_assert(m.finished && !live_plans);
    for (int i = 0; i < 2; i++) ck_assert(m.rows[i].runs >= 3 && rsc_shortest(&m.rows[i]) > 0.0);
    rosace_context_destroy(&context);
}
END_TEST

START_TEST(measuring_can_stop_anywhere)
{
    rosace_context *context = open_fake();
    static const fake_row list[] = {{.name = "standard", .value = 1.0f}, {.name = "wrong", .value = 2.0f},
                                    {.name = "right", .value = 1.0f}};
    watcher all = {0};
    rsc_measurement m;
    set_rows(3, list);
    harness_ok(measure_fake(context, INFINITY, &all, &m));
    ck_assert(m.finished);
    ck_assert_int_ge(all.calls, 4);
    for (int stop = 1; stop <= all.calls; stop++) {
        harness_case("at call %d", stop);
        watcher w = {.stop_at = stop};
        harness_ok(measure_fake(context, INFINITY, &w, &m));
        ck_assert(!m.finished && w.calls == stop);
    }
    harness_case("no time left");
    watcher w = {0};
    harness_ok(measure_fake(context, 0.0, &w, &m));
    ck_assert(!m.finished);

    harness_case("the standard row fails");
    rows[0].run = ROSACE_OPENCL_ERROR;
    harness_expect_status(measure_fake(context, INFINITY, &w, &m), ROSACE_OPENCL_ERROR, "standard cannot be run");
    ck_assert(!m.finished);

    harness_case("one row alone");
    set_rows(1, list);
    harness_ok(measure_fake(context, INFINITY, &w, &m));
    ck_assert(m.finished && m.best == 0);
    rosace_context_destroy(&context);
}
END_TEST

/* ---- The operations of the library -------------------------------------------------------------------------------- */

typedef struct follower {
    size_t finished, events, stop_after; /* finished classes until it stops */
    char shape[64], row[64], warning[1024];
    size_t done, total;
} follower;

static bool follow(void *user, const rosace_tune_event *event)
{
    follower *f = user;
    f->events++;
    ck_assert_uint_le(event->done, event->total);
    ck_assert(event->seconds >= 0.0);
    f->done = event->done;
    f->total = event->total;
    if (event->warning) snprintf(f->warning, sizeof f->warning, "%s", event->warning);
    if (event->finished) {
        snprintf(f->shape, sizeof f->shape, "%s", event->shape);
        snprintf(f->row, sizeof f->row, "%s", event->row);
        ck_assert(event->microseconds > 0.0 && event->microseconds <= event->default_microseconds);
        f->finished++;
    }
    return !f->stop_after || f->finished < f->stop_after;
}

static size_t visited;
static char visited_row[64];
static void visit(void *user, const rosace_tuned_class *tuned)
{
    visited++;
    ck_assert(*tuned->operation && *tuned->row && *tuned->default_row && strlen(tuned->date) == 10);
    ck_assert(tuned->microseconds > 0.0 && tuned->default_microseconds >= tuned->microseconds);
    if (!strcmp(tuned->shape, user)) snprintf(visited_row, sizeof visited_row, "%s", tuned->row);
}

/* With the library's kernels, and a cache folder of the test's own for measurements. */
static rosace_context *open_tuned(const char *cache_dir)
{
    rosace_context *context;
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.cache_dir = cache_dir;
    harness_ok(rosace_context_create(&desc, &context));
    return context;
}

START_TEST(a_run_saves_each_class_and_the_next_goes_on)
{
    const char *wanted = getenv("ROSACE_TEST_TUNE");
    if (!wanted || !*wanted) harness_skip("builds every row of a class: on one implementation only");
    folders_make();
    rosace_context *context = open_tuned(cache);
    rosace_tune_options options = ROSACE_TUNE_OPTIONS_DEFAULT;
    rosace_tune_result result = ROSACE_TUNE_RESULT_DEFAULT;
    follower f = {0};
    options.operations = ROSACE_TUNE_ATTENTION;
    options.progress = follow;
    options.user = &f;
    options.budget_seconds = 1e-6; /* the first class is finished nevertheless */
    harness_ok(rosace_tune(context, &options, &result));
    ck_assert_uint_eq(f.finished, 1);
    ck_assert_uint_eq(result.measured, 1);
    ck_assert_uint_eq(result.known, 0);
    ck_assert_uint_eq(result.wrong, 0);
    ck_assert_uint_eq(result.left, f.total - 1);
    ck_assert_str_eq(f.warning, "");
    char first[64];
    snprintf(first, sizeof first, "%s", f.shape);

    harness_case("another context goes by it");
    rosace_context *other = open_tuned(cache);
    visited = 0;
    harness_ok(rosace_tuned_visit(other, visit, first));
    ck_assert_uint_eq(visited, 1);
    ck_assert_str_eq(visited_row, f.row);
    char row[RSC_ROW_BYTES], path[2 * PATH];
    ck_assert(rsc_tuned(other, "attention", first, row));
    ck_assert_str_eq(row, f.row);

    harness_case("the next run goes on, and can be stopped");
    f = (follower){.stop_after = 1};
    options.budget_seconds = 1000.0;
    harness_ok(rosace_tune(other, &options, &result));
    ck_assert_uint_eq(result.known, 1);
    ck_assert_uint_eq(result.measured, 1);
    ck_assert_uint_eq(f.done, 2);
    ck_assert_str_ne(f.shape, first);

    harness_case("what is known is measured again when asked for");
    f = (follower){.stop_after = 1};
    options.force = true;
    harness_ok(rosace_tune(context, &options, &result));
    ck_assert_uint_eq(result.known, 0);
    ck_assert_str_eq(f.shape, first);
    visited = 0;
    harness_ok(rosace_tuned_visit(context, visit, first));
    ck_assert_uint_eq(visited, 2);

    harness_case("forgotten");
    harness_ok(rosace_tuned_path(context, path, sizeof path));
    ck_assert_int_eq(access(path, F_OK), 0);
    harness_expect_status(rosace_tuned_path(context, row, 5), ROSACE_INVALID_ARGUMENT, "path_bytes");
    harness_ok(rosace_tuned_clear(context));
    ck_assert_int_ne(access(path, F_OK), 0);
    visited = 0;
    harness_ok(rosace_tuned_visit(context, visit, first));
    ck_assert_uint_eq(visited, 0);
    rosace_context_destroy(&other);
    rosace_context_destroy(&context);

    harness_case("what cannot be saved holds for the context");
    *strrchr(path, '/') = '\0';
    remove_tree(path);
    write_bytes(path, "a file in the folder's place", 4);
    context = open_tuned(cache);
    f = (follower){0};
    options.force = false;
    options.budget_seconds = 1e-6;
    harness_expect_status(rosace_tune(context, &options, &result), ROSACE_IO_ERROR, "cannot be written");
    ck_assert(strstr(f.warning, "cannot be written"));
    ck_assert_uint_eq(result.measured, 1);
    visited = 0;
    harness_ok(rosace_tuned_visit(context, visit, first));
    ck_assert_uint_eq(visited, 1);
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    rosace_context *context = open_fake();
    rosace_tune_options options = ROSACE_TUNE_OPTIONS_DEFAULT;
    rosace_tune_result result = ROSACE_TUNE_RESULT_DEFAULT;
    harness_expect_status(rosace_tune(NULL, &options, &result), ROSACE_INVALID_ARGUMENT, "context");
    static const double budgets[] = {0.0, -1.0, INFINITY, NAN};
    for (int i = 0; i < 4; i++) {
        options.budget_seconds = budgets[i];
        harness_expect_status(rosace_tune(context, &options, &result), ROSACE_INVALID_ARGUMENT, "budget_seconds");
    }
    options.budget_seconds = 1.0;
    for (unsigned i = 0; i < 2; i++) {
        options.operations = i * 1024;
        harness_expect_status(rosace_tune(context, &options, &result), ROSACE_INVALID_ARGUMENT, "operations");
    }
    options.operations = ROSACE_TUNE_ALL;
    options.struct_size = 0;
    harness_expect_status(rosace_tune(context, &options, &result), ROSACE_INVALID_ARGUMENT, "struct_size");
    options.struct_size = sizeof options;
    result.struct_size = sizeof result + 1;
    harness_expect_status(rosace_tune(context, &options, &result), ROSACE_INVALID_ARGUMENT, "struct_size");
    result.struct_size = sizeof result;
    char path[PATH];
    harness_expect_status(rosace_tuned_visit(NULL, visit, NULL), ROSACE_INVALID_ARGUMENT, "context");
    harness_expect_status(rosace_tuned_visit(context, NULL, NULL), ROSACE_INVALID_ARGUMENT, "visitor");
    harness_expect_status(rosace_tuned_path(NULL, path, sizeof path), ROSACE_INVALID_ARGUMENT, "context");
    harness_expect_status(rosace_tuned_path(context, NULL, sizeof path), ROSACE_INVALID_ARGUMENT, "path");
    harness_expect_status(rosace_tuned_path(context, path, sizeof path), ROSACE_UNSUPPORTED, "no cache folder");
    harness_expect_status(rosace_tuned_clear(NULL), ROSACE_INVALID_ARGUMENT, "context");
    rosace_context_destroy(&context);

    setenv("ROSACE_TUNING", "off", 1);
    context = open_fake();
    unsetenv("ROSACE_TUNING");
    harness_expect_status(rosace_tune(context, &options, &result), ROSACE_UNSUPPORTED, "ROSACE_TUNING");
    harness_expect_status(rosace_tuned_path(context, path, sizeof path), ROSACE_UNSUPPORTED, "ROSACE_TUNING");
    rosace_context_destroy(&context);
}
END_TEST

HARNESS_DEVICE_SUITE("tune", a_row_with_another_answer_is_never_chosen, a_standard_that_cannot_come_back_runs_first,
                     measuring_can_stop_anywhere, a_run_saves_each_class_and_the_next_goes_on, wrong_arguments_are_refused)
