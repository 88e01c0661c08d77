/* qmat_avx512_b32.c - AVX-512 products: the types with blocks of 32.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A group of four blocks of a row is 68 to 136 bytes. Two or four (unaligned, overlapping) loads
 * cover it, a two-register byte permutation brings the weights' bytes into place, and masked word
 * permutations collect the rows' f16 scales as [chain][row].
 */
#include "compute/qmat_avx512_blocks.h"

/* ---- common ---- */

/* Collects the words `at` (of lanes' first dwords' positions, [chain][row]) of row i's register. */
INLINE __m256i pick_words(__m256i words, int row, __mmask16 chains, __m512i at, __m512i x) {
    __mmask32 mask = (__mmask32)((0x1111u << row) & chains);
    return _mm512_castsi512_si256(
        _mm512_mask_permutexvar_epi16(_mm512_castsi256_si512(words), mask, at, x));
}

/* Word w<c> at position [c][any row]. */
INLINE __m512i word_index(int w0, int w1, int w2, int w3) {
    return _mm512_castsi256_si512(_mm256_setr_epi16(
        (short)w0, (short)w0, (short)w0, (short)w0, (short)w1, (short)w1, (short)w1, (short)w1,
        (short)w2, (short)w2, (short)w2, (short)w2, (short)w3, (short)w3, (short)w3, (short)w3));
}

/* ---- Q8_0 ---- */

/* Blocks 0 and 1 from loads at bytes 0 and 18 of the group, 2 and 3 from those at 68 and 72. */
static const uint8_t q8_0_a[64] ALIGNED = {LANE16(2), LANE16(36), LANE16(66), LANE16(100)};
static const uint8_t q8_0_b[64] ALIGNED = {LANE16(0), LANE16(34), LANE16(78), LANE16(112)};

INLINE void load_q8_0(blocks_group *w, const uint8_t *const p[4]) {
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    const __m512i a_at = _mm512_load_si512(q8_0_a), b_at = _mm512_load_si512(q8_0_b);
    const __m512i d_at = word_index(0, 17, 0, 17);
    __m256i d0 = _mm256_setzero_si256(), d1 = d0;
    for (int i = 0; i < 4; i++) {
        __m512i x = load_once(p[i]), y = load_once(p[i] + 68);
        w->a[i] = _mm512_xor_si512(_mm512_permutex2var_epi8(x, a_at, y), sign);
        d0 = pick_words(d0, i, 0x00ff, d_at, x);
        d1 = pick_words(d1, i, 0xff00, d_at, y);
        x = _mm512_loadu_si512(p[i] + 18);
        y = _mm512_loadu_si512(p[i] + 72);
        w->b[i] = _mm512_xor_si512(_mm512_permutex2var_epi8(x, b_at, y), sign);
    }
    w->d = _mm512_cvtph_ps(_mm256_or_si256(d0, d1));
}

INLINE void fill_q8_0(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    __m512i q[8];
    put_f16(to->d, rows, at);
    load_8_dwords(q, rows, at + 2);
    for (size_t j = 0; j < 8; j++)
        put_step(to, j, _mm512_xor_si512(q[j], _mm512_set1_epi8((char)0x80)));
}
BLOCKS_TYPE(q8_0, 34, false, 128, 10)

/* ---- nibbles: | ... | qs 16 |, the low nibble of qs[i] being element i, the high one i + 16 ----
 */

/* Groups of blocks of `bytes` bytes are covered by loads x at byte 0 and y at 4 * bytes - 64. Where
 * byte `at` of block c begins in the 128 bytes of both: */
#define IN_XY(at, bytes, c) ((c) < 2 ? (at) + (c) * (bytes) : 128 + (at) - (4 - (c)) * (bytes))
#define LANES_XY(at, bytes)                                                                \
    LANE16(IN_XY(at, bytes, 0)), LANE16(IN_XY(at, bytes, 1)), LANE16(IN_XY(at, bytes, 2)), \
        LANE16(IN_XY(at, bytes, 3))

/* The raw bytes of a row's group. */
typedef struct row_bytes {
    __m512i x, y;
} row_bytes;

INLINE row_bytes load_xy(const uint8_t *p, int bytes) {
    return (row_bytes){load_once(p), load_once(p + 4 * bytes - 64)};
}

/* Adds row i's f16 numbers at byte `at` of its blocks to halves[0] (blocks 0 and 1) and [1]. */
INLINE void pick_f16(__m256i halves[2], row_bytes raw, int row, int at, int bytes) {
    const __m512i index = word_index(IN_XY(at, bytes, 0) / 2, IN_XY(at, bytes, 1) / 2,
                                     IN_XY(at, bytes, 2) / 2 % 32, IN_XY(at, bytes, 3) / 2 % 32);
    halves[0] = pick_words(halves[0], row, 0x00ff, index, raw.x);
    halves[1] = pick_words(halves[1], row, 0xff00, index, raw.y);
}

INLINE __m512 widen_f16(const __m256i halves[2]) {
    return _mm512_cvtph_ps(_mm256_or_si256(halves[0], halves[1]));
}

/* Nibbles of a group in order a and b. */
INLINE void split_nibbles(blocks_group *w, int row, row_bytes raw, const uint8_t *index) {
    const __m512i low = _mm512_set1_epi8(15);
    __m512i qs = _mm512_permutex2var_epi8(raw.x, _mm512_load_si512(index), raw.y);
    w->a[row] = _mm512_and_si512(qs, low);
    w->b[row] = _mm512_and_si512(_mm512_srli_epi16(qs, 4), low);
}

/* ---- Q4_0, Q4_1 ---- */

/* 16 more where bits 4 step and up of the dwords have ones. */
INLINE __m512i add_fifth_of(__m512i q, __m512i bits, size_t step) {
    const char at = (char)(step / 2);
    const __m512i bytes = _mm512_add_epi8(
        _mm512_set1_epi8(at),
        _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c)));
    const __m512i which = _mm512_set1_epi32(step % 2 ? (int)0x80402010 : 0x08040201);
    __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(bits, bytes), which);
    return _mm512_mask_add_epi8(q, set, q, _mm512_set1_epi8(16));
}

/* Puts the nibbles of 16 bytes, first the low ones; `fifth`: dwords whose bit i belongs to element
 * i, or NULL; `table`: of values that they stand for, or NULL. */
INLINE void put_nibbles(const blocks_place *to, const __m512i qs[4], const __m512i *fifth,
                        const __m512i *table) {
    const __m512i low = _mm512_set1_epi8(15);
    for (size_t j = 0; j < 8; j++) {
        __m512i q = _mm512_and_si512(j < 4 ? qs[j] : _mm512_srli_epi16(qs[j - 4], 4), low);
        if (fifth != NULL) q = add_fifth_of(q, *fifth, j);
        if (table != NULL) q = _mm512_shuffle_epi8(*table, q);
        put_step(to, j, q);
    }
}

static const uint8_t q4_0_qs[64] ALIGNED = {LANES_XY(2, 18)};

INLINE void load_q4_0(blocks_group *w, const uint8_t *const p[4]) {
    __m256i d[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int i = 0; i < 4; i++) {
        row_bytes raw = load_xy(p[i], 18);
        split_nibbles(w, i, raw, q4_0_qs);
        pick_f16(d, raw, i, 0, 18);
    }
    w->d = widen_f16(d);
}

/* | d | qs |, the nibbles standing for themselves or for values of a table. */
INLINE void fill_nibbles(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at,
                         const __m512i *table) {
    __m512i qs[4];
    put_f16(to->d, rows, at);
    load_4_dwords(qs, rows, at + 2);
    put_nibbles(to, qs, NULL, table);
}

/* | d | m | qs |, or with a fifth bit | d | m | qh | qs |. */
INLINE void fill_with_min(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at,
                          const bool has_fifth) {
    __m512i head[4], qs[4];
    load_4_dwords(head, rows, at);
    load_4_dwords(qs, rows, at + (has_fifth ? 8 : 4));
    _mm512_store_ps(to->d, low_f16(head[0]));
    _mm512_store_ps(to->n, high_f16(head[0]));
    put_nibbles(to, qs, has_fifth ? &head[1] : NULL, NULL);
}

INLINE void fill_q4_0(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    fill_nibbles(to, rows, at, NULL);
}
BLOCKS_TYPE(q4_0, 18, false, 8, 8)

static const uint8_t q4_1_qs[64] ALIGNED = {LANES_XY(4, 20)};

INLINE void load_q4_1(blocks_group *w, const uint8_t *const p[4]) {
    __m256i d[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, m[2] = {d[0], d[0]};
    for (int i = 0; i < 4; i++) {
        row_bytes raw = load_xy(p[i], 20);
        split_nibbles(w, i, raw, q4_1_qs);
        pick_f16(d, raw, i, 0, 20);
        pick_f16(m, raw, i, 2, 20);
    }
    w->d = widen_f16(d);
    w->n = widen_f16(m);
}

INLINE void fill_q4_1(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    fill_with_min(to, rows, at, false);
}
BLOCKS_TYPE(q4_1, 20, true, 0, 8)

/* ---- Q5_0, Q5_1: a fifth bit from | qh 4 |, bit i for element i ---- */

/* Byte `at` of each block's qh, or the one two further on, eight times each. */
#define LANE8X2(i)                                                                                \
    (i), (i), (i), (i), (i), (i), (i), (i), (i) + 1, (i) + 1, (i) + 1, (i) + 1, (i) + 1, (i) + 1, \
        (i) + 1, (i) + 1
#define BITS_XY(at, bytes)                                                                    \
    LANE8X2(IN_XY(at, bytes, 0)), LANE8X2(IN_XY(at, bytes, 1)), LANE8X2(IN_XY(at, bytes, 2)), \
        LANE8X2(IN_XY(at, bytes, 3))

INLINE __m512i add_fifth(__m512i q, row_bytes raw, const uint8_t *index) {
    __m512i bits = _mm512_permutex2var_epi8(raw.x, _mm512_load_si512(index), raw.y);
    __mmask64 set = _mm512_test_epi8_mask(bits, _mm512_set1_epi64((long long)0x8040201008040201));
    return _mm512_mask_add_epi8(q, set, q, _mm512_set1_epi8(16));
}

static const uint8_t q5_0_qs[64] ALIGNED = {LANES_XY(6, 22)};
static const uint8_t q5_0_low[64] ALIGNED = {BITS_XY(2, 22)};
static const uint8_t q5_0_high[64] ALIGNED = {BITS_XY(4, 22)};

INLINE void load_q5_0(blocks_group *w, const uint8_t *const p[4]) {
    __m256i d[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int i = 0; i < 4; i++) {
        row_bytes raw = load_xy(p[i], 22);
        split_nibbles(w, i, raw, q5_0_qs);
        w->a[i] = add_fifth(w->a[i], raw, q5_0_low);
        w->b[i] = add_fifth(w->b[i], raw, q5_0_high);
        pick_f16(d, raw, i, 0, 22);
    }
    w->d = widen_f16(d);
}

INLINE void fill_q5_0(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    __m512i head[4], qs[4];
    load_4_dwords(head, rows, at);
    load_4_dwords(qs, rows, at + 6);
    _mm512_store_ps(to->d, low_f16(head[0]));
    const __m512i fifth =
        _mm512_or_si512(_mm512_srli_epi32(head[0], 16), _mm512_slli_epi32(head[1], 16));
    put_nibbles(to, qs, &fifth, NULL);
}
BLOCKS_TYPE(q5_0, 22, false, 16, 8)

static const uint8_t q5_1_qs[64] ALIGNED = {LANES_XY(8, 24)};
static const uint8_t q5_1_low[64] ALIGNED = {BITS_XY(4, 24)};
static const uint8_t q5_1_high[64] ALIGNED = {BITS_XY(6, 24)};

INLINE void load_q5_1(blocks_group *w, const uint8_t *const p[4]) {
    __m256i d[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, m[2] = {d[0], d[0]};
    for (int i = 0; i < 4; i++) {
        row_bytes raw = load_xy(p[i], 24);
        split_nibbles(w, i, raw, q5_1_qs);
        w->a[i] = add_fifth(w->a[i], raw, q5_1_low);
        w->b[i] = add_fifth(w->b[i], raw, q5_1_high);
        pick_f16(d, raw, i, 0, 24);
        pick_f16(m, raw, i, 2, 24);
    }
    w->d = widen_f16(d);
    w->n = widen_f16(m);
}

INLINE void fill_q5_1(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    fill_with_min(to, rows, at, true);
}
BLOCKS_TYPE(q5_1, 24, true, 0, 8)

/* ---- IQ4_NL, MXFP4: nibbles that stand for values of a table ---- */

/* q in both registers becomes the table's value for it. */
INLINE void look_up(blocks_group *w, int row, __m512i table) {
    w->a[row] = _mm512_shuffle_epi8(table, w->a[row]);
    w->b[row] = _mm512_shuffle_epi8(table, w->b[row]);
}

INLINE void load_iq4_nl(blocks_group *w, const uint8_t *const p[4]) {
    load_q4_0(w, p);
    for (int i = 0; i < 4; i++) look_up(w, i, value_table(spn_iq4_values));
}

INLINE void fill_iq4_nl(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    const __m512i table = value_table(spn_iq4_values);
    fill_nibbles(to, rows, at, &table);
}
BLOCKS_TYPE(iq4_nl, 18, false, 128, 8)

static const uint8_t mxfp4_qs[64] ALIGNED = {LANES_XY(1, 17)};

/* 2^(e - 128): a normal number's exponent is e - 1, below are subnormal ones. */
INLINE __m512 power_of_2(__m512i e) {
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    __mmask16 tiny = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(
        _mm512_mask_sllv_epi32(normal, tiny, _mm512_set1_epi32(0x200000), e));
}

INLINE void load_mxfp4(blocks_group *w, const uint8_t *const p[4]) {
    uint8_t e[16];
    for (int i = 0; i < 4; i++) {
        split_nibbles(w, i, load_xy(p[i], 17), mxfp4_qs);
        look_up(w, i, value_table(spn_mxfp4_values));
        for (int c = 0; c < 4; c++) e[4 * c + i] = p[i][17 * c];
    }
    w->d = power_of_2(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)e)));
}

INLINE void fill_mxfp4(const blocks_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    __m512i head[4], qs[4];
    load_4_dwords(head, rows, at);
    load_4_dwords(qs, rows, at + 1);
    _mm512_store_ps(to->d, power_of_2(_mm512_and_si512(head[0], _mm512_set1_epi32(255))));
    const __m512i table = value_table(spn_mxfp4_values);
    put_nibbles(to, qs, NULL, &table);
}
BLOCKS_TYPE(mxfp4, 17, false, 128, 8)

void spn_qmat_init_avx512_b32(spn_kernels *table) {
    table->matmul[SPN_TYPE_Q4_0] = matmul_q4_0;
    table->matmul[SPN_TYPE_Q4_1] = matmul_q4_1;
    table->matmul[SPN_TYPE_Q5_0] = matmul_q5_0;
    table->matmul[SPN_TYPE_Q5_1] = matmul_q5_1;
    table->matmul[SPN_TYPE_Q8_0] = matmul_q8_0;
    table->matmul[SPN_TYPE_IQ4_NL] = matmul_iq4_nl;
    table->matmul[SPN_TYPE_MXFP4] = matmul_mxfp4;
}
