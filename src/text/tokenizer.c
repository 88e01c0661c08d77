/* tokenizer.c - opening a tokenizer, text to tokens and back. SPDX-License-Identifier: Apache-2.0
 *
 * See tokenizer.h for the interface and tok_internal.h for the parts.
 */
#include <string.h>

#include "text/tok_internal.h"

/* ---- opening ---- */

static spn_status read_model(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    spn_gguf_str model = {0}, pre = {0};
    SPN_TRY(spn_gguf_get_str(gguf, "tokenizer.ggml.model", true, &model, err));
    SPN_TRY(spn_gguf_get_str(gguf, "tokenizer.ggml.pre", false, &pre, err));
    static const struct {
        const char *name;
        spn_tok_model model;
    } models[] = {{"llama", SPN_TOK_SPM},
                  {"gpt2", SPN_TOK_BPE},
                  {"gemma4", SPN_TOK_BPE},
                  {"bert", SPN_TOK_WPM},
                  {"t5", SPN_TOK_UGM}};
    size_t i = 0;
    while (i < SPN_COUNT(models) && (strlen(models[i].name) != model.len ||
                                     memcmp(models[i].name, model.data, model.len) != 0))
        i++;
    if (i == SPN_COUNT(models))
        return SPN_FAIL(err, TOKENIZER, "tokenizer.ggml.model \"%.*s\" is not supported",
                        (int)spn_min_size(model.len, 64), model.data);
    tok->model = models[i].model;
    if (strcmp(models[i].name, "gemma4") == 0) pre = (spn_gguf_str){"gemma4", 6};
    if (tok->model != SPN_TOK_BPE) return SPN_STATUS_OK;
    if (pre.len == 0)
        spn_log(SPN_LOG_LEVEL_WARNING, "tokenizer.ggml.pre is missing: words are cut by the "
                                       "default patterns, which may not be the model's");
    return spn_tok_pre_open(&tok->bpe.pre, pre.data, pre.len, err);
}

static spn_status read_tokens(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    spn_gguf_str_iter iter;
    spn_gguf_str text;
    SPN_TRY(spn_gguf_str_array(gguf, "tokenizer.ggml.tokens", &iter, err));
    if (iter.n_left == 0) return SPN_FAIL(err, FORMAT, "tokenizer.ggml.tokens is missing or empty");
    while (spn_gguf_str_next(&iter, &text))
        SPN_TRY(spn_tok_table_add(&tok->table, text.data, text.len, err));
    tok->n_vocab = tok->table.n;
    return SPN_STATUS_OK;
}

static spn_status read_scores(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    static const char *const key = "tokenizer.ggml.scores";
    bool needed = tok->model == SPN_TOK_SPM || tok->model == SPN_TOK_UGM;
    size_t n = tok->n_vocab;
    tok->scores = spn_alloc_zeroed(n, sizeof *tok->scores);
    if (tok->scores == NULL) return SPN_NO_MEMORY(err, key);
    if (!needed) return SPN_STATUS_OK;
    SPN_TRY(spn_gguf_get_f32_array(gguf, key, true, tok->scores, n, &n, err));
    if (n < tok->n_vocab)
        return SPN_FAIL(err, FORMAT, "%s has %zu items, but there are %u tokens", key, n,
                        tok->n_vocab);
    return SPN_STATUS_OK;
}

static spn_status read_kinds(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    static const char *const key = "tokenizer.ggml.token_type";
    size_t n = tok->n_vocab;
    tok->kinds = spn_alloc_zeroed(n, 1);
    tok->flags = spn_alloc_zeroed(n, 1);
    uint32_t *types = spn_alloc_array(n, sizeof *types);
    spn_status status = SPN_STATUS_OK;
    if (tok->kinds == NULL || tok->flags == NULL || types == NULL) {
        status = SPN_NO_MEMORY(err, key);
        goto done;
    }
    for (size_t i = 0; i < n; i++) types[i] = SPN_TOKEN_KIND_NORMAL;
    SPN_TRY_GOTO(spn_gguf_get_u32_array(gguf, key, false, types, n, &n, err));
    if (n < tok->n_vocab) {
        status = SPN_FAIL(err, FORMAT, "%s has %zu items, but there are %u tokens", key, n,
                          tok->n_vocab);
        goto done;
    }
    for (size_t i = 0; i < tok->n_vocab; i++)
        tok->kinds[i] =
            (uint8_t)(types[i] <= SPN_TOKEN_KIND_BYTE ? types[i] : SPN_TOKEN_KIND_UNDEFINED);
done:
    spn_free(types);
    return status;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte of a text "<0x0A>"; -1 for any other. */
static int byte_of_text(const char *text, size_t len) {
    if (len != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static void find_bytes(spn_tokenizer *tok) {
    for (size_t byte = 0; byte < 256; byte++) tok->byte_tokens[byte] = SPN_TOKEN_NONE;
    for (uint32_t id = 0; id < tok->n_vocab; id++) {
        size_t len;
        const char *text = spn_tok_table_text(&tok->table, id, &len);
        int byte = byte_of_text(text, len);
        if (byte >= 0 && tok->byte_tokens[byte] == SPN_TOKEN_NONE)
            tok->byte_tokens[byte] = (int32_t)id;
    }
}

static spn_status open_model(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    find_bytes(tok);
    SPN_TRY(spn_tok_specials_open(tok, gguf, err));
    tok->lowercase = tok->model == SPN_TOK_WPM;
    SPN_TRY(spn_gguf_get_bool(gguf, "tokenizer.ggml.normalizer.lowercase", false, &tok->lowercase,
                              err));
    tok->strip_accents = tok->lowercase;
    SPN_TRY(spn_gguf_get_bool(gguf, "tokenizer.ggml.normalizer.strip_accents", false,
                              &tok->strip_accents, err));
    switch (tok->model) {
    case SPN_TOK_SPM:
        return spn_tok_spm_open(tok, err);
    case SPN_TOK_BPE:
        return spn_tok_bpe_open(tok, gguf, err);
    case SPN_TOK_WPM:
        return spn_tok_wpm_open(tok, err);
    case SPN_TOK_UGM:
        return spn_tok_ugm_open(tok, gguf, err);
    }
    return SPN_STATUS_OK;
}

spn_status spn_tokenizer_open(spn_tokenizer **out, const spn_gguf *gguf, spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    spn_tokenizer *tok = spn_alloc_zeroed(1, sizeof *tok);
    if (tok == NULL) return SPN_NO_MEMORY(err, "the tokenizer");
    SPN_TRY_GOTO(read_model(tok, gguf, err));
    SPN_TRY_GOTO(read_tokens(tok, gguf, err));
    SPN_TRY_GOTO(read_scores(tok, gguf, err));
    SPN_TRY_GOTO(read_kinds(tok, gguf, err));
    SPN_TRY_GOTO(open_model(tok, gguf, err));
    *out = tok;
    tok = NULL;
done:
    spn_tokenizer_close(tok);
    return status;
}

void spn_tokenizer_close(spn_tokenizer *tokenizer) {
    if (tokenizer == NULL) return;
    spn_tok_table_free(&tokenizer->table);
    spn_free(tokenizer->scores);
    spn_free(tokenizer->kinds);
    spn_free(tokenizer->flags);
    spn_tok_trie_free(&tokenizer->always);
    spn_tok_trie_free(&tokenizer->parsed);
    spn_tok_pre_close(tokenizer->bpe.pre);
    spn_free(tokenizer->bpe.pairs);
    spn_tok_trie_free(&tokenizer->ugm.pieces);
    spn_tok_trie_free(&tokenizer->ugm.user_defined);
    spn_free(tokenizer->ugm.xcda);
    spn_free(tokenizer->ugm.replacements);
    spn_free(tokenizer);
}

/* ---- asking ---- */

uint32_t spn_tokenizer_n_vocab(const spn_tokenizer *tokenizer) { return tokenizer->n_vocab; }

const spn_token_specials *spn_tokenizer_specials(const spn_tokenizer *tokenizer) {
    return &tokenizer->specials;
}

spn_token_kind spn_tokenizer_kind(const spn_tokenizer *tokenizer, int32_t token) {
    return spn_tok_in_vocab(tokenizer, token) ? (spn_token_kind)tokenizer->kinds[token]
                                              : SPN_TOKEN_KIND_UNDEFINED;
}

bool spn_tokenizer_is_end(const spn_tokenizer *tokenizer, int32_t token) {
    return spn_tok_in_vocab(tokenizer, token) && (tokenizer->flags[token] & SPN_TOK_FLAG_END) != 0;
}

/* ---- text to tokens ---- */

/* A cache for a short text would cost more than it saves. */
static spn_status start_run(spn_tok_run *run, size_t n_bytes, spn_error *err) {
    run->text = SPN_BUF(SPN_TOK_MAX_REWRITTEN);
    run->scratch = SPN_BUF(SPN_TOK_MAX_REWRITTEN);
    if (n_bytes < 512) return SPN_STATUS_OK;
    run->n_cache = 64;
    while (run->n_cache < n_bytes / 16 && run->n_cache < 32768) run->n_cache *= 2;
    run->cache = spn_alloc_zeroed(run->n_cache, sizeof *run->cache);
    return run->cache != NULL ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "the word cache");
}

static void end_run(spn_tok_run *run) {
    spn_free(run->ids);
    spn_free(run->syms);
    spn_free(run->heap);
    spn_free(run->cover);
    spn_free(run->cache);
    spn_buf_free(&run->text);
    spn_buf_free(&run->scratch);
    spn_tok_pre_run_free(run);
}

/* *user tells whether the last part was a special token (or nothing came before). */
static spn_status part(spn_tok_run *run, const char *text, size_t at, size_t len, int32_t token,
                       void *user, spn_error *err) {
    bool *first = user, was_first = *first;
    *first = token != SPN_TOKEN_NONE;
    if (token != SPN_TOKEN_NONE) return spn_tok_emit(run, token, err);
    switch (run->tok->model) {
    case SPN_TOK_SPM:
        return spn_tok_spm_text(run, text + at, len, was_first, err);
    case SPN_TOK_BPE:
        return spn_tok_bpe_text(run, text, at, len, err);
    case SPN_TOK_WPM:
        return spn_tok_wpm_text(run, text + at, len, err);
    case SPN_TOK_UGM:
        return spn_tok_ugm_text(run, text + at, len, err);
    }
    return SPN_STATUS_OK;
}

spn_status spn_tokenize(const spn_tokenizer *tokenizer, const char *text, size_t n_bytes,
                        unsigned flags, int32_t **tokens, size_t *n_tokens, spn_error *err) {
    const spn_token_specials *specials = &tokenizer->specials;
    bool add = (flags & SPN_TOKENIZE_ADD_SPECIAL) != 0, first = true;
    if (n_bytes > SPN_TOK_MAX_TEXT)
        return SPN_FAIL(err, TOKENIZER, "the text has %zu bytes; the limit is %zu", n_bytes,
                        SPN_TOK_MAX_TEXT);
    spn_tok_run run = {.tok = tokenizer};
    spn_status status = SPN_STATUS_OK;
    SPN_TRY_GOTO(start_run(&run, n_bytes, err));
    if (add && specials->add_bos) SPN_TRY_GOTO(spn_tok_emit(&run, specials->bos, err));
    SPN_TRY_GOTO(spn_tok_partition(&run, text, n_bytes, (flags & SPN_TOKENIZE_PARSE_SPECIAL) != 0,
                                   part, &first, err));
    if (add && specials->add_eos) SPN_TRY_GOTO(spn_tok_emit(&run, specials->eos, err));
    if (run.ids == NULL && (run.ids = spn_alloc(1)) == NULL) {
        status = SPN_NO_MEMORY(err, "the tokens");
        goto done;
    }
    if (run.n_dropped > 0)
        spn_log(SPN_LOG_LEVEL_WARNING, "%zu bytes of the text have no token and were left out",
                run.n_dropped);
    *tokens = run.ids;
    *n_tokens = run.n_ids;
    run.ids = NULL;
done:
    end_run(&run);
    return status;
}

/* ---- tokens to text ---- */

static void unescape(spn_buf *out, const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        bool mark =
            len - i >= SPN_TOK_MARK_LEN && memcmp(text + i, SPN_TOK_MARK, SPN_TOK_MARK_LEN) == 0;
        spn_buf_append_char(out, mark ? ' ' : text[i]);
        i += mark ? SPN_TOK_MARK_LEN : 1;
    }
}

static void unmap_bytes(spn_buf *out, const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        uint32_t code;
        size_t width = spn_tok_utf8_decode(text + i, len - i, &code);
        int byte = width != 0 ? spn_tok_byte_of(code) : -1;
        if (width == 0) width = 1;
        if (byte >= 0)
            spn_buf_append_char(out, (char)byte);
        else
            spn_buf_append(out, text + i, width);
        i += width;
    }
}

static void append_token(const spn_tokenizer *tok, int32_t token, bool special, spn_buf *out) {
    size_t len;
    const char *text = spn_tok_table_text(&tok->table, (uint32_t)token, &len);
    switch ((spn_token_kind)tok->kinds[token]) {
    case SPN_TOKEN_KIND_CONTROL:
    case SPN_TOKEN_KIND_UNKNOWN:
        if (special) spn_buf_append(out, text, len);
        return;
    case SPN_TOKEN_KIND_USER_DEFINED:
        /* gemma4 has runs of blanks among these, written as marks. */
        if (tok->bpe.raw)
            unescape(out, text, len);
        else
            spn_buf_append(out, text, len);
        return;
    case SPN_TOKEN_KIND_BYTE:
        if (byte_of_text(text, len) >= 0) {
            spn_buf_append_char(out, (char)byte_of_text(text, len));
            return;
        }
        break;
    default:
        break;
    }
    if (tok->model == SPN_TOK_BPE && !tok->bpe.raw)
        unmap_bytes(out, text, len);
    else
        unescape(out, text, len);
}

spn_status spn_token_bytes(const spn_tokenizer *tokenizer, int32_t token, bool special,
                           spn_buf *out, spn_error *err) {
    if (!spn_tok_in_vocab(tokenizer, token))
        return SPN_FAIL(err, FORMAT, "token %d is not in the vocabulary of %u", token,
                        tokenizer->n_vocab);
    append_token(tokenizer, token, special, out);
    return out->failed ? SPN_NO_MEMORY(err, "a token's text") : SPN_STATUS_OK;
}

/* A blank is put before text at the start and behind each special token: see spn_tok_spm_text. */
spn_status spn_detokenize(const spn_tokenizer *tokenizer, const int32_t *tokens, size_t n_tokens,
                          bool special, spn_buf *out, spn_error *err) {
    bool prefixed = tokenizer->specials.add_space_prefix || tokenizer->model == SPN_TOK_WPM;
    bool first = true;
    size_t start = out->len;
    for (size_t i = 0; i < n_tokens; i++) {
        size_t at = out->len;
        spn_status status = spn_token_bytes(tokenizer, tokens[i], special, out, err);
        if (status != SPN_STATUS_OK) {
            if (out->data != NULL) out->data[start] = '\0';
            out->len = start;
            return status;
        }
        uint8_t kind = tokenizer->kinds[tokens[i]];
        bool cut = kind == SPN_TOKEN_KIND_CONTROL || kind == SPN_TOKEN_KIND_USER_DEFINED;
        if (first && prefixed && !cut && out->len > at && out->data[at] == ' ') {
            memmove(out->data + at, out->data + at + 1, out->len - at);
            out->len--;
        }
        first = cut;
    }
    return SPN_STATUS_OK;
}
