/* cli.h - what the commands share: options, help, errors, exit codes, the terminal.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A command is a file cmd_NAME.c with `int spn_cmd_NAME(int argc, char **argv)` (argv[0] is the
 * command's name) and one row in the table of main.c. It describes itself with a spn_cli_page:
 * the parser and the help text both come from there.
 *
 *     static int run(...) {
 *         struct { bool json; const char *path; } opt = {0};
 *         const spn_opt options[] = {
 *             {"--json", NULL, SPN_OPT_FLAG, NULL, &opt.json, "print JSON"},
 *         };
 *         const spn_cli_page page = {.name = "inspect", ...};
 *         spn_cli_args args;
 *         int done = spn_cli_parse(&page, argc, argv, &args);
 *         if (done >= 0) return done;
 *
 * Results go to standard output; everything else, errors first of all, to standard error, an error
 * as "spn-native: what failed: why; what to do". The command uses the public headers only.
 */
#ifndef SPN_CLI_H
#define SPN_CLI_H

#include <stdio.h>

#include "spn/spn.h"

/* Exit codes. Scripts rely on them: a number keeps its meaning. */
enum {
    SPN_EXIT_OK = 0,
    SPN_EXIT_FAILED = 1, /* the command was understood and failed */
    SPN_EXIT_USAGE = 2,  /* the command line makes no sense: nothing was done */
    /* A failure of the model store, by its class. */
    SPN_EXIT_NOT_FOUND = 3,    /* no such model, repository, revision or file */
    SPN_EXIT_UNAUTHORIZED = 4, /* a token is missing or wrong */
    SPN_EXIT_GATED = 5,        /* a licence must be accepted first */
    SPN_EXIT_RATE_LIMITED = 6,
    SPN_EXIT_DISK_FULL = 7,
    SPN_EXIT_CHECKSUM = 8,
    SPN_EXIT_OFFLINE = 9, /* the network is switched off and was needed */
    SPN_EXIT_NETWORK = 10,
    SPN_EXIT_BUSY = 11,       /* another process has it */
    SPN_EXIT_CANCELLED = 130, /* Ctrl-C */
};
/* The exit code for a failure of the library. */
int spn_cli_exit_code(spn_status status);
/* The same for the commands of the store, which tell classes of failures apart. */
int spn_store_exit_code(spn_status status);

/* ---- commands ---- */

typedef struct spn_command {
    const char *name;
    const char *summary; /* one line, no full stop */
    int (*run)(int argc, char **argv);
} spn_command;

extern const spn_command spn_commands[]; /* ends with a row of NULLs */

int spn_cmd_detect_ram(int argc, char **argv);
int spn_cmd_devices(int argc, char **argv);
int spn_cmd_inspect(int argc, char **argv);
int spn_cmd_tokenize(int argc, char **argv);
int spn_cmd_logits(int argc, char **argv);
int spn_cmd_bench(int argc, char **argv);
int spn_cmd_run(int argc, char **argv);
int spn_cmd_chat(int argc, char **argv);
int spn_cmd_embed(int argc, char **argv);
int spn_cmd_template(int argc, char **argv);
/* The store (store.c, cmd_store_*.c). */
int spn_cmd_pull(int argc, char **argv);
int spn_cmd_list(int argc, char **argv);
int spn_cmd_show(int argc, char **argv);
int spn_cmd_path(int argc, char **argv);
int spn_cmd_rm(int argc, char **argv);
int spn_cmd_verify(int argc, char **argv);
int spn_cmd_repair(int argc, char **argv);
int spn_cmd_outdated(int argc, char **argv);
int spn_cmd_prune(int argc, char **argv);
int spn_cmd_import(int argc, char **argv);
int spn_cmd_store(int argc, char **argv);
int spn_cmd_catalog(int argc, char **argv);
int spn_cmd_search(int argc, char **argv);
int spn_cmd_doctor(int argc, char **argv);

/* ---- options ---- */

typedef enum spn_opt_kind {
    SPN_OPT_FLAG,   /* bool *: set to true */
    SPN_OPT_TEXT,   /* const char **: borrowed from argv */
    SPN_OPT_TEXTS,  /* spn_texts *: may be given several times */
    SPN_OPT_U32,    /* uint32_t * */
    SPN_OPT_I32,    /* int32_t * */
    SPN_OPT_U64,    /* uint64_t * */
    SPN_OPT_FLOAT,  /* float *: finite */
    SPN_OPT_CHOICE, /* int *: 1 + the place in `value`, "f32|f16|..." */
} spn_opt_kind;

typedef struct spn_texts {
    const char **items; /* borrowed from argv; free `items` itself with free() */
    size_t n;
} spn_texts;

typedef struct spn_opt {
    const char *name;  /* "--temp" */
    const char *brief; /* "-n", or NULL */
    spn_opt_kind kind;
    const char *value; /* what it takes, for the help: "N"; the choices; NULL for a flag */
    void *out;         /* left alone when the option is not given: set the default first */
    const char *help;  /* one line, no full stop */
} spn_opt;

typedef struct spn_cli_page {
    const char *name;
    const char *usage; /* "MODEL [PROMPT]" */
    const char *about; /* some lines; ends with a line break */
    const char *examples;
    const spn_opt *options;
    size_t n_options;
    size_t n_args_min;
    size_t n_args_max;
} spn_cli_page;

typedef struct spn_cli_args {
    char **items; /* the positional arguments, moved to the front of argv; [n] is NULL */
    size_t n;
} spn_cli_args;

/* -1: go on; otherwise the exit code (help was printed, or an error). "--" ends the options; a
 * lone "-" is an argument. */
int spn_cli_parse(const spn_cli_page *page, int argc, char **argv, spn_cli_args *args);

/* The one of `names` that is closest to `word`, or NULL when none is close. `stride` is the
 * distance between two names in bytes, so that a table's column can be searched. */
const char *spn_cli_closest(const char *word, const char *const *names, size_t n, size_t stride);

/* ---- options of every command that runs a model ---- */

typedef struct spn_cli_engine {
    int cpu;      /* spn_cpu_level */
    int kv, kv_v; /* spn_kv_type; kv_v 0: as kv */
    uint32_t n_ctx, n_threads, n_batch;
    int32_t n_gpu_layers;
    const char *draft;
    int lookahead; /* 1 + spn_lookahead_mode; 0: default */
    bool exact;
    bool skip_memory_check;
    bool lock_memory;
} spn_cli_engine;

#define SPN_CLI_CPU_LEVELS "ref|avx2|avx512|avx512bf16|neon|dotprod|i8mm"
#define SPN_CLI_KV_TYPES "f32|f16|bf16|q8_0|q4_0"
#define SPN_CLI_CTX_OPTION(engine)                                                            \
    {                                                                                         \
        "--ctx", "-c", SPN_OPT_U32, "N", &(engine).n_ctx,                                     \
            "most tokens to hold (default: what the model was trained for, if memory allows)" \
    }
#define SPN_CLI_KV_OPTIONS(engine)                                                 \
    {"--kv",           NULL,         SPN_OPT_CHOICE,                               \
     SPN_CLI_KV_TYPES, &(engine).kv, "type of the cache's numbers (default f16)"}, \
    {                                                                              \
        "--kv-v", NULL, SPN_OPT_CHOICE, SPN_CLI_KV_TYPES, &(engine).kv_v,          \
            "another type for its values (default: that of --kv)"                  \
    }
#define SPN_CLI_THREADS_OPTION(engine)                                 \
    {                                                                  \
        "--threads", "-t", SPN_OPT_U32, "N", &(engine).n_threads,      \
            "threads to use (default: the cores this process may use)" \
    }
#define SPN_CLI_BATCH_OPTION(engine) \
    { "--batch", "-b", SPN_OPT_U32, "N", &(engine).n_batch, "most tokens a pass (default 512)" }
#define SPN_CLI_MEMORY_OPTION(engine)                                                 \
    {                                                                                 \
        "--skip-memory-check", NULL, SPN_OPT_FLAG, NULL, &(engine).skip_memory_check, \
            "load a model also where it does not fit: it may be very slow, or killed" \
    }
#define SPN_CLI_MLOCK_OPTION(engine)                                           \
    {                                                                          \
        "--mlock", NULL, SPN_OPT_FLAG, NULL, &(engine).lock_memory,            \
            "read the whole model at the start and keep it in memory for sure" \
    }
#define SPN_CLI_GPU_OPTION(engine)                                        \
    {                                                                     \
        "--gpu-layers", NULL, SPN_OPT_I32, "N", &(engine).n_gpu_layers,   \
            "layers to run on a GPU, -1: all; what cannot be met is told" \
    }
#define SPN_CLI_LOOKAHEAD_OPTIONS(engine)                                                         \
    {"--draft",       NULL,                                                                       \
     SPN_OPT_TEXT,    "MODEL",                                                                    \
     &(engine).draft, "a smaller model with the same vocabulary that guesses tokens ahead"},      \
    {                                                                                             \
        "--lookahead", NULL, SPN_OPT_CHOICE, "auto|off|always", &(engine).lookahead,              \
            "guess tokens ahead and check them in one pass: the same text, sooner (default auto)" \
    }
#define SPN_CLI_PULL_OPTION(may_pull)                                  \
    {                                                                  \
        "--pull", NULL, SPN_OPT_FLAG, NULL, &(may_pull),               \
            "fetch the model from the hub when it is not in the store" \
    }
#define SPN_CLI_CPU_OPTION(engine)                                        \
    {                                                                     \
        "--cpu", NULL, SPN_OPT_CHOICE, SPN_CLI_CPU_LEVELS, &(engine).cpu, \
            "instruction level (default: the best one here)"              \
    }

void spn_cli_load_config(const spn_cli_engine *engine, spn_load_config *config);
spn_lookahead_mode spn_cli_lookahead(const spn_cli_engine *engine);
/* What of the configuration could not be met, to standard error. */
void spn_cli_print_note(const spn_runtime *runtime);
/* "5.2 GiB of 22.9 GiB available: weights 4.7 GiB, ..."; returns `out`. */
const char *spn_cli_memory(const spn_memory_need *need, char out[200]);
/* Token ids from text, with blanks or commas between them. False: the error is printed. Free with
 * free(). */
bool spn_cli_tokens(const char *text, int32_t **tokens, size_t *n_tokens);

/* Sampling as the command line says it; what is not given keeps the library's default. */
typedef struct spn_cli_sampling {
    float temperature, top_p, min_p, typical_p, repeat_penalty; /* negative: not given */
    float presence_penalty, frequency_penalty, dry, mirostat_tau;
    int32_t top_k; /* INT32_MIN: not given */
    int32_t repeat_last_n;
    uint64_t seed;
    spn_texts bias; /* TOKEN=BIAS */
} spn_cli_sampling;

#define SPN_CLI_SAMPLING                                                                    \
    {                                                                                       \
        .temperature = -1, .top_p = -1, .min_p = -1, .typical_p = -1, .repeat_penalty = -1, \
        .mirostat_tau = -1, .top_k = INT32_MIN                                              \
    }
#define SPN_CLI_SAMPLING_OPTIONS(s)                                                                 \
    {"--temp",         NULL,                                                                        \
     SPN_OPT_FLOAT,    "T",                                                                         \
     &(s).temperature, "how even the choice is; 0: always the likeliest (default 0.8)"},            \
        {"--top-k", NULL,       SPN_OPT_I32,                                                        \
         "K",       &(s).top_k, "choose among the K likeliest; 0: all (default 40)"},               \
        {"--top-p", NULL,       SPN_OPT_FLOAT,                                                      \
         "P",       &(s).top_p, "... among the likeliest that together reach P (default 0.95)"},    \
        {"--min-p",     NULL,                                                                       \
         SPN_OPT_FLOAT, "P",                                                                        \
         &(s).min_p,    "... among those at least P times as likely as the likeliest (default 0)"}, \
        {"--typical",    NULL,                                                                      \
         SPN_OPT_FLOAT,  "P",                                                                       \
         &(s).typical_p, "... among the most typical that together reach P (default 1: all)"},      \
        {"--repeat-penalty",  NULL,                                                                 \
         SPN_OPT_FLOAT,       "R",                                                                  \
         &(s).repeat_penalty, "makes recent tokens less likely; 1: not (default 1)"},               \
        {"--presence-penalty",  NULL,                                                               \
         SPN_OPT_FLOAT,         "R",                                                                \
         &(s).presence_penalty, "the same, once a token (default 0)"},                              \
        {"--frequency-penalty",  NULL,                                                              \
         SPN_OPT_FLOAT,          "R",                                                               \
         &(s).frequency_penalty, "the same, once an occurrence (default 0)"},                       \
        {"--repeat-last-n",  NULL,                                                                  \
         SPN_OPT_I32,        "N",                                                                   \
         &(s).repeat_last_n, "how many tokens are recent; -1: all (default 64)"},                   \
        {"--dry", NULL,     SPN_OPT_FLOAT,                                                          \
         "M",     &(s).dry, "penalty on repeating whole phrases; 0.8 is usual (default 0)"},        \
        {"--mirostat",                                                                              \
         NULL,                                                                                      \
         SPN_OPT_FLOAT,                                                                             \
         "BITS",                                                                                    \
         &(s).mirostat_tau,                                                                         \
         "mirostat 2 with this target instead of --top-k, --top-p, --min-p and --typical"},         \
        {"--logit-bias", NULL,                                                                      \
         SPN_OPT_TEXTS,  "ID=BIAS",                                                                 \
         &(s).bias,      "adds to a token's logit; -inf forbids it; may be given several times"},   \
    {                                                                                               \
        "--seed", NULL, SPN_OPT_U64, "S", &(s).seed,                                                \
            "the same seed gives the same text; 0: a new one each time, told in the statistics"     \
    }

/* False: the error is printed (a bias that cannot be read). The list of biases, if there is one,
 * lives in options->bias: free it with free(). */
bool spn_cli_sampler_options(const char *command, const spn_cli_sampling *sampling,
                             spn_sampler_options *options);

/* What a full context means. */
typedef struct spn_cli_shift {
    bool on;
    uint32_t n_keep;
} spn_cli_shift;
#define SPN_CLI_SHIFT_OPTIONS(shift)                                                            \
    {"--context-shift",                                                                         \
     NULL,                                                                                      \
     SPN_OPT_FLAG,                                                                              \
     NULL,                                                                                      \
     &(shift).on,                                                                               \
     "when the context is full, drop older tokens and go on; told in the statistics (default: " \
     "the answer ends there)"},                                                                 \
    {                                                                                           \
        "--shift-keep", NULL, SPN_OPT_U32, "N", &(shift).n_keep,                                \
            "with --context-shift: first tokens that stay (default: the prompt, at most a "     \
            "quarter of the context)"                                                           \
    }
/* Says so on the standard error where an answer ended in a loop. */
void spn_cli_print_repetition(const spn_chat_response *response);

/* A line on the terminal while a long prompt is read; silent for the first second and where the
 * standard error is no terminal. Zero-initialise; the first call starts the clock. */
typedef struct spn_cli_progress {
    double start;
    bool shown;
} spn_cli_progress;
bool spn_cli_on_progress(size_t n_done, size_t n_total, void *progress); /* an spn_progress_fn */
void spn_cli_progress_end(spn_cli_progress *progress);                   /* wipes the line */

/* ---- messages ---- */

/* "spn-native: ..." to standard error; returns SPN_EXIT_FAILED. */
int spn_cli_fail(const char *fmt, ...) SPN_PRINTF(1, 2);
/* "spn-native: NAME: ...; try spn-native NAME --help"; returns SPN_EXIT_USAGE. */
int spn_cli_usage(const char *name, const char *fmt, ...) SPN_PRINTF(2, 3);
/* A failure of the library, with a hint where there is one for its status; returns its exit code.
 */
int spn_cli_error(const spn_error *err);

/* ---- shared pieces ---- */

/* The file behind a MODEL argument: "demo" is the built-in model, searched in the source tree, the
 * build tree and where it was installed; a path is taken as it is; everything else is looked up in
 * the store, and fetched from the hub where it is not there and `may_pull` is set. Returns the exit
 * code; an error is printed. `path` has `n_path` bytes. */
int spn_cli_find_model(const char *model, bool may_pull, char *path, size_t n_path);
/* The same without the hub; false when it is not found. */
bool spn_cli_model_path(const char *model, char *path, size_t n_path);

/* All of a stream; NULL (error printed) when it cannot be read or is longer than 64 MiB. Free with
 * free(). A NUL is added. */
char *spn_cli_read_all(FILE *stream, const char *name, size_t *n_bytes);

/* A file, or the standard input for "-"; else as spn_cli_read_all. */
char *spn_cli_read_file(const char *path, size_t *n_bytes);

/* A number of bytes for people: "512 B", "3.4 MiB". Returns `out`. */
const char *spn_cli_bytes(uint64_t n_bytes, char out[16]);

/* Prints the value and a line break, and frees it. NULL, which is how jansson says that there is no
 * memory, is reported. Returns the exit code. */
struct json_t;
int spn_cli_print_json(struct json_t *value, bool indented);
/* A JSON string of any bytes: what is no UTF-8 becomes U+FFFD. NULL: no memory. */
struct json_t *spn_cli_json_text(const char *bytes, size_t n_bytes);

/* ---- the terminal (term.c) ---- */

bool spn_term_is_terminal(FILE *stream);
/* A terminal, and NO_COLOR is not set. */
bool spn_term_has_colour(FILE *stream);
/* Binary standard streams, where the system makes a difference. */
void spn_term_binary(FILE *stream);
/* Calls `on_interrupt` in the signal handler when Ctrl-C is pressed; NULL restores the default. A
 * second Ctrl-C ends the program; after spn_term_on_interrupts it does not. */
void spn_term_on_interrupt(void (*on_interrupt)(void));
void spn_term_on_interrupts(void (*on_interrupt)(void));
/* Seconds from an arbitrary start. */
double spn_term_seconds(void);

#endif
