/* delta_avx2.c - the gated delta rule with AVX2: delta_lanes.h on lanes_avx2.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_avx2.h"

#include "compute/delta_lanes.h"
