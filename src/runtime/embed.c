/* embed.c - text to vectors. SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "platform/os.h"
#include "runtime/runtime_internal.h"

void spn_embedding_response_clear(spn_embedding_response *response) {
    if (response == NULL) return;
    spn_free(response->embedding);
    *response = (spn_embedding_response){0};
}

double spn_cosine_similarity(const float *a, const float *b, size_t n) {
    double dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        dot += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? dot / (sqrt(aa) * sqrt(bb)) : 0;
}

static void normalize(float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    if (!(sum > 0)) return;
    double factor = 1 / sqrt(sum);
    for (size_t i = 0; i < n; i++) x[i] = (float)((double)x[i] * factor);
}

/* Cuts the tokens to what the context holds; the one that ends a text (EOS, SEP) stays. */
static bool truncate_tokens(int32_t *tokens, size_t *n_tokens, uint32_t n_ctx,
                            const spn_token_specials *specials) {
    if (*n_tokens <= n_ctx) return false;
    int32_t last = tokens[*n_tokens - 1];
    *n_tokens = n_ctx;
    if (last == specials->eos || last == specials->sep) tokens[n_ctx - 1] = last;
    return true;
}

static spn_status embed(spn_runtime *runtime, const char *text, const spn_embed_options *options,
                        spn_embedding_response *response, spn_error *err) {
    spn_session *session = atomic_load(&runtime->session);
    uint32_t n_embd = spn_model_describe(runtime->model)->n_embd;
    const spn_encode_options encode = {.add_special = true};
    spn_embedding_response result = {.dimension = n_embd};
    spn_session_info info;
    int32_t *tokens = NULL;
    size_t n_tokens = 0;
    uint64_t start = spn_time_ns();
    spn_status status = SPN_STATUS_OK;
    spn_session_describe(session, &info);
    SPN_TRY_GOTO(spn_tokenizer_encode(runtime->tokenizer, text, strlen(text), &encode, &tokens,
                                      &n_tokens, err));
    if (options->truncate)
        result.truncated = truncate_tokens(tokens, &n_tokens, info.n_ctx,
                                           spn_tokenizer_specials(runtime->tokenizer));
    result.n_prompt_tokens = (uint32_t)n_tokens;
    result.embedding = spn_alloc_array(n_embd, sizeof *result.embedding);
    if (result.embedding == NULL) {
        status = SPN_NO_MEMORY(err, "an embedding");
        goto done;
    }
    SPN_TRY_GOTO(
        spn_session_embed(session, tokens, n_tokens, options->pooling, result.embedding, err));
    if (!options->no_normalize) normalize(result.embedding, n_embd);
    result.seconds = 1e-9 * (double)(spn_time_ns() - start);
    *response = result;
    result.embedding = NULL;
done:
    spn_free(result.embedding);
    spn_free(tokens);
    return status;
}

spn_status spn_runtime_embed(spn_runtime *runtime, const char *text,
                             const spn_embed_options *options, spn_embedding_response *response,
                             spn_error *err) {
    static const spn_embed_options defaults = {0};
    if (text == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "the text is NULL");
    SPN_TRY(spn_runtime_take(runtime, true, err));
    spn_status status = embed(runtime, text, options ? options : &defaults, response, err);
    spn_runtime_release(runtime);
    return status;
}
