/* store.h - what the store's commands share: opening it as the environment says, progress, errors.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Here and nowhere else the environment is read:
 *   SPN_MODELS_DIR                                  the store; else $HOME/.spn/models.location,
 *                                                   which `store --move` writes; else .spn/models
 *   HF_ENDPOINT                                     a mirror of the hub
 *   HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME/token; not with
 *   HF_HUB_DISABLE_IMPLICIT_TOKEN
 *   HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE            1, on, yes or true: no network
 *   HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME    where the Hugging Face cache is
 *   OLLAMA_MODELS                                   where Ollama's store is
 *   HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY    in small letters too, which win
 *   SSL_CERT_FILE, CURL_CA_BUNDLE, REQUESTS_CA_BUNDLE, SSL_CERT_DIR
 *   HF_HUB_DOWNLOAD_TIMEOUT                         seconds without data; HF_HUB_ETAG_TIMEOUT to
 *                                                   connect
 */
#ifndef SPN_CLI_STORE_H
#define SPN_CLI_STORE_H

#include <jansson.h>

#include "cli/cli.h"

/* Overrides of a command's options; 0 and NULL: what the environment says. */
typedef struct spn_store_flags {
    uint32_t n_connections, n_retries, retry_pause_ms, timeout_s;
    uint64_t rate_limit;
    bool no_retries, no_wait;
} spn_store_flags;

/* Opens the store; on failure prints the error and returns NULL, the exit code in *code. */
spn_storage *spn_store_open(const spn_store_flags *flags, int *code);

/* "spn-native: ..." to standard error; with `json` also an event to standard output. Returns the
 * exit code. */
int spn_store_fail(const spn_error *err, bool json);

/* Progress on standard error: a bar on a terminal, else now and then a line; with `json` events on
 * standard output. Ctrl-C cancels. */
typedef struct spn_store_bar {
    bool json, quiet, is_terminal, drawn;
    double told_s;
    int told_percent;
    const char *told_status;
    char told_file[300];
} spn_store_bar;
void spn_store_bar_start(spn_store_bar *bar, bool json, bool quiet);
bool spn_store_bar_tell(const spn_pull_progress *progress, void *bar); /* a spn_pull_progress_fn */
void spn_store_bar_end(spn_store_bar *bar);

/* "10M", "1.5GB", "500k", "1048576": bytes. False when it is none. */
bool spn_store_parse_bytes(const char *text, uint64_t *out);
/* Texts from repositories and files may hold anything: control characters become "?". */
void spn_store_print(FILE *out, const char *text);
/* "2026-01-31", or "-" for 0. */
const char *spn_store_date(int64_t unix_s, char out[16]);
/* $HOME/.spn/models.location; false without a home. */
bool spn_store_location_file(char *out, size_t cap);

#endif
