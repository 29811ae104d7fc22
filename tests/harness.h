/* SPDX-License-Identifier: MIT
 *
 * What every suite of tests stands on. A suite is one file: tests written with Check's START_TEST / END_TEST, and one
 * line at the end that lists them:
 *
 *     START_TEST(rotates_what_the_reference_rotates)
 *     {
 *         for (int layout = 0; layout < HARNESS_LAYOUTS; layout++) {
 *             harness_case("layout %s", harness_layout_name(layout));
 *             double *x = harness_random(2 * 5 * 3 * 64, ROSACE_F16);
 *             rosace_tensor q = harness_tensor(layout, ROSACE_F16, 2, 5, 3, 64, x);
 *             harness_ok(rosace_rope(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
 *             ref_rope(&desc, 2, 5, 3, positions, x);
 *             harness_check("rope", &q, x, (harness_tolerance){.absolute = 3e-7});
 *         }
 *     }
 *     END_TEST
 *
 *     HARNESS_DEVICE_SUITE("rope", rotates_what_the_reference_rotates, ...)
 *
 * Nothing is to be freed: arrays, buffers and events that come from here live until their test ends. Tests run in one
 * process (CK_NOFORK), because OpenCL state made before a fork is unsafe on several drivers; all share one rosace
 * context on the device that rosace_select_device("auto") finds, which ROSACE_DEVICE and tests/on decide.
 *
 * Environment: ROSACE_TEST_SEED=N (default 1) moves every random number; ROSACE_TEST_SMALL=1 asks for small shapes;
 * ROSACE_TEST_VERBOSE=1 shows the library's log and each case; CK_RUN_CASE / CK_RUN_SUITE are Check's own.
 */
#ifndef ROSACE_TESTS_HARNESS_H
#define ROSACE_TESTS_HARNESS_H

#include <check.h>
#include <rosace/rosace.h>
#include <setjmp.h>

#if defined(__GNUC__)
#define HARNESS_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define HARNESS_PRINTF(f, a)
#endif

/* ---- Suites ------------------------------------------------------------------------------------------------------ */

/* main() of a suite that needs a device, and of one that needs none. Exit status: 0 all passed, 1 some failed, 77 there
 * is no device, or every test skipped itself. */
#define HARNESS_DEVICE_SUITE(name, ...) HARNESS_SUITE_(name, &harness_device, __VA_ARGS__)
#define HARNESS_HOST_SUITE(name, ...) HARNESS_SUITE_(name, NULL, __VA_ARGS__)

/* Says why and leaves the test. For what this device cannot do, never for what is not written yet. */
#define harness_skip(...)                                                                                              \
    do {                                                                                                               \
        harness_note_skip(__VA_ARGS__);                                                                                \
        return;                                                                                                        \
    } while (0)

/* Names the case under way (shape, options), for the report of a failure. */
void harness_case(const char *format, ...) HARNESS_PRINTF(1, 2);

/* True where shapes must stay small: on a simulator some thousand times slower than a device. */
bool harness_small(void);

/* ---- The device (device suites only) ----------------------------------------------------------------------------- */

rosace_context *harness_context(void);
cl_command_queue harness_queue(void); /* in order; made with the context */
cl_command_queue harness_queue_out_of_order(void); /* NULL where the device has none */
const rosace_device_info *harness_device_info(void);

/* ---- Numbers ----------------------------------------------------------------------------------------------------- */

/* Memory of the test, zeroed. */
void *harness_alloc(size_t count, size_t size);
double *harness_zeros(size_t count);
double *harness_copy(const double *values, size_t count);

/* Starts afresh at each test, so a test gives the same numbers alone and among others. splitmix64 (Steele, Lea & Flood
 * 2014, "Fast splittable pseudorandom number generators"). */
uint64_t harness_random_bits(void);
double harness_random_real(double low, double high);        /* uniform, [low, high) */
int64_t harness_random_integer(int64_t low, int64_t high);  /* uniform, both ends included */

/* `count` numbers, uniform in [-1, 1) or [low, high), rounded to the data type: what a kernel reads and what the reference
 * reads are the same numbers. */
double *harness_random(size_t count, rosace_dtype dtype);
double *harness_random_range(size_t count, rosace_dtype dtype, double low, double high);

/* Where a data type is asked for: results of the host, in double. */
#define HARNESS_F64 ((rosace_dtype)64)

/* To the nearest number of the data type, ties to even; overflow gives infinity. */
double harness_round(double x, rosace_dtype dtype);
uint16_t harness_half_from_double(double x);
double harness_double_from_half(uint16_t half);
uint16_t harness_bf16_from_double(double x);
double harness_double_from_bf16(uint16_t bits);

/* The distance of neighbouring numbers of the data type at |x| (at the smallest normal number for less). */
double harness_ulp(double x, rosace_dtype dtype);

/* ---- Tensors on the device --------------------------------------------------------------------------------------- */

/* Ways to lay [batch, seq, head, head_dim] into a buffer. All are valid for every operation that takes tensor views. */
typedef enum harness_layout {
    HARNESS_BSHD = 0,  /* packed, from the start of the buffer; spare elements behind */
    HARNESS_BHSD,      /* packed, heads outside the sequence, behind an aligned offset */
    HARNESS_SBHD,      /* packed, sequence outermost */
    HARNESS_QKV,       /* the middle slice of a packed [batch, seq, 3, head, head_dim] */
    HARNESS_GAPS,      /* batch, seq, head with odd gaps everywhere, behind an odd offset */
    HARNESS_BHSD_GAPS, /* batch, head, seq with odd gaps; the buffer ends with the last element */
    HARNESS_LAYOUTS
} harness_layout;
const char *harness_layout_name(int layout);

/* A tensor in a buffer of its own. `values` (packed, as the reference has them) are rounded to dtype and uploaded; NULL is
 * for outputs. Every element of the buffer that the view does not hold, and the view itself without values, holds a NaN
 * pattern: what is read from there by mistake shows, and what is written there by mistake is found by harness_check. */
rosace_tensor harness_tensor(int layout, rosace_dtype dtype, size_t batch, size_t seq, size_t heads, size_t head_dim,
                             const double *values);
/* The same for flat arrays (lse, slopes, weights): packed, shape [1, 1, 1, count], behind an offset. */
rosace_tensor harness_flat(rosace_dtype dtype, size_t count, const double *values);
/* Views of one buffer [batch, seq, heads + 2*kv_heads, head_dim], q then k then v. */
void harness_packed_qkv(rosace_dtype dtype, size_t batch, size_t seq, size_t heads, size_t kv_heads, size_t head_dim,
                        const double *q, const double *k, const double *v, rosace_tensor out[3]);
/* int32 numbers behind an offset (in elements). The gaps hold INT32_MIN. */
cl_mem harness_int32(const int32_t *values, size_t count, size_t *offset);

/* What the view holds now, packed. Waits for the harness's queue only: finish any other first. */
double *harness_download(const rosace_tensor *tensor);

/* Says that a view will be written. Views made without values and the view given to harness_check count as written
 * anyway; it is needed only where one call writes several views of one buffer (packed QKV). */
void harness_writes(const rosace_tensor *tensor);

/* ---- Checks. Each ends the test when it fails, and reports case, seed and device. -------------------------------- */

/* What an element may be off: absolute + relative * |expected| + allowed[i], plus what storing the result in the tensor's
 * data type costs (half a unit in the last place) and the smallest normal fp32 number (devices may flush to zero). */
typedef struct harness_tolerance {
    double absolute, relative;
    const double *allowed; /* per element, packed (default NULL) */
    bool mostly_zero;      /* zeros are what is expected: without this, results that are nearly all zero fail as weak
                              evidence (default false) */
} harness_tolerance;

/* Downloads the tensor and compares it with `expected` (packed) element by element; infinities and NaNs must be in the
 * same places. Every other element of the buffer must be bit for bit what it was. Adds to the table of errors that is
 * printed when the suite ends, under `op` and the data type. */
#define harness_check(op, tensor, expected, ...)                                                                       \
    harness_check_at(__FILE__, __LINE__, (op), (tensor), (expected), (__VA_ARGS__))

/* The whole buffer is bit for bit what it was when it was made, outputs included. */
#define harness_check_untouched(tensor) harness_check_untouched_at(__FILE__, __LINE__, (tensor))

/* The same comparison between host arrays, for suites without a device. */
#define harness_check_values(op, dtype, count, got, expected, ...)                                                     \
    harness_check_values_at(__FILE__, __LINE__, (op), (dtype), (count), (got), (expected), (__VA_ARGS__))

/* The call succeeds; else the test fails with its status and rosace_last_error(). */
#define harness_ok(call) harness_expect_status_at(__FILE__, __LINE__, #call, (call), ROSACE_OK, NULL)

/* The call gives this status, and the line it left for people has `substring` in it (NULL: any line that is not empty). */
#define harness_expect_status(call, expected, substring)                                                               \
    harness_expect_status_at(__FILE__, __LINE__, #call, (call), (expected), (substring))

/* The call is refused before anything is enqueued. `event` is what the call gets as its event argument; it must leave it
 * alone. `output` (NULL: none) is a tensor that must keep its bits.
 *     harness_refused(rosace_rope(context, queue, &desc, &args, 0, NULL, event), event, &q, ROSACE_INVALID_ARGUMENT, "theta") */
#define harness_refused(call, event, output, expected, substring)                                                      \
    do {                                                                                                               \
        cl_event harness_event_ = harness_untouched_event, *event = &harness_event_;                                   \
        (void)event;                                                                                                   \
        harness_expect_status_at(__FILE__, __LINE__, #call, (call), (expected), (substring));                          \
        harness_nothing_enqueued_at(__FILE__, __LINE__, harness_event_, (output));                                     \
    } while (0)

/* The statement makes one of the checks above fail, with `substring` in its report: for the harness's tests of itself. */
#define harness_must_fail(substring, statement)                                                                        \
    do {                                                                                                               \
        jmp_buf harness_trap_;                                                                                         \
        if (setjmp(harness_trap_) == 0) {                                                                              \
            harness_trap(&harness_trap_);                                                                              \
            statement;                                                                                                 \
            harness_trap(NULL);                                                                                        \
            ck_abort_msg("passed, but must fail: %s", #statement);                                                     \
        }                                                                                                              \
        harness_trapped_at(__FILE__, __LINE__, (substring));                                                           \
    } while (0)

/* ---- Behind the macros ------------------------------------------------------------------------------------------- */

typedef struct harness_fixture {
    int (*open)(const char *suite); /* 0, or the exit status to end with */
    void (*close)(void);
    void (*test_ends)(void); /* frees what the test made */
    const char *(*where)(void); /* the device in words */
} harness_fixture;
extern const harness_fixture harness_device;
extern const cl_event harness_untouched_event; /* a value no driver returns; never to be used as an event */

#define HARNESS_SUITE_(name, fixture, ...)                                                                             \
    int main(void)                                                                                                     \
    {                                                                                                                  \
        const TTest *harness_tests[] = {__VA_ARGS__};                                                                  \
        return harness_run((name), (fixture), harness_tests, sizeof harness_tests / sizeof *harness_tests);            \
    }
int harness_run(const char *name, const harness_fixture *fixture, const TTest *const *tests, size_t count);

void harness_note_skip(const char *format, ...) HARNESS_PRINTF(1, 2);
void harness_trap(jmp_buf *where); /* the next failed check comes out there; NULL: ends its test */
void harness_trapped_at(const char *file, int line, const char *substring);
void harness_fail_at(const char *file, int line, const char *format, ...) HARNESS_PRINTF(3, 4);
void harness_check_at(const char *file, int line, const char *op, const rosace_tensor *tensor, const double *expected,
                      harness_tolerance tolerance);
void harness_check_untouched_at(const char *file, int line, const rosace_tensor *tensor);
void harness_check_values_at(const char *file, int line, const char *op, rosace_dtype dtype, size_t count,
                             const double *got, const double *expected, harness_tolerance tolerance);
void harness_expect_status_at(const char *file, int line, const char *call, rosace_status got, rosace_status expected,
                              const char *substring);
void harness_nothing_enqueued_at(const char *file, int line, cl_event event, const rosace_tensor *output);

#endif
