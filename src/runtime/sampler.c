/* sampler.c - the next token from logits: bias, penalties, DRY, filters, the draw.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The generator is xoshiro256** seeded by splitmix64 (Blackman and Vigna 2018, arXiv:1805.01407).
 * Everything is allocated at creation, but for the accepted tokens, which grow in accept: sampling
 * cannot fail. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "platform/os.h"
#include "runtime/sampler.h"
#include "spn/engine.h"

struct spn_sampler {
    spn_sampler_options opt; /* defaults filled in; bias and breakers are copies */
    uint32_t n_vocab;
    uint64_t seed;
    uint64_t state[4];
    double mirostat_mu; /* bits: the most information a token may have */

    bool has_penalty;
    bool has_dry;
    float *logits;   /* [n_vocab] those after bias and penalties; NULL where nothing changes them */
    spn_cands cands; /* room for [n_vocab], or for [top_k] where that is less */
    uint32_t *count; /* [n_vocab] occurrences in the penalty window; NULL without penalty */
    uint32_t *dry_length; /* [n_vocab] all 0 between calls; NULL without DRY */
    bool *is_breaker;     /* [n_vocab]; NULL without DRY */

    int32_t *history; /* [cap] accepted tokens; older than both windows are dropped */
    uint32_t *z;      /* [cap] scratch of DRY; NULL without */
    size_t n_history;
    size_t cap;
};

/* ---- the generator ---- */

static uint64_t splitmix64(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static uint64_t next_random(uint64_t s[4]) {
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Uniform in [0, 1): the upper 53 bits. */
static double next_uniform(uint64_t s[4]) { return (double)(next_random(s) >> 11) * 0x1p-53; }

/* ---- options ---- */

static void fill_defaults(spn_sampler_options *opt) {
    if (opt->temperature == 0) opt->temperature = 0.8f;
    if (opt->top_k == 0) opt->top_k = 40;
    if (opt->top_p == 0) opt->top_p = 0.95f;
    if (opt->typical_p == 0) opt->typical_p = 1;
    if (opt->repeat_penalty == 0) opt->repeat_penalty = 1;
    if (opt->repeat_last_n == 0) opt->repeat_last_n = 64;
    if (opt->dry_base == 0) opt->dry_base = 1.75f;
    if (opt->dry_allowed_length == 0) opt->dry_allowed_length = 2;
    if (opt->dry_last_n == 0) opt->dry_last_n = -1;
    if (opt->mirostat_tau == 0) opt->mirostat_tau = 5;
    if (opt->mirostat_eta == 0) opt->mirostat_eta = 0.1f;
}

static spn_status check_range(const char *name, float value, float low, float high,
                              spn_error *err) {
    if (value >= low && value <= high) return SPN_STATUS_OK;
    if (high < 1e9f)
        return SPN_FAIL(err, INVALID_ARGUMENT, "sampler: %s is %g; it must be from %g to %g", name,
                        (double)value, (double)low, (double)high);
    return SPN_FAIL(err, INVALID_ARGUMENT, "sampler: %s is %g; it must be at least %g and finite",
                    name, (double)value, (double)low);
}

static spn_status check_token(const char *name, int32_t token, uint32_t n_vocab, spn_error *err) {
    if (token >= 0 && (uint32_t)token < n_vocab) return SPN_STATUS_OK;
    return SPN_FAIL(err, INVALID_ARGUMENT, "sampler: %s names token %d; the vocabulary has 0 to %u",
                    name, token, n_vocab - 1);
}

static spn_status check_count(const char *name, int32_t value, spn_error *err) {
    if (value >= -1) return SPN_STATUS_OK;
    return SPN_FAIL(err, INVALID_ARGUMENT, "sampler: %s is %d; it must be -1 (all) or more", name,
                    value);
}

static spn_status check_lists(const spn_sampler_options *opt, uint32_t n_vocab, spn_error *err) {
    if ((opt->bias == NULL && opt->n_bias > 0) ||
        (opt->dry_breakers == NULL && opt->n_dry_breakers > 0))
        return SPN_FAIL(err, INVALID_ARGUMENT,
                        "sampler: bias or dry_breakers is NULL, but not empty");
    for (size_t i = 0; i < opt->n_bias; i++) {
        SPN_TRY(check_token("bias", opt->bias[i].token, n_vocab, err));
        float bias = opt->bias[i].bias;
        if (isnan(bias) || bias > 1e6f || (isfinite(bias) && bias < -1e6f))
            return SPN_FAIL(err, INVALID_ARGUMENT,
                            "sampler: the bias of token %d is %g; it must be from -1e6 to 1e6, or "
                            "-inf",
                            opt->bias[i].token, (double)bias);
    }
    for (size_t i = 0; i < opt->n_dry_breakers; i++)
        SPN_TRY(check_token("dry_breakers", opt->dry_breakers[i], n_vocab, err));
    return SPN_STATUS_OK;
}

static spn_status check_options(const spn_sampler_options *opt, uint32_t n_vocab, spn_error *err) {
    if (n_vocab == 0 || n_vocab > INT32_MAX)
        return SPN_FAIL(err, INVALID_ARGUMENT, "sampler: a vocabulary of %u tokens", n_vocab);
    SPN_TRY(check_range("temperature", opt->temperature, 1e-6f, FLT_MAX, err));
    SPN_TRY(check_range("top_p", opt->top_p, 0, 1, err));
    SPN_TRY(check_range("min_p", opt->min_p, 0, 1, err));
    SPN_TRY(check_range("typical_p", opt->typical_p, 0, 1, err));
    SPN_TRY(check_range("repeat_penalty", opt->repeat_penalty, 1e-6f, FLT_MAX, err));
    SPN_TRY(check_range("presence_penalty", opt->presence_penalty, -1000, 1000, err));
    SPN_TRY(check_range("frequency_penalty", opt->frequency_penalty, -1000, 1000, err));
    SPN_TRY(check_range("dry_multiplier", opt->dry_multiplier, 0, FLT_MAX, err));
    SPN_TRY(check_range("dry_base", opt->dry_base, 1, FLT_MAX, err));
    SPN_TRY(check_range("mirostat_tau", opt->mirostat_tau, 1e-6f, FLT_MAX, err));
    SPN_TRY(check_range("mirostat_eta", opt->mirostat_eta, 1e-6f, FLT_MAX, err));
    SPN_TRY(check_count("top_k", opt->top_k, err));
    SPN_TRY(check_count("repeat_last_n", opt->repeat_last_n, err));
    SPN_TRY(check_count("dry_last_n", opt->dry_last_n, err));
    return check_lists(opt, n_vocab, err);
}

/* ---- life ---- */

/* Below 2^53, so that it survives in JSON, whose numbers are doubles to many readers. */
static spn_status draw_seed(uint64_t *seed, spn_error *err) {
    while (*seed == 0) {
        SPN_TRY(spn_random_bytes(seed, sizeof *seed, err));
        *seed >>= 11;
    }
    return SPN_STATUS_OK;
}

static bool copy_bias(spn_sampler *s) {
    spn_logit_bias *copy = spn_alloc_array(s->opt.n_bias + 1, sizeof *copy);
    if (copy != NULL && s->opt.n_bias > 0) memcpy(copy, s->opt.bias, s->opt.n_bias * sizeof *copy);
    s->opt.bias = copy;
    return copy != NULL;
}

static bool prepare_dry(spn_sampler *s) {
    s->dry_length = spn_alloc_zeroed(s->n_vocab, sizeof *s->dry_length);
    s->is_breaker = spn_alloc_zeroed(s->n_vocab, sizeof *s->is_breaker);
    if (s->dry_length == NULL || s->is_breaker == NULL) return false;
    for (size_t i = 0; i < s->opt.n_dry_breakers; i++) s->is_breaker[s->opt.dry_breakers[i]] = true;
    return true;
}

static size_t n_kept(const spn_sampler *s) {
    bool all = s->opt.top_k < 0 || s->opt.mirostat || (uint32_t)s->opt.top_k > s->n_vocab;
    return all ? s->n_vocab : (size_t)s->opt.top_k;
}

static bool allocate(spn_sampler *s) {
    if (!copy_bias(s)) return false;
    if (s->has_dry && !prepare_dry(s)) return false;
    if (s->has_penalty) {
        s->count = spn_alloc_zeroed(s->n_vocab, sizeof *s->count);
        if (s->count == NULL) return false;
    }
    if (s->has_penalty || s->has_dry || s->opt.n_bias > 0) {
        s->logits = spn_alloc_array(s->n_vocab, sizeof *s->logits);
        if (s->logits == NULL) return false;
    }
    if (!s->opt.greedy) {
        s->cands.items = spn_alloc_array(n_kept(s), sizeof *s->cands.items);
        if (s->cands.items == NULL) return false;
    }
    return true;
}

spn_status spn_sampler_create(spn_sampler **out, uint32_t n_vocab,
                              const spn_sampler_options *options, spn_error *err) {
    spn_sampler_options opt = options ? *options : (spn_sampler_options){0};
    fill_defaults(&opt);
    SPN_TRY(check_options(&opt, n_vocab, err));
    uint64_t seed = opt.seed;
    SPN_TRY(draw_seed(&seed, err));
    spn_sampler *s = spn_alloc_zeroed(1, sizeof *s);
    if (s == NULL) return SPN_NO_MEMORY(err, "a sampler");
    s->opt = opt;
    s->n_vocab = n_vocab;
    s->seed = seed;
    for (int i = 0; i < 4; i++) s->state[i] = splitmix64(&seed);
    s->mirostat_mu = 2 * (double)opt.mirostat_tau;
    s->has_penalty =
        opt.repeat_penalty != 1 || opt.presence_penalty != 0 || opt.frequency_penalty != 0;
    s->has_dry = opt.dry_multiplier > 0;
    if (!allocate(s)) {
        spn_sampler_free(s);
        return SPN_NO_MEMORY(err, "a sampler");
    }
    *out = s;
    return SPN_STATUS_OK;
}

void spn_sampler_free(spn_sampler *s) {
    if (s == NULL) return;
    spn_free((void *)(uintptr_t)s->opt.bias);
    spn_free(s->logits);
    spn_free(s->cands.items);
    spn_free(s->count);
    spn_free(s->dry_length);
    spn_free(s->is_breaker);
    spn_free(s->history);
    spn_free(s->z);
    spn_free(s);
}

uint64_t spn_sampler_seed(const spn_sampler *s) { return s->seed; }

/* ---- the accepted tokens ---- */

static size_t window(int32_t last_n, size_t n) {
    return last_n < 0 ? n : spn_min_size((size_t)last_n, n);
}

/* Makes room for one more: by dropping tokens that no window reaches, or by growing. */
static bool make_room(spn_sampler *s) {
    size_t need = 0;
    if (s->n_history < s->cap) return true;
    if (s->has_penalty) need = window(s->opt.repeat_last_n, s->n_history);
    if (s->has_dry) need = spn_max_size(need, window(s->opt.dry_last_n, s->n_history));
    if (s->cap > 0 && need <= s->cap / 2) {
        memmove(s->history, s->history + (s->n_history - need), need * sizeof *s->history);
        s->n_history = need;
        return true;
    }
    size_t cap = s->cap ? s->cap * 2 : 256;
    int32_t *history = spn_realloc_array(s->history, cap, sizeof *history);
    if (history == NULL) return false;
    s->history = history;
    if (s->has_dry) {
        uint32_t *z = spn_realloc_array(s->z, cap, sizeof *z);
        if (z == NULL) return false;
        s->z = z;
    }
    s->cap = cap;
    return true;
}

spn_status spn_sampler_accept(spn_sampler *s, int32_t token, spn_error *err) {
    if (token < 0 || (uint32_t)token >= s->n_vocab)
        return SPN_FAIL(err, INVALID_ARGUMENT, "sampler: token %d is not in the vocabulary of %u",
                        token, s->n_vocab);
    if (!s->has_penalty && !s->has_dry) return SPN_STATUS_OK;
    if (!make_room(s)) return SPN_NO_MEMORY(err, "the sampler's history");
    s->history[s->n_history++] = token;
    if (s->has_penalty) {
        s->count[token]++;
        if (s->opt.repeat_last_n >= 0 && s->n_history > (size_t)s->opt.repeat_last_n)
            s->count[s->history[s->n_history - 1 - (size_t)s->opt.repeat_last_n]]--;
    }
    return SPN_STATUS_OK;
}

/* ---- what changes logits ---- */

/* Each token of the window once: its count is marked by the top bit until all are done. */
static void apply_penalties(spn_sampler *s) {
    const uint32_t done = 1u << 31;
    size_t n = window(s->opt.repeat_last_n, s->n_history);
    const int32_t *recent = n ? s->history + s->n_history - n : NULL;
    for (size_t i = 0; i < n; i++) {
        uint32_t *count = &s->count[recent[i]];
        float *logit = &s->logits[recent[i]];
        if (*count & done) continue;
        if (*logit > 0)
            *logit /= s->opt.repeat_penalty;
        else
            *logit *= s->opt.repeat_penalty;
        *logit -= (float)*count * s->opt.frequency_penalty + s->opt.presence_penalty;
        *count |= done;
    }
    for (size_t i = 0; i < n; i++) s->count[recent[i]] &= ~done;
}

/* The history read backwards, r[k] = last token but k; z[k] is how many tokens from r[k] on equal
 * those from r[0] on (Gusfield's Z algorithm, O(n)). */
static void z_of_reverse(uint32_t *z, const int32_t *newest, size_t n) {
    size_t left = 0, right = 0;
    for (size_t k = 1; k < n; k++) {
        size_t length = k < right ? spn_min_size(right - k, z[k - left]) : 0;
        while (k + length < n && *(newest - length) == *(newest - k - length)) length++;
        z[k] = (uint32_t)length;
        if (k + length > right) {
            left = k;
            right = k + length;
        }
    }
}

/* base^n, stopping at what takes any logit out of the race. */
static double power(double base, uint32_t n) {
    double result = 1;
    for (; n > 0 && result < 1e9 && base > 1; n--) result *= base;
    return result;
}

/* The z[k] tokens that end at r[k] equal the text's end, and r[k - 1] came next. */
static void apply_dry(spn_sampler *s) {
    size_t n = window(s->opt.dry_last_n, s->n_history), limit = 0;
    const int32_t *newest = n ? s->history + s->n_history - 1 : NULL;
    while (limit < n && !s->is_breaker[*(newest - limit)]) limit++;
    if (limit < s->opt.dry_allowed_length) return;
    z_of_reverse(s->z, newest, n);
    for (size_t k = 1; k < n; k++) {
        uint32_t length = (uint32_t)spn_min_size(s->z[k], limit);
        uint32_t *longest = &s->dry_length[*(newest - (k - 1))];
        if (length >= s->opt.dry_allowed_length && length > *longest) *longest = length;
    }
    for (size_t k = 1; k < n; k++) {
        int32_t token = *(newest - (k - 1));
        if (s->dry_length[token] == 0) continue;
        double times = power(s->opt.dry_base, s->dry_length[token] - s->opt.dry_allowed_length);
        s->logits[token] -= (float)((double)s->opt.dry_multiplier * times);
        s->dry_length[token] = 0;
    }
}

static const float *changed_logits(spn_sampler *s, const float *logits) {
    if (s->logits == NULL) return logits;
    memcpy(s->logits, logits, s->n_vocab * sizeof *logits);
    for (size_t i = 0; i < s->opt.n_bias; i++)
        s->logits[s->opt.bias[i].token] += s->opt.bias[i].bias;
    if (s->has_penalty) apply_penalties(s);
    if (s->has_dry) apply_dry(s);
    return s->logits;
}

/* ---- choosing ---- */

static int32_t likeliest(const float *logits, size_t n_vocab) {
    int32_t best = -1;
    for (size_t i = 0; i < n_vocab; i++)
        if (isfinite(logits[i]) && (best < 0 || logits[i] > logits[best])) best = (int32_t)i;
    return best;
}

/* Mirostat 2: tokens of more than mu bits are cut off; mu follows the error. */
static int32_t draw_mirostat(spn_sampler *s) {
    const double ln2 = 0x1.62e42fefa39efp-1;
    double total = s->cands.total;
    double exponent = -s->mirostat_mu * ln2;
    spn_cands_at_least(&s->cands, exponent < 0 ? total * spn_exp_neg(exponent) : total);
    const spn_cand *drawn = spn_cands_draw(&s->cands, next_uniform(s->state));
    double bits = spn_log_pos(total / drawn->weight) / ln2;
    s->mirostat_mu -= (double)s->opt.mirostat_eta * (bits - (double)s->opt.mirostat_tau);
    return drawn->id;
}

int32_t spn_sampler_sample(spn_sampler *s, const float *logits) {
    logits = changed_logits(s, logits);
    if (s->opt.greedy) return likeliest(logits, s->n_vocab);
    spn_cands_fill(&s->cands, logits, s->n_vocab, n_kept(s), s->opt.temperature);
    if (s->cands.n == 0) return -1;
    if (s->opt.mirostat) return draw_mirostat(s);
    if (s->opt.typical_p < 1) spn_cands_typical(&s->cands, s->opt.typical_p);
    if (s->opt.top_p < 1) spn_cands_top_p(&s->cands, s->opt.top_p);
    if (s->opt.min_p > 0)
        spn_cands_at_least(&s->cands, (double)s->opt.min_p * spn_cands_max(&s->cands));
    return spn_cands_draw(&s->cands, next_uniform(s->state))->id;
}
