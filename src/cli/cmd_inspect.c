/* cmd_inspect.c - what a GGUF file holds and what running it takes.
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef struct inspect_options {
    bool json;
    bool all;
    spn_cli_engine engine;
} inspect_options;

/* What running the file takes, or why it cannot be said. */
typedef struct run_need {
    spn_memory_need memory;
    spn_error err; /* status OK: `memory` is filled */
} run_need;

/* ---- for people ---- */

#define LINE_BYTES 100

/* Texts are cut to a line, unless all of them is wanted. */
static void print_metadata(const spn_inspection *in, bool all) {
    spn_metadata_item item;
    printf("\nmetadata (%zu)\n", spn_inspection_n_metadata(in));
    for (size_t i = 0; spn_inspection_metadata(in, i, &item); i++) {
        size_t n = strlen(item.value), shown = n;
        if (!all && n > LINE_BYTES) {
            for (shown = LINE_BYTES; ((unsigned char)item.value[shown] & 0xC0) == 0x80;) shown--;
        }
        printf("  %-40s %-16s %.*s%s\n", item.key, item.type, (int)shown, item.value,
               shown < n ? " ..." : "");
    }
}

static void print_tensors(const spn_inspection *in) {
    spn_tensor_item item;
    char size[16], shape[100];
    printf("\ntensors (%zu)\n", spn_inspection_n_tensors(in));
    for (size_t i = 0; spn_inspection_tensor(in, i, &item); i++) {
        size_t n = 0;
        for (uint32_t d = 0; d < item.n_dims && d < 4 && n < sizeof shape; d++)
            n += (size_t)snprintf(shape + n, sizeof shape - n, "%s%" PRIu64, d > 0 ? " x " : "",
                                  item.shape[d]);
        if (item.n_dims == 0) shape[0] = '\0';
        printf("  %-40s %-8s %-24s %s\n", item.name, item.type, shape,
               spn_cli_bytes(item.n_bytes, size));
    }
}

static void print_need(const run_need *need) {
    char text[200];
    if (need->err.status != SPN_STATUS_OK)
        printf("memory to run    unknown: %s\n", need->err.text);
    else
        printf("memory to run    %s\n", spn_cli_memory(&need->memory, text));
}

static int print_text(const spn_inspection *in, const char *path, const run_need *need, bool all) {
    char size[16];
    printf("file             %s\nsize             %s, GGUF version %u\n", path,
           spn_cli_bytes(spn_inspection_file_bytes(in), size), spn_inspection_version(in));
    print_need(need);
    print_metadata(in, all);
    print_tensors(in);
    return SPN_EXIT_OK;
}

/* ---- for programs ---- */

/* Numbers and truth values as such; texts and arrays as text. */
static json_t *value_json(const spn_metadata_item *item) {
    char *end;
    if (strcmp(item->type, "bool") == 0) return json_boolean(strcmp(item->value, "true") == 0);
    if (item->type[0] == 'f' && strpbrk(item->value, "na") == NULL)
        return json_real(strtod(item->value, &end));
    if ((item->type[0] == 'u' || item->type[0] == 'i') && strlen(item->value) < 19)
        return json_integer(strtoll(item->value, &end, 10));
    return json_string(item->value);
}

static json_t *metadata_json(const spn_inspection *in) {
    json_t *list = json_object();
    spn_metadata_item item;
    for (size_t i = 0; spn_inspection_metadata(in, i, &item); i++)
        json_object_set_new(list, item.key,
                            json_pack("{s:s, s:o}", "type", item.type, "value", value_json(&item)));
    return list;
}

static json_t *tensors_json(const spn_inspection *in) {
    json_t *list = json_array();
    spn_tensor_item item;
    for (size_t i = 0; spn_inspection_tensor(in, i, &item); i++) {
        json_t *shape = json_array();
        for (uint32_t d = 0; d < item.n_dims && d < 4; d++)
            json_array_append_new(shape, json_integer((json_int_t)item.shape[d]));
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:I}", "name", item.name, "type",
                                              item.type, "shape", shape, "bytes",
                                              (json_int_t)item.n_bytes));
    }
    return list;
}

static json_t *need_json(const run_need *need) {
    const spn_memory_need *m = &need->memory;
    if (need->err.status != SPN_STATUS_OK)
        return json_pack("{s:s, s:s}", "error", spn_status_name(need->err.status), "message",
                         need->err.text);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "total_bytes", (json_int_t)m->total,
                     "weights_bytes", (json_int_t)m->weights, "kv_bytes", (json_int_t)m->kv,
                     "scratch_bytes", (json_int_t)m->scratch, "process_bytes",
                     (json_int_t)m->process, "available_bytes", (json_int_t)m->available, "n_ctx",
                     (int)m->n_ctx);
}

static int print_json(const spn_inspection *in, const char *path, const run_need *need) {
    return spn_cli_print_json(json_pack("{s:s, s:i, s:I, s:o, s:o, s:o}", "path", path, "version",
                                        (int)spn_inspection_version(in), "file_bytes",
                                        (json_int_t)spn_inspection_file_bytes(in), "memory",
                                        need_json(need), "metadata", metadata_json(in), "tensors",
                                        tensors_json(in)),
                              true);
}

/* ---- the command ---- */

static int inspect(const char *model, const inspect_options *opt) {
    char path[4096];
    spn_inspection *in = NULL;
    spn_load_config config;
    run_need need = {0};
    spn_error err = {0};
    if (!spn_cli_model_path(model, path, sizeof path)) return SPN_EXIT_FAILED;
    if (spn_inspect(&in, path, &err) != SPN_STATUS_OK) return spn_cli_error(&err);
    spn_cli_load_config(&opt->engine, &config);
    spn_runtime_estimate(path, &config, &need.memory, &need.err);
    int code = opt->json ? print_json(in, path, &need) : print_text(in, path, &need, opt->all);
    spn_inspection_free(in);
    return code;
}

int spn_cmd_inspect(int argc, char **argv) {
    inspect_options opt = {0};
    const spn_opt options[] = {
        {"--json", NULL, SPN_OPT_FLAG, NULL, &opt.json, "print JSON"},
        {"--all", "-a", SPN_OPT_FLAG, NULL, &opt.all, "do not cut long values to one line"},
        SPN_CLI_CTX_OPTION(opt.engine),
        SPN_CLI_KV_OPTIONS(opt.engine),
        SPN_CLI_BATCH_OPTION(opt.engine),
        SPN_CLI_THREADS_OPTION(opt.engine),
    };
    const spn_cli_page page = {
        .name = "inspect",
        .usage = "FILE",
        .about =
            "Prints a GGUF file's metadata and tensors, and the memory that running it takes.\n"
            "Any GGUF file will do, also one that the engine cannot run.\n",
        .examples = "  spn-native inspect demo\n"
                    "  spn-native inspect model.gguf --ctx 8192 --kv q8_0\n"
                    "  spn-native inspect model.gguf --json | jq .memory\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    int done = spn_cli_parse(&page, argc, argv, &args);
    return done >= 0 ? done : inspect(args.items[0], &opt);
}
