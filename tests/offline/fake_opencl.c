/* SPDX-License-Identifier: MIT */
#define CL_TARGET_OPENCL_VERSION 300
#include "fake_opencl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const fake_device *device;
static fake_built_fn hand_over;
static char *program_text;
static int object; /* every handle points here */

#define HANDLE(type) ((type)(void *)&object)
const cl_mem fake_mem = HANDLE(cl_mem);
const cl_command_queue fake_queue = HANDLE(cl_command_queue);

void fake_opencl(const fake_device *what, fake_built_fn built)
{
    device = what;
    hand_over = built;
}

static cl_int answer(const void *value, size_t bytes, size_t room, void *out, size_t *needed)
{
    if (needed) *needed = bytes;
    if (out && room < bytes) return CL_INVALID_VALUE;
    if (out) memcpy(out, value, bytes);
    return CL_SUCCESS;
}
#define ANSWER(type, ...) answer(&(const type){__VA_ARGS__}, sizeof(type), room, out, needed)
static cl_int answer_text(const char *text, size_t room, void *out, size_t *needed)
{
    return answer(text, strlen(text) + 1, room, out, needed);
}

/* ---- Platform and device ------------------------------------------------------------------------------------------- */

CL_API_ENTRY cl_int CL_API_CALL clGetPlatformIDs(cl_uint room, cl_platform_id *out, cl_uint *count)
{
    if (count) *count = 1;
    if (out && room) *out = HANDLE(cl_platform_id);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clGetPlatformInfo(cl_platform_id id, cl_platform_info what, size_t room, void *out,
                                                  size_t *needed)
{
    (void)id;
    return answer_text(what == CL_PLATFORM_NAME ? device->platform : "OpenCL 3.0", room, out, needed);
}

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceIDs(cl_platform_id id, cl_device_type type, cl_uint room, cl_device_id *out,
                                               cl_uint *count)
{
    (void)id;
    (void)type;
    if (count) *count = 1;
    if (out && room) *out = HANDLE(cl_device_id);
    return CL_SUCCESS;
}

static bool has(const char *extension)
{
    const char *at = strstr(device->extensions, extension);
    const size_t length = strlen(extension);
    return at && (at[length] == ' ' || at[length] == '\0');
}

/* Queries of the vendors' extensions. */
enum { CAPABILITY_MAJOR_NV = 0x4000, CAPABILITY_MINOR_NV, WARP_NV = 0x4003, WAVEFRONT_AMD = 0x4043, SUB_GROUPS_INTEL = 0x4108 };

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceInfo(cl_device_id id, cl_device_info what, size_t room, void *out,
                                                size_t *needed)
{
    (void)id;
    switch (what) {
    case CL_DEVICE_NAME: return answer_text(device->name, room, out, needed);
    case CL_DEVICE_VENDOR: return answer_text(device->vendor, room, out, needed);
    case CL_DEVICE_PROFILE: return answer_text("FULL_PROFILE", room, out, needed);
    case CL_DRIVER_VERSION: return answer_text("1", room, out, needed);
    case CL_DEVICE_VERSION: return answer_text("OpenCL 3.0", room, out, needed);
    case CL_DEVICE_OPENCL_C_VERSION: return answer_text("OpenCL C 1.2", room, out, needed);
    case CL_DEVICE_EXTENSIONS: return answer_text(device->extensions, room, out, needed);
    case CL_DEVICE_MAX_COMPUTE_UNITS: return ANSWER(cl_uint, 64);
    case CL_DEVICE_MAX_CLOCK_FREQUENCY: return ANSWER(cl_uint, 1500);
    case CL_DEVICE_ADDRESS_BITS: return ANSWER(cl_uint, 64);
    case CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT: return ANSWER(cl_uint, device->vector_width);
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN: return ANSWER(cl_uint, 1024);
    case CL_DEVICE_HOST_UNIFIED_MEMORY: return ANSWER(cl_bool, device->unified);
    case CL_DEVICE_AVAILABLE:
    case CL_DEVICE_COMPILER_AVAILABLE: return ANSWER(cl_bool, CL_TRUE);
    case CL_DEVICE_PLATFORM: return ANSWER(cl_platform_id, HANDLE(cl_platform_id));
    case CL_DEVICE_TYPE: return ANSWER(cl_device_type, device->type);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE: return ANSWER(size_t, device->max_work_group_size);
    case CL_DEVICE_LOCAL_MEM_SIZE: return ANSWER(cl_ulong, device->local_memory_bytes);
    case CL_DEVICE_GLOBAL_MEM_SIZE: return ANSWER(cl_ulong, (cl_ulong)16 << 30);
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE: return ANSWER(cl_ulong, (cl_ulong)4 << 30);
    case CL_DEVICE_GLOBAL_MEM_CACHE_SIZE: return ANSWER(cl_ulong, (cl_ulong)4 << 20);
    case WARP_NV:
        if (has("cl_nv_device_attribute_query")) return ANSWER(cl_uint, device->lanes);
        break;
    case CAPABILITY_MAJOR_NV:
        if (has("cl_nv_device_attribute_query")) return ANSWER(cl_uint, device->capability[0]);
        break;
    case CAPABILITY_MINOR_NV:
        if (has("cl_nv_device_attribute_query")) return ANSWER(cl_uint, device->capability[1]);
        break;
    case WAVEFRONT_AMD:
        if (has("cl_amd_device_attribute_query")) return ANSWER(cl_uint, device->lanes);
        break;
    case SUB_GROUPS_INTEL: {
        size_t count = 0;
        while (device->sub_group_sizes[count]) count++;
        if (count) return answer(device->sub_group_sizes, count * sizeof(size_t), room, out, needed);
        break;
    }
    default: break;
    }
    return CL_INVALID_VALUE;
}

/* ---- Programs ------------------------------------------------------------------------------------------------------- */

CL_API_ENTRY cl_program CL_API_CALL clCreateProgramWithSource(cl_context context, cl_uint count, const char **texts,
                                                              const size_t *lengths, cl_int *code)
{
    (void)context;
    free(program_text);
    program_text = count == 1 && lengths ? calloc(lengths[0] + 1, 1) : NULL;
    if (program_text) memcpy(program_text, texts[0], lengths[0]);
    *code = program_text ? CL_SUCCESS : CL_OUT_OF_HOST_MEMORY;
    return HANDLE(cl_program);
}

CL_API_ENTRY cl_int CL_API_CALL clBuildProgram(cl_program program, cl_uint count, const cl_device_id *devices,
                                               const char *options, void(CL_CALLBACK *done)(cl_program, void *), void *user)
{
    (void)program, (void)count, (void)devices, (void)done, (void)user;
    if (!program_text) return CL_INVALID_OPERATION;
    hand_over(program_text, options);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_program CL_API_CALL clCreateProgramWithBinary(cl_context context, cl_uint count, const cl_device_id *devices,
                                                              const size_t *lengths, const unsigned char **binaries,
                                                              cl_int *status, cl_int *code)
{
    (void)context, (void)count, (void)devices, (void)lengths, (void)binaries, (void)status;
    *code = CL_INVALID_BINARY;
    return NULL;
}

CL_API_ENTRY cl_kernel CL_API_CALL clCreateKernel(cl_program program, const char *name, cl_int *code)
{
    (void)program, (void)name;
    *code = CL_SUCCESS;
    return HANDLE(cl_kernel);
}

CL_API_ENTRY cl_int CL_API_CALL clGetKernelWorkGroupInfo(cl_kernel kernel, cl_device_id id, cl_kernel_work_group_info what,
                                                         size_t room, void *out, size_t *needed)
{
    (void)kernel, (void)id;
    if (what == CL_KERNEL_WORK_GROUP_SIZE) return ANSWER(size_t, device->max_work_group_size);
    return CL_INVALID_VALUE;
}

CL_API_ENTRY cl_int CL_API_CALL clGetKernelInfo(cl_kernel kernel, cl_kernel_info what, size_t room, void *out, size_t *needed)
{
    (void)kernel;
    if (what == CL_KERNEL_NUM_ARGS) return ANSWER(cl_uint, 16);
    return CL_INVALID_VALUE;
}

/* ---- Everything else ------------------------------------------------------------------------------------------------ */

CL_API_ENTRY cl_context CL_API_CALL clCreateContext(const cl_context_properties *properties, cl_uint count,
                                                    const cl_device_id *devices,
                                                    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *),
                                                    void *user, cl_int *code)
{
    (void)properties, (void)count, (void)devices, (void)notify, (void)user;
    *code = CL_SUCCESS;
    return HANDLE(cl_context);
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateBuffer(cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *code)
{
    static uintptr_t count;
    (void)context, (void)flags, (void)bytes, (void)host;
    *code = CL_SUCCESS;
    return (cl_mem)(void *)(&object + ++count); /* never followed, but no two are one */
}

CL_API_ENTRY cl_command_queue CL_API_CALL clCreateCommandQueue(cl_context context, cl_device_id id,
                                                               cl_command_queue_properties properties, cl_int *code)
{
    (void)context, (void)id, (void)properties;
    *code = CL_SUCCESS;
    return fake_queue;
}

CL_API_ENTRY cl_int CL_API_CALL clGetCommandQueueInfo(cl_command_queue queue, cl_command_queue_info what, size_t room,
                                                      void *out, size_t *needed)
{
    (void)queue;
    if (what == CL_QUEUE_PROPERTIES) return ANSWER(cl_command_queue_properties, 0);
    return ANSWER(void *, &object); /* context or device */
}

CL_API_ENTRY cl_int CL_API_CALL clGetMemObjectInfo(cl_mem mem, cl_mem_info what, size_t room, void *out, size_t *needed)
{
    (void)mem;
    switch (what) {
    case CL_MEM_TYPE: return ANSWER(cl_mem_object_type, CL_MEM_OBJECT_BUFFER);
    case CL_MEM_FLAGS: return ANSWER(cl_mem_flags, CL_MEM_READ_WRITE);
    case CL_MEM_SIZE: return ANSWER(size_t, (size_t)1 << 30);
    case CL_MEM_CONTEXT: return ANSWER(void *, &object);
    case CL_MEM_ASSOCIATED_MEMOBJECT: return ANSWER(void *, NULL);
    case CL_MEM_OFFSET: return ANSWER(size_t, 0);
    default: return CL_INVALID_VALUE;
    }
}

static cl_int give_event(cl_event *event)
{
    if (event) *event = HANDLE(cl_event);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims,
                                                       const size_t *offset, const size_t *global, const size_t *local,
                                                       cl_uint count, const cl_event *wait, cl_event *event)
{
    (void)queue, (void)kernel, (void)dims, (void)offset, (void)global, (void)local, (void)count, (void)wait;
    return give_event(event);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueMarkerWithWaitList(cl_command_queue queue, cl_uint count, const cl_event *wait,
                                                            cl_event *event)
{
    (void)queue, (void)count, (void)wait;
    return give_event(event);
}

/* Results of kernels that never ran: all alike and not zero, so that what is compared with each other is taken for right. */
CL_API_ENTRY cl_int CL_API_CALL clEnqueueReadBuffer(cl_command_queue queue, cl_mem mem, cl_bool blocking, size_t offset,
                                                    size_t bytes, void *to, cl_uint count, const cl_event *wait,
                                                    cl_event *event)
{
    (void)queue, (void)mem, (void)blocking, (void)offset, (void)count, (void)wait;
    memset(to, 0x3c, bytes);
    return give_event(event);
}

#define DOES_NOTHING(name, ...)                                                                                        \
    CL_API_ENTRY cl_int CL_API_CALL name(__VA_ARGS__) { return CL_SUCCESS; }
#define UNUSED __attribute__((unused))
DOES_NOTHING(clSetKernelArg, cl_kernel a UNUSED, cl_uint b UNUSED, size_t c UNUSED, const void *d UNUSED)
DOES_NOTHING(clFlush, cl_command_queue a UNUSED)
DOES_NOTHING(clFinish, cl_command_queue a UNUSED)
DOES_NOTHING(clRetainContext, cl_context a UNUSED)
DOES_NOTHING(clReleaseContext, cl_context a UNUSED)
DOES_NOTHING(clReleaseCommandQueue, cl_command_queue a UNUSED)
DOES_NOTHING(clReleaseEvent, cl_event a UNUSED)
DOES_NOTHING(clReleaseKernel, cl_kernel a UNUSED)
DOES_NOTHING(clReleaseMemObject, cl_mem a UNUSED)
DOES_NOTHING(clReleaseProgram, cl_program a UNUSED)
