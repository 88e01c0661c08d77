/* cmd_bench.c - how fast a model runs here. SPDX-License-Identifier: Apache-2.0
 *
 * A round reads a prompt that is in no cache and then generates from a short one. The medians of
 * the rounds count, after a round to warm up. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef struct bench_options {
    spn_cli_engine engine;
    uint32_t n_prompt, n_gen, n_depth, n_rounds;
    bool json;
} bench_options;

typedef struct bench {
    spn_model *model;
    spn_session *session;
    uint32_t n_vocab;
    int32_t *tokens; /* [n_prompt + n_depth + n_gen + 1] */
    double load_s;
    double *prompt_s, *gen_s; /* [n_rounds] */
} bench;

/* ---- measuring ---- */

/* A text that begins like none before it, so that nothing of it is cached. */
static void fill_tokens(bench *b, size_t n, uint32_t round) {
    uint32_t random = 2463534242u + round * 7919u;
    for (size_t i = 0; i < n; i++) {
        random ^= random << 13; /* xorshift32, Marsaglia 2003 */
        random ^= random >> 17;
        random ^= random << 5;
        b->tokens[i] = (int32_t)((i == 0 ? round : random) % b->n_vocab);
    }
}

static int32_t likeliest(const float *logits, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

static spn_status time_prompt(bench *b, uint32_t n, uint32_t round, double *seconds,
                              spn_error *err) {
    fill_tokens(b, n, 2 * round);
    double start = spn_term_seconds();
    spn_status status = spn_session_sync(b->session, b->tokens, n, NULL, err);
    *seconds = spn_term_seconds() - start;
    return status;
}

static spn_status time_generation(bench *b, uint32_t n, uint32_t depth, uint32_t round,
                                  double *seconds, spn_error *err) {
    size_t n_tokens = depth + 1;
    fill_tokens(b, n_tokens, 2 * round + 1);
    spn_status status = spn_session_sync(b->session, b->tokens, n_tokens, NULL, err);
    double start = spn_term_seconds();
    for (uint32_t i = 0; i < n && status == SPN_STATUS_OK; i++) {
        b->tokens[n_tokens++] = likeliest(spn_session_logits(b->session), b->n_vocab);
        status = spn_session_sync(b->session, b->tokens, n_tokens, NULL, err);
    }
    *seconds = spn_term_seconds() - start;
    return status;
}

static spn_status measure(bench *b, const bench_options *opt, spn_error *err) {
    double ignored;
    spn_status status = time_prompt(b, opt->n_prompt < 32 ? opt->n_prompt : 32, 0, &ignored, err);
    if (status == SPN_STATUS_OK)
        status = time_generation(b, opt->n_gen < 8 ? opt->n_gen : 8, 0, 0, &ignored, err);
    for (uint32_t round = 0; round < opt->n_rounds && status == SPN_STATUS_OK; round++) {
        status = time_prompt(b, opt->n_prompt, round + 1, &b->prompt_s[round], err);
        if (status == SPN_STATUS_OK && opt->n_gen > 0)
            status = time_generation(b, opt->n_gen, opt->n_depth, round + 1, &b->gen_s[round], err);
    }
    return status;
}

/* ---- results ---- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_rate(double *seconds, uint32_t n_rounds, uint32_t n_tokens) {
    qsort(seconds, n_rounds, sizeof *seconds, ascending);
    double median = (seconds[(n_rounds - 1) / 2] + seconds[n_rounds / 2]) / 2;
    return median > 0 ? n_tokens / median : 0;
}

static int print_results(const bench *b, const bench_options *opt, const char *path) {
    const spn_model_info *info = spn_model_describe(b->model);
    char per_token[16], size[16];
    spn_session_info session;
    spn_session_describe(b->session, &session);
    double prompt = median_rate(b->prompt_s, opt->n_rounds, opt->n_prompt);
    double gen = median_rate(b->gen_s, opt->n_rounds, opt->n_gen);
    double bandwidth = gen * (double)info->weight_bytes_per_token;
    if (opt->json)
        return spn_cli_print_json(
            json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:I, s:f, s:i, s:i, s:i, s:i, s:i, s:i, s:s,"
                      " s:i, s:b}",
                      "model", path, "architecture", info->architecture, "quantization",
                      info->quantization, "prompt_tok_s", prompt, "gen_tok_s", gen, "load_s",
                      b->load_s, "weight_bytes_per_token", (json_int_t)info->weight_bytes_per_token,
                      "weight_bytes_per_s", bandwidth, "n_prompt", (int)opt->n_prompt, "n_gen",
                      (int)opt->n_gen, "n_depth", (int)opt->n_depth, "rounds", (int)opt->n_rounds,
                      "threads", (int)session.n_threads, "n_ctx", (int)session.n_ctx, "cpu_level",
                      spn_cpu_level_name(session.cpu_level), "n_batch",
                      (int)(opt->engine.n_batch ? opt->engine.n_batch : 512), "exact",
                      (int)opt->engine.exact),
            true);
    printf("model       %s (%s %s, %s)\n", path, info->architecture, info->quantization,
           spn_cli_bytes(info->file_bytes, size));
    printf("setting     %u threads, %s, %u rounds\n", session.n_threads,
           spn_cpu_level_name(session.cpu_level), opt->n_rounds);
    printf("load        %.3f s\n", b->load_s);
    printf("prompt      %.1f tok/s over %u tokens\n", prompt, opt->n_prompt);
    printf("generation  %.1f tok/s over %u tokens", gen, opt->n_gen);
    if (opt->n_depth > 0) printf(" behind %u", opt->n_depth);
    printf("\nweights     %s a token, so %.2f GB/s\n",
           spn_cli_bytes(info->weight_bytes_per_token, per_token), bandwidth / 1e9);
    return SPN_EXIT_OK;
}

/* ---- the command ---- */

static spn_status prepare(bench *b, const bench_options *opt, const char *path, spn_error *err) {
    spn_load_config config;
    spn_cli_load_config(&opt->engine, &config);
    uint32_t longest = opt->n_depth + opt->n_gen + 1;
    if (opt->n_prompt > longest) longest = opt->n_prompt;
    if (config.session.n_ctx == 0) config.session.n_ctx = longest < 32 ? 32 : longest;
    double start = spn_term_seconds();
    spn_status status = spn_model_open(&b->model, path, &config.model, err);
    if (status == SPN_STATUS_OK)
        status = spn_session_create(&b->session, b->model, &config.session, err);
    if (status != SPN_STATUS_OK) return status;
    b->load_s = spn_term_seconds() - start;
    b->n_vocab = spn_model_describe(b->model)->n_vocab;
    b->tokens = calloc(longest + 32, sizeof *b->tokens);
    b->prompt_s = calloc(opt->n_rounds, sizeof *b->prompt_s);
    b->gen_s = calloc(opt->n_rounds, sizeof *b->gen_s);
    if (b->tokens != NULL && b->prompt_s != NULL && b->gen_s != NULL) return SPN_STATUS_OK;
    *err = (spn_error){.status = SPN_STATUS_NO_MEMORY, .text = "no memory for the measurement"};
    return SPN_STATUS_NO_MEMORY;
}

static int run_bench(const bench_options *opt, const char *model) {
    char path[4096];
    bench b = {0};
    spn_error err = {0};
    int code;
    if (!spn_cli_model_path(model, path, sizeof path)) return SPN_EXIT_FAILED;
    if (prepare(&b, opt, path, &err) != SPN_STATUS_OK || measure(&b, opt, &err) != SPN_STATUS_OK)
        code = spn_cli_error(&err);
    else
        code = print_results(&b, opt, path);
    free(b.tokens);
    free(b.prompt_s);
    free(b.gen_s);
    spn_session_free(b.session);
    spn_model_close(b.model);
    return code;
}

int spn_cmd_bench(int argc, char **argv) {
    bench_options opt = {.n_prompt = 512, .n_gen = 64, .n_rounds = 3};
    const spn_opt options[] = {
        {"--prompt", "-p", SPN_OPT_U32, "N", &opt.n_prompt, "tokens of the prompt (default 512)"},
        {"--gen", "-n", SPN_OPT_U32, "N", &opt.n_gen, "tokens to generate (default 64)"},
        {"--depth", "-d", SPN_OPT_U32, "N", &opt.n_depth,
         "tokens in the cache when generation begins (default 0)"},
        {"--rounds", "-r", SPN_OPT_U32, "N", &opt.n_rounds, "rounds; medians count (default 3)"},
        {"--json", NULL, SPN_OPT_FLAG, NULL, &opt.json, "print JSON"},
        {"--exact", NULL, SPN_OPT_FLAG, NULL, &opt.engine.exact, "measure the slow exact path"},
        SPN_CLI_BATCH_OPTION(opt.engine),
        SPN_CLI_KV_OPTION(opt.engine),
        SPN_CLI_CTX_OPTION(opt.engine),
        SPN_CLI_THREADS_OPTION(opt.engine),
        SPN_CLI_CPU_OPTION(opt.engine),
    };
    const spn_cli_page page = {
        .name = "bench",
        .usage = "MODEL",
        .about =
            "Measures prompt processing and generation in tokens a second. Generation is bounded\n"
            "by the memory: weights read a token, times tokens a second.\n",
        .examples =
            "  spn-native bench demo\n"
            "  spn-native bench model.gguf -p 2048 -n 128 -t 4 --json\n"
            "  spn-native bench model.gguf --cpu avx2          # what a lower level costs\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    int done = spn_cli_parse(&page, argc, argv, &args);
    if (done >= 0) return done;
    if (opt.n_prompt == 0 || opt.n_rounds == 0 || opt.n_prompt > 1u << 24 || opt.n_gen > 1u << 24 ||
        opt.n_depth > 1u << 24 || opt.n_rounds > 10000)
        return spn_cli_usage(page.name, "-p and -r must be at least 1, and no number enormous");
    return run_bench(&opt, args.items[0]);
}
