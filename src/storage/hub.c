/* hub.c - the hub's interface: revision, listing, where a file is.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A revision is resolved to a commit first and everything else is asked for at that commit, so
 * that a push between two requests cannot mix two states. Where a mirror does not offer
 * /revision, the listing is asked for at the revision itself.
 */
#include <stdio.h>
#include <string.h>

#include "storage/store.h"

#define MAX_PAGE ((size_t)16 << 20)
#define MAX_PAGES 1000
#define MAX_REDIRECTS 10

static spn_status api_url(const spn_storage *storage, const char *repo, const char *verb,
                          const char *revision, const char *query, spn_buf *out, spn_error *err) {
    spn_buf_printf(out, "%s/api/models/", storage->endpoint);
    spn_url_append(out, repo, true);
    if (verb != NULL) {
        spn_buf_printf(out, "/%s/", verb);
        spn_url_append(out, revision, false);
    }
    spn_buf_append_text(out, query);
    return out->failed ? SPN_NO_MEMORY(err, "an address") : SPN_STATUS_OK;
}

/* A mirror hands on addresses of the hub itself: they mean the mirror. What leads elsewhere is
 * refused, because the token goes along. */
static bool next_page(const spn_storage *storage, const char *url, const char *link,
                      char out[SPN_URL_MAX]) {
    static const char hub[] = "https://huggingface.co/";
    char origin[300], joined[SPN_URL_MAX];
    if (!spn_url_join(url, link, joined)) return false;
    if (spn_url_origin(joined, origin, sizeof origin) &&
        strcmp(origin, storage->endpoint_origin) == 0) {
        memcpy(out, joined, strlen(joined) + 1);
        return true;
    }
    if (!spn_ascii_starts(joined, hub)) return false;
    int n = snprintf(out, SPN_URL_MAX, "%s/%s", storage->endpoint, joined + strlen(hub));
    return n > 0 && n < SPN_URL_MAX;
}

static spn_status list_pages(spn_storage *storage, const char *first, const char *what,
                             const spn_http_wait *wait, spn_hub_listing *listing, spn_error *err) {
    spn_buf body = SPN_BUF(MAX_PAGE);
    char *url = spn_alloc(SPN_URL_MAX);
    spn_http_head *head = spn_alloc_zeroed(1, sizeof *head);
    spn_status status = SPN_STATUS_OK;
    if (url == NULL || head == NULL) {
        status = SPN_NO_MEMORY(err, "a listing");
        goto done;
    }
    if (snprintf(url, SPN_URL_MAX, "%s", first) >= SPN_URL_MAX) {
        status = SPN_FAIL(err, INVALID_ARGUMENT, "the address for %s is too long", what);
        goto done;
    }
    for (int page = 0;; page++) {
        SPN_TRY_GOTO(spn_http_get(storage, url, MAX_PAGE, &body, head, what, wait, err));
        SPN_TRY_GOTO(spn_hub_parse_tree(body.data ? body.data : "", body.len, listing, err));
        if (listing->commit[0] == '\0' && head->repo_commit[0])
            memcpy(listing->commit, head->repo_commit, sizeof listing->commit);
        if (head->next[0] == '\0') break;
        if (page == MAX_PAGES || !next_page(storage, url, head->next, url)) {
            status = SPN_FAIL(err, API, "the listing of %s goes on at %.200s, which is refused",
                              what, head->next);
            goto done;
        }
    }
done:
    spn_buf_free(&body);
    spn_free(url);
    spn_free(head);
    return status;
}

/* After a 404 that does not say what is missing: is the repository there at all? */
static spn_status tell_missing(spn_storage *storage, const char *repo, const char *revision,
                               const char *what, const spn_http_wait *wait, spn_error *err) {
    spn_buf url = SPN_BUF(SPN_URL_MAX), body = SPN_BUF(MAX_PAGE);
    spn_error ignored = {0};
    spn_status status = api_url(storage, repo, NULL, NULL, "", &url, err);
    if (status == SPN_STATUS_OK) {
        bool there = spn_http_get(storage, url.data, MAX_PAGE, &body, NULL, what, wait, &ignored) ==
                     SPN_STATUS_OK;
        if (there)
            status = spn_fail_code(err, SPN_STATUS_MODEL_NOT_FOUND, 404,
                                   "%s has no revision \"%s\"", what, revision);
        else
            status = spn_fail_code(
                err, SPN_STATUS_MODEL_NOT_FOUND, 404, "%s was not found on %s: check the name%s",
                what, storage->endpoint, storage->token ? "" : "; a private one needs HF_TOKEN");
    }
    spn_buf_free(&url);
    spn_buf_free(&body);
    return status;
}

static spn_status ask_info(spn_storage *storage, const char *repo, const char *revision,
                           const char *what, const spn_http_wait *wait, spn_hub_listing *listing,
                           spn_error *err) {
    spn_buf url = SPN_BUF(SPN_URL_MAX), body = SPN_BUF(MAX_PAGE);
    spn_status status;
    SPN_TRY_GOTO(api_url(storage, repo, "revision", revision, "", &url, err));
    SPN_TRY_GOTO(spn_http_get(storage, url.data, MAX_PAGE, &body, NULL, what, wait, err));
    SPN_TRY_GOTO(spn_hub_parse_info(body.data ? body.data : "", body.len, listing, err));
done:
    spn_buf_free(&url);
    spn_buf_free(&body);
    return status;
}

spn_status spn_hub_list(spn_storage *storage, const char *repo, const char *revision,
                        const spn_http_wait *wait, spn_hub_listing *listing, spn_error *err) {
    char what[300];
    spn_hub_listing found = {0};
    spn_buf url = SPN_BUF(SPN_URL_MAX);
    spn_error local = {0};
    if (err == NULL) err = &local;
    snprintf(what, sizeof what, "the repository %s", repo);
    spn_status status = ask_info(storage, repo, revision, what, wait, &found, err);
    bool no_info = err->code == 400 || err->code == 404 || err->code == 405 || err->code == 501;
    if (status != SPN_STATUS_OK && !no_info) goto done;
    const char *at = found.commit[0] ? found.commit : revision;
    SPN_TRY_GOTO(api_url(storage, repo, "tree", at, "?recursive=true", &url, err));
    status = list_pages(storage, url.data, what, wait, &found, err);
    if (status == SPN_STATUS_MODEL_NOT_FOUND && found.commit[0]) {
        /* A mirror that knows its branches only. */
        found.commit[0] = '\0';
        spn_buf_clear(&url);
        SPN_TRY_GOTO(api_url(storage, repo, "tree", revision, "?recursive=true", &url, err));
        status = list_pages(storage, url.data, what, wait, &found, err);
    }
    if (status == SPN_STATUS_MODEL_NOT_FOUND && err->code == 404)
        status = tell_missing(storage, repo, revision, what, wait, err);
    if (status != SPN_STATUS_OK) goto done;
    *listing = found;
    found = (spn_hub_listing){0};
done:
    spn_hub_listing_clear(&found);
    spn_buf_free(&url);
    return status;
}

/* ---- where a file is ---- */

typedef struct probe {
    spn_http_head *head;
    spn_buf body;
    const spn_http_wait *wait;
} probe;

static bool probe_head(int status, const spn_http_header *headers, size_t n, void *user) {
    probe *p = user;
    spn_http_head_read(p->head, status, headers, n, spn_time_unix());
    /* The file itself would follow: nothing of it is wanted here. */
    return status >= 300;
}

static bool probe_body(const void *bytes, size_t n_bytes, void *user) {
    probe *p = user;
    return spn_buf_append(&p->body, bytes, spn_min_size(n_bytes, p->body.max - p->body.len)) &&
           p->body.len < p->body.max;
}

static bool probe_go_on(void *user) {
    const probe *p = user;
    return p->wait == NULL || p->wait->go_on == NULL || p->wait->go_on(p->wait->user);
}

/* HEAD, or a GET of one byte where a server knows no HEAD. The end by our own wish is no failure.
 */
static spn_status probe_once(spn_storage *storage, const char *url, bool by_get, probe *p,
                             spn_error *err) {
    const spn_http_sink sink = {probe_head, probe_body, probe_go_on, p};
    const spn_http_header range = {"Range", "bytes=0-0"};
    *p->head = (spn_http_head){.wait_s = -1};
    spn_buf_clear(&p->body);
    spn_status status = spn_http_once(storage, by_get ? "GET" : "HEAD", url, &range, by_get ? 1 : 0,
                                      false, &sink, err);
    bool ours = status == SPN_STATUS_CANCELLED && p->head->status != 0 && probe_go_on(p);
    return ours ? SPN_STATUS_OK : status;
}

static bool is_redirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void keep_facts(const spn_http_head *head, spn_hub_place *place) {
    if (spn_is_sha256(head->linked_etag) && place->sha256[0] == '\0')
        for (size_t i = 0; i < 64; i++) place->sha256[i] = spn_ascii_lower(head->linked_etag[i]);
    if (head->repo_commit[0] && place->commit[0] == '\0')
        memcpy(place->commit, head->repo_commit, sizeof place->commit);
    if (head->has_linked_size) place->has_size = true, place->size = head->linked_size;
}

/* Follows redirects as far as they stay at the endpoint; the first that leaves it is the place. */
static spn_status resolve_once(spn_storage *storage, const char *url, probe *p,
                               spn_hub_place *place, spn_error *err) {
    char *next = spn_alloc(SPN_URL_MAX);
    if (next == NULL) return SPN_NO_MEMORY(err, "an address");
    spn_status status = SPN_STATUS_OK;
    bool by_get = false;
    snprintf(place->url, sizeof place->url, "%s", url);
    for (int n = 0;;) {
        status = probe_once(storage, place->url, by_get, p, err);
        if (status != SPN_STATUS_OK) break;
        int code = p->head->status;
        /* Not every server knows HEAD, not every one says so; and a refusal has words in GET. */
        if (!by_get && code >= 400 && (code == 501 || !spn_http_is_passing(code))) {
            by_get = true;
            continue;
        }
        keep_facts(p->head, place);
        if (!is_redirect(code)) break;
        if (++n > MAX_REDIRECTS || !spn_url_join(place->url, p->head->location, next)) {
            status = spn_fail_code(err, SPN_STATUS_HTTP, code, "%.200s redirects %s", url,
                                   n > MAX_REDIRECTS ? "without an end"
                                                     : "to an address that makes no sense");
            break;
        }
        if (spn_ascii_starts(place->url, "https:") && !spn_ascii_starts(next, "https:")) {
            status = spn_fail_code(err, SPN_STATUS_HTTP, code,
                                   "%.200s redirects from TLS to an open connection: refused", url);
            break;
        }
        char origin[300];
        memcpy(place->url, next, strlen(next) + 1);
        if (!spn_url_origin(next, origin, sizeof origin) ||
            strcmp(origin, storage->endpoint_origin) != 0)
            break;
    }
    spn_free(next);
    return status;
}

spn_status spn_hub_resolve(spn_storage *storage, const char *repo, const char *commit,
                           const char *path, const spn_http_wait *wait, spn_hub_place *place,
                           spn_error *err) {
    char what[700];
    spn_error local = {0};
    if (err == NULL) err = &local;
    snprintf(what, sizeof what, "%.200s/%.400s", repo, path);
    spn_buf url = SPN_BUF(SPN_URL_MAX - 1);
    probe p = {.head = spn_alloc_zeroed(1, sizeof *p.head), .body = SPN_BUF(4096), .wait = wait};
    spn_status status = SPN_STATUS_OK;
    spn_buf_printf(&url, "%s/%s/resolve/", storage->endpoint, repo);
    spn_url_append(&url, commit, false);
    spn_buf_append_char(&url, '/');
    spn_url_append(&url, path, true);
    if (p.head == NULL || url.failed) status = SPN_NO_MEMORY(err, "an address");
    for (uint32_t n_failed = 0; status == SPN_STATUS_OK;) {
        *err = (spn_error){0};
        *place = (spn_hub_place){0};
        status = resolve_once(storage, url.data, &p, place, err);
        bool passing = status == SPN_STATUS_OK ? spn_http_is_passing(p.head->status)
                                               : (status == SPN_STATUS_NETWORK && err->code >= 0) ||
                                                     status == SPN_STATUS_TIMEOUT;
        if (!passing || ++n_failed > storage->max_retries) break;
        spn_http_head *said = status == SPN_STATUS_OK ? p.head : NULL;
        spn_status failed = status;
        status = SPN_STATUS_OK;
        if (spn_http_pause(storage, n_failed, said, wait, err)) continue;
        status = err->status == SPN_STATUS_CANCELLED ? SPN_STATUS_CANCELLED : failed;
        break;
    }
    if (status == SPN_STATUS_OK && p.head->status >= 400)
        status = spn_http_fail(storage, p.head, p.body.data, what, err);
    spn_free(p.head);
    spn_buf_free(&p.body);
    spn_buf_free(&url);
    return status;
}

/* ---- search ---- */

spn_status spn_storage_search(spn_storage *storage, const char *words, uint32_t limit,
                              spn_search_list *list, spn_error *err) {
    if (storage == NULL || words == NULL || list == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "search: an argument is missing");
    spn_buf url = SPN_BUF(SPN_URL_MAX), body = SPN_BUF(MAX_PAGE);
    spn_status status = SPN_STATUS_OK;
    spn_buf_printf(&url, "%s/api/models?search=", storage->endpoint);
    spn_url_append(&url, words, false);
    spn_buf_printf(&url, "&filter=gguf&sort=downloads&direction=-1&limit=%u",
                   limit == 0    ? 20
                   : limit > 100 ? 100
                                 : limit);
    if (url.failed) status = SPN_FAIL(err, INVALID_ARGUMENT, "the words to search are too long");
    if (status != SPN_STATUS_OK) goto done;
    SPN_TRY_GOTO(spn_http_get(storage, url.data, MAX_PAGE, &body, NULL, "the search", NULL, err));
    SPN_TRY_GOTO(spn_hub_parse_search(body.data ? body.data : "", body.len, list, err));
done:
    spn_buf_free(&url);
    spn_buf_free(&body);
    return status;
}

void spn_search_list_clear(spn_search_list *list) {
    if (list == NULL) return;
    for (size_t i = 0; i < list->n; i++) {
        spn_free(list->items[i].repo);
        spn_free(list->items[i].modified);
    }
    spn_free(list->items);
    *list = (spn_search_list){0};
}
