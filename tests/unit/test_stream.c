/* test_stream.c - answers from a thread: order, bounds, cancelling, dropping.
 * SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "platform/os.h"
#include "spn/spn.h"

#define MODEL "tests/golden/stories260K.gguf"

static const spn_chat_options greedy = {.sampler = {.greedy = true}, .max_tokens = 60};

static spn_runtime *load(void) {
    spn_runtime *runtime = NULL;
    assert_int_equal(spn_runtime_create(&runtime, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_runtime_load(runtime, MODEL, NULL, NULL), SPN_STATUS_OK);
    return runtime;
}

static spn_stream *start(spn_runtime *runtime, const spn_chat_options *options) {
    spn_stream *stream = NULL;
    spn_error err = {0};
    if (spn_runtime_infer_stream(runtime, "Once upon a time", options, &stream, &err))
        fail_msg("%s", err.text);
    return stream;
}

static char *infer(spn_runtime *runtime, const spn_chat_options *options) {
    spn_chat_response response = {0};
    assert_int_equal(spn_runtime_infer(runtime, "Once upon a time", options, &response, NULL),
                     SPN_STATUS_OK);
    return response.content;
}

/* Reads to the end into text[4096]; returns the number of chunks with text. */
static size_t read_all(spn_stream *stream, char *text) {
    spn_stream_chunk chunk = {0};
    size_t n = 0, n_chunks = 0;
    for (;; n_chunks++) {
        assert_int_equal(spn_stream_next(stream, -1, &chunk, NULL), SPN_STATUS_OK);
        if (chunk.is_end) break;
        assert_true(chunk.n_bytes > 0 && n + chunk.n_bytes < 4096);
        memcpy(text + n, chunk.text, chunk.n_bytes);
        n += chunk.n_bytes;
    }
    text[n] = '\0';
    return n_chunks;
}

static void a_stream_is_the_answer(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    char text[4096], *expected = infer(runtime, &greedy);
    spn_chat_response response = {0};
    spn_stream_chunk chunk;
    spn_stream *stream = start(runtime, &greedy);
    assert_true(read_all(stream, text) > 0);
    assert_string_equal(text, expected);
    assert_int_equal(spn_stream_next(stream, 0, &chunk, NULL), SPN_STATUS_OK);
    assert_true(chunk.is_end); /* and again */
    assert_int_equal(spn_stream_response(stream, &response, NULL), SPN_STATUS_OK);
    assert_string_equal(response.content, expected);
    assert_int_equal(response.n_completion_tokens, 60);
    spn_stream_free(stream);
    assert_string_equal(response.content, expected); /* it is the caller's */
    spn_chat_response_clear(&response);
    spn_free(expected);
    spn_runtime_free(runtime);
}

static void a_runtime_has_one_user(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    spn_stream *stream = start(runtime, &greedy), *second = NULL;
    spn_chat_response response = {0};
    assert_int_equal(spn_runtime_infer(runtime, "x", &greedy, &response, NULL), SPN_STATUS_BUSY);
    assert_int_equal(spn_runtime_unload(runtime, NULL), SPN_STATUS_BUSY);
    assert_int_equal(spn_runtime_infer_stream(runtime, "x", NULL, &second, NULL), SPN_STATUS_BUSY);
    assert_null(second);
    spn_stream_free(stream);
    char *text = infer(runtime, &greedy);
    spn_free(text);
    spn_runtime_free(runtime);
}

static void options_are_copied(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    char text[4096], stop_text[] = "girl";
    const char *stops[] = {stop_text};
    spn_logit_bias bias[] = {{5, 0.0f}};
    spn_chat_options options = greedy;
    options.stop = stops;
    options.n_stop = 1;
    options.sampler.bias = bias;
    options.sampler.n_bias = 1;
    spn_stream *stream = start(runtime, &options);
    memset(stop_text, 'x', 4);
    memset(stops, 0, sizeof stops);
    memset(bias, 0xff, sizeof bias);
    read_all(stream, text);
    assert_string_equal(text, ", there was a little ");
    spn_stream_free(stream);
    spn_runtime_free(runtime);
}

static void mistakes_come_at_once(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    spn_stream *stream = NULL;
    const char *stops[] = {""};
    spn_chat_options options = {.stop = stops, .n_stop = 1};
    assert_int_equal(spn_runtime_infer_stream(runtime, "x", &options, &stream, NULL),
                     SPN_STATUS_INVALID_ARGUMENT);
    const spn_chat_message message = {"user", "x"};
    assert_int_equal(spn_runtime_chat_stream(runtime, &message, 1, NULL, &stream, NULL),
                     SPN_STATUS_TEMPLATE);
    char *long_text = malloc(4001);
    assert_non_null(long_text);
    memset(long_text, '7', 4000);
    long_text[4000] = '\0';
    assert_int_equal(spn_runtime_infer_stream(runtime, long_text, &greedy, &stream, NULL),
                     SPN_STATUS_CONTEXT_FULL);
    free(long_text);
    assert_null(stream);
    spn_stream_free(NULL);
    assert_int_equal(spn_runtime_unload(runtime, NULL), SPN_STATUS_OK); /* nobody holds it */
    spn_runtime_free(runtime);
}

static void failures_come_behind_the_text(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    spn_chat_options options = greedy;
    options.sampler.top_p = 7; /* seen when the generation begins */
    spn_stream *stream = start(runtime, &options);
    spn_stream_chunk chunk = {0};
    spn_chat_response response = {0};
    spn_error err = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(spn_stream_next(stream, -1, &chunk, &err), SPN_STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(err.text, "top_p"));
    }
    assert_int_equal(spn_stream_response(stream, &response, &err), SPN_STATUS_INVALID_ARGUMENT);
    spn_stream_free(stream);
    options = greedy;
    options.sampler.n_bias = 3; /* and no list */
    stream = start(runtime, &options);
    assert_int_equal(spn_stream_next(stream, -1, &chunk, &err), SPN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.text, "bias"));
    spn_stream_free(stream);
    spn_runtime_free(runtime);
}

/* ---- cancelling and dropping ---- */

static spn_chat_options endless(void) {
    spn_chat_options options = greedy;
    options.max_tokens = 400;
    options.ignore_end = true;
    return options;
}

static void cancelling_keeps_what_came(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    char text[4096];
    spn_chat_options options = endless();
    char *expected = infer(runtime, &options);
    spn_chat_response response = {0};
    spn_stream *stream = start(runtime, &options);
    spn_stream_cancel(stream);
    read_all(stream, text);
    assert_int_equal(spn_stream_response(stream, &response, NULL), SPN_STATUS_OK);
    assert_int_equal(response.finish_reason, SPN_FINISH_REASON_CANCELLED);
    assert_string_equal(response.content, text);
    assert_memory_equal(text, expected, strlen(text));
    spn_chat_response_clear(&response);
    spn_stream_free(stream);
    spn_free(expected);
    spn_runtime_free(runtime);
}

static void dropping_stops_the_work(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    spn_chat_options options = endless();
    spn_session_info info;
    for (int i = 0; i < 20; i++) {
        spn_stream *stream = start(runtime, &options);
        spn_stream_chunk chunk;
        if (i % 2) assert_int_equal(spn_stream_next(stream, -1, &chunk, NULL), SPN_STATUS_OK);
        spn_stream_free(stream);
    }
    assert_true(spn_runtime_session_info(runtime, &info));
    assert_true(info.n_cached < 400);
    spn_runtime_free(runtime);
}

/* Whether the process used hardly any processor for a fifth of a second. */
static bool is_idle(void) {
    clock_t before = clock();
    usleep(200 * 1000);
    return clock() - before < CLOCKS_PER_SEC / 50;
}

/* Nobody reads: the queue (8 KiB) fills, then nothing is generated until there is room. */
static void a_slow_reader_slows_the_generation(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    spn_chat_options options = {.sampler = {.greedy = true},
                                .max_tokens = 1000000,
                                .ignore_end = true,
                                .context_shift = true};
    spn_stream *stream = start(runtime, &options);
    spn_stream_chunk chunk = {0};
    assert_int_equal(spn_stream_next(stream, -1, &chunk, NULL), SPN_STATUS_OK);
    for (int i = 0; i < 2; i++) {
        int turns = 0;
        while (!is_idle() || !is_idle()) assert_true(turns++ < 200);
        assert_int_equal(spn_stream_next(stream, 0, &chunk, NULL), SPN_STATUS_OK);
        assert_false(chunk.is_end);
        assert_in_range(chunk.n_bytes, 8192 - 64, 8192);
    }
    spn_stream_free(stream);
    spn_runtime_free(runtime);
}

/* ---- rounds of load, answer, cancel, unload ---- */

static void cancel_soon(void *arg) {
    static atomic_uint n;
    unsigned turn = atomic_fetch_add(&n, 1);
    for (unsigned i = 0; i < turn % 7 * 20; i++) spn_thread_yield();
    spn_stream_cancel(arg);
}

/* Another thread cancels at ever other moments; what came before is always the text's beginning. */
static void rounds_leave_nothing(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    spn_chat_options options = endless();
    char text[4096], *expected = infer(runtime, &options);
    for (int round = 0; round < 40; round++) {
        spn_thread *thread = NULL;
        assert_int_equal(spn_runtime_unload(runtime, NULL), SPN_STATUS_OK);
        assert_int_equal(spn_runtime_load(runtime, MODEL, NULL, NULL), SPN_STATUS_OK);
        spn_stream *stream = start(runtime, &options);
        assert_int_equal(spn_thread_start(&thread, cancel_soon, stream, "test", NULL),
                         SPN_STATUS_OK);
        if (round % 3 != 0) {
            read_all(stream, text);
            assert_memory_equal(text, expected, strlen(text));
        }
        spn_thread_join(thread);
        spn_stream_free(stream);
    }
    spn_free(expected);
    spn_runtime_free(runtime);
}

/* ---- waiting ---- */

static bool is_readable(int descriptor, int timeout_ms) {
    struct pollfd poll_for = {.fd = descriptor, .events = POLLIN};
    return poll(&poll_for, 1, timeout_ms) == 1;
}

static void a_descriptor_tells_when_to_read(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    char text[4096], *expected = infer(runtime, &greedy);
    size_t n = 0;
    spn_stream_chunk chunk = {0};
    spn_stream *stream = start(runtime, &greedy);
    int descriptor = spn_stream_descriptor(stream);
    assert_true(descriptor >= 0);
    assert_int_equal(spn_stream_descriptor(stream), descriptor);
    while (!chunk.is_end) {
        assert_true(is_readable(descriptor, 60000));
        /* Readable: so this does not have to wait. */
        assert_int_equal(spn_stream_next(stream, 0, &chunk, NULL), SPN_STATUS_OK);
        memcpy(text + n, chunk.text, chunk.n_bytes);
        n += chunk.n_bytes;
    }
    text[n] = '\0';
    assert_string_equal(text, expected);
    assert_true(is_readable(descriptor, 0));
    spn_stream_free(stream);
    spn_free(expected);
    spn_runtime_free(runtime);
}

typedef struct gate {
    spn_runtime *runtime;
    int wait_on; /* a pipe: the callback waits for a byte in it */
    char text[4096];
    size_t n;
} gate;

static bool wait_for_gate(const char *text, size_t n_bytes, void *user) {
    gate *g = user;
    char byte;
    if (g->n == 0) assert_int_equal(read(g->wait_on, &byte, 1), 1);
    memcpy(g->text + g->n, text, n_bytes);
    g->n += n_bytes;
    return true;
}

/* While the callback waits, nothing comes: a time-out. Pieces go to the callback alone. */
static void callbacks_and_time_outs(void **state) {
    (void)state;
    spn_runtime *runtime = load();
    char *expected = infer(runtime, &greedy);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    gate g = {.wait_on = ends[0]};
    spn_stream_chunk chunk = {0};
    spn_chat_response response = {0};
    spn_chat_options options = greedy;
    options.on_text = wait_for_gate;
    options.on_text_user = &g;
    spn_stream *stream = start(runtime, &options);
    assert_int_equal(spn_stream_next(stream, 0, &chunk, NULL), SPN_STATUS_TIMEOUT);
    assert_int_equal(spn_stream_next(stream, 5, &chunk, NULL), SPN_STATUS_TIMEOUT);
    assert_int_equal(spn_stream_response(stream, &response, NULL), SPN_STATUS_BUSY);
    assert_int_equal(write(ends[1], "", 1), 1);
    assert_int_equal(spn_stream_next(stream, -1, &chunk, NULL), SPN_STATUS_OK);
    assert_true(chunk.is_end);
    assert_int_equal(g.n, strlen(expected));
    assert_memory_equal(g.text, expected, g.n);
    spn_stream_free(stream);
    spn_free(expected);
    close(ends[0]);
    close(ends[1]);
    spn_runtime_free(runtime);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_the_answer),
        cmocka_unit_test(a_runtime_has_one_user),
        cmocka_unit_test(options_are_copied),
        cmocka_unit_test(mistakes_come_at_once),
        cmocka_unit_test(failures_come_behind_the_text),
        cmocka_unit_test(cancelling_keeps_what_came),
        cmocka_unit_test(dropping_stops_the_work),
        cmocka_unit_test(a_slow_reader_slows_the_generation),
        cmocka_unit_test(rounds_leave_nothing),
        cmocka_unit_test(a_descriptor_tells_when_to_read),
        cmocka_unit_test(callbacks_and_time_outs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
