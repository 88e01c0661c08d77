/* tok_wpm.c - WordPiece ("bert"): words at blanks and punctuation, lower-cased and without accents
 * where the model is, each as its longest pieces from the left.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Devlin et al. 2018, arXiv:1810.04805. Stored texts carry U+2581 where a piece starts a word (the
 * original writes "##" where it does not). A word that does not divide is one unknown token.
 */
#include <string.h>
#include <utf8proc.h>

#include "text/tok_internal.h"

/* Not U+000B, U+000C and U+0085: the original drops them as control characters. */
static bool is_space(uint32_t code) {
    return code == '\t' || code == '\n' || code == '\r' || code == ' ' || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

/* Each of these characters is a word. The fifth range starts where the original's does. */
static bool is_ideograph(uint32_t code) {
    return (code >= 0x4E00 && code <= 0x9FFF) || (code >= 0x3400 && code <= 0x4DBF) ||
           (code >= 0x20000 && code <= 0x2A6DF) || (code >= 0x2A700 && code <= 0x2B81F) ||
           (code >= 0x2B920 && code <= 0x2CEAF) || (code >= 0xF900 && code <= 0xFAFF) ||
           (code >= 0x2F800 && code <= 0x2FA1F);
}

static bool is_word_alone(uint32_t code, utf8proc_category_t category) {
    bool punctuation = category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
    bool symbol = category >= UTF8PROC_CATEGORY_SM && category <= UTF8PROC_CATEGORY_SO;
    return punctuation || (code < 0x7F && symbol) || is_ideograph(code);
}

/* Ends the word in run->text from `start` on, if there is one. */
static spn_status finish(spn_tok_run *run, size_t *start, spn_error *err) {
    const spn_tokenizer *tok = run->tok;
    size_t len = run->text.len - *start, at = *start;
    if (len <= SPN_TOK_MARK_LEN) return SPN_STATUS_OK;
    spn_tok_cached *slot;
    bool hit;
    SPN_TRY(spn_tok_cache_look(run, run->text.data, at, len, &slot, &hit, err));
    size_t first = run->n_ids, end = at + len;
    while (!hit && at < end) {
        int32_t id;
        size_t n = spn_tok_trie_longest(&tok->ugm.pieces, run->text.data + at, end - at, &id);
        if (n == 0) { /* does not divide */
            run->n_ids = first;
            SPN_TRY(spn_tok_emit(run, tok->specials.unk, err));
            break;
        }
        SPN_TRY(spn_tok_emit(run, id, err));
        at += n;
    }
    if (!hit) spn_tok_cache_note(run, slot, *start, len, first);
    *start = run->text.len;
    return SPN_STATUS_OK;
}

static spn_status add(spn_tok_run *run, size_t *start, uint32_t code, spn_error *err) {
    const spn_tokenizer *tok = run->tok;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    if (is_space(code)) return finish(run, start, err);
    if (code == 0 || code == 0xFFFD || (category >= UTF8PROC_CATEGORY_CC)) return SPN_STATUS_OK;
    if (tok->strip_accents && category == UTF8PROC_CATEGORY_MN) return SPN_STATUS_OK;
    if (tok->lowercase) code = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    bool alone = is_word_alone(code, category);
    if (alone) SPN_TRY(finish(run, start, err));
    char text[4];
    size_t n = spn_tok_utf8_encode(code, text);
    if (run->text.len == *start) spn_buf_append(&run->text, SPN_TOK_MARK, SPN_TOK_MARK_LEN);
    spn_buf_append(&run->text, text, n);
    if (run->text.failed) return SPN_NO_MEMORY(err, "a word");
    return alone ? finish(run, start, err) : SPN_STATUS_OK;
}

/* Canonical decomposition of one character (llama.cpp keeps the first part alone, which loses a
 * Hangul syllable's vowel); the longest has 4 code points, and the accents that it parts off are
 * dropped, so their order does not matter. */
static spn_status add_decomposed(spn_tok_run *run, size_t *start, uint32_t code, spn_error *err) {
    utf8proc_int32_t parts[8];
    int last = 0;
    utf8proc_ssize_t n = 0;
    if (run->tok->strip_accents && code >= 0x80)
        n = utf8proc_decompose_char((utf8proc_int32_t)code, parts, SPN_COUNT(parts),
                                    UTF8PROC_DECOMPOSE, &last);
    if (n <= 0 || n > (utf8proc_ssize_t)SPN_COUNT(parts)) return add(run, start, code, err);
    for (utf8proc_ssize_t i = 0; i < n; i++) SPN_TRY(add(run, start, (uint32_t)parts[i], err));
    return SPN_STATUS_OK;
}

spn_status spn_tok_wpm_text(spn_tok_run *run, const char *text, size_t len, spn_error *err) {
    size_t start = run->text.len;
    for (size_t at = 0; at < len;) {
        uint32_t code;
        size_t width = spn_tok_utf8_decode(text + at, len - at, &code);
        if (width != 0) SPN_TRY(add_decomposed(run, &start, code, err));
        at += width != 0 ? width : 1;
    }
    return finish(run, &start, err);
}

spn_status spn_tok_text_trie(spn_tokenizer *tok, spn_error *err) {
    spn_tok_entry *entries = spn_alloc_array(tok->n_vocab, sizeof *entries);
    if (entries == NULL) return SPN_NO_MEMORY(err, "the vocabulary's trie");
    size_t n = 0;
    for (uint32_t id = 0; id < tok->n_vocab; id++) {
        size_t len;
        const char *text = spn_tok_table_text(&tok->table, id, &len);
        if (len > 0 && spn_tok_is_text(tok, id))
            entries[n++] = (spn_tok_entry){text, len, (int32_t)id};
    }
    spn_status status = spn_tok_trie_build(&tok->ugm.pieces, entries, n, err);
    spn_free(entries);
    return status;
}

spn_status spn_tok_wpm_open(spn_tokenizer *tok, spn_error *err) {
    if (tok->specials.unk == SPN_TOKEN_NONE)
        return SPN_FAIL(err, FORMAT,
                        "a WordPiece vocabulary needs tokenizer.ggml.unknown_token_id");
    return spn_tok_text_trie(tok, err);
}
