/* test_quant.c - decoding against an independent implementation's values, rounding against
 * arithmetic. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compute/kernels.h"
#include "compute/quant.h"

static const struct {
    const char *name;
    spn_type type;
} names[] = {
#define ROW(NAME) {#NAME, SPN_TYPE_##NAME},
    SPN_QUANT_TYPES(ROW)};

static spn_type type_of(const char *name) {
    for (size_t i = 0; i < SPN_COUNT(names); i++)
        if (strcmp(names[i].name, name) == 0) return names[i].type;
    return SPN_TYPE_F32;
}

static size_t from_hex(const char *hex, uint8_t *out) {
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
    return n;
}

static void check_vector(spn_type type, const char *block_hex, const char *values_hex) {
    uint8_t block[256], values[1024];
    float y[256];
    from_hex(block_hex, block);
    size_t n = from_hex(values_hex, values) / 4;
    spn_row_to_f32(type, y, block, n);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *v = values + 4 * i;
        uint32_t bits = (uint32_t)v[0] << 24 | (uint32_t)v[1] << 16 | (uint32_t)v[2] << 8 | v[3];
        float expected = spn_f32_of_bits(bits);
        if (!(y[i] == expected))
            fail_msg("type %d element %zu: %a, not %a", type, i, y[i], expected);
    }
}

static void blocks_decode_to_the_vectors(void **state) {
    (void)state;
    bool seen[SPN_TYPE_LIMIT] = {false};
    char name[16], block[600], values[2100];
    FILE *file = fopen("tests/kernels/vectors/dequant.vec", "r");
    assert_non_null(file);
    while (fscanf(file, "%15s %599s %2099s", name, block, values) == 3) {
        spn_type type = type_of(name);
        if (type == SPN_TYPE_F32) continue;
        seen[type] = true;
        check_vector(type, block, values);
    }
    fclose(file);
    for (size_t i = 0; i < SPN_COUNT(names); i++) assert_true(seen[names[i].type]);
}

static void half_precision_is_exact(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
        double size = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
        float x = spn_f32_of_f16((uint16_t)h);
        if (exponent == 31) {
            assert_true(fraction ? isnan(x) : isinf(x));
            if (fraction) assert_true(isnan(spn_f32_of_f16(spn_f16_of_f32(x))));
        } else {
            assert_true(x == (float)(h & 0x8000 ? -size : size));
        }
        if (!isnan(x)) assert_int_equal(spn_f16_of_f32(x), h);
        float b = spn_f32_of_bf16((uint16_t)h);
        if (!isnan(b)) assert_int_equal(spn_bf16_of_f32(b), h);
    }
}

/* The half next to a value, found by trying: nearest, and even among two as near. */
static void halves_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        double low = (double)spn_f32_of_f16((uint16_t)h);
        double high = (double)spn_f32_of_f16((uint16_t)(h + 1));
        float middle = (float)((low + high) / 2); /* exact: 12 bits */
        assert_int_equal(spn_f16_of_f32(middle), h + (h & 1));
        assert_int_equal(spn_f16_of_f32(nextafterf(middle, 0.0f)), h);
        assert_int_equal(spn_f16_of_f32(nextafterf(middle, 1e9f)), h + 1);
        assert_int_equal(spn_f16_of_f32(-middle), 0x8000 | (h + (h & 1)));
    }
    assert_int_equal(spn_f16_of_f32(65519.0f), 0x7bff);
    assert_int_equal(spn_f16_of_f32(65520.0f), 0x7c00);
    assert_int_equal(spn_f16_of_f32(0x1p-25f), 0);
    assert_int_equal(spn_f16_of_f32(0x1.000002p-25f), 1);
    assert_int_equal(spn_bf16_of_f32(0x1.01p0f), 0x3f80); /* ties to even */
    assert_int_equal(spn_bf16_of_f32(0x1.03p0f), 0x3f82);
    assert_int_equal(spn_bf16_of_f32(0x1.030002p0f), 0x3f82);
    assert_int_equal(spn_bf16_of_f32(0x1.010002p0f), 0x3f81);
    assert_int_equal(spn_bf16_of_f32(3.4e38f), 0x7f80);
}

static void cache_rows_round_within_their_step(void **state) {
    (void)state;
    float x[64], y[64];
    uint8_t row[256];
    uint32_t seed = 1;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 64; i++) {
            seed = seed * 1664525u + 1013904223u;
            x[i] = ldexpf((float)(int32_t)seed, round % 40 - 53);
        }
        for (size_t b = 0; b < 64; b += 32) {
            float amax = 0.0f, bound8, bound4;
            for (size_t i = b; i < b + 32; i++) amax = fmaxf(amax, fabsf(x[i]));
            /* Half a step, the scale's own rounding on the way, and half precision's least step. */
            bound8 = amax / 127.0f * 0.5f + amax * 0x1p-11f + 127.0f * 0x1p-24f;
            bound4 = amax / 8.0f + amax * 0x1p-11f + 8.0f * 0x1p-24f;
            spn_row_from_f32(SPN_TYPE_Q8_0, row, x + b, 32);
            spn_row_to_f32(SPN_TYPE_Q8_0, y, row, 32);
            for (size_t i = 0; i < 32; i++) assert_true(fabsf(y[i] - x[b + i]) <= bound8 * 1.001f);
            spn_row_from_f32(SPN_TYPE_Q4_0, row, x + b, 32);
            spn_row_to_f32(SPN_TYPE_Q4_0, y, row, 32);
            for (size_t i = 0; i < 32; i++) assert_true(fabsf(y[i] - x[b + i]) <= bound4 * 1.001f);
        }
    }
}

static void extremes_make_no_noise(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY, 0x1p-149f, -0x1p-140f, 0.0f, 3e38f};
    const spn_type types[] = {SPN_TYPE_Q8_0, SPN_TYPE_Q4_0};
    for (size_t t = 0; t < 2; t++) {
        for (size_t c = 0; c < SPN_COUNT(bad); c++) {
            float x[32] = {[7] = bad[c]}, y[32];
            uint8_t row[64];
            spn_row_from_f32(types[t], row, x, 32);
            spn_row_to_f32(types[t], y, row, 32);
            if (c < 3) assert_true(isnan(y[7]));
            if (c >= 3 && c < 6) assert_true(y[7] == 0.0f);
        }
    }
}

static void tiles_give_back_what_rows_hold(void **state) {
    (void)state;
    enum { DIM = 96, N = 33 };
    const spn_type types[] = {SPN_TYPE_F32, SPN_TYPE_F16, SPN_TYPE_BF16, SPN_TYPE_Q8_0,
                              SPN_TYPE_Q4_0};
    static float x[N][DIM], y[DIM], z[DIM];
    static uint8_t tiles[48 * DIM * 4], row[DIM * 4];
    for (size_t i = 0; i < N; i++)
        for (size_t e = 0; e < DIM; e++) x[i][e] = sinf((float)(i * DIM + e)) * (float)(i + 1);
    for (size_t t = 0; t < SPN_COUNT(types); t++) {
        /* A tile takes as many bytes as 16 rows: those after the last one stay untouched. */
        size_t used = types[t] == SPN_TYPE_F32    ? 48 * DIM * 4
                      : types[t] == SPN_TYPE_Q8_0 ? 48 * DIM / 32 * 34
                      : types[t] == SPN_TYPE_Q4_0 ? 48 * DIM / 32 * 18
                                                  : 48 * DIM * 2;
        memset(tiles, 0xab, sizeof(tiles));
        for (size_t i = N; i-- > 0;) {
            spn_row_from_f32(types[t], row, x[i], DIM);
            spn_k_tile_store(tiles, types[t], i, row, DIM);
        }
        for (size_t i = 0; i < N; i++) {
            spn_k_tile_load(y, tiles, types[t], i, DIM);
            spn_row_from_f32(types[t], row, x[i], DIM);
            spn_row_to_f32(types[t], z, row, DIM);
            assert_memory_equal(y, z, sizeof(y));
        }
        for (size_t at = used; at < sizeof(tiles); at++) assert_int_equal(tiles[at], 0xab);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_decode_to_the_vectors),
        cmocka_unit_test(half_precision_is_exact),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(cache_rows_round_within_their_step),
        cmocka_unit_test(extremes_make_no_noise),
        cmocka_unit_test(tiles_give_back_what_rows_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
