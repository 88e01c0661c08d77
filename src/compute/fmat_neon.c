/* fmat_neon.c - float matrices' kernels with NEON: fmat_lanes.h on lanes_neon.h.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/lanes_neon.h"

#include "compute/fmat_lanes.h"
