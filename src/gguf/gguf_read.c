/* gguf_read.c - parses and checks one GGUF file in memory. SPDX-License-Identifier: Apache-2.0
 *
 * The cursor is the only way to the bytes, and every step of it is checked against what is left.
 * Counts are never believed: arrays grow as items are really read, so memory stays within a small
 * multiple of the file. An error tells the file, the thing in it, the field and its byte offset.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "gguf/gguf_internal.h"

/* The format's limit for keys; tensor names are held to the same. */
#define MAX_NAME 65535u
/* Far above any model (the largest have some thousand tensors), and item numbers fit 32 bits. */
#define MAX_ITEMS ((uint64_t)1 << 24)
/* The least an item takes in the file: a pair is key length, one character, kind and a byte of
 * value; a tensor is name length, one character, number of dimensions, type and offset. */
#define MIN_PAIR_BYTES (8u + 1 + 4 + 1)
#define MIN_TENSOR_BYTES (8u + 1 + 4 + 4 + 8)

typedef struct cursor {
    const gguf_part *part;
    size_t at;
    const char *item; /* what is being read, for messages: "metadata pair", "tensor" */
    size_t item_no;
    spn_gguf_str item_name; /* once it is known */
    spn_error *err;
} cursor;

static size_t left(const cursor *c) { return c->part->n_bytes - c->at; }

const char *spn_gguf_show(char out[GGUF_SHOWN], spn_gguf_str name) {
    size_t len = 0;
    for (size_t i = 0; i < name.len; i++) {
        if (len + 8 > GGUF_SHOWN) {
            memcpy(out + len, "...", 3);
            len += 3;
            break;
        }
        uint8_t c = (uint8_t)name.data[i];
        if (c >= ' ' && c <= '~' && c != '"' && c != '\\')
            out[len++] = (char)c;
        else
            len += (size_t)snprintf(out + len, 5, "\\x%02x", c);
    }
    out[len] = '\0';
    return out;
}

const char *spn_gguf_show_path(char out[GGUF_SHOWN_PATH], const char *path) {
    size_t len = strlen(path);
    bool cut = len >= GGUF_SHOWN_PATH;
    snprintf(out, GGUF_SHOWN_PATH, "%s%s", cut ? "..." : "",
             cut ? path + len - (GGUF_SHOWN_PATH - 4) : path);
    return out;
}

/* "FILE: metadata pair 3 ("general.name"): value length at byte 1234: ..." */
static spn_status bad(const cursor *c, const char *field, size_t at, const char *fmt, ...)
    SPN_PRINTF(4, 5);
static spn_status bad(const cursor *c, const char *field, size_t at, const char *fmt, ...) {
    char why[160], item[160] = "", name[GGUF_SHOWN], path[GGUF_SHOWN_PATH];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    if (c->item != NULL && c->item_name.data != NULL)
        snprintf(item, sizeof item, "%s %zu (\"%s\"): ", c->item, c->item_no,
                 spn_gguf_show(name, c->item_name));
    else if (c->item != NULL)
        snprintf(item, sizeof item, "%s %zu: ", c->item, c->item_no);
    return SPN_FAIL(c->err, FORMAT, "%s: %s%s at byte %zu: %s",
                    spn_gguf_show_path(path, c->part->path), item, field, at, why);
}

static spn_status too_short(const cursor *c, const char *field, uint64_t need) {
    return bad(c, field, c->at, "the file ends too early: %" PRIu64 " bytes needed, %zu left", need,
               left(c));
}

static spn_status take_u32(cursor *c, const char *field, uint32_t *out) {
    if (left(c) < sizeof *out) return too_short(c, field, sizeof *out);
    *out = gguf_load_u32(c->part->data + c->at);
    c->at += sizeof *out;
    return SPN_STATUS_OK;
}

static spn_status take_u64(cursor *c, const char *field, uint64_t *out) {
    if (left(c) < sizeof *out) return too_short(c, field, sizeof *out);
    *out = gguf_load_u64(c->part->data + c->at);
    c->at += sizeof *out;
    return SPN_STATUS_OK;
}

static spn_status take_str(cursor *c, const char *field, spn_gguf_str *out) {
    size_t start = c->at;
    uint64_t len = 0;
    SPN_TRY(take_u64(c, field, &len));
    if (len > left(c))
        return bad(c, field, start, "a length of %" PRIu64 " bytes, but only %zu are left", len,
                   left(c));
    *out = (spn_gguf_str){(const char *)c->part->data + c->at, (size_t)len};
    c->at += (size_t)len;
    return SPN_STATUS_OK;
}

static spn_status take_name(cursor *c, const char *field, spn_gguf_str *out) {
    size_t start = c->at;
    spn_gguf_str name = {0};
    SPN_TRY(take_str(c, field, &name));
    if (name.len == 0) return bad(c, field, start, "it is empty");
    if (name.len > MAX_NAME)
        return bad(c, field, start, "%zu bytes long, %u are allowed", name.len, MAX_NAME);
    *out = name;
    return SPN_STATUS_OK;
}

/* ---- metadata ---- */

size_t spn_gguf_kind_bytes(spn_gguf_kind kind) {
    static const uint8_t bytes[SPN_GGUF_KIND_COUNT] = {
        [SPN_GGUF_U8] = 1,  [SPN_GGUF_I8] = 1,  [SPN_GGUF_U16] = 2, [SPN_GGUF_I16] = 2,
        [SPN_GGUF_U32] = 4, [SPN_GGUF_I32] = 4, [SPN_GGUF_F32] = 4, [SPN_GGUF_BOOL] = 1,
        [SPN_GGUF_U64] = 8, [SPN_GGUF_I64] = 8, [SPN_GGUF_F64] = 8};
    return (unsigned)kind < SPN_GGUF_KIND_COUNT ? bytes[kind] : 0;
}

static spn_status take_kind(cursor *c, const char *field, spn_gguf_kind *out) {
    uint32_t kind = 0;
    SPN_TRY(take_u32(c, field, &kind));
    if (kind >= SPN_GGUF_KIND_COUNT)
        return bad(c, field, c->at - sizeof kind, "%" PRIu32 " is no value type", kind);
    *out = (spn_gguf_kind)kind;
    return SPN_STATUS_OK;
}

static spn_status check_bools(cursor *c, const uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (data[i] > 1)
            return bad(c, "value", c->at + i, "a bool is 0 or 1, not %u", (unsigned)data[i]);
    return SPN_STATUS_OK;
}

/* `n` values of one kind that is no array, one behind the other. */
static spn_status skip_values(cursor *c, spn_gguf_kind kind, uint64_t n) {
    if (kind == SPN_GGUF_STRING) {
        spn_gguf_str item;
        for (uint64_t i = 0; i < n; i++) SPN_TRY(take_str(c, "string length", &item));
        return SPN_STATUS_OK;
    }
    size_t item_bytes = spn_gguf_kind_bytes(kind);
    if (item_bytes == 0 || n > left(c) / item_bytes)
        return bad(c, "value", c->at, "%" PRIu64 " items of %zu bytes, but only %zu bytes are left",
                   n, item_bytes, left(c));
    size_t n_bytes = (size_t)n * item_bytes;
    if (kind == SPN_GGUF_BOOL) SPN_TRY(check_bools(c, c->part->data + c->at, n_bytes));
    c->at += n_bytes;
    return SPN_STATUS_OK;
}

static spn_status take_array_head(cursor *c, spn_gguf_pair *pair) {
    size_t start = c->at;
    SPN_TRY(take_kind(c, "item type", &pair->item_kind));
    if (pair->item_kind == SPN_GGUF_ARRAY)
        return bad(c, "item type", start, "arrays of arrays are not supported");
    start = c->at;
    SPN_TRY(take_u64(c, "array length", &pair->n_items));
    size_t least = pair->item_kind == SPN_GGUF_STRING ? 8 : spn_gguf_kind_bytes(pair->item_kind);
    if (pair->n_items > left(c) / least)
        return bad(c, "array length", start,
                   "%" PRIu64 " items need at least %zu bytes each, but only %zu bytes are left",
                   pair->n_items, least, left(c));
    return SPN_STATUS_OK;
}

static spn_status take_pair(cursor *c, spn_gguf_pair *out) {
    spn_gguf_pair pair = {.n_items = 1};
    SPN_TRY(take_name(c, "key", &pair.key));
    c->item_name = pair.key;
    SPN_TRY(take_kind(c, "value type", &pair.kind));
    pair.item_kind = pair.kind;
    if (pair.kind == SPN_GGUF_ARRAY) SPN_TRY(take_array_head(c, &pair));
    pair.data = c->part->data + c->at;
    SPN_TRY(skip_values(c, pair.item_kind, pair.n_items));
    pair.n_bytes = (size_t)(c->part->data + c->at - pair.data);
    *out = pair;
    return SPN_STATUS_OK;
}

/* Room for one more item, by doubling; NULL when there is no memory. */
static void *grow(void *items, size_t n, size_t *cap, size_t item_bytes) {
    if (n < *cap) return items;
    size_t more = *cap ? *cap * 2 : 16;
    void *grown = spn_realloc_array(items, more, item_bytes);
    if (grown != NULL) *cap = more;
    return grown;
}

static spn_status read_pairs(cursor *c, gguf_part *part, uint64_t n) {
    c->item = "metadata pair";
    for (c->item_no = 0; c->item_no < n; c->item_no++) {
        void *grown = grow(part->pairs, part->n_pairs, &part->cap_pairs, sizeof *part->pairs);
        if (grown == NULL) return SPN_NO_MEMORY(c->err, "a model's metadata");
        part->pairs = grown;
        c->item_name = (spn_gguf_str){0};
        SPN_TRY(take_pair(c, &part->pairs[part->n_pairs]));
        part->n_pairs++;
    }
    size_t duplicate;
    SPN_TRY(spn_gguf_index_build(&part->pair_index, spn_gguf_pair_names(part->pairs, part->n_pairs),
                                 &duplicate, c->err));
    if (duplicate == part->n_pairs) return SPN_STATUS_OK;
    c->item_no = duplicate;
    c->item_name = part->pairs[duplicate].key;
    return bad(c, "key", (size_t)((const uint8_t *)c->item_name.data - part->data),
               "an earlier pair has the same key");
}

const spn_gguf_pair *spn_gguf_part_find(const gguf_part *part, const char *key) {
    size_t i =
        spn_gguf_index_find(&part->pair_index, spn_gguf_pair_names(part->pairs, part->n_pairs),
                            (spn_gguf_str){key, strlen(key)});
    return i < part->n_pairs ? &part->pairs[i] : NULL;
}

static spn_status read_alignment(cursor *c, gguf_part *part) {
    part->alignment = GGUF_DEFAULT_ALIGNMENT;
    const spn_gguf_pair *pair = spn_gguf_part_find(part, "general.alignment");
    if (pair == NULL) return SPN_STATUS_OK;
    c->item_no = (size_t)(pair - part->pairs);
    c->item_name = pair->key;
    size_t at = (size_t)(pair->data - part->data);
    if (pair->kind != SPN_GGUF_U32)
        return bad(c, "value type", at, "it must be u32, not %s", spn_gguf_kind_name(pair->kind));
    part->alignment = gguf_load_u32(pair->data);
    if (!spn_gguf_alignment_ok(part->alignment))
        return bad(c, "value", at, "%" PRIu32 " is no power of two from 8 on", part->alignment);
    return SPN_STATUS_OK;
}

/* ---- tensors ---- */

bool spn_gguf_tensor_bytes(uint32_t type, const uint64_t *ne, uint32_t n_dims, uint64_t *out,
                           const char **why) {
    const spn_type_traits *traits = spn_type_traits_of(type);
    uint64_t row = n_dims > 0 ? ne[0] : 1;
    *why = "the type is unknown";
    if (traits == NULL) return false;
    *why = "a dimension is 0";
    for (uint32_t i = 0; i < n_dims; i++)
        if (ne[i] == 0) return false;
    *why = "a row is no whole number of its type's blocks";
    if (row % traits->block_len != 0) return false;
    /* The number of elements must fit too, not only that of bytes, which may be smaller. */
    *why = "the size overflows";
    uint64_t n_elements = 1;
    for (uint32_t i = 0; i < n_dims; i++) {
        if (ne[i] > INT64_MAX / n_elements) return false;
        n_elements *= ne[i];
    }
    uint64_t n_blocks = n_elements / traits->block_len;
    if (n_blocks > INT64_MAX / traits->block_bytes) return false;
    *out = n_blocks * traits->block_bytes;
    return *out <= SIZE_MAX;
}

/* The description only: `data` is filled in once all are read and the data's start is known. Until
 * then `data` is NULL and *offset has the place. */
static spn_status take_tensor(cursor *c, spn_gguf_tensor *out, uint64_t *offset) {
    spn_gguf_tensor tensor = {.ne = {1, 1, 1, 1}};
    SPN_TRY(take_name(c, "name", &tensor.name));
    c->item_name = tensor.name;
    size_t start = c->at;
    SPN_TRY(take_u32(c, "number of dimensions", &tensor.n_dims));
    if (tensor.n_dims > SPN_GGUF_MAX_DIMS)
        return bad(c, "number of dimensions", start, "%" PRIu32 ", at most %d are allowed",
                   tensor.n_dims, SPN_GGUF_MAX_DIMS);
    size_t dims_at = c->at;
    for (uint32_t i = 0; i < tensor.n_dims; i++) SPN_TRY(take_u64(c, "dimension", &tensor.ne[i]));
    start = c->at;
    uint32_t type = 0;
    SPN_TRY(take_u32(c, "type", &type));
    if (spn_type_traits_of(type) == NULL)
        return bad(c, "type", start, "%" PRIu32 " is no tensor type that this version knows", type);
    tensor.type = (spn_type)type;
    uint64_t n_bytes = 0;
    const char *why;
    if (!spn_gguf_tensor_bytes(type, tensor.ne, tensor.n_dims, &n_bytes, &why))
        return bad(c, "dimensions", dims_at, "%s (type %s)", why, spn_type_name(tensor.type));
    tensor.n_bytes = (size_t)n_bytes;
    start = c->at;
    SPN_TRY(take_u64(c, "offset", offset));
    if (*offset % c->part->alignment != 0)
        return bad(c, "offset", start, "%" PRIu64 " is no multiple of the alignment %" PRIu32,
                   *offset, c->part->alignment);
    *out = tensor;
    return SPN_STATUS_OK;
}

/* A tensor's offset lies in the last 8 bytes of its description; this finds them again. */
static size_t offset_field(const gguf_part *part, const spn_gguf_tensor *tensor) {
    const uint8_t *name_end = (const uint8_t *)tensor->name.data + tensor->name.len;
    return (size_t)(name_end - part->data) + 4 + 8 * (size_t)tensor->n_dims + 4;
}

static spn_status place_tensors(cursor *c, gguf_part *part) {
    /* No data, no padding: files of vocabularies end with their metadata. */
    size_t skip = (part->alignment - c->at % part->alignment) % part->alignment;
    size_t data_at = c->at + spn_min_size(skip, left(c));
    uint64_t n_data = part->n_bytes - data_at;
    for (c->item_no = 0; c->item_no < part->n_tensors; c->item_no++) {
        spn_gguf_tensor *tensor = &part->tensors[c->item_no];
        c->item_name = tensor->name;
        size_t field = offset_field(part, tensor);
        uint64_t offset = gguf_load_u64(part->data + field);
        if (offset > n_data || tensor->n_bytes > n_data - offset)
            return bad(c, "offset", field,
                       "%zu bytes from %" PRIu64 " on, but the file has %" PRIu64
                       " bytes of data: it is cut off",
                       tensor->n_bytes, offset, n_data);
        tensor->data = part->data + data_at + offset;
    }
    return SPN_STATUS_OK;
}

static int compare_places(const void *a, const void *b) {
    const spn_gguf_tensor *const *x = a, *const *y = b;
    return ((*x)->data > (*y)->data) - ((*x)->data < (*y)->data);
}

/* Tensors that share bytes would let a small file ask for many times its size, once they are
 * unpacked. Writers put them in order; only for those that do not, they are sorted. */
static spn_status check_overlaps(cursor *c, gguf_part *part) {
    bool ordered = true;
    for (size_t i = 1; ordered && i < part->n_tensors; i++) {
        const spn_gguf_tensor *before = &part->tensors[i - 1];
        ordered = part->tensors[i].data >= before->data + before->n_bytes;
    }
    if (ordered) return SPN_STATUS_OK;
    const spn_gguf_tensor **sorted = spn_alloc_array(part->n_tensors, sizeof part->tensors);
    if (sorted == NULL) return SPN_NO_MEMORY(c->err, "the order of a model's tensors");
    for (size_t i = 0; i < part->n_tensors; i++) sorted[i] = &part->tensors[i];
    qsort(sorted, part->n_tensors, sizeof *sorted, compare_places);
    spn_status status = SPN_STATUS_OK;
    for (size_t i = 1; status == SPN_STATUS_OK && i < part->n_tensors; i++) {
        if (sorted[i]->data >= sorted[i - 1]->data + sorted[i - 1]->n_bytes) continue;
        char name[GGUF_SHOWN];
        c->item_no = (size_t)(sorted[i] - part->tensors);
        c->item_name = sorted[i]->name;
        status = bad(c, "offset", offset_field(part, sorted[i]), "its data overlaps that of \"%s\"",
                     spn_gguf_show(name, sorted[i - 1]->name));
    }
    spn_free(sorted);
    return status;
}

static spn_status read_tensors(cursor *c, gguf_part *part, uint64_t n) {
    c->item = "tensor";
    uint64_t offset = 0;
    for (c->item_no = 0; c->item_no < n; c->item_no++) {
        void *grown =
            grow(part->tensors, part->n_tensors, &part->cap_tensors, sizeof *part->tensors);
        if (grown == NULL) return SPN_NO_MEMORY(c->err, "a model's list of tensors");
        part->tensors = grown;
        c->item_name = (spn_gguf_str){0};
        SPN_TRY(take_tensor(c, &part->tensors[part->n_tensors], &offset));
        part->n_tensors++;
    }
    SPN_TRY(place_tensors(c, part));
    return check_overlaps(c, part);
}

/* ---- the head ---- */

static bool starts_with(const gguf_part *part, const char *text) {
    size_t len = strlen(text);
    return part->n_bytes >= len && memcmp(part->data, text, len) == 0;
}

/* What people most often have in place of a model. */
static const char *guess_what_it_is(const gguf_part *part) {
    static const struct {
        const char *start, *is;
    } known[] = {
        {"lmgg", "this is a GGML file, which is older than GGUF: convert the model again"},
        {"tjgg", "this is a GGJT file, which is older than GGUF: convert the model again"},
        {"fmgg", "this is a GGMF file, which is older than GGUF: convert the model again"},
        {"algg", "this is a GGLA adapter, not a model"},
        {"version https://git-lfs", "this is a Git LFS pointer: the model itself must be fetched"},
        {"<", "this is a web page, not a model: download it again"},
        {"PK\3\4", "this is a ZIP or PyTorch file: convert the model to GGUF"},
        {"{", "this is a JSON text, not a model"},
    };
    if (part->n_bytes == 0) return "the file is empty";
    for (size_t i = 0; i < SPN_COUNT(known); i++)
        if (starts_with(part, known[i].start)) return known[i].is;
    if (part->n_bytes > 9 && memcmp(part->data + 8, "{\"", 2) == 0)
        return "this looks like a safetensors file: convert the model to GGUF";
    return "this is no GGUF file";
}

static spn_status read_version(cursor *c, gguf_part *part) {
    if (!starts_with(part, "GGUF")) return bad(c, "magic", 0, "%s", guess_what_it_is(part));
    c->at = 4;
    SPN_TRY(take_u32(c, "version", &part->version));
    if (part->version == 2 || part->version == 3) return SPN_STATUS_OK;
    if ((part->version & 0xFFFF) == 0 && part->version != 0)
        return bad(c, "version", 4, "the file is big-endian, only little-endian ones can be read");
    return bad(c, "version", 4, "%" PRIu32 " is not supported, only 2 and 3 are", part->version);
}

static spn_status check_count(const cursor *c, const char *field, size_t at, uint64_t n,
                              size_t least) {
    if (n > MAX_ITEMS) return bad(c, field, at, "%" PRIu64 " is more than %" PRIu64, n, MAX_ITEMS);
    if (n > left(c) / least)
        return bad(c, field, at, "%" PRIu64 " need at least %zu bytes each, but %zu bytes are left",
                   n, least, left(c));
    return SPN_STATUS_OK;
}

spn_status spn_gguf_part_parse(gguf_part *part, spn_error *err) {
    cursor c = {.part = part, .err = err};
    uint64_t n_tensors = 0, n_pairs = 0;
    SPN_TRY(read_version(&c, part));
    SPN_TRY(take_u64(&c, "number of tensors", &n_tensors));
    SPN_TRY(take_u64(&c, "number of metadata pairs", &n_pairs));
    SPN_TRY(check_count(&c, "number of tensors", 8, n_tensors, MIN_TENSOR_BYTES));
    SPN_TRY(check_count(&c, "number of metadata pairs", 16, n_pairs, MIN_PAIR_BYTES));
    SPN_TRY(read_pairs(&c, part, n_pairs));
    SPN_TRY(read_alignment(&c, part));
    return read_tensors(&c, part, n_tensors);
}

void spn_gguf_part_free(gguf_part *part) {
    spn_gguf_index_free(&part->pair_index);
    spn_free(part->pairs);
    spn_free(part->tensors);
    spn_free(part->path);
    spn_map_close(&part->map);
    *part = (gguf_part){0};
}
