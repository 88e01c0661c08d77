/* decoder_ffn.c - feed-forward units and experts as operations, and what gemma4 adds to a block.
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "model/decoder.h"

/* What a gated unit wants of its input. */
static unsigned unit_forms(const spn_pass *pass, const spn_linear *gate, const spn_linear *up) {
    return spn_pass_form(pass, &gate->w) | spn_pass_form(pass, &up->w);
}

static void write_glu(spn_pass *pass, const spn_acts *input, const spn_linear *gate,
                      const spn_linear *up, const spn_acts *out, const spn_linear *reader) {
    spn_pass_emit(pass, SPN_OP_GLU, pass->n_rows)->glu =
        (spn_op_glu){.acts = *input,
                     .gate = gate->w,
                     .up = up->w,
                     .gate_bias = gate->bias,
                     .up_bias = up->bias,
                     .activation = pass->network->arch->activation,
                     .out = *out,
                     .forms = spn_pass_form(pass, &reader->w)};
}

static void write_dense(spn_pass *pass, const spn_layer *layer, const spn_acts *input,
                        spn_branch branch) {
    spn_acts unit = spn_pass_acts(&pass->ffn, layer->n_ff);
    write_glu(pass, input, &layer->gate, &layer->up, &unit, &layer->down);
    spn_pass_matmul(pass, &layer->down, &unit, branch.y, branch.add, branch.scale);
}

/* ---- experts ---- */

static void write_route(spn_pass *pass, const spn_experts *experts, const spn_acts *input,
                        float scale) {
    const spn_network *network = pass->network;
    spn_pass_matmul(pass, &experts->router, input, pass->router, false, scale);
    spn_pass_emit(pass, SPN_OP_ROUTE, pass->n_rows)->route =
        (spn_op_route){.logits = pass->router,
                       .gating = network->gating,
                       .bias = experts->choice_bias,
                       .n_group = network->n_group,
                       .n_group_used = network->n_group_used,
                       .normalize = network->normalize_experts,
                       .scale = network->experts_scale,
                       .routes = &pass->routes};
}

/* What the experts' gates and units want of an input that is gathered for them as it is. */
static unsigned chosen_forms(const spn_pass *pass, const spn_experts *experts) {
    return pass->network->weigh_input ? 0 : unit_forms(pass, &experts->gate, &experts->up);
}

static bool reads_floats(const spn_pass *pass, const spn_matrix *w) {
    return w->data != NULL && spn_pass_form(pass, w) == 0;
}

/* The chosen experts' weighted sum; `input` has chosen_forms. With weigh_input (llama4) the weight
 * is on the input, and the outputs are summed as they are. */
static void write_chosen(spn_pass *pass, const spn_experts *experts, const spn_acts *input,
                         spn_branch branch) {
    const spn_network *network = pass->network;
    spn_routes *routes = &pass->routes;
    spn_pass_emit(pass, SPN_OP_MOE_GATHER, pass->n_rows)->moe_gather = (spn_op_moe_gather){
        .routes = routes,
        .acts = *input,
        .out = pass->slot_in,
        .weigh_input = network->weigh_input,
        .floats = reads_floats(pass, &experts->gate.w) || reads_floats(pass, &experts->up.w),
        .forms = unit_forms(pass, &experts->gate, &experts->up)};
    spn_pass_emit(pass, SPN_OP_MOE_GLU, pass->n_rows)->moe_glu =
        (spn_op_moe_glu){routes,
                         {.acts = pass->slot_in,
                          .gate = experts->gate.w,
                          .up = experts->up.w,
                          .gate_bias = experts->gate.bias,
                          .up_bias = experts->up.bias,
                          .activation = network->arch->activation,
                          .out = pass->slot_ffn,
                          .forms = spn_pass_form(pass, &experts->down.w)}};
    spn_pass_emit(pass, SPN_OP_MOE_MATMUL, pass->n_rows)->moe_matmul = (spn_op_moe_matmul){
        routes, pass->slot_ffn, experts->down.w, experts->down.bias, pass->slot_out};
    spn_pass_emit(pass, SPN_OP_MOE_SUM, pass->n_rows)->moe_sum =
        (spn_op_moe_sum){.routes = routes,
                         .expert_scale = experts->output_scale,
                         .unweighted = network->weigh_input,
                         .add = branch.add,
                         .scale = branch.scale,
                         .n = network->n_embd,
                         .x = pass->slot_out,
                         .y = branch.y};
}

static void write_shared(spn_pass *pass, const spn_experts *experts, const spn_acts *input,
                         spn_branch branch) {
    if (experts->shared_up.w.data == NULL) return;
    spn_acts unit = spn_pass_acts(&pass->ffn, experts->shared_up.w.n_rows);
    write_glu(pass, input, &experts->shared_gate, &experts->shared_up, &unit,
              &experts->shared_down);
    if (experts->shared_switch.w.data == NULL) {
        spn_pass_matmul(pass, &experts->shared_down, &unit, branch.y, true, branch.scale);
        return;
    }
    spn_pass_matmul(pass, &experts->shared_switch, input, pass->shared_gate, false, 1);
    spn_pass_matmul(pass, &experts->shared_down, &unit, pass->tmp, false, 1);
    spn_pass_map(pass, SPN_MAP_ADD_GATED, pass->network->n_embd, pass->tmp, pass->shared_gate,
                 branch.y, 0, NULL);
}

void spn_pass_ffn(spn_pass *pass, const spn_layer *layer, const spn_acts *input,
                  spn_branch branch) {
    if (layer->experts == NULL) {
        write_dense(pass, layer, input, branch);
        return;
    }
    write_route(pass, layer->experts, input, 1);
    write_chosen(pass, layer->experts, input, branch);
    write_shared(pass, layer->experts, input, branch);
}

unsigned spn_pass_ffn_forms(const spn_pass *pass, const spn_layer *layer) {
    const spn_experts *experts = layer->experts;
    unsigned forms = unit_forms(pass, &layer->gate, &layer->up);
    if (experts == NULL) return forms;
    return forms | chosen_forms(pass, experts) | spn_pass_form(pass, &experts->router.w) |
           spn_pass_form(pass, &experts->shared_up.w) |
           spn_pass_form(pass, &experts->shared_gate.w) |
           spn_pass_form(pass, &experts->shared_switch.w);
}

/* ---- gemma4 ---- */

/* a = norm(dense(norm x)); b = norm(experts(norm x)); the caller adds norm(a + b). The router reads
 * x / |x| / sqrt(n_embd) times a vector. */
void spn_pass_dense_and_experts(spn_pass *pass, const spn_layer *layer) {
    const spn_experts *experts = layer->experts;
    spn_branch tmp = {pass->tmp, false, 1}, moe_tmp = {pass->moe_tmp, false, 1};
    spn_pass_norm(pass, &layer->ffn_norm, pass->x, &pass->in,
                  unit_forms(pass, &layer->gate, &layer->up));
    write_dense(pass, layer, &pass->in, tmp);
    spn_pass_norm_to(pass, &layer->dense_post_norm, pass->tmp, pass->tmp, false);

    spn_norm router_norm = {.w = experts->input_scale, .present = true};
    spn_pass_norm(pass, &router_norm, pass->x, &pass->router_in,
                  spn_pass_form(pass, &experts->router.w));
    write_route(pass, experts, &pass->router_in, 1.0f / sqrtf((float)pass->network->n_embd));
    spn_pass_norm(pass, &layer->moe_norm, pass->x, &pass->in, chosen_forms(pass, experts));
    write_chosen(pass, experts, &pass->in, moe_tmp);
    spn_pass_norm_to(pass, &layer->moe_post_norm, pass->moe_tmp, pass->moe_tmp, false);
    spn_pass_map(pass, SPN_MAP_ADD, pass->network->n_embd, pass->tmp, pass->moe_tmp, pass->tmp, 0,
                 NULL);
}

/* e = (norm(proj(x0) / sqrt(E)) + sqrt(p) row) / sqrt(2), for each layer over its own p numbers. */
void spn_pass_per_layer_inputs(spn_pass *pass, const spn_batch *batch) {
    const spn_network *network = pass->network;
    size_t p = network->n_per_layer, all = p * network->n_layer;
    spn_pass_emit(pass, SPN_OP_EMBED, pass->n_rows)->embed = (spn_op_embed){
        network->per_layer_embd, batch->tokens, sqrtf((float)p), false, pass->per_layer};
    pass->stream = spn_pass_alias(&pass->in, pass->x);
    spn_pass_quantize(pass, &pass->stream, spn_pass_form(pass, &network->per_layer_proj.w));
    spn_pass_matmul(pass, &network->per_layer_proj, &pass->stream, pass->per_layer2, false,
                    1.0f / sqrtf((float)network->n_embd));
    spn_norm norm = {.w = network->per_layer_norm, .present = true};
    spn_pass_norm_to(pass, &norm, pass->per_layer2, pass->per_layer2, false);
    spn_op_norm *op = &pass->ops[pass->n_ops - 1].norm;
    op->n = op->x_pitch = op->y_pitch = p;
    op->n_groups = network->n_layer;
    spn_pass_map(pass, SPN_MAP_ADD, all, pass->per_layer, pass->per_layer2, pass->per_layer, 0,
                 NULL);
    spn_pass_map(pass, SPN_MAP_SCALE, all, pass->per_layer, (spn_view){0}, pass->per_layer,
                 1.0f / sqrtf(2), NULL);
}

/* x += norm(proj(gelu(inp_gate x) * e)) */
void spn_pass_per_layer_mix(spn_pass *pass, uint32_t l) {
    const spn_network *network = pass->network;
    const spn_layer *layer = &network->layers[l];
    size_t p = network->n_per_layer;
    pass->stream = spn_pass_alias(&pass->in, pass->x);
    spn_pass_quantize(pass, &pass->stream, spn_pass_form(pass, &layer->inp_gate.w));
    spn_pass_matmul(pass, &layer->inp_gate, &pass->stream, pass->inp.x, false, 1);
    spn_pass_map(pass, SPN_MAP_GELU_MUL, p, pass->inp.x, spn_view_at(pass->per_layer, l * p),
                 pass->inp.x, 0, NULL);
    spn_pass_quantize(pass, &pass->inp, spn_pass_form(pass, &layer->inp_proj.w));
    spn_pass_matmul(pass, &layer->inp_proj, &pass->inp, pass->tmp, false, 1);
    spn_pass_norm_to(pass, &layer->inp_post_norm, pass->tmp, pass->x, true);
}
