/* options.c - the command line's parser and help text, both from one table.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* ---- did you mean ---- */

#define MAX_WORD 32

/* Levenshtein's distance, by rows; words longer than MAX_WORD are far from everything. */
static size_t distance(const char *a, const char *b) {
    size_t n_a = strlen(a), n_b = strlen(b);
    size_t row[MAX_WORD + 1];
    if (n_a > MAX_WORD || n_b > MAX_WORD) return SIZE_MAX;
    for (size_t j = 0; j <= n_b; j++) row[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[n_b];
}

const char *spn_cli_closest(const char *word, const char *const *names, size_t n, size_t stride) {
    size_t limit = strlen(word) / 3 + 1, best = limit + 1;
    const char *closest = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *name = *(const char *const *)((const char *)names + i * stride);
        size_t d = distance(word, name);
        if (d < best) {
            best = d;
            closest = name;
        }
    }
    return closest;
}

/* ---- help ---- */

static int option_label(const spn_opt *option, char *label, size_t n_label) {
    return snprintf(label, n_label, "%s%s%s%s%s", option->brief ? option->brief : "    ",
                    option->brief ? ", " : "", option->name, option->value ? " " : "",
                    option->value ? option->value : "");
}

/* A help text from column `indent` on, broken at blanks before column 98. */
static void print_wrapped(const char *text, int indent) {
    int column = indent;
    while (*text != '\0') {
        int n = (int)strcspn(text, " ");
        if (column + n > 97 && column > indent) {
            printf("\n%*s", indent, "");
            column = indent;
        }
        column += printf("%s%.*s", column > indent ? " " : "", n, text);
        text += n + strspn(text + n, " ");
    }
    putchar('\n');
}

static void print_help(const spn_cli_page *page) {
    char label[96];
    int width = 0;
    for (size_t i = 0; i < page->n_options; i++) {
        int n = option_label(&page->options[i], label, sizeof label);
        if (n > width && n <= 28) width = n;
    }
    printf("Usage: spn-native %s%s%s%s\n\n%s", page->name, page->n_options ? " [OPTION]..." : "",
           page->usage[0] ? " " : "", page->usage, page->about);
    printf("\nOptions:\n");
    for (size_t i = 0; i < page->n_options; i++) {
        int n = option_label(&page->options[i], label, sizeof label);
        printf("  %-*s  ", width, label);
        if (n > width) printf("\n  %-*s  ", width, "");
        print_wrapped(page->options[i].help, width + 4);
    }
    printf("  %-*s  %s\n", width, "    --help", "print this page");
    if (page->examples) printf("\nExamples:\n%s", page->examples);
}

/* The same for programs (completions, manual pages): a line an option, fields parted by tabs. */
static void print_options(const spn_cli_page *page) {
    for (size_t i = 0; i < page->n_options; i++) {
        const spn_opt *o = &page->options[i];
        printf("%s\t%s\t%s\t%s\n", o->name, o->brief ? o->brief : "", o->value ? o->value : "",
               o->help);
    }
    printf("--help\t\t\tprint this page\n");
}

/* ---- values ---- */

static bool parse_unsigned(const char *text, uint64_t max, uint64_t *out) {
    char *end;
    if (text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || value > max) return false;
    *out = value;
    return true;
}

static bool parse_signed(const char *text, int32_t *out) {
    uint64_t magnitude;
    bool negative = text[0] == '-';
    if (!parse_unsigned(text + negative, INT32_MAX, &magnitude)) return false;
    *out = negative ? -(int32_t)magnitude : (int32_t)magnitude;
    return true;
}

static bool parse_float(const char *text, float *out) {
    char *end;
    if (text[0] == '\0' || text[0] == ' ') return false;
    float value = strtof(text, &end);
    if (*end != '\0' || !isfinite(value)) return false;
    *out = value;
    return true;
}

static bool parse_choice(const char *choices, const char *text, int *out) {
    size_t n_text = strlen(text);
    for (int index = 1; choices[0] != '\0'; index++) {
        size_t n = strcspn(choices, "|");
        if (n == n_text && memcmp(choices, text, n) == 0) {
            *out = index;
            return true;
        }
        choices += n + (choices[n] == '|');
    }
    return false;
}

static bool add_text(spn_texts *texts, const char *text) {
    const char **items = realloc((void *)texts->items, (texts->n + 1) * sizeof *items);
    if (items == NULL) return false;
    items[texts->n] = text;
    texts->items = items;
    texts->n++;
    return true;
}

static bool set_value(const spn_opt *option, const char *text) {
    uint64_t number;
    switch (option->kind) {
    case SPN_OPT_FLAG:
        *(bool *)option->out = true;
        return true;
    case SPN_OPT_TEXT:
        *(const char **)option->out = text;
        return true;
    case SPN_OPT_TEXTS:
        return add_text(option->out, text);
    case SPN_OPT_U32:
        if (!parse_unsigned(text, UINT32_MAX, &number)) return false;
        *(uint32_t *)option->out = (uint32_t)number;
        return true;
    case SPN_OPT_U64:
        if (!parse_unsigned(text, UINT64_MAX, &number)) return false;
        *(uint64_t *)option->out = number;
        return true;
    case SPN_OPT_I32:
        return parse_signed(text, option->out);
    case SPN_OPT_FLOAT:
        return parse_float(text, option->out);
    case SPN_OPT_CHOICE:
        return parse_choice(option->value, text, option->out);
    }
    return false;
}

/* ---- the walk over argv ---- */

/* The option of `word` up to its '=', or NULL. */
static const spn_opt *find_option(const spn_cli_page *page, const char *word, size_t n_word) {
    for (size_t i = 0; i < page->n_options; i++) {
        const spn_opt *option = &page->options[i];
        if (strlen(option->name) == n_word && memcmp(option->name, word, n_word) == 0)
            return option;
        if (option->brief && strlen(option->brief) == n_word &&
            memcmp(option->brief, word, n_word) == 0)
            return option;
    }
    return NULL;
}

static int unknown_option(const spn_cli_page *page, const char *word, size_t n_word) {
    char name[MAX_WORD + 1];
    snprintf(name, sizeof name, "%.*s", (int)(n_word < MAX_WORD ? n_word : MAX_WORD), word);
    const char *closest = page->n_options ? spn_cli_closest(name, &page->options[0].name,
                                                            page->n_options, sizeof(spn_opt))
                                          : NULL;
    if (distance(name, "--help") <= 2) closest = "--help";
    if (closest == NULL) return spn_cli_usage(page->name, "there is no option %s", name);
    return spn_cli_usage(page->name, "there is no option %s; did you mean %s?", name, closest);
}

/* Takes argv[*i], an option, and its value. -1: go on. */
static int take_option(const spn_cli_page *page, int argc, char **argv, int *i) {
    const char *word = argv[*i];
    size_t n_word = strncmp(word, "--", 2) == 0 ? strcspn(word, "=") : strlen(word);
    const spn_opt *option = find_option(page, word, n_word);
    const char *value = word[n_word] == '=' ? word + n_word + 1 : NULL;
    if (option == NULL) return unknown_option(page, word, n_word);
    if (option->kind == SPN_OPT_FLAG) {
        if (value) return spn_cli_usage(page->name, "%s takes no value", option->name);
    } else if (value == NULL) {
        if (*i + 1 >= argc)
            return spn_cli_usage(page->name, "%s needs a value: %s", option->name, option->value);
        value = argv[++*i];
    }
    if (!set_value(option, value))
        return spn_cli_usage(page->name, "%s: '%s' is not a valid %s", option->name, value,
                             option->value);
    return -1;
}

int spn_cli_parse(const spn_cli_page *page, int argc, char **argv, spn_cli_args *args) {
    size_t n = 0;
    bool only_args = false;
    for (int i = 1; i < argc; i++) {
        if (only_args || argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[1 + n++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (strcmp(argv[i], "--help") == 0) {
            print_help(page);
            return SPN_EXIT_OK;
        } else if (strcmp(argv[i], "--help-options") == 0) {
            print_options(page);
            return SPN_EXIT_OK;
        } else {
            int done = take_option(page, argc, argv, &i);
            if (done >= 0) return done;
        }
    }
    if (n < page->n_args_min)
        return spn_cli_usage(page->name, "an argument is missing: %s", page->usage);
    if (n > page->n_args_max)
        return spn_cli_usage(page->name, "one argument too many: '%s' (quote texts with blanks)",
                             argv[1 + page->n_args_max]);
    argv[1 + n] = NULL;
    *args = (spn_cli_args){argv + 1, n};
    return -1;
}
