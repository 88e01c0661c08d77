/* prompt.c - messages to a prompt to tokens. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/utf8.h"
#include "runtime/runtime_internal.h"

/* ---- messages as JSON, which is what templates see ---- */

static spn_status append_json_text(spn_buf *out, const char *text, size_t message,
                                   const char *field, spn_error *err) {
    size_t n = strlen(text);
    spn_buf_append_char(out, '"');
    for (size_t i = 0; i < n;) {
        size_t length = spn_utf8_char_len(text + i, n - i);
        uint8_t c = (uint8_t)text[i];
        if (length == 0)
            return SPN_FAIL(err, INVALID_ARGUMENT, "message %zu: its %s is not UTF-8 at byte %zu",
                            message, field, i);
        if (c < ' ')
            spn_buf_printf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            spn_buf_printf(out, "\\%c", c);
        else
            spn_buf_append(out, text + i, length);
        i += length;
    }
    spn_buf_append_char(out, '"');
    return SPN_STATUS_OK;
}

static spn_status append_messages(spn_buf *out, const spn_chat_message *messages, size_t n,
                                  spn_error *err) {
    spn_buf_append_char(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (messages[i].role == NULL || messages[i].content == NULL)
            return SPN_FAIL(err, INVALID_ARGUMENT, "message %zu: role or content is NULL", i);
        spn_buf_append_text(out, i > 0 ? ", {\"role\": " : "{\"role\": ");
        SPN_TRY(append_json_text(out, messages[i].role, i, "role", err));
        spn_buf_append_text(out, ", \"content\": ");
        SPN_TRY(append_json_text(out, messages[i].content, i, "content", err));
        spn_buf_append_char(out, '}');
    }
    spn_buf_append_char(out, ']');
    return out->failed ? SPN_NO_MEMORY(err, "the messages") : SPN_STATUS_OK;
}

static spn_status render(const spn_runtime *runtime, const spn_question *q,
                         const char *messages_json, char **text, size_t *n_bytes, spn_error *err) {
    const spn_render_options options = {
        .messages_json = messages_json,
        .tools_json = q->options != NULL ? q->options->tools_json : NULL,
        .variables_json = q->options != NULL ? q->options->variables_json : NULL,
    };
    if (runtime->chat_template == NULL)
        return SPN_FAIL(err, TEMPLATE,
                        "the model has no chat template; give one in the load configuration, or "
                        "send a raw prompt");
    return spn_chat_template_render(runtime->chat_template, &options, text, n_bytes, err);
}

spn_status spn_prompt_render(const spn_runtime *runtime, const spn_question *q, char **text,
                             size_t *n_bytes, bool *new_text, spn_error *err) {
    const spn_chat_message message = {"user", q->prompt};
    const spn_chat_message *messages = q->prompt != NULL ? &message : q->messages;
    size_t n_messages = q->prompt != NULL ? 1 : q->n_messages;
    bool is_raw = q->options != NULL && q->options->raw;
    spn_buf json = SPN_BUF(0);
    spn_status status = SPN_STATUS_OK;
    *new_text = true;
    if (q->prompt != NULL && (is_raw || runtime->chat_template == NULL)) {
        *new_text = false;
        *n_bytes = strlen(q->prompt);
        *text = spn_memdup_text(q->prompt, *n_bytes);
        return *text != NULL ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "the prompt");
    }
    if (q->messages_json != NULL) return render(runtime, q, q->messages_json, text, n_bytes, err);
    if (messages == NULL && n_messages > 0)
        return SPN_FAIL(err, INVALID_ARGUMENT, "the list of messages is NULL");
    SPN_TRY_GOTO(append_messages(&json, messages, n_messages, err));
    SPN_TRY_GOTO(render(runtime, q, json.data, text, n_bytes, err));
done:
    spn_buf_free(&json);
    return status;
}

/* ---- text to tokens ---- */

spn_status spn_prompt_encode(const spn_runtime *runtime, const char *text, size_t n_bytes,
                             int32_t **tokens, size_t *n_tokens, spn_error *err) {
    const spn_token_specials *specials = spn_tokenizer_specials(runtime->tokenizer);
    int32_t *found = NULL;
    size_t n = 0;
    SPN_TRY(spn_tokenize(runtime->tokenizer, text, n_bytes, SPN_TOKENIZE_PARSE_SPECIAL, &found, &n,
                         err));
    bool needs_bos = specials->add_bos && specials->bos != SPN_TOKEN_NONE &&
                     (n == 0 || found[0] != specials->bos);
    if (needs_bos) {
        int32_t *longer = spn_realloc_array(found, n + 1, sizeof *longer);
        if (longer == NULL) {
            spn_free(found);
            return SPN_NO_MEMORY(err, "the prompt's tokens");
        }
        memmove(longer + 1, longer, n * sizeof *longer);
        longer[0] = specials->bos;
        found = longer;
        n++;
    }
    if (n == 0) {
        spn_free(found);
        return SPN_FAIL(err, INVALID_ARGUMENT,
                        "the prompt is empty, and the model has no token to begin a text with");
    }
    *tokens = found;
    *n_tokens = n;
    return SPN_STATUS_OK;
}
