/* cpu_macos.c - counts processors on macOS. SPDX-License-Identifier: Apache-2.0
 *
 * macOS has neither affinity nor quotas nor NUMA. Its efficiency cores would make every barrier of
 * a thread pool wait for them, so only the performance cores are advised for use.
 */
#include <stdio.h>
#include <sys/sysctl.h>

#include "platform/machine.h"

static uint32_t ask_number(const char *name) {
    int32_t value = 0;
    size_t n_bytes = sizeof value;
    return sysctlbyname(name, &value, &n_bytes, NULL, 0) == 0 && value > 0 ? (uint32_t)value : 0;
}

uint32_t spn_machine_n_online(void) {
    uint32_t n = ask_number("hw.activecpu");
    return n > 0 ? n : 1;
}

uint32_t spn_machine_n_usable(void) {
    uint32_t n_online = spn_machine_n_online();
    uint32_t fast = ask_number("hw.perflevel0.logicalcpu"); /* absent on Intel */
    return fast > 0 && fast < n_online ? fast : n_online;
}

uint32_t spn_machine_n_numa_nodes(void) { return 1; }

bool spn_machine_cpu_name(char *out, size_t cap) {
    size_t n_bytes = cap;
    if (cap == 0 || sysctlbyname("machdep.cpu.brand_string", out, &n_bytes, NULL, 0) != 0)
        return false;
    out[cap - 1] = '\0';
    return out[0] != '\0';
}

/* Names of macOS 12 and later; older systems answer no. */
spn_arm_features spn_machine_arm_features(void) {
    spn_arm_features features = {
        .dotprod = ask_number("hw.optional.arm.FEAT_DotProd") != 0,
        .i8mm = ask_number("hw.optional.arm.FEAT_I8MM") != 0,
    };
    return features;
}
