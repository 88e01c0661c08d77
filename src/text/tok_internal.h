/* tok_internal.h - what the tokenizer's files share. SPDX-License-Identifier: Apache-2.0
 *
 * spn_tokenizer is filled by tokenizer.c (vocabulary), tok_specials.c (special tokens) and one of
 * tok_spm.c, tok_bpe.c, tok_wpm.c, tok_ugm.c (the model's algorithm), and then never changes.
 * spn_tok_run is the working memory of one spn_tokenize call.
 *
 * A "piece" is a distinct string that tokens are made of. Pieces below n_vocab are tokens; those
 * above occur only in merge rules.
 */
#ifndef SPN_TOK_INTERNAL_H
#define SPN_TOK_INTERNAL_H

#include <string.h>

#include "text/tokenizer.h"

#define SPN_TOK_NO_PIECE UINT32_MAX
#define SPN_TOK_NO_RANK UINT32_MAX
/* SentencePiece writes a blank as U+2581. */
#define SPN_TOK_MARK "\xE2\x96\x81"
#define SPN_TOK_MARK_LEN 3
/* Longest text of one call; rewriting can make three bytes of one. */
#define SPN_TOK_MAX_TEXT ((size_t)512 << 20)
#define SPN_TOK_MAX_REWRITTEN (3 * SPN_TOK_MAX_TEXT + 64)

typedef enum spn_tok_model {
    SPN_TOK_SPM, /* "llama": SentencePiece BPE */
    SPN_TOK_BPE, /* "gpt2", "gemma4" */
    SPN_TOK_WPM, /* "bert": WordPiece */
    SPN_TOK_UGM, /* "t5": Unigram */
} spn_tok_model;

enum { SPN_TOK_FLAG_LSTRIP = 1u, SPN_TOK_FLAG_RSTRIP = 2u, SPN_TOK_FLAG_END = 4u };

/* ---- UTF-8 (tok_utf8.c) ---- */

/* Bytes of the character at the start of bytes[0 .. n), n > 0, and its code point; 0 when the bytes
 * are not the shortest form of a Unicode scalar value. */
size_t spn_tok_utf8_decode(const char *bytes, size_t n, uint32_t *code);
/* Appends up to 4 bytes to `out`; returns how many. */
size_t spn_tok_utf8_encode(uint32_t code, char out[4]);
bool spn_tok_utf8_valid(const char *bytes, size_t n);

/* Bytes that a lead byte announces, whatever follows; a stray byte counts alone. */
static inline size_t spn_tok_utf8_lead(const char *bytes, size_t n) {
    unsigned char high = (unsigned char)bytes[0] >> 4;
    size_t len = high < 12 ? 1 : high < 14 ? 2 : high == 14 ? 3 : 4;
    return len < n ? len : n;
}

/* The same in text with marks for blanks: a character that is not UTF-8 ends before a mark. */
static inline size_t spn_tok_char(const char *text, size_t n) {
    size_t len = spn_tok_utf8_lead(text, n);
    for (size_t i = 1; i < len; i++)
        if (n - i >= SPN_TOK_MARK_LEN && memcmp(text + i, SPN_TOK_MARK, SPN_TOK_MARK_LEN) == 0)
            return i;
    return len;
}

/* ---- strings by number, numbers by string (tok_table.c) ---- */

typedef struct spn_tok_slot {
    uint32_t hash;
    uint32_t id; /* plus 1; 0 is free */
} spn_tok_slot;

typedef struct spn_tok_table {
    char *pool; /* all strings, one after the other */
    size_t pool_len, pool_cap;
    uint32_t *ends; /* [n + 1] string i is pool[ends[i] .. ends[i + 1]) */
    uint32_t n, cap;
    spn_tok_slot *slots; /* [n_slots], a power of two, at most half full */
    size_t n_slots;
    uint32_t max_len; /* of the longest string */
} spn_tok_table;

uint64_t spn_tok_hash(const char *bytes, size_t n);
/* Appends a string as number table->n; the string's first number is the one that is found. */
spn_status spn_tok_table_add(spn_tok_table *table, const char *bytes, size_t n, spn_error *err);
/* The string's number, adding it when it is new. */
spn_status spn_tok_table_intern(spn_tok_table *table, const char *bytes, size_t n, uint32_t *id,
                                spn_error *err);
uint32_t spn_tok_table_find(const spn_tok_table *table, const char *bytes, size_t n);
void spn_tok_table_free(spn_tok_table *table);

static inline const char *spn_tok_table_text(const spn_tok_table *table, uint32_t id, size_t *len) {
    *len = table->ends[id + 1] - table->ends[id];
    return table->pool + table->ends[id];
}

/* ---- all strings that start here (tok_trie.c) ---- */

typedef struct spn_tok_node {
    uint32_t first; /* child; the children stand together, by rising byte */
    int32_t value;  /* the token that ends here, or SPN_TOKEN_NONE */
    uint16_t n_children;
    uint8_t byte;
} spn_tok_node;

typedef struct spn_tok_trie {
    spn_tok_node *nodes; /* nodes[0] is the root; NULL for the empty trie */
    uint32_t root[256];  /* the root's children by byte, 0 for none */
} spn_tok_trie;

typedef struct spn_tok_entry {
    const char *text;
    size_t len;
    int32_t id;
} spn_tok_entry;

/* Sorts `entries`; of equal texts the smallest id stays. Empty texts are left out. */
spn_status spn_tok_trie_build(spn_tok_trie *trie, spn_tok_entry *entries, size_t n, spn_error *err);
void spn_tok_trie_free(spn_tok_trie *trie);
/* The child of `node` by `byte`, 0 when there is none. */
uint32_t spn_tok_trie_step(const spn_tok_trie *trie, uint32_t node, unsigned char byte);
/* The longest entry that is a prefix of bytes[0 .. n): its length (0: none) and its id. */
size_t spn_tok_trie_longest(const spn_tok_trie *trie, const char *bytes, size_t n, int32_t *id);

/* ---- pre-tokenizer patterns (tok_pre.c) ---- */

enum {
    SPN_TOK_PRE_IGNORE_MERGES = 1u, /* a word that is a token stays whole */
    SPN_TOK_PRE_ADD_BOS = 2u,       /* the default where the metadata is silent */
    SPN_TOK_PRE_NO_BOS = 4u,        /* there is no default BOS */
    SPN_TOK_PRE_RAW = 8u,           /* pieces are UTF-8 with marks for blanks, not mapped bytes */
    SPN_TOK_PRE_FORCE_BOS = 16u,    /* whatever the metadata say */
    SPN_TOK_PRE_LINES = 32u,        /* a run of line feeds that is a token stays whole */
};

typedef struct spn_tok_pre spn_tok_pre;

/* TOKENIZER, naming it, for an unknown name. */
spn_status spn_tok_pre_open(spn_tok_pre **out, const char *name, size_t n, spn_error *err);
void spn_tok_pre_close(spn_tok_pre *pre);
unsigned spn_tok_pre_flags(const spn_tok_pre *pre);

/* ---- the tokenizer ---- */

typedef struct spn_tok_pair {
    uint64_t key; /* left piece << 32 | right piece */
    uint32_t rank;
    uint32_t merged; /* the piece that the two give */
} spn_tok_pair;

typedef struct spn_tok_bpe {
    spn_tok_pre *pre;
    bool raw;                  /* see SPN_TOK_PRE_RAW */
    spn_tok_pair *pairs;       /* [n_slots] hash table, rank NO_RANK where free */
    size_t n_slots;            /* a power of two */
    uint32_t byte_pieces[256]; /* the piece of each byte; NO_PIECE where there is none */
} spn_tok_bpe;

typedef struct spn_tok_ugm {
    spn_tok_trie pieces;       /* also WPM's */
    spn_tok_trie user_defined; /* what the normaliser leaves alone */
    double unk_score;
    uint32_t *xcda; /* the normaliser's double array; NULL without one */
    size_t n_xcda;
    char *replacements; /* NUL-terminated texts that the double array points into */
    size_t n_replacements;
} spn_tok_ugm;

struct spn_tokenizer {
    spn_tok_model model;
    uint32_t n_vocab;
    spn_tok_table table; /* the tokens' stored texts; with BPE also the other pieces */
    float *scores;       /* [n_vocab] SPM and UGM */
    uint8_t *kinds;      /* [n_vocab] spn_token_kind */
    uint8_t *flags;      /* [n_vocab] SPN_TOK_FLAG_ */
    spn_token_specials specials;
    int32_t byte_tokens[256]; /* SPN_TOKEN_NONE where a byte has none */
    spn_tok_trie always;      /* texts that are tokens wherever they stand: user-defined */
    spn_tok_trie parsed;      /* these and control tokens: for SPN_TOKENIZE_PARSE_SPECIAL */
    bool strips;              /* some token has a STRIP flag */
    bool escape_blanks;
    bool merge_blanks;             /* remove_extra_whitespaces */
    bool lowercase, strip_accents; /* WPM */
    /* Bytes that stand before a mark inside some piece: before a mark that follows another byte no
     * merge reaches across, so the text may be cut there. */
    bool joins_mark[256];
    spn_tok_bpe bpe;
    spn_tok_ugm ugm;
};

static inline bool spn_tok_in_vocab(const spn_tokenizer *tok, int64_t id) {
    return id >= 0 && id < (int64_t)tok->n_vocab;
}

/* Whether text may become this token by itself: control, unknown and byte tokens are reserved. */
static inline bool spn_tok_is_text(const spn_tokenizer *tok, uint32_t id) {
    uint8_t kind = tok->kinds[id];
    return kind != SPN_TOKEN_KIND_CONTROL && kind != SPN_TOKEN_KIND_UNKNOWN &&
           kind != SPN_TOKEN_KIND_BYTE;
}

/* ---- one call ---- */

typedef struct spn_tok_sym {
    uint32_t at, len; /* in the word's text */
    uint32_t piece;
    uint32_t prev, next;
    uint32_t rank, merged; /* of this symbol with the next */
} spn_tok_sym;

typedef struct spn_tok_cached {
    size_t at; /* of the word, from the base text's start */
    size_t out;
    uint32_t len, n_tokens;
} spn_tok_cached;

typedef struct spn_tok_run {
    const spn_tokenizer *tok;
    int32_t *ids;
    size_t n_ids, cap_ids;
    size_t n_dropped; /* bytes that no token stands for */
    size_t first_id;  /* UGM: where the tokens of this piece of text start */
    spn_tok_sym *syms;
    size_t cap_syms;
    uint64_t *heap;
    size_t n_heap, cap_heap;
    int32_t *cover; /* special tokens found in overlapping places */
    size_t cap_cover;
    spn_tok_cached *cache; /* direct-mapped; words of this text and where their tokens stand */
    size_t n_cache;
    spn_buf text;     /* rewritten text: blanks as marks, normalised, and the like */
    spn_buf scratch;  /* one word, rewritten */
    void *match_data; /* PCRE2's, made by the first use */
    void *match_context;
    void *jit_stack;
} spn_tok_run;

spn_status spn_tok_emit(spn_tok_run *run, int32_t id, spn_error *err);
/* The token of one byte that no piece covers, or the unknown token. A byte that has neither is left
 * out, as these models' own tokenizers do, and counted. */
spn_status spn_tok_emit_byte(spn_tok_run *run, unsigned char byte, spn_error *err);
bool spn_tok_grow(void **block, size_t *cap, size_t need, size_t item_bytes);

/* A heap of numbers, smallest first. */
spn_status spn_tok_heap_push(spn_tok_run *run, uint64_t key, spn_error *err);
uint64_t spn_tok_heap_pop(spn_tok_run *run);

/* Sets left->rank and left->merged for the pair of two neighbours. */
typedef void (*spn_tok_pair_fn)(const spn_tokenizer *tok, const char *text, spn_tok_sym *left,
                                const spn_tok_sym *right);
/* Merges run->syms[0 .. n) until no pair has a rank: lowest rank first, then leftmost. What is left
 * stands in syms[0 .. *n_left). O(n log n). */
spn_status spn_tok_merge(spn_tok_run *run, const char *text, size_t n, spn_tok_pair_fn pair,
                         size_t *n_left, spn_error *err);

/* The word base[at .. at + len) was tokenized before: its tokens are appended again. Otherwise
 * *slot (NULL: not worth it) is where the caller notes it with spn_tok_cache_note. */
spn_status spn_tok_cache_look(spn_tok_run *run, const char *base, size_t at, size_t len,
                              spn_tok_cached **slot, bool *hit, spn_error *err);
void spn_tok_cache_note(spn_tok_run *run, spn_tok_cached *slot, size_t at, size_t len,
                        size_t first_id);

/* Calls `word` for each word of text[0 .. n) in order. */
typedef spn_status (*spn_tok_word_fn)(spn_tok_run *run, const char *base, size_t at, size_t len,
                                      spn_error *err);
spn_status spn_tok_pre_split(spn_tok_run *run, const spn_tok_pre *pre, const char *base, size_t at,
                             size_t len, spn_tok_word_fn word, spn_error *err);
void spn_tok_pre_run_free(spn_tok_run *run);

/* Appends text[0 .. n) to run->text with blanks as marks. */
spn_status spn_tok_escape(spn_tok_run *run, const char *text, size_t n, spn_error *err);
/* Calls `word` for each part of base[at .. at + len) that no merge reaches across. */
spn_status spn_tok_split_marks(spn_tok_run *run, const char *base, size_t at, size_t len,
                               spn_tok_word_fn word, spn_error *err);

/* ---- the models ---- */

spn_status spn_tok_spm_open(spn_tokenizer *tok, spn_error *err);
spn_status spn_tok_bpe_open(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err);
spn_status spn_tok_wpm_open(spn_tokenizer *tok, spn_error *err);
spn_status spn_tok_ugm_open(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err);

/* Tokenize text without special tokens in it; `first`: at the start or behind a special token. */
spn_status spn_tok_spm_text(spn_tok_run *run, const char *text, size_t len, bool first,
                            spn_error *err);
spn_status spn_tok_bpe_text(spn_tok_run *run, const char *base, size_t at, size_t len,
                            spn_error *err);
spn_status spn_tok_wpm_text(spn_tok_run *run, const char *text, size_t len, spn_error *err);
/* The trie of all tokens that text may become. */
spn_status spn_tok_text_trie(spn_tokenizer *tok, spn_error *err);
spn_status spn_tok_ugm_text(spn_tok_run *run, const char *text, size_t len, spn_error *err);

/* The byte that a character of a byte-level piece stands for; -1 when it is none of those. */
int spn_tok_byte_of(uint32_t code);
uint32_t spn_tok_code_of_byte(unsigned char byte);

/* ---- special tokens (tok_specials.c) ---- */

spn_status spn_tok_specials_open(spn_tokenizer *tok, const spn_gguf *gguf, spn_error *err);

typedef spn_status (*spn_tok_part_fn)(spn_tok_run *run, const char *text, size_t at, size_t len,
                                      int32_t token, void *user, spn_error *err);
/* Cuts text[0 .. n) at special tokens: calls `part` for each piece of text (token NONE) and each
 * token in order. */
spn_status spn_tok_partition(spn_tok_run *run, const char *text, size_t n, bool parse_special,
                             spn_tok_part_fn part, void *user, spn_error *err);

#endif
