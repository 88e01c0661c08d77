/* test_repetition.c - texts that repeat themselves, and texts that only nearly do.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/repetition.h"

/* `n_before` tokens that do not repeat, then `times` times a phrase of `period` tokens; one token
 * of the last phrase is another where `broken` is set. */
static uint32_t length(size_t n_before, size_t period, size_t times, bool broken) {
    static int32_t tokens[8192];
    spn_repetition repetition = {0};
    size_t n = 0;
    for (; n < n_before; n++) tokens[n] = (int32_t)(1000 + n);
    for (; n < n_before + period * times; n++) tokens[n] = (int32_t)((n - n_before) % period);
    if (broken) tokens[n - period] = 999;
    for (size_t i = 1; i <= n; i++) spn_repetition_note(&repetition, tokens, i);
    return spn_repetition_length(&repetition);
}

static void loops_are_measured(void **state) {
    (void)state;
    for (size_t period = 1; period <= SPN_REPETITION_LONGEST; period += 5)
        for (size_t n_before = 0; n_before < 30; n_before += 29)
            assert_int_equal(length(n_before, period, 6, false), 5 * period);
}

static void a_few_times_are_no_loop(void **state) {
    (void)state;
    assert_int_equal(length(3, 10, 4, false), 0); /* said once, repeated three times */
    assert_int_equal(length(3, 10, 5, false), 40);
    assert_int_equal(length(500, 1, 1, false), 0);
    assert_int_equal(length(0, 1, 1, false), 0);
}

static void one_other_token_ends_a_loop(void **state) {
    (void)state;
    assert_int_equal(length(0, 10, 20, true), 0);
    assert_int_equal(length(7, 1, 20, true), 0);
}

static void long_phrases_are_left_alone(void **state) {
    (void)state;
    assert_int_equal(length(0, SPN_REPETITION_LONGEST + 1, 8, false), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_are_measured),
        cmocka_unit_test(a_few_times_are_no_loop),
        cmocka_unit_test(one_other_token_ends_a_loop),
        cmocka_unit_test(long_phrases_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
