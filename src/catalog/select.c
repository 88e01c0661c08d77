/* select.c - looking models up, and what fits in memory. SPDX-License-Identifier: Apache-2.0
 *
 * Memory of a model at work, in bytes:
 *
 *     weights   the files, which are mapped or copied as they are
 *     kv_cache  2 (keys, values) x 2 (bytes of a half) x n_head_kv x head_dim x the tokens each
 *               layer keeps: n_ctx, or the window where the layer has one
 *     scratch   64 MiB for the program, its buffers and the tokenizer, and for a batch of 512
 *               tokens about 16 rows of n_embd floats: 512 x 16 x 4 = 32 KiB x n_embd
 */
#include <string.h>

#include "catalog/catalog.h"

#define DEFAULT_N_CTX 4096u
#define BATCH_ROWS_BYTES (512u * 16 * 4)
#define PROGRAM_BYTES (UINT64_C(64) << 20)

static const char *const type_names[] = {"text", "vision", "embedding", "audio", "diffusion"};

const char *spn_model_type_name(spn_model_type type) {
    return (unsigned)type < SPN_MODEL_TYPE_COUNT ? type_names[type] : "unknown";
}

bool spn_model_type_parse(const char *name, spn_model_type *out) {
    for (unsigned i = 0; name != NULL && i < SPN_MODEL_TYPE_COUNT; i++) {
        if (!spn_ascii_equal(name, type_names[i])) continue;
        *out = (spn_model_type)i;
        return true;
    }
    return false;
}

const spn_known_model *spn_find_model(const char *id) {
    size_t n;
    const spn_known_model *models = spn_known_models(&n);
    for (size_t i = 0; id != NULL && i < n; i++)
        if (spn_ascii_equal(id, models[i].id)) return &models[i];
    return NULL;
}

size_t spn_models_by_type(spn_model_type type, const spn_known_model **out, size_t max) {
    size_t n, found = 0;
    const spn_known_model *models = spn_known_models(&n);
    for (size_t i = 0; i < n; i++) {
        if (models[i].type != type) continue;
        if (found < max) out[found] = &models[i];
        found++;
    }
    return found;
}

const spn_known_file *spn_filename_for_quant(const spn_known_model *model,
                                             spn_quantization quantization) {
    for (size_t i = 0; model != NULL && i < model->n_files; i++)
        if (model->files[i].quantization == quantization) return &model->files[i];
    return NULL;
}

/* ---- near names ---- */

#define NEAR_MAX 48 /* ids are shorter; a longer word is near nothing */
#define MODELS_MAX 256

/* In one row of the usual table. */
unsigned spn_ascii_distance(const char *a, const char *b) {
    unsigned row[256];
    size_t n = strlen(b);
    if (n > 255) n = 255;
    for (size_t j = 0; j <= n; j++) row[j] = (unsigned)j;
    for (size_t i = 0; i < 255 && a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 1; j <= n; j++) {
            unsigned change = diagonal + (spn_ascii_lower(a[i]) != spn_ascii_lower(b[j - 1]));
            diagonal = row[j];
            unsigned step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < step ? change : step;
        }
    }
    return row[n];
}

/* An id that starts like the word, up to its colon, is nearer than any other. */
static unsigned nearness(const char *id, const char *known) {
    unsigned d = spn_ascii_distance(id, known);
    size_t family = strcspn(id, ":");
    bool same = family > 0 && strcspn(known, ":") == family && family < NEAR_MAX;
    for (size_t i = 0; same && i < family; i++)
        same = spn_ascii_lower(id[i]) == spn_ascii_lower(known[i]);
    return same ? d : d + 4;
}

size_t spn_nearest_models(const char *id, const spn_known_model **out, size_t max) {
    size_t n, found = 0;
    const spn_known_model *models = spn_known_models(&n);
    if (id == NULL || strlen(id) >= NEAR_MAX) return 0;
    unsigned limit = 8 + (unsigned)strlen(id) / 4, far[MODELS_MAX];
    for (size_t i = 0; i < n && i < MODELS_MAX; i++) far[i] = nearness(id, models[i].id);
    for (unsigned d = 0; d < limit; d++)
        for (size_t i = 0; i < n && i < MODELS_MAX && found < max; i++)
            if (far[i] == d) out[found++] = &models[i];
    return found;
}

/* ---- memory ---- */

/* Where the catalogue does not know a model's shape: what models of that size have, on the high
 * side. 1,024 is 8 heads of 128. */
static uint32_t usual_layers(double billions) {
    return billions <= 1.5 ? 28 : billions <= 10 ? 36 : billions <= 20 ? 48 : 64;
}

static uint64_t kv_bytes(const spn_known_model *model, uint32_t n_ctx) {
    if (model->type == SPN_MODEL_TYPE_EMBEDDING) return 0; /* one pass, nothing is kept */
    uint64_t width = (uint64_t)model->n_head_kv * model->head_dim;
    uint64_t layers = model->n_layer, tokens;
    if (layers == 0) layers = usual_layers(model->param_billions), width = 1024;
    if (model->window > 0 && model->window_period > 0) {
        uint64_t full = layers / model->window_period;
        uint64_t window = n_ctx < model->window ? n_ctx : model->window;
        tokens = full * n_ctx + (layers - full) * window;
    } else {
        tokens = layers * n_ctx;
    }
    return 4 * width * tokens;
}

void spn_known_model_memory_of_bytes(const spn_known_model *model, uint64_t weights,
                                     uint64_t available, uint32_t n_ctx, spn_memory_estimate *out) {
    spn_memory_estimate need = {.weights = weights, .n_ctx = n_ctx ? n_ctx : DEFAULT_N_CTX};
    if (model->n_ctx_train > 0 && need.n_ctx > model->n_ctx_train) need.n_ctx = model->n_ctx_train;
    need.kv_cache = kv_bytes(model, need.n_ctx);
    uint64_t n_embd = model->n_embd ? model->n_embd : 5120;
    need.scratch = PROGRAM_BYTES + n_embd * BATCH_ROWS_BYTES;
    need.total = need.weights + need.kv_cache + need.scratch;
    need.fits = need.total <= available;
    *out = need;
}

bool spn_known_model_memory(const spn_known_model *model, spn_quantization quantization,
                            uint64_t available, uint32_t n_ctx, spn_memory_estimate *out) {
    if (model == NULL || spn_quantization_bits(quantization) <= 0) return false;
    const spn_known_file *file = spn_filename_for_quant(model, quantization);
    uint64_t weights = file != NULL ? file->n_bytes : 0;
    if (weights == 0)
        weights = (uint64_t)(model->param_billions * 1e9 *
                             spn_quantization_memory_multiplier(quantization));
    /* An encoder whose size was not seen: 0.425 billion halves, as its siblings have. */
    if (model->projector != NULL)
        weights += model->projector->n_bytes ? model->projector->n_bytes : 850000000u;
    spn_known_model_memory_of_bytes(model, weights, available, n_ctx, out);
    return true;
}

spn_quantization spn_auto_select_quantization(const spn_known_model *model, uint64_t available,
                                              uint32_t n_ctx, spn_memory_estimate *need) {
    spn_quantization best = SPN_QUANTIZATION_NONE, least = SPN_QUANTIZATION_NONE;
    spn_memory_estimate best_need = {0}, least_need = {0};
    for (size_t i = 0; model != NULL && i < model->n_files; i++) {
        spn_quantization q = model->files[i].quantization;
        spn_memory_estimate its;
        if (!spn_known_model_memory(model, q, available, n_ctx, &its)) continue;
        if (least == SPN_QUANTIZATION_NONE || its.total < least_need.total)
            least = q, least_need = its;
        bool better = spn_quantization_rank(q) > spn_quantization_rank(best);
        if (its.fits && better) best = q, best_need = its;
    }
    if (best == SPN_QUANTIZATION_NONE) best = least, best_need = least_need;
    if (need != NULL && best != SPN_QUANTIZATION_NONE) *need = best_need;
    return best;
}
