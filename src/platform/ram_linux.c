/* ram_linux.c - memory on Linux: /proc/meminfo and the control groups.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/machine.h"
#include "platform/os.h"

typedef struct ram_walk {
    uint64_t limit;     /* the lowest of all groups */
    uint64_t available; /* the least that any group has left */
} ram_walk;

static void lower(uint64_t *to, uint64_t value) {
    if (value < *to) *to = value;
}

static uint64_t file_pages(const char *stat, bool is_v2) {
    static const char *const keys[][2] = {{"total_inactive_file", "total_active_file"},
                                          {"inactive_file", "active_file"}};
    uint64_t sum = 0, n;
    for (size_t i = 0; i < 2; i++)
        if (spn_linux_number(stat, keys[is_v2][i], &n))
            sum += n < UINT64_MAX / 4 ? n : UINT64_MAX / 4;
    return sum;
}

/* Of what a group uses, the pages of files go when memory is asked for, as MemAvailable counts them
 * for the machine. The active ones too: a model that was read twice stands there, and would
 * otherwise be in its own way when it is loaded again. */
static void visit_memory(const char *folder, bool is_v2, void *user) {
    ram_walk *walk = user;
    uint64_t limit = UINT64_MAX, value, used = 0, reclaimable = 0;
    if (spn_linux_number_file(folder, is_v2 ? "memory.max" : "memory.limit_in_bytes", &value))
        limit = value;
    /* Beyond `high` a group is not killed but slowed until nothing moves. */
    if (is_v2 && spn_linux_number_file(folder, "memory.high", &value)) lower(&limit, value);
    if (limit == UINT64_MAX) return;
    spn_linux_number_file(folder, is_v2 ? "memory.current" : "memory.usage_in_bytes", &used);
    char stat[8192];
    if (spn_linux_read(stat, sizeof stat, folder, "memory.stat"))
        reclaimable = file_pages(stat, is_v2);
    used = reclaimable < used ? used - reclaimable : 0;
    lower(&walk->limit, limit);
    lower(&walk->available, used < limit ? limit - used : 0);
}

/* Kernels before 3.14 do not say what is available: free pages and the page cache without what
 * lives in memory only. */
static uint64_t estimate_available(const char *meminfo) {
    static const char *const parts[] = {"MemFree:", "Buffers:", "Cached:", "SReclaimable:"};
    uint64_t sum = 0, kib;
    for (size_t i = 0; i < SPN_COUNT(parts); i++)
        if (spn_linux_number(meminfo, parts[i], &kib) && kib < UINT64_MAX / 8 - sum) sum += kib;
    if (spn_linux_number(meminfo, "Shmem:", &kib)) sum -= kib < sum ? kib : sum;
    return sum;
}

spn_status spn_linux_ram(const char *root, spn_ram_info *out, spn_error *err) {
    char meminfo[8192];
    uint64_t total_kib, available_kib;
    if (!spn_linux_read(meminfo, sizeof meminfo, root, "proc/meminfo"))
        return SPN_FAIL(err, IO, "cannot read %s/proc/meminfo", root);
    if (!spn_linux_number(meminfo, "MemTotal:", &total_kib) || total_kib == 0 ||
        total_kib > UINT64_MAX / 1024)
        return SPN_FAIL(err, IO, "%s/proc/meminfo does not tell MemTotal", root);
    if (!spn_linux_number(meminfo, "MemAvailable:", &available_kib))
        available_kib = estimate_available(meminfo);
    if (available_kib > total_kib) available_kib = total_kib;

    ram_walk walk = {UINT64_MAX, UINT64_MAX};
    spn_linux_cgroups(root, SPN_LINUX_MEMORY, visit_memory, &walk);
    spn_ram_info info = {.host_total = total_kib * 1024};
    info.cgroup_limit = walk.limit < info.host_total ? walk.limit : 0;
    info.total = info.cgroup_limit != 0 ? info.cgroup_limit : info.host_total;
    info.available = available_kib * 1024;
    lower(&info.available, walk.available);
    lower(&info.available, info.total);
    *out = info;
    return SPN_STATUS_OK;
}

/* The second number is that of resident pages. */
uint64_t spn_process_memory(void) {
    char statm[256];
    if (!spn_linux_read(statm, sizeof statm, "/proc/self", "statm")) return 0;
    const char *resident = strchr(statm, ' ');
    return resident != NULL ? strtoull(resident, NULL, 10) * spn_page_bytes() : 0;
}

spn_status spn_detect_ram(spn_ram_info *out, spn_error *err) { return spn_linux_ram("", out, err); }
