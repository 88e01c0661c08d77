/* qmat_avx512_iq.c - AVX-512 products: IQ4_XS.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/qmat_avx512_groups.h"

/* ---- IQ4_XS ---- */

INLINE void load_iq4_xs(groups_group *w, const uint8_t *const p[4], int half) {
    const __m512i low = _mm512_set1_epi8(15), table = value_table(spn_iq4_values);
    long long head[4]; /* | d | scales_h | scales_l 4 | */
    for (int i = 0; i < 4; i++) {
        __m512i raw = load_once(p[i] + 8 + 64 * half);
        w->a[i] = _mm512_shuffle_epi8(table, _mm512_and_si512(raw, low));
        raw = _mm512_and_si512(_mm512_srli_epi16(raw, 4), low);
        w->b[i] = _mm512_shuffle_epi8(table, raw);
        memcpy(&head[i], p[i], 8);
    }
    __m512i heads = _mm512_castsi256_si512(_mm256_setr_epi64x(head[0], head[1], head[2], head[3]));
    /* Both words of all rows in all lanes, then lane c turns to the bits of block 4 half + c. */
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6, 0, 2, 4, 6, 0, 2, 4, 6);
    __m512i first = _mm512_permutexvar_epi32(even, heads);
    __m512i scales_l =
        _mm512_permutexvar_epi32(_mm512_add_epi32(even, _mm512_set1_epi32(1)), heads);
    const __m512i chain = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    const __m512i low_at =
        _mm512_add_epi32(_mm512_slli_epi32(chain, 2), _mm512_set1_epi32(16 * half));
    const __m512i high_at =
        _mm512_add_epi32(_mm512_slli_epi32(chain, 1), _mm512_set1_epi32(16 + 8 * half));
    __m512i ls = _mm512_and_si512(_mm512_srlv_epi32(scales_l, low_at), _mm512_set1_epi32(15));
    __m512i high = _mm512_and_si512(_mm512_srlv_epi32(first, high_at), _mm512_set1_epi32(3));
    ls = _mm512_or_si512(ls, _mm512_slli_epi32(high, 4));
    w->d = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(first));
    w->s = _mm512_sub_epi32(ls, _mm512_set1_epi32(32));
}

INLINE void fill_iq4_xs(const groups_place *to, const uint8_t *const rows[COLUMN_ROWS], size_t at) {
    const __m512i low = _mm512_set1_epi8(15), table = value_table(spn_iq4_values);
    __m512i head[4]; /* | d | scales_h | scales_l | .. */
    load_4_dwords(head, rows, at);
    _mm512_store_ps(to->d, low_f16(head[0]));
    for (size_t b = 0; b < 8; b++) {
        __m512i ls =
            _mm512_and_si512(_mm512_srli_epi32(head[1], 4 * (unsigned)b), _mm512_set1_epi32(15));
        __m512i high = _mm512_and_si512(_mm512_srli_epi32(head[0], 16 + 2 * (unsigned)b),
                                        _mm512_set1_epi32(3));
        ls = _mm512_or_si512(ls, _mm512_slli_epi32(high, 4));
        put_scale(to, b, _mm512_sub_epi32(ls, _mm512_set1_epi32(32)));
    }
    for (size_t i = 0; i < 4; i++) { /* the nibbles of two blocks */
        __m512i qs[8];
        load_8_dwords(qs, rows, at + 8 + 32 * i);
        for (size_t j = 0; j < 8; j++) {
            size_t block = 2 * i + j / 4, step = j % 4;
            __m512i high = _mm512_and_si512(_mm512_srli_epi16(qs[j], 4), low);
            put_step(to, block, step, _mm512_shuffle_epi8(table, _mm512_and_si512(qs[j], low)));
            put_step(to, block, 4 + step, _mm512_shuffle_epi8(table, high));
        }
    }
}
GROUPS_TYPE_4(iq4_xs, .bytes = 136, .scale = GROUPS_SCALE_32, .offset = 128, .panel_offset = 128)

void spn_qmat_init_avx512_iq(spn_kernels *table) { table->matmul[SPN_TYPE_IQ4_XS] = matmul_iq4_xs; }
