/* utf8.h - which bytes form a character. SPDX-License-Identifier: Apache-2.0 */
#ifndef SPN_UTF8_H
#define SPN_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The length of the valid UTF-8 character at the beginning of `bytes`; 0 when there is none
 * (overlong forms, surrogates and numbers above U+10FFFF are none; so is a cut one). */
static inline size_t spn_utf8_char_len(const char *bytes, size_t n_bytes) {
    const uint8_t *b = (const uint8_t *)bytes;
    size_t length = 0;
    if (n_bytes == 0) return 0;
    if (b[0] < 0x80) return 1;
    if (b[0] >= 0xC2 && b[0] <= 0xDF) length = 2;
    if (b[0] >= 0xE0 && b[0] <= 0xEF) length = 3;
    if (b[0] >= 0xF0 && b[0] <= 0xF4) length = 4;
    if (length == 0 || n_bytes < length) return 0;
    /* The second byte's range excludes what the first one alone lets through. */
    uint8_t low = b[0] == 0xE0 ? 0xA0 : b[0] == 0xF0 ? 0x90 : 0x80;
    uint8_t high = b[0] == 0xED ? 0x9F : b[0] == 0xF4 ? 0x8F : 0xBF;
    if (b[1] < low || b[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((b[i] & 0xC0) != 0x80) return 0;
    return length;
}

#endif
