/* transfer.c - one file over the network: parallel ranges, retries, hashing as it arrives.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Threads of one transfer:
 *   - workers, one a connection. Each owns a range of blocks, collects one block in memory, writes
 *     it at its place and records it in the map. Ranges are handed out in the file's order; when
 *     none is left, an idle worker takes the second half of the longest one under way, or fetches
 *     a last block that crawls a second time: the first to have it counts.
 *   - the hasher follows the blocks in order, reading each back right behind its writing, while it
 *     is in the system's cache. It also checks the digests of blocks that an earlier run left, so
 *     what a crash damaged is fetched again instead of failing the whole file.
 *   - the caller's thread tells the progress and takes the cancel.
 *
 * `mutex` protects everything below it in the struct but a worker's own fields, and `done` bytes of
 * the map. `changed` is signalled when a block is done or lost, a range is given back, or at the
 * end; `over` at the end. Requests, writes and hashing run without the lock.
 *
 * What a server may do wrong, and what follows:
 *   - it ignores ranges (200): one worker, the soloist, takes the stream from its start and passes
 *     over what is here, the others rest;
 *   - its ETag or the total changes midway: the file changed, FILE_CHANGED ends this run with all
 *     blocks forgotten, and the run starts anew at most MAX_RESTARTS times;
 *   - the address expired (401, 403, 404, 410 of another host): asked for anew, once without
 *     progress of the file; three times where several workers share addresses, for one that is
 *     good for a few requests may be used up by the others;
 *   - it stalls, breaks off, answers 5xx or 429: tried again after a pause, at most max_retries
 *     times without progress.
 */
#include <stdio.h>
#include <string.h>

#include "storage/store.h"

#define MAX_WORKERS 16u
#define MAX_RANGE_BLOCKS 256u /* 64 MiB: servers refuse very long answers, and addresses expire */
#define MAX_RESTARTS 2
#define MAX_RENEWED 32       /* addresses a range may ask for in all */
#define MIN_RANGE_BLOCKS 16u /* 4 MiB */
#define RANGE_WAITS 50u      /* a range lasts as long as so many waits for an answer's begin */
#define LEAD_BLOCKS 96u      /* 24 MiB, which is still in the processor's cache when it is hashed */
#define SEND_BLOCKS 32u      /* 8 MiB, to the disk at a time */
#define RESERVE_BYTES ((uint64_t)16 << 20)
#define MAX_GIT_BYTES (64u << 20)
#define CRAWL_NS UINT64_C(5000000000)
#define PROGRESS_BYTES (16u << 10) /* less than that is no progress for the count of retries */

typedef struct transfer transfer;

typedef struct worker {
    transfer *t;
    spn_thread *thread;
    size_t next, end;  /* blocks: being filled, and one behind the last; under t->mutex */
    bool active;       /* owns a range; under t->mutex */
    bool doubled;      /* its block is another worker's too; under t->mutex */
    uint64_t since_ns; /* of its block; under t->mutex */
    uint8_t *block;    /* [SPN_BLOCK_BYTES] */
    size_t filled;     /* bytes of it */
    uint64_t received; /* bytes in this try */
    spn_http_head head;
    spn_buf words;                   /* the body of an answer that is no success */
    bool writing;                    /* the answer is the data that was asked for */
    bool whole;                      /* it ignores the range */
    bool complete;                   /* the range is filled */
    uint64_t asked_first, asked_end; /* bytes of the file */
    uint64_t asked_ns, answered_ns;  /* of this try */
    size_t lasting;                  /* blocks that last RANGE_WAITS; 0: not known yet */
    spn_error err;
} worker;

struct transfer {
    spn_storage *storage;
    spn_transfer_job *job;
    spn_blocks map;
    spn_file *part;
    uint32_t n_workers;
    worker workers[MAX_WORKERS];
    spn_thread *hasher;
    char sha256[SPN_SHA256_TEXT];

    spn_mutex *mutex;
    spn_cond *changed, *over;
    size_t first_open; /* no block before it is free to hand out */
    uint8_t *handed;   /* [map.n] 1: belongs to a worker's range */
    size_t n_done;
    size_t n_hashed;
    uint8_t *old;   /* [map.n] 1: from an earlier run, digest not checked yet */
    size_t old_end; /* behind the last of them */
    bool stop, file_changed;
    worker *soloist;   /* the server gives whole files only: who takes the stream */
    spn_status status; /* the first failure */
    spn_error err;
    uint64_t done_bytes, fetched;
    uint64_t paced_ns; /* when the next bytes may come, with a rate limit */
    char url[SPN_URL_MAX];
    unsigned url_age; /* changes with each new address */
    char etag[200];
    char message[200]; /* of a worker that waits */
    bool has_message;
};

static void lock(transfer *t) { spn_mutex_lock(t->mutex); }
static void unlock(transfer *t) { spn_mutex_unlock(t->mutex); }

/* The first failure counts; the others follow from it. */
static void fail(transfer *t, spn_status status, const spn_error *err) {
    lock(t);
    bool over = t->n_hashed == t->map.n && t->map.n > 0; /* who came too late does not count */
    if (!t->stop && !over) {
        t->status = status;
        t->err = *err;
    }
    if (!over) t->stop = true;
    spn_cond_broadcast(t->changed);
    spn_cond_broadcast(t->over);
    unlock(t);
}

/* At the end, too: a worker may be fetching a block that another one had first. */
static bool stopped(transfer *t) {
    lock(t);
    bool stop = t->stop || t->n_hashed == t->map.n;
    unlock(t);
    return stop;
}

static bool worker_go_on(void *user) { return !stopped(((worker *)user)->t); }

static void worker_tell(const char *message, void *user) {
    transfer *t = ((worker *)user)->t;
    lock(t);
    snprintf(t->message, sizeof t->message, "%s", message);
    t->has_message = true;
    unlock(t);
}

/* ---- handing out ranges; all under the lock ---- */

/* Short ranges let the hasher follow closely, long ones spare waits for answers: a range is to
 * last RANGE_WAITS times as long as the wait for its first byte, as measured with the last one. */
static size_t range_blocks(const transfer *t, const worker *w) {
    size_t left = t->map.n - t->n_done;
    size_t share = spn_min_size(left / ((size_t)t->n_workers * 4), MAX_RANGE_BLOCKS);
    share = spn_min_size(share, w->lasting);
    /* Of a small file everybody gets a part. */
    size_t least = spn_min_size(MIN_RANGE_BLOCKS, left / t->n_workers);
    return spn_max_size(share, spn_max_size(least, 2));
}

static void measure(worker *w) {
    uint64_t now = spn_time_ns(), wait = w->answered_ns - w->asked_ns;
    if (w->received < MIN_RANGE_BLOCKS * SPN_BLOCK_BYTES / 2 || now <= w->answered_ns) return;
    double bytes_per_ns = (double)w->received / (double)(now - w->answered_ns);
    double blocks = (double)(wait * RANGE_WAITS) * bytes_per_ns / SPN_BLOCK_BYTES;
    w->lasting = blocks < MAX_RANGE_BLOCKS ? (size_t)blocks : MAX_RANGE_BLOCKS;
}

/* The byte behind a worker's range. */
static uint64_t end_of(const transfer *t, const worker *w) {
    uint64_t end = (uint64_t)w->end * SPN_BLOCK_BYTES;
    return end < t->job->size ? end : t->job->size;
}

static bool take_free(transfer *t, worker *w) {
    size_t i = t->first_open;
    while (i < t->map.n && (t->map.done[i] || t->handed[i])) i++;
    t->first_open = i;
    if (i == t->map.n) return false;
    size_t end = i, most = range_blocks(t, w);
    while (end < t->map.n && end - i < most && !t->map.done[end] && !t->handed[end])
        t->handed[end++] = 1;
    w->next = i, w->end = end;
    return true;
}

static bool take_half(transfer *t, worker *w) {
    worker *longest = NULL;
    for (uint32_t k = 0; k < t->n_workers; k++) {
        worker *other = &t->workers[k];
        if (!other->active || other->end - other->next < 2) continue;
        if (longest == NULL || other->end - other->next > longest->end - longest->next)
            longest = other;
    }
    if (longest == NULL) return false;
    size_t middle = longest->next + (longest->end - longest->next + 1) / 2;
    w->next = middle, w->end = longest->end;
    longest->end = middle;
    return true;
}

static bool take_crawling(transfer *t, worker *w) {
    uint64_t now = spn_time_ns();
    for (uint32_t k = 0; k < t->n_workers; k++) {
        worker *other = &t->workers[k];
        bool last = other->active && other->end - other->next == 1 && !other->doubled;
        if (!last || now - other->since_ns < CRAWL_NS) continue;
        w->next = other->next, w->end = other->end;
        other->doubled = true;
        return true;
    }
    return false;
}

/* Where the network is faster than the hasher, more connections only take the processor from it:
 * one goes on and the others rest. A hasher that itself waits, or that is still at blocks of an
 * earlier run, holds nobody up. */
static bool is_far_ahead(const transfer *t) {
    bool busy = t->n_hashed >= t->old_end && t->n_hashed < t->map.n && t->map.done[t->n_hashed];
    if (!busy || t->n_done - t->n_hashed <= LEAD_BLOCKS) return false;
    for (uint32_t k = 0; k < t->n_workers; k++)
        if (t->workers[k].active) return true;
    return false;
}

/* Waits for a range; false when there is nothing more to do. */
static bool next_range(transfer *t, worker *w) {
    bool got = false;
    lock(t);
    while (!t->stop && t->n_hashed < t->map.n) {
        if (t->soloist == NULL && is_far_ahead(t)) {
            got = false;
        } else if (t->soloist == NULL) {
            got = take_free(t, w) || take_half(t, w);
            w->doubled = !got && take_crawling(t, w);
            got = got || w->doubled;
        } else if (t->soloist == w && t->n_done < t->map.n) {
            w->next = 0, w->end = t->map.n; /* the stream passes over what is here */
            got = true;
        }
        if (got) break;
        (void)spn_cond_wait_for(t->changed, t->mutex, UINT64_C(1000000000));
    }
    w->active = got;
    w->since_ns = spn_time_ns();
    w->filled = 0;
    unlock(t);
    return got;
}

/* Gives back what a worker did not finish. */
static void drop_range(transfer *t, worker *w) {
    lock(t);
    for (size_t i = w->next; i < w->end; i++) {
        t->handed[i] = 0;
        if (i < t->first_open) t->first_open = i;
    }
    w->active = false;
    spn_cond_broadcast(t->changed);
    unlock(t);
}

/* ---- bytes arrive ---- */

/* Sleeps as long as the rate limit of all connections together asks for. */
static bool keep_pace(transfer *t, size_t n_bytes) {
    if (t->job->rate_limit == 0) return true;
    uint64_t cost = (uint64_t)((double)n_bytes * 1e9 / (double)t->job->rate_limit);
    lock(t);
    uint64_t now = spn_time_ns();
    if (t->paced_ns < now) t->paced_ns = now;
    t->paced_ns += cost;
    uint64_t until = t->paced_ns;
    bool stop = t->stop;
    unlock(t);
    while (!stop && (now = spn_time_ns()) < until) {
        uint64_t ms = (until - now) / 1000000;
        spn_sleep_ms(ms > 100 ? 100 : (uint32_t)ms + 1);
        stop = stopped(t);
    }
    return !stop;
}

static bool ends_with_range(const transfer *t, const worker *w) {
    uint64_t want = w->head.status == 206 ? w->asked_end - w->asked_first : t->job->size;
    return w->head.has_length && w->head.length == want;
}

/* False ends the request early. A range that ends where the answer does lets it come to its own
 * end, so that the connection serves the next one. */
static bool finish_block(transfer *t, worker *w) {
    size_t i = w->next, n = spn_blocks_length(&t->map, i);
    uint64_t place = (uint64_t)i * SPN_BLOCK_BYTES;
    lock(t);
    bool is_here = t->map.done[i]; /* a whole stream passes over it */
    unlock(t);
    spn_status status = SPN_STATUS_OK;
    if (!is_here) {
        uint64_t digest = spn_block_digest(w->block, n);
        status = spn_file_write_at(t->part, w->block, n, place, &w->err);
        lock(t);
        /* The record goes last: it says that the data is there. */
        if (status == SPN_STATUS_OK) status = spn_blocks_set(&t->map, i, digest, &w->err);
        if (status == SPN_STATUS_OK) {
            t->old[i] = 0;
            t->n_done++;
            t->done_bytes += n;
            spn_cond_broadcast(t->changed);
        }
        unlock(t);
    }
    if (status != SPN_STATUS_OK) {
        fail(t, status, &w->err);
        return false;
    }
    lock(t);
    w->next++;
    w->filled = 0;
    w->since_ns = spn_time_ns();
    w->complete = w->next >= w->end;
    bool stop = t->stop, cut = w->complete && end_of(t, w) < w->asked_end;
    unlock(t);
    return !stop && !cut && (!w->complete || ends_with_range(t, w));
}

/* Puts bytes into the worker's blocks. False ends the request: stolen from, too much, or failed. */
static bool take_bytes(worker *w, const uint8_t *bytes, size_t n_bytes) {
    transfer *t = w->t;
    while (n_bytes > 0) {
        if (w->complete) return false;
        size_t room = spn_blocks_length(&t->map, w->next) - w->filled;
        size_t n = spn_min_size(room, n_bytes);
        memcpy(w->block + w->filled, bytes, n);
        w->filled += n, bytes += n, n_bytes -= n;
        if (n == room && !finish_block(t, w)) return false;
    }
    return true;
}

static bool on_body(const void *bytes, size_t n_bytes, void *user) {
    worker *w = user;
    transfer *t = w->t;
    const uint8_t *p = bytes;
    if (!w->writing) {
        size_t n = spn_min_size(n_bytes, w->words.max - w->words.len);
        return spn_buf_append(&w->words, p, n) && n == n_bytes;
    }
    w->received += n_bytes;
    lock(t);
    t->fetched += n_bytes;
    bool stop = t->stop || t->n_hashed == t->map.n;
    unlock(t);
    if (stop || !keep_pace(t, n_bytes)) return false;
    return take_bytes(w, p, n_bytes);
}

/* ---- the head of an answer ---- */

/* A server that names another file's ETag, or another length, has another file now. */
static bool is_other_file(transfer *t, const spn_http_head *head) {
    lock(t);
    bool other = t->etag[0] && head->etag[0] && strcmp(t->etag, head->etag) != 0;
    if (!other && t->etag[0] == '\0' && head->etag[0]) memcpy(t->etag, head->etag, sizeof t->etag);
    unlock(t);
    if (head->status == 206) return other || (head->has_total && head->total != t->job->size);
    return other || (head->has_length && head->length != t->job->size);
}

static void file_changed(worker *w) {
    transfer *t = w->t;
    lock(t);
    t->file_changed = true;
    unlock(t);
    SPN_FAIL(&w->err, API, "%s/%s changed on the server while it was fetched", t->job->repo,
             t->job->path);
    fail(t, SPN_STATUS_API, &w->err);
}

/* Ranges and hashes are of the file's own bytes. What S3 calls "aws-chunked" was undone when the
 * file was put there. */
static bool is_encoded(const spn_http_head *head) {
    const char *encoding = head->content_encoding;
    return encoding[0] != '\0' && !spn_ascii_equal(encoding, "identity") &&
           !spn_ascii_equal(encoding, "aws-chunked");
}

static void refuse_encoded(worker *w) {
    SPN_FAIL(&w->err, API,
             "%.200s came with Content-Encoding %s although the bytes as they are were asked for: "
             "a proxy on the way may compress; it must let files through as they are",
             w->t->job->path, w->head.content_encoding);
    fail(w->t, SPN_STATUS_API, &w->err);
}

static bool on_response(int status, const spn_http_header *headers, size_t n, void *user) {
    worker *w = user;
    transfer *t = w->t;
    spn_http_head_read(&w->head, status, headers, n, spn_time_unix());
    w->writing = false;
    w->answered_ns = spn_time_ns();
    if (status != 200 && status != 206) return true; /* the body says why */
    if (is_encoded(&w->head)) {
        refuse_encoded(w);
        return false;
    }
    if (is_other_file(t, &w->head)) {
        file_changed(w);
        return false;
    }
    if (status == 200) {
        w->whole = true;
        lock(t);
        if (w->asked_first == 0 && t->soloist == NULL) t->soloist = w;
        w->writing = w->asked_first == 0 && t->soloist == w;
        if (w->writing) w->end = t->map.n;
        unlock(t);
        return w->writing;
    }
    w->writing = w->head.has_range && w->head.range_first == w->asked_first;
    return w->writing;
}

/* ---- one request ---- */

static spn_status request_range(worker *w, spn_error *err) {
    transfer *t = w->t;
    char range[64], etag[200];
    char *url = spn_alloc(SPN_URL_MAX);
    if (url == NULL) return SPN_NO_MEMORY(err, "an address");
    lock(t);
    memcpy(url, t->url, SPN_URL_MAX);
    memcpy(etag, t->etag, sizeof etag);
    bool whole = t->soloist == w;
    if (whole) w->next = 0, w->filled = 0;
    w->asked_end = end_of(t, w);
    w->complete = false;
    unlock(t);
    w->asked_first = (uint64_t)w->next * SPN_BLOCK_BYTES + w->filled;
    snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)w->asked_first,
             (unsigned long long)w->asked_end - 1);
    spn_http_header headers[2] = {{"Range", range}, {"If-Range", etag}};
    /* A weak ETag is not allowed in If-Range. */
    bool strong = etag[0] == '"';
    w->received = 0;
    w->asked_ns = spn_time_ns();
    w->whole = false;
    w->head = (spn_http_head){.wait_s = -1};
    spn_buf_clear(&w->words);
    const spn_http_sink sink = {on_response, on_body, worker_go_on, w};
    spn_status status = spn_http_once(t->storage, "GET", url, headers,
                                      whole    ? 0
                                      : strong ? 2
                                               : 1,
                                      false, &sink, err);
    if (w->writing) measure(w);
    spn_free(url);
    return status;
}

static bool range_is_done(worker *w) {
    lock(w->t);
    bool done = w->next >= w->end;
    unlock(w->t);
    return done;
}

/* Another address for the same file, unless another worker has asked meanwhile. */
static spn_status renew_address(worker *w, unsigned age, spn_error *err) {
    transfer *t = w->t;
    lock(t);
    bool newer = t->url_age != age;
    unlock(t);
    if (newer) return SPN_STATUS_OK;
    spn_hub_place *place = spn_alloc_zeroed(1, sizeof *place);
    if (place == NULL) return SPN_NO_MEMORY(err, "an address");
    const spn_http_wait wait = {worker_go_on, worker_tell, w};
    spn_status status =
        spn_hub_resolve(t->storage, t->job->repo, t->job->commit, t->job->path, &wait, place, err);
    if (status == SPN_STATUS_OK) {
        char before[300] = "", after[300] = "";
        lock(t);
        /* Another content server may have another ETag for the same bytes. */
        if (!spn_url_origin(t->url, before, sizeof before) ||
            !spn_url_origin(place->url, after, sizeof after) || strcmp(before, after) != 0)
            t->etag[0] = '\0';
        memcpy(t->url, place->url, sizeof t->url);
        t->url_age++;
        unlock(t);
    }
    spn_free(place);
    return status;
}

/* Content servers answer in XML or HTML: the words between the tags say why. The hub's own words
 * are in w->err already. */
static void tell_refused(worker *w, const char *what) {
    char origin[300], words[160];
    const char *p = w->words.data != NULL ? w->words.data : "";
    size_t n = 0;
    bool tag = false;
    lock(w->t);
    bool known = spn_url_origin(w->t->url, origin, sizeof origin);
    unlock(w->t);
    if (!known || strcmp(origin, w->t->storage->endpoint_origin) == 0) return;
    for (; *p && n + 1 < sizeof words; p++) {
        bool blank = *p == '<' || (unsigned char)*p <= 0x20 || *p == 0x7f;
        if (*p == '<') tag = true;
        if (!tag && !blank) words[n++] = *p;
        if (blank && n > 0 && words[n - 1] != ' ') words[n++] = ' ';
        if (*p == '>') tag = false;
    }
    words[n] = '\0';
    spn_fail_code(&w->err, w->err.status, w->head.status,
                  "%s: %s refuses the address that the hub gave (HTTP %d)%s%s", what, origin,
                  w->head.status, n ? ": " : "", words);
}

typedef enum verdict { AGAIN_AT_ONCE, AGAIN_LATER, RENEW, ALONE, GIVE_UP } verdict;

/* What to do about a try that did not finish the range. Fills w->err for GIVE_UP. */
static verdict judge(worker *w, spn_status status) {
    transfer *t = w->t;
    const spn_http_head *head = &w->head;
    char what[300];
    snprintf(what, sizeof what, "%.290s", t->job->path);
    if (w->whole && !w->writing) return ALONE;
    if (status == SPN_STATUS_NO_MEMORY) return GIVE_UP;
    if (head->status == 0 || w->writing) {
        /* A server may give less than was asked for, and say so. */
        bool shorter = status == SPN_STATUS_OK && w->writing && w->received >= PROGRESS_BYTES;
        if (shorter) return AGAIN_AT_ONCE;
        if (status == SPN_STATUS_OK)
            SPN_FAIL(&w->err, NETWORK, "%s: the server sent less than was asked for", what);
        return w->err.code < 0 ? GIVE_UP : AGAIN_LATER; /* TLS: no use */
    }
    if (head->status == 206) {
        SPN_FAIL(&w->err, API, "%s: the server sent another range than was asked for", what);
        return AGAIN_LATER;
    }
    (void)spn_http_fail(t->storage, head, w->words.data, what, &w->err);
    if (head->status == 416) {
        SPN_FAIL(&w->err, API,
                 "%s: the server says the file has no bytes there; it must have "
                 "changed",
                 what);
        return RENEW;
    }
    bool expired =
        head->status == 401 || head->status == 403 || head->status == 404 || head->status == 410;
    if (expired) {
        tell_refused(w, what);
        return RENEW;
    }
    if (spn_http_is_passing(head->status)) return AGAIN_LATER;
    if (head->status >= 300 && head->status < 400) {
        char next[SPN_URL_MAX];
        lock(t);
        bool ok = spn_url_join(t->url, head->location, next) &&
                  (!spn_ascii_starts(t->url, "https:") || spn_ascii_starts(next, "https:"));
        if (ok) memcpy(t->url, next, sizeof t->url);
        unlock(t);
        SPN_FAIL(&w->err, HTTP, "%s: redirected %s", what,
                 ok ? "without an end" : "to an address that makes no sense");
        return ok ? AGAIN_AT_ONCE : GIVE_UP;
    }
    return GIVE_UP;
}

/* The server gives whole files only: one worker takes the stream, the others rest. */
static void go_alone(worker *w) {
    transfer *t = w->t;
    lock(t);
    if (t->soloist == NULL) t->soloist = w;
    spn_cond_broadcast(t->changed);
    unlock(t);
}

/* Whether the last try brought the file forward. A whole stream starts at its begin each time: it
 * must have brought a new block. */
static bool made_progress(worker *w, size_t *n_done) {
    transfer *t = w->t;
    lock(t);
    bool progress = t->soloist == w ? t->n_done > *n_done : w->received >= PROGRESS_BYTES;
    *n_done = t->n_done;
    unlock(t);
    return progress;
}

static bool must_rest(worker *w) {
    transfer *t = w->t;
    lock(t);
    bool rest = t->soloist != NULL && t->soloist != w;
    unlock(t);
    return rest;
}

/* What a range asked for of new addresses. */
typedef struct renewals {
    uint32_t n, n_all;
    uint64_t fetched; /* of the file, at the last time */
} renewals;

static bool may_renew(transfer *t, renewals *r) {
    lock(t);
    uint64_t fetched = t->fetched;
    unlock(t);
    if (fetched >= r->fetched + PROGRESS_BYTES) r->n = 0;
    r->fetched = fetched;
    return ++r->n <= (t->n_workers > 1 ? 3 : 1) && ++r->n_all <= MAX_RENEWED;
}

/* Until the worker's range is done, given up or everything stops. */
static void fetch_range(worker *w) {
    transfer *t = w->t;
    uint32_t n_failed = 0, n_redirects = 0;
    renewals renewed = {0};
    size_t n_done = 0;
    const spn_http_wait wait = {worker_go_on, worker_tell, w};
    while (!range_is_done(w) && !stopped(t) && !must_rest(w)) {
        lock(t);
        unsigned age = t->url_age;
        unlock(t);
        w->err = (spn_error){0};
        spn_status status = request_range(w, &w->err);
        if (range_is_done(w) || stopped(t)) break;
        if (made_progress(w, &n_done)) n_failed = n_redirects = renewed.n = 0;
        verdict v = judge(w, status);
        if (v == ALONE) {
            go_alone(w);
            return;
        }
        if (v == AGAIN_AT_ONCE && ++n_redirects <= 10) continue;
        if (v == RENEW && may_renew(t, &renewed)) {
            spn_error problem = {0};
            status = renew_address(w, age, &problem);
            if (status == SPN_STATUS_OK) continue;
            w->err = problem;
        }
        if (v == AGAIN_LATER && ++n_failed <= t->storage->max_retries) {
            const spn_http_head *said = w->head.status != 0 && !w->writing ? &w->head : NULL;
            if (spn_http_pause(t->storage, n_failed, said, &wait, &w->err)) continue;
        }
        if (!stopped(t)) fail(t, w->err.status ? w->err.status : SPN_STATUS_NETWORK, &w->err);
    }
}

static void run_worker(void *arg) {
    worker *w = arg;
    while (next_range(w->t, w)) {
        fetch_range(w);
        drop_range(w->t, w);
    }
}

/* ---- the hasher ---- */

/* Waits until block i is here; false at the end. */
static bool wait_for_block(transfer *t, size_t i, bool *is_old) {
    lock(t);
    while (!t->stop && !t->map.done[i]) spn_cond_wait(t->changed, t->mutex);
    bool ok = !t->stop;
    *is_old = t->old[i];
    unlock(t);
    return ok;
}

/* An old block whose data is not what was recorded: it is fetched again. */
static bool lose_block(transfer *t, size_t i, spn_error *err) {
    spn_log(SPN_LOG_LEVEL_WARNING, "block %zu of %s was damaged on the disk; fetching it again", i,
            t->job->part_path);
    lock(t);
    spn_status status = spn_blocks_unset(&t->map, i, err);
    t->old[i] = 0;
    t->n_done--;
    t->done_bytes -= spn_blocks_length(&t->map, i);
    t->handed[i] = 0;
    if (i < t->first_open) t->first_open = i;
    spn_cond_broadcast(t->changed);
    unlock(t);
    if (status != SPN_STATUS_OK) fail(t, status, err);
    return status == SPN_STATUS_OK;
}

static bool hash_block(transfer *t, spn_sha256 *sha, uint8_t *buffer, size_t i, spn_error *err) {
    size_t n = spn_blocks_length(&t->map, i), n_read = 0;
    for (;;) {
        bool is_old;
        if (!wait_for_block(t, i, &is_old)) return false;
        spn_status status =
            spn_file_read_at(t->part, buffer, n, (uint64_t)i * SPN_BLOCK_BYTES, &n_read, err);
        if (status != SPN_STATUS_OK) {
            fail(t, status, err);
            return false;
        }
        if (!is_old) break;
        if (n_read == n && spn_block_digest(buffer, n) == t->map.digests[i]) break;
        if (!lose_block(t, i, err)) return false;
    }
    if (n_read != n) {
        SPN_FAIL(err, IO, "%s is shorter than what was written to it", t->job->part_path);
        fail(t, SPN_STATUS_IO, err);
        return false;
    }
    spn_status status = spn_sha256_update(sha, buffer, n, err);
    if (status != SPN_STATUS_OK) fail(t, status, err);
    return status == SPN_STATUS_OK;
}

static void run_hasher(void *arg) {
    transfer *t = arg;
    spn_error err = {0};
    spn_sha256 *sha = NULL;
    uint8_t *buffer = spn_alloc(SPN_BLOCK_BYTES), digest[SPN_SHA256_BYTES];
    spn_status status =
        buffer != NULL ? spn_sha256_create(&sha, &err) : SPN_NO_MEMORY(&err, "hashing");
    bool ok = status == SPN_STATUS_OK;
    if (!ok) fail(t, status, &err);
    for (size_t i = 0; ok && i < t->map.n; i++) {
        ok = hash_block(t, sha, buffer, i, &err);
        lock(t);
        if (ok && i + 1 < t->map.n) t->n_hashed = i + 1;
        unlock(t);
    }
    if (ok) status = spn_sha256_final(sha, digest, &err);
    if (ok && status == SPN_STATUS_OK) {
        spn_sha256_text(digest, t->sha256);
        lock(t);
        t->n_hashed = t->map.n;
        spn_cond_broadcast(t->changed);
        spn_cond_broadcast(t->over);
        unlock(t);
    } else if (ok) {
        fail(t, status, &err);
    }
    spn_sha256_free(sha);
    spn_free(buffer);
}

/* ---- the whole ---- */

static void report(transfer *t, spn_meter *meter) {
    lock(t);
    meter->now.completed = meter->base + t->done_bytes;
    uint64_t fetched = t->fetched;
    bool all = t->n_done == t->map.n;
    uint32_t n = 0;
    for (uint32_t k = 0; k < t->n_workers; k++) n += t->workers[k].active;
    char message[200] = "";
    if (t->has_message) memcpy(message, t->message, sizeof message);
    bool waits = t->has_message;
    t->has_message = false;
    unlock(t);
    uint64_t before = meter->now.fetched;
    meter->now.fetched += fetched;
    meter->now.n_connections = n;
    bool go_on = spn_meter_tell(meter,
                                waits ? "retrying"
                                : all ? "verifying"
                                      : "downloading",
                                message, waits);
    meter->now.fetched = before;
    if (go_on) return;
    spn_error err;
    SPN_FAIL(&err, CANCELLED, "cancelled; what arrived is kept");
    fail(t, SPN_STATUS_CANCELLED, &err);
}

/* Takes the room while the first bytes arrive, a piece at a time: most file systems do it at once,
 * but those in memory as slowly as they write, and hold up the writers meanwhile: they get half of
 * the time. */
static void reserve(transfer *t, spn_meter *meter) {
    uint64_t size = t->job->size;
    for (uint64_t at = 0; at < size && !stopped(t); at += RESERVE_BYTES) {
        spn_error err;
        uint64_t n = size - at < RESERVE_BYTES ? size - at : RESERVE_BYTES;
        uint64_t start = spn_time_ns();
        spn_status status = spn_file_reserve(t->part, at, n, &err);
        if (status != SPN_STATUS_OK) fail(t, status, &err);
        report(t, meter);
        spn_sleep_ms((uint32_t)((spn_time_ns() - start) / 1000000));
    }
}

static void watch(transfer *t, spn_meter *meter) {
    reserve(t, meter);
    size_t n_sent = 0;
    for (bool over = false; !over;) {
        lock(t);
        over = t->stop || t->n_hashed == t->map.n;
        if (!over) (void)spn_cond_wait_for(t->over, t->mutex, UINT64_C(50000000));
        size_t n_hashed = t->n_hashed;
        unlock(t);
        if (!over) report(t, meter);
        /* What is hashed is sent to the disk, so that the last sync is short. Here, because a disk
         * that is busy may hold up who asks. */
        if (!over && n_hashed >= n_sent + SEND_BLOCKS) {
            spn_file_start_writing(t->part, (uint64_t)n_sent * SPN_BLOCK_BYTES,
                                   (uint64_t)(n_hashed - n_sent) * SPN_BLOCK_BYTES);
            n_sent = n_hashed;
        }
    }
}

static spn_status start_threads(transfer *t, spn_error *err) {
    SPN_TRY(spn_thread_start(&t->hasher, run_hasher, t, "spn-hash", err));
    for (uint32_t k = 0; k < t->n_workers; k++) {
        worker *w = &t->workers[k];
        w->t = t;
        w->words = SPN_BUF(2048);
        w->block = spn_alloc(SPN_BLOCK_BYTES);
        if (w->block == NULL) return SPN_NO_MEMORY(err, "a connection");
        SPN_TRY(spn_thread_start(&w->thread, run_worker, w, "spn-fetch", err));
    }
    return SPN_STATUS_OK;
}

static void join_threads(transfer *t) {
    for (uint32_t k = 0; k < t->n_workers; k++) {
        worker *w = &t->workers[k];
        if (w->thread != NULL) spn_thread_join(w->thread);
        spn_free(w->block);
        spn_buf_free(&w->words);
        *w = (worker){0};
    }
    if (t->hasher != NULL) spn_thread_join(t->hasher);
    t->hasher = NULL;
}

/* The map of an earlier run, when it is for the same file; else a new one. */
static spn_status open_map(transfer *t, spn_error *err) {
    const spn_transfer_job *job = t->job;
    spn_path_info info;
    bool old = spn_path_look(job->part_path, &info) && info.is_file && info.n_bytes == job->size &&
               spn_path_look(job->map_path, &info) && info.is_file &&
               spn_blocks_open(&t->map, job->map_path, true, NULL) == SPN_STATUS_OK;
    /* Without a SHA-256 nothing says that the old part is of the same file. */
    if (old && (t->map.size != job->size || job->sha256[0] == '\0' ||
                strcmp(t->map.sha256, job->sha256) != 0)) {
        spn_blocks_close(&t->map);
        old = false;
    }
    if (old) return SPN_STATUS_OK;
    SPN_TRY(spn_path_remove(job->part_path, err));
    return spn_blocks_create(&t->map, job->map_path, job->size, job->sha256, err);
}

static spn_status set_up(transfer *t, spn_error *err) {
    SPN_TRY(open_map(t, err));
    SPN_TRY(spn_file_open(&t->part, t->job->part_path, SPN_FILE_UPDATE, err));
    SPN_TRY(spn_file_lengthen(t->part, t->job->size, err));
    t->handed = spn_alloc_zeroed(t->map.n, 1);
    t->old = spn_alloc_zeroed(t->map.n, 1);
    t->mutex = spn_mutex_create();
    t->changed = spn_cond_create();
    t->over = spn_cond_create();
    if (!t->handed || !t->old || !t->mutex || !t->changed || !t->over)
        return SPN_NO_MEMORY(err, "the transfer");
    for (size_t i = 0; i < t->map.n; i++) {
        if (!t->map.done[i]) continue;
        t->old[i] = 1;
        t->old_end = i + 1;
        t->n_done++;
        t->done_bytes += spn_blocks_length(&t->map, i);
    }
    return SPN_STATUS_OK;
}

static void tear_down(transfer *t) {
    spn_blocks_close(&t->map);
    spn_file_close(t->part);
    spn_free(t->handed);
    spn_free(t->old);
    spn_mutex_free(t->mutex);
    spn_cond_free(t->changed);
    spn_cond_free(t->over);
}

/* Where the file is, unless everything is here and only the hash is to be done. */
static spn_status find_place(transfer *t, spn_meter *meter, spn_error *err) {
    if (t->n_done == t->map.n) return SPN_STATUS_OK;
    spn_hub_place *place = spn_alloc_zeroed(1, sizeof *place);
    if (place == NULL) return SPN_NO_MEMORY(err, "an address");
    const spn_http_wait wait = spn_meter_wait(meter);
    spn_transfer_job *job = t->job;
    spn_status status =
        spn_hub_resolve(t->storage, job->repo, job->commit, job->path, &wait, place, err);
    bool other = place->sha256[0] && job->sha256[0] && strcmp(place->sha256, job->sha256) != 0;
    if (place->has_size && place->size != job->size) other = true;
    if (status == SPN_STATUS_OK && other) job->changed = true;
    if (status == SPN_STATUS_OK && other)
        status = SPN_FAIL(err, API,
                          "%s/%s is not the file that was listed: it changed meanwhile; try again",
                          job->repo, job->path);
    if (status == SPN_STATUS_OK) {
        memcpy(t->url, place->url, sizeof t->url);
        if (job->sha256[0] == '\0') memcpy(job->sha256, place->sha256, 65);
    }
    spn_free(place);
    return status;
}

static spn_status read_part(void *user, uint64_t offset, void *out, size_t n, spn_error *err) {
    size_t n_read = 0;
    SPN_TRY(spn_file_read_at(((transfer *)user)->part, out, n, offset, &n_read, err));
    return n_read == n ? SPN_STATUS_OK : SPN_FAIL(err, IO, "the part is shorter than it was");
}

/* Small files that are not in LFS have no SHA-256 there, but git's name. Larger ones cannot be
 * without LFS: what a mirror then calls oid is something else. */
static spn_status check_git_name(transfer *t, spn_error *err) {
    spn_transfer_job *job = t->job;
    char name[41] = "";
    if (job->sha256[0] || job->git_sha1 == NULL || job->git_sha1[0] == '\0') return SPN_STATUS_OK;
    if (job->size > MAX_GIT_BYTES) return SPN_STATUS_OK;
    SPN_TRY(spn_git_blob_name(job->size, read_part, t, name, err));
    if (strcmp(name, job->git_sha1) == 0) return SPN_STATUS_OK;
    (void)spn_path_remove(job->part_path, NULL);
    (void)spn_path_remove(job->map_path, NULL);
    return SPN_FAIL(err, CHECKSUM_MISMATCH,
                    "%s/%s: expected git's SHA-1 %s, got %s; the data was deleted", job->repo,
                    job->path, job->git_sha1, name);
}

static spn_status check_hash(transfer *t, spn_error *err) {
    spn_transfer_job *job = t->job;
    SPN_TRY(check_git_name(t, err));
    if (job->sha256[0] && strcmp(job->sha256, t->sha256) != 0) {
        char first[5] = "";
        size_t n = 0;
        (void)spn_file_read_at(t->part, first, 4, 0, &n, NULL);
        bool page = n > 0 && first[0] == '<';
        (void)spn_path_remove(job->part_path, NULL);
        (void)spn_path_remove(job->map_path, NULL);
        return SPN_FAIL(err, CHECKSUM_MISMATCH,
                        "%s/%s: expected SHA-256 %s, got %s%s; the data was deleted", job->repo,
                        job->path, job->sha256, t->sha256,
                        page ? " (it begins like a web page)" : "");
    }
    memcpy(job->sha256, t->sha256, 65);
    return spn_file_sync(t->part, err);
}

/* A disk that filled up meanwhile: what is needed now, beside what the system said. */
static void tell_room(const transfer *t, spn_error *err) {
    spn_disk_room room = {0};
    uint64_t missing = t->job->size - t->done_bytes;
    const spn_error why = *err;
    (void)spn_disk_room_of(t->storage->dir, &room, NULL);
    SPN_FAIL(err, DISK_FULL,
             "the disk of %.150s filled up: %llu bytes of %.80s are still to come, %llu are free; "
             "what arrived is kept, so free some room or move the store, then the same call goes "
             "on (%.120s)",
             t->storage->dir, (unsigned long long)missing, t->job->path,
             (unsigned long long)room.available, why.text);
    err->code = why.code;
}

static spn_status run_once(spn_storage *storage, spn_transfer_job *job, spn_meter *meter,
                           bool *changed, spn_error *err) {
    transfer *t = spn_alloc_zeroed(1, sizeof *t);
    if (t == NULL) return SPN_NO_MEMORY(err, "the transfer");
    t->storage = storage;
    t->job = job;
    spn_status status;
    SPN_TRY_GOTO(set_up(t, err));
    SPN_TRY_GOTO(find_place(t, meter, err));
    size_t n_missing = t->map.n - t->n_done;
    t->n_workers = job->n_connections < MAX_WORKERS ? job->n_connections : MAX_WORKERS;
    if (t->n_workers > (n_missing + 1) / 2) t->n_workers = (uint32_t)(n_missing + 1) / 2;
    if (t->n_workers == 0) t->n_workers = 1;
    status = start_threads(t, err);
    if (status == SPN_STATUS_OK)
        watch(t, meter);
    else
        fail(t, status, err);
    join_threads(t);
    if (t->stop && status == SPN_STATUS_OK) {
        status = t->status;
        if (err != NULL) *err = t->err;
        if (err != NULL && status == SPN_STATUS_DISK_FULL) tell_room(t, err);
    }
    meter->now.fetched += t->fetched;
    meter->now.completed = meter->base + t->done_bytes;
    *changed = t->file_changed;
    if (status == SPN_STATUS_OK) status = check_hash(t, err);
done:
    tear_down(t);
    spn_free(t);
    return status;
}

spn_status spn_transfer_run(spn_storage *storage, spn_transfer_job *job, spn_meter *meter,
                            spn_error *err) {
    spn_error local = {0};
    if (err == NULL) err = &local;
    for (int n = 0;; n++) {
        bool changed = false;
        spn_status status = run_once(storage, job, meter, &changed, err);
        job->changed |= changed;
        if (!changed) return status;
        /* Old and new blocks must never meet in one file. */
        SPN_TRY(spn_path_remove(job->part_path, err));
        SPN_TRY(spn_path_remove(job->map_path, err));
        if (n == MAX_RESTARTS) return status;
        spn_log(SPN_LOG_LEVEL_WARNING, "%s changed on the server; starting anew", job->path);
    }
}
