/* SPDX-License-Identifier: MIT */
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cli.h"

struct safetensors {
    char *path;
    unsigned char *map;
    size_t map_bytes;
    const unsigned char *data;
    size_t data_bytes;
    json_t *header; /* owns the names */
    safetensor *tensors;
    size_t count;
};

/* Larger headers do not exist: the format's own readers stop here too. */
static const uint64_t max_header_bytes = 100000000;

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8},     {"U64", 8},     {"I32", 4},  {"U32", 4},
    {"I16", 2}, {"U16", 2}, {"I8", 1},  {"U8", 1},   {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"BOOL", 1},
};

static size_t dtype_bytes(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (!strcmp(dtypes[i].name, name)) return dtypes[i].bytes;
    return 0;
}

static bool map_file(safetensors *file) {
    struct stat info;
    bool ok = false;
    const int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cli_fail("%s: %s", file->path, strerror(errno));
    if (fstat(fd, &info)) {
        cli_fail("%s: %s", file->path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        cli_fail("%s: not a file", file->path);
    } else if (info.st_size < 8) {
        cli_fail("%s: %lld bytes are too few for a safetensors file", file->path, (long long)info.st_size);
    } else if ((uint64_t)info.st_size > SIZE_MAX) {
        cli_fail("%s: %lld bytes are more than this machine can address", file->path, (long long)info.st_size);
    } else {
        void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            cli_fail("%s: %s", file->path, strerror(errno));
        } else {
            file->map = map;
            file->map_bytes = (size_t)info.st_size;
            ok = true;
        }
    }
    close(fd);
    return ok;
}

/* A JSON integer that fits size_t. */
static bool get_size(const json_t *value, size_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    if ((uint64_t)json_integer_value(value) > SIZE_MAX) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

static bool parse_tensor(const safetensors *file, const char *name, json_t *entry, safetensor *out) {
    const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    out->name = name;
    out->dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!out->dtype || !json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2)
        return cli_fail("%s: header entry '%s' needs dtype, shape and data_offsets", file->path, name);
    const size_t element = dtype_bytes(out->dtype);
    if (!element) return cli_fail("%s: tensor '%s' has the unknown dtype '%s'", file->path, name, out->dtype);
    out->rank = json_array_size(shape);
    if (out->rank > SAFETENSORS_MAX_RANK)
        return cli_fail("%s: tensor '%s' has %zu axes; at most %d are read", file->path, name, out->rank,
                        SAFETENSORS_MAX_RANK);
    out->count = 1;
    for (size_t i = 0; i < out->rank; i++) {
        if (!get_size(json_array_get(shape, i), &out->shape[i]))
            return cli_fail("%s: tensor '%s' has a shape that is not made of sizes", file->path, name);
        if (out->shape[i] && out->count > SIZE_MAX / element / out->shape[i])
            return cli_fail("%s: tensor '%s' has a shape of more elements than can be", file->path, name);
        out->count *= out->shape[i];
    }
    if (!get_size(json_array_get(offsets, 0), &out->begin) || !get_size(json_array_get(offsets, 1), &out->end) ||
        out->begin > out->end)
        return cli_fail("%s: tensor '%s' has data_offsets that are no range", file->path, name);
    if (out->end > file->data_bytes)
        return cli_fail("%s: tensor '%s' ends at byte %zu of %zu of data; the file is truncated or its header lies",
                        file->path, name, out->end, file->data_bytes);
    if (out->end - out->begin != out->count * element)
        return cli_fail("%s: tensor '%s' has %zu bytes where dtype and shape need %zu", file->path, name,
                        out->end - out->begin, out->count * element);
    return true;
}

static int compare_begin(const void *a, const void *b) {
    const safetensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static bool parse_header(safetensors *file) {
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | file->map[i];
    if (length > file->map_bytes - 8 || length > max_header_bytes)
        return cli_fail("%s: header of %llu bytes in a file of %zu bytes; truncated, or not a safetensors file",
                        file->path, (unsigned long long)length, file->map_bytes);
    file->data = file->map + 8 + length;
    file->data_bytes = file->map_bytes - 8 - (size_t)length;

    json_error_t error;
    file->header = json_loadb((const char *)file->map + 8, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!file->header) return cli_fail("%s: header is not JSON: %s", file->path, error.text);
    if (!json_is_object(file->header)) return cli_fail("%s: header is not a JSON object", file->path);
    if (!(file->tensors = cli_calloc(json_object_size(file->header), sizeof *file->tensors))) return false;

    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry) {
        if (!strcmp(name, "__metadata__")) continue;
        if (!parse_tensor(file, name, entry, &file->tensors[file->count])) return false;
        file->count++;
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_begin);
    size_t end = 0;
    for (size_t i = 0; i < file->count; i++) {
        const safetensor *tensor = &file->tensors[i];
        if (tensor->begin != end)
            return cli_fail("%s: tensor '%s' begins at byte %zu where the one before ends at %zu; tensors may not %s",
                            file->path, tensor->name, tensor->begin, end,
                            tensor->begin < end ? "overlap" : "leave holes");
        end = tensor->end;
    }
    if (end != file->data_bytes)
        return cli_fail("%s: %zu bytes of data, but tensors for %zu", file->path, file->data_bytes, end);
    return true;
}

bool safetensors_open(const char *path, safetensors **out) {
    *out = NULL;
    safetensors *file = cli_calloc(1, sizeof *file);
    if (!file) return false;
    file->path = cli_calloc(strlen(path) + 1, 1);
    if (!file->path) goto fail;
    strcpy(file->path, path);
    if (!map_file(file) || !parse_header(file)) goto fail;
    *out = file;
    return true;

fail:
    safetensors_close(&file);
    return false;
}

void safetensors_close(safetensors **file) {
    safetensors *self = *file;
    *file = NULL;
    if (!self) return;
    if (self->map) munmap(self->map, self->map_bytes);
    if (self->header) json_decref(self->header);
    free(self->tensors);
    free(self->path);
    free(self);
}

const safetensor *safetensors_find(const safetensors *file, const char *name) {
    for (size_t i = 0; i < file->count; i++)
        if (!strcmp(file->tensors[i].name, name)) return &file->tensors[i];
    return NULL;
}

size_t safetensors_count(const safetensors *file) {
    return file->count;
}

const safetensor *safetensors_at(const safetensors *file, size_t index) {
    return &file->tensors[index];
}

/* ---- Conversion. The data need not be aligned, so elements are copied out. --------------------------------------- */

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, mantissa = half & 1023;
    if (exponent == 31) return from_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent) return from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
    const float small = ldexpf((float)mantissa, -24);
    return sign ? -small : small;
}

bool safetensors_read(const safetensors *file, const safetensor *tensor, float *out) {
    const unsigned char *from = file->data + tensor->begin;
    if (!strcmp(tensor->dtype, "F32")) {
        memcpy(out, from, tensor->count * sizeof *out);
        return true;
    }
    const bool half = !strcmp(tensor->dtype, "F16");
    if (!half && strcmp(tensor->dtype, "BF16"))
        return cli_fail("%s: tensor '%s' is %s; weights must be F32, F16 or BF16", file->path, tensor->name,
                        tensor->dtype);
    for (size_t i = 0; i < tensor->count; i++) {
        const uint16_t bits = (uint16_t)(from[2 * i] | from[2 * i + 1] << 8);
        out[i] = half ? from_half(bits) : from_bits((uint32_t)bits << 16);
    }
    return true;
}
