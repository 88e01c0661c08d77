/* template_lex.c - a template's text to tokens. SPDX-License-Identifier: Apache-2.0
 *
 * Works in two modes, as Jinja's own lexer: outside of tags everything up to the next "{{", "{%"
 * or "{#" is data; inside, tokens are read until the tag's end. White space control happens here:
 * "-" strips towards its side, a block or comment that is alone on its line loses its indentation
 * (lstrip_blocks) and the line break behind it (trim_blocks) unless "+" says otherwise.
 */
#include <stdlib.h>

#include "text/template_impl.h"

typedef struct lexer {
    spn_arena *arena;
    const char *source;
    size_t len, pos;
    uint32_t line;
    bool line_starting; /* what was read last ended a line, or nothing was read yet */
    tm_tokens *tokens;
    char open[200]; /* brackets that wait for their end */
    size_t n_open;
    spn_error *err;
} lexer;

static spn_status add_token(lexer *lx, tm_token token) {
    tm_tokens *tokens = lx->tokens;
    if (tokens->n == tokens->cap) {
        size_t cap = tokens->cap ? tokens->cap * 2 : 256;
        tm_token *items = spn_realloc_array(tokens->items, cap, sizeof *items);
        if (items == NULL) return SPN_NO_MEMORY(lx->err, "a chat template's tokens");
        tokens->items = items;
        tokens->cap = cap;
    }
    tokens->items[tokens->n++] = token;
    return SPN_STATUS_OK;
}

static spn_status add_text(lexer *lx, tm_token_kind kind, const char *data, size_t len) {
    tm_string *text = spn_tm_arena_string(lx->arena, data, len);
    if (text == NULL) return SPN_NO_MEMORY(lx->err, "a chat template's texts");
    return add_token(lx, (tm_token){.kind = (uint8_t)kind, .line = lx->line, .text = text});
}

static spn_status add_mark(lexer *lx, tm_token_kind kind) {
    return add_token(lx, (tm_token){.kind = (uint8_t)kind, .line = lx->line});
}

static bool at_text(const lexer *lx, size_t pos, const char *text) {
    size_t n = strlen(text);
    return lx->len - pos >= n && memcmp(lx->source + pos, text, n) == 0;
}

/* Bytes of white space at `pos`: `\s` also knows the Unicode ones. */
static size_t space_at(const lexer *lx, size_t pos) {
    tm_string rest = {.data = lx->source, .len = lx->len};
    size_t n;
    if (pos >= lx->len) return 0;
    return spn_tm_is_space(spn_tm_char_at(&rest, pos, &n)) ? n : 0;
}

static size_t skip_space(const lexer *lx, size_t pos) {
    for (size_t n; (n = space_at(lx, pos)) > 0;) pos += n;
    return pos;
}

/* Moves on and keeps count of lines. */
static void advance(lexer *lx, size_t to) {
    for (; lx->pos < to; lx->pos++) lx->line += lx->source[lx->pos] == '\n';
    lx->line_starting = to > 0 && lx->source[to - 1] == '\n';
}

/* The end of `data` [len] after rstrip(). */
static size_t strip_end(const char *data, size_t len) {
    tm_string text = {.data = data, .len = len};
    while (len > 0) {
        size_t start = len - 1, n;
        while (start > 0 && ((unsigned char)data[start] & 0xC0) == 0x80) start--;
        if (!spn_tm_is_space(spn_tm_char_at(&text, start, &n))) break;
        len = start;
    }
    return len;
}

/* The end of `data` [len] without the white space behind its last line break. */
static size_t strip_indent(const lexer *lx, const char *data, size_t len) {
    size_t start = len;
    while (start > 0 && data[start - 1] != '\n') start--;
    if (start == 0 && !lx->line_starting) return len;
    return strip_end(data + start, len - start) == 0 ? start : len;
}

/* Data up to `end`, which a tag with `sign` follows. */
static spn_status lex_data(lexer *lx, size_t end, char sign, bool is_print) {
    const char *data = lx->source + lx->pos;
    size_t len = end - lx->pos;
    if (sign == '-')
        len = strip_end(data, len);
    else if (sign != '+' && !is_print)
        len = strip_indent(lx, data, len);
    return len > 0 ? add_text(lx, TM_T_DATA, data, len) : SPN_STATUS_OK;
}

static char sign_at(const lexer *lx, size_t pos) {
    char c = pos < lx->len ? lx->source[pos] : '\0';
    return c == '-' || c == '+' ? c : '\0';
}

/* Whether a tag ends at `pos`: "+%}", "-%}" with the space behind it, or "%}" with the line break
 * behind it. `mark` is its two characters. */
static bool tag_end(const lexer *lx, size_t pos, const char *mark, size_t *after) {
    char sign = sign_at(lx, pos);
    bool is_print = mark[0] == '}';
    if (sign == '+' && is_print) return false;
    if (!at_text(lx, pos + (sign != '\0'), mark)) return false;
    pos += 2 + (sign != '\0');
    if (sign == '-')
        pos = skip_space(lx, pos);
    else if (sign == '\0' && !is_print && pos < lx->len && lx->source[pos] == '\n')
        pos++;
    *after = pos;
    return true;
}

static bool is_name_char(const lexer *lx, size_t pos) {
    unsigned char c = pos < lx->len ? (unsigned char)lx->source[pos] : 0;
    if (c >= 0x80) return space_at(lx, pos) == 0;
    return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* "{%- raw -%}" at `pos`: *after is where its text begins. */
static bool raw_begin(const lexer *lx, size_t pos, size_t *after) {
    pos += 2;
    if (sign_at(lx, pos)) pos++;
    pos = skip_space(lx, pos);
    if (!at_text(lx, pos, "raw")) return false;
    pos = skip_space(lx, pos + 3);
    if (at_text(lx, pos, "%}")) {
        *after = pos + 2;
        return true;
    }
    if (!at_text(lx, pos, "-%}")) return false;
    *after = skip_space(lx, pos + 3);
    return true;
}

static spn_status lex_raw(lexer *lx) {
    for (size_t pos = lx->pos; pos + 2 <= lx->len; pos++) {
        if (!at_text(lx, pos, "{%")) continue;
        char sign = sign_at(lx, pos + 2);
        size_t word = skip_space(lx, pos + 2 + (sign != '\0')), after;
        if (!at_text(lx, word, "endraw")) continue;
        if (!tag_end(lx, skip_space(lx, word + 6), "%}", &after)) continue;
        SPN_TRY(lex_data(lx, pos, sign, false));
        advance(lx, after);
        return SPN_STATUS_OK;
    }
    return SPN_TM_SYNTAX(lx->err, lx->line, "the end of the raw block is missing");
}

static spn_status lex_comment(lexer *lx) {
    size_t pos = lx->pos + 2, after;
    if (sign_at(lx, pos)) pos++;
    for (; pos + 2 <= lx->len; pos++) {
        if (!tag_end(lx, pos, "#}", &after)) continue;
        advance(lx, after);
        return SPN_STATUS_OK;
    }
    return SPN_TM_SYNTAX(lx->err, lx->line, "the end of the comment is missing");
}

/* ---- inside a tag ---- */

static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') return (c | 0x20) - 'a' + 10;
    return 99;
}

/* The end of digits of `base`, which single underscores may separate. */
static size_t digits_end(const lexer *lx, size_t pos, int base) {
    size_t end = pos;
    while (pos < lx->len) {
        size_t digit = lx->source[pos] == '_' && pos > 0 ? pos + 1 : pos;
        if (digit >= lx->len || digit_of(lx->source[digit]) >= base) break;
        end = pos = digit + 1;
    }
    return end;
}

static spn_status add_int(lexer *lx, size_t start, size_t end, int base) {
    int64_t value = 0;
    for (size_t i = start; i < end; i++) {
        if (lx->source[i] == '_') continue;
        int digit = digit_of(lx->source[i]);
        if (value > (INT64_MAX - digit) / base)
            return SPN_TM_SYNTAX(lx->err, lx->line, "an integer is larger than %lld",
                                 (long long)INT64_MAX);
        value = value * base + digit;
    }
    advance(lx, end);
    return add_token(lx, (tm_token){.kind = TM_T_INT, .line = lx->line, .i = value});
}

static spn_status add_float(lexer *lx, size_t end) {
    char text[64];
    size_t n = 0;
    for (size_t i = lx->pos; i < end && n < sizeof text; i++)
        if (lx->source[i] != '_') text[n++] = lx->source[i];
    double value;
    if (n == sizeof text || !spn_tm_parse_float(text, n, &value))
        return SPN_TM_SYNTAX(lx->err, lx->line, "a number is too long");
    advance(lx, end);
    return add_token(lx, (tm_token){.kind = TM_T_FLOAT, .line = lx->line, .f = value});
}

/* Digits with a fraction, an exponent or both; 0 when there is neither. */
static size_t float_end(const lexer *lx, size_t whole_end) {
    size_t end = whole_end, at = whole_end;
    if (lx->pos > 0 && lx->source[lx->pos - 1] == '.') return 0;
    if (at + 1 < lx->len && lx->source[at] == '.' && digit_of(lx->source[at + 1]) < 10)
        end = at = digits_end(lx, at + 1, 10);
    if (at < lx->len && (lx->source[at] | 0x20) == 'e') {
        at += 1 + (sign_at(lx, at + 1) != '\0');
        if (at < lx->len && digit_of(lx->source[at]) < 10) end = digits_end(lx, at, 10);
    }
    return end > whole_end ? end : 0;
}

static spn_status lex_number(lexer *lx) {
    static const struct {
        char letter;
        int base;
    } prefixes[] = {{'b', 2}, {'o', 8}, {'x', 16}};
    size_t start = lx->pos, end = digits_end(lx, start, 10), end_float = float_end(lx, end);
    if (end_float > 0) return add_float(lx, end_float);
    for (size_t i = 0; lx->source[start] == '0' && i < SPN_COUNT(prefixes); i++) {
        if (start + 1 >= lx->len || (lx->source[start + 1] | 0x20) != prefixes[i].letter) continue;
        end = digits_end(lx, start + 2, prefixes[i].base);
        if (end > start + 2) return add_int(lx, start + 2, end, prefixes[i].base);
    }
    for (size_t i = start + 1; lx->source[start] == '0' && i < end; i++)
        if (lx->source[i] != '0' && lx->source[i] != '_')
            return SPN_TM_SYNTAX(lx->err, lx->line, "a number starts with 0");
    return add_int(lx, start, end, 10);
}

static spn_status put_char(lexer *lx, spn_buf *buf, uint32_t ch) {
    char bytes[4];
    if (ch > 0x10FFFF || (ch >= 0xD800 && ch <= 0xDFFF))
        return SPN_TM_SYNTAX(lx->err, lx->line, "\\u%04x is no character", (unsigned)ch);
    return spn_buf_append(buf, bytes, spn_tm_encode(ch, bytes))
               ? SPN_STATUS_OK
               : SPN_NO_MEMORY(lx->err, "a chat template's text");
}

/* Up to `max` digits at `pos`: \x41, \u0041, \U00000041 need all of them, \101 does not. */
static spn_status put_number(lexer *lx, spn_buf *buf, size_t *pos, int base, int max, bool all) {
    uint32_t ch = 0;
    int n = 0;
    for (; n < max && *pos < lx->len && digit_of(lx->source[*pos]) < base; n++)
        ch = ch * (uint32_t)base + (uint32_t)digit_of(lx->source[(*pos)++]);
    if (all && n < max) return SPN_TM_SYNTAX(lx->err, lx->line, "an escape with \\ is cut short");
    return put_char(lx, buf, ch);
}

/* The escape behind a backslash; *pos is at the character after it. What Python does not know
 * keeps its backslash. */
static spn_status put_escape(lexer *lx, spn_buf *buf, size_t *pos) {
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    char c = lx->source[(*pos)++];
    const char *known = c != '\0' ? strchr(from, c) : NULL;
    if (c == '\n') return SPN_STATUS_OK;
    if (known != NULL) return put_char(lx, buf, (unsigned char)to[known - from]);
    if (c == 'x') return put_number(lx, buf, pos, 16, 2, true);
    if (c == 'u') return put_number(lx, buf, pos, 16, 4, true);
    if (c == 'U') return put_number(lx, buf, pos, 16, 8, true);
    if (c == 'N') return SPN_TM_SYNTAX(lx->err, lx->line, "\\N{...} is not supported");
    if (c >= '0' && c <= '7') {
        --*pos;
        return put_number(lx, buf, pos, 8, 3, false);
    }
    SPN_TRY(put_char(lx, buf, '\\'));
    --*pos; /* the character itself comes next, as it is */
    return SPN_STATUS_OK;
}

static spn_status unescape(lexer *lx, size_t pos, size_t end, spn_buf *buf) {
    while (pos < end) {
        if (lx->source[pos] != '\\') {
            if (!spn_buf_append_char(buf, lx->source[pos++]))
                return SPN_NO_MEMORY(lx->err, "a chat template's text");
            continue;
        }
        pos++;
        SPN_TRY(put_escape(lx, buf, &pos));
    }
    return SPN_STATUS_OK;
}

static spn_status lex_string(lexer *lx) {
    char quote = lx->source[lx->pos];
    size_t end = lx->pos + 1;
    while (end < lx->len && lx->source[end] != quote) end += lx->source[end] == '\\' ? 2 : 1;
    if (end >= lx->len)
        return SPN_TM_SYNTAX(lx->err, lx->line, "the end of a quoted text is missing");
    spn_buf buf = SPN_BUF(SPN_TM_MAX_SOURCE * 2);
    spn_status status = unescape(lx, lx->pos + 1, end, &buf);
    if (status == SPN_STATUS_OK)
        status = add_text(lx, TM_T_STRING, buf.len > 0 ? buf.data : "", buf.len);
    spn_buf_free(&buf);
    advance(lx, end + 1);
    return status;
}

static spn_status lex_name(lexer *lx) {
    size_t end = lx->pos;
    while (is_name_char(lx, end)) end++;
    spn_status status = add_text(lx, TM_T_NAME, lx->source + lx->pos, end - lx->pos);
    advance(lx, end);
    return status;
}

static spn_status balance(lexer *lx, char c) {
    static const char opening[] = "([{", closing[] = ")]}";
    const char *open = strchr(opening, c), *close = strchr(closing, c);
    if (open != NULL) {
        if (lx->n_open == sizeof lx->open)
            return SPN_TM_SYNTAX(lx->err, lx->line, "brackets are nested too deep");
        lx->open[lx->n_open++] = closing[open - opening];
    } else if (close != NULL) {
        if (lx->n_open == 0) return SPN_TM_SYNTAX(lx->err, lx->line, "unexpected '%c'", c);
        char expected = lx->open[--lx->n_open];
        if (expected != c)
            return SPN_TM_SYNTAX(lx->err, lx->line, "unexpected '%c', expected '%c'", c, expected);
    }
    return SPN_STATUS_OK;
}

static spn_status lex_operator(lexer *lx) {
    static const char *const operators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                            "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                            ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (size_t i = 0; i < SPN_COUNT(operators); i++) {
        if (!at_text(lx, lx->pos, operators[i])) continue;
        size_t n = strlen(operators[i]);
        if (n == 1) SPN_TRY(balance(lx, operators[i][0]));
        SPN_TRY(add_text(lx, TM_T_OPERATOR, operators[i], n));
        advance(lx, lx->pos + n);
        return SPN_STATUS_OK;
    }
    return SPN_TM_SYNTAX(lx->err, lx->line, "unexpected character '%c'", lx->source[lx->pos]);
}

static spn_status lex_token(lexer *lx) {
    char c = lx->source[lx->pos];
    if (c >= '0' && c <= '9') return lex_number(lx);
    if (c == '"' || c == '\'') return lex_string(lx);
    if (is_name_char(lx, lx->pos)) return lex_name(lx);
    return lex_operator(lx);
}

/* From behind "{{-" or "{%-" to behind the tag's end. */
static spn_status lex_tag(lexer *lx, const char *mark, tm_token_kind end_kind) {
    uint32_t begin_line = lx->line;
    lx->n_open = 0;
    for (;;) {
        size_t after;
        if (lx->n_open == 0 && tag_end(lx, lx->pos, mark, &after)) {
            SPN_TRY(add_mark(lx, end_kind));
            advance(lx, after);
            return SPN_STATUS_OK;
        }
        size_t space = skip_space(lx, lx->pos);
        if (space > lx->pos) {
            advance(lx, space);
            continue;
        }
        if (lx->pos >= lx->len)
            return SPN_TM_SYNTAX(lx->err, begin_line, "the tag that begins here has no end");
        SPN_TRY(lex_token(lx));
    }
}

/* ---- all of it ---- */

static size_t find_tag(const lexer *lx, size_t pos) {
    for (; pos + 2 <= lx->len; pos++)
        if (lx->source[pos] == '{' && strchr("{%#", lx->source[pos + 1]) && lx->source[pos + 1])
            return pos;
    return lx->len;
}

static spn_status lex_next(lexer *lx) {
    size_t begin = find_tag(lx, lx->pos), after;
    if (begin == lx->len) {
        if (begin > lx->pos)
            SPN_TRY(add_text(lx, TM_T_DATA, lx->source + lx->pos, begin - lx->pos));
        advance(lx, begin);
        return SPN_STATUS_OK;
    }
    char kind = lx->source[begin + 1], sign = sign_at(lx, begin + 2);
    SPN_TRY(lex_data(lx, begin, sign, kind == '{'));
    if (kind == '%' && raw_begin(lx, begin, &after)) {
        advance(lx, after);
        return lex_raw(lx);
    }
    advance(lx, begin);
    if (kind == '#') return lex_comment(lx);
    SPN_TRY(add_mark(lx, kind == '{' ? TM_T_PRINT_BEGIN : TM_T_BLOCK_BEGIN));
    advance(lx, begin + 2 + (sign != '\0'));
    if (kind == '{') return lex_tag(lx, "}}", TM_T_PRINT_END);
    return lex_tag(lx, "%}", TM_T_BLOCK_END);
}

spn_status spn_tm_lex(spn_arena *arena, const char *source, size_t len, tm_tokens *tokens,
                      spn_error *err) {
    lexer lx = {.arena = arena, .source = source, .len = len, .line = 1, .line_starting = true};
    lx.tokens = tokens;
    lx.err = err;
    while (lx.pos < lx.len) SPN_TRY(lex_next(&lx));
    return add_mark(&lx, TM_T_EOF);
}
