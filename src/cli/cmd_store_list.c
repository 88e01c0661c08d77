/* cmd_store_list.c - list, show, path. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/store.h"

static json_t *model_json(const spn_stored_model *m) {
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I}", "name",
        m->name, "path", m->path, "size", (json_int_t)m->size, "done", (json_int_t)m->n_done,
        "state", spn_stored_state_name(m->state), "quantization",
        spn_quantization_name(m->quantization), "parameters", m->parameters, "sha256", m->digest,
        "repo", m->repo, "revision", m->revision, "commit", m->commit, "source", m->source, "id",
        m->known_id, "files", (int)m->n_files, "installed_at", (json_int_t)m->installed_at,
        "verified_at", (json_int_t)m->verified_at);
}

static int print_list(const spn_stored_list *list, const char *dir) {
    char size[16], date[16];
    if (list->n == 0) {
        fprintf(stderr, "no models in %s; spn-native catalog lists what can be pulled\n", dir);
        return SPN_EXIT_OK;
    }
    printf("%-60s %10s  %-8s %-10s %s\n", "NAME", "SIZE", "QUANT", "SINCE", "STATE");
    for (size_t i = 0; i < list->n; i++) {
        const spn_stored_model *m = &list->items[i];
        printf("%-60s %10s  %-8s %-10s %s", m->name, spn_cli_bytes(m->size, size),
               m->quantization ? spn_quantization_name(m->quantization) : "-",
               spn_store_date(m->installed_at, date), spn_stored_state_name(m->state));
        if (m->state == SPN_STORED_PARTIAL && m->size > 0)
            printf(" %.0f%%", (double)m->n_done * 100 / (double)m->size);
        printf("\n");
    }
    return SPN_EXIT_OK;
}

static int list_models(bool json) {
    int code = SPN_EXIT_FAILED;
    spn_stored_list list;
    spn_error err = {0};
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    if (spn_storage_list_models(storage, &list, &err) != SPN_STATUS_OK) {
        code = spn_store_fail(&err, false);
    } else {
        if (json) {
            json_t *all = json_array();
            for (size_t i = 0; i < list.n; i++)
                json_array_append_new(all, model_json(&list.items[i]));
            code = spn_cli_print_json(all, true);
        } else {
            code = print_list(&list, spn_storage_dir(storage));
        }
        spn_stored_list_clear(&list);
    }
    spn_storage_close(storage);
    return code;
}

int spn_cmd_list(int argc, char **argv) {
    bool json = false;
    const spn_opt options[] = {
        {"--json", NULL, SPN_OPT_FLAG, NULL, &json, "print JSON; sizes in bytes"},
    };
    const spn_cli_page page = {
        .name = "list",
        .usage = "",
        .about = "Lists the models in the store, unfinished downloads too.\n",
        .examples = "  spn-native list\n  spn-native list --json\n",
        .options = options,
        .n_options = 1,
    };
    spn_cli_args args;
    int done = spn_cli_parse(&page, argc, argv, &args);
    return done >= 0 ? done : list_models(json);
}

/* ---- show ---- */

static void line(const char *label, const char *text) {
    if (text == NULL || text[0] == '\0') return;
    printf("%-14s", label);
    spn_store_print(stdout, text);
    printf("\n");
}

static void print_stored(const spn_stored_model *m) {
    char size[16], date[16], text[64];
    line("name", m->name);
    line("path", m->path);
    snprintf(text, sizeof text, "%llu bytes (%s) in %zu file%s", (unsigned long long)m->size,
             spn_cli_bytes(m->size, size), m->n_files, m->n_files == 1 ? "" : "s");
    line("size", text);
    line("state", spn_stored_state_name(m->state));
    line("quantization", spn_quantization_name(m->quantization));
    line("parameters", m->parameters);
    line("sha256", m->digest);
    line("repository", m->repo);
    line("revision", m->revision);
    line("commit", m->commit);
    line("source", m->source);
    line("installed", spn_store_date(m->installed_at, date));
    line("verified", spn_store_date(m->verified_at, date));
}

static void print_known(const spn_known_model *m) {
    char text[64];
    line("id", m->id);
    line("model", m->name);
    line("type", spn_model_type_name(m->type));
    line("architecture", m->architecture);
    line("from", m->hf_repo);
    snprintf(text, sizeof text, "%g billion", m->param_billions);
    line("parameters", text);
    snprintf(text, sizeof text, "%u GiB at least", m->min_ram_gb);
    line("memory", text);
    line("licence", m->license);
    line("about", m->description);
    line("note", m->stands_for);
    for (size_t i = 0; i < m->n_files; i++) {
        printf("%-14s%s  %s", "file", spn_quantization_name(m->files[i].quantization),
               m->files[i].filename);
        if (m->files[i].n_bytes) printf("  %llu bytes", (unsigned long long)m->files[i].n_bytes);
        printf("\n");
    }
}

static int show(const char *reference, bool json) {
    int code = SPN_EXIT_FAILED;
    spn_stored_model model;
    spn_resolved_model r;
    spn_error err = {0};
    if (spn_resolve_model(reference, &r, &err) != SPN_STATUS_OK) return spn_store_fail(&err, false);
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    spn_status status = spn_storage_model_info(storage, reference, &model, &err);
    bool known = r.kind == SPN_REFERENCE_CURATED;
    if (status == SPN_STATUS_OK) {
        code = SPN_EXIT_OK;
        if (json)
            code = spn_cli_print_json(model_json(&model), true);
        else
            print_stored(&model);
        spn_stored_model_clear(&model);
    } else if (status == SPN_STATUS_MODEL_NOT_FOUND && known && !json) {
        print_known(r.model);
        line("state", "not in the store");
        code = SPN_EXIT_OK;
    } else {
        code = spn_store_fail(&err, false);
    }
    spn_storage_close(storage);
    return code;
}

int spn_cmd_show(int argc, char **argv) {
    bool json = false;
    const spn_opt options[] = {
        {"--json", NULL, SPN_OPT_FLAG, NULL, &json, "print JSON; only for what is in the store"},
    };
    const spn_cli_page page = {
        .name = "show",
        .usage = "REF",
        .about =
            "Shows a model of the store: where it is, where it came from, its SHA-256; or what\n"
            "the catalog knows about one that is not here.\n",
        .examples = "  spn-native show qwen3:8b\n",
        .options = options,
        .n_options = 1,
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    int done = spn_cli_parse(&page, argc, argv, &args);
    return done >= 0 ? done : show(args.items[0], json);
}

/* ---- path ---- */

int spn_cmd_path(int argc, char **argv) {
    const spn_cli_page page = {
        .name = "path",
        .usage = "REF",
        .about =
            "Prints the path of a model's (first) file in the store. Never uses the network.\n",
        .examples = "  spn-native path qwen3:8b\n",
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    spn_error err = {0};
    char *path;
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code >= 0) return code;
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    if (spn_storage_locate(storage, args.items[0], &path, &err) == SPN_STATUS_OK) {
        printf("%s\n", path);
        spn_free(path);
        code = SPN_EXIT_OK;
    } else {
        code = spn_store_fail(&err, false);
    }
    spn_storage_close(storage);
    return code;
}
