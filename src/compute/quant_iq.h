/* quant_iq.h - the decoders of the types with grids. SPDX-License-Identifier: Apache-2.0 */
#ifndef SPN_QUANT_IQ_H
#define SPN_QUANT_IQ_H

#include "compute/quant.h"

/* Each is an spn_quant_decode_fn. */
void spn_decode_iq2_xxs(spn_quant_unit *unit, const uint8_t *row, size_t b);
void spn_decode_iq2_xs(spn_quant_unit *unit, const uint8_t *row, size_t b);
void spn_decode_iq2_s(spn_quant_unit *unit, const uint8_t *row, size_t b);
void spn_decode_iq3_xxs(spn_quant_unit *unit, const uint8_t *row, size_t b);
void spn_decode_iq3_s(spn_quant_unit *unit, const uint8_t *row, size_t b);
void spn_decode_iq1_s(spn_quant_unit *unit, const uint8_t *row, size_t b);
void spn_decode_iq1_m(spn_quant_unit *unit, const uint8_t *row, size_t b);

#endif
