/* roofline.h - what this machine can do at most, measured. SPDX-License-Identifier: Apache-2.0
 *
 * Williams et al. 2009, doi:10.1145/1498765.1498785. */
#ifndef SPN_ROOFLINE_H
#define SPN_ROOFLINE_H

#include "compute/kernels.h"
#include "compute/pool.h"

typedef struct spn_limits {
    double read_bytes_s; /* a plain read loop over `data` */
    double int8_ops_s;   /* multiplications and additions of bytes, registers only */
    double f32_ops_s;    /* of floats, registers only */
} spn_limits;

/* All members of the pool at once, the best of a few short rounds. */
void spn_limits_measure(const spn_kernels *kernels, spn_pool *pool, const uint8_t *data,
                        size_t n_bytes, spn_limits *out);

#endif
