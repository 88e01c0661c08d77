/* cmd_detect_ram.c - the machine: memory and processor. SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>

#include "cli/cli.h"

static void print_line(const char *label, uint64_t n_bytes) {
    char text[16];
    printf("%-16s %s\n", label, spn_cli_bytes(n_bytes, text));
}

static int print_text(const spn_ram_info *ram, const spn_cpu_info *cpu) {
    print_line("memory total", ram->total);
    print_line("memory available", ram->available);
    if (ram->cgroup_limit != 0) {
        print_line("machine total", ram->host_total);
        print_line("group's limit", ram->cgroup_limit);
    }
    printf("%-16s %s\n%-16s", "processor", cpu->name, "levels");
    for (int level = SPN_CPU_LEVEL_REF; level < SPN_CPU_LEVEL_COUNT; level++)
        if (spn_cpu_level_is_available((spn_cpu_level)level))
            printf(" %s", spn_cpu_level_name((spn_cpu_level)level));
    printf("\n%-16s %u usable of %u\n", "cores", cpu->n_usable, cpu->n_online);
    if (cpu->n_numa_nodes > 1) printf("%-16s %u\n", "memory nodes", cpu->n_numa_nodes);
    return SPN_EXIT_OK;
}

static json_t *levels_json(void) {
    json_t *levels = json_array();
    for (int level = SPN_CPU_LEVEL_REF; level < SPN_CPU_LEVEL_COUNT; level++)
        if (spn_cpu_level_is_available((spn_cpu_level)level))
            json_array_append_new(levels, json_string(spn_cpu_level_name((spn_cpu_level)level)));
    return levels;
}

static int print_json(const spn_ram_info *ram, const spn_cpu_info *cpu) {
    return spn_cli_print_json(
        json_pack("{s:I, s:I, s:I, s:I, s:s, s:s, s:o, s:i, s:i, s:i}", "total_bytes",
                  (json_int_t)ram->total, "available_bytes", (json_int_t)ram->available,
                  "host_total_bytes", (json_int_t)ram->host_total, "cgroup_limit_bytes",
                  (json_int_t)ram->cgroup_limit, "cpu_name", cpu->name, "cpu_level",
                  spn_cpu_level_name(cpu->level), "cpu_levels", levels_json(), "cores_usable",
                  (int)cpu->n_usable, "cores_online", (int)cpu->n_online, "numa_nodes",
                  (int)cpu->n_numa_nodes),
        true);
}

int spn_cmd_detect_ram(int argc, char **argv) {
    bool json = false;
    const spn_opt options[] = {
        {"--json", NULL, SPN_OPT_FLAG, NULL, &json, "print JSON; sizes in bytes"},
    };
    const spn_cli_page page = {
        .name = "detect-ram",
        .usage = "",
        .about = "Prints the memory that this process could use (a container's limit counts), the\n"
                 "instruction levels that the engine can run on here, and the cores it may use.\n",
        .examples = "  spn-native detect-ram\n"
                    "  spn-native detect-ram --json\n",
        .options = options,
        .n_options = 1,
    };
    spn_cli_args args;
    spn_ram_info ram;
    spn_cpu_info cpu;
    spn_error err = {0};
    int done = spn_cli_parse(&page, argc, argv, &args);
    if (done >= 0) return done;
    if (spn_detect_ram(&ram, &err) != SPN_STATUS_OK || spn_detect_cpu(&cpu, &err) != SPN_STATUS_OK)
        return spn_cli_error(&err);
    return json ? print_json(&ram, &cpu) : print_text(&ram, &cpu);
}
