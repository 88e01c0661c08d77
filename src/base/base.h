/* base.h - what every module uses: failing, allocating, growing text, checked sizes, logging.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Failing. A function that can fail returns spn_status and takes `spn_error *err` last. It ends
 * with `return SPN_FAIL(err, STATUS, "cannot open %s: %s", ...)` or hands a callee's failure on
 * with SPN_TRY. One `done:` label per function frees what it holds.
 *
 * Allocating. All memory comes from the hook of spn_set_allocator through the functions below and
 * every one of them may return NULL: the caller says SPN_NO_MEMORY(err, what).
 *
 * Growing. spn_buf is the only growing buffer; it has a limit from its start, so that no input can
 * make it eat the machine.
 */
#ifndef SPN_BASE_H
#define SPN_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "spn/status.h"

/* ---- failing ---- */

/* Fills *err (which may be NULL) and returns `status`. */
spn_status spn_fail(spn_error *err, spn_status status, const char *fmt, ...) SPN_PRINTF(3, 4);

/* The same with the number behind the failure: an errno or an HTTP status. */
spn_status spn_fail_code(spn_error *err, spn_status status, int code, const char *fmt, ...)
    SPN_PRINTF(4, 5);

/* Hands `status` on in place of what spn_fail returned, which is the same, but which compilers and
 * analysers cannot see to be no success. */
static inline spn_status spn_failed(spn_status reported, spn_status status) {
    (void)reported;
    return status;
}
#define SPN_FAIL(err, NAME, ...) \
    spn_failed(spn_fail((err), SPN_STATUS_##NAME, __VA_ARGS__), SPN_STATUS_##NAME)
#define SPN_NO_MEMORY(err, what) SPN_FAIL(err, NO_MEMORY, "no memory for %s", (what))

/* Adds to a failure which of the call's texts, counted from 0, it is about. */
static inline spn_status spn_failed_item(spn_error *err, spn_status status, size_t i) {
    if (status != SPN_STATUS_OK && err != NULL) err->item = i + 1;
    return status;
}

/* Hands a failure on at once; for functions that hold nothing. */
#define SPN_TRY(call)                                       \
    do {                                                    \
        spn_status try_status = (call);                     \
        if (try_status != SPN_STATUS_OK) return try_status; \
    } while (0)

/* Hands a failure on through the function's `done:` label; needs a local `spn_status status`. */
#define SPN_TRY_GOTO(call)                      \
    do {                                        \
        status = (call);                        \
        if (status != SPN_STATUS_OK) goto done; \
    } while (0)

#define SPN_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static inline size_t spn_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t spn_max_size(size_t a, size_t b) { return a > b ? a : b; }

/* ---- checked sizes: false on overflow, *out then untouched ---- */

static inline bool spn_mul_size(size_t a, size_t b, size_t *out) {
    if (b != 0 && a > SIZE_MAX / b) return false;
    *out = a * b;
    return true;
}

static inline bool spn_add_size(size_t a, size_t b, size_t *out) {
    if (a > SIZE_MAX - b) return false;
    *out = a + b;
    return true;
}

/* ---- allocating (NULL when there is no memory, or for a size that overflows) ---- */

void *spn_alloc(size_t n_bytes);
void *spn_alloc_array(size_t n, size_t item_bytes);                /* not cleared */
void *spn_alloc_zeroed(size_t n, size_t item_bytes);               /* cleared */
void *spn_realloc_array(void *block, size_t n, size_t item_bytes); /* block stays on failure */
char *spn_strdup(const char *text);                                /* NUL-terminated copy */
char *spn_memdup_text(const char *text, size_t n_bytes);           /* copy with a NUL added */
void *spn_alloc_aligned(size_t n_bytes, size_t alignment);         /* power of two */
void *spn_alloc_aligned_zeroed(size_t n_bytes, size_t alignment);
void spn_free_aligned(void *block);

/* ---- a growing buffer with a limit ---- */

/* Zero-initialise with SPN_BUF(max). `data` is always NUL-terminated when not NULL; `len` excludes
 * that NUL. An append that fails leaves what was there and sets `failed`, so a sequence of appends
 * may be checked once at its end. */
typedef struct spn_buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max; /* limit of len; 0 stands for 1 GiB */
    bool failed;
} spn_buf;

#define SPN_BUF(limit) ((spn_buf){.max = (limit)})

bool spn_buf_append(spn_buf *buf, const void *bytes, size_t n_bytes);
bool spn_buf_append_text(spn_buf *buf, const char *text);
bool spn_buf_append_char(spn_buf *buf, char c);
bool spn_buf_printf(spn_buf *buf, const char *fmt, ...) SPN_PRINTF(2, 3);
bool spn_buf_reserve(spn_buf *buf, size_t n_more);
void spn_buf_clear(spn_buf *buf); /* len = 0, memory kept */
void spn_buf_free(spn_buf *buf);  /* back to its start, limit kept */
/* Hands the text over (free with spn_free); the buffer is empty again. Never NULL unless `failed`
 * or no memory for the empty text. */
char *spn_buf_take(spn_buf *buf, size_t *n_bytes);

/* ---- arena: many small blocks with one life ---- */

typedef struct spn_arena_chunk spn_arena_chunk;
typedef struct spn_arena {
    spn_arena_chunk *chunks;
    size_t n_bytes; /* handed out so far */
    size_t max;     /* limit of n_bytes; 0 stands for 1 GiB */
} spn_arena;

void *spn_arena_alloc(spn_arena *arena, size_t n_bytes); /* cleared, aligned for any type */
void *spn_arena_array(spn_arena *arena, size_t n, size_t item_bytes);
char *spn_arena_text(spn_arena *arena, const char *text, size_t n_bytes); /* copy with a NUL */
void spn_arena_free(spn_arena *arena);

/* ---- logging ---- */

void spn_log(spn_log_level level, const char *fmt, ...) SPN_PRINTF(2, 3);

#endif
