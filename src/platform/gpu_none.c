/* gpu_none.c - systems on which no GPU is looked for. SPDX-License-Identifier: Apache-2.0 */
#include "platform/machine.h"

bool spn_machine_gpu(size_t i, spn_device_info *out) {
    (void)i;
    (void)out;
    return false;
}
