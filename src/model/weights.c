/* weights.c - binds a file's tensors to roles. SPDX-License-Identifier: Apache-2.0
 *
 * Every tensor's shape is checked against the network's numbers, and every tensor of the file must
 * be bound: one that this engine does not know would change the answer if it were left out. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/network.h"

#define NAME_MAX_BYTES 160
#define MAX_PROJECTION (1u << 20)

static const char *full_name(int layer, const char *name, char *text) {
    if (layer < 0) return name;
    snprintf(text, NAME_MAX_BYTES, "blk.%d.%.100s", layer, name);
    return text;
}

static const spn_gguf_tensor *find(const spn_loader *loader, int layer, const char *name) {
    char text[NAME_MAX_BYTES];
    return spn_gguf_find_tensor(loader->gguf, full_name(layer, name, text));
}

bool spn_bind_exists(const spn_loader *loader, int layer, const char *name) {
    return find(loader, layer, name) != NULL;
}

static spn_status take(spn_loader *loader, int layer, const char *name, bool required,
                       const spn_gguf_tensor **out, spn_error *err) {
    char text[NAME_MAX_BYTES];
    *out = find(loader, layer, name);
    if (*out == NULL && required)
        return SPN_FAIL(err, LOAD, "tensor %s is missing", full_name(layer, name, text));
    if (*out != NULL) loader->used[*out - spn_gguf_tensor_at(loader->gguf, 0)] = true;
    return SPN_STATUS_OK;
}

/* True when the tensor has these dimensions; trailing ones are 1. */
static bool has_shape(const spn_gguf_tensor *tensor, size_t n0, size_t n1, size_t n2) {
    return tensor->ne[0] == n0 && tensor->ne[1] == n1 && tensor->ne[2] == n2 && tensor->ne[3] == 1;
}

static spn_status wrong_shape(const spn_gguf_tensor *tensor, size_t n0, size_t n1, size_t n2,
                              spn_error *err) {
    return SPN_FAIL(err, LOAD,
                    "tensor %.*s has the shape [%llu, %llu, %llu, %llu]: [%zu, %zu, %zu] is "
                    "expected",
                    (int)spn_min_size(tensor->name.len, 100), tensor->name.data,
                    (unsigned long long)tensor->ne[0], (unsigned long long)tensor->ne[1],
                    (unsigned long long)tensor->ne[2], (unsigned long long)tensor->ne[3], n0, n1,
                    n2);
}

spn_status spn_bind_matrix(spn_loader *loader, int layer, const char *name, bool required, size_t k,
                           size_t n_rows, size_t n_mats, spn_matrix *out, spn_error *err) {
    const spn_gguf_tensor *tensor;
    SPN_TRY(take(loader, layer, name, required, &tensor, err));
    if (tensor == NULL) return SPN_STATUS_OK;
    size_t mats = n_mats ? n_mats : 1;
    if (!has_shape(tensor, k, n_rows, mats)) return wrong_shape(tensor, k, n_rows, mats, err);
    const spn_kernels *kernels = spn_kernels_get(SPN_CPU_LEVEL_REF);
    if (kernels->matmul[tensor->type] == NULL || kernels->to_f32[tensor->type] == NULL)
        return SPN_FAIL(err, LOAD, "tensor %.*s: weights of type %s are not supported",
                        (int)spn_min_size(tensor->name.len, 100), tensor->name.data,
                        spn_type_name(tensor->type));
    *out = (spn_matrix){.data = tensor->data,
                        .type = tensor->type,
                        .n_mats = (uint32_t)mats,
                        .k = k,
                        .n_rows = n_rows,
                        .row_bytes = spn_type_row_bytes(tensor->type, k)};
    return SPN_STATUS_OK;
}

/* Vectors are small: they are copied as f32, whatever their type and alignment in the file. */
static spn_status copy_vector(spn_loader *loader, const spn_gguf_tensor *tensor, size_t n,
                              const float **out, spn_error *err) {
    float *copy = spn_arena_array(&loader->network->arena, n, sizeof *copy);
    if (copy == NULL) return SPN_NO_MEMORY(err, "a vector of weights");
    if (tensor->type != SPN_TYPE_F32 && tensor->type != SPN_TYPE_F16 &&
        tensor->type != SPN_TYPE_BF16)
        return SPN_FAIL(err, LOAD, "tensor %.*s: a vector of type %s is not supported",
                        (int)spn_min_size(tensor->name.len, 100), tensor->name.data,
                        spn_type_name(tensor->type));
    spn_kernels_get(SPN_CPU_LEVEL_REF)->to_f32[tensor->type](copy, tensor->data, n);
    *out = copy;
    return SPN_STATUS_OK;
}

static spn_status bind_array(spn_loader *loader, int layer, const char *name, bool required,
                             size_t n0, size_t n1, const float **out, spn_error *err) {
    const spn_gguf_tensor *tensor;
    SPN_TRY(take(loader, layer, name, required, &tensor, err));
    if (tensor == NULL) return SPN_STATUS_OK;
    if (!has_shape(tensor, n0, n1, 1)) return wrong_shape(tensor, n0, n1, 1, err);
    return copy_vector(loader, tensor, n0 * n1, out, err);
}

spn_status spn_bind_vector(spn_loader *loader, int layer, const char *name, bool required, size_t n,
                           const float **out, spn_error *err) {
    return bind_array(loader, layer, name, required, n, 1, out, err);
}

/* ---- NAME.weight with NAME.bias ---- */

static const char *with_ending(const char *name, const char *ending, char *text) {
    snprintf(text, NAME_MAX_BYTES, "%.80s.%s", name, ending);
    return text;
}

/* `bias`: the SPN_BIAS_ bit that says whether NAME.bias is allowed and required. */
static spn_status bind_linear(spn_loader *loader, int layer, const char *name, bool required,
                              unsigned bias, size_t k, size_t n_rows, size_t n_mats,
                              spn_linear *out, spn_error *err) {
    char text[NAME_MAX_BYTES];
    const spn_arch *arch = loader->network->arch;
    SPN_TRY(spn_bind_matrix(loader, layer, with_ending(name, "weight", text), required, k, n_rows,
                            n_mats, &out->w, err));
    if (out->w.data == NULL || !(arch->bias & bias)) return SPN_STATUS_OK;
    return bind_array(loader, layer, with_ending(name, "bias", text),
                      (arch->bias_required & bias) != 0, n_rows, n_mats ? n_mats : 1, &out->bias,
                      err);
}

static spn_status bind_norm(spn_loader *loader, int layer, const char *name, bool required,
                            spn_norm *out, spn_error *err) {
    char text[NAME_MAX_BYTES];
    const spn_network *network = loader->network;
    SPN_TRY(spn_bind_vector(loader, layer, with_ending(name, "weight", text), required,
                            network->n_embd, &out->w, err));
    out->present = out->w != NULL;
    if (!out->present || !(network->arch->bias & SPN_BIAS_NORM)) return SPN_STATUS_OK;
    return spn_bind_vector(loader, layer, with_ending(name, "bias", text),
                           (network->arch->bias_required & SPN_BIAS_NORM) != 0, network->n_embd,
                           &out->b, err);
}

/* Rows first .. first + n_rows of a matrix with bias, as a matrix of its own. */
static spn_linear rows_of(spn_linear all, size_t first, size_t n_rows) {
    all.w.data += first * all.w.row_bytes;
    all.w.n_rows = n_rows;
    if (all.bias != NULL) all.bias += first;
    return all;
}

/* ---- attention ---- */

static spn_status bind_qk_norms(spn_loader *loader, int l, spn_layer *layer, spn_error *err) {
    const spn_arch *arch = loader->network->arch;
    bool required = !(arch->flags & SPN_ARCH_QK_OPTIONAL), own_k = layer->kv_layer == (uint32_t)l;
    size_t q = 1, k = 1, dim = layer->dim_k;
    if (arch->qk_norm == SPN_QK_NORM_NONE) return SPN_STATUS_OK;
    if (arch->qk_norm == SPN_QK_NORM_ALL) {
        SPN_TRY(spn_bind_vector(loader, l, "attn_q_norm.weight", required, dim * layer->n_head,
                                &layer->q_norm, err));
        return spn_bind_vector(loader, l, "attn_k_norm.weight", required, dim * layer->n_head_kv,
                               &layer->k_norm, err);
    }
    if (arch->qk_norm == SPN_QK_NORM_HEADS) {
        q = layer->n_head;
        k = layer->n_head_kv;
    }
    SPN_TRY(bind_array(loader, l, "attn_q_norm.weight", required, dim, q, &layer->q_norm, err));
    if (!own_k) return SPN_STATUS_OK;
    SPN_TRY(bind_array(loader, l, "attn_k_norm.weight", required, dim, k, &layer->k_norm, err));
    if ((layer->q_norm == NULL) != (layer->k_norm == NULL))
        return SPN_FAIL(err, LOAD, "layer %d has only one of attn_q_norm and attn_k_norm", l);
    return SPN_STATUS_OK;
}

static spn_status bind_fused_qkv(spn_loader *loader, int l, spn_layer *layer, spn_error *err) {
    size_t n_q = layer->n_head * layer->dim_k, n_k = layer->n_head_kv * layer->dim_k;
    size_t n_v = layer->n_head_kv * layer->dim_v;
    spn_linear all = {0};
    SPN_TRY(bind_linear(loader, l, "attn_qkv", true, SPN_BIAS_QKV, loader->network->n_embd,
                        n_q + n_k + n_v, 0, &all, err));
    layer->q = rows_of(all, 0, n_q);
    layer->k = rows_of(all, n_q, n_k);
    layer->v = rows_of(all, n_q + n_k, n_v);
    return SPN_STATUS_OK;
}

static spn_status bind_attention(spn_loader *loader, int l, spn_layer *layer, spn_error *err) {
    const spn_network *network = loader->network;
    bool gated = (network->arch->flags & SPN_ARCH_GATED_QUERY) != 0;
    size_t n_q = layer->n_head * layer->dim_k * (gated ? 2 : 1), k = network->n_embd;
    bool own = layer->kv_layer == (uint32_t)l;
    if (spn_bind_exists(loader, l, "attn_qkv.weight") && !gated && own) {
        SPN_TRY(bind_fused_qkv(loader, l, layer, err));
    } else {
        SPN_TRY(bind_linear(loader, l, "attn_q", true, SPN_BIAS_QKV, k, n_q, 0, &layer->q, err));
        if (own) {
            bool need_v = !(network->arch->flags & SPN_ARCH_KEY_AS_VALUE) || layer->window != 0;
            SPN_TRY(bind_linear(loader, l, "attn_k", true, SPN_BIAS_QKV, k,
                                layer->n_head_kv * layer->dim_k, 0, &layer->k, err));
            SPN_TRY(bind_linear(loader, l, "attn_v", need_v, SPN_BIAS_QKV, k,
                                layer->n_head_kv * layer->dim_v, 0, &layer->v, err));
        }
    }
    SPN_TRY(bind_linear(loader, l, "attn_output", true, SPN_BIAS_O, layer->n_head * layer->dim_v, k,
                        0, &layer->o, err));
    if (network->arch->flags & SPN_ARCH_SINKS)
        SPN_TRY(spn_bind_vector(loader, l, "attn_sinks.weight", true, layer->n_head, &layer->sinks,
                                err));
    if ((network->arch->flags & SPN_ARCH_QK_LARGE) && network->n_layer < 64) return SPN_STATUS_OK;
    return bind_qk_norms(loader, l, layer, err);
}

static spn_status bind_named_norm(spn_loader *loader, int l, const char *name, size_t n,
                                  spn_norm *out, spn_error *err) {
    out->present = true;
    return spn_bind_vector(loader, l, name, true, n, &out->w, err);
}

/* Old files keep both halves of a head's kv_b together: [c + v] rows a head over the latent. The
 * key's half is used transposed, so it is decoded and turned once; the value's half as it is. */
static spn_status split_kv_b(spn_loader *loader, int l, spn_layer *layer, spn_error *err) {
    spn_network *network = loader->network;
    size_t r = network->kv_rank, c = network->dim_latent_k, v = network->dim_latent_v;
    spn_matrix both = {0};
    SPN_TRY(spn_bind_matrix(loader, l, "attn_kv_b.weight", true, r, layer->n_head * (c + v), 0,
                            &both, err));
    float *k_b = spn_arena_array(&network->arena, layer->n_head * r, c * sizeof *k_b);
    float *v_b = spn_arena_array(&network->arena, layer->n_head * v, r * sizeof *v_b);
    float *row = spn_arena_array(&network->arena, r, sizeof *row);
    if (k_b == NULL || v_b == NULL || row == NULL) return SPN_NO_MEMORY(err, "attn_kv_b");
    const spn_kernels *kernels = spn_kernels_get(SPN_CPU_LEVEL_REF);
    for (size_t h = 0; h < layer->n_head; h++)
        for (size_t i = 0; i < c + v; i++) {
            const uint8_t *from = both.data + (h * (c + v) + i) * both.row_bytes;
            float *to = i < c ? row : v_b + (h * v + i - c) * r;
            kernels->to_f32[both.type](to, from, r);
            for (size_t j = 0; i < c && j < r; j++) k_b[(h * r + j) * c + i] = row[j];
        }
    layer->k_b = (spn_matrix){(const uint8_t *)k_b, SPN_TYPE_F32, layer->n_head, c, r, 4 * c, 0};
    layer->v_b = (spn_matrix){(const uint8_t *)v_b, SPN_TYPE_F32, layer->n_head, r, v, 4 * r, 0};
    return SPN_STATUS_OK;
}

static spn_status bind_latent(spn_loader *loader, int l, spn_layer *layer, spn_error *err) {
    spn_network *network = loader->network;
    size_t E = network->n_embd, r = network->kv_rank, c = network->dim_latent_k;
    size_t n = network->n_rot_latent, v = network->dim_latent_v, H = layer->n_head;
    uint32_t q_rank = 0;
    SPN_TRY(spn_loader_u32(loader, "attention.q_lora_rank", false, &q_rank, err));
    if (q_rank > 0 && spn_bind_exists(loader, l, "attn_q_a.weight")) {
        SPN_TRY(bind_linear(loader, l, "attn_q_a", true, 0, E, q_rank, 0, &layer->q_a, err));
        SPN_TRY(bind_named_norm(loader, l, "attn_q_a_norm.weight", q_rank, &layer->q_a_norm, err));
        SPN_TRY(
            bind_linear(loader, l, "attn_q_b", true, 0, q_rank, H * (c + n), 0, &layer->q_b, err));
    } else {
        SPN_TRY(bind_linear(loader, l, "attn_q", true, 0, E, H * (c + n), 0, &layer->q, err));
    }
    SPN_TRY(bind_linear(loader, l, "attn_kv_a_mqa", true, 0, E, r + n, 0, &layer->kv_a, err));
    SPN_TRY(bind_named_norm(loader, l, "attn_kv_a_norm.weight", r, &layer->kv_a_norm, err));
    SPN_TRY(bind_linear(loader, l, "attn_output", true, 0, H * v, E, 0, &layer->o, err));
    if (spn_bind_exists(loader, l, "attn_kv_b.weight") &&
        !spn_bind_exists(loader, l, "attn_k_b.weight"))
        return split_kv_b(loader, l, layer, err);
    SPN_TRY(spn_bind_matrix(loader, l, "attn_k_b.weight", true, c, r, H, &layer->k_b, err));
    return spn_bind_matrix(loader, l, "attn_v_b.weight", true, r, v, H, &layer->v_b, err);
}

/* The file has a channel's taps together; the pass wants a tap's channels together. */
static spn_status bind_taps(spn_loader *loader, int l, size_t n_taps, size_t channels,
                            const float **out, spn_error *err) {
    const float *by_channel = NULL;
    SPN_TRY(bind_array(loader, l, "ssm_conv1d.weight", true, n_taps, channels, &by_channel, err));
    assert(by_channel != NULL);
    float *taps = spn_arena_array(&loader->network->arena, n_taps * channels, sizeof *taps);
    if (taps == NULL) return SPN_NO_MEMORY(err, "a vector of weights");
    for (size_t i = 0; i < n_taps * channels; i++)
        taps[i] = by_channel[i % channels * n_taps + i / channels];
    *out = taps;
    return SPN_STATUS_OK;
}

static spn_status bind_linear_attention(spn_loader *loader, int l, spn_layer *layer,
                                        spn_error *err) {
    spn_network *network = loader->network;
    size_t E = network->n_embd, d = network->dim_state, kh = network->n_key_head;
    size_t vh = network->n_value_head, channels = d * (2 * kh + vh);
    SPN_TRY(bind_linear(loader, l, "attn_qkv", true, 0, E, channels, 0, &layer->q, err));
    SPN_TRY(bind_linear(loader, l, "attn_gate", true, 0, E, d * vh, 0, &layer->z, err));
    SPN_TRY(bind_taps(loader, l, network->n_taps, channels, &layer->conv, err));
    if (network->beta_interleaved_heads) {
        SPN_TRY(bind_linear(loader, l, "ssm_beta", true, 0, E, vh, 0, &layer->beta, err));
        SPN_TRY(bind_linear(loader, l, "ssm_alpha", true, 0, E, vh, 0, &layer->alpha, err));
    } else {
        SPN_TRY(bind_linear(loader, l, "ssm_ba", true, 0, E, 2 * vh, 0, &layer->ba, err));
    }
    SPN_TRY(spn_bind_vector(loader, l, "ssm_a", true, vh, &layer->ssm_a, err));
    SPN_TRY(spn_bind_vector(loader, l, "ssm_dt.bias", true, vh, &layer->ssm_dt, err));
    SPN_TRY(spn_bind_vector(loader, l, "ssm_norm.weight", true, d, &layer->ssm_norm, err));
    return bind_linear(loader, l, "ssm_out", true, 0, d * vh, E, 0, &layer->ssm_out, err);
}

/* ---- feed forward ---- */

static spn_status bind_dense(spn_loader *loader, int l, spn_layer *layer, spn_error *err) {
    const spn_arch *arch = loader->network->arch;
    size_t E = loader->network->n_embd, F = layer->n_ff;
    if (F == 0) return SPN_FAIL(err, FORMAT, "%s.feed_forward_length is missing", arch->name);
    if (arch->flags & SPN_ARCH_FUSED_FFN) {
        spn_linear both = {0};
        SPN_TRY(bind_linear(loader, l, "ffn_up", true, SPN_BIAS_FFN, E, 2 * F, 0, &both, err));
        layer->gate = rows_of(both, 0, F);
        layer->up = rows_of(both, F, F);
    } else {
        if (!arch->ungated)
            SPN_TRY(
                bind_linear(loader, l, "ffn_gate", true, SPN_BIAS_FFN, E, F, 0, &layer->gate, err));
        SPN_TRY(bind_linear(loader, l, "ffn_up", true, SPN_BIAS_FFN, E, F, 0, &layer->up, err));
    }
    return bind_linear(loader, l, "ffn_down", true, SPN_BIAS_FFN, F, E, 0, &layer->down, err);
}

static spn_status bind_shared_expert(spn_loader *loader, int l, spn_experts *experts,
                                     spn_error *err) {
    size_t E = loader->network->n_embd, F = loader->n_ff_shared;
    if (F == 0)
        return SPN_FAIL(err, FORMAT, "%s.expert_shared_feed_forward_length is missing",
                        loader->network->arch->name);
    SPN_TRY(bind_linear(loader, l, "ffn_gate_shexp", true, 0, E, F, 0, &experts->shared_gate, err));
    SPN_TRY(bind_linear(loader, l, "ffn_up_shexp", true, 0, E, F, 0, &experts->shared_up, err));
    SPN_TRY(bind_linear(loader, l, "ffn_down_shexp", true, 0, F, E, 0, &experts->shared_down, err));
    if (!loader->shared_switch) return SPN_STATUS_OK;
    return bind_linear(loader, l, "ffn_gate_inp_shexp", true, 0, E, 1, 0, &experts->shared_switch,
                       err);
}

/* Gate and up may stand in one tensor, the gate's rows of an expert first. They are then bound as
 * two with a common pitch: one matrix of 2F rows, of which each takes its half. */
static spn_status bind_expert_units(spn_loader *loader, int l, spn_experts *experts,
                                    spn_error *err) {
    const spn_network *network = loader->network;
    size_t E = network->n_embd, F = loader->n_ff_expert, n = network->n_expert;
    if (!spn_bind_exists(loader, l, "ffn_gate_up_exps.weight")) {
        SPN_TRY(bind_linear(loader, l, "ffn_gate_exps", true, SPN_BIAS_FFN, E, F, n, &experts->gate,
                            err));
        return bind_linear(loader, l, "ffn_up_exps", true, SPN_BIAS_FFN, E, F, n, &experts->up,
                           err);
    }
    if (spn_bind_exists(loader, l, "ffn_gate_up_exps.bias"))
        return SPN_FAIL(err, LOAD, "layer %d: ffn_gate_up_exps.bias is not supported", l);
    spn_linear both = {0};
    SPN_TRY(bind_linear(loader, l, "ffn_gate_up_exps", true, 0, E, 2 * F, n, &both, err));
    experts->gate = experts->up = both;
    experts->gate.w.mat_bytes = experts->up.w.mat_bytes = 2 * F * both.w.row_bytes;
    experts->gate.w.n_rows = experts->up.w.n_rows = F;
    experts->up.w.data += F * both.w.row_bytes;
    return SPN_STATUS_OK;
}

static spn_status bind_experts(spn_loader *loader, int l, spn_layer *layer, spn_error *err) {
    spn_network *network = loader->network;
    size_t E = network->n_embd, F = loader->n_ff_expert, n = network->n_expert;
    spn_experts *experts = spn_arena_alloc(&network->arena, sizeof *experts);
    if (experts == NULL) return SPN_NO_MEMORY(err, "the experts");
    layer->experts = experts;
    SPN_TRY(bind_linear(loader, l, "ffn_gate_inp", true, SPN_BIAS_ROUTER, E, n, 0, &experts->router,
                        err));
    SPN_TRY(bind_expert_units(loader, l, experts, err));
    SPN_TRY(
        bind_linear(loader, l, "ffn_down_exps", true, SPN_BIAS_FFN, F, E, n, &experts->down, err));
    if (network->arch->flags & SPN_ARCH_CHOICE_BIAS)
        SPN_TRY(
            spn_bind_vector(loader, l, "exp_probs_b.bias", false, n, &experts->choice_bias, err));
    if (loader->expects_shared) SPN_TRY(bind_shared_expert(loader, l, experts, err));
    if (!layer->dense_and_experts) return SPN_STATUS_OK;
    SPN_TRY(spn_bind_vector(loader, l, "ffn_gate_inp.scale", true, E, &experts->input_scale, err));
    SPN_TRY(
        spn_bind_vector(loader, l, "ffn_down_exps.scale", true, n, &experts->output_scale, err));
    SPN_TRY(bind_norm(loader, l, "pre_ffw_norm_2", true, &layer->moe_norm, err));
    SPN_TRY(bind_norm(loader, l, "post_ffw_norm_1", true, &layer->dense_post_norm, err));
    return bind_norm(loader, l, "post_ffw_norm_2", true, &layer->moe_post_norm, err);
}

static bool has_experts(const spn_loader *loader, uint32_t l) {
    uint32_t step = loader->expert_step;
    return loader->network->n_expert > 0 && l >= loader->n_dense_layers &&
           (step <= 1 || (l + 1) % step == 0);
}

/* ---- a layer's norms ---- */

static spn_status bind_norms(spn_loader *loader, int l, spn_layer *layer, spn_error *err) {
    const spn_arch *arch = loader->network->arch;
    const char *ffn_norm = arch->ffn_norm ? arch->ffn_norm : "ffn_norm";
    bool pre = arch->block == SPN_BLOCK_PRE || arch->block == SPN_BLOCK_SANDWICH;
    if (arch->block == SPN_BLOCK_ENCODER) {
        SPN_TRY(bind_norm(loader, l, "attn_output_norm", true, &layer->attn_post_norm, err));
        return bind_norm(loader, l, "layer_output_norm", true, &layer->ffn_post_norm, err);
    }
    if (pre || arch->block == SPN_BLOCK_PARALLEL)
        SPN_TRY(bind_norm(loader, l, "attn_norm", true, &layer->attn_norm, err));
    bool required = !(arch->flags & SPN_ARCH_FFN_BESIDE);
    if (pre) SPN_TRY(bind_norm(loader, l, ffn_norm, required, &layer->ffn_norm, err));
    if (arch->block == SPN_BLOCK_SANDWICH || arch->block == SPN_BLOCK_POST) {
        SPN_TRY(bind_norm(loader, l, "post_attention_norm", true, &layer->attn_post_norm, err));
        SPN_TRY(bind_norm(loader, l, "post_ffw_norm", true, &layer->ffn_post_norm, err));
    }
    return SPN_STATUS_OK;
}

/* gemma4: each layer mixes its own small embedding of the token in, and may scale what it gives. */
static spn_status bind_per_layer_input(spn_loader *loader, int l, spn_layer *layer,
                                       spn_error *err) {
    const spn_network *network = loader->network;
    size_t E = network->n_embd, p = network->n_per_layer;
    const float *scale = NULL;
    if (p > 0) {
        SPN_TRY(bind_linear(loader, l, "inp_gate", true, 0, E, p, 0, &layer->inp_gate, err));
        SPN_TRY(bind_linear(loader, l, "proj", true, 0, p, E, 0, &layer->inp_proj, err));
        SPN_TRY(bind_norm(loader, l, "post_norm", true, &layer->inp_post_norm, err));
    }
    SPN_TRY(spn_bind_vector(loader, l, "layer_output_scale.weight", false, 1, &scale, err));
    if (scale != NULL) layer->output_scale = *scale;
    return SPN_STATUS_OK;
}

static spn_status bind_layer(spn_loader *loader, int l, spn_error *err) {
    spn_layer *layer = &loader->network->layers[l];
    SPN_TRY(bind_norms(loader, l, layer, err));
    if (layer->mixer == SPN_MIXER_LATENT)
        SPN_TRY(bind_latent(loader, l, layer, err));
    else if (layer->mixer == SPN_MIXER_LINEAR)
        SPN_TRY(bind_linear_attention(loader, l, layer, err));
    else
        SPN_TRY(bind_attention(loader, l, layer, err));
    bool experts = has_experts(loader, (uint32_t)l);
    if (experts) SPN_TRY(bind_experts(loader, l, layer, err));
    if (!experts || layer->dense_and_experts) SPN_TRY(bind_dense(loader, l, layer, err));
    if (loader->network->arch->flags & SPN_ARCH_LAYER_INPUTS)
        SPN_TRY(bind_per_layer_input(loader, l, layer, err));
    return SPN_STATUS_OK;
}

/* ---- the whole ---- */

/* Two matrices that the pooled embedding goes through: from n_embd to some number and back. */
static spn_status bind_projection(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    const spn_gguf_tensor *wide = find(loader, -1, "dense_2.weight");
    size_t E = network->n_embd;
    if (wide == NULL && find(loader, -1, "dense_3.weight") == NULL) return SPN_STATUS_OK;
    size_t n = wide != NULL && wide->ne[1] <= MAX_PROJECTION ? (size_t)wide->ne[1] : 1;
    SPN_TRY(bind_linear(loader, -1, "dense_2", true, 0, E, n, 0, &network->project_up, err));
    return bind_linear(loader, -1, "dense_3", true, 0, n, E, 0, &network->project_down, err);
}

static spn_status bind_output(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    unsigned flags = network->arch->flags;
    size_t E = network->n_embd, V = network->n_vocab;
    if (network->arch->block == SPN_BLOCK_ENCODER) return SPN_STATUS_OK;
    SPN_TRY(bind_norm(loader, -1, "output_norm", true, &network->output_norm, err));
    bool required = !(flags & (SPN_ARCH_TIED | SPN_ARCH_ALWAYS_TIED));
    if (!(flags & SPN_ARCH_ALWAYS_TIED))
        SPN_TRY(bind_linear(loader, -1, "output", required, SPN_BIAS_OUTPUT, E, V, 0,
                            &network->output, err));
    if (network->output.w.data == NULL && network->has_logits)
        network->output.w = network->token_embd;
    return network->has_logits ? SPN_STATUS_OK : bind_projection(loader, err);
}

static spn_status bind_inputs(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    size_t E = network->n_embd, p = network->n_per_layer;
    const spn_gguf_tensor *embd = find(loader, -1, "token_embd.weight");
    if (embd != NULL) {
        if (embd->ne[1] == 0 || embd->ne[1] > INT32_MAX) return wrong_shape(embd, E, 1, 1, err);
        network->n_vocab = (uint32_t)embd->ne[1];
    }
    SPN_TRY(spn_bind_matrix(loader, -1, "token_embd.weight", true, E, network->n_vocab, 0,
                            &network->token_embd, err));
    if (p > 0) {
        size_t all = p * network->n_layer;
        SPN_TRY(spn_bind_matrix(loader, -1, "per_layer_token_embd.weight", true, all,
                                network->n_vocab, 0, &network->per_layer_embd, err));
        SPN_TRY(bind_linear(loader, -1, "per_layer_model_proj", true, 0, E, all, 0,
                            &network->per_layer_proj, err));
        SPN_TRY(spn_bind_vector(loader, -1, "per_layer_proj_norm.weight", true, p,
                                &network->per_layer_norm, err));
    }
    if (network->arch->block != SPN_BLOCK_ENCODER) return SPN_STATUS_OK;
    SPN_TRY(bind_norm(loader, -1, "token_embd_norm", true, &network->embd_norm, err));
    uint32_t n_types = 1;
    SPN_TRY(
        spn_gguf_get_u32(loader->gguf, "tokenizer.ggml.token_type_count", false, &n_types, err));
    SPN_TRY(
        bind_array(loader, -1, "token_types.weight", false, E, n_types, &network->token_type, err));
    bool positions = network->arch->rope == SPN_ROPE_NONE;
    if (!positions) return SPN_STATUS_OK;
    return spn_bind_matrix(loader, -1, "position_embd.weight", true, E, network->n_ctx_train, 0,
                           &network->position_embd, err);
}

/* Tensors for predicting several tokens ahead, which plain decoding does not use. */
static bool may_be_ignored(spn_gguf_str name) {
    static const char nextn[] = ".nextn.";
    for (size_t i = 0; i + sizeof nextn - 1 <= name.len; i++)
        if (memcmp(name.data + i, nextn, sizeof nextn - 1) == 0) return true;
    return false;
}

static spn_status check_all_used(const spn_loader *loader, spn_error *err) {
    for (size_t i = 0; i < spn_gguf_n_tensors(loader->gguf); i++) {
        spn_gguf_str name = spn_gguf_tensor_at(loader->gguf, i)->name;
        if (loader->used[i] || may_be_ignored(name)) continue;
        return SPN_FAIL(err, LOAD,
                        "tensor %.*s is not part of a %s model as this program knows it; answers "
                        "without it would be wrong",
                        (int)spn_min_size(name.len, 100), name.data, loader->network->arch->name);
    }
    return SPN_STATUS_OK;
}

/* Tables of which a token reads one row. */
static bool is_table(const spn_network *network, const spn_gguf_tensor *tensor) {
    bool embd = tensor->data == network->token_embd.data;
    return (embd && network->output.w.data != tensor->data) ||
           tensor->data == network->per_layer_embd.data ||
           tensor->data == network->position_embd.data;
}

/* Of a tensor's n elements or bytes, those that one token uses. */
static uint64_t used_part(const spn_network *network, const spn_gguf_tensor *tensor, uint64_t n) {
    bool experts = network->n_expert > 0 && tensor->ne[2] == network->n_expert;
    return experts ? n / network->n_expert * network->n_expert_used : n;
}

static void count_weights(spn_loader *loader) {
    spn_network *network = loader->network;
    for (size_t i = 0; i < spn_gguf_n_tensors(loader->gguf); i++) {
        const spn_gguf_tensor *tensor = spn_gguf_tensor_at(loader->gguf, i);
        uint64_t n = tensor->ne[0] * tensor->ne[1] * tensor->ne[2] * tensor->ne[3];
        network->n_params += n;
        if (!loader->used[i]) network->unread_bytes += tensor->n_bytes;
        if (!loader->used[i]) continue;
        bool table = is_table(network, tensor);
        if (table) network->table_bytes += tensor->n_bytes;
        network->weight_bytes_per_token +=
            table ? spn_type_row_bytes(tensor->type, (size_t)tensor->ne[0])
                  : used_part(network, tensor, tensor->n_bytes);
        if (!table && tensor->ne[1] > 1 && tensor->data != network->output.w.data)
            network->n_prompt_params += used_part(network, tensor, n);
    }
}

spn_status spn_weights_bind(spn_loader *loader, spn_error *err) {
    SPN_TRY(bind_inputs(loader, err));
    SPN_TRY(bind_output(loader, err));
    for (uint32_t l = 0; l < loader->network->n_layer; l++)
        SPN_TRY(bind_layer(loader, (int)l, err));
    SPN_TRY(spn_rope_prepare(loader, err));
    SPN_TRY(check_all_used(loader, err));
    count_weights(loader);
    return SPN_STATUS_OK;
}
