/* gguf_open.c - opens a model of one file or of several. SPDX-License-Identifier: Apache-2.0
 *
 * Each part of a split model says in its metadata which one it is (split.no, from 0 on), how many
 * there are (split.count) and how many tensors they have together (split.tensors.count). Their
 * names differ in the number only, so any part leads to all the others. The model's metadata is the
 * first part's.
 */
#include <inttypes.h>
#include <stdio.h>

#include "gguf/gguf_internal.h"

/* ---- names of parts ---- */

enum { SPLIT_DIGITS = 5, SPLIT_TAIL = 1 + SPLIT_DIGITS + 4 + SPLIT_DIGITS + 5 };

static bool parse_digits(const char *text, uint32_t *out) {
    uint32_t value = 0;
    for (int i = 0; i < SPLIT_DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    *out = value;
    return true;
}

static bool same_letters(const char *text, const char *lower) {
    for (; *lower != '\0'; text++, lower++) {
        char c = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
        if (c != *lower) return false;
    }
    return true;
}

bool spn_gguf_split_name(const char *name, uint32_t *no, uint32_t *count, size_t *prefix_len) {
    size_t len = strlen(name);
    if (len <= SPLIT_TAIL) return false;
    const char *tail = name + len - SPLIT_TAIL; /* -00002-of-00005.gguf */
    uint32_t part, parts;
    if (tail[0] != '-' || !parse_digits(tail + 1, &part)) return false;
    if (!same_letters(tail + 1 + SPLIT_DIGITS, "-of-")) return false;
    if (!parse_digits(tail + 1 + SPLIT_DIGITS + 4, &parts)) return false;
    if (!same_letters(name + len - 5, ".gguf")) return false;
    if (part == 0 || part > parts) return false;
    *no = part;
    *count = parts;
    *prefix_len = len - SPLIT_TAIL;
    return true;
}

/* The path of part `no` (from 1 on), from that of any part: only the first number changes. */
static char *sibling_path(const char *path, size_t prefix_len, uint32_t no) {
    char *sibling = spn_strdup(path);
    if (sibling == NULL) return NULL;
    char digits[16];
    snprintf(digits, sizeof digits, "%05" PRIu32, no);
    memcpy(sibling + prefix_len + 1, digits, SPLIT_DIGITS);
    return sibling;
}

/* ---- parts ---- */

/* Takes `path` over, also when it fails. */
static spn_status open_part(gguf_part *out, char *path, spn_error *err) {
    gguf_part part = {.path = path};
    spn_status status = path != NULL ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "a model's path");
    if (status == SPN_STATUS_OK) status = spn_map_open(&part.map, path, err);
    if (status == SPN_STATUS_OK) {
        part.data = part.map.data;
        part.n_bytes = part.map.n_bytes;
        status = spn_gguf_part_parse(&part, err);
    }
    if (status == SPN_STATUS_OK)
        *out = part;
    else
        spn_gguf_part_free(&part);
    return status;
}

/* Takes the part over, also when it fails. */
static spn_status add_part(spn_gguf *gguf, gguf_part *part, spn_error *err) {
    if (gguf->n_parts == gguf->cap_parts) {
        size_t cap = gguf->cap_parts ? gguf->cap_parts * 2 : 1;
        gguf_part *parts = spn_realloc_array(gguf->parts, cap, sizeof *parts);
        if (parts == NULL) {
            spn_gguf_part_free(part);
            return SPN_NO_MEMORY(err, "a model's parts");
        }
        gguf->parts = parts;
        gguf->cap_parts = cap;
    }
    gguf->parts[gguf->n_parts++] = *part;
    *part = (gguf_part){0};
    return SPN_STATUS_OK;
}

typedef struct split_info {
    uint32_t no, count; /* from 0 on; 0 of 1 when the model is not split */
} split_info;

static spn_status split_of(const gguf_part *part, split_info *out, spn_error *err) {
    split_info info = {0, 1};
    const spn_gguf_pair *count = spn_gguf_part_find(part, "split.count");
    const spn_gguf_pair *no = spn_gguf_part_find(part, "split.no");
    if (count != NULL) SPN_TRY(spn_gguf_pair_u32(part->path, count, &info.count, err));
    if (info.count <= 1) info.count = 1;
    if (info.count > 1 && no == NULL)
        return SPN_FAIL(err, FORMAT, "%s: split.count is %" PRIu32 " but there is no split.no",
                        part->path, info.count);
    if (info.count > 1) SPN_TRY(spn_gguf_pair_u32(part->path, no, &info.no, err));
    if (info.no >= info.count)
        return SPN_FAIL(err, FORMAT, "%s: split.no is %" PRIu32 ", but split.count is %" PRIu32,
                        part->path, info.no, info.count);
    *out = info;
    return SPN_STATUS_OK;
}

static spn_status check_split(const gguf_part *part, split_info want, spn_error *err) {
    split_info info = {0, 1};
    SPN_TRY(split_of(part, &info, err));
    if (info.no == want.no && info.count == want.count) return SPN_STATUS_OK;
    return SPN_FAIL(err, FORMAT,
                    "%s: it says that it is part %" PRIu32 " of %" PRIu32 ", but it lies in the "
                    "place of part %" PRIu32 " of %" PRIu32,
                    part->path, info.no + 1, info.count, want.no + 1, want.count);
}

/* Opens the siblings of `first`, which it takes over, in order. */
static spn_status open_siblings(spn_gguf *gguf, gguf_part *first, split_info info, spn_error *err) {
    uint32_t name_no, name_count;
    size_t prefix_len;
    if (!spn_gguf_split_name(first->path, &name_no, &name_count, &prefix_len) ||
        name_no != info.no + 1 || name_count != info.count)
        return SPN_FAIL(err, FORMAT,
                        "%s: it is part %" PRIu32 " of %" PRIu32 " of a model, but its name does "
                        "not end in -%05" PRIu32 "-of-%05" PRIu32
                        ".gguf, which leads to the others",
                        first->path, info.no + 1, info.count, info.no + 1, info.count);
    char *known = spn_strdup(first->path); /* `first` moves away within the loop */
    if (known == NULL) return SPN_NO_MEMORY(err, "a model's path");
    spn_status status = SPN_STATUS_OK;
    for (uint32_t i = 0; status == SPN_STATUS_OK && i < info.count; i++) {
        if (i == info.no) {
            status = add_part(gguf, first, err);
            continue;
        }
        gguf_part part = {0};
        status = open_part(&part, sibling_path(known, prefix_len, i + 1), err);
        if (status != SPN_STATUS_OK) break;
        status = check_split(&part, (split_info){i, info.count}, err);
        if (status == SPN_STATUS_OK)
            status = add_part(gguf, &part, err);
        else
            spn_gguf_part_free(&part);
    }
    spn_free(known);
    return status;
}

/* ---- the whole ---- */

static spn_status check_tensor_count(const spn_gguf *gguf, spn_error *err) {
    const gguf_part *part = &gguf->parts[0];
    const spn_gguf_pair *pair = spn_gguf_part_find(part, "split.tensors.count");
    uint32_t want;
    if (gguf->n_parts == 1) return SPN_STATUS_OK;
    if (pair == NULL)
        return SPN_FAIL(err, FORMAT, "%s: a split model without split.tensors.count", part->path);
    SPN_TRY(spn_gguf_pair_u32(part->path, pair, &want, err));
    if (want == gguf->n_tensors) return SPN_STATUS_OK;
    return SPN_FAIL(err, FORMAT,
                    "%s: split.tensors.count is %" PRIu32 ", but the model's %zu files have %zu",
                    part->path, want, gguf->n_parts, gguf->n_tensors);
}

/* Strings the parts' tensors together; a single part's list simply moves. */
static spn_status gather_tensors(spn_gguf *gguf, spn_error *err) {
    size_t n = 0;
    for (size_t i = 0; i < gguf->n_parts; i++) n += gguf->parts[i].n_tensors;
    if (n > UINT32_MAX / 4)
        return SPN_FAIL(err, FORMAT, "%s: %zu tensors are too many", gguf->parts[0].path, n);
    if (gguf->n_parts == 1) {
        gguf->tensors = gguf->parts[0].tensors;
        gguf->parts[0].tensors = NULL;
    } else {
        gguf->tensors = spn_alloc_array(n, sizeof *gguf->tensors);
        if (gguf->tensors == NULL) return SPN_NO_MEMORY(err, "a model's list of tensors");
        spn_gguf_tensor *at = gguf->tensors;
        for (size_t i = 0; i < gguf->n_parts; i++) {
            gguf_part *part = &gguf->parts[i];
            if (part->n_tensors > 0) memcpy(at, part->tensors, part->n_tensors * sizeof *at);
            at += part->n_tensors;
            spn_free(part->tensors);
            part->tensors = NULL;
        }
    }
    gguf->n_tensors = n;
    return check_tensor_count(gguf, err);
}

static const gguf_part *part_with(const spn_gguf *gguf, const void *bytes) {
    size_t i = 0;
    for (uintptr_t at = (uintptr_t)bytes; i + 1 < gguf->n_parts; i++) {
        uintptr_t start = (uintptr_t)gguf->parts[i].data;
        if (at >= start && at - start < gguf->parts[i].n_bytes) break;
    }
    return &gguf->parts[i];
}

static spn_status index_tensors(spn_gguf *gguf, spn_error *err) {
    size_t duplicate;
    SPN_TRY(spn_gguf_index_build(&gguf->tensor_index,
                                 spn_gguf_tensor_names(gguf->tensors, gguf->n_tensors), &duplicate,
                                 err));
    if (duplicate == gguf->n_tensors) return SPN_STATUS_OK;
    spn_gguf_str name = gguf->tensors[duplicate].name;
    const gguf_part *part = part_with(gguf, name.data);
    char shown[GGUF_SHOWN], path[GGUF_SHOWN_PATH];
    return SPN_FAIL(
        err, FORMAT,
        "%s: tensor %zu (\"%s\"): name at byte %zu: an earlier tensor has the same name",
        spn_gguf_show_path(path, part->path), duplicate, spn_gguf_show(shown, name),
        (size_t)((const uint8_t *)name.data - part->data));
}

static spn_status finish(spn_gguf *gguf, spn_error *err) {
    SPN_TRY(gather_tensors(gguf, err));
    return index_tensors(gguf, err);
}

spn_status spn_gguf_open(spn_gguf **out, const char *path, spn_error *err) {
    spn_gguf *gguf = spn_alloc_zeroed(1, sizeof *gguf);
    if (gguf == NULL) return SPN_NO_MEMORY(err, "a model file");
    gguf_part first = {0};
    split_info info = {0, 1};
    spn_status status;
    SPN_TRY_GOTO(open_part(&first, spn_strdup(path), err));
    SPN_TRY_GOTO(split_of(&first, &info, err));
    if (info.count > 1)
        SPN_TRY_GOTO(open_siblings(gguf, &first, info, err));
    else
        SPN_TRY_GOTO(add_part(gguf, &first, err));
    SPN_TRY_GOTO(finish(gguf, err));
    *out = gguf;
    gguf = NULL;
done:
    spn_gguf_part_free(&first);
    spn_gguf_close(gguf);
    return status;
}

spn_status spn_gguf_open_bytes(spn_gguf **out, const void *bytes, size_t n_bytes, const char *name,
                               spn_error *err) {
    spn_gguf *gguf = spn_alloc_zeroed(1, sizeof *gguf);
    if (gguf == NULL) return SPN_NO_MEMORY(err, "a model file");
    gguf_part part = {.path = spn_strdup(name), .data = bytes, .n_bytes = n_bytes};
    split_info info = {0, 1};
    spn_status status = part.path != NULL ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "a model's name");
    SPN_TRY_GOTO(status);
    SPN_TRY_GOTO(spn_gguf_part_parse(&part, err));
    SPN_TRY_GOTO(split_of(&part, &info, err));
    if (info.count > 1) {
        status = SPN_FAIL(err, FORMAT,
                          "%s: it is part %" PRIu32 " of %" PRIu32 " of a model, which "
                          "can be opened as files only",
                          name, info.no + 1, info.count);
        goto done;
    }
    SPN_TRY_GOTO(add_part(gguf, &part, err));
    SPN_TRY_GOTO(finish(gguf, err));
    *out = gguf;
    gguf = NULL;
done:
    spn_gguf_part_free(&part);
    spn_gguf_close(gguf);
    return status;
}

void spn_gguf_close(spn_gguf *gguf) {
    if (gguf == NULL) return;
    for (size_t i = 0; i < gguf->n_parts; i++) spn_gguf_part_free(&gguf->parts[i]);
    spn_gguf_index_free(&gguf->tensor_index);
    spn_free(gguf->tensors);
    spn_free(gguf->parts);
    spn_free(gguf);
}

/* ---- what is inside ---- */

uint32_t spn_gguf_version(const spn_gguf *gguf) { return gguf->parts[0].version; }

uint64_t spn_gguf_file_bytes(const spn_gguf *gguf) {
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf->n_parts; i++) sum += gguf->parts[i].n_bytes;
    return sum;
}

size_t spn_gguf_n_files(const spn_gguf *gguf) { return gguf->n_parts; }

const char *spn_gguf_path(const spn_gguf *gguf, size_t file) {
    return file < gguf->n_parts ? gguf->parts[file].path : NULL;
}

size_t spn_gguf_n_pairs(const spn_gguf *gguf) { return gguf->parts[0].n_pairs; }

const spn_gguf_pair *spn_gguf_pair_at(const spn_gguf *gguf, size_t i) {
    return i < gguf->parts[0].n_pairs ? &gguf->parts[0].pairs[i] : NULL;
}

size_t spn_gguf_n_tensors(const spn_gguf *gguf) { return gguf->n_tensors; }

const spn_gguf_tensor *spn_gguf_tensor_at(const spn_gguf *gguf, size_t i) {
    return i < gguf->n_tensors ? &gguf->tensors[i] : NULL;
}

const spn_gguf_pair *spn_gguf_find(const spn_gguf *gguf, const char *key) {
    return spn_gguf_part_find(&gguf->parts[0], key);
}

const spn_gguf_tensor *spn_gguf_find_tensor(const spn_gguf *gguf, const char *name) {
    size_t i = spn_gguf_index_find(&gguf->tensor_index,
                                   spn_gguf_tensor_names(gguf->tensors, gguf->n_tensors),
                                   (spn_gguf_str){name, strlen(name)});
    return i < gguf->n_tensors ? &gguf->tensors[i] : NULL;
}

void spn_gguf_file_span(const spn_gguf *gguf, size_t file, const uint8_t **data, size_t *n_bytes) {
    const gguf_part *part = &gguf->parts[file];
    *data = part->data;
    *n_bytes = part->n_bytes;
}
