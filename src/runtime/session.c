/* session.c - one text on its way through a model: the KV cache, its law, and the last logits.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Everything evaluates through spn_session_evaluate: it cuts the missing tokens into passes of at
 * most n_batch rows; the contract of kernels.h makes the cut invisible in the result. */
#include <string.h>

#include "platform/os.h"
#include "runtime/lookahead.h"
#include "runtime/session.h"

#define DEFAULT_BATCH 512
#define MAX_CTX (1u << 30)

/* ---- sizes ---- */

/* An encoder's keys and values are read once, in the pass that made them: rounding them saves
 * nothing that lasts. */
static spn_status kv_type_of(const spn_model *model, spn_kv_type type, spn_type *out,
                             spn_error *err) {
    static const spn_type types[] = {SPN_TYPE_F16,  SPN_TYPE_F32,  SPN_TYPE_F16,
                                     SPN_TYPE_BF16, SPN_TYPE_Q8_0, SPN_TYPE_Q4_0};
    if ((unsigned)type >= SPN_COUNT(types))
        return SPN_FAIL(err, INVALID_ARGUMENT, "KV cache type %d is not known", (int)type);
    *out = types[type];
    if (type == SPN_KV_TYPE_DEFAULT && !model->network->has_logits) *out = SPN_TYPE_F32;
    return SPN_STATUS_OK;
}

spn_pass_options spn_session_pass_options(const spn_model *model, const spn_session_size *size,
                                          uint32_t n_threads) {
    return (spn_pass_options){.n_batch = size->n_batch,
                              .n_out = size->n_batch,
                              .n_ctx = size->n_ctx,
                              .exact = model->options.exact,
                              .n_threads = n_threads,
                              .cpu_level = model->options.cpu_level};
}

/* The largest context up to the model's own whose cache takes half of the available memory. */
static spn_status default_context(const spn_model *model, spn_session_size *size, spn_error *err) {
    spn_ram_info ram;
    SPN_TRY(spn_detect_ram(&ram, err));
    size->n_ctx = model->network->n_ctx_train;
    while (size->n_ctx > 512 && spn_kv_cache_bytes(model->network, size->n_ctx, size->n_batch,
                                                   size->type_k, size->type_v) > ram.available / 2)
        size->n_ctx = (size->n_ctx / 2 + 255) / 256 * 256;
    return SPN_STATUS_OK;
}

spn_status spn_session_measure(const spn_model *model, const spn_session_options *options,
                               spn_session_size *out, spn_error *err) {
    spn_session_size size = {.n_ctx = options->n_ctx, .n_batch = options->n_batch};
    SPN_TRY(kv_type_of(model, options->type_k, &size.type_k, err));
    SPN_TRY(kv_type_of(model, options->type_v, &size.type_v, err));
    SPN_TRY(spn_kv_cache_check_types(model->network, size.type_k, size.type_v, err));
    if (size.n_ctx > MAX_CTX)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a context of %u tokens is too long: at most %u",
                        size.n_ctx, MAX_CTX);
    if (size.n_batch == 0) size.n_batch = DEFAULT_BATCH;
    if (size.n_batch > 65536)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a batch of %u tokens is too large: at most 65536",
                        size.n_batch);
    if (size.n_ctx == 0) SPN_TRY(default_context(model, &size, err));
    if (size.n_batch > size.n_ctx) size.n_batch = size.n_ctx;
    size.kv_bytes =
        spn_kv_cache_bytes(model->network, size.n_ctx, size.n_batch, size.type_k, size.type_v);
    spn_pass_options pass = spn_session_pass_options(model, &size, 1);
    size.scratch_bytes = spn_pass_estimate(model->network, &pass);
    *out = size;
    return SPN_STATUS_OK;
}

static spn_status check_memory(const spn_session_size *size, spn_error *err) {
    spn_ram_info ram;
    SPN_TRY(spn_detect_ram(&ram, err));
    if (size->kv_bytes <= ram.available && size->scratch_bytes <= ram.available - size->kv_bytes)
        return SPN_STATUS_OK;
    return SPN_FAIL(err, INSUFFICIENT_MEMORY,
                    "a context of %u tokens needs %llu MiB for the KV cache and %llu MiB to work "
                    "in; %llu MiB are available: use a smaller context or a smaller KV cache type",
                    size->n_ctx, (unsigned long long)(size->kv_bytes >> 20),
                    (unsigned long long)(size->scratch_bytes >> 20),
                    (unsigned long long)(ram.available >> 20));
}

spn_status spn_estimate_memory(const char *path, const spn_session_options *options,
                               spn_memory_need *out, spn_error *err) {
    static const spn_session_options defaults;
    spn_model *model;
    spn_session_size size;
    SPN_TRY(spn_model_open(&model, path, NULL, err));
    spn_status status = spn_session_measure(model, options ? options : &defaults, &size, err);
    if (status == SPN_STATUS_OK) {
        *out = (spn_memory_need){.weights = model->info.file_bytes,
                                 .kv = size.kv_bytes,
                                 .scratch = size.scratch_bytes,
                                 .n_ctx = size.n_ctx};
        out->total = out->weights + out->kv + out->scratch;
    }
    spn_model_close(model);
    return status;
}

/* ---- life ---- */

static spn_status create_parts(spn_session *session, spn_error *err) {
    const spn_network *network = session->model->network;
    const spn_session_size *size = &session->size;
    spn_pass_options pass =
        spn_session_pass_options(session->model, size, session->options.n_threads);
    SPN_TRY(check_memory(size, err));
    SPN_TRY(spn_kv_cache_create(&session->kv, network, size->n_ctx, size->n_batch, size->type_k,
                                size->type_v, err));
    SPN_TRY(spn_pass_create(&session->pass, network, &pass, err));
    if (session->options.profile) spn_pass_backend(session->pass)->profile = &session->profile;
    session->tokens = spn_alloc_array(size->n_ctx, sizeof *session->tokens);
    session->positions = spn_alloc_array(size->n_batch, sizeof *session->positions);
    session->out_rows = spn_alloc_array(size->n_batch, sizeof *session->out_rows);
    session->logits =
        spn_alloc_array(spn_max_size(network->n_vocab, network->n_embd), sizeof *session->logits);
    if (!session->tokens || !session->positions || !session->out_rows || !session->logits)
        return SPN_NO_MEMORY(err, "the session");
    return SPN_STATUS_OK;
}

spn_status spn_session_create(spn_session **out, const spn_model *model,
                              const spn_session_options *options, spn_error *err) {
    if (out == NULL || model == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT,
                        "spn_session_create wants a model and a place to put the session");
    spn_session *session = spn_alloc_zeroed(1, sizeof *session);
    if (session == NULL) return SPN_NO_MEMORY(err, "the session");
    spn_status status = SPN_STATUS_OK;
    session->model = model;
    if (options != NULL) session->options = *options;
    atomic_init(&session->cancel, 0);
    SPN_TRY_GOTO(spn_session_measure(model, &session->options, &session->size, err));
    SPN_TRY_GOTO(create_parts(session, err));
    *out = session;
    return SPN_STATUS_OK;
done:
    spn_session_free(session);
    return status;
}

void spn_session_free(spn_session *session) {
    if (session == NULL) return;
    spn_embed_room_free(session->embed_room);
    spn_pass_free(session->pass);
    spn_kv_cache_free(session->kv);
    spn_free(session->tokens);
    spn_free(session->positions);
    spn_free(session->out_rows);
    spn_free(session->logits);
    spn_free(session);
}

void spn_session_describe(const spn_session *session, spn_session_info *out) {
    const spn_backend *backend = spn_pass_backend(session->pass);
    *out = (spn_session_info){.n_ctx = session->size.n_ctx,
                              .n_threads = backend->n_threads,
                              .n_cached = session->n_cached,
                              .kv_bytes = session->size.kv_bytes,
                              .scratch_bytes = spn_pass_bytes(session->pass),
                              .cpu_level = backend->cpu_level};
}

/* ---- evaluating ---- */

spn_status spn_session_check(const spn_session *session, const int32_t *tokens, size_t n_tokens,
                             spn_error *err) {
    if (n_tokens == 0) return SPN_FAIL(err, INVALID_ARGUMENT, "there are no tokens to evaluate");
    if (n_tokens > session->size.n_ctx)
        return SPN_FAIL(err, CONTEXT_FULL, "%zu tokens do not fit a context of %u", n_tokens,
                        session->size.n_ctx);
    return spn_model_check_tokens(session->model, tokens, n_tokens, err);
}

/* Tokens first .. first + n of the session, one pass; those from wanted->first on give a row. */
static spn_status evaluate_batch(spn_session *session, size_t first, size_t n,
                                 const spn_wanted_rows *wanted, spn_error *err) {
    const spn_network *network = session->model->network;
    uint32_t n_out = 0;
    size_t width = wanted->hidden || !network->has_logits ? network->n_embd : network->n_vocab;
    for (size_t i = 0; i < n; i++) {
        session->positions[i] = (int32_t)(first + i);
        if (first + i >= wanted->first) session->out_rows[n_out++] = (uint32_t)i;
    }
    float *out = first + n > wanted->first
                     ? wanted->out + (first + n - n_out - wanted->first) * width
                     : NULL;
    spn_segment segment = {.layers = spn_kv_cache_layers(session->kv),
                           .states = spn_kv_cache_states(session->kv),
                           .n_rows = (uint32_t)n,
                           .first_pos = (uint32_t)first};
    spn_batch batch = {(uint32_t)n, session->tokens + first, session->positions, &segment, 1};
    return (wanted->hidden ? spn_pass_run_hidden : spn_pass_run)(
        session->pass, &batch, session->out_rows, n_out, out, &session->cancel, err);
}

bool spn_session_report(const spn_session *session, size_t n_done, size_t n_total) {
    const spn_session_options *options = &session->options;
    if (options->progress == NULL || n_total < 2) return true;
    return options->progress(n_done, n_total, options->progress_user);
}

spn_status spn_session_evaluate(spn_session *session, const int32_t *tokens, size_t n_tokens,
                                const spn_wanted_rows *wanted, spn_error *err) {
    size_t start = session->n_cached;
    size_t n_total = wanted->n_total != 0 ? wanted->n_total : n_tokens - start;
    session->has_logits = false;
    memcpy(session->tokens + start, tokens + start, (n_tokens - start) * sizeof *tokens);
    while (session->n_cached < n_tokens) {
        size_t first = session->n_cached;
        size_t n = spn_min_size(n_tokens - first, session->size.n_batch);
        if (!spn_session_report(session, wanted->n_done + first - start, n_total))
            return SPN_FAIL(err, CANCELLED, "the evaluation was cancelled");
        spn_status status = evaluate_batch(session, first, n, wanted, err);
        if (status != SPN_STATUS_OK) {
            /* A pass that stopped midway has moved recurrent states: they start afresh. */
            session->n_cached =
                spn_kv_cache_rewind(session->kv, (uint32_t)(first + n), (uint32_t)first);
            return status;
        }
        session->n_cached += (uint32_t)n;
    }
    return SPN_STATUS_OK;
}

static size_t common_prefix(const spn_session *session, const int32_t *tokens, size_t n_tokens) {
    size_t n = 0, most = spn_min_size(n_tokens, session->n_cached);
    while (n < most && tokens[n] == session->tokens[n]) n++;
    return n;
}

spn_status spn_session_sync(spn_session *session, const int32_t *tokens, size_t n_tokens,
                            size_t *n_reused, spn_error *err) {
    SPN_TRY(spn_session_check(session, tokens, n_tokens, err));
    if (!session->model->network->has_logits)
        return SPN_FAIL(err, INFERENCE_FAILED,
                        "a %s model embeds text and generates none: use spn_session_embed",
                        session->model->info.architecture);
    atomic_store(&session->cancel, 0);
    size_t keep = common_prefix(session, tokens, n_tokens);
    if (keep == n_tokens && session->n_cached == n_tokens && session->has_logits) {
        if (n_reused != NULL) *n_reused = keep;
        return SPN_STATUS_OK;
    }
    keep = spn_min_size(keep, n_tokens - 1);
    session->n_cached = spn_kv_cache_rewind(session->kv, session->n_cached, (uint32_t)keep);
    keep = session->n_cached;
    SPN_TRY(spn_session_evaluate(session, tokens, n_tokens,
                                 &(spn_wanted_rows){.first = n_tokens - 1, .out = session->logits},
                                 err));
    session->has_logits = true;
    if (n_reused != NULL) *n_reused = keep;
    return SPN_STATUS_OK;
}

const float *spn_session_logits(const spn_session *session) {
    return session->has_logits ? session->logits : NULL;
}

spn_status spn_session_score(spn_session *session, const int32_t *tokens, size_t n_tokens,
                             size_t first, float *logits, spn_error *err) {
    const spn_network *network = session->model->network;
    SPN_TRY(spn_session_check(session, tokens, n_tokens, err));
    if (first >= n_tokens)
        return SPN_FAIL(err, INVALID_ARGUMENT, "scoring from token %zu of %zu", first, n_tokens);
    if (!network->has_logits)
        return SPN_FAIL(err, INFERENCE_FAILED, "a %s model embeds text and has no logits",
                        session->model->info.architecture);
    atomic_store(&session->cancel, 0);
    size_t keep = spn_min_size(common_prefix(session, tokens, n_tokens), first);
    session->n_cached = spn_kv_cache_rewind(session->kv, session->n_cached, (uint32_t)keep);
    SPN_TRY(spn_session_evaluate(session, tokens, n_tokens,
                                 &(spn_wanted_rows){.first = first, .out = logits}, err));
    memcpy(session->logits, logits + (n_tokens - 1 - first) * network->n_vocab,
           network->n_vocab * sizeof *logits);
    session->has_logits = true;
    return SPN_STATUS_OK;
}

bool spn_session_can_rewind(const spn_session *session, uint32_t n) {
    return spn_kv_cache_can_rewind(session->kv, n);
}

void spn_session_cancel(spn_session *session) { atomic_store(&session->cancel, 1); }
