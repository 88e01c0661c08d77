/* template_unicode.c - characters as Python's str sees them. SPDX-License-Identifier: Apache-2.0
 *
 * utf8proc knows categories and the case mappings of one character to one; the mappings to several
 * (Unicode's SpecialCasing.txt, unconditional ones) and the final sigma are added here.
 */
#include <utf8proc.h>

#include "text/template_impl.h"

uint32_t spn_tm_char_at(const tm_string *s, size_t at, size_t *n_bytes) {
    const unsigned char *data = (const unsigned char *)s->data + at;
    utf8proc_int32_t ch;
    utf8proc_ssize_t n = utf8proc_iterate(data, (utf8proc_ssize_t)(s->len - at), &ch);
    if (n <= 0 || ch < 0) {
        *n_bytes = 1;
        return data[0];
    }
    *n_bytes = (size_t)n;
    return (uint32_t)ch;
}

size_t spn_tm_encode(uint32_t ch, char out[4]) {
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)ch, (utf8proc_uint8_t *)out);
}

size_t spn_tm_offset(const tm_string *s, size_t i_char) {
    if (s->n_chars == s->len || i_char == 0) return spn_min_size(i_char, s->len);
    size_t at = 0;
    while (at < s->len && i_char-- > 0) {
        at++;
        while (at < s->len && ((unsigned char)s->data[at] & 0xC0) == 0x80) at++;
    }
    return at;
}

static utf8proc_category_t category(uint32_t ch) { return utf8proc_category((utf8proc_int32_t)ch); }

bool spn_tm_is_space(uint32_t ch) {
    if (ch < 0x80) return ch == ' ' || (ch >= 9 && ch <= 13) || (ch >= 28 && ch <= 31);
    return ch == 0x85 || ch == 0x2028 || ch == 0x2029 || category(ch) == UTF8PROC_CATEGORY_ZS;
}

bool spn_tm_is_printable(uint32_t ch) {
    if (ch < 0x80) return ch >= ' ' && ch < 0x7F;
    switch (category(ch)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    default:
        return true;
    }
}

bool spn_tm_is_alpha(uint32_t ch) {
    utf8proc_category_t cat = category(ch);
    return cat >= UTF8PROC_CATEGORY_LU && cat <= UTF8PROC_CATEGORY_LO;
}

/* Decimal digits, and the raised, lowered and enclosed ones. */
bool spn_tm_is_digit(uint32_t ch) {
    return category(ch) == UTF8PROC_CATEGORY_ND || ch == 0xB2 || ch == 0xB3 || ch == 0xB9 ||
           ch == 0x2070 || (ch >= 0x2074 && ch <= 0x2079) || (ch >= 0x2080 && ch <= 0x2089) ||
           (ch >= 0x2460 && ch <= 0x2468);
}

bool spn_tm_is_numeric(uint32_t ch) {
    utf8proc_category_t cat = category(ch);
    return cat >= UTF8PROC_CATEGORY_ND && cat <= UTF8PROC_CATEGORY_NO;
}

bool spn_tm_is_upper(uint32_t ch) {
    return category(ch) == UTF8PROC_CATEGORY_LU || (ch >= 0x2160 && ch <= 0x216F) ||
           (ch >= 0x24B6 && ch <= 0x24CF);
}

bool spn_tm_is_lower(uint32_t ch) {
    return category(ch) == UTF8PROC_CATEGORY_LL || ch == 0xAA || ch == 0xBA ||
           (ch >= 0x2B0 && ch <= 0x2B8) || (ch >= 0x2170 && ch <= 0x217F) ||
           (ch >= 0x24D0 && ch <= 0x24E9);
}

static bool is_cased(uint32_t ch) {
    return spn_tm_is_upper(ch) || spn_tm_is_lower(ch) || category(ch) == UTF8PROC_CATEGORY_LT;
}

/* ---- case ---- */

typedef struct special_case {
    uint16_t ch;
    uint16_t upper[3], title[3];
} special_case;

// clang-format off
static const special_case special_cases[] = {
    {0x00DF, {0x0053, 0x0053}, {0x0053, 0x0073}},
    {0x0149, {0x02BC, 0x004E}, {0x02BC, 0x004E}},
    {0x01F0, {0x004A, 0x030C}, {0x004A, 0x030C}},
    {0x0390, {0x0399, 0x0308, 0x0301}, {0x0399, 0x0308, 0x0301}},
    {0x03B0, {0x03A5, 0x0308, 0x0301}, {0x03A5, 0x0308, 0x0301}},
    {0x0587, {0x0535, 0x0552}, {0x0535, 0x0582}},
    {0x1E96, {0x0048, 0x0331}, {0x0048, 0x0331}},
    {0x1E97, {0x0054, 0x0308}, {0x0054, 0x0308}},
    {0x1E98, {0x0057, 0x030A}, {0x0057, 0x030A}},
    {0x1E99, {0x0059, 0x030A}, {0x0059, 0x030A}},
    {0x1E9A, {0x0041, 0x02BE}, {0x0041, 0x02BE}},
    {0x1F50, {0x03A5, 0x0313}, {0x03A5, 0x0313}},
    {0x1F52, {0x03A5, 0x0313, 0x0300}, {0x03A5, 0x0313, 0x0300}},
    {0x1F54, {0x03A5, 0x0313, 0x0301}, {0x03A5, 0x0313, 0x0301}},
    {0x1F56, {0x03A5, 0x0313, 0x0342}, {0x03A5, 0x0313, 0x0342}},
    {0x1F80, {0x1F08, 0x0399}, {0x1F88}},
    {0x1F81, {0x1F09, 0x0399}, {0x1F89}},
    {0x1F82, {0x1F0A, 0x0399}, {0x1F8A}},
    {0x1F83, {0x1F0B, 0x0399}, {0x1F8B}},
    {0x1F84, {0x1F0C, 0x0399}, {0x1F8C}},
    {0x1F85, {0x1F0D, 0x0399}, {0x1F8D}},
    {0x1F86, {0x1F0E, 0x0399}, {0x1F8E}},
    {0x1F87, {0x1F0F, 0x0399}, {0x1F8F}},
    {0x1F88, {0x1F08, 0x0399}, {0x1F88}},
    {0x1F89, {0x1F09, 0x0399}, {0x1F89}},
    {0x1F8A, {0x1F0A, 0x0399}, {0x1F8A}},
    {0x1F8B, {0x1F0B, 0x0399}, {0x1F8B}},
    {0x1F8C, {0x1F0C, 0x0399}, {0x1F8C}},
    {0x1F8D, {0x1F0D, 0x0399}, {0x1F8D}},
    {0x1F8E, {0x1F0E, 0x0399}, {0x1F8E}},
    {0x1F8F, {0x1F0F, 0x0399}, {0x1F8F}},
    {0x1F90, {0x1F28, 0x0399}, {0x1F98}},
    {0x1F91, {0x1F29, 0x0399}, {0x1F99}},
    {0x1F92, {0x1F2A, 0x0399}, {0x1F9A}},
    {0x1F93, {0x1F2B, 0x0399}, {0x1F9B}},
    {0x1F94, {0x1F2C, 0x0399}, {0x1F9C}},
    {0x1F95, {0x1F2D, 0x0399}, {0x1F9D}},
    {0x1F96, {0x1F2E, 0x0399}, {0x1F9E}},
    {0x1F97, {0x1F2F, 0x0399}, {0x1F9F}},
    {0x1F98, {0x1F28, 0x0399}, {0x1F98}},
    {0x1F99, {0x1F29, 0x0399}, {0x1F99}},
    {0x1F9A, {0x1F2A, 0x0399}, {0x1F9A}},
    {0x1F9B, {0x1F2B, 0x0399}, {0x1F9B}},
    {0x1F9C, {0x1F2C, 0x0399}, {0x1F9C}},
    {0x1F9D, {0x1F2D, 0x0399}, {0x1F9D}},
    {0x1F9E, {0x1F2E, 0x0399}, {0x1F9E}},
    {0x1F9F, {0x1F2F, 0x0399}, {0x1F9F}},
    {0x1FA0, {0x1F68, 0x0399}, {0x1FA8}},
    {0x1FA1, {0x1F69, 0x0399}, {0x1FA9}},
    {0x1FA2, {0x1F6A, 0x0399}, {0x1FAA}},
    {0x1FA3, {0x1F6B, 0x0399}, {0x1FAB}},
    {0x1FA4, {0x1F6C, 0x0399}, {0x1FAC}},
    {0x1FA5, {0x1F6D, 0x0399}, {0x1FAD}},
    {0x1FA6, {0x1F6E, 0x0399}, {0x1FAE}},
    {0x1FA7, {0x1F6F, 0x0399}, {0x1FAF}},
    {0x1FA8, {0x1F68, 0x0399}, {0x1FA8}},
    {0x1FA9, {0x1F69, 0x0399}, {0x1FA9}},
    {0x1FAA, {0x1F6A, 0x0399}, {0x1FAA}},
    {0x1FAB, {0x1F6B, 0x0399}, {0x1FAB}},
    {0x1FAC, {0x1F6C, 0x0399}, {0x1FAC}},
    {0x1FAD, {0x1F6D, 0x0399}, {0x1FAD}},
    {0x1FAE, {0x1F6E, 0x0399}, {0x1FAE}},
    {0x1FAF, {0x1F6F, 0x0399}, {0x1FAF}},
    {0x1FB2, {0x1FBA, 0x0399}, {0x1FBA, 0x0345}},
    {0x1FB3, {0x0391, 0x0399}, {0x1FBC}},
    {0x1FB4, {0x0386, 0x0399}, {0x0386, 0x0345}},
    {0x1FB6, {0x0391, 0x0342}, {0x0391, 0x0342}},
    {0x1FB7, {0x0391, 0x0342, 0x0399}, {0x0391, 0x0342, 0x0345}},
    {0x1FBC, {0x0391, 0x0399}, {0x1FBC}},
    {0x1FC2, {0x1FCA, 0x0399}, {0x1FCA, 0x0345}},
    {0x1FC3, {0x0397, 0x0399}, {0x1FCC}},
    {0x1FC4, {0x0389, 0x0399}, {0x0389, 0x0345}},
    {0x1FC6, {0x0397, 0x0342}, {0x0397, 0x0342}},
    {0x1FC7, {0x0397, 0x0342, 0x0399}, {0x0397, 0x0342, 0x0345}},
    {0x1FCC, {0x0397, 0x0399}, {0x1FCC}},
    {0x1FD2, {0x0399, 0x0308, 0x0300}, {0x0399, 0x0308, 0x0300}},
    {0x1FD3, {0x0399, 0x0308, 0x0301}, {0x0399, 0x0308, 0x0301}},
    {0x1FD6, {0x0399, 0x0342}, {0x0399, 0x0342}},
    {0x1FD7, {0x0399, 0x0308, 0x0342}, {0x0399, 0x0308, 0x0342}},
    {0x1FE2, {0x03A5, 0x0308, 0x0300}, {0x03A5, 0x0308, 0x0300}},
    {0x1FE3, {0x03A5, 0x0308, 0x0301}, {0x03A5, 0x0308, 0x0301}},
    {0x1FE4, {0x03A1, 0x0313}, {0x03A1, 0x0313}},
    {0x1FE6, {0x03A5, 0x0342}, {0x03A5, 0x0342}},
    {0x1FE7, {0x03A5, 0x0308, 0x0342}, {0x03A5, 0x0308, 0x0342}},
    {0x1FF2, {0x1FFA, 0x0399}, {0x1FFA, 0x0345}},
    {0x1FF3, {0x03A9, 0x0399}, {0x1FFC}},
    {0x1FF4, {0x038F, 0x0399}, {0x038F, 0x0345}},
    {0x1FF6, {0x03A9, 0x0342}, {0x03A9, 0x0342}},
    {0x1FF7, {0x03A9, 0x0342, 0x0399}, {0x03A9, 0x0342, 0x0345}},
    {0x1FFC, {0x03A9, 0x0399}, {0x1FFC}},
    {0xFB00, {0x0046, 0x0046}, {0x0046, 0x0066}},
    {0xFB01, {0x0046, 0x0049}, {0x0046, 0x0069}},
    {0xFB02, {0x0046, 0x004C}, {0x0046, 0x006C}},
    {0xFB03, {0x0046, 0x0046, 0x0049}, {0x0046, 0x0066, 0x0069}},
    {0xFB04, {0x0046, 0x0046, 0x004C}, {0x0046, 0x0066, 0x006C}},
    {0xFB05, {0x0053, 0x0054}, {0x0053, 0x0074}},
    {0xFB06, {0x0053, 0x0054}, {0x0053, 0x0074}},
    {0xFB13, {0x0544, 0x0546}, {0x0544, 0x0576}},
    {0xFB14, {0x0544, 0x0535}, {0x0544, 0x0565}},
    {0xFB15, {0x0544, 0x053B}, {0x0544, 0x056B}},
    {0xFB16, {0x054E, 0x0546}, {0x054E, 0x0576}},
    {0xFB17, {0x0544, 0x053D}, {0x0544, 0x056D}},
};
// clang-format on

static const special_case *special_of(uint32_t ch) {
    size_t low = 0, high = SPN_COUNT(special_cases);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (special_cases[middle].ch == ch) return &special_cases[middle];
        if (special_cases[middle].ch < ch)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static spn_status put_char(tm_context *c, spn_buf *buf, uint32_t ch) {
    char bytes[4];
    return spn_tm_put(c, buf, bytes, spn_tm_encode(ch, bytes));
}

static spn_status put_special(tm_context *c, spn_buf *buf, const uint16_t chars[3]) {
    for (size_t i = 0; i < 3 && chars[i] != 0; i++) SPN_TRY(put_char(c, buf, chars[i]));
    return SPN_STATUS_OK;
}

/* Marks and signs that do not count when a sigma looks for its neighbours. */
static bool is_case_ignorable(uint32_t ch) {
    switch (category(ch)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return ch == '\'' || ch == '.' || ch == ':' || ch == 0xB7 || ch == 0x2018 || ch == 0x2019 ||
               ch == 0x2024 || ch == 0x2027;
    }
}

#define CAPITAL_SIGMA 0x3A3
#define FINAL_SIGMA 0x3C2
#define DOTTED_I 0x130

/* A sigma is final when a cased character stands before it and none behind it. */
static bool is_final_sigma(const tm_string *s, size_t at) {
    bool before = false;
    size_t n, back = at;
    while (back > 0) {
        do back--;
        while (back > 0 && ((unsigned char)s->data[back] & 0xC0) == 0x80);
        uint32_t ch = spn_tm_char_at(s, back, &n);
        if (is_case_ignorable(ch)) continue;
        before = is_cased(ch);
        break;
    }
    if (!before) return false;
    for (size_t ahead = at + 2; ahead < s->len; ahead += n) {
        uint32_t ch = spn_tm_char_at(s, ahead, &n);
        if (!is_case_ignorable(ch)) return !is_cased(ch);
    }
    return true;
}

static spn_status put_lower(tm_context *c, spn_buf *buf, const tm_string *s, size_t at,
                            uint32_t ch) {
    if (ch == CAPITAL_SIGMA && is_final_sigma(s, at)) return put_char(c, buf, FINAL_SIGMA);
    if (ch == DOTTED_I) return spn_tm_put_text(c, buf, "i\xCC\x87");
    return put_char(c, buf, (uint32_t)utf8proc_tolower((utf8proc_int32_t)ch));
}

static spn_status put_upper(tm_context *c, spn_buf *buf, uint32_t ch) {
    const special_case *special = special_of(ch);
    if (special != NULL) return put_special(c, buf, special->upper);
    return put_char(c, buf, (uint32_t)utf8proc_toupper((utf8proc_int32_t)ch));
}

static spn_status put_title(tm_context *c, spn_buf *buf, uint32_t ch) {
    const special_case *special = special_of(ch);
    if (special != NULL) return put_special(c, buf, special->title);
    return put_char(c, buf, (uint32_t)utf8proc_totitle((utf8proc_int32_t)ch));
}

spn_status spn_tm_put_cased(tm_context *c, spn_buf *buf, const tm_string *s, tm_casing casing) {
    bool in_word = false;
    for (size_t at = 0, n; at < s->len; at += n) {
        uint32_t ch = spn_tm_char_at(s, at, &n);
        tm_casing now = casing;
        if (n == 1 && ch >= 0x80) { /* an odd byte */
            SPN_TRY(spn_tm_put(c, buf, s->data + at, 1));
            continue;
        }
        if (casing == TM_TITLE) now = in_word ? TM_LOWER : TM_TITLE;
        if (casing == TM_CAPITALIZE) now = at > 0 ? TM_LOWER : TM_TITLE;
        if (casing == TM_SWAPCASE) now = spn_tm_is_upper(ch) ? TM_LOWER : TM_UPPER;
        if (now == TM_LOWER)
            SPN_TRY(put_lower(c, buf, s, at, ch));
        else
            SPN_TRY(now == TM_UPPER ? put_upper(c, buf, ch) : put_title(c, buf, ch));
        in_word = is_cased(ch);
    }
    return SPN_STATUS_OK;
}

spn_status spn_tm_cased(tm_context *c, const tm_string *s, tm_casing casing, tm_value *out) {
    spn_buf buf = SPN_BUF(0);
    return spn_tm_finish(c, &buf, spn_tm_put_cased(c, &buf, s, casing), out);
}
