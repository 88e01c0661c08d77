/* reference.c - taking a model's reference apart (see catalog.h for its forms).
 * SPDX-License-Identifier: Apache-2.0
 *
 * Order matters: what looks like a path is a path, "hf:" and a browser's address are the Hub, an id
 * of the catalogue is that model, and everything else is a name in the store. The revision is cut
 * off first, at the last "@"; then the quantization, at the last ":".
 */
#include <string.h>

#include "catalog/catalog.h"

typedef struct parts {
    char text[SPN_REFERENCE_MAX]; /* the reference without revision and quantization */
    spn_resolved_model out;
} parts;

static bool is_path(const char *text) {
    if (text[0] == '/' || text[0] == '~' || strchr(text, '\\') != NULL) return true;
    if (strncmp(text, "./", 2) == 0 || strncmp(text, "../", 3) == 0) return true;
    char drive = spn_ascii_lower(text[0]);
    return drive >= 'a' && drive <= 'z' && text[1] == ':' && text[2] == '/';
}

/* Copies what follows the last `mark` to `out` and cuts it off; false when it does not fit. */
static bool cut_tail(char *text, char *mark, char *out, size_t n_out) {
    size_t n = strlen(mark + 1);
    if (n >= n_out) return false;
    memcpy(out, mark + 1, n + 1);
    text[mark - text] = '\0';
    return true;
}

static spn_status cut_revision(parts *p, const char *reference, spn_error *err) {
    char *at = strrchr(p->text, '@');
    if (at == NULL) return SPN_STATUS_OK;
    /* "hf:OWNER/REPO@REVISION:QUANT" is meant as well; ":" is in no git name. */
    char tail[64] = "";
    char *colon = strchr(at, ':');
    if (colon != NULL && !cut_tail(p->text, colon, tail, sizeof tail))
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.200s: the quantization is too long", reference);
    if (!cut_tail(p->text, at, p->out.revision, sizeof p->out.revision))
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.200s: the revision is too long", reference);
    const char *problem = spn_revision_problem(p->out.revision);
    if (problem != NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.200s: the revision cannot be used: %s", reference,
                        problem);
    if (colon == NULL) return SPN_STATUS_OK;
    p->out.quantization = spn_quantization_parse(tail);
    if (p->out.quantization == SPN_QUANTIZATION_NONE)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.200s: %s is no quantization", reference, tail);
    return SPN_STATUS_OK;
}

/* Cuts ":QUANT" off, where what follows the colon is a quantization. */
static void cut_quantization(parts *p) {
    char *colon = strrchr(p->text, ':');
    if (colon == NULL || p->out.quantization != SPN_QUANTIZATION_NONE) return;
    spn_quantization quantization = spn_quantization_parse(colon + 1);
    if (quantization == SPN_QUANTIZATION_NONE) return;
    p->out.quantization = quantization;
    *colon = '\0';
}

/* OWNER/REPO[/FILE]: fills repo and file. NULL, or what is wrong. */
static const char *split_repo(const char *text, spn_resolved_model *out) {
    const char *slash = strchr(text, '/');
    if (slash == NULL) return "its form must be OWNER/REPO";
    size_t n = (size_t)(slash + 1 - text) + strcspn(slash + 1, "/");
    if (n >= sizeof out->repo) return "it is too long";
    memcpy(out->repo, text, n);
    out->repo[n] = '\0';
    const char *problem = spn_repo_problem(out->repo);
    if (problem != NULL || text[n] == '\0') return problem;
    if (strlen(text + n + 1) >= sizeof out->file) return "it is too long";
    memcpy(out->file, text + n + 1, strlen(text + n + 1) + 1);
    return spn_path_problem(out->file);
}

/* What a browser shows: OWNER/REPO, OWNER/REPO/{blob,resolve,tree}/REVISION[/FILE]. */
static void unfold_address(parts *p) {
    char *query = strpbrk(p->out.file, "?#");
    if (query != NULL) *query = '\0';
    size_t verb = strcspn(p->out.file, "/");
    char *rest = p->out.file + verb;
    bool known = (verb == 4 && strncmp(p->out.file, "blob", 4) == 0) ||
                 (verb == 4 && strncmp(p->out.file, "tree", 4) == 0) ||
                 (verb == 7 && strncmp(p->out.file, "resolve", 7) == 0);
    if (!known || *rest == '\0') return;
    size_t n = strcspn(++rest, "/");
    if (n >= sizeof p->out.revision) return;
    memcpy(p->out.revision, rest, n);
    p->out.revision[n] = '\0';
    rest += n + (rest[n] == '/');
    memmove(p->out.file, rest, strlen(rest) + 1);
}

static spn_status resolve_hub(parts *p, const char *reference, size_t skip, bool address,
                              spn_error *err) {
    p->out.kind = SPN_REFERENCE_HUGGINGFACE;
    char *text = p->text + skip;
    if (address) text[strcspn(text, "?#")] = '\0';
    const char *problem = split_repo(text, &p->out);
    if (problem == NULL && address) unfold_address(p);
    if (problem == NULL && p->out.revision[0]) problem = spn_revision_problem(p->out.revision);
    if (problem != NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT,
                        "%.200s: not a usable reference to the Hub: %s; the form is "
                        "hf:OWNER/REPO[/FILE.gguf][:QUANT][@REVISION]",
                        reference, problem);
    return SPN_STATUS_OK;
}

/* "word:tag" without a slash is meant as an id: say which ones there are. */
static spn_status unknown_id(const char *text, spn_error *err) {
    const spn_known_model *near[3];
    size_t n = spn_nearest_models(text, near, SPN_COUNT(near));
    if (n == 0)
        return SPN_FAIL(err, MODEL_NOT_FOUND,
                        "no known model is called %.200s; the catalogue lists them, and "
                        "hf:OWNER/REPO names any repository of the Hub",
                        text);
    return SPN_FAIL(err, MODEL_NOT_FOUND, "no known model is called %.200s; near it: %s%s%s%s%s",
                    text, near[0]->id, n > 1 ? ", " : "", n > 1 ? near[1]->id : "",
                    n > 2 ? ", " : "", n > 2 ? near[2]->id : "");
}

static spn_status resolve_stored(parts *p, const char *reference, spn_error *err) {
    p->out.kind = SPN_REFERENCE_STORED;
    memcpy(p->out.path, p->text, strlen(p->text) + 1);
    if (strchr(p->text, ':') != NULL) return unknown_id(p->text, err);
    const char *problem = spn_path_problem(p->text);
    if (problem == NULL && strchr(p->text, '/') != NULL) problem = split_repo(p->text, &p->out);
    if (problem != NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "%.200s cannot be the name of a model: %s",
                        reference, problem);
    return SPN_STATUS_OK;
}

static const char *const addresses[] = {"https://huggingface.co/", "http://huggingface.co/",
                                        "https://hf.co/", "huggingface.co/", "hf.co/"};

static spn_status resolve(parts *p, const char *reference, spn_error *err) {
    if (is_path(reference)) {
        p->out.kind = SPN_REFERENCE_PATH;
        memcpy(p->out.path, reference, strlen(reference) + 1);
        return SPN_STATUS_OK;
    }
    SPN_TRY(cut_revision(p, reference, err));
    cut_quantization(p);
    if (spn_ascii_starts(p->text, "hf:")) return resolve_hub(p, reference, 3, false, err);
    for (size_t i = 0; i < SPN_COUNT(addresses); i++)
        if (spn_ascii_starts(p->text, addresses[i]))
            return resolve_hub(p, reference, strlen(addresses[i]), true, err);
    p->out.model = spn_find_model(p->text);
    if (p->out.model == NULL) return resolve_stored(p, reference, err);
    p->out.kind = SPN_REFERENCE_CURATED;
    return SPN_STATUS_OK;
}

spn_status spn_resolve_model(const char *reference, spn_resolved_model *out, spn_error *err) {
    if (reference == NULL || out == NULL || reference[0] == '\0')
        return SPN_FAIL(err, INVALID_ARGUMENT, "the model's reference is missing");
    if (strlen(reference) >= SPN_REFERENCE_MAX)
        return SPN_FAIL(err, INVALID_ARGUMENT, "the model's reference is longer than %d bytes",
                        SPN_REFERENCE_MAX - 1);
    for (const char *c = reference; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return SPN_FAIL(err, INVALID_ARGUMENT,
                            "the model's reference holds a control character");
    parts p = {0};
    memcpy(p.text, reference, strlen(reference) + 1);
    SPN_TRY(resolve(&p, reference, err));
    *out = p.out;
    return SPN_STATUS_OK;
}
