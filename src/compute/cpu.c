/* cpu.c - the CPU backend: buffers, scratch, and the walk of the pool through a pass.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/cpu.h"

#include <assert.h>
#include <string.h>

#include "platform/os.h"

static const char *const op_names[] = {
    "embed",   "norm",       "matmul",  "glu",         "quantize", "rope-table",
    "qkv",     "attention",  "map",     "gather",      "route",    "moe-gather",
    "moe-glu", "moe-matmul", "moe-sum", "head-matmul", "conv",     "delta",
};
static_assert(SPN_COUNT(op_names) == SPN_OP_KIND_COUNT, "a name for each operation");

const char *spn_op_name(spn_op_kind kind) {
    return (unsigned)kind < SPN_OP_KIND_COUNT ? op_names[kind] : "unknown";
}

static const cpu_rule *const rules[] = {
    &spn_cpu_embed,    &spn_cpu_norm,       &spn_cpu_matmul,  &spn_cpu_glu,
    &spn_cpu_quantize, &spn_cpu_rope_table, &spn_cpu_qkv,     &spn_cpu_attend,
    &spn_cpu_map,      &spn_cpu_gather,     &spn_cpu_route,   &spn_cpu_moe_gather,
    &spn_cpu_moe_glu,  &spn_cpu_moe_matmul, &spn_cpu_moe_sum, &spn_cpu_head_matmul,
    &spn_cpu_conv,     &spn_cpu_delta,
};
static_assert(SPN_COUNT(rules) == SPN_OP_KIND_COUNT, "a rule for each operation");

/* ---- buffers ---- */

static spn_buffer *buffer_create(spn_backend *backend, size_t n_bytes) {
    (void)backend;
    spn_buffer *buffer = spn_alloc_zeroed(1, sizeof *buffer);
    if (buffer == NULL) return NULL;
    buffer->host = spn_alloc_aligned_zeroed(n_bytes, 64);
    if (buffer->host == NULL) {
        spn_free(buffer);
        return NULL;
    }
    buffer->n_bytes = n_bytes;
    return buffer;
}

static void buffer_free(spn_backend *backend, spn_buffer *buffer) {
    (void)backend;
    if (buffer == NULL) return;
    spn_free_aligned(buffer->host);
    spn_free(buffer);
}

/* ---- the walk ---- */

typedef struct walk {
    const cpu_backend *cpu;
    const spn_op *ops;
    size_t n_ops;
    const spn_batch *batch;
    const atomic_int *cancel;
} walk;

static bool is_cancelled(const walk *w) {
    return w->cancel != NULL && atomic_load_explicit(w->cancel, memory_order_relaxed) != 0;
}

/* ---- tasks ---- */

typedef struct task_range {
    uint32_t begin, end;
    bool is_last; /* of its lane */
} task_range;

static uint64_t lane_of(uint32_t begin, uint32_t end) { return (uint64_t)end << 32 | begin; }

/* Takes tasks of a lane: its owner from the front, others from the back; one, or half of what is
 * left, so that streams are long and what is waited for in the end is short. False when there is
 * none. */
static bool take_from(cpu_lane *lane, bool is_own, bool some, task_range *out) {
    uint64_t left = atomic_load_explicit(&lane->left, memory_order_relaxed), rest;
    do {
        uint32_t begin = (uint32_t)left, end = (uint32_t)(left >> 32);
        if (begin >= end) return false;
        uint32_t n = some ? (end - begin + 1) / 2 : 1;
        *out = is_own ? (task_range){begin, begin + n, n == end - begin}
                      : (task_range){end - n, end, true};
        rest = is_own ? lane_of(out->end, end) : lane_of(begin, out->begin);
    } while (!atomic_compare_exchange_weak_explicit(&lane->left, &left, rest, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

/* From the member's own lane, else from the others'. */
static bool take_tasks(const cpu_backend *cpu, cpu_lane *lanes, uint32_t member, bool some,
                       task_range *out) {
    for (uint32_t i = 0; i < cpu->n_lanes; i++)
        if (take_from(&lanes[(member + i) % cpu->n_lanes], i == 0, some, out)) return true;
    return false;
}

/* With few tokens a pass is bound by reading weights: members take many rows at once, and kernels
 * ask for rows ahead. */
static bool in_streams(const spn_op *op) {
    return rules[op->kind]->run_some != NULL && op->n_rows < CPU_MANY_TOKENS;
}

/* Behind a lane's last row, where the member's lane of the next product begins. */
enum { NEXT_OPS = 3 };

static const uint8_t *next_weights(const walk *w, size_t i, uint32_t member) {
    for (size_t j = i + 1; j < w->n_ops && j <= i + NEXT_OPS; j++) {
        if (w->ops[j].kind == SPN_OP_MATMUL) return spn_cpu_matmul_lane(w->cpu, &w->ops[j], member);
        if (w->ops[j].kind == SPN_OP_GLU) return spn_cpu_glu_lane(w->cpu, &w->ops[j], member);
    }
    return NULL;
}

static void run_tasks(const cpu_job *job, task_range tasks) {
    const cpu_rule *rule = rules[job->op->kind];
    if (rule->run_some != NULL)
        rule->run_some(job, tasks.begin, tasks.end);
    else
        rule->run(job, tasks.begin);
}

/* Takes tasks until there is none, then waits for those that others took. A task that is skipped
 * because of a cancellation counts as done. */
static void walk_op(const walk *w, cpu_job *job, size_t i, uint32_t member) {
    cpu_op_state *state = &w->cpu->states[i];
    cpu_lane *lanes = w->cpu->lanes + i * w->cpu->n_lanes;
    bool some = in_streams(job->op);
    for (task_range tasks; take_tasks(w->cpu, lanes, member, some, &tasks);) {
        job->next = some && tasks.is_last ? next_weights(w, i, member) : NULL;
        if (!is_cancelled(w)) run_tasks(job, tasks);
        atomic_fetch_add_explicit(&state->done, tasks.end - tasks.begin, memory_order_release);
    }
    /* Acquire pairs with the release above: what the tasks wrote is seen by the next operation. */
    for (uint32_t n_waits = 0;
         atomic_load_explicit(&state->done, memory_order_acquire) < state->n_tasks;)
        spn_pool_wait(&n_waits);
}

static void walk_pass(void *arg, uint32_t member) {
    const walk *w = arg;
    const cpu_backend *cpu = w->cpu;
    spn_backend_profile *profile = member == 0 ? cpu->base.profile : NULL;
    cpu_job job = {
        .cpu = cpu, .kernels = cpu->kernels, .batch = w->batch, .scratch = &cpu->scratch[member]};
    uint64_t before = profile ? spn_time_ns() : 0;
    for (size_t i = 0; i < w->n_ops; i++) {
        job.op = &w->ops[i];
        if (member == 0 && cpu->base.on_op != NULL)
            cpu->base.on_op(i, w->n_ops, cpu->base.on_op_user);
        walk_op(w, &job, i, member);
        if (profile == NULL) continue;
        uint64_t now = spn_time_ns();
        profile->ns[job.op->kind] += now - before;
        profile->n[job.op->kind]++;
        before = now;
    }
}

static bool states_reserve(cpu_backend *cpu, size_t n_ops) {
    if (n_ops <= cpu->n_states) return true;
    size_t n_lanes = n_ops * cpu->n_lanes;
    cpu_op_state *states = spn_alloc_aligned(n_ops * sizeof *states, 64);
    cpu_lane *lanes = spn_alloc_aligned(n_lanes * sizeof *lanes, 64);
    if (states == NULL || lanes == NULL) {
        spn_free_aligned(states);
        spn_free_aligned(lanes);
        return false;
    }
    spn_free_aligned(cpu->states);
    spn_free_aligned(cpu->lanes);
    cpu->states = states;
    cpu->lanes = lanes;
    cpu->n_states = n_ops;
    return true;
}

static void open_op(cpu_backend *cpu, size_t i, uint32_t n_tasks) {
    uint32_t n_lanes = cpu->n_lanes;
    atomic_init(&cpu->states[i].done, 0);
    cpu->states[i].n_tasks = n_tasks;
    for (uint32_t l = 0; l < n_lanes; l++) {
        atomic_init(&cpu->lanes[i * n_lanes + l].left,
                    lane_of(cpu_lane_start(cpu, n_tasks, l), cpu_lane_start(cpu, n_tasks, l + 1)));
    }
}

/* ---- how many members a pass is worth ----
 *
 * At the end of each operation members wait for each other, some 2 us; a member reads 20 to 30
 * bytes of weights in a nanosecond where the caches have them. So the passes of a very small model
 * are faster alone (measured: 1.3 times for one of 3 MB, 1.4 for one of 1 MB). */

enum { SMALL_OP_BYTES = 96 << 10 };

static uint64_t matrix_bytes(const spn_matrix *w) { return (uint64_t)w->n_rows * w->row_bytes; }

/* About the bytes that an operation reads, for each of its rows anew; one that is not counted is
 * large. */
static uint64_t op_bytes(const spn_op *op, uint32_t n_positions) {
    uint64_t n_bytes = 0;
    switch (op->kind) {
    case SPN_OP_MATMUL:
        for (uint32_t p = 0; p < op->matmul.n_parts; p++)
            n_bytes += matrix_bytes(&op->matmul.part[p].w);
        break;
    case SPN_OP_GLU:
        n_bytes = matrix_bytes(&op->glu.up) + matrix_bytes(&op->glu.gate);
        break;
    case SPN_OP_ATTEND:
        n_bytes = (uint64_t)n_positions * op->attend.n_head * (op->attend.dim_k + op->attend.dim_v);
        break;
    case SPN_OP_EMBED:
    case SPN_OP_NORM:
    case SPN_OP_QUANTIZE:
    case SPN_OP_ROPE_TABLE:
    case SPN_OP_QKV:
    case SPN_OP_MAP:
    case SPN_OP_GATHER:
        break;
    default:
        return UINT32_MAX;
    }
    return n_bytes * op->n_rows;
}

static bool is_small(const spn_op *ops, size_t n_ops, const spn_batch *batch) {
    uint64_t n_bytes = 0, limit = (uint64_t)n_ops * SMALL_OP_BYTES;
    int32_t last = 0;
    for (uint32_t i = 0; batch->positions != NULL && i < batch->n_rows; i++)
        if (batch->positions[i] > last) last = batch->positions[i];
    for (size_t i = 0; i < n_ops && n_bytes < limit; i++)
        n_bytes += op_bytes(&ops[i], (uint32_t)last + 1);
    return n_bytes < limit;
}

static spn_status run(spn_backend *backend, const spn_op *ops, size_t n_ops, const spn_batch *batch,
                      const atomic_int *cancel, spn_error *err) {
    cpu_backend *cpu = (cpu_backend *)backend;
    if (!states_reserve(cpu, n_ops)) return SPN_NO_MEMORY(err, "a pass");
    uint32_t most_tasks = 1;
    for (size_t i = 0; i < n_ops; i++) {
        uint32_t n_tasks = rules[ops[i].kind]->n_tasks(cpu, &ops[i], batch);
        open_op(cpu, i, n_tasks);
        if (n_tasks > most_tasks) most_tasks = n_tasks;
    }
    walk w = {cpu, ops, n_ops, batch, cancel};
    uint32_t n_members = is_small(ops, n_ops, batch) ? 1 : spn_pool_n_threads(cpu->pool);
    spn_pool_run(cpu->pool, walk_pass, &w, n_members < most_tasks ? n_members : most_tasks);
    cpu->is_fresh = false;
    if (is_cancelled(&w)) return SPN_FAIL(err, CANCELLED, "the evaluation was cancelled");
    return SPN_STATUS_OK;
}

/* ---- life ---- */

static void cpu_free(spn_backend *backend) {
    cpu_backend *cpu = (cpu_backend *)backend;
    spn_pool_free(cpu->pool);
    spn_free(cpu->scratch);
    spn_free_aligned(cpu->scratch_memory);
    spn_free_aligned(cpu->states);
    spn_free_aligned(cpu->lanes);
    spn_free(cpu);
}

static size_t round64(size_t n) { return (n + 63) / 64 * 64; }

/* Lays out one member's scratch at `at` (NULL: only counts). */
static size_t scratch_layout(const cpu_backend *cpu, cpu_scratch *out, uint8_t *at) {
    const spn_backend_need *need = &cpu->need;
    size_t kernel = cpu->kernels->matmul_scratch(need->k_max);
    size_t attn = spn_attn_scratch(CPU_QUERY_ROWS, need->head_max, need->head_max);
    size_t parts[] = {
        spn_max_size(kernel, attn),
        cpu->tile_floats * sizeof(float),
        cpu->tile_floats * sizeof(float),
        spn_max_size(spn_max_size(need->k_max, 2 * need->head_max), CPU_PIECE_ROWS) * sizeof(float),
        CPU_QUERY_ROWS * need->head_max * sizeof(float),
        CPU_QUERY_ROWS * sizeof(uint32_t),
        CPU_QUERY_ROWS * sizeof(uint32_t),
        CPU_QUERY_ROWS * sizeof(float),
    };
    uint8_t *start[SPN_COUNT(parts)];
    size_t total = 0;
    for (size_t i = 0; i < SPN_COUNT(parts); i++) {
        start[i] = at ? at + total : NULL;
        total += round64(parts[i]);
    }
    if (at != NULL)
        *out = (cpu_scratch){.kernel = start[0],
                             .tile = (float *)(void *)start[1],
                             .tile2 = (float *)(void *)start[2],
                             .row = (float *)(void *)start[3],
                             .heads = (float *)(void *)start[4],
                             .first = (uint32_t *)(void *)start[5],
                             .last = (uint32_t *)(void *)start[6],
                             .sinks = (float *)(void *)start[7]};
    return total;
}

static void set_need(cpu_backend *cpu, const spn_kernels *kernels, const spn_backend_need *need) {
    cpu->kernels = kernels;
    cpu->need = *need;
    cpu->is_fresh = true;
    cpu->tile_floats = spn_max_size(need->n_rows_max, CPU_MANY_TOKENS) * CPU_TASK_ROWS;
}

size_t spn_backend_cpu_scratch(const spn_backend_need *need) {
    const spn_kernels *kernels = spn_kernels_get(need->cpu_level);
    cpu_backend cpu = {0};
    if (kernels == NULL) return 0;
    set_need(&cpu, kernels, need);
    return scratch_layout(&cpu, NULL, NULL) *
           (need->n_threads ? need->n_threads : spn_cpu_usable());
}

static spn_status scratch_create(cpu_backend *cpu, spn_error *err) {
    uint32_t n_threads = spn_pool_n_threads(cpu->pool);
    size_t one = scratch_layout(cpu, NULL, NULL), total;
    cpu->scratch = spn_alloc_zeroed(n_threads, sizeof *cpu->scratch);
    cpu->scratch_memory =
        spn_mul_size(one, n_threads, &total) ? spn_alloc_aligned(total, 64) : NULL;
    if (cpu->scratch == NULL || cpu->scratch_memory == NULL)
        return SPN_NO_MEMORY(err, "the threads' scratch");
    for (uint32_t i = 0; i < n_threads; i++)
        scratch_layout(cpu, &cpu->scratch[i], (uint8_t *)cpu->scratch_memory + i * one);
    cpu->base.scratch_bytes = total;
    return SPN_STATUS_OK;
}

spn_status spn_backend_create_cpu(spn_backend **out, const spn_backend_need *need, spn_error *err) {
    const spn_kernels *kernels = spn_kernels_get(need->cpu_level);
    if (kernels == NULL)
        return SPN_FAIL(err, DEVICE,
                        "this processor cannot run CPU level %s; leave the level out to use the "
                        "best one it has",
                        spn_cpu_level_name(need->cpu_level));
    cpu_backend *cpu = spn_alloc_zeroed(1, sizeof *cpu);
    if (cpu == NULL) return SPN_NO_MEMORY(err, "the CPU backend");
    spn_status status = SPN_STATUS_OK;
    set_need(cpu, kernels, need);
    cpu->base = (spn_backend){.name = "cpu",
                              .free = cpu_free,
                              .buffer_create = buffer_create,
                              .buffer_free = buffer_free,
                              .run = run,
                              .cpu_level = kernels->level};
    SPN_TRY_GOTO(spn_pool_create(&cpu->pool, need->n_threads, err));
    SPN_TRY_GOTO(scratch_create(cpu, err));
    cpu->base.n_threads = spn_pool_n_threads(cpu->pool);
    cpu->n_lanes = cpu->base.n_threads < CPU_LANES_MAX ? cpu->base.n_threads : CPU_LANES_MAX;
    *out = &cpu->base;
    return SPN_STATUS_OK;
done:
    cpu_free(&cpu->base);
    return status;
}
