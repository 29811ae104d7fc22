/* SPDX-License-Identifier: MIT
 * The masked softmax kernel (cl/softmax.cl) for the operations that launch it: rosace_masked_softmax and attention. */
#ifndef ROSACE_SRC_OPS_SOFTMAX_H
#define ROSACE_SRC_OPS_SOFTMAX_H

#include <rosace/attention.h>

#include "../context.h"
#include "../queue.h"
#include "attention_extras.h"
#include "shared/softmax_args.h"

/* What the code depends on. */
typedef struct rsc_softmax_desc {
    rosace_dtype dtype; /* of scores and probabilities */
    rosace_bias_kind bias;
    rosace_device_class device_class; /* the device's own, or another's for tests of its division of work */
    bool rerope, logn, softcap;
    rsc_extras_desc extras;
} rsc_softmax_desc;

typedef struct rsc_softmax {
    cl_kernel kernel;
    size_t group; /* work-items per row */
    size_t busy;  /* work-items that keep the device busy */
    const rosace_device_info *device;
    bool shaw;
    rsc_extras_desc extras;
} rsc_softmax;

rosace_status rsc_softmax_create(rosace_context *context, const rsc_softmax_desc *desc, rsc_softmax *out);
void rsc_softmax_destroy(rsc_softmax *softmax); /* copes with one never made */

/* One launch. Buffers that the descriptor has no use for may be NULL. */
typedef struct rsc_softmax_call {
    cl_mem scores, probs, far, bias_params, shaw, histogram, ids, lse;
    size_t rows, matrices;
    rsc_softmax_kernel_args args;
    rsc_extras extras;
} rsc_softmax_call;
rosace_status rsc_softmax_chain(const rsc_softmax *softmax, rsc_chain *chain, const rsc_softmax_call *call);

/* rosace_masked_softmax with the device class given instead of asked for. */
rosace_status rsc_masked_softmax_as(rosace_context *context, cl_command_queue queue, const rosace_softmax_args *args,
                                    rosace_device_class device_class, cl_uint num_wait, const cl_event *wait, cl_event *event);

#endif
