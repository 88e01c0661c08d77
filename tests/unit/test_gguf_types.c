/* test_gguf_types.c - the types' sizes against what their blocks are made of.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gguf/gguf.h"

/* A block's parts as the format describes them: n values of so many bits. */
typedef struct block {
    uint32_t id, len;
    const char *name;
    struct {
        uint32_t n, bits;
    } parts[5];
} block;

static const block blocks[] = {
    {0, 1, "F32", {{1, 32}}},
    {1, 1, "F16", {{1, 16}}},
    {30, 1, "BF16", {{1, 16}}},
    /* f16 scale (and minimum), quants; fifth bits apart */
    {2, 32, "Q4_0", {{1, 16}, {32, 4}}},
    {3, 32, "Q4_1", {{2, 16}, {32, 4}}},
    {6, 32, "Q5_0", {{1, 16}, {32, 1}, {32, 4}}},
    {7, 32, "Q5_1", {{2, 16}, {32, 1}, {32, 4}}},
    {8, 32, "Q8_0", {{1, 16}, {32, 8}}},
    {9, 32, "Q8_1", {{2, 16}, {32, 8}}},
    /* super-blocks of 256: f16 scales of 4-, 6- or 8-bit scales and minimums of sub-blocks */
    {10, 256, "Q2_K", {{2, 16}, {16, 8}, {256, 2}}},
    {11, 256, "Q3_K", {{1, 16}, {16, 6}, {256, 1}, {256, 2}}},
    {12, 256, "Q4_K", {{2, 16}, {16, 6}, {256, 4}}},
    {13, 256, "Q5_K", {{2, 16}, {16, 6}, {256, 1}, {256, 4}}},
    {14, 256, "Q6_K", {{1, 16}, {16, 8}, {256, 4}, {256, 2}}},
    {15, 256, "Q8_K", {{1, 32}, {256, 8}, {16, 16}}},
    {20, 32, "IQ4_NL", {{1, 16}, {32, 4}}},
    {23, 256, "IQ4_XS", {{1, 16}, {8, 6}, {256, 4}}},
    /* grids: 8 weights an index, 4 of them in the IQ3 types; signs in 7 bits or 8 */
    {16, 256, "IQ2_XXS", {{1, 16}, {32, 8}, {32, 7}, {8, 4}}},
    {17, 256, "IQ2_XS", {{1, 16}, {32, 9}, {32, 7}, {16, 4}}},
    {22, 256, "IQ2_S", {{1, 16}, {32, 8}, {32, 8}, {32, 2}, {16, 4}}},
    {18, 256, "IQ3_XXS", {{1, 16}, {64, 8}, {32, 7}, {8, 4}}},
    {21, 256, "IQ3_S", {{1, 16}, {64, 8}, {64, 1}, {32, 8}, {8, 4}}},
    {19, 256, "IQ1_S", {{1, 16}, {32, 8}, {8, 16}}},
    {29, 256, "IQ1_M", {{32, 8}, {32, 4}, {4, 16}}},
    /* five ternary digits a byte and four in the last ones; or two bits each */
    {34, 256, "TQ1_0", {{48, 8}, {4, 8}, {1, 16}}},
    {35, 256, "TQ2_0", {{256, 2}, {1, 16}}},
    {39, 32, "MXFP4", {{1, 8}, {32, 4}}}, /* a power-of-two scale */
    {24, 1, "I8", {{1, 8}}},
    {25, 1, "I16", {{1, 16}}},
    {26, 1, "I32", {{1, 32}}},
    {27, 1, "I64", {{1, 64}}},
    {28, 1, "F64", {{1, 64}}},
};

static void blocks_have_their_parts_sizes(void **state) {
    (void)state;
    for (size_t i = 0; i < SPN_COUNT(blocks); i++) {
        const block *b = &blocks[i];
        const spn_type_traits *traits = spn_type_traits_of(b->id);
        uint32_t bits = 0;
        for (size_t j = 0; j < SPN_COUNT(b->parts); j++) bits += b->parts[j].n * b->parts[j].bits;
        assert_non_null(traits);
        assert_string_equal(traits->name, b->name);
        assert_string_equal(spn_type_name((spn_type)b->id), b->name);
        assert_int_equal(traits->block_len, b->len);
        assert_int_equal(traits->block_bytes * 8, bits);
        assert_int_equal(spn_type_row_bytes((spn_type)b->id, (size_t)b->len * 3) * 8, bits * 3);
        assert_int_equal(spn_type_row_bytes((spn_type)b->id, 0), 0);
    }
}

static void other_numbers_are_no_types(void **state) {
    (void)state;
    size_t n = 0;
    for (uint32_t id = 0; id < 1000; id++) n += spn_type_traits_of(id) != NULL;
    assert_int_equal(n, SPN_COUNT(blocks));
    assert_null(spn_type_traits_of(4)); /* types that the format has dropped */
    assert_null(spn_type_traits_of(31));
    assert_null(spn_type_traits_of(UINT32_MAX));
    assert_string_equal(spn_type_name((spn_type)5), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_have_their_parts_sizes),
        cmocka_unit_test(other_numbers_are_no_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
