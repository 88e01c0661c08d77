/* gguf.h - tensor types, and reading and writing GGUF files, versions 2 and 3.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A GGUF file is: magic "GGUF", version (u32), number of tensors (u64), number of metadata pairs
 * (u64), the pairs (key, type, value), the tensors' descriptions (name, dimensions, type, offset),
 * padding to `general.alignment` (32 where absent), and the tensors' data. All numbers are
 * little-endian; a string is a u64 length and that many bytes.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 *
 * spn_gguf_open maps the file and checks all of it but the data before it returns: every length
 * against what is left of the file, every count against the least its items need, every size for
 * overflow, every tensor inside the file, no name twice. Views into the map (strings, arrays,
 * tensor data) live as long as the spn_gguf. A split model (NAME-00001-of-0000N.gguf) is opened by
 * any one of its files and reads as one.
 *
 * An spn_gguf is immutable after open: share it freely.
 */
#ifndef SPN_GGUF_H
#define SPN_GGUF_H

#include "base/base.h"

/* ---- tensor types ---- */

/* X(NAME, id in the file, elements a block, bytes a block, printed name) */
#define SPN_TYPE_LIST(X)               \
    X(F32, 0, 1, 4, "F32")             \
    X(F16, 1, 1, 2, "F16")             \
    X(Q4_0, 2, 32, 18, "Q4_0")         \
    X(Q4_1, 3, 32, 20, "Q4_1")         \
    X(Q5_0, 6, 32, 22, "Q5_0")         \
    X(Q5_1, 7, 32, 24, "Q5_1")         \
    X(Q8_0, 8, 32, 34, "Q8_0")         \
    X(Q8_1, 9, 32, 36, "Q8_1")         \
    X(Q2_K, 10, 256, 84, "Q2_K")       \
    X(Q3_K, 11, 256, 110, "Q3_K")      \
    X(Q4_K, 12, 256, 144, "Q4_K")      \
    X(Q5_K, 13, 256, 176, "Q5_K")      \
    X(Q6_K, 14, 256, 210, "Q6_K")      \
    X(Q8_K, 15, 256, 292, "Q8_K")      \
    X(IQ2_XXS, 16, 256, 66, "IQ2_XXS") \
    X(IQ2_XS, 17, 256, 74, "IQ2_XS")   \
    X(IQ3_XXS, 18, 256, 98, "IQ3_XXS") \
    X(IQ1_S, 19, 256, 50, "IQ1_S")     \
    X(IQ4_NL, 20, 32, 18, "IQ4_NL")    \
    X(IQ3_S, 21, 256, 110, "IQ3_S")    \
    X(IQ2_S, 22, 256, 82, "IQ2_S")     \
    X(IQ4_XS, 23, 256, 136, "IQ4_XS")  \
    X(I8, 24, 1, 1, "I8")              \
    X(I16, 25, 1, 2, "I16")            \
    X(I32, 26, 1, 4, "I32")            \
    X(I64, 27, 1, 8, "I64")            \
    X(F64, 28, 1, 8, "F64")            \
    X(IQ1_M, 29, 256, 56, "IQ1_M")     \
    X(BF16, 30, 1, 2, "BF16")          \
    X(TQ1_0, 34, 256, 54, "TQ1_0")     \
    X(TQ2_0, 35, 256, 66, "TQ2_0")     \
    X(MXFP4, 39, 32, 17, "MXFP4")

#define SPN_TYPE_ENUM_ROW(NAME, id, block, bytes, text) SPN_TYPE_##NAME = (id),
typedef enum spn_type { SPN_TYPE_LIST(SPN_TYPE_ENUM_ROW) } spn_type;
#undef SPN_TYPE_ENUM_ROW
#define SPN_TYPE_LIMIT 40 /* all ids are below */

typedef struct spn_type_traits {
    const char *name; /* NULL: no such type */
    uint32_t block_len;
    uint32_t block_bytes;
} spn_type_traits;

/* NULL for an id that is no tensor type. */
const spn_type_traits *spn_type_traits_of(uint32_t id);
const char *spn_type_name(spn_type type);
/* Bytes of a row of `n` elements; n must be a multiple of the type's block length. */
size_t spn_type_row_bytes(spn_type type, size_t n);

/* ---- values and tensors ---- */

typedef enum spn_gguf_kind {
    SPN_GGUF_U8,
    SPN_GGUF_I8,
    SPN_GGUF_U16,
    SPN_GGUF_I16,
    SPN_GGUF_U32,
    SPN_GGUF_I32,
    SPN_GGUF_F32,
    SPN_GGUF_BOOL,
    SPN_GGUF_STRING,
    SPN_GGUF_ARRAY,
    SPN_GGUF_U64,
    SPN_GGUF_I64,
    SPN_GGUF_F64,
    SPN_GGUF_KIND_COUNT
} spn_gguf_kind;
const char *spn_gguf_kind_name(spn_gguf_kind kind); /* "u32", "string" ... */

/* Bytes in the file: not NUL-terminated, any bytes. */
typedef struct spn_gguf_str {
    const char *data;
    size_t len;
} spn_gguf_str;

typedef struct spn_gguf_pair {
    spn_gguf_str key;
    spn_gguf_kind kind;
    spn_gguf_kind item_kind; /* of an array; arrays of arrays are refused */
    uint64_t n_items;        /* of an array; 1 otherwise */
    const uint8_t *data;     /* in the file, unaligned; for a string, its length field */
    size_t n_bytes;
} spn_gguf_pair;

#define SPN_GGUF_MAX_DIMS 4

typedef struct spn_gguf_tensor {
    spn_gguf_str name;
    spn_type type;
    uint32_t n_dims;
    uint64_t ne[SPN_GGUF_MAX_DIMS]; /* ne[0]: elements of a row, contiguous; unused ones are 1 */
    const uint8_t *data;            /* aligned to general.alignment within the file */
    size_t n_bytes;
} spn_gguf_tensor;

typedef struct spn_gguf spn_gguf;

/* Opens and checks a file, with its siblings where it is part of a split model. Errors: IO,
 * FORMAT (names the field and the byte offset), NO_MEMORY. */
spn_status spn_gguf_open(spn_gguf **out, const char *path, spn_error *err);
/* The same over bytes that the caller keeps alive and unchanged; `name` is for messages. A part of
 * a split model is refused. Tensors are as aligned in memory as `bytes` is. */
spn_status spn_gguf_open_bytes(spn_gguf **out, const void *bytes, size_t n_bytes, const char *name,
                               spn_error *err);
void spn_gguf_close(spn_gguf *gguf);

uint32_t spn_gguf_version(const spn_gguf *gguf);
uint64_t spn_gguf_file_bytes(const spn_gguf *gguf); /* of all parts */
size_t spn_gguf_n_files(const spn_gguf *gguf);
const char *spn_gguf_path(const spn_gguf *gguf, size_t file); /* part 0 is the first */
size_t spn_gguf_n_pairs(const spn_gguf *gguf);
const spn_gguf_pair *spn_gguf_pair_at(const spn_gguf *gguf, size_t i);
size_t spn_gguf_n_tensors(const spn_gguf *gguf);
const spn_gguf_tensor *spn_gguf_tensor_at(const spn_gguf *gguf, size_t i);

/* By exact name, in constant expected time; NULL when there is none. */
const spn_gguf_pair *spn_gguf_find(const spn_gguf *gguf, const char *key);
const spn_gguf_tensor *spn_gguf_find_tensor(const spn_gguf *gguf, const char *name);

/* Values. Each returns OK and sets *out when the key is there with a fitting kind and range (any
 * integer kind serves an integer; f32 and f64 serve a float); leaves *out alone, which so holds the
 * caller's default, and returns OK when the key is absent; FORMAT, naming the key, when it is there
 * with another kind or out of range. With `required`, absence is FORMAT too. */
spn_status spn_gguf_get_u32(const spn_gguf *gguf, const char *key, bool required, uint32_t *out,
                            spn_error *err);
spn_status spn_gguf_get_f32(const spn_gguf *gguf, const char *key, bool required, float *out,
                            spn_error *err);
spn_status spn_gguf_get_bool(const spn_gguf *gguf, const char *key, bool required, bool *out,
                             spn_error *err);
spn_status spn_gguf_get_str(const spn_gguf *gguf, const char *key, bool required, spn_gguf_str *out,
                            spn_error *err);
/* An array of a scalar kind (integers converted, f64 narrowed): copies its first n_max items into
 * `out` and sets *n_items to the array's true length; a scalar counts as an array of one. */
spn_status spn_gguf_get_u32_array(const spn_gguf *gguf, const char *key, bool required,
                                  uint32_t *out, size_t n_max, size_t *n_items, spn_error *err);
spn_status spn_gguf_get_f32_array(const spn_gguf *gguf, const char *key, bool required, float *out,
                                  size_t n_max, size_t *n_items, spn_error *err);

/* Walks an array of strings in file order; O(1) a step. */
typedef struct spn_gguf_str_iter {
    const uint8_t *at;
    uint64_t n_left;
} spn_gguf_str_iter;
/* FORMAT when the key is there and no array of strings; n_left is 0 when it is absent. */
spn_status spn_gguf_str_array(const spn_gguf *gguf, const char *key, spn_gguf_str_iter *out,
                              spn_error *err);
bool spn_gguf_str_next(spn_gguf_str_iter *iter, spn_gguf_str *out);

/* One scalar of a pair as text for people ("12", "0.5", "true", the string itself, an array's
 * first items and length): appended to `buf`, control characters escaped. */
void spn_gguf_pair_print(const spn_gguf_pair *pair, size_t max_items, spn_buf *buf);

/* The data's home, for prefetching and locking: file `i`'s bytes in memory. */
void spn_gguf_file_span(const spn_gguf *gguf, size_t file, const uint8_t **data, size_t *n_bytes);

/* Parses "PREFIX-00002-of-00005.gguf" (any letter case of the ending): the part's number from 1 on,
 * how many there are, and the prefix's length. `name` may be a path. False when `name` has no such
 * form or its numbers make no sense. */
bool spn_gguf_split_name(const char *name, uint32_t *no, uint32_t *count, size_t *prefix_len);

/* ---- writing ---- */

/* Collects metadata and tensors, then writes the file in one go. Keys, strings and arrays are
 * copied; tensor data is borrowed until spn_gguf_writer_write returns. One thread at a time. */
typedef struct spn_gguf_writer spn_gguf_writer;
spn_status spn_gguf_writer_create(spn_gguf_writer **out, spn_error *err);
void spn_gguf_writer_free(spn_gguf_writer *writer);
spn_status spn_gguf_writer_u32(spn_gguf_writer *writer, const char *key, uint32_t value,
                               spn_error *err);
spn_status spn_gguf_writer_f32(spn_gguf_writer *writer, const char *key, float value,
                               spn_error *err);
spn_status spn_gguf_writer_bool(spn_gguf_writer *writer, const char *key, bool value,
                                spn_error *err);
spn_status spn_gguf_writer_str(spn_gguf_writer *writer, const char *key, const char *bytes,
                               size_t n_bytes, spn_error *err);
/* `kind` is any scalar kind but STRING; `items` are in the host's representation. */
spn_status spn_gguf_writer_array(spn_gguf_writer *writer, const char *key, spn_gguf_kind kind,
                                 const void *items, size_t n_items, spn_error *err);
spn_status spn_gguf_writer_str_array(spn_gguf_writer *writer, const char *key,
                                     const spn_gguf_str *items, size_t n_items, spn_error *err);
spn_status spn_gguf_writer_tensor(spn_gguf_writer *writer, const char *name, spn_type type,
                                  const uint64_t *ne, uint32_t n_dims, const void *data,
                                  spn_error *err);
/* Copies a pair of another file as it is. */
spn_status spn_gguf_writer_copy_pair(spn_gguf_writer *writer, const spn_gguf_pair *pair,
                                     spn_error *err);
/* Writes PATH.tmp, syncs and renames it to `path`, so that a reader never sees half a file. */
spn_status spn_gguf_writer_write(const spn_gguf_writer *writer, const char *path, spn_error *err);

#endif
