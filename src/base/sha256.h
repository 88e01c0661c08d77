/* sha256.h - SHA-256 over a stream of bytes. SPDX-License-Identifier: Apache-2.0
 *
 * A seam over libcrypto, the only place that knows it. Its memory is libcrypto's own and does not
 * come from the allocator hook. One thread at a time.
 */
#ifndef SPN_SHA256_H
#define SPN_SHA256_H

#include "base/base.h"

enum { SPN_SHA256_BYTES = 32, SPN_SHA256_TEXT = 65 }; /* 64 hexadecimal digits and a NUL */

typedef struct spn_sha256 spn_sha256;

spn_status spn_sha256_create(spn_sha256 **out, spn_error *err);
void spn_sha256_free(spn_sha256 *sha);
spn_status spn_sha256_update(spn_sha256 *sha, const void *bytes, size_t n_bytes, spn_error *err);
/* The digest of all updates; the next update starts a new one. */
spn_status spn_sha256_final(spn_sha256 *sha, uint8_t out[SPN_SHA256_BYTES], spn_error *err);

/* The same in one call. */
spn_status spn_sha256_of(const void *bytes, size_t n_bytes, uint8_t out[SPN_SHA256_BYTES],
                         spn_error *err);

/* git's name of a blob: the SHA-1 of "blob N", a NUL and the N bytes, in hexadecimal digits. `read`
 * fills `out` with the n bytes at an offset. */
typedef spn_status (*spn_git_read_fn)(void *user, uint64_t offset, void *out, size_t n,
                                      spn_error *err);
spn_status spn_git_blob_name(uint64_t n_bytes, spn_git_read_fn read, void *user, char out[41],
                             spn_error *err);

/* Lower-case digits. */
void spn_sha256_text(const uint8_t digest[SPN_SHA256_BYTES], char out[SPN_SHA256_TEXT]);
/* Exactly 64 digits of any letter case; false (and out untouched) for anything else. */
bool spn_sha256_parse(const char *text, uint8_t out[SPN_SHA256_BYTES]);

#endif
