/* SPDX-License-Identifier: MIT
 * Kernel sources and a cache folder of a test's own, and contexts that use them. Shared by test_program.c and
 * test_program_disk.c. */
#ifndef ROSACE_TESTS_PROGRAM_FIXTURE_H
#define ROSACE_TESTS_PROGRAM_FIXTURE_H

#include "harness.h"

#include "src/context_state.h"
#include "src/program.h"

enum { PATH = 512, LOG_BYTES = 65536 };

/* The test's folder, kernel sources and cache folder (not made yet) below it. */
extern char root[PATH], kernels[PATH], cache[PATH];
void folders_make(void); /* with twice.cl and lib/times.clh in it; undone by remove_tree(root) */
void remove_tree(const char *path);
extern const char twice_text[];
void write_kernel(const char *name, const char *text);

void write_bytes(const char *path, const void *data, size_t bytes);
void *read_bytes(const char *path, size_t *bytes);
/* How many files in the cache folder end so, and the path (2*PATH bytes, or NULL) of the last of them. */
int count_files(const char *ending, char *last);

/* What the context opened last has logged. */
extern char log_text[LOG_BYTES];
bool logged(const char *part);

rosace_context *open_context(const char *cache_dir);
rosace_status create(rosace_context *context, const char *piece, const char *kernel, int more, cl_kernel *out);
/* What the kernel makes of 20. */
int run_kernel(rosace_context *context, cl_kernel kernel);
/* A new context on the cache folder makes twice.cl's kernel, which must work. The log is left for inspection. */
void use_cache(const char *cache_dir, int more);
bool on_simulator(void);

/* Runs `program` n times at once, as `name`, and waits until each has ended well. `before` (NULL: nothing) sets up the
 * environment of each. */
void run_at_once(const char *program, char *name, int n, void (*before)(int index));

#endif
