/* template_format.c - text % values and text.format(values). SPDX-License-Identifier: Apache-2.0
 *
 * The formats of Python with what templates use of them: flags, width, precision, and the types
 * s r d i u x X o c e E f F g G %. A width or precision is at most WIDTH_MAX.
 */
#include <locale.h>
#include <math.h>
#include <stdio.h>

#include "text/template_impl.h"

#define WIDTH_MAX 10000

typedef struct spec {
    char type;
    char align; /* '<' '>' '^' '=' or 0 */
    char sign;  /* '+' ' ' or 0 */
    bool alternate, comma;
    char fill[5]; /* one character */
    int width;
    int precision; /* -1: not given */
} spec;

/* ---- one value by one spec ---- */

/* Pads `text`, whose first `n_sign` bytes are a sign or prefix that zeros go behind. */
static spn_status put_padded(tm_context *c, spn_buf *buf, const spec *s, const char *text,
                             size_t len, size_t n_sign, char align) {
    size_t n_chars = spn_tm_count_chars(text, len);
    size_t missing = (size_t)s->width > n_chars ? (size_t)s->width - n_chars : 0;
    size_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
    size_t n_fill = strlen(s->fill);
    if (align == '=') SPN_TRY(spn_tm_put(c, buf, text, n_sign));
    for (size_t i = 0; i < left; i++) SPN_TRY(spn_tm_put(c, buf, s->fill, n_fill));
    size_t skip = align == '=' ? n_sign : 0;
    SPN_TRY(spn_tm_put(c, buf, text + skip, len - skip));
    for (size_t i = left; i < missing; i++) SPN_TRY(spn_tm_put(c, buf, s->fill, n_fill));
    return SPN_STATUS_OK;
}

static spn_status put_text(tm_context *c, spn_buf *buf, const spec *s, const tm_string *text) {
    size_t len = text->len;
    if (s->precision >= 0) len = spn_tm_offset(text, (size_t)s->precision);
    return put_padded(c, buf, s, text->data, len, 0, s->align ? s->align : '<');
}

/* Copies digits with a comma between groups of three before the point. */
static size_t group_digits(char *text, size_t len, size_t n_sign, size_t cap) {
    size_t whole = n_sign;
    while (whole < len && text[whole] >= '0' && text[whole] <= '9') whole++;
    for (size_t at = whole; at > n_sign + 3 && len + 1 < cap;) {
        at -= 3;
        memmove(text + at + 1, text + at, len - at + 1);
        text[at] = ',';
        len++;
    }
    return len;
}

static spn_status put_number_text(tm_context *c, spn_buf *buf, const spec *s, char *text,
                                  size_t cap, size_t n_sign) {
    size_t len = strlen(text);
    if (s->comma) len = group_digits(text, len, n_sign, cap);
    return put_padded(c, buf, s, text, len, n_sign, s->align ? s->align : '>');
}

static size_t put_sign(char *text, bool negative, char sign) {
    if (negative)
        text[0] = '-';
    else if (sign)
        text[0] = sign;
    return negative || sign;
}

static spn_status put_int(tm_context *c, spn_buf *buf, const spec *s, int64_t i) {
    char text[160];
    uint64_t magnitude = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    size_t n = put_sign(text, i < 0, s->sign);
    const char *prefix = s->type == 'x' ? "0x" : s->type == 'X' ? "0X" : s->type == 'o' ? "0o" : "";
    if (s->alternate) n += (size_t)snprintf(text + n, sizeof text - n, "%s", prefix);
    int digits = s->precision < 0 ? 1 : s->precision > 60 ? 60 : s->precision;
    unsigned long long value = magnitude;
    switch (s->type) {
    case 'x':
        snprintf(text + n, sizeof text - n, "%.*llx", digits, value);
        break;
    case 'X':
        snprintf(text + n, sizeof text - n, "%.*llX", digits, value);
        break;
    case 'o':
        snprintf(text + n, sizeof text - n, "%.*llo", digits, value);
        break;
    default:
        snprintf(text + n, sizeof text - n, "%.*llu", digits, value);
        break;
    }
    return put_number_text(c, buf, s, text, sizeof text, n);
}

/* The C library's own formats, with "." for the locale's decimal point. */
static void print_float(char *text, size_t cap, char type, bool alternate, int precision,
                        double f) {
    switch (type) {
    case 'e':
        snprintf(text, cap, alternate ? "%#.*e" : "%.*e", precision, f);
        break;
    case 'E':
        snprintf(text, cap, alternate ? "%#.*E" : "%.*E", precision, f);
        break;
    case 'g':
        snprintf(text, cap, alternate ? "%#.*g" : "%.*g", precision, f);
        break;
    case 'G':
        snprintf(text, cap, alternate ? "%#.*G" : "%.*G", precision, f);
        break;
    default:
        snprintf(text, cap, alternate ? "%#.*f" : "%.*f", precision, f);
        break;
    }
    const char *point = localeconv()->decimal_point;
    char *found = strcmp(point, ".") != 0 ? strstr(text, point) : NULL;
    if (found == NULL) return;
    size_t n = strlen(point);
    *found = '.';
    memmove(found + 1, found + n, strlen(found + n) + 1);
}

static spn_status put_float(tm_context *c, spn_buf *buf, const spec *s, double f) {
    char text[900];
    size_t n = put_sign(text, signbit(f) && !isnan(f), s->sign);
    int precision = s->precision < 0 ? 6 : s->precision > 300 ? 300 : s->precision;
    double magnitude = fabs(f);
    if (isnan(f) || isinf(f))
        snprintf(text + n, sizeof text - n, isnan(f) ? "nan" : "inf");
    else if (s->type == '%')
        print_float(text + n, sizeof text - n, 'f', s->alternate, precision, magnitude * 100);
    else
        print_float(text + n, sizeof text - n, s->type, s->alternate, precision, magnitude);
    size_t len = strlen(text);
    if (s->type == '%' && len + 1 < sizeof text) memcpy(text + len, "%", 2);
    return put_number_text(c, buf, s, text, sizeof text, n);
}

static spn_status put_char(tm_context *c, spn_buf *buf, const spec *s, tm_value v) {
    char bytes[4];
    tm_string text = {.data = bytes};
    if (v.kind == TM_STRING && v.s->n_chars == 1) return put_text(c, buf, s, v.s);
    if (!spn_tm_is_int(&v) || spn_tm_int_of(&v) < 0 || spn_tm_int_of(&v) > 0x10FFFF ||
        (spn_tm_int_of(&v) >= 0xD800 && spn_tm_int_of(&v) < 0xE000))
        return SPN_TM_FAIL(c, "%%c needs a character");
    text.len = spn_tm_encode((uint32_t)spn_tm_int_of(&v), bytes);
    text.n_chars = 1;
    return put_text(c, buf, s, &text);
}

static spn_status put_number(tm_context *c, spn_buf *buf, const spec *s, tm_value v) {
    bool as_float = strchr("eEfFgG%", s->type) != NULL;
    if (v.kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, v);
    if (!spn_tm_is_number(&v))
        return SPN_TM_FAIL(c, "format '%c' needs a number, not a %s", s->type,
                           spn_tm_type_name(&v));
    if (as_float) return put_float(c, buf, s, spn_tm_float_of(&v));
    if (v.kind == TM_FLOAT) {
        if (!(fabs(v.f) < 9.2e18)) return SPN_TM_FAIL(c, "a float does not fit into an integer");
        return put_int(c, buf, s, (int64_t)v.f);
    }
    return put_int(c, buf, s, spn_tm_int_of(&v));
}

static spn_status put_repr_text(tm_context *c, spn_buf *buf, const spec *s, tm_value v) {
    spn_buf own = SPN_BUF(0);
    tm_value text;
    SPN_TRY(spn_tm_finish(c, &own, spn_tm_put_repr(c, &own, v), &text));
    return put_text(c, buf, s, text.s);
}

/* ---- text % values ---- */

typedef struct values {
    const tm_value *items;
    size_t n, next;
    tm_value whole; /* for %(name)s */
} values;

static spn_status next_value(tm_context *c, values *from, tm_value *out) {
    if (from->next >= from->n) return SPN_TM_FAIL(c, "not enough values for a format");
    *out = from->items[from->next++];
    return SPN_STATUS_OK;
}

static spn_status read_digits(tm_context *c, const tm_string *f, size_t *at, int *out) {
    int n = 0;
    while (*at < f->len && f->data[*at] >= '0' && f->data[*at] <= '9') {
        n = n * 10 + (f->data[(*at)++] - '0');
        if (n > WIDTH_MAX) return SPN_TM_FAIL(c, "a format is wider than %d", WIDTH_MAX);
    }
    *out = n;
    return SPN_STATUS_OK;
}

/* A width or precision: digits, or "*" for a value. */
static spn_status read_size(tm_context *c, const tm_string *f, size_t *at, values *from, int *out) {
    tm_value v;
    int64_t i;
    if (*at >= f->len || f->data[*at] != '*') return read_digits(c, f, at, out);
    ++*at;
    SPN_TRY(next_value(c, from, &v));
    SPN_TRY(spn_tm_arg_int(c, v, 0, &i));
    if (i < 0 || i > WIDTH_MAX) return SPN_TM_FAIL(c, "a format is wider than %d", WIDTH_MAX);
    *out = (int)i;
    return SPN_STATUS_OK;
}

static spn_status read_name(tm_context *c, const tm_string *f, size_t *at, const values *from,
                            tm_value *out) {
    const char *close = memchr(f->data + *at, ')', f->len - *at);
    const tm_value *found = NULL;
    if (close == NULL || from->whole.kind != TM_DICT)
        return SPN_TM_FAIL(c, "a format with a name needs a dict");
    size_t start = *at + 1, end = (size_t)(close - f->data);
    tm_value key;
    SPN_TRY(spn_tm_slice_of(c, f->data + start, end - start, &key));
    SPN_TRY(spn_tm_dict_find(c, from->whole.d, key, &found));
    if (found == NULL) return SPN_TM_FAIL(c, "a format's name is not in the dict");
    *at = end + 1;
    *out = *found;
    return SPN_STATUS_OK;
}

static spn_status put_percent(tm_context *c, spn_buf *buf, const tm_string *f, size_t *at,
                              values *from, bool safe) {
    spec s = {.precision = -1, .fill = " "};
    tm_value v = tm_missing();
    bool left = false, zero = false;
    if (*at < f->len && f->data[*at] == '(') SPN_TRY(read_name(c, f, at, from, &v));
    for (; *at < f->len && f->data[*at] != '\0' && strchr("-+ #0", f->data[*at]); ++*at) {
        char flag = f->data[*at];
        left |= flag == '-';
        zero |= flag == '0';
        s.alternate |= flag == '#';
        if (flag == '+' || (flag == ' ' && s.sign == 0)) s.sign = flag;
    }
    SPN_TRY(read_size(c, f, at, from, &s.width));
    if (*at < f->len && f->data[*at] == '.') {
        ++*at;
        SPN_TRY(read_size(c, f, at, from, &s.precision));
    }
    if (*at >= f->len) return SPN_TM_FAIL(c, "a format ends too early");
    s.type = f->data[(*at)++];
    s.align = left ? '<' : '>';
    if (s.type == '%') return spn_tm_put(c, buf, "%", 1);
    if (v.kind == TM_MISSING) SPN_TRY(next_value(c, from, &v));
    if (s.type == 'r') return put_repr_text(c, buf, &s, v);
    if (s.type == 'c') return put_char(c, buf, &s, v);
    if (s.type == 's') {
        const tm_string *text;
        if (safe && !(v.kind == TM_STRING && v.safe)) {
            spn_buf own = SPN_BUF(0);
            SPN_TRY(spn_tm_str(c, v, &text));
            SPN_TRY(spn_tm_finish(c, &own, spn_tm_put_escaped(c, &own, text), &v));
        }
        SPN_TRY(spn_tm_str(c, v, &text));
        return put_text(c, buf, &s, text);
    }
    if (s.type == '\0' || strchr("diuoxXeEfFgG", s.type) == NULL)
        return SPN_TM_FAIL(c, "unknown format '%%%c'", s.type);
    if (zero && !left) {
        s.align = '=';
        s.fill[0] = '0';
    }
    return put_number(c, buf, &s, v);
}

static spn_status put_all_percent(tm_context *c, spn_buf *buf, const tm_string *f, values *from,
                                  bool safe) {
    size_t at = 0;
    while (at < f->len) {
        const char *percent = memchr(f->data + at, '%', f->len - at);
        size_t end = percent != NULL ? (size_t)(percent - f->data) : f->len;
        SPN_TRY(spn_tm_put(c, buf, f->data + at, end - at));
        at = end + 1;
        if (percent != NULL) SPN_TRY(put_percent(c, buf, f, &at, from, safe));
    }
    /* Python lets what can be indexed go unused, so lists as well as dicts. */
    uint8_t kind = from->whole.kind;
    bool indexed = kind == TM_DICT || kind == TM_LIST || kind == TM_RANGE || kind == TM_UNDEFINED;
    if (from->next < from->n && !indexed) return SPN_TM_FAIL(c, "too many values for a format");
    return SPN_STATUS_OK;
}

spn_status spn_tm_percent(tm_context *c, tm_value format, tm_value args, tm_value *out) {
    values from = {.items = &args, .n = 1, .whole = args};
    spn_buf buf = SPN_BUF(0);
    if (args.kind == TM_TUPLE) {
        from.items = args.l->items;
        from.n = args.l->n;
    }
    SPN_TRY(spn_tm_finish(c, &buf, put_all_percent(c, &buf, format.s, &from, format.safe), out));
    out->safe = format.safe;
    return SPN_STATUS_OK;
}

/* ---- text.format(values) ---- */

static spn_status field_start(tm_context *c, const char *name, size_t n, const tm_args *args,
                              size_t *next, tm_value *out) {
    size_t index = 0;
    bool digits = true;
    for (size_t i = 0; i < n; i++) {
        digits = digits && name[i] >= '0' && name[i] <= '9' && n < 4;
        if (digits) index = index * 10 + (size_t)(name[i] - '0');
    }
    if (n == 0) index = (*next)++;
    if (digits) {
        if (index >= args->n) return SPN_TM_FAIL(c, "format() has no value %zu", index);
        *out = args->items[index];
        return SPN_STATUS_OK;
    }
    tm_string wanted = {.data = name, .len = n};
    for (size_t i = 0; i < args->n_named; i++) {
        if (!spn_tm_same_text(args->names[i], &wanted)) continue;
        *out = args->named[i];
        return SPN_STATUS_OK;
    }
    return SPN_TM_FAIL(c, "format() has no value '%.*s'", (int)spn_min_size(n, 60), name);
}

/* "name.attribute[key]" */
static spn_status field_value(tm_context *c, const char *name, size_t n, const tm_args *args,
                              size_t *next, tm_value *out) {
    size_t at = 0;
    while (at < n && name[at] != '.' && name[at] != '[') at++;
    SPN_TRY(field_start(c, name, at, args, next, out));
    while (at < n) {
        bool is_key = name[at] == '[';
        size_t start = ++at;
        while (at < n && (is_key ? name[at] != ']' : name[at] != '.' && name[at] != '[')) at++;
        tm_value part;
        SPN_TRY(spn_tm_slice_of(c, name + start, at - start, &part));
        if (is_key) {
            size_t i = 0;
            int64_t index = 0;
            for (; i < part.s->len && i < 9 && part.s->data[i] >= '0' && part.s->data[i] <= '9';
                 i++)
                index = index * 10 + (part.s->data[i] - '0');
            if (i > 0 && i == part.s->len) part = tm_int(index);
            SPN_TRY(spn_tm_item(c, *out, part, out));
            at++;
        } else {
            SPN_TRY(spn_tm_attr(c, *out, part.s, out));
        }
        if (out->kind == TM_UNDEFINED) return SPN_TM_UNDEFINED(c, *out);
    }
    return SPN_STATUS_OK;
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static spn_status read_spec(tm_context *c, const tm_string *f, spec *s) {
    size_t at = 0, n_fill = 0;
    *s = (spec){.precision = -1, .fill = " "};
    if (f->len > 0) spn_tm_char_at(f, 0, &n_fill);
    if (n_fill > 0 && n_fill < f->len && f->data[n_fill] && strchr("<>^=", f->data[n_fill])) {
        memcpy(s->fill, f->data, n_fill);
        s->fill[n_fill] = '\0';
        s->align = f->data[n_fill];
        at = n_fill + 1;
    } else if (f->len > 0 && f->data[0] && strchr("<>^=", f->data[0])) {
        s->align = f->data[at++];
    }
    if (at < f->len && f->data[at] && strchr("+- ", f->data[at])) {
        s->sign = f->data[at] == '-' ? 0 : f->data[at];
        at++;
    }
    if (at < f->len && f->data[at] == '#') {
        s->alternate = true;
        at++;
    }
    if (at < f->len && f->data[at] == '0') {
        if (s->align == 0) {
            s->align = '=';
            memcpy(s->fill, "0", 2);
        }
        at++;
    }
    SPN_TRY(read_digits(c, f, &at, &s->width));
    if (at < f->len && f->data[at] == ',') {
        s->comma = true;
        at++;
    }
    if (at < f->len && f->data[at] == '.') {
        at++;
        SPN_TRY(read_digits(c, f, &at, &s->precision));
    }
    if (at < f->len) s->type = f->data[at++];
    if (at < f->len) return SPN_TM_FAIL(c, "a format's end cannot be read");
    return SPN_STATUS_OK;
}

static spn_status put_formatted(tm_context *c, spn_buf *buf, spec *s, tm_value v) {
    const tm_string *text;
    if (s->type == '\0' && spn_tm_is_number(&v)) {
        if (spn_tm_is_int(&v)) {
            s->type = 'd';
        } else if (s->precision >= 0) {
            s->type = 'g';
        } else {
            char own[48];
            spn_tm_float_text(v.f, own);
            return put_number_text(c, buf, s, own, sizeof own, own[0] == '-');
        }
    }
    if (s->type == '\0' || s->type == 's') {
        SPN_TRY(spn_tm_str(c, v, &text));
        return put_text(c, buf, s, text);
    }
    if (s->type == 'c') return put_char(c, buf, s, v);
    if (strchr("dxXoeEfFgG%", s->type) == NULL)
        return SPN_TM_FAIL(c, "unknown format '%c'", s->type);
    return put_number(c, buf, s, v);
}

/* What stands between braces: "name!r:spec". */
static spn_status put_field(tm_context *c, spn_buf *buf, const char *field, size_t n,
                            const tm_args *args, size_t *next) {
    const char *colon = memchr(field, ':', n);
    size_t n_name = colon != NULL ? (size_t)(colon - field) : n;
    tm_string spec_text = {.data = colon != NULL ? colon + 1 : "", .len = n - n_name};
    char conversion = '\0';
    if (colon != NULL) spec_text.len--;
    if (memchr(spec_text.data, '{', spec_text.len) != NULL)
        return SPN_TM_FAIL(c, "fields within fields of format() are not supported");
    if (n_name >= 2 && field[n_name - 2] == '!') {
        conversion = field[n_name - 1];
        n_name -= 2;
    }
    tm_value v;
    spec s;
    SPN_TRY(field_value(c, field, n_name, args, next, &v));
    SPN_TRY(read_spec(c, &spec_text, &s));
    if (conversion == '\0' && spec_text.len == 0) return spn_tm_put_str(c, buf, v);
    if (conversion == 'r') return put_repr_text(c, buf, &s, v);
    if (conversion == 's') {
        const tm_string *text;
        SPN_TRY(spn_tm_str(c, v, &text));
        v = tm_str(text);
    }
    return put_formatted(c, buf, &s, v);
}

static spn_status put_all_fields(tm_context *c, spn_buf *buf, const tm_string *f,
                                 const tm_args *args) {
    size_t next = 0;
    for (size_t at = 0; at < f->len; at++) {
        char ch = f->data[at];
        if ((ch == '{' || ch == '}') && at + 1 < f->len && f->data[at + 1] == ch) {
            SPN_TRY(spn_tm_put(c, buf, &ch, 1));
            at++;
        } else if (ch == '{') {
            const char *close = memchr(f->data + at, '}', f->len - at);
            if (close == NULL) return SPN_TM_FAIL(c, "a field of format() has no end");
            size_t end = (size_t)(close - f->data);
            SPN_TRY(put_field(c, buf, f->data + at + 1, end - at - 1, args, &next));
            at = end;
        } else if (ch == '}') {
            return SPN_TM_FAIL(c, "a single '}' in format()");
        } else {
            SPN_TRY(spn_tm_put(c, buf, &ch, 1));
        }
    }
    return SPN_STATUS_OK;
}

spn_status spn_tm_format(tm_context *c, const tm_string *format, const tm_args *args,
                         tm_value *out) {
    spn_buf buf = SPN_BUF(0);
    return spn_tm_finish(c, &buf, put_all_fields(c, &buf, format, args), out);
}
