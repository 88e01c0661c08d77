/* runtime.h - text in, text out: load a model, ask it, get its answer.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     spn_runtime *runtime;
 *     spn_chat_response response = {0};
 *     spn_runtime_create(&runtime, &err);
 *     spn_runtime_load(runtime, "model.gguf", NULL, &err);
 *     spn_runtime_infer(runtime, "Once upon a time", NULL, &response, &err);
 *     puts(response.content);
 *     spn_chat_response_clear(&response);
 *     spn_runtime_free(runtime);
 */
#ifndef SPN_RUNTIME_H
#define SPN_RUNTIME_H

#include "spn/engine.h"
#include "spn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Holds at most one model and one conversation's cache. One thread at a time, except for
 * spn_runtime_cancel. */
typedef struct spn_runtime spn_runtime;

/* Zero means default for every field; NULL means all defaults. */
typedef struct spn_load_config {
    spn_model_options model;
    spn_session_options session;
    const char *chat_template; /* replaces the model's own; copied. NULL: the model's */
} spn_load_config;

typedef struct spn_chat_message {
    const char *role;    /* "system", "user", "assistant" ... */
    const char *content; /* UTF-8 */
} spn_chat_message;

/* A piece of generated text as it comes: whole UTF-8 characters, no NUL at the end, never part of
 * a stop sequence. Returning false ends the generation (finish reason CANCELLED). Called on the
 * thread that called infer; it must not call the runtime, except spn_runtime_cancel. */
typedef bool (*spn_text_fn)(const char *text, size_t n_bytes, void *user);

/* Zero means default for every field; NULL means all defaults. */
typedef struct spn_chat_options {
    spn_sampler_options sampler;
    uint32_t max_tokens;     /* most tokens to generate; 0: as many as the context holds */
    const char *const *stop; /* texts that end the generation; not part of the answer */
    size_t n_stop;
    bool raw;            /* prompt only: taken as it is, without the chat template */
    bool ignore_end;     /* go on past end-of-text tokens, which give no text */
    spn_text_fn on_text; /* NULL: no streaming */
    void *on_text_user;
} spn_chat_options;

typedef enum spn_finish_reason {
    SPN_FINISH_REASON_STOP,   /* the model ended its text, or a stop sequence came */
    SPN_FINISH_REASON_LENGTH, /* max_tokens, or the context is full */
    SPN_FINISH_REASON_CANCELLED,
} spn_finish_reason;
/* "stop", "length", "cancelled"; "unknown" for other numbers. */
SPN_API const char *spn_finish_reason_name(spn_finish_reason reason);

/* Start with {0}; free with spn_chat_response_clear. */
typedef struct spn_chat_response {
    char *content; /* UTF-8 where the model's bytes are, NUL-terminated */
    size_t content_bytes;
    spn_finish_reason finish_reason;
    uint32_t n_prompt_tokens;
    uint32_t n_cached_tokens; /* of the prompt, found in the cache */
    uint32_t n_completion_tokens;
    uint32_t n_ctx;
    double prompt_s;     /* seconds spent on the prompt */
    double generation_s; /* seconds spent on the tokens after the first */
    uint64_t seed;       /* the seed that was used */
} spn_chat_response;

SPN_API void spn_chat_response_clear(spn_chat_response *response);

/* Errors: NO_MEMORY. */
SPN_API spn_status spn_runtime_create(spn_runtime **out, spn_error *err);
SPN_API void spn_runtime_free(spn_runtime *runtime); /* unloads; NULL is fine */

/* Loads the GGUF file at `path`. Errors: ALREADY_LOADED (unload first), and all of spn_model_open
 * and spn_session_create; nothing is loaded then. */
SPN_API spn_status spn_runtime_load(spn_runtime *runtime, const char *path,
                                    const spn_load_config *config, spn_error *err);
/* Errors: MODEL_NOT_LOADED. */
SPN_API spn_status spn_runtime_unload(spn_runtime *runtime, spn_error *err);
SPN_API bool spn_runtime_is_loaded(const spn_runtime *runtime);
/* NULL when nothing is loaded; lives until unload. */
SPN_API const spn_model_info *spn_runtime_model_info(const spn_runtime *runtime);
SPN_API const spn_model *spn_runtime_model(const spn_runtime *runtime);
/* False when nothing is loaded. */
SPN_API bool spn_runtime_session_info(const spn_runtime *runtime, spn_session_info *out);

/* Generates the answer to `prompt` (NUL-terminated; one user message through the chat template,
 * where the model has one and `raw` is off; else the text itself, continued). On success *response
 * is filled and the caller's. On failure it is untouched; a cancelled generation is a success with
 * what came so far.
 * Errors: MODEL_NOT_LOADED, INVALID_ARGUMENT, TEMPLATE, TOKENIZER, CONTEXT_FULL (the prompt does
 * not fit; both numbers), INFERENCE_FAILED, NO_MEMORY. */
SPN_API spn_status spn_runtime_infer(spn_runtime *runtime, const char *prompt,
                                     const spn_chat_options *options, spn_chat_response *response,
                                     spn_error *err);
/* The same for a list of messages, through the chat template; TEMPLATE when the model has none. */
SPN_API spn_status spn_runtime_chat(spn_runtime *runtime, const spn_chat_message *messages,
                                    size_t n_messages, const spn_chat_options *options,
                                    spn_chat_response *response, spn_error *err);
/* Renders the prompt that spn_runtime_chat would evaluate. *text is the caller's, free with
 * spn_free. */
SPN_API spn_status spn_runtime_render(const spn_runtime *runtime, const spn_chat_message *messages,
                                      size_t n_messages, char **text, size_t *n_bytes,
                                      spn_error *err);

/* Ends a running infer or chat within one token, or one batch of a long prompt; without a running
 * one it does nothing. From any thread, also from a signal handler. */
SPN_API void spn_runtime_cancel(spn_runtime *runtime);

#ifdef __cplusplus
}
#endif
#endif
