/* qmat_avx512_iq.c - AVX-512 loaders of the types with tables of values. SPDX-License-Identifier:
 * Apache-2.0 */
#include "compute/qmat_avx512.h"

void spn_qmat_init_avx512_iq(spn_kernels *table) { (void)table; }
