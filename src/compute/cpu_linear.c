/* cpu_linear.c - what latent and linear attention add on the CPU.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <math.h>
#include <string.h>

#include "compute/cpu.h"
#include "compute/vec_math.h"

/* ---- a matrix a head ---- */

enum { HEAD_TOKENS = 64 };

static uint32_t head_matmul_tasks(const cpu_backend *cpu, const spn_op *op,
                                  const spn_batch *batch) {
    (void)cpu, (void)batch;
    return op->head_matmul.w.n_mats * cpu_ceil_div(op->n_rows, HEAD_TOKENS);
}

/* The rows of a head are narrow: they are decoded once for the tokens of the task and multiplied as
 * f32, so the inputs need no quantised copy a head. */
static void head_matmul_run(const cpu_job *job, uint32_t task) {
    const spn_op_head_matmul *op = &job->op->head_matmul;
    size_t head = task % op->w.n_mats, t0 = (size_t)(task / op->w.n_mats) * HEAD_TOKENS;
    size_t t1 = spn_min_size(job->op->n_rows, t0 + HEAD_TOKENS);
    const uint8_t *rows = cpu_matrix_row(&op->w, head, 0);
    for (size_t r = 0; r < op->w.n_rows; r++) {
        job->kernels->to_f32[op->w.type](job->scratch->row, rows + r * op->w.row_bytes, op->w.k);
        for (size_t t = t0; t < t1; t++)
            cpu_row(op->y, t)[head * op->y_pitch + r] = job->kernels->dot(
                job->scratch->row, cpu_row(op->x, t) + head * op->x_pitch, op->w.k);
    }
}

const cpu_rule spn_cpu_head_matmul = {head_matmul_tasks, head_matmul_run};

/* ---- convolution ---- */

enum { CHANNELS_A_TASK = 512 };

static uint32_t conv_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu;
    return batch->n_segments * cpu_ceil_div(op->conv.channels, CHANNELS_A_TASK);
}

/* One channel over a segment's tokens; `state` holds the n_taps - 1 inputs before them. */
static void conv_channel(const cpu_job *job, const spn_segment *segment, float *state, size_t c) {
    const spn_op_conv *op = &job->op->conv;
    size_t n_before = op->n_taps - 1;
    const float *w = op->w + c * op->n_taps;
    for (size_t i = 0; i < segment->n_rows; i++) {
        size_t t = segment->first_row + i;
        float now = cpu_row(op->x, t)[c], sum = 0;
        for (size_t j = 0; j < n_before; j++) sum = fmaf(state[j * op->channels + c], w[j], sum);
        cpu_row(op->y, t)[c] = fmaf(now, w[n_before], sum);
        for (size_t j = 0; j + 1 < n_before; j++)
            state[j * op->channels + c] = state[(j + 1) * op->channels + c];
        if (n_before > 0) state[(n_before - 1) * op->channels + c] = now;
    }
}

static void conv_run(const cpu_job *job, uint32_t task) {
    const spn_op_conv *op = &job->op->conv;
    uint32_t n = cpu_ceil_div(op->channels, CHANNELS_A_TASK);
    const spn_segment *segment = &job->batch->segments[task / n];
    float *state = (float *)(void *)segment->states[op->layer];
    size_t begin = (size_t)(task % n) * CHANNELS_A_TASK;
    size_t end = spn_min_size(begin + CHANNELS_A_TASK, op->channels);
    for (size_t c = begin; c < end; c++) conv_channel(job, segment, state, c);
    for (size_t i = 0; i < segment->n_rows; i++) {
        float *y = cpu_row(op->y, segment->first_row + i) + begin;
        job->kernels->silu(y, y, end - begin);
    }
}

const cpu_rule spn_cpu_conv = {conv_tasks, conv_run};

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

/* S = decay S; S += k (beta (v - S^T k))^T; o = S^T q, with S [d (k)][d (v)]. */
static void delta_step(const cpu_job *job, float *state, const float *q, const float *k,
                       const float *v, float decay, float beta, float *o, float *delta) {
    size_t d = job->op->delta.d;
    const spn_kernels *kernels = job->kernels;
    memset(o, 0, d * sizeof *o);
    for (size_t i = 0; i < d; i++) {
        kernels->scale(state + i * d, state + i * d, decay, d);
        kernels->add_scaled(o, state + i * d, k[i], d);
    }
    for (size_t j = 0; j < d; j++) delta[j] = beta * (v[j] - o[j]);
    memset(o, 0, d * sizeof *o);
    for (size_t i = 0; i < d; i++) {
        kernels->add_scaled(state + i * d, delta, k[i], d);
        kernels->add_scaled(o, state + i * d, q[i], d);
    }
}

static float softplus(float x) { return x > 20 ? x : (float)log1p((double)spn_vm_exp(x)); }

static void delta_token(const cpu_job *job, float *state, size_t head, size_t t) {
    const spn_op_delta *op = &job->op->delta;
    const spn_kernels *kernels = job->kernels;
    size_t d = op->d, per_key = op->n_v / op->n_k;
    size_t key_head = op->interleaved ? head % op->n_k : head / per_key;
    size_t gate_at = op->beta_pitch ? head / per_key * op->beta_pitch + head % per_key : head;
    const float *row = cpu_row(op->qkv, t);
    float *q = job->scratch->heads, *k = q + d, *o = k + d, *delta = o + d, beta;
    unit_length(job, q, row + key_head * d, d, op->eps, 1.0f / sqrtf((float)d));
    unit_length(job, k, row + (op->n_k + key_head) * d, d, op->eps, 1);
    kernels->sigmoid(&beta, cpu_row(op->beta, t) + gate_at, 1);
    float decay = spn_vm_exp(op->a[head] * softplus(cpu_row(op->alpha, t)[gate_at] + op->dt[head]));
    delta_step(job, state, q, k, row + (2 * op->n_k + head) * d, decay, beta, o, delta);
    float *out = cpu_row(op->out.x, t) + head * d;
    kernels->rms_norm(o, o, op->norm, d, op->eps);
    kernels->swiglu(out, cpu_row(op->z, t) + head * d, o, d);
    spn_cpu_quantize_part(job, &op->out, op->forms, t, head * d, d);
}

static void delta_run(const cpu_job *job, uint32_t task) {
    const spn_op_delta *op = &job->op->delta;
    const spn_segment *segment = &job->batch->segments[task / op->n_v];
    size_t head = task % op->n_v;
    float *state =
        (float *)(void *)(segment->states[op->layer] + op->conv_bytes) + head * op->d * op->d;
    for (size_t i = 0; i < segment->n_rows; i++)
        delta_token(job, state, head, segment->first_row + i);
}

const cpu_rule spn_cpu_delta = {delta_tasks, delta_run};
