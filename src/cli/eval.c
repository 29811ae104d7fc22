/* SPDX-License-Identifier: MIT
 * rosace eval: models and systems to run, progress, reports. */
#include <stdlib.h>
#include <string.h>

#include "eval_options.h"
#include "evaluate.h"
#include "output.h"
#include "progress.h"

/* Windows are run together up to so many tokens: enough to keep a device busy, little enough to fit a small one. */
enum { BATCH_TOKENS = 8192 };

/* Everything an evaluation owns, freed at one place. */
typedef struct eval_state {
    eval_options options;
    token_text text;
    model_config *configs; /* [n_models] */
    report_model *models;
    size_t n_models;
    report_series *series;
    size_t n_series;
    evaluation evaluation;
    cl_command_queue queue;
} eval_state;

/* ---- What is to be run ------------------------------------------------------------------------------------------- */

static const char *folder_name(const char *folder) {
    const char *slash = strrchr(folder, '/');
    return slash ? slash + 1 : folder;
}

static bool plan_models(eval_state *s) {
    s->n_models = s->options.n_folders;
    s->configs = cli_calloc(s->n_models, sizeof *s->configs);
    s->models = cli_calloc(s->n_models, sizeof *s->models);
    if (!s->configs || !s->models) return false;
    for (size_t i = 0; i < s->n_models; i++) {
        const char *folder = s->options.folders[i];
        char path[4096];
        if (snprintf(path, sizeof path, "%s/config.json", folder) >= (int)sizeof path)
            return cli_fail("%s: the path is too long", folder);
        if (!config_load(path, &s->configs[i])) return false;
        s->models[i] = (report_model){.name = folder_name(folder),
                                      .folder = folder,
                                      .position = position_kind_name(s->configs[i].position),
                                      .train_length = s->configs[i].train_length};
    }
    /* Two folders of one name are told apart by their paths. */
    for (size_t i = 0; i < s->n_models; i++)
        for (size_t j = 0; j < s->n_models; j++)
            if (i != j && !strcmp(folder_name(s->models[i].folder), folder_name(s->models[j].folder)))
                s->models[i].name = s->models[i].folder;
    return true;
}

static bool is_wanted(const eval_state *s, const position_system *system) {
    if (!s->options.n_systems) return true;
    for (size_t i = 0; i < s->options.n_systems; i++)
        if (s->options.systems[i] == system) return true;
    return false;
}

static void add_series(eval_state *s, size_t model_index, const position_system *system) {
    const report_model *model = &s->models[model_index];
    const position_settings settings = position_resolve(system, &s->options.settings, &s->configs[model_index]);
    report_series *series = &s->series[s->n_series++];
    series->model = model->name;
    series->model_index = model_index;
    series->system = system->name;
    series->window = settings.window;
    series->sinks = settings.sinks;
    series->block = settings.block;
    series->rerope_window = settings.rerope_window;
    series->rerope_leak = settings.rerope_leak;
    position_label(system, &settings, series->label, sizeof series->label);
    snprintf(series->name, sizeof series->name, "%s/%s", model->name, system->name);
}

/* Every model with every wanted system that fits. A system that fits no model, or a model without a system, is an
 * error. */
static bool plan_series(eval_state *s) {
    if (!(s->series = cli_calloc(s->n_models * POSITION_MAX_SYSTEMS, sizeof *s->series))) return false;
    for (size_t i = 0; i < s->options.n_systems; i++) {
        bool fits = false;
        for (size_t m = 0; m < s->n_models; m++)
            fits |= position_fits(s->options.systems[i], &s->configs[m]);
        if (fits) continue;
        if (s->n_models > 1)
            return cli_fail("position system '%s' fits none of the models", s->options.systems[i]->name);
        if (s->options.systems[i]->scaling && s->configs[0].position == POSITION_ROPE &&
            s->configs[0].kinds[ATTENTION_FULL].rope.scaling.kind)
            return cli_fail("position system '%s' does not fit %s, whose config.json scales the rotation already",
                            s->options.systems[i]->name, s->models[0].folder);
        return cli_fail("position system '%s' does not fit %s, whose position_embedding_type is %s",
                        s->options.systems[i]->name, s->models[0].folder, s->models[0].position);
    }
    for (size_t m = 0; m < s->n_models; m++) {
        const size_t before = s->n_series;
        for (const position_system *system = position_systems; system->name; system++)
            if (is_wanted(s, system) && position_fits(system, &s->configs[m])) add_series(s, m, system);
        if (s->n_series == before)
            return cli_fail("none of --positions fits %s, whose position_embedding_type is %s", s->models[m].folder,
                            s->models[m].position);
    }
    return true;
}

static bool plan_lengths(eval_state *s) {
    static const int64_t eighths[] = {8, 9, 10, 12, 16, 32, 64, 128};
    const size_t n = sizeof eighths / sizeof *eighths;
    if (!s->options.n_lengths) {
        if (!(s->options.lengths = cli_calloc(n, sizeof *s->options.lengths))) return false;
        for (size_t i = 0; i < n; i++)
            s->options.lengths[i] = s->configs[0].train_length * eighths[i] / 8;
        s->options.n_lengths = n;
    }
    for (size_t i = 0; i < s->n_series; i++)
        if (!(s->series[i].figures = cli_calloc(s->options.n_lengths, sizeof *s->series[i].figures))) return false;
    const int64_t last = s->options.lengths[s->options.n_lengths - 1];
    s->evaluation.longest = s->options.longest > last ? s->options.longest : last;
    return true;
}

static bool check_text(eval_state *s) {
    const eval_options *o = &s->options;
    const char *name = o->tokens ? o->tokens : o->text, *what = o->tokens ? "tokens" : "bytes";
    if (!text_load(o->text, o->tokens, &s->text)) return false;
    if (s->text.count < (size_t)s->evaluation.longest + 1)
        return cli_fail("%s: %zu %s are too few for a length of %lld, which needs %lld; see --lengths", name,
                        s->text.count, what, (long long)s->evaluation.longest, (long long)s->evaluation.longest + 1);
    for (size_t i = 0; i < s->n_models; i++) {
        if (s->configs[i].bidirectional && (o->mask_token < 0 || o->mask_token >= (int64_t)s->configs[i].vocab))
            return cli_fail("%s: is an encoder, which predicts masked tokens: --mask-token must be the id of the mask, below %zu",
                            s->models[i].folder, s->configs[i].vocab);
        if (s->text.are_bytes && s->configs[i].vocab != 256)
            return cli_fail("%s: vocab_size %zu is not that of bytes, 256; give the text's token ids with --tokens",
                            s->models[i].folder, s->configs[i].vocab);
        if ((size_t)s->text.largest >= s->configs[i].vocab)
            return cli_fail("%s: holds the token id %d, but vocab_size of %s is %zu", name, (int)s->text.largest,
                            s->models[i].folder, s->configs[i].vocab);
    }
    return true;
}

/* ---- Running ----------------------------------------------------------------------------------------------------- */

static bool run_series(eval_state *s, language_model *model, report_series *series, progress *shown) {
    const model_config *config = &s->configs[series->model_index];
    const position_system *system = position_find(series->system);
    const position_settings settings = position_resolve(system, &s->options.settings, config);
    for (size_t i = 0; i < s->options.n_lengths; i++) {
        progress_begin(shown, series, s->options.lengths[i]);
        if (!evaluate(&s->evaluation, model, system, &settings, s->options.lengths[i], progress_batch, shown,
                      &series->figures[i], series->variant, sizeof series->variant))
            return false;
    }
    return true;
}

static bool run_models(eval_state *s) {
    const rosace_device_info *device = rosace_context_device_info(s->evaluation.context);
    progress shown;
    progress_start(&shown, device, s->n_series * s->options.n_lengths);
    for (size_t m = 0; m < s->n_models; m++) {
        language_model *model;
        if (!model_load(s->evaluation.context, s->queue, s->models[m].folder, &model)) return false;
        s->models[m].parameters = model_parameters(model);
        const size_t longest = (size_t)s->evaluation.longest;
        bool ok = model_reserve(model, longest > BATCH_TOKENS ? longest : BATCH_TOKENS);
        progress_model(&shown, &s->models[m]);
        for (size_t i = 0; ok && i < s->n_series; i++) {
            if (s->series[i].model_index != m) continue;
            ok = run_series(s, model, &s->series[i], &shown);
            if (ok) progress_series(&shown, &s->series[i], s->options.n_lengths);
        }
        progress_clear(&shown);
        model_free(&model);
        if (!ok) return false;
    }
    return true;
}

static void log_line(void *user, rosace_log_level level, const char *message) {
    const eval_options *options = user;
    if (level <= ROSACE_LOG_WARNING || options->verbose) fprintf(stderr, "rosace: %s\n", message);
}

static bool open_device(eval_state *s) {
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.device = s->options.device;
    desc.log = log_line;
    desc.log_user = &s->options;
    if (rosace_context_create(&desc, &s->evaluation.context)) {
        if (s->options.device) return cli_fail_rosace("--device %s", s->options.device);
        return cli_fail_rosace("eval");
    }
    cl_int code;
    s->queue = clCreateCommandQueue(rosace_context_cl(s->evaluation.context),
                                    rosace_context_cl_device(s->evaluation.context), 0, &code);
    return s->queue || cli_fail_cl(code, "cannot make a command queue");
}

static bool report_results(eval_state *s) {
    const eval_options *o = &s->options;
    const eval_report report = {
        .device = rosace_context_device_info(s->evaluation.context),
        .command = s->options.command_line,
        .text = o->text,
        .text_bytes = s->text.bytes,
        .text_tokens = s->text.count,
        .unit = s->text.bytes ? "bits per byte" : "bits per token",
        .windows = s->evaluation.windows,
        .last = s->evaluation.last,
        .lengths = s->options.lengths,
        .n_lengths = s->options.n_lengths,
        .models = s->models,
        .n_models = s->n_models,
        .series = s->series,
        .n_series = s->n_series,
    };
    report_print(&report, stdout, o->verbose);
    return (!o->json || output_save(o->json, report_write_json, &report)) &&
           (!o->html || output_save(o->html, report_write_html, &report));
}

static bool run(eval_state *s) {
    const eval_options *o = &s->options;
    if (!plan_models(s) || !plan_series(s) || !plan_lengths(s) || !check_text(s)) return false;
    if ((o->json && !output_check("--json", o->json)) || (o->html && !output_check("--html", o->html)))
        return false;
    if (!open_device(s)) return false;
    s->evaluation.text = &s->text;
    s->evaluation.windows = o->windows;
    s->evaluation.last = o->last;
    s->evaluation.path = o->path;
    s->evaluation.mask_token = (int32_t)o->mask_token;
    s->evaluation.batch_tokens = BATCH_TOKENS;
    s->evaluation.bits_scale = 1.4426950408889634; /* 1 / ln 2 */
    /* Token ids of a known text: bits spread over the bytes they stand for. */
    if (s->text.bytes) s->evaluation.bits_scale *= (double)s->text.count / (double)s->text.bytes;
    return run_models(s) && report_results(s);
}

static void eval_free(eval_state *s) {
    for (size_t i = 0; i < s->n_series; i++)
        free(s->series[i].figures);
    free(s->series);
    free(s->models);
    free(s->configs);
    text_free(&s->text);
    if (s->queue) clReleaseCommandQueue(s->queue);
    rosace_context_destroy(&s->evaluation.context);
    eval_options_free(&s->options);
}

int cmd_eval(int argc, const char **argv) {
    eval_state state = {0};
    int status = eval_options_parse(&state.options, argc, argv);
    if (!status) status = run(&state) ? CLI_OK : CLI_FAILURE;
    eval_free(&state);
    return status < 0 ? CLI_OK : status;
}
