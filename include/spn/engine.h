/* engine.h - models, tokenizers, sessions and samplers: the engine, part by part.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A model is one GGUF file (or a split set), mapped and checked. A session is one text on its way
 * through a model: it owns the KV cache and the last logits. The law of the session: the caller
 * hands over the WHOLE token sequence each time, and the session finds out what it has in its cache
 * already and evaluates the rest:
 *
 *     spn_model_open(&model, path, NULL, &err);
 *     spn_session_create(&session, model, NULL, &err);
 *     for (;;) {
 *         spn_session_sync(session, tokens, n_tokens, &err);        // evaluates what is new
 *         tokens[n_tokens++] = spn_sampler_sample(sampler, spn_session_logits(session));
 *     }
 *
 * The same answer every time: logits are a function of the model's bytes and the token sequence
 * alone. They are equal bit for bit over any number of threads, any splitting of a prompt into
 * calls and batches, any state of the cache, and any CPU level.
 *
 * runtime.h builds text generation on top of this; most programs want that.
 */
#ifndef SPN_ENGINE_H
#define SPN_ENGINE_H

#include "spn/platform.h"
#include "spn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Throughout: objects and outputs are not NULL unless it is said, texts are UTF-8 with a NUL and
 * are copied where they are kept, [n] is the number of elements behind a pointer, bytes and tokens
 * are counted, seconds are doubles. A `..._create`, `..._open` or `..._load` gives an object that
 * is the caller's until its `..._free` or `..._close`, which take NULL; after a failure there is
 * none. What a failed call had allocated is gone. */

/* ---- looking into a file ---- */

/* A GGUF file's description, for display: any architecture, also files without tensors.
 * Immutable after open, share freely. */
typedef struct spn_inspection spn_inspection;

typedef struct spn_metadata_item {
    const char *key;
    const char *type;  /* "u32", "string", "array of f32" ... */
    const char *value; /* for display: control characters escaped, long arrays and texts cut */
} spn_metadata_item;

typedef struct spn_tensor_item {
    const char *name;
    const char *type; /* "Q4_K" ... */
    uint32_t n_dims;
    uint64_t shape[4]; /* shape[0]: elements of a row, contiguous; unused ones are 1 */
    uint64_t n_bytes;
} spn_tensor_item;

/* Opens and checks the file. Errors: IO, FORMAT (names the field and where it stands), NO_MEMORY.
 * All texts live until spn_inspection_free. */
SPN_API spn_status spn_inspect(spn_inspection **out, const char *path, spn_error *err);
SPN_API void spn_inspection_free(spn_inspection *inspection);                 /* NULL is fine */
SPN_API uint32_t spn_inspection_version(const spn_inspection *inspection);    /* of GGUF: 2, 3 */
SPN_API uint64_t spn_inspection_file_bytes(const spn_inspection *inspection); /* all parts */
/* How many there are of each. */
SPN_API size_t spn_inspection_n_metadata(const spn_inspection *inspection);
SPN_API size_t spn_inspection_n_tensors(const spn_inspection *inspection);
/* False (and *out untouched) when `i` is too large. */
SPN_API bool spn_inspection_metadata(const spn_inspection *inspection, size_t i,
                                     spn_metadata_item *out);
/* The same for tensors, in the file's order. */
SPN_API bool spn_inspection_tensor(const spn_inspection *inspection, size_t i,
                                   spn_tensor_item *out);

/* ---- models ---- */

/* Immutable after open, share freely: any number of sessions on any threads. */
typedef struct spn_model spn_model;

/* Zero means default for every field; NULL means all defaults. */
typedef struct spn_model_options {
    spn_cpu_level cpu_level; /* DEFAULT: the best the processor has; else DEVICE if it lacks it */
    bool exact;              /* weights decoded to f32, activations never quantised: slow, simple,
                                the yardstick for everything else */
    bool lock_memory;        /* keep the file's pages in memory; INSUFFICIENT_MEMORY if refused */
} spn_model_options;

typedef struct spn_model_info {
    const char *architecture; /* "llama", "qwen3" ...; texts live as long as the model */
    const char *name;         /* general.name, or "" */
    const char *quantization; /* "Q4_K_M", "F16" ...: what the file says of itself, or "" */
    uint64_t file_bytes;      /* all parts */
    uint64_t n_params;
    uint64_t weight_bytes_per_token; /* bytes of weights that generating one token reads */
    uint64_t n_prompt_params; /* weights that each token of a prompt is multiplied with: without
                                 embeddings, unused experts and the output */
    uint32_t n_vocab;
    uint32_t n_ctx_train; /* the context the model was trained for, in tokens */
    uint32_t n_embd;      /* numbers of a hidden state */
    uint32_t n_layer;
    uint32_t n_head;    /* the most of any layer */
    uint32_t n_head_kv; /* the most of any layer */
    uint32_t head_dim;  /* numbers of a key */
    uint32_t n_ff;      /* of the inner layer of a feed-forward block */
    bool has_chat_template;
    bool is_encoder; /* embeds text and generates none */
} spn_model_info;

/* Maps the file, checks it, binds its tensors and opens its tokenizer; reads no weights, so it
 * takes the same short time for every size. Errors: IO, FORMAT, UNSUPPORTED_ARCHITECTURE, LOAD (a
 * tensor is missing or has the wrong shape or type: named), TOKENIZER, TEMPLATE, DEVICE (the
 * processor lacks the level), INSUFFICIENT_MEMORY (lock_memory), INVALID_ARGUMENT (`out` or `path`
 * is NULL), NO_MEMORY. */
SPN_API spn_status spn_model_open(spn_model **out, const char *path,
                                  const spn_model_options *options, spn_error *err);
/* NULL is fine. All sessions of the model must be gone. */
SPN_API void spn_model_close(spn_model *model);
/* Never NULL; lives as long as the model. */
SPN_API const spn_model_info *spn_model_describe(const spn_model *model);

/* ---- tokens ---- */

/* Immutable after open, share freely. */
typedef struct spn_tokenizer spn_tokenizer;

/* A file's tokenizer alone; the file needs no tensors. Errors: IO, FORMAT, TOKENIZER, NO_MEMORY. */
SPN_API spn_status spn_tokenizer_load(spn_tokenizer **out, const char *path, spn_error *err);
SPN_API void spn_tokenizer_free(spn_tokenizer *tokenizer); /* only what spn_tokenizer_load gave */
/* The model's own; lives as long as the model. NULL when its file has none. */
SPN_API const spn_tokenizer *spn_model_tokenizer(const spn_model *model);

typedef struct spn_encode_options {
    bool add_special;   /* put BOS and EOS where the model wants them */
    bool parse_special; /* texts of control tokens become these tokens, not letters */
} spn_encode_options;

/* Any bytes to token ids; `options` NULL: neither of them. *tokens [*n_tokens] is the caller's,
 * free with spn_free (also when *n_tokens is 0). Errors: TOKENIZER, NO_MEMORY. */
SPN_API spn_status spn_tokenizer_encode(const spn_tokenizer *tokenizer, const char *text,
                                        size_t n_bytes, const spn_encode_options *options,
                                        int32_t **tokens, size_t *n_tokens, spn_error *err);
/* Token ids to bytes, which need not be valid UTF-8. Control tokens give their text only with
 * `special`. *text [*n_bytes] has a NUL added and is the caller's, free with spn_free. Errors:
 * INVALID_ARGUMENT (an id outside the vocabulary), NO_MEMORY. */
SPN_API spn_status spn_tokenizer_decode(const spn_tokenizer *tokenizer, const int32_t *tokens,
                                        size_t n_tokens, bool special, char **text, size_t *n_bytes,
                                        spn_error *err);
/* Ids are 0 to that minus 1. */
SPN_API uint32_t spn_tokenizer_vocab_size(const spn_tokenizer *tokenizer);
/* Whether generation ends with this token; false for an id outside the vocabulary. */
SPN_API bool spn_tokenizer_ends_text(const spn_tokenizer *tokenizer, int32_t token);

/* ---- chat templates ---- */

/* A model's own text that turns messages into a prompt, in the language of Jinja. Immutable after
 * load, share freely. It is untrusted: rendering is bounded in steps, depth and output, and reads
 * nothing but its input. */
typedef struct spn_chat_template spn_chat_template;

/* The template of the file at `path`, or `source` (NUL-terminated, copied) in its place where that
 * is not NULL: the texts of BOS and EOS are the file's in any case. The file needs no tensors.
 * Errors: IO, FORMAT, TOKENIZER, TEMPLATE (there is none, or it cannot be parsed: the line is
 * named), NO_MEMORY. */
SPN_API spn_status spn_chat_template_load(spn_chat_template **out, const char *path,
                                          const char *source, spn_error *err);
SPN_API void spn_chat_template_free(spn_chat_template *chat_template); /* NULL is fine */

/* Zero means default for every field. */
typedef struct spn_render_options {
    const char *messages_json; /* array of {"role": ..., "content": ...} objects, with whatever else
                                  templates know: "tool_calls", "reasoning_content" ... */
    const char *tools_json;    /* array of tools; NULL: none */
    const char
        *variables_json; /* object of further variables, {"enable_thinking": false}; or NULL */
    bool no_generation_prompt; /* leave out what makes the model answer */
    int64_t now; /* the time that templates may show, seconds since 1970; 0: the present */
} spn_render_options;

/* *text [*n_bytes] has a NUL added and is the caller's, free with spn_free. Errors:
 * INVALID_ARGUMENT, JSON (input that is none), TEMPLATE (the line, or what the template itself
 * raised), NO_MEMORY. */
SPN_API spn_status spn_chat_template_render(const spn_chat_template *chat_template,
                                            const spn_render_options *options, char **text,
                                            size_t *n_bytes, spn_error *err);

/* ---- sessions ---- */

typedef enum spn_kv_type {
    SPN_KV_TYPE_DEFAULT, /* F16; F32 for encoders */
    SPN_KV_TYPE_F32,
    SPN_KV_TYPE_F16,
    SPN_KV_TYPE_BF16,
    SPN_KV_TYPE_Q8_0,
    SPN_KV_TYPE_Q4_0,
} spn_kv_type;

/* Called on the evaluating thread before each batch of an evaluation of several tokens, and about
 * five times a second within a long one, with the tokens of this call done so far (within a batch,
 * by its share of the work) and in all. Returning false cancels the call (CANCELLED; what was
 * evaluated stays cached). It must not call the session. */
typedef bool (*spn_progress_fn)(size_t n_done, size_t n_total, void *user);

/* Zero means default for every field; NULL means all defaults. */
typedef struct spn_session_options {
    uint32_t n_ctx;     /* most tokens the session can hold; 0: the model's n_ctx_train, or what of
                           it can be cached in half of the memory that the weights leave */
    uint32_t n_threads; /* 0: the processors this process may use */
    uint32_t n_batch;   /* most tokens a pass; 0: 512 */
    spn_kv_type type_k;
    spn_kv_type type_v;
    spn_progress_fn progress;
    void *progress_user;
    bool profile;           /* measure where the time goes: spn_session_profile */
    bool skip_memory_check; /* go on where the estimate says INSUFFICIENT_MEMORY: weights that do
                               not fit are then read from the disk again and again, and a cache that
                               does not fit may end the process once it fills */
} spn_session_options;

typedef struct spn_session spn_session; /* one thread at a time */

typedef struct spn_session_info {
    uint32_t n_ctx;
    uint32_t n_threads;
    uint32_t n_cached;      /* tokens in the cache now */
    uint64_t kv_bytes;      /* cache memory when full; it is committed as it fills */
    uint64_t kv_read_bytes; /* about what of it a token behind those in the cache reads, beside
                               spn_model_info.weight_bytes_per_token */
    uint64_t scratch_bytes;
    spn_cpu_level cpu_level;
} spn_session_info;

/* The model must outlive the session. Errors: INVALID_ARGUMENT (a KV type that the head size does
 * not allow), INSUFFICIENT_MEMORY (with the numbers), NO_MEMORY, DEVICE. */
SPN_API spn_status spn_session_create(spn_session **out, const spn_model *model,
                                      const spn_session_options *options, spn_error *err);
SPN_API void spn_session_free(spn_session *session); /* NULL is fine; no call may be running */
/* What the session was given and has now. */
SPN_API void spn_session_describe(const spn_session *session, spn_session_info *out);

/* Makes the cache hold exactly tokens[0 .. n_tokens): keeps the longest common prefix with what it
 * holds, drops the rest, evaluates what is missing (always at least the last token, unless nothing
 * changed). Afterwards spn_session_logits gives the logits behind the last token. *n_reused (may be
 * NULL) is how many tokens came from the cache.
 * Errors: INVALID_ARGUMENT (n_tokens is 0, or an id outside the vocabulary), CONTEXT_FULL (with
 * both numbers; nothing was changed), CANCELLED, INFERENCE_FAILED, NO_MEMORY. */
SPN_API spn_status spn_session_sync(spn_session *session, const int32_t *tokens, size_t n_tokens,
                                    size_t *n_reused, spn_error *err);
/* The logits behind the last token of the last successful sync, [n_vocab]; valid until the next
 * call on the session. NULL when there are none. */
SPN_API const float *spn_session_logits(const spn_session *session);

/* As sync, but evaluates tokens[first .. n_tokens) in any case and writes the logits behind each of
 * them to `logits`, [n_tokens - first][n_vocab]. Errors as sync, and INVALID_ARGUMENT (`first` is
 * not below n_tokens); `logits` is undefined after a failure of the evaluation. */
SPN_API spn_status spn_session_score(spn_session *session, const int32_t *tokens, size_t n_tokens,
                                     size_t first, float *logits, spn_error *err);

typedef enum spn_pooling_type {
    SPN_POOLING_TYPE_DEFAULT, /* the model's own; the last token where it says nothing */
    SPN_POOLING_TYPE_MEAN,
    SPN_POOLING_TYPE_CLS, /* the first token */
    SPN_POOLING_TYPE_LAST,
} spn_pooling_type;

/* The embedding of a text's tokens: the last layer's hidden states (behind the output norm, where
 * the model has one) pooled into out[n_embd], not normalised. What the session had cached is
 * dropped. Errors as sync, and INVALID_ARGUMENT for a pooling that is none; `out` is undefined
 * after CANCELLED and NO_MEMORY, and untouched after the others. */
SPN_API spn_status spn_session_embed(spn_session *session, const int32_t *tokens, size_t n_tokens,
                                     spn_pooling_type pooling, float *out, spn_error *err);
/* The same for n_texts texts: text i has the n_tokens[i] tokens tokens[i], and its embedding goes
 * to out + i * n_embd, bit for bit what spn_session_embed gives for it alone. Texts that fit a pass
 * together (n_batch tokens, up to 64 texts) share it, in their order: many short ones take much
 * less time than one by one. `progress` counts the tokens of all texts. Errors as for one text;
 * err->item tells which. They are all checked before the first is evaluated. n_texts may be 0. */
SPN_API spn_status spn_session_embed_batch(spn_session *session, const int32_t *const *tokens,
                                           const size_t *n_tokens, size_t n_texts,
                                           spn_pooling_type pooling, float *out, spn_error *err);

/* Makes a running sync, score or embed return CANCELLED soon. From any thread, also from a signal
 * handler. */
SPN_API void spn_session_cancel(spn_session *session);

/* ---- measuring ---- */

/* What this machine can do at most with the model's CPU level and so many threads: the bounds of
 * generation (reading the weights) and of prompts (multiplying). Williams et al. 2009,
 * doi:10.1145/1498765.1498785. */
typedef struct spn_roofline {
    double read_gb_s;  /* 10^9 bytes a second that a plain loop reads of the model's own file */
    double int8_tops;  /* 10^12 additions and multiplications of bytes a second, registers only */
    double f32_gflops; /* 10^9 of floats */
} spn_roofline;

/* Takes under a second for a file in memory. n_threads 0: the processors this process may use.
 * Errors: INVALID_ARGUMENT (the file is smaller than 1 MiB), NO_MEMORY, PROCESS. */
SPN_API spn_status spn_model_roofline(const spn_model *model, uint32_t n_threads, spn_roofline *out,
                                      spn_error *err);

/* One kind of operation of the forward pass, over all passes of the session so far. */
typedef struct spn_profile_item {
    const char *name; /* "matmul", "attention" ...; static text */
    uint64_t n;       /* how many were run */
    double seconds;   /* until all threads were done with them */
} spn_profile_item;
/* False (and *out untouched) when `i` is too large, or the session was created without `profile`.
 */
SPN_API bool spn_session_profile(const spn_session *session, size_t i, spn_profile_item *out);

/* ---- sessions on disk ---- */

/* Writes what the session has cached, and its logits, to a file, so that a long conversation goes
 * on in another process without being read again: bit for bit as if it had never stopped. The file
 * is as large as the filled cache; it appears under `path` whole or not at all. It fits the same
 * model (told by a SHA-256 of the model's metadata, tensor list and samples of its weights) and the
 * same KV types, any n_ctx that holds its tokens and any n_batch; models with windows and those
 * whose rotation depends on the context want the same n_ctx and n_batch, too. Errors:
 * INVALID_ARGUMENT (nothing is cached), IO, DISK_FULL, NO_MEMORY. */
SPN_API spn_status spn_session_save(const spn_session *session, const char *path, spn_error *err);
/* Restores it. The session's tokens are then those of the file: spn_session_tokens. Errors: IO,
 * FORMAT (damaged, or not such a file), INVALID_CONFIG (another model, or other sizes or types:
 * says which), NO_MEMORY; the session is empty then. */
SPN_API spn_status spn_session_load(spn_session *session, const char *path, spn_error *err);
/* The tokens in the cache, [*n_tokens]; valid until the next call on the session. */
SPN_API const int32_t *spn_session_tokens(const spn_session *session, size_t *n_tokens);

/* What running a file takes in bytes of memory, from its real tensors and shapes. */
typedef struct spn_memory_need {
    uint64_t weights;   /* pages of the file that get read: shared with other processes and with the
                           page cache. Of the table of embeddings, what a text of n_ctx tokens may
                           look up */
    uint64_t kv;        /* the KV cache, full: it is committed as it fills */
    uint64_t scratch;   /* room to work: activations, logits, the vocabulary */
    uint64_t process;   /* what this process takes already; 0: not known */
    uint64_t total;     /* the sum of the above */
    uint64_t available; /* of the machine or the control group now, as spn_ram_info says */
    uint32_t n_ctx;     /* the context that `kv` is for */
} spn_memory_need;

/* Reads metadata only, and allocates nothing that stays. Errors: as spn_model_open, and
 * INVALID_ARGUMENT (options that make no sense), IO (no memory information). */
SPN_API spn_status spn_estimate_memory(const char *path, const spn_session_options *options,
                                       spn_memory_need *out, spn_error *err);

/* ---- sampling ---- */

/* Added to a token's logit before everything else; -INFINITY forbids the token. */
typedef struct spn_logit_bias {
    int32_t token;
    float bias; /* from -1e6 to 1e6, or -INFINITY */
} spn_logit_bias;

/* Chooses a token from logits. Zero means default for every field; NULL means all defaults.
 * In this order: bias; repeat, frequency and presence penalties; DRY; then, unless greedy,
 * temperature; then mirostat, or top-k, typical, top-p, min-p; then the draw. */
typedef struct spn_sampler_options {
    bool greedy;       /* always the likeliest token after bias, penalties and DRY (the lowest id
                          among equals); everything behind them is ignored */
    float temperature; /* > 0, default 0.8; larger is more even */
    int32_t top_k;     /* keep the k likeliest; default 40, -1: all */
    float top_p;       /* keep the likeliest that together reach p; default 0.95, 1: all.
                          Holtzman et al. 2019, arXiv:1904.09751 */
    float min_p;       /* keep those at least min_p times as likely as the likeliest; default 0 */
    float repeat_penalty;  /* > 0: divides the logits of recent tokens (multiplies negative ones);
                              default 1: none. Keskar et al. 2019, arXiv:1909.05858 */
    int32_t repeat_last_n; /* how many tokens are recent, for the three penalties; default 64, -1:
                              all */
    uint64_t seed;         /* 0: drawn from the system; spn_sampler_seed tells it */

    float presence_penalty;  /* subtracted from the logit of every recent token; default 0 */
    float frequency_penalty; /* the same, times the number of its recent occurrences; default 0 */
    float typical_p;         /* keep those whose information is nearest to the expected one and that
                                together reach p; default 1: all. Meister et al. 2022, arXiv:2202.00666 */

    /* DRY ("don't repeat yourself"): a token that would continue a repetition of the last n >=
     * dry_allowed_length tokens loses dry_multiplier * dry_base^(n - dry_allowed_length). A
     * repetition never reaches back over a breaker. */
    float dry_multiplier;        /* default 0: off; 0.8 is usual */
    float dry_base;              /* >= 1; default 1.75 */
    uint32_t dry_allowed_length; /* default 2 */
    int32_t dry_last_n;          /* how many tokens to search; default and -1: all */
    const int32_t *dry_breakers; /* [n_dry_breakers] token ids; copied */
    size_t n_dry_breakers;       /* 0: none here; spn_runtime then takes the tokens that contain
                                    a line break, a colon, a quotation mark or an asterisk */
    const spn_logit_bias *bias;  /* [n_bias]; copied */
    size_t n_bias;

    /* Mirostat 2 keeps the information of the tokens near a target instead of filtering by
     * top-k, typical, top-p and min-p. Basu et al. 2020, arXiv:2007.14966 */
    bool mirostat;
    float mirostat_tau; /* the target in bits; default 5 */
    float mirostat_eta; /* the rate of learning; default 0.1 */
} spn_sampler_options;

typedef struct spn_sampler spn_sampler; /* one thread at a time */

/* Errors: INVALID_ARGUMENT (names the field and its range), NO_MEMORY, IO (no random seed). */
SPN_API spn_status spn_sampler_create(spn_sampler **out, uint32_t n_vocab,
                                      const spn_sampler_options *options, spn_error *err);
SPN_API void spn_sampler_free(spn_sampler *sampler); /* NULL is fine */
/* Tells the sampler that `token` was appended to the text (prompt or generated). Errors:
 * INVALID_ARGUMENT (an id outside the vocabulary), NO_MEMORY. */
SPN_API spn_status spn_sampler_accept(spn_sampler *sampler, int32_t token, spn_error *err);
/* A token from logits [n_vocab], which stay as they are. The same seed, options, accepted tokens
 * and logits give the same token on every machine. A logit that is not finite counts as impossible;
 * -1 when all are. It does not accept the token: call spn_sampler_accept. */
SPN_API int32_t spn_sampler_sample(spn_sampler *sampler, const float *logits);
/* The seed in use: the one given, or the one that was drawn. Never 0. */
SPN_API uint64_t spn_sampler_seed(const spn_sampler *sampler);

/* ---- generating ---- */

/* Why a generation ended. */
typedef enum spn_finish_reason {
    SPN_FINISH_REASON_STOP,   /* the model ended its text, or a stop sequence came */
    SPN_FINISH_REASON_LENGTH, /* max_tokens, or the context is full */
    SPN_FINISH_REASON_CANCELLED,
} spn_finish_reason;
/* "stop", "length", "cancelled"; "unknown" for other numbers. */
SPN_API const char *spn_finish_reason_name(spn_finish_reason reason);

/* ---- several texts at once ---- */

/* Evaluates many texts over one model side by side: in every pass the next token of each running
 * text and, in the room that is left, pieces of the prompts that wait for theirs. Generation is
 * bound by reading the weights, so eight texts take little more time a pass than one. Each text
 * gives exactly the tokens that it gives alone.
 *
 * The scheduler has one thread of its own and is internally locked: any thread may call it. */
typedef struct spn_scheduler spn_scheduler;

/* Zero means default for every field; NULL means all defaults. */
typedef struct spn_scheduler_options {
    uint32_t n_sequences; /* most texts side by side; 0: 8 */
    uint32_t n_waiting;   /* most requests that wait for a place; 0: 256 */
    uint32_t n_ctx;       /* of each text; 0: as much as all of them can cache in half of the memory
                             that the weights leave, at most the model's n_ctx_train */
    uint32_t n_threads;   /* as in spn_session_options */
    uint32_t n_batch;
    spn_kv_type type_k;
    spn_kv_type type_v;
} spn_scheduler_options;

typedef struct spn_scheduler_info {
    uint32_t n_sequences, n_ctx;
    uint32_t n_running, n_waiting;
    uint64_t n_passes;    /* since the start */
    uint64_t n_evaluated; /* tokens, since the start */
} spn_scheduler_info;

/* What became of a request. */
typedef struct spn_request_result {
    uint64_t id;
    spn_status status; /* OK also when it was cancelled: see finish_reason */
    const char *error; /* "" when OK; valid during the callback */
    spn_finish_reason finish_reason;
    const int32_t *tokens; /* [n_tokens] generated ones, without the token that ended the text;
                              valid during the callback */
    size_t n_tokens;
    uint32_t n_prompt_tokens;
    uint32_t n_cached_tokens; /* of the prompt, found in a cache */
    uint64_t seed;
    double wait_s, prompt_s, generation_s; /* seconds in the queue, on the prompt, and after the
                                              first token */
} spn_request_result;

/* Callbacks run on the scheduler's thread and may submit and cancel, but not free the scheduler. A
 * slow one slows everybody. on_token gets each generated token; returning false ends the text
 * (CANCELLED). on_done comes exactly once for every accepted request, also when the scheduler is
 * freed. */
typedef bool (*spn_token_fn)(uint64_t id, int32_t token, void *user);
typedef void (*spn_done_fn)(const spn_request_result *result, void *user);

typedef struct spn_request {
    const int32_t *tokens; /* [n_tokens] the prompt; copied */
    size_t n_tokens;
    spn_sampler_options sampler; /* its arrays are copied */
    uint32_t max_tokens;         /* most tokens to generate; 0: as many as the context holds */
    int32_t priority;      /* higher ones get a place and prompt time first; equals in order */
    bool ignore_end;       /* go on past end-of-text tokens */
    spn_token_fn on_token; /* NULL: none */
    spn_done_fn on_done;   /* NULL: none */
    void *user;
} spn_request;

/* The model must outlive the scheduler. Errors: as spn_session_create, PROCESS (no thread). */
SPN_API spn_status spn_scheduler_create(spn_scheduler **out, const spn_model *model,
                                        const spn_scheduler_options *options, spn_error *err);
/* Cancels what runs and waits, and returns when all callbacks are done. NULL is fine. */
SPN_API void spn_scheduler_free(spn_scheduler *scheduler);
/* *id (may be NULL) is the request's number, never 0. Errors: INVALID_ARGUMENT (an id outside the
 * vocabulary, a sampler's option), CONTEXT_FULL (both numbers), BUSY (the queue is full; try again
 * later), NO_MEMORY. */
SPN_API spn_status spn_scheduler_submit(spn_scheduler *scheduler, const spn_request *request,
                                        uint64_t *id, spn_error *err);
/* Ends a request within one pass; one that is done already, or never was, is left alone. */
SPN_API void spn_scheduler_cancel(spn_scheduler *scheduler, uint64_t id);
/* Waits until nothing runs or waits. Not from a callback. */
SPN_API void spn_scheduler_wait(spn_scheduler *scheduler);
/* A snapshot: the counts may have changed when it returns. */
SPN_API void spn_scheduler_describe(spn_scheduler *scheduler, spn_scheduler_info *out);

#ifdef __cplusplus
}
#endif
#endif
