/* attn_neon.c - attention with NEON: attn_lanes.h on lanes_neon.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_neon.h"

#include "compute/attn_lanes.h"
