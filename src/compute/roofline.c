/* roofline.c - what this machine can do at most, measured. SPDX-License-Identifier: Apache-2.0 */
#include "compute/roofline.h"

#include <stdatomic.h>

#include "platform/os.h"

enum { ROUNDS = 5, PIECE = 1 << 20 };
#define REGISTER_ROUNDS 400000u

typedef struct round_of {
    const spn_kernels *kernels;
    const uint8_t *data;
    size_t n_bytes;
    enum { READ, INT8, F32 } what;
    atomic_size_t next;       /* piece to be read */
    atomic_uint_fast64_t sum; /* keeps the reads alive; in register loops: operations done */
} round_of;

static void read_pieces(round_of *round) {
    size_t piece;
    uint64_t sum = 0;
    while ((piece = atomic_fetch_add(&round->next, 1)) < round->n_bytes / PIECE)
        sum ^= round->kernels->roof_read(round->data + piece * PIECE, PIECE);
    atomic_fetch_xor(&round->sum, sum);
}

static void run_member(void *arg, uint32_t member) {
    round_of *round = arg;
    (void)member;
    if (round->what == READ) {
        read_pieces(round);
        return;
    }
    double n = round->what == INT8 ? round->kernels->roof_int8(REGISTER_ROUNDS)
                                   : round->kernels->roof_f32(REGISTER_ROUNDS);
    atomic_fetch_add(&round->sum, (uint64_t)n);
}

static double best_rate(round_of *round, spn_pool *pool) {
    double best = 0;
    for (int i = 0; i < ROUNDS; i++) {
        atomic_store(&round->next, 0);
        atomic_store(&round->sum, 0);
        uint64_t start = spn_time_ns();
        spn_pool_run(pool, run_member, round, spn_pool_n_threads(pool));
        double seconds = 1e-9 * (double)(spn_time_ns() - start);
        double done = round->what == READ ? (double)(round->n_bytes / PIECE * PIECE)
                                          : (double)atomic_load(&round->sum);
        if (seconds > 0 && done / seconds > best) best = done / seconds;
    }
    return best;
}

void spn_limits_measure(const spn_kernels *kernels, spn_pool *pool, const uint8_t *data,
                        size_t n_bytes, spn_limits *out) {
    round_of round = {.kernels = kernels, .data = data, .n_bytes = n_bytes, .what = READ};
    out->read_bytes_s = best_rate(&round, pool);
    round.what = INT8;
    out->int8_ops_s = best_rate(&round, pool);
    round.what = F32;
    out->f32_ops_s = best_rate(&round, pool);
}
