/* test_tokenizer.c - vocabularies with the ids that others give.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A folder of vocabularies holds NAME.gguf, NAME.gguf.inp or NAME.inp (texts, each followed by a
 * line
 * "__ggml_vocab_test__") and .out beside it (a line of ids for each text); NAME.special.out holds
 * the ids with special tokens added and parsed. tests/golden/tokenizer has small ones, made by the
 * script there. Real ones with the ids of their original tokenizers are looked for in the folder
 * that SPN_TEST_VOCABS names, else in ../shared/vocab.
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

#define GOLDEN "tests/golden/tokenizer"
#define SEPARATOR "\n__ggml_vocab_test__\n"

typedef struct file {
    char *data; /* a NUL is added */
    size_t n;
} file;

/* {NULL, 0} when there is none. */
static file read_file(const char *folder, const char *name, const char *ending) {
    char path[4096];
    file f = {0};
    snprintf(path, sizeof path, "%s/%s%s", folder, name, ending);
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) return f;
    for (size_t got = 1; got > 0; f.n += got) {
        f.data = realloc(f.data, f.n + 65536 + 1);
        assert_non_null(f.data);
        got = fread(f.data + f.n, 1, 65536, stream);
    }
    fclose(stream);
    f.data[f.n] = '\0';
    return f;
}

static spn_tokenizer *open_bytes(file f) {
    spn_error err = {0};
    spn_gguf *gguf;
    spn_tokenizer *tok;
    if (spn_gguf_open_bytes(&gguf, f.data, f.n, "vocabulary", &err)) fail_msg("%s", err.text);
    if (spn_tokenizer_open(&tok, gguf, &err)) fail_msg("%s", err.text);
    spn_gguf_close(gguf);
    return tok;
}

static spn_tokenizer *open_golden(const char *name) {
    file f = read_file(GOLDEN, name, ".gguf");
    assert_non_null(f.data);
    spn_tokenizer *tok = open_bytes(f);
    free(f.data);
    return tok;
}

/* The text's ids against a line of expected ones; returns the start of the next line. */
static const char *check_text(const spn_tokenizer *tok, const char *text, size_t len,
                              unsigned flags, const char *what, const char *expected) {
    int32_t *ids;
    size_t n;
    assert_int_equal(spn_tokenize(tok, text, len, flags, &ids, &n, NULL), SPN_STATUS_OK);
    for (size_t i = 0; i < n; i++) {
        char *end;
        expected += strspn(expected, " ");
        if (*expected == '\n') fail_msg("%s: token %zu is one too many", what, i);
        long id = strtol(expected, &end, 10);
        if (id != ids[i])
            fail_msg("%s: token %zu of \"%.*s\" is %d, not %ld", what, i, (int)len, text, ids[i],
                     id);
        expected = end;
    }
    expected += strspn(expected, " ");
    if (*expected != '\n') fail_msg("%s: \"%.*s\" has too few tokens", what, (int)len, text);
    spn_free(ids);
    return expected + 1;
}

/* The end of the text at `at`: where its separator starts; NULL behind the last one. */
static const char *text_end(file inp, const char *at) {
    size_t n = strlen(SEPARATOR);
    for (; at + n <= inp.data + inp.n; at++)
        if (memcmp(at, SEPARATOR, n) == 0) return at;
    return NULL;
}

static const char *check_texts(const spn_tokenizer *tok, file inp, unsigned flags, const char *what,
                               const char *lines) {
    size_t n_texts = 0;
    const char *text = inp.data;
    for (const char *end; (end = text_end(inp, text)) != NULL; n_texts++) {
        lines = check_text(tok, text, (size_t)(end - text), flags, what, lines);
        text = end + strlen(SEPARATOR);
    }
    assert_true(n_texts > 0);
    return lines;
}

static void check_vocabulary(const char *folder, const char *name, const char *ending) {
    file vocabulary = read_file(folder, name, ".gguf");
    char stem[512];
    snprintf(stem, sizeof stem, "%s%s", name, ending);
    file inp = read_file(folder, stem, ".inp"), out = read_file(folder, stem, ".out");
    file special = read_file(folder, stem, ".special.out");
    assert_true(vocabulary.data != NULL && inp.data != NULL && out.data != NULL);
    spn_tokenizer *tok = open_bytes(vocabulary);
    const char *end = check_texts(tok, inp, 0, name, out.data);
    assert_int_equal(end - out.data, out.n);
    if (special.data != NULL)
        check_texts(tok, inp, SPN_TOKENIZE_ADD_SPECIAL | SPN_TOKENIZE_PARSE_SPECIAL, name,
                    special.data);
    spn_tokenizer_close(tok);
    free(vocabulary.data);
    free(inp.data);
    free(out.data);
    free(special.data);
}

static void small_vocabularies(void **state) {
    (void)state;
    static const char *const names[] = {"spm", "bpe", "raw", "ugm", "wpm", "words"};
    for (size_t i = 0; i < SPN_COUNT(names); i++) check_vocabulary(GOLDEN, names[i], "");
}

static void real_vocabularies(void **state) {
    (void)state;
    const char *folder = getenv("SPN_TEST_VOCABS");
    if (folder == NULL) folder = "../shared/vocab";
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        if (getenv("SPN_TEST_VOCABS") != NULL) fail_msg("%s cannot be read", folder);
        print_message("%s is not there; SPN_TEST_VOCABS may name real vocabularies\n", folder);
        skip();
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len <= 5 || strcmp(entry->d_name + len - 5, ".gguf") != 0) continue;
        entry->d_name[len - 5] = '\0';
        check_vocabulary(folder, entry->d_name, ".gguf");
        print_message("%s: ok\n", entry->d_name);
    }
    closedir(dir);
}

/* Writes another name behind the file's last key, "tokenizer.ggml.pre". */
static file with_pattern(file f, const char *name, size_t n) {
    static const char key[] = "tokenizer.ggml.pre";
    file g = {malloc(f.n + n + 8), 0};
    assert_non_null(g.data);
    size_t at = f.n - strlen(key);
    while (memcmp(f.data + at, key, strlen(key)) != 0) at--;
    at += strlen(key) + 4;
    memcpy(g.data, f.data, at);
    for (size_t i = 0; i < 8; i++) g.data[at + i] = (char)(n >> 8 * i);
    memcpy(g.data + at + 8, name, n);
    g.n = at + 8 + n;
    return g;
}

/* words.gguf merges any two bytes that stand together in the texts: the ids show every word's end.
 */
static void every_family_of_patterns(void **state) {
    (void)state;
    file words = read_file(GOLDEN, "words", ".gguf"), inp = read_file(GOLDEN, "words", ".inp");
    file out = read_file(GOLDEN, "words.pre", ".out");
    assert_true(words.data != NULL && inp.data != NULL && out.data != NULL);
    size_t n_families = 0;
    for (const char *at = out.data; *at == '='; n_families++) {
        const char *name = at + 2, *end = strchr(at, '\n');
        char what[64];
        snprintf(what, sizeof what, "%.*s", (int)(end - name), name);
        file named = with_pattern(words, name, (size_t)(end - name));
        spn_tokenizer *tok = open_bytes(named);
        at = check_texts(tok, inp, 0, what, end + 1);
        spn_tokenizer_close(tok);
        free(named.data);
    }
    assert_int_equal(n_families, 30);
    free(words.data);
    free(inp.data);
    free(out.data);
}

static void check_round_trip(const spn_tokenizer *tok, const char *text, size_t len) {
    int32_t *ids;
    size_t n;
    spn_buf back = SPN_BUF(0);
    assert_int_equal(spn_tokenize(tok, text, len, 0, &ids, &n, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_detokenize(tok, ids, n, true, &back, NULL), SPN_STATUS_OK);
    if (back.len != len || (len > 0 && memcmp(back.data, text, len) != 0))
        fail_msg("\"%.*s\" came back as \"%.*s\"", (int)len, text, (int)back.len,
                 back.data != NULL ? back.data : "");
    spn_free(ids);
    spn_buf_free(&back);
}

/* All pairs of bytes, and pseudo-random bytes: nothing is lost on the way to tokens and back. */
static void any_bytes_come_back(void **state) {
    (void)state;
    static const char *const names[] = {"spm", "bpe", "raw", "words"};
    for (size_t i = 0; i < SPN_COUNT(names); i++) {
        spn_tokenizer *tok = open_golden(names[i]);
        uint64_t random = 88172645463325252u;
        for (unsigned pair = 0; pair < 65536; pair += i == 0 ? 1 : 7) {
            char text[2] = {(char)(pair >> 8), (char)pair};
            check_round_trip(tok, text, 2);
        }
        for (size_t round = 0; round < 300; round++) {
            char text[96];
            for (size_t j = 0; j < sizeof text; j++) {
                random ^= random << 13, random ^= random >> 7, random ^= random << 17;
                /* Half of them letters and blanks, so that words come about. */
                text[j] = random & 256 ? "ab  the\n"[random & 7] : (char)(random >> 16);
            }
            if (memchr(text, '\x96', sizeof text) == NULL) /* no stray half of a mark */
                check_round_trip(tok, text, sizeof text);
        }
        spn_tokenizer_close(tok);
    }
}

/* One word of a megabyte, of one letter, of digits, of blanks, of line feeds that are tokens. */
static void long_words_are_no_trouble(void **state) {
    (void)state;
    static const char *const names[] = {"spm", "bpe", "raw", "words", "ugm", "wpm"};
    size_t len = (size_t)1 << 20;
    char *text = malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < SPN_COUNT(names); i++) {
        spn_tokenizer *tok = open_golden(names[i]);
        for (const char *c = "a1 \n'\xC3"; *c != '\0'; c++) {
            int32_t *ids;
            size_t n;
            memset(text, *c, len);
            assert_int_equal(spn_tokenize(tok, text, len, 0, &ids, &n, NULL), SPN_STATUS_OK);
            assert_true(n <= len + 1);
            spn_free(ids);
            if (i < 4) check_round_trip(tok, text, len);
        }
        spn_tokenizer_close(tok);
    }
    free(text);
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
        cmocka_unit_test(small_vocabularies),
        cmocka_unit_test(real_vocabularies),
        cmocka_unit_test(every_family_of_patterns),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(long_words_are_no_trouble),
        cmocka_unit_test(streams_stop_at_whole_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
