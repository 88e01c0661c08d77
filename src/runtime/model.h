/* model.h - the inside of a public model: its file, network and tokenizer.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SPN_MODEL_H
#define SPN_MODEL_H

#include "gguf/gguf.h"
#include "model/network.h"
#include "spn/engine.h"
#include "text/tokenizer.h"

struct spn_model {
    spn_gguf *gguf;
    spn_network *network;
    spn_tokenizer *tokenizer; /* NULL: the file has none */
    spn_model_options options;
    spn_model_info info;
    spn_arena arena; /* the info's texts */
    bool is_locked;  /* the file's pages no longer count as available memory */
};

/* spn_model_open in two steps, for those who look whether there is room before locking takes it:
 * `lock` does nothing unless the options ask for it. Errors of `lock`: INSUFFICIENT_MEMORY. */
spn_status spn_model_open_unlocked(spn_model **out, const char *path,
                                   const spn_model_options *options, spn_error *err);
spn_status spn_model_lock(spn_model *model, const char *path, spn_error *err);

/* A session's sizes, from options with defaults filled in. */
typedef struct spn_session_size {
    uint32_t n_ctx, n_batch;
    spn_type type_k, type_v;
    uint64_t kv_bytes, scratch_bytes;
} spn_session_size;
/* `n_texts`: how many caches of that size will stand side by side. Errors: INVALID_ARGUMENT (a
 * number or type that makes no sense), IO (no memory information). */
spn_status spn_session_measure(const spn_model *model, const spn_session_options *options,
                               uint32_t n_texts, spn_session_size *out, spn_error *err);
/* Whether so many caches of that size and one pass fit beside all that runs. Errors:
 * INSUFFICIENT_MEMORY, IO. */
spn_status spn_session_check_memory(const spn_session_size *size, uint32_t n_texts, spn_error *err);

/* What a pass of that size wants of the model; n_out is n_batch. */
spn_pass_options spn_session_pass_options(const spn_model *model, const spn_session_size *size,
                                          uint32_t n_threads);
/* INVALID_ARGUMENT, naming the first id outside the vocabulary. */
spn_status spn_model_check_tokens(const spn_model *model, const int32_t *tokens, size_t n_tokens,
                                  spn_error *err);

#endif
