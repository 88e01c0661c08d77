/* common.c - messages, exit codes and small pieces that several commands use.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* ---- messages ---- */

int spn_cli_fail(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fputs("spn-native: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return SPN_EXIT_FAILED;
}

int spn_cli_usage(const char *name, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "spn-native: %s%s", name, name[0] ? ": " : "");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\nTry: spn-native %s%s--help\n", name, name[0] ? " " : "");
    va_end(args);
    return SPN_EXIT_USAGE;
}

/* What to do, by status, for a message that does not say so itself. */
static const char *hint(spn_status status) {
    switch (status) {
    case SPN_STATUS_MODEL_NOT_FOUND:
        return "give a path to a GGUF file, or the word demo";
    case SPN_STATUS_UNSUPPORTED_ARCHITECTURE:
        return "spn-native inspect FILE shows what the file holds";
    case SPN_STATUS_CONTEXT_FULL:
        return "shorten the prompt or raise --ctx (--context-shift drops older parts of a chat)";
    case SPN_STATUS_INSUFFICIENT_MEMORY:
        return "--ctx and --kv make it smaller, --skip-memory-check tries it all the same";
    default:
        return NULL;
    }
}

int spn_cli_error(const spn_error *err) {
    /* With a code of the system it is locking that failed, and the text says what to do. */
    bool is_memory = err->status == SPN_STATUS_INSUFFICIENT_MEMORY;
    bool says_it = is_memory ? err->code != 0 : strchr(err->text, ';') != NULL;
    const char *todo = says_it ? NULL : hint(err->status);
    fprintf(stderr, "spn-native: %s%s%s\n",
            err->text[0] ? err->text : spn_status_message(err->status), todo ? "; " : "",
            todo ? todo : "");
    return spn_cli_exit_code(err->status);
}

int spn_cli_exit_code(spn_status status) {
    switch (status) {
    case SPN_STATUS_OK:
        return SPN_EXIT_OK;
    case SPN_STATUS_INVALID_ARGUMENT:
        return SPN_EXIT_USAGE;
    default:
        return SPN_EXIT_FAILED;
    }
}

/* ---- small pieces ---- */

#define READ_LIMIT ((size_t)64 << 20)

char *spn_cli_read_all(FILE *stream, const char *name, size_t *n_bytes) {
    size_t cap = 1 << 16, n = 0;
    char *text = malloc(cap);
    while (text != NULL) {
        n += fread(text + n, 1, cap - 1 - n, stream);
        if (n < cap - 1 || cap >= READ_LIMIT) break;
        char *larger = realloc(text, cap *= 2);
        if (larger == NULL) free(text);
        text = larger;
    }
    if (text == NULL) {
        spn_cli_fail("cannot read %s: no memory", name);
        return NULL;
    }
    if (ferror(stream) || n >= READ_LIMIT - 1) {
        if (ferror(stream))
            spn_cli_fail("cannot read %s: %s", name, strerror(errno));
        else
            spn_cli_fail("cannot read %s: it is longer than 64 MiB", name);
        free(text);
        return NULL;
    }
    text[n] = '\0';
    *n_bytes = n;
    return text;
}

char *spn_cli_read_file(const char *path, size_t *n_bytes) {
    if (strcmp(path, "-") == 0) return spn_cli_read_all(stdin, "the standard input", n_bytes);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        spn_cli_fail("cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = spn_cli_read_all(file, path, n_bytes);
    fclose(file);
    return text;
}

const char *spn_cli_bytes(uint64_t n_bytes, char out[16]) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)n_bytes / 1024;
    size_t unit = 0;
    if (n_bytes < 1024) {
        snprintf(out, 16, "%u B", (unsigned)n_bytes);
        return out;
    }
    for (; value >= 1023.95 && unit + 1 < sizeof units / sizeof units[0]; unit++) value /= 1024;
    snprintf(out, 16, "%.1f %s", value, units[unit]);
    return out;
}
