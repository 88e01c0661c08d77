/* http.h - requests to the hub and its content servers: heads, redirects, retries, errors.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A transport (libcurl's below, or the host's) does single requests. Everything above it is here:
 * redirects are followed by hand, because the token may go to the endpoint's own address and
 * nowhere else; answers are judged, repeated or turned into errors that say what to do.
 */
#ifndef SPN_STORAGE_HTTP_H
#define SPN_STORAGE_HTTP_H

#include "base/base.h"
#include "spn/storage.h"

/* ---- what an answer's head says (headers.c) ---- */

#define SPN_URL_MAX 8192 /* signed addresses are long */

typedef struct spn_http_head {
    int status;
    bool has_length, has_range, has_total;
    uint64_t length;                  /* Content-Length */
    uint64_t range_first, range_last; /* Content-Range: bytes FIRST-LAST/TOTAL */
    uint64_t total;
    bool has_linked_size;
    uint64_t linked_size;    /* X-Linked-Size */
    int64_t wait_s;          /* from RateLimit or Retry-After; -1: not said */
    char etag[200];          /* as sent, with quotes and W/ */
    char linked_etag[200];   /* X-Linked-Etag without quotes and W/ */
    char repo_commit[65];    /* X-Repo-Commit, when it is 40 or 64 hex digits */
    char error_code[64];     /* X-Error-Code */
    char error_message[300]; /* X-Error-Message */
    char request_id[100];
    char content_type[100];
    char content_encoding[40];
    char location[SPN_URL_MAX];
    char next[SPN_URL_MAX]; /* Link: <...>; rel="next" */
} spn_http_head;

/* Takes the known headers over; what is malformed counts as absent. `now_unix` is for Retry-After
 * dates. */
void spn_http_head_read(spn_http_head *head, int status, const spn_http_header *headers, size_t n,
                        int64_t now_unix);
bool spn_is_sha256(const char *text); /* exactly 64 hex digits */
bool spn_is_hex(const char *text, size_t n);
/* Digits only, no overflow. */
bool spn_parse_u64(const char *text, size_t n, uint64_t *out);

/* ---- addresses (url.c) ---- */

/* scheme://host[:port] of an address, in small letters, without a default port and without user
 * names. False when it is no http address or longer than `cap`. */
bool spn_url_origin(const char *url, char *out, size_t cap);
/* The address a Location of `base` leads to. False when it is none or too long. */
bool spn_url_join(const char *base, const char *location, char out[SPN_URL_MAX]);
/* Appends text, percent-encoded; `keep_slash` leaves "/" as it is. */
void spn_url_append(spn_buf *buf, const char *text, bool keep_slash);

/* ---- libcurl (curl.c) ---- */

typedef struct spn_curl spn_curl;
spn_status spn_curl_create(spn_curl **out, const spn_storage_options *options, spn_error *err);
void spn_curl_free(spn_curl *curl);
spn_transport spn_curl_transport(spn_curl *curl);
/* The certificates it trusts and the proxy it would use, for people. */
void spn_curl_describe(const spn_curl *curl, const char *url, char proxy[256], char certs[512]);

/* ---- single requests of the storage (http.c) ---- */

struct spn_storage;

/* Who is asked to go on during waits; also gets told why. NULL functions: always, nobody. */
typedef struct spn_http_wait {
    bool (*go_on)(void *user);
    void (*tell)(const char *message, void *user);
    void *user;
} spn_http_wait;

/* GETs an address of the endpoint with the token, follows redirects, repeats what may be repeated,
 * and gives a body of at most `max` bytes. An answer other than 2xx is a failure, worded for
 * `what` ("the repository OWNER/REPO"). `head` may be NULL. */
spn_status spn_http_get(struct spn_storage *storage, const char *url, size_t max, spn_buf *body,
                        spn_http_head *head, const char *what, const spn_http_wait *wait,
                        spn_error *err);

/* The failure an answer stands for. `body` is its text, as far as it was read. */
spn_status spn_http_fail(struct spn_storage *storage, const spn_http_head *head, const char *body,
                         const char *what, spn_error *err);
/* Whether asking again may help: 408, 429, 5xx but 501 and 505. */
bool spn_http_is_passing(int status);
/* Sleeps before try `n_failed` (from 1): what the head asks for, else base x 2^n with jitter.
 * False when it must not go on; *err is filled then (CANCELLED or RATE_LIMITED). */
bool spn_http_pause(struct spn_storage *storage, uint32_t n_failed, const spn_http_head *head,
                    const spn_http_wait *wait, spn_error *err);

/* One request with the usual headers; the token goes along when `url` has the endpoint's origin.
 * `extra` are further headers; `decode` is spn_http_request's. */
spn_status spn_http_once(struct spn_storage *storage, const char *method, const char *url,
                         const spn_http_header *extra, size_t n_extra, bool decode,
                         const spn_http_sink *sink, spn_error *err);

#endif
