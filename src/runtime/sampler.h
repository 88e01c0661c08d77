/* sampler.h - candidates for the next token and the filters that narrow them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Weights are unnormalised probabilities in double precision; a filter keeps some candidates and
 * the sum of their weights. Order among the kept ones is a function of the input alone, and all
 * arithmetic is plain IEEE double, so a draw is the same on every machine. */
#ifndef SPN_SAMPLER_H
#define SPN_SAMPLER_H

#include "base/base.h"

typedef struct spn_cand {
    double key;    /* what the present filter orders by */
    double weight; /* exp((logit - largest logit) / temperature) */
    int32_t id;
} spn_cand;

typedef struct spn_cands {
    spn_cand *items; /* room for [n_vocab] */
    size_t n;
    double total; /* sum of the weights */
} spn_cands;

/* exp for x <= 0 (0 below -708) and the natural logarithm for normal x > 0; error below 2 ulp. */
double spn_exp_neg(double x);
double spn_log_pos(double x);

/* All finite logits, or the k largest of them where k < n_vocab; weights are set. O(n log k). */
void spn_cands_fill(spn_cands *cands, const float *logits, size_t n_vocab, size_t k,
                    double temperature);
void spn_cands_typical(spn_cands *cands, double p);
void spn_cands_top_p(spn_cands *cands, double p);
/* Keeps weights of at least `least`, and the likeliest one in any case. */
void spn_cands_at_least(spn_cands *cands, double least);
double spn_cands_max(const spn_cands *cands);
/* The candidate at `u` in [0, 1) of the total. There must be one. */
const spn_cand *spn_cands_draw(const spn_cands *cands, double u);

#endif
