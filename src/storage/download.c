/* download.c - making a model be there. SPDX-License-Identifier: Apache-2.0
 *
 * The order is what makes it safe: look whether it is here (no network at all then); plan; lock
 * every file of the model, in the plan's order, which is the same for everybody; look again,
 * because another process may have fetched it while we waited; fetch each file into its part;
 * and only when all are whole and verified, put them under their names. A crash leaves parts,
 * which the next call goes on with.
 */
#include <stdio.h>
#include <string.h>

#include "storage/plan.h"

typedef struct item {
    const spn_hub_file *file;
    char *name; /* in the store */
    char *path, *part, *map;
    spn_lock *lock;
    bool is_here; /* verified under its name */
    char sha256[65];
    const char *source;
} item;

typedef struct download {
    spn_storage *storage;
    const spn_download_request *request;
    spn_target target;
    spn_choice choice;
    item *items; /* [choice.n] */
    spn_meter meter;
    bool list_again; /* the server had other files than were listed */
} download;

spn_download_request spn_download_request_curated(const spn_known_model *model) {
    return (spn_download_request){.model = model};
}

spn_download_request spn_download_request_huggingface(const char *repo, const char *filename) {
    return (spn_download_request){.hf_repo = repo, .filename = filename};
}

void spn_download_result_clear(spn_download_result *result) {
    if (result == NULL) return;
    spn_free(result->path);
    spn_free(result->name);
    spn_free(result->checksum);
    spn_free(result->revision);
    spn_free(result->notice);
    *result = (spn_download_result){0};
}

/* ---- putting a file under its name ---- */

spn_status spn_install_file(spn_storage *storage, const char *name, const char *from,
                            spn_manifest *manifest, spn_error *err) {
    char *path = NULL, *map = NULL, *blocks = NULL;
    spn_path_info info;
    spn_status status;
    SPN_TRY_GOTO(spn_store_path(storage, name, "", &path, err));
    SPN_TRY_GOTO(spn_store_path(storage, name, SPN_MAP_SUFFIX, &map, err));
    SPN_TRY_GOTO(spn_store_path(storage, name, SPN_BLOCKS_SUFFIX, &blocks, err));
    if (!spn_path_look(from, &info)) {
        status = SPN_FAIL(err, IO, "%s vanished", from);
        goto done;
    }
    manifest->modified_ns = info.modified_ns; /* renaming does not change it */
    manifest->size = info.n_bytes;
    manifest->installed_at = manifest->verified_at = spn_time_unix();
    SPN_TRY_GOTO(spn_manifest_write(path, manifest, err));
    SPN_TRY_GOTO(spn_path_rename(from, path, err));
    /* Without the digests a repair fetches the whole file: no reason to fail. */
    if (spn_path_exists(map)) (void)spn_path_rename(map, blocks, NULL);
done:
    spn_free(path);
    spn_free(map);
    spn_free(blocks);
    return status;
}

static spn_status write_manifest_for(download *d, item *it, spn_manifest *m, spn_error *err) {
    const spn_resolved_model *r = &d->target.resolved;
    char parameters[32] = "";
    if (r->model != NULL) snprintf(parameters, sizeof parameters, "%gB", r->model->param_billions);
    *m = (spn_manifest){
        .repo = spn_strdup(r->repo),
        .revision = spn_strdup(r->revision[0] ? r->revision : "main"),
        .commit = spn_strdup(d->choice.listing.commit),
        .path = spn_strdup(it->file->path),
        .source = spn_strdup(it->source ? it->source : "hub"),
        .known_id = spn_strdup(r->model != NULL ? r->model->id : ""),
        .parameters = spn_strdup(parameters),
    };
    memcpy(m->sha256, it->sha256, sizeof m->sha256);
    bool ok =
        m->repo && m->revision && m->commit && m->path && m->source && m->known_id && m->parameters;
    if (ok) return SPN_STATUS_OK;
    spn_manifest_clear(m);
    return SPN_NO_MEMORY(err, "a manifest");
}

static spn_status install(download *d, item *it, spn_error *err) {
    spn_manifest manifest;
    SPN_TRY(write_manifest_for(d, it, &manifest, err));
    spn_status status = spn_install_file(d->storage, it->name, it->part, &manifest, err);
    spn_manifest_clear(&manifest);
    return status;
}

/* ---- what is here ---- */

/* Bytes of an unfinished download for the same file. */
static uint64_t part_bytes(const item *it) {
    spn_blocks map;
    uint64_t done = 0;
    if (!spn_path_exists(it->part)) return 0;
    if (spn_blocks_open(&map, it->map, false, NULL) != SPN_STATUS_OK) return 0;
    if (map.size == it->file->size && it->file->sha256[0] &&
        strcmp(map.sha256, it->file->sha256) == 0)
        done = spn_blocks_done_bytes(&map);
    spn_blocks_close(&map);
    return done;
}

/* A file is under its name: is it the listed one? Hashes it only when its manifest does not vouch
 * for it. A foreign file of another content is not overwritten unasked. */
static spn_status look_at_final(download *d, item *it, bool may_hash, spn_error *err) {
    spn_manifest m = {0};
    spn_path_info info;
    bool listed = it->file->sha256[0] != '\0';
    if (!spn_path_look(it->path, &info) || !info.is_file) return SPN_STATUS_OK;
    bool known = spn_manifest_read(it->path, &m, NULL) == SPN_STATUS_OK;
    bool same =
        known && (!listed || strcmp(m.sha256, it->file->sha256) == 0) && m.size == it->file->size;
    bool fresh = known && spn_manifest_is_fresh(&m, it->path);
    spn_status status = SPN_STATUS_OK;
    if (same && fresh) {
        it->is_here = true;
        memcpy(it->sha256, m.sha256, sizeof it->sha256);
    } else if (may_hash && !fresh && listed && info.n_bytes == it->file->size) {
        spn_blocks blocks;
        status = spn_hash_file(it->path, &d->meter, it->sha256, &blocks, err);
        d->meter.now.completed = d->meter.base;
        if (status == SPN_STATUS_OK) spn_blocks_close(&blocks);
        it->is_here = status == SPN_STATUS_OK && strcmp(it->sha256, it->file->sha256) == 0;
        if (it->is_here) status = spn_path_remove(it->part, err);
    }
    if (status == SPN_STATUS_OK && may_hash && !it->is_here && !known)
        status = SPN_FAIL(err, BUSY,
                          "%s is there already and is not the repository's file; delete it, or "
                          "force the download to replace it",
                          it->path);
    /* A file that proved right gets its manifest (again). */
    if (status == SPN_STATUS_OK && it->is_here && !(same && fresh)) {
        spn_manifest_clear(&m);
        status = write_manifest_for(d, it, &m, err);
        if (status == SPN_STATUS_OK) {
            m.size = info.n_bytes;
            m.modified_ns = info.modified_ns;
            m.installed_at = m.verified_at = spn_time_unix();
            status = spn_manifest_write(it->path, &m, err);
        }
    }
    spn_manifest_clear(&m);
    return status;
}

static void free_items(download *d) {
    for (size_t i = 0; d->items != NULL && i < d->choice.n; i++) {
        spn_lock_release(d->items[i].lock);
        spn_free(d->items[i].name);
        spn_free(d->items[i].path);
        spn_free(d->items[i].part);
        spn_free(d->items[i].map);
    }
    spn_free(d->items);
    d->items = NULL;
}

static spn_status make_items(download *d, spn_error *err) {
    d->items = spn_alloc_zeroed(d->choice.n, sizeof *d->items);
    if (d->items == NULL) return SPN_NO_MEMORY(err, "a plan");
    for (size_t i = 0; i < d->choice.n; i++) {
        item *it = &d->items[i];
        spn_buf name = SPN_BUF(0);
        it->file = d->choice.files[i];
        spn_buf_printf(&name, "%s/%s", d->target.resolved.repo, it->file->path);
        it->name = spn_buf_take(&name, NULL);
        spn_buf_free(&name);
        if (it->name == NULL) return SPN_NO_MEMORY(err, "a plan");
        SPN_TRY(spn_store_path(d->storage, it->name, "", &it->path, err));
        SPN_TRY(spn_store_path(d->storage, it->name, SPN_PART_SUFFIX, &it->part, err));
        SPN_TRY(spn_store_path(d->storage, it->name, SPN_MAP_SUFFIX, &it->map, err));
    }
    return SPN_STATUS_OK;
}

/* Room for what is still to come: what the parts have on the disk already is not needed again. */
static uint64_t room_needed(const download *d) {
    uint64_t need = 0;
    for (size_t i = 0; i < d->choice.n; i++) {
        const item *it = &d->items[i];
        spn_path_info info;
        if (it->is_here) continue;
        uint64_t have = spn_path_look(it->part, &info) ? info.n_allocated : 0;
        if (have < it->file->size) need += it->file->size - have;
    }
    return need;
}

/* ---- fetching ---- */

static spn_status fetch(download *d, item *it, spn_error *err) {
    const spn_download_request *q = d->request;
    spn_storage *s = d->storage;
    memcpy(it->sha256, it->file->sha256, sizeof it->sha256);
    const char *commit = d->choice.listing.commit;
    if (commit[0] == '\0')
        commit = d->target.resolved.revision[0] ? d->target.resolved.revision : "main";
    spn_transfer_job job = {
        .repo = d->target.resolved.repo,
        .commit = commit,
        .path = it->file->path,
        .part_path = it->part,
        .map_path = it->map,
        .size = it->file->size,
        .sha256 = it->sha256,
        .git_sha1 = it->file->git_sha1,
        .n_connections = q->n_connections ? q->n_connections : s->n_connections,
        .rate_limit = q->rate_limit ? q->rate_limit : s->rate_limit,
    };
    spn_status status = spn_transfer_run(s, &job, &d->meter, err);
    d->list_again |= job.changed;
    return status;
}

/* From another program's store, where the same bytes are. A failure there is no failure here. */
static bool take_from_others(download *d, item *it) {
    const char *source;
    if (it->file->sha256[0] == '\0' || d->request->force) return false;
    char *foreign = spn_find_foreign(d->storage, d->target.resolved.repo, it->file->sha256,
                                     it->file->size, &source);
    if (foreign == NULL) return false;
    spn_manifest m;
    spn_error problem = {0};
    it->source = source;
    memcpy(it->sha256, it->file->sha256, sizeof it->sha256);
    spn_status status = write_manifest_for(d, it, &m, &problem);
    if (status == SPN_STATUS_OK) {
        status = spn_take_foreign(d->storage, foreign, it->name, true, &m, &d->meter, &problem);
        spn_manifest_clear(&m);
    }
    d->meter.now.completed = d->meter.base;
    if (status != SPN_STATUS_OK) {
        it->source = NULL;
        spn_log(SPN_LOG_LEVEL_WARNING, "%s is not used: %s", foreign, problem.text);
    }
    spn_free(foreign);
    return status == SPN_STATUS_OK;
}

static spn_status lock_all(download *d, spn_error *err) {
    const spn_http_wait wait = spn_meter_wait(&d->meter);
    for (size_t i = 0; i < d->choice.n; i++) {
        item *it = &d->items[i];
        SPN_TRY(spn_store_make_folders(d->storage, it->name, err));
        d->meter.now.file = it->file->path;
        SPN_TRY(spn_store_lock(d->storage, it->name, !d->storage->no_wait, &wait, &it->lock, err));
        /* While we waited, its last file may have been deleted with its folder. */
        SPN_TRY(spn_store_make_folders(d->storage, it->name, err));
    }
    return SPN_STATUS_OK;
}

static spn_status fetch_all(download *d, spn_error *err) {
    for (size_t i = 0; i < d->choice.n; i++) {
        item *it = &d->items[i];
        if (!d->request->force) SPN_TRY(look_at_final(d, it, true, err));
    }
    SPN_TRY(spn_check_room(d->storage, room_needed(d), NULL, err));
    for (size_t i = 0; i < d->choice.n; i++) {
        item *it = &d->items[i];
        d->meter.now.file = it->file->path;
        d->meter.now.file_index = i;
        d->meter.now.completed = d->meter.base;
        if (!it->is_here && take_from_others(d, it)) it->is_here = true;
        if (d->meter.cancelled) return SPN_FAIL(err, CANCELLED, "cancelled");
        if (!it->is_here) SPN_TRY(fetch(d, it, err));
        d->meter.base += it->file->size;
    }
    d->meter.now.completed = d->meter.base;
    (void)spn_meter_tell(&d->meter, "installing", "", true);
    /* The first file stands for the model: it comes last. */
    for (size_t i = d->choice.n; i-- > 0;)
        if (!d->items[i].is_here) SPN_TRY(install(d, &d->items[i], err));
    return SPN_STATUS_OK;
}

static spn_status fill_result(download *d, spn_download_result *result, spn_error *err) {
    item *first = &d->items[0];
    bool cached = true;
    for (size_t i = 0; i < d->choice.n; i++) cached = cached && d->items[i].is_here;
    cached = cached && first->source == NULL;
    spn_download_result r = {
        .path = spn_strdup(first->path),
        .name = spn_strdup(first->name),
        .checksum = spn_strdup(first->sha256),
        .revision = spn_strdup(d->choice.listing.commit),
        .notice = spn_strdup(d->target.notice),
        .size = d->choice.total,
        .cached = cached,
        .n_files = d->choice.n,
        .fetched = d->meter.now.fetched,
    };
    if (r.path && r.name && r.checksum && r.revision && r.notice) {
        *result = r;
        return SPN_STATUS_OK;
    }
    spn_download_result_clear(&r);
    return SPN_NO_MEMORY(err, "the result");
}

static spn_status from_hub(download *d, spn_download_result *result, spn_error *err) {
    const spn_http_wait wait = spn_meter_wait(&d->meter);
    spn_status status;
    d->meter.base = 0;
    d->list_again = false;
    if (!spn_meter_tell(&d->meter, "resolving", "", true)) {
        status = SPN_FAIL(err, CANCELLED, "cancelled");
        goto done;
    }
    SPN_TRY_GOTO(
        spn_choose(d->storage, &d->target, !d->request->no_projector, &wait, &d->choice, err));
    SPN_TRY_GOTO(make_items(d, err));
    d->meter.now.total = d->choice.total;
    d->meter.now.n_files = d->choice.n;
    SPN_TRY_GOTO(lock_all(d, err));
    SPN_TRY_GOTO(fetch_all(d, err));
    SPN_TRY_GOTO(fill_result(d, result, err));
    (void)spn_meter_tell(&d->meter, result->cached ? "cached" : "complete", "", true);
done:
    free_items(d);
    d->meter.now.file = "";
    spn_choice_clear(&d->choice);
    return status;
}

/* ---- without the network ---- */

/* The model is here, whole and unchanged since it was verified: nothing to do. */
static bool is_cached(download *d, spn_download_result *result) {
    spn_stored_model m;
    const spn_resolved_model *r = &d->target.resolved;
    spn_resolved_model wanted = *r;
    if (d->request->force) return false;
    /* A quantization that nobody named: the default of the catalogue, not whatever is here. */
    if (r->kind == SPN_REFERENCE_CURATED && r->quantization == SPN_QUANTIZATION_NONE)
        wanted.quantization = r->model->files[0].quantization;
    if (spn_store_find(d->storage, d->target.label, &wanted, false, &m, NULL) != SPN_STATUS_OK) {
        /* The catalogue's default may not have been there: what was chosen then carries the id. */
        if (wanted.quantization == r->quantization ||
            spn_store_find(d->storage, d->target.label, r, false, &m, NULL) != SPN_STATUS_OK)
            return false;
        if (!spn_ascii_equal(m.known_id, r->model->id)) {
            spn_stored_model_clear(&m);
            return false;
        }
    }
    spn_manifest manifest = {0};
    bool ok = m.state == SPN_STORED_COMPLETE;
    for (uint32_t no = 1; ok && no <= m.n_files; no++) {
        spn_split split;
        char *name = spn_split_parse(m.path, &split) ? spn_split_name(m.path, &split, no)
                                                     : spn_strdup(m.path);
        ok = name != NULL && spn_manifest_read(name, &manifest, NULL) == SPN_STATUS_OK &&
             spn_manifest_is_fresh(&manifest, name);
        spn_manifest_clear(&manifest);
        spn_free(name);
    }
    if (ok) {
        spn_download_result found = {.path = m.path,
                                     .name = m.name,
                                     .size = m.size,
                                     .checksum = m.digest,
                                     .revision = m.commit,
                                     .cached = true,
                                     .n_files = m.n_files,
                                     .notice = spn_strdup("")};
        ok = found.notice != NULL;
        if (ok) m.path = m.name = m.digest = m.commit = NULL, *result = found;
    }
    spn_stored_model_clear(&m);
    return ok;
}

/* A vision model needs its encoder as well. */
static bool needs_projector(const download *d) {
    const spn_resolved_model *r = &d->target.resolved;
    if (r->model == NULL || r->model->projector == NULL || d->request->no_projector) return false;
    spn_stored_list list;
    bool found = false;
    if (spn_storage_list_models(d->storage, &list, NULL) != SPN_STATUS_OK) return true;
    for (size_t i = 0; i < list.n; i++) {
        const char *base = strrchr(list.items[i].name, '/');
        found |= spn_ascii_equal(list.items[i].repo, r->repo) && base != NULL &&
                 spn_ascii_starts(base + 1, "mmproj") && list.items[i].state == SPN_STORED_COMPLETE;
    }
    spn_stored_list_clear(&list);
    return !found;
}

spn_status spn_storage_download(spn_storage *storage, const spn_download_request *request,
                                spn_pull_progress_fn progress, void *user,
                                spn_download_result *result, spn_error *err) {
    spn_error local = {0};
    if (err == NULL) err = &local;
    if (storage == NULL || request == NULL || result == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "download: an argument is missing");
    download *d = spn_alloc_zeroed(1, sizeof *d);
    if (d == NULL) return SPN_NO_MEMORY(err, "a download");
    d->storage = storage;
    d->request = request;
    d->meter = (spn_meter){.fn = progress, .user = user};
    d->meter.now.file = "";
    spn_status status = spn_target_of(&d->target, request, err);
    if (status != SPN_STATUS_OK) goto done;
    bool cached = !needs_projector(d) && is_cached(d, result);
    if (cached) {
        d->meter.now.completed = d->meter.now.total = result->size;
        (void)spn_meter_tell(&d->meter, "cached", "", true);
        goto done;
    }
    if (storage->offline) {
        status = SPN_FAIL(err, OFFLINE,
                          "%s is not in the store, and the network is switched off "
                          "(HF_HUB_OFFLINE)",
                          d->target.label);
        goto done;
    }
    status = from_hub(d, result, err);
    /* Something was pushed between the listing and the file: once more from the listing. */
    if (status == SPN_STATUS_API && d->list_again && !d->meter.cancelled)
        status = from_hub(d, result, err);
done:
    spn_free(d);
    return status;
}

/* ---- the dry run ---- */

void spn_download_plan_clear(spn_download_plan *plan) {
    if (plan == NULL) return;
    for (size_t i = 0; i < plan->n_files; i++) {
        spn_free(plan->files[i].path);
        spn_free(plan->files[i].sha256);
    }
    spn_free(plan->files);
    spn_free(plan->repo);
    spn_free(plan->revision);
    spn_free(plan->name);
    spn_free(plan->notice);
    *plan = (spn_download_plan){0};
}

static spn_status plan_file(download *d, item *it, spn_planned_file *out, spn_error *err) {
    if (!d->request->force) SPN_TRY(look_at_final(d, it, false, err));
    *out = (spn_planned_file){
        .path = spn_strdup(it->file->path),
        .sha256 = spn_strdup(it->file->sha256),
        .size = it->file->size,
        .is_here = it->is_here,
        .n_done = it->is_here ? it->file->size : part_bytes(it),
    };
    return out->path && out->sha256 ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "a plan");
}

static spn_status make_plan(download *d, spn_download_plan *plan, spn_error *err) {
    const spn_resolved_model *r = &d->target.resolved;
    uint64_t available = d->request->available_memory, weights = 0;
    plan->files = spn_alloc_zeroed(d->choice.n, sizeof *plan->files);
    plan->repo = spn_strdup(r->repo);
    plan->revision = spn_strdup(d->choice.listing.commit);
    plan->name = spn_strdup(d->items[0].name);
    plan->notice = spn_strdup(d->target.notice);
    if (!plan->files || !plan->repo || !plan->revision || !plan->name || !plan->notice)
        return SPN_NO_MEMORY(err, "a plan");
    for (size_t i = 0; i < d->choice.n; i++) {
        spn_planned_file *file = &plan->files[plan->n_files];
        SPN_TRY(plan_file(d, &d->items[i], file, err));
        plan->n_files++;
        plan->to_fetch += file->size - file->n_done;
        weights += file->size;
    }
    plan->total = d->choice.total;
    plan->gated = d->choice.listing.gated;
    plan->quantization = spn_extract_quantization(d->items[0].file->path);
    spn_error no_room = {0};
    plan->fits_disk = spn_check_room(d->storage, room_needed(d), &plan->disk_available, &no_room) ==
                      SPN_STATUS_OK;
    spn_ram_info ram = {0};
    if (available == 0 && spn_detect_ram(&ram, NULL) == SPN_STATUS_OK) available = ram.available;
    plan->has_memory = r->model != NULL;
    if (plan->has_memory)
        spn_known_model_memory_of_bytes(r->model, weights, available, d->request->n_ctx,
                                        &plan->memory);
    return SPN_STATUS_OK;
}

spn_status spn_storage_plan(spn_storage *storage, const spn_download_request *request,
                            spn_download_plan *plan, spn_error *err) {
    spn_download_plan made = {0};
    if (storage == NULL || request == NULL || plan == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "plan: an argument is missing");
    download *d = spn_alloc_zeroed(1, sizeof *d);
    if (d == NULL) return SPN_NO_MEMORY(err, "a plan");
    d->storage = storage;
    d->request = request;
    spn_status status;
    SPN_TRY_GOTO(spn_target_of(&d->target, request, err));
    SPN_TRY_GOTO(spn_choose(storage, &d->target, !request->no_projector, NULL, &d->choice, err));
    SPN_TRY_GOTO(make_items(d, err));
    SPN_TRY_GOTO(make_plan(d, &made, err));
    *plan = made;
    made = (spn_download_plan){0};
done:
    spn_download_plan_clear(&made);
    free_items(d);
    spn_choice_clear(&d->choice);
    spn_free(d);
    return status;
}
