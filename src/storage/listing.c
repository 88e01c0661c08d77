/* listing.c - the hub's JSON: listings, a repository's facts, search results.
 * SPDX-License-Identifier: Apache-2.0
 *
 * An item of /tree: {"type":"file","path","size","oid" (git's SHA-1),"lfs":{"oid" (the SHA-256),
 * "size"}}. A listing is hostile until proved otherwise: items of the wrong form are errors, paths
 * that may not stand in a store are passed over.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "storage/store.h"

#define MAX_FILES 100000u

void spn_hub_listing_clear(spn_hub_listing *listing) {
    if (listing == NULL) return;
    for (size_t i = 0; i < listing->n; i++) spn_free(listing->files[i].path);
    spn_free(listing->files);
    *listing = (spn_hub_listing){0};
}

static spn_status parse(const char *json, size_t n_bytes, json_t **out, spn_error *err) {
    json_error_t problem;
    *out = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &problem);
    if (*out != NULL) return SPN_STATUS_OK;
    if (json_error_code(&problem) == json_error_out_of_memory)
        return SPN_NO_MEMORY(err, "the hub's answer");
    size_t blanks = 0; /* the bytes need not end in a NUL */
    while (blanks < n_bytes && strchr(" \r\n\t", json[blanks]) != NULL && json[blanks]) blanks++;
    const char *hint = blanks < n_bytes && json[blanks] == '<'
                           ? "; it is a web page: is there a portal or a proxy on the way?"
                           : "";
    return SPN_FAIL(err, JSON, "the hub's answer is no JSON (line %d: %.100s)%s", problem.line,
                    problem.text, hint);
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static spn_status add_file(spn_hub_listing *listing, size_t *cap, const char *path, uint64_t size,
                           const char *sha256, const char *git_sha1, spn_error *err) {
    if (listing->n >= MAX_FILES)
        return SPN_FAIL(err, API, "the repository has more than %u files", MAX_FILES);
    if (listing->n == *cap) {
        size_t more = *cap ? *cap * 2 : 64;
        spn_hub_file *files = spn_realloc_array(listing->files, more, sizeof *files);
        if (files == NULL) return SPN_NO_MEMORY(err, "a listing");
        listing->files = files;
        *cap = more;
    }
    spn_hub_file *file = &listing->files[listing->n];
    *file = (spn_hub_file){.path = spn_strdup(path), .size = size};
    if (file->path == NULL) return SPN_NO_MEMORY(err, "a listing");
    if (spn_is_sha256(sha256))
        for (size_t i = 0; i < 64; i++) file->sha256[i] = spn_ascii_lower(sha256[i]);
    else if (strlen(git_sha1) == 40 && spn_is_hex(git_sha1, 40) && strspn(git_sha1, "0") < 40)
        for (size_t i = 0; i < 40; i++) file->git_sha1[i] = spn_ascii_lower(git_sha1[i]);
    listing->n++;
    return SPN_STATUS_OK;
}

static spn_status add_item(spn_hub_listing *listing, size_t *cap, const json_t *item,
                           spn_error *err) {
    if (!json_is_object(item)) return SPN_FAIL(err, API, "the listing holds no file entries");
    const char *type = text_of(item, "type"), *path = text_of(item, "path");
    if (type[0] && strcmp(type, "file") != 0) return SPN_STATUS_OK;
    if (path[0] == '\0') return SPN_FAIL(err, API, "a file of the listing has no path");
    const json_t *lfs = json_object_get(item, "lfs"), *size = json_object_get(lfs, "size");
    if (!json_is_integer(size)) size = json_object_get(item, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return SPN_FAIL(err, API, "the file %.200s of the listing has no size", path);
    if (spn_path_problem(path) != NULL) return SPN_STATUS_OK;
    const char *sha256 = text_of(lfs, "oid");
    if (sha256[0] == '\0') sha256 = text_of(lfs, "sha256"); /* as /api/models/REPO?blobs=true */
    if (strncmp(sha256, "sha256:", 7) == 0) sha256 += 7;
    /* Beside `lfs` the oid is the pointer's. */
    const char *git_sha1 = lfs != NULL && !json_is_null(lfs) ? "" : text_of(item, "oid");
    return add_file(listing, cap, path, (uint64_t)json_integer_value(size), sha256, git_sha1, err);
}

spn_status spn_hub_parse_tree(const char *json, size_t n_bytes, spn_hub_listing *listing,
                              spn_error *err) {
    json_t *root;
    SPN_TRY(parse(json, n_bytes, &root, err));
    spn_status status = SPN_STATUS_OK;
    /* Pages are added to one array; what it has room for is what it was grown to. */
    size_t cap = 0;
    for (cap = listing->n ? 64 : 0; cap && cap < listing->n;) cap *= 2;
    if (!json_is_array(root)) {
        const char *said = text_of(root, "error");
        status = said[0] ? SPN_FAIL(err, API, "the hub says: %.300s", said)
                         : SPN_FAIL(err, API, "the listing is no list");
    }
    for (size_t i = 0; status == SPN_STATUS_OK && i < json_array_size(root); i++)
        status = add_item(listing, &cap, json_array_get(root, i), err);
    json_decref(root);
    return status;
}

spn_status spn_hub_parse_info(const char *json, size_t n_bytes, spn_hub_listing *listing,
                              spn_error *err) {
    json_t *root;
    SPN_TRY(parse(json, n_bytes, &root, err));
    spn_status status = SPN_STATUS_OK;
    if (json_is_object(root)) {
        const char *sha = text_of(root, "sha");
        size_t n = strlen(sha);
        listing->commit[0] = '\0';
        if ((n == 40 || n == 64) && spn_is_hex(sha, n)) memcpy(listing->commit, sha, n + 1);
        const json_t *gated = json_object_get(root, "gated");
        listing->gated = json_is_true(gated) || json_is_string(gated);
    } else {
        status = SPN_FAIL(err, API, "the hub's facts about the repository are no object");
    }
    json_decref(root);
    return status;
}

static uint64_t count_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : 0;
    return n > 0 ? (uint64_t)n : 0;
}

static spn_status add_hit(spn_search_hit *hit, const json_t *item, const char *id, spn_error *err) {
    const json_t *gated = json_object_get(item, "gated");
    *hit = (spn_search_hit){
        .repo = spn_strdup(id),
        .modified = spn_strdup(text_of(item, "lastModified")),
        .downloads = count_of(item, "downloads"),
        .likes = count_of(item, "likes"),
        .gated = json_is_true(gated) || json_is_string(gated),
    };
    return hit->repo && hit->modified ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "search results");
}

spn_status spn_hub_parse_search(const char *json, size_t n_bytes, spn_search_list *list,
                                spn_error *err) {
    json_t *root;
    SPN_TRY(parse(json, n_bytes, &root, err));
    spn_status status = SPN_STATUS_OK;
    spn_search_list found = {0};
    size_t n = json_array_size(root);
    if (!json_is_array(root)) status = SPN_FAIL(err, API, "the search results are no list");
    if (n > 1000) n = 1000;
    found.items = spn_alloc_zeroed(n, sizeof *found.items);
    if (found.items == NULL) status = SPN_NO_MEMORY(err, "search results");
    for (size_t i = 0; status == SPN_STATUS_OK && i < n; i++) {
        const json_t *item = json_array_get(root, i);
        const char *id = text_of(item, "id");
        if (id[0] == '\0') id = text_of(item, "modelId");
        if (spn_repo_problem(id) == NULL) status = add_hit(&found.items[found.n++], item, id, err);
    }
    json_decref(root);
    if (status == SPN_STATUS_OK)
        *list = found;
    else
        spn_search_list_clear(&found);
    return status;
}
