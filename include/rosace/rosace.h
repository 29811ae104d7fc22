/* SPDX-License-Identifier: MIT
 *
 * rosace: rotary position embedding and local-window attention on every OpenCL device.
 *
 * This header holds what every operation shares: status and error text, data types, tensor views, devices and
 * contexts. The operations themselves are in rope.h, mask.h, attention.h, matmul.h and layers.h, each of which
 * includes this one.
 *
 * Rules that hold for the whole library:
 *  - No function prints, exits, starts a thread or keeps global state. Log lines go to the context's callback.
 *  - Operations behave like clEnqueue*: they take the caller's queue, a wait list and an optional event, check all
 *    arguments before anything is enqueued, and return without waiting for the device.
 *  - Sizes and strides are in elements, never in bytes, unless the name says `_bytes`.
 *  - Every `_create` has a `_destroy` that takes `T **`, accepts NULL and writes NULL back.
 *  - Descriptors begin with `struct_size`; initialise them with their `_DEFAULT` so that fields added later keep
 *    their meaning in programs compiled today.
 */
#ifndef ROSACE_ROSACE_H
#define ROSACE_ROSACE_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(ROSACE_SHARED)
#ifdef ROSACE_BUILD
#define ROSACE_API __declspec(dllexport)
#else
#define ROSACE_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define ROSACE_API __attribute__((visibility("default")))
#else
#define ROSACE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ROSACE_VERSION_MAJOR 0
#define ROSACE_VERSION_MINOR 1
#define ROSACE_VERSION_PATCH 0

/* The version of the library in use, "MAJOR.MINOR.PATCH". Static storage. */
ROSACE_API const char *rosace_version(void);

/* ---- Status ------------------------------------------------------------------------------------------------- */

typedef enum rosace_status {
    ROSACE_OK = 0,
    ROSACE_INVALID_ARGUMENT = -4001, /* an argument or descriptor field is out of range; nothing was enqueued */
    ROSACE_UNSUPPORTED = -4002,      /* valid, but this device or path cannot do it; the message says what can */
    ROSACE_NO_DEVICE = -4003,        /* no device answers the selector */
    ROSACE_OUT_OF_MEMORY = -4004,    /* host or device memory ran out */
    ROSACE_BUILD_FAILED = -4005,     /* the device's compiler refused a kernel; the message ends with its log */
    ROSACE_OPENCL_ERROR = -4006,     /* an OpenCL call failed; the message names call and error */
    ROSACE_CLBLAST_ERROR = -4007,    /* a CLBlast call failed; the message names call and status */
    ROSACE_IO_ERROR = -4008          /* a file could not be read or written */
} rosace_status;

/* The name of a status ("ROSACE_INVALID_ARGUMENT"), or "unknown status". Static storage. */
ROSACE_API const char *rosace_status_name(rosace_status status);

/* One line on the last call that failed in this thread: which argument, its value, what is allowed. Never NULL;
 * "" before the first failure. Valid until the next rosace call in this thread. A success does not clear it.
 * Thread-safety: safe, each thread has its own. */
ROSACE_API const char *rosace_last_error(void);

/* ---- Data types and tensor views ----------------------------------------------------------------------------- */

typedef enum rosace_dtype {
    ROSACE_F32 = 0, /* IEEE binary32 */
    ROSACE_F16 = 1, /* IEEE binary16 storage; all arithmetic on it is fp32. Needs no device extension. */
    ROSACE_BF16 = 2 /* bfloat16 storage, the upper half of a binary32; arithmetic is fp32. Results are rounded to nearest
                       even; what is too large becomes infinite, NaN stays NaN. Needs no device extension. */
} rosace_dtype;

/* Bytes per element: 4 for ROSACE_F32, 2 for ROSACE_F16 and ROSACE_BF16, 0 for a value outside the enumeration. */
ROSACE_API size_t rosace_dtype_size(rosace_dtype dtype);

/* "f32", "f16", "bf16", as names of variants have it, or "unknown dtype". Static storage. */
ROSACE_API const char *rosace_dtype_name(rosace_dtype dtype);

/* A view of a buffer with the axes [batch, seq, head, head_dim].
 * Element (b, s, h, d) is at offset + b*stride[0] + s*stride[1] + h*stride[2] + d*stride[3], in elements.
 * Any order of the first three axes works (BSHD, BHSD, packed QKV, gaps); stride[3] must be 1. Strides of outer
 * axes must not be negative, and no two elements of an output may share an address.
 * The view does not own `mem`; the caller keeps the buffer alive until the commands that use it are complete. */
typedef struct rosace_tensor {
    cl_mem mem;
    size_t offset;       /* first element, in elements (default 0) */
    rosace_dtype dtype;  /* (default ROSACE_F32) */
    size_t shape[4];     /* batch, seq, head, head_dim */
    ptrdiff_t stride[4]; /* in elements */
} rosace_tensor;

/* Contiguous views in the two usual memory orders. Never fail; what is wrong is found by the operation that uses them. */
ROSACE_API rosace_tensor rosace_tensor_bshd(cl_mem mem, rosace_dtype dtype, size_t batch, size_t seq, size_t heads,
                                            size_t head_dim);
ROSACE_API rosace_tensor rosace_tensor_bhsd(cl_mem mem, rosace_dtype dtype, size_t batch, size_t seq, size_t heads,
                                            size_t head_dim);

/* ---- Devices --------------------------------------------------------------------------------------------------- */

typedef enum rosace_device_class {
    ROSACE_DEVICE_CPU = 0,
    ROSACE_DEVICE_INTEGRATED, /* a GPU that shares the host's memory */
    ROSACE_DEVICE_DISCRETE,   /* a GPU with memory of its own */
    ROSACE_DEVICE_OTHER       /* accelerators, custom devices */
} rosace_device_class;

/* What a device says of itself. All text is NUL-terminated and cut to fit. */
typedef struct rosace_device_info {
    cl_platform_id platform;
    cl_device_id device;
    unsigned platform_index, device_index; /* "P:D" as the selector takes it, in the ICD loader's order; UINT_MAX for
                                              a sub-device, which no selector finds */
    rosace_device_class device_class;
    char name[128], vendor[128], driver_version[128], device_version[128], opencl_c_version[64];
    char platform_name[128], platform_version[192];
    unsigned compute_units;
    unsigned clock_mhz;            /* 0: not reported */
    size_t max_work_group_size;    /* work-items */
    uint64_t local_memory_bytes;
    uint64_t global_memory_bytes;
    uint64_t max_alloc_bytes;      /* largest single buffer */
    unsigned address_bits;         /* 32 or 64 */
    unsigned float_vector_width;   /* native vector width for float, in elements */
    unsigned n_sub_group_sizes;    /* 0: no subgroups */
    unsigned sub_group_sizes[8];   /* ascending; {0} when subgroups exist but sizes are not reported */
    bool unified_memory;
    bool has_fp16;                 /* cl_khr_fp16: half arithmetic (storage needs nothing) */
    bool has_subgroups;            /* cl_khr_subgroups or the OpenCL C 3.0 feature */
    bool has_integer_dot;          /* cl_khr_integer_dot_product */
    bool has_intel_subgroups;      /* cl_intel_subgroups */
    bool has_intel_matrix;         /* cl_intel_subgroup_matrix_multiply_accumulate */
    bool has_nvidia_ptx;           /* NVIDIA's compiler, which takes inline PTX */
    bool has_amd_gcn;              /* AMD's compiler, with its GCN/RDNA built-ins */
    unsigned nvidia_capability;    /* compute capability, 10 * major + minor: 75, 80, 90; 0: not reported */
    char amd_target[16];           /* AMD's name of the instruction set: "gfx90a", "gfx1100"; "": not reported */
    int score;                     /* what `auto` compares; higher is better, below 0: unusable, never chosen */
    char score_reason[160];        /* how it came about, for people */
} rosace_device_info;

/* Lists every device of every platform. Platforms without devices are skipped, so is one that fails to list them while
 * others do; a device that fails to answer is listed with a score below 0 and the reason.
 * `devices` may be NULL to ask for the count alone; at most `capacity` entries are written, `*count` gets the total.
 * Errors: ROSACE_INVALID_ARGUMENT (count NULL), ROSACE_NO_DEVICE (no platform or no device), ROSACE_OPENCL_ERROR. */
ROSACE_API rosace_status rosace_devices(rosace_device_info *devices, size_t capacity, size_t *count);

/* Chooses a device.
 *
 *   selector   = preference { "," preference }     the first preference that some device answers wins
 *   preference = "auto" | "cpu" | "gpu" | "igpu" | "dgpu" | P ":" D | text
 *
 * auto takes the highest score: discrete > integrated > CPU, then by compute units and clock. gpu takes the best of
 * dgpu and igpu. P:D are the indices `rosace devices` shows. Any other text is looked for, ignoring case, in the
 * device's, vendor's and platform's name. NULL and "auto" are replaced by the environment variable ROSACE_DEVICE
 * when it is set and not empty.
 * Errors: ROSACE_INVALID_ARGUMENT (out NULL, empty preference), ROSACE_NO_DEVICE (the message lists what there is). */
ROSACE_API rosace_status rosace_select_device(const char *selector, rosace_device_info *out);

/* ---- Context --------------------------------------------------------------------------------------------------- */

typedef enum rosace_log_level { ROSACE_LOG_ERROR = 0, ROSACE_LOG_WARNING, ROSACE_LOG_INFO, ROSACE_LOG_DEBUG } rosace_log_level;

/* Receives one line without a line end. Called from the thread that made the call; must not call rosace. */
typedef void (*rosace_log_fn)(void *user, rosace_log_level level, const char *message);

/* Host memory for the library's own objects. `alloc` returns memory aligned for any type, or NULL. */
typedef struct rosace_allocator {
    void *(*alloc)(void *user, size_t bytes);
    void (*free)(void *user, void *memory);
    void *user;
} rosace_allocator;

typedef struct rosace_context_desc {
    size_t struct_size;         /* sizeof(rosace_context_desc) */
    const char *device;         /* selector (default NULL = "auto"); ignored when cl_context is given */
    struct _cl_context *cl_context; /* the application's own cl_context to adopt (default NULL: make one); retained. The
                                   type is spelled out because C++ lets no field be called like its type. */
    cl_device_id cl_device;     /* which of the adopted context's devices; NULL: its only one */
    const char *cache_dir;      /* program cache folder (default NULL: $ROSACE_CACHE_DIR, else the user's cache folder,
                                   e.g. ~/.cache/rosace); "" in either: no cache on disk. Created when missing; not
                                   used, with a log line, when it is not this user's own or all may write it. */
    const char *kernel_dir;     /* read kernel sources from this copy of cl/ instead of the embedded ones, for
                                   development (default NULL: $ROSACE_KERNEL_DIR, else embedded) */
    rosace_log_fn log;          /* (default NULL: silent) */
    void *log_user;
    rosace_allocator allocator; /* (default all NULL: malloc and free) */
} rosace_context_desc;
#define ROSACE_CONTEXT_DESC_DEFAULT { .struct_size = sizeof(rosace_context_desc) }

/* A device, an OpenCL context on it, the programs built so far and the plans of the one-call functions.
 * Thread-safety: safe; any number of threads may create plans and call one-call functions on it. */
typedef struct rosace_context rosace_context;

/* Creates a context. On success *out is the caller's, to be destroyed after every plan made from it; on failure *out
 * is NULL. Errors: ROSACE_INVALID_ARGUMENT, ROSACE_NO_DEVICE, ROSACE_UNSUPPORTED (an adopted device that cannot be used),
 * ROSACE_OUT_OF_MEMORY, ROSACE_OPENCL_ERROR. */
ROSACE_API rosace_status rosace_context_create(const rosace_context_desc *desc, rosace_context **out);
ROSACE_API void rosace_context_destroy(rosace_context **context);

/* The OpenCL objects behind a context and what the device says of itself; all borrowed, valid as long as the context. */
ROSACE_API cl_context rosace_context_cl(const rosace_context *context);
ROSACE_API cl_device_id rosace_context_cl_device(const rosace_context *context);
ROSACE_API const rosace_device_info *rosace_context_device_info(const rosace_context *context);

#ifdef __cplusplus
}
#endif
#endif
