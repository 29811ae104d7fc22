/* SPDX-License-Identifier: MIT
 * Program text: the pieces of a program with their includes expanded. */
#ifndef ROSACE_SRC_SOURCE_H
#define ROSACE_SRC_SOURCE_H

#include "context.h"

typedef struct rsc_text {
    char *text; /* from the context's memory, NUL-terminated */
    size_t bytes, capacity;
} rsc_text;

/* Writes the pieces one after the other, each #include "path" replaced by that file the first time and by an empty line
 * after that; paths are below cl/. #line directives keep compiler messages pointing at the file as it is in cl/. Since a
 * file is taken once, whatever the conditionals around its #include say, includes stand outside of conditionals (their
 * own include guard aside). out->text is the caller's to free with rsc_free, on failure too. */
rosace_status rsc_expand(rosace_context *context, const char *const *pieces, rsc_text *out);

#endif
