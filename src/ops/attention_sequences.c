/* SPDX-License-Identifier: MIT
 * Sequences of their own lengths: the arrays of a call become one entry for each sequence (shared/sequence_args.h), which kernels
 * read from a table, or which a path of several launches takes one after the other. */
#include "attention_sequences.h"

#include "../check.h"

#define INVALID(...) rsc_fail(ROSACE_INVALID_ARGUMENT, __VA_ARGS__)

/* ---- The arrays of a call ---------------------------------------------------------------------------------------- */

static rosace_status check_cumulative(const char *name, const int64_t *cu, size_t n, size_t total)
{
    if (cu[0] != 0) return INVALID("%s[0] = %lld: must be 0", name, (long long)cu[0]);
    for (size_t i = 1; i <= n; i++) {
        if (cu[i] < cu[i - 1])
            return INVALID("%s[%zu] = %lld: must not be less than %s[%zu] = %lld", name, i, (long long)cu[i], name, i - 1,
                           (long long)cu[i - 1]);
        if (cu[i] > (int64_t)total)
            return INVALID("%s[%zu] = %lld: must be at most %zu, the length of the tensor", name, i, (long long)cu[i], total);
    }
    if (cu[n] != (int64_t)total)
        return INVALID("%s[%zu] = %lld: must be %zu, the length of the tensor", name, n, (long long)cu[n], total);
    return ROSACE_OK;
}

static rosace_status check_arrays(const rosace_attention_plan *plan, const rosace_attention_args *args,
                                  const rsc_attention_call *call, const int64_t **cu_k)
{
    const bool packed = args->n_seqs || args->cu_seqlens_q || args->cu_seqlens_k;
    if (!plan->desc.varlen) {
        if (packed) return INVALID("n_seqs = %zu: the plan's varlen is false", args->n_seqs);
        if (args->seq_lens_k) return INVALID("seq_lens_k: not NULL, but the plan's varlen is false");
        return ROSACE_OK;
    }
    *cu_k = args->cu_seqlens_k ? args->cu_seqlens_k : args->cu_seqlens_q;
    if (packed) {
        if (!args->n_seqs) return INVALID("n_seqs = 0: cu_seqlens_%s is not NULL", args->cu_seqlens_q ? "q" : "k");
        if (args->n_seqs > (size_t)1 << 30) return INVALID("n_seqs = %zu: must be at most 2^30", args->n_seqs);
        if (!args->cu_seqlens_q) return INVALID("cu_seqlens_q: NULL, but n_seqs = %zu", args->n_seqs);
        if (call->batch != 1) return INVALID("q.shape[0] = %zu: batch must be 1 with cu_seqlens_q", call->batch);
        rosace_status status = check_cumulative("cu_seqlens_q", args->cu_seqlens_q, args->n_seqs, call->seq_q);
        if (!status)
            status = check_cumulative(args->cu_seqlens_k ? "cu_seqlens_k" : "cu_seqlens_k (NULL, so cu_seqlens_q)", *cu_k,
                                      args->n_seqs, call->seq_k);
        if (status) return status;
    }
    const size_t n = packed ? args->n_seqs : call->batch;
    for (size_t i = 0; args->seq_lens_k && i < n; i++) {
        const int64_t most = packed ? (*cu_k)[i + 1] - (*cu_k)[i] : (int64_t)call->seq_k;
        if (args->seq_lens_k[i] < 0 || args->seq_lens_k[i] > most)
            return INVALID("seq_lens_k[%zu] = %lld: must be 0 to %lld", i, (long long)args->seq_lens_k[i], (long long)most);
    }
    if ((packed || args->seq_lens_k) && args->q_offset != ROSACE_ALIGN_BOTTOM_RIGHT && args->q_offset < 0)
        return INVALID("q_offset = %lld: must not be negative where sequences have lengths of their own",
                       (long long)args->q_offset);
    return ROSACE_OK;
}

rosace_status rsc_sequences_check(const rosace_attention_plan *plan, const rosace_attention_args *args, rsc_attention_call *call)
{
    const int64_t *cu_k = NULL;
    const rosace_status status = check_arrays(plan, args, call, &cu_k);
    call->longest_q = call->seq_q;
    call->longest_k = call->seq_k;
    if (status || !plan->desc.varlen) return status;
    const size_t n = args->n_seqs ? args->n_seqs : call->batch;
    rsc_sequence *all = rsc_calloc(plan->context, n, sizeof *all);
    if (!all) return rsc_fail(ROSACE_OUT_OF_MEMORY, "n_seqs = %zu: no host memory", n);
    call->longest_q = call->longest_k = 0;
    for (size_t i = 0; i < n; i++) {
        rsc_sequence *s = &all[i];
        *s = (rsc_sequence){.batch = (int32_t)i, .seq_q = (int32_t)call->seq_q, .seq_k = (int32_t)call->seq_k};
        if (args->n_seqs) {
            s->batch = 0;
            s->q_begin = (int32_t)args->cu_seqlens_q[i];
            s->k_begin = (int32_t)cu_k[i];
            s->seq_q = (int32_t)(args->cu_seqlens_q[i + 1] - args->cu_seqlens_q[i]);
            s->seq_k = (int32_t)(cu_k[i + 1] - cu_k[i]);
        }
        if (args->seq_lens_k) s->seq_k = (int32_t)args->seq_lens_k[i];
        s->q_offset = args->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT ? s->seq_k - s->seq_q : (int32_t)args->q_offset;
        s->q_position = args->use_positions ? (int32_t)args->q_positions.offset : s->q_offset;
        if (call->longest_q < (size_t)s->seq_q) call->longest_q = (size_t)s->seq_q;
        if (call->longest_k < (size_t)s->seq_k) call->longest_k = (size_t)s->seq_k;
    }
    if (!call->longest_k) call->longest_k = 1; /* distances are counted from it */
    /* With it the distances of every sequence lie between those of one as long as the longest. */
    if (args->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT) call->q_offset = (int64_t)call->longest_k - (int64_t)call->longest_q;
    call->sequences = all;
    call->n_sequences = n;
    return ROSACE_OK;
}

/* ---- Positions ---------------------------------------------------------------------------------------------------- */

static void number(int32_t *ids, size_t count, int64_t first)
{
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)(first + (int64_t)i);
}

rosace_status rsc_sequences_positions(const rosace_attention_plan *plan, rsc_attention_call *call, cl_mem *ids)
{
    const bool own_q = !call->q_positions.ids, own_k = !call->k_positions.ids && call->args->n_seqs;
    *ids = NULL;
    if (!plan->desc.rope || !call->n_sequences || (!own_q && !own_k)) return ROSACE_OK;
    size_t q_count, k_count, count;
    if (!rsc_mul(call->batch, call->seq_q, &q_count) || !rsc_mul(call->batch, call->seq_k, &k_count) ||
        !rsc_add(q_count, k_count, &count))
        return INVALID("positions: batch * seq overflows");
    int32_t *numbers = rsc_calloc(plan->context, count, sizeof *numbers);
    if (!numbers) return rsc_fail(ROSACE_OUT_OF_MEMORY, "positions of %zu tokens: no host memory", count);
    for (size_t i = 0; i < call->n_sequences; i++) {
        const rsc_sequence *s = &call->sequences[i];
        number(numbers + (size_t)s->batch * call->seq_q + s->q_begin, (size_t)s->seq_q, s->q_position);
        if (own_k)
            number(numbers + q_count + s->k_begin, (size_t)s->seq_k, call->args->use_positions ? call->k_positions.offset : 0);
    }
    const rosace_status status = rsc_buffer_create(plan->context, count * sizeof *numbers, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
                                                   numbers, "positions", ids);
    rsc_free(plan->context, numbers);
    if (status) return status;
    if (own_q) call->q_positions = (rosace_positions){.ids = *ids, .batch_stride = (ptrdiff_t)call->seq_q, .seq_stride = 1};
    if (own_k) call->k_positions = (rosace_positions){.ids = *ids, .ids_offset = q_count, .seq_stride = 1};
    return ROSACE_OK;
}

/* ---- Tables ------------------------------------------------------------------------------------------------------- */

static size_t slots_of(const rsc_sequence *s, size_t queries, size_t units, size_t per_item)
{
    const size_t tiles = ((size_t)s->seq_q + queries - 1) / queries;
    return (tiles * units + per_item - 1) / per_item;
}

rosace_status rsc_sequences_slots(const rsc_attention_call *call, size_t queries, size_t units, size_t per_item, size_t *slots)
{
    *slots = 0;
    for (size_t i = 0; i < call->n_sequences; i++)
        if (!rsc_add(*slots, slots_of(&call->sequences[i], queries, units, per_item), slots) || *slots > INT32_MAX / 2)
            return rsc_fail(ROSACE_UNSUPPORTED, "n_seqs = %zu: more tiles than a launch takes", call->n_sequences);
    return ROSACE_OK;
}

rosace_status rsc_sequences_table(const rosace_attention_plan *plan, const rsc_attention_call *call, size_t queries, size_t units,
                                  size_t per_item, size_t slots, cl_mem *table)
{
    *table = NULL;
    const size_t bytes = 2 * slots * sizeof(int32_t) + call->n_sequences * sizeof(rsc_sequence);
    int32_t *words = rsc_calloc(plan->context, 1, bytes), *at = words;
    if (!words) return rsc_fail(ROSACE_OUT_OF_MEMORY, "table of sequences: no host memory for %zu bytes", bytes);
    for (size_t i = 0; slots && i < call->n_sequences; i++) {
        const size_t own = slots_of(&call->sequences[i], queries, units, per_item);
        for (size_t t = 0; t < own; t++) {
            *at++ = (int32_t)i;
            *at++ = (int32_t)(t * per_item);
        }
    }
    rsc_sequence *entries = (rsc_sequence *)(void *)at;
    for (size_t i = 0; i < call->n_sequences; i++) entries[i] = call->sequences[i];
    const rosace_status status =
        rsc_buffer_create(plan->context, bytes, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, words, "table of sequences", table);
    rsc_free(plan->context, words);
    return status;
}

/* ---- One after the other ------------------------------------------------------------------------------------------ */

static void narrow(rosace_tensor *t, size_t batch, size_t batches, size_t begin, size_t length)
{
    t->offset += batch * (size_t)t->stride[0] + begin * (size_t)t->stride[1];
    t->shape[0] = batches;
    t->shape[1] = length;
}

static rosace_positions narrow_positions(const rosace_positions *p, size_t batch, size_t begin, int64_t first)
{
    rosace_positions own = *p;
    if (own.ids) own.ids_offset += batch * (size_t)own.batch_stride + begin * (size_t)own.seq_stride;
    else own.offset = first;
    return own;
}

/* Those from `first` on that one call can take: elements of a batch that are alike. */
static size_t alike_from(const rsc_attention_call *call, size_t first)
{
    const rsc_sequence *all = call->sequences;
    size_t n = 1;
    while (!call->args->n_seqs && first + n < call->n_sequences && all[first + n].seq_k == all[first].seq_k &&
           all[first + n].q_offset == all[first].q_offset)
        n++;
    return n;
}

rosace_status rsc_sequences_each(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call,
                                 rosace_status (*run)(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call))
{
    rosace_status status = ROSACE_OK;
    size_t n;
    for (size_t i = 0; i < call->n_sequences && !status; i += n) {
        const rsc_sequence *s = &call->sequences[i];
        n = alike_from(call, i);
        if (!s->seq_q) continue;
        const size_t batch = (size_t)s->batch, q_begin = (size_t)s->q_begin, k_begin = (size_t)s->k_begin;
        rosace_attention_args args = *call->args;
        narrow(&args.q, batch, n, q_begin, (size_t)s->seq_q);
        narrow(&args.out, batch, n, q_begin, (size_t)s->seq_q);
        narrow(&args.k, batch, n, k_begin, (size_t)s->seq_k);
        narrow(&args.v, batch, n, k_begin, (size_t)s->seq_k);
        args.lse_offset += batch * plan->desc.n_heads * call->seq_q + q_begin;
        rsc_attention_call own = *call;
        own.args = &args;
        own.batch = n;
        own.seq_q = own.longest_q = (size_t)s->seq_q;
        own.seq_k = (size_t)s->seq_k;
        own.longest_k = own.seq_k ? own.seq_k : 1;
        own.q_offset = s->q_offset;
        own.q_positions = narrow_positions(&call->q_positions, batch, q_begin, s->q_position);
        own.k_positions = narrow_positions(&call->k_positions, batch, k_begin, call->args->use_positions ? call->k_positions.offset : 0);
        own.sequences = NULL;
        own.n_sequences = 0;
        status = run(plan, chain, &own);
    }
    return status;
}
