/* ram_windows.c - memory on Windows: the machine's and the job object's.
 * SPDX-License-Identifier: Apache-2.0 */
#include "platform/win.h"

#include <psapi.h>

#include "platform/machine.h"
#include "platform/os.h"

/* JOBOBJECT_MEMORY_USAGE_INFORMATION of newer headers, by its number so that older ones serve. */
enum { JOB_MEMORY_USAGE = 28 };
typedef struct job_memory_usage {
    ULONG64 now, peak;
} job_memory_usage;

static uint64_t own_use(void) {
    PROCESS_MEMORY_COUNTERS counters = {.cb = sizeof counters};
    if (!K32GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters)) return 0;
    return counters.PagefileUsage; /* the commit charge, which the limits are about */
}

static uint64_t job_use(void) {
    job_memory_usage usage = {0, 0};
    if (QueryInformationJobObject(NULL, (JOBOBJECTINFOCLASS)JOB_MEMORY_USAGE, &usage, sizeof usage,
                                  NULL))
        return usage.now;
    return own_use();
}

static void apply(spn_ram_info *info, uint64_t limit, uint64_t used) {
    uint64_t left = used < limit ? limit - used : 0;
    if (limit < info->total) info->total = info->cgroup_limit = limit;
    if (left < info->available) info->available = left;
}

/* NULL asks for the job that this process runs in; containers are such jobs. */
static void apply_job(spn_ram_info *info) {
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION job = {0};
    if (!QueryInformationJobObject(NULL, JobObjectExtendedLimitInformation, &job, sizeof job, NULL))
        return;
    DWORD flags = job.BasicLimitInformation.LimitFlags;
    if ((flags & JOB_OBJECT_LIMIT_JOB_MEMORY) != 0) apply(info, job.JobMemoryLimit, job_use());
    if ((flags & JOB_OBJECT_LIMIT_PROCESS_MEMORY) != 0)
        apply(info, job.ProcessMemoryLimit, own_use());
}

uint64_t spn_process_memory(void) {
    PROCESS_MEMORY_COUNTERS counters = {.cb = sizeof counters};
    if (!K32GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters)) return 0;
    return counters.WorkingSetSize;
}

spn_status spn_detect_ram(spn_ram_info *out, spn_error *err) {
    MEMORYSTATUSEX memory = {.dwLength = sizeof memory};
    if (!GlobalMemoryStatusEx(&memory))
        return spn_win_fail(err, GetLastError(), "read", "the state of the memory");
    spn_ram_info info = {.total = memory.ullTotalPhys,
                         .available = memory.ullAvailPhys, /* standby pages count as free */
                         .host_total = memory.ullTotalPhys};
    apply_job(&info);
    *out = info;
    return SPN_STATUS_OK;
}
