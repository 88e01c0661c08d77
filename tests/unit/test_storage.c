/* test_storage.c - the storage through its public interface, with a hub inside the test.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The hub is a transport that answers from memory: no socket, so every failing allocation and
 * every cancel can be tried.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "spn/storage.h"
#include "storage/store.h"
#include "temp.h"

/* ---- the hub in memory ---- */

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

typedef struct memory_hub {
    uint8_t *data;
    size_t n_bytes;
    char sha256[65];
    pthread_mutex_t mutex;
    int n_requests, n_ranges, n_most_at_once, n_now;
    bool saw_token_at_cdn;
    bool no_answer;
} memory_hub;

static const char *header_of(const spn_http_request *request, const char *name) {
    for (size_t i = 0; i < request->n_headers; i++)
        if (strcmp(request->headers[i].name, name) == 0) return request->headers[i].value;
    return NULL;
}

static spn_status reply(const spn_http_sink *sink, int status, const char *body,
                        const spn_http_header *headers, size_t n, spn_error *err) {
    (void)err;
    if (!sink->on_response(status, headers, n, sink->user)) return SPN_STATUS_CANCELLED;
    if (body[0] && !sink->on_body(body, strlen(body), sink->user)) return SPN_STATUS_CANCELLED;
    return SPN_STATUS_OK;
}

static spn_status send_range(memory_hub *hub, const spn_http_request *request,
                             const spn_http_sink *sink) {
    unsigned long long first = 0, last = hub->n_bytes - 1;
    char content_range[80];
    const char *range = header_of(request, "Range");
    assert_non_null(range);
    assert_int_equal(sscanf(range, "bytes=%llu-%llu", &first, &last), 2);
    assert_true(first <= last && last < hub->n_bytes);
    snprintf(content_range, sizeof content_range, "bytes %llu-%llu/%zu", first, last, hub->n_bytes);
    const spn_http_header headers[] = {{"Content-Range", content_range}, {"ETag", "\"xet\""}};
    if (!sink->on_response(206, headers, 2, sink->user)) return SPN_STATUS_CANCELLED;
    for (size_t at = first; at <= last;) {
        size_t n = spn_min_size(70001, last + 1 - at);
        if (!sink->go_on(sink->user) || !sink->on_body(hub->data + at, n, sink->user))
            return SPN_STATUS_CANCELLED;
        at += n;
    }
    return SPN_STATUS_OK;
}

static spn_status answer(memory_hub *hub, const spn_http_request *request,
                         const spn_http_sink *sink, spn_error *err) {
    char text[1000];
    if (strstr(request->url, "/api/models/o/r/revision/") != NULL)
        return reply(sink, 200, "{\"sha\":\"" COMMIT "\"}", NULL, 0, err);
    if (strstr(request->url, "/api/models/o/r/tree/" COMMIT) != NULL) {
        snprintf(text, sizeof text,
                 "[{\"type\":\"file\",\"path\":\"m-Q4_K_M.gguf\",\"size\":%zu,"
                 "\"lfs\":{\"oid\":\"%s\",\"size\":%zu}}]",
                 hub->n_bytes, hub->sha256, hub->n_bytes);
        return reply(sink, 200, text, NULL, 0, err);
    }
    if (strstr(request->url, "/o/r/resolve/" COMMIT "/m-Q4_K_M.gguf") != NULL) {
        const spn_http_header headers[] = {{"Location", "http://cdn.test/file"},
                                           {"X-Linked-Etag", hub->sha256}};
        return reply(sink, 302, "", headers, 2, err);
    }
    if (strcmp(request->url, "http://cdn.test/file") == 0) {
        if (header_of(request, "Authorization") != NULL) hub->saw_token_at_cdn = true;
        return send_range(hub, request, sink);
    }
    return reply(sink, 404, "{\"error\":\"no such page\"}", NULL, 0, err);
}

static spn_status perform(const spn_http_request *request, const spn_http_sink *sink, void *user,
                          spn_error *err) {
    memory_hub *hub = user;
    pthread_mutex_lock(&hub->mutex);
    hub->n_requests++;
    hub->n_ranges += strstr(request->url, "cdn.test") != NULL;
    if (++hub->n_now > hub->n_most_at_once) hub->n_most_at_once = hub->n_now;
    bool silent = hub->no_answer;
    pthread_mutex_unlock(&hub->mutex);
    spn_status status =
        silent ? SPN_FAIL(err, NETWORK, "the cable is out") : answer(hub, request, sink, err);
    pthread_mutex_lock(&hub->mutex);
    hub->n_now--;
    pthread_mutex_unlock(&hub->mutex);
    return status;
}

static memory_hub hub;

static void make_hub(size_t n_bytes) {
    uint8_t digest[SPN_SHA256_BYTES];
    hub = (memory_hub){.n_bytes = n_bytes, .data = malloc(n_bytes)};
    pthread_mutex_init(&hub.mutex, NULL);
    uint64_t x = 1234567;
    for (size_t i = 0; i < n_bytes; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        hub.data[i] = (uint8_t)(x >> 56);
    }
    memcpy(hub.data, "GGUF", 4);
    assert_int_equal(spn_sha256_of(hub.data, n_bytes, digest, NULL), SPN_STATUS_OK);
    spn_sha256_text(digest, hub.sha256);
}

static spn_storage *open_store(void) {
    static const spn_transport transport = {perform, &hub};
    spn_storage *storage = NULL;
    spn_error err = {0};
    const spn_storage_options options = {
        .dir = temp_root,
        .endpoint = "http://hub.test/",
        .token = " secret\n",
        .transport = &transport,
        .retry_base_ms = 1,
        .retry_max_ms = 2,
    };
    spn_status status = spn_storage_open(&storage, &options, &err);
    if (status != SPN_STATUS_OK && status != SPN_STATUS_NO_MEMORY) print_error("%s\n", err.text);
    return storage;
}

static int set_up(void **state) {
    (void)state;
    temp_make();
    make_hub(((size_t)5 << 20) + 12345);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temp_remove();
    free(hub.data);
    pthread_mutex_destroy(&hub.mutex);
    return 0;
}

/* ---- downloads ---- */

static bool count_progress(const spn_pull_progress *progress, void *user) {
    uint64_t *seen = user;
    assert_true(progress->completed <= progress->total || progress->total == 0);
    assert_non_null(progress->status);
    assert_non_null(progress->file);
    assert_true(spn_pull_progress_percent(progress) <= 100.0);
    if (progress->completed > *seen) *seen = progress->completed;
    return true;
}

static void a_host_brings_its_own_http(void **state) {
    (void)state;
    spn_storage *storage = open_store();
    assert_non_null(storage);
    spn_download_request request = {.reference = "hf:o/r"};
    spn_download_result result = {0};
    spn_error err = {0};
    uint64_t seen = 0;
    char *text;
    size_t n;
    assert_int_equal(spn_storage_download(storage, &request, count_progress, &seen, &result, &err),
                     SPN_STATUS_OK);
    assert_false(result.cached);
    assert_string_equal(result.checksum, hub.sha256);
    assert_string_equal(result.revision, COMMIT);
    assert_string_equal(result.name, "o/r/m-Q4_K_M.gguf");
    /* what a worker gets beyond a range that was shortened meanwhile counts too */
    assert_true(result.fetched >= hub.n_bytes && seen == hub.n_bytes);
    assert_true(result.fetched < hub.n_bytes + ((size_t)1 << 20));
    assert_int_equal(spn_file_read(result.path, hub.n_bytes, &text, &n, &err), SPN_STATUS_OK);
    assert_memory_equal(text, hub.data, hub.n_bytes);
    spn_free(text);
    assert_false(hub.saw_token_at_cdn);
    assert_true(hub.n_ranges >= 4);
    spn_download_result_clear(&result);

    /* again: nothing is asked for */
    int before = hub.n_requests;
    assert_true(spn_storage_exists(storage, "o/r/m-Q4_K_M.gguf"));
    request = spn_download_request_huggingface("o/r", "m-Q4_K_M.gguf");
    assert_int_equal(spn_storage_download(storage, &request, NULL, NULL, &result, &err),
                     SPN_STATUS_OK);
    assert_true(result.cached);
    assert_int_equal(hub.n_requests, before);
    spn_download_result_clear(&result);
    spn_storage_close(storage);
}

static bool cancel_at_once(const spn_pull_progress *progress, void *user) {
    (void)user;
    return progress->completed < (uint64_t)1 << 20;
}

static void a_cancelled_download_goes_on(void **state) {
    (void)state;
    spn_storage *storage = open_store();
    spn_download_request request = {.reference = "hf:o/r", .rate_limit = 20 << 20};
    spn_download_result result = {0};
    spn_error err = {0};
    assert_int_equal(spn_storage_download(storage, &request, cancel_at_once, NULL, &result, &err),
                     SPN_STATUS_CANCELLED);
    assert_false(spn_storage_exists(storage, "hf:o/r"));
    spn_stored_model model;
    assert_int_equal(spn_storage_model_info(storage, "hf:o/r", &model, &err), SPN_STATUS_OK);
    assert_int_equal(model.state, SPN_STORED_PARTIAL);
    assert_true(model.n_done > 0 && model.n_done < model.size);
    uint64_t had = model.n_done;
    spn_stored_model_clear(&model);
    spn_download_plan plan;
    assert_int_equal(spn_storage_plan(storage, &request, &plan, &err), SPN_STATUS_OK);
    assert_true(plan.to_fetch == hub.n_bytes - had);
    spn_download_plan_clear(&plan);
    request.rate_limit = 0;
    assert_int_equal(spn_storage_download(storage, &request, NULL, NULL, &result, &err),
                     SPN_STATUS_OK);
    assert_true(result.fetched >= hub.n_bytes - had && result.fetched < hub.n_bytes);
    spn_download_result_clear(&result);
    spn_storage_close(storage);
}

static void a_silent_network_is_an_error(void **state) {
    (void)state;
    spn_storage *storage = open_store();
    spn_download_request request = {.reference = "hf:o/r"};
    spn_download_result result = {0};
    spn_error err = {0};
    hub.no_answer = true;
    assert_int_equal(spn_storage_download(storage, &request, NULL, NULL, &result, &err),
                     SPN_STATUS_NETWORK);
    assert_non_null(strstr(err.text, "the cable is out"));
    assert_true(hub.n_requests > 1); /* it was tried again */
    assert_null(result.path);
    spn_storage_close(storage);
}

typedef struct puller {
    spn_storage *storage;
    spn_status status;
    bool cached;
} puller;

static void *pull(void *arg) {
    puller *p = arg;
    spn_download_request request = {.reference = "hf:o/r"};
    spn_download_result result = {0};
    p->status = spn_storage_download(p->storage, &request, NULL, NULL, &result, NULL);
    p->cached = result.cached;
    spn_download_result_clear(&result);
    return NULL;
}

static void threads_share_one_download(void **state) {
    (void)state;
    spn_storage *storage = open_store();
    puller pullers[4];
    pthread_t threads[4];
    int n_fresh = 0;
    for (int i = 0; i < 4; i++) {
        pullers[i] = (puller){.storage = storage};
        pthread_create(&threads[i], NULL, pull, &pullers[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(pullers[i].status, SPN_STATUS_OK);
        n_fresh += !pullers[i].cached;
    }
    assert_int_equal(n_fresh, 1);
    spn_storage_close(storage);
}

/* ---- failing allocations ---- */

typedef struct failing_heap {
    pthread_mutex_t mutex;
    long n_calls, fail_at, n_blocks;
} failing_heap;

static bool may_allocate(failing_heap *heap) {
    pthread_mutex_lock(&heap->mutex);
    bool ok = heap->fail_at == 0 || ++heap->n_calls != heap->fail_at;
    pthread_mutex_unlock(&heap->mutex);
    return ok;
}

static void count_block(failing_heap *heap, long by) {
    pthread_mutex_lock(&heap->mutex);
    heap->n_blocks += by;
    pthread_mutex_unlock(&heap->mutex);
}

static void *failing_malloc(size_t n_bytes, void *user) {
    void *block = may_allocate(user) ? malloc(n_bytes) : NULL;
    if (block != NULL) count_block(user, 1);
    return block;
}

static void *failing_realloc(void *block, size_t n_bytes, void *user) {
    void *moved = may_allocate(user) ? realloc(block, n_bytes) : NULL;
    if (moved != NULL && block == NULL) count_block(user, 1);
    return moved;
}

static void failing_free(void *block, void *user) {
    if (block != NULL) count_block(user, -1);
    free(block);
}

static spn_status whole_life(void) {
    spn_storage *storage = open_store();
    if (storage == NULL) return SPN_STATUS_NO_MEMORY;
    spn_download_request request = {.reference = "hf:o/r"};
    spn_download_result result = {0};
    spn_stored_list list = {0};
    spn_status status = spn_storage_download(storage, &request, NULL, NULL, &result, NULL);
    if (status == SPN_STATUS_OK) status = spn_storage_list_models(storage, &list, NULL);
    if (status == SPN_STATUS_OK)
        status = spn_storage_verify(storage, "hf:o/r", NULL, NULL, NULL, NULL);
    if (status == SPN_STATUS_OK) status = spn_storage_delete(storage, "hf:o/r", false, NULL);
    spn_download_result_clear(&result);
    spn_stored_list_clear(&list);
    spn_storage_close(storage);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    failing_heap heap = {.n_blocks = 0};
    pthread_mutex_init(&heap.mutex, NULL);
    const spn_allocator hook = {failing_malloc, failing_realloc, failing_free, &heap};
    free(hub.data);
    make_hub(((size_t)1 << 20) + 5); /* small: it is fetched many times */
    assert_int_equal(spn_set_allocator(&hook), SPN_STATUS_OK);
    int n_failed = 0;
    for (long at = 1;; at += 1 + at / 40) {
        heap.n_calls = 0;
        heap.fail_at = at;
        spn_status status = whole_life();
        long used = heap.n_calls;
        heap.fail_at = 0;
        assert_int_equal(heap.n_blocks, 0);
        n_failed += status != SPN_STATUS_OK;
        if (used < at) break; /* nothing failed any more */
    }
    assert_true(n_failed > 20);
    assert_int_equal(whole_life(), SPN_STATUS_OK);
    assert_int_equal(spn_set_allocator(NULL), SPN_STATUS_OK);
    pthread_mutex_destroy(&heap.mutex);
}

/* ---- names ---- */

static void names_stay_in_the_store(void **state) {
    (void)state;
    static const char *const pieces[] = {
        "..", ".",  "/",        "\\",   "a", "b.gguf", "\x01", "nul",
        " ",  "C:", "\xC3\xA9", "\xFF", "~", "link",   "-"};
    spn_storage *storage = open_store();
    char link[TEMP_PATH];
    temp_path(link, "link");
    assert_int_equal(symlink("/etc", link), 0);
    uint64_t x = 99;
    size_t n_accepted = 0, root = strlen(spn_storage_dir(storage));
    for (int round = 0; round < 20000; round++) {
        char name[100] = "", *path = NULL;
        size_t len = 0;
        for (int k = 0; k < 6; k++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            if (x % 6 == 0) break;
            len += (size_t)snprintf(name + len, sizeof name - len, "%s",
                                    pieces[(x >> 16) % SPN_COUNT(pieces)]);
        }
        if (spn_storage_model_path(storage, name, &path, NULL) != SPN_STATUS_OK) continue;
        n_accepted++;
        assert_int_equal(strncmp(path, spn_storage_dir(storage), root), 0);
        assert_int_equal(path[root], '/');
        assert_null(strstr(path, "/../"));
        assert_null(strstr(path, "/./"));
        assert_int_not_equal(strncmp(path + root, "/link/", 6), 0); /* the link leads out */
        assert_null(strpbrk(path, "\\\x01"));
        spn_free(path);
    }
    assert_true(n_accepted > 100);
    spn_storage_close(storage);
}

static void strangers_in_the_store_are_seen(void **state) {
    (void)state;
    spn_storage *storage = open_store();
    spn_stored_list list;
    spn_error err = {0};
    char *path = NULL;
    temp_write_text("a/b/x-Q8_0.gguf", "GGUF");
    temp_write_text("a/b/deep/er/y-00001-of-00002.gguf", "GGUF");
    temp_write_text("a/b/note.txt", "x");
    temp_write_text("a/b/bad.gguf.json", "{");
    assert_int_equal(spn_storage_list_models(storage, &list, &err), SPN_STATUS_OK);
    assert_int_equal(list.n, 2);
    assert_string_equal(list.items[0].name, "a/b/deep/er/y-00001-of-00002.gguf");
    assert_int_equal(list.items[0].state, SPN_STORED_PARTIAL);
    assert_string_equal(list.items[1].name, "a/b/x-Q8_0.gguf");
    assert_int_equal(list.items[1].state, SPN_STORED_UNVERIFIED);
    assert_int_equal(list.items[1].quantization, SPN_QUANTIZATION_Q8_0);
    spn_stored_list_clear(&list);
    assert_int_equal(spn_storage_locate(storage, "x-Q8_0", &path, &err), SPN_STATUS_OK);
    spn_free(path);
    path = NULL;
    assert_int_equal(spn_storage_locate(storage, "qwen3:8b", &path, &err),
                     SPN_STATUS_MODEL_NOT_FOUND);
    assert_non_null(strstr(err.text, "pull"));
    assert_int_equal(spn_storage_locate(storage, "/no/such.gguf", &path, &err),
                     SPN_STATUS_MODEL_NOT_FOUND);
    assert_null(path);
    uint64_t freed = 0;
    assert_int_equal(spn_storage_prune(storage, false, &freed, &err), SPN_STATUS_OK);
    char left[TEMP_PATH];
    assert_false(spn_path_exists(temp_path(left, "a/b/bad.gguf.json")));
    assert_true(spn_path_exists(temp_path(left, "a/b/note.txt")));
    spn_storage_close(storage);
}

static void a_lock_has_one_holder(void **state) {
    (void)state;
    spn_storage *storage = open_store();
    spn_lock *one = NULL, *two = NULL;
    spn_error err = {0};
    assert_int_equal(spn_store_lock(storage, "a/b/c.gguf", false, NULL, &one, &err), SPN_STATUS_OK);
    assert_int_equal(spn_store_lock(storage, "a/b/c.gguf", false, NULL, &two, &err),
                     SPN_STATUS_BUSY);
    char who[40];
    snprintf(who, sizeof who, "process %ld", (long)getpid());
    assert_non_null(strstr(err.text, who));
    assert_int_equal(spn_store_lock(storage, "a/b/d.gguf", false, NULL, &two, &err), SPN_STATUS_OK);
    spn_lock_release(two);
    spn_lock_release(one);
    assert_int_equal(spn_store_lock(storage, "a/b/c.gguf", false, NULL, &one, &err), SPN_STATUS_OK);
    spn_lock_release(one);
    spn_storage_close(storage);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    spn_storage *storage = NULL;
    spn_error err = {0};
    const spn_storage_options bad_endpoint = {.dir = temp_root, .endpoint = "ftp://x"};
    const spn_storage_options bad_token = {.dir = temp_root, .token = "a\r\nX-Evil: 1"};
    const spn_storage_options bad_dir = {.dir = "/dev/null/x"};
    assert_int_equal(spn_storage_open(&storage, &bad_endpoint, &err), SPN_STATUS_INVALID_CONFIG);
    assert_int_equal(spn_storage_open(&storage, &bad_token, &err), SPN_STATUS_INVALID_CONFIG);
    assert_int_equal(spn_storage_open(&storage, &bad_dir, &err), SPN_STATUS_STORAGE_DIR);
    assert_int_equal(spn_storage_open(NULL, NULL, NULL), SPN_STATUS_INVALID_ARGUMENT);
    assert_null(storage);
    spn_storage_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_host_brings_its_own_http, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancelled_download_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_silent_network_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_share_one_download, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_stay_in_the_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strangers_in_the_store_are_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lock_has_one_holder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_options_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
