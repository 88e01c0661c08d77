/* test_cpu.c - levels' names, what this processor has, how many of them may be used.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <cmocka.h>

#include "platform/os.h"

static void names_and_levels_match(void **state) {
    (void)state;
    for (int i = 0; i < SPN_CPU_LEVEL_COUNT; i++) {
        spn_cpu_level level = SPN_CPU_LEVEL_COUNT;
        assert_true(spn_cpu_level_parse(spn_cpu_level_name((spn_cpu_level)i), &level));
        assert_int_equal(level, i);
    }
    assert_string_equal(spn_cpu_level_name(SPN_CPU_LEVEL_DEFAULT), "default");
    assert_string_equal(spn_cpu_level_name(SPN_CPU_LEVEL_AVX512), "avx512");
    assert_string_equal(spn_cpu_level_name(SPN_CPU_LEVEL_COUNT), "unknown");
    assert_string_equal(spn_cpu_level_name((spn_cpu_level)-1), "unknown");
    static const char *const others[] = {"", "AVX2", "avx", "avx2 ", "unknown"};
    spn_cpu_level level = SPN_CPU_LEVEL_NEON;
    for (size_t i = 0; i < SPN_COUNT(others); i++)
        assert_false(spn_cpu_level_parse(others[i], &level));
    assert_false(spn_cpu_level_parse(NULL, &level));
    assert_int_equal(level, SPN_CPU_LEVEL_NEON);
}

static void levels_of_one_family_only(void **state) {
    (void)state;
    spn_cpu_info cpu;
    assert_int_equal(spn_detect_cpu(&cpu, NULL), SPN_STATUS_OK);
    assert_true(spn_cpu_level_is_available(SPN_CPU_LEVEL_DEFAULT));
    assert_true(spn_cpu_level_is_available(SPN_CPU_LEVEL_REF));
    assert_true(spn_cpu_level_is_available(cpu.level));
    assert_false(spn_cpu_level_is_available(SPN_CPU_LEVEL_COUNT));
    assert_false(spn_cpu_level_is_available((spn_cpu_level)-1));
    if (spn_cpu_level_is_available(SPN_CPU_LEVEL_AVX512))
        assert_true(spn_cpu_level_is_available(SPN_CPU_LEVEL_AVX2));
    if (spn_cpu_level_is_available(SPN_CPU_LEVEL_AVX512BF16))
        assert_true(spn_cpu_level_is_available(SPN_CPU_LEVEL_AVX512));
    if (spn_cpu_level_is_available(SPN_CPU_LEVEL_I8MM))
        assert_true(spn_cpu_level_is_available(SPN_CPU_LEVEL_DOTPROD));
#ifdef __aarch64__
    assert_true(spn_cpu_level_is_available(SPN_CPU_LEVEL_NEON));
    assert_false(spn_cpu_level_is_available(SPN_CPU_LEVEL_AVX2));
#else
    assert_false(spn_cpu_level_is_available(SPN_CPU_LEVEL_NEON));
#endif
}

static void the_description_is_whole(void **state) {
    (void)state;
    spn_cpu_info cpu;
    assert_int_equal(spn_detect_cpu(&cpu, NULL), SPN_STATUS_OK);
    assert_non_null(memchr(cpu.name, '\0', sizeof cpu.name));
    assert_true(strlen(cpu.name) > 0);
    assert_true(cpu.n_usable >= 1 && cpu.n_usable <= cpu.n_online);
    assert_true(cpu.n_numa_nodes >= 1);
    assert_int_equal(spn_cpu_usable(), cpu.n_usable);
}

#if defined(__linux__) && (defined(__x86_64__) || defined(__i386__))
/* The kernel's own reading of CPUID: the first "flags" line, with blanks around every word. */
static bool kernel_flags(char *out, size_t cap) {
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL) return false;
    bool found = false;
    while (!found && fgets(out, (int)cap, file) != NULL) found = strncmp(out, "flags", 5) == 0;
    fclose(file);
    char *end = strchr(out, '\n');
    if (end != NULL) *end = ' ';
    return found;
}

static bool has_all(const char *flags, const char *const *names) {
    for (; *names != NULL; names++) {
        char word[32];
        snprintf(word, sizeof word, " %s ", *names);
        if (strstr(flags, word) == NULL) return false;
    }
    return true;
}

static void levels_agree_with_the_kernel(void **state) {
    (void)state;
    static const char *const avx2[] = {"avx2", "fma", "f16c", "bmi1", "bmi2", NULL};
    static const char *const avx512[] = {"avx512f",    "avx512bw",    "avx512dq", "avx512vl",
                                         "avx512vbmi", "avx512_vnni", NULL};
    static const char *const avx512_bf16[] = {"avx512_bf16", NULL};
    static char flags[16384];
    if (!kernel_flags(flags, sizeof flags)) skip();
    bool has_avx2 = has_all(flags, avx2);
    assert_int_equal(spn_cpu_level_is_available(SPN_CPU_LEVEL_AVX2), has_avx2);
    bool has_avx512 = has_avx2 && has_all(flags, avx512);
    assert_int_equal(spn_cpu_level_is_available(SPN_CPU_LEVEL_AVX512), has_avx512);
    assert_int_equal(spn_cpu_level_is_available(SPN_CPU_LEVEL_AVX512BF16),
                     has_avx512 && has_all(flags, avx512_bf16));
}

/* A line of a file that describes one of processor 0's caches. */
static bool cache_line(int index, const char *what, char *out, int cap) {
    char path[96];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, what);
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    bool read = fgets(out, cap, file) != NULL;
    fclose(file);
    return read;
}

static void the_first_cache_is_as_large_as_the_kernel_says(void **state) {
    (void)state;
    char level[16], type[16], size[16];
    for (int i = 0; cache_line(i, "level", level, sizeof level); i++) {
        assert_true(cache_line(i, "type", type, sizeof type));
        if (strcmp(level, "1\n") != 0 || strcmp(type, "Data\n") != 0) continue;
        assert_true(cache_line(i, "size", size, sizeof size));
        assert_non_null(strchr(size, 'K'));
        assert_int_equal(spn_cpu_l1d_bytes(), 1024 * strtoul(size, NULL, 10));
        return;
    }
    skip();
}
#endif

#ifdef __linux__
static void affinity_bounds_processors(void **state) {
    (void)state;
    cpu_set_t before, one;
    if (sched_getaffinity(0, sizeof before, &before) != 0) skip();
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before)) cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    uint32_t n = spn_cpu_usable();
    sched_setaffinity(0, sizeof before, &before);
    assert_int_equal(n, 1);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_levels_match),
        cmocka_unit_test(levels_of_one_family_only),
        cmocka_unit_test(the_description_is_whole),
#if defined(__linux__) && (defined(__x86_64__) || defined(__i386__))
        cmocka_unit_test(levels_agree_with_the_kernel),
        cmocka_unit_test(the_first_cache_is_as_large_as_the_kernel_says),
#endif
#ifdef __linux__
        cmocka_unit_test(affinity_bounds_processors),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
