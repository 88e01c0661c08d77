/* test_invariants.c - the same answer every time, bit for bit. SPDX-License-Identifier: Apache-2.0
 *
 * For every model of tests/golden: the logits of a prompt in one piece on one thread are the
 * yardstick; they must come out again, equal in every bit, over any number of threads, any
 * splitting of the prompt, any state of the cache, every CPU level of this machine, from a saved
 * session, and in a batch with other texts; embeddings too. Splits are random; the seed is printed
 * and may be given as SPN_TEST_SEED.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "spn/spn.h"

enum { N_TOKENS = 75, MAX_MODELS = 200 };

static uint64_t random_state;

static uint32_t random_below(uint32_t n) { /* splitmix64, Steele et al. 2014 */
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ (z >> 31)) % n);
}

static void check(spn_status status, const spn_error *err) {
    if (status != SPN_STATUS_OK) fail_msg("%s", err->text);
}

typedef struct subject {
    spn_model *model;
    const spn_model_info *info;
    int32_t tokens[N_TOKENS];
    float *expected; /* [N_TOKENS][n_vocab] */
    size_t row;      /* n_vocab */
} subject;

static spn_session *session_of(const subject *s, uint32_t n_threads, uint32_t n_batch,
                               spn_kv_type kv) {
    spn_error err;
    spn_session *session;
    spn_session_options options = {
        .n_ctx = 128, .n_threads = n_threads, .n_batch = n_batch, .type_k = kv, .type_v = kv};
    check(spn_session_create(&session, s->model, &options, &err), &err);
    return session;
}

static void same(const subject *s, const float *logits, size_t first, size_t n, const char *how) {
    const float *expected = s->expected + first * s->row;
    if (memcmp(logits, expected, n * s->row * sizeof *logits) == 0) return;
    for (size_t i = 0; i < n * s->row; i++)
        if (memcmp(&logits[i], &expected[i], sizeof *logits) != 0)
            fail_msg("%s: logit %zu of token %zu is %.9g, not %.9g", how, i % s->row,
                     first + i / s->row, (double)logits[i], (double)expected[i]);
}

/* The whole prompt scored in batches of n_batch. */
static void score(const subject *s, uint32_t n_threads, uint32_t n_batch, spn_kv_type kv,
                  float *out) {
    spn_error err;
    spn_session *session = session_of(s, n_threads, n_batch, kv);
    check(spn_session_score(session, s->tokens, N_TOKENS, 0, out, &err), &err);
    spn_session_free(session);
}

static void threads_and_batches(const subject *s) {
    float *out = malloc(N_TOKENS * s->row * sizeof *out);
    for (int i = 0; i < 4; i++) {
        uint32_t n_threads = 1 + random_below(4), n_batch = 1 + random_below(40);
        char how[64];
        snprintf(how, sizeof how, "%u threads, batches of %u", n_threads, n_batch);
        score(s, n_threads, n_batch, SPN_KV_TYPE_F32, out);
        same(s, out, 0, N_TOKENS, how);
    }
    free(out);
}

/* Calls of random length, then back to a random place, then on with the same text again. */
static void prefixes(const subject *s) {
    spn_error err;
    spn_session *session = session_of(s, 2, 16, SPN_KV_TYPE_F32);
    int32_t other[N_TOKENS];
    for (int round = 0; round < 3; round++) {
        size_t n = 0;
        while (n < N_TOKENS) {
            n += 1 + random_below(20);
            if (n > N_TOKENS) n = N_TOKENS;
            check(spn_session_sync(session, s->tokens, n, NULL, &err), &err);
            same(s, spn_session_logits(session), n - 1, 1, "sync");
        }
        size_t back = 1 + random_below(N_TOKENS - 1);
        memcpy(other, s->tokens, sizeof other);
        other[back] = (other[back] + 1) % (int32_t)s->row;
        check(spn_session_sync(session, other, N_TOKENS, NULL, &err), &err);
        check(spn_session_sync(session, s->tokens, back, NULL, &err), &err);
        same(s, spn_session_logits(session), back - 1, 1, "another text's prefix");
    }
    spn_session_free(session);
}

static void saved_sessions(const subject *s) {
    spn_error err;
    char path[] = "/tmp/spn-session-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    size_t half = 1 + random_below(N_TOKENS - 1), n_reused = 0;
    spn_session *before = session_of(s, 2, 16, SPN_KV_TYPE_F32);
    check(spn_session_sync(before, s->tokens, half, NULL, &err), &err);
    check(spn_session_save(before, path, &err), &err);
    spn_session_free(before);
    /* Another batch size will do where nothing cached depends on it. */
    spn_session *after = session_of(s, 1, 16, SPN_KV_TYPE_F32);
    spn_session *other = session_of(s, 1, 5, SPN_KV_TYPE_F32);
    check(spn_session_load(after, path, &err), &err);
    if (spn_session_load(other, path, &err) == SPN_STATUS_OK) {
        check(spn_session_sync(other, s->tokens, N_TOKENS, NULL, &err), &err);
        same(s, spn_session_logits(other), N_TOKENS - 1, 1, "restored with another batch size");
    } else {
        assert_int_equal(err.status, SPN_STATUS_INVALID_CONFIG);
    }
    spn_session_free(other);
    same(s, spn_session_logits(after), half - 1, 1, "restored logits");
    check(spn_session_sync(after, s->tokens, N_TOKENS, &n_reused, &err), &err);
    assert_int_equal(n_reused, half == N_TOKENS ? half - 1 : half);
    same(s, spn_session_logits(after), N_TOKENS - 1, 1, "a restored session");
    spn_session_free(after);
    unlink(path);
}

enum { N_TEXTS = 3, N_NEXT = 8 };

typedef struct together {
    int32_t expected[N_NEXT];
    bool equal;
} together;

static void compare_tokens(const spn_request_result *result, void *user) {
    together *text = user;
    text->equal = result->status == SPN_STATUS_OK && result->n_tokens == N_NEXT &&
                  memcmp(result->tokens, text->expected, sizeof text->expected) == 0;
}

static int32_t likeliest(const float *logits, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

/* Texts that share passes go on as each does alone. */
static void in_a_batch(const subject *s) {
    spn_error err;
    spn_scheduler *scheduler;
    together texts[N_TEXTS];
    spn_scheduler_options options = {.n_sequences = N_TEXTS,
                                     .n_ctx = 128,
                                     .n_batch = 7 + random_below(30),
                                     .type_k = SPN_KV_TYPE_F32,
                                     .type_v = SPN_KV_TYPE_F32};
    check(spn_scheduler_create(&scheduler, s->model, &options, &err), &err);
    for (int i = 0; i < N_TEXTS; i++) {
        int32_t tokens[N_TOKENS + N_NEXT];
        size_t n_prompt = 1 + random_below(N_TOKENS), n = n_prompt;
        memcpy(tokens, s->tokens, n * sizeof *tokens);
        spn_session *session = session_of(s, 2, 16, SPN_KV_TYPE_F32);
        for (int j = 0; j < N_NEXT; j++) {
            check(spn_session_sync(session, tokens, n, NULL, &err), &err);
            tokens[n++] = texts[i].expected[j] = likeliest(spn_session_logits(session), s->row);
        }
        spn_session_free(session);
        spn_request request = {.tokens = s->tokens,
                               .n_tokens = n_prompt,
                               .sampler = {.greedy = true},
                               .max_tokens = N_NEXT,
                               .ignore_end = true,
                               .on_done = compare_tokens,
                               .user = &texts[i]};
        check(spn_scheduler_submit(scheduler, &request, NULL, &err), &err);
    }
    spn_scheduler_wait(scheduler);
    spn_scheduler_free(scheduler);
    for (int i = 0; i < N_TEXTS; i++) assert_true(texts[i].equal);
}

/* A smaller cache type gives other logits, but the same ones for every splitting. */
static void kv_types(const subject *s) {
    const spn_kv_type types[] = {SPN_KV_TYPE_F16, SPN_KV_TYPE_BF16, SPN_KV_TYPE_Q8_0,
                                 SPN_KV_TYPE_Q4_0};
    float *whole = malloc(N_TOKENS * s->row * sizeof *whole);
    float *pieces = malloc(N_TOKENS * s->row * sizeof *pieces);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        spn_session *session;
        spn_session_options options = {.n_ctx = 128, .type_k = types[i], .type_v = types[i]};
        if (spn_session_create(&session, s->model, &options, NULL) != SPN_STATUS_OK) continue;
        spn_session_free(session); /* heads of 16 do not fit the quantised types */
        score(s, 1, 128, types[i], whole);
        score(s, 2, 1 + random_below(30), types[i], pieces);
        assert_memory_equal(whole, pieces, N_TOKENS * s->row * sizeof *whole);
    }
    free(whole);
    free(pieces);
}

static void cpu_levels(const char *path, const subject *s) {
    for (int level = SPN_CPU_LEVEL_REF; level < SPN_CPU_LEVEL_COUNT; level++) {
        if (!spn_cpu_level_is_available((spn_cpu_level)level)) continue;
        spn_error err;
        subject other = *s;
        spn_model_options options = {.cpu_level = (spn_cpu_level)level};
        check(spn_model_open(&other.model, path, &options, &err), &err);
        float *out = malloc(N_TOKENS * s->row * sizeof *out);
        score(&other, 2, 20 + random_below(100), SPN_KV_TYPE_F32, out);
        same(s, out, 0, N_TOKENS, spn_cpu_level_name((spn_cpu_level)level));
        free(out);
        spn_model_close(other.model);
    }
}

enum { N_EMBEDDED = 24 };

/* Texts that share a pass, each with the vector it has alone: a decoder's evaluated token by token
 * then, through the session's cache. */
static void embedded_together(const subject *s) {
    spn_error err;
    size_t n_embd = s->info->n_embd, n_tokens[N_EMBEDDED];
    const int32_t *tokens[N_EMBEDDED];
    spn_pooling_type pooling = (spn_pooling_type)(1 + random_below(3));
    float *alone = malloc(N_EMBEDDED * n_embd * sizeof *alone);
    float *batched = malloc(N_EMBEDDED * n_embd * sizeof *batched);
    uint32_t n_batch = 1 + random_below(128);
    spn_session *one = session_of(s, 1, 1, SPN_KV_TYPE_DEFAULT);
    spn_session *many = session_of(s, 1 + random_below(3), n_batch, SPN_KV_TYPE_DEFAULT);
    for (size_t i = 0; i < N_EMBEDDED; i++) {
        size_t first = random_below(N_TOKENS);
        tokens[i] = s->tokens + first;
        n_tokens[i] = 1 + random_below((uint32_t)(i % 3 == 0 ? N_TOKENS - first : 8));
        if (n_tokens[i] > N_TOKENS - first) n_tokens[i] = N_TOKENS - first;
        check(spn_session_embed(one, tokens[i], n_tokens[i], pooling, alone + i * n_embd, &err),
              &err);
    }
    for (int round = 0; round < 2; round++) { /* the second in memory that is no longer clean */
        check(spn_session_embed_batch(many, tokens, n_tokens, N_EMBEDDED, pooling, batched, &err),
              &err);
        for (size_t i = 0; i < N_EMBEDDED; i++)
            if (memcmp(alone + i * n_embd, batched + i * n_embd, n_embd * sizeof *alone) != 0)
                fail_msg("pooling %d, batches of %u: text %zu, of %zu tokens, is not as alone",
                         (int)pooling, n_batch, i, n_tokens[i]);
    }
    spn_session_free(one);
    spn_session_free(many);
    free(alone);
    free(batched);
}

/* An encoder sees the whole text at once: threads and levels are all that may change. */
static void encoder(const char *path, const subject *s) {
    spn_error err;
    float *expected = malloc(s->info->n_embd * sizeof *expected);
    float *out = malloc(s->info->n_embd * sizeof *out);
    for (int level = SPN_CPU_LEVEL_DEFAULT; level < SPN_CPU_LEVEL_COUNT; level++)
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            if (level && !spn_cpu_level_is_available((spn_cpu_level)level)) continue;
            spn_model *model;
            spn_session *session;
            spn_model_options model_options = {.cpu_level = (spn_cpu_level)level};
            spn_session_options options = {.n_ctx = 64, .n_threads = n_threads};
            bool first = level == SPN_CPU_LEVEL_DEFAULT && n_threads == 1;
            check(spn_model_open(&model, path, &model_options, &err), &err);
            check(spn_session_create(&session, model, &options, &err), &err);
            check(spn_session_embed(session, s->tokens, 60, SPN_POOLING_TYPE_DEFAULT,
                                    first ? expected : out, &err),
                  &err);
            if (!first) assert_memory_equal(out, expected, s->info->n_embd * sizeof *out);
            spn_session_free(session);
            spn_model_close(model);
        }
    free(expected);
    free(out);
}

static void same_answer(void **state) {
    const char *path = *state;
    spn_error err;
    subject s;
    spn_status status = spn_model_open(&s.model, path, NULL, &err);
    check(status, &err);
    s.info = spn_model_describe(s.model);
    s.row = s.info->n_vocab;
    for (int i = 0; i < N_TOKENS; i++) s.tokens[i] = (int32_t)random_below(s.info->n_vocab);
    embedded_together(&s);
    if (s.info->is_encoder) {
        encoder(path, &s);
        spn_model_close(s.model);
        return;
    }
    s.expected = malloc(N_TOKENS * s.row * sizeof *s.expected);
    score(&s, 1, 128, SPN_KV_TYPE_F32, s.expected);
    threads_and_batches(&s);
    prefixes(&s);
    saved_sessions(&s);
    in_a_batch(&s);
    kv_types(&s);
    cpu_levels(path, &s);
    free(s.expected);
    spn_model_close(s.model);
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[MAX_MODELS];
    static char paths[MAX_MODELS][512];
    size_t n = 0;
    const char *seed = getenv("SPN_TEST_SEED"), *folder = argc > 1 ? argv[1] : "tests/golden";
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)random_state);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && n < MAX_MODELS && (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len < 5 || strcmp(entry->d_name + len - 5, ".gguf") != 0) continue;
        if (argc > 2 && strstr(entry->d_name, argv[2]) == NULL) continue;
        snprintf(paths[n], sizeof paths[n], "%s/%s", folder, entry->d_name);
        tests[n] = (struct CMUnitTest){.name = paths[n] + strlen(folder) + 1,
                                       .test_func = same_answer,
                                       .initial_state = paths[n]};
        n++;
    }
    if (dir != NULL) closedir(dir);
    if (n == 0) {
        fprintf(stderr, "no models in %s\n", folder);
        return 1;
    }
    return _cmocka_run_group_tests("invariants", tests, n, NULL, NULL);
}
