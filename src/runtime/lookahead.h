/* lookahead.h - guesses at the next tokens, checked in one pass.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Reading the weights costs nearly the same for one token as for a few. So tokens that are likely
 * to come are evaluated together with the last one; a sampler then finds, row by row, whether they
 * did come. Leviathan et al. 2022, arXiv:2211.17192, without its acceptance rule: a token counts as
 * guessed only when the sampler itself draws it, so the text is exactly that of plain decoding.
 *
 * Guesses come from the text so far (its last tokens, found earlier: what followed them then), or
 * from a smaller model with the same vocabulary. Both are timed against plain steps and rest while
 * they do not pay. */
#ifndef SPN_LOOKAHEAD_H
#define SPN_LOOKAHEAD_H

#include "base/base.h"
#include "spn/engine.h"

#define SPN_LOOKAHEAD_MOST 16 /* rows of logits that it holds */

/* Whether the session can drop its last n tokens without starting afresh. */
bool spn_session_can_rewind(const spn_session *session, uint32_t n);

typedef struct spn_lookahead spn_lookahead; /* one thread at a time */

/* `draft` is a session of the smaller model, or NULL. Both sessions are borrowed and have n_vocab
 * tokens. Errors: NO_MEMORY. */
spn_status spn_lookahead_create(spn_lookahead **out, spn_session *session, uint32_t n_vocab,
                                spn_session *draft, bool always, spn_error *err);
void spn_lookahead_free(spn_lookahead *la);

/* The logits behind tokens[0 .. n_tokens), [n_vocab], valid until the next call: those of a checked
 * guess where it came true, else of a new pass. n_most: how long the text can become at most.
 * Errors as spn_session_sync. */
spn_status spn_lookahead_logits(spn_lookahead *la, const int32_t *tokens, size_t n_tokens,
                                size_t n_most, const float **logits, spn_error *err);

/* How many tokens were guessed and evaluated so far, and how many of them came. */
void spn_lookahead_count(const spn_lookahead *la, uint32_t *n_guessed, uint32_t *n_came);

/* Guesses from the text itself: the longest run of its last tokens, at least `n_match`, that stands
 * in it earlier, and what followed the latest such place, n_most tokens: where the text ends before
 * them, as if it went on repeating what followed. Returns n_most, or 0 without such a run. */
size_t spn_lookahead_find(const int32_t *tokens, size_t n_tokens, size_t n_match, size_t n_most,
                          int32_t *guesses);

#endif
