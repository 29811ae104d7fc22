/* SPDX-License-Identifier: MIT
 * See fault_layer.h. Every function that rosace calls has an entry here but the releases, which have no sensible way to
 * fail: those are only counted. */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl_layer.h>

#include "fault_layer.h"

#define EXPORT __attribute__((visibility("default")))

static fault_controls controls; /* one thread uses it */
EXPORT fault_controls *fault_layer_controls(void);
fault_controls *fault_layer_controls(void) { return &controls; }

static const cl_icd_dispatch *next;

static int fails(const char *function)
{
    if (!controls.armed) return 0;
    if (++controls.calls != controls.fail_at) return 0;
    controls.failed = function;
    return 1;
}

static cl_int count(cl_int code, fault_object object, long change)
{
    if (code == CL_SUCCESS) controls.live[object] += change;
    return code;
}

/* A call that returns its status. `code` is one that the specification allows for it. */
#define STATUS(name, code, parameters, arguments)                                                                      \
    static cl_int CL_API_CALL name parameters { return fails("cl" #name) ? (code) : next->cl##name arguments; }

/* One that adds a command and perhaps hands out an event. */
#define COMMAND(name, parameters, arguments)                                                                           \
    static cl_int CL_API_CALL name parameters                                                                          \
    {                                                                                                                  \
        if (fails("cl" #name)) return CL_OUT_OF_RESOURCES;                                                             \
        return count(next->cl##name arguments, FAULT_EVENT, event ? 1 : 0);                                            \
    }

/* One that makes an object. */
#define CREATE(type, object, name, code, parameters, arguments)                                                        \
    static type CL_API_CALL name parameters                                                                            \
    {                                                                                                                  \
        cl_int own;                                                                                                    \
        if (!error) error = &own;                                                                                      \
        if (fails("cl" #name)) {                                                                                       \
            *error = (code);                                                                                           \
            return NULL;                                                                                               \
        }                                                                                                              \
        type made = next->cl##name arguments;                                                                          \
        count(*error, object, 1);                                                                                      \
        return made;                                                                                                   \
    }

#define COUNTED(type, object, name)                                                                                    \
    static cl_int CL_API_CALL Retain##name(type x) { return count(next->clRetain##name(x), object, 1); }               \
    static cl_int CL_API_CALL Release##name(type x) { return count(next->clRelease##name(x), object, -1); }

COUNTED(cl_context, FAULT_CONTEXT, Context)
COUNTED(cl_command_queue, FAULT_QUEUE, CommandQueue)
COUNTED(cl_mem, FAULT_MEM, MemObject)
COUNTED(cl_program, FAULT_PROGRAM, Program)
COUNTED(cl_kernel, FAULT_KERNEL, Kernel)
COUNTED(cl_event, FAULT_EVENT, Event)

/* clang-format off */
STATUS(GetPlatformIDs, CL_OUT_OF_HOST_MEMORY, (cl_uint n, cl_platform_id *ids, cl_uint *count), (n, ids, count))
STATUS(GetPlatformInfo, CL_OUT_OF_HOST_MEMORY,
       (cl_platform_id id, cl_platform_info what, size_t bytes, void *value, size_t *size), (id, what, bytes, value, size))
STATUS(GetDeviceIDs, CL_OUT_OF_RESOURCES,
       (cl_platform_id id, cl_device_type type, cl_uint n, cl_device_id *ids, cl_uint *count), (id, type, n, ids, count))
STATUS(GetDeviceInfo, CL_OUT_OF_RESOURCES,
       (cl_device_id id, cl_device_info what, size_t bytes, void *value, size_t *size), (id, what, bytes, value, size))
STATUS(GetContextInfo, CL_OUT_OF_RESOURCES,
       (cl_context x, cl_context_info what, size_t bytes, void *value, size_t *size), (x, what, bytes, value, size))
STATUS(GetCommandQueueInfo, CL_OUT_OF_RESOURCES,
       (cl_command_queue x, cl_command_queue_info what, size_t bytes, void *value, size_t *size),
       (x, what, bytes, value, size))
STATUS(GetMemObjectInfo, CL_OUT_OF_RESOURCES,
       (cl_mem x, cl_mem_info what, size_t bytes, void *value, size_t *size), (x, what, bytes, value, size))
STATUS(GetProgramInfo, CL_OUT_OF_RESOURCES,
       (cl_program x, cl_program_info what, size_t bytes, void *value, size_t *size), (x, what, bytes, value, size))
STATUS(GetProgramBuildInfo, CL_OUT_OF_RESOURCES,
       (cl_program x, cl_device_id id, cl_program_build_info what, size_t bytes, void *value, size_t *size),
       (x, id, what, bytes, value, size))
STATUS(GetKernelWorkGroupInfo, CL_OUT_OF_RESOURCES,
       (cl_kernel x, cl_device_id id, cl_kernel_work_group_info what, size_t bytes, void *value, size_t *size),
       (x, id, what, bytes, value, size))
STATUS(GetEventInfo, CL_OUT_OF_RESOURCES,
       (cl_event x, cl_event_info what, size_t bytes, void *value, size_t *size), (x, what, bytes, value, size))
STATUS(SetKernelArg, CL_OUT_OF_RESOURCES,
       (cl_kernel x, cl_uint index, size_t bytes, const void *value), (x, index, bytes, value))
STATUS(BuildProgram, CL_BUILD_PROGRAM_FAILURE,
       (cl_program x, cl_uint n, const cl_device_id *ids, const char *options,
        void (CL_CALLBACK *done)(cl_program, void *), void *user),
       (x, n, ids, options, done, user))
STATUS(SetEventCallback, CL_OUT_OF_RESOURCES,
       (cl_event x, cl_int type, void (CL_CALLBACK *done)(cl_event, cl_int, void *), void *user), (x, type, done, user))
STATUS(SetMemObjectDestructorCallback, CL_OUT_OF_RESOURCES,
       (cl_mem x, void (CL_CALLBACK *done)(cl_mem, void *), void *user), (x, done, user))
STATUS(WaitForEvents, CL_OUT_OF_RESOURCES, (cl_uint n, const cl_event *events), (n, events))
STATUS(Flush, CL_OUT_OF_RESOURCES, (cl_command_queue x), (x))
STATUS(Finish, CL_OUT_OF_RESOURCES, (cl_command_queue x), (x))

CREATE(cl_context, FAULT_CONTEXT, CreateContext, CL_OUT_OF_HOST_MEMORY,
       (const cl_context_properties *properties, cl_uint n, const cl_device_id *ids,
        void (CL_CALLBACK *tell)(const char *, const void *, size_t, void *), void *user, cl_int *error),
       (properties, n, ids, tell, user, error))
CREATE(cl_command_queue, FAULT_QUEUE, CreateCommandQueue, CL_OUT_OF_RESOURCES,
       (cl_context x, cl_device_id id, cl_command_queue_properties properties, cl_int *error),
       (x, id, properties, error))
CREATE(cl_mem, FAULT_MEM, CreateBuffer, CL_MEM_OBJECT_ALLOCATION_FAILURE,
       (cl_context x, cl_mem_flags flags, size_t bytes, void *data, cl_int *error), (x, flags, bytes, data, error))
CREATE(cl_mem, FAULT_MEM, CreateSubBuffer, CL_OUT_OF_RESOURCES,
       (cl_mem x, cl_mem_flags flags, cl_buffer_create_type type, const void *region, cl_int *error),
       (x, flags, type, region, error))
CREATE(cl_program, FAULT_PROGRAM, CreateProgramWithSource, CL_OUT_OF_HOST_MEMORY,
       (cl_context x, cl_uint n, const char **text, const size_t *bytes, cl_int *error), (x, n, text, bytes, error))
CREATE(cl_program, FAULT_PROGRAM, CreateProgramWithBinary, CL_INVALID_BINARY,
       (cl_context x, cl_uint n, const cl_device_id *ids, const size_t *bytes, const unsigned char **data, cl_int *status,
        cl_int *error),
       (x, n, ids, bytes, data, status, error))
CREATE(cl_kernel, FAULT_KERNEL, CreateKernel, CL_OUT_OF_HOST_MEMORY,
       (cl_program x, const char *name, cl_int *error), (x, name, error))

COMMAND(EnqueueNDRangeKernel,
        (cl_command_queue x, cl_kernel kernel, cl_uint dims, const size_t *offset, const size_t *global, const size_t *local,
         cl_uint n, const cl_event *wait, cl_event *event),
        (x, kernel, dims, offset, global, local, n, wait, event))
COMMAND(EnqueueWriteBuffer,
        (cl_command_queue x, cl_mem mem, cl_bool blocking, size_t offset, size_t bytes, const void *data, cl_uint n,
         const cl_event *wait, cl_event *event),
        (x, mem, blocking, offset, bytes, data, n, wait, event))
COMMAND(EnqueueReadBuffer,
        (cl_command_queue x, cl_mem mem, cl_bool blocking, size_t offset, size_t bytes, void *data, cl_uint n,
         const cl_event *wait, cl_event *event),
        (x, mem, blocking, offset, bytes, data, n, wait, event))
COMMAND(EnqueueCopyBuffer,
        (cl_command_queue x, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t bytes, cl_uint n,
         const cl_event *wait, cl_event *event),
        (x, from, to, from_offset, to_offset, bytes, n, wait, event))
COMMAND(EnqueueFillBuffer,
        (cl_command_queue x, cl_mem mem, const void *pattern, size_t pattern_bytes, size_t offset, size_t bytes, cl_uint n,
         const cl_event *wait, cl_event *event),
        (x, mem, pattern, pattern_bytes, offset, bytes, n, wait, event))
COMMAND(EnqueueMarkerWithWaitList,
        (cl_command_queue x, cl_uint n, const cl_event *wait, cl_event *event), (x, n, wait, event))
COMMAND(EnqueueBarrierWithWaitList,
        (cl_command_queue x, cl_uint n, const cl_event *wait, cl_event *event), (x, n, wait, event))
/* clang-format on */

#define SLOT(name) .cl##name = name
static const cl_icd_dispatch layer = {
    SLOT(RetainContext), SLOT(ReleaseContext), SLOT(RetainCommandQueue), SLOT(ReleaseCommandQueue),
    SLOT(RetainMemObject), SLOT(ReleaseMemObject), SLOT(RetainProgram), SLOT(ReleaseProgram), SLOT(RetainKernel),
    SLOT(ReleaseKernel), SLOT(RetainEvent), SLOT(ReleaseEvent), SLOT(GetPlatformIDs), SLOT(GetPlatformInfo),
    SLOT(GetDeviceIDs), SLOT(GetDeviceInfo), SLOT(GetContextInfo), SLOT(GetCommandQueueInfo), SLOT(GetMemObjectInfo),
    SLOT(GetProgramInfo), SLOT(GetProgramBuildInfo), SLOT(GetKernelWorkGroupInfo), SLOT(GetEventInfo),
    SLOT(SetKernelArg), SLOT(BuildProgram), SLOT(SetEventCallback), SLOT(SetMemObjectDestructorCallback),
    SLOT(WaitForEvents), SLOT(Flush), SLOT(Finish), SLOT(CreateContext), SLOT(CreateCommandQueue), SLOT(CreateBuffer),
    SLOT(CreateSubBuffer), SLOT(CreateProgramWithSource), SLOT(CreateProgramWithBinary), SLOT(CreateKernel),
    SLOT(EnqueueNDRangeKernel), SLOT(EnqueueWriteBuffer), SLOT(EnqueueReadBuffer), SLOT(EnqueueCopyBuffer),
    SLOT(EnqueueFillBuffer), SLOT(EnqueueMarkerWithWaitList), SLOT(EnqueueBarrierWithWaitList),
};

EXPORT cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t bytes, void *value, size_t *size)
{
    const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    const char *text = "rosace fault layer";
    const void *from = name == CL_LAYER_API_VERSION ? (const void *)&version : text;
    size_t need = name == CL_LAYER_API_VERSION ? sizeof version : __builtin_strlen(text) + 1;
    if (name != CL_LAYER_API_VERSION && name != CL_LAYER_NAME) return CL_INVALID_VALUE;
    if (value && bytes < need) return CL_INVALID_VALUE;
    if (value) __builtin_memcpy(value, from, need);
    if (size) *size = need;
    return CL_SUCCESS;
}

EXPORT cl_int CL_API_CALL clInitLayer(cl_uint entries, const cl_icd_dispatch *target, cl_uint *entries_out,
                                      const cl_icd_dispatch **layer_out)
{
    if (!target || !entries_out || !layer_out || entries < sizeof layer / sizeof(void *)) return CL_INVALID_VALUE;
    next = target;
    *entries_out = sizeof layer / sizeof(void *);
    *layer_out = &layer;
    return CL_SUCCESS;
}
