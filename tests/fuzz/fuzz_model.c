/* fuzz_model.c - a file's bytes as a model: loaded and evaluated, whatever its numbers say.
 * SPDX-License-Identifier: Apache-2.0 */
#include "gguf/gguf.h"
#include "model/network.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_ROWS = 3, N_CTX = 64 };

static void evaluate(const spn_network *network) {
    spn_pass *pass = NULL;
    spn_kv_cache *kv = NULL;
    spn_pass_options options = {.n_batch = N_ROWS, .n_out = N_ROWS, .n_ctx = N_CTX, .n_threads = 1};
    size_t width = network->has_logits ? network->n_vocab : network->n_embd;
    /* A sound model can still be too large for a fuzzer's memory. */
    if (spn_kv_cache_bytes(network, N_CTX, N_ROWS, SPN_TYPE_F32, SPN_TYPE_F32) > 64 << 20 ||
        spn_pass_estimate(network, &options) > 64 << 20)
        return;
    float *out = spn_alloc_array(N_ROWS, width * sizeof *out);
    spn_status status =
        spn_kv_cache_create(&kv, network, N_CTX, N_ROWS, SPN_TYPE_F32, SPN_TYPE_F32, NULL);
    if (status == SPN_STATUS_OK) status = spn_pass_create(&pass, network, &options, NULL);
    if (status == SPN_STATUS_OK && out != NULL) {
        int32_t tokens[N_ROWS] = {0}, positions[N_ROWS] = {0, 1, 2};
        uint32_t rows[N_ROWS] = {0, 1, 2};
        tokens[1] = (int32_t)network->n_vocab - 1;
        spn_segment segment = {
            .layers = spn_kv_cache_layers(kv), .states = spn_kv_cache_states(kv), .n_rows = N_ROWS};
        spn_batch batch = {N_ROWS, tokens, positions, &segment, 1};
        spn_pass_run(pass, &batch, rows, N_ROWS, out, NULL, NULL);
    }
    spn_free(out);
    spn_pass_free(pass);
    spn_kv_cache_free(kv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    spn_gguf *gguf;
    spn_network *network;
    spn_tokenizer *tokenizer;
    if (spn_gguf_open_bytes(&gguf, data, size, "fuzz", NULL) != SPN_STATUS_OK) return 0;
    if (spn_network_load(&network, gguf, NULL) == SPN_STATUS_OK) {
        evaluate(network);
        spn_network_free(network);
    }
    if (spn_tokenizer_open(&tokenizer, gguf, NULL) == SPN_STATUS_OK) spn_tokenizer_close(tokenizer);
    spn_gguf_close(gguf);
    return 0;
}
