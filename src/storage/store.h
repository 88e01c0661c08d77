/* store.h - what the storage's files share. SPDX-License-Identifier: Apache-2.0
 *
 * Layers, from below: headers.c url.c curl.c http.c (requests) - listing.c hub.c (the hub's
 * interface) - manifest.c blocks.c (what is kept beside a file) - transfer.c (one file over the
 * network) - local.c (names, paths, locks, what is here) - plan.c download.c verify.c import.c
 * prune.c move.c (the calls of storage.h).
 */
#ifndef SPN_STORAGE_STORE_H
#define SPN_STORAGE_STORE_H

#include "base/base.h"
#include "base/sha256.h"
#include "catalog/catalog.h"
#include "platform/os.h"
#include "spn/storage.h"
#include "storage/http.h"

struct spn_storage {
    char *dir;
    char *endpoint; /* without a "/" at its end */
    char endpoint_origin[300];
    char *token;
    char *hf_cache_dir, *ollama_dir;
    bool offline, no_wait;
    uint32_t n_connections, max_retries, retry_base_ms, retry_max_ms, rate_wait_max_s;
    uint32_t connect_timeout_ms, stall_timeout_ms;
    uint64_t rate_limit;
    spn_transport transport;
    spn_curl *curl; /* NULL: the host's transport */
};

/* ---- the hub (listing.c, hub.c) ---- */

typedef struct spn_hub_file {
    char *path;
    uint64_t size;
    char sha256[65];   /* "" when the listing has none */
    char git_sha1[41]; /* then git's name of the blob, when the listing has that */
} spn_hub_file;

typedef struct spn_hub_listing {
    spn_hub_file *files; /* only files; paths that may not be in a store are left out */
    size_t n;
    char commit[65]; /* "" when the hub did not say */
    bool gated;
} spn_hub_listing;
void spn_hub_listing_clear(spn_hub_listing *listing);

/* Adds a page of /api/models/REPO/tree/REVISION to `listing`. Errors: JSON, API, NO_MEMORY. */
spn_status spn_hub_parse_tree(const char *json, size_t n_bytes, spn_hub_listing *listing,
                              spn_error *err);
/* Reads /api/models/REPO/revision/REVISION: the commit, whether it is gated. */
spn_status spn_hub_parse_info(const char *json, size_t n_bytes, spn_hub_listing *listing,
                              spn_error *err);
spn_status spn_hub_parse_search(const char *json, size_t n_bytes, spn_search_list *list,
                                spn_error *err);

/* Resolves the revision to a commit and lists its files. Errors: as spn_storage_plan. */
spn_status spn_hub_list(spn_storage *storage, const char *repo, const char *revision,
                        const spn_http_wait *wait, spn_hub_listing *listing, spn_error *err);

/* Where a file's bytes are now, and what the hub says about it. */
typedef struct spn_hub_place {
    char url[SPN_URL_MAX];
    char sha256[65]; /* from X-Linked-Etag; "" */
    char commit[65];
    bool has_size;
    uint64_t size;
} spn_hub_place;
spn_status spn_hub_resolve(spn_storage *storage, const char *repo, const char *commit,
                           const char *path, const spn_http_wait *wait, spn_hub_place *place,
                           spn_error *err);

/* ---- what is kept beside a file ---- */

typedef struct spn_manifest {
    char *repo, *revision, *commit, *path; /* on the hub; "" for imported files */
    char *source;                          /* "hub", "import", "hf-cache", "ollama" */
    char *known_id;
    char *parameters;
    char sha256[65];
    uint64_t size;
    int64_t modified_ns; /* of the file when it was verified: unchanged since when it still is */
    int64_t installed_at, verified_at;
} spn_manifest;
void spn_manifest_clear(spn_manifest *manifest);
/* Errors: JSON, FORMAT, NO_MEMORY. */
spn_status spn_manifest_parse(const char *json, size_t n_bytes, spn_manifest *out, spn_error *err);
/* `path` is the model file's. Errors: IO, JSON, FORMAT, NO_MEMORY. */
spn_status spn_manifest_read(const char *path, spn_manifest *out, spn_error *err);
spn_status spn_manifest_write(const char *path, const spn_manifest *manifest, spn_error *err);

/* Digests of a file's blocks (blocks.c): which are here, and what is in them. */
/* The most that one connection loses when the process is killed. */
#define SPN_BLOCK_BYTES ((uint32_t)256 << 10)
typedef struct spn_blocks {
    spn_file *file; /* NULL: only in memory */
    uint64_t size;  /* of the data file */
    size_t n;
    uint64_t *digests;
    uint8_t *done; /* 1: the block is in the data file, with that digest */
    char sha256[65];
} spn_blocks;
uint64_t spn_block_digest(const void *bytes, size_t n_bytes); /* XXH64, seed 0 */
spn_status spn_blocks_create(spn_blocks *out, const char *path, uint64_t size, const char *sha256,
                             spn_error *err);
/* Errors: IO, FORMAT. */
spn_status spn_blocks_open(spn_blocks *out, const char *path, bool writable, spn_error *err);
/* Reads the bytes of such a file. */
spn_status spn_blocks_parse(spn_blocks *out, const void *bytes, size_t n_bytes, spn_error *err);
void spn_blocks_close(spn_blocks *blocks);
size_t spn_blocks_length(const spn_blocks *blocks, size_t i); /* bytes of block i */
uint64_t spn_blocks_done_bytes(const spn_blocks *blocks);
/* Threads may set different blocks at once. */
spn_status spn_blocks_set(spn_blocks *blocks, size_t i, uint64_t digest, spn_error *err);
spn_status spn_blocks_unset(spn_blocks *blocks, size_t i, spn_error *err);

/* ---- names and paths of the store (local.c) ---- */

#define SPN_PART_SUFFIX ".part"
#define SPN_MAP_SUFFIX ".part.map"
#define SPN_BLOCKS_SUFFIX ".blocks"
#define SPN_MANIFEST_SUFFIX ".json"

/* DIR/NAME SUFFIX, free with spn_free; checks the name and that no folder on the way is a link. */
spn_status spn_store_path(const spn_storage *storage, const char *name, const char *suffix,
                          char **out, spn_error *err);
spn_status spn_store_make_folders(const spn_storage *storage, const char *name, spn_error *err);
void spn_store_drop_folders(const spn_storage *storage, const char *name); /* the empty ones */
bool spn_name_is_gguf(const char *name);

/* A split model's part: "PREFIX-00002-of-00005.gguf". */
typedef struct spn_split {
    uint32_t no, count;
    size_t prefix; /* bytes */
} spn_split;
bool spn_split_parse(const char *name, spn_split *out);
/* The name of another part. Free with spn_free; NULL: no memory. */
char *spn_split_name(const char *name, const spn_split *split, uint32_t no);

/* Waits for a file's lock, telling progress who holds it. Errors: BUSY, CANCELLED. */
spn_status spn_store_lock(spn_storage *storage, const char *name, bool wait,
                          const spn_http_wait *who, spn_lock **out, spn_error *err);

typedef bool (*spn_store_each_fn)(const char *name, const spn_path_info *info, void *user);
/* Every file below the store, by its name below it; folders that are links are passed over. */
spn_status spn_store_walk(const spn_storage *storage, spn_store_each_fn each, void *user,
                          spn_error *err);

/* The complete model behind a reference that is not a path. MODEL_NOT_FOUND otherwise. */
spn_status spn_store_find(spn_storage *storage, const char *reference,
                          const spn_resolved_model *resolved, bool partial_too,
                          spn_stored_model *model, spn_error *err);
/* How many models of the store a reference fits. */
spn_status spn_store_count(spn_storage *storage, const spn_resolved_model *resolved, size_t *n,
                           spn_error *err);
/* Whether a file is unchanged since it was verified: size and time are the manifest's. */
bool spn_manifest_is_fresh(const spn_manifest *manifest, const char *path);

/* ---- progress ---- */

/* One call's progress: what is told to the caller, and whether it said stop. */
typedef struct spn_meter {
    spn_pull_progress_fn fn;
    void *user;
    spn_pull_progress now;
    uint64_t base; /* bytes of files that are done */
    bool cancelled;
    uint64_t told_ns;
    struct {
        uint64_t ns, fetched;
    } window[16]; /* for the rate */
    size_t n_window;
} spn_meter;
/* False when the caller cancelled. `force` tells at once, otherwise ten times a second. */
bool spn_meter_tell(spn_meter *meter, const char *status, const char *message, bool force);
spn_http_wait spn_meter_wait(spn_meter *meter);

/* ---- one file over the network (transfer.c) ---- */

typedef struct spn_transfer_job {
    const char *repo, *commit, *path; /* on the hub */
    const char *part_path, *map_path; /* on the disk */
    uint64_t size;
    char *sha256; /* [65], in: expected or ""; out: what it has */
    const char
        *git_sha1; /* what git calls the blob, to compare when nobody knows the SHA-256; "" */
    uint32_t n_connections;
    uint64_t rate_limit;
    bool changed; /* out: the server had another file than was listed; listing again may help */
} spn_transfer_job;

/* Fetches what is missing of a file, so that afterwards the part is whole, hashed and synced.
 * CHECKSUM_MISMATCH deletes part and map; every other failure keeps them. */
spn_status spn_transfer_run(spn_storage *storage, spn_transfer_job *job, spn_meter *meter,
                            spn_error *err);

/* ---- shared by the calls ---- */

/* SHA-256 of a file, block digests too when `blocks` is not NULL (created for it in memory). */
spn_status spn_hash_file(const char *path, spn_meter *meter, char sha256[65], spn_blocks *blocks,
                         spn_error *err);
/* Copies `from` to the new file `to`: clones where possible. */
spn_status spn_copy_file(const char *from, const char *to, spn_meter *meter, spn_error *err);
/* The room that must stay free, and whether `need` more bytes fit beside it. */
spn_status spn_check_room(const spn_storage *storage, uint64_t need, uint64_t *available,
                          spn_error *err);
/* Writes manifest and blocks of a file that is verified, then puts it under its name. */
spn_status spn_install_file(spn_storage *storage, const char *name, const char *from,
                            spn_manifest *manifest, spn_error *err);
/* Looks for a file of that SHA-256 in the other stores of the options; NULL when there is none. */
char *spn_find_foreign(const spn_storage *storage, const char *repo, const char *sha256,
                       uint64_t size, const char **source);
/* Takes a foreign file into the store: link, else clone or copy. Hashes it first. */
spn_status spn_take_foreign(spn_storage *storage, const char *foreign, const char *name,
                            bool may_copy, spn_manifest *manifest, spn_meter *meter,
                            spn_error *err);

#endif
