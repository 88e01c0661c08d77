/* memory.c - what running a model takes, and whether it is there.
 * SPDX-License-Identifier: Apache-2.0
 * Apache-2.0
 *
 * The weights are the file's pages, so they count as far as passes read them; what the process has
 * already counts too, so that the sum is what the system will show of it. Both are compared with
 * what is available as spn_detect_ram says it, which includes pages of the file that are in memory
 * already. */
#include <stdio.h>

#include "platform/os.h"
#include "runtime/lookahead.h"
#include "runtime/runtime_internal.h"

#define DEFAULT_BATCH 512
#define MAX_CTX (1u << 30)

/* A fault in a file's map brings so many bytes around it (Linux's fault_around_bytes). */
#define FAULT_BYTES (64u << 10)
/* Text, type and places in the lookup tables of a vocabulary's entry; measured. */
#define VOCAB_ENTRY_BYTES 64
/* The library's code and the stacks of its threads; measured. */
#define CODE_BYTES ((uint64_t)1 << 20)

typedef unsigned long long ull;

/* ---- a session's sizes ---- */

/* An encoder's keys and values are read once, in the pass that made them: rounding them saves
 * nothing that lasts. */
static spn_status kv_type_of(const spn_model *model, spn_kv_type type, spn_type *out,
                             spn_error *err) {
    static const spn_type types[] = {SPN_TYPE_F16,  SPN_TYPE_F32,  SPN_TYPE_F16,
                                     SPN_TYPE_BF16, SPN_TYPE_Q8_0, SPN_TYPE_Q4_0};
    if ((unsigned)type >= SPN_COUNT(types))
        return SPN_FAIL(err, INVALID_ARGUMENT, "KV cache type %d is not known", (int)type);
    *out = types[type];
    if (type == SPN_KV_TYPE_DEFAULT && !model->network->has_logits) *out = SPN_TYPE_F32;
    return SPN_STATUS_OK;
}

spn_pass_options spn_session_pass_options(const spn_model *model, const spn_session_size *size,
                                          uint32_t n_threads) {
    return (spn_pass_options){.n_batch = size->n_batch,
                              .n_out = size->n_batch,
                              .n_ctx = size->n_ctx,
                              .exact = model->options.exact,
                              .n_threads = n_threads,
                              .cpu_level = model->options.cpu_level};
}

static uint64_t kv_bytes(const spn_model *model, const spn_session_size *size, uint32_t n_ctx) {
    return spn_kv_cache_bytes(model->network, n_ctx, size->n_batch, size->type_k, size->type_v);
}

/* Of a table that tokens look their rows up in, a text brings in the surroundings of the rows that
 * it needs. Frequent tokens stand together: with frequencies as Zipf's law has them, a text of
 * 1,000 to 16,000 tokens needs a quarter to an eighth as many surroundings as it has tokens, and
 * one that repeats itself far fewer. */
static uint64_t resident_weights(const spn_model *model, uint32_t n_ctx) {
    const spn_network *network = model->network;
    uint64_t table = network->table_bytes, touched = n_ctx / 8 * (uint64_t)FAULT_BYTES;
    uint64_t read = model->info.file_bytes - table - network->unread_bytes;
    if (model->options.lock_memory) return model->info.file_bytes;
    return read + (touched < table ? touched : table);
}

/* The largest context up to the model's own with whose caches `n_texts` texts take half of what
 * the weights leave of the available memory. */
static spn_status default_context(const spn_model *model, uint32_t n_texts, spn_session_size *size,
                                  spn_error *err) {
    spn_ram_info ram;
    SPN_TRY(spn_detect_ram(&ram, err));
    size->n_ctx = model->network->n_ctx_train;
    uint64_t weights = model->is_locked ? 0 : resident_weights(model, 0);
    uint64_t each = weights < ram.available ? (ram.available - weights) / 2 / n_texts : 0;
    while (size->n_ctx > 512 && kv_bytes(model, size, size->n_ctx) > each)
        size->n_ctx = (size->n_ctx / 2 + 255) / 256 * 256;
    return SPN_STATUS_OK;
}

spn_status spn_session_measure(const spn_model *model, const spn_session_options *options,
                               uint32_t n_texts, spn_session_size *out, spn_error *err) {
    spn_session_size size = {.n_ctx = options->n_ctx, .n_batch = options->n_batch};
    SPN_TRY(kv_type_of(model, options->type_k, &size.type_k, err));
    SPN_TRY(kv_type_of(model, options->type_v, &size.type_v, err));
    SPN_TRY(spn_kv_cache_check_types(model->network, size.type_k, size.type_v, err));
    if (size.n_ctx > MAX_CTX)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a context of %u tokens is too long: at most %u",
                        size.n_ctx, MAX_CTX);
    if (size.n_batch == 0) size.n_batch = DEFAULT_BATCH;
    if (size.n_batch > 65536)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a batch of %u tokens is too large: at most 65536",
                        size.n_batch);
    if (size.n_ctx == 0) SPN_TRY(default_context(model, n_texts, &size, err));
    if (size.n_batch > size.n_ctx) size.n_batch = size.n_ctx;
    size.kv_bytes = kv_bytes(model, &size, size.n_ctx);
    spn_pass_options pass = spn_session_pass_options(model, &size, options->n_threads);
    size.scratch_bytes = spn_pass_estimate(model->network, &pass);
    *out = size;
    return SPN_STATUS_OK;
}

/* ---- the whole ---- */

/* What generation takes beside the sessions: the logits of the passes that check guesses, the
 * sampler's candidates, the vocabulary. */
static uint64_t text_bytes(const spn_model *model) {
    uint64_t n_vocab = model->network->n_vocab;
    uint64_t logits = model->network->has_logits ? (SPN_LOOKAHEAD_MOST + 2) * sizeof(float) : 0;
    return n_vocab * (logits + VOCAB_ENTRY_BYTES);
}

void spn_memory_add(const spn_model *model, const spn_session_size *size, uint32_t n_texts,
                    spn_memory_need *need) {
    need->weights += resident_weights(model, size->n_ctx);
    need->kv += n_texts * size->kv_bytes;
    need->scratch += n_texts * (size->scratch_bytes + size->n_ctx * sizeof(int32_t));
    need->scratch += text_bytes(model);
}

spn_status spn_memory_finish(spn_memory_need *need, uint64_t process, spn_error *err) {
    spn_ram_info ram;
    SPN_TRY(spn_detect_ram(&ram, err));
    need->process = process;
    need->available = ram.available;
    need->scratch += CODE_BYTES;
    need->total = need->weights + need->kv + need->scratch + need->process;
    return SPN_STATUS_OK;
}

static uint32_t texts_of(const spn_load_config *config) {
    return config->n_conversations > 0 ? config->n_conversations : 1;
}

static spn_status estimate_draft(const spn_load_config *config, spn_memory_need *need,
                                 spn_error *err) {
    spn_session_options options = {.n_ctx = need->n_ctx, .n_threads = config->session.n_threads};
    spn_session_size size;
    spn_model *draft;
    if (config->draft_path == NULL) return SPN_STATUS_OK;
    SPN_TRY(spn_model_open_unlocked(&draft, config->draft_path, &config->model, err));
    spn_status status = spn_session_measure(draft, &options, 1, &size, err);
    if (status == SPN_STATUS_OK) spn_memory_add(draft, &size, 1, need);
    spn_model_close(draft);
    return status;
}

spn_status spn_runtime_estimate(const char *path, const spn_load_config *config,
                                spn_memory_need *out, spn_error *err) {
    static const spn_load_config defaults;
    spn_model *model;
    spn_session_size size;
    spn_memory_need need = {0};
    uint64_t process = spn_process_memory();
    if (config == NULL) config = &defaults;
    SPN_TRY(spn_model_open_unlocked(&model, path, &config->model, err));
    spn_status status = spn_session_measure(model, &config->session, texts_of(config), &size, err);
    if (status == SPN_STATUS_OK) {
        spn_memory_add(model, &size, texts_of(config), &need);
        need.n_ctx = size.n_ctx;
    }
    spn_model_close(model);
    SPN_TRY(status);
    SPN_TRY(estimate_draft(config, &need, err));
    SPN_TRY(spn_memory_finish(&need, process, err));
    *out = need;
    return SPN_STATUS_OK;
}

spn_status spn_estimate_memory(const char *path, const spn_session_options *options,
                               spn_memory_need *out, spn_error *err) {
    spn_load_config config = {0};
    if (options != NULL) config.session = *options;
    return spn_runtime_estimate(path, &config, out, err);
}

/* ---- whether it fits ---- */

static const char *bytes_text(uint64_t n_bytes, char out[24]) {
    bool large = n_bytes >= (uint64_t)10 << 30;
    snprintf(out, 24, "%.1f %s", (double)n_bytes / (large ? 1 << 30 : 1 << 20),
             large ? "GiB" : "MiB");
    return out;
}

/* The longest context whose caches fit into `room`, to full 256 tokens. */
static uint32_t fitting_context(const spn_model *model, spn_session_size size, uint32_t n_texts,
                                uint64_t room) {
    uint32_t low = 0, high = size.n_ctx / 256;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (kv_bytes(model, &size, middle * 256) <= room / n_texts)
            low = middle;
        else
            high = middle - 1;
    }
    return low * 256;
}

/* What would make it fit. `room`: for the caches. */
static void advise(const spn_model *model, const spn_session_size *size, uint32_t n_texts,
                   uint64_t room, char *out, size_t n_out) {
    spn_session_size small = *size;
    uint32_t n_ctx = fitting_context(model, *size, n_texts, room);
    small.type_k = small.type_v = SPN_TYPE_Q8_0;
    bool may_shrink = spn_kv_cache_check_types(model->network, small.type_k, small.type_v, NULL) ==
                          SPN_STATUS_OK &&
                      n_texts * kv_bytes(model, &small, size->n_ctx) <= room;
    if (n_ctx == 0)
        snprintf(out, n_out, "use a smaller quantization or a smaller model");
    else
        snprintf(out, n_out, "use a context of at most %u tokens%s, or a smaller quantization",
                 n_ctx, may_shrink ? ", or a KV cache of type q8_0" : "");
}

spn_status spn_memory_check(const spn_model *model, const char *path, const spn_session_size *size,
                            uint32_t n_texts, const spn_memory_need *need, spn_error *err) {
    char t[5][24], advice[160];
    uint64_t rest = need->weights + need->scratch, wanted = rest + need->kv;
    if (wanted <= need->available) return SPN_STATUS_OK;
    advise(model, size, n_texts, need->available > rest ? need->available - rest : 0, advice,
           sizeof advice);
    return SPN_FAIL(err, INSUFFICIENT_MEMORY,
                    "%.150s needs %s: weights %s, KV cache %s for %u tokens, room to work %s; %s "
                    "are available: %s",
                    path, bytes_text(wanted, t[0]), bytes_text(need->weights, t[1]),
                    bytes_text(need->kv, t[2]), size->n_ctx, bytes_text(need->scratch, t[3]),
                    bytes_text(need->available, t[4]), advice);
}

spn_status spn_session_check_memory(const spn_session_size *size, uint32_t n_texts,
                                    spn_error *err) {
    spn_ram_info ram;
    SPN_TRY(spn_detect_ram(&ram, err));
    uint64_t kv = n_texts * size->kv_bytes;
    if (kv <= ram.available && size->scratch_bytes <= ram.available - kv) return SPN_STATUS_OK;
    return SPN_FAIL(err, INSUFFICIENT_MEMORY,
                    "a context of %u tokens for each of %u texts needs %llu MiB for the KV cache "
                    "and %llu MiB to work in; %llu MiB are available: use a smaller context or a "
                    "smaller KV cache type",
                    size->n_ctx, n_texts, (ull)(kv >> 20), (ull)(size->scratch_bytes >> 20),
                    (ull)(ram.available >> 20));
}
