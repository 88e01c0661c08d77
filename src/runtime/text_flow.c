/* text_flow.c - stop sequences over token borders, whole characters in the stream.
 * SPDX-License-Identifier: Apache-2.0 */
#include "runtime/text_flow.h"

#include <string.h>

#include "text/tokenizer.h"

/* Where the first complete stop sequence begins; n where there is none. */
static size_t find_stop(const spn_text_flow *flow) {
    const spn_buf *held = &flow->held;
    for (size_t end = 1; end <= held->len; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < flow->n_stop; i++) {
            size_t n = strlen(flow->stop[i]);
            if (n <= end && n > longest && memcmp(held->data + end - n, flow->stop[i], n) == 0)
                longest = n;
        }
        if (longest > 0) return end - longest;
    }
    return held->len;
}

/* How many of the held bytes could be the beginning of a stop sequence. */
static size_t find_partial(const spn_text_flow *flow) {
    const spn_buf *held = &flow->held;
    size_t longest = 0;
    for (size_t i = 0; i < flow->n_stop; i++) {
        size_t n = spn_min_size(strlen(flow->stop[i]) - 1, held->len);
        for (; n > longest; n--)
            if (memcmp(held->data + held->len - n, flow->stop[i], n) == 0) longest = n;
    }
    return longest;
}

/* Lets the first n held bytes out. */
static spn_status let_out(spn_text_flow *flow, size_t n, spn_error *err) {
    if (n == 0) return SPN_STATUS_OK;
    if (!spn_buf_append(&flow->content, flow->held.data, n))
        return SPN_NO_MEMORY(err, "the generated text");
    if (flow->on_text != NULL && !flow->on_text(flow->held.data, n, flow->user))
        flow->refused = true;
    memmove(flow->held.data, flow->held.data + n, flow->held.len - n);
    flow->held.len -= n;
    return SPN_STATUS_OK;
}

spn_status spn_text_flow_push(spn_text_flow *flow, const char *bytes, size_t n_bytes,
                              spn_error *err) {
    if (flow->stopped || flow->refused) return SPN_STATUS_OK;
    if (!spn_buf_append(&flow->held, bytes, n_bytes))
        return SPN_NO_MEMORY(err, "the generated text");
    size_t stop = find_stop(flow);
    if (stop < flow->held.len) {
        flow->stopped = true;
        SPN_TRY(let_out(flow, stop, err));
        spn_buf_clear(&flow->held);
        return SPN_STATUS_OK;
    }
    size_t n = flow->held.len - find_partial(flow);
    return let_out(flow, spn_utf8_whole(flow->held.data, n), err);
}

spn_status spn_text_flow_finish(spn_text_flow *flow, spn_error *err) {
    if (flow->stopped || flow->refused) return SPN_STATUS_OK;
    return let_out(flow, flow->held.len, err);
}

void spn_text_flow_free(spn_text_flow *flow) {
    spn_buf_free(&flow->held);
    spn_buf_free(&flow->content);
}
