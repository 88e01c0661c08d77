/* json.c - the commands' JSON output. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

int spn_cli_print_json(struct json_t *value, bool indented) {
    size_t flags = JSON_REAL_PRECISION(9) | (indented ? JSON_INDENT(2) : JSON_COMPACT);
    if (value == NULL) return spn_cli_fail("cannot print JSON: no memory");
    bool ok = json_dumpf(value, stdout, flags) == 0 && fputc('\n', stdout) != EOF;
    json_decref(value);
    return ok ? SPN_EXIT_OK : spn_cli_fail("cannot write the output");
}

/* The length of the character at `b`, by its lead byte; whether it is one, json_stringn decides. */
static size_t lead_length(unsigned char b) {
    if (b < 0x80) return 1;
    return b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : 2;
}

struct json_t *spn_cli_json_text(const char *bytes, size_t n_bytes) {
    json_t *whole = json_stringn(bytes, n_bytes);
    if (whole != NULL) return whole;
    char *clean = malloc(3 * n_bytes + 1);
    size_t n = 0;
    for (size_t i = 0; clean != NULL && i < n_bytes;) {
        size_t length = lead_length((unsigned char)bytes[i]);
        json_t *one = i + length <= n_bytes ? json_stringn(bytes + i, length) : NULL;
        if (one == NULL) length = 1;
        memcpy(clean + n, one != NULL ? bytes + i : "\xef\xbf\xbd", one != NULL ? length : 3);
        n += one != NULL ? length : 3;
        i += length;
        json_decref(one);
    }
    whole = clean != NULL ? json_stringn(clean, n) : NULL;
    free(clean);
    return whole;
}
