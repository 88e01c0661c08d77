/* hparams.c - a file's numbers, checked, as facts of the network and of each layer.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/network.h"

/* Far beyond any model: they keep products of two numbers inside 64 bits. */
enum { MAX_LAYERS = 4096, MAX_HEADS = 16384, MAX_HEAD_DIM = 8192, MAX_EXPERTS = 65536 };
#define MAX_EMBD (1u << 20)
#define POOLING_RANK 4 /* scores of pairs, by a classifier behind the network */

static const char *full_key(const spn_loader *loader, const char *name, char *text, size_t size) {
    snprintf(text, size, "%s.%s", loader->network->arch->name, name);
    return text;
}

spn_status spn_loader_u32(spn_loader *loader, const char *name, bool required, uint32_t *out,
                          spn_error *err) {
    char key[128];
    return spn_gguf_get_u32(loader->gguf, full_key(loader, name, key, sizeof key), required, out,
                            err);
}

spn_status spn_loader_f32(spn_loader *loader, const char *name, bool required, float *out,
                          spn_error *err) {
    char key[128];
    full_key(loader, name, key, sizeof key);
    SPN_TRY(spn_gguf_get_f32(loader->gguf, key, required, out, err));
    if (!isfinite(*out)) return SPN_FAIL(err, FORMAT, "%s is not a finite number", key);
    return SPN_STATUS_OK;
}

spn_status spn_loader_bool(spn_loader *loader, const char *name, bool required, bool *out,
                           spn_error *err) {
    char key[128];
    return spn_gguf_get_bool(loader->gguf, full_key(loader, name, key, sizeof key), required, out,
                             err);
}

spn_status spn_loader_str(spn_loader *loader, const char *name, bool required, spn_gguf_str *out,
                          spn_error *err) {
    char key[128];
    return spn_gguf_get_str(loader->gguf, full_key(loader, name, key, sizeof key), required, out,
                            err);
}

spn_status spn_loader_u32_array(spn_loader *loader, const char *name, bool required, uint32_t *out,
                                size_t n_max, size_t *n_items, spn_error *err) {
    char key[128];
    return spn_gguf_get_u32_array(loader->gguf, full_key(loader, name, key, sizeof key), required,
                                  out, n_max, n_items, err);
}

bool spn_loader_has(const spn_loader *loader, const char *name) {
    char key[128];
    return spn_gguf_find(loader->gguf, full_key(loader, name, key, sizeof key)) != NULL;
}

spn_status spn_loader_per_layer(spn_loader *loader, const char *name, bool required, uint32_t *out,
                                bool *found, spn_error *err) {
    uint32_t n_layer = loader->network->n_layer;
    size_t n_items = 0;
    if (found != NULL) *found = spn_loader_has(loader, name);
    SPN_TRY(spn_loader_u32_array(loader, name, required, out, n_layer, &n_items, err));
    if (n_items == 1)
        for (uint32_t l = 1; l < n_layer; l++) out[l] = out[0];
    else if (n_items > 0 && n_items < n_layer)
        return SPN_FAIL(err, FORMAT, "%s.%s has %zu items for %u layers",
                        loader->network->arch->name, name, n_items, n_layer);
    return SPN_STATUS_OK;
}

static spn_status in_range(const spn_loader *loader, const char *name, uint32_t value, uint32_t low,
                           uint32_t high, spn_error *err) {
    if (value >= low && value <= high) return SPN_STATUS_OK;
    return SPN_FAIL(err, FORMAT, "%s.%s is %u: it must be %u to %u", loader->network->arch->name,
                    name, value, low, high);
}

/* ---- the model as a whole ---- */

static spn_status read_sizes(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    SPN_TRY(spn_loader_u32(loader, "embedding_length", true, &network->n_embd, err));
    SPN_TRY(in_range(loader, "embedding_length", network->n_embd, 1, MAX_EMBD, err));
    SPN_TRY(spn_loader_u32(loader, "block_count", true, &network->n_layer, err));
    SPN_TRY(in_range(loader, "block_count", network->n_layer, 1, MAX_LAYERS, err));
    SPN_TRY(spn_loader_u32(loader, "context_length", true, &network->n_ctx_train, err));
    SPN_TRY(in_range(loader, "context_length", network->n_ctx_train, 1, INT32_MAX, err));
    network->layers = spn_arena_array(&network->arena, network->n_layer, sizeof(spn_layer));
    if (network->layers == NULL) return SPN_NO_MEMORY(err, "the layers");
    const char *eps = network->arch->norm == SPN_NORM_LAYER ? "attention.layer_norm_epsilon"
                                                            : "attention.layer_norm_rms_epsilon";
    SPN_TRY(spn_loader_f32(loader, eps, true, &network->eps, err));
    if (network->eps < 0) return SPN_FAIL(err, FORMAT, "%s is negative", eps);
    return SPN_STATUS_OK;
}

static spn_status read_experts(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    network->experts_scale = 1;
    if (!(network->arch->flags & SPN_ARCH_EXPERTS)) return SPN_STATUS_OK;
    SPN_TRY(spn_loader_u32(loader, "expert_count", false, &network->n_expert, err));
    if (network->n_expert == 0) return SPN_STATUS_OK;
    SPN_TRY(in_range(loader, "expert_count", network->n_expert, 1, MAX_EXPERTS, err));
    SPN_TRY(spn_loader_u32(loader, "expert_used_count", true, &network->n_expert_used, err));
    SPN_TRY(in_range(loader, "expert_used_count", network->n_expert_used, 1,
                     network->n_expert < 64 ? network->n_expert : 64, err));
    uint32_t n_ff = network->layers[0].n_ff ? (uint32_t)network->layers[0].n_ff : 0;
    SPN_TRY(spn_loader_u32(loader, "expert_feed_forward_length", n_ff == 0, &n_ff, err));
    SPN_TRY(in_range(loader, "expert_feed_forward_length", n_ff, 1, MAX_EMBD, err));
    loader->n_ff_expert = n_ff;
    uint32_t n_shared = 0;
    SPN_TRY(spn_loader_u32(loader, "expert_shared_feed_forward_length", false, &n_shared, err));
    SPN_TRY(in_range(loader, "expert_shared_feed_forward_length", n_shared, 0, MAX_EMBD, err));
    loader->n_ff_shared = n_shared;
    network->gating = network->arch->gating;
    network->normalize_experts = (network->arch->flags & SPN_ARCH_NORM_EXPERTS) != 0;
    return SPN_STATUS_OK;
}

/* Decoders may say it too: those that were trained to embed. */
static spn_status read_pooling(spn_loader *loader, spn_error *err) {
    const char *name = loader->network->arch->name;
    uint32_t pooling = SPN_POOLING_NONE;
    SPN_TRY(spn_loader_u32(loader, "pooling_type", false, &pooling, err));
    if (pooling == POOLING_RANK)
        return SPN_FAIL(err, UNSUPPORTED_ARCHITECTURE,
                        "the file ranks pairs of texts (%s.pooling_type 4, a reranker), which is "
                        "not supported",
                        name);
    if (pooling > SPN_POOLING_LAST)
        return SPN_FAIL(err, FORMAT,
                        "%s.pooling_type %u is not known: 0 none, 1 mean, 2 cls, 3 last", name,
                        pooling);
    loader->network->pooling = (spn_pooling)pooling;
    return SPN_STATUS_OK;
}

/* ---- layers ---- */

static spn_status read_per_layer(spn_loader *loader, uint32_t *numbers, spn_error *err) {
    spn_network *network = loader->network;
    bool found;
    SPN_TRY(spn_loader_per_layer(loader, "attention.head_count", true, numbers, NULL, err));
    for (uint32_t l = 0; l < network->n_layer; l++) {
        SPN_TRY(in_range(loader, "attention.head_count", numbers[l], 1, MAX_HEADS, err));
        network->layers[l].n_head = network->layers[l].n_head_kv = numbers[l];
    }
    SPN_TRY(spn_loader_per_layer(loader, "attention.head_count_kv", false, numbers, &found, err));
    for (uint32_t l = 0; found && l < network->n_layer; l++) {
        SPN_TRY(in_range(loader, "attention.head_count_kv", numbers[l], 1,
                         network->layers[l].n_head, err));
        if (network->layers[l].n_head % numbers[l] != 0)
            return SPN_FAIL(err, FORMAT, "layer %u: %u heads cannot share %u KV heads evenly", l,
                            network->layers[l].n_head, numbers[l]);
        network->layers[l].n_head_kv = numbers[l];
    }
    SPN_TRY(spn_loader_per_layer(loader, "feed_forward_length", false, numbers, &found, err));
    for (uint32_t l = 0; found && l < network->n_layer; l++) {
        SPN_TRY(in_range(loader, "feed_forward_length", numbers[l], 0, MAX_EMBD, err));
        network->layers[l].n_ff = numbers[l];
    }
    return SPN_STATUS_OK;
}

static spn_status read_head_dims(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    uint32_t n_head = network->layers[0].n_head, dim = network->n_embd / n_head;
    uint32_t dim_k = dim, dim_v = dim, n_rot;
    bool fixed = (network->arch->flags & SPN_ARCH_BASE_DIMS) != 0;
    if (!fixed) {
        SPN_TRY(spn_loader_u32(loader, "attention.key_length", false, &dim_k, err));
        SPN_TRY(spn_loader_u32(loader, "attention.value_length", false, &dim_v, err));
    } else if (network->n_embd % n_head != 0) {
        return SPN_FAIL(err, FORMAT, "%u heads do not divide an embedding of %u", n_head,
                        network->n_embd);
    }
    SPN_TRY(in_range(loader, "attention.key_length", dim_k, 1, MAX_HEAD_DIM, err));
    SPN_TRY(in_range(loader, "attention.value_length", dim_v, 1, MAX_HEAD_DIM, err));
    n_rot = dim_k;
    SPN_TRY(spn_loader_u32(loader, "rope.dimension_count", false, &n_rot, err));
    SPN_TRY(in_range(loader, "rope.dimension_count", n_rot, 0, dim_k, err));
    loader->rope.n_rot = n_rot;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        spn_layer *layer = &network->layers[l];
        layer->dim_k = dim_k;
        layer->dim_v = dim_v;
        layer->rope = network->arch->rope;
        layer->q_scale = 1.0f / sqrtf((float)dim_k);
        layer->kv_layer = l;
        layer->output_scale = 1;
    }
    return SPN_STATUS_OK;
}

/* A decoder's file may say that it was trained to look both ways; then it embeds like an encoder.
 */
static spn_status read_causal(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    bool causal = true;
    SPN_TRY(spn_loader_bool(loader, "attention.causal", false, &causal, err));
    bool encoder = (network->arch->flags & SPN_ARCH_ENCODER) != 0;
    network->not_causal = encoder || !causal;
    network->has_logits = !network->not_causal;
    for (uint32_t l = 0; network->not_causal && !encoder && l < network->n_layer; l++) {
        const spn_layer *layer = &network->layers[l];
        if (layer->mixer != SPN_MIXER_LINEAR && layer->window == 0 && layer->chunk == 0) continue;
        return SPN_FAIL(err, UNSUPPORTED_ARCHITECTURE,
                        "%s.attention.causal is false, but layer %u is windowed or recurrent: "
                        "looking both ways is not supported there",
                        network->arch->name, l);
    }
    return SPN_STATUS_OK;
}

/* What the kernels want of a layer, whatever its architecture. */
static spn_status check_layers(const spn_loader *loader, spn_error *err) {
    const spn_network *network = loader->network;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        const spn_layer *layer = &network->layers[l];
        size_t n_rot =
            layer->rope_table == SPN_ROPE_FULL ? loader->rope.n_rot : loader->rope.n_rot_windowed;
        if (layer->mixer == SPN_MIXER_LINEAR) continue;
        if (layer->dim_k % 4 != 0 || layer->dim_v % 4 != 0)
            return SPN_FAIL(err, FORMAT,
                            "layer %u: heads of %zu and %zu numbers: multiples of 4 "
                            "are supported",
                            l, layer->dim_k, layer->dim_v);
        if (layer->rope != SPN_ROPE_NONE && (n_rot % 2 != 0 || n_rot > layer->dim_k))
            return SPN_FAIL(err, FORMAT, "layer %u: %zu of %zu dimensions cannot be rotated", l,
                            n_rot, layer->dim_k);
    }
    return SPN_STATUS_OK;
}

spn_status spn_hparams_read(spn_loader *loader, spn_error *err) {
    spn_network *network = loader->network;
    SPN_TRY(read_sizes(loader, err));
    uint32_t *numbers = spn_arena_array(&network->arena, network->n_layer, sizeof *numbers);
    if (numbers == NULL) return SPN_NO_MEMORY(err, "the layers");
    SPN_TRY(read_per_layer(loader, numbers, err));
    SPN_TRY(read_head_dims(loader, err));
    SPN_TRY(read_experts(loader, err));
    network->embed_scale = network->residual_scale = network->logit_scale = 1;
    if (network->arch->flags & SPN_ARCH_EMBED_SQRT)
        network->embed_scale = sqrtf((float)network->n_embd);
    SPN_TRY(read_pooling(loader, err));
    if (network->arch->adjust != NULL) SPN_TRY(network->arch->adjust(loader, err));
    SPN_TRY(read_causal(loader, err));
    return check_layers(loader, err);
}
