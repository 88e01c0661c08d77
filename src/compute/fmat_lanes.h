/* fmat_lanes.h - products with F32, F16 and BF16 weights over 16 lanes (contract (4)); each level's
 * fmat_*.c includes it once.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A tile is FMAT_ROWS rows by FMAT_TOKENS tokens; each of its sums is a register of lanes that
 * walks along k. With 4 x 6 a step loads 4 weights and 6 activations for 24 fused multiply-adds, so
 * the multipliers are the bound (a load or two and one or two 512-bit fma go in a cycle). A level
 * whose register holds only some of the 16 lanes walks k once for each share of the lanes (they
 * never meet before the fold), in chunks that the first cache keeps for the next share.
 *
 * Few tokens: weights are read where they are, some rows side by side, and every byte of them comes
 * from memory once: 16 fma for 4 x 64 bytes of F32 is far above memory's speed, so the bound is
 * memory. A second group of tokens finds the rows in cache. While a tile's rows are read the next
 * tile's are asked for, so the first cache must have room for both beside the activations: with up
 * to FMAT_STREAM_TOKENS tokens two rows are better than four where two chains keep the multipliers
 * busy enough (Zen 5, F16, one token: 1.06 of the speed at k = 2048, 1.12 at 3072, 1.13 at 4096).
 * Many tokens: rows are copied once into a panel in the scratch, small enough for the second cache:
 * four side by side, 16 elements of each, so that a tile reads one stream and rows whose length is
 * a power of two do not meet in the same sets of the caches (0.9 of the speed). They stay as they
 * are: two bytes are read for an element of F16 or BF16, and converting it for six tokens costs
 * less than reading four. A group of tokens walks k in chunks that the first cache keeps (1024
 * elements of six tokens: 24 KiB) while all of the panel's rows pass by; the sums, another 24 KiB,
 * wait in the scratch. So a step takes its 4 weights from the second cache and its activations from
 * the first: 128 or 256 bytes for 24 fma. With a whole k for each tile both came from the second,
 * and that was the bound: 0.6 of the multipliers. The next chunk or group of activations comes from
 * the third cache, so each of the group's tiles asks for its share of them, a line of each token
 * every 128 elements (all at once 0.96 of that speed, not at all 0.83 to 0.93), and for its share
 * of the next panel's rows, which come from memory.
 */
#include "compute/kernels.h"

/* Rows that are read where they are: a tile's last tokens ask for the next tile's (spn_fetch_once),
 * at least so many bytes ahead. */
#define FMAT_FETCH_AHEAD ((size_t)8192)
/* With up to so many tokens the weights' memory is the bound. */
#define FMAT_STREAM_TOKENS 4

/* Up to so many tokens, times the bytes of an element, copying rows costs more than it gains:
 * measured. */
#define FMAT_FEW 192

/* Elements of k that a group's tiles take one after the other. A level with shares of the lanes
 * loads less a fma and gained nothing from that; there it is what a tile's shares take in turn. */
#define FMAT_CHUNK ((size_t)(HW_LANES == 16 ? 1024 : 512))
#define FMAT_TOGETHER (HW_LANES == 16)
/* Elements of k for which a tile asks for a line of each token that comes next. */
#define FMAT_ASK_EVERY ((size_t)128)
/* Rows of a panel, at most: what a task has. The more, the less often activations come from the
 * third cache. */
#define FMAT_PANEL_ROWS 64
/* A row's sums: 16 lanes a token. */
#define FMAT_ROW_SUMS (FMAT_TOKENS * 16)
static_assert(FMAT_PANEL_ROWS * FMAT_ROW_SUMS * sizeof(float) <= SPN_FMAT_SUMS_BYTES, "sums");
static_assert(FMAT_ROWS == 4 && FMAT_ROWS <= SPN_FMAT_MAX_ROWS, "v_fold_4, the panel");
/* Rows of a tile for so few tokens. Two chains of half a register each would not keep the
 * multipliers busy, so such levels stay at four. */
#define FMAT_STREAM_ROWS (HW_LANES == 16 ? 2 : FMAT_ROWS)
static_assert(FMAT_ROWS % FMAT_STREAM_ROWS == 0, "they are some of a tile's rows");

/* Rows of weights: as they are in the file, or in a panel. */
typedef struct fmat_rows {
    const uint8_t *w;
    size_t row_bytes;  /* from a row to the next one of four */
    size_t tile_bytes; /* from four rows to the next four */
    size_t step_bytes; /* from 16 elements to the next 16 */
} fmat_rows;

static ALWAYS_INLINE size_t row_offset(const fmat_rows *rows, size_t r) {
    return r / FMAT_ROWS * rows->tile_bytes + r % FMAT_ROWS * rows->row_bytes;
}

static ALWAYS_INLINE const uint8_t *row_at(const fmat_rows *rows, size_t r) {
    return rows->w + row_offset(rows, r);
}

/* What a tile asks for of the activations that come next: n numbers of each row. */
typedef struct fmat_ask {
    const float *x; /* [n_rows][ldx] */
    size_t n_rows, ldx, n;
} fmat_ask;

typedef struct fmat_tile {
    fmat_rows rows;
    const float *x; /* first token */
    size_t ldx, k;
    float *y;
    size_t ldy;
    size_t n_rows; /* FMAT_ROWS, or FMAT_STREAM_ROWS */
    bool asks;     /* for the next tile's rows: the last tokens that meet these where they are */
    fmat_ask ask;  /* while its steps from ask_at on pass by */
    size_t ask_at;
} fmat_tile;

/* Line `at` of each row, if there is one. */
static ALWAYS_INLINE void ask_for_line(const fmat_ask *ask, size_t at) {
    if (at * 16 >= ask->n) return;
    for (size_t r = 0; r < ask->n_rows; r++)
        __builtin_prefetch(ask->x + r * ask->ldx + at * 16, 0, 3);
}

static ALWAYS_INLINE size_t element_bytes(spn_type type) { return type == SPN_TYPE_F32 ? 4 : 2; }

static ALWAYS_INLINE hw weight_hw(spn_type type, const uint8_t *w) {
    if (type == SPN_TYPE_F16) return hw_load_f16(w);
    if (type == SPN_TYPE_BF16) return hw_load_bf16(w);
    return hw_load((const float *)(const void *)w);
}

static ALWAYS_INLINE v16 weight_n(spn_type type, const uint8_t *w, size_t n) {
    if (type == SPN_TYPE_F16) return v_load_f16_n(w, n);
    if (type == SPN_TYPE_BF16) return v_load_bf16_n(w, n);
    return v_load_n((const float *)(const void *)w, n);
}

/* One share of the lanes from `begin` to `end` of k, whole steps: added to sums[r][t][16], which
 * the first steps begin. `type`, `rows`, `tokens` and `asks` are constants where this is inlined.
 */
static ALWAYS_INLINE void tile_lanes(spn_type type, const fmat_tile *tile, size_t rows,
                                     size_t tokens, bool asks, size_t begin, size_t end,
                                     float *sums) {
    hw sum[FMAT_ROWS][FMAT_TOKENS];
    const bool first = begin < 16;
    SPN_UNROLL(8)
    for (size_t r = 0; r < rows; r++) {
        SPN_UNROLL(8)
        for (size_t t = 0; t < tokens; t++)
            sum[r][t] = first ? hw_zero() : hw_load(sums + (r * FMAT_TOKENS + t) * 16);
    }
    const bool near = spn_fetches_near();
    const size_t whole = rows * tile->rows.row_bytes, step = rows * 16 * element_bytes(type);
    const uint8_t *next =
        tile->rows.w + (whole > FMAT_FETCH_AHEAD ? whole : FMAT_FETCH_AHEAD) + begin / 16 * step;
    const uint8_t *at =
        tile->rows.w + begin / 16 * tile->rows.step_bytes + begin % 16 * element_bytes(type);
    for (size_t i = begin, stop; i < end;) {
        stop = end - i < FMAT_ASK_EVERY ? end : i + FMAT_ASK_EVERY;
        if (begin % 16 == 0) ask_for_line(&tile->ask, (i - tile->ask_at) / FMAT_ASK_EVERY);
        for (; i < stop; i += 16, next += step, at += tile->rows.step_bytes) {
            hw x[FMAT_TOKENS];
            if (asks) spn_fetch_once(next, step, near);
            SPN_UNROLL(8)
            for (size_t t = 0; t < tokens; t++) x[t] = hw_load(tile->x + t * tile->ldx + i);
            SPN_UNROLL(8)
            for (size_t r = 0; r < rows; r++) {
                hw w = weight_hw(type, at + r * tile->rows.row_bytes);
                SPN_UNROLL(8)
                for (size_t t = 0; t < tokens; t++) sum[r][t] = hw_fma(w, x[t], sum[r][t]);
            }
        }
    }
    SPN_UNROLL(8)
    for (size_t r = 0; r < rows; r++) {
        SPN_UNROLL(8)
        for (size_t t = 0; t < tokens; t++) hw_store(sums + (r * FMAT_TOKENS + t) * 16, sum[r][t]);
    }
}

/* From `begin` to `end` of k, whole steps. */
static ALWAYS_INLINE void tile_part(spn_type type, const fmat_tile *tile, size_t rows,
                                    size_t tokens, bool asks, size_t begin, size_t end,
                                    float *sums) {
    const size_t chunk = FMAT_TOGETHER ? end - begin : FMAT_CHUNK;
    for (size_t i = begin; i < end; i += chunk)
        for (size_t lane = 0; lane < 16; lane += HW_LANES)
            tile_lanes(type, tile, rows, tokens, asks && lane == 0, i + lane,
                       end - i < chunk ? end : i + chunk, sums + lane);
}

/* With the number of tokens as a constant. */
static ALWAYS_INLINE void tile_by_tokens(spn_type type, const fmat_tile *tile, size_t rows,
                                         size_t tokens, bool asks, size_t begin, size_t end,
                                         float *sums) {
    switch (tokens) {
    case 1:
        tile_part(type, tile, rows, 1, asks, begin, end, sums);
        break;
    case 2:
        tile_part(type, tile, rows, 2, asks, begin, end, sums);
        break;
    case 3:
        tile_part(type, tile, rows, 3, asks, begin, end, sums);
        break;
#if FMAT_TOKENS > 3
    case 4:
        tile_part(type, tile, rows, 4, asks, begin, end, sums);
        break;
    case 5:
        tile_part(type, tile, rows, 5, asks, begin, end, sums);
        break;
    case 6:
        tile_part(type, tile, rows, 6, asks, begin, end, sums);
        break;
#endif
    default:
        break;
    }
}

/* One noinline body for each type and kind of tile. */
#define BODY_OF(name, type, rows, asks)                                                    \
    static __attribute__((noinline)) void name(const fmat_tile *t, size_t n, size_t begin, \
                                               size_t end, float *sums) {                  \
        tile_by_tokens(type, t, rows, n, asks, begin, end, sums);                          \
    }
#define TILE_OF(name, type)                                                               \
    BODY_OF(name##_rows, type, FMAT_ROWS, false)                                          \
    BODY_OF(name##_last, type, FMAT_ROWS, true)                                           \
    BODY_OF(name##_stream, type, FMAT_STREAM_ROWS, true)                                  \
    BODY_OF(name##_row, type, 1, false)                                                   \
    static void name(const fmat_tile *t, size_t rows, size_t n, size_t begin, size_t end, \
                     float *sums) {                                                       \
        if (rows == 1)                                                                    \
            name##_row(t, n, begin, end, sums);                                           \
        else if (rows < FMAT_ROWS)                                                        \
            name##_stream(t, n, begin, end, sums);                                        \
        else                                                                              \
            (t->asks ? name##_last : name##_rows)(t, n, begin, end, sums);                \
    }
TILE_OF(tile_f32, SPN_TYPE_F32)
TILE_OF(tile_f16, SPN_TYPE_F16)
TILE_OF(tile_bf16, SPN_TYPE_BF16)

/* A tile of FMAT_ROWS or FMAT_STREAM_ROWS rows, or of one. */
static void tile_any(spn_type type, const fmat_tile *tile, size_t rows, size_t tokens, size_t begin,
                     size_t end, float *sums) {
    if (type == SPN_TYPE_F16)
        tile_f16(tile, rows, tokens, begin, end, sums);
    else if (type == SPN_TYPE_BF16)
        tile_bf16(tile, rows, tokens, begin, end, sums);
    else
        tile_f32(tile, rows, tokens, begin, end, sums);
}

/* The fold of a tile's sums, after what is left of k. */
static void finish_tile(spn_type type, const fmat_tile *tile, size_t rows, size_t tokens,
                        const float *sums) {
    const size_t tail = tile->k % 16, whole = tile->k - tail;
    const uint8_t *w = tile->rows.w + whole / 16 * tile->rows.step_bytes;
    for (size_t t = 0; t < tokens; t++, sums += 16) {
        const float *x = tile->x + t * tile->ldx + whole;
        float *y = tile->y + t * tile->ldy;
        if (rows == FMAT_ROWS && tail == 0) {
            v_fold_4(y, sums, FMAT_ROW_SUMS);
            continue;
        }
        for (size_t r = 0; r < rows; r++) {
            v16 sum = whole ? v_load(sums + r * FMAT_ROW_SUMS) : v_zero();
            if (tail)
                sum = v_fma_n(weight_n(type, w + r * tile->rows.row_bytes, tail), v_load_n(x, tail),
                              sum, tail);
            y[r] = v_fold(sum);
        }
    }
}

/* Where a group's tiles have walked from `begin` to `end` of k, so much comes next: the same
 * tokens' next chunk, or the `n_after` next tokens' first one. */
static fmat_ask what_comes_next(const fmat_tile *group, size_t tokens, size_t n_after, size_t end,
                                size_t chunk) {
    const size_t whole = group->k / 16 * 16;
    fmat_ask ask = {group->x + end, tokens, group->ldx, whole - end};
    if (end == whole)
        ask = (fmat_ask){group->x + FMAT_TOKENS * group->ldx, n_after, group->ldx, whole};
    ask.n = spn_min_size(ask.n, chunk);
    return ask;
}

/* The share of it for which the tile at `row` of n_rows asks. */
static fmat_ask share_of(fmat_ask all, size_t row, size_t n_rows) {
    const size_t n_tiles = (n_rows + FMAT_ROWS - 1) / FMAT_ROWS;
    const size_t share = (all.n / 16 + n_tiles - 1) / n_tiles * 16, at = row / FMAT_ROWS * share;
    all.x += at;
    all.n = at < all.n ? spn_min_size(all.n - at, share) : 0;
    return all;
}

/* Rows of a panel against `tokens` tokens, at most a tile's; n_after more come next. */
static void group_product(spn_type type, const fmat_tile *group, size_t n_rows, size_t tokens,
                          size_t n_after, spn_ahead *fetch, float *sums) {
    const size_t whole = group->k / 16 * 16;
    const size_t chunk = FMAT_TOGETHER && n_rows > FMAT_ROWS ? FMAT_CHUNK : whole;
    size_t begin = 0, end;
    do {
        end = whole - begin < chunk ? whole : begin + chunk;
        const fmat_ask ask = what_comes_next(group, tokens, n_after, end, chunk);
        fmat_tile tile = *group;
        tile.ask_at = begin;
        for (size_t r = 0, n; r < n_rows; r += n) {
            float *sum = chunk < whole ? sums + r * FMAT_ROW_SUMS : sums;
            n = n_rows - r < tile.n_rows ? 1 : tile.n_rows;
            tile.rows.w = row_at(&group->rows, r);
            tile.y = group->y + r;
            if (n_rows > FMAT_ROWS) tile.ask = share_of(ask, r, n_rows);
            spn_fetch_step(fetch);
            tile_any(type, &tile, n, tokens, begin, end, sum);
            if (end == whole) finish_tile(type, &tile, n, tokens, sum);
        }
        begin = end;
    } while (end < whole);
}

/* All tokens against a panel's rows, a group of tokens at a time. */
static void panel_product(spn_type type, const spn_matmul_args *args, const fmat_rows *rows,
                          bool in_place, size_t row, size_t n_rows, float *sums) {
    const size_t n_tiles = (n_rows + FMAT_ROWS - 1) / FMAT_ROWS;
    const size_t n_groups = (args->n_tokens + FMAT_TOKENS - 1) / FMAT_TOKENS;
    spn_ahead fetch = spn_ahead_of(args->w + (row + n_rows) * args->row_bytes,
                                   in_place ? 0 : n_rows * args->row_bytes, n_tiles * n_groups);
    for (size_t t = 0; t < args->n_tokens; t += FMAT_TOKENS) {
        size_t left = args->n_tokens - t;
        fmat_tile group = {.rows = *rows,
                           .x = args->act.x + t * args->act.ldx,
                           .ldx = args->act.ldx,
                           .k = args->k,
                           .y = args->y + t * args->ldy + row,
                           .ldy = args->ldy,
                           .n_rows =
                               args->n_tokens <= FMAT_STREAM_TOKENS ? FMAT_STREAM_ROWS : FMAT_ROWS,
                           .asks = in_place && left <= FMAT_TOKENS};
        const size_t n = spn_min_size(left, FMAT_TOKENS);
        group_product(type, &group, n_rows, n, spn_min_size(left - n, FMAT_TOKENS), &fetch, sums);
    }
}

/* A row of k elements to its place in a panel. */
static void put_row(uint8_t *to, const uint8_t *w, size_t k, size_t bytes) {
    for (size_t i = 0; i < k / 16; i++, to += FMAT_ROWS * 16 * bytes, w += 16 * bytes) {
        memcpy(to, w, 32);
        if (bytes == 4) memcpy(to + 32, w + 32, 32);
    }
    memcpy(to, w, k % 16 * bytes);
}

static fmat_rows fill_panel(uint8_t *to, const spn_matmul_args *args, size_t row, size_t n_rows,
                            size_t bytes) {
    const fmat_rows rows = {to, 16 * bytes, FMAT_ROWS * spn_fmat_padded(args->k) * bytes,
                            FMAT_ROWS * 16 * bytes};
    for (size_t r = 0; r < n_rows; r++)
        put_row(to + row_offset(&rows, r), args->w + (row + r) * args->row_bytes, args->k, bytes);
    return rows;
}

/* How many of n_rows are multiplied together: whole tiles, in panels of about the same size. */
static size_t rows_at_once(const spn_matmul_args *args, size_t n_rows, bool few, size_t bytes) {
    const size_t fit = SPN_FMAT_PANEL_BYTES / (spn_fmat_padded(args->k) * bytes + 1);
    if (few || fit < FMAT_ROWS) return FMAT_ROWS;
    const size_t most = spn_min_size(fit / FMAT_ROWS * FMAT_ROWS, FMAT_PANEL_ROWS);
    const size_t n_panels = spn_max_size((n_rows + most - 1) / most, 1);
    return (n_rows + FMAT_ROWS * n_panels - 1) / (FMAT_ROWS * n_panels) * FMAT_ROWS;
}

static void matmul(spn_type type, const spn_matmul_args *args, size_t begin, size_t end) {
    const size_t bytes = element_bytes(type);
    const bool few = args->n_tokens * bytes <= FMAT_FEW;
    const size_t n = rows_at_once(args, end - begin, few, bytes);
    float *sums = args->scratch;
    uint8_t *panel = (uint8_t *)args->scratch + SPN_FMAT_SUMS_BYTES;
    for (size_t row = begin; row < end; row += n) {
        size_t n_rows = spn_min_size(end - row, n);
        fmat_rows rows = {args->w + row * args->row_bytes, args->row_bytes,
                          FMAT_ROWS * args->row_bytes, 16 * bytes};
        if (!few) rows = fill_panel(panel, args, row, n_rows, bytes);
        panel_product(type, args, &rows, few, row, n_rows, sums);
    }
}

static void LANES_NAME(matmul_f32)(const spn_matmul_args *args, size_t begin, size_t end) {
    matmul(SPN_TYPE_F32, args, begin, end);
}

static void LANES_NAME(matmul_f16)(const spn_matmul_args *args, size_t begin, size_t end) {
    matmul(SPN_TYPE_F16, args, begin, end);
}

static void LANES_NAME(matmul_bf16)(const spn_matmul_args *args, size_t begin, size_t end) {
    matmul(SPN_TYPE_BF16, args, begin, end);
}

void LANES_NAME(spn_fmat_init)(spn_kernels *table) {
    table->matmul[SPN_TYPE_F32] = LANES_NAME(matmul_f32);
    table->matmul[SPN_TYPE_F16] = LANES_NAME(matmul_f16);
    table->matmul[SPN_TYPE_BF16] = LANES_NAME(matmul_bf16);
}
