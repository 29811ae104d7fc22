/* SPDX-License-Identifier: MIT
 * Reads a safetensors file: 8 bytes of header length (little-endian), a JSON header, the tensors' bytes. The whole
 * header is checked on opening, so that what follows may trust it: every range lies inside the file, has the size that
 * dtype and shape ask for, and the ranges cover the data without overlap or hole, as the format demands. */
#ifndef ROSACE_CLI_SAFETENSORS_H
#define ROSACE_CLI_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SAFETENSORS_MAX_RANK = 8 };

typedef struct safetensor {
    const char *name;  /* borrowed from the file */
    const char *dtype; /* "F32", "F16", "BF16", ... */
    size_t rank, shape[SAFETENSORS_MAX_RANK];
    size_t count;      /* elements */
    size_t begin, end; /* bytes in the data part */
} safetensor;

typedef struct safetensors safetensors;

/* Maps and checks a file. Says what is wrong and returns false; *out is then NULL. */
bool safetensors_open(const char *path, safetensors **out);
void safetensors_close(safetensors **file);

/* The tensor of that name, or NULL. Valid until the file is closed. */
const safetensor *safetensors_find(const safetensors *file, const char *name);

/* All of them, in no order of meaning. */
size_t safetensors_count(const safetensors *file);
const safetensor *safetensors_at(const safetensors *file, size_t index);

/* Elements of a tensor as fp32, from F32, F16 or BF16. Fails, saying so, for another dtype. */
bool safetensors_read(const safetensors *file, const safetensor *tensor, float *out);

#endif
