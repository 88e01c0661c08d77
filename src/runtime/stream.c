/* stream.c - an answer generated on a thread of its own, read through a bounded queue.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Two threads share a stream: the worker, which runs the generation and pushes text, and the
 * reader. `lock` protects everything below it; both conditions belong to it. A stream ends in this
 * order: the worker sets `ended`, after which it touches the stream no more but to unlock. */
#include <string.h>

#include "platform/os.h"
#include "runtime/runtime_internal.h"

/* Bytes that wait at most, if no single piece is longer. Two buffers of it are a stream's memory:
 * the worker fills one while the reader has the other. */
#define QUEUE_BYTES 8192

struct spn_stream {
    spn_runtime *runtime;
    spn_arena arena; /* copies of what the options point to */
    spn_chat_options options;
    int32_t *prompt; /* [n_prompt] */
    size_t n_prompt;
    bool new_text;
    spn_thread *thread; /* NULL: not started, and the runtime is not the stream's */
    spn_buf reading;    /* the reader's alone */

    spn_mutex *lock;
    spn_cond *has_text; /* or the end */
    spn_cond *has_room; /* or nobody wants the text any more */
    spn_buf waiting;
    spn_event *event; /* NULL until the reader asks for its descriptor */
    bool dropped;
    bool ended;
    spn_status status; /* of the generation, once it has ended */
    spn_error err;
    spn_chat_response response;
};

/* ---- the worker ---- */

/* Pushes a piece, waiting while the queue is full. */
static bool push(const char *text, size_t n_bytes, void *user) {
    spn_stream *stream = user;
    spn_runtime *runtime = stream->runtime;
    spn_mutex_lock(stream->lock);
    while (stream->waiting.len > 0 && stream->waiting.len + n_bytes > QUEUE_BYTES &&
           !stream->dropped && !atomic_load(&runtime->cancelled))
        /* spn_runtime_cancel may be called in a signal handler, so it wakes nobody. */
        spn_cond_wait_for(stream->has_room, stream->lock, 50 * 1000000u);
    bool wanted = !stream->dropped;
    /* A cancelled text is kept whole: what came before the cancel stays readable. */
    if (wanted && !spn_buf_append(&stream->waiting, text, n_bytes)) wanted = false;
    if (stream->event != NULL) spn_event_set(stream->event);
    spn_cond_signal(stream->has_text);
    spn_mutex_unlock(stream->lock);
    return wanted;
}

static void work(void *arg) {
    spn_stream *stream = arg;
    spn_error err = {0};
    spn_chat_response response = {0};
    spn_status status = spn_generate(stream->runtime, stream->prompt, stream->n_prompt,
                                     stream->new_text, &stream->options, &response, &err);
    spn_mutex_lock(stream->lock);
    if (status == SPN_STATUS_OK && stream->waiting.failed)
        status = SPN_NO_MEMORY(&err, "the stream's text");
    stream->status = status;
    stream->err = err;
    stream->response = response;
    stream->ended = true;
    if (stream->event != NULL) spn_event_set(stream->event);
    spn_cond_signal(stream->has_text);
    spn_mutex_unlock(stream->lock);
}

/* ---- beginning ---- */

static bool copy_stops(spn_stream *stream, const spn_chat_options *from) {
    const char **stops = spn_arena_array(&stream->arena, from->n_stop + 1, sizeof *stops);
    for (size_t i = 0; stops != NULL && i < from->n_stop; i++) {
        stops[i] = spn_arena_text(&stream->arena, from->stop[i], strlen(from->stop[i]));
        if (stops[i] == NULL) return false;
    }
    stream->options.stop = stops;
    return stops != NULL;
}

/* A list that is NULL stays so: the sampler says what is wrong with it. */
static bool copy_items(spn_stream *stream, const void **items, size_t n, size_t item_bytes) {
    if (*items == NULL || n == 0) return true;
    void *copy = spn_arena_array(&stream->arena, n, item_bytes);
    if (copy != NULL) memcpy(copy, *items, n * item_bytes);
    *items = copy;
    return copy != NULL;
}

static spn_status copy_options(spn_stream *stream, const spn_chat_options *from, spn_error *err) {
    spn_sampler_options *sampler = &stream->options.sampler;
    stream->options = *from;
    if (stream->options.on_text == NULL) {
        stream->options.on_text = push;
        stream->options.on_text_user = stream;
    }
    const void *bias = sampler->bias, *breakers = sampler->dry_breakers;
    if (!copy_items(stream, &bias, sampler->n_bias, sizeof *sampler->bias) ||
        !copy_items(stream, &breakers, sampler->n_dry_breakers, sizeof *sampler->dry_breakers) ||
        !copy_stops(stream, from))
        return SPN_NO_MEMORY(err, "a stream's options");
    sampler->bias = bias;
    sampler->dry_breakers = breakers;
    return SPN_STATUS_OK;
}

static spn_status create(spn_stream **out, spn_runtime *runtime, const spn_chat_options *options,
                         spn_error *err) {
    static const spn_chat_options defaults = {0};
    spn_stream *stream = spn_alloc_zeroed(1, sizeof *stream);
    if (stream == NULL) return SPN_NO_MEMORY(err, "a stream");
    spn_status status = SPN_STATUS_OK;
    stream->runtime = runtime;
    stream->lock = spn_mutex_create();
    stream->has_text = spn_cond_create();
    stream->has_room = spn_cond_create();
    if (stream->lock == NULL || stream->has_text == NULL || stream->has_room == NULL)
        status = SPN_NO_MEMORY(err, "a stream");
    if (status == SPN_STATUS_OK) status = spn_chat_options_check(options, err);
    if (status == SPN_STATUS_OK) status = copy_options(stream, options ? options : &defaults, err);
    if (status == SPN_STATUS_OK)
        *out = stream;
    else
        spn_stream_free(stream);
    return status;
}

spn_status spn_stream_start(spn_runtime *runtime, int32_t *prompt, size_t n_prompt, bool new_text,
                            const spn_chat_options *options, spn_stream **out, spn_error *err) {
    spn_stream *stream = NULL;
    spn_status status = create(&stream, runtime, options, err);
    if (status != SPN_STATUS_OK) {
        spn_free(prompt);
        return status;
    }
    stream->prompt = prompt;
    stream->n_prompt = n_prompt;
    stream->new_text = new_text;
    status = spn_thread_start(&stream->thread, work, stream, "spn-stream", err);
    if (status != SPN_STATUS_OK) {
        spn_stream_free(stream);
        return status;
    }
    *out = stream;
    return SPN_STATUS_OK;
}

/* ---- the reader ---- */

/* Waits until there is text or the end; false when the time ran out. The lock is held. */
static bool wait_for_text(spn_stream *stream, int32_t timeout_ms) {
    uint64_t end = 0;
    if (timeout_ms >= 0) end = spn_time_ns() + (uint64_t)timeout_ms * 1000000u;
    while (stream->waiting.len == 0 && !stream->ended) {
        if (timeout_ms < 0) {
            spn_cond_wait(stream->has_text, stream->lock);
            continue;
        }
        uint64_t now = spn_time_ns();
        if (now >= end) return false;
        spn_cond_wait_for(stream->has_text, stream->lock, end - now);
    }
    return true;
}

/* Takes what waits. The lock is held. */
static spn_status take(spn_stream *stream, spn_stream_chunk *chunk, spn_error *err) {
    bool has_text = stream->waiting.len > 0;
    if (!has_text && stream->status != SPN_STATUS_OK) {
        if (err != NULL) *err = stream->err;
        return stream->status;
    }
    spn_buf swap = stream->reading;
    stream->reading = stream->waiting;
    stream->waiting = swap;
    spn_buf_clear(&stream->waiting);
    *chunk = (spn_stream_chunk){.text = has_text ? stream->reading.data : "",
                                .n_bytes = stream->reading.len,
                                .is_end = !has_text};
    if (stream->event != NULL && !stream->ended) spn_event_clear(stream->event);
    spn_cond_signal(stream->has_room);
    return SPN_STATUS_OK;
}

spn_status spn_stream_next(spn_stream *stream, int32_t timeout_ms, spn_stream_chunk *chunk,
                           spn_error *err) {
    spn_mutex_lock(stream->lock);
    spn_status status;
    if (wait_for_text(stream, timeout_ms))
        status = take(stream, chunk, err);
    else
        status = SPN_FAIL(err, TIMEOUT, "no text came within %d ms", timeout_ms);
    spn_mutex_unlock(stream->lock);
    return status;
}

int spn_stream_descriptor(spn_stream *stream) {
    spn_mutex_lock(stream->lock);
    if (stream->event == NULL) {
        stream->event = spn_event_create();
        if (stream->event != NULL && (stream->waiting.len > 0 || stream->ended))
            spn_event_set(stream->event);
    }
    int descriptor = stream->event != NULL ? spn_event_descriptor(stream->event) : -1;
    spn_mutex_unlock(stream->lock);
    return descriptor;
}

void spn_stream_cancel(spn_stream *stream) {
    spn_runtime_cancel(stream->runtime);
    /* A worker that waits for room must see it. */
    spn_mutex_lock(stream->lock);
    spn_cond_signal(stream->has_room);
    spn_mutex_unlock(stream->lock);
}

spn_status spn_stream_response(spn_stream *stream, spn_chat_response *response, spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    spn_mutex_lock(stream->lock);
    if (!stream->ended) {
        status = SPN_FAIL(err, BUSY, "the stream has not ended");
    } else if (stream->status != SPN_STATUS_OK) {
        status = stream->status;
        if (err != NULL) *err = stream->err;
    } else {
        spn_chat_response copy = stream->response;
        if (copy.content != NULL) copy.content = spn_memdup_text(copy.content, copy.content_bytes);
        if (copy.content != NULL)
            *response = copy;
        else
            status = SPN_NO_MEMORY(err, "the stream's response");
    }
    spn_mutex_unlock(stream->lock);
    return status;
}

void spn_stream_free(spn_stream *stream) {
    if (stream == NULL) return;
    if (stream->thread != NULL) {
        spn_mutex_lock(stream->lock);
        stream->dropped = true;
        spn_mutex_unlock(stream->lock);
        spn_stream_cancel(stream);
        spn_thread_join(stream->thread);
        spn_runtime_release(stream->runtime);
    }
    spn_chat_response_clear(&stream->response);
    spn_event_free(stream->event);
    spn_buf_free(&stream->waiting);
    spn_buf_free(&stream->reading);
    spn_cond_free(stream->has_room);
    spn_cond_free(stream->has_text);
    spn_mutex_free(stream->lock);
    spn_arena_free(&stream->arena);
    spn_free(stream->prompt);
    spn_free(stream);
}
