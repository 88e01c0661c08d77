/* attn_avx512.c - attention with AVX-512: attn_lanes.h on lanes_avx512.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_avx512.h"

#include "compute/attn_lanes.h"
