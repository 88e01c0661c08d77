/* network.h - a model's numbers and weights, and its forward pass as operations of a backend.
 * SPDX-License-Identifier: Apache-2.0
 *
 * An architecture is a row of facts (arch.c). hparams.c reads a file's numbers and turns row and
 * numbers into facts of each layer; weights.c binds the file's tensors to roles, checking every
 * shape and that no tensor is left over; decoder*.c write the pass. All architectures share that
 * one pass: what differs between layers stands in spn_layer, so decoder.c asks for facts and never
 * for an architecture's name.
 *
 * A network is immutable after load: share it freely. It borrows the GGUF's map.
 */
#ifndef SPN_NETWORK_H
#define SPN_NETWORK_H

#include "compute/backend.h"

/* ---- facts of an architecture ---- */

typedef enum spn_block_kind {
    SPN_BLOCK_PRE,      /* x += attn(norm x); x += ffn(norm x) */
    SPN_BLOCK_SANDWICH, /* x += norm(attn(norm x)); x += norm(ffn(norm x)) */
    SPN_BLOCK_POST,     /* x += norm(attn(x)); x += norm(ffn(x)) */
    SPN_BLOCK_PARALLEL, /* n = norm x; x += attn(n) + ffn(n) */
    SPN_BLOCK_ENCODER,  /* x = norm(x + attn(x)); x = norm(x + ffn(x)) */
} spn_block_kind;

typedef enum spn_qk_norm {
    SPN_QK_NORM_NONE,
    SPN_QK_NORM_HEAD,  /* RMS of each head, one weight [D] for all heads */
    SPN_QK_NORM_HEADS, /* LayerNorm of each head, a weight for each: [D, H] */
    SPN_QK_NORM_ALL,   /* RMS over all heads together, weight [H D] */
} spn_qk_norm;

/* Which tensors X.bias a file may have, and which it must have. */
enum {
    SPN_BIAS_QKV = 1u,
    SPN_BIAS_O = 2u,
    SPN_BIAS_FFN = 4u,
    SPN_BIAS_OUTPUT = 8u,
    SPN_BIAS_NORM = 16u,
    SPN_BIAS_ROUTER = 32u,
};

enum {
    SPN_ARCH_ALWAYS_TIED = 1u,      /* never has output.weight */
    SPN_ARCH_TIED = 2u,             /* may lack it */
    SPN_ARCH_ROPE_FREQS = 4u,       /* may have rope_freqs.weight */
    SPN_ARCH_LONGROPE = 8u,         /* may have rope_factors_{long,short}.weight */
    SPN_ARCH_EMBED_SQRT = 16u,      /* embeddings times sqrt(n_embd) */
    SPN_ARCH_FUSED_FFN = 32u,       /* ffn_up holds gate rows, then up rows */
    SPN_ARCH_GATED_QUERY = 64u,     /* attn_q holds D query rows, then D gate rows, a head */
    SPN_ARCH_QK_OPTIONAL = 128u,    /* q and k norms may be missing */
    SPN_ARCH_BASE_DIMS = 256u,      /* the head size is n_embd / n_head, whatever a key says */
    SPN_ARCH_ENCODER = 512u,        /* not causal; hidden states instead of logits */
    SPN_ARCH_NORM_EXPERTS = 1024u,  /* the weights of the chosen experts are divided by their sum */
    SPN_ARCH_EXPERTS = 2048u,       /* may have experts (where expert_count > 0) */
    SPN_ARCH_SINKS = 4096u,         /* has attn_sinks */
    SPN_ARCH_CHOICE_BIAS = 8192u,   /* may have exp_probs_b, a bias on the choice of experts */
    SPN_ARCH_QK_LARGE = 16384u,     /* q and k norms only in files of 64 layers and more */
    SPN_ARCH_FFN_BESIDE = 32768u,   /* without ffn_norm the FFN stands beside attention */
    SPN_ARCH_KEY_AS_VALUE = 65536u, /* attn_v may be missing in full layers */
    SPN_ARCH_LAYER_INPUTS = 131072u, /* inputs of each layer, and a scale of its output */
};

typedef struct spn_network spn_network;
typedef struct spn_loader spn_loader;

typedef struct spn_arch {
    const char *name; /* general.architecture, and the prefix of its keys */
    unsigned flags;
    spn_norm_kind norm;
    spn_rope_kind rope;
    spn_block_kind block;
    spn_qk_norm qk_norm;
    spn_activation activation;
    bool ungated; /* down(activation(up x)) */
    unsigned bias, bias_required;
    spn_gating gating;
    const char *ffn_norm; /* NULL: "ffn_norm" */
    /* What a row of facts cannot say; called after the numbers are read and before the tensors are
     * bound, and may change network and layers. */
    spn_status (*adjust)(spn_loader *loader, spn_error *err);
} spn_arch;

/* NULL when there is none of that name. */
const spn_arch *spn_arch_find(const char *name, size_t n_bytes);
/* Architectures that are known and refused: what is missing for them, or NULL. */
const char *spn_arch_refusal(const char *name, size_t n_bytes);

/* ---- rotation ---- */

/* The angle of pair i at position p is p * inv_freq[i]; cosine and sine are times magnitude. */
typedef struct spn_rope {
    size_t n_rot;
    const double *inv_freq;      /* [n_rot / 2] */
    const double *inv_freq_long; /* for contexts longer than n_ctx_short; NULL: the same */
    uint32_t n_ctx_short;
    float magnitude;
} spn_rope;

enum { SPN_ROPE_FULL, SPN_ROPE_WINDOWED, SPN_ROPE_COUNT };

/* ---- layers ---- */

typedef enum spn_mixer {
    SPN_MIXER_ATTENTION,
    SPN_MIXER_LATENT, /* DeepSeek V2's, arXiv:2405.04434 */
    SPN_MIXER_LINEAR, /* gated delta rule, arXiv:2412.06464 */
} spn_mixer;

typedef struct spn_norm {
    const float *w, *b; /* b NULL: none; w NULL: the norm has no weight */
    bool present;
} spn_norm;

typedef struct spn_linear {
    spn_matrix w;
    const float *bias;
} spn_linear;

typedef struct spn_experts {
    spn_linear router;
    spn_linear gate, up, down;                      /* n_mats experts */
    const float *choice_bias;                       /* [n_expert], for the choice only */
    const float *input_scale;                       /* gemma4: [n_embd], times the router's input */
    const float *output_scale;                      /* gemma4: [n_expert] */
    spn_linear shared_gate, shared_up, shared_down; /* always used; data NULL: none */
    spn_linear shared_switch; /* [n_embd] -> 1, sigmoid of it weighs the shared expert */
} spn_experts;

typedef struct spn_layer {
    spn_mixer mixer;

    /* attention */
    uint32_t n_head, n_head_kv;
    size_t dim_k, dim_v;
    spn_rope_kind rope;
    int rope_table;                                     /* SPN_ROPE_FULL or _WINDOWED */
    uint32_t window, chunk;                             /* 0: none */
    float q_scale, temp_scale, temp_shift, temp_length; /* see spn_op_qkv */
    bool norm_after, v_norm;
    uint32_t kv_layer; /* whose cache it reads; its own, but for gemma4's last layers */
    spn_norm attn_norm, attn_post_norm;
    spn_linear q, k, v, o; /* v.w.data NULL: the value is the key's projection */
    const float *q_norm, *k_norm;
    const float *sinks;

    /* latent attention */
    spn_linear q_a, q_b, kv_a; /* q_a.w.data NULL: q gives the query */
    spn_norm q_a_norm, kv_a_norm;
    spn_matrix k_b, v_b; /* [n_head] matrices */

    /* linear attention */
    spn_linear z, beta, alpha, ba, ssm_out;
    const float *conv; /* [n_taps][channels] */
    const float *ssm_a, *ssm_dt, *ssm_norm;

    /* feed forward */
    size_t n_ff;
    spn_norm ffn_norm, ffn_post_norm;
    spn_linear gate, up, down; /* gate.w.data NULL: ungated */
    spn_experts *experts;      /* NULL: dense */
    bool dense_and_experts;    /* gemma4: both, see decoder_ffn.c */
    spn_norm moe_norm, dense_post_norm, moe_post_norm;

    /* gemma4 */
    spn_linear inp_gate, inp_proj;
    spn_norm inp_post_norm;
    float output_scale; /* 1: none */
} spn_layer;

/* ---- the network ---- */

typedef enum spn_pooling {
    SPN_POOLING_NONE,
    SPN_POOLING_MEAN,
    SPN_POOLING_CLS,
    SPN_POOLING_LAST,
} spn_pooling;

struct spn_network {
    const spn_arch *arch;
    spn_arena arena;
    uint32_t n_vocab, n_embd, n_layer, n_ctx_train;
    uint32_t n_expert, n_expert_used, n_group, n_group_used;
    spn_gating gating;
    bool normalize_experts, weigh_input;
    float experts_scale;                                        /* 1: none */
    uint32_t kv_rank, n_rot_latent, dim_latent_k, dim_latent_v; /* latent attention */
    uint32_t n_key_head, n_value_head, dim_state, n_taps;       /* linear attention */
    bool beta_interleaved_heads; /* qwen35: key head = value head mod n_key_head */
    float eps;
    float embed_scale, residual_scale, logit_scale; /* 1: none */
    float attn_softcap, logit_softcap;              /* 0: none */
    spn_rope rope[SPN_ROPE_COUNT];                  /* n_rot 0: not used */
    spn_pooling pooling;
    bool not_causal, has_logits; /* what is not causal embeds and has no logits */
    spn_matrix token_embd, position_embd;
    const float *token_type; /* [n_embd] */
    spn_norm embd_norm, output_norm;
    spn_linear output;
    spn_linear project_up, project_down; /* behind pooling; w.data NULL: none */
    /* gemma4's inputs of each layer */
    uint32_t n_per_layer;
    spn_matrix per_layer_embd;
    spn_linear per_layer_proj;
    const float *per_layer_norm;
    spn_layer *layers; /* [n_layer] */
    uint64_t n_params, weight_bytes_per_token, n_prompt_params;
    uint64_t table_bytes;  /* of tensors of which each token reads a row, and no more */
    uint64_t unread_bytes; /* of tensors that no pass reads */
};

/* Errors: FORMAT (a key is missing or makes no sense), UNSUPPORTED_ARCHITECTURE, LOAD (a tensor is
 * missing, left over, or has another shape or type: named), NO_MEMORY. */
spn_status spn_network_load(spn_network **out, const spn_gguf *gguf, spn_error *err);
void spn_network_free(spn_network *network);

/* ---- loading, as the files of this folder share it ---- */

struct spn_loader {
    const spn_gguf *gguf;
    spn_network *network;
    bool *used; /* [n_tensors] */
    /* What spn_rope_prepare is to know beside the keys. */
    struct {
        size_t n_rot, n_rot_windowed; /* 0: not used */
        float base_windowed;          /* 0: rope.freq_base */
        bool windowed_unscaled;       /* rope.scaling.* is for full layers only */
        bool yarn_betas;              /* rope.scaling.yarn_beta_{fast,slow} are read */
        bool yarn_log;                /* rope.scaling.yarn_log_multiplier is read */
        bool own_magnitude;           /* `magnitude` instead of YaRN's rule */
        float magnitude;
        const uint32_t *sections; /* [3]: pairs that are rotated, see adjust_linear */
    } rope;
    size_t n_ff_expert, n_ff_shared;
    uint32_t n_dense_layers; /* the first ones, without experts */
    uint32_t expert_step;    /* layers (l + 1) % step == 0 have experts; 0 or 1: all */
    bool shared_switch, expects_shared;
};

/* Keys "<architecture>.<name>"; see spn_gguf_get_*. */
spn_status spn_loader_u32(spn_loader *loader, const char *name, bool required, uint32_t *out,
                          spn_error *err);
spn_status spn_loader_f32(spn_loader *loader, const char *name, bool required, float *out,
                          spn_error *err);
spn_status spn_loader_bool(spn_loader *loader, const char *name, bool required, bool *out,
                           spn_error *err);
/* Text is that of the file, not NUL-terminated. */
spn_status spn_loader_str(spn_loader *loader, const char *name, bool required, spn_gguf_str *out,
                          spn_error *err);
/* The first n_max items; *n_items is how many there are, and stays as it is where the key is
 * absent. */
spn_status spn_loader_u32_array(spn_loader *loader, const char *name, bool required, uint32_t *out,
                                size_t n_max, size_t *n_items, spn_error *err);
/* [n_layer] numbers; a single one counts for all layers. *found (may be NULL): the key is there. */
spn_status spn_loader_per_layer(spn_loader *loader, const char *name, bool required, uint32_t *out,
                                bool *found, spn_error *err);
bool spn_loader_has(const spn_loader *loader, const char *name);

spn_status spn_hparams_read(spn_loader *loader, spn_error *err);
spn_status spn_weights_bind(spn_loader *loader, spn_error *err);
/* The tables of rotation; after the tensors, for some are tensors. */
spn_status spn_rope_prepare(spn_loader *loader, spn_error *err);

/* Tensors by name; `layer` >= 0 puts "blk.N." before it. A matrix is [k, n_rows] or, with n_mats
 * > 0, [k, n_rows, n_mats]. Where an optional one is absent, *out stays as it is. */
spn_status spn_bind_matrix(spn_loader *loader, int layer, const char *name, bool required, size_t k,
                           size_t n_rows, size_t n_mats, spn_matrix *out, spn_error *err);
spn_status spn_bind_vector(spn_loader *loader, int layer, const char *name, bool required, size_t n,
                           const float **out, spn_error *err);
bool spn_bind_exists(const spn_loader *loader, int layer, const char *name);

/* ---- the KV cache of one sequence ---- */

typedef struct spn_kv_cache spn_kv_cache; /* one thread at a time */

/* Whether the network's heads can be kept in these types: INVALID_ARGUMENT if not. */
spn_status spn_kv_cache_check_types(const spn_network *network, spn_type type_k, spn_type type_v,
                                    spn_error *err);
/* Bytes that a full cache of that context and of possible types takes. n_batch: most rows a pass.
 */
uint64_t spn_kv_cache_bytes(const spn_network *network, uint32_t n_ctx, uint32_t n_batch,
                            spn_type type_k, spn_type type_v);
/* Reserves address space; memory is taken as positions are written. Errors: NO_MEMORY. */
spn_status spn_kv_cache_create(spn_kv_cache **out, const spn_network *network, uint32_t n_ctx,
                               uint32_t n_batch, spn_type type_k, spn_type type_v, spn_error *err);
void spn_kv_cache_free(spn_kv_cache *cache);
/* Tells, before they are written, that positions up to n_positions will be: what they fill anyway
 * may then come as huge pages. Nothing depends on it but speed. */
void spn_kv_cache_expect(spn_kv_cache *cache, uint32_t n_positions);
const spn_kv_layer *spn_kv_cache_layers(const spn_kv_cache *cache);
uint8_t *const *spn_kv_cache_states(const spn_kv_cache *cache);
/* About what a token reads of the cache that sees n_positions, windows permitting. */
uint64_t spn_kv_cache_read_bytes(const spn_kv_cache *cache, uint32_t n_positions);
/* How many of the first n_keep positions can stay when n_cached were evaluated: n_keep, or 0 where
 * a windowed or recurrent layer no longer knows them. A result below n_cached drops the rest. */
uint32_t spn_kv_cache_rewind(spn_kv_cache *cache, uint32_t n_cached, uint32_t n_keep);

/* Whether the last n positions can be dropped at any time: not with recurrent layers, nor where a
 * window's ring has no room for them. */
bool spn_kv_cache_can_rewind(const spn_kv_cache *cache, uint32_t n);
/* Calls visit for each piece of memory that holds the first n_positions, always in the same order
 * and with the same sizes for the same network, context, batch and types; stops at false. */
typedef bool (*spn_kv_visit)(void *piece, size_t n_bytes, void *user);
bool spn_kv_cache_visit(spn_kv_cache *cache, uint32_t n_positions, spn_kv_visit visit, void *user);
/* The first position that windowed layers still hold, to be saved and restored beside the pieces.
 */
uint32_t spn_kv_cache_known_from(const spn_kv_cache *cache, uint32_t n_cached);
void spn_kv_cache_set_known_from(spn_kv_cache *cache, uint32_t known_from);

/* ---- keys and values of texts that live for one pass ---- */

typedef struct spn_kv_room spn_kv_room; /* one thread at a time */

/* Not with recurrent layers. */
bool spn_kv_room_is_possible(const spn_network *network);
/* Reserves address space for n_slots positions (a multiple of 64). Errors: NO_MEMORY. */
spn_status spn_kv_room_create(spn_kv_room **out, const spn_network *network, uint32_t n_slots,
                              spn_type type_k, spn_type type_v, spn_error *err);
void spn_kv_room_free(spn_kv_room *room);
/* The cache of a text of n_rows tokens at slot `first`, a multiple of 64, into out[n_layer].
 * Returns the first slot behind it, which is one too. */
uint32_t spn_kv_room_layers(const spn_kv_room *room, uint32_t first, uint32_t n_rows,
                            spn_kv_layer *out);

/* ---- the pass ---- */

typedef struct spn_pass spn_pass; /* one thread at a time */

typedef struct spn_pass_options {
    uint32_t n_batch; /* most rows a run */
    uint32_t n_out;   /* most rows whose logits a run gives into its own memory */
    uint32_t n_ctx;   /* of the sequences; chooses among tables of rotation */
    bool exact;
    uint32_t n_threads;
    spn_cpu_level cpu_level;
} spn_pass_options;

/* Buffers and backend for running the network. Errors: DEVICE, NO_MEMORY, PROCESS. */
spn_status spn_pass_create(spn_pass **out, const spn_network *network,
                           const spn_pass_options *options, spn_error *err);
void spn_pass_free(spn_pass *pass);
spn_backend *spn_pass_backend(spn_pass *pass);
uint64_t spn_pass_bytes(const spn_pass *pass);
/* What spn_pass_create will take, nearly. */
uint64_t spn_pass_estimate(const spn_network *network, const spn_pass_options *options);

/* Evaluates the batch, writing K and V into its segments' caches, and gives the logits (an encoder:
 * the hidden states) behind rows out_rows[0 .. n_out) in `out` ([n_out][n_vocab], or
 * [n_out][n_embd] for an encoder; the caller's memory). Errors: CANCELLED, NO_MEMORY; the caches'
 * new positions are undefined then. */
spn_status spn_pass_run(spn_pass *pass, const spn_batch *batch, const uint32_t *out_rows,
                        uint32_t n_out, float *out, const atomic_int *cancel, spn_error *err);
/* x[n][n_embd], pooled embeddings and at most n_batch, through the two matrices that some embedding
 * models end with; without them x stays as it is. Errors as spn_pass_run. */
spn_status spn_pass_project(spn_pass *pass, float *x, uint32_t n, const atomic_int *cancel,
                            spn_error *err);
/* The hidden states behind the last layer and its norm, whatever the network's kind:
 * [n_out][n_embd]. */
spn_status spn_pass_run_hidden(spn_pass *pass, const spn_batch *batch, const uint32_t *out_rows,
                               uint32_t n_out, float *out, const atomic_int *cancel,
                               spn_error *err);

#endif
