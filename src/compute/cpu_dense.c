/* cpu_dense.c - embeddings, norms, products, gated units and maps on the CPU.
 * SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "compute/cpu.h"

/* Rows of a batch that one task of a row-wise operation takes. */
enum { ROWS_A_TASK = 8 };

static uint32_t row_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return cpu_ceil_div(op->n_rows, ROWS_A_TASK);
}

static size_t task_end(const spn_op *op, uint32_t task) {
    return spn_min_size(op->n_rows, ((size_t)task + 1) * ROWS_A_TASK);
}

/* ---- quantised activations ---- */

/* A form's parts from element `begin` of row `row` on. */
typedef struct act_part {
    int8_t *q;
    float *d, *dsum;
    int16_t *sum;
} act_part;

static act_part part_at(const spn_acts *acts, spn_act_form form, size_t row, size_t begin) {
    bool groups = form == SPN_ACT_FORM_GROUPS;
    size_t n = spn_act_form_len(form), at = row * (acts->k / n) + begin / n;
    uint8_t *host = acts->buffer->host;
    return (act_part){
        .q = (int8_t *)host + acts->parts[groups].q + row * acts->k + begin,
        .d = (float *)(void *)(host + acts->parts[groups].d) + at,
        .dsum = (float *)(void *)(host + acts->parts[groups].dsum) + at,
        .sum =
            (int16_t *)(void *)(host + acts->parts[groups].sum) + row * (acts->k / 16) + begin / 16,
    };
}

static uint16_t *bf16_at(const spn_acts *acts, size_t row, size_t begin) {
    uint8_t *host = acts->buffer->host;
    return (uint16_t *)(void *)(host + acts->bf16) + row * acts->k + begin;
}

/* Rows first ... of acts, as a product with weights of a type takes them. */
static spn_act acts_for(const spn_acts *acts, spn_type type, size_t first) {
    spn_act act = {.x = cpu_row(acts->x, first), .ldx = acts->x.ld};
    unsigned form = spn_act_form_of(type);
    if (form == 0 || acts->buffer == NULL) return act;
    if (form == SPN_ACT_FORM_BF16) {
        act.bf16 = bf16_at(acts, first, 0);
        return act;
    }
    act_part part = part_at(acts, (spn_act_form)form, first, 0);
    act.q = part.q;
    act.d = part.d;
    act.dsum = part.dsum;
    act.sum = part.sum;
    return act;
}

void spn_cpu_quantize_part(const cpu_job *job, const spn_acts *acts, unsigned forms, size_t row,
                           size_t begin, size_t n) {
    if (forms == 0) return;
    const float *x = cpu_row(acts->x, row) + begin;
    if (forms & SPN_ACT_FORM_BLOCKS) {
        act_part to = part_at(acts, SPN_ACT_FORM_BLOCKS, row, begin);
        job->kernels->quantize(to.q, to.d, to.dsum, to.sum, x, n);
    }
    if (forms & SPN_ACT_FORM_GROUPS) {
        act_part to = part_at(acts, SPN_ACT_FORM_GROUPS, row, begin);
        job->kernels->quantize_groups(to.q, to.d, to.sum, x, n);
    }
    if (forms & SPN_ACT_FORM_BF16)
        job->kernels->from_f32[SPN_TYPE_BF16](bf16_at(acts, row, begin), x, n);
}

static void copy_form(const spn_acts *to, size_t to_row, const spn_acts *from, size_t from_row,
                      spn_act_form form) {
    size_t k = to->k, n = k / spn_act_form_len(form);
    act_part y = part_at(to, form, to_row, 0), x = part_at(from, form, from_row, 0);
    memcpy(y.q, x.q, k);
    memcpy(y.d, x.d, n * sizeof *y.d);
    memcpy(y.sum, x.sum, k / 16 * sizeof *y.sum);
    if (form == SPN_ACT_FORM_BLOCKS) memcpy(y.dsum, x.dsum, n * sizeof *y.dsum);
}

void spn_cpu_copy_forms(const spn_acts *to, size_t to_row, const spn_acts *from, size_t from_row,
                        unsigned forms) {
    assert(to->k == from->k);
    if (forms & SPN_ACT_FORM_BLOCKS) copy_form(to, to_row, from, from_row, SPN_ACT_FORM_BLOCKS);
    if (forms & SPN_ACT_FORM_GROUPS) copy_form(to, to_row, from, from_row, SPN_ACT_FORM_GROUPS);
    if (forms & SPN_ACT_FORM_BF16)
        memcpy(bf16_at(to, to_row, 0), bf16_at(from, from_row, 0), to->k * sizeof(uint16_t));
}

/* A task is a part of a row: with one token that is all there is to share out. */
enum { QUANTIZE_PART = 1024 };

static uint32_t quantize_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return op->n_rows * cpu_ceil_div(op->quantize.acts.k, QUANTIZE_PART);
}

static void quantize_run(const cpu_job *job, uint32_t task) {
    const spn_op_quantize *op = &job->op->quantize;
    uint32_t parts = cpu_ceil_div(op->acts.k, QUANTIZE_PART);
    size_t begin = (size_t)(task % parts) * QUANTIZE_PART;
    spn_cpu_quantize_part(job, &op->acts, op->forms, task / parts, begin,
                          spn_min_size(QUANTIZE_PART, op->acts.k - begin));
}

const cpu_rule spn_cpu_quantize = {.n_tasks = quantize_tasks, .run = quantize_run};

/* ---- embeddings ---- */

static void embed_run(const cpu_job *job, uint32_t task) {
    const spn_op_embed *op = &job->op->embed;
    size_t k = op->table.k;
    for (size_t t = (size_t)task * ROWS_A_TASK; t < task_end(job->op, task); t++) {
        const uint8_t *from = cpu_matrix_row(&op->table, 0, (size_t)op->ids[t]);
        float *y = cpu_row(op->y, t), *row = op->add ? job->scratch->row : y;
        job->kernels->to_f32[op->table.type](row, from, k);
        if (op->scale != 1) job->kernels->scale(row, row, op->scale, k);
        if (op->add) job->kernels->add(y, y, row, k);
    }
}

const cpu_rule spn_cpu_embed = {.n_tasks = row_tasks, .run = embed_run};

/* ---- norms ---- */

/* A single row is cut into parts: each finds the row's length anew, which is cheap, and then scales
 * and quantises its own part. Same operations on each element as the kernel of a whole row. */
enum { NORM_PART = 512 };

static bool norm_in_parts(const spn_op *op) {
    const spn_op_norm *norm = &op->norm;
    return op->n_rows < ROWS_A_TASK && norm->kind == SPN_NORM_RMS && norm->n_groups == 1 &&
           norm->b == NULL && norm->acts.x.buffer != NULL && norm->n > NORM_PART;
}

static uint32_t norm_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    if (norm_in_parts(op)) return op->n_rows * cpu_ceil_div(op->norm.n, NORM_PART);
    return row_tasks(cpu, op, batch);
}

static void norm_part(const cpu_job *job, uint32_t task) {
    const spn_op_norm *op = &job->op->norm;
    const spn_kernels *kernels = job->kernels;
    uint32_t parts = cpu_ceil_div(op->n, NORM_PART);
    size_t t = task / parts, begin = (size_t)(task % parts) * NORM_PART;
    size_t n = spn_min_size(NORM_PART, op->n - begin);
    const float *x = cpu_row(op->x, t);
    float r = 1.0f / sqrtf(kernels->dot(x, x, op->n) / (float)op->n + op->eps);
    float *y = cpu_row(op->acts.x, t) + begin;
    kernels->scale(y, x + begin, r, n);
    if (op->w != NULL) kernels->mul(y, y, op->w + begin, n);
    if (op->y.buffer != NULL) memcpy(cpu_row(op->y, t) + begin, y, n * sizeof *y);
    spn_cpu_quantize_part(job, &op->acts, op->forms, t, begin, n);
}

static void norm_group(const cpu_job *job, const float *x, float *y, const float *w) {
    const spn_op_norm *op = &job->op->norm;
    float *to = op->add ? job->scratch->row : y;
    if (op->kind == SPN_NORM_NONE) {
        memcpy(to, x, op->n * sizeof *to);
    } else if (op->kind == SPN_NORM_LAYER) {
        job->kernels->layer_norm(to, x, w, op->b, op->n, op->eps);
    } else {
        job->kernels->rms_norm(to, x, w, op->n, op->eps);
        if (op->b != NULL) job->kernels->add(to, to, op->b, op->n);
    }
    if (!op->add) return;
    if (op->scale == 1)
        job->kernels->add(y, y, to, op->n);
    else
        job->kernels->add_scaled(y, to, op->scale, op->n);
}

static void norm_row(const cpu_job *job, size_t t) {
    const spn_op_norm *op = &job->op->norm;
    spn_view out = op->acts.x.buffer != NULL ? op->acts.x : op->y;
    for (size_t g = 0; g < op->n_groups; g++)
        norm_group(job, cpu_row(op->x, t) + g * op->x_pitch, cpu_row(out, t) + g * op->y_pitch,
                   op->w ? op->w + g * op->w_pitch : NULL);
    if (op->acts.x.buffer != NULL && op->y.buffer != NULL)
        memcpy(cpu_row(op->y, t), cpu_row(out, t), op->n * sizeof(float));
    assert(op->forms == 0 || op->acts.x.buffer != NULL);
    spn_cpu_quantize_part(job, &op->acts, op->forms, t, 0, op->n);
}

static void norm_run(const cpu_job *job, uint32_t task) {
    if (norm_in_parts(job->op)) {
        norm_part(job, task);
        return;
    }
    for (size_t t = (size_t)task * ROWS_A_TASK; t < task_end(job->op, task); t++) norm_row(job, t);
}

const cpu_rule spn_cpu_norm = {.n_tasks = norm_tasks, .run = norm_run};

/* ---- products ---- */

/* The yardstick: each weight row decoded to f32, one dot product a token. */
static void exact_product(const cpu_job *job, const spn_matrix *w, const uint8_t *rows, size_t n,
                          const spn_act *act, size_t n_tokens, float *y, size_t ldy) {
    for (size_t r = 0; r < n; r++) {
        job->kernels->to_f32[w->type](job->scratch->row, rows + r * w->row_bytes, w->k);
        for (size_t t = 0; t < n_tokens; t++)
            y[t * ldy + r] = job->kernels->dot(job->scratch->row, act->x + t * act->ldx, w->k);
    }
}

/* Asking ahead for what lies in pages that are not mapped yet comes to nothing. So the first pass
 * reads a byte here and there of the rows that follow, up to as many again: the system then maps
 * the pages around each. */
#define MAPPED_AROUND ((size_t)64 * 1024)
static void map_next(const spn_matrix *w, const uint8_t *rows, size_t r0, size_t r1) {
    size_t n = spn_min_size(r1 - r0, w->n_rows - r1);
    const uint8_t *next = rows + (r1 - r0) * w->row_bytes;
    for (size_t at = 0; at < n * w->row_bytes; at += MAPPED_AROUND)
        (void)*(const volatile uint8_t *)(next + at);
}

void spn_cpu_multiply(const cpu_job *job, const spn_matrix *w, size_t mat, size_t r0, size_t r1,
                      const spn_act *act, size_t n_tokens, float *y, size_t ldy) {
    const uint8_t *rows = cpu_matrix_row(w, mat, r0);
    if (job->cpu->need.exact) {
        exact_product(job, w, rows, r1 - r0, act, n_tokens, y, ldy);
        return;
    }
    if (job->cpu->is_fresh) map_next(w, rows, r0, r1);
    spn_matmul_args args = {.w = rows,
                            .row_bytes = w->row_bytes,
                            .k = w->k,
                            .act = *act,
                            .n_tokens = n_tokens,
                            .y = y,
                            .ldy = ldy,
                            .next = job->next,
                            .scratch = job->scratch->kernel};
    job->kernels->matmul[w->type](&args, 0, r1 - r0);
}

void spn_cpu_product(const cpu_job *job, const spn_matrix *w, size_t mat, size_t r0, size_t r1,
                     const spn_acts *acts, size_t first, size_t n_tokens, float *y, size_t ldy) {
    spn_act act = acts_for(acts, w->type, first);
    spn_cpu_multiply(job, w, mat, r0, r1, &act, n_tokens, y, ldy);
}

/* Rows that are computed at once: for few tokens, as many as a tile has room for. */
static size_t piece_rows(const cpu_backend *cpu, size_t n_tokens) {
    if (n_tokens >= CPU_MANY_TOKENS) return CPU_TASK_ROWS;
    return spn_min_size(cpu->tile_floats / spn_max_size(n_tokens, 1) / 32 * 32, CPU_PIECE_ROWS);
}

size_t spn_cpu_task_rows(size_t n_tokens) {
    return n_tokens >= CPU_MANY_TOKENS ? CPU_TASK_ROWS : CPU_FEW_TASK_ROWS;
}

/* The parts' rows are cut as those of one matrix, so that all tasks are of one size. */
static size_t matmul_rows(const spn_op_matmul *op) {
    size_t n_rows = 0;
    for (uint32_t p = 0; p < op->n_parts; p++) n_rows += op->part[p].w.n_rows;
    return n_rows;
}

static uint32_t matmul_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return cpu_ceil_div(matmul_rows(&op->matmul), spn_cpu_task_rows(op->n_rows));
}

/* What follows the product: bias, scale, sum. Row by row over the task's part. */
static void finish_part(const cpu_job *job, const spn_matmul_part *part, const float *tile,
                        size_t ldt, size_t r0, size_t n) {
    float scale = part->scale == 0 ? 1 : part->scale;
    for (size_t t = 0; t < job->op->n_rows; t++) {
        const float *from = tile + t * ldt;
        float *y = cpu_row(part->y, t) + r0;
        if (part->bias != NULL) {
            job->kernels->add(job->scratch->row, from, part->bias + r0, n);
            from = job->scratch->row;
        }
        if (part->add && scale == 1)
            job->kernels->add(y, y, from, n);
        else if (part->add)
            job->kernels->add_scaled(y, from, scale, n);
        else
            job->kernels->scale(y, from, scale, n);
    }
}

static void matmul_piece(const cpu_job *job, const spn_matmul_part *part, size_t r0, size_t r1) {
    const spn_acts *acts = &job->op->matmul.acts;
    size_t n = r1 - r0, n_tokens = job->op->n_rows;
    bool plain = part->bias == NULL && !part->add && (part->scale == 0 || part->scale == 1);
    if (plain) {
        spn_cpu_product(job, &part->w, 0, r0, r1, acts, 0, n_tokens, cpu_row(part->y, 0) + r0,
                        part->y.ld);
        return;
    }
    spn_cpu_product(job, &part->w, 0, r0, r1, acts, 0, n_tokens, job->scratch->tile, n);
    finish_part(job, part, job->scratch->tile, n, r0, n);
}

static void matmul_part(const cpu_job *job, const spn_matmul_part *part, size_t r0, size_t r1) {
    size_t step = piece_rows(job->cpu, job->op->n_rows);
    for (size_t r = r0; r < r1; r += step) matmul_piece(job, part, r, spn_min_size(r + step, r1));
}

static void matmul_run(const cpu_job *job, uint32_t first, uint32_t last) {
    const spn_op_matmul *op = &job->op->matmul;
    size_t step = spn_cpu_task_rows(job->op->n_rows), begin = first * step, end = last * step;
    for (uint32_t p = 0; p < op->n_parts && end > 0; p++) {
        size_t n_rows = op->part[p].w.n_rows;
        cpu_job here = *job;
        if (end > n_rows && p + 1 < op->n_parts) here.next = op->part[p + 1].w.data;
        if (begin < n_rows) matmul_part(&here, &op->part[p], begin, spn_min_size(end, n_rows));
        begin -= spn_min_size(begin, n_rows);
        end -= spn_min_size(end, n_rows);
    }
}

const cpu_rule spn_cpu_matmul = {.n_tasks = matmul_tasks, .run_some = matmul_run};

static size_t lane_row(const cpu_backend *cpu, uint32_t n_tasks, uint32_t member, size_t step) {
    return cpu_lane_start(cpu, n_tasks, member % cpu->n_lanes) * step;
}

const uint8_t *spn_cpu_matmul_lane(const cpu_backend *cpu, const spn_op *op, uint32_t member) {
    const spn_matmul_part *part = op->matmul.part, *last = part + op->matmul.n_parts - 1;
    size_t row = lane_row(cpu, matmul_tasks(cpu, op, NULL), member, spn_cpu_task_rows(op->n_rows));
    for (; part < last && row >= part->w.n_rows; part++) row -= part->w.n_rows;
    return cpu_matrix_row(&part->w, 0, spn_min_size(row, part->w.n_rows));
}

/* ---- gated units ---- */

/* gpt-oss: g = min(gate, 7), u = clamp(up, -7, 7), g sigmoid(1.702 g) (u + 1). */
static void oai_unit(const cpu_job *job, float *y, float *gate, float *up, size_t n) {
    assert(gate != NULL);
    for (size_t i = 0; i < n; i++) {
        gate[i] = gate[i] < 7 ? gate[i] : 7;
        up[i] = (up[i] < -7 ? -7 : up[i] > 7 ? 7 : up[i]) + 1;
        y[i] = gate[i] * 1.702f;
    }
    job->kernels->sigmoid(y, y, n);
    job->kernels->mul(y, y, gate, n);
    job->kernels->mul(y, y, up, n);
}

static void activate(const cpu_job *job, spn_activation activation, float *y, float *gate,
                     float *up, size_t n) {
    const spn_kernels *kernels = job->kernels;
    if (activation == SPN_ACTIVATION_OAI)
        oai_unit(job, y, gate, up, n);
    else if (activation == SPN_ACTIVATION_SILU)
        gate ? kernels->swiglu(y, gate, up, n) : kernels->silu(y, up, n);
    else
        gate ? kernels->geglu(y, gate, up, n) : kernels->gelu(y, up, n);
}

static float *unit_input(const cpu_job *job, const spn_op_glu *glu, const spn_matrix *w,
                         const float *bias, size_t mat, size_t r0, size_t r1, size_t first,
                         size_t n_tokens, float *tile) {
    size_t n = r1 - r0;
    spn_cpu_product(job, w, mat, r0, r1, &glu->acts, first, n_tokens, tile, n);
    if (bias != NULL)
        for (size_t t = 0; t < n_tokens; t++)
            job->kernels->add(tile + t * n, tile + t * n, bias + mat * w->n_rows + r0, n);
    return tile;
}

static void glu_rows(const cpu_job *job, const spn_op_glu *glu, size_t mat, size_t r0, size_t r1,
                     size_t first, size_t n_tokens) {
    float *gate = NULL, *up;
    size_t n = r1 - r0;
    cpu_job gates = *job, ups = *job;
    if (glu->gate.data != NULL) { /* its rows and up's are read in turn */
        gates.next = cpu_matrix_row(&glu->up, mat, r0);
        if (ups.next == NULL) ups.next = cpu_matrix_row(&glu->gate, mat, r1);
        gate = unit_input(&gates, glu, &glu->gate, glu->gate_bias, mat, r0, r1, first, n_tokens,
                          job->scratch->tile);
    }
    up = unit_input(&ups, glu, &glu->up, glu->up_bias, mat, r0, r1, first, n_tokens,
                    job->scratch->tile2);
    for (size_t t = 0; t < n_tokens; t++) {
        float *y = cpu_row(glu->out.x, first + t) + r0;
        activate(job, glu->activation, y, gate ? gate + t * n : NULL, up + t * n, n);
    }
}

void spn_cpu_glu_part(const cpu_job *job, const spn_op_glu *glu, size_t mat, size_t r0, size_t r1,
                      size_t first, size_t n_tokens) {
    size_t step = piece_rows(job->cpu, n_tokens);
    for (size_t r = r0; r < r1; r += step)
        glu_rows(job, glu, mat, r, spn_min_size(r + step, r1), first, n_tokens);
    for (size_t t = first; t < first + n_tokens; t++)
        spn_cpu_quantize_part(job, &glu->out, glu->forms, t, r0, r1 - r0);
}

size_t spn_cpu_glu_task_rows(const spn_op_glu *glu, size_t n_tokens) {
    return spn_max_size(spn_cpu_task_rows(n_tokens),
                        glu->forms & SPN_ACT_FORM_GROUPS ? SPN_ACT_GROUP : SPN_ACT_BLOCK);
}

static uint32_t glu_tasks(const cpu_backend *cpu, const spn_op *op, const spn_batch *batch) {
    (void)cpu, (void)batch;
    return cpu_ceil_div(op->glu.up.n_rows, spn_cpu_glu_task_rows(&op->glu, op->n_rows));
}

static void glu_run(const cpu_job *job, uint32_t first, uint32_t last) {
    const spn_op_glu *op = &job->op->glu;
    size_t step = spn_cpu_glu_task_rows(op, job->op->n_rows);
    spn_cpu_glu_part(job, op, 0, first * step, spn_min_size(last * step, op->up.n_rows), 0,
                     job->op->n_rows);
}

const cpu_rule spn_cpu_glu = {.n_tasks = glu_tasks, .run_some = glu_run};

const uint8_t *spn_cpu_glu_lane(const cpu_backend *cpu, const spn_op *op, uint32_t member) {
    const spn_matrix *w = op->glu.gate.data ? &op->glu.gate : &op->glu.up;
    size_t step = spn_cpu_glu_task_rows(&op->glu, op->n_rows);
    size_t row = lane_row(cpu, glu_tasks(cpu, op, NULL), member, step);
    return cpu_matrix_row(w, 0, spn_min_size(row, w->n_rows));
}

/* ---- maps ---- */

static void map_row(const cpu_job *job, size_t t) {
    const spn_op_map *op = &job->op->map;
    const spn_kernels *kernels = job->kernels;
    const float *a = cpu_row(op->a, t), *b = op->b.buffer ? cpu_row(op->b, t) : NULL;
    float *y = cpu_row(op->y, t), gate;
    switch (op->kind) {
    case SPN_MAP_ADD:
        kernels->add(y, a, b, op->n);
        break;
    case SPN_MAP_MUL:
        kernels->mul(y, a, b, op->n);
        break;
    case SPN_MAP_SCALE:
        kernels->scale(y, a, op->factor, op->n);
        break;
    case SPN_MAP_SOFTCAP:
        kernels->softcap(y, a, op->factor, op->n);
        break;
    case SPN_MAP_GELU_MUL:
        kernels->geglu(y, a, b, op->n);
        break;
    case SPN_MAP_ADD_SCALED:
        kernels->add_scaled(y, a, op->factor, op->n);
        break;
    case SPN_MAP_ADD_VECTOR:
        kernels->add(y, a, op->vector, op->n);
        break;
    case SPN_MAP_MUL_VECTOR:
        kernels->mul(y, a, op->vector, op->n);
        break;
    case SPN_MAP_ADD_GATED:
        kernels->sigmoid(&gate, b, 1);
        kernels->add_scaled(y, a, gate, op->n);
        break;
    }
}

static void map_run(const cpu_job *job, uint32_t task) {
    for (size_t t = (size_t)task * ROWS_A_TASK; t < task_end(job->op, task); t++) map_row(job, t);
}

const cpu_rule spn_cpu_map = {.n_tasks = row_tasks, .run = map_run};

static void gather_run(const cpu_job *job, uint32_t task) {
    const spn_op_gather *op = &job->op->gather;
    for (size_t i = (size_t)task * ROWS_A_TASK; i < task_end(job->op, task); i++)
        memcpy(cpu_row(op->y, i), cpu_row(op->x, op->rows[i]), op->n * sizeof(float));
}

const cpu_rule spn_cpu_gather = {.n_tasks = row_tasks, .run = gather_run};
