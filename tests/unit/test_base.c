/* test_base.c - statuses, error texts, buffers, arenas, the allocator hook.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static void statuses_have_names(void **state) {
    (void)state;
    for (int s = 0; s < SPN_STATUS_COUNT; s++) {
        assert_string_not_equal(spn_status_name((spn_status)s), "unknown");
        assert_true(strlen(spn_status_message((spn_status)s)) > 3);
        for (int t = 0; t < s; t++)
            assert_string_not_equal(spn_status_name((spn_status)s), spn_status_name((spn_status)t));
    }
    assert_string_equal(spn_status_name((spn_status)-1), "unknown");
    assert_string_equal(spn_status_name(SPN_STATUS_COUNT), "unknown");
    assert_true(spn_status_is_retryable(SPN_STATUS_NETWORK));
    assert_false(spn_status_is_retryable(SPN_STATUS_MODEL_NOT_FOUND));
    assert_true(spn_status_is_authorization(SPN_STATUS_GATED));
}

static void errors_carry_text(void **state) {
    (void)state;
    spn_error err = {0};
    assert_int_equal(SPN_FAIL(&err, IO, "cannot open %s", "x.gguf"), SPN_STATUS_IO);
    assert_int_equal(err.status, SPN_STATUS_IO);
    assert_string_equal(err.text, "cannot open x.gguf");
    /* A caller may add to a callee's sentence in place. */
    SPN_FAIL(&err, LOAD, "model: %s", err.text);
    assert_string_equal(err.text, "model: cannot open x.gguf");
    assert_int_equal(spn_failed_item(&err, SPN_STATUS_LOAD, 2), SPN_STATUS_LOAD);
    assert_int_equal(err.item, 3);
    SPN_FAIL(&err, IO, "of no text");
    assert_int_equal(err.item, 0);
    assert_int_equal(SPN_FAIL(NULL, IO, "nobody listens"), SPN_STATUS_IO);
}

static void long_errors_end_on_a_character(void **state) {
    (void)state;
    char text[1200];
    memset(text, 'a', sizeof text);
    for (size_t i = 1; i + 1 < sizeof text; i += 2) memcpy(text + i, "\xC3\xA9", 2);
    text[sizeof text - 1] = '\0';
    spn_error err;
    SPN_FAIL(&err, IO, "%s", text);
    size_t len = strlen(err.text);
    assert_true(len == sizeof err.text - 1 || len == sizeof err.text - 2);
    assert_int_equal((unsigned char)err.text[len - 1], 0xA9);
}

static void buffers_grow_to_their_limit(void **state) {
    (void)state;
    spn_buf buf = SPN_BUF(10);
    assert_true(spn_buf_append_text(&buf, "hello"));
    assert_true(spn_buf_printf(&buf, "%d", 12345));
    assert_string_equal(buf.data, "hello12345");
    assert_false(spn_buf_append_char(&buf, 'x'));
    assert_true(buf.failed);
    assert_string_equal(buf.data, "hello12345");
    assert_null(spn_buf_take(&buf, NULL));
    spn_buf_free(&buf);
    size_t n = 99;
    char *text = spn_buf_take(&buf, &n);
    assert_non_null(text);
    assert_int_equal(n, 0);
    spn_free(text);
}

static void arenas_align_and_clear(void **state) {
    (void)state;
    spn_arena arena = {.max = 200000};
    for (size_t i = 1; i < 300; i++) {
        unsigned char *block = spn_arena_alloc(&arena, i);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 16, 0);
        for (size_t j = 0; j < i; j++) assert_int_equal(block[j], 0);
        memset(block, 0xFF, i);
    }
    assert_null(spn_arena_alloc(&arena, 200000));
    assert_null(spn_arena_array(&arena, SIZE_MAX / 2, 3));
    spn_arena_free(&arena);
}

static void aligned_blocks_are_aligned(void **state) {
    (void)state;
    for (size_t alignment = 8; alignment <= 4096; alignment *= 2) {
        char *block = spn_alloc_aligned(100, alignment);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % alignment, 0);
        memset(block, 1, 100);
        spn_free_aligned(block);
    }
    assert_null(spn_alloc_aligned(SIZE_MAX - 8, 64));
}

static int n_live;
static void *counting_malloc(size_t n, void *user) {
    (void)user;
    n_live++;
    return malloc(n);
}
static void *counting_realloc(void *block, size_t n, void *user) {
    (void)user;
    if (block == NULL) n_live++;
    return realloc(block, n);
}
static void counting_free(void *block, void *user) {
    (void)user;
    n_live--;
    free(block);
}

static void the_hook_sees_everything(void **state) {
    (void)state;
    spn_allocator hook = {counting_malloc, counting_realloc, counting_free, NULL};
    assert_int_equal(spn_set_allocator(&hook), SPN_STATUS_OK);
    char *text = spn_strdup("text");
    assert_string_equal(text, "text");
    assert_int_equal(n_live, 1);
    spn_free(text);
    assert_int_equal(n_live, 0);
    hook.free = NULL;
    assert_int_equal(spn_set_allocator(&hook), SPN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(spn_set_allocator(NULL), SPN_STATUS_OK);
}

static void sizes_are_checked(void **state) {
    (void)state;
    size_t out = 7;
    assert_false(spn_mul_size(SIZE_MAX, 2, &out));
    assert_false(spn_add_size(SIZE_MAX, 1, &out));
    assert_int_equal(out, 7);
    assert_true(spn_mul_size(SIZE_MAX / 4, 4, &out));
    assert_true(spn_mul_size(SIZE_MAX, 0, &out));
    assert_int_equal(out, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_have_names),
        cmocka_unit_test(errors_carry_text),
        cmocka_unit_test(long_errors_end_on_a_character),
        cmocka_unit_test(buffers_grow_to_their_limit),
        cmocka_unit_test(arenas_align_and_clear),
        cmocka_unit_test(aligned_blocks_are_aligned),
        cmocka_unit_test(the_hook_sees_everything),
        cmocka_unit_test(sizes_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
