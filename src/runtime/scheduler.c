/* scheduler.c - many texts side by side: life, queue, callbacks.
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/scheduler.h"

#include <string.h>

/* ---- jobs ---- */

static void job_free(spn_job *job) {
    if (job == NULL) return;
    spn_sampler_free(job->sampler);
    spn_free(job->tokens);
    spn_free(job);
}

static spn_status check_request(const spn_scheduler *scheduler, const spn_request *request,
                                spn_error *err) {
    uint32_t n_ctx = scheduler->size.n_ctx;
    if (request->n_tokens == 0 || request->tokens == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a request wants at least one token");
    if (request->n_tokens >= n_ctx)
        return SPN_FAIL(err, CONTEXT_FULL,
                        "a prompt of %zu tokens leaves no room for an answer in a context of %u",
                        request->n_tokens, n_ctx);
    return spn_model_check_tokens(scheduler->model, request->tokens, request->n_tokens, err);
}

static spn_status job_fill(spn_job *job, const spn_scheduler *scheduler, const spn_request *request,
                           spn_error *err) {
    size_t n_ctx = scheduler->size.n_ctx, n_most = n_ctx;
    if (request->max_tokens != 0 && request->max_tokens < n_ctx - request->n_tokens)
        n_most = request->n_tokens + request->max_tokens;
    job->tokens = spn_alloc_array(n_most, sizeof *job->tokens);
    if (job->tokens == NULL) return SPN_NO_MEMORY(err, "a request");
    memcpy(job->tokens, request->tokens, request->n_tokens * sizeof *job->tokens);
    job->request = *request;
    job->n_prompt = job->n_tokens = request->n_tokens;
    job->n_most = n_most;
    atomic_init(&job->cancelled, false);
    SPN_TRY(spn_sampler_create(&job->sampler, scheduler->model->network->n_vocab, &request->sampler,
                               err));
    for (size_t i = 0; i < job->n_prompt; i++)
        SPN_TRY(spn_sampler_accept(job->sampler, job->tokens[i], err));
    return SPN_STATUS_OK;
}

static void enqueue(spn_scheduler *scheduler, spn_job *job) {
    spn_job **at = &scheduler->waiting;
    while (*at != NULL && (*at)->request.priority >= job->request.priority) at = &(*at)->next;
    job->next = *at;
    *at = job;
    scheduler->n_waiting++;
}

spn_status spn_scheduler_submit(spn_scheduler *scheduler, const spn_request *request, uint64_t *id,
                                spn_error *err) {
    SPN_TRY(check_request(scheduler, request, err));
    spn_job *job = spn_alloc_zeroed(1, sizeof *job);
    if (job == NULL) return SPN_NO_MEMORY(err, "a request");
    spn_status status = job_fill(job, scheduler, request, err);
    if (status != SPN_STATUS_OK) {
        job_free(job);
        return status;
    }
    job->submitted_ns = spn_time_ns();
    spn_mutex_lock(scheduler->mutex);
    bool full = scheduler->n_waiting >= scheduler->options.n_waiting || scheduler->stop;
    if (!full) {
        job->id = ++scheduler->last_id;
        if (id != NULL) *id = job->id;
        enqueue(scheduler, job);
        spn_cond_broadcast(scheduler->changed);
    }
    spn_mutex_unlock(scheduler->mutex);
    if (!full) return SPN_STATUS_OK;
    job_free(job);
    return SPN_FAIL(err, BUSY, "%u requests are waiting already: try again later",
                    scheduler->options.n_waiting);
}

void spn_scheduler_cancel(spn_scheduler *scheduler, uint64_t id) {
    spn_mutex_lock(scheduler->mutex);
    for (spn_job *job = scheduler->waiting; job != NULL; job = job->next)
        if (job->id == id) atomic_store(&job->cancelled, true);
    for (uint32_t i = 0; i < scheduler->options.n_sequences; i++) {
        spn_job *job = scheduler->places[i].job;
        if (job == NULL || job->id != id) continue;
        atomic_store(&job->cancelled, true);
        /* Alone, it need not wait for a long pass to end. */
        if (scheduler->n_running == 1) atomic_store(&scheduler->cancel_pass, 1);
    }
    spn_cond_broadcast(scheduler->changed);
    spn_mutex_unlock(scheduler->mutex);
}

/* ---- the thread ---- */

static double seconds(uint64_t from, uint64_t to) {
    return from != 0 && to > from ? (double)(to - from) * 1e-9 : 0;
}

/* Tells the request's owner, without the lock. */
static void report(spn_job *job) {
    uint64_t end = job->ended_ns, first = job->first_ns ? job->first_ns : end;
    spn_request_result result = {
        .id = job->id,
        .status = job->status,
        .error = job->status == SPN_STATUS_OK ? "" : job->error.text,
        .finish_reason = job->reason,
        .tokens = job->tokens + job->n_prompt,
        .n_tokens = job->n_tokens - job->n_prompt,
        .n_prompt_tokens = (uint32_t)job->n_prompt,
        .n_cached_tokens = job->n_cached,
        .seed = spn_sampler_seed(job->sampler),
        .wait_s = seconds(job->submitted_ns, job->started_ns ? job->started_ns : end),
        .prompt_s = job->started_ns ? seconds(job->started_ns, first) : 0,
        .generation_s = seconds(first, end),
    };
    if (job->request.on_done != NULL) job->request.on_done(&result, job->request.user);
    job_free(job);
}

/* Takes the next ended or cancelled job out of its place or the queue; NULL when there is none. */
static spn_job *take_ended(spn_scheduler *scheduler) {
    for (uint32_t i = 0; i < scheduler->options.n_sequences; i++) {
        spn_place *place = &scheduler->places[i];
        spn_job *job = place->job;
        if (job == NULL) continue;
        bool cancelled = atomic_load(&job->cancelled) || scheduler->stop;
        if (!job->ended && !cancelled) continue;
        if (!job->ended) job->reason = SPN_FINISH_REASON_CANCELLED;
        place->job = NULL;
        scheduler->n_running--;
        return job;
    }
    for (spn_job **at = &scheduler->waiting; *at != NULL; at = &(*at)->next) {
        spn_job *job = *at;
        if (!atomic_load(&job->cancelled) && !scheduler->stop) continue;
        *at = job->next;
        scheduler->n_waiting--;
        job->reason = SPN_FINISH_REASON_CANCELLED;
        return job;
    }
    return NULL;
}

static void report_ended(spn_scheduler *scheduler) {
    for (spn_job *job; (job = take_ended(scheduler)) != NULL;) {
        if (job->ended_ns == 0) job->ended_ns = spn_time_ns();
        spn_mutex_unlock(scheduler->mutex);
        report(job);
        spn_mutex_lock(scheduler->mutex);
    }
}

static void admit(spn_scheduler *scheduler) {
    while (scheduler->waiting != NULL && scheduler->n_running < scheduler->options.n_sequences) {
        spn_job *job = scheduler->waiting;
        scheduler->waiting = job->next;
        scheduler->n_waiting--;
        spn_scheduler_place(scheduler, job);
        scheduler->n_running++;
    }
    /* A cancellation of the last pass is over: those it was meant for have been reported. */
    atomic_store(&scheduler->cancel_pass, 0);
}

static void scheduler_main(void *arg) {
    spn_scheduler *scheduler = arg;
    spn_mutex_lock(scheduler->mutex);
    for (;;) {
        report_ended(scheduler);
        if (scheduler->stop) break;
        admit(scheduler);
        if (scheduler->n_running == 0) {
            spn_cond_broadcast(scheduler->changed); /* for spn_scheduler_wait */
            spn_cond_wait(scheduler->changed, scheduler->mutex);
            continue;
        }
        spn_mutex_unlock(scheduler->mutex);
        spn_scheduler_pass(scheduler);
        spn_mutex_lock(scheduler->mutex);
    }
    spn_mutex_unlock(scheduler->mutex);
}

void spn_scheduler_wait(spn_scheduler *scheduler) {
    spn_mutex_lock(scheduler->mutex);
    while (scheduler->n_running > 0 || scheduler->waiting != NULL)
        spn_cond_wait(scheduler->changed, scheduler->mutex);
    spn_mutex_unlock(scheduler->mutex);
}

void spn_scheduler_describe(spn_scheduler *scheduler, spn_scheduler_info *out) {
    spn_mutex_lock(scheduler->mutex);
    *out = (spn_scheduler_info){.n_sequences = scheduler->options.n_sequences,
                                .n_ctx = scheduler->size.n_ctx,
                                .n_running = scheduler->n_running,
                                .n_waiting = scheduler->n_waiting,
                                .n_passes = scheduler->n_passes,
                                .n_evaluated = scheduler->n_evaluated};
    spn_mutex_unlock(scheduler->mutex);
}

/* ---- life ---- */

static spn_status measure(spn_scheduler *scheduler, spn_error *err) {
    const spn_scheduler_options *options = &scheduler->options;
    const spn_session_options one = {.n_ctx = options->n_ctx,
                                     .n_threads = options->n_threads,
                                     .n_batch = options->n_batch,
                                     .type_k = options->type_k,
                                     .type_v = options->type_v};
    SPN_TRY(
        spn_session_measure(scheduler->model, &one, options->n_sequences, &scheduler->size, err));
    return spn_session_check_memory(&scheduler->size, options->n_sequences, err);
}

static spn_status create_places(spn_scheduler *scheduler, spn_error *err) {
    const spn_session_size *size = &scheduler->size;
    const spn_network *network = scheduler->model->network;
    uint32_t n = scheduler->options.n_sequences;
    scheduler->places = spn_alloc_zeroed(n, sizeof *scheduler->places);
    scheduler->tokens = spn_alloc_array(size->n_batch, sizeof *scheduler->tokens);
    scheduler->positions = spn_alloc_array(size->n_batch, sizeof *scheduler->positions);
    scheduler->segments = spn_alloc_array(n, sizeof *scheduler->segments);
    scheduler->out_rows = spn_alloc_array(n, sizeof *scheduler->out_rows);
    scheduler->logits = spn_alloc_array(n, network->n_vocab * sizeof *scheduler->logits);
    if (!scheduler->places || !scheduler->tokens || !scheduler->positions || !scheduler->segments ||
        !scheduler->out_rows || !scheduler->logits)
        return SPN_NO_MEMORY(err, "the scheduler");
    for (uint32_t i = 0; i < n; i++) {
        spn_place *place = &scheduler->places[i];
        place->tokens = spn_alloc_array(size->n_ctx, sizeof *place->tokens);
        if (place->tokens == NULL) return SPN_NO_MEMORY(err, "the scheduler");
        SPN_TRY(spn_kv_cache_create(&place->kv, network, size->n_ctx, size->n_batch, size->type_k,
                                    size->type_v, err));
    }
    return SPN_STATUS_OK;
}

static spn_status create_parts(spn_scheduler *scheduler, spn_error *err) {
    const spn_model *model = scheduler->model;
    if (!model->network->has_logits)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a %s model embeds text and generates none",
                        model->info.architecture);
    SPN_TRY(measure(scheduler, err));
    if (scheduler->size.n_batch < scheduler->options.n_sequences)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a batch of %u has no room for %u texts",
                        scheduler->size.n_batch, scheduler->options.n_sequences);
    spn_pass_options pass =
        spn_session_pass_options(model, &scheduler->size, scheduler->options.n_threads);
    pass.n_out = scheduler->options.n_sequences;
    SPN_TRY(spn_pass_create(&scheduler->pass, model->network, &pass, err));
    SPN_TRY(create_places(scheduler, err));
    scheduler->mutex = spn_mutex_create();
    scheduler->changed = spn_cond_create();
    if (scheduler->mutex == NULL || scheduler->changed == NULL)
        return SPN_NO_MEMORY(err, "the scheduler");
    return spn_thread_start(&scheduler->thread, scheduler_main, scheduler, "spn-scheduler", err);
}

spn_status spn_scheduler_create(spn_scheduler **out, const spn_model *model,
                                const spn_scheduler_options *options, spn_error *err) {
    spn_scheduler *scheduler = spn_alloc_zeroed(1, sizeof *scheduler);
    if (scheduler == NULL) return SPN_NO_MEMORY(err, "the scheduler");
    scheduler->model = model;
    if (options != NULL) scheduler->options = *options;
    if (scheduler->options.n_sequences == 0) scheduler->options.n_sequences = 8;
    if (scheduler->options.n_waiting == 0) scheduler->options.n_waiting = 256;
    atomic_init(&scheduler->cancel_pass, 0);
    spn_status status = scheduler->options.n_sequences > 4096
                            ? SPN_FAIL(err, INVALID_ARGUMENT, "%u texts side by side are too many",
                                       scheduler->options.n_sequences)
                            : create_parts(scheduler, err);
    if (status == SPN_STATUS_OK)
        *out = scheduler;
    else
        spn_scheduler_free(scheduler);
    return status;
}

void spn_scheduler_free(spn_scheduler *scheduler) {
    if (scheduler == NULL) return;
    if (scheduler->thread != NULL) {
        spn_mutex_lock(scheduler->mutex);
        scheduler->stop = true;
        atomic_store(&scheduler->cancel_pass, 1);
        spn_cond_broadcast(scheduler->changed);
        spn_mutex_unlock(scheduler->mutex);
        spn_thread_join(scheduler->thread);
    }
    for (uint32_t i = 0; scheduler->places != NULL && i < scheduler->options.n_sequences; i++) {
        spn_kv_cache_free(scheduler->places[i].kv);
        spn_free(scheduler->places[i].tokens);
    }
    spn_pass_free(scheduler->pass);
    spn_cond_free(scheduler->changed);
    spn_mutex_free(scheduler->mutex);
    spn_free(scheduler->places);
    spn_free(scheduler->tokens);
    spn_free(scheduler->positions);
    spn_free(scheduler->segments);
    spn_free(scheduler->out_rows);
    spn_free(scheduler->logits);
    spn_free(scheduler);
}
