/* gguf_value.c - metadata as numbers, strings, arrays and text for people.
 * SPDX-License-Identifier: Apache-2.0 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gguf/gguf_internal.h"

const char *spn_gguf_kind_name(spn_gguf_kind kind) {
    static const char *const names[SPN_GGUF_KIND_COUNT] = {
        [SPN_GGUF_U8] = "u8",          [SPN_GGUF_I8] = "i8",     [SPN_GGUF_U16] = "u16",
        [SPN_GGUF_I16] = "i16",        [SPN_GGUF_U32] = "u32",   [SPN_GGUF_I32] = "i32",
        [SPN_GGUF_F32] = "f32",        [SPN_GGUF_BOOL] = "bool", [SPN_GGUF_STRING] = "string",
        [SPN_GGUF_ARRAY] = "an array", [SPN_GGUF_U64] = "u64",   [SPN_GGUF_I64] = "i64",
        [SPN_GGUF_F64] = "f64"};
    return (unsigned)kind < SPN_GGUF_KIND_COUNT ? names[kind] : "unknown";
}

/* ---- single values ---- */

static gguf_int from_signed(int64_t value) { return (gguf_int){value < 0, (uint64_t)value}; }

bool spn_gguf_load_int(spn_gguf_kind kind, const uint8_t *data, gguf_int *out) {
    int16_t i16;
    uint16_t u16;
    switch (kind) {
    case SPN_GGUF_BOOL:
    case SPN_GGUF_U8:
        *out = (gguf_int){false, data[0]};
        return true;
    case SPN_GGUF_I8:
        *out = from_signed((int8_t)data[0]);
        return true;
    case SPN_GGUF_U16:
        memcpy(&u16, data, sizeof u16);
        *out = (gguf_int){false, u16};
        return true;
    case SPN_GGUF_I16:
        memcpy(&i16, data, sizeof i16);
        *out = from_signed(i16);
        return true;
    case SPN_GGUF_U32:
        *out = (gguf_int){false, gguf_load_u32(data)};
        return true;
    case SPN_GGUF_I32:
        *out = from_signed((int32_t)gguf_load_u32(data));
        return true;
    case SPN_GGUF_U64:
        *out = (gguf_int){false, gguf_load_u64(data)};
        return true;
    case SPN_GGUF_I64:
        *out = from_signed((int64_t)gguf_load_u64(data));
        return true;
    default:
        return false;
    }
}

static bool load_float(spn_gguf_kind kind, const uint8_t *data, double *out) {
    float narrow;
    if (kind == SPN_GGUF_F64) {
        memcpy(out, data, sizeof *out);
    } else if (kind == SPN_GGUF_F32) {
        memcpy(&narrow, data, sizeof narrow);
        *out = (double)narrow;
    } else {
        return false;
    }
    return true;
}

/* A finite f64 beyond f32's range would become infinite, which no file means. */
static bool fits_f32(double value) {
    double size = fabs(value);
    return !(size > (double)FLT_MAX && size <= DBL_MAX);
}

static spn_status wrong_kind(const char *path, const spn_gguf_pair *pair, const char *want,
                             spn_error *err) {
    char key[GGUF_SHOWN], shown[GGUF_SHOWN_PATH];
    bool is_array = pair->kind == SPN_GGUF_ARRAY;
    return SPN_FAIL(err, FORMAT, "%s: %s must be %s, not %s%s", spn_gguf_show_path(shown, path),
                    spn_gguf_show(key, pair->key), want, is_array ? "an array of " : "",
                    spn_gguf_kind_name(is_array ? pair->item_kind : pair->kind));
}

static spn_status out_of_range(const char *path, const spn_gguf_pair *pair, const uint8_t *item,
                               const char *want, spn_error *err) {
    char key[GGUF_SHOWN], shown[GGUF_SHOWN_PATH], value[32];
    gguf_int whole = {false, 0};
    double real = 0;
    if (!spn_gguf_load_int(pair->item_kind, item, &whole)) {
        load_float(pair->item_kind, item, &real);
        snprintf(value, sizeof value, "%g", real);
    } else if (whole.negative) {
        snprintf(value, sizeof value, "%" PRId64, (int64_t)whole.bits);
    } else {
        snprintf(value, sizeof value, "%" PRIu64, whole.bits);
    }
    return SPN_FAIL(err, FORMAT, "%s: %s has the value %s, which does not fit %s",
                    spn_gguf_show_path(shown, path), spn_gguf_show(key, pair->key), value, want);
}

spn_status spn_gguf_pair_u32(const char *path, const spn_gguf_pair *pair, uint32_t *out,
                             spn_error *err) {
    gguf_int value;
    if (pair->kind == SPN_GGUF_BOOL || !spn_gguf_load_int(pair->kind, pair->data, &value))
        return wrong_kind(path, pair, "an integer", err);
    if (value.negative || value.bits > UINT32_MAX)
        return out_of_range(path, pair, pair->data, "u32", err);
    *out = (uint32_t)value.bits;
    return SPN_STATUS_OK;
}

/* OK with *out NULL: the key is absent and may be. */
static spn_status look_up(const spn_gguf *gguf, const char *key, bool required,
                          const spn_gguf_pair **out, spn_error *err) {
    *out = spn_gguf_find(gguf, key);
    if (*out != NULL || !required) return SPN_STATUS_OK;
    char shown[GGUF_SHOWN_PATH];
    return SPN_FAIL(err, FORMAT, "%s: the metadata has no %s, which the model needs",
                    spn_gguf_show_path(shown, spn_gguf_path(gguf, 0)), key);
}

spn_status spn_gguf_get_u32(const spn_gguf *gguf, const char *key, bool required, uint32_t *out,
                            spn_error *err) {
    const spn_gguf_pair *pair;
    SPN_TRY(look_up(gguf, key, required, &pair, err));
    return pair != NULL ? spn_gguf_pair_u32(spn_gguf_path(gguf, 0), pair, out, err) : SPN_STATUS_OK;
}

spn_status spn_gguf_get_f32(const spn_gguf *gguf, const char *key, bool required, float *out,
                            spn_error *err) {
    const spn_gguf_pair *pair;
    double value;
    SPN_TRY(look_up(gguf, key, required, &pair, err));
    if (pair == NULL) return SPN_STATUS_OK;
    if (!load_float(pair->kind, pair->data, &value))
        return wrong_kind(spn_gguf_path(gguf, 0), pair, "a float", err);
    if (!fits_f32(value)) return out_of_range(spn_gguf_path(gguf, 0), pair, pair->data, "f32", err);
    *out = (float)value;
    return SPN_STATUS_OK;
}

spn_status spn_gguf_get_bool(const spn_gguf *gguf, const char *key, bool required, bool *out,
                             spn_error *err) {
    const spn_gguf_pair *pair;
    SPN_TRY(look_up(gguf, key, required, &pair, err));
    if (pair == NULL) return SPN_STATUS_OK;
    if (pair->kind != SPN_GGUF_BOOL) return wrong_kind(spn_gguf_path(gguf, 0), pair, "a bool", err);
    *out = pair->data[0] != 0;
    return SPN_STATUS_OK;
}

static spn_gguf_str load_str(const uint8_t *at) {
    return (spn_gguf_str){(const char *)at + 8, (size_t)gguf_load_u64(at)};
}

spn_status spn_gguf_get_str(const spn_gguf *gguf, const char *key, bool required, spn_gguf_str *out,
                            spn_error *err) {
    const spn_gguf_pair *pair;
    SPN_TRY(look_up(gguf, key, required, &pair, err));
    if (pair == NULL) return SPN_STATUS_OK;
    if (pair->kind != SPN_GGUF_STRING)
        return wrong_kind(spn_gguf_path(gguf, 0), pair, "a string", err);
    *out = load_str(pair->data);
    return SPN_STATUS_OK;
}

/* ---- arrays ---- */

spn_status spn_gguf_get_u32_array(const spn_gguf *gguf, const char *key, bool required,
                                  uint32_t *out, size_t n_max, size_t *n_items, spn_error *err) {
    const spn_gguf_pair *pair;
    SPN_TRY(look_up(gguf, key, required, &pair, err));
    if (pair == NULL) return SPN_STATUS_OK;
    const char *path = spn_gguf_path(gguf, 0);
    size_t item_bytes = spn_gguf_kind_bytes(pair->item_kind);
    size_t n = spn_min_size((size_t)pair->n_items, n_max);
    static const uint8_t nothing[8];
    gguf_int value;
    if (!spn_gguf_load_int(pair->item_kind, nothing, &value))
        return wrong_kind(path, pair, "an array of integers", err);
    /* All are checked before the first is handed out. */
    for (size_t i = 0; i < n; i++) {
        spn_gguf_load_int(pair->item_kind, pair->data + i * item_bytes, &value);
        if (value.negative || value.bits > UINT32_MAX)
            return out_of_range(path, pair, pair->data + i * item_bytes, "u32", err);
    }
    for (size_t i = 0; i < n; i++) {
        spn_gguf_load_int(pair->item_kind, pair->data + i * item_bytes, &value);
        out[i] = (uint32_t)value.bits;
    }
    *n_items = (size_t)pair->n_items;
    return SPN_STATUS_OK;
}

spn_status spn_gguf_get_f32_array(const spn_gguf *gguf, const char *key, bool required, float *out,
                                  size_t n_max, size_t *n_items, spn_error *err) {
    const spn_gguf_pair *pair;
    SPN_TRY(look_up(gguf, key, required, &pair, err));
    if (pair == NULL) return SPN_STATUS_OK;
    const char *path = spn_gguf_path(gguf, 0);
    size_t item_bytes = spn_gguf_kind_bytes(pair->item_kind);
    size_t n = spn_min_size((size_t)pair->n_items, n_max);
    double value = 0;
    if (pair->item_kind != SPN_GGUF_F32 && pair->item_kind != SPN_GGUF_F64)
        return wrong_kind(path, pair, "an array of floats", err);
    for (size_t i = 0; i < n; i++) {
        load_float(pair->item_kind, pair->data + i * item_bytes, &value);
        if (!fits_f32(value))
            return out_of_range(path, pair, pair->data + i * item_bytes, "f32", err);
    }
    for (size_t i = 0; i < n; i++) {
        load_float(pair->item_kind, pair->data + i * item_bytes, &value);
        out[i] = (float)value;
    }
    *n_items = (size_t)pair->n_items;
    return SPN_STATUS_OK;
}

spn_status spn_gguf_str_array(const spn_gguf *gguf, const char *key, spn_gguf_str_iter *out,
                              spn_error *err) {
    const spn_gguf_pair *pair = spn_gguf_find(gguf, key);
    if (pair != NULL && (pair->kind != SPN_GGUF_ARRAY || pair->item_kind != SPN_GGUF_STRING))
        return wrong_kind(spn_gguf_path(gguf, 0), pair, "an array of strings", err);
    *out = pair != NULL ? (spn_gguf_str_iter){pair->data, pair->n_items} : (spn_gguf_str_iter){0};
    return SPN_STATUS_OK;
}

bool spn_gguf_str_next(spn_gguf_str_iter *iter, spn_gguf_str *out) {
    if (iter->n_left == 0) return false;
    *out = load_str(iter->at);
    iter->at += 8 + out->len;
    iter->n_left--;
    return true;
}

/* ---- text for people ---- */

/* Control characters could drive the terminal; all others pass, so that UTF-8 stays readable. */
static void print_str(spn_gguf_str str, bool quoted, spn_buf *buf) {
    for (size_t i = 0; i < str.len && !buf->failed; i++) {
        uint8_t c = (uint8_t)str.data[i];
        if (c == '\n')
            spn_buf_append_text(buf, "\\n");
        else if (c == '\t')
            spn_buf_append_text(buf, "\\t");
        else if (c < ' ' || c == 0x7F)
            spn_buf_printf(buf, "\\x%02x", c);
        else if (quoted && (c == '"' || c == '\\'))
            spn_buf_printf(buf, "\\%c", c);
        else
            spn_buf_append_char(buf, (char)c);
    }
}

/* Enough digits to read back as the same number; %g drops the zeros at their end. */
static void print_float(double value, bool is_f32, spn_buf *buf) {
    char text[40];
    int most = is_f32 ? 9 : 17;
    for (int digits = 6; digits <= most; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (is_f32 ? (float)back == (float)value : back == value) break;
    }
    /* The program's locale may have a comma, or more than one byte, in the point's place. */
    for (const char *at = text; *at != '\0'; at++)
        if (*at > 0 && *at != ',')
            spn_buf_append_char(buf, *at);
        else if (at == text || (at[-1] > 0 && at[-1] != ','))
            spn_buf_append_char(buf, '.');
}

/* Prints one item at `at` and returns where the next one starts. */
static const uint8_t *print_item(spn_gguf_kind kind, const uint8_t *at, bool quoted, spn_buf *buf) {
    gguf_int whole = {false, 0};
    double real = 0;
    if (kind == SPN_GGUF_STRING) {
        spn_gguf_str str = load_str(at);
        if (quoted) spn_buf_append_char(buf, '"');
        print_str(str, quoted, buf);
        if (quoted) spn_buf_append_char(buf, '"');
        return at + 8 + str.len;
    }
    if (kind == SPN_GGUF_BOOL)
        spn_buf_append_text(buf, at[0] != 0 ? "true" : "false");
    else if (load_float(kind, at, &real))
        print_float(real, kind == SPN_GGUF_F32, buf);
    else if (spn_gguf_load_int(kind, at, &whole) && whole.negative)
        spn_buf_printf(buf, "%" PRId64, (int64_t)whole.bits);
    else
        spn_buf_printf(buf, "%" PRIu64, whole.bits);
    return at + spn_gguf_kind_bytes(kind);
}

void spn_gguf_pair_print(const spn_gguf_pair *pair, size_t max_items, spn_buf *buf) {
    const uint8_t *at = pair->data;
    if (pair->kind != SPN_GGUF_ARRAY) {
        print_item(pair->kind, at, false, buf);
        return;
    }
    spn_buf_append_char(buf, '[');
    for (uint64_t i = 0; i < pair->n_items && i < max_items && !buf->failed; i++) {
        if (i > 0) spn_buf_append_text(buf, ", ");
        at = print_item(pair->item_kind, at, true, buf);
    }
    if (pair->n_items > max_items)
        spn_buf_printf(buf, "%s... %" PRIu64 " items", max_items > 0 ? ", " : "", pair->n_items);
    spn_buf_append_char(buf, ']');
}
