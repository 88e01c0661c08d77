/* http.c - requests with the token where it belongs, redirects, retries, and failures in words.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Statuses of the hub (from its client library): 401 stands for a wrong token, for a gated
 * repository and for one that does not exist, told apart by X-Error-Code or, where a proxy took
 * that away, by X-Error-Message.
 */
#include <stdio.h>
#include <string.h>

#include "storage/store.h"

#define MAX_REDIRECTS 10

/* ---- one request ---- */

spn_status spn_http_once(spn_storage *storage, const char *method, const char *url,
                         const spn_http_header *extra, size_t n_extra, bool decode,
                         const spn_http_sink *sink, spn_error *err) {
    char agent[64], origin[300];
    spn_buf bearer = SPN_BUF(4096);
    spn_http_header headers[8];
    size_t n = 0;
    snprintf(agent, sizeof agent, "spn-native/%s", spn_version());
    headers[n++] = (spn_http_header){"User-Agent", agent};
    headers[n++] = (spn_http_header){"Accept-Encoding", "identity"};
    bool is_endpoint =
        spn_url_origin(url, origin, sizeof origin) && strcmp(origin, storage->endpoint_origin) == 0;
    if (is_endpoint && storage->token != NULL) {
        if (!spn_buf_printf(&bearer, "Bearer %s", storage->token)) {
            spn_buf_free(&bearer);
            return SPN_NO_MEMORY(err, "a request");
        }
        headers[n++] = (spn_http_header){"Authorization", bearer.data};
    }
    for (size_t i = 0; i < n_extra && n < SPN_COUNT(headers); i++) headers[n++] = extra[i];
    const spn_http_request request = {
        .method = method,
        .url = url,
        .headers = headers,
        .n_headers = n,
        .connect_timeout_ms = storage->connect_timeout_ms,
        .stall_timeout_ms = storage->stall_timeout_ms,
        .decode = decode,
    };
    spn_status status = storage->transport.perform(&request, sink, storage->transport.user, err);
    spn_buf_free(&bearer);
    return status;
}

/* ---- failures ---- */

bool spn_http_is_passing(int status) {
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

static bool contains(const char *text, const char *part) {
    for (; text != NULL && *text; text++)
        if (spn_ascii_starts(text, part)) return true;
    return false;
}

/* The server's own words: the header, or the body where it is short and no page. */
static const char *words_of(const spn_http_head *head, const char *body, char out[240]) {
    if (head->error_message[0]) {
        snprintf(out, 240, "%.239s", head->error_message);
        return out;
    }
    size_t n = 0;
    const char *text = body != NULL ? body : "";
    while (*text == ' ' || *text == '\n' || *text == '\r') text++;
    if (*text == '<') return "";
    const char *error = strstr(text, "\"error\"");
    if (error != NULL && (error = strchr(error + 7, '"')) != NULL) text = error + 1;
    for (; n < 200 && text[n] && text[n] != '"' && text[n] != '\n'; n++)
        out[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
    out[n] = '\0';
    return out;
}

static spn_status fail_refused(const spn_storage *storage, const spn_http_head *head,
                               const char *words, const char *what, spn_error *err) {
    bool gated = spn_ascii_equal(head->error_code, "GatedRepo") || contains(words, "gated") ||
                 contains(words, "restricted");
    bool has_token = storage->token != NULL;
    if (gated && contains(words, "fine-grained"))
        return spn_fail_code(err, SPN_STATUS_GATED, head->status,
                             "%s is gated and the token may not read it: switch on \"Read access "
                             "to contents of all public gated repos you can access\" for the token",
                             what);
    if (gated)
        return spn_fail_code(err, SPN_STATUS_GATED, head->status,
                             "%s is gated: open its page on %s, accept the licence there%s", what,
                             storage->endpoint,
                             has_token ? " with the account of the token"
                                       : " and set HF_TOKEN to a token of that account");
    if (contains(words, "disabled"))
        return spn_fail_code(err, SPN_STATUS_UNAUTHORIZED, head->status,
                             "access to %s is disabled: %.200s", what, words);
    if (head->status == 401 && (contains(words, "invalid credentials") || contains(words, "token")))
        return spn_fail_code(err, SPN_STATUS_UNAUTHORIZED, 401,
                             "the token was refused for %s: it is wrong or expired; public models "
                             "need none",
                             what);
    if (head->status == 401 && spn_ascii_equal(head->error_code, "RepoNotFound"))
        return spn_fail_code(err, SPN_STATUS_MODEL_NOT_FOUND, 401,
                             "%s was not found, or it is private: check the name%s", what,
                             has_token ? "" : ", or set HF_TOKEN");
    return spn_fail_code(err, SPN_STATUS_UNAUTHORIZED, head->status,
                         "%s: access refused (HTTP %d)%s%.200s; %s", what, head->status,
                         words[0] ? ": " : "", words,
                         has_token ? "the token may not read it" : "it may need HF_TOKEN");
}

static spn_status fail_missing(const spn_http_head *head, const char *words, const char *what,
                               spn_error *err) {
    const char *kind = spn_ascii_equal(head->error_code, "RevisionNotFound") ? "the revision of "
                       : spn_ascii_equal(head->error_code, "EntryNotFound")  ? "the file of "
                                                                             : "";
    return spn_fail_code(err, SPN_STATUS_MODEL_NOT_FOUND, head->status,
                         "%s%s was not found%s%.200s", kind, what, words[0] ? ": " : "", words);
}

spn_status spn_http_fail(spn_storage *storage, const spn_http_head *head, const char *body,
                         const char *what, spn_error *err) {
    char buffer[240];
    const char *words = words_of(head, body, buffer);
    switch (head->status) {
    case 401:
    case 403:
        return fail_refused(storage, head, words, what, err);
    case 404:
    case 410:
        return fail_missing(head, words, what, err);
    case 407:
        return spn_fail_code(err, SPN_STATUS_UNAUTHORIZED, 407,
                             "the proxy wants a name and a password");
    case 429:
        if (head->wait_s >= 0)
            return spn_fail_code(err, SPN_STATUS_RATE_LIMITED, 429,
                                 "too many requests for %s: the server asks to wait %lld s", what,
                                 (long long)head->wait_s);
        return spn_fail_code(err, SPN_STATUS_RATE_LIMITED, 429,
                             "too many requests for %s: try again later%s", what,
                             storage->token ? "" : "; a token has a larger allowance");
    default:
        return spn_fail_code(err, SPN_STATUS_HTTP, head->status, "%s: HTTP %d%s%.200s", what,
                             head->status, words[0] ? ": " : "", words);
    }
}

/* ---- pauses ---- */

static bool sleep_for(uint64_t ms, const spn_http_wait *wait, spn_error *err) {
    for (uint64_t slept = 0; slept < ms; slept += 50) {
        if (wait != NULL && wait->go_on != NULL && !wait->go_on(wait->user)) {
            SPN_FAIL(err, CANCELLED, "cancelled");
            return false;
        }
        uint64_t left = ms - slept;
        spn_sleep_ms(left < 50 ? (uint32_t)left : 50);
    }
    return true;
}

bool spn_http_pause(spn_storage *storage, uint32_t n_failed, const spn_http_head *head,
                    const spn_http_wait *wait, spn_error *err) {
    char message[200];
    uint64_t ms = storage->retry_base_ms;
    for (uint32_t i = 1; i < n_failed && ms < storage->retry_max_ms; i++) ms *= 2;
    if (ms > storage->retry_max_ms) ms = storage->retry_max_ms;
    /* Half of it is random, so that many clients do not come back at once. */
    uint16_t random = 0;
    (void)spn_random_bytes(&random, sizeof random, NULL);
    ms = ms / 2 + ms / 2 * random / UINT16_MAX;
    bool told = head != NULL && head->wait_s >= 0 && (head->status == 429 || head->status == 503);
    if (told && (uint64_t)head->wait_s > storage->rate_wait_max_s) return false;
    if (told) ms = (uint64_t)head->wait_s * 1000 + ms / 8;
    if (told)
        snprintf(message, sizeof message, "the server asks to wait %lld s",
                 (long long)head->wait_s);
    else if (head != NULL && head->status != 0)
        snprintf(message, sizeof message, "HTTP %d; trying again in %.1f s", head->status,
                 (double)ms / 1000);
    else
        snprintf(message, sizeof message, "%.150s; trying again in %.1f s",
                 err != NULL && err->text[0] ? err->text : "the network failed", (double)ms / 1000);
    if (wait != NULL && wait->tell != NULL) wait->tell(message, wait->user);
    spn_log(SPN_LOG_LEVEL_INFO, "%s", message);
    return sleep_for(ms, wait, err);
}

/* ---- GET of the hub's interface ---- */

typedef struct collect {
    spn_http_head *head;
    spn_buf *body;
    size_t max;
    const spn_http_wait *wait;
    bool too_long;
    bool enough; /* of an error's words: the rest is not waited for */
} collect;

static bool collect_head(int status, const spn_http_header *headers, size_t n, void *user) {
    collect *c = user;
    spn_http_head_read(c->head, status, headers, n, spn_time_unix());
    return true;
}

static bool collect_body(const void *bytes, size_t n_bytes, void *user) {
    collect *c = user;
    bool good = c->head->status >= 200 && c->head->status < 300;
    size_t max = good ? c->max : spn_min_size(c->max, 64u << 10);
    if (n_bytes > max - c->body->len) {
        c->too_long = good;
        c->enough = !good;
        if (good) return false;
        n_bytes = max - c->body->len;
    }
    return spn_buf_append(c->body, bytes, n_bytes) && !c->enough;
}

static bool collect_go_on(void *user) {
    collect *c = user;
    return c->wait == NULL || c->wait->go_on == NULL || c->wait->go_on(c->wait->user);
}

/* One round of redirects. The last answer is in head and body. */
static spn_status get_once(spn_storage *storage, const char *url, collect *c, spn_error *err) {
    char *at = spn_alloc(2 * SPN_URL_MAX);
    if (at == NULL) return SPN_NO_MEMORY(err, "an address");
    char *next = at + SPN_URL_MAX;
    const spn_http_sink sink = {collect_head, collect_body, collect_go_on, c};
    spn_status status = SPN_STATUS_OK;
    snprintf(at, SPN_URL_MAX, "%s", url);
    for (int n = 0;; n++) {
        spn_buf_clear(c->body);
        *c->head = (spn_http_head){.wait_s = -1};
        c->enough = false;
        status = spn_http_once(storage, "GET", at, NULL, 0, true, &sink, err);
        if (status == SPN_STATUS_CANCELLED && c->enough && !c->body->failed) status = SPN_STATUS_OK;
        int code = c->head->status;
        bool redirect = code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
        if (status != SPN_STATUS_OK || !redirect) break;
        if (n == MAX_REDIRECTS) {
            status =
                spn_fail_code(err, SPN_STATUS_HTTP, code, "%.200s redirects without an end", url);
            break;
        }
        if (!spn_url_join(at, c->head->location, next)) {
            status = spn_fail_code(err, SPN_STATUS_HTTP, code,
                                   "%.200s redirects to an address that makes no sense", url);
            break;
        }
        if (spn_ascii_starts(at, "https:") && !spn_ascii_starts(next, "https:")) {
            status = spn_fail_code(err, SPN_STATUS_HTTP, code,
                                   "%.200s redirects from TLS to an open connection: refused", url);
            break;
        }
        memcpy(at, next, strlen(next) + 1);
    }
    spn_free(at);
    return status;
}

/* A name that cannot be resolved or a certificate that is not trusted will not be better soon. */
static bool is_lasting(const spn_error *err) {
    return err->code < 0 || strstr(err->text, "cannot be resolved") != NULL;
}

static bool may_repeat(const spn_http_head *head, spn_status status, const spn_error *err) {
    if (status == SPN_STATUS_OK) return spn_http_is_passing(head->status);
    bool network = status == SPN_STATUS_NETWORK || status == SPN_STATUS_TIMEOUT;
    return network && !is_lasting(err);
}

spn_status spn_http_get(spn_storage *storage, const char *url, size_t max, spn_buf *body,
                        spn_http_head *head, const char *what, const spn_http_wait *wait,
                        spn_error *err) {
    spn_error local = {0};
    if (err == NULL) err = &local;
    if (storage->offline)
        return SPN_FAIL(err, OFFLINE,
                        "%s would have to be asked for, but the network is switched "
                        "off (HF_HUB_OFFLINE)",
                        what);
    spn_http_head *own = head != NULL ? head : spn_alloc_zeroed(1, sizeof *own);
    if (own == NULL) return SPN_NO_MEMORY(err, "a request");
    collect c = {.head = own, .body = body, .max = max, .wait = wait};
    spn_status status;
    for (uint32_t n_failed = 0;;) {
        *err = (spn_error){0};
        c.too_long = false;
        status = get_once(storage, url, &c, err);
        if (c.too_long)
            status =
                SPN_FAIL(err, API, "the answer about %s is longer than %zu MiB", what, max >> 20);
        else if (status == SPN_STATUS_CANCELLED && body->failed)
            status = SPN_NO_MEMORY(err, what);
        if (!may_repeat(own, status, err)) break;
        /* The hub's interface is asked at a terminal: half the patience that a transfer gets. */
        if (++n_failed > (storage->max_retries + 1) / 2) break;
        if (spn_http_pause(storage, n_failed, status == SPN_STATUS_OK ? own : NULL, wait, err))
            continue;
        if (err->status == SPN_STATUS_CANCELLED) status = SPN_STATUS_CANCELLED;
        break;
    }
    if (status == SPN_STATUS_OK && (own->status < 200 || own->status >= 300))
        status = spn_http_fail(storage, own, body->data, what, err);
    if (own != head) spn_free(own);
    return status;
}
