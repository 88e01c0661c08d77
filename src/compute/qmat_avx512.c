/* qmat_avx512.c - AVX-512 products with quantised weights. SPDX-License-Identifier: Apache-2.0 */
#include "compute/qmat_avx512.h"

/* What the products of any type need; those with float weights too. */
static size_t matmul_scratch(size_t k) {
    size_t floats = 32 * 4 * k + 65536;
    return spn_max_size(
        floats, spn_max_size(spn_qmat_scratch_blocks_avx512(k), spn_qmat_scratch_groups_avx512(k)));
}

void spn_qmat_init_avx512(spn_kernels *table) {
    table->matmul_scratch = matmul_scratch;
    spn_qmat_init_avx512_b32(table);
    spn_qmat_init_avx512_k(table);
    spn_qmat_init_avx512_iq(table);
    spn_qmat_init_avx512_grid(table);
}
