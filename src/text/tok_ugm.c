/* tok_ugm.c - Unigram ("t5"; also XLM-R): the normaliser that the model brings, then of all ways to
 * divide the text the one with the best sum of scores. SPDX-License-Identifier: Apache-2.0
 *
 * Kudo 2018, arXiv:1804.10959. The sum is found left to right (Viterbi): best[i] is the best way to
 * divide the first i bytes. A character that is no token costs unk_score; neighbouring ones become
 * one unknown token, or bytes where the vocabulary has byte tokens.
 *
 * The normaliser replaces the longest prefix that its table knows. The table is a double array: a
 * node is a number, bits 0-7 the byte that leads here, bit 8 whether a replacement ends here, bits
 * 10-30 the distance to its children (times 256 with bit 9), and the child by byte b stands at
 * (node ^ distance) ^ b. Kanda 2018; format: sentencepiece's builder, darts-clone.
 */
#include <float.h>
#include <string.h>

#include "text/tok_internal.h"

#define UNK_PENALTY 10.0

/* ---- opening ---- */

static spn_status read_map(spn_tok_ugm *ugm, const uint8_t *data, size_t n, spn_error *err) {
    static const char *const key = "tokenizer.ggml.precompiled_charsmap";
    uint32_t n_bytes = 0;
    if (n >= 4) n_bytes = data[0] | data[1] << 8 | data[2] << 16 | (uint32_t)data[3] << 24;
    if (n < 4 || n_bytes % 4 != 0 || n_bytes > n - 4 || data[n - 1] != 0)
        return SPN_FAIL(err, FORMAT, "%s is damaged", key);
    ugm->n_xcda = n_bytes / 4;
    ugm->n_replacements = n - 4 - n_bytes;
    ugm->xcda = spn_alloc_array(ugm->n_xcda, sizeof *ugm->xcda);
    ugm->replacements = spn_alloc(ugm->n_replacements);
    if (ugm->xcda == NULL || ugm->replacements == NULL) return SPN_NO_MEMORY(err, key);
    for (size_t i = 0; i < ugm->n_xcda; i++) {
        const uint8_t *at = data + 4 + 4 * i;
        ugm->xcda[i] = at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24;
    }
    if (ugm->n_replacements > 0) memcpy(ugm->replacements, data + 4 + n_bytes, ugm->n_replacements);
    return SPN_STATUS_OK;
}

static spn_status open_normalizer(spn_tok_ugm *ugm, const spn_gguf *gguf, spn_error *err) {
    const spn_gguf_pair *pair = spn_gguf_find(gguf, "tokenizer.ggml.precompiled_charsmap");
    if (pair == NULL) return SPN_STATUS_OK;
    if (pair->kind != SPN_GGUF_ARRAY ||
        (pair->item_kind != SPN_GGUF_I8 && pair->item_kind != SPN_GGUF_U8))
        return SPN_FAIL(err, FORMAT, "tokenizer.ggml.precompiled_charsmap is no array of bytes");
    /* An array's items stand at its end. */
    size_t n = (size_t)pair->n_items;
    if (n == 0) return SPN_STATUS_OK;
    return read_map(ugm, pair->data + (pair->n_bytes - n), n, err);
}

static spn_status open_user_defined(spn_tokenizer *tok, spn_error *err) {
    size_t n = 0;
    spn_tok_entry *entries = spn_alloc_array(tok->n_vocab, sizeof *entries);
    if (entries == NULL) return SPN_NO_MEMORY(err, "the user-defined tokens");
    for (uint32_t id = 0; id < tok->n_vocab; id++) {
        if (tok->kinds[id] != SPN_TOKEN_KIND_USER_DEFINED) continue;
        entries[n].text = spn_tok_table_text(&tok->table, id, &entries[n].len);
        entries[n++].id = (int32_t)id;
    }
    spn_status status = spn_tok_trie_build(&tok->ugm.user_defined, entries, n, err);
    spn_free(entries);
    return status;
}

spn_status spn_tok_ugm_open(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    double least = DBL_MAX;
    for (uint32_t id = 0; id < tok->n_vocab; id++)
        if (tok->kinds[id] == SPN_TOKEN_KIND_NORMAL && (double)tok->scores[id] < least)
            least = (double)tok->scores[id];
    tok->ugm.unk_score = (least < DBL_MAX ? least : 0) - UNK_PENALTY;
    if (tok->specials.unk == SPN_TOKEN_NONE)
        return SPN_FAIL(err, FORMAT, "a Unigram vocabulary needs tokenizer.ggml.unknown_token_id");
    SPN_TRY(open_normalizer(&tok->ugm, gguf, err));
    SPN_TRY(open_user_defined(tok, err));
    SPN_TRY(spn_tok_spm_open(tok, err)); /* where marks may be parted from what precedes them */
    return spn_tok_text_trie(tok, err);
}

/* ---- normalising ---- */

/* The longest prefix of text[0 .. n) that the table replaces: its length (0: none) and where its
 * replacement starts. A reference out of the table ends the search. */
static size_t mapped_prefix(const spn_tok_ugm *ugm, const char *text, size_t n, uint32_t *value) {
    size_t longest = 0;
    if (ugm->n_xcda == 0) return 0;
    uint32_t node = ugm->xcda[0], at = node >> 10 << ((node & 1u << 9) >> 6);
    for (size_t i = 0; i < n && text[i] != 0; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (at >= ugm->n_xcda) break;
        node = ugm->xcda[at];
        if ((node & (1u << 31 | 0xFF)) != byte) break;
        at ^= node >> 10 << ((node & 1u << 9) >> 6);
        if ((node >> 8 & 1) == 0) continue;
        if (at >= ugm->n_xcda) break;
        *value = ugm->xcda[at] & ~(1u << 31);
        longest = i + 1;
    }
    return longest;
}

/* What the text's next characters become: *out [*n_out]; returns how many bytes they are. */
static size_t normal_prefix(const spn_tok_ugm *ugm, const char *text, size_t n, const char **out,
                            size_t *n_out) {
    int32_t id;
    uint32_t value = 0, code;
    size_t len = spn_tok_trie_longest(&ugm->user_defined, text, n, &id);
    *out = text;
    *n_out = len;
    if (len > 0) return len;
    len = mapped_prefix(ugm, text, n, &value);
    if (len > 0 && value < ugm->n_replacements) {
        *out = ugm->replacements + value;
        *n_out = strlen(*out);
        return len;
    }
    len = spn_tok_utf8_decode(text, n, &code);
    *n_out = len;
    if (len > 0) return len;
    *out = "\xEF\xBF\xBD";
    *n_out = 3;
    return 1;
}

typedef struct normalizer {
    spn_tok_run *run;
    bool in_word, prefixed;
} normalizer;

static void put(normalizer *s, char c) {
    const spn_tokenizer *tok = s->run->tok;
    spn_buf *text = &s->run->text;
    if (c == ' ') {
        s->in_word = false;
        if (!tok->merge_blanks) spn_buf_append(text, SPN_TOK_MARK, SPN_TOK_MARK_LEN);
        return;
    }
    if (!s->in_word) {
        s->in_word = true;
        if ((tok->specials.add_space_prefix && !s->prefixed) || tok->merge_blanks) {
            spn_buf_append(text, SPN_TOK_MARK, SPN_TOK_MARK_LEN);
            s->prefixed = true;
        }
    }
    spn_buf_append_char(text, c);
}

static spn_status normalize(spn_tok_run *run, const char *text, size_t n, spn_error *err) {
    normalizer s = {.run = run};
    for (size_t at = 0; at < n;) {
        const char *out;
        size_t n_out;
        at += normal_prefix(&run->tok->ugm, text + at, n - at, &out, &n_out);
        for (size_t i = 0; i < n_out; i++) put(&s, out[i]);
    }
    return run->text.failed ? SPN_NO_MEMORY(err, "the normalised text") : SPN_STATUS_OK;
}

/* ---- the best division ---- */

/* run->syms serve as best[]: `at` is where the last token of the best way to here starts, `piece`
 * that token; the sum of scores is kept beside them in run->heap, as the bits of a double. */
static double sum_at(const spn_tok_run *run, size_t i) {
    double sum;
    memcpy(&sum, &run->heap[i], sizeof sum);
    return sum;
}

static void offer(spn_tok_run *run, size_t from, size_t to, uint32_t id, double sum) {
    if (!(sum > sum_at(run, to))) return;
    run->syms[to].at = (uint32_t)from;
    run->syms[to].piece = id;
    memcpy(&run->heap[to], &sum, sizeof sum);
}

static void extend(spn_tok_run *run, const char *text, size_t at, size_t len) {
    const spn_tokenizer *tok = run->tok;
    const spn_tok_trie *trie = &tok->ugm.pieces;
    size_t width = spn_tok_utf8_lead(text + at, len - at);
    double sum = sum_at(run, at);
    bool whole = false;
    uint32_t node = 0;
    for (size_t i = at; i < len; i++) {
        node = spn_tok_trie_step(trie, node, (unsigned char)text[i]);
        if (node == 0) break;
        int32_t id = trie->nodes[node].value;
        if (id == SPN_TOKEN_NONE) continue;
        whole |= i + 1 - at == width;
        bool user_defined = tok->kinds[id] == SPN_TOKEN_KIND_USER_DEFINED;
        offer(run, at, i + 1, (uint32_t)id, sum + (user_defined ? 0.0 : (double)tok->scores[id]));
    }
    if (!whole) offer(run, at, at + width, SPN_TOK_NO_PIECE, sum + tok->ugm.unk_score);
}

static spn_status emit_unknown(spn_tok_run *run, const char *text, size_t len, size_t first,
                               spn_error *err) {
    const spn_tokenizer *tok = run->tok;
    if (tok->byte_tokens[(unsigned char)text[0]] != SPN_TOKEN_NONE) {
        for (size_t i = 0; i < len; i++)
            SPN_TRY(spn_tok_emit_byte(run, (unsigned char)text[i], err));
        return SPN_STATUS_OK;
    }
    if (run->n_ids > first && run->ids[run->n_ids - 1] == tok->specials.unk) return SPN_STATUS_OK;
    return spn_tok_emit(run, tok->specials.unk, err);
}

/* Turns the chain of best ways round, so that syms[i].next leads from the start to the end. */
static spn_status emit_best(spn_tok_run *run, const char *text, size_t len, size_t first,
                            spn_error *err) {
    spn_tok_sym *syms = run->syms;
    for (size_t at = len; at > 0; at = syms[at].at) syms[syms[at].at].next = (uint32_t)at;
    for (size_t at = 0; at < len; at = syms[at].next) {
        const spn_tok_sym *sym = &syms[syms[at].next];
        if (sym->piece != SPN_TOK_NO_PIECE)
            SPN_TRY(spn_tok_emit(run, (int32_t)sym->piece, err));
        else
            SPN_TRY(emit_unknown(run, text + at, syms[at].next - at, first, err));
    }
    return SPN_STATUS_OK;
}

static spn_status word(spn_tok_run *run, const char *base, size_t at, size_t len, spn_error *err) {
    spn_tok_cached *slot;
    bool hit;
    SPN_TRY(spn_tok_cache_look(run, base, at, len, &slot, &hit, err));
    if (hit) return SPN_STATUS_OK;
    if (!spn_tok_grow((void **)&run->syms, &run->cap_syms, len + 1, sizeof *run->syms) ||
        !spn_tok_grow((void **)&run->heap, &run->cap_heap, len + 1, sizeof *run->heap))
        return SPN_NO_MEMORY(err, "dividing the text");
    const double worst = -DBL_MAX, zero = 0;
    for (size_t i = 0; i <= len; i++) memcpy(&run->heap[i], i == 0 ? &zero : &worst, sizeof zero);
    for (size_t i = 0; i < len; i += spn_tok_utf8_lead(base + at + i, len - i))
        extend(run, base + at, i, len);
    size_t first = run->n_ids;
    SPN_TRY(emit_best(run, base + at, len, run->first_id, err));
    /* Whether a leading unknown token is written depends on what stands before it. */
    if (run->n_ids > first && run->ids[first] != run->tok->specials.unk)
        spn_tok_cache_note(run, slot, at, len, first);
    return SPN_STATUS_OK;
}

spn_status spn_tok_ugm_text(spn_tok_run *run, const char *text, size_t len, spn_error *err) {
    size_t start = run->text.len;
    run->first_id = run->n_ids;
    SPN_TRY(normalize(run, text, len, err));
    if (run->text.len == start) return SPN_STATUS_OK;
    return spn_tok_split_marks(run, run->text.data, start, run->text.len - start, word, err);
}
