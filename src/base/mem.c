/* mem.c - the allocator hook and what stands on it: arrays, aligned blocks, buffers, arenas.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The hook is plain global state, set once before other threads exist (see status.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static void *libc_malloc(size_t n_bytes, void *user) {
    (void)user;
    return malloc(n_bytes);
}

static void *libc_realloc(void *block, size_t n_bytes, void *user) {
    (void)user;
    return realloc(block, n_bytes);
}

static void libc_free(void *block, void *user) {
    (void)user;
    free(block);
}

static const spn_allocator libc_allocator = {libc_malloc, libc_realloc, libc_free, NULL};
static spn_allocator hook = {libc_malloc, libc_realloc, libc_free, NULL};

spn_status spn_set_allocator(const spn_allocator *allocator) {
    if (allocator == NULL) allocator = &libc_allocator;
    if (!allocator->malloc || !allocator->realloc || !allocator->free)
        return SPN_STATUS_INVALID_ARGUMENT;
    hook = *allocator;
    return SPN_STATUS_OK;
}

void spn_free(void *block) {
    if (block != NULL) hook.free(block, hook.user);
}

/* Never asks for 0 bytes: the C library may answer that with NULL, which means failure here. */
void *spn_alloc(size_t n_bytes) { return hook.malloc(n_bytes ? n_bytes : 1, hook.user); }

void *spn_alloc_array(size_t n, size_t item_bytes) {
    size_t n_bytes;
    return spn_mul_size(n, item_bytes, &n_bytes) ? spn_alloc(n_bytes) : NULL;
}

/* The C library knows which memory comes fresh from the system: writing zeros into it as well would
 * bring in every page, those that are never used too. */
static void *alloc_zeros(size_t n_bytes) {
    if (hook.malloc == libc_malloc) return calloc(n_bytes ? n_bytes : 1, 1);
    void *block = spn_alloc(n_bytes);
    if (block != NULL) memset(block, 0, n_bytes);
    return block;
}

void *spn_alloc_zeroed(size_t n, size_t item_bytes) {
    size_t n_bytes;
    return spn_mul_size(n, item_bytes, &n_bytes) ? alloc_zeros(n_bytes) : NULL;
}

void *spn_realloc_array(void *block, size_t n, size_t item_bytes) {
    size_t n_bytes;
    if (!spn_mul_size(n, item_bytes, &n_bytes)) return NULL;
    return hook.realloc(block, n_bytes ? n_bytes : 1, hook.user);
}

char *spn_memdup_text(const char *text, size_t n_bytes) {
    size_t total;
    char *copy = spn_add_size(n_bytes, 1, &total) ? spn_alloc(total) : NULL;
    if (copy == NULL) return NULL;
    if (n_bytes > 0) memcpy(copy, text, n_bytes);
    copy[n_bytes] = '\0';
    return copy;
}

char *spn_strdup(const char *text) { return spn_memdup_text(text, strlen(text)); }

/* The block's start is kept in the pointer-sized word just before the aligned address. */
static void *alloc_aligned(size_t n_bytes, size_t alignment, void *(*alloc)(size_t)) {
    size_t total;
    if (!spn_add_size(n_bytes, alignment + sizeof(void *), &total)) return NULL;
    char *block = alloc(total);
    if (block == NULL) return NULL;
    size_t skip = sizeof(void *);
    skip += (alignment - ((uintptr_t)block + skip) % alignment) % alignment;
    memcpy(block + skip - sizeof(void *), &block, sizeof block);
    return block + skip;
}

void *spn_alloc_aligned(size_t n_bytes, size_t alignment) {
    return alloc_aligned(n_bytes, alignment, spn_alloc);
}

void *spn_alloc_aligned_zeroed(size_t n_bytes, size_t alignment) {
    return alloc_aligned(n_bytes, alignment, alloc_zeros);
}

void spn_free_aligned(void *block) {
    if (block == NULL) return;
    char *start;
    memcpy(&start, (char *)block - sizeof(void *), sizeof start);
    spn_free(start);
}

/* ---- growing buffer ---- */

#define BUF_DEFAULT_MAX ((size_t)1 << 30)

bool spn_buf_reserve(spn_buf *buf, size_t n_more) {
    size_t max = buf->max ? buf->max : BUF_DEFAULT_MAX, need;
    if (buf->failed || !spn_add_size(buf->len, n_more, &need) || need > max) {
        buf->failed = true;
        return false;
    }
    if (need < buf->cap) return true; /* one byte is for the NUL */
    size_t cap = spn_max_size(need + 1, spn_min_size(buf->cap * 2, max + 1));
    char *data = spn_realloc_array(buf->data, spn_max_size(cap, 64), 1);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    if (buf->data == NULL) data[0] = '\0';
    buf->data = data;
    buf->cap = spn_max_size(cap, 64);
    return true;
}

bool spn_buf_append(spn_buf *buf, const void *bytes, size_t n_bytes) {
    if (!spn_buf_reserve(buf, n_bytes)) return false;
    if (n_bytes > 0) memcpy(buf->data + buf->len, bytes, n_bytes);
    buf->len += n_bytes;
    buf->data[buf->len] = '\0';
    return true;
}

bool spn_buf_append_text(spn_buf *buf, const char *text) {
    return spn_buf_append(buf, text, strlen(text));
}

bool spn_buf_append_char(spn_buf *buf, char c) { return spn_buf_append(buf, &c, 1); }

bool spn_buf_printf(spn_buf *buf, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    bool ok = n >= 0 && spn_buf_reserve(buf, (size_t)n);
    if (ok) {
        vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, again);
        buf->len += (size_t)n;
    } else {
        buf->failed = true;
    }
    va_end(again);
    va_end(args);
    return ok;
}

void spn_buf_clear(spn_buf *buf) {
    buf->len = 0;
    buf->failed = false;
    if (buf->data != NULL) buf->data[0] = '\0';
}

void spn_buf_free(spn_buf *buf) {
    spn_free(buf->data);
    *buf = SPN_BUF(buf->max);
}

char *spn_buf_take(spn_buf *buf, size_t *n_bytes) {
    if (buf->failed || !spn_buf_reserve(buf, 0)) return NULL;
    char *text = buf->data;
    if (n_bytes != NULL) *n_bytes = buf->len;
    *buf = SPN_BUF(buf->max);
    return text;
}

/* ---- arena ---- */

struct spn_arena_chunk {
    spn_arena_chunk *next;
    size_t used, cap; /* of the bytes behind this head */
};

#define ARENA_ALIGNMENT 16
#define ARENA_HEAD \
    ((sizeof(spn_arena_chunk) + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT)
#define ARENA_CHUNK ((size_t)32 << 10)

static spn_arena_chunk *arena_grow(spn_arena *arena, size_t n_bytes) {
    size_t cap = spn_max_size(n_bytes, ARENA_CHUNK), total;
    if (!spn_add_size(cap, ARENA_HEAD, &total)) return NULL;
    spn_arena_chunk *chunk = spn_alloc(total);
    if (chunk == NULL) return NULL;
    *chunk = (spn_arena_chunk){.next = arena->chunks, .cap = cap};
    arena->chunks = chunk;
    return chunk;
}

void *spn_arena_alloc(spn_arena *arena, size_t n_bytes) {
    size_t max = arena->max ? arena->max : BUF_DEFAULT_MAX;
    if (n_bytes > max || arena->n_bytes > max - n_bytes) return NULL;
    size_t n = (n_bytes + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    spn_arena_chunk *chunk = arena->chunks;
    if (chunk == NULL || chunk->cap - chunk->used < n) chunk = arena_grow(arena, n);
    if (chunk == NULL) return NULL;
    void *block = (char *)chunk + ARENA_HEAD + chunk->used;
    chunk->used += n;
    arena->n_bytes += n_bytes;
    return memset(block, 0, n);
}

void *spn_arena_array(spn_arena *arena, size_t n, size_t item_bytes) {
    size_t n_bytes;
    return spn_mul_size(n, item_bytes, &n_bytes) ? spn_arena_alloc(arena, n_bytes) : NULL;
}

char *spn_arena_text(spn_arena *arena, const char *text, size_t n_bytes) {
    size_t total;
    char *copy = spn_add_size(n_bytes, 1, &total) ? spn_arena_alloc(arena, total) : NULL;
    if (copy != NULL && n_bytes > 0) memcpy(copy, text, n_bytes);
    return copy;
}

void spn_arena_free(spn_arena *arena) {
    for (spn_arena_chunk *chunk = arena->chunks, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        spn_free(chunk);
    }
    *arena = (spn_arena){.max = arena->max};
}
