/* qmat_avx512_groups.h - the AVX-512 products with types that have super-blocks.
 * SPDX-License-Identifier: Apache-2.0
 *
 * See qmat_avx512.h. A super-block of 256 is two groups of 128, a group four blocks of 32; all that
 * happens inside a group is integer, so every kernel sums in the order that suits it.
 *
 * Rows: S stands as [4 blocks][4 rows], is multiplied with its scales there, and four such (of
 * tokens, or of a super-block's groups) are added up over their blocks together; one vcvtdq2ps,
 * vmulps and vfmadd serve them all. Where scales are for 16, there are two such sums.
 * Panels: per group and tile 384 vpdpbusd; a multiplication a block (two where scales are for 16,
 * none where they were multiplied into the weights) for each of 12 registers, 24 float ones a group
 * (48 and 24 vpdpwssd with a minimum). So 0.84 (Q3_K: 0.94, Q4_K: 0.76, Q6_K: 0.76) of the vpdpbusd
 * peak is what the contract allows.
 */
#ifndef SPN_QMAT_AVX512_GROUPS_H
#define SPN_QMAT_AVX512_GROUPS_H

#include "compute/qmat_avx512.h"

/* What the small scales of a type are for. */
typedef enum groups_scale { GROUPS_SCALE_NONE, GROUPS_SCALE_32, GROUPS_SCALE_16 } groups_scale;

/* ---- rows ---- */

/* Four rows' group. */
typedef struct groups_group {
    __m512i a[4], b[4]; /* [row]: unsigned weights, in order a and b */
    __m512 d, n;        /* [4 times the same][row] D and N */
    __m512i s;          /* SCALE_32: [block][row] */
    __m512i sa, sb;     /* SCALE_16: [block][row] of the sub-blocks that a and b hold */
    __m512i minima;     /* SCALE_16: [block][row] int16 minima of the block's two sub-blocks;
                           SCALE_32: of the super-block, from half 0, [row][8 blocks] int16 */
} groups_group;

/* The numbers of one token's activations of a group, [block]. Without a minimum -offset * sum of
 * the block or, for SCALE_16, of the sub-blocks in a and in b. SCALE_16 with a minimum: the two
 * sub-blocks' sums as int16. SCALE_32 with a minimum, in the first group of a super-block: its 8
 * blocks' sums as int16. */
typedef struct groups_num {
    int32_t extra[4], extra_b[4];
} groups_num;

/* Activations from a super-block on: [super-block][group][n_tokens]. */
typedef struct groups_acts {
    const rows_act *q;
    const groups_num *num;
    const float *d; /* [4 times the same] each */
} groups_acts;

INLINE groups_acts groups_on(groups_acts acts, size_t n) {
    return (groups_acts){acts.q + n, acts.num + n, acts.d + 4 * n};
}

typedef struct groups_job {
    const uint8_t *w, *next;
    size_t row_bytes, n_super, row_begin, row_end;
    groups_acts acts;
    float *y;             /* [n_tokens][ldy] */
    size_t ldy, n_tokens; /* that there are; kernels may compute more */
} groups_job;

/* Fills `group` from rows p[0..3], which stand at a super-block whose group `half` is meant. Reads
 * no byte past the super-block. */
typedef void (*groups_load_fn)(groups_group *group, const uint8_t *const p[4], int half);

typedef struct groups_spec {
    groups_load_fn load;
    unsigned bytes; /* of a super-block */
    groups_scale scale;
    bool has_min;
    bool four_rows;   /* at a time for one token: decoding is the limit, not memory */
    bool nibbles;     /* SCALE_32: the panel has pairs of blocks as nibbles */
    bool fold;        /* SCALE_16: the panel's weights are multiplied with their scales, */
    int offset;       /* of the unsigned weights */
    int panel_offset; /* and that of the panel's */
    int odd_shift;    /* odd blocks' weights are this many bits too high */
} groups_spec;

/* Four numbers of each of a step's groups, which for one token are two apart: [block][place]. */
INLINE __m512i groups_numbers(const int32_t *numbers, const int n_rows) {
    return spread_numbers(numbers, 2 * sizeof(groups_num), n_rows);
}

/* [block][place] sums of sc q p less the offset: a lane of a or b is a sub-block. Place i meets the
 * activations i / n_rows super-blocks (of one token) further on. */
INLINE __m512i groups_sums_16(const groups_group *w, groups_acts acts, const groups_spec *spec,
                              const int n_rows) {
    __m512i s[4], t[4], zero = _mm512_setzero_si512();
    for (int i = 0; i < 4; i++) {
        const rows_act *act = acts.q + 2 * (i / n_rows);
        s[i] = _mm512_dpbusd_epi32(zero, w->a[i], _mm512_load_si512(act->a));
        t[i] = _mm512_dpbusd_epi32(zero, w->b[i], _mm512_load_si512(act->b));
    }
    __m512i in_a = sum_lanes(s[0], s[1], s[2], s[3]), in_b = sum_lanes(t[0], t[1], t[2], t[3]);
    if (!spec->has_min) {
        in_a = _mm512_add_epi32(in_a, groups_numbers(acts.num->extra, n_rows));
        in_b = _mm512_add_epi32(in_b, groups_numbers(acts.num->extra_b, n_rows));
    }
    return _mm512_add_epi32(_mm512_mullo_epi32(in_a, w->sa), _mm512_mullo_epi32(in_b, w->sb));
}

/* The same where a scale is for both, or for all. */
INLINE __m512i groups_sums_32(const groups_group *w, groups_acts acts, const groups_spec *spec,
                              const int n_rows) {
    __m512i s[4];
    for (int i = 0; i < 4; i++) {
        const rows_act *act = acts.q + 2 * (i / n_rows);
        s[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w->a[i], _mm512_load_si512(act->a));
        s[i] = _mm512_dpbusd_epi32(s[i], w->b[i], _mm512_load_si512(act->b));
    }
    __m512i sum = sum_lanes(s[0], s[1], s[2], s[3]);
    if (spec->odd_shift) {
        int n = spec->odd_shift;
        sum = _mm512_srav_epi32(sum,
                                _mm512_setr_epi32(0, 0, 0, 0, n, n, n, n, 0, 0, 0, 0, n, n, n, n));
    }
    if (!spec->has_min) sum = _mm512_add_epi32(sum, groups_numbers(acts.num->extra, n_rows));
    return spec->scale == GROUPS_SCALE_32 ? _mm512_mullo_epi32(sum, w->s) : sum;
}

INLINE __m512i groups_sums_of(const groups_group *w, groups_acts acts, const groups_spec *spec,
                              const int n_rows) {
    return spec->scale == GROUPS_SCALE_16 ? groups_sums_16(w, acts, spec, n_rows)
                                          : groups_sums_32(w, acts, spec, n_rows);
}

/* [block][place] sums of m p, for SCALE_16. */
INLINE __m512i groups_minima_16(const groups_group *w, groups_acts acts, const int n_rows) {
    return _mm512_madd_epi16(w->minima, groups_numbers(acts.num->extra, n_rows));
}

/* A super-block's 8 sums of 32, in each lane. */
INLINE __m512i groups_sums_of_8(const groups_num *num) {
    return _mm512_broadcast_i32x4(_mm_load_si128((const void *)num->extra));
}

/* Adds up the blocks of four [block][row]: [which of the four][row], as floats. */
INLINE __m512 add_blocks(const __m512i x[4]) {
    __m512i t = _mm512_add_epi32(_mm512_shuffle_i64x2(x[0], x[1], 0x44),
                                 _mm512_shuffle_i64x2(x[0], x[1], 0xee));
    __m512i u = _mm512_add_epi32(_mm512_shuffle_i64x2(x[2], x[3], 0x44),
                                 _mm512_shuffle_i64x2(x[2], x[3], 0xee));
    return _mm512_cvtepi32_ps(
        _mm512_add_epi32(_mm512_shuffle_i64x2(t, u, 0x88), _mm512_shuffle_i64x2(t, u, 0xdd)));
}

/* The same of two. */
INLINE __m256 add_blocks_of_2(__m512i x, __m512i y) {
    __m512i t =
        _mm512_add_epi32(_mm512_shuffle_i64x2(x, y, 0x44), _mm512_shuffle_i64x2(x, y, 0xee));
    __m256i low = _mm512_castsi512_si256(_mm512_shuffle_i64x2(t, t, 0x88));
    __m256i high = _mm512_castsi512_si256(_mm512_shuffle_i64x2(t, t, 0xdd));
    return _mm256_cvtepi32_ps(_mm256_add_epi32(low, high));
}

/* The second half of x comes down. */
INLINE __m512 half_down(__m512 x) { return _mm512_castps256_ps512(_mm512_extractf32x8_ps(x, 1)); }

/* x[row][4] as [4][row]. */
INLINE __m512i rows_last(__m512i x) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(order, x);
}

/* Dwords 0 + 1 and 2 + 3 of each lane of x, then of y. */
INLINE __m512i add_neighbours(__m512i x, __m512i y) {
    __m512 a = _mm512_castsi512_ps(x), b = _mm512_castsi512_ps(y);
    return _mm512_add_epi32(_mm512_castps_si512(_mm512_shuffle_ps(a, b, 0x88)),
                            _mm512_castps_si512(_mm512_shuffle_ps(a, b, 0xdd)));
}

INLINE __m512 minima_of(__m512i x) { return _mm512_cvtepi32_ps(rows_last(x)); }

/* Sums of m p of a super-block, for SCALE_32, as groups_add takes them: two tokens in out[0], more
 * in out[group][set of four tokens]. The products of a row's 8 blocks leave two numbers for each
 * group in the row's lane. */
INLINE void groups_minima_32(__m512 out[2][2], const groups_group *w, const groups_num *nums,
                             const int n_tokens) {
    __m512i x[8];
    for (int t = 0; t < n_tokens; t++)
        x[t] = _mm512_madd_epi16(w->minima, groups_sums_of_8(nums + t));
    if (n_tokens == 2)
        out[0][0] = minima_of(
            add_neighbours(_mm512_unpacklo_epi64(x[0], x[1]), _mm512_unpackhi_epi64(x[0], x[1])));
    for (int t = 0; t < n_tokens && n_tokens >= 4; t += 4) {
        out[0][t / 4] = minima_of(add_neighbours(_mm512_unpacklo_epi64(x[t], x[t + 1]),
                                                 _mm512_unpacklo_epi64(x[t + 2], x[t + 3])));
        out[1][t / 4] = minima_of(add_neighbours(_mm512_unpackhi_epi64(x[t], x[t + 1]),
                                                 _mm512_unpackhi_epi64(x[t + 2], x[t + 3])));
    }
}

/* acc[token][row] after the groups whose S (and M) are given: one group's for four tokens, or both
 * groups of a super-block, the second's after the first's, for two. */
INLINE __m512 groups_add(__m512 acc, const groups_group *w, __m512 sum, __m512 minima,
                         const float *act_d, const int n_tokens, const bool has_min) {
    __m512 d = _mm512_load_ps(act_d), scale = _mm512_mul_ps(w->d, d);
    minima = _mm512_mul_ps(minima, d);
    acc = _mm512_fmadd_ps(sum, scale, acc);
    if (has_min) acc = _mm512_fmadd_ps(w->n, minima, acc);
    if (n_tokens >= 4) return acc;
    acc = _mm512_fmadd_ps(half_down(sum), half_down(scale), acc);
    return has_min ? _mm512_fmadd_ps(w->n, half_down(minima), acc) : acc;
}

/* What a super-block's two groups leave for their sum. */
typedef struct groups_sums {
    __m512i s[8], m[8]; /* [token], or [group][token] for two tokens: [block][row] */
    __m512 minima[2][2];
} groups_sums;

/* One group: its sums, and for four tokens and more acc[set of four] after it. `half` is a constant
 * wherever this is called. */
INLINE void groups_half(__m512 *acc, groups_sums *sums, groups_group *w, const uint8_t *const p[4],
                        groups_acts acts, const groups_spec *spec, const int n_tokens,
                        const int half) {
    const int first = n_tokens >= 4 ? 0 : half * n_tokens;
    const bool by_block = spec->has_min && spec->scale == GROUPS_SCALE_16;
    spec->load(w, p, half);
    if (spec->has_min && !by_block && half == 0)
        groups_minima_32(sums->minima, w, acts.num, n_tokens);
    for (int t = 0; t < n_tokens; t++) {
        sums->s[first + t] = groups_sums_of(w, groups_on(acts, t), spec, 4);
        if (by_block) sums->m[first + t] = groups_minima_16(w, groups_on(acts, t), 4);
    }
    for (int t = 0; t < n_tokens && n_tokens >= 4; t += 4) {
        __m512 s = add_blocks(sums->s + t), m = s;
        if (spec->has_min) m = by_block ? add_blocks(sums->m + t) : sums->minima[half][t / 4];
        acc[t / 4] = groups_add(acc[t / 4], w, s, m, acts.d + 4 * t, n_tokens, spec->has_min);
    }
}

/* acc[set of four tokens][token][row] after a super-block. */
INLINE void groups_step(__m512 *acc, const uint8_t *const p[4], groups_acts acts,
                        const groups_spec *spec, const int n_tokens) {
    groups_group w;
    groups_sums sums;
    groups_half(acc, &sums, &w, p, acts, spec, n_tokens, 0);
    groups_half(acc, &sums, &w, p, groups_on(acts, n_tokens), spec, n_tokens, 1);
    if (n_tokens >= 4) return;
    __m512 s = add_blocks(sums.s), m = s;
    if (spec->has_min) m = spec->scale == GROUPS_SCALE_32 ? sums.minima[0][0] : add_blocks(sums.m);
    acc[0] = groups_add(acc[0], &w, s, m, acts.d, n_tokens, spec->has_min);
}

/* ---- rows for one token ---- */

/* [group][place] sums of m p. */
INLINE __m256 groups_minima_1(const groups_group *w0, const groups_group *w1, groups_acts acts,
                              const groups_spec *spec, const int n_rows) {
    if (spec->scale == GROUPS_SCALE_16)
        return add_blocks_of_2(groups_minima_16(w0, acts, n_rows),
                               groups_minima_16(w1, groups_on(acts, 1), n_rows));
    __m512i sums = groups_sums_of_8(acts.num); /* a lane a place */
    if (n_rows == 2)
        sums = _mm512_mask_broadcast_i32x4(sums, 0xff00,
                                           _mm_load_si128((const void *)acts.num[2].extra));
    __m512i x = _mm512_madd_epi16(w0->minima, sums);
    return _mm512_castps512_ps256(minima_of(add_neighbours(x, x)));
}

/* d of each group, from four times the same: [group][place]. */
INLINE __m256 d_of_places(const float *d, const int n_rows) {
    __m256 out = _mm256_load_ps(d);
    if (n_rows == 2) out = _mm256_blend_ps(out, _mm256_load_ps(d + 8), 0xcc);
    return out;
}

/* The first four numbers, or the second. */
INLINE __m128 quarter(__m512 x, const int which) {
    return which ? _mm512_extractf32x4_ps(x, 1) : _mm512_castps512_ps128(x);
}

/* acc[row], and numbers without meaning behind the last row, after all places. */
INLINE __m128 groups_step_1(__m128 acc, const uint8_t *const p[4], groups_acts acts,
                            const groups_spec *spec, const int n_rows) {
    const bool has_min = spec->has_min;
    groups_group w0, w1;
    spec->load(&w0, p, 0);
    __m512i s0 = groups_sums_of(&w0, acts, spec, n_rows);
    spec->load(&w1, p, 1);
    __m512i s1 = groups_sums_of(&w1, groups_on(acts, 1), spec, n_rows);
    __m256 s = add_blocks_of_2(s0, s1), m = s, d = d_of_places(acts.d, n_rows);
    __m512 scale = _mm512_castps256_ps512(_mm256_mul_ps(_mm512_castps512_ps256(w1.d), d)), n = w1.n;
    if (has_min) m = _mm256_mul_ps(groups_minima_1(&w0, &w1, acts, spec, n_rows), d);
    __m512 sums = _mm512_castps256_ps512(s), minima = _mm512_castps256_ps512(m);
    for (int i = 0; i < 4; i += n_rows) {
        for (int half = 0; half < 2; half++) {
            acc = _mm_fmadd_ps(quarter(sums, half), quarter(scale, half), acc);
            if (has_min) acc = _mm_fmadd_ps(quarter(n, 0), quarter(minima, half), acc);
        }
        sums = next_places(sums, n_rows);
        scale = next_places(scale, n_rows);
        minima = next_places(minima, n_rows);
        n = next_places(n, n_rows);
    }
    return acc;
}

INLINE void groups_rows_1(const groups_job *job, const groups_spec spec, const bool near,
                          const int n_rows) {
    const size_t bytes = spec.bytes, n_each = 4 / n_rows;
    const size_t n_ahead = spn_rows_of(job->row_bytes, FETCH_AHEAD, n_rows);
    for (size_t r = job->row_begin; r < job->row_end; r += n_rows) {
        const uint8_t *row[4];
        const uint8_t *fetch =
            spn_rows_ahead(job->w, job->row_bytes, r, job->row_end, n_ahead, job->next);
        spn_rows_from(row, n_rows, job->w, job->row_bytes, r, job->row_end);
        __m128 acc = _mm_setzero_ps();
        size_t b = 0;
        for (; b + n_each <= job->n_super; b += n_each) {
#define PLACE(i) (row[(i) % n_rows] + (i) / n_rows * bytes)
            const uint8_t *const p[4] = {PLACE(0), PLACE(1), PLACE(2), PLACE(3)};
#undef PLACE
            acc = groups_step_1(acc, p, groups_on(job->acts, 2 * b), &spec, n_rows);
            spn_keep_loads_first();
            spn_fetch_once(fetch, 4 * bytes, near);
            fetch += 4 * bytes;
            for (int i = 0; i < n_rows; i++) row[i] += n_each * bytes;
        }
        for (; n_rows < 4 && b < job->n_super; b++) {
            const uint8_t *const p[4] = {row[0], row[1 % n_rows], row[2 % n_rows], row[3 % n_rows]};
            acc = groups_step_1(acc, p, groups_on(job->acts, 2 * b), &spec, 4);
            spn_keep_loads_first();
            spn_fetch_once(fetch, n_rows * bytes, near);
            for (int i = 0; i < n_rows; i++) row[i] += bytes;
        }
        store_4_rows(job->y + r, acc, spn_min_size(job->row_end - r, n_rows));
    }
}

INLINE void groups_rows(const groups_job *job, const groups_spec spec, const int n_tokens,
                        const bool near) {
    if (n_tokens == 1) {
        groups_rows_1(job, spec, near, spec.four_rows ? 4 : 2);
        return;
    }
    const size_t n_ahead = spn_rows_of(job->row_bytes, FETCH_AHEAD, 4);
    for (size_t r = job->row_begin; r < job->row_end; r += 4) {
        const uint8_t *p[4];
        const uint8_t *fetch =
            spn_rows_ahead(job->w, job->row_bytes, r, job->row_end, n_ahead, job->next);
        spn_rows_from(p, 4, job->w, job->row_bytes, r, job->row_end);
        __m512 acc[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
        for (size_t b = 0; b < job->n_super; b++) {
            groups_step(acc, p, groups_on(job->acts, b * 2 * n_tokens), &spec, n_tokens);
            spn_fetch_once(fetch, 4 * spec.bytes, near);
            fetch += 4 * spec.bytes;
            for (int i = 0; i < 4; i++) p[i] += spec.bytes;
        }
        ALIGNED float sums[8][4];
        _mm512_store_ps(sums[0], acc[0]);
        _mm512_store_ps(sums[4], acc[1]);
        for (size_t t = 0; t < (size_t)n_tokens && t < job->n_tokens; t++)
            store_4_rows(job->y + t * job->ldy + r, _mm_load_ps(sums[t]), job->row_end - r);
    }
}

/* Of four rows' 16 bytes, a row a lane: where byte `at` and each second one after it stand, as
 * [block][row]. */
INLINE __m512i places_of_blocks(int at) {
    const __m512i rows =
        _mm512_setr_epi32(0, 16, 32, 48, 2, 18, 34, 50, 4, 20, 36, 52, 6, 22, 38, 54);
    return _mm512_add_epi32(rows, _mm512_set1_epi32(at));
}

/* Those bytes with their signs: they go to the highest of a dword and come down again. */
INLINE __m512i spread_signed(__m512i bytes, int at) {
    __m512i places = _mm512_slli_epi32(places_of_blocks(at), 24);
    return _mm512_srai_epi32(_mm512_maskz_permutexvar_epi8(0x8888888888888888, places, bytes), 24);
}

/* The scales of half `half`: sa and sb. */
INLINE void spread_scales(groups_group *w, __m512i scales, int half) {
    w->sa = spread_signed(scales, 8 * half);
    w->sb = spread_signed(scales, 8 * half + 1);
}

/* The same of minima, which have no sign, in pairs. */
INLINE void spread_minima(groups_group *w, __m512i minima, int half) {
    __m512i places = _mm512_or_si512(places_of_blocks(8 * half),
                                     _mm512_slli_epi32(places_of_blocks(8 * half + 1), 16));
    w->minima = _mm512_maskz_permutexvar_epi8(0x5555555555555555, places, minima);
}

/* ---- panels ---- */

/* A panel: q [block][8 steps][32 rows][4 elements] or, with nibbles, the same of a pair of blocks,
 * the first one's being the low ones; d and n [super-block][32 rows]; s: SCALE_32:
 * [block][32 rows], SCALE_16: [block][2][32 rows]; minima, pairs of int16: SCALE_32: of blocks 0
 * and 1, 2 and 3 of a group, [group][2][32 rows], SCALE_16: of sub-blocks, [block][32 rows]. */

/* Where 16 rows' super-block goes. */
typedef struct groups_place {
    uint8_t *q;
    float *d, *n;
    int32_t *s, *minima;
} groups_place;

/* Unpacks the super-block at `at` of 16 rows. Reads no byte past it. */
typedef void (*groups_fill_fn)(const groups_place *to, const uint8_t *const rows[COLUMN_ROWS],
                               size_t at);

/* Four elements of each row, or pairs of nibbles, the step'th of the block or pair. */
INLINE void put_step(const groups_place *to, size_t block, size_t step, __m512i q) {
    _mm512_store_si512(to->q + 1024 * block + 128 * step, q);
}

/* The scale of each row's block, or sub-block. */
INLINE void put_scale(const groups_place *to, size_t at, __m512i scale) {
    _mm512_store_si512(to->s + PANEL_ROWS * at, scale);
}

/* Each row's pair of minima. */
INLINE void put_minima(const groups_place *to, size_t at, __m512i pair) {
    _mm512_store_si512(to->minima + PANEL_ROWS * at, pair);
}

/* Byte i of dwords, without a sign and with one, and bytes 2 i and 2 i + 1 as int16. */
INLINE __m512i byte_of(__m512i x, size_t i) {
    return _mm512_and_si512(_mm512_srli_epi32(x, 8 * (unsigned)i), _mm512_set1_epi32(255));
}
INLINE __m512i signed_byte_of(__m512i x, size_t i) {
    return _mm512_srai_epi32(_mm512_slli_epi32(x, 24 - 8 * (unsigned)i), 24);
}
INLINE __m512i byte_pair_of(__m512i x, size_t i) {
    const __m128i pair = _mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1);
    return _mm512_shuffle_epi8(_mm512_srli_epi32(x, 16 * (unsigned)i),
                               _mm512_broadcast_i32x4(pair));
}

INLINE void groups_unpack(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS],
                          size_t from, groups_fill_fn fill, const groups_spec spec) {
    const size_t n_sub = spec.scale == GROUPS_SCALE_16 ? 16 : 8;
    const size_t q_bytes = PANEL_ROWS * SPN_QUANT_K / (spec.nibbles ? 2 : 1);
    for (size_t u = 0; u < panel->n_blocks / 8; u++)
        for (size_t first = 0; first < PANEL_ROWS; first += COLUMN_ROWS) {
            const groups_place to = {
                panel->q + q_bytes * u + 4 * first, panel->d + PANEL_ROWS * u + first,
                panel->n + PANEL_ROWS * u + first, panel->s + n_sub * PANEL_ROWS * u + first,
                panel->minima + n_sub / 2 * PANEL_ROWS * u + first};
            fill(&to, rows + first, (from / 8 + u) * spec.bytes);
        }
}

/* ---- panels of what a loader decoded ---- */

/* Puts the weights of 16 rows' group `g`, a or b, into its blocks; `half`: rows 16 on. */
INLINE void groups_put_weights(const qmat_panel *panel, const groups_group w[4], size_t g,
                               size_t half, const bool is_b) {
    __m512i z[16];
    for (size_t i = 0; i < 16; i++) {
        const groups_group *four = &w[i / 4];
        z[i] = is_b ? four->b[i % 4] : four->a[i % 4];
    }
    transpose_16x16(z);
    for (size_t c = 0; c < 4; c++) {
        uint8_t *q = panel->q + (4 * g + c) * 1024 + (is_b ? 512 : 0) + 64 * half;
        for (size_t j = 0; j < 4; j++) _mm512_store_si512(q + 128 * j, z[4 * c + j]);
    }
}

/* Lane c of x to to[c * step]. */
INLINE void put_lanes(int32_t *to, size_t step, __m512i x) {
    for (size_t c = 0; c < 4; c++) {
        _mm_store_si128((void *)(to + c * step), _mm512_castsi512_si128(x));
        x = _mm512_shuffle_i32x4(x, x, 0x39);
    }
}

/* Puts the scales of rows first .. first + 3. */
INLINE void groups_put_scales(const qmat_panel *panel, const groups_group *w, size_t g,
                              size_t first, const groups_spec *spec) {
    if (g % 2 == 0) _mm_store_ps(panel->d + 16 * g + first, _mm512_castps512_ps128(w->d));
    if (spec->scale == GROUPS_SCALE_32) put_lanes(panel->s + 128 * g + first, 32, w->s);
    if (spec->scale == GROUPS_SCALE_16) {
        put_lanes(panel->s + 256 * g + first, 64, w->sa);
        put_lanes(panel->s + 256 * g + 32 + first, 64, w->sb);
    }
}

INLINE void groups_unpack_loaded(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS],
                                 size_t from, const groups_spec spec) {
    for (size_t g = 0; g < panel->n_groups; g++) {
        for (size_t half = 0; half < 2; half++) {
            groups_group w[4];
            for (size_t i = 0; i < 4; i++) {
                size_t first = 16 * half + 4 * i;
                const uint8_t *p[4];
                for (size_t j = 0; j < 4; j++)
                    p[j] = rows[first + j] + (from / 8 + g / 2) * spec.bytes;
                if (g % 2)
                    spec.load(&w[i], p, 1);
                else
                    spec.load(&w[i], p, 0);
                groups_put_scales(panel, &w[i], g, first, &spec);
            }
            groups_put_weights(panel, w, g, half, false);
            groups_put_weights(panel, w, g, half, true);
        }
    }
}

/* ---- a type ---- */

typedef struct groups_type {
    groups_spec spec;
    size_t few; /* tokens up to which rows are faster than panels: measured */
    void (*rows[4])(const groups_job *job); /* of 1, 2, 4, 8 tokens, those that `few` needs */
    panel_unpack_fn unpack;
} groups_type;

/* y for the rows of a call, whichever way is faster. */
void spn_groups_run_avx512(const spn_matmul_args *args, size_t begin, size_t end,
                           const groups_type *type);

#define GROUPS_ROWS(name, n, ...)                                    \
    static void rows##n##_##name(const groups_job *job) {            \
        const groups_spec spec = {.load = load_##name, __VA_ARGS__}; \
        if (spn_fetches_near())                                      \
            groups_rows(job, spec, n, true);                         \
        else                                                         \
            groups_rows(job, spec, n, false);                        \
    }
#define GROUPS_MATMUL(name, few, rows4, rows8, ...)                                    \
    GROUPS_ROWS(name, 1, __VA_ARGS__)                                                  \
    GROUPS_ROWS(name, 2, __VA_ARGS__)                                                  \
    static void matmul_##name(const spn_matmul_args *args, size_t begin, size_t end) { \
        static const groups_type type = {{.load = load_##name, __VA_ARGS__},           \
                                         few,                                          \
                                         {rows1_##name, rows2_##name, rows4, rows8},   \
                                         unpack_##name};                               \
        spn_groups_run_avx512(args, begin, end, &type);                                \
    }
#define GROUPS_UNPACK(name, ...)                                                              \
    static void unpack_##name(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS], \
                              size_t from) {                                                  \
        groups_unpack(panel, rows, from, fill_##name, (groups_spec){__VA_ARGS__});            \
    }
/* matmul_<name> from load_<name>, fill_<name> and the rest of its groups_spec. Rows take up to 2 or
 * 4 tokens. */
#define GROUPS_TYPE_2(name, ...)     \
    GROUPS_UNPACK(name, __VA_ARGS__) \
    GROUPS_MATMUL(name, 2, NULL, NULL, __VA_ARGS__)
#define GROUPS_TYPE_4(name, ...)      \
    GROUPS_UNPACK(name, __VA_ARGS__)  \
    GROUPS_ROWS(name, 4, __VA_ARGS__) \
    GROUPS_MATMUL(name, 4, rows4_##name, NULL, __VA_ARGS__)
/* The same without fill_<name>: panels come from load_<name> too. Rows take up to 8 tokens. */
#define GROUPS_LOADED_TYPE(name, ...)                                                             \
    static void unpack_##name(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS],     \
                              size_t from) {                                                      \
        groups_unpack_loaded(panel, rows, from, (groups_spec){.load = load_##name, __VA_ARGS__}); \
    }                                                                                             \
    GROUPS_ROWS(name, 4, __VA_ARGS__)                                                             \
    GROUPS_ROWS(name, 8, __VA_ARGS__)                                                             \
    GROUPS_MATMUL(name, 8, rows4_##name, rows8_##name, __VA_ARGS__)

#endif
