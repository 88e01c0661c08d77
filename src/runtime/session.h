/* session.h - a session's inside, for the files that make it up.
 * SPDX-License-Identifier: Apache-2.0
 *
 * session.c evaluates, session_embed.c pools what was evaluated into vectors, session_file.c saves
 * and restores. */
#ifndef SPN_SESSION_H
#define SPN_SESSION_H

#include "runtime/model.h"

typedef struct spn_embed_room spn_embed_room; /* session_embed.c */

/* tokens[0 .. n_cached) is what the cache holds. */
struct spn_session {
    const spn_model *model;
    spn_session_options options;
    spn_session_size size;
    spn_pass *pass;
    spn_kv_cache *kv;
    int32_t *tokens;    /* [n_ctx] */
    int32_t *positions; /* [n_batch] */
    uint32_t *out_rows; /* [n_batch] */
    float *logits;      /* [n_vocab] */
    uint32_t n_cached;
    bool has_logits; /* of the last cached token */
    atomic_int cancel;
    spn_backend_profile profile;
    spn_embed_room *embed_room; /* NULL: until short texts are embedded */
};

/* What an evaluation is to give. */
typedef struct spn_wanted_rows {
    size_t first; /* logits behind tokens first .. n, [n - first][n_vocab] */
    float *out;
    bool hidden; /* hidden states instead, [n - first][n_embd] */
    /* Tokens of the whole call, for its progress; n_total 0: this evaluation is the call. */
    size_t n_done, n_total;
} spn_wanted_rows;

/* Whether the tokens can be evaluated. Errors: INVALID_ARGUMENT, CONTEXT_FULL. */
spn_status spn_session_check(const spn_session *session, const int32_t *tokens, size_t n_tokens,
                             spn_error *err);
/* Evaluates all of `tokens` behind the cached ones, which they begin with. Errors: CANCELLED,
 * NO_MEMORY; what was evaluated before stays cached. */
spn_status spn_session_evaluate(spn_session *session, const int32_t *tokens, size_t n_tokens,
                                const spn_wanted_rows *wanted, spn_error *err);
/* Tells the caller's progress function; false: it cancels. */
bool spn_session_report(const spn_session *session, size_t n_done, size_t n_total);
void spn_embed_room_free(spn_embed_room *room);

#endif
