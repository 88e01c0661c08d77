/* test_os.c - maps, files, virtual memory, threads, time. SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "platform/os.h"
#include "temp.h"

/* ---- maps ---- */

static void maps_show_the_file(void **state) {
    (void)state;
    char path[TEMP_PATH];
    enum { N = 10000 };
    static uint8_t bytes[N];
    for (size_t i = 0; i < N; i++) bytes[i] = (uint8_t)(i * 7 + i / 256);
    temp_write("file", bytes, N);
    spn_map map = {0};
    spn_error err = {0};
    assert_int_equal(spn_map_open(&map, temp_path(path, "file"), &err), SPN_STATUS_OK);
    assert_int_equal(map.n_bytes, N);
    assert_int_equal((uintptr_t)map.data % spn_page_bytes(), 0);
    assert_memory_equal(map.data, bytes, N);
    spn_map_will_need(map.data + 5, N - 5);
    spn_map_close(&map);
    assert_null(map.data);
    spn_map_close(&map);
}

static void empty_files_have_data_too(void **state) {
    (void)state;
    char path[TEMP_PATH];
    temp_write("empty", "", 0);
    spn_map map = {0};
    assert_int_equal(spn_map_open(&map, temp_path(path, "empty"), NULL), SPN_STATUS_OK);
    assert_non_null(map.data);
    assert_int_equal(map.n_bytes, 0);
    spn_map_close(&map);
}

static void what_is_no_file_is_not_mapped(void **state) {
    (void)state;
    char path[TEMP_PATH];
    spn_map map = {.n_bytes = 7};
    spn_error err = {0};
    assert_int_equal(spn_map_open(&map, temp_path(path, "absent"), &err), SPN_STATUS_IO);
    assert_int_equal(err.code, ENOENT);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(spn_map_open(&map, temp_root, &err), SPN_STATUS_IO);
    assert_non_null(strstr(err.text, "directory"));
    assert_int_equal(spn_map_open(&map, "/dev/null", &err), SPN_STATUS_IO);
    /* A pipe without a writer must not make the opener wait. */
    assert_int_equal(mkfifo(temp_path(path, "pipe"), 0600), 0);
    assert_int_equal(spn_map_open(&map, path, &err), SPN_STATUS_IO);
    assert_int_equal(map.n_bytes, 7);
}

static void pages_lock_or_say_the_limit(void **state) {
    (void)state;
    char path[TEMP_PATH];
    temp_write_text("file", "some bytes");
    spn_map map = {0};
    spn_error err = {0};
    assert_int_equal(spn_map_open(&map, temp_path(path, "file"), NULL), SPN_STATUS_OK);
    if (spn_map_lock(map.data, map.n_bytes, &err) != SPN_STATUS_OK)
        assert_int_equal(err.status, SPN_STATUS_INSUFFICIENT_MEMORY);
    spn_status status = spn_map_lock(map.data, (size_t)1 << 46, &err); /* far beyond the map */
    spn_map_close(&map);
    if (mlock(NULL, (size_t)1 << 46) == 0) skip(); /* the address sanitizer locks nothing */
    assert_int_equal(status, SPN_STATUS_INSUFFICIENT_MEMORY);
    assert_non_null(strstr(err.text, "70368744177664"));
}

/* ---- virtual memory ---- */

static void reserved_memory_is_zero_and_large(void **state) {
    (void)state;
    const size_t n = (size_t)1 << 36; /* 64 GiB: far more than is touched */
    size_t page = spn_page_bytes();
    uint8_t *start = spn_vm_reserve(n);
    assert_non_null(start);
    assert_int_equal((uintptr_t)start % page, 0);
    for (size_t at = 0; at < n; at += n / 16) {
        assert_int_equal(start[at], 0);
        start[at] = 1;
    }
    assert_int_equal(start[n - 1], 0);
    spn_vm_release(start, n);
    spn_vm_release(NULL, 0);
}

static void discarded_pages_are_zero_again(void **state) {
    (void)state;
    size_t page = spn_page_bytes(), n = 8 * page;
    uint8_t *start = spn_vm_reserve(n);
    assert_non_null(start);
    memset(start, 0xAB, n);
    /* From within page 1 to within page 5: pages 2, 3 and 4 are wholly inside. */
    spn_vm_discard(start + page + 1, 4 * page);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(start[i], i / page >= 2 && i / page <= 4 ? 0 : 0xAB);
    spn_vm_discard(start + 1, page); /* no whole page */
    assert_int_equal(start[1], 0xAB);
    start[3 * page] = 5;
    assert_int_equal(start[3 * page], 5);
    spn_vm_release(start, n);
}

/* ---- threads ---- */

typedef struct ping_pong {
    spn_mutex *mutex;
    spn_cond *cond;
    int turn, n_rounds;
} ping_pong;

static void pong(void *arg) {
    ping_pong *game = arg;
    spn_mutex_lock(game->mutex);
    while (game->n_rounds < 100) {
        while (game->turn == 0) spn_cond_wait(game->cond, game->mutex);
        game->turn = 0;
        game->n_rounds++;
        spn_cond_broadcast(game->cond);
    }
    spn_mutex_unlock(game->mutex);
}

static void threads_take_turns(void **state) {
    (void)state;
    ping_pong game = {spn_mutex_create(), spn_cond_create(), 0, 0};
    spn_thread *thread = NULL;
    spn_error err = {0};
    assert_int_equal(spn_thread_start(&thread, pong, &game, "a name longer than fifteen", &err),
                     SPN_STATUS_OK);
    spn_mutex_lock(game.mutex);
    for (int i = 0; i < 100; i++) {
        game.turn = 1;
        spn_cond_signal(game.cond);
        while (game.turn == 1) spn_cond_wait(game.cond, game.mutex);
        assert_int_equal(game.n_rounds, i + 1);
    }
    spn_mutex_unlock(game.mutex);
    spn_thread_join(thread);
    spn_cond_free(game.cond);
    spn_mutex_free(game.mutex);
    spn_thread_join(NULL);
    spn_cond_free(NULL);
    spn_mutex_free(NULL);
}

typedef struct counter {
    spn_mutex *mutex;
    int n;
} counter;

static void count(void *arg) {
    counter *c = arg;
    for (int i = 0; i < 10000; i++) {
        spn_mutex_lock(c->mutex);
        c->n++;
        spn_mutex_unlock(c->mutex);
        if (i % 1000 == 0) spn_thread_yield();
        spn_cpu_relax();
    }
}

static void mutexes_exclude(void **state) {
    (void)state;
    counter c = {spn_mutex_create(), 0};
    spn_thread *threads[4];
    for (size_t i = 0; i < SPN_COUNT(threads); i++)
        assert_int_equal(spn_thread_start(&threads[i], count, &c, "count", NULL), SPN_STATUS_OK);
    for (size_t i = 0; i < SPN_COUNT(threads); i++) spn_thread_join(threads[i]);
    assert_int_equal(c.n, 40000);
    spn_mutex_free(c.mutex);
}

static void waiting_ends(void **state) {
    (void)state;
    spn_mutex *mutex = spn_mutex_create();
    spn_cond *cond = spn_cond_create();
    const uint64_t wait = 20000000;
    spn_mutex_lock(mutex);
    uint64_t start = spn_time_ns(), end = start + wait;
    bool in_time = true;
    while (in_time && spn_time_ns() < end) /* a wait may end early for no reason */
        in_time = spn_cond_wait_for(cond, mutex, end - spn_time_ns());
    assert_true(spn_time_ns() - start >= wait);
    assert_false(spn_cond_wait_for(cond, mutex, 0));
    spn_mutex_unlock(mutex);
    spn_cond_free(cond);
    spn_mutex_free(mutex);
}

typedef struct flag {
    spn_mutex *mutex;
    spn_cond *cond;
    bool up;
} flag;

static void raise_flag(void *arg) {
    flag *f = arg;
    spn_mutex_lock(f->mutex);
    f->up = true;
    spn_cond_signal(f->cond);
    spn_mutex_unlock(f->mutex);
}

/* The longest timeout there is must not wrap around to a short one. */
static void waiting_forever_hears_the_signal(void **state) {
    (void)state;
    flag f = {spn_mutex_create(), spn_cond_create(), false};
    spn_thread *thread = NULL;
    spn_mutex_lock(f.mutex);
    assert_int_equal(spn_thread_start(&thread, raise_flag, &f, "flag", NULL), SPN_STATUS_OK);
    while (!f.up) assert_true(spn_cond_wait_for(f.cond, f.mutex, UINT64_MAX));
    spn_mutex_unlock(f.mutex);
    spn_thread_join(thread);
    spn_cond_free(f.cond);
    spn_mutex_free(f.mutex);
}

static bool is_readable(const spn_event *event) {
    struct pollfd poller = {.fd = spn_event_descriptor(event), .events = POLLIN};
    return poll(&poller, 1, 0) == 1 && (poller.revents & POLLIN) != 0;
}

static void events_show_in_poll(void **state) {
    (void)state;
    spn_event *event = spn_event_create();
    assert_non_null(event);
    assert_false(is_readable(event));
    for (int i = 0; i < 3; i++) {
        spn_event_set(event);
        spn_event_set(event); /* twice is once */
        assert_true(is_readable(event));
        spn_event_clear(event);
        assert_false(is_readable(event));
        spn_event_clear(event);
    }
    spn_event_free(event);
    spn_event_free(NULL);
}

static void time_goes_on(void **state) {
    (void)state;
    uint64_t start = spn_time_ns();
    spn_sleep_ms(5);
    assert_true(spn_time_ns() - start >= 5000000);
    assert_true(spn_time_unix() > 1700000000); /* November 2023 */
}

static void random_bytes_differ(void **state) {
    (void)state;
    uint8_t a[1000] = {0}, b[1000] = {0};
    assert_int_equal(spn_random_bytes(a, sizeof a, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_random_bytes(b, sizeof b, NULL), SPN_STATUS_OK);
    assert_memory_not_equal(a, b, sizeof a);
    /* Every part is filled: 16 bytes that stay zero happen once in 2^128. */
    static const uint8_t zeros[16];
    for (size_t i = 0; i + sizeof zeros <= sizeof a; i += sizeof zeros)
        assert_memory_not_equal(a + i, zeros, sizeof zeros);
    assert_int_equal(spn_random_bytes(NULL, 0, NULL), SPN_STATUS_OK);
}

/* ---- files ---- */

static size_t n_entries(void) {
    char command[TEMP_PATH + 32];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", temp_root);
    FILE *pipe = popen(command, "r");
    unsigned long n = 0;
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%lu", &n), 1);
    pclose(pipe);
    return n;
}

static void small_files_go_both_ways(void **state) {
    (void)state;
    char path[TEMP_PATH], *text = NULL;
    size_t n = 0;
    spn_error err = {0};
    temp_path(path, "file");
    assert_int_equal(spn_file_write(path, "one\0two", 7, &err), SPN_STATUS_OK);
    assert_int_equal(spn_file_read(path, 7, &text, &n, &err), SPN_STATUS_OK);
    assert_int_equal(n, 7);
    assert_memory_equal(text, "one\0two", 8); /* with the NUL behind */
    spn_free(text);
    text = NULL;
    assert_int_equal(spn_file_read(path, 6, &text, &n, &err), SPN_STATUS_FORMAT);
    assert_null(text);
    assert_int_equal(spn_file_write(path, "", 0, &err), SPN_STATUS_OK);
    assert_int_equal(spn_file_read(path, 0, &text, &n, &err), SPN_STATUS_OK);
    assert_int_equal(n, 0);
    assert_string_equal(text, "");
    spn_free(text);
    assert_int_equal(n_entries(), 1); /* no temporary file stays */
}

static void large_files_are_read_whole(void **state) {
    (void)state;
    char path[TEMP_PATH], *text = NULL;
    size_t n = 0, size = 100001;
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++) bytes[i] = (char)(i % 251);
    temp_write("file", bytes, size);
    assert_int_equal(spn_file_read(temp_path(path, "file"), 1 << 20, &text, &n, NULL),
                     SPN_STATUS_OK);
    assert_int_equal(n, size);
    assert_memory_equal(text, bytes, size);
    spn_free(text);
    free(bytes);
}

static void bad_paths_are_errors(void **state) {
    (void)state;
    char path[TEMP_PATH], *text = NULL;
    spn_error err = {0};
    assert_int_equal(spn_file_read(temp_path(path, "absent"), 9, &text, NULL, &err), SPN_STATUS_IO);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(spn_file_read(temp_root, 9, &text, NULL, &err), SPN_STATUS_IO);
    assert_int_equal(spn_file_write(temp_path(path, "no/folder"), "x", 1, &err), SPN_STATUS_IO);
    assert_int_equal(spn_file_write(temp_root, "x", 1, &err), SPN_STATUS_IO);
    assert_int_equal(n_entries(), 0);
    assert_null(text);
}

static void files_are_written_in_place(void **state) {
    (void)state;
    char path[TEMP_PATH], bytes[16] = {0};
    size_t n_read = 0;
    uint64_t size = 0;
    spn_file *file = NULL;
    temp_path(path, "file");
    assert_int_equal(spn_file_open(&file, path, SPN_FILE_READ, NULL), SPN_STATUS_IO);
    assert_int_equal(spn_file_open(&file, path, SPN_FILE_UPDATE, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_file_write_at(file, "hello", 5, 3, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_file_write_at(file, "J", 1, 3, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_file_sync(file, NULL), SPN_STATUS_OK);
    spn_file_close(file);
    assert_int_equal(spn_file_open(&file, path, SPN_FILE_UPDATE, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_file_size(file, &size, NULL), SPN_STATUS_OK);
    assert_int_equal(size, 8);
    assert_int_equal(spn_file_read_at(file, bytes, sizeof bytes, 1, &n_read, NULL), SPN_STATUS_OK);
    assert_int_equal(n_read, 7);
    assert_memory_equal(bytes, "\0\0Jello", 7);
    assert_int_equal(spn_file_read_at(file, bytes, sizeof bytes, 1000, &n_read, NULL),
                     SPN_STATUS_OK);
    assert_int_equal(n_read, 0);
    assert_int_equal(spn_file_read_at(file, bytes, 1, UINT64_MAX, &n_read, NULL),
                     SPN_STATUS_INVALID_ARGUMENT);
    assert_int_equal(spn_file_write_at(file, bytes, 1, INT64_MAX, NULL),
                     SPN_STATUS_INVALID_ARGUMENT);
    spn_file_close(file);
    assert_int_equal(spn_file_open(&file, path, SPN_FILE_WRITE_NEW, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_file_size(file, &size, NULL), SPN_STATUS_OK);
    assert_int_equal(size, 0);
    spn_file_close(file);
    spn_file_close(NULL);
}

static void a_full_disk_is_told_apart(void **state) {
    (void)state;
    spn_file *file = NULL;
    spn_error err = {0};
    if (!spn_path_exists("/dev/full")) skip();
    assert_int_equal(spn_file_open(&file, "/dev/full", SPN_FILE_UPDATE, &err), SPN_STATUS_OK);
    assert_int_equal(spn_file_write_at(file, "x", 1, 0, &err), SPN_STATUS_DISK_FULL);
    assert_int_equal(err.code, ENOSPC);
    spn_file_close(file);
}

static void folders_come_with_their_parents(void **state) {
    (void)state;
    char path[TEMP_PATH];
    spn_error err = {0};
    assert_int_equal(spn_dir_create(temp_path(path, "a/b//c/"), &err), SPN_STATUS_OK);
    assert_true(spn_path_is_dir(path));
    assert_int_equal(spn_dir_create(path, &err), SPN_STATUS_OK);
    temp_write_text("a/file", "x");
    assert_true(spn_path_exists(temp_path(path, "a/file")));
    assert_false(spn_path_is_dir(path));
    assert_int_equal(spn_dir_create(path, &err), SPN_STATUS_IO);
    assert_int_equal(err.code, ENOTDIR);
    assert_int_equal(spn_dir_create(temp_path(path, "a/file/b"), &err), SPN_STATUS_IO);
    assert_false(spn_path_exists(temp_path(path, "a/none")));
    assert_int_equal(spn_dir_create("", &err), SPN_STATUS_IO);
}

static void files_move_and_go(void **state) {
    (void)state;
    char from[TEMP_PATH], to[TEMP_PATH], *text = NULL;
    temp_write_text("from", "new");
    temp_write_text("to", "old");
    temp_path(from, "from");
    temp_path(to, "to");
    assert_int_equal(spn_path_rename(from, to, NULL), SPN_STATUS_OK);
    assert_false(spn_path_exists(from));
    assert_int_equal(spn_file_read(to, 9, &text, NULL, NULL), SPN_STATUS_OK);
    assert_string_equal(text, "new");
    spn_free(text);
    assert_int_equal(spn_path_rename(from, to, NULL), SPN_STATUS_IO);
    assert_int_equal(spn_path_remove(to, NULL), SPN_STATUS_OK);
    assert_false(spn_path_exists(to));
    assert_int_equal(spn_path_remove(to, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_path_remove(temp_root, NULL), SPN_STATUS_IO);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, temp_setup, temp_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(maps_show_the_file),
        IN_FOLDER(empty_files_have_data_too),
        IN_FOLDER(what_is_no_file_is_not_mapped),
        IN_FOLDER(pages_lock_or_say_the_limit),
        cmocka_unit_test(reserved_memory_is_zero_and_large),
        cmocka_unit_test(discarded_pages_are_zero_again),
        cmocka_unit_test(threads_take_turns),
        cmocka_unit_test(mutexes_exclude),
        cmocka_unit_test(waiting_ends),
        cmocka_unit_test(waiting_forever_hears_the_signal),
        cmocka_unit_test(events_show_in_poll),
        cmocka_unit_test(time_goes_on),
        cmocka_unit_test(random_bytes_differ),
        IN_FOLDER(small_files_go_both_ways),
        IN_FOLDER(large_files_are_read_whole),
        IN_FOLDER(bad_paths_are_errors),
        IN_FOLDER(files_are_written_in_place),
        cmocka_unit_test(a_full_disk_is_told_apart),
        IN_FOLDER(folders_come_with_their_parents),
        IN_FOLDER(files_move_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
