/* chat_template.c - a model's chat template with the texts that it needs.
 * SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "gguf/gguf.h"
#include "platform/os.h"
#include "runtime/runtime_internal.h"

struct spn_chat_template {
    spn_template *parsed;
    char *bos, *eos; /* "" where the model has none */
};

/* The text of a special token; "" where the model has none. */
static spn_status token_text(const spn_tokenizer *tokenizer, int32_t token, char **out,
                             spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    spn_buf text = SPN_BUF(0);
    if (token != SPN_TOKEN_NONE) SPN_TRY_GOTO(spn_token_bytes(tokenizer, token, true, &text, err));
    *out = spn_buf_take(&text, NULL);
    if (*out == NULL) status = SPN_NO_MEMORY(err, "a token's text");
done:
    spn_buf_free(&text);
    return status;
}

spn_status spn_chat_template_create(spn_chat_template **out, const char *source, size_t n_bytes,
                                    const spn_tokenizer *tokenizer, spn_error *err) {
    const spn_token_specials *specials = spn_tokenizer_specials(tokenizer);
    spn_status status = SPN_STATUS_OK;
    spn_chat_template *created = spn_alloc_zeroed(1, sizeof *created);
    if (created == NULL) return SPN_NO_MEMORY(err, "a chat template");
    SPN_TRY_GOTO(token_text(tokenizer, specials->bos, &created->bos, err));
    SPN_TRY_GOTO(token_text(tokenizer, specials->eos, &created->eos, err));
    SPN_TRY_GOTO(spn_template_parse(&created->parsed, source, n_bytes, err));
    *out = created;
    created = NULL;
done:
    spn_chat_template_free(created);
    return status;
}

spn_status spn_chat_template_load(spn_chat_template **out, const char *path, const char *source,
                                  spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    spn_gguf *gguf = NULL;
    spn_tokenizer *tokenizer = NULL;
    spn_gguf_str text = {source, source ? strlen(source) : 0};
    SPN_TRY(spn_gguf_open(&gguf, path, err));
    if (source == NULL)
        SPN_TRY_GOTO(spn_gguf_get_str(gguf, "tokenizer.chat_template", false, &text, err));
    if (text.data == NULL) {
        status = SPN_FAIL(err, TEMPLATE, "%s has no chat template", path);
        goto done;
    }
    SPN_TRY_GOTO(spn_tokenizer_open(&tokenizer, gguf, err));
    SPN_TRY_GOTO(spn_chat_template_create(out, text.data, text.len, tokenizer, err));
done:
    spn_tokenizer_close(tokenizer);
    spn_gguf_close(gguf);
    return status;
}

void spn_chat_template_free(spn_chat_template *chat_template) {
    if (chat_template == NULL) return;
    spn_template_free(chat_template->parsed);
    spn_free(chat_template->bos);
    spn_free(chat_template->eos);
    spn_free(chat_template);
}

spn_status spn_chat_template_render(const spn_chat_template *chat_template,
                                    const spn_render_options *options, char **text, size_t *n_bytes,
                                    spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    spn_buf out = SPN_BUF(0);
    if (options == NULL || options->messages_json == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "there are no messages to render");
    const spn_template_input input = {
        .messages_json = options->messages_json,
        .tools_json = options->tools_json,
        .extra_json = options->variables_json,
        .bos_token = chat_template->bos,
        .eos_token = chat_template->eos,
        .add_generation_prompt = !options->no_generation_prompt,
        .now = options->now != 0 ? options->now : spn_time_unix(),
    };
    SPN_TRY_GOTO(spn_template_render(chat_template->parsed, &input, &out, err));
    size_t n;
    char *rendered = spn_buf_take(&out, &n);
    if (rendered == NULL) {
        status = SPN_NO_MEMORY(err, "the prompt");
        goto done;
    }
    *text = rendered;
    *n_bytes = n;
done:
    spn_buf_free(&out);
    return status;
}
