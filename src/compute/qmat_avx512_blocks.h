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

/* One token's activations of a group, as the rows' kernels read them. */
typedef struct blocks_act {
    int8_t a[64], b[64]; /* q in the order of blocks_group.a and b */
    float d[16];         /* [chain][4 times the same] */
    int32_t extra[16];   /* [chain][-offset * sum, 0, 0, 0]; with a minimum dsum, as d */
} blocks_act;

typedef struct blocks_job {
    const uint8_t *w;
    size_t row_bytes, n_blocks, row_begin, row_end;
    const blocks_act *acts; /* [group][n_tokens] */
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

/* [chain][row] S of a group: |S| <= 32 * 255 * 127 < 2^20. */
INLINE __m512i blocks_sums(const blocks_group *w, const blocks_act *act, const bool has_min) {
    __m512i a = _mm512_load_si512(act->a), b = _mm512_load_si512(act->b), s[4];
    __m512i start = has_min ? _mm512_setzero_si512() : _mm512_load_si512(act->extra);
    for (int i = 0; i < 4; i++) {
        s[i] = _mm512_dpbusd_epi32(start, w->a[i], a);
        s[i] = _mm512_dpbusd_epi32(s[i], w->b[i], b);
    }
    return sum_lanes(s[0], s[1], s[2], s[3]);
}

/* acc[chain][row] after one more group; chains outside of `chains` (4 bits each) stay. */
INLINE __m512 blocks_step(__m512 acc, const blocks_group *w, const blocks_act *act,
                          const bool has_min, __mmask16 chains) {
    __m512 s = _mm512_cvtepi32_ps(blocks_sums(w, act, has_min));
    __m512 scale = _mm512_mul_ps(w->d, _mm512_load_ps(act->d));
    __m512 dsum = _mm512_load_ps(act->extra);
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

INLINE void blocks_last_group(__m512 *acc, const uint8_t *const p[4], const blocks_act *acts,
                              const blocks_spec *spec, const int n_tokens, size_t n_left) {
    blocks_group w;
    blocks_load_last(&w, p, spec, n_left);
    __mmask16 chains = (__mmask16)((1u << 4 * n_left) - 1);
    for (int t = 0; t < n_tokens; t++)
        acc[t] = blocks_step(acc[t], &w, acts + t, spec->has_min, chains);
}

/* (acc0 + acc2) + (acc1 + acc3), of the rows that there are. */
INLINE void blocks_store(float *y, __m512 acc, size_t n_rows) {
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(acc), _mm512_extractf32x8_ps(acc, 1));
    store_4_rows(y, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)),
                 n_rows);
}

INLINE void blocks_rows(const blocks_job *job, const blocks_spec spec, const int n_tokens) {
    const size_t n_groups = job->n_blocks / 4, group_bytes = 4 * spec.block_bytes;
    for (size_t r = job->row_begin; r < job->row_end; r += 4) {
        const uint8_t *p[4], *fetch = job->w + r * job->row_bytes + fetch_ahead(job->row_bytes);
        spn_rows_from(p, 4, job->w, job->row_bytes, r, job->row_end);
        __m512 acc[MAX_ROW_TOKENS];
        for (int t = 0; t < n_tokens; t++) acc[t] = _mm512_setzero_ps();
        const blocks_act *acts = job->acts;
        for (size_t g = 0; g < n_groups; g++, acts += n_tokens) {
            blocks_group w;
            spec.load(&w, p);
            for (int t = 0; t < n_tokens; t++)
                acc[t] = blocks_step(acc[t], &w, acts + t, spec.has_min, 0xffff);
            spn_fetch(fetch, 4 * group_bytes);
            fetch += 4 * group_bytes;
            for (int i = 0; i < 4; i++) p[i] += group_bytes;
        }
        if (job->n_blocks % 4) blocks_last_group(acc, p, acts, &spec, n_tokens, job->n_blocks % 4);
        for (int t = 0; t < n_tokens && (size_t)t < job->n_tokens; t++)
            blocks_store(job->y + (size_t)t * job->ldy + r, acc[t], job->row_end - r);
    }
}

/* ---- panels ---- */

/* A panel: q [slot][8 steps][32 rows][4 elements], d and n [slot][32 rows]; block b stands in slot
 * b % 4 * n_groups + b / 4: chain by chain. */

/* Puts the weights of 16 rows' group `g`, a or b, into the slots of its chains; `half`: rows 16 on.
 */
INLINE void blocks_put_weights(const qmat_panel *panel, const blocks_group w[4], size_t g,
                               size_t half, const bool is_b, size_t n_chains) {
    __m512i z[16];
    for (size_t i = 0; i < 16; i++) z[i] = is_b ? w[i / 4].b[i % 4] : w[i / 4].a[i % 4];
    transpose_16x16(z);
    for (size_t c = 0; c < n_chains; c++) {
        uint8_t *q = panel->q + (c * panel->n_groups + g) * 1024 + (is_b ? 512 : 0) + 64 * half;
        for (size_t j = 0; j < 4; j++) _mm512_store_si512(q + 128 * j, z[4 * c + j]);
    }
}

/* Puts a group's scales of rows first .. first + 3 into slots of group `g`. */
INLINE void blocks_put_scales(const qmat_panel *panel, const blocks_group *w, size_t g,
                              size_t first, const bool has_min, size_t n_chains) {
    __m512 d = w->d, n = has_min ? w->n : w->d;
    for (size_t c = 0; c < n_chains; c++) {
        size_t slot = c * panel->n_groups + g;
        _mm_store_ps(panel->d + 32 * slot + first, _mm512_castps512_ps128(d));
        d = _mm512_shuffle_f32x4(d, d, 0x39); /* the next lane comes down */
        if (!has_min) continue;
        _mm_store_ps(panel->n + 32 * slot + first, _mm512_castps512_ps128(n));
        n = _mm512_shuffle_f32x4(n, n, 0x39);
    }
}

INLINE void blocks_unpack(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS],
                          const blocks_spec spec) {
    for (size_t g = 0; g < panel->n_groups; g++) {
        size_t n_chains = spn_min_size(panel->n_blocks - 4 * g, 4);
        for (size_t half = 0; half < 2; half++) {
            blocks_group w[4];
            for (size_t i = 0; i < 4; i++) {
                size_t first = 16 * half + 4 * i;
                const uint8_t *p[4];
                for (size_t j = 0; j < 4; j++) p[j] = rows[first + j] + g * 4 * spec.block_bytes;
                if (n_chains < 4)
                    blocks_load_last(&w[i], p, &spec, n_chains);
                else
                    spec.load(&w[i], p);
                blocks_put_scales(panel, &w[i], g, first, spec.has_min, n_chains);
            }
            blocks_put_weights(panel, w, g, half, false, n_chains);
            blocks_put_weights(panel, w, g, half, true, n_chains);
        }
    }
}

/* ---- a type ---- */

typedef struct blocks_type {
    bool has_min;
    int offset;                             /* of the unsigned weights */
    void (*rows[4])(const blocks_job *job); /* of 1, 2, 4, 8 tokens */
    panel_unpack_fn unpack;
} blocks_type;

/* y for the rows of a call, whichever way is faster. */
void spn_blocks_run_avx512(const spn_matmul_args *args, size_t begin, size_t end,
                           const blocks_type *type);

#define BLOCKS_ROWS(name, n, ...)                                             \
    static void rows##n##_##name(const blocks_job *job) {                     \
        blocks_rows(job, (blocks_spec){.load = load_##name, __VA_ARGS__}, n); \
    }
/* matmul_<name> from load_<name>. */
#define BLOCKS_TYPE(name, bytes, minimum, by)                                                      \
    BLOCKS_ROWS(name, 1, .has_min = (minimum), .block_bytes = (bytes))                             \
    BLOCKS_ROWS(name, 2, .has_min = (minimum), .block_bytes = (bytes))                             \
    BLOCKS_ROWS(name, 4, .has_min = (minimum), .block_bytes = (bytes))                             \
    BLOCKS_ROWS(name, 8, .has_min = (minimum), .block_bytes = (bytes))                             \
    static void unpack_##name(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS]) {    \
        blocks_unpack(panel, rows, (blocks_spec){load_##name, minimum, bytes});                    \
    }                                                                                              \
    static void matmul_##name(const spn_matmul_args *args, size_t begin, size_t end) {             \
        static const blocks_type type = {                                                          \
            minimum, by, {rows1_##name, rows2_##name, rows4_##name, rows8_##name}, unpack_##name}; \
        spn_blocks_run_avx512(args, begin, end, &type);                                            \
    }

#endif
