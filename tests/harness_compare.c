/* SPDX-License-Identifier: MIT
 * Comparing numbers with what is expected. */
#include <float.h>
#include <math.h>

#include "harness_record.h"

/* A result whose elements are all but a few zero proves little: a kernel that writes nothing useful may pass too. */
static const double weak_share = 0.02;

void harness_check_values_at(const char *file, int line, const char *op, rosace_dtype dtype, size_t count,
                             const double *got, const double *expected, harness_tolerance tolerance)
{
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        if (isfinite(expected[i]))
            largest = fmax(largest, fabs(expected[i]));

    double worst = 0, worst_ulp = 0, worst_share = 0, bad_allowed = 0;
    size_t bad = count, n_bad = 0, n_not_zero = 0;
    for (size_t i = 0; i < count; i++) {
        n_not_zero += got[i] != 0;
        double allowed = tolerance.absolute + tolerance.relative * fabs(expected[i]) +
                         (tolerance.allowed ? tolerance.allowed[i] : 0) + harness_ulp(expected[i], dtype) / 2 + FLT_MIN;
        bool same_kind = isnan(got[i]) == isnan(expected[i]) &&
                         (isinf(got[i]) || isinf(expected[i]) ? got[i] == expected[i] : true);
        double error = fabs(got[i] - expected[i]);
        if (!same_kind || error > allowed) {
            if (!n_bad++) {
                bad = i;
                bad_allowed = allowed;
            }
        }
        if (!isfinite(got[i]) || !isfinite(expected[i]))
            continue;
        worst = fmax(worst, error);
        worst_share = fmax(worst_share, error / allowed);
        /* Units in the last place say nothing where large terms cancel to almost nothing. */
        if (fabs(expected[i]) >= largest / 256)
            worst_ulp = fmax(worst_ulp, error / harness_ulp(expected[i], dtype));
    }
    if (n_bad)
        harness_fail_at(file, line,
                        "%s %s: %zu of %zu values are wrong, the first at %zu: got %.9g, expected %.9g, allowed error %.3g; "
                        "worst error %.3g (%.1f ulp)",
                        op, harness_dtype_name(dtype), n_bad, count, bad, got[bad], expected[bad], bad_allowed,
                        worst, worst_ulp);
    if (!tolerance.mostly_zero && (double)n_not_zero < weak_share * (double)count)
        harness_fail_at(file, line, "%s: weak evidence, only %zu of %zu values are not zero", op, n_not_zero, count);
    harness_record(op, dtype, count, worst, worst_ulp, worst_share);
}
