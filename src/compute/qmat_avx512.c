/* qmat_avx512.c - AVX-512 products with quantised weights: activations, tiles and the choice of
 * way. SPDX-License-Identifier: Apache-2.0
 *
 * qmat_avx512.h tells how the kernels work; qmat_avx512_*.c have the types.
 */
#include "compute/qmat_avx512.h"

/* ---- activations in the order of the rows' kernels ---- */

/* Block c's float in all of lane c. */
INLINE __m512 spread_floats(const float *x, __mmask8 blocks) {
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(lanes, _mm512_castps128_ps512(_mm_maskz_loadu_ps(blocks, x)));
}

/* The `n` blocks (1 to 4) of a group that begins at block `at` of all activations. */
static void arrange_group(qmat_act *out, const spn_act *act, size_t at, size_t n,
                          const qmat_type *type) {
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    __mmask8 blocks = (__mmask8)((1u << n) - 1), sums = (__mmask8)((1u << 2 * n) - 1);
    __mmask64 bytes = n >= 2 ? ~0ull : 0xffffffffull;
    __mmask64 more = n >= 4 ? ~0ull : n == 3 ? 0xffffffffull : 0;
    __m512i q0 = _mm512_maskz_loadu_epi8(bytes, act->q + 32 * at);
    __m512i q1 = _mm512_maskz_loadu_epi8(more, act->q + 32 * at + 64);
    _mm512_store_si512(out->a, _mm512_shuffle_i64x2(q0, q1, 0x88));
    _mm512_store_si512(out->b, _mm512_shuffle_i64x2(q0, q1, 0xdd));
    _mm512_store_ps(out->d, spread_floats(act->d + at, blocks));
    __m128i sum = _mm_maskz_loadu_epi16(sums, act->sum + 2 * at);
    __m512i extra;
    if (type->kind == QMAT_PLAIN) {
        sum = _mm_madd_epi16(sum, _mm_set1_epi16((short)-type->offset));
        extra = _mm512_maskz_permutexvar_epi32(0x1111, lanes, _mm512_castsi128_si512(sum));
    } else if (type->kind == QMAT_MIN) {
        extra = _mm512_castps_si512(spread_floats(act->dsum + at, blocks));
    } else {
        extra = _mm512_permutexvar_epi32(lanes, _mm512_castsi128_si512(sum));
    }
    _mm512_store_si512(out->extra, extra);
}

/* `width` tokens a group; those that do not exist stay as they are. */
static void arrange_acts(qmat_act *out, const spn_matmul_args *args, size_t first, size_t n_tokens,
                         size_t width, const qmat_type *type) {
    size_t n_blocks = args->k / 32;
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t b = 0; b < n_blocks; b += 4)
            arrange_group(out + b / 4 * width + t, &args->act, (first + t) * n_blocks + b,
                          spn_min_size(n_blocks - b, 4), type);
}

static void run_rows(const spn_matmul_args *args, size_t begin, size_t end, const qmat_type *type) {
    qmat_act *acts = args->scratch;
    qmat_rows_job job = {.w = args->w,
                         .row_bytes = args->row_bytes,
                         .n_blocks = args->k / 32,
                         .row_begin = begin,
                         .row_end = end,
                         .acts = acts,
                         .ldy = args->ldy};
    for (size_t t = 0; t < args->n_tokens; t += job.n_tokens) {
        /* Measured: seven tokens cost less as eight than as four, two and one. */
        size_t left = args->n_tokens - t, n = left >= 7 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        job.n_tokens = spn_min_size(n, left);
        arrange_acts(acts, args, t, job.n_tokens, n, type);
        job.y = args->y + t * args->ldy;
        (n == 8 ? type->rows8 : n == 4 ? type->rows4 : n == 2 ? type->rows2 : type->rows1)(&job);
    }
}

/* ---- tiles ---- */

/* What the next panel will be unpacked from: asked for block by block while this one is multiplied,
 * or a prompt of a few tokens would wait for memory in every panel. */
#define FETCH_STEP 384
typedef struct tile_fetch {
    const uint8_t *at, *end;
} tile_fetch;

INLINE void fetch_step(tile_fetch *fetch) {
    if (fetch->at >= fetch->end) return;
    for (size_t i = 0; i < FETCH_STEP; i += 64)
        _mm_prefetch((const char *)fetch->at + i, _MM_HINT_T1);
    fetch->at += FETCH_STEP;
}

/* A tile's tokens: row t is t * stride further on. */
typedef struct tile_acts {
    const int8_t *q;
    const float *d, *dsum;
    const int16_t *sum;
    const int32_t *start; /* [token][n_blocks] (SUB: [token][2 n_blocks]) -offset * sum */
    tile_fetch *fetch;
} tile_acts;

typedef void (*tile_fn)(const qmat_panel *panel, const tile_acts *acts, float *y, size_t ldy,
                        size_t n_rows);

#define AT(token, stride) ((size_t)(token) * (stride))

/* Adds four steps' products, or eight with `n_steps` 8, to s[token][half]. */
INLINE void tile_steps(__m512i (*s)[2], const uint8_t *w, const int8_t *q, size_t k, const int n,
                       const int n_steps) {
    for (int j = 0; j < n_steps; j++) {
        __m512i w0 = _mm512_load_si512(w + 128 * j), w1 = _mm512_load_si512(w + 128 * j + 64);
        for (int t = 0; t < n; t++) {
            int32_t four;
            memcpy(&four, q + AT(t, k) + 4 * j, 4);
            __m512i x = _mm512_set1_epi32(four);
            s[t][0] = _mm512_dpbusd_epi32(s[t][0], w0, x);
            s[t][1] = _mm512_dpbusd_epi32(s[t][1], w1, x);
        }
    }
}

/* S of a block: exact, |S| < 2^25 (see group_sums; a folded scale keeps weights below 256). */
INLINE void tile_sums(__m512i (*s)[2], const qmat_panel *panel, const tile_acts *acts, size_t slot,
                      size_t b, const int n, const qmat_kind kind) {
    const size_t k = 32 * panel->n_blocks, n_blocks = panel->n_blocks;
    const uint8_t *w = panel->q + 1024 * slot;
    const int8_t *q = acts->q + 32 * b;
    if (kind != QMAT_SUB) {
        for (int t = 0; t < n; t++)
            s[t][0] = s[t][1] = kind == QMAT_PLAIN
                                    ? _mm512_set1_epi32(acts->start[AT(t, n_blocks) + b])
                                    : _mm512_setzero_si512();
        tile_steps(s, w, q, k, n, 8);
        return;
    }
    __m512i first[TILE_TOKENS][2];
    const int32_t *scale = panel->s + 64 * slot;
    for (int t = 0; t < n; t++)
        first[t][0] = first[t][1] = _mm512_set1_epi32(acts->start[2 * (AT(t, n_blocks) + b)]);
    tile_steps(first, w, q, k, n, 4);
    for (int t = 0; t < n; t++)
        for (int h = 0; h < 2; h++)
            first[t][h] = _mm512_mullo_epi32(first[t][h], _mm512_load_si512(scale + 16 * h));
    for (int t = 0; t < n; t++)
        s[t][0] = s[t][1] = _mm512_set1_epi32(acts->start[2 * (AT(t, n_blocks) + b) + 1]);
    tile_steps(s, w + 512, q + 16, k, n, 4);
    for (int t = 0; t < n; t++)
        for (int h = 0; h < 2; h++)
            s[t][h] = _mm512_add_epi32(
                first[t][h], _mm512_mullo_epi32(s[t][h], _mm512_load_si512(scale + 32 + 16 * h)));
}

/* The second fma. */
INLINE void tile_minima(__m512 (*acc)[2], const qmat_panel *panel, const tile_acts *acts,
                        size_t slot, size_t b, const int n, const qmat_kind kind) {
    __m512 n0 = _mm512_load_ps(panel->n + 32 * slot),
           n1 = _mm512_load_ps(panel->n + 32 * slot + 16);
    for (int t = 0; t < n; t++) {
        size_t at = AT(t, panel->n_blocks) + b;
        if (kind == QMAT_MIN) {
            __m512 dsum = _mm512_set1_ps(acts->dsum[at]);
            acc[t][0] = _mm512_fmadd_ps(n0, dsum, acc[t][0]);
            acc[t][1] = _mm512_fmadd_ps(n1, dsum, acc[t][1]);
            continue;
        }
        int32_t two;
        memcpy(&two, acts->sum + 2 * at, 4);
        __m512i sums = _mm512_set1_epi32(two), zero = _mm512_setzero_si512();
        __m512 d = _mm512_set1_ps(acts->d[at]);
        for (int h = 0; h < 2; h++) {
            __m512i pairs = _mm512_load_si512(panel->s + 32 * slot + 16 * h);
            __m512 m = _mm512_cvtepi32_ps(_mm512_dpwssd_epi32(zero, pairs, sums));
            acc[t][h] = _mm512_fmadd_ps(h ? n1 : n0, _mm512_mul_ps(m, d), acc[t][h]);
        }
    }
}

/* acc = chain `chain` of n tokens and 32 rows. */
INLINE void tile_chain(__m512 (*acc)[2], const qmat_panel *panel, const tile_acts *acts,
                       size_t chain, const int n, const qmat_kind kind) {
    for (int t = 0; t < n; t++) acc[t][0] = acc[t][1] = _mm512_setzero_ps();
    size_t slot = chain * panel->n_groups;
    for (size_t b = chain; b < panel->n_blocks; b += 4, slot++) {
        __m512i s[TILE_TOKENS][2];
        fetch_step(acts->fetch);
        tile_sums(s, panel, acts, slot, b, n, kind);
        __m512 d0 = _mm512_load_ps(panel->d + 32 * slot);
        __m512 d1 = _mm512_load_ps(panel->d + 32 * slot + 16);
        for (int t = 0; t < n; t++) {
            __m512 d = _mm512_set1_ps(acts->d[AT(t, panel->n_blocks) + b]);
            acc[t][0] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[t][0]), _mm512_mul_ps(d0, d), acc[t][0]);
            acc[t][1] =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[t][1]), _mm512_mul_ps(d1, d), acc[t][1]);
        }
        if (kind == QMAT_MIN || kind == QMAT_SUB_MIN)
            tile_minima(acc, panel, acts, slot, b, n, kind);
    }
}

INLINE void tile(const qmat_panel *panel, const tile_acts *acts, float *y, size_t ldy,
                 size_t n_rows, const int n, const qmat_kind kind) {
    __m512 acc[TILE_TOKENS][2], sum[2][TILE_TOKENS][2];
    memset(sum, 0, sizeof(sum));
    for (int t = 0; t < n; t++)
        for (int h = 0; h < 2; h++)
            _mm_prefetch((const char *)(y + AT(t, ldy) + 16 * h), _MM_HINT_T0);
    for (size_t chain = 0; chain < 4; chain++) { /* (acc0 + acc2) + (acc1 + acc3) */
        tile_chain(acc, panel, acts, chain, n, kind);
        for (int t = 0; t < n; t++)
            for (int h = 0; h < 2; h++)
                sum[chain % 2][t][h] =
                    chain < 2 ? acc[t][h] : _mm512_add_ps(sum[chain % 2][t][h], acc[t][h]);
    }
    __mmask16 low = (__mmask16)(n_rows >= 16 ? 0xffff : (1u << n_rows) - 1);
    __mmask16 high = (__mmask16)(n_rows < 16 ? 0 : (1u << (n_rows - 16)) - 1);
    for (int t = 0; t < n; t++) {
        _mm512_mask_storeu_ps(y + AT(t, ldy), low, _mm512_add_ps(sum[0][t][0], sum[1][t][0]));
        if (high)
            _mm512_mask_storeu_ps(y + AT(t, ldy) + 16, high,
                                  _mm512_add_ps(sum[0][t][1], sum[1][t][1]));
    }
}

#define TILE(kind, n)                                                                       \
    static void tile_##kind##_##n(const qmat_panel *panel, const tile_acts *acts, float *y, \
                                  size_t ldy, size_t n_rows) {                              \
        tile(panel, acts, y, ldy, n_rows, n, QMAT_##kind);                                  \
    }
#define TILES(kind) \
    TILE(kind, 1) TILE(kind, 2) TILE(kind, 3) TILE(kind, 4) TILE(kind, 5) TILE(kind, 6)
TILES(PLAIN)
TILES(MIN)
TILES(SUB)
TILES(SUB_MIN)

#define TILES_OF(kind)                                                  \
    [QMAT_##kind] = {tile_##kind##_1, tile_##kind##_2, tile_##kind##_3, \
                     tile_##kind##_4, tile_##kind##_5, tile_##kind##_6}
static const tile_fn tiles[4][TILE_TOKENS] = {TILES_OF(PLAIN), TILES_OF(MIN), TILES_OF(SUB),
                                              TILES_OF(SUB_MIN)};

/* ---- panels ---- */

/* start[i] = -offset * (sum of 32, or of 16 for SUB). */
static void fill_start(int32_t *start, const int16_t *sum, size_t n_blocks, const qmat_type *type) {
    if (type->panel_kind == QMAT_SUB) {
        for (size_t i = 0; i < 2 * n_blocks; i++) start[i] = -type->panel_offset * sum[i];
    } else if (type->panel_kind == QMAT_PLAIN) {
        for (size_t b = 0; b < n_blocks; b++)
            start[b] = -type->panel_offset * (sum[2 * b] + sum[2 * b + 1]);
    }
}

#define ALIGN_64(n) (((n) + 63) / 64 * 64)

static void run_panels(const spn_matmul_args *args, size_t begin, size_t end,
                       const qmat_type *type) {
    size_t n_blocks = args->k / 32, n_groups = (n_blocks + 3) / 4, n_slots = 4 * n_groups;
    uint8_t *at = args->scratch;
    qmat_panel panel = {.n_blocks = n_blocks, .n_groups = n_groups, .q = at};
    panel.d = (float *)(void *)(at += 1024 * n_slots);
    panel.n = (float *)(void *)(at += 128 * n_slots);
    panel.s = (int32_t *)(void *)(at += 128 * n_slots);
    int32_t *start = (int32_t *)(void *)(at + 256 * n_slots);
    for (size_t r = begin; r < end; r += PANEL_ROWS) {
        const uint8_t *rows[PANEL_ROWS];
        for (size_t i = 0; i < PANEL_ROWS; i++)
            rows[i] = args->w + (r + i < end ? r + i : end - 1) * args->row_bytes;
        type->unpack(&panel, rows);
        size_t n_rows = spn_min_size(end - r, PANEL_ROWS);
        const uint8_t *next = args->w + (r + PANEL_ROWS) * args->row_bytes;
        tile_fetch fetch = {next, next + PANEL_ROWS * args->row_bytes};
        for (size_t t = 0; t < args->n_tokens;) {
            size_t left = args->n_tokens - t;
            size_t n = left >= TILE_TOKENS + 3 || left == TILE_TOKENS ? TILE_TOKENS
                       : left > TILE_TOKENS                           ? (left + 1) / 2
                                                                      : left;
            tile_acts acts = {.q = args->act.q + t * args->k,
                              .d = args->act.d + t * n_blocks,
                              .dsum = args->act.dsum + t * n_blocks,
                              .sum = args->act.sum + 2 * t * n_blocks,
                              .start = start,
                              .fetch = &fetch};
            size_t n_start = type->panel_kind == QMAT_SUB ? 2 * n_blocks : n_blocks;
            for (size_t i = 0; i < n; i++)
                fill_start(start + i * n_start, acts.sum + 2 * i * n_blocks, n_blocks, type);
            tiles[type->panel_kind][n - 1](&panel, &acts, args->y + t * args->ldy + r, args->ldy,
                                           n_rows);
            t += n;
        }
    }
}

/* The larger of what both ways need. */
static size_t matmul_scratch(size_t k) {
    size_t n_slots = (k / 32 + 3) / 4 * 4;
    size_t panels = (1024 + 128 + 128 + 256) * n_slots + TILE_TOKENS * 8 * n_slots;
    size_t rows = n_slots / 4 * MAX_ROW_TOKENS * sizeof(qmat_act);
    size_t floats = 32 * 4 * k + 65536; /* of the products with float weights */
    size_t most = panels > rows ? panels : rows;
    return most > floats ? most : floats;
}

void spn_qmat_run_avx512(const spn_matmul_args *args, size_t begin, size_t end,
                         const qmat_type *type) {
    /* Measured: where unpacking a panel and its tiles get ahead of loading rows once more. */
    size_t few = type->kind < QMAT_SUB ? 10 : 8;
    if (args->n_tokens <= few)
        run_rows(args, begin, end, type);
    else
        run_panels(args, begin, end, type);
}

void spn_qmat_init_avx512(spn_kernels *table) {
    table->matmul_scratch = matmul_scratch;
    spn_qmat_init_avx512_b32(table);
    spn_qmat_init_avx512_k(table);
    spn_qmat_init_avx512_iq(table);
    spn_qmat_init_avx512_grid(table);
}
