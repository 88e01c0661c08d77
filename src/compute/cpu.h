/* cpu.h - what the files of the CPU backend share. SPDX-License-Identifier: Apache-2.0
 *
 * An operation is cut into tasks, and the tasks into a lane for each member: neighbours, so that a
 * member reads weights in one long stream (streams that start anew halved the speed of generation
 * when members took tasks in turn). A member takes the tasks of its own lane from the front, then
 * those left in the others' from the back, one by one, or half of what is left where few tokens
 * make weights the limit. It goes on to the next operation when all are done: nobody waits for a
 * member that the system has put to sleep between tasks. Which member ran a task never shows in a
 * result.
 */
#ifndef SPN_CPU_H
#define SPN_CPU_H

#include <assert.h>

#include "compute/backend.h"
#include "compute/pool.h"

/* Rows of an output that a task of many tokens computes; a multiple of what kernels like. */
#define CPU_TASK_ROWS 64
/* And of few tokens. */
#define CPU_FEW_TASK_ROWS 32
/* Rows of few tokens that are computed at once, at most. */
#define CPU_PIECE_ROWS 1024
/* From this many tokens on, products are cut for tiles instead of for streaming. */
#define CPU_MANY_TOKENS 16
/* Query rows of an attention task. */
#define CPU_QUERY_ROWS 64

/* One member's own memory; all parts 64-byte aligned. */
typedef struct cpu_scratch {
    void *kernel;           /* spn_kernels.matmul_scratch or spn_attn_scratch */
    float *tile, *tile2;    /* [tile_floats] each: outputs of a task before they are combined */
    float *row;             /* [max(k_max, 2 * head_max)] */
    float *heads;           /* [CPU_QUERY_ROWS][head_max] */
    uint32_t *first, *last; /* [CPU_QUERY_ROWS] */
    float *sinks;           /* [CPU_QUERY_ROWS] */
} cpu_scratch;

/* A cache line each: members hammer on them. */
typedef struct cpu_lane {
    atomic_uint_fast64_t left; /* tasks that nobody has taken: the first, and << 32 the end */
    char pad[64 - sizeof(atomic_uint_fast64_t)];
} cpu_lane;

typedef struct cpu_op_state {
    atomic_uint done;
    uint32_t n_tasks;
    char pad[64 - 8];
} cpu_op_state;

/* More members than that share lanes. */
#define CPU_LANES_MAX 32

typedef struct cpu_backend {
    spn_backend base;
    const spn_kernels *kernels;
    spn_pool *pool;
    spn_backend_need need;
    size_t tile_floats;
    cpu_scratch *scratch; /* [n_threads] */
    void *scratch_memory;
    uint32_t n_lanes;
    cpu_op_state *states; /* [n_states] */
    cpu_lane *lanes;      /* [n_states][n_lanes] */
    size_t n_states;
    bool is_fresh; /* no pass has run: pages of the weights may not be mapped */
} cpu_backend;

/* What a task sees. */
typedef struct cpu_job {
    const cpu_backend *cpu;
    const spn_kernels *kernels;
    const spn_op *op;
    const spn_batch *batch;
    const cpu_scratch *scratch;
    const uint8_t *next; /* weights to be read after the task's; NULL: those behind them */
} cpu_job;

/* n_tasks may not depend on results of earlier operations of the same run. Tasks run one by one
 * (`run`) or, where neighbours read weights in one stream, as many as a member takes at once
 * (`run_some`): begin <= task < end. */
typedef struct cpu_rule {
    uint32_t (*n_tasks)(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch);
    void (*run)(const cpu_job *job, uint32_t task);
    void (*run_some)(const cpu_job *job, uint32_t begin, uint32_t end);
} cpu_rule;

extern const cpu_rule spn_cpu_embed, spn_cpu_norm, spn_cpu_matmul, spn_cpu_glu, spn_cpu_quantize,
    spn_cpu_rope_table, spn_cpu_qkv, spn_cpu_attend, spn_cpu_map, spn_cpu_gather, spn_cpu_route,
    spn_cpu_moe_gather, spn_cpu_moe_glu, spn_cpu_moe_matmul, spn_cpu_moe_sum, spn_cpu_head_matmul,
    spn_cpu_conv, spn_cpu_delta;

static inline float *cpu_row(spn_view view, size_t row) {
    return (float *)(void *)view.buffer->host + view.offset + row * view.ld;
}

static inline const uint8_t *cpu_matrix_row(const spn_matrix *w, size_t mat, size_t row) {
    size_t mat_bytes = w->mat_bytes ? w->mat_bytes : w->n_rows * w->row_bytes;
    return w->data + mat * mat_bytes + row * w->row_bytes;
}

static inline uint32_t cpu_ceil_div(size_t a, size_t b) {
    assert(b != 0);
    return (uint32_t)((a + b - 1) / b);
}

/* The first task of lane l < n_lanes, or the end of the last lane. */
static inline uint32_t cpu_lane_start(const cpu_backend *cpu, uint32_t n_tasks, uint32_t l) {
    return (uint32_t)((uint64_t)n_tasks * l / cpu->n_lanes);
}

/* Fills `forms` of acts with n elements of row `row` from element `begin` on: multiples of 32, for
 * groups of 128. */
void spn_cpu_quantize_part(const cpu_job *job, const spn_acts *acts, unsigned forms, size_t row,
                           size_t begin, size_t n);

/* The `forms` of a whole row are those of another. */
void spn_cpu_copy_forms(const spn_acts *to, size_t to_row, const spn_acts *from, size_t from_row,
                        unsigned forms);

/* y[t * ldy + r - r0] = W[mat] row r . row t of act, for rows r0 <= r < r1. */
void spn_cpu_multiply(const cpu_job *job, const spn_matrix *w, size_t mat, size_t r0, size_t r1,
                      const spn_act *act, size_t n_tokens, float *y, size_t ldy);
/* The same with acts' rows from `first` on. */
void spn_cpu_product(const cpu_job *job, const spn_matrix *w, size_t mat, size_t r0, size_t r1,
                     const spn_acts *acts, size_t first, size_t n_tokens, float *y, size_t ldy);

/* Rows of output that one task of a product over n_tokens computes. */
size_t spn_cpu_task_rows(size_t n_tokens);
/* The same for a gated unit: whole groups where they are quantised so. */
size_t spn_cpu_glu_task_rows(const spn_op_glu *glu, size_t n_tokens);

/* The weights with which a member's lane of a product begins. */
const uint8_t *spn_cpu_matmul_lane(const cpu_backend *cpu, const spn_op *op, uint32_t member);
const uint8_t *spn_cpu_glu_lane(const cpu_backend *cpu, const spn_op *op, uint32_t member);

/* The whole of GLU for rows r0 <= r < r1 of expert `mat` and n_tokens rows of acts from first on.
 */
void spn_cpu_glu_part(const cpu_job *job, const spn_op_glu *glu, size_t mat, size_t r0, size_t r1,
                      size_t first, size_t n_tokens);

#endif
