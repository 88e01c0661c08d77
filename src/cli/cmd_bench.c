/* cmd_bench.c - how fast a model runs here, beside what the machine can do at most.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A round measures the limits (a plain read loop over the model's file, multiplications in
 * registers only), reads a prompt that is in no cache, and generates from a single token, both
 * behind the tokens of -d. All of it is interleaved and the medians of the rounds count, after a
 * round to warm up: on a shared machine only ratios within one run mean anything. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { MOST_THREAD_COUNTS = 16, WARM_UP_TOKENS = 512 };

typedef struct bench_options {
    spn_cli_engine engine;
    const char *threads; /* "1,2,4" */
    uint32_t n_prompt, n_gen, n_depth, n_rounds;
    bool json, profile;
} bench_options;

typedef struct bench {
    spn_model *model;
    spn_session *session;
    uint32_t n_vocab;
    int32_t *tokens; /* [n_depth + max(n_prompt, n_gen + 1)] */
    double load_s;
    double kv_read_bytes; /* a token, halfway through the generated ones */
    /* [n_rounds] each */
    double *prompt_s, *gen_s, *read_gb_s, *int8_tops, *f32_gflops;
    bool has_limits; /* the file is large enough to be measured */
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

static spn_status time_prompt(bench *b, uint32_t n, uint32_t depth, uint32_t round, double *seconds,
                              spn_error *err) {
    fill_tokens(b, depth + n, 2 * round);
    spn_status status = SPN_STATUS_OK;
    if (depth > 0) status = spn_session_sync(b->session, b->tokens, depth, NULL, err);
    if (status != SPN_STATUS_OK) return status;
    double start = spn_term_seconds();
    status = spn_session_sync(b->session, b->tokens, depth + n, NULL, err);
    *seconds = spn_term_seconds() - start;
    return status;
}

/* Behind the same first tokens as the round's prompt, which need not be read again; then goes
 * another way. */
static spn_status time_generation(bench *b, uint32_t n, uint32_t depth, uint32_t round,
                                  double *seconds, spn_error *err) {
    size_t n_tokens = depth + 1;
    fill_tokens(b, n_tokens, 2 * round);
    b->tokens[depth] = (b->tokens[depth] + 1) % (int32_t)b->n_vocab;
    spn_status status = spn_session_sync(b->session, b->tokens, n_tokens, NULL, err);
    spn_session_info before, after;
    spn_session_describe(b->session, &before);
    double start = spn_term_seconds();
    for (uint32_t i = 0; i < n && status == SPN_STATUS_OK; i++) {
        b->tokens[n_tokens++] = likeliest(spn_session_logits(b->session), b->n_vocab);
        status = spn_session_sync(b->session, b->tokens, n_tokens, NULL, err);
    }
    *seconds = spn_term_seconds() - start;
    spn_session_describe(b->session, &after);
    b->kv_read_bytes = ((double)before.kv_read_bytes + (double)after.kv_read_bytes) / 2;
    return status;
}

static void measure_limits(bench *b, uint32_t round) {
    spn_session_info info;
    spn_roofline roofline;
    spn_session_describe(b->session, &info);
    b->has_limits = spn_model_roofline(b->model, info.n_threads, &roofline, NULL) == SPN_STATUS_OK;
    if (!b->has_limits) return;
    b->read_gb_s[round] = roofline.read_gb_s;
    b->int8_tops[round] = roofline.int8_tops;
    b->f32_gflops[round] = roofline.f32_gflops;
}

/* A pass of the size that is measured: the first one has to map the weights' and buffers' pages. */
static spn_status warm_up(bench *b, const bench_options *opt, spn_error *err) {
    double ignored;
    uint32_t n = opt->n_prompt < WARM_UP_TOKENS ? opt->n_prompt : WARM_UP_TOKENS;
    spn_status status = n > 0 ? time_prompt(b, n, 0, 0, &ignored, err) : SPN_STATUS_OK;
    if (status != SPN_STATUS_OK) return status;
    return time_generation(b, opt->n_gen < 8 ? opt->n_gen : 8, 0, 0, &ignored, err);
}

static spn_status measure(bench *b, const bench_options *opt, spn_error *err) {
    spn_status status = warm_up(b, opt, err);
    for (uint32_t i = 0; i < opt->n_rounds && status == SPN_STATUS_OK; i++) {
        measure_limits(b, i);
        if (opt->n_prompt > 0)
            status = time_prompt(b, opt->n_prompt, opt->n_depth, i + 1, &b->prompt_s[i], err);
        if (opt->n_gen > 0 && status == SPN_STATUS_OK)
            status = time_generation(b, opt->n_gen, opt->n_depth, i + 1, &b->gen_s[i], err);
    }
    return status;
}

/* ---- results ---- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t n) {
    qsort(values, n, sizeof *values, ascending);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

static double median_rate(double *seconds, uint32_t n_rounds, uint32_t n_tokens) {
    double middle = median(seconds, n_rounds);
    return middle > 0 ? n_tokens / middle : 0;
}

typedef struct result {
    double prompt_tok_s, gen_tok_s;
    double weight_gb_s;                      /* weights read a second while generating */
    double all_gb_s;                         /* and the cache */
    double prompt_tops;                      /* of the products with weights */
    double read_gb_s, int8_tops, f32_gflops; /* limits; 0: not measured */
} result;

static result result_of(const bench *b, const bench_options *opt) {
    const spn_model_info *info = spn_model_describe(b->model);
    result r = {.prompt_tok_s = median_rate(b->prompt_s, opt->n_rounds, opt->n_prompt),
                .gen_tok_s = median_rate(b->gen_s, opt->n_rounds, opt->n_gen)};
    r.weight_gb_s = r.gen_tok_s * (double)info->weight_bytes_per_token * 1e-9;
    r.all_gb_s = r.weight_gb_s + r.gen_tok_s * b->kv_read_bytes * 1e-9;
    r.prompt_tops = r.prompt_tok_s * 2 * (double)info->n_prompt_params * 1e-12;
    if (!b->has_limits) return r;
    r.read_gb_s = median(b->read_gb_s, opt->n_rounds);
    r.int8_tops = median(b->int8_tops, opt->n_rounds);
    r.f32_gflops = median(b->f32_gflops, opt->n_rounds);
    return r;
}

static json_t *profile_json(const bench *b) {
    json_t *list = json_object();
    spn_profile_item item;
    for (size_t i = 0; spn_session_profile(b->session, i, &item); i++)
        if (item.n > 0)
            json_object_set_new(
                list, item.name,
                json_pack("{s:I, s:f}", "n", (json_int_t)item.n, "seconds", item.seconds));
    return list;
}

/* What was measured: a prompt, generation or both. */
static void add_rates(json_t *out, const bench *b, const bench_options *opt, const result *r) {
    if (opt->n_prompt > 0) {
        json_object_set_new(out, "prompt_tok_s", json_real(r->prompt_tok_s));
        json_object_set_new(out, "prompt_tops", json_real(r->prompt_tops));
    }
    if (opt->n_gen > 0) {
        json_object_set_new(out, "gen_tok_s", json_real(r->gen_tok_s));
        json_object_set_new(out, "weight_bytes_per_s", json_real(r->weight_gb_s * 1e9));
        json_object_set_new(out, "kv_bytes_per_token", json_integer((json_int_t)b->kv_read_bytes));
    }
    if (!b->has_limits) return;
    json_object_set_new(out, "read_gb_s", json_real(r->read_gb_s));
    json_object_set_new(out, "int8_tops", json_real(r->int8_tops));
    json_object_set_new(out, "f32_gflops", json_real(r->f32_gflops));
    if (opt->n_prompt > 0)
        json_object_set_new(out, "prompt_of_int8", json_real(r->prompt_tops / r->int8_tops));
    if (opt->n_gen == 0) return;
    json_object_set_new(out, "gen_of_read", json_real(r->weight_gb_s / r->read_gb_s));
    json_object_set_new(out, "gen_with_kv_of_read", json_real(r->all_gb_s / r->read_gb_s));
}

static json_t *result_json(const bench *b, const bench_options *opt, const char *path) {
    const spn_model_info *info = spn_model_describe(b->model);
    spn_session_info session;
    spn_session_describe(b->session, &session);
    result r = result_of(b, opt);
    json_t *out =
        json_pack("{s:s, s:s, s:s, s:f, s:I}", "model", path, "architecture", info->architecture,
                  "quantization", info->quantization, "load_s", b->load_s, "weight_bytes_per_token",
                  (json_int_t)info->weight_bytes_per_token);
    json_t *settings = json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:i, s:b}", "n_prompt", (int)opt->n_prompt, "n_gen",
        (int)opt->n_gen, "n_depth", (int)opt->n_depth, "rounds", (int)opt->n_rounds, "threads",
        (int)session.n_threads, "n_ctx", (int)session.n_ctx, "cpu_level",
        spn_cpu_level_name(session.cpu_level), "n_batch",
        (int)(opt->engine.n_batch ? opt->engine.n_batch : 512), "exact", (int)opt->engine.exact);
    if (out != NULL && settings != NULL) json_object_update(out, settings);
    json_decref(settings);
    if (out != NULL) add_rates(out, b, opt, &r);
    if (out != NULL && opt->profile) json_object_set_new(out, "profile", profile_json(b));
    return out;
}

static void print_profile(const bench *b) {
    spn_profile_item item;
    double total = 0;
    for (size_t i = 0; spn_session_profile(b->session, i, &item); i++) total += item.seconds;
    for (size_t i = 0; spn_session_profile(b->session, i, &item); i++)
        if (item.n > 0)
            printf("  %-12s %8llu times %9.3f s %5.1f %%\n", item.name, (unsigned long long)item.n,
                   item.seconds, total > 0 ? 100 * item.seconds / total : 0);
}

static void print_result(const bench *b, const bench_options *opt) {
    spn_session_info session;
    spn_session_describe(b->session, &session);
    result r = result_of(b, opt);
    char behind[32] = "";
    if (opt->n_depth > 0) snprintf(behind, sizeof behind, " behind %u", opt->n_depth);
    printf("%u thread%s\n", session.n_threads, session.n_threads == 1 ? "" : "s");
    if (opt->n_prompt > 0) {
        printf("  prompt      %9.1f tok/s over %u tokens%s", r.prompt_tok_s, opt->n_prompt, behind);
        if (b->has_limits)
            printf(": %.2f of %.2f int8 TOPS", r.prompt_tops / r.int8_tops, r.int8_tops);
        printf("\n");
    }
    if (opt->n_gen > 0) {
        printf("  generation  %9.1f tok/s over %u tokens%s", r.gen_tok_s, opt->n_gen, behind);
        if (b->has_limits)
            printf(": weights at %.2f, with the cache %.2f of %.1f GB/s",
                   r.weight_gb_s / r.read_gb_s, r.all_gb_s / r.read_gb_s, r.read_gb_s);
        printf("\n");
    }
    if (opt->profile) print_profile(b);
}

static void print_head(const bench *b, const bench_options *opt, const char *path) {
    const spn_model_info *info = spn_model_describe(b->model);
    char per_token[16], size[16];
    spn_session_info session;
    spn_session_describe(b->session, &session);
    printf("model     %s (%s %s, %s)\n", path, info->architecture, info->quantization,
           spn_cli_bytes(info->file_bytes, size));
    printf("weights   %s a token\n", spn_cli_bytes(info->weight_bytes_per_token, per_token));
    printf("setting   %s, %u rounds\n", spn_cpu_level_name(session.cpu_level), opt->n_rounds);
    printf("load      %.3f s\n", b->load_s);
}

/* ---- the command ---- */

static bool allocate(bench *b, const bench_options *opt, uint32_t longest) {
    double **lists[] = {&b->prompt_s, &b->gen_s, &b->read_gb_s, &b->int8_tops, &b->f32_gflops};
    bool ok = (b->tokens = calloc(longest + 32, sizeof *b->tokens)) != NULL;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        ok &= (*lists[i] = calloc(opt->n_rounds, sizeof **lists[i])) != NULL;
    return ok;
}

static void release(bench *b) {
    free(b->tokens);
    free(b->prompt_s);
    free(b->gen_s);
    free(b->read_gb_s);
    free(b->int8_tops);
    free(b->f32_gflops);
    spn_session_free(b->session);
    spn_model_close(b->model);
}

static spn_status prepare(bench *b, const bench_options *opt, uint32_t n_threads, const char *path,
                          spn_error *err) {
    spn_load_config config;
    spn_cli_load_config(&opt->engine, &config);
    config.session.n_threads = n_threads;
    config.session.profile = opt->profile;
    uint32_t longest = opt->n_gen + 1;
    if (opt->n_prompt > longest) longest = opt->n_prompt;
    longest += opt->n_depth;
    if (config.session.n_ctx == 0) config.session.n_ctx = longest < 32 ? 32 : longest;
    double start = spn_term_seconds();
    spn_status status = spn_model_open(&b->model, path, &config.model, err);
    if (status == SPN_STATUS_OK)
        status = spn_session_create(&b->session, b->model, &config.session, err);
    if (status != SPN_STATUS_OK) return status;
    b->load_s = spn_term_seconds() - start;
    b->n_vocab = spn_model_describe(b->model)->n_vocab;
    if (allocate(b, opt, longest)) return SPN_STATUS_OK;
    *err = (spn_error){.status = SPN_STATUS_NO_MEMORY, .text = "no memory for the measurement"};
    return SPN_STATUS_NO_MEMORY;
}

/* One number of threads. */
static int run_one(const bench_options *opt, uint32_t n_threads, const char *path, bool first,
                   json_t *results) {
    bench b = {0};
    spn_error err = {0};
    int code = SPN_EXIT_OK;
    if (prepare(&b, opt, n_threads, path, &err) != SPN_STATUS_OK ||
        measure(&b, opt, &err) != SPN_STATUS_OK) {
        code = spn_cli_error(&err);
    } else if (opt->json) {
        json_array_append_new(results, result_json(&b, opt, path));
    } else {
        if (first) print_head(&b, opt, path);
        print_result(&b, opt);
    }
    release(&b);
    return code;
}

/* "1,2,4"; false when it is no such list. */
static bool parse_threads(const char *text, uint32_t *counts, size_t *n) {
    for (*n = 0; *n < MOST_THREAD_COUNTS; text++) {
        char *end;
        unsigned long count = strtoul(text, &end, 10);
        if (end == text || count == 0 || count > 1024) return false;
        counts[(*n)++] = (uint32_t)count;
        text = end;
        if (*text == '\0') return true;
        if (*text != ',') return false;
    }
    return false;
}

static int run_bench(const bench_options *opt, const char *model) {
    char path[4096];
    uint32_t counts[MOST_THREAD_COUNTS] = {0};
    size_t n = 1;
    int code = SPN_EXIT_OK;
    if (opt->threads != NULL && !parse_threads(opt->threads, counts, &n))
        return spn_cli_usage("bench", "-t takes numbers of threads: 2, or 1,2,4");
    if (!spn_cli_model_path(model, path, sizeof path)) return SPN_EXIT_FAILED;
    json_t *results = json_array();
    for (size_t i = 0; i < n && code == SPN_EXIT_OK; i++)
        code = run_one(opt, counts[i], path, i == 0, results);
    if (opt->json && code == SPN_EXIT_OK) {
        json_t *out = n == 1 ? json_incref(json_array_get(results, 0)) : json_incref(results);
        code = spn_cli_print_json(out, true);
    }
    json_decref(results);
    return code;
}

int spn_cmd_bench(int argc, char **argv) {
    bench_options opt = {.n_prompt = 512, .n_gen = 64, .n_rounds = 3};
    const spn_opt options[] = {
        {"--prompt", "-p", SPN_OPT_U32, "N", &opt.n_prompt,
         "tokens of the prompt (default 512); 0: none"},
        {"--gen", "-n", SPN_OPT_U32, "N", &opt.n_gen, "tokens to generate (default 64); 0: none"},
        {"--depth", "-d", SPN_OPT_U32, "N", &opt.n_depth,
         "tokens in the cache when the prompt, and generation, begin (default 0)"},
        {"--rounds", "-r", SPN_OPT_U32, "N", &opt.n_rounds, "rounds; medians count (default 3)"},
        {"--threads", "-t", SPN_OPT_TEXT, "N,N,...", &opt.threads,
         "threads to use, one measurement for each (default: the cores there are)"},
        {"--profile", NULL, SPN_OPT_FLAG, NULL, &opt.profile, "show where the time goes"},
        {"--json", NULL, SPN_OPT_FLAG, NULL, &opt.json,
         "print JSON: an object, or an array for several -t"},
        {"--exact", NULL, SPN_OPT_FLAG, NULL, &opt.engine.exact, "measure the slow exact path"},
        SPN_CLI_BATCH_OPTION(opt.engine),
        SPN_CLI_KV_OPTIONS(opt.engine),
        SPN_CLI_CTX_OPTION(opt.engine),
        SPN_CLI_CPU_OPTION(opt.engine),
        SPN_CLI_MLOCK_OPTION(opt.engine),
    };
    const spn_cli_page page = {
        .name = "bench",
        .usage = "MODEL",
        .about = "Measures prompt processing and generation in tokens a second, beside what the "
                 "machine\n"
                 "can do at most, measured in the same run: generation is bounded by reading the\n"
                 "weights, a prompt by multiplying.\n",
        .examples =
            "  spn-native bench demo\n"
            "  spn-native bench model.gguf -p 2048 -n 128 -t 1,2,4 --json\n"
            "  spn-native bench model.gguf -d 4096 --profile   # deep in a text\n"
            "  spn-native bench model.gguf --cpu avx2          # what a lower level costs\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    int done = spn_cli_parse(&page, argc, argv, &args);
    if (done >= 0) return done;
    if ((opt.n_prompt == 0 && opt.n_gen == 0) || opt.n_rounds == 0)
        return spn_cli_usage(page.name, "-r and one of -p and -n must be at least 1");
    if (opt.n_prompt > 1u << 24 || opt.n_gen > 1u << 24 || opt.n_depth > 1u << 24 ||
        opt.n_rounds > 10000)
        return spn_cli_usage(page.name, "-p, -n and -d are at most 16777216, -r 10000");
    return run_bench(&opt, args.items[0]);
}
