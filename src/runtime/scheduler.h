/* scheduler.h - the scheduler's inside, for the files that make it up.
 * SPDX-License-Identifier: Apache-2.0
 *
 * scheduler.c owns life, queue and callbacks; scheduler_pass.c chooses what a pass evaluates and
 * runs it. All but the queue belongs to the scheduler's own thread; `mutex` protects the queue, the
 * cancellations and the counters. */
#ifndef SPN_SCHEDULER_H
#define SPN_SCHEDULER_H

#include "platform/os.h"
#include "runtime/model.h"

typedef struct spn_job {
    struct spn_job *next; /* in the queue, by priority and then by age */
    uint64_t id;
    spn_request request; /* tokens and sampler arrays are not used after submit */
    spn_sampler *sampler;
    int32_t *tokens;                   /* [n_prompt + n_generated], room for [n_ctx] */
    size_t n_prompt, n_tokens, n_most; /* n_most: where generation ends at the latest */
    uint32_t n_cached;                 /* of the prompt */
    atomic_bool cancelled;
    bool ended;
    spn_finish_reason reason;
    spn_status status;
    spn_error error;
    uint64_t submitted_ns, started_ns, first_ns, ended_ns;
} spn_job;

/* A place for a text; its cache outlives the job, for the next one with the same beginning. */
typedef struct spn_place {
    spn_kv_cache *kv;
    int32_t *tokens; /* [n_ctx]: what the cache holds */
    uint32_t n_cached;
    uint64_t last_used;
    spn_job *job;   /* NULL: free */
    uint32_t n_now; /* rows of the pass being made */
    int out_row;    /* its row of logits, or -1 */
} spn_place;

struct spn_scheduler {
    const spn_model *model;
    spn_session_size size; /* of one spn_place */
    spn_scheduler_options options;
    spn_pass *pass;
    spn_place *places; /* [n_sequences] */
    uint32_t turn;     /* whose prompt comes first in the next pass */
    uint64_t clock;
    double tokens_s; /* measured speed of prompts; 0: not yet */

    /* one pass */
    int32_t *tokens, *positions; /* [n_batch] */
    spn_segment *segments;       /* [n_sequences] */
    uint32_t *out_rows;          /* [n_sequences] */
    float *logits;               /* [n_sequences][n_vocab] */
    atomic_int cancel_pass;

    spn_mutex *mutex;
    spn_cond *changed; /* work came, or the last work is done, or stop */
    spn_thread *thread;
    spn_job *waiting;
    uint32_t n_waiting, n_running;
    uint64_t last_id, n_passes, n_evaluated;
    bool stop;
};

/* Gives a free place to the job: the one that knows most of its beginning, else the one unused for
 * the longest time. */
void spn_scheduler_place(spn_scheduler *scheduler, spn_job *job);
/* Evaluates one pass over the running jobs, samples, and marks jobs that ended. */
void spn_scheduler_pass(spn_scheduler *scheduler);

#endif
