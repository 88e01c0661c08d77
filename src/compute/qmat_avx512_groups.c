/* qmat_avx512_groups.c - AVX-512 products with types that have super-blocks: activations, tiles and
 * the choice of way. SPDX-License-Identifier: Apache-2.0
 *
 * qmat_avx512.h tells how the kernels work; qmat_avx512_k.c, _iq.c and _grid.c have the types.
 */
#include "compute/qmat_avx512_groups.h"

/* ---- activations in the order of the rows' kernels ---- */

/* Group `at` of all activations. */
static void arrange_group(rows_act *out, groups_num *num, float d[4], const spn_act *act, size_t at,
                          const groups_spec *spec) {
    __m512i q0 = _mm512_loadu_si512(act->q + 128 * at);
    __m512i q1 = _mm512_loadu_si512(act->q + 128 * at + 64);
    arrange_act(out, q0, q1);
    _mm_store_ps(d, _mm_set1_ps(act->d[at]));
    const __m128i ones = _mm_set1_epi16(1), less = _mm_set1_epi32(-spec->offset);
    __m128i sum = _mm_loadu_si128((const void *)(act->sum + 8 * at)), extra = sum, extra_b = sum;
    if (spec->has_min && spec->scale == GROUPS_SCALE_32) {
        if (at % 2 != 0) return;
        __m256i two = _mm256_loadu_si256((const void *)(act->sum + 8 * at));
        extra = _mm256_cvtepi32_epi16(_mm256_madd_epi16(two, _mm256_set1_epi16(1)));
    } else if (!spec->has_min && spec->scale == GROUPS_SCALE_16) {
        extra = _mm_mullo_epi32(_mm_srai_epi32(_mm_slli_epi32(sum, 16), 16), less);
        extra_b = _mm_mullo_epi32(_mm_srai_epi32(sum, 16), less);
    } else if (!spec->has_min) {
        extra = _mm_mullo_epi32(_mm_madd_epi16(sum, ones), less);
    }
    _mm_store_si128((void *)num->extra, extra);
    _mm_store_si128((void *)num->extra_b, extra_b);
}

/* `width` tokens a group; those that do not exist stay as they are. */
static void arrange_acts(rows_act *out, groups_num *nums, float *d, const spn_matmul_args *args,
                         size_t first, size_t n_tokens, size_t width, const groups_spec *spec) {
    size_t n_groups = args->k / SPN_ACT_GROUP;
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t g = 0; g < n_groups; g++) {
            size_t at = g * width + t;
            arrange_group(out + at, nums + at, d + 4 * at, &args->act, (first + t) * n_groups + g,
                          spec);
        }
}

static void run_rows(const spn_matmul_args *args, size_t begin, size_t end,
                     const groups_type *type) {
    rows_act *acts = args->scratch;
    size_t n = args->k / SPN_ACT_GROUP * MAX_ROW_TOKENS;
    groups_num *nums = (void *)(acts + n);
    float *d = (void *)(nums + n);
    groups_job job = {.w = args->w,
                      .next = args->next,
                      .row_bytes = args->row_bytes,
                      .n_super = args->k / SPN_QUANT_K,
                      .row_begin = begin,
                      .row_end = end,
                      .acts = {acts, nums, d},
                      .ldy = args->ldy};
    for (size_t t = 0; t < args->n_tokens; t += job.n_tokens) {
        size_t left = args->n_tokens - t, log = rows_width_log(left);
        job.n_tokens = spn_min_size((size_t)1 << log, left);
        arrange_acts(acts, nums, d, args, t, job.n_tokens, (size_t)1 << log, &type->spec);
        job.y = args->y + t * args->ldy;
        type->rows[log](&job);
    }
}

/* ---- tiles ---- */

INLINE void tile_start(__m512i (*s)[2], const tile_acts *acts, size_t at, const int n,
                       const bool at_zero) {
    for (int t = 0; t < n; t++)
        s[t][0] = s[t][1] = at_zero ? _mm512_setzero_si512()
                                    : _mm512_set1_epi32(acts->start[AT(t, acts->n_start) + at]);
}

/* s += the sums of sub-block `at` times their scales. */
INLINE void tile_scale(__m512i (*s)[2], __m512i (*part)[2], const qmat_panel *panel, size_t at,
                       const int n) {
    for (int h = 0; h < 2; h++) {
        __m512i by = _mm512_load_si512(panel->s + 32 * at + 16 * h);
        SPN_UNROLL(6)
        for (int t = 0; t < n; t++)
            s[t][h] = _mm512_add_epi32(s[t][h], _mm512_mullo_epi32(part[t][h], by));
    }
}

/* The same from the panel; it is 32 or 16 elements long. */
INLINE void tile_scaled(__m512i (*s)[2], const qmat_panel *panel, const uint8_t *w,
                        const panel_weights which, const tile_acts *acts, spn_ahead *fetch,
                        size_t at, const int n, const size_t len, const bool has_min) {
    __m512i part[TILE_TOKENS][2];
    tile_start(part, acts, at, n, has_min);
    tile_steps(part, w, which, acts, len * at, fetch, n, (int)len / 4);
    tile_scale(s, part, panel, at, n);
}

/* The same of blocks b and b + 1 in nibbles. Up to four tokens leave registers for both at once: 16
 * sums are then under way where 8 just cover the four cycles of a vpdpbusd, and nibbles are loaded
 * once. */
INLINE void tile_pair(__m512i (*s)[2], const qmat_panel *panel, const uint8_t *w,
                      const tile_acts *acts, spn_ahead *fetch, size_t b, const int n,
                      const bool has_min) {
    if (n > 4) {
        tile_scaled(s, panel, w, PANEL_LOW, acts, fetch, b, n, 32, has_min);
        tile_scaled(s, panel, w, PANEL_HIGH, acts, fetch, b + 1, n, 32, has_min);
        return;
    }
    __m512i low[TILE_TOKENS][2], high[TILE_TOKENS][2];
    tile_start(low, acts, b, n, has_min);
    tile_start(high, acts, b + 1, n, has_min);
    SPN_UNROLL(8)
    for (int j = 0; j < 8; j++) {
        const __m512i both[2] = {_mm512_load_si512(w + 128 * j),
                                 _mm512_load_si512(w + 128 * j + 64)};
        const int8_t *q = acts->q + 32 * b + 4 * j;
        if (j % 2 == 0) spn_fetch_step(fetch);
        tile_step(low, both, PANEL_LOW, q, acts->k, n);
        tile_step(high, both, PANEL_HIGH, q + 32, acts->k, n);
    }
    tile_scale(s, low, panel, b, n);
    tile_scale(s, high, panel, b + 1, n);
}

/* S of group g. */
INLINE void tile_sums(__m512i (*s)[2], const qmat_panel *panel, const tile_acts *acts,
                      spn_ahead *fetch, size_t g, const int n, const groups_scale scale,
                      const bool has_min, const bool nibbles) {
    tile_start(s, acts, g, n, has_min || scale != GROUPS_SCALE_NONE);
    for (size_t b = 4 * g; b < 4 * g + 4; b += nibbles ? 2 : 1) {
        const uint8_t *w = panel->q + (nibbles ? 512 : 1024) * b;
        if (nibbles) {
            tile_pair(s, panel, w, acts, fetch, b, n, has_min);
        } else if (scale == GROUPS_SCALE_NONE) {
            tile_steps(s, w, PANEL_BYTES, acts, 32 * b, fetch, n, 8);
        } else if (scale == GROUPS_SCALE_32) {
            tile_scaled(s, panel, w, PANEL_BYTES, acts, fetch, b, n, 32, has_min);
        } else {
            for (size_t i = 0; i < 2; i++)
                tile_scaled(s, panel, w + 512 * i, PANEL_BYTES, acts, fetch, 2 * b + i, n, 16,
                            has_min);
        }
    }
}

/* acc = fma((float)S, D * d, acc) of group g. */
INLINE void tile_add_sums(__m512 (*acc)[2], __m512i (*s)[2], const qmat_panel *panel,
                          const tile_acts *acts, size_t g, const int n) {
    const float *by = panel->d + g / 2 * 32;
    for (int t = 0; t < n; t++) {
        __m512 d = _mm512_set1_ps(acts->d[AT(t, acts->n_d) + g]);
        for (int h = 0; h < 2; h++)
            acc[t][h] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[t][h]),
                                        _mm512_mul_ps(_mm512_load_ps(by + 16 * h), d), acc[t][h]);
    }
}

/* acc = fma(N, (float)M * d, acc) of group g; n_pairs of minima a group. */
INLINE void tile_add_minima(__m512 (*acc)[2], const qmat_panel *panel, const tile_acts *acts,
                            size_t g, const int n, const size_t n_pairs) {
    const float *by = panel->n + g / 2 * 32;
    __m512i m[TILE_TOKENS][2];
    for (int t = 0; t < n; t++) m[t][0] = m[t][1] = _mm512_setzero_si512();
    for (size_t i = n_pairs * g; i < n_pairs * (g + 1); i++) {
        __m512i m0 = _mm512_load_si512(panel->minima + 32 * i);
        __m512i m1 = _mm512_load_si512(panel->minima + 32 * i + 16);
        for (int t = 0; t < n; t++) {
            __m512i sums = _mm512_set1_epi32(acts->start[AT(t, acts->n_start) + i]);
            m[t][0] = _mm512_dpwssd_epi32(m[t][0], m0, sums);
            m[t][1] = _mm512_dpwssd_epi32(m[t][1], m1, sums);
        }
    }
    for (int t = 0; t < n; t++) {
        __m512 d = _mm512_set1_ps(acts->d[AT(t, acts->n_d) + g]);
        for (int h = 0; h < 2; h++)
            acc[t][h] = _mm512_fmadd_ps(_mm512_load_ps(by + 16 * h),
                                        _mm512_mul_ps(_mm512_cvtepi32_ps(m[t][h]), d), acc[t][h]);
    }
}

/* The sums of a group take 24 registers, so those of the tile are met once a group. */
INLINE void tile(const qmat_panel *panel, const tile_acts *acts, spn_ahead *fetch, float *sums,
                 const int n, const groups_scale scale, const size_t n_pairs, const bool nibbles) {
    const bool has_min = n_pairs > 0;
    __m512 acc[TILE_TOKENS][2];
    load_sums(acc, sums, n);
    for (size_t g = 0; g < panel->n_groups; g++) {
        __m512i s[TILE_TOKENS][2];
        tile_sums(s, panel, acts, fetch, g, n, scale, has_min, nibbles);
        tile_add_sums(acc, s, panel, acts, g, n);
        if (has_min) tile_add_minima(acc, panel, acts, g, n, n_pairs);
    }
    store_sums(sums, acc, n);
}

#define TILE(name, n, scale, n_pairs, nibbles)                                    \
    static void tile_##name##_##n(const qmat_panel *panel, const tile_acts *acts, \
                                  spn_ahead *fetch, float *sums) {                \
        tile(panel, acts, fetch, sums, n, scale, n_pairs, nibbles);               \
    }
#define TILES(name, scale, n_pairs, nibbles)                                            \
    TILE(name, 1, scale, n_pairs, nibbles)                                              \
    TILE(name, 2, scale, n_pairs, nibbles)                                              \
    TILE(name, 3, scale, n_pairs, nibbles)                                              \
    TILE(name, 4, scale, n_pairs, nibbles)                                              \
    TILE(name, 5, scale, n_pairs, nibbles)                                              \
    TILE(name, 6, scale, n_pairs, nibbles)                                              \
    static const tile_fn tiles_##name[TILE_TOKENS] = {tile_##name##_1, tile_##name##_2, \
                                                      tile_##name##_3, tile_##name##_4, \
                                                      tile_##name##_5, tile_##name##_6};
TILES(none, GROUPS_SCALE_NONE, 0, false)
TILES(32, GROUPS_SCALE_32, 0, false)
TILES(16, GROUPS_SCALE_16, 0, false)
TILES(none_min, GROUPS_SCALE_NONE, 4, false)
TILES(32_min, GROUPS_SCALE_32, 2, false)
TILES(nibbles_min, GROUPS_SCALE_32, 2, true)

/* ---- panels ---- */

/* Sums of 32 from those of 16, as int16: at most 32 * 127. */
static void sums_of_32(int16_t *out, const int16_t *sum, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (int16_t)(sum[2 * i] + sum[2 * i + 1]);
}

/* A token's -offset * sum, of a group (SCALE_NONE), of a block or of a sub-block; with a minimum
 * pairs of int16 sums, of two blocks (SCALE_32) or of two sub-blocks. Plain loops, which the
 * compiler turns into vectors: this is done for each pair of panels and token. */
static size_t fill_start(int32_t *start, const int16_t *sum, size_t n_blocks, const void *type) {
    const groups_spec *spec = &((const groups_type *)type)->spec;
    size_t n_16 = 2 * n_blocks;
    int factor = -spec->panel_offset;
    if (spec->has_min && spec->scale == GROUPS_SCALE_16) {
        memcpy(start, sum, n_16 * sizeof(*sum));
        return n_16 / 2;
    }
    if (spec->has_min) {
        sums_of_32((int16_t *)(void *)start, sum, n_16 / 2);
        return n_16 / 4;
    }
    if (spec->scale == GROUPS_SCALE_NONE || spec->fold) {
        for (size_t i = 0; i < n_16 / 8; i++, sum += 8)
            start[i] =
                factor * (sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7]);
        return n_16 / 8;
    }
    if (spec->scale == GROUPS_SCALE_32) {
        for (size_t i = 0; i < n_16 / 2; i++) start[i] = factor * (sum[2 * i] + sum[2 * i + 1]);
        return n_16 / 2;
    }
    for (size_t i = 0; i < n_16; i++) start[i] = factor * sum[i];
    return n_16;
}

static const tile_fn *tiles_of(const groups_spec *spec) {
    if (spec->nibbles) return tiles_nibbles_min;
    if (spec->scale == GROUPS_SCALE_32) return spec->has_min ? tiles_32_min : tiles_32;
    if (spec->scale == GROUPS_SCALE_16 && !spec->fold) return tiles_16;
    return spec->has_min ? tiles_none_min : tiles_none;
}

static void lay_out(qmat_panel *panel, size_t n_blocks, uint8_t *at) {
    *panel = (qmat_panel){.q = at};
    panel->d = (float *)(void *)(at += 1024 * n_blocks);
    panel->n = (float *)(void *)(at += 16 * n_blocks);
    panel->s = (int32_t *)(void *)(at += 16 * n_blocks);
    panel->minima = (int32_t *)(void *)(at + 256 * n_blocks);
}

static panels_plan plan_of(const groups_type *type) {
    return (panels_plan){.n_chains = 1,
                         .group = SPN_ACT_GROUP,
                         .block_bytes = 1024 + 16 + 16 + 256 + 128,
                         .lay_out = lay_out,
                         .unpack = type->unpack,
                         .tiles = tiles_of(&type->spec),
                         .fill_start = fill_start,
                         .type = type};
}

/* The larger of what both ways need. */
size_t spn_qmat_scratch_groups_avx512(size_t k) {
    const panels_plan plan = plan_of(&(groups_type){.unpack = NULL});
    size_t n_super = (k + SPN_QUANT_K - 1) / SPN_QUANT_K;
    return spn_max_size(spn_panels_scratch_avx512(n_super * SPN_QUANT_K, &plan),
                        2 * n_super * MAX_ROW_TOKENS *
                            (sizeof(rows_act) + sizeof(groups_num) + 4 * sizeof(float)));
}

void spn_groups_run_avx512(const spn_matmul_args *args, size_t begin, size_t end,
                           const groups_type *type) {
    if (args->n_tokens <= type->few) {
        run_rows(args, begin, end, type);
    } else {
        const panels_plan plan = plan_of(type);
        spn_panels_run_avx512(args, begin, end, &plan);
    }
}
