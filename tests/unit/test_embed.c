/* test_embed.c - texts to vectors, one by one and together. SPDX-License-Identifier: Apache-2.0
 *
 * What an embedding is follows from the model being causal: the hidden state behind token t is the
 * last-token embedding of the text that ends there, so mean and first-token pooling are arithmetic
 * over those. That it is the right hidden state, tests/golden shows; that it is equal bit for bit
 * in every company, for every architecture, tests/invariants. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spn/spn.h"

#define MODEL "tests/golden/stories260K.gguf"

enum { N_EMBD = 64, N = 40 };

static void check(spn_status status, const spn_error *err) {
    if (status != SPN_STATUS_OK) fail_msg("%s", err->text);
}

static spn_runtime *load(const spn_load_config *config) {
    spn_runtime *runtime = NULL;
    spn_error err = {0};
    check(spn_runtime_create(&runtime, &err), &err);
    check(spn_runtime_load(runtime, MODEL, config, &err), &err);
    return runtime;
}

static void pooling_is_arithmetic(void **state) {
    (void)state;
    spn_model *model = NULL;
    spn_session *session = NULL;
    spn_error err = {0};
    int32_t tokens[N];
    const int32_t *prefixes[N];
    size_t lengths[N];
    float last[N][N_EMBD], mean[N_EMBD], first[N_EMBD], own[N_EMBD];
    for (int i = 0; i < N; i++) {
        tokens[i] = 3 + 7 * i % 250;
        prefixes[i] = tokens;
        lengths[i] = (size_t)i + 1;
    }
    check(spn_model_open(&model, MODEL, NULL, &err), &err);
    assert_int_equal(spn_model_describe(model)->n_embd, N_EMBD);
    check(spn_session_create(&session, model, NULL, &err), &err);
    check(spn_session_embed_batch(session, prefixes, lengths, N, SPN_POOLING_TYPE_LAST, last[0],
                                  &err),
          &err);
    check(spn_session_embed(session, tokens, N, SPN_POOLING_TYPE_MEAN, mean, &err), &err);
    check(spn_session_embed(session, tokens, N, SPN_POOLING_TYPE_CLS, first, &err), &err);
    check(spn_session_embed(session, tokens, N, SPN_POOLING_TYPE_DEFAULT, own, &err), &err);
    assert_memory_equal(first, last[0], sizeof first);
    assert_memory_equal(own, last[N - 1], sizeof own); /* the file says nothing of pooling */
    for (int e = 0; e < N_EMBD; e++) {
        double sum = 0;
        for (int i = 0; i < N; i++) sum += (double)last[i][e];
        assert_true(fabs(sum / N - (double)mean[e]) <= 1e-7 * fabs(sum / N) + 1e-12);
    }
    assert_int_equal(spn_session_embed(session, tokens, N, (spn_pooling_type)9, mean, &err),
                     SPN_STATUS_INVALID_ARGUMENT);
    spn_session_free(session);
    spn_model_close(model);
}

/* A session that had a text cached goes on as if it had never embedded anything. */
static void embedding_leaves_the_session_usable(void **state) {
    (void)state;
    spn_model *model = NULL;
    spn_session *session = NULL;
    spn_error err = {0};
    const int32_t tokens[] = {1, 403, 407, 261};
    float vector[N_EMBD], before[512], after[512];
    size_t n_reused = 9;
    check(spn_model_open(&model, MODEL, NULL, &err), &err);
    size_t n_vocab = spn_model_describe(model)->n_vocab;
    assert_true(n_vocab <= 512);
    check(spn_session_create(&session, model, NULL, &err), &err);
    check(spn_session_sync(session, tokens, 4, NULL, &err), &err);
    memcpy(before, spn_session_logits(session), n_vocab * sizeof(float));
    check(spn_session_embed(session, tokens, 3, SPN_POOLING_TYPE_MEAN, vector, &err), &err);
    assert_null(spn_session_logits(session));
    check(spn_session_sync(session, tokens, 4, &n_reused, &err), &err);
    assert_int_equal(n_reused, 0);
    memcpy(after, spn_session_logits(session), n_vocab * sizeof(float));
    assert_memory_equal(before, after, n_vocab * sizeof(float));
    spn_session_free(session);
    spn_model_close(model);
}

static void texts_together_are_texts_alone(void **state) {
    (void)state;
    enum { TEXTS = 150 }; /* more than share a pass */
    static char text[TEXTS][200];
    const char *texts[TEXTS];
    static spn_embedding_response together[TEXTS];
    spn_error err = {0};
    spn_load_config config = {.session.n_batch = 100};
    spn_runtime *runtime = load(&config);
    for (int i = 0; i < TEXTS; i++) {
        snprintf(text[i], sizeof text[i], "%.*s %d", i * 37 % 150,
                 "The little cat saw a big red ball in the park and wanted to play with it, but a "
                 "dog took it home and slept on it until the sun went down.",
                 i);
        texts[i] = text[i];
    }
    check(spn_runtime_embed_batch(runtime, texts, TEXTS, NULL, together, &err), &err);
    for (int i = 0; i < TEXTS; i++) {
        spn_embedding_response alone = {0};
        check(spn_runtime_embed(runtime, texts[i], NULL, &alone, &err), &err);
        assert_int_equal(alone.dimension, N_EMBD);
        assert_int_equal(together[i].dimension, N_EMBD);
        assert_int_equal(alone.n_prompt_tokens, together[i].n_prompt_tokens);
        assert_memory_equal(alone.embedding, together[i].embedding, N_EMBD * sizeof(float));
        double length = 0;
        for (int e = 0; e < N_EMBD; e++)
            length += (double)alone.embedding[e] * (double)alone.embedding[e];
        assert_true(fabs(length - 1) < 1e-5);
        spn_embedding_response_clear(&alone);
        spn_embedding_response_clear(&together[i]);
        assert_null(together[i].embedding);
    }
    check(spn_runtime_embed_batch(runtime, NULL, 0, NULL, NULL, &err), &err);
    spn_runtime_free(runtime);
}

static void a_text_that_fails_is_named_and_spoils_nothing(void **state) {
    (void)state;
    static char long_text[4000];
    spn_embedding_response responses[3], before[3];
    const char *texts[] = {"One.", long_text, NULL};
    spn_error err = {0};
    for (size_t i = 0; i + 1 < sizeof long_text; i++) long_text[i] = i % 2 ? ' ' : 'x';
    memset(responses, 0x5a, sizeof responses);
    memcpy(before, responses, sizeof before);
    spn_runtime *runtime = NULL;
    check(spn_runtime_create(&runtime, &err), &err);
    assert_int_equal(spn_runtime_embed_batch(runtime, texts, 2, NULL, responses, &err),
                     SPN_STATUS_MODEL_NOT_LOADED);
    assert_int_equal(err.item, 0);
    check(spn_runtime_load(runtime, MODEL, NULL, &err), &err);
    assert_int_equal(spn_runtime_embed_batch(runtime, texts, 2, NULL, responses, &err),
                     SPN_STATUS_CONTEXT_FULL);
    assert_int_equal(err.item, 2);
    assert_non_null(strstr(err.text, "512"));
    assert_int_equal(spn_runtime_embed_batch(runtime, texts, 3, NULL, responses, &err),
                     SPN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(err.item, 3);
    assert_int_equal(spn_runtime_embed(runtime, long_text, NULL, responses, &err),
                     SPN_STATUS_CONTEXT_FULL);
    assert_int_equal(err.item, 1);
    assert_memory_equal(responses, before, sizeof before);
    const spn_embed_options cut = {.truncate = true, .no_normalize = true};
    check(spn_runtime_embed_batch(runtime, texts, 2, &cut, responses, &err), &err);
    assert_false(responses[0].truncated);
    assert_true(responses[1].truncated);
    assert_int_equal(responses[1].n_prompt_tokens, 512);
    spn_embedding_response_clear(&responses[0]);
    spn_embedding_response_clear(&responses[1]);
    spn_runtime_free(runtime);
}

typedef struct watch {
    size_t n_calls, last_done, n_total, stop_at;
} watch;

static bool on_progress(size_t n_done, size_t n_total, void *user) {
    watch *w = user;
    assert_true(n_done >= w->last_done && n_done < n_total);
    w->last_done = n_done;
    w->n_total = n_total;
    return ++w->n_calls != w->stop_at;
}

static void progress_counts_all_texts(void **state) {
    (void)state;
    const char *texts[] = {"A cat.", "The dog and the cat and the girl went to the park.", "A dog.",
                           "It is a sunny day.", "It is a rainy day."};
    spn_embedding_response responses[5] = {{0}};
    watch w = {0};
    size_t n_tokens = 0;
    spn_error err = {0};
    /* Batches of 10: the second text alone takes several. */
    spn_load_config config = {.session = {.n_batch = 10, .progress = on_progress}};
    config.session.progress_user = &w;
    spn_runtime *runtime = load(&config);
    check(spn_runtime_embed_batch(runtime, texts, 5, NULL, responses, &err), &err);
    for (int i = 0; i < 5; i++) {
        n_tokens += responses[i].n_prompt_tokens;
        spn_embedding_response_clear(&responses[i]);
    }
    assert_int_equal(w.n_total, n_tokens);
    assert_true(w.n_calls >= 4);
    w = (watch){.stop_at = 2};
    assert_int_equal(spn_runtime_embed_batch(runtime, texts, 5, NULL, responses, &err),
                     SPN_STATUS_CANCELLED);
    assert_null(responses[0].embedding);
    spn_runtime_free(runtime);
}

static void executors_embed_batches(void **state) {
    (void)state;
    const char *texts[] = {"A cat.", "A dog.", "A cat."};
    spn_embedding_response responses[3] = {{0}};
    spn_executor *executor = NULL;
    spn_error err = {0};
    check(spn_executor_create(&executor, NULL, &err), &err);
    check(spn_executor_embed_batch(executor, MODEL, texts, 3, NULL, responses, &err), &err);
    assert_memory_equal(responses[0].embedding, responses[2].embedding, N_EMBD * sizeof(float));
    assert_true(spn_cosine_similarity(responses[0].embedding, responses[1].embedding, N_EMBD) <
                0.9999);
    for (int i = 0; i < 3; i++) spn_embedding_response_clear(&responses[i]);
    spn_executor_free(executor);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pooling_is_arithmetic),
        cmocka_unit_test(embedding_leaves_the_session_usable),
        cmocka_unit_test(texts_together_are_texts_alone),
        cmocka_unit_test(a_text_that_fails_is_named_and_spoils_nothing),
        cmocka_unit_test(progress_counts_all_texts),
        cmocka_unit_test(executors_embed_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
