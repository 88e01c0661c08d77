/* roof_ref.c - loops that do nothing but reach a limit, in portable C; other levels know their
 * processor better. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "compute/kernels.h"

enum { SUMS = 16 };

static uint64_t roof_read(const uint8_t *data, size_t n_bytes) {
    uint64_t sum = 0, word;
    for (size_t at = 0; at + sizeof word <= n_bytes; at += sizeof word) {
        memcpy(&word, data + at, sizeof word);
        sum ^= word;
    }
    return sum;
}

static double roof_int8(uint64_t n_rounds) {
    volatile int8_t factor = 3;
    int32_t sum[SUMS] = {0};
    for (uint64_t round = 0; round < n_rounds; round++) {
        int8_t now = factor;
        for (int i = 0; i < SUMS; i++) sum[i] = (int32_t)((uint32_t)sum[i] + (uint32_t)(now * i));
    }
    volatile int32_t keep = sum[SUMS - 1];
    (void)keep;
    return (double)n_rounds * SUMS * 2;
}

static double roof_f32(uint64_t n_rounds) {
    volatile float factor = 0.5f;
    float sum[SUMS] = {0};
    for (uint64_t round = 0; round < n_rounds; round++) {
        float now = factor;
        for (int i = 0; i < SUMS; i++) sum[i] = sum[i] * now + 1.0f;
    }
    volatile float keep = sum[SUMS - 1];
    (void)keep;
    return (double)n_rounds * SUMS * 2;
}

void spn_roof_init_ref(spn_kernels *table) {
    table->roof_read = roof_read;
    table->roof_int8 = roof_int8;
    table->roof_f32 = roof_f32;
}
