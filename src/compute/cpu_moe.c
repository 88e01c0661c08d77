/* cpu_moe.c - mixtures of experts on the CPU. SPDX-License-Identifier: Apache-2.0
 *
 * ROUTE sorts the batch's (row, expert) pairs by expert, so that every expert's weights are read
 * once for all its rows. The tasks that follow are numbered over the most experts that can be
 * active; those that are not end at once.
 */
#include <math.h>
#include <string.h>

#include "compute/cpu.h"

enum { SLOTS_A_TASK = 8 };

static uint32_t one_task(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)op, (void)batch;
    return 1;
}

/* ---- choosing ---- */

static void probabilities(const cpu_job *job, float *p) {
    const spn_op_route *op = &job->op->route;
    size_t n = op->routes->n_expert;
    if (op->gating == SPN_GATING_SIGMOID) job->kernels->sigmoid(p, p, n);
    if (op->gating != SPN_GATING_SOFTMAX) return;
    float sum = job->kernels->softmax(p, n);
    job->kernels->scale(p, p, 1.0f / sum, n);
}

static float best_two(const float *score, size_t n) {
    float first = -INFINITY, second = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (score[i] > first) {
            second = first;
            first = score[i];
        } else if (score[i] > second) {
            second = score[i];
        }
    }
    return n > 1 ? first + second : first;
}

/* Experts outside the best groups get a score of -inf. */
static void keep_best_groups(const spn_op_route *op, float *score) {
    size_t n_group = op->n_group, size = op->routes->n_expert / n_group;
    float group_score[256];
    bool kept[256] = {false};
    for (size_t g = 0; g < n_group; g++) group_score[g] = best_two(score + g * size, size);
    for (uint32_t i = 0; i < op->n_group_used; i++) {
        size_t best = n_group;
        for (size_t g = 0; g < n_group; g++)
            if (!kept[g] && (best == n_group || group_score[g] > group_score[best])) best = g;
        kept[best] = true;
    }
    for (size_t e = 0; e < n_group * size; e++)
        if (!kept[e / size]) score[e] = -INFINITY;
}

/* The n_used best, the lower number among equals; a NaN counts as the worst. */
static void choose(const spn_op_route *op, float *score, uint32_t *expert) {
    for (uint32_t j = 0; j < op->routes->n_used; j++) {
        uint32_t best = op->routes->n_expert;
        for (uint32_t e = 0; e < op->routes->n_expert; e++) {
            bool taken = false;
            for (uint32_t i = 0; i < j; i++) taken |= expert[i] == e;
            if (!taken && (best == op->routes->n_expert || score[e] > score[best])) best = e;
        }
        expert[j] = best;
    }
}

static void weigh(const cpu_job *job, const float *p, const uint32_t *expert, float *weight) {
    const spn_op_route *op = &job->op->route;
    uint32_t n = op->routes->n_used;
    float sum = 0;
    for (uint32_t j = 0; j < n; j++) weight[j] = p[expert[j]];
    if (op->gating == SPN_GATING_SOFTMAX_AFTER) {
        float total = job->kernels->softmax(weight, n);
        job->kernels->scale(weight, weight, 1.0f / total, n);
    }
    for (uint32_t j = 0; j < n; j++) sum += weight[j];
    float factor = op->scale;
    if (op->normalize) factor /= fmaxf(sum, 0x1p-14f);
    for (uint32_t j = 0; j < n; j++) weight[j] *= factor;
}

static void route_row(const cpu_job *job, size_t t) {
    const spn_op_route *op = &job->op->route;
    spn_routes *routes = op->routes;
    float *p = cpu_row(op->logits, t), *score = job->scratch->row;
    probabilities(job, p);
    if (op->bias != NULL)
        job->kernels->add(score, p, op->bias, routes->n_expert);
    else
        memcpy(score, p, routes->n_expert * sizeof *p);
    if (op->n_group > 1) keep_best_groups(op, score);
    uint32_t *expert = routes->expert + t * routes->n_used;
    choose(op, score, expert);
    weigh(job, p, expert, routes->weight + t * routes->n_used);
}

/* A counting sort: first_slot counts each expert's pairs, becomes where its slots begin, moves on
 * as they are given out, and at last is packed to the active experts' beginnings. */
static void group_by_expert(spn_routes *routes, size_t n_rows) {
    size_t n_pairs = n_rows * routes->n_used;
    uint32_t *first = routes->first_slot, n_active = 0, begin = 0;
    memset(first, 0, (routes->n_expert + (size_t)1) * sizeof *first);
    for (size_t i = 0; i < n_pairs; i++) first[routes->expert[i] + 1]++;
    for (uint32_t e = 0; e < routes->n_expert; e++) first[e + 1] += first[e];
    for (size_t i = 0; i < n_pairs; i++) {
        uint32_t slot = first[routes->expert[i]]++;
        routes->slot[i] = slot;
        routes->slot_row[slot] = (uint32_t)(i / routes->n_used);
    }
    for (uint32_t e = 0; e < routes->n_expert; e++) { /* first[e] is now where expert e ends */
        uint32_t end = first[e];
        if (end == begin) continue;
        routes->active[n_active] = e;
        first[n_active++] = begin;
        begin = end;
    }
    first[n_active] = begin;
    routes->n_active = n_active;
}

static void route_run(const cpu_job *job, uint32_t task) {
    (void)task;
    for (size_t t = 0; t < job->op->n_rows; t++) route_row(job, t);
    group_by_expert(job->op->route.routes, job->op->n_rows);
}

const cpu_rule spn_cpu_route = {.n_tasks = one_task, .run = route_run};

/* ---- gathering ---- */

static uint32_t gather_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return cpu_ceil_div((size_t)op->n_rows * op->moe_gather.routes->n_used, SLOTS_A_TASK);
}

static float slot_weight(const spn_routes *routes, uint32_t slot) {
    size_t row = routes->slot_row[slot];
    for (uint32_t j = 0; j < routes->n_used; j++)
        if (routes->slot[row * routes->n_used + j] == slot)
            return routes->weight[row * routes->n_used + j];
    return 0;
}

static void gather_slot(const cpu_job *job, uint32_t slot) {
    const spn_op_moe_gather *op = &job->op->moe_gather;
    size_t row = op->routes->slot_row[slot];
    float *y = cpu_row(op->out.x, slot);
    const float *x = cpu_row(op->acts.x, row);
    if (op->weigh_input) {
        job->kernels->scale(y, x, slot_weight(op->routes, slot), op->out.k);
        spn_cpu_quantize_part(job, &op->out, op->forms, slot, 0, op->out.k);
        return;
    }
    if (op->floats) memcpy(y, x, op->out.k * sizeof *y);
    spn_cpu_copy_forms(&op->out, slot, &op->acts, row, op->forms);
}

static void gather_run(const cpu_job *job, uint32_t task) {
    uint32_t n_slots = job->op->n_rows * job->op->moe_gather.routes->n_used;
    for (uint32_t i = 0, slot = task * SLOTS_A_TASK; i < SLOTS_A_TASK && slot < n_slots; i++)
        gather_slot(job, slot++);
}

const cpu_rule spn_cpu_moe_gather = {.n_tasks = gather_tasks, .run = gather_run};

/* ---- products ---- */

static uint32_t most_active(const spn_op *op, const spn_routes *routes) {
    return (uint32_t)spn_min_size(routes->n_expert, (size_t)op->n_rows * routes->n_used);
}

/* Rows r0 <= r < r1 of an expert, for n_tokens slots from `first` on. */
typedef struct expert_part {
    size_t expert, first, n_tokens, r0, r1;
} expert_part;

/* What the tasks [*begin, end) have of one expert; moves *begin on. The tasks of active experts
 * come first; false where none of them is left. */
static bool next_part(const spn_routes *routes, uint32_t *begin, uint32_t end, size_t n_rows,
                      size_t step, expert_part *out) {
    uint32_t n = cpu_ceil_div(n_rows, step), at = *begin / n;
    if (*begin >= end || at >= routes->n_active) return false;
    uint32_t stop = (uint32_t)spn_min_size(end, (size_t)(at + 1) * n);
    *out = (expert_part){.expert = routes->active[at],
                         .first = routes->first_slot[at],
                         .n_tokens = routes->first_slot[at + 1] - routes->first_slot[at],
                         .r0 = *begin % n * step,
                         .r1 = spn_min_size((stop - (size_t)at * n) * step, n_rows)};
    *begin = stop;
    return true;
}

static uint32_t moe_glu_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return most_active(op, op->moe_glu.routes) *
           cpu_ceil_div(op->moe_glu.glu.up.n_rows,
                        spn_cpu_glu_task_rows(&op->moe_glu.glu, op->n_rows));
}

static void moe_glu_run(const cpu_job *job, uint32_t begin, uint32_t end) {
    const spn_op_moe_glu *op = &job->op->moe_glu;
    size_t step = spn_cpu_glu_task_rows(&op->glu, job->op->n_rows);
    for (expert_part part; next_part(op->routes, &begin, end, op->glu.up.n_rows, step, &part);)
        spn_cpu_glu_part(job, &op->glu, part.expert, part.r0, part.r1, part.first, part.n_tokens);
}

const cpu_rule spn_cpu_moe_glu = {.n_tasks = moe_glu_tasks, .run_some = moe_glu_run};

static uint32_t moe_matmul_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return most_active(op, op->moe_matmul.routes) *
           cpu_ceil_div(op->moe_matmul.w.n_rows, spn_cpu_task_rows(op->n_rows));
}

static void moe_matmul_part(const cpu_job *job, const expert_part *part) {
    const spn_op_moe_matmul *op = &job->op->moe_matmul;
    spn_cpu_product(job, &op->w, part->expert, part->r0, part->r1, &op->acts, part->first,
                    part->n_tokens, cpu_row(op->y, part->first) + part->r0, op->y.ld);
    for (size_t i = 0; op->bias != NULL && i < part->n_tokens; i++) {
        float *y = cpu_row(op->y, part->first + i) + part->r0;
        job->kernels->add(y, y, op->bias + part->expert * op->w.n_rows + part->r0,
                          part->r1 - part->r0);
    }
}

static void moe_matmul_run(const cpu_job *job, uint32_t begin, uint32_t end) {
    const spn_op_moe_matmul *op = &job->op->moe_matmul;
    size_t step = spn_cpu_task_rows(job->op->n_rows);
    for (expert_part part; next_part(op->routes, &begin, end, op->w.n_rows, step, &part);)
        moe_matmul_part(job, &part);
}

const cpu_rule spn_cpu_moe_matmul = {.n_tasks = moe_matmul_tasks, .run_some = moe_matmul_run};

/* ---- summing ---- */

static uint32_t sum_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return cpu_ceil_div(op->n_rows, SLOTS_A_TASK);
}

static void sum_row(const cpu_job *job, size_t t) {
    const spn_op_moe_sum *op = &job->op->moe_sum;
    const spn_routes *routes = op->routes;
    float *sum = job->scratch->row, *y = cpu_row(op->y, t);
    memset(sum, 0, op->n * sizeof *sum);
    for (uint32_t j = 0; j < routes->n_used; j++) {
        size_t i = t * routes->n_used + j;
        float weight = op->unweighted ? 1 : routes->weight[i];
        if (op->expert_scale != NULL) weight *= op->expert_scale[routes->expert[i]];
        job->kernels->add_scaled(sum, cpu_row(op->x, routes->slot[i]), weight, op->n);
    }
    if (op->add && op->scale == 1)
        job->kernels->add(y, y, sum, op->n);
    else if (op->add)
        job->kernels->add_scaled(y, sum, op->scale, op->n);
    else
        job->kernels->scale(y, sum, op->scale, op->n);
}

static void sum_run(const cpu_job *job, uint32_t task) {
    size_t end = spn_min_size(job->op->n_rows, ((size_t)task + 1) * SLOTS_A_TASK);
    for (size_t t = (size_t)task * SLOTS_A_TASK; t < end; t++) sum_row(job, t);
}

const cpu_rule spn_cpu_moe_sum = {.n_tasks = sum_tasks, .run = sum_run};
