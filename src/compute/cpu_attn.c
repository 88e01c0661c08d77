/* cpu_attn.c - rotation tables, queries, keys and values, and attention on the CPU.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "compute/cpu.h"

/* Positions are cut into these, so that two tasks seldom write into one tile of the K cache. */
enum { ROWS_A_TASK = SPN_KV_TILE };

static size_t task_end(const spn_op *op, uint32_t block) {
    return spn_min_size(op->n_rows, ((size_t)block + 1) * ROWS_A_TASK);
}

/* ---- rotation table ---- */

static uint32_t rope_table_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return cpu_ceil_div(op->n_rows, ROWS_A_TASK);
}

/* Angles in double: at position 100,000 an f32 angle is off by 0.004. */
static void rope_table_run(const cpu_job *job, uint32_t task) {
    const spn_op_rope_table *op = &job->op->rope_table;
    for (size_t t = (size_t)task * ROWS_A_TASK; t < task_end(job->op, task); t++) {
        float *cs = cpu_row(op->cs, t);
        for (size_t i = 0; i < op->n_rot / 2; i++) {
            double angle = job->batch->positions[t] * op->inv_freq[i];
            cs[2 * i] = (float)cos(angle) * op->magnitude;
            cs[2 * i + 1] = (float)sin(angle) * op->magnitude;
        }
    }
}

const cpu_rule spn_cpu_rope_table = {.n_tasks = rope_table_tasks, .run = rope_table_run};

/* ---- queries, keys, values ---- */

static const spn_segment *segment_of(const spn_batch *batch, size_t row) {
    const spn_segment *segment = batch->segments;
    while (row >= (size_t)segment->first_row + segment->n_rows) segment++;
    return segment;
}

/* Norm and rotation of one head of a query or key, from `in` to `x`. */
static void turn_head(const cpu_job *job, float *x, const float *in, const float *norm, size_t t) {
    const spn_op_qkv *op = &job->op->qkv;
    const spn_kernels *kernels = job->kernels;
    if (norm == NULL)
        memcpy(x, in, op->dim_k * sizeof *x);
    else if (op->norm == SPN_NORM_RMS)
        kernels->rms_norm(x, in, norm, op->dim_k, op->eps);
    else
        kernels->layer_norm(x, in, norm, NULL, op->dim_k, op->eps);
    if (op->rope != SPN_ROPE_NONE) {
        float *rotated = op->rot_last ? x + op->dim_k - op->n_rot : x;
        const float *cs = cpu_row(op->cs, t);
        if (op->rope == SPN_ROPE_SPLIT)
            kernels->rope_split(rotated, cs, op->n_rot);
        else
            kernels->rope_interleaved(rotated, cs, op->n_rot);
    }
    if (op->norm_after) kernels->rms_norm(x, x, NULL, op->dim_k, op->eps);
}

static float query_scale(const spn_op_qkv *op, int32_t position) {
    if (op->temp_scale == 0) return op->q_scale;
    double steps = floor((position + (double)op->temp_shift) / (double)op->temp_length);
    return op->q_scale * (float)(1 + (double)op->temp_scale * log(1 + steps));
}

static void store_key_value(const cpu_job *job, uint32_t head, size_t t) {
    const spn_op_qkv *op = &job->op->qkv;
    const spn_segment *segment = segment_of(job->batch, t);
    const spn_kv_layer *kv = &segment->layers[op->layer];
    size_t slot = (segment->first_pos + (t - segment->first_row)) % kv->ring;
    float *row = job->scratch->row, *rounded = row + op->dim_k;
    const float *v = cpu_row(op->v, t) + head * op->v_pitch;
    if (op->v_norm) {
        job->kernels->rms_norm(row, v, NULL, op->dim_v, op->eps);
        v = row;
    }
    size_t v_bytes = spn_type_row_bytes(kv->type_v, op->dim_v);
    job->kernels->from_f32[kv->type_v](kv->v + head * kv->v_head_bytes + slot * v_bytes, v,
                                       op->dim_v);
    const float *k_norm = op->k_norm ? op->k_norm + head * op->k_norm_pitch : NULL;
    turn_head(job, row, cpu_row(op->k, t) + head * op->k_pitch, k_norm, t);
    job->kernels->from_f32[kv->type_k](rounded, row, op->dim_k);
    spn_k_tile_store(kv->k + head * kv->k_head_bytes, kv->type_k, slot, rounded, op->dim_k);
}

static void queries_of(const cpu_job *job, uint32_t kv_head, size_t t) {
    const spn_op_qkv *op = &job->op->qkv;
    size_t group = op->n_head / op->n_head_kv;
    float scale = query_scale(op, job->batch->positions[t]);
    for (size_t g = 0; g < group; g++) {
        size_t head = kv_head * group + g;
        float *out = cpu_row(op->q_out, kv_head * job->op->n_rows * group + t * group + g);
        const float *q_norm = op->q_norm ? op->q_norm + head * op->q_norm_pitch : NULL;
        turn_head(job, out, cpu_row(op->q, t) + head * op->q_pitch, q_norm, t);
        if (scale != 1) job->kernels->scale(out, out, scale, op->dim_k);
    }
}

/* Rows lie far apart and come from the third cache: the next one's parts are asked for. */
SPN_PREFETCHES void fetch_part(spn_view view, size_t t, size_t from, size_t n) {
    spn_fetch((const uint8_t *)(cpu_row(view, t) + from), n * sizeof(float), spn_fetches_near());
}

SPN_PREFETCHES void fetch_head(const spn_op_qkv *op, uint32_t kv_head, size_t t) {
    const size_t group = op->n_head / op->n_head_kv;
    fetch_part(op->q, t, kv_head * group * op->q_pitch, group * op->q_pitch);
    if (op->k.buffer == NULL) return;
    fetch_part(op->k, t, kv_head * op->k_pitch, op->dim_k);
    fetch_part(op->v, t, kv_head * op->v_pitch, op->dim_v);
}

static uint32_t qkv_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return cpu_ceil_div(op->n_rows, ROWS_A_TASK) * op->qkv.n_head_kv;
}

static void qkv_run(const cpu_job *job, uint32_t task) {
    const spn_op_qkv *op = &job->op->qkv;
    uint32_t head = task % op->n_head_kv, block = task / op->n_head_kv;
    const size_t end = task_end(job->op, block);
    for (size_t t = (size_t)block * ROWS_A_TASK; t < end; t++) {
        if (t + 1 < end) fetch_head(op, head, t + 1);
        if (op->k.buffer != NULL) store_key_value(job, head, t);
        queries_of(job, head, t);
    }
}

const cpu_rule spn_cpu_qkv = {.n_tasks = qkv_tasks, .run = qkv_run};

/* ---- attention ---- */

/* How a segment's attention is cut: token blocks of `n_tokens` rows times parts of `n_heads` query
 * heads of each KV head. */
typedef struct attend_cut {
    size_t n_tokens, n_heads;
    uint32_t n_blocks, n_parts;
} attend_cut;

static attend_cut cut_of(const cpu_backend *cpu, const spn_op_attend *op,
                         const spn_segment *segment) {
    size_t group = op->n_head / op->n_head_kv;
    attend_cut cut = {.n_heads = spn_min_size(group, CPU_QUERY_ROWS)};
    cut.n_tokens = spn_max_size(CPU_QUERY_ROWS / cut.n_heads, 1);
    cut.n_tokens = spn_min_size(cut.n_tokens, segment->n_rows);
    /* Few KV heads and one token: share out the query heads, though K and V are read again. */
    if (segment->n_rows == 1 && op->n_head_kv < cpu->base.n_threads)
        cut.n_heads = spn_min_size(cut.n_heads, cpu_ceil_div(group, cpu->base.n_threads));
    cut.n_blocks = cpu_ceil_div(segment->n_rows, cut.n_tokens);
    cut.n_parts = cpu_ceil_div(group, cut.n_heads);
    if (cut.n_parts > 1) { /* heads of different tokens do not lie together then */
        cut.n_tokens = 1;
        cut.n_blocks = segment->n_rows;
    }
    return cut;
}

static uint32_t attend_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    uint32_t n = 0;
    for (uint32_t s = 0; s < batch->n_segments; s++) {
        attend_cut cut = cut_of(cpu, &op->attend, &batch->segments[s]);
        n += cut.n_blocks * cut.n_parts * op->attend.n_head_kv;
    }
    return n;
}

static void visible_range(const spn_op_attend *op, const spn_segment *segment, uint32_t position,
                          uint32_t *first, uint32_t *last) {
    *first = 0;
    *last = op->not_causal ? segment->first_pos + segment->n_rows - 1 : position;
    uint32_t reach = op->not_causal ? op->window / 2 + 1 : op->window;
    if (op->window != 0 && position >= reach) *first = position - reach + 1;
    if (op->not_causal && op->window != 0 && *last - position >= reach)
        *last = position + reach - 1;
    if (op->chunk != 0) *first = position - position % op->chunk;
}

static void put_head(const cpu_job *job, const float *from, size_t t, size_t head) {
    const spn_op_attend *op = &job->op->attend;
    float *to = cpu_row(op->out.x, t) + head * op->dim_v;
    if (op->gate.buffer == NULL) {
        memcpy(to, from, op->dim_v * sizeof *to);
        return;
    }
    job->kernels->sigmoid(to, cpu_row(op->gate, t) + head * op->gate_pitch, op->dim_v);
    job->kernels->mul(to, to, from, op->dim_v);
}

/* Tokens t0 <= t < t1 of a segment, `n_heads` query heads from h0 of KV head `kv_head`. */
static void attend_part(const cpu_job *job, const spn_segment *segment, uint32_t kv_head, size_t t0,
                        size_t t1, size_t h0, size_t n_heads) {
    const spn_op_attend *op = &job->op->attend;
    const cpu_scratch *scratch = job->scratch;
    const spn_kv_layer *kv = &segment->layers[op->layer];
    size_t group = op->n_head / op->n_head_kv, n_q = (t1 - t0) * n_heads;
    for (size_t i = 0; i < n_q; i++) {
        uint32_t position = segment->first_pos + (uint32_t)(t0 + i / n_heads - segment->first_row);
        visible_range(op, segment, position, &scratch->first[i], &scratch->last[i]);
        if (op->sinks) scratch->sinks[i] = op->sinks[kv_head * group + h0 + i % n_heads];
    }
    spn_attn_args args = {
        .n_q = n_q,
        .q = cpu_row(op->q, kv_head * job->op->n_rows * group + t0 * group + h0),
        .ldq = op->q.ld,
        .dim_k = op->dim_k,
        .dim_v = op->dim_v,
        .type_k = kv->type_k,
        .type_v = kv->type_v,
        .k = kv->k + kv_head * kv->k_head_bytes,
        .v = kv->v + kv_head * kv->v_head_bytes,
        .v_stride = spn_type_row_bytes(kv->type_v, op->dim_v),
        .ring = kv->ring,
        .first = scratch->first,
        .last = scratch->last,
        .softcap = op->softcap,
        .sink = op->sinks ? scratch->sinks : NULL,
        .out = scratch->heads,
        .ldo = op->dim_v,
        .scratch = scratch->kernel,
    };
    job->kernels->attend(&args);
    for (size_t i = 0; i < n_q; i++)
        put_head(job, scratch->heads + i * op->dim_v, t0 + i / n_heads,
                 kv_head * group + h0 + i % n_heads);
    if (op->forms == 0) return;
    for (size_t t = t0; t < t1; t++)
        spn_cpu_quantize_part(job, &op->out, op->forms, t, (kv_head * group + h0) * op->dim_v,
                              n_heads * op->dim_v);
}

static void attend_run(const cpu_job *job, uint32_t task) {
    const spn_op_attend *op = &job->op->attend;
    const spn_segment *segment = job->batch->segments;
    attend_cut cut = cut_of(job->cpu, op, segment);
    for (uint32_t n; task >= (n = cut.n_blocks * cut.n_parts * op->n_head_kv); task -= n)
        cut = cut_of(job->cpu, op, ++segment);
    size_t group = op->n_head / op->n_head_kv;
    /* The last tokens see the most: they go first, so that no long task is left for the end. */
    uint32_t block = cut.n_blocks - 1 - task / (cut.n_parts * op->n_head_kv);
    uint32_t part = task / op->n_head_kv % cut.n_parts;
    size_t t0 = segment->first_row + block * cut.n_tokens, h0 = part * cut.n_heads;
    size_t t1 = spn_min_size(t0 + cut.n_tokens, (size_t)segment->first_row + segment->n_rows);
    attend_part(job, segment, task % op->n_head_kv, t0, t1, h0,
                spn_min_size(cut.n_heads, group - h0));
}

const cpu_rule spn_cpu_attend = {.n_tasks = attend_tasks, .run = attend_run};
