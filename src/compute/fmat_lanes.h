/* fmat_lanes.h - products with F32, F16 and BF16 weights over 16 lanes (contract (4)); each level's
 * fmat_*.c includes it once.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A tile is FMAT_ROWS rows by FMAT_TOKENS tokens; each of its sums is a register of lanes that
 * walks along k. With 4 x 6 a step loads 4 weights and 6 activations for 24 fused multiply-adds, so
 * the multipliers are the bound (a load or two and one or two 512-bit fma go in a cycle). A level
 * whose register holds only some of the 16 lanes walks k once for each share of the lanes (they
 * never meet before the fold), in chunks that the first cache keeps for the next share. With BF16 a
 * lane has two elements of weights and activations: vdpbf16ps multiplies and adds both, as often in
 * a cycle as fma does one; other levels take them apart and do the two halves of a step in turn.
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
 * are: two bytes are read for an element of F16, and converting it for six tokens costs less than
 * reading four. A group of tokens walks k in chunks that the first cache keeps (1024 lanes of six
 * tokens: 24 KiB) while all of the panel's rows pass by; the sums, another 24 KiB, wait in the
 * scratch. So a step takes its 4 weights from the second cache and its activations from the first:
 * 128 or 256 bytes for 24 fma. With a whole k for each tile both came from the second, and that was
 * the bound: 0.6 of the multipliers. The next chunk or group of activations comes from the third
 * cache, so each of the group's tiles asks for its share of them, a line of each token every 128
 * lanes (all at once 0.96 of that speed, not at all 0.83 to 0.93), and for its share of the next
 * panel's rows, which come from memory.
 */
#include "compute/kernels.h"

/* Rows that are read where they are: a tile's last tokens ask for the next tile's (spn_fetch_once),
 * at least so many bytes ahead. */
#define FMAT_FETCH_AHEAD ((size_t)8192)
/* With up to so many tokens the weights' memory is the bound. */
#define FMAT_STREAM_TOKENS 4

/* Up to so many tokens, times the bytes of a lane, copying rows costs more than it gains: measured.
 */
#define FMAT_FEW ((size_t)(HW_LANES == 16 ? 72 : 192))

/* Lanes of a row that a group's tiles take one after the other. A level with shares of the lanes
 * loads less a fma and gained nothing from that; there it is what a tile's shares take in turn. */
#define FMAT_CHUNK ((size_t)(HW_LANES == 16 ? 1024 : 512))
#define FMAT_TOGETHER (HW_LANES == 16)
/* Lanes for which a tile asks for a line of each token that comes next. */
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
    size_t step_bytes; /* from 16 lanes to the next 16 */
} fmat_rows;

static ALWAYS_INLINE size_t row_offset(const fmat_rows *rows, size_t r) {
    return r / FMAT_ROWS * rows->tile_bytes + r % FMAT_ROWS * rows->row_bytes;
}

static ALWAYS_INLINE const uint8_t *row_at(const fmat_rows *rows, size_t r) {
    return rows->w + row_offset(rows, r);
}

/* Activations: floats or pairs of bfloat16, four bytes for each lane that they meet. */
typedef struct fmat_acts {
    const uint8_t *x;
    size_t row_bytes; /* from a token to the next */
} fmat_acts;

/* What a tile asks for of the activations that come next: n lanes of each token. */
typedef struct fmat_ask {
    fmat_acts acts;
    size_t n_tokens, n;
} fmat_ask;

typedef struct fmat_tile {
    fmat_rows rows;
    fmat_acts acts; /* from its first token on */
    size_t k;       /* elements of a row */
    float *y;
    size_t ldy;
    size_t n_rows; /* FMAT_ROWS, or FMAT_STREAM_ROWS */
    bool in_place; /* rows as they are in the file */
    bool asks;     /* for the next tile's rows: the last tokens that meet these where they are */
    fmat_ask ask;  /* while its steps from ask_at on pass by */
    size_t ask_at;
} fmat_tile;

/* Line `at` of each token, if there is one. */
SPN_PREFETCHES void ask_for_line(const fmat_ask *ask, size_t at) {
    if (at * 16 >= ask->n) return;
    for (size_t t = 0; t < ask->n_tokens; t++)
        __builtin_prefetch(ask->acts.x + t * ask->acts.row_bytes + at * 64, 0, 3);
}

static ALWAYS_INLINE size_t element_bytes(spn_type type) { return type == SPN_TYPE_F32 ? 4 : 2; }
/* Elements of k that meet in a lane of a step, and their bytes. */
static ALWAYS_INLINE size_t lane_elements(spn_type type) { return type == SPN_TYPE_BF16 ? 2 : 1; }
static ALWAYS_INLINE size_t lane_bytes(spn_type type) {
    return lane_elements(type) * element_bytes(type);
}
/* Lanes of a row's whole steps. */
static ALWAYS_INLINE size_t whole_lanes(spn_type type, size_t k) {
    return k / (16 * lane_elements(type)) * 16;
}

/* Pairs are multiplied one after the other where the level has no instruction for them. */
static ALWAYS_INLINE size_t n_parts(spn_type type) {
    return type == SPN_TYPE_BF16 && !HW_HAS_PAIRS ? 2 : 1;
}

static ALWAYS_INLINE hw load_pairs(const uint8_t *at, size_t part) {
    hw pairs = hw_load((const float *)(const void *)at);
    if (HW_HAS_PAIRS) return pairs;
    return part == 0 ? hw_second(pairs) : hw_first(pairs);
}

static ALWAYS_INLINE hw weight_hw(spn_type type, const uint8_t *w, size_t part) {
    if (type == SPN_TYPE_F16) return hw_load_f16(w);
    if (type == SPN_TYPE_BF16) return load_pairs(w, part);
    return hw_load((const float *)(const void *)w);
}

static ALWAYS_INLINE hw act_hw(spn_type type, const uint8_t *x, size_t part) {
    return type == SPN_TYPE_BF16 ? load_pairs(x, part) : hw_load((const float *)(const void *)x);
}

static ALWAYS_INLINE hw multiply_add(spn_type type, hw w, hw x, hw sum) {
#if HW_HAS_PAIRS
    if (type == SPN_TYPE_BF16) return hw_add_pairs(w, x, sum);
#endif
    (void)type;
    return hw_fma(w, x, sum);
}

/* One share of the lanes, of those from `begin` to `end` of a row's, whole steps: added to
 * sums[r][t][16], which the first steps begin. `type`, `rows`, `tokens` and `asks` are constants
 * where this is inlined. */
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
    const uint8_t *const first_x = tile->acts.x;
    const size_t w_bytes = tile->rows.row_bytes, x_bytes = tile->acts.row_bytes;
    const size_t w_step = tile->rows.step_bytes;
    const size_t whole = rows * w_bytes, step = rows * 16 * lane_bytes(type);
    const uint8_t *next =
        tile->rows.w + (whole > FMAT_FETCH_AHEAD ? whole : FMAT_FETCH_AHEAD) + begin / 16 * step;
    const uint8_t *at =
        tile->rows.w + begin / 16 * tile->rows.step_bytes + begin % 16 * lane_bytes(type);
    for (size_t i = begin, stop; i < end;) {
        stop = asks || end - i < FMAT_ASK_EVERY ? end : i + FMAT_ASK_EVERY;
        if (!asks && begin % 16 == 0) ask_for_line(&tile->ask, (i - tile->ask_at) / FMAT_ASK_EVERY);
        for (; i < stop; i += 16, next += step, at += w_step) {
            SPN_UNROLL(2)
            for (size_t part = 0; part < n_parts(type); part++) {
                hw x[FMAT_TOKENS];
                if (part > 0 && rows * tokens > 8) spn_keep_loads_first(); /* or sums would spill */
                SPN_UNROLL(8)
                for (size_t t = 0; t < tokens; t++)
                    x[t] = act_hw(type, first_x + t * x_bytes + 4 * i, part);
                SPN_UNROLL(8)
                for (size_t r = 0; r < rows; r++) {
                    hw w = weight_hw(type, at + r * w_bytes, part);
                    SPN_UNROLL(8)
                    for (size_t t = 0; t < tokens; t++)
                        sum[r][t] = multiply_add(type, w, x[t], sum[r][t]);
                }
            }
            if (asks) {
                spn_keep_loads_first();
                spn_fetch_once(next, step, near);
            }
        }
    }
    SPN_UNROLL(8)
    for (size_t r = 0; r < rows; r++) {
        SPN_UNROLL(8)
        for (size_t t = 0; t < tokens; t++) hw_store(sums + (r * FMAT_TOKENS + t) * 16, sum[r][t]);
    }
}

/* From lane `begin` to `end` of the rows', whole steps. */
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

/* What is left of k, n elements, added to a row's 16 lanes; pairs are filled up with zeros. */
static void add_tail(spn_type type, float lanes[16], const uint8_t *w, const uint8_t *x, size_t n) {
    _Alignas(64) uint8_t both[2][64] = {{0}};
    memcpy(both[0], w, n * element_bytes(type));
    memcpy(both[1], x, n * (type == SPN_TYPE_BF16 ? 2 : 4));
    for (size_t lane = 0; lane < 16; lane += HW_LANES) {
        hw sum = hw_load(lanes + lane);
        for (size_t part = 0; part < n_parts(type); part++)
            sum = multiply_add(type, weight_hw(type, both[0] + lane * lane_bytes(type), part),
                               act_hw(type, both[1] + lane * 4, part), sum);
        hw_store(lanes + lane, sum);
    }
}

/* The folds of the sums of `rows` rows from row r of a group on, after what is left of k. */
static void finish_rows(spn_type type, const fmat_tile *group, size_t r, size_t rows, size_t tokens,
                        float *sums) {
    const size_t whole = whole_lanes(type, group->k);
    const size_t tail = group->k - whole * lane_elements(type);
    const uint8_t *w = row_at(&group->rows, r) + whole / 16 * group->rows.step_bytes;
    for (size_t t = 0; t < tokens; t++, sums += 16) {
        const uint8_t *x = group->acts.x + t * group->acts.row_bytes + 4 * whole;
        float *y = group->y + t * group->ldy + r;
        for (size_t i = 0; tail > 0 && i < rows; i++) {
            float *lanes = sums + i * FMAT_ROW_SUMS;
            if (whole == 0) memset(lanes, 0, 16 * sizeof *lanes);
            add_tail(type, lanes, w + i * group->rows.row_bytes, x, tail);
        }
        if (rows == FMAT_ROWS)
            v_fold_4(y, sums, FMAT_ROW_SUMS);
        else
            for (size_t i = 0; i < rows; i++) y[i] = v_fold(v_load(sums + i * FMAT_ROW_SUMS));
    }
}

/* When a group's tiles have walked up to lane `end`, so much comes next: the same tokens' next
 * chunk, or the first one of the n_after tokens behind them. Each tile asks for a share of it; the
 * first one's is given, the others' lie behind it. */
static fmat_ask first_share(const fmat_tile *group, size_t tokens, size_t n_after, size_t end,
                            size_t whole, size_t chunk, size_t n_tiles) {
    const bool again = end < whole;
    fmat_ask ask = {group->acts, again ? tokens : n_after, again ? whole - end : whole};
    ask.acts.x += again ? 4 * end : tokens * ask.acts.row_bytes;
    ask.n = (spn_min_size(ask.n, chunk) / 16 + n_tiles - 1) / n_tiles * 16;
    return ask;
}

/* Rows of a panel against `tokens` tokens, at most a tile's; n_after more come next. */
static void group_product(spn_type type, const fmat_tile *group, size_t n_rows, size_t tokens,
                          size_t n_after, spn_ahead *fetch, float *sums) {
    const size_t whole = whole_lanes(type, group->k);
    const bool shares = !group->in_place && n_rows > FMAT_ROWS;
    const size_t chunk = FMAT_TOGETHER && shares ? FMAT_CHUNK : whole;
    size_t begin = 0, end;
    do {
        end = whole - begin < chunk ? whole : begin + chunk;
        fmat_tile tile = *group;
        tile.ask_at = begin;
        if (shares)
            tile.ask = first_share(group, tokens, n_after, end, whole, chunk, n_rows / FMAT_ROWS);
        for (size_t r = 0, n; r < n_rows; r += n) {
            const size_t in_four = r % FMAT_ROWS;
            float *four = chunk < whole ? sums + (r - in_four) * FMAT_ROW_SUMS : sums;
            n = n_rows - r < tile.n_rows ? 1 : tile.n_rows;
            tile.rows.w = row_at(&group->rows, r);
            spn_fetch_step(fetch);
            tile_any(type, &tile, n, tokens, begin, end, four + in_four * FMAT_ROW_SUMS);
            tile.ask.acts.x += 4 * tile.ask.n;
            if (end == whole && (in_four + n == FMAT_ROWS || r + n == n_rows))
                finish_rows(type, group, r - in_four, in_four + n, tokens, four);
        }
        begin = end;
    } while (end < whole);
}

static fmat_acts acts_from(spn_type type, const spn_matmul_args *args, size_t token) {
    if (type == SPN_TYPE_BF16)
        return (fmat_acts){(const uint8_t *)(args->act.bf16 + token * args->k), 2 * args->k};
    return (fmat_acts){(const uint8_t *)(args->act.x + token * args->act.ldx), 4 * args->act.ldx};
}

/* All tokens against a panel's rows, a group of tokens at a time. */
static void panel_product(spn_type type, const spn_matmul_args *args, const fmat_rows *rows,
                          bool in_place, size_t row, size_t n_rows, float *sums) {
    const size_t n_tiles = (n_rows + FMAT_ROWS - 1) / FMAT_ROWS;
    const size_t n_groups = (args->n_tokens + FMAT_TOKENS - 1) / FMAT_TOKENS;
    spn_ahead fetch =
        spn_ahead_of_rows(args, row + n_rows, in_place ? 0 : n_rows, n_tiles * n_groups);
    for (size_t t = 0; t < args->n_tokens; t += FMAT_TOKENS) {
        size_t left = args->n_tokens - t;
        fmat_tile group = {.rows = *rows,
                           .acts = acts_from(type, args, t),
                           .k = args->k,
                           .y = args->y + t * args->ldy + row,
                           .ldy = args->ldy,
                           .n_rows =
                               args->n_tokens <= FMAT_STREAM_TOKENS ? FMAT_STREAM_ROWS : FMAT_ROWS,
                           .in_place = in_place,
                           .asks = in_place && left <= FMAT_TOKENS};
        const size_t n = spn_min_size(left, FMAT_TOKENS);
        group_product(type, &group, n_rows, n, spn_min_size(left - n, FMAT_TOKENS), &fetch, sums);
    }
}

/* A row of n_bytes to its place in a panel, in steps of 32 or 64 bytes. */
static void put_row(uint8_t *to, const uint8_t *w, size_t n_bytes, size_t step) {
    for (size_t i = 0; i < n_bytes / step; i++, to += FMAT_ROWS * step, w += step) {
        memcpy(to, w, 32);
        if (step == 64) memcpy(to + 32, w + 32, 32);
    }
    memcpy(to, w, n_bytes % step);
}

/* Bytes that a row of a panel takes. */
static size_t panel_row_bytes(spn_type type, size_t k) {
    const size_t step = 16 * lane_bytes(type);
    return (k * element_bytes(type) + step - 1) / step * step;
}

static fmat_rows fill_panel(spn_type type, uint8_t *to, const spn_matmul_args *args, size_t row,
                            size_t n_rows) {
    const size_t step = 16 * lane_bytes(type);
    const fmat_rows rows = {to, step, FMAT_ROWS * panel_row_bytes(type, args->k), FMAT_ROWS * step};
    for (size_t r = 0; r < n_rows; r++)
        put_row(to + row_offset(&rows, r), args->w + (row + r) * args->row_bytes,
                args->k * element_bytes(type), step);
    return rows;
}

/* How many rows are multiplied together where they are: with a single group of tokens all of them,
 * else a tile's, which then come from memory once. */
static size_t rows_in_place(size_t n_rows, size_t n_tokens) {
    return n_tokens <= FMAT_TOKENS ? n_rows : FMAT_ROWS;
}

/* And how many in a panel: whole tiles, in panels of about the same size. */
static size_t rows_of_panel(spn_type type, size_t k, size_t n_rows) {
    const size_t fit = SPN_FMAT_PANEL_BYTES / (panel_row_bytes(type, k) + 1);
    if (fit < FMAT_ROWS) return FMAT_ROWS;
    const size_t most = spn_min_size(fit / FMAT_ROWS * FMAT_ROWS, FMAT_PANEL_ROWS);
    const size_t n_panels = spn_max_size((n_rows + most - 1) / most, 1);
    return (n_rows + FMAT_ROWS * n_panels - 1) / (FMAT_ROWS * n_panels) * FMAT_ROWS;
}

static __attribute__((noinline)) void matmul(spn_type type, const spn_matmul_args *args,
                                             size_t begin, size_t end) {
    const bool few = args->n_tokens * lane_bytes(type) <= FMAT_FEW;
    const size_t n = few ? rows_in_place(end - begin, args->n_tokens)
                         : rows_of_panel(type, args->k, end - begin);
    float *sums = args->scratch;
    uint8_t *panel = (uint8_t *)args->scratch + SPN_FMAT_SUMS_BYTES;
    for (size_t row = begin; row < end; row += n) {
        size_t n_rows = spn_min_size(end - row, n);
        fmat_rows rows = {args->w + row * args->row_bytes, args->row_bytes,
                          FMAT_ROWS * args->row_bytes, 16 * lane_bytes(type)};
        if (!few) rows = fill_panel(type, panel, args, row, n_rows);
        panel_product(type, args, &rows, few, row, n_rows, sums);
    }
}

/* From here to restore_mode subnormal numbers are taken and given as zeros. What is in between must
 * not be inlined: compilers do not know that it depends on the mode. */
#ifdef __aarch64__
static unsigned flush_subnormals(void) { /* bit 24 of FPCR */
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" ::"r"(mode | 1u << 24) : "memory");
    return (unsigned)mode;
}
static void restore_mode(unsigned mode) {
    __asm__ volatile("msr fpcr, %0" ::"r"((uint64_t)mode) : "memory");
}
#else
static unsigned flush_subnormals(void) { /* results: bit 15 of MXCSR, inputs: bit 6 */
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040);
    return mode;
}
static void restore_mode(unsigned mode) { _mm_setcsr(mode); }
#endif

static void LANES_NAME(matmul_f32)(const spn_matmul_args *args, size_t begin, size_t end) {
    matmul(SPN_TYPE_F32, args, begin, end);
}

static void LANES_NAME(matmul_f16)(const spn_matmul_args *args, size_t begin, size_t end) {
    matmul(SPN_TYPE_F16, args, begin, end);
}

static void LANES_NAME(matmul_bf16)(const spn_matmul_args *args, size_t begin, size_t end) {
    const unsigned mode = flush_subnormals();
    matmul(SPN_TYPE_BF16, args, begin, end);
    restore_mode(mode);
}

void LANES_NAME(spn_fmat_init)(spn_kernels *table) {
    table->matmul[SPN_TYPE_F32] = LANES_NAME(matmul_f32);
    table->matmul[SPN_TYPE_F16] = LANES_NAME(matmul_f16);
    table->matmul[SPN_TYPE_BF16] = LANES_NAME(matmul_bf16);
}
