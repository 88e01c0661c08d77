/* pool.h - a team of threads that runs one function at a time.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The calling thread is member 0, so a pool of one thread starts none. Between runs the others
 * watch for work for some microseconds and then sleep: an idle pool takes no processor time.
 */
#ifndef SPN_POOL_H
#define SPN_POOL_H

#include "base/base.h"

typedef struct spn_pool spn_pool; /* one run at a time */

/* n_threads 0: the processors this process may use. Errors: NO_MEMORY, PROCESS (no thread). */
spn_status spn_pool_create(spn_pool **out, uint32_t n_threads, spn_error *err);
void spn_pool_free(spn_pool *pool);
uint32_t spn_pool_n_threads(const spn_pool *pool);

/* Calls fn(arg, member) on this thread as member 0 and, as soon as they wake, on up to
 * n_members - 1 others. Returns when all that have entered fn have left it; a member that did not
 * wake in time never enters, so fn must not count on their number. */
typedef void (*spn_pool_fn)(void *arg, uint32_t member);
void spn_pool_run(spn_pool *pool, spn_pool_fn fn, void *arg, uint32_t n_members);

/* One step of waiting for another member: a pause at first, then the processor is given up, for
 * the one waited for may need it. *n_waits counts from 0. */
void spn_pool_wait(uint32_t *n_waits);

#endif
