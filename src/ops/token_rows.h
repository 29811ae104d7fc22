/* SPDX-License-Identifier: MIT
 * How work-items divide the tokens of a position-wise kernel (rope.cl, sinusoidal.cl) among them, by device class. */
#ifndef ROSACE_SRC_OPS_TOKEN_ROWS_H
#define ROSACE_SRC_OPS_TOKEN_ROWS_H

#include <rosace/rosace.h>

typedef struct rsc_token_rows {
    bool share; /* neighbouring work-items share a token and touch neighbouring addresses; else each walks its own */
    unsigned vector;    /* elements per load, a power of two, 4 to 16 */
    unsigned group;     /* work-items per group along axis 0 */
    unsigned max_rows;  /* consecutive tokens per work-item */
    unsigned min_heads; /* not worth splitting a token's heads further */
    size_t items;       /* work-items that keep the device busy */
} rsc_token_rows;

/* `device_class` is the device's own, or another's for tests of its row. */
rsc_token_rows rsc_token_rows_for(const rosace_device_info *device, rosace_device_class device_class,
                                  rosace_dtype dtype);

/* The largest power of two that divides `count` and is at most `limit` (a power of two); 1 for count 0. */
unsigned rsc_vector_for(size_t count, unsigned limit);

/* Tokens per work-item when `tokens` times `lanes` work-items are to be divided. */
uint32_t rsc_rows_per_item(const rsc_token_rows *rows, size_t tokens, size_t lanes);

/* Work-items along axis 0 for `seq` tokens of one batch, a multiple of the group. */
size_t rsc_global_rows(const rsc_token_rows *rows, size_t seq, uint32_t rows_per_item, size_t lanes);

#endif
