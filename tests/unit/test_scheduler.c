/* test_scheduler.c - many texts side by side give what each gives alone.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spn/spn.h"

#define MODEL_PATH "tests/golden/stories260K.gguf"
enum { N_REQUESTS = 12, N_GENERATED = 24, MAX_PROMPT = 60 };

static spn_model *model;

typedef struct tale {
    int32_t prompt[MAX_PROMPT];
    size_t n_prompt;
    int32_t expected[N_GENERATED];
    size_t n_streamed;
    int n_done;
    spn_request_result result; /* tokens and error are not valid any more */
    bool equal;
    int32_t stop_after; /* on_token returns false then; 0: never */
} tale;

static void check(spn_status status, const spn_error *err) {
    if (status != SPN_STATUS_OK) fail_msg("%s", err->text);
}

static int open_model(void **state) {
    (void)state;
    return spn_model_open(&model, MODEL_PATH, NULL, NULL) != SPN_STATUS_OK;
}

static int close_model(void **state) {
    (void)state;
    spn_model_close(model);
    return 0;
}

static spn_sampler_options sampler_of(int number) {
    return (spn_sampler_options){.greedy = number % 3 == 0,
                                 .temperature = 0.9f,
                                 .seed = 100 + (uint64_t)number,
                                 .repeat_penalty = 1.1f};
}

/* What a session and a sampler give for the story by themselves. */
static void tell_alone(tale *story, int number) {
    spn_error err;
    spn_session *session;
    spn_sampler *sampler;
    spn_sampler_options options = sampler_of(number);
    int32_t tokens[MAX_PROMPT + N_GENERATED];
    size_t n = story->n_prompt;
    memcpy(tokens, story->prompt, n * sizeof *tokens);
    check(spn_session_create(&session, model, &(spn_session_options){.n_ctx = 128}, &err), &err);
    check(spn_sampler_create(&sampler, spn_model_describe(model)->n_vocab, &options, &err), &err);
    for (size_t i = 0; i < n; i++) check(spn_sampler_accept(sampler, tokens[i], &err), &err);
    for (int i = 0; i < N_GENERATED; i++) {
        check(spn_session_sync(session, tokens, n, NULL, &err), &err);
        int32_t token = spn_sampler_sample(sampler, spn_session_logits(session));
        check(spn_sampler_accept(sampler, token, &err), &err);
        tokens[n++] = story->expected[i] = token;
    }
    spn_sampler_free(sampler);
    spn_session_free(session);
}

static void make_stories(tale *stories) {
    memset(stories, 0, N_REQUESTS * sizeof *stories);
    for (int i = 0; i < N_REQUESTS; i++) {
        stories[i].n_prompt = 1 + (size_t)(i * 17) % (MAX_PROMPT - 1);
        for (size_t j = 0; j < stories[i].n_prompt; j++)
            stories[i].prompt[j] = (int32_t)(1 + (j * 7 + (size_t)(i % 3) * j * j) % 500);
        tell_alone(&stories[i], i);
    }
}

static bool on_token(uint64_t id, int32_t token, void *user) {
    tale *story = user;
    (void)id;
    (void)token;
    story->n_streamed++;
    return story->stop_after == 0 || story->n_streamed < (size_t)story->stop_after;
}

static void on_done(const spn_request_result *result, void *user) {
    tale *story = user;
    story->n_done++;
    story->result = *result;
    size_t n = result->n_tokens < N_GENERATED ? result->n_tokens : N_GENERATED;
    story->equal = memcmp(result->tokens, story->expected, n * sizeof(int32_t)) == 0;
}

static void submit(spn_scheduler *scheduler, tale *story, int number, uint64_t *id) {
    spn_error err;
    spn_request request = {.tokens = story->prompt,
                           .n_tokens = story->n_prompt,
                           .sampler = sampler_of(number),
                           .max_tokens = N_GENERATED,
                           .priority = number % 2,
                           .ignore_end = true,
                           .on_token = on_token,
                           .on_done = on_done,
                           .user = story};
    check(spn_scheduler_submit(scheduler, &request, id, &err), &err);
}

static void together_as_alone(void **state) {
    (void)state;
    static tale stories[N_REQUESTS];
    make_stories(stories);
    for (uint32_t n_sequences = 1; n_sequences <= 9; n_sequences += 4)
        for (uint32_t n_batch = 9; n_batch < 100; n_batch += 40) {
            spn_error err;
            spn_scheduler *scheduler;
            spn_scheduler_options options = {
                .n_sequences = n_sequences, .n_ctx = 128, .n_batch = n_batch};
            check(spn_scheduler_create(&scheduler, model, &options, &err), &err);
            for (int i = 0; i < N_REQUESTS; i++) {
                stories[i].n_done = 0;
                stories[i].n_streamed = 0;
                submit(scheduler, &stories[i], i, NULL);
            }
            spn_scheduler_wait(scheduler);
            for (int i = 0; i < N_REQUESTS; i++) {
                assert_int_equal(stories[i].n_done, 1);
                assert_int_equal(stories[i].result.status, SPN_STATUS_OK);
                assert_int_equal(stories[i].result.finish_reason, SPN_FINISH_REASON_LENGTH);
                assert_int_equal(stories[i].result.n_tokens, N_GENERATED);
                assert_int_equal(stories[i].n_streamed, N_GENERATED);
                assert_true(stories[i].equal);
            }
            spn_scheduler_free(scheduler);
        }
}

static void a_known_beginning_is_not_read_again(void **state) {
    (void)state;
    static tale stories[N_REQUESTS];
    spn_error err;
    spn_scheduler *scheduler;
    make_stories(stories);
    tale *story = &stories[3];
    check(spn_scheduler_create(&scheduler, model, &(spn_scheduler_options){.n_ctx = 128}, &err),
          &err);
    submit(scheduler, story, 3, NULL);
    spn_scheduler_wait(scheduler);
    assert_int_equal(story->result.n_cached_tokens, 0);
    submit(scheduler, story, 3, NULL);
    spn_scheduler_wait(scheduler);
    assert_int_equal(story->result.n_cached_tokens, story->n_prompt - 1);
    assert_true(story->equal);
    spn_scheduler_free(scheduler);
}

static void cancelling_ends_a_request(void **state) {
    (void)state;
    static tale stories[N_REQUESTS];
    spn_error err;
    spn_scheduler *scheduler;
    uint64_t id;
    make_stories(stories);
    check(spn_scheduler_create(&scheduler, model,
                               &(spn_scheduler_options){.n_sequences = 2, .n_ctx = 128}, &err),
          &err);
    stories[0].stop_after = 5;
    submit(scheduler, &stories[0], 0, NULL);
    submit(scheduler, &stories[1], 1, &id);
    spn_scheduler_cancel(scheduler, id);
    spn_scheduler_cancel(scheduler, 12345); /* never was */
    spn_scheduler_wait(scheduler);
    assert_int_equal(stories[0].n_done, 1);
    assert_int_equal(stories[0].n_streamed, 5);
    assert_int_equal(stories[0].result.finish_reason, SPN_FINISH_REASON_CANCELLED);
    assert_int_equal(stories[1].n_done, 1);
    spn_scheduler_free(scheduler);
}

/* Freeing with work in hand reports every request once. */
static void freeing_reports_everything(void **state) {
    (void)state;
    static tale stories[N_REQUESTS];
    make_stories(stories);
    for (int round = 0; round < 20; round++) {
        spn_error err;
        spn_scheduler *scheduler;
        check(spn_scheduler_create(&scheduler, model,
                                   &(spn_scheduler_options){.n_sequences = 3, .n_ctx = 128}, &err),
              &err);
        for (int i = 0; i < N_REQUESTS; i++) {
            stories[i].n_done = 0;
            submit(scheduler, &stories[i], i, NULL);
        }
        spn_scheduler_free(scheduler);
        for (int i = 0; i < N_REQUESTS; i++) assert_int_equal(stories[i].n_done, 1);
    }
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    spn_error err;
    spn_scheduler *scheduler;
    int32_t long_prompt[200] = {0}, bad = 100000;
    check(spn_scheduler_create(&scheduler, model, &(spn_scheduler_options){.n_ctx = 128}, &err),
          &err);
    spn_request request = {.tokens = long_prompt, .n_tokens = 200};
    assert_int_equal(spn_scheduler_submit(scheduler, &request, NULL, &err),
                     SPN_STATUS_CONTEXT_FULL);
    assert_non_null(strstr(err.text, "200"));
    assert_non_null(strstr(err.text, "128"));
    request.n_tokens = 0;
    assert_int_equal(spn_scheduler_submit(scheduler, &request, NULL, &err),
                     SPN_STATUS_INVALID_ARGUMENT);
    request = (spn_request){.tokens = &bad, .n_tokens = 1};
    assert_int_equal(spn_scheduler_submit(scheduler, &request, NULL, &err),
                     SPN_STATUS_INVALID_ARGUMENT);
    request = (spn_request){.tokens = long_prompt, .n_tokens = 1, .sampler = {.top_p = 7}};
    assert_int_equal(spn_scheduler_submit(scheduler, &request, NULL, &err),
                     SPN_STATUS_INVALID_ARGUMENT);
    spn_scheduler_free(scheduler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(together_as_alone),
        cmocka_unit_test(a_known_beginning_is_not_read_again),
        cmocka_unit_test(cancelling_ends_a_request),
        cmocka_unit_test(freeing_reports_everything),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
