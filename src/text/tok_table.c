/* tok_table.c - strings by number and numbers by string. SPDX-License-Identifier: Apache-2.0
 *
 * An open hash table over strings that stand one after the other in one block. The vocabulary comes
 * from a file, so the hash is folded with an address that the file's maker cannot know.
 */
#include <string.h>

#include "text/tok_internal.h"

/* Multiply, then fold the two halves: after wyhash (Wang Yi, public domain). */
static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t low = (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF), high = (a >> 32) * (b >> 32);
    uint64_t cross = (a >> 32) * (b & 0xFFFFFFFF) + (a & 0xFFFFFFFF) * (b >> 32);
    return low ^ high ^ (cross << 32 | cross >> 32);
}

static const char hash_home;

uint64_t spn_tok_hash(const char *bytes, size_t n) {
    uint64_t hash = UINT64_C(0x9E3779B97F4A7C15) ^ (uintptr_t)&hash_home ^ n, word;
    for (; n >= sizeof word; n -= sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        hash = mix(hash ^ word, UINT64_C(0xA0761D6478BD642F));
    }
    word = 0;
    for (size_t i = 0; i < n; i++) word = word << 8 | (unsigned char)bytes[i];
    hash = mix(hash ^ word, UINT64_C(0xE7037ED1A0B428DB));
    return hash ^ hash >> 29;
}

bool spn_tok_grow(void **block, size_t *cap, size_t need, size_t item_bytes) {
    if (need <= *cap) return true;
    size_t want = spn_max_size(spn_max_size(need, 16), *cap + *cap / 2);
    void *more = spn_realloc_array(*block, want, item_bytes);
    if (more == NULL) return false;
    *block = more;
    *cap = want;
    return true;
}

static void place(spn_tok_slot *slots, size_t n_slots, uint32_t hash, uint32_t id) {
    size_t i = hash & (n_slots - 1);
    while (slots[i].id != 0) i = (i + 1) & (n_slots - 1);
    slots[i] = (spn_tok_slot){hash, id + 1};
}

static spn_status make_room(spn_tok_table *table, spn_error *err) {
    if ((size_t)table->n * 2 + 2 <= table->n_slots) return SPN_STATUS_OK;
    size_t n_slots = spn_max_size(256, table->n_slots * 2);
    spn_tok_slot *slots = spn_alloc_zeroed(n_slots, sizeof *slots);
    if (slots == NULL) return SPN_NO_MEMORY(err, "the vocabulary's index");
    for (size_t i = 0; i < table->n_slots; i++)
        if (table->slots[i].id != 0)
            place(slots, n_slots, table->slots[i].hash, table->slots[i].id - 1);
    spn_free(table->slots);
    table->slots = slots;
    table->n_slots = n_slots;
    return SPN_STATUS_OK;
}

static uint32_t find_hashed(const spn_tok_table *table, uint32_t hash, const char *bytes,
                            size_t n) {
    if (table->n_slots == 0) return SPN_TOK_NO_PIECE;
    for (size_t i = hash & (table->n_slots - 1);; i = (i + 1) & (table->n_slots - 1)) {
        spn_tok_slot slot = table->slots[i];
        if (slot.id == 0) return SPN_TOK_NO_PIECE;
        if (slot.hash != hash) continue;
        size_t len;
        const char *text = spn_tok_table_text(table, slot.id - 1, &len);
        if (len == n && memcmp(text, bytes, n) == 0) return slot.id - 1;
    }
}

uint32_t spn_tok_table_find(const spn_tok_table *table, const char *bytes, size_t n) {
    if (n > table->max_len) return SPN_TOK_NO_PIECE;
    return find_hashed(table, (uint32_t)spn_tok_hash(bytes, n), bytes, n);
}

static spn_status append(spn_tok_table *table, const char *bytes, size_t n, spn_error *err) {
    size_t need;
    if (!spn_add_size(table->pool_len, n, &need) || need > UINT32_MAX || table->n >= INT32_MAX)
        return SPN_FAIL(err, FORMAT, "the vocabulary is larger than 4 GiB");
    size_t cap = table->cap;
    if (!spn_tok_grow((void **)&table->pool, &table->pool_cap, need, 1) ||
        !spn_tok_grow((void **)&table->ends, &cap, (size_t)table->n + 2, sizeof *table->ends))
        return SPN_NO_MEMORY(err, "the vocabulary");
    table->cap = (uint32_t)cap;
    if (n > 0) memcpy(table->pool + table->pool_len, bytes, n);
    table->ends[table->n] = (uint32_t)table->pool_len;
    table->pool_len = need;
    table->ends[++table->n] = (uint32_t)need;
    if (n > table->max_len) table->max_len = (uint32_t)n;
    return SPN_STATUS_OK;
}

spn_status spn_tok_table_add(spn_tok_table *table, const char *bytes, size_t n, spn_error *err) {
    uint32_t hash = (uint32_t)spn_tok_hash(bytes, n);
    SPN_TRY(make_room(table, err));
    bool known = n == 0 || find_hashed(table, hash, bytes, n) != SPN_TOK_NO_PIECE;
    SPN_TRY(append(table, bytes, n, err));
    if (!known) place(table->slots, table->n_slots, hash, table->n - 1);
    return SPN_STATUS_OK;
}

spn_status spn_tok_table_intern(spn_tok_table *table, const char *bytes, size_t n, uint32_t *id,
                                spn_error *err) {
    uint32_t known = spn_tok_table_find(table, bytes, n);
    if (known == SPN_TOK_NO_PIECE) {
        known = table->n;
        SPN_TRY(spn_tok_table_add(table, bytes, n, err));
    }
    *id = known;
    return SPN_STATUS_OK;
}

void spn_tok_table_free(spn_tok_table *table) {
    spn_free(table->pool);
    spn_free(table->ends);
    spn_free(table->slots);
    *table = (spn_tok_table){0};
}
