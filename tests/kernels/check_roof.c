/* check_roof.c - what the machine could do at most, measured beside the kernels with the level's
 * own loops (roof_*.c). SPDX-License-Identifier: Apache-2.0
 */
#include "check.h"

enum { ROUNDS = 20000, READ_BYTES = 96 << 20 };
static volatile uint64_t sink;

typedef struct roof {
    const spn_kernels *kernels;
    const uint8_t *memory;
    double n_ops; /* of the last call */
} roof;

static void run_f32(void *arg) {
    roof *r = arg;
    r->n_ops = r->kernels->roof_f32(ROUNDS);
}

static void run_int8(void *arg) {
    roof *r = arg;
    r->n_ops = r->kernels->roof_int8(ROUNDS);
}

static void run_read(void *arg) {
    roof *r = arg;
    sink = r->kernels->roof_read(r->memory, READ_BYTES);
}

void check_roof(check *c) {
    roof r = {.kernels = c->level};
    if (c->level == c->ref) return;
    double seconds = check_time(run_f32, &r);
    check_report(c, "f32 registers", seconds, r.n_ops / 64, 0, r.n_ops / 2);
    seconds = check_time(run_int8, &r);
    check_report(c, "int8 registers", seconds, r.n_ops / 64, 0, r.n_ops / 2);
    r.memory = check_take_aligned(c, READ_BYTES);
    check_report(c, "memory", check_time(run_read, &r), READ_BYTES / 32, READ_BYTES, 0);
}
