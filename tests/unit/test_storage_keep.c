/* test_storage_keep.c - import, adopt and move under failing allocations and failing writes.
 * SPDX-License-Identifier: Apache-2.0
 *
 * One law for all: whatever fails, each file's bytes are still whole somewhere, a final name is
 * never on anything else, no memory is lost, and the same calls succeed when nothing fails.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "hostile_alloc.h"
#include "spn/storage.h"
#include "storage/store.h"
#include "temp.h"

enum { N_FILE = 300 * 1024 + 17 }; /* two blocks */

static uint8_t contents[4][N_FILE];

static void fill(uint8_t *out, uint64_t seed) {
    for (size_t i = 0; i < N_FILE; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        out[i] = (uint8_t)(seed >> 56);
    }
    memcpy(out, "GGUF", 4);
}

static void sha256_of(const uint8_t *bytes, char out[65]) {
    uint8_t digest[SPN_SHA256_BYTES];
    assert_int_equal(spn_sha256_of(bytes, N_FILE, digest, NULL), SPN_STATUS_OK);
    spn_sha256_text(digest, out);
}

static bool holds(const char *name, const uint8_t *want) {
    char path[TEMP_PATH];
    static uint8_t bytes[N_FILE + 1];
    FILE *file = fopen(temp_path(path, name), "rb");
    if (file == NULL) return false;
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return n == N_FILE && memcmp(bytes, want, N_FILE) == 0;
}

static bool is_there(const char *name) {
    char path[TEMP_PATH];
    return access(temp_path(path, name), F_OK) == 0;
}

static void make_files(void) {
    char sha256[65], name[200];
    temp_remove();
    assert_int_equal(mkdir(temp_root, 0777), 0);
    temp_write("src/copied.gguf", contents[0], N_FILE);
    temp_write("src/linked.gguf", contents[1], N_FILE);
    temp_write("src/moved.gguf", contents[2], N_FILE);
    sha256_of(contents[3], sha256);
    snprintf(name, sizeof name, "hf/models--o--r/blobs/%s", sha256);
    temp_write(name, contents[3], N_FILE);
    char link[TEMP_PATH], target[100];
    temp_write_text("hf/models--o--r/snapshots/1111111111111111111111111111111111111111/README.md",
                    "x");
    temp_path(link,
              "hf/models--o--r/snapshots/1111111111111111111111111111111111111111/m-Q8_0.gguf");
    snprintf(target, sizeof target, "../../blobs/%s", sha256);
    assert_int_equal(symlink(target, link), 0);
}

static spn_status import(spn_storage *storage, const char *from, const char *name,
                         spn_import_mode mode) {
    char path[TEMP_PATH], here[100], there[100];
    snprintf(here, sizeof here, "store/%s", name);
    snprintf(there, sizeof there, "other/%s", name);
    if (is_there(here) || is_there(there)) return SPN_STATUS_OK; /* by an earlier call */
    return spn_storage_import(storage, temp_path(path, from), name, mode, NULL, NULL, NULL, NULL);
}

static spn_status adopt(spn_storage *storage) {
    spn_foreign_list list = {0};
    spn_status status = spn_storage_scan(storage, &list, NULL);
    for (size_t i = 0; status == SPN_STATUS_OK && i < list.n; i++)
        if (!list.items[i].is_here)
            status = spn_storage_adopt(storage, &list.items[i], true, NULL, NULL, NULL);
    spn_foreign_list_clear(&list);
    return status;
}

static spn_status open_at(const char *dir, spn_storage **storage) {
    char root[TEMP_PATH], hf[TEMP_PATH];
    const spn_storage_options options = {
        .dir = temp_path(root, dir), .hf_cache_dir = temp_path(hf, "hf"), .offline = true};
    return spn_storage_open(storage, &options, NULL);
}

/* Everything that keeps files; moved to `to` in the end. */
static spn_status keep_all(const char *dir, const char *to) {
    char target[TEMP_PATH];
    spn_storage *storage = NULL;
    spn_stored_list list = {0};
    spn_status status;
    SPN_TRY(open_at(dir, &storage));
    SPN_TRY_GOTO(import(storage, "src/copied.gguf", "a/b/copied.gguf", SPN_IMPORT_COPY));
    SPN_TRY_GOTO(import(storage, "src/linked.gguf", "a/b/linked.gguf", SPN_IMPORT_LINK));
    SPN_TRY_GOTO(import(storage, "src/moved.gguf", "a/b/moved.gguf", SPN_IMPORT_MOVE));
    SPN_TRY_GOTO(adopt(storage));
    SPN_TRY_GOTO(spn_storage_list_models(storage, &list, NULL));
    if (to != NULL)
        SPN_TRY_GOTO(spn_storage_move(storage, temp_path(target, to), NULL, NULL, NULL));
    for (size_t i = 0; i < list.n; i++)
        SPN_TRY_GOTO(spn_storage_verify(storage, list.items[i].name, NULL, NULL, NULL, NULL));
done:
    spn_stored_list_clear(&list);
    spn_storage_close(storage);
    return status;
}

static const char *const names[] = {"a/b/copied.gguf", "a/b/linked.gguf", "a/b/moved.gguf",
                                    "o/r/m-Q8_0.gguf"};

static void check_law(void) {
    for (size_t i = 0; i < SPN_COUNT(names); i++)
        for (int k = 0; k < 2; k++) {
            char name[100];
            snprintf(name, sizeof name, "%s/%s", k == 0 ? "store" : "other", names[i]);
            assert_true(!is_there(name) || holds(name, contents[i]));
        }
    assert_true(holds("src/copied.gguf", contents[0]));
    assert_true(holds("src/linked.gguf", contents[1]));
    assert_true(holds("src/moved.gguf", contents[2]) ||
                holds("store/a/b/moved.gguf", contents[2]) ||
                holds("other/a/b/moved.gguf", contents[2]));
    char sha256[65], blob[200];
    sha256_of(contents[3], sha256);
    snprintf(blob, sizeof blob, "hf/models--o--r/blobs/%s", sha256);
    assert_true(holds(blob, contents[3]));
}

static void check_kept(const char *dir) {
    for (size_t i = 0; i < SPN_COUNT(names); i++) {
        char name[100];
        snprintf(name, sizeof name, "%s/%s", dir, names[i]);
        assert_true(holds(name, contents[i]));
    }
    assert_false(is_there("src/moved.gguf"));
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    int n_failed = 0;
    for (long at = 1;; at += 1 + at / 15) {
        hostile_alloc heap = {.fail_at = at};
        make_files();
        hostile_install(&heap);
        spn_status status = keep_all("store", "other");
        long used = heap.n_calls;
        assert_int_equal(heap.n_blocks, 0);
        spn_set_allocator(NULL);
        check_law();
        n_failed += status != SPN_STATUS_OK;
        if (used < at) {
            assert_int_equal(status, SPN_STATUS_OK);
            break;
        }
        /* Afterwards, with memory, the same calls go on from there. */
        bool is_moved = is_there("other/a") && !is_there("store/a");
        assert_int_equal(keep_all(is_moved ? "other" : "store", is_moved ? NULL : "other"),
                         SPN_STATUS_OK);
        check_kept("other");
    }
    assert_true(n_failed > 30);
    check_kept("other");
}

/* A limit of the file size makes writes fail midway as a full disk does, with another errno. */
static void every_write_may_fail(void **state) {
    (void)state;
    static const rlim_t limits[] = {0, 1, 100, 200, 1000, 65536, N_FILE - 1};
    struct rlimit before, now;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (size_t i = 0; i < SPN_COUNT(limits); i++) {
        make_files();
        now = before;
        now.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
        spn_status status = keep_all("store", "other");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_not_equal(status, SPN_STATUS_OK);
        check_law();
        assert_int_equal(keep_all("store", "other"), SPN_STATUS_OK);
        check_kept("other");
    }
}

/* The file that moves comes back when the store cannot keep it. */
static void a_failed_move_leaves_the_file(void **state) {
    (void)state;
    struct rlimit before, now;
    spn_storage *storage = NULL;
    make_files();
    assert_int_equal(open_at("store", &storage), SPN_STATUS_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    now = before;
    now.rlim_cur = 100; /* the lock's line fits, the table of blocks does not */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    spn_status status = import(storage, "src/moved.gguf", "a/b/moved.gguf", SPN_IMPORT_MOVE);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_not_equal(status, SPN_STATUS_OK);
    assert_true(holds("src/moved.gguf", contents[2]));
    assert_false(is_there("store/a/b/moved.gguf.part"));
    spn_storage_close(storage);
}

static int set_up(void **state) {
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    temp_make();
    for (size_t i = 0; i < SPN_COUNT(contents); i++) fill(contents[i], i + 1);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temp_remove();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_write_may_fail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failed_move_leaves_the_file, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
