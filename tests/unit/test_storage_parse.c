/* test_storage_parse.c - heads, addresses, listings, manifests, tables of blocks.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/store.h"
#include "temp.h"

static void read_one(spn_http_head *head, const char *name, const char *value) {
    const spn_http_header header = {name, value};
    spn_http_head_read(head, 206, &header, 1, 1445412480);
}

/* ---- heads ---- */

static void ranges_are_read(void **state) {
    (void)state;
    static const struct {
        const char *value;
        bool has_range, has_total;
        uint64_t first, last, total;
    } cases[] = {
        {"bytes 0-99/200", true, true, 0, 99, 200},
        {"bytes 5-5/*", true, false, 5, 5, 0},
        {"bytes */200", false, true, 0, 0, 200},
        {"BYTES 1-2/3", true, true, 1, 2, 3},
        {"bytes 2-1/3", false, true, 0, 0, 3},
        {"bytes 0-3/3", false, true, 0, 0, 3},
        {"bytes -1-3/9", false, true, 0, 0, 9},
        {"bytes 0-99999999999999999999/5", false, true, 0, 0, 5},
        {"items 0-1/2", false, false, 0, 0, 0},
        {"bytes", false, false, 0, 0, 0},
        {"", false, false, 0, 0, 0},
    };
    for (size_t i = 0; i < SPN_COUNT(cases); i++) {
        spn_http_head head;
        read_one(&head, "content-range", cases[i].value);
        assert_int_equal(head.has_range, cases[i].has_range);
        assert_int_equal(head.has_total, cases[i].has_total);
        assert_true(head.range_first == cases[i].first && head.range_last == cases[i].last);
        assert_true(head.total == cases[i].total);
    }
}

static void waits_are_read(void **state) {
    (void)state;
    static const struct {
        const char *name, *value;
        int64_t wait_s;
    } cases[] = {
        {"RateLimit", "\"resolvers\";r=0;t=55", 56},
        {"RateLimit", "\"api\";r=12;t=55", -1},
        {"RateLimit", "\"resolvers\"; r=0; t=7", 8},
        {"RateLimit", "\"api\";r=3;t=90, \"resolvers\";r=0;t=20", 21},
        {"RateLimit", "\"api\";t=90;r=0 , \"resolvers\";r=0;t=20", 91},
        {"RateLimit", ";;r=0;;t=1;", 2},
        {"RateLimit", "\"api\";r=0;t=", -1},
        {"Retry-After", "120", 120},
        {"Retry-After", "0", 0},
        {"Retry-After", "-5", -1},
        {"Retry-After", "99999999999999999999", -1},
        /* 1445412480 is Wed, 21 Oct 2015 07:28:00 GMT */
        {"Retry-After", "Wed, 21 Oct 2015 07:28:30 GMT", 30},
        {"Retry-After", "Wed, 21 Oct 2015 07:27:00 GMT", 0},
        {"Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Retry-After", "Mon, 29 Feb 2016 00:00:00 GMT", 1456704000 - 1445412480},
        {"Retry-After", "tomorrow", -1},
    };
    for (size_t i = 0; i < SPN_COUNT(cases); i++) {
        spn_http_head head;
        read_one(&head, cases[i].name, cases[i].value);
        assert_true(head.wait_s == cases[i].wait_s);
    }
}

static void tags_and_links_are_read(void **state) {
    (void)state;
    spn_http_head head;
    read_one(&head, "X-Linked-Etag", "W/\"abc\"");
    assert_string_equal(head.linked_etag, "abc");
    read_one(&head, "ETag", "\"abc\"");
    assert_string_equal(head.etag, "\"abc\"");
    read_one(&head, "Link", "<https://h/x?a=1,2>; rel=\"prev\", </y?cursor=z>; rel=\"next\"");
    assert_string_equal(head.next, "/y?cursor=z");
    read_one(&head, "Link", "<https://h/x>; rel=next");
    assert_string_equal(head.next, "https://h/x");
    read_one(&head, "Link", "<https://h/x>; rel=\"nextish\"");
    assert_string_equal(head.next, "");
    read_one(&head, "Link", "<https://h/x");
    assert_string_equal(head.next, "");
    read_one(&head, "X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567");
    assert_int_equal(strlen(head.repo_commit), 40);
    read_one(&head, "X-Repo-Commit", "../../../etc/passwd");
    assert_string_equal(head.repo_commit, "");
    read_one(&head, "Content-Length", "12x");
    assert_false(head.has_length);
    read_one(&head, "Location", "http://h/\x01");
    assert_string_equal(head.location, "");
}

/* ---- addresses ---- */

static void origins_are_compared_without_disguise(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"https://Hub.co/x", "https://hub.co"},
        {"https://hub.co:443", "https://hub.co"},
        {"http://hub.co:80/", "http://hub.co"},
        {"http://hub.co:443/", "http://hub.co:443"},
        {"https://hub.co@evil.com/x", "https://evil.com"},
        {"https://a@b@evil.com", "https://evil.com"},
        {"https://evil.com?@hub.co/", "https://evil.com"},
        {"https://evil.com\\@hub.co/", "https://evil.com"},
        {"https://evil.com#@hub.co", "https://evil.com"},
        {"http://[::1]:8080/x", "http://[::1]:8080"},
    };
    for (size_t i = 0; i < SPN_COUNT(cases); i++) {
        char origin[100];
        assert_true(spn_url_origin(cases[i][0], origin, sizeof origin));
        assert_string_equal(origin, cases[i][1]);
    }
    char origin[100];
    assert_false(spn_url_origin("ftp://x", origin, sizeof origin));
    assert_false(spn_url_origin("file:///etc/passwd", origin, sizeof origin));
    assert_false(spn_url_origin("https://", origin, sizeof origin));
    assert_false(spn_url_origin("/x", origin, sizeof origin));
    assert_false(spn_url_origin("https://much-too-long", origin, 10));
}

static void locations_are_joined(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"https://h/a/b?q", "/c", "https://h/c"},
        {"https://h/a/b?q", "c", "https://h/a/c"},
        {"https://h", "c", "https://h/c"},
        {"https://h/a", "//other/x", "https://other/x"},
        {"https://h/a", "http://other/x", "http://other/x"},
        {"https://h:8/a", "?x=1", "https://h:8/?x=1"},
    };
    char out[SPN_URL_MAX];
    for (size_t i = 0; i < SPN_COUNT(cases); i++) {
        assert_true(spn_url_join(cases[i][0], cases[i][1], out));
        assert_string_equal(out, cases[i][2]);
    }
    assert_false(spn_url_join("https://h/a", "", out));
    assert_false(spn_url_join("https://h/a", "javascript:x", out));
    assert_false(spn_url_join("https://h/a", "file:///x", out));
    assert_false(spn_url_join("https://h/a", "/a b", out));
}

static void text_is_encoded(void **state) {
    (void)state;
    spn_buf buf = SPN_BUF(0);
    spn_url_append(&buf, "a/b c\xC3\xA9%?#", true);
    assert_string_equal(buf.data, "a/b%20c%C3%A9%25%3F%23");
    spn_buf_clear(&buf);
    spn_url_append(&buf, "refs/pr/1", false);
    assert_string_equal(buf.data, "refs%2Fpr%2F1");
    spn_buf_free(&buf);
}

/* ---- the hub's JSON ---- */

static spn_status parse_tree(const char *json, spn_hub_listing *listing, spn_error *err) {
    return spn_hub_parse_tree(json, strlen(json), listing, err);
}

static void listings_are_read(void **state) {
    (void)state;
    spn_hub_listing listing = {0};
    spn_error err = {0};
    const char *json =
        "[{\"type\":\"directory\",\"path\":\"d\",\"oid\":\"x\"},"
        "{\"type\":\"file\",\"path\":\"d/a.gguf\",\"size\":134,\"oid\":\"0\",\"lfs\":{\"oid\":"
        "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ABCDEF\",\"size\":5000000000,"
        "\"pointerSize\":134}},"
        "{\"type\":\"file\",\"path\":\"../evil.gguf\",\"size\":1},"
        "{\"type\":\"file\",\"path\":\"README.md\",\"size\":7,"
        "\"oid\":\"E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391\"}]";
    assert_int_equal(parse_tree(json, &listing, &err), SPN_STATUS_OK);
    assert_int_equal(listing.n, 2);
    assert_string_equal(listing.files[0].path, "d/a.gguf");
    assert_true(listing.files[0].size == 5000000000u);
    assert_string_equal(listing.files[0].sha256,
                        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    assert_string_equal(listing.files[1].sha256, "");
    assert_string_equal(listing.files[0].git_sha1, "");
    assert_string_equal(listing.files[1].git_sha1, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    /* a second page */
    assert_int_equal(parse_tree("[{\"type\":\"file\",\"path\":\"b\",\"size\":0}]", &listing, &err),
                     SPN_STATUS_OK);
    assert_int_equal(listing.n, 3);
    spn_hub_listing_clear(&listing);
}

static void many_pages_grow_one_list(void **state) {
    (void)state;
    spn_hub_listing listing = {0};
    for (int page = 0; page < 300; page++)
        assert_int_equal(
            parse_tree("[{\"path\":\"a\",\"size\":1},{\"path\":\"b\",\"size\":2}]", &listing, NULL),
            SPN_STATUS_OK);
    assert_int_equal(listing.n, 600);
    assert_string_equal(listing.files[599].path, "b");
    spn_hub_listing_clear(&listing);
}

static void bad_listings_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *json;
        spn_status status;
        const char *word;
    } cases[] = {
        {"", SPN_STATUS_JSON, "no JSON"},
        {"[", SPN_STATUS_JSON, "no JSON"},
        {"<html>", SPN_STATUS_JSON, "web page"},
        {"{\"error\":\"Repository not found\"}", SPN_STATUS_API, "Repository not found"},
        {"[1]", SPN_STATUS_API, "no file entries"},
        {"[{\"path\":\"a\"}]", SPN_STATUS_API, "no size"},
        {"[{\"path\":\"a\",\"size\":-1}]", SPN_STATUS_API, "no size"},
        {"[{\"path\":\"a\",\"size\":1.5}]", SPN_STATUS_API, "no size"},
        {"[{\"size\":1}]", SPN_STATUS_API, "no path"},
        {"[{\"path\":\"a\",\"path\":\"b\",\"size\":1}]", SPN_STATUS_JSON, "no JSON"},
    };
    for (size_t i = 0; i < SPN_COUNT(cases); i++) {
        spn_hub_listing listing = {0};
        spn_error err = {0};
        assert_int_equal(parse_tree(cases[i].json, &listing, &err), cases[i].status);
        if (!strstr(err.text, cases[i].word)) print_error("%s\n", err.text);
        assert_non_null(strstr(err.text, cases[i].word));
        spn_hub_listing_clear(&listing);
    }
    char deep[5000];
    memset(deep, '[', sizeof deep);
    spn_hub_listing listing = {0};
    assert_int_equal(spn_hub_parse_tree(deep, sizeof deep, &listing, NULL), SPN_STATUS_JSON);
}

static void facts_and_hits_are_read(void **state) {
    (void)state;
    spn_hub_listing listing = {0};
    const char *info = "{\"sha\":\"0123456789abcdef0123456789abcdef01234567\",\"gated\":\"auto\"}";
    assert_int_equal(spn_hub_parse_info(info, strlen(info), &listing, NULL), SPN_STATUS_OK);
    assert_int_equal(strlen(listing.commit), 40);
    assert_true(listing.gated);
    info = "{\"sha\":\"../x\",\"gated\":false}";
    assert_int_equal(spn_hub_parse_info(info, strlen(info), &listing, NULL), SPN_STATUS_OK);
    assert_string_equal(listing.commit, "");
    assert_false(listing.gated);
    spn_search_list list = {0};
    const char *hits = "[{\"id\":\"a/b\",\"downloads\":7,\"likes\":-1,\"gated\":\"manual\"},"
                       "{\"id\":\"not a repo\"},{\"modelId\":\"c/d\"},7]";
    assert_int_equal(spn_hub_parse_search(hits, strlen(hits), &list, NULL), SPN_STATUS_OK);
    assert_int_equal(list.n, 2);
    assert_string_equal(list.items[0].repo, "a/b");
    assert_true(list.items[0].downloads == 7 && list.items[0].likes == 0 && list.items[0].gated);
    spn_search_list_clear(&list);
}

/* ---- manifests ---- */

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void manifests_come_back(void **state) {
    (void)state;
    char path[TEMP_PATH];
    temp_make();
    temp_path(path, "m.gguf");
    char repo[] = "o/r", revision[] = "main", file[] = "m.gguf", source[] = "hub", none[] = "";
    spn_manifest m = {.repo = repo,
                      .revision = revision,
                      .path = file,
                      .source = source,
                      .commit = none,
                      .known_id = none,
                      .parameters = none,
                      .sha256 = SHA,
                      .size = UINT64_C(1) << 40,
                      .modified_ns = 12345678901,
                      .verified_at = 7};
    spn_error err = {0};
    assert_int_equal(spn_manifest_write(path, &m, &err), SPN_STATUS_OK);
    spn_manifest back = {0};
    assert_int_equal(spn_manifest_read(path, &back, &err), SPN_STATUS_OK);
    assert_string_equal(back.repo, "o/r");
    assert_string_equal(back.commit, "");
    assert_string_equal(back.sha256, SHA);
    assert_true(back.size == m.size && back.modified_ns == m.modified_ns && back.verified_at == 7);
    spn_manifest_clear(&back);
    temp_remove();
}

static void bad_manifests_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *json, *word;
    } cases[] = {
        {"", "no JSON"},
        {"[]", "no object"},
        {"{\"format\":2}", "format 2"},
        {"{\"format\":1}", "sha256"},
        {"{\"format\":1,\"sha256\":\"" SHA "\"}", "size"},
        {"{\"format\":1,\"sha256\":\"" SHA "\",\"size\":-1}", "size"},
        {"{\"format\":1,\"sha256\":\"" SHA "\",\"size\":1,\"repo\":7}", "repo"},
        {"{\"format\":1,\"sha256\":\"" SHA "\",\"size\":1,\"repo\":\"a/../b\"}", "repo"},
        {"{\"format\":1,\"sha256\":\"" SHA "\",\"size\":1,\"path\":\"../x\"}", "path"},
        {"{\"format\":1,\"sha256\":\"" SHA "\",\"size\":1,\"revision\":\"a b\"}", "revision"},
        {"{\"format\":1,\"sha256\":\"" SHA "\",\"size\":1,\"source\":\"\\u001b[2J\"}", "control"},
        {"{\"format\":1,\"sha256\":\"" SHA "x\",\"size\":1}", "sha256"},
    };
    for (size_t i = 0; i < SPN_COUNT(cases); i++) {
        spn_manifest m = {0};
        spn_error err = {0};
        assert_int_not_equal(spn_manifest_parse(cases[i].json, strlen(cases[i].json), &m, &err),
                             SPN_STATUS_OK);
        if (!strstr(err.text, cases[i].word)) print_error("%s\n", err.text);
        assert_non_null(strstr(err.text, cases[i].word));
        assert_null(m.repo);
    }
}

/* ---- blocks ---- */

/* Published values of XXH64 with seed 0. */
static void digests_are_xxh64(void **state) {
    (void)state;
    assert_true(spn_block_digest("", 0) == UINT64_C(0xEF46DB3751D8E999));
    assert_true(spn_block_digest("a", 1) == UINT64_C(0xD24EC4F1A98C6E5B));
    assert_true(spn_block_digest("abc", 3) == UINT64_C(0x44BC2CF5AD770999));
    const char *text = "Nobody inspects the spammish repetition"; /* 39 bytes: lanes and rest */
    assert_true(spn_block_digest(text, strlen(text)) == UINT64_C(0xFBCEA83C8A378BF1));
}

static void tables_come_back(void **state) {
    (void)state;
    char path[TEMP_PATH];
    temp_make();
    temp_path(path, "x.map");
    uint64_t size = (uint64_t)SPN_BLOCK_BYTES * 3 + 1;
    spn_blocks blocks, back;
    assert_int_equal(spn_blocks_create(&blocks, path, size, SHA, NULL), SPN_STATUS_OK);
    assert_int_equal(blocks.n, 4);
    assert_int_equal(spn_blocks_length(&blocks, 3), 1);
    assert_int_equal(spn_blocks_set(&blocks, 3, 77, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_blocks_set(&blocks, 1, 99, NULL), SPN_STATUS_OK);
    assert_int_equal(spn_blocks_unset(&blocks, 1, NULL), SPN_STATUS_OK);
    spn_blocks_close(&blocks);
    assert_int_equal(spn_blocks_open(&back, path, false, NULL), SPN_STATUS_OK);
    assert_true(back.size == size && back.n == 4 && back.digests[3] == 77 && back.done[3] == 1);
    assert_int_equal(back.done[1], 0);
    assert_true(spn_blocks_done_bytes(&back) == 1);
    assert_string_equal(back.sha256, SHA);
    spn_blocks_close(&back);
    temp_remove();
}

static void damaged_tables_are_refused(void **state) {
    (void)state;
    uint8_t head[128 + 16] = "SPNBLK1\n";
    spn_blocks blocks;
    head[8] = 1;  /* one byte of data, one block */
    head[18] = 4; /* 256 KiB */
    assert_int_equal(spn_blocks_parse(&blocks, head, sizeof head, NULL), SPN_STATUS_OK);
    spn_blocks_close(&blocks);
    for (size_t n = 0; n < sizeof head; n++)
        assert_int_equal(spn_blocks_parse(&blocks, head, n, NULL), SPN_STATUS_FORMAT);
    head[15] = 0xFF; /* a size that no memory holds */
    assert_int_equal(spn_blocks_parse(&blocks, head, sizeof head, NULL), SPN_STATUS_FORMAT);
    head[15] = 0;
    head[18] = 8;
    assert_int_equal(spn_blocks_parse(&blocks, head, sizeof head, NULL), SPN_STATUS_FORMAT);
    head[18] = 4;
    head[24] = 'x';
    assert_int_equal(spn_blocks_parse(&blocks, head, sizeof head, NULL), SPN_STATUS_FORMAT);
}

static void split_names_are_parsed(void **state) {
    (void)state;
    spn_split split;
    assert_true(spn_split_parse("a/m-00002-of-00005.GGUF", &split));
    assert_true(split.no == 2 && split.count == 5 && split.prefix == 3);
    char *name = spn_split_name("a/m-00002-of-00005.GGUF", &split, 1);
    assert_string_equal(name, "a/m-00001-of-00005.GGUF");
    spn_free(name);
    assert_false(spn_split_parse("m-00000-of-00005.gguf", &split));
    assert_false(spn_split_parse("m-00006-of-00005.gguf", &split));
    assert_false(spn_split_parse("m-0001-of-0005.gguf", &split));
    assert_false(spn_split_parse("-00001-of-00005.gguf", &split));
    assert_false(spn_split_parse("m-00001-of-00005.bin", &split));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_are_read),
        cmocka_unit_test(waits_are_read),
        cmocka_unit_test(tags_and_links_are_read),
        cmocka_unit_test(origins_are_compared_without_disguise),
        cmocka_unit_test(locations_are_joined),
        cmocka_unit_test(text_is_encoded),
        cmocka_unit_test(listings_are_read),
        cmocka_unit_test(many_pages_grow_one_list),
        cmocka_unit_test(bad_listings_are_refused),
        cmocka_unit_test(facts_and_hits_are_read),
        cmocka_unit_test(manifests_come_back),
        cmocka_unit_test(bad_manifests_are_refused),
        cmocka_unit_test(digests_are_xxh64),
        cmocka_unit_test(tables_come_back),
        cmocka_unit_test(damaged_tables_are_refused),
        cmocka_unit_test(split_names_are_parsed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
