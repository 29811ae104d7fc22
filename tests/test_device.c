/* SPDX-License-Identifier: MIT
 * The report on devices, and choosing one. Whatever devices are in sight, the rules are the same. */
#include "harness.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 32 };
static const char *program_path;

static size_t all_devices(rosace_device_info devices[MOST]) {
    size_t count = 0;
    harness_ok(rosace_devices(devices, MOST, &count));
    ck_assert_uint_ge(count, 1);
    ck_assert_uint_le(count, MOST);
    return count;
}

static const rosace_device_info *best_of(const rosace_device_info *devices, size_t count) {
    const rosace_device_info *best = devices;
    for (size_t i = 1; i < count; i++)
        if (devices[i].score > best->score) best = &devices[i];
    return best;
}

START_TEST(the_report_is_complete)
{
    rosace_device_info devices[MOST];
    const size_t count = all_devices(devices);
    for (size_t i = 0; i < count; i++) {
        const rosace_device_info *d = &devices[i];
        harness_case("%u:%u %s", d->platform_index, d->device_index, d->name);
        ck_assert_ptr_nonnull(d->platform);
        ck_assert_ptr_nonnull(d->device);
        ck_assert(d->name[0] && d->vendor[0] && d->platform_name[0] && d->driver_version[0] && d->score_reason[0]);
        ck_assert(!isspace((unsigned char)d->name[0]) && !isspace((unsigned char)d->name[strlen(d->name) - 1]));
        ck_assert_int_eq(strncmp(d->device_version, "OpenCL ", 7), 0);
        ck_assert_int_eq(strncmp(d->opencl_c_version, "OpenCL C ", 9), 0);
        ck_assert_uint_ge(d->compute_units, 1);
        ck_assert_uint_ge(d->max_work_group_size, 1);
        ck_assert_uint_ge(d->global_memory_bytes, d->max_alloc_bytes);
        ck_assert(d->address_bits == 32 || d->address_bits == 64);
        ck_assert_int_eq(d->has_subgroups || d->has_intel_subgroups, d->n_sub_group_sizes > 0);
        for (unsigned k = 1; k < d->n_sub_group_sizes; k++)
            ck_assert_uint_lt(d->sub_group_sizes[k - 1], d->sub_group_sizes[k]);
        ck_assert(!(d->has_nvidia_ptx && d->has_amd_gcn));
        for (size_t k = 0; k < i; k++)
            ck_assert(devices[k].platform_index != d->platform_index || devices[k].device_index != d->device_index);
    }
}
END_TEST

START_TEST(the_list_fits_the_room_it_gets)
{
    rosace_device_info devices[MOST], one;
    const size_t all = all_devices(devices);
    size_t count = 0;
    harness_ok(rosace_devices(NULL, 0, &count));
    ck_assert_uint_eq(count, all);
    harness_ok(rosace_devices(NULL, 5, &count));
    ck_assert_uint_eq(count, all);
    memset(&one, 0x5A, sizeof one);
    const rosace_device_info before = one;
    harness_ok(rosace_devices(&one, 0, &count));
    ck_assert_uint_eq(count, all);
    ck_assert_int_eq(memcmp(&one, &before, sizeof one), 0);
    harness_ok(rosace_devices(&one, 1, &count));
    ck_assert_ptr_eq(one.device, devices[0].device);
    harness_expect_status(rosace_devices(devices, MOST, NULL), ROSACE_INVALID_ARGUMENT, "count = NULL");
}
END_TEST

START_TEST(auto_takes_the_best)
{
    rosace_device_info devices[MOST], got;
    const size_t count = all_devices(devices);
    unsetenv("ROSACE_DEVICE");
    const char *const selectors[] = {NULL, "auto", " auto ", "AUTO", "no such device, auto", "99:0,auto"};
    for (size_t i = 0; i < sizeof selectors / sizeof *selectors; i++) {
        harness_case("selector %s", selectors[i] ? selectors[i] : "NULL");
        harness_ok(rosace_select_device(selectors[i], &got));
        ck_assert_ptr_eq(got.device, best_of(devices, count)->device);
        ck_assert_int_ge(got.score, 0);
    }
}
END_TEST

START_TEST(classes_answer_for_themselves)
{
    static const struct {
        const char *selector;
        bool of_class[4]; /* CPU, integrated, discrete, other */
    } classes[] = {
        {"cpu", {true, false, false, false}},
        {"igpu", {false, true, false, false}},
        {"dgpu", {false, false, true, false}},
        {"gpu", {false, true, true, false}},
    };
    rosace_device_info devices[MOST], got;
    const size_t count = all_devices(devices);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        bool any = false;
        for (size_t k = 0; k < count; k++) any = any || (devices[k].score >= 0 && classes[i].of_class[devices[k].device_class]);
        harness_case("selector %s", classes[i].selector);
        if (any) {
            harness_ok(rosace_select_device(classes[i].selector, &got));
            ck_assert(classes[i].of_class[got.device_class]);
        } else {
            harness_expect_status(rosace_select_device(classes[i].selector, &got), ROSACE_NO_DEVICE, devices[0].name);
        }
    }
}
END_TEST

START_TEST(indices_and_names_find_their_device)
{
    rosace_device_info devices[MOST], got;
    const size_t count = all_devices(devices);
    for (size_t i = 0; i < count; i++) {
        char selector[256];
        snprintf(selector, sizeof selector, "%u:%u", devices[i].platform_index, devices[i].device_index);
        harness_case("selector %s", selector);
        harness_ok(rosace_select_device(selector, &got));
        ck_assert_ptr_eq(got.device, devices[i].device);

        const char *const texts[] = {devices[i].name, devices[i].vendor, devices[i].platform_name};
        for (size_t k = 0; k < 3; k++) {
            snprintf(selector, sizeof selector, "nothing like it,  %s", texts[k]);
            if (strchr(texts[k], ',')) continue; /* a comma ends a preference */
            for (char *c = selector; *c; c++) *c = (char)toupper((unsigned char)*c);
            harness_case("selector %s", selector);
            harness_ok(rosace_select_device(selector, &got));
            ck_assert(strcmp(got.name, devices[i].name) == 0 || got.score >= devices[i].score);
        }
    }
}
END_TEST

START_TEST(the_first_preference_that_is_answered_wins)
{
    rosace_device_info devices[MOST], got;
    const size_t count = all_devices(devices);
    char selector[256];
    for (size_t i = 0; i < count; i++) {
        snprintf(selector, sizeof selector, "77:0, %u:%u ,auto", devices[i].platform_index, devices[i].device_index);
        harness_ok(rosace_select_device(selector, &got));
        ck_assert_ptr_eq(got.device, devices[i].device);
    }
}
END_TEST

START_TEST(bad_selectors_are_refused)
{
    rosace_device_info got;
    const char *const malformed[] = {"", " ", ",", "auto,", ",auto", "auto,,cpu", "cpu, ,gpu"};
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        harness_case("selector \"%s\"", malformed[i]);
        harness_expect_status(rosace_select_device(malformed[i], &got), ROSACE_INVALID_ARGUMENT, "empty preference");
    }
    const char *const unanswered[] = {"no such device", "99:0", "0:99", "99999999999999999999:0", "0:18446744073709551616",
                                      "0:", ":0", "0:0:0", "-1:0", "0x0:0", "autoo"};
    for (size_t i = 0; i < sizeof unanswered / sizeof *unanswered; i++) {
        harness_case("selector \"%s\"", unanswered[i]);
        harness_expect_status(rosace_select_device(unanswered[i], &got), ROSACE_NO_DEVICE, unanswered[i]);
    }
    harness_expect_status(rosace_select_device("auto", NULL), ROSACE_INVALID_ARGUMENT, "out = NULL");
}
END_TEST

START_TEST(the_environment_stands_in_for_auto_alone)
{
    rosace_device_info devices[MOST], got;
    const size_t count = all_devices(devices);
    const rosace_device_info *best = best_of(devices, count);
    setenv("ROSACE_DEVICE", "no such device", 1);
    harness_expect_status(rosace_select_device(NULL, &got), ROSACE_NO_DEVICE, "ROSACE_DEVICE \"no such device\"");
    harness_expect_status(rosace_select_device("auto", &got), ROSACE_NO_DEVICE, "ROSACE_DEVICE");
    char selector[64];
    snprintf(selector, sizeof selector, "%u:%u", best->platform_index, best->device_index);
    harness_ok(rosace_select_device(selector, &got));
    setenv("ROSACE_DEVICE", "auto,,", 1);
    harness_expect_status(rosace_select_device(NULL, &got), ROSACE_INVALID_ARGUMENT, "ROSACE_DEVICE \"auto,,\"");
    setenv("ROSACE_DEVICE", "", 1);
    harness_ok(rosace_select_device(NULL, &got));
    ck_assert_ptr_eq(got.device, best->device);
    unsetenv("ROSACE_DEVICE");
}
END_TEST

/* What a process sees whose loader finds no driver. */
static int without_platforms(void) {
    size_t count = 5;
    rosace_device_info info;
    rosace_context *context = (rosace_context *)(void *)&count;
    const rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    if (rosace_devices(NULL, 0, &count) != ROSACE_NO_DEVICE || count != 0) return 1;
    if (!strstr(rosace_last_error(), "no OpenCL platform")) return 2;
    if (rosace_select_device(NULL, &info) != ROSACE_NO_DEVICE) return 3;
    if (rosace_context_create(&desc, &context) != ROSACE_NO_DEVICE || context) return 4;
    return 0;
}

START_TEST(no_platform_is_an_answer)
{
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) { /* only calls that are safe between fork and exec, since drivers have threads */
        char *const arguments[] = {(char[]){"test_device"}, NULL};
        char *const environment[] = {(char[]){"ROSACE_TEST_CHILD=1"}, (char[]){"OCL_ICD_VENDORS=/nonexistent"},
                                     (char[]){"OPENCL_VENDOR_PATH=/nonexistent"}, NULL};
        execve(program_path, arguments, environment);
        _exit(100);
    }
    int state = 0;
    ck_assert_int_eq(waitpid(child, &state, 0), child);
    ck_assert(WIFEXITED(state));
    ck_assert_int_eq(WEXITSTATUS(state), 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 0 && getenv("ROSACE_TEST_CHILD")) return without_platforms();
    program_path = argv[0];
    const TTest *tests[] = {the_report_is_complete,
                            the_list_fits_the_room_it_gets,
                            auto_takes_the_best,
                            classes_answer_for_themselves,
                            indices_and_names_find_their_device,
                            the_first_preference_that_is_answered_wins,
                            bad_selectors_are_refused,
                            the_environment_stands_in_for_auto_alone,
                            no_platform_is_an_answer};
    return harness_run("device", &harness_device, tests, sizeof tests / sizeof *tests);
}
