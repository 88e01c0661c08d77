/* curl.c - the transport by libcurl. SPDX-License-Identifier: Apache-2.0
 *
 * Easy handles are kept in a small stock, so that connections stay open from one request to the
 * next; each is used by one thread at a time. libcurl's own habit of reading proxies from the
 * environment is switched off: what the options do not say does not count. HTTP/1.1 is used on
 * purpose: each range gets a connection of its own, which is what makes ranges scale where a
 * server limits connections, and there is no shared window that a slow reader could fill.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "catalog/catalog.h"
#include "platform/os.h"
#include "storage/http.h"

#define STOCK 16
#define MAX_HEADERS 100
#define MAX_HEADER_BYTES (64u << 10)
#define BUFFER_BYTES (256L << 10)
#define STALL_BYTES_PER_SECOND 64L

struct spn_curl {
    spn_mutex *mutex; /* protects the stock */
    CURL *stock[STOCK];
    size_t n_stock;
    char *proxy_http, *proxy_https, *no_proxy, *ca_file, *ca_dir;
};

typedef struct call {
    const spn_http_sink *sink;
    CURL *easy;
    spn_buf lines;              /* "Name\0value\0..." of the current head */
    size_t starts[MAX_HEADERS]; /* of names in `lines` */
    size_t values[MAX_HEADERS];
    size_t n_headers;
    int status;
    bool delivered, stopped, no_memory, stalled;
    uint64_t stall_ns, moved_ns; /* silence allowed, last time something came */
    curl_off_t moved;            /* bytes then */
    char problem[CURL_ERROR_SIZE];
} call;

static bool copy_option(char **out, const char *text) {
    if (text == NULL || text[0] == '\0') return true;
    *out = spn_strdup(text);
    return *out != NULL;
}

spn_status spn_curl_create(spn_curl **out, const spn_storage_options *options, spn_error *err) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return SPN_FAIL(err, NETWORK, "libcurl cannot be started");
    spn_curl *curl = spn_alloc_zeroed(1, sizeof *curl);
    if (curl == NULL) {
        curl_global_cleanup();
        return SPN_NO_MEMORY(err, "the network");
    }
    curl->mutex = spn_mutex_create();
    if (curl->mutex == NULL || !copy_option(&curl->proxy_http, options->proxy_http) ||
        !copy_option(&curl->proxy_https, options->proxy_https) ||
        !copy_option(&curl->no_proxy, options->no_proxy) ||
        !copy_option(&curl->ca_file, options->ca_file) ||
        !copy_option(&curl->ca_dir, options->ca_dir)) {
        spn_curl_free(curl);
        return SPN_NO_MEMORY(err, "the network");
    }
    *out = curl;
    return SPN_STATUS_OK;
}

void spn_curl_free(spn_curl *curl) {
    if (curl == NULL) return;
    for (size_t i = 0; i < curl->n_stock; i++) curl_easy_cleanup(curl->stock[i]);
    spn_mutex_free(curl->mutex);
    spn_free(curl->proxy_http);
    spn_free(curl->proxy_https);
    spn_free(curl->no_proxy);
    spn_free(curl->ca_file);
    spn_free(curl->ca_dir);
    spn_free(curl);
    curl_global_cleanup();
}

static CURL *take_easy(spn_curl *curl) {
    CURL *easy = NULL;
    spn_mutex_lock(curl->mutex);
    if (curl->n_stock > 0) easy = curl->stock[--curl->n_stock];
    spn_mutex_unlock(curl->mutex);
    if (easy != NULL) curl_easy_reset(easy); /* keeps its connections */
    return easy != NULL ? easy : curl_easy_init();
}

static void give_easy(spn_curl *curl, CURL *easy) {
    spn_mutex_lock(curl->mutex);
    bool kept = curl->n_stock < STOCK;
    if (kept) curl->stock[curl->n_stock++] = easy;
    spn_mutex_unlock(curl->mutex);
    if (!kept) curl_easy_cleanup(easy);
}

/* ---- callbacks ---- */

static bool deliver(call *c) {
    spn_http_header headers[MAX_HEADERS];
    for (size_t i = 0; i < c->n_headers; i++)
        headers[i] = (spn_http_header){c->lines.data + c->starts[i], c->lines.data + c->values[i]};
    c->delivered = true;
    if (c->sink->on_response(c->status, headers, c->n_headers, c->sink->user)) return true;
    c->stopped = true;
    return false;
}

static bool is_interim(int status) { return status >= 100 && status < 200; }

/* One header line, with its line break. */
static size_t on_header(char *line, size_t size, size_t n, void *user) {
    call *c = user;
    size_t given = size * n, len = given;
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == '\n')) len--;
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) { /* a new head: after 100, or a proxy's own */
        long code = 0;
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &code);
        c->status = (int)code;
        c->n_headers = 0;
        spn_buf_clear(&c->lines);
        return given;
    }
    if (len == 0) {
        /* A proxy's answer to CONNECT has a head of its own, which is not for the sink. */
        long connect = 0;
        curl_easy_getinfo(c->easy, CURLINFO_HTTP_CONNECTCODE, &connect);
        bool tunnel = connect != 0 && c->status == 0;
        if (is_interim(c->status) || c->delivered || tunnel) return given;
        return deliver(c) ? given : 0;
    }
    const char *colon = memchr(line, ':', len);
    if (colon == NULL || c->n_headers == MAX_HEADERS || memchr(line, 0, len) != NULL) return given;
    if (c->lines.len + len + 2 > MAX_HEADER_BYTES) return given;
    size_t name = (size_t)(colon - line), value = name + 1;
    while (value < len && (line[value] == ' ' || line[value] == '\t')) value++;
    c->starts[c->n_headers] = c->lines.len;
    spn_buf_append(&c->lines, line, name);
    spn_buf_append_char(&c->lines, '\0');
    c->values[c->n_headers] = c->lines.len;
    spn_buf_append(&c->lines, line + value, len - value);
    if (!spn_buf_append_char(&c->lines, '\0')) {
        c->no_memory = true;
        return 0;
    }
    c->n_headers++;
    return given;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *user) {
    call *c = user;
    if (c->sink->on_body(bytes, size * n, c->sink->user)) return size * n;
    c->stopped = true;
    return size * n == 0 ? 1 : 0;
}

/* libcurl's own low-speed check looks at an average of several seconds, and so notices a sudden
 * silence late. */
static int on_progress(void *user, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up) {
    call *c = user;
    uint64_t ns = spn_time_ns();
    (void)total, (void)up_total, (void)up;
    if (now != c->moved || c->moved_ns == 0) c->moved = now, c->moved_ns = ns;
    if (c->delivered && ns - c->moved_ns > c->stall_ns) {
        c->stalled = true;
        return 1;
    }
    if (c->sink->go_on == NULL || c->sink->go_on(c->sink->user)) return 0;
    c->stopped = true;
    return 1;
}

/* ---- a request ---- */

static const char *proxy_for(const spn_curl *curl, const char *url) {
    const char *proxy = spn_ascii_starts(url, "https:") ? curl->proxy_https : curl->proxy_http;
    return proxy != NULL ? proxy : "";
}

static void set_up(const spn_curl *curl, call *c, const spn_http_request *request,
                   struct curl_slist *headers) {
    CURL *easy = c->easy;
    long stall_s = (long)((request->stall_timeout_ms + 999) / 1000);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    if (strcmp(request->method, "HEAD") == 0) curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    /* The header that goes out is the request's own; this only has libcurl decode what comes. */
    if (request->decode) curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY, proxy_for(curl, request->url));
    curl_easy_setopt(easy, CURLOPT_NOPROXY, curl->no_proxy ? curl->no_proxy : "");
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    if (curl->ca_file) curl_easy_setopt(easy, CURLOPT_CAINFO, curl->ca_file);
    if (curl->ca_dir) curl_easy_setopt(easy, CURLOPT_CAPATH, curl->ca_dir);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES_PER_SECOND);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, stall_s);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, c->problem);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, c);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
}

static spn_status judge(const call *c, CURLcode code, const char *url, spn_error *err) {
    char origin[300];
    if (!spn_url_origin(url, origin, sizeof origin)) origin[0] = '\0';
    const char *why = c->problem[0] ? c->problem : curl_easy_strerror(code);
    if (c->no_memory || code == CURLE_OUT_OF_MEMORY) return SPN_NO_MEMORY(err, "the network");
    if (c->stopped) return SPN_FAIL(err, CANCELLED, "the transfer was ended");
    if (c->stalled)
        return SPN_FAIL(err, TIMEOUT, "%s stalled: nothing came for %llu s", origin,
                        (unsigned long long)(c->stall_ns / 1000000000u));
    switch (code) {
    case CURLE_OK:
        return SPN_STATUS_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
        return SPN_FAIL(err, NETWORK, "the name of %s cannot be resolved (%s); is there a network?",
                        origin, why);
    case CURLE_COULDNT_RESOLVE_PROXY:
        return SPN_FAIL(err, NETWORK, "the proxy's name cannot be resolved (%s)", why);
    case CURLE_COULDNT_CONNECT:
        return SPN_FAIL(err, NETWORK, "cannot connect to %s: %s", origin, why);
    case CURLE_OPERATION_TIMEDOUT:
        return c->delivered ? SPN_FAIL(err, TIMEOUT, "%s stalled: %s", origin, why)
                            : SPN_FAIL(err, TIMEOUT, "%s does not answer: %s", origin, why);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        /* `code` tells the retrying layer that asking again is of no use. */
        return spn_fail_code(err, SPN_STATUS_NETWORK, -(int)code,
                             "no trusted TLS connection to %s: %s; behind a proxy that re-signs, "
                             "SSL_CERT_FILE names its certificate",
                             origin, why);
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
        return SPN_FAIL(err, NETWORK, "%s broke the connection off: %s", origin, why);
    default:
        return SPN_FAIL(err, NETWORK, "the transfer from %s failed: %s", origin, why);
    }
}

static spn_status perform(const spn_http_request *request, const spn_http_sink *sink, void *user,
                          spn_error *err) {
    spn_curl *curl = user;
    struct curl_slist *headers = NULL;
    spn_buf line = SPN_BUF(MAX_HEADER_BYTES);
    call *c = spn_alloc_zeroed(1, sizeof *c);
    spn_status status = SPN_STATUS_NO_MEMORY;
    if (c == NULL) return SPN_NO_MEMORY(err, "a request");
    c->sink = sink;
    c->stall_ns = (uint64_t)request->stall_timeout_ms * 1000000u;
    c->lines = SPN_BUF(MAX_HEADER_BYTES);
    c->easy = take_easy(curl);
    bool ok = c->easy != NULL;
    for (size_t i = 0; ok && i < request->n_headers; i++) {
        spn_buf_clear(&line);
        ok = spn_buf_printf(&line, "%s: %s", request->headers[i].name, request->headers[i].value);
        struct curl_slist *longer = ok ? curl_slist_append(headers, line.data) : NULL;
        ok = longer != NULL;
        if (ok) headers = longer;
    }
    if (ok) {
        set_up(curl, c, request, headers);
        CURLcode code = curl_easy_perform(c->easy);
        status = judge(c, code, request->url, err);
        /* libcurl keeps pointers into `c` and the headers until it is told otherwise. */
        curl_easy_reset(c->easy);
        give_easy(curl, c->easy);
    } else {
        status = SPN_NO_MEMORY(err, "a request");
        if (c->easy != NULL) curl_easy_cleanup(c->easy);
    }
    curl_slist_free_all(headers);
    spn_buf_free(&line);
    spn_buf_free(&c->lines);
    spn_free(c);
    return status;
}

spn_transport spn_curl_transport(spn_curl *curl) { return (spn_transport){perform, curl}; }

void spn_curl_describe(const spn_curl *curl, const char *url, char proxy[256], char certs[512]) {
    const char *used = proxy_for(curl, url);
    const char *at = strrchr(used, '@'); /* what stands before it is a name and a password */
    const char *scheme = strstr(used, "://");
    int n_scheme = at != NULL && scheme != NULL && scheme < at ? (int)(scheme + 3 - used) : 0;
    snprintf(proxy, 256, "%.*s%s", n_scheme, used, at ? at + 1 : used);
    const char *file = curl->ca_file, *dir = curl->ca_dir;
#if LIBCURL_VERSION_NUM >= 0x075400
    CURL *easy = curl_easy_init();
    char *built_in = NULL;
    if (easy != NULL && file == NULL && curl_easy_getinfo(easy, CURLINFO_CAINFO, &built_in) == 0)
        file = built_in;
    if (easy != NULL && dir == NULL && curl_easy_getinfo(easy, CURLINFO_CAPATH, &built_in) == 0)
        dir = built_in;
#endif
    snprintf(certs, 512, "%s%s%s", file ? file : "", file && dir ? ", " : "", dir ? dir : "");
#if LIBCURL_VERSION_NUM >= 0x075400
    if (easy != NULL) curl_easy_cleanup(easy);
#endif
}
