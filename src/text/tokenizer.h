/* tokenizer.h - text to token ids and back, as the model's own GGUF metadata says.
 * SPDX-License-Identifier: Apache-2.0
 *
 * `tokenizer.ggml.model` chooses the algorithm: "llama" is SentencePiece BPE with byte fallback,
 * "gpt2" (and "gemma4") BPE whose text is first cut by the patterns that `tokenizer.ggml.pre`
 * names, "bert" WordPiece, "t5" Unigram. Special tokens are cut out of the text before the
 * algorithm sees it, the longest first.
 *
 * Tokens are those of the model's own tokenizer, and of llama.cpp where that agrees with it. It
 * does not where it simplifies: letters with case and marks in the patterns of tekken, gpt-4o,
 * kimi-k2 and their kin, wide blanks in DeepSeek's, decomposed Hangul, spacing marks and control
 * characters in WordPiece, byte fallback in Unigram, `remove_extra_whitespaces` in SentencePiece,
 * the "</s>" of HTML in Qwen2.5 and Gemma, which it takes for the end of a text. And bytes that are
 * not UTF-8 stay what they are: llama.cpp's byte-level BPE makes U+FFFD of them, its
 * SentencePiece may join them with a blank's mark. A byte that the vocabulary has no token for
 * (Falcon's lacks some) and no unknown token either is left out, with a warning to the log, as in
 * these models' own tokenizers.
 *
 * A tokenizer is immutable after open: share it freely. It borrows nothing from the GGUF.
 */
#ifndef SPN_TOKENIZER_H
#define SPN_TOKENIZER_H

#include "base/base.h"
#include "gguf/gguf.h"

typedef struct spn_tokenizer spn_tokenizer;

#define SPN_TOKEN_NONE (-1)

/* What `tokenizer.ggml.token_type` says of a token. */
typedef enum spn_token_kind {
    SPN_TOKEN_KIND_UNDEFINED,
    SPN_TOKEN_KIND_NORMAL,
    SPN_TOKEN_KIND_UNKNOWN,
    SPN_TOKEN_KIND_CONTROL,
    SPN_TOKEN_KIND_USER_DEFINED,
    SPN_TOKEN_KIND_UNUSED,
    SPN_TOKEN_KIND_BYTE,
} spn_token_kind;

typedef struct spn_token_specials {
    int32_t bos, eos, eot, unk, sep, pad, cls, mask; /* SPN_TOKEN_NONE where absent */
    bool add_bos, add_eos;                           /* by metadata, or the model kind's default */
    bool add_space_prefix;
} spn_token_specials;

enum {
    SPN_TOKENIZE_ADD_SPECIAL = 1u,   /* put BOS before and EOS after where the model wants it */
    SPN_TOKENIZE_PARSE_SPECIAL = 2u, /* control tokens' texts in the input become these tokens */
};

/* Errors: FORMAT (metadata missing or contradictory, naming the key), TOKENIZER (a kind or pattern
 * that is not supported, naming it), NO_MEMORY. */
spn_status spn_tokenizer_open(spn_tokenizer **out, const spn_gguf *gguf, spn_error *err);
void spn_tokenizer_close(spn_tokenizer *tokenizer);

uint32_t spn_tokenizer_n_vocab(const spn_tokenizer *tokenizer);
const spn_token_specials *spn_tokenizer_specials(const spn_tokenizer *tokenizer);
spn_token_kind spn_tokenizer_kind(const spn_tokenizer *tokenizer, int32_t token);
/* Whether generation ends with this token (EOS, EOT, end-of-message and the like). */
bool spn_tokenizer_is_end(const spn_tokenizer *tokenizer, int32_t token);
/* The token whose stored text is exactly that; SPN_TOKEN_NONE when there is none. */
int32_t spn_tokenizer_find(const spn_tokenizer *tokenizer, const char *text, size_t n_bytes);

/* Any bytes, valid UTF-8 or not. *tokens is the caller's, freed with spn_free (also when
 * *n_tokens is 0). Errors: TOKENIZER, NO_MEMORY. */
spn_status spn_tokenize(const spn_tokenizer *tokenizer, const char *text, size_t n_bytes,
                        unsigned flags, int32_t **tokens, size_t *n_tokens, spn_error *err);

/* The bytes that one token stands for in the middle of a text (a SentencePiece blank mark as a
 * blank, a byte token as its byte). Control tokens give nothing unless `special`. Appends to
 * `out`; FORMAT for an id outside the vocabulary. */
spn_status spn_token_bytes(const spn_tokenizer *tokenizer, int32_t token, bool special,
                           spn_buf *out, spn_error *err);

/* The bytes of a whole sequence: as above, but for SentencePiece the blank that tokenizing put
 * before the text, and behind each special token, is taken away again. detokenize(tokenize(x)) = x
 * for any bytes x that a "llama" or "gpt2" vocabulary can represent; a U+2581 in x is a blank to
 * "llama". On failure what `out` held stays. */
spn_status spn_detokenize(const spn_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens,
                          bool special, spn_buf *out, spn_error *err);

/* How many of the first n_bytes end on a whole UTF-8 character; bytes that can never become valid
 * count as whole. A stream emits that many and keeps the rest for the next token. */
size_t spn_utf8_whole(const char *bytes, size_t n_bytes);

#endif
