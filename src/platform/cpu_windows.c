/* cpu_windows.c - counts processors on Windows: affinity, the job's rate, NUMA nodes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "platform/win.h"

#include "platform/machine.h"

uint32_t spn_machine_n_online(void) {
    DWORD n = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return n > 0 ? n : 1;
}

/* With more than one group of 64 processors the masks are those of one group, or 0 for a process
 * that runs in all of them; the affinity then bounds nothing. */
static uint32_t affinity_count(uint32_t n_online) {
    DWORD_PTR mask = 0, system = 0;
    if (GetActiveProcessorGroupCount() > 1) return n_online;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &mask, &system) || mask == 0) return n_online;
    uint32_t n = 0;
    for (; mask != 0; mask &= mask - 1) n++;
    return n < n_online ? n : n_online;
}

/* JOB_OBJECT_CPU_RATE_CONTROL_MIN_MAX_RATE of newer headers: the cap is then in the upper half. */
enum { RATE_IS_RANGE = 0x10 };

/* A hard cap counts in hundredths of a percent of all processors together. */
static uint32_t rate_count(uint32_t n_online) {
    JOBOBJECT_CPU_RATE_CONTROL_INFORMATION rate = {0};
    const DWORD on = JOB_OBJECT_CPU_RATE_CONTROL_ENABLE,
                hard = JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP;
    if (!QueryInformationJobObject(NULL, JobObjectCpuRateControlInformation, &rate, sizeof rate,
                                   NULL) ||
        (rate.ControlFlags & on) == 0 || (rate.ControlFlags & (hard | RATE_IS_RANGE)) == 0)
        return n_online;
    uint64_t share = (rate.ControlFlags & RATE_IS_RANGE) != 0 ? rate.CpuRate >> 16 : rate.CpuRate;
    uint64_t n = share * n_online / 10000;
    return n == 0 ? 1 : n < n_online ? (uint32_t)n : n_online;
}

uint32_t spn_machine_n_usable(void) {
    uint32_t n_online = spn_machine_n_online();
    uint32_t by_affinity = affinity_count(n_online), by_rate = rate_count(n_online);
    return by_affinity < by_rate ? by_affinity : by_rate;
}

uint32_t spn_machine_n_numa_nodes(void) {
    ULONG highest = 0;
    return GetNumaHighestNodeNumber(&highest) ? highest + 1 : 1;
}

bool spn_machine_cpu_name(char *out, size_t cap) {
    wchar_t name[128];
    DWORD n_bytes = sizeof name;
    if (RegGetValueW(HKEY_LOCAL_MACHINE, L"HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0",
                     L"ProcessorNameString", RRF_RT_REG_SZ, NULL, name, &n_bytes) != ERROR_SUCCESS)
        return false;
    spn_win_text(name, out, cap);
    return out[0] != '\0';
}

spn_arm_features spn_machine_arm_features(void) {
    /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE; for SMMLA this system has no such question. */
    enum { ARM_V82_DOT_PRODUCT = 43 };
    spn_arm_features features = {IsProcessorFeaturePresent(ARM_V82_DOT_PRODUCT) != 0, false};
    return features;
}
