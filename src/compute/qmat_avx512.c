/* qmat_avx512.c - AVX-512 products with quantised weights. SPDX-License-Identifier: Apache-2.0 */
#include "compute/qmat_avx512.h"

/* ---- panels ---- */

/* With two panels activations come half as often from the outer caches; from k = 8192 on two would
 * not fit the second one (measured: 0.9 of the speed). */
static size_t panels_at_once(size_t k) { return 2 * PANEL_ROWS * k <= PANELS_BYTES ? PANELS : 1; }

static tile_fetch fetch_next_panels(const spn_matmul_args *args, size_t r, size_t n_panels) {
    const uint8_t *next = args->w + r * args->row_bytes;
    size_t n = n_panels * PANEL_ROWS * args->row_bytes;
    size_t n_tiles = n_panels * ((args->n_tokens + TILE_TOKENS - 1) / TILE_TOKENS);
    return (tile_fetch){next, next + n,
                        spn_max_size(FETCH_STEP, n / (args->k / 32 * n_tiles) + 64)};
}

/* Those that begin at row r; returns how many. */
static size_t unpack_panels(const panels_plan *plan, const spn_matmul_args *args, size_t r,
                            size_t end) {
    size_t n = 0;
    for (; n < panels_at_once(args->k) && r < end; n++, r += PANEL_ROWS) {
        const uint8_t *rows[PANEL_ROWS];
        spn_rows_from(rows, PANEL_ROWS, args->w, args->row_bytes, r, end);
        plan->unpack(&plan->panels[n], rows);
    }
    return n;
}

/* The n tokens from t on. */
static tile_acts take_tokens(const panels_plan *plan, const spn_matmul_args *args, size_t t,
                             size_t n, tile_fetch *fetch) {
    size_t n_blocks = args->k / 32;
    tile_acts acts = {.q = args->act.q + t * args->k,
                      .d = args->act.d + t * plan->n_d,
                      .start = plan->start,
                      .fetch = fetch};
    if (args->act.dsum != NULL) acts.dsum = args->act.dsum + t * n_blocks;
    for (size_t i = 0; i < n; i++)
        acts.n_start =
            plan->fill_start(plan->start + i * acts.n_start, args->act.sum + (t + i) * 2 * n_blocks,
                             n_blocks, plan->type);
    return acts;
}

void spn_panels_run_avx512(const spn_matmul_args *args, size_t begin, size_t end,
                           const panels_plan *plan) {
    for (size_t r = begin, n_panels; r < end; r += n_panels * PANEL_ROWS) {
        n_panels = unpack_panels(plan, args, r, end);
        tile_fetch fetch = fetch_next_panels(args, r + n_panels * PANEL_ROWS, n_panels);
        for (size_t t = 0, n; t < args->n_tokens; t += n) {
            n = tile_tokens(args->n_tokens - t);
            assert(n >= 1 && n <= TILE_TOKENS);
            tile_acts acts = take_tokens(plan, args, t, n, &fetch);
            for (size_t i = 0, row = r; i < n_panels; i++, row += PANEL_ROWS)
                plan->tiles[n - 1](&plan->panels[i], &acts, args->y + t * args->ldy + row,
                                   args->ldy, spn_min_size(end - row, PANEL_ROWS));
        }
    }
}

/* ---- the table ---- */

/* What the products of any type need; those with float weights too. */
static size_t matmul_scratch(size_t k) {
    size_t floats = 32 * 4 * k + 65536;
    return spn_max_size(
        floats, spn_max_size(spn_qmat_scratch_blocks_avx512(k), spn_qmat_scratch_groups_avx512(k)));
}

void spn_qmat_init_avx512(spn_kernels *table) {
    table->matmul_scratch = matmul_scratch;
    spn_qmat_init_avx512_b32(table);
    spn_qmat_init_avx512_k(table);
    spn_qmat_init_avx512_iq(table);
    spn_qmat_init_avx512_grid(table);
}
