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

typedef struct encoded_texts {
    int32_t **tokens; /* [n] arrays */
    size_t *n_tokens; /* [n] */
    bool *truncated;  /* [n] */
    float *vectors;   /* [n][n_embd] */
    float **own;      /* [n] arrays of n_embd, for the responses */
    size_t n;
} encoded_texts;

static spn_status texts_create(encoded_texts *texts, size_t n, size_t n_embd, spn_error *err) {
    texts->n = n;
    texts->tokens = spn_alloc_zeroed(n, sizeof *texts->tokens);
    texts->n_tokens = spn_alloc_array(n, sizeof *texts->n_tokens);
    texts->truncated = spn_alloc_array(n, sizeof *texts->truncated);
    texts->vectors = spn_alloc_array(n, n_embd * sizeof *texts->vectors);
    texts->own = spn_alloc_zeroed(n, sizeof *texts->own);
    bool ok = texts->tokens && texts->n_tokens && texts->truncated && texts->vectors && texts->own;
    for (size_t i = 0; ok && i < n; i++)
        ok = (texts->own[i] = spn_alloc_array(n_embd, sizeof **texts->own)) != NULL;
    return ok ? SPN_STATUS_OK : SPN_NO_MEMORY(err, "embeddings");
}

static void texts_free(encoded_texts *texts) {
    for (size_t i = 0; texts->tokens != NULL && i < texts->n; i++) spn_free(texts->tokens[i]);
    for (size_t i = 0; texts->own != NULL && i < texts->n; i++) spn_free(texts->own[i]);
    spn_free(texts->own);
    spn_free(texts->tokens);
    spn_free(texts->n_tokens);
    spn_free(texts->truncated);
    spn_free(texts->vectors);
}

static spn_status encode_text(const spn_runtime *runtime, const char *text, bool truncate,
                              uint32_t n_ctx, encoded_texts *texts, size_t i, spn_error *err) {
    const spn_encode_options encode = {.add_special = true};
    if (text == NULL) return SPN_FAIL(err, INVALID_ARGUMENT, "the text is NULL");
    SPN_TRY(spn_tokenizer_encode(runtime->tokenizer, text, strlen(text), &encode, &texts->tokens[i],
                                 &texts->n_tokens[i], err));
    texts->truncated[i] = truncate && truncate_tokens(texts->tokens[i], &texts->n_tokens[i], n_ctx,
                                                      spn_tokenizer_specials(runtime->tokenizer));
    return SPN_STATUS_OK;
}

static spn_status encode_texts(const spn_runtime *runtime, const char *const *list, bool truncate,
                               encoded_texts *texts, spn_error *err) {
    spn_session_info info;
    spn_session_describe(atomic_load(&runtime->session), &info);
    for (size_t i = 0; i < texts->n; i++) {
        spn_status status = encode_text(runtime, list[i], truncate, info.n_ctx, texts, i, err);
        SPN_TRY(spn_failed_item(err, status, i));
    }
    return SPN_STATUS_OK;
}

static void respond(encoded_texts *texts, uint32_t n_embd, bool normalized, double seconds,
                    spn_embedding_response *responses) {
    for (size_t i = 0; i < texts->n; i++) {
        float *vector = texts->own[i];
        texts->own[i] = NULL;
        memcpy(vector, texts->vectors + i * n_embd, n_embd * sizeof *vector);
        if (normalized) normalize(vector, n_embd);
        responses[i] = (spn_embedding_response){.embedding = vector,
                                                .dimension = n_embd,
                                                .n_prompt_tokens = (uint32_t)texts->n_tokens[i],
                                                .truncated = texts->truncated[i],
                                                .seconds = seconds};
    }
}

static spn_status embed(spn_runtime *runtime, const char *const *list, size_t n,
                        const spn_embed_options *options, spn_embedding_response *responses,
                        spn_error *err) {
    uint32_t n_embd = spn_model_describe(runtime->model)->n_embd;
    encoded_texts texts = {0};
    uint64_t start = spn_time_ns();
    spn_status status = SPN_STATUS_OK;
    SPN_TRY_GOTO(texts_create(&texts, n, n_embd, err));
    SPN_TRY_GOTO(encode_texts(runtime, list, options->truncate, &texts, err));
    SPN_TRY_GOTO(spn_session_embed_batch(atomic_load(&runtime->session),
                                         (const int32_t *const *)texts.tokens, texts.n_tokens, n,
                                         options->pooling, texts.vectors, err));
    respond(&texts, n_embd, !options->no_normalize, 1e-9 * (double)(spn_time_ns() - start),
            responses);
done:
    texts_free(&texts);
    return status;
}

spn_status spn_runtime_embed_batch(spn_runtime *runtime, const char *const *texts, size_t n_texts,
                                   const spn_embed_options *options,
                                   spn_embedding_response *responses, spn_error *err) {
    static const spn_embed_options defaults = {0};
    SPN_TRY(spn_runtime_take(runtime, true, err));
    spn_status status = SPN_STATUS_OK;
    if (n_texts > 0)
        status = embed(runtime, texts, n_texts, options ? options : &defaults, responses, err);
    spn_runtime_release(runtime);
    return status;
}

spn_status spn_runtime_embed(spn_runtime *runtime, const char *text,
                             const spn_embed_options *options, spn_embedding_response *response,
                             spn_error *err) {
    return spn_runtime_embed_batch(runtime, &text, 1, options, response, err);
}
