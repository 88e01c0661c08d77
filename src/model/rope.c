/* rope.c - tables of rotation: plain, linear, YaRN, Llama 3's and LongRoPE's factors.
 * SPDX-License-Identifier: Apache-2.0
 *
 * RoPE: arXiv:2104.09864. YaRN: arXiv:2309.00071. LongRoPE: arXiv:2402.13753. */
#include <math.h>
#include <string.h>

#include "model/network.h"

typedef struct rope_scaling {
    enum { SCALING_NONE, SCALING_LINEAR, SCALING_YARN, SCALING_LONGROPE } kind;
    float factor, attn_factor, log_multiplier, beta_fast, beta_slow;
    uint32_t n_ctx_original;
} rope_scaling;

static spn_status read_kind(spn_loader *loader, rope_scaling *out, spn_error *err) {
    spn_gguf_str kind = {"linear", 6};
    SPN_TRY(spn_loader_str(loader, "rope.scaling.type", false, &kind, err));
    static const char *const names[] = {"none", "linear", "yarn", "longrope"};
    for (size_t i = 0; i < SPN_COUNT(names); i++)
        if (kind.len == strlen(names[i]) && memcmp(kind.data, names[i], kind.len) == 0) {
            out->kind = (int)i;
            return SPN_STATUS_OK;
        }
    return SPN_FAIL(err, FORMAT, "%s.rope.scaling.type '%.*s' is not known",
                    loader->network->arch->name, (int)spn_min_size(kind.len, 64), kind.data);
}

static spn_status read_scaling(spn_loader *loader, rope_scaling *out, spn_error *err) {
    *out = (rope_scaling){.factor = 1, .attn_factor = 1, .beta_fast = 32, .beta_slow = 1};
    out->n_ctx_original = loader->network->n_ctx_train;
    bool named = spn_loader_has(loader, "rope.scaling.factor");
    SPN_TRY(read_kind(loader, out, err));
    SPN_TRY(spn_loader_f32(loader, named ? "rope.scaling.factor" : "rope.scale_linear", false,
                           &out->factor, err));
    if (out->factor == 0) out->factor = 1;
    SPN_TRY(spn_loader_f32(loader, "rope.scaling.attn_factor", false, &out->attn_factor, err));
    SPN_TRY(spn_loader_u32(loader, "rope.scaling.original_context_length", false,
                           &out->n_ctx_original, err));
    if (loader->rope.yarn_log)
        SPN_TRY(spn_loader_f32(loader, "rope.scaling.yarn_log_multiplier", false,
                               &out->log_multiplier, err));
    if (loader->rope.yarn_betas) {
        SPN_TRY(spn_loader_f32(loader, "rope.scaling.yarn_beta_fast", false, &out->beta_fast, err));
        SPN_TRY(spn_loader_f32(loader, "rope.scaling.yarn_beta_slow", false, &out->beta_slow, err));
    }
    if (out->factor < 0 || out->n_ctx_original == 0)
        return SPN_FAIL(err, FORMAT, "rope.scaling: a factor of %g over a context of %u",
                        (double)out->factor, out->n_ctx_original);
    return SPN_STATUS_OK;
}

/* The pair whose wave turns `turns` times over the original context. */
static double turning_pair(const rope_scaling *scaling, size_t n_rot, double base, double turns) {
    return (double)n_rot * log(scaling->n_ctx_original / (turns * 2 * M_PI)) / (2 * log(base));
}

static double yarn_frequency(const rope_scaling *scaling, size_t n_rot, double base, size_t i,
                             double frequency) {
    double low = floor(turning_pair(scaling, n_rot, base, (double)scaling->beta_fast));
    double high = ceil(turning_pair(scaling, n_rot, base, (double)scaling->beta_slow));
    low = fmax(0, low);
    high = fmin((double)n_rot - 1, high);
    double at = ((double)i - low) / fmax(0.001, high - low);
    double ramp = 1 - fmin(1, fmax(0, at));
    return frequency / (double)scaling->factor * (1 - ramp) + frequency * ramp;
}

static const double *frequencies(spn_loader *loader, const rope_scaling *scaling, size_t n_rot,
                                 double base, const float *factors) {
    double *out = spn_arena_array(&loader->network->arena, n_rot / 2 + 1, sizeof *out);
    if (out == NULL) return NULL;
    for (size_t i = 0; i < n_rot / 2; i++) {
        double frequency = pow(base, -2.0 * (double)i / (double)n_rot);
        if (factors != NULL) frequency /= (double)factors[i];
        if (scaling->kind == SCALING_LINEAR) frequency /= (double)scaling->factor;
        if (scaling->kind == SCALING_YARN)
            frequency = yarn_frequency(scaling, n_rot, base, i, frequency);
        const uint32_t *sections = loader->rope.sections;
        if (sections != NULL && i >= 3 * (size_t)sections[i % 3]) frequency = 0;
        out[i] = frequency;
    }
    return out;
}

static float magnitude_of(const spn_loader *loader, const rope_scaling *scaling) {
    if (scaling->kind == SCALING_LONGROPE) return scaling->attn_factor;
    if (scaling->kind != SCALING_YARN) return 1;
    if (loader->rope.own_magnitude) return loader->rope.magnitude;
    float log_factor = logf(scaling->factor), m = 1 + 0.1f * log_factor;
    if (scaling->log_multiplier != 0) m /= 1 + 0.1f * scaling->log_multiplier * log_factor;
    return m * scaling->attn_factor;
}

/* `freqs`: rope_freqs.weight; else, under LongRoPE, the two tables for short and long contexts. */
static spn_status prepare_full(spn_loader *loader, rope_scaling *scaling, float base,
                               spn_error *err) {
    const float *freqs = NULL, *factors_short = NULL, *factors_long = NULL;
    size_t n_rot = loader->rope.n_rot;
    unsigned flags = loader->network->arch->flags;
    spn_rope *rope = &loader->network->rope[SPN_ROPE_FULL];
    if (flags & SPN_ARCH_ROPE_FREQS)
        SPN_TRY(spn_bind_vector(loader, -1, "rope_freqs.weight", false, n_rot / 2, &freqs, err));
    if (flags & SPN_ARCH_LONGROPE) {
        bool required = scaling->kind == SCALING_LONGROPE;
        SPN_TRY(spn_bind_vector(loader, -1, "rope_factors_long.weight", required, n_rot / 2,
                                &factors_long, err));
        SPN_TRY(spn_bind_vector(loader, -1, "rope_factors_short.weight", required, n_rot / 2,
                                &factors_short, err));
    }
    if (factors_long != NULL) scaling->kind = SCALING_LONGROPE; /* old files do not say so */
    if (freqs == NULL) freqs = factors_short;
    *rope = (spn_rope){.n_rot = n_rot, .n_ctx_short = scaling->n_ctx_original};
    rope->magnitude = magnitude_of(loader, scaling);
    rope->inv_freq = frequencies(loader, scaling, n_rot, (double)base, freqs);
    if (factors_long != NULL)
        rope->inv_freq_long = frequencies(loader, scaling, n_rot, (double)base, factors_long);
    if (rope->inv_freq == NULL || (factors_long != NULL && rope->inv_freq_long == NULL))
        return SPN_NO_MEMORY(err, "the rotation's table");
    return SPN_STATUS_OK;
}

static spn_status prepare_windowed(spn_loader *loader, const rope_scaling *full, float base,
                                   spn_error *err) {
    static const rope_scaling none = {.kind = SCALING_NONE, .factor = 1, .attn_factor = 1};
    const rope_scaling *scaling = loader->rope.windowed_unscaled ? &none : full;
    size_t n_rot = loader->rope.n_rot_windowed;
    if (loader->rope.base_windowed > 0) base = loader->rope.base_windowed;
    SPN_TRY(spn_loader_f32(loader, "rope.freq_base_swa", false, &base, err));
    if (!(base > 0)) return SPN_FAIL(err, FORMAT, "rope.freq_base_swa must be above 0");
    spn_rope *rope = &loader->network->rope[SPN_ROPE_WINDOWED];
    *rope = (spn_rope){.n_rot = n_rot, .magnitude = magnitude_of(loader, scaling)};
    rope->inv_freq = frequencies(loader, scaling, n_rot, (double)base, NULL);
    if (rope->inv_freq == NULL) return SPN_NO_MEMORY(err, "the rotation's table");
    return SPN_STATUS_OK;
}

spn_status spn_rope_prepare(spn_loader *loader, spn_error *err) {
    if (loader->network->arch->rope == SPN_ROPE_NONE) return SPN_STATUS_OK;
    rope_scaling scaling;
    float base = 10000;
    SPN_TRY(read_scaling(loader, &scaling, err));
    SPN_TRY(spn_loader_f32(loader, "rope.freq_base", false, &base, err));
    if (!(base > 0)) return SPN_FAIL(err, FORMAT, "rope.freq_base must be above 0");
    SPN_TRY(prepare_full(loader, &scaling, base, err));
    if (loader->rope.n_rot_windowed > 0) SPN_TRY(prepare_windowed(loader, &scaling, base, err));
    return SPN_STATUS_OK;
}
