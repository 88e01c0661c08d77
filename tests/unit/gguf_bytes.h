/* gguf_bytes.h - builds GGUF files byte by byte, apart from the library's writer, and reads all of
 * an open one. SPDX-License-Identifier: Apache-2.0 */
#ifndef TEST_GGUF_BYTES_H
#define TEST_GGUF_BYTES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gguf/gguf.h"

typedef struct bytes {
    uint8_t *data;
    size_t n, cap;
} bytes;

static inline void put(bytes *b, const void *data, size_t n) {
    while (b->n + n > b->cap) {
        b->cap = b->cap ? b->cap * 2 : 256;
        b->data = realloc(b->data, b->cap);
        if (b->data == NULL) exit(1);
    }
    if (n > 0) memcpy(b->data + b->n, data, n);
    b->n += n;
}

/* The `n` low bytes of a number, lowest first. */
static inline void put_int(bytes *b, uint64_t value, int n) {
    for (int i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)(value >> 8 * i);
        put(b, &byte, 1);
    }
}

static inline void put_u32(bytes *b, uint64_t value) { put_int(b, value, 4); }
static inline void put_u64(bytes *b, uint64_t value) { put_int(b, value, 8); }

static inline void put_text(bytes *b, const char *text) {
    put_u64(b, strlen(text));
    put(b, text, strlen(text));
}

static inline void put_f32(bytes *b, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_u32(b, bits);
}

static inline void put_f64(bytes *b, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_u64(b, bits);
}

static inline void put_head(bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_pairs) {
    put(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, n_tensors);
    put_u64(b, n_pairs);
}

static inline void put_key(bytes *b, const char *key, uint32_t kind) {
    put_text(b, key);
    put_u32(b, kind);
}

static inline void put_array(bytes *b, const char *key, uint32_t kind, uint64_t n_items) {
    put_key(b, key, 9);
    put_u32(b, kind);
    put_u64(b, n_items);
}

static inline void put_pair_u32(bytes *b, const char *key, uint32_t value) {
    put_key(b, key, 4);
    put_u32(b, value);
}

/* Two dimensions at most; ne1 0: one. */
static inline void put_tensor(bytes *b, const char *name, uint32_t type, uint64_t ne0, uint64_t ne1,
                              uint64_t offset) {
    put_text(b, name);
    put_u32(b, ne1 ? 2 : 1);
    put_u64(b, ne0);
    if (ne1) put_u64(b, ne1);
    put_u32(b, type);
    put_u64(b, offset);
}

static inline void put_padding(bytes *b, size_t alignment) {
    while (b->n % alignment != 0) put(b, "", 1);
}

static inline void put_fill(bytes *b, int byte, size_t n) {
    for (size_t i = 0; i < n; i++) put_int(b, (uint64_t)byte, 1);
}

static inline void bytes_free(bytes *b) {
    free(b->data);
    *b = (bytes){0};
}

/* Reads all that an open file hands out, so that a sanitizer sees every byte of it. */
static inline uint64_t gguf_walk(const spn_gguf *gguf) {
    uint64_t sum = spn_gguf_version(gguf) + spn_gguf_file_bytes(gguf) + spn_gguf_n_files(gguf);
    spn_buf text = SPN_BUF(1 << 20);
    for (size_t i = 0; i < spn_gguf_n_pairs(gguf); i++) {
        const spn_gguf_pair *pair = spn_gguf_pair_at(gguf, i);
        spn_buf_clear(&text);
        spn_gguf_pair_print(pair, 1 << 16, &text);
        sum += text.len;
        for (size_t j = 0; j < pair->n_bytes; j++) sum += pair->data[j];
        char *key = malloc(pair->key.len + 1);
        memcpy(key, pair->key.data, pair->key.len);
        key[pair->key.len] = '\0';
        uint32_t u32[4] = {0};
        float f32[4] = {0};
        bool flag = false;
        size_t n = 0;
        spn_gguf_str str = {0};
        spn_gguf_str_iter iter;
        if (spn_gguf_get_u32(gguf, key, true, u32, NULL) == SPN_STATUS_OK) sum += u32[0];
        if (spn_gguf_get_f32(gguf, key, true, f32, NULL) == SPN_STATUS_OK) sum += f32[0] > 0;
        if (spn_gguf_get_bool(gguf, key, true, &flag, NULL) == SPN_STATUS_OK) sum += flag;
        if (spn_gguf_get_str(gguf, key, true, &str, NULL) == SPN_STATUS_OK) sum += str.len;
        if (spn_gguf_get_u32_array(gguf, key, true, u32, 4, &n, NULL) == SPN_STATUS_OK)
            sum += n + u32[3];
        if (spn_gguf_get_f32_array(gguf, key, true, f32, 4, &n, NULL) == SPN_STATUS_OK)
            sum += n + (f32[3] > 0);
        if (spn_gguf_str_array(gguf, key, &iter, NULL) == SPN_STATUS_OK)
            while (spn_gguf_str_next(&iter, &str))
                for (size_t j = 0; j < str.len; j++) sum += (uint8_t)str.data[j];
        free(key);
    }
    for (size_t i = 0; i < spn_gguf_n_tensors(gguf); i++) {
        const spn_gguf_tensor *tensor = spn_gguf_tensor_at(gguf, i);
        for (size_t j = 0; j < tensor->name.len; j++) sum += (uint8_t)tensor->name.data[j];
        for (size_t j = 0; j < tensor->n_bytes; j++) sum += tensor->data[j];
    }
    spn_buf_free(&text);
    return sum;
}

#endif
