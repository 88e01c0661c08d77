/* runtime_internal.h - the runtime's inside, for the files that make it up.
 * SPDX-License-Identifier: Apache-2.0
 *
 * runtime.c owns life and loading, prompt.c turns messages into tokens, generate.c turns tokens
 * into text, stream.c does that on a thread, embed.c turns text into vectors; memory.c says what it
 * takes. */
#ifndef SPN_RUNTIME_INTERNAL_H
#define SPN_RUNTIME_INTERNAL_H

#include <stdatomic.h>

#include "base/base.h"
#include "runtime/model.h"
#include "spn/runtime.h"
#include "text/template.h"
#include "text/tokenizer.h"

#define SPN_MAX_CONVERSATIONS 64

struct spn_runtime {
    spn_model *model;               /* NULL: nothing is loaded, and all below is empty */
    _Atomic(spn_session *) session; /* used last; read by spn_runtime_cancel on any thread */
    spn_session *sessions[SPN_MAX_CONVERSATIONS]; /* [n_sessions] */
    uint64_t last_used[SPN_MAX_CONVERSATIONS];    /* a counter; 0: never */
    uint32_t n_sessions, n_conversations;         /* there are, there may be */
    uint64_t n_uses;
    spn_session_options session_options;
    spn_model *draft_model; /* NULL: no draft model */
    spn_session *draft_session;
    const spn_tokenizer *tokenizer;   /* the model's */
    spn_chat_template *chat_template; /* NULL: the model has none */
    spn_progress_fn progress;         /* the caller's own, or NULL */
    void *progress_user;
    spn_memory_need memory;
    char note[320];    /* what of the configuration could not be met; "" */
    int32_t *breakers; /* [n_breakers] of DRY, made when first needed */
    size_t n_breakers;
    atomic_bool cancelled; /* since the running generation began */
    atomic_bool busy;      /* a call or a stream is using the model */
};

/* Takes the runtime for one call or stream, and clears an old cancel. Errors: BUSY; with
 * `wants_model` also MODEL_NOT_LOADED. */
spn_status spn_runtime_take(spn_runtime *runtime, bool wants_model, spn_error *err);
void spn_runtime_release(spn_runtime *runtime);

/* ---- memory.c ---- */

/* Adds what a model with `n_texts` sessions takes. */
void spn_memory_add(const spn_model *model, const spn_session_size *size, uint32_t n_texts,
                    spn_memory_need *need);
/* The sum, what is available, and what the process has taken before. Errors: IO. */
spn_status spn_memory_finish(spn_memory_need *need, uint64_t process, spn_error *err);
/* Errors: INSUFFICIENT_MEMORY, with all numbers and what would fit. */
spn_status spn_memory_check(const spn_model *model, const char *path, const spn_session_size *size,
                            uint32_t n_texts, const spn_memory_need *need, spn_error *err);

/* ---- conversations.c ---- */

/* A session more. Errors: as spn_session_create. */
spn_status spn_conversations_add(spn_runtime *runtime, spn_error *err);
/* The session for that prompt; there is at least one. */
spn_session *spn_conversations_choose(spn_runtime *runtime, const int32_t *tokens, size_t n_tokens);
void spn_conversations_free(spn_runtime *runtime);

/* ---- chat_template.c ---- */

/* From a template's source. BOS and EOS are those of the tokenizer. Errors: TEMPLATE, NO_MEMORY. */
spn_status spn_chat_template_create(spn_chat_template **out, const char *source, size_t n_bytes,
                                    const spn_tokenizer *tokenizer, spn_error *err);

/* ---- prompt.c ---- */

/* What a call asks for: a prompt, messages, or messages as JSON. */
typedef struct spn_question {
    const char *prompt;
    const spn_chat_message *messages;
    size_t n_messages;
    const char *messages_json;
    const spn_chat_options *options; /* NULL: defaults */
} spn_question;

/* Through the chat template, but for a prompt that is raw or meets a model without template. *text
 * is the caller's; *new_text tells whether the answer is a text of its own and not the prompt's
 * continuation. */
spn_status spn_prompt_render(const spn_runtime *runtime, const spn_question *question, char **text,
                             size_t *n_bytes, bool *new_text, spn_error *err);
/* A rendered or raw prompt to tokens: with BOS in front where the model wants it and the text has
 * none, never with EOS behind. */
spn_status spn_prompt_encode(const spn_runtime *runtime, const char *text, size_t n_bytes,
                             int32_t **tokens, size_t *n_tokens, spn_error *err);

/* ---- generate.c ---- */

/* Errors: INVALID_ARGUMENT (a stop sequence that is empty). NULL is fine. */
spn_status spn_chat_options_check(const spn_chat_options *options, spn_error *err);

/* Generates behind the prompt's tokens. `new_text`: the answer is a text of its own, not the
 * prompt's continuation. */
spn_status spn_generate(spn_runtime *runtime, const int32_t *prompt, size_t n_prompt, bool new_text,
                        const spn_chat_options *options, spn_chat_response *response,
                        spn_error *err);

/* ---- stream.c ---- */

/* Takes `prompt` in any case, and the taken runtime on success. */
spn_status spn_stream_start(spn_runtime *runtime, int32_t *prompt, size_t n_prompt, bool new_text,
                            const spn_chat_options *options, spn_stream **out, spn_error *err);

#endif
