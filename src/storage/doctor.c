/* doctor.c - is all well, and is what is here still the latest. SPDX-License-Identifier: Apache-2.0
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "storage/store.h"

static void check_writing(const spn_storage *storage, spn_storage_health *health) {
    char path[4200];
    spn_error problem = {0};
    snprintf(path, sizeof path, "%s/.spn-write-test", storage->dir);
    health->writable = spn_file_write(path, "x", 1, &problem) == SPN_STATUS_OK;
    (void)spn_path_remove(path, NULL);
    if (!health->writable)
        snprintf(health->write_problem, sizeof health->write_problem, "%.190s", problem.text);
}

/* Any answer that is the hub's own will do: the search for one model is cheap. */
static void check_network(spn_storage *storage, spn_storage_health *health) {
    spn_buf url = SPN_BUF(SPN_URL_MAX), body = SPN_BUF((size_t)1 << 20);
    spn_error problem = {0};
    uint64_t start = spn_time_ns();
    spn_buf_printf(&url, "%s/api/models?limit=1&filter=gguf", storage->endpoint);
    spn_status status = url.failed ? SPN_NO_MEMORY(&problem, "an address")
                                   : spn_http_get(storage, url.data, body.max, &body, NULL,
                                                  "the hub", NULL, &problem);
    health->latency_ms = (uint32_t)((spn_time_ns() - start) / 1000000);
    health->reachable = status == SPN_STATUS_OK;
    if (!health->reachable)
        snprintf(health->network_problem, sizeof health->network_problem, "%s", problem.text);
    spn_buf_free(&url);
    spn_buf_free(&body);
}

static void check_token(spn_storage *storage, spn_storage_health *health) {
    spn_buf url = SPN_BUF(SPN_URL_MAX), body = SPN_BUF((size_t)1 << 20);
    spn_error problem = {0};
    char *state = health->token_state;
    spn_buf_printf(&url, "%s/api/whoami-v2", storage->endpoint);
    spn_status status = url.failed ? SPN_STATUS_NO_MEMORY
                                   : spn_http_get(storage, url.data, body.max, &body, NULL,
                                                  "the token's owner", NULL, &problem);
    json_t *root = status == SPN_STATUS_OK ? json_loadb(body.data, body.len, 0, NULL) : NULL;
    const char *name = json_string_value(json_object_get(root, "name"));
    if (status == SPN_STATUS_OK)
        snprintf(state, sizeof health->token_state, "accepted for %.100s",
                 name != NULL && spn_name_problem(name, strlen(name)) == NULL ? name : "its owner");
    else if (spn_status_is_authorization(status))
        snprintf(state, sizeof health->token_state, "refused: it is wrong or expired");
    else
        snprintf(state, sizeof health->token_state, "not checked: %.150s", problem.text);
    json_decref(root);
    spn_buf_free(&url);
    spn_buf_free(&body);
}

spn_status spn_storage_doctor(spn_storage *storage, spn_storage_health *health, spn_error *err) {
    if (storage == NULL || health == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "doctor: an argument is missing");
    spn_storage_health h = {0};
    spn_disk_room room;
    SPN_TRY(spn_disk_room_of(storage->dir, &room, err));
    h.disk_total = room.total;
    h.disk_available = room.available;
    check_writing(storage, &h);
    if (storage->curl != NULL)
        spn_curl_describe(storage->curl, storage->endpoint, h.proxy, h.certificates);
    snprintf(h.token_state, sizeof h.token_state, storage->token ? "set, not checked" : "none");
    if (storage->offline) {
        snprintf(h.network_problem, sizeof h.network_problem,
                 "the network is switched off (HF_HUB_OFFLINE)");
    } else {
        check_network(storage, &h);
        if (storage->token != NULL && h.reachable) check_token(storage, &h);
    }
    *health = h;
    return SPN_STATUS_OK;
}

/* ---- outdated ---- */

void spn_outdated_list_clear(spn_outdated_list *list) {
    if (list == NULL) return;
    for (size_t i = 0; i < list->n; i++) {
        spn_free(list->items[i].name);
        spn_free(list->items[i].revision);
        spn_free(list->items[i].have);
        spn_free(list->items[i].latest);
        spn_free(list->items[i].latest_commit);
    }
    spn_free(list->items);
    *list = (spn_outdated_list){0};
}

static spn_status add_outdated(spn_outdated_list *list, const spn_stored_model *m,
                               const char *latest, const char *commit, spn_error *err) {
    spn_outdated_model *item = &list->items[list->n];
    *item = (spn_outdated_model){
        .name = spn_strdup(m->name),
        .revision = spn_strdup(m->revision),
        .have = spn_strdup(m->digest),
        .latest = spn_strdup(latest),
        .latest_commit = spn_strdup(commit),
    };
    list->n++;
    bool ok = item->name && item->revision && item->have && item->latest && item->latest_commit;
    return ok ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "a list");
}

/* Models of one repository follow each other in the list: its listing is asked for once. */
typedef struct last_listing {
    spn_hub_listing listing;
    char repo[260], revision[260];
    bool is_there;
} last_listing;

static spn_status look_up(spn_storage *storage, last_listing *last, const spn_stored_model *m,
                          spn_error *err) {
    if (strcmp(last->repo, m->repo) == 0 && strcmp(last->revision, m->revision) == 0)
        return SPN_STATUS_OK;
    spn_hub_listing_clear(&last->listing);
    snprintf(last->repo, sizeof last->repo, "%s", m->repo);
    snprintf(last->revision, sizeof last->revision, "%s", m->revision);
    spn_status status = spn_hub_list(storage, m->repo, m->revision, NULL, &last->listing, err);
    last->is_there = status == SPN_STATUS_OK;
    return status == SPN_STATUS_MODEL_NOT_FOUND ? SPN_STATUS_OK : status;
}

static spn_status check_model(spn_storage *storage, last_listing *last, const spn_stored_model *m,
                              spn_outdated_list *list, spn_error *err) {
    const char *path = m->name + strlen(m->repo) + 1, *latest = "";
    SPN_TRY(look_up(storage, last, m, err));
    list->n_checked++;
    for (size_t i = 0; last->is_there && i < last->listing.n; i++)
        if (strcmp(last->listing.files[i].path, path) == 0) latest = last->listing.files[i].sha256;
    if (strcmp(latest, m->digest) == 0) return SPN_STATUS_OK;
    return add_outdated(list, m, latest, last->is_there ? last->listing.commit : "", err);
}

spn_status spn_storage_outdated(spn_storage *storage, spn_outdated_list *list, spn_error *err) {
    if (storage == NULL || list == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "outdated: an argument is missing");
    if (storage->offline)
        return SPN_FAIL(err, OFFLINE,
                        "the hub would have to be asked, but the network is switched "
                        "off (HF_HUB_OFFLINE)");
    spn_stored_list models;
    spn_outdated_list found = {0};
    SPN_TRY(spn_storage_list_models(storage, &models, err));
    last_listing *last = spn_alloc_zeroed(1, sizeof *last);
    found.items = spn_alloc_zeroed(models.n, sizeof *found.items);
    spn_status status =
        last && found.items ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "the list of models");
    for (size_t i = 0; status == SPN_STATUS_OK && i < models.n; i++) {
        const spn_stored_model *m = &models.items[i];
        size_t n = strlen(m->repo);
        bool followed = n > 0 && m->revision[0] && m->digest[0] &&
                        m->state == SPN_STORED_COMPLETE && strncmp(m->name, m->repo, n) == 0 &&
                        m->name[n] == '/';
        if (followed) status = check_model(storage, last, m, &found, err);
    }
    if (last != NULL) spn_hub_listing_clear(&last->listing);
    spn_free(last);
    spn_stored_list_clear(&models);
    if (status == SPN_STATUS_OK)
        *list = found;
    else
        spn_outdated_list_clear(&found);
    return status;
}
