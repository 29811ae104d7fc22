/* SPDX-License-Identifier: MIT
 * Rotations from the objects of models' config.json: what each type becomes, and every refusal with its key and value. */
#include <math.h>
#include <string.h>

#include "harness.h"
#include <rosace/rope.h>

static rosace_rope_model model_of(size_t head_dim, int64_t max_position)
{
    rosace_rope_model model = ROSACE_ROPE_MODEL_DEFAULT;
    model.head_dim = head_dim;
    model.max_position_embeddings = max_position;
    return model;
}

static double factors[64];

static rosace_rope_desc read(const char *json, const rosace_rope_model *model)
{
    rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
    harness_case("%s", json);
    harness_ok(rosace_rope_desc_from_json(json, strlen(json), model, factors, 64, &desc));
    harness_ok(rosace_rope_frequencies(&desc, NULL, NULL)); /* what comes out is valid */
    return desc;
}

START_TEST(types_become_scalings)
{
    rosace_rope_model model = model_of(64, 131072);
    model.theta = 250000.0;
    rosace_rope_desc d = read("null", &model);
    ck_assert_int_eq(d.scaling.kind, ROSACE_ROPE_SCALING_NONE);
    ck_assert_double_eq(d.theta, 250000.0);
    ck_assert_uint_eq(d.head_dim, 64);

    d = read("{\"rope_type\": \"default\", \"rope_theta\": 1000000}", &model);
    ck_assert_int_eq(d.scaling.kind, ROSACE_ROPE_SCALING_NONE);
    ck_assert_double_eq(d.theta, 1e6);

    d = read("{\"type\": \"linear\", \"factor\": 4}", &model);
    ck_assert_int_eq(d.scaling.kind, ROSACE_ROPE_SCALING_LINEAR);
    ck_assert_double_eq(d.scaling.factor, 4.0);
    ck_assert_double_eq(d.theta, 250000.0);

    model.seq_len = 300000;
    d = read("{\"rope_type\": \"dynamic\", \"factor\": 2.5}", &model);
    ck_assert_int_eq(d.scaling.kind, ROSACE_ROPE_SCALING_DYNAMIC);
    ck_assert_int_eq(d.scaling.original_max_position, 131072);
    ck_assert_int_eq(d.scaling.seq_len, 300000);

    d = read("{\"factor\": 8.0, \"high_freq_factor\": 5.0, \"low_freq_factor\": 2.0,"
             " \"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}",
             &model);
    ck_assert_int_eq(d.scaling.kind, ROSACE_ROPE_SCALING_LLAMA3);
    ck_assert_double_eq(d.scaling.low_freq_factor, 2.0);
    ck_assert_double_eq(d.scaling.high_freq_factor, 5.0);
    ck_assert_int_eq(d.scaling.original_max_position, 8192);
}
END_TEST

START_TEST(yarn_with_all_it_may_have)
{
    const rosace_rope_model model = model_of(64, 32768);
    rosace_rope_desc d = read("{\"rope_type\": \"yarn\", \"factor\": 4.0}", &model);
    ck_assert_int_eq(d.scaling.kind, ROSACE_ROPE_SCALING_YARN);
    ck_assert_int_eq(d.scaling.original_max_position, 32768);
    ck_assert_double_eq(d.scaling.beta_fast, 32.0);
    ck_assert_double_eq(d.scaling.beta_slow, 1.0);
    ck_assert_double_eq(d.scaling.attention_factor, 0.0);
    ck_assert(!d.scaling.no_truncate);
    d = read("{\"type\": \"yarn\", \"factor\": 40, \"beta_fast\": 24, \"beta_slow\": 2, \"mscale\": 0.707, \"mscale_all_dim\": 1.2,"
             " \"original_max_position_embeddings\": 4096, \"truncate\": false, \"attention_factor\": null}",
             &model);
    ck_assert_int_eq(d.scaling.original_max_position, 4096);
    ck_assert_double_eq(d.scaling.beta_fast, 24.0);
    ck_assert_double_eq(d.scaling.beta_slow, 2.0);
    ck_assert_double_eq(d.scaling.mscale, 0.707);
    ck_assert_double_eq(d.scaling.mscale_all_dim, 1.2);
    ck_assert(d.scaling.no_truncate);
    d = read("{\"rope_type\": \"yarn\", \"factor\": 4.0, \"attention_factor\": 1.25}", &model);
    ck_assert_double_eq(d.scaling.attention_factor, 1.25);
}
END_TEST

START_TEST(longrope_points_into_the_callers_numbers)
{
    rosace_rope_model model = model_of(8, 4096);
    model.original_max_position_embeddings = 1024; /* as Phi-3 has it: beside the object, and before the one in it */
    model.seq_len = 2000;
    const char *json = "{\"type\": \"longrope\", \"short_factor\": [1, 1.5, 2, 2.5], \"long_factor\": [3, 4, 5, 6.5],"
                       " \"original_max_position_embeddings\": 7}";
    rosace_rope_desc d = read(json, &model);
    ck_assert_int_eq(d.scaling.kind, ROSACE_ROPE_SCALING_LONGROPE);
    ck_assert_ptr_eq(d.scaling.short_factor, factors);
    ck_assert_ptr_eq(d.scaling.long_factor, factors + 4);
    ck_assert_double_eq(factors[1], 1.5);
    ck_assert_double_eq(factors[7], 6.5);
    ck_assert_int_eq(d.scaling.original_max_position, 1024);
    ck_assert_double_eq(d.scaling.factor, 4.0);
    double frequencies[4], factor;
    harness_ok(rosace_rope_frequencies(&d, frequencies, &factor));
    ck_assert_double_eq_tol(frequencies[0], 1.0 / 3.0, 1e-15);
    ck_assert_double_eq_tol(factor, sqrt(1.0 + log(4.0) / log(1024.0)), 1e-15);
    d = read("{\"type\": \"su\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [3, 4, 5, 6], \"factor\": 32,"
             " \"attention_factor\": 1.5}",
             &model);
    ck_assert_double_eq(d.scaling.factor, 32.0);
    ck_assert_double_eq(d.scaling.attention_factor, 1.5);
}
END_TEST

START_TEST(parts_of_a_head)
{
    rosace_rope_model model = model_of(80, 2048);
    model.partial_rotary_factor = 0.5;
    ck_assert_uint_eq(read("null", &model).rotary_dim, 40);
    ck_assert_uint_eq(read("{\"rope_type\": \"default\"}", &model).rotary_dim, 40);
    ck_assert_uint_eq(read("{\"rope_type\": \"default\", \"partial_rotary_factor\": 0.25}", &model).rotary_dim, 20);
    /* the whole head, of which a part stands still */
    const rosace_rope_desc d = read("{\"rope_type\": \"proportional\", \"partial_rotary_factor\": 0.25, \"factor\": 8}", &model);
    double frequencies[40];
    harness_ok(rosace_rope_frequencies(&d, frequencies, NULL));
    ck_assert_double_eq(frequencies[0], 0.125);
    ck_assert(frequencies[9] > 0.0 && frequencies[10] == 0.0);
}
END_TEST

START_TEST(sections_become_axes)
{
    const rosace_rope_model model = model_of(128, 32768);
    rosace_rope_desc d = read("{\"type\": \"mrope\", \"mrope_section\": [16, 24, 24]}", &model);
    ck_assert_int_eq(d.scaling.kind, ROSACE_ROPE_SCALING_NONE);
    ck_assert_uint_eq(d.axes, 3);
    ck_assert(d.sections[0] == 16 && d.sections[1] == 24 && d.sections[2] == 24);
    ck_assert_int_eq(d.axis_order, ROSACE_ROPE_AXES_CONTIGUOUS);
    d = read("{\"rope_type\": \"yarn\", \"factor\": 2, \"mrope_section\": [24, 20, 20], \"mrope_interleaved\": true}", &model);
    ck_assert_int_eq(d.scaling.kind, ROSACE_ROPE_SCALING_YARN);
    ck_assert_int_eq(d.axis_order, ROSACE_ROPE_AXES_INTERLEAVED);
}
END_TEST

START_TEST(objects_by_kind_of_layer)
{
    const char *json = "{\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8, \"rope_theta\": 1000000},"
                       " \"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\": 10000}}";
    rosace_rope_model model = model_of(64, 2048);
    model.layer_type = "full_attention";
    ck_assert_double_eq(read(json, &model).theta, 1e6);
    ck_assert_double_eq(read(json, &model).scaling.factor, 8.0);
    model.layer_type = "sliding_attention";
    ck_assert_int_eq(read(json, &model).scaling.kind, ROSACE_ROPE_SCALING_NONE);
    rosace_rope_desc d;
    model.layer_type = "linear_attention";
    harness_expect_status(rosace_rope_desc_from_json(json, strlen(json), &model, NULL, 0, &d), ROSACE_INVALID_ARGUMENT,
                          "layer_type = \"linear_attention\"");
    model.layer_type = NULL;
    harness_expect_status(rosace_rope_desc_from_json(json, strlen(json), &model, NULL, 0, &d), ROSACE_INVALID_ARGUMENT,
                          "layer_type: NULL");
    model.layer_type = "sliding_attention";
    const char *bad = "{\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 0.5}}";
    harness_expect_status(rosace_rope_desc_from_json(bad, strlen(bad), &model, NULL, 0, &d), ROSACE_INVALID_ARGUMENT,
                          "rope_parameters.sliding_attention.factor = 0.5");
}
END_TEST

START_TEST(refusals_name_key_and_value)
{
    static const struct {
        const char *json, *words;
    } cases[] = {
        {"", "rope_scaling: line 1"},
        {"{\"rope_type\": \"linear\"", "rope_scaling: line 1"},
        {"{\"factor\": 1, \"factor\": 2, \"rope_type\": \"linear\"}", "duplicate"},
        {"[1, 2]", "rope_scaling = [1,2]: must be an object or null"},
        {"\"linear\"", "rope_scaling = \"linear\": must be an object or null"},
        {"{}", "rope_scaling.rope_type is missing"},
        {"{\"rope_type\": null}", "rope_scaling.rope_type is missing"},
        {"{\"rope_type\": \"spiral\"}", "rope_scaling.rope_type = \"spiral\": must be \"default\""},
        {"{\"type\": 7}", "rope_scaling.type = 7: must be"},
        {"{\"rope_type\": \"default\", \"rope_theta\": 1}", "rope_scaling.rope_theta = 1: must be a number above 1"},
        {"{\"rope_type\": \"default\", \"rope_theta\": \"1e4\"}", "rope_scaling.rope_theta = \"1e4\""},
        {"{\"rope_type\": \"default\", \"partial_rotary_factor\": 0}", "rope_scaling.partial_rotary_factor = 0"},
        {"{\"rope_type\": \"default\", \"partial_rotary_factor\": 1.5}", "rope_scaling.partial_rotary_factor = 1.5"},
        {"{\"rope_type\": \"default\", \"partial_rotary_factor\": 0.4}", "rope_scaling: rotary_dim = 3"},
        {"{\"rope_type\": \"linear\"}", "rope_scaling.factor is missing"},
        {"{\"rope_type\": \"linear\", \"factor\": 0.5}", "rope_scaling.factor = 0.5: must be a number of at least 1"},
        {"{\"rope_type\": \"linear\", \"factor\": [4]}", "rope_scaling.factor = [4]"},
        {"{\"rope_type\": \"linear\", \"factor\": true}", "rope_scaling.factor = true"},
        {"{\"rope_type\": \"yarn\"}", "rope_scaling.factor is missing"},
        {"{\"rope_type\": \"yarn\", \"factor\": 2, \"beta_fast\": -1}", "rope_scaling.beta_fast = -1"},
        {"{\"rope_type\": \"yarn\", \"factor\": 2, \"beta_fast\": 1}", "rope_scaling: scaling.beta_fast = 1"},
        {"{\"rope_type\": \"yarn\", \"factor\": 2, \"truncate\": 1}", "rope_scaling.truncate = 1: must be true or false"},
        {"{\"rope_type\": \"yarn\", \"factor\": 2, \"attention_factor\": 0}", "rope_scaling.attention_factor = 0"},
        {"{\"rope_type\": \"yarn\", \"factor\": 2, \"original_max_position_embeddings\": 2.5}",
         "rope_scaling.original_max_position_embeddings = 2.5: must be a whole number"},
        {"{\"rope_type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 1}", "rope_scaling.high_freq_factor is missing"},
        {"{\"rope_type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 4, \"high_freq_factor\": 2}",
         "rope_scaling: scaling.high_freq_factor = 2"},
        {"{\"rope_type\": \"longrope\", \"long_factor\": [1, 1, 1, 1]}", "rope_scaling.short_factor is missing"},
        {"{\"rope_type\": \"longrope\", \"short_factor\": 4}", "rope_scaling.short_factor = 4: must be a list"},
        {"{\"rope_type\": \"longrope\", \"short_factor\": [1, 1, 1]}", "rope_scaling.short_factor has 3 numbers: must have 4"},
        {"{\"rope_type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 1, 1, 1, 1]}",
         "rope_scaling.long_factor has 5 numbers: must have 4"},
        {"{\"rope_type\": \"longrope\", \"short_factor\": [1, 1, -2, 1], \"long_factor\": [1, 1, 1, 1]}",
         "rope_scaling.short_factor[2] = -2: must be a number above 0"},
        {"{\"rope_type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 1, 1, \"x\"]}",
         "rope_scaling.long_factor[3] = \"x\""},
        {"{\"type\": \"mrope\", \"mrope_section\": [1, 2]}", "rope_scaling: sections = 1, 2, 0, 0: must be rotary_dim / 2 = 4"},
        {"{\"type\": \"mrope\", \"mrope_section\": [4]}", "rope_scaling.mrope_section = [4]: must be a list of 2 to 4"},
        {"{\"type\": \"mrope\", \"mrope_section\": [2, -1, 3]}", "rope_scaling.mrope_section = [2,-1,3]"},
        {"{\"type\": \"mrope\", \"mrope_section\": [2, 2], \"mrope_interleaved\": 1}", "rope_scaling.mrope_interleaved = 1"},
        {"{\"rope_type\": \"proportional\", \"factor\": 0}", "rope_scaling.factor = 0"},
    };
    rosace_rope_model model = model_of(8, 4096);
    model.name = "rope_scaling";
    const rosace_rope_desc before = {.head_dim = 1234};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rosace_rope_desc desc = before;
        harness_case("%s", cases[i].json);
        harness_expect_status(rosace_rope_desc_from_json(cases[i].json, strlen(cases[i].json), &model, factors, 64, &desc),
                              ROSACE_INVALID_ARGUMENT, cases[i].words);
        ck_assert_mem_eq(&desc, &before, sizeof desc);
    }
}
END_TEST

START_TEST(arguments_are_checked)
{
    const rosace_rope_model good = model_of(8, 4096);
    rosace_rope_model model = good;
    rosace_rope_desc d;
    const char *list = "{\"rope_type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 1, 1, 1]}";
    const char *yarn = "{\"rope_type\": \"yarn\", \"factor\": 2}", *dynamic = "{\"rope_type\": \"dynamic\", \"factor\": 2}";
#define REFUSED(json, length, m, f, n, out, words)                                                                                     \
    harness_expect_status(rosace_rope_desc_from_json(json, length, m, f, n, out), ROSACE_INVALID_ARGUMENT, words)
    REFUSED(NULL, 3, &good, NULL, 0, &d, "json: NULL");
    REFUSED(yarn, strlen(yarn), &good, NULL, 0, NULL, "out: NULL");
    REFUSED(yarn, strlen(yarn), NULL, NULL, 0, &d, "model");
    REFUSED(yarn, strlen(yarn) - 1, &good, NULL, 0, &d, "line 1");
    REFUSED(list, strlen(list), &good, NULL, 64, &d, "factors_count = 0");
    REFUSED(list, strlen(list), &good, factors, 7, &d, "factors_count = 7");
    model.struct_size = 3;
    REFUSED(yarn, strlen(yarn), &model, NULL, 0, &d, "struct_size");
    model = model_of(7, 4096);
    REFUSED(yarn, strlen(yarn), &model, NULL, 0, &d, "head_dim = 7");
    model = model_of(8, 0);
    REFUSED(yarn, strlen(yarn), &model, NULL, 0, &d, "original_max_position_embeddings is missing");
    REFUSED(dynamic, strlen(dynamic), &model, NULL, 0, &d, "max_position_embeddings = 0");
    model = good;
    model.partial_rotary_factor = 2.0;
    REFUSED("null", 4, &model, NULL, 0, &d, "partial_rotary_factor = 2");
#undef REFUSED
}
END_TEST

HARNESS_HOST_SUITE("rope_json", types_become_scalings, yarn_with_all_it_may_have, longrope_points_into_the_callers_numbers,
                   parts_of_a_head, sections_become_axes, objects_by_kind_of_layer, refusals_name_key_and_value, arguments_are_checked)
