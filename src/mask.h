/* SPDX-License-Identifier: MIT
 * A mask as kernels take it. */
#ifndef ROSACE_SRC_MASK_H
#define ROSACE_SRC_MASK_H

#include <rosace/mask.h>

#include "shared/mask_args.h"

/* Of a checked mask. */
rsc_mask_args rsc_mask_pack(const rosace_mask *mask, int64_t q_offset, int64_t seq_k);

#endif
