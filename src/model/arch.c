/* arch.c - the architectures: a row of facts each, and what a row cannot say.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Names of keys and tensors are those of the GGUF files that llama.cpp's converter writes. Where
 * this engine departs from llama.cpp, the comment at the row says why.
 */
#include <math.h>
#include <string.h>

#include "model/network.h"

/* ---- pieces of adjustments ---- */

/* Layers are windowed by `attention.sliding_window`: all but the last of each `pattern`, or as the
 * key attention.sliding_window_pattern says, a number or an array of booleans. */
static spn_status set_windows(spn_loader *loader, uint32_t window, uint32_t pattern,
                              spn_error *err) {
    spn_network *network = loader->network;
    SPN_TRY(spn_loader_u32(loader, "attention.sliding_window", false, &window, err));
    uint32_t *flags = spn_arena_array(&network->arena, network->n_layer, sizeof *flags);
    if (flags == NULL) return SPN_NO_MEMORY(err, "the layers");
    size_t n_items = 0;
    SPN_TRY(spn_loader_u32_array(loader, "attention.sliding_window_pattern", false, flags,
                                 network->n_layer, &n_items, err));
    if (n_items == 1) pattern = flags[0];
    if (n_items > 1 && n_items < network->n_layer)
        return SPN_FAIL(err, FORMAT,
                        "%s.attention.sliding_window_pattern has %zu items for %u layers",
                        network->arch->name, n_items, network->n_layer);
    if (window == 0) return SPN_STATUS_OK;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        bool windowed = n_items > 1 ? flags[l] != 0 : pattern > 0 && l % pattern < pattern - 1;
        if (windowed) network->layers[l].window = window;
    }
    return SPN_STATUS_OK;
}

/* Windowed layers rotate with a table of their own. */
static void windowed_tables(spn_loader *loader, size_t n_rot, float base, bool unscaled) {
    spn_network *network = loader->network;
    loader->rope.n_rot_windowed = n_rot;
    loader->rope.base_windowed = base;
    loader->rope.windowed_unscaled = unscaled;
    for (uint32_t l = 0; l < network->n_layer; l++)
        if (network->layers[l].window != 0) network->layers[l].rope_table = SPN_ROPE_WINDOWED;
}

static void set_q_scale(spn_network *network, float scale) {
    for (uint32_t l = 0; l < network->n_layer; l++) network->layers[l].q_scale = scale;
}

/* ---- families ---- */

static spn_status adjust_mistral3(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    float temp_scale = 0;
    uint32_t n_ctx_original = network->n_ctx_train;
    loader->rope.yarn_betas = loader->rope.yarn_log = true;
    SPN_TRY(spn_loader_f32(loader, "attention.temperature_scale", false, &temp_scale, err));
    SPN_TRY(spn_loader_u32(loader, "rope.scaling.original_context_length", false, &n_ctx_original,
                           err));
    for (uint32_t l = 0; temp_scale > 0 && l < network->n_layer; l++) {
        network->layers[l].temp_scale = temp_scale;
        network->layers[l].temp_length = (float)n_ctx_original;
    }
    return SPN_STATUS_OK;
}

static spn_status adjust_llama4(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    const uint32_t chunk = 8192; /* fixed: no key is heeded */
    loader->expert_step = 1;
    SPN_TRY(spn_loader_u32(loader, "interleave_moe_layer_step", false, &loader->expert_step, err));
    network->weigh_input = true;
    network->experts_scale = 1;
    if (network->n_expert > 0) {
        loader->n_ff_shared = loader->n_ff_expert;
        loader->expects_shared = true;
    }
    for (uint32_t l = 0; l < network->n_layer; l++) {
        spn_layer *layer = &network->layers[l];
        if ((l + 1) % 4 != 0) {
            layer->chunk = chunk;
            layer->norm_after = network->n_expert != 128;
            continue;
        }
        layer->rope = SPN_ROPE_NONE;
        layer->temp_scale = 0.1f;
        layer->temp_shift = 1;
        layer->temp_length = (float)chunk;
    }
    return SPN_STATUS_OK;
}

static spn_status adjust_qwen2moe(spn_loader *loader, spn_error *err) {
    (void)err;
    loader->shared_switch = loader->expects_shared = true;
    return SPN_STATUS_OK;
}

/* Linear attention in all layers but each `full_attention_interval`-th. Rotation by sections: for
 * text, pair i is rotated where i < 3 sections[i mod 3]. */
static spn_status read_sections(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    uint32_t *sections = spn_arena_array(&network->arena, 4, sizeof *sections);
    if (sections == NULL) return SPN_NO_MEMORY(err, "the rotation's sections");
    size_t n_items = 0;
    SPN_TRY(
        spn_loader_u32_array(loader, "rope.dimension_sections", true, sections, 4, &n_items, err));
    if (n_items < 3)
        return SPN_FAIL(err, FORMAT, "%s.rope.dimension_sections has %zu items: 4 are expected",
                        network->arch->name, n_items);
    loader->rope.sections = sections;
    return SPN_STATUS_OK;
}

static spn_status adjust_linear(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    uint32_t interval = 4, inner = 0;
    SPN_TRY(spn_loader_u32(loader, "full_attention_interval", false, &interval, err));
    SPN_TRY(spn_loader_u32(loader, "ssm.group_count", true, &network->n_key_head, err));
    SPN_TRY(spn_loader_u32(loader, "ssm.time_step_rank", true, &network->n_value_head, err));
    SPN_TRY(spn_loader_u32(loader, "ssm.state_size", true, &network->dim_state, err));
    SPN_TRY(spn_loader_u32(loader, "ssm.inner_size", true, &inner, err));
    SPN_TRY(spn_loader_u32(loader, "ssm.conv_kernel", true, &network->n_taps, err));
    bool sane = interval > 0 && network->n_key_head > 0 && network->n_key_head <= 1024 &&
                network->n_value_head <= 1024 && network->n_value_head >= network->n_key_head &&
                network->n_value_head % network->n_key_head == 0 && network->dim_state > 0 &&
                network->dim_state <= 1024 && network->dim_state % 4 == 0 && network->n_taps > 0 &&
                network->n_taps <= 64 && inner == network->n_value_head * network->dim_state;
    if (!sane)
        return SPN_FAIL(err, FORMAT,
                        "linear attention: %u key heads, %u value heads, state %u, inner size %u, "
                        "%u taps, interval %u do not fit together",
                        network->n_key_head, network->n_value_head, network->dim_state, inner,
                        network->n_taps, interval);
    for (uint32_t l = 0; l < network->n_layer; l++)
        if ((l + 1) % interval != 0) network->layers[l].mixer = SPN_MIXER_LINEAR;
    loader->shared_switch = loader->expects_shared = network->n_expert > 0;
    return SPN_STATUS_OK;
}

static spn_status adjust_qwen35(spn_loader *loader, spn_error *err) {
    loader->network->beta_interleaved_heads = true;
    SPN_TRY(read_sections(loader, err));
    return adjust_linear(loader, err);
}

static spn_status adjust_gemma2(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    network->attn_softcap = 50;
    network->logit_softcap = 30;
    SPN_TRY(spn_loader_f32(loader, "attn_logit_softcapping", false, &network->attn_softcap, err));
    SPN_TRY(spn_loader_f32(loader, "final_logit_softcapping", false, &network->logit_softcap, err));
    SPN_TRY(set_windows(loader, 4096, 2, err));
    windowed_tables(loader, loader->rope.n_rot, 0, false);
    /* The 27B model scales by the size that its heads would have had, and no key says so. */
    if (network->n_layer == 46)
        set_q_scale(network,
                    1.0f / sqrtf((float)network->n_embd / (float)network->layers[0].n_head));
    return SPN_STATUS_OK;
}

static spn_status adjust_gemma3(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    SPN_TRY(spn_loader_f32(loader, "final_logit_softcapping", false, &network->logit_softcap, err));
    SPN_TRY(set_windows(loader, 0, 6, err));
    windowed_tables(loader, loader->rope.n_rot, 10000, true);
    if (network->n_layer == 62) /* 27B, as gemma2's */
        set_q_scale(network,
                    1.0f / sqrtf((float)network->n_embd / (float)network->layers[0].n_head));
    return SPN_STATUS_OK;
}

/* Gemma 3 that sees both ways, its windows reaching half their width to either side. */
static spn_status adjust_gemma_embedding(spn_loader *loader, spn_error *err) {
    float base = 10000;
    SPN_TRY(set_windows(loader, 0, 6, err));
    SPN_TRY(spn_loader_f32(loader, "rope.freq_base_swa", false, &base, err));
    windowed_tables(loader, loader->rope.n_rot, base, true);
    return SPN_STATUS_OK;
}

static spn_status share_kv(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    uint32_t n_shared = 0;
    SPN_TRY(spn_loader_u32(loader, "attention.shared_kv_layers", false, &n_shared, err));
    if (n_shared == 0) return SPN_STATUS_OK;
    if (n_shared + 2 > network->n_layer)
        return SPN_FAIL(err, FORMAT, "attention.shared_kv_layers is %u of %u layers", n_shared,
                        network->n_layer);
    uint32_t first = network->n_layer - n_shared;
    for (uint32_t l = first; l < network->n_layer; l++) {
        spn_layer *layer = &network->layers[l];
        layer->kv_layer = layer->window != 0 ? first - 2 : first - 1;
        const spn_layer *source = &network->layers[layer->kv_layer];
        if ((source->window != 0) != (layer->window != 0) || source->dim_k != layer->dim_k ||
            source->n_head_kv != layer->n_head_kv)
            return SPN_FAIL(err, FORMAT, "layer %u cannot read the keys of layer %u", l,
                            layer->kv_layer);
    }
    return SPN_STATUS_OK;
}

static spn_status adjust_gemma4(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    uint32_t dim_windowed = (uint32_t)network->layers[0].dim_k;
    uint32_t n_rot_windowed = 0;
    SPN_TRY(spn_loader_f32(loader, "final_logit_softcapping", false, &network->logit_softcap, err));
    SPN_TRY(set_windows(loader, 0, 0, err));
    SPN_TRY(spn_loader_u32(loader, "attention.key_length_swa", false, &dim_windowed, err));
    n_rot_windowed = dim_windowed;
    SPN_TRY(spn_loader_u32(loader, "rope.dimension_count_swa", false, &n_rot_windowed, err));
    SPN_TRY(spn_loader_u32(loader, "embedding_length_per_layer_input", true, &network->n_per_layer,
                           err));
    if (dim_windowed == 0 || dim_windowed > 8192 || n_rot_windowed > dim_windowed ||
        network->n_per_layer > 65536)
        return SPN_FAIL(err, FORMAT,
                        "gemma4: windowed heads of %u, %u of them rotated, %u inputs "
                        "a layer",
                        dim_windowed, n_rot_windowed, network->n_per_layer);
    for (uint32_t l = 0; l < network->n_layer; l++) {
        spn_layer *layer = &network->layers[l];
        if (layer->window != 0) layer->dim_k = layer->dim_v = dim_windowed;
        layer->q_scale = 1;
        layer->v_norm = true;
        layer->dense_and_experts = network->n_expert > 0;
    }
    windowed_tables(loader, n_rot_windowed, 10000, true);
    return share_kv(loader, err);
}

/* Every layer is windowed. llama.cpp reads this key of phi3, phimoe and starcoder2 and ignores it;
 * the models were trained with it. */
static spn_status adjust_all_windowed(spn_loader *loader, spn_error *err) {
    return set_windows(loader, 0, UINT32_MAX, err);
}

static spn_status adjust_smollm3(spn_loader *loader, spn_error *err) {
    (void)err;
    for (uint32_t l = 3; l < loader->network->n_layer; l += 4)
        loader->network->layers[l].rope = SPN_ROPE_NONE;
    return SPN_STATUS_OK;
}

/* Scale and rotation of latent attention with YaRN, see the paper's repository. */
static spn_status deepseek_scale(spn_loader *loader, uint32_t dim, spn_error *err) {
    spn_network *network = loader->network;
    spn_gguf_str kind = {"", 0};
    float factor = 1, log_multiplier = 0, a = 1, m = 1;
    SPN_TRY(spn_loader_str(loader, "rope.scaling.type", false, &kind, err));
    SPN_TRY(spn_loader_f32(loader, "rope.scaling.factor", false, &factor, err));
    SPN_TRY(
        spn_loader_f32(loader, "rope.scaling.yarn_log_multiplier", false, &log_multiplier, err));
    if (kind.len == 4 && memcmp(kind.data, "yarn", 4) == 0 && factor > 0) {
        a = log_multiplier != 0 ? 1 + log_multiplier * logf(factor) : 1 + 0.1f * logf(factor);
        m = log_multiplier != 0 ? 1 : a;
    }
    loader->rope.own_magnitude = true;
    loader->rope.magnitude = m;
    set_q_scale(network, a * a / sqrtf((float)dim));
    return SPN_STATUS_OK;
}

static spn_status adjust_deepseek2_experts(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    uint32_t gating = 1, n_shared = 0;
    SPN_TRY(
        spn_loader_u32(loader, "leading_dense_block_count", false, &loader->n_dense_layers, err));
    if (network->n_expert == 0) return SPN_STATUS_OK;
    SPN_TRY(spn_loader_u32(loader, "expert_gating_func", false, &gating, err));
    if (gating < 1 || gating > 2)
        return SPN_FAIL(err, FORMAT, "deepseek2.expert_gating_func is %u: 1 and 2 are known",
                        gating);
    network->gating = gating == 2 ? SPN_GATING_SIGMOID : SPN_GATING_SOFTMAX;
    SPN_TRY(
        spn_loader_bool(loader, "expert_weights_norm", false, &network->normalize_experts, err));
    SPN_TRY(spn_loader_f32(loader, "expert_weights_scale", false, &network->experts_scale, err));
    if (network->experts_scale == 0) network->experts_scale = 1;
    SPN_TRY(spn_loader_u32(loader, "expert_shared_count", false, &n_shared, err));
    SPN_TRY(spn_loader_u32(loader, "expert_group_count", false, &network->n_group, err));
    SPN_TRY(spn_loader_u32(loader, "expert_group_used_count", false, &network->n_group_used, err));
    if (n_shared > 1024 || network->n_group > 256 || network->n_group_used > network->n_group ||
        (network->n_group > 1 &&
         (network->n_expert % network->n_group != 0 || network->n_group_used == 0)))
        return SPN_FAIL(err, FORMAT, "deepseek2: %u shared experts, %u of %u groups of %u experts",
                        n_shared, network->n_group_used, network->n_group, network->n_expert);
    loader->n_ff_shared = loader->n_ff_expert * n_shared;
    loader->expects_shared = n_shared > 0;
    return SPN_STATUS_OK;
}

static spn_status adjust_deepseek2(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    uint32_t dim_k = (uint32_t)network->layers[0].dim_k, dim_v = (uint32_t)network->layers[0].dim_v;
    uint32_t n_rot = (uint32_t)loader->rope.n_rot;
    SPN_TRY(spn_loader_u32(loader, "attention.kv_lora_rank", true, &network->kv_rank, err));
    SPN_TRY(spn_loader_u32(loader, "attention.key_length_mla", false, &dim_k, err));
    SPN_TRY(spn_loader_u32(loader, "attention.value_length_mla", false, &dim_v, err));
    if (network->kv_rank == 0 || network->kv_rank > 65536 || n_rot == 0 || dim_k <= n_rot ||
        dim_k > 8192 || dim_v == 0 || dim_v > 8192 || network->kv_rank % 4 != 0 || n_rot % 4 != 0)
        return SPN_FAIL(err, FORMAT,
                        "deepseek2: keys of %u, %u of them rotated, values of %u, rank %u do not "
                        "fit together, or the rotated part or the rank is no multiple of 4",
                        dim_k, n_rot, dim_v, network->kv_rank);
    network->n_rot_latent = n_rot;
    network->dim_latent_k = dim_k - n_rot;
    network->dim_latent_v = dim_v;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        spn_layer *layer = &network->layers[l];
        layer->mixer = SPN_MIXER_LATENT;
        layer->n_head_kv = 1; /* the latent serves all heads */
        layer->dim_k = network->kv_rank + n_rot;
        layer->dim_v = network->kv_rank;
    }
    SPN_TRY(deepseek_scale(loader, dim_k, err));
    return adjust_deepseek2_experts(loader, err);
}

static spn_status adjust_gpt_oss(spn_loader *loader, spn_error *err) {
    return set_windows(loader, 0, 2, err);
}

static spn_status adjust_granite(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    float attention = 0, logits = 0;
    bool rotated = true;
    SPN_TRY(spn_loader_f32(loader, "embedding_scale", false, &network->embed_scale, err));
    SPN_TRY(spn_loader_f32(loader, "residual_scale", false, &network->residual_scale, err));
    SPN_TRY(spn_loader_f32(loader, "attention.scale", false, &attention, err));
    SPN_TRY(spn_loader_f32(loader, "logit_scale", false, &logits, err));
    SPN_TRY(spn_loader_bool(loader, "rope.scaling.finetuned", false, &rotated, err));
    if (network->embed_scale == 0) network->embed_scale = 1;
    if (network->residual_scale == 0) network->residual_scale = 1;
    if (attention != 0) set_q_scale(network, attention);
    if (logits != 0) network->logit_scale = 1.0f / logits;
    for (uint32_t l = 0; !rotated && l < network->n_layer; l++)
        network->layers[l].rope = SPN_ROPE_NONE;
    loader->expects_shared = loader->n_ff_shared > 0;
    return SPN_STATUS_OK;
}

static spn_status adjust_command_r(spn_loader *loader, spn_error *err) {
    return spn_loader_f32(loader, "logit_scale", true, &loader->network->logit_scale, err);
}

static spn_status adjust_cohere2(spn_loader *loader, spn_error *err) {
    SPN_TRY(spn_loader_f32(loader, "logit_scale", true, &loader->network->logit_scale, err));
    SPN_TRY(set_windows(loader, 0, 4, err));
    for (uint32_t l = 0; l < loader->network->n_layer; l++)
        if (loader->network->layers[l].window == 0) loader->network->layers[l].rope = SPN_ROPE_NONE;
    return SPN_STATUS_OK;
}

static spn_status adjust_olmo2(spn_loader *loader, spn_error *err) {
    SPN_TRY(set_windows(loader, 0, 4, err));
    windowed_tables(loader, loader->rope.n_rot, 0, true);
    return SPN_STATUS_OK;
}

/* The 32B model, of 64 layers, has windows; smaller ones have the key and no windows. */
static spn_status adjust_exaone4(spn_loader *loader, spn_error *err) {
    if (loader->network->n_layer != 64) return SPN_STATUS_OK;
    SPN_TRY(set_windows(loader, 4096, 4, err));
    for (uint32_t l = 0; l < loader->network->n_layer; l++)
        if (loader->network->layers[l].window == 0) loader->network->layers[l].rope = SPN_ROPE_NONE;
    return SPN_STATUS_OK;
}

/* ---- the table ---- */

#define BIAS_LAYER (SPN_BIAS_QKV | SPN_BIAS_O | SPN_BIAS_FFN)
#define DECODER(arch, n, r, b) \
    .name = (arch), .norm = SPN_NORM_##n, .rope = SPN_ROPE_##r, .block = SPN_BLOCK_##b

static const spn_arch archs[] = {
    {DECODER("llama", RMS, INTERLEAVED, PRE), .bias = BIAS_LAYER,
     .flags = SPN_ARCH_TIED | SPN_ARCH_ROPE_FREQS | SPN_ARCH_LONGROPE | SPN_ARCH_EXPERTS |
              SPN_ARCH_NORM_EXPERTS},
    {DECODER("llama4", RMS, INTERLEAVED, PRE), .gating = SPN_GATING_SIGMOID,
     .flags = SPN_ARCH_TIED | SPN_ARCH_ROPE_FREQS | SPN_ARCH_EXPERTS, .adjust = adjust_llama4},
    {DECODER("mistral3", RMS, INTERLEAVED, PRE), .bias = BIAS_LAYER,
     .flags = SPN_ARCH_TIED | SPN_ARCH_ROPE_FREQS | SPN_ARCH_EXPERTS | SPN_ARCH_NORM_EXPERTS,
     .adjust = adjust_mistral3},
    {DECODER("qwen2", RMS, SPLIT, PRE), .bias = SPN_BIAS_QKV, .bias_required = SPN_BIAS_QKV,
     .flags = SPN_ARCH_TIED | SPN_ARCH_BASE_DIMS},
    {DECODER("qwen2moe", RMS, SPLIT, PRE), .bias = SPN_BIAS_QKV, .bias_required = SPN_BIAS_QKV,
     .flags = SPN_ARCH_EXPERTS, .adjust = adjust_qwen2moe},
    {DECODER("qwen3", RMS, SPLIT, PRE), .qk_norm = SPN_QK_NORM_HEAD, .flags = SPN_ARCH_TIED},
    {DECODER("qwen3moe", RMS, SPLIT, PRE), .qk_norm = SPN_QK_NORM_HEAD,
     .flags = SPN_ARCH_TIED | SPN_ARCH_EXPERTS | SPN_ARCH_NORM_EXPERTS},
    {DECODER("qwen3next", RMS, SPLIT, PRE), .qk_norm = SPN_QK_NORM_HEAD,
     .ffn_norm = "post_attention_norm", .adjust = adjust_linear,
     .flags = SPN_ARCH_TIED | SPN_ARCH_GATED_QUERY | SPN_ARCH_EXPERTS | SPN_ARCH_NORM_EXPERTS},
    {DECODER("qwen35", RMS, SPLIT, PRE), .qk_norm = SPN_QK_NORM_HEAD,
     .ffn_norm = "post_attention_norm", .adjust = adjust_qwen35,
     .flags = SPN_ARCH_TIED | SPN_ARCH_GATED_QUERY},
    {DECODER("qwen35moe", RMS, SPLIT, PRE), .qk_norm = SPN_QK_NORM_HEAD,
     .ffn_norm = "post_attention_norm", .adjust = adjust_qwen35,
     .flags = SPN_ARCH_TIED | SPN_ARCH_GATED_QUERY | SPN_ARCH_EXPERTS | SPN_ARCH_NORM_EXPERTS},
    {DECODER("gemma", RMS, SPLIT, PRE), .activation = SPN_ACTIVATION_GELU,
     .flags = SPN_ARCH_ALWAYS_TIED | SPN_ARCH_EMBED_SQRT},
    {DECODER("gemma2", RMS, SPLIT, SANDWICH), .activation = SPN_ACTIVATION_GELU,
     .flags = SPN_ARCH_ALWAYS_TIED | SPN_ARCH_EMBED_SQRT, .adjust = adjust_gemma2},
    {DECODER("gemma3", RMS, SPLIT, SANDWICH), .activation = SPN_ACTIVATION_GELU,
     .qk_norm = SPN_QK_NORM_HEAD, .flags = SPN_ARCH_TIED | SPN_ARCH_EMBED_SQRT,
     .adjust = adjust_gemma3},
    {DECODER("gemma4", RMS, SPLIT, SANDWICH), .activation = SPN_ACTIVATION_GELU,
     .qk_norm = SPN_QK_NORM_HEAD,
     .flags = SPN_ARCH_TIED | SPN_ARCH_KEY_AS_VALUE | SPN_ARCH_LAYER_INPUTS | SPN_ARCH_EMBED_SQRT |
              SPN_ARCH_ROPE_FREQS | SPN_ARCH_EXPERTS | SPN_ARCH_NORM_EXPERTS,
     .adjust = adjust_gemma4},
    {DECODER("phi2", LAYER, SPLIT, PARALLEL), .activation = SPN_ACTIVATION_GELU, .ungated = true,
     .bias = BIAS_LAYER | SPN_BIAS_OUTPUT | SPN_BIAS_NORM,
     .bias_required = BIAS_LAYER | SPN_BIAS_OUTPUT | SPN_BIAS_NORM, .flags = SPN_ARCH_BASE_DIMS},
    {DECODER("phi3", RMS, SPLIT, PRE), .adjust = adjust_all_windowed,
     .flags = SPN_ARCH_TIED | SPN_ARCH_FUSED_FFN | SPN_ARCH_LONGROPE | SPN_ARCH_BASE_DIMS},
    {DECODER("phimoe", RMS, SPLIT, PRE),
     .bias = SPN_BIAS_QKV | SPN_BIAS_O | SPN_BIAS_NORM | SPN_BIAS_OUTPUT,
     .bias_required = SPN_BIAS_QKV | SPN_BIAS_O | SPN_BIAS_NORM | SPN_BIAS_OUTPUT,
     .flags = SPN_ARCH_LONGROPE | SPN_ARCH_BASE_DIMS | SPN_ARCH_EXPERTS | SPN_ARCH_NORM_EXPERTS,
     .adjust = adjust_all_windowed},
    {DECODER("starcoder2", LAYER, SPLIT, PRE), .activation = SPN_ACTIVATION_GELU, .ungated = true,
     .bias = BIAS_LAYER | SPN_BIAS_NORM, .bias_required = BIAS_LAYER | SPN_BIAS_NORM,
     .flags = SPN_ARCH_TIED | SPN_ARCH_BASE_DIMS, .adjust = adjust_all_windowed},
    {DECODER("glm4", RMS, INTERLEAVED, SANDWICH), .bias = SPN_BIAS_QKV,
     .flags = SPN_ARCH_TIED | SPN_ARCH_FUSED_FFN},
    {DECODER("smollm3", RMS, INTERLEAVED, PRE), .flags = SPN_ARCH_TIED, .adjust = adjust_smollm3},
    {DECODER("deepseek2", RMS, INTERLEAVED, PRE), .flags = SPN_ARCH_EXPERTS | SPN_ARCH_CHOICE_BIAS,
     .adjust = adjust_deepseek2},
    {DECODER("gpt-oss", RMS, SPLIT, PRE), .activation = SPN_ACTIVATION_OAI,
     .gating = SPN_GATING_SOFTMAX_AFTER, .ffn_norm = "post_attention_norm",
     .bias = BIAS_LAYER | SPN_BIAS_ROUTER, .bias_required = BIAS_LAYER | SPN_BIAS_ROUTER,
     .flags = SPN_ARCH_EXPERTS | SPN_ARCH_SINKS, .adjust = adjust_gpt_oss},
    {DECODER("granite", RMS, INTERLEAVED, PRE), .bias = BIAS_LAYER,
     .flags = SPN_ARCH_TIED | SPN_ARCH_ROPE_FREQS | SPN_ARCH_LONGROPE, .adjust = adjust_granite},
    {DECODER("granitemoe", RMS, INTERLEAVED, PRE), .bias = BIAS_LAYER,
     .flags = SPN_ARCH_TIED | SPN_ARCH_ROPE_FREQS | SPN_ARCH_EXPERTS | SPN_ARCH_NORM_EXPERTS,
     .adjust = adjust_granite},
    {DECODER("command-r", LAYER, INTERLEAVED, PARALLEL), .qk_norm = SPN_QK_NORM_HEADS,
     .bias = SPN_BIAS_QKV | SPN_BIAS_O,
     .flags = SPN_ARCH_ALWAYS_TIED | SPN_ARCH_QK_OPTIONAL | SPN_ARCH_QK_LARGE | SPN_ARCH_BASE_DIMS,
     .adjust = adjust_command_r},
    {DECODER("cohere2", LAYER, INTERLEAVED, PARALLEL), .bias = SPN_BIAS_QKV | SPN_BIAS_O,
     .flags = SPN_ARCH_ALWAYS_TIED | SPN_ARCH_BASE_DIMS, .adjust = adjust_cohere2},
    {DECODER("olmo2", RMS, SPLIT, POST), .qk_norm = SPN_QK_NORM_ALL, .flags = SPN_ARCH_BASE_DIMS,
     .adjust = adjust_olmo2},
    {DECODER("exaone", RMS, SPLIT, PRE), .flags = SPN_ARCH_TIED | SPN_ARCH_ROPE_FREQS},
    {DECODER("exaone4", RMS, SPLIT, POST), .qk_norm = SPN_QK_NORM_HEAD,
     .flags = SPN_ARCH_TIED | SPN_ARCH_ROPE_FREQS, .adjust = adjust_exaone4},
    {DECODER("stablelm", LAYER, SPLIT, PRE), .qk_norm = SPN_QK_NORM_HEADS,
     .bias = SPN_BIAS_QKV | SPN_BIAS_NORM, .bias_required = SPN_BIAS_NORM,
     .flags = SPN_ARCH_QK_OPTIONAL | SPN_ARCH_FFN_BESIDE},
    {DECODER("bert", LAYER, NONE, ENCODER), .activation = SPN_ACTIVATION_GELU, .ungated = true,
     .bias = BIAS_LAYER | SPN_BIAS_NORM, .bias_required = BIAS_LAYER | SPN_BIAS_NORM,
     .flags = SPN_ARCH_ENCODER},
    {DECODER("nomic-bert", LAYER, SPLIT, ENCODER), .bias = SPN_BIAS_NORM,
     .bias_required = SPN_BIAS_NORM, .flags = SPN_ARCH_ENCODER},
    {DECODER("gemma-embedding", RMS, SPLIT, SANDWICH), .activation = SPN_ACTIVATION_GELU,
     .qk_norm = SPN_QK_NORM_HEAD, .flags = SPN_ARCH_TIED | SPN_ARCH_EMBED_SQRT | SPN_ARCH_ENCODER,
     .adjust = adjust_gemma_embedding},
};

const spn_arch *spn_arch_find(const char *name, size_t n_bytes) {
    for (size_t i = 0; i < SPN_COUNT(archs); i++)
        if (strlen(archs[i].name) == n_bytes && memcmp(archs[i].name, name, n_bytes) == 0)
            return &archs[i];
    return NULL;
}
