/* template_text.c - values as text: str(), repr(), HTML escapes, floats.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/template_impl.h"

spn_status spn_tm_put(tm_context *c, spn_buf *buf, const void *bytes, size_t n) {
    size_t max = buf->max ? buf->max : SIZE_MAX;
    if (n > c->limits.n_output - c->n_output || n > max - buf->len)
        return SPN_TM_FAIL(c, "it writes more than %zu bytes",
                           spn_min_size(c->limits.n_output, max));
    if (!spn_buf_append(buf, bytes, n)) return SPN_NO_MEMORY(c->err, "a chat template's text");
    c->n_output += n;
    return spn_tm_step(c, n / 256);
}

spn_status spn_tm_put_text(tm_context *c, spn_buf *buf, const char *text) {
    return spn_tm_put(c, buf, text, strlen(text));
}

spn_status spn_tm_put_fill(tm_context *c, spn_buf *buf, char fill, size_t n) {
    char block[64];
    memset(block, fill, sizeof block);
    while (n > 0) {
        size_t part = spn_min_size(n, sizeof block);
        SPN_TRY(spn_tm_put(c, buf, block, part));
        n -= part;
    }
    return SPN_STATUS_OK;
}

spn_status spn_tm_finish(tm_context *c, spn_buf *buf, spn_status status, tm_value *out) {
    if (status == SPN_STATUS_OK)
        status = spn_tm_string(c, buf->len > 0 ? buf->data : "", buf->len, out);
    spn_buf_free(buf);
    return status;
}

spn_status spn_tm_str(tm_context *c, tm_value value, const tm_string **out) {
    if (value.kind == TM_STRING) {
        *out = value.s;
        return SPN_STATUS_OK;
    }
    spn_buf buf = SPN_BUF(0);
    tm_value text;
    SPN_TRY(spn_tm_finish(c, &buf, spn_tm_put_str(c, &buf, value), &text));
    *out = text.s;
    return SPN_STATUS_OK;
}

spn_status spn_tm_put_escaped(tm_context *c, spn_buf *buf, const tm_string *text) {
    size_t done = 0;
    for (size_t i = 0; i < text->len; i++) {
        const char *escape = NULL;
        switch (text->data[i]) {
        case '&':
            escape = "&amp;";
            break;
        case '<':
            escape = "&lt;";
            break;
        case '>':
            escape = "&gt;";
            break;
        case '"':
            escape = "&#34;";
            break;
        case '\'':
            escape = "&#39;";
            break;
        default:
            continue;
        }
        SPN_TRY(spn_tm_put(c, buf, text->data + done, i - done));
        SPN_TRY(spn_tm_put_text(c, buf, escape));
        done = i + 1;
    }
    return spn_tm_put(c, buf, text->data + done, text->len - done);
}

/* ---- floats ---- */

/* The C library reads and writes the locale's decimal point; ours is always ".". */
bool spn_tm_parse_float(const char *text, size_t len, double *out) {
    char copy[400];
    const char *point = localeconv()->decimal_point;
    size_t n = 0, n_point = strlen(point);
    for (size_t i = 0; i < len; i++) {
        if (n + n_point >= sizeof copy) return false;
        if (text[i] == '.') {
            memcpy(copy + n, point, n_point);
            n += n_point;
        } else {
            copy[n++] = text[i];
        }
    }
    if (n == 0 || n >= sizeof copy) return false;
    copy[n] = '\0';
    char *end;
    *out = strtod(copy, &end);
    return end == copy + n;
}

/* The fewest significant digits (without a point) that give the same float again, and the
 * exponent of the first. */
static int shortest_digits(double f, char digits[24], int *exponent) {
    char text[64];
    int n = 0, n_digits = 0;
    for (int precision = 0; precision < 17; precision++) {
        n = snprintf(text, sizeof text, "%.*e", precision, f);
        if (strtod(text, NULL) == f) break;
    }
    int at = 0;
    for (; at < n && text[at] != 'e'; at++)
        if (text[at] >= '0' && text[at] <= '9') digits[n_digits++] = text[at];
    *exponent = (int)strtol(text + at + 1, NULL, 10);
    while (n_digits > 1 && digits[n_digits - 1] == '0') n_digits--;
    return n_digits;
}

/* As Python: plain from 1e-4 up to 1e16, with an exponent of at least two digits otherwise. */
void spn_tm_float_text(double f, char out[32]) {
    char digits[24] = "";
    int exponent, n = 0;
    if (isnan(f) || isinf(f)) {
        snprintf(out, 32, "%s", isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    if (signbit(f)) out[n++] = '-';
    int n_digits = shortest_digits(fabs(f), digits, &exponent);
    if (exponent < -4 || exponent >= 16) {
        out[n++] = digits[0];
        if (n_digits > 1) out[n++] = '.';
        for (int i = 1; i < n_digits; i++) out[n++] = digits[i];
        snprintf(out + n, (size_t)(32 - n), "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0) {
        out[n++] = '0';
        out[n++] = '.';
        for (int i = -1; i > exponent; i--) out[n++] = '0';
        for (int i = 0; i < n_digits; i++) out[n++] = digits[i];
    } else {
        for (int i = 0; i <= exponent; i++) out[n++] = i < n_digits ? digits[i] : '0';
        out[n++] = '.';
        if (n_digits <= exponent + 1) out[n++] = '0';
        for (int i = exponent + 1; i < n_digits; i++) out[n++] = digits[i];
    }
    out[n] = '\0';
}

/* ---- str() and repr() ---- */

static spn_status put_escape(tm_context *c, spn_buf *buf, uint32_t ch) {
    char text[12];
    const char *names = "\t\n\r\\", *letters = "tnr\\";
    const char *known = ch < 0x80 && ch != 0 ? strchr(names, (int)ch) : NULL;
    if (known != NULL)
        snprintf(text, sizeof text, "\\%c", letters[known - names]);
    else if (ch < 0x100)
        snprintf(text, sizeof text, "\\x%02x", (unsigned)ch);
    else
        snprintf(text, sizeof text, ch < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)ch);
    return spn_tm_put_text(c, buf, text);
}

static spn_status put_quoted(tm_context *c, spn_buf *buf, const tm_string *s) {
    bool has_single = memchr(s->data, '\'', s->len) != NULL;
    bool has_double = memchr(s->data, '"', s->len) != NULL;
    char quote = has_single && !has_double ? '"' : '\'';
    SPN_TRY(spn_tm_put(c, buf, &quote, 1));
    for (size_t at = 0, n; at < s->len; at += n) {
        uint32_t ch = spn_tm_char_at(s, at, &n);
        if (ch == (uint32_t)quote) SPN_TRY(spn_tm_put(c, buf, "\\", 1));
        if (ch == '\\' || !spn_tm_is_printable(ch))
            SPN_TRY(put_escape(c, buf, ch));
        else
            SPN_TRY(spn_tm_put(c, buf, s->data + at, n));
    }
    return spn_tm_put(c, buf, &quote, 1);
}

static spn_status put_items(tm_context *c, spn_buf *buf, const tm_value *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i > 0) SPN_TRY(spn_tm_put_text(c, buf, ", "));
        SPN_TRY(spn_tm_put_repr(c, buf, items[i]));
    }
    return SPN_STATUS_OK;
}

static spn_status put_dict(tm_context *c, spn_buf *buf, const tm_dict *dict) {
    SPN_TRY(spn_tm_put_text(c, buf, "{"));
    for (size_t i = 0; i < dict->n; i++) {
        if (i > 0) SPN_TRY(spn_tm_put_text(c, buf, ", "));
        SPN_TRY(spn_tm_put_repr(c, buf, dict->pairs[i].key));
        SPN_TRY(spn_tm_put_text(c, buf, ": "));
        SPN_TRY(spn_tm_put_repr(c, buf, dict->pairs[i].value));
    }
    return spn_tm_put_text(c, buf, "}");
}

/* A namespace may hold itself; the count of what is walked ends that. */
static spn_status put_namespace(tm_context *c, spn_buf *buf, const tm_frame *ns) {
    SPN_TRY(spn_tm_put_text(c, buf, "<Namespace {"));
    for (size_t i = 0; i < ns->n; i++) {
        if (i > 0) SPN_TRY(spn_tm_put_text(c, buf, ", "));
        SPN_TRY(put_quoted(c, buf, ns->vars[i].name));
        SPN_TRY(spn_tm_put_text(c, buf, ": "));
        SPN_TRY(spn_tm_put_repr(c, buf, ns->vars[i].value));
    }
    return spn_tm_put_text(c, buf, "}>");
}

static spn_status put_view(tm_context *c, spn_buf *buf, tm_value v) {
    static const char *const names[] = {"dict_keys([", "dict_values([", "dict_items(["};
    const tm_value *items;
    size_t n;
    SPN_TRY(spn_tm_put_text(c, buf, names[v.view->part]));
    SPN_TRY(spn_tm_iterate(c, v, &items, &n));
    SPN_TRY(put_items(c, buf, items, n));
    return spn_tm_put_text(c, buf, "])");
}

static spn_status put_range(tm_context *c, spn_buf *buf, const tm_range *r) {
    char text[96];
    int n =
        snprintf(text, sizeof text, "range(%lld, %lld", (long long)r->start, (long long)r->stop);
    if (r->step != 1)
        snprintf(text + n, sizeof text - (size_t)n, ", %lld)", (long long)r->step);
    else
        snprintf(text + n, sizeof text - (size_t)n, ")");
    return spn_tm_put_text(c, buf, text);
}

static spn_status put_container(tm_context *c, spn_buf *buf, tm_value v) {
    switch (v.kind) {
    case TM_LIST:
        SPN_TRY(spn_tm_put_text(c, buf, "["));
        SPN_TRY(put_items(c, buf, v.l->items, v.l->n));
        return spn_tm_put_text(c, buf, "]");
    case TM_TUPLE:
        SPN_TRY(spn_tm_put_text(c, buf, "("));
        SPN_TRY(put_items(c, buf, v.l->items, v.l->n));
        return spn_tm_put_text(c, buf, v.l->n == 1 ? ",)" : ")");
    case TM_DICT:
        return put_dict(c, buf, v.d);
    case TM_NAMESPACE:
        return put_namespace(c, buf, v.ns);
    default:
        return put_view(c, buf, v);
    }
}

/* What has no text that means anything shows its kind; Python shows an address. */
static spn_status put_object(tm_context *c, spn_buf *buf, tm_value v) {
    SPN_TRY(spn_tm_put_text(c, buf, "<"));
    SPN_TRY(spn_tm_put_text(c, buf, spn_tm_type_name(&v)));
    return spn_tm_put_text(c, buf, ">");
}

static spn_status put_macro(tm_context *c, spn_buf *buf, const tm_macro *macro) {
    if (macro->node->text == NULL) return spn_tm_put_text(c, buf, "<Macro 'caller'>");
    SPN_TRY(spn_tm_put_text(c, buf, "<Macro "));
    SPN_TRY(put_quoted(c, buf, macro->node->text));
    return spn_tm_put_text(c, buf, ">");
}

spn_status spn_tm_put_repr(tm_context *c, spn_buf *buf, tm_value v) {
    char text[32];
    switch (v.kind) {
    case TM_UNDEFINED:
        return spn_tm_put_text(c, buf, "Undefined");
    case TM_NONE:
        return spn_tm_put_text(c, buf, "None");
    case TM_BOOL:
        return spn_tm_put_text(c, buf, v.b ? "True" : "False");
    case TM_INT:
        snprintf(text, sizeof text, "%lld", (long long)v.i);
        return spn_tm_put_text(c, buf, text);
    case TM_FLOAT:
        spn_tm_float_text(v.f, text);
        return spn_tm_put_text(c, buf, text);
    case TM_STRING:
        if (!v.safe) return put_quoted(c, buf, v.s);
        SPN_TRY(spn_tm_put_text(c, buf, "Markup("));
        SPN_TRY(put_quoted(c, buf, v.s));
        return spn_tm_put_text(c, buf, ")");
    case TM_RANGE:
        return put_range(c, buf, v.r);
    case TM_MACRO:
        return put_macro(c, buf, v.macro);
    case TM_LIST:
    case TM_TUPLE:
    case TM_DICT:
    case TM_VIEW:
    case TM_NAMESPACE:
        break;
    default:
        return put_object(c, buf, v);
    }
    if (++c->n_walked > SPN_TM_MAX_VALUE_DEPTH)
        return SPN_TM_FAIL(c, "a value is nested deeper than %d", SPN_TM_MAX_VALUE_DEPTH);
    SPN_TRY(put_container(c, buf, v));
    c->n_walked--;
    return SPN_STATUS_OK;
}

spn_status spn_tm_put_str(tm_context *c, spn_buf *buf, tm_value v) {
    if (v.kind == TM_STRING) return spn_tm_put(c, buf, v.s->data, v.s->len);
    if (v.kind == TM_UNDEFINED) return SPN_STATUS_OK;
    return spn_tm_put_repr(c, buf, v);
}
