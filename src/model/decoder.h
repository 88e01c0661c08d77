/* decoder.h - what the files of the forward pass share. SPDX-License-Identifier: Apache-2.0 */
#ifndef SPN_DECODER_H
#define SPN_DECODER_H

#include "model/network.h"

/* Buffers of a pass; rows are tokens unless said otherwise. n: n_batch. */
struct spn_pass {
    const spn_network *network;
    spn_backend *backend;
    spn_pass_options options;
    spn_arena arena; /* routes */
    spn_op *ops;
    size_t n_ops, cap_ops;
    bool failed; /* no memory for ops */

    uint32_t n_rows; /* of the batch being written */
    spn_buffer *buffer;
    size_t used; /* bytes of the buffer that have been laid out */

    spn_view x;                  /* [n][n_embd] the residual stream */
    spn_view tmp;                /* [n][n_embd] */
    spn_acts in;                 /* [n][n_embd] a block's normed input */
    spn_acts stream;             /* x, with the quantised part of `in` */
    spn_view qkv;                /* [n][w_qkv] projections */
    spn_view q;                  /* [n * n_head][dim_k] queries ready to score */
    spn_acts attn;               /* [n][n_head * dim_v] */
    spn_acts ffn;                /* [n][n_ff] */
    spn_view cs[SPN_ROPE_COUNT]; /* [n][n_rot] */
    /* latent attention */
    spn_acts q_rank;      /* [n][q rank] */
    spn_view q_latent;    /* [n][n_head * (kv_rank + n_rot)] */
    spn_view attn_latent; /* [n][n_head * kv_rank] */
    /* linear attention */
    spn_view conv; /* [n][channels] */
    /* experts; a row a slot: n * n_used */
    spn_routes routes;
    spn_view router;            /* [n][n_expert] */
    spn_acts router_in;         /* [n][n_embd] gemma4 */
    spn_acts slot_in, slot_ffn; /* [slots][n_embd], [slots][n_ff_expert] */
    spn_view slot_out;          /* [slots][n_embd] */
    spn_view moe_tmp;           /* [n][n_embd] gemma4 */
    spn_view shared_gate;       /* [n][1] */
    /* inputs of each layer: gemma4 */
    spn_view per_layer, per_layer2; /* [n][n_layer * n_per_layer] */
    spn_acts inp;                   /* [n][n_per_layer] */
    /* output */
    spn_view out_x;  /* [n_out][n_embd] */
    spn_acts out_in; /* [n_out][n_embd] */
};

/* The next operation of the pass, its union cleared; never NULL. */
spn_op *spn_pass_emit(spn_pass *pass, spn_op_kind kind, uint32_t n_rows);

/* The form in which a product with this matrix reads its activations, as in spn_act_form_of. */
unsigned spn_pass_form(const spn_pass *pass, const spn_matrix *w);
/* Fills forms of acts (0: none) from its x. */
void spn_pass_quantize(spn_pass *pass, const spn_acts *acts, unsigned forms);

/* acts = norm(x), with quantised forms. */
void spn_pass_norm(spn_pass *pass, const spn_norm *norm, spn_view x, const spn_acts *acts,
                   unsigned forms);
/* y += scale * norm(x), or y = norm(x) without `add`. */
void spn_pass_norm_to(spn_pass *pass, const spn_norm *norm, spn_view x, spn_view y, bool add);
/* y = W acts + bias, or y += scale * that. */
void spn_pass_matmul(spn_pass *pass, const spn_linear *linear, const spn_acts *acts, spn_view y,
                     bool add, float scale);
/* The acts whose x is the given rows and whose quantised part is that of `home`. */
spn_acts spn_pass_alias(const spn_acts *home, spn_view x);
/* The acts of rows of k elements in a home that may be wider. */
spn_acts spn_pass_acts(const spn_acts *home, size_t k);
spn_view spn_view_at(spn_view view, size_t offset);
void spn_pass_map(spn_pass *pass, spn_map_kind kind, size_t n, spn_view a, spn_view b, spn_view y,
                  float factor, const float *vector);

/* Where a branch's result goes: the residual stream, or `tmp` when a norm is to follow. */
typedef struct spn_branch {
    spn_view y;
    bool add;
    float scale;
} spn_branch;

/* The mixer of layer l on pass->in (or, for blocks without a norm before, on `input`). */
void spn_pass_attention(spn_pass *pass, uint32_t l, const spn_acts *input, spn_branch branch);
void spn_pass_latent(spn_pass *pass, uint32_t l, const spn_acts *input, spn_branch branch);
void spn_pass_linear(spn_pass *pass, uint32_t l, const spn_acts *input, spn_branch branch);
unsigned spn_pass_mixer_forms(const spn_pass *pass, const spn_layer *layer);

void spn_pass_ffn(spn_pass *pass, const spn_layer *layer, const spn_acts *input, spn_branch branch);
unsigned spn_pass_ffn_forms(const spn_pass *pass, const spn_layer *layer);
/* gemma4: dense unit and experts side by side, from pass->x into tmp. */
void spn_pass_dense_and_experts(spn_pass *pass, const spn_layer *layer);

/* gemma4's inputs of each layer: made once, then mixed in at the end of each layer. */
void spn_pass_per_layer_inputs(spn_pass *pass, const spn_batch *batch);
void spn_pass_per_layer_mix(spn_pass *pass, uint32_t l);

#endif
