/* backend.h - a forward pass as a short list of operations, and the device that runs it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The model writes a pass once, as an array of spn_op on views of the backend's buffers, and hands
 * it to spn_backend.run. An operation starts when all before it have ended (a device may overlap
 * what it knows to be independent). Operations name rows by number and weights by spn_matrix, never
 * by host address of an activation, so a device may keep its buffers where the host cannot see
 * them: only spn_buffer.host of the CPU backend is always there. Inputs of a pass (token ids,
 * positions, segments) are host arrays that stay valid until run returns.
 *
 * Shapes are row-major with the fastest dimension last; a view's row is one token unless said
 * otherwise. All activations are f32; quantised copies of them live in spn_acts.
 *
 * Every operation's result is fixed bit for bit by kernels.h and the formulas here; how the work is
 * split over threads never shows.
 */
#ifndef SPN_BACKEND_H
#define SPN_BACKEND_H

#include <stdatomic.h>

#include "compute/kernels.h"

typedef struct spn_backend spn_backend;

/* Memory of a backend. */
typedef struct spn_buffer {
    uint8_t *host; /* NULL where the host cannot see it */
    size_t n_bytes;
} spn_buffer;

/* Rows of f32 in a buffer: element e of row t stands at offset + t * ld + e (in floats). */
typedef struct spn_view {
    const spn_buffer *buffer;
    size_t offset;
    size_t ld;
} spn_view;

/* Activations as products want them: f32 rows and, when the weights are quantised, (2) of
 * kernels.h, or bfloat16 beside weights of that type. All parts have a row a token. */
typedef struct spn_acts {
    spn_view x;
    const spn_buffer *buffer; /* of the other parts, at these byte offsets */
    struct {
        size_t q, d, dsum, sum;
    } parts[SPN_ACT_SCALED_FORMS]; /* as blocks, as groups */
    size_t bf16;                   /* as bfloat16 */
    size_t k;                      /* elements of a row, and its pitch in the other parts */
} spn_acts;

/* A weight matrix: y = W x with W [n_rows][k], in the file's own layout; experts are n_mats of them
 * behind each other. */
typedef struct spn_matrix {
    const uint8_t *data; /* NULL: there is none */
    spn_type type;
    uint32_t n_mats;
    size_t k;
    size_t n_rows;
    size_t row_bytes;
    size_t mat_bytes; /* from one matrix to the next; 0: n_rows * row_bytes */
} spn_matrix;

/* ---- the KV cache as operations see it ---- */

/* One layer of one sequence. K: [n_head_kv] x tiles (kernels.h), V: [n_head_kv][ring][dim_v]. */
typedef struct spn_kv_layer {
    uint8_t *k, *v;
    size_t k_head_bytes, v_head_bytes; /* from one head to the next */
    uint32_t ring;                     /* positions held; position p at p % ring */
    spn_type type_k, type_v;
} spn_kv_layer;

/* Consecutive rows of a batch that belong to one sequence. */
typedef struct spn_segment {
    const spn_kv_layer *layers; /* [n_layer] of the sequence's cache */
    uint8_t *const *states;     /* [n_layer]: recurrent state, NULL for layers without */
    uint32_t first_row, n_rows;
    uint32_t first_pos; /* position of first_row; rows follow without gaps */
} spn_segment;

typedef struct spn_batch {
    uint32_t n_rows;
    const int32_t *tokens;    /* [n_rows] */
    const int32_t *positions; /* [n_rows]; NULL where no operation asks for it */
    const spn_segment *segments;
    uint32_t n_segments;
} spn_batch;

/* ---- operations ---- */

typedef enum spn_norm_kind { SPN_NORM_NONE, SPN_NORM_RMS, SPN_NORM_LAYER } spn_norm_kind;
typedef enum spn_rope_kind { SPN_ROPE_NONE, SPN_ROPE_INTERLEAVED, SPN_ROPE_SPLIT } spn_rope_kind;
typedef enum spn_activation {
    SPN_ACTIVATION_SILU,
    SPN_ACTIVATION_GELU,
    SPN_ACTIVATION_OAI, /* g = min(gate, 7), u = clamp(up, -7, 7): g sigmoid(1.702 g) (u + 1) */
} spn_activation;

/* y[t] = table[ids[t]] * scale, or y[t] += it. */
typedef struct spn_op_embed {
    spn_matrix table;
    const int32_t *ids; /* [n_rows], inside the table */
    float scale;
    bool add;
    spn_view y;
} spn_op_embed;

/* Each row has n_groups groups of n, each normed by itself: y = norm(x), or y += scale * norm(x)
 * with `add`; SPN_NORM_NONE copies. Group g of a row stands at offset g * x_pitch (y: g * y_pitch);
 * its weights at w + g * w_pitch. `acts`, where set, gets the same rows (n_groups is 1 then) and y
 * may be left out (buffer NULL). */
typedef struct spn_op_norm {
    spn_norm_kind kind;
    float eps;
    const float *w, *b;
    size_t n, n_groups, x_pitch, y_pitch, w_pitch;
    spn_view x, y;
    spn_acts acts;  /* x.buffer NULL: not set */
    unsigned forms; /* of acts to fill too */
    bool add;
    float scale;
} spn_op_norm;

/* y[t] = (W acts[t] + bias) * scale for each part, or y[t] += it. */
typedef struct spn_matmul_part {
    spn_matrix w;
    const float *bias; /* [n_rows] or NULL */
    spn_view y;
    bool add;
    float scale; /* 0 stands for 1 */
} spn_matmul_part;
#define SPN_MATMUL_PARTS 4
typedef struct spn_op_matmul {
    spn_acts acts;
    uint32_t n_parts;
    spn_matmul_part part[SPN_MATMUL_PARTS];
} spn_op_matmul;

/* out[t] = activation(gate x + bg) * (up x + bu); without a gate (data NULL) activation(up x + bu).
 * The quantised forms of out are filled too. */
typedef struct spn_op_glu {
    spn_acts acts;
    spn_matrix gate, up;
    const float *gate_bias, *up_bias;
    spn_activation activation;
    spn_acts out;
    unsigned forms;
} spn_op_glu;

/* Fills quantised forms of acts from its x. */
typedef struct spn_op_quantize {
    spn_acts acts;
    unsigned forms;
} spn_op_quantize;

/* cs[t][2i], [2i+1] = m cos(a), m sin(a), a = position[t] * inv_freq[i], i < n_rot / 2. */
typedef struct spn_op_rope_table {
    const double *inv_freq;
    size_t n_rot;
    float magnitude; /* m */
    spn_view cs;
} spn_op_rope_table;

/* Splits the projections of a layer into queries ready to score and keys and values in the cache.
 * For each head: norm (q/k, per head), rotation of the first n_rot (or the last, with rot_last),
 * weightless RMS norm behind the rotation; queries are then multiplied by q_scale, and by
 * 1 + temp_scale ln(1 + floor((p + temp_shift) / temp_length)) where temp_scale is not 0.
 * Query head h stands in row t of `q` at h * q_pitch; the result goes to row
 * (kv head) * n_rows * g + t * g + (h % g) of q_out, g = n_head / n_head_kv. */
typedef struct spn_op_qkv {
    uint32_t layer; /* whose cache is written */
    uint32_t n_head, n_head_kv;
    size_t dim_k, dim_v;
    spn_view q, k, v; /* k.buffer NULL: keys and values are another layer's */
    size_t q_pitch, k_pitch, v_pitch;
    spn_norm_kind norm;
    float eps;
    const float *q_norm, *k_norm;      /* [dim_k] a head, pitch below; NULL: not normed */
    size_t q_norm_pitch, k_norm_pitch; /* 0: the same for all heads */
    spn_rope_kind rope;
    size_t n_rot;
    bool rot_last;
    spn_view cs;
    bool norm_after; /* weightless RMS of q and k after the rotation */
    bool v_norm;     /* weightless RMS of v */
    float q_scale;
    float temp_scale, temp_shift, temp_length;
    spn_view q_out;
} spn_op_qkv;

/* Attention (6) of kernels.h of q (as spn_op_qkv leaves it) over the cache of `layer`. Row t at
 * position p sees max(0, p - window + 1) .. p (window 0: all), from p - p % chunk where chunk is
 * not 0; not causal: all positions of its segment, with a window those at most window / 2 away
 * on either side. Head h of row t goes to out.x at h * dim_v;
 * `gate` (buffer set): times sigmoid(gate), head h of it at h * gate_pitch. */
typedef struct spn_op_attend {
    uint32_t layer;
    uint32_t n_head, n_head_kv;
    size_t dim_k, dim_v;
    spn_view q;
    uint32_t window, chunk;
    bool not_causal;
    float softcap;
    const float *sinks; /* [n_head] or NULL */
    spn_view gate;
    size_t gate_pitch;
    spn_acts out;
    unsigned forms;
} spn_op_attend;

/* y = f(a, b) over n elements of each row. */
typedef enum spn_map_kind {
    SPN_MAP_ADD,        /* a + b */
    SPN_MAP_MUL,        /* a * b */
    SPN_MAP_SCALE,      /* a * factor */
    SPN_MAP_SOFTCAP,    /* factor tanh(a / factor) */
    SPN_MAP_GELU_MUL,   /* gelu(a) * b */
    SPN_MAP_ADD_SCALED, /* y + a * factor */
    SPN_MAP_ADD_VECTOR, /* a + vector */
    SPN_MAP_MUL_VECTOR, /* a * vector */
    SPN_MAP_ADD_GATED,  /* y + a * sigmoid(b[0]): one gate a row */
} spn_map_kind;
typedef struct spn_op_map {
    spn_map_kind kind;
    size_t n;
    float factor;
    const float *vector; /* [n] */
    spn_view a, b, y;
} spn_op_map;

/* y[i] = x[rows[i]] for the rows of the result (spn_op.n_rows). */
typedef struct spn_op_gather {
    const uint32_t *rows;
    size_t n;
    spn_view x, y;
} spn_op_gather;

/* ---- experts ---- */

/* Which rows go to which expert, filled by ROUTE; slots are grouped by expert. */
typedef struct spn_routes {
    uint32_t n_used; /* experts a row */
    uint32_t n_expert;
    uint32_t *expert;     /* [n_rows][n_used] the chosen ones, the most likely first */
    float *weight;        /* [n_rows][n_used] */
    uint32_t *slot;       /* [n_rows][n_used]: where that product stands */
    uint32_t *slot_row;   /* [n_rows * n_used]: the row of a slot */
    uint32_t *active;     /* [n_expert]: experts with rows */
    uint32_t *first_slot; /* [n_expert + 1]: of active experts */
    uint32_t n_active;
} spn_routes;

typedef enum spn_gating {
    SPN_GATING_SOFTMAX,       /* p = softmax over all */
    SPN_GATING_SIGMOID,       /* p = sigmoid */
    SPN_GATING_SOFTMAX_AFTER, /* p = softmax over the chosen */
} spn_gating;

/* Chooses experts from the router's logits [n_expert]: the n_used largest p + bias, within the best
 * groups where n_group > 1; their weights are p, divided by their sum (at least 2^-14) with
 * `normalize`, times `scale`. Equal ones: the lower number. */
typedef struct spn_op_route {
    spn_view logits;
    spn_gating gating;
    const float *bias; /* [n_expert] or NULL */
    uint32_t n_group, n_group_used;
    bool normalize;
    float scale;
    spn_routes *routes;
} spn_op_route;

/* Puts the activations of each slot's row side by side: the numbers with `floats`, and the forms,
 * which acts has then. With `weigh_input` times the slot's weight, and quantised anew. */
typedef struct spn_op_moe_gather {
    const spn_routes *routes;
    spn_acts acts, out;
    bool weigh_input, floats;
    unsigned forms;
} spn_op_moe_gather;

/* As GLU, slot by slot, with the slot's expert's matrix and bias. */
typedef struct spn_op_moe_glu {
    const spn_routes *routes;
    spn_op_glu glu; /* matrices with n_mats, biases [n_mats][n_rows] */
} spn_op_moe_glu;

/* y[slot] = W acts[slot] + bias. */
typedef struct spn_op_moe_matmul {
    const spn_routes *routes;
    spn_acts acts;
    spn_matrix w;
    const float *bias; /* [n_mats][n_rows] or NULL */
    spn_view y;
} spn_op_moe_matmul;

/* y[t] (+)= scale * sum over the row's slots, in the order of choice, of weight * expert_scale *
 * x[slot]; weights are taken as 1 with `unweighted`. */
typedef struct spn_op_moe_sum {
    const spn_routes *routes;
    const float *expert_scale; /* [n_expert] or NULL */
    bool unweighted;
    bool add;
    float scale;
    size_t n;
    spn_view x, y;
} spn_op_moe_sum;

/* ---- latent attention ---- */

/* For each head h: y[t][h * y_pitch ...] = W[h] x[t][h * x_pitch ...], W with n_mats heads. */
typedef struct spn_op_head_matmul {
    spn_matrix w;
    spn_view x, y;
    size_t x_pitch, y_pitch;
} spn_op_head_matmul;

/* ---- linear attention (gated delta rule, arXiv:2412.06464) ---- */

/* Causal depthwise convolution over time and SiLU of `channels`, kernel taps w [n_taps][channels]
 * (the last is now); the inputs before the segment are in its state, which is moved on.
 * State of a layer: f32 conv [n_taps - 1][channels], then S [n_v][d][d]. */
typedef struct spn_op_conv {
    uint32_t layer;
    size_t channels, n_taps;
    const float *w;
    spn_view x, y;
} spn_op_conv;

/* Per value head h with key head kh: q, k divided by their length (at least eps), q by sqrt(d);
 * beta = sigmoid(b), g = a * softplus(alpha + dt); S = e^g S; S += k (beta (v - S^T k))^T;
 * o = S^T q; o = rms(o) * norm * silu(z). qkv rows: q [n_k][d], k [n_k][d], v [n_v][d]. */
typedef struct spn_op_delta {
    uint32_t layer;
    uint32_t n_k, n_v;
    size_t d;
    bool interleaved; /* kh = h % n_k; else h / (n_v / n_k) */
    float eps;
    size_t conv_bytes; /* of the state, before S */
    const float *a, *dt, *norm;
    spn_view qkv, z, beta, alpha;
    size_t beta_pitch; /* group of n_v / n_k values a key head, see decoder_linear.c; 0: plain */
    spn_acts out;
    unsigned forms;
} spn_op_delta;

typedef enum spn_op_kind {
    SPN_OP_EMBED,
    SPN_OP_NORM,
    SPN_OP_MATMUL,
    SPN_OP_GLU,
    SPN_OP_QUANTIZE,
    SPN_OP_ROPE_TABLE,
    SPN_OP_QKV,
    SPN_OP_ATTEND,
    SPN_OP_MAP,
    SPN_OP_GATHER,
    SPN_OP_ROUTE,
    SPN_OP_MOE_GATHER,
    SPN_OP_MOE_GLU,
    SPN_OP_MOE_MATMUL,
    SPN_OP_MOE_SUM,
    SPN_OP_HEAD_MATMUL,
    SPN_OP_CONV,
    SPN_OP_DELTA,
    SPN_OP_KIND_COUNT
} spn_op_kind;

typedef struct spn_op {
    spn_op_kind kind;
    uint32_t n_rows; /* rows of the batch, or of what GATHER left */
    union {
        spn_op_embed embed;
        spn_op_norm norm;
        spn_op_matmul matmul;
        spn_op_glu glu;
        spn_op_quantize quantize;
        spn_op_rope_table rope_table;
        spn_op_qkv qkv;
        spn_op_attend attend;
        spn_op_map map;
        spn_op_gather gather;
        spn_op_route route;
        spn_op_moe_gather moe_gather;
        spn_op_moe_glu moe_glu;
        spn_op_moe_matmul moe_matmul;
        spn_op_moe_sum moe_sum;
        spn_op_head_matmul head_matmul;
        spn_op_conv conv;
        spn_op_delta delta;
    };
} spn_op;

/* ---- backends ---- */

/* What a device must be ready for; sizes its scratch. */
typedef struct spn_backend_need {
    size_t n_rows_max; /* rows of a batch */
    size_t k_max;      /* longest row of a product */
    size_t head_max;   /* largest dim_k or dim_v */
    bool exact;        /* products decode the weights to f32 and never quantise activations */
    uint32_t n_threads;
    spn_cpu_level cpu_level;
} spn_backend_need;

/* Time spent in each kind of operation, in nanoseconds of member 0, when asked for. */
typedef struct spn_backend_profile {
    uint64_t ns[SPN_OP_KIND_COUNT];
    uint64_t n[SPN_OP_KIND_COUNT];
} spn_backend_profile;

struct spn_backend {
    const char *name;
    void (*free)(spn_backend *backend);
    /* Zeroed memory; NULL when there is none. */
    spn_buffer *(*buffer_create)(spn_backend *backend, size_t n_bytes);
    void (*buffer_free)(spn_backend *backend, spn_buffer *buffer);
    /* Runs the operations in order and returns when the results are in their buffers. Stops early
     * with CANCELLED, buffers undefined, once *cancel (may be NULL) is not 0. */
    spn_status (*run)(spn_backend *backend, const spn_op *ops, size_t n_ops, const spn_batch *batch,
                      const atomic_int *cancel, spn_error *err);
    uint32_t n_threads;
    spn_cpu_level cpu_level;
    size_t scratch_bytes;         /* what the backend itself holds */
    spn_backend_profile *profile; /* NULL: not measured */
    /* Called by run's own thread before each operation, or NULL: for progress in long passes. */
    void (*on_op)(size_t i, size_t n_ops, void *user);
    void *on_op_user;
};

/* Errors: DEVICE (the level is not there), NO_MEMORY, PROCESS. */
spn_status spn_backend_create_cpu(spn_backend **out, const spn_backend_need *need, spn_error *err);
/* The scratch_bytes that it will have; 0 without the level. */
size_t spn_backend_cpu_scratch(const spn_backend_need *need);

/* "embed", "norm", ... */
const char *spn_op_name(spn_op_kind kind);

#endif
