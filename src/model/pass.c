/* pass.c - a pass's buffers and backend. SPDX-License-Identifier: Apache-2.0
 *
 * All views lie in one buffer of the backend. They are laid out twice: first over nothing, to know
 * its size, then over the buffer itself; estimate and allocation cannot so differ. */
#include <string.h>

#include "model/decoder.h"

/* ---- laying out ---- */

static size_t take(spn_pass *pass, size_t n_bytes) {
    size_t at = pass->used;
    pass->used += (n_bytes + 63) / 64 * 64;
    return at;
}

static spn_view take_view(spn_pass *pass, size_t n_rows, size_t width) {
    /* Rows start on cache lines. */
    size_t ld = (width + 15) / 16 * 16;
    return (spn_view){pass->buffer, take(pass, n_rows * ld * sizeof(float)) / sizeof(float), ld};
}

static spn_acts take_acts(spn_pass *pass, size_t n_rows, size_t width) {
    spn_acts acts = {.x = take_view(pass, n_rows, width), .buffer = pass->buffer};
    acts.k = width;
    size_t blocks = (width + SPN_ACT_BLOCK - 1) / SPN_ACT_BLOCK;
    for (size_t i = 0; i < SPN_ACT_SCALED_FORMS;
         i++) { /* one that is never filled takes no memory */
        acts.parts[i].q = take(pass, n_rows * blocks * SPN_ACT_BLOCK);
        acts.parts[i].d = take(pass, n_rows * blocks * sizeof(float));
        acts.parts[i].dsum = take(pass, n_rows * blocks * sizeof(float));
        acts.parts[i].sum = take(pass, n_rows * blocks * 2 * sizeof(int16_t));
    }
    acts.bf16 = take(pass, n_rows * width * sizeof(uint16_t));
    return acts;
}

/* The widest row of each kind over all layers. */
typedef struct row_widths {
    size_t qkv, q, attn, ffn, q_rank, q_latent, attn_latent, conv, head;
} row_widths;

static void widen(size_t *width, size_t to) {
    if (to > *width) *width = to;
}

static void widen_by_mixer(const spn_network *network, const spn_layer *layer, row_widths *out) {
    size_t d = network->dim_state, vh = network->n_value_head;
    size_t channels = d * (2 * (size_t)network->n_key_head + vh);
    if (layer->mixer == SPN_MIXER_LINEAR) {
        widen(&out->qkv, channels + d * vh + 2 * vh);
        widen(&out->attn, d * vh);
        widen(&out->conv, channels);
        widen(&out->head, d);
        return;
    }
    widen(&out->head, layer->dim_k);
    widen(&out->head, layer->dim_v);
    widen(&out->q, layer->n_head * layer->dim_k);
    if (layer->mixer == SPN_MIXER_ATTENTION) {
        widen(&out->qkv, layer->q.w.n_rows + layer->k.w.n_rows + layer->v.w.n_rows);
        widen(&out->attn, layer->n_head * layer->dim_v);
        return;
    }
    size_t c_n = network->dim_latent_k + network->n_rot_latent;
    widen(&out->head, network->dim_latent_k);
    widen(&out->qkv, layer->n_head * c_n + layer->kv_a.w.n_rows);
    widen(&out->q_rank, layer->q_a.w.n_rows);
    widen(&out->q_latent, layer->n_head * layer->dim_k);
    widen(&out->attn_latent, layer->n_head * layer->dim_v);
    widen(&out->attn, layer->n_head * (size_t)network->dim_latent_v);
}

static row_widths widths_of(const spn_network *network) {
    row_widths out = {0};
    for (uint32_t l = 0; l < network->n_layer; l++) {
        const spn_layer *layer = &network->layers[l];
        widen_by_mixer(network, layer, &out);
        widen(&out.ffn, layer->up.w.n_rows);
        if (layer->experts != NULL) widen(&out.ffn, layer->experts->shared_up.w.n_rows);
    }
    widen(&out.ffn, network->project_up.w.n_rows);
    return out;
}

static size_t expert_width(const spn_network *network) {
    for (uint32_t l = 0; l < network->n_layer; l++)
        if (network->layers[l].experts != NULL) return network->layers[l].experts->up.w.n_rows;
    return 0;
}

static void lay_out_experts(spn_pass *pass, size_t n) {
    const spn_network *network = pass->network;
    size_t n_slots = n * network->n_expert_used;
    pass->router = take_view(pass, n, network->n_expert);
    pass->slot_in = take_acts(pass, n_slots, network->n_embd);
    pass->slot_ffn = take_acts(pass, n_slots, expert_width(network));
    pass->slot_out = take_view(pass, n_slots, network->n_embd);
    pass->shared_gate = take_view(pass, n, 1);
    if (!network->layers[network->n_layer - 1].dense_and_experts) return;
    pass->router_in = take_acts(pass, n, network->n_embd);
    pass->moe_tmp = take_view(pass, n, network->n_embd);
}

static void lay_out(spn_pass *pass) {
    const spn_network *network = pass->network;
    size_t n = pass->options.n_batch, n_out = pass->options.n_out;
    row_widths widths = widths_of(network);
    pass->used = 0;
    pass->x = take_view(pass, n, network->n_embd);
    pass->tmp = take_view(pass, n, network->n_embd);
    pass->in = take_acts(pass, n, network->n_embd);
    pass->qkv = take_view(pass, n, widths.qkv);
    pass->q = take_view(pass, n, widths.q);
    pass->attn = take_acts(pass, n, widths.attn);
    pass->ffn = take_acts(pass, n, widths.ffn);
    for (int i = 0; i < SPN_ROPE_COUNT; i++)
        pass->cs[i] = take_view(pass, n, network->rope[i].n_rot);
    if (widths.q_latent > 0) {
        pass->q_rank = take_acts(pass, n, widths.q_rank);
        pass->q_latent = take_view(pass, n, widths.q_latent);
        pass->attn_latent = take_view(pass, n, widths.attn_latent);
    }
    if (widths.conv > 0) pass->conv = take_view(pass, n, widths.conv);
    if (network->n_expert > 0) lay_out_experts(pass, n);
    if (network->n_per_layer > 0) {
        size_t all = (size_t)network->n_per_layer * network->n_layer;
        pass->per_layer = take_view(pass, n, all);
        pass->per_layer2 = take_view(pass, n, all);
        pass->inp = take_acts(pass, n, network->n_per_layer);
    }
    pass->out_x = take_view(pass, n_out, network->n_embd);
    pass->out_in = take_acts(pass, n_out, network->n_embd);
}

static size_t longest_row(const spn_network *network, const row_widths *widths) {
    size_t k = network->n_embd;
    widen(&k, widths->qkv);
    widen(&k, widths->attn);
    widen(&k, widths->ffn);
    widen(&k, widths->q_rank);
    widen(&k, widths->q_latent);
    widen(&k, widths->attn_latent);
    widen(&k, expert_width(network));
    widen(&k, network->n_expert);
    widen(&k, (size_t)network->n_per_layer * network->n_layer);
    return k;
}

static spn_backend_need backend_need(const spn_network *network, const spn_pass_options *options) {
    row_widths widths = widths_of(network);
    size_t n_rows = spn_max_size(options->n_batch, options->n_out);
    return (spn_backend_need){
        .n_rows_max = n_rows * spn_max_size(network->n_expert_used, 1),
        .k_max = longest_row(network, &widths),
        .head_max = spn_max_size(widths.head, 64),
        .exact = options->exact,
        .n_threads = options->n_threads,
        .cpu_level = options->cpu_level,
    };
}

uint64_t spn_pass_estimate(const spn_network *network, const spn_pass_options *options) {
    spn_pass pass = {.network = network, .options = *options};
    spn_backend_need need = backend_need(network, options);
    lay_out(&pass);
    return pass.used + spn_backend_cpu_scratch(&need);
}

/* ---- life ---- */

static spn_status create_routes(spn_pass *pass, spn_error *err) {
    const spn_network *network = pass->network;
    spn_routes *routes = &pass->routes;
    size_t n_slots = (size_t)pass->options.n_batch * network->n_expert_used;
    if (network->n_expert == 0) return SPN_STATUS_OK;
    routes->n_used = network->n_expert_used;
    routes->n_expert = network->n_expert;
    routes->expert = spn_arena_array(&pass->arena, n_slots, sizeof *routes->expert);
    routes->weight = spn_arena_array(&pass->arena, n_slots, sizeof *routes->weight);
    routes->slot = spn_arena_array(&pass->arena, n_slots, sizeof *routes->slot);
    routes->slot_row = spn_arena_array(&pass->arena, n_slots, sizeof *routes->slot_row);
    routes->active = spn_arena_array(&pass->arena, network->n_expert, sizeof *routes->active);
    routes->first_slot =
        spn_arena_array(&pass->arena, network->n_expert + (size_t)1, sizeof *routes->first_slot);
    bool ok = routes->expert && routes->weight && routes->slot && routes->slot_row &&
              routes->active && routes->first_slot;
    return ok ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "the experts' routes");
}

static spn_status create_backend(spn_pass *pass, spn_error *err) {
    spn_backend_need need = backend_need(pass->network, &pass->options);
    return spn_backend_create_cpu(&pass->backend, &need, err);
}

spn_status spn_pass_create(spn_pass **out, const spn_network *network,
                           const spn_pass_options *options, spn_error *err) {
    spn_pass *pass = spn_alloc_zeroed(1, sizeof *pass);
    if (pass == NULL) return SPN_NO_MEMORY(err, "the pass");
    spn_status status = SPN_STATUS_OK;
    pass->network = network;
    pass->options = *options;
    SPN_TRY_GOTO(create_backend(pass, err));
    SPN_TRY_GOTO(create_routes(pass, err));
    lay_out(pass);
    pass->buffer = pass->backend->buffer_create(pass->backend, pass->used);
    pass->cap_ops = 256;
    pass->ops = spn_alloc_array(pass->cap_ops, sizeof *pass->ops);
    if (pass->buffer == NULL || pass->ops == NULL) {
        status = SPN_NO_MEMORY(err, "the pass's buffers");
        goto done;
    }
    lay_out(pass);
    *out = pass;
    return SPN_STATUS_OK;
done:
    spn_pass_free(pass);
    return status;
}

void spn_pass_free(spn_pass *pass) {
    if (pass == NULL) return;
    if (pass->backend != NULL) {
        pass->backend->buffer_free(pass->backend, pass->buffer);
        pass->backend->free(pass->backend);
    }
    spn_arena_free(&pass->arena);
    spn_free(pass->ops);
    spn_free(pass);
}

spn_backend *spn_pass_backend(spn_pass *pass) { return pass->backend; }

uint64_t spn_pass_bytes(const spn_pass *pass) { return pass->used + pass->backend->scratch_bytes; }
