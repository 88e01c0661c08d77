/* train.c - trains the tales model. SPDX-License-Identifier: Apache-2.0
 *
 * A small llama-shaped language model on a processor: RMS norm, rotary attention with grouped
 * heads, SwiGLU, tied embeddings; hand-written gradients, AdamW, single-precision products from a
 * BLAS library.
 *
 *   train train   CKPT TRAIN.bin VAL.bin MINUTES [key=value ...]   train for that long, then stop
 *   train eval    CKPT VAL.bin                                     validation loss
 *   train sample  CKPT N TEMP TOPP SEED ID,ID,...                  continue a prompt, print ids
 *   train logits  CKPT ID,ID,...                                   float32 logits, a row a token
 *   train check                                                    gradients against differences
 *
 * Build:  cc -O3 -march=native -ffast-math train.c -o train -lopenblas -lm -lpthread
 * check needs double precision:  add -DREAL=double
 * Set OPENBLAS_NUM_THREADS=1: the threads here work on different sequences. */
#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef REAL
#define REAL float
#define GEMM cblas_sgemm
#define EXP expf
#else
#define GEMM cblas_dgemm
#define EXP exp
#endif
typedef REAL real;

typedef struct {
    int vocab, dim, layers, heads, kvh, hd, ff, ctx;
} shape;
static shape S = {2048, 256, 4, 8, 4, 32, 256, 512};
static const real EPS = 1e-5, ROPE_BASE = 10000;

/* ---------------------------------------------------------------- parameters */
typedef struct {
    real *an, *wqkv, *wo, *fn, *wgu, *wd;
} layer;
typedef struct {
    real *emb, *norm;
    layer l[32];
} weights;
static int QKV(void) { return (S.heads + 2 * S.kvh) * S.hd; }
static int HD(void) { return S.heads * S.hd; }

/* Lays the tensors out in one array, in the order the checkpoint and export.py use. */
static size_t map(weights *w, real *p) {
    real *q = p;
    w->emb = q, q += (size_t)S.vocab * S.dim;
    for (int i = 0; i < S.layers; i++) {
        layer *l = &w->l[i];
        l->an = q, q += S.dim;
        l->wqkv = q, q += (size_t)QKV() * S.dim;
        l->wo = q, q += (size_t)S.dim * HD();
        l->fn = q, q += S.dim;
        l->wgu = q, q += (size_t)2 * S.ff * S.dim;
        l->wd = q, q += (size_t)S.dim * S.ff;
    }
    w->norm = q, q += S.dim;
    return q - p;
}

static void *need(size_t n) {
    void *p = aligned_alloc(64, (n + 63) / 64 * 64);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    memset(p, 0, n);
    return p;
}
static real *reals(size_t n) { return need(n * sizeof(real)); }

static uint64_t rnd(uint64_t *s) {
    *s ^= *s << 13, *s ^= *s >> 7, *s ^= *s << 17;
    return *s * 0x2545F4914F6CDD1Dull;
}
static double uniform(uint64_t *s) { return (rnd(s) >> 11) * 0x1p-53; }
static double gauss(uint64_t *s) {
    double u = uniform(s) + 1e-300, v = uniform(s);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* ---------------------------------------------------------------- the model */
/* y (n x out) = x (n x in) w^T */
static void mul(real *y, const real *x, const real *w, int n, int in, int out) {
    GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, n, out, in, 1, x, in, w, in, 0, y, out);
}
/* dx = dy w (added to dx where beta is 1), dw += dy^T x */
static void mul_back(real *dx, real *dw, const real *dy, const real *x, const real *w, int n,
                     int in, int out, real beta) {
    GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, in, out, 1, dy, out, w, in, beta, dx, in);
    GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, n, 1, dy, out, x, in, 1, dw, in);
}

static void norm(real *y, const real *x, const real *w, real *r, int n) {
    int d = S.dim;
    for (int i = 0; i < n; i++, x += d, y += d) {
        real s = 0;
        for (int j = 0; j < d; j++) s += x[j] * x[j];
        real k = 1 / sqrt(s / d + EPS);
        r[i] = k;
        for (int j = 0; j < d; j++) y[j] = x[j] * k * w[j];
    }
}
/* dx += what dy gives */
static void norm_back(real *dx, real *dw, const real *dy, const real *x, const real *w,
                      const real *r, int n) {
    int d = S.dim;
    for (int i = 0; i < n; i++, x += d, dx += d, dy += d) {
        real k = r[i], s = 0;
        for (int j = 0; j < d; j++) s += dy[j] * w[j] * x[j];
        real c = s * k * k * k / d;
        for (int j = 0; j < d; j++) {
            dx[j] += dy[j] * w[j] * k - x[j] * c;
            dw[j] += dy[j] * x[j] * k;
        }
    }
}

static real *rope_cos, *rope_sin;
static void rope_init(void) {
    int h = S.hd / 2;
    rope_cos = reals((size_t)S.ctx * h), rope_sin = reals((size_t)S.ctx * h);
    for (int t = 0; t < S.ctx; t++)
        for (int i = 0; i < h; i++) {
            double a = t * pow(ROPE_BASE, -2.0 * i / S.hd);
            rope_cos[t * h + i] = cos(a), rope_sin[t * h + i] = sin(a);
        }
}
/* Rotates neighbouring pairs of every query and key head; dir -1 turns back. */
static void rope(real *qkv, int b, int t, real dir) {
    int h = S.hd / 2, heads = S.heads + S.kvh, q = QKV();
    for (int i = 0; i < b * t; i++) {
        const real *c = rope_cos + i % t * h, *s = rope_sin + i % t * h;
        real *p = qkv + (size_t)i * q;
        for (int k = 0; k < heads; k++, p += S.hd)
            for (int j = 0; j < h; j++) {
                real x = p[2 * j], y = p[2 * j + 1], sn = s[j] * dir;
                p[2 * j] = x * c[j] - y * sn;
                p[2 * j + 1] = x * sn + y * c[j];
            }
    }
}

enum { BQ = 64 };
/* Everything one worker needs for b sequences of t tokens. */
typedef struct {
    int b, t;
    real *x, *x1, *xf, *r1, *r2, *rf, *qkv, *o, *gu,
        *lse; /* kept for the backward pass, by layer */
    real *h, *a, *dx, *dh, *dqkv, *dout, *dgu, *da, *p, *dp, *logits;
    real *grad;
    weights g;
} work;

static work *work_new(int b, int t) {
    work *k = need(sizeof *k);
    size_t n = (size_t)b * t, L = S.layers, d = S.dim;
    k->b = b, k->t = t;
    k->x = reals((L + 1) * n * d), k->x1 = reals(L * n * d), k->xf = reals(n * d);
    k->r1 = reals(L * n), k->r2 = reals(L * n), k->rf = reals(n);
    k->qkv = reals(L * n * QKV()), k->o = reals(L * n * HD()), k->gu = reals(L * n * 2 * S.ff);
    k->lse = reals(L * n * S.heads);
    k->h = reals(n * d), k->a = reals(n * S.ff), k->dx = reals(n * d), k->dh = reals(n * d);
    k->dqkv = reals(n * QKV()), k->dout = reals(n * HD()), k->dgu = reals(n * 2 * S.ff),
    k->da = reals(n * S.ff);
    k->p = reals((size_t)BQ * t), k->dp = reals((size_t)BQ * t);
    k->logits = reals((size_t)256 * S.vocab);
    weights tmp;
    k->grad = reals(map(&tmp, NULL));
    map(&k->g, k->grad);
    return k;
}

/* Scores of queries q0..q1 against keys 0..q1, scaled, exponentiated against lse when it is known.
 */
static void scores(const real *q, const real *key, real *p, int q0, int q1, real *lse, int know) {
    int w = QKV(), m = q1 - q0;
    GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, m, q1, S.hd, 1 / sqrt((real)S.hd),
         q + (size_t)q0 * w, w, key, w, 0, p, q1);
    for (int i = 0; i < m; i++) {
        real *s = p + (size_t)i * q1;
        int len = q0 + i + 1;
        if (!know) {
            real mx = s[0], sum = 0;
            for (int j = 1; j < len; j++) mx = s[j] > mx ? s[j] : mx;
            for (int j = 0; j < len; j++) sum += EXP(s[j] - mx);
            lse[i] = mx + log(sum);
        }
        real l = lse[i];
        for (int j = 0; j < len; j++) s[j] = EXP(s[j] - l);
        for (int j = len; j < q1; j++) s[j] = 0;
    }
}

static void attention(work *k, const real *qkv, real *o, real *lse) {
    int w = QKV(), od = HD(), t = k->t, hd = S.hd;
    for (int b = 0; b < k->b; b++)
        for (int h = 0; h < S.heads; h++) {
            const real *q = qkv + (size_t)b * t * w + h * hd;
            const real *key = qkv + (size_t)b * t * w + (S.heads + h / (S.heads / S.kvh)) * hd,
                       *val = key + S.kvh * hd;
            real *out = o + (size_t)b * t * od + h * hd, *l = lse + ((size_t)b * S.heads + h) * t;
            for (int q0 = 0; q0 < t; q0 += BQ) {
                int q1 = q0 + BQ < t ? q0 + BQ : t;
                scores(q, key, k->p, q0, q1, l + q0, 0);
                GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, q1 - q0, hd, q1, 1, k->p, q1, val,
                     w, 0, out + (size_t)q0 * od, od);
            }
        }
}

static void attention_back(work *k, const real *qkv, const real *o, real *lse, const real *dout,
                           real *dqkv) {
    int w = QKV(), od = HD(), t = k->t, hd = S.hd;
    memset(dqkv, 0, (size_t)k->b * t * w * sizeof(real));
    for (int b = 0; b < k->b; b++)
        for (int h = 0; h < S.heads; h++) {
            size_t qo = (size_t)b * t * w + h * hd,
                   ko = (size_t)b * t * w + (S.heads + h / (S.heads / S.kvh)) * hd;
            size_t vo = ko + S.kvh * hd, oo = (size_t)b * t * od + h * hd;
            real *l = lse + ((size_t)b * S.heads + h) * t;
            for (int q0 = 0; q0 < t; q0 += BQ) {
                int q1 = q0 + BQ < t ? q0 + BQ : t, m = q1 - q0;
                const real *dy = dout + oo + (size_t)q0 * od, *y = o + oo + (size_t)q0 * od;
                scores(qkv + qo, qkv + ko, k->p, q0, q1, l + q0, 1);
                GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, q1, hd, m, 1, k->p, q1, dy, od, 1,
                     dqkv + vo, w);
                GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, m, q1, hd, 1, dy, od, qkv + vo, w, 0,
                     k->dp, q1);
                real sc = 1 / sqrt((real)hd);
                for (int i = 0; i < m; i++) {
                    real d = 0, *p = k->p + (size_t)i * q1, *dp = k->dp + (size_t)i * q1;
                    for (int j = 0; j < hd; j++)
                        d += dy[(size_t)i * od + j] * y[(size_t)i * od + j];
                    for (int j = 0; j < q1; j++) dp[j] = p[j] * (dp[j] - d) * sc;
                }
                GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, hd, q1, 1, k->dp, q1, qkv + ko,
                     w, 0, dqkv + qo + (size_t)q0 * w, w);
                GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, q1, hd, m, 1, k->dp, q1,
                     qkv + qo + (size_t)q0 * w, w, 1, dqkv + ko, w);
            }
        }
}

static void forward(work *k, const weights *w, const uint16_t *tok) {
    size_t n = (size_t)k->b * k->t, d = S.dim;
    for (size_t i = 0; i < n; i++) memcpy(k->x + i * d, w->emb + tok[i] * d, d * sizeof(real));
    for (int l = 0; l < S.layers; l++) {
        const layer *y = &w->l[l];
        real *x = k->x + l * n * d, *x1 = k->x1 + l * n * d, *x2 = x + n * d;
        real *qkv = k->qkv + l * n * QKV(), *o = k->o + l * n * HD(),
             *gu = k->gu + l * n * 2 * S.ff;
        norm(k->h, x, y->an, k->r1 + l * n, n);
        mul(qkv, k->h, y->wqkv, n, d, QKV());
        rope(qkv, k->b, k->t, 1);
        attention(k, qkv, o, k->lse + l * n * S.heads);
        mul(x1, o, y->wo, n, HD(), d);
        for (size_t i = 0; i < n * d; i++) x1[i] += x[i];
        norm(k->h, x1, y->fn, k->r2 + l * n, n);
        mul(gu, k->h, y->wgu, n, d, 2 * S.ff);
        for (size_t i = 0; i < n; i++) {
            const real *g = gu + i * 2 * S.ff, *u = g + S.ff;
            real *a = k->a + i * S.ff;
            for (int j = 0; j < S.ff; j++) a[j] = g[j] / (1 + EXP(-g[j])) * u[j];
        }
        mul(x2, k->a, y->wd, n, S.ff, d);
        for (size_t i = 0; i < n * d; i++) x2[i] += x1[i];
    }
    norm(k->xf, k->x + S.layers * n * d, w->norm, k->rf, n);
}

/* The summed loss of the next tokens; with train, its gradient (times scale) is added to k->grad.
 */
static double loss(work *k, const weights *w, const uint16_t *tok, const uint16_t *next, int train,
                   real scale) {
    size_t n = (size_t)k->b * k->t, d = S.dim;
    int V = S.vocab;
    double sum = 0;
    forward(k, w, tok);
    for (size_t i0 = 0; i0 < n; i0 += 256) {
        int m = n - i0 < 256 ? n - i0 : 256;
        mul(k->logits, k->xf + i0 * d, w->emb, m, d, V);
        for (int i = 0; i < m; i++) {
            real *s = k->logits + (size_t)i * V, mx = s[0], z = 0;
            for (int j = 1; j < V; j++) mx = s[j] > mx ? s[j] : mx;
            real right = s[next[i0 + i]];
            for (int j = 0; j < V; j++) z += s[j] = EXP(s[j] - mx);
            sum -= right - mx - log(z);
            if (!train) continue;
            z = scale / z;
            for (int j = 0; j < V; j++) s[j] *= z;
            s[next[i0 + i]] -= scale;
        }
        if (train)
            mul_back(k->dh + i0 * d, k->g.emb, k->logits, k->xf + i0 * d, w->emb, m, d, V, 0);
    }
    if (!train) return sum;
    memset(k->dx, 0, n * d * sizeof(real));
    norm_back(k->dx, k->g.norm, k->dh, k->x + S.layers * n * d, w->norm, k->rf, n);
    for (int l = S.layers - 1; l >= 0; l--) {
        const layer *y = &w->l[l];
        layer *g = &k->g.l[l];
        real *x = k->x + l * n * d, *x1 = k->x1 + l * n * d;
        real *qkv = k->qkv + l * n * QKV(), *o = k->o + l * n * HD(),
             *gu = k->gu + l * n * 2 * S.ff;
        for (size_t i = 0; i < n; i++) {
            const real *p = gu + i * 2 * S.ff, *u = p + S.ff;
            real *a = k->a + i * S.ff;
            for (int j = 0; j < S.ff; j++) a[j] = p[j] / (1 + EXP(-p[j])) * u[j];
        }
        mul_back(k->da, g->wd, k->dx, k->a, y->wd, n, S.ff, d, 0);
        for (size_t i = 0; i < n; i++) {
            const real *p = gu + i * 2 * S.ff, *u = p + S.ff, *da = k->da + i * S.ff;
            real *dg = k->dgu + i * 2 * S.ff, *du = dg + S.ff;
            for (int j = 0; j < S.ff; j++) {
                real s = 1 / (1 + EXP(-p[j]));
                du[j] = da[j] * p[j] * s;
                dg[j] = da[j] * u[j] * s * (1 + p[j] * (1 - s));
            }
        }
        norm(k->h, x1, y->fn, k->r2 + l * n, n);
        mul_back(k->dh, g->wgu, k->dgu, k->h, y->wgu, n, d, 2 * S.ff, 0);
        norm_back(k->dx, g->fn, k->dh, x1, y->fn, k->r2 + l * n, n);
        mul_back(k->dout, g->wo, k->dx, o, y->wo, n, HD(), d, 0);
        attention_back(k, qkv, o, k->lse + l * n * S.heads, k->dout, k->dqkv);
        rope(k->dqkv, k->b, k->t, -1);
        norm(k->h, x, y->an, k->r1 + l * n, n);
        mul_back(k->dh, g->wqkv, k->dqkv, k->h, y->wqkv, n, d, QKV(), 0);
        norm_back(k->dx, g->an, k->dh, x, y->an, k->r1 + l * n, n);
    }
    for (size_t i = 0; i < n; i++) {
        real *e = k->g.emb + tok[i] * d, *dx = k->dx + i * d;
        for (size_t j = 0; j < d; j++) e[j] += dx[j];
    }
    return sum;
}

/* ---------------------------------------------------------------- checkpoints and data */
static void init(weights *w, uint64_t seed) {
    uint64_t s = seed * 0x9E3779B97F4A7C15ull + 1;
    int d = S.dim;
    for (size_t i = 0; i < (size_t)S.vocab * d; i++) w->emb[i] = 0.02 * gauss(&s);
    double in = 0.6 / sqrt(d), deep = 1 / sqrt(2.0 * S.layers);
    for (int l = 0; l < S.layers; l++) {
        layer *y = &w->l[l];
        for (int i = 0; i < d; i++) y->an[i] = y->fn[i] = 1;
        for (size_t i = 0; i < (size_t)QKV() * d; i++) y->wqkv[i] = in * gauss(&s);
        for (size_t i = 0; i < (size_t)HD() * d; i++)
            y->wo[i] = deep * 0.6 / sqrt(HD()) * gauss(&s);
        for (size_t i = 0; i < (size_t)2 * S.ff * d; i++) y->wgu[i] = in * gauss(&s);
        for (size_t i = 0; i < (size_t)S.ff * d; i++)
            y->wd[i] = deep * 0.6 / sqrt(S.ff) * gauss(&s);
    }
    for (int i = 0; i < d; i++) w->norm[i] = 1;
}

/* "SPNTALE1", the shape as eight 32-bit numbers, the weights, then (optionally) the optimiser. */
static void save(const char *path, const real *p, const real *m, const real *v, size_t n,
                 const double *state) {
    char tmp[4096];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    FILE *f = fopen(tmp, "wb");
    if (!f) {
        perror(tmp);
        return;
    }
    fwrite("SPNTALE1", 1, 8, f);
    fwrite(&S, sizeof S, 1, f);
    fwrite(p, sizeof(real), n, f);
    if (m)
        fwrite(m, sizeof(real), n, f), fwrite(v, sizeof(real), n, f),
            fwrite(state, sizeof(double), 4, f);
    if (fclose(f) == 0) rename(tmp, path);
}
static real *load(const char *path, real *m, real *v, double *state) {
    FILE *f = fopen(path, "rb");
    char magic[8];
    if (!f) return NULL;
    if (fread(magic, 1, 8, f) != 8 || memcmp(magic, "SPNTALE1", 8) ||
        fread(&S, sizeof S, 1, f) != 1) {
        fprintf(stderr, "%s: not a checkpoint\n", path);
        exit(1);
    }
    weights w;
    size_t n = map(&w, NULL);
    real *p = reals(n);
    if (fread(p, sizeof(real), n, f) != n) {
        fprintf(stderr, "%s: short\n", path);
        exit(1);
    }
    if (m && (fread(m, sizeof(real), n, f) != n || fread(v, sizeof(real), n, f) != n ||
              fread(state, sizeof(double), 4, f) != 4))
        memset(m, 0, n * sizeof(real)), memset(v, 0, n * sizeof(real));
    fclose(f);
    return p;
}

static uint16_t *ids_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    fseek(f, 0, SEEK_END);
    *n = ftell(f) / 2;
    rewind(f);
    uint16_t *p = need(*n * 2);
    if (fread(p, 2, *n, f) != *n) exit(1);
    fclose(f);
    return p;
}
static int ids_arg(const char *s, uint16_t *out, int max) {
    int n = 0;
    while (*s && n < max) {
        out[n++] = strtol(s, (char **)&s, 10);
        if (*s) s++;
    }
    return n;
}

/* ---------------------------------------------------------------- training */
static struct {
    weights w;
    real *p, *m, *v, *decay;
    size_t n;
    work *k[8];
    int threads, batch, per, next_job;
    const uint16_t *tok;
    uint16_t *in, *out;
    double sum[8], norm2[8], lr, beta1, beta2, wd, clip;
    long step;
    int phase; /* 0 loss and gradient, 1 sum of gradients, 2 update, 3 stop, 4 validation loss */
    pthread_barrier_t start, done;
} T;

static void phase(int id) {
    work *k = T.k[id];
    size_t a = T.n * id / T.threads, b = T.n * (id + 1) / T.threads;
    if (T.phase == 0 || T.phase == 4) {
        T.sum[id] = 0;
        if (T.phase == 0) memset(k->grad, 0, T.n * sizeof(real));
        int j;
        while ((j = __atomic_fetch_add(&T.next_job, 1, __ATOMIC_RELAXED)) * T.per < T.batch) {
            size_t at = (size_t)j * T.per * S.ctx;
            T.sum[id] +=
                loss(k, &T.w, T.in + at, T.out + at, T.phase == 0, 1.0 / ((double)T.batch * S.ctx));
        }
    } else if (T.phase == 1) {
        real *g = T.k[0]->grad;
        for (int t = 1; t < T.threads; t++) {
            const real *o = T.k[t]->grad;
            for (size_t i = a; i < b; i++) g[i] += o[i];
        }
        double s = 0;
        for (size_t i = a; i < b; i++) s += g[i] * g[i];
        T.norm2[id] = s;
    } else if (T.phase == 2) {
        const real *g = T.k[0]->grad;
        double n2 = 0;
        for (int t = 0; t < T.threads; t++) n2 += T.norm2[t];
        real c = sqrt(n2) > T.clip ? T.clip / sqrt(n2) : 1;
        real b1 = T.beta1, b2 = T.beta2, f1 = 1 / (1 - pow(b1, T.step)),
             f2 = 1 / (1 - pow(b2, T.step));
        real lr = T.lr, wd = T.lr * T.wd;
        for (size_t i = a; i < b; i++) {
            real x = g[i] * c;
            T.m[i] = b1 * T.m[i] + (1 - b1) * x;
            T.v[i] = b2 * T.v[i] + (1 - b2) * x * x;
            T.p[i] = T.p[i] * (1 - wd * T.decay[i]) -
                     lr * T.m[i] * f1 / (sqrt(T.v[i] * f2) + (real)1e-8);
        }
    }
}
static void *worker(void *arg) {
    int id = (int)(intptr_t)arg;
    for (;;) {
        pthread_barrier_wait(&T.start);
        if (T.phase == 3) return NULL;
        phase(id);
        pthread_barrier_wait(&T.done);
    }
}
static double all(int ph) {
    T.phase = ph, T.next_job = 0;
    pthread_barrier_wait(&T.start);
    phase(0);
    pthread_barrier_wait(&T.done);
    double s = 0;
    for (int i = 0; i < T.threads; i++) s += T.sum[i];
    return s;
}

static double validate(const uint16_t *val, size_t n) {
    size_t windows = (n - 1) / S.ctx, every = windows > 96 ? windows / 96 : 1;
    double sum = 0;
    long count = 0;
    int batch = T.batch;
    for (size_t i = 0; i + (batch - 1) * every < windows; i += batch * every) {
        for (int j = 0; j < batch; j++) {
            memcpy(T.in + (size_t)j * S.ctx, val + (i + j * every) * S.ctx, S.ctx * 2);
            memcpy(T.out + (size_t)j * S.ctx, val + (i + j * every) * S.ctx + 1, S.ctx * 2);
        }
        sum += all(4);
        count += (long)batch * S.ctx;
    }
    return sum / count;
}

typedef struct {
    const char *name;
    int *whole;
    double *number;
} setting;

static int set(const setting *settings, size_t n, const char *text) {
    const char *value = strchr(text, '=');
    for (size_t i = 0; value != NULL && i < n; i++) {
        if (strlen(settings[i].name) != (size_t)(value - text)) continue;
        if (strncmp(settings[i].name, text, (size_t)(value - text)) != 0) continue;
        if (settings[i].whole != NULL) *settings[i].whole = (int)strtol(value + 1, NULL, 10);
        if (settings[i].number != NULL) *settings[i].number = strtod(value + 1, NULL);
        return 1;
    }
    return 0;
}

static int train(int argc, char **argv) {
    const char *ckpt = argv[2];
    size_t nt, nv;
    uint16_t *tr = ids_file(argv[3], &nt), *va = ids_file(argv[4], &nv);
    double minutes = strtod(argv[5], NULL), lr = 2.5e-3, floor_ = 0.02, every = 120;
    double seed = 1, max_steps = 1e12;
    T.threads = 2, T.batch = 16, T.per = 2, T.beta1 = 0.9, T.beta2 = 0.98, T.wd = 0.1, T.clip = 1;
    const setting settings[] = {
        {"dim", &S.dim, NULL}, {"layers", &S.layers, NULL}, {"heads", &S.heads, NULL},
        {"kvh", &S.kvh, NULL}, {"hd", &S.hd, NULL},         {"ff", &S.ff, NULL},
        {"ctx", &S.ctx, NULL}, {"lr", NULL, &lr},           {"batch", &T.batch, NULL},
        {"per", &T.per, NULL}, {"wd", NULL, &T.wd},         {"threads", &T.threads, NULL},
        {"seed", NULL, &seed}, {"steps", NULL, &max_steps}, {"every", NULL, &every},
    };
    for (int i = 6; i < argc; i++) {
        if (set(settings, sizeof settings / sizeof settings[0], argv[i])) continue;
        fprintf(stderr, "unknown setting %s\n", argv[i]);
        return 1;
    }
    double state[4] = {0}; /* steps, seconds, tokens, best validation loss */
    T.n = map(&T.w, NULL);
    T.m = reals(T.n), T.v = reals(T.n);
    T.p = load(ckpt, T.m, T.v, state);
    if (!T.p) {
        T.p = reals(T.n);
        map(&T.w, T.p);
        init(&T.w, seed);
    }
    map(&T.w, T.p);
    T.decay = reals(T.n); /* 1 for the matrices, 0 for the norms */
    for (size_t i = 0; i < T.n; i++) T.decay[i] = 1;
    weights dw;
    map(&dw, T.decay);
    memset(dw.norm, 0, S.dim * sizeof(real));
    for (int l = 0; l < S.layers; l++)
        memset(dw.l[l].an, 0, S.dim * sizeof(real)), memset(dw.l[l].fn, 0, S.dim * sizeof(real));
    rope_init();
    T.in = need((size_t)T.batch * S.ctx * 2), T.out = need((size_t)T.batch * S.ctx * 2);
    for (int i = 0; i < T.threads; i++) T.k[i] = work_new(T.per, S.ctx);
    pthread_barrier_init(&T.start, NULL, T.threads), pthread_barrier_init(&T.done, NULL, T.threads);
    for (int i = 1; i < T.threads; i++) {
        pthread_t t;
        pthread_create(&t, NULL, worker, (void *)(intptr_t)i);
    }
    /* where tales begin */
    size_t *begin = need(nt * sizeof *begin), tales = 0;
    for (size_t i = 0; i + S.ctx + 1 < nt; i++)
        if (tr[i] == 1) begin[tales++] = i;
    printf("%zu parameters, %zu training tokens in %zu tales, %zu validation tokens, vocab %d dim "
           "%d layers %d "
           "heads %d/%d x %d ff %d ctx %d, lr %g batch %d\n",
           T.n, nt, tales, nv, S.vocab, S.dim, S.layers, S.heads, S.kvh, S.hd, S.ff, S.ctx, lr,
           T.batch);
    fflush(stdout);
    double t0 = now() - state[1], shown = now(), saved = now(), run = 0;
    long shown_step = state[0];
    uint64_t rs = (seed + (uint64_t)state[0]) * 0x9E3779B97F4A7C15ull + 7;
    for (T.step = state[0] + 1;; T.step++) {
        double el = now() - t0, at = el / (minutes * 60);
        if (at >= 1 || T.step > max_steps) break;
        double warm = T.step < 200 ? T.step / 200.0 : 1;
        T.lr = lr * warm * (floor_ + (1 - floor_) * 0.5 * (1 + cos(3.14159265358979 * at)));
        for (int j = 0; j < T.batch; j++) {
            size_t p = uniform(&rs) < 0.15 ? begin[rnd(&rs) % tales] : rnd(&rs) % (nt - S.ctx - 1);
            memcpy(T.in + (size_t)j * S.ctx, tr + p, S.ctx * 2);
            memcpy(T.out + (size_t)j * S.ctx, tr + p + 1, S.ctx * 2);
        }
        double l = all(0) / ((double)T.batch * S.ctx);
        all(1), all(2);
        state[2] += (double)T.batch * S.ctx;
        run = run ? 0.98 * run + 0.02 * l : l;
        if (T.step % 100 == 0) {
            double t = now();
            printf("step %ld  %.1f min  loss %.4f  lr %.2e  %.0f tok/s  %.1fM tokens\n", T.step,
                   el / 60, run, T.lr,
                   (T.step - shown_step) * (double)T.batch * S.ctx / (t - shown), state[2] / 1e6);
            fflush(stdout);
            shown = t, shown_step = T.step;
        }
        if (now() - saved > every) {
            printf("step %ld  %.1f min  train %.4f  VALIDATION %.4f\n", T.step, (now() - t0) / 60,
                   run, validate(va, nv));
            fflush(stdout);
            state[0] = T.step, state[1] = now() - t0;
            save(ckpt, T.p, T.m, T.v, T.n, state);
            saved = now();
        }
    }
    state[0] = T.step, state[1] = now() - t0;
    printf("done: step %ld  %.1f min  train %.4f  VALIDATION %.4f  %.1fM tokens\n", T.step,
           state[1] / 60, run, validate(va, nv), state[2] / 1e6);
    save(ckpt, T.p, T.m, T.v, T.n, state);
    return 0;
}

/* ---------------------------------------------------------------- the rest */
/* Logits of the last of n tokens (all rows when all is set), by running the whole prompt. */
static void logits_of(work *k, const weights *w, const uint16_t *tok, int n, int allrows,
                      real *out) {
    k->b = 1, k->t = n;
    forward(k, w, tok);
    int first = allrows ? 0 : n - 1;
    mul(out, k->xf + (size_t)first * S.dim, w->emb, n - first, S.dim, S.vocab);
}

static int sample(char **argv) {
    double st[4];
    weights w;
    real *p = load(argv[2], NULL, NULL, st);
    if (!p) return 1;
    map(&w, p);
    rope_init();
    int n = (int)strtol(argv[3], NULL, 10);
    double temp = strtod(argv[4], NULL), topp = strtod(argv[5], NULL);
    uint64_t s = atoll(argv[6]) * 0x9E3779B97F4A7C15ull + 11;
    uint16_t *tok = need(4096 * 2);
    int len = ids_arg(argv[7], tok, 2048);
    work *k = work_new(1, S.ctx);
    real *lg = reals(S.vocab);
    for (int i = 0; i < 8; i++) rnd(&s);
    for (int i = 0; i < n && len < S.ctx; i++) {
        logits_of(k, &w, tok, len, 0, lg);
        int best = 0;
        for (int j = 1; j < S.vocab; j++)
            if (lg[j] > lg[best]) best = j;
        if (temp > 0) {
            double z = 0, mx = lg[best];
            for (int j = 0; j < S.vocab; j++) z += lg[j] = EXP((lg[j] - mx) / temp);
            /* the smallest set of likeliest tokens that holds topp of the weight */
            double hold = 0;
            static char in[1 << 16];
            memset(in, 0, sizeof in);
            while (hold < topp * z) {
                int b = -1;
                for (int j = 0; j < S.vocab; j++)
                    if (!in[j] && (b < 0 || lg[j] > lg[b])) b = j;
                if (b < 0) break;
                in[b] = 1, hold += lg[b];
            }
            double r = uniform(&s) * hold;
            for (best = 0; best < S.vocab; best++)
                if (in[best] && (r -= lg[best]) < 0) break;
            if (best == S.vocab) best = 0;
        }
        tok[len++] = best;
        printf("%d%c", best, ' ');
        if (best == 2) break;
    }
    printf("\n");
    return 0;
}

static int check(void) {
    S = (shape){37, 24, 2, 4, 2, 6, 20, 150};
    weights w;
    size_t n = map(&w, NULL);
    real *p = reals(n);
    map(&w, p);
    init(&w, 3);
    uint64_t s = 99;
    for (size_t i = 0; i < n; i++) p[i] += 0.1 * gauss(&s);
    rope_init();
    work *k = work_new(2, S.ctx);
    uint16_t in[300], out[300];
    for (int i = 0; i < 300; i++) in[i] = rnd(&s) % S.vocab, out[i] = rnd(&s) % S.vocab;
    loss(k, &w, in, out, 1, 1);
    double worst = 0;
    work *q = work_new(2, S.ctx);
    for (int c = 0; c < 400; c++) {
        size_t i = rnd(&s) % n;
        real keep = p[i], e = sizeof(real) == 8 ? 1e-5 : 1e-2;
        p[i] = keep + e;
        double a = loss(q, &w, in, out, 0, 1);
        p[i] = keep - e;
        double b = loss(q, &w, in, out, 0, 1);
        p[i] = keep;
        double num = (a - b) / (2 * e),
               err = fabs(num - k->grad[i]) / (1e-3 + fabs(num) + fabs(k->grad[i]));
        if (err > worst) worst = err;
    }
    printf("worst relative difference of 400 derivatives: %.3g\n", worst);
    return worst > (sizeof(real) == 8 ? 1e-4 : 0.2);
}

int main(int argc, char **argv) {
    if (argc > 5 && !strcmp(argv[1], "train")) return train(argc, argv);
    if (argc > 7 && !strcmp(argv[1], "sample")) return sample(argv);
    if (argc > 1 && !strcmp(argv[1], "check")) return check();
    if (argc > 3 && (!strcmp(argv[1], "logits") || !strcmp(argv[1], "eval"))) {
        double st[4];
        weights w;
        real *p = load(argv[2], NULL, NULL, st);
        if (!p) return 1;
        map(&w, p);
        rope_init();
        work *k = work_new(1, S.ctx);
        if (!strcmp(argv[1], "logits")) {
            uint16_t tok[4096];
            int n = ids_arg(argv[3], tok, S.ctx);
            real *o = reals((size_t)n * S.vocab);
            logits_of(k, &w, tok, n, 1, o);
            fwrite(o, sizeof(real), (size_t)n * S.vocab, stdout);
            return 0;
        }
        size_t nv;
        uint16_t *va = ids_file(argv[3], &nv);
        double sum = 0;
        long c = 0;
        for (size_t i = 0; i + S.ctx + 1 <= nv; i += S.ctx, c += S.ctx)
            sum += loss(k, &w, va + i, va + i + 1, 0, 1);
        printf("validation loss %.4f over %ld tokens\n", sum / c, c);
        return 0;
    }
    fprintf(stderr, "usage: see the head of train.c\n");
    return 2;
}
