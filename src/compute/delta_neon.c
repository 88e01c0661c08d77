/* delta_neon.c - the gated delta rule with NEON: delta_lanes.h on lanes_neon.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_neon.h"

#include "compute/delta_lanes.h"
