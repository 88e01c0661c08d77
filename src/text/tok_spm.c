/* tok_spm.c - SentencePiece BPE ("llama"): blanks become U+2581, characters are merged by score,
 * what is no token falls back to bytes. SPDX-License-Identifier: Apache-2.0
 *
 * Kudo and Richardson 2018, arXiv:1808.06226. The merge with the best score goes first, of equals
 * the leftmost. A merge gives a token, so none reaches over a place where no token could lie; the
 * text is cut there (spn_tok_split_marks) and each part is merged once and then remembered.
 */
#include <string.h>

#include "text/tok_internal.h"

/* A number that falls as the score rises: floats order like their bits, negative ones reversed. */
static uint32_t rank_of(float score) {
    uint32_t bits;
    score += 0.0f; /* no negative zero */
    memcpy(&bits, &score, sizeof bits);
    uint32_t rising = bits >> 31 ? ~bits : bits | UINT32_C(0x80000000);
    return rising == 0 ? SPN_TOK_NO_RANK - 1 : ~rising;
}

static void pair(const spn_tokenizer *tok, const char *text, spn_tok_sym *left,
                 const spn_tok_sym *right) {
    left->rank = SPN_TOK_NO_RANK;
    uint32_t id = spn_tok_table_find(&tok->table, text + left->at, (size_t)left->len + right->len);
    if (id == SPN_TOK_NO_PIECE || !spn_tok_is_text(tok, id)) return;
    left->rank = rank_of(tok->scores[id]);
    left->merged = id;
}

static spn_status emit_sym(spn_tok_run *run, const char *text, const spn_tok_sym *sym,
                           spn_error *err) {
    if (sym->piece != SPN_TOK_NO_PIECE) return spn_tok_emit(run, (int32_t)sym->piece, err);
    /* Without byte tokens the whole character is unknown, once. */
    if (run->tok->byte_tokens[(unsigned char)text[sym->at]] == SPN_TOKEN_NONE &&
        run->tok->specials.unk != SPN_TOKEN_NONE)
        return spn_tok_emit(run, run->tok->specials.unk, err);
    for (uint32_t i = 0; i < sym->len; i++)
        SPN_TRY(spn_tok_emit_byte(run, (unsigned char)text[sym->at + i], err));
    return SPN_STATUS_OK;
}

static spn_status cut(spn_tok_run *run, const char *text, size_t len, size_t *n, spn_error *err) {
    *n = 0;
    for (size_t at = 0; at < len;) {
        size_t width = spn_tok_char(text + at, len - at);
        if (!spn_tok_grow((void **)&run->syms, &run->cap_syms, *n + 1, sizeof *run->syms))
            return SPN_NO_MEMORY(err, "a word's characters");
        uint32_t piece = spn_tok_table_find(&run->tok->table, text + at, width);
        if (piece != SPN_TOK_NO_PIECE && !spn_tok_is_text(run->tok, piece))
            piece = SPN_TOK_NO_PIECE;
        run->syms[(*n)++] = (spn_tok_sym){
            .at = (uint32_t)at, .len = (uint32_t)width, .piece = piece, .rank = SPN_TOK_NO_RANK};
        at += width;
    }
    return SPN_STATUS_OK;
}

static spn_status word(spn_tok_run *run, const char *base, size_t at, size_t len, spn_error *err) {
    spn_tok_cached *slot;
    bool hit;
    SPN_TRY(spn_tok_cache_look(run, base, at, len, &slot, &hit, err));
    if (hit) return SPN_STATUS_OK;
    size_t first = run->n_ids, n;
    SPN_TRY(cut(run, base + at, len, &n, err));
    SPN_TRY(spn_tok_merge(run, base + at, n, pair, &n, err));
    for (size_t i = 0; i < n; i++) SPN_TRY(emit_sym(run, base + at, &run->syms[i], err));
    spn_tok_cache_note(run, slot, at, len, first);
    return SPN_STATUS_OK;
}

/* remove_extra_whitespaces: a run of blanks counts as one. */
static spn_status escape_merged(spn_tok_run *run, const char *text, size_t n, spn_error *err) {
    for (size_t at = 0, end; at < n; at = end) {
        end = at + 1;
        while (end < n && (text[end] == ' ') == (text[at] == ' ')) end++;
        SPN_TRY(spn_tok_escape(run, text + at, text[at] == ' ' ? 1 : end - at, err));
    }
    return SPN_STATUS_OK;
}

spn_status spn_tok_spm_text(spn_tok_run *run, const char *text, size_t len, bool first,
                            spn_error *err) {
    const spn_tokenizer *tok = run->tok;
    size_t start = run->text.len;
    while (tok->merge_blanks && len > 0 && text[len - 1] == ' ') len--;
    while (tok->merge_blanks && len > 0 && text[0] == ' ') text++, len--;
    if (len == 0) return SPN_STATUS_OK;
    if (tok->specials.add_space_prefix && first) SPN_TRY(spn_tok_escape(run, " ", 1, err));
    if (tok->merge_blanks)
        SPN_TRY(escape_merged(run, text, len, err));
    else
        SPN_TRY(spn_tok_escape(run, text, len, err));
    return spn_tok_split_marks(run, run->text.data, start, run->text.len - start, word, err);
}

/* Which bytes stand before a mark inside a piece. */
static void note_joins(spn_tokenizer *tok) {
    for (uint32_t id = 0; id < tok->table.n; id++) {
        size_t len;
        const char *text = spn_tok_table_text(&tok->table, id, &len);
        for (size_t i = 1; i + SPN_TOK_MARK_LEN <= len; i++)
            if (memcmp(text + i, SPN_TOK_MARK, SPN_TOK_MARK_LEN) == 0)
                tok->joins_mark[(unsigned char)text[i - 1]] = true;
    }
}

spn_status spn_tok_spm_open(spn_tokenizer *tok, spn_error *err) {
    (void)err;
    note_joins(tok);
    return SPN_STATUS_OK;
}
