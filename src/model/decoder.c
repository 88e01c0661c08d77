/* decoder.c - the forward pass: embeddings, blocks, output. SPDX-License-Identifier: Apache-2.0
 *
 * The one pass of all architectures. It reads the facts of spn_network and spn_layer and writes
 * operations; pass.c makes its buffers and runs it. */
#include <math.h>
#include <string.h>

#include "model/decoder.h"

/* ---- writing operations ---- */

spn_op *spn_pass_emit(spn_pass *pass, spn_op_kind kind, uint32_t n_rows) {
    if (pass->n_ops == pass->cap_ops) {
        size_t cap = pass->cap_ops ? pass->cap_ops * 2 : 256;
        spn_op *ops = spn_realloc_array(pass->ops, cap, sizeof *ops);
        if (ops == NULL) {
            pass->failed = true; /* the pass is not run then: the last operation may be spoilt */
            return &pass->ops[--pass->n_ops];
        }
        pass->ops = ops;
        pass->cap_ops = cap;
    }
    spn_op *op = &pass->ops[pass->n_ops++];
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->n_rows = n_rows;
    return op;
}

unsigned spn_pass_form(const spn_pass *pass, const spn_matrix *w) {
    return w->data != NULL && !pass->options.exact ? spn_act_form_of(w->type) : 0;
}

spn_acts spn_pass_acts(const spn_acts *home, size_t k) {
    spn_acts acts = *home;
    acts.k = k;
    return acts;
}

spn_view spn_view_at(spn_view view, size_t offset) {
    view.offset += offset;
    return view;
}

spn_acts spn_pass_alias(const spn_acts *home, spn_view x) {
    spn_acts acts = *home;
    acts.x = x;
    return acts;
}

static spn_op_norm *emit_norm(spn_pass *pass, const spn_norm *norm, spn_view x) {
    const spn_network *network = pass->network;
    spn_op_norm *op = &spn_pass_emit(pass, SPN_OP_NORM, pass->n_rows)->norm;
    op->kind = network->arch->norm;
    op->eps = network->eps;
    op->w = norm->w;
    op->b = norm->b;
    op->n = network->n_embd;
    op->n_groups = 1;
    op->x = x;
    op->scale = 1;
    return op;
}

void spn_pass_norm(spn_pass *pass, const spn_norm *norm, spn_view x, const spn_acts *acts,
                   unsigned forms) {
    spn_op_norm *op = emit_norm(pass, norm, x);
    op->acts = *acts;
    op->forms = forms;
}

void spn_pass_norm_to(spn_pass *pass, const spn_norm *norm, spn_view x, spn_view y, bool add) {
    spn_op_norm *op = emit_norm(pass, norm, x);
    op->y = y;
    op->add = add;
    if (add) op->scale = pass->network->residual_scale;
}

void spn_pass_matmul(spn_pass *pass, const spn_linear *linear, const spn_acts *acts, spn_view y,
                     bool add, float scale) {
    spn_op_matmul *op = &spn_pass_emit(pass, SPN_OP_MATMUL, pass->n_rows)->matmul;
    op->acts = *acts;
    op->n_parts = 1;
    op->part[0] = (spn_matmul_part){linear->w, linear->bias, y, add, scale};
}

void spn_pass_map(spn_pass *pass, spn_map_kind kind, size_t n, spn_view a, spn_view b, spn_view y,
                  float factor, const float *vector) {
    spn_pass_emit(pass, SPN_OP_MAP, pass->n_rows)->map =
        (spn_op_map){kind, n, factor, vector, a, b, y};
}

/* ---- the pass ---- */

static void write_embeddings(spn_pass *pass, const spn_batch *batch) {
    const spn_network *network = pass->network;
    spn_pass_emit(pass, SPN_OP_EMBED, pass->n_rows)->embed =
        (spn_op_embed){network->token_embd, batch->tokens, network->embed_scale, false, pass->x};
    if (network->token_type != NULL)
        spn_pass_map(pass, SPN_MAP_ADD_VECTOR, network->n_embd, pass->x, (spn_view){0}, pass->x, 0,
                     network->token_type);
    if (network->position_embd.data != NULL)
        spn_pass_emit(pass, SPN_OP_EMBED, pass->n_rows)->embed =
            (spn_op_embed){network->position_embd, batch->positions, 1, true, pass->x};
    if (network->embd_norm.present)
        spn_pass_norm_to(pass, &network->embd_norm, pass->x, pass->x, false);
    if (network->n_per_layer > 0) spn_pass_per_layer_inputs(pass, batch);
}

static void write_rope_tables(spn_pass *pass) {
    for (int i = 0; i < SPN_ROPE_COUNT; i++) {
        const spn_rope *rope = &pass->network->rope[i];
        if (rope->n_rot == 0) continue;
        bool is_long = rope->inv_freq_long != NULL && pass->options.n_ctx > rope->n_ctx_short;
        spn_pass_emit(pass, SPN_OP_ROPE_TABLE, pass->n_rows)->rope_table =
            (spn_op_rope_table){is_long ? rope->inv_freq_long : rope->inv_freq, rope->n_rot,
                                rope->magnitude, pass->cs[i]};
    }
}

static void write_mixer(spn_pass *pass, uint32_t l, const spn_acts *input, spn_branch branch) {
    switch (pass->network->layers[l].mixer) {
    case SPN_MIXER_ATTENTION:
        spn_pass_attention(pass, l, input, branch);
        break;
    case SPN_MIXER_LATENT:
        spn_pass_latent(pass, l, input, branch);
        break;
    case SPN_MIXER_LINEAR:
        spn_pass_linear(pass, l, input, branch);
        break;
    }
}

void spn_pass_quantize(spn_pass *pass, const spn_acts *acts, unsigned forms) {
    if (forms != 0)
        spn_pass_emit(pass, SPN_OP_QUANTIZE, pass->n_rows)->quantize =
            (spn_op_quantize){*acts, forms};
}

/* The stream itself as a branch's input, for blocks without a norm before. */
static const spn_acts *stream_as_input(spn_pass *pass, unsigned forms) {
    pass->stream = spn_pass_alias(&pass->in, pass->x);
    spn_pass_quantize(pass, &pass->stream, forms);
    return &pass->stream;
}

static const spn_acts *normed_input(spn_pass *pass, const spn_norm *norm, unsigned forms) {
    spn_pass_norm(pass, norm, pass->x, &pass->in, forms);
    return &pass->in;
}

static void write_block(spn_pass *pass, uint32_t l) {
    const spn_network *network = pass->network;
    const spn_layer *layer = &network->layers[l];
    spn_branch stream = {pass->x, true, network->residual_scale}, tmp = {pass->tmp, false, 1};
    unsigned mixer_forms = spn_pass_mixer_forms(pass, layer);
    unsigned ffn_forms = spn_pass_ffn_forms(pass, layer);
    spn_block_kind block = network->arch->block;
    bool post = block == SPN_BLOCK_SANDWICH || block == SPN_BLOCK_POST;
    bool side_by_side =
        block == SPN_BLOCK_PARALLEL || (block == SPN_BLOCK_PRE && !layer->ffn_norm.present);
    const spn_acts *input =
        layer->attn_norm.present
            ? normed_input(pass, &layer->attn_norm, mixer_forms | (side_by_side ? ffn_forms : 0))
            : stream_as_input(pass, mixer_forms);
    write_mixer(pass, l, input, post ? tmp : stream);
    if (post) spn_pass_norm_to(pass, &layer->attn_post_norm, pass->tmp, pass->x, true);
    if (block == SPN_BLOCK_ENCODER)
        spn_pass_norm_to(pass, &layer->attn_post_norm, pass->x, pass->x, false);

    if (layer->dense_and_experts) {
        spn_pass_dense_and_experts(pass, layer);
    } else {
        if (layer->ffn_norm.present)
            input = normed_input(pass, &layer->ffn_norm, ffn_forms);
        else if (!side_by_side)
            input = stream_as_input(pass, ffn_forms);
        spn_pass_ffn(pass, layer, input, post ? tmp : stream);
    }
    if (post) spn_pass_norm_to(pass, &layer->ffn_post_norm, pass->tmp, pass->x, true);
    if (block == SPN_BLOCK_ENCODER)
        spn_pass_norm_to(pass, &layer->ffn_post_norm, pass->x, pass->x, false);
    if (layer->inp_gate.w.data != NULL) spn_pass_per_layer_mix(pass, l);
    if (layer->output_scale != 1)
        spn_pass_map(pass, SPN_MAP_SCALE, network->n_embd, pass->x, (spn_view){0}, pass->x,
                     layer->output_scale, NULL);
}

/* The chosen rows of the stream, normed where the network ends in a norm, into `out`. */
static void write_hidden(spn_pass *pass, const uint32_t *rows, uint32_t n_out, spn_view out) {
    const spn_network *network = pass->network;
    pass->n_rows = n_out;
    spn_pass_emit(pass, SPN_OP_GATHER, n_out)->gather =
        (spn_op_gather){rows, network->n_embd, pass->x, out};
    if (network->output_norm.present)
        spn_pass_norm_to(pass, &network->output_norm, out, out, false);
}

static void write_logits(spn_pass *pass, const uint32_t *rows, uint32_t n_out, spn_view out) {
    const spn_network *network = pass->network;
    pass->n_rows = n_out;
    spn_pass_emit(pass, SPN_OP_GATHER, n_out)->gather =
        (spn_op_gather){rows, network->n_embd, pass->x, pass->out_x};
    spn_pass_norm(pass, &network->output_norm, pass->out_x, &pass->out_in,
                  spn_pass_form(pass, &network->output.w));
    spn_pass_matmul(pass, &network->output, &pass->out_in, out, false, network->logit_scale);
    if (network->logit_softcap != 0)
        spn_pass_map(pass, SPN_MAP_SOFTCAP, network->n_vocab, out, (spn_view){0}, out,
                     network->logit_softcap, NULL);
}

static spn_status run(spn_pass *pass, const spn_batch *batch, const uint32_t *out_rows,
                      uint32_t n_out, float *out, bool hidden, const atomic_int *cancel,
                      spn_error *err) {
    const spn_network *network = pass->network;
    bool logits = network->has_logits && !hidden;
    size_t width = logits ? network->n_vocab : network->n_embd;
    spn_buffer result = {(uint8_t *)out, n_out * width * sizeof *out};
    spn_view view = {&result, 0, width};
    pass->n_ops = 0;
    pass->n_rows = batch->n_rows;
    pass->failed = false;
    write_embeddings(pass, batch);
    write_rope_tables(pass);
    for (uint32_t l = 0; l < network->n_layer; l++) write_block(pass, l);
    if (n_out > 0 && logits)
        write_logits(pass, out_rows, n_out, view);
    else if (n_out > 0)
        write_hidden(pass, out_rows, n_out, view);
    if (pass->failed) return SPN_NO_MEMORY(err, "a pass");
    return pass->backend->run(pass->backend, pass->ops, pass->n_ops, batch, cancel, err);
}

spn_status spn_pass_project(spn_pass *pass, float *x, uint32_t n, const atomic_int *cancel,
                            spn_error *err) {
    const spn_network *network = pass->network;
    const spn_linear *up = &network->project_up, *down = &network->project_down;
    const spn_batch batch = {.n_rows = n};
    spn_buffer rows = {(uint8_t *)x, n * (size_t)network->n_embd * sizeof *x};
    spn_acts in = spn_pass_alias(&pass->in, (spn_view){&rows, 0, network->n_embd});
    spn_acts wide = spn_pass_acts(&pass->ffn, up->w.n_rows);
    if (up->w.data == NULL || n == 0) return SPN_STATUS_OK;
    pass->n_ops = 0;
    pass->n_rows = n;
    pass->failed = false;
    spn_pass_quantize(pass, &in, spn_pass_form(pass, &up->w));
    spn_pass_matmul(pass, up, &in, wide.x, false, 1);
    spn_pass_quantize(pass, &wide, spn_pass_form(pass, &down->w));
    spn_pass_matmul(pass, down, &wide, in.x, false, 1);
    if (pass->failed) return SPN_NO_MEMORY(err, "a pass");
    return pass->backend->run(pass->backend, pass->ops, pass->n_ops, &batch, cancel, err);
}

spn_status spn_pass_run(spn_pass *pass, const spn_batch *batch, const uint32_t *out_rows,
                        uint32_t n_out, float *out, const atomic_int *cancel, spn_error *err) {
    return run(pass, batch, out_rows, n_out, out, false, cancel, err);
}

spn_status spn_pass_run_hidden(spn_pass *pass, const spn_batch *batch, const uint32_t *out_rows,
                               uint32_t n_out, float *out, const atomic_int *cancel,
                               spn_error *err) {
    return run(pass, batch, out_rows, n_out, out, true, cancel, err);
}
