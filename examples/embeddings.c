/* embeddings.c - which text is nearest to the first one. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include <spn/spn.h>

static spn_status compare(spn_runtime *runtime, char **texts, int n, spn_error *err) {
    spn_embedding_response query = {0};
    spn_status status = spn_runtime_embed(runtime, texts[0], NULL, &query, err);
    for (int i = 1; i < n && status == SPN_STATUS_OK; i++) {
        spn_embedding_response other = {0};
        status = spn_runtime_embed(runtime, texts[i], NULL, &other, err);
        if (status == SPN_STATUS_OK)
            printf("%.4f  %s\n",
                   spn_cosine_similarity(query.embedding, other.embedding, query.dimension),
                   texts[i]);
        spn_embedding_response_clear(&other);
    }
    spn_embedding_response_clear(&query);
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
    if (status == SPN_STATUS_OK) status = compare(runtime, argv + 2, argc - 2, &err);
    if (status != SPN_STATUS_OK) fprintf(stderr, "%s\n", err.text);
    spn_runtime_free(runtime);
    return status == SPN_STATUS_OK ? 0 : 1;
}
