/* conversations.c - several cached texts over one model, and which of them a prompt continues.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each conversation has a session of its own. A prompt goes to the session that knows the longest
 * beginning of it, unless that would throw away most of another text: then to an unused session, or
 * the one used longest ago. Only the time depends on the choice, never the answer. */
#include "runtime/runtime_internal.h"
#include "runtime/session.h"

static size_t common_prefix(const spn_session *session, const int32_t *tokens, size_t n_tokens) {
    size_t n = 0, most = spn_min_size(n_tokens, session->n_cached);
    while (n < most && tokens[n] == session->tokens[n]) n++;
    return n;
}

/* The session that fits the prompt and keeps at least half of what it holds; -1: there is none. */
static int find_continued(const spn_runtime *runtime, const int32_t *tokens, size_t n_tokens) {
    int found = -1;
    size_t longest = 0;
    for (uint32_t i = 0; i < runtime->n_sessions; i++) {
        const spn_session *session = runtime->sessions[i];
        size_t n = common_prefix(session, tokens, n_tokens);
        if (n * 2 < session->n_cached || (found >= 0 && n <= longest)) continue;
        found = (int)i;
        longest = n;
    }
    return found;
}

static int find_oldest(const spn_runtime *runtime) {
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < runtime->n_sessions; i++)
        if (runtime->last_used[i] < runtime->last_used[oldest]) oldest = i;
    return (int)oldest;
}

spn_status spn_conversations_add(spn_runtime *runtime, spn_error *err) {
    spn_session *session;
    SPN_TRY(spn_session_create(&session, runtime->model, &runtime->session_options, err));
    runtime->last_used[runtime->n_sessions] = 0;
    runtime->sessions[runtime->n_sessions++] = session;
    return SPN_STATUS_OK;
}

spn_session *spn_conversations_choose(spn_runtime *runtime, const int32_t *tokens,
                                      size_t n_tokens) {
    int i = runtime->n_conversations > 1 ? find_continued(runtime, tokens, n_tokens) : 0;
    /* Without memory for one more, the oldest makes room: the answer is the same. */
    if (i < 0 && runtime->n_sessions < runtime->n_conversations &&
        spn_conversations_add(runtime, NULL) == SPN_STATUS_OK)
        i = (int)runtime->n_sessions - 1;
    if (i < 0) i = find_oldest(runtime);
    runtime->last_used[i] = ++runtime->n_uses;
    atomic_store(&runtime->session, runtime->sessions[i]);
    return runtime->sessions[i];
}

void spn_conversations_free(spn_runtime *runtime) {
    atomic_store(&runtime->session, NULL);
    for (uint32_t i = 0; i < runtime->n_sessions; i++) spn_session_free(runtime->sessions[i]);
    runtime->n_sessions = 0;
}
