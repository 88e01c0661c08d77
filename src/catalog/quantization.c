/* quantization.c - names of quantizations and what they cost. SPDX-License-Identifier: Apache-2.0
 *
 * A name counts in a file's name only as a word of its own: what stands before and after it is no
 * letter or digit. So "IQ4_XS" is not taken for a Q4, nor "Q4_K_M" for the "Q4_K" it starts with,
 * because of several names that start at one place the longest wins. Of several places the last
 * one wins: quantizers put the quantization at the end.
 */
#include <string.h>

#include "catalog/catalog.h"

typedef struct quantization_row {
    const char *name;
    uint32_t milli_bits;
    int rank;
} quantization_row;

#define ROW(NAME, name, bits, rank) {name, bits, rank},
static const quantization_row rows[] = {SPN_QUANTIZATION_LIST(ROW)};
#undef ROW

/* Other spellings in use. */
static const struct {
    const char *name;
    spn_quantization quantization;
} aliases[] = {
    {"FP16", SPN_QUANTIZATION_F16},
    {"FP32", SPN_QUANTIZATION_F32},
    {"BFLOAT16", SPN_QUANTIZATION_BF16},
};

static const quantization_row *row_of(spn_quantization quantization) {
    return &rows[(unsigned)quantization < SPN_QUANTIZATION_COUNT ? (unsigned)quantization : 0];
}

const char *spn_quantization_name(spn_quantization quantization) {
    return row_of(quantization)->name;
}

double spn_quantization_bits(spn_quantization quantization) {
    return row_of(quantization)->milli_bits / 1000.0;
}

double spn_quantization_memory_multiplier(spn_quantization quantization) {
    return spn_quantization_bits(quantization) / 8;
}

int spn_quantization_rank(spn_quantization quantization) { return row_of(quantization)->rank; }

/* Length of `name` when `text` starts with it in any letter case, "-" standing for "_"; else 0. */
static size_t match_name(const char *text, const char *name) {
    size_t n = 0;
    for (; name[n]; n++) {
        char c = text[n] == '-' ? '_' : spn_ascii_lower(text[n]);
        if (c != spn_ascii_lower(name[n])) return 0;
    }
    return n;
}

/* The longest quantization name at the start of `text`; its length in *n. */
static spn_quantization match_longest(const char *text, size_t *n) {
    spn_quantization best = SPN_QUANTIZATION_NONE;
    *n = 0;
    for (unsigned q = 1; q < SPN_QUANTIZATION_COUNT; q++) {
        size_t len = match_name(text, rows[q].name);
        if (len > *n) *n = len, best = (spn_quantization)q;
    }
    for (size_t i = 0; i < SPN_COUNT(aliases); i++) {
        size_t len = match_name(text, aliases[i].name);
        if (len > *n) *n = len, best = aliases[i].quantization;
    }
    return best;
}

spn_quantization spn_quantization_parse(const char *name) {
    if (name == NULL) return SPN_QUANTIZATION_NONE;
    if (match_name(name, "UD_") == 3) name += 3;
    size_t n;
    spn_quantization quantization = match_longest(name, &n);
    return name[n] == '\0' ? quantization : SPN_QUANTIZATION_NONE;
}

static bool is_word(char c) {
    c = spn_ascii_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The last quantization in text[0..end). */
static spn_quantization extract_in(const char *text, size_t end) {
    for (size_t i = end; i-- > 0;) {
        if (i > 0 && is_word(text[i - 1])) continue;
        size_t n;
        spn_quantization quantization = match_longest(text + i, &n);
        if (quantization != SPN_QUANTIZATION_NONE && i + n <= end && !is_word(text[i + n]))
            return quantization;
    }
    return SPN_QUANTIZATION_NONE;
}

spn_quantization spn_extract_quantization(const char *filename) {
    if (filename == NULL) return SPN_QUANTIZATION_NONE;
    size_t end = strlen(filename);
    while (end > 0) {
        size_t start = end;
        while (start > 0 && filename[start - 1] != '/' && filename[start - 1] != '\\') start--;
        spn_quantization quantization = extract_in(filename + start, end - start);
        if (quantization != SPN_QUANTIZATION_NONE) return quantization;
        end = start > 0 ? start - 1 : 0;
    }
    return SPN_QUANTIZATION_NONE;
}
