/* runtime.c - load a model, ask it, unload it. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "platform/os.h"
#include "runtime/runtime_internal.h"

const char *spn_finish_reason_name(spn_finish_reason reason) {
    switch (reason) {
    case SPN_FINISH_REASON_STOP:
        return "stop";
    case SPN_FINISH_REASON_LENGTH:
        return "length";
    case SPN_FINISH_REASON_CANCELLED:
        return "cancelled";
    }
    return "unknown";
}

void spn_chat_response_clear(spn_chat_response *response) {
    if (response == NULL) return;
    spn_free(response->content);
    *response = (spn_chat_response){0};
}

/* ---- life ---- */

spn_status spn_runtime_create(spn_runtime **out, spn_error *err) {
    spn_runtime *runtime = spn_alloc_zeroed(1, sizeof *runtime);
    if (runtime == NULL) return SPN_NO_MEMORY(err, "a runtime");
    atomic_init(&runtime->session, NULL);
    atomic_init(&runtime->cancelled, false);
    atomic_init(&runtime->busy, false);
    *out = runtime;
    return SPN_STATUS_OK;
}

static void drop(spn_runtime *runtime) {
    spn_conversations_free(runtime);
    spn_session_free(runtime->draft_session);
    spn_model_close(runtime->draft_model);
    runtime->draft_session = NULL;
    runtime->draft_model = NULL;
    spn_chat_template_free(runtime->chat_template);
    spn_free(runtime->breakers);
    spn_model_close(runtime->model);
    runtime->chat_template = NULL;
    runtime->breakers = NULL;
    runtime->n_breakers = 0;
    runtime->tokenizer = NULL;
    runtime->model = NULL;
    runtime->note[0] = '\0';
}

void spn_runtime_free(spn_runtime *runtime) {
    if (runtime == NULL) return;
    drop(runtime);
    spn_free(runtime);
}

/* ---- one user at a time ---- */

spn_status spn_runtime_take(spn_runtime *runtime, bool wants_model, spn_error *err) {
    if (atomic_exchange(&runtime->busy, true))
        return SPN_FAIL(err, BUSY,
                        "the runtime is busy; free its stream first, or use another "
                        "runtime");
    if (wants_model && runtime->model == NULL) {
        atomic_store(&runtime->busy, false);
        return SPN_FAIL(err, MODEL_NOT_LOADED, "no model is loaded; call spn_runtime_load first");
    }
    atomic_store(&runtime->cancelled, false);
    return SPN_STATUS_OK;
}

void spn_runtime_release(spn_runtime *runtime) { atomic_store(&runtime->busy, false); }

/* ---- loading ---- */

static spn_status parse_template(spn_runtime *runtime, const char *own, spn_error *err) {
    spn_gguf_str source = {own, own ? strlen(own) : 0};
    if (own == NULL)
        SPN_TRY(
            spn_gguf_get_str(runtime->model->gguf, "tokenizer.chat_template", false, &source, err));
    if (source.data == NULL) return SPN_STATUS_OK;
    return spn_chat_template_create(&runtime->chat_template, source.data, source.len,
                                    runtime->tokenizer, err);
}

/* Between batches: a cancel that came before the session could see it, then the caller's own. */
static bool on_progress(size_t n_done, size_t n_total, void *user) {
    spn_runtime *runtime = user;
    if (atomic_load(&runtime->cancelled)) return false;
    return runtime->progress == NULL || runtime->progress(n_done, n_total, runtime->progress_user);
}

static spn_status open_draft(spn_runtime *runtime, const spn_load_config *config, spn_error *err) {
    if (config->draft_path == NULL) return SPN_STATUS_OK;
    SPN_TRY(
        spn_model_open_unlocked(&runtime->draft_model, config->draft_path, &config->model, err));
    uint32_t n_draft = spn_model_describe(runtime->draft_model)->n_vocab;
    uint32_t n_vocab = spn_model_describe(runtime->model)->n_vocab;
    if (n_draft == n_vocab) return SPN_STATUS_OK;
    return SPN_FAIL(err, INVALID_CONFIG,
                    "the draft model %s has %u tokens and the model %u: they must share one "
                    "vocabulary",
                    config->draft_path, n_draft, n_vocab);
}

/* The draft model sees the same text, so it gets the same context. */
static spn_session_options draft_options(const spn_runtime *runtime) {
    const spn_session_options *own = &runtime->session_options;
    return (spn_session_options){.n_ctx = own->n_ctx,
                                 .n_threads = own->n_threads,
                                 .skip_memory_check = own->skip_memory_check};
}

static spn_status create_draft_session(spn_runtime *runtime, spn_error *err) {
    spn_session_options options = draft_options(runtime);
    if (runtime->draft_model == NULL) return SPN_STATUS_OK;
    return spn_session_create(&runtime->draft_session, runtime->draft_model, &options, err);
}

/* Before anything is read: what all of it will take. The context is settled here, so that all
 * conversations get the same. */
static spn_status plan_memory(spn_runtime *runtime, const char *path, uint64_t process,
                              spn_error *err) {
    spn_session_options *options = &runtime->session_options;
    spn_memory_need *need = &runtime->memory;
    spn_session_size size, draft_size;
    uint32_t n_texts = runtime->n_conversations;
    SPN_TRY(spn_session_measure(runtime->model, options, n_texts, &size, err));
    *need = (spn_memory_need){.n_ctx = size.n_ctx};
    options->n_ctx = size.n_ctx;
    spn_memory_add(runtime->model, &size, n_texts, need);
    if (runtime->draft_model != NULL) {
        spn_session_options draft = draft_options(runtime);
        SPN_TRY(spn_session_measure(runtime->draft_model, &draft, 1, &draft_size, err));
        spn_memory_add(runtime->draft_model, &draft_size, 1, need);
    }
    SPN_TRY(spn_memory_finish(need, process, err));
    if (options->skip_memory_check) return SPN_STATUS_OK;
    return spn_memory_check(runtime->model, path, &size, n_texts, need, err);
}

/* There is no GPU backend yet; whoever asks for one hears so, and why. */
static void note_devices(spn_runtime *runtime, int32_t n_gpu_layers) {
    spn_device_info devices[2] = {{0}};
    size_t n = 0;
    if (n_gpu_layers == 0) return;
    spn_detect_devices(devices, 2, &n, NULL);
    snprintf(runtime->note, sizeof runtime->note,
             "no layer runs on a GPU although %s asked for: %s%s%s",
             n_gpu_layers == 1 ? "one was" : "some were", n > 1 ? devices[1].name : "",
             n > 1 ? ": " : "", n > 1 ? devices[1].note : "this machine shows none");
}

static spn_status load(spn_runtime *runtime, const char *path, const spn_load_config *config,
                       spn_error *err) {
    if (config->n_conversations > SPN_MAX_CONVERSATIONS)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%u conversations are too many: at most %d",
                        config->n_conversations, SPN_MAX_CONVERSATIONS);
    runtime->n_conversations = config->n_conversations > 0 ? config->n_conversations : 1;
    uint64_t process = spn_process_memory();
    SPN_TRY(spn_model_open_unlocked(&runtime->model, path, &config->model, err));
    runtime->tokenizer = spn_model_tokenizer(runtime->model);
    if (runtime->tokenizer == NULL)
        return SPN_FAIL(err, TOKENIZER, "%s holds no vocabulary: nothing can be asked in text",
                        path);
    SPN_TRY(parse_template(runtime, config->chat_template, err));
    runtime->progress = config->session.progress;
    runtime->progress_user = config->session.progress_user;
    runtime->session_options = config->session;
    runtime->session_options.progress = on_progress;
    runtime->session_options.progress_user = runtime;
    SPN_TRY(open_draft(runtime, config, err));
    SPN_TRY(plan_memory(runtime, path, process, err));
    SPN_TRY(spn_model_lock(runtime->model, path, err));
    if (runtime->draft_model != NULL)
        SPN_TRY(spn_model_lock(runtime->draft_model, config->draft_path, err));
    SPN_TRY(spn_conversations_add(runtime, err));
    atomic_store(&runtime->session, runtime->sessions[0]);
    note_devices(runtime, config->n_gpu_layers);
    return create_draft_session(runtime, err);
}

spn_status spn_runtime_load(spn_runtime *runtime, const char *path, const spn_load_config *config,
                            spn_error *err) {
    static const spn_load_config defaults = {0};
    if (path == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "the model's path is NULL");
    SPN_TRY(spn_runtime_take(runtime, false, err));
    spn_status status;
    if (runtime->model != NULL) {
        status = SPN_FAIL(err, ALREADY_LOADED, "cannot load %s: a model is loaded; unload it first",
                          path);
    } else {
        status = load(runtime, path, config ? config : &defaults, err);
        if (status != SPN_STATUS_OK) drop(runtime);
    }
    spn_runtime_release(runtime);
    return status;
}

spn_status spn_runtime_unload(spn_runtime *runtime, spn_error *err) {
    SPN_TRY(spn_runtime_take(runtime, true, err));
    drop(runtime);
    spn_runtime_release(runtime);
    return SPN_STATUS_OK;
}

/* ---- telling ---- */

bool spn_runtime_is_loaded(const spn_runtime *runtime) { return runtime->model != NULL; }

const spn_model_info *spn_runtime_model_info(const spn_runtime *runtime) {
    return runtime->model != NULL ? spn_model_describe(runtime->model) : NULL;
}

const spn_model *spn_runtime_model(const spn_runtime *runtime) { return runtime->model; }

const char *spn_runtime_note(const spn_runtime *runtime) { return runtime->note; }

bool spn_runtime_session_info(const spn_runtime *runtime, spn_session_info *out) {
    if (runtime->model == NULL) return false;
    spn_session_describe(atomic_load(&runtime->session), out);
    return true;
}

bool spn_runtime_memory(const spn_runtime *runtime, spn_memory_need *out) {
    if (runtime->model == NULL) return false;
    *out = runtime->memory;
    return true;
}

/* ---- sessions on disk ---- */

spn_status spn_runtime_save_session(spn_runtime *runtime, const char *path, spn_error *err) {
    SPN_TRY(spn_runtime_take(runtime, true, err));
    spn_status status = spn_session_save(atomic_load(&runtime->session), path, err);
    spn_runtime_release(runtime);
    return status;
}

spn_status spn_runtime_load_session(spn_runtime *runtime, const char *path, spn_error *err) {
    SPN_TRY(spn_runtime_take(runtime, true, err));
    spn_status status = spn_session_load(atomic_load(&runtime->session), path, err);
    spn_runtime_release(runtime);
    return status;
}

/* ---- asking ---- */

/* What the model is to continue. */
typedef struct prepared {
    int32_t *tokens;
    size_t n_tokens;
    bool new_text;
} prepared;

/* As the session would say, but before a stream has begun. */
static spn_status check_length(const spn_runtime *runtime, size_t n_tokens, spn_error *err) {
    spn_session_info info;
    spn_session_describe(atomic_load(&runtime->session), &info);
    if (n_tokens <= info.n_ctx) return SPN_STATUS_OK;
    return SPN_FAIL(err, CONTEXT_FULL, "a text of %zu tokens does not fit a context of %u",
                    n_tokens, info.n_ctx);
}

static spn_status prepare(const spn_runtime *runtime, const spn_question *q, prepared *out,
                          spn_error *err) {
    char *text = NULL;
    size_t n_bytes = 0;
    SPN_TRY(spn_prompt_render(runtime, q, &text, &n_bytes, &out->new_text, err));
    spn_status status =
        spn_prompt_encode(runtime, text, n_bytes, &out->tokens, &out->n_tokens, err);
    spn_free(text);
    if (status == SPN_STATUS_OK) status = check_length(runtime, out->n_tokens, err);
    if (status != SPN_STATUS_OK) {
        spn_free(out->tokens);
        out->tokens = NULL;
    }
    return status;
}

static spn_status answer(spn_runtime *runtime, const spn_question *q, spn_chat_response *response,
                         spn_error *err) {
    prepared p = {0};
    SPN_TRY(spn_runtime_take(runtime, true, err));
    spn_status status = prepare(runtime, q, &p, err);
    if (status == SPN_STATUS_OK)
        status = spn_generate(runtime, p.tokens, p.n_tokens, p.new_text, q->options, response, err);
    spn_free(p.tokens);
    spn_runtime_release(runtime);
    return status;
}

static spn_status start(spn_runtime *runtime, const spn_question *q, spn_stream **stream,
                        spn_error *err) {
    prepared p = {0};
    SPN_TRY(spn_runtime_take(runtime, true, err));
    spn_status status = prepare(runtime, q, &p, err);
    if (status == SPN_STATUS_OK)
        status =
            spn_stream_start(runtime, p.tokens, p.n_tokens, p.new_text, q->options, stream, err);
    if (status != SPN_STATUS_OK) spn_runtime_release(runtime);
    return status;
}

spn_status spn_runtime_infer(spn_runtime *runtime, const char *prompt,
                             const spn_chat_options *options, spn_chat_response *response,
                             spn_error *err) {
    const spn_question q = {.prompt = prompt, .options = options};
    if (prompt == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "the prompt is NULL");
    return answer(runtime, &q, response, err);
}

spn_status spn_runtime_chat(spn_runtime *runtime, const spn_chat_message *messages,
                            size_t n_messages, const spn_chat_options *options,
                            spn_chat_response *response, spn_error *err) {
    const spn_question q = {.messages = messages, .n_messages = n_messages, .options = options};
    return answer(runtime, &q, response, err);
}

static spn_status check_json(const char *messages_json, spn_error *err) {
    if (messages_json != NULL) return SPN_STATUS_OK;
    return SPN_FAIL(err, INVALID_ARGUMENT, "the messages are NULL");
}

spn_status spn_runtime_chat_json(spn_runtime *runtime, const char *messages_json,
                                 const spn_chat_options *options, spn_chat_response *response,
                                 spn_error *err) {
    const spn_question q = {.messages_json = messages_json, .options = options};
    SPN_TRY(check_json(messages_json, err));
    return answer(runtime, &q, response, err);
}

spn_status spn_runtime_infer_stream(spn_runtime *runtime, const char *prompt,
                                    const spn_chat_options *options, spn_stream **stream,
                                    spn_error *err) {
    const spn_question q = {.prompt = prompt, .options = options};
    if (prompt == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "the prompt is NULL");
    return start(runtime, &q, stream, err);
}

spn_status spn_runtime_chat_stream(spn_runtime *runtime, const spn_chat_message *messages,
                                   size_t n_messages, const spn_chat_options *options,
                                   spn_stream **stream, spn_error *err) {
    const spn_question q = {.messages = messages, .n_messages = n_messages, .options = options};
    return start(runtime, &q, stream, err);
}

spn_status spn_runtime_chat_json_stream(spn_runtime *runtime, const char *messages_json,
                                        const spn_chat_options *options, spn_stream **stream,
                                        spn_error *err) {
    const spn_question q = {.messages_json = messages_json, .options = options};
    SPN_TRY(check_json(messages_json, err));
    return start(runtime, &q, stream, err);
}

spn_status spn_runtime_render(const spn_runtime *runtime, const spn_chat_message *messages,
                              size_t n_messages, char **text, size_t *n_bytes, spn_error *err) {
    if (runtime->model == NULL)
        return SPN_FAIL(err, MODEL_NOT_LOADED, "no model is loaded; call spn_runtime_load first");
    const spn_question q = {.messages = messages, .n_messages = n_messages};
    bool new_text;
    return spn_prompt_render(runtime, &q, text, n_bytes, &new_text, err);
}

void spn_runtime_cancel(spn_runtime *runtime) {
    atomic_store(&runtime->cancelled, true);
    spn_session *session = atomic_load(&runtime->session);
    if (session != NULL) spn_session_cancel(session);
}
