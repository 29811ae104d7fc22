/* SPDX-License-Identifier: MIT
 * Masks as intervals against the definition in mask.h, for every shape up to 40 x 40 and every kind of mask. */
#include "harness.h"

#include <rosace/mask.h>

#include <stdio.h>
#include <string.h>

/* mask.h, word for word. */
static bool visible(const rosace_mask *mask, int64_t q_offset, int64_t seq_k, int64_t m, int64_t n)
{
    const int64_t i = m + q_offset;
    if (n < 0 || n >= seq_k) return false;
    if (n < mask->prefix) return true;
    bool before = true, after = true;
    if (mask->causal && n > i) after = false;
    if (mask->window_right >= 0 && n > i + mask->window_right) after = false;
    if (mask->window_left >= 0 && n < i - mask->window_left) before = false;
    if (mask->chunk > 0) {
        int64_t first = 0; /* of i's own chunk */
        while (first > i) first -= mask->chunk;
        while (first + mask->chunk <= i) first += mask->chunk;
        if (n >= first + mask->chunk) after = false;
        if (n < first - mask->chunk * mask->chunk_back) before = false;
    }
    return after && (before || n < mask->sinks);
}

static bool in(rosace_interval a, int64_t n) { return n >= a.begin && n < a.end; }
static bool some(rosace_interval a) { return a.begin < a.end; }

enum { MAX_SEQ = 40 };

typedef struct picture {
    int64_t seq_q, seq_k;
    bool sees[MAX_SEQ][MAX_SEQ];
} picture;

static void describe(const rosace_mask *mask, int64_t q_offset, const picture *p)
{
    harness_case("seq_q %d seq_k %d offset %d causal %d left %d right %d sinks %d prefix %d chunk %d back %d",
                 (int)p->seq_q, (int)p->seq_k, (int)q_offset, mask->causal, (int)mask->window_left,
                 (int)mask->window_right, (int)mask->sinks, (int)mask->prefix, (int)mask->chunk, (int)mask->chunk_back);
}

#define REQUIRE(condition, ...)                                                                                        \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            describe(mask, q_offset, p);                                                                               \
            harness_fail_at(__FILE__, __LINE__, __VA_ARGS__);                                                          \
        }                                                                                                              \
    } while (0)

static int64_t rows_checked, tiles_checked;

static void check_rows(const rosace_mask *mask, int64_t q_offset, const picture *p)
{
    int64_t pairs = 0;
    for (int64_t m = 0; m < p->seq_q; m++) {
        rosace_interval head, band;
        rosace_mask_row(mask, q_offset, p->seq_k, m, &head, &band);
        REQUIRE(!some(head) || !some(band) || head.end <= band.begin, "row %d: head and band meet", (int)m);
        for (int64_t n = 0; n < p->seq_k; n++) {
            pairs += p->sees[m][n];
            REQUIRE((in(head, n) || in(band, n)) == p->sees[m][n], "row %d key %d: visible %d, head [%d,%d) band [%d,%d)",
                    (int)m, (int)n, p->sees[m][n], (int)head.begin, (int)head.end, (int)band.begin, (int)band.end);
        }
        REQUIRE(!some(head) || (head.begin >= 0 && head.end <= p->seq_k), "row %d: head leaves the keys", (int)m);
        REQUIRE(!some(band) || (band.begin >= 0 && band.end <= p->seq_k), "row %d: band leaves the keys", (int)m);
        rows_checked++;
    }
    REQUIRE(rosace_mask_pairs(mask, q_offset, p->seq_q, p->seq_k) == pairs, "pairs %d, must be %d",
            (int)rosace_mask_pairs(mask, q_offset, p->seq_q, p->seq_k), (int)pairs);
}

static void check_tile(const rosace_mask *mask, int64_t q_offset, const picture *p, int64_t begin, int64_t end)
{
    rosace_mask_tile t;
    rosace_mask_tile_intervals(mask, q_offset, p->seq_k, begin, end, &t);
    bool any[MAX_SEQ] = {false}, all[MAX_SEQ];
    memset(all, true, sizeof all);
    for (int64_t m = begin; m < end; m++)
        for (int64_t n = 0; n < p->seq_k; n++) {
            any[n] |= p->sees[m][n];
            all[n] &= p->sees[m][n];
        }
    const rosace_interval visit[2] = {t.head, t.band}, full[2] = {t.head_full, t.band_full};
    for (int64_t n = 0; n < p->seq_k; n++) {
        REQUIRE(!any[n] || in(t.head, n) || in(t.band, n), "rows %d..%d: key %d is visible, not visited", (int)begin,
                (int)end - 1, (int)n);
        REQUIRE(all[n] || !(in(t.head_full, n) || in(t.band_full, n)), "rows %d..%d: key %d is not visible to all",
                (int)begin, (int)end - 1, (int)n);
    }
    REQUIRE(!some(t.head) || !some(t.band) || t.head.end <= t.band.begin, "rows %d..%d: head and band meet", (int)begin,
            (int)end - 1);
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "band" : "head";
        if (some(visit[i])) {
            REQUIRE(visit[i].begin >= 0 && visit[i].end <= p->seq_k, "rows %d..%d: %s leaves the keys", (int)begin,
                    (int)end - 1, name);
            REQUIRE(any[visit[i].begin] && any[visit[i].end - 1], "rows %d..%d: %s [%d,%d) is not tight", (int)begin,
                    (int)end - 1, name, (int)visit[i].begin, (int)visit[i].end);
        }
        REQUIRE(!some(full[i]) || (full[i].begin >= visit[i].begin && full[i].end <= visit[i].end),
                "rows %d..%d: %s_full leaves %s", (int)begin, (int)end - 1, name, name);
    }
    tiles_checked++;
}

static void check_mask(const rosace_mask *mask, int64_t q_offset, picture *p)
{
    static const int tile_rows[] = {1, 3, 8, 16, 32};
    for (int64_t m = 0; m < p->seq_q; m++)
        for (int64_t n = 0; n < p->seq_k; n++) p->sees[m][n] = visible(mask, q_offset, p->seq_k, m, n);
    check_rows(mask, q_offset, p);
    for (size_t t = 0; t < sizeof tile_rows / sizeof tile_rows[0]; t++)
        for (int64_t begin = 0; begin < p->seq_q; begin += tile_rows[t])
            check_tile(mask, q_offset, p, begin, begin + tile_rows[t] < p->seq_q ? begin + tile_rows[t] : p->seq_q);
}

static void check_shape(int64_t seq_q, int64_t seq_k, int64_t q_offset, bool fine)
{
    static const int64_t coarse_window[] = {-1, 0, 1, 5, 17, 60}, fine_window[] = {-1, 0, 1, 2, 3, 4, 7, 8, 9, 16, 31, 39, 50};
    static const int64_t heads[] = {0, 1, 4, 13, 64}, chunks[] = {0, 1, 5, 8, 50}, backs[] = {0, 1, 3};
    const int64_t *window = fine ? fine_window : coarse_window;
    const size_t n_windows = fine ? sizeof fine_window / sizeof *window : sizeof coarse_window / sizeof *window;
    static picture p;
    p.seq_q = seq_q;
    p.seq_k = seq_k;
    for (int causal = 0; causal < 2; causal++)
        for (size_t l = 0; l < n_windows; l++)
            for (size_t r = 0; r < n_windows; r++)
                for (size_t s = 0; s < 5; s++)
                    for (size_t x = 0; x < 5; x++)
                        for (size_t c = 0; c < 5; c++)
                            for (size_t b = 0; b < (chunks[c] ? 3u : 1u); b++) {
                                if (fine && ((s && x) || (c > 1 && b))) continue;
                                const rosace_mask mask = {causal, window[l], window[r], heads[s], heads[x], chunks[c], backs[b]};
                                check_mask(&mask, q_offset, &p);
                            }
}

/* Windows and lengths of every size up to 40, plain masks with and without sinks. */
START_TEST(every_length_and_window)
{
    static picture p;
    for (int64_t seq_q = 1; seq_q <= MAX_SEQ; seq_q += seq_q < 10 ? 1 : 3)
        for (int64_t seq_k = 1; seq_k <= MAX_SEQ; seq_k += seq_k < 10 ? 1 : 3) {
            p.seq_q = seq_q;
            p.seq_k = seq_k;
            for (int64_t left = -1; left <= MAX_SEQ + 1; left++)
                for (int64_t sinks = 0; sinks <= 6; sinks += 3) {
                    const rosace_mask mask = {.causal = true, .window_left = left, .window_right = -1, .sinks = sinks};
                    check_mask(&mask, seq_k - seq_q, &p);
                }
        }
}
END_TEST

/* Every combination of every field, on lengths that are equal, longer on either side, and offsets off the default. */
START_TEST(every_combination)
{
    static const struct {
        int64_t seq_q, seq_k;
    } shapes[] = {{1, 1}, {1, 40}, {40, 1}, {9, 9}, {33, 33}, {7, 40}, {40, 23}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        check_shape(shapes[s].seq_q, shapes[s].seq_k, shapes[s].seq_k - shapes[s].seq_q, false);
    check_shape(20, 30, 0, false);
    check_shape(20, 30, 25, false);
    check_shape(20, 30, 100, false);
    check_shape(30, 20, -40, false);
    check_shape(40, 40, 0, true);
}
END_TEST

START_TEST(counts_what_was_checked)
{
    printf("mask: %lld rows, %lld tiles against the definition\n", (long long)rows_checked, (long long)tiles_checked);
    ck_assert_int_ge(rows_checked, 1000000);
}
END_TEST

START_TEST(large_sizes_do_not_overflow)
{
    const int64_t big = ((int64_t)1 << 30) - 1;
    const rosace_mask mask = {true, big, big, big, 0, big, big};
    rosace_interval head, band;
    rosace_mask_row(&mask, big, big + 1, big, &head, &band);
    ck_assert_int_eq(head.end - head.begin + band.end - band.begin, big + 1);
    const rosace_mask window = {.causal = true, .window_left = 511, .window_right = -1};
    ck_assert_int_eq(rosace_mask_pairs(&window, 0, 1 << 20, 1 << 20), (int64_t)512 * (1 << 20) - 512 * 511 / 2);
}
END_TEST

START_TEST(refuses_fields_out_of_range)
{
    const rosace_mask good = ROSACE_MASK_DEFAULT;
    const int64_t limit = (int64_t)1 << 30;
    harness_ok(rosace_mask_check(&good));
    harness_expect_status(rosace_mask_check(NULL), ROSACE_INVALID_ARGUMENT, "mask");
#define REFUSES(field, number)                                                                                         \
    do {                                                                                                               \
        rosace_mask bad = good;                                                                                        \
        bad.field = (number);                                                                                          \
        harness_expect_status(rosace_mask_check(&bad), ROSACE_INVALID_ARGUMENT, #field);                               \
    } while (0)
    REFUSES(window_left, -2);
    REFUSES(window_left, limit);
    REFUSES(window_right, -2);
    REFUSES(window_right, limit);
    REFUSES(sinks, -1);
    REFUSES(sinks, limit);
    REFUSES(prefix, -1);
    REFUSES(prefix, limit);
    REFUSES(chunk, -1);
    REFUSES(chunk, limit);
    REFUSES(chunk_back, 1);
    REFUSES(chunk_back, -1);
#undef REFUSES
}
END_TEST

HARNESS_HOST_SUITE("mask", every_length_and_window, every_combination, counts_what_was_checked,
                   large_sizes_do_not_overflow, refuses_fields_out_of_range)
