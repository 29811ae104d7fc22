/* SPDX-License-Identifier: MIT
 * Attention: a descriptor becomes a plan that runs one variant row. */
#include "attention_sequences.h"

#include "../check.h"
#include "../device.h"
#include "../position/rope_scaling.h"
#include "../tuning.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In order of preference. */
static const rsc_attention_variant *const tables[] = {rsc_attention_decode_variants, rsc_attention_matrix_variants,
                                                      rsc_attention_gpu_variants, rsc_attention_fused_variants,
                                                      rsc_attention_gemm_variants};
enum { N_TABLES = sizeof tables / sizeof tables[0] };

const rsc_attention_variant *rsc_attention_variant_at(size_t i)
{
    for (int t = 0; t < N_TABLES; t++)
        for (const rsc_attention_variant *row = tables[t]; row->name; row++)
            if (i-- == 0) return row;
    return NULL;
}

static const char *path_name(rosace_attention_path path)
{
    switch (path) {
    case ROSACE_PATH_GEMM: return "gemm";
    case ROSACE_PATH_FUSED: return "fused";
    case ROSACE_PATH_DECODE: return "decode";
    default: return "auto";
    }
}

/* What descriptor and environment ask for. $ROSACE_ATTENTION_PATH and $ROSACE_ATTENTION_VARIANT speak where the descriptor
 * leaves it open; a variant of the very path the descriptor asks for may be named, too. */
typedef struct wish {
    rosace_attention_path path;
    const char *variant; /* NULL: any */
} wish;

static rosace_status read_wish(const rosace_attention_desc *desc, wish *out)
{
    *out = (wish){.path = desc->path};
    const char *path = getenv("ROSACE_ATTENTION_PATH");
    if (desc->path == ROSACE_PATH_AUTO && path && *path) {
        if (!strcmp(path, "gemm")) out->path = ROSACE_PATH_GEMM;
        else if (!strcmp(path, "fused")) out->path = ROSACE_PATH_FUSED;
        else if (!strcmp(path, "decode")) out->path = ROSACE_PATH_DECODE;
        else return rsc_fail(ROSACE_INVALID_ARGUMENT, "$ROSACE_ATTENTION_PATH = \"%s\": must be gemm, fused or decode", path);
    }
    const char *variant = getenv("ROSACE_ATTENTION_VARIANT");
    if (!variant || !*variant) return ROSACE_OK;
    char known[512] = "";
    for (int t = 0; t < N_TABLES; t++)
        for (const rsc_attention_variant *row = tables[t]; row->name; row++) {
            if (!strcmp(row->name, variant)) {
                if (desc->path == ROSACE_PATH_AUTO) out->path = row->path;
                if (out->path == row->path) out->variant = row->name;
                return ROSACE_OK;
            }
            const size_t at = strlen(known);
            snprintf(known + at, sizeof known - at, " %s", row->name);
        }
    return rsc_fail(ROSACE_INVALID_ARGUMENT, "$ROSACE_ATTENTION_VARIANT = \"%s\": must be one of%s", variant, known);
}

/* Whether the decode path is to be looked at: it is asked for, or the queries are few. */
static bool may_decode(const rosace_attention_desc *desc, rosace_attention_path path)
{
    if (path != ROSACE_PATH_AUTO) return path == ROSACE_PATH_DECODE;
    return desc->max_seq_q >= 1 && desc->max_seq_q <= RSC_DECODE_QUERIES;
}

/* ---- What measurements say --------------------------------------------------------------------------------------- */

static const char operation[] = "attention";

void rsc_attention_class(const rosace_attention_desc *desc, char *out, size_t out_bytes)
{
    /* A window that is much longer than a tile is high costs like no window: nearly all of its tiles are whole. */
    static const int64_t short_reach = 512;
    const rosace_mask *mask = &desc->mask;
    const bool window = mask->window_left >= 0 && mask->window_left < short_reach &&
                        (mask->causal || (mask->window_right >= 0 && mask->window_right < short_reach));
    const bool chunks = mask->chunk && mask->chunk * (mask->chunk_back + 1) <= short_reach;
    const unsigned dim = desc->head_dim <= 64 ? 64 : desc->head_dim <= 128 ? 128 : 256;
    snprintf(out, out_bytes, "%s d%u %s%s", may_decode(desc, desc->path) ? "decode" : window || chunks ? "window" : "causal", dim,
             rosace_dtype_name(desc->dtype), desc->n_heads > desc->n_kv_heads ? " gqa" : "");
}

static bool suits(const rosace_device_info *device, const rsc_attention_variant *row)
{
    return !row->suits || row->suits(device);
}

/* Fused kernels take a row's keys in one work-item, too many turns for some devices; `auto` cannot know the lengths. */
static bool lasts(const rosace_device_info *device, const rosace_attention_desc *desc, const rsc_attention_variant *row)
{
    return row->path != ROSACE_PATH_FUSED || desc->cache || !rsc_device_ends_loops(device);
}

static void print_choice(const rsc_attention_choice *choice, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s%s%s", choice->variant->name, choice->tile ? "/" : "", choice->tile ? choice->tile : "");
}

/* The index-th choice for a descriptor that a device is meant to run. */
static bool candidate(const rosace_device_info *device, const rosace_attention_desc *desc, size_t index,
                      rsc_attention_choice *out)
{
    for (int t = 0; t < N_TABLES; t++)
        for (const rsc_attention_variant *row = tables[t]; row->name; row++) {
            char reason[256];
            if (row->path == ROSACE_PATH_DECODE && !may_decode(desc, desc->path)) continue;
            if (desc->path == ROSACE_PATH_AUTO && !lasts(device, desc, row)) continue;
            if (!suits(device, row) || !row->accepts(device, desc, reason, sizeof reason)) continue;
            *out = (rsc_attention_choice){.variant = row};
            if (!row->tile) {
                if (index-- == 0) return true;
                continue;
            }
            for (size_t i = 0; (out->tile = row->tile(device, desc, i)) != NULL; i++)
                if (index-- == 0) return true;
        }
    return false;
}

bool rsc_attention_candidate(const rosace_device_info *device, const rosace_attention_desc *desc, size_t index, char *out,
                             size_t out_bytes)
{
    rsc_attention_choice choice;
    if (!candidate(device, desc, index, &choice)) return false;
    print_choice(&choice, out, out_bytes);
    return true;
}

void rsc_attention_plan_choice(const rosace_attention_plan *plan, char *out, size_t out_bytes)
{
    print_choice(&(rsc_attention_choice){.variant = plan->variant, .tile = plan->tile}, out, out_bytes);
}

static bool is_known(const char *name)
{
    const size_t length = strcspn(name, "/");
    for (int t = 0; t < N_TABLES; t++)
        for (const rsc_attention_variant *row = tables[t]; row->name; row++)
            if (strlen(row->name) == length && !strncmp(row->name, name, length)) return true;
    return false;
}

/* The choice that was measured to be the best, when there is one and it can run this. */
static bool choose_tuned(rosace_context *context, const rosace_attention_desc *desc, rosace_attention_path path,
                         rsc_attention_choice *out)
{
    const rosace_device_info *device = rosace_context_device_info(context);
    char class_name[RSC_CLASS_BYTES], wanted[RSC_ROW_BYTES], name[RSC_ROW_BYTES];
    rsc_attention_class(desc, class_name, sizeof class_name);
    if (!rsc_tuned(context, operation, class_name, wanted)) return false;
    bool same_variant = false;
    for (size_t i = 0; candidate(device, desc, i, out); i++) {
        print_choice(out, name, sizeof name);
        if (!strcmp(name, wanted)) {
            out->tuned = true;
            return path == ROSACE_PATH_AUTO ? lasts(device, desc, out->variant) : path == out->variant->path;
        }
        same_variant |= !strncmp(name, wanted, strlen(out->variant->name)) && wanted[strlen(out->variant->name)] == '/';
    }
    /* One that is there but does not have this descriptor's position system is no mistake of the file. */
    if (same_variant || !is_known(wanted)) {
        char reason[RSC_ROW_BYTES + 48];
        snprintf(reason, sizeof reason, "there is no row \"%s\" here", wanted);
        rsc_tuning_refuse(context, operation, class_name, reason);
    }
    return false;
}

static rosace_status choose(rosace_context *context, const rosace_attention_desc *desc, rsc_attention_choice *out)
{
    wish want;
    const rosace_status status = read_wish(desc, &want);
    if (status) return status;
    if (!want.variant && choose_tuned(context, desc, want.path, out)) return ROSACE_OK;
    char refusals[1024] = "";
    for (int t = 0; t < N_TABLES; t++)
        for (const rsc_attention_variant *row = tables[t]; row->name; row++) {
            if (want.path != ROSACE_PATH_AUTO && want.path != row->path) continue;
            if (row->path == ROSACE_PATH_DECODE && !may_decode(desc, want.path)) continue;
            if (want.variant && strcmp(want.variant, row->name) != 0) continue;
            if (!want.variant && !suits(rosace_context_device_info(context), row)) continue;
            if (!want.variant && want.path == ROSACE_PATH_AUTO && !lasts(rosace_context_device_info(context), desc, row)) continue;
            char reason[256] = "";
            if (row->accepts(rosace_context_device_info(context), desc, reason, sizeof reason)) {
                *out = (rsc_attention_choice){.variant = row};
                return ROSACE_OK;
            }
            rsc_log(context, ROSACE_LOG_DEBUG, "%s: not taken: %s", row->name, reason);
            const size_t at = strlen(refusals);
            snprintf(refusals + at, sizeof refusals - at, "%s%s: %s", at ? "; " : "", row->name, reason);
        }
    return rsc_fail(ROSACE_UNSUPPORTED, "path %s: %s", path_name(want.path), *refusals ? refusals : "no variant has it");
}

/* ---- Plans ------------------------------------------------------------------------------------------------------- */

void rosace_attention_plan_destroy(rosace_attention_plan **plan)
{
    if (!plan || !*plan) return;
    rosace_attention_plan *p = *plan;
    *plan = NULL;
    if (p->variant) p->variant->destroy(p);
    if (p->workspace) clReleaseMemObject(p->workspace);
    if (p->head_windows) clReleaseMemObject(p->head_windows);
    if (p->visited) clReleaseMemObject(p->visited);
    rsc_free(p->context, p->head_window_left);
    rsc_free(p->context, p);
}

/* For host and device. */
static rosace_status copy_head_windows(rosace_attention_plan *plan)
{
    const size_t n = plan->desc.n_heads;
    int32_t *windows = rsc_calloc(plan->context, n, sizeof *windows);
    plan->head_window_left = rsc_calloc(plan->context, n, sizeof *plan->head_window_left);
    rosace_status status = ROSACE_OK;
    if (!windows || !plan->head_window_left) status = rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    for (size_t h = 0; !status && h < n; h++) {
        plan->head_window_left[h] = plan->desc.head_window_left[h];
        windows[h] = plan->head_window_left[h] < 0 ? INT32_MAX : (int32_t)plan->head_window_left[h];
    }
    plan->desc.head_window_left = plan->head_window_left;
    if (!status)
        status = rsc_buffer_create(plan->context, n * sizeof *windows, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, windows,
                                   "head_window_left", &plan->head_windows);
    rsc_free(plan->context, windows);
    return status;
}

rosace_status rsc_attention_plan_make(rosace_context *context, const rosace_attention_desc *desc,
                                      rsc_attention_choice *choice, rosace_attention_plan **out)
{
    *out = NULL;
    rosace_attention_plan *plan = rsc_calloc(context, 1, sizeof *plan);
    if (!plan) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    plan->context = context;
    plan->desc = *desc;
    if (desc->rope) {
        plan->rope = *desc->rope;
        plan->desc.rope = &plan->rope;
    }
    plan->variant = choice->variant;
    plan->tile = choice->tile;
    snprintf(plan->variant_name, sizeof plan->variant_name, "%s", plan->variant->name);
    rosace_status status = desc->head_window_left ? copy_head_windows(plan) : ROSACE_OK;
    static const cl_uint none_yet[2] = {0, 0};
    if (!status && choice->count_visited)
        status = rsc_buffer_create(context, sizeof none_yet, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, none_yet, "visited", &plan->visited);
    if (!status) status = plan->variant->create(plan);
    plan->rope.scaling.short_factor = plan->rope.scaling.long_factor = NULL; /* the caller's, and used */
    choice->tile = plan->tile;
    if (status) goto fail;
    if (desc->max_batch) {
        status = rosace_attention_workspace_bytes(plan, desc->max_batch, desc->max_seq_q, desc->max_seq_k,
                                                  &plan->workspace_bytes);
        if (!status && plan->workspace_bytes)
            status = rsc_buffer_create(context, plan->workspace_bytes, CL_MEM_READ_WRITE, NULL, "attention workspace",
                                       &plan->workspace);
        if (status) goto fail;
    }
    *out = plan;
    return ROSACE_OK;
fail:
    rosace_attention_plan_destroy(&plan);
    return status;
}

/* What to take after `choice`: the next tile of its variant, unless `built` says that none of them will do, or a variant
 * behind it. */
static bool next_choice(rosace_context *context, const rosace_attention_desc *desc, bool built, rsc_attention_choice *choice)
{
    const rosace_device_info *device = rosace_context_device_info(context);
    const rsc_attention_choice before = *choice;
    wish want;
    if (read_wish(desc, &want)) return false;
    bool past = false;
    const rsc_attention_variant *row;
    for (size_t r = 0; (row = rsc_attention_variant_at(r)) != NULL; r++) {
        char reason[256];
        if (want.path != ROSACE_PATH_AUTO && want.path != row->path) continue;
        if (row->path == ROSACE_PATH_DECODE && !may_decode(desc, want.path)) continue;
        if (want.variant ? strcmp(want.variant, row->name) != 0 : !suits(device, row)) continue;
        if (!row->accepts(device, desc, reason, sizeof reason)) continue;
        *choice = (rsc_attention_choice){.variant = row};
        if (past && !row->tile) return true;
        for (size_t i = 0; row->tile && (choice->tile = row->tile(device, desc, i)) != NULL; i++) {
            if (past) return true;
            past = built && row == before.variant && before.tile && !strcmp(choice->tile, before.tile);
        }
        past |= row == before.variant;
    }
    return false;
}

/* desc is a checked one. GPUs differ more than their reports say: what a compiler refuses, or fails its trial, leaves the place
 * to the next choice. */
static rosace_status make_plan(rosace_context *context, const rosace_attention_desc *desc, rosace_attention_plan **out)
{
    rsc_attention_choice choice;
    rosace_status status = choose(context, desc, &choice);
    if (status) return status;
    do {
        status = rsc_attention_plan_make(context, desc, &choice, out);
        if (!status && (*out)->trial != RSC_TRIAL_NONE && (status = rsc_attention_trial(*out, desc)) != ROSACE_OK)
            rosace_attention_plan_destroy(out);
        if (!status) break;
        if (status != ROSACE_BUILD_FAILED && status != ROSACE_UNSUPPORTED) return status;
        if (rosace_context_device_info(context)->device_class == ROSACE_DEVICE_CPU) return status;
        rsc_log(context, ROSACE_LOG_WARNING, "attention: %s%s%s does not work here, the next is taken: %s",
                choice.variant->name, choice.tile ? "/" : "", choice.tile ? choice.tile : "", rosace_last_error());
    } while (next_choice(context, desc, status != ROSACE_BUILD_FAILED, &choice));
    if (status) return status;
    rsc_log(context, ROSACE_LOG_INFO, "attention: %s (path %s%s), %zu bytes of workspace", (*out)->variant_name,
            path_name((*out)->variant->path), choice.tuned ? ", tuned" : "", (*out)->workspace_bytes);
    return ROSACE_OK;
}

rosace_status rosace_attention_plan_create(rosace_context *context, const rosace_attention_desc *desc,
                                           rosace_attention_plan **out)
{
    if (!out) return rsc_fail(ROSACE_INVALID_ARGUMENT, "out: NULL");
    *out = NULL;
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context: NULL");
    rosace_attention_desc checked;
    rosace_rope_desc rope;
    const rosace_status status = rsc_attention_check_desc(desc, &checked, &rope);
    return status ? status : make_plan(context, &checked, out);
}

const char *rosace_attention_plan_variant(const rosace_attention_plan *plan) { return plan ? plan->variant_name : ""; }

rosace_attention_path rosace_attention_plan_path(const rosace_attention_plan *plan)
{
    return plan ? plan->variant->path : ROSACE_PATH_AUTO;
}

rosace_status rosace_attention_workspace_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k,
                                               size_t *bytes)
{
    static const size_t max_seq = (size_t)1 << 30;
    if (!bytes) return rsc_fail(ROSACE_INVALID_ARGUMENT, "bytes: NULL");
    *bytes = 0;
    if (!plan) return rsc_fail(ROSACE_INVALID_ARGUMENT, "plan: NULL");
    if (!batch) return rsc_fail(ROSACE_INVALID_ARGUMENT, "batch = 0: must be at least 1");
    if (!seq_q || seq_q > max_seq) return rsc_fail(ROSACE_INVALID_ARGUMENT, "seq_q = %zu: must be 1 to 2^30", seq_q);
    if (!seq_k || seq_k > max_seq) return rsc_fail(ROSACE_INVALID_ARGUMENT, "seq_k = %zu: must be 1 to 2^30", seq_k);
    const rosace_status status = plan->variant->workspace_bytes(plan, batch, seq_q, seq_k, bytes);
    if (status) *bytes = 0;
    return status;
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static rosace_status enqueue(rosace_attention_plan *plan, cl_command_queue queue, const rosace_attention_args *given,
                             bool own_workspace, cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    rosace_status status = rsc_read_struct("args", given, &args, sizeof args);
    if (status) return status;
    rsc_attention_call call;
    size_t needed = 0;
    status = rsc_attention_check_args(plan, &args, &call, &needed);
    if (status) {
        rsc_free(plan->context, (void *)call.sequences);
        return status;
    }

    rsc_chain chain;
    cl_mem temporary = NULL, ids = NULL;
    status = rsc_chain_begin(&chain, plan->context, queue, num_wait, wait);
    if (!status && needed) {
        if (args.workspace) {
            call.workspace = args.workspace;
            call.workspace_offset = args.workspace_offset_bytes;
        } else if (own_workspace) {
            status = rsc_buffer_create(plan->context, needed, CL_MEM_READ_WRITE, NULL, "attention workspace", &temporary);
            call.workspace = temporary;
        } else if (needed <= plan->workspace_bytes) {
            call.workspace = plan->workspace;
        } else {
            status = rsc_fail(ROSACE_INVALID_ARGUMENT,
                              "workspace: NULL, but %zu bytes are needed (bring them, or give max_batch, max_seq_q and "
                              "max_seq_k to the plan)",
                              needed);
        }
    }
    if (!status && plan->variant->path != ROSACE_PATH_GEMM) status = rsc_sequences_positions(plan, &call, &ids);
    if (!status && plan->desc.cache) status = rsc_cache_upload(plan->context, &call.cache, &call.cache_table);
    if (!status) status = plan->variant->enqueue(plan, &chain, &call);
    status = rsc_chain_end(&chain, status, event);
    /* OpenCL keeps the memory until the commands that use it are complete. */
    if (temporary) clReleaseMemObject(temporary);
    if (ids) clReleaseMemObject(ids);
    rsc_free(plan->context, (void *)call.sequences);
    if (call.cache_table) clReleaseMemObject(call.cache_table);
    return status;
}

rosace_status rsc_attention_run(rosace_attention_plan *plan, cl_command_queue queue, const rosace_attention_args *args,
                                cl_event *event)
{
    return enqueue(plan, queue, args, true, 0, NULL, event);
}

rosace_status rosace_attention_enqueue(rosace_attention_plan *plan, cl_command_queue queue,
                                       const rosace_attention_args *args, cl_uint num_wait, const cl_event *wait,
                                       cl_event *event)
{
    if (!plan) return rsc_fail(ROSACE_INVALID_ARGUMENT, "plan: NULL");
    return enqueue(plan, queue, args, false, num_wait, wait, event);
}

/* All that makes two one-call descriptors the same plan; zero-filled before it is set, since it is compared as bytes. */
typedef struct plan_key {
    rsc_rope_key rope;
    rosace_mask mask;
    const rsc_attention_variant *variant;
    const char *tile;
    size_t n_heads, n_kv_heads, head_dim, queries;
    int64_t bias_max_distance, bias_buckets, bias_width, rerope_window, logn_train_len;
    double rerope_leak;
    float scale, softcap;
    int dtype, bias, bias_causal, has_rope, sink_logits, varlen, cache, unused;
} plan_key;

static void set_key(plan_key *key, const rosace_attention_desc *desc, const rsc_attention_choice *choice)
{
    memset(key, 0, sizeof *key);
    if (desc->rope) rsc_rope_key_set(&key->rope, desc->rope);
    key->has_rope = desc->rope != NULL;
    key->mask.causal = desc->mask.causal;
    key->mask.window_left = desc->mask.window_left;
    key->mask.window_right = desc->mask.window_right;
    key->mask.sinks = desc->mask.sinks;
    key->mask.prefix = desc->mask.prefix;
    key->mask.chunk = desc->mask.chunk;
    key->mask.chunk_back = desc->mask.chunk_back;
    key->variant = choice->variant;
    key->tile = choice->tile;
    key->n_heads = desc->n_heads;
    key->n_kv_heads = desc->n_kv_heads;
    key->head_dim = desc->head_dim;
    key->bias_max_distance = desc->bias_max_distance;
    key->bias_buckets = desc->bias_buckets;
    key->bias_width = desc->bias_width;
    key->bias_causal = desc->bias_causal;
    key->rerope_window = desc->rerope_window;
    key->rerope_leak = desc->rerope_leak;
    key->logn_train_len = desc->logn_train_len;
    key->scale = desc->scale;
    key->softcap = desc->softcap;
    key->dtype = (int)desc->dtype;
    key->cache = (int)desc->cache;
    if (choice->variant->path == ROSACE_PATH_DECODE) /* few enough, yet not a plan for each number of them */
        for (key->queries = 1; key->queries < desc->max_seq_q && key->queries < RSC_DECODE_QUERIES;) key->queries *= 2;
    key->bias = (int)desc->bias;
    key->sink_logits = desc->sink_logits;
    key->varlen = desc->varlen;
}

static rosace_status make_cached(rosace_context *context, const void *desc, void **plan)
{
    rosace_attention_plan *made = NULL;
    const rosace_status status = make_plan(context, desc, &made);
    *plan = made;
    return status;
}

static void drop_cached(void *plan)
{
    rosace_attention_plan *p = plan;
    rosace_attention_plan_destroy(&p);
}

/* Of documents; their array is checked later. */
static size_t longest_of(const int64_t *cu, size_t n)
{
    int64_t longest = 1;
    for (size_t i = 0; i < n; i++)
        if (longest < cu[i + 1] - cu[i]) longest = cu[i + 1] - cu[i];
    return (size_t)longest;
}

rosace_status rosace_attention(rosace_context *context, cl_command_queue queue, const rosace_attention_desc *desc,
                               const rosace_attention_args *args, cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    static const char kind[] = "attention";
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context: NULL");
    rosace_attention_args shape = ROSACE_ATTENTION_ARGS_DEFAULT;
    rosace_attention_desc checked = ROSACE_ATTENTION_DESC_DEFAULT;
    rosace_rope_desc rope;
    rosace_status status = rsc_read_struct("desc", desc, &checked, sizeof checked);
    if (!status) status = rsc_read_struct("args", args, &shape, sizeof shape);
    if (status) return status;
    if (shape.cache && !checked.cache) checked.cache = ROSACE_ATTENTION_CACHE_PLAIN;
    const rosace_attention_desc wanted = checked;
    status = rsc_attention_check_desc(&wanted, &checked, &rope);
    if (status) return status;
    checked.max_batch = checked.max_seq_k = 0; /* no limits and no workspace; the call's length says what is the best path */
    checked.max_seq_q = shape.q.shape[1];
    checked.varlen = checked.varlen || shape.n_seqs || shape.seq_lens_k;
    if (shape.n_seqs && shape.cu_seqlens_q) checked.max_seq_q = longest_of(shape.cu_seqlens_q, shape.n_seqs);
    rsc_attention_choice choice;
    status = choose(context, &checked, &choice);
    if (status) return status;
    /* The windows of heads are part of what makes two plans the same. */
    const size_t windows = checked.head_window_left ? checked.n_heads : 0, key_bytes = sizeof(plan_key) + windows * sizeof(int64_t);
    plan_key *key = rsc_calloc(context, 1, key_bytes);
    if (!key) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention: no host memory");
    set_key(key, &checked, &choice);
    if (windows) memcpy(key + 1, checked.head_window_left, windows * sizeof(int64_t));
    rsc_plan_entry *entry = NULL;
    void *plan = NULL;
    status = rsc_plan_acquire(context, kind, key, key_bytes, make_cached, drop_cached, &checked, &entry, &plan);
    rsc_free(context, key);
    if (status) return status;
    status = enqueue(plan, queue, args, true, num_wait, wait, event);
    rsc_plan_release(entry);
    return status;
}
