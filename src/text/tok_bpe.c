/* tok_bpe.c - byte-level BPE ("gpt2"): the text is cut into words by the model's patterns, and in
 * each word the merges of `tokenizer.ggml.merges` are made in their order.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Sennrich et al. 2016, arXiv:1508.07909; Radford et al. 2019 for bytes as characters. The stored
 * texts write each byte as a printable character: itself where Latin-1 prints it, else U+0100 and
 * on. The "raw" variant (gemma4) stores UTF-8 with U+2581 for blanks and byte tokens "<0x..>".
 */
#include <string.h>

#include "text/tok_internal.h"

/* ---- bytes as characters ---- */

static bool prints(uint32_t code) {
    return (code >= 0x21 && code <= 0x7E) || (code >= 0xA1 && code <= 0xAC) ||
           (code >= 0xAE && code <= 0xFF);
}

uint32_t spn_tok_code_of_byte(unsigned char byte) {
    if (prints(byte)) return byte;
    /* The others in order: 00-20, 7F-A0, AD. */
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xAD ? 0x143 : 0x100u + 0x21 + (byte - 0x7Fu);
}

int spn_tok_byte_of(uint32_t code) {
    if (code <= 0xFF) return prints(code) ? (int)code : -1;
    if (code <= 0x120) return (int)code - 0x100;
    if (code <= 0x142) return (int)code - 0x121 + 0x7F;
    return code == 0x143 ? 0xAD : -1;
}

/* ---- the table of merges ---- */

static size_t slot_of(uint64_t key, size_t n_slots) {
    uint64_t hash = (key ^ key >> 29) * UINT64_C(0xBF58476D1CE4E5B9);
    return (size_t)(hash ^ hash >> 32) & (n_slots - 1);
}

static const spn_tok_pair *find_pair(const spn_tok_bpe *bpe, uint32_t left, uint32_t right) {
    uint64_t key = (uint64_t)left << 32 | right;
    size_t i = slot_of(key, bpe->n_slots);
    while (bpe->pairs[i].rank != SPN_TOK_NO_RANK && bpe->pairs[i].key != key)
        i = (i + 1) & (bpe->n_slots - 1);
    return &bpe->pairs[i];
}

static spn_status alloc_pairs(spn_tok_bpe *bpe, uint64_t n_merges, spn_error *err) {
    if (n_merges >= INT32_MAX) return SPN_FAIL(err, FORMAT, "tokenizer.ggml.merges is too long");
    bpe->n_slots = 256;
    while (bpe->n_slots < n_merges * 2) bpe->n_slots *= 2;
    bpe->pairs = spn_alloc_array(bpe->n_slots, sizeof *bpe->pairs);
    if (bpe->pairs == NULL) return SPN_NO_MEMORY(err, "the merges");
    for (size_t i = 0; i < bpe->n_slots; i++) bpe->pairs[i] = (spn_tok_pair){0, SPN_TOK_NO_RANK, 0};
    return SPN_STATUS_OK;
}

/* "left right": the blank that parts them is the first that does not stand at the very start. */
static spn_status add_merge(spn_tokenizer *tok, spn_gguf_str merge, uint32_t rank, spn_buf *joined,
                            spn_error *err) {
    const char *blank = merge.len > 1 ? memchr(merge.data + 1, ' ', merge.len - 1) : NULL;
    if (blank == NULL || blank + 1 == merge.data + merge.len)
        return SPN_FAIL(err, FORMAT, "tokenizer.ggml.merges: item %u is no pair", rank);
    size_t left_len = (size_t)(blank - merge.data), right_len = merge.len - left_len - 1;
    uint32_t left, right, merged;
    spn_buf_clear(joined);
    spn_buf_append(joined, merge.data, left_len);
    spn_buf_append(joined, blank + 1, right_len);
    if (joined->failed) return SPN_NO_MEMORY(err, "the merges");
    SPN_TRY(spn_tok_table_intern(&tok->table, merge.data, left_len, &left, err));
    SPN_TRY(spn_tok_table_intern(&tok->table, blank + 1, right_len, &right, err));
    SPN_TRY(spn_tok_table_intern(&tok->table, joined->data, joined->len, &merged, err));
    size_t i = (size_t)(find_pair(&tok->bpe, left, right) - tok->bpe.pairs);
    if (tok->bpe.pairs[i].rank == SPN_TOK_NO_RANK)
        tok->bpe.pairs[i] = (spn_tok_pair){(uint64_t)left << 32 | right, rank, merged};
    return SPN_STATUS_OK;
}

static spn_status read_merges(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    spn_gguf_str_iter iter;
    SPN_TRY(spn_gguf_str_array(gguf, "tokenizer.ggml.merges", &iter, err));
    if (iter.n_left == 0 && spn_gguf_find(gguf, "tokenizer.ggml.merges") == NULL)
        return SPN_FAIL(err, FORMAT, "tokenizer.ggml.merges is missing");
    SPN_TRY(alloc_pairs(&tok->bpe, iter.n_left, err));
    spn_buf joined = SPN_BUF(0);
    spn_status status = SPN_STATUS_OK;
    spn_gguf_str merge;
    for (uint32_t rank = 0; status == SPN_STATUS_OK && spn_gguf_str_next(&iter, &merge); rank++)
        status = add_merge(tok, merge, rank, &joined, err);
    spn_buf_free(&joined);
    return status;
}

static void map_bytes(spn_tokenizer *tok) {
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[4];
        size_t len = spn_tok_utf8_encode(spn_tok_code_of_byte((unsigned char)byte), text);
        uint32_t piece = spn_tok_table_find(&tok->table, text, len);
        /* A user-defined token stands for its text, not for the byte that this text would be. */
        if (piece < tok->n_vocab && tok->kinds[piece] != SPN_TOKEN_KIND_NORMAL &&
            tok->kinds[piece] != SPN_TOKEN_KIND_UNUSED)
            piece = SPN_TOK_NO_PIECE;
        tok->bpe.byte_pieces[byte] = piece;
        if (!tok->bpe.raw)
            tok->byte_tokens[byte] = piece < tok->n_vocab ? (int32_t)piece : SPN_TOKEN_NONE;
    }
}

spn_status spn_tok_bpe_open(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    tok->bpe.raw = (spn_tok_pre_flags(tok->bpe.pre) & SPN_TOK_PRE_RAW) != 0;
    tok->escape_blanks = tok->bpe.raw;
    SPN_TRY(read_merges(tok, gguf, err));
    map_bytes(tok);
    return spn_tok_spm_open(tok, err); /* where marks may be parted from what precedes them */
}

/* ---- words ---- */

static void pair(const spn_tokenizer *tok, const char *text, spn_tok_sym *left,
                 const spn_tok_sym *right) {
    (void)text;
    left->rank = SPN_TOK_NO_RANK;
    if (left->piece == SPN_TOK_NO_PIECE || right->piece == SPN_TOK_NO_PIECE) return;
    const spn_tok_pair *found = find_pair(&tok->bpe, left->piece, right->piece);
    left->rank = found->rank;
    left->merged = found->merged;
}

static spn_status cut(spn_tok_run *run, const char *text, size_t len, size_t *n, spn_error *err) {
    const spn_tokenizer *tok = run->tok;
    *n = 0;
    for (size_t at = 0; at < len;) {
        if (!spn_tok_grow((void **)&run->syms, &run->cap_syms, *n + 1, sizeof *run->syms))
            return SPN_NO_MEMORY(err, "a word's characters");
        size_t width = tok->bpe.raw ? spn_tok_char(text + at, len - at) : 1;
        uint32_t piece = tok->bpe.raw ? spn_tok_table_find(&tok->table, text + at, width)
                                      : tok->bpe.byte_pieces[(unsigned char)text[at]];
        run->syms[(*n)++] = (spn_tok_sym){
            .at = (uint32_t)at, .len = (uint32_t)width, .piece = piece, .rank = SPN_TOK_NO_RANK};
        at += width;
    }
    return SPN_STATUS_OK;
}

static spn_status emit_sym(spn_tok_run *run, const char *text, const spn_tok_sym *sym,
                           spn_error *err) {
    if (sym->piece < run->tok->n_vocab) return spn_tok_emit(run, (int32_t)sym->piece, err);
    for (uint32_t i = 0; i < sym->len; i++)
        SPN_TRY(spn_tok_emit_byte(run, (unsigned char)text[sym->at + i], err));
    return SPN_STATUS_OK;
}

static spn_status merge_word(spn_tok_run *run, const char *text, size_t len, spn_error *err) {
    size_t n;
    SPN_TRY(cut(run, text, len, &n, err));
    SPN_TRY(spn_tok_merge(run, text, n, pair, &n, err));
    for (size_t i = 0; i < n; i++) SPN_TRY(emit_sym(run, text, &run->syms[i], err));
    return SPN_STATUS_OK;
}

/* The token whose bytes are the whole word; SPN_TOKEN_NONE when there is none. */
static spn_status whole_word(spn_tok_run *run, const char *text, size_t len, int32_t *id,
                             spn_error *err) {
    const spn_tokenizer *tok = run->tok;
    *id = SPN_TOKEN_NONE;
    if (len > tok->table.max_len) return SPN_STATUS_OK;
    spn_buf_clear(&run->scratch);
    for (size_t i = 0; i < len && !tok->bpe.raw; i++) {
        char code[4];
        size_t n = spn_tok_utf8_encode(spn_tok_code_of_byte((unsigned char)text[i]), code);
        spn_buf_append(&run->scratch, code, n);
    }
    if (tok->bpe.raw) spn_buf_append(&run->scratch, text, len);
    if (run->scratch.failed) return SPN_NO_MEMORY(err, "a word");
    uint32_t piece = spn_tok_table_find(&tok->table, run->scratch.data, run->scratch.len);
    if (piece < tok->n_vocab && spn_tok_is_text(tok, piece)) *id = (int32_t)piece;
    return SPN_STATUS_OK;
}

static bool only_line_feeds(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (text[i] != '\n') return false;
    return true;
}

static spn_status new_word(spn_tok_run *run, const char *text, size_t len, spn_error *err) {
    unsigned flags = spn_tok_pre_flags(run->tok->bpe.pre);
    int32_t id = SPN_TOKEN_NONE;
    if ((flags & SPN_TOK_PRE_IGNORE_MERGES) != 0 ||
        ((flags & SPN_TOK_PRE_LINES) != 0 && only_line_feeds(text, len)))
        SPN_TRY(whole_word(run, text, len, &id, err));
    return id != SPN_TOKEN_NONE ? spn_tok_emit(run, id, err) : merge_word(run, text, len, err);
}

static spn_status word(spn_tok_run *run, const char *base, size_t at, size_t len, spn_error *err) {
    spn_tok_cached *slot;
    bool hit;
    SPN_TRY(spn_tok_cache_look(run, base, at, len, &slot, &hit, err));
    if (hit) return SPN_STATUS_OK;
    size_t first = run->n_ids;
    SPN_TRY(new_word(run, base + at, len, err));
    spn_tok_cache_note(run, slot, at, len, first);
    return SPN_STATUS_OK;
}

static spn_status line(spn_tok_run *run, const char *base, size_t at, size_t len, spn_error *err) {
    return spn_tok_split_marks(run, base, at, len, word, err);
}

spn_status spn_tok_bpe_text(spn_tok_run *run, const char *base, size_t at, size_t len,
                            spn_error *err) {
    const spn_tokenizer *tok = run->tok;
    if (!tok->bpe.raw) return spn_tok_pre_split(run, tok->bpe.pre, base, at, len, word, err);
    size_t start = run->text.len;
    SPN_TRY(spn_tok_escape(run, base + at, len, err));
    return spn_tok_pre_split(run, tok->bpe.pre, run->text.data, start, run->text.len - start, line,
                             err);
}
