/* decoder_attn.c - attention, latent attention and linear attention as operations.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "model/decoder.h"

unsigned spn_pass_mixer_forms(const spn_pass *pass, const spn_layer *layer) {
    const spn_linear *readers[] = {&layer->q,    &layer->k,     &layer->v,
                                   &layer->q_a,  &layer->kv_a,  &layer->z,
                                   &layer->beta, &layer->alpha, &layer->ba};
    unsigned forms = 0;
    for (size_t i = 0; i < SPN_COUNT(readers); i++) forms |= spn_pass_form(pass, &readers[i]->w);
    return forms;
}

/* One operation for all matrices that read the same input. */
static void project(spn_pass *pass, const spn_acts *input, const spn_linear *const *linears,
                    const spn_view *views, uint32_t n) {
    spn_op_matmul *op = &spn_pass_emit(pass, SPN_OP_MATMUL, pass->n_rows)->matmul;
    op->acts = *input;
    for (uint32_t i = 0; i < n; i++)
        if (linears[i]->w.data != NULL)
            op->part[op->n_parts++] =
                (spn_matmul_part){linears[i]->w, linears[i]->bias, views[i], false, 1};
}

/* The forms that may be filled in parts of n elements: those of which n is whole runs. */
static unsigned forms_in_parts(unsigned forms, size_t n) {
    if (n % SPN_ACT_GROUP != 0) forms &= ~(unsigned)SPN_ACT_FORM_GROUPS;
    return n % SPN_ACT_BLOCK == 0 ? forms : 0;
}

static void attend(spn_pass *pass, uint32_t l, spn_view gate, size_t gate_pitch,
                   const spn_acts *out, unsigned forms) {
    const spn_network *network = pass->network;
    const spn_layer *layer = &network->layers[l];
    spn_pass_emit(pass, SPN_OP_ATTEND, pass->n_rows)->attend = (spn_op_attend){
        .layer = layer->kv_layer,
        .n_head = layer->n_head,
        .n_head_kv = layer->n_head_kv,
        .dim_k = layer->dim_k,
        .dim_v = layer->dim_v,
        .q = {pass->q.buffer, pass->q.offset, layer->dim_k},
        .window = layer->window,
        .chunk = layer->chunk,
        .not_causal = network->not_causal,
        .softcap = network->attn_softcap,
        .sinks = layer->sinks,
        .gate = gate,
        .gate_pitch = gate_pitch,
        .out = *out,
        .forms = forms,
    };
}

static spn_op_qkv *emit_qkv(spn_pass *pass, uint32_t l, spn_view q, size_t q_pitch) {
    const spn_network *network = pass->network;
    const spn_layer *layer = &network->layers[l];
    spn_op_qkv *op = &spn_pass_emit(pass, SPN_OP_QKV, pass->n_rows)->qkv;
    op->layer = l;
    op->n_head = layer->n_head;
    op->n_head_kv = layer->n_head_kv;
    op->dim_k = layer->dim_k;
    op->dim_v = layer->dim_v;
    op->q = q;
    op->q_pitch = q_pitch;
    op->eps = network->eps;
    op->rope = layer->rope;
    op->n_rot = network->rope[layer->rope_table].n_rot;
    op->cs = pass->cs[layer->rope_table];
    op->q_scale = layer->q_scale;
    op->temp_scale = layer->temp_scale;
    op->temp_shift = layer->temp_shift;
    op->temp_length = layer->temp_length;
    op->q_out = (spn_view){pass->q.buffer, pass->q.offset, layer->dim_k};
    return op;
}

static void norm_all_heads(spn_pass *pass, const float *w, spn_view x, size_t n) {
    spn_norm norm = {.w = w, .present = true};
    spn_pass_norm_to(pass, &norm, x, x, false);
    pass->ops[pass->n_ops - 1].norm.n = n;
}

static void add_head_norms(spn_pass *pass, const spn_layer *layer, spn_op_qkv *op) {
    spn_qk_norm kind = pass->network->arch->qk_norm;
    if (kind != SPN_QK_NORM_HEAD && kind != SPN_QK_NORM_HEADS) return;
    bool own = kind == SPN_QK_NORM_HEADS;
    op->norm = own ? SPN_NORM_LAYER : SPN_NORM_RMS;
    op->q_norm = layer->q_norm;
    op->k_norm = layer->k_norm;
    op->q_norm_pitch = op->k_norm_pitch = own ? layer->dim_k : 0;
}

void spn_pass_attention(spn_pass *pass, uint32_t l, const spn_acts *input, spn_branch branch) {
    const spn_layer *layer = &pass->network->layers[l];
    size_t n_q = layer->q.w.n_rows, n_k = layer->k.w.n_rows;
    bool gated = (pass->network->arch->flags & SPN_ARCH_GATED_QUERY) != 0;
    spn_view q = pass->qkv, k = spn_view_at(q, n_q), v = spn_view_at(k, n_k);
    const spn_linear *linears[] = {&layer->q, &layer->k, &layer->v};
    const spn_view views[] = {q, k, v};
    project(pass, input, linears, views, 3);
    if (pass->network->arch->qk_norm == SPN_QK_NORM_ALL) {
        norm_all_heads(pass, layer->q_norm, q, n_q);
        norm_all_heads(pass, layer->k_norm, k, n_k);
    }
    size_t q_pitch = layer->dim_k * (gated ? 2 : 1);
    spn_op_qkv *op = emit_qkv(pass, l, q, q_pitch);
    add_head_norms(pass, layer, op);
    op->norm_after = layer->norm_after;
    op->v_norm = layer->v_norm;
    if (layer->k.w.data != NULL) {
        op->k = k;
        op->v = layer->v.w.data != NULL ? v : k;
        op->k_pitch = layer->dim_k;
        op->v_pitch = layer->dim_v;
    }
    unsigned forms = spn_pass_form(pass, &layer->o.w);
    unsigned by_head = forms_in_parts(forms, layer->dim_v);
    spn_acts out = spn_pass_acts(&pass->attn, layer->n_head * layer->dim_v);
    attend(pass, l, gated ? spn_view_at(q, layer->dim_k) : (spn_view){0}, q_pitch, &out, by_head);
    spn_pass_quantize(pass, &out, forms & ~by_head);
    spn_pass_matmul(pass, &layer->o, &out, branch.y, branch.add, branch.scale);
}

/* ---- latent attention: arXiv:2405.04434 ---- */

/* Keys and values of all heads are products of one latent of kv_rank numbers, which is what the
 * cache holds, with n_rot rotated numbers that all heads share. Each head's plain query is taken
 * into the latent's space (k_b) and scored there; the attended latent is taken to the head's value
 * (v_b). */
static void latent_query(spn_pass *pass, const spn_layer *layer, const spn_acts *input,
                         spn_view q) {
    if (layer->q_a.w.data == NULL) {
        spn_pass_matmul(pass, &layer->q, input, q, false, 1);
        return;
    }
    size_t rank = layer->q_a.w.n_rows;
    spn_acts low = spn_pass_acts(&pass->q_rank, rank);
    spn_pass_matmul(pass, &layer->q_a, input, low.x, false, 1);
    norm_all_heads(pass, layer->q_a_norm.w, low.x, rank);
    spn_pass_quantize(pass, &low, spn_pass_form(pass, &layer->q_b.w));
    spn_pass_matmul(pass, &layer->q_b, &low, q, false, 1);
}

void spn_pass_latent(spn_pass *pass, uint32_t l, const spn_acts *input, spn_branch branch) {
    const spn_network *network = pass->network;
    const spn_layer *layer = &network->layers[l];
    size_t r = network->kv_rank, n = network->n_rot_latent, c = network->dim_latent_k;
    size_t v = network->dim_latent_v, H = layer->n_head;
    spn_view q = pass->qkv, kv = spn_view_at(q, H * (c + n));
    latent_query(pass, layer, input, q);
    spn_pass_matmul(pass, &layer->kv_a, input, kv, false, 1);
    norm_all_heads(pass, layer->kv_a_norm.w, kv, r);
    spn_pass_emit(pass, SPN_OP_HEAD_MATMUL, pass->n_rows)->head_matmul =
        (spn_op_head_matmul){layer->k_b, q, pass->q_latent, c + n, r + n};
    spn_op_norm *copy = &spn_pass_emit(pass, SPN_OP_NORM, pass->n_rows)->norm;
    *copy = (spn_op_norm){.kind = SPN_NORM_NONE,
                          .n = n,
                          .n_groups = H,
                          .x_pitch = c + n,
                          .y_pitch = r + n,
                          .x = spn_view_at(q, c),
                          .y = spn_view_at(pass->q_latent, r)};
    spn_op_qkv *op = emit_qkv(pass, l, pass->q_latent, r + n);
    op->rot_last = true;
    op->k = op->v = kv;
    spn_acts latent = {.x = pass->attn_latent}, out = spn_pass_acts(&pass->attn, H * v);
    attend(pass, l, (spn_view){0}, 0, &latent, 0);
    spn_pass_emit(pass, SPN_OP_HEAD_MATMUL, pass->n_rows)->head_matmul =
        (spn_op_head_matmul){layer->v_b, pass->attn_latent, out.x, r, v};
    spn_pass_quantize(pass, &out, spn_pass_form(pass, &layer->o.w));
    spn_pass_matmul(pass, &layer->o, &out, branch.y, branch.add, branch.scale);
}

/* ---- linear attention: gated delta rule ---- */

/* Rows of pass->qkv: q, k, v channels, then z, then beta and alpha. */
void spn_pass_linear(spn_pass *pass, uint32_t l, const spn_acts *input, spn_branch branch) {
    const spn_network *network = pass->network;
    const spn_layer *layer = &network->layers[l];
    size_t d = network->dim_state, vh = network->n_value_head, per = vh / network->n_key_head;
    size_t channels = d * (2 * network->n_key_head + vh);
    spn_view qkv = pass->qkv, z = spn_view_at(qkv, channels), beta = spn_view_at(z, d * vh);
    bool together = layer->ba.w.data != NULL; /* each key head: `per` betas, then `per` alphas */
    spn_view alpha = spn_view_at(beta, together ? per : vh);
    const spn_linear *linears[] = {&layer->q, &layer->z, together ? &layer->ba : &layer->beta,
                                   &layer->alpha};
    const spn_view views[] = {qkv, z, beta, alpha};
    project(pass, input, linears, views, 4);
    spn_pass_emit(pass, SPN_OP_CONV, pass->n_rows)->conv =
        (spn_op_conv){l, channels, network->n_taps, layer->conv, qkv, pass->conv};
    size_t conv_bytes = (channels * (network->n_taps - 1) * sizeof(float) + 63) / 64 * 64;
    unsigned forms = spn_pass_form(pass, &layer->ssm_out.w), by_head = forms_in_parts(forms, d);
    spn_acts out = spn_pass_acts(&pass->attn, d * vh);
    spn_pass_emit(pass, SPN_OP_DELTA, pass->n_rows)->delta =
        (spn_op_delta){.layer = l,
                       .n_k = network->n_key_head,
                       .n_v = network->n_value_head,
                       .d = d,
                       .interleaved = network->beta_interleaved_heads,
                       .eps = network->eps,
                       .conv_bytes = conv_bytes,
                       .a = layer->ssm_a,
                       .dt = layer->ssm_dt,
                       .norm = layer->ssm_norm,
                       .qkv = pass->conv,
                       .z = z,
                       .beta = beta,
                       .alpha = alpha,
                       .beta_pitch = together ? 2 * per : 0,
                       .out = out,
                       .forms = by_head};
    spn_pass_quantize(pass, &out, forms & ~by_head);
    spn_pass_matmul(pass, &layer->ssm_out, &out, branch.y, branch.add, branch.scale);
}
