/* SPDX-License-Identifier: MIT */
#include "queue.h"

static rosace_status check_queue(rosace_context *context, cl_command_queue queue, bool *in_order) {
    if (!queue) return rsc_fail(ROSACE_INVALID_ARGUMENT, "queue = NULL: must be a command queue");
    cl_context owner = NULL;
    cl_device_id device = NULL;
    cl_command_queue_properties properties = 0;
    cl_int code = clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof owner, &owner, NULL);
    if (!code) code = clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL);
    if (!code) code = clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof properties, &properties, NULL);
    if (code == CL_INVALID_COMMAND_QUEUE)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "queue: not a valid command queue");
    if (code) return rsc_fail_cl(code, "queue: clGetCommandQueueInfo");
    if (owner != rosace_context_cl(context))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "queue: belongs to another OpenCL context than the rosace_context");
    if (device != rosace_context_cl_device(context))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "queue: belongs to another device than the rosace_context");
    *in_order = !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    return ROSACE_OK;
}

static rosace_status check_wait_list(rosace_context *context, cl_uint num_wait, const cl_event *wait) {
    if ((num_wait > 0) != (wait != NULL))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "num_wait = %u, wait = %s: both or neither", (unsigned)num_wait,
                        wait ? "a list" : "NULL");
    for (cl_uint i = 0; i < num_wait; i++) {
        if (!wait[i]) return rsc_fail(ROSACE_INVALID_ARGUMENT, "wait[%u] = NULL: must be an event", (unsigned)i);
        cl_context owner = NULL;
        cl_int code = clGetEventInfo(wait[i], CL_EVENT_CONTEXT, sizeof owner, &owner, NULL);
        if (code == CL_INVALID_EVENT)
            return rsc_fail(ROSACE_INVALID_ARGUMENT, "wait[%u]: not a valid event", (unsigned)i);
        if (code) return rsc_fail_cl(code, "wait[%u]: clGetEventInfo", (unsigned)i);
        if (owner != rosace_context_cl(context))
            return rsc_fail(ROSACE_INVALID_ARGUMENT, "wait[%u]: belongs to another OpenCL context than the rosace_context",
                            (unsigned)i);
    }
    return ROSACE_OK;
}

rosace_status rsc_chain_begin(rsc_chain *chain, rosace_context *context, cl_command_queue queue, cl_uint num_wait,
                              const cl_event *wait) {
    *chain = (rsc_chain){.context = context, .queue = queue};
    rosace_status status = check_queue(context, queue, &chain->in_order);
    if (!status) status = check_wait_list(context, num_wait, wait);
    if (status) return status;
    chain->num_wait = num_wait;
    chain->wait = wait;
    return ROSACE_OK;
}

/* Makes `event` (owned, may be NULL) what the next command has to wait for. */
static rosace_status advance(rsc_chain *chain, cl_event event) {
    cl_event before = chain->last;
    chain->last = event;
    chain->num_wait = chain->in_order || !event ? 0 : 1;
    chain->wait = chain->num_wait ? &chain->last : NULL;
    cl_int code = before ? clReleaseEvent(before) : CL_SUCCESS;
    return code ? rsc_fail_cl(code, "clReleaseEvent") : ROSACE_OK;
}

rosace_status rsc_chain_kernel(rsc_chain *chain, cl_kernel kernel, cl_uint dims, const size_t *global,
                               const size_t *local, const char *what) {
    for (cl_uint i = 0; i < dims; i++)
        if (global[i] == 0) return ROSACE_OK;
    cl_event event = NULL;
    cl_int code = clEnqueueNDRangeKernel(chain->queue, kernel, dims, NULL, global, local, chain->num_wait, chain->wait,
                                         &event);
    chain->last_is_foreign = false;
    return code ? rsc_fail_cl(code, "%s: clEnqueueNDRangeKernel", what) : advance(chain, event);
}

rosace_status rsc_chain_before_foreign(rsc_chain *chain, cl_command_queue *queue) {
    cl_int code = CL_SUCCESS;
    *queue = chain->queue;
    if (!chain->in_order) {
        if (!chain->foreign)
            chain->foreign = clCreateCommandQueue(rosace_context_cl(chain->context),
                                                  rosace_context_cl_device(chain->context), 0, &code);
        if (code) return rsc_fail_cl(code, "clCreateCommandQueue");
        *queue = chain->foreign;
    }
    if (chain->num_wait == 0) return ROSACE_OK;
    /* In order, so that what comes next waits for the marker. The events may be of commands not sent to the device yet. */
    code = chain->in_order ? CL_SUCCESS : clFlush(chain->queue);
    if (code) return rsc_fail_cl(code, "clFlush");
    code = clEnqueueMarkerWithWaitList(*queue, chain->num_wait, chain->wait, NULL);
    if (code) return rsc_fail_cl(code, "clEnqueueMarkerWithWaitList");
    chain->num_wait = 0;
    chain->wait = NULL;
    return ROSACE_OK;
}

rosace_status rsc_chain_after_foreign(rsc_chain *chain, cl_event event) {
    if (!event && !chain->in_order)
        return rsc_fail(ROSACE_OPENCL_ERROR, "a call on an out-of-order queue returned no event to wait for");
    rosace_status status = advance(chain, event);
    if (status || chain->in_order) return status;
    chain->last_is_foreign = true;
    cl_int code = clFlush(chain->foreign);
    return code ? rsc_fail_cl(code, "clFlush") : ROSACE_OK;
}

rosace_status rsc_chain_end(rsc_chain *chain, rosace_status status, cl_event *event) {
    /* The caller's queue is finished when this is, too. */
    if (!status && chain->last_is_foreign) {
        cl_event marker = NULL;
        cl_int code = clEnqueueMarkerWithWaitList(chain->queue, chain->num_wait, chain->wait, &marker);
        status = code ? rsc_fail_cl(code, "clEnqueueMarkerWithWaitList") : advance(chain, marker);
    }
    if (!status && event) {
        if (chain->last) {
            *event = chain->last;
            chain->last = NULL;
        } else {
            /* Nothing was enqueued, or the last command gave no event: done when the wait list and, on an in-order
             * queue, everything before is. An empty list on an out-of-order queue waits for all that is enqueued. */
            cl_int code = clEnqueueMarkerWithWaitList(chain->queue, chain->num_wait, chain->wait, event);
            if (code) status = rsc_fail_cl(code, "clEnqueueMarkerWithWaitList");
        }
    }
    if (chain->last) {
        cl_int code = clReleaseEvent(chain->last);
        if (code && !status) status = rsc_fail_cl(code, "clReleaseEvent");
        chain->last = NULL;
    }
    if (chain->foreign) {
        cl_int code = clReleaseCommandQueue(chain->foreign); /* its commands go on */
        if (code && !status) status = rsc_fail_cl(code, "clReleaseCommandQueue");
        chain->foreign = NULL;
    }
    return status;
}

rosace_status rsc_set_args(cl_kernel kernel, const char *what, const rsc_arg *args, cl_uint count) {
    for (cl_uint i = 0; i < count; i++) {
        cl_int code = clSetKernelArg(kernel, i, args[i].bytes, args[i].value);
        if (code) return rsc_fail_cl(code, "%s: clSetKernelArg %u", what, (unsigned)i);
    }
    return ROSACE_OK;
}
