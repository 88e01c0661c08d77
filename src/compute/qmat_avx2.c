/* qmat_avx2.c - AVX2 products with quantised weights: activations, tiles and the choice of way.
 * SPDX-License-Identifier: Apache-2.0
 *
 * qmat_avx2.h tells how the kernels work; qmat_avx2_*.c have the types.
 */
#include "compute/qmat_avx2.h"

/* ---- activations in the order of the rows' kernels ---- */

/* One number for each of two lanes. */
INLINE __m256i two_lanes(int32_t low, int32_t high) {
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi32(low)),
                                   _mm_set1_epi32(high), 1);
}

INLINE __m256 two_floats(float low, float high) {
    return _mm256_set_m128(_mm_set1_ps(high), _mm_set1_ps(low));
}

/* 32 activations beside each other, and others: 16 of each first, then the other 16. */
INLINE void arrange_q(int8_t *first, int8_t *second, __m256i low, __m256i high) {
    _mm256_store_si256((void *)first, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_store_si256((void *)second, _mm256_permute2x128_si256(low, high, 0x31));
}

INLINE int32_t extra_of(const spn_act *act, size_t at, const qmat_type *type) {
    int32_t extra;
    if (type->spec.kind == QMAT_MIN)
        memcpy(&extra, act->dsum + at, 4);
    else
        extra = -type->spec.offset * (act->sum[2 * at] + act->sum[2 * at + 1]);
    return extra;
}

/* The `n` blocks (1 or 2) of a pair that begins at block `at` of all activations. */
INLINE void arrange_pair(qmat_pair_act *out, const spn_act *act, size_t at, size_t n,
                         const qmat_type *type) {
    const int8_t *q = act->q + 32 * at;
    __m256i low = _mm256_loadu_si256((const void *)q), high = _mm256_setzero_si256();
    bool two = n == 2;
    if (two) high = _mm256_loadu_si256((const void *)(q + 32));
    arrange_q(out->a, out->b, low, high);
    _mm256_store_ps(out->d, two_floats(act->d[at], two ? act->d[at + 1] : 0.0f));
    _mm256_store_si256((void *)out->extra,
                       two_lanes(extra_of(act, at, type), two ? extra_of(act, at + 1, type) : 0));
}

/* The two groups of a super-block that begin at group `at` of all activations. */
INLINE void arrange_super(qmat_super_act *out, const spn_act *act, size_t at) {
    const __m256i *q = (const void *)(act->q + SPN_ACT_GROUP * at);
    for (int j = 0; j < 4; j++)
        arrange_q(out->q[2 * j], out->q[2 * j + 1], _mm256_loadu_si256(q + j),
                  _mm256_loadu_si256(q + 4 + j));
    _mm256_store_si256((void *)out->sum, _mm256_loadu_si256((const void *)(act->sum + 8 * at)));
    _mm256_store_ps(out->d, two_floats(act->d[at], act->d[at + 1]));
}

/* Token t of all, as number `i` of the `n` that share a loading. */
static void arrange_token(void *acts, const spn_matmul_args *args, size_t t, size_t i, size_t n,
                          const qmat_type *type) {
    size_t n_blocks = args->k / 32;
    qmat_pair_act *pairs = acts;
    qmat_super_act *supers = acts;
    if (has_groups(type->spec.kind)) {
        for (size_t b = 0; b < n_blocks; b += 8)
            arrange_super(supers + b / 8 * n + i, &args->act, (t * n_blocks + b) / 4);
    } else {
        for (size_t b = 0; b < n_blocks; b += 2)
            arrange_pair(pairs + b / 2 * n + i, &args->act, t * n_blocks + b,
                         n_blocks - b < 2 ? 1 : 2, type);
    }
}

static void run_rows(const spn_matmul_args *args, size_t begin, size_t end, const qmat_type *type) {
    qmat_rows_job job = {.w = args->w,
                         .next = args->next,
                         .row_bytes = args->row_bytes,
                         .n_blocks = args->k / 32,
                         .row_begin = begin,
                         .row_end = end,
                         .acts = args->scratch,
                         .ldy = args->ldy};
    for (size_t t = 0; t < args->n_tokens;) {
        size_t left = args->n_tokens - t, n = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (size_t i = 0; i < n; i++) arrange_token(args->scratch, args, t + i, i, n, type);
        job.y = args->y + t * args->ldy;
        (n == 4 ? type->rows4 : n == 2 ? type->rows2 : type->rows1)(&job);
        t += n;
    }
}

/* ---- tiles ---- */

/* A tile's tokens: row t is t * stride further on. */
typedef struct tile_acts {
    const int8_t *q; /* CENTRED: plus 128, as bytes without a sign */
    const float *d, *dsum;
    const int16_t *sum; /* blocks: of 16; groups, MIN: n_pairs times two a group */
    size_t n_pairs;
    int offset;
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

/* What a step of a tile reads of the panel: for each register of 8 rows. */
typedef struct tile_rows {
    const uint8_t *q;
    __m256i scale[MAX_R];
    const int32_t *start; /* CENTRED */
} tile_rows;

/* sum += the products of a run of steps, widened with the scales. */
INLINE void tile_run(__m256i sum[MAX_T][MAX_R], const tile_rows *w, const int8_t *q, size_t k,
                     const tile_how how) {
    __m256i part[MAX_T][MAX_R];
    UNROLL for (int i = 0; i < how.run; i++) {
        __m256i x[MAX_R];
        UNROLL for (int h = 0; h < how.n_regs; h++) x[h] =
            _mm256_load_si256((const void *)(w->q + 64 * i + 32 * h));
        UNROLL for (int t = 0; t < how.n; t++) {
            __m256i p = broadcast_4(q + AT(t, k) + 4 * i);
            UNROLL for (int h = 0; h < how.n_regs; h++) {
                const bool centred = how.kind == QMAT_GROUP_CENTRED;
                __m256i two = centred ? _mm256_maddubs_epi16(p, x[h]) : products(x[h], p, how.kind);
                if (i == 0 && centred)
                    two =
                        _mm256_add_epi16(two, _mm256_load_si256((const void *)(w->start + 8 * h)));
                part[t][h] = i == 0 ? two : _mm256_add_epi16(part[t][h], two);
                keep_order(&part[t][h]);
            }
        }
    }
    UNROLL for (int t = 0; t < how.n; t++) UNROLL for (int h = 0; h < how.n_regs; h++) {
        sum[t][h] = _mm256_add_epi32(sum[t][h], _mm256_madd_epi16(part[t][h], w->scale[h]));
        keep_order(&sum[t][h]);
    }
}

#define EACH_SUM UNROLL for (int t = 0; t < how.n; t++) UNROLL for (int h = 0; h < how.n_regs; h++)

/* acc after block b. */
INLINE void tile_block(__m256 acc[MAX_T][MAX_R], const qmat_panel *panel, const tile_acts *acts,
                       size_t slot, size_t b, size_t row, const tile_how how) {
    const size_t n_blocks = panel->n_blocks, k = 32 * n_blocks;
    __m256i sum[MAX_T][MAX_R];
    tile_rows w = {.scale = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)}};
    EACH_SUM sum[t][h] = _mm256_setzero_si256();
    UNROLL for (int j = 0; j < 8; j += how.run) {
        w.q = panel->q + 512 * slot + 64 * j + 4 * row;
        tile_run(sum, &w, acts->q + 32 * b + 4 * j, k, how);
    }
    UNROLL for (int t = 0; t < how.n; t++) {
        size_t at = AT(t, n_blocks) + b;
        __m256 d = _mm256_set1_ps(acts->d[at]);
        UNROLL for (int h = 0; h < how.n_regs; h++) {
            size_t r = 16 * slot + row + 8 * (size_t)h;
            __m256i s = sum[t][h];
            if (how.kind == QMAT_PLAIN)
                s = _mm256_add_epi32(s, _mm256_set1_epi32(-acts->offset * (acts->sum[2 * at] +
                                                                           acts->sum[2 * at + 1])));
            __m256 scaled = _mm256_mul_ps(_mm256_load_ps(panel->d + r), d);
            acc[t][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s), scaled, acc[t][h]);
            if (how.kind == QMAT_MIN)
                acc[t][h] = _mm256_fmadd_ps(_mm256_load_ps(panel->n + r),
                                            _mm256_set1_ps(acts->dsum[at]), acc[t][h]);
        }
    }
}

/* The second fma of group g. */
INLINE void tile_minima(__m256 acc[MAX_T][MAX_R], const qmat_panel *panel, const tile_acts *acts,
                        size_t g, size_t row, const tile_how how) {
    const size_t n_groups = panel->n_blocks / 4, n_pairs = acts->n_pairs;
    __m256i m[MAX_T][MAX_R];
    EACH_SUM m[t][h] = _mm256_setzero_si256();
    for (size_t i = 0; i < n_pairs; i++) {
        const int32_t *pairs = panel->pairs + 16 * (n_pairs * g + i) + row;
        EACH_SUM {
            __m256i two = broadcast_4(acts->sum + 2 * (n_pairs * (AT(t, n_groups) + g) + i));
            __m256i pair = _mm256_load_si256((const void *)(pairs + 8 * h));
            m[t][h] = _mm256_add_epi32(m[t][h], _mm256_madd_epi16(pair, two));
        }
    }
    EACH_SUM {
        __m256 d = _mm256_set1_ps(acts->d[AT(t, n_groups) + g]);
        __m256 n = _mm256_load_ps(panel->n + 16 * (g / 2) + row + 8 * h);
        acc[t][h] = _mm256_fmadd_ps(n, _mm256_mul_ps(_mm256_cvtepi32_ps(m[t][h]), d), acc[t][h]);
    }
}

/* acc after group g. */
INLINE void tile_group(__m256 acc[MAX_T][MAX_R], const qmat_panel *panel, const tile_acts *acts,
                       size_t g, size_t row, const tile_how how) {
    const size_t n_groups = panel->n_blocks / 4, k = 32 * panel->n_blocks;
    const size_t runs = 8 / (size_t)how.run;
    __m256i sum[MAX_T][MAX_R];
    EACH_SUM sum[t][h] = _mm256_setzero_si256();
    for (size_t b = 4 * g; b < 4 * g + 4; b++) {
        UNROLL for (int j = 0; j < 8; j += how.run) {
            tile_rows w = {.q = panel->q + 512 * b + 64 * j + 4 * row};
            if (how.kind == QMAT_GROUP_CENTRED)
                w.start = panel->starts + 16 * (runs * b + (size_t)(j / how.run)) + row;
            UNROLL for (int h = 0; h < how.n_regs; h++) w.scale[h] = _mm256_load_si256(
                (const void *)(panel->scales + 16 * (2 * b + (size_t)j / 4) + row + 8 * h));
            tile_run(sum, &w, acts->q + 32 * b + 4 * j, k, how);
        }
    }
    EACH_SUM {
        __m256 d = _mm256_set1_ps(acts->d[AT(t, n_groups) + g]);
        __m256 scaled = _mm256_mul_ps(_mm256_load_ps(panel->d + 16 * (g / 2) + row + 8 * h), d);
        acc[t][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t][h]), scaled, acc[t][h]);
    }
    if (how.kind == QMAT_GROUP_MIN) tile_minima(acc, panel, acts, g, row, how);
}

INLINE void store_tile(float *y, size_t ldy, __m256 out[MAX_T][MAX_R], size_t n_rows, size_t row,
                       const tile_how how) {
    EACH_SUM {
        size_t first = row + 8 * (size_t)h;
        float *to = y + AT(t, ldy) + first;
        if (n_rows >= first + 8) {
            _mm256_storeu_ps(to, out[t][h]);
        } else if (n_rows > first) {
            float rest[8];
            _mm256_storeu_ps(rest, out[t][h]);
            memcpy(to, rest, (n_rows - first) * sizeof(float));
        }
    }
}

/* out = (acc0 + acc2) + (acc1 + acc3). */
INLINE void tile_chains(__m256 out[MAX_T][MAX_R], const qmat_panel *panel, const tile_acts *acts,
                        size_t row, const tile_how how) {
    __m256 total[2][MAX_T][MAX_R];
    memset(total, 0, sizeof(total));
    for (size_t chain = 0; chain < 4; chain++) {
        __m256 acc[MAX_T][MAX_R];
        EACH_SUM acc[t][h] = _mm256_setzero_ps();
        size_t slot = chain * panel->n_quads;
        for (size_t b = chain; b < panel->n_blocks; b += 4, slot++)
            tile_block(acc, panel, acts, slot, b, row, how);
        EACH_SUM total[chain % 2][t][h] =
            chain < 2 ? acc[t][h] : _mm256_add_ps(total[chain % 2][t][h], acc[t][h]);
    }
    EACH_SUM out[t][h] = _mm256_add_ps(total[0][t][h], total[1][t][h]);
}

INLINE void tile(const qmat_panel *panel, const tile_acts *acts, float *y, size_t ldy,
                 size_t n_rows, const tile_how how) {
    for (size_t row = 0; row < HALF_ROWS && row < n_rows; row += 8 * (size_t)how.n_regs) {
        __m256 out[MAX_T][MAX_R];
        if (has_groups(how.kind)) {
            EACH_SUM out[t][h] = _mm256_setzero_ps();
            for (size_t g = 0; g < panel->n_blocks / 4; g++)
                tile_group(out, panel, acts, g, row, how);
        } else {
            tile_chains(out, panel, acts, row, how);
        }
        store_tile(y, ldy, out, n_rows, row, how);
    }
}

#define TILE(kind, run, regs, n)                                                          \
    static void tile_##kind##_##run##_##n(const qmat_panel *panel, const tile_acts *acts, \
                                          float *y, size_t ldy, size_t n_rows) {          \
        tile(panel, acts, y, ldy, n_rows, (tile_how){n, regs, run, QMAT_##kind});         \
    }
#define TILES_3(kind, run) TILE(kind, run, 2, 1) TILE(kind, run, 2, 2) TILE(kind, run, 2, 3)
#define TILES_4(kind, run) \
    TILE(kind, run, 1, 1) TILE(kind, run, 1, 2) TILE(kind, run, 1, 3) TILE(kind, run, 1, 4)
TILES_3(PLAIN, 8)
TILES_3(PLAIN, 4)
TILES_3(MIN, 8)
TILES_3(MIN, 4)
TILES_4(SIGNED, 1)
TILES_3(GROUP_CENTRED, 8)
TILES_3(GROUP_CENTRED, 4)
TILES_3(GROUP_CENTRED, 2)
TILES_3(GROUP_MIN, 8)
TILES_3(GROUP_MIN, 4)
TILES_4(GROUP_SIGNED, 1)

#define TILES_OF_3(kind, run) \
    [QMAT_##kind][run] = {tile_##kind##_##run##_1, tile_##kind##_##run##_2, tile_##kind##_##run##_3}
#define TILES_OF_4(kind, run)                                               \
    [QMAT_##kind][run] = {tile_##kind##_##run##_1, tile_##kind##_##run##_2, \
                          tile_##kind##_##run##_3, tile_##kind##_##run##_4}
/* [kind][run][tokens - 1] */
static const tile_fn tiles[QMAT_GROUP_MIN + 1][9][MAX_T] = {
    TILES_OF_3(PLAIN, 8),         TILES_OF_3(PLAIN, 4),         TILES_OF_3(MIN, 8),
    TILES_OF_3(MIN, 4),           TILES_OF_4(SIGNED, 1),        TILES_OF_3(GROUP_CENTRED, 8),
    TILES_OF_3(GROUP_CENTRED, 4), TILES_OF_3(GROUP_CENTRED, 2), TILES_OF_3(GROUP_MIN, 8),
    TILES_OF_3(GROUP_MIN, 4),     TILES_OF_4(GROUP_SIGNED, 1)};

/* ---- panels ---- */

/* Lays half a panel out at `at`; returns what comes after it. */
static uint8_t *place_panel(qmat_panel *panel, uint8_t *at, size_t n_blocks) {
    panel->n_blocks = n_blocks;
    panel->n_quads = (n_blocks + 3) / 4;
    size_t n_slots = 4 * panel->n_quads;
    panel->q = at;
    panel->d = (float *)(void *)(at += 512 * n_slots);
    panel->n = (float *)(void *)(at += 64 * n_slots);
    panel->scales = (int32_t *)(void *)(at += 64 * n_slots);
    panel->starts = panel->pairs = (int32_t *)(void *)(at += 128 * n_slots);
    return at + 256 * n_slots;
}
#define HALF_PANEL_SLOT_BYTES (512 + 64 + 64 + 128 + 256)

/* What tiles of `n` tokens from `t` on read; what must be computed for it comes to `at`. */
static tile_acts arrange_tile(const spn_matmul_args *args, size_t t, size_t n, void *at,
                              const qmat_type *type) {
    const qmat_kind kind = type->spec.kind;
    size_t n_blocks = args->k / 32, per_d = has_groups(kind) ? 4 : 1;
    tile_acts acts = {.q = args->act.q + t * args->k,
                      .d = args->act.d + t * n_blocks / per_d,
                      .sum = args->act.sum + 2 * t * n_blocks,
                      .n_pairs = type->spec.wide_scales ? 2 : 4,
                      .offset = type->spec.offset};
    if (kind == QMAT_MIN) acts.dsum = args->act.dsum + t * n_blocks;
    if (kind == QMAT_GROUP_CENTRED) {
        int8_t *q = at;
        for (size_t i = 0; i < n * args->k; i += 32)
            _mm256_store_si256((void *)(q + i),
                               _mm256_xor_si256(_mm256_loadu_si256((const void *)(acts.q + i)),
                                                _mm256_set1_epi8((char)128)));
        acts.q = q;
    }
    if (kind == QMAT_GROUP_MIN && type->spec.wide_scales) {
        int16_t *sum = at;
        for (size_t b = 0; b < n * n_blocks; b++)
            sum[b] = (int16_t)(acts.sum[2 * b] + acts.sum[2 * b + 1]);
        acts.sum = sum;
    }
    return acts;
}

static void run_tiles(const spn_matmul_args *args, const qmat_panel halves[2], void *at, size_t r,
                      size_t n_rows, const qmat_type *type) {
    const tile_fn *fns = tiles[type->spec.kind][type->spec.run];
    size_t most = is_signed(type->spec.kind) ? 4 : 3;
    /* What the next panel is unpacked from, a share with each tile. */
    spn_ahead fetch =
        spn_ahead_of_rows(args, r + PANEL_ROWS, PANEL_ROWS, args->n_tokens / most + 1);
    for (size_t t = 0; t < args->n_tokens;) {
        size_t left = args->n_tokens - t;
        size_t n = left < most ? left : left == 4 ? 2 : most;
        tile_acts acts = arrange_tile(args, t, n, at, type);
        float *y = args->y + t * args->ldy + r;
        spn_fetch_output(y, args->ldy, n);
        spn_fetch_step(&fetch);
        fns[n - 1](&halves[0], &acts, y, args->ldy, n_rows);
        if (n_rows > HALF_ROWS)
            fns[n - 1](&halves[1], &acts, y + HALF_ROWS, args->ldy, n_rows - HALF_ROWS);
        t += n;
    }
}

static void run_panels(const spn_matmul_args *args, size_t begin, size_t end,
                       const qmat_type *type) {
    qmat_panel halves[2];
    uint8_t *at = args->scratch;
    for (int i = 0; i < 2; i++) at = place_panel(&halves[i], at, args->k / 32);
    for (size_t r = begin; r < end; r += PANEL_ROWS) {
        size_t n_rows = end - r < PANEL_ROWS ? end - r : PANEL_ROWS;
        const uint8_t *rows[PANEL_ROWS];
        spn_rows_from(rows, PANEL_ROWS, args->w, args->row_bytes, r, end);
        type->unpack(&halves[0], rows);
        if (n_rows > HALF_ROWS) type->unpack(&halves[1], rows + HALF_ROWS);
        run_tiles(args, halves, at, r, n_rows, type);
    }
}

/* The larger of what both ways and the products with float weights need. */
static size_t matmul_scratch(size_t k) {
    size_t n_slots = (k / 32 + 3) / 4 * 4;
    size_t panels = 2 * HALF_PANEL_SLOT_BYTES * n_slots + MAX_T * 32 * n_slots;
    size_t rows = n_slots / 2 * MAX_ROW_TOKENS * sizeof(qmat_pair_act);
    return spn_max_size(spn_max_size(panels, rows), spn_fmat_scratch(k));
}
static_assert(sizeof(qmat_super_act) <= 4 * sizeof(qmat_pair_act), "matmul_scratch");

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
