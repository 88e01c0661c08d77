/* test_inspect.c - a file's description for people. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "gguf/gguf.h"
#include "spn/engine.h"

static char path[] = "/tmp/spn-inspect-XXXXXX";

static int write_file(void **state) {
    (void)state;
    spn_gguf_writer *w;
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    static char text[10000];
    uint32_t numbers[20];
    const uint64_t shape[2] = {3, 2};
    int fd = mkstemp(path);
    if (fd < 0) return -1;
    memset(text, 'x', sizeof text);
    memcpy(text + 4094, "\xe2\x82\xac", 3); /* a character across the place of the cut */
    for (uint32_t i = 0; i < 20; i++) numbers[i] = i;
    assert_int_equal(spn_gguf_writer_create(&w, NULL), SPN_STATUS_OK);
    spn_gguf_writer_str(w, "general.architecture", "none", 4, NULL);
    spn_gguf_writer_u32(w, "a.number", 7, NULL);
    spn_gguf_writer_str(w, "a.bad", "a\x1b[31m\xff\xc2\x9b", 9, NULL);
    spn_gguf_writer_str(w, "a.long", text, sizeof text, NULL);
    spn_gguf_writer_array(w, "an.array", SPN_GGUF_U32, numbers, 20, NULL);
    spn_gguf_writer_tensor(w, "t", SPN_TYPE_F32, shape, 2, data, NULL);
    assert_int_equal(spn_gguf_writer_write(w, path, NULL), SPN_STATUS_OK);
    spn_gguf_writer_free(w);
    return 0;
}

static int remove_file(void **state) {
    (void)state;
    return remove(path);
}

static spn_metadata_item find(const spn_inspection *in, const char *key) {
    spn_metadata_item item = {0};
    for (size_t i = 0; spn_inspection_metadata(in, i, &item); i++)
        if (strcmp(item.key, key) == 0) return item;
    fail_msg("no key %s", key);
    return item;
}

static void shows_what_is_there(void **state) {
    (void)state;
    spn_inspection *in = NULL;
    spn_tensor_item tensor = {0};
    assert_int_equal(spn_inspect(&in, path, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_inspection_version(in), 3);
    assert_true(spn_inspection_file_bytes(in) > 10000);
    assert_string_equal(find(in, "a.number").type, "u32");
    assert_string_equal(find(in, "a.number").value, "7");
    assert_string_equal(find(in, "an.array").type, "array of u32");
    assert_non_null(strstr(find(in, "an.array").value, "20 items"));
    assert_int_equal(spn_inspection_n_tensors(in), 1);
    assert_true(spn_inspection_tensor(in, 0, &tensor));
    assert_false(spn_inspection_tensor(in, 1, &tensor));
    assert_string_equal(tensor.name, "t");
    assert_string_equal(tensor.type, "F32");
    assert_int_equal(tensor.n_dims, 2);
    assert_int_equal(tensor.shape[0], 3);
    assert_int_equal(tensor.shape[1], 2);
    assert_int_equal(tensor.shape[3], 1);
    assert_int_equal(tensor.n_bytes, 24);
    spn_inspection_free(in);
}

static void texts_are_harmless(void **state) {
    (void)state;
    spn_inspection *in = NULL;
    assert_int_equal(spn_inspect(&in, path, NULL), SPN_STATUS_OK);
    assert_string_equal(find(in, "a.bad").value, "a\\x1b[31m\\xff\\xc2\\x9b");
    const char *value = find(in, "a.long").value;
    size_t n = strlen(value);
    assert_true(n > 4000 && n < 4200);
    assert_non_null(strstr(value, "more bytes"));
    for (size_t i = 0; i < n;) {
        size_t length = spn_utf8_char_len(value + i, n - i);
        assert_true(length > 0);
        i += length;
    }
    spn_inspection_free(in);
}

static void failures_are_told(void **state) {
    (void)state;
    spn_inspection *in = NULL;
    spn_error err = {0};
    assert_int_equal(spn_inspect(&in, "/nowhere/at/all", &err), SPN_STATUS_IO);
    assert_null(in);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    spn_inspection_free(NULL);
}

/* ---- every allocation fails once ---- */

static int n_until_failure;
static void *failing_malloc(size_t n, void *user) {
    (void)user;
    return n_until_failure-- == 0 ? NULL : malloc(n);
}
static void *failing_realloc(void *block, size_t n, void *user) {
    (void)user;
    return n_until_failure-- == 0 ? NULL : realloc(block, n);
}
static void plain_free(void *block, void *user) {
    (void)user;
    free(block);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    const spn_allocator allocator = {failing_malloc, failing_realloc, plain_free, NULL};
    spn_status status = SPN_STATUS_NO_MEMORY;
    int n = 0;
    assert_int_equal(spn_set_allocator(&allocator), SPN_STATUS_OK);
    for (; status != SPN_STATUS_OK && n < 10000; n++) {
        spn_inspection *in = NULL;
        n_until_failure = n;
        status = spn_inspect(&in, path, NULL);
        assert_true(status == SPN_STATUS_OK || status == SPN_STATUS_NO_MEMORY);
        assert_true((in != NULL) == (status == SPN_STATUS_OK));
        spn_inspection_free(in);
    }
    spn_set_allocator(NULL);
    assert_true(n > 5 && n < 10000);
}

static void characters_are_told_from_bytes(void **state) {
    (void)state;
    assert_int_equal(spn_utf8_char_len("a", 1), 1);
    assert_int_equal(spn_utf8_char_len("\xc3\xa9", 2), 2);
    assert_int_equal(spn_utf8_char_len("\xe2\x82\xac", 3), 3);
    assert_int_equal(spn_utf8_char_len("\xf0\x9f\x98\x80", 4), 4);
    assert_int_equal(spn_utf8_char_len("\xf0\x9f\x98", 3), 0); /* cut */
    assert_int_equal(spn_utf8_char_len("\xc0\x80", 2), 0);     /* overlong */
    assert_int_equal(spn_utf8_char_len("\xe0\x9f\xbf", 3), 0); /* overlong */
    assert_int_equal(spn_utf8_char_len("\xed\xa0\x80", 3), 0); /* surrogate */
    assert_int_equal(spn_utf8_char_len("\xf4\x90\x80\x80", 4), 0);
    assert_int_equal(spn_utf8_char_len("\x80", 1), 0);
    assert_int_equal(spn_utf8_char_len("", 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_what_is_there),
        cmocka_unit_test(texts_are_harmless),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(characters_are_told_from_bytes),
    };
    return cmocka_run_group_tests(tests, write_file, remove_file);
}
