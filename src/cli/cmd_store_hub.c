/* cmd_store_hub.c - catalog, search, outdated, doctor. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/store.h"

/* ---- catalog ---- */

static json_t *known_json(const spn_known_model *m) {
    json_t *files = json_array();
    for (size_t i = 0; i < m->n_files; i++) {
        const spn_known_file *f = &m->files[i];
        json_t *file = json_pack("{s:s, s:s}", "quantization",
                                 spn_quantization_name(f->quantization), "filename", f->filename);
        if (f->n_bytes) json_object_set_new(file, "size", json_integer((json_int_t)f->n_bytes));
        if (f->sha256) json_object_set_new(file, "sha256", json_string(f->sha256));
        if (f->repo) json_object_set_new(file, "repo", json_string(f->repo));
        json_array_append_new(files, file);
    }
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:o, s:f, s:i, s:s, s:s}", "id", m->id, "name", m->name, "type",
        spn_model_type_name(m->type), "architecture", m->architecture, "repo", m->hf_repo, "files",
        files, "parameters_billions", m->param_billions, "min_ram_gib", (int)m->min_ram_gb,
        "license", m->license, "description", m->description);
    if (root != NULL && m->stands_for)
        json_object_set_new(root, "stands_for", json_string(m->stands_for));
    return root;
}

static void print_known(const spn_known_model *m) {
    printf("%-22s %-9s %6gB %4u GiB  %-12s %s\n", m->id, spn_model_type_name(m->type),
           m->param_billions, m->min_ram_gb, m->license, m->description);
    if (m->stands_for) printf("%-22s %s\n", "", m->stands_for);
}

int spn_cmd_catalog(int argc, char **argv) {
    bool json = false;
    const char *type_name = NULL;
    const spn_opt options[] = {
        {"--type", NULL, SPN_OPT_TEXT, "T", &type_name,
         "only text, vision, embedding, audio or diffusion"},
        {"--json", NULL, SPN_OPT_FLAG, NULL, &json, "print JSON"},
    };
    const spn_cli_page page = {
        .name = "catalog",
        .usage = "",
        .about =
            "Lists the models known by a short id: type, parameters, least memory, licence. Ids\n"
            "whose model was never published say what they lead to.\n",
        .examples = "  spn-native catalog --type vision\n",
        .options = options,
        .n_options = 2,
    };
    spn_cli_args args;
    spn_model_type type = SPN_MODEL_TYPE_COUNT;
    size_t n;
    int done = spn_cli_parse(&page, argc, argv, &args);
    if (done >= 0) return done;
    if (type_name != NULL && !spn_model_type_parse(type_name, &type))
        return spn_cli_usage("catalog", "there is no type %s", type_name);
    const spn_known_model *models = spn_known_models(&n);
    json_t *all = json ? json_array() : NULL;
    for (size_t i = 0; i < n; i++) {
        if (type != SPN_MODEL_TYPE_COUNT && models[i].type != type) continue;
        if (json)
            json_array_append_new(all, known_json(&models[i]));
        else
            print_known(&models[i]);
    }
    return json ? spn_cli_print_json(all, true) : SPN_EXIT_OK;
}

/* ---- search ---- */

static int print_hits(const spn_search_list *list, bool json) {
    json_t *all = json ? json_array() : NULL;
    for (size_t i = 0; i < list->n; i++) {
        const spn_search_hit *hit = &list->items[i];
        if (json) {
            json_array_append_new(all, json_pack("{s:s, s:I, s:I, s:b, s:s}", "repo", hit->repo,
                                                 "downloads", (json_int_t)hit->downloads, "likes",
                                                 (json_int_t)hit->likes, "gated", hit->gated,
                                                 "modified", hit->modified));
            continue;
        }
        printf("hf:%-60s %10llu downloads%s\n", hit->repo, (unsigned long long)hit->downloads,
               hit->gated ? ", gated" : "");
    }
    if (!json && list->n == 0) fprintf(stderr, "nothing found\n");
    return json ? spn_cli_print_json(all, true) : SPN_EXIT_OK;
}

int spn_cmd_search(int argc, char **argv) {
    bool json = false;
    uint32_t limit = 0;
    const spn_opt options[] = {
        {"--limit", "-n", SPN_OPT_U32, "N", &limit, "most results, up to 100 (20)"},
        {"--json", NULL, SPN_OPT_FLAG, NULL, &json, "print JSON"},
    };
    const spn_cli_page page = {
        .name = "search",
        .usage = "WORDS...",
        .about = "Searches the hub for repositories with GGUF files, the most downloaded first.\n",
        .examples = "  spn-native search qwen3 coder\n",
        .options = options,
        .n_options = 2,
        .n_args_min = 1,
        .n_args_max = 100,
    };
    spn_cli_args args;
    spn_search_list list;
    spn_error err = {0};
    char words[1000] = "";
    size_t len = 0;
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code >= 0) return code;
    for (size_t i = 0; i < args.n && len + 1 < sizeof words; i++) {
        int n = snprintf(words + len, sizeof words - len, "%s%s", i ? " " : "", args.items[i]);
        len += n > 0 ? (size_t)n : 0;
    }
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    if (spn_storage_search(storage, words, limit, &list, &err) == SPN_STATUS_OK) {
        code = print_hits(&list, json);
        spn_search_list_clear(&list);
    } else {
        code = spn_store_fail(&err, false);
    }
    spn_storage_close(storage);
    return code;
}

/* ---- outdated ---- */

static int print_outdated(const spn_outdated_list *list, bool json) {
    json_t *all = json ? json_array() : NULL;
    for (size_t i = 0; i < list->n; i++) {
        const spn_outdated_model *m = &list->items[i];
        if (json)
            json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", m->name,
                                                 "revision", m->revision, "have", m->have, "latest",
                                                 m->latest, "commit", m->latest_commit));
        else
            printf("%s  %s\n", m->name,
                   m->latest[0] ? "has a newer file on the hub; pull --force replaces it"
                                : "is no longer on the hub");
    }
    if (!json) fprintf(stderr, "%zu checked, %zu outdated\n", list->n_checked, list->n);
    return json ? spn_cli_print_json(all, true) : SPN_EXIT_OK;
}

int spn_cmd_outdated(int argc, char **argv) {
    bool json = false;
    const spn_opt options[] = {
        {"--json", NULL, SPN_OPT_FLAG, NULL, &json, "print JSON"},
    };
    const spn_cli_page page = {
        .name = "outdated",
        .usage = "",
        .about = "Lists the models that have another file on the hub now, at the branch they were\n"
                 "taken from. Nothing is changed.\n",
        .examples = "  spn-native outdated\n",
        .options = options,
        .n_options = 1,
    };
    spn_cli_args args;
    spn_outdated_list list;
    spn_error err = {0};
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code >= 0) return code;
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    if (spn_storage_outdated(storage, &list, &err) == SPN_STATUS_OK) {
        code = print_outdated(&list, json);
        spn_outdated_list_clear(&list);
    } else {
        code = spn_store_fail(&err, false);
    }
    spn_storage_close(storage);
    return code;
}

/* ---- doctor ---- */

static void print_fitting(uint64_t available) {
    size_t n;
    const spn_known_model *models = spn_known_models(&n);
    printf("fits now     ");
    for (size_t i = 0, shown = 0; i < n; i++) {
        spn_memory_estimate need;
        if (models[i].stands_for || strncmp(models[i].id, "test:", 5) == 0) continue;
        spn_quantization q = spn_auto_select_quantization(&models[i], available, 4096, &need);
        if (q == SPN_QUANTIZATION_NONE || !need.fits) continue;
        printf("%s%s:%s", shown++ ? ", " : "", models[i].id, spn_quantization_name(q));
    }
    printf("\n");
}

static void print_health(const spn_storage *storage, const spn_storage_health *h) {
    char a[16], b[16];
    spn_ram_info ram;
    printf("store        %s\n", spn_storage_dir(storage));
    printf("disk         %s free of %s, %s\n", spn_cli_bytes(h->disk_available, a),
           spn_cli_bytes(h->disk_total, b), h->writable ? "writable" : h->write_problem);
    if (h->reachable)
        printf("network      the hub answers, %u ms\n", h->latency_ms);
    else
        printf("network      %s\n", h->network_problem);
    printf("proxy        %s\n", h->proxy[0] ? h->proxy : "none");
    printf("certificates %s\n", h->certificates[0] ? h->certificates : "the system's");
    printf("token        %s\n", h->token_state);
    if (spn_detect_ram(&ram, NULL) != SPN_STATUS_OK) return;
    printf("memory       %s available of %s\n", spn_cli_bytes(ram.available, a),
           spn_cli_bytes(ram.total, b));
    print_fitting(ram.available);
}

int spn_cmd_doctor(int argc, char **argv) {
    const spn_cli_page page = {
        .name = "doctor",
        .usage = "",
        .about =
            "Checks what downloads depend on: room and rights on the disk, the hub's reach, the\n"
            "proxy and certificates in use, the token, memory, and which models fit in it.\n",
        .examples = "  spn-native doctor\n",
    };
    spn_cli_args args;
    spn_storage_health health;
    spn_error err = {0};
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code >= 0) return code;
    const spn_store_flags flags = {.n_retries = 1};
    spn_storage *storage = spn_store_open(&flags, &code);
    if (storage == NULL) return code;
    if (spn_storage_doctor(storage, &health, &err) != SPN_STATUS_OK) {
        code = spn_store_fail(&err, false);
    } else {
        print_health(storage, &health);
        bool offline = strstr(health.network_problem, "switched off") != NULL;
        bool refused = strncmp(health.token_state, "refused", 7) == 0;
        code = refused                       ? SPN_EXIT_UNAUTHORIZED
               : !health.writable            ? SPN_EXIT_FAILED
               : health.reachable || offline ? SPN_EXIT_OK
                                             : SPN_EXIT_NETWORK;
    }
    spn_storage_close(storage);
    return code;
}
