/* cmd_run.c - answer one prompt. SPDX-License-Identifier: Apache-2.0
 *
 * Only generated text goes to the standard output, as it comes. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { STATS_TEXT = 1, STATS_JSON, STATS_NONE };

typedef struct run_options {
    spn_cli_engine engine;
    spn_cli_sampling sampling;
    spn_texts stop;
    uint32_t max_tokens;
    spn_cli_shift shift;
    const char *system;
    const char *session; /* file */
    bool raw;
    bool ignore_end;
    bool pull;
    bool verbose;
    int stats;
} run_options;

/* What the callbacks see. */
typedef struct run_state {
    spn_runtime *runtime;
    spn_cli_progress progress;
    double load_s;
    char last; /* character printed */
    bool write_failed;
} run_state;

static spn_runtime *interrupted; /* for the signal handler, which gets no argument */
static void on_interrupt(void) { spn_runtime_cancel(interrupted); }

static bool on_text(const char *text, size_t n_bytes, void *user) {
    run_state *state = user;
    spn_cli_progress_end(&state->progress);
    state->write_failed = fwrite(text, 1, n_bytes, stdout) != n_bytes || fflush(stdout) != 0;
    state->last = text[n_bytes - 1];
    return !state->write_failed;
}

/* ---- statistics ---- */

static double rate(double n, double s) { return s > 0 && n > 0 ? n / s : 0; }

/* The first token's time is the prompt's. */
static double generation_rate(const spn_chat_response *r) {
    return rate((double)r->n_completion_tokens - 1, r->generation_s);
}

static uint32_t context_used(const spn_chat_response *r) {
    return r->n_prompt_tokens + r->n_completion_tokens - r->n_dropped_tokens;
}

static void print_stats_text(const run_state *state, const spn_chat_response *r) {
    spn_memory_need need = {0};
    char memory[16];
    uint32_t n_prompt = r->n_prompt_tokens - r->n_cached_tokens;
    char dropped[48] = "";
    bool dim = spn_term_has_colour(stderr);
    spn_runtime_memory(state->runtime, &need);
    if (r->n_dropped_tokens > 0)
        snprintf(dropped, sizeof dropped, " (%u older tokens dropped)", r->n_dropped_tokens);
    fprintf(stderr,
            "%sload %.2f s; prompt %u tokens, %.1f tok/s; generated %u tokens, %.1f tok/s; "
            "context %u of %u%s; memory %s; seed %llu; end: %s%s\n",
            dim ? "\033[2m" : "", state->load_s, r->n_prompt_tokens, rate(n_prompt, r->prompt_s),
            r->n_completion_tokens, generation_rate(r), context_used(r), r->n_ctx, dropped,
            spn_cli_bytes(need.total, memory), (unsigned long long)r->seed,
            spn_finish_reason_name(r->finish_reason), dim ? "\033[0m" : "");
}

static void print_stats_json(const run_state *state, const spn_chat_response *r,
                             const spn_session_info *info) {
    uint32_t n_prompt = r->n_prompt_tokens - r->n_cached_tokens;
    spn_memory_need need = {0};
    spn_runtime_memory(state->runtime, &need);
    json_t *stats = json_pack(
        "{s:f, s:i, s:i, s:f, s:f, s:i, s:i, s:i, s:f, s:f, s:i, s:i, s:i, s:i, s:s, s:I, s:s, "
        "s:i, s:I, "
        "s:I, s:I, s:I, s:I, s:I}",
        "load_s", state->load_s, "prompt_tokens", (int)r->n_prompt_tokens, "cached_tokens",
        (int)r->n_cached_tokens, "prompt_s", r->prompt_s, "prompt_tok_s",
        rate(n_prompt, r->prompt_s), "completion_tokens", (int)r->n_completion_tokens,
        "guessed_tokens", (int)r->n_guessed_tokens, "came_tokens", (int)r->n_came_tokens,
        "generation_s", r->generation_s, "gen_tok_s", generation_rate(r), "context_used",
        (int)context_used(r), "dropped_tokens", (int)r->n_dropped_tokens, "repeated_tokens",
        (int)r->n_repeated_tokens, "n_ctx", (int)r->n_ctx, "finish_reason",
        spn_finish_reason_name(r->finish_reason), "seed", (json_int_t)r->seed, "cpu_level",
        spn_cpu_level_name(info->cpu_level), "threads", (int)info->n_threads, "weights_bytes",
        (json_int_t)need.weights, "kv_bytes", (json_int_t)need.kv, "scratch_bytes",
        (json_int_t)need.scratch, "process_bytes", (json_int_t)need.process, "memory_bytes",
        (json_int_t)need.total, "available_bytes", (json_int_t)need.available);
    if (stats == NULL) return;
    json_dumpf(stats, stderr, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', stderr);
    json_decref(stats);
}

static void print_stats(const run_state *state, const spn_chat_response *response, int kind) {
    spn_session_info info = {0};
    spn_runtime_session_info(state->runtime, &info);
    if (kind == STATS_JSON) print_stats_json(state, response, &info);
    if (kind == STATS_TEXT) print_stats_text(state, response);
}

static void print_memory(const run_state *state) {
    spn_memory_need need = {0};
    char text[200];
    bool dim = spn_term_has_colour(stderr);
    spn_runtime_memory(state->runtime, &need);
    fprintf(stderr, "%smemory %s%s\n", dim ? "\033[2m" : "", spn_cli_memory(&need, text),
            dim ? "\033[0m" : "");
}

/* ---- the session's file ---- */

/* A first run has none; one that does not fit is an error, not a silent fresh start. */
static int restore(spn_runtime *runtime, const char *path) {
    spn_error err = {0};
    FILE *file = fopen(path, "rb");
    if (file == NULL) return SPN_EXIT_OK;
    fclose(file);
    if (spn_runtime_load_session(runtime, path, &err) == SPN_STATUS_OK) return SPN_EXIT_OK;
    return spn_cli_error(&err);
}

static int keep(spn_runtime *runtime, const char *path) {
    spn_error err = {0};
    if (spn_runtime_save_session(runtime, path, &err) == SPN_STATUS_OK) return SPN_EXIT_OK;
    return spn_cli_error(&err);
}

/* ---- asking ---- */

static spn_status ask(const run_state *state, const run_options *opt, const char *prompt,
                      const spn_chat_options *options, spn_chat_response *response,
                      spn_error *err) {
    const spn_chat_message messages[] = {{"system", opt->system}, {"user", prompt}};
    if (opt->system != NULL)
        return spn_runtime_chat(state->runtime, messages, 2, options, response, err);
    return spn_runtime_infer(state->runtime, prompt, options, response, err);
}

static int answer(run_state *state, const run_options *opt, const char *prompt) {
    spn_error err = {0};
    spn_chat_response response = {0};
    spn_chat_options options = {
        .max_tokens = opt->max_tokens,
        .context_shift = opt->shift.on,
        .n_keep = opt->shift.n_keep,
        .stop = opt->stop.items,
        .n_stop = opt->stop.n,
        .raw = opt->raw,
        .ignore_end = opt->ignore_end,
        .lookahead = spn_cli_lookahead(&opt->engine),
        .on_text = on_text,
        .on_text_user = state,
    };
    if (!spn_cli_sampler_options("run", &opt->sampling, &options.sampler)) return SPN_EXIT_USAGE;
    interrupted = state->runtime;
    spn_term_on_interrupt(on_interrupt);
    spn_status status = ask(state, opt, prompt, &options, &response, &err);
    spn_term_on_interrupt(NULL);
    spn_cli_progress_end(&state->progress);
    free((void *)(uintptr_t)options.sampler.bias);
    if (status != SPN_STATUS_OK) return spn_cli_error(&err);
    /* The shell's prompt wants a fresh line; a file wants the text alone. */
    if (state->last != '\n' && state->last != '\0' && spn_term_is_terminal(stdout)) puts("");
    fflush(stdout);
    print_stats(state, &response, opt->stats);
    if (opt->stats == STATS_TEXT) spn_cli_print_repetition(&response);
    spn_chat_response_clear(&response);
    return state->write_failed ? spn_cli_fail("cannot write the output") : SPN_EXIT_OK;
}

static int load(run_state *state, const run_options *opt, const char *path, const char *draft) {
    spn_load_config config;
    spn_error err = {0};
    double start = spn_term_seconds();
    spn_cli_load_config(&opt->engine, &config);
    if (draft[0] != '\0') config.draft_path = draft;
    config.session.progress = spn_cli_on_progress;
    config.session.progress_user = &state->progress;
    if (spn_runtime_create(&state->runtime, &err) != SPN_STATUS_OK ||
        spn_runtime_load(state->runtime, path, &config, &err) != SPN_STATUS_OK)
        return spn_cli_error(&err);
    state->load_s = spn_term_seconds() - start;
    spn_cli_print_note(state->runtime);
    /* Nothing but metadata is read yet: whoever waits long knows what for. */
    if (opt->verbose || (opt->stats == STATS_TEXT && spn_term_is_terminal(stderr)))
        print_memory(state);
    return SPN_EXIT_OK;
}

static int load_and_answer(const run_options *opt, const char *model, const char *prompt) {
    char path[4096], draft[4096] = "";
    run_state state = {0};
    int code = spn_cli_find_model(model, opt->pull, path, sizeof path);
    if (code == SPN_EXIT_OK && opt->engine.draft != NULL)
        code = spn_cli_find_model(opt->engine.draft, opt->pull, draft, sizeof draft);
    if (code == SPN_EXIT_OK) code = load(&state, opt, path, draft);
    if (code == SPN_EXIT_OK && prompt[0] == '\0' && !opt->raw && spn_term_is_terminal(stdin) &&
        spn_runtime_model_info(state.runtime)->has_chat_template)
        code = spn_cli_usage("run", "a prompt is missing; spn-native chat MODEL is a conversation");
    if (code == SPN_EXIT_OK && opt->session != NULL) code = restore(state.runtime, opt->session);
    if (code == SPN_EXIT_OK) code = answer(&state, opt, prompt);
    if (code == SPN_EXIT_OK && opt->session != NULL) code = keep(state.runtime, opt->session);
    spn_runtime_free(state.runtime);
    return code;
}

/* The prompt given, or the standard input's for - and a pipe. */
static char *read_prompt(const spn_cli_args *args, bool raw) {
    const char *given = args->n > 1 ? args->items[1] : NULL;
    size_t n_bytes = 0;
    bool from_stdin = given != NULL ? strcmp(given, "-") == 0 : !spn_term_is_terminal(stdin);
    if (!from_stdin) {
        const char *text = given != NULL ? given : "";
        size_t n = strlen(text) + 1;
        char *copy = malloc(n);
        if (copy == NULL)
            spn_cli_fail("cannot keep the prompt: no memory");
        else
            memcpy(copy, text, n);
        return copy;
    }
    char *text = spn_cli_read_all(stdin, "the standard input", &n_bytes);
    if (text == NULL) return NULL;
    if (memchr(text, '\0', n_bytes) != NULL) {
        spn_cli_fail("cannot use the prompt: it holds a NUL byte");
        free(text);
        return NULL;
    }
    if (!raw && n_bytes > 0 && text[n_bytes - 1] == '\n') text[n_bytes - 1] = '\0';
    return text;
}

int spn_cmd_run(int argc, char **argv) {
    run_options opt = {.sampling = SPN_CLI_SAMPLING, .stats = STATS_TEXT};
    const spn_opt options[] = {
        {"--max-tokens", "-n", SPN_OPT_U32, "N", &opt.max_tokens,
         "most tokens to generate (default: as many as the context holds, but an answer that only "
         "repeats one phrase ends)"},
        SPN_CLI_SHIFT_OPTIONS(opt.shift),
        {"--system", NULL, SPN_OPT_TEXT, "TEXT", &opt.system, "a system message before the prompt"},
        {"--session", NULL, SPN_OPT_TEXT, "FILE", &opt.session,
         "keep what was read in a file: a later prompt that begins like this one's text goes on "
         "from there without reading it again"},
        {"--stop", NULL, SPN_OPT_TEXTS, "TEXT", &opt.stop,
         "end the answer before this text; may be given several times"},
        {"--raw", NULL, SPN_OPT_FLAG, NULL, &opt.raw,
         "continue the prompt as it is, without the model's chat template"},
        {"--ignore-end", NULL, SPN_OPT_FLAG, NULL, &opt.ignore_end,
         "go on where the model would end its text"},
        SPN_CLI_PULL_OPTION(opt.pull),
        SPN_CLI_LOOKAHEAD_OPTIONS(opt.engine),
        SPN_CLI_SAMPLING_OPTIONS(opt.sampling),
        SPN_CLI_CTX_OPTION(opt.engine),
        SPN_CLI_KV_OPTIONS(opt.engine),
        SPN_CLI_BATCH_OPTION(opt.engine),
        SPN_CLI_THREADS_OPTION(opt.engine),
        SPN_CLI_CPU_OPTION(opt.engine),
        SPN_CLI_GPU_OPTION(opt.engine),
        SPN_CLI_MEMORY_OPTION(opt.engine),
        SPN_CLI_MLOCK_OPTION(opt.engine),
        {"--verbose", "-v", SPN_OPT_FLAG, NULL, &opt.verbose,
         "tell what memory it takes also where the standard error is no terminal"},
        {"--stats", NULL, SPN_OPT_CHOICE, "text|json|none", &opt.stats,
         "statistics on the standard error (default text)"},
    };
    const spn_cli_page page = {
        .name = "run",
        .usage = "MODEL [PROMPT]",
        .about =
            "Answers PROMPT, or what comes from the standard input where PROMPT is - or missing.\n"
            "Only the generated text goes to the standard output, as it comes. Ctrl-C ends the\n"
            "answer and keeps what came. MODEL is a GGUF file, the word demo, or a model of the "
            "store.\n",
        .examples = "  spn-native run demo \"Once upon a time\"\n"
                    "  spn-native run demo \"The fox\" -n 50 --temp 0       # the likeliest text\n"
                    "  spn-native run model.gguf --system \"Answer in French.\" \"What is rain?\"\n"
                    "  git diff | spn-native run model.gguf - --ctx 16384 > review.txt\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_min = 1,
        .n_args_max = 2,
    };
    spn_cli_args args;
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code < 0 && opt.raw && opt.system != NULL)
        code = spn_cli_usage(page.name, "--system needs the chat template that --raw leaves out");
    if (code < 0) {
        char *prompt = read_prompt(&args, opt.raw);
        code = prompt != NULL ? load_and_answer(&opt, args.items[0], prompt) : SPN_EXIT_FAILED;
        free(prompt);
    }
    free((void *)opt.stop.items);
    free((void *)opt.sampling.bias.items);
    return code;
}
