/* model.c - opening a model: file, network and tokenizer together.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "runtime/model.h"

#include <string.h>

#include "platform/os.h"

/* ---- describing ---- */

/* general.file_type: how the file's writer names its mixture of types. */
static const char *file_type_name(uint32_t file_type) {
    static const char *const names[] = {
        [0] = "F32",      [1] = "F16",      [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
        [8] = "Q5_0",     [9] = "Q5_1",     [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
        [13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
        [18] = "Q6_K",    [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
        [23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL", [26] = "IQ3_S",  [27] = "IQ3_M",
        [28] = "IQ2_S",   [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",  [32] = "BF16",
        [36] = "TQ1_0",   [37] = "TQ2_0",   [38] = "MXFP4",
    };
    return file_type < SPN_COUNT(names) && names[file_type] ? names[file_type] : "";
}

static spn_status describe_file(spn_model *model, spn_error *err) {
    spn_model_info *info = &model->info;
    spn_gguf_str name = {"", 0};
    uint32_t file_type = UINT32_MAX;
    SPN_TRY(spn_gguf_get_str(model->gguf, "general.name", false, &name, err));
    SPN_TRY(spn_gguf_get_u32(model->gguf, "general.file_type", false, &file_type, err));
    info->name = spn_arena_text(&model->arena, name.data, name.len);
    if (info->name == NULL) return SPN_NO_MEMORY(err, "the model's name");
    info->quantization = file_type_name(file_type);
    info->file_bytes = spn_gguf_file_bytes(model->gguf);
    info->has_chat_template = spn_gguf_find(model->gguf, "tokenizer.chat_template") != NULL;
    return SPN_STATUS_OK;
}

static void describe_network(spn_model *model) {
    const spn_network *network = model->network;
    spn_model_info *info = &model->info;
    info->architecture = network->arch->name;
    info->n_params = network->n_params;
    info->weight_bytes_per_token = network->weight_bytes_per_token;
    info->n_prompt_params = network->n_prompt_params;
    info->n_vocab = network->n_vocab;
    info->n_ctx_train = network->n_ctx_train;
    info->n_embd = network->n_embd;
    info->n_layer = network->n_layer;
    info->is_encoder = !network->has_logits;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        const spn_layer *layer = &network->layers[l];
        if (layer->n_head > info->n_head) info->n_head = layer->n_head;
        if (layer->n_head_kv > info->n_head_kv) info->n_head_kv = layer->n_head_kv;
        if (layer->dim_k > info->head_dim) info->head_dim = (uint32_t)layer->dim_k;
        if (layer->n_ff > info->n_ff) info->n_ff = (uint32_t)layer->n_ff;
    }
}

/* ---- opening ---- */

static bool has_tokenizer(const spn_gguf *gguf) {
    spn_gguf_str kind = {"", 0};
    spn_gguf_get_str(gguf, "tokenizer.ggml.model", false, &kind, NULL);
    bool none = (kind.len == 4 && memcmp(kind.data, "none", 4) == 0) ||
                (kind.len == 8 && memcmp(kind.data, "no_vocab", 8) == 0);
    return kind.len > 0 && !none;
}

static spn_status open_tokenizer(spn_model *model, spn_error *err) {
    if (!has_tokenizer(model->gguf)) return SPN_STATUS_OK;
    SPN_TRY(spn_tokenizer_open(&model->tokenizer, model->gguf, err));
    uint32_t n_vocab = spn_tokenizer_n_vocab(model->tokenizer);
    if (n_vocab > model->network->n_vocab)
        return SPN_FAIL(err, LOAD, "the tokenizer has %u tokens and the model %u embeddings",
                        n_vocab, model->network->n_vocab);
    return SPN_STATUS_OK;
}

spn_status spn_model_lock(spn_model *model, const char *path, spn_error *err) {
    spn_error detail;
    if (!model->options.lock_memory) return SPN_STATUS_OK;
    for (size_t i = 0; i < spn_gguf_n_files(model->gguf); i++) {
        const uint8_t *data;
        size_t n_bytes;
        spn_gguf_file_span(model->gguf, i, &data, &n_bytes);
        spn_status status = spn_map_lock(data, n_bytes, &detail);
        if (status != SPN_STATUS_OK)
            return spn_fail_code(err, status, detail.code, "%s: %s", path, detail.text);
    }
    model->is_locked = true;
    return SPN_STATUS_OK;
}

static spn_status check_level(spn_cpu_level level, spn_error *err) {
    if (spn_kernels_get(level) != NULL) return SPN_STATUS_OK;
    return SPN_FAIL(err, DEVICE,
                    "this processor cannot run CPU level %s; leave the level out to use the best "
                    "one it has",
                    spn_cpu_level_name(level));
}

static spn_status open_parts(spn_model *model, const char *path, spn_error *err) {
    SPN_TRY(check_level(model->options.cpu_level, err));
    SPN_TRY(spn_gguf_open(&model->gguf, path, err));
    SPN_TRY(spn_network_load(&model->network, model->gguf, err));
    SPN_TRY(open_tokenizer(model, err));
    SPN_TRY(describe_file(model, err));
    describe_network(model);
    return SPN_STATUS_OK;
}

spn_status spn_model_open_unlocked(spn_model **out, const char *path,
                                   const spn_model_options *options, spn_error *err) {
    if (out == NULL || path == NULL)
        return SPN_FAIL(err, INVALID_ARGUMENT,
                        "spn_model_open wants a path and a place to put the "
                        "model");
    spn_model *model = spn_alloc_zeroed(1, sizeof *model);
    if (model == NULL) return SPN_NO_MEMORY(err, "the model");
    if (options != NULL) model->options = *options;
    spn_error detail;
    spn_status status = open_parts(model, path, &detail);
    if (status != SPN_STATUS_OK) {
        /* Files name themselves in their own errors; the rest is about this file. */
        bool named = status == SPN_STATUS_IO || strstr(detail.text, path) != NULL;
        spn_fail_code(err, status, detail.code, "%s%s%s", named ? "" : path, named ? "" : ": ",
                      detail.text);
        spn_model_close(model);
        return status;
    }
    *out = model;
    return SPN_STATUS_OK;
}

spn_status spn_model_open(spn_model **out, const char *path, const spn_model_options *options,
                          spn_error *err) {
    spn_model *model;
    SPN_TRY(spn_model_open_unlocked(out == NULL ? NULL : &model, path, options, err));
    spn_status status = spn_model_lock(model, path, err);
    if (status != SPN_STATUS_OK) {
        spn_model_close(model);
        return status;
    }
    *out = model;
    return SPN_STATUS_OK;
}

void spn_model_close(spn_model *model) {
    if (model == NULL) return;
    spn_tokenizer_close(model->tokenizer);
    spn_network_free(model->network);
    spn_gguf_close(model->gguf);
    spn_arena_free(&model->arena);
    spn_free(model);
}

const spn_model_info *spn_model_describe(const spn_model *model) { return &model->info; }

spn_status spn_model_check_tokens(const spn_model *model, const int32_t *tokens, size_t n_tokens,
                                  spn_error *err) {
    uint32_t n_vocab = model->network->n_vocab;
    for (size_t i = 0; i < n_tokens; i++)
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= n_vocab)
            return SPN_FAIL(err, INVALID_ARGUMENT,
                            "token %zu is %d: the vocabulary has ids 0 to %u", i, (int)tokens[i],
                            n_vocab - 1);
    return SPN_STATUS_OK;
}

const spn_tokenizer *spn_model_tokenizer(const spn_model *model) { return model->tokenizer; }
