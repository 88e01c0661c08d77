/* cmd_logits.c - the model's raw output, for checks against other implementations.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* Rows of logits held at a time: of large vocabularies a long text's would not fit in memory. */
#define SLICE_BYTES ((size_t)64 << 20)

static int print_rows(spn_session *session, uint32_t n_vocab, uint32_t n_batch,
                      const int32_t *tokens, size_t n_tokens) {
    spn_error err = {0};
    size_t row_bytes = n_vocab * sizeof(float), slice = n_batch ? n_batch : 512;
    while (slice * row_bytes < SLICE_BYTES && slice < n_tokens) slice *= 2;
    float *logits = malloc((slice < n_tokens ? slice : n_tokens) * row_bytes);
    if (logits == NULL) return spn_cli_fail("cannot compute logits: no memory");
    int code = SPN_EXIT_OK;
    for (size_t first = 0; first < n_tokens && code == SPN_EXIT_OK; first += slice) {
        size_t end = n_tokens - first < slice ? n_tokens : first + slice;
        if (spn_session_score(session, tokens, end, first, logits, &err) != SPN_STATUS_OK)
            code = spn_cli_error(&err);
        else if (fwrite(logits, row_bytes, end - first, stdout) != end - first)
            code = spn_cli_fail("cannot write the logits: %s", strerror(errno));
    }
    free(logits);
    return code;
}

static int logits(const char *model_name, const char *ids, const spn_cli_engine *engine) {
    char path[4096];
    spn_model *model = NULL;
    spn_session *session = NULL;
    spn_load_config config;
    spn_error err = {0};
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    int code = SPN_EXIT_OK;
    if (!spn_cli_model_path(model_name, path, sizeof path)) return SPN_EXIT_FAILED;
    if (!spn_cli_tokens(ids, &tokens, &n_tokens)) return SPN_EXIT_USAGE;
    spn_cli_load_config(engine, &config);
    /* Not more context than needed: what is measured may be larger than the memory. */
    if (config.session.n_ctx == 0) config.session.n_ctx = (uint32_t)n_tokens;
    spn_term_binary(stdout);
    if (n_tokens == 0)
        code = spn_cli_usage("logits", "--tokens holds no token");
    else if (spn_model_open(&model, path, &config.model, &err) != SPN_STATUS_OK ||
             spn_session_create(&session, model, &config.session, &err) != SPN_STATUS_OK)
        code = spn_cli_error(&err);
    else
        code = print_rows(session, spn_model_describe(model)->n_vocab, engine->n_batch, tokens,
                          n_tokens);
    spn_session_free(session);
    spn_model_close(model);
    free(tokens);
    return code;
}

int spn_cmd_logits(int argc, char **argv) {
    spn_cli_engine engine = {0};
    const char *tokens = NULL;
    const spn_opt options[] = {
        {"--tokens", NULL, SPN_OPT_TEXT, "IDS", &tokens,
         "the text as token ids: 1,2,3; - reads them from the standard input"},
        {"--exact", NULL, SPN_OPT_FLAG, NULL, &engine.exact,
         "slow and simple: weights decoded to f32, activations never quantised"},
        SPN_CLI_BATCH_OPTION(engine),
        SPN_CLI_KV_OPTIONS(engine),
        SPN_CLI_CTX_OPTION(engine),
        SPN_CLI_THREADS_OPTION(engine),
        SPN_CLI_CPU_OPTION(engine),
    };
    const spn_cli_page page = {
        .name = "logits",
        .usage = "MODEL --tokens IDS",
        .about =
            "Writes the model's logits to the standard output: for each token of the text the\n"
            "row of float32 behind it, binary, in this machine's byte order.\n",
        .examples = "  spn-native logits demo --tokens 1,403,407 > logits.f32\n"
                    "  spn-native logits demo --tokens 1,403,407 --cpu ref --kv f32 | sha256sum\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    size_t n_bytes = 0;
    char *read = NULL;
    int done = spn_cli_parse(&page, argc, argv, &args);
    if (done >= 0) return done;
    if (tokens == NULL) return spn_cli_usage(page.name, "--tokens is missing");
    if (strcmp(tokens, "-") == 0) {
        tokens = read = spn_cli_read_all(stdin, "the standard input", &n_bytes);
        if (read == NULL) return SPN_EXIT_FAILED;
    }
    int code = logits(args.items[0], tokens, &engine);
    free(read);
    return code;
}
