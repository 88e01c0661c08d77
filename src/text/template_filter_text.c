/* template_filter_text.c - filters of texts and numbers. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/template_impl.h"

/* ---- numbers ---- */

static spn_status filter_abs(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value v = call->self;
    if (v.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, v);
    if (!spn_tm_is_number(&v))
        return SPN_TM_FAIL(c, "a %s has no absolute value", spn_tm_type_name(&v));
    if (v.kind == TM_FLOAT)
        *out = tm_float(fabs(v.f));
    else if (spn_tm_int_of(&v) < 0)
        return spn_tm_negate(c, v, out);
    else
        *out = tm_int(spn_tm_int_of(&v));
    return SPN_STATUS_OK;
}

/* A number's text without the white space around it and the underscores in it. */
static size_t number_text(const tm_string *s, char *out, size_t cap) {
    size_t start = 0, end = s->len, n = 0, n_char;
    while (start < end && spn_tm_is_space(spn_tm_char_at(s, start, &n_char))) start += n_char;
    while (end > start && (unsigned char)s->data[end - 1] <= ' ') end--;
    for (size_t i = start; i < end && n + 1 < cap; i++) {
        bool separates = s->data[i] == '_' && i > start && i + 1 < end &&
                         (unsigned)(s->data[i - 1] - '0') < 36 + 40 && s->data[i - 1] != '_';
        if (!separates) out[n++] = s->data[i];
    }
    out[n] = '\0';
    return n;
}

static bool parse_int(const tm_string *s, int64_t base, int64_t *out) {
    char text[80];
    size_t n = number_text(s, text, sizeof text), at = 0;
    bool negative = text[0] == '-';
    if (text[0] == '-' || text[0] == '+') at++;
    char letter = base == 2 ? 'b' : base == 8 ? 'o' : base == 16 ? 'x' : '\0';
    if (letter && text[at] == '0' && (text[at + 1] | 0x20) == letter) at += 2;
    if (at == n || n + 1 == sizeof text) return false;
    int64_t value = 0;
    for (; at < n; at++) {
        char c = text[at];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' ? (c | 0x20) - 'a' + 10 : 99;
        if (digit >= base || value > (INT64_MAX - digit) / base) return false;
        value = value * base + digit;
    }
    *out = negative ? -value : value;
    return true;
}

static bool parse_float(const tm_string *s, double *out) {
    char text[400];
    size_t n = number_text(s, text, sizeof text);
    /* strtod also reads hexadecimal, and names that Python does not know */
    const char *digits = text + strspn(text, "+-");
    bool is_name = (*digits | 0x20) == 'i' || (*digits | 0x20) == 'n';
    if (strchr(digits, 'x') || strchr(digits, 'X') || strchr(digits, '(')) return false;
    if (!is_name && (*digits < '0' || *digits > '9') && *digits != '.') return false;
    return spn_tm_parse_float(text, n, out);
}

static spn_status float_to_int(tm_context *c, double f, tm_value *out) {
    if (!(f > -9.2e18 && f < 9.2e18)) return SPN_TM_FAIL(c, "a float does not fit into an integer");
    *out = tm_int((int64_t)f);
    return SPN_STATUS_OK;
}

static spn_status filter_int(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value v = call->self;
    int64_t base, i;
    double f;
    SPN_TRY(spn_tm_arg_int(c, call->arg[1], 10, &base));
    if (base < 2 || base > 36) return SPN_TM_FAIL(c, "a base is from 2 to 36");
    if (v.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, v);
    if (v.kind == TM_FLOAT && !isnan(v.f)) return float_to_int(c, v.f, out);
    if (spn_tm_is_int(&v)) {
        *out = tm_int(spn_tm_int_of(&v));
    } else if (v.kind == TM_STRING && parse_int(v.s, base, &i)) {
        *out = tm_int(i);
    } else if (v.kind == TM_STRING && parse_float(v.s, &f) && !isnan(f) && !isinf(f)) {
        return float_to_int(c, f, out);
    } else {
        *out = call->arg[0].kind == TM_MISSING ? tm_int(0) : call->arg[0];
    }
    return SPN_STATUS_OK;
}

static spn_status filter_float(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value v = call->self;
    double f;
    if (v.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, v);
    if (spn_tm_is_number(&v))
        *out = tm_float(spn_tm_float_of(&v));
    else if (v.kind == TM_STRING && parse_float(v.s, &f))
        *out = tm_float(f);
    else
        *out = call->arg[0].kind == TM_MISSING ? tm_float(0) : call->arg[0];
    return SPN_STATUS_OK;
}

/* Halves go to the even neighbour, as Python's round(); the C library's printing does the same
 * and sees the float's exact value. */
static double round_common(double f, int precision) {
    char text[400];
    if (precision < 0) {
        double scale = pow(10, -precision);
        return nearbyint(f / scale) * scale;
    }
    snprintf(text, sizeof text, "%.*f", precision, f);
    return strtod(text, NULL);
}

static spn_status round_int(tm_context *c, int64_t i, int64_t precision, tm_value *out) {
    if (precision >= 0) {
        *out = tm_int(i);
        return SPN_STATUS_OK;
    }
    return float_to_int(c, round_common((double)i, precision < -18 ? -18 : (int)precision), out);
}

static spn_status filter_round(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value v = call->self;
    const tm_string *method = NULL;
    int64_t precision;
    SPN_TRY(spn_tm_arg_int(c, call->arg[0], 0, &precision));
    if (call->arg[1].kind != TM_MISSING)
        SPN_TRY(spn_tm_arg_string(c, call->arg[1], "a rounding method", &method));
    if (v.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, v);
    if (!spn_tm_is_number(&v)) return SPN_TM_FAIL(c, "a %s is rounded", spn_tm_type_name(&v));
    precision = precision > 300 ? 300 : precision < -300 ? -300 : precision;
    if (method == NULL || spn_tm_is_text(method, "common")) {
        if (spn_tm_is_int(&v)) return round_int(c, spn_tm_int_of(&v), precision, out);
        *out = isfinite(v.f) ? tm_float(round_common(v.f, (int)precision)) : v;
        return SPN_STATUS_OK;
    }
    bool up = spn_tm_is_text(method, "ceil");
    if (!up && !spn_tm_is_text(method, "floor"))
        return SPN_TM_FAIL(c, "a rounding method is common, ceil or floor");
    double scale = pow(10, (double)precision), scaled = spn_tm_float_of(&v) * scale;
    *out = tm_float((up ? ceil(scaled) : floor(scaled)) / scale);
    return SPN_STATUS_OK;
}

/* ---- texts ---- */

/* str(value) with the mark it may carry. */
static spn_status soft_text(tm_context *c, tm_value v, tm_value *out) {
    const tm_string *s;
    SPN_TRY(spn_tm_str(c, v, &s));
    *out = tm_str(s);
    out->safe = v.kind == TM_STRING && v.safe;
    return SPN_STATUS_OK;
}

static spn_status filter_string(tm_context *c, const tm_call *call, tm_value *out) {
    return soft_text(c, call->self, out);
}

static spn_status filter_safe(tm_context *c, const tm_call *call, tm_value *out) {
    SPN_TRY(soft_text(c, call->self, out));
    out->safe = true;
    return SPN_STATUS_OK;
}

static spn_status filter_forceescape(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *s;
    spn_buf buf = SPN_BUF(0);
    SPN_TRY(spn_tm_str(c, call->self, &s));
    SPN_TRY(spn_tm_finish(c, &buf, spn_tm_put_escaped(c, &buf, s), out));
    out->safe = true;
    return SPN_STATUS_OK;
}

static spn_status filter_escape(tm_context *c, const tm_call *call, tm_value *out) {
    if (call->self.kind == TM_STRING && call->self.safe) {
        *out = call->self;
        return SPN_STATUS_OK;
    }
    return filter_forceescape(c, call, out);
}

static spn_status cased(tm_context *c, const tm_call *call, tm_casing casing, tm_value *out) {
    tm_value text;
    SPN_TRY(soft_text(c, call->self, &text));
    SPN_TRY(spn_tm_cased(c, text.s, casing, out));
    out->safe = text.safe;
    return SPN_STATUS_OK;
}

static spn_status filter_upper(tm_context *c, const tm_call *call, tm_value *out) {
    return cased(c, call, TM_UPPER, out);
}

static spn_status filter_lower(tm_context *c, const tm_call *call, tm_value *out) {
    return cased(c, call, TM_LOWER, out);
}

static spn_status filter_capitalize(tm_context *c, const tm_call *call, tm_value *out) {
    return cased(c, call, TM_CAPITALIZE, out);
}

static bool ends_word(uint32_t ch) {
    return spn_tm_is_space(ch) || (ch < 0x80 && ch != 0 && strchr("-({[<", (int)ch) != NULL);
}

/* Unlike str.title(), which also starts a word behind a digit or an apostrophe. */
static spn_status put_title(tm_context *c, spn_buf *buf, const tm_string *s) {
    size_t at = 0, n;
    while (at < s->len) {
        uint32_t ch = spn_tm_char_at(s, at, &n);
        tm_string first = {.data = s->data + at, .len = n};
        at += n;
        if (ends_word(ch)) {
            SPN_TRY(spn_tm_put(c, buf, first.data, first.len));
            continue;
        }
        size_t end = at;
        while (end < s->len && !ends_word(spn_tm_char_at(s, end, &n))) end += n;
        tm_string rest = {.data = s->data + at, .len = end - at};
        SPN_TRY(spn_tm_put_cased(c, buf, &first, TM_UPPER));
        SPN_TRY(spn_tm_put_cased(c, buf, &rest, TM_LOWER));
        at = end;
    }
    return SPN_STATUS_OK;
}

static spn_status filter_title(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *s;
    spn_buf buf = SPN_BUF(0);
    SPN_TRY(spn_tm_str(c, call->self, &s));
    return spn_tm_finish(c, &buf, put_title(c, &buf, s), out);
}

static spn_status filter_trim(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *chars = NULL;
    tm_value text;
    SPN_TRY(soft_text(c, call->self, &text));
    if (call->arg[0].kind != TM_MISSING && call->arg[0].kind != TM_NONE)
        SPN_TRY(spn_tm_arg_string(c, call->arg[0], "what is trimmed", &chars));
    return spn_tm_strip(c, text, chars, TM_LEFT | TM_RIGHT, out);
}

static spn_status filter_replace(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *s, *old, *new;
    int64_t max = -1;
    SPN_TRY(spn_tm_str(c, call->self, &s));
    SPN_TRY(spn_tm_str(c, call->arg[0], &old));
    SPN_TRY(spn_tm_str(c, call->arg[1], &new));
    if (call->arg[2].kind != TM_NONE) SPN_TRY(spn_tm_arg_int(c, call->arg[2], -1, &max));
    return spn_tm_replace(c, s, old, new, max, out);
}

static spn_status filter_default(tm_context *c, const tm_call *call, tm_value *out) {
    bool by_truth, truth = true;
    SPN_TRY(spn_tm_arg_bool(c, call->arg[1], &by_truth));
    if (by_truth) SPN_TRY(spn_tm_truth(c, call->self, &truth));
    *out = call->self;
    if (call->self.kind != TM_UNDEFINED && truth) return SPN_STATUS_OK;
    *out = call->arg[0];
    return out->kind == TM_MISSING ? spn_tm_text(c, "", out) : SPN_STATUS_OK;
}

static spn_status put_indented(tm_context *c, spn_buf *buf, const tm_items *lines,
                               const tm_string *indent, bool first, bool blank) {
    for (size_t i = 0; i < lines->n; i++) {
        const tm_string *line = lines->items[i].s;
        if (i > 0) SPN_TRY(spn_tm_put(c, buf, "\n", 1));
        if (i == 0 ? first : blank || line->len > 0)
            SPN_TRY(spn_tm_put(c, buf, indent->data, indent->len));
        SPN_TRY(spn_tm_put(c, buf, line->data, line->len));
    }
    return SPN_STATUS_OK;
}

static spn_status filter_indent(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *text, *indent;
    tm_value joined, newline, spaces = call->arg[0];
    tm_items lines = {0};
    bool first, blank;
    SPN_TRY(spn_tm_arg_string(c, call->self, "what is indented", &text));
    SPN_TRY(spn_tm_arg_bool(c, call->arg[1], &first));
    SPN_TRY(spn_tm_arg_bool(c, call->arg[2], &blank));
    SPN_TRY(spn_tm_text(c, " ", &newline));
    if (spaces.kind != TM_STRING)
        SPN_TRY(spn_tm_binary(c, TM_MUL, newline, spaces.kind == TM_MISSING ? tm_int(4) : spaces,
                              &spaces));
    indent = spaces.s;
    /* Jinja appends a line break before it splits, which keeps an empty last line. */
    SPN_TRY(spn_tm_text(c, "\n", &newline));
    SPN_TRY(spn_tm_binary(c, TM_ADD, tm_str(text), newline, &joined));
    SPN_TRY(spn_tm_splitlines(c, joined.s, false, &lines));
    spn_buf buf = SPN_BUF(0);
    return spn_tm_finish(c, &buf, put_indented(c, &buf, &lines, indent, first, blank), out);
}

/* The first `n_chars` characters, or, at a word's end, what stands before their last space. */
static spn_status put_truncated(tm_context *c, spn_buf *buf, const tm_string *s, size_t n_chars,
                                bool kill_words) {
    size_t end = spn_tm_offset(s, n_chars), space = end;
    while (space > 0 && s->data[space - 1] != ' ') space--;
    if (!kill_words && space > 0) end = space - 1;
    return spn_tm_put(c, buf, s->data, end);
}

static spn_status filter_truncate(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *s, *end;
    tm_value end_value = call->arg[2];
    int64_t length, leeway = 5;
    bool kill_words;
    size_t n;
    SPN_TRY(spn_tm_length(c, call->self, &n));
    SPN_TRY(spn_tm_arg_int(c, call->arg[0], 255, &length));
    SPN_TRY(spn_tm_arg_bool(c, call->arg[1], &kill_words));
    if (call->arg[3].kind != TM_NONE) SPN_TRY(spn_tm_arg_int(c, call->arg[3], 5, &leeway));
    if (end_value.kind == TM_MISSING) SPN_TRY(spn_tm_text(c, "...", &end_value));
    SPN_TRY(spn_tm_arg_string(c, end_value, "the end of what is truncated", &end));
    if (length < (int64_t)end->n_chars || leeway < 0 || leeway > INT32_MAX || length > INT32_MAX)
        return SPN_TM_FAIL(c, "truncate() to an impossible length");
    *out = call->self;
    if ((int64_t)n <= length + leeway) return SPN_STATUS_OK;
    SPN_TRY(spn_tm_arg_string(c, call->self, "what is truncated", &s));
    spn_buf buf = SPN_BUF(0);
    spn_status status = put_truncated(c, &buf, s, (size_t)length - end->n_chars, kill_words);
    if (status == SPN_STATUS_OK) status = spn_tm_put(c, &buf, end->data, end->len);
    return spn_tm_finish(c, &buf, status, out);
}

static spn_status filter_center(tm_context *c, const tm_call *call, tm_value *out) {
    static const tm_string space = {.data = " ", .len = 1, .n_chars = 1};
    const tm_string *s;
    int64_t width;
    SPN_TRY(spn_tm_str(c, call->self, &s));
    SPN_TRY(spn_tm_arg_int(c, call->arg[0], 80, &width));
    size_t missing = width > (int64_t)s->n_chars ? (size_t)width - s->n_chars : 0;
    size_t left = missing / 2 + (missing & (size_t)width & 1);
    return spn_tm_justify(c, s, left, missing - left, &space, out);
}

static spn_status filter_wordcount(tm_context *c, const tm_call *call, tm_value *out) {
    const tm_string *s;
    int64_t n_words = 0;
    bool in_word = false;
    SPN_TRY(spn_tm_str(c, call->self, &s));
    for (size_t at = 0, n; at < s->len; at += n) {
        uint32_t ch = spn_tm_char_at(s, at, &n);
        bool is_word = ch == '_' || spn_tm_is_alpha(ch) || spn_tm_is_numeric(ch);
        n_words += is_word && !in_word;
        in_word = is_word;
    }
    *out = tm_int(n_words);
    return SPN_STATUS_OK;
}

/* Named arguments win over those by place, as in `text % (kwargs or args)`. */
static spn_status filter_format(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value format, values;
    if (call->all->n > 0 && call->all->n_named > 0)
        return SPN_TM_FAIL(c, "format() takes either named arguments or others");
    SPN_TRY(soft_text(c, call->self, &format));
    if (call->all->n_named == 0) {
        SPN_TRY(spn_tm_list(c, TM_TUPLE, call->all->items, call->all->n, &values));
        return spn_tm_percent(c, format, values, out);
    }
    tm_dict *dict;
    SPN_TRY(spn_tm_dict_new(c, call->all->n_named, &dict));
    for (size_t i = 0; i < call->all->n_named; i++)
        SPN_TRY(spn_tm_dict_add(c, dict, tm_str(call->all->names[i]), call->all->named[i]));
    values = (tm_value){.kind = TM_DICT, .d = dict};
    return spn_tm_percent(c, format, values, out);
}

/* ---- URLs ---- */

static spn_status put_quoted(tm_context *c, spn_buf *buf, tm_value v, bool query) {
    const tm_string *s;
    SPN_TRY(spn_tm_str(c, v, &s));
    for (size_t i = 0; i < s->len; i++) {
        unsigned char byte = (unsigned char)s->data[i];
        char text[4];
        bool plain = (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
        if (plain || (byte != 0 && strchr("_.-~", byte)) || (byte == '/' && !query))
            snprintf(text, sizeof text, "%c", byte);
        else if (byte == ' ' && query)
            snprintf(text, sizeof text, "+");
        else
            snprintf(text, sizeof text, "%%%02X", byte);
        SPN_TRY(spn_tm_put_text(c, buf, text));
    }
    return SPN_STATUS_OK;
}

static spn_status put_query(tm_context *c, spn_buf *buf, tm_value v) {
    const tm_value *pairs, *pair;
    size_t n, n_pair;
    tm_view view = {.dict = v.d, .part = TM_ITEMS};
    if (v.kind == TM_DICT) v = (tm_value){.kind = TM_VIEW, .view = &view};
    SPN_TRY(spn_tm_iterate(c, v, &pairs, &n));
    for (size_t i = 0; i < n; i++) {
        SPN_TRY(spn_tm_iterate(c, pairs[i], &pair, &n_pair));
        if (n_pair != 2) return SPN_TM_FAIL(c, "a query is made of pairs");
        if (i > 0) SPN_TRY(spn_tm_put(c, buf, "&", 1));
        SPN_TRY(put_quoted(c, buf, pair[0], true));
        SPN_TRY(spn_tm_put(c, buf, "=", 1));
        SPN_TRY(put_quoted(c, buf, pair[1], true));
    }
    return SPN_STATUS_OK;
}

static spn_status filter_urlencode(tm_context *c, const tm_call *call, tm_value *out) {
    tm_value v = call->self;
    spn_buf buf = SPN_BUF(0);
    bool is_text = v.kind == TM_STRING || !spn_tm_is_iterable(&v);
    return spn_tm_finish(c, &buf, is_text ? put_quoted(c, &buf, v, false) : put_query(c, &buf, v),
                         out);
}

const tm_builtin *spn_tm_find_text_filter(const tm_string *name) {
    static const tm_builtin rows[] = {
        {"abs", "", 0, filter_abs},
        {"capitalize", "", 0, filter_capitalize},
        {"center", "width", 0, filter_center},
        {"d", "default_value boolean", 0, filter_default},
        {"default", "default_value boolean", 0, filter_default},
        {"e", "", 0, filter_escape},
        {"escape", "", 0, filter_escape},
        {"filesizeformat", NULL, 0, NULL},
        {"float", "default", 0, filter_float},
        {"forceescape", "", 0, filter_forceescape},
        {"format", NULL, 0, filter_format},
        {"indent", "width first blank", 0, filter_indent},
        {"int", "default base", 0, filter_int},
        {"lower", "", 0, filter_lower},
        {"pprint", NULL, 0, NULL},
        {"replace", "old new count", 2, filter_replace},
        {"round", "precision method", 0, filter_round},
        {"safe", "", 0, filter_safe},
        {"string", "", 0, filter_string},
        {"striptags", NULL, 0, NULL},
        {"title", "", 0, filter_title},
        {"tojson", "ensure_ascii indent separators sort_keys", 0, spn_tm_tojson},
        {"trim", "chars", 0, filter_trim},
        {"truncate", "length killwords end leeway", 0, filter_truncate},
        {"upper", "", 0, filter_upper},
        {"urlencode", "", 0, filter_urlencode},
        {"urlize", NULL, 0, NULL},
        {"wordcount", "", 0, filter_wordcount},
        {"wordwrap", NULL, 0, NULL},
        {"xmlattr", NULL, 0, NULL},
    };
    return spn_tm_find_builtin(rows, SPN_COUNT(rows), name);
}
