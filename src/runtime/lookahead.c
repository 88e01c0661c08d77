/* lookahead.c - guesses at the next tokens, checked in one pass.
 * SPDX-License-Identifier: Apache-2.0
 *
 * `rows` holds the logits of the last pass: row i stands behind base + i tokens, of which those
 * from `base` on are guesses. A row serves as long as the text that the caller brings is what the
 * pass read. */
#include "runtime/lookahead.h"

#include <string.h>

#include "compute/kernels.h"
#include "platform/os.h"

enum {
    MOST_GUESSES = SPN_LOOKAHEAD_MOST - 1,
    FIRST_GUESSES = 4,
    LEAST_MATCH = 3,       /* tokens that must agree before the text is trusted to repeat itself */
    SEARCH_TOKENS = 65536, /* how far back */
    LONGEST_REST = 256,
};

/* Seconds a token, as a moving average; 0: not known yet. */
typedef struct pace {
    double plain, guessed;
    uint32_t rest;      /* plain steps still to be made */
    uint32_t next_rest; /* how long the next rest is */
} pace;

struct spn_lookahead {
    spn_session *session, *draft;
    uint32_t n_vocab;
    bool always;
    bool can_rewind; /* what the session evaluates can be dropped again */
    float *rows;     /* [MOST_GUESSES + 1][n_vocab] */
    int32_t *text;   /* [cap]: what the last pass read, guesses included */
    size_t cap, n_text, base;
    int32_t guesses[MOST_GUESSES];
    size_t n_length; /* how many to guess next */
    pace pace;
    uint64_t pass_ns; /* of the last pass, with its guesses */
    size_t n_pass_guesses;
    size_t n_served; /* rows of it that were used */
    uint32_t n_guessed, n_came;
};

/* ---- guesses from the text ---- */

static size_t agreement(const int32_t *tokens, size_t end, size_t n_tokens) {
    size_t n = 0;
    while (n < end && tokens[end - 1 - n] == tokens[n_tokens - 1 - n]) n++;
    return n;
}

size_t spn_lookahead_find(const int32_t *tokens, size_t n_tokens, size_t n_match, size_t n_most,
                          int32_t *guesses) {
    size_t best = 0, longest = 0;
    size_t first = n_tokens > SEARCH_TOKENS ? n_tokens - SEARCH_TOKENS : 0;
    for (size_t end = n_tokens; end-- > first + 1;) {
        if (tokens[end - 1] != tokens[n_tokens - 1]) continue;
        size_t n = agreement(tokens, end, n_tokens);
        if (n <= longest) continue;
        longest = n;
        best = end;
        if (n >= 32) break;
    }
    if (longest < n_match) return 0;
    size_t period = n_tokens - best; /* what follows the match, again and again */
    for (size_t i = 0; i < n_most; i++)
        guesses[i] = i < period ? tokens[best + i] : guesses[i - period];
    return n_most;
}

/* ---- guesses from a smaller model ---- */

/* A failure of the smaller model is no failure: there are no guesses then. */
static size_t draft_guesses(spn_lookahead *la, size_t n_tokens, size_t n_most) {
    const spn_kernels *kernels = spn_kernels_get(SPN_CPU_LEVEL_DEFAULT);
    size_t n = 0;
    for (; n < n_most; n++) {
        if (spn_session_sync(la->draft, la->text, n_tokens + n, NULL, NULL) != SPN_STATUS_OK) break;
        const float *logits = spn_session_logits(la->draft);
        la->guesses[n] = la->text[n_tokens + n] = (int32_t)kernels->argmax(logits, la->n_vocab);
    }
    return n;
}

/* ---- whether it pays ---- */

static void mix(double *average, double now) {
    *average = *average == 0 ? now : 0.8 * *average + 0.2 * now;
}

/* The last pass is used up: what did a token of it cost? */
static void settle(spn_lookahead *la) {
    if (la->n_served == 0) return;
    double cost = 1e-9 * (double)la->pass_ns / (double)la->n_served;
    if (la->n_pass_guesses == 0) {
        mix(&la->pace.plain, cost);
        if (la->pace.rest > 0) la->pace.rest--;
        return;
    }
    mix(&la->pace.guessed, cost);
    la->n_came += (uint32_t)(la->n_served - 1);
    bool all = la->n_served - 1 == la->n_pass_guesses;
    if (all) la->n_length = spn_min_size(la->n_length * 2, MOST_GUESSES);
    if (la->n_served == 1) la->n_length = spn_max_size(la->n_length / 2, 1);
    bool pays = la->pace.plain == 0 || la->pace.guessed < la->pace.plain;
    if (pays || la->always) {
        la->pace.next_rest = 8;
        return;
    }
    la->pace.rest = la->pace.next_rest;
    la->pace.next_rest =
        la->pace.next_rest * 2 < LONGEST_REST ? la->pace.next_rest * 2 : LONGEST_REST;
    la->pace.guessed = 0; /* judged anew after the rest */
}

/* A plain step now and then, or its cost would never be known. */
static bool wants_guesses(const spn_lookahead *la) {
    if (!la->can_rewind) return false;
    return la->always || (la->pace.plain != 0 && la->pace.rest == 0);
}

static size_t make_guesses(spn_lookahead *la, size_t n_tokens, size_t n_most) {
    if (!wants_guesses(la)) return 0;
    n_most = spn_min_size(spn_min_size(n_most, la->n_length), MOST_GUESSES);
    size_t n = spn_lookahead_find(la->text, n_tokens, LEAST_MATCH, n_most, la->guesses);
    if (n == 0 && la->draft != NULL) n = draft_guesses(la, n_tokens, n_most);
    return n;
}

/* ---- passes ---- */

static spn_status keep_text(spn_lookahead *la, const int32_t *tokens, size_t n_tokens,
                            spn_error *err) {
    size_t need = n_tokens + MOST_GUESSES;
    if (need > la->cap) {
        int32_t *text = spn_realloc_array(la->text, need + need / 2, sizeof *text);
        if (text == NULL) return SPN_NO_MEMORY(err, "the text");
        la->text = text;
        la->cap = need + need / 2;
    }
    memcpy(la->text, tokens, n_tokens * sizeof *tokens);
    return SPN_STATUS_OK;
}

static spn_status new_pass(spn_lookahead *la, const int32_t *tokens, size_t n_tokens, size_t n_most,
                           spn_error *err) {
    SPN_TRY(keep_text(la, tokens, n_tokens, err));
    uint64_t start = spn_time_ns();
    size_t n = make_guesses(la, n_tokens, n_most - n_tokens);
    memcpy(la->text + n_tokens, la->guesses, n * sizeof *la->guesses);
    la->n_text = 0;
    SPN_TRY(spn_session_score(la->session, la->text, n_tokens + n, n_tokens - 1, la->rows, err));
    la->pass_ns = spn_time_ns() - start;
    la->n_text = n_tokens + n;
    la->base = n_tokens;
    la->n_pass_guesses = n;
    la->n_guessed += (uint32_t)n;
    la->n_served = 0;
    return SPN_STATUS_OK;
}

static bool has_row(const spn_lookahead *la, const int32_t *tokens, size_t n_tokens) {
    return n_tokens >= la->base && n_tokens <= la->n_text &&
           memcmp(tokens, la->text, n_tokens * sizeof *tokens) == 0;
}

spn_status spn_lookahead_logits(spn_lookahead *la, const int32_t *tokens, size_t n_tokens,
                                size_t n_most, const float **logits, spn_error *err) {
    if (!has_row(la, tokens, n_tokens)) {
        settle(la);
        la->n_served = 0;
        SPN_TRY(new_pass(la, tokens, n_tokens, spn_max_size(n_most, n_tokens), err));
    }
    la->n_served = n_tokens - la->base + 1;
    *logits = la->rows + (n_tokens - la->base) * la->n_vocab;
    return SPN_STATUS_OK;
}

void spn_lookahead_count(const spn_lookahead *la, uint32_t *n_guessed, uint32_t *n_came) {
    *n_guessed = la->n_guessed;
    *n_came = la->n_came;
    if (la->n_pass_guesses > 0 && la->n_served > 0) *n_came += (uint32_t)(la->n_served - 1);
}

/* ---- life ---- */

spn_status spn_lookahead_create(spn_lookahead **out, spn_session *session, uint32_t n_vocab,
                                spn_session *draft, bool always, spn_error *err) {
    spn_lookahead *la = spn_alloc_zeroed(1, sizeof *la);
    if (la == NULL) return SPN_NO_MEMORY(err, "the lookahead");
    la->session = session;
    la->draft = draft;
    la->n_vocab = n_vocab;
    la->always = always;
    la->can_rewind = spn_session_can_rewind(session, MOST_GUESSES + 1);
    la->n_length = FIRST_GUESSES;
    la->pace.next_rest = 8;
    la->rows = spn_alloc_array(MOST_GUESSES + 1, n_vocab * sizeof *la->rows);
    if (la->rows == NULL) {
        spn_lookahead_free(la);
        return SPN_NO_MEMORY(err, "the lookahead's logits");
    }
    *out = la;
    return SPN_STATUS_OK;
}

void spn_lookahead_free(spn_lookahead *la) {
    if (la == NULL) return;
    spn_free(la->rows);
    spn_free(la->text);
    spn_free(la);
}
