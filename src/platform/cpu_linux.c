/* cpu_linux.c - counts processors on Linux: affinity, quotas, NUMA nodes.
 * SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __aarch64__
#include <sys/auxv.h>
#endif

#include "platform/machine.h"

uint32_t spn_machine_n_online(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

/* cpusets show in the affinity too. The mask must be at least as large as the kernel's; this one
 * has room for 65,536 processors, eight times what any kernel is built for. */
static uint32_t affinity_count(void) {
    cpu_set_t sets[64];
    memset(sets, 0, sizeof sets);
    if (sched_getaffinity(0, sizeof sets, sets) != 0) return spn_machine_n_online();
    int n = CPU_COUNT_S(sizeof sets, sets);
    return n > 0 ? (uint32_t)n : 1;
}

/* A quota of 150 ms every 100 ms is one and a half processors: one. A second thread would spend
 * half of its time stopped, and every barrier would wait for it. */
static void visit_quota(const char *folder, bool is_v2, void *user) {
    uint32_t *most = user;
    uint64_t quota = 0, period = 0;
    if (is_v2) {
        char text[64], *end;
        if (!spn_linux_read(text, sizeof text, folder, "cpu.max")) return;
        quota = strtoull(text, &end, 10); /* "max" leaves end where it was */
        if (end == text || *end != ' ' || text[0] < '0' || text[0] > '9') return;
        if (end[1] < '0' || end[1] > '9') return;
        period = strtoull(end + 1, NULL, 10);
    } else if (!spn_linux_number_file(folder, "cpu.cfs_quota_us", &quota) || /* -1: none */
               !spn_linux_number_file(folder, "cpu.cfs_period_us", &period)) {
        return;
    }
    if (quota == 0 || period == 0) return;
    uint64_t n = quota / period;
    if (n < *most) *most = n > 0 ? (uint32_t)n : 1;
}

uint32_t spn_linux_cpu_quota(const char *root, uint32_t n_cpus) {
    uint32_t most = n_cpus > 0 ? n_cpus : 1;
    spn_linux_cgroups(root, SPN_LINUX_CPU, visit_quota, &most);
    return most;
}

uint32_t spn_machine_n_usable(void) { return spn_linux_cpu_quota("", affinity_count()); }

uint32_t spn_machine_n_numa_nodes(void) {
    char list[256];
    if (!spn_linux_read(list, sizeof list, "/sys/devices/system/node", "online")) return 1;
    uint32_t n = spn_linux_list_count(list);
    return n > 0 ? n : 1;
}

/* ARM kernels name their boards here; /proc/cpuinfo has only numbers there. */
bool spn_machine_cpu_name(char *out, size_t cap) {
    if (!spn_linux_read(out, cap, "/proc/device-tree", "model")) return false;
    return out[0] != '\0';
}

spn_arm_features spn_machine_arm_features(void) {
    spn_arm_features features = {false, false};
#ifdef __aarch64__
    /* Bits of <asm/hwcap.h>, by their numbers so that old headers serve. */
    features.dotprod = (getauxval(AT_HWCAP) >> 20 & 1) != 0; /* HWCAP_ASIMDDP */
    features.i8mm = (getauxval(AT_HWCAP2) >> 13 & 1) != 0;   /* HWCAP2_I8MM */
#endif
    return features;
}
