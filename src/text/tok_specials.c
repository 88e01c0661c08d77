/* tok_specials.c - which tokens are special, and cutting a text at them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The metadata name some special tokens by number; converters leave others to be known by their
 * texts, and those lists below are llama.cpp's, so that a file means the same here as there.
 */
#include <ctype.h>
#include <string.h>

#include "text/tok_internal.h"

/* ---- texts that mark a token ---- */

/* "<|end_of_sentence|>" with full-width bars and U+2581 for the low lines. */
#define DEEPSEEK_END "<\xEF\xBD\x9C\x65nd\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"

/* The first of these that the vocabulary has ends a turn. */
static const char *const eot_texts[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>",     "<|end_of_text|>",
    "<EOT>",      "_<EOT>",     "[EOT]",   DEEPSEEK_END,    "<end_of_utterance>"};

/* Each of these ends generation. */
static const char *const end_texts[] = {"<|eot_id|>",
                                        "<|im_end|>",
                                        "<|end|>",
                                        "<|return|>",
                                        "<|call|>",
                                        "<|flush|>",
                                        "<|calls|>",
                                        "<end_of_turn>",
                                        "<|endoftext|>",
                                        "</s>",
                                        "<|eom_id|>",
                                        "<EOT>",
                                        "_<EOT>",
                                        "[EOT]",
                                        "[EOS]",
                                        "<|end_of_text|>",
                                        "<end_of_utterance>",
                                        "<eos>",
                                        "<turn|>",
                                        "<|tool_response>",
                                        DEEPSEEK_END,
                                        "[e~["};

/* Fill-in-the-middle marks behind which a model writes another file: of each kind the first that
 * the vocabulary has, unless the metadata name it. */
typedef struct fim_row {
    const char *key;
    const char *texts[6];
} fim_row;

static const fim_row fim_ends[] = {
    {"tokenizer.ggml.fim_pad_token_id",
     {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {"tokenizer.ggml.fim_rep_token_id",
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {"tokenizer.ggml.fim_sep_token_id", {"<|file_sep|>"}},
};

/* Control tokens by their looks, whatever their type says. */
static const char *const control_texts[] = {
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<PRE>", "<|code_prefix|>", "<|prefix|>",
    "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<SUF>", "<|code_suffix|>", "<|suffix|>",
    "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<MID>", "<|code_middle|>", "<|middle|>"};

/* gpt-oss: part of what a reader must see, so never hidden. */
static const char *const shown_texts[] = {"<|channel|>", "<|message|>", "<|start|>",
                                          "<|constrain|>"};

int32_t spn_tokenizer_find(const spn_tokenizer *tokenizer, const char *text, size_t n_bytes) {
    uint32_t id = spn_tok_table_find(&tokenizer->table, text, n_bytes);
    return id < tokenizer->n_vocab ? (int32_t)id : SPN_TOKEN_NONE;
}

static int32_t find(const spn_tokenizer *tok, const char *text) {
    return spn_tokenizer_find(tok, text, strlen(text));
}

/* ---- numbers in the metadata ---- */

static spn_status read_id(const spn_tokenizer *tok, const spn_gguf *gguf, const char *key,
                          int32_t *id, spn_error *err) {
    uint32_t value = UINT32_MAX;
    if (!spn_tok_in_vocab(tok, *id)) *id = SPN_TOKEN_NONE;
    SPN_TRY(spn_gguf_get_u32(gguf, key, false, &value, err));
    if (spn_tok_in_vocab(tok, value))
        *id = (int32_t)value;
    else if (value != UINT32_MAX)
        spn_log(SPN_LOG_LEVEL_WARNING, "%s = %u is not in the vocabulary and is ignored", key,
                value);
    return SPN_STATUS_OK;
}

/* What files of a kind mean when they name no token: their first model's numbers. */
static void default_ids(spn_tokenizer *tok) {
    spn_token_specials *s = &tok->specials;
    const int32_t none = SPN_TOKEN_NONE;
    *s = (spn_token_specials){none, none, none, none, none, none, none, none, false, false, false};
    switch (tok->model) {
    case SPN_TOK_SPM:
        s->bos = 1, s->eos = 2, s->unk = 0;
        break;
    case SPN_TOK_WPM:
        s->cls = 101, s->unk = 100, s->sep = 102, s->pad = 0, s->mask = 103;
        break;
    case SPN_TOK_UGM:
        s->eos = 1, s->unk = 2, s->pad = 0;
        break;
    case SPN_TOK_BPE:
        /* Falcon's "<|endoftext|>"; elsewhere 11 is a comma. */
        if (tok->n_vocab > 11 && tok->kinds[11] == SPN_TOKEN_KIND_CONTROL) s->bos = s->eos = 11;
        if (spn_tok_pre_flags(tok->bpe.pre) & SPN_TOK_PRE_NO_BOS) s->bos = none;
        break;
    }
}

static spn_status read_ids(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    spn_token_specials *s = &tok->specials;
    SPN_TRY(read_id(tok, gguf, "tokenizer.ggml.bos_token_id", &s->bos, err));
    SPN_TRY(read_id(tok, gguf, "tokenizer.ggml.eos_token_id", &s->eos, err));
    SPN_TRY(read_id(tok, gguf, "tokenizer.ggml.eot_token_id", &s->eot, err));
    SPN_TRY(read_id(tok, gguf, "tokenizer.ggml.unknown_token_id", &s->unk, err));
    SPN_TRY(read_id(tok, gguf, "tokenizer.ggml.seperator_token_id", &s->sep, err)); /* sic */
    SPN_TRY(read_id(tok, gguf, "tokenizer.ggml.padding_token_id", &s->pad, err));
    SPN_TRY(read_id(tok, gguf, "tokenizer.ggml.mask_token_id", &s->mask, err));
    SPN_TRY(read_id(tok, gguf, "tokenizer.ggml.cls_token_id", &s->cls, err));
    if (tok->model == SPN_TOK_WPM && s->bos == SPN_TOKEN_NONE) s->bos = s->cls;
    if (tok->model == SPN_TOK_WPM && s->eos == SPN_TOKEN_NONE) s->eos = s->sep;
    return SPN_STATUS_OK;
}

static spn_status check_added(bool *add, int32_t id, bool asked, const char *what, spn_error *err) {
    if (!*add || id != SPN_TOKEN_NONE) return SPN_STATUS_OK;
    if (asked)
        return SPN_FAIL(err, FORMAT,
                        "tokenizer.ggml.add_%s_token is true, but there is no "
                        "tokenizer.ggml.%s_token_id",
                        what, what);
    *add = false;
    return SPN_STATUS_OK;
}

static spn_status read_rules(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    spn_token_specials *s = &tok->specials;
    unsigned pre = tok->model == SPN_TOK_BPE ? spn_tok_pre_flags(tok->bpe.pre) : 0;
    s->add_bos =
        tok->model == SPN_TOK_SPM || tok->model == SPN_TOK_WPM || (pre & SPN_TOK_PRE_ADD_BOS) != 0;
    s->add_eos = tok->model == SPN_TOK_UGM || tok->model == SPN_TOK_WPM;
    s->add_space_prefix = tok->model == SPN_TOK_SPM;
    SPN_TRY(spn_gguf_get_bool(gguf, "tokenizer.ggml.add_space_prefix", false, &s->add_space_prefix,
                              err));
    SPN_TRY(spn_gguf_get_bool(gguf, "tokenizer.ggml.remove_extra_whitespaces", false,
                              &tok->merge_blanks, err));
    SPN_TRY(spn_gguf_get_bool(gguf, "tokenizer.ggml.add_bos_token", false, &s->add_bos, err));
    SPN_TRY(spn_gguf_get_bool(gguf, "tokenizer.ggml.add_eos_token", false, &s->add_eos, err));
    if (pre & SPN_TOK_PRE_FORCE_BOS) s->add_bos = true;
    if (tok->model == SPN_TOK_WPM) s->add_bos = s->add_eos = true; /* [CLS] ... [SEP] */
    if (tok->model == SPN_TOK_BPE) s->add_space_prefix = false;
    bool asked_bos = spn_gguf_find(gguf, "tokenizer.ggml.add_bos_token") != NULL;
    bool asked_eos = spn_gguf_find(gguf, "tokenizer.ggml.add_eos_token") != NULL;
    SPN_TRY(check_added(&s->add_bos, s->bos, asked_bos, "bos", err));
    return check_added(&s->add_eos, s->eos, asked_eos, "eos", err);
}

/* ---- known texts ---- */

static void make_control(spn_tokenizer *tok, int32_t id) {
    if (id != SPN_TOKEN_NONE) tok->kinds[id] = SPN_TOKEN_KIND_CONTROL;
}

static void make_end(spn_tokenizer *tok, int32_t id) {
    if (id != SPN_TOKEN_NONE) tok->flags[id] |= SPN_TOK_FLAG_END;
}

static spn_status mark_fim(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    for (size_t i = 0; i < SPN_COUNT(fim_ends); i++) {
        int32_t id = SPN_TOKEN_NONE;
        SPN_TRY(read_id(tok, gguf, fim_ends[i].key, &id, err));
        for (size_t j = 0; id == SPN_TOKEN_NONE && fim_ends[i].texts[j] != NULL; j++) {
            id = find(tok, fim_ends[i].texts[j]);
            make_control(tok, id);
        }
        make_end(tok, id);
    }
    for (size_t i = 0; i < SPN_COUNT(control_texts); i++)
        make_control(tok, find(tok, control_texts[i]));
    return SPN_STATUS_OK;
}

/* Qwen2.5 and Gemma know "</s>" as what ends struck-out text in HTML: it is no end where the file
 * gives it no control's type and names another. llama.cpp takes it for one. */
static bool is_markup(const spn_tokenizer *tok, int32_t id) {
    int32_t eos = tok->specials.eos;
    return id != SPN_TOKEN_NONE && id == find(tok, "</s>") && eos != SPN_TOKEN_NONE && eos != id &&
           tok->kinds[id] != SPN_TOKEN_KIND_CONTROL;
}

static void mark_ends(spn_tokenizer *tok) {
    for (size_t i = 0; i < SPN_COUNT(end_texts); i++) {
        int32_t id = find(tok, end_texts[i]);
        if (is_markup(tok, id)) continue;
        make_control(tok, id);
        make_end(tok, id);
    }
    for (size_t i = 0; i < SPN_COUNT(shown_texts); i++) {
        int32_t id = find(tok, shown_texts[i]);
        if (id != SPN_TOKEN_NONE) tok->kinds[id] = SPN_TOKEN_KIND_USER_DEFINED;
    }
    make_end(tok, tok->specials.eos);
    make_end(tok, tok->specials.eot);
}

/* Families whose vocabularies hold an end text that does not end: `also` and `and_also` in the
 * vocabulary mean that `text` is none, and its kind then is `kind`. */
static void unmark(spn_tokenizer *tok, const char *text, const char *also, const char *and_also,
                   spn_token_kind kind) {
    int32_t id = find(tok, text);
    if (id == SPN_TOKEN_NONE || find(tok, also) == SPN_TOKEN_NONE) return;
    if (find(tok, and_also) == SPN_TOKEN_NONE) return;
    tok->flags[id] &= (uint8_t)~SPN_TOK_FLAG_END;
    tok->kinds[id] = (uint8_t)kind;
}

static void except_families(spn_tokenizer *tok) {
    unmark(tok, "<|end|>", "<|return|>", "<|call|>", SPN_TOKEN_KIND_USER_DEFINED);
    unmark(tok, "<|end|>", "<|calls|>", "<|flush|>", SPN_TOKEN_KIND_USER_DEFINED);
    unmark(tok, "</s>", "<|tool_response>", "<|tool_response>", SPN_TOKEN_KIND_NORMAL);
    int32_t eot = tok->specials.eot;
    if (eot != SPN_TOKEN_NONE && (tok->flags[eot] & SPN_TOK_FLAG_END) == 0)
        tok->specials.eot = tok->specials.eos;
}

/* ---- blanks beside a token ---- */

static bool has(spn_gguf_str text, const char *part) {
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= text.len; i++) {
        size_t j = 0;
        while (j < n && tolower((unsigned char)text.data[i + j]) == part[j]) j++;
        if (j == n) return true;
    }
    return false;
}

/* Phi-3's special tokens swallow the blanks behind them. */
static void strip_right(spn_tokenizer *tok) {
    for (uint32_t id = 0; id < tok->n_vocab; id++)
        if (tok->kinds[id] == SPN_TOKEN_KIND_CONTROL ||
            tok->kinds[id] == SPN_TOKEN_KIND_USER_DEFINED)
            tok->flags[id] |= SPN_TOK_FLAG_RSTRIP;
    static const char *const keep[] = {"<unk>", "<s>", "<|endoftext|>"};
    for (size_t i = 0; i < SPN_COUNT(keep); i++) {
        int32_t id = find(tok, keep[i]);
        if (id != SPN_TOKEN_NONE) tok->flags[id] &= (uint8_t)~SPN_TOK_FLAG_RSTRIP;
    }
    tok->strips = true;
}

static void strip_left(spn_tokenizer *tok, const char *text) {
    int32_t id = find(tok, text);
    if (id == SPN_TOKEN_NONE) return;
    tok->flags[id] |= SPN_TOK_FLAG_LSTRIP;
    tok->strips = true;
}

/* The files do not say it of each token; the names of the models do. */
static spn_status read_strips(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    spn_gguf_str pre = {0}, name = {0}, architecture = {0};
    SPN_TRY(spn_gguf_get_str(gguf, "tokenizer.ggml.pre", false, &pre, err));
    SPN_TRY(spn_gguf_get_str(gguf, "general.name", false, &name, err));
    SPN_TRY(spn_gguf_get_str(gguf, "general.architecture", false, &architecture, err));
    if (has(pre, "jina-v2-de") || has(pre, "jina-v2-es") || has(pre, "jina-v2-code") ||
        has(architecture, "nomic-bert-moe") || has(architecture, "jina-bert-v3"))
        strip_left(tok, "<mask>");
    else if (has(name, "phi-3") || has(name, "phi3"))
        strip_right(tok);
    else if (has(name, "modern-bert"))
        strip_left(tok, "[MASK]");
    return SPN_STATUS_OK;
}

/* ---- opening ---- */

static spn_status build_trie(spn_tokenizer *tok, bool control, spn_tok_trie *trie, spn_error *err) {
    spn_tok_entry *entries = spn_alloc_array(tok->n_vocab, sizeof *entries);
    if (entries == NULL) return SPN_NO_MEMORY(err, "the special tokens");
    size_t n = 0;
    for (uint32_t id = 0; id < tok->n_vocab; id++) {
        uint8_t kind = tok->kinds[id];
        if (kind != SPN_TOKEN_KIND_USER_DEFINED &&
            !(control && (kind == SPN_TOKEN_KIND_CONTROL || kind == SPN_TOKEN_KIND_UNKNOWN)))
            continue;
        entries[n].text = spn_tok_table_text(&tok->table, id, &entries[n].len);
        entries[n].id = (int32_t)id;
        n += entries[n].len > 0;
    }
    spn_status status = spn_tok_trie_build(trie, entries, n, err);
    spn_free(entries);
    return status;
}

spn_status spn_tok_specials_open(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err) {
    default_ids(tok);
    SPN_TRY(read_ids(tok, gguf, err));
    SPN_TRY(read_rules(tok, gguf, err));
    for (size_t i = 0; tok->specials.eot == SPN_TOKEN_NONE && i < SPN_COUNT(eot_texts); i++)
        tok->specials.eot = find(tok, eot_texts[i]);
    SPN_TRY(mark_fim(tok, gguf, err));
    mark_ends(tok);
    int32_t eom = SPN_TOKEN_NONE;
    SPN_TRY(read_id(tok, gguf, "tokenizer.ggml.eom_token_id", &eom, err));
    make_end(tok, eom);
    except_families(tok);
    SPN_TRY(read_strips(tok, gguf, err));
    SPN_TRY(build_trie(tok, false, &tok->always, err));
    return build_trie(tok, true, &tok->parsed, err);
}

/* ---- cutting a text ---- */

/* Longer tokens go before shorter ones wherever they stand, then earlier before later. Tokens that
 * overlap form a cluster, which is decided by itself. */
typedef struct partition {
    spn_tok_run *run;
    const spn_tok_trie *trie;
    const char *text;
    size_t n;
    size_t done; /* handed out so far */
    spn_tok_part_fn part;
    void *user;
} partition;

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static spn_status hand_out(partition *p, size_t at, size_t len, int32_t token, spn_error *err) {
    unsigned flags = p->run->tok->flags[token];
    size_t end = at;
    while ((flags & SPN_TOK_FLAG_LSTRIP) && end > p->done && is_blank(p->text[end - 1])) end--;
    if (end > p->done)
        SPN_TRY(p->part(p->run, p->text, p->done, end - p->done, SPN_TOKEN_NONE, p->user, err));
    SPN_TRY(p->part(p->run, p->text, at, len, token, p->user, err));
    p->done = at + len;
    return SPN_STATUS_OK;
}

/* The end of what overlaps from `at` on; with tokens that swallow blanks, behind these. Notes each
 * place's longest token in the heap. */
static spn_status find_cluster(partition *p, size_t at, size_t *end, spn_error *err) {
    p->run->n_heap = 0;
    *end = at;
    size_t i = at;
    do {
        int32_t token;
        size_t len = spn_tok_trie_longest(p->trie, p->text + i, p->n - i, &token);
        if (len > 0)
            SPN_TRY(spn_tok_heap_push(p->run, (uint64_t)(UINT32_MAX - len) << 32 | (i - at), err));
        *end = spn_max_size(*end, i + len);
        while (p->run->tok->strips && *end < p->n && is_blank(p->text[*end])) ++*end;
        i++;
    } while (i < *end);
    return SPN_STATUS_OK;
}

enum { COVER_FREE = 0, COVER_TAKEN = -1 }; /* otherwise a token, plus 1, starts here */

static void take(const spn_tok_run *run, const char *text, size_t at, size_t len, size_t end,
                 int32_t token) {
    for (size_t i = at; i < at + len; i++) run->cover[i] = COVER_TAKEN;
    run->cover[at] = token + 1;
    if (run->tok->flags[token] & SPN_TOK_FLAG_RSTRIP)
        for (size_t i = at + len; i < end && run->cover[i] == COVER_FREE && is_blank(text[i]); i++)
            run->cover[i] = COVER_TAKEN;
}

/* Decides a cluster of `size` bytes: the longest free token first. One that turns out to be partly
 * taken comes back as the longest that still fits. */
static spn_status decide(partition *p, const char *text, size_t size, spn_error *err) {
    spn_tok_run *run = p->run;
    if (!spn_tok_grow((void **)&run->cover, &run->cap_cover, size, sizeof *run->cover))
        return SPN_NO_MEMORY(err, "the special tokens");
    memset(run->cover, 0, size * sizeof *run->cover);
    while (run->n_heap > 0) {
        uint64_t key = spn_tok_heap_pop(run);
        size_t at = (uint32_t)key, len = UINT32_MAX - (uint32_t)(key >> 32), free = 0;
        while (free < len && run->cover[at + free] == COVER_FREE) free++;
        int32_t token;
        size_t fits = spn_tok_trie_longest(p->trie, text + at, free, &token);
        if (fits == 0) continue;
        if (free == len)
            take(run, text, at, len, size, token);
        else
            SPN_TRY(spn_tok_heap_push(run, (uint64_t)(UINT32_MAX - fits) << 32 | at, err));
    }
    return SPN_STATUS_OK;
}

static spn_status cut_cluster(partition *p, size_t at, size_t end, spn_error *err) {
    SPN_TRY(decide(p, p->text + at, end - at, err));
    for (size_t i = 0; i < end - at; i++) {
        int32_t token = p->run->cover[i] - 1;
        if (token < 0) continue;
        size_t len;
        spn_tok_table_text(&p->run->tok->table, (uint32_t)token, &len);
        SPN_TRY(hand_out(p, at + i, len, token, err));
        i += len - 1;
        while ((p->run->tok->flags[token] & SPN_TOK_FLAG_RSTRIP) && i + 1 < end - at &&
               p->run->cover[i + 1] == COVER_TAKEN)
            i++;
        p->done = at + i + 1;
    }
    return SPN_STATUS_OK;
}

spn_status spn_tok_partition(spn_tok_run *run, const char *text, size_t n, bool parse_special,
                             spn_tok_part_fn part, void *user, spn_error *err) {
    partition p = {.run = run,
                   .trie = parse_special ? &run->tok->parsed : &run->tok->always,
                   .text = text,
                   .n = n,
                   .part = part,
                   .user = user};
    for (size_t at = 0; p.trie->nodes != NULL && at < n;) {
        if (p.trie->root[(unsigned char)text[at]] == 0) {
            at++;
            continue;
        }
        int32_t token;
        if (spn_tok_trie_longest(p.trie, text + at, n - at, &token) == 0) {
            at++;
            continue;
        }
        size_t end;
        SPN_TRY(find_cluster(&p, at, &end, err));
        SPN_TRY(cut_cluster(&p, at, end, err));
        at = end;
    }
    return p.done < n ? part(run, text, p.done, n - p.done, SPN_TOKEN_NONE, user, err)
                      : SPN_STATUS_OK;
}
