/* public_tokenizer.c - the public API's tokenizer functions (see engine.h).
 * SPDX-License-Identifier: Apache-2.0 */
#include "spn/engine.h"
#include "text/tokenizer.h"

spn_status spn_tokenizer_load(spn_tokenizer **out, const char *path, spn_error *err) {
    if (out == NULL || path == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "spn_tokenizer_load needs a path");
    spn_gguf *gguf;
    SPN_TRY(spn_gguf_open(&gguf, path, err));
    spn_status status = spn_tokenizer_open(out, gguf, err);
    spn_gguf_close(gguf);
    return status;
}

void spn_tokenizer_free(spn_tokenizer *tokenizer) { spn_tokenizer_close(tokenizer); }

spn_status spn_tokenizer_encode(const spn_tokenizer *tokenizer, const char *text, size_t n_bytes,
                                const spn_encode_options *options, int32_t **tokens,
                                size_t *n_tokens, spn_error *err) {
    if (tokenizer == NULL || (text == NULL && n_bytes > 0) || tokens == NULL || n_tokens == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "spn_tokenizer_encode needs a tokenizer and a text");
    unsigned flags = 0;
    if (options != NULL && options->add_special) flags |= SPN_TOKENIZE_ADD_SPECIAL;
    if (options != NULL && options->parse_special) flags |= SPN_TOKENIZE_PARSE_SPECIAL;
    return spn_tokenize(tokenizer, text != NULL ? text : "", n_bytes, flags, tokens, n_tokens, err);
}

spn_status spn_tokenizer_decode(const spn_tokenizer *tokenizer, const int32_t *tokens,
                                size_t n_tokens, bool special, char **text, size_t *n_bytes,
                                spn_error *err) {
    if (tokenizer == NULL || (tokens == NULL && n_tokens > 0) || text == NULL || n_bytes == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "spn_tokenizer_decode needs a tokenizer and tokens");
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= spn_tokenizer_n_vocab(tokenizer))
            return SPN_FAIL(err, INVALID_ARGUMENT, "token %d is not in the vocabulary of %u",
                            tokens[i], spn_tokenizer_n_vocab(tokenizer));
    spn_buf out = SPN_BUF(0);
    spn_status status = spn_detokenize(tokenizer, tokens, n_tokens, special, &out, err);
    size_t n = 0;
    char *whole = status == SPN_STATUS_OK ? spn_buf_take(&out, &n) : NULL;
    if (status == SPN_STATUS_OK && whole == NULL) status = SPN_NO_MEMORY(err, "the text");
    spn_buf_free(&out);
    if (status != SPN_STATUS_OK) return status;
    *text = whole;
    *n_bytes = n;
    return SPN_STATUS_OK;
}

uint32_t spn_tokenizer_vocab_size(const spn_tokenizer *tokenizer) {
    return tokenizer != NULL ? spn_tokenizer_n_vocab(tokenizer) : 0;
}

bool spn_tokenizer_ends_text(const spn_tokenizer *tokenizer, int32_t token) {
    return tokenizer != NULL && spn_tokenizer_is_end(tokenizer, token);
}
