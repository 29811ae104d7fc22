/* SPDX-License-Identifier: MIT
 * What a call may bring beside tensors and a bias by distance (cl/lib/extras.clh): defines of kernels and their arguments. */
#ifndef ROSACE_SRC_OPS_ATTENTION_EXTRAS_H
#define ROSACE_SRC_OPS_ATTENTION_EXTRAS_H

#include <rosace/attention.h>

#include "../context.h"
#include "../options.h"
#include "shared/extras_args.h"

/* Which of them kernels are compiled for. */
typedef struct rsc_extras_desc {
    bool sink;
} rsc_extras_desc;

/* What a call brings; what the descriptor does not want is not read. */
typedef struct rsc_extras {
    cl_mem sink_logits;
    rsc_extras_args args;
} rsc_extras;

rsc_extras_desc rsc_attention_extras(const rosace_attention_desc *desc);
rsc_extras rsc_attention_extras_of(const rosace_attention_args *args);

void rsc_extras_options(const rsc_extras_desc *desc, rsc_options *options);

/* Sets the arguments behind the first `count` of a kernel, where there are any. */
rosace_status rsc_extras_set(const rsc_extras_desc *desc, const rsc_extras *extras, cl_kernel kernel, const char *what,
                             cl_uint count);

#endif
