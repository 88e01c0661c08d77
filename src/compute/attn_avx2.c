/* attn_avx2.c - attention with AVX2: attn_lanes.h on lanes_avx2.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_avx2.h"

#include "compute/attn_lanes.h"
