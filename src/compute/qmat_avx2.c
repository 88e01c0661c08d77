/* qmat_avx2.c - AVX2 products with quantised weights: activations, tiles and the choice of way.
 * SPDX-License-Identifier: Apache-2.0
 *
 * qmat_avx2.h tells how the kernels work; qmat_avx2_*.c have the types.
 */
#include "compute/qmat_avx2.h"

/* ---- activations in the order of the rows' kernels ---- */

/* One number for each block's lane. */
INLINE __m256i two_lanes(int32_t low, int32_t high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi32(low)),
                                   _mm_set1_epi32(high), 1);
}

INLINE int32_t extra_of(const spn_act *act, size_t at, const qmat_type *type) {
    int32_t extra = 0;
    if (type->kind == QMAT_MIN)
        memcpy(&extra, act->dsum + at, 4);
    else if (type->kind >= QMAT_SUB)
        memcpy(&extra, act->sum + 2 * at, 4);
    else
        extra = -type->offset * (act->sum[2 * at] + act->sum[2 * at + 1]);
    return extra;
}

/* The `n` blocks (1 or 2) of a pair that begins at block `at` of all activations. */
INLINE void arrange_pair(qmat_act *out, const spn_act *act, size_t at, size_t n,
                         const qmat_type *type) {
    const int8_t *q = act->q + 32 * at;
    __m256i low = _mm256_loadu_si256((const void *)q), high = _mm256_setzero_si256();
    __m256i extra = two_lanes(extra_of(act, at, type), 0);
    float d[2] = {act->d[at], 0.0f};
    if (n == 2) {
        high = _mm256_loadu_si256((const void *)(q + 32));
        extra = two_lanes(extra_of(act, at, type), extra_of(act, at + 1, type));
        d[1] = act->d[at + 1];
    }
    _mm256_store_si256((void *)out->a, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_store_si256((void *)out->b, _mm256_permute2x128_si256(low, high, 0x31));
    __m128 d0 = _mm_set1_ps(d[0]), d1 = _mm_set1_ps(d[1]);
    _mm256_store_ps(out->d, _mm256_insertf128_ps(_mm256_castps128_ps256(d0), d1, 1));
    _mm256_store_si256((void *)out->extra, extra);
}

static void run_rows(const spn_matmul_args *args, size_t begin, size_t end, const qmat_type *type) {
    qmat_act *acts = args->scratch;
    size_t n_blocks = args->k / 32;
    qmat_rows_job job = {.w = args->w,
                         .row_bytes = args->row_bytes,
                         .n_blocks = n_blocks,
                         .row_begin = begin,
                         .row_end = end,
                         .acts = acts,
                         .ldy = args->ldy};
    for (size_t t = 0; t < args->n_tokens;) {
        size_t left = args->n_tokens - t, n = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (size_t i = 0; i < n; i++)
            for (size_t b = 0; b < n_blocks; b += 2)
                arrange_pair(acts + b / 2 * n + i, &args->act, (t + i) * n_blocks + b,
                             n_blocks - b < 2 ? 1 : 2, type);
        job.y = args->y + t * args->ldy;
        (n == 4 ? type->rows4 : n == 2 ? type->rows2 : type->rows1)(&job);
        t += n;
    }
}

/* ---- tiles ---- */

typedef struct tile_acts {
    const int8_t *q;
    const float *d, *dsum;
    const int16_t *sum;
    int offset, offset_shift;
} tile_acts;

typedef void (*tile_fn)(const qmat_panel *panel, const tile_acts *acts, float *y, size_t ldy,
                        size_t n_rows);

#define MAX_T 4
#define MAX_R 2
#define AT(token, stride) ((size_t)(token) * (stride))

/* How a tile works: `n` tokens, `n_regs` registers of 8 rows, int16 sums over `run` steps. */
typedef struct tile_how {
    int n, n_regs, run;
    qmat_kind kind;
} tile_how;

INLINE __m256i broadcast_4(const void *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

/* Keeps the compiler from collecting a block's products before it adds the first two: the registers
 * do not hold them. */
INLINE void keep_order(__m256i *x) { __asm__("" : "+x"(*x)); }

/* sum += the products of steps j .. j + run - 1, widened with `scale`. */
INLINE void tile_run(__m256i sum[MAX_T][MAX_R], const uint8_t *w, const int8_t *q, size_t k, int j,
                     const __m256i scale[MAX_R], const tile_how how) {
    __m256i part[MAX_T][MAX_R];
    UNROLL for (int i = 0; i < how.run; i++) {
        __m256i x[MAX_R];
        UNROLL for (int h = 0; h < how.n_regs; h++) x[h] =
            _mm256_load_si256((const void *)(w + 64 * (j + i) + 32 * h));
        UNROLL for (int t = 0; t < how.n; t++) {
            __m256i p = broadcast_4(q + AT(t, k) + 4 * (j + i));
            UNROLL for (int h = 0; h < how.n_regs; h++) {
                __m256i two =
                    is_signed(how.kind) ? signed_products(x[h], p) : _mm256_maddubs_epi16(x[h], p);
                part[t][h] = i == 0 ? two : _mm256_add_epi16(part[t][h], two);
                keep_order(&part[t][h]);
            }
        }
    }
    UNROLL for (int t = 0; t < how.n; t++) UNROLL for (int h = 0; h < how.n_regs; h++) {
        __m256i wide = _mm256_madd_epi16(part[t][h], scale[h]);
        sum[t][h] = j == 0 ? wide : _mm256_add_epi32(sum[t][h], wide);
        keep_order(&sum[t][h]);
    }
}

/* acc after block b. */
INLINE void tile_block(__m256 acc[MAX_T][MAX_R], const qmat_panel *panel, const tile_acts *acts,
                       size_t slot, size_t b, size_t row, const tile_how how) {
    const size_t n_blocks = panel->n_blocks, k = 32 * n_blocks;
    __m256i sum[MAX_T][MAX_R], scale[MAX_R];
    scale[0] = scale[1] = _mm256_set1_epi16(1);
    UNROLL for (int j = 0; j < 8; j += how.run) {
        if (how.kind >= QMAT_SUB)
            UNROLL for (int h = 0; h < how.n_regs; h++) scale[h] = _mm256_load_si256(
                (const void *)(panel->s + 32 * slot + 16 * (j / 4) + row + 8 * (size_t)h));
        tile_run(sum, panel->q + 512 * slot + 4 * row, acts->q + 32 * b, k, j, scale, how);
    }
    UNROLL for (int t = 0; t < how.n; t++) {
        size_t at = AT(t, n_blocks) + b;
        __m256 d = _mm256_set1_ps(acts->d[at]);
        __m256i sums = broadcast_4(acts->sum + 2 * at);
        UNROLL for (int h = 0; h < how.n_regs; h++) {
            size_t r = 16 * slot + row + 8 * (size_t)h;
            __m256i s = sum[t][h], m = sums;
            if (how.kind == QMAT_PLAIN)
                s = _mm256_add_epi32(s, _mm256_set1_epi32(-acts->offset * (acts->sum[2 * at] +
                                                                           acts->sum[2 * at + 1])));
            if (how.kind >= QMAT_SUB)
                m = _mm256_madd_epi16(_mm256_load_si256((const void *)(panel->pairs + r)), sums);
            if (how.kind == QMAT_SUB)
                s = _mm256_sub_epi32(s, _mm256_slli_epi32(m, acts->offset_shift));
            __m256 scaled = _mm256_mul_ps(_mm256_load_ps(panel->d + r), d);
            acc[t][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s), scaled, acc[t][h]);
            if (how.kind == QMAT_MIN)
                acc[t][h] = _mm256_fmadd_ps(_mm256_load_ps(panel->n + r),
                                            _mm256_set1_ps(acts->dsum[at]), acc[t][h]);
            if (how.kind == QMAT_SUB_MIN)
                acc[t][h] = _mm256_fmadd_ps(_mm256_load_ps(panel->n + r),
                                            _mm256_mul_ps(_mm256_cvtepi32_ps(m), d), acc[t][h]);
        }
    }
}

/* 8 * n_regs rows from row `row` of the half panel. */
INLINE void tile_rows(const qmat_panel *panel, const tile_acts *acts, float *y, size_t ldy,
                      size_t n_rows, size_t row, const tile_how how) {
    __m256 total[2][MAX_T][MAX_R];
    memset(total, 0, sizeof(total));
    for (size_t chain = 0; chain < 4; chain++) { /* (acc0 + acc2) + (acc1 + acc3) */
        __m256 acc[MAX_T][MAX_R];
        UNROLL for (int t = 0; t < how.n; t++) UNROLL for (int h = 0; h < how.n_regs; h++)
            acc[t][h] = _mm256_setzero_ps();
        size_t slot = chain * panel->n_groups;
        for (size_t b = chain; b < panel->n_blocks; b += 4, slot++)
            tile_block(acc, panel, acts, slot, b, row, how);
        UNROLL for (int t = 0; t < how.n; t++) UNROLL for (int h = 0; h < how.n_regs; h++)
            total[chain % 2][t][h] =
                chain < 2 ? acc[t][h] : _mm256_add_ps(total[chain % 2][t][h], acc[t][h]);
    }
    UNROLL for (int t = 0; t < how.n; t++) UNROLL for (int h = 0; h < how.n_regs; h++) {
        size_t first = row + 8 * (size_t)h;
        __m256 out = _mm256_add_ps(total[0][t][h], total[1][t][h]);
        float *to = y + AT(t, ldy) + first;
        if (n_rows >= first + 8) {
            _mm256_storeu_ps(to, out);
        } else if (n_rows > first) {
            float rest[8];
            _mm256_storeu_ps(rest, out);
            memcpy(to, rest, (n_rows - first) * sizeof(float));
        }
    }
}

INLINE void tile(const qmat_panel *panel, const tile_acts *acts, float *y, size_t ldy,
                 size_t n_rows, const tile_how how) {
    for (size_t row = 0; row < HALF_ROWS && row < n_rows; row += 8 * (size_t)how.n_regs)
        tile_rows(panel, acts, y, ldy, n_rows, row, how);
}

#define TILE(kind, run, regs, n)                                                          \
    static void tile_##kind##_##run##_##n(const qmat_panel *panel, const tile_acts *acts, \
                                          float *y, size_t ldy, size_t n_rows) {          \
        tile(panel, acts, y, ldy, n_rows, (tile_how){n, regs, run, QMAT_##kind});         \
    }
#define TILES_3(kind, run) TILE(kind, run, 2, 1) TILE(kind, run, 2, 2) TILE(kind, run, 2, 3)
TILES_3(PLAIN, 8)
TILES_3(PLAIN, 4)
TILES_3(MIN, 8)
TILES_3(MIN, 4)
TILES_3(SUB, 4)
TILES_3(SUB, 2)
TILES_3(SUB_MIN, 4)
TILE(SIGNED, 1, 1, 1)
TILE(SIGNED, 1, 1, 2)
TILE(SIGNED, 1, 1, 3)
TILE(SIGNED, 1, 1, 4)
TILE(SUB_SIGNED, 1, 1, 1)
TILE(SUB_SIGNED, 1, 1, 2)
TILE(SUB_SIGNED, 1, 1, 3)
TILE(SUB_SIGNED, 1, 1, 4)

#define TILES_OF(kind, run) \
    { tile_##kind##_##run##_1, tile_##kind##_##run##_2, tile_##kind##_##run##_3, NULL }
static const tile_fn tiles_plain[2][4] = {TILES_OF(PLAIN, 4), TILES_OF(PLAIN, 8)};
static const tile_fn tiles_min[2][4] = {TILES_OF(MIN, 4), TILES_OF(MIN, 8)};
static const tile_fn tiles_sub[2][4] = {TILES_OF(SUB, 2), TILES_OF(SUB, 4)};
static const tile_fn tiles_sub_min[4] = TILES_OF(SUB_MIN, 4);
static const tile_fn tiles_signed[4] = {tile_SIGNED_1_1, tile_SIGNED_1_2, tile_SIGNED_1_3,
                                        tile_SIGNED_1_4};
static const tile_fn tiles_sub_signed[4] = {tile_SUB_SIGNED_1_1, tile_SUB_SIGNED_1_2,
                                            tile_SUB_SIGNED_1_3, tile_SUB_SIGNED_1_4};

static const tile_fn *tiles_for(const qmat_type *type) {
    switch (type->kind) {
    case QMAT_PLAIN:
        return tiles_plain[type->run == 8];
    case QMAT_MIN:
        return tiles_min[type->run == 8];
    case QMAT_SUB:
        return tiles_sub[type->run == 4];
    case QMAT_SUB_MIN:
        return tiles_sub_min;
    case QMAT_SUB_SIGNED:
        return tiles_sub_signed;
    default:
        return tiles_signed;
    }
}

/* ---- panels ---- */

/* Lays half a panel out at `at`; returns what comes after it. */
static uint8_t *place_panel(qmat_panel *panel, uint8_t *at, size_t n_blocks) {
    panel->n_blocks = n_blocks;
    panel->n_groups = (n_blocks + 3) / 4;
    size_t n_slots = 4 * panel->n_groups;
    panel->q = at;
    panel->d = (float *)(void *)(at += 512 * n_slots);
    panel->n = (float *)(void *)(at += 64 * n_slots);
    panel->s = (int32_t *)(void *)(at += 64 * n_slots);
    panel->pairs = (int32_t *)(void *)(at += 128 * n_slots);
    return at + 64 * n_slots;
}
#define HALF_PANEL_SLOT_BYTES (512 + 64 + 64 + 128 + 64)

static void run_tiles(const spn_matmul_args *args, const qmat_panel halves[2], size_t r,
                      size_t n_rows, const qmat_type *type) {
    const tile_fn *tiles = tiles_for(type);
    size_t n_blocks = args->k / 32, most = is_signed(type->kind) ? 4 : 3;
    for (size_t t = 0; t < args->n_tokens;) {
        size_t left = args->n_tokens - t;
        size_t n = left < most ? left : left == 4 ? 2 : most;
        tile_acts acts = {.q = args->act.q + t * args->k,
                          .d = args->act.d + t * n_blocks,
                          .dsum = args->act.dsum + t * n_blocks,
                          .sum = args->act.sum + 2 * t * n_blocks,
                          .offset = type->offset,
                          .offset_shift = type->offset == 32 ? 5 : 2};
        float *y = args->y + t * args->ldy + r;
        tiles[n - 1](&halves[0], &acts, y, args->ldy, n_rows);
        if (n_rows > HALF_ROWS)
            tiles[n - 1](&halves[1], &acts, y + HALF_ROWS, args->ldy, n_rows - HALF_ROWS);
        t += n;
    }
}

static void run_panels(const spn_matmul_args *args, size_t begin, size_t end,
                       const qmat_type *type) {
    qmat_panel halves[2];
    place_panel(&halves[1], place_panel(&halves[0], args->scratch, args->k / 32), args->k / 32);
    for (size_t r = begin; r < end; r += PANEL_ROWS) {
        size_t n_rows = end - r < PANEL_ROWS ? end - r : PANEL_ROWS;
        const uint8_t *rows[PANEL_ROWS];
        for (size_t i = 0; i < PANEL_ROWS; i++)
            rows[i] = args->w + (i < n_rows ? r + i : end - 1) * args->row_bytes;
        type->unpack(&halves[0], rows);
        if (n_rows > HALF_ROWS) type->unpack(&halves[1], rows + HALF_ROWS);
        run_tiles(args, halves, r, n_rows, type);
    }
}

/* The larger of what both ways and the products with float weights need. */
static size_t matmul_scratch(size_t k) {
    size_t n_slots = (k / 32 + 3) / 4 * 4;
    size_t panels = 2 * HALF_PANEL_SLOT_BYTES * n_slots;
    size_t rows = n_slots / 2 * MAX_ROW_TOKENS * sizeof(qmat_act);
    size_t floats = 32 * 4 * k + 65536;
    size_t most = panels > rows ? panels : rows;
    return most > floats ? most : floats;
}

void spn_qmat_run_avx2(const spn_matmul_args *args, size_t begin, size_t end,
                       const qmat_type *type) {
    if (args->n_tokens <= 8)
        run_rows(args, begin, end, type);
    else
        run_panels(args, begin, end, type);
}

void spn_qmat_init_avx2(spn_kernels *table) {
    table->matmul_scratch = matmul_scratch;
    spn_qmat_init_avx2_b32(table);
    spn_qmat_init_avx2_k(table);
    spn_qmat_init_avx2_grid(table);
}
