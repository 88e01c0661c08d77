/* test_lookahead.c - guessing ahead changes the time and never the text.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/lookahead.h"
#include "spn/spn.h"

static void check(spn_status status, const spn_error *err) {
    if (status != SPN_STATUS_OK) fail_msg("%s", err->text);
}

static void guesses_follow_the_longest_agreement(void **state) {
    (void)state;
    int32_t guesses[8];
    const int32_t text[] = {9, 1, 2, 3, 7, 8, 5, 2, 3, 6, 6, 1, 2, 3};
    /* "2 3" stands before 6 too, "1 2 3" only before 7 8. */
    assert_int_equal(spn_lookahead_find(text, 14, 3, 2, guesses), 2);
    assert_int_equal(guesses[0], 7);
    assert_int_equal(guesses[1], 8);
    assert_int_equal(spn_lookahead_find(text, 14, 4, 2, guesses), 0);
    assert_int_equal(spn_lookahead_find(text, 1, 1, 2, guesses), 0);
    /* A text that repeats itself to its end is guessed to go on so. */
    const int32_t same[] = {4, 4, 4, 4, 4};
    assert_int_equal(spn_lookahead_find(same, 5, 3, 8, guesses), 8);
    for (size_t i = 0; i < 8; i++) assert_int_equal(guesses[i], 4);
    const int32_t three[] = {8, 1, 2, 3, 1, 2, 3, 1, 2};
    assert_int_equal(spn_lookahead_find(three, 9, 3, 5, guesses), 5);
    for (size_t i = 0; i < 5; i++) assert_int_equal(guesses[i], 1 + (i + 2) % 3);
}

static void tell(const char *path, const char *draft, const char *prompt, spn_lookahead_mode mode,
                 uint64_t seed, spn_chat_response *out) {
    spn_error err;
    spn_runtime *runtime;
    spn_load_config config = {.session = {.n_ctx = 400}, .draft_path = draft};
    spn_chat_options options = {.sampler = {.greedy = seed == 0, .temperature = 0.7f, .seed = seed},
                                .max_tokens = 150,
                                .raw = true,
                                .lookahead = mode};
    check(spn_runtime_create(&runtime, &err), &err);
    check(spn_runtime_load(runtime, path, &config, &err), &err);
    check(spn_runtime_infer(runtime, prompt, &options, out, &err), &err);
    spn_runtime_free(runtime);
}

#define STORIES "tests/golden/stories260K.gguf"

static void the_text_is_the_same(void **state) {
    (void)state;
    const char *prompt = "Lily had a red ball. Tom had a red ball. Lily had a red ball. Tom had";
    for (uint64_t seed = 0; seed < 6; seed++) {
        spn_chat_response plain = {0}, text = {0}, model = {0};
        tell(STORIES, NULL, prompt, SPN_LOOKAHEAD_MODE_OFF, seed, &plain);
        tell(STORIES, NULL, prompt, SPN_LOOKAHEAD_MODE_ALWAYS, seed, &text);
        tell(STORIES, STORIES, prompt, SPN_LOOKAHEAD_MODE_ALWAYS, seed, &model);
        assert_string_equal(plain.content, text.content);
        assert_string_equal(plain.content, model.content);
        assert_int_equal(plain.n_guessed_tokens, 0);
        assert_true(text.n_came_tokens <= text.n_guessed_tokens);
        /* The draft model is the model: drawing greedily, all its own guesses come; those from the
         * text, which go first, need not. */
        if (seed == 0) {
            assert_true(text.n_came_tokens > 0);
            assert_true(model.n_came_tokens > text.n_came_tokens);
            assert_true(2 * model.n_came_tokens > model.n_guessed_tokens);
        }
        spn_chat_response_clear(&plain);
        spn_chat_response_clear(&text);
        spn_chat_response_clear(&model);
    }
}

static void another_vocabulary_is_refused(void **state) {
    (void)state;
    spn_error err;
    spn_runtime *runtime;
    spn_load_config config = {.draft_path = "models/tales.q8_0.gguf"};
    check(spn_runtime_create(&runtime, &err), &err);
    assert_int_equal(spn_runtime_load(runtime, STORIES, &config, &err), SPN_STATUS_INVALID_CONFIG);
    assert_non_null(strstr(err.text, "vocabulary"));
    assert_false(spn_runtime_is_loaded(runtime));
    spn_runtime_free(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_follow_the_longest_agreement),
        cmocka_unit_test(the_text_is_the_same),
        cmocka_unit_test(another_vocabulary_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
