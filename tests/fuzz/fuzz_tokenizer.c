/* fuzz_tokenizer.c - any text under small vocabularies, and any file as a vocabulary.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The first byte chooses: 0-4 tokenize the rest with a vocabulary of each kind (and, where that is
 * lossless, compare what comes back); others open the rest as a GGUF file and, if it has a
 * tokenizer, use it. The corpus is made by make_tokenizer_corpus.py.
 */
#include "../unit/gguf_bytes.h"
#include "../unit/hostile_alloc.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MARK "\xE2\x96\x81"

/* Tokens for each byte, then words, each with score -id. */
static const char *const words[] = {
    "a",        "b",       "ab",     "the", "th",   "t", "h",  "e",  MARK,       MARK MARK,
    MARK "the", MARK "th", MARK "t", "\n",  "\n\n", "1", "11", "he", "\xC3\xA9", "\xE4\xBD\xA0"};
static const char *const user_defined[] = {"<x>", "<x><x>", "x><", "  ", "   "};
static const char *const merges[] = {"a b",     "t h",      "th e",       "h e",
                                     "\n \n",   "1 1",      "\xC4\xA0 t", "\xC4\xA0t h",
                                     MARK " t", MARK "t h", MARK "th e",  MARK " " MARK};
static const char *const models[] = {"llama", "gpt2", "gemma4", "bert", "t5"};
enum { N_MODELS = 5, GPT2 = 1, BERT = 3 };

/* The byte-level alphabet: printable Latin-1 stands for itself, the others for U+0100 and on. */
static void put_byte_token(bytes *b, int model, int byte) {
    static const char hex[] = "0123456789ABCDEF";
    char text[8] = {'<', '0', 'x', hex[byte >> 4], hex[byte & 15], '>'};
    if (model == GPT2) {
        int shift = 0, plain = 0;
        for (int i = 0; i <= byte; i++) {
            plain = (i >= 0x21 && i <= 0x7E) || (i >= 0xA1 && i != 0xAD);
            if (!plain && i < byte) shift++;
        }
        int code = plain ? byte : 256 + shift;
        memset(text, 0, sizeof text);
        text[0] = (char)(code < 128 ? code : 0xC0 | code >> 6);
        if (code >= 128) text[1] = (char)(0x80 | (code & 63));
    }
    put_text(b, text);
}

static void put_strings(bytes *b, const char *const *texts, size_t n) {
    for (size_t i = 0; i < n; i++) put_text(b, texts[i]);
}

/* In a byte-level vocabulary a word may not repeat a byte's token: only the longer ones go in. */
static bytes build(int model) {
    static const char *const byte_level[] = {"ab", "the",       "th",        "11",
                                             "he", "\xC4\xA0t", "\xC4\xA0th"};
    const char *const *list = model == GPT2 ? byte_level : words;
    size_t n_words = model == GPT2 ? SPN_COUNT(byte_level) : SPN_COUNT(words);
    size_t n = 4 + 256 + n_words + SPN_COUNT(user_defined);
    bytes b = {0};
    put_head(&b, 3, 0, 7);
    put_key(&b, "tokenizer.ggml.model", 8);
    put_text(&b, models[model]);
    put_key(&b, "tokenizer.ggml.pre", 8);
    put_text(&b, "llama-bpe");
    put_array(&b, "tokenizer.ggml.tokens", 8, n);
    put_strings(&b, (const char *const[]){"<unk>", "<s>", "</s>", "<pad>"}, 4);
    for (int i = 0; i < 256; i++) put_byte_token(&b, model, i);
    put_strings(&b, list, n_words);
    put_strings(&b, user_defined, SPN_COUNT(user_defined));
    put_array(&b, "tokenizer.ggml.token_type", 5, n);
    for (size_t i = 0; i < n; i++)
        put_u32(&b, i == 0                     ? 2
                    : i < 4                    ? 3
                    : i < 260 && model != GPT2 ? 6
                    : i < 260 + n_words        ? 1
                                               : 4);
    put_array(&b, "tokenizer.ggml.scores", 6, n);
    for (size_t i = 0; i < n; i++) put_f32(&b, -(float)i);
    put_array(&b, "tokenizer.ggml.merges", 8, SPN_COUNT(merges));
    put_strings(&b, merges, SPN_COUNT(merges));
    put_pair_u32(&b, "tokenizer.ggml.unknown_token_id", 0);
    return b;
}

static bool has_mark(const uint8_t *text, size_t n) {
    for (size_t i = 0; i + 3 <= n; i++)
        if (memcmp(text + i, MARK, 3) == 0) return true;
    return false;
}

static void use(const spn_tokenizer *tok, const uint8_t *text, size_t n, unsigned flags,
                bool lossless) {
    int32_t *ids;
    size_t n_ids;
    spn_error err = {0};
    spn_status status = spn_tokenize(tok, (const char *)text, n, flags, &ids, &n_ids, &err);
    if (status == SPN_STATUS_TOKENIZER) return;
    if (status != SPN_STATUS_OK) abort();
    spn_buf back = SPN_BUF(0);
    if (spn_detokenize(tok, ids, n_ids, true, &back, &err) != SPN_STATUS_OK) abort();
    if (lossless && (back.len != n || (n > 0 && memcmp(back.data, text, n) != 0))) abort();
    spn_free(ids);
    spn_buf_free(&back);
}

static void as_text(int model, const uint8_t *data, size_t size) {
    static spn_tokenizer *opened[N_MODELS];
    if (opened[model] == NULL) {
        bytes b = build(model);
        spn_gguf *gguf;
        spn_error err;
        if (spn_gguf_open_bytes(&gguf, b.data, b.n, "built", &err)) abort();
        if (spn_tokenizer_open(&opened[model], gguf, &err)) abort();
        spn_gguf_close(gguf);
        bytes_free(&b);
    }
    use(opened[model], data, size, 0, model < BERT && !has_mark(data, size));
    use(opened[model], data, size, SPN_TOKENIZE_ADD_SPECIAL | SPN_TOKENIZE_PARSE_SPECIAL, false);
    if (size > 0 && spn_utf8_whole((const char *)data, size) + 3 < size) abort();
}

static void as_file(const uint8_t *data, size_t size) {
    static const char text[] =
        "The text, <s>12345 \xE4\xBD\xA0\xE5\xA5\xBD don't\n\n  \xC3\xA9\xFF";
    hostile_alloc heap = {0};
    spn_gguf *gguf = NULL;
    spn_tokenizer *tok = NULL;
    spn_error err = {0};
    hostile_install(&heap);
    if (spn_gguf_open_bytes(&gguf, data, size, "fuzz", &err) == SPN_STATUS_OK) {
        spn_status status = spn_tokenizer_open(&tok, gguf, &err);
        if (status != SPN_STATUS_OK && (err.text[0] == '\0' || tok != NULL)) abort();
        if (status == SPN_STATUS_NO_MEMORY) abort();
        if (heap.n_most_bytes > ((size_t)1 << 20) + 256 * size) abort();
    }
    spn_gguf_close(gguf);
    if (tok != NULL) {
        use(tok, (const uint8_t *)text, sizeof text, SPN_TOKENIZE_PARSE_SPECIAL, false);
        use(tok, data, size < 4096 ? size : 4096, 0, false);
    }
    spn_tokenizer_close(tok);
    if (heap.n_blocks != 0) abort();
    spn_set_allocator(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    if (data[0] < N_MODELS)
        as_text(data[0], data + 1, size - 1);
    else
        as_file(data + 1, size - 1);
    return 0;
}
