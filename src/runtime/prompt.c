/* prompt.c - messages to a prompt to tokens. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/utf8.h"
#include "platform/os.h"
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

spn_status spn_prompt_render(const spn_runtime *runtime, const spn_chat_message *messages,
                             size_t n_messages, bool add_generation_prompt, char **text,
                             size_t *n_bytes, spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    spn_buf json = SPN_BUF(0), out = SPN_BUF(0);
    if (runtime->chat_template == NULL)
        return SPN_FAIL(err, TEMPLATE,
                        "the model has no chat template; give one in the load configuration, or "
                        "send a raw prompt");
    if (messages == NULL && n_messages > 0)
        return SPN_FAIL(err, INVALID_ARGUMENT, "the list of messages is NULL");
    SPN_TRY_GOTO(append_messages(&json, messages, n_messages, err));
    const spn_template_input input = {
        .messages_json = json.data,
        .bos_token = runtime->bos_text,
        .eos_token = runtime->eos_text,
        .add_generation_prompt = add_generation_prompt,
        .now = spn_time_unix(),
    };
    SPN_TRY_GOTO(spn_template_render(runtime->chat_template, &input, &out, err));
    size_t n;
    char *rendered = spn_buf_take(&out, &n);
    if (rendered == NULL) {
        status = SPN_NO_MEMORY(err, "the prompt");
        goto done;
    }
    *text = rendered;
    *n_bytes = n;
done:
    spn_buf_free(&json);
    spn_buf_free(&out);
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
