/* gguf_index.c - finds pairs and tensors by name. SPDX-License-Identifier: Apache-2.0
 *
 * Open addressing with linear probing, at most half full. The hash is SipHash-1-3 with a random
 * key: a file whose names all fell into one slot under a known hash would make opening it take
 * quadratic time.
 * SipHash: https://www.aumasson.jp/siphash/siphash.pdf
 */
#include "gguf/gguf_internal.h"

static inline uint64_t rotate(uint64_t x, int n) { return x << n | x >> (64 - n); }

static void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
    v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
}

static uint64_t hash_name(const uint64_t key[2], spn_gguf_str name) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    size_t i = 0;
    for (; i + 8 <= name.len; i += 8) {
        uint64_t word = gguf_load_u64((const uint8_t *)name.data + i);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)name.len << 56;
    for (int shift = 0; i < name.len; i++, shift += 8)
        last |= (uint64_t)(uint8_t)name.data[i] << shift;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int round = 0; round < 3; round++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static spn_gguf_str name_at(gguf_names names, size_t i) {
    return *(const spn_gguf_str *)((const char *)names.items + i * names.stride);
}

static bool same(spn_gguf_str a, spn_gguf_str b) {
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* The slot of that name, or the free slot where it would go. */
static size_t find_slot(const gguf_index *index, gguf_names names, spn_gguf_str name) {
    size_t slot = (size_t)hash_name(index->key, name) & (index->n_slots - 1);
    while (index->slots[slot] != 0 && !same(name_at(names, index->slots[slot] - 1), name))
        slot = (slot + 1) & (index->n_slots - 1);
    return slot;
}

spn_status spn_gguf_index_build(gguf_index *index, gguf_names names, size_t *duplicate,
                                spn_error *err) {
    gguf_index built = {.n_slots = 8};
    while (built.n_slots < names.n * 2) built.n_slots *= 2;
    SPN_TRY(spn_random_bytes(built.key, sizeof built.key, err));
    built.slots = spn_alloc_zeroed(built.n_slots, sizeof *built.slots);
    if (built.slots == NULL) return SPN_NO_MEMORY(err, "the index of names");
    for (size_t i = 0; i < names.n; i++) {
        size_t slot = find_slot(&built, names, name_at(names, i));
        if (built.slots[slot] != 0) {
            *duplicate = i;
            spn_gguf_index_free(&built);
            return SPN_STATUS_OK;
        }
        built.slots[slot] = (uint32_t)i + 1;
    }
    *duplicate = names.n;
    *index = built;
    return SPN_STATUS_OK;
}

void spn_gguf_index_free(gguf_index *index) {
    spn_free(index->slots);
    *index = (gguf_index){0};
}

size_t spn_gguf_index_find(const gguf_index *index, gguf_names names, spn_gguf_str name) {
    if (index->slots == NULL) return names.n;
    uint32_t found = index->slots[find_slot(index, names, name)];
    return found != 0 ? found - 1 : names.n;
}
