/* import.c - taking files over from elsewhere: a path, the Hugging Face cache, Ollama's store.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The Hugging Face cache: hub/models--OWNER--REPO/blobs/SHA256, and snapshots/COMMIT/PATH, which
 * are links to the blobs. Ollama: manifests/HOST/NAMESPACE/MODEL/TAG, JSON whose layer of type
 * application/vnd.ollama.image.model names blobs/sha256-HEX. Both name a file by its SHA-256, so
 * a model can be found and verified there without asking anybody. Both are only read.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/store.h"

/* ---- one file into the store ---- */

static spn_status check_magic(const char *path, spn_error *err) {
    spn_file *file;
    char magic[4] = {0};
    size_t n = 0;
    SPN_TRY(spn_file_open(&file, path, SPN_FILE_READ, err));
    spn_status status = spn_file_read_at(file, magic, 4, 0, &n, err);
    spn_file_close(file);
    if (status == SPN_STATUS_OK && (n != 4 || memcmp(magic, "GGUF", 4) != 0))
        status = SPN_FAIL(err, FORMAT, "%s does not begin as a GGUF file", path);
    return status;
}

static spn_status save_map(const char *path, const spn_blocks *blocks, const char *sha256,
                           spn_error *err) {
    spn_blocks map;
    SPN_TRY(spn_blocks_create(&map, path, blocks->size, sha256, err));
    spn_status status = SPN_STATUS_OK;
    for (size_t i = 0; status == SPN_STATUS_OK && i < map.n; i++)
        status = spn_blocks_set(&map, i, blocks->digests[i], err);
    spn_blocks_close(&map);
    return status;
}

/* Brings `from` to the part's place: linked, or cloned or copied. What is to be moved is linked too
 * where it can be and leaves its place when all is done, so that one who is killed finds it there.
 */
static spn_status bring(spn_storage *storage, const char *from, const char *part,
                        spn_import_mode mode, bool may_copy, uint64_t size, spn_meter *meter,
                        spn_error *err) {
    SPN_TRY(spn_path_remove(part, err));
    if (mode == SPN_IMPORT_LINK && !may_copy) return spn_path_link(from, part, err);
    if (mode != SPN_IMPORT_COPY && spn_path_link(from, part, NULL) == SPN_STATUS_OK)
        return SPN_STATUS_OK;
    SPN_TRY(spn_check_room(storage, size, NULL, err));
    return spn_copy_file(from, part, meter, err);
}

/* Hashes the original first: what is linked afterwards is what was hashed. */
static spn_status take_file(spn_storage *storage, const char *from, const char *name,
                            spn_import_mode mode, bool may_copy, spn_manifest *m, spn_meter *meter,
                            spn_error *err) {
    char *path = NULL, *part = NULL, *map = NULL, sha256[65] = "";
    spn_blocks blocks = {0};
    bool brought = false;
    const uint64_t before = meter->now.completed; /* a file that is hashed and copied counts once */
    spn_status status;
    SPN_TRY_GOTO(spn_store_path(storage, name, "", &path, err));
    SPN_TRY_GOTO(spn_store_path(storage, name, SPN_PART_SUFFIX, &part, err));
    SPN_TRY_GOTO(spn_store_path(storage, name, SPN_MAP_SUFFIX, &map, err));
    SPN_TRY_GOTO(spn_hash_file(from, meter, sha256, &blocks, err));
    if (m->sha256[0] && strcmp(m->sha256, sha256) != 0) {
        status = SPN_FAIL(err, CHECKSUM_MISMATCH, "%s: expected SHA-256 %s, got %s", from,
                          m->sha256, sha256);
        goto done;
    }
    memcpy(m->sha256, sha256, sizeof sha256);
    SPN_TRY_GOTO(spn_store_make_folders(storage, name, err));
    brought = true;
    meter->now.completed = before;
    SPN_TRY_GOTO(bring(storage, from, part, mode, may_copy, blocks.size, meter, err));
    SPN_TRY_GOTO(save_map(map, &blocks, sha256, err));
    SPN_TRY_GOTO(spn_install_file(storage, name, part, m, err));
    meter->now.completed = before + blocks.size;
done:
    /* A part from before, of a download, is left alone. */
    if (status != SPN_STATUS_OK && brought) {
        (void)spn_path_remove(part, NULL);
        (void)spn_path_remove(map, NULL);
    }
    spn_blocks_close(&blocks);
    spn_free(path);
    spn_free(part);
    spn_free(map);
    return status;
}

spn_status spn_take_foreign(spn_storage *storage, const char *foreign, const char *name,
                            bool may_copy, spn_manifest *manifest, spn_meter *meter,
                            spn_error *err) {
    return take_file(storage, foreign, name, SPN_IMPORT_LINK, may_copy, manifest, meter, err);
}

/* ---- import of a path ---- */

static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* local/STEM/FILE.gguf, the stem without part numbers. */
static char *default_name(const char *path) {
    const char *base = base_of(path);
    spn_split split;
    size_t stem = spn_split_parse(base, &split) ? split.prefix : strlen(base);
    if (stem > 5 && spn_ascii_equal(base + stem - 5, ".gguf")) stem -= 5;
    spn_buf name = SPN_BUF(SPN_REFERENCE_MAX);
    spn_buf_printf(&name, "local/%.*s/%s", (int)stem, base, base);
    char *text = spn_buf_take(&name, NULL);
    spn_buf_free(&name);
    return text;
}

/* The name of file `no` of the model: the given one with its own part number. */
static char *part_name(const char *name, const char *path, uint32_t no) {
    spn_split split, own;
    if (!spn_split_parse(path, &split)) return spn_strdup(name);
    if (spn_split_parse(name, &own) && own.count == split.count)
        return spn_split_name(name, &own, no);
    return NULL;
}

/* Whether the store's file is the one that is to come: left by an import that was killed. */
static bool is_same(const char *path, const char *from, spn_meter *meter) {
    spn_manifest m = {0};
    spn_blocks blocks = {0};
    char sha256[65] = "";
    bool same = spn_manifest_read(path, &m, NULL) == SPN_STATUS_OK && m.sha256[0] &&
                spn_hash_file(from, meter, sha256, &blocks, NULL) == SPN_STATUS_OK &&
                strcmp(m.sha256, sha256) == 0;
    spn_blocks_close(&blocks);
    spn_manifest_clear(&m);
    return same;
}

/* Takes a file out again that this call brought in. */
static void take_out(spn_storage *storage, const char *name) {
    static const char *const suffixes[] = {SPN_MANIFEST_SUFFIX, SPN_BLOCKS_SUFFIX};
    char *path = NULL, *beside = NULL;
    spn_lock *lock = NULL;
    if (spn_store_path(storage, name, "", &path, NULL) == SPN_STATUS_OK &&
        spn_store_lock(storage, name, false, NULL, &lock, NULL) == SPN_STATUS_OK) {
        bool out = spn_path_remove(path, NULL) == SPN_STATUS_OK;
        for (size_t i = 0; out && i < SPN_COUNT(suffixes); i++) {
            if (spn_store_path(storage, name, suffixes[i], &beside, NULL) == SPN_STATUS_OK)
                (void)spn_path_remove(beside, NULL);
            spn_free(beside);
            beside = NULL;
        }
    }
    spn_lock_release(lock);
    spn_free(path);
}

/* *ours: the store has it through this call; a part that is there already, the same, is not. */
static spn_status import_one(spn_storage *storage, const char *from, const char *name,
                             bool may_be_here, spn_import_mode mode, bool *ours, spn_meter *meter,
                             spn_error *err) {
    char *path = NULL, texts[1] = "";
    spn_lock *file_lock = NULL;
    spn_manifest m = {.repo = texts,
                      .revision = texts,
                      .commit = texts,
                      .path = texts,
                      .known_id = texts,
                      .parameters = texts};
    static char source[] = "import";
    m.source = source;
    spn_status status;
    SPN_TRY_GOTO(spn_store_path(storage, name, "", &path, err));
    SPN_TRY_GOTO(check_magic(from, err));
    SPN_TRY_GOTO(spn_store_lock(storage, name, false, NULL, &file_lock, err));
    if (spn_path_exists(path)) {
        if (!may_be_here || !is_same(path, from, meter))
            status = SPN_FAIL(err, BUSY, "the store has a %s already", name);
        goto done;
    }
    status = take_file(storage, from, name, mode, false, &m, meter, err);
    *ours = status == SPN_STATUS_OK;
done:
    spn_lock_release(file_lock);
    spn_free(path);
    return status;
}

/* Of the file that a symbolic link stands for, too. */
static uint64_t size_of(const char *path) {
    char *real = NULL;
    spn_path_info info = {0};
    if (spn_path_real(path, &real, NULL) == SPN_STATUS_OK) (void)spn_path_look(real, &info);
    spn_free(real);
    return info.n_bytes;
}

static spn_status check_parts(const char *path, const spn_split *split, uint64_t *total,
                              spn_error *err) {
    for (uint32_t no = 1; no <= split->count; no++) {
        char *from = spn_split_name(path, split, no);
        if (from == NULL) return SPN_NO_MEMORY(err, "a path");
        bool there = spn_path_exists(from) && !spn_path_is_dir(from);
        if (there) *total += size_of(from);
        spn_status status =
            there ? SPN_STATUS_OK : SPN_FAIL(err, MODEL_NOT_FOUND, "there is no file %s", from);
        spn_free(from);
        if (status != SPN_STATUS_OK) return status;
    }
    return SPN_STATUS_OK;
}

typedef struct incoming {
    char *from, *name;
    bool ours;
} incoming;

static spn_status name_parts(const char *path, const spn_split *split, uint32_t count,
                             const char *name, incoming *parts, spn_error *err) {
    for (uint32_t i = 0; i < count; i++) {
        incoming *p = &parts[i];
        p->from = split->count > 0 ? spn_split_name(path, split, i + 1) : spn_strdup(path);
        p->name = part_name(name, path, i + 1);
        if (p->from == NULL) return SPN_NO_MEMORY(err, "a path");
        if (p->name == NULL)
            return SPN_FAIL(err, INVALID_ARGUMENT,
                            "the name of a split model must end in -00001-of-%05u.gguf", count);
    }
    return SPN_STATUS_OK;
}

/* All or nothing. The first file stands for the model and comes last: killed before it, the rest is
 * no model, and the same import goes on with it. */
static spn_status take_parts(spn_storage *storage, incoming *parts, uint32_t count,
                             spn_import_mode mode, spn_meter *meter, spn_error *err) {
    char *first = NULL;
    SPN_TRY(spn_store_path(storage, parts[0].name, "", &first, err));
    spn_status status = SPN_STATUS_OK;
    if (spn_path_exists(first))
        status = SPN_FAIL(err, BUSY, "the store has a %s already", parts[0].name);
    spn_free(first);
    for (uint32_t i = count; status == SPN_STATUS_OK && i-- > 0;)
        status = import_one(storage, parts[i].from, parts[i].name, i > 0, mode, &parts[i].ours,
                            meter, err);
    bool whole = status == SPN_STATUS_OK;
    for (uint32_t i = 0; i < count; i++) {
        if (!whole && parts[i].ours) take_out(storage, parts[i].name);
        if (status == SPN_STATUS_OK && mode == SPN_IMPORT_MOVE)
            status = spn_path_remove(parts[i].from, err);
    }
    return status;
}

static spn_status import_parts(spn_storage *storage, const char *path, const char *name,
                               spn_import_mode mode, spn_meter *meter, spn_error *err) {
    spn_split split = {0};
    bool is_split = spn_split_parse(path, &split);
    uint32_t count = is_split ? split.count : 1;
    if (!is_split) {
        split = (spn_split){0};
        if (!spn_path_exists(path) || spn_path_is_dir(path))
            return SPN_FAIL(err, MODEL_NOT_FOUND, "there is no file %s", path);
        meter->now.total = size_of(path);
    } else {
        SPN_TRY(check_parts(path, &split, &meter->now.total, err));
    }
    meter->now.n_files = count;
    incoming *parts = spn_alloc_zeroed(count, sizeof *parts);
    if (parts == NULL) return SPN_NO_MEMORY(err, "a list of files");
    spn_status status = name_parts(path, &split, count, name, parts, err);
    if (status == SPN_STATUS_OK) status = take_parts(storage, parts, count, mode, meter, err);
    for (uint32_t i = 0; i < count; i++) {
        spn_free(parts[i].from);
        spn_free(parts[i].name);
    }
    spn_free(parts);
    return status;
}

spn_status spn_storage_import(spn_storage *storage, const char *path, const char *name,
                              spn_import_mode mode, spn_pull_progress_fn progress, void *user,
                              spn_stored_model *model, spn_error *err) {
    if (storage == NULL || path == NULL || path[0] == '\0')
        return SPN_FAIL(err, INVALID_ARGUMENT, "import: an argument is missing");
    if (!spn_name_is_gguf(path))
        return SPN_FAIL(err, FORMAT, "%s is not called .gguf: only GGUF files are kept", path);
    spn_meter meter = {.fn = progress, .user = user};
    char *own = name != NULL ? spn_strdup(name) : default_name(path);
    if (own == NULL) return SPN_NO_MEMORY(err, "a name");
    spn_status status = SPN_STATUS_OK;
    if (!spn_name_is_gguf(own))
        status = SPN_FAIL(err, INVALID_ARGUMENT, "the name %.200s does not end in .gguf", own);
    if (status == SPN_STATUS_OK) status = import_parts(storage, path, own, mode, &meter, err);
    if (status == SPN_STATUS_OK && model != NULL)
        status = spn_storage_model_info(storage, own, model, err);
    spn_free(own);
    return status;
}

/* ---- looking into other stores ---- */

void spn_foreign_list_clear(spn_foreign_list *list) {
    if (list == NULL) return;
    for (size_t i = 0; i < list->n; i++) {
        spn_free(list->items[i].path);
        spn_free(list->items[i].name);
        spn_free(list->items[i].sha256);
        spn_free(list->items[i].source);
    }
    spn_free(list->items);
    *list = (spn_foreign_list){0};
}

static char *try_blob(const char *fmt_dir, const char *middle, const char *sha256, uint64_t size) {
    spn_buf path = SPN_BUF(0);
    spn_path_info info;
    spn_buf_printf(&path, "%s/%s%s", fmt_dir, middle, sha256);
    char *text = spn_buf_take(&path, NULL);
    spn_buf_free(&path);
    if (text != NULL && spn_path_look(text, &info) && info.is_file && info.n_bytes == size)
        return text;
    spn_free(text);
    return NULL;
}

char *spn_find_foreign(const spn_storage *storage, const char *repo, const char *sha256,
                       uint64_t size, const char **source) {
    char middle[400], *found = NULL;
    const char *slash = strchr(repo, '/');
    if (storage->hf_cache_dir != NULL && slash != NULL) {
        snprintf(middle, sizeof middle, "models--%.*s--%s/blobs/", (int)(slash - repo), repo,
                 slash + 1);
        found = try_blob(storage->hf_cache_dir, middle, sha256, size);
        *source = "hf-cache";
    }
    if (found == NULL && storage->ollama_dir != NULL) {
        found = try_blob(storage->ollama_dir, "blobs/sha256-", sha256, size);
        *source = "ollama";
    }
    return found;
}

typedef struct scan {
    const spn_storage *storage;
    spn_foreign_list *list;
    spn_buf path; /* the folder being looked at */
    size_t root;  /* bytes before the part that names the model */
    char repo[260];
    int depth;
    bool no_memory;
    bool (*file)(struct scan *s, const char *path);
} scan;

static bool add_foreign(scan *s, const char *path, const char *name, const char *sha256,
                        uint64_t size, const char *source) {
    spn_foreign_list *list = s->list;
    if (spn_path_problem(name) != NULL || !spn_name_is_gguf(name)) return true;
    spn_foreign_model *items = spn_realloc_array(list->items, list->n + 1, sizeof *items);
    if (items == NULL) return false;
    list->items = items;
    spn_foreign_model *m = &items[list->n];
    char *ours = NULL;
    *m = (spn_foreign_model){.path = spn_strdup(path),
                             .name = spn_strdup(name),
                             .sha256 = spn_strdup(sha256),
                             .source = spn_strdup(source),
                             .size = size};
    list->n++;
    if (spn_store_path(s->storage, name, "", &ours, NULL) == SPN_STATUS_OK)
        m->is_here = spn_path_exists(ours);
    spn_free(ours);
    return m->path && m->name && m->sha256 && m->source;
}

/* An entry below snapshots/COMMIT: a link to a blob, which is named by its SHA-256. */
static bool add_snapshot(scan *s, const char *link) {
    char *real, name[SPN_REFERENCE_MAX];
    spn_path_info info;
    if (!spn_name_is_gguf(link) || spn_path_real(link, &real, NULL) != SPN_STATUS_OK) return true;
    const char *base = base_of(real);
    bool ok = true;
    int n = snprintf(name, sizeof name, "%s/%s", s->repo, link + s->root);
    if (spn_is_sha256(base) && spn_path_look(real, &info) && info.is_file && n > 0 &&
        (size_t)n < sizeof name)
        ok = add_foreign(s, real, name, base, info.n_bytes, "hf-cache");
    spn_free(real);
    return ok;
}

/* The model layer of an Ollama manifest. */
static bool add_ollama(scan *s, const char *path) {
    char *text, name[SPN_REFERENCE_MAX];
    size_t n_bytes;
    bool ok = true;
    if (spn_file_read(path, (size_t)1 << 20, &text, &n_bytes, NULL) != SPN_STATUS_OK) return true;
    json_t *root = json_loadb(text, n_bytes, 0, NULL);
    spn_free(text);
    const json_t *layers = json_object_get(root, "layers");
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const char *type = json_string_value(json_object_get(layer, "mediaType"));
        const char *digest = json_string_value(json_object_get(layer, "digest"));
        json_int_t size = json_integer_value(json_object_get(layer, "size"));
        if (type == NULL || digest == NULL || size <= 0 ||
            strcmp(type, "application/vnd.ollama.image.model") != 0 ||
            strncmp(digest, "sha256:", 7) != 0 || !spn_is_sha256(digest + 7))
            continue;
        char *blob = try_blob(s->storage->ollama_dir, "blobs/sha256-", digest + 7, (uint64_t)size);
        /* HOST/NAMESPACE/MODEL/TAG becomes ollama/NAMESPACE-MODEL/TAG.gguf */
        const char *parts = strchr(path + s->root, '/');
        const char *model = parts != NULL ? strchr(parts + 1, '/') : NULL;
        const char *tag = model != NULL ? strchr(model + 1, '/') : NULL;
        if (blob != NULL && tag != NULL &&
            snprintf(name, sizeof name, "ollama/%.*s-%.*s/%s.gguf", (int)(model - parts - 1),
                     parts + 1, (int)(tag - model - 1), model + 1, tag + 1) < (int)sizeof name)
            ok = ok && add_foreign(s, blob, name, digest + 7, (uint64_t)size, "ollama");
        spn_free(blob);
    }
    json_decref(root);
    return ok;
}

static bool visit(const char *entry, void *user) {
    scan *s = user;
    size_t len = s->path.len;
    spn_path_info info;
    if (!spn_buf_printf(&s->path, "/%s", entry)) {
        s->no_memory = true;
        return false;
    }
    if (spn_path_look(s->path.data, &info)) {
        if (info.is_dir && s->depth < 6) {
            s->depth++;
            (void)spn_dir_list(s->path.data, visit, s, NULL);
            s->depth--;
        } else if (!info.is_dir && !s->file(s, s->path.data)) {
            s->no_memory = true;
        }
    }
    s->path.len = len;
    s->path.data[len] = '\0';
    return !s->no_memory;
}

/* hub/models--OWNER--REPO: each commit of snapshots/ is a folder of links. */
static bool visit_commit(const char *entry, void *user) {
    scan *s = user;
    size_t len = s->path.len;
    if (!spn_buf_printf(&s->path, "/%s", entry)) {
        s->no_memory = true;
        return false;
    }
    s->root = s->path.len + 1;
    (void)spn_dir_list(s->path.data, visit, s, NULL);
    s->path.len = len;
    s->path.data[len] = '\0';
    return !s->no_memory;
}

static bool visit_repo(const char *entry, void *user) {
    scan *s = user;
    size_t len = s->path.len;
    const char *owner = entry + 8, *dashes;
    if (strncmp(entry, "models--", 8) != 0 || (dashes = strstr(owner, "--")) == NULL) return true;
    snprintf(s->repo, sizeof s->repo, "%.*s/%s", (int)(dashes - owner), owner, dashes + 2);
    if (spn_repo_problem(s->repo) != NULL) return true;
    if (!spn_buf_printf(&s->path, "/%s/snapshots", entry)) {
        s->no_memory = true;
        return false;
    }
    if (spn_path_is_dir(s->path.data)) (void)spn_dir_list(s->path.data, visit_commit, s, NULL);
    s->path.len = len;
    s->path.data[len] = '\0';
    return !s->no_memory;
}

spn_status spn_storage_scan(spn_storage *storage, spn_foreign_list *list, spn_error *err) {
    if (storage == NULL || list == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "scan: an argument is missing");
    spn_foreign_list found = {0};
    scan s = {.storage = storage, .list = &found, .path = SPN_BUF(0)};
    if (storage->hf_cache_dir != NULL && spn_path_is_dir(storage->hf_cache_dir)) {
        s.file = add_snapshot;
        spn_buf_append_text(&s.path, storage->hf_cache_dir);
        if (!s.path.failed) (void)spn_dir_list(s.path.data, visit_repo, &s, NULL);
        spn_buf_clear(&s.path);
    }
    if (storage->ollama_dir != NULL && !s.no_memory) {
        s.file = add_ollama;
        spn_buf_printf(&s.path, "%s/manifests", storage->ollama_dir);
        s.root = s.path.len + 1;
        if (!s.path.failed && spn_path_is_dir(s.path.data))
            (void)spn_dir_list(s.path.data, visit, &s, NULL);
    }
    bool failed = s.no_memory || s.path.failed;
    spn_buf_free(&s.path);
    if (failed) {
        spn_foreign_list_clear(&found);
        return SPN_NO_MEMORY(err, "a list");
    }
    *list = found;
    return SPN_STATUS_OK;
}

spn_status spn_storage_adopt(spn_storage *storage, const spn_foreign_model *foreign, bool may_copy,
                             spn_pull_progress_fn progress, void *user, spn_error *err) {
    char *path = NULL, texts[1] = "", main_branch[] = "main", repo[260] = "";
    if (storage == NULL || foreign == NULL || !foreign->path || !foreign->name || !foreign->sha256)
        return SPN_FAIL(err, INVALID_ARGUMENT, "adopt: an argument is missing");
    if (!spn_is_sha256(foreign->sha256))
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.100s is no SHA-256", foreign->sha256);
    spn_meter meter = {.fn = progress, .user = user};
    spn_lock *file_lock = NULL;
    spn_manifest m = {.revision = texts,
                      .commit = texts,
                      .known_id = texts,
                      .parameters = texts,
                      .repo = texts,
                      .path = texts,
                      .source = foreign->source};
    memcpy(m.sha256, foreign->sha256, sizeof m.sha256);
    /* A file of the Hugging Face cache is from a repository: it can be repaired and followed. */
    const char *slash = strchr(foreign->name, '/');
    const char *rest = slash != NULL ? strchr(slash + 1, '/') : NULL;
    spn_buf in_repo = SPN_BUF(0);
    if (rest != NULL && foreign->source != NULL && strcmp(foreign->source, "hf-cache") == 0 &&
        (size_t)(rest - foreign->name) < sizeof repo) {
        memcpy(repo, foreign->name, (size_t)(rest - foreign->name));
        spn_buf_append_text(&in_repo, rest + 1);
        m.repo = repo, m.revision = main_branch, m.path = in_repo.data;
    }
    meter.now.total = foreign->size;
    spn_status status;
    SPN_TRY_GOTO(in_repo.failed ? SPN_NO_MEMORY(err, "a path") : SPN_STATUS_OK);
    SPN_TRY_GOTO(spn_store_path(storage, foreign->name, "", &path, err));
    SPN_TRY_GOTO(spn_store_lock(storage, foreign->name, false, NULL, &file_lock, err));
    if (spn_path_exists(path)) {
        status = SPN_FAIL(err, BUSY, "the store has a %s already", foreign->name);
        goto done;
    }
    status = spn_take_foreign(storage, foreign->path, foreign->name, may_copy, &m, &meter, err);
done:
    spn_lock_release(file_lock);
    spn_buf_free(&in_repo);
    spn_free(path);
    return status;
}
