/* quant.h - the blocks of the quantised tensor types, as they lie in a GGUF file.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each block has its picture, the formula that gives element i, and a static_assert of its size.
 * The S, M, D, N of a type are what contract (3) of kernels.h multiplies: for the block of 32
 * elements numbered b, with activations p_i (int8), all sums over the block's elements:
 *
 *   type     S                              D              M                    N
 *   Q4_0     sum (q - 8) p                  d
 *   Q4_1     sum q p                        d              sum p                m
 *   Q5_0     sum (q - 16) p                 d
 *   Q5_1     sum q p                        d              sum p                m
 *   Q8_0     sum q p                        d
 *   Q2_K     sum (sc & 15) q p              d              sum (sc >> 4) p      -dmin
 *   Q3_K     sum sc (q - 4) p               d
 *   Q4_K     sum q p                        d * sc         sum p                -(dmin * m)
 *   Q5_K     sum q p                        d * sc         sum p                -(dmin * m)
 *   Q6_K     sum sc (q - 32) p              d
 *   IQ4_NL   sum kvalues[q] p               d
 *   IQ4_XS   sum kvalues[q] p               d * (ls - 32)
 *   MXFP4    sum values[q] p                2^(e - 128)
 *
 * d, m, dmin are the block's f16 numbers converted to f32; sc, m, ls are its small integer scales,
 * taken for each element's own sub-block of 16 where the type has such. Products of a f16 and a
 * small integer are exact in f32.
 */
#ifndef SPN_QUANT_H
#define SPN_QUANT_H

#include <assert.h>
#include <stdint.h>

#endif
