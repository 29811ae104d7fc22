/* SPDX-License-Identifier: MIT
 * The cache of programs on disk: found again, damaged, foreign, full, raced for. */
#include "program_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/file.h"
#include "src/program_disk.h"

enum { HEADER = 56 };
static const char *program_path;

START_TEST(the_second_context_builds_nothing)
{
    folders_make();
    use_cache(cache, 1);
    ck_assert(logged("built") && logged("saved"));
    use_cache(cache, 1);
    ck_assert(logged("loaded from disk") && !logged("built") && !logged("saved"));
    ck_assert_int_eq(count_files(".rosace", NULL), 1);
    ck_assert_int_eq(count_files(".tmp", NULL), 0);
    struct stat info;
    ck_assert_int_eq(stat(cache, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0700);
    remove_tree(root);
}
END_TEST

START_TEST(another_option_or_source_is_another_entry)
{
    folders_make();
    use_cache(cache, 1);
    use_cache(cache, 2);
    ck_assert(logged("built"));
    write_kernel("lib/times.clh", "/* other words */\nint times(int x) { return 2 * x; }\n");
    use_cache(cache, 1);
    ck_assert(logged("built"));
    ck_assert_int_eq(count_files(".rosace", NULL), 3);
    use_cache(cache, 2);
    ck_assert(logged("built"));
    use_cache(cache, 2);
    ck_assert(logged("loaded from disk"));
    remove_tree(root);
}
END_TEST

START_TEST(the_cache_can_be_off)
{
    folders_make();
    use_cache("", 1);
    use_cache("", 1);
    ck_assert(logged("built") && !logged("cache"));
    char *before = getenv("ROSACE_CACHE_DIR");
    if (before) before = strcpy(harness_alloc(strlen(before) + 1, 1), before);
    setenv("ROSACE_CACHE_DIR", "", 1);
    use_cache(NULL, 1);
    ck_assert(logged("built") && !logged("cache"));
    setenv("ROSACE_CACHE_DIR", cache, 1);
    use_cache(NULL, 1);
    use_cache(NULL, 1);
    ck_assert(logged("loaded from disk"));
    ck_assert_int_eq(count_files(".rosace", NULL), 1);
    if (before)
        setenv("ROSACE_CACHE_DIR", before, 1);
    else
        unsetenv("ROSACE_CACHE_DIR");
    remove_tree(root);
}
END_TEST

/* Puts `data` in the entry's place: the program must be built again, with a word in the log, and the entry be whole again
 * after it. */
static void expect_replaced(const char *path, const void *data, size_t bytes, const void *good, size_t good_bytes) {
    write_bytes(path, data, bytes);
    use_cache(cache, 1);
    ck_assert_msg(logged("built again") && logged("saved"), "%s", log_text);
    size_t now;
    const unsigned char *entry = read_bytes(path, &now);
    ck_assert_uint_gt(now, HEADER);
    ck_assert_int_eq(memcmp(entry, good, 32), 0); /* magic, version, key; the binary may differ from build to build */
    use_cache(cache, 1);
    ck_assert(logged("loaded from disk"));
    (void)good_bytes;
}

START_TEST(damaged_entries_are_built_again)
{
    folders_make();
    use_cache(cache, 1);
    char path[2 * PATH];
    ck_assert_int_eq(count_files(".rosace", path), 1);
    size_t bytes;
    unsigned char *good = read_bytes(path, &bytes);

    const size_t lengths[] = {0, 1, 7, 8, HEADER - 1, HEADER, HEADER + 1, bytes / 2, bytes - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        harness_case("cut to %zu of %zu bytes", lengths[i], bytes);
        expect_replaced(path, good, lengths[i], good, bytes);
    }
    const size_t places[] = {0, 6, 8, 12, 16, 31, 32, 39, 40, 55, HEADER, HEADER + (bytes - HEADER) / 2, bytes - 1};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        harness_case("bit of byte %zu of %zu flipped", places[i], bytes);
        unsigned char *bad = memcpy(harness_alloc(bytes, 1), good, bytes);
        bad[places[i]] ^= (unsigned char)(1u << (i % 8));
        expect_replaced(path, bad, bytes, good, bytes);
    }
    harness_case("a byte too many");
    unsigned char *longer = memcpy(harness_alloc(bytes + 1, 1), good, bytes);
    expect_replaced(path, longer, bytes + 1, good, bytes);
    harness_case("something else");
    expect_replaced(path, twice_text, strlen(twice_text), good, bytes);
    remove_tree(root);
}
END_TEST

START_TEST(entries_of_others_are_not_trusted)
{
    folders_make();
    use_cache(cache, 1);
    char path[2 * PATH], moved[2 * PATH + 8];
    ck_assert_int_eq(count_files(".rosace", path), 1);
    snprintf(moved, sizeof moved, "%s.moved", path);

    harness_case("all may write it");
    ck_assert_int_eq(chmod(path, 0666), 0);
    use_cache(cache, 1);
    ck_assert(logged("everybody may write it") && logged("saved"));

    harness_case("a link");
    ck_assert_int_eq(rename(path, moved), 0);
    ck_assert_int_eq(symlink(moved, path), 0);
    use_cache(cache, 1);
    ck_assert(logged("built again") && logged("saved"));
    struct stat info;
    ck_assert_int_eq(lstat(path, &info), 0);
    ck_assert(S_ISREG(info.st_mode));

    harness_case("a pipe");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    use_cache(cache, 1);
    ck_assert(logged("not a plain file") && logged("saved"));

    harness_case("a folder");
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    use_cache(cache, 1);
    ck_assert(logged("built") && logged("is not written"));
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(count_files(".tmp", NULL), 0);

    if (geteuid() == 0) {
        harness_case("another owner");
        use_cache(cache, 1);
        ck_assert_int_eq(chown(path, 65534, 65534), 0);
        use_cache(cache, 1);
        ck_assert(logged("belongs to another user") && logged("saved"));
        ck_assert_int_eq(chown(cache, 65534, 65534), 0);
        use_cache(cache, 1);
        ck_assert(logged("no program cache on disk") && logged("built") && !logged("saved"));
    }
    remove_tree(root);
}
END_TEST

START_TEST(folders_that_do_not_serve_only_cost_speed)
{
    folders_make();
    char folder[2 * PATH];
    harness_case("a file");
    snprintf(folder, sizeof folder, "%s/twice.cl", kernels);
    use_cache(folder, 1);
    ck_assert(logged("no program cache on disk") && logged("built"));

    harness_case("below a file");
    snprintf(folder, sizeof folder, "%s/twice.cl/below/it", kernels);
    use_cache(folder, 1);
    ck_assert(logged("no program cache on disk") && logged("built"));

    harness_case("too long a path");
    memset(folder, 'x', sizeof folder - 1);
    folder[0] = '/';
    folder[sizeof folder - 1] = '\0';
    use_cache(folder, 1);
    ck_assert(logged("no program cache on disk") && logged("built"));

    harness_case("all may write it");
    snprintf(folder, sizeof folder, "%s/open", root);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    ck_assert_int_eq(chmod(folder, 0777), 0);
    use_cache(folder, 1);
    ck_assert(logged("no program cache on disk") && logged("everybody may write it") && logged("built"));

    if (geteuid() != 0) { /* root may write anywhere */
        harness_case("read-only");
        ck_assert_int_eq(chmod(folder, 0500), 0);
        use_cache(folder, 1);
        ck_assert(logged("is not written") && logged("built"));
    }

    harness_case("gone after it was opened");
    rosace_context *context = open_context(cache);
    ck_assert_int_eq(rmdir(cache), 0);
    cl_kernel kernel;
    harness_ok(create(context, "twice.cl", "twice", 1, &kernel));
    ck_assert(logged("built") && logged("is not written"));
    clReleaseKernel(kernel);
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

START_TEST(a_full_disk_leaves_nothing_behind)
{
    folders_make();
    rosace_context *context = open_context(cache);
    const rsc_key key = {{1, 2, 3}};
    unsigned char binary[5000];
    memset(binary, 7, sizeof binary);
    struct rlimit before, little;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = before;
    little.rlim_cur = 2048; /* a write beyond this fails, as on a full disk */
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    rsc_disk_save(context, &key, binary, sizeof binary);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    ck_assert(logged("is not written"));
    ck_assert_int_eq(count_files("", NULL), 2);

    size_t bytes = 0;
    rsc_disk_save(context, &key, binary, sizeof binary);
    unsigned char *back = rsc_disk_load(context, &key, &bytes);
    ck_assert_uint_eq(bytes, sizeof binary);
    ck_assert_int_eq(memcmp(back, binary, bytes), 0);
    rsc_free(context, back);
    const rsc_key other = {{1, 2, 4}};
    ck_assert_ptr_null(rsc_disk_load(context, &other, &bytes));
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

static rsc_key key_of_path(const char *path) {
    rsc_key key;
    const char *hex = strrchr(path, '/') + 1;
    for (size_t i = 0; i < sizeof key.bytes; i++) {
        unsigned byte;
        ck_assert_int_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        key.bytes[i] = (unsigned char)byte;
    }
    return key;
}

START_TEST(a_binary_without_the_kernel_is_built_again)
{
    if (on_simulator()) harness_skip("the simulator reports a missing kernel as a misuse");
    folders_make();
    char path[2 * PATH];
    use_cache(cache, 1);
    ck_assert_int_eq(count_files(".rosace", path), 1);
    const rsc_key key = key_of_path(path);
    remove(path);

    write_kernel("other.cl", "__kernel void other(__global int *x) { x[0] = 5 + MORE; }\n");
    rosace_context *context = open_context(cache);
    cl_kernel kernel;
    harness_ok(create(context, "other.cl", "other", 1, &kernel));
    clReleaseKernel(kernel);
    ck_assert_int_eq(count_files(".rosace", path), 1);
    const rsc_key other = key_of_path(path);
    size_t bytes;
    void *binary = rsc_disk_load(context, &other, &bytes);
    ck_assert_ptr_nonnull(binary);
    rsc_disk_save(context, &key, binary, bytes); /* whole, but the wrong program */
    rsc_free(context, binary);
    rosace_context_destroy(&context);

    use_cache(cache, 1);
    ck_assert(logged("loaded from disk") && logged("it is built again") && logged("saved"));
    use_cache(cache, 1);
    ck_assert(logged("loaded from disk") && !logged("again"));
    remove_tree(root);
}
END_TEST

START_TEST(old_entries_make_room)
{
    folders_make();
    rosace_context *context = open_context(cache);
    rosace_context_destroy(&context);
    char path[2 * PATH];
    const char block[1000] = {0};
    for (int i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "%s/%d.rosace", cache, i);
        write_bytes(path, block, sizeof block);
        const struct timespec times[2] = {{1000000 + (i * 7) % 10, 0}, {1000000 + (i * 7) % 10, 0}};
        ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    for (int old = 0; old < 2; old++) {
        snprintf(path, sizeof path, "%s/%d.tmp", cache, old);
        write_bytes(path, block, sizeof block);
        const struct timespec times[2] = {{1000000, 0}, {1000000, 0}};
        if (old) ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    snprintf(path, sizeof path, "%s/foreign", cache);
    write_bytes(path, block, sizeof block);

    ck_assert_uint_eq(rsc_trim_folder(cache, ".rosace", ".tmp", 10000), 0);
    ck_assert_uint_eq(rsc_trim_folder(cache, ".rosace", ".tmp", 4500), 6);
    for (int i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "%s/%d.rosace", cache, i);
        ck_assert_int_eq(access(path, F_OK) == 0, (i * 7) % 10 >= 6); /* the four used last */
    }
    ck_assert_int_eq(count_files(".tmp", NULL), 1); /* somebody may be writing the young one */
    ck_assert_int_eq(count_files("foreign", NULL), 1);
    ck_assert_uint_eq(rsc_trim_folder("/nonexistent", ".rosace", ".tmp", 0), 0);
    remove_tree(root);
}
END_TEST

/* ---- Two processes --------------------------------------------------------------------------------------------- */

/* A process of its own that makes a few kernels, with the folders of the test that started it. */
static int child(void) {
    rosace_context *context;
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.kernel_dir = getenv("ROSACE_TEST_KERNELS");
    if (rosace_context_create(&desc, &context)) return 1;
    for (int more = 0; more < 4; more++) {
        cl_kernel kernel;
        if (create(context, "twice.cl", "twice", more, &kernel)) {
            fprintf(stderr, "child: %s\n", rosace_last_error());
            return 2;
        }
        clReleaseKernel(kernel);
    }
    rosace_context_destroy(&context);
    return 0;
}

/* PoCL's own cache has races of its own, which are not looked for here. */
static void own_driver_cache(int child) {
    char pocl[2 * PATH];
    snprintf(pocl, sizeof pocl, "%s/pocl%d", root, child);
    ck_assert_int_eq(mkdir(pocl, 0700), 0);
    setenv("POCL_CACHE_DIR", pocl, 1);
}

START_TEST(processes_may_race)
{
    enum { CHILDREN = 4 };
    folders_make();
    char name[] = "test_program_disk";
    setenv("ROSACE_TEST_KERNELS", kernels, 1);
    char *before = getenv("ROSACE_CACHE_DIR"), *pocl_before = getenv("POCL_CACHE_DIR");
    if (before) before = strcpy(harness_alloc(strlen(before) + 1, 1), before);
    if (pocl_before) pocl_before = strcpy(harness_alloc(strlen(pocl_before) + 1, 1), pocl_before);
    setenv("ROSACE_CACHE_DIR", cache, 1);
    run_at_once(program_path, name, CHILDREN, own_driver_cache);
    unsetenv("ROSACE_TEST_KERNELS");
    if (before) setenv("ROSACE_CACHE_DIR", before, 1); else unsetenv("ROSACE_CACHE_DIR");
    if (pocl_before) setenv("POCL_CACHE_DIR", pocl_before, 1); else unsetenv("POCL_CACHE_DIR");
    ck_assert_int_eq(count_files(".rosace", NULL), 4);
    ck_assert_int_eq(count_files(".tmp", NULL), 0);
    for (int more = 0; more < 4; more++) {
        use_cache(cache, more);
        ck_assert(logged("loaded from disk"));
    }
    remove_tree(root);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 0 && getenv("ROSACE_TEST_KERNELS")) return child();
    program_path = argv[0];
    const TTest *tests[] = {the_second_context_builds_nothing,
                            another_option_or_source_is_another_entry,
                            the_cache_can_be_off,
                            damaged_entries_are_built_again,
                            entries_of_others_are_not_trusted,
                            folders_that_do_not_serve_only_cost_speed,
                            a_full_disk_leaves_nothing_behind,
                            a_binary_without_the_kernel_is_built_again,
                            old_entries_make_room,
                            processes_may_race};
    return harness_run("program_disk", &harness_device, tests, sizeof tests / sizeof *tests);
}
