/* numa_linux.c - memory nodes on Linux: which processors are near which memory, and who runs where.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A team's members are spread over the nodes in proportion to their cores (hyper-threads only when
 * there are more members than cores), neighbours together: docs/architecture.md says why. A member
 * is kept on a node and not on one processor, for the system must be able to move it aside when
 * something else runs there, and two teams may be at work side by side.
 * Files: https://docs.kernel.org/admin-guide/mm/numaperf.html, Documentation/ABI/stable/
 * sysfs-devices-node and sysfs-devices-system-cpu of the kernel. */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "platform/machine.h"
#include "platform/os.h"

enum { WORD = 64, PATH_BYTES = 4096, LIST_BYTES = 16384 };

static bool has_bit(const spn_cpu_bits *bits, uint32_t i) {
    return (bits->words[i / WORD] >> i % WORD & 1) != 0;
}

/* ---- lists such as "0-3,8-11" ---- */

static bool read_digits(const char **at, uint32_t *out) {
    uint32_t n = 0;
    const char *start = *at;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        n = n * 10 + (uint32_t)(**at - '0');
        if (n >= SPN_CPU_BITS) return false;
    }
    *out = n;
    return *at != start;
}

bool spn_linux_list_bits(const char *list, spn_cpu_bits *out) {
    spn_cpu_bits bits = {{0}};
    const char *at = list;
    while (*at != '\n') {
        uint32_t first, last;
        if (!read_digits(&at, &first)) return false;
        last = first;
        if (*at == '-' && (++at, !read_digits(&at, &last))) return false;
        if (last < first || (*at != ',' && *at != '\n')) return false;
        if (*at == ',' && at[1] == '\n') return false;
        for (uint32_t i = first; i <= last; i++) bits.words[i / WORD] |= UINT64_C(1) << i % WORD;
        at += *at == ',';
    }
    *out = bits;
    return true;
}

/* A list that was cut off at the buffer's end has no line end, and is none. */
static bool read_list(const char *folder, const char *name, spn_cpu_bits *out) {
    char text[LIST_BYTES];
    return spn_linux_read(text, sizeof text, folder, name) && spn_linux_list_bits(text, out);
}

/* ---- the nodes ---- */

/* Whether `cpu` is the first usable thread of its core; without a record it is a core. */
static bool is_first_thread(const char *root, uint32_t cpu, const spn_cpu_bits *usable) {
    char folder[PATH_BYTES];
    spn_cpu_bits threads;
    int n = snprintf(folder, sizeof folder, "%s/sys/devices/system/cpu/cpu%u/topology", root, cpu);
    if (n < 0 || n >= PATH_BYTES || !read_list(folder, "thread_siblings_list", &threads))
        return true;
    for (uint32_t i = 0; i < cpu; i++)
        if (has_bit(&threads, i) && has_bit(usable, i)) return false;
    return true;
}

static bool node_processors(const char *root, uint32_t node, const spn_cpu_bits *usable,
                            spn_cpu_bits *out) {
    char folder[PATH_BYTES];
    int n = snprintf(folder, sizeof folder, "%s/sys/devices/system/node/node%u", root, node);
    if (n < 0 || n >= PATH_BYTES || !read_list(folder, "cpulist", out)) return false;
    for (size_t i = 0; i < SPN_COUNT(out->words); i++) out->words[i] &= usable->words[i];
    return true;
}

static spn_numa_node count_node(const char *root, uint32_t number, const spn_cpu_bits *usable) {
    spn_numa_node node = {.number = number};
    spn_cpu_bits mine;
    if (!node_processors(root, number, usable, &mine)) return node;
    for (uint32_t cpu = 0; cpu < SPN_CPU_BITS; cpu++) {
        if (!has_bit(&mine, cpu)) continue;
        node.n_processors++;
        node.n_cores += is_first_thread(root, cpu, usable);
    }
    return node;
}

uint32_t spn_linux_numa(const char *root, const spn_cpu_bits *usable,
                        spn_numa_node out[SPN_NUMA_NODES]) {
    char folder[PATH_BYTES];
    spn_cpu_bits online, with_memory;
    uint32_t n = 0, n_with_memory = 0;
    int len = snprintf(folder, sizeof folder, "%s/sys/devices/system/node", root);
    if (len < 0 || len >= PATH_BYTES || !read_list(folder, "online", &online)) return 0;
    if (!read_list(folder, "has_memory", &with_memory)) with_memory = online;
    for (uint32_t i = 0; i < SPN_CPU_BITS; i++) {
        if (!has_bit(&online, i)) continue;
        spn_numa_node node = count_node(root, i, usable);
        if (node.n_processors == 0) continue; /* memory alone, or none that we may use */
        if (n == SPN_NUMA_NODES) return 0;
        n_with_memory += has_bit(&with_memory, i);
        out[n++] = node;
    }
    return n_with_memory > 1 ? n : 0;
}

/* ---- who runs where ---- */

/* Whether seat number `a_taken` of a node is better than `b_taken` of another: the emptier one. */
static bool is_emptier(uint32_t a_taken, uint32_t a_room, uint32_t b_taken, uint32_t b_room) {
    return (uint64_t)a_taken * b_room < (uint64_t)b_taken * a_room;
}

void spn_numa_spread(const spn_numa_node *nodes, uint32_t n_nodes, uint32_t n_members,
                     uint32_t *node_of) {
    uint32_t taken[SPN_NUMA_NODES] = {0}, n_cores = 0, at = 0;
    for (uint32_t i = 0; i < n_nodes; i++) n_cores += nodes[i].n_cores;
    for (uint32_t m = 0; m < n_members; m++) {
        bool cores = m < n_cores;
        uint32_t best = 0;
        for (uint32_t i = 1; i < n_nodes; i++)
            if (is_emptier(taken[i], cores ? nodes[i].n_cores : nodes[i].n_processors, taken[best],
                           cores ? nodes[best].n_cores : nodes[best].n_processors))
                best = i;
        taken[best]++;
    }
    for (uint32_t i = 0; i < n_nodes; i++)
        for (uint32_t k = 0; k < taken[i]; k++) node_of[at++] = nodes[i].number;
}

/* The set must be at least as large as the kernel's: it has room for 65,536 processors. */
static bool usable_processors(spn_cpu_bits *out) {
    memset(out, 0, sizeof *out);
    return sched_getaffinity(0, sizeof *out, (cpu_set_t *)(void *)out) == 0;
}

bool spn_numa_plan(uint32_t n_members, uint32_t *node_of) {
    spn_cpu_bits usable;
    spn_numa_node nodes[SPN_NUMA_NODES];
    if (n_members < 2 || spn_machine_n_numa_nodes() < 2 || !usable_processors(&usable))
        return false;
    uint32_t n = spn_linux_numa("", &usable, nodes);
    if (n < 2) return false;
    spn_numa_spread(nodes, n, n_members, node_of);
    return true;
}

void spn_thread_stay_on(uint32_t node) {
    spn_cpu_bits usable, mine, none = {{0}};
    if (!usable_processors(&usable) || !node_processors("", node, &usable, &mine)) return;
    if (memcmp(&mine, &none, sizeof mine) == 0) return;
    sched_setaffinity(0, sizeof mine, (cpu_set_t *)(void *)&mine);
}
