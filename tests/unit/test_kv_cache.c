/* test_kv_cache.c - what memory a cache takes as it fills. SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/network.h"
#include "platform/os.h"

#define MIB ((uint64_t)1 << 20)

enum { N_LAYER = 2, N_HEAD_KV = 4, DIM = 128 };

/* 16 areas, K and V of each head; in f16 each position takes 256 bytes of each. */
static spn_kv_cache *cache_of(spn_network *network, spn_layer *layers, uint32_t n_ctx) {
    for (uint32_t l = 0; l < N_LAYER; l++)
        layers[l] = (spn_layer){.mixer = SPN_MIXER_ATTENTION,
                                .kv_layer = l,
                                .n_head_kv = N_HEAD_KV,
                                .dim_k = DIM,
                                .dim_v = DIM};
    *network = (spn_network){.n_layer = N_LAYER, .layers = layers};
    spn_kv_cache *cache = NULL;
    assert_int_equal(
        spn_kv_cache_create(&cache, network, n_ctx, 512, SPN_TYPE_F16, SPN_TYPE_F16, NULL),
        SPN_STATUS_OK);
    return cache;
}

static bool write_piece(void *piece, size_t n_bytes, void *user) {
    memset(piece, *(int *)user, n_bytes);
    return true;
}

static bool check_piece(void *piece, size_t n_bytes, void *user) {
    const uint8_t *bytes = piece;
    for (size_t i = 0; i < n_bytes; i++)
        if (bytes[i] != *(int *)user) return false;
    return true;
}

/* Bytes that became resident by filling the cache up to n_positions. */
static uint64_t fill(spn_kv_cache *cache, uint32_t n_positions) {
    int value = 0x5A;
    uint64_t before = spn_process_memory();
    spn_kv_cache_expect(cache, n_positions);
    spn_kv_cache_visit(cache, n_positions, write_piece, &value);
    uint64_t after = spn_process_memory();
    assert_true(spn_kv_cache_visit(cache, n_positions, check_piece, &value));
    return after > before ? after - before : 0;
}

static uint64_t bytes_of(uint32_t n_positions) {
    return (uint64_t)n_positions * 2 * DIM * 2 * N_HEAD_KV * N_LAYER;
}

static void a_long_context_costs_what_is_filled(void **state) {
    (void)state;
    if (spn_process_memory() == 0) skip();
    spn_network network;
    spn_layer layers[N_LAYER];
    spn_kv_cache *cache = cache_of(&network, layers, 131072);
    /* 16 areas of 32 MiB. 64 positions are 16 KiB of each; huge pages would be 2 MiB of each. */
    assert_true(fill(cache, 64) <= bytes_of(64) + MIB);
    assert_true(fill(cache, 1000) <= bytes_of(1000) + MIB);
    /* 20,000 positions are 4.88 MiB of each area: 2 MiB pages for the whole blocks alone. */
    uint64_t taken = fill(cache, 20000);
    assert_true(taken >= bytes_of(18000) && taken <= bytes_of(20000) * 107 / 100);
    spn_kv_cache_free(cache);
}

static void full_caches_take_their_size(void **state) {
    (void)state;
    if (spn_process_memory() == 0) skip();
    static const uint32_t sizes[] = {64, 4113, 8192, 10000};
    for (size_t i = 0; i < SPN_COUNT(sizes); i++) {
        spn_network network;
        spn_layer layers[N_LAYER];
        spn_kv_cache *cache = cache_of(&network, layers, sizes[i]);
        uint64_t whole = spn_kv_cache_bytes(&network, sizes[i], 512, SPN_TYPE_F16, SPN_TYPE_F16);
        assert_true(fill(cache, sizes[i]) <= whole + MIB);
        spn_kv_cache_free(cache);
    }
}

static void a_token_reads_what_it_sees(void **state) {
    (void)state;
    spn_network network;
    spn_layer layers[N_LAYER];
    spn_kv_cache *cache = cache_of(&network, layers, 4096);
    assert_int_equal(spn_kv_cache_read_bytes(cache, 0), 0);
    assert_int_equal(spn_kv_cache_read_bytes(cache, 1000), bytes_of(1000));
    layers[1].window = 100; /* this layer sees no more of the thousand */
    assert_int_equal(spn_kv_cache_read_bytes(cache, 1000), (bytes_of(1000) + bytes_of(100)) / 2);
    layers[1] = (spn_layer){.mixer = SPN_MIXER_LINEAR};
    network.dim_state = 128;
    network.n_key_head = 2;
    network.n_value_head = 4;
    network.n_taps = 4;
    uint64_t state_bytes = 4 * (3 * 8 * 128 + 4 * 128 * 128); /* inputs of 8 heads, four matrices */
    assert_int_equal(spn_kv_cache_read_bytes(cache, 1000), bytes_of(1000) / 2 + state_bytes);
    spn_kv_cache_free(cache);
}

#ifdef __linux__
/* kB of huge pages of this process; -1: the system does not tell, or gives none. */
static long huge_kb(void) {
    char text[256] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (file == NULL || fgets(text, sizeof text, file) == NULL) text[0] = '\0';
    if (file != NULL) fclose(file);
    if (text[0] == '\0' || strstr(text, "[never]") != NULL) return -1;
    long kb = -1;
    file = fopen("/proc/self/smaps_rollup", "r");
    if (file == NULL) return -1;
    while (fgets(text, sizeof text, file) != NULL)
        if (sscanf(text, "AnonHugePages: %ld kB", &kb) == 1) break;
    fclose(file);
    return kb;
}

static void what_a_prompt_fills_comes_huge(void **state) {
    (void)state;
    long before = huge_kb();
    if (before < 0 || spn_page_bytes() != 4096) skip();
    spn_network network;
    spn_layer layers[N_LAYER];
    spn_kv_cache *cache = cache_of(&network, layers, 65536);
    fill(cache, 1000);
    long few = huge_kb();
    fill(cache, 40000);
    long many = huge_kb();
    spn_kv_cache_free(cache);
    assert_true(few <= before + 2048); /* the C library's own memory may come so too */
    if (many == before) skip();        /* memory is in pieces: no huge page is free */
    assert_true(many > before && many <= before + (long)(bytes_of(40000) >> 10));
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_context_costs_what_is_filled),
        cmocka_unit_test(full_caches_take_their_size),
        cmocka_unit_test(a_token_reads_what_it_sees),
#ifdef __linux__
        cmocka_unit_test(what_a_prompt_fills_comes_huge),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
