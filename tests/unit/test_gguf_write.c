/* test_gguf_write.c - what is written reads back, byte for byte where the bytes are known.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gguf_bytes.h"
#include "hostile_alloc.h"
#include "platform/os.h"
#include "temp.h"

#define OK(call) assert_int_equal((call), SPN_STATUS_OK)
#define REFUSED(call) assert_int_equal((call), SPN_STATUS_INVALID_ARGUMENT)

/* The same file from the test's own bytes: head, pairs, descriptions, padding, data, padding. */
static void the_bytes_are_the_formats(void **state) {
    (void)state;
    static const float a[3] = {1, 2, 3};
    static const int32_t ints[2] = {-1, 70000};
    static const uint8_t q8[34] = {0x5A};
    const spn_gguf_str strs[2] = {{"x", 1}, {"", 0}};
    const uint64_t ne_a[1] = {3}, ne_q8[2] = {32, 1};
    char path[TEMP_PATH];
    spn_gguf_writer *writer = NULL;
    OK(spn_gguf_writer_create(&writer, NULL));
    OK(spn_gguf_writer_str(writer, "general.architecture", "test", 4, NULL));
    OK(spn_gguf_writer_u32(writer, "general.alignment", 64, NULL));
    OK(spn_gguf_writer_f32(writer, "f", 0.5f, NULL));
    OK(spn_gguf_writer_bool(writer, "b", true, NULL));
    OK(spn_gguf_writer_array(writer, "ints", SPN_GGUF_I32, ints, 2, NULL));
    OK(spn_gguf_writer_str_array(writer, "strs", strs, 2, NULL));
    OK(spn_gguf_writer_str_array(writer, "none", NULL, 0, NULL));
    OK(spn_gguf_writer_tensor(writer, "a", SPN_TYPE_F32, ne_a, 1, a, NULL));
    OK(spn_gguf_writer_tensor(writer, "q", SPN_TYPE_Q8_0, ne_q8, 2, q8, NULL));
    OK(spn_gguf_writer_write(writer, temp_path(path, "out.gguf"), NULL));
    spn_gguf_writer_free(writer);

    bytes b = {0};
    put_head(&b, 3, 2, 7);
    put_key(&b, "general.architecture", 8), put_text(&b, "test");
    put_pair_u32(&b, "general.alignment", 64);
    put_key(&b, "f", 6), put_f32(&b, 0.5f);
    put_key(&b, "b", 7), put_int(&b, 1, 1);
    put_array(&b, "ints", 5, 2), put_u32(&b, 0xFFFFFFFF), put_u32(&b, 70000);
    put_array(&b, "strs", 8, 2), put_text(&b, "x"), put_text(&b, "");
    put_array(&b, "none", 8, 0);
    put_tensor(&b, "a", 0, 3, 0, 0);
    put_tensor(&b, "q", 8, 32, 1, 64);
    put_padding(&b, 64), put(&b, a, sizeof a);
    put_padding(&b, 64), put(&b, q8, sizeof q8);
    put_padding(&b, 64);
    char *text = NULL;
    size_t n = 0;
    OK(spn_file_read(path, 1 << 20, &text, &n, NULL));
    assert_int_equal(n, b.n);
    assert_memory_equal(text, b.data, n);
    spn_free(text);
    bytes_free(&b);
    char temp[TEMP_PATH];
    assert_false(spn_path_exists(temp_path(temp, "out.gguf.tmp")));
}

/* Every kind of array, through the writer, the reader and copy_pair, and again the same. */
static void pairs_copy_as_they_are(void **state) {
    (void)state;
    char one[TEMP_PATH], two[TEMP_PATH], key[16];
    static const uint8_t zeros_and_ones[24] = {1, 0, 1, 0, 0, 0, 0, 0, 1};
    spn_gguf_writer *writer = NULL;
    OK(spn_gguf_writer_create(&writer, NULL));
    for (int kind = 0; kind < SPN_GGUF_KIND_COUNT; kind++) {
        snprintf(key, sizeof key, "kind.%d", kind);
        if (kind == SPN_GGUF_STRING || kind == SPN_GGUF_ARRAY)
            REFUSED(spn_gguf_writer_array(writer, key, (spn_gguf_kind)kind, "", 0, NULL));
        else
            OK(spn_gguf_writer_array(writer, key, (spn_gguf_kind)kind, zeros_and_ones, 3, NULL));
    }
    OK(spn_gguf_writer_str(writer, "text", "\0\xFF", 2, NULL));
    OK(spn_gguf_writer_u32(writer, "general.alignment", 8, NULL));
    OK(spn_gguf_writer_write(writer, temp_path(one, "one.gguf"), NULL));
    spn_gguf_writer_free(writer);

    spn_gguf *gguf = NULL;
    OK(spn_gguf_open(&gguf, one, NULL));
    assert_int_equal(spn_gguf_n_pairs(gguf), 13);
    gguf_walk(gguf);
    OK(spn_gguf_writer_create(&writer, NULL));
    for (size_t i = 0; i < spn_gguf_n_pairs(gguf); i++)
        OK(spn_gguf_writer_copy_pair(writer, spn_gguf_pair_at(gguf, i), NULL));
    OK(spn_gguf_writer_write(writer, temp_path(two, "two.gguf"), NULL));
    spn_gguf_writer_free(writer);
    const uint8_t *data;
    size_t n, n_copy = 0;
    char *copy = NULL;
    spn_gguf_file_span(gguf, 0, &data, &n);
    OK(spn_file_read(two, 1 << 20, &copy, &n_copy, NULL));
    assert_int_equal(n_copy, n);
    assert_memory_equal(copy, data, n);
    spn_free(copy);
    spn_gguf_close(gguf);
}

static void models_come_back(void **state) {
    (void)state;
    enum { N = 200 };
    char path[TEMP_PATH], name[32];
    static uint8_t data[N + 1][144];
    spn_gguf_writer *writer = NULL;
    OK(spn_gguf_writer_create(&writer, NULL));
    for (size_t i = 0; i < N; i++) {
        const uint64_t ne[2] = {256, 1};
        for (size_t j = 0; j < sizeof data[i]; j++) data[i][j] = (uint8_t)(i * 31 + j);
        snprintf(name, sizeof name, "blk.%zu.weight", i);
        OK(spn_gguf_writer_tensor(writer, name, SPN_TYPE_Q4_K, ne, 2, data[i], NULL));
        snprintf(name, sizeof name, "key.%zu", i);
        OK(spn_gguf_writer_u32(writer, name, (uint32_t)i, NULL));
    }
    OK(spn_gguf_writer_tensor(writer, "scalar", SPN_TYPE_I64, NULL, 0, data[N], NULL));
    OK(spn_gguf_writer_write(writer, temp_path(path, "model.gguf"), NULL));
    spn_gguf_writer_free(writer);
    spn_gguf *gguf = NULL;
    spn_error err = {0};
    if (spn_gguf_open(&gguf, path, &err) != SPN_STATUS_OK) fail_msg("%s", err.text);
    assert_int_equal(spn_gguf_n_tensors(gguf), N + 1);
    for (size_t i = 0; i < N; i++) {
        uint32_t value = 0;
        snprintf(name, sizeof name, "key.%zu", i);
        OK(spn_gguf_get_u32(gguf, name, true, &value, NULL));
        assert_int_equal(value, i);
        snprintf(name, sizeof name, "blk.%zu.weight", i);
        const spn_gguf_tensor *tensor = spn_gguf_find_tensor(gguf, name);
        assert_int_equal(tensor->n_dims, 2);
        assert_int_equal(tensor->n_bytes, 144);
        assert_memory_equal(tensor->data, data[i], 144);
        assert_int_equal((uintptr_t)tensor->data % 32, 0);
    }
    spn_gguf_close(gguf);
}

static void nonsense_is_not_written(void **state) {
    (void)state;
    static char long_name[70000];
    static const float data[64];
    memset(long_name, 'n', sizeof long_name - 1);
    const uint64_t ne[5] = {33, 1, 1, 1, 1}, zero[2] = {32, 0}, big[2] = {1u << 31, UINT64_MAX};
    spn_gguf_writer *w = NULL;
    OK(spn_gguf_writer_create(&w, NULL));
    OK(spn_gguf_writer_u32(w, "key", 1, NULL));
    REFUSED(spn_gguf_writer_u32(w, "key", 1, NULL));
    REFUSED(spn_gguf_writer_str(w, "key", "x", 1, NULL));
    REFUSED(spn_gguf_writer_u32(w, "", 1, NULL));
    REFUSED(spn_gguf_writer_u32(w, long_name, 1, NULL));
    REFUSED(spn_gguf_writer_u32(w, "general.alignment", 0, NULL));
    REFUSED(spn_gguf_writer_u32(w, "general.alignment", 48, NULL));
    REFUSED(spn_gguf_writer_f32(w, "general.alignment", 32, NULL));
    REFUSED(spn_gguf_writer_str(w, "general.alignment", "32", 2, NULL));
    REFUSED(spn_gguf_writer_array(w, "a", SPN_GGUF_U64, data, SIZE_MAX / 4, NULL));
    OK(spn_gguf_writer_tensor(w, "w", SPN_TYPE_F32, ne, 4, data, NULL));
    REFUSED(spn_gguf_writer_tensor(w, "w", SPN_TYPE_F32, ne, 4, data, NULL));
    REFUSED(spn_gguf_writer_tensor(w, "", SPN_TYPE_F32, ne, 4, data, NULL));
    REFUSED(spn_gguf_writer_tensor(w, long_name, SPN_TYPE_F32, ne, 4, data, NULL));
    REFUSED(spn_gguf_writer_tensor(w, "x", SPN_TYPE_F32, ne, 5, data, NULL));
    REFUSED(spn_gguf_writer_tensor(w, "x", SPN_TYPE_Q8_0, ne, 1, data, NULL));
    REFUSED(spn_gguf_writer_tensor(w, "x", SPN_TYPE_F32, zero, 2, data, NULL));
    REFUSED(spn_gguf_writer_tensor(w, "x", SPN_TYPE_F32, big, 2, data, NULL));
    REFUSED(spn_gguf_writer_tensor(w, "x", (spn_type)4, ne, 1, data, NULL));
    /* What was refused left nothing behind. */
    char path[TEMP_PATH];
    spn_gguf *gguf = NULL;
    OK(spn_gguf_writer_write(w, temp_path(path, "model.gguf"), NULL));
    OK(spn_gguf_open(&gguf, path, NULL));
    assert_int_equal(spn_gguf_n_pairs(gguf), 1);
    assert_int_equal(spn_gguf_n_tensors(gguf), 1);
    spn_gguf_close(gguf);
    spn_gguf_writer_free(w);
    spn_gguf_writer_free(NULL);
}

static void failures_leave_the_old_file(void **state) {
    (void)state;
    char path[TEMP_PATH], temp[TEMP_PATH], *text = NULL;
    spn_gguf_writer *writer = NULL;
    spn_error err = {0};
    OK(spn_gguf_writer_create(&writer, NULL));
    assert_int_equal(spn_gguf_writer_write(writer, temp_path(path, "no/folder.gguf"), &err),
                     SPN_STATUS_IO);
    assert_non_null(strstr(err.text, path));
    /* A folder in the file's place cannot be replaced; the temporary file goes. */
    temp_write_text("folder/file", "x");
    assert_int_equal(spn_gguf_writer_write(writer, temp_path(path, "folder"), &err), SPN_STATUS_IO);
    assert_false(spn_path_exists(temp_path(temp, "folder.tmp")));
    temp_write_text("model.gguf", "old");
    temp_write_text("model.gguf.tmp/file", "in the way");
    assert_int_equal(spn_gguf_writer_write(writer, temp_path(path, "model.gguf"), &err),
                     SPN_STATUS_IO);
    OK(spn_file_read(path, 10, &text, NULL, NULL));
    assert_string_equal(text, "old");
    spn_free(text);
    spn_gguf_writer_free(writer);
}

static spn_status write_small(const char *path) {
    static const float data[2] = {1, 2};
    static const uint64_t ne[1] = {2};
    spn_gguf_writer *writer = NULL;
    spn_status status;
    SPN_TRY_GOTO(spn_gguf_writer_create(&writer, NULL));
    SPN_TRY_GOTO(spn_gguf_writer_str(writer, "text", "a longer text than fits at once, to grow by",
                                     43, NULL));
    SPN_TRY_GOTO(spn_gguf_writer_u32(writer, "general.alignment", 64, NULL));
    SPN_TRY_GOTO(spn_gguf_writer_tensor(writer, "w", SPN_TYPE_F32, ne, 1, data, NULL));
    SPN_TRY_GOTO(spn_gguf_writer_write(writer, path, NULL));
done:
    spn_gguf_writer_free(writer);
    return status;
}

static void failing_allocations_leak_nothing(void **state) {
    (void)state;
    char path[TEMP_PATH], temp[TEMP_PATH];
    temp_path(path, "model.gguf");
    spn_status status = SPN_STATUS_NO_MEMORY;
    long n = 0;
    while (status != SPN_STATUS_OK) {
        hostile_alloc heap = {.fail_at = ++n};
        assert_false(spn_path_exists(path));
        hostile_install(&heap);
        status = write_small(path);
        spn_set_allocator(NULL);
        if (status != SPN_STATUS_OK) assert_int_equal(status, SPN_STATUS_NO_MEMORY);
        assert_int_equal(heap.n_blocks, 0);
        assert_false(spn_path_exists(temp_path(temp, "model.gguf.tmp")));
        assert_true(n < 100);
    }
    assert_true(n > 7);
    assert_true(spn_path_exists(path));
}

/* An addition that found no memory can be made again. */
static void a_writer_survives_a_failure(void **state) {
    (void)state;
    char path[TEMP_PATH];
    spn_gguf_writer *writer = NULL;
    hostile_alloc heap = {0};
    hostile_install(&heap);
    OK(spn_gguf_writer_create(&writer, NULL));
    OK(spn_gguf_writer_u32(writer, "one", 1, NULL));
    static char text[5000];
    heap.fail_at = 1;
    assert_int_equal(spn_gguf_writer_str(writer, "two", text, sizeof text, NULL),
                     SPN_STATUS_NO_MEMORY);
    heap.fail_at = 0;
    OK(spn_gguf_writer_str(writer, "two", text, sizeof text, NULL));
    OK(spn_gguf_writer_write(writer, temp_path(path, "model.gguf"), NULL));
    spn_gguf_writer_free(writer);
    spn_gguf *gguf = NULL;
    OK(spn_gguf_open(&gguf, path, NULL));
    assert_int_equal(spn_gguf_n_pairs(gguf), 2);
    spn_gguf_close(gguf);
    spn_set_allocator(NULL);
    assert_int_equal(heap.n_blocks, 0);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, temp_setup, temp_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(the_bytes_are_the_formats),
        IN_FOLDER(pairs_copy_as_they_are),
        IN_FOLDER(models_come_back),
        IN_FOLDER(nonsense_is_not_written),
        IN_FOLDER(failures_leave_the_old_file),
        IN_FOLDER(failing_allocations_leak_nothing),
        IN_FOLDER(a_writer_survives_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
