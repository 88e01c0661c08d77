/* roof_avx2.c - loops that do nothing but reach a limit of the processor.
 * SPDX-License-Identifier: Apache-2.0
 *
 * As roof_avx512.c, with 12 sums of the 16 registers. The integer loop is what a product of bytes
 * takes without VNNI: vpmaddubsw, vpmaddwd with ones, vpaddd. */
#include <immintrin.h>

#include "compute/kernels.h"

enum { SUMS = 12 };

/* One variable a sum: compilers keep an array in memory. */
// clang-format off
#define EACH_SUM(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
// clang-format on

static uint64_t roof_read(const uint8_t *data, size_t n_bytes) {
    __m256i sum[8];
    for (int i = 0; i < 8; i++) sum[i] = _mm256_setzero_si256();
    for (size_t at = 0; at + 256 <= n_bytes; at += 256)
        for (int i = 0; i < 8; i++)
            sum[i] = _mm256_xor_si256(
                sum[i], _mm256_loadu_si256((const __m256i *)(const void *)(data + at + 32 * i)));
    for (int i = 1; i < 8; i++) sum[0] = _mm256_xor_si256(sum[0], sum[i]);
    return (uint64_t)_mm256_extract_epi64(sum[0], 0) ^ (uint64_t)_mm256_extract_epi64(sum[0], 1) ^
           (uint64_t)_mm256_extract_epi64(sum[0], 2) ^ (uint64_t)_mm256_extract_epi64(sum[0], 3);
}

static double roof_int8(uint64_t n_rounds) {
    __m256i a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(-5), ones = _mm256_set1_epi16(1);
#define START(i) __m256i sum##i = _mm256_set1_epi32(i);
#define STEP(i)                     \
    __asm__ volatile("" : "+x"(a)); \
    sum##i = _mm256_add_epi32(sum##i, _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
#define KEEP(i) __asm__ volatile("" : "+x"(sum##i));
    EACH_SUM(START)
    for (uint64_t round = 0; round < n_rounds; round++) {
        EACH_SUM(STEP) EACH_SUM(KEEP)
    }
#undef START
#undef STEP
    return (double)n_rounds * SUMS * 64;
}

static double roof_f32(uint64_t n_rounds) {
    __m256 a = _mm256_set1_ps(1.0f), b = _mm256_set1_ps(0.5f);
#define START(i) __m256 sum##i = _mm256_set1_ps((float)(i));
#define STEP(i) sum##i = _mm256_fmadd_ps(sum##i, a, b);
    EACH_SUM(START)
    for (uint64_t round = 0; round < n_rounds; round++) {
        EACH_SUM(STEP) EACH_SUM(KEEP)
    }
    return (double)n_rounds * SUMS * 16;
}

void spn_roof_init_avx2(spn_kernels *table) {
    table->roof_read = roof_read;
    table->roof_int8 = roof_int8;
    table->roof_f32 = roof_f32;
}
