/* cycle.c - load, infer, unload, many times over, and nothing stays behind.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     cycle MODEL TIMES     that many rounds
 *     cycle MODEL fail      a round for each allocation in it, which fails: the round then says
 *                           NO_MEMORY, or gives the same text without (PCRE2 does without its JIT)
 *
 * Counts the library's living blocks through its allocator hook; a leak that the hook does not see
 * is the sanitizer's or valgrind's to find.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spn/spn.h>

static atomic_long n_alive, n_asked;
static long fail_at; /* the number of the allocation that fails; 0: none */

static bool fails(void) { return ++n_asked == fail_at; }

static void *count_malloc(size_t n_bytes, void *user) {
    (void)user;
    void *block = fails() ? NULL : malloc(n_bytes);
    if (block != NULL) n_alive++;
    return block;
}

static void *count_realloc(void *block, size_t n_bytes, void *user) {
    (void)user;
    void *grown = fails() ? NULL : realloc(block, n_bytes);
    if (block == NULL && grown != NULL) n_alive++;
    return grown;
}

static void count_free(void *block, void *user) {
    (void)user;
    if (block != NULL) n_alive--;
    free(block);
}

static spn_status stream_once(spn_runtime *runtime, const spn_chat_options *options,
                              spn_error *err) {
    spn_stream *stream = NULL;
    spn_stream_chunk chunk = {0};
    spn_chat_response response = {0};
    spn_status status = spn_runtime_infer_stream(runtime, "Once", options, &stream, err);
    while (status == SPN_STATUS_OK && !chunk.is_end)
        status = spn_stream_next(stream, -1, &chunk, err);
    if (status == SPN_STATUS_OK) status = spn_stream_response(stream, &response, err);
    spn_chat_response_clear(&response);
    spn_stream_free(stream);
    return status;
}

static spn_status embed_once(spn_runtime *runtime, spn_error *err) {
    const char *const texts[] = {"Once", "upon a time", "there was"};
    spn_embedding_response responses[3] = {{0}};
    spn_status status = spn_runtime_embed_batch(runtime, texts, 3, NULL, responses, err);
    for (int i = 0; i < 3; i++) {
        if (status != SPN_STATUS_OK && responses[i].embedding != NULL) abort(); /* untouched */
        spn_embedding_response_clear(&responses[i]);
    }
    return status;
}

/* What the round's first failing call said; the text, which is the caller's. */
static spn_status once(const char *path, char **text, spn_error *err) {
    spn_runtime *runtime = NULL;
    spn_chat_response response = {0};
    spn_chat_options options = {.max_tokens = 8, .sampler = {.greedy = true}};
    spn_status status = spn_runtime_create(&runtime, err);
    if (status == SPN_STATUS_OK) status = spn_runtime_load(runtime, path, NULL, err);
    if (status == SPN_STATUS_OK)
        status = spn_runtime_infer(runtime, "Once upon a time", &options, &response, err);
    if (status == SPN_STATUS_OK) status = stream_once(runtime, &options, err);
    if (status == SPN_STATUS_OK) status = embed_once(runtime, err);
    if (status == SPN_STATUS_OK) status = spn_runtime_unload(runtime, err);
    *text = status == SPN_STATUS_OK ? strdup(response.content) : NULL;
    spn_chat_response_clear(&response);
    spn_runtime_free(runtime);
    return status;
}

static bool round_is_good(const char *path, long round, const char *expected) {
    spn_error err = {0};
    char *text;
    n_asked = 0;
    spn_status status = once(path, &text, &err);
    bool same = text != NULL && (expected == NULL || strcmp(text, expected) == 0);
    bool may_fail = fail_at != 0 && n_asked >= fail_at;
    free(text);
    if (!same && !(may_fail && status == SPN_STATUS_NO_MEMORY)) {
        fprintf(stderr, "round %ld: %s: %s\n", round, spn_status_name(status), err.text);
        return false;
    }
    if (n_alive != 0) fprintf(stderr, "round %ld: %ld blocks stay behind\n", round, (long)n_alive);
    return n_alive == 0;
}

int main(int argc, char **argv) {
    const spn_allocator counting = {count_malloc, count_realloc, count_free, NULL};
    if (argc != 3) return 2;
    spn_set_allocator(&counting);
    long times = strtol(argv[2], NULL, 10), round = 0;
    spn_error err = {0};
    char *expected;
    if (once(argv[1], &expected, &err) != SPN_STATUS_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (times == 0) {
        do {
            fail_at = ++round;
            if (!round_is_good(argv[1], round, expected)) return 1;
        } while (n_asked >= fail_at);
    } else {
        for (; round < times; round++)
            if (!round_is_good(argv[1], round, expected)) return 1;
    }
    free(expected);
    printf("%ld rounds, %ld allocations in the last\n", round, (long)n_asked);
    return n_asked == 0;
}
