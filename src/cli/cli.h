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
};
/* The exit code for a failure of the library. */
int spn_cli_exit_code(spn_status status);

/* ---- commands ---- */

typedef struct spn_command {
    const char *name;
    const char *summary; /* one line, no full stop */
    int (*run)(int argc, char **argv);
} spn_command;

extern const spn_command spn_commands[]; /* ends with a row of NULLs */

int spn_cmd_detect_ram(int argc, char **argv);
int spn_cmd_inspect(int argc, char **argv);
int spn_cmd_tokenize(int argc, char **argv);
int spn_cmd_logits(int argc, char **argv);
int spn_cmd_bench(int argc, char **argv);
int spn_cmd_run(int argc, char **argv);

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

/* ---- messages ---- */

/* "spn-native: ..." to standard error; returns SPN_EXIT_FAILED. */
int spn_cli_fail(const char *fmt, ...) SPN_PRINTF(1, 2);
/* "spn-native: NAME: ...; try spn-native NAME --help"; returns SPN_EXIT_USAGE. */
int spn_cli_usage(const char *name, const char *fmt, ...) SPN_PRINTF(2, 3);
/* A failure of the library, with a hint where there is one for its status; returns its exit code.
 */
int spn_cli_error(const spn_error *err);

/* ---- shared pieces ---- */

/* The file behind a MODEL argument: a path as it is; "demo" is the built-in model, searched in the
 * source tree, the build tree and where it was installed. False when it is not to be found (the
 * error is printed). `path` has `n_path` bytes. */
bool spn_cli_model_path(const char *model, char *path, size_t n_path);

/* All of a stream; NULL (error printed) when it cannot be read or is longer than 64 MiB. Free with
 * free(). A NUL is added. */
char *spn_cli_read_all(FILE *stream, const char *name, size_t *n_bytes);

/* A number of bytes for people: "512 B", "3.4 MiB". Returns `out`. */
const char *spn_cli_bytes(uint64_t n_bytes, char out[16]);

/* Prints the value and a line break, and frees it. NULL, which is how jansson says that there is no
 * memory, is reported. Returns the exit code. */
struct json_t;
int spn_cli_print_json(struct json_t *value, bool indented);

/* ---- the terminal (term.c) ---- */

bool spn_term_is_terminal(FILE *stream);
/* Binary standard streams, where the system makes a difference. */
void spn_term_binary(FILE *stream);
/* Calls `on_interrupt` in the signal handler when Ctrl-C is pressed; NULL restores the default.
 * The second Ctrl-C within one wait always ends the program. */
void spn_term_on_interrupt(void (*on_interrupt)(void));
/* Seconds from an arbitrary start. */
double spn_term_seconds(void);

#endif
