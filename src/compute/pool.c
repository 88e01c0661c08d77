/* pool.c - a team of threads that runs one function at a time. SPDX-License-Identifier: Apache-2.0
 *
 * `ticket` says which run is open: even, none; odd, run number (ticket + 1) / 2. A member enters by
 * adding itself to `n_inside` and then looking at the ticket again: the caller closes the run by
 * making the ticket even and then waits for n_inside to fall to 0. Both sides write before they
 * read, sequentially consistent, so either the member sees the run closed and leaves, or the caller
 * sees the member inside and waits.
 */
#include "compute/pool.h"

#include <stdatomic.h>

#include "platform/os.h"

struct member {
    spn_pool *pool;
    spn_thread *thread;
    uint32_t number;
    bool is_placed; /* on memory node `node` */
    uint32_t node;
};

struct spn_pool {
    uint32_t n_threads;
    struct member *members; /* [n_threads - 1], numbers 1 ... */
    spn_mutex *mutex;       /* protects sleeping: ticket changes while someone sleeps */
    spn_cond *wake;
    uint32_t n_asleep; /* under mutex */
    bool stop;         /* under mutex */
    spn_pool_fn fn;    /* written before the ticket turns odd */
    void *arg;
    uint32_t n_members;
    atomic_uint ticket;
    atomic_uint n_inside;
};

enum { PAUSES_BEFORE_YIELD = 2000, SPINS_BEFORE_SLEEP = 4000 };

void spn_pool_wait(uint32_t *n_waits) {
    if (++*n_waits < PAUSES_BEFORE_YIELD)
        spn_cpu_relax();
    else
        spn_thread_yield();
}

/* Waits for a ticket other than `seen`; false when the pool ends. */
static bool next_ticket(spn_pool *pool, unsigned *seen) {
    for (int i = 0; i < SPINS_BEFORE_SLEEP; i++) {
        unsigned now = atomic_load_explicit(&pool->ticket, memory_order_acquire);
        if (now != *seen && now % 2 == 1) {
            *seen = now;
            return true;
        }
        spn_cpu_relax();
    }
    spn_mutex_lock(pool->mutex);
    pool->n_asleep++;
    unsigned now = *seen;
    while (!pool->stop && ((now = atomic_load(&pool->ticket)) == *seen || now % 2 == 0))
        spn_cond_wait(pool->wake, pool->mutex);
    pool->n_asleep--;
    bool stop = pool->stop;
    spn_mutex_unlock(pool->mutex);
    if (!stop) *seen = now;
    return !stop;
}

static void member_main(void *arg) {
    struct member *self = arg;
    spn_pool *pool = self->pool;
    unsigned seen = 0;
    if (self->is_placed) spn_thread_stay_on(self->node);
    while (next_ticket(pool, &seen)) {
        atomic_fetch_add(&pool->n_inside, 1);
        if (atomic_load(&pool->ticket) == seen && self->number < pool->n_members)
            pool->fn(pool->arg, self->number);
        atomic_fetch_sub(&pool->n_inside, 1);
    }
}

void spn_pool_run(spn_pool *pool, spn_pool_fn fn, void *arg, uint32_t n_members) {
    if (pool->n_threads == 1 || n_members == 1) {
        fn(arg, 0);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->n_members = n_members;
    spn_mutex_lock(pool->mutex);
    atomic_fetch_add(&pool->ticket, 1);
    if (pool->n_asleep > 0) spn_cond_broadcast(pool->wake);
    spn_mutex_unlock(pool->mutex);
    fn(arg, 0);
    atomic_fetch_add(&pool->ticket, 1);
    for (uint32_t n_waits = 0; atomic_load(&pool->n_inside) != 0;) spn_pool_wait(&n_waits);
}

uint32_t spn_pool_n_threads(const spn_pool *pool) { return pool->n_threads; }

void spn_pool_free(spn_pool *pool) {
    if (pool == NULL) return;
    if (pool->mutex != NULL && pool->wake != NULL) {
        spn_mutex_lock(pool->mutex);
        pool->stop = true;
        spn_cond_broadcast(pool->wake);
        spn_mutex_unlock(pool->mutex);
    }
    for (uint32_t i = 0; pool->members != NULL && i + 1 < pool->n_threads; i++)
        if (pool->members[i].thread != NULL) spn_thread_join(pool->members[i].thread);
    spn_free(pool->members);
    spn_cond_free(pool->wake);
    spn_mutex_free(pool->mutex);
    spn_free(pool);
}

/* With several memory nodes, each member stays on one. The caller's thread is the program's own and
 * runs where the program likes. */
static void place_members(spn_pool *pool) {
    uint32_t *node_of = spn_alloc_zeroed(pool->n_threads, sizeof *node_of);
    if (node_of != NULL && spn_numa_plan(pool->n_threads, node_of))
        for (uint32_t i = 1; i < pool->n_threads; i++) {
            pool->members[i - 1].is_placed = true;
            pool->members[i - 1].node = node_of[i];
        }
    spn_free(node_of);
}

spn_status spn_pool_create(spn_pool **out, uint32_t n_threads, spn_error *err) {
    if (n_threads == 0) n_threads = spn_cpu_usable();
    if (n_threads > 1024)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%u threads are too many: at most 1024", n_threads);
    spn_status status = SPN_STATUS_OK;
    spn_pool *pool = spn_alloc_zeroed(1, sizeof *pool);
    if (pool == NULL) return SPN_NO_MEMORY(err, "the thread pool");
    pool->n_threads = n_threads;
    pool->members = spn_alloc_zeroed(n_threads, sizeof *pool->members);
    pool->mutex = spn_mutex_create();
    pool->wake = spn_cond_create();
    if (pool->members == NULL || pool->mutex == NULL || pool->wake == NULL) {
        status = SPN_NO_MEMORY(err, "the thread pool");
        goto done;
    }
    place_members(pool);
    for (uint32_t i = 0; i + 1 < n_threads; i++) {
        struct member *member = &pool->members[i];
        member->pool = pool;
        member->number = i + 1;
        SPN_TRY_GOTO(spn_thread_start(&member->thread, member_main, member, "spn-worker", err));
    }
    *out = pool;
    return SPN_STATUS_OK;
done:
    spn_pool_free(pool);
    return status;
}
