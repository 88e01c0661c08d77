/* cmd_store_keep.c - rm, verify, repair, prune, import, store. SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "cli/store.h"

/* Asks on a terminal; without one the answer is yes: a script said what it wants. */
static bool confirm(const char *question) {
    char answer[16];
    if (!spn_term_is_terminal(stdin) || !spn_term_is_terminal(stderr)) return true;
    fprintf(stderr, "%s [y/N] ", question);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

/* ---- rm ---- */

static int rm(spn_storage *storage, const char *reference, bool force, bool yes) {
    spn_stored_model model;
    spn_error err = {0};
    char question[700], size[16];
    if (spn_storage_model_info(storage, reference, &model, &err) != SPN_STATUS_OK)
        return spn_store_fail(&err, false);
    snprintf(question, sizeof question, "Delete %.600s (%s)?", model.name,
             spn_cli_bytes(model.size, size));
    int code = SPN_EXIT_CANCELLED;
    if (yes || confirm(question)) {
        code = spn_storage_delete(storage, reference, force, &err) == SPN_STATUS_OK
                   ? SPN_EXIT_OK
                   : spn_store_fail(&err, false);
        if (code == SPN_EXIT_OK) fprintf(stderr, "deleted %s\n", model.name);
    }
    spn_stored_model_clear(&model);
    return code;
}

int spn_cmd_rm(int argc, char **argv) {
    bool force = false, yes = false;
    const spn_opt options[] = {
        {"--force", "-f", SPN_OPT_FLAG, NULL, &force, "also while a process has it open"},
        {"--yes", "-y", SPN_OPT_FLAG, NULL, &yes, "do not ask"},
    };
    const spn_cli_page page = {
        .name = "rm",
        .usage = "REF...",
        .about =
            "Deletes models from the store, unfinished downloads of them too. Asks first on a\n"
            "terminal.\n",
        .examples = "  spn-native rm qwen3:8b:q8_0\n",
        .options = options,
        .n_options = 2,
        .n_args_min = 1,
        .n_args_max = 1000,
    };
    spn_cli_args args;
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code >= 0) return code;
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    code = SPN_EXIT_OK;
    for (size_t i = 0; i < args.n; i++) {
        int one = rm(storage, args.items[i], force, yes);
        if (code == SPN_EXIT_OK) code = one;
    }
    spn_storage_close(storage);
    return code;
}

/* ---- verify and repair ---- */

static int verify(spn_storage *storage, const char *reference, bool json) {
    spn_store_bar bar;
    spn_error err = {0};
    char *actual = NULL;
    spn_store_bar_start(&bar, json, false);
    spn_status status =
        spn_storage_verify(storage, reference, spn_store_bar_tell, &bar, &actual, &err);
    spn_store_bar_end(&bar);
    int code = status == SPN_STATUS_OK ? SPN_EXIT_OK : spn_store_fail(&err, json);
    if (status == SPN_STATUS_OK && json)
        code = spn_cli_print_json(json_pack("{s:s, s:s, s:s}", "event", "verified", "name",
                                            reference, "sha256", actual ? actual : ""),
                                  false);
    else if (status == SPN_STATUS_OK)
        printf("%s  %s\n", actual ? actual : "", reference);
    spn_free(actual);
    return code;
}

static int repair(spn_storage *storage, const char *reference, bool json) {
    spn_store_bar bar;
    spn_error err = {0};
    uint64_t n = 0;
    char size[16];
    spn_store_bar_start(&bar, json, false);
    spn_status status = spn_storage_repair(storage, reference, spn_store_bar_tell, &bar, &n, &err);
    spn_store_bar_end(&bar);
    if (status != SPN_STATUS_OK) return spn_store_fail(&err, json);
    if (json)
        return spn_cli_print_json(json_pack("{s:s, s:s, s:I}", "event", "repaired", "name",
                                            reference, "fetched", (json_int_t)n),
                                  false);
    if (n == 0)
        fprintf(stderr, "%s: nothing was wrong\n", reference);
    else
        fprintf(stderr, "%s: repaired, %s fetched again\n", reference, spn_cli_bytes(n, size));
    return SPN_EXIT_OK;
}

/* All models that can be compared with something; the first failure is the exit code. */
static int verify_all(spn_storage *storage, bool json) {
    spn_stored_list list;
    spn_error err = {0};
    int code = SPN_EXIT_OK;
    if (spn_storage_list_models(storage, &list, &err) != SPN_STATUS_OK)
        return spn_store_fail(&err, json);
    for (size_t i = 0; i < list.n; i++) {
        if (list.items[i].state == SPN_STORED_PARTIAL) continue;
        int one = verify(storage, list.items[i].name, json);
        if (code == SPN_EXIT_OK) code = one;
        if (one == SPN_EXIT_CANCELLED) break;
    }
    spn_stored_list_clear(&list);
    return code;
}

static int verify_or_repair(int argc, char **argv, const spn_cli_page *page, const bool *json,
                            bool is_repair) {
    spn_cli_args args;
    int code = spn_cli_parse(page, argc, argv, &args);
    if (code >= 0) return code;
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    if (args.n == 0)
        code = verify_all(storage, *json);
    else
        code = is_repair ? repair(storage, args.items[0], *json)
                         : verify(storage, args.items[0], *json);
    spn_storage_close(storage);
    return code;
}

int spn_cmd_verify(int argc, char **argv) {
    bool json = false;
    const spn_opt options[] = {
        {"--json", NULL, SPN_OPT_FLAG, NULL, &json, "events as lines of JSON"},
    };
    const spn_cli_page page = {
        .name = "verify",
        .usage = "[REF]",
        .about =
            "Reads a model, or all of them, and compares the SHA-256 with what was downloaded.\n"
            "Exit code 8 when one is damaged.\n",
        .examples = "  spn-native verify\n  spn-native verify qwen3:8b\n",
        .options = options,
        .n_options = 1,
        .n_args_max = 1,
    };
    return verify_or_repair(argc, argv, &page, &json, false);
}

int spn_cmd_repair(int argc, char **argv) {
    bool json = false;
    const spn_opt options[] = {
        {"--json", NULL, SPN_OPT_FLAG, NULL, &json, "events as lines of JSON"},
    };
    const spn_cli_page page = {
        .name = "repair",
        .usage = "REF",
        .about = "Finds the damaged pieces of a model and fetches only those again.\n",
        .examples = "  spn-native repair qwen3:8b\n",
        .options = options,
        .n_options = 1,
        .n_args_min = 1,
        .n_args_max = 1,
    };
    return verify_or_repair(argc, argv, &page, &json, true);
}

/* ---- prune ---- */

int spn_cmd_prune(int argc, char **argv) {
    bool dry_run = false;
    const spn_opt options[] = {
        {"--dry-run", "-n", SPN_OPT_FLAG, NULL, &dry_run, "only say how much it would free"},
    };
    const spn_cli_page page = {
        .name = "prune",
        .usage = "",
        .about =
            "Deletes unfinished downloads, manifests without a model and empty folders. What is\n"
            "being downloaded right now is left alone.\n",
        .examples = "  spn-native prune --dry-run\n",
        .options = options,
        .n_options = 1,
    };
    spn_cli_args args;
    spn_error err = {0};
    uint64_t n = 0;
    char size[16];
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code >= 0) return code;
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    code = spn_storage_prune(storage, dry_run, &n, &err) == SPN_STATUS_OK
               ? SPN_EXIT_OK
               : spn_store_fail(&err, false);
    spn_storage_close(storage);
    if (code == SPN_EXIT_OK)
        printf("%s %s\n", spn_cli_bytes(n, size), dry_run ? "would be freed" : "freed");
    return code;
}

/* ---- import ---- */

typedef struct import_options {
    const char *name;
    bool link, move, copy, scan, adopt;
} import_options;

static int import_file(spn_storage *storage, const char *path, const import_options *opt) {
    spn_store_bar bar;
    spn_stored_model model;
    spn_error err = {0};
    spn_import_mode mode = opt->link   ? SPN_IMPORT_LINK
                           : opt->move ? SPN_IMPORT_MOVE
                                       : SPN_IMPORT_COPY;
    spn_store_bar_start(&bar, false, false);
    spn_status status =
        spn_storage_import(storage, path, opt->name, mode, spn_store_bar_tell, &bar, &model, &err);
    spn_store_bar_end(&bar);
    if (status != SPN_STATUS_OK) return spn_store_fail(&err, false);
    fprintf(stderr, "imported as %s\n", model.name);
    printf("%s\n", model.path);
    spn_stored_model_clear(&model);
    return SPN_EXIT_OK;
}

static int adopt_one(spn_storage *storage, const spn_foreign_model *m, bool may_copy) {
    spn_store_bar bar;
    spn_error err = {0};
    spn_store_bar_start(&bar, false, false);
    spn_status status = spn_storage_adopt(storage, m, may_copy, spn_store_bar_tell, &bar, &err);
    spn_store_bar_end(&bar);
    if (status != SPN_STATUS_OK) return spn_store_fail(&err, false);
    printf("%s\n", m->name);
    return SPN_EXIT_OK;
}

static int scan(spn_storage *storage, const import_options *opt) {
    spn_foreign_list list;
    spn_error err = {0};
    char size[16];
    int code = SPN_EXIT_OK;
    if (spn_storage_scan(storage, &list, &err) != SPN_STATUS_OK) return spn_store_fail(&err, false);
    for (size_t i = 0; i < list.n; i++) {
        const spn_foreign_model *m = &list.items[i];
        if (!opt->adopt) {
            printf("%-60s %10s  %-8s %s\n", m->name, spn_cli_bytes(m->size, size), m->source,
                   m->is_here ? "in the store" : m->path);
        } else if (!m->is_here) {
            int one = adopt_one(storage, m, opt->copy);
            if (code == SPN_EXIT_OK) code = one;
        }
    }
    if (list.n == 0) fprintf(stderr, "nothing found in the Hugging Face cache or Ollama's store\n");
    spn_foreign_list_clear(&list);
    return code;
}

int spn_cmd_import(int argc, char **argv) {
    import_options opt = {0};
    const spn_opt options[] = {
        {"--name", NULL, SPN_OPT_TEXT, "N", &opt.name,
         "its name in the store: OWNER/REPO/FILE.gguf"},
        {"--link", NULL, SPN_OPT_FLAG, NULL, &opt.link, "a hard link instead of a copy"},
        {"--move", NULL, SPN_OPT_FLAG, NULL, &opt.move, "move it"},
        {"--scan", NULL, SPN_OPT_FLAG, NULL, &opt.scan,
         "list what the Hugging Face cache and Ollama's store have"},
        {"--adopt", NULL, SPN_OPT_FLAG, NULL, &opt.adopt,
         "take all of that over by hard links, nothing is copied"},
        {"--copy", NULL, SPN_OPT_FLAG, NULL, &opt.copy, "with --adopt: copy where links cannot be"},
    };
    const spn_cli_page page = {
        .name = "import",
        .usage = "[FILE]",
        .about =
            "Takes a GGUF file into the store, hashed on the way. A split model comes with all\n"
            "its files. Other programs' stores are only read.\n",
        .examples = "  spn-native import ~/Downloads/model-Q4_K_M.gguf --link\n"
                    "  spn-native import --scan\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_max = 1,
    };
    spn_cli_args args;
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code >= 0) return code;
    bool others = opt.scan || opt.adopt;
    if (others ? args.n > 0 : args.n == 0)
        return spn_cli_usage("import", "give a FILE, or --scan, or --adopt");
    if (opt.link && opt.move) return spn_cli_usage("import", "--link or --move, not both");
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    code = others ? scan(storage, &opt) : import_file(storage, args.items[0], &opt);
    spn_storage_close(storage);
    return code;
}

/* ---- store ---- */

static int print_store(spn_storage *storage) {
    spn_stored_list list;
    spn_error err = {0};
    uint64_t total = 0;
    char text[16];
    if (spn_storage_list_models(storage, &list, &err) != SPN_STATUS_OK)
        return spn_store_fail(&err, false);
    size_t n = list.n;
    for (size_t i = 0; i < n; i++)
        total +=
            list.items[i].state == SPN_STORED_PARTIAL ? list.items[i].n_done : list.items[i].size;
    spn_stored_list_clear(&list);
    printf("folder   %s\nmodels   %zu, %s\n", spn_storage_dir(storage), n,
           spn_cli_bytes(total, text));
    return SPN_EXIT_OK;
}

/* Where the store is now, for the next command; not when SPN_MODELS_DIR says it anyway. */
static void note_location(const char *dir) {
    char path[4096];
    FILE *file = spn_store_location_file(path, sizeof path) ? fopen(path, "wb") : NULL;
    bool ok = file != NULL && fprintf(file, "%s\n", dir) > 0;
    if (file != NULL && fclose(file) != 0) ok = false;
    fprintf(stderr, "the store is in %s now%s\n", dir,
            ok ? "" : "; set SPN_MODELS_DIR to it, the place could not be noted down");
}

static int move_store(spn_storage *storage, const char *dir) {
    spn_store_bar bar;
    spn_error err = {0};
    spn_store_bar_start(&bar, false, false);
    spn_status status = spn_storage_move(storage, dir, spn_store_bar_tell, &bar, &err);
    spn_store_bar_end(&bar);
    if (status != SPN_STATUS_OK) return spn_store_fail(&err, false);
    note_location(spn_storage_dir(storage));
    return SPN_EXIT_OK;
}

int spn_cmd_store(int argc, char **argv) {
    const char *dir = NULL;
    const spn_opt options[] = {
        {"--move", NULL, SPN_OPT_TEXT, "DIR", &dir, "move the store to an empty or new folder"},
    };
    const spn_cli_page page = {
        .name = "store",
        .usage = "",
        .about =
            "Prints where the store is and how much is in it, or moves it. SPN_MODELS_DIR goes\n"
            "before the place that --move notes down.\n",
        .examples = "  spn-native store\n  spn-native store --move /big/models\n",
        .options = options,
        .n_options = 1,
    };
    spn_cli_args args;
    int code = spn_cli_parse(&page, argc, argv, &args);
    if (code >= 0) return code;
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    code = dir != NULL ? move_store(storage, dir) : print_store(storage);
    spn_storage_close(storage);
    return code;
}
