/* delta_avx512.c - the gated delta rule with AVX-512: delta_lanes.h on lanes_avx512.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_avx512.h"

#include "compute/delta_lanes.h"
