/* tok_merge.c - merging neighbours by rank, the word cache, and the growing list of tokens.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A short word is merged by looking for the best pair again and again; a long one with a heap of
 * (rank, place), whose entries are checked when they come up instead of being taken out when a
 * neighbour changes: at most 3 n entries, so O(n log n) for any text.
 */
#include <string.h>

#include "text/tok_internal.h"

/* Above this a heap is faster than looking; measured on prose and on code. */
#define SHORT_WORD 32

spn_status spn_tok_emit(spn_tok_run *run, int32_t id, spn_error *err) {
    if (!spn_tok_grow((void **)&run->ids, &run->cap_ids, run->n_ids + 1, sizeof *run->ids))
        return SPN_NO_MEMORY(err, "the tokens");
    run->ids[run->n_ids++] = id;
    return SPN_STATUS_OK;
}

spn_status spn_tok_emit_byte(spn_tok_run *run, unsigned char byte, spn_error *err) {
    int32_t id = run->tok->byte_tokens[byte];
    if (id == SPN_TOKEN_NONE) id = run->tok->specials.unk;
    if (id != SPN_TOKEN_NONE) return spn_tok_emit(run, id, err);
    run->n_dropped++;
    return SPN_STATUS_OK;
}

/* ---- heap ---- */

spn_status spn_tok_heap_push(spn_tok_run *run, uint64_t key, spn_error *err) {
    if (!spn_tok_grow((void **)&run->heap, &run->cap_heap, run->n_heap + 1, sizeof *run->heap))
        return SPN_NO_MEMORY(err, "merging a word");
    size_t i = run->n_heap++;
    for (; i > 0 && run->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        run->heap[i] = run->heap[(i - 1) / 2];
    run->heap[i] = key;
    return SPN_STATUS_OK;
}

uint64_t spn_tok_heap_pop(spn_tok_run *run) {
    uint64_t top = run->heap[0], last = run->heap[--run->n_heap];
    size_t n = run->n_heap, i = 0;
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && run->heap[child + 1] < run->heap[child]) child++;
        if (run->heap[child] >= last) break;
        run->heap[i] = run->heap[child];
    }
    run->heap[i] = last;
    return top;
}

/* ---- merging ---- */

static size_t merge_short(spn_tok_run *run, const char *text, size_t n, spn_tok_pair_fn pair) {
    spn_tok_sym *syms = run->syms;
    for (size_t i = 0; i + 1 < n; i++) pair(run->tok, text, &syms[i], &syms[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (syms[i].rank < syms[best].rank) best = i;
        if (syms[best].rank == SPN_TOK_NO_RANK) break;
        syms[best].len += syms[best + 1].len;
        syms[best].piece = syms[best].merged;
        n--;
        memmove(&syms[best + 1], &syms[best + 2], (n - best - 1) * sizeof *syms);
        if (best > 0) pair(run->tok, text, &syms[best - 1], &syms[best]);
        if (best + 1 < n) pair(run->tok, text, &syms[best], &syms[best + 1]);
    }
    return n;
}

static spn_status rank_pair(spn_tok_run *run, const char *text, uint32_t left, spn_tok_pair_fn pair,
                            spn_error *err) {
    spn_tok_sym *sym = &run->syms[left];
    sym->rank = SPN_TOK_NO_RANK;
    if (sym->next == UINT32_MAX) return SPN_STATUS_OK;
    pair(run->tok, text, sym, &run->syms[sym->next]);
    if (sym->rank == SPN_TOK_NO_RANK) return SPN_STATUS_OK;
    return spn_tok_heap_push(run, (uint64_t)sym->rank << 32 | left, err);
}

/* A merged symbol's right part keeps len 0, which no live symbol has. */
static spn_status merge_long(spn_tok_run *run, const char *text, size_t n, spn_tok_pair_fn pair,
                             size_t *n_left, spn_error *err) {
    spn_tok_sym *syms = run->syms;
    run->n_heap = 0;
    for (size_t i = 0; i < n; i++) {
        syms[i].prev = i > 0 ? (uint32_t)i - 1 : UINT32_MAX;
        syms[i].next = i + 1 < n ? (uint32_t)i + 1 : UINT32_MAX;
    }
    for (size_t i = 0; i < n; i++) SPN_TRY(rank_pair(run, text, (uint32_t)i, pair, err));
    while (run->n_heap > 0) {
        uint64_t key = spn_tok_heap_pop(run);
        spn_tok_sym *left = &syms[(uint32_t)key];
        if (left->len == 0 || left->rank != key >> 32) continue;
        spn_tok_sym *right = &syms[left->next];
        left->len += right->len;
        left->piece = left->merged;
        left->next = right->next;
        right->len = 0;
        if (left->next != UINT32_MAX) syms[left->next].prev = (uint32_t)key;
        SPN_TRY(rank_pair(run, text, (uint32_t)key, pair, err));
        if (left->prev != UINT32_MAX) SPN_TRY(rank_pair(run, text, left->prev, pair, err));
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (syms[i].len > 0) syms[kept++] = syms[i];
    *n_left = kept;
    return SPN_STATUS_OK;
}

spn_status spn_tok_merge(spn_tok_run *run, const char *text, size_t n, spn_tok_pair_fn pair,
                         size_t *n_left, spn_error *err) {
    if (n > SHORT_WORD) return merge_long(run, text, n, pair, n_left, err);
    *n_left = merge_short(run, text, n, pair);
    return SPN_STATUS_OK;
}

/* ---- word cache ---- */

/* Longer words hardly come again. */
#define CACHE_MAX_WORD 128

spn_status spn_tok_cache_look(spn_tok_run *run, const char *base, size_t at, size_t len,
                              spn_tok_cached **slot, bool *hit, spn_error *err) {
    *slot = NULL;
    *hit = false;
    if (run->n_cache == 0 || len > CACHE_MAX_WORD) return SPN_STATUS_OK;
    *slot = &run->cache[spn_tok_hash(base + at, len) & (run->n_cache - 1)];
    spn_tok_cached known = **slot;
    if (known.len != len || memcmp(base + known.at, base + at, len) != 0) return SPN_STATUS_OK;
    if (!spn_tok_grow((void **)&run->ids, &run->cap_ids, run->n_ids + known.n_tokens,
                      sizeof *run->ids))
        return SPN_NO_MEMORY(err, "the tokens");
    for (uint32_t i = 0; i < known.n_tokens; i++)
        run->ids[run->n_ids + i] = run->ids[known.out + i];
    run->n_ids += known.n_tokens;
    *hit = true;
    return SPN_STATUS_OK;
}

void spn_tok_cache_note(spn_tok_run *run, spn_tok_cached *slot, size_t at, size_t len,
                        size_t first_id) {
    if (slot == NULL) return;
    *slot = (spn_tok_cached){.at = at,
                             .out = first_id,
                             .len = (uint32_t)len,
                             .n_tokens = (uint32_t)(run->n_ids - first_id)};
}

/* ---- blanks as marks ---- */

spn_status spn_tok_escape(spn_tok_run *run, const char *text, size_t n, spn_error *err) {
    for (size_t at = 0; at < n;) {
        const char *blank = memchr(text + at, ' ', n - at);
        size_t len = blank == NULL ? n - at : (size_t)(blank - text) - at;
        spn_buf_append(&run->text, text + at, len);
        if (blank != NULL) spn_buf_append(&run->text, SPN_TOK_MARK, SPN_TOK_MARK_LEN);
        at += len + 1;
    }
    if (run->text.failed) return SPN_NO_MEMORY(err, "the text with marks for blanks");
    return SPN_STATUS_OK;
}

spn_status spn_tok_split_marks(spn_tok_run *run, const char *base, size_t at, size_t len,
                               spn_tok_word_fn word, spn_error *err) {
    size_t end = at + len, start = at;
    for (size_t i = at; i < end;) {
        if (i > start && end - i >= SPN_TOK_MARK_LEN &&
            memcmp(base + i, SPN_TOK_MARK, SPN_TOK_MARK_LEN) == 0 &&
            !run->tok->joins_mark[(unsigned char)base[i - 1]]) {
            SPN_TRY(word(run, base, start, i - start, err));
            start = i;
        }
        i += spn_tok_char(base + i, end - i);
    }
    return start < end ? word(run, base, start, end - start, err) : SPN_STATUS_OK;
}
