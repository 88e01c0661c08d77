/* qmat_avx512.h - the engine of the AVX-512 products with quantised weights: a type adds a loader.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Contract (3) of kernels.h, met in two ways, which give the same bits:
 *
 * ROWS, for few tokens (generation reads each weight once, so memory is the limit). Four rows are
 * walked side by side in the file's own layout, a group of four blocks of 32 at a time. A loader
 * turns a group of a row into two registers of unsigned bytes
 *     a = | b0 0..15 | b1 0..15 | b2 0..15 | b3 0..15 |     one 128-bit lane a block, which is
 *     b = | b0 16..31 | b1 16..31 | b2 16..31 | b3 16..31 | one of the contract's four chains
 * so that two vpdpbusd leave each block's sum spread over its lane's four numbers. A tree of six
 * unpacks and three additions over four rows gives S as [4 chains][4 rows], the shape in which the
 * group's scales are decoded too; one vcvtdq2ps, vmulps and vfmadd serve 16 blocks. Per group of 4
 * rows and token: 8 vpdpbusd, 2-3 other multiplies, 10 shuffles and additions. The activations are
 * brought into the order of a and b once a call. Up to 8 tokens share one loading of the weights.
 *
 * PANELS, for many tokens (the multipliers are the limit). 32 rows are unpacked once, into the
 * scratch, as [chain][block][8 steps][32 rows][4 elements] unsigned bytes, with their scales as
 * [chain][block][32 rows]; then tiles of 32 rows x 6 tokens walk the panel, chain by chain, with 12
 * integer and 12 float accumulators in registers: per block 96 vpdpbusd, 24 float multiplies (36
 * with a minimum) on the same two ports. So 0.80 (0.73) of the vpdpbusd peak is what the contract
 * allows. Loads a block: 16 registers of weights, 48 broadcasts, 2-4 of scales, of which a core has
 * two a vpdpbusd. A panel of k = 4096 (128 KiB) stays in the second-level cache. Measured on Zen 4:
 * a vpdpbusd reads three registers, so that each conversion or addition beside it costs a third of
 * one although it has ports of its own; with those, 0.77 (0.71) is the bound, 0.70 (0.65) is
 * reached.
 *
 * vpdpbusd multiplies unsigned by signed: weights are made unsigned by an offset, and the sum is
 * right because it starts at -offset * (sum of the block's activations).
 */
#ifndef SPN_QMAT_AVX512_H
#define SPN_QMAT_AVX512_H

#include <immintrin.h>

#include "compute/kernels.h"
#include "compute/quant.h"

#define INLINE static inline __attribute__((always_inline))
#define ALIGNED __attribute__((aligned(64)))
/* Sixteen indices that count up, for the bytes of one lane. */
#define LANE4(i) (i), (i) + 1, (i) + 2, (i) + 3
#define LANE16(i) LANE4(i), LANE4((i) + 4), LANE4((i) + 8), LANE4((i) + 12)
#define MAX_ROW_TOKENS 8  /* that share one loading of four rows */
#define FETCH_AHEAD 16384 /* bytes */
#define TILE_TOKENS 6
#define PANEL_ROWS 32

/* What a type's sums need besides vpdpbusd and a scale a block. */
typedef enum qmat_kind {
    QMAT_PLAIN,  /* weights less a constant offset (0 too) */
    QMAT_MIN,    /* a second fma over N and dsum */
    QMAT_SUB,    /* integer scales for sub-blocks of 16, weights less an offset */
    QMAT_SUB_MIN /* the same without offset, and a second fma over N and M */
} qmat_kind;

/* An unaligned load that the compiler may not repeat for each use: it crosses a line and costs
 * more than the register. */
INLINE __m512i load_once(const void *p) {
    __m512i x = _mm512_loadu_si512(p);
    __asm__("" : "+v"(x));
    return x;
}

/* A table of 16 signed values for nibbles, less an offset of -128, in each lane. */
INLINE __m512i value_table(const int8_t *values) {
    __m128i x = _mm_loadu_si128((const void *)values);
    return _mm512_broadcast_i32x4(_mm_xor_si128(x, _mm_set1_epi8((char)0x80)));
}

/* 16 bytes at `at` of each row, a row a lane. */
INLINE __m512i load_lanes(const uint8_t *const p[4], size_t at) {
    __m256i low =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)(p[0] + at))),
                                _mm_loadu_si128((const void *)(p[1] + at)), 1);
    __m256i high =
        _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)(p[2] + at))),
                                _mm_loadu_si128((const void *)(p[3] + at)), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* The 16 bytes at `p` in all lanes. */
INLINE __m512i load_4_times(const uint8_t *p) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)p));
}

/* ---- rows ---- */

/* Four rows' group of four blocks. */
typedef struct qmat_group {
    __m512i a[4], b[4];   /* [row]: unsigned weights, in order a and b */
    __m512 d, n;          /* [chain][row] D and N */
    __m512i sa[4], sb[4]; /* SUB...: [row] int16 scales of the sub-blocks that a and b hold, eight
                             times each */
    __m512i pairs;        /* [chain][row] int16 of the block's two sub-blocks: SUB: their scales;
                             SUB_MIN: their minima */
} qmat_group;

/* One token's activations of a group, as the rows' kernels read them. */
typedef struct qmat_act {
    int8_t a[64], b[64]; /* q in the order of qmat_group.a and b */
    float d[16];         /* [chain][4 times the same] */
    int32_t extra[16]; /* PLAIN: [chain][-offset * sum, 0, 0, 0]; MIN: dsum as d; SUB...: as d, the
                          sums of the block's two sub-blocks as int16 */
} qmat_act;

typedef struct qmat_rows_job {
    const uint8_t *w;
    size_t row_bytes, n_blocks, row_begin, row_end;
    const qmat_act *acts; /* [group][n_tokens] */
    float *y;             /* [n_tokens][ldy] */
    size_t ldy, n_tokens; /* that there are; kernels may compute more */
} qmat_rows_job;

/* Fills `group` from rows p[0..3], which stand at a group or, for the types with super-blocks of
 * two groups, at a super-block whose group `half` is meant. Reads no byte past that (super-)block
 * group. */
typedef void (*qmat_load_fn)(qmat_group *group, const uint8_t *const p[4], int half);

typedef struct qmat_rows_spec {
    qmat_load_fn load;
    qmat_kind kind;
    unsigned block_bytes; /* of 32 elements; 0: super-blocks */
    unsigned unit_bytes;  /* of four blocks of 32, or of a super-block of 256 */
    bool fold;            /* SUB...: the panel's weights are multiplied with their scales, */
    int panel_offset;     /* SUB: and have this offset then */
    int odd_shift;        /* odd chains' weights are this many bits too high */
    int offset_shift;     /* SUB: the offset is 1 << that */
} qmat_rows_spec;

/* Sums the four numbers of each lane of four rows: [chain][row]. */
INLINE __m512i sum_lanes(__m512i s0, __m512i s1, __m512i s2, __m512i s3) {
    __m512i u = _mm512_add_epi32(_mm512_unpacklo_epi32(s0, s1), _mm512_unpackhi_epi32(s0, s1));
    __m512i v = _mm512_add_epi32(_mm512_unpacklo_epi32(s2, s3), _mm512_unpackhi_epi32(s2, s3));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(u, v), _mm512_unpackhi_epi64(u, v));
}

/* [chain][row] S of a group, for PLAIN and MIN. |S| <= 32 * 255 * 127 < 2^20, and 16 times that
 * before odd_shift. */
INLINE __m512i group_sums(const qmat_group *w, const qmat_act *act, const qmat_rows_spec *spec) {
    __m512i a = _mm512_load_si512(act->a), b = _mm512_load_si512(act->b), s[4];
    __m512i start =
        spec->kind == QMAT_PLAIN ? _mm512_load_si512(act->extra) : _mm512_setzero_si512();
    for (int i = 0; i < 4; i++) {
        s[i] = _mm512_dpbusd_epi32(start, w->a[i], a);
        s[i] = _mm512_dpbusd_epi32(s[i], w->b[i], b);
    }
    __m512i sum = sum_lanes(s[0], s[1], s[2], s[3]);
    if (spec->odd_shift) {
        int n = spec->odd_shift;
        sum = _mm512_srav_epi32(sum,
                                _mm512_setr_epi32(0, 0, 0, 0, n, n, n, n, 0, 0, 0, 0, n, n, n, n));
    }
    return sum;
}

#define EIGHT_TIMES(n) (n), (n), (n), (n), (n), (n), (n), (n)
/* Words 0 2 4 6 of sixteen, eight times each. */
static const uint16_t even_words[32] ALIGNED = {EIGHT_TIMES(0), EIGHT_TIMES(2), EIGHT_TIMES(4),
                                                EIGHT_TIMES(6)};

/* From the four rows' 16 bytes, a row a lane: sa, sb and pairs of half `half`. */
INLINE void spread_scales(qmat_group *w, __m512i scales, int half) {
    const __m512i even = _mm512_load_si512(even_words);
    const __m512i order =
        _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
    __m512i two[2] = {_mm512_cvtepi8_epi16(_mm512_castsi512_si256(scales)),
                      _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(scales, 1))};
    for (int i = 0; i < 4; i++) {
        short first = (short)(16 * (i % 2) + 8 * half);
        __m512i at = _mm512_add_epi16(even, _mm512_set1_epi16(first));
        w->sa[i] = _mm512_permutexvar_epi16(at, two[i / 2]);
        at = _mm512_add_epi16(even, _mm512_set1_epi16((short)(first + 1)));
        w->sb[i] = _mm512_permutexvar_epi16(at, two[i / 2]);
    }
    __m512i at = _mm512_add_epi32(order, _mm512_set1_epi32(4 * half));
    w->pairs = _mm512_permutex2var_epi32(two[0], at, two[1]);
}

/* [chain][row] S of a group with scales for sub-blocks, and without the offset: vpmaddubsw and a
 * vpdpwssd that multiplies with the scales take vpdpbusd's place. Weights are below 128, so that
 * the former's two products fit 16 bits. A sub-block's sum, less its offset, is below 16 * 32 * 127
 * < 2^16, S below 2 * 128 times that, 2^24. */
INLINE __m512i group_scaled_sums(const qmat_group *w, const qmat_act *act) {
    __m512i a = _mm512_load_si512(act->a), b = _mm512_load_si512(act->b), s[4];
    for (int i = 0; i < 4; i++) {
        __m512i sa = _mm512_maddubs_epi16(w->a[i], a), sb = _mm512_maddubs_epi16(w->b[i], b);
        s[i] = _mm512_dpwssd_epi32(_mm512_madd_epi16(sa, w->sa[i]), sb, w->sb[i]);
    }
    return sum_lanes(s[0], s[1], s[2], s[3]);
}

/* acc[chain][row] after one more group; chains outside of `chains` (4 bits each) stay. */
INLINE __m512 group_step(__m512 acc, const qmat_group *w, const qmat_act *act,
                         const qmat_rows_spec *spec, __mmask16 chains) {
    __m512i sum = spec->kind >= QMAT_SUB ? group_scaled_sums(w, act) : group_sums(w, act, spec), m;
    __m512 d = _mm512_load_ps(act->d), second = d;
    if (spec->kind >= QMAT_SUB) m = _mm512_madd_epi16(w->pairs, _mm512_load_si512(act->extra));
    if (spec->kind == QMAT_SUB)
        sum = _mm512_sub_epi32(sum, _mm512_slli_epi32(m, (unsigned)spec->offset_shift));
    if (spec->kind == QMAT_SUB_MIN) second = _mm512_mul_ps(_mm512_cvtepi32_ps(m), d);
    if (spec->kind == QMAT_MIN) second = _mm512_load_ps(act->extra);
    __m512 s = _mm512_cvtepi32_ps(sum), scale = _mm512_mul_ps(w->d, d);
    bool has_min = spec->kind == QMAT_MIN || spec->kind == QMAT_SUB_MIN;
    if (chains == 0xffff) {
        acc = _mm512_fmadd_ps(s, scale, acc);
        return has_min ? _mm512_fmadd_ps(w->n, second, acc) : acc;
    }
    acc = _mm512_mask3_fmadd_ps(s, scale, acc, chains);
    return has_min ? _mm512_mask3_fmadd_ps(w->n, second, acc, chains) : acc;
}

/* The one to three blocks at the end of rows whose number of blocks is no multiple of four: from
 * copies with zeros behind them, so that the loader may read a whole group. */
INLINE void load_last(qmat_group *w, const uint8_t *const p[4], const qmat_rows_spec *spec,
                      size_t n_left) {
    uint8_t copy[4][4 * 36];
    const uint8_t *at[4];
    for (int i = 0; i < 4; i++) {
        memset(copy[i], 0, sizeof(copy[i]));
        memcpy(copy[i], p[i], n_left * spec->block_bytes);
        at[i] = copy[i];
    }
    spec->load(w, at, 0);
}

INLINE void last_group(__m512 *acc, const uint8_t *const p[4], const qmat_act *acts,
                       const qmat_rows_spec *spec, const int n_tokens, size_t n_left) {
    qmat_group w;
    load_last(&w, p, spec, n_left);
    __mmask16 chains = (__mmask16)((1u << 4 * n_left) - 1);
    for (int t = 0; t < n_tokens; t++) acc[t] = group_step(acc[t], &w, acts + t, spec, chains);
}

/* (acc0 + acc2) + (acc1 + acc3), of the rows that there are. */
INLINE void store_rows(float *y, __m512 acc, size_t n_rows) {
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(acc), _mm512_extractf32x8_ps(acc, 1));
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    if (n_rows >= 4)
        _mm_storeu_ps(y, sum);
    else
        _mm_mask_storeu_ps(y, (__mmask8)((1u << n_rows) - 1), sum);
}

/* What lies some rows further on is asked for, in the order in which memory has it: four streams of
 * a few KiB each are too short for the processor to see. Into the second-level cache: the first
 * level has too few misses in flight for the memory's speed (measured: 0.6 of it against 0.85). */
INLINE void rows_kernel(const qmat_rows_job *job, const qmat_rows_spec spec, const int n_tokens) {
    const size_t groups_per_unit = spec.block_bytes ? 1 : 2;
    const size_t n_units = job->n_blocks / (4 * groups_per_unit);
    const size_t ahead = 4 * job->row_bytes < FETCH_AHEAD ? FETCH_AHEAD : 4 * job->row_bytes;
    for (size_t r = job->row_begin; r < job->row_end; r += 4) {
        const uint8_t *p[4], *fetch = job->w + r * job->row_bytes + ahead;
        for (size_t i = 0; i < 4; i++)
            p[i] = job->w + (r + i < job->row_end ? r + i : job->row_end - 1) * job->row_bytes;
        __m512 acc[MAX_ROW_TOKENS];
        for (int t = 0; t < n_tokens; t++) acc[t] = _mm512_setzero_ps();
        const qmat_act *acts = job->acts;
        for (size_t u = 0; u < n_units; u++) {
            for (int half = 0; half < (int)groups_per_unit; half++) {
                qmat_group w;
                spec.load(&w, p, half);
                for (int t = 0; t < n_tokens; t++)
                    acc[t] = group_step(acc[t], &w, acts + t, &spec, 0xffff);
                acts += n_tokens;
            }
            for (size_t at = 0; at < 4 * spec.unit_bytes; at += 64)
                _mm_prefetch((const char *)(fetch + at), _MM_HINT_T1);
            fetch += 4 * spec.unit_bytes;
            for (int i = 0; i < 4; i++) p[i] += spec.unit_bytes;
        }
        if (spec.block_bytes && job->n_blocks % 4)
            last_group(acc, p, acts, &spec, n_tokens, job->n_blocks % 4);
        for (int t = 0; t < n_tokens && (size_t)t < job->n_tokens; t++)
            store_rows(job->y + (size_t)t * job->ldy + r, acc[t], job->row_end - r);
    }
}

/* ---- panels ---- */

/* Where block b of n stands in a panel: chain by chain. */
INLINE size_t panel_slot(size_t b, size_t n_groups) { return b % 4 * n_groups + b / 4; }

typedef struct qmat_panel {
    size_t n_blocks, n_groups; /* n_groups = ceil(n_blocks / 4) */
    uint8_t *q;                /* [slot][8 steps][32 rows][4 elements] */
    float *d, *n;              /* [slot][32 rows] D and N */
    int32_t *s;                /* SUB: [slot][2][32 rows] scales; SUB_MIN: [slot][32 rows] pairs of
                                  int16 minima */
} qmat_panel;

typedef void (*qmat_unpack_fn)(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS]);

/* 16 registers of 16 dwords: z[i][j] becomes z[j][i]. */
INLINE void transpose_16x16(__m512i *z) {
    __m512i t[16], u[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(z[i], z[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(z[i], z[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) { /* u[4 a + j]: in lane l, dword 4 l + j of rows 4 a .. */
        u[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int j = 0; j < 4; j++) {
        __m512i lo = _mm512_shuffle_i32x4(u[j], u[4 + j], 0x88);       /* lanes 0 2 of rows 0-7 */
        __m512i hi = _mm512_shuffle_i32x4(u[j], u[4 + j], 0xdd);       /* lanes 1 3 */
        __m512i lo2 = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0x88); /* of rows 8-15 */
        __m512i hi2 = _mm512_shuffle_i32x4(u[8 + j], u[12 + j], 0xdd);
        z[j] = _mm512_shuffle_i32x4(lo, lo2, 0x88);
        z[8 + j] = _mm512_shuffle_i32x4(lo, lo2, 0xdd);
        z[4 + j] = _mm512_shuffle_i32x4(hi, hi2, 0x88);
        z[12 + j] = _mm512_shuffle_i32x4(hi, hi2, 0xdd);
    }
}

/* Weights times their sub-blocks' scales, two bytes as one word, modulo 2^16; where they have an
 * offset, that of the products is spec->panel_offset. Both fit a byte: the types see to that. */
INLINE __m512i fold_scales(__m512i q, __m512i scales, const qmat_rows_spec *spec) {
    q = _mm512_mullo_epi16(q, scales);
    if (spec->kind != QMAT_SUB) return q;
    __m512i base = _mm512_sub_epi16(_mm512_set1_epi16((short)spec->panel_offset),
                                    _mm512_slli_epi16(scales, (unsigned)spec->offset_shift));
    return _mm512_add_epi16(q, _mm512_add_epi16(base, _mm512_slli_epi16(base, 8)));
}

/* Puts the weights of 16 rows' group `g`, a or b, into the slots of its chains; `half`: rows 16 on.
 */
INLINE void unpack_group_weights(const qmat_panel *panel, const qmat_group w[4], size_t g,
                                 size_t half, const bool is_b, size_t n_chains,
                                 const qmat_rows_spec *spec) {
    __m512i z[16];
    for (size_t i = 0; i < 16; i++) {
        const qmat_group *four = &w[i / 4];
        z[i] = is_b ? four->b[i % 4] : four->a[i % 4];
        if (spec->odd_shift)
            z[i] = _mm512_mask_srli_epi64(z[i], 0xcc, z[i], (unsigned)spec->odd_shift);
        if (spec->fold) z[i] = fold_scales(z[i], is_b ? four->sb[i % 4] : four->sa[i % 4], spec);
    }
    transpose_16x16(z);
    for (size_t c = 0; c < n_chains; c++) {
        uint8_t *q = panel->q + (c * panel->n_groups + g) * 1024 + (is_b ? 512 : 0) + 64 * half;
        for (size_t j = 0; j < 4; j++) _mm512_store_si512(q + 128 * j, z[4 * c + j]);
    }
}

/* Puts a group's scales of rows first .. first + 3 into slots of group `g`. */
INLINE void unpack_group_scales(const qmat_panel *panel, const qmat_group *w, size_t g,
                                size_t first, const qmat_rows_spec *spec, size_t n_chains) {
    bool has_min = spec->kind == QMAT_MIN || spec->kind == QMAT_SUB_MIN;
    __m512 d = w->d, n = has_min ? w->n : w->d;
    bool has_pairs = spec->kind == QMAT_SUB_MIN || (spec->kind == QMAT_SUB && !spec->fold);
    __m512i pairs = has_pairs ? w->pairs : _mm512_setzero_si512();
    for (size_t c = 0; c < n_chains; c++) {
        size_t slot = c * panel->n_groups + g;
        _mm_store_ps(panel->d + 32 * slot + first, _mm512_castps512_ps128(d));
        d = _mm512_shuffle_f32x4(d, d, 0x39); /* the next lane comes down */
        if (has_min) {
            _mm_store_ps(panel->n + 32 * slot + first, _mm512_castps512_ps128(n));
            n = _mm512_shuffle_f32x4(n, n, 0x39);
        }
        if (!has_pairs) continue;
        __m128i pair = _mm512_castsi512_si128(pairs);
        pairs = _mm512_shuffle_i32x4(pairs, pairs, 0x39);
        if (spec->kind == QMAT_SUB_MIN) {
            _mm_store_si128((void *)(panel->s + 32 * slot + first), pair);
        } else {
            __m128i low = _mm_srai_epi32(_mm_slli_epi32(pair, 16), 16);
            _mm_store_si128((void *)(panel->s + 64 * slot + first), low);
            _mm_store_si128((void *)(panel->s + 64 * slot + 32 + first), _mm_srai_epi32(pair, 16));
        }
    }
}

/* Four rows' group g, whole or as far as there are blocks. */
INLINE void load_group(qmat_group *w, const uint8_t *const rows[4], size_t g, size_t n_blocks,
                       const qmat_rows_spec *spec) {
    const size_t groups_per_unit = spec->block_bytes ? 1 : 2;
    const uint8_t *p[4];
    for (size_t i = 0; i < 4; i++) p[i] = rows[i] + g / groups_per_unit * spec->unit_bytes;
    if (n_blocks < 4)
        load_last(w, p, spec, n_blocks);
    else if (g % groups_per_unit)
        spec->load(w, p, 1);
    else
        spec->load(w, p, 0);
}

/* A panel from a type's loader. */
INLINE void unpack(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS],
                   const qmat_rows_spec spec) {
    for (size_t g = 0; g < panel->n_groups; g++) {
        size_t n_chains = spn_min_size(panel->n_blocks - 4 * g, 4);
        for (size_t half = 0; half < 2; half++) {
            qmat_group w[4];
            for (size_t i = 0; i < 4; i++) {
                size_t first = 16 * half + 4 * i;
                load_group(&w[i], rows + first, g, n_chains, &spec);
                unpack_group_scales(panel, &w[i], g, first, &spec, n_chains);
            }
            unpack_group_weights(panel, w, g, half, false, n_chains, &spec);
            unpack_group_weights(panel, w, g, half, true, n_chains, &spec);
        }
    }
}

/* ---- a type ---- */

typedef void (*qmat_rows_fn)(const qmat_rows_job *job);

typedef struct qmat_type {
    qmat_kind kind;       /* of the rows' kernels */
    qmat_kind panel_kind; /* of the panels, where scales may have been multiplied in */
    int offset, panel_offset;
    qmat_rows_fn rows1, rows2, rows4, rows8;
    qmat_unpack_fn unpack;
} qmat_type;

#define QMAT_ROWS(name, n, ...)                                                  \
    static void rows##n##_##name(const qmat_rows_job *job) {                     \
        rows_kernel(job, (qmat_rows_spec){.load = load_##name, __VA_ARGS__}, n); \
    }
/* The kernels of a type from load_<name> and the rest of its qmat_rows_spec. */
#define QMAT_KERNELS(name, ...)                                                                 \
    QMAT_ROWS(name, 1, __VA_ARGS__)                                                             \
    QMAT_ROWS(name, 2, __VA_ARGS__)                                                             \
    QMAT_ROWS(name, 4, __VA_ARGS__)                                                             \
    QMAT_ROWS(name, 8, __VA_ARGS__)                                                             \
    static void unpack_##name(const qmat_panel *panel, const uint8_t *const rows[PANEL_ROWS]) { \
        unpack(panel, rows, (qmat_rows_spec){.load = load_##name, __VA_ARGS__});                \
    }
#define QMAT_FUNCTIONS(name)                                                                    \
    .rows1 = rows1_##name, .rows2 = rows2_##name, .rows4 = rows4_##name, .rows8 = rows8_##name, \
    .unpack = unpack_##name

/* y for the rows of a call, whichever way is faster. */
void spn_qmat_run_avx512(const spn_matmul_args *args, size_t row_begin, size_t row_end,
                         const qmat_type *type);

#define QMAT_MATMUL(name)                                                              \
    static void matmul_##name(const spn_matmul_args *args, size_t begin, size_t end) { \
        spn_qmat_run_avx512(args, begin, end, &type_##name);                           \
    }

/* Each file's types. */
void spn_qmat_init_avx512_b32(spn_kernels *table);
void spn_qmat_init_avx512_k(spn_kernels *table);
void spn_qmat_init_avx512_iq(spn_kernels *table);
void spn_qmat_init_avx512_grid(spn_kernels *table);

#endif
