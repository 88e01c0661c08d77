/* executor.h - several models within a memory budget: loaded when asked for, kept, let go.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     spn_executor *executor;
 *     spn_executor_create(&executor, NULL, &err);
 *     spn_executor_infer(executor, "models/small.gguf", "Hello", NULL, &response, &err);
 *     spn_executor_infer(executor, "models/large.gguf", "Hello", NULL, &response, &err);
 *     spn_executor_free(executor);
 *
 * A model is loaded at the first call that names it and stays for a while after the last. When a
 * new one does not fit beside the others, those that nobody uses go, the least recently used first;
 * a model in use never goes: the call waits for it. One call at a time uses a model; calls for the
 * same model wait in the order they came, calls for different models run side by side.
 *
 * This is the workflow engine's ModelExecutor. A spn_executor is internally locked: any function
 * may be called from any thread.
 */
#ifndef SPN_EXECUTOR_H
#define SPN_EXECUTOR_H

#include "spn/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct spn_executor spn_executor;

/* Finds the file of a reference. *path is made with the library's allocator (spn_storage_locate
 * does so). May be called on several threads at once. */
typedef spn_status (*spn_locate_fn)(const char *reference, char **path, void *user, spn_error *err);
/* One for models in the store: `user` is the spn_storage. Only in libraries built with the store.
 */
SPN_API spn_status spn_executor_locate(const char *reference, char **path, void *user,
                                       spn_error *err);

/* Zero means default for every field; NULL means all defaults. */
typedef struct spn_executor_options {
    uint64_t memory_budget; /* bytes of all models: weights, caches when full, room to work; 0: four
                               fifths of what is available now */
    uint32_t max_models;    /* 0: as many as fit */
    spn_locate_fn locate;   /* NULL: references are paths */
    void *locate_user;
    spn_load_config load; /* for models loaded on demand; texts are copied, and progress callbacks
                             are called on the thread that asks */
} spn_executor_options;

/* Errors: NO_MEMORY, PROCESS (no thread), IO (no memory information). */
SPN_API spn_status spn_executor_create(spn_executor **out, const spn_executor_options *options,
                                       spn_error *err);
/* Unloads everything. No call may be under way and no lease open. NULL is fine. */
SPN_API void spn_executor_free(spn_executor *executor);

/* ---- asking ---- */

/* As the functions of runtime.h, for the model of that reference. Errors: theirs and those of
 * spn_executor_acquire. */
SPN_API spn_status spn_executor_infer(spn_executor *executor, const char *reference,
                                      const char *prompt, const spn_chat_options *options,
                                      spn_chat_response *response, spn_error *err);
SPN_API spn_status spn_executor_chat(spn_executor *executor, const char *reference,
                                     const spn_chat_message *messages, size_t n_messages,
                                     const spn_chat_options *options, spn_chat_response *response,
                                     spn_error *err);
SPN_API spn_status spn_executor_embed(spn_executor *executor, const char *reference,
                                      const char *text, const spn_embed_options *options,
                                      spn_embedding_response *response, spn_error *err);
SPN_API spn_status spn_executor_embed_batch(spn_executor *executor, const char *reference,
                                            const char *const *texts, size_t n_texts,
                                            const spn_embed_options *options,
                                            spn_embedding_response *responses, spn_error *err);

/* A lease: the model's runtime, for this caller alone until it is released; streams, cancelling and
 * all else of runtime.h work on it, but do not load or unload it. Waits up to `timeout_ms` (-1: for
 * ever) for other users of the model and for memory; a load that has begun is finished in any case.
 * Errors: TIMEOUT, INSUFFICIENT_MEMORY (the model does not fit the budget even alone; with the
 * numbers), and those of spn_runtime_load and of `locate`. */
SPN_API spn_status spn_executor_acquire(spn_executor *executor, const char *reference,
                                        int32_t timeout_ms, spn_runtime **runtime, spn_error *err);
/* Ends the lease; its streams must be freed before. A runtime that is no lease is left alone. */
SPN_API void spn_executor_release(spn_executor *executor, spn_runtime *runtime);

/* ---- managing ---- */

/* Loads a model before it is asked for, with a configuration of its own (NULL: the executor's).
 * Errors: ALREADY_LOADED, and those of spn_executor_acquire. */
SPN_API spn_status spn_executor_load(spn_executor *executor, const char *reference,
                                     const spn_load_config *config, spn_error *err);
/* Lets a model go: now, or when its present user is done. Errors: MODEL_NOT_LOADED. */
SPN_API spn_status spn_executor_unload(spn_executor *executor, const char *reference,
                                       spn_error *err);
/* Hot swap: loads the file at `path` and makes `reference` mean it from then on. A call under way
 * goes on with the old model, which goes when that call is done; nothing is dropped. Errors: those
 * of spn_executor_acquire; the old model then stays. */
SPN_API spn_status spn_executor_replace(spn_executor *executor, const char *reference,
                                        const char *path, const spn_load_config *config,
                                        spn_error *err);

/* The seed's RunningModel. */
typedef struct spn_running_model {
    char *reference;
    char *path;
    char *architecture;
    char *quantization;
    char *note;            /* as spn_runtime_note */
    uint64_t memory_bytes; /* what of the budget it takes */
    uint32_t n_ctx;
    uint32_t n_waiting; /* calls that wait for it */
    bool is_in_use;
    bool is_retired;       /* replaced or to be unloaded; goes when its user is done */
    int64_t expires_in_ms; /* -1: never; 0 while in use */
} spn_running_model;

/* The loaded models, the most recently used first. *models [*n] is the caller's, free with
 * spn_running_models_free. Errors: NO_MEMORY. */
SPN_API spn_status spn_executor_running(spn_executor *executor, spn_running_model **models,
                                        size_t *n, spn_error *err);
/* NULL is fine. */
SPN_API void spn_running_models_free(spn_running_model *models, size_t n);
/* The budget and what of it is taken, in bytes. */
SPN_API void spn_executor_memory(spn_executor *executor, uint64_t *budget, uint64_t *used);

#ifdef __cplusplus
}
#endif
#endif
