/* sha256.c - SHA-256 through libcrypto's EVP. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/sha256.h"

struct spn_sha256 {
    EVP_MD_CTX *context;
};

static spn_status fail(spn_error *err) {
    return SPN_FAIL(err, NO_MEMORY, "libcrypto cannot compute a checksum");
}

spn_status spn_sha256_create(spn_sha256 **out, spn_error *err) {
    spn_sha256 *sha = spn_alloc_zeroed(1, sizeof *sha);
    if (sha == NULL) return SPN_NO_MEMORY(err, "a checksum");
    sha->context = EVP_MD_CTX_new();
    if (sha->context == NULL || EVP_DigestInit_ex(sha->context, EVP_sha256(), NULL) != 1) {
        spn_sha256_free(sha);
        return fail(err);
    }
    *out = sha;
    return SPN_STATUS_OK;
}

void spn_sha256_free(spn_sha256 *sha) {
    if (sha == NULL) return;
    EVP_MD_CTX_free(sha->context);
    spn_free(sha);
}

spn_status spn_sha256_update(spn_sha256 *sha, const void *bytes, size_t n_bytes, spn_error *err) {
    return EVP_DigestUpdate(sha->context, bytes, n_bytes) == 1 ? SPN_STATUS_OK : fail(err);
}

spn_status spn_sha256_final(spn_sha256 *sha, uint8_t out[SPN_SHA256_BYTES], spn_error *err) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (EVP_DigestFinal_ex(sha->context, digest, NULL) != 1) return fail(err);
    if (EVP_DigestInit_ex(sha->context, EVP_sha256(), NULL) != 1) return fail(err);
    memcpy(out, digest, SPN_SHA256_BYTES);
    return SPN_STATUS_OK;
}

spn_status spn_sha256_of(const void *bytes, size_t n_bytes, uint8_t out[SPN_SHA256_BYTES],
                         spn_error *err) {
    spn_sha256 *sha = NULL;
    SPN_TRY(spn_sha256_create(&sha, err));
    spn_status status = spn_sha256_update(sha, bytes, n_bytes, err);
    if (status == SPN_STATUS_OK) status = spn_sha256_final(sha, out, err);
    spn_sha256_free(sha);
    return status;
}

/* Two hexadecimal digits for each of n bytes, and a NUL. */
static void write_digits(const uint8_t *digest, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * n] = '\0';
}

static spn_status git_blob(EVP_MD_CTX *context, uint64_t n_bytes, spn_git_read_fn read, void *user,
                           uint8_t digest[EVP_MAX_MD_SIZE], spn_error *err) {
    char head[32];
    uint8_t piece[16384];
    int n_head = snprintf(head, sizeof head, "blob %llu", (unsigned long long)n_bytes) + 1;
    if (EVP_DigestInit_ex(context, EVP_sha1(), NULL) != 1) return fail(err);
    if (EVP_DigestUpdate(context, head, (size_t)n_head) != 1) return fail(err);
    for (uint64_t at = 0; at < n_bytes;) {
        size_t n = n_bytes - at < sizeof piece ? (size_t)(n_bytes - at) : sizeof piece;
        SPN_TRY(read(user, at, piece, n, err));
        if (EVP_DigestUpdate(context, piece, n) != 1) return fail(err);
        at += n;
    }
    return EVP_DigestFinal_ex(context, digest, NULL) == 1 ? SPN_STATUS_OK : fail(err);
}

spn_status spn_git_blob_name(uint64_t n_bytes, spn_git_read_fn read, void *user, char out[41],
                             spn_error *err) {
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL) return fail(err);
    spn_status status = git_blob(context, n_bytes, read, user, digest, err);
    EVP_MD_CTX_free(context);
    if (status == SPN_STATUS_OK) write_digits(digest, 20, out);
    return status;
}

void spn_sha256_text(const uint8_t digest[SPN_SHA256_BYTES], char out[SPN_SHA256_TEXT]) {
    write_digits(digest, SPN_SHA256_BYTES, out);
}

static int digit_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool spn_sha256_parse(const char *text, uint8_t out[SPN_SHA256_BYTES]) {
    uint8_t digest[SPN_SHA256_BYTES];
    if (strlen(text) != SPN_SHA256_TEXT - 1) return false;
    for (size_t i = 0; i < SPN_SHA256_BYTES; i++) {
        int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(out, digest, sizeof digest);
    return true;
}
