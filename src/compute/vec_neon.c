/* vec_neon.c - vectors' kernels with NEON: vec_lanes.h on lanes_neon.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_neon.h"

#include "compute/vec_lanes.h"
