/* verify.c - is what is here still what was downloaded, and mending it.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A repair never writes into the file under its name, which others may be reading and which may
 * share its data with another store by a hard link: the good blocks are copied to a new part, the
 * damaged ones are fetched like those of a broken download, and the whole takes the file's place
 * when its SHA-256 is right.
 */
#include <stdio.h>
#include <string.h>

#include "storage/store.h"

/* Calls `each` for every file of a complete or unverified model. */
typedef spn_status (*each_file_fn)(spn_storage *storage, const char *name, spn_meter *meter,
                                   void *user, spn_error *err);

static spn_status for_files(spn_storage *storage, const spn_stored_model *model, spn_meter *meter,
                            each_file_fn each, void *user, spn_error *err) {
    spn_split split;
    bool is_split = spn_split_parse(model->name, &split);
    meter->now.total = model->size;
    meter->now.n_files = model->n_files;
    for (uint32_t no = 1; no <= model->n_files; no++) {
        char *name = is_split ? spn_split_name(model->name, &split, no) : spn_strdup(model->name);
        if (name == NULL) return SPN_NO_MEMORY(err, "a name");
        meter->now.file = name;
        meter->now.file_index = no - 1;
        spn_status status = each(storage, name, meter, user, err);
        meter->now.file = "";
        spn_free(name);
        if (status != SPN_STATUS_OK) return status;
    }
    return SPN_STATUS_OK;
}

static spn_status find_whole(spn_storage *storage, const char *reference, spn_stored_model *model,
                             spn_error *err) {
    spn_resolved_model r;
    if (storage == NULL || reference == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "an argument is missing");
    SPN_TRY(spn_resolve_model(reference, &r, err));
    if (r.kind == SPN_REFERENCE_PATH)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.200s is a path, not the name of a stored model",
                        reference);
    return spn_store_find(storage, reference, &r, false, model, err);
}

/* What a file without a manifest should be, by the hub's listing of the repository it is named
 * after. */
static spn_status ask_hub(spn_storage *storage, const char *name, spn_manifest *m, spn_error *err) {
    char repo[260] = "";
    const char *slash = strchr(name, '/'), *rest = slash ? strchr(slash + 1, '/') : NULL;
    if (rest != NULL && (size_t)(rest - name) < sizeof repo)
        memcpy(repo, name, (size_t)(rest - name));
    if (storage->offline || repo[0] == '\0' || spn_repo_problem(repo) != NULL)
        return SPN_FAIL(err, INVALID_CONFIG,
                        "%s has no manifest: there is nothing to compare it with", name);
    spn_hub_listing listing = {0};
    SPN_TRY(spn_hub_list(storage, repo, "main", NULL, &listing, err));
    spn_status status =
        SPN_FAIL(err, INVALID_CONFIG, "%s has no manifest, and %s has no such file with a SHA-256",
                 name, repo);
    for (size_t i = 0; i < listing.n; i++) {
        if (strcmp(listing.files[i].path, rest + 1) != 0 || !listing.files[i].sha256[0]) continue;
        memcpy(m->sha256, listing.files[i].sha256, sizeof m->sha256);
        m->size = listing.files[i].size;
        m->repo = spn_strdup(repo);
        m->path = spn_strdup(rest + 1);
        m->revision = spn_strdup("main");
        m->commit = spn_strdup(listing.commit);
        m->source = spn_strdup("hub");
        m->known_id = spn_strdup("");
        m->parameters = spn_strdup("");
        bool ok = m->repo && m->path && m->revision && m->commit && m->source && m->known_id &&
                  m->parameters;
        status = ok ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "a manifest");
    }
    spn_hub_listing_clear(&listing);
    return status;
}

static spn_status manifest_of(spn_storage *storage, const char *name, const char *path,
                              spn_manifest *m, spn_error *err) {
    *m = (spn_manifest){0};
    if (spn_manifest_read(path, m, NULL) == SPN_STATUS_OK) return SPN_STATUS_OK;
    spn_status status = ask_hub(storage, name, m, err);
    if (status != SPN_STATUS_OK) spn_manifest_clear(m);
    return status;
}

/* A file that proved right: its manifest says when, and its digests serve a later repair. */
static spn_status note_verified(const spn_storage *storage, const char *name, const char *path,
                                spn_manifest *m, const spn_blocks *blocks, spn_error *err) {
    spn_path_info info;
    char *saved = NULL;
    if (!spn_path_look(path, &info)) return SPN_FAIL(err, IO, "%s vanished", path);
    m->modified_ns = info.modified_ns;
    m->verified_at = spn_time_unix();
    if (m->installed_at == 0) m->installed_at = m->verified_at;
    SPN_TRY(spn_manifest_write(path, m, err));
    SPN_TRY(spn_store_path(storage, name, SPN_BLOCKS_SUFFIX, &saved, err));
    spn_blocks map;
    if (!spn_path_exists(saved) &&
        spn_blocks_create(&map, saved, blocks->size, m->sha256, NULL) == SPN_STATUS_OK) {
        for (size_t i = 0; i < map.n; i++) (void)spn_blocks_set(&map, i, blocks->digests[i], NULL);
        spn_blocks_close(&map);
    }
    spn_free(saved);
    return SPN_STATUS_OK;
}

static spn_status verify_file(spn_storage *storage, const char *name, spn_meter *meter, void *user,
                              spn_error *err) {
    char **actual = user, sha256[65] = "", *path = NULL;
    spn_manifest m = {0};
    spn_blocks blocks = {0};
    spn_status status;
    SPN_TRY_GOTO(spn_store_path(storage, name, "", &path, err));
    SPN_TRY_GOTO(manifest_of(storage, name, path, &m, err));
    SPN_TRY_GOTO(spn_hash_file(path, meter, sha256, &blocks, err));
    if (actual != NULL && *actual == NULL) *actual = spn_strdup(sha256);
    if (strcmp(sha256, m.sha256) != 0)
        status = SPN_FAIL(err, CHECKSUM_MISMATCH,
                          "%s is damaged: expected SHA-256 %s, got %s; repair it, which fetches "
                          "only what is wrong",
                          name, m.sha256, sha256);
    else
        status = note_verified(storage, name, path, &m, &blocks, err);
done:
    spn_blocks_close(&blocks);
    spn_manifest_clear(&m);
    spn_free(path);
    return status;
}

spn_status spn_storage_verify(spn_storage *storage, const char *reference,
                              spn_pull_progress_fn progress, void *user, char **actual,
                              spn_error *err) {
    spn_stored_model model;
    char *first = NULL;
    SPN_TRY(find_whole(storage, reference, &model, err));
    spn_meter meter = {.fn = progress, .user = user};
    spn_status status = for_files(storage, &model, &meter, verify_file, &first, err);
    spn_stored_model_clear(&model);
    if (actual != NULL && first != NULL)
        *actual = first;
    else
        spn_free(first);
    return status;
}

/* ---- repair ---- */

typedef struct repair {
    spn_storage *storage;
    const char *name;
    char *path, *part, *map, *saved;
    spn_manifest m;
    spn_blocks now, old; /* digests of the file as it is, and as it was */
    uint64_t fetched;
} repair;

/* The part becomes a copy of the file; the map counts the blocks that are as they were. */
static spn_status prepare_part(repair *r, spn_meter *meter, spn_error *err) {
    spn_blocks map = {0};
    spn_status status;
    SPN_TRY(spn_copy_file(r->path, r->part, meter, err));
    SPN_TRY(spn_blocks_create(&map, r->map, r->m.size, r->m.sha256, err));
    spn_file *part = NULL;
    bool known = r->old.n == map.n && strcmp(r->old.sha256, r->m.sha256) == 0;
    size_t n_good = 0;
    SPN_TRY_GOTO(spn_file_open(&part, r->part, SPN_FILE_UPDATE, err));
    SPN_TRY_GOTO(spn_file_allocate(part, r->m.size, err));
    for (size_t i = 0; known && i < map.n; i++) {
        bool whole = i < r->now.n && r->now.done[i] &&
                     spn_blocks_length(&r->now, i) == spn_blocks_length(&map, i);
        if (!whole || !r->old.done[i] || r->now.digests[i] != r->old.digests[i]) continue;
        SPN_TRY_GOTO(spn_blocks_set(&map, i, r->now.digests[i], err));
        n_good++;
    }
    /* All blocks are as recorded and the whole is wrong: the record itself is. */
    if (n_good == map.n)
        for (size_t i = 0; i < map.n; i++) SPN_TRY_GOTO(spn_blocks_unset(&map, i, err));
done:
    spn_file_close(part);
    spn_blocks_close(&map);
    return status;
}

static spn_status mend(repair *r, spn_meter *meter, spn_error *err) {
    spn_path_info info;
    char sha256[65];
    if (r->m.repo[0] == '\0' || r->m.path[0] == '\0')
        return SPN_FAIL(err, INVALID_CONFIG,
                        "%s is damaged and was not taken from a repository: import it again",
                        r->name);
    if (r->storage->offline)
        return SPN_FAIL(err, OFFLINE, "%s is damaged, and the network is switched off", r->name);
    /* A part that an earlier repair left is gone on with. */
    bool left =
        spn_path_look(r->part, &info) && info.n_bytes == r->m.size && spn_path_exists(r->map);
    uint64_t more = left ? 0 : r->m.size;
    SPN_TRY(spn_check_room(r->storage, more, NULL, err));
    meter->now.completed = meter->base;
    if (!left) SPN_TRY(prepare_part(r, meter, err));
    memcpy(sha256, r->m.sha256, sizeof sha256);
    spn_transfer_job job = {
        .repo = r->m.repo,
        .commit = r->m.commit[0]     ? r->m.commit
                  : r->m.revision[0] ? r->m.revision
                                     : "main",
        .path = r->m.path,
        .part_path = r->part,
        .map_path = r->map,
        .size = r->m.size,
        .sha256 = sha256,
        .n_connections = r->storage->n_connections,
        .rate_limit = r->storage->rate_limit,
    };
    uint64_t before = meter->now.fetched;
    SPN_TRY(spn_transfer_run(r->storage, &job, meter, err));
    r->fetched = meter->now.fetched - before;
    return spn_install_file(r->storage, r->name, r->part, &r->m, err);
}

static spn_status repair_file(spn_storage *storage, const char *name, spn_meter *meter, void *user,
                              spn_error *err) {
    uint64_t *total = user;
    char sha256[65] = "";
    repair r = {.storage = storage, .name = name};
    spn_lock *file_lock = NULL;
    spn_status status;
    const spn_http_wait wait = spn_meter_wait(meter);
    SPN_TRY_GOTO(spn_store_path(storage, name, "", &r.path, err));
    SPN_TRY_GOTO(spn_store_path(storage, name, SPN_PART_SUFFIX, &r.part, err));
    SPN_TRY_GOTO(spn_store_path(storage, name, SPN_MAP_SUFFIX, &r.map, err));
    SPN_TRY_GOTO(spn_store_path(storage, name, SPN_BLOCKS_SUFFIX, &r.saved, err));
    SPN_TRY_GOTO(spn_store_lock(storage, name, !storage->no_wait, &wait, &file_lock, err));
    SPN_TRY_GOTO(manifest_of(storage, name, r.path, &r.m, err));
    SPN_TRY_GOTO(spn_hash_file(r.path, meter, sha256, &r.now, err));
    if (strcmp(sha256, r.m.sha256) == 0) {
        status = note_verified(storage, name, r.path, &r.m, &r.now, err);
    } else {
        (void)spn_blocks_open(&r.old, r.saved, false, NULL);
        status = mend(&r, meter, err);
    }
    *total += r.fetched;
    meter->base += r.m.size;
    meter->now.completed = meter->base;
done:
    spn_lock_release(file_lock);
    spn_blocks_close(&r.now);
    spn_blocks_close(&r.old);
    spn_manifest_clear(&r.m);
    spn_free(r.path);
    spn_free(r.part);
    spn_free(r.map);
    spn_free(r.saved);
    return status;
}

spn_status spn_storage_repair(spn_storage *storage, const char *reference,
                              spn_pull_progress_fn progress, void *user, uint64_t *n_repaired,
                              spn_error *err) {
    spn_stored_model model;
    uint64_t total = 0;
    SPN_TRY(find_whole(storage, reference, &model, err));
    spn_meter meter = {.fn = progress, .user = user};
    spn_status status = for_files(storage, &model, &meter, repair_file, &total, err);
    spn_stored_model_clear(&model);
    if (n_repaired != NULL) *n_repaired = total;
    return status;
}
