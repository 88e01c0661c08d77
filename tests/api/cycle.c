/* cycle.c - load, infer, unload, many times over, and nothing stays behind.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     cycle MODEL TIMES       that many rounds of everything
 *     cycle MODEL fail [PART] a round for each allocation in it, which fails, and one more in which
 *                             all after it fail too: the round then says NO_MEMORY, or gives the
 *                             same text without (PCRE2 does without its JIT)
 *
 * Parts: runtime, stream, embed, session, draft, chat, scheduler, executor; all when none is named.
 * Counts the library's living blocks through its allocator hook; a leak that the hook does not see
 * is the sanitizer's or valgrind's to find.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spn/spn.h>

static atomic_long n_alive, n_asked;
static long fail_at;  /* the number of the allocation that fails; 0: none */
static bool fails_on; /* and all behind it */

static bool fails(void) {
    long n = ++n_asked;
    return fail_at != 0 && (fails_on ? n >= fail_at : n == fail_at);
}

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

/* What a part says, its first failing call's status and text apart: texts of all its answers, one
 * after the other; cut where it is long. */
typedef struct said {
    char text[4096];
    size_t n;
} said;

static void say(said *out, const char *text) {
    size_t n = strlen(text);
    if (n >= sizeof out->text - out->n) n = sizeof out->text - out->n - 1;
    memcpy(out->text + out->n, text, n);
    out->n += n;
    out->text[out->n] = '\0';
}

static const spn_load_config config = {.session = {.n_ctx = 64, .n_threads = 1}};
static const spn_chat_options options = {
    .max_tokens = 8, .sampler = {.greedy = true}, .raw = true, .ignore_end = true};
static char session_path[64]; /* one of each process, in the present folder */

static spn_status ask(spn_runtime *runtime, const char *prompt, const spn_chat_options *how,
                      said *out, spn_error *err) {
    spn_chat_response response = {0};
    spn_status status = spn_runtime_infer(runtime, prompt, how, &response, err);
    if (status == SPN_STATUS_OK) say(out, response.content);
    spn_chat_response_clear(&response);
    return status;
}

/* ---- the parts: each leaves nothing behind, whatever fails ---- */

#define TRY(call)                                     \
    do {                                              \
        if (status == SPN_STATUS_OK) status = (call); \
    } while (0)

static spn_status part_runtime(const char *path, said *out, spn_error *err) {
    spn_runtime *runtime = NULL;
    spn_logit_bias bias = {3, 0.5F};
    spn_chat_options all = options;
    const char *const stop[] = {"never comes"};
    all.sampler = (spn_sampler_options){.seed = 1,
                                        .dry_multiplier = 0.8F,
                                        .repeat_penalty = 1.1F,
                                        .typical_p = 0.9F,
                                        .bias = &bias,
                                        .n_bias = 1};
    all.stop = stop;
    all.n_stop = 1;
    all.context_shift = true;
    all.max_tokens = 70;
    spn_status status = spn_runtime_create(&runtime, err);
    TRY(spn_runtime_load(runtime, path, &config, err));
    TRY(ask(runtime, "Once upon a time", &options, out, err));
    TRY(ask(runtime, "Once upon a time", &all, out, err));
    TRY(spn_runtime_unload(runtime, err));
    spn_runtime_free(runtime);
    return status;
}

static spn_status part_stream(const char *path, said *out, spn_error *err) {
    spn_runtime *runtime = NULL;
    spn_stream *stream = NULL;
    spn_stream_chunk chunk = {0};
    spn_chat_response response = {0};
    spn_status status = spn_runtime_create(&runtime, err);
    TRY(spn_runtime_load(runtime, path, &config, err));
    TRY(spn_runtime_infer_stream(runtime, "Once", &options, &stream, err));
    if (status == SPN_STATUS_OK) spn_stream_descriptor(stream); /* -1 without memory */
    while (status == SPN_STATUS_OK && !chunk.is_end)
        status = spn_stream_next(stream, -1, &chunk, err);
    TRY(spn_stream_response(stream, &response, err));
    if (status == SPN_STATUS_OK) say(out, response.content);
    spn_chat_response_clear(&response);
    spn_stream_free(stream);
    /* The runtime is as good as before. */
    if (runtime != NULL && spn_runtime_is_loaded(runtime)) {
        spn_status left = spn_runtime_unload(runtime, NULL);
        if (left != SPN_STATUS_OK) abort();
    }
    spn_runtime_free(runtime);
    return status;
}

static spn_status part_embed(const char *path, said *out, spn_error *err) {
    spn_runtime *runtime = NULL;
    spn_embedding_response response = {0};
    char text[32] = "";
    spn_status status = spn_runtime_create(&runtime, err);
    TRY(spn_runtime_load(runtime, path, &config, err));
    TRY(spn_runtime_embed(runtime, "A cat", NULL, &response, err));
    if (status == SPN_STATUS_OK) snprintf(text, sizeof text, "%a", (double)response.embedding[0]);
    say(out, text);
    spn_embedding_response_clear(&response);
    spn_runtime_free(runtime);
    return status;
}

/* Saved by one runtime, restored by another. */
static spn_status part_session(const char *path, said *out, spn_error *err) {
    spn_runtime *runtime[2] = {NULL, NULL};
    spn_status status = SPN_STATUS_OK;
    for (int i = 0; i < 2; i++) {
        TRY(spn_runtime_create(&runtime[i], err));
        TRY(spn_runtime_load(runtime[i], path, &config, err));
    }
    TRY(ask(runtime[0], "Once upon a time", &options, out, err));
    TRY(spn_runtime_save_session(runtime[0], session_path, err));
    TRY(spn_runtime_load_session(runtime[1], session_path, err));
    TRY(ask(runtime[1], "Once upon a time", &options, out, err));
    for (int i = 0; i < 2; i++) spn_runtime_free(runtime[i]);
    remove(session_path);
    return status;
}

static spn_status part_draft(const char *path, said *out, spn_error *err) {
    spn_runtime *runtime = NULL;
    spn_load_config with_draft = config;
    spn_chat_options always = options;
    with_draft.draft_path = path;
    with_draft.n_conversations = 2;
    always.lookahead = SPN_LOOKAHEAD_MODE_ALWAYS;
    always.max_tokens = 20;
    spn_status status = spn_runtime_create(&runtime, err);
    TRY(spn_runtime_load(runtime, path, &with_draft, err));
    TRY(ask(runtime, "Once upon a time", &always, out, err));
    TRY(ask(runtime, "Lily", &always, out, err));
    spn_runtime_free(runtime);
    return status;
}

static spn_status part_chat(const char *path, said *out, spn_error *err) {
    static const spn_chat_message messages[] = {{"system", "Be good."}, {"user", "Once"}};
    spn_runtime *runtime = NULL;
    spn_chat_response response = {0};
    spn_load_config with_template = config;
    with_template.chat_template = "{% for m in messages %}{{ m.content | upper }}{% endfor %}";
    spn_status status = spn_runtime_create(&runtime, err);
    TRY(spn_runtime_load(runtime, path, &with_template, err));
    TRY(spn_runtime_chat(runtime, messages, 2, &options, &response, err));
    if (status == SPN_STATUS_OK) say(out, response.content);
    spn_chat_response_clear(&response);
    TRY(spn_runtime_chat_json(runtime, "[{\"role\": \"user\", \"content\": \"x\"}]", &options,
                              &response, err));
    if (status == SPN_STATUS_OK) say(out, response.content);
    spn_chat_response_clear(&response);
    spn_runtime_free(runtime);
    return status;
}

/* What became of the scheduler's requests. */
typedef struct answers {
    int n_done, n_failed;
    long sum; /* of all tokens */
    char error[256];
} answers;

static void on_done(const spn_request_result *result, void *user) {
    answers *a = user;
    a->n_done++;
    a->n_failed += result->status != SPN_STATUS_OK;
    if (result->status != SPN_STATUS_OK && result->status != SPN_STATUS_NO_MEMORY) abort();
    for (size_t i = 0; i < result->n_tokens; i++) a->sum += result->tokens[i];
}

static spn_status part_scheduler(const char *path, said *out, spn_error *err) {
    static const int32_t prompt[] = {5, 6, 7, 8, 9, 10, 11, 12, 13};
    const spn_scheduler_options places = {.n_sequences = 2, .n_ctx = 64, .n_threads = 1};
    spn_model *model = NULL;
    spn_scheduler *scheduler = NULL;
    answers a = {0};
    int n_accepted = 0;
    char text[64];
    spn_status status = spn_model_open(&model, path, NULL, err);
    TRY(spn_scheduler_create(&scheduler, model, &places, err));
    for (int i = 0; i < 4; i++) {
        const spn_request request = {.tokens = prompt + i,
                                     .n_tokens = 5,
                                     .sampler = {.greedy = true},
                                     .max_tokens = 6,
                                     .ignore_end = true,
                                     .on_done = on_done,
                                     .user = &a};
        TRY(spn_scheduler_submit(scheduler, &request, NULL, err));
        n_accepted += status == SPN_STATUS_OK;
    }
    if (scheduler != NULL) spn_scheduler_wait(scheduler);
    spn_scheduler_free(scheduler);
    spn_model_close(model);
    if (a.n_done != n_accepted) abort(); /* each accepted request is answered once */
    if (a.n_failed > 0) return SPN_STATUS_NO_MEMORY;
    snprintf(text, sizeof text, "%d %ld", a.n_done, a.sum);
    if (status == SPN_STATUS_OK) say(out, text);
    return status;
}

static spn_status part_executor(const char *path, said *out, spn_error *err) {
    const spn_executor_options executor_options = {.load = config};
    spn_executor *executor = NULL;
    spn_runtime *runtime = NULL;
    spn_running_model *models = NULL;
    spn_chat_response response = {0};
    size_t n = 0;
    spn_status status = spn_executor_create(&executor, &executor_options, err);
    TRY(spn_executor_infer(executor, path, "Once", &options, &response, err));
    if (status == SPN_STATUS_OK) say(out, response.content);
    spn_chat_response_clear(&response);
    TRY(spn_executor_acquire(executor, path, -1, &runtime, err));
    TRY(spn_executor_replace(executor, path, path, NULL, err));
    if (runtime != NULL) spn_executor_release(executor, runtime);
    TRY(spn_executor_running(executor, &models, &n, err));
    spn_running_models_free(models, n);
    TRY(spn_executor_infer(executor, path, "Lily", &options, &response, err));
    if (status == SPN_STATUS_OK) say(out, response.content);
    spn_chat_response_clear(&response);
    TRY(spn_executor_unload(executor, path, err));
    spn_executor_free(executor);
    return status;
}

typedef struct part {
    const char *name;
    spn_status (*run)(const char *path, said *out, spn_error *err);
} part;

static const part parts[] = {
    {"runtime", part_runtime},     {"stream", part_stream},     {"embed", part_embed},
    {"session", part_session},     {"draft", part_draft},       {"chat", part_chat},
    {"scheduler", part_scheduler}, {"executor", part_executor},
};
enum { N_PARTS = sizeof parts / sizeof parts[0] };

/* ---- rounds ---- */

static bool round_is_good(const part *p, const char *path, const said *expected) {
    spn_error err = {0};
    said out = {.n = 0};
    n_asked = 0;
    spn_status status = p->run(path, &out, &err);
    bool same = status == SPN_STATUS_OK && strcmp(out.text, expected->text) == 0;
    bool may_fail = fail_at != 0 && n_asked >= fail_at;
    if (!same && !(may_fail && status == SPN_STATUS_NO_MEMORY)) {
        fprintf(stderr, "%s, allocation %ld%s: %s: %s\n", p->name, fail_at,
                fails_on ? " and on" : "", spn_status_name(status),
                status == SPN_STATUS_OK ? "another text" : err.text);
        return false;
    }
    if (n_alive != 0)
        fprintf(stderr, "%s, allocation %ld%s: %ld blocks stay behind\n", p->name, fail_at,
                fails_on ? " and on" : "", (long)n_alive);
    return n_alive == 0;
}

/* One allocation more each time, until the part has no more. */
static bool let_fail(const part *p, const char *path, const said *expected) {
    long n_rounds = 0;
    do {
        fail_at = ++n_rounds;
        for (int on = 0; on < 2; on++) {
            fails_on = on != 0;
            if (!round_is_good(p, path, expected)) return false;
        }
    } while (n_asked >= fail_at);
    fail_at = 0;
    printf("%s: %ld allocations\n", p->name, n_rounds - 1);
    return n_rounds > 10; /* or nothing was counted */
}

static bool run_part(const part *p, const char *path, long times) {
    said expected = {.n = 0};
    spn_error err = {0};
    if (p->run(path, &expected, &err) != SPN_STATUS_OK || expected.n == 0) {
        fprintf(stderr, "%s: %s\n", p->name, err.text);
        return false;
    }
    if (times == 0) return let_fail(p, path, &expected);
    for (long i = 0; i < times; i++)
        if (!round_is_good(p, path, &expected)) return false;
    return true;
}

int main(int argc, char **argv) {
    const spn_allocator counting = {count_malloc, count_realloc, count_free, NULL};
    if (argc < 3) return 2;
    snprintf(session_path, sizeof session_path, "cycle-%s-%s.session", argv[2],
             argc > 3 ? argv[3] : "all");
    spn_set_allocator(&counting);
    long times = strtol(argv[2], NULL, 10); /* "fail": 0 */
    int n_run = 0;
    for (size_t i = 0; i < N_PARTS; i++) {
        if (argc > 3 && strcmp(argv[3], parts[i].name) != 0) continue;
        if (!run_part(&parts[i], argv[1], times)) return 1;
        n_run++;
    }
    return n_run == 0;
}
