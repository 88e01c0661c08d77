/* cmd_embed.c - texts to vectors. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef struct embed_options {
    spn_cli_engine engine;
    spn_texts tokens;
    int pooling; /* spn_pooling_type */
    bool no_normalize;
    bool truncate;
} embed_options;

_Static_assert(SPN_POOLING_TYPE_MEAN == 1 && SPN_POOLING_TYPE_LAST == 3,
               "the choices of --pooling");

static int print_vector(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return spn_cli_fail("cannot print the embedding: number %zu of it is not finite", i);
    putchar('[');
    for (size_t i = 0; i < n; i++) printf("%s%.9g", i > 0 ? "," : "", (double)x[i]);
    puts("]");
    return ferror(stdout) ? spn_cli_fail("cannot write the output") : SPN_EXIT_OK;
}

/* The library counts the texts of a call; people count them from the first: n_before are theirs
 * before the call's. */
static int print_error(const spn_error *err, const char *noun, size_t n_before) {
    if (err->item == 0) return spn_cli_error(err);
    spn_error named = *err;
    snprintf(named.text, sizeof named.text, "%s %zu: %.*s", noun, n_before + err->item,
             (int)sizeof named.text - 40, err->text);
    return spn_cli_error(&named);
}

/* ---- from token ids, as they are ---- */

static void normalize(float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    for (size_t i = 0; i < n && sum > 0; i++) x[i] = (float)((double)x[i] / sqrt(sum));
}

typedef struct token_lists {
    int32_t **tokens; /* [n] arrays */
    size_t *n_tokens; /* [n] */
    float *out;       /* [n][n_embd] */
    size_t n;
} token_lists;

static int read_lists(const spn_texts *texts, token_lists *lists) {
    lists->n = texts->n;
    lists->tokens = calloc(texts->n, sizeof *lists->tokens);
    lists->n_tokens = calloc(texts->n, sizeof *lists->n_tokens);
    if (lists->tokens == NULL || lists->n_tokens == NULL)
        return spn_cli_fail("cannot embed: no memory");
    for (size_t i = 0; i < texts->n; i++)
        if (!spn_cli_tokens(texts->items[i], &lists->tokens[i], &lists->n_tokens[i]))
            return SPN_EXIT_USAGE;
    return SPN_EXIT_OK;
}

static void free_lists(token_lists *lists) {
    for (size_t i = 0; lists->tokens != NULL && i < lists->n; i++) free(lists->tokens[i]);
    free(lists->tokens);
    free(lists->n_tokens);
    free(lists->out);
}

static spn_status embed_lists(const char *path, const embed_options *opt, token_lists *lists,
                              size_t *n_embd, spn_error *err) {
    spn_load_config config;
    spn_model *model = NULL;
    spn_session *session = NULL;
    spn_cli_load_config(&opt->engine, &config);
    spn_status status = spn_model_open(&model, path, &config.model, err);
    if (status == SPN_STATUS_OK) {
        *n_embd = spn_model_describe(model)->n_embd;
        lists->out = calloc(lists->n, *n_embd * sizeof *lists->out);
        status = spn_session_create(&session, model, &config.session, err);
    }
    if (status == SPN_STATUS_OK && lists->out != NULL)
        status =
            spn_session_embed_batch(session, (const int32_t *const *)lists->tokens, lists->n_tokens,
                                    lists->n, (spn_pooling_type)opt->pooling, lists->out, err);
    spn_session_free(session);
    spn_model_close(model);
    return status;
}

static int embed_tokens(const char *path, const embed_options *opt) {
    token_lists lists = {0};
    spn_error err = {0};
    size_t n_embd = 0;
    int code = read_lists(&opt->tokens, &lists);
    if (code == SPN_EXIT_OK) {
        if (embed_lists(path, opt, &lists, &n_embd, &err) != SPN_STATUS_OK)
            code = print_error(&err, "text", 0);
        else if (lists.out == NULL)
            code = spn_cli_fail("cannot embed: no memory");
    }
    for (size_t i = 0; i < lists.n && code == SPN_EXIT_OK; i++) {
        if (!opt->no_normalize) normalize(lists.out + i * n_embd, n_embd);
        code = print_vector(lists.out + i * n_embd, n_embd);
    }
    free_lists(&lists);
    return code;
}

/* ---- progress ---- */

typedef struct embed_progress {
    double start;
    bool shown;
    size_t n_texts, n_tokens; /* printed so far */
} embed_progress;

/* A line on the terminal once a second has passed. How many texts are to come is not known. */
static bool on_progress(size_t n_done, size_t n_total, void *user) {
    embed_progress *progress = user;
    (void)n_total;
    double now = spn_term_seconds();
    if (!spn_term_is_terminal(stderr)) return true;
    if (progress->start == 0) progress->start = now;
    if (now - progress->start < 1) return true;
    progress->shown = true;
    fprintf(stderr, "\r\033[Kembedding: %zu texts printed, %zu tokens read, %.0f tokens a second",
            progress->n_texts, progress->n_tokens + n_done,
            (double)(progress->n_tokens + n_done) / (now - progress->start));
    fflush(stderr);
    return true;
}

static void wipe(embed_progress *progress) {
    if (progress->shown) fputs("\r\033[K", stderr);
    progress->shown = false;
}

/* ---- from texts ---- */

/* Texts are embedded and printed in pieces, so that an endless input needs no endless memory. */
enum { PIECE_TEXTS = 512, PIECE_BYTES = 4 << 20, LINE_BYTES = 64 << 20 };

typedef struct embed_state {
    const embed_options *opt;
    spn_runtime *runtime;
    const char *noun; /* what a text is called: "text" or "line" */
    embed_progress progress;
} embed_state;

static int print_response(embed_state *state, const spn_embedding_response *response) {
    state->progress.n_texts++;
    state->progress.n_tokens += response->n_prompt_tokens;
    if (response->truncated)
        fprintf(stderr, "spn-native: %s %zu was cut to %u tokens\n", state->noun,
                state->progress.n_texts, response->n_prompt_tokens);
    return print_vector(response->embedding, response->dimension);
}

static int embed_piece(embed_state *state, const char *const *texts, size_t n) {
    static spn_embedding_response responses[PIECE_TEXTS];
    const spn_embed_options options = {.pooling = (spn_pooling_type)state->opt->pooling,
                                       .no_normalize = state->opt->no_normalize,
                                       .truncate = state->opt->truncate};
    spn_error err = {0};
    int code = SPN_EXIT_OK;
    spn_status status =
        spn_runtime_embed_batch(state->runtime, texts, n, &options, responses, &err);
    wipe(&state->progress);
    if (status != SPN_STATUS_OK) return print_error(&err, state->noun, state->progress.n_texts);
    for (size_t i = 0; i < n; i++) {
        if (code == SPN_EXIT_OK) code = print_response(state, &responses[i]);
        spn_embedding_response_clear(&responses[i]);
    }
    if (fflush(stdout) != 0 && code == SPN_EXIT_OK) code = spn_cli_fail("cannot write the output");
    return code;
}

static int embed_arguments(embed_state *state, char **texts, size_t n_texts) {
    const char *piece[PIECE_TEXTS];
    int code = SPN_EXIT_OK;
    state->noun = "text";
    for (size_t i = 0; i < n_texts && code == SPN_EXIT_OK;) {
        size_t n = 0;
        while (n < PIECE_TEXTS && i < n_texts) piece[n++] = texts[i++];
        code = embed_piece(state, piece, n);
    }
    return code;
}

/* ---- from lines ---- */

typedef struct line_piece {
    char *bytes; /* NUL-terminated lines, one behind the other */
    size_t n_bytes, cap, n_lines;
    size_t begin[PIECE_TEXTS];
} line_piece;

static bool put_byte(line_piece *piece, int c) {
    if (piece->n_bytes == piece->cap) {
        size_t cap = piece->cap ? piece->cap * 2 : 1 << 16;
        char *larger = realloc(piece->bytes, cap);
        if (larger == NULL) return false;
        piece->bytes = larger;
        piece->cap = cap;
    }
    piece->bytes[piece->n_bytes++] = (char)c;
    return true;
}

/* Adds a line, without its end, LF or CRLF. Returns the exit code; *at_end: there was none. */
static int read_line(embed_state *state, line_piece *piece, bool *at_end) {
    size_t begin = piece->n_bytes, line = state->progress.n_texts + piece->n_lines + 1;
    int c;
    while ((c = getchar()) != EOF && c != '\n') {
        if (c == '\0') return spn_cli_fail("cannot embed line %zu: it holds a NUL byte", line);
        if (piece->n_bytes - begin >= LINE_BYTES)
            return spn_cli_fail("cannot embed line %zu: it is longer than 64 MiB", line);
        if (!put_byte(piece, c)) return spn_cli_fail("cannot read line %zu: no memory", line);
    }
    if (ferror(stdin)) return spn_cli_fail("cannot read the standard input: %s", strerror(errno));
    *at_end = c == EOF && piece->n_bytes == begin;
    if (*at_end) return SPN_EXIT_OK;
    if (c == '\n' && piece->n_bytes > begin && piece->bytes[piece->n_bytes - 1] == '\r')
        piece->n_bytes--;
    piece->begin[piece->n_lines++] = begin;
    return put_byte(piece, '\0') ? SPN_EXIT_OK
                                 : spn_cli_fail("cannot read line %zu: no memory", line);
}

static int embed_lines(embed_state *state) {
    static line_piece piece;
    const char *texts[PIECE_TEXTS];
    bool at_end = false;
    int code = SPN_EXIT_OK;
    state->noun = "line";
    spn_term_binary(stdin);
    while (code == SPN_EXIT_OK && !at_end) {
        piece.n_bytes = piece.n_lines = 0;
        while (code == SPN_EXIT_OK && !at_end && piece.n_lines < PIECE_TEXTS &&
               piece.n_bytes < PIECE_BYTES)
            code = read_line(state, &piece, &at_end);
        for (size_t i = 0; i < piece.n_lines; i++) texts[i] = piece.bytes + piece.begin[i];
        if (code == SPN_EXIT_OK) code = embed_piece(state, texts, piece.n_lines);
    }
    free(piece.bytes);
    return code;
}

static int embed_texts(const char *path, const spn_cli_args *args, const embed_options *opt) {
    spn_load_config config;
    embed_state state = {.opt = opt};
    spn_error err = {0};
    int code;
    spn_cli_load_config(&opt->engine, &config);
    config.session.progress = on_progress;
    config.session.progress_user = &state.progress;
    if (spn_runtime_create(&state.runtime, &err) != SPN_STATUS_OK ||
        spn_runtime_load(state.runtime, path, &config, &err) != SPN_STATUS_OK)
        code = spn_cli_error(&err);
    else if (args->n == 1 || (args->n == 2 && strcmp(args->items[1], "-") == 0))
        code = embed_lines(&state);
    else
        code = embed_arguments(&state, args->items + 1, args->n - 1);
    spn_runtime_free(state.runtime);
    return code;
}

int spn_cmd_embed(int argc, char **argv) {
    embed_options opt = {0};
    const spn_opt options[] = {
        {"--tokens", NULL, SPN_OPT_TEXTS, "IDS", &opt.tokens,
         "embed these token ids, 1,2,3, as they are, instead of texts; may be given several "
         "times"},
        {"--pooling", NULL, SPN_OPT_CHOICE, "mean|cls|last", &opt.pooling,
         "how the tokens' vectors become one (default: the model's own way)"},
        {"--no-normalize", NULL, SPN_OPT_FLAG, NULL, &opt.no_normalize,
         "leave the vectors' length as it is (default: 1)"},
        {"--truncate", NULL, SPN_OPT_FLAG, NULL, &opt.truncate,
         "cut texts that do not fit the context (default: an error)"},
        SPN_CLI_CTX_OPTION(opt.engine),
        SPN_CLI_BATCH_OPTION(opt.engine),
        SPN_CLI_THREADS_OPTION(opt.engine),
        SPN_CLI_CPU_OPTION(opt.engine),
        SPN_CLI_MLOCK_OPTION(opt.engine),
    };
    const spn_cli_page page = {
        .name = "embed",
        .usage = "MODEL [TEXT]...",
        .about =
            "Prints a JSON array of numbers a line for each TEXT; without TEXT, or with - alone,\n"
            "for each line of the standard input. Many short texts in one call take much less "
            "time\n"
            "than one by one, and give the same numbers. Some models were trained with prefixes\n"
            "that say what a text is for (\"query: \", \"search_document: \"): put them in the "
            "text;\n"
            "the model's card tells.\n",
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
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code < 0 && opt.tokens.n > 0 && args.n > 1)
        code = spn_cli_usage(page.name, "give texts or --tokens, not both");
    if (code < 0 && !spn_cli_model_path(args.items[0], path, sizeof path)) code = SPN_EXIT_FAILED;
    if (code < 0)
        code = opt.tokens.n > 0 ? embed_tokens(path, &opt) : embed_texts(path, &args, &opt);
    free((void *)opt.tokens.items);
    return code;
}
