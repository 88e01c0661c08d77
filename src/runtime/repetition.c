/* repetition.c - notices a text that repeats one phrase over and over.
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/repetition.h"

enum { LEAST_TIMES = 4 };

void spn_repetition_note(spn_repetition *repetition, const int32_t *tokens, size_t n_tokens) {
    int32_t last = tokens[n_tokens - 1];
    for (size_t p = 1; p <= SPN_REPETITION_LONGEST; p++) {
        uint32_t *run = &repetition->runs[p - 1];
        *run = p < n_tokens && tokens[n_tokens - 1 - p] == last ? *run + 1 : 0;
    }
}

uint32_t spn_repetition_length(const spn_repetition *repetition) {
    uint32_t longest = 0;
    for (uint32_t p = 1; p <= SPN_REPETITION_LONGEST; p++) {
        uint32_t run = repetition->runs[p - 1];
        if (run >= LEAST_TIMES * p && run > longest) longest = run;
    }
    return longest;
}
