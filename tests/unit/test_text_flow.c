/* test_text_flow.c - stop sequences and whole characters, however the text is cut.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/text_flow.h"
#include "text/tokenizer.h"

typedef struct sink {
    char text[256];
    size_t n;
    size_t n_pieces;
    size_t refuse_at; /* piece after which to refuse; 0: never */
} sink;

static bool on_text(const char *text, size_t n_bytes, void *user) {
    sink *s = user;
    assert_true(n_bytes > 0 && s->n + n_bytes < sizeof s->text);
    assert_int_equal(spn_utf8_whole(text, n_bytes), n_bytes);
    memcpy(s->text + s->n, text, n_bytes);
    s->n += n_bytes;
    return ++s->n_pieces != s->refuse_at;
}

/* Feeds `input` in pieces of `step` bytes. */
static spn_text_flow feed(sink *s, const char *input, size_t step, const char *const *stop,
                          size_t n_stop) {
    spn_text_flow flow = {.stop = stop, .n_stop = n_stop, .on_text = on_text, .user = s};
    size_t n = strlen(input);
    for (size_t i = 0; i < n; i += step)
        assert_int_equal(spn_text_flow_push(&flow, input + i, spn_min_size(step, n - i), NULL),
                         SPN_STATUS_OK);
    assert_int_equal(spn_text_flow_finish(&flow, NULL), SPN_STATUS_OK);
    return flow;
}

static void expect(const char *input, const char *const *stop, size_t n_stop, const char *output,
                   bool stopped) {
    for (size_t step = 1; step <= strlen(input) + 1; step++) {
        sink s = {.n = 0};
        spn_text_flow flow = feed(&s, input, step, stop, n_stop);
        assert_int_equal(s.n, strlen(output));
        assert_memory_equal(s.text, output, s.n);
        assert_int_equal(flow.content.len, s.n);
        if (s.n > 0) assert_memory_equal(flow.content.data, output, s.n);
        assert_int_equal(flow.stopped, stopped);
        spn_text_flow_free(&flow);
    }
}

static void stops_are_found_over_any_border(void **state) {
    (void)state;
    const char *const one[] = {"END"};
    expect("some text END and more", one, 1, "some text ", true);
    expect("ENENEND", one, 1, "ENEN", true);
    expect("END", one, 1, "", true);
    expect("no stop here, only EN", one, 1, "no stop here, only EN", false);
    expect("EEN", one, 1, "EEN", false);
    const char *const repeated[] = {"aab"};
    expect("aaaab", repeated, 1, "aa", true);
}

static void the_first_complete_stop_wins(void **state) {
    (void)state;
    const char *const nested[] = {"abcd", "bc"};
    expect("xabcd", nested, 2, "xa", true); /* "bc" is complete before "abcd" is */
    const char *const same_end[] = {"cd", "abcd"};
    expect("xabcd", same_end, 2, "x", true); /* both end here: the longest */
    const char *const two[] = {"\n\n", "User:"};
    expect("hi\nUser: x\n\n", two, 2, "hi\n", true);
}

static void characters_come_whole(void **state) {
    (void)state;
    expect("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", NULL, 0,
           "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", false);
    const char *const euro[] = {"\xe2\x82\xac"};
    expect("1\xe2\x82\xa1 2\xe2\x82\xac", euro, 1, "1\xe2\x82\xa1 2", true);
}

static void text_goes_out_at_once(void **state) {
    (void)state;
    const char *const stop[] = {"###"};
    sink s = {.n = 0};
    spn_text_flow flow = {.stop = stop, .n_stop = 1, .on_text = on_text, .user = &s};
    spn_text_flow_push(&flow, "abc", 3, NULL);
    assert_int_equal(s.n, 3); /* nothing to wait for */
    spn_text_flow_push(&flow, "d##", 3, NULL);
    assert_int_equal(s.n, 4); /* only the possible beginning waits */
    spn_text_flow_push(&flow, "e", 1, NULL);
    assert_int_equal(s.n, 7);
    spn_text_flow_free(&flow);
}

static void a_refusal_ends_it(void **state) {
    (void)state;
    sink s = {.refuse_at = 2};
    spn_text_flow flow = feed(&s, "abcdef", 1, NULL, 0);
    assert_true(flow.refused);
    assert_int_equal(s.n, 2);
    assert_int_equal(flow.content.len, 2);
    spn_text_flow_free(&flow);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_are_found_over_any_border),
        cmocka_unit_test(the_first_complete_stop_wins),
        cmocka_unit_test(characters_come_whole),
        cmocka_unit_test(text_goes_out_at_once),
        cmocka_unit_test(a_refusal_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
