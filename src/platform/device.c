/* device.c - what could run a model here. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "platform/machine.h"
#include "platform/os.h"

/* More than any machine has; a limit against a system that never says no. */
#define MAX_GPUS 64

spn_status spn_detect_devices(spn_device_info *out, size_t n_max, size_t *n, spn_error *err) {
    spn_ram_info ram;
    spn_cpu_info cpu;
    SPN_TRY(spn_detect_ram(&ram, err));
    SPN_TRY(spn_detect_cpu(&cpu, err));
    spn_device_info device = {.kind = SPN_DEVICE_KIND_CPU,
                              .backend = "cpu",
                              .memory_total = ram.total,
                              .memory_available = ram.available,
                              .is_usable = true};
    snprintf(device.name, sizeof device.name, "%s", cpu.name);
    if (n_max > 0) out[0] = device;
    size_t n_gpus = 0;
    for (; n_gpus < MAX_GPUS; n_gpus++) {
        device = (spn_device_info){.kind = SPN_DEVICE_KIND_GPU};
        if (!spn_machine_gpu(n_gpus, &device)) break;
        snprintf(device.note, sizeof device.note,
                 "this library has no GPU backend: the processor does the work");
        if (n_gpus + 1 < n_max) out[n_gpus + 1] = device;
    }
    *n = n_gpus + 1;
    return SPN_STATUS_OK;
}
