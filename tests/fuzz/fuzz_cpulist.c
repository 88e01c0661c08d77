/* fuzz_cpulist.c - lists of processors over arbitrary text. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "platform/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (text == NULL) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    spn_cpu_bits bits;
    if (spn_linux_list_bits(text, &bits)) {
        /* What the counting reader says of the same line is an upper bound: a set has no doubles.
         */
        uint32_t n = 0;
        for (size_t i = 0; i < SPN_COUNT(bits.words); i++)
            n += (uint32_t)__builtin_popcountll(bits.words[i]);
        if (n > spn_linux_list_count(text)) abort();
        if (strchr(text, '\n') == NULL) abort();
    }
    free(text);
    return 0;
}
