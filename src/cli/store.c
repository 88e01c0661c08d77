/* store.c - opening the store as the environment says, progress, errors.
 * SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/store.h"

#define PATH_CAP 4096

static volatile sig_atomic_t interrupted;
static void on_interrupt(void) { interrupted = 1; }

/* ---- the environment ---- */

static const char *env(const char *name) {
    const char *value = getenv(name);
    return value != NULL && value[0] ? value : NULL;
}

static const char *env2(const char *first, const char *second) {
    const char *value = env(first);
    return value != NULL ? value : env(second);
}

static bool same_word(const char *a, const char *b) {
    for (; *a && *b; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
        if (x != *b) return false;
    }
    return *a == *b;
}

static bool env_true(const char *name) {
    const char *value = env(name);
    return value != NULL && (same_word(value, "1") || same_word(value, "on") ||
                             same_word(value, "yes") || same_word(value, "true"));
}

static uint32_t env_seconds(const char *name) {
    const char *value = env(name);
    double seconds = value != NULL ? strtod(value, NULL) : 0;
    return seconds >= 1 && seconds < 100000 ? (uint32_t)seconds : 0;
}

static const char *home(void) { return env2("HOME", "USERPROFILE"); }

/* Texts that the options point to while the store is opened. */
typedef struct places {
    char dir[PATH_CAP], token[2048], hf_home[PATH_CAP], hf_cache[PATH_CAP], ollama[PATH_CAP];
} places;

/* The first line of a small file; empty when there is none. */
static void read_line(const char *path, char *out, size_t cap) {
    FILE *file = fopen(path, "rb");
    out[0] = '\0';
    if (file == NULL) return;
    size_t n = fread(out, 1, cap - 1, file);
    out[n] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    fclose(file);
}

/* "~/x" in a variable is what people write in configuration files. */
static void expand(const char *text, char *out, size_t cap) {
    bool tilde = text[0] == '~' && (text[1] == '/' || text[1] == '\0') && home() != NULL;
    snprintf(out, cap, "%s%s", tilde ? home() : "", tilde ? text + 1 : text);
}

bool spn_store_location_file(char *out, size_t cap) {
    if (home() == NULL) return false;
    int n = snprintf(out, cap, "%s/.spn/models.location", home());
    return n > 0 && (size_t)n < cap;
}

static void find_dir(places *p) {
    char file[PATH_CAP];
    if (env("SPN_MODELS_DIR") != NULL) {
        expand(env("SPN_MODELS_DIR"), p->dir, sizeof p->dir);
        return;
    }
    if (spn_store_location_file(file, sizeof file)) read_line(file, p->dir, sizeof p->dir);
    if (p->dir[0] == '\0' && home() != NULL)
        snprintf(p->dir, sizeof p->dir, "%s/.spn/models", home());
}

static void find_caches(places *p) {
    const char *cache = env2("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE");
    if (env("HF_HOME") != NULL)
        expand(env("HF_HOME"), p->hf_home, sizeof p->hf_home);
    else if (env("XDG_CACHE_HOME") != NULL)
        snprintf(p->hf_home, sizeof p->hf_home, "%s/huggingface", env("XDG_CACHE_HOME"));
    else if (home() != NULL)
        snprintf(p->hf_home, sizeof p->hf_home, "%s/.cache/huggingface", home());
    if (cache != NULL)
        expand(cache, p->hf_cache, sizeof p->hf_cache);
    else if (strlen(p->hf_home) + 5 < sizeof p->hf_cache && p->hf_home[0])
        snprintf(p->hf_cache, sizeof p->hf_cache, "%.4000s/hub", p->hf_home);
    if (env("OLLAMA_MODELS") != NULL)
        expand(env("OLLAMA_MODELS"), p->ollama, sizeof p->ollama);
    else if (home() != NULL)
        snprintf(p->ollama, sizeof p->ollama, "%s/.ollama/models", home());
}

static void find_token(places *p) {
    char file[PATH_CAP];
    const char *token = env2("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN");
    if (env_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return;
    if (token != NULL) {
        snprintf(p->token, sizeof p->token, "%s", token);
        return;
    }
    if (env("HF_TOKEN_PATH") != NULL)
        expand(env("HF_TOKEN_PATH"), file, sizeof file);
    else if (p->hf_home[0])
        snprintf(file, sizeof file, "%.4000s/token", p->hf_home);
    else
        return;
    read_line(file, p->token, sizeof p->token);
}

spn_storage *spn_store_open(const spn_store_flags *flags, int *code) {
    static const spn_store_flags none = {0};
    places *p = calloc(1, sizeof *p);
    spn_storage *storage = NULL;
    spn_error err = {0};
    if (p == NULL) {
        *code = spn_cli_fail("cannot open the store: no memory");
        return NULL;
    }
    if (flags == NULL) flags = &none;
    find_dir(p);
    find_caches(p);
    find_token(p);
    const char *all_proxy = env2("all_proxy", "ALL_PROXY");
    const char *http_proxy = env2("http_proxy", "HTTP_PROXY");
    const char *https_proxy = env2("https_proxy", "HTTPS_PROXY");
    const char *ca = env2("SSL_CERT_FILE", "CURL_CA_BUNDLE");
    const spn_storage_options options = {
        .dir = p->dir,
        .endpoint = env("HF_ENDPOINT"),
        .token = p->token,
        .offline = env_true("HF_HUB_OFFLINE") || env_true("TRANSFORMERS_OFFLINE"),
        .proxy_http = http_proxy != NULL ? http_proxy : all_proxy,
        .proxy_https = https_proxy != NULL ? https_proxy : all_proxy,
        .no_proxy = env2("no_proxy", "NO_PROXY"),
        .ca_file = ca != NULL ? ca : env("REQUESTS_CA_BUNDLE"),
        .ca_dir = env("SSL_CERT_DIR"),
        .n_connections = flags->n_connections,
        .rate_limit = flags->rate_limit,
        .max_retries = flags->no_retries ? UINT32_MAX : flags->n_retries,
        .retry_base_ms = flags->retry_pause_ms,
        .stall_timeout_s =
            flags->timeout_s ? flags->timeout_s : env_seconds("HF_HUB_DOWNLOAD_TIMEOUT"),
        .connect_timeout_s = env_seconds("HF_HUB_ETAG_TIMEOUT"),
        .no_wait = flags->no_wait,
        .hf_cache_dir = p->hf_cache,
        .ollama_dir = p->ollama,
    };
    if (spn_storage_open(&storage, &options, &err) != SPN_STATUS_OK)
        *code = spn_store_fail(&err, false);
    free(p);
    return storage;
}

/* ---- failures ---- */

int spn_store_exit_code(spn_status status) {
    switch (status) {
    case SPN_STATUS_OK:
        return SPN_EXIT_OK;
    case SPN_STATUS_INVALID_ARGUMENT:
        return SPN_EXIT_USAGE;
    case SPN_STATUS_MODEL_NOT_FOUND:
        return SPN_EXIT_NOT_FOUND;
    case SPN_STATUS_UNAUTHORIZED:
        return SPN_EXIT_UNAUTHORIZED;
    case SPN_STATUS_GATED:
        return SPN_EXIT_GATED;
    case SPN_STATUS_RATE_LIMITED:
        return SPN_EXIT_RATE_LIMITED;
    case SPN_STATUS_DISK_FULL:
        return SPN_EXIT_DISK_FULL;
    case SPN_STATUS_CHECKSUM_MISMATCH:
        return SPN_EXIT_CHECKSUM;
    case SPN_STATUS_OFFLINE:
        return SPN_EXIT_OFFLINE;
    case SPN_STATUS_NETWORK:
    case SPN_STATUS_TIMEOUT:
    case SPN_STATUS_HTTP:
    case SPN_STATUS_API:
    case SPN_STATUS_JSON:
        return SPN_EXIT_NETWORK;
    case SPN_STATUS_BUSY:
        return SPN_EXIT_BUSY;
    case SPN_STATUS_CANCELLED:
        return SPN_EXIT_CANCELLED;
    default:
        return SPN_EXIT_FAILED;
    }
}

void spn_store_print(FILE *out, const char *text) {
    for (; *text; text++) fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
}

int spn_store_fail(const spn_error *err, bool json) {
    int code = spn_store_exit_code(err->status);
    fputs("spn-native: ", stderr);
    spn_store_print(stderr, err->text[0] ? err->text : spn_status_message(err->status));
    fputc('\n', stderr);
    if (json)
        (void)spn_cli_print_json(json_pack("{s:s, s:s, s:s, s:i}", "event", "error", "status",
                                           spn_status_name(err->status), "message", err->text,
                                           "exit_code", code),
                                 false);
    return code;
}

/* ---- progress ---- */

void spn_store_bar_start(spn_store_bar *bar, bool json, bool quiet) {
    *bar = (spn_store_bar){.json = json,
                           .quiet = quiet || env_true("HF_HUB_DISABLE_PROGRESS_BARS"),
                           .told_percent = -1};
    bar->is_terminal = spn_term_is_terminal(stderr);
    spn_term_on_interrupt(on_interrupt);
}

static void print_event(const spn_pull_progress *p) {
    (void)spn_cli_print_json(
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:i, s:s}", "event", "progress", "status",
                  p->status, "file", p->file, "completed", (json_int_t)p->completed, "total",
                  (json_int_t)p->total, "fetched", (json_int_t)p->fetched, "bytes_per_second",
                  p->bytes_per_second, "connections", (int)p->n_connections, "message", p->message),
        false);
    fflush(stdout);
}

/* "1:02:03" or "2:03" left; empty while the rate is not known. */
static void time_left(const spn_pull_progress *p, char out[24]) {
    out[0] = '\0';
    if (p->bytes_per_second < 1 || p->completed >= p->total) return;
    double s = (double)(p->total - p->completed) / p->bytes_per_second;
    if (s > 359999) return;
    unsigned t = (unsigned)s + 1;
    if (t >= 3600)
        snprintf(out, 24, "%u:%02u:%02u left", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(out, 24, "%u:%02u left", t / 60, t % 60);
}

static void print_bar(spn_store_bar *bar, const spn_pull_progress *p) {
    char done[16], total[16], rate[16], left[24], cells[21];
    double percent = spn_pull_progress_percent(p);
    int full = (int)(percent / 5);
    for (int i = 0; i < 20; i++) cells[i] = i < full ? '#' : '.';
    cells[20] = '\0';
    time_left(p, left);
    const char *base = strrchr(p->file, '/') ? strrchr(p->file, '/') + 1 : p->file;
    if (p->message[0]) {
        fputs("\r\033[K", stderr);
        spn_store_print(stderr, p->message);
    } else if (p->total > 0) {
        fprintf(stderr, "\r\033[K%-11s [%s] %3.0f%%  %s of %s  %s/s  %s  ", p->status, cells,
                percent, spn_cli_bytes(p->completed, done), spn_cli_bytes(p->total, total),
                spn_cli_bytes((uint64_t)p->bytes_per_second, rate), left);
        char name[33];
        snprintf(name, sizeof name, "%.32s", base);
        spn_store_print(stderr, name);
    } else {
        fprintf(stderr, "\r\033[K%s", p->status);
    }
    bar->drawn = true;
    fflush(stderr);
}

/* Not a terminal: a line for each new state, each tenth, and each message. */
static void print_lines(spn_store_bar *bar, const spn_pull_progress *p) {
    char done[16], total[16], rate[16];
    int tenth = (int)(spn_pull_progress_percent(p) / 10);
    double now = spn_term_seconds();
    bool news = bar->told_status == NULL || strcmp(bar->told_status, p->status) != 0 ||
                tenth != bar->told_percent || now - bar->told_s > 30;
    if (!news && (p->message[0] == '\0' || now - bar->told_s < 1)) return;
    bar->told_status = p->status;
    bar->told_percent = tenth;
    bar->told_s = now;
    fprintf(stderr, "%s", p->status);
    if (p->file[0]) {
        fputc(' ', stderr);
        spn_store_print(stderr, p->file);
    }
    if (p->total > 0)
        fprintf(stderr, ": %.0f%%, %s of %s, %s/s", spn_pull_progress_percent(p),
                spn_cli_bytes(p->completed, done), spn_cli_bytes(p->total, total),
                spn_cli_bytes((uint64_t)p->bytes_per_second, rate));
    if (p->message[0]) {
        fputs(": ", stderr);
        spn_store_print(stderr, p->message);
    }
    fputc('\n', stderr);
}

bool spn_store_bar_tell(const spn_pull_progress *progress, void *user) {
    spn_store_bar *bar = user;
    if (bar->json)
        print_event(progress);
    else if (!bar->quiet && bar->is_terminal)
        print_bar(bar, progress);
    else if (!bar->quiet)
        print_lines(bar, progress);
    return !interrupted;
}

void spn_store_bar_end(spn_store_bar *bar) {
    spn_term_on_interrupt(NULL);
    if (bar->drawn) fputs("\r\033[K", stderr);
    fflush(stderr);
}

/* ---- small pieces ---- */

bool spn_store_parse_bytes(const char *text, uint64_t *out) {
    char *end;
    double value = strtod(text, &end);
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1},       {"b", 1},         {"k", 1e3},         {"kb", 1e3},
                 {"m", 1e6},    {"mb", 1e6},      {"g", 1e9},         {"gb", 1e9},
                 {"kib", 1024}, {"mib", 1048576}, {"gib", 1073741824}};
    if (end == text || !(value > 0) || value > 1e15) return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!same_word(end, units[i].unit)) continue;
        *out = (uint64_t)(value * units[i].factor);
        return *out > 0;
    }
    return false;
}

const char *spn_store_date(int64_t unix_s, char out[16]) {
    time_t t = (time_t)unix_s;
    const struct tm *tm = unix_s > 0 ? gmtime(&t) : NULL;
    if (tm == NULL || strftime(out, 16, "%Y-%m-%d", tm) == 0) snprintf(out, 16, "-");
    return out;
}
