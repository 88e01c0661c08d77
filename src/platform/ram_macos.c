/* ram_macos.c - memory on macOS: sysctl and Mach's statistics. SPDX-License-Identifier: Apache-2.0
 *
 * macOS has no control groups, and does not enforce RLIMIT_AS: the machine's memory is the limit.
 */
#include <errno.h>
#include <mach/mach.h>
#include <string.h>
#include <sys/sysctl.h>

#include "platform/machine.h"
#include "platform/os.h"

/* Free pages, those not used of late, and those that their owners marked as purgeable: what the
 * system hands out before it compresses or swaps. Speculative pages are within the free ones. */
static bool available_bytes(uint64_t *out) {
    vm_statistics64_data_t vm = {0};
    mach_msg_type_number_t n = HOST_VM_INFO64_COUNT;
    vm_size_t page = 0;
    mach_port_t host = mach_host_self();
    bool ok = host_page_size(host, &page) == KERN_SUCCESS &&
              host_statistics64(host, HOST_VM_INFO64, (host_info64_t)&vm, &n) == KERN_SUCCESS;
    mach_port_deallocate(mach_task_self(), host);
    if (!ok) return false;
    uint64_t n_pages = (uint64_t)vm.free_count + vm.inactive_count + vm.purgeable_count;
    *out = n_pages * page;
    return true;
}

uint64_t spn_process_memory(void) {
    mach_task_basic_info_data_t info = {0};
    mach_msg_type_number_t n = MACH_TASK_BASIC_INFO_COUNT;
    kern_return_t done = task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &n);
    return done == KERN_SUCCESS ? info.resident_size : 0;
}

spn_status spn_detect_ram(spn_ram_info *out, spn_error *err) {
    uint64_t total = 0, available = 0;
    size_t n_bytes = sizeof total;
    if (sysctlbyname("hw.memsize", &total, &n_bytes, NULL, 0) != 0 || total == 0)
        return spn_fail_code(err, SPN_STATUS_IO, errno, "cannot ask for hw.memsize: %s",
                             strerror(errno));
    if (!available_bytes(&available))
        return SPN_FAIL(err, IO, "cannot ask for the memory's statistics");
    *out = (spn_ram_info){.total = total,
                          .available = available < total ? available : total,
                          .host_total = total,
                          .cgroup_limit = 0};
    return SPN_STATUS_OK;
}
