/* url.c - the few things done with addresses. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "catalog/catalog.h"
#include "storage/http.h"

static size_t scheme_length(const char *url) {
    if (spn_ascii_starts(url, "http://")) return 7;
    return spn_ascii_starts(url, "https://") ? 8 : 0;
}

bool spn_url_origin(const char *url, char *out, size_t cap) {
    size_t scheme = scheme_length(url);
    if (scheme == 0) return false;
    const char *host = url + scheme;
    size_t n = strcspn(host, "/?#\\");
    for (size_t i = 0; i < n; i++)
        if (host[i] == '@') host += i + 1, n -= i + 1, i = (size_t)-1;
    const char *port = scheme == 7 ? ":80" : ":443";
    size_t n_port = strlen(port);
    if (n > n_port && strncmp(host + n - n_port, port, n_port) == 0) n -= n_port;
    if (n == 0 || scheme + n + 1 > cap) return false;
    for (size_t i = 0; i < scheme; i++) out[i] = spn_ascii_lower(url[i]);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)host[i] <= 0x20 || host[i] == 0x7f) return false;
        out[scheme + i] = spn_ascii_lower(host[i]);
    }
    out[scheme + n] = '\0';
    return true;
}

bool spn_url_join(const char *base, const char *location, char out[SPN_URL_MAX]) {
    char origin[600];
    int n = -1;
    size_t scheme = scheme_length(base);
    if (location[0] == '\0' || strpbrk(location, " \t\"<>") != NULL) return false;
    if (scheme_length(location) > 0) {
        if (!spn_url_origin(location, origin, sizeof origin)) return false;
        n = snprintf(out, SPN_URL_MAX, "%s", location);
    } else if (scheme == 0 || !spn_url_origin(base, origin, sizeof origin)) {
        return false;
    } else if (location[0] == '/' && location[1] == '/') {
        n = snprintf(out, SPN_URL_MAX, "%.*s%s", (int)(scheme - 2), base, location);
    } else if (location[0] == '/') {
        n = snprintf(out, SPN_URL_MAX, "%s%s", origin, location);
    } else if (strchr(location, ':') == NULL || strcspn(location, ":") > strcspn(location, "/?")) {
        /* Relative to the folder of the base's path. */
        size_t path = scheme + strcspn(base + scheme, "/?#");
        size_t end = path + strcspn(base + path, "?#");
        while (end > path && base[end - 1] != '/') end--;
        n = snprintf(out, SPN_URL_MAX, "%s%.*s%s%s", origin, (int)(end - path), base + path,
                     end == path ? "/" : "", location);
    }
    return n > 0 && n < SPN_URL_MAX;
}

void spn_url_append(spn_buf *buf, const char *text, bool keep_slash) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        char lower = spn_ascii_lower(*text);
        bool plain = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
                     strchr("-_.~", *text) != NULL || (keep_slash && c == '/');
        if (plain)
            spn_buf_append_char(buf, *text);
        else
            spn_buf_printf(buf, "%%%02X", c);
    }
}
