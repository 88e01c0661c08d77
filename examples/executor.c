/* executor.c - several models, one memory budget: what a workflow engine does.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include <spn/spn.h>

static spn_status ask(spn_executor *executor, const char *path, const char *prompt,
                      spn_error *err) {
    spn_chat_options options = {.max_tokens = 16};
    spn_chat_response response = {0};
    spn_status status = spn_executor_infer(executor, path, prompt, &options, &response, err);
    if (status == SPN_STATUS_OK) printf("%s: %s\n", path, response.content);
    spn_chat_response_clear(&response);
    return status;
}

static spn_status list(spn_executor *executor, spn_error *err) {
    spn_running_model *models = NULL;
    size_t n = 0;
    spn_status status = spn_executor_running(executor, &models, &n, err);
    for (size_t i = 0; i < n; i++)
        printf("%s: %s, %llu KiB, goes in %lld s\n", models[i].reference, models[i].architecture,
               (unsigned long long)(models[i].memory_bytes >> 10),
               (long long)(models[i].expires_in_ms / 1000));
    spn_running_models_free(models, n);
    return status;
}

int main(int argc, char **argv) {
    spn_executor *executor = NULL;
    spn_error err = {0};
    /* At most two models at once; one that nobody asks for goes after a minute. */
    spn_executor_options options = {.max_models = 2, .load = {.keep_alive_ms = 60000}};
    if (argc < 3) {
        fprintf(stderr, "usage: %s PROMPT MODEL.gguf...\n", argv[0]);
        return 2;
    }
    spn_status status = spn_executor_create(&executor, &options, &err);
    for (int i = 2; i < argc && status == SPN_STATUS_OK; i++)
        status = ask(executor, argv[i], argv[1], &err);
    if (status == SPN_STATUS_OK) status = list(executor, &err);
    if (status != SPN_STATUS_OK) fprintf(stderr, "%s\n", err.text);
    spn_executor_free(executor);
    return status == SPN_STATUS_OK ? 0 : 1;
}
