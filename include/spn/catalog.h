/* catalog.h - the models known by name, quantizations, references, and what fits in memory.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     const spn_known_model *model = spn_find_model("qwen3:8b");
 *     spn_memory_estimate need;
 *     spn_quantization best = spn_auto_select_quantization(model, ram.available, 8192, &need);
 *
 * A *known model* is a row of the catalogue: a short id and where its GGUF files are kept on the
 * Hugging Face Hub. The file names, sizes and checksums in it are what was seen there; a download
 * asks the repository for its real listing and matches by quantization, so a row that aged still
 * leads to the model.
 *
 * A *reference* is what people type to name a model:
 *
 *     qwen3:8b                        a known model, its default quantization
 *     qwen3:8b:q8_0                   a known model in another quantization
 *     hf:OWNER/REPO                   any repository of the Hub
 *     hf:OWNER/REPO:Q5_K_M            the file of that quantization
 *     hf:OWNER/REPO/FOLDER/FILE.gguf  that file
 *     https://huggingface.co/OWNER/REPO/blob/main/FILE.gguf   the same, as a browser shows it
 *     ...@REVISION                    any of the above at a branch, tag or commit
 *     ./FILE.gguf  /DIR/FILE.gguf     a file on this machine
 *     OWNER/REPO[/FILE.gguf], FILE    the name of a model in the store
 *
 * Nothing here reads files or the network. All of it may be called from any thread; all text that
 * is not written into the caller's structs is static.
 */
#ifndef SPN_CATALOG_H
#define SPN_CATALOG_H

#include "spn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- quantizations ---- */

/* X(NAME, name in files, bits a weight x 1000, rank).
 * Bits a weight are those of whole files, with the embedding and output matrices in the types the
 * quantizer gives them: measured on an 8 billion parameter Llama 3.1 for the mixes, the block's
 * own size for the plain types. `rank` orders by quality: higher is nearer to the original
 * weights. Values are pinned by their position: new ones go at the end. */
#define SPN_QUANTIZATION_LIST(X)         \
    X(NONE, "unknown", 0, 0)             \
    X(F32, "F32", 32000, 1000)           \
    X(BF16, "BF16", 16000, 990)          \
    X(F16, "F16", 16000, 985)            \
    X(Q8_K_XL, "Q8_K_XL", 10200, 960)    \
    X(Q8_0, "Q8_0", 8501, 950)           \
    X(Q6_K_XL, "Q6_K_XL", 7100, 920)     \
    X(Q6_K_L, "Q6_K_L", 6800, 910)       \
    X(Q6_K, "Q6_K", 6563, 900)           \
    X(Q5_K_XL, "Q5_K_XL", 5800, 870)     \
    X(Q5_K_L, "Q5_K_L", 5980, 865)       \
    X(Q5_K_M, "Q5_K_M", 5704, 860)       \
    X(Q5_K_S, "Q5_K_S", 5570, 850)       \
    X(Q5_K, "Q5_K", 5704, 855)           \
    X(Q5_1, "Q5_1", 6060, 840)           \
    X(Q5_0, "Q5_0", 5600, 830)           \
    X(Q4_K_XL, "Q4_K_XL", 5000, 790)     \
    X(Q4_K_L, "Q4_K_L", 5250, 785)       \
    X(Q4_K_M, "Q4_K_M", 4894, 780)       \
    X(Q4_K, "Q4_K", 4894, 775)           \
    X(Q4_K_S, "Q4_K_S", 4667, 770)       \
    X(IQ4_NL, "IQ4_NL", 4682, 765)       \
    X(IQ4_XS, "IQ4_XS", 4460, 760)       \
    X(NVFP4, "NVFP4", 4500, 758)         \
    X(MXFP4, "MXFP4", 4250, 755)         \
    X(MXFP4_MOE, "MXFP4_MOE", 4250, 756) \
    X(Q4_1, "Q4_1", 5130, 750)           \
    X(Q4_0, "Q4_0", 4660, 740)           \
    X(Q4_0_4_4, "Q4_0_4_4", 4660, 739)   \
    X(Q4_0_4_8, "Q4_0_4_8", 4660, 738)   \
    X(Q4_0_8_8, "Q4_0_8_8", 4660, 737)   \
    X(Q3_K_XL, "Q3_K_XL", 4500, 690)     \
    X(Q3_K_L, "Q3_K_L", 4298, 680)       \
    X(Q3_K_M, "Q3_K_M", 3996, 670)       \
    X(Q3_K, "Q3_K", 3996, 665)           \
    X(IQ3_M, "IQ3_M", 3763, 660)         \
    X(IQ3_S, "IQ3_S", 3661, 650)         \
    X(Q3_K_S, "Q3_K_S", 3643, 640)       \
    X(IQ3_XS, "IQ3_XS", 3498, 630)       \
    X(IQ3_XXS, "IQ3_XXS", 3255, 610)     \
    X(Q2_K_XL, "Q2_K_XL", 3400, 570)     \
    X(Q2_K_L, "Q2_K_L", 3450, 565)       \
    X(Q2_K, "Q2_K", 3159, 560)           \
    X(Q2_K_S, "Q2_K_S", 2970, 540)       \
    X(IQ2_M, "IQ2_M", 2929, 550)         \
    X(IQ2_S, "IQ2_S", 2740, 530)         \
    X(IQ2_XS, "IQ2_XS", 2588, 520)       \
    X(IQ2_XXS, "IQ2_XXS", 2382, 510)     \
    X(TQ2_0, "TQ2_0", 2400, 440)         \
    X(TQ1_0, "TQ1_0", 2050, 430)         \
    X(IQ1_M, "IQ1_M", 2146, 420)         \
    X(IQ1_S, "IQ1_S", 2004, 410)

#define SPN_QUANTIZATION_ENUM_ROW(NAME, name, bits, rank) SPN_QUANTIZATION_##NAME,
typedef enum spn_quantization {
    SPN_QUANTIZATION_LIST(SPN_QUANTIZATION_ENUM_ROW) SPN_QUANTIZATION_COUNT
} spn_quantization;
#undef SPN_QUANTIZATION_ENUM_ROW

/* "Q4_K_M"; "unknown" for NONE and for numbers that are no quantization. */
SPN_API const char *spn_quantization_name(spn_quantization quantization);
/* The quantization of exactly that name, in any letter case; "-" may stand for "_", "FP16" for
 * "F16", and a leading "UD-" is ignored. NONE when there is none. */
SPN_API spn_quantization spn_quantization_parse(const char *name);
/* The quantization a file's name speaks of: the longest name that stands as a word of its own,
 * the last one where there are several; the file's own name before its folders'. NONE when no word
 * of it is a quantization. NULL is fine. */
SPN_API spn_quantization spn_extract_quantization(const char *filename);
/* Bits a weight over a whole file; 0 for NONE. */
SPN_API double spn_quantization_bits(spn_quantization quantization);
/* Bytes of memory a parameter: bits / 8. So GB a billion parameters. */
SPN_API double spn_quantization_memory_multiplier(spn_quantization quantization);
/* Higher is nearer to the original weights; 0 for NONE. Only comparisons mean anything. */
SPN_API int spn_quantization_rank(spn_quantization quantization);

/* ---- known models ---- */

typedef enum spn_model_type {
    SPN_MODEL_TYPE_TEXT,
    SPN_MODEL_TYPE_VISION,
    SPN_MODEL_TYPE_EMBEDDING,
    SPN_MODEL_TYPE_AUDIO,
    SPN_MODEL_TYPE_DIFFUSION,
    SPN_MODEL_TYPE_COUNT
} spn_model_type;

/* "text", "vision", "embedding", "audio", "diffusion"; "unknown" for other numbers. */
SPN_API const char *spn_model_type_name(spn_model_type type);
/* The type of that name in any letter case; false (and *out untouched) when there is none. */
SPN_API bool spn_model_type_parse(const char *name, spn_model_type *out);

/* A file as it was seen on the Hub. */
typedef struct spn_known_file {
    spn_quantization quantization;
    const char *filename; /* path in the repository */
    uint64_t n_bytes;     /* 0: not known */
    const char *sha256;   /* 64 hex digits; NULL: not known */
    const char *repo;     /* NULL: the model's own */
} spn_known_file;

typedef struct spn_known_model {
    const char *id;   /* "qwen3:8b" */
    const char *name; /* "Qwen3 8B" */
    spn_model_type type;
    const char *architecture; /* `general.architecture` of its files: "qwen3" */
    const char *hf_repo;      /* "Qwen/Qwen3-8B-GGUF" */
    const spn_known_file *files;
    size_t n_files;                  /* at least 1; files[0] is the default */
    const spn_known_file *projector; /* of vision models: the image encoder; NULL: none */
    double param_billions;
    double active_billions; /* of a mixture of experts: parameters a token uses; 0: all */
    uint32_t min_ram_gb;    /* for the default file and 4,096 tokens, rounded up; GiB */
    const char *license;    /* as the Hub names it: "apache-2.0" */
    const char *description;
    const char *stands_for; /* NULL, or why this id leads to a model of another name */
    /* What the KV cache is computed from; 0 where it is not known. */
    uint32_t n_layer, n_head_kv, head_dim, n_embd, n_ctx_train;
    uint32_t window;        /* sliding window in tokens of the layers that have one; 0: none */
    uint32_t window_period; /* one layer in so many sees everything; 0: all do */
} spn_known_model;

/* The catalogue, in the order it is listed. *n is set to the number of rows. */
SPN_API const spn_known_model *spn_known_models(size_t *n);
/* The known model of that id, in any letter case; NULL when there is none. NULL is fine. */
SPN_API const spn_known_model *spn_find_model(const char *id);
/* Writes up to `max` models of a type to `out`, returns how many there are. `out` may be NULL when
 * max is 0. */
SPN_API size_t spn_models_by_type(spn_model_type type, const spn_known_model **out, size_t max);
/* The model's file of that quantization; NULL when the catalogue knows none. */
SPN_API const spn_known_file *spn_filename_for_quant(const spn_known_model *model,
                                                     spn_quantization quantization);
/* The known ids nearest to a misspelt one, best first: writes up to `max`, returns how many. */
SPN_API size_t spn_nearest_models(const char *id, const spn_known_model **out, size_t max);

/* ---- references ---- */

typedef enum spn_reference_kind {
    SPN_REFERENCE_CURATED,     /* `model` is set */
    SPN_REFERENCE_HUGGINGFACE, /* `repo` is set, `file` where the reference names one */
    SPN_REFERENCE_PATH,        /* `path` is set */
    SPN_REFERENCE_STORED,      /* `path` is the name as typed; `repo` and `file` are set where it
                                * has the form OWNER/REPO[/FILE] */
} spn_reference_kind;

#define SPN_REFERENCE_MAX 1024 /* bytes of the longest reference, with its NUL */

/* The seed's ResolvedModel. Texts that do not apply are empty. */
typedef struct spn_resolved_model {
    spn_reference_kind kind;
    const spn_known_model *model;
    spn_quantization quantization; /* NONE: not named */
    char repo[256];                /* "OWNER/REPO" */
    char file[SPN_REFERENCE_MAX];  /* path in the repository */
    char revision[256];            /* branch, tag or commit; empty: the main branch */
    char path[SPN_REFERENCE_MAX];
} spn_resolved_model;

/* Takes a reference apart. Errors: INVALID_ARGUMENT (says what is wrong with which part; also for
 * names that could lead out of a folder), MODEL_NOT_FOUND (the form of a known id, but the
 * catalogue has none: names the nearest). */
SPN_API spn_status spn_resolve_model(const char *reference, spn_resolved_model *out,
                                     spn_error *err);

/* ---- memory ---- */

typedef struct spn_memory_estimate {
    uint64_t weights;  /* the files' bytes, or parameters x bits where a size is not known */
    uint64_t kv_cache; /* for n_ctx tokens, 16-bit keys and values */
    uint64_t scratch;  /* activations of a batch of 512, logits, the program itself */
    uint64_t total;
    uint32_t n_ctx;
    bool fits;
} spn_memory_estimate;

/* What running `model` in `quantization` with `n_ctx` tokens (0: 4,096) takes. For a quantization
 * without a row in the catalogue the weights are computed from parameters and bits. `available`
 * decides `fits`. False (and *out untouched) for NONE or a NULL model. */
SPN_API bool spn_known_model_memory(const spn_known_model *model, spn_quantization quantization,
                                    uint64_t available, uint32_t n_ctx, spn_memory_estimate *out);
/* The same with the weights' bytes known. */
SPN_API void spn_known_model_memory_of_bytes(const spn_known_model *model, uint64_t weights,
                                             uint64_t available, uint32_t n_ctx,
                                             spn_memory_estimate *out);
/* The best quantization of the model's files that fits in `available` bytes with `n_ctx` tokens
 * (0: 4,096); the smallest one, with need->fits false, when none does. `need` may be NULL. */
SPN_API spn_quantization spn_auto_select_quantization(const spn_known_model *model,
                                                      uint64_t available, uint32_t n_ctx,
                                                      spn_memory_estimate *need);

#ifdef __cplusplus
}
#endif
#endif
