/* test_tokenizer.c - real vocabularies where they are there, and what holds for any.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A folder of real vocabularies holds NAME.gguf, NAME.gguf.inp (texts, each followed by a line
 * "__ggml_vocab_test__") and NAME.gguf.out (a line of ids for each text, as the model's original
 * tokenizer gives them). SPN_TEST_VOCABS names it; else ../shared/vocab is tried.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/tokenizer.h"

static char *read_file(const char *path, size_t *n) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    char *data = NULL;
    *n = 0;
    for (size_t got = 1; got > 0; *n += got) {
        data = realloc(data, *n + 65536 + 1);
        assert_non_null(data);
        got = fread(data + *n, 1, 65536, file);
    }
    fclose(file);
    data[*n] = '\0';
    return data;
}

static spn_tokenizer *open_file(const char *path) {
    spn_error err = {0};
    spn_gguf *gguf;
    spn_tokenizer *tok;
    if (spn_gguf_open(&gguf, path, &err) != SPN_STATUS_OK) fail_msg("%s", err.text);
    if (spn_tokenizer_open(&tok, gguf, &err) != SPN_STATUS_OK) fail_msg("%s", err.text);
    spn_gguf_close(gguf);
    return tok;
}

/* The text's ids against a line of expected ones; returns the start of the next line. */
static const char *check_text(const spn_tokenizer *tok, const char *text, size_t len,
                              const char *expected) {
    int32_t *ids;
    size_t n;
    assert_int_equal(spn_tokenize(tok, text, len, 0, &ids, &n, NULL), SPN_STATUS_OK);
    for (size_t i = 0; i < n; i++) {
        char *end;
        long id = strtol(expected, &end, 10);
        if (end == expected || id != ids[i])
            fail_msg("token %zu of \"%.*s\" is %d, not %ld", i, (int)len, text, ids[i], id);
        expected = end;
    }
    expected += strspn(expected, " ");
    if (*expected != '\n') fail_msg("\"%.*s\" has too few tokens", (int)len, text);
    spn_free(ids);
    return expected + 1;
}

static void check_vocabulary(const char *folder, const char *name) {
    char path[4096];
    size_t n_inp, n_out, n_texts = 0;
    snprintf(path, sizeof path, "%s/%s.inp", folder, name);
    char *inp = read_file(path, &n_inp);
    if (inp == NULL) return;
    snprintf(path, sizeof path, "%s/%s.out", folder, name);
    char *out = read_file(path, &n_out);
    assert_non_null(out);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    spn_tokenizer *tok = open_file(path);
    static const char separator[] = "\n__ggml_vocab_test__\n";
    const char *text = inp, *line = out;
    for (const char *end; (end = strstr(text, separator)) != NULL; n_texts++) {
        line = check_text(tok, text, (size_t)(end - text), line);
        text = end + strlen(separator);
    }
    assert_true(n_texts > 0);
    print_message("%s: %zu texts\n", name, n_texts);
    spn_tokenizer_close(tok);
    free(inp);
    free(out);
}

static void real_vocabularies(void **state) {
    (void)state;
    const char *folder = getenv("SPN_TEST_VOCABS");
    DIR *dir = opendir(folder != NULL ? folder : "../shared/vocab");
    if (dir == NULL) {
        if (folder != NULL) fail_msg("%s cannot be read", folder);
        print_message("no real vocabularies here; SPN_TEST_VOCABS may name a folder of them\n");
        skip();
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len > 5 && strcmp(entry->d_name + len - 5, ".gguf") == 0)
            check_vocabulary(folder != NULL ? folder : "../shared/vocab", entry->d_name);
    }
    closedir(dir);
}

static void streams_stop_at_whole_characters(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t whole;
    } rows[] = {
        {"", 0},
        {"abc", 3},
        {"\xC3", 0},
        {"a\xC3\xA9", 3},
        {"a\xE2\x82", 1},
        {"a\xE2\x82\xAC", 4},
        {"\xF0\x9F\x98", 0},
        {"\xF0\x9F\x98\x80", 4},
        {"a\x80\x80", 3},        /* stray */
        {"\xC0", 1},             /* never valid */
        {"\xE0\x80", 2},         /* too long a form */
        {"\xED\xA0", 2},         /* a surrogate */
        {"\xF4\x90", 2},         /* beyond U+10FFFF */
        {"\xF0\x90", 0},         /* U+10000 may follow */
        {"\xE2\x82\xAC\xE2", 3}, /* one whole, one begun */
        {"\xC3\xA9\xA9\xA9", 4}, /* too many continuations */
        {"\xF8\x88\x80\x80", 4}, /* five bytes are no UTF-8 */
        {"\xE2\x28", 2},         /* broken off by a letter */
    };
    for (size_t i = 0; i < SPN_COUNT(rows); i++)
        assert_int_equal(spn_utf8_whole(rows[i].bytes, strlen(rows[i].bytes)), rows[i].whole);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_vocabularies),
        cmocka_unit_test(streams_stop_at_whole_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
