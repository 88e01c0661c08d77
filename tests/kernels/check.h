/* check.h - holds every level's kernels against the reference, bit for bit.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A case is one entry of the table: a name, where its pointer lies, how to check it with one seed,
 * how to bench it. check.c runs each case of each level whose pointer differs from the reference's,
 * with seeds that count up from a printed one until the time is used up. A failure prints the
 * options that repeat it.
 *
 * Memory of a check comes from check_take: it ends at a page that nobody may touch, has the
 * alignment that its size gives it, and what lies before it is poisoned and looked at afterwards.
 * A kernel that reads or writes past the end dies of a signal, which is caught and counted.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

typedef struct check_case check_case;

typedef struct check {
    const check_case *test;
    const spn_kernels *ref, *level;
    uint64_t seed;  /* of this run */
    uint64_t state; /* the generator's */
    bool failed;
} check;

struct check_case {
    char name[32];
    size_t offset; /* of the pointer in spn_kernels */
    spn_type type;
    int variant; /* for the run's own use */
    void (*run)(check *c);
    void (*bench)(check *c); /* may be NULL; prints with check_report */
};

typedef void (*check_fn)(void); /* any function pointer */
check_fn check_pointer(const spn_kernels *table, size_t offset);

/* The families' cases, each an array that ends with an empty name. */
const check_case *check_vec_cases(void);
const check_case *check_row_cases(void);
const check_case *check_mat_cases(void);
const check_case *check_attn_cases(void);
const check_case *check_delta_cases(void);

/* ---- random inputs ---- */

uint64_t check_random(check *c);
size_t check_range(check *c, size_t low, size_t high); /* both included */
bool check_chance(check *c, unsigned percent);
float check_uniform(check *c); /* -1 .. 1 */

typedef enum check_fill {
    CHECK_FILL_PLAIN, /* about -1 .. 1 */
    CHECK_FILL_WIDE,  /* any finite exponent */
    CHECK_FILL_ZERO,
    CHECK_FILL_TINY, /* subnormal and least normal numbers */
    CHECK_FILL_ODD,  /* plain ones with infinities, NaNs, zeros of both signs and extremes */
    CHECK_FILL_COUNT
} check_fill;
check_fill check_fill_any(check *c); /* plain more often than not */
void check_floats(check *c, float *x, size_t n, check_fill fill);
/* Whole blocks of a type, with scales of that kind. */
void check_blocks(check *c, uint8_t *w, spn_type type, size_t n_bytes, check_fill fill);
size_t check_block_len(spn_type type);
size_t check_row_bytes(spn_type type, size_t k);
const char *check_type_name(spn_type type);

/* ---- memory, given back at the end of each run ---- */

void *check_take(check *c, size_t n_bytes);
/* For scratch: 64-byte aligned, its end within 64 bytes of the forbidden page. */
void *check_take_aligned(check *c, size_t n_bytes);
void check_release(check *c); /* all of it; the runner does it too */

/* ---- verdicts ---- */

void check_fail(check *c, const char *fmt, ...) SPN_PRINTF(2, 3);
/* Equal bits, or both NaN. */
void check_same_floats(check *c, const char *what, const float *ref, const float *got, size_t n);
void check_same_bytes(check *c, const char *what, const void *ref, const void *got, size_t n);

/* ---- bench ---- */

/* Runs `call` often enough and returns the seconds of one call in the second-best of a few runs. */
double check_time(void (*call)(void *arg), void *arg);
/* A line: units of work (elements, blocks of 32 times tokens), bytes read, multiply-adds a call. */
void check_report(check *c, const char *shape, double seconds, double units, double bytes,
                  double macs);

/* The machine's own limits for that level, measured in the same run. */
void check_roof(check *c);

#endif
