/* manifest.c - what is written down beside a model's file. SPDX-License-Identifier: Apache-2.0
 *
 * JSON, so that people and other programs can read it:
 *
 *     {"format": 1, "source": "hub", "repo": "OWNER/REPO", "revision": "main", "commit": "...",
 *      "path": "FILE.gguf", "size": 123, "sha256": "...", "known_id": "qwen3:8b",
 *      "parameters": "8.2B", "modified_ns": 1, "installed_at": 1, "verified_at": 1}
 *
 * It may have been edited or damaged: it is checked like any input from outside, and what it says
 * of a place is never used as one.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "storage/store.h"

#define FORMAT_VERSION 1
#define MAX_MANIFEST ((size_t)256 << 10)

void spn_manifest_clear(spn_manifest *m) {
    if (m == NULL) return;
    spn_free(m->repo);
    spn_free(m->revision);
    spn_free(m->commit);
    spn_free(m->path);
    spn_free(m->source);
    spn_free(m->known_id);
    spn_free(m->parameters);
    *m = (spn_manifest){0};
}

/* A text; absent is empty. Control characters would reach a terminal: refused. */
static spn_status take_text(const json_t *root, const char *key, char **out, spn_error *err) {
    const json_t *value = json_object_get(root, key);
    if (value != NULL && !json_is_string(value))
        return SPN_FAIL(err, FORMAT, "the manifest's %s is no text", key);
    const char *text = value != NULL ? json_string_value(value) : "";
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return SPN_FAIL(err, FORMAT, "the manifest's %s holds a control character", key);
    if (strlen(text) >= SPN_REFERENCE_MAX)
        return SPN_FAIL(err, FORMAT, "the manifest's %s is too long", key);
    *out = spn_strdup(text);
    return *out != NULL ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "a manifest");
}

static spn_status take_number(const json_t *root, const char *key, int64_t *out, spn_error *err) {
    const json_t *value = json_object_get(root, key);
    if (value == NULL) return SPN_STATUS_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return SPN_FAIL(err, FORMAT, "the manifest's %s is no number of that kind", key);
    *out = json_integer_value(value);
    return SPN_STATUS_OK;
}

static spn_status take_all(const json_t *root, spn_manifest *m, spn_error *err) {
    char *sha256 = NULL;
    int64_t size = -1, format = 0;
    spn_status status;
    SPN_TRY(take_number(root, "format", &format, err));
    if (format != FORMAT_VERSION)
        return SPN_FAIL(err, FORMAT, "the manifest has format %lld, this program knows %d",
                        (long long)format, FORMAT_VERSION);
    SPN_TRY(take_text(root, "repo", &m->repo, err));
    SPN_TRY(take_text(root, "revision", &m->revision, err));
    SPN_TRY(take_text(root, "commit", &m->commit, err));
    SPN_TRY(take_text(root, "path", &m->path, err));
    SPN_TRY(take_text(root, "source", &m->source, err));
    SPN_TRY(take_text(root, "known_id", &m->known_id, err));
    SPN_TRY(take_text(root, "parameters", &m->parameters, err));
    SPN_TRY(take_number(root, "size", &size, err));
    SPN_TRY(take_number(root, "modified_ns", &m->modified_ns, err));
    SPN_TRY(take_number(root, "installed_at", &m->installed_at, err));
    SPN_TRY(take_number(root, "verified_at", &m->verified_at, err));
    SPN_TRY(take_text(root, "sha256", &sha256, err));
    status = SPN_STATUS_OK;
    if (!spn_is_sha256(sha256))
        status = SPN_FAIL(err, FORMAT, "the manifest's sha256 is none");
    else if (size < 0)
        status = SPN_FAIL(err, FORMAT, "the manifest has no size");
    else if (m->repo[0] && spn_repo_problem(m->repo) != NULL)
        status = SPN_FAIL(err, FORMAT, "the manifest's repo is none");
    else if (m->path[0] && spn_path_problem(m->path) != NULL)
        status = SPN_FAIL(err, FORMAT, "the manifest's path is none of a repository");
    else if (m->revision[0] && spn_revision_problem(m->revision) != NULL)
        status = SPN_FAIL(err, FORMAT, "the manifest's revision is none");
    else
        for (size_t i = 0; i < 65; i++) m->sha256[i] = spn_ascii_lower(sha256[i]);
    m->size = (uint64_t)size;
    spn_free(sha256);
    return status;
}

spn_status spn_manifest_parse(const char *json, size_t n_bytes, spn_manifest *out, spn_error *err) {
    json_error_t problem;
    spn_manifest m = {0};
    json_t *root = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &problem);
    if (root == NULL)
        return json_error_code(&problem) == json_error_out_of_memory
                   ? SPN_NO_MEMORY(err, "a manifest")
                   : SPN_FAIL(err, JSON, "the manifest is no JSON: line %d: %.100s", problem.line,
                              problem.text);
    spn_status status = json_is_object(root) ? take_all(root, &m, err)
                                             : SPN_FAIL(err, FORMAT, "the manifest is no object");
    json_decref(root);
    if (status == SPN_STATUS_OK)
        *out = m;
    else
        spn_manifest_clear(&m);
    return status;
}

static spn_status manifest_path(const char *path, spn_buf *out, spn_error *err) {
    *out = SPN_BUF(0);
    spn_buf_printf(out, "%s%s", path, SPN_MANIFEST_SUFFIX);
    return out->failed ? SPN_NO_MEMORY(err, "a path") : SPN_STATUS_OK;
}

spn_status spn_manifest_read(const char *path, spn_manifest *out, spn_error *err) {
    spn_buf name;
    char *text = NULL;
    size_t n_bytes;
    spn_status status;
    SPN_TRY_GOTO(manifest_path(path, &name, err));
    SPN_TRY_GOTO(spn_file_read(name.data, MAX_MANIFEST, &text, &n_bytes, err));
    SPN_TRY_GOTO(spn_manifest_parse(text, n_bytes, out, err));
done:
    spn_buf_free(&name);
    spn_free(text);
    return status;
}

static bool put_text(json_t *root, const char *key, const char *text) {
    return text == NULL || text[0] == '\0' ||
           json_object_set_new(root, key, json_string(text)) == 0;
}

static bool put_number(json_t *root, const char *key, int64_t number) {
    return json_object_set_new(root, key, json_integer(number)) == 0;
}

spn_status spn_manifest_write(const char *path, const spn_manifest *m, spn_error *err) {
    spn_buf name;
    char *text = NULL;
    spn_status status = SPN_STATUS_OK;
    json_t *root = json_object();
    bool ok = root != NULL && put_number(root, "format", FORMAT_VERSION) &&
              put_text(root, "source", m->source) && put_text(root, "repo", m->repo) &&
              put_text(root, "revision", m->revision) && put_text(root, "commit", m->commit) &&
              put_text(root, "path", m->path) && put_number(root, "size", (int64_t)m->size) &&
              put_text(root, "sha256", m->sha256) && put_text(root, "known_id", m->known_id) &&
              put_text(root, "parameters", m->parameters) &&
              put_number(root, "modified_ns", m->modified_ns) &&
              put_number(root, "installed_at", m->installed_at) &&
              put_number(root, "verified_at", m->verified_at);
    if (ok) text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    SPN_TRY_GOTO(manifest_path(path, &name, err));
    if (text == NULL)
        status = SPN_NO_MEMORY(err, "a manifest");
    else
        status = spn_file_write(name.data, text, strlen(text), err);
done:
    spn_buf_free(&name);
    /* json_dumps allocates with the C library's malloc; jansson 2.13 has no free of its own but
     * the one it was given. */
    json_malloc_t json_malloc;
    json_free_t json_free;
    json_get_alloc_funcs(&json_malloc, &json_free);
    if (text != NULL) json_free(text);
    return status;
}

bool spn_manifest_is_fresh(const spn_manifest *manifest, const char *path) {
    spn_path_info info;
    return spn_path_look(path, &info) && info.is_file && info.n_bytes == manifest->size &&
           info.modified_ns == manifest->modified_ns;
}
