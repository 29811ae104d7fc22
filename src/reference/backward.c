/* SPDX-License-Identifier: MIT
 * The gradients of attention by the chain rule, one pair of query and key at a time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

typedef struct pass {
    const rosace_attention_desc *desc;
    const ref_attention_args *args;
    const ref_attention_gradients *out;
    size_t dim, heads, kv_heads;
    double scale;
    int64_t reach;        /* Shaw's distances; 0: none */
    int32_t *q_at, *k_at; /* positions */
    double *q, *k;        /* as scores see them: turned */
    double *p, *dp, *slope; /* one row: probabilities, their gradients, the derivative of a softcap */
    double *sums;         /* gradients of scores by head and distance, [heads, seq_q + seq_k - 1] */
    double *dq, *dk;      /* of the turned q and k */
    double *direct;       /* of q as it was given: Shaw's term */
} pass;

static int32_t *stand(size_t batch, size_t seq, const int32_t *given, int64_t first)
{
    int32_t *at = malloc(batch * seq * sizeof *at);
    for (size_t i = 0; at && i < batch * seq; i++)
        at[i] = given ? given[i] : (int32_t)(first + (int64_t)(i % seq));
    return at;
}

static double *copy_of(size_t count, const double *x)
{
    double *copy = calloc(count, sizeof *copy);
    if (copy && x)
        memcpy(copy, x, count * sizeof *copy);
    return copy;
}

static void turn(const pass *s, bool back, size_t seq, size_t heads, const int32_t *at, double *x)
{
    if (!s->desc->rope)
        return;
    rosace_rope_desc rope = *s->desc->rope;
    rope.head_dim = s->dim;
    if (back)
        rope.inverse = !rope.inverse;
    ref_rope(&rope, s->args->batch, seq, heads, at, x);
}

static double stretch(const pass *s, size_t b, size_t m)
{
    const double place = (double)s->q_at[b * s->args->seq_q + m] + 1, train = (double)s->desc->logn_train_len;
    return train > 0 && place > train ? log(place) / log(train) : 1;
}

static size_t shaw_row(const pass *s, int64_t distance)
{
    const int64_t clipped = distance < -s->reach ? -s->reach : distance > s->reach ? s->reach : distance;
    return (size_t)(clipped + s->reach) * s->dim;
}

static void add(double *to, size_t count, double factor, const double *x)
{
    for (size_t d = 0; to && d < count; d++)
        to[d] += factor * x[d];
}

static void add_sizes(double *to, size_t count, double factor, const double *x)
{
    for (size_t d = 0; to && d < count; d++)
        to[d] += fabs(factor * x[d]);
}

static void row(const pass *s, size_t b, size_t h, size_t m)
{
    const ref_attention_args *a = s->args;
    const ref_attention_gradients *g = s->out;
    const ref_bias bias = {s->desc->bias,         s->heads,         s->desc->bias_max_distance, s->desc->bias_buckets,
                           s->desc->bias_width, s->desc->bias_causal, a->bias_params};
    const size_t dim = s->dim, q = ((b * a->seq_q + m) * s->heads + h) * dim, h_kv = h / (s->heads / s->kv_heads);
    const double *dout = g->dout + q, cap = s->desc->softcap, per_key = s->scale * stretch(s, b, m);
    double largest = -(double)INFINITY, total = 0, delta = 0, delta_size = 0;
    for (size_t n = 0; n < a->seq_k; n++) {
        const int64_t distance = (int64_t)m + a->q_offset - (int64_t)n;
        const size_t k = ((b * a->seq_k + n) * s->kv_heads + h_kv) * dim;
        double score = 0, relative = 0;
        for (size_t d = 0; d < dim; d++) {
            score += s->q[q + d] * s->k[k + d];
            if (s->reach && a->shaw_key)
                relative += a->q[q + d] * a->shaw_key[shaw_row(s, distance) + d];
        }
        score = per_key * score + s->scale * relative + ref_bias_at(&bias, h, distance);
        s->slope[n] = 1;
        if (cap != 0) {
            const double bent = tanh(score / cap);
            s->slope[n] = 1 - bent * bent;
            score = cap * bent;
        }
        s->p[n] = ref_visible(&s->desc->mask, a->q_offset, (int64_t)a->seq_k, (int64_t)m, (int64_t)n) ? score : -(double)INFINITY;
        largest = fmax(largest, s->p[n]);
    }
    if (largest == -(double)INFINITY)
        return;
    if (a->sink_logits) {
        largest = fmax(largest, a->sink_logits[h]);
        total = exp(a->sink_logits[h] - largest);
    }
    for (size_t n = 0; n < a->seq_k; n++)
        total += s->p[n] = exp(s->p[n] - largest);
    for (size_t n = 0; n < a->seq_k; n++) {
        const size_t k = ((b * a->seq_k + n) * s->kv_heads + h_kv) * dim;
        s->p[n] /= total;
        s->dp[n] = 0;
        double size = 0;
        for (size_t d = 0; d < dim; d++) {
            double value = a->v[k + d];
            if (s->reach && a->shaw_value)
                value += a->shaw_value[shaw_row(s, (int64_t)m + a->q_offset - (int64_t)n) + d];
            s->dp[n] += dout[d] * value;
            size += fabs(dout[d] * value);
        }
        delta += s->p[n] * s->dp[n];
        delta_size += s->p[n] * size;
    }
    for (size_t n = 0; n < a->seq_k; n++) {
        if (s->p[n] == 0)
            continue;
        const int64_t distance = (int64_t)m + a->q_offset - (int64_t)n;
        const size_t k = ((b * a->seq_k + n) * s->kv_heads + h_kv) * dim;
        const double ds = s->p[n] * (s->dp[n] - delta) * s->slope[n];
        double size = delta_size;
        for (size_t d = 0; d < dim; d++)
            size += fabs(dout[d] * a->v[k + d]);
        size *= s->p[n];
        add(g->dv ? g->dv + k : NULL, dim, s->p[n], dout);
        add(s->dq + q, dim, per_key * ds, s->k + k);
        add(s->dk + k, dim, per_key * ds, s->q + q);
        add_sizes(g->dv_size ? g->dv_size + k : NULL, dim, s->p[n], dout);
        add_sizes(g->dq_size ? g->dq_size + q : NULL, dim, per_key * size, s->k + k);
        add_sizes(g->dk_size ? g->dk_size + k : NULL, dim, per_key * size, s->q + q);
        s->sums[h * (a->seq_q + a->seq_k - 1) + m + a->seq_k - 1 - n] += ds;
        if (s->reach) {
            const size_t r = shaw_row(s, distance);
            if (a->shaw_key)
                add(s->direct + q, dim, s->scale * ds, a->shaw_key + r);
            add(g->shaw_key ? g->shaw_key + r : NULL, dim, s->scale * ds, a->q + q);
            add(g->shaw_value ? g->shaw_value + r : NULL, dim, s->p[n], dout);
        }
    }
}

/* d of ref_bias_at by its parameter j. All but KERPLE's are linear in each of their parameters. */
static double by_parameter(const ref_bias *bias, double *unit, size_t j, size_t head, int64_t distance)
{
    const double away = fabs((double)distance), *p = bias->params, r1 = p[head], r2 = p[(j < bias->heads ? j + bias->heads : j)];
    const bool own = j % bias->heads == head;
    if (bias->kind == ROSACE_BIAS_KERPLE_LOG)
        return !own ? 0 : j < bias->heads ? -log(1 + r2 * away) : -r1 * away / (1 + r2 * away);
    if (bias->kind == ROSACE_BIAS_KERPLE_POWER)
        return !own || away == 0 ? 0 : (j < bias->heads ? -1 : -r1 * log(away)) * pow(away, r2);
    unit[j] = 1;
    ref_bias one = *bias;
    one.params = unit;
    const double slope = ref_bias_at(&one, head, distance);
    unit[j] = 0;
    return slope;
}

static bool bias_gradient(const pass *s)
{
    const ref_attention_args *a = s->args;
    const ref_bias bias = {s->desc->bias,         s->heads,         s->desc->bias_max_distance, s->desc->bias_buckets,
                           s->desc->bias_width, s->desc->bias_causal, a->bias_params};
    const size_t count = ref_bias_params(&bias), distances = a->seq_q + a->seq_k - 1;
    double *unit = calloc(count, sizeof *unit);
    for (size_t j = 0; unit && j < count; j++) {
        s->out->bias_params[j] = 0;
        for (size_t h = 0; h < s->heads; h++)
            for (size_t i = 0; i < distances; i++) {
                const double sum = s->sums[h * distances + i];
                const int64_t distance = (int64_t)i + a->q_offset - (int64_t)a->seq_k + 1;
                if (sum != 0)
                    s->out->bias_params[j] += sum * by_parameter(&bias, unit, j, h, distance);
            }
    }
    free(unit);
    return unit != NULL;
}

static void clear(double *x, size_t count)
{
    if (x)
        memset(x, 0, count * sizeof *x);
}

bool ref_attention_backward(const rosace_attention_desc *desc, const ref_attention_args *args,
                            const ref_attention_gradients *gradients)
{
    pass s = {.desc = desc, .args = args, .out = gradients, .dim = desc->head_dim, .heads = desc->n_heads};
    s.kv_heads = desc->n_kv_heads ? desc->n_kv_heads : desc->n_heads;
    s.scale = desc->scale != 0 ? (double)desc->scale : 1 / sqrt((double)desc->head_dim);
    s.reach = desc->bias == ROSACE_BIAS_SHAW ? desc->bias_max_distance : 0;
    const size_t q_count = args->batch * args->seq_q * s.heads * s.dim, k_count = args->batch * args->seq_k * s.kv_heads * s.dim;
    const size_t table = (size_t)(2 * s.reach + 1) * s.dim;
    s.q_at = stand(args->batch, args->seq_q, args->q_positions, args->q_offset);
    s.k_at = stand(args->batch, args->seq_k, args->k_positions, 0);
    s.q = copy_of(q_count, args->q);
    s.k = copy_of(k_count, args->k);
    s.dq = copy_of(q_count, NULL);
    s.dk = copy_of(k_count, NULL);
    s.direct = copy_of(q_count, NULL);
    s.p = copy_of(args->seq_k, NULL);
    s.dp = copy_of(args->seq_k, NULL);
    s.slope = copy_of(args->seq_k, NULL);
    s.sums = copy_of(s.heads * (args->seq_q + args->seq_k), NULL);
    bool good = s.q_at && s.k_at && s.q && s.k && s.dq && s.dk && s.direct && s.p && s.dp && s.slope && s.sums;
    if (good) {
        clear(gradients->dv, k_count);
        clear(gradients->dv_size, k_count);
        clear(gradients->dq_size, q_count);
        clear(gradients->dk_size, k_count);
        clear(gradients->shaw_key, table);
        clear(gradients->shaw_value, table);
        turn(&s, false, args->seq_q, s.heads, s.q_at, s.q);
        turn(&s, false, args->seq_k, s.kv_heads, s.k_at, s.k);
        for (size_t b = 0; b < args->batch; b++)
            for (size_t h = 0; h < s.heads; h++)
                for (size_t m = 0; m < args->seq_q; m++)
                    row(&s, b, h, m);
        turn(&s, true, args->seq_q, s.heads, s.q_at, s.dq);
        turn(&s, true, args->seq_k, s.kv_heads, s.k_at, s.dk);
        for (size_t i = 0; gradients->dq && i < q_count; i++)
            gradients->dq[i] = s.dq[i] + s.direct[i];
        if (gradients->dk)
            memcpy(gradients->dk, s.dk, k_count * sizeof *s.dk);
        if (gradients->bias_params)
            good = good && bias_gradient(&s);
    }
    free(s.q_at);
    free(s.k_at);
    free(s.q);
    free(s.k);
    free(s.dq);
    free(s.dk);
    free(s.direct);
    free(s.p);
    free(s.dp);
    free(s.slope);
    free(s.sums);
    return good;
}
