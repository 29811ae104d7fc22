/* SPDX-License-Identifier: MIT */
#include "eval_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char intro[] =
    "Measures how well a language model predicts a text, at growing lengths, under each position system.\n\n"
    "MODEL_DIR holds config.json and model.safetensors as the transformers library writes them, of Llama, Mistral, Qwen 2\n"
    "and 3, Gemma 2 and 3, GPT-NeoX, BLOOM, MPT, gpt-oss or RoFormer. The model runs entirely on an OpenCL device. The\n"
    "figure is bits per byte of the text, less is better: a model holds its length when the figure stays where it was at\n"
    "the training length L, and falls apart when it rises. Every length predicts the same last\n"
    "bytes of the same windows of the text.";
static const char example[] =
    "Example: see plain rotary embedding break past its length and a window hold it, as a table and a page\n"
    "  rosace eval models/rope --text models/heldout.txt --positions rope,window --html rope.html";

/* The list of systems for --help, from their table. */
static void print_systems(char *out, size_t bytes) {
    size_t used = (size_t)snprintf(out, bytes, "Position systems (without --positions, all that fit the model):\n");
    for (const position_system *p = position_systems; p->name && used < bytes; p++)
        used += (size_t)snprintf(out + used, bytes - used, "  %-20s %s\n", p->name, p->about);
    if (used < bytes) snprintf(out + used, bytes - used, "\n%s", example);
}

/* Numbers as popt hands them over, before they are checked. */
typedef struct raw_options {
    char *lengths, *longest, *positions, *window, *sinks, *block, *rerope, *leak, *windows, *last, *mask, *path;
} raw_options;

/* Cuts the list up. */
static bool parse_positions(char *list, eval_options *out) {
    if (!list) return true;
    for (char *name = list; name;) {
        char *next = strchr(name, ',');
        if (next) *next++ = '\0';
        name += strspn(name, " ");
        const position_system *system = position_find(name);
        if (!system) {
            char known[512] = "";
            for (const position_system *p = position_systems; p->name; p++) {
                if (p != position_systems) strcat(known, ", ");
                strcat(known, p->name);
            }
            return cli_fail("--positions: unknown position system '%s'; known are %s", name, known);
        }
        bool repeated = false;
        for (size_t i = 0; i < out->n_systems; i++)
            repeated |= out->systems[i] == system;
        if (!repeated) out->systems[out->n_systems++] = system;
        name = next;
    }
    return true;
}

static bool parse_optional(const char *option, const char *text, int64_t least, int64_t most, int64_t *value) {
    return !text || cli_parse_integer(option, text, least, most, value);
}

static bool parse_path(const char *text, rosace_attention_path *out) {
    *out = ROSACE_PATH_AUTO;
    if (!text || !strcmp(text, "auto")) return true;
    if (!strcmp(text, "gemm"))
        *out = ROSACE_PATH_GEMM;
    else if (!strcmp(text, "fused"))
        *out = ROSACE_PATH_FUSED;
    else
        return cli_fail("--path %s: must be auto, gemm or fused", text);
    return true;
}

static bool parse_values(const raw_options *raw, eval_options *out) {
    const int64_t most = (1 << 30) - 1;
    int64_t windows = 16, last = 64;
    out->settings = (position_settings){-1, -1, -1, -1, -1};
    if (!out->text && !out->tokens) return cli_fail("eval: --text is missing (see rosace eval --help)");
    if (!out->n_folders) return cli_fail("eval: a model folder is missing (see rosace eval --help)");
    if ((raw->lengths && !cli_parse_lengths("--lengths", raw->lengths, &out->lengths, &out->n_lengths)) ||
        !parse_optional("--longest", raw->longest, 1, 1 << 24, &out->longest) ||
        !parse_positions(raw->positions, out) ||
        !parse_optional("--window", raw->window, 0, most, &out->settings.window) ||
        !parse_optional("--sinks", raw->sinks, 0, most, &out->settings.sinks) ||
        !parse_optional("--block", raw->block, 1, most, &out->settings.block) ||
        !parse_optional("--rerope-window", raw->rerope, 1, most, &out->settings.rerope_window) ||
        !parse_optional("--rerope-leak", raw->leak, 2, 1 << 10, &out->settings.rerope_leak) ||
        !parse_optional("--windows", raw->windows, 1, 1 << 20, &windows) ||
        !parse_optional("--last", raw->last, 1, most, &last) ||
        !parse_optional("--mask-token", raw->mask, 0, INT32_MAX, &out->mask_token) || !parse_path(raw->path, &out->path))
        return false;
    if (raw->longest && out->n_lengths && out->longest < out->lengths[out->n_lengths - 1])
        return cli_fail("--longest %lld: is less than the length %lld", (long long)out->longest,
                        (long long)out->lengths[out->n_lengths - 1]);
    out->windows = (size_t)windows;
    out->last = (size_t)last;
    return true;
}

static char *copy_text(const char *text) {
    char *copy = cli_calloc(strlen(text) + 1, 1);
    return copy ? strcpy(copy, text) : NULL;
}

static bool take_folders(poptContext parsed, eval_options *out) {
    const char **arguments = poptGetArgs(parsed);
    size_t n = 0;
    while (arguments && arguments[n])
        n++;
    if (!(out->folders = cli_calloc(n, sizeof *out->folders))) return false;
    for (; out->n_folders < n; out->n_folders++) {
        char *folder = copy_text(arguments[out->n_folders]);
        if (!folder) return false;
        size_t end = strlen(folder);
        while (end > 1 && folder[end - 1] == '/')
            folder[--end] = '\0';
        out->folders[out->n_folders] = folder;
    }
    return true;
}

int eval_options_parse(eval_options *out, int argc, const char **argv) {
    raw_options raw = {0};
    poptContext parsed;
    int verbose = 0;
    memset(out, 0, sizeof *out);
    out->mask_token = -1;
    const struct poptOption options[] = {
        {"text", 't', POPT_ARG_STRING, &out->text, 0, "the text, as bytes", "FILE"},
        {"tokens", '\0', POPT_ARG_STRING, &out->tokens, 0,
         "its token ids, raw little-endian uint32, for models whose tokens are not bytes", "FILE"},
        {"lengths", 'l', POPT_ARG_STRING, &raw.lengths, 0,
         "lengths to evaluate (default 1, 1.125, 1.25, 1.5, 2, 4, 8, 16 L)", "N,N,..."},
        {"longest", '\0', POPT_ARG_STRING, &raw.longest, 0,
         "place the windows as for this length too, so that runs of other lengths compare (default the largest)", "N"},
        {"positions", 'p', POPT_ARG_STRING, &raw.positions, 0, "position systems, see below (default all that fit)",
         "NAME,..."},
        {"window", 'w', POPT_ARG_STRING, &raw.window, 0,
         "keys a window leaves visible before the query (default L - 1)", "W"},
        {"sinks", '\0', POPT_ARG_STRING, &raw.sinks, 0, "first keys that window+sinks keeps visible (default 4)", "S"},
        {"block", '\0', POPT_ARG_STRING, &raw.block, 0, "keys of a block of bca (default L / 2)", "C"},
        {"rerope-window", '\0', POPT_ARG_STRING, &raw.rerope, 0,
         "distance at which rerope stops counting (default 3 L / 4)", "W"},
        {"rerope-leak", '\0', POPT_ARG_STRING, &raw.leak, 0,
         "how many times slower leaky-rerope counts from there on (default 16)", "K"},
        {"windows", '\0', POPT_ARG_STRING, &raw.windows, 0, "windows of the text to average over (default 16)", "K"},
        {"last", '\0', POPT_ARG_STRING, &raw.last, 0,
         "positions at a window's end the main figure is about (default 64)", "K"},
        {"mask-token", '\0', POPT_ARG_STRING, &raw.mask, 0,
         "for encoders: the token id that stands for one to be predicted; every eighth is", "ID"},
        {"device", 'd', POPT_ARG_STRING, &out->device, 0,
         "auto, cpu, gpu, igpu, dgpu, P:D or part of a name; several with commas (default auto)", "DEVICE"},
        {"path", '\0', POPT_ARG_STRING, &raw.path, 0, "how attention is computed: auto, gemm or fused (default auto)",
         "PATH"},
        {"json", 'j', POPT_ARG_STRING, &out->json, 0, "write the figures as JSON", "FILE"},
        {"html", 'H', POPT_ARG_STRING, &out->html, 0, "write a page with the curves", "FILE"},
        {"verbose", 'v', POPT_ARG_NONE, &verbose, 0, "figures over all positions too, and what the library logs", NULL},
        POPT_TABLEEND,
    };
    char closing[4096];
    print_systems(closing, sizeof closing);
    const cli_command command = {.arguments = "MODEL_DIR... --text FILE", .intro = intro, .closing = closing};
    int status = cli_parse(&command, options, argc, argv, &parsed);
    if (!status) {
        out->verbose = verbose != 0;
        out->command_line = cli_command_line(argc, argv);
        if (!out->command_line || !take_folders(parsed, out) || !parse_values(&raw, out)) status = CLI_USAGE;
    }
    char *const strings[] = {raw.lengths, raw.longest, raw.positions, raw.window, raw.sinks,
                             raw.block,   raw.rerope,  raw.leak,      raw.windows, raw.last, raw.mask, raw.path};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        free(strings[i]);
    if (parsed) poptFreeContext(parsed);
    return status;
}

void eval_options_free(eval_options *options) {
    char *const strings[] = {options->text, options->tokens, options->device,
                             options->json, options->html,   options->command_line};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        free(strings[i]);
    for (size_t i = 0; i < options->n_folders; i++)
        free(options->folders[i]);
    free(options->folders);
    free(options->lengths);
}
