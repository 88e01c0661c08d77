/* sampler_filter.c - the candidates' heap, weights and filters.
 * SPDX-License-Identifier: Apache-2.0
 *
 * One binary heap serves everything: a bounded one (worst at the root) finds the k best of the
 * vocabulary in one pass, and an unbounded one (best at the root) gives candidates in order for as
 * long as a filter asks for more. Nothing is ever sorted whole. */
#include <math.h>
#include <string.h>

#include "runtime/sampler.h"

/* ---- exp and log ---- */

/* exp(x) = 2^k exp(r), r = x - k ln 2 in [-0.347, 0.347], by Taylor's series to r^13 (the first
 * term left out is below 5e-18). ln 2 in two parts, after Cody and Waite, keeps r exact. */
double spn_exp_neg(double x) {
    // clang-format off
    static const double terms[] = {/* 1 / i! from 13! on down */
        1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
        1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 1.0 / 2, 1, 1};
    // clang-format on
    static const double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    if (!(x > -708)) return 0;
    /* Adding and taking 1.5 * 2^52 rounds to a whole number, without a call of rint(). */
    double k = (x * 0x1.71547652b82fep+0 + 0x1.8p52) - 0x1.8p52;
    double r = (x - k * ln2_high) - k * ln2_low;
    double sum = terms[0];
    for (size_t i = 1; i < SPN_COUNT(terms); i++) sum = sum * r + terms[i];
    uint64_t bits = (uint64_t)(1023 + (int64_t)k) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

/* x = 2^k m, m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.172, by
 * the series in s to s^23. */
double spn_log_pos(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t k = (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m >= 0x1.6a09e667f3bcdp+0) {
        m /= 2;
        k++;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int i = 23; i >= 3; i -= 2) sum = (sum + 1.0 / i) * s2;
    return (double)k * 0x1.62e42fefa39efp-1 + 2 * s * (1 + sum);
}

/* ---- the heap: largest key first, lowest id first among equals ---- */

static bool comes_before(const spn_cand *a, const spn_cand *b) {
    return a->key > b->key || (a->key == b->key && a->id < b->id);
}

static void sift_down(spn_cand *items, size_t n, size_t i) {
    spn_cand moving = items[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && comes_before(&items[child + 1], &items[child])) child++;
        if (!comes_before(&items[child], &moving)) break;
        items[i] = items[child];
    }
    items[i] = moving;
}

static void heapify(spn_cand *items, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift_down(items, n, i);
}

/* ---- filling ---- */

/* The k largest logits: a heap of k with the worst one at its root, which is the same heap with
 * keys and ids negated. */
static size_t fill_top_k(spn_cand *items, const float *logits, size_t n_vocab, size_t k) {
    size_t n = 0, i = 0;
    for (; i < n_vocab && n < k; i++)
        if (isfinite(logits[i])) items[n++] = (spn_cand){.key = -logits[i], .id = ~(int32_t)i};
    heapify(items, n);
    for (float worst = n ? (float)-items[0].key : 0; i < n_vocab; i++) {
        if (!(logits[i] > worst) || !isfinite(logits[i])) continue;
        items[0] = (spn_cand){.key = -logits[i], .id = ~(int32_t)i};
        sift_down(items, n, 0);
        worst = (float)-items[0].key;
    }
    for (i = 0; i < n; i++) items[i] = (spn_cand){.key = -items[i].key, .id = ~items[i].id};
    return n;
}

static size_t fill_all(spn_cand *items, const float *logits, size_t n_vocab) {
    size_t n = 0;
    for (size_t i = 0; i < n_vocab; i++)
        if (isfinite(logits[i])) items[n++] = (spn_cand){.key = logits[i], .id = (int32_t)i};
    return n;
}

void spn_cands_fill(spn_cands *cands, const float *logits, size_t n_vocab, size_t k,
                    double temperature) {
    spn_cand *items = cands->items;
    cands->n =
        k < n_vocab ? fill_top_k(items, logits, n_vocab, k) : fill_all(items, logits, n_vocab);
    double max = -INFINITY;
    for (size_t i = 0; i < cands->n; i++)
        if (items[i].key > max) max = items[i].key;
    cands->total = 0;
    for (size_t i = 0; i < cands->n; i++) {
        items[i].weight = spn_exp_neg((items[i].key - max) / temperature);
        cands->total += items[i].weight;
    }
}

/* ---- filters ---- */

/* Keeps the first candidates by key whose weights together reach `limit`. They gather, best first,
 * at the back of the array, behind the shrinking heap. */
static void keep_best(spn_cands *cands, double limit) {
    spn_cand *items = cands->items;
    size_t n_heap = cands->n;
    double total = 0;
    heapify(items, n_heap);
    while (n_heap > 0 && (total < limit || n_heap == cands->n)) {
        spn_cand best = items[0];
        items[0] = items[--n_heap];
        if (n_heap > 0) sift_down(items, n_heap, 0);
        items[n_heap] = best;
        total += best.weight;
    }
    cands->n -= n_heap;
    memmove(items, items + n_heap, cands->n * sizeof *items);
    cands->total = total;
}

/* All candidates lighter than (1 - p) / n of the total weigh together less than the 1 - p that may
 * be missing, so none of them is needed: mostly few are left to be ordered. (The factor covers the
 * sums' rounding.) */
void spn_cands_top_p(spn_cands *cands, double p) {
    double total = cands->total, least = 0.9 * (1 - p) * total / (double)(cands->n + 1);
    size_t n = 0;
    for (size_t i = 0; i < cands->n; i++) {
        if (cands->items[i].weight < least) continue;
        cands->items[n] = cands->items[i];
        cands->items[n].key = cands->items[n].weight;
        n++;
    }
    cands->n = n;
    keep_best(cands, p * total);
}

/* A token's information is -ln p; the expected one is the entropy H = -sum p ln p. */
void spn_cands_typical(spn_cands *cands, double p) {
    double log_total = spn_log_pos(cands->total), entropy = 0;
    for (size_t i = 0; i < cands->n; i++) {
        spn_cand *cand = &cands->items[i];
        cand->key = cand->weight > 0 ? log_total - spn_log_pos(cand->weight) : HUGE_VAL;
        if (cand->weight > 0) entropy += cand->weight / cands->total * cand->key;
    }
    for (size_t i = 0; i < cands->n; i++)
        cands->items[i].key = -fabs(cands->items[i].key - entropy);
    keep_best(cands, p * cands->total);
}

double spn_cands_max(const spn_cands *cands) {
    double max = 0;
    for (size_t i = 0; i < cands->n; i++)
        if (cands->items[i].weight > max) max = cands->items[i].weight;
    return max;
}

void spn_cands_at_least(spn_cands *cands, double least) {
    double max = spn_cands_max(cands), total = 0;
    size_t n = 0;
    if (least > max) least = max;
    for (size_t i = 0; i < cands->n; i++) {
        if (cands->items[i].weight < least) continue;
        total += cands->items[i].weight;
        cands->items[n++] = cands->items[i];
    }
    cands->n = n;
    cands->total = total;
}

const spn_cand *spn_cands_draw(const spn_cands *cands, double u) {
    double left = u * cands->total;
    const spn_cand *last = &cands->items[0];
    for (size_t i = 0; i < cands->n; i++) {
        if (cands->items[i].weight <= 0) continue;
        last = &cands->items[i];
        left -= last->weight;
        if (left < 0) break;
    }
    return last; /* also where rounding left a remainder behind the last one */
}
