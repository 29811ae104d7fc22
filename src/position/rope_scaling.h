/* SPDX-License-Identifier: MIT
 * Frequencies of a rotation, and their form for kernels. */
#ifndef ROSACE_SRC_POSITION_ROPE_SCALING_H
#define ROSACE_SRC_POSITION_ROPE_SCALING_H

#include <rosace/rope.h>

#include "../error.h"

/* Checks everything in a descriptor and copies it to *checked, with rotary_dim resolved. A descriptor of an older,
 * shorter layout gets the defaults of what it lacks. */
rosace_status rsc_rope_check_desc(const rosace_rope_desc *desc, rosace_rope_desc *checked);

/* Of a checked descriptor, what its frequencies depend on, as bytes to compare: zero-filled, padding included, and without
 * the parameters that its scaling does not read, so that they never tell two equal rotations apart. */
typedef struct rsc_rope_key {
    rosace_rope_desc desc; /* no pointers in it */
    double factors[512];   /* LONGROPE: those of the list in use */
} rsc_rope_key;
void rsc_rope_key_set(rsc_rope_key *key, const rosace_rope_desc *checked);

/* frequencies [rotary_dim/2] in radians per position and the attention factor of a checked descriptor. */
void rsc_rope_fill(const rosace_rope_desc *checked, double *frequencies, double *attention_factor);

/* The axis that each pair of a checked descriptor takes its position from. */
void rsc_rope_axes(const rosace_rope_desc *checked, uint32_t *axes);

/* With xPos, -log2(z_i) / xpos_base of each pair as a 64-bit fraction, high words, then low words; else 0. */
void rsc_rope_xpos(const rosace_rope_desc *checked, uint32_t *words);

/* theta^(-2i/dim) for i = 0 .. dim/2 - 1 */
void rsc_rope_powers(double theta, size_t dim, double *frequencies);

/* Frequencies (0 <= f < 2^32, radians) as 64-bit fractions of a turn, rounded from the exact quotient f / (2 pi):
 * words[i] is the high word of frequency i, words[count + i] its low word. Whole turns drop out. */
void rsc_turn_words(const double *frequencies, size_t count, uint32_t *words);

#endif
