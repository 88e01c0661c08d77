/* test_runtime.c - text in, text out, with a small trained model.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The greedy text of stories260K is published by the model's author; everything else follows from
 * it: what stop sequences, limits and cancelling leave of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spn/spn.h"
#include "temp.h"

#define MODEL "tests/golden/stories260K.gguf"
#define BEGINNING                                                                             \
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the " \
    "park. One day, she saw a big, red ball. She wanted to play with it, but it was too high."

static spn_runtime *load(const spn_load_config *config) {
    spn_runtime *runtime = NULL;
    spn_error err = {0};
    assert_int_equal(spn_runtime_create(&runtime, &err), SPN_STATUS_OK);
    if (spn_runtime_load(runtime, MODEL, config, &err) != SPN_STATUS_OK) fail_msg("%s", err.text);
    return runtime;
}

static spn_chat_response infer(spn_runtime *runtime, const char *prompt,
                               const spn_chat_options *options) {
    spn_chat_response response = {0};
    spn_error err = {0};
    if (spn_runtime_infer(runtime, prompt, options, &response, &err) != SPN_STATUS_OK)
        fail_msg("%s", err.text);
    assert_int_equal(strlen(response.content), response.content_bytes);
    return response;
}

static const spn_chat_options greedy = {.sampler = {.greedy = true}, .max_tokens = 80};

static void greedy_text_is_the_authors(void **state) {
    (void)state;
    spn_runtime *runtime = load(NULL);
    spn_chat_response response = infer(runtime, "", &greedy);
    assert_memory_equal(response.content, BEGINNING, strlen(BEGINNING));
    assert_int_equal(response.finish_reason, SPN_FINISH_REASON_LENGTH);
    assert_int_equal(response.n_completion_tokens, 80);
    assert_int_equal(response.n_prompt_tokens, 1);
    assert_int_equal(response.n_ctx, 512);
    spn_chat_response_clear(&response);
    assert_null(response.content);
    spn_runtime_free(runtime);
}

/* Whatever part of the text is the prompt, the rest continues it, blanks included. */
static void prompts_are_continued(void **state) {
    (void)state;
    spn_runtime *runtime = load(NULL);
    const char *const prompts[] = {"Once upon", "Once upon a time, there was a little girl"};
    for (size_t i = 0; i < 2; i++) {
        spn_chat_response response = infer(runtime, prompts[i], &greedy);
        size_t n = strlen(prompts[i]);
        assert_memory_equal(response.content, &BEGINNING[n], strlen(BEGINNING) - n);
        spn_chat_response_clear(&response);
    }
    spn_runtime_free(runtime);
}

static void a_second_turn_reads_only_what_is_new(void **state) {
    (void)state;
    spn_runtime *runtime = load(NULL);
    spn_chat_options options = greedy;
    options.max_tokens = 5;
    spn_chat_response first = infer(runtime, "Once upon a time, there was", &options);
    spn_chat_response second =
        infer(runtime, "Once upon a time, there was a little girl", &options);
    assert_int_equal(first.n_cached_tokens, 0);
    assert_true(second.n_cached_tokens >= first.n_prompt_tokens);
    assert_true(second.n_cached_tokens < second.n_prompt_tokens);
    spn_chat_response_clear(&first);
    spn_chat_response_clear(&second);
    spn_runtime_free(runtime);
}

/* ---- a full context ---- */

enum { SMALL_CTX = 64, N_SHIFTED = 300 };

/* The same by hand, from what the header says: a fresh session for every shifted text. */
static char *shifted_by_hand(size_t n_keep, uint32_t *n_dropped) {
    spn_model *model = NULL;
    spn_session *session = NULL;
    spn_session_options options = {.n_ctx = SMALL_CTX, .n_threads = 1};
    int32_t text[SMALL_CTX + 1] = {1}, made[N_SHIFTED];
    size_t n = 1, n_bytes;
    char *out;
    *n_dropped = 0;
    assert_int_equal(spn_model_open(&model, MODEL, NULL, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_session_create(&session, model, &options, NULL), SPN_STATUS_OK);
    for (size_t i = 0; i < N_SHIFTED; i++) {
        assert_int_equal(spn_session_sync(session, text, n, NULL, NULL), SPN_STATUS_OK);
        const float *logits = spn_session_logits(session);
        int32_t best = 0;
        for (int32_t t = 1; t < (int32_t)spn_model_describe(model)->n_vocab; t++)
            if (logits[t] > logits[best]) best = t;
        made[i] = text[n++] = best;
        if (n < SMALL_CTX) continue;
        size_t drop = (n - n_keep) / 2;
        memmove(text + n_keep, text + n_keep + drop, (n - n_keep - drop) * sizeof *text);
        n -= drop;
        *n_dropped += (uint32_t)drop;
        spn_session_free(session);
        assert_int_equal(spn_session_create(&session, model, &options, NULL), SPN_STATUS_OK);
    }
    assert_int_equal(spn_tokenizer_decode(spn_model_tokenizer(model), made, N_SHIFTED, false, &out,
                                          &n_bytes, NULL),
                     SPN_STATUS_OK);
    spn_session_free(session);
    spn_model_close(model);
    return out;
}

static void a_shifted_context_goes_on_as_if_read_anew(void **state) {
    (void)state;
    spn_load_config config = {.session = {.n_ctx = SMALL_CTX, .n_threads = 1}};
    spn_runtime *runtime = load(&config);
    for (uint32_t n_keep = 1; n_keep <= 32; n_keep += 31) {
        uint32_t n_dropped;
        char *expected = shifted_by_hand(n_keep, &n_dropped);
        for (int mode = SPN_LOOKAHEAD_MODE_OFF; mode <= SPN_LOOKAHEAD_MODE_ALWAYS; mode++) {
            spn_chat_options options = {.sampler = {.greedy = true},
                                        .max_tokens = N_SHIFTED,
                                        .ignore_end = true,
                                        .context_shift = true,
                                        .n_keep = n_keep,
                                        .lookahead = (spn_lookahead_mode)mode};
            spn_chat_response response = infer(runtime, "", &options);
            assert_int_equal(response.n_completion_tokens, N_SHIFTED);
            assert_int_equal(response.n_dropped_tokens, n_dropped);
            assert_string_equal(response.content, expected);
            spn_chat_response_clear(&response);
        }
        spn_free(expected);
    }
    spn_runtime_free(runtime);
}

static void a_full_context_is_told(void **state) {
    (void)state;
    spn_load_config config = {.session = {.n_ctx = SMALL_CTX, .n_threads = 1}};
    spn_runtime *runtime = load(&config);
    spn_chat_options options = {.sampler = {.greedy = true}};
    spn_chat_response response = infer(runtime, "", &options);
    assert_int_equal(response.finish_reason, SPN_FINISH_REASON_LENGTH);
    assert_int_equal(response.n_completion_tokens, SMALL_CTX - 1);
    assert_int_equal(response.n_dropped_tokens, 0);
    spn_chat_response_clear(&response);
    /* Shifted without a limit, the context is one all the same. */
    options.context_shift = options.ignore_end = true;
    response = infer(runtime, "", &options);
    assert_int_equal(response.finish_reason, SPN_FINISH_REASON_LENGTH);
    assert_int_equal(response.n_completion_tokens, SMALL_CTX);
    spn_chat_response_clear(&response);
    spn_error err = {0};
    options.n_keep = SMALL_CTX / 2 + 1;
    assert_int_equal(spn_runtime_infer(runtime, "", &options, &response, &err),
                     SPN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "33 tokens"));
    assert_non_null(strstr(err.text, "of 64"));
    options.n_keep = 0;
    char longer[1000];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(spn_runtime_infer(runtime, longer, &options, &response, &err),
                     SPN_STATUS_CONTEXT_FULL);
    spn_runtime_free(runtime);
}

/* A biased token is the only one that ever comes: 512 repetitions are enough for those who set no
 * limit, and no reason to stop for those who did. */
static void a_loop_ends_where_nobody_wants_it(void **state) {
    (void)state;
    spn_load_config config = {.session = {.n_ctx = 2048, .n_threads = 1}};
    spn_runtime *runtime = load(&config);
    spn_logit_bias bias = {300, 1e6F};
    spn_chat_options options = {.sampler = {.greedy = true, .bias = &bias, .n_bias = 1}};
    spn_chat_response response = infer(runtime, "", &options);
    assert_int_equal(response.finish_reason, SPN_FINISH_REASON_LENGTH);
    assert_int_equal(response.n_completion_tokens, 513);
    assert_int_equal(response.n_repeated_tokens, 512);
    spn_chat_response_clear(&response);
    options.max_tokens = 600;
    response = infer(runtime, "", &options);
    assert_int_equal(response.n_completion_tokens, 600);
    assert_int_equal(response.n_repeated_tokens, 599);
    spn_chat_response_clear(&response);
    spn_runtime_free(runtime);
}

/* A conversation that has outgrown its context goes on in a larger one. */
static void a_saved_session_fits_other_contexts(void **state) {
    (void)state;
    char path[4200];
    temp_make();
    snprintf(path, sizeof path, "%s/session", temp_root);
    spn_chat_options options = {.sampler = {.greedy = true}};
    spn_load_config config = {.session = {.n_ctx = SMALL_CTX, .n_threads = 1}};
    spn_runtime *runtime = load(&config);
    spn_chat_response first = infer(runtime, "", &options);
    assert_int_equal(spn_runtime_save_session(runtime, path, NULL), SPN_STATUS_OK);
    spn_runtime_free(runtime);

    config.session.n_ctx = 128;
    config.session.n_batch = 7;
    runtime = load(&config);
    assert_int_equal(spn_runtime_load_session(runtime, path, NULL), SPN_STATUS_OK);
    options.max_tokens = 80;
    spn_chat_response second = infer(runtime, first.content, &options);
    assert_true(second.n_cached_tokens >= SMALL_CTX - 2);
    spn_runtime_free(runtime);
    config.session.n_batch = 0;
    runtime = load(&config);
    spn_chat_response fresh = infer(runtime, first.content, &options);
    assert_string_equal(second.content, fresh.content);
    spn_chat_response_clear(&fresh);
    spn_runtime_free(runtime);

    spn_error err = {0};
    config.session.n_ctx = SMALL_CTX / 2;
    runtime = load(&config);
    assert_int_equal(spn_runtime_load_session(runtime, path, &err), SPN_STATUS_INVALID_CONFIG);
    assert_non_null(strstr(err.text, "do not fit a context of 32"));
    spn_runtime_free(runtime);
    temp_remove();
    spn_chat_response_clear(&first);
    spn_chat_response_clear(&second);
}

/* Twice what there is, from the estimate for one context: caches grow with it. */
static uint32_t too_large_a_context(void) {
    spn_memory_need need;
    spn_session_options options = {.n_ctx = 8192};
    assert_int_equal(spn_estimate_memory(MODEL, &options, &need, NULL), SPN_STATUS_OK);
    return (uint32_t)(2 * need.available / (need.kv / 8192));
}

static void what_does_not_fit_is_refused_with_numbers(void **state) {
    (void)state;
    spn_load_config config = {.session = {.n_ctx = too_large_a_context(), .n_threads = 1}};
    spn_runtime *runtime = NULL;
    spn_memory_need need = {0};
    spn_error err = {0};
    uint32_t n_ctx = 0;
    assert_int_equal(spn_runtime_create(&runtime, &err), SPN_STATUS_OK);
    assert_int_equal(spn_runtime_load(runtime, MODEL, &config, &err),
                     SPN_STATUS_INSUFFICIENT_MEMORY);
    assert_false(spn_runtime_is_loaded(runtime));
    assert_false(spn_runtime_memory(runtime, &need));
    assert_non_null(strstr(err.text, "are available"));
    const char *advice = strstr(err.text, "a context of at most");
    assert_non_null(advice);
    /* What the advice says does fit; so it must for four conversations, by itself. */
    assert_int_equal(sscanf(advice, "a context of at most %u tokens", &n_ctx), 1);
    config.session.n_ctx = n_ctx / 2;
    assert_int_equal(spn_runtime_load(runtime, MODEL, &config, &err), SPN_STATUS_OK);
    assert_true(spn_runtime_memory(runtime, &need));
    assert_true(need.total == need.weights + need.kv + need.scratch + need.process);
    assert_int_equal(need.n_ctx, n_ctx / 2);
    assert_int_equal(spn_runtime_unload(runtime, &err), SPN_STATUS_OK);
    config.session.n_ctx = n_ctx;
    config.n_conversations = 4;
    assert_int_equal(spn_runtime_load(runtime, MODEL, &config, &err),
                     SPN_STATUS_INSUFFICIENT_MEMORY);
    spn_runtime_free(runtime);
}

static void the_memory_check_can_be_skipped(void **state) {
    (void)state;
    spn_load_config config = {
        .session = {.n_ctx = too_large_a_context(), .n_threads = 1, .skip_memory_check = true}};
    spn_runtime *runtime = load(&config);
    spn_chat_response response = infer(runtime, "", &greedy);
    assert_memory_equal(response.content, BEGINNING, strlen(BEGINNING));
    spn_chat_response_clear(&response);
    spn_runtime_free(runtime);
}

static void conversations_and_drafts_count(void **state) {
    (void)state;
    spn_memory_need one, three, draft;
    spn_load_config config = {.n_conversations = 3};
    assert_int_equal(spn_runtime_estimate(MODEL, NULL, &one, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_runtime_estimate(MODEL, &config, &three, NULL), SPN_STATUS_OK);
    assert_int_equal(three.kv, 3 * one.kv);
    assert_int_equal(three.weights, one.weights);
    config = (spn_load_config){.draft_path = MODEL};
    assert_int_equal(spn_runtime_estimate(MODEL, &config, &draft, NULL), SPN_STATUS_OK);
    assert_int_equal(draft.kv, 2 * one.kv);
    assert_int_equal(draft.weights, 2 * one.weights);
}

static uint32_t cached(spn_runtime *runtime, const char *prompt) {
    spn_chat_options options = greedy;
    options.max_tokens = 3;
    spn_chat_response response = infer(runtime, prompt, &options);
    uint32_t n = response.n_cached_tokens;
    spn_chat_response_clear(&response);
    return n;
}

/* Two conversations, turn by turn; a third one takes the place of the one used longest ago. */
static void conversations_are_kept_apart(void **state) {
    (void)state;
    static const char *const tales[] = {"Once upon a time there was a cat. It sat on a mat.",
                                        "The king of the hill had three sons and a horse.",
                                        "A big red ball was lost in the park on Sunday."};
    for (uint32_t n = 1; n <= 2; n++) {
        spn_load_config config = {.n_conversations = n, .session = {.n_threads = 1}};
        spn_runtime *runtime = load(&config);
        assert_true(cached(runtime, tales[0]) <= 1); /* at most BOS */
        assert_true(cached(runtime, tales[1]) <= 1);
        if (n == 1)
            assert_true(cached(runtime, tales[0]) <= 1);
        else
            assert_true(cached(runtime, tales[0]) > 10);
        if (n == 2) assert_true(cached(runtime, tales[1]) > 10);
        assert_true(cached(runtime, tales[2]) <= 1);
        if (n == 2) assert_true(cached(runtime, tales[1]) > 10);
        assert_true(cached(runtime, tales[0]) <= 1);
        spn_runtime_free(runtime);
    }
    spn_load_config config = {.n_conversations = 65};
    spn_runtime *runtime = NULL;
    assert_int_equal(spn_runtime_create(&runtime, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_runtime_load(runtime, MODEL, &config, NULL), SPN_STATUS_INVALID_ARGUMENT);
    spn_runtime_free(runtime);
}

/* ---- the end ---- */

typedef struct sink {
    spn_runtime *runtime;
    char text[2048];
    size_t n;
    size_t cancel_at; /* bytes; 0: never */
    size_t refuse_at;
} sink;

static bool on_text(const char *text, size_t n_bytes, void *user) {
    sink *s = user;
    assert_true(n_bytes > 0 && s->n + n_bytes < sizeof s->text);
    memcpy(s->text + s->n, text, n_bytes);
    s->n += n_bytes;
    if (s->cancel_at > 0 && s->n >= s->cancel_at) spn_runtime_cancel(s->runtime);
    return s->refuse_at == 0 || s->n < s->refuse_at;
}

static void stop_sequences_end_the_text(void **state) {
    (void)state;
    spn_runtime *runtime = load(NULL);
    const char *const stop[] = {"no such text", "big, red", " ball"};
    sink s = {.runtime = runtime};
    spn_chat_options options = greedy;
    options.stop = stop;
    options.n_stop = 3;
    options.on_text = on_text;
    options.on_text_user = &s;
    spn_chat_response response = infer(runtime, "", &options);
    size_t n = (size_t)(strstr(BEGINNING, "big, red") - BEGINNING);
    assert_int_equal(response.content_bytes, n);
    assert_memory_equal(response.content, BEGINNING, n);
    assert_int_equal(s.n, n);
    assert_memory_equal(s.text, BEGINNING, n);
    assert_int_equal(response.finish_reason, SPN_FINISH_REASON_STOP);
    spn_chat_response_clear(&response);
    spn_runtime_free(runtime);
}

static void cancelling_keeps_what_came(void **state) {
    (void)state;
    spn_runtime *runtime = load(NULL);
    spn_chat_options options = greedy;
    for (int refuse = 0; refuse < 2; refuse++) {
        sink s = {.runtime = runtime};
        if (refuse)
            s.refuse_at = 20;
        else
            s.cancel_at = 20;
        options.on_text = on_text;
        options.on_text_user = &s;
        spn_chat_response response = infer(runtime, "", &options);
        assert_int_equal(response.finish_reason, SPN_FINISH_REASON_CANCELLED);
        assert_int_equal(response.content_bytes, s.n);
        assert_memory_equal(response.content, BEGINNING, s.n);
        assert_in_range(s.n, 20, 20 + 16); /* within one token */
        spn_chat_response_clear(&response);
    }
    /* A cancel without a running call leaves the next one alone. */
    spn_runtime_cancel(runtime);
    options.on_text = NULL;
    spn_chat_response response = infer(runtime, "", &options);
    assert_int_equal(response.finish_reason, SPN_FINISH_REASON_LENGTH);
    spn_chat_response_clear(&response);
    spn_runtime_free(runtime);
}

static bool cancel_at_once(size_t n_done, size_t n_total, void *user) {
    (void)n_total;
    *(size_t *)user = n_done;
    return false;
}

static void cancelling_a_prompt_is_no_failure(void **state) {
    (void)state;
    size_t n_done = SIZE_MAX;
    spn_load_config config = {
        .session = {.n_batch = 4, .progress = cancel_at_once, .progress_user = &n_done}};
    spn_runtime *runtime = load(&config);
    spn_chat_response response = infer(runtime, BEGINNING, &greedy);
    assert_int_equal(response.finish_reason, SPN_FINISH_REASON_CANCELLED);
    assert_int_equal(response.content_bytes, 0);
    assert_int_equal(response.n_completion_tokens, 0);
    assert_true(n_done != SIZE_MAX);
    spn_chat_response_clear(&response);
    spn_runtime_free(runtime);
}

static void the_context_is_a_limit(void **state) {
    (void)state;
    spn_load_config config = {.session = {.n_ctx = 32}};
    spn_runtime *runtime = load(&config);
    spn_chat_options options = greedy;
    options.max_tokens = 0;
    options.ignore_end = true;
    spn_chat_response response = infer(runtime, "", &options);
    assert_int_equal(response.finish_reason, SPN_FINISH_REASON_LENGTH);
    /* A token may follow the last one that the context holds... but not be evaluated. */
    assert_in_range(response.n_prompt_tokens + response.n_completion_tokens, 32, 33);
    spn_chat_response_clear(&response);
    spn_error err = {0};
    assert_int_equal(spn_runtime_infer(runtime, BEGINNING, &greedy, &response, &err),
                     SPN_STATUS_CONTEXT_FULL);
    assert_non_null(strstr(err.text, "32"));
    assert_null(response.content);
    spn_runtime_free(runtime);
}

/* ---- templates ---- */

static void templates_are_applied(void **state) {
    (void)state;
    spn_load_config config = {
        .chat_template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}"
                         "{% endfor %}{% if add_generation_prompt %}>{% endif %}"};
    spn_runtime *runtime = load(&config);
    const spn_chat_message messages[] = {{"system", "a \"b\"\n\x01"}, {"user", "\xc3\xa9\\"}};
    char *text = NULL;
    size_t n_bytes = 0;
    spn_error err = {0};
    assert_int_equal(spn_runtime_render(runtime, messages, 2, &text, &n_bytes, &err),
                     SPN_STATUS_OK);
    assert_string_equal(text, "<s>[system]a \"b\"\n\x01[user]\xc3\xa9\\>");
    assert_int_equal(n_bytes, strlen(text));
    spn_free(text);
    /* The template wrote BOS itself: it is not added again, so both count the same tokens. */
    spn_chat_options options = greedy;
    options.max_tokens = 1;
    spn_chat_response templated = infer(runtime, "x", &options), raw;
    options.raw = true;
    raw = infer(runtime, "[user]x>", &options);
    assert_int_equal(templated.n_prompt_tokens, raw.n_prompt_tokens);
    spn_chat_response_clear(&templated);
    spn_chat_response_clear(&raw);
    const spn_chat_message bad[] = {{"user", "\xff"}};
    spn_chat_response response = {0};
    assert_int_equal(spn_runtime_chat(runtime, bad, 1, NULL, &response, &err),
                     SPN_STATUS_INVALID_ARGUMENT);
    spn_runtime_free(runtime);
}

static void what_cannot_be_is_told(void **state) {
    (void)state;
    spn_runtime *runtime = load(NULL);
    spn_chat_response response = {0};
    spn_error err = {0};
    const spn_chat_message message = {"user", "x"};
    const char *const empty[] = {""};
    spn_chat_options options = greedy;
    assert_int_equal(spn_runtime_chat(runtime, &message, 1, NULL, &response, &err),
                     SPN_STATUS_TEMPLATE);
    options.stop = empty;
    options.n_stop = 1;
    assert_int_equal(spn_runtime_infer(runtime, "x", &options, &response, &err),
                     SPN_STATUS_INVALID_ARGUMENT);
    options = greedy;
    options.sampler.top_p = 7;
    assert_int_equal(spn_runtime_infer(runtime, "x", &options, &response, &err),
                     SPN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(spn_runtime_load(runtime, MODEL, NULL, &err), SPN_STATUS_ALREADY_LOADED);
    assert_int_equal(spn_runtime_unload(runtime, &err), SPN_STATUS_OK);
    assert_false(spn_runtime_is_loaded(runtime));
    assert_null(spn_runtime_model_info(runtime));
    assert_int_equal(spn_runtime_unload(runtime, &err), SPN_STATUS_MODEL_NOT_LOADED);
    assert_int_equal(spn_runtime_infer(runtime, "x", NULL, &response, &err),
                     SPN_STATUS_MODEL_NOT_LOADED);
    assert_int_equal(spn_runtime_load(runtime, "/nowhere.gguf", NULL, &err), SPN_STATUS_IO);
    spn_load_config config = {.chat_template = "{% for %}"};
    assert_int_equal(spn_runtime_load(runtime, MODEL, &config, &err), SPN_STATUS_TEMPLATE);
    assert_false(spn_runtime_is_loaded(runtime));
    assert_int_equal(spn_runtime_load(runtime, MODEL, NULL, &err), SPN_STATUS_OK);
    assert_null(response.content);
    spn_runtime_free(runtime);
    spn_runtime_free(NULL);
}

static void seeds_repeat_the_text(void **state) {
    (void)state;
    spn_runtime *runtime = load(NULL);
    spn_chat_options options = {.max_tokens = 40};
    options.sampler.dry_multiplier = 0.8f; /* with the breakers of the vocabulary */
    spn_chat_response first = infer(runtime, "", &options);
    options.sampler.seed = first.seed;
    spn_chat_response second = infer(runtime, "", &options);
    assert_true(first.seed != 0);
    assert_string_equal(first.content, second.content);
    spn_chat_response_clear(&first);
    spn_chat_response_clear(&second);
    spn_runtime_free(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_text_is_the_authors),
        cmocka_unit_test(prompts_are_continued),
        cmocka_unit_test(a_second_turn_reads_only_what_is_new),
        cmocka_unit_test(a_shifted_context_goes_on_as_if_read_anew),
        cmocka_unit_test(a_full_context_is_told),
        cmocka_unit_test(a_saved_session_fits_other_contexts),
        cmocka_unit_test(a_loop_ends_where_nobody_wants_it),
        cmocka_unit_test(what_does_not_fit_is_refused_with_numbers),
        cmocka_unit_test(the_memory_check_can_be_skipped),
        cmocka_unit_test(conversations_and_drafts_count),
        cmocka_unit_test(conversations_are_kept_apart),
        cmocka_unit_test(stop_sequences_end_the_text),
        cmocka_unit_test(cancelling_keeps_what_came),
        cmocka_unit_test(cancelling_a_prompt_is_no_failure),
        cmocka_unit_test(the_context_is_a_limit),
        cmocka_unit_test(templates_are_applied),
        cmocka_unit_test(what_cannot_be_is_told),
        cmocka_unit_test(seeds_repeat_the_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
