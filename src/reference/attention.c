/* SPDX-License-Identifier: MIT
 * Attention by its definition, one query row at a time, with every option of the descriptor. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

/* softmax of one row in place; hidden scores are -infinity. A row that sees nothing becomes zeros. Returns the row's
 * log-sum-exp. */
static double softmax_row(size_t count, double *row)
{
    double largest = -(double)INFINITY, sum = 0;
    for (size_t n = 0; n < count; n++)
        largest = row[n] > largest || isnan(row[n]) ? row[n] : largest;
    if (largest == -(double)INFINITY) {
        memset(row, 0, count * sizeof *row);
        return largest;
    }
    for (size_t n = 0; n < count; n++)
        sum += exp(row[n] - largest);
    for (size_t n = 0; n < count; n++)
        row[n] = exp(row[n] - largest) / sum;
    return largest + log(sum);
}

void ref_sink(double sink, size_t count, double *row, double *lse)
{
    double total = *lse, largest = sink > total ? sink : total;
    if (largest == -(double)INFINITY) return;
    *lse = largest + log(exp(sink - largest) + exp(total - largest));
    for (size_t n = 0; n < count; n++)
        row[n] *= exp(total - *lse);
}

static double softcapped(double score, double softcap) { return softcap != 0 ? softcap * tanh(score / softcap) : score; }

void ref_masked_softmax(const rosace_mask *mask, int64_t q_offset, size_t batch, size_t seq_q, size_t heads, size_t seq_k,
                        double scale, double softcap, const ref_bias *bias, double *scores, double *lse)
{
    for (size_t b = 0; b < batch; b++)
        for (size_t m = 0; m < seq_q; m++)
            for (size_t h = 0; h < heads; h++) {
                double *row = scores + ((b * seq_q + m) * heads + h) * seq_k;
                for (size_t n = 0; n < seq_k; n++) {
                    int64_t distance = (int64_t)m + q_offset - (int64_t)n;
                    double added = bias ? ref_bias_at(bias, h, distance) : 0;
                    bool visible = ref_visible(mask, q_offset, (int64_t)seq_k, (int64_t)m, (int64_t)n);
                    row[n] = visible ? softcapped(scale * row[n] + added, softcap) : -(double)INFINITY;
                }
                double total = softmax_row(seq_k, row);
                for (size_t n = 0; n < seq_k; n++) /* hidden keys are 0, whatever the visible ones are */
                    if (!ref_visible(mask, q_offset, (int64_t)seq_k, (int64_t)m, (int64_t)n)) row[n] = 0;
                if (lse)
                    lse[(b * heads + h) * seq_q + m] = total;
            }
}

static double dot(size_t count, const double *a, const double *b)
{
    double sum = 0;
    for (size_t d = 0; d < count; d++)
        sum += a[d] * b[d];
    return sum;
}

static int64_t clip(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* What log-n scaling makes of a query at position p (Su 2022): max(1, ln(p + 1) / ln L). */
static double logn(int64_t train_len, int64_t p)
{
    return train_len && p + 1 > train_len ? log((double)(p + 1)) / log((double)train_len) : 1;
}

/* Everything one row of the result needs, defaults resolved. */
typedef struct problem {
    const rosace_attention_desc *desc;
    const ref_attention_args *args;
    size_t dim, heads, kv_heads;
    double scale;
    ref_bias bias;
    int64_t reach; /* Shaw's distances, -reach to reach; 0: none */
    int32_t *q_at, *k_at;    /* positions */
    double *q_near, *k_near; /* turned to where each token stands */
    double *q_far, *k_far;   /* ReRoPE: any pair of them is rerope_window apart. Leaky: at their positions / rerope_leak,
                                queries rerope_window * (1 - 1 / rerope_leak) further */
    double *weights;         /* one row: scores, then probabilities */
} problem;

/* The positions of all tokens: as given, first and following, or one for all. */
static int32_t *positions(size_t batch, size_t seq, const int32_t *given, int64_t first, int64_t step)
{
    int32_t *at = calloc(batch * seq, sizeof *at);
    for (size_t token = 0; at && token < batch * seq; token++)
        at[token] = given ? given[token] : (int32_t)(first + step * (int64_t)(token % seq));
    return at;
}

/* A copy of x [batch, seq, heads, head_dim], turned to `at` where there is a rotation. */
static double *turned(const problem *p, size_t seq, size_t heads, const int32_t *at, const double *x)
{
    size_t batch = p->args->batch, count = batch * seq * heads * p->dim;
    double *copy = malloc(count * sizeof *copy);
    if (!copy || !at) {
        free(copy);
        return NULL;
    }
    memcpy(copy, x, count * sizeof *copy);
    if (p->desc->rope) {
        rosace_rope_desc rope = *p->desc->rope;
        rope.head_dim = p->dim;
        ref_rope(&rope, batch, seq, heads, at, copy);
    }
    return copy;
}

/* A copy turned to one position for all tokens. */
static double *turned_alike(const problem *p, size_t seq, size_t heads, int64_t position, const double *x)
{
    int32_t *at = positions(p->args->batch, seq, NULL, position, 0);
    double *copy = turned(p, seq, heads, at, x);
    free(at);
    return copy;
}

/* A copy turned to positions / slower + ahead, which may be fractions. */
static double *turned_slowly(const problem *p, size_t seq, size_t heads, const int32_t *at, double slower, double ahead,
                             const double *x)
{
    size_t batch = p->args->batch, count = batch * seq * heads * p->dim;
    double *copy = malloc(count * sizeof *copy);
    if (!copy || !at) {
        free(copy);
        return NULL;
    }
    memcpy(copy, x, count * sizeof *copy);
    rosace_rope_desc rope = *p->desc->rope;
    rope.head_dim = p->dim;
    for (size_t token = 0; token < batch * seq; token++)
        ref_rope_at(&rope, heads, (long double)at[token] / (long double)slower + (long double)ahead, copy + token * heads * p->dim);
    return copy;
}

static bool prepare(problem *p)
{
    const ref_attention_args *args = p->args;
    p->weights = malloc(args->seq_k * sizeof *p->weights);
    p->q_at = positions(args->batch, args->seq_q, args->q_positions, args->q_offset, 1);
    p->k_at = positions(args->batch, args->seq_k, args->k_positions, 0, 1);
    p->q_near = turned(p, args->seq_q, p->heads, p->q_at, args->q);
    p->k_near = turned(p, args->seq_k, p->kv_heads, p->k_at, args->k);
    if (p->desc->rerope_window && p->desc->rerope_leak != 0) {
        const double leak = p->desc->rerope_leak, ahead = (double)p->desc->rerope_window * (1 - 1 / leak);
        p->q_far = turned_slowly(p, args->seq_q, p->heads, p->q_at, leak, ahead, args->q);
        p->k_far = turned_slowly(p, args->seq_k, p->kv_heads, p->k_at, leak, 0, args->k);
    } else if (p->desc->rerope_window) {
        p->q_far = turned_alike(p, args->seq_q, p->heads, p->desc->rerope_window, args->q);
        p->k_far = turned_alike(p, args->seq_k, p->kv_heads, 0, args->k);
    }
    return p->weights && p->q_at && p->k_at && p->q_near && p->k_near &&
           (!p->desc->rerope_window || (p->q_far && p->k_far));
}

static void discard(problem *p)
{
    free(p->weights);
    free(p->q_at);
    free(p->k_at);
    free(p->q_near);
    free(p->k_near);
    free(p->q_far);
    free(p->k_far);
}

static size_t q_row(const problem *p, size_t b, size_t m, size_t h)
{
    return ((b * p->args->seq_q + m) * p->heads + h) * p->dim;
}

static size_t k_row(const problem *p, size_t b, size_t n, size_t h)
{
    return ((b * p->args->seq_k + n) * p->kv_heads + h / (p->heads / p->kv_heads)) * p->dim;
}

static const double *shaw_row(const problem *p, const double *table, int64_t distance)
{
    return table + (clip(distance, -p->reach, p->reach) + p->reach) * (int64_t)p->dim;
}

/* The score of a visible pair, before the softmax. */
static double score(const problem *p, size_t b, size_t m, size_t h, size_t n)
{
    const ref_attention_args *args = p->args;
    const int64_t distance = (int64_t)m + args->q_offset - (int64_t)n;
    const bool far = p->desc->rerope_window && distance >= p->desc->rerope_window;
    const size_t q = q_row(p, b, m, h), k = k_row(p, b, n, h);

    double s = dot(p->dim, (far ? p->q_far : p->q_near) + q, (far ? p->k_far : p->k_near) + k);
    s *= p->scale * logn(p->desc->logn_train_len, p->q_at[b * args->seq_q + m]);
    if (p->reach && args->shaw_key) /* the query as given: neither turned nor log-n scaled */
        s += p->scale * dot(p->dim, args->q + q, shaw_row(p, args->shaw_key, distance));
    return softcapped(s + ref_bias_at(&p->bias, h, distance), p->desc->softcap);
}

/* Element d of what the row's probabilities make of the values. */
static double mixed(const problem *p, size_t b, size_t m, size_t h, size_t d)
{
    const ref_attention_args *args = p->args;
    double sum = 0;
    for (size_t n = 0; n < args->seq_k; n++) {
        if (p->weights[n] == 0)
            continue; /* a hidden value may be anything, infinity too */
        double value = args->v[k_row(p, b, n, h) + d];
        if (p->reach && args->shaw_value)
            value += shaw_row(p, args->shaw_value, (int64_t)m + args->q_offset - (int64_t)n)[d];
        sum += p->weights[n] * value;
    }
    return sum;
}

void ref_attention(const rosace_attention_desc *desc, const ref_attention_args *args)
{
    problem p = {.desc = desc, .args = args, .dim = desc->head_dim, .heads = desc->n_heads};
    p.kv_heads = desc->n_kv_heads ? desc->n_kv_heads : desc->n_heads;
    p.scale = desc->scale != 0 ? desc->scale : 1 / sqrt((double)desc->head_dim);
    p.bias = (ref_bias){desc->bias,      p.heads, desc->bias_max_distance, desc->bias_buckets, desc->bias_width, desc->bias_causal,
                        args->bias_params};
    p.reach = desc->bias == ROSACE_BIAS_SHAW ? desc->bias_max_distance : 0;

    const size_t count = args->batch * args->seq_q * p.heads * p.dim;
    const bool complete = prepare(&p);
    for (size_t i = 0; !complete && i < count; i++)
        args->out[i] = NAN;

    for (size_t b = 0; complete && b < args->batch; b++)
        for (size_t h = 0; h < p.heads; h++) {
            rosace_mask mask = desc->mask;
            if (desc->head_window_left) mask.window_left = desc->head_window_left[h];
            for (size_t m = 0; m < args->seq_q; m++) {
                for (size_t n = 0; n < args->seq_k; n++)
                    p.weights[n] = ref_visible(&mask, args->q_offset, (int64_t)args->seq_k, (int64_t)m, (int64_t)n)
                                       ? score(&p, b, m, h, n)
                                       : -(double)INFINITY;
                double total = softmax_row(args->seq_k, p.weights);
                if (args->sink_logits)
                    ref_sink(args->sink_logits[h], args->seq_k, p.weights, &total);
                if (args->lse)
                    args->lse[(b * p.heads + h) * args->seq_q + m] = total;
                for (size_t d = 0; d < p.dim; d++)
                    args->out[q_row(&p, b, m, h) + d] = mixed(&p, b, m, h, d);
            }
        }
    discard(&p);
}

void ref_attention_merge(size_t parts, size_t batch, size_t seq, size_t heads, size_t dim, const double *const *outs,
                         const double *const *lses, double *out, double *lse)
{
    for (size_t row = 0; row < batch * seq * heads; row++) {
        size_t h = row % heads, m = row / heads % seq, at = (row / heads / seq * heads + h) * seq + m;
        double sum = 0;
        for (size_t i = 0; i < parts; i++)
            sum += exp(lses[i][at]);
        lse[at] = log(sum);
        for (size_t d = 0; d < dim; d++) {
            double total = 0;
            for (size_t i = 0; i < parts; i++)
                if (lses[i][at] != -(double)INFINITY) total += exp(lses[i][at]) * outs[i][row * dim + d] / sum;
            out[row * dim + d] = total;
        }
    }
}
