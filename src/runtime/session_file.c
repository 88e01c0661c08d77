/* session_file.c - a session's cache to a file and back. SPDX-License-Identifier: Apache-2.0
 *
 * The file: the head below, then the tokens (i32), the logits (f32, if has_logits), the pieces of
 * the KV cache in spn_kv_cache_visit's order, and the SHA-256 of all that. Numbers are
 * little-endian, as this machine's. Loading checks the head before it touches the session, reads
 * into the cache, and empties the session again when the digest does not fit. */
#include <string.h>

#include "base/sha256.h"
#include "platform/os.h"
#include "runtime/session.h"

typedef struct file_head {
    char magic[8];
    uint32_t version;
    uint32_t n_ctx, n_batch, type_k, type_v;
    uint32_t n_cached, known_from, has_logits;
    uint32_t n_vocab, reserved;
    uint8_t model[SPN_SHA256_BYTES];
} file_head;

static const char magic[8] = "SPNSESS";
enum { FILE_VERSION = 2, SAMPLE_BYTES = 256 };

/* ---- which model ---- */

/* Hashing gigabytes would take longer than reading the conversation again: the metadata, the list
 * of tensors and the first and last bytes of each tensor tell models apart. */
static spn_status hash_model(const spn_gguf *gguf, spn_sha256 *sha, spn_error *err) {
    for (size_t i = 0; i < spn_gguf_n_pairs(gguf); i++) {
        const spn_gguf_pair *pair = spn_gguf_pair_at(gguf, i);
        SPN_TRY(spn_sha256_update(sha, pair->key.data, pair->key.len, err));
        SPN_TRY(spn_sha256_update(sha, pair->data, pair->n_bytes, err));
    }
    for (size_t i = 0; i < spn_gguf_n_tensors(gguf); i++) {
        const spn_gguf_tensor *tensor = spn_gguf_tensor_at(gguf, i);
        size_t n = spn_min_size(tensor->n_bytes, SAMPLE_BYTES);
        SPN_TRY(spn_sha256_update(sha, tensor->name.data, tensor->name.len, err));
        SPN_TRY(spn_sha256_update(sha, tensor->ne, sizeof tensor->ne, err));
        SPN_TRY(spn_sha256_update(sha, tensor->data, n, err));
        SPN_TRY(spn_sha256_update(sha, tensor->data + tensor->n_bytes - n, n, err));
    }
    return SPN_STATUS_OK;
}

static spn_status make_head(const spn_session *session, file_head *out, spn_error *err) {
    const spn_session_size *size = &session->size;
    spn_sha256 *sha;
    *out = (file_head){.version = FILE_VERSION,
                       .n_ctx = size->n_ctx,
                       .n_batch = size->n_batch,
                       .type_k = size->type_k,
                       .type_v = size->type_v,
                       .n_cached = session->n_cached,
                       .known_from = spn_kv_cache_known_from(session->kv, session->n_cached),
                       .has_logits = session->has_logits,
                       .n_vocab = session->model->network->n_vocab};
    memcpy(out->magic, magic, sizeof magic);
    SPN_TRY(spn_sha256_create(&sha, err));
    spn_status status = hash_model(session->model->gguf, sha, err);
    if (status == SPN_STATUS_OK) status = spn_sha256_final(sha, out->model, err);
    spn_sha256_free(sha);
    return status;
}

/* ---- pieces in a row ---- */

typedef struct stream {
    spn_file *file;
    spn_sha256 *sha;
    uint64_t at;
    bool writing;
    spn_status status;
    spn_error *err;
} stream;

static bool pass_piece(void *piece, size_t n_bytes, void *user) {
    stream *s = user;
    size_t n = n_bytes;
    if (s->writing) {
        s->status = spn_file_write_at(s->file, piece, n_bytes, s->at, s->err);
    } else {
        s->status = spn_file_read_at(s->file, piece, n_bytes, s->at, &n, s->err);
        if (s->status == SPN_STATUS_OK && n != n_bytes)
            s->status = SPN_FAIL(s->err, FORMAT, "the session file ends too early");
    }
    if (s->status == SPN_STATUS_OK) s->status = spn_sha256_update(s->sha, piece, n_bytes, s->err);
    s->at += n_bytes;
    return s->status == SPN_STATUS_OK;
}

static spn_status pass_body(spn_session *session, stream *s, uint32_t n_cached, bool has_logits) {
    size_t n_vocab = session->model->network->n_vocab;
    bool ok = pass_piece(session->tokens, n_cached * sizeof *session->tokens, s);
    if (ok && has_logits) ok = pass_piece(session->logits, n_vocab * sizeof *session->logits, s);
    if (ok) spn_kv_cache_visit(session->kv, n_cached, pass_piece, s);
    return s->status;
}

/* ---- saving ---- */

static spn_status write_all(const spn_session *session, stream *s) {
    file_head head;
    uint8_t digest[SPN_SHA256_BYTES];
    /* pass_body only reads the session when it writes the file. */
    union {
        const spn_session *from;
        spn_session *to;
    } same = {session};
    SPN_TRY(make_head(session, &head, s->err));
    if (!pass_piece(&head, sizeof head, s)) return s->status;
    SPN_TRY(pass_body(same.to, s, session->n_cached, session->has_logits));
    SPN_TRY(spn_sha256_final(s->sha, digest, s->err));
    SPN_TRY(spn_file_write_at(s->file, digest, sizeof digest, s->at, s->err));
    return spn_file_sync(s->file, s->err);
}

spn_status spn_session_save(const spn_session *session, const char *path, spn_error *err) {
    if (session->n_cached == 0)
        return SPN_FAIL(err, INVALID_ARGUMENT, "the session is empty: there is nothing to save");
    spn_buf temp = SPN_BUF(65536);
    stream s = {.writing = true, .err = err};
    spn_status status = SPN_STATUS_OK;
    if (!spn_buf_printf(&temp, "%s.tmp", path)) {
        status = SPN_NO_MEMORY(err, "a file name");
        goto done;
    }
    SPN_TRY_GOTO(spn_sha256_create(&s.sha, err));
    SPN_TRY_GOTO(spn_file_open(&s.file, temp.data, SPN_FILE_WRITE_NEW, err));
    status = write_all(session, &s);
    spn_file_close(s.file);
    if (status == SPN_STATUS_OK) status = spn_path_rename(temp.data, path, err);
    if (status != SPN_STATUS_OK) spn_path_remove(temp.data, NULL);
done:
    spn_sha256_free(s.sha);
    spn_buf_free(&temp);
    return status;
}

/* ---- loading ---- */

/* Whether what is cached depends on n_ctx and n_batch: rings of windows do, and tables of rotation
 * that are chosen by the context. */
static bool depends_on_sizes(const spn_network *network) {
    for (uint32_t l = 0; l < network->n_layer; l++)
        if (network->layers[l].window != 0 || network->layers[l].chunk != 0) return true;
    for (int i = 0; i < SPN_ROPE_COUNT; i++)
        if (network->rope[i].inv_freq_long != NULL) return true;
    return false;
}

static spn_status check_sizes(const spn_session *session, const file_head *head,
                              const file_head *own, spn_error *err) {
    bool same = head->n_ctx == own->n_ctx && head->n_batch == own->n_batch;
    if (!same && depends_on_sizes(session->model->network))
        return SPN_FAIL(err, INVALID_CONFIG,
                        "the session was saved with a context of %u tokens in batches of %u: this "
                        "one has %u and %u",
                        head->n_ctx, head->n_batch, own->n_ctx, own->n_batch);
    if (head->type_k != own->type_k || head->type_v != own->type_v)
        return SPN_FAIL(err, INVALID_CONFIG, "the session was saved with another KV cache type");
    if (head->n_cached == 0 || head->n_cached > head->n_ctx || head->has_logits > 1)
        return SPN_FAIL(err, FORMAT, "the session file says %u tokens in a context of %u",
                        head->n_cached, head->n_ctx);
    if (head->n_cached > own->n_ctx)
        return SPN_FAIL(err, INVALID_CONFIG,
                        "the session file holds %u tokens: they do not fit a context of %u",
                        head->n_cached, own->n_ctx);
    return SPN_STATUS_OK;
}

static spn_status check_head(const spn_session *session, const file_head *head, spn_error *err) {
    file_head own = {0};
    if (memcmp(head->magic, magic, sizeof magic) != 0)
        return SPN_FAIL(err, FORMAT, "this is no session file");
    if (head->version != FILE_VERSION)
        return SPN_FAIL(err, FORMAT, "the session file has version %u: this program reads %d",
                        head->version, FILE_VERSION);
    SPN_TRY(make_head(session, &own, err));
    if (memcmp(head->model, own.model, sizeof own.model) != 0 || head->n_vocab != own.n_vocab)
        return SPN_FAIL(err, INVALID_CONFIG, "the session was saved with another model");
    return check_sizes(session, head, &own, err);
}

static spn_status check_tokens(const spn_session *session, uint32_t n_cached, spn_error *err) {
    for (uint32_t i = 0; i < n_cached; i++)
        if (session->tokens[i] < 0 ||
            (uint32_t)session->tokens[i] >= session->model->network->n_vocab)
            return SPN_FAIL(err, FORMAT, "the session file has token %d", session->tokens[i]);
    return SPN_STATUS_OK;
}

static spn_status read_all(spn_session *session, stream *s, file_head *head) {
    uint8_t digest[SPN_SHA256_BYTES], stored[SPN_SHA256_BYTES];
    uint64_t size;
    size_t n = 0;
    if (!pass_piece(head, sizeof *head, s)) return s->status;
    SPN_TRY(check_head(session, head, s->err));
    spn_kv_cache_expect(session->kv, head->n_cached);
    SPN_TRY(pass_body(session, s, head->n_cached, head->has_logits != 0));
    SPN_TRY(spn_sha256_final(s->sha, digest, s->err));
    SPN_TRY(spn_file_read_at(s->file, stored, sizeof stored, s->at, &n, s->err));
    SPN_TRY(spn_file_size(s->file, &size, s->err));
    if (n != sizeof stored || size != s->at + sizeof stored)
        return SPN_FAIL(s->err, FORMAT, "the session file has the wrong size");
    if (memcmp(stored, digest, sizeof digest) != 0)
        return SPN_FAIL(s->err, FORMAT, "the session file is damaged: its checksum does not fit");
    return check_tokens(session, head->n_cached, s->err);
}

spn_status spn_session_load(spn_session *session, const char *path, spn_error *err) {
    stream s = {.err = err};
    file_head head = {0};
    session->has_logits = false;
    session->n_cached = spn_kv_cache_rewind(session->kv, session->n_cached, 0);
    SPN_TRY(spn_sha256_create(&s.sha, err));
    spn_status status = spn_file_open(&s.file, path, SPN_FILE_READ, err);
    if (status == SPN_STATUS_OK) {
        status = read_all(session, &s, &head);
        spn_file_close(s.file);
    }
    spn_sha256_free(s.sha);
    if (status != SPN_STATUS_OK) {
        spn_kv_cache_rewind(session->kv, 0, 0); /* recurrent states may be half read */
        return status;
    }
    session->n_cached = head.n_cached;
    session->has_logits = head.has_logits != 0;
    spn_kv_cache_set_known_from(session->kv, head.known_from);
    return SPN_STATUS_OK;
}

const int32_t *spn_session_tokens(const spn_session *session, size_t *n_tokens) {
    *n_tokens = session->n_cached;
    return session->tokens;
}
