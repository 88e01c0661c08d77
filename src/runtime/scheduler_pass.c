/* scheduler_pass.c - what one pass of the scheduler evaluates. SPDX-License-Identifier: Apache-2.0
 *
 * Every text that generates gets one row. Prompts share the rest of the batch, those of higher
 * priority first and equals in turn; while anybody generates, a pass takes only as many prompt rows
 * as run in about a tenth of a second, so that nobody's text stutters. */
#include <assert.h>
#include <string.h>

#include "runtime/scheduler.h"

static const double stutter_s = 0.1;
enum { LEAST_PROMPT_ROWS = 16 };

/* ---- places ---- */

static uint32_t common_prefix(const spn_place *place, const spn_job *job) {
    uint32_t n = 0;
    while (n < place->n_cached && n < job->n_prompt && place->tokens[n] == job->tokens[n]) n++;
    return n;
}

void spn_scheduler_place(spn_scheduler *scheduler, spn_job *job) {
    spn_place *best = NULL;
    uint32_t known = 0;
    for (uint32_t i = 0; i < scheduler->options.n_sequences; i++) {
        spn_place *place = &scheduler->places[i];
        if (place->job != NULL) continue;
        uint32_t n = common_prefix(place, job);
        if (best == NULL || n > known || (n == known && place->last_used < best->last_used)) {
            best = place;
            known = n;
        }
    }
    assert(best != NULL);                /* a job is placed only where a place is free */
    if (known == job->n_prompt) known--; /* the last token's logits are not kept */
    best->n_cached = spn_kv_cache_rewind(best->kv, best->n_cached, known);
    best->job = job;
    job->n_cached = best->n_cached;
    spn_kv_cache_expect(best->kv, (uint32_t)job->n_tokens);
    job->started_ns = spn_time_ns();
}

/* ---- making a pass ---- */

static uint32_t missing(const spn_place *place) {
    return place->job ? (uint32_t)(place->job->n_tokens - place->n_cached) : 0;
}

static bool generates(const spn_place *place) {
    return missing(place) == 1 && place->job->n_tokens > place->job->n_prompt;
}

/* The place whose prompt comes next: the highest priority, and among equals the first from `turn`
 * on that has nothing in this pass yet. */
static spn_place *next_prompt(const spn_scheduler *scheduler) {
    spn_place *best = NULL;
    uint32_t n = scheduler->options.n_sequences;
    for (uint32_t i = 0; i < n; i++) {
        spn_place *place = &scheduler->places[(scheduler->turn + i) % n];
        if (missing(place) == 0 || place->n_now > 0) continue;
        if (best == NULL || place->job->request.priority > best->job->request.priority)
            best = place;
    }
    return best;
}

static uint32_t prompt_rows(const spn_scheduler *scheduler, uint32_t n_generating) {
    uint32_t room = scheduler->size.n_batch - n_generating;
    if (n_generating == 0 || scheduler->tokens_s == 0) return room;
    double rows = scheduler->tokens_s * stutter_s;
    if (rows < LEAST_PROMPT_ROWS) rows = LEAST_PROMPT_ROWS;
    return rows < room ? (uint32_t)rows : room;
}

/* Sets n_now of every place; returns the rows of the pass. */
static uint32_t choose_rows(spn_scheduler *scheduler) {
    uint32_t n_generating = 0, n_rows;
    for (uint32_t i = 0; i < scheduler->options.n_sequences; i++) {
        spn_place *place = &scheduler->places[i];
        place->n_now = place->job != NULL && generates(place) ? 1 : 0;
        n_generating += place->n_now;
    }
    n_rows = n_generating;
    uint32_t room = prompt_rows(scheduler, n_generating);
    for (spn_place *place; room > 0 && (place = next_prompt(scheduler)) != NULL;) {
        place->n_now = missing(place) < room ? missing(place) : room;
        room -= place->n_now;
        n_rows += place->n_now;
    }
    assert(scheduler->options.n_sequences != 0);
    scheduler->turn = (scheduler->turn + 1) % scheduler->options.n_sequences;
    return n_rows;
}

static void add_segment(spn_scheduler *scheduler, spn_batch *batch, spn_place *place,
                        uint32_t *n_out) {
    scheduler->segments[batch->n_segments++] =
        (spn_segment){.layers = spn_kv_cache_layers(place->kv),
                      .states = spn_kv_cache_states(place->kv),
                      .first_row = batch->n_rows,
                      .n_rows = place->n_now,
                      .first_pos = place->n_cached};
    for (uint32_t i = 0; i < place->n_now; i++) {
        int32_t token = place->job->tokens[place->n_cached + i];
        place->tokens[place->n_cached + i] = token;
        scheduler->tokens[batch->n_rows] = token;
        scheduler->positions[batch->n_rows++] = (int32_t)(place->n_cached + i);
    }
    place->out_row = -1;
    if (place->n_now < missing(place)) return;
    place->out_row = (int)*n_out;
    scheduler->out_rows[(*n_out)++] = batch->n_rows - 1;
}

/* ---- after a pass ---- */

static void end_job(spn_job *job, spn_finish_reason reason) {
    job->ended = true;
    job->reason = reason;
    job->ended_ns = spn_time_ns();
}

static void fail_job(spn_job *job, spn_status status, const spn_error *err) {
    job->status = status;
    job->error = *err;
    end_job(job, SPN_FINISH_REASON_CANCELLED);
}

static void take_token(spn_scheduler *scheduler, spn_job *job, const float *logits) {
    spn_error err = {.text = ""};
    int32_t token = spn_sampler_sample(job->sampler, logits);
    spn_status status = SPN_STATUS_OK;
    if (token < 0)
        status = SPN_FAIL(&err, INFERENCE_FAILED, "the model's logits are not numbers");
    else
        status = spn_sampler_accept(job->sampler, token, &err);
    if (status != SPN_STATUS_OK) {
        fail_job(job, status, &err);
        return;
    }
    if (job->first_ns == 0) job->first_ns = spn_time_ns();
    const spn_tokenizer *tokenizer = scheduler->model->tokenizer;
    bool is_end = tokenizer != NULL && spn_tokenizer_is_end(tokenizer, token);
    if (is_end && !job->request.ignore_end) {
        end_job(job, SPN_FINISH_REASON_STOP);
        return;
    }
    job->tokens[job->n_tokens++] = token;
    const spn_request *request = &job->request;
    if (request->on_token != NULL && !request->on_token(job->id, token, request->user))
        end_job(job, SPN_FINISH_REASON_CANCELLED);
    else if (job->n_tokens >= job->n_most)
        end_job(job, SPN_FINISH_REASON_LENGTH);
}

static void settle(spn_scheduler *scheduler, spn_place *place) {
    if (place->n_now == 0) return;
    place->n_cached += place->n_now;
    place->last_used = ++scheduler->clock;
    if (place->out_row >= 0)
        take_token(scheduler, place->job,
                   scheduler->logits + (size_t)place->out_row * scheduler->model->network->n_vocab);
}

/* The pass did not finish: what it wrote is undefined, so its texts forget it; those that were not
 * cancelled themselves evaluate again. */
static void undo(spn_place *place, spn_status status, const spn_error *err) {
    if (place->n_now == 0) return;
    uint32_t n_cached = place->n_cached;
    place->n_cached = spn_kv_cache_rewind(place->kv, n_cached + place->n_now, n_cached);
    if (status != SPN_STATUS_CANCELLED) fail_job(place->job, status, err);
}

static void measure_speed(spn_scheduler *scheduler, uint32_t n_rows, double seconds) {
    if (n_rows < LEAST_PROMPT_ROWS || seconds <= 0) return;
    double now = n_rows / seconds;
    scheduler->tokens_s = scheduler->tokens_s == 0 ? now : 0.7 * scheduler->tokens_s + 0.3 * now;
}

void spn_scheduler_pass(spn_scheduler *scheduler) {
    uint32_t n_rows = choose_rows(scheduler), n_out = 0;
    spn_batch batch = {.tokens = scheduler->tokens,
                       .positions = scheduler->positions,
                       .segments = scheduler->segments};
    spn_error err = {.text = ""};
    for (uint32_t i = 0; i < scheduler->options.n_sequences; i++)
        if (scheduler->places[i].n_now > 0)
            add_segment(scheduler, &batch, &scheduler->places[i], &n_out);
    uint64_t start = spn_time_ns();
    spn_status status = spn_pass_run(scheduler->pass, &batch, scheduler->out_rows, n_out,
                                     scheduler->logits, &scheduler->cancel_pass, &err);
    if (status == SPN_STATUS_OK)
        measure_speed(scheduler, n_rows, (double)(spn_time_ns() - start) * 1e-9);
    for (uint32_t i = 0; i < scheduler->options.n_sequences; i++) {
        if (status == SPN_STATUS_OK)
            settle(scheduler, &scheduler->places[i]);
        else
            undo(&scheduler->places[i], status, &err);
    }
    spn_mutex_lock(scheduler->mutex);
    scheduler->n_passes++;
    if (status == SPN_STATUS_OK) scheduler->n_evaluated += n_rows;
    spn_mutex_unlock(scheduler->mutex);
}
