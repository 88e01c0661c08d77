/* stream_poll.c - an answer inside an event loop: poll() tells when there is text.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Two models answer at once, each on its own thread; the loop prints what comes with a mark that
 * says from whom, and cancels both when a line arrives on the standard input. */
#include <poll.h>
#include <stdio.h>

#include <spn/spn.h>

enum { N_STREAMS = 2 };

typedef struct answer {
    spn_runtime *runtime;
    spn_stream *stream;
    bool is_over;
} answer;

static spn_status begin(answer *a, const char *path, const char *prompt, spn_error *err) {
    spn_chat_options options = {.max_tokens = 32};
    spn_load_config config = {.session = {.n_threads = 1}};
    spn_status status = spn_runtime_create(&a->runtime, err);
    if (status == SPN_STATUS_OK) status = spn_runtime_load(a->runtime, path, &config, err);
    if (status == SPN_STATUS_OK)
        status = spn_runtime_infer_stream(a->runtime, prompt, &options, &a->stream, err);
    return status;
}

/* Takes what has come; spn_stream_next does not wait, because poll() said that it need not. */
static spn_status take(answer *a, int number, spn_error *err) {
    spn_stream_chunk chunk;
    spn_status status = spn_stream_next(a->stream, 0, &chunk, err);
    if (status == SPN_STATUS_TIMEOUT) return SPN_STATUS_OK;
    if (status != SPN_STATUS_OK) return status;
    if (chunk.n_bytes > 0) printf("%d: %.*s\n", number, (int)chunk.n_bytes, chunk.text);
    a->is_over = chunk.is_end;
    return SPN_STATUS_OK;
}

static spn_status loop(answer answers[N_STREAMS], spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    bool listens = true;
    while (status == SPN_STATUS_OK && !(answers[0].is_over && answers[1].is_over)) {
        struct pollfd wait_for[N_STREAMS + 1];
        for (int i = 0; i < N_STREAMS; i++)
            wait_for[i] = (struct pollfd){
                .fd = answers[i].is_over ? -1 : spn_stream_descriptor(answers[i].stream),
                .events = POLLIN};
        wait_for[N_STREAMS] = (struct pollfd){.fd = listens ? 0 : -1, .events = POLLIN};
        poll(wait_for, N_STREAMS + 1, -1);
        for (int i = 0; i < N_STREAMS && status == SPN_STATUS_OK; i++)
            if (wait_for[i].revents != 0) status = take(&answers[i], i, err);
        if (wait_for[N_STREAMS].revents != 0) {
            bool is_line = getchar() != EOF;
            for (int i = 0; i < N_STREAMS && is_line; i++) spn_stream_cancel(answers[i].stream);
            listens = false;
        }
    }
    return status;
}

int main(int argc, char **argv) {
    answer answers[N_STREAMS] = {{0}};
    spn_error err = {0};
    spn_status status = SPN_STATUS_OK;
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.gguf PROMPT\n", argv[0]);
        return 2;
    }
    for (int i = 0; i < N_STREAMS && status == SPN_STATUS_OK; i++)
        status = begin(&answers[i], argv[1], argv[2], &err);
    if (status == SPN_STATUS_OK) status = loop(answers, &err);
    if (status != SPN_STATUS_OK) fprintf(stderr, "%s\n", err.text);
    for (int i = 0; i < N_STREAMS; i++) {
        spn_stream_free(answers[i].stream);
        spn_runtime_free(answers[i].runtime);
    }
    return status == SPN_STATUS_OK ? 0 : 1;
}
