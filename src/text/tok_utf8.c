/* tok_utf8.c - UTF-8 as Unicode defines it, and where a stream may be cut.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Well-formed sequences: The Unicode Standard, table 3-7.
 */
#include <string.h>

#include "text/tok_internal.h"

/* Bounds of the second byte: shortest forms only, no surrogates, nothing above U+10FFFF. */
static void second_bounds(unsigned char lead, unsigned char *low, unsigned char *high) {
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
}

static size_t announced(unsigned char lead) {
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* How many of the bytes at the start may begin one character: all of it when it is whole. */
static size_t valid_prefix(const char *bytes, size_t n) {
    unsigned char lead = (unsigned char)bytes[0], low, high;
    size_t len = announced(lead), i = 1;
    second_bounds(lead, &low, &high);
    for (; i < len && i < n; i++) {
        unsigned char byte = (unsigned char)bytes[i];
        if (byte < low || byte > high) break;
        low = 0x80;
        high = 0xBF;
    }
    return len == 0 ? 0 : i;
}

size_t spn_tok_utf8_decode(const char *bytes, size_t n, uint32_t *code) {
    unsigned char lead = (unsigned char)bytes[0];
    size_t len = announced(lead);
    if (len == 1) {
        *code = lead;
        return 1;
    }
    if (len == 0 || valid_prefix(bytes, n) != len) return 0;
    uint32_t value = lead & (0x7Fu >> len);
    for (size_t i = 1; i < len; i++) value = value << 6 | ((unsigned char)bytes[i] & 0x3Fu);
    *code = value;
    return len;
}

size_t spn_tok_utf8_encode(uint32_t code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (char)(code | (0xF00u >> len & 0xFF));
    return len;
}

bool spn_tok_utf8_valid(const char *bytes, size_t n) {
    for (size_t i = 0; i < n;) {
        uint64_t word;
        if (n - i >= sizeof word) {
            memcpy(&word, bytes + i, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof word;
                continue;
            }
        }
        size_t len = announced((unsigned char)bytes[i]);
        if (len == 0 || valid_prefix(bytes + i, n - i) != len) return false;
        i += len;
    }
    return true;
}

size_t spn_utf8_whole(const char *bytes, size_t n_bytes) {
    for (size_t back = 1; back <= 3 && back <= n_bytes; back++) {
        const char *tail = bytes + n_bytes - back;
        if (((unsigned char)*tail & 0xC0) == 0x80) continue;
        bool open = announced((unsigned char)*tail) > back && valid_prefix(tail, back) == back;
        return open ? n_bytes - back : n_bytes;
    }
    return n_bytes;
}
