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

/* Holds at most one model and the caches of its conversations. One thread at a time, except for
 * spn_runtime_cancel. */
typedef struct spn_runtime spn_runtime;

/* Zero means default for every field; NULL means all defaults. */
typedef struct spn_load_config {
    spn_model_options model;
    spn_session_options session;
    const char *chat_template; /* replaces the model's own; copied. NULL: the model's */
    const char *draft_path;   /* a smaller model with the same vocabulary, to guess tokens ahead for
                                 this one to check (spn_lookahead_mode); NULL: none */
    int32_t n_gpu_layers;     /* layers to run on a GPU; -1: all. What cannot be met is told by
                                 spn_runtime_note, and the processor does the work */
    uint32_t n_conversations; /* texts whose caches are kept side by side, at most 64: a prompt that
                                 goes on with any of them reads only what is new. Each takes a
                                 session's memory as it fills. 0: 1 */
    int64_t keep_alive_ms; /* for spn_executor: how long the model stays when nobody uses it; 0: 5
                              minutes, -1: for ever, 1: not at all */
} spn_load_config;

typedef struct spn_chat_message {
    const char *role;    /* "system", "user", "assistant" ... */
    const char *content; /* UTF-8 */
} spn_chat_message;

/* A piece of generated text as it comes: whole UTF-8 characters, no NUL at the end, never part of
 * a stop sequence. Returning false ends the generation (finish reason CANCELLED). Called on the
 * thread that called infer; it must not call the runtime, except spn_runtime_cancel. */
typedef bool (*spn_text_fn)(const char *text, size_t n_bytes, void *user);

/* Guessing the next tokens from the text so far (or a draft model), and checking the guesses in one
 * pass. The answer is the same, bit for bit; only the time differs. */
typedef enum spn_lookahead_mode {
    SPN_LOOKAHEAD_MODE_DEFAULT, /* on while it is measured to pay */
    SPN_LOOKAHEAD_MODE_OFF,
    SPN_LOOKAHEAD_MODE_ALWAYS,
} spn_lookahead_mode;

/* Zero means default for every field; NULL means all defaults. */
typedef struct spn_chat_options {
    spn_sampler_options sampler;
    uint32_t max_tokens; /* most tokens to generate; 0: as many as the context holds, and no more
                            than 512 that only repeat one phrase over and over (at least 4 times;
                            not with ignore_end) */
    const char *const *stop; /* texts that end the generation; not part of the answer */
    size_t n_stop;
    bool raw;        /* prompt only: taken as it is, without the chat template */
    bool ignore_end; /* go on past end-of-text tokens, which give no text */

    /* When the context is full, go on without the older half of what stands behind the first n_keep
     * tokens, instead of ending with LENGTH. What stays is read again, so the text goes on as if it
     * had been the prompt. The model no longer knows what was dropped: n_dropped_tokens tells. A
     * prompt that does not fit is an error in any case. */
    bool context_shift;
    uint32_t n_keep; /* at most half of the context (INVALID_ARGUMENT); 0: the prompt, at most a
                        quarter of the context */
    spn_lookahead_mode lookahead;
    spn_text_fn on_text; /* NULL: no streaming */
    void *on_text_user;
    const char *tools_json;     /* for the chat template: a JSON array of tools; NULL: none */
    const char *variables_json; /* and a JSON object of variables, {"enable_thinking": false} */
} spn_chat_options;

/* Start with {0}; free with spn_chat_response_clear. */
typedef struct spn_chat_response {
    char *content; /* UTF-8 where the model's bytes are, NUL-terminated */
    size_t content_bytes;
    spn_finish_reason finish_reason;
    uint32_t n_prompt_tokens;
    uint32_t n_cached_tokens; /* of the prompt, found in the cache */
    uint32_t n_completion_tokens;
    uint32_t n_guessed_tokens;  /* evaluated ahead, see spn_lookahead_mode */
    uint32_t n_came_tokens;     /* of them, those that the sampler then drew */
    uint32_t n_dropped_tokens;  /* of prompt and answer, by context_shift */
    uint32_t n_repeated_tokens; /* the last ones of the answer that only repeat one phrase over and
                                   over, at least 4 times; 0: it did not end so */
    uint32_t n_ctx;
    double prompt_s;     /* seconds spent on the prompt */
    double generation_s; /* seconds spent on the tokens after the first */
    uint64_t seed;       /* the seed that was used */
} spn_chat_response;

SPN_API void spn_chat_response_clear(spn_chat_response *response); /* NULL is fine */

/* Errors: NO_MEMORY. */
SPN_API spn_status spn_runtime_create(spn_runtime **out, spn_error *err);
SPN_API void spn_runtime_free(spn_runtime *runtime); /* unloads; NULL is fine */

/* Loads the GGUF file at `path`. What it will take is compared with what is available before any
 * weight is read. Errors: ALREADY_LOADED (unload first), INVALID_CONFIG (the draft model has
 * another vocabulary), INSUFFICIENT_MEMORY (all numbers, and what would fit), BUSY, and all of
 * spn_model_open and spn_session_create; nothing is loaded then. */
SPN_API spn_status spn_runtime_load(spn_runtime *runtime, const char *path,
                                    const spn_load_config *config, spn_error *err);
/* The same for any reference to a model that is in the store (storage.h; it is not fetched).
 * Errors: MODEL_NOT_FOUND too. Only in libraries built with the store. */
struct spn_storage;
SPN_API spn_status spn_runtime_load_reference(spn_runtime *runtime, struct spn_storage *storage,
                                              const char *reference, const spn_load_config *config,
                                              spn_error *err);
/* Errors: MODEL_NOT_LOADED, BUSY (a stream is running). */
SPN_API spn_status spn_runtime_unload(spn_runtime *runtime, spn_error *err);
SPN_API bool spn_runtime_is_loaded(const spn_runtime *runtime); /* a model */
/* NULL when nothing is loaded; lives until unload. */
SPN_API const spn_model_info *spn_runtime_model_info(const spn_runtime *runtime);
/* The model itself, for engine.h: tokenizer, sessions and schedulers of one's own. NULL and life as
 * above. */
SPN_API const spn_model *spn_runtime_model(const spn_runtime *runtime);
/* What of the load configuration could not be met, in a sentence; "" when all was met or nothing is
 * loaded. Lives until unload. */
SPN_API const char *spn_runtime_note(const spn_runtime *runtime);
/* What spn_runtime_load will take: with draft model and all conversations. Reads metadata only.
 * NULL: the default configuration. Errors: as spn_estimate_memory. */
SPN_API spn_status spn_runtime_estimate(const char *path, const spn_load_config *config,
                                        spn_memory_need *out, spn_error *err);
/* The same for the loaded model, as it was when it was loaded. False when nothing is loaded. */
SPN_API bool spn_runtime_memory(const spn_runtime *runtime, spn_memory_need *out);
/* The sizes of the session that was used last. False (and *out untouched) when nothing is loaded.
 */
SPN_API bool spn_runtime_session_info(const spn_runtime *runtime, spn_session_info *out);

/* spn_session_save and spn_session_load (engine.h) of the runtime's session: the next call whose
 * prompt begins like the saved text does not read that part again. Errors: MODEL_NOT_LOADED, BUSY,
 * and theirs; after a failed load nothing is cached, and the runtime is fine. */
SPN_API spn_status spn_runtime_save_session(spn_runtime *runtime, const char *path, spn_error *err);
SPN_API spn_status spn_runtime_load_session(spn_runtime *runtime, const char *path, spn_error *err);

/* Generates the answer to `prompt` (NUL-terminated; one user message through the chat template,
 * where the model has one and `raw` is off; else the text itself, continued). On success *response
 * is filled and the caller's. On failure it is untouched; a cancelled generation is a success with
 * what came so far.
 * Errors: MODEL_NOT_LOADED, BUSY (a stream is running), INVALID_ARGUMENT, TEMPLATE, TOKENIZER,
 * CONTEXT_FULL (the prompt does not fit; both numbers), INFERENCE_FAILED, NO_MEMORY. */
SPN_API spn_status spn_runtime_infer(spn_runtime *runtime, const char *prompt,
                                     const spn_chat_options *options, spn_chat_response *response,
                                     spn_error *err);
/* The same for a list of messages, through the chat template; TEMPLATE when the model has none. */
SPN_API spn_status spn_runtime_chat(spn_runtime *runtime, const spn_chat_message *messages,
                                    size_t n_messages, const spn_chat_options *options,
                                    spn_chat_response *response, spn_error *err);
/* The same for messages as a JSON array of objects, which may hold more than role and content
 * (tool calls, parts ...): whatever the template knows. Errors: JSON too. */
SPN_API spn_status spn_runtime_chat_json(spn_runtime *runtime, const char *messages_json,
                                         const spn_chat_options *options,
                                         spn_chat_response *response, spn_error *err);
/* Renders the prompt that spn_runtime_chat would evaluate. *text is the caller's, free with
 * spn_free. */
SPN_API spn_status spn_runtime_render(const spn_runtime *runtime, const spn_chat_message *messages,
                                      size_t n_messages, char **text, size_t *n_bytes,
                                      spn_error *err);

/* Ends a running infer or chat within one token, and within about 100 ms of a long prompt; without
 * a running one it does nothing. From any thread, also from a signal handler, but not while the
 * runtime is unloaded or freed. */
SPN_API void spn_runtime_cancel(spn_runtime *runtime);

/* ---- streams: the answer from a thread of its own ----
 *
 *     spn_runtime_infer_stream(runtime, "Tell me a tale", NULL, &stream, &err);
 *     do {
 *         spn_stream_next(stream, -1, &chunk, &err);
 *         fwrite(chunk.text, 1, chunk.n_bytes, stdout);
 *     } while (!chunk.is_end);
 *     spn_stream_free(stream);
 *
 * The text waits in a queue of bounded size until it is read: a slow reader slows the generation,
 * which uses no processor while it waits. Until the stream is freed, the runtime is the stream's:
 * other calls that generate, load or unload give BUSY. */
typedef struct spn_stream spn_stream;

/* A piece of the answer: whole UTF-8 characters, never part of a stop sequence. */
typedef struct spn_stream_chunk {
    const char *text; /* no NUL at the end; lives until the next call on the stream */
    size_t n_bytes;
    bool is_end; /* there is no more; n_bytes is 0 */
} spn_stream_chunk;

/* As spn_runtime_infer and spn_runtime_chat, but they return when the prompt is ready for
 * evaluation. Everything in `options` is copied. With options->on_text the pieces go there, on the
 * stream's thread, and spn_stream_next gives only the end; on_text may call spn_stream_cancel.
 * Errors: as there, and BUSY, PROCESS (no thread). *stream is the caller's, free with
 * spn_stream_free. */
SPN_API spn_status spn_runtime_infer_stream(spn_runtime *runtime, const char *prompt,
                                            const spn_chat_options *options, spn_stream **stream,
                                            spn_error *err);
SPN_API spn_status spn_runtime_chat_stream(spn_runtime *runtime, const spn_chat_message *messages,
                                           size_t n_messages, const spn_chat_options *options,
                                           spn_stream **stream, spn_error *err);

SPN_API spn_status spn_runtime_chat_json_stream(spn_runtime *runtime, const char *messages_json,
                                                const spn_chat_options *options,
                                                spn_stream **stream, spn_error *err);

/* The text that has come since the last call; waits for some up to `timeout_ms` (-1: for ever, 0:
 * not at all). Once the end was given, it is given again. One thread at a time.
 * Errors: TIMEOUT (nothing has come; try again), and, behind all text, the generation's own. */
SPN_API spn_status spn_stream_next(spn_stream *stream, int32_t timeout_ms, spn_stream_chunk *chunk,
                                   spn_error *err);
/* A file descriptor that poll() finds readable while spn_stream_next would not have to wait: for
 * event loops. It belongs to the stream; do not read from it. -1 where the system has none left,
 * and on Windows. */
SPN_API int spn_stream_descriptor(spn_stream *stream);
/* Ends the generation soon, as spn_runtime_cancel; what came stays readable. From any thread. */
SPN_API void spn_stream_cancel(spn_stream *stream);
/* After the end: the counts, times and the whole text. *response is filled and the caller's.
 * Errors: BUSY (the end has not come), and the generation's own. */
SPN_API spn_status spn_stream_response(spn_stream *stream, spn_chat_response *response,
                                       spn_error *err);
/* Cancels what still runs, waits for its end (about 100 ms at most) and hands the runtime back.
 * NULL is fine. Not from on_text. */
SPN_API void spn_stream_free(spn_stream *stream);

/* ---- embeddings ---- */

/* Zero means default for every field; NULL means all defaults. */
typedef struct spn_embed_options {
    spn_pooling_type pooling;
    bool no_normalize; /* leave the length as it is; default: length 1 */
    bool truncate;     /* cut a text that does not fit; default: CONTEXT_FULL, never silently */
} spn_embed_options;

/* Start with {0}; free with spn_embedding_response_clear. */
typedef struct spn_embedding_response {
    float *embedding; /* [dimension] */
    uint32_t dimension;
    uint32_t n_prompt_tokens; /* evaluated */
    bool truncated;
    double seconds; /* of the whole call */
} spn_embedding_response;

SPN_API void spn_embedding_response_clear(spn_embedding_response *response); /* NULL is fine */

/* The embedding of a text (NUL-terminated), with the tokens that begin and end a text where the
 * model wants them. Models that were trained with task prefixes ("query: ", "search_document: ")
 * want them in the text. On success *response is filled and the caller's.
 * Errors: MODEL_NOT_LOADED, BUSY, INVALID_ARGUMENT, TOKENIZER, CONTEXT_FULL (both numbers),
 * CANCELLED, INFERENCE_FAILED, NO_MEMORY. */
SPN_API spn_status spn_runtime_embed(spn_runtime *runtime, const char *text,
                                     const spn_embed_options *options,
                                     spn_embedding_response *response, spn_error *err);
/* The same for texts[n_texts], each bit for bit as alone; short ones share passes and take much
 * less time than one by one (engine.h, spn_session_embed_batch). responses[n_texts] are filled and
 * the caller's on success, each to be cleared; on failure all are untouched. Errors as for one
 * text; err->item tells which. n_texts may be 0. */
SPN_API spn_status spn_runtime_embed_batch(spn_runtime *runtime, const char *const *texts,
                                           size_t n_texts, const spn_embed_options *options,
                                           spn_embedding_response *responses, spn_error *err);
/* Cosine of the angle between two vectors [n]; 0 when one has no length. */
SPN_API double spn_cosine_similarity(const float *a, const float *b, size_t n);

#ifdef __cplusplus
}
#endif
#endif
