/* test_executor.c - several models within a budget. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "platform/os.h"
#include "spn/spn.h"

#define STORIES "tests/golden/stories260K.gguf"
#define OTHER "tests/golden/arch-llama.gguf"
#define THIRD "tests/golden/arch-qwen2.gguf"

static const spn_chat_options few = {.sampler = {.greedy = true}, .max_tokens = 4};

static spn_executor *create(uint64_t budget, uint32_t max_models, int64_t keep_alive_ms) {
    spn_executor *executor = NULL;
    spn_executor_options options = {.memory_budget = budget, .max_models = max_models};
    options.load.keep_alive_ms = keep_alive_ms;
    options.load.session.n_threads = 1;
    assert_int_equal(spn_executor_create(&executor, &options, NULL), SPN_STATUS_OK);
    return executor;
}

static void infer(spn_executor *executor, const char *reference) {
    spn_chat_response response = {0};
    spn_error err = {0};
    if (spn_executor_infer(executor, reference, "Once", &few, &response, &err))
        fail_msg("%s: %s", reference, err.text);
    assert_true(response.n_completion_tokens <= 4);
    spn_chat_response_clear(&response);
}

/* The references of the loaded models, most recent first, with a blank behind each. */
static const char *running(spn_executor *executor) {
    static char text[1024];
    spn_running_model *models = NULL;
    size_t n = 0, at = 0;
    text[0] = '\0';
    assert_int_equal(spn_executor_running(executor, &models, &n, NULL), SPN_STATUS_OK);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s ", models[i].reference);
    spn_running_models_free(models, n);
    return text;
}

static uint64_t need(const char *path) {
    const spn_session_options options = {.n_threads = 1};
    spn_memory_need memory;
    assert_int_equal(spn_estimate_memory(path, &options, &memory, NULL), SPN_STATUS_OK);
    return memory.total - memory.process;
}

static void models_are_loaded_on_demand(void **state) {
    (void)state;
    spn_executor *executor = create(0, 0, 0);
    uint64_t budget, used;
    spn_executor_memory(executor, &budget, &used);
    assert_true(budget > 0 && used == 0);
    infer(executor, STORIES);
    infer(executor, OTHER);
    assert_string_equal(running(executor), OTHER " " STORIES " ");
    infer(executor, STORIES);
    assert_string_equal(running(executor), STORIES " " OTHER " ");
    spn_executor_memory(executor, &budget, &used);
    assert_int_equal(used, need(STORIES) + need(OTHER));
    spn_executor_free(executor);
    spn_executor_free(NULL);
}

static void the_least_recently_used_goes(void **state) {
    (void)state;
    spn_executor *executor = create(0, 2, 0);
    infer(executor, STORIES);
    infer(executor, OTHER);
    infer(executor, STORIES);
    infer(executor, THIRD);
    assert_string_equal(running(executor), THIRD " " STORIES " ");
    spn_executor_free(executor);
    /* The same by bytes. */
    executor = create(need(STORIES) + need(OTHER), 0, 0);
    infer(executor, OTHER);
    infer(executor, STORIES);
    infer(executor, THIRD);
    assert_null(strstr(running(executor), OTHER));
    spn_executor_free(executor);
}

static void what_never_fits_is_refused_with_numbers(void **state) {
    (void)state;
    spn_executor *executor = create(need(STORIES) - 1, 0, 0);
    spn_chat_response response = {0};
    spn_error err = {0};
    assert_int_equal(spn_executor_infer(executor, STORIES, "x", &few, &response, &err),
                     SPN_STATUS_INSUFFICIENT_MEMORY);
    assert_non_null(strstr(err.text, "MiB"));
    assert_int_equal(spn_executor_infer(executor, "/nowhere.gguf", "x", &few, &response, &err),
                     SPN_STATUS_IO);
    assert_string_equal(running(executor), "");
    spn_executor_free(executor);
}

static void a_model_in_use_never_goes(void **state) {
    (void)state;
    spn_executor *executor = create(0, 1, 0);
    spn_runtime *runtime = NULL, *second = NULL;
    spn_error err = {0};
    assert_int_equal(spn_executor_acquire(executor, STORIES, -1, &runtime, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_executor_acquire(executor, OTHER, 20, &second, &err), SPN_STATUS_TIMEOUT);
    assert_int_equal(spn_executor_acquire(executor, STORIES, 0, &second, &err), SPN_STATUS_TIMEOUT);
    assert_null(second);
    spn_running_model *models;
    size_t n;
    assert_int_equal(spn_executor_running(executor, &models, &n, NULL), SPN_STATUS_OK);
    assert_int_equal(n, 1);
    assert_true(models[0].is_in_use);
    assert_int_equal(models[0].n_ctx, 512);
    assert_string_equal(models[0].architecture, "llama");
    spn_running_models_free(models, n);
    spn_executor_release(executor, runtime);
    infer(executor, OTHER);
    assert_string_equal(running(executor), OTHER " ");
    spn_executor_free(executor);
}

static void idle_models_go_in_time(void **state) {
    (void)state;
    spn_executor *executor = create(0, 0, 30);
    spn_load_config stays = {.keep_alive_ms = -1};
    assert_int_equal(spn_executor_load(executor, OTHER, &stays, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_executor_load(executor, OTHER, &stays, NULL), SPN_STATUS_ALREADY_LOADED);
    infer(executor, STORIES);
    for (int i = 0; i < 1000 && strstr(running(executor), STORIES) != NULL; i++) spn_sleep_ms(10);
    assert_string_equal(running(executor), OTHER " ");
    spn_running_model *models;
    size_t n;
    assert_int_equal(spn_executor_running(executor, &models, &n, NULL), SPN_STATUS_OK);
    assert_int_equal(models[0].expires_in_ms, -1);
    spn_running_models_free(models, n);
    assert_int_equal(spn_executor_unload(executor, OTHER, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_executor_unload(executor, OTHER, NULL), SPN_STATUS_MODEL_NOT_LOADED);
    spn_executor_free(executor);
}

static void hot_swap_drops_nobody(void **state) {
    (void)state;
    spn_executor *executor = create(0, 0, 0);
    spn_runtime *old = NULL, *new = NULL;
    spn_load_config config = {.session = {.n_threads = 1}};
    assert_int_equal(spn_executor_load(executor, "tales", NULL, NULL), SPN_STATUS_IO);
    assert_int_equal(spn_executor_replace(executor, "tales", STORIES, &config, NULL),
                     SPN_STATUS_OK);
    assert_int_equal(spn_executor_acquire(executor, "tales", -1, &old, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_executor_replace(executor, "tales", OTHER, &config, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_executor_replace(executor, "tales", "/nowhere.gguf", &config, NULL),
                     SPN_STATUS_IO);
    assert_int_equal(spn_executor_acquire(executor, "tales", -1, &new, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_runtime_model_info(old)->n_vocab, 512);
    assert_true(spn_runtime_model_info(new) != spn_runtime_model_info(old));
    spn_chat_response response = {0};
    assert_int_equal(spn_runtime_infer(old, "Once", &few, &response, NULL), SPN_STATUS_OK);
    spn_chat_response_clear(&response);
    assert_string_equal(running(executor), "tales tales ");
    spn_executor_release(executor, old);
    assert_string_equal(running(executor), "tales ");
    spn_executor_release(executor, new);
    spn_executor_free(executor);
}

/* ---- many threads ---- */

typedef struct worker {
    spn_executor *executor;
    spn_thread *thread;
    unsigned seed;
    int n_done;
} worker;

static void work(void *arg) {
    worker *w = arg;
    static const char *const paths[] = {STORIES, OTHER, THIRD};
    for (int i = 0; i < 12; i++) {
        spn_chat_response response = {0};
        w->seed = w->seed * 1664525u + 1013904223u;
        const char *path = paths[(w->seed >> 16) % 3];
        if (w->seed >> 28 == 0) {
            spn_executor_unload(w->executor, path, NULL);
        } else if (spn_executor_infer(w->executor, path, "Once", &few, &response, NULL) ==
                   SPN_STATUS_OK) {
            w->n_done++;
            spn_chat_response_clear(&response);
        }
    }
}

static void threads_share_it(void **state) {
    (void)state;
    spn_executor *executor = create(0, 2, 1); /* two of three fit, and none stays long */
    worker workers[4];
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (worker){.executor = executor, .seed = i * 7919u + 1};
        assert_int_equal(spn_thread_start(&workers[i].thread, work, &workers[i], "test", NULL),
                         SPN_STATUS_OK);
    }
    for (int i = 0; i < 4; i++) {
        spn_thread_join(workers[i].thread);
        assert_true(workers[i].n_done >= 6);
    }
    spn_executor_free(executor);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_loaded_on_demand),
        cmocka_unit_test(the_least_recently_used_goes),
        cmocka_unit_test(what_never_fits_is_refused_with_numbers),
        cmocka_unit_test(a_model_in_use_never_goes),
        cmocka_unit_test(idle_models_go_in_time),
        cmocka_unit_test(hot_swap_drops_nobody),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
