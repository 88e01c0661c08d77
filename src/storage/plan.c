/* plan.c - which files a request means: by name, by quantization, with parts and projector.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The repository's real listing decides. A file name of the catalogue is only a hint: where it is
 * gone, the file of the same quantization is taken. Of split models all parts must be listed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/plan.h"

#define NEAR_FILES 1000 /* of a listing are looked at for near names */

static const char *base_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* GGUF files that are no models of their own. */
static bool is_companion(const char *path) {
    static const char *const starts[] = {"mmproj",  "imatrix", "mtp-",
                                         "eagle3-", "dflash-", "dspark-"};
    const char *base = base_of(path);
    for (size_t i = 0; i < SPN_COUNT(starts); i++)
        if (spn_ascii_starts(base, starts[i])) return true;
    for (const char *c = base; *c; c++)
        if (spn_ascii_starts(c, "mmproj") || spn_ascii_starts(c, "imatrix")) return true;
    return false;
}

/* A file that stands for a model: no companion, and of a split model the first part. */
static bool is_model(const char *path) {
    spn_split split;
    if (!spn_name_is_gguf(path) || is_companion(path)) return false;
    return !spn_split_parse(path, &split) || split.no == 1;
}

/* ---- the request ---- */

static spn_status take_reference(spn_target *t, const spn_download_request *request,
                                 spn_error *err) {
    spn_resolved_model r;
    SPN_TRY(spn_resolve_model(request->reference, &r, err));
    if (r.kind == SPN_REFERENCE_PATH || (r.kind == SPN_REFERENCE_STORED && r.repo[0] == '\0'))
        return SPN_FAIL(err, INVALID_ARGUMENT,
                        "%.200s names no model of the hub: the forms are an id of the catalogue "
                        "(qwen3:8b), hf:OWNER/REPO[:QUANT] and hf:OWNER/REPO/FILE.gguf",
                        request->reference);
    t->resolved = r;
    if (r.kind == SPN_REFERENCE_STORED) t->resolved.kind = SPN_REFERENCE_HUGGINGFACE;
    return SPN_STATUS_OK;
}

static spn_status take_repo(spn_target *t, const spn_download_request *request, spn_error *err) {
    spn_resolved_model *r = &t->resolved;
    r->kind = SPN_REFERENCE_HUGGINGFACE;
    const char *problem = spn_repo_problem(request->hf_repo);
    if (problem == NULL && request->filename != NULL) problem = spn_path_problem(request->filename);
    if (problem != NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.200s %.200s cannot be downloaded: %s",
                        request->hf_repo, request->filename ? request->filename : "", problem);
    snprintf(r->repo, sizeof r->repo, "%s", request->hf_repo);
    snprintf(r->file, sizeof r->file, "%s", request->filename ? request->filename : "");
    return SPN_STATUS_OK;
}

static spn_status memory_for(spn_target *t, const spn_download_request *request, spn_error *err) {
    spn_ram_info ram = {.available = request->available_memory};
    if (ram.available == 0) SPN_TRY(spn_detect_ram(&ram, err));
    t->available = ram.available;
    return SPN_STATUS_OK;
}

/* The quantization for "the best that fits", and the repository it is in. */
static void choose_known(spn_target *t, const spn_download_request *request) {
    spn_resolved_model *r = &t->resolved;
    const spn_known_model *model = r->model;
    if (t->available > 0)
        r->quantization = spn_auto_select_quantization(model, t->available, request->n_ctx, NULL);
    t->hint = r->quantization != SPN_QUANTIZATION_NONE
                  ? spn_filename_for_quant(model, r->quantization)
                  : &model->files[0];
    snprintf(r->repo, sizeof r->repo, "%s",
             t->hint != NULL && t->hint->repo != NULL ? t->hint->repo : model->hf_repo);
}

spn_status spn_target_of(spn_target *t, const spn_download_request *request, spn_error *err) {
    *t = (spn_target){0};
    spn_resolved_model *r = &t->resolved;
    if (request->reference != NULL) {
        SPN_TRY(take_reference(t, request, err));
    } else if (request->model != NULL) {
        r->kind = SPN_REFERENCE_CURATED;
        r->model = request->model;
    } else if (request->hf_repo != NULL) {
        SPN_TRY(take_repo(t, request, err));
    } else {
        return SPN_FAIL(err, INVALID_ARGUMENT,
                        "the request names neither a reference nor a model nor a repository");
    }
    if (request->quantization != SPN_QUANTIZATION_NONE) r->quantization = request->quantization;
    if (request->revision != NULL && request->revision[0]) {
        const char *problem = spn_revision_problem(request->revision);
        if (problem != NULL)
            return SPN_FAIL(err, INVALID_ARGUMENT, "the revision %.200s cannot be used: %s",
                            request->revision, problem);
        snprintf(r->revision, sizeof r->revision, "%s", request->revision);
    }
    bool best = request->best_that_fits && r->quantization == SPN_QUANTIZATION_NONE;
    if (best && r->file[0] == '\0') SPN_TRY(memory_for(t, request, err));
    if (r->kind == SPN_REFERENCE_CURATED) choose_known(t, request);
    const char *from_file = r->model != NULL ? r->model->id : r->repo;
    snprintf(t->label, sizeof t->label, "%.200s%s%.100s%s%s", from_file, r->file[0] ? "/" : "",
             r->file, r->quantization ? ":" : "",
             r->quantization ? spn_quantization_name(r->quantization) : "");
    return SPN_STATUS_OK;
}

/* ---- choosing from the listing ---- */

static const spn_hub_file *find_exact(const spn_hub_listing *listing, const char *path) {
    const spn_hub_file *other_case = NULL, *by_base = NULL;
    for (size_t i = 0; i < listing->n; i++) {
        const spn_hub_file *file = &listing->files[i];
        if (strcmp(file->path, path) == 0) return file;
        if (spn_ascii_equal(file->path, path)) other_case = file;
        if (spn_ascii_equal(base_of(file->path), path) && by_base == NULL) by_base = file;
    }
    return other_case != NULL ? other_case : by_base;
}

/* Of several files of one quantization: the one with the shortest name, which is the plain one. */
static const spn_hub_file *find_quantization(const spn_hub_listing *listing,
                                             spn_quantization quantization) {
    const spn_hub_file *best = NULL;
    for (size_t i = 0; i < listing->n; i++) {
        const spn_hub_file *file = &listing->files[i];
        if (!is_model(file->path) || spn_extract_quantization(file->path) != quantization) continue;
        size_t n = strlen(file->path), n_best = best != NULL ? strlen(best->path) : SIZE_MAX;
        if (n < n_best || (n == n_best && strcmp(file->path, best->path) < 0)) best = file;
    }
    return best;
}

/* Nearest to Q4_K_M in quality; of two equally near the better one. */
static const spn_hub_file *find_usual(const spn_hub_listing *listing) {
    const spn_hub_file *best = NULL;
    int want = spn_quantization_rank(SPN_QUANTIZATION_Q4_K_M), best_far = 0, best_rank = 0;
    for (size_t i = 0; i < listing->n; i++) {
        const spn_hub_file *file = &listing->files[i];
        if (!is_model(file->path)) continue;
        int rank = spn_quantization_rank(spn_extract_quantization(file->path));
        int far = rank > want ? rank - want : want - rank;
        bool same = best != NULL && far == best_far && rank == best_rank;
        bool shorter = same && strlen(file->path) < strlen(best->path);
        if (best == NULL || far < best_far || (far == best_far && rank > best_rank) || shorter)
            best = file, best_far = far, best_rank = rank;
    }
    return best;
}

/* The best that fits in memory, of a repository whose model's shape is not known: a tenth and
 * 1 GiB more than its files. */
static const spn_hub_file *find_fitting(const spn_hub_listing *listing, uint64_t available) {
    const spn_hub_file *best = NULL;
    int best_rank = 0;
    for (size_t i = 0; i < listing->n; i++) {
        const spn_hub_file *file = &listing->files[i];
        spn_split split;
        uint64_t size = file->size;
        if (!is_model(file->path)) continue;
        if (spn_split_parse(file->path, &split)) size *= split.count;
        int rank = spn_quantization_rank(spn_extract_quantization(file->path));
        bool fits = size / 10 * 11 + ((uint64_t)1 << 30) <= available;
        if (fits && rank > best_rank) best = file, best_rank = rank;
    }
    return best;
}

static spn_status fail_absent(const spn_target *t, const spn_hub_listing *listing, spn_error *err) {
    char names[330] = "";
    size_t len = 0, n = 0;
    const spn_resolved_model *r = &t->resolved;
    const char *want = r->file[0] ? r->file : spn_quantization_name(r->quantization);
    /* The nearest names first, as far as there is room. */
    unsigned char distances[NEAR_FILES];
    for (size_t i = 0; i < listing->n && i < NEAR_FILES; i++) {
        unsigned d = spn_ascii_distance(want, listing->files[i].path);
        distances[i] = (unsigned char)(d < 254 ? d : 254);
    }
    for (;;) {
        size_t best = SIZE_MAX;
        for (size_t i = 0; i < listing->n && i < NEAR_FILES; i++)
            if (distances[i] < 255 && is_model(listing->files[i].path) &&
                (best == SIZE_MAX || distances[i] < distances[best]))
                best = i;
        if (best == SIZE_MAX || len + 80 >= sizeof names) break;
        distances[best] = 255;
        len += (size_t)snprintf(names + len, sizeof names - len, "%s%.75s", n++ ? ", " : "",
                                listing->files[best].path);
    }
    if (n == 0)
        return SPN_FAIL(err, MODEL_NOT_FOUND, "the repository %s holds no GGUF model", r->repo);
    return SPN_FAIL(err, MODEL_NOT_FOUND, "the repository %s has no %.80s; it has %s", r->repo,
                    want, names);
}

static spn_status choose(spn_target *t, const spn_hub_listing *listing, const spn_hub_file **out,
                         spn_error *err) {
    const spn_resolved_model *r = &t->resolved;
    const spn_hub_file *file = NULL;
    if (r->file[0]) {
        file = find_exact(listing, r->file);
    } else {
        if (t->hint != NULL) file = find_exact(listing, t->hint->filename);
        spn_quantization wanted = r->quantization;
        if (wanted == SPN_QUANTIZATION_NONE && t->hint != NULL) wanted = t->hint->quantization;
        if (file == NULL && wanted != SPN_QUANTIZATION_NONE) {
            file = find_quantization(listing, wanted);
            if (file != NULL && t->hint != NULL)
                snprintf(t->notice, sizeof t->notice, "%.100s is called %.150s now",
                         t->hint->filename, file->path);
        }
        if (file == NULL && t->available > 0) file = find_fitting(listing, t->available);
        if (file == NULL && r->quantization == SPN_QUANTIZATION_NONE) {
            file = find_usual(listing);
            spn_quantization got =
                file != NULL ? spn_extract_quantization(file->path) : SPN_QUANTIZATION_NONE;
            spn_quantization usual =
                wanted != SPN_QUANTIZATION_NONE ? wanted : SPN_QUANTIZATION_Q4_K_M;
            if (file != NULL && got != usual)
                snprintf(t->notice, sizeof t->notice, "there is no %s; %.200s was chosen",
                         spn_quantization_name(usual), file->path);
        }
    }
    if (file == NULL) return fail_absent(t, listing, err);
    bool other = t->hint != NULL && t->hint->sha256 != NULL && file->sha256[0] &&
                 strcmp(t->hint->filename, file->path) == 0 &&
                 strcmp(t->hint->sha256, file->sha256) != 0;
    if (other)
        snprintf(t->notice, sizeof t->notice,
                 "the repository has another %.150s than the one the catalogue knows", file->path);
    *out = file;
    return SPN_STATUS_OK;
}

/* ---- the files of the choice ---- */

static spn_status add(spn_choice *choice, const spn_hub_file *file, spn_error *err) {
    for (size_t i = 0; i < choice->n; i++)
        if (choice->files[i] == file) return SPN_STATUS_OK;
    const spn_hub_file **files =
        spn_realloc_array(choice->files, choice->n + 1, sizeof *choice->files);
    if (files == NULL) return SPN_NO_MEMORY(err, "a plan");
    choice->files = files;
    files[choice->n++] = file;
    return SPN_STATUS_OK;
}

static spn_status add_with_parts(spn_choice *choice, const spn_hub_file *file, spn_error *err) {
    spn_split split;
    if (!spn_split_parse(file->path, &split)) return add(choice, file, err);
    for (uint32_t no = 1; no <= split.count; no++) {
        char *name = spn_split_name(file->path, &split, no);
        if (name == NULL) return SPN_NO_MEMORY(err, "a plan");
        const spn_hub_file *part = NULL;
        for (size_t i = 0; i < choice->listing.n && part == NULL; i++)
            if (strcmp(choice->listing.files[i].path, name) == 0) part = &choice->listing.files[i];
        spn_status status =
            part != NULL ? add(choice, part, err)
                         : SPN_FAIL(err, MODEL_NOT_FOUND,
                                    "the model is split in %u files and the repository lacks %s",
                                    split.count, name);
        spn_free(name);
        if (status != SPN_STATUS_OK) return status;
    }
    return SPN_STATUS_OK;
}

/* The image encoder: the catalogue's, else the F16 one, else any. */
static spn_status add_projector(spn_choice *choice, const spn_known_model *model, spn_error *err) {
    const spn_hub_file *found = find_exact(&choice->listing, model->projector->filename);
    for (size_t i = 0; i < choice->listing.n; i++) {
        const spn_hub_file *file = &choice->listing.files[i];
        if (!spn_name_is_gguf(file->path) || !spn_ascii_starts(base_of(file->path), "mmproj"))
            continue;
        bool half = spn_extract_quantization(file->path) == SPN_QUANTIZATION_F16;
        if (found == NULL || (half && strcmp(found->path, model->projector->filename) != 0 &&
                              spn_extract_quantization(found->path) != SPN_QUANTIZATION_F16))
            found = file;
    }
    return found != NULL ? add(choice, found, err) : SPN_STATUS_OK;
}

void spn_choice_clear(spn_choice *choice) {
    spn_free(choice->files);
    spn_hub_listing_clear(&choice->listing);
    *choice = (spn_choice){0};
}

spn_status spn_choose(spn_storage *storage, spn_target *t, bool with_projector,
                      const spn_http_wait *wait, spn_choice *out, spn_error *err) {
    spn_choice choice = {0};
    const spn_resolved_model *r = &t->resolved;
    const spn_hub_file *file = NULL;
    spn_status status;
    SPN_TRY_GOTO(spn_hub_list(storage, r->repo, r->revision[0] ? r->revision : "main", wait,
                              &choice.listing, err));
    SPN_TRY_GOTO(choose(t, &choice.listing, &file, err));
    SPN_TRY_GOTO(add_with_parts(&choice, file, err));
    choice.n_model = choice.n;
    if (with_projector && r->model != NULL && r->model->projector != NULL && r->file[0] == '\0')
        SPN_TRY_GOTO(add_projector(&choice, r->model, err));
    for (size_t i = 0; i < choice.n; i++) choice.total += choice.files[i]->size;
    *out = choice;
    choice = (spn_choice){0};
done:
    spn_choice_clear(&choice);
    return status;
}
