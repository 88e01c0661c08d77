/* generate.c - from a prompt's tokens to the answer's text. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "platform/os.h"
#include "runtime/lookahead.h"
#include "runtime/repetition.h"
#include "runtime/runtime_internal.h"
#include "runtime/text_flow.h"

/* Nobody who sets no limit wants more of one phrase than this. */
#define MAX_REPEATED_TOKENS 512

typedef struct generation {
    spn_runtime *runtime;
    const spn_chat_options *options;
    spn_session *session;
    spn_sampler *sampler;
    spn_lookahead *lookahead; /* NULL: off */
    const float *logits;      /* behind the tokens so far */
    uint32_t n_ctx;
    int32_t *tokens; /* [cap] the whole text */
    size_t n_tokens;
    size_t cap;
    size_t n_prompt;
    size_t n_most;       /* how long the text can become */
    size_t n_keep;       /* of its first tokens, when the context is shifted */
    uint32_t max_tokens; /* 0: no limit */
    spn_repetition repetition;
    bool at_start; /* the next token begins a text: a blank that tokenizing adds is none of it */
    spn_text_flow flow;
    spn_buf piece; /* one token's bytes */
} generation;

static double seconds(void) { return 1e-9 * (double)spn_time_ns(); }

static bool is_cancelled(const generation *gen) { return atomic_load(&gen->runtime->cancelled); }

/* ---- the sampler ---- */

/* Tokens at which a repetition is no nuisance: those with a line break, a colon, a quotation mark
 * or an asterisk in their text. */
static spn_status find_breakers(spn_runtime *runtime, spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    uint32_t n_vocab = spn_tokenizer_n_vocab(runtime->tokenizer);
    spn_buf piece = SPN_BUF(0);
    size_t n = 0;
    int32_t *found = spn_alloc_array((size_t)n_vocab + 1, sizeof *found);
    if (found == NULL) return SPN_NO_MEMORY(err, "the breakers of repetitions");
    for (uint32_t token = 0; token < n_vocab; token++) {
        spn_buf_clear(&piece);
        SPN_TRY_GOTO(spn_token_bytes(runtime->tokenizer, (int32_t)token, false, &piece, err));
        for (size_t i = 0; i < piece.len; i++) {
            if (strchr("\n:\"*", piece.data[i]) == NULL || piece.data[i] == '\0') continue;
            found[n++] = (int32_t)token;
            break;
        }
    }
    runtime->breakers = found;
    runtime->n_breakers = n;
    found = NULL;
done:
    spn_buf_free(&piece);
    spn_free(found);
    return status;
}

static spn_status make_sampler(generation *gen, spn_error *err) {
    spn_sampler_options options = gen->options->sampler;
    spn_runtime *runtime = gen->runtime;
    if (options.dry_multiplier > 0 && options.n_dry_breakers == 0) {
        if (runtime->breakers == NULL) SPN_TRY(find_breakers(runtime, err));
        options.dry_breakers = runtime->breakers;
        options.n_dry_breakers = runtime->n_breakers;
    }
    SPN_TRY(spn_sampler_create(&gen->sampler, spn_tokenizer_n_vocab(runtime->tokenizer), &options,
                               err));
    for (size_t i = 0; i < gen->n_tokens; i++)
        SPN_TRY(spn_sampler_accept(gen->sampler, gen->tokens[i], err));
    return SPN_STATUS_OK;
}

/* ---- tokens to text ---- */

static spn_status append_token(generation *gen, int32_t token, spn_error *err) {
    if (gen->n_tokens == gen->cap) {
        size_t cap = gen->cap + gen->cap / 2 + 64;
        int32_t *tokens = spn_realloc_array(gen->tokens, cap, sizeof *tokens);
        if (tokens == NULL) return SPN_NO_MEMORY(err, "the generated tokens");
        gen->tokens = tokens;
        gen->cap = cap;
    }
    gen->tokens[gen->n_tokens++] = token;
    spn_repetition_note(&gen->repetition, gen->tokens, gen->n_tokens);
    return spn_sampler_accept(gen->sampler, token, err);
}

static spn_status push_text(generation *gen, int32_t token, spn_error *err) {
    const spn_tokenizer *tokenizer = gen->runtime->tokenizer;
    spn_buf_clear(&gen->piece);
    if (gen->at_start)
        SPN_TRY(spn_detokenize(tokenizer, &token, 1, false, &gen->piece, err));
    else
        SPN_TRY(spn_token_bytes(tokenizer, token, false, &gen->piece, err));
    spn_token_kind kind = spn_tokenizer_kind(tokenizer, token);
    if (kind != SPN_TOKEN_KIND_CONTROL) gen->at_start = false;
    return spn_text_flow_push(&gen->flow, gen->piece.data ? gen->piece.data : "", gen->piece.len,
                              err);
}

/* Whether the prompt holds no text yet, so that what comes is a text's beginning. */
static bool holds_no_text(const spn_tokenizer *tokenizer, const int32_t *tokens, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (spn_tokenizer_kind(tokenizer, tokens[i]) != SPN_TOKEN_KIND_CONTROL) return false;
    return true;
}

/* ---- the loop ---- */

/* Whether no further token may come. */
static bool is_at_limit(const generation *gen, const spn_chat_response *result) {
    const spn_chat_options *options = gen->options;
    if (result->n_completion_tokens == gen->max_tokens) return true;
    if (gen->n_tokens >= gen->n_ctx && !options->context_shift) return true;
    return options->max_tokens == 0 && !options->ignore_end &&
           spn_repetition_length(&gen->repetition) >= MAX_REPEATED_TOKENS;
}

/* Drops the older half of what stands behind the kept tokens. */
static void shift_context(generation *gen, spn_chat_response *result) {
    size_t n_drop = spn_max_size((gen->n_tokens - gen->n_keep) / 2, 1);
    int32_t *dropped = gen->tokens + gen->n_keep;
    memmove(dropped, dropped + n_drop, (gen->n_tokens - gen->n_keep - n_drop) * sizeof *dropped);
    gen->n_tokens -= n_drop;
    result->n_dropped_tokens += (uint32_t)n_drop;
}

/* One token. *is_over and *reason are set when it is the last. */
static spn_status step(generation *gen, spn_chat_response *result, bool *is_over, spn_error *err) {
    const spn_chat_options *options = gen->options;
    int32_t token = spn_sampler_sample(gen->sampler, gen->logits);
    *is_over = true;
    if (token < 0)
        return SPN_FAIL(err, INFERENCE_FAILED,
                        "the model gave no finite logit behind token %zu; is the file damaged?",
                        gen->n_tokens);
    if (!options->ignore_end && spn_tokenizer_is_end(gen->runtime->tokenizer, token)) {
        result->finish_reason = SPN_FINISH_REASON_STOP;
        return SPN_STATUS_OK;
    }
    SPN_TRY(append_token(gen, token, err));
    result->n_completion_tokens++;
    SPN_TRY(push_text(gen, token, err));
    if (gen->flow.stopped) {
        result->finish_reason = SPN_FINISH_REASON_STOP;
    } else if (gen->flow.refused || is_cancelled(gen)) {
        result->finish_reason = SPN_FINISH_REASON_CANCELLED;
    } else if (is_at_limit(gen, result)) {
        result->finish_reason = SPN_FINISH_REASON_LENGTH;
    } else {
        *is_over = false;
    }
    return SPN_STATUS_OK;
}

/* The logits behind the tokens so far: where many are to be read (n_reused not NULL) by plain
 * passes. */
static spn_status find_logits(generation *gen, size_t *n_reused, spn_error *err) {
    if (n_reused == NULL && gen->lookahead != NULL)
        return spn_lookahead_logits(gen->lookahead, gen->tokens, gen->n_tokens, gen->n_most,
                                    &gen->logits, err);
    SPN_TRY(spn_session_sync(gen->session, gen->tokens, gen->n_tokens, n_reused, err));
    gen->logits = spn_session_logits(gen->session);
    return SPN_STATUS_OK;
}

/* Evaluates what is new. A cancelled evaluation is no failure: *is_over tells. */
static spn_status evaluate(generation *gen, size_t *n_reused, spn_chat_response *result,
                           bool *is_over, spn_error *err) {
    spn_error found = {0};
    spn_status status = find_logits(gen, n_reused, &found);
    *is_over = status != SPN_STATUS_OK;
    if (status == SPN_STATUS_OK) return status;
    if (status == SPN_STATUS_CANCELLED) {
        result->finish_reason = SPN_FINISH_REASON_CANCELLED;
        return SPN_STATUS_OK;
    }
    if (err != NULL) *err = found;
    return status;
}

static spn_status run(generation *gen, spn_chat_response *result, spn_error *err) {
    bool is_over = false;
    size_t n_reused = 0;
    double start = seconds();
    SPN_TRY(evaluate(gen, &n_reused, result, &is_over, err));
    result->prompt_s = seconds() - start;
    result->n_cached_tokens = (uint32_t)n_reused;
    start = seconds();
    while (!is_over) {
        SPN_TRY(step(gen, result, &is_over, err));
        if (is_over) break;
        bool is_full = gen->n_tokens >= gen->n_ctx;
        if (is_full) shift_context(gen, result);
        SPN_TRY(evaluate(gen, is_full ? &n_reused : NULL, result, &is_over, err));
    }
    result->generation_s = seconds() - start;
    result->n_repeated_tokens = spn_repetition_length(&gen->repetition);
    return spn_text_flow_finish(&gen->flow, err);
}

/* ---- entry ---- */

spn_status spn_chat_options_check(const spn_chat_options *options, spn_error *err) {
    if (options == NULL) return SPN_STATUS_OK;
    if (options->n_stop > 0 && options->stop == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT, "the list of stop sequences is NULL");
    for (size_t i = 0; i < options->n_stop; i++)
        if (options->stop[i] == NULL || options->stop[i][0] == '\0')
            return SPN_FAIL(err, INVALID_ARGUMENT, "stop sequence %zu is empty", i);
    return SPN_STATUS_OK;
}

static spn_status set_limits(generation *gen, size_t n_prompt, spn_error *err) {
    const spn_chat_options *options = gen->options;
    gen->n_keep = options->n_keep;
    if (options->context_shift && options->n_keep > gen->n_ctx / 2)
        return SPN_FAIL(err, INVALID_ARGUMENT,
                        "%u tokens are to be kept of a context of %u: at most half of it can be",
                        options->n_keep, gen->n_ctx);
    if (options->n_keep == 0) gen->n_keep = spn_min_size(n_prompt, gen->n_ctx / 4);
    gen->n_most = gen->n_ctx;
    gen->max_tokens = options->max_tokens;
    /* Without a limit the context is one, whether it is shifted or not. */
    if (gen->max_tokens == 0 && options->context_shift) gen->max_tokens = gen->n_ctx;
    if (gen->max_tokens != 0 && !options->context_shift)
        gen->n_most = spn_min_size(gen->n_most, n_prompt + gen->max_tokens);
    return SPN_STATUS_OK;
}

static spn_status begin(generation *gen, const int32_t *prompt, size_t n_prompt, spn_error *err) {
    spn_session_info info;
    spn_session_describe(gen->session, &info);
    gen->n_ctx = info.n_ctx;
    gen->flow.stop = gen->options->stop;
    gen->flow.n_stop = gen->options->n_stop;
    gen->flow.on_text = gen->options->on_text;
    gen->flow.user = gen->options->on_text_user;
    gen->cap = n_prompt + 64;
    gen->tokens = spn_alloc_array(gen->cap, sizeof *gen->tokens);
    if (gen->tokens == NULL) return SPN_NO_MEMORY(err, "the tokens");
    memcpy(gen->tokens, prompt, n_prompt * sizeof *prompt);
    gen->n_tokens = gen->n_prompt = n_prompt;
    SPN_TRY(set_limits(gen, n_prompt, err));
    if (gen->options->lookahead != SPN_LOOKAHEAD_MODE_OFF)
        SPN_TRY(spn_lookahead_create(&gen->lookahead, gen->session,
                                     spn_model_describe(gen->runtime->model)->n_vocab,
                                     gen->runtime->draft_session,
                                     gen->options->lookahead == SPN_LOOKAHEAD_MODE_ALWAYS, err));
    return make_sampler(gen, err);
}

spn_status spn_generate(spn_runtime *runtime, const int32_t *prompt, size_t n_prompt, bool new_text,
                        const spn_chat_options *options, spn_chat_response *response,
                        spn_error *err) {
    static const spn_chat_options defaults = {0};
    spn_status status = SPN_STATUS_OK;
    spn_chat_response result = {.n_prompt_tokens = (uint32_t)n_prompt};
    generation gen = {.runtime = runtime, .options = options ? options : &defaults};
    SPN_TRY(spn_chat_options_check(gen.options, err));
    gen.session = spn_conversations_choose(runtime, prompt, n_prompt);
    gen.at_start = new_text || holds_no_text(runtime->tokenizer, prompt, n_prompt);
    SPN_TRY_GOTO(begin(&gen, prompt, n_prompt, err));
    SPN_TRY_GOTO(run(&gen, &result, err));
    result.content = spn_buf_take(&gen.flow.content, &result.content_bytes);
    if (result.content == NULL) {
        status = SPN_NO_MEMORY(err, "the generated text");
        goto done;
    }
    result.n_ctx = gen.n_ctx;
    result.seed = spn_sampler_seed(gen.sampler);
    if (gen.lookahead != NULL)
        spn_lookahead_count(gen.lookahead, &result.n_guessed_tokens, &result.n_came_tokens);
    *response = result;
done:
    spn_text_flow_free(&gen.flow);
    spn_buf_free(&gen.piece);
    spn_sampler_free(gen.sampler);
    spn_lookahead_free(gen.lookahead);
    spn_free(gen.tokens);
    return status;
}
