/* error.c - statuses, error texts, the version. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/base.h"

typedef struct status_row {
    const char *name;
    const char *message;
    unsigned flags;
} status_row;

#define STATUS_ROW(NAME, name, message, flags) {name, message, flags},
static const status_row status_rows[] = {SPN_STATUS_LIST(STATUS_ROW)};
#undef STATUS_ROW

static const status_row *row_of(spn_status status) {
    static const status_row unknown = {"unknown", "unknown status", 0};
    return (unsigned)status < SPN_STATUS_COUNT ? &status_rows[status] : &unknown;
}

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *spn_version(void) {
    return VERSION_TEXT(SPN_VERSION_MAJOR, SPN_VERSION_MINOR, SPN_VERSION_PATCH);
}

const char *spn_status_name(spn_status status) { return row_of(status)->name; }

const char *spn_status_message(spn_status status) { return row_of(status)->message; }

bool spn_status_is_retryable(spn_status status) {
    return (row_of(status)->flags & SPN_STATUS_RETRYABLE) != 0;
}

bool spn_status_is_authorization(spn_status status) {
    return (row_of(status)->flags & SPN_STATUS_AUTHORIZATION) != 0;
}

/* A text that was cut may end inside a UTF-8 character: drop that character's first bytes. */
static void drop_cut_character(char *text) {
    size_t len = strlen(text), start = len;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80) start--;
    if (start == 0) return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (len - (start - 1) < want) text[start - 1] = '\0';
}

SPN_PRINTF(4, 0)
static void fill(spn_error *err, spn_status status, int code, const char *fmt, va_list args) {
    if (err == NULL) return;
    /* The arguments may point into err->text itself, when a caller adds to a callee's sentence. */
    char text[sizeof err->text];
    int n = vsnprintf(text, sizeof text, fmt, args);
    if (n < 0) text[0] = '\0';
    if (n >= (int)sizeof text) drop_cut_character(text);
    err->status = status;
    err->code = code;
    err->item = 0;
    memcpy(err->text, text, sizeof text);
}

spn_status spn_fail(spn_error *err, spn_status status, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fill(err, status, 0, fmt, args);
    va_end(args);
    return status;
}

spn_status spn_fail_code(spn_error *err, spn_status status, int code, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fill(err, status, code, fmt, args);
    va_end(args);
    return status;
}
