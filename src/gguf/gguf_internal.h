/* gguf_internal.h - what the files of this folder share. SPDX-License-Identifier: Apache-2.0
 *
 * A part is one file, parsed on its own (gguf_read.c). An spn_gguf is one part, or all parts of a
 * split model with their tensors strung together (gguf_open.c).
 */
#ifndef SPN_GGUF_INTERNAL_H
#define SPN_GGUF_INTERNAL_H

#include <string.h>

#include "gguf/gguf.h"
#include "platform/os.h"

/* Tensor data is handed out as it lies in the file, so the host must have the file's byte order. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "GGUF files are little-endian, and this code runs on little-endian processors only"
#endif

#define GGUF_DEFAULT_ALIGNMENT 32u

/* ---- index: open addressing over the items' names (gguf_index.c) ---- */

typedef struct gguf_index {
    uint32_t *slots; /* item's number + 1; 0: free */
    size_t n_slots;  /* a power of two, at least twice the items */
    uint64_t key[2]; /* a secret, so that no file can choose names that collide */
} gguf_index;

/* Names of `n` items that lie `stride` bytes apart and start with their spn_gguf_str. */
typedef struct gguf_names {
    const void *items;
    size_t n, stride;
} gguf_names;

/* Status OK with *duplicate < n: that item has the name of an earlier one, and there is no index.
 */
spn_status spn_gguf_index_build(gguf_index *index, gguf_names names, size_t *duplicate,
                                spn_error *err);
void spn_gguf_index_free(gguf_index *index);
/* The item's number, or names.n. */
size_t spn_gguf_index_find(const gguf_index *index, gguf_names names, spn_gguf_str name);

/* ---- parts ---- */

typedef struct gguf_part {
    char *path;
    spn_map map; /* zero when the bytes are the caller's */
    const uint8_t *data;
    size_t n_bytes;
    uint32_t version;
    uint32_t alignment;
    spn_gguf_pair *pairs;
    size_t n_pairs, cap_pairs;
    gguf_index pair_index;
    spn_gguf_tensor *tensors;
    size_t n_tensors, cap_tensors;
} gguf_part;

/* Parses part->data and fills the rest of the part; the caller frees it in any case. */
spn_status spn_gguf_part_parse(gguf_part *part, spn_error *err);
void spn_gguf_part_free(gguf_part *part);
const spn_gguf_pair *spn_gguf_part_find(const gguf_part *part, const char *key);

struct spn_gguf {
    gguf_part *parts;
    size_t n_parts, cap_parts;
    spn_gguf_tensor *tensors; /* of all parts */
    size_t n_tensors;
    gguf_index tensor_index;
};

static inline gguf_names spn_gguf_pair_names(const spn_gguf_pair *pairs, size_t n) {
    return (gguf_names){pairs, n, sizeof *pairs};
}

static inline gguf_names spn_gguf_tensor_names(const spn_gguf_tensor *tensors, size_t n) {
    return (gguf_names){tensors, n, sizeof *tensors};
}

/* ---- bytes ---- */

static inline uint32_t gguf_load_u32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t gguf_load_u64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Bytes of one value of a kind; 0 for strings and arrays, which have no fixed size. */
size_t spn_gguf_kind_bytes(spn_gguf_kind kind);

/* An integer of any kind: (int64_t)bits when it is negative, else bits. */
typedef struct gguf_int {
    bool negative;
    uint64_t bits;
} gguf_int;
/* False when `kind` is no integer's; a bool counts as one here. */
bool spn_gguf_load_int(spn_gguf_kind kind, const uint8_t *data, gguf_int *out);

/* One pair as a number, where spn_gguf_get_u32 found it. `path` is for messages. */
spn_status spn_gguf_pair_u32(const char *path, const spn_gguf_pair *pair, uint32_t *out,
                             spn_error *err);

/* Whether `alignment` is one that data may have: a power of two, at least 8 as the format says. */
static inline bool spn_gguf_alignment_ok(uint32_t alignment) {
    return alignment >= 8 && (alignment & (alignment - 1)) == 0;
}

/* A name from the file for an error text: printable ASCII, cut to what fits. Returns `out`. */
enum { GGUF_SHOWN = 80, GGUF_SHOWN_PATH = 200 };
const char *spn_gguf_show(char out[GGUF_SHOWN], spn_gguf_str name);
/* The end of a path that would fill an error text on its own. */
const char *spn_gguf_show_path(char out[GGUF_SHOWN_PATH], const char *path);

/* Bytes of a tensor's data: false when the shape is empty, overflows, or does not fit the blocks of
 * its type; `why` then says what is wrong. */
bool spn_gguf_tensor_bytes(uint32_t type, const uint64_t *ne, uint32_t n_dims, uint64_t *out,
                           const char **why);

#endif
