/* SPDX-License-Identifier: MIT
 * Fused attention by matrix instructions (cl/attention_matrix.cl), as its rows and their tests make it. */
#ifndef ROSACE_SRC_OPS_ATTENTION_MATRIX_H
#define ROSACE_SRC_OPS_ATTENTION_MATRIX_H

#include "attention.h"

/* MATRIX of cl/lib/matrix.clh. */
typedef enum rsc_matrix_kind { RSC_MATRIX_MMA = 1, RSC_MATRIX_DPAS, RSC_MATRIX_WMMA, RSC_MATRIX_MFMA } rsc_matrix_kind;

/* An instruction in one of its forms. */
typedef struct rsc_matrix_way {
    rsc_matrix_kind kind;
    unsigned lanes;    /* of a subgroup */
    unsigned rows;     /* of C that one makes */
    bool mma_k8;       /* compute capability 7.5 */
    bool wmma_gfx12;   /* RDNA 4 */
    bool emulated;     /* played in local memory, for tests */
} rsc_matrix_way;

typedef struct rsc_matrix_tile {
    const char *name;     /* g<GROUPS>b<BANDS>k<TILE_K>, and q with queries in local memory */
    rsc_matrix_kind kind;
    unsigned lanes;       /* of the subgroups it is for; 0: any */
    unsigned head_dim;    /* at most */
    unsigned groups, bands, tile_k;
    bool queries_local;
} rsc_matrix_tile;

/* A row's `create`, by an instruction and a tile. The device is trusted to have both. */
rosace_status rsc_attention_matrix_create(rosace_attention_plan *plan, const rsc_matrix_way *way, const rsc_matrix_tile *tile);

#endif
