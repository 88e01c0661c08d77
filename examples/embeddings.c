/* embeddings.c - which text is nearest to the first one. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include <spn/spn.h>

/* All texts in one call: short ones share the passes through the model. */
static spn_status compare(spn_runtime *runtime, char **texts, size_t n, spn_error *err) {
    spn_embedding_response *all = calloc(n, sizeof *all);
    if (all == NULL) return SPN_STATUS_NO_MEMORY;
    spn_status status =
        spn_runtime_embed_batch(runtime, (const char *const *)texts, n, NULL, all, err);
    for (size_t i = 1; i < n && status == SPN_STATUS_OK; i++)
        printf("%.4f  %s\n",
               spn_cosine_similarity(all[0].embedding, all[i].embedding, all[0].dimension),
               texts[i]);
    for (size_t i = 0; i < n; i++) spn_embedding_response_clear(&all[i]);
    free(all);
    return status;
}

int main(int argc, char **argv) {
    spn_runtime *runtime = NULL;
    spn_error err = {0};
    if (argc < 4) {
        fprintf(stderr, "usage: %s MODEL.gguf TEXT OTHER...\n", argv[0]);
        return 2;
    }
    spn_status status = spn_runtime_create(&runtime, &err);
    if (status == SPN_STATUS_OK) status = spn_runtime_load(runtime, argv[1], NULL, &err);
    if (status == SPN_STATUS_OK) status = compare(runtime, argv + 2, (size_t)argc - 2, &err);
    if (status != SPN_STATUS_OK) fprintf(stderr, "%s\n", err.text);
    spn_runtime_free(runtime);
    return status == SPN_STATUS_OK ? 0 : 1;
}
