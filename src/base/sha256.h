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

/* Lower-case digits. */
void spn_sha256_text(const uint8_t digest[SPN_SHA256_BYTES], char out[SPN_SHA256_TEXT]);
/* Exactly 64 digits of any letter case; false (and out untouched) for anything else. */
bool spn_sha256_parse(const char *text, uint8_t out[SPN_SHA256_BYTES]);

#endif
