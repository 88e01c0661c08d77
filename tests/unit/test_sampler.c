/* test_sampler.c - draws against exact distributions, each filter's law, penalties by arithmetic.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Distributions are tested by chi-square over 10^5 draws from fixed seeds; the limit is the
 * quantile at 1 - 1e-6, by the Wilson-Hilferty approximation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/sampler.h"
#include "spn/engine.h"

#define N_DRAWS 100000
#define MAX_VOCAB 64

static spn_sampler *create(uint32_t n_vocab, const spn_sampler_options *options) {
    spn_sampler *sampler = NULL;
    spn_error err = {0};
    if (spn_sampler_create(&sampler, n_vocab, options, &err) != SPN_STATUS_OK)
        fail_msg("%s", err.text);
    return sampler;
}

/* ---- chi-square ---- */

static double chi_square_limit(int freedom) {
    double k = freedom, z = 4.7534, a = 2 / (9 * k);
    return k * pow(1 - a + z * sqrt(a), 3);
}

/* `p` need not be normalised; tokens with p == 0 must never be drawn. */
static void check_draws(const float *logits, const double *p, uint32_t n,
                        const spn_sampler_options *options) {
    spn_sampler *sampler = create(n, options);
    uint32_t count[MAX_VOCAB] = {0};
    double total = 0, chi = 0;
    int freedom = -1;
    for (uint32_t i = 0; i < n; i++) total += p[i];
    for (int i = 0; i < N_DRAWS; i++) {
        int32_t token = spn_sampler_sample(sampler, logits);
        assert_in_range(token, 0, n - 1);
        count[token]++;
    }
    for (uint32_t i = 0; i < n; i++) {
        double expected = p[i] / total * N_DRAWS;
        if (p[i] == 0) {
            assert_int_equal(count[i], 0);
            continue;
        }
        chi += (count[i] - expected) * (count[i] - expected) / expected;
        freedom++;
    }
    if (freedom > 0 && chi > chi_square_limit(freedom))
        fail_msg("chi-square %g over %d degrees of freedom", chi, freedom);
    spn_sampler_free(sampler);
}

static const float logits8[8] = {1.5f, -0.5f, 3.0f, 0.25f, 2.5f, -2.0f, 2.75f, 0.0f};
/* Likeliest first: 2, 6, 4, 0, 3, 7, 1, 5. */

static void softmax8(double p[8], double temperature) {
    double total = 0;
    for (int i = 0; i < 8; i++) total += p[i] = exp((double)logits8[i] / temperature);
    for (int i = 0; i < 8; i++) p[i] /= total;
}

static const spn_sampler_options everything = {
    .temperature = 1, .top_k = -1, .top_p = 1, .seed = 20240601};

static void draws_follow_softmax(void **state) {
    (void)state;
    double p[8];
    spn_sampler_options opt = everything;
    softmax8(p, 1);
    check_draws(logits8, p, 8, &opt);
    softmax8(p, 0.5);
    opt.temperature = 0.5f;
    check_draws(logits8, p, 8, &opt);
    softmax8(p, 3);
    opt.temperature = 3;
    check_draws(logits8, p, 8, &opt);
}

/* A wrong expectation must be caught, else the tests above say nothing. */
static void chi_square_has_teeth(void **state) {
    (void)state;
    double p[8], chi = 0;
    uint32_t count[8] = {0};
    spn_sampler *sampler = create(8, &everything);
    softmax8(p, 1.05);
    for (int i = 0; i < N_DRAWS; i++) count[spn_sampler_sample(sampler, logits8)]++;
    for (int i = 0; i < 8; i++) chi += pow(count[i] - p[i] * N_DRAWS, 2) / (p[i] * N_DRAWS);
    assert_true(chi > chi_square_limit(7));
    spn_sampler_free(sampler);
}

static void top_k_keeps_the_largest(void **state) {
    (void)state;
    double p[8];
    spn_sampler_options opt = everything;
    softmax8(p, 1);
    p[3] = p[7] = p[1] = p[5] = 0;
    opt.top_k = 4;
    check_draws(logits8, p, 8, &opt);
    opt.top_k = 1;
    spn_sampler *sampler = create(8, &opt);
    for (int i = 0; i < 1000; i++) assert_int_equal(spn_sampler_sample(sampler, logits8), 2);
    spn_sampler_free(sampler);
}

/* Probabilities: 2 .3675, 6 .2862, 4 .2229, 0 .0820, 3 .0235, 7 .0183, 1 .0111, 5 .0025. */
static void top_p_keeps_the_least_set(void **state) {
    (void)state;
    double p[8];
    spn_sampler_options opt = everything;
    softmax8(p, 1);
    assert_true(p[2] + p[6] < 0.7 && p[2] + p[6] + p[4] > 0.8);
    p[0] = p[3] = p[7] = p[1] = p[5] = 0;
    opt.top_p = 0.7f;
    check_draws(logits8, p, 8, &opt);
    opt.top_p = 0.8f;
    check_draws(logits8, p, 8, &opt);
    opt.top_p = 0.01f; /* one stays in any case */
    p[6] = p[4] = 0;
    check_draws(logits8, p, 8, &opt);
}

static void min_p_is_relative(void **state) {
    (void)state;
    double p[8], least;
    spn_sampler_options opt = everything;
    softmax8(p, 1);
    least = 0.2 * p[2];
    assert_true(p[0] > least && p[3] < least);
    for (int i = 0; i < 8; i++)
        if (p[i] < least) p[i] = 0;
    opt.min_p = 0.2f;
    check_draws(logits8, p, 8, &opt);
}

/* By the definition: sort by |-ln p - H|, keep until p is reached. */
static void typical_follows_its_definition(void **state) {
    (void)state;
    double p[8], deviation[8], entropy = 0, sum = 0;
    bool kept[8] = {false};
    spn_sampler_options opt = everything;
    softmax8(p, 1);
    for (int i = 0; i < 8; i++) entropy -= p[i] * log(p[i]);
    for (int i = 0; i < 8; i++) deviation[i] = fabs(-log(p[i]) - entropy);
    while (sum < 0.5) {
        int best = -1;
        for (int i = 0; i < 8; i++)
            if (!kept[i] && (best < 0 || deviation[i] < deviation[best])) best = i;
        kept[best] = true;
        sum += p[best];
    }
    assert_false(kept[2]); /* else it would be top-p here */
    for (int i = 0; i < 8; i++)
        if (!kept[i]) p[i] = 0;
    opt.typical_p = 0.5f;
    check_draws(logits8, p, 8, &opt);
}

static void bias_shifts_and_forbids(void **state) {
    (void)state;
    double p[8];
    const spn_logit_bias bias[] = {{2, -INFINITY}, {5, 3.0f}};
    spn_sampler_options opt = everything;
    opt.bias = bias;
    opt.n_bias = 2;
    softmax8(p, 1);
    p[2] = 0;
    p[5] *= exp(3.0);
    check_draws(logits8, p, 8, &opt);
}

/* ---- penalties ---- */

/* Token 2 twice, token 5 once in the window; token 0 has left it. */
static void penalties_follow_their_formulas(void **state) {
    (void)state;
    double p[8];
    spn_sampler_options opt = everything;
    opt.repeat_penalty = 1.5f;
    opt.presence_penalty = 0.25f;
    opt.frequency_penalty = 0.5f;
    opt.repeat_last_n = 3;
    const int32_t text[] = {0, 0, 2, 5, 2};
    for (int i = 0; i < 8; i++) p[i] = exp((double)logits8[i]);
    p[2] = exp(3.0 / 1.5 - 2 * 0.5 - 0.25);
    p[5] = exp(-2.0 * 1.5 - 0.5 - 0.25);
    spn_sampler *sampler = create(8, &opt);
    uint32_t count[8] = {0};
    double total = 0, chi = 0;
    for (size_t i = 0; i < 5; i++) assert_int_equal(spn_sampler_accept(sampler, text[i], NULL), 0);
    for (int i = 0; i < N_DRAWS; i++) count[spn_sampler_sample(sampler, logits8)]++;
    for (int i = 0; i < 8; i++) total += p[i];
    for (int i = 0; i < 8; i++)
        chi += pow(count[i] - p[i] / total * N_DRAWS, 2) / (p[i] / total * N_DRAWS);
    assert_true(chi < chi_square_limit(7));
    spn_sampler_free(sampler);
}

/* The window's counts stay right while old tokens are dropped from the history. */
static void long_histories_keep_their_window(void **state) {
    (void)state;
    const float logits[3] = {1, 1.5f, 0};
    spn_sampler_options opt = {.greedy = true, .presence_penalty = 1, .repeat_last_n = 10};
    spn_sampler *sampler = create(3, &opt);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(spn_sampler_accept(sampler, i % 37 == 0 ? 1 : 2, NULL), SPN_STATUS_OK);
        /* Token 1 is recent, so penalised, for the ten tokens that begin with it. */
        assert_int_equal(spn_sampler_sample(sampler, logits), i % 37 < 10 ? 0 : 1);
    }
    spn_sampler_free(sampler);
}

static int32_t greedy_after(const int32_t *text, size_t n, const float *logits,
                            const spn_sampler_options *opt) {
    spn_sampler *sampler = create(8, opt);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(spn_sampler_accept(sampler, text[i], NULL), SPN_STATUS_OK);
    int32_t token = spn_sampler_sample(sampler, logits);
    assert_int_equal(spn_sampler_sample(sampler, logits), token); /* no state left behind */
    spn_sampler_free(sampler);
    return token;
}

static void dry_stops_repetitions(void **state) {
    (void)state;
    /* "1 2 3 4 ... 1 2 3": token 4 would make four of it; the match is 3 long. */
    const int32_t text[] = {1, 2, 3, 4, 7, 1, 2, 3};
    float logits[8] = {0, 0, 0, 0, 5, 0, 3, 0};
    spn_sampler_options opt = {.greedy = true, .dry_multiplier = 1, .dry_base = 2};
    /* Length 3, allowed 2: 1 * 2^1 = 2, so 4 keeps 3 and ties with 6: the lower id wins. */
    assert_int_equal(greedy_after(text, 8, logits, &opt), 4);
    logits[6] = 3.01f;
    assert_int_equal(greedy_after(text, 8, logits, &opt), 6);
    opt.dry_allowed_length = 3; /* 1 * 2^0 = 1 */
    assert_int_equal(greedy_after(text, 8, logits, &opt), 4);
    opt.dry_allowed_length = 4; /* not long enough */
    logits[6] = 4.99f;
    assert_int_equal(greedy_after(text, 8, logits, &opt), 4);
    opt.dry_allowed_length = 2;
    logits[6] = 3.01f;
    opt.dry_last_n = 6; /* the window begins after "1 2": the match shrinks to one token */
    assert_int_equal(greedy_after(text, 8, logits, &opt), 4);
    opt.dry_last_n = 0;
    const int32_t breakers[] = {2};
    opt.dry_breakers = breakers;
    opt.n_dry_breakers = 1; /* only "3" behind the breaker counts: too short */
    assert_int_equal(greedy_after(text, 8, logits, &opt), 4);
}

/* The same penalty by brute force over random texts. */
static void dry_equals_brute_force(void **state) {
    (void)state;
    uint32_t random = 12345;
    for (int round = 0; round < 200; round++) {
        int32_t text[40];
        float logits[8];
        double worst[8] = {0};
        size_t n = 5 + (size_t)round % 36;
        for (size_t i = 0; i < n; i++)
            text[i] = (int32_t)((random = random * 1664525 + 1013904223) >> 30);
        for (int i = 0; i < 8; i++)
            logits[i] = (float)((random = random * 1664525 + 1013904223) >> 24) / 64;
        for (size_t end = 1; end < n; end++) { /* text[end] followed a match that ends before it */
            size_t length = 0;
            while (length < end && text[end - 1 - length] == text[n - 1 - length]) length++;
            if (length >= 2)
                worst[text[end]] = fmax(worst[text[end]], 0.5 * pow(1.25, (double)length - 2));
        }
        int best = 0;
        for (int i = 1; i < 8; i++)
            if ((float)(logits[i] - (float)worst[i]) > (float)(logits[best] - (float)worst[best]))
                best = i;
        spn_sampler_options opt = {.greedy = true, .dry_multiplier = 0.5f, .dry_base = 1.25f};
        assert_int_equal(greedy_after(text, n, logits, &opt), best);
    }
}

/* ---- mirostat ---- */

/* Over a flat distribution of 64 tokens (6 bits each) a target of 3 bits cannot be met by cutting,
 * as all are equal; over a geometric one, p_i = 2^-(i+1), the mean information of the drawn tokens
 * comes close to the target. */
static void mirostat_meets_its_target(void **state) {
    (void)state;
    float logits[MAX_VOCAB];
    for (int i = 0; i < MAX_VOCAB; i++) logits[i] = -(float)(i * log(2.0) / 4);
    spn_sampler_options opt = {.mirostat = true, .mirostat_tau = 3, .temperature = 1, .seed = 7};
    spn_sampler *sampler = create(MAX_VOCAB, &opt);
    double total = 0, bits = 0;
    for (int i = 0; i < MAX_VOCAB; i++) total += exp((double)logits[i]);
    for (int i = 0; i < 20000; i++) {
        int32_t token = spn_sampler_sample(sampler, logits);
        if (i >= 1000) bits += log2(total / exp((double)logits[token])) / 19000;
    }
    assert_true(fabs(bits - 3) < 0.05);
    spn_sampler_free(sampler);
}

/* ---- the rest ---- */

static void greedy_takes_the_first_largest(void **state) {
    (void)state;
    const float ties[5] = {1, 4, NAN, 4, INFINITY};
    const float none[5] = {NAN, -INFINITY, INFINITY, NAN, NAN};
    spn_sampler_options opt = {.greedy = true};
    spn_sampler *sampler = create(5, &opt);
    assert_int_equal(spn_sampler_sample(sampler, ties), 1);
    assert_int_equal(spn_sampler_sample(sampler, none), -1);
    spn_sampler_free(sampler);
    sampler = create(5, &everything);
    for (int i = 0; i < 100; i++) {
        int32_t token = spn_sampler_sample(sampler, ties);
        assert_true(token == 0 || token == 1 || token == 3);
    }
    assert_int_equal(spn_sampler_sample(sampler, none), -1);
    spn_sampler_free(sampler);
}

static void seeds_repeat(void **state) {
    (void)state;
    spn_sampler *a = create(8, &everything), *b = create(8, &everything);
    assert_int_equal(spn_sampler_seed(a), everything.seed);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(spn_sampler_sample(a, logits8), spn_sampler_sample(b, logits8));
    spn_sampler_free(a);
    spn_sampler_free(b);
    a = create(8, NULL);
    b = create(8, NULL);
    assert_true(spn_sampler_seed(a) != 0);
    assert_true(spn_sampler_seed(a) != spn_sampler_seed(b));
    spn_sampler_free(a);
    spn_sampler_free(b);
}

/* The bounded heap against a sort, on a vocabulary of real size with many equal logits. */
static int descending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}
static void top_k_equals_a_sort(void **state) {
    (void)state;
    const size_t n = 150000, k = 40;
    float *logits = malloc(n * sizeof *logits), *sorted = malloc(n * sizeof *sorted);
    spn_cands cands = {.items = malloc(k * sizeof *cands.items)};
    uint32_t random = 99;
    assert_true(logits && sorted && cands.items);
    for (size_t i = 0; i < n; i++)
        logits[i] = (float)((random = random * 1664525 + 1013904223) >> 12);
    memcpy(sorted, logits, n * sizeof *logits);
    qsort(sorted, n, sizeof *sorted, descending);
    spn_cands_fill(&cands, logits, n, k, 1);
    assert_int_equal(cands.n, k);
    for (size_t i = 0; i < k; i++) {
        assert_true(logits[cands.items[i].id] >= sorted[k - 1]);
        for (size_t j = 0; j < i; j++) assert_int_not_equal(cands.items[i].id, cands.items[j].id);
    }
    free(cands.items);
    free(sorted);
    free(logits);
}

static void own_exp_and_log_are_accurate(void **state) {
    (void)state;
    for (double x = 0; x > -700; x -= 0.0371)
        assert_true(fabs(spn_exp_neg(x) / exp(x) - 1) < 5e-16);
    assert_true(spn_exp_neg(0) == 1);
    assert_true(spn_exp_neg(-709) == 0 && spn_exp_neg(-INFINITY) == 0);
    for (double x = 1e-300; x < 1e300; x *= 1.0317)
        assert_true(fabs(spn_log_pos(x) - log(x)) <= 5e-16 * fmax(1, fabs(log(x))));
    assert_true(spn_log_pos(1) == 0);
}

static void bad_options_are_named(void **state) {
    (void)state;
    const spn_logit_bias outside = {8, 1}, not_a_number = {0, NAN};
    const int32_t breaker = -1;
    const struct {
        spn_sampler_options opt;
        const char *word;
    } cases[] = {
        {{.temperature = -1}, "temperature"},
        {{.temperature = NAN}, "temperature"},
        {{.temperature = INFINITY}, "temperature"},
        {{.top_k = -2}, "top_k"},
        {{.top_p = 1.5f}, "top_p"},
        {{.top_p = -0.1f}, "top_p"},
        {{.min_p = 2}, "min_p"},
        {{.typical_p = 1.1f}, "typical_p"},
        {{.repeat_penalty = -1}, "repeat_penalty"},
        {{.repeat_last_n = -2}, "repeat_last_n"},
        {{.presence_penalty = NAN}, "presence_penalty"},
        {{.frequency_penalty = INFINITY}, "frequency_penalty"},
        {{.dry_multiplier = -1}, "dry_multiplier"},
        {{.dry_base = 0.5f}, "dry_base"},
        {{.dry_last_n = -5}, "dry_last_n"},
        {{.mirostat_tau = -1}, "mirostat_tau"},
        {{.mirostat_eta = NAN}, "mirostat_eta"},
        {{.bias = &outside, .n_bias = 1}, "bias"},
        {{.bias = &not_a_number, .n_bias = 1}, "bias"},
        {{.dry_breakers = &breaker, .n_dry_breakers = 1}, "dry_breakers"},
        {{.n_bias = 1}, "bias"},
    };
    for (size_t i = 0; i < SPN_COUNT(cases); i++) {
        spn_sampler *sampler = NULL;
        spn_error err = {0};
        assert_int_equal(spn_sampler_create(&sampler, 8, &cases[i].opt, &err),
                         SPN_STATUS_INVALID_ARGUMENT);
        assert_null(sampler);
        if (strstr(err.text, cases[i].word) == NULL) fail_msg("'%s'", err.text);
    }
    spn_sampler *sampler = create(8, NULL);
    assert_int_equal(spn_sampler_accept(sampler, 8, NULL), SPN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(spn_sampler_accept(sampler, -1, NULL), SPN_STATUS_INVALID_ARGUMENT);
    spn_sampler_free(sampler);
    spn_sampler_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_softmax),
        cmocka_unit_test(chi_square_has_teeth),
        cmocka_unit_test(top_k_keeps_the_largest),
        cmocka_unit_test(top_p_keeps_the_least_set),
        cmocka_unit_test(min_p_is_relative),
        cmocka_unit_test(typical_follows_its_definition),
        cmocka_unit_test(bias_shifts_and_forbids),
        cmocka_unit_test(penalties_follow_their_formulas),
        cmocka_unit_test(long_histories_keep_their_window),
        cmocka_unit_test(dry_stops_repetitions),
        cmocka_unit_test(dry_equals_brute_force),
        cmocka_unit_test(mirostat_meets_its_target),
        cmocka_unit_test(greedy_takes_the_first_largest),
        cmocka_unit_test(seeds_repeat),
        cmocka_unit_test(top_k_equals_a_sort),
        cmocka_unit_test(own_exp_and_log_are_accurate),
        cmocka_unit_test(bad_options_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
