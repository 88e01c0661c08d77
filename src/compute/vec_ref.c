/* vec_ref.c - norms, activations, rotation and rounding of activations, in plain C.
 * SPDX-License-Identifier: Apache-2.0
 *
 * What every level must equal (kernels.h). Clear before fast: without -mfma each fmaf is a call.
 */
#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/vec_math.h"

static float lane_sum(const float *x, size_t n) {
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++) lane[i % 16] = lane[i % 16] + x[i];
    return spn_lane_fold(lane);
}

static float dot_ref(const float *a, const float *b, size_t n) {
    float lane[16] = {0};
    for (size_t i = 0; i < n; i++) lane[i % 16] = fmaf(a[i], b[i], lane[i % 16]);
    return spn_lane_fold(lane);
}

/* ---- quantised activations: contract (2) ---- */

/* One candidate scale for n elements; returns the error. */
static float try_scale(int8_t *q, const float *x, size_t n, float id, float d) {
    float e[SPN_ACT_GROUP];
    for (size_t i = 0; i < n; i++) {
        float rounded = (x[i] * id + 0x1.8p23f) - 0x1.8p23f;
        q[i] = (int8_t)rounded;
        e[i] = fmaf(-d, rounded, x[i]);
    }
    return dot_ref(e, e, n);
}

/* n elements that share a scale, which is returned. */
static float quantize_run(int8_t *q, const float *x, size_t n) {
    float amax = 0.0f, best = 0.0f, d_best = 0.0f;
    bool nan = false;
    memset(q, 0, n);
    for (size_t i = 0; i < n; i++) {
        nan = nan || x[i] != x[i];
        amax = spn_vm_max(amax, fabsf(x[i]));
    }
    if (nan || amax > 0x1.fffffep127f) return NAN;
    if (127.0f / amax > 0x1.fffffep127f) return 0.0f; /* amax 0 too */
    for (int j = 0; j < 8; j++) {
        int8_t tried[SPN_ACT_GROUP];
        float m = 127.0f - (float)j, d = amax / m, error = try_scale(tried, x, n, m / amax, d);
        if (j > 0 && !(error < best)) continue;
        best = error;
        d_best = d;
        memcpy(q, tried, n);
    }
    return d_best;
}

static void sums_of_16(int16_t *sum, const int8_t *q, size_t k) {
    for (size_t s = 0; s < k / 16; s++) {
        sum[s] = 0;
        for (size_t i = 0; i < 16; i++) sum[s] = (int16_t)(sum[s] + q[16 * s + i]);
    }
}

static void quantize_ref(int8_t *q, float *d, float *dsum, int16_t *sum, const float *x, size_t k) {
    for (size_t b = 0; b < k / 32; b++) d[b] = quantize_run(q + 32 * b, x + 32 * b, 32);
    sums_of_16(sum, q, k);
    for (size_t b = 0; b < k / 32; b++) dsum[b] = d[b] * (float)(sum[2 * b] + sum[2 * b + 1]);
}

static void quantize_groups_ref(int8_t *q, float *d, int16_t *sum, const float *x, size_t k) {
    const size_t n = SPN_ACT_GROUP;
    for (size_t g = 0; g < k / n; g++) d[g] = quantize_run(q + n * g, x + n * g, n);
    sums_of_16(sum, q, k);
}

/* ---- norms and softmax ---- */

static float softmax_ref(float *s, size_t n) {
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = spn_vm_max(max, s[i]);
    for (size_t i = 0; i < n; i++) s[i] = s[i] == -INFINITY ? 0.0f : spn_vm_exp(s[i] - max);
    return lane_sum(s, n);
}

static void rms_norm_ref(float *y, const float *x, const float *w, size_t n, float eps) {
    float r = 1.0f / sqrtf(dot_ref(x, x, n) / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = w ? (x[i] * r) * w[i] : x[i] * r;
}

static void layer_norm_ref(float *y, const float *x, const float *w, const float *b, size_t n,
                           float eps) {
    float m = lane_sum(x, n) / (float)n, lane[16] = {0};
    for (size_t i = 0; i < n; i++) {
        float c = x[i] - m;
        lane[i % 16] = fmaf(c, c, lane[i % 16]);
    }
    float r = 1.0f / sqrtf(spn_lane_fold(lane) / (float)n + eps);
    for (size_t i = 0; i < n; i++) {
        float v = (x[i] - m) * r;
        y[i] = w && b ? fmaf(v, w[i], b[i]) : w ? v * w[i] : b ? v + b[i] : v;
    }
}

/* ---- element by element ---- */

static void add_ref(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void mul_ref(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static void scale_ref(float *y, const float *x, float factor, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * factor;
}

static void add_scaled_ref(float *y, const float *x, float factor, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = fmaf(x[i], factor, y[i]);
}

static void add_product_ref(float *y, const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = fmaf(a[i], b[i], y[i]);
}

static void softcap_ref(float *y, const float *x, float cap, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = spn_vm_tanh(x[i] / cap) * cap;
}

static void silu_ref(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = spn_vm_silu(x[i]);
}

static void gelu_ref(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = spn_vm_gelu(x[i]);
}

static void sigmoid_ref(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = spn_vm_sigmoid(x[i]);
}

static void swiglu_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = spn_vm_silu(gate[i]) * up[i];
}

static void geglu_ref(float *y, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = spn_vm_gelu(gate[i]) * up[i];
}

static void rotate(float *x, size_t first, size_t second, const float *cs) {
    float a = x[first], b = x[second], c = cs[0], s = cs[1];
    x[first] = fmaf(a, c, -(b * s));
    x[second] = fmaf(a, s, b * c);
}

static void rope_interleaved_ref(float *x, const float *cs, size_t n_rot) {
    for (size_t i = 0; i < n_rot / 2; i++) rotate(x, 2 * i, 2 * i + 1, cs + 2 * i);
}

static void rope_split_ref(float *x, const float *cs, size_t n_rot) {
    for (size_t i = 0; i < n_rot / 2; i++) rotate(x, i, i + n_rot / 2, cs + 2 * i);
}

static size_t argmax_ref(const float *x, size_t n) {
    size_t at = 0;
    bool found = false;
    for (size_t i = 0; i < n; i++) {
        if (x[i] == x[i] && (!found || x[i] > x[at])) {
            at = i;
            found = true;
        }
    }
    return at;
}

/* ---- rows ---- */

/* The table's row functions know their type by themselves. */
#define ROW_TO(NAME)                                                       \
    static void to_f32_##NAME##_ref(float *y, const void *row, size_t k) { \
        spn_row_to_f32(SPN_TYPE_##NAME, y, row, k);                        \
    }
#define ROW_FROM(NAME)                                                       \
    static void from_f32_##NAME##_ref(void *row, const float *x, size_t k) { \
        spn_row_from_f32(SPN_TYPE_##NAME, row, x, k);                        \
    }
SPN_ROW_TYPES(ROW_TO)
SPN_KV_TYPES(ROW_FROM)

void spn_vec_init_ref(spn_kernels *table) {
#define SET_TO(NAME) table->to_f32[SPN_TYPE_##NAME] = to_f32_##NAME##_ref;
#define SET_FROM(NAME) table->from_f32[SPN_TYPE_##NAME] = from_f32_##NAME##_ref;
    SPN_ROW_TYPES(SET_TO)
    SPN_KV_TYPES(SET_FROM)
    table->quantize = quantize_ref;
    table->quantize_groups = quantize_groups_ref;
    table->softmax = softmax_ref;
    table->rms_norm = rms_norm_ref;
    table->layer_norm = layer_norm_ref;
    table->dot = dot_ref;
    table->add = add_ref;
    table->mul = mul_ref;
    table->scale = scale_ref;
    table->add_scaled = add_scaled_ref;
    table->add_product = add_product_ref;
    table->softcap = softcap_ref;
    table->silu = silu_ref;
    table->gelu = gelu_ref;
    table->sigmoid = sigmoid_ref;
    table->swiglu = swiglu_ref;
    table->geglu = geglu_ref;
    table->rope_interleaved = rope_interleaved_ref;
    table->rope_split = rope_split_ref;
    table->argmax = argmax_ref;
}
