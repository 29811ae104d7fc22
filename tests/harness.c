/* SPDX-License-Identifier: MIT
 * Running a suite, its memory, its random numbers, and the table of errors at its end. */
#include "harness.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness_record.h"

enum { MAX_RECORDS = 64, NAME_BYTES = 48 };

typedef struct block {
    struct block *next;
    max_align_t memory[];
} block;

typedef struct record {
    char op[NAME_BYTES];
    rosace_dtype dtype;
    size_t values;
    double absolute, ulp, share; /* the worst seen; share: of what was allowed */
} record;

/* Check's tests take no argument, so what they share is here. */
static struct {
    const char *suite;
    const harness_fixture *fixture;
    uint64_t seed, random;
    block *blocks;
    char case_name[512];
    size_t skipped;
    record records[MAX_RECORDS];
    size_t n_records;
    jmp_buf *trap;
    char failure[1024];
} state;

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

void *harness_alloc(size_t count, size_t size)
{
    size_t bytes = count * size;
    block *b = size && bytes / size != count ? NULL : calloc(1, sizeof(block) + bytes + (bytes == 0));
    if (!b)
        ck_abort_msg("no memory for %zu elements of %zu bytes", count, size);
    b->next = state.blocks;
    state.blocks = b;
    return b->memory;
}

double *harness_zeros(size_t count) { return harness_alloc(count, sizeof(double)); }

double *harness_copy(const double *values, size_t count)
{
    double *copy = harness_zeros(count);
    memcpy(copy, values, count * sizeof *copy);
    return copy;
}

/* ---- Random numbers ---------------------------------------------------------------------------------------------- */

uint64_t harness_random_bits(void)
{
    uint64_t z = state.random += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double harness_random_real(double low, double high)
{
    return low + (high - low) * ldexp((double)(harness_random_bits() >> 11), -53);
}

int64_t harness_random_integer(int64_t low, int64_t high)
{
    /* The remainder favours small numbers by less than range / 2^64, which no test can see. */
    return low + (int64_t)(harness_random_bits() % ((uint64_t)(high - low) + 1));
}

double *harness_random_range(size_t count, rosace_dtype dtype, double low, double high)
{
    double *values = harness_zeros(count);
    for (size_t i = 0; i < count; i++)
        values[i] = harness_round(harness_random_real(low, high), dtype);
    return values;
}

double *harness_random(size_t count, rosace_dtype dtype) { return harness_random_range(count, dtype, -1, 1); }

/* ---- Data types -------------------------------------------------------------------------------------------------- */

uint16_t harness_half_from_double(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x))
        return sign | 0x7E00;
    if (isinf(x))
        return sign | 0x7C00;
    int exponent; /* |x| = f * 2^exponent, f in [1/2, 1) */
    frexp(x, &exponent);
    if (x == 0 || exponent < -24)
        return sign; /* below half the smallest subnormal number, 2^-24 */
    if (exponent > 16)
        return sign | 0x7C00;
    /* 11 bits for normal numbers, fewer below 2^-14. A carry out of the fraction runs into the exponent by itself. */
    int unit = exponent - 11 > -24 ? exponent - 11 : -24;
    unsigned fraction = (unsigned)nearbyint(ldexp(fabs(x), -unit));
    return sign | (uint16_t)(fraction + ((unsigned)(unit + 24) << 10));
}

double harness_double_from_half(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    double x = exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
               : exponent     ? ldexp(fraction + 1024, exponent - 25)
                              : ldexp(fraction, -24);
    return half & 0x8000 ? -x : x;
}

uint16_t harness_bf16_from_double(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    if (isnan(x))
        return sign | 0x7FC0;
    if (isinf(x) || x == 0)
        return sign | (x == 0 ? 0 : 0x7F80);
    int exponent; /* |x| = f * 2^exponent, f in [1/2, 1) */
    frexp(x, &exponent);
    /* 8 bits for normal numbers, fewer below 2^-126; as above. */
    int unit = exponent - 8 > -133 ? exponent - 8 : -133;
    double fraction = nearbyint(ldexp(fabs(x), -unit));
    return exponent > 128 || ldexp(fraction, unit) >= 0x1p128 ? sign | 0x7F80
                                                              : sign | (uint16_t)((unsigned)fraction + ((unsigned)(unit + 133) << 7));
}

double harness_double_from_bf16(uint16_t bits)
{
    int exponent = bits >> 7 & 255, fraction = bits & 127;
    double x = exponent == 255 ? (fraction ? (double)NAN : (double)INFINITY)
               : exponent      ? ldexp(fraction + 128, exponent - 134)
                               : ldexp(fraction, -133);
    return bits & 0x8000 ? -x : x;
}

double harness_round(double x, rosace_dtype dtype)
{
    return dtype == ROSACE_F16    ? harness_double_from_half(harness_half_from_double(x))
           : dtype == ROSACE_BF16 ? harness_double_from_bf16(harness_bf16_from_double(x))
           : dtype == ROSACE_F32  ? (double)(float)x
                                  : x;
}

double harness_ulp(double x, rosace_dtype dtype)
{
    int digits = dtype == ROSACE_F16 ? 11 : dtype == ROSACE_BF16 ? 8 : dtype == ROSACE_F32 ? FLT_MANT_DIG : DBL_MANT_DIG;
    int lowest = dtype == ROSACE_F16 ? -13 : dtype == ROSACE_F32 || dtype == ROSACE_BF16 ? FLT_MIN_EXP : DBL_MIN_EXP, exponent;
    frexp(x, &exponent);
    return ldexp(1, (x == 0 || exponent < lowest ? lowest : exponent) - digits);
}

const char *harness_dtype_name(rosace_dtype dtype)
{
    return dtype == HARNESS_F64 ? "f64" : rosace_dtype_name(dtype);
}

/* ---- Reports ----------------------------------------------------------------------------------------------------- */

void harness_case(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(state.case_name, sizeof state.case_name, format, args);
    va_end(args);
    if (getenv("ROSACE_TEST_VERBOSE"))
        printf("case %s\n", state.case_name);
}

bool harness_small(void)
{
    const char *small = getenv("ROSACE_TEST_SMALL");
    return small && *small && strcmp(small, "0") != 0;
}

void harness_note_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("SKIP %s/%s: ", state.suite, tcase_name());
    vprintf(format, args);
    va_end(args);
    puts("");
    state.skipped++;
}

void harness_fail_at(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(state.failure, sizeof state.failure, format, args);
    va_end(args);
    jmp_buf *trap = state.trap;
    state.trap = NULL;
    if (trap)
        longjmp(*trap, 1);
    _ck_assert_failed(file, line, "Failed", "%s\n    case: %s\n    seed: ROSACE_TEST_SEED=%llu\n    device: %s", state.failure,
                      *state.case_name ? state.case_name : "-", (unsigned long long)state.seed,
                      state.fixture ? state.fixture->where() : "none needed");
    abort(); /* not reached; tells readers and compilers that a failed check does not return */
}

void harness_trap(jmp_buf *where) { state.trap = where; }

void harness_trapped_at(const char *file, int line, const char *substring)
{
    if (!strstr(state.failure, substring))
        harness_fail_at(file, line, "failed otherwise than with \"%s\"", substring);
}

void harness_record(const char *op, rosace_dtype dtype, size_t values, double absolute, double ulp, double share)
{
    size_t i = 0;
    while (i < state.n_records && (state.records[i].dtype != dtype || strcmp(state.records[i].op, op) != 0))
        i++;
    if (i == MAX_RECORDS)
        ck_abort_msg("more than %d kinds of results in one suite", MAX_RECORDS);
    record *r = &state.records[i];
    if (i == state.n_records) {
        snprintf(r->op, sizeof r->op, "%s", op);
        r->dtype = dtype;
        state.n_records++;
    }
    r->values += values;
    r->absolute = fmax(r->absolute, absolute);
    r->ulp = fmax(r->ulp, ulp);
    r->share = fmax(r->share, share);
}

static void print_records(void)
{
    if (!state.n_records || !state.fixture)
        return;
    printf("%-28s %-5s %12s %12s %10s %10s  %s\n", "errors seen in", "dtype", "values", "max abs", "max ulp", "of allowed",
           "device");
    for (size_t i = 0; i < state.n_records; i++) {
        const record *r = &state.records[i];
        printf("%-28s %-5s %12zu %12.3e %10.2f %9.0f%%  %s\n", r->op, harness_dtype_name(r->dtype), r->values,
               r->absolute, r->ulp, 100 * r->share, state.fixture->where());
    }
}

/* ---- Suites ------------------------------------------------------------------------------------------------------ */

static void test_begins(void)
{
    state.random = state.seed;
    state.trap = NULL;
    *state.case_name = 0;
}

static void test_ends(void)
{
    if (state.fixture)
        state.fixture->test_ends();
    for (block *b = state.blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    state.blocks = NULL;
}

int harness_run(const char *name, const harness_fixture *fixture, const TTest *const *tests, size_t count)
{
    const char *seed = getenv("ROSACE_TEST_SEED");
    state.suite = name;
    state.fixture = fixture;
    state.seed = seed && *seed ? strtoull(seed, NULL, 0) : 1;
    int status = fixture ? fixture->open(name) : 0;
    if (status)
        return status;

    Suite *suite = suite_create(name);
    for (size_t i = 0; i < count; i++) {
        /* A case of its own gives each test the name that CK_RUN_CASE takes. */
        TCase *one = tcase_create(tests[i]->name);
        tcase_set_timeout(one, 0); /* Meson's test timeout is the one that counts */
        tcase_add_checked_fixture(one, test_begins, test_ends);
        tcase_add_test(one, tests[i]);
        suite_add_tcase(suite, one);
    }
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner), run = srunner_ntests_run(runner);
    srunner_free(runner);
    print_records();
    if (fixture)
        fixture->close();
    if (failed)
        return EXIT_FAILURE;
    return run > 0 && state.skipped == (size_t)run ? 77 : EXIT_SUCCESS;
}
