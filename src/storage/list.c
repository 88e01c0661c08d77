/* list.c - what is in the store, and which of it a reference means.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The folder is the truth: there is no index that could disagree with it. Files are collected,
 * sorted by the model they belong to (a split model's files by its first part's name), and each
 * run of equal keys becomes one model.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/store.h"

typedef struct found_file {
    char *key;  /* the model's name */
    char *name; /* this file's, without ".part" */
    bool is_part;
    uint64_t size;
} found_file;

typedef struct found_files {
    found_file *items;
    size_t n, cap;
    spn_status status;
} found_files;

static void free_files(found_files *files) {
    for (size_t i = 0; i < files->n; i++) {
        spn_free(files->items[i].key);
        spn_free(files->items[i].name);
    }
    spn_free(files->items);
}

static bool collect(const char *name, const spn_path_info *info, void *user) {
    found_files *files = user;
    bool is_part = spn_ascii_ends(name, ".gguf" SPN_PART_SUFFIX);
    if (!is_part && !spn_name_is_gguf(name)) return true;
    if (files->n == files->cap) {
        size_t cap = files->cap ? files->cap * 2 : 32;
        found_file *items = spn_realloc_array(files->items, cap, sizeof *items);
        if (items == NULL) goto no_memory;
        files->items = items;
        files->cap = cap;
    }
    found_file *file = &files->items[files->n++];
    size_t n = strlen(name) - (is_part ? strlen(SPN_PART_SUFFIX) : 0);
    *file = (found_file){.name = spn_memdup_text(name, n), .is_part = is_part};
    file->size = info->n_bytes;
    spn_split split;
    if (file->name != NULL && spn_split_parse(file->name, &split))
        file->key = spn_split_name(file->name, &split, 1);
    else if (file->name != NULL)
        file->key = spn_strdup(file->name);
    if (file->key != NULL) return true;
no_memory:
    files->status = SPN_STATUS_NO_MEMORY;
    return false;
}

static int by_key(const void *a, const void *b) {
    const found_file *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    if (order == 0) order = strcmp(x->name, y->name);
    return order != 0 ? order : (int)x->is_part - (int)y->is_part;
}

/* ---- a model from its files ---- */

void spn_stored_model_clear(spn_stored_model *m) {
    if (m == NULL) return;
    char *texts[] = {m->name,     m->path,   m->parameters, m->digest,  m->repo,
                     m->revision, m->commit, m->source,     m->known_id};
    for (size_t i = 0; i < SPN_COUNT(texts); i++) spn_free(texts[i]);
    *m = (spn_stored_model){0};
}

void spn_stored_list_clear(spn_stored_list *list) {
    if (list == NULL) return;
    for (size_t i = 0; i < list->n; i++) spn_stored_model_clear(&list->items[i]);
    spn_free(list->items);
    *list = (spn_stored_list){0};
}

const char *spn_stored_state_name(spn_stored_state state) {
    static const char *const names[] = {"complete", "partial", "unverified"};
    return (unsigned)state < SPN_COUNT(names) ? names[state] : "unknown";
}

/* "OWNER/REPO" of a name that starts so, else "". */
static char *repo_of(const char *name) {
    const char *slash = strchr(name, '/');
    const char *end = slash != NULL ? strchr(slash + 1, '/') : NULL;
    char *repo = spn_memdup_text(name, end != NULL ? (size_t)(end - name) : 0);
    if (repo != NULL && repo[0] && spn_repo_problem(repo) != NULL) repo[0] = '\0';
    return repo;
}

static char *take_or_empty(char **text) {
    char *taken = *text;
    *text = NULL;
    return taken != NULL ? taken : spn_strdup("");
}

static spn_status fill_model(spn_storage *storage, const char *name, spn_manifest *m,
                             spn_stored_model *out, spn_error *err) {
    bool in_repo = m->repo != NULL && m->repo[0];
    *out = (spn_stored_model){
        .name = spn_strdup(name),
        .quantization = spn_extract_quantization(name),
        .installed_at = m->installed_at,
        .verified_at = m->verified_at,
        .digest = spn_strdup(m->sha256),
        .repo = in_repo ? take_or_empty(&m->repo) : repo_of(name),
        .revision = take_or_empty(&m->revision),
        .commit = take_or_empty(&m->commit),
        .source = take_or_empty(&m->source),
        .known_id = take_or_empty(&m->known_id),
        .parameters = take_or_empty(&m->parameters),
    };
    SPN_TRY(spn_store_path(storage, name, "", &out->path, err));
    bool ok = out->name && out->digest && out->repo && out->revision && out->commit &&
              out->source && out->known_id && out->parameters;
    return ok ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "a model");
}

/* Bytes that an unfinished file has, and its whole size; both 0 when its map cannot be read. */
static void look_at_part(const spn_storage *storage, const char *name, uint64_t *n_done,
                         uint64_t *size) {
    char *path;
    spn_blocks map;
    *n_done = *size = 0;
    if (spn_store_path(storage, name, SPN_MAP_SUFFIX, &path, NULL) != SPN_STATUS_OK) return;
    if (spn_blocks_open(&map, path, false, NULL) == SPN_STATUS_OK) {
        *n_done = spn_blocks_done_bytes(&map);
        *size = map.size;
        spn_blocks_close(&map);
    }
    spn_free(path);
}

/* The files [0, n) have one key. */
static spn_status make_model(spn_storage *storage, const found_file *files, size_t n,
                             spn_stored_model *out, spn_error *err) {
    spn_manifest manifest = {0};
    spn_split split = {0};
    bool is_split = spn_split_parse(files[0].key, &split);
    size_t n_want = is_split ? split.count : 1, n_here = 0, n_known = 0;
    uint64_t size = 0, n_done = 0;
    for (size_t i = 0; i < n; i++) {
        if (files[i].is_part) {
            uint64_t part_done, part_size;
            bool also_final = i > 0 && strcmp(files[i].name, files[i - 1].name) == 0;
            if (also_final) continue; /* a newer one is on its way; the old one counts */
            look_at_part(storage, files[i].name, &part_done, &part_size);
            size += part_size ? part_size : files[i].size;
            n_done += part_done;
            continue;
        }
        char *path;
        SPN_TRY(spn_store_path(storage, files[i].name, "", &path, err));
        spn_manifest own = {0};
        if (spn_manifest_read(path, &own, NULL) == SPN_STATUS_OK) n_known++;
        spn_free(path);
        if (manifest.source == NULL) {
            manifest = own;
        } else {
            spn_manifest_clear(&own);
        }
        n_here++;
        size += files[i].size, n_done += files[i].size;
    }
    spn_status status = fill_model(storage, files[0].key, &manifest, out, err);
    out->size = size;
    out->n_done = n_done;
    out->n_files = n_want;
    out->state = n_here < n_want    ? SPN_STORED_PARTIAL
                 : n_known < n_want ? SPN_STORED_UNVERIFIED
                                    : SPN_STORED_COMPLETE;
    spn_manifest_clear(&manifest);
    if (status != SPN_STATUS_OK) spn_stored_model_clear(out);
    return status;
}

spn_status spn_storage_list_models(spn_storage *storage, spn_stored_list *list, spn_error *err) {
    if (storage == NULL || list == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "list: an argument is missing");
    found_files files = {0};
    spn_stored_list all = {0};
    spn_status status = spn_store_walk(storage, collect, &files, err);
    if (files.status != SPN_STATUS_OK) status = SPN_NO_MEMORY(err, "the list of models");
    if (status != SPN_STATUS_OK) goto done;
    if (files.n > 0) qsort(files.items, files.n, sizeof *files.items, by_key);
    all.items = spn_alloc_zeroed(files.n, sizeof *all.items);
    if (all.items == NULL) status = SPN_NO_MEMORY(err, "the list of models");
    for (size_t i = 0, end; status == SPN_STATUS_OK && i < files.n; i = end) {
        for (end = i + 1; end < files.n && strcmp(files.items[i].key, files.items[end].key) == 0;)
            end++;
        status = make_model(storage, &files.items[i], end - i, &all.items[all.n], err);
        if (status == SPN_STATUS_OK) all.n++;
    }
done:
    free_files(&files);
    if (status == SPN_STATUS_OK)
        *list = all;
    else
        spn_stored_list_clear(&all);
    return status;
}

/* ---- which one is meant ---- */

static const char *base_of(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash != NULL ? slash + 1 : name;
}

static bool is_companion(const char *name) { return spn_ascii_starts(base_of(name), "mmproj"); }

/* The path in the repository: what follows OWNER/REPO/ in the name. */
static const char *path_in_repo(const spn_stored_model *m) {
    size_t n = strlen(m->repo);
    return n > 0 && strncmp(m->name, m->repo, n) == 0 && m->name[n] == '/' ? m->name + n + 1
                                                                           : m->name;
}

static bool is_curated(const spn_stored_model *m, const spn_known_model *known,
                       spn_quantization quantization) {
    if (spn_ascii_equal(m->known_id, known->id)) return true;
    for (size_t i = 0; i < known->n_files; i++) {
        const char *repo = known->files[i].repo ? known->files[i].repo : known->hf_repo;
        if (!spn_ascii_equal(m->repo, repo)) continue;
        if (strcmp(path_in_repo(m), known->files[i].filename) == 0) return true;
        if (quantization != SPN_QUANTIZATION_NONE && m->quantization == quantization) return true;
    }
    return false;
}

static bool is_named(const spn_stored_model *m, const spn_resolved_model *r) {
    size_t n = strlen(r->path);
    const char *base = base_of(m->name);
    if (strcmp(m->name, r->path) == 0 || strcmp(base, r->path) == 0) return true;
    bool stem = strncmp(base, r->path, n) == 0 && spn_ascii_equal(base + n, ".gguf");
    bool full = strncmp(m->name, r->path, n) == 0 && spn_ascii_equal(m->name + n, ".gguf");
    return stem || full;
}

static bool is_in_repo(const spn_stored_model *m, const spn_resolved_model *r) {
    if (r->repo[0] == '\0' || !spn_ascii_equal(m->repo, r->repo)) return false;
    if (r->file[0] == '\0') return !is_companion(m->name);
    if (strcmp(path_in_repo(m), r->file) == 0) return true;
    spn_split a, b; /* any part of a split model stands for it */
    return spn_split_parse(r->file, &a) && spn_split_parse(path_in_repo(m), &b) &&
           a.count == b.count && a.prefix == b.prefix &&
           strncmp(r->file, path_in_repo(m), a.prefix) == 0;
}

static bool is_meant(const spn_stored_model *m, const spn_resolved_model *r) {
    if (r->quantization != SPN_QUANTIZATION_NONE && m->quantization != r->quantization)
        return false;
    if (r->revision[0] && strcmp(m->revision, r->revision) != 0 &&
        strncmp(m->commit, r->revision, strlen(r->revision)) != 0)
        return false;
    switch (r->kind) {
    case SPN_REFERENCE_CURATED:
        return !is_companion(m->name) && is_curated(m, r->model, r->quantization);
    case SPN_REFERENCE_HUGGINGFACE:
        return is_in_repo(m, r);
    case SPN_REFERENCE_STORED:
        return is_named(m, r) || is_in_repo(m, r);
    default:
        return false;
    }
}

static bool is_better(const spn_stored_model *a, const spn_stored_model *b) {
    bool a_whole = a->state != SPN_STORED_PARTIAL, b_whole = b->state != SPN_STORED_PARTIAL;
    if (a_whole != b_whole) return a_whole;
    return spn_quantization_rank(a->quantization) > spn_quantization_rank(b->quantization);
}

static spn_status fail_absent(const char *reference, const spn_stored_model *partial,
                              spn_error *err) {
    if (partial != NULL)
        return SPN_FAIL(err, MODEL_NOT_FOUND,
                        "%s is not complete in the store (%.0f of %.0f MB): pull it to go on",
                        reference, (double)partial->n_done / 1e6, (double)partial->size / 1e6);
    return SPN_FAIL(err, MODEL_NOT_FOUND, "%s is not in the store: pull it first", reference);
}

spn_status spn_store_find(spn_storage *storage, const char *reference,
                          const spn_resolved_model *resolved, bool partial_too,
                          spn_stored_model *model, spn_error *err) {
    spn_stored_list list;
    SPN_TRY(spn_storage_list_models(storage, &list, err));
    spn_stored_model *best = NULL, *partial = NULL;
    for (size_t i = 0; i < list.n; i++) {
        spn_stored_model *m = &list.items[i];
        if (!is_meant(m, resolved)) continue;
        if (m->state == SPN_STORED_PARTIAL) partial = m;
        if (m->state == SPN_STORED_PARTIAL && !partial_too) continue;
        if (best == NULL || is_better(m, best)) best = m;
    }
    spn_status status = SPN_STATUS_OK;
    if (best != NULL) {
        *model = *best;
        *best = (spn_stored_model){0};
    } else {
        status = fail_absent(reference, partial, err);
    }
    spn_stored_list_clear(&list);
    return status;
}

spn_status spn_store_count(spn_storage *storage, const spn_resolved_model *resolved, size_t *n,
                           spn_error *err) {
    spn_stored_list list;
    SPN_TRY(spn_storage_list_models(storage, &list, err));
    *n = 0;
    for (size_t i = 0; i < list.n; i++) *n += is_meant(&list.items[i], resolved);
    spn_stored_list_clear(&list);
    return SPN_STATUS_OK;
}

static spn_status find(spn_storage *storage, const char *reference, bool partial_too,
                       spn_stored_model *model, spn_error *err) {
    spn_resolved_model r;
    if (storage == NULL || reference == NULL || model == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "an argument is missing");
    SPN_TRY(spn_resolve_model(reference, &r, err));
    if (r.kind == SPN_REFERENCE_PATH)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.200s is a path, not the name of a stored model",
                        reference);
    return spn_store_find(storage, reference, &r, partial_too, model, err);
}

spn_status spn_storage_model_info(spn_storage *storage, const char *reference,
                                  spn_stored_model *model, spn_error *err) {
    return find(storage, reference, true, model, err);
}

bool spn_storage_exists(spn_storage *storage, const char *reference) {
    spn_stored_model model;
    if (find(storage, reference, false, &model, NULL) != SPN_STATUS_OK) return false;
    spn_stored_model_clear(&model);
    return true;
}

spn_status spn_storage_locate(spn_storage *storage, const char *reference, char **path,
                              spn_error *err) {
    spn_resolved_model r;
    spn_stored_model model = {0};
    if (storage == NULL || reference == NULL || path == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "locate: an argument is missing");
    SPN_TRY(spn_resolve_model(reference, &r, err));
    bool is_path = r.kind == SPN_REFERENCE_PATH;
    spn_status status = SPN_STATUS_MODEL_NOT_FOUND;
    if (!is_path) status = spn_store_find(storage, reference, &r, false, &model, err);
    if (status == SPN_STATUS_OK) {
        *path = model.path;
        model.path = NULL;
        spn_stored_model_clear(&model);
        return SPN_STATUS_OK;
    }
    /* A file of the working folder may look like a stored name. */
    bool may_be_file = is_path || (r.kind == SPN_REFERENCE_STORED && r.revision[0] == '\0');
    if (status != SPN_STATUS_MODEL_NOT_FOUND || !may_be_file) return status;
    if (!spn_path_exists(reference) || spn_path_is_dir(reference))
        return is_path ? SPN_FAIL(err, MODEL_NOT_FOUND, "there is no file %s", reference) : status;
    char *copy = spn_strdup(reference);
    if (copy == NULL) return SPN_NO_MEMORY(err, "a path");
    *path = copy;
    return SPN_STATUS_OK;
}
