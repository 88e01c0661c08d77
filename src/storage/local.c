/* local.c - opening a store; its names, paths, locks; progress; copying and hashing files.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A name is checked twice before it becomes a path: its form (names.c), and that no folder on the
 * way is a link, which could lead out of the store. The store's own folder may be one: that is the
 * user's choice.
 */
#include <stdio.h>
#include <string.h>

#include "storage/store.h"

#define MAX_DEPTH 8 /* folders below the store; OWNER/REPO/QUANT/FILE needs 3 */

/* ---- opening ---- */

static bool copy_text(char **out, const char *text) {
    if (text == NULL || text[0] == '\0') return true;
    *out = spn_strdup(text);
    return *out != NULL;
}

static uint32_t or_default(uint32_t value, uint32_t otherwise) { return value ? value : otherwise; }

static spn_status take_endpoint(spn_storage *s, const char *endpoint, spn_error *err) {
    if (endpoint == NULL || endpoint[0] == '\0') endpoint = "https://huggingface.co";
    size_t n = strlen(endpoint);
    while (n > 0 && endpoint[n - 1] == '/') n--;
    s->endpoint = spn_memdup_text(endpoint, n);
    if (s->endpoint == NULL) return SPN_NO_MEMORY(err, "the storage");
    if (n > 1000 || strpbrk(s->endpoint, " ?#\"<>\\") != NULL ||
        !spn_url_origin(s->endpoint, s->endpoint_origin, sizeof s->endpoint_origin))
        return SPN_FAIL(err, INVALID_CONFIG, "%.200s is no http address of a hub", endpoint);
    return SPN_STATUS_OK;
}

/* A token that is no plain word would break the header it goes into. */
static spn_status take_token(spn_storage *s, const char *token, spn_error *err) {
    if (token == NULL) return SPN_STATUS_OK;
    size_t n = strlen(token);
    while (n > 0 && strchr(" \t\r\n", token[n - 1]) != NULL) n--;
    while (n > 0 && strchr(" \t\r\n", token[0]) != NULL) token++, n--;
    if (n == 0) return SPN_STATUS_OK;
    for (size_t i = 0; i < n; i++)
        if (token[i] <= ' ' || token[i] > '~' || n > 2000)
            return SPN_FAIL(err, INVALID_CONFIG,
                            "the token holds characters that no token has, or is too long");
    s->token = spn_memdup_text(token, n);
    return s->token != NULL ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "the storage");
}

static spn_status take_dir(spn_storage *s, const char *dir, spn_error *err) {
    char *own = NULL;
    spn_error problem = {0};
    spn_status status = SPN_STATUS_OK;
    if (dir == NULL || dir[0] == '\0') {
        SPN_TRY(spn_default_model_dir(&own, err));
        dir = own;
    }
    status = spn_dir_create(dir, &problem);
    if (status == SPN_STATUS_OK) status = spn_path_real(dir, &s->dir, &problem);
    if (status != SPN_STATUS_OK && status != SPN_STATUS_NO_MEMORY)
        status = spn_fail_code(err, SPN_STATUS_STORAGE_DIR, problem.code,
                               "the store's folder %s cannot be used: %s", dir, problem.text);
    else if (status != SPN_STATUS_OK)
        status = SPN_NO_MEMORY(err, "the storage");
    spn_free(own);
    return status;
}

spn_status spn_default_model_dir(char **dir, spn_error *err) {
    if (dir == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "no place for the folder's name");
    char *home;
    SPN_TRY(spn_home_dir(&home, err));
    spn_buf path = SPN_BUF(0);
    spn_buf_printf(&path, "%s/.spn/models", home);
    spn_free(home);
    char *text = spn_buf_take(&path, NULL);
    spn_buf_free(&path);
    if (text == NULL) return SPN_NO_MEMORY(err, "a path");
    *dir = text;
    return SPN_STATUS_OK;
}

static void take_numbers(spn_storage *s, const spn_storage_options *o) {
    s->offline = o->offline;
    s->no_wait = o->no_wait;
    s->n_connections = or_default(o->n_connections, 4);
    s->max_retries = o->max_retries == UINT32_MAX ? 0 : or_default(o->max_retries, 6);
    s->retry_base_ms = or_default(o->retry_base_ms, 500);
    s->retry_max_ms = or_default(o->retry_max_ms, 15000);
    s->rate_wait_max_s = or_default(o->rate_wait_max_s, 310);
    uint32_t connect_s = or_default(o->connect_timeout_s, 15);
    uint32_t stall_s = or_default(o->stall_timeout_s, 30);
    s->connect_timeout_ms = connect_s < 3600 ? connect_s * 1000 : 3600000;
    s->stall_timeout_ms = stall_s < 3600 ? stall_s * 1000 : 3600000;
    s->rate_limit = o->rate_limit;
}

spn_status spn_storage_open(spn_storage **out, const spn_storage_options *options, spn_error *err) {
    static const spn_storage_options defaults = {0};
    if (out == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "no place for the storage");
    if (options == NULL) options = &defaults;
    spn_storage *s = spn_alloc_zeroed(1, sizeof *s);
    if (s == NULL) return SPN_NO_MEMORY(err, "the storage");
    spn_status status;
    take_numbers(s, options);
    SPN_TRY_GOTO(take_endpoint(s, options->endpoint, err));
    SPN_TRY_GOTO(take_token(s, options->token, err));
    SPN_TRY_GOTO(take_dir(s, options->dir, err));
    if (!copy_text(&s->hf_cache_dir, options->hf_cache_dir) ||
        !copy_text(&s->ollama_dir, options->ollama_dir)) {
        status = SPN_NO_MEMORY(err, "the storage");
        goto done;
    }
    if (options->transport != NULL) {
        s->transport = *options->transport;
        if (s->transport.perform == NULL)
            status = SPN_FAIL(err, INVALID_ARGUMENT, "the transport cannot perform");
    } else {
        SPN_TRY_GOTO(spn_curl_create(&s->curl, options, err));
        s->transport = spn_curl_transport(s->curl);
    }
done:
    if (status == SPN_STATUS_OK)
        *out = s;
    else
        spn_storage_close(s);
    return status;
}

void spn_storage_close(spn_storage *s) {
    if (s == NULL) return;
    spn_curl_free(s->curl);
    spn_free(s->dir);
    spn_free(s->endpoint);
    spn_free(s->token);
    spn_free(s->hf_cache_dir);
    spn_free(s->ollama_dir);
    spn_free(s);
}

const char *spn_storage_dir(const spn_storage *storage) {
    return storage != NULL ? storage->dir : NULL;
}

/* ---- names and paths ---- */

bool spn_name_is_gguf(const char *name) { return spn_ascii_ends(name, ".gguf"); }

/* No folder between the store and the file may be a link. */
static spn_status check_links(const spn_storage *storage, char *path, spn_error *err) {
    for (char *at = path + strlen(storage->dir) + 1; (at = strchr(at, '/')) != NULL; at++) {
        spn_path_info info;
        *at = '\0';
        bool there = spn_path_look(path, &info);
        bool bad = there && !info.is_dir;
        if (bad)
            (void)SPN_FAIL(err, INVALID_ARGUMENT, "%s is %s: nothing is read or written through it",
                           path,
                           info.is_link ? "a link, which may lead out of the store" : "no folder");
        *at = '/';
        if (bad) return SPN_STATUS_INVALID_ARGUMENT;
        if (!there) break;
    }
    return SPN_STATUS_OK;
}

spn_status spn_store_path(const spn_storage *storage, const char *name, const char *suffix,
                          char **out, spn_error *err) {
    const char *problem = spn_path_problem(name);
    if (problem != NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.200s cannot be a name in the store: %s", name,
                        problem);
    spn_buf buf = SPN_BUF(0);
    spn_buf_printf(&buf, "%s/%s%s", storage->dir, name, suffix);
    char *path = spn_buf_take(&buf, NULL);
    spn_buf_free(&buf);
    if (path == NULL) return SPN_NO_MEMORY(err, "a path");
    spn_status status = check_links(storage, path, err);
    if (status == SPN_STATUS_OK)
        *out = path;
    else
        spn_free(path);
    return status;
}

spn_status spn_store_make_folders(const spn_storage *storage, const char *name, spn_error *err) {
    char *path;
    SPN_TRY(spn_store_path(storage, name, "", &path, err));
    *strrchr(path, '/') = '\0';
    spn_status status = spn_dir_create(path, err);
    spn_free(path);
    return status;
}

void spn_store_drop_folders(const spn_storage *storage, const char *name) {
    char *path;
    if (spn_store_path(storage, name, "", &path, NULL) != SPN_STATUS_OK) return;
    size_t root = strlen(storage->dir);
    for (char *slash = strrchr(path, '/'); slash > path + root; slash = strrchr(path, '/')) {
        *slash = '\0';
        if (!spn_dir_remove(path)) break;
    }
    spn_free(path);
}

spn_status spn_storage_model_path(spn_storage *storage, const char *name, char **path,
                                  spn_error *err) {
    if (storage == NULL || name == NULL || path == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "model path: an argument is missing");
    return spn_store_path(storage, name, "", path, err);
}

bool spn_split_parse(const char *name, spn_split *out) {
    size_t n = strlen(name);
    uint64_t no, count;
    if (n < 21 || !spn_name_is_gguf(name)) return false;
    const char *tail = name + n - 20; /* "-00001-of-00005.gguf" */
    if (tail[0] != '-' || !spn_ascii_starts(tail + 6, "-of-") || !spn_parse_u64(tail + 1, 5, &no) ||
        !spn_parse_u64(tail + 10, 5, &count))
        return false;
    if (no == 0 || count == 0 || no > count) return false;
    *out = (spn_split){(uint32_t)no, (uint32_t)count, n - 20};
    return true;
}

char *spn_split_name(const char *name, const spn_split *split, uint32_t no) {
    spn_buf buf = SPN_BUF(0);
    spn_buf_append(&buf, name, split->prefix);
    spn_buf_printf(&buf, "-%05u-of-%05u%s", no, split->count, name + split->prefix + 15);
    char *text = spn_buf_take(&buf, NULL);
    spn_buf_free(&buf);
    return text;
}

/* ---- locks ---- */

/* Lock files stand in a folder of their own, so that no model's folder holds foreign things. The
 * name is the digest of the model's: any name fits. */
static spn_status lock_path(const spn_storage *storage, const char *name, spn_buf *out,
                            spn_error *err) {
    *out = SPN_BUF(0);
    spn_buf_printf(out, "%s/.locks", storage->dir);
    if (out->failed) return SPN_NO_MEMORY(err, "a path");
    SPN_TRY(spn_dir_create(out->data, err));
    const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
    spn_buf_printf(out, "/%016llx-%.80s.lock",
                   (unsigned long long)spn_block_digest(name, strlen(name)), base);
    return out->failed ? SPN_NO_MEMORY(err, "a path") : SPN_STATUS_OK;
}

spn_status spn_store_lock(spn_storage *storage, const char *name, bool wait,
                          const spn_http_wait *who, spn_lock **out, spn_error *err) {
    spn_buf path;
    spn_error problem;
    spn_status status = lock_path(storage, name, &path, err);
    while (status == SPN_STATUS_OK) {
        problem = (spn_error){0};
        status = spn_lock_try(out, path.data, &problem);
        if (status == SPN_STATUS_OK) break;
        const char *holder = strstr(problem.text, " is held by ");
        if (status == SPN_STATUS_BUSY && holder != NULL) {
            char text[300];
            snprintf(text, sizeof text, "%.150s is being written by %.100s", name, holder + 12);
            problem = (spn_error){.status = SPN_STATUS_BUSY};
            memcpy(problem.text, text, sizeof text);
        }
        if (status != SPN_STATUS_BUSY || !wait) {
            if (err != NULL) *err = problem;
            break;
        }
        status = SPN_STATUS_OK;
        if (who != NULL && who->tell != NULL) who->tell(problem.text, who->user);
        if (who != NULL && who->go_on != NULL && !who->go_on(who->user))
            status = SPN_FAIL(err, CANCELLED, "cancelled while waiting: %s", problem.text);
        else
            spn_sleep_ms(100);
    }
    spn_buf_free(&path);
    return status;
}

/* ---- walking ---- */

typedef struct walk {
    const spn_storage *storage;
    spn_buf path; /* absolute */
    size_t root;  /* bytes of it before the name */
    int depth;
    spn_store_each_fn each;
    void *user;
    bool more;
    spn_status status;
    spn_error *err;
} walk;

static bool visit(const char *entry, void *user) {
    walk *w = user;
    if (entry[0] == '.') return true; /* .locks, and what others hide */
    size_t len = w->path.len;
    spn_path_info info;
    if (!spn_buf_printf(&w->path, "/%s", entry)) {
        w->status = SPN_NO_MEMORY(w->err, "a path");
        return false;
    }
    if (spn_path_look(w->path.data, &info)) {
        if (info.is_dir && w->depth < MAX_DEPTH) {
            w->depth++;
            spn_error ignored; /* a folder that cannot be read hides its own models only */
            spn_status status = spn_dir_list(w->path.data, visit, w, &ignored);
            if (status == SPN_STATUS_NO_MEMORY) w->status = SPN_NO_MEMORY(w->err, "a folder");
            w->depth--;
        } else if (info.is_file && spn_path_problem(w->path.data + w->root) == NULL) {
            w->more = w->each(w->path.data + w->root, &info, w->user);
        }
    }
    w->path.len = len;
    w->path.data[len] = '\0';
    return w->more && w->status == SPN_STATUS_OK;
}

spn_status spn_store_walk(const spn_storage *storage, spn_store_each_fn each, void *user,
                          spn_error *err) {
    walk w = {.storage = storage,
              .path = SPN_BUF(0),
              .each = each,
              .user = user,
              .more = true,
              .err = err};
    spn_buf_append_text(&w.path, storage->dir);
    w.root = w.path.len + 1;
    if (w.path.failed) return SPN_NO_MEMORY(err, "a path");
    spn_status status = spn_dir_list(w.path.data, visit, &w, err);
    if (status == SPN_STATUS_OK) status = w.status;
    spn_buf_free(&w.path);
    return status;
}

/* ---- progress ---- */

double spn_pull_progress_percent(const spn_pull_progress *progress) {
    if (progress == NULL || progress->total == 0) return 0;
    return (double)progress->completed * 100 / (double)progress->total;
}

bool spn_pull_progress_is_complete(const spn_pull_progress *progress) {
    return progress != NULL && progress->total > 0 && progress->completed >= progress->total;
}

/* Bytes a second over the window's few seconds. */
static double rate_of(spn_meter *meter, uint64_t now) {
    size_t slot = meter->n_window % SPN_COUNT(meter->window);
    uint64_t last = meter->n_window ? meter->window[(meter->n_window - 1) % 16].ns : 0;
    if (now - last >= 250000000u) {
        meter->window[slot].ns = now;
        meter->window[slot].fetched = meter->now.fetched;
        meter->n_window++;
    }
    size_t oldest = meter->n_window > 16 ? meter->n_window % 16 : 0;
    uint64_t ns = now - meter->window[oldest].ns;
    if (ns < 200000000u || meter->now.fetched < meter->window[oldest].fetched) return 0;
    return (double)(meter->now.fetched - meter->window[oldest].fetched) * 1e9 / (double)ns;
}

bool spn_meter_tell(spn_meter *meter, const char *status, const char *message, bool force) {
    uint64_t now = spn_time_ns();
    if (meter->cancelled) return false;
    if (meter->fn == NULL) return true;
    bool same = meter->now.status != NULL && strcmp(meter->now.status, status) == 0;
    if (!force && same && now - meter->told_ns < 100000000u) return true;
    meter->now.status = status;
    meter->now.message = message != NULL ? message : "";
    if (meter->now.file == NULL) meter->now.file = "";
    meter->now.bytes_per_second = rate_of(meter, now);
    meter->told_ns = now;
    meter->cancelled = !meter->fn(&meter->now, meter->user);
    return !meter->cancelled;
}

static bool meter_go_on(void *user) {
    spn_meter *meter = user;
    return spn_meter_tell(meter, meter->now.status ? meter->now.status : "resolving", "", false);
}

static void meter_waits(const char *message, void *user) {
    spn_meter *meter = user;
    if (meter->now.status == NULL || strcmp(meter->now.status, "waiting") != 0 ||
        spn_time_ns() - meter->told_ns > 1000000000u)
        (void)spn_meter_tell(meter, "waiting", message, true);
}

spn_http_wait spn_meter_wait(spn_meter *meter) {
    return (spn_http_wait){meter_go_on, meter_waits, meter};
}

/* ---- whole files ---- */

static spn_status hash_blocks(spn_file *file, uint64_t size, spn_meter *meter, spn_sha256 *sha,
                              spn_blocks *blocks, uint8_t *buffer, spn_error *err) {
    uint64_t base = meter != NULL ? meter->now.completed : 0;
    for (uint64_t at = 0, i = 0; at < size; i++) {
        size_t n = size - at < SPN_BLOCK_BYTES ? (size_t)(size - at) : SPN_BLOCK_BYTES, n_read;
        SPN_TRY(spn_file_read_at(file, buffer, n, at, &n_read, err));
        if (n_read != n) return SPN_FAIL(err, IO, "a file became shorter while it was read");
        SPN_TRY(spn_sha256_update(sha, buffer, n, err));
        if (blocks != NULL)
            SPN_TRY(spn_blocks_set(blocks, (size_t)i, spn_block_digest(buffer, n), err));
        at += n;
        if (meter == NULL) continue;
        meter->now.completed = base + at;
        if (!spn_meter_tell(meter, "verifying", "", false))
            return SPN_FAIL(err, CANCELLED, "cancelled");
    }
    return SPN_STATUS_OK;
}

spn_status spn_hash_file(const char *path, spn_meter *meter, char sha256[65], spn_blocks *blocks,
                         spn_error *err) {
    spn_file *file = NULL;
    uint64_t size;
    uint8_t digest[SPN_SHA256_BYTES];
    spn_status status = SPN_STATUS_OK;
    spn_sha256 *sha = NULL;
    uint8_t *buffer = spn_alloc(SPN_BLOCK_BYTES);
    if (blocks != NULL) *blocks = (spn_blocks){0};
    if (buffer == NULL) status = SPN_NO_MEMORY(err, "hashing");
    if (status != SPN_STATUS_OK) goto done;
    SPN_TRY_GOTO(spn_sha256_create(&sha, err));
    SPN_TRY_GOTO(spn_file_open(&file, path, SPN_FILE_READ, err));
    SPN_TRY_GOTO(spn_file_size(file, &size, err));
    if (blocks != NULL) SPN_TRY_GOTO(spn_blocks_create(blocks, NULL, size, "", err));
    SPN_TRY_GOTO(hash_blocks(file, size, meter, sha, blocks, buffer, err));
    SPN_TRY_GOTO(spn_sha256_final(sha, digest, err));
    spn_sha256_text(digest, sha256);
done:
    if (status != SPN_STATUS_OK && blocks != NULL) spn_blocks_close(blocks);
    spn_file_close(file);
    spn_sha256_free(sha);
    spn_free(buffer);
    return status;
}

static spn_status copy_bytes(spn_file *in, spn_file *out, uint64_t size, uint8_t *buffer,
                             spn_meter *meter, spn_error *err) {
    uint64_t base = meter != NULL ? meter->now.completed : 0;
    for (uint64_t at = 0; at < size;) {
        size_t n_read, n = size - at < SPN_BLOCK_BYTES ? (size_t)(size - at) : SPN_BLOCK_BYTES;
        SPN_TRY(spn_file_read_at(in, buffer, n, at, &n_read, err));
        if (n_read != n) return SPN_FAIL(err, IO, "a file became shorter while it was copied");
        SPN_TRY(spn_file_write_at(out, buffer, n, at, err));
        at += n;
        if (meter == NULL) continue;
        meter->now.completed = base + at;
        if (!spn_meter_tell(meter, "copying", "", false))
            return SPN_FAIL(err, CANCELLED, "cancelled");
    }
    return spn_file_sync(out, err);
}

spn_status spn_copy_file(const char *from, const char *to, spn_meter *meter, spn_error *err) {
    spn_file *in = NULL, *out = NULL;
    uint8_t *buffer = NULL;
    uint64_t size;
    (void)spn_path_remove(to, NULL);
    if (spn_path_clone(from, to, NULL) == SPN_STATUS_OK) return SPN_STATUS_OK;
    spn_status status;
    SPN_TRY_GOTO(spn_file_open(&in, from, SPN_FILE_READ, err));
    SPN_TRY_GOTO(spn_file_size(in, &size, err));
    SPN_TRY_GOTO(spn_file_open(&out, to, SPN_FILE_WRITE_NEW, err));
    SPN_TRY_GOTO(spn_file_allocate(out, size, err));
    buffer = spn_alloc(SPN_BLOCK_BYTES);
    status = buffer != NULL ? copy_bytes(in, out, size, buffer, meter, err)
                            : SPN_NO_MEMORY(err, "copying");
done:
    spn_file_close(in);
    spn_file_close(out);
    spn_free(buffer);
    if (status != SPN_STATUS_OK) (void)spn_path_remove(to, NULL);
    return status;
}

/* A hundredth of the disk, at most 256 MiB, stays free: a full disk breaks more than a download. */
spn_status spn_check_room(const spn_storage *storage, uint64_t need, uint64_t *available,
                          spn_error *err) {
    spn_disk_room room;
    char want[24], have[24];
    SPN_TRY(spn_disk_room_of(storage->dir, &room, err));
    uint64_t reserve = room.total / 100 < (256u << 20) ? room.total / 100 : 256u << 20;
    if (available != NULL) *available = room.available;
    if (need == 0 || (need <= room.available && reserve <= room.available - need))
        return SPN_STATUS_OK;
    snprintf(want, sizeof want, "%.1f MB", (double)(need + reserve) / 1e6);
    snprintf(have, sizeof have, "%.1f MB", (double)room.available / 1e6);
    return SPN_FAIL(err, DISK_FULL,
                    "the disk of %s has %s free, and %s are needed; free some room or move the "
                    "store, then the same call goes on",
                    storage->dir, have, want);
}
