/* cmd_store_pull.c - pull. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/store.h"

typedef struct pull_options {
    const char *quant, *revision, *rate;
    bool force, dry_run, json, quiet, best, no_projector, no_wait;
    uint32_t n_ctx;
    spn_store_flags flags;
    int32_t retries;
} pull_options;

static json_t *plan_json(const spn_download_plan *plan) {
    json_t *files = json_array();
    for (size_t i = 0; i < plan->n_files; i++) {
        const spn_planned_file *f = &plan->files[i];
        json_array_append_new(files, json_pack("{s:s, s:I, s:s, s:b, s:I}", "path", f->path, "size",
                                               (json_int_t)f->size, "sha256", f->sha256, "is_here",
                                               f->is_here, "done", (json_int_t)f->n_done));
    }
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:b, s:b}", "event", "plan", "repo",
        plan->repo, "commit", plan->revision, "name", plan->name, "quantization",
        spn_quantization_name(plan->quantization), "files", files, "total", (json_int_t)plan->total,
        "to_fetch", (json_int_t)plan->to_fetch, "disk_available", (json_int_t)plan->disk_available,
        "fits_disk", plan->fits_disk, "gated", plan->gated);
    if (root != NULL && plan->has_memory) {
        json_object_set_new(root, "memory_needed", json_integer((json_int_t)plan->memory.total));
        json_object_set_new(root, "fits_memory", json_boolean(plan->memory.fits));
    }
    if (root != NULL && plan->notice[0])
        json_object_set_new(root, "notice", json_string(plan->notice));
    return root;
}

static void print_plan(const spn_download_plan *plan) {
    char a[16], b[16];
    printf("repository  %s\ncommit      %s\nname        %s\n", plan->repo,
           plan->revision[0] ? plan->revision : "-", plan->name);
    for (size_t i = 0; i < plan->n_files; i++) {
        const spn_planned_file *f = &plan->files[i];
        printf("file        %s  %llu bytes (%s)%s%s%s\n", f->path, (unsigned long long)f->size,
               spn_cli_bytes(f->size, a),
               f->is_here  ? ", here"
               : f->n_done ? ", here: "
                           : "",
               !f->is_here && f->n_done ? spn_cli_bytes(f->n_done, b) : "",
               f->sha256[0] ? "" : ", without a SHA-256");
    }
    printf("total       %llu bytes (%s), to fetch: %s\n", (unsigned long long)plan->total,
           spn_cli_bytes(plan->total, a), spn_cli_bytes(plan->to_fetch, b));
    printf("disk        %s free: %s\n", spn_cli_bytes(plan->disk_available, a),
           plan->fits_disk ? "it fits" : "it does not fit");
    if (plan->has_memory)
        printf("memory      %s needed with %u tokens: %s\n", spn_cli_bytes(plan->memory.total, a),
               plan->memory.n_ctx, plan->memory.fits ? "it fits" : "it does not fit now");
    if (plan->gated) printf("gated       the licence must be accepted on the repository's page\n");
    if (plan->notice[0]) printf("notice      %s\n", plan->notice);
}

/* What fits: every quantization the catalogue knows of this model. */
static void print_choices(const spn_known_model *model, uint32_t n_ctx) {
    spn_ram_info ram;
    if (model == NULL || spn_detect_ram(&ram, NULL) != SPN_STATUS_OK) return;
    for (size_t i = 0; i < model->n_files; i++) {
        spn_memory_estimate need;
        char a[16];
        spn_quantization q = model->files[i].quantization;
        if (spn_known_model_memory(model, q, ram.available, n_ctx, &need))
            printf("choice      %-8s needs %s of memory: %s\n", spn_quantization_name(q),
                   spn_cli_bytes(need.total, a), need.fits ? "fits" : "does not fit now");
    }
}

static int dry_run(spn_storage *storage, const spn_download_request *request, bool json) {
    spn_download_plan plan;
    spn_error err = {0};
    if (spn_storage_plan(storage, request, &plan, &err) != SPN_STATUS_OK)
        return spn_store_fail(&err, json);
    int code = SPN_EXIT_OK;
    if (json) {
        code = spn_cli_print_json(plan_json(&plan), false);
    } else {
        spn_resolved_model r;
        print_plan(&plan);
        if (spn_resolve_model(request->reference, &r, NULL) == SPN_STATUS_OK)
            print_choices(r.model, request->n_ctx);
    }
    spn_download_plan_clear(&plan);
    return code;
}

static int download(spn_storage *storage, const spn_download_request *request,
                    const pull_options *opt) {
    spn_store_bar bar;
    spn_download_result result;
    spn_error err = {0};
    char size[16];
    spn_store_bar_start(&bar, opt->json, opt->quiet);
    spn_status status =
        spn_storage_download(storage, request, spn_store_bar_tell, &bar, &result, &err);
    spn_store_bar_end(&bar);
    if (status != SPN_STATUS_OK) return spn_store_fail(&err, opt->json);
    int code = SPN_EXIT_OK;
    if (result.notice[0]) {
        fputs("spn-native: note: ", stderr);
        spn_store_print(stderr, result.notice);
        fputc('\n', stderr);
    }
    if (opt->json) {
        code = spn_cli_print_json(
            json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:b, s:i, s:I}", "event",
                      result.cached ? "cached" : "complete", "name", result.name, "path",
                      result.path, "size", (json_int_t)result.size, "sha256", result.checksum,
                      "commit", result.revision, "cached", result.cached, "files",
                      (int)result.n_files, "fetched", (json_int_t)result.fetched),
            false);
    } else {
        if (!opt->quiet)
            fprintf(stderr, "%s: %s, %s\n", result.name, spn_cli_bytes(result.size, size),
                    result.cached ? "already here" : "verified");
        printf("%s\n", result.path);
    }
    spn_download_result_clear(&result);
    return code;
}

static int run(const char *reference, pull_options *opt) {
    spn_download_request request = {
        .reference = reference,
        .revision = opt->revision,
        .force = opt->force,
        .n_ctx = opt->n_ctx,
        .no_projector = opt->no_projector,
        .best_that_fits = opt->best,
    };
    spn_resolved_model r;
    spn_error err = {0};
    int code = SPN_EXIT_FAILED;
    if (opt->quant != NULL && strcmp(opt->quant, "auto") == 0) {
        request.best_that_fits = true;
    } else if (opt->quant != NULL) {
        request.quantization = spn_quantization_parse(opt->quant);
        if (request.quantization == SPN_QUANTIZATION_NONE)
            return spn_cli_usage("pull", "%s is no quantization", opt->quant);
    }
    if (opt->rate != NULL && !spn_store_parse_bytes(opt->rate, &opt->flags.rate_limit))
        return spn_cli_usage("pull", "--limit-rate %s is no number of bytes; 10M and 500k are",
                             opt->rate);
    opt->flags.n_retries = opt->retries > 0 ? (uint32_t)opt->retries : 0;
    opt->flags.no_retries = opt->retries == 0;
    opt->flags.no_wait = opt->no_wait;
    if (spn_resolve_model(reference, &r, &err) != SPN_STATUS_OK)
        return spn_store_fail(&err, opt->json);
    if (r.model != NULL && r.model->stands_for != NULL)
        fprintf(stderr, "spn-native: note: %s: %s\n", r.model->id, r.model->stands_for);
    spn_storage *storage = spn_store_open(&opt->flags, &code);
    if (storage == NULL) return code;
    code = opt->dry_run ? dry_run(storage, &request, opt->json) : download(storage, &request, opt);
    spn_storage_close(storage);
    return code;
}

int spn_cmd_pull(int argc, char **argv) {
    pull_options opt = {.retries = -1};
    const spn_opt options[] = {
        {"--quant", "-q", SPN_OPT_TEXT, "Q", &opt.quant,
         "quantization: Q4_K_M, Q8_0 ...; auto: the best that fits in memory"},
        {"--force", "-f", SPN_OPT_FLAG, NULL, &opt.force, "fetch it again although it is here"},
        {"--revision", NULL, SPN_OPT_TEXT, "R", &opt.revision, "branch, tag or commit"},
        {"--connections", "-c", SPN_OPT_U32, "N", &opt.flags.n_connections,
         "parallel ranges of a file, 1 to 16 (4)"},
        {"--limit-rate", NULL, SPN_OPT_TEXT, "R", &opt.rate, "bytes a second: 10M, 500k"},
        {"--dry-run", "-n", SPN_OPT_FLAG, NULL, &opt.dry_run,
         "print what would be done: files, bytes, room, what fits"},
        {"--ctx", NULL, SPN_OPT_U32, "N", &opt.n_ctx, "tokens to leave memory for (4096)"},
        {"--no-projector", NULL, SPN_OPT_FLAG, NULL, &opt.no_projector,
         "leave a vision model's image encoder out"},
        {"--no-wait", NULL, SPN_OPT_FLAG, NULL, &opt.no_wait,
         "fail when another process is fetching it"},
        {"--retries", NULL, SPN_OPT_I32, "N", &opt.retries, "failures without progress (6)"},
        {"--retry-pause", NULL, SPN_OPT_U32, "MS", &opt.flags.retry_pause_ms,
         "first pause after a failure; doubles (500)"},
        {"--timeout", NULL, SPN_OPT_U32, "S", &opt.flags.timeout_s,
         "seconds without data before a new try (30)"},
        {"--json", NULL, SPN_OPT_FLAG, NULL, &opt.json, "events as lines of JSON"},
        {"--quiet", NULL, SPN_OPT_FLAG, NULL, &opt.quiet, "no progress"},
    };
    const spn_cli_page page = {
        .name = "pull",
        .usage = "REF",
        .about =
            "Makes a model be in the store and prints its path. A model that is here already is "
            "not\n"
            "asked for again; an interrupted download goes on where it stopped. What arrives is\n"
            "checked against its SHA-256 before it gets its name.\n\n"
            "REF is an id of the catalog, hf:OWNER/REPO, hf:OWNER/REPO:QUANT,\n"
            "hf:OWNER/REPO/FILE.gguf, each with @REVISION where wanted, or the address that a\n"
            "browser shows. HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY and SSL_CERT_FILE\n"
            "count; SPN_MODELS_DIR is the store.\n\n"
            "Exit codes: 0 done, 2 bad command line, 3 not found, 4 not authorised, 5 licence to "
            "be\n"
            "accepted, 6 rate limit, 7 disk full, 8 wrong checksum, 9 offline, 10 network, 11 "
            "busy,\n"
            "130 cancelled, 1 anything else.\n",
        .examples = "  spn-native pull qwen3:0.6b\n"
                    "  spn-native pull qwen3:8b --quant auto --dry-run\n"
                    "  spn-native pull hf:bartowski/phi-4-GGUF:Q5_K_M --limit-rate 10M\n",
        .options = options,
        .n_options = sizeof options / sizeof options[0],
        .n_args_min = 1,
        .n_args_max = 1,
    };
    spn_cli_args args;
    int done = spn_cli_parse(&page, argc, argv, &args);
    if (done < 0 && opt.flags.n_connections > 16)
        return spn_cli_usage(page.name, "--connections is at most 16");
    return done >= 0 ? done : run(args.items[0], &opt);
}
