/* chat.c - a conversation: each line of the standard input is a message.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spn/spn.h>

#define MAX_MESSAGES 64

static bool print(const char *text, size_t n_bytes, void *user) {
    return fwrite(text, 1, n_bytes, user) == n_bytes && fflush(user) == 0;
}

/* Appends a message with a copy of its text, which texts[] owns. */
static void add(spn_chat_message *messages, char **texts, size_t *n, const char *role,
                const char *text) {
    texts[*n] = strdup(text);
    if (texts[*n] == NULL) exit(1);
    messages[*n] = (spn_chat_message){role, texts[*n]};
    (*n)++;
}

/* The whole conversation goes to the model each time; what it has read already is cached. */
static spn_status talk(spn_runtime *runtime, spn_error *err) {
    spn_chat_message messages[MAX_MESSAGES];
    char *texts[MAX_MESSAGES];
    size_t n = 0;
    char line[4096];
    spn_status status = SPN_STATUS_OK;
    while (status == SPN_STATUS_OK && n + 2 <= MAX_MESSAGES && fgets(line, sizeof line, stdin)) {
        spn_chat_options options = {.max_tokens = 256, .on_text = print, .on_text_user = stdout};
        spn_chat_response response = {0};
        line[strcspn(line, "\n")] = '\0';
        add(messages, texts, &n, "user", line);
        status = spn_runtime_chat(runtime, messages, n, &options, &response, err);
        if (status != SPN_STATUS_OK) break;
        add(messages, texts, &n, "assistant", response.content);
        printf("\n[%u of %u tokens, %u cached]\n",
               response.n_prompt_tokens + response.n_completion_tokens, response.n_ctx,
               response.n_cached_tokens);
        spn_chat_response_clear(&response);
    }
    for (size_t i = 0; i < n; i++) free(texts[i]);
    return status;
}

int main(int argc, char **argv) {
    spn_runtime *runtime = NULL;
    spn_error err = {0};
    spn_load_config config = {0};
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s MODEL.gguf [TEMPLATE]\n", argv[0]);
        return 2;
    }
    config.chat_template = argc > 2 ? argv[2] : NULL; /* for models that bring none */
    spn_status status = spn_runtime_create(&runtime, &err);
    if (status == SPN_STATUS_OK) status = spn_runtime_load(runtime, argv[1], &config, &err);
    if (status == SPN_STATUS_OK) status = talk(runtime, &err);
    if (status != SPN_STATUS_OK) fprintf(stderr, "%s\n", err.text);
    spn_runtime_free(runtime);
    return status == SPN_STATUS_OK ? 0 : 1;
}
