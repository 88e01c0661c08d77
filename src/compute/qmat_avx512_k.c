/* qmat_avx512_k.c - AVX-512 products: the K types, super-blocks of 256.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A super-block is two groups of four blocks of 32. Its integer scales are decoded for four rows at
 * once, a row a lane, and permuted into [chain][row].
 */
#include "compute/qmat_avx512_groups.h"

/* ---- common ---- */

/* Two f16 numbers of four rows, the second in the high halves, as [any chain][row]. */
INLINE void widen_d_pairs(__m128i words, __m512 *first, __m512 *second) {
    __m128i halves =
        _mm_packus_epi32(_mm_and_si128(words, _mm_set1_epi32(0xffff)), _mm_srli_epi32(words, 16));
    __m256 f = _mm256_cvtph_ps(halves);
    *first = _mm512_broadcast_f32x4(_mm256_castps256_ps128(f));
    *second = _mm512_broadcast_f32x4(_mm256_extractf128_ps(f, 1));
}

INLINE __m512 negate(__m512 x) { return _mm512_xor_ps(x, _mm512_set1_ps(-0.0f)); }

/* One f16 number at byte `at` of four rows, as [any chain][row]. */
INLINE __m512 load_d(const uint8_t *const p[4], size_t at) {
    uint16_t h[4];
    for (int i = 0; i < 4; i++) memcpy(&h[i], p[i] + at, 2);
    __m128i halves = _mm_setr_epi16((short)h[0], (short)h[1], (short)h[2], (short)h[3], 0, 0, 0, 0);
    return _mm512_broadcast_f32x4(_mm_cvtph_ps(halves));
}

/* One count a lane; counts of turns are modulo 64, so that a negative one turns right. */
INLINE __m512i lane_counts(int l0, int l1, int l2, int l3) {
    long long a = l0 & 63, b = l1 & 63, c = l2 & 63, d = l3 & 63;
    return _mm512_setr_epi64(a, a, b, b, c, c, d, d);
}

/* Bytes' bits moved up by n, or down by -n; what crosses into other bytes is masked out later.
 * Shifts find a free port beside products, rotations take that of one; Q5_K, which needs two for
 * every register, is yet faster with them. A branch, unless n is a constant. */
INLINE __m512i move_bits(__m512i x, int n) {
    return n >= 0 ? _mm512_slli_epi16(x, (unsigned)n) : _mm512_srli_epi16(x, (unsigned)-n);
}

/* ---- Q4_K, Q5_K: scales ---- */

/* Per row's lane: | sc 0-3 | m 0-3 | sc 4-7 | m 4-7 | from | d dmin | scales 12 |. */
INLINE __m512i decode_k4_scales(__m512i head) {
    const __m512i shift = _mm512_set_epi32(4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0);
    const __m512i low_mask =
        _mm512_broadcast_i32x4(_mm_setr_epi32(0x3f3f3f3f, 0x3f3f3f3f, 0x0f0f0f0f, 0x0f0f0f0f));
    const __m512i high_mask = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 0x30303030, 0x30303030));
    /* Dwords 1 2 3 3, the last without its low nibbles; and dwords 1 2 for the high two bits. */
    __m512i low = _mm512_srlv_epi32(_mm512_shuffle_epi32(head, (_MM_PERM_ENUM)0xf9), shift);
    __m512i high = _mm512_srli_epi32(_mm512_shuffle_epi32(head, (_MM_PERM_ENUM)0x99), 2);
    return _mm512_or_si512(_mm512_and_si512(low, low_mask), _mm512_and_si512(high, high_mask));
}

/* Byte `byte` + c of row r's lane as the number at [c][r]. */
INLINE __m512i spread_bytes(__m512i x, int byte) {
    const __m512i at = _mm512_add_epi32(
        _mm512_setr_epi32(0, 16, 32, 48, 1, 17, 33, 49, 2, 18, 34, 50, 3, 19, 35, 51),
        _mm512_set1_epi32(byte));
    return _mm512_maskz_permutexvar_epi8(0x1111111111111111, at, x);
}

INLINE void load_k4_scales(groups_group *w, const uint8_t *const p[4], int half) {
    __m512i head = load_lanes(p, 0), scales = decode_k4_scales(head);
    const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    widen_d_pairs(_mm512_castsi512_si128(_mm512_permutexvar_epi32(firsts, head)), &w->d, &w->n);
    w->n = negate(w->n);
    w->s = spread_bytes(scales, 8 * half);
    const __m512i minima_at = _mm512_broadcast_i32x4(
        _mm_setr_epi8(4, -1, 5, -1, 6, -1, 7, -1, 12, -1, 13, -1, 14, -1, 15, -1));
    w->minima = _mm512_shuffle_epi8(scales, minima_at);
}

/* The same of 16 rows' super-block into a panel. */
INLINE void fill_k4_scales(const groups_place *to, const uint8_t *const rows[COLUMN_ROWS],
                           size_t at) {
    const __m512i six = _mm512_set1_epi8(63), low = _mm512_set1_epi8(15),
                  two = _mm512_set1_epi8(0x30);
    __m512i head[4]; /* | d | dmin | scales: 0-3 | 4-7 | 8-11 | */
    load_4_dwords(head, rows, at);
    _mm512_store_ps(to->d, low_f16(head[0]));
    _mm512_store_ps(to->n, negate(high_f16(head[0])));
    __m512i last = _mm512_srli_epi16(head[3], 4);
    __m512i sc[2] = {_mm512_and_si512(head[1], six),
                     _mm512_or_si512(_mm512_and_si512(head[3], low),
                                     _mm512_and_si512(_mm512_srli_epi16(head[1], 2), two))};
    __m512i m[2] = {_mm512_and_si512(head[2], six),
                    _mm512_or_si512(_mm512_and_si512(last, low),
                                    _mm512_and_si512(_mm512_srli_epi16(head[2], 2), two))};
    for (size_t b = 0; b < 8; b++) put_scale(to, b, byte_of(sc[b / 4], b % 4));
    for (size_t i = 0; i < 4; i++) put_minima(to, i, byte_pair_of(m[i / 2], i % 2));
}

/* ---- Q4_K ---- */

/* The raw bytes' lanes are | b0 b1 first half | b0 b1 second | b2 b3 first | b2 b3 second |; high
 * nibbles are not shifted down, their blocks' sums are. */
INLINE void load_q4_k(groups_group *w, const uint8_t *const p[4], int half) {
    const __m512i low = _mm512_set1_epi64(0x0f0f0f0f0f0f0f0f);
    const __m512i mask = _mm512_mask_slli_epi64(low, 0xcc, low, 4);
    for (int i = 0; i < 4; i++) {
        __m512i raw = _mm512_loadu_si512(p[i] + 16 + 64 * half);
        w->a[i] = _mm512_and_si512(_mm512_shuffle_i64x2(raw, raw, 0xa0), mask);
        w->b[i] = _mm512_and_si512(_mm512_shuffle_i64x2(raw, raw, 0xf5), mask);
    }
    load_k4_scales(w, p, half);
}

INLINE void fill_q4_k(const groups_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    fill_k4_scales(to, rows, at);
    for (size_t i = 0; i < 4; i++) {
        __m512i qs[8];
        load_8_dwords(qs, rows, at + 16 + 32 * i);
        for (size_t j = 0; j < 8; j++) put_step(to, i, j, qs[j]);
    }
}
GROUPS_TYPE_2(q4_k, .bytes = 144, .scale = GROUPS_SCALE_32, .has_min = true, .odd_shift = 4,
              .nibbles = true)

/* ---- Q5_K: Q4_K and bit b of 32 bytes that all blocks share ---- */

INLINE void load_q5_k(groups_group *w, const uint8_t *const p[4], int half) {
    const __m512i shift = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
    const int n = 4 - 4 * half; /* turns bit 4 half + chain to bit 4 */
    const __m512i turn = _mm512_setr_epi64(n & 63, n & 63, (n - 1) & 63, (n - 1) & 63, (n - 2) & 63,
                                           (n - 2) & 63, (n - 3) & 63, (n - 3) & 63);
    const __m512i low = _mm512_set1_epi8(15), five = _mm512_set1_epi8(31);
    for (int i = 0; i < 4; i++) {
        __m512i raw = _mm512_loadu_si512(p[i] + 48 + 64 * half);
        __m512i a = _mm512_srlv_epi64(_mm512_shuffle_i64x2(raw, raw, 0xa0), shift);
        __m512i b = _mm512_srlv_epi64(_mm512_shuffle_i64x2(raw, raw, 0xf5), shift);
        __m512i high_a = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(p[i] + 16)));
        __m512i high_b = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)(p[i] + 32)));
        a = select_bits(low, a, _mm512_rolv_epi64(high_a, turn));
        b = select_bits(low, b, _mm512_rolv_epi64(high_b, turn));
        w->a[i] = _mm512_and_si512(a, five);
        w->b[i] = _mm512_and_si512(b, five);
    }
    load_k4_scales(w, p, half);
}

INLINE void fill_q5_k(const groups_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    const __m512i low = _mm512_set1_epi8(15), five = _mm512_set1_epi8(31);
    __m512i qh[8];
    fill_k4_scales(to, rows, at);
    load_8_dwords(qh, rows, at + 16);
    for (size_t i = 0; i < 4; i++) {
        const __m512i turn = _mm512_set1_epi32(4 - 2 * (int)i); /* bit 2 i to bit 4 */
        __m512i qs[8];
        load_8_dwords(qs, rows, at + 48 + 32 * i);
        for (size_t j = 0; j < 8; j++) {
            __m512i high = _mm512_rolv_epi32(qh[j], turn), next = _mm512_ror_epi32(high, 1);
            __m512i upper = _mm512_srli_epi16(qs[j], 4);
            put_step(to, 2 * i, j, _mm512_and_si512(select_bits(low, qs[j], high), five));
            put_step(to, 2 * i + 1, j, _mm512_and_si512(select_bits(low, upper, next), five));
        }
    }
}
GROUPS_TYPE_4(q5_k, .bytes = 176, .scale = GROUPS_SCALE_32, .has_min = true)

/* ---- Q6_K ---- */

/* The low nibbles of 64 bytes are those of blocks 0 and 1, the high ones those of 2 and 3; the two
 * high bits of block c are bits 2 c and up of 32 bytes that all blocks share. */
INLINE void load_q6_k(groups_group *w, const uint8_t *const p[4], int half) {
    const __m512i low = _mm512_set1_epi8(15), six = _mm512_set1_epi8(63);
    const __m512i turn = lane_counts(4, 2, 0, -2);
    for (int i = 0; i < 4; i++) {
        __m512i raw = load_once(p[i] + 64 * half), upper = _mm512_srli_epi16(raw, 4);
        const uint8_t *high = p[i] + 128 + 32 * half;
        __m512i a = _mm512_shuffle_i64x2(raw, upper, 0x88);
        __m512i b = _mm512_shuffle_i64x2(raw, upper, 0xdd);
        a = select_bits(low, a, _mm512_rolv_epi64(load_4_times(high), turn));
        b = select_bits(low, b, _mm512_rolv_epi64(load_4_times(high + 16), turn));
        w->a[i] = _mm512_and_si512(a, six);
        w->b[i] = _mm512_and_si512(b, six);
    }
    spread_scales(w, load_lanes(p, 192), half);
    w->d = load_d(p, 208);
}

/* 64 elements from the nibbles of 32 bytes: of block `i` of the group and of the second one after
 * it. Their high bits are at bit 2 i of qh. */
INLINE void put_q6_k(const groups_place *to, size_t group, size_t i, const __m512i qs[8],
                     const __m512i qh[8]) {
    const __m512i low = _mm512_set1_epi8(15), six = _mm512_set1_epi8(63);
    const int up = 4 - 2 * (int)i;
    for (size_t j = 0; j < 8; j++) {
        __m512i high = move_bits(qh[j], up), next = move_bits(qh[j], up - 4);
        __m512i upper = _mm512_srli_epi16(qs[j], 4);
        put_step(to, 4 * group + i, j, _mm512_and_si512(select_bits(low, qs[j], high), six));
        put_step(to, 4 * group + i + 2, j, _mm512_and_si512(select_bits(low, upper, next), six));
    }
}

INLINE void fill_q6_k(const groups_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    __m512i end[8]; /* | .. 14 | scales 16 | d | */
    load_8_dwords(end, rows, at + 178);
    for (size_t i = 0; i < 16; i++)
        put_scale(to, i, signed_byte_of(end[(14 + i) / 4], (14 + i) % 4));
    _mm512_store_ps(to->d, high_f16(end[7]));
    for (size_t half = 0; half < 2; half++) {
        __m512i qs[8], qh[8];
        load_8_dwords(qh, rows, at + 128 + 32 * half);
        SPN_UNROLL(2)
        for (size_t i = 0; i < 2; i++) {
            load_8_dwords(qs, rows, at + 64 * half + 32 * i);
            put_q6_k(to, half, i, qs, qh);
        }
    }
}
GROUPS_TYPE_4(q6_k, .bytes = 210, .scale = GROUPS_SCALE_16, .offset = 32, .panel_offset = 32)

/* ---- scales that panels' weights are multiplied with ---- */

/* Bytes i of dwords as int16, twice. */
INLINE __m512i word_scales(__m512i x, size_t i) {
    const __m128i at = _mm_setr_epi8(-1, 0, -1, 0, -1, 4, -1, 4, -1, 8, -1, 8, -1, 12, -1, 12);
    __m128i more = _mm_set1_epi16((short)(i << 8));
    __m512i bytes = _mm512_broadcast_i32x4(_mm_add_epi8(at, more));
    return _mm512_srai_epi16(_mm512_shuffle_epi8(x, bytes), 8);
}

/* ---- Q3_K ---- */

/* sc (q - 4) + 127, two bytes as one word, modulo 2^16. */
INLINE __m512i fold_q3_k(__m512i q, __m512i scales) {
    __m512i less = _mm512_slli_epi16(scales, 2);
    __m512i base = _mm512_sub_epi16(_mm512_set1_epi16(127), less);
    q = _mm512_mullo_epi16(q, scales);
    return _mm512_add_epi16(q, _mm512_add_epi16(base, _mm512_slli_epi16(base, 8)));
}

/* The 16 scales of a row in each lane, less their 32, from the 16 bytes that the block ends with: |
 * .. | low nibbles 8, the first eight's lower | high two bits 4, a pair of bits for each four
 * scales | d |.
 */
INLINE __m512i q3_k_scales(__m512i end) {
    const __m512i low_at =
        _mm512_broadcast_i32x4(_mm_setr_epi8(2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5, 6, 7, 8, 9));
    const __m512i high_at = _mm512_broadcast_i32x4(
        _mm_setr_epi8(10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13, 10, 11, 12, 13));
    const __m512i low_down = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 0, 4, 4));
    const __m512i high_down = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 2, 4, 6));
    __m512i low = _mm512_srlv_epi32(_mm512_shuffle_epi8(end, low_at), low_down);
    __m512i high = _mm512_srlv_epi32(_mm512_shuffle_epi8(end, high_at), high_down);
    high = _mm512_slli_epi32(_mm512_and_si512(high, _mm512_set1_epi8(3)), 4);
    return _mm512_sub_epi8(select_bits(_mm512_set1_epi8(15), low, high), _mm512_set1_epi8(32));
}

/* q of a group's block c in lane c, from 16 bytes of qs and of hmask that all share. */
INLINE __m512i q3_k_lanes(const uint8_t *qs, const uint8_t *hmask, int half) {
    const __m512i down = lane_counts(0, -2, -4, -6);
    const int n = 2 - 4 * half; /* turns bit 4 half + chain to bit 2 */
    __m512i low = _mm512_rolv_epi64(load_4_times(qs), down);
    __m512i high = _mm512_rolv_epi64(load_4_times(hmask), lane_counts(n, n - 1, n - 2, n - 3));
    return _mm512_and_si512(select_bits(_mm512_set1_epi8(3), low, high), _mm512_set1_epi8(7));
}

INLINE void load_q3_k(groups_group *w, const uint8_t *const p[4], int half) {
    for (int i = 0; i < 4; i++) {
        w->a[i] = q3_k_lanes(p[i] + 32 + 32 * half, p[i], half);
        w->b[i] = q3_k_lanes(p[i] + 48 + 32 * half, p[i] + 16, half);
    }
    spread_scales(w, q3_k_scales(load_lanes(p, 94)), half);
    w->d = load_d(p, 108);
}

/* Panels have sc (q - 4) + 127 in place of q: 3 <= that <= 255, for -32 <= sc <= 31 and -4 <= q - 4
 * <= 3. */
INLINE void fill_q3_k(const groups_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    const __m512i two = _mm512_set1_epi8(3), three = _mm512_set1_epi8(7);
    __m512i end[4], hmask[8], sc[4];
    load_4_dwords(end, rows, at + 94); /* | .. | scales: 0-3 | 4-7 | 8-11 | d | */
    _mm512_store_ps(to->d, high_f16(end[3]));
    for (int i = 0; i < 3; i++)
        end[i] = _mm512_or_si512(_mm512_srli_epi32(end[i], 16), _mm512_slli_epi32(end[i + 1], 16));
    for (unsigned i = 0; i < 4; i++) {
        __m512i low = _mm512_srli_epi32(end[i % 2], i < 2 ? 0 : 4);
        __m512i high =
            _mm512_slli_epi32(_mm512_and_si512(_mm512_srli_epi32(end[2], 2 * i), two), 4);
        sc[i] = _mm512_sub_epi8(select_bits(_mm512_set1_epi8(15), low, high), _mm512_set1_epi8(32));
    }
    load_8_dwords(hmask, rows, at);
    SPN_UNROLL(2)
    for (size_t half = 0; half < 2; half++) {
        __m512i qs[8];
        load_8_dwords(qs, rows, at + 32 + 32 * half);
        SPN_UNROLL(4)
        for (size_t c = 0; c < 4; c++) {
            for (size_t j = 0; j < 8; j++) {
                __m512i high = move_bits(hmask[j], 2 - 4 * (int)half - (int)c);
                __m512i q = select_bits(two, _mm512_srli_epi32(qs[j], 2 * (unsigned)c), high);
                size_t sub = 8 * half + 2 * c + j / 4;
                put_step(to, 4 * half + c, j,
                         fold_q3_k(_mm512_and_si512(q, three), word_scales(sc[sub / 4], sub % 4)));
            }
        }
    }
}
GROUPS_TYPE_2(q3_k, .bytes = 110, .scale = GROUPS_SCALE_16, .fold = true, .four_rows = true,
              .offset = 4, .panel_offset = 127)

/* ---- Q2_K ---- */

INLINE void load_q2_k(groups_group *w, const uint8_t *const p[4], int half) {
    const __m512i two = _mm512_set1_epi8(3), low = _mm512_set1_epi8(15);
    const __m512i down = lane_counts(0, 2, 4, 6);
    uint32_t dd[4];
    for (int i = 0; i < 4; i++) {
        const uint8_t *qs = p[i] + 16 + 32 * half;
        w->a[i] = _mm512_and_si512(_mm512_srlv_epi64(load_4_times(qs), down), two);
        w->b[i] = _mm512_and_si512(_mm512_srlv_epi64(load_4_times(qs + 16), down), two);
        memcpy(&dd[i], p[i] + 80, 4);
    }
    __m512i both = load_lanes(p, 0);
    spread_minima(w, _mm512_and_si512(_mm512_srli_epi16(both, 4), low), half);
    spread_scales(w, _mm512_and_si512(both, low), half);
    widen_d_pairs(_mm_setr_epi32((int)dd[0], (int)dd[1], (int)dd[2], (int)dd[3]), &w->d, &w->n);
    w->n = negate(w->n);
}

/* Panels have sc q in place of q: at most 45. */
INLINE void fill_q2_k(const groups_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    const __m512i two = _mm512_set1_epi8(3), low = _mm512_set1_epi8(15);
    __m512i both[4], end[4], sc[4];
    load_4_dwords(both, rows, at);
    load_4_dwords(end, rows, at + 68); /* d and dmin are the last dword */
    _mm512_store_ps(to->d, low_f16(end[3]));
    _mm512_store_ps(to->n, negate(high_f16(end[3])));
    for (size_t i = 0; i < 4; i++) {
        __m512i m = _mm512_and_si512(_mm512_srli_epi16(both[i], 4), low);
        sc[i] = _mm512_and_si512(both[i], low);
        for (size_t j = 0; j < 2; j++) put_minima(to, 2 * i + j, byte_pair_of(m, j));
    }
    for (size_t half = 0; half < 2; half++) {
        __m512i qs[8];
        load_8_dwords(qs, rows, at + 16 + 32 * half);
        for (size_t c = 0; c < 4; c++) {
            for (size_t j = 0; j < 8; j++) {
                __m512i q = _mm512_and_si512(_mm512_srli_epi32(qs[j], 2 * (unsigned)c), two);
                size_t sub = 8 * half + 2 * c + j / 4;
                put_step(to, 4 * half + c, j,
                         _mm512_mullo_epi16(q, word_scales(sc[sub / 4], sub % 4)));
            }
        }
    }
}
GROUPS_TYPE_2(q2_k, .bytes = 84, .scale = GROUPS_SCALE_16, .has_min = true, .fold = true,
              .four_rows = true)

void spn_qmat_init_avx512_k(spn_kernels *table) {
    table->matmul[SPN_TYPE_Q2_K] = matmul_q2_k;
    table->matmul[SPN_TYPE_Q3_K] = matmul_q3_k;
    table->matmul[SPN_TYPE_Q4_K] = matmul_q4_k;
    table->matmul[SPN_TYPE_Q5_K] = matmul_q5_k;
    table->matmul[SPN_TYPE_Q6_K] = matmul_q6_k;
}
