/* cmd_devices.c - what could run a model here. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "cli/cli.h"

#define MAX_DEVICES 65

static int print_json(const spn_device_info *devices, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:s}", "kind",
                            devices[i].kind == SPN_DEVICE_KIND_GPU ? "gpu" : "cpu", "name",
                            devices[i].name, "backend", devices[i].backend, "memory_total_bytes",
                            (json_int_t)devices[i].memory_total, "memory_available_bytes",
                            (json_int_t)devices[i].memory_available, "usable",
                            (int)devices[i].is_usable, "note", devices[i].note));
    return spn_cli_print_json(list, true);
}

static int print_text(const spn_device_info *devices, size_t n) {
    char total[16], available[16];
    for (size_t i = 0; i < n; i++) {
        const spn_device_info *d = &devices[i];
        printf("%s  %s", d->kind == SPN_DEVICE_KIND_GPU ? "gpu" : "cpu", d->name);
        if (d->memory_total > 0)
            printf(", %s of %s free", spn_cli_bytes(d->memory_available, available),
                   spn_cli_bytes(d->memory_total, total));
        printf("%s%s\n", d->note[0] ? "; " : "", d->note);
    }
    if (n == 1) puts("No GPU was found.");
    return SPN_EXIT_OK;
}

int spn_cmd_devices(int argc, char **argv) {
    bool json = false;
    static spn_device_info devices[MAX_DEVICES];
    const spn_opt options[] = {
        {"--json", NULL, SPN_OPT_FLAG, NULL, &json, "print JSON; sizes in bytes"},
    };
    const spn_cli_page page = {
        .name = "devices",
        .usage = "",
        .about = "Lists the processor and the GPUs of this machine, and says which the engine can "
                 "use.\n",
        .examples = "  spn-native devices\n",
        .options = options,
        .n_options = 1,
    };
    spn_cli_args args;
    spn_error err = {0};
    size_t n = 0;
    int done = spn_cli_parse(&page, argc, argv, &args);
    if (done >= 0) return done;
    if (spn_detect_devices(devices, MAX_DEVICES, &n, &err) != SPN_STATUS_OK)
        return spn_cli_error(&err);
    if (n > MAX_DEVICES) n = MAX_DEVICES;
    return json ? print_json(devices, n) : print_text(devices, n);
}
