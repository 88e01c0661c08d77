/* cpu_linear.c - what latent and linear attention add on the CPU.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>
#include <string.h>

#include "compute/cpu.h"
#include "compute/vec_math.h"

/* ---- a matrix a head ---- */

enum { HEAD_TOKENS = 128 };

static uint32_t head_matmul_tasks(const cpu_backend *cpu, const spn_op *op,
                                  const spn_batch *batch) {
    (void)cpu, (void)batch;
    return op->head_matmul.w.n_mats * cpu_ceil_div(op->n_rows, HEAD_TOKENS);
}

/* A head's part of n rows of x, in the form that its matrix wants. It takes at most 2 bytes an
 * element and lies where attention has CPU_QUERY_ROWS rows of floats. */
static_assert(2 * HEAD_TOKENS <= 4 * CPU_QUERY_ROWS, "room for the tokens of a task");
static void head_to_bf16(const cpu_job *job, spn_act *act, size_t k, size_t n) {
    uint16_t *to = (uint16_t *)(void *)job->scratch->heads;
    for (size_t t = 0; t < n; t++)
        job->kernels->from_f32[SPN_TYPE_BF16](to + t * k, act->x + t * act->ldx, k);
    act->bf16 = to;
}

static void quantize_head(const cpu_job *job, spn_act *act, unsigned form, size_t k, size_t n) {
    size_t blocks = k / spn_act_form_len(form);
    float *d = job->scratch->heads, *dsum = d + n * blocks;
    int16_t *sum = (int16_t *)(void *)(dsum + n * blocks);
    int8_t *q = (int8_t *)(sum + n * (k / 16));
    *act = (spn_act){act->x, act->ldx, q, d, dsum, sum, NULL};
    for (size_t t = 0; t < n; t++, d += blocks, dsum += blocks, sum += k / 16, q += k) {
        const float *x = act->x + t * act->ldx;
        if (form == SPN_ACT_FORM_GROUPS)
            job->kernels->quantize_groups(q, d, sum, x, k);
        else
            job->kernels->quantize(q, d, dsum, sum, x, k);
    }
}

static void head_matmul_run(const cpu_job *job, uint32_t task) {
    const spn_op_head_matmul *op = &job->op->head_matmul;
    const spn_matrix *w = &op->w;
    size_t head = task % w->n_mats, t0 = (size_t)(task / w->n_mats) * HEAD_TOKENS;
    size_t n = spn_min_size(job->op->n_rows - t0, HEAD_TOKENS);
    spn_act act = {.x = cpu_row(op->x, t0) + head * op->x_pitch, .ldx = op->x.ld};
    unsigned form = job->cpu->need.exact ? 0 : spn_act_form_of(w->type);
    if (form == SPN_ACT_FORM_BF16)
        head_to_bf16(job, &act, w->k, n);
    else if (form != 0)
        quantize_head(job, &act, form, w->k, n);
    spn_cpu_multiply(job, w, head, 0, w->n_rows, &act, n, cpu_row(op->y, t0) + head * op->y_pitch,
                     op->y.ld);
}

const cpu_rule spn_cpu_head_matmul = {.n_tasks = head_matmul_tasks, .run = head_matmul_run};

/* ---- convolution ---- */

enum { CHANNELS_A_TASK = 512 };

static uint32_t conv_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu;
    return batch->n_segments * cpu_ceil_div(op->conv.channels, CHANNELS_A_TASK);
}

/* The inputs that tap `tap` of a segment's row i meets: of the state or of an earlier row. */
static const float *tap_input(const spn_op_conv *op, const spn_segment *segment, const float *state,
                              size_t i, size_t tap) {
    size_t n_before = op->n_taps - 1;
    return i + tap < n_before ? state + (i + tap) * op->channels
                              : cpu_row(op->x, segment->first_row + (i + tap - n_before));
}

static void conv_run(const cpu_job *job, uint32_t task) {
    const spn_op_conv *op = &job->op->conv;
    uint32_t parts = cpu_ceil_div(op->channels, CHANNELS_A_TASK);
    const spn_segment *segment = &job->batch->segments[task / parts];
    float *state = (float *)(void *)segment->states[op->layer];
    size_t begin = (size_t)(task % parts) * CHANNELS_A_TASK;
    size_t n = spn_min_size(CHANNELS_A_TASK, op->channels - begin);
    for (size_t i = 0; i < segment->n_rows; i++) {
        float *y = cpu_row(op->y, segment->first_row + i) + begin;
        memset(y, 0, n * sizeof *y);
        for (size_t tap = 0; tap < op->n_taps; tap++)
            job->kernels->add_product(y, tap_input(op, segment, state, i, tap) + begin,
                                      op->w + tap * op->channels + begin, n);
        job->kernels->silu(y, y, n);
    }
    for (size_t tap = 0; tap + 1 < op->n_taps; tap++)
        memcpy(state + tap * op->channels + begin,
               tap_input(op, segment, state, segment->n_rows, tap) + begin, n * sizeof *state);
}

const cpu_rule spn_cpu_conv = {.n_tasks = conv_tasks, .run = conv_run};

/* ---- gated delta rule ---- */

static uint32_t delta_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu;
    return batch->n_segments * op->delta.n_v;
}

/* y = x / max(|x|, eps) * factor */
static void unit_length(const cpu_job *job, float *y, const float *x, size_t d, float eps,
                        float factor) {
    float length = sqrtf(job->kernels->dot(x, x, d));
    job->kernels->scale(y, x, 1.0f / fmaxf(length, eps), d);
    if (factor != 1) job->kernels->scale(y, y, factor, d);
}

static float softplus(float x) { return x > 20 ? x : (float)log1p((double)spn_vm_exp(x)); }

/* Tokens that go through the rule together: three rows of the scratch each. */
enum { DELTA_TOKENS = 16 };
static_assert(3 * DELTA_TOKENS <= CPU_QUERY_ROWS, "room for q, k and o");

static void delta_tokens(const cpu_job *job, float *state, size_t head, size_t first, size_t n) {
    const spn_op_delta *op = &job->op->delta;
    const spn_kernels *kernels = job->kernels;
    size_t d = op->d, per_key = op->n_v / op->n_k;
    size_t key_head = op->interleaved ? head % op->n_k : head / per_key;
    size_t gate_at = op->beta_pitch ? head / per_key * op->beta_pitch + head % per_key : head;
    float *q = job->scratch->heads, *k = q + DELTA_TOKENS * d, *o = k + DELTA_TOKENS * d;
    float decay[DELTA_TOKENS], beta[DELTA_TOKENS];
    for (size_t i = 0; i < n; i++) {
        const float *row = cpu_row(op->qkv, first + i);
        unit_length(job, q + i * d, row + key_head * d, d, op->eps, 1.0f / sqrtf((float)d));
        unit_length(job, k + i * d, row + (op->n_k + key_head) * d, d, op->eps, 1);
        kernels->sigmoid(&beta[i], cpu_row(op->beta, first + i) + gate_at, 1);
        float alpha = cpu_row(op->alpha, first + i)[gate_at];
        decay[i] = spn_vm_exp(op->a[head] * softplus(alpha + op->dt[head]));
    }
    const float *v = cpu_row(op->qkv, first) + (2 * op->n_k + head) * d;
    kernels->delta(&(spn_delta_args){n, d, q, k, v, op->qkv.ld, decay, beta, state, o});
    for (size_t i = 0; i < n; i++, o += d) {
        kernels->rms_norm(o, o, op->norm, d, op->eps);
        kernels->swiglu(cpu_row(op->out.x, first + i) + head * d,
                        cpu_row(op->z, first + i) + head * d, o, d);
        spn_cpu_quantize_part(job, &op->out, op->forms, first + i, head * d, d);
    }
}

static void delta_run(const cpu_job *job, uint32_t task) {
    const spn_op_delta *op = &job->op->delta;
    const spn_segment *segment = &job->batch->segments[task / op->n_v];
    size_t head = task % op->n_v, end = (size_t)segment->first_row + segment->n_rows;
    float *state =
        (float *)(void *)(segment->states[op->layer] + op->conv_bytes) + head * op->d * op->d;
    for (size_t t = segment->first_row; t < end; t += DELTA_TOKENS)
        delta_tokens(job, state, head, t, spn_min_size(DELTA_TOKENS, end - t));
}

const cpu_rule spn_cpu_delta = {.n_tasks = delta_tasks, .run = delta_run};
