/* qmat_avx512_blocks.h - the AVX-512 products with types that have blocks of 32.
 * SPDX-License-Identifier: Apache-2.0
 *
 * See qmat_avx512.h. A group is four blocks, one to each of the contract's four chains. Rows: one
 * vcvtdq2ps, vmulps and vfmadd (two with a minimum) serve 16 blocks, [4 chains][4 rows]; per group
 * of 4 rows and token there are 8 vpdpbusd, 2-3 other multiplies, 10 shuffles and additions.
 * Panels are walked chain by chain; a block takes 24 float multiplies (36 with a minimum) beside
 * its 96 vpdpbusd: 0.80 (0.73) of the vpdpbusd peak is what the contract allows.
 */
#ifndef SPN_QMAT_AVX512_BLOCKS_H
#define SPN_QMAT_AVX512_BLOCKS_H

#include "compute/qmat_avx512.h"

/* ---- rows ---- */

/* Four rows' group of four blocks. */
typedef struct blocks_group {
    __m512i a[4], b[4]; /* [row]: unsigned weights, in order a and b */
    __m512 d, n;        /* [chain][row] D and N */
} blocks_group;

/* The numbers of one token's activations of a group. */
typedef struct blocks_num {
    float d[4];       /* [chain] */
    int32_t extra[4]; /* [chain]: -offset * sum; with a minimum dsum, as d */
} blocks_num;

typedef struct blocks_job {
    const uint8_t *w, *next;
    size_t row_bytes, n_blocks, row_begin, row_end;
    const rows_act *acts;   /* [group][n_tokens] */
    const blocks_num *nums; /* the same */
    float *y;               /* [n_tokens][ldy] */
    size_t ldy, n_tokens;   /* that there are; kernels may compute more */
} blocks_job;

/* Fills `group` from rows p[0..3]. Reads no byte past the group's four blocks. */
typedef void (*blocks_load_fn)(blocks_group *group, const uint8_t *const p[4]);

typedef struct blocks_spec {
    blocks_load_fn load;
    bool has_min;
    unsigned block_bytes;
} blocks_spec;

/* The numbers of a group, or of those in the places of a step, as [chain][place]. */
INLINE __m512 blocks_d(const blocks_num *nums, const int n_rows) {
    return _mm512_castsi512_ps(spread_numbers(nums->d, sizeof(*nums), n_rows));
}
INLINE __m512i blocks_extra(const blocks_num *nums, const int n_rows) {
    return spread_numbers(nums->extra, sizeof(*nums), n_rows);
}

/* [chain][place] S, as floats: |S| <= 32 * 255 * 127 < 2^20. Place i meets acts[i / n_rows]. */
INLINE __m512 blocks_sums(const blocks_group *w, const rows_act *acts, __m512i extra,
                          const bool has_min, const int n_rows) {
    __m512i s[4];
    for (int i = 0; i < 4; i++) {
        const rows_act *act = acts + i / n_rows;
        s[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w->a[i], _mm512_load_si512(act->a));
        s[i] = _mm512_dpbusd_epi32(s[i], w->b[i], _mm512_load_si512(act->b));
    }
    __m512i sum = sum_lanes(s[0], s[1], s[2], s[3]);
    return _mm512_cvtepi32_ps(has_min ? sum : _mm512_add_epi32(sum, extra));
}

/* acc[chain][row] after one more group; chains outside of `chains` (4 bits each) stay. */
INLINE __m512 blocks_step(__m512 acc, const blocks_group *w, const rows_act *act,
                          const blocks_num *num, const bool has_min, __mmask16 chains) {
    __m512i extra = blocks_extra(num, 4);
    __m512 s = blocks_sums(w, act, extra, has_min, 4), dsum = _mm512_castsi512_ps(extra);
    __m512 scale = _mm512_mul_ps(w->d, blocks_d(num, 4));
    if (chains == 0xffff) {
        acc = _mm512_fmadd_ps(s, scale, acc);
        return has_min ? _mm512_fmadd_ps(w->n, dsum, acc) : acc;
    }
    acc = _mm512_mask3_fmadd_ps(s, scale, acc, chains);
    return has_min ? _mm512_mask3_fmadd_ps(w->n, dsum, acc, chains) : acc;
}

/* The one to three blocks at the end of rows whose number of blocks is no multiple of four: from
 * copies with zeros behind them, so that the loader may read a whole group. */
INLINE void blocks_load_last(blocks_group *w, const uint8_t *const p[4], const blocks_spec *spec,
                             size_t n_left) {
    uint8_t copy[4][4 * 36];
    const uint8_t *at[4];
    for (int i = 0; i < 4; i++) {
        memset(copy[i], 0, sizeof(copy[i]));
        memcpy(copy[i], p[i], n_left * spec->block_bytes);
        at[i] = copy[i];
    }
    spec->load(w, at);
}

INLINE void blocks_last_group(__m512 *acc, const uint8_t *const p[4], const rows_act *acts,
                              const blocks_num *nums, const blocks_spec *spec, const int n_tokens,
                              size_t n_left) {
    blocks_group w;
    blocks_load_last(&w, p, spec, n_left);
    __mmask16 chains = (__mmask16)((1u << 4 * n_left) - 1);
    for (int t = 0; t < n_tokens; t++)
        acc[t] = blocks_step(acc[t], &w, acts + t, nums + t, spec->has_min, chains);
}

/* (acc0 + acc2) + (acc1 + acc3), of the rows that there are. */
INLINE void blocks_store(float *y, __m512 acc, size_t n_rows) {
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(acc), _mm512_extractf32x8_ps(acc, 1));
    store_4_rows(y, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)),
                 n_rows);
}

/* One token: acc[chain][row, ...], what follows has no meaning, after the places' groups. */
INLINE __m512 blocks_step_1(__m512 acc, const blocks_group *w, const rows_act *acts,
                            const blocks_num *nums, const bool has_min, const int n_rows) {
    __m512i extra = blocks_extra(nums, n_rows);
    __m512 s = blocks_sums(w, acts, extra, has_min, n_rows), n = w->n;
    __m512 scale = _mm512_mul_ps(w->d, blocks_d(nums, n_rows)), dsum = _mm512_castsi512_ps(extra);
    for (int i = 0; i < 4; i += n_rows) {
        acc = _mm512_fmadd_ps(s, scale, acc);
        if (has_min) acc = _mm512_fmadd_ps(n, dsum, acc);
        s = next_places(s, n_rows);
        scale = next_places(scale, n_rows);
        n = next_places(n, n_rows);
        dsum = next_places(dsum, n_rows);
    }
    return acc;
}

/* For whole groups. */
INLINE void blocks_rows_1(const blocks_job *job, const blocks_spec spec, const bool near,
                          const int n_rows) {
    const size_t n_groups = job->n_blocks / 4, bytes = 4 * spec.block_bytes, n_each = 4 / n_rows;
    const size_t n_ahead = spn_rows_of(job->row_bytes, FETCH_AHEAD, n_rows);
    for (size_t r = job->row_begin; r < job->row_end; r += n_rows) {
        const uint8_t *row[2];
        const uint8_t *fetch =
            spn_rows_ahead(job->w, job->row_bytes, r, job->row_end, n_ahead, job->next);
        spn_rows_from(row, n_rows, job->w, job->row_bytes, r, job->row_end);
        __m512 acc = _mm512_setzero_ps();
        blocks_group w;
        size_t g = 0;
        for (; g + n_each <= n_groups; g += n_each) {
#define PLACE(i) (row[(i) % n_rows] + (i) / n_rows * bytes)
            spec.load(&w, (const uint8_t *const[4]){PLACE(0), PLACE(1), PLACE(2), PLACE(3)});
#undef PLACE
            acc = blocks_step_1(acc, &w, job->acts + g, job->nums + g, spec.has_min, n_rows);
            spn_fetch_once(fetch, 4 * bytes, near);
            fetch += 4 * bytes;
            for (int i = 0; i < n_rows; i++) row[i] += n_each * bytes;
        }
        const uint8_t *p[4] = {row[0], row[1 % n_rows], row[0], row[1 % n_rows]};
        for (; g < n_groups; g++) {
            spec.load(&w, p);
            acc = blocks_step_1(acc, &w, job->acts + g, job->nums + g, spec.has_min, 4);
            spn_fetch_once(fetch, n_rows * bytes, near);
            fetch += n_rows * bytes;
            for (int i = 0; i < 4; i++) p[i] += bytes;
        }
        blocks_store(job->y + r, acc, spn_min_size(job->row_end - r, n_rows));
    }
}

INLINE void blocks_rows(const blocks_job *job, const blocks_spec spec, const int n_tokens,
                        const bool near) {
    if (n_tokens == 1 && job->n_blocks % 4 == 0) { /* else copying last blocks costs too much */
        if (!spec.has_min && job->row_bytes >= LONG_ROW && job->n_blocks % 16 == 0)
            blocks_rows_1(job, spec, near, 1);
        else
            blocks_rows_1(job, spec, near, 2);
        return;
    }
    const size_t n_groups = job->n_blocks / 4, group_bytes = 4 * spec.block_bytes;
    const size_t n_ahead = spn_rows_of(job->row_bytes, FETCH_AHEAD, 4);
    for (size_t r = job->row_begin; r < job->row_end; r += 4) {
        const uint8_t *p[4];
        const uint8_t *fetch =
            spn_rows_ahead(job->w, job->row_bytes, r, job->row_end, n_ahead, job->next);
        spn_rows_from(p, 4, job->w, job->row_bytes, r, job->row_end);
        __m512 acc[MAX_ROW_TOKENS];
        for (int t = 0; t < n_tokens; t++) acc[t] = _mm512_setzero_ps();
        const rows_act *acts = job->acts;
        const blocks_num *nums = job->nums;
        for (size_t g = 0; g < n_groups; g++, acts += n_tokens, nums += n_tokens) {
            blocks_group w;
            spec.load(&w, p);
            for (int t = 0; t < n_tokens; t++)
                acc[t] = blocks_step(acc[t], &w, acts + t, nums + t, spec.has_min, 0xffff);
            spn_fetch_once(fetch, 4 * group_bytes, near);
            fetch += 4 * group_bytes;
            for (int i = 0; i < 4; i++) p[i] += group_bytes;
        }
        if (job->n_blocks % 4)
            blocks_last_group(acc, p, acts, nums, &spec, n_tokens, job->n_blocks % 4);
        for (int t = 0; t < n_tokens && (size_t)t < job->n_tokens; t++)
            blocks_store(job->y + (size_t)t * job->ldy + r, acc[t], job->row_end - r);
    }
}

/* ---- panels ---- */

/* A panel: q [slot][8 steps][32 rows][4 elements], d and n [slot][32 rows]; block b stands in slot
 * b % 4 * n_groups + b / 4: chain by chain. */

/* Where 16 rows' block goes. */
typedef struct blocks_place {
    uint8_t *q;
    float *d, *n;
} blocks_place;

/* Unpacks the block at `at` of 16 rows. Reads no byte past it. */
typedef void (*blocks_fill_fn)(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS],
                               size_t at);

INLINE void put_step(const blocks_place *to, size_t step, __m512i q) {
    _mm512_store_si512(to->q + 128 * step, q);
}

INLINE void blocks_unpack(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS],
                          size_t from, blocks_fill_fn fill, const size_t block_bytes) {
    for (size_t b = 0; b < panel->n_blocks; b++) {
        size_t slot = b % MAX_CHAINS * panel->n_groups + b / MAX_CHAINS;
        for (size_t first = 0; first < PANEL_ROWS; first += COLUMN_ROWS) {
            const blocks_place to = {panel->q + 1024 * slot + 4 * first,
                                     panel->d + 32 * slot + first, panel->n + 32 * slot + first};
            fill(&to, rows + first, (from + b) * block_bytes);
        }
    }
}

/* ---- a type ---- */

typedef struct blocks_type {
    bool has_min;
    int offset; /* of the unsigned weights */
    size_t few; /* tokens up to which rows are faster than panels: measured */
    void (*rows[4])(const blocks_job *job); /* of 1, 2, 4, 8 tokens */
    panel_unpack_fn unpack;
} blocks_type;

/* y for the rows of a call, whichever way is faster. */
void spn_blocks_run_avx512(const spn_matmul_args *args, size_t begin, size_t end,
                           const blocks_type *type);

#define BLOCKS_ROWS(name, n, ...)                                    \
    static void rows##n##_##name(const blocks_job *job) {            \
        const blocks_spec spec = {.load = load_##name, __VA_ARGS__}; \
        if (spn_fetches_near())                                      \
            blocks_rows(job, spec, n, true);                         \
        else                                                         \
            blocks_rows(job, spec, n, false);                        \
    }
/* matmul_<name> from load_<name> and fill_<name>. */
#define BLOCKS_TYPE(name, bytes, minimum, by, few)                                                 \
    BLOCKS_ROWS(name, 1, .has_min = (minimum), .block_bytes = (bytes))                             \
    BLOCKS_ROWS(name, 2, .has_min = (minimum), .block_bytes = (bytes))                             \
    BLOCKS_ROWS(name, 4, .has_min = (minimum), .block_bytes = (bytes))                             \
    BLOCKS_ROWS(name, 8, .has_min = (minimum), .block_bytes = (bytes))                             \
    static void unpack_##name(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS],      \
                              size_t from) {                                                       \
        blocks_unpack(panel, rows, from, fill_##name, bytes);                                      \
    }                                                                                              \
    static void matmul_##name(const spn_matmul_args *args, size_t begin, size_t end) {             \
        static const blocks_type type = {minimum,                                                  \
                                         by,                                                       \
                                         few,                                                      \
                                         {rows1_##name, rows2_##name, rows4_##name, rows8_##name}, \
                                         unpack_##name};                                           \
        spn_blocks_run_avx512(args, begin, end, &type);                                            \
    }

#endif
