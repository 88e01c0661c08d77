/* keep.c - deleting, pruning, moving the store. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "storage/store.h"

static const char *const suffixes[] = {"", SPN_MANIFEST_SUFFIX, SPN_BLOCKS_SUFFIX, SPN_PART_SUFFIX,
                                       SPN_MAP_SUFFIX};

/* ---- delete ---- */

static spn_status delete_file(spn_storage *storage, const char *name, bool force, bool check_only,
                              spn_error *err) {
    spn_lock *file_lock = NULL;
    char *path = NULL;
    spn_status status;
    SPN_TRY_GOTO(spn_store_lock(storage, name, false, NULL, &file_lock, err));
    SPN_TRY_GOTO(spn_store_path(storage, name, "", &path, err));
    if (!force && spn_file_in_use(path)) {
        status =
            SPN_FAIL(err, BUSY, "%s is in use by another process; force to delete it anyway", name);
        goto done;
    }
    for (size_t i = 0; !check_only && i < SPN_COUNT(suffixes); i++) {
        spn_free(path);
        path = NULL;
        SPN_TRY_GOTO(spn_store_path(storage, name, suffixes[i], &path, err));
        SPN_TRY_GOTO(spn_path_remove(path, err));
    }
done:
    spn_lock_release(file_lock);
    spn_free(path);
    return status;
}

spn_status spn_storage_delete(spn_storage *storage, const char *reference, bool force,
                              spn_error *err) {
    spn_stored_model model;
    spn_resolved_model r;
    size_t n_meant;
    SPN_TRY(spn_storage_model_info(storage, reference, &model, err));
    spn_split split;
    bool is_split = spn_split_parse(model.name, &split);
    uint32_t count = is_split ? split.count : 1;
    spn_status status = spn_resolve_model(reference, &r, err);
    if (status == SPN_STATUS_OK) status = spn_store_count(storage, &r, &n_meant, err);
    if (status == SPN_STATUS_OK && n_meant > 1)
        status = SPN_FAIL(err, INVALID_ARGUMENT,
                          "%.200s fits %zu models of the store: name the quantization or the file",
                          reference, n_meant);
    /* First all are looked at: a model is not deleted by half. */
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t no = 1; status == SPN_STATUS_OK && no <= count; no++) {
            char *name = is_split ? spn_split_name(model.name, &split, no) : spn_strdup(model.name);
            status = name != NULL ? delete_file(storage, name, force, round == 0, err)
                                  : SPN_NO_MEMORY(err, "a name");
            spn_free(name);
        }
    if (status == SPN_STATUS_OK) spn_store_drop_folders(storage, model.name);
    spn_stored_model_clear(&model);
    return status;
}

/* ---- prune ---- */

typedef struct prune {
    spn_storage *storage;
    bool dry_run;
    uint64_t n_bytes;
    char **names; /* of models whose leftovers go */
    size_t n, cap;
    bool no_memory;
} prune;

/* The model's name when `name` is something kept beside a model's file, else 0. */
static size_t leftover(const char *name) {
    size_t n = strlen(name);
    for (size_t i = SPN_COUNT(suffixes) - 1; i > 0; i--) {
        size_t k = strlen(suffixes[i]);
        if (n <= k + 5 || !spn_ascii_equal(name + n - k, suffixes[i])) continue;
        bool gguf = spn_ascii_starts(name + n - k - 5, ".gguf");
        if (gguf) return n - k;
    }
    /* What a killed spn_file_write left: NAME.<16 digits>.tmp */
    return spn_ascii_ends(name, ".tmp") && n > 21 && spn_is_hex(name + n - 20, 16) ? n : 0;
}

static bool collect(const char *name, const spn_path_info *info, void *user) {
    prune *p = user;
    size_t n = leftover(name);
    (void)info;
    if (n == 0) return true;
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 16;
        char **names = spn_realloc_array(p->names, cap, sizeof *names);
        if (names == NULL) {
            p->no_memory = true;
            return false;
        }
        p->names = names;
        p->cap = cap;
    }
    p->names[p->n] = spn_memdup_text(name, n);
    if (p->names[p->n] == NULL) p->no_memory = true;
    p->n += !p->no_memory;
    return !p->no_memory;
}

static void drop(prune *p, const char *name, const char *suffix) {
    char *path;
    spn_path_info info;
    if (spn_store_path(p->storage, name, suffix, &path, NULL) != SPN_STATUS_OK) return;
    if (spn_path_look(path, &info) && info.is_file) {
        uint64_t freed = info.n_allocated < info.n_bytes ? info.n_allocated : info.n_bytes;
        if (p->dry_run || spn_path_remove(path, NULL) == SPN_STATUS_OK) p->n_bytes += freed;
    }
    spn_free(path);
}

static void prune_model(prune *p, const char *name) {
    spn_lock *file_lock;
    char *path;
    if (spn_ascii_ends(name, ".tmp")) {
        drop(p, name, "");
        return;
    }
    /* Somebody is at work on it: leave it. */
    if (spn_store_lock(p->storage, name, false, NULL, &file_lock, NULL) != SPN_STATUS_OK) return;
    if (spn_store_path(p->storage, name, "", &path, NULL) == SPN_STATUS_OK) {
        bool there = spn_path_exists(path);
        for (size_t i = 1; i < SPN_COUNT(suffixes); i++) {
            bool kept_beside = strcmp(suffixes[i], SPN_MANIFEST_SUFFIX) == 0 ||
                               strcmp(suffixes[i], SPN_BLOCKS_SUFFIX) == 0;
            if (!there || !kept_beside) drop(p, name, suffixes[i]);
        }
        spn_free(path);
    }
    spn_lock_release(file_lock);
    if (!p->dry_run) spn_store_drop_folders(p->storage, name);
}

spn_status spn_storage_prune(spn_storage *storage, bool dry_run, uint64_t *n_bytes,
                             spn_error *err) {
    if (storage == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "prune: an argument is missing");
    prune p = {.storage = storage, .dry_run = dry_run};
    spn_status status = spn_store_walk(storage, collect, &p, err);
    if (p.no_memory) status = SPN_NO_MEMORY(err, "a list of files");
    for (size_t i = 0; i < p.n; i++) {
        bool twice = false; /* the map and the part have one model */
        for (size_t j = 0; j < i && !twice; j++) twice = strcmp(p.names[i], p.names[j]) == 0;
        if (status == SPN_STATUS_OK && !twice) prune_model(&p, p.names[i]);
    }
    for (size_t i = 0; i < p.n; i++) spn_free(p.names[i]);
    spn_free(p.names);
    if (status == SPN_STATUS_OK && n_bytes != NULL) *n_bytes = p.n_bytes;
    return status;
}

/* ---- move ---- */

typedef struct move {
    spn_storage *storage; /* where it is */
    spn_storage target;   /* where it goes: only its folder is used */
    spn_meter meter;
    bool check_only;
    spn_status status;
    spn_error *err;
} move;

static spn_status move_file(move *m, const char *name, const spn_path_info *info) {
    char *from = NULL, *to = NULL, *part = NULL, had[65] = "", has[65] = "";
    spn_status status;
    spn_error *err = m->err;
    m->meter.now.file = name;
    SPN_TRY_GOTO(spn_store_path(m->storage, name, "", &from, err));
    SPN_TRY_GOTO(spn_store_path(&m->target, name, "", &to, err));
    SPN_TRY_GOTO(spn_store_path(&m->target, name, ".moving", &part, err));
    SPN_TRY_GOTO(spn_store_make_folders(&m->target, name, err));
    if (spn_path_rename(from, to, NULL) == SPN_STATUS_OK) goto done; /* one file system */
    SPN_TRY_GOTO(spn_check_room(&m->target, info->n_bytes, NULL, err));
    SPN_TRY_GOTO(spn_copy_file(from, part, &m->meter, err));
    SPN_TRY_GOTO(spn_hash_file(from, NULL, had, NULL, err));
    SPN_TRY_GOTO(spn_hash_file(part, NULL, has, NULL, err));
    if (strcmp(had, has) != 0) {
        (void)spn_path_remove(part, NULL);
        status = SPN_FAIL(err, CHECKSUM_MISMATCH,
                          "%s was not copied right: expected SHA-256 %s, got %s", name, had, has);
        goto done;
    }
    SPN_TRY_GOTO(spn_path_rename(part, to, err));
    SPN_TRY_GOTO(spn_path_remove(from, err));
    /* The copy has another time: its manifest must not call it changed. */
    if (spn_name_is_gguf(name)) {
        spn_manifest manifest;
        spn_path_info now;
        if (spn_manifest_read(from, &manifest, NULL) == SPN_STATUS_OK) {
            if (spn_path_look(to, &now)) manifest.modified_ns = now.modified_ns;
            status = spn_manifest_write(from, &manifest, err);
            spn_manifest_clear(&manifest);
        }
    }
done:
    m->meter.now.file = "";
    spn_free(from);
    spn_free(to);
    spn_free(part);
    return status;
}

/* Manifests go after their files: a walk gives no order, so they have a round of their own. */
static bool move_each(const char *name, const spn_path_info *info, void *user) {
    move *m = user;
    char *path = NULL;
    if (m->check_only) {
        spn_lock *file_lock = NULL;
        m->meter.now.total += info->n_bytes;
        if (!spn_name_is_gguf(name) && !spn_ascii_ends(name, SPN_PART_SUFFIX)) return true;
        m->status = spn_store_lock(m->storage, name, false, NULL, &file_lock, m->err);
        spn_lock_release(file_lock);
        if (m->status == SPN_STATUS_OK)
            m->status = spn_store_path(m->storage, name, "", &path, m->err);
        if (m->status == SPN_STATUS_OK && spn_file_in_use(path))
            m->status = SPN_FAIL(m->err, BUSY, "%s is in use by another process", name);
        spn_free(path);
    } else {
        m->status = move_file(m, name, info);
        spn_store_drop_folders(m->storage, name);
    }
    return m->status == SPN_STATUS_OK;
}

static bool move_models(const char *name, const spn_path_info *info, void *user) {
    return !spn_name_is_gguf(name) || move_each(name, info, user);
}

static bool not_empty(const char *name, void *user) {
    (void)name;
    *(bool *)user = true;
    return false;
}

static spn_status check_target(const move *m, const char *dir, spn_error *err) {
    size_t n = strlen(m->storage->dir), n_target = strlen(m->target.dir);
    const char *a = m->storage->dir, *b = m->target.dir;
    bool inside = (strncmp(a, b, n) == 0 && (b[n] == '/' || b[n] == '\0')) ||
                  (strncmp(a, b, n_target) == 0 && a[n_target] == '/');
    if (inside)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%s lies inside the store, or the store in it", dir);
    char mark[4200];
    bool filled = false; /* by an interrupted move when the mark is there */
    snprintf(mark, sizeof mark, "%s/.spn-moving", b);
    SPN_TRY(spn_dir_list(b, not_empty, &filled, err));
    if (filled && !spn_path_exists(mark))
        return SPN_FAIL(err, STORAGE_DIR, "%s is not empty: the store moves to an empty folder",
                        dir);
    return spn_file_write(mark, a, n, err);
}

spn_status spn_storage_move(spn_storage *storage, const char *dir, spn_pull_progress_fn progress,
                            void *user, spn_error *err) {
    if (storage == NULL || dir == NULL || dir[0] == '\0')
        return SPN_FAIL(err, INVALID_ARGUMENT, "move: an argument is missing");
    move m = {.storage = storage, .meter = {.fn = progress, .user = user}, .err = err};
    char mark[4200], locks[4200];
    spn_status status;
    SPN_TRY_GOTO(spn_dir_create(dir, err));
    SPN_TRY_GOTO(spn_path_real(dir, &m.target.dir, err));
    m.check_only = true;
    SPN_TRY_GOTO(spn_store_walk(storage, move_each, &m, err));
    SPN_TRY_GOTO(m.status);
    SPN_TRY_GOTO(check_target(&m, dir, err));
    m.check_only = false;
    SPN_TRY_GOTO(spn_store_walk(storage, move_models, &m, err));
    SPN_TRY_GOTO(m.status);
    SPN_TRY_GOTO(spn_store_walk(storage, move_each, &m, err));
    SPN_TRY_GOTO(m.status);
    snprintf(mark, sizeof mark, "%s/.spn-moving", m.target.dir);
    snprintf(locks, sizeof locks, "%s/.locks", storage->dir);
    SPN_TRY_GOTO(spn_path_remove(mark, err));
    (void)spn_dir_remove(locks);
    (void)spn_dir_remove(storage->dir);
    char *old = storage->dir;
    storage->dir = m.target.dir;
    m.target.dir = old;
done:
    spn_free(m.target.dir);
    return status;
}
