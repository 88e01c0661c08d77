/* qmat_dotprod.c - quantised products with SDOT. SPDX-License-Identifier: Apache-2.0 */
#include "compute/qmat_arm.h"

#define MATMUL_LOADED(NAME, name, kind, has_min)                                       \
    static void matmul_##NAME(const spn_matmul_args *args, size_t begin, size_t end) { \
        matmul_rows(SPN_TYPE_##NAME, kind, has_min, load_##name, args, begin, end);    \
    }
#define MATMUL_WIDE(NAME)                                                              \
    static void matmul_##NAME(const spn_matmul_args *args, size_t begin, size_t end) { \
        matmul_rows(SPN_TYPE_##NAME, PANEL_WIDE, false, NULL, args, begin, end);       \
    }
ARM_LOADED_TYPES(MATMUL_LOADED)
ARM_WIDE_TYPES(MATMUL_WIDE)

void spn_qmat_init_dotprod(spn_kernels *table) {
#define SET_LOADED(NAME, name, kind, has_min) table->matmul[SPN_TYPE_##NAME] = matmul_##NAME;
#define SET_WIDE(NAME) table->matmul[SPN_TYPE_##NAME] = matmul_##NAME;
    ARM_LOADED_TYPES(SET_LOADED)
    ARM_WIDE_TYPES(SET_WIDE)
}
