/* simple.c - a model's answer, as it comes. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include <spn/spn.h>

static bool print(const char *text, size_t n_bytes, void *user) {
    return fwrite(text, 1, n_bytes, user) == n_bytes && fflush(user) == 0;
}

int main(int argc, char **argv) {
    spn_runtime *runtime = NULL;
    spn_error err = {0};
    spn_chat_response response = {0};
    spn_chat_options options = {.max_tokens = 64, .on_text = print, .on_text_user = stdout};
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.gguf PROMPT\n", argv[0]);
        return 2;
    }
    spn_status status = spn_runtime_create(&runtime, &err);
    if (status == SPN_STATUS_OK) status = spn_runtime_load(runtime, argv[1], NULL, &err);
    if (status == SPN_STATUS_OK)
        status = spn_runtime_infer(runtime, argv[2], &options, &response, &err);
    if (status == SPN_STATUS_OK)
        fprintf(stderr, "\n%u tokens\n", response.n_completion_tokens);
    else
        fprintf(stderr, "%s\n", err.text);
    spn_chat_response_clear(&response);
    spn_runtime_free(runtime);
    return status == SPN_STATUS_OK ? 0 : 1;
}
