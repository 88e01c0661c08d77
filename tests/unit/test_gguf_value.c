/* test_gguf_value.c - metadata as numbers, strings, arrays and text.
 * SPDX-License-Identifier: Apache-2.0 */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gguf_bytes.h"

typedef struct model {
    bytes b;
    spn_gguf *gguf;
} model;

static int open_model(void **state) {
    model *m = calloc(1, sizeof *m);
    bytes *b = &m->b;
    put_head(b, 3, 0, 27);
    put_key(b, "u8", 0), put_int(b, 200, 1);
    put_key(b, "i8", 1), put_int(b, 100, 1);
    put_key(b, "u16", 2), put_int(b, 60000, 2);
    put_key(b, "i16", 3), put_int(b, 30000, 2);
    put_pair_u32(b, "u32", 4294967295u);
    put_key(b, "i32", 5), put_u32(b, 2147483647);
    put_key(b, "u64", 10), put_u64(b, 4294967295u);
    put_key(b, "i64", 11), put_u64(b, 4294967295u);
    put_key(b, "i8.minus", 1), put_int(b, 0xFF, 1);
    put_key(b, "i16.minus", 3), put_int(b, 0x8000, 2);
    put_key(b, "i32.minus", 5), put_u32(b, 0x80000000u);
    put_key(b, "i64.minus", 11), put_u64(b, (uint64_t)1 << 63);
    put_key(b, "u64.large", 10), put_u64(b, UINT64_MAX);
    put_key(b, "f32", 6), put_f32(b, 0.1f);
    put_key(b, "f64", 12), put_f64(b, -2.5);
    put_key(b, "f64.large", 12), put_f64(b, 1e39);
    put_key(b, "f64.infinite", 12), put_f64(b, HUGE_VAL);
    put_key(b, "bool", 7), put_int(b, 1, 1);
    put_key(b, "string", 8), put_u64(b, 8), put(b, "a\0\n\"\x1b[1\t", 8);
    put_array(b, "u8s", 0, 4), put_int(b, 0x04030201, 4);
    put_array(b, "i64s", 11, 3), put_u64(b, 5), put_u64(b, 6), put_u64(b, UINT64_MAX);
    put_array(b, "bools", 7, 3), put_int(b, 0x010001, 3);
    put_array(b, "f32s", 6, 3), put_f32(b, 1), put_f32(b, 0.25f), put_f32(b, -1e-20f);
    put_array(b, "f64s", 12, 2), put_f64(b, 0.5), put_f64(b, -1e300);
    put_array(b, "strings", 8, 4);
    put_text(b, "one"), put_text(b, ""), put_text(b, "t\"w\\o"), put_text(b, "\xC3\xA9");
    put_array(b, "none", 8, 0);
    put_array(b, "no.ints", 4, 0);
    *state = m;
    return spn_gguf_open_bytes(&m->gguf, b->data, b->n, "values.gguf", NULL) != SPN_STATUS_OK;
}

static int close_model(void **state) {
    model *m = *state;
    spn_gguf_close(m->gguf);
    bytes_free(&m->b);
    free(m);
    return 0;
}

static spn_gguf *opened(void **state) {
    model *m = *state;
    return m->gguf;
}

static void any_integer_kind_serves(void **state) {
    static const struct {
        const char *key;
        uint32_t value;
    } rows[] = {{"u8", 200},         {"i8", 100},         {"u16", 60000},      {"i16", 30000},
                {"u32", 4294967295}, {"i32", 2147483647}, {"u64", 4294967295}, {"i64", 4294967295}};
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        uint32_t value = 7;
        assert_int_equal(spn_gguf_get_u32(opened(state), rows[i].key, true, &value, NULL),
                         SPN_STATUS_OK);
        assert_int_equal(value, rows[i].value);
    }
}

static void numbers_out_of_range_are_refused(void **state) {
    static const struct {
        const char *key, *shown;
    } rows[] = {{"i8.minus", "-1"},
                {"i16.minus", "-32768"},
                {"i32.minus", "-2147483648"},
                {"i64.minus", "-9223372036854775808"},
                {"u64.large", "18446744073709551615"}};
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        uint32_t value = 7;
        spn_error err = {0};
        assert_int_equal(spn_gguf_get_u32(opened(state), rows[i].key, false, &value, &err),
                         SPN_STATUS_FORMAT);
        assert_int_equal(value, 7);
        assert_non_null(strstr(err.text, rows[i].key));
        assert_non_null(strstr(err.text, rows[i].shown));
        assert_non_null(strstr(err.text, "values.gguf"));
    }
}

static void other_kinds_are_refused(void **state) {
    spn_gguf *gguf = opened(state);
    uint32_t number = 7;
    float real = 7;
    bool flag = true;
    spn_gguf_str str = {"x", 1};
    spn_error err = {0};
    static const char *const no_ints[] = {"f32", "f64", "bool", "string", "u8s", "strings"};
    for (size_t i = 0; i < SPN_COUNT(no_ints); i++)
        assert_int_equal(spn_gguf_get_u32(gguf, no_ints[i], false, &number, &err),
                         SPN_STATUS_FORMAT);
    assert_string_equal(err.text,
                        "values.gguf: strings must be an integer, not an array of string");
    static const char *const no_floats[] = {"u32", "bool", "string", "f32s"};
    for (size_t i = 0; i < SPN_COUNT(no_floats); i++)
        assert_int_equal(spn_gguf_get_f32(gguf, no_floats[i], false, &real, NULL),
                         SPN_STATUS_FORMAT);
    assert_int_equal(spn_gguf_get_bool(gguf, "u8", false, &flag, NULL), SPN_STATUS_FORMAT);
    assert_int_equal(spn_gguf_get_str(gguf, "u8", false, &str, NULL), SPN_STATUS_FORMAT);
    assert_int_equal(spn_gguf_get_str(gguf, "strings", false, &str, NULL), SPN_STATUS_FORMAT);
    assert_true(number == 7 && real == 7 && flag && str.len == 1);
}

static void absent_keys_leave_the_default(void **state) {
    spn_gguf *gguf = opened(state);
    uint32_t number = 7;
    float real = 7;
    bool flag = true;
    size_t n = 7;
    spn_gguf_str str = {"x", 1};
    spn_error err = {0};
    for (int required = 0; required <= 1; required++) {
        spn_status want = required ? SPN_STATUS_FORMAT : SPN_STATUS_OK;
        assert_int_equal(spn_gguf_get_u32(gguf, "absent", required, &number, &err), want);
        assert_int_equal(spn_gguf_get_f32(gguf, "absent", required, &real, &err), want);
        assert_int_equal(spn_gguf_get_bool(gguf, "absent", required, &flag, &err), want);
        assert_int_equal(spn_gguf_get_str(gguf, "absent", required, &str, &err), want);
        assert_int_equal(spn_gguf_get_u32_array(gguf, "absent", required, &number, 1, &n, &err),
                         want);
        assert_int_equal(spn_gguf_get_f32_array(gguf, "absent", required, &real, 1, &n, &err),
                         want);
    }
    assert_non_null(strstr(err.text, "absent"));
    assert_true(number == 7 && real == 7 && flag && n == 7 && str.len == 1);
}

static void floats_and_bools_are_read(void **state) {
    spn_gguf *gguf = opened(state);
    float real = 0;
    bool flag = false;
    assert_int_equal(spn_gguf_get_f32(gguf, "f32", true, &real, NULL), SPN_STATUS_OK);
    assert_true(real == 0.1f);
    assert_int_equal(spn_gguf_get_f32(gguf, "f64", true, &real, NULL), SPN_STATUS_OK);
    assert_true(real == -2.5f);
    assert_int_equal(spn_gguf_get_f32(gguf, "f64.infinite", true, &real, NULL), SPN_STATUS_OK);
    assert_true(isinf(real));
    spn_error err = {0};
    assert_int_equal(spn_gguf_get_f32(gguf, "f64.large", true, &real, &err), SPN_STATUS_FORMAT);
    assert_non_null(strstr(err.text, "1e+39"));
    assert_true(isinf(real));
    assert_int_equal(spn_gguf_get_bool(gguf, "bool", true, &flag, NULL), SPN_STATUS_OK);
    assert_true(flag);
}

static void strings_may_hold_any_byte(void **state) {
    spn_gguf_str str = {0};
    assert_int_equal(spn_gguf_get_str(opened(state), "string", true, &str, NULL), SPN_STATUS_OK);
    assert_int_equal(str.len, 8);
    assert_memory_equal(str.data, "a\0\n\"\x1b[1\t", 8);
}

static void integer_arrays_are_converted(void **state) {
    spn_gguf *gguf = opened(state);
    uint32_t out[4] = {9, 9, 9, 9};
    size_t n = 0;
    assert_int_equal(spn_gguf_get_u32_array(gguf, "u8s", true, out, 4, &n, NULL), SPN_STATUS_OK);
    assert_int_equal(n, 4);
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(out[i], i + 1);
    out[2] = 9;
    assert_int_equal(spn_gguf_get_u32_array(gguf, "u8s", true, out, 2, &n, NULL), SPN_STATUS_OK);
    assert_true(n == 4 && out[2] == 9);
    assert_int_equal(spn_gguf_get_u32_array(gguf, "u8s", true, NULL, 0, &n, NULL), SPN_STATUS_OK);
    assert_int_equal(n, 4);
    /* Only what is asked for must be in range, and a failure hands nothing out. */
    assert_int_equal(spn_gguf_get_u32_array(gguf, "i64s", true, out, 2, &n, NULL), SPN_STATUS_OK);
    assert_true(n == 3 && out[0] == 5 && out[1] == 6);
    out[0] = n = 9;
    assert_int_equal(spn_gguf_get_u32_array(gguf, "i64s", true, out, 3, &n, NULL),
                     SPN_STATUS_FORMAT);
    assert_true(n == 9 && out[0] == 9);
    assert_int_equal(spn_gguf_get_u32_array(gguf, "bools", true, out, 4, &n, NULL), SPN_STATUS_OK);
    assert_true(n == 3 && out[0] == 1 && out[1] == 0 && out[2] == 1);
    assert_int_equal(spn_gguf_get_u32_array(gguf, "u16", true, out, 4, &n, NULL), SPN_STATUS_OK);
    assert_true(n == 1 && out[0] == 60000);
    assert_int_equal(spn_gguf_get_u32_array(gguf, "no.ints", true, out, 4, &n, NULL),
                     SPN_STATUS_OK);
    assert_int_equal(n, 0);
    static const char *const others[] = {"f32s", "strings", "f32", "string"};
    for (size_t i = 0; i < SPN_COUNT(others); i++)
        assert_int_equal(spn_gguf_get_u32_array(gguf, others[i], false, out, 4, &n, NULL),
                         SPN_STATUS_FORMAT);
}

static void float_arrays_are_narrowed(void **state) {
    spn_gguf *gguf = opened(state);
    float out[4] = {9, 9, 9, 9};
    size_t n = 0;
    assert_int_equal(spn_gguf_get_f32_array(gguf, "f32s", true, out, 4, &n, NULL), SPN_STATUS_OK);
    assert_true(n == 3 && out[0] == 1 && out[1] == 0.25f && out[2] == -1e-20f && out[3] == 9);
    assert_int_equal(spn_gguf_get_f32_array(gguf, "f64s", true, out, 1, &n, NULL), SPN_STATUS_OK);
    assert_true(n == 2 && out[0] == 0.5f);
    assert_int_equal(spn_gguf_get_f32_array(gguf, "f64s", true, out, 2, &n, NULL),
                     SPN_STATUS_FORMAT);
    assert_int_equal(spn_gguf_get_f32_array(gguf, "f32", true, out, 4, &n, NULL), SPN_STATUS_OK);
    assert_true(n == 1 && out[0] == 0.1f);
    assert_int_equal(spn_gguf_get_f32_array(gguf, "u8s", false, out, 4, &n, NULL),
                     SPN_STATUS_FORMAT);
}

static void string_arrays_are_walked(void **state) {
    static const char *const want[] = {"one", "", "t\"w\\o", "\xC3\xA9"};
    spn_gguf *gguf = opened(state);
    spn_gguf_str_iter iter = {0};
    spn_gguf_str str = {0};
    assert_int_equal(spn_gguf_str_array(gguf, "strings", &iter, NULL), SPN_STATUS_OK);
    assert_int_equal(iter.n_left, 4);
    for (size_t i = 0; i < SPN_COUNT(want); i++) {
        assert_true(spn_gguf_str_next(&iter, &str));
        assert_int_equal(str.len, strlen(want[i]));
        assert_memory_equal(str.data, want[i], str.len);
    }
    assert_false(spn_gguf_str_next(&iter, &str));
    assert_int_equal(spn_gguf_str_array(gguf, "none", &iter, NULL), SPN_STATUS_OK);
    assert_false(spn_gguf_str_next(&iter, &str));
    assert_int_equal(spn_gguf_str_array(gguf, "absent", &iter, NULL), SPN_STATUS_OK);
    assert_int_equal(iter.n_left, 0);
    assert_int_equal(spn_gguf_str_array(gguf, "u8s", &iter, NULL), SPN_STATUS_FORMAT);
    assert_int_equal(spn_gguf_str_array(gguf, "string", &iter, NULL), SPN_STATUS_FORMAT);
}

static void must_print(void **state, const char *key, size_t max_items, const char *want) {
    spn_buf buf = SPN_BUF(0);
    spn_gguf_pair_print(spn_gguf_find(opened(state), key), max_items, &buf);
    assert_string_equal(buf.data, want);
    spn_buf_free(&buf);
}

static void values_print_for_people(void **state) {
    must_print(state, "u8", 8, "200");
    must_print(state, "i64.minus", 8, "-9223372036854775808");
    must_print(state, "u64.large", 8, "18446744073709551615");
    must_print(state, "f32", 8, "0.1");
    must_print(state, "f64", 8, "-2.5");
    must_print(state, "f64.large", 8, "1e+39");
    must_print(state, "bool", 8, "true");
    must_print(state, "string", 8, "a\\x00\\n\"\\x1b[1\\t");
    must_print(state, "u8s", 8, "[1, 2, 3, 4]");
    must_print(state, "u8s", 4, "[1, 2, 3, 4]");
    must_print(state, "u8s", 2, "[1, 2, ... 4 items]");
    must_print(state, "u8s", 0, "[... 4 items]");
    must_print(state, "i64s", 8, "[5, 6, -1]");
    must_print(state, "bools", 8, "[true, false, true]");
    must_print(state, "f32s", 8, "[1, 0.25, -1e-20]");
    must_print(state, "strings", 8, "[\"one\", \"\", \"t\\\"w\\\\o\", \"\xC3\xA9\"]");
    must_print(state, "none", 8, "[]");
}

static void prints_know_no_locale(void **state) {
    /* A comma for the point, where such a locale is installed. */
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    size_t i = 0;
    while (i < SPN_COUNT(locales) && setlocale(LC_NUMERIC, locales[i]) == NULL) i++;
    if (i == SPN_COUNT(locales)) skip();
    must_print(state, "f64", 8, "-2.5");
    setlocale(LC_NUMERIC, "C");
}

static void prints_stop_at_the_limit(void **state) {
    spn_buf buf = SPN_BUF(10);
    spn_gguf_pair_print(spn_gguf_find(opened(state), "strings"), 8, &buf);
    assert_true(buf.failed);
    assert_true(buf.len <= 10);
    spn_buf_free(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_integer_kind_serves),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(other_kinds_are_refused),
        cmocka_unit_test(absent_keys_leave_the_default),
        cmocka_unit_test(floats_and_bools_are_read),
        cmocka_unit_test(strings_may_hold_any_byte),
        cmocka_unit_test(integer_arrays_are_converted),
        cmocka_unit_test(float_arrays_are_narrowed),
        cmocka_unit_test(string_arrays_are_walked),
        cmocka_unit_test(values_print_for_people),
        cmocka_unit_test(prints_know_no_locale),
        cmocka_unit_test(prints_stop_at_the_limit),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
