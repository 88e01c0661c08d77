/* storage.h - finding, downloading, verifying and keeping models.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     spn_storage *storage;
 *     spn_download_request request = {.reference = "qwen3:8b"};
 *     spn_download_result result;
 *     spn_storage_open(&storage, NULL, &err);
 *     spn_storage_download(storage, &request, on_progress, NULL, &result, &err);
 *     puts(result.path);
 *     spn_download_result_clear(&result);
 *     spn_storage_close(storage);
 *
 * The store is a folder of GGUF files, DIR/OWNER/REPO/FILE.gguf, each with a manifest beside it
 * (FILE.gguf.json: where it came from, its size and SHA-256) and the digests of its pieces
 * (FILE.gguf.blocks, for repairs). A file under its final name was verified; a download under way
 * is FILE.gguf.part, and a model of several files is there when all of them are. The *name* of a
 * stored model is its path below DIR: "OWNER/REPO/FILE.gguf", of a split model its first file's.
 *
 * Where this says "a reference" it means one of the forms listed in catalog.h.
 *
 * The library reads no environment variables: who wants HF_TOKEN, HF_ENDPOINT, HTTPS_PROXY and the
 * like to count hands their values over in the options, as the command spn-native does.
 *
 * Threads. A spn_storage is internally locked: every function that takes one may be called from
 * any thread, several at once. One file has one writer over all threads and processes; others wait
 * for it. Callbacks run on the thread that called the function they were given to.
 *
 * Failures that any function here may return are not repeated at each: INVALID_ARGUMENT (NULL
 * where it is not allowed, a name that could lead out of the store), NO_MEMORY, STORAGE_DIR (the
 * store's folder cannot be used), IO (a file operation failed; `code` is the errno).
 */
#ifndef SPN_STORAGE_H
#define SPN_STORAGE_H

#include "spn/catalog.h"
#include "spn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- HTTP by the host (the seed's with_client) ---- */

typedef struct spn_http_header {
    const char *name, *value;
} spn_http_header;

/* What the storage asks a transport to do. All of it lives until the call returns. */
typedef struct spn_http_request {
    const char *method; /* "GET" or "HEAD" */
    const char *url;    /* http:// or https:// */
    const spn_http_header *headers;
    size_t n_headers;
    uint32_t connect_timeout_ms;
    uint32_t stall_timeout_ms; /* give up when hardly anything came for so long */
    bool decode;               /* should the answer come in gzip or deflate unasked, as some proxies
                                  have it, undo that; not a must */
} spn_http_request;

/* Where the transport delivers. Each function returns false to end the transfer at once. */
typedef struct spn_http_sink {
    /* Once, before the body; never for 1xx. Redirects are handed over like any other answer. */
    bool (*on_response)(int status, const spn_http_header *headers, size_t n_headers, void *user);
    bool (*on_body)(const void *bytes, size_t n_bytes, void *user);
    /* To be asked now and then, at least once a second, also while nothing arrives. */
    bool (*go_on)(void *user);
    void *user;
} spn_http_sink;

/* Does one request and returns when it is over. It must not follow redirects, decode (but
 * for `decode`) or cache anything, and must be callable from several threads at once. Returns OK
 * when the whole answer was delivered, whatever its HTTP status; CANCELLED when the sink returned
 * false; else NETWORK or TIMEOUT with a text in *err that names the cause. A body shorter than its
 * Content-Length is NETWORK. */
typedef struct spn_transport {
    spn_status (*perform)(const spn_http_request *request, const spn_http_sink *sink, void *user,
                          spn_error *err);
    void *user;
} spn_transport;

/* ---- opening ---- */

typedef struct spn_storage spn_storage;

/* Zero means default for every field; NULL means all defaults. All text is copied. */
typedef struct spn_storage_options {
    const char *dir;      /* NULL: .spn/models in the user's home */
    const char *endpoint; /* NULL: https://huggingface.co; a mirror's address otherwise */
    const char *token;    /* sent to the endpoint only, never to where it redirects */
    bool offline;         /* never touch the network */

    const char *proxy_http, *proxy_https; /* for addresses of that scheme; NULL: none */
    const char *no_proxy;                 /* hosts reached directly, as curl takes them */
    const char *ca_file, *ca_dir;         /* certificates to trust instead of the system's */

    uint32_t n_connections;     /* parallel ranges of a file, at most 16; 0: 4 */
    uint64_t rate_limit;        /* bytes a second over all connections; 0: none */
    uint32_t max_retries;       /* failures in a row without progress; 0: 6; UINT32_MAX: none */
    uint32_t retry_base_ms;     /* first pause; doubles each time, with jitter; 0: 500 */
    uint32_t retry_max_ms;      /* longest pause; 0: 15,000 */
    uint32_t rate_wait_max_s;   /* longest wait a server may ask for (429, 503); 0: 310 */
    uint32_t connect_timeout_s; /* 0: 15 */
    uint32_t stall_timeout_s;   /* silence, or less than 64 bytes a second; 0: 30 */
    bool no_wait;               /* BUSY instead of waiting for another writer */

    const char *hf_cache_dir; /* a `hub` folder of the Hugging Face cache, to take files from */
    const char *ollama_dir;   /* Ollama's `models` folder, likewise */
    const spn_transport *transport; /* NULL: libcurl. The struct is copied; `user` must live */
} spn_storage_options;

/* .spn/models in the home the system's records give for this user. *dir is the caller's, free with
 * spn_free. Errors: IO. */
SPN_API spn_status spn_default_model_dir(char **dir, spn_error *err);

/* Creates the folder when it is not there. Errors: STORAGE_DIR, INVALID_CONFIG (the endpoint is no
 * http address). */
SPN_API spn_status spn_storage_open(spn_storage **out, const spn_storage_options *options,
                                    spn_error *err);
/* No call may be under way. NULL is fine. */
SPN_API void spn_storage_close(spn_storage *storage);
/* The store's folder, absolute; lives as long as the storage. (The seed's storage_dir.) */
SPN_API const char *spn_storage_dir(const spn_storage *storage);

/* ---- progress ---- */

/* The seed's PullProgress. */
typedef struct spn_pull_progress {
    const char *status; /* "resolving", "waiting", "linking", "downloading", "retrying",
                         * "verifying", "copying", "installing", "complete", "cached" */
    uint64_t completed; /* bytes done of all files of the call, those of earlier runs too */
    uint64_t total;     /* 0 while not known */
    const char *file;   /* the file it is about, below the repository; "" for none */
    size_t file_index, n_files;
    uint64_t fetched;        /* bytes that came over the network in this call */
    double bytes_per_second; /* over the last seconds; 0 while not known */
    uint32_t n_connections;  /* at work now */
    const char *message;     /* why it waits or retries; "" otherwise */
} spn_pull_progress;

/* Called several times a second while something goes on. Returning false cancels: the call ends
 * with CANCELLED, what has arrived is kept and the next download goes on from there. It must not
 * call the storage. */
typedef bool (*spn_pull_progress_fn)(const spn_pull_progress *progress, void *user);

/* 0 to 100; 0 while the total is not known. */
SPN_API double spn_pull_progress_percent(const spn_pull_progress *progress);
SPN_API bool spn_pull_progress_is_complete(const spn_pull_progress *progress);

/* ---- downloading ---- */

/* The seed's DownloadRequest. One of `reference`, `model` and `hf_repo` is set. */
typedef struct spn_download_request {
    const char *reference;         /* any form but a path */
    const spn_known_model *model;  /* a curated model */
    const char *hf_repo;           /* "OWNER/REPO" */
    const char *filename;          /* in hf_repo; NULL: chosen by quantization */
    spn_quantization quantization; /* NONE: the reference's, else Q4_K_M or the nearest there is */
    const char *revision;          /* branch, tag or commit; NULL: the reference's, else main */
    bool force;                    /* fetch it again although it is here */
    bool best_that_fits;       /* choose the best quantization that fits in `available_memory` */
    uint64_t available_memory; /* bytes; 0: what spn_detect_ram says */
    uint32_t n_ctx;            /* tokens to leave memory for; 0: 4,096 */
    bool no_projector;         /* of a vision model: without its image encoder */
    uint32_t n_connections;    /* 0: the storage's */
    uint64_t rate_limit;       /* 0: the storage's */
} spn_download_request;

SPN_API spn_download_request spn_download_request_curated(const spn_known_model *model);
SPN_API spn_download_request spn_download_request_huggingface(const char *repo,
                                                              const char *filename);

/* The seed's DownloadResult. Free with spn_download_result_clear. */
typedef struct spn_download_result {
    char *path;     /* of the model's (first) file */
    char *name;     /* its name in the store */
    uint64_t size;  /* bytes of all its files */
    char *checksum; /* SHA-256 of the (first) file */
    char *revision; /* commit it was taken from; "" when not known */
    bool cached;    /* it was here already */
    size_t n_files;
    uint64_t fetched; /* bytes that came over the network */
    char *notice;     /* something the user should know ("" mostly): another file was chosen ... */
} spn_download_result;
SPN_API void spn_download_result_clear(spn_download_result *result);

/* Makes a model be there: at once when it is, from the Hugging Face cache or Ollama's store when a
 * file of that SHA-256 is in it, from the Hub otherwise; what an earlier call left unfinished is
 * gone on with. A file is fetched in several ranges at once, hashed as it arrives, and appears
 * under its name only with the right size and SHA-256 and synced to the disk. `progress` may be
 * NULL. On failure what arrived is kept for the next call, except after CHECKSUM_MISMATCH.
 * Errors: MODEL_NOT_FOUND (repository, revision or file; names what there is), UNAUTHORIZED,
 * GATED (says where to accept the licence), RATE_LIMITED, HTTP (`code` is the status), API (the
 * hub's answer makes no sense), JSON, NETWORK, TIMEOUT, OFFLINE, DISK_FULL (says how much is
 * missing), CHECKSUM_MISMATCH (expected and actual), BUSY (with no_wait), CANCELLED. */
SPN_API spn_status spn_storage_download(spn_storage *storage, const spn_download_request *request,
                                        spn_pull_progress_fn progress, void *user,
                                        spn_download_result *result, spn_error *err);

typedef struct spn_planned_file {
    char *path; /* in the repository */
    uint64_t size;
    char *sha256;    /* "" when the hub does not say */
    bool is_here;    /* verified in the store */
    uint64_t n_done; /* bytes that an unfinished download has */
} spn_planned_file;

/* What a download would do. Free with spn_download_plan_clear. */
typedef struct spn_download_plan {
    char *repo;
    char *revision; /* the commit */
    char *name;     /* the model's name in the store */
    char *notice;
    spn_planned_file *files;
    size_t n_files;
    spn_quantization quantization;
    uint64_t total;    /* bytes of all files */
    uint64_t to_fetch; /* bytes that would come over the network */
    uint64_t disk_available;
    bool fits_disk;
    bool has_memory; /* `memory` is known: a curated model */
    spn_memory_estimate memory;
    bool gated; /* the repository asks for a licence to be accepted */
} spn_download_plan;
SPN_API void spn_download_plan_clear(spn_download_plan *plan);

/* Asks the hub and looks around, changes nothing. Errors: as spn_storage_download. */
SPN_API spn_status spn_storage_plan(spn_storage *storage, const spn_download_request *request,
                                    spn_download_plan *plan, spn_error *err);

/* ---- what is here ---- */

typedef enum spn_stored_state {
    SPN_STORED_COMPLETE,
    SPN_STORED_PARTIAL,    /* a download that did not end, or a split model with files missing */
    SPN_STORED_UNVERIFIED, /* a GGUF file without a manifest: somebody put it there */
} spn_stored_state;
/* "complete", "partial", "unverified"; "unknown" for other numbers. */
SPN_API const char *spn_stored_state_name(spn_stored_state state);

/* The seed's ModelInfo (spn_model_info is the engine's). */
typedef struct spn_stored_model {
    char *name; /* "OWNER/REPO/FILE.gguf" */
    char *path; /* of its (first) file */
    uint64_t size;
    uint64_t n_done; /* of a partial one: bytes that are here */
    spn_quantization quantization;
    char *parameters; /* "8.2B", or "" */
    char *digest;     /* SHA-256 of the (first) file, or "" */
    char *repo;       /* "OWNER/REPO", or "" */
    char *revision;   /* what was asked for: "main" */
    char *commit;     /* what that was then, or "" */
    char *source;     /* "hub", "import", "hf-cache", "ollama"; "" when not known */
    char *known_id;   /* the catalogue's id for it, or "" */
    size_t n_files;
    spn_stored_state state;
    int64_t installed_at, verified_at; /* seconds since 1970; 0: not known */
} spn_stored_model;
SPN_API void spn_stored_model_clear(spn_stored_model *model);

/* Free with spn_stored_list_clear. */
typedef struct spn_stored_list {
    spn_stored_model *items;
    size_t n;
} spn_stored_list;
SPN_API void spn_stored_list_clear(spn_stored_list *list);

/* All models in the store, in the order of their names, unfinished downloads too. */
SPN_API spn_status spn_storage_list_models(spn_storage *storage, spn_stored_list *list,
                                           spn_error *err);
/* Whether a reference leads to a complete model in the store. */
SPN_API bool spn_storage_exists(spn_storage *storage, const char *reference);
/* Errors: MODEL_NOT_FOUND. A reference that fits several models gives the best quantization of the
 * complete ones. */
SPN_API spn_status spn_storage_model_info(spn_storage *storage, const char *reference,
                                          spn_stored_model *model, spn_error *err);
/* The path that a name of the store has, whether it exists or not. *path is the caller's, free
 * with spn_free. Errors: INVALID_ARGUMENT. */
SPN_API spn_status spn_storage_model_path(spn_storage *storage, const char *name, char **path,
                                          spn_error *err);
/* The file behind any reference, for loading it: a path is taken as it is when it exists, all
 * others are looked up in the store (never on the network). *path is the caller's, free with
 * spn_free. Errors: MODEL_NOT_FOUND (says what to pull). */
SPN_API spn_status spn_storage_locate(spn_storage *storage, const char *reference, char **path,
                                      spn_error *err);

/* ---- keeping ---- */

/* Deletes a model with its unfinished parts, manifests and folders that are empty then. Errors:
 * MODEL_NOT_FOUND, INVALID_ARGUMENT (it fits several models), BUSY (a process has it open or is
 * downloading it; `force` skips the first). */
SPN_API spn_status spn_storage_delete(spn_storage *storage, const char *reference, bool force,
                                      spn_error *err);

/* Reads a model's files and compares their SHA-256 with the manifests'. `actual` (may be NULL)
 * becomes the first file's SHA-256, free with spn_free. A file without a manifest is compared with
 * the hub's listing when the network may be used and its name is that of a repository. Errors:
 * MODEL_NOT_FOUND, CHECKSUM_MISMATCH (expected and actual), CANCELLED; INVALID_CONFIG (nothing to
 * compare with). */
SPN_API spn_status spn_storage_verify(spn_storage *storage, const char *reference,
                                      spn_pull_progress_fn progress, void *user, char **actual,
                                      spn_error *err);

/* Finds the damaged pieces of a model's files and fetches only those again. *n_repaired (may be
 * NULL): bytes fetched, 0 when nothing was wrong. Errors: as spn_storage_download. */
SPN_API spn_status spn_storage_repair(spn_storage *storage, const char *reference,
                                      spn_pull_progress_fn progress, void *user,
                                      uint64_t *n_repaired, spn_error *err);

typedef enum spn_import_mode {
    SPN_IMPORT_COPY, /* shares blocks with the original where the file system can */
    SPN_IMPORT_LINK, /* a hard link; IO when the store is on another disk */
    SPN_IMPORT_MOVE, /* linked or copied; the original goes when all is in the store */
} spn_import_mode;

/* Takes a GGUF file into the store under `name` ("OWNER/REPO/FILE.gguf"; NULL: local/NAME/FILE.gguf
 * after the file). A symbolic link stands for its file; what is moved then is the link. A split
 * model comes with all its files or none. *model (may be NULL) is filled.
 * Errors: MODEL_NOT_FOUND (no such file, or a part of it missing), FORMAT (it does not begin as a
 * GGUF file), BUSY (the name is taken), DISK_FULL, CANCELLED. */
SPN_API spn_status spn_storage_import(spn_storage *storage, const char *path, const char *name,
                                      spn_import_mode mode, spn_pull_progress_fn progress,
                                      void *user, spn_stored_model *model, spn_error *err);

/* A GGUF file found in another program's store. */
typedef struct spn_foreign_model {
    char *path;   /* the file itself */
    char *name;   /* the name it would get in the store */
    char *sha256; /* as its place there says */
    char *source; /* "hf-cache" or "ollama" */
    uint64_t size;
    bool is_here; /* the store has that name already */
} spn_foreign_model;
typedef struct spn_foreign_list {
    spn_foreign_model *items;
    size_t n;
} spn_foreign_list;
SPN_API void spn_foreign_list_clear(spn_foreign_list *list);

/* What the Hugging Face cache and Ollama's store of the options hold. Reads only; what is not
 * there is no error. */
SPN_API spn_status spn_storage_scan(spn_storage *storage, spn_foreign_list *list, spn_error *err);
/* Takes one of them over: hashed, then hard-linked, or cloned or copied where links cannot be and
 * `may_copy` is set. The other program's store is left as it is. Errors: CHECKSUM_MISMATCH, BUSY,
 * DISK_FULL, CANCELLED. */
SPN_API spn_status spn_storage_adopt(spn_storage *storage, const spn_foreign_model *foreign,
                                     bool may_copy, spn_pull_progress_fn progress, void *user,
                                     spn_error *err);

/* Deletes unfinished downloads, manifests without a file and empty folders. *n_bytes (may be NULL)
 * is what was freed, or with `dry_run` would be. Downloads under way are left alone. */
SPN_API spn_status spn_storage_prune(spn_storage *storage, bool dry_run, uint64_t *n_bytes,
                                     spn_error *err);

/* Moves the whole store to another folder, which must not exist or be empty, and goes on there:
 * by renaming where that is possible, else file by file, each hashed before its original goes. An
 * interrupted move is gone on with by the same call. Errors: BUSY (something in the store is in
 * use), DISK_FULL, CHECKSUM_MISMATCH, CANCELLED. No other call may be under way in this process. */
SPN_API spn_status spn_storage_move(spn_storage *storage, const char *dir,
                                    spn_pull_progress_fn progress, void *user, spn_error *err);

/* ---- the hub beside downloads ---- */

typedef struct spn_outdated_model {
    char *name;
    char *revision;      /* what is followed: "main" */
    char *have, *latest; /* SHA-256 here and on the hub; `latest` is "" when the file is gone */
    char *latest_commit;
} spn_outdated_model;
typedef struct spn_outdated_list {
    spn_outdated_model *items;
    size_t n;
    size_t n_checked;
} spn_outdated_list;
SPN_API void spn_outdated_list_clear(spn_outdated_list *list);

/* Which models of the store the hub has another file for, at the revision they were taken from.
 * Nothing is changed. Errors: as spn_storage_plan. */
SPN_API spn_status spn_storage_outdated(spn_storage *storage, spn_outdated_list *list,
                                        spn_error *err);

typedef struct spn_search_hit {
    char *repo;
    uint64_t downloads, likes;
    bool gated;
    char *modified; /* ISO 8601, or "" */
} spn_search_hit;
typedef struct spn_search_list {
    spn_search_hit *items;
    size_t n;
} spn_search_list;
SPN_API void spn_search_list_clear(spn_search_list *list);

/* Repositories with GGUF files, the most downloaded first; at most `limit` (0: 20, most 100).
 * Errors: those of the network. */
SPN_API spn_status spn_storage_search(spn_storage *storage, const char *words, uint32_t limit,
                                      spn_search_list *list, spn_error *err);

typedef struct spn_storage_health {
    uint64_t disk_total, disk_available;
    bool writable;
    char write_problem[200]; /* "" when writable */
    bool reachable;
    uint32_t latency_ms;
    char network_problem[512]; /* "" when reachable */
    char proxy[256];           /* in use for the endpoint, without its password; "" for none */
    char certificates[512];    /* the file or folder in use */
    char token_state[200];     /* "none", "accepted for NAME", "refused" ... */
} spn_storage_health;

/* Looks whether the store can be written and the hub reached. What is wrong is in *health, not a
 * failure. With `offline` the network is not touched. */
SPN_API spn_status spn_storage_doctor(spn_storage *storage, spn_storage_health *health,
                                      spn_error *err);

#ifdef __cplusplus
}
#endif
#endif
