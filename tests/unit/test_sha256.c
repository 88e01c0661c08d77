/* test_sha256.c - digests against FIPS 180-4's examples. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha256.h"

typedef struct example {
    const char *text, *digest;
} example;

/* https://csrc.nist.gov/projects/cryptographic-standards-and-guidelines/example-values */
static const example examples[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};
#define MILLION_A "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void examples_of_the_standard(void **state) {
    (void)state;
    for (size_t i = 0; i < SPN_COUNT(examples); i++) {
        uint8_t digest[SPN_SHA256_BYTES];
        char text[SPN_SHA256_TEXT];
        assert_int_equal(spn_sha256_of(examples[i].text, strlen(examples[i].text), digest, NULL),
                         SPN_STATUS_OK);
        spn_sha256_text(digest, text);
        assert_string_equal(text, examples[i].digest);
    }
}

static void streams_may_come_in_any_pieces(void **state) {
    (void)state;
    char block[1000], text[SPN_SHA256_TEXT];
    uint8_t digest[SPN_SHA256_BYTES];
    spn_sha256 *sha = NULL;
    memset(block, 'a', sizeof block);
    assert_int_equal(spn_sha256_create(&sha, NULL), SPN_STATUS_OK);
    /* Twice: a digest's end is the next one's beginning. */
    for (int round = 0; round < 2; round++) {
        size_t left = 1000000;
        for (size_t n = 1; left > 0; n = n * 3 % 997 + 1) {
            size_t piece = spn_min_size(n, left);
            assert_int_equal(spn_sha256_update(sha, block, piece, NULL), SPN_STATUS_OK);
            left -= piece;
        }
        assert_int_equal(spn_sha256_final(sha, digest, NULL), SPN_STATUS_OK);
        spn_sha256_text(digest, text);
        assert_string_equal(text, MILLION_A);
    }
    spn_sha256_free(sha);
    spn_sha256_free(NULL);
}

static void texts_are_parsed_strictly(void **state) {
    (void)state;
    uint8_t digest[SPN_SHA256_BYTES], again[SPN_SHA256_BYTES] = {9};
    char text[SPN_SHA256_TEXT + 1];
    assert_int_equal(spn_sha256_of("abc", 3, digest, NULL), SPN_STATUS_OK);
    assert_true(spn_sha256_parse(examples[1].digest, again));
    assert_memory_equal(digest, again, sizeof digest);
    spn_sha256_text(digest, text);
    for (char *at = text; *at != '\0'; at++)
        if (*at >= 'a') *at = (char)(*at - 'a' + 'A');
    assert_true(spn_sha256_parse(text, again));
    memset(again, 7, sizeof again);
    assert_false(spn_sha256_parse("", again));
    text[63] = '\0';
    assert_false(spn_sha256_parse(text, again));
    memcpy(text + 63, "0a", 3);
    assert_false(spn_sha256_parse(text, again));
    memcpy(text + 62, "0g", 3);
    assert_false(spn_sha256_parse(text, again));
    for (size_t i = 0; i < sizeof again; i++) assert_int_equal(again[i], 7);
}

static spn_status read_letters(void *user, uint64_t offset, void *out, size_t n, spn_error *err) {
    size_t *total = user;
    assert_true(offset == *total);
    *total += n;
    memset(out, 'a', n);
    return n > 0 ? SPN_STATUS_OK : SPN_FAIL(err, IO, "nothing was asked for");
}

/* As `git hash-object` names them. */
static void blobs_have_gits_names(void **state) {
    (void)state;
    char name[41];
    size_t total = 0;
    assert_int_equal(spn_git_blob_name(0, read_letters, &total, name, NULL), SPN_STATUS_OK);
    assert_string_equal(name, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_int_equal(spn_git_blob_name(1000000, read_letters, &total, name, NULL), SPN_STATUS_OK);
    assert_string_equal(name, "de1fbf0c2f34f67f01f355f31ed0cf7319643c5e");
    assert_int_equal(total, 1000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_standard),
        cmocka_unit_test(streams_may_come_in_any_pieces),
        cmocka_unit_test(texts_are_parsed_strictly),
        cmocka_unit_test(blobs_have_gits_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
