/* session.c - one text on its way through a model: the KV cache, its law, and the last logits.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Everything evaluates through spn_session_evaluate: it cuts the missing tokens into passes of at
 * most n_batch rows; the contract of kernels.h makes the cut invisible in the result. */
#include <string.h>

#include "platform/os.h"
#include "runtime/lookahead.h"
#include "runtime/session.h"

/* ---- life ---- */

static spn_status create_parts(spn_session *session, spn_error *err) {
    const spn_network *network = session->model->network;
    const spn_session_size *size = &session->size;
    spn_pass_options pass =
        spn_session_pass_options(session->model, size, session->options.n_threads);
    if (!session->options.skip_memory_check) SPN_TRY(spn_session_check_memory(size, 1, err));
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
    SPN_TRY_GOTO(spn_session_measure(model, &session->options, 1, &session->size, err));
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
    *out =
        (spn_session_info){.n_ctx = session->size.n_ctx,
                           .n_threads = backend->n_threads,
                           .n_cached = session->n_cached,
                           .kv_bytes = session->size.kv_bytes,
                           .kv_read_bytes = spn_kv_cache_read_bytes(session->kv, session->n_cached),
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

#define PROGRESS_NS 200000000u

/* A batch under way. One of a large model takes many seconds: its share of operations stands for
 * tokens, so that who waits sees it move. */
typedef struct ticker {
    spn_session *session;
    size_t n_done, n_batch, n_total; /* tokens: before this batch, in it, in the whole call */
    uint64_t told_ns;
} ticker;

static void on_op(size_t i, size_t n_ops, void *user) {
    ticker *t = user;
    if (spn_time_ns() - t->told_ns < PROGRESS_NS) return;
    t->told_ns = spn_time_ns();
    if (!spn_session_report(t->session, t->n_done + t->n_batch * i / n_ops, t->n_total))
        spn_session_cancel(t->session);
}

static void watch(spn_session *session, ticker *t) {
    spn_backend *backend = spn_pass_backend(session->pass);
    bool wanted = t != NULL && session->options.progress != NULL && t->n_total > 1;
    backend->on_op = wanted ? on_op : NULL;
    backend->on_op_user = t;
}

spn_status spn_session_evaluate(spn_session *session, const int32_t *tokens, size_t n_tokens,
                                const spn_wanted_rows *wanted, spn_error *err) {
    size_t start = session->n_cached;
    size_t n_total = wanted->n_total != 0 ? wanted->n_total : n_tokens - start;
    session->has_logits = false;
    spn_kv_cache_expect(session->kv, (uint32_t)n_tokens);
    memcpy(session->tokens + start, tokens + start, (n_tokens - start) * sizeof *tokens);
    while (session->n_cached < n_tokens) {
        size_t first = session->n_cached;
        size_t n = spn_min_size(n_tokens - first, session->size.n_batch);
        if (!spn_session_report(session, wanted->n_done + first - start, n_total))
            return SPN_FAIL(err, CANCELLED, "the evaluation was cancelled");
        ticker t = {session, wanted->n_done + first - start, n, n_total, spn_time_ns()};
        watch(session, &t);
        spn_status status = evaluate_batch(session, first, n, wanted, err);
        watch(session, NULL);
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
        return SPN_FAIL(err, INFERENCE_FAILED, "this %s model embeds text and generates none",
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
