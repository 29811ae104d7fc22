/* SPDX-License-Identifier: MIT
 * From kernel sources to kernels: includes, options, and the cache in memory. The sources are written by the tests into a
 * folder of their own; what the library did is read from its log. */
#include "program_fixture.h"

#include <stdio.h>
#include <string.h>

#include "src/options.h"
#include "src/source.h"

/* ---- Sources and options --------------------------------------------------------------------------------------- */

START_TEST(includes_are_taken_once_and_lines_keep_their_numbers)
{
    folders_make();
    rosace_context *context = open_context("");
    rsc_text text;
    harness_ok(rsc_expand(context, (const char *const[]){"lib/times.clh", "twice.cl", "lib/times.clh", NULL}, &text));
    ck_assert_str_eq(text.text, "#line 1 \"cl/lib/times.clh\"\n#ifndef TIMES\n#define TIMES\n"
                                "int times(int x) { return 2 * x; }\n#endif\n"
                                "#line 1 \"cl/twice.cl\"\n/* SPDX */\n#line 2 \"cl/twice.cl\"\n\n#line 3 \"cl/twice.cl\"\n\n"
                                "__kernel void twice(__global int *x) { x[0] = times(x[0]) + MORE; }\n");
    ck_assert_uint_eq(text.bytes, strlen(text.text));
    rsc_free(context, text.text);
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

START_TEST(what_cannot_be_included_is_refused_by_place)
{
    static const struct {
        const char *text;
        rosace_status status;
        const char *message;
    } cases[] = {
        {"\n\n#include <stdio.h>\n", ROSACE_BUILD_FAILED, "cl/bad.cl:3: #include must name a file below cl/"},
        {"#include \"lib/times.clh\n", ROSACE_BUILD_FAILED, "cl/bad.cl:1:"},
        {"#include", ROSACE_BUILD_FAILED, "cl/bad.cl:1:"},
        {"#include \"\"\n", ROSACE_BUILD_FAILED, "cl/bad.cl:1:"},
        {"#include \"0123456789012345678901234567890123456789012345678901234567890123456789\"\n", ROSACE_BUILD_FAILED,
         "cl/bad.cl:1:"},
        {"#include \"lib/none.clh\"\n", ROSACE_IO_ERROR, "lib/none.clh"},
    };
    folders_make();
    rosace_context *context = open_context("");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        harness_case("%s", cases[i].text);
        write_kernel("bad.cl", cases[i].text);
        cl_kernel kernel = (cl_kernel)(void *)&kernel;
        harness_expect_status(create(context, "bad.cl", "twice", 1, &kernel), cases[i].status, cases[i].message);
        ck_assert_ptr_null(kernel);
    }
    /* of itself, and in a ring: once each */
    write_kernel("bad.cl", "#include \"lib/ring.clh\"\n#include \"bad.cl\"\n__kernel void twice(__global int *x) { x[0] = 1; }\n");
    write_kernel("lib/ring.clh", "#include \"bad.cl\"\n");
    cl_kernel kernel;
    harness_ok(create(context, "bad.cl", "twice", 1, &kernel));
    clReleaseKernel(kernel);
    rosace_context_destroy(&context);

    harness_ok(rosace_context_create(&(rosace_context_desc)ROSACE_CONTEXT_DESC_DEFAULT, &context));
    harness_expect_status(create(context, "no/such.cl", "twice", 1, &kernel), ROSACE_BUILD_FAILED, "cl/no/such.cl");
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

START_TEST(a_failed_build_ends_with_the_compilers_words)
{
    if (on_simulator()) harness_skip("the simulator reports a failed build as a misuse");
    folders_make();
    rosace_context *context = open_context(cache);
    cl_kernel kernel;
    write_kernel("lib/times.clh", "int times(int x)\n{\n    return undeclared_thing * x;\n}\n");
    harness_expect_status(create(context, "twice.cl", "twice", 1, &kernel), ROSACE_BUILD_FAILED, "undeclared_thing");
    ck_assert_ptr_nonnull(strstr(rosace_last_error(), "cl/lib/times.clh:3"));
    ck_assert_ptr_nonnull(strstr(rosace_last_error(), "-DMORE=1"));
    ck_assert(logged("once more"));
    ck_assert_int_eq(count_files("", NULL), 2); /* . and .. */
    write_kernel("lib/times.clh", "int times(int x) { return 2 * x; }\n");
    harness_expect_status(create(context, "twice.cl", "thrice", 1, &kernel), ROSACE_BUILD_FAILED, "thrice");
    harness_ok(create(context, "twice.cl", "twice", 1, &kernel));
    ck_assert_int_eq(run_kernel(context, kernel), 41);
    clReleaseKernel(kernel);
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

START_TEST(options_are_sorted_and_set_once)
{
    char text[RSC_OPTIONS_BYTES];
    rsc_options options = {0};
    harness_ok(rsc_options_print(&options, text, sizeof text));
    ck_assert_str_eq(text, "-cl-std=CL1.2");
    rsc_option_int(&options, "TILE_K", 64);
    rsc_option_int(&options, "HEAD_DIM", -64);
    rsc_option_text(&options, "MASK", "causal");
    rsc_option_int(&options, "TILE_K", 64);
    options.relaxed_math = true;
    harness_ok(rsc_options_print(&options, text, sizeof text));
    ck_assert_str_eq(text, "-cl-std=CL1.2 -cl-fast-relaxed-math -DHEAD_DIM=-64 -DMASK=causal -DTILE_K=64");
    harness_expect_status(rsc_options_print(&options, text, 40), ROSACE_BUILD_FAILED, "longer than 39");

    rsc_options twice = options;
    rsc_option_int(&twice, "TILE_K", 32);
    harness_expect_status(rsc_options_print(&twice, text, sizeof text), ROSACE_BUILD_FAILED, "two values");
    const char *const bad[] = {"a b", "\"a\"", "a;b", "$HOME", "a'b", "a\\b", "\xC3\xA4",
                               "0123456789012345678901234567890123456789"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        harness_case("value %s", bad[i]);
        rsc_options broken = options;
        rsc_option_text(&broken, "NAME", bad[i]);
        harness_expect_status(rsc_options_print(&broken, text, sizeof text), ROSACE_BUILD_FAILED, "defines");
        broken = options;
        rsc_option_text(&broken, bad[i], "1");
        harness_expect_status(rsc_options_print(&broken, text, sizeof text), ROSACE_BUILD_FAILED, "defines");
    }
    rsc_options many = {0};
    for (int i = 0; i < RSC_MAX_DEFINES; i++) {
        char name[16];
        snprintf(name, sizeof name, "N%d", (i * 7) % RSC_MAX_DEFINES);
        rsc_option_int(&many, name, i);
    }
    harness_ok(rsc_options_print(&many, text, sizeof text));
    rsc_option_int(&many, "ONE_MORE", 1);
    harness_expect_status(rsc_options_print(&many, text, sizeof text), ROSACE_BUILD_FAILED, "more than 32");
}
END_TEST

START_TEST(one_program_is_built_once_in_a_context)
{
    folders_make();
    rosace_context *context = open_context("");
    cl_kernel a, b, c;
    harness_ok(create(context, "twice.cl", "twice", 1, &a));
    ck_assert(logged("built"));
    log_text[0] = '\0';
    harness_ok(create(context, "twice.cl", "twice", 1, &b));
    ck_assert_str_eq(log_text, "");
    ck_assert_ptr_ne(a, b);
    harness_ok(create(context, "twice.cl", "twice", 2, &c));
    ck_assert(logged("built"));
    ck_assert_int_eq(run_kernel(context, b), 41);
    ck_assert_int_eq(run_kernel(context, c), 42);
    clReleaseKernel(a);
    clReleaseKernel(b);
    clReleaseKernel(c);
    rosace_context_destroy(&context);
    remove_tree(root);
}
END_TEST

HARNESS_DEVICE_SUITE("program", includes_are_taken_once_and_lines_keep_their_numbers,
                     what_cannot_be_included_is_refused_by_place, a_failed_build_ends_with_the_compilers_words,
                     options_are_sorted_and_set_once, one_program_is_built_once_in_a_context)
