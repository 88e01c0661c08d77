/* gguf_write.c - writes GGUF files, version 3. SPDX-License-Identifier: Apache-2.0
 *
 * Metadata is kept as the very bytes that go into the file; tensors as descriptions with pointers
 * to the caller's data. What the reader refuses cannot be written: empty or double names, shapes
 * that do not fit their type.
 */
#include <inttypes.h>
#include <stdio.h>

#include "gguf/gguf_internal.h"

#define GGUF_VERSION 3u
/* Readers in the field take tensor names of fewer than 64 bytes. */
enum { MAX_KEY = 65535, MAX_TENSOR_NAME = 63 };

typedef struct key_place {
    size_t at; /* in `pairs` */
    size_t len;
} key_place;

struct spn_gguf_writer {
    spn_buf pairs;
    key_place *keys;
    size_t n_keys, cap_keys;
    spn_gguf_tensor *tensors; /* names are the writer's own copies */
    size_t n_tensors, cap_tensors;
    uint32_t alignment;
};

spn_status spn_gguf_writer_create(spn_gguf_writer **out, spn_error *err) {
    spn_gguf_writer *writer = spn_alloc_zeroed(1, sizeof *writer);
    if (writer == NULL) return SPN_NO_MEMORY(err, "a model's writer");
    writer->alignment = GGUF_DEFAULT_ALIGNMENT;
    *out = writer;
    return SPN_STATUS_OK;
}

void spn_gguf_writer_free(spn_gguf_writer *writer) {
    if (writer == NULL) return;
    for (size_t i = 0; i < writer->n_tensors; i++)
        spn_free((void *)(uintptr_t)writer->tensors[i].name.data);
    spn_free(writer->tensors);
    spn_free(writer->keys);
    spn_buf_free(&writer->pairs);
    spn_free(writer);
}

static void put_u32(spn_buf *buf, uint32_t value) { spn_buf_append(buf, &value, sizeof value); }

static void put_u64(spn_buf *buf, uint64_t value) { spn_buf_append(buf, &value, sizeof value); }

static void put_str(spn_buf *buf, const char *bytes, size_t n_bytes) {
    put_u64(buf, n_bytes);
    spn_buf_append(buf, bytes, n_bytes);
}

static bool grow(void **items, size_t n, size_t *cap, size_t item_bytes) {
    if (n < *cap) return true;
    size_t more = *cap ? *cap * 2 : 16;
    void *grown = spn_realloc_array(*items, more, item_bytes);
    if (grown == NULL) return false;
    *items = grown;
    *cap = more;
    return true;
}

/* ---- metadata ---- */

static spn_status check_key(const spn_gguf_writer *writer, spn_gguf_str key, spn_error *err) {
    char shown[GGUF_SHOWN];
    if (key.len == 0 || key.len > MAX_KEY)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a key of %zu bytes cannot be written", key.len);
    for (size_t i = 0; i < writer->n_keys; i++) {
        const key_place *place = &writer->keys[i];
        if (place->len == key.len && memcmp(writer->pairs.data + place->at, key.data, key.len) == 0)
            return SPN_FAIL(err, INVALID_ARGUMENT, "the key %s is written twice",
                            spn_gguf_show(shown, key));
    }
    return SPN_STATUS_OK;
}

static spn_status check_alignment(spn_gguf_str key, spn_gguf_kind kind, const void *value,
                                  uint32_t *alignment, spn_error *err) {
    static const char name[] = "general.alignment";
    if (key.len != sizeof name - 1 || memcmp(key.data, name, key.len) != 0) return SPN_STATUS_OK;
    uint32_t wanted = kind == SPN_GGUF_U32 ? gguf_load_u32(value) : 0;
    if (!spn_gguf_alignment_ok(wanted))
        return SPN_FAIL(err, INVALID_ARGUMENT,
                        "general.alignment must be a u32 and a power of two from 8 on");
    *alignment = wanted;
    return SPN_STATUS_OK;
}

/* A pair's value in up to two pieces, for all kinds alike. */
typedef struct value_bytes {
    spn_gguf_kind kind, item_kind;
    uint64_t n_items;         /* of an array */
    const void *data;         /* the items as they go into the file; unused with `strs` */
    size_t n_bytes;           /* of data */
    const spn_gguf_str *strs; /* n_items strings instead of data */
} value_bytes;

static void put_value(spn_buf *buf, const value_bytes *value) {
    put_u32(buf, (uint32_t)value->kind);
    if (value->kind == SPN_GGUF_ARRAY) {
        put_u32(buf, (uint32_t)value->item_kind);
        put_u64(buf, value->n_items);
    }
    if (value->strs == NULL) {
        spn_buf_append(buf, value->data, value->n_bytes);
        return;
    }
    for (uint64_t i = 0; i < value->n_items && !buf->failed; i++)
        put_str(buf, value->strs[i].data, value->strs[i].len);
}

static spn_status add_pair(spn_gguf_writer *writer, spn_gguf_str key, const value_bytes *value,
                           spn_error *err) {
    uint32_t alignment = writer->alignment;
    SPN_TRY(check_key(writer, key, err));
    SPN_TRY(check_alignment(key, value->kind, value->data, &alignment, err));
    void *keys = writer->keys;
    bool ok = grow(&keys, writer->n_keys, &writer->cap_keys, sizeof *writer->keys);
    writer->keys = keys;
    spn_buf *buf = &writer->pairs;
    size_t before = buf->len;
    if (ok) {
        put_str(buf, key.data, key.len);
        put_value(buf, value);
        ok = !buf->failed;
    }
    if (!ok) {
        buf->len = before;
        buf->failed = false;
        if (buf->data != NULL) buf->data[before] = '\0';
        return SPN_NO_MEMORY(err, "a model's metadata");
    }
    writer->keys[writer->n_keys++] = (key_place){before + 8, key.len};
    writer->alignment = alignment;
    return SPN_STATUS_OK;
}

static spn_status add_scalar(spn_gguf_writer *writer, const char *key, spn_gguf_kind kind,
                             const void *data, spn_error *err) {
    value_bytes value = {.kind = kind, .data = data, .n_bytes = spn_gguf_kind_bytes(kind)};
    return add_pair(writer, (spn_gguf_str){key, strlen(key)}, &value, err);
}

spn_status spn_gguf_writer_u32(spn_gguf_writer *writer, const char *key, uint32_t value,
                               spn_error *err) {
    return add_scalar(writer, key, SPN_GGUF_U32, &value, err);
}

spn_status spn_gguf_writer_f32(spn_gguf_writer *writer, const char *key, float value,
                               spn_error *err) {
    return add_scalar(writer, key, SPN_GGUF_F32, &value, err);
}

spn_status spn_gguf_writer_bool(spn_gguf_writer *writer, const char *key, bool value,
                                spn_error *err) {
    uint8_t byte = value ? 1 : 0;
    return add_scalar(writer, key, SPN_GGUF_BOOL, &byte, err);
}

spn_status spn_gguf_writer_str(spn_gguf_writer *writer, const char *key, const char *bytes,
                               size_t n_bytes, spn_error *err) {
    spn_gguf_str str = {bytes, n_bytes};
    value_bytes value = {.kind = SPN_GGUF_STRING, .n_items = 1, .strs = &str};
    return add_pair(writer, (spn_gguf_str){key, strlen(key)}, &value, err);
}

spn_status spn_gguf_writer_array(spn_gguf_writer *writer, const char *key, spn_gguf_kind kind,
                                 const void *items, size_t n_items, spn_error *err) {
    size_t n_bytes;
    if (spn_gguf_kind_bytes(kind) == 0)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%s: an array cannot have items of this kind", key);
    if (!spn_mul_size(n_items, spn_gguf_kind_bytes(kind), &n_bytes))
        return SPN_FAIL(err, INVALID_ARGUMENT, "%s: %zu items are too many", key, n_items);
    value_bytes value = {.kind = SPN_GGUF_ARRAY,
                         .item_kind = kind,
                         .n_items = n_items,
                         .data = items,
                         .n_bytes = n_bytes};
    return add_pair(writer, (spn_gguf_str){key, strlen(key)}, &value, err);
}

spn_status spn_gguf_writer_str_array(spn_gguf_writer *writer, const char *key,
                                     const spn_gguf_str *items, size_t n_items, spn_error *err) {
    value_bytes value = {.kind = SPN_GGUF_ARRAY,
                         .item_kind = SPN_GGUF_STRING,
                         .n_items = n_items,
                         .strs = n_items > 0 ? items : NULL};
    return add_pair(writer, (spn_gguf_str){key, strlen(key)}, &value, err);
}

spn_status spn_gguf_writer_copy_pair(spn_gguf_writer *writer, const spn_gguf_pair *pair,
                                     spn_error *err) {
    value_bytes value = {.kind = pair->kind,
                         .item_kind = pair->item_kind,
                         .n_items = pair->n_items,
                         .data = pair->data,
                         .n_bytes = pair->n_bytes};
    return add_pair(writer, pair->key, &value, err);
}

/* ---- tensors ---- */

static spn_status check_tensor(const spn_gguf_writer *writer, const spn_gguf_tensor *tensor,
                               spn_error *err) {
    if (tensor->name.len == 0 || tensor->name.len > MAX_TENSOR_NAME)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a tensor's name of %zu bytes cannot be written",
                        tensor->name.len);
    for (size_t i = 0; i < writer->n_tensors; i++)
        if (writer->tensors[i].name.len == tensor->name.len &&
            memcmp(writer->tensors[i].name.data, tensor->name.data, tensor->name.len) == 0)
            return SPN_FAIL(err, INVALID_ARGUMENT, "the tensor %s is written twice",
                            tensor->name.data);
    return SPN_STATUS_OK;
}

spn_status spn_gguf_writer_tensor(spn_gguf_writer *writer, const char *name, spn_type type,
                                  const uint64_t *ne, uint32_t n_dims, const void *data,
                                  spn_error *err) {
    spn_gguf_tensor tensor = {.name = {name, strlen(name)},
                              .type = type,
                              .n_dims = n_dims,
                              .ne = {1, 1, 1, 1},
                              .data = data};
    const char *why;
    uint64_t n_bytes;
    SPN_TRY(check_tensor(writer, &tensor, err));
    if (n_dims > SPN_GGUF_MAX_DIMS)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%s: %" PRIu32 " dimensions are too many", name,
                        n_dims);
    if (!spn_gguf_tensor_bytes((uint32_t)type, ne, n_dims, &n_bytes, &why))
        return SPN_FAIL(err, INVALID_ARGUMENT, "%s cannot be written: %s", name, why);
    tensor.n_bytes = (size_t)n_bytes;
    for (uint32_t i = 0; i < n_dims; i++) tensor.ne[i] = ne[i];
    void *tensors = writer->tensors;
    bool ok = grow(&tensors, writer->n_tensors, &writer->cap_tensors, sizeof tensor);
    writer->tensors = tensors;
    if (ok) tensor.name.data = spn_strdup(name);
    if (!ok || tensor.name.data == NULL) return SPN_NO_MEMORY(err, "a model's list of tensors");
    writer->tensors[writer->n_tensors++] = tensor;
    return SPN_STATUS_OK;
}

/* ---- the file ---- */

typedef struct output {
    spn_file *file;
    uint64_t at;
    uint32_t alignment;
} output;

static spn_status put(output *out, const void *bytes, size_t n_bytes, spn_error *err) {
    SPN_TRY(spn_file_write_at(out->file, bytes, n_bytes, out->at, err));
    out->at += n_bytes;
    return SPN_STATUS_OK;
}

static spn_status pad(output *out, spn_error *err) {
    static const char zeros[4096];
    uint64_t left = (out->alignment - out->at % out->alignment) % out->alignment;
    while (left > 0) {
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        SPN_TRY(put(out, zeros, n, err));
        left -= n;
    }
    return SPN_STATUS_OK;
}

static void put_head(const spn_gguf_writer *writer, spn_buf *head) {
    uint64_t offset = 0, mask = writer->alignment - 1;
    spn_buf_append(head, "GGUF", 4);
    put_u32(head, GGUF_VERSION);
    put_u64(head, writer->n_tensors);
    put_u64(head, writer->n_keys);
    spn_buf_append(head, writer->pairs.data, writer->pairs.len);
    for (size_t i = 0; i < writer->n_tensors; i++) {
        const spn_gguf_tensor *tensor = &writer->tensors[i];
        put_str(head, tensor->name.data, tensor->name.len);
        put_u32(head, tensor->n_dims);
        for (uint32_t d = 0; d < tensor->n_dims; d++) put_u64(head, tensor->ne[d]);
        put_u32(head, (uint32_t)tensor->type);
        put_u64(head, offset);
        offset = (offset + tensor->n_bytes + mask) & ~mask;
    }
}

static spn_status put_all(const spn_gguf_writer *writer, output *out, spn_error *err) {
    spn_buf head = SPN_BUF((size_t)2 << 30);
    spn_status status = SPN_STATUS_OK;
    put_head(writer, &head);
    if (head.failed)
        status = SPN_NO_MEMORY(err, "a model file's head");
    else
        status = put(out, head.data, head.len, err);
    spn_buf_free(&head);
    if (status == SPN_STATUS_OK) status = pad(out, err);
    for (size_t i = 0; status == SPN_STATUS_OK && i < writer->n_tensors; i++) {
        status = put(out, writer->tensors[i].data, writer->tensors[i].n_bytes, err);
        if (status == SPN_STATUS_OK) status = pad(out, err);
    }
    return status;
}

spn_status spn_gguf_writer_write(const spn_gguf_writer *writer, const char *path, spn_error *err) {
    spn_buf temp = SPN_BUF(0);
    output out = {.alignment = writer->alignment};
    spn_status status;
    if (!spn_buf_printf(&temp, "%s.tmp", path)) {
        spn_buf_free(&temp);
        return SPN_NO_MEMORY(err, "a model's path");
    }
    SPN_TRY_GOTO(spn_file_open(&out.file, temp.data, SPN_FILE_WRITE_NEW, err));
    SPN_TRY_GOTO(put_all(writer, &out, err));
    SPN_TRY_GOTO(spn_file_sync(out.file, err));
    spn_file_close(out.file);
    out.file = NULL;
    status = spn_path_rename(temp.data, path, err);
    if (status != SPN_STATUS_OK) spn_path_remove(temp.data, NULL);
done:
    if (out.file != NULL) {
        spn_file_close(out.file);
        spn_path_remove(temp.data, NULL);
    }
    spn_buf_free(&temp);
    return status;
}
