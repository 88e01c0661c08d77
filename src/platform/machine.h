/* machine.h - what cpu.c and ram_*.c ask of the one system they are built for.
 * SPDX-License-Identifier: Apache-2.0
 *
 * cpu_linux.c, cpu_macos.c and cpu_windows.c implement the first part. The second part reads
 * Linux's own files below a folder `root`: "" is the machine, and a test gives a folder of its own
 * with the same files in it. A file that is missing or makes no sense sets no limit.
 */
#ifndef SPN_MACHINE_H
#define SPN_MACHINE_H

#include "base/base.h"
#include "spn/platform.h"

uint32_t spn_machine_n_online(void);
uint32_t spn_machine_n_usable(void);
uint32_t spn_machine_n_numa_nodes(void);
/* The processor's name from the system, for those that do not tell it themselves; false: none. */
bool spn_machine_cpu_name(char *out, size_t cap);

/* Fills in the i-th GPU's name and memory; false when there is none. */
bool spn_machine_gpu(size_t i, spn_device_info *out);

/* Instructions of AArch64 that only the system can tell of. */
typedef struct spn_arm_features {
    bool dotprod, i8mm;
} spn_arm_features;
spn_arm_features spn_machine_arm_features(void);

#ifdef __linux__
/* The memory of the machine and of all control groups above this process. */
spn_status spn_linux_ram(const char *root, spn_ram_info *out, spn_error *err);

/* The i-th GPU below root/sys/class/drm. */
bool spn_linux_gpu(const char *root, size_t i, spn_device_info *out);

/* How many of `n_cpus` processors the quotas of all control groups leave: at least 1. */
uint32_t spn_linux_cpu_quota(const char *root, uint32_t n_cpus);

/* How many numbers a list such as "0-3,8" has; 0 when it is none. */
uint32_t spn_linux_list_count(const char *list);

/* Numbers of processors or nodes as a set, laid out as sched_getaffinity has it. */
#define SPN_CPU_BITS 65536
typedef struct spn_cpu_bits {
    uint64_t words[SPN_CPU_BITS / 64];
} spn_cpu_bits;
/* A line such as "0-3,8\n" (or "\n": none). False, with *out untouched, for everything else. */
bool spn_linux_list_bits(const char *list, spn_cpu_bits *out);

/* A memory node, with what of its processors is usable. */
#define SPN_NUMA_NODES 64
typedef struct spn_numa_node {
    uint32_t number;
    uint32_t n_processors, n_cores; /* at least 1 */
} spn_numa_node;
/* The nodes below root/sys that have usable processors; 0 where they are more than the room, or
 * where fewer than two of them have memory, so that it does not matter who runs where. */
uint32_t spn_linux_numa(const char *root, const spn_cpu_bits *usable,
                        spn_numa_node out[SPN_NUMA_NODES]);
/* Numbers of nodes for node_of[n_members]: as many members for each as it has of all cores (of all
 * processors, once the cores are taken), the nodes' members one behind the other. */
void spn_numa_spread(const spn_numa_node *nodes, uint32_t n_nodes, uint32_t n_members,
                     uint32_t *node_of);

typedef enum spn_linux_controller { SPN_LINUX_MEMORY, SPN_LINUX_CPU } spn_linux_controller;

/* Calls `visit` with the folder of each control group that bounds this process in `controller`,
 * from its own up to the root's; `is_v2` tells which generation of files it holds. */
typedef void spn_linux_visit(const char *folder, bool is_v2, void *user);
void spn_linux_cgroups(const char *root, spn_linux_controller controller, spn_linux_visit *visit,
                       void *user);

/* The first bytes of a small file, with a NUL behind them; false when it cannot be read. */
bool spn_linux_read(char *out, size_t cap, const char *folder, const char *name);
/* The number behind `key` in lines such as "MemTotal:  123 kB"; false when there is none. */
bool spn_linux_number(const char *text, const char *key, uint64_t *out);
/* A file that holds one number, and nothing else. */
bool spn_linux_number_file(const char *folder, const char *name, uint64_t *out);
#endif
#endif
