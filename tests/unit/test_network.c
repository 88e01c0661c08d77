/* test_network.c - which files are no network, and what is said of them.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A golden model is copied with one thing changed; the error must name that thing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gguf/gguf.h"
#include "spn/spn.h"
#include "temp.h"

typedef struct change {
    const char *base; /* of tests/golden */
    const char *arch; /* another general.architecture, its keys renamed; NULL: its own */
    const char *drop; /* a key or tensor that is left out */
    const char *key;  /* a key that is set to `number`, replaced or added */
    uint32_t number;  /* a flag where is_bool */
    bool is_bool, is_text, is_negative; /* is_negative: -1.0f */
    const char *shape;                  /* a tensor that loses its last row */
} change;

static bool is(spn_gguf_str a, const char *b) {
    return b != NULL && a.len == strlen(b) && memcmp(a.data, b, a.len) == 0;
}

static void set(spn_gguf_writer *writer, const change *c, const char *key) {
    spn_error err = {.text = ""};
    spn_status status;
    if (c->is_text)
        status = spn_gguf_writer_str(writer, key, "text", 4, &err);
    else if (c->is_bool)
        status = spn_gguf_writer_bool(writer, key, c->number != 0, &err);
    else if (c->is_negative)
        status = spn_gguf_writer_f32(writer, key, -1.0f, &err);
    else
        status = spn_gguf_writer_u32(writer, key, c->number, &err);
    if (status != SPN_STATUS_OK) fail_msg("%s", err.text);
}

static void copy_pairs(const spn_gguf *gguf, spn_gguf_writer *writer, const change *c) {
    spn_gguf_str old = {0};
    char name[256];
    assert_int_equal(spn_gguf_get_str(gguf, "general.architecture", true, &old, NULL), 0);
    for (size_t i = 0; i < spn_gguf_n_pairs(gguf); i++) {
        spn_gguf_pair pair = *spn_gguf_pair_at(gguf, i);
        if (is(pair.key, c->drop) || is(pair.key, c->key)) continue;
        if (c->arch != NULL && is(pair.key, "general.architecture")) {
            spn_gguf_writer_str(writer, "general.architecture", c->arch, strlen(c->arch), NULL);
            continue;
        }
        if (c->arch != NULL && pair.key.len > old.len && pair.key.data[old.len] == '.' &&
            memcmp(pair.key.data, old.data, old.len) == 0) {
            int n = snprintf(name, sizeof name, "%s%.*s", c->arch, (int)(pair.key.len - old.len),
                             pair.key.data + old.len);
            pair.key = (spn_gguf_str){name, (size_t)n};
        }
        assert_int_equal(spn_gguf_writer_copy_pair(writer, &pair, NULL), SPN_STATUS_OK);
    }
    if (c->key != NULL) set(writer, c, c->key);
}

static spn_status open_changed(const change *c, spn_error *err) {
    spn_gguf *gguf;
    spn_gguf_writer *writer;
    spn_model *model = NULL;
    char path[TEMP_PATH], base[128];
    snprintf(base, sizeof base, "tests/golden/%s.gguf", c->base);
    if (spn_gguf_open(&gguf, base, err) != SPN_STATUS_OK) fail_msg("%s", err->text);
    assert_int_equal(spn_gguf_writer_create(&writer, err), SPN_STATUS_OK);
    copy_pairs(gguf, writer, c);
    for (size_t i = 0; i < spn_gguf_n_tensors(gguf); i++) {
        spn_gguf_tensor tensor = *spn_gguf_tensor_at(gguf, i);
        char name[128];
        if (is(tensor.name, c->drop)) continue;
        snprintf(name, sizeof name, "%.*s", (int)tensor.name.len, tensor.name.data);
        if (is(tensor.name, c->shape)) tensor.ne[tensor.n_dims - 1]--;
        assert_int_equal(spn_gguf_writer_tensor(writer, name, tensor.type, tensor.ne, tensor.n_dims,
                                                tensor.data, err),
                         SPN_STATUS_OK);
    }
    if (spn_gguf_writer_write(writer, temp_path(path, "changed.gguf"), err) != SPN_STATUS_OK)
        fail_msg("%s", err->text);
    spn_gguf_writer_free(writer);
    spn_gguf_close(gguf);
    spn_status status = spn_model_open(&model, path, NULL, err);
    spn_model_close(model);
    return status;
}

static void expect(change c, spn_status expected, const char *named, const char *also) {
    spn_error err = {.text = ""};
    spn_status status = open_changed(&c, &err);
    if (status != expected || (named != NULL && strstr(err.text, named) == NULL) ||
        (also != NULL && strstr(err.text, also) == NULL))
        fail_msg("%s, %s: %s: %s", c.base, named ? named : "", spn_status_name(status), err.text);
}

static void a_plain_copy_opens(void **state) {
    (void)state;
    expect((change){.base = "arch-llama"}, SPN_STATUS_OK, NULL, NULL);
    expect((change){.base = "arch-bert"}, SPN_STATUS_OK, NULL, NULL);
}

static void missing_things_are_named(void **state) {
    (void)state;
    const char *const tensors[] = {"token_embd.weight", "output_norm.weight", "blk.1.attn_q.weight",
                                   "blk.0.ffn_down.weight", "blk.0.attn_norm.weight"};
    const char *const keys[] = {"llama.block_count", "llama.embedding_length",
                                "llama.attention.head_count", "llama.context_length",
                                "llama.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        expect((change){.base = "arch-llama", .drop = tensors[i]}, SPN_STATUS_LOAD, tensors[i],
               NULL);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        expect((change){.base = "arch-llama", .drop = keys[i]}, SPN_STATUS_FORMAT, keys[i], NULL);
    expect((change){.base = "arch-llama", .drop = "general.architecture"}, SPN_STATUS_FORMAT,
           "general.architecture", NULL);
    expect((change){.base = "arch-gemma-embedding", .drop = "dense_2.weight"}, SPN_STATUS_LOAD,
           "dense_2.weight", NULL);
    expect((change){.base = "arch-gemma-embedding", .drop = "dense_3.weight"}, SPN_STATUS_LOAD,
           "dense_3.weight", NULL);
}

static void wrong_shapes_are_named(void **state) {
    (void)state;
    const char *const tensors[] = {"blk.0.attn_k.weight", "blk.1.ffn_up.weight",
                                   "blk.1.ffn_norm.weight", "output.weight"};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        expect((change){.base = "arch-llama", .shape = tensors[i]}, SPN_STATUS_LOAD, tensors[i],
               NULL);
    expect((change){.base = "arch-llama", .key = "llama.block_count", .number = 1}, SPN_STATUS_LOAD,
           "blk.1.", NULL);
    expect((change){.base = "arch-gemma-embedding", .shape = "dense_3.weight"}, SPN_STATUS_LOAD,
           "dense_3.weight", NULL);
}

static void impossible_numbers_are_named(void **state) {
    (void)state;
    static const struct {
        const char *key;
        uint32_t number;
    } rows[] = {
        {"llama.block_count", 0},
        {"llama.block_count", UINT32_MAX},
        {"llama.embedding_length", 0},
        {"llama.embedding_length", UINT32_MAX},
        {"llama.context_length", 0},
        {"llama.attention.head_count", 0},
        {"llama.attention.head_count", UINT32_MAX},
        {"llama.attention.head_count_kv", 0},
        {"llama.attention.head_count_kv", 1000},
        {"llama.attention.key_length", 0},
        {"llama.attention.value_length", UINT32_MAX},
        {"llama.rope.dimension_count", 10000},
        {"llama.pooling_type", 77},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect((change){.base = "arch-llama", .key = rows[i].key, .number = rows[i].number},
               SPN_STATUS_FORMAT, rows[i].key, NULL);
    expect((change){.base = "arch-llama",
                    .key = "llama.attention.layer_norm_rms_epsilon",
                    .is_negative = true},
           SPN_STATUS_FORMAT, "layer_norm_rms_epsilon", NULL);
    expect((change){.base = "arch-llama", .key = "llama.block_count", .is_text = true},
           SPN_STATUS_FORMAT, "llama.block_count", NULL);
    expect((change){.base = "arch-llama", .key = "llama.attention.causal", .number = 1},
           SPN_STATUS_FORMAT, "llama.attention.causal", NULL);
}

static void other_kinds_are_refused_with_a_reason(void **state) {
    (void)state;
    static const struct {
        const char *arch, *reason;
    } rows[] = {
        {"clip", "mmproj"},
        {"qwen2vl", "images"},
        {"qwen3vlmoe", "images"},
        {"Qwen2_5-VL", "images"},
        {"phi3_v", "images"},
        {"Phi4MM", "images"},
        {"LLaVA-NeXT", "images"},
        {"idefics3", "images"},
        {"minicpm-o", "images"},
        {"vllama", "images"},
        {"gemma3n", "images"},
        {"whisper", "speech"},
        {"voxtral", "sound"},
        {"dia", "sound"},
        {"wavtokenizer-dec", "sound"},
        {"flux", "diffusion"},
        {"stable-diffusion", "diffusion"},
        {"sd3", "diffusion"},
        {"wan", "video"},
        {"dream", "diffusion"},
        {"llada-moe", "diffusion"},
        {"t5", "encoder"},
        {"jina-bert-v2", "embedding"},
        {"mamba2", "state-space"},
        {"rwkv7", "recurrent"},
        {"winged-horse", "not known"},
        {"llam", "not known"},
        {"llamas", "not known"},
        {"clips", "not known"},
        {"cli", "not known"},
        {"-", "not known"},
        {"", "not known"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect((change){.base = "arch-llama", .arch = rows[i].arch},
               SPN_STATUS_UNSUPPORTED_ARCHITECTURE, rows[i].reason, rows[i].arch);
    expect((change){.base = "arch-bert", .key = "bert.pooling_type", .number = 4},
           SPN_STATUS_UNSUPPORTED_ARCHITECTURE, "reranker", NULL);
    expect((change){.base = "arch-gemma3", .key = "gemma3.attention.causal", .is_bool = true},
           SPN_STATUS_UNSUPPORTED_ARCHITECTURE, "gemma3.attention.causal", NULL);
    expect((change){.base = "arch-qwen3next", .key = "qwen3next.attention.causal", .is_bool = true},
           SPN_STATUS_UNSUPPORTED_ARCHITECTURE, "qwen3next.attention.causal", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_copy_opens),
        cmocka_unit_test(missing_things_are_named),
        cmocka_unit_test(wrong_shapes_are_named),
        cmocka_unit_test(impossible_numbers_are_named),
        cmocka_unit_test(other_kinds_are_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, temp_setup, temp_teardown);
}
