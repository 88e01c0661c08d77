/* fuzz_headers.c - the head of an HTTP answer, and addresses built from it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Input: lines "Name: value"; what has no colon is a Link's value.
 */
#include <stdlib.h>
#include <string.h>

#include "storage/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_LINES 64

static void check_addresses(const spn_http_head *head) {
    static const char *const bases[] = {"https://hub.test/a/b?c", "http://[::1]:80", "nonsense"};
    char *joined = malloc(SPN_URL_MAX), origin[300];
    if (joined == NULL) return;
    for (size_t i = 0; i < SPN_COUNT(bases); i++) {
        const char *locations[] = {head->location, head->next};
        for (size_t k = 0; k < 2; k++) {
            if (!spn_url_join(bases[i], locations[k], joined)) continue;
            if (strlen(joined) >= SPN_URL_MAX) abort();

            if (spn_url_origin(joined, origin, sizeof origin) && strncmp(origin, "http", 4) != 0)
                abort();
        }
    }
    free(joined);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    spn_http_head *head = malloc(sizeof *head);
    spn_http_header headers[MAX_LINES];
    size_t n = 0;
    if (text == NULL || head == NULL) goto done;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *line = text; line != NULL && n < MAX_LINES;) {
        char *end = strchr(line, '\n'), *next = end != NULL ? end + 1 : NULL;
        if (end != NULL) *end = '\0';
        char *colon = strchr(line, ':');
        headers[n++] =
            colon != NULL ? (spn_http_header){line, colon + 1} : (spn_http_header){"Link", line};
        if (colon != NULL) *colon = '\0';
        line = next;
    }
    spn_http_head_read(head, 200, headers, n, 1700000000);
    if (head->has_range && head->range_first > head->range_last) abort();
    if (head->wait_s < -1) abort();
    if (head->repo_commit[0] && !spn_is_hex(head->repo_commit, strlen(head->repo_commit))) abort();
    check_addresses(head);
done:
    free(text);
    free(head);
    return 0;
}
