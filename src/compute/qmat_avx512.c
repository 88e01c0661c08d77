/* qmat_avx512.c - AVX-512 products with quantised weights. SPDX-License-Identifier: Apache-2.0 */
#include "compute/qmat_avx512.h"

/* ---- panels ---- */

static size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }

static size_t panel_bytes(const panels_plan *plan, size_t n_blocks) {
    return plan->block_bytes * (ceil_div(n_blocks, MAX_CHAINS) * MAX_CHAINS);
}

static void set_length(qmat_panel *panel, size_t n_blocks) {
    panel->n_blocks = n_blocks;
    panel->n_groups = ceil_div(n_blocks, MAX_CHAINS);
}

/* Lays a panel of n_blocks out at `at`; returns what lies behind it. */
static uint8_t *place_panel(qmat_panel *panel, const panels_plan *plan, size_t n_blocks,
                            uint8_t *at) {
    plan->lay_out(panel, n_blocks, at);
    set_length(panel, n_blocks);
    return at + panel_bytes(plan, n_blocks);
}

/* Floats that a tile's sums take. */
static size_t n_tile_sums(const panels_plan *plan) {
    return plan->n_chains * TILE_TOKENS * PANEL_ROWS;
}

/* What the next panel will be unpacked from: asked for while this one is multiplied, or a prompt of
 * a few tokens would wait for memory in every panel. A little at every fourth step. */
static spn_ahead fetch_next_rows(const spn_matmul_args *args, size_t r, size_t n_rows) {
    size_t n_tiles = ceil_div(n_rows, PANEL_ROWS) * ceil_div(args->n_tokens, TILE_TOKENS);
    size_t n_steps = spn_max_size(args->k / 16 * n_tiles, 1);
    return spn_ahead_of_rows(args, r, n_rows, n_steps);
}

/* The n tokens from t on. Fills `start`; returns where its next part begins. */
static int32_t *take_tokens(tile_acts *acts, const panels_plan *plan, const spn_matmul_args *args,
                            size_t t, size_t n, int32_t *start) {
    size_t n_blocks = args->k / 32, n_d = args->k / plan->group;
    *acts = (tile_acts){.q = args->act.q + t * args->k,
                        .d = args->act.d + t * n_d,
                        .k = args->k,
                        .n_d = n_d,
                        .start = start};
    if (args->act.dsum != NULL) acts->dsum = args->act.dsum + t * n_d;
    for (size_t i = 0; i < n; i++)
        acts->n_start =
            plan->fill_start(start + i * acts->n_start, args->act.sum + (t + i) * 2 * n_blocks,
                             n_blocks, plan->type);
    return start + n * acts->n_start;
}

/* A tile's sums to the rows that there are; four chains as (0 + 2) + (1 + 3). */
static void store_tile(float *y, size_t ldy, size_t n_rows, const float *sums, size_t n,
                       size_t n_chains) {
    const size_t chain = TILE_TOKENS * PANEL_ROWS;
    __mmask16 masks[2] = {(__mmask16)(n_rows >= 16 ? 0xffff : (1u << n_rows) - 1),
                          (__mmask16)(n_rows < 16 ? 0 : (1u << (n_rows - 16)) - 1)};
    for (size_t t = 0; t < n; t++)
        for (size_t h = 0; h < 2; h++) {
            const float *from = sums + PANEL_ROWS * t + 16 * h;
            __m512 sum = _mm512_load_ps(from);
            if (n_chains > 1) {
                __m512 even = _mm512_add_ps(sum, _mm512_load_ps(from + 2 * chain));
                __m512 odd =
                    _mm512_add_ps(_mm512_load_ps(from + chain), _mm512_load_ps(from + 3 * chain));
                sum = _mm512_add_ps(even, odd);
            }
            if (masks[h]) _mm512_mask_storeu_ps(y + t * ldy + 16 * h, masks[h], sum);
        }
}

/* ---- many tokens: long panels, tile after tile ---- */

/* With two panels activations come half as often from the outer caches; from k = 8192 on two would
 * not fit the second one (measured: 0.9 of the speed). */
static size_t panels_at_once(size_t k) {
    return PANELS * PANEL_ROWS * k <= PANELS_BYTES ? PANELS : 1;
}

typedef struct long_panels {
    qmat_panel panels[PANELS];
    size_t n;
    float *sums;
    int32_t *start;
} long_panels;

static long_panels begin_long(const spn_matmul_args *args, const panels_plan *plan) {
    long_panels p = {.n = panels_at_once(args->k)};
    uint8_t *at = args->scratch;
    for (size_t i = 0; i < p.n; i++) at = place_panel(&p.panels[i], plan, args->k / 32, at);
    p.sums = (float *)(void *)at;
    p.start = (int32_t *)(void *)(p.sums + n_tile_sums(plan));
    return p;
}

/* All tokens times the n panels that are unpacked, whose rows begin at r. */
static void run_long_rows(const long_panels *p, const spn_matmul_args *args,
                          const panels_plan *plan, size_t n, size_t r, size_t end) {
    spn_ahead fetch = fetch_next_rows(args, r + n * PANEL_ROWS, n * PANEL_ROWS);
    for (size_t t = 0, n_tokens; t < args->n_tokens; t += n_tokens) {
        tile_acts acts;
        n_tokens = tile_tokens(args->n_tokens - t);
        assert(n_tokens >= 1 && n_tokens <= TILE_TOKENS);
        take_tokens(&acts, plan, args, t, n_tokens, p->start);
        for (size_t i = 0, row = r; i < n; i++, row += PANEL_ROWS) {
            float *y = args->y + t * args->ldy + row;
            memset(p->sums, 0, n_tile_sums(plan) * sizeof(float));
            spn_fetch_output(y, args->ldy, n_tokens);
            plan->tiles[n_tokens - 1](&p->panels[i], &acts, &fetch, p->sums);
            store_tile(y, args->ldy, spn_min_size(end - row, PANEL_ROWS), p->sums, n_tokens,
                       plan->n_chains);
        }
    }
}

static void run_long(const spn_matmul_args *args, size_t begin, size_t end,
                     const panels_plan *plan) {
    const long_panels p = begin_long(args, plan);
    for (size_t r = begin, n; r < end; r += n * PANEL_ROWS) {
        n = spn_min_size(p.n, ceil_div(end - r, PANEL_ROWS));
        for (size_t i = 0; i < n; i++) {
            const uint8_t *rows[PANEL_ROWS];
            spn_rows_from(rows, PANEL_ROWS, args->w, args->row_bytes, r + i * PANEL_ROWS, end);
            plan->unpack(&p.panels[i], rows, 0);
        }
        run_long_rows(&p, args, plan, n, r, end);
    }
}

/* ---- few tokens: short panels, all tiles side by side ---- */

/* Unpacking counts here. A short panel stays in the first cache, where it is written twice as
 * fast, and is unpacked while the products of the one before are still under way. */
#define FEW_TILES ((FEW_TOKENS + TILE_TOKENS - 1) / TILE_TOKENS)
typedef struct short_panels {
    qmat_panel panel;
    size_t n_tiles, n_tokens[FEW_TILES];
    tile_acts acts[FEW_TILES];
    float *sums; /* [tile] */
} short_panels;

static void begin_short(short_panels *p, const spn_matmul_args *args, const panels_plan *plan) {
    p->sums = (float *)(void *)place_panel(&p->panel, plan, FEW_BLOCKS, args->scratch);
    int32_t *start = (int32_t *)(void *)(p->sums + FEW_TILES * n_tile_sums(plan));
    p->n_tiles = 0;
    for (size_t t = 0, n; t < args->n_tokens; t += n, p->n_tiles++) {
        assert(p->n_tiles < FEW_TILES);
        p->n_tokens[p->n_tiles] = n = tile_tokens(args->n_tokens - t);
        start = take_tokens(&p->acts[p->n_tiles], plan, args, t, n, start);
    }
}

/* 32 rows, from which the weights come, times all tokens. */
static void run_short_rows(short_panels *p, const spn_matmul_args *args, const panels_plan *plan,
                           const uint8_t *const rows[PANEL_ROWS], spn_ahead *fetch) {
    const size_t n_blocks = args->k / 32;
    memset(p->sums, 0, p->n_tiles * n_tile_sums(plan) * sizeof(float));
    for (size_t b = 0; b < n_blocks; b += FEW_BLOCKS) {
        set_length(&p->panel, spn_min_size(n_blocks - b, FEW_BLOCKS));
        plan->unpack(&p->panel, rows, b);
        for (size_t i = 0; i < p->n_tiles; i++) {
            tile_acts acts = p->acts[i];
            acts.q += 32 * b;
            acts.d += 32 * b / plan->group;
            if (acts.dsum != NULL) acts.dsum += b;
            acts.start += acts.n_start * b / n_blocks;
            plan->tiles[p->n_tokens[i] - 1](&p->panel, &acts, fetch,
                                            p->sums + i * n_tile_sums(plan));
        }
    }
}

/* The first rows come from memory while the tokens are made ready. */
#define FIRST_FETCH ((size_t)64 * 1024)

static void run_short(const spn_matmul_args *args, size_t begin, size_t end,
                      const panels_plan *plan) {
    short_panels p;
    const size_t first = spn_min_size(end - begin, PANEL_ROWS) * args->row_bytes;
    spn_fetch(args->w + begin * args->row_bytes, spn_min_size(first, FIRST_FETCH), false);
    begin_short(&p, args, plan);
    for (size_t r = begin; r < end; r += PANEL_ROWS) {
        const uint8_t *rows[PANEL_ROWS];
        size_t n_rows = spn_min_size(end - r, PANEL_ROWS);
        spn_rows_from(rows, PANEL_ROWS, args->w, args->row_bytes, r, end);
        spn_ahead fetch = fetch_next_rows(args, r + PANEL_ROWS, PANEL_ROWS);
        float *y = args->y + r;
        spn_fetch_output(y, args->ldy, args->n_tokens);
        run_short_rows(&p, args, plan, rows, &fetch);
        for (size_t i = 0; i < p.n_tiles; i++) {
            const float *sums = p.sums + i * n_tile_sums(plan);
            store_tile(y, args->ldy, n_rows, sums, p.n_tokens[i], plan->n_chains);
            y += p.n_tokens[i] * args->ldy;
        }
    }
}

void spn_panels_run_avx512(const spn_matmul_args *args, size_t begin, size_t end,
                           const panels_plan *plan) {
    if (args->n_tokens <= FEW_TOKENS)
        run_short(args, begin, end, plan);
    else
        run_long(args, begin, end, plan);
}

size_t spn_panels_scratch_avx512(size_t k, const panels_plan *plan) {
    size_t n_blocks = k / 32, starts = sizeof(int32_t) * 2 * (n_blocks + MAX_CHAINS);
    size_t sums = n_tile_sums(plan) * sizeof(float);
    return spn_max_size(PANELS * panel_bytes(plan, n_blocks) + sums + TILE_TOKENS * starts,
                        panel_bytes(plan, FEW_BLOCKS) + FEW_TILES * sums + FEW_TOKENS * starts);
}

/* ---- the table ---- */

/* What the products of any type need; those with float weights too. */
static size_t matmul_scratch(size_t k) {
    return spn_max_size(spn_fmat_scratch(k), spn_max_size(spn_qmat_scratch_blocks_avx512(k),
                                                          spn_qmat_scratch_groups_avx512(k)));
}

void spn_qmat_init_avx512(spn_kernels *table) {
    table->matmul_scratch = matmul_scratch;
    spn_qmat_init_avx512_b32(table);
    spn_qmat_init_avx512_k(table);
    spn_qmat_init_avx512_iq(table);
    spn_qmat_init_avx512_grid(table);
}
