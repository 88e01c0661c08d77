/* qmat_avx2.h - the engine of the AVX2 products with quantised weights: a type adds a loader.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Contract (3) of kernels.h, met in two ways, for each of its two forms.
 *
 * ROWS, for few tokens, of which memory is the limit: four rows side by side.
 * Blocks of 32: two at a time, as
 *     a = | b0 0..15 | b1 0..15 |    b = | b0 16..31 | b1 16..31 |
 * so that a 128-bit lane belongs to one chain. vpmaddubsw, vpmaddwd and a tree over four rows give
 * S as [2 chains][4 rows], the shape of the decoded scales. Even pairs of blocks feed chains 0 and
 * 1, odd ones 2 and 3. Per pair of 4 rows and token: 8 vpmaddubsw, 4 (signed: 8) vpmaddwd, 2-3
 * float multiplies, about 14 shuffles and additions.
 * Super-blocks: one at a time, its two groups of 128 in the two lanes, sub-block by sub-block:
 *     q[r] = | group 0: 16 r .. 16 r + 15 | group 1: 16 r .. 16 r + 15 |    r = 0..7
 * so that one register has the 16 integer scales, another the activations' 16 sums in the order of
 * memory. vpmaddubsw leaves pairs, the vpmaddwd behind it multiplies with the scale; all 256
 * products of a row are added before the tree over four rows makes them [2 groups][4 rows]. Per
 * super-block of 4 rows and token: 32 vpmaddubsw, 32 vpmaddwd (16 where 32 elements share a scale),
 * 4 more for an offset or minima, 3-5 float multiplies, about 50 shuffles and additions.
 *
 * PANELS, for many tokens, of which the multipliers are the limit: 32 rows are unpacked into the
 * scratch as two halves of [block][8 steps][16 rows][4 elements] bytes, tiles of 16 rows x 3 tokens
 * (QMAT_SIGNED, QMAT_GROUP_SIGNED: 8 x 4) walk them, blocks of 32 chain by chain, super-blocks from
 * front to end. Sums of vpmaddubsw stay in int16 for as many of a block's eight steps as the type's
 * weights allow (`run`: below), then one vpmaddwd, with ones or with the sub-block's scale, widens
 * them. At run 8 a block of 8 rows and token takes 8 + 1 multiplies and 2 (3) for floats, a group
 * of four blocks 32 + 4 and 2 (minima: 4 + 2 to 4); at run 4 a group takes 32 + 8 and 2. There are
 * two ports for them, and four for the additions, which are nearly as many.
 *
 * The bound of int16, for unsigned weights of at most W and activations of at most 127:
 *     254 W a step:   W <= 15: 8 steps, 30480;   W <= 32: 4 steps, 32512;   W <= 64: 2, 32512.
 * Signed bytes go as |w| and p with w's sign: 2 * 128 * 127 = 32512, one step.
 * A panel of QMAT_GROUP_CENTRED has signed weights, |w| <= W <= 64, and takes the activations as
 * p + 128: vpmaddubsw's pairs are at most 2 * 255 * 64 = 32640, and a run begins at -128 (sum of
 * its weights), which depends on the rows only, so unpacking finds it. The run may pass the bounds
 * of int16 and come back, for what is left in the end is sum w p:
 *     254 W a step:   W <= 16: 8 steps, 32512;   W <= 32: 4 steps;   W <= 64: 2 steps.
 */
#ifndef SPN_QMAT_AVX2_H
#define SPN_QMAT_AVX2_H

#include <immintrin.h>

#include "compute/kernels.h"
#include "compute/quant.h"

#define INLINE static inline __attribute__((always_inline))
/* For loops whose body must see its index as a constant. */
#define UNROLL _Pragma("GCC unroll 8")
#define MAX_ROW_TOKENS 4 /* that share one loading of four rows */
#define PANEL_ROWS 32
#define HALF_ROWS 16
#define FETCH_AHEAD 16384 /* bytes */

typedef enum qmat_kind {
    QMAT_PLAIN,         /* blocks: unsigned weights less a constant offset */
    QMAT_SIGNED,        /* blocks: signed weights */
    QMAT_MIN,           /* blocks: unsigned weights, a second fma over N and dsum */
    QMAT_GROUP_CENTRED, /* groups: unsigned weights less an offset; panels have the difference */
    QMAT_GROUP_SIGNED,  /* groups: signed weights */
    QMAT_GROUP_MIN      /* groups: unsigned weights, a second fma over N and M */
} qmat_kind;

INLINE bool is_signed(qmat_kind kind) { return kind == QMAT_SIGNED || kind == QMAT_GROUP_SIGNED; }
INLINE bool has_groups(qmat_kind kind) { return kind >= QMAT_GROUP_CENTRED; }

/* ---- rows ---- */

/* Four rows' pair of blocks. */
typedef struct qmat_pair {
    __m256i a[4], b[4]; /* [row] weights; unsigned ones at most 64 */
    __m256 d, n;        /* [chain][row] D and N */
} qmat_pair;

/* One token's activations of a pair. */
typedef struct qmat_pair_act {
    int8_t a[32], b[32];
    float d[8];       /* [chain][4 times the same] */
    int32_t extra[8]; /* as d: PLAIN -offset * sum; MIN dsum */
} qmat_pair_act;

/* A row's super-block. */
typedef struct qmat_super {
    __m256i q[8];   /* [sub-block]: | of group 0 | of group 1 | weights; unsigned ones below 128 */
    __m256i scales; /* [group][8 sub-blocks] int16 */
    __m256i minima; /* MIN: the same of the minima */
    uint16_t d, n;  /* f16: D less spec->factor, -N */
} qmat_super;

/* One token's activations of a super-block. */
typedef struct qmat_super_act {
    int8_t q[8][32]; /* as qmat_super.q */
    int16_t sum[16]; /* [group][8] */
    float d[8];      /* [group][4 times the same] */
} qmat_super_act;

typedef struct qmat_rows_job {
    const uint8_t *w, *next;
    size_t row_bytes, n_blocks, row_begin, row_end;
    const void *acts; /* [pair or super-block][n_tokens] */
    float *y;         /* [n_tokens][ldy] */
    size_t ldy;
} qmat_rows_job;

typedef struct qmat_spec {
    qmat_kind kind;
    unsigned unit_bytes; /* of a block, or of a super-block */
    int run;             /* steps of a panel whose sums fit int16: 8, 4, 2, 1 */
    int offset;
    /* Blocks: fills `pair` from two blocks each of the rows p[0..3], and reads no byte past them.
     */
    void (*load_pair)(qmat_pair *pair, const uint8_t *const p[4]);
    /* Groups: fills `super`, and reads no byte past it. */
    void (*load_super)(qmat_super *super, const uint8_t *p);
    /* Instead, for types with grids: finds the places of its entries, and fills it from them. */
    void (*find_places)(uint16_t places[64], const uint8_t *p);
    void (*load_grid)(qmat_super *super, const uint8_t *p, const uint16_t places[64]);
    bool wide_scales; /* groups: 32 elements have one scale, and 64 times of weights fit int16 */
    float factor;     /* groups: of D; 0: none */
} qmat_spec;

/* Sums the four numbers of each lane of four rows: [chain][row]. */
INLINE __m256i sum_lanes(const __m256i s[4]) {
    __m256i u =
        _mm256_add_epi32(_mm256_unpacklo_epi32(s[0], s[1]), _mm256_unpackhi_epi32(s[0], s[1]));
    __m256i v =
        _mm256_add_epi32(_mm256_unpacklo_epi32(s[2], s[3]), _mm256_unpackhi_epi32(s[2], s[3]));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(u, v), _mm256_unpackhi_epi64(u, v));
}

/* Products of signed weights and activations, two to an int16: |w| * (p with w's sign). */
INLINE __m256i signed_products(__m256i w, __m256i p) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(p, w));
}

/* Products of weights and activations, two to an int16. */
INLINE __m256i products(__m256i w, __m256i p, const qmat_kind kind) {
    return is_signed(kind) ? signed_products(w, p) : _mm256_maddubs_epi16(w, p);
}

/* [chain][row] S of a pair, before an offset's share. Four products of 64 * 127 fit int16. */
INLINE __m256i pair_sums(const qmat_pair *w, const qmat_pair_act *act, const qmat_kind kind) {
    __m256i a = _mm256_load_si256((const void *)act->a),
            b = _mm256_load_si256((const void *)act->b);
    __m256i ones = _mm256_set1_epi16(1), s[4];
    UNROLL for (int i = 0; i < 4; i++) {
        __m256i x = products(w->a[i], a, kind), y = products(w->b[i], b, kind);
        s[i] = is_signed(kind)
                   ? _mm256_add_epi32(_mm256_madd_epi16(x, ones), _mm256_madd_epi16(y, ones))
                   : _mm256_madd_epi16(_mm256_add_epi16(x, y), ones);
    }
    return sum_lanes(s);
}

INLINE __m256 pair_step(__m256 acc, const qmat_pair *w, const qmat_pair_act *act,
                        const qmat_spec *spec) {
    __m256i sum = pair_sums(w, act, spec->kind);
    __m256i extra = _mm256_load_si256((const void *)act->extra);
    if (spec->kind == QMAT_PLAIN) sum = _mm256_add_epi32(sum, extra);
    acc =
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(w->d, _mm256_load_ps(act->d)), acc);
    if (spec->kind == QMAT_MIN) acc = _mm256_fmadd_ps(w->n, _mm256_castsi256_ps(extra), acc);
    return acc;
}

/* A single last block: from a copy with zeros behind it. */
INLINE void load_last(qmat_pair *w, const uint8_t *const p[4], const qmat_spec *spec) {
    uint8_t copy[4][2 * 36];
    const uint8_t *at[4];
    UNROLL for (int i = 0; i < 4; i++) {
        memset(copy[i], 0, sizeof(copy[i]));
        memcpy(copy[i], p[i], spec->unit_bytes);
        at[i] = copy[i];
    }
    spec->load_pair(w, at);
}

/* A pair of blocks: acc[.][to]. */
INLINE void rows_pair(__m256 acc[MAX_ROW_TOKENS][2], const uint8_t *p[4], int to,
                      const qmat_pair_act *acts, const qmat_spec *spec, const int n_tokens) {
    qmat_pair w;
    spec->load_pair(&w, p);
    UNROLL for (int t = 0; t < n_tokens; t++) {
        acc[t][to] = pair_step(acc[t][to], &w, acts + t, spec);
    }
    UNROLL for (int i = 0; i < 4; i++) { p[i] += 2 * spec->unit_bytes; }
}

/* What two pairs a turn leave: one pair and one block at most. */
INLINE void rows_rest(__m256 acc[MAX_ROW_TOKENS][2], const uint8_t *p[4], size_t n_left,
                      const qmat_pair_act *acts, const qmat_spec *spec, const int n_tokens) {
    if (n_left >= 2) {
        rows_pair(acc, p, 0, acts, spec, n_tokens);
        acts += n_tokens;
    }
    if (n_left % 2 == 0) return;
    qmat_pair w;
    load_last(&w, p, spec);
    UNROLL for (int t = 0; t < n_tokens; t++) {
        __m256 *last = &acc[t][n_left >= 2];
        *last = _mm256_blend_ps(*last, pair_step(*last, &w, acts + t, spec), 0x0f);
    }
}

/* Word `n` of each lane, in all of the lane. */
INLINE __m256i spread_word(__m256i x, int n) {
    return _mm256_shuffle_epi8(x, _mm256_set1_epi16((short)(2 * n | (2 * n + 1) << 8)));
}

/* The two steps of loading a super-block. A place waits for the others of its register to be found,
 * so those of several rows are found first. */
INLINE void find_places(uint16_t places[64], const uint8_t *p, const qmat_spec *spec) {
    if (spec->find_places) spec->find_places(places, p);
}

INLINE void load_super(qmat_super *w, const uint8_t *p, const uint16_t places[64],
                       const qmat_spec *spec) {
    if (spec->load_grid)
        spec->load_grid(w, p, places);
    else
        spec->load_super(w, p);
}

/* sum[t]: a row's and token's share of S, spread over a group's lane. |S| < 2^27, and an offset's
 * share is not larger. */
INLINE void super_sums(__m256i sum[MAX_ROW_TOKENS], const qmat_super *w, const qmat_super_act *acts,
                       const qmat_spec *spec, const int n_tokens) {
    const int step = spec->wide_scales ? 2 : 1;
    __m256i offsets = _mm256_mullo_epi16(w->scales, _mm256_set1_epi16((short)-spec->offset));
    UNROLL for (int t = 0; t < n_tokens; t++) {
        sum[t] = _mm256_setzero_si256();
        if (spec->offset)
            sum[t] = _mm256_madd_epi16(offsets, _mm256_load_si256((const void *)acts[t].sum));
    }
    UNROLL for (int r = 0; r < 8; r += step) {
        __m256i scale = spread_word(w->scales, r);
        UNROLL for (int t = 0; t < n_tokens; t++) {
            const __m256i *q = (const void *)acts[t].q;
            __m256i x = products(w->q[r], _mm256_load_si256(q + r), spec->kind);
            if (spec->wide_scales)
                x = _mm256_add_epi16(
                    x, products(w->q[r + 1], _mm256_load_si256(q + r + 1), spec->kind));
            sum[t] = _mm256_add_epi32(sum[t], _mm256_madd_epi16(x, scale));
        }
    }
}

/* Both groups' steps of the chain, four rows side by side. */
INLINE __m128 super_step(__m128 acc, __m256 s, __m256 d, __m256 n, __m256 m, const bool has_min) {
    acc = _mm_fmadd_ps(_mm256_castps256_ps128(s), _mm256_castps256_ps128(d), acc);
    if (has_min) acc = _mm_fmadd_ps(_mm256_castps256_ps128(n), _mm256_castps256_ps128(m), acc);
    acc = _mm_fmadd_ps(_mm256_extractf128_ps(s, 1), _mm256_extractf128_ps(d, 1), acc);
    if (has_min) acc = _mm_fmadd_ps(_mm256_castps256_ps128(n), _mm256_extractf128_ps(m, 1), acc);
    return acc;
}

/* D of four rows or, of eight, the rest. */
INLINE __m256 super_d(__m256 halves, const qmat_spec *spec) {
    return spec->factor != 0 ? _mm256_mul_ps(halves, _mm256_set1_ps(spec->factor)) : halves;
}

/* A super-block: the low half of acc[.][0]. */
INLINE void rows_super(__m256 acc[MAX_ROW_TOKENS][2], const uint8_t *p[4],
                       const qmat_super_act *acts, const qmat_spec *spec, const int n_tokens) {
    const bool has_min = spec->kind == QMAT_GROUP_MIN;
    __m256i sum[MAX_ROW_TOKENS][4], minima[MAX_ROW_TOKENS][4];
    uint64_t d_bits = 0, n_bits = 0;
    uint16_t places[4][64];
    UNROLL for (int i = 0; i < 4; i++) find_places(places[i], p[i], spec);
    for (int i = 0; i < 4; i++) {
        qmat_super w;
        __m256i s[MAX_ROW_TOKENS];
        load_super(&w, p[i], places[i], spec);
        p[i] += spec->unit_bytes;
        super_sums(s, &w, acts, spec, n_tokens);
        UNROLL for (int t = 0; t < n_tokens; t++) {
            sum[t][i] = s[t];
            if (has_min)
                minima[t][i] =
                    _mm256_madd_epi16(w.minima, _mm256_load_si256((const void *)acts[t].sum));
        }
        d_bits = d_bits >> 16 | (uint64_t)w.d << 48;
        if (has_min) n_bits = n_bits >> 16 | (uint64_t)(w.n ^ 0x8000) << 48;
    }
    __m128 d4 = _mm_cvtph_ps(_mm_cvtsi64_si128((long long)d_bits));
    __m128 n4 = _mm_cvtph_ps(_mm_cvtsi64_si128((long long)n_bits));
    __m256 d = super_d(_mm256_set_m128(d4, d4), spec), n = _mm256_castps128_ps256(n4);
    UNROLL for (int t = 0; t < n_tokens; t++) {
        __m256 act_d = _mm256_load_ps(acts[t].d), m = act_d;
        __m256 s = _mm256_cvtepi32_ps(sum_lanes(sum[t]));
        if (has_min) m = _mm256_mul_ps(_mm256_cvtepi32_ps(sum_lanes(minima[t])), act_d);
        acc[t][0] = _mm256_castps128_ps256(super_step(_mm256_castps256_ps128(acc[t][0]), s,
                                                      _mm256_mul_ps(d, act_d), n, m, has_min));
    }
}

/* Groups' one chain, or (acc0 + acc2) + (acc1 + acc3); of the rows that there are. */
INLINE void store_rows(float *y, const __m256 acc[2], size_t n_rows, const qmat_spec *spec) {
    __m256 half = _mm256_add_ps(acc[0], acc[1]);
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    float out[4];
    _mm_storeu_ps(out, has_groups(spec->kind) ? _mm256_castps256_ps128(acc[0]) : sum);
    memcpy(y, out, (n_rows < 4 ? n_rows : 4) * sizeof(float));
}

/* A turn is two pairs of blocks or a super-block. Prefetching is as in qmat_avx512.h. */
INLINE void rows_kernel(const qmat_rows_job *job, const qmat_spec spec, const int n_tokens) {
    const bool groups = has_groups(spec.kind), near = spn_fetches_near();
    const size_t n_turns = job->n_blocks / (groups ? 8 : 4);
    const size_t turn_bytes = groups ? spec.unit_bytes : 4 * spec.unit_bytes;
    const size_t n_ahead = spn_rows_of(job->row_bytes, FETCH_AHEAD, 4);
    for (size_t r = job->row_begin; r < job->row_end; r += 4) {
        const uint8_t *p[4];
        const uint8_t *fetch =
            spn_rows_ahead(job->w, job->row_bytes, r, job->row_end, n_ahead, job->next);
        spn_rows_from(p, 4, job->w, job->row_bytes, r, job->row_end);
        __m256 acc[MAX_ROW_TOKENS][2];
        UNROLL for (int t = 0; t < n_tokens; t++) { acc[t][0] = acc[t][1] = _mm256_setzero_ps(); }
        const qmat_pair_act *pairs = job->acts;
        const qmat_super_act *supers = job->acts;
        for (size_t turn = 0; turn < n_turns; turn++) {
            if (groups) {
                rows_super(acc, p, supers, &spec, n_tokens);
                supers += n_tokens;
            } else {
                rows_pair(acc, p, 0, pairs, &spec, n_tokens);
                rows_pair(acc, p, 1, pairs + n_tokens, &spec, n_tokens);
                pairs += 2 * n_tokens;
            }
            spn_fetch_once(fetch, 4 * turn_bytes, near);
            fetch += 4 * turn_bytes;
        }
        if (!groups) rows_rest(acc, p, job->n_blocks % 4, pairs, &spec, n_tokens);
        for (int t = 0; t < n_tokens; t++)
            store_rows(job->y + (size_t)t * job->ldy + r, acc[t], job->row_end - r, &spec);
    }
}

/* ---- panels ---- */

/* Half a panel: 16 rows. A slot is a block of 32: chain by chain for the types with blocks, in
 * order for those with groups. */
typedef struct qmat_panel {
    size_t n_blocks, n_quads; /* n_quads = ceil(n_blocks / 4) */
    uint8_t *q;               /* [slot][8 steps][16 rows][4 elements] */
    float *d, *n;             /* [slot or super-block][16 rows] D and N */
    int32_t *scales;          /* groups: [slot][2][16 rows] the sub-block's int16 scale, twice */
    int32_t *starts;          /* CENTRED: [slot][8 / run][16 rows] where a run's two int16 begin */
    int32_t *pairs;           /* MIN: [group][4 or, wide scales, 2][16 rows] int16 minima of two */
} qmat_panel;

typedef void (*qmat_unpack_fn)(const qmat_panel *panel, const uint8_t *const rows[HALF_ROWS]);

/* Where block b of a type with blocks stands. */
INLINE size_t panel_slot(size_t b, size_t n_quads) { return b % 4 * n_quads + b / 4; }

/* 8 registers of 8 dwords: z[i][j] becomes z[j][i]. */
INLINE void transpose_8x8(__m256i *z) {
    __m256i t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(z[i], z[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(z[i], z[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) { /* u[i + j]: in lane l, dword 4 l + j of rows i .. i + 3 */
        u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int j = 0; j < 4; j++) {
        z[j] = _mm256_permute2x128_si256(u[j], u[4 + j], 0x20);
        z[4 + j] = _mm256_permute2x128_si256(u[j], u[4 + j], 0x31);
    }
}

/* Puts four steps of 8 rows, from step `step` of slots `low` and `high`: z[i] has row i's 16 bytes
 * of one in the low lane and of the other in the high one, and is overwritten. */
INLINE void unpack_steps(const qmat_panel *panel, __m256i z[8], size_t low, size_t high,
                         size_t step, size_t first) {
    transpose_8x8(z);
    for (size_t j = 0; j < 4; j++) {
        size_t at = 64 * (step + j) + 4 * first;
        _mm256_store_si256((void *)(panel->q + 512 * low + at), z[j]);
        _mm256_store_si256((void *)(panel->q + 512 * high + at), z[4 + j]);
    }
}

INLINE void unpack_pair_scales(const qmat_panel *panel, const qmat_pair *w, size_t low, size_t high,
                               size_t first, const qmat_spec *spec) {
    float *d = panel->d + first, *n = panel->n + first;
    _mm_store_ps(d + 16 * low, _mm256_castps256_ps128(w->d));
    _mm_store_ps(d + 16 * high, _mm256_extractf128_ps(w->d, 1));
    if (spec->kind != QMAT_MIN) return;
    _mm_store_ps(n + 16 * low, _mm256_castps256_ps128(w->n));
    _mm_store_ps(n + 16 * high, _mm256_extractf128_ps(w->n, 1));
}

/* Blocks b and b + 1 of rows first .. first + 7; of a single one, what is beside it goes where a
 * chain's missing last block would stand. */
INLINE void unpack_pair(const qmat_panel *panel, const uint8_t *const *rows, size_t b, size_t first,
                        const qmat_spec *spec) {
    size_t low = panel_slot(b, panel->n_quads), high = panel_slot(b + 1, panel->n_quads);
    qmat_pair w[2];
    __m256i a[8], c[8];
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *p[4];
        for (size_t j = 0; j < 4; j++) p[j] = rows[first + 4 * i + j] + b * spec->unit_bytes;
        if (b + 1 < panel->n_blocks)
            spec->load_pair(&w[i], p);
        else
            load_last(&w[i], p, spec);
        unpack_pair_scales(panel, &w[i], low, high, first + 4 * i, spec);
    }
    for (int i = 0; i < 8; i++) {
        a[i] = w[i / 4].a[i % 4];
        c[i] = w[i / 4].b[i % 4];
    }
    unpack_steps(panel, a, low, high, 0, first);
    unpack_steps(panel, c, low, high, 4, first);
}

/* Scales or minima of super-block u of 8 rows as z[a]: words 2 a and 2 a + 1 of 8 rows. */
INLINE void collect_words(__m256i z[8], const qmat_super w[8], const bool minima) {
    for (int i = 0; i < 8; i++) z[i] = minima ? w[i].minima : w[i].scales;
    transpose_8x8(z);
}

INLINE void unpack_super_scales(const qmat_panel *panel, const qmat_super w[8], size_t u,
                                size_t first, const qmat_spec *spec) {
    const __m256i odd = _mm256_set1_epi32((int)0xffff0000);
    int32_t *at = panel->scales + 256 * u + first;
    __m256i z[8];
    collect_words(z, w, false);
    for (int a = 0; a < 8; a++, at += 32) {
        __m256i low = _mm256_slli_epi32(z[a], 16), high = _mm256_srli_epi32(z[a], 16);
        _mm256_store_si256((void *)at, _mm256_or_si256(low, _mm256_srli_epi32(low, 16)));
        _mm256_store_si256((void *)(at + 16), _mm256_or_si256(high, _mm256_and_si256(z[a], odd)));
    }
    __m128i d = _mm_setr_epi16((short)w[0].d, (short)w[1].d, (short)w[2].d, (short)w[3].d,
                               (short)w[4].d, (short)w[5].d, (short)w[6].d, (short)w[7].d);
    _mm256_store_ps(panel->d + 16 * u + first, super_d(_mm256_cvtph_ps(d), spec));
}

INLINE void unpack_super_minima(const qmat_panel *panel, const qmat_super w[8], size_t u,
                                size_t first, const qmat_spec *spec) {
    const int step = spec->wide_scales ? 2 : 1;
    int32_t *at = panel->pairs + 128 * u / (size_t)step + first;
    __m256i z[8];
    collect_words(z, w, true);
    for (int a = 0; a < 8; a += step, at += 16)
        _mm256_store_si256((void *)at, _mm256_blend_epi16(z[a], z[a + step - 1], 0xaa));
    __m128i n = _mm_setr_epi16((short)w[0].n, (short)w[1].n, (short)w[2].n, (short)w[3].n,
                               (short)w[4].n, (short)w[5].n, (short)w[6].n, (short)w[7].n);
    n = _mm_xor_si128(n, _mm_set1_epi16((short)0x8000));
    _mm256_store_ps(panel->n + 16 * u + first, _mm256_cvtph_ps(n));
}

/* Where the runs of super-block u begin: as if they went back from activations of 128. */
INLINE void unpack_starts(const qmat_panel *panel, size_t u, size_t first, const qmat_spec *spec) {
    const __m256i p = _mm256_set1_epi8((char)128);
    const uint8_t *q = panel->q + 4096 * u + 4 * first;
    int32_t *at = panel->starts + 1024 / (size_t)spec->run * u + first;
    for (int j = 0; j < 64; j += spec->run, at += 16) {
        __m256i start = _mm256_setzero_si256();
        UNROLL for (int i = 0; i < spec->run; i++, q += 64) {
            __m256i x = _mm256_load_si256((const void *)q);
            start = _mm256_sub_epi16(start, _mm256_maddubs_epi16(p, x));
        }
        _mm256_store_si256((void *)at, start);
    }
}

/* Super-block u of rows first .. first + 7. */
INLINE void unpack_super(const qmat_panel *panel, const uint8_t *const *rows, size_t u,
                         size_t first, const qmat_spec *spec) {
    const __m256i offset = _mm256_set1_epi8((char)spec->offset);
    qmat_super w[8];
    for (size_t i = 0; i < 8; i++) {
        const uint8_t *p = rows[first + i] + u * spec->unit_bytes;
        uint16_t places[64];
        find_places(places, p, spec);
        load_super(&w[i], p, places, spec);
    }
    for (size_t r = 0; r < 8; r++) {
        __m256i z[8];
        for (int i = 0; i < 8; i++) z[i] = _mm256_sub_epi8(w[i].q[r], offset);
        unpack_steps(panel, z, 8 * u + r / 2, 8 * u + 4 + r / 2, r % 2 * 4, first);
    }
    unpack_super_scales(panel, w, u, first, spec);
    if (spec->kind == QMAT_GROUP_MIN) unpack_super_minima(panel, w, u, first, spec);
    if (spec->kind == QMAT_GROUP_CENTRED) unpack_starts(panel, u, first, spec);
}

INLINE void unpack(const qmat_panel *panel, const uint8_t *const rows[HALF_ROWS],
                   const qmat_spec spec) {
    const size_t unit_blocks = has_groups(spec.kind) ? 8 : 2;
    for (size_t b = 0; b < panel->n_blocks; b += unit_blocks)
        for (size_t first = 0; first < HALF_ROWS; first += 8) {
            if (has_groups(spec.kind))
                unpack_super(panel, rows, b / 8, first, &spec);
            else
                unpack_pair(panel, rows, b, first, &spec);
        }
}

/* ---- a type ---- */

typedef void (*qmat_rows_fn)(const qmat_rows_job *job);

typedef struct qmat_type {
    qmat_spec spec; /* without its functions */
    qmat_rows_fn rows1, rows2, rows4;
    qmat_unpack_fn unpack;
} qmat_type;

#define QMAT_ROWS(name, n, ...)                              \
    static void rows##n##_##name(const qmat_rows_job *job) { \
        rows_kernel(job, (qmat_spec){__VA_ARGS__}, n);       \
    }
#define QMAT_FUNCTIONS(name, loader, ...)                                                      \
    QMAT_ROWS(name, 1, loader, __VA_ARGS__)                                                    \
    QMAT_ROWS(name, 2, loader, __VA_ARGS__)                                                    \
    QMAT_ROWS(name, 4, loader, __VA_ARGS__)                                                    \
    static void unpack_##name(const qmat_panel *panel, const uint8_t *const rows[HALF_ROWS]) { \
        unpack(panel, rows, (qmat_spec){loader, __VA_ARGS__});                                 \
    }                                                                                          \
    static const qmat_type type_##name = {.spec = {__VA_ARGS__},                               \
                                          .rows1 = rows1_##name,                               \
                                          .rows2 = rows2_##name,                               \
                                          .rows4 = rows4_##name,                               \
                                          .unpack = unpack_##name};                            \
    static void matmul_##name(const spn_matmul_args *args, size_t begin, size_t end) {         \
        spn_qmat_run_avx2(args, begin, end, &type_##name);                                     \
    }
/* All functions of a type from load_<name> and the rest of its qmat_spec. */
#define QMAT_BLOCKS(name, ...) QMAT_FUNCTIONS(name, .load_pair = load_##name, __VA_ARGS__)
#define QMAT_SUPERS(name, ...) QMAT_FUNCTIONS(name, .load_super = load_##name, __VA_ARGS__)
#define QMAT_GRIDS(name, ...) \
    QMAT_FUNCTIONS(name, .load_grid = load_##name, .find_places = places_##name, __VA_ARGS__)

/* y for the rows of a call, whichever way is faster. */
void spn_qmat_run_avx2(const spn_matmul_args *args, size_t row_begin, size_t row_end,
                       const qmat_type *type);

/* ---- for loaders ---- */

/* The same bits of each byte. */
INLINE __m256i low_bits(__m256i x, int mask) {
    return _mm256_and_si256(x, _mm256_set1_epi8((char)mask));
}

/* Dwords' low halves, twice each: scales of blocks as those of sub-blocks. */
INLINE __m256i twice_each(__m256i x) {
    return _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(_mm_setr_epi8(
                                      0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13)));
}

/* A table of 16 values for nibbles, in both lanes. */
INLINE __m256i value_table(const int8_t *values) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)values));
}

/* 16 bytes from each place. */
INLINE __m256i load_two(const uint8_t *low, const uint8_t *high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)low)),
                                   _mm_loadu_si128((const void *)high), 1);
}

/* The same 16 bytes twice. */
INLINE __m256i load_twice(const uint8_t *p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)p));
}

/* Each file's types. */
void spn_qmat_init_avx2_b32(spn_kernels *table);
void spn_qmat_init_avx2_k(spn_kernels *table);
void spn_qmat_init_avx2_grid(spn_kernels *table);

#endif
