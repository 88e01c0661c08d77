/* session_embed.c - tokens to vectors, several texts a pass.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A text that fits a pass whole shares it with its neighbours: each is a segment of the pass and
 * has slots of its own in a room for keys and values (kv_cache.c), so that nothing of one is seen
 * by another, and the contract of kernels.h gives it the bits that it would have alone. A decoder's
 * longer text goes through the session's own cache, pass by pass, and so does every text of a
 * network with recurrent layers, whose states are large; an encoder's longer text makes the pass
 * larger, for there every token sees every other. */
#include <string.h>

#include "runtime/session.h"

/* Most texts a pass: those of eight tokens fill one of 512 rows. */
enum { MOST_TEXTS = 64 };

struct spn_embed_room {
    spn_kv_room *kv;
    uint32_t n_batch;      /* rows that there is room for */
    spn_segment *segments; /* [MOST_TEXTS] */
    spn_kv_layer *layers;  /* [MOST_TEXTS][n_layer] */
    float *hidden;         /* [n_batch][n_embd] */
};

typedef struct embed_call {
    spn_session *session;
    const int32_t *const *tokens;
    const size_t *n_tokens;
    size_t n_texts;
    spn_pooling_type pooling;
    float *out;             /* [n_texts][n_embd] */
    size_t n_done, n_total; /* tokens of all texts */
} embed_call;

/* ---- life ---- */

void spn_embed_room_free(spn_embed_room *room) {
    if (room == NULL) return;
    spn_kv_room_free(room->kv);
    spn_free(room->segments);
    spn_free(room->layers);
    spn_free(room->hidden);
    spn_free(room);
}

static spn_status room_fill(spn_embed_room *room, const spn_session *session, spn_error *err) {
    const spn_network *network = session->model->network;
    const spn_session_size *size = &session->size;
    /* Each text's last slots may be empty, up to the next multiple of 64. */
    uint32_t n_slots = (size->n_batch + 63) / 64 * 64 + 64 * MOST_TEXTS;
    room->n_batch = size->n_batch;
    room->segments = spn_alloc_array(MOST_TEXTS, sizeof *room->segments);
    room->layers = spn_alloc_array((size_t)MOST_TEXTS * network->n_layer, sizeof *room->layers);
    room->hidden = spn_alloc_array(size->n_batch, network->n_embd * sizeof *room->hidden);
    if (room->segments == NULL || room->layers == NULL || room->hidden == NULL)
        return SPN_NO_MEMORY(err, "short texts");
    return spn_kv_room_create(&room->kv, network, n_slots, size->type_k, size->type_v, err);
}

static spn_status make_room(spn_session *session, spn_error *err) {
    spn_embed_room *old = session->embed_room;
    if (old != NULL && old->n_batch == session->size.n_batch) return SPN_STATUS_OK;
    spn_embed_room *room = spn_alloc_zeroed(1, sizeof *room);
    if (room == NULL) return SPN_NO_MEMORY(err, "short texts");
    spn_status status = room_fill(room, session, err);
    if (status != SPN_STATUS_OK) {
        spn_embed_room_free(room);
        return status;
    }
    spn_embed_room_free(old);
    session->embed_room = room;
    return SPN_STATUS_OK;
}

static spn_status grow_batch(spn_session *session, size_t n_tokens, spn_error *err) {
    if (session->model->network->has_logits || n_tokens <= session->size.n_batch)
        return SPN_STATUS_OK;
    spn_session_size size = session->size;
    size.n_batch = (uint32_t)n_tokens;
    spn_pass_options options =
        spn_session_pass_options(session->model, &size, session->options.n_threads);
    int32_t *positions = spn_realloc_array(session->positions, n_tokens, sizeof *positions);
    if (positions != NULL) session->positions = positions;
    uint32_t *out_rows = spn_realloc_array(session->out_rows, n_tokens, sizeof *out_rows);
    if (out_rows != NULL) session->out_rows = out_rows;
    if (positions == NULL || out_rows == NULL) return SPN_NO_MEMORY(err, "a long text");
    spn_pass *pass;
    SPN_TRY(spn_pass_create(&pass, session->model->network, &options, err));
    spn_pass_free(session->pass);
    session->pass = pass;
    if (session->options.profile) spn_pass_backend(pass)->profile = &session->profile;
    session->size.n_batch = size.n_batch;
    return SPN_STATUS_OK;
}

/* ---- pooling ---- */

/* A text's vector is made of the hidden states of *first and the rows behind it, so many in all. */
static size_t pooled_rows(spn_pooling_type pooling, size_t n_tokens, size_t *first) {
    *first = pooling == SPN_POOLING_TYPE_LAST ? n_tokens - 1 : 0;
    return pooling == SPN_POOLING_TYPE_MEAN ? n_tokens : 1;
}

/* hidden: [n_rows][n_embd]. Each sum runs over the rows in their order. */
static void mean(const float *hidden, size_t n_rows, size_t n_embd, float *out) {
    double sum[64];
    for (size_t begin = 0; begin < n_embd; begin += SPN_COUNT(sum)) {
        size_t n = spn_min_size(n_embd - begin, SPN_COUNT(sum));
        memset(sum, 0, sizeof sum);
        for (size_t t = 0; t < n_rows; t++)
            for (size_t e = 0; e < n; e++) sum[e] += (double)hidden[t * n_embd + begin + e];
        for (size_t e = 0; e < n; e++) out[begin + e] = (float)(sum[e] / (double)n_rows);
    }
}

/* hidden: the rows that pooled_rows names. */
static void pool(const embed_call *call, const float *hidden, size_t text) {
    size_t n_embd = call->session->model->network->n_embd, first;
    float *out = call->out + text * n_embd;
    if (call->pooling == SPN_POOLING_TYPE_MEAN)
        mean(hidden, pooled_rows(call->pooling, call->n_tokens[text], &first), n_embd, out);
    else
        memcpy(out, hidden, n_embd * sizeof *out);
}

static spn_status project(const embed_call *call, size_t text, size_t n_texts, spn_error *err) {
    spn_session *session = call->session;
    float *out = call->out + text * session->model->network->n_embd;
    return spn_pass_project(session->pass, out, (uint32_t)n_texts, &session->cancel, err);
}

/* ---- one text in several passes ---- */

static spn_status embed_alone(embed_call *call, size_t text, spn_error *err) {
    spn_session *session = call->session;
    size_t n_embd = session->model->network->n_embd, n_tokens = call->n_tokens[text], first;
    pooled_rows(call->pooling, n_tokens, &first);
    float *hidden = spn_alloc_array(n_tokens - first, n_embd * sizeof *hidden);
    if (hidden == NULL) return SPN_NO_MEMORY(err, "the hidden states");
    const spn_wanted_rows wanted = {first, hidden, true, call->n_done, call->n_total};
    spn_status status = spn_session_evaluate(session, call->tokens[text], n_tokens, &wanted, err);
    session->n_cached = spn_kv_cache_rewind(session->kv, session->n_cached, 0);
    if (status == SPN_STATUS_OK) {
        pool(call, hidden, text);
        status = project(call, text, 1, err);
    }
    spn_free(hidden);
    return status;
}

/* ---- several texts in one pass ---- */

/* How many texts from `text` on share the next pass. */
static size_t texts_that_fit(const embed_call *call, size_t text) {
    size_t n = 0, room = call->session->size.n_batch;
    while (n < MOST_TEXTS && text + n < call->n_texts && call->n_tokens[text + n] <= room)
        room -= call->n_tokens[text + n++];
    return n;
}

static void add_text(const embed_call *call, size_t text, spn_segment *segment, uint32_t *slot,
                     spn_batch *batch, uint32_t *n_out) {
    spn_session *session = call->session;
    const spn_embed_room *room = session->embed_room;
    spn_kv_layer *layers =
        room->layers + (size_t)batch->n_segments * session->model->network->n_layer;
    uint32_t n_tokens = (uint32_t)call->n_tokens[text];
    *slot = spn_kv_room_layers(room->kv, *slot, n_tokens, layers);
    *segment = (spn_segment){.layers = layers,
                             .states = spn_kv_cache_states(session->kv),
                             .first_row = batch->n_rows,
                             .n_rows = n_tokens};
    size_t first, n_rows = pooled_rows(call->pooling, n_tokens, &first);
    for (size_t i = 0; i < n_rows; i++)
        session->out_rows[(*n_out)++] = batch->n_rows + (uint32_t)(first + i);
    memcpy(session->tokens + batch->n_rows, call->tokens[text], n_tokens * sizeof(int32_t));
    for (uint32_t i = 0; i < n_tokens; i++) session->positions[batch->n_rows + i] = (int32_t)i;
    batch->n_rows += n_tokens;
    batch->n_segments++;
}

static spn_status embed_together(embed_call *call, size_t text, size_t n_texts, spn_error *err) {
    spn_session *session = call->session;
    const spn_embed_room *room = session->embed_room;
    spn_batch batch = {
        .tokens = session->tokens, .positions = session->positions, .segments = room->segments};
    uint32_t n_out = 0, slot = 0;
    if (!spn_session_report(session, call->n_done, call->n_total))
        return SPN_FAIL(err, CANCELLED, "the evaluation was cancelled");
    for (size_t i = 0; i < n_texts; i++)
        add_text(call, text + i, &room->segments[i], &slot, &batch, &n_out);
    SPN_TRY(spn_pass_run_hidden(session->pass, &batch, session->out_rows, n_out, room->hidden,
                                &session->cancel, err));
    const float *hidden = room->hidden;
    for (size_t i = text, first; i < text + n_texts; i++) {
        pool(call, hidden, i);
        hidden +=
            pooled_rows(call->pooling, call->n_tokens[i], &first) * session->model->network->n_embd;
    }
    return project(call, text, n_texts, err);
}

/* ---- the call ---- */

static spn_status check_texts(embed_call *call, size_t *longest, spn_error *err) {
    *longest = 0;
    for (size_t i = 0; i < call->n_texts; i++) {
        spn_status status =
            spn_session_check(call->session, call->tokens[i], call->n_tokens[i], err);
        SPN_TRY(spn_failed_item(err, status, i));
        *longest = spn_max_size(*longest, call->n_tokens[i]);
        call->n_total += call->n_tokens[i];
    }
    return SPN_STATUS_OK;
}

static spn_status embed(embed_call *call, spn_error *err) {
    spn_session *session = call->session;
    bool together = spn_kv_room_is_possible(session->model->network);
    size_t longest;
    SPN_TRY(check_texts(call, &longest, err));
    SPN_TRY(grow_batch(session, longest, err));
    if (together) SPN_TRY(make_room(session, err));
    atomic_store(&session->cancel, 0);
    session->has_logits = false;
    session->n_cached = spn_kv_cache_rewind(session->kv, session->n_cached, 0);
    for (size_t text = 0; text < call->n_texts;) {
        size_t n = together ? texts_that_fit(call, text) : 0;
        if (n > 0)
            SPN_TRY(embed_together(call, text, n, err));
        else
            SPN_TRY(spn_failed_item(err, embed_alone(call, text, err), text));
        for (size_t end = text + spn_max_size(n, 1); text < end; text++)
            call->n_done += call->n_tokens[text];
    }
    return SPN_STATUS_OK;
}

spn_status spn_session_embed_batch(spn_session *session, const int32_t *const *tokens,
                                   const size_t *n_tokens, size_t n_texts, spn_pooling_type pooling,
                                   float *out, spn_error *err) {
    const spn_network *network = session->model->network;
    embed_call call = {session, tokens, n_tokens, n_texts, pooling, out, 0, 0};
    if ((unsigned)pooling > SPN_POOLING_TYPE_LAST)
        return SPN_FAIL(err, INVALID_ARGUMENT, "pooling type %d is not known", (int)pooling);
    if (pooling == SPN_POOLING_TYPE_DEFAULT)
        call.pooling = network->pooling == SPN_POOLING_NONE ? SPN_POOLING_TYPE_LAST
                                                            : (spn_pooling_type)network->pooling;
    return embed(&call, err);
}

spn_status spn_session_embed(spn_session *session, const int32_t *tokens, size_t n_tokens,
                             spn_pooling_type pooling, float *out, spn_error *err) {
    return spn_session_embed_batch(session, &tokens, &n_tokens, 1, pooling, out, err);
}
