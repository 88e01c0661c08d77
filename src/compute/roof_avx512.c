/* roof_avx512.c - loops that do nothing but reach a limit of the processor.
 * SPDX-License-Identifier: Apache-2.0
 *
 * 24 independent sums: enough to hide 4 to 5 cycles of latency on two ports, and with the operands
 * they fit the 32 registers. The compiler must not drop or merge the loop's work: an empty asm
 * takes the sums as changed in every round. */
#include <immintrin.h>

#include "compute/kernels.h"

enum { SUMS = 24 };

/* One variable a sum: compilers keep an array in memory. */
// clang-format off
#define EACH_SUM(X) \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) \
    X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
// clang-format on

static uint64_t roof_read(const uint8_t *data, size_t n_bytes) {
    __m512i sum[8];
    for (int i = 0; i < 8; i++) sum[i] = _mm512_setzero_si512();
    for (size_t at = 0; at + 512 <= n_bytes; at += 512)
        for (int i = 0; i < 8; i++)
            sum[i] = _mm512_xor_si512(sum[i], _mm512_loadu_si512(data + at + 64 * i));
    for (int i = 1; i < 8; i++) sum[0] = _mm512_xor_si512(sum[0], sum[i]);
    uint64_t words[8], all = 0;
    _mm512_storeu_si512(words, sum[0]);
    for (int i = 0; i < 8; i++) all ^= words[i];
    return all;
}

static double roof_int8(uint64_t n_rounds) {
    __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-5);
#define START(i) __m512i sum##i = _mm512_set1_epi32(i);
#define STEP(i) sum##i = _mm512_dpbusd_epi32(sum##i, a, b);
#define KEEP(i) __asm__ volatile("" : "+v"(sum##i));
    EACH_SUM(START)
    for (uint64_t round = 0; round < n_rounds; round++) {
        EACH_SUM(STEP) EACH_SUM(KEEP)
    }
#undef START
#undef STEP
    return (double)n_rounds * SUMS * 128; /* 64 multiplications and 64 additions each */
}

static double roof_f32(uint64_t n_rounds) {
    __m512 a = _mm512_set1_ps(1.0f), b = _mm512_set1_ps(0.5f);
#define START(i) __m512 sum##i = _mm512_set1_ps((float)(i));
#define STEP(i) sum##i = _mm512_fmadd_ps(sum##i, a, b);
    EACH_SUM(START)
    for (uint64_t round = 0; round < n_rounds; round++) {
        EACH_SUM(STEP) EACH_SUM(KEEP)
    }
    return (double)n_rounds * SUMS * 32;
}

void spn_roof_init_avx512(spn_kernels *table) {
    table->roof_read = roof_read;
    table->roof_int8 = roof_int8;
    table->roof_f32 = roof_f32;
}
