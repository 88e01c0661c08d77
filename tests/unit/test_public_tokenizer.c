/* test_public_tokenizer.c - the public API's tokenizer. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "spn/engine.h"

#define PATH "tests/golden/tokenizer/spm.gguf"

static void there_and_back(void **state) {
    (void)state;
    spn_tokenizer *tok;
    spn_error err = {0};
    if (spn_tokenizer_load(&tok, PATH, &err) != SPN_STATUS_OK) fail_msg("%s", err.text);
    assert_int_equal(spn_tokenizer_vocab_size(tok), 900);
    static const char text[] = "the Work </s>";
    int32_t *ids;
    char *back;
    size_t n, n_bytes;
    assert_int_equal(spn_tokenizer_encode(tok, text, strlen(text), NULL, &ids, &n, &err), 0);
    assert_int_equal(spn_tokenizer_decode(tok, ids, n, false, &back, &n_bytes, &err), 0);
    assert_int_equal(n_bytes, strlen(text));
    assert_string_equal(back, text);
    spn_free(back);
    spn_free(ids);
    const spn_encode_options options = {.add_special = true, .parse_special = true};
    assert_int_equal(spn_tokenizer_encode(tok, text, strlen(text), &options, &ids, &n, &err), 0);
    assert_int_equal(ids[0], 1);
    assert_true(spn_tokenizer_ends_text(tok, ids[n - 1]));
    assert_false(spn_tokenizer_ends_text(tok, ids[0]));
    assert_int_equal(spn_tokenizer_decode(tok, ids, n, true, &back, &n_bytes, &err), 0);
    assert_string_equal(back, "<s>the Work </s>");
    spn_free(back);
    assert_int_equal(spn_tokenizer_decode(tok, ids, n, false, &back, &n_bytes, &err), 0);
    assert_string_equal(back, "the Work ");
    spn_free(back);
    spn_free(ids);
    spn_tokenizer_free(tok);
}

static void nothing_is_something(void **state) {
    (void)state;
    spn_tokenizer *tok;
    int32_t *ids;
    char *back;
    size_t n = 1, n_bytes = 1;
    assert_int_equal(spn_tokenizer_load(&tok, PATH, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_tokenizer_encode(tok, NULL, 0, NULL, &ids, &n, NULL), SPN_STATUS_OK);
    assert_int_equal(n, 0);
    assert_non_null(ids);
    assert_int_equal(spn_tokenizer_decode(tok, NULL, 0, false, &back, &n_bytes, NULL), 0);
    assert_int_equal(n_bytes, 0);
    assert_string_equal(back, "");
    spn_free(ids);
    spn_free(back);
    spn_tokenizer_free(tok);
    spn_tokenizer_free(NULL);
}

static void wrong_arguments(void **state) {
    (void)state;
    spn_error err = {0};
    spn_tokenizer *tok = NULL;
    assert_int_equal(spn_tokenizer_load(&tok, "no/such/file.gguf", &err), SPN_STATUS_IO);
    assert_null(tok);
    assert_int_equal(spn_tokenizer_load(&tok, NULL, &err), SPN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(spn_tokenizer_load(&tok, PATH, &err), SPN_STATUS_OK);
    static const int32_t bad[][1] = {{900}, {-1}};
    char *text = NULL;
    size_t n = 77;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(spn_tokenizer_decode(tok, bad[i], 1, true, &text, &n, &err),
                         SPN_STATUS_INVALID_ARGUMENT);
        assert_null(text);
        assert_int_equal(n, 77);
        assert_non_null(strstr(err.text, i == 0 ? "900" : "-1"));
    }
    spn_tokenizer_free(tok);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(nothing_is_something),
        cmocka_unit_test(wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
