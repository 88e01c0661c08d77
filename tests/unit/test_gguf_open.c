/* test_gguf_open.c - files on disk, and models split over several.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gguf_bytes.h"
#include "hostile_alloc.h"
#include "temp.h"

static void names_of_parts_are_parsed(void **state) {
    (void)state;
    uint32_t no = 0, count = 0;
    size_t len = 0;
    assert_true(spn_gguf_split_name("m-00002-of-00005.gguf", &no, &count, &len));
    assert_true(no == 2 && count == 5 && len == 1);
    assert_true(spn_gguf_split_name("/a-b/Model-Q4-00010-of-00010.GGUF", &no, &count, &len));
    assert_true(no == 10 && count == 10 && len == strlen("/a-b/Model-Q4"));
    static const char *const others[] = {
        "",
        "-00001-of-00002.gguf", /* no prefix */
        "m.gguf",
        "m-0001-of-00002.gguf",
        "m-00001-of-0002.gguf",
        "m-00000-of-00002.gguf",
        "m-00003-of-00002.gguf",
        "m-00001_of-00002.gguf",
        "m-0000x-of-00002.gguf",
        "m-00001-of-00002.ggufx",
        "m-00001-of-00002",
        "m_00001-of-00002.gguf",
        "m-+0001-of-00002.gguf",
    };
    for (size_t i = 0; i < SPN_COUNT(others); i++)
        assert_false(spn_gguf_split_name(others[i], &no, &count, &len));
    assert_int_equal(no, 10);
}

static void files_open_from_disk(void **state) {
    (void)state;
    char path[TEMP_PATH];
    bytes b = {0};
    put_head(&b, 3, 1, 1), put_pair_u32(&b, "key", 5), put_tensor(&b, "w", 0, 2, 0, 0);
    put_padding(&b, 32), put_f32(&b, 3), put_f32(&b, 4);
    temp_write("model.gguf", b.data, b.n);
    spn_gguf *gguf = NULL;
    spn_error err = {0};
    assert_int_equal(spn_gguf_open(&gguf, temp_path(path, "model.gguf"), &err), SPN_STATUS_OK);
    assert_string_equal(spn_gguf_path(gguf, 0), path);
    assert_int_equal(spn_gguf_file_bytes(gguf), b.n);
    float second;
    memcpy(&second, spn_gguf_find_tensor(gguf, "w")->data + 4, sizeof second);
    assert_true(second == 4);
    spn_gguf_close(gguf);
    gguf = NULL;
    temp_write("model.gguf", b.data, b.n - 1);
    assert_int_equal(spn_gguf_open(&gguf, path, &err), SPN_STATUS_FORMAT);
    assert_int_equal(strncmp(err.text, path, strlen(path)), 0);
    temp_write("model.gguf", "", 0);
    assert_int_equal(spn_gguf_open(&gguf, path, &err), SPN_STATUS_FORMAT);
    assert_int_equal(spn_gguf_open(&gguf, temp_path(path, "absent.gguf"), &err), SPN_STATUS_IO);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(spn_gguf_open(&gguf, temp_root, &err), SPN_STATUS_IO);
    assert_null(gguf);
    bytes_free(&b);
}

/* ---- split models ---- */

/* What one part says of itself; the good ones of a model of three are the start of each test. */
typedef struct part {
    const char *tensors[3];
    uint32_t no, count, total;
    bool has_total;
} part;

static const part good[3] = {
    {{"a", "b"}, 0, 3, 4, true}, {{"c"}, 1, 3, 4, true}, {{"d"}, 2, 3, 4, true}};

static void put_part(bytes *b, const part *p) {
    uint64_t n = 0;
    while (n < SPN_COUNT(p->tensors) && p->tensors[n] != NULL) n++;
    put_head(b, 3, n, 4 + p->has_total);
    put_key(b, "split.no", 2), put_int(b, p->no, 2);
    put_key(b, "split.count", 2), put_int(b, p->count, 2);
    put_pair_u32(b, "general.alignment", 8u << p->no); /* each file has its own */
    put_pair_u32(b, "part", p->no);
    if (p->has_total) put_key(b, "split.tensors.count", 5), put_u32(b, p->total);
    for (uint64_t i = 0; i < n; i++) put_tensor(b, p->tensors[i], 0, 2, 0, i * (8u << p->no));
    for (uint64_t i = 0; i < n; i++) {
        put_padding(b, 8u << p->no);
        put_f32(b, (float)p->tensors[i][0]), put_f32(b, (float)p->no);
    }
}

static void write_parts(const part *parts, size_t n) {
    char name[64];
    for (size_t i = 0; i < n; i++) {
        bytes b = {0};
        put_part(&b, &parts[i]);
        snprintf(name, sizeof name, "m-%05zu-of-00003.gguf", i + 1);
        temp_write(name, b.data, b.n);
        bytes_free(&b);
    }
}

static void any_part_opens_the_whole(void **state) {
    (void)state;
    char path[TEMP_PATH], name[64];
    write_parts(good, 3);
    for (int no = 1; no <= 3; no++) {
        snprintf(name, sizeof name, "m-%05d-of-00003.gguf", no);
        spn_gguf *gguf = NULL;
        spn_error err = {0};
        if (spn_gguf_open(&gguf, temp_path(path, name), &err) != SPN_STATUS_OK)
            fail_msg("%s", err.text);
        assert_int_equal(spn_gguf_n_files(gguf), 3);
        assert_int_equal(spn_gguf_n_tensors(gguf), 4);
        uint64_t n_bytes = 0;
        for (size_t i = 0; i < 3; i++) {
            const uint8_t *data;
            size_t n;
            snprintf(name, sizeof name, "m-%05zu-of-00003.gguf", i + 1);
            assert_string_equal(spn_gguf_path(gguf, i), temp_path(path, name));
            spn_gguf_file_span(gguf, i, &data, &n);
            assert_memory_equal(data, "GGUF", 4);
            n_bytes += n;
        }
        assert_int_equal(spn_gguf_file_bytes(gguf), n_bytes);
        uint32_t first = 9;
        assert_int_equal(spn_gguf_get_u32(gguf, "part", true, &first, NULL), SPN_STATUS_OK);
        assert_int_equal(first, 0);
        for (size_t i = 0; i < 4; i++) {
            const spn_gguf_tensor *tensor = spn_gguf_tensor_at(gguf, i);
            const char wanted[] = {(char)('a' + i), '\0'};
            float value;
            assert_ptr_equal(spn_gguf_find_tensor(gguf, wanted), tensor);
            memcpy(&value, tensor->data, sizeof value);
            assert_true(value == (float)wanted[0]);
        }
        gguf_walk(gguf);
        spn_gguf_close(gguf);
    }
}

static void must_not_open(const char *name, spn_status status, const char *why) {
    char path[TEMP_PATH];
    spn_gguf *gguf = NULL;
    spn_error err = {0};
    assert_int_equal(spn_gguf_open(&gguf, temp_path(path, name), &err), status);
    assert_null(gguf);
    if (strstr(err.text, why) == NULL) fail_msg("no \"%s\" in: %s", why, err.text);
}

static void missing_parts_are_named(void **state) {
    (void)state;
    char path[TEMP_PATH];
    write_parts(good, 3);
    remove(temp_path(path, "m-00002-of-00003.gguf"));
    must_not_open("m-00003-of-00003.gguf", SPN_STATUS_IO, "m-00002-of-00003.gguf");
    must_not_open("m-00001-of-00003.gguf", SPN_STATUS_IO, "m-00002-of-00003.gguf");
    temp_write_text("m-00002-of-00003.gguf", "GGUF");
    must_not_open("m-00001-of-00003.gguf", SPN_STATUS_FORMAT, "m-00002-of-00003.gguf: version");
}

static void renamed_parts_are_refused(void **state) {
    (void)state;
    char from[TEMP_PATH], to[TEMP_PATH];
    write_parts(good, 3);
    rename(temp_path(from, "m-00001-of-00003.gguf"), temp_path(to, "first.gguf"));
    must_not_open("first.gguf", SPN_STATUS_FORMAT, "-00001-of-00003.gguf");
    rename(to, temp_path(from, "m-00001-of-00002.gguf"));
    must_not_open("m-00001-of-00002.gguf", SPN_STATUS_FORMAT, "-00001-of-00003.gguf");
}

static void parts_must_agree(void **state) {
    (void)state;
    static const struct {
        size_t i;
        part part;
        const char *why;
    } rows[] = {
        {1, {{"c"}, 2, 3, 4, true}, "m-00002-of-00003.gguf: it says that it is part 3 of 3"},
        {1, {{"c"}, 1, 4, 4, true}, "it says that it is part 2 of 4"},
        {2, {{"d"}, 0, 1, 4, true}, "it says that it is part 1 of 1"},
        {2, {{"d"}, 3, 3, 4, true}, "split.no is 3, but split.count is 3"},
        {2, {{"b"}, 2, 3, 4, true}, "an earlier tensor has the same name"},
        {2,
         {{"d", "e"}, 2, 3, 4, true},
         "split.tensors.count is 4, but the model's 3 files have 5"},
        {0,
         {{"a", "b"}, 0, 3, 5, true},
         "split.tensors.count is 5, but the model's 3 files have 4"},
        {0, {{"a", "b"}, 0, 3, 4, false}, "without split.tensors.count"},
    };
    for (size_t i = 0; i < SPN_COUNT(rows); i++) {
        part parts[3] = {good[0], good[1], good[2]};
        parts[rows[i].i] = rows[i].part;
        write_parts(parts, 3);
        must_not_open(rows[i].i == 0 ? "m-00002-of-00003.gguf" : "m-00001-of-00003.gguf",
                      SPN_STATUS_FORMAT, rows[i].why);
    }
}

static void one_of_one_is_whole(void **state) {
    (void)state;
    char path[TEMP_PATH];
    bytes b = {0};
    const part whole = {{"a"}, 0, 1, 1, true};
    put_part(&b, &whole);
    temp_write("any-name.gguf", b.data, b.n);
    spn_gguf *gguf = NULL;
    assert_int_equal(spn_gguf_open(&gguf, temp_path(path, "any-name.gguf"), NULL), SPN_STATUS_OK);
    assert_int_equal(spn_gguf_n_files(gguf), 1);
    spn_gguf_close(gguf);
    bytes_free(&b);
}

static void parts_in_memory_are_refused(void **state) {
    (void)state;
    bytes b = {0};
    spn_gguf *gguf = NULL;
    spn_error err = {0};
    put_part(&b, &good[0]);
    assert_int_equal(spn_gguf_open_bytes(&gguf, b.data, b.n, "m-00001-of-00003.gguf", &err),
                     SPN_STATUS_FORMAT);
    assert_non_null(strstr(err.text, "part 1 of 3"));
    bytes_free(&b);
}

static void counts_without_files_cost_nothing(void **state) {
    (void)state;
    const part first = {{"a"}, 0, 65535, 4, true};
    bytes b = {0};
    put_part(&b, &first);
    temp_write("m-00001-of-65535.gguf", b.data, b.n);
    hostile_alloc heap = {0};
    hostile_install(&heap);
    must_not_open("m-00001-of-65535.gguf", SPN_STATUS_IO, "m-00002-of-65535.gguf");
    spn_set_allocator(NULL);
    assert_true(heap.n_most_bytes < 16384);
    assert_int_equal(heap.n_blocks, 0);
    bytes_free(&b);
}

static void failing_allocations_leak_nothing(void **state) {
    (void)state;
    char path[TEMP_PATH];
    write_parts(good, 3);
    temp_path(path, "m-00002-of-00003.gguf");
    spn_status status = SPN_STATUS_NO_MEMORY;
    long n = 0;
    while (status != SPN_STATUS_OK) {
        hostile_alloc heap = {.fail_at = ++n};
        spn_gguf *gguf = NULL;
        hostile_install(&heap);
        status = spn_gguf_open(&gguf, path, NULL);
        if (status == SPN_STATUS_OK)
            spn_gguf_close(gguf);
        else
            assert_int_equal(status, SPN_STATUS_NO_MEMORY);
        spn_set_allocator(NULL);
        assert_int_equal(heap.n_blocks, 0);
        assert_true(n < 200);
    }
    assert_true(n > 15);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, temp_setup, temp_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_parts_are_parsed),
        IN_FOLDER(files_open_from_disk),
        IN_FOLDER(any_part_opens_the_whole),
        IN_FOLDER(missing_parts_are_named),
        IN_FOLDER(renamed_parts_are_refused),
        IN_FOLDER(parts_must_agree),
        IN_FOLDER(one_of_one_is_whole),
        IN_FOLDER(parts_in_memory_are_refused),
        IN_FOLDER(counts_without_files_cost_nothing),
        IN_FOLDER(failing_allocations_leak_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
