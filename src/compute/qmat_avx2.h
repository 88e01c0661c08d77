/* qmat_avx2.h - the engine of the AVX2 products with quantised weights: a type adds a loader.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Contract (3) of kernels.h, met in the two ways of qmat_avx512.h, which give the same bits.
 *
 * ROWS, for few tokens: four rows side by side, two blocks of 32 at a time, as
 *     a = | b0 0..15 | b1 0..15 |    b = | b0 16..31 | b1 16..31 |
 * so that a 128-bit lane belongs to one chain. vpmaddubsw, vpmaddwd and a tree over four rows give
 * S as [2 chains][4 rows], the shape of the decoded scales. Even pairs of blocks feed chains 0 and
 * 1, odd ones 2 and 3. Per pair of 4 rows and token: 8 vpmaddubsw, 4 (signed: 8) vpmaddwd, 2-3
 * float multiplies, about 14 shuffles and additions.
 *
 * PANELS, for many tokens: 32 rows are unpacked into the scratch as two halves of
 * [chain][block][8 steps][16 rows][4 elements] bytes; tiles of 16 rows x 3 tokens (signed weights:
 * 8 x 4) walk them chain by chain. Sums of vpmaddubsw stay in int16 for as many of a block's eight
 * steps as the type's weights allow (`run`: below), then one vpmaddwd, with ones or with the
 * sub-block's scale, widens them. At run 8 that is 1 multiply for 32 products and 11 (12)
 * multiplies a block of 8 rows and token, on two ports.
 *
 * The bound of int16: weights of at most W and activations of at most 127 make 254 W a step, so
 *     W <= 15: 8 steps, 30480;   W <= 32: 4 steps, 32512;   W <= 64: 2 steps, 32512.
 * Signed bytes go as |w| and p with w's sign: 2 * 128 * 127 = 32512, one step.
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
    QMAT_PLAIN,     /* unsigned weights less a constant offset */
    QMAT_SIGNED,    /* signed weights */
    QMAT_MIN,       /* unsigned weights, a second fma over N and dsum */
    QMAT_SUB,       /* integer scales for sub-blocks of 16, unsigned weights less an offset */
    QMAT_SUB_MIN,   /* the same without offset, and a second fma over N and M */
    QMAT_SUB_SIGNED /* integer scales for sub-blocks of 16, signed weights */
} qmat_kind;

INLINE bool is_signed(qmat_kind kind) { return kind == QMAT_SIGNED || kind == QMAT_SUB_SIGNED; }

/* ---- rows ---- */

/* Four rows' pair of blocks. */
typedef struct qmat_pair {
    __m256i a[4], b[4];   /* [row] weights; unsigned ones at most 64 */
    __m256 d, n;          /* [chain][row] D and N */
    __m256i sa[4], sb[4]; /* SUB...: [row] int16 scales of the sub-blocks in a and in b */
    __m256i pairs;        /* SUB: [chain][row] the block's two int16 scales; SUB_MIN: minima */
} qmat_pair;

/* One token's activations of a pair. */
typedef struct qmat_act {
    int8_t a[32], b[32];
    float d[8];       /* [chain][4 times the same] */
    int32_t extra[8]; /* as d: PLAIN -offset * sum; MIN dsum; SUB... two int16 sums of 16 */
} qmat_act;

typedef struct qmat_rows_job {
    const uint8_t *w;
    size_t row_bytes, n_blocks, row_begin, row_end;
    const qmat_act *acts; /* [pair][n_tokens] */
    float *y;             /* [n_tokens][ldy] */
    size_t ldy;
} qmat_rows_job;

/* Fills `pair` from rows p[0..3], which stand at a pair of blocks or at a super-block whose pair
 * `j` is meant. Reads no byte past it. */
typedef void (*qmat_load_fn)(qmat_pair *pair, const uint8_t *const p[4], int j);

typedef struct qmat_spec {
    qmat_load_fn load;
    qmat_kind kind;
    unsigned block_bytes; /* of 32 elements; 0: super-blocks */
    unsigned unit_bytes;  /* of two blocks, or of a super-block of 256 */
    int offset_shift;     /* SUB: log2 of the offset */
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

/* [chain][row] S of a pair, before an offset's share. Four products of 64 * 127 fit int16. */
INLINE __m256i pair_sums(const qmat_pair *w, const qmat_act *act, const qmat_kind kind) {
    __m256i a = _mm256_load_si256((const void *)act->a),
            b = _mm256_load_si256((const void *)act->b);
    __m256i ones = _mm256_set1_epi16(1), s[4];
    UNROLL for (int i = 0; i < 4; i++) {
        __m256i x =
            is_signed(kind) ? signed_products(w->a[i], a) : _mm256_maddubs_epi16(w->a[i], a);
        __m256i y =
            is_signed(kind) ? signed_products(w->b[i], b) : _mm256_maddubs_epi16(w->b[i], b);
        if (kind == QMAT_PLAIN || kind == QMAT_MIN)
            s[i] = _mm256_madd_epi16(_mm256_add_epi16(x, y), ones);
        else
            s[i] = _mm256_add_epi32(_mm256_madd_epi16(x, kind == QMAT_SIGNED ? ones : w->sa[i]),
                                    _mm256_madd_epi16(y, kind == QMAT_SIGNED ? ones : w->sb[i]));
    }
    return sum_lanes(s);
}

INLINE __m256 pair_step(__m256 acc, const qmat_pair *w, const qmat_act *act,
                        const qmat_spec *spec) {
    __m256i sum = pair_sums(w, act, spec->kind);
    __m256 d = _mm256_load_ps(act->d), second = d;
    __m256i extra = _mm256_load_si256((const void *)act->extra);
    if (spec->kind == QMAT_PLAIN) sum = _mm256_add_epi32(sum, extra);
    if (spec->kind == QMAT_SUB)
        sum = _mm256_sub_epi32(
            sum, _mm256_slli_epi32(_mm256_madd_epi16(w->pairs, extra), spec->offset_shift));
    if (spec->kind == QMAT_SUB_MIN)
        second = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(w->pairs, extra)), d);
    if (spec->kind == QMAT_MIN) second = _mm256_castsi256_ps(extra);
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(w->d, d), acc);
    if (spec->kind == QMAT_MIN || spec->kind == QMAT_SUB_MIN)
        acc = _mm256_fmadd_ps(w->n, second, acc);
    return acc;
}

/* A single last block: from a copy with zeros behind it. */
INLINE void load_last(qmat_pair *w, const uint8_t *const p[4], const qmat_spec *spec) {
    uint8_t copy[4][2 * 36];
    const uint8_t *at[4];
    UNROLL for (int i = 0; i < 4; i++) {
        memset(copy[i], 0, sizeof(copy[i]));
        memcpy(copy[i], p[i], spec->block_bytes);
        at[i] = copy[i];
    }
    spec->load(w, at, 0);
}

/* (acc0 + acc2) + (acc1 + acc3), of the rows that there are. */
INLINE void store_rows(float *y, const __m256 acc[2], size_t n_rows) {
    __m256 half = _mm256_add_ps(acc[0], acc[1]);
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    float out[4];
    _mm_storeu_ps(out, sum);
    memcpy(y, out, (n_rows < 4 ? n_rows : 4) * sizeof(float));
}

/* One pair: acc[.][to]. */
INLINE void rows_pair(__m256 acc[MAX_ROW_TOKENS][2], const uint8_t *const p[4], int j, int to,
                      const qmat_act *acts, const qmat_spec *spec, const int n_tokens) {
    qmat_pair w;
    spec->load(&w, p, j);
    UNROLL for (int t = 0; t < n_tokens; t++) {
        acc[t][to] = pair_step(acc[t][to], &w, acts + t, spec);
    }
}

/* What two pairs a turn leave: one pair and one block at most. */
INLINE void rows_rest(__m256 acc[MAX_ROW_TOKENS][2], const uint8_t *p[4], size_t n_left,
                      const qmat_act *acts, const qmat_spec *spec, const int n_tokens) {
    if (n_left >= 2) {
        rows_pair(acc, p, 0, 0, acts, spec, n_tokens);
        acts += n_tokens;
        UNROLL for (int i = 0; i < 4; i++) { p[i] += spec->unit_bytes; }
    }
    if (n_left % 2 == 0) return;
    qmat_pair w;
    load_last(&w, p, spec);
    UNROLL for (int t = 0; t < n_tokens; t++) {
        __m256 *last = &acc[t][n_left >= 2];
        *last = _mm256_blend_ps(*last, pair_step(*last, &w, acts + t, spec), 0x0f);
    }
}

/* Prefetching is as in qmat_avx512.h. */
INLINE void rows_kernel(const qmat_rows_job *job, const qmat_spec spec, const int n_tokens) {
    const size_t blocks_per_turn = spec.block_bytes ? 4 : 8;
    const size_t turn_bytes = spec.block_bytes ? 2 * spec.unit_bytes : spec.unit_bytes;
    const size_t ahead = 4 * job->row_bytes < FETCH_AHEAD ? FETCH_AHEAD : 4 * job->row_bytes;
    for (size_t r = job->row_begin; r < job->row_end; r += 4) {
        const uint8_t *p[4], *fetch = job->w + r * job->row_bytes + ahead;
        for (size_t i = 0; i < 4; i++)
            p[i] = job->w + (r + i < job->row_end ? r + i : job->row_end - 1) * job->row_bytes;
        __m256 acc[MAX_ROW_TOKENS][2];
        UNROLL for (int t = 0; t < n_tokens; t++) { acc[t][0] = acc[t][1] = _mm256_setzero_ps(); }
        const qmat_act *acts = job->acts;
        for (size_t turn = 0; turn < job->n_blocks / blocks_per_turn; turn++) {
            UNROLL for (int j = 0; j < 4; j++) {
                if (j >= 2 && spec.block_bytes) continue;
                const uint8_t *at[4];
                UNROLL for (int i = 0; i < 4; i++) {
                    at[i] = p[i] + (spec.block_bytes ? (size_t)j * spec.unit_bytes : 0);
                }
                rows_pair(acc, at, j, j % 2, acts, &spec, n_tokens);
                acts += n_tokens;
            }
            UNROLL for (int i = 0; i < 4; i++) { p[i] += turn_bytes; }
            for (size_t at = 0; at < 4 * turn_bytes; at += 64)
                _mm_prefetch((const char *)(fetch + at), _MM_HINT_T1);
            fetch += 4 * turn_bytes;
        }
        if (spec.block_bytes) rows_rest(acc, p, job->n_blocks % 4, acts, &spec, n_tokens);
        for (int t = 0; t < n_tokens; t++)
            store_rows(job->y + (size_t)t * job->ldy + r, acc[t], job->row_end - r);
    }
}

/* ---- panels ---- */

/* Where block b of n stands in a panel: chain by chain. */
INLINE size_t panel_slot(size_t b, size_t n_groups) { return b % 4 * n_groups + b / 4; }

/* Half a panel: 16 rows. */
typedef struct qmat_panel {
    size_t n_blocks, n_groups; /* n_groups = ceil(n_blocks / 4) */
    uint8_t *q;                /* [slot][8 steps][16 rows][4 elements] */
    float *d, *n;              /* [slot][16 rows] D and N */
    int32_t *s;                /* SUB...: [slot][2][16 rows] the sub-block's int16 scale, twice */
    int32_t *pairs;            /* SUB...: [slot][16 rows] as qmat_pair.pairs */
} qmat_panel;

typedef void (*qmat_unpack_fn)(const qmat_panel *panel, const uint8_t *const rows[HALF_ROWS]);

/* The 32 elements of block b of a row, as bytes. */
typedef __m256i (*qmat_decode_fn)(const uint8_t *row, size_t b);

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

INLINE void unpack_weights(const qmat_panel *panel, const uint8_t *const rows[HALF_ROWS],
                           qmat_decode_fn decode) {
    for (size_t b = 0; b < panel->n_blocks; b++) {
        uint8_t *q = panel->q + panel_slot(b, panel->n_groups) * 512;
        for (size_t half = 0; half < 2; half++) {
            __m256i z[8];
            for (size_t i = 0; i < 8; i++) z[i] = decode(rows[8 * half + i], b);
            transpose_8x8(z);
            for (size_t j = 0; j < 8; j++)
                _mm256_store_si256((void *)(q + 64 * j + 32 * half), z[j]);
        }
    }
}

/* Puts the scales of rows first .. first + 3 of block b, lane c of a pair, into the panel. */
INLINE void unpack_block_scales(const qmat_panel *panel, const qmat_pair *w, size_t b, int c,
                                size_t first, const qmat_spec *spec) {
    size_t slot = panel_slot(b, panel->n_groups), at = 16 * slot + first;
    _mm_store_ps(panel->d + at, c ? _mm256_extractf128_ps(w->d, 1) : _mm256_castps256_ps128(w->d));
    if (spec->kind == QMAT_MIN || spec->kind == QMAT_SUB_MIN)
        _mm_store_ps(panel->n + at,
                     c ? _mm256_extractf128_ps(w->n, 1) : _mm256_castps256_ps128(w->n));
    if (spec->kind < QMAT_SUB) return;
    __m128i two = c ? _mm256_extracti128_si256(w->pairs, 1) : _mm256_castsi256_si128(w->pairs);
    _mm_store_si128((void *)(panel->pairs + at), two);
    for (size_t i = 0; i < 4; i++) {
        int32_t *s = panel->s + 32 * slot + first + i;
        s[0] = c ? _mm256_extract_epi32(w->sa[i], 4) : _mm256_extract_epi32(w->sa[i], 0);
        s[16] = c ? _mm256_extract_epi32(w->sb[i], 4) : _mm256_extract_epi32(w->sb[i], 0);
    }
}

/* The scales of a panel from a type's loader, whose weights the compiler drops. */
INLINE void unpack_scales(const qmat_panel *panel, const uint8_t *const rows[HALF_ROWS],
                          const qmat_spec spec) {
    const size_t pairs_per_unit = spec.block_bytes ? 1 : 4;
    for (size_t r = 0; r < HALF_ROWS; r += 4) {
        const uint8_t *p[4] = {rows[r], rows[r + 1], rows[r + 2], rows[r + 3]};
        qmat_pair w;
        for (size_t pair = 0; pair < panel->n_blocks / 2; pair += pairs_per_unit) {
            for (size_t j = 0; j < pairs_per_unit; j++) {
                spec.load(&w, p, (int)j);
                unpack_block_scales(panel, &w, 2 * (pair + j), 0, r, &spec);
                unpack_block_scales(panel, &w, 2 * (pair + j) + 1, 1, r, &spec);
            }
            for (int i = 0; i < 4; i++) p[i] += spec.unit_bytes;
        }
        if (spec.block_bytes && panel->n_blocks % 2) {
            load_last(&w, p, &spec);
            unpack_block_scales(panel, &w, panel->n_blocks - 1, 0, r, &spec);
        }
    }
}

/* ---- a type ---- */

typedef void (*qmat_rows_fn)(const qmat_rows_job *job);

typedef struct qmat_type {
    qmat_kind kind;
    int offset;
    int run; /* steps whose sums fit int16: 8, 4, 2; SIGNED: 1 */
    qmat_rows_fn rows1, rows2, rows4;
    qmat_unpack_fn unpack;
} qmat_type;

#define QMAT_ROWS(name, n, ...)                                             \
    static void rows##n##_##name(const qmat_rows_job *job) {                \
        rows_kernel(job, (qmat_spec){.load = load_##name, __VA_ARGS__}, n); \
    }
/* All functions of a type from load_<name>, decode_<name> and the rest of its qmat_spec. */
#define QMAT_TYPE(name, offset_, run_, kind_, ...)                                                \
    QMAT_ROWS(name, 1, .kind = kind_, __VA_ARGS__)                                                \
    QMAT_ROWS(name, 2, .kind = kind_, __VA_ARGS__)                                                \
    QMAT_ROWS(name, 4, .kind = kind_, __VA_ARGS__)                                                \
    static void unpack_##name(const qmat_panel *panel, const uint8_t *const rows[HALF_ROWS]) {    \
        unpack_weights(panel, rows, decode_##name);                                               \
        unpack_scales(panel, rows, (qmat_spec){.load = load_##name, .kind = kind_, __VA_ARGS__}); \
    }                                                                                             \
    static const qmat_type type_##name = {.kind = kind_,                                          \
                                          .offset = offset_,                                      \
                                          .run = run_,                                            \
                                          .rows1 = rows1_##name,                                  \
                                          .rows2 = rows2_##name,                                  \
                                          .rows4 = rows4_##name,                                  \
                                          .unpack = unpack_##name};                               \
    static void matmul_##name(const spn_matmul_args *args, size_t begin, size_t end) {            \
        spn_qmat_run_avx2(args, begin, end, &type_##name);                                        \
    }

/* y for the rows of a call, whichever way is faster. */
void spn_qmat_run_avx2(const spn_matmul_args *args, size_t row_begin, size_t row_end,
                       const qmat_type *type);

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
