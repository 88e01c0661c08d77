/* gpu_linux.c - GPUs by what the kernel's drivers show of them. SPDX-License-Identifier: Apache-2.0
 *
 * Each PCI display device has a folder /sys/class/drm/cardN/device. Memory is told by amdgpu only.
 */
#include <stdio.h>
#include <stdlib.h>

#include "platform/machine.h"

#define MAX_CARDS 64

static const char *maker_of(unsigned long vendor) {
    switch (vendor) {
    case 0x1002:
        return "AMD";
    case 0x10de:
        return "NVIDIA";
    case 0x8086:
        return "Intel";
    default:
        return NULL; /* display adapters of virtual machines and servers' consoles */
    }
}

static bool read_card(const char *folder, spn_device_info *out) {
    char vendor[16], device[16];
    uint64_t used;
    if (!spn_linux_read(vendor, sizeof vendor, folder, "vendor") ||
        !spn_linux_read(device, sizeof device, folder, "device"))
        return false;
    unsigned long vendor_id = strtoul(vendor, NULL, 16), device_id = strtoul(device, NULL, 16);
    const char *maker = maker_of(vendor_id);
    if (maker == NULL) return false;
    snprintf(out->name, sizeof out->name, "%s GPU (PCI %04lx:%04lx)", maker, vendor_id, device_id);
    if (spn_linux_number_file(folder, "mem_info_vram_total", &out->memory_total) &&
        spn_linux_number_file(folder, "mem_info_vram_used", &used) && used <= out->memory_total)
        out->memory_available = out->memory_total - used;
    return true;
}

bool spn_linux_gpu(const char *root, size_t i, spn_device_info *out) {
    char folder[512];
    for (size_t card = 0; card < MAX_CARDS; card++) {
        spn_device_info found = *out;
        snprintf(folder, sizeof folder, "%s/sys/class/drm/card%zu/device", root, card);
        if (!read_card(folder, &found) || i-- > 0) continue;
        *out = found;
        return true;
    }
    return false;
}

bool spn_machine_gpu(size_t i, spn_device_info *out) { return spn_linux_gpu("", i, out); }
