/* cmd_embed.c - texts to vectors. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef struct embed_options {
    spn_cli_engine engine;
    const char *tokens;
    int pooling; /* spn_pooling_type */
    bool no_normalize;
    bool truncate;
} embed_options;

_Static_assert(SPN_POOLING_TYPE_MEAN == 1 && SPN_POOLING_TYPE_LAST == 3,
               "the choices of --pooling");

static int print_vector(const float *x, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_real((double)x[i]));
    return spn_cli_print_json(list, false);
}

/* ---- from token ids, as they are ---- */

static void normalize(float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    for (size_t i = 0; i < n && sum > 0; i++) x[i] = (float)((double)x[i] / sqrt(sum));
}

static int embed_tokens(const char *path, const embed_options *opt) {
    spn_load_config config;
    spn_model *model = NULL;
    spn_session *session = NULL;
    spn_error err = {0};
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    if (!spn_cli_tokens(opt->tokens, &tokens, &n_tokens)) return SPN_EXIT_USAGE;
    spn_cli_load_config(&opt->engine, &config);
    float *out = NULL;
    size_t n = 0;
    int code = SPN_EXIT_OK;
    spn_status status = spn_model_open(&model, path, &config.model, &err);
    if (status == SPN_STATUS_OK) {
        n = spn_model_describe(model)->n_embd;
        out = malloc(n * sizeof *out);
        status = spn_session_create(&session, model, &config.session, &err);
    }
    if (status == SPN_STATUS_OK && out != NULL)
        status =
            spn_session_embed(session, tokens, n_tokens, (spn_pooling_type)opt->pooling, out, &err);
    if (status != SPN_STATUS_OK) {
        code = spn_cli_error(&err);
    } else if (out == NULL) {
        code = spn_cli_fail("cannot embed: no memory");
    } else {
        if (!opt->no_normalize) normalize(out, n);
        code = print_vector(out, n);
    }
    free(out);
    free(tokens);
    spn_session_free(session);
    spn_model_close(model);
    return code;
}

/* ---- from texts ---- */

static int embed_text(spn_runtime *runtime, const char *text, const embed_options *opt) {
    const spn_embed_options options = {.pooling = (spn_pooling_type)opt->pooling,
                                       .no_normalize = opt->no_normalize,
                                       .truncate = opt->truncate};
    spn_embedding_response response = {0};
    spn_error err = {0};
    if (spn_runtime_embed(runtime, text, &options, &response, &err) != SPN_STATUS_OK)
        return spn_cli_error(&err);
    if (response.truncated)
        fprintf(stderr, "spn-native: a text was cut to %u tokens\n", response.n_prompt_tokens);
    int code = print_vector(response.embedding, response.dimension);
    spn_embedding_response_clear(&response);
    return code;
}

/* Each line of the standard input is a text. */
static int embed_lines(spn_runtime *runtime, const embed_options *opt) {
    size_t n_bytes = 0;
    int code = SPN_EXIT_OK;
    char *text = spn_cli_read_all(stdin, "the standard input", &n_bytes);
    if (text == NULL) return SPN_EXIT_FAILED;
    for (char *line = text; code == SPN_EXIT_OK && line < text + n_bytes;) {
        size_t n = strcspn(line, "\n");
        line[n] = '\0';
        code = embed_text(runtime, line, opt);
        line += n + 1;
    }
    free(text);
    return code;
}

static int embed_texts(const char *path, const spn_cli_args *args, const embed_options *opt) {
    spn_load_config config;
    spn_runtime *runtime = NULL;
    spn_error err = {0};
    int code = SPN_EXIT_OK;
    spn_cli_load_config(&opt->engine, &config);
    if (spn_runtime_create(&runtime, &err) != SPN_STATUS_OK ||
        spn_runtime_load(runtime, path, &config, &err) != SPN_STATUS_OK)
        code = spn_cli_error(&err);
    else if (args->n == 1)
        code = embed_lines(runtime, opt);
    for (size_t i = 1; i < args->n && code == SPN_EXIT_OK; i++)
        code = embed_text(runtime, args->items[i], opt);
    spn_runtime_free(runtime);
    return code;
}

int spn_cmd_embed(int argc, char **argv) {
    embed_options opt = {0};
    const spn_opt options[] = {
        {"--tokens", NULL, SPN_OPT_TEXT, "IDS", &opt.tokens,
         "embed these token ids, 1,2,3, as they are, instead of texts"},
        {"--pooling", NULL, SPN_OPT_CHOICE, "mean|cls|last", &opt.pooling,
         "how the tokens' vectors become one (default: the model's own way)"},
        {"--no-normalize", NULL, SPN_OPT_FLAG, NULL, &opt.no_normalize,
         "leave the vectors' length as it is (default: 1)"},
        {"--truncate", NULL, SPN_OPT_FLAG, NULL, &opt.truncate,
         "cut texts that do not fit the context (default: an error)"},
        SPN_CLI_CTX_OPTION(opt.engine),
        SPN_CLI_THREADS_OPTION(opt.engine),
        SPN_CLI_CPU_OPTION(opt.engine),
    };
    const spn_cli_page page = {
        .name = "embed",
        .usage = "MODEL [TEXT]...",
        .about =
            "Prints a JSON array of numbers a line for each TEXT; without TEXT, for each line of\n"
            "the standard input. Some models were trained with prefixes that say what a text is\n"
            "for (\"query: \", \"search_document: \"): put them in the text; the model's card "
            "tells.\n",
        .examples =
            "  spn-native embed bge.gguf \"What is rain?\" \"Water that falls from clouds.\"\n"
            "  spn-native embed nomic.gguf < lines.txt > vectors.jsonl\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_min = 1,
        .n_args_max = SIZE_MAX,
    };
    spn_cli_args args;
    char path[4096];
    int done = spn_cli_parse(&page, argc, argv, &args);
    if (done >= 0) return done;
    if (opt.tokens != NULL && args.n > 1)
        return spn_cli_usage(page.name, "give texts or --tokens, not both");
    if (!spn_cli_model_path(args.items[0], path, sizeof path)) return SPN_EXIT_FAILED;
    return opt.tokens != NULL ? embed_tokens(path, &opt) : embed_texts(path, &args, &opt);
}
