/* repetition.h - notices a text that repeats one phrase over and over.
 * SPDX-License-Identifier: Apache-2.0
 *
 * runs[p - 1] is how many of the last tokens equal the one p places before them: a text whose last
 * n tokens are a phrase of p tokens again and again has runs[p - 1] >= n - p. */
#ifndef SPN_REPETITION_H
#define SPN_REPETITION_H

#include "base/base.h"

#define SPN_REPETITION_LONGEST 256 /* tokens of a phrase */

typedef struct spn_repetition {
    uint32_t runs[SPN_REPETITION_LONGEST];
} spn_repetition;

/* Takes note of the last of tokens[0 .. n_tokens). */
void spn_repetition_note(spn_repetition *repetition, const int32_t *tokens, size_t n_tokens);
/* How many of the last tokens only repeat what a phrase before them says, where they do so at least
 * four times; else 0. */
uint32_t spn_repetition_length(const spn_repetition *repetition);

#endif
