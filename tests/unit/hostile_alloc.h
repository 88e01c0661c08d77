/* hostile_alloc.h - an allocator that counts, and fails when told to.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each block carries its size in front, so that the memory in use at once is known.
 */
#ifndef TEST_HOSTILE_ALLOC_H
#define TEST_HOSTILE_ALLOC_H

#include <stdlib.h>
#include <string.h>

#include "spn/status.h"

typedef struct hostile_alloc {
    long n_calls; /* malloc and realloc so far */
    long fail_at; /* this call and all after it fail; 0: none */
    size_t n_bytes, n_most_bytes;
    long n_blocks;
} hostile_alloc;

enum { HOSTILE_HEAD = 16 }; /* keeps the alignment of malloc */

static inline void *hostile_malloc(size_t n_bytes, void *user) {
    hostile_alloc *heap = user;
    if (++heap->n_calls >= heap->fail_at && heap->fail_at > 0) return NULL;
    if (n_bytes > SIZE_MAX - HOSTILE_HEAD) return NULL;
    char *block = malloc(n_bytes + HOSTILE_HEAD);
    if (block == NULL) return NULL;
    memcpy(block, &n_bytes, sizeof n_bytes);
    heap->n_blocks++;
    heap->n_bytes += n_bytes;
    if (heap->n_bytes > heap->n_most_bytes) heap->n_most_bytes = heap->n_bytes;
    return block + HOSTILE_HEAD;
}

static inline void hostile_free(void *block, void *user) {
    hostile_alloc *heap = user;
    size_t n_bytes;
    if (block == NULL) return;
    memcpy(&n_bytes, (char *)block - HOSTILE_HEAD, sizeof n_bytes);
    heap->n_blocks--;
    heap->n_bytes -= n_bytes;
    free((char *)block - HOSTILE_HEAD);
}

/* Always moves, so that an old pointer that is still in use shows. */
static inline void *hostile_realloc(void *block, size_t n_bytes, void *user) {
    void *moved = hostile_malloc(n_bytes, user);
    if (moved == NULL || block == NULL) return moved;
    size_t before;
    memcpy(&before, (char *)block - HOSTILE_HEAD, sizeof before);
    memcpy(moved, block, before < n_bytes ? before : n_bytes);
    hostile_free(block, user);
    return moved;
}

static inline void hostile_install(hostile_alloc *heap) {
    spn_allocator hook = {hostile_malloc, hostile_realloc, hostile_free, heap};
    spn_set_allocator(&hook);
}

#endif
