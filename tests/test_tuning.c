/* SPDX-License-Identifier: MIT
 * The store of measurements: what is read back, what is refused, and that neither damage nor races do harm. */
#include "program_fixture.h"

#include "src/tuning.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *program_path;

static void save(rosace_context *context, const char *operation, const char *class_name, const char *row)
{
    harness_ok(rsc_tuning_save(context, operation, class_name, json_pack("{s:s}", "choice", row)));
}

static void expect(rosace_context *context, const char *operation, const char *class_name, const char *wanted)
{
    char row[RSC_ROW_BYTES] = "untouched";
    const bool found = rsc_tuned(context, operation, class_name, row);
    ck_assert_msg(found == (wanted != NULL), "%s, %s: %s", operation, class_name, found ? row : "nothing");
    ck_assert_str_eq(row, wanted ? wanted : "untouched");
}

/* In a context that was made now. */
static void expect_afresh(const char *operation, const char *class_name, const char *wanted)
{
    rosace_context *context = open_context(cache);
    expect(context, operation, class_name, wanted);
    rosace_context_destroy(&context);
}

static void store_path(char *out)
{
    rosace_context *context = open_context(cache);
    ck_assert(rsc_tuning_path(context, out, 2 * PATH));
    rosace_context_destroy(&context);
}

static void save_one(void)
{
    rosace_context *context = open_context(cache);
    save(context, "attention", "causal d64 f32", "attention_cpu/v16x2t4k64");
    rosace_context_destroy(&context);
}

START_TEST(what_is_saved_is_found_again)
{
    folders_make();
    rosace_context *context = open_context(cache);
    expect(context, "attention", "causal d64 f32", NULL);
    save(context, "attention", "causal d64 f32", "one");
    save(context, "attention", "window d64 f32", "two");
    save(context, "matmul", "causal d64 f32", "three");
    save(context, "attention", "causal d64 f32", "four");
    for (int afresh = 0; afresh < 2; afresh++) {
        expect(context, "attention", "causal d64 f32", "four");
        expect(context, "attention", "window d64 f32", "two");
        expect(context, "matmul", "causal d64 f32", "three");
        expect(context, "matmul", "window d64 f32", NULL);
        expect(context, "decode", "window d64 f32", NULL);
        rosace_context_destroy(&context);
        context = open_context(cache);
    }
    json_t *entries = rsc_tuning_entries(context);
    ck_assert_uint_eq(json_object_size(json_object_get(entries, "attention")), 2);
    json_decref(entries);

    harness_case("deleted");
    char path[2 * PATH];
    ck_assert(rsc_tuning_path(context, path, sizeof path));
    ck_assert_int_eq(access(path, F_OK), 0);
    harness_ok(rsc_tuning_clear(context));
    ck_assert_int_ne(access(path, F_OK), 0);
    expect(context, "attention", "causal d64 f32", NULL);
    harness_ok(rsc_tuning_clear(context));
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

START_TEST(another_context_sees_it_after_a_reload)
{
    folders_make();
    rosace_context *writer = open_context(cache), *reader = open_context(cache);
    expect(reader, "rope", "x", NULL);
    save(writer, "rope", "x", "row");
    expect(reader, "rope", "x", NULL); /* read once */
    rsc_tuning_reload(reader);
    expect(reader, "rope", "x", "row");

    harness_case("both write");
    save(reader, "rope", "y", "row y");
    save(writer, "rope", "z", "row z");
    rsc_tuning_reload(writer);
    expect(writer, "rope", "x", "row");
    expect(writer, "rope", "y", "row y");
    expect(writer, "rope", "z", "row z");

    harness_case("a trial is its context's own");
    harness_ok(rsc_tuning_try(writer, "rope", "x", "trial"));
    expect(writer, "rope", "x", "trial");
    harness_ok(rsc_tuning_try(writer, "rope", "x", NULL));
    harness_ok(rsc_tuning_try(writer, "new", "x", NULL));
    expect(writer, "rope", "x", NULL);
    expect_afresh("rope", "x", "row");
    rosace_context_destroy(&reader);
    rosace_context_destroy(&writer);
    remove_tree(root);
}
END_TEST

START_TEST(a_refused_choice_is_said_once)
{
    folders_make();
    save_one();
    rosace_context *context = open_context(cache);
    expect(context, "attention", "causal d64 f32", "attention_cpu/v16x2t4k64");
    rsc_tuning_refuse(context, "attention", "causal d64 f32", "there is no such row");
    ck_assert(logged("tuning: attention, causal d64 f32: there is no such row"));
    expect(context, "attention", "causal d64 f32", NULL);
    log_text[0] = '\0';
    rsc_tuning_refuse(context, "attention", "causal d64 f32", "there is no such row");
    ck_assert_str_eq(log_text, "");
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

START_TEST(the_store_can_be_off)
{
    folders_make();
    save_one();
    setenv("ROSACE_TUNING", "off", 1);
    rosace_context *context = open_context(cache);
    setenv("ROSACE_TUNING", "on", 1); /* read when the context is made */
    expect(context, "attention", "causal d64 f32", NULL);
    json_t *entries = rsc_tuning_entries(context);
    ck_assert_uint_eq(json_object_size(entries), 0);
    json_decref(entries);
    rosace_context_destroy(&context);
    expect_afresh("attention", "causal d64 f32", "attention_cpu/v16x2t4k64");
    unsetenv("ROSACE_TUNING");
    expect_afresh("attention", "causal d64 f32", "attention_cpu/v16x2t4k64");

    harness_case("no cache folder");
    context = open_context("");
    expect(context, "attention", "causal d64 f32", NULL);
    harness_expect_status(rsc_tuning_save(context, "rope", "x", json_pack("{s:s}", "choice", "row")), ROSACE_IO_ERROR,
                          "cache folder");
    expect(context, "rope", "x", "row");
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

/* ---- Files that do not serve -------------------------------------------------------------------------------------- */

/* These bytes in the store's place are ignored with this line, and replaced by the next save. */
static void expect_ignored(const char *path, const void *bytes, size_t count, const char *line)
{
    write_bytes(path, bytes, count);
    rosace_context *context = open_context(cache);
    expect(context, "attention", "causal d64 f32", NULL);
    expect(context, "attention", "causal d64 f32", NULL);
    ck_assert_msg(logged(line), "no \"%s\" in the log:\n%s", line, log_text);
    char *first = strstr(log_text, "tuning:");
    ck_assert_ptr_nonnull(first);
    ck_assert_msg(!strstr(first + 1, "tuning:"), "said twice:\n%s", log_text);
    save(context, "rope", "x", "row");
    rosace_context_destroy(&context);
    expect_afresh("rope", "x", "row");
    ck_assert(!logged("tuning:"));
}

START_TEST(a_file_cut_anywhere_is_ignored)
{
    char path[2 * PATH];
    folders_make();
    store_path(path);
    save_one();
    size_t bytes;
    char *whole = read_bytes(path, &bytes);
    for (size_t length = 1; length < bytes - 2; length += length < 200 && !harness_small() ? 1 : 7) {
        harness_case("%zu of %zu bytes", length, bytes);
        expect_ignored(path, whole, length, "damaged");
    }
    harness_case("empty");
    expect_ignored(path, "", 0, "size");
    remove_tree(root);
}
END_TEST

/* The store's file with one text in it replaced by another of any length. */
static void put_edited(const char *path, const char *whole, const char *from, const char *to, char *out, size_t out_bytes)
{
    const char *at = strstr(whole, from);
    ck_assert_msg(at != NULL, "no %s in %s", from, whole);
    snprintf(out, out_bytes, "%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from));
    write_bytes(path, out, strlen(out));
}

START_TEST(files_of_others_are_ignored)
{
    char path[2 * PATH], text[8192];
    folders_make();
    store_path(path);
    save_one();
    size_t bytes;
    char *whole = read_bytes(path, &bytes);
    static const struct {
        const char *from, *to, *line;
    } cases[] = {
        {"\"schema\": 1", "\"schema\": 2", "another version"},
        {"\"schema\": 1", "\"schema\": \"1\"", "another version"},
        {"\"name\": \"", "\"name\": \"other ", "measured with name \"other"},
        {"\"vendor\": \"", "\"vendor\": \"other ", "measured with vendor"},
        {"\"platform\": \"", "\"platform\": \"other ", "measured with platform"},
        {"\"driver\": \"", "\"driver\": \"9", "measured with driver \"9"},
        {"\"driver\": \"", "\"drover\": \"9", "measured with driver \"\""},
        {"\"rosace\": \"", "\"rosace\": \"9.", "measured with rosace \"9."},
        {"\"kernels\": \"", "\"kernels\": \"0", "measured with kernels"},
        {"\"device\":", "\"dovice\":", "measured with name \"\""},
        {"\"entries\":", "\"untries\":", "no entries"},
        {"\"schema\": 1", "\"schema\": 1, \"schema\": 1", "damaged"},
        {"causal", "ca\xffsal", "damaged"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        harness_case("%s becomes %s", cases[i].from, cases[i].to);
        put_edited(path, whole, cases[i].from, cases[i].to, text, sizeof text);
        expect_ignored(path, text, strlen(text), cases[i].line);
    }
    static const char *const documents[] = {"[]", "\"text\"", "1", "null", "{}"};
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        harness_case("%s", documents[i]);
        expect_ignored(path, documents[i], strlen(documents[i]), "ignored");
    }
    harness_case("others may write it");
    write_bytes(path, whole, bytes);
    ck_assert_int_eq(chmod(path, 0602), 0);
    expect_afresh("attention", "causal d64 f32", NULL);
    ck_assert(logged("belongs to another user"));
    harness_case("a link");
    char other[2 * PATH + 8];
    snprintf(other, sizeof other, "%s.other", path);
    write_bytes(other, whole, bytes);
    ck_assert_int_eq(remove(path), 0);
    ck_assert_int_eq(symlink(other, path), 0);
    expect_afresh("attention", "causal d64 f32", NULL);
    harness_case("whole again");
    ck_assert_int_eq(remove(path), 0);
    write_bytes(path, whole, bytes);
    expect_afresh("attention", "causal d64 f32", "attention_cpu/v16x2t4k64");
    remove_tree(root);
}
END_TEST

START_TEST(entries_that_are_odd_do_not_take_others_with_them)
{
    static const char *const odd[] = {"{}",
                                      "7",
                                      "[]",
                                      "null",
                                      "{\"choice\": 7}",
                                      "{\"choice\": \"\"}",
                                      "{\"choice\": \"line\\nend\"}",
                                      "{\"choice\": \"a name that is far too long for any row of any table in this library, ever\"}"};
    char path[2 * PATH], text[8192], entry[256];
    folders_make();
    store_path(path);
    save_one();
    size_t bytes;
    char *whole = read_bytes(path, &bytes);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        harness_case("%s", odd[i]);
        snprintf(entry, sizeof entry, "\"odd\": %s, \"causal d64 f32\"", odd[i]);
        put_edited(path, whole, "\"causal d64 f32\"", entry, text, sizeof text);
        expect_afresh("attention", "odd", NULL);
        expect_afresh("attention", "causal d64 f32", "attention_cpu/v16x2t4k64");
        ck_assert(logged("1 entries without a class or choice"));
        snprintf(entry, sizeof entry, "\"odd\": %s, \"attention\"", odd[i]);
        put_edited(path, whole, "\"attention\"", entry, text, sizeof text);
        expect_afresh("odd", "choice", NULL);
        expect_afresh("attention", "causal d64 f32", "attention_cpu/v16x2t4k64");
    }
    remove_tree(root);
}
END_TEST

START_TEST(other_kernels_make_it_stale)
{
    folders_make();
    save_one();
    expect_afresh("attention", "causal d64 f32", "attention_cpu/v16x2t4k64");
    write_kernel("rope.cl", "/* another kernel */\n");
    expect_afresh("attention", "causal d64 f32", NULL);
    ck_assert(logged("measured with kernels"));
    save_one();
    expect_afresh("attention", "causal d64 f32", "attention_cpu/v16x2t4k64");
    remove_tree(root);
}
END_TEST

START_TEST(a_folder_that_cannot_be_written_costs_the_saving_alone)
{
    folders_make();
    save_one();
    char path[2 * PATH], folder[2 * PATH];
    store_path(path);
    strcpy(folder, path);
    *strrchr(folder, '/') = '\0';
    if (geteuid() != 0) { /* root may write anywhere */
        ck_assert_int_eq(chmod(folder, 0500), 0);
        rosace_context *context = open_context(cache);
        harness_expect_status(rsc_tuning_save(context, "rope", "x", json_pack("{s:s}", "choice", "row")), ROSACE_IO_ERROR,
                              "cannot be written");
        expect(context, "rope", "x", "row");
        expect(context, "attention", "causal d64 f32", "attention_cpu/v16x2t4k64");
        harness_expect_status(rsc_tuning_clear(context), ROSACE_IO_ERROR, "cannot be deleted");
        rosace_context_destroy(&context);
        ck_assert_int_eq(chmod(folder, 0700), 0);
    }
    harness_case("a file is where the folder should be");
    remove_tree(folder);
    write_bytes(folder, "x", 1);
    rosace_context *context = open_context(cache);
    expect(context, "attention", "causal d64 f32", NULL);
    harness_expect_status(rsc_tuning_save(context, "rope", "x", json_pack("{s:s}", "choice", "row")), ROSACE_IO_ERROR,
                          "cannot be written");
    expect(context, "rope", "x", "row");
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

/* ---- Threads and processes ---------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 30, CLASSES = 5 };

typedef struct worker {
    rosace_context *context;
    int number;
    bool failed;
} worker;

static void *work(void *user)
{
    worker *self = user;
    char class_name[16], row[RSC_ROW_BYTES];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(class_name, sizeof class_name, "class %d", (i + self->number) % CLASSES);
        if (self->number % 2 && rsc_tuning_save(self->context, "rope", class_name, json_pack("{s:s}", "choice", class_name)))
            self->failed = true;
        if (i % 10 == 0) rsc_tuning_reload(self->context);
        if (rsc_tuned(self->context, "rope", class_name, row) && strcmp(row, class_name) != 0) self->failed = true;
    }
    return NULL;
}

/* Of two that save at the same time one may be lost, but what is there is right. Returns how many are. */
static int count_right(void)
{
    rosace_context *context = open_context(cache);
    char class_name[16], row[RSC_ROW_BYTES];
    int found = 0;
    for (int i = 0; i < CLASSES; i++) {
        snprintf(class_name, sizeof class_name, "class %d", i);
        if (!rsc_tuned(context, "rope", class_name, row)) continue;
        ck_assert_str_eq(row, class_name);
        found++;
    }
    ck_assert(!logged("tuning:"));
    rosace_context_destroy(&context);
    return found;
}

START_TEST(threads_share_contexts_and_the_file)
{
    folders_make();
    rosace_context *contexts[2] = {open_context(cache), open_context(cache)};
    pthread_t threads[THREADS];
    worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){contexts[i / 2], i, false};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_msg(!workers[i].failed, "thread %d", i);
    }
    ck_assert_int_gt(count_right(), 0);
    rosace_context_destroy(&contexts[0]);
    rosace_context_destroy(&contexts[1]);
    remove_tree(root);
}
END_TEST

static int child(void)
{
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.cache_dir = getenv("ROSACE_TEST_TUNING");
    desc.kernel_dir = getenv("ROSACE_TEST_KERNELS");
    worker self = {.number = 1};
    if (rosace_context_create(&desc, &self.context)) return 1;
    work(&self);
    rosace_context_destroy(&self.context);
    return self.failed ? 2 : 0;
}

START_TEST(processes_may_race)
{
    enum { CHILDREN = 3 };
    folders_make();
    char name[] = "test_tuning";
    setenv("ROSACE_TEST_TUNING", cache, 1);
    setenv("ROSACE_TEST_KERNELS", kernels, 1);
    run_at_once(program_path, name, CHILDREN, NULL);
    unsetenv("ROSACE_TEST_TUNING");
    unsetenv("ROSACE_TEST_KERNELS");
    ck_assert_int_gt(count_right(), 0);
    char path[2 * PATH];
    store_path(path);
    *strrchr(path, '/') = '\0';
    strcpy(cache, path);
    ck_assert_int_eq(count_files(".tmp", NULL), 0);
    remove_tree(root);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 0 && getenv("ROSACE_TEST_TUNING")) return child();
    program_path = argv[0];
    const TTest *tests[] = {what_is_saved_is_found_again,
                            another_context_sees_it_after_a_reload,
                            a_refused_choice_is_said_once,
                            the_store_can_be_off,
                            a_file_cut_anywhere_is_ignored,
                            files_of_others_are_ignored,
                            entries_that_are_odd_do_not_take_others_with_them,
                            other_kernels_make_it_stale,
                            a_folder_that_cannot_be_written_costs_the_saving_alone,
                            threads_share_contexts_and_the_file,
                            processes_may_race};
    return harness_run("tuning", &harness_device, tests, sizeof tests / sizeof *tests);
}
