/* session.h - a session's inside, for the files that make it up.
 * SPDX-License-Identifier: Apache-2.0
 *
 * session.c evaluates, session_file.c saves and restores. */
#ifndef SPN_SESSION_H
#define SPN_SESSION_H

#include "runtime/model.h"

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
};

#endif
