/* SPDX-License-Identifier: MIT
 * The device under test, tensors on it in every layout, and checks that look at whole buffers. */
#include <rosace/rosace.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness_record.h"

/* Quiet NaNs with a payload that no arithmetic makes; that of 16 bits is one in fp16 and in bf16. */
static const uint32_t poison_f32 = 0x7FE5A5A5u;
static const uint16_t poison_16 = 0x7FDAu;

enum { GUARD = 64, ODD_OFFSET = 13 }; /* elements */

/* A buffer as it was made, so that every stray write is seen. */
typedef struct buffer {
    struct buffer *next;
    cl_mem mem;
    size_t elements, element_bytes;
    unsigned char *bits;
    bool *written; /* elements that an operation is meant to write */
} buffer;

static struct {
    rosace_context *context;
    cl_command_queue queue, out_of_order;
    char where[400];
    buffer *buffers; /* of the test under way */
} device;

static int event_address;
const cl_event harness_untouched_event = (cl_event)(void *)&event_address;

/* ---- Context ----------------------------------------------------------------------------------------------------- */

static void show_log(void *user, rosace_log_level level, const char *message)
{
    (void)user;
    static const char *const names[] = {"error", "warning", "info", "debug"};
    fprintf(stderr, "rosace %s: %s\n", names[level], message);
}

static void device_close(void)
{
    if (device.out_of_order)
        clReleaseCommandQueue(device.out_of_order);
    if (device.queue)
        clReleaseCommandQueue(device.queue);
    device.out_of_order = device.queue = NULL;
    rosace_context_destroy(&device.context);
}

static int device_open(const char *suite)
{
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    if (getenv("ROSACE_TEST_VERBOSE"))
        desc.log = show_log;
    rosace_status status = rosace_context_create(&desc, &device.context);
    if (status == ROSACE_NO_DEVICE && !getenv("ROSACE_TEST_IMPLEMENTATION")) {
        printf("SKIP %s: %s\n", suite, rosace_last_error());
        return 77;
    }
    if (status) { /* tests/on found the implementation installed, so it has to work */
        fprintf(stderr, "%s: no context: %s: %s\n", suite, rosace_status_name(status), rosace_last_error());
        return EXIT_FAILURE;
    }
    const rosace_device_info *info = rosace_context_device_info(device.context);
    snprintf(device.where, sizeof device.where, "%s (%s)", info->name, info->platform_name);

    cl_context context = rosace_context_cl(device.context);
    cl_device_id id = rosace_context_cl_device(device.context);
    cl_int error;
    device.queue = clCreateCommandQueue(context, id, 0, &error);
    if (error) {
        fprintf(stderr, "%s: clCreateCommandQueue: %d on %s\n", suite, error, device.where);
        device.queue = NULL;
        device_close();
        return EXIT_FAILURE;
    }
    device.out_of_order = clCreateCommandQueue(context, id, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &error);
    if (error)
        device.out_of_order = NULL;
    return 0;
}

static void device_test_ends(void)
{
    clFinish(device.queue);
    if (device.out_of_order)
        clFinish(device.out_of_order);
    for (; device.buffers; device.buffers = device.buffers->next)
        clReleaseMemObject(device.buffers->mem);
}

static const char *device_where(void) { return device.where; }

const harness_fixture harness_device = {device_open, device_close, device_test_ends, device_where};

rosace_context *harness_context(void) { return device.context; }
cl_command_queue harness_queue(void) { return device.queue; }
cl_command_queue harness_queue_out_of_order(void) { return device.out_of_order; }
const rosace_device_info *harness_device_info(void) { return rosace_context_device_info(device.context); }

/* ---- Buffers ----------------------------------------------------------------------------------------------------- */

static void need(cl_int error, const char *what)
{
    if (error)
        harness_fail_at(__FILE__, __LINE__, "%s: OpenCL error %d", what, error);
}

static buffer *buffer_make(size_t elements, size_t element_bytes)
{
    buffer *b = harness_alloc(1, sizeof *b);
    b->elements = elements;
    b->element_bytes = element_bytes;
    b->bits = harness_alloc(elements, element_bytes);
    b->written = harness_alloc(elements, sizeof *b->written);
    return b;
}

static void buffer_upload(buffer *b)
{
    cl_int error;
    b->mem = clCreateBuffer(rosace_context_cl(device.context), CL_MEM_READ_WRITE, b->elements * b->element_bytes, NULL,
                            &error);
    need(error, "clCreateBuffer");
    b->next = device.buffers;
    device.buffers = b;
    need(clEnqueueWriteBuffer(device.queue, b->mem, CL_TRUE, 0, b->elements * b->element_bytes, b->bits, 0, NULL, NULL),
         "clEnqueueWriteBuffer");
}

static buffer *buffer_find(cl_mem mem)
{
    buffer *b = device.buffers;
    while (b && b->mem != mem)
        b = b->next;
    if (!b)
        harness_fail_at(__FILE__, __LINE__, "a tensor that the harness did not make");
    return b;
}

static unsigned char *buffer_read(const buffer *b)
{
    unsigned char *bits = harness_alloc(b->elements, b->element_bytes);
    need(clEnqueueReadBuffer(device.queue, b->mem, CL_TRUE, 0, b->elements * b->element_bytes, bits, 0, NULL, NULL),
         "clEnqueueReadBuffer");
    return bits;
}

static void bits_put(unsigned char *bits, size_t index, rosace_dtype dtype, double value)
{
    float single = (float)value;
    uint16_t narrow = dtype == ROSACE_F16 ? harness_half_from_double(value) : harness_bf16_from_double(value);
    if (rosace_dtype_size(dtype) == sizeof narrow)
        memcpy(bits + index * sizeof narrow, &narrow, sizeof narrow);
    else
        memcpy(bits + index * sizeof single, &single, sizeof single);
}

static double bits_get(const unsigned char *bits, size_t index, rosace_dtype dtype)
{
    float single;
    uint16_t narrow;
    if (rosace_dtype_size(dtype) == sizeof narrow) {
        memcpy(&narrow, bits + index * sizeof narrow, sizeof narrow);
        return dtype == ROSACE_F16 ? harness_double_from_half(narrow) : harness_double_from_bf16(narrow);
    }
    memcpy(&single, bits + index * sizeof single, sizeof single);
    return single;
}

static void buffer_poison(buffer *b)
{
    for (size_t i = 0; i < b->elements; i++)
        if (b->element_bytes == sizeof poison_16)
            memcpy(b->bits + i * sizeof poison_16, &poison_16, sizeof poison_16);
        else
            memcpy(b->bits + i * sizeof poison_f32, &poison_f32, sizeof poison_f32);
}

/* ---- Tensors ----------------------------------------------------------------------------------------------------- */

static size_t view_count(const rosace_tensor *t) { return t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3]; }

/* The buffer element that holds element `i` of the packed array. */
static size_t view_index(const rosace_tensor *t, size_t i)
{
    ptrdiff_t index = (ptrdiff_t)t->offset;
    for (int axis = 3; axis >= 0; axis--) {
        index += (ptrdiff_t)(i % t->shape[axis]) * t->stride[axis];
        i /= t->shape[axis];
    }
    return (size_t)index;
}

static void view_fill(buffer *b, const rosace_tensor *t, const double *values)
{
    size_t count = view_count(t);
    for (size_t i = 0; i < count; i++)
        if (values)
            bits_put(b->bits, view_index(t, i), t->dtype, values[i]);
        else
            b->written[view_index(t, i)] = true;
}

static rosace_tensor tensor_make(rosace_tensor t, size_t tail, const double *values)
{
    buffer *b = buffer_make(view_index(&t, view_count(&t) - 1) + 1 + tail, rosace_dtype_size(t.dtype));
    buffer_poison(b);
    view_fill(b, &t, values);
    buffer_upload(b);
    t.mem = b->mem;
    return t;
}

const char *harness_layout_name(int layout)
{
    static const char *const names[HARNESS_LAYOUTS] = {"bshd", "bhsd", "sbhd", "qkv", "gaps", "bhsd_gaps"};
    return names[layout];
}

rosace_tensor harness_tensor(int layout, rosace_dtype dtype, size_t batch, size_t seq, size_t heads, size_t head_dim,
                             const double *values)
{
    ptrdiff_t b = (ptrdiff_t)batch, s = (ptrdiff_t)seq, h = (ptrdiff_t)heads, d = (ptrdiff_t)head_dim;
    rosace_tensor t = {.dtype = dtype, .shape = {batch, seq, heads, head_dim}, .stride = {s * h * d, h * d, d, 1}};
    size_t tail = GUARD;
    switch (layout) {
    case HARNESS_BHSD:
        t.offset = GUARD;
        t.stride[0] = h * s * d, t.stride[1] = d, t.stride[2] = s * d;
        break;
    case HARNESS_SBHD:
        t.stride[0] = h * d, t.stride[1] = b * h * d;
        break;
    case HARNESS_QKV:
        t.offset = heads * head_dim;
        t.stride[0] = 3 * s * h * d, t.stride[1] = 3 * h * d;
        tail = heads * head_dim;
        break;
    case HARNESS_GAPS:
        t.offset = ODD_OFFSET;
        t.stride[2] = d + 3, t.stride[1] = h * t.stride[2] + 5, t.stride[0] = s * t.stride[1] + 7;
        break;
    case HARNESS_BHSD_GAPS:
        t.offset = ODD_OFFSET;
        t.stride[1] = d + 1, t.stride[2] = s * t.stride[1] + 9, t.stride[0] = h * t.stride[2] + 3;
        tail = 0;
        break;
    default:
        break;
    }
    return tensor_make(t, tail, values);
}

rosace_tensor harness_flat(rosace_dtype dtype, size_t count, const double *values)
{
    ptrdiff_t n = (ptrdiff_t)count;
    rosace_tensor t = {.dtype = dtype, .offset = ODD_OFFSET, .shape = {1, 1, 1, count}, .stride = {n, n, n, 1}};
    return tensor_make(t, GUARD, values);
}

void harness_packed_qkv(rosace_dtype dtype, size_t batch, size_t seq, size_t heads, size_t kv_heads, size_t head_dim,
                        const double *q, const double *k, const double *v, rosace_tensor out[3])
{
    size_t row = (heads + 2 * kv_heads) * head_dim;
    const size_t first_head[3] = {0, heads, heads + kv_heads}, n_heads[3] = {heads, kv_heads, kv_heads};
    const double *const values[3] = {q, k, v};
    buffer *b = buffer_make(batch * seq * row, rosace_dtype_size(dtype));
    buffer_poison(b);
    for (int i = 0; i < 3; i++) {
        out[i] = (rosace_tensor){.offset = first_head[i] * head_dim,
                                 .dtype = dtype,
                                 .shape = {batch, seq, n_heads[i], head_dim},
                                 .stride = {(ptrdiff_t)(seq * row), (ptrdiff_t)row, (ptrdiff_t)head_dim, 1}};
        view_fill(b, &out[i], values[i]);
    }
    buffer_upload(b);
    for (int i = 0; i < 3; i++)
        out[i].mem = b->mem;
}

cl_mem harness_int32(const int32_t *values, size_t count, size_t *offset)
{
    buffer *b = buffer_make(count + 2 * ODD_OFFSET, sizeof *values);
    for (size_t i = 0; i < b->elements; i++) {
        int32_t value = i >= ODD_OFFSET && i < ODD_OFFSET + count ? values[i - ODD_OFFSET] : INT32_MIN;
        memcpy(b->bits + i * sizeof value, &value, sizeof value);
    }
    buffer_upload(b);
    *offset = ODD_OFFSET;
    return b->mem;
}

double *harness_download(const rosace_tensor *tensor)
{
    const unsigned char *bits = buffer_read(buffer_find(tensor->mem));
    size_t count = view_count(tensor);
    double *values = harness_zeros(count);
    for (size_t i = 0; i < count; i++)
        values[i] = bits_get(bits, view_index(tensor, i), tensor->dtype);
    return values;
}

void harness_writes(const rosace_tensor *tensor) { view_fill(buffer_find(tensor->mem), tensor, NULL); }

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

static void check_bits(const char *file, int line, const buffer *b, bool outputs_too)
{
    const unsigned char *now = buffer_read(b);
    for (size_t i = 0; i < b->elements; i++) {
        size_t at = i * b->element_bytes;
        if ((outputs_too || !b->written[i]) && memcmp(now + at, b->bits + at, b->element_bytes) != 0)
            harness_fail_at(file, line, "element %zu of a buffer of %zu was written, which nothing may write to", i,
                            b->elements);
    }
}

void harness_check_at(const char *file, int line, const char *op, const rosace_tensor *tensor, const double *expected,
                      harness_tolerance tolerance)
{
    harness_writes(tensor);
    harness_check_values_at(file, line, op, tensor->dtype, view_count(tensor), harness_download(tensor), expected,
                            tolerance);
    check_bits(file, line, buffer_find(tensor->mem), false);
}

void harness_check_untouched_at(const char *file, int line, const rosace_tensor *tensor)
{
    check_bits(file, line, buffer_find(tensor->mem), true);
}

void harness_expect_status_at(const char *file, int line, const char *call, rosace_status got, rosace_status expected,
                              const char *substring)
{
    const char *text = rosace_last_error();
    if (got != expected)
        harness_fail_at(file, line, "%s\n    gave %s, expected %s: %s", call, rosace_status_name(got),
                        rosace_status_name(expected), got ? text : "-");
    if (expected && (!*text || (substring && !strstr(text, substring))))
        harness_fail_at(file, line, "%s\n    says \"%s\", expected \"%s\" in it", call, text, substring ? substring : "something");
}

void harness_nothing_enqueued_at(const char *file, int line, cl_event event, const rosace_tensor *output)
{
    if (event != harness_untouched_event)
        harness_fail_at(file, line, "a call that was refused wrote to its event");
    if (device.queue)
        clFinish(device.queue);
    if (output)
        check_bits(file, line, buffer_find(output->mem), true);
}
