/* SPDX-License-Identifier: MIT
 * The facts of a device. Vendor names are read here and nowhere else. */
#define CL_TARGET_OPENCL_VERSION 300 /* for the names of newer queries; only 1.2 functions are called */
#include "device.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUB_GROUP_SIZES_INTEL = 0x4108, /* cl_intel_required_subgroup_size */
    CAPABILITY_MAJOR_NV = 0x4000,   /* cl_nv_device_attribute_query */
    CAPABILITY_MINOR_NV = 0x4001,
    WARP_SIZE_NV = 0x4003,          /* cl_nv_device_attribute_query */
    WAVEFRONT_WIDTH_AMD = 0x4043,   /* cl_amd_device_attribute_query */
    PLATFORM_NOT_FOUND = -1001      /* cl_khr_icd */
};

/* ---- Text ------------------------------------------------------------------------------------------------------ */

/* Copies what fits, without white space around it (some drivers pad names). */
static void copy_trimmed(char *out, size_t out_bytes, const char *text) {
    while (isspace((unsigned char)*text)) text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1])) length--;
    if (length > out_bytes - 1) length = out_bytes - 1;
    memcpy(out, text, length);
    out[length] = '\0';
}

/* Whether text begins with the first `length` characters of part, ignoring case. */
static bool begins_with(const char *text, const char *part, size_t length) {
    size_t i = 0;
    while (i < length && text[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) i++;
    return i == length;
}

static bool contains(const char *text, const char *part, size_t length) {
    for (; *text; text++)
        if (begins_with(text, part, length)) return true;
    return false;
}

static bool mentions(const char *text, const char *part) { return contains(text, part, strlen(part)); }

/* Whole words only: cl_intel_subgroups is also the beginning of cl_intel_subgroups_short. */
static bool has_extension(const char *list, const char *name) {
    const size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += length)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

/* ---- Queries --------------------------------------------------------------------------------------------------- */

static rosace_status get(cl_device_id device, cl_device_info what, const char *what_name, void *out, size_t bytes) {
    cl_int code = clGetDeviceInfo(device, what, bytes, out, NULL);
    return code ? rsc_fail_cl(code, "clGetDeviceInfo(%s)", what_name) : ROSACE_OK;
}
#define GET(device, what, out) get((device), (what), #what, (out), sizeof *(out))

/* Text of any length; *out is the caller's to free. */
static rosace_status get_text(cl_device_id device, cl_device_info what, const char *what_name, char **out) {
    size_t bytes = 0;
    *out = NULL;
    cl_int code = clGetDeviceInfo(device, what, 0, NULL, &bytes);
    if (code) return rsc_fail_cl(code, "clGetDeviceInfo(%s)", what_name);
    char *text = calloc(bytes + 1, 1);
    if (!text) return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for %s", what_name);
    code = clGetDeviceInfo(device, what, bytes, text, NULL);
    if (code) {
        free(text);
        return rsc_fail_cl(code, "clGetDeviceInfo(%s)", what_name);
    }
    *out = text;
    return ROSACE_OK;
}

static rosace_status get_short_text(cl_device_id device, cl_device_info what, const char *what_name, char *out,
                                    size_t out_bytes) {
    char *text;
    rosace_status status = get_text(device, what, what_name, &text);
    if (status) return status;
    copy_trimmed(out, out_bytes, text);
    free(text);
    return ROSACE_OK;
}
#define GET_TEXT(device, what, out) get_short_text((device), (what), #what, (out), sizeof(out))

static rosace_status get_platform_text(cl_platform_id platform, cl_platform_info what, const char *what_name, char *out,
                                       size_t out_bytes) {
    char text[1024] = "";
    cl_int code = clGetPlatformInfo(platform, what, sizeof text - 1, text, NULL);
    if (code) return rsc_fail_cl(code, "clGetPlatformInfo(%s)", what_name);
    copy_trimmed(out, out_bytes, text);
    return ROSACE_OK;
}

/* ---- Subgroups ------------------------------------------------------------------------------------------------- */

/* OpenCL C 3.0 made subgroups a feature of its own; a driver may offer it without the extension's name. */
static bool has_subgroup_feature(cl_device_id device) {
    static const char wanted[] = "__opencl_c_subgroups";
    cl_uint most = 0;
    if (clGetDeviceInfo(device, CL_DEVICE_MAX_NUM_SUB_GROUPS, sizeof most, &most, NULL) || most == 0) return false;
    size_t bytes = 0;
    if (clGetDeviceInfo(device, CL_DEVICE_OPENCL_C_FEATURES, 0, NULL, &bytes) || bytes == 0) return false;
    cl_name_version *features = malloc(bytes);
    bool found = false;
    if (features && !clGetDeviceInfo(device, CL_DEVICE_OPENCL_C_FEATURES, bytes, features, NULL))
        for (size_t i = 0; i < bytes / sizeof *features && !found; i++)
            found = strncmp(features[i].name, wanted, sizeof features[i].name) == 0;
    free(features);
    return found;
}

static void add_sub_group_size(rosace_device_info *info, size_t size) {
    const unsigned most = sizeof info->sub_group_sizes / sizeof *info->sub_group_sizes;
    unsigned at = info->n_sub_group_sizes;
    if (size == 0 || size > UINT_MAX || at == most) return;
    for (; at > 0 && info->sub_group_sizes[at - 1] > size; at--) info->sub_group_sizes[at] = info->sub_group_sizes[at - 1];
    info->sub_group_sizes[at] = (unsigned)size;
    info->n_sub_group_sizes++;
}

/* Core OpenCL only tells a kernel's sub-group size; a device's sizes are in vendor extensions. */
static void read_sub_group_sizes(cl_device_id device, const char *extensions, rosace_device_info *info) {
    size_t sizes[8], bytes = 0;
    if (has_extension(extensions, "cl_intel_required_subgroup_size") &&
        !clGetDeviceInfo(device, SUB_GROUP_SIZES_INTEL, 0, NULL, &bytes) && bytes <= sizeof sizes &&
        !clGetDeviceInfo(device, SUB_GROUP_SIZES_INTEL, bytes, sizes, NULL))
        for (size_t i = 0; i < bytes / sizeof *sizes; i++) add_sub_group_size(info, sizes[i]);
    cl_uint width = 0;
    if (has_extension(extensions, "cl_nv_device_attribute_query") &&
        !clGetDeviceInfo(device, WARP_SIZE_NV, sizeof width, &width, NULL))
        add_sub_group_size(info, width);
    width = 0;
    if (has_extension(extensions, "cl_amd_device_attribute_query") &&
        !clGetDeviceInfo(device, WAVEFRONT_WIDTH_AMD, sizeof width, &width, NULL))
        add_sub_group_size(info, width);
    if (info->n_sub_group_sizes == 0) info->n_sub_group_sizes = 1; /* {0}: there are some, sizes unknown */
}

static void read_capability(cl_device_id device, const char *extensions, rosace_device_info *info) {
    cl_uint major = 0, minor = 0;
    if (has_extension(extensions, "cl_nv_device_attribute_query") &&
        !clGetDeviceInfo(device, CAPABILITY_MAJOR_NV, sizeof major, &major, NULL) &&
        !clGetDeviceInfo(device, CAPABILITY_MINOR_NV, sizeof minor, &minor, NULL) && minor < 10)
        info->nvidia_capability = 10 * major + minor;
}

/* AMD's driver calls a device by its target and the target's features: "gfx90a:sramecc+:xnack-". */
static void read_target(rosace_device_info *info) {
    const size_t length = strcspn(info->name, ":");
    if (begins_with(info->name, "gfx", 3) && length < sizeof info->amd_target) memcpy(info->amd_target, info->name, length);
}

static void read_extensions(cl_device_id device, const char *extensions, rosace_device_info *info) {
    const bool gpu = info->device_class == ROSACE_DEVICE_INTEGRATED || info->device_class == ROSACE_DEVICE_DISCRETE;
    info->has_fp16 = has_extension(extensions, "cl_khr_fp16");
    info->has_integer_dot = has_extension(extensions, "cl_khr_integer_dot_product");
    info->has_intel_subgroups = has_extension(extensions, "cl_intel_subgroups");
    info->has_intel_matrix = has_extension(extensions, "cl_intel_subgroup_matrix_multiply_accumulate");
    /* Other drivers for the same chips have compilers of their own, so the platform counts, not the vendor. */
    info->has_nvidia_ptx = gpu && mentions(info->platform_name, "NVIDIA CUDA");
    info->has_amd_gcn = gpu && mentions(info->platform_name, "AMD Accelerated Parallel Processing");
    if (info->has_nvidia_ptx) read_capability(device, extensions, info);
    if (info->has_amd_gcn) read_target(info);
    info->has_subgroups = has_extension(extensions, "cl_khr_subgroups") || has_subgroup_feature(device);
    /* NVIDIA's driver has warps, and PTX to use them, without having subgroups by name. */
    if (info->has_subgroups || info->has_intel_subgroups || info->has_nvidia_ptx) read_sub_group_sizes(device, extensions, info);
}

/* ---- Class and score ------------------------------------------------------------------------------------------- */

/* Programs that play a device, for debugging: right results, hundreds of times slower. */
static bool is_simulator(const rosace_device_info *info) {
    return mentions(info->platform_name, "oclgrind") || mentions(info->name, "oclgrind");
}

/* Graphics drivers that run on the CPU; some call themselves a GPU. */
static bool is_software_gpu(const rosace_device_info *info) {
    return mentions(info->name, "llvmpipe") || mentions(info->name, "softpipe") || mentions(info->name, "swrast");
}

bool rsc_device_ends_loops(const rosace_device_info *info) { return is_software_gpu(info); }

rosace_status rsc_check_loops(const rosace_device_info *info, const char *what, uint64_t turns)
{
    if (turns < 65000 || !rsc_device_ends_loops(info)) return ROSACE_OK;
    return rsc_fail(ROSACE_UNSUPPORTED,
                    "%s: about %llu turns of loops in one work-item, and this driver (\"%s\") silently ends loops after 65535: "
                    "shorter rows, another path or another device are needed", what, (unsigned long long)turns, info->name);
}

bool rsc_device_is_host(const rosace_device_info *info) {
    return info->device_class == ROSACE_DEVICE_CPU && (mentions(info->platform_name, "Portable Computing Language") ||
                                                       mentions(info->platform_name, "Intel(R) OpenCL"));
}

static rosace_device_class class_of(const rosace_device_info *info, cl_device_type type) {
    if (is_simulator(info) || is_software_gpu(info)) return ROSACE_DEVICE_CPU;
    if (type & CL_DEVICE_TYPE_GPU) return info->unified_memory ? ROSACE_DEVICE_INTEGRATED : ROSACE_DEVICE_DISCRETE;
    if (type & CL_DEVICE_TYPE_CPU) return ROSACE_DEVICE_CPU;
    return ROSACE_DEVICE_OTHER;
}

/* Why a device cannot be used at all, or NULL. */
static rosace_status read_obstacle(cl_device_id device, const rosace_device_info *info, const char *extensions,
                                   const char **obstacle) {
    char profile[64] = "";
    cl_bool available = CL_FALSE, compiler = CL_FALSE;
    unsigned major = 0, minor = 0;
    rosace_status status = GET(device, CL_DEVICE_AVAILABLE, &available);
    if (!status) status = GET(device, CL_DEVICE_COMPILER_AVAILABLE, &compiler);
    if (!status) status = GET_TEXT(device, CL_DEVICE_PROFILE, profile);
    if (status) return status;
    *obstacle = NULL;
    if (!available)
        *obstacle = "the driver says it is not available";
    else if (!compiler)
        *obstacle = "its driver has no compiler";
    else if (sscanf(info->device_version, "OpenCL %u.%u", &major, &minor) != 2 || major * 10 + minor < 12)
        *obstacle = "OpenCL 1.2 is needed";
    else if (strcmp(profile, "EMBEDDED_PROFILE") == 0 && !has_extension(extensions, "cles_khr_int64"))
        *obstacle = "64-bit integers are needed, and its embedded profile has none (cles_khr_int64)";
    return ROSACE_OK;
}

/* One class never overtakes another; inside a class, compute units times clock decide. */
static void set_score(rosace_device_info *info, const char *obstacle) {
    static const struct {
        const char *name;
        int points;
    } classes[] = {
        [ROSACE_DEVICE_CPU] = {"CPU", 1000000},
        [ROSACE_DEVICE_INTEGRATED] = {"integrated GPU", 2000000},
        [ROSACE_DEVICE_DISCRETE] = {"discrete GPU", 3000000},
        [ROSACE_DEVICE_OTHER] = {"accelerator", 500000},
    };
    const char *class_name = classes[info->device_class].name;
    if (obstacle) {
        info->score = -1;
        snprintf(info->score_reason, sizeof info->score_reason, "%s, never chosen: %s", class_name, obstacle);
        return;
    }
    if (is_simulator(info)) {
        info->score = 1;
        snprintf(info->score_reason, sizeof info->score_reason, "a simulator for debugging: 1, below every real device");
        return;
    }
    /* Intel's CPU driver reports no clock; it must not lose to another driver for the same processor for that. */
    const unsigned assumed_mhz = info->device_class == ROSACE_DEVICE_CPU ? 3000 : 1000;
    const unsigned mhz = info->clock_mhz ? info->clock_mhz : assumed_mhz;
    uint64_t speed = (uint64_t)info->compute_units * mhz / 100;
    if (speed > 499999) speed = 499999;
    const bool software = is_software_gpu(info);
    info->score = classes[info->device_class].points + (int)speed;
    if (software) info->score -= 500000;
    snprintf(info->score_reason, sizeof info->score_reason, "%s %d + %u compute units x %u MHz%s / 100 = %d%s",
             class_name, classes[info->device_class].points, info->compute_units, mhz,
             info->clock_mhz ? "" : " (assumed)", info->score,
             software ? ", with 500000 off for graphics on the CPU" : "");
}

/* ---- Description ----------------------------------------------------------------------------------------------- */

static rosace_status read_sizes(cl_device_id device, rosace_device_info *info) {
    cl_uint units = 0, mhz = 0, bits = 0, width = 0;
    cl_ulong local = 0, global = 0, alloc = 0;
    cl_bool unified = CL_FALSE;
    rosace_status status = GET(device, CL_DEVICE_MAX_COMPUTE_UNITS, &units);
    if (!status) status = GET(device, CL_DEVICE_MAX_CLOCK_FREQUENCY, &mhz);
    if (!status) status = GET(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, &info->max_work_group_size);
    if (!status) status = GET(device, CL_DEVICE_LOCAL_MEM_SIZE, &local);
    if (!status) status = GET(device, CL_DEVICE_GLOBAL_MEM_SIZE, &global);
    if (!status) status = GET(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, &alloc);
    if (!status) status = GET(device, CL_DEVICE_ADDRESS_BITS, &bits);
    if (!status) status = GET(device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, &width);
    if (!status) status = GET(device, CL_DEVICE_HOST_UNIFIED_MEMORY, &unified);
    info->compute_units = units;
    info->clock_mhz = mhz;
    info->local_memory_bytes = local;
    info->global_memory_bytes = global;
    info->max_alloc_bytes = alloc;
    info->address_bits = bits;
    info->float_vector_width = width;
    info->unified_memory = unified;
    return status;
}

/* Fills *out as far as the driver answers. */
static rosace_status read_device(cl_device_id device, rosace_device_info *out) {
    rosace_device_info info = *out;
    cl_device_type type = 0;
    rosace_status status = GET(device, CL_DEVICE_PLATFORM, &info.platform);
    if (!status) status = GET(device, CL_DEVICE_TYPE, &type);
    if (!status) status = GET_TEXT(device, CL_DEVICE_NAME, info.name);
    if (!status) status = GET_TEXT(device, CL_DEVICE_VENDOR, info.vendor);
    if (!status) status = GET_TEXT(device, CL_DRIVER_VERSION, info.driver_version);
    if (!status) status = GET_TEXT(device, CL_DEVICE_VERSION, info.device_version);
    if (!status) status = GET_TEXT(device, CL_DEVICE_OPENCL_C_VERSION, info.opencl_c_version);
    if (!status)
        status = get_platform_text(info.platform, CL_PLATFORM_NAME, "CL_PLATFORM_NAME", info.platform_name,
                                   sizeof info.platform_name);
    if (!status)
        status = get_platform_text(info.platform, CL_PLATFORM_VERSION, "CL_PLATFORM_VERSION", info.platform_version,
                                   sizeof info.platform_version);
    if (!status) status = read_sizes(device, &info);
    *out = info;
    if (status) return status;
    info.device_class = class_of(&info, type);

    char *extensions;
    const char *obstacle;
    status = get_text(device, CL_DEVICE_EXTENSIONS, "CL_DEVICE_EXTENSIONS", &extensions);
    if (status) return status;
    read_extensions(device, extensions, &info);
    status = read_obstacle(device, &info, extensions, &obstacle);
    free(extensions);
    if (status) return status;
    set_score(&info, obstacle);
    *out = info;
    return ROSACE_OK;
}

/* A device whose driver fails stays in the list, with the reason it is never chosen: one broken driver must not keep
 * people from their other devices. */
static void describe(cl_device_id device, unsigned platform_index, unsigned device_index, rosace_device_info *out) {
    *out = (rosace_device_info){.device = device, .platform_index = platform_index, .device_index = device_index};
    if (read_device(device, out) == ROSACE_OK) return;
    if (!out->name[0]) copy_trimmed(out->name, sizeof out->name, "unnamed device");
    out->device_class = ROSACE_DEVICE_OTHER;
    out->score = -1;
    snprintf(out->score_reason, sizeof out->score_reason, "never chosen: %.120s", rosace_last_error());
}

/* ---- Enumeration ----------------------------------------------------------------------------------------------- */

/* Every device there is, in the loader's order. */
typedef struct device_list {
    struct {
        cl_device_id device;
        unsigned platform_index, device_index;
    } *entry;
    size_t count;
} device_list;

static rosace_status list_platforms(cl_platform_id **out, cl_uint *count) {
    *out = NULL;
    *count = 0;
    cl_int code = clGetPlatformIDs(0, NULL, count);
    if (code == PLATFORM_NOT_FOUND || (!code && *count == 0))
        return rsc_fail(ROSACE_NO_DEVICE, "no OpenCL platform: no driver is installed, or the loader does not find it");
    if (code) return rsc_fail_cl(code, "clGetPlatformIDs");
    if (!(*out = calloc(*count, sizeof **out)))
        return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for a list of %u platforms", (unsigned)*count);
    code = clGetPlatformIDs(*count, *out, NULL);
    if (!code) return ROSACE_OK;
    free(*out);
    *out = NULL;
    return rsc_fail_cl(code, "clGetPlatformIDs");
}

/* Appends a platform's devices; one without any (a driver without hardware) adds nothing. */
static rosace_status append_devices(device_list *list, cl_platform_id platform, unsigned platform_index) {
    cl_uint count = 0;
    cl_int code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count);
    if (code == CL_DEVICE_NOT_FOUND || (!code && count == 0)) return ROSACE_OK;
    if (code) return rsc_fail_cl(code, "clGetDeviceIDs on platform %u", platform_index);
    cl_device_id *devices = calloc(count, sizeof *devices);
    void *grown = realloc(list->entry, (list->count + count) * sizeof *list->entry);
    if (grown) list->entry = grown;
    rosace_status status = ROSACE_OK;
    if (!devices || !grown) {
        status = rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for a list of %u devices", (unsigned)count);
    } else if ((code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, devices, NULL)) != CL_SUCCESS) {
        status = rsc_fail_cl(code, "clGetDeviceIDs on platform %u", platform_index);
    } else {
        for (cl_uint i = 0; i < count; i++) {
            list->entry[list->count].device = devices[i];
            list->entry[list->count].platform_index = platform_index;
            list->entry[list->count++].device_index = i;
        }
    }
    free(devices);
    return status;
}

/* list->entry is the caller's to free, on failure too. */
static rosace_status list_devices(device_list *list) {
    *list = (device_list){0};
    cl_platform_id *platforms;
    cl_uint n_platforms;
    rosace_status status = list_platforms(&platforms, &n_platforms);
    rosace_status broken = ROSACE_OK; /* a platform that fails matters only when there is no other */
    for (cl_uint i = 0; !status && i < n_platforms; i++) {
        rosace_status one = append_devices(list, platforms[i], i);
        if (one) broken = one;
    }
    free(platforms);
    if (!status && list->count == 0)
        status = broken ? broken
                        : rsc_fail(ROSACE_NO_DEVICE, "no OpenCL device: %u platform%s, none with a device",
                                   (unsigned)n_platforms, n_platforms == 1 ? "" : "s");
    return status;
}

rosace_status rosace_devices(rosace_device_info *devices, size_t capacity, size_t *count) {
    if (!count) return rsc_fail(ROSACE_INVALID_ARGUMENT, "count = NULL: must point to where the number of devices goes");
    *count = 0;
    device_list list;
    rosace_status status = list_devices(&list);
    for (size_t i = 0; !status && devices && i < capacity && i < list.count; i++)
        describe(list.entry[i].device, list.entry[i].platform_index, list.entry[i].device_index, &devices[i]);
    if (!status) *count = list.count;
    free(list.entry);
    return status;
}

rosace_status rsc_device_describe(cl_device_id device, rosace_device_info *out) {
    device_list list;
    unsigned platform_index = UINT_MAX, device_index = UINT_MAX;
    rosace_status status = list_devices(&list);
    for (size_t i = 0; !status && i < list.count; i++) {
        if (list.entry[i].device != device) continue;
        platform_index = list.entry[i].platform_index;
        device_index = list.entry[i].device_index;
    }
    free(list.entry);
    if (!status) describe(device, platform_index, device_index, out);
    return status;
}

/* ---- Selection ------------------------------------------------------------------------------------------------- */

typedef struct preference {
    const char *text;
    size_t length;
} preference;

static bool is_word(preference p, const char *word) {
    return p.length == strlen(word) && begins_with(word, p.text, p.length);
}

/* "P:D" with decimal numbers; false when it is something else. Numbers beyond any device stay beyond any device. */
static bool read_indices(preference p, unsigned long *platform_index, unsigned long *device_index) {
    unsigned long value[2] = {0, 0};
    size_t digits[2] = {0, 0};
    int which = 0;
    for (size_t i = 0; i < p.length; i++) {
        const char c = p.text[i];
        if (c == ':' && which == 0) {
            which = 1;
        } else if (c >= '0' && c <= '9') {
            value[which] = value[which] > 99999999 ? value[which] : value[which] * 10 + (unsigned long)(c - '0');
            digits[which]++;
        } else {
            return false;
        }
    }
    *platform_index = value[0];
    *device_index = value[1];
    return which == 1 && digits[0] > 0 && digits[1] > 0;
}

static bool answers(const rosace_device_info *info, preference p) {
    const rosace_device_class class = info->device_class;
    unsigned long platform_index, device_index;
    if (info->score < 0) return false;
    if (is_word(p, "auto")) return true;
    if (is_word(p, "cpu")) return class == ROSACE_DEVICE_CPU;
    if (is_word(p, "gpu")) return class == ROSACE_DEVICE_INTEGRATED || class == ROSACE_DEVICE_DISCRETE;
    if (is_word(p, "igpu")) return class == ROSACE_DEVICE_INTEGRATED;
    if (is_word(p, "dgpu")) return class == ROSACE_DEVICE_DISCRETE;
    if (read_indices(p, &platform_index, &device_index))
        return info->platform_index == platform_index && info->device_index == device_index;
    return contains(info->name, p.text, p.length) || contains(info->vendor, p.text, p.length) ||
           contains(info->platform_name, p.text, p.length);
}

/* The preference at *cursor, without the spaces around it; moves *cursor behind it. False at the end. */
static bool next_preference(const char **cursor, preference *out) {
    const char *begin = *cursor;
    if (!begin) return false;
    const char *end = begin + strcspn(begin, ",");
    *cursor = *end ? end + 1 : NULL;
    while (begin < end && isspace((unsigned char)*begin)) begin++;
    while (begin < end && isspace((unsigned char)end[-1])) end--;
    *out = (preference){begin, (size_t)(end - begin)};
    return true;
}

static const rosace_device_info *best_answer(const rosace_device_info *devices, size_t count, const char *selector) {
    preference p;
    while (next_preference(&selector, &p)) {
        const rosace_device_info *best = NULL;
        for (size_t i = 0; i < count; i++)
            if (answers(&devices[i], p) && (!best || devices[i].score > best->score)) best = &devices[i];
        if (best) return best;
    }
    return NULL;
}

static rosace_status fail_no_answer(const rosace_device_info *devices, size_t count, const char *selector,
                                    const char *source) {
    char list[2048] = "";
    size_t length = 0;
    for (size_t i = 0; i < count && length < sizeof list; i++) {
        int more = snprintf(list + length, sizeof list - length, "%s %u:%u \"%s\" (%s%s%s)", i ? "," : "",
                            devices[i].platform_index, devices[i].device_index, devices[i].name, devices[i].platform_name,
                            devices[i].score < 0 ? "; " : "", devices[i].score < 0 ? devices[i].score_reason : "");
        length += more > 0 ? (size_t)more : 0;
    }
    return rsc_fail(ROSACE_NO_DEVICE, "no device answers %s \"%s\"; there %s%s", source, selector,
                    count == 1 ? "is" : "are", list);
}

static rosace_status check_selector(const char *selector, const char *source) {
    preference p;
    for (const char *cursor = selector; next_preference(&cursor, &p);)
        if (p.length == 0)
            return rsc_fail(ROSACE_INVALID_ARGUMENT,
                            "%s \"%s\": has an empty preference; write auto, cpu, gpu, igpu, dgpu, P:D or a part of a name, "
                            "with commas between several",
                            source, selector);
    return ROSACE_OK;
}

rosace_status rosace_select_device(const char *selector, rosace_device_info *out) {
    if (!out) return rsc_fail(ROSACE_INVALID_ARGUMENT, "out = NULL: must point to where the device goes");
    const char *source = "the selector";
    if (!selector || strcmp(selector, "auto") == 0) {
        const char *environment = getenv("ROSACE_DEVICE");
        selector = "auto";
        if (environment && *environment) {
            selector = environment;
            source = "ROSACE_DEVICE";
        }
    }
    rosace_status status = check_selector(selector, source);
    if (status) return status;

    size_t count = 0, found = 0;
    rosace_device_info *devices = NULL;
    status = rosace_devices(NULL, 0, &count);
    if (status) return status;
    if (!(devices = calloc(count, sizeof *devices)))
        return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for a list of %zu devices", count);
    status = rosace_devices(devices, count, &found);
    if (!status) {
        const size_t n = found < count ? found : count;
        const rosace_device_info *best = best_answer(devices, n, selector);
        if (best)
            *out = *best;
        else
            status = fail_no_answer(devices, n, selector, source);
    }
    free(devices);
    return status;
}
