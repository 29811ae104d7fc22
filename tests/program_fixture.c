/* SPDX-License-Identifier: MIT */
#include "program_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/options.h"

/* ---- A folder per test ----------------------------------------------------------------------------------------- */

char root[PATH], kernels[PATH], cache[PATH];

void remove_tree(const char *path) {
    DIR *directory = opendir(path);
    if (directory) {
        chmod(path, 0700);
        for (struct dirent *item; (item = readdir(directory)) != NULL;) {
            char below[2 * PATH];
            if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0) continue;
            snprintf(below, sizeof below, "%s/%s", path, item->d_name);
            remove_tree(below);
        }
        closedir(directory);
    }
    remove(path);
}

void write_bytes(const char *path, const void *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    ck_assert_uint_eq(fwrite(data, 1, bytes, file), bytes);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(path, 0600), 0);
}

void *read_bytes(const char *path, size_t *bytes) {
    struct stat info;
    ck_assert_msg(stat(path, &info) == 0, "%s: %s", path, strerror(errno));
    *bytes = (size_t)info.st_size;
    void *data = harness_alloc(*bytes + 1, 1);
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(data, 1, *bytes, file), *bytes);
    fclose(file);
    return data;
}

void write_kernel(const char *name, const char *text) {
    char path[2 * PATH];
    snprintf(path, sizeof path, "%s/%s", kernels, name);
    write_bytes(path, text, strlen(text));
}

const char twice_text[] = "/* SPDX */\n#include \"lib/times.clh\"\n#include \"lib/times.clh\"\n"
                                 "__kernel void twice(__global int *x) { x[0] = times(x[0]) + MORE; }\n";

void folders_make(void) {
    const char *base = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.400s/rosace-program-XXXXXX", base && *base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(root));
    snprintf(kernels, sizeof kernels, "%.480s/cl", root);
    snprintf(cache, sizeof cache, "%.480s/deep/cache", root);
    char lib[PATH + 8];
    snprintf(lib, sizeof lib, "%s/lib", kernels);
    ck_assert_int_eq(mkdir(kernels, 0700), 0);
    ck_assert_int_eq(mkdir(lib, 0700), 0);
    write_kernel("lib/times.clh", "#ifndef TIMES\n#define TIMES\nint times(int x) { return 2 * x; }\n#endif\n");
    write_kernel("twice.cl", twice_text);
}

/* How many files in the cache folder end so, and the path of the last of them. */
int count_files(const char *ending, char *last) {
    int count = 0;
    DIR *directory = opendir(cache);
    if (!directory) return 0;
    for (struct dirent *item; (item = readdir(directory)) != NULL;) {
        const size_t length = strlen(item->d_name), n = strlen(ending);
        if (length < n || strcmp(item->d_name + length - n, ending) != 0) continue;
        count++;
        if (last) snprintf(last, 2 * PATH, "%s/%s", cache, item->d_name);
    }
    closedir(directory);
    return count;
}

/* ---- Using the library ----------------------------------------------------------------------------------------- */

char log_text[LOG_BYTES];

static void keep_log(void *user, rosace_log_level level, const char *message) {
    (void)user;
    (void)level;
    const size_t length = strlen(log_text);
    snprintf(log_text + length, sizeof log_text - length, "%s\n", message);
}

bool logged(const char *part) { return strstr(log_text, part) != NULL; }

rosace_context *open_context(const char *cache_dir) {
    rosace_context *context;
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.kernel_dir = kernels;
    desc.cache_dir = cache_dir;
    desc.log = keep_log;
    log_text[0] = '\0';
    harness_ok(rosace_context_create(&desc, &context));
    return context;
}

rosace_status create(rosace_context *context, const char *piece, const char *kernel, int more, cl_kernel *out) {
    rsc_options options = {0};
    rsc_option_int(&options, "MORE", more);
    const char *const pieces[] = {piece, NULL};
    return rsc_kernel_create(context, pieces, kernel, &options, out);
}

/* What the kernel makes of 20. */
int run_kernel(rosace_context *context, cl_kernel kernel) {
    int value = 20;
    const size_t one = 1;
    cl_mem mem;
    cl_int code;
    harness_ok(rsc_buffer_create(context, sizeof value, CL_MEM_READ_WRITE, &value, "x", &mem));
    cl_command_queue queue = clCreateCommandQueue(context->cl, context->info.device, 0, &code);
    if (!code) code = clSetKernelArg(kernel, 0, sizeof mem, &mem);
    if (!code) code = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL);
    if (!code) code = clEnqueueReadBuffer(queue, mem, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL);
    ck_assert_int_eq(code, CL_SUCCESS);
    clReleaseCommandQueue(queue);
    clReleaseMemObject(mem);
    return value;
}

/* A new context on the cache folder makes twice.cl's kernel, which must work. The log is left for inspection. */
void use_cache(const char *cache_dir, int more) {
    rosace_context *context = open_context(cache_dir);
    cl_kernel kernel;
    harness_ok(create(context, "twice.cl", "twice", more, &kernel));
    ck_assert_int_eq(run_kernel(context, kernel), 40 + more);
    clReleaseKernel(kernel);
    rosace_context_destroy(&context);
}

bool on_simulator(void) { return harness_small(); }

/* ---- Processes --------------------------------------------------------------------------------------------------- */

void run_at_once(const char *program, char *name, int n, void (*before)(int index)) {
    char *const arguments[] = {name, NULL};
    pid_t *children = harness_alloc((size_t)n, sizeof *children);
    for (int i = 0; i < n; i++) {
        if (before) before(i);
        fflush(NULL);
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i] == 0) { /* only calls that are safe between fork and exec, since drivers have threads */
            execv(program, arguments);
            _exit(100);
        }
    }
    for (int i = 0; i < n; i++) {
        int state = 0;
        ck_assert_int_eq(waitpid(children[i], &state, 0), children[i]);
        ck_assert_msg(WIFEXITED(state) && WEXITSTATUS(state) == 0, "child %d: %d", i, state);
    }
}
