/* numa_none.c - systems whose threads we leave where they are. SPDX-License-Identifier: Apache-2.0
 *
 * macOS has one memory and no affinity; Windows spreads a process over nodes by itself. */
#include "platform/os.h"

bool spn_numa_plan(uint32_t n_members, uint32_t *node_of) {
    (void)n_members, (void)node_of;
    return false;
}

void spn_thread_stay_on(uint32_t node) { (void)node; }
