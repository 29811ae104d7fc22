/* SPDX-License-Identifier: MIT
 * Every OpenCL call that an operation makes fails once. For each of them: no crash; a negative status with a message of
 * its own, or else the right result (some calls are only asked for hints); nothing is left alive; and the same call
 * works afterwards. Runs with fault_layer.c between the library and the driver. */
#define _GNU_SOURCE
#include <harness.h>

#include "fault_layer.h"

#include <rosace/attention.h>
#include <rosace/layers.h>
#include <rosace/matmul.h>
#include <rosace/tune.h>

#include <dlfcn.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SEQ = 24, HEADS = 2, DIM = 16, WIDTH = HEADS * DIM, COUNT = SEQ * WIDTH, SCORES = SEQ * HEADS * SEQ, MAX_FAULTS = 2000 };

/* What an operation works with. `out` is compared; `in` is never written. */
typedef struct world {
    fault_controls *faults;
    rosace_device_info device;
    cl_context cl;
    cl_command_queue queue;
    cl_mem in[3], ids, out;
    float fresh[SCORES];  /* what `out` holds before */
    float wanted[SCORES]; /* and after */
} world;

typedef rosace_status (*operation)(const world *w, rosace_context *context, cl_event *event);

static rosace_array array_of(cl_mem mem) { return (rosace_array){.mem = mem, .dtype = ROSACE_F32}; }

static rosace_tensor tensor_of(cl_mem mem) { return rosace_tensor_bshd(mem, ROSACE_F32, 1, SEQ, HEADS, DIM); }

static rosace_status rope(const world *w, rosace_context *context, cl_event *event)
{
    rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
    desc.head_dim = DIM;
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    rosace_tensor q = tensor_of(w->in[0]), out = tensor_of(w->out);
    args.q = &q;
    args.q_out = &out;
    return rosace_rope(context, w->queue, &desc, &args, 0, NULL, event);
}

/* k and v go to the last slots of caches in one buffer; q is rotated into what lies before them. */
static rosace_status append(const world *w, rosace_context *context, cl_event *event)
{
    enum { TOKENS = 4, SLOTS = 8 };
    rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
    desc.head_dim = DIM;
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    rosace_tensor q = rosace_tensor_bshd(w->in[0], ROSACE_F32, 1, TOKENS, HEADS, DIM), q_out = q, k = q, v = q;
    rosace_tensor k_cache = rosace_tensor_bshd(w->out, ROSACE_F32, 1, SLOTS, HEADS, DIM), v_cache = k_cache;
    q_out.mem = w->out;
    k.mem = w->in[1];
    v.mem = w->in[2];
    k_cache.offset = TOKENS * WIDTH;
    v_cache.offset = k_cache.offset + SLOTS * WIDTH;
    args.q = &q;
    args.q_out = &q_out;
    args.k = &k;
    args.k_cache = &k_cache;
    args.v = &v;
    args.v_cache = &v_cache;
    args.cache_slot = SLOTS - TOKENS;
    return rosace_rope(context, w->queue, &desc, &args, 0, NULL, event);
}

static rosace_status sinusoidal(const world *w, rosace_context *context, cl_event *event)
{
    rosace_tensor x = rosace_tensor_bshd(w->out, ROSACE_F32, 1, SEQ, 1, WIDTH);
    rosace_positions positions = {.seq_stride = 1};
    return rosace_sinusoidal_add(context, w->queue, &x, &positions, 1.0f, 0, NULL, event);
}

static rosace_status attention(const world *w, rosace_context *context, cl_event *event, rosace_attention_path path, bool plan)
{
    rosace_rope_desc rotation = ROSACE_ROPE_DESC_DEFAULT;
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = HEADS;
    desc.head_dim = DIM;
    desc.mask.causal = true;
    desc.mask.window_left = 7;
    desc.rope = &rotation;
    desc.path = path;
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = tensor_of(w->in[0]);
    args.k = tensor_of(w->in[1]);
    args.v = tensor_of(w->in[2]);
    args.out = tensor_of(w->out);
    if (!plan) return rosace_attention(context, w->queue, &desc, &args, 0, NULL, event);

    desc.max_batch = 1;
    desc.max_seq_q = desc.max_seq_k = SEQ;
    rosace_attention_plan *made;
    rosace_status status = rosace_attention_plan_create(context, &desc, &made);
    if (!status) status = rosace_attention_enqueue(made, w->queue, &args, 0, NULL, event);
    if (!status) clFinish(w->queue); /* the plan's workspace goes with it */
    rosace_attention_plan_destroy(&made);
    return status;
}

static rosace_status attention_fused(const world *w, rosace_context *context, cl_event *event)
{
    return attention(w, context, event, ROSACE_PATH_FUSED, false);
}

static rosace_status attention_gemm(const world *w, rosace_context *context, cl_event *event)
{
    return attention(w, context, event, ROSACE_PATH_GEMM, false);
}

static rosace_status attention_plan(const world *w, rosace_context *context, cl_event *event)
{
    return attention(w, context, event, ROSACE_PATH_GEMM, true);
}

/* Rotation into workspace, several splits, and their reduction: one key's head after another, over and over. */
static rosace_status attention_decode(const world *w, rosace_context *context, cl_event *event)
{
    rosace_rope_desc rotation = ROSACE_ROPE_DESC_DEFAULT;
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = HEADS;
    desc.n_kv_heads = 1;
    desc.head_dim = DIM;
    desc.mask.causal = true;
    desc.rope = &rotation;
    desc.path = ROSACE_PATH_DECODE;
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = rosace_tensor_bshd(w->in[0], ROSACE_F32, 1, 2, HEADS, DIM);
    args.k = rosace_tensor_bshd(w->in[1], ROSACE_F32, 1, 4096, 1, DIM);
    args.v = args.k;
    args.v.mem = w->in[2];
    args.k.stride[1] = args.v.stride[1] = 0; /* inputs may share elements */
    args.out = rosace_tensor_bshd(w->out, ROSACE_F32, 1, 2, HEADS, DIM);
    return rosace_attention(context, w->queue, &desc, &args, 0, NULL, event);
}

static rosace_status softmax(const world *w, rosace_context *context, cl_event *event)
{
    rosace_softmax_args args = ROSACE_SOFTMAX_ARGS_DEFAULT;
    args.scores = rosace_tensor_bshd(w->out, ROSACE_F32, 1, SEQ, HEADS, SEQ);
    args.mask.causal = true;
    return rosace_masked_softmax(context, w->queue, &args, 0, NULL, event);
}

static rosace_status mask_matrix(const world *w, rosace_context *context, cl_event *event)
{
    rosace_tensor out = rosace_tensor_bshd(w->out, ROSACE_F32, 1, SEQ, HEADS, SEQ);
    rosace_mask mask = ROSACE_MASK_DEFAULT;
    mask.window_left = 3;
    return rosace_mask_matrix(context, w->queue, &mask, 0, ROSACE_BIAS_NONE, NULL, 0, &out, 0, NULL, event);
}

static rosace_status matmul(const world *w, rosace_context *context, cl_event *event)
{
    rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
    args.a = (rosace_matrix){.mem = w->in[0], .rows = SEQ, .cols = WIDTH};
    args.b = (rosace_matrix){.mem = w->in[1], .rows = SEQ, .cols = WIDTH};
    args.c = (rosace_matrix){.mem = w->out, .rows = SEQ, .cols = SEQ};
    args.transpose_b = true;
    args.path = ROSACE_MATMUL_TILE;
    return rosace_matmul(context, w->queue, &args, 0, NULL, event);
}

static rosace_status embedding(const world *w, rosace_context *context, cl_event *event)
{
    return rosace_embedding(context, w->queue, array_of(w->ids), array_of(w->in[0]), SEQ, array_of(w->out), SEQ, WIDTH, 0,
                            NULL, event);
}

static rosace_status rmsnorm(const world *w, rosace_context *context, cl_event *event)
{
    return rosace_rmsnorm(context, w->queue, array_of(w->in[0]), array_of(w->in[1]), array_of(w->out), SEQ, WIDTH, 1e-6f, 0,
                          NULL, event);
}

static rosace_status swiglu(const world *w, rosace_context *context, cl_event *event)
{
    return rosace_swiglu(context, w->queue, array_of(w->in[0]), array_of(w->in[1]), array_of(w->out), COUNT, 0, NULL, event);
}

static rosace_status add(const world *w, rosace_context *context, cl_event *event)
{
    return rosace_add(context, w->queue, array_of(w->out), array_of(w->in[0]), COUNT, 0, NULL, event);
}

static rosace_status cross_entropy(const world *w, rosace_context *context, cl_event *event)
{
    return rosace_cross_entropy(context, w->queue, array_of(w->in[0]), array_of(w->ids), array_of(w->out), SEQ, WIDTH, 0,
                                NULL, event);
}

/* Stops when all is ready to run. What follows shows that the context is still of use. */
static bool stop_early(void *user, const rosace_tune_event *event)
{
    (void)user;
    return event->warning != NULL;
}

static rosace_status tune(const world *w, rosace_context *context, cl_event *event)
{
    rosace_tune_options options = ROSACE_TUNE_OPTIONS_DEFAULT;
    options.operations = ROSACE_TUNE_ATTENTION;
    options.progress = stop_early;
    const rosace_status status = rosace_tune(context, &options, NULL);
    return status ? status : add(w, context, event);
}

/* ---- The world ----------------------------------------------------------------------------------------------------- */

static cl_mem upload(const world *w, const void *data, size_t bytes)
{
    cl_int code;
    cl_mem mem = clCreateBuffer(w->cl, CL_MEM_COPY_HOST_PTR, bytes, (void *)(uintptr_t)data, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

static void open_world(world *w)
{
    const char *path = getenv("OPENCL_LAYERS");
    ck_assert_msg(path != NULL, "OPENCL_LAYERS does not name the fault layer");
    harness_ok(rosace_select_device(NULL, &w->device)); /* loads drivers and layers */
    void *layer = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    ck_assert_msg(layer != NULL, "the ICD loader has not loaded %s", path);
    fault_controls *(*controls)(void);
    *(void **)&controls = dlsym(layer, "fault_layer_controls");
    ck_assert(controls != NULL);
    w->faults = controls();

    cl_int code;
    w->cl = clCreateContext(NULL, 1, &w->device.device, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    w->queue = clCreateCommandQueue(w->cl, w->device.device, 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    float values[SCORES];
    int32_t ids[SEQ];
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < COUNT; j++) values[j] = (float)harness_random_real(-1, 1);
        w->in[i] = upload(w, values, COUNT * sizeof *values);
    }
    for (int i = 0; i < SEQ; i++) ids[i] = i * 7 % SEQ;
    w->ids = upload(w, ids, sizeof ids);
    for (int i = 0; i < SCORES; i++) w->fresh[i] = (float)harness_random_real(-1, 1);
    w->out = upload(w, w->fresh, sizeof w->fresh);
}

static void close_world(world *w)
{
    for (int i = 0; i < 3; i++) clReleaseMemObject(w->in[i]);
    clReleaseMemObject(w->ids);
    clReleaseMemObject(w->out);
    clReleaseCommandQueue(w->queue);
    clReleaseContext(w->cl);
}

/* Leaves a message that no failure under test gives. */
static const char *stale_message(void)
{
    (void)rosace_mask_check(NULL);
    return strcpy(harness_alloc(strlen(rosace_last_error()) + 1, 1), rosace_last_error());
}

static rosace_context *open_context(const world *w, const char *cache_dir)
{
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.cl_context = w->cl;
    desc.cl_device = w->device.device;
    desc.cache_dir = cache_dir;
    rosace_context *context;
    harness_ok(rosace_context_create(&desc, &context));
    return context;
}

/* Runs the operation from a fresh `out`, the `fail_at`-th OpenCL call failing. */
static rosace_status attempt(world *w, rosace_context *context, operation run, long fail_at, float *got)
{
    cl_int code = clEnqueueWriteBuffer(w->queue, w->out, CL_TRUE, 0, sizeof w->fresh, w->fresh, 0, NULL, NULL);
    ck_assert_int_eq(code, CL_SUCCESS);
    cl_event event = harness_untouched_event;
    w->faults->calls = 0;
    w->faults->failed = NULL;
    w->faults->fail_at = fail_at;
    w->faults->armed = 1;
    rosace_status status = run(w, context, &event);
    w->faults->armed = 0;
    if (status) ck_assert_msg(event == harness_untouched_event, "a call that failed gave out an event");
    code = clFinish(w->queue);
    ck_assert_int_eq(code, CL_SUCCESS);
    if (!status) ck_assert_int_eq(clReleaseEvent(event), CL_SUCCESS);
    code = clEnqueueReadBuffer(w->queue, w->out, CL_TRUE, 0, sizeof w->fresh, got, 0, NULL, NULL);
    ck_assert_int_eq(code, CL_SUCCESS);
    return status;
}

static void check_live(const world *w, const long *before)
{
    static const char *const names[FAULT_OBJECTS] = {"contexts", "queues", "buffers", "programs", "kernels", "events"};
    for (int i = 0; i < FAULT_OBJECTS; i++)
        ck_assert_msg(w->faults->live[i] == before[i], "%ld %s left over after %s failed", w->faults->live[i] - before[i],
                      names[i], w->faults->failed ? w->faults->failed : "nothing");
}

static void sweep(const char *name, operation run, const char *cache_dir)
{
    world *w = harness_alloc(1, sizeof *w);
    float *got = harness_alloc(SCORES, sizeof *got);
    open_world(w);
    long before[FAULT_OBJECTS], fault = 0, survived = 0;
    memcpy(before, w->faults->live, sizeof before);

    harness_case("%s without a fault", name);
    rosace_context *context = open_context(w, cache_dir);
    harness_ok(attempt(w, context, run, 0, w->wanted));
    ck_assert_msg(w->faults->calls > 0, "no OpenCL call passed the layer");
    ck_assert_msg(memcmp(w->wanted, w->fresh, sizeof w->wanted) != 0, "the operation did nothing");
    rosace_context_destroy(&context);
    check_live(w, before);

    for (fault = 1; fault < MAX_FAULTS; fault++) {
        harness_case("%s, OpenCL call %ld fails", name, fault);
        const char *stale = stale_message();
        context = open_context(w, cache_dir);
        rosace_status status = attempt(w, context, run, fault, got);
        const char *failed = w->faults->failed;
        if (status) {
            ck_assert_msg(failed != NULL, "failed without a fault: %s", rosace_last_error());
            ck_assert_int_lt(status, 0);
            ck_assert_msg(rosace_last_error()[0] && strcmp(rosace_last_error(), stale) != 0, "%s failed and left no message",
                          failed);
            rosace_status again = attempt(w, context, run, 0, got);
            ck_assert_msg(again == ROSACE_OK, "after %s had failed once: %s", failed, rosace_last_error());
            w->faults->failed = failed;
        } else {
            survived += failed != NULL;
        }
        ck_assert_msg(memcmp(got, w->wanted, sizeof w->wanted) == 0, "wrong result after %s had failed", failed ? failed : "nothing");
        rosace_context_destroy(&context);
        check_live(w, before);
        if (!failed) break;
    }
    ck_assert_msg(fault < MAX_FAULTS, "more calls than expected");
    printf("%-16s %3ld faults, of which %ld did no harm\n", name, fault - 1, survived);
    close_world(w);
}

/* ---- Tests --------------------------------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

START_TEST(context_survives_every_fault)
{
    world *w = harness_alloc(1, sizeof *w);
    open_world(w);
    long before[FAULT_OBJECTS];
    memcpy(before, w->faults->live, sizeof before);
    long fault, refused = 0;
    for (fault = 1; fault < MAX_FAULTS; fault++) {
        harness_case("context, OpenCL call %ld fails", fault);
        const char *stale = stale_message();
        rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
        desc.cache_dir = "";
        rosace_context *context = NULL;
        w->faults->calls = 0;
        w->faults->failed = NULL;
        w->faults->fail_at = fault;
        w->faults->armed = 1;
        rosace_status status = rosace_context_create(&desc, &context);
        w->faults->armed = 0;
        if (status) {
            refused++;
            ck_assert_msg(context == NULL && w->faults->failed, "status %d without reason", status);
            ck_assert_msg(rosace_last_error()[0] && strcmp(rosace_last_error(), stale) != 0, "%s failed and left no message",
                          w->faults->failed);
            harness_ok(rosace_context_create(&desc, &context));
        }
        rosace_context_destroy(&context);
        check_live(w, before);
        if (!w->faults->failed) break;
    }
    printf("%-16s %3ld faults, of which %ld did no harm\n", "context", fault - 1, fault - 1 - refused);
    ck_assert_int_lt(fault, MAX_FAULTS);
    close_world(w);
}
END_TEST

#define SWEEP(name)                                                                                                    \
    START_TEST(name##_survives_every_fault) { sweep(#name, name, ""); }                                               \
    END_TEST
SWEEP(add)
SWEEP(append)
SWEEP(attention_decode)
SWEEP(attention_fused)
SWEEP(attention_gemm)
SWEEP(attention_plan)
SWEEP(cross_entropy)
SWEEP(embedding)
SWEEP(mask_matrix)
SWEEP(matmul)
SWEEP(rmsnorm)
SWEEP(rope)
SWEEP(sinusoidal)
SWEEP(softmax)
SWEEP(swiglu)

/* From an empty folder, so that the first run writes to the cache and the later ones read it. */
START_TEST(a_cache_on_disk_survives_every_fault)
{
    char folder[] = "/tmp/rosace-faults-XXXXXX";
    ck_assert(mkdtemp(folder) != NULL);
    sweep("rope, disk cache", rope, folder);
    ck_assert_int_eq(nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}
END_TEST

START_TEST(tune_survives_every_fault)
{
    char folder[] = "/tmp/rosace-faults-XXXXXX";
    ck_assert(mkdtemp(folder) != NULL);
    sweep("tune", tune, folder);
    ck_assert_int_eq(nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}
END_TEST

HARNESS_HOST_SUITE("faults", context_survives_every_fault, add_survives_every_fault, append_survives_every_fault,
                   attention_decode_survives_every_fault, attention_fused_survives_every_fault,
                   attention_gemm_survives_every_fault, attention_plan_survives_every_fault,
                   cross_entropy_survives_every_fault, embedding_survives_every_fault, mask_matrix_survives_every_fault,
                   matmul_survives_every_fault, rmsnorm_survives_every_fault, rope_survives_every_fault,
                   sinusoidal_survives_every_fault, softmax_survives_every_fault, swiglu_survives_every_fault,
                   a_cache_on_disk_survives_every_fault, tune_survives_every_fault)
