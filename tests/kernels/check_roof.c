/* check_roof.c - what the machine could do at most, measured beside the kernels: fused
 * multiply-adds on registers alone, and a plain read of memory. SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { FMA_STEPS = 100000 };
static volatile float sink;

__attribute__((target("avx512f"))) static void fma_512(void *arg) {
    (void)arg;
    __m512 s[12], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    for (int j = 0; j < 12; j++) s[j] = _mm512_set1_ps((float)j);
    for (int i = 0; i < FMA_STEPS; i++) {
        SPN_UNROLL(12)
        for (int j = 0; j < 12; j++) s[j] = _mm512_fmadd_ps(s[j], a, b);
    }
    for (int j = 1; j < 12; j++) s[0] = _mm512_add_ps(s[0], s[j]);
    sink = _mm512_reduce_add_ps(s[0]);
}

__attribute__((target("avx2,fma"))) static void fma_256(void *arg) {
    (void)arg;
    __m256 s[12], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    for (int j = 0; j < 12; j++) s[j] = _mm256_set1_ps((float)j);
    for (int i = 0; i < FMA_STEPS; i++) {
        SPN_UNROLL(12)
        for (int j = 0; j < 12; j++) s[j] = _mm256_fmadd_ps(s[j], a, b);
    }
    for (int j = 1; j < 12; j++) s[0] = _mm256_add_ps(s[0], s[j]);
    sink = _mm256_cvtss_f32(s[0]);
}

enum { READ_BYTES = 96 << 20 };

__attribute__((target("avx2"))) static void read_all(void *arg) {
    const __m256i *at = arg, *end = at + READ_BYTES / 32;
    __m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                    _mm256_setzero_si256()};
    for (; at < end; at += 4) {
        SPN_UNROLL(4)
        for (int j = 0; j < 4; j++) s[j] = _mm256_xor_si256(s[j], _mm256_load_si256(at + j));
    }
    s[0] = _mm256_xor_si256(_mm256_xor_si256(s[0], s[1]), _mm256_xor_si256(s[2], s[3]));
    sink = (float)_mm256_extract_epi8(s[0], 0);
}

void check_roof(check *c) {
    bool wide = c->level->level == SPN_CPU_LEVEL_AVX512;
    double macs = 12.0 * FMA_STEPS * (wide ? 16 : 8);
    if (c->level == c->ref) return;
    check_report(c, "registers", check_time(wide ? fma_512 : fma_256, NULL), macs / 32, 0, macs);
    void *memory = check_take_aligned(c, READ_BYTES);
    check_report(c, "memory", check_time(read_all, memory), READ_BYTES / 32, READ_BYTES, 0);
}

#else

void check_roof(check *c) { (void)c; }

#endif
