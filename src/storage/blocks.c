/* blocks.c - which blocks of a file are here, and their digests.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Beside a download stands FILE.part.map; when it is done it becomes FILE.blocks, which `repair`
 * reads. It is written with small positioned writes: one record right after a block's data. Both
 * then survive the end of the process. After a loss of power a record may have reached the disk
 * without its data; so whoever goes on with an old part checks each digest before it counts.
 *
 *     offset 0   8 bytes   "SPNBLK1\n"
 *            8   8         size of the data file, little-endian as all numbers
 *           16   4         bytes of a block
 *           20   4         0
 *           24  64         SHA-256 of the whole in hex digits, or NULs when it was not known
 *           88  40         0
 *          128  16 each    digest of the block (8 bytes), 1 when the block is here (1), 0 (7)
 */
#include <assert.h>
#include <string.h>

#include "storage/store.h"

#define HEAD_BYTES 128u
#define RECORD_BYTES 16u
#define MAX_BLOCKS ((uint64_t)1 << 22) /* 1 TiB of data, 64 MiB of records */
static const char magic[8] = {'S', 'P', 'N', 'B', 'L', 'K', '1', '\n'};

/* ---- XXH64, seed 0: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md ---- */

#define P1 UINT64_C(0x9E3779B185EBCA87)
#define P2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define P3 UINT64_C(0x165667B19E3779F9)
#define P4 UINT64_C(0x85EBCA77C2B2AE63)
#define P5 UINT64_C(0x27D4EB2F165667C5)

static inline uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

/* Written out: compilers make one load of it, where they put it in line. */
static inline uint64_t load_u64(const uint8_t *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

static void store_u64(uint8_t *p, uint64_t x) {
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)(x >> (8 * i));
}

static inline uint64_t mix(uint64_t lane, uint64_t word) {
    return rotate(lane + word * P2, 31) * P1;
}

uint64_t spn_block_digest(const void *bytes, size_t n_bytes) {
    const uint8_t *p = bytes, *end = p + n_bytes;
    uint64_t h = P5;
    if (n_bytes >= 32) {
        uint64_t a = P1 + P2, b = P2, c = 0, d = 0 - P1; /* in registers, not an array */
        for (; end - p >= 32; p += 32) {
            a = mix(a, load_u64(p));
            b = mix(b, load_u64(p + 8));
            c = mix(c, load_u64(p + 16));
            d = mix(d, load_u64(p + 24));
        }
        h = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        h = (h ^ mix(0, a)) * P1 + P4;
        h = (h ^ mix(0, b)) * P1 + P4;
        h = (h ^ mix(0, c)) * P1 + P4;
        h = (h ^ mix(0, d)) * P1 + P4;
    }
    h += n_bytes;
    for (; end - p >= 8; p += 8) h = rotate(h ^ mix(0, load_u64(p)), 27) * P1 + P4;
    if (end - p >= 4) {
        uint64_t word = p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24;
        h = rotate(h ^ word * P1, 23) * P2 + P3;
        p += 4;
    }
    for (; p < end; p++) h = rotate(h ^ *p * P5, 11) * P1;
    h = (h ^ h >> 33) * P2;
    h = (h ^ h >> 29) * P3;
    return h ^ h >> 32;
}

/* ---- the table in memory ---- */

size_t spn_blocks_length(const spn_blocks *blocks, size_t i) {
    uint64_t start = (uint64_t)i * SPN_BLOCK_BYTES, left = blocks->size - start;
    return left < SPN_BLOCK_BYTES ? (size_t)left : SPN_BLOCK_BYTES;
}

uint64_t spn_blocks_done_bytes(const spn_blocks *blocks) {
    uint64_t total = 0;
    for (size_t i = 0; i < blocks->n; i++)
        if (blocks->done[i]) total += spn_blocks_length(blocks, i);
    return total;
}

static spn_status set_up(spn_blocks *out, uint64_t size, const char *sha256, spn_error *err) {
    *out = (spn_blocks){.size = size};
    uint64_t n = size / SPN_BLOCK_BYTES + (size % SPN_BLOCK_BYTES != 0);
    if (n > MAX_BLOCKS)
        return SPN_FAIL(err, INVALID_ARGUMENT, "files larger than 1 TiB are not supported");
    out->n = (size_t)n;
    out->digests = spn_alloc_zeroed(out->n, sizeof *out->digests);
    out->done = spn_alloc_zeroed(out->n, 1);
    if (spn_is_sha256(sha256)) memcpy(out->sha256, sha256, 65);
    if (out->digests && out->done) return SPN_STATUS_OK;
    spn_blocks_close(out);
    return SPN_NO_MEMORY(err, "the table of blocks");
}

void spn_blocks_close(spn_blocks *blocks) {
    if (blocks == NULL) return;
    spn_file_close(blocks->file);
    spn_free(blocks->digests);
    spn_free(blocks->done);
    *blocks = (spn_blocks){0};
}

/* ---- the file ---- */

static void write_head(const spn_blocks *blocks, uint8_t head[HEAD_BYTES]) {
    memset(head, 0, HEAD_BYTES);
    memcpy(head, magic, sizeof magic);
    store_u64(head + 8, blocks->size);
    store_u64(head + 16, SPN_BLOCK_BYTES);
    memcpy(head + 24, blocks->sha256, 64);
}

spn_status spn_blocks_create(spn_blocks *out, const char *path, uint64_t size, const char *sha256,
                             spn_error *err) {
    uint8_t head[HEAD_BYTES];
    spn_blocks blocks;
    SPN_TRY(set_up(&blocks, size, sha256, err));
    spn_status status = SPN_STATUS_OK;
    if (path == NULL) goto done;
    write_head(&blocks, head);
    SPN_TRY_GOTO(spn_file_open(&blocks.file, path, SPN_FILE_WRITE_NEW, err));
    /* The room for all records at once: a full disk shows now. */
    SPN_TRY_GOTO(
        spn_file_allocate(blocks.file, HEAD_BYTES + (uint64_t)blocks.n * RECORD_BYTES, err));
    SPN_TRY_GOTO(spn_file_write_at(blocks.file, head, sizeof head, 0, err));
done:
    if (status == SPN_STATUS_OK)
        *out = blocks;
    else
        spn_blocks_close(&blocks);
    return status;
}

static spn_status bad_map(spn_error *err, const char *why) {
    return SPN_FAIL(err, FORMAT, "the table of blocks is damaged: %s", why);
}

spn_status spn_blocks_parse(spn_blocks *out, const void *bytes, size_t n_bytes, spn_error *err) {
    const uint8_t *p = bytes;
    char sha256[65] = "";
    spn_blocks blocks;
    if (n_bytes < HEAD_BYTES || memcmp(p, magic, sizeof magic) != 0)
        return bad_map(err, "it does not begin as one");
    uint64_t size = load_u64(p + 8);
    if (load_u64(p + 16) != SPN_BLOCK_BYTES) return bad_map(err, "its blocks have another size");
    if (size / SPN_BLOCK_BYTES > n_bytes / RECORD_BYTES) return bad_map(err, "it is too short");
    memcpy(sha256, p + 24, 64);
    if (sha256[0] && !spn_is_sha256(sha256)) return bad_map(err, "its SHA-256 is none");
    SPN_TRY(set_up(&blocks, size, sha256, err));
    if (blocks.n > (n_bytes - HEAD_BYTES) / RECORD_BYTES) {
        spn_blocks_close(&blocks);
        return bad_map(err, "it is too short");
    }
    for (size_t i = 0; i < blocks.n; i++) {
        const uint8_t *record = p + HEAD_BYTES + i * RECORD_BYTES;
        blocks.digests[i] = load_u64(record);
        blocks.done[i] = record[8] == 1;
    }
    *out = blocks;
    return SPN_STATUS_OK;
}

spn_status spn_blocks_open(spn_blocks *out, const char *path, bool writable, spn_error *err) {
    char *text;
    size_t n_bytes;
    spn_blocks blocks;
    SPN_TRY(
        spn_file_read(path, HEAD_BYTES + (size_t)MAX_BLOCKS * RECORD_BYTES, &text, &n_bytes, err));
    spn_status status = spn_blocks_parse(&blocks, text, n_bytes, err);
    spn_free(text);
    if (status != SPN_STATUS_OK) return status;
    if (writable) status = spn_file_open(&blocks.file, path, SPN_FILE_UPDATE, err);
    if (status == SPN_STATUS_OK)
        *out = blocks;
    else
        spn_blocks_close(&blocks);
    return status;
}

static spn_status write_record(spn_blocks *blocks, size_t i, spn_error *err) {
    uint8_t record[RECORD_BYTES] = {0};
    if (blocks->file == NULL) return SPN_STATUS_OK;
    store_u64(record, blocks->digests[i]);
    record[8] = blocks->done[i];
    return spn_file_write_at(blocks->file, record, sizeof record,
                             HEAD_BYTES + (uint64_t)i * RECORD_BYTES, err);
}

spn_status spn_blocks_set(spn_blocks *blocks, size_t i, uint64_t digest, spn_error *err) {
    assert(i < blocks->n);
    blocks->digests[i] = digest;
    blocks->done[i] = 1;
    return write_record(blocks, i, err);
}

spn_status spn_blocks_unset(spn_blocks *blocks, size_t i, spn_error *err) {
    assert(i < blocks->n);
    blocks->done[i] = 0;
    return write_record(blocks, i, err);
}
