/* test_tok_specials.c - special tokens, rules, refusals, and memory that runs out.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The vocabularies are built here; the expected tokens follow from their few merges by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gguf_bytes.h"
#include "hostile_alloc.h"
#include "text/tokenizer.h"

typedef struct token_row {
    const char *text;
    int kind;
} token_row;

/* A file of tokens, each with score -id, and of what `more` adds (n_more pairs). */
static bytes vocabulary(const char *model, const token_row *rows, size_t n, uint64_t n_more,
                        void (*more)(bytes *)) {
    bytes b = {0};
    put_head(&b, 3, 0, 4 + n_more);
    put_key(&b, "tokenizer.ggml.model", 8);
    put_text(&b, model);
    put_array(&b, "tokenizer.ggml.tokens", 8, n);
    for (size_t i = 0; i < n; i++) put_text(&b, rows[i].text);
    put_array(&b, "tokenizer.ggml.token_type", 5, n);
    for (size_t i = 0; i < n; i++) put_u32(&b, (uint64_t)rows[i].kind);
    put_array(&b, "tokenizer.ggml.scores", 6, n);
    for (size_t i = 0; i < n; i++) put_f32(&b, -(float)i);
    if (more != NULL) more(&b);
    return b;
}

static spn_status open_bytes(bytes b, spn_tokenizer **tok, spn_error *err) {
    spn_gguf *gguf;
    spn_status status = spn_gguf_open_bytes(&gguf, b.data, b.n, "test", err);
    if (status != SPN_STATUS_OK) return status;
    status = spn_tokenizer_open(tok, gguf, err);
    spn_gguf_close(gguf);
    return status;
}

static spn_tokenizer *open_rows(const char *model, const token_row *rows, size_t n, uint64_t n_more,
                                void (*more)(bytes *)) {
    spn_error err = {0};
    spn_tokenizer *tok;
    bytes b = vocabulary(model, rows, n, n_more, more);
    if (open_bytes(b, &tok, &err) != SPN_STATUS_OK) fail_msg("%s", err.text);
    bytes_free(&b);
    return tok;
}

/* `expected` ends with -1. */
static void check(const spn_tokenizer *tok, const char *text, unsigned flags,
                  const int32_t *expected) {
    int32_t *ids;
    size_t n, i = 0;
    assert_int_equal(spn_tokenize(tok, text, strlen(text), flags, &ids, &n, NULL), SPN_STATUS_OK);
    for (; i < n; i++)
        if (ids[i] != expected[i])
            fail_msg("token %zu of \"%s\" is %d, not %d", i, text, ids[i], expected[i]);
    if (expected[i] != -1) fail_msg("\"%s\" has %zu tokens, too few", text, n);
    spn_free(ids);
}

#define CHECK(tok, text, flags, ...) check(tok, text, flags, (const int32_t[]){__VA_ARGS__})

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };
enum { ADD = SPN_TOKENIZE_ADD_SPECIAL, PARSE = SPN_TOKENIZE_PARSE_SPECIAL };

/* Mark, letters, and special tokens of which some lie inside others. */
static const token_row spm_rows[] = {
    {"<unk>", UNKNOWN},
    {"<s>", CONTROL},
    {"</s>", CONTROL},
    {"\xE2\x96\x81", NORMAL},
    {"a", NORMAL},
    {"b", NORMAL},
    {"ab", NORMAL},
    {"<x>", USER},
    {"<x><x>", USER},
    {"x><", USER},
    {"<|im_end|>", NORMAL},
    {"<", NORMAL},
    {"s", NORMAL},
    {">", NORMAL},
    {"<s", NORMAL},
    {"\n", NORMAL},
    {"\xE2\x96\x81"
     "a",
     NORMAL}, /* style: keeps the mark apart from a letter that is a hex digit */
};

static spn_tokenizer *open_spm(uint64_t n_more, void (*more)(bytes *)) {
    return open_rows("llama", spm_rows, SPN_COUNT(spm_rows), n_more, more);
}

static void longer_tokens_go_first(void **state) {
    (void)state;
    spn_tokenizer *tok = open_spm(0, NULL);
    CHECK(tok, "<x>", 0, 7, -1);
    CHECK(tok, "<x><x>", 0, 8, -1);
    CHECK(tok, "<x><x><x>", 0, 8, 7, -1);    /* of equals the leftmost; the rest still fits */
    CHECK(tok, "a<x>b", 0, 16, 7, 3, 5, -1); /* a blank before text, also behind a token */
    CHECK(tok, "<x><", 0, 7, 3, 11, -1);     /* "<x>" and "x><" are as long: the leftmost */
    CHECK(tok, "x><x>", 0, 9, 3, 0, 13, -1);
    spn_tokenizer_close(tok);
}

static void control_tokens_are_parsed_on_demand(void **state) {
    (void)state;
    spn_tokenizer *tok = open_spm(0, NULL);
    CHECK(tok, "<s>", PARSE, 1, -1);
    CHECK(tok, "<s>a", PARSE, 1, 16, -1);
    /* Merging must not make a control token of a user's text: "<s" and ">" stay apart. */
    CHECK(tok, "<s>", 0, 3, 14, 13, -1);
    CHECK(tok, "<unk>", PARSE, 0, -1);
    /* A known end text is a control token whatever its type says. */
    CHECK(tok, "<|im_end|>", PARSE, 10, -1);
    assert_int_equal(spn_tokenizer_kind(tok, 10), SPN_TOKEN_KIND_CONTROL);
    spn_tokenizer_close(tok);
}

static void no_bos(bytes *b) {
    put_key(b, "tokenizer.ggml.add_bos_token", 7);
    put_int(b, 0, 1);
    put_key(b, "tokenizer.ggml.add_eos_token", 7);
    put_int(b, 1, 1);
    put_key(b, "tokenizer.ggml.add_space_prefix", 7);
    put_int(b, 0, 1);
    put_pair_u32(b, "tokenizer.ggml.eos_token_id", 10);
}

static void metadata_rule(void **state) {
    (void)state;
    spn_tokenizer *tok = open_spm(0, NULL);
    const spn_token_specials *s = spn_tokenizer_specials(tok);
    assert_true(s->bos == 1 && s->eos == 2 && s->unk == 0 && s->eot == 10);
    assert_true(s->add_bos && !s->add_eos && s->add_space_prefix);
    CHECK(tok, "ab", ADD, 1, 3, 6, -1);
    CHECK(tok, "", ADD, 1, -1);
    assert_true(spn_tokenizer_is_end(tok, 2) && spn_tokenizer_is_end(tok, 10));
    assert_false(spn_tokenizer_is_end(tok, 1) || spn_tokenizer_is_end(tok, -1));
    assert_false(spn_tokenizer_is_end(tok, 1000));
    spn_tokenizer_close(tok);
    tok = open_spm(4, no_bos);
    CHECK(tok, "ab", ADD, 6, 10, -1);
    CHECK(tok, "", ADD, 10, -1);
    spn_tokenizer_close(tok);
}

static void phi3(bytes *b) {
    put_key(b, "general.name", 8);
    put_text(b, "A Phi-3 model");
}

static void phi3_swallows_blanks_behind(void **state) {
    (void)state;
    spn_tokenizer *tok = open_spm(1, phi3);
    CHECK(tok, "<x>  \na", 0, 7, 16, -1);
    CHECK(tok, "<x>  <x> ", 0, 7, 7, -1);
    CHECK(tok, "<s> a", PARSE, 1, 3, 16, -1); /* not behind "<s>": the text's blank and its own */
    CHECK(tok, "</s> a", PARSE, 2, 16, -1);
    spn_tokenizer_close(tok);
}

static void tokens_to_text(void **state) {
    (void)state;
    spn_tokenizer *tok = open_spm(0, NULL);
    static const int32_t ids[] = {1, 16, 7, 16, 3, 4, 2};
    spn_buf out = SPN_BUF(0);
    assert_int_equal(spn_detokenize(tok, ids, 7, true, &out, NULL), SPN_STATUS_OK);
    assert_string_equal(out.data, "<s>a<x>a a</s>");
    spn_buf_clear(&out);
    assert_int_equal(spn_detokenize(tok, ids, 7, false, &out, NULL), SPN_STATUS_OK);
    assert_string_equal(out.data, "a<x>a a");
    spn_buf_clear(&out);
    assert_int_equal(spn_token_bytes(tok, 16, false, &out, NULL), SPN_STATUS_OK);
    assert_string_equal(out.data, " a");
    spn_error err = {0};
    static const int32_t bad[] = {4, 17};
    assert_int_equal(spn_detokenize(tok, bad, 2, false, &out, &err), SPN_STATUS_FORMAT);
    assert_string_equal(out.data, " a");
    assert_non_null(strstr(err.text, "17"));
    assert_int_equal(spn_token_bytes(tok, -1, false, &out, NULL), SPN_STATUS_FORMAT);
    assert_int_equal(spn_tokenizer_find(tok, "ab", 2), 6);
    assert_int_equal(spn_tokenizer_find(tok, "ba", 2), SPN_TOKEN_NONE);
    spn_buf_free(&out);
    spn_tokenizer_close(tok);
}

static const token_row harmony_rows[] = {
    {"<unk>", UNKNOWN},    {"<s>", CONTROL},        {"</s>", NORMAL},         {"<|end|>", CONTROL},
    {"<|call|>", CONTROL}, {"<|return|>", CONTROL}, {"<|channel|>", CONTROL}, {"a", NORMAL},
};

/* In gpt-oss a message's end is not the end of the answer, and the channel's name is shown. */
static void harmony_ends(void **state) {
    (void)state;
    spn_tokenizer *tok = open_rows("llama", harmony_rows, SPN_COUNT(harmony_rows), 0, NULL);
    assert_false(spn_tokenizer_is_end(tok, 3));
    assert_true(spn_tokenizer_is_end(tok, 4) && spn_tokenizer_is_end(tok, 5));
    assert_int_equal(spn_tokenizer_kind(tok, 6), SPN_TOKEN_KIND_USER_DEFINED);
    assert_int_equal(spn_tokenizer_kind(tok, 3), SPN_TOKEN_KIND_USER_DEFINED);
    spn_tokenizer_close(tok);
    tok = open_rows("llama", harmony_rows, 4, 0, NULL);
    assert_true(spn_tokenizer_is_end(tok, 3));
    spn_tokenizer_close(tok);
}

/* ---- refusals ---- */

/* "</s>" is HTML to a model that ends with another token, and says so by the type. */
static void html_is_no_end(void **state) {
    (void)state;
    token_row rows[] = {{"<unk>", UNKNOWN}, {"<bos>", CONTROL}, {"<eos>", CONTROL},
                        {"<", NORMAL},      {"/", NORMAL},      {"s", NORMAL},
                        {">", NORMAL},      {"</s>", NORMAL},   {"\xE2\x96\x81", NORMAL}};
    spn_tokenizer *tok = open_rows("llama", rows, SPN_COUNT(rows), 0, NULL);
    CHECK(tok, "</s>", PARSE, 8, 3, 4, 5, 6, -1);
    assert_false(spn_tokenizer_is_end(tok, 7));
    assert_true(spn_tokenizer_is_end(tok, 2));
    spn_tokenizer_close(tok);
    rows[7].kind = USER; /* one token, but a text's like any other */
    tok = open_rows("llama", rows, SPN_COUNT(rows), 0, NULL);
    CHECK(tok, "</s>", 0, 7, -1);
    assert_false(spn_tokenizer_is_end(tok, 7));
    spn_tokenizer_close(tok);
    rows[7].kind = CONTROL;
    tok = open_rows("llama", rows, SPN_COUNT(rows), 0, NULL);
    CHECK(tok, "</s>", PARSE, 7, -1);
    assert_true(spn_tokenizer_is_end(tok, 7));
    spn_tokenizer_close(tok);
}

static void wpm_ids(bytes *b) {
    put_pair_u32(b, "tokenizer.ggml.unknown_token_id", 0);
    put_pair_u32(b, "tokenizer.ggml.cls_token_id", 1);
    put_pair_u32(b, "tokenizer.ggml.seperator_token_id", 2);
}

/* The original BERT drops control characters, vertical tabs and form feeds among them, and takes
 * only tabs, line ends and Unicode's blanks for blanks. */
static void wordpiece_drops_control_characters(void **state) {
    (void)state;
    const token_row rows[] = {{"[UNK]", UNKNOWN},
                              {"[CLS]", CONTROL},
                              {"[SEP]", CONTROL},
                              {"\xE2\x96\x81"
                               "ab",
                               NORMAL},
                              {"\xE2\x96\x81"
                               "a",
                               NORMAL},
                              {"\xE2\x96\x81"
                               "b",
                               NORMAL}};
    spn_tokenizer *tok = open_rows("bert", rows, SPN_COUNT(rows), 3, wpm_ids);
    CHECK(tok, "a\tb", 0, 4, 5, -1);
    CHECK(tok, "a\r\nb", 0, 4, 5, -1);
    CHECK(tok,
          "a\xC2\xA0"
          "b\xE3\x80\x80"
          "a\xE2\x80\xA8"
          "b",
          0, 4, 5, 4, 5, -1);
    CHECK(tok, "a\vb", 0, 3, -1);
    CHECK(tok, "a\fb", 0, 3, -1);
    CHECK(tok,
          "a\xC2\x85"
          "b",
          0, 3, -1);
    CHECK(tok,
          "a\x01\x7F"
          "b",
          0, 3, -1);
    spn_tokenizer_close(tok);
}

static void unknown_pattern(bytes *b) {
    put_key(b, "tokenizer.ggml.pre", 8);
    put_text(b, "no-such-pattern");
    put_array(b, "tokenizer.ggml.merges", 8, 0);
}

static void merge_without_blank(bytes *b) {
    put_array(b, "tokenizer.ggml.merges", 8, 1);
    put_text(b, "ab");
}

static void bad_map(bytes *b) {
    put_array(b, "tokenizer.ggml.precompiled_charsmap", 0, 6);
    put_u32(b, 400);
    put_int(b, 0, 2);
}

static void bos_without_id(bytes *b) {
    put_array(b, "tokenizer.ggml.merges", 8, 0);
    put_key(b, "tokenizer.ggml.add_bos_token", 7);
    put_int(b, 1, 1);
}

static void short_types(bytes *b) {
    put_array(b, "tokenizer.ggml.merges", 5, 1);
    put_u32(b, 1);
}

static void refused_files_name_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *model;
        uint64_t n_more;
        void (*more)(bytes *);
        spn_status status;
        const char *word;
    } rows[] = {
        {"rwkv", 0, NULL, SPN_STATUS_TOKENIZER, "rwkv"},
        {"gpt2", 2, unknown_pattern, SPN_STATUS_TOKENIZER, "no-such-pattern"},
        {"gpt2", 0, NULL, SPN_STATUS_FORMAT, "merges"},
        {"gpt2", 1, merge_without_blank, SPN_STATUS_FORMAT, "merges"},
        {"gpt2", 1, short_types, SPN_STATUS_FORMAT, "merges"},
        {"gpt2", 2, bos_without_id, SPN_STATUS_FORMAT, "bos_token_id"},
        {"t5", 1, bad_map, SPN_STATUS_FORMAT, "precompiled_charsmap"},
        {"bert", 0, NULL, SPN_STATUS_FORMAT, "unknown_token_id"},
    };
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        spn_error err = {0};
        spn_tokenizer *tok = NULL;
        bytes b =
            vocabulary(rows[i].model, spm_rows, SPN_COUNT(spm_rows), rows[i].n_more, rows[i].more);
        assert_int_equal(open_bytes(b, &tok, &err), rows[i].status);
        if (strstr(err.text, rows[i].word) == NULL) fail_msg("row %zu: %s", i, err.text);
        assert_null(tok);
        bytes_free(&b);
    }
}

static void a_file_without_vocabulary(void **state) {
    (void)state;
    spn_error err = {0};
    spn_tokenizer *tok = NULL;
    bytes b = {0};
    put_head(&b, 3, 0, 0);
    assert_int_equal(open_bytes(b, &tok, &err), SPN_STATUS_FORMAT);
    assert_non_null(strstr(err.text, "tokenizer.ggml.model"));
    bytes_free(&b);
    b = vocabulary("llama", spm_rows, 0, 0, NULL);
    assert_int_equal(open_bytes(b, &tok, &err), SPN_STATUS_FORMAT);
    assert_non_null(strstr(err.text, "tokenizer.ggml.tokens"));
    bytes_free(&b);
}

/* ---- memory ---- */

static bytes read_golden(const char *name) {
    char path[256];
    bytes b = {0};
    snprintf(path, sizeof path, "tests/golden/tokenizer/%s.gguf", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;) put(&b, block, n);
    fclose(file);
    return b;
}

static spn_status use_all(bytes b) {
    static const char text[] = "the Work's copyright <sep><sep2> 12345 \xFF\xE4\xBD\xA0\n\n"
                               "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww";
    char longer[1200];
    for (size_t i = 0; i < sizeof longer; i++) longer[i] = text[i % (sizeof text - 1)];
    spn_status status = SPN_STATUS_OK;
    spn_tokenizer *tok = NULL;
    spn_buf out = SPN_BUF(0);
    int32_t *ids = NULL;
    size_t n;
    SPN_TRY_GOTO(open_bytes(b, &tok, NULL));
    SPN_TRY_GOTO(spn_tokenize(tok, longer, sizeof longer, ADD | PARSE, &ids, &n, NULL));
    SPN_TRY_GOTO(spn_detokenize(tok, ids, n, true, &out, NULL));
done:
    spn_free(ids);
    spn_buf_free(&out);
    spn_tokenizer_close(tok);
    return status;
}

static void memory_may_run_out_anywhere(void **state) {
    (void)state;
    static const char *const names[] = {"spm", "bpe", "raw", "ugm", "wpm"};
    for (size_t i = 0; i < SPN_COUNT(names); i++) {
        bytes b = read_golden(names[i]);
        spn_status status = SPN_STATUS_NO_MEMORY;
        for (long at = 1; status != SPN_STATUS_OK; at++) {
            hostile_alloc heap = {.fail_at = at};
            hostile_install(&heap);
            status = use_all(b);
            spn_set_allocator(NULL);
            assert_int_equal(heap.n_blocks, 0);
            assert_true(status == SPN_STATUS_OK || status == SPN_STATUS_NO_MEMORY);
            assert_true(at < 5000);
        }
        bytes_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longer_tokens_go_first),
        cmocka_unit_test(control_tokens_are_parsed_on_demand),
        cmocka_unit_test(metadata_rule),
        cmocka_unit_test(phi3_swallows_blanks_behind),
        cmocka_unit_test(tokens_to_text),
        cmocka_unit_test(harmony_ends),
        cmocka_unit_test(html_is_no_end),
        cmocka_unit_test(wordpiece_drops_control_characters),
        cmocka_unit_test(refused_files_name_what_is_wrong),
        cmocka_unit_test(a_file_without_vocabulary),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
