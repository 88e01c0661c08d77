/* inspect.c - a GGUF file's contents as text for people. SPDX-License-Identifier: Apache-2.0
 *
 * All texts are made at open: they are valid UTF-8 without control characters, whatever the file
 * holds, and none is longer than MAX_VALUE bytes and its mark. */
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "gguf/gguf.h"
#include "spn/engine.h"

#define MAX_VALUE 4096
#define MAX_ITEMS 12 /* of an array */
#define MAX_TEXTS ((size_t)4 << 30)

struct spn_inspection {
    uint32_t version;
    uint64_t file_bytes;
    size_t n_metadata;
    size_t n_tensors;
    spn_metadata_item *metadata; /* [n_metadata] */
    spn_tensor_item *tensors;    /* [n_tensors] */
    spn_arena arena;             /* all of the above and their texts */
};

/* ---- text ---- */

/* Appends bytes as UTF-8 without control characters: what is no character becomes \xNN. */
static void append_clean(spn_buf *buf, const char *bytes, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes && !buf->failed;) {
        size_t length = spn_utf8_char_len(bytes + i, n_bytes - i);
        uint8_t first = (uint8_t)bytes[i];
        /* U+0080 to U+009F are control characters too. */
        bool is_c1 = length == 2 && first == 0xC2 && (uint8_t)bytes[i + 1] < 0xA0;
        if (length == 0 || first < ' ' || first == 0x7F || is_c1)
            spn_buf_printf(buf, "\\x%02x", first);
        else
            spn_buf_append(buf, bytes + i, length);
        if (is_c1) spn_buf_printf(buf, "\\x%02x", (uint8_t)bytes[i + 1]);
        i += length ? length : 1;
    }
}

static const char *keep_clean(spn_arena *arena, const char *bytes, size_t n_bytes, size_t n_cut) {
    spn_buf clean = SPN_BUF(4 * n_bytes + 32);
    append_clean(&clean, bytes, n_bytes);
    if (n_cut > 0) spn_buf_printf(&clean, "... %zu more bytes", n_cut);
    const char *kept = NULL;
    if (!clean.failed) kept = spn_arena_text(arena, clean.data ? clean.data : "", clean.len);
    spn_buf_free(&clean);
    return kept;
}

static const char *keep_name(spn_arena *arena, spn_gguf_str name) {
    return keep_clean(arena, name.data, name.len, 0);
}

/* How much of a text of n bytes to show: all, or MAX_VALUE without a broken character. */
static size_t cut(const char *bytes, size_t n) {
    if (n <= MAX_VALUE) return n;
    for (n = MAX_VALUE; n > MAX_VALUE - 4 && ((uint8_t)bytes[n] & 0xC0) == 0x80; n--) {
    }
    return n;
}

static const char *keep_value(spn_arena *arena, const spn_gguf_pair *pair) {
    /* An array's texts may be long, too: print at most what a few items of sense take. */
    spn_buf printed = SPN_BUF((size_t)1 << 24);
    size_t n_items = MAX_ITEMS;
    do { /* fewer items where these few do not fit */
        spn_buf_free(&printed);
        printed.failed = false;
        spn_gguf_pair_print(pair, n_items, &printed);
        n_items /= 2;
    } while (printed.failed && n_items > 0);
    if (printed.failed && printed.len + 16 < printed.max) { /* not the limit: no memory */
        spn_buf_free(&printed);
        return NULL;
    }
    const char *text = printed.data ? printed.data : "";
    size_t n = cut(text, printed.len);
    const char *kept = keep_clean(arena, text, n, printed.len - n);
    spn_buf_free(&printed);
    return kept;
}

static const char *keep_type(spn_arena *arena, const spn_gguf_pair *pair) {
    char text[64];
    if (pair->kind != SPN_GGUF_ARRAY) return spn_gguf_kind_name(pair->kind);
    snprintf(text, sizeof text, "array of %s", spn_gguf_kind_name(pair->item_kind));
    return spn_arena_text(arena, text, strlen(text));
}

/* ---- collecting ---- */

static bool collect_metadata(spn_inspection *in, const spn_gguf *gguf) {
    in->n_metadata = spn_gguf_n_pairs(gguf);
    in->metadata = spn_arena_array(&in->arena, in->n_metadata + 1, sizeof *in->metadata);
    for (size_t i = 0; in->metadata != NULL && i < in->n_metadata; i++) {
        const spn_gguf_pair *pair = spn_gguf_pair_at(gguf, i);
        spn_metadata_item *item = &in->metadata[i];
        item->key = keep_name(&in->arena, pair->key);
        item->type = keep_type(&in->arena, pair);
        item->value = keep_value(&in->arena, pair);
        if (item->key == NULL || item->type == NULL || item->value == NULL) return false;
    }
    return in->metadata != NULL;
}

static bool collect_tensors(spn_inspection *in, const spn_gguf *gguf) {
    in->n_tensors = spn_gguf_n_tensors(gguf);
    in->tensors = spn_arena_array(&in->arena, in->n_tensors + 1, sizeof *in->tensors);
    for (size_t i = 0; in->tensors != NULL && i < in->n_tensors; i++) {
        const spn_gguf_tensor *tensor = spn_gguf_tensor_at(gguf, i);
        spn_tensor_item *item = &in->tensors[i];
        item->name = keep_name(&in->arena, tensor->name);
        item->type = spn_type_name(tensor->type);
        item->n_dims = tensor->n_dims;
        for (int d = 0; d < SPN_GGUF_MAX_DIMS; d++) item->shape[d] = tensor->ne[d];
        item->n_bytes = tensor->n_bytes;
        if (item->name == NULL) return false;
    }
    return in->tensors != NULL;
}

spn_status spn_inspect(spn_inspection **out, const char *path, spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    spn_gguf *gguf = NULL;
    spn_inspection *in = spn_alloc_zeroed(1, sizeof *in);
    if (in == NULL) return SPN_NO_MEMORY(err, "an inspection");
    in->arena.max = MAX_TEXTS;
    SPN_TRY_GOTO(spn_gguf_open(&gguf, path, err));
    in->version = spn_gguf_version(gguf);
    in->file_bytes = spn_gguf_file_bytes(gguf);
    if (!collect_metadata(in, gguf) || !collect_tensors(in, gguf)) {
        status = SPN_NO_MEMORY(err, "the description of a model file");
        goto done;
    }
    *out = in;
    in = NULL;
done:
    spn_gguf_close(gguf);
    spn_inspection_free(in);
    return status;
}

void spn_inspection_free(spn_inspection *in) {
    if (in == NULL) return;
    spn_arena_free(&in->arena);
    spn_free(in);
}

/* ---- reading ---- */

uint32_t spn_inspection_version(const spn_inspection *in) { return in->version; }
uint64_t spn_inspection_file_bytes(const spn_inspection *in) { return in->file_bytes; }
size_t spn_inspection_n_metadata(const spn_inspection *in) { return in->n_metadata; }
size_t spn_inspection_n_tensors(const spn_inspection *in) { return in->n_tensors; }

bool spn_inspection_metadata(const spn_inspection *in, size_t i, spn_metadata_item *out) {
    if (i >= in->n_metadata) return false;
    *out = in->metadata[i];
    return true;
}

bool spn_inspection_tensor(const spn_inspection *in, size_t i, spn_tensor_item *out) {
    if (i >= in->n_tensors) return false;
    *out = in->tensors[i];
    return true;
}
