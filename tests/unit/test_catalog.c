/* test_catalog.c - known models, quantization names, references, memory, safe names.
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "catalog/catalog.h"

/* ---- the table ---- */

static void every_id_of_the_seed_is_known(void **state) {
    (void)state;
    static const char *const ids[] = {
        "qwen3:0.6b",        "qwen3:8b",        "qwen3:32b",        "llama4:8b",
        "phi4:14b",          "gemma3:4b",       "gemma3:12b",       "mistral:7b",
        "deepseek:7b",       "qwen3-vision:8b", "llama4-vision:8b", "phi4-vision:14b",
        "gemma3-vision:12b", "nomic-embed",     "bge-m3",           "snowflake-arctic",
    };
    for (size_t i = 0; i < SPN_COUNT(ids); i++) {
        const spn_known_model *model = spn_find_model(ids[i]);
        assert_non_null(model);
        assert_string_equal(model->id, ids[i]);
    }
    assert_ptr_equal(spn_find_model("QWEN3:8B"), spn_find_model("qwen3:8b"));
    assert_null(spn_find_model("qwen3:9000b"));
    assert_null(spn_find_model(NULL));
    static const char *const fictional[] = {"llama4:8b", "deepseek:7b", "llama4-vision:8b",
                                            "phi4-vision:14b", "snowflake-arctic"};
    for (size_t i = 0; i < SPN_COUNT(fictional); i++)
        assert_non_null(spn_find_model(fictional[i])->stands_for);
}

static void rows_are_sound(void **state) {
    (void)state;
    size_t n;
    const spn_known_model *models = spn_known_models(&n);
    for (size_t i = 0; i < n; i++) {
        const spn_known_model *m = &models[i];
        assert_null(spn_repo_problem(m->hf_repo));
        assert_true(m->n_files > 0 && m->param_billions > 0 && m->license[0] && m->description[0]);
        assert_true(m->type != SPN_MODEL_TYPE_VISION || m->projector != NULL);
        assert_true(strlen(m->id) < 48);
        for (size_t j = 0; j < i; j++) assert_string_not_equal(m->id, models[j].id);
        for (size_t f = 0; f < m->n_files; f++) {
            const spn_known_file *file = &m->files[f];
            assert_null(spn_path_problem(file->filename));
            if (file->sha256) assert_int_equal(strspn(file->sha256, "0123456789abcdef"), 64);
            spn_quantization said = spn_extract_quantization(file->filename);
            if (said != SPN_QUANTIZATION_NONE) assert_int_equal(said, file->quantization);
        }
    }
    const spn_known_model *found[64];
    size_t total = 0;
    for (int t = 0; t < SPN_MODEL_TYPE_COUNT; t++) {
        size_t k = spn_models_by_type((spn_model_type)t, found, 64);
        for (size_t i = 0; i < k; i++) assert_int_equal(found[i]->type, t);
        assert_int_equal(spn_models_by_type((spn_model_type)t, NULL, 0), k);
        total += k;
    }
    assert_int_equal(total, n);
}

/* The bits of the table against the bytes the Hub lists: 10% for models of 3 billion parameters
 * and more, whose embeddings weigh little. */
static void bits_agree_with_real_files(void **state) {
    (void)state;
    size_t n, checked = 0;
    const spn_known_model *models = spn_known_models(&n);
    for (size_t i = 0; i < n; i++) {
        const spn_known_model *m = &models[i];
        if (m->type != SPN_MODEL_TYPE_TEXT || m->param_billions < 3 || m->n_layer == 0) continue;
        for (size_t f = 0; f < m->n_files; f++) {
            if (m->files[f].n_bytes == 0) continue;
            double bits = (double)m->files[f].n_bytes * 8 / (m->param_billions * 1e9);
            double ratio = bits / spn_quantization_bits(m->files[f].quantization);
            if (ratio < 0.90 || ratio > 1.10) print_error("%s: %.3f\n", m->id, ratio);
            assert_true(ratio > 0.90 && ratio < 1.10);
            checked++;
        }
    }
    assert_true(checked > 10);
}

static void near_ids_are_found(void **state) {
    (void)state;
    const spn_known_model *near[3];
    assert_true(spn_nearest_models("qwen3:8", near, 3) == 3);
    assert_string_equal(near[0]->id, "qwen3:8b");
    assert_true(spn_nearest_models("gemna3:12b", near, 1) == 1);
    assert_string_equal(near[0]->id, "gemma3:12b");
    char word[4096];
    memset(word, 'q', sizeof word);
    word[sizeof word - 1] = '\0';
    assert_int_equal(spn_nearest_models(word, near, 3), 0);
}

/* ---- quantizations ---- */

static void names_give_their_quantization(void **state) {
    (void)state;
    static const struct {
        const char *file;
        spn_quantization expected;
    } cases[] = {
        {"model-q4_k_m.gguf", SPN_QUANTIZATION_Q4_K_M},
        {"model-Q8_0.gguf", SPN_QUANTIZATION_Q8_0},
        {"model-f16.gguf", SPN_QUANTIZATION_F16},
        {"model.gguf", SPN_QUANTIZATION_NONE},
        {"Qwen3-8B-IQ4_XS.gguf", SPN_QUANTIZATION_IQ4_XS},
        {"Model-UD-Q4_K_XL.gguf", SPN_QUANTIZATION_Q4_K_XL},
        {"Model-Q4_K.gguf", SPN_QUANTIZATION_Q4_K},
        {"phi-4-Q4_K_S.GGUF", SPN_QUANTIZATION_Q4_K_S},
        {"Model-Q4_K_M-00001-of-00002.gguf", SPN_QUANTIZATION_Q4_K_M},
        {"Q5_K_M/Model-00001-of-00002.gguf", SPN_QUANTIZATION_Q5_K_M},
        {"Q5_K_M/Model-Q6_K.gguf", SPN_QUANTIZATION_Q6_K},
        {"gpt-oss-20b-mxfp4.gguf", SPN_QUANTIZATION_MXFP4},
        {"x-BF16.gguf", SPN_QUANTIZATION_BF16},
        {"x.fp16.gguf", SPN_QUANTIZATION_F16},
        {"a-f16-b-q2-k.gguf", SPN_QUANTIZATION_Q2_K},
        {"xq4_0.gguf", SPN_QUANTIZATION_NONE},
        {"q4_00.gguf", SPN_QUANTIZATION_NONE},
        {"", SPN_QUANTIZATION_NONE},
    };
    for (size_t i = 0; i < SPN_COUNT(cases); i++)
        assert_int_equal(spn_extract_quantization(cases[i].file), cases[i].expected);
    assert_int_equal(spn_extract_quantization(NULL), SPN_QUANTIZATION_NONE);
}

static void every_quantization_is_found_in_any_case(void **state) {
    (void)state;
    for (int q = 1; q < SPN_QUANTIZATION_COUNT; q++) {
        const char *name = spn_quantization_name((spn_quantization)q);
        char upper[80], lower[80];
        snprintf(upper, sizeof upper, "Some-Model-7B-%s.gguf", name);
        for (size_t i = 0; i <= strlen(upper); i++) lower[i] = spn_ascii_lower(upper[i]);
        assert_int_equal(spn_extract_quantization(upper), q);
        assert_int_equal(spn_extract_quantization(lower), q);
        assert_int_equal(spn_quantization_parse(name), q);
        assert_true(spn_quantization_bits((spn_quantization)q) > 2);
        assert_true(spn_quantization_rank((spn_quantization)q) > 0);
    }
    assert_int_equal(spn_quantization_parse("Q4_K_Mx"), SPN_QUANTIZATION_NONE);
    assert_int_equal(spn_quantization_parse("UD-q4_k_xl"), SPN_QUANTIZATION_Q4_K_XL);
    assert_true(spn_quantization_memory_multiplier(SPN_QUANTIZATION_F16) == 2.0);
}

/* ---- references ---- */

static void references_are_taken_apart(void **state) {
    (void)state;
    spn_resolved_model r;
    spn_error err;
    assert_int_equal(spn_resolve_model("qwen3:8b:Q8_0@v1", &r, &err), SPN_STATUS_OK);
    assert_int_equal(r.kind, SPN_REFERENCE_CURATED);
    assert_ptr_equal(r.model, spn_find_model("qwen3:8b"));
    assert_int_equal(r.quantization, SPN_QUANTIZATION_Q8_0);
    assert_string_equal(r.revision, "v1");

    assert_int_equal(spn_resolve_model("hf:Qwen/Qwen3-8B-GGUF", &r, &err), SPN_STATUS_OK);
    assert_int_equal(r.kind, SPN_REFERENCE_HUGGINGFACE);
    assert_string_equal(r.repo, "Qwen/Qwen3-8B-GGUF");
    assert_string_equal(r.file, "");
    assert_int_equal(r.quantization, SPN_QUANTIZATION_NONE);

    assert_int_equal(spn_resolve_model("hf:a/b:q5_k_m@refs/pr/1", &r, &err), SPN_STATUS_OK);
    assert_int_equal(r.quantization, SPN_QUANTIZATION_Q5_K_M);
    assert_string_equal(r.revision, "refs/pr/1");
    assert_int_equal(spn_resolve_model("hf:a/b@dev:q5_k_m", &r, &err), SPN_STATUS_OK);
    assert_int_equal(r.quantization, SPN_QUANTIZATION_Q5_K_M);
    assert_string_equal(r.revision, "dev");

    assert_int_equal(spn_resolve_model("hf:a/b/Q4_K_M/x y.gguf@main", &r, &err), SPN_STATUS_OK);
    assert_string_equal(r.repo, "a/b");
    assert_string_equal(r.file, "Q4_K_M/x y.gguf");

    const char *url = "https://huggingface.co/a/b/blob/main/x.gguf?download=true";
    assert_int_equal(spn_resolve_model(url, &r, &err), SPN_STATUS_OK);
    assert_string_equal(r.repo, "a/b");
    assert_string_equal(r.file, "x.gguf");
    assert_string_equal(r.revision, "main");

    assert_int_equal(spn_resolve_model("./x.gguf", &r, &err), SPN_STATUS_OK);
    assert_int_equal(r.kind, SPN_REFERENCE_PATH);
    assert_int_equal(spn_resolve_model("C:\\models\\x.gguf", &r, &err), SPN_STATUS_OK);
    assert_int_equal(r.kind, SPN_REFERENCE_PATH);

    assert_int_equal(spn_resolve_model("a/b/x.gguf", &r, &err), SPN_STATUS_OK);
    assert_int_equal(r.kind, SPN_REFERENCE_STORED);
    assert_string_equal(r.repo, "a/b");
    assert_string_equal(r.file, "x.gguf");
    assert_int_equal(spn_resolve_model("x.gguf", &r, &err), SPN_STATUS_OK);
    assert_int_equal(r.kind, SPN_REFERENCE_STORED);
    assert_string_equal(r.path, "x.gguf");
}

static void bad_references_say_why(void **state) {
    (void)state;
    static const struct {
        const char *reference;
        spn_status status;
        const char *word;
    } cases[] = {
        {"qwen3:8", SPN_STATUS_MODEL_NOT_FOUND, "qwen3:8b"},
        {"hf:", SPN_STATUS_INVALID_ARGUMENT, "OWNER/REPO"},
        {"hf:a", SPN_STATUS_INVALID_ARGUMENT, "OWNER/REPO"},
        {"hf:a/../b", SPN_STATUS_INVALID_ARGUMENT, ".."},
        {"hf:a/b/../x.gguf", SPN_STATUS_INVALID_ARGUMENT, ".."},
        {"hf:a/b/nul.gguf", SPN_STATUS_INVALID_ARGUMENT, "device"},
        {"hf:a/b@", SPN_STATUS_INVALID_ARGUMENT, "revision"},
        {"hf:a/b@x..y", SPN_STATUS_INVALID_ARGUMENT, ".."},
        {"a/b/c\x01.gguf", SPN_STATUS_INVALID_ARGUMENT, "control"},
        {"", SPN_STATUS_INVALID_ARGUMENT, "missing"},
    };
    for (size_t i = 0; i < SPN_COUNT(cases); i++) {
        spn_error err = {0};
        spn_resolved_model r = {.kind = SPN_REFERENCE_PATH};
        assert_int_equal(spn_resolve_model(cases[i].reference, &r, &err), cases[i].status);
        if (!strstr(err.text, cases[i].word)) print_error("%s\n", err.text);
        assert_non_null(strstr(err.text, cases[i].word));
        assert_int_equal(r.kind, SPN_REFERENCE_PATH);
    }
    assert_int_equal(spn_resolve_model(NULL, NULL, NULL), SPN_STATUS_INVALID_ARGUMENT);
}

/* ---- names ---- */

/* Whatever random text the check lets through, putting it below a folder stays below it. */
static void accepted_paths_stay_inside(void **state) {
    (void)state;
    static const char *const pieces[] = {
        "..",   ".",     "/", "\\",       "a",        "b.gguf", "\x01", "\x7f", ":", "nul",
        "COM1", ".gguf", " ", "\xC3\xA9", "\xC0\xAF", "\xFF",   "-",    "...",  "~", "*"};
    uint64_t x = 88172645463325252u;
    unsigned accepted = 0;
    for (int round = 0; round < 200000; round++) {
        char path[128] = "";
        size_t len = 0;
        for (int k = 0; k < 6; k++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            if (x % 7 == 0) break;
            len += (size_t)snprintf(path + len, sizeof path - len, "%s",
                                    pieces[(x >> 20) % SPN_COUNT(pieces)]);
        }
        if (spn_path_problem(path) != NULL) continue;
        accepted++;
        assert_true(path[0] != '/' && path[0] != '\0');
        int depth = 0;
        for (const char *part = path; *part; depth++) {
            size_t n = strcspn(part, "/");
            assert_false(n == 1 && part[0] == '.');
            assert_false(n == 2 && part[0] == '.' && part[1] == '.');
            part += n + (part[n] == '/');
        }
        assert_true(depth > 0);
        assert_null(strpbrk(path, "\\:*\x01\x7f\xFF"));
        assert_null(strstr(path, "\xC0\xAF"));
    }
    assert_true(accepted > 1000);
}

static void device_names_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"nul", "NUL.gguf", "com1",  "Lpt9.txt", "con.a.b",
                                      "aux", "a.",       "a ",    " a",       "",
                                      "..",  "a/b",      "CONIN$"};
    static const char *const good[] = {"null", "com10", "console.gguf", "a b", "x.gguf", "...x"};
    for (size_t i = 0; i < SPN_COUNT(bad); i++)
        assert_non_null(spn_name_problem(bad[i], strlen(bad[i])));
    for (size_t i = 0; i < SPN_COUNT(good); i++)
        assert_null(spn_name_problem(good[i], strlen(good[i])));
    assert_non_null(spn_name_problem("a\0b", 3));
}

/* ---- memory ---- */

static void memory_is_computed_from_the_shape(void **state) {
    (void)state;
    const spn_known_model *m = spn_find_model("qwen3:8b");
    spn_memory_estimate need;
    assert_true(spn_known_model_memory(m, SPN_QUANTIZATION_Q4_K_M, 1, 8192, &need));
    assert_true(need.weights == 5027783488u);
    /* 36 layers, 8 heads of 128, keys and values, 2 bytes */
    assert_true(need.kv_cache == (uint64_t)36 * 8 * 128 * 2 * 2 * 8192);
    assert_true(need.total == need.weights + need.kv_cache + need.scratch);
    assert_false(need.fits);
    /* gemma 3: 48 layers, every 6th sees all, the others 1,024 tokens */
    assert_true(spn_known_model_memory(spn_find_model("gemma3:12b"), SPN_QUANTIZATION_Q4_K_M, 0,
                                       32768, &need));
    assert_true(need.kv_cache == (uint64_t)8 * 256 * 4 * (8 * 32768 + 40 * 1024));
    assert_false(spn_known_model_memory(m, SPN_QUANTIZATION_NONE, 0, 0, &need));
    assert_false(spn_known_model_memory(NULL, SPN_QUANTIZATION_Q8_0, 0, 0, &need));
    /* the context a model has is the limit */
    assert_true(spn_known_model_memory(m, SPN_QUANTIZATION_Q8_0, 0, 10000000, &need));
    assert_int_equal(need.n_ctx, 40960);
}

static void least_memory_is_that_of_the_default(void **state) {
    (void)state;
    size_t n;
    const spn_known_model *models = spn_known_models(&n);
    for (size_t i = 0; i < n; i++) {
        spn_memory_estimate need;
        assert_true(
            spn_known_model_memory(&models[i], models[i].files[0].quantization, 0, 4096, &need));
        uint64_t gib = (need.total + ((uint64_t)1 << 30) - 1) >> 30;
        if (gib != models[i].min_ram_gb) print_error("%s: %u\n", models[i].id, (unsigned)gib);
        assert_int_equal(gib, models[i].min_ram_gb);
    }
}

static void the_best_that_fits_is_chosen(void **state) {
    (void)state;
    const spn_known_model *m = spn_find_model("qwen3:8b");
    const uint64_t gib = (uint64_t)1 << 30;
    spn_memory_estimate need;
    assert_int_equal(spn_auto_select_quantization(m, 32 * gib, 4096, &need), SPN_QUANTIZATION_Q8_0);
    assert_true(need.fits);
    assert_int_equal(spn_auto_select_quantization(m, 8 * gib, 4096, NULL), SPN_QUANTIZATION_Q6_K);
    assert_int_equal(spn_auto_select_quantization(m, 8 * gib, 12288, NULL),
                     SPN_QUANTIZATION_Q5_K_M);
    assert_int_equal(spn_auto_select_quantization(m, 2 * gib, 4096, &need),
                     SPN_QUANTIZATION_Q4_K_M);
    assert_false(need.fits);
    assert_int_equal(spn_auto_select_quantization(NULL, gib, 0, &need), SPN_QUANTIZATION_NONE);
    /* the order of a row's files does not matter */
    m = spn_find_model("nomic-embed");
    assert_int_equal(spn_auto_select_quantization(m, 4 * gib, 0, NULL), SPN_QUANTIZATION_F16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_id_of_the_seed_is_known),
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(bits_agree_with_real_files),
        cmocka_unit_test(near_ids_are_found),
        cmocka_unit_test(names_give_their_quantization),
        cmocka_unit_test(every_quantization_is_found_in_any_case),
        cmocka_unit_test(references_are_taken_apart),
        cmocka_unit_test(bad_references_say_why),
        cmocka_unit_test(accepted_paths_stay_inside),
        cmocka_unit_test(device_names_are_refused),
        cmocka_unit_test(memory_is_computed_from_the_shape),
        cmocka_unit_test(least_memory_is_that_of_the_default),
        cmocka_unit_test(the_best_that_fits_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
