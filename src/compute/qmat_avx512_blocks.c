/* qmat_avx512_blocks.c - AVX-512 products with types that have blocks of 32: activations, tiles and
 * the choice of way. SPDX-License-Identifier: Apache-2.0
 *
 * qmat_avx512.h tells how the kernels work; qmat_avx512_b32.c has the types.
 */
#include "compute/qmat_avx512_blocks.h"

/* ---- activations in the order of the rows' kernels ---- */

/* The `n` blocks (1 to 4) of a group that begins at block `at` of all activations. */
static void arrange_group(rows_act *out, blocks_num *num, const spn_act *act, size_t at, size_t n,
                          const blocks_type *type) {
    __mmask8 blocks = (__mmask8)((1u << n) - 1), sums = (__mmask8)((1u << 2 * n) - 1);
    __mmask64 bytes = n >= 2 ? ~0ull : 0xffffffffull;
    __mmask64 more = n >= 4 ? ~0ull : n == 3 ? 0xffffffffull : 0;
    __m512i q0 = _mm512_maskz_loadu_epi8(bytes, act->q + 32 * at);
    __m512i q1 = _mm512_maskz_loadu_epi8(more, act->q + 32 * at + 64);
    arrange_act(out, q0, q1);
    _mm_store_ps(num->d, _mm_maskz_loadu_ps(blocks, act->d + at));
    __m128i extra = _mm_madd_epi16(_mm_maskz_loadu_epi16(sums, act->sum + 2 * at),
                                   _mm_set1_epi16((short)-type->offset));
    if (type->has_min) extra = _mm_castps_si128(_mm_maskz_loadu_ps(blocks, act->dsum + at));
    _mm_store_si128((void *)num->extra, extra);
}

/* `width` tokens a group; those that do not exist stay as they are. */
static void arrange_acts(rows_act *out, blocks_num *nums, const spn_matmul_args *args, size_t first,
                         size_t n_tokens, size_t width, const blocks_type *type) {
    size_t n_blocks = args->k / 32;
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t b = 0; b < n_blocks; b += 4)
            arrange_group(out + b / 4 * width + t, nums + b / 4 * width + t, &args->act,
                          (first + t) * n_blocks + b, spn_min_size(n_blocks - b, 4), type);
}

static void run_rows(const spn_matmul_args *args, size_t begin, size_t end,
                     const blocks_type *type) {
    rows_act *acts = args->scratch;
    blocks_num *nums = (void *)(acts + (args->k / 32 + 3) / 4 * MAX_ROW_TOKENS);
    blocks_job job = {.w = args->w,
                      .next = args->next,
                      .row_bytes = args->row_bytes,
                      .n_blocks = args->k / 32,
                      .row_begin = begin,
                      .row_end = end,
                      .acts = acts,
                      .nums = nums,
                      .ldy = args->ldy};
    for (size_t t = 0; t < args->n_tokens; t += job.n_tokens) {
        size_t left = args->n_tokens - t, log = rows_width_log(left);
        job.n_tokens = spn_min_size((size_t)1 << log, left);
        arrange_acts(acts, nums, args, t, job.n_tokens, (size_t)1 << log, type);
        job.y = args->y + t * args->ldy;
        type->rows[log](&job);
    }
}

/* ---- tiles ---- */

/* sums += chain `chain` of n tokens and 32 rows. */
INLINE void tile_chain(float *sums, const qmat_panel *panel, const tile_acts *acts,
                       spn_ahead *fetch, size_t chain, const int n, const bool has_min) {
    __m512 acc[TILE_TOKENS][2];
    load_sums(acc, sums, n);
    size_t slot = chain * panel->n_groups;
    for (size_t b = chain; b < panel->n_blocks; b += MAX_CHAINS, slot++) {
        __m512i s[TILE_TOKENS][2];
        for (int t = 0; t < n; t++)
            s[t][0] = s[t][1] = has_min ? _mm512_setzero_si512()
                                        : _mm512_set1_epi32(acts->start[AT(t, acts->n_start) + b]);
        tile_steps(s, panel->q + 1024 * slot, PANEL_BYTES, acts, 32 * b, fetch, n, 8);
        const float *d = panel->d + 32 * slot, *m = panel->n + 32 * slot;
        for (int t = 0; t < n; t++) {
            __m512 act_d = _mm512_set1_ps(acts->d[AT(t, acts->n_d) + b]);
            for (int h = 0; h < 2; h++)
                acc[t][h] =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(s[t][h]),
                                    _mm512_mul_ps(_mm512_load_ps(d + 16 * h), act_d), acc[t][h]);
        }
        for (int t = 0; t < n && has_min; t++) {
            __m512 dsum = _mm512_set1_ps(acts->dsum[AT(t, acts->n_d) + b]);
            for (int h = 0; h < 2; h++)
                acc[t][h] = _mm512_fmadd_ps(_mm512_load_ps(m + 16 * h), dsum, acc[t][h]);
        }
    }
    store_sums(sums, acc, n);
}

#define TILE(name, n, has_min)                                                    \
    static void tile_##name##_##n(const qmat_panel *panel, const tile_acts *acts, \
                                  spn_ahead *fetch, float *sums) {                \
        for (size_t c = 0; c < MAX_CHAINS; c++, sums += TILE_TOKENS * PANEL_ROWS) \
            tile_chain(sums, panel, acts, fetch, c, n, has_min);                  \
    }
#define TILES(name, has_min) \
    TILE(name, 1, has_min)   \
    TILE(name, 2, has_min)   \
    TILE(name, 3, has_min) TILE(name, 4, has_min) TILE(name, 5, has_min) TILE(name, 6, has_min)
TILES(plain, false)
TILES(min, true)

static const tile_fn tiles_plain[TILE_TOKENS] = {tile_plain_1, tile_plain_2, tile_plain_3,
                                                 tile_plain_4, tile_plain_5, tile_plain_6};
static const tile_fn tiles_min[TILE_TOKENS] = {tile_min_1, tile_min_2, tile_min_3,
                                               tile_min_4, tile_min_5, tile_min_6};

/* ---- panels ---- */

/* -offset * sum, where there is no minimum. */
static size_t fill_start(int32_t *start, const int16_t *sum, size_t n_blocks, const void *type) {
    const blocks_type *blocks = type;
    for (size_t b = 0; b < n_blocks && !blocks->has_min; b++)
        start[b] = -blocks->offset * (sum[2 * b] + sum[2 * b + 1]);
    return n_blocks;
}

static void lay_out(qmat_panel *panel, size_t n_blocks, uint8_t *at) {
    size_t n_slots = (n_blocks + MAX_CHAINS - 1) / MAX_CHAINS * MAX_CHAINS;
    *panel = (qmat_panel){.q = at};
    panel->d = (float *)(void *)(at += 1024 * n_slots);
    panel->n = (float *)(void *)(at + 128 * n_slots);
}

static panels_plan plan_of(const blocks_type *type) {
    return (panels_plan){.n_chains = MAX_CHAINS,
                         .group = SPN_ACT_BLOCK,
                         .block_bytes = 1024 + 128 + 128,
                         .lay_out = lay_out,
                         .unpack = type->unpack,
                         .tiles = type->has_min ? tiles_min : tiles_plain,
                         .fill_start = fill_start,
                         .type = type};
}

/* The larger of what both ways need. */
size_t spn_qmat_scratch_blocks_avx512(size_t k) {
    const panels_plan plan = plan_of(&(blocks_type){.has_min = true});
    size_t n_groups = (k / 32 + 3) / 4;
    return spn_max_size(spn_panels_scratch_avx512(k, &plan),
                        n_groups * MAX_ROW_TOKENS * (sizeof(rows_act) + sizeof(blocks_num)));
}

void spn_blocks_run_avx512(const spn_matmul_args *args, size_t begin, size_t end,
                           const blocks_type *type) {
    if (args->n_tokens <= type->few) {
        run_rows(args, begin, end, type);
    } else {
        const panels_plan plan = plan_of(type);
        spn_panels_run_avx512(args, begin, end, &plan);
    }
}
