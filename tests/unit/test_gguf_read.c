/* test_gguf_read.c - the reader on files built byte by byte: whole, cut, damaged and lying.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gguf_bytes.h"
#include "hostile_alloc.h"

/* One pair of every kind, arrays, and two tensors; ends with the last byte of tensor data. */
static void put_sample(bytes *b, uint32_t version) {
    put_head(b, version, 2, 15);
    put_key(b, "general.architecture", 8), put_text(b, "test");
    put_key(b, "a.u8", 0), put_int(b, 200, 1);
    put_key(b, "a.i8", 1), put_int(b, 0x80, 1);
    put_key(b, "a.u16", 2), put_int(b, 65535, 2);
    put_key(b, "a.i16", 3), put_int(b, 0xFFFE, 2);
    put_pair_u32(b, "a.u32", 4000000000u);
    put_key(b, "a.i32", 5), put_u32(b, 0xFFFFFFFFu);
    put_key(b, "a.f32", 6), put_f32(b, 0.5f);
    put_key(b, "a.bool", 7), put_int(b, 1, 1);
    put_key(b, "a.u64", 10), put_u64(b, UINT64_C(0x0123456789ABCDEF));
    put_key(b, "a.i64", 11), put_u64(b, UINT64_MAX - 6);
    put_key(b, "a.f64", 12), put_f64(b, -0.25);
    put_array(b, "b.ints", 5, 3), put_u32(b, 7), put_u32(b, 8), put_u32(b, 9);
    put_array(b, "b.texts", 8, 3), put_text(b, "one"), put_text(b, ""), put_text(b, "three");
    put_array(b, "b.flags", 7, 2), put_int(b, 0, 1), put_int(b, 1, 1);
    put_tensor(b, "w.f32", 0, 3, 2, 0);
    put_tensor(b, "w.q8_0", 8, 64, 0, 32);
    put_padding(b, 32);
    for (int i = 0; i < 6; i++) put_f32(b, (float)i);
    put_padding(b, 32);
    put_fill(b, 0x5A, 68); /* two blocks of a half-precision scale and 32 bytes */
}

/* A copy of exactly n bytes, so that a sanitizer sees the first byte behind it. */
static uint8_t *exact_copy(const bytes *b, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    if (n > 0) memcpy(copy, b->data, n);
    return copy;
}

static spn_status open_copy(const bytes *b, size_t n, uint64_t *walked, spn_error *err) {
    uint8_t *copy = exact_copy(b, n);
    spn_gguf *gguf = NULL;
    spn_status status = spn_gguf_open_bytes(&gguf, copy, n, "sample.gguf", err);
    if (status == SPN_STATUS_OK)
        *walked = gguf_walk(gguf);
    else
        assert_null(gguf);
    spn_gguf_close(gguf);
    free(copy);
    return status;
}

static void must_open(const bytes *b) {
    spn_error err = {0};
    uint64_t walked = 0;
    if (open_copy(b, b->n, &walked, &err) != SPN_STATUS_OK) fail_msg("%s", err.text);
    assert_true(walked > 0);
}

/* It must be refused, in words that have `why` in them. */
static void must_fail(const bytes *b, const char *why) {
    spn_error err = {0};
    uint64_t walked = 0;
    assert_int_equal(open_copy(b, b->n, &walked, &err), SPN_STATUS_FORMAT);
    if (strstr(err.text, why) == NULL) fail_msg("no \"%s\" in: %s", why, err.text);
    assert_non_null(strstr(err.text, "sample.gguf: "));
}

static void the_sample_reads_as_written(void **state) {
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        bytes b = {0};
        put_sample(&b, version);
        spn_gguf *gguf = NULL;
        assert_int_equal(spn_gguf_open_bytes(&gguf, b.data, b.n, "sample.gguf", NULL),
                         SPN_STATUS_OK);
        assert_int_equal(spn_gguf_version(gguf), version);
        assert_int_equal(spn_gguf_file_bytes(gguf), b.n);
        assert_int_equal(spn_gguf_n_files(gguf), 1);
        assert_string_equal(spn_gguf_path(gguf, 0), "sample.gguf");
        assert_null(spn_gguf_path(gguf, 1));
        assert_int_equal(spn_gguf_n_pairs(gguf), 15);
        assert_null(spn_gguf_pair_at(gguf, 15));
        const spn_gguf_pair *pair = spn_gguf_pair_at(gguf, 12);
        assert_int_equal(pair->kind, SPN_GGUF_ARRAY);
        assert_int_equal(pair->item_kind, SPN_GGUF_I32);
        assert_int_equal(pair->n_items, 3);
        assert_int_equal(pair->n_bytes, 12);
        assert_ptr_equal(spn_gguf_find(gguf, "b.ints"), pair);
        assert_null(spn_gguf_find(gguf, "b.int"));
        assert_null(spn_gguf_find(gguf, ""));
        assert_int_equal(spn_gguf_n_tensors(gguf), 2);
        const spn_gguf_tensor *tensor = spn_gguf_find_tensor(gguf, "w.q8_0");
        assert_ptr_equal(tensor, spn_gguf_tensor_at(gguf, 1));
        assert_null(spn_gguf_tensor_at(gguf, 2));
        assert_null(spn_gguf_find_tensor(gguf, "w.q8_"));
        assert_int_equal(tensor->type, SPN_TYPE_Q8_0);
        assert_int_equal(tensor->n_dims, 1);
        assert_int_equal(tensor->ne[0], 64);
        assert_int_equal(tensor->ne[1] * tensor->ne[2] * tensor->ne[3], 1);
        assert_int_equal(tensor->n_bytes, 68);
        assert_ptr_equal(tensor->data, b.data + b.n - 68);
        float third;
        memcpy(&third, spn_gguf_find_tensor(gguf, "w.f32")->data + 8, sizeof third);
        assert_true(third == 2.0f);
        const uint8_t *data;
        size_t n;
        spn_gguf_file_span(gguf, 0, &data, &n);
        assert_ptr_equal(data, b.data);
        assert_int_equal(n, b.n);
        spn_gguf_close(gguf);
        bytes_free(&b);
    }
    spn_gguf_close(NULL);
}

/* Every shorter file is refused and says where: the sample has no byte to spare. */
static void truncation_is_noticed_at_every_byte(void **state) {
    (void)state;
    bytes b = {0};
    put_sample(&b, 3);
    for (size_t n = 0; n < b.n; n++) {
        spn_error err = {0};
        uint64_t walked = 0;
        assert_int_equal(open_copy(&b, n, &walked, &err), SPN_STATUS_FORMAT);
        assert_non_null(strstr(err.text, "sample.gguf: "));
        assert_non_null(strstr(err.text, " at byte "));
    }
    bytes_free(&b);
}

static void damage_never_harms(void **state) {
    (void)state;
    static const uint8_t flips[] = {0x01, 0x02, 0x08, 0x20, 0x80, 0x55, 0x7F, 0xFF};
    bytes b = {0};
    put_sample(&b, 3);
    size_t n_opened = 0, n_refused = 0;
    for (size_t at = 0; at < b.n; at++) {
        for (size_t i = 0; i < SPN_COUNT(flips); i++) {
            spn_error err = {0};
            uint64_t walked = 0;
            b.data[at] ^= flips[i];
            spn_status status = open_copy(&b, b.n, &walked, &err);
            b.data[at] ^= flips[i];
            if (status == SPN_STATUS_OK) {
                n_opened++;
                continue;
            }
            n_refused++;
            assert_int_equal(status, SPN_STATUS_FORMAT);
            assert_int_equal(err.status, status);
            assert_non_null(strstr(err.text, "sample.gguf: "));
            assert_non_null(strstr(err.text, "at byte"));
        }
    }
    /* Data and padding may change unnoticed, the head's numbers may not. */
    assert_true(n_opened > 68 * SPN_COUNT(flips));
    assert_true(n_refused > 24 * SPN_COUNT(flips));
    bytes_free(&b);
}

static void versions_and_strangers_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *start;
        size_t n;
        const char *why;
    } strangers[] = {
        {"", 0, "the file is empty"},
        {"GG", 2, "no GGUF file"},
        {"GGUF", 4, "version at byte 4: the file ends too early"},
        {"GGUF\3\0\0\0", 8, "number of tensors at byte 8: the file ends too early"},
        {"lmgg\1\0\0\0", 8, "GGML"},
        {"tjgg\3\0\0\0", 8, "GGJT"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS pointer"},
        {"<!DOCTYPE html>", 15, "web page"},
        {"PK\3\4....", 8, "PyTorch"},
        {"\x20\0\0\0\0\0\0\0{\"x\":1}", 15, "safetensors"},
    };
    for (size_t i = 0; i < SPN_COUNT(strangers); i++) {
        bytes b = {0};
        put(&b, strangers[i].start, strangers[i].n);
        must_fail(&b, strangers[i].why);
        bytes_free(&b);
    }
    static const uint32_t versions[] = {0, 1, 4, 0x7FFFFFFF};
    for (size_t i = 0; i < SPN_COUNT(versions); i++) {
        bytes b = {0};
        put_sample(&b, versions[i]);
        must_fail(&b, "version at byte 4");
        bytes_free(&b);
    }
    bytes b = {0};
    put_sample(&b, 0x03000000);
    must_fail(&b, "big-endian");
    bytes_free(&b);
}

static void empty_models_open(void **state) {
    (void)state;
    bytes b = {0};
    put_head(&b, 3, 0, 0);
    must_open(&b);
    bytes_free(&b);
}

/* ---- lies, one each ---- */

static void counts_are_not_believed(void **state) {
    (void)state;
    static const uint64_t counts[] = {1, 1000, (uint64_t)1 << 24, (uint64_t)1 << 32, UINT64_MAX};
    for (size_t i = 0; i < SPN_COUNT(counts); i++) {
        bytes b = {0};
        put_head(&b, 3, counts[i], 0);
        must_fail(&b, "number of tensors at byte 8");
        bytes_free(&b);
        put_head(&b, 3, 0, counts[i]);
        must_fail(&b, "number of metadata pairs at byte 16");
        bytes_free(&b);
    }
}

static void lengths_are_checked(void **state) {
    (void)state;
    static const uint64_t lengths[] = {100, (uint64_t)1 << 31, (uint64_t)1 << 63, UINT64_MAX - 7,
                                       UINT64_MAX};
    for (size_t i = 0; i < SPN_COUNT(lengths); i++) {
        bytes b = {0};
        put_head(&b, 3, 0, 1), put_u64(&b, lengths[i]), put_fill(&b, 'k', 20);
        must_fail(&b, "metadata pair 0: key at byte 24");
        bytes_free(&b);
        put_head(&b, 3, 0, 1), put_key(&b, "key", 8), put_u64(&b, lengths[i]);
        must_fail(&b, "metadata pair 0 (\"key\"): string length at byte 39");
        bytes_free(&b);
        for (uint32_t kind = 0; kind < SPN_GGUF_KIND_COUNT; kind++) {
            if (kind == SPN_GGUF_ARRAY) continue;
            put_head(&b, 3, 0, 1), put_array(&b, "key", kind, lengths[i]), put_fill(&b, 0, 40);
            must_fail(&b, "metadata pair 0 (\"key\"): array length at byte 43");
            bytes_free(&b);
        }
        put_head(&b, 3, 1, 0), put_u64(&b, lengths[i]), put_fill(&b, 'n', 30);
        must_fail(&b, "tensor 0: name at byte 24");
        bytes_free(&b);
    }
}

static void names_have_a_size(void **state) {
    (void)state;
    bytes b = {0};
    put_head(&b, 3, 0, 1), put_pair_u32(&b, "", 1), put_fill(&b, 0, 8);
    must_fail(&b, "key at byte 24: it is empty");
    bytes_free(&b);
    put_head(&b, 3, 1, 0), put_tensor(&b, "", 0, 1, 0, 0), put_fill(&b, 0, 64);
    must_fail(&b, "name at byte 24: it is empty");
    bytes_free(&b);
    for (size_t len = 65535; len <= 65536; len++) {
        put_head(&b, 3, 0, 1), put_u64(&b, len), put_fill(&b, 'k', len);
        put_u32(&b, 0), put_int(&b, 1, 1);
        if (len == 65535)
            must_open(&b);
        else
            must_fail(&b, "65535 are allowed");
        bytes_free(&b);
    }
}

static void kinds_are_checked(void **state) {
    (void)state;
    bytes b = {0};
    put_head(&b, 3, 0, 1), put_key(&b, "key", 13), put_fill(&b, 0, 8);
    must_fail(&b, "value type at byte 35: 13 is no value type");
    bytes_free(&b);
    put_head(&b, 3, 0, 1), put_array(&b, "key", 99, 1), put_fill(&b, 0, 8);
    must_fail(&b, "item type at byte 39: 99 is no value type");
    bytes_free(&b);
    put_head(&b, 3, 0, 1), put_array(&b, "key", 9, 1), put_u32(&b, 0), put_u64(&b, 0);
    must_fail(&b, "arrays of arrays");
    bytes_free(&b);
    put_head(&b, 3, 0, 1), put_key(&b, "key", 7), put_int(&b, 2, 1);
    must_fail(&b, "value at byte 39: a bool is 0 or 1, not 2");
    bytes_free(&b);
    put_head(&b, 3, 0, 1), put_array(&b, "key", 7, 3), put_int(&b, 0x0300, 3);
    must_fail(&b, "value at byte 52: a bool is 0 or 1, not 3");
    bytes_free(&b);
}

static void names_come_once(void **state) {
    (void)state;
    bytes b = {0};
    put_head(&b, 3, 0, 3);
    put_pair_u32(&b, "one", 1), put_pair_u32(&b, "two", 2), put_pair_u32(&b, "one", 3);
    must_fail(&b, "metadata pair 2 (\"one\"): key at byte 70: an earlier pair has the same key");
    bytes_free(&b);
    put_head(&b, 3, 2, 0);
    put_tensor(&b, "one", 0, 1, 0, 0), put_tensor(&b, "one", 0, 1, 0, 32);
    put_padding(&b, 32), put_fill(&b, 0, 64);
    must_fail(&b, "tensor 1 (\"one\")");
    bytes_free(&b);
}

static void many_names_are_found(void **state) {
    (void)state;
    enum { N = 4096 }; /* a power of two: where an index without free slots would never end */
    bytes b = {0};
    char name[32];
    put_head(&b, 3, 0, N);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof name, "key.%u", i);
        put_pair_u32(&b, name, i * 3);
    }
    spn_gguf *gguf = NULL;
    assert_int_equal(spn_gguf_open_bytes(&gguf, b.data, b.n, "sample.gguf", NULL), SPN_STATUS_OK);
    for (unsigned i = 0; i < N + 100; i++) {
        snprintf(name, sizeof name, "key.%u", i);
        uint32_t value = 1;
        assert_int_equal(spn_gguf_get_u32(gguf, name, false, &value, NULL), SPN_STATUS_OK);
        assert_int_equal(value, i < N ? i * 3 : 1);
    }
    spn_gguf_close(gguf);
    bytes_free(&b);
}

static void alignment_is_a_power_of_two(void **state) {
    (void)state;
    static const uint32_t good[] = {8, 16, 64, 4096}, bad[] = {0, 1, 4, 7, 24, 33, 0xFFFFFFFF};
    bytes b = {0};
    for (size_t i = 0; i < SPN_COUNT(good); i++) {
        put_head(&b, 3, 1, 1), put_pair_u32(&b, "general.alignment", good[i]);
        put_tensor(&b, "w", 0, 2, 0, good[i]), put_padding(&b, good[i]);
        put_fill(&b, 0, good[i]), put_f32(&b, 1.5f), put_f32(&b, 2.5f);
        must_open(&b);
        b.n--;
        must_fail(&b, "cut off");
        bytes_free(&b);
    }
    for (size_t i = 0; i < SPN_COUNT(bad); i++) {
        put_head(&b, 3, 0, 1), put_pair_u32(&b, "general.alignment", bad[i]);
        must_fail(&b, "(\"general.alignment\"): value at byte 53");
        bytes_free(&b);
    }
    put_head(&b, 3, 0, 1), put_key(&b, "general.alignment", 10), put_u64(&b, 32);
    must_fail(&b, "must be u32, not u64");
    bytes_free(&b);
}

static void put_one_tensor(bytes *b, uint32_t type, uint32_t n_dims, const uint64_t *ne,
                           uint64_t offset) {
    put_head(b, 3, 1, 0);
    put_text(b, "w"), put_u32(b, n_dims);
    for (uint32_t i = 0; i < n_dims; i++) put_u64(b, ne[i]);
    put_u32(b, type), put_u64(b, offset);
    put_padding(b, 32), put_fill(b, 0, 256);
}

static void shapes_are_checked(void **state) {
    (void)state;
    const uint64_t big = (uint64_t)1 << 32;
    const struct {
        uint32_t type, n_dims;
        uint64_t ne[5], offset;
        const char *why; /* NULL: fine */
    } rows[] = {
        {0, 0, {0}, 0, NULL},
        {0, 4, {2, 2, 2, 2}, 0, NULL},
        {0, 1, {64}, 0, NULL},
        {0, 1, {65}, 0, "cut off"},
        {0, 1, {1}, 32, NULL},
        {0, 1, {1}, 256, "cut off"},
        {0, 1, {1}, 31, "is no multiple of the alignment 32"},
        {0, 1, {1}, UINT64_MAX - 31, "cut off"},
        {0, 5, {1, 1, 1, 1, 1}, 0, "number of dimensions at byte 33: 5, at most 4"},
        {0, 1, {0}, 0, "a dimension is 0"},
        {0, 2, {4, 0}, 0, "a dimension is 0"},
        {0, 2, {big, big}, 0, "overflows"},
        {0, 4, {big, big, big, big}, 0, "overflows"},
        {0, 1, {UINT64_MAX}, 0, "overflows"},
        {0, 1, {(uint64_t)1 << 62}, 0, "overflows"},
        {8, 1, {64}, 0, NULL},
        {8, 1, {63}, 0, "no whole number of its type's blocks (type Q8_0)"},
        {12, 2, {128, 2}, 0, "no whole number of its type's blocks (type Q4_K)"},
        {12, 1, {256}, 0, NULL},
        {4, 1, {32}, 0, "type at byte 45: 4 is no tensor type"},
        {36, 1, {32}, 0, "type at byte 45: 36 is no tensor type"},
        {0xFFFFFFFF, 1, {32}, 0, "type at byte 45"},
    };
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        bytes b = {0};
        put_one_tensor(&b, rows[i].type, rows[i].n_dims, rows[i].ne, rows[i].offset);
        if (rows[i].why == NULL)
            must_open(&b);
        else
            must_fail(&b, rows[i].why);
        bytes_free(&b);
    }
}

static void tensors_may_not_share_data(void **state) {
    (void)state;
    static const struct {
        uint64_t at[3];
        const char *why;
    } rows[] = {
        {{0, 32, 64}, NULL},      {{64, 0, 32}, NULL}, /* any order is fine */
        {{0, 96, 32}, NULL},                           /* gaps are too */
        {{0, 0, 32}, "overlaps"}, {{64, 32, 64}, "overlaps"}, {{64, 0, 64}, "overlaps"},
    };
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        bytes b = {0};
        put_head(&b, 3, 3, 0);
        put_tensor(&b, "a", 0, 8, 0, rows[i].at[0]);
        put_tensor(&b, "b", 0, 8, 0, rows[i].at[1]);
        put_tensor(&b, "c", 0, 8, 0, rows[i].at[2]);
        put_padding(&b, 32), put_fill(&b, 1, 128);
        if (rows[i].why == NULL)
            must_open(&b);
        else
            must_fail(&b, rows[i].why);
        bytes_free(&b);
    }
}

static void messages_are_printable(void **state) {
    (void)state;
    bytes b = {0};
    put_head(&b, 3, 0, 1), put_u64(&b, 500);
    for (int i = 0; i < 500; i++) put_int(&b, (uint64_t)i, 1);
    put_u32(&b, 55);
    spn_error err = {0};
    uint64_t walked = 0;
    assert_int_equal(open_copy(&b, b.n, &walked, &err), SPN_STATUS_FORMAT);
    for (const char *at = err.text; *at != '\0'; at++) assert_true(*at >= ' ' && *at <= '~');
    assert_non_null(strstr(err.text, "55 is no value type"));
    bytes_free(&b);
    /* A path as long as the message itself does not push the reason out. */
    char path[2000];
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    spn_gguf *gguf = NULL;
    assert_int_equal(spn_gguf_open_bytes(&gguf, "GGUF", 4, path, &err), SPN_STATUS_FORMAT);
    assert_non_null(strstr(err.text, "the file ends too early"));
}

/* ---- memory ---- */

static void failing_allocations_leak_nothing(void **state) {
    (void)state;
    bytes b = {0};
    put_sample(&b, 3);
    spn_status status = SPN_STATUS_NO_MEMORY;
    long n = 0;
    while (status != SPN_STATUS_OK) {
        hostile_alloc heap = {.fail_at = ++n};
        spn_gguf *gguf = NULL;
        spn_error err = {0};
        hostile_install(&heap);
        status = spn_gguf_open_bytes(&gguf, b.data, b.n, "sample.gguf", &err);
        if (status == SPN_STATUS_OK)
            spn_gguf_close(gguf);
        else
            assert_int_equal(status, SPN_STATUS_NO_MEMORY);
        spn_set_allocator(NULL);
        assert_int_equal(heap.n_blocks, 0);
        assert_true(n < 100);
    }
    assert_true(n > 5);
    bytes_free(&b);
}

/* The densest files there are: pairs of 14 bytes, tensors of 25 (no dimensions), and an array of
 * empty strings. The array is walked, not stored. */
static void memory_stays_near_the_file(void **state) {
    (void)state;
    enum { N = 20000 };
    for (int kind = 0; kind < 3; kind++) {
        bytes b = {0};
        put_head(&b, 3, kind == 1 ? N : 0, kind == 0 ? N : kind == 2);
        for (uint64_t i = 0; kind < 2 && i < N; i++) {
            put_u64(&b, 3), put_int(&b, i + 0x202020, 3);
            if (kind == 0)
                put_u32(&b, 0), put_int(&b, 1, 1);
            else
                put_u32(&b, 0), put_u32(&b, 24), put_u64(&b, i * 32);
        }
        if (kind == 1) put_padding(&b, 32), put_fill(&b, 0, 32 * N);
        if (kind == 2) put_array(&b, "key", 8, N), put_fill(&b, 0, 8 * (size_t)N);
        hostile_alloc heap = {0};
        spn_gguf *gguf = NULL;
        spn_error err = {0};
        hostile_install(&heap);
        if (spn_gguf_open_bytes(&gguf, b.data, b.n, "sample.gguf", &err) != SPN_STATUS_OK)
            fail_msg("%s", err.text);
        spn_gguf_close(gguf);
        spn_set_allocator(NULL);
        assert_true(heap.n_most_bytes < 12 * b.n);
        bytes_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_reads_as_written),
        cmocka_unit_test(truncation_is_noticed_at_every_byte),
        cmocka_unit_test(damage_never_harms),
        cmocka_unit_test(versions_and_strangers_are_told_apart),
        cmocka_unit_test(empty_models_open),
        cmocka_unit_test(counts_are_not_believed),
        cmocka_unit_test(lengths_are_checked),
        cmocka_unit_test(names_have_a_size),
        cmocka_unit_test(kinds_are_checked),
        cmocka_unit_test(names_come_once),
        cmocka_unit_test(many_names_are_found),
        cmocka_unit_test(alignment_is_a_power_of_two),
        cmocka_unit_test(shapes_are_checked),
        cmocka_unit_test(tensors_may_not_share_data),
        cmocka_unit_test(messages_are_printable),
        cmocka_unit_test(failing_allocations_leak_nothing),
        cmocka_unit_test(memory_stays_near_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
