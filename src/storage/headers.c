/* headers.c - what the head of an HTTP answer says. SPDX-License-Identifier: Apache-2.0
 *
 * Servers, proxies and captive portals send anything; a header that is not in the expected form
 * counts as absent, and the caller decides whether it can do without.
 */
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"
#include "storage/http.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool spn_parse_u64(const char *text, size_t n, uint64_t *out) {
    uint64_t value = 0;
    if (n == 0) return false;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (!is_digit(text[i]) || value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

bool spn_is_hex(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char c = spn_ascii_lower(text[i]);
        if (!is_digit(c) && (c < 'a' || c > 'f')) return false;
    }
    return true;
}

bool spn_is_sha256(const char *text) { return strlen(text) == 64 && spn_is_hex(text, 64); }

static const char *skip_blanks(const char *text) {
    while (*text == ' ' || *text == '\t') text++;
    return text;
}

/* Copies trimmed text of printable ASCII; anything else leaves `out` empty. */
static void copy_plain(char *out, size_t cap, const char *text, size_t n) {
    out[0] = '\0';
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t')) n--;
    if (n >= cap) return;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return;
    memcpy(out, text, n);
    out[n] = '\0';
}

/* An ETag without W/ and quotes. */
static void copy_tag(char *out, size_t cap, const char *text) {
    if (text[0] == 'W' && text[1] == '/') text += 2;
    size_t n = strlen(text);
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t')) n--;
    if (n >= 2 && text[0] == '"' && text[n - 1] == '"') text++, n -= 2;
    copy_plain(out, cap, text, n);
}

/* "bytes 0-99/200"; the total may be a star, and after a 416 the range is one. */
static void read_range(spn_http_head *head, const char *text) {
    if (!spn_ascii_starts(text, "bytes")) return;
    text = skip_blanks(text + 5);
    const char *slash = strchr(text, '/');
    if (slash == NULL) return;
    const char *total = skip_blanks(slash + 1);
    head->has_total = spn_parse_u64(total, strspn(total, "0123456789"), &head->total);
    size_t n_first = strspn(text, "0123456789");
    if (text[n_first] != '-') return;
    const char *last = text + n_first + 1;
    size_t n_last = strspn(last, "0123456789");
    uint64_t first_byte, last_byte;
    if (!spn_parse_u64(text, n_first, &first_byte) || !spn_parse_u64(last, n_last, &last_byte))
        return;
    if (first_byte > last_byte || (head->has_total && last_byte >= head->total)) return;
    head->has_range = true;
    head->range_first = first_byte;
    head->range_last = last_byte;
}

/* A parameter of an item of a list: "name";key=12; blanks may follow the semicolon. */
static bool find_parameter(const char *item, size_t n, char key, uint64_t *out) {
    for (size_t i = 0; i < n; i++) {
        if (item[i] != ';') continue;
        const char *p = skip_blanks(item + i + 1);
        if (p[0] != key || p[1] != '=') continue;
        return spn_parse_u64(p + 2, strspn(p + 2, "0123456789"), out);
    }
    return false;
}

/* Seconds of `RateLimit: "resolvers";r=0;t=55`; the window is over one second later. Of several
 * the longest wait counts, but not where some requests are left. */
static void read_rate_limit(spn_http_head *head, const char *text) {
    for (; *text; text += *text == ',') {
        size_t n = strcspn(text, ",");
        uint64_t left = 0, seconds;
        bool waits = !find_parameter(text, n, 'r', &left) || left == 0;
        if (waits && find_parameter(text, n, 't', &seconds) && seconds < 1000000 &&
            (int64_t)seconds >= head->wait_s)
            head->wait_s = (int64_t)seconds + 1;
        text += n;
    }
}

/* Days since 1970-01-01 of a date of the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool two_digits(const char *text, int64_t *out) {
    if (!is_digit(text[0]) || !is_digit(text[1])) return false;
    *out = (text[0] - '0') * 10 + (text[1] - '0');
    return true;
}

/* "Wed, 21 Oct 2015 07:28:00 GMT" */
static bool read_date(const char *text, int64_t *out) {
    static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    int64_t day, century, year, hour, minute, second;
    if (strlen(text) != 29 || !two_digits(text + 5, &day) || !two_digits(text + 12, &century) ||
        !two_digits(text + 14, &year) || !two_digits(text + 17, &hour) ||
        !two_digits(text + 20, &minute) || !two_digits(text + 23, &second))
        return false;
    for (int64_t month = 0; month < 12; month++) {
        const char *name = months + 3 * month;
        if (spn_ascii_lower(text[8]) != name[0] || spn_ascii_lower(text[9]) != name[1] ||
            spn_ascii_lower(text[10]) != name[2])
            continue;
        *out = days_of(century * 100 + year, month + 1, day) * 86400 + hour * 3600 + minute * 60 +
               second;
        return true;
    }
    return false;
}

static void read_retry_after(spn_http_head *head, const char *text, int64_t now_unix) {
    uint64_t seconds;
    int64_t date;
    if (head->wait_s >= 0) return; /* RateLimit is more exact */
    if (spn_parse_u64(text, strspn(text, "0123456789"), &seconds) && seconds < 1000000)
        head->wait_s = (int64_t)seconds;
    else if (read_date(text, &date))
        head->wait_s = date > now_unix ? date - now_unix : 0;
}

/* The first address of a Link header whose rel is "next". */
static void read_link(spn_http_head *head, const char *text) {
    while ((text = strchr(text, '<')) != NULL) {
        const char *end = strchr(++text, '>');
        if (end == NULL) return;
        const char *params_end = end + strcspn(end, "<");
        const char *rel = strstr(end, "rel=");
        if (rel != NULL && rel < params_end) {
            rel += 4 + (rel[4] == '"');
            bool ends = strncmp(rel, "next", 4) == 0 && strchr("\", ;", rel[4]) != NULL;
            if (ends) {
                copy_plain(head->next, sizeof head->next, text, (size_t)(end - text));
                return;
            }
        }
        text = end;
    }
}

static void read_header(spn_http_head *head, const char *name, const char *value, int64_t now) {
    size_t n = strlen(value);
    while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t')) n--;
    if (spn_ascii_equal(name, "Content-Length")) {
        head->has_length = spn_parse_u64(value, n, &head->length);
    } else if (spn_ascii_equal(name, "Content-Range")) {
        read_range(head, value);
    } else if (spn_ascii_equal(name, "ETag")) {
        copy_plain(head->etag, sizeof head->etag, value, n);
    } else if (spn_ascii_equal(name, "X-Linked-Etag")) {
        copy_tag(head->linked_etag, sizeof head->linked_etag, value);
    } else if (spn_ascii_equal(name, "X-Linked-Size")) {
        head->has_linked_size = spn_parse_u64(value, n, &head->linked_size);
    } else if (spn_ascii_equal(name, "X-Repo-Commit")) {
        if ((n == 40 || n == 64) && spn_is_hex(value, n))
            copy_plain(head->repo_commit, sizeof head->repo_commit, value, n);
    } else if (spn_ascii_equal(name, "X-Error-Code")) {
        copy_plain(head->error_code, sizeof head->error_code, value, n);
    } else if (spn_ascii_equal(name, "X-Error-Message")) {
        copy_plain(head->error_message, sizeof head->error_message, value,
                   spn_min_size(n, sizeof head->error_message - 1));
    } else if (spn_ascii_equal(name, "X-Request-Id") || spn_ascii_equal(name, "X-Amz-Cf-Id")) {
        copy_plain(head->request_id, sizeof head->request_id, value, n);
    } else if (spn_ascii_equal(name, "Content-Type")) {
        copy_plain(head->content_type, sizeof head->content_type, value, n);
    } else if (spn_ascii_equal(name, "Content-Encoding")) {
        copy_plain(head->content_encoding, sizeof head->content_encoding, value, n);
    } else if (spn_ascii_equal(name, "Location")) {
        copy_plain(head->location, sizeof head->location, value, n);
    } else if (spn_ascii_equal(name, "Link")) {
        read_link(head, value);
    } else if (spn_ascii_equal(name, "RateLimit")) {
        read_rate_limit(head, value);
    } else if (spn_ascii_equal(name, "Retry-After")) {
        read_retry_after(head, value, now);
    }
}

void spn_http_head_read(spn_http_head *head, int status, const spn_http_header *headers, size_t n,
                        int64_t now_unix) {
    *head = (spn_http_head){.status = status, .wait_s = -1};
    for (size_t i = 0; i < n; i++)
        read_header(head, headers[i].name, skip_blanks(headers[i].value), now_unix);
}
