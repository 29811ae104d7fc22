/* SPDX-License-Identifier: MIT
 * A chain: the commands of one operation on the caller's queue, each after the one before, behind one wait list and one
 * event. Works on in-order and out-of-order queues. Always ended by rsc_chain_end, on success and on failure:
 *
 *     rsc_chain chain;
 *     status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
 *     if (!status) status = rsc_chain_kernel(&chain, kernel, 2, global, local, "rope");
 *     return rsc_chain_end(&chain, status, event);
 */
#ifndef ROSACE_SRC_QUEUE_H
#define ROSACE_SRC_QUEUE_H

#include "context.h"

typedef struct rsc_chain {
    rosace_context *context;
    cl_command_queue queue;
    cl_uint num_wait;     /* what the next command waits for: the caller's list, then the last command */
    const cl_event *wait;
    cl_event last;        /* owned */
    bool in_order;
    cl_command_queue foreign; /* owned; in order, for calls that take no wait list when the caller's queue is not */
    bool last_is_foreign;
} rsc_chain;

/* Checks queue (not NULL, of this context and device) and wait list (count and pointer agree, no NULL in it). */
rosace_status rsc_chain_begin(rsc_chain *chain, rosace_context *context, cl_command_queue queue, cl_uint num_wait,
                              const cl_event *wait);
/* local may be NULL. `what` names the operation in errors. An empty range (a 0 in global) is a no-op. */
rosace_status rsc_chain_kernel(rsc_chain *chain, cl_kernel kernel, cl_uint dims, const size_t *global, const size_t *local,
                               const char *what);
/* Around a call that takes no wait list (CLBlast): that call is made on *queue, after `before`, and starts when the chain so
 * far is done; the event it returned (NULL allowed when *queue is the caller's) is handed to `after`, which takes ownership.
 * For a caller's queue that is out of order, *queue is an in-order one of the chain's own: a barrier would do by the letter
 * of OpenCL, but not all drivers hold later commands back (oclgrind 21.10). */
rosace_status rsc_chain_before_foreign(rsc_chain *chain, cl_command_queue *queue);
rosace_status rsc_chain_after_foreign(rsc_chain *chain, cl_event event);
/* Gives the last event to the caller when event is not NULL (a marker when nothing was enqueued), releases what is left, and
 * returns `status`, or the error of the marker. */
rosace_status rsc_chain_end(rsc_chain *chain, rosace_status status, cl_event *event);

/* Sets arguments 0.. of a kernel from a list, checking each: RSC_ARGS(kernel, "rope", RSC_ARG(mem), RSC_ARG(args)) */
typedef struct rsc_arg {
    size_t bytes;
    const void *value;
} rsc_arg;
#define RSC_ARG(x) { sizeof(x), &(x) }
rosace_status rsc_set_args(cl_kernel kernel, const char *what, const rsc_arg *args, cl_uint count);
#define RSC_ARGS(kernel, what, ...)                                                                                    \
    rsc_set_args((kernel), (what), (const rsc_arg[]){__VA_ARGS__}, sizeof((const rsc_arg[]){__VA_ARGS__}) / sizeof(rsc_arg))

#endif
