/* executor.c - several models within a memory budget. SPDX-License-Identifier: Apache-2.0
 *
 * One lock protects the table of entries; loading and unloading happen outside of it, while the
 * entry's state keeps others away and its bytes stay reserved. `changed` is broadcast whenever an
 * entry changes its state: waiters look again. A thread of the executor's own lets models go whose
 * time is over. */
#include <string.h>

#include "platform/os.h"
#include "spn/executor.h"

#define DEFAULT_KEEP_ALIVE_MS (5 * 60 * 1000)

typedef enum entry_state {
    ENTRY_LOADING,
    ENTRY_IDLE,
    ENTRY_IN_USE,
    ENTRY_CLOSING, /* its runtime is being freed; the bytes are still taken */
} entry_state;

typedef struct entry {
    struct entry *next;
    char *reference, *path;
    spn_runtime *runtime;
    uint64_t n_bytes;
    uint32_t n_ctx;
    entry_state state;
    bool is_retired;       /* no new user may have it */
    int64_t keep_alive_ms; /* -1: for ever */
    uint64_t last_used;    /* a counter, larger is later */
    uint64_t expires_ns;   /* of an idle one; UINT64_MAX: never */
} entry;

/* A call that waits for a model, on its own stack, in the order of coming. */
typedef struct waiter {
    struct waiter *next;
    const char *reference;
} waiter;

struct spn_executor {
    spn_executor_options opt;
    char *chat_template, *draft_path; /* the copies in opt.load */
    spn_thread *thread;               /* lets expired models go */

    spn_mutex *lock;
    spn_cond *changed;
    entry *entries;
    waiter *waiters;
    uint64_t n_used_bytes;
    uint64_t n_uses; /* counts for last_used */
    bool is_ending;
};

/* ---- entries (the lock is held) ---- */

static entry *find(spn_executor *executor, const char *reference) {
    for (entry *e = executor->entries; e != NULL; e = e->next)
        if (!e->is_retired && strcmp(e->reference, reference) == 0) return e;
    return NULL;
}

static entry *find_runtime(spn_executor *executor, const spn_runtime *runtime) {
    for (entry *e = executor->entries; e != NULL; e = e->next)
        if (e->runtime == runtime) return e;
    return NULL;
}

static size_t count_entries(const spn_executor *executor) {
    size_t n = 0;
    for (const entry *e = executor->entries; e != NULL; e = e->next) n++;
    return n;
}

static void free_entry(entry *e) {
    spn_runtime_free(e->runtime);
    spn_free(e->reference);
    spn_free(e->path);
    spn_free(e);
}

/* Frees an idle entry or one that was never loaded. Lets go of the lock meanwhile. */
static void close_entry(spn_executor *executor, entry *e) {
    e->state = ENTRY_CLOSING;
    e->is_retired = true;
    spn_mutex_unlock(executor->lock);
    spn_runtime_free(e->runtime);
    spn_mutex_lock(executor->lock);
    e->runtime = NULL;
    executor->n_used_bytes -= e->n_bytes;
    entry **link = &executor->entries;
    while (*link != e) link = &(*link)->next;
    *link = e->next;
    free_entry(e);
    spn_cond_broadcast(executor->changed);
}

static void set_idle(spn_executor *executor, entry *e) {
    e->state = ENTRY_IDLE;
    e->last_used = ++executor->n_uses;
    e->expires_ns = UINT64_MAX;
    if (e->keep_alive_ms >= 0)
        e->expires_ns = spn_time_ns() + (uint64_t)e->keep_alive_ms * 1000000u;
    spn_cond_broadcast(executor->changed);
}

static entry *least_recently_used(const spn_executor *executor) {
    entry *oldest = NULL;
    for (entry *e = executor->entries; e != NULL; e = e->next)
        if (e->state == ENTRY_IDLE && (oldest == NULL || e->last_used < oldest->last_used))
            oldest = e;
    return oldest;
}

/* ---- waiting (the lock is held) ---- */

/* Waits for a change until `deadline`; false when that has passed. */
static bool wait_for_change(spn_executor *executor, uint64_t deadline) {
    if (deadline == UINT64_MAX) {
        spn_cond_wait(executor->changed, executor->lock);
        return true;
    }
    uint64_t now = spn_time_ns();
    if (now >= deadline) return false;
    spn_cond_wait_for(executor->changed, executor->lock, deadline - now);
    return true;
}

static uint64_t deadline_of(int32_t timeout_ms) {
    return timeout_ms < 0 ? UINT64_MAX : spn_time_ns() + (uint64_t)timeout_ms * 1000000u;
}

static void join_queue(spn_executor *executor, waiter *self) {
    waiter **end = &executor->waiters;
    while (*end != NULL) end = &(*end)->next;
    *end = self;
}

static void leave_queue(spn_executor *executor, waiter *self) {
    waiter **link = &executor->waiters;
    while (*link != self) link = &(*link)->next;
    *link = self->next;
    spn_cond_broadcast(executor->changed);
}

/* Whether nobody who came before wants the same model. */
static bool is_first(const spn_executor *executor, const waiter *self) {
    for (const waiter *w = executor->waiters; w != self; w = w->next)
        if (strcmp(w->reference, self->reference) == 0) return false;
    return true;
}

/* ---- loading ---- */

static spn_status locate(const spn_executor *executor, const char *reference, char **path,
                         spn_error *err) {
    if (executor->opt.locate != NULL)
        return executor->opt.locate(reference, path, executor->opt.locate_user, err);
    *path = spn_strdup(reference);
    return *path != NULL ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "a model's path");
}

/* Lets idle models go until n_bytes more fit. The lock is held, but not all the time. */
static spn_status make_room(spn_executor *executor, const char *reference, uint64_t n_bytes,
                            uint64_t deadline, spn_error *err) {
    uint64_t budget = executor->opt.memory_budget;
    uint32_t most = executor->opt.max_models;
    if (n_bytes > budget)
        return SPN_FAIL(err, INSUFFICIENT_MEMORY,
                        "%s needs %llu MiB, and all models together may take %llu MiB; use a "
                        "smaller context or raise the memory budget",
                        reference, (unsigned long long)(n_bytes >> 20),
                        (unsigned long long)(budget >> 20));
    while (executor->n_used_bytes > budget - n_bytes ||
           (most > 0 && count_entries(executor) >= most)) {
        entry *oldest = least_recently_used(executor);
        if (oldest != NULL)
            close_entry(executor, oldest);
        else if (!wait_for_change(executor, deadline))
            return SPN_FAIL(err, TIMEOUT,
                            "%s does not fit beside the models in use: %llu of %llu MiB are taken",
                            reference, (unsigned long long)(executor->n_used_bytes >> 20),
                            (unsigned long long)(budget >> 20));
    }
    return SPN_STATUS_OK;
}

static spn_status measure(const char *path, const spn_load_config *config, uint64_t *n_bytes,
                          spn_error *err) {
    spn_memory_need need;
    SPN_TRY(spn_runtime_estimate(path, config, &need, err));
    *n_bytes = need.total - need.process;
    return SPN_STATUS_OK;
}

/* A new entry, in the table and LOADING. The lock is held. */
static spn_status add_entry(spn_executor *executor, const char *reference, char *path,
                            uint64_t n_bytes, const spn_load_config *config, entry **out,
                            spn_error *err) {
    entry *e = spn_alloc_zeroed(1, sizeof *e);
    char *copy = spn_strdup(reference);
    if (e == NULL || copy == NULL) {
        spn_free(e);
        spn_free(copy);
        spn_free(path);
        return SPN_NO_MEMORY(err, "a model's entry");
    }
    *e = (entry){.next = executor->entries,
                 .reference = copy,
                 .path = path,
                 .n_bytes = n_bytes,
                 .state = ENTRY_LOADING,
                 .keep_alive_ms =
                     config->keep_alive_ms == 0 ? DEFAULT_KEEP_ALIVE_MS : config->keep_alive_ms};
    executor->entries = e;
    executor->n_used_bytes += n_bytes;
    *out = e;
    return SPN_STATUS_OK;
}

/* Loads an entry's model. The lock is held, but not while it loads. */
static spn_status load_entry(spn_executor *executor, entry *e, const spn_load_config *config,
                             spn_error *err) {
    spn_runtime *runtime = NULL;
    spn_mutex_unlock(executor->lock);
    spn_status status = spn_runtime_create(&runtime, err);
    if (status == SPN_STATUS_OK) status = spn_runtime_load(runtime, e->path, config, err);
    spn_mutex_lock(executor->lock);
    spn_session_info session = {0};
    e->runtime = runtime;
    if (status != SPN_STATUS_OK) {
        close_entry(executor, e);
        return status;
    }
    spn_runtime_session_info(runtime, &session);
    e->n_ctx = session.n_ctx;
    set_idle(executor, e);
    return SPN_STATUS_OK;
}

/* Finds, measures and makes room for a model, and adds its entry. The lock is held, but not all
 * the time: when the model has come meanwhile, *out is NULL. */
static spn_status begin_entry(spn_executor *executor, const char *reference, const char *given,
                              const spn_load_config *config, uint64_t deadline, entry **out,
                              spn_error *err) {
    char *path = NULL;
    uint64_t n_bytes = 0;
    spn_status status = SPN_STATUS_OK;
    *out = NULL;
    spn_mutex_unlock(executor->lock);
    if (given != NULL && (path = spn_strdup(given)) == NULL)
        status = SPN_NO_MEMORY(err, "a model's path");
    if (given == NULL) status = locate(executor, reference, &path, err);
    if (status == SPN_STATUS_OK) status = measure(path, config, &n_bytes, err);
    spn_mutex_lock(executor->lock);
    if (status == SPN_STATUS_OK) status = make_room(executor, reference, n_bytes, deadline, err);
    if (status != SPN_STATUS_OK || (given == NULL && find(executor, reference) != NULL)) {
        spn_free(path);
        return status;
    }
    return add_entry(executor, reference, path, n_bytes, config, out, err);
}

/* ---- leases ---- */

/* Waits until the model is loaded, idle and this caller's turn. The lock is held. */
static spn_status take(spn_executor *executor, const waiter *self, uint64_t deadline, entry **out,
                       spn_error *err) {
    for (;;) {
        entry *e = find(executor, self->reference);
        if (e == NULL && is_first(executor, self)) {
            SPN_TRY(begin_entry(executor, self->reference, NULL, &executor->opt.load, deadline, &e,
                                err));
            if (e != NULL) SPN_TRY(load_entry(executor, e, &executor->opt.load, err));
            continue;
        }
        if (e != NULL && e->state == ENTRY_IDLE && is_first(executor, self)) {
            e->state = ENTRY_IN_USE;
            *out = e;
            return SPN_STATUS_OK;
        }
        if (!wait_for_change(executor, deadline))
            return SPN_FAIL(err, TIMEOUT, "%s is in use by others", self->reference);
    }
}

spn_status spn_executor_acquire(spn_executor *executor, const char *reference, int32_t timeout_ms,
                                spn_runtime **runtime, spn_error *err) {
    waiter self = {.reference = reference};
    entry *e = NULL;
    if (reference == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "the model's name is NULL");
    spn_mutex_lock(executor->lock);
    join_queue(executor, &self);
    spn_status status = take(executor, &self, deadline_of(timeout_ms), &e, err);
    leave_queue(executor, &self);
    if (status == SPN_STATUS_OK) *runtime = e->runtime;
    spn_mutex_unlock(executor->lock);
    return status;
}

void spn_executor_release(spn_executor *executor, spn_runtime *runtime) {
    spn_mutex_lock(executor->lock);
    entry *e = runtime != NULL ? find_runtime(executor, runtime) : NULL;
    if (e != NULL && e->is_retired)
        close_entry(executor, e);
    else if (e != NULL)
        set_idle(executor, e);
    spn_mutex_unlock(executor->lock);
}

/* ---- asking ---- */

spn_status spn_executor_infer(spn_executor *executor, const char *reference, const char *prompt,
                              const spn_chat_options *options, spn_chat_response *response,
                              spn_error *err) {
    spn_runtime *runtime = NULL;
    SPN_TRY(spn_executor_acquire(executor, reference, -1, &runtime, err));
    spn_status status = spn_runtime_infer(runtime, prompt, options, response, err);
    spn_executor_release(executor, runtime);
    return status;
}

spn_status spn_executor_chat(spn_executor *executor, const char *reference,
                             const spn_chat_message *messages, size_t n_messages,
                             const spn_chat_options *options, spn_chat_response *response,
                             spn_error *err) {
    spn_runtime *runtime = NULL;
    SPN_TRY(spn_executor_acquire(executor, reference, -1, &runtime, err));
    spn_status status = spn_runtime_chat(runtime, messages, n_messages, options, response, err);
    spn_executor_release(executor, runtime);
    return status;
}

spn_status spn_executor_embed_batch(spn_executor *executor, const char *reference,
                                    const char *const *texts, size_t n_texts,
                                    const spn_embed_options *options,
                                    spn_embedding_response *responses, spn_error *err) {
    spn_runtime *runtime = NULL;
    SPN_TRY(spn_executor_acquire(executor, reference, -1, &runtime, err));
    spn_status status = spn_runtime_embed_batch(runtime, texts, n_texts, options, responses, err);
    spn_executor_release(executor, runtime);
    return status;
}

spn_status spn_executor_embed(spn_executor *executor, const char *reference, const char *text,
                              const spn_embed_options *options, spn_embedding_response *response,
                              spn_error *err) {
    return spn_executor_embed_batch(executor, reference, &text, 1, options, response, err);
}

/* ---- managing ---- */

static spn_status load_as(spn_executor *executor, const char *reference, const char *path,
                          const spn_load_config *config, spn_error *err) {
    entry *e = NULL;
    if (config == NULL) config = &executor->opt.load;
    SPN_TRY(begin_entry(executor, reference, path, config, UINT64_MAX, &e, err));
    if (e == NULL) return SPN_FAIL(err, ALREADY_LOADED, "%s is loaded", reference);
    if (path == NULL) return load_entry(executor, e, config, err);
    /* Beside the present one: nobody may find it before it is ready. */
    e->is_retired = true;
    SPN_TRY(load_entry(executor, e, config, err));
    entry *old = find(executor, reference);
    e->is_retired = false;
    if (old == NULL) return SPN_STATUS_OK;
    old->is_retired = true;
    if (old->state == ENTRY_IDLE) close_entry(executor, old);
    return SPN_STATUS_OK;
}

spn_status spn_executor_load(spn_executor *executor, const char *reference,
                             const spn_load_config *config, spn_error *err) {
    if (reference == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "the model's name is NULL");
    spn_mutex_lock(executor->lock);
    spn_status status;
    if (find(executor, reference) != NULL)
        status = SPN_FAIL(err, ALREADY_LOADED, "%s is loaded", reference);
    else
        status = load_as(executor, reference, NULL, config, err);
    spn_mutex_unlock(executor->lock);
    return status;
}

spn_status spn_executor_replace(spn_executor *executor, const char *reference, const char *path,
                                const spn_load_config *config, spn_error *err) {
    if (reference == NULL || path == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "the model's name or path is NULL");
    spn_mutex_lock(executor->lock);
    spn_status status = load_as(executor, reference, path, config, err);
    spn_mutex_unlock(executor->lock);
    return status;
}

spn_status spn_executor_unload(spn_executor *executor, const char *reference, spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    if (reference == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "the model's name is NULL");
    spn_mutex_lock(executor->lock);
    entry *e = find(executor, reference);
    while (e != NULL && e->state == ENTRY_LOADING) {
        spn_cond_wait(executor->changed, executor->lock);
        e = find(executor, reference);
    }
    if (e == NULL) {
        status = SPN_FAIL(err, MODEL_NOT_LOADED, "%s is not loaded", reference);
    } else {
        e->is_retired = true;
        if (e->state == ENTRY_IDLE) close_entry(executor, e);
    }
    spn_mutex_unlock(executor->lock);
    return status;
}

/* ---- telling ---- */

static bool describe(const spn_executor *executor, const entry *e, spn_running_model *out) {
    const spn_model_info *info = spn_runtime_model_info(e->runtime);
    uint64_t now = spn_time_ns();
    *out = (spn_running_model){.reference = spn_strdup(e->reference),
                               .path = spn_strdup(e->path),
                               .architecture = spn_strdup(info->architecture),
                               .quantization = spn_strdup(info->quantization),
                               .note = spn_strdup(spn_runtime_note(e->runtime)),
                               .memory_bytes = e->n_bytes,
                               .n_ctx = e->n_ctx,
                               .is_in_use = e->state == ENTRY_IN_USE,
                               .is_retired = e->is_retired};
    if (e->state == ENTRY_IDLE && e->expires_ns == UINT64_MAX) out->expires_in_ms = -1;
    if (e->state == ENTRY_IDLE && e->expires_ns != UINT64_MAX && e->expires_ns > now)
        out->expires_in_ms = (int64_t)((e->expires_ns - now) / 1000000u);
    for (const waiter *w = executor->waiters; w != NULL; w = w->next)
        if (!e->is_retired && strcmp(w->reference, e->reference) == 0) out->n_waiting++;
    return out->reference && out->path && out->architecture && out->quantization && out->note;
}

/* The loaded entry used last before `before`. */
static const entry *next_recent(const spn_executor *executor, uint64_t before) {
    const entry *best = NULL;
    for (const entry *e = executor->entries; e != NULL; e = e->next)
        if ((e->state == ENTRY_IDLE || e->state == ENTRY_IN_USE) && e->last_used < before &&
            (best == NULL || e->last_used > best->last_used))
            best = e;
    return best;
}

spn_status spn_executor_running(spn_executor *executor, spn_running_model **models, size_t *n,
                                spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    size_t n_found = 0;
    spn_mutex_lock(executor->lock);
    spn_running_model *list = spn_alloc_zeroed(count_entries(executor) + 1, sizeof *list);
    const entry *e = list != NULL ? next_recent(executor, UINT64_MAX) : NULL;
    if (list == NULL) status = SPN_NO_MEMORY(err, "the list of models");
    for (; e != NULL && status == SPN_STATUS_OK; e = next_recent(executor, e->last_used))
        if (!describe(executor, e, &list[n_found++]))
            status = SPN_NO_MEMORY(err, "the list of models");
    spn_mutex_unlock(executor->lock);
    if (status != SPN_STATUS_OK) {
        spn_running_models_free(list, n_found);
        return status;
    }
    *models = list;
    *n = n_found;
    return SPN_STATUS_OK;
}

void spn_running_models_free(spn_running_model *models, size_t n) {
    for (size_t i = 0; models != NULL && i < n; i++) {
        spn_free(models[i].reference);
        spn_free(models[i].path);
        spn_free(models[i].architecture);
        spn_free(models[i].quantization);
        spn_free(models[i].note);
    }
    spn_free(models);
}

void spn_executor_memory(spn_executor *executor, uint64_t *budget, uint64_t *used) {
    spn_mutex_lock(executor->lock);
    if (budget != NULL) *budget = executor->opt.memory_budget;
    if (used != NULL) *used = executor->n_used_bytes;
    spn_mutex_unlock(executor->lock);
}

/* ---- life ---- */

/* Lets models go whose time is over, until the executor ends. */
static void keep_time(void *arg) {
    spn_executor *executor = arg;
    spn_mutex_lock(executor->lock);
    while (!executor->is_ending) {
        uint64_t now = spn_time_ns(), next = UINT64_MAX;
        entry *over = NULL;
        for (entry *e = executor->entries; e != NULL; e = e->next) {
            if (e->state != ENTRY_IDLE) continue;
            if (e->expires_ns <= now)
                over = e;
            else if (e->expires_ns < next)
                next = e->expires_ns;
        }
        if (over != NULL)
            close_entry(executor, over);
        else
            wait_for_change(executor, next);
    }
    spn_mutex_unlock(executor->lock);
}

static spn_status copy_text(char **copy, const char **text, spn_error *err) {
    if (*text == NULL) return SPN_STATUS_OK;
    *copy = spn_strdup(*text);
    if (*copy == NULL) return SPN_NO_MEMORY(err, "an executor's options");
    *text = *copy;
    return SPN_STATUS_OK;
}

static spn_status set_options(spn_executor *executor, const spn_executor_options *options,
                              spn_error *err) {
    spn_ram_info ram;
    if (options != NULL) executor->opt = *options;
    if (executor->opt.memory_budget == 0) {
        SPN_TRY(spn_detect_ram(&ram, err));
        executor->opt.memory_budget = ram.available / 5 * 4;
    }
    SPN_TRY(copy_text(&executor->chat_template, &executor->opt.load.chat_template, err));
    SPN_TRY(copy_text(&executor->draft_path, &executor->opt.load.draft_path, err));
    executor->lock = spn_mutex_create();
    executor->changed = spn_cond_create();
    if (executor->lock == NULL || executor->changed == NULL)
        return SPN_NO_MEMORY(err, "an executor");
    return spn_thread_start(&executor->thread, keep_time, executor, "spn-executor", err);
}

spn_status spn_executor_create(spn_executor **out, const spn_executor_options *options,
                               spn_error *err) {
    spn_executor *executor = spn_alloc_zeroed(1, sizeof *executor);
    if (executor == NULL) return SPN_NO_MEMORY(err, "an executor");
    spn_status status = set_options(executor, options, err);
    if (status == SPN_STATUS_OK)
        *out = executor;
    else
        spn_executor_free(executor);
    return status;
}

void spn_executor_free(spn_executor *executor) {
    if (executor == NULL) return;
    if (executor->thread != NULL) {
        spn_mutex_lock(executor->lock);
        executor->is_ending = true;
        spn_cond_broadcast(executor->changed);
        spn_mutex_unlock(executor->lock);
        spn_thread_join(executor->thread);
    }
    for (entry *e = executor->entries, *next; e != NULL; e = next) {
        next = e->next;
        free_entry(e);
    }
    spn_cond_free(executor->changed);
    spn_mutex_free(executor->lock);
    spn_free(executor->chat_template);
    spn_free(executor->draft_path);
    spn_free(executor);
}
