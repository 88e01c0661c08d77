/* test_ram.c - memory from fixture trees of /proc and of both generations of control groups.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "platform/machine.h"
#include "spn/platform.h"
#include "temp.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static void this_machine_answers(void **state) {
    (void)state;
    spn_ram_info ram = {0};
    spn_error err = {0};
    assert_int_equal(spn_detect_ram(&ram, &err), SPN_STATUS_OK);
    assert_true(ram.total > 0 && ram.total <= ram.host_total);
    assert_true(ram.available > 0 && ram.available <= ram.total);
    assert_true(ram.cgroup_limit == 0 || ram.cgroup_limit == ram.total);
}

#ifdef __linux__

/* 16 GiB, 12 GiB of it available. */
static void write_meminfo(void) {
    temp_write_text("proc/meminfo", "MemTotal:       16777216 kB\n"
                                    "MemFree:         1048576 kB\n"
                                    "MemAvailable:   12582912 kB\n"
                                    "Buffers:          262144 kB\n");
}

static spn_ram_info detect(void) {
    spn_ram_info ram = {0};
    spn_error err = {0};
    if (spn_linux_ram(temp_root, &ram, &err) != SPN_STATUS_OK) fail_msg("%s", err.text);
    return ram;
}

static void no_groups_no_limit(void **state) {
    (void)state;
    write_meminfo();
    spn_ram_info ram = detect();
    assert_int_equal(ram.host_total, 16 * GIB);
    assert_int_equal(ram.total, 16 * GIB);
    assert_int_equal(ram.available, 12 * GIB);
    assert_int_equal(ram.cgroup_limit, 0);
}

static void old_kernels_are_estimated(void **state) {
    (void)state;
    temp_write_text("proc/meminfo", "MemTotal: 8192 kB\nMemFree: 1000 kB\nBuffers: 200 kB\n"
                                    "Cached: 3000 kB\nSwapCached: 77 kB\nShmem: 500 kB\n"
                                    "SReclaimable: 40 kB\n");
    assert_int_equal(detect().available, (1000 + 200 + 3000 + 40 - 500) * 1024);
}

static void v2_limits_count(void **state) {
    (void)state;
    write_meminfo();
    temp_write_text("proc/self/cgroup", "0::/app\n");
    temp_write_text("sys/fs/cgroup/app/memory.max", "4294967296\n");
    temp_write_text("sys/fs/cgroup/app/memory.high", "max\n");
    temp_write_text("sys/fs/cgroup/app/memory.current", "3221225472\n");
    temp_write_text("sys/fs/cgroup/app/memory.stat", "anon 1\nfile 2147483648\n"
                                                     "inactive_anon 5\ninactive_file 805306368\n"
                                                     "active_anon 7\nactive_file 268435456\n");
    spn_ram_info ram = detect();
    assert_int_equal(ram.cgroup_limit, 4 * GIB);
    assert_int_equal(ram.total, 4 * GIB);
    assert_int_equal(ram.host_total, 16 * GIB);
    /* 3 GiB in use, 1 GiB of it is page cache. */
    assert_int_equal(ram.available, 2 * GIB);
}

static void v2_high_counts_when_lower(void **state) {
    (void)state;
    write_meminfo();
    temp_write_text("proc/self/cgroup", "0::/app\n");
    temp_write_text("sys/fs/cgroup/app/memory.max", "max\n");
    temp_write_text("sys/fs/cgroup/app/memory.high", "2147483648\n");
    temp_write_text("sys/fs/cgroup/app/memory.current", "1048576\n");
    spn_ram_info ram = detect();
    assert_int_equal(ram.total, 2 * GIB);
    assert_int_equal(ram.available, 2 * GIB - MIB);
}

/* The parent's limit is the lower one, the grandparent's use leaves the least. */
static void v2_parents_count(void **state) {
    (void)state;
    write_meminfo();
    temp_write_text("proc/self/cgroup", "0::/a/b/c\n");
    temp_write_text("sys/fs/cgroup/a/b/c/memory.max", "6442450944\n");
    temp_write_text("sys/fs/cgroup/a/b/c/memory.current", "1073741824\n");
    temp_write_text("sys/fs/cgroup/a/b/memory.max", "5368709120\n");
    temp_write_text("sys/fs/cgroup/a/b/memory.current", "1073741824\n");
    temp_write_text("sys/fs/cgroup/a/memory.max", "8589934592\n");
    temp_write_text("sys/fs/cgroup/a/memory.current", "7516192768\n");
    spn_ram_info ram = detect();
    assert_int_equal(ram.total, 5 * GIB);
    assert_int_equal(ram.available, GIB);
}

static void v1_limits_count(void **state) {
    (void)state;
    write_meminfo();
    temp_write_text("proc/self/cgroup",
                    "11:cpu,cpuacct:/x\n4:memory:/job/step\n1:name=systemd:/\n");
    temp_write_text("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    temp_write_text("sys/fs/cgroup/memory/memory.usage_in_bytes", "8589934592\n");
    temp_write_text("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "3221225472\n");
    temp_write_text("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "2147483648\n");
    temp_write_text("sys/fs/cgroup/memory/job/memory.stat",
                    "inactive_file 7\ntotal_cache 9\ntotal_inactive_file 402653184\n"
                    "active_file 7\ntotal_active_file 134217728\n");
    temp_write_text("sys/fs/cgroup/memory/job/step/memory.limit_in_bytes", "9223372036854771712\n");
    temp_write_text("sys/fs/cgroup/memory/job/step/memory.usage_in_bytes", "1048576\n");
    spn_ram_info ram = detect();
    assert_int_equal(ram.total, 3 * GIB);
    assert_int_equal(ram.available, GIB + 512 * MIB);
}

/* In a container the path is the host's, while the container's own group is mounted as the root. */
static void foreign_paths_end_at_the_root(void **state) {
    (void)state;
    write_meminfo();
    temp_write_text("proc/self/cgroup", "4:memory:/docker/0123456789abcdef\n");
    temp_write_text("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
    temp_write_text("sys/fs/cgroup/memory/memory.usage_in_bytes", "536870912\n");
    spn_ram_info ram = detect();
    assert_int_equal(ram.total, GIB);
    assert_int_equal(ram.available, 512 * MIB);
}

static void hybrid_trees_are_read_twice(void **state) {
    (void)state;
    write_meminfo();
    temp_write_text("proc/self/cgroup", "4:memory:/old\n0::/new\n");
    temp_write_text("sys/fs/cgroup/memory/old/memory.limit_in_bytes", "3221225472\n");
    temp_write_text("sys/fs/cgroup/memory/old/memory.usage_in_bytes", "0\n");
    temp_write_text("sys/fs/cgroup/unified/new/memory.max", "2147483648\n");
    temp_write_text("sys/fs/cgroup/unified/new/memory.current", "0\n");
    assert_int_equal(detect().total, 2 * GIB);
}

static void paths_do_not_leave_the_tree(void **state) {
    (void)state;
    write_meminfo();
    temp_write_text("proc/self/cgroup", "0::/../../elsewhere\n");
    temp_write_text("elsewhere/memory.max", "1\n");
    temp_write_text("sys/elsewhere/memory.max", "1\n");
    temp_write_text("sys/fs/cgroup/memory.max", "8589934592\n");
    assert_int_equal(detect().total, 8 * GIB);
}

static void nonsense_is_no_limit(void **state) {
    (void)state;
    static const char *const nonsense[] = {
        "", "\n", "max\n", "-1\n", "4 MiB\n", "0x10\n", "1e9\n", "99999999999999999999999\n"};
    write_meminfo();
    temp_write_text("proc/self/cgroup", "0::/app\n");
    for (size_t i = 0; i < SPN_COUNT(nonsense); i++) {
        temp_write_text("sys/fs/cgroup/app/memory.max", nonsense[i]);
        spn_ram_info ram = detect();
        assert_int_equal(ram.total, 16 * GIB);
        assert_int_equal(ram.available, 12 * GIB);
    }
    temp_write_text("sys/fs/cgroup/app/memory.max", "1073741824\n");
    temp_write_text("sys/fs/cgroup/app/memory.current", "lots\n");
    temp_write_text("sys/fs/cgroup/app/memory.stat", "inactive_file\ninactive_file -3\n");
    assert_int_equal(detect().available, GIB);
    /* More in use than allowed, more reclaimable than in use. */
    temp_write_text("sys/fs/cgroup/app/memory.current", "2147483648\n");
    assert_int_equal(detect().available, 0);
    temp_write_text("sys/fs/cgroup/app/memory.stat", "inactive_file 18446744073709551615\n");
    assert_int_equal(detect().available, GIB);
    temp_write_text("proc/self/cgroup", "nonsense\n::::\n0:\n:\n\n4:memory\n");
    assert_int_equal(detect().total, 16 * GIB);
}

static void no_meminfo_is_an_error(void **state) {
    (void)state;
    static const char *const texts[] = {"", "MemTotal: 0 kB\n", "MemTotal: many kB\n",
                                        "MemTotal: 18446744073709551615 kB\n", "MemFree: 5 kB\n"};
    spn_ram_info ram = {.total = 77};
    spn_error err = {0};
    assert_int_equal(spn_linux_ram(temp_root, &ram, &err), SPN_STATUS_IO);
    assert_non_null(strstr(err.text, "meminfo"));
    for (size_t i = 0; i < SPN_COUNT(texts); i++) {
        temp_write_text("proc/meminfo", texts[i]);
        assert_int_equal(spn_linux_ram(temp_root, &ram, NULL), SPN_STATUS_IO);
    }
    assert_int_equal(ram.total, 77);
}

static void quotas_bound_processors(void **state) {
    (void)state;
    assert_int_equal(spn_linux_cpu_quota(temp_root, 8), 8);
    assert_int_equal(spn_linux_cpu_quota(temp_root, 0), 1);
    temp_write_text("proc/self/cgroup", "0::/a/b\n");
    temp_write_text("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    assert_int_equal(spn_linux_cpu_quota(temp_root, 8), 8);
    temp_write_text("sys/fs/cgroup/a/cpu.max", "350000 100000\n");
    assert_int_equal(spn_linux_cpu_quota(temp_root, 8), 3);
    assert_int_equal(spn_linux_cpu_quota(temp_root, 2), 2);
    temp_write_text("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
    assert_int_equal(spn_linux_cpu_quota(temp_root, 8), 1);
    static const char *const nonsense[] = {"",           "max\n",       "100000\n",    "0 100000\n",
                                           "100000 0\n", "-1 100000\n", "100000 -1\n", "x 1\n"};
    temp_write_text("sys/fs/cgroup/a/cpu.max", "max 100000\n");
    for (size_t i = 0; i < SPN_COUNT(nonsense); i++) {
        temp_write_text("sys/fs/cgroup/a/b/cpu.max", nonsense[i]);
        assert_int_equal(spn_linux_cpu_quota(temp_root, 8), 8);
    }
}

static void v1_quotas_bound_processors(void **state) {
    (void)state;
    temp_write_text("proc/self/cgroup", "2:cpu,cpuacct:/job\n");
    temp_write_text("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n");
    temp_write_text("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    assert_int_equal(spn_linux_cpu_quota(temp_root, 8), 2);
    temp_write_text("sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
    assert_int_equal(spn_linux_cpu_quota(temp_root, 8), 8);
    temp_write_text("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000\n");
    temp_write_text("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    assert_int_equal(spn_linux_cpu_quota(temp_root, 8), 4);
}

static void lists_are_counted(void **state) {
    (void)state;
    assert_int_equal(spn_linux_list_count("0\n"), 1);
    assert_int_equal(spn_linux_list_count("0-3\n"), 4);
    assert_int_equal(spn_linux_list_count("0-3,8,10-11"), 7);
    static const char *const nonsense[] = {"",
                                           "\n",
                                           "a",
                                           "3-1",
                                           "-1",
                                           "1--2",
                                           "1-",
                                           "1 2",
                                           "0-4294967295,0-9",
                                           "99999999999999999999"};
    for (size_t i = 0; i < SPN_COUNT(nonsense); i++)
        assert_int_equal(spn_linux_list_count(nonsense[i]), 0);
}

#endif

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, temp_setup, temp_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_machine_answers),
#ifdef __linux__
        IN_FOLDER(no_groups_no_limit),
        IN_FOLDER(old_kernels_are_estimated),
        IN_FOLDER(v2_limits_count),
        IN_FOLDER(v2_high_counts_when_lower),
        IN_FOLDER(v2_parents_count),
        IN_FOLDER(v1_limits_count),
        IN_FOLDER(foreign_paths_end_at_the_root),
        IN_FOLDER(hybrid_trees_are_read_twice),
        IN_FOLDER(paths_do_not_leave_the_tree),
        IN_FOLDER(nonsense_is_no_limit),
        IN_FOLDER(no_meminfo_is_an_error),
        IN_FOLDER(quotas_bound_processors),
        IN_FOLDER(v1_quotas_bound_processors),
        cmocka_unit_test(lists_are_counted),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
