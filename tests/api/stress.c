/* stress.c - load, ask, stream, drop, cancel, swap and unload, over and over, on several threads.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     stress MODEL OTHER ROUNDS [THREADS [SEED]]
 *
 * Each round does one thing chosen at random: a runtime of its own, loaded and asked; a stream that
 * is read, dropped or left lying; a lease of the executor that all threads share, whose memory
 * holds one model and which swaps and unloads them meanwhile; requests to a scheduler that all
 * share. A thread beside them cancels at random moments. Greedy texts that were not cancelled must
 * be those of a quiet start. Made for the address and thread sanitizers (`./dev stress`); it counts
 * what happened, so that a run that tested nothing shows. */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <spn/spn.h>

enum { MOST_THREADS = 16, N_MODELS = 2, N_PROMPTS = 3, N_TOKENS = 12 };

static const char *const prompts[N_PROMPTS] = {"Once upon a time", "Lily went", "The big dog"};

static struct {
    const char *paths[N_MODELS];
    char *texts[N_MODELS][N_PROMPTS]; /* what a quiet run says */
    spn_executor *executor;
    spn_model *model;
    spn_scheduler *scheduler;
    long n_rounds;
    atomic_long next_round;
    atomic_bool is_over;
    atomic_long n_whole, n_cancelled, n_dropped, n_refused, n_swaps, n_requests;
} all;

/* One of each thread; the canceller takes the lock to look into it. */
static struct slot {
    pthread_t thread;
    pthread_mutex_t lock;
    spn_runtime *runtime; /* NULL: nothing to cancel */
    spn_stream *stream;
    uint64_t random;
} slots[MOST_THREADS];

static _Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static void must(spn_status status, const spn_error *err) {
    if (status != SPN_STATUS_OK) fail("%s: %s", spn_status_name(status), err->text);
}

/* xorshift64: Marsaglia 2003, doi:10.18637/jss.v008.i14. */
static uint32_t draw(uint64_t *state, uint32_t n) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32) % n;
}

static void rest(uint64_t *state, uint32_t most_us) {
    nanosleep(&(struct timespec){.tv_nsec = 1000L * draw(state, most_us)}, NULL);
}

static void show(struct slot *slot, spn_runtime *runtime, spn_stream *stream) {
    pthread_mutex_lock(&slot->lock);
    slot->runtime = runtime;
    slot->stream = stream;
    pthread_mutex_unlock(&slot->lock);
}

/* `alone`: decoded as a text of its own, which begins without a blank. */
static void check(const char *text, bool alone, spn_finish_reason reason, size_t model,
                  size_t prompt) {
    const char *expected = all.texts[model][prompt];
    if (alone && expected[0] == ' ') expected++;
    if (reason == SPN_FINISH_REASON_CANCELLED) {
        all.n_cancelled++;
        if (strncmp(text, expected, strlen(text)) != 0)
            fail("cancelled in \"%s\", which is no beginning of \"%s\"", text, expected);
    } else {
        all.n_whole++;
        if (strcmp(text, expected) != 0) fail("\"%s\" in place of \"%s\"", text, expected);
    }
}

static const spn_chat_options greedy = {
    .sampler = {.greedy = true}, .max_tokens = N_TOKENS, .ignore_end = true, .raw = true};

/* ---- what a round does ---- */

static void ask(struct slot *slot, spn_runtime *runtime, size_t model) {
    size_t prompt = draw(&slot->random, N_PROMPTS);
    spn_chat_response response = {0};
    spn_chat_options options = greedy;
    spn_error err = {0};
    options.lookahead = (spn_lookahead_mode)draw(&slot->random, 3);
    show(slot, runtime, NULL);
    spn_status status = spn_runtime_infer(runtime, prompts[prompt], &options, &response, &err);
    show(slot, NULL, NULL);
    must(status, &err);
    check(response.content, false, response.finish_reason, model, prompt);
    spn_chat_response_clear(&response);
}

/* Reads some of it or all, slowly or not; what was not read to its end is dropped. */
static void stream(struct slot *slot, spn_runtime *runtime, size_t model) {
    size_t prompt = draw(&slot->random, N_PROMPTS);
    uint32_t n_chunks = draw(&slot->random, 2) ? 1000 : draw(&slot->random, 4);
    uint32_t slowness = draw(&slot->random, 2) ? 0 : 500;
    spn_stream *s = NULL;
    spn_stream_chunk chunk = {0};
    spn_chat_response response = {0};
    spn_error err = {0};
    must(spn_runtime_infer_stream(runtime, prompts[prompt], &greedy, &s, &err), &err);
    if (draw(&slot->random, 2)) spn_stream_descriptor(s);
    show(slot, runtime, s);
    for (uint32_t i = 0; i < n_chunks && !chunk.is_end; i++) {
        must(spn_stream_next(s, -1, &chunk, &err), &err);
        if (slowness > 0) rest(&slot->random, slowness);
    }
    show(slot, NULL, NULL);
    if (chunk.is_end) {
        must(spn_stream_response(s, &response, &err), &err);
        check(response.content, false, response.finish_reason, model, prompt);
        spn_chat_response_clear(&response);
    } else {
        all.n_dropped++;
    }
    spn_stream_free(s);
}

static void use(struct slot *slot, spn_runtime *runtime, size_t model) {
    for (uint32_t n = 1 + draw(&slot->random, 3); n > 0; n--)
        (draw(&slot->random, 2) ? ask : stream)(slot, runtime, model);
}

static void own_runtime(struct slot *slot) {
    size_t model = draw(&slot->random, N_MODELS);
    spn_runtime *runtime = NULL;
    spn_error err = {0};
    spn_load_config config = {.session = {.n_ctx = 128,
                                          .n_threads = 1 + draw(&slot->random, 2),
                                          .n_batch = 1 + draw(&slot->random, 40)},
                              .n_conversations = 1 + draw(&slot->random, 3)};
    if (draw(&slot->random, 4) == 0) config.draft_path = all.paths[model];
    must(spn_runtime_create(&runtime, &err), &err);
    must(spn_runtime_load(runtime, all.paths[model], &config, &err), &err);
    use(slot, runtime, model);
    if (draw(&slot->random, 2)) must(spn_runtime_unload(runtime, &err), &err);
    spn_runtime_free(runtime);
}

static void lease(struct slot *slot) {
    size_t model = draw(&slot->random, N_MODELS);
    int32_t timeout_ms = draw(&slot->random, 4) ? -1 : (int32_t)draw(&slot->random, 3);
    spn_runtime *runtime = NULL;
    spn_error err = {0};
    spn_status status =
        spn_executor_acquire(all.executor, all.paths[model], timeout_ms, &runtime, &err);
    if (status == SPN_STATUS_TIMEOUT) {
        all.n_refused++;
        return;
    }
    must(status, &err);
    use(slot, runtime, model);
    spn_executor_release(all.executor, runtime);
}

/* Swaps a model for itself, or lets it go, under its users' feet. */
static void swap(struct slot *slot) {
    const char *path = all.paths[draw(&slot->random, N_MODELS)];
    spn_running_model *models = NULL;
    size_t n = 0;
    spn_error err = {0};
    if (draw(&slot->random, 3) > 0) {
        must(spn_executor_replace(all.executor, path, path, NULL, &err), &err);
        all.n_swaps++;
    } else {
        spn_status status = spn_executor_unload(all.executor, path, &err);
        if (status != SPN_STATUS_MODEL_NOT_LOADED) must(status, &err);
    }
    must(spn_executor_running(all.executor, &models, &n, &err), &err);
    spn_running_models_free(models, n);
}

typedef struct request {
    size_t prompt;
    atomic_bool is_done;
} request;

/* On the scheduler's thread. */
static void on_done(const spn_request_result *result, void *user) {
    request *r = user;
    char *text = NULL;
    size_t n_bytes;
    spn_error err = {0};
    if (result->status != SPN_STATUS_OK) fail("a request: %s", result->error);
    must(spn_tokenizer_decode(spn_model_tokenizer(all.model), result->tokens, result->n_tokens,
                              false, &text, &n_bytes, &err),
         &err);
    check(text, true, result->finish_reason, 0, r->prompt);
    spn_free(text);
    atomic_store(&r->is_done, true);
}

static void schedule(struct slot *slot) {
    static const spn_encode_options encode = {.add_special = true};
    request requests[6] = {{0}};
    uint64_t ids[6];
    spn_error err = {0};
    size_t n = 1 + draw(&slot->random, 6);
    for (size_t i = 0; i < n; i++) {
        int32_t *tokens;
        size_t n_tokens;
        requests[i].prompt = draw(&slot->random, N_PROMPTS);
        const char *text = prompts[requests[i].prompt];
        must(spn_tokenizer_encode(spn_model_tokenizer(all.model), text, strlen(text), &encode,
                                  &tokens, &n_tokens, &err),
             &err);
        const spn_request r = {.tokens = tokens,
                               .n_tokens = n_tokens,
                               .sampler = {.greedy = true},
                               .max_tokens = N_TOKENS,
                               .ignore_end = true,
                               .priority = (int32_t)draw(&slot->random, 3),
                               .on_done = on_done,
                               .user = &requests[i]};
        must(spn_scheduler_submit(all.scheduler, &r, &ids[i], &err), &err);
        spn_free(tokens);
    }
    all.n_requests += (long)n;
    if (draw(&slot->random, 2)) {
        rest(&slot->random, 2000);
        spn_scheduler_cancel(all.scheduler, ids[draw(&slot->random, (uint32_t)n)]);
    }
    for (size_t i = 0; i < n; i++)
        while (!atomic_load(&requests[i].is_done)) rest(&slot->random, 100);
}

/* ---- threads ---- */

static void *work(void *arg) {
    struct slot *slot = arg;
    static void (*const actions[])(struct slot *) = {own_runtime, own_runtime, lease,   lease,
                                                     lease,       swap,        schedule};
    while (all.next_round++ < all.n_rounds)
        actions[draw(&slot->random, sizeof actions / sizeof actions[0])](slot);
    return NULL;
}

static void *cancel(void *arg) {
    uint64_t random = *(const uint64_t *)arg;
    while (!atomic_load(&all.is_over)) {
        struct slot *slot = &slots[draw(&random, MOST_THREADS)];
        rest(&random, 1500);
        pthread_mutex_lock(&slot->lock);
        if (slot->stream != NULL && draw(&random, 2))
            spn_stream_cancel(slot->stream);
        else if (slot->runtime != NULL)
            spn_runtime_cancel(slot->runtime);
        pthread_mutex_unlock(&slot->lock);
    }
    return NULL;
}

/* ---- before and after ---- */

static void say_quietly(size_t model) {
    spn_runtime *runtime = NULL;
    spn_error err = {0};
    must(spn_runtime_create(&runtime, &err), &err);
    must(spn_runtime_load(runtime, all.paths[model], NULL, &err), &err);
    for (size_t i = 0; i < N_PROMPTS; i++) {
        spn_chat_response response = {0};
        must(spn_runtime_infer(runtime, prompts[i], &greedy, &response, &err), &err);
        all.texts[model][i] = response.content;
    }
    spn_runtime_free(runtime);
}

static void begin(void) {
    spn_error err = {0};
    spn_memory_need need[N_MODELS];
    spn_executor_options options = {.load = {.session = {.n_ctx = 128, .n_threads = 1}}};
    const spn_scheduler_options places = {.n_sequences = 3, .n_ctx = 128, .n_threads = 2};
    for (size_t i = 0; i < N_MODELS; i++) {
        say_quietly(i);
        must(spn_runtime_estimate(all.paths[i], &options.load, &need[i], &err), &err);
        need[i].total -= need[i].process;
    }
    /* Room for two of the larger one, which a swap needs; three models do not fit. */
    options.memory_budget =
        2 * (need[0].total > need[1].total ? need[0].total : need[1].total) + 4096;
    must(spn_executor_create(&all.executor, &options, &err), &err);
    must(spn_model_open(&all.model, all.paths[0], NULL, &err), &err);
    must(spn_scheduler_create(&all.scheduler, all.model, &places, &err), &err);
}

static void end(void) {
    spn_scheduler_free(all.scheduler);
    spn_model_close(all.model);
    spn_executor_free(all.executor);
    for (size_t m = 0; m < N_MODELS; m++)
        for (size_t i = 0; i < N_PROMPTS; i++) spn_free(all.texts[m][i]);
}

int main(int argc, char **argv) {
    if (argc < 4) fail("stress MODEL OTHER ROUNDS [THREADS [SEED]]");
    for (int i = 0; i < N_MODELS; i++) all.paths[i] = argv[1 + i];
    all.n_rounds = strtol(argv[3], NULL, 10);
    long n_threads = argc > 4 ? strtol(argv[4], NULL, 10) : 4;
    uint64_t seed = argc > 5 ? strtoull(argv[5], NULL, 10) : (uint64_t)time(NULL);
    if (n_threads < 1 || n_threads > MOST_THREADS) fail("1 to %d threads", MOST_THREADS);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    begin();
    pthread_t canceller;
    uint64_t random = seed * 2654435761u + 77;
    for (int i = 0; i < MOST_THREADS; i++) pthread_mutex_init(&slots[i].lock, NULL);
    pthread_create(&canceller, NULL, cancel, &random);
    for (long i = 0; i < n_threads; i++) {
        slots[i].random =
            (seed + 1) * 6364136223846793005u + (uint64_t)i * 1442695040888963407u + 1;
        pthread_create(&slots[i].thread, NULL, work, &slots[i]);
    }
    for (long i = 0; i < n_threads; i++) pthread_join(slots[i].thread, NULL);
    atomic_store(&all.is_over, true);
    pthread_join(canceller, NULL);
    end();
    printf("%ld rounds: %ld whole texts, %ld cancelled, %ld dropped, %ld swaps, %ld requests, %ld "
           "leases timed out\n",
           all.n_rounds, (long)all.n_whole, (long)all.n_cancelled, (long)all.n_dropped,
           (long)all.n_swaps, (long)all.n_requests, (long)all.n_refused);
    return all.n_whole == 0;
}
