/* SPDX-License-Identifier: MIT
 * rosace_tune: through the classes of every operation, and what there is to say and keep of them. */
#include "tune.h"

#include "../check.h"
#include "../context_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const rsc_tunable *const tunables[] = {&rsc_tune_attention, &rsc_tune_clblast, &rsc_tune_matmul};
enum { N_TUNABLES = sizeof tunables / sizeof tunables[0] };

typedef struct session {
    rosace_context *context; /* the caller's */
    rosace_context *trial;   /* on the same device, with entries of its own */
    cl_command_queue queue;
    rosace_tune_options options;
    rosace_tune_result result;
    size_t total;
    double start;
    const rsc_tunable *tunable; /* under way */
    const rsc_subject *subject;
    bool stopped, begun; /* the first class is measured to its end, so that every run gets somewhere */
    rosace_status saving; /* the first that failed */
    char saving_error[512];
} session;

/* ---- Telling ----------------------------------------------------------------------------------------------------- */

static rosace_tune_event event_of(const session *s)
{
    return (rosace_tune_event){.operation = s->tunable->operation,
                               .shape = s->subject->class_name,
                               .row = "",
                               .default_row = "",
                               .done = s->result.measured + s->result.known,
                               .total = s->total,
                               .seconds = rsc_seconds() - s->start};
}

static bool tell(session *s, const rosace_tune_event *event)
{
    if (event->warning) rsc_log(s->context, ROSACE_LOG_WARNING, "tuning: %s", event->warning);
    if (!s->stopped && s->options.progress && !s->options.progress(s->options.user, event)) s->stopped = true;
    return !s->stopped;
}

static bool tell_row(void *user, const char *row, const char *warning)
{
    session *s = user;
    rosace_tune_event event = event_of(s);
    if (row) event.row = row;
    event.warning = warning;
    return tell(s, &event);
}

/* ---- One class --------------------------------------------------------------------------------------------------- */

static void today(char out[64])
{
    const time_t now = time(NULL);
    /* Civil date of a day count (Hinnant, "chrono-compatible low-level date algorithms"): gmtime is not for threads. */
    const long long z = (long long)now / 86400 + 719468, era = z / 146097, doe = z - era * 146097;
    const long long yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const long long mp = (5 * doy + 2) / 153, day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
    snprintf(out, 64, "%04lld-%02lld-%02lld", (yoe + era * 400 + (month <= 2)) % 10000, month, day);
}

static json_t *entry_of(const rsc_measurement *m)
{
    char date[64];
    today(date);
    json_t *figures = json_object();
    for (size_t i = 0; i < m->n_rows; i++) {
        const rsc_row_figures *row = &m->rows[i];
        if (row->runs)
            json_object_set_new(figures, row->name,
                                json_pack("{s:f, s:f}", "min", rsc_shortest(row), "median", rsc_median(row)));
        else if (row->wrong)
            json_object_set_new(figures, row->name, json_string("wrong"));
    }
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "choice", m->rows[m->best].name, "default", m->rows[m->standard].name,
                     "size", (json_int_t)m->size, "date", date, "microseconds", figures);
}

static void keep(session *s, const rsc_measurement *m)
{
    const rsc_row_figures *best = &m->rows[m->best], *standard = &m->rows[m->standard];
    const rosace_status status = rsc_tuning_save(s->context, s->tunable->operation, s->subject->class_name, entry_of(m));
    /* What is found by then is what the classes that follow stand on: products are part of attention. */
    rsc_tuning_try(s->trial, s->tunable->operation, s->subject->class_name, best->name);
    s->result.measured++;
    s->result.changed += m->best != m->standard;
    rosace_tune_event event = event_of(s);
    if (status && !s->saving) {
        s->saving = status;
        snprintf(s->saving_error, sizeof s->saving_error, "%s", rosace_last_error());
        event.warning = s->saving_error;
        tell(s, &event);
        event.warning = NULL;
    }
    event.row = best->name;
    event.finished = true;
    event.default_row = standard->name;
    event.microseconds = rsc_shortest(best);
    event.default_microseconds = rsc_shortest(standard);
    tell(s, &event);
}

static rosace_status measure(session *s, rsc_measurement *m)
{
    rsc_bench bench = {.context = s->trial, .queue = s->queue, .subject = s->subject};
    const double deadline = s->begun ? s->start + s->options.budget_seconds : INFINITY;
    s->begun = true;
    const rosace_status status = rsc_measure(s->tunable, &bench, deadline, tell_row, s, m);
    for (size_t i = 0; i < m->n_rows; i++) s->result.wrong += m->rows[i].wrong;
    if (status) {
        char warning[640];
        snprintf(warning, sizeof warning, "%s, %s: not measured: %s", s->tunable->operation, s->subject->class_name,
                 rosace_last_error());
        tell_row(s, NULL, warning);
    } else if (m->finished) {
        keep(s, m);
    }
    return status;
}

static bool is_known(const json_t *entries, const rsc_tunable *tunable, const rsc_subject *subject)
{
    return json_object_get(json_object_get(entries, tunable->operation), subject->class_name) != NULL;
}

static rosace_status measure_all(session *s, const json_t *entries, rsc_measurement *m)
{
    const rosace_device_info *device = rosace_context_device_info(s->context);
    rosace_status first = ROSACE_OK;
    rsc_subject subject;
    s->subject = &subject;
    for (int pass = 0; pass < 2; pass++) /* first counts */
        for (int t = 0; t < N_TUNABLES; t++) {
            s->tunable = tunables[t];
            if (!(s->options.operations & s->tunable->flag)) continue;
            for (size_t i = 0; memset(&subject, 0, sizeof subject), s->tunable->class_at(device, i, &subject); i++) {
                const bool known = !s->options.force && is_known(entries, s->tunable, &subject);
                if (!pass) {
                    s->total++;
                    s->result.known += known;
                    continue;
                }
                if (known || s->stopped || (s->begun && rsc_seconds() - s->start > s->options.budget_seconds)) continue;
                const rosace_status status = measure(s, m);
                if (status && !first) first = status;
            }
        }
    s->result.left = s->total - s->result.known - s->result.measured;
    return s->result.measured ? ROSACE_OK : first;
}

/* ---- The session ------------------------------------------------------------------------------------------------- */

static rosace_status open_trial(session *s)
{
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.cl_context = s->context->cl;
    desc.cl_device = s->context->info.device;
    desc.cache_dir = s->context->cache_dir ? s->context->cache_dir : "";
    desc.kernel_dir = s->context->kernel_dir ? s->context->kernel_dir : "";
    desc.log = s->context->log;
    desc.log_user = s->context->log_user;
    desc.allocator = s->context->allocator;
    rosace_status status = rosace_context_create(&desc, &s->trial);
    if (status) return status;
    cl_int code = CL_SUCCESS;
    s->queue = clCreateCommandQueue(s->context->cl, s->context->info.device, 0, &code);
    return code ? rsc_fail_cl(code, "tuning: clCreateCommandQueue") : ROSACE_OK;
}

rosace_status rosace_tune(rosace_context *context, const rosace_tune_options *options, rosace_tune_result *result)
{
    session s = {.context = context, .start = rsc_seconds()};
    json_t *entries = NULL;
    rsc_measurement *m = NULL;
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context: NULL");
    const rosace_tune_options defaults = ROSACE_TUNE_OPTIONS_DEFAULT;
    s.options = defaults;
    rosace_status status = options ? rsc_read_struct("options", options, &s.options, sizeof s.options) : ROSACE_OK;
    if (!status && result) status = rsc_check_struct("result", result->struct_size, sizeof *result);
    if (status) return status;
    if (!(s.options.budget_seconds > 0.0) || !isfinite(s.options.budget_seconds))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "options.budget_seconds = %g: must be positive", s.options.budget_seconds);
    if (!s.options.operations || (s.options.operations & ~ROSACE_TUNE_ALL))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "options.operations = %u: must be a sum of ROSACE_TUNE_...",
                        s.options.operations);
    if (context->tuning_off) return rsc_fail(ROSACE_UNSUPPORTED, "tuning is off: ROSACE_TUNING=off when the context was made");

    rsc_tuning_reload(context); /* another process may have gone on meanwhile */
    if (!(entries = rsc_tuning_entries(context)) || !(m = rsc_calloc(context, 1, sizeof *m)))
        status = rsc_fail(ROSACE_OUT_OF_MEMORY, "tuning: no host memory");
    if (!status) status = open_trial(&s);
    if (!status) status = measure_all(&s, entries, m);
    if (!status && s.saving) status = rsc_fail(s.saving, "%s", s.saving_error);

    if (s.queue && clReleaseCommandQueue(s.queue) != CL_SUCCESS)
        rsc_log(context, ROSACE_LOG_WARNING, "clReleaseCommandQueue failed");
    rosace_context_destroy(&s.trial);
    rsc_free(context, m);
    json_decref(entries);
    if (result) {
        const size_t size = result->struct_size;
        s.result.struct_size = size;
        memcpy(result, &s.result, size);
    }
    return status;
}

/* ---- What is known ----------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *entry, const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));
    return text ? text : "";
}

static double time_of(const json_t *entry, const char *row)
{
    return json_number_value(json_object_get(json_object_get(json_object_get(entry, "microseconds"), row), "min"));
}

rosace_status rosace_tuned_visit(rosace_context *context, rosace_tuned_visitor visitor, void *user)
{
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context: NULL");
    if (!visitor) return rsc_fail(ROSACE_INVALID_ARGUMENT, "visitor: NULL");
    json_t *entries = rsc_tuning_entries(context), *classes, *entry;
    const char *operation, *shape;
    if (!entries) return rsc_fail(ROSACE_OUT_OF_MEMORY, "tuning: no host memory");
    json_object_foreach(entries, operation, classes)
    {
        json_object_foreach(classes, shape, entry)
        {
            rosace_tuned_class tuned = {.operation = operation,
                                        .shape = shape,
                                        .row = text_of(entry, "choice"),
                                        .default_row = text_of(entry, "default"),
                                        .date = text_of(entry, "date")};
            tuned.microseconds = time_of(entry, tuned.row);
            tuned.default_microseconds = time_of(entry, tuned.default_row);
            visitor(user, &tuned);
        }
    }
    json_decref(entries);
    return ROSACE_OK;
}

rosace_status rosace_tuned_path(rosace_context *context, char *path, size_t path_bytes)
{
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context: NULL");
    if (!path) return rsc_fail(ROSACE_INVALID_ARGUMENT, "path: NULL");
    if (!context->cache_dir || context->tuning_off)
        return rsc_fail(ROSACE_UNSUPPORTED, context->tuning_off ? "tuning is off: ROSACE_TUNING=off when the context was made"
                                                                : "there is no cache folder to keep measurements in");
    if (rsc_tuning_path(context, path, path_bytes)) return ROSACE_OK;
    return rsc_fail(ROSACE_INVALID_ARGUMENT, "path_bytes = %zu: the path is longer", path_bytes);
}

rosace_status rosace_tuned_clear(rosace_context *context)
{
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context: NULL");
    return rsc_tuning_clear(context);
}
