/* template_json.c - JSON to values, and the filter tojson. SPDX-License-Identifier: Apache-2.0
 *
 * tojson writes as Python's json.dumps(ensure_ascii=False), which is what transformers puts in
 * place of Jinja's own: ", " and ": ", nothing escaped for HTML, keys in their order.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "text/template_impl.h"

/* ---- reading ---- */

static spn_status from_object(tm_context *c, json_t *json, unsigned depth, tm_value *out);

static spn_status from_array(tm_context *c, json_t *json, unsigned depth, tm_value *out) {
    size_t n = json_array_size(json);
    tm_value *items = spn_tm_alloc(c, n, sizeof *items);
    if (items == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < n; i++)
        SPN_TRY(from_object(c, json_array_get(json, i), depth + 1, &items[i]));
    return spn_tm_list(c, TM_LIST, items, n, out);
}

static spn_status from_pairs(tm_context *c, json_t *json, unsigned depth, tm_value *out) {
    tm_dict *dict;
    SPN_TRY(spn_tm_dict_new(c, json_object_size(json), &dict));
    for (void *at = json_object_iter(json); at != NULL; at = json_object_iter_next(json, at)) {
        tm_value key, value;
        SPN_TRY(spn_tm_string(c, json_object_iter_key(at), json_object_iter_key_len(at), &key));
        SPN_TRY(from_object(c, json_object_iter_value(at), depth + 1, &value));
        SPN_TRY(spn_tm_dict_add(c, dict, key, value));
    }
    *out = (tm_value){.kind = TM_DICT, .d = dict};
    return SPN_STATUS_OK;
}

static spn_status from_object(tm_context *c, json_t *json, unsigned depth, tm_value *out) {
    if (depth > SPN_TM_MAX_VALUE_DEPTH)
        return SPN_FAIL(c->err, JSON, "a chat template's input is nested deeper than %d",
                        SPN_TM_MAX_VALUE_DEPTH);
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return from_pairs(c, json, depth, out);
    case JSON_ARRAY:
        return from_array(c, json, depth, out);
    case JSON_STRING:
        return spn_tm_string(c, json_string_value(json), json_string_length(json), out);
    case JSON_INTEGER:
        *out = tm_int(json_integer_value(json));
        return SPN_STATUS_OK;
    case JSON_REAL:
        *out = tm_float(json_real_value(json));
        return SPN_STATUS_OK;
    case JSON_TRUE:
        *out = tm_bool(true);
        return SPN_STATUS_OK;
    case JSON_FALSE:
        *out = tm_bool(false);
        return SPN_STATUS_OK;
    default:
        *out = tm_none();
        return SPN_STATUS_OK;
    }
}

spn_status spn_tm_from_json(tm_context *c, const char *text, const char *what, tm_value *out) {
    json_error_t error;
    json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (json == NULL && json_error_code(&error) == json_error_out_of_memory)
        return SPN_NO_MEMORY(c->err, what);
    if (json == NULL)
        return SPN_FAIL(c->err, JSON, "%s: line %d, column %d: %s", what, error.line, error.column,
                        error.text);
    spn_status status = from_object(c, json, 0, out);
    json_decref(json);
    return status;
}

/* ---- writing ---- */

typedef struct writer {
    tm_context *c;
    spn_buf *buf;
    bool ascii, sort_keys;
    const tm_string *indent; /* NULL: all in one line */
    const tm_string *item_separator, *key_separator;
} writer;

static spn_status put_string(writer *w, const tm_string *s) {
    size_t done = 0, n;
    SPN_TRY(spn_tm_put(w->c, w->buf, "\"", 1));
    for (size_t at = 0; at < s->len; at += n) {
        char text[16];
        uint32_t ch = spn_tm_char_at(s, at, &n);
        const char *names = "\"\\\n\r\t\f\b", *letters = "\"\\nrtfb";
        const char *known = ch != 0 && ch < 0x80 ? strchr(names, (int)ch) : NULL;
        if (known != NULL)
            snprintf(text, sizeof text, "\\%c", letters[known - names]);
        else if (ch < 0x20 || (w->ascii && ch > 0x7E && ch < 0x10000))
            snprintf(text, sizeof text, "\\u%04x", (unsigned)ch);
        else if (w->ascii && ch >= 0x10000) /* a surrogate pair */
            snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + (unsigned)(ch - 0x10000) / 1024,
                     0xDC00 + (unsigned)(ch - 0x10000) % 1024);
        else
            continue;
        SPN_TRY(spn_tm_put(w->c, w->buf, s->data + done, at - done));
        SPN_TRY(spn_tm_put_text(w->c, w->buf, text));
        done = at + n;
    }
    SPN_TRY(spn_tm_put(w->c, w->buf, s->data + done, s->len - done));
    return spn_tm_put(w->c, w->buf, "\"", 1);
}

static spn_status put_float(writer *w, double f) {
    char text[32];
    if (isnan(f)) return spn_tm_put_text(w->c, w->buf, "NaN");
    if (isinf(f)) return spn_tm_put_text(w->c, w->buf, f < 0 ? "-Infinity" : "Infinity");
    spn_tm_float_text(f, text);
    return spn_tm_put_text(w->c, w->buf, text);
}

static spn_status put_scalar(writer *w, tm_value v) {
    switch (v.kind) {
    case TM_NONE:
        return spn_tm_put_text(w->c, w->buf, "null");
    case TM_BOOL:
        return spn_tm_put_text(w->c, w->buf, v.b ? "true" : "false");
    case TM_INT:
        return spn_tm_put_str(w->c, w->buf, v);
    case TM_FLOAT:
        return put_float(w, v.f);
    case TM_STRING:
        return put_string(w, v.s);
    default:
        return SPN_TM_FAIL(w->c, "a %s cannot be written as JSON", spn_tm_type_name(&v));
    }
}

static spn_status put_line(writer *w, unsigned depth) {
    if (w->indent == NULL) return SPN_STATUS_OK;
    SPN_TRY(spn_tm_put(w->c, w->buf, "\n", 1));
    for (unsigned i = 0; i < depth; i++)
        SPN_TRY(spn_tm_put(w->c, w->buf, w->indent->data, w->indent->len));
    return SPN_STATUS_OK;
}

static spn_status put_value(writer *w, tm_value v, unsigned depth);

/* What stands before item `i`: a separator and, with indentation, a new line. */
static spn_status put_between(writer *w, size_t i, unsigned depth) {
    if (i > 0) SPN_TRY(spn_tm_put(w->c, w->buf, w->item_separator->data, w->item_separator->len));
    return put_line(w, depth);
}

static spn_status put_list(writer *w, const tm_list *list, unsigned depth) {
    if (list->n == 0) return spn_tm_put_text(w->c, w->buf, "[]");
    SPN_TRY(spn_tm_put(w->c, w->buf, "[", 1));
    for (size_t i = 0; i < list->n; i++) {
        SPN_TRY(put_between(w, i, depth + 1));
        SPN_TRY(put_value(w, list->items[i], depth + 1));
    }
    SPN_TRY(put_line(w, depth));
    return spn_tm_put(w->c, w->buf, "]", 1);
}

/* Keys are texts in JSON: numbers and the like stand in quotes. */
static spn_status put_key(writer *w, tm_value key) {
    if (key.kind == TM_STRING) return put_string(w, key.s);
    if (key.kind > TM_STRING || key.kind < TM_NONE)
        return SPN_TM_FAIL(w->c, "a %s cannot be a key in JSON", spn_tm_type_name(&key));
    SPN_TRY(spn_tm_put(w->c, w->buf, "\"", 1));
    SPN_TRY(put_scalar(w, key));
    return spn_tm_put(w->c, w->buf, "\"", 1);
}

static spn_status sorted_pairs(writer *w, const tm_dict *dict, const tm_pair **out) {
    tm_context *c = w->c;
    tm_value *keys = spn_tm_alloc(c, dict->n, sizeof *keys);
    tm_value *values = spn_tm_alloc(c, dict->n, sizeof *values);
    tm_pair *pairs = spn_tm_alloc(c, dict->n, sizeof *pairs);
    if (keys == NULL || values == NULL || pairs == NULL) return SPN_TM_NO_MEMORY(c);
    for (size_t i = 0; i < dict->n; i++) {
        keys[i] = dict->pairs[i].key;
        values[i] = dict->pairs[i].value;
    }
    SPN_TRY(spn_tm_sort(c, keys, values, dict->n, false));
    for (size_t i = 0; i < dict->n; i++) pairs[i] = (tm_pair){keys[i], values[i]};
    *out = pairs;
    return SPN_STATUS_OK;
}

static spn_status put_dict(writer *w, const tm_dict *dict, unsigned depth) {
    const tm_pair *pairs = dict->pairs;
    if (dict->n == 0) return spn_tm_put_text(w->c, w->buf, "{}");
    if (w->sort_keys) SPN_TRY(sorted_pairs(w, dict, &pairs));
    SPN_TRY(spn_tm_put(w->c, w->buf, "{", 1));
    for (size_t i = 0; i < dict->n; i++) {
        SPN_TRY(put_between(w, i, depth + 1));
        SPN_TRY(put_key(w, pairs[i].key));
        SPN_TRY(spn_tm_put(w->c, w->buf, w->key_separator->data, w->key_separator->len));
        SPN_TRY(put_value(w, pairs[i].value, depth + 1));
    }
    SPN_TRY(put_line(w, depth));
    return spn_tm_put(w->c, w->buf, "}", 1);
}

static spn_status put_value(writer *w, tm_value v, unsigned depth) {
    if (depth > SPN_TM_MAX_VALUE_DEPTH)
        return SPN_TM_FAIL(w->c, "a value is nested deeper than %d", SPN_TM_MAX_VALUE_DEPTH);
    SPN_TRY(spn_tm_step(w->c, 1));
    if (v.kind == TM_LIST || v.kind == TM_TUPLE) return put_list(w, v.l, depth);
    if (v.kind == TM_DICT) return put_dict(w, v.d, depth);
    return put_scalar(w, v);
}

/* indent=2 or indent="\t". */
static spn_status read_indent(writer *w, tm_value arg) {
    tm_value text = arg;
    if (arg.kind == TM_MISSING || arg.kind == TM_NONE) return SPN_STATUS_OK;
    if (arg.kind != TM_STRING) {
        int64_t n;
        SPN_TRY(spn_tm_arg_int(w->c, arg, 0, &n));
        SPN_TRY(spn_tm_text(w->c, " ", &text));
        SPN_TRY(spn_tm_binary(w->c, TM_MUL, text, tm_int(n), &text));
    }
    w->indent = text.s;
    return SPN_STATUS_OK;
}

static spn_status read_separators(writer *w, tm_value arg) {
    const tm_value *items;
    size_t n;
    if (arg.kind == TM_MISSING || arg.kind == TM_NONE) return SPN_STATUS_OK;
    SPN_TRY(spn_tm_iterate(w->c, arg, &items, &n));
    if (n != 2) return SPN_TM_FAIL(w->c, "tojson takes two separators, not %zu", n);
    SPN_TRY(spn_tm_arg_string(w->c, items[0], "a separator", &w->item_separator));
    return spn_tm_arg_string(w->c, items[1], "a separator", &w->key_separator);
}

spn_status spn_tm_tojson(tm_context *c, const tm_call *call, tm_value *out) {
    static const tm_string comma_space = {.data = ", ", .len = 2, .n_chars = 2};
    static const tm_string comma = {.data = ",", .len = 1, .n_chars = 1};
    static const tm_string colon = {.data = ": ", .len = 2, .n_chars = 2};
    spn_buf buf = SPN_BUF(0);
    writer w = {.c = c, .buf = &buf, .key_separator = &colon};
    SPN_TRY(spn_tm_arg_bool(c, call->arg[0], &w.ascii));
    SPN_TRY(spn_tm_arg_bool(c, call->arg[3], &w.sort_keys));
    SPN_TRY(read_indent(&w, call->arg[1]));
    w.item_separator = w.indent != NULL ? &comma : &comma_space;
    SPN_TRY(read_separators(&w, call->arg[2]));
    return spn_tm_finish(c, &buf, put_value(&w, call->self, 0), out);
}
