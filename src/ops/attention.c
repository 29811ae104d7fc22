/* SPDX-License-Identifier: MIT
 * Attention: a descriptor becomes a plan that runs one variant row. */
#include "attention.h"

#include "../check.h"
#include "../position/rope_scaling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In order of preference. */
static const rsc_attention_variant *const tables[] = {rsc_attention_gpu_variants, rsc_attention_fused_variants,
                                                      rsc_attention_gemm_variants};
enum { N_TABLES = sizeof tables / sizeof tables[0] };

static const char *path_name(rosace_attention_path path)
{
    return path == ROSACE_PATH_GEMM ? "gemm" : path == ROSACE_PATH_FUSED ? "fused" : "auto";
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
        else return rsc_fail(ROSACE_INVALID_ARGUMENT, "$ROSACE_ATTENTION_PATH = \"%s\": must be gemm or fused", path);
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

static rosace_status choose(rosace_context *context, const rosace_attention_desc *desc, const rsc_attention_variant **out)
{
    wish want;
    const rosace_status status = read_wish(desc, &want);
    if (status) return status;
    char refusals[1024] = "";
    for (int t = 0; t < N_TABLES; t++)
        for (const rsc_attention_variant *row = tables[t]; row->name; row++) {
            if (want.path != ROSACE_PATH_AUTO && want.path != row->path) continue;
            if (want.variant && strcmp(want.variant, row->name) != 0) continue;
            if (!want.variant && row->suits && !row->suits(rosace_context_device_info(context))) continue;
            char reason[256] = "";
            if (row->accepts(rosace_context_device_info(context), desc, reason, sizeof reason)) {
                *out = row;
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
    rsc_free(p->context, p);
}

/* desc is a checked one */
static rosace_status make_plan(rosace_context *context, const rosace_attention_desc *desc, rosace_attention_plan **out)
{
    rosace_status status = ROSACE_OK;
    rosace_attention_plan *plan = rsc_calloc(context, 1, sizeof *plan);
    if (!plan) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    plan->context = context;
    plan->desc = *desc;
    if (desc->rope) {
        plan->rope = *desc->rope;
        plan->desc.rope = &plan->rope;
    }
    const rsc_attention_variant *row = NULL;
    status = choose(context, &plan->desc, &row);
    if (status) goto fail;
    plan->variant = row;
    snprintf(plan->variant_name, sizeof plan->variant_name, "%s", row->name);
    status = row->create(plan);
    if (status) goto fail;
    if (desc->max_batch) {
        status = rosace_attention_workspace_bytes(plan, desc->max_batch, desc->max_seq_q, desc->max_seq_k,
                                                  &plan->workspace_bytes);
        if (!status && plan->workspace_bytes)
            status = rsc_buffer_create(context, plan->workspace_bytes, CL_MEM_READ_WRITE, NULL, "attention workspace",
                                       &plan->workspace);
        if (status) goto fail;
    }
    rsc_log(context, ROSACE_LOG_INFO, "attention: %s (path %s), %zu bytes of workspace", plan->variant_name,
            path_name(row->path), plan->workspace_bytes);
    *out = plan;
    return ROSACE_OK;
fail:
    rosace_attention_plan_destroy(&plan);
    return status;
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
    return plan->variant->workspace_bytes(plan, batch, seq_q, seq_k, bytes);
}

rosace_status rsc_attention_rotate(rosace_rope_plan *rope, rsc_chain *chain, const rsc_attention_call *call,
                                   const rosace_tensor *from, const rosace_positions *positions, size_t bytes,
                                   rosace_tensor *to)
{
    *to = rosace_tensor_bhsd(call->workspace, from->dtype, from->shape[0], from->shape[1], from->shape[2], from->shape[3]);
    to->offset = (call->workspace_offset + bytes) / rosace_dtype_size(from->dtype);
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = from;
    args.q_out = to;
    args.positions = *positions;
    return rsc_rope_chain(rope, chain, &args);
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
    if (status) return status;

    rsc_chain chain;
    cl_mem temporary = NULL;
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
    if (!status) status = plan->variant->enqueue(plan, &chain, &call);
    status = rsc_chain_end(&chain, status, event);
    /* OpenCL keeps the memory until the commands that use it are complete. */
    if (temporary) clReleaseMemObject(temporary);
    return status;
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
    rosace_rope_desc rope;
    rosace_mask mask;
    const rsc_attention_variant *variant;
    size_t n_heads, n_kv_heads, head_dim;
    int64_t bias_max_distance, rerope_window, logn_train_len;
    float scale, softcap;
    int dtype, bias, has_rope;
} plan_key;

static void set_key(plan_key *key, const rosace_attention_desc *desc, const rsc_attention_variant *variant)
{
    memset(key, 0, sizeof *key);
    if (desc->rope) rsc_rope_key(&key->rope, desc->rope);
    key->has_rope = desc->rope != NULL;
    key->mask.causal = desc->mask.causal;
    key->mask.window_left = desc->mask.window_left;
    key->mask.window_right = desc->mask.window_right;
    key->mask.sinks = desc->mask.sinks;
    key->mask.prefix = desc->mask.prefix;
    key->mask.chunk = desc->mask.chunk;
    key->mask.chunk_back = desc->mask.chunk_back;
    key->variant = variant;
    key->n_heads = desc->n_heads;
    key->n_kv_heads = desc->n_kv_heads;
    key->head_dim = desc->head_dim;
    key->bias_max_distance = desc->bias_max_distance;
    key->rerope_window = desc->rerope_window;
    key->logn_train_len = desc->logn_train_len;
    key->scale = desc->scale;
    key->softcap = desc->softcap;
    key->dtype = (int)desc->dtype;
    key->bias = (int)desc->bias;
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

rosace_status rosace_attention(rosace_context *context, cl_command_queue queue, const rosace_attention_desc *desc,
                               const rosace_attention_args *args, cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    static const char kind[] = "attention";
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context: NULL");
    rosace_attention_desc checked;
    rosace_rope_desc rope;
    rosace_status status = rsc_attention_check_desc(desc, &checked, &rope);
    if (status) return status;
    checked.max_batch = checked.max_seq_q = checked.max_seq_k = 0;
    const rsc_attention_variant *variant = NULL;
    status = choose(context, &checked, &variant);
    if (status) return status;
    plan_key key;
    set_key(&key, &checked, variant);
    rsc_plan_entry *entry = NULL;
    void *plan = NULL;
    status = rsc_plan_acquire(context, kind, &key, sizeof key, make_cached, drop_cached, &checked, &entry, &plan);
    if (status) return status;
    status = enqueue(plan, queue, args, true, num_wait, wait, event);
    rsc_plan_release(entry);
    return status;
}
