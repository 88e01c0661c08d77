/* kv_cache.c - keys, values and recurrent states of one sequence.
 * SPDX-License-Identifier: Apache-2.0
 *
 * One range of address space holds everything: for each layer the K tiles of each KV head, then the
 * V rows of each (kernels.h); memory is taken as positions are written. A layer with a window keeps
 * only what the window and one batch need, in a ring, and so forgets: `known_from` is the first
 * position that all rings still hold, and a rewind that would need an earlier one starts afresh.
 *
 * Memory comes in pages of 4 KiB, so that a long context costs nothing until it is filled: heads
 * lie far apart, and a first token that brought in 2 MiB for each of them would take hundreds of
 * MiB. Blocks of 2 MiB that a prompt is about to fill (nearly) whole become huge pages instead,
 * which attention reads faster (docs/performance.md).
 *
 * Texts that are whole in one pass and forgotten behind it (embeddings) use a room instead: slots
 * that the layers use one after another, so that it is small and stays in the processor's cache.
 * A text begins at a slot that is a multiple of 64, for the kernels' blocks begin there. */
#include <stdatomic.h>
#include <string.h>

#include "model/network.h"
#include "platform/os.h"

struct spn_kv_cache {
    const spn_network *network;
    uint8_t *memory;
    size_t n_bytes;
    uint8_t *first_block; /* the first address in `memory` where a huge page can begin */
    size_t n_blocks;
    uint32_t *filled;                       /* [n_blocks] bytes that will be in use, or IS_HUGE */
    uint32_t expected;                      /* positions that `filled` counts */
    uint32_t n_runs;                        /* pieces of the range that huge pages were asked for */
    spn_kv_layer *layers;                   /* [n_layer] */
    uint8_t **states;                       /* [n_layer] */
    uint32_t shortest_ring, longest_window; /* of the windowed layers; 0: none */
    uint32_t known_from;
    bool recurrent;
};

/* Each run splits the range in the system's books, which hold 65,530 entries for a process (Linux's
 * vm.max_map_count) and serve its threads and large allocations too. */
#define MOST_RUNS 8192
static atomic_uint n_runs_of_all;

#define IS_HUGE UINT32_MAX
/* A block counts as whole from here on: layers end with some unused positions. */
#define NEARLY_WHOLE (SPN_VM_HUGE_BYTES / 16 * 15)

static uint64_t round64(uint64_t n) { return (n + 63) / 64 * 64; }

static uint32_t window_of(const spn_layer *layer) {
    return layer->window != 0 ? layer->window : layer->chunk;
}

static uint32_t ring_of(const spn_layer *layer, uint32_t n_ctx, uint32_t n_batch) {
    uint64_t all = round64(n_ctx), window = window_of(layer);
    uint64_t needed = window == 0 ? all : round64(window - 1 + (uint64_t)n_batch);
    return (uint32_t)(needed < all ? needed : all);
}

static bool has_cache(const spn_network *network, uint32_t l) {
    const spn_layer *layer = &network->layers[l];
    return layer->mixer != SPN_MIXER_LINEAR && layer->kv_layer == l;
}

static uint64_t state_bytes(const spn_network *network) {
    uint64_t d = network->dim_state;
    uint64_t channels = d * (2 * network->n_key_head + network->n_value_head);
    return round64(channels * (network->n_taps - 1) * sizeof(float)) +
           round64(network->n_value_head * d * d * sizeof(float));
}

/* Bytes of a layer that holds `ring` positions; with `out` set, its places counted from `at`. */
static uint64_t layer_layout(const spn_layer *layer, uint32_t ring, spn_type type_k,
                             spn_type type_v, uint8_t *at, spn_kv_layer *out) {
    uint64_t k = round64(ring * (uint64_t)spn_type_row_bytes(type_k, layer->dim_k));
    uint64_t v = round64(ring * (uint64_t)spn_type_row_bytes(type_v, layer->dim_v));
    if (out != NULL)
        *out = (spn_kv_layer){.k = at,
                              .v = at + k * layer->n_head_kv,
                              .k_head_bytes = (size_t)k,
                              .v_head_bytes = (size_t)v,
                              .ring = ring,
                              .type_k = type_k,
                              .type_v = type_v};
    return (k + v) * layer->n_head_kv;
}

uint64_t spn_kv_cache_bytes(const spn_network *network, uint32_t n_ctx, uint32_t n_batch,
                            spn_type type_k, spn_type type_v) {
    uint64_t total = 0;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        if (network->layers[l].mixer == SPN_MIXER_LINEAR)
            total += state_bytes(network);
        else if (has_cache(network, l))
            total += layer_layout(&network->layers[l], ring_of(&network->layers[l], n_ctx, n_batch),
                                  type_k, type_v, NULL, NULL);
    }
    return total;
}

spn_status spn_kv_cache_check_types(const spn_network *network, spn_type type_k, spn_type type_v,
                                    spn_error *err) {
    for (uint32_t l = 0; l < network->n_layer; l++) {
        const spn_layer *layer = &network->layers[l];
        uint32_t block_k = spn_type_traits_of(type_k)->block_len;
        uint32_t block_v = spn_type_traits_of(type_v)->block_len;
        if (!has_cache(network, l)) continue;
        if (layer->dim_k % block_k != 0 || layer->dim_v % block_v != 0)
            return SPN_FAIL(err, INVALID_ARGUMENT,
                            "a KV cache of %s and %s does not fit heads of %zu and %zu numbers: "
                            "choose f16",
                            spn_type_name(type_k), spn_type_name(type_v), layer->dim_k,
                            layer->dim_v);
    }
    return SPN_STATUS_OK;
}

static void place_layers(spn_kv_cache *cache, uint32_t n_ctx, uint32_t n_batch, spn_type type_k,
                         spn_type type_v) {
    const spn_network *network = cache->network;
    uint8_t *at = cache->memory;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        const spn_layer *layer = &network->layers[l];
        if (layer->mixer == SPN_MIXER_LINEAR) {
            cache->states[l] = at;
            cache->recurrent = true;
            at += state_bytes(network);
            continue;
        }
        if (!has_cache(network, l)) continue;
        uint32_t window = window_of(layer), ring = ring_of(layer, n_ctx, n_batch);
        at += layer_layout(layer, ring, type_k, type_v, at, &cache->layers[l]);
        if (window == 0) continue;
        if (window > cache->longest_window) cache->longest_window = window;
        if (cache->shortest_ring == 0 || ring < cache->shortest_ring) cache->shortest_ring = ring;
    }
}

static bool find_blocks(spn_kv_cache *cache) {
    uintptr_t start = (uintptr_t)cache->memory, huge = SPN_VM_HUGE_BYTES;
    size_t skip = (size_t)((huge - start % huge) % huge);
    if (cache->n_bytes < skip + huge) return true;
    cache->first_block = cache->memory + skip;
    cache->n_blocks = (cache->n_bytes - skip) / huge;
    cache->filled = spn_alloc_zeroed(cache->n_blocks, sizeof *cache->filled);
    return cache->filled != NULL;
}

spn_status spn_kv_cache_create(spn_kv_cache **out, const spn_network *network, uint32_t n_ctx,
                               uint32_t n_batch, spn_type type_k, spn_type type_v, spn_error *err) {
    uint64_t n_bytes = spn_kv_cache_bytes(network, n_ctx, n_batch, type_k, type_v);
    spn_kv_cache *cache = spn_alloc_zeroed(1, sizeof *cache);
    if (cache == NULL) return SPN_NO_MEMORY(err, "the KV cache");
    cache->network = network;
    cache->n_bytes = (size_t)n_bytes + 64;
    cache->layers = spn_alloc_zeroed(network->n_layer, sizeof *cache->layers);
    cache->states = spn_alloc_zeroed(network->n_layer, sizeof *cache->states);
    if (n_bytes < SIZE_MAX / 2) cache->memory = spn_vm_reserve(cache->n_bytes);
    if (cache->layers == NULL || cache->states == NULL || cache->memory == NULL) {
        spn_kv_cache_free(cache);
        return SPN_FAIL(err, NO_MEMORY, "no address space for a KV cache of %llu bytes",
                        (unsigned long long)n_bytes);
    }
    if (!find_blocks(cache)) {
        spn_kv_cache_free(cache);
        return SPN_NO_MEMORY(err, "the KV cache");
    }
    place_layers(cache, n_ctx, n_batch, type_k, type_v);
    *out = cache;
    return SPN_STATUS_OK;
}

void spn_kv_cache_free(spn_kv_cache *cache) {
    if (cache == NULL) return;
    if (cache->memory != NULL) spn_vm_release(cache->memory, cache->n_bytes);
    atomic_fetch_sub(&n_runs_of_all, cache->n_runs);
    spn_free(cache->filled);
    spn_free(cache->layers);
    spn_free(cache->states);
    spn_free(cache);
}

const spn_kv_layer *spn_kv_cache_layers(const spn_kv_cache *cache) { return cache->layers; }

uint8_t *const *spn_kv_cache_states(const spn_kv_cache *cache) { return cache->states; }

uint64_t spn_kv_cache_read_bytes(const spn_kv_cache *cache, uint32_t n_positions) {
    const spn_network *network = cache->network;
    uint64_t total = 0;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        const spn_layer *layer = &network->layers[l];
        if (layer->mixer == SPN_MIXER_LINEAR) {
            total += state_bytes(network);
            continue;
        }
        const spn_kv_layer *kv = &cache->layers[layer->kv_layer];
        uint64_t window = window_of(layer), n = n_positions;
        if (window != 0 && window < n) n = window;
        total += n * layer->n_head_kv *
                 (spn_type_row_bytes(kv->type_k, layer->dim_k) +
                  spn_type_row_bytes(kv->type_v, layer->dim_v));
    }
    return total;
}

static uint32_t start_afresh(spn_kv_cache *cache) {
    cache->known_from = 0;
    for (uint32_t l = 0; l < cache->network->n_layer; l++)
        if (cache->states[l] != NULL)
            memset(cache->states[l], 0, (size_t)state_bytes(cache->network));
    return 0;
}

uint32_t spn_kv_cache_known_from(const spn_kv_cache *cache, uint32_t n_cached) {
    uint32_t ring = cache->shortest_ring;
    if (ring == 0 || n_cached <= ring + cache->known_from) return cache->known_from;
    return n_cached - ring;
}

void spn_kv_cache_set_known_from(spn_kv_cache *cache, uint32_t known_from) {
    cache->known_from = known_from;
}

bool spn_kv_cache_can_rewind(const spn_kv_cache *cache, uint32_t n) {
    bool room = cache->shortest_ring == 0 || cache->shortest_ring >= cache->longest_window + n;
    return !cache->recurrent && room;
}

uint32_t spn_kv_cache_rewind(spn_kv_cache *cache, uint32_t n_cached, uint32_t n_keep) {
    cache->known_from = spn_kv_cache_known_from(cache, n_cached);
    if (n_keep == 0) return start_afresh(cache);
    if (n_keep == n_cached) return n_keep;
    if (cache->recurrent) return start_afresh(cache);
    uint32_t window = cache->longest_window;
    uint32_t first_needed = window == 0 || n_keep < window ? 0 : n_keep - window + 1;
    if (cache->shortest_ring != 0 && first_needed < cache->known_from) return start_afresh(cache);
    return n_keep;
}

static bool visit_layer(const spn_layer *layer, const spn_kv_layer *kv, uint32_t n_positions,
                        spn_kv_visit visit, void *user) {
    size_t n = n_positions < kv->ring ? n_positions : kv->ring;
    size_t n_tiled = (n + SPN_KV_TILE - 1) / SPN_KV_TILE * SPN_KV_TILE;
    size_t k_bytes = n_tiled * spn_type_row_bytes(kv->type_k, layer->dim_k);
    size_t v_bytes = n * spn_type_row_bytes(kv->type_v, layer->dim_v);
    for (uint32_t h = 0; h < layer->n_head_kv; h++)
        if (!visit(kv->k + h * kv->k_head_bytes, k_bytes, user) ||
            !visit(kv->v + h * kv->v_head_bytes, v_bytes, user))
            return false;
    return true;
}

bool spn_kv_cache_visit(spn_kv_cache *cache, uint32_t n_positions, spn_kv_visit visit, void *user) {
    const spn_network *network = cache->network;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        bool ok = true;
        if (cache->states[l] != NULL)
            ok = visit(cache->states[l], (size_t)state_bytes(network), user);
        else if (has_cache(network, l))
            ok = visit_layer(&network->layers[l], &cache->layers[l], n_positions, visit, user);
        if (!ok) return false;
    }
    return true;
}

static bool count_filled(void *data, size_t n_bytes, void *user) {
    spn_kv_cache *cache = user;
    uint8_t *at = data, *end = at + n_bytes;
    if (at < cache->first_block) at = cache->first_block;
    while (at < end) {
        size_t block = (size_t)(at - cache->first_block) / SPN_VM_HUGE_BYTES;
        uint8_t *next = cache->first_block + (block + 1) * SPN_VM_HUGE_BYTES;
        if (block >= cache->n_blocks) break;
        if (next > end) next = end;
        if (cache->filled[block] != IS_HUGE) cache->filled[block] += (uint32_t)(next - at);
        at = next;
    }
    return true;
}

/* The end of the run of whole blocks at `block`, which are marked. */
static size_t take_run(spn_kv_cache *cache, size_t block) {
    while (block < cache->n_blocks && cache->filled[block] != IS_HUGE &&
           cache->filled[block] >= NEARLY_WHOLE)
        cache->filled[block++] = IS_HUGE;
    return block;
}

void spn_kv_cache_expect(spn_kv_cache *cache, uint32_t n_positions) {
    const uint32_t step = 64; /* for texts that grow token by token */
    if (cache->n_blocks == 0 || n_positions < cache->expected + step) return;
    cache->expected = n_positions;
    for (size_t i = 0; i < cache->n_blocks; i++)
        if (cache->filled[i] != IS_HUGE) cache->filled[i] = 0;
    spn_kv_cache_visit(cache, n_positions, count_filled, cache);
    for (size_t i = 0, end; i < cache->n_blocks; i = end + 1) {
        if (atomic_load(&n_runs_of_all) >= MOST_RUNS) return;
        end = take_run(cache, i);
        if (end == i) continue;
        spn_vm_want_huge(cache->first_block + i * SPN_VM_HUGE_BYTES, (end - i) * SPN_VM_HUGE_BYTES);
        cache->n_runs++;
        atomic_fetch_add(&n_runs_of_all, 1);
    }
}

/* ---- room for texts that live for one pass ---- */

struct spn_kv_room {
    const spn_network *network;
    uint8_t *memory;
    size_t n_bytes;
    spn_kv_layer *layers; /* [n_layer], each over all slots */
};

/* Layers that read another one's keys and values need them all to stay until the pass ends. */
static bool layers_share(const spn_network *network) {
    for (uint32_t l = 0; l < network->n_layer; l++)
        if (network->layers[l].kv_layer != l) return true;
    return false;
}

/* Bytes of the room; with `memory` and `out` set, the layers' places in it. */
static uint64_t room_layout(const spn_network *network, uint32_t n_slots, spn_type type_k,
                            spn_type type_v, uint8_t *memory, spn_kv_layer *out) {
    bool share = layers_share(network);
    uint64_t end = 0;
    for (uint32_t l = 0; l < network->n_layer; l++) {
        uint64_t at = share ? end : 0;
        if (!has_cache(network, l)) continue;
        uint64_t n =
            layer_layout(&network->layers[l], n_slots, type_k, type_v,
                         memory != NULL ? memory + at : NULL, out != NULL ? &out[l] : NULL);
        if (at + n > end) end = at + n;
    }
    return end;
}

bool spn_kv_room_is_possible(const spn_network *network) {
    for (uint32_t l = 0; l < network->n_layer; l++)
        if (network->layers[l].mixer == SPN_MIXER_LINEAR) return false;
    return true;
}

spn_status spn_kv_room_create(spn_kv_room **out, const spn_network *network, uint32_t n_slots,
                              spn_type type_k, spn_type type_v, spn_error *err) {
    uint64_t n_bytes = room_layout(network, n_slots, type_k, type_v, NULL, NULL);
    spn_kv_room *room = spn_alloc_zeroed(1, sizeof *room);
    if (room == NULL) return SPN_NO_MEMORY(err, "short texts");
    room->network = network;
    room->n_bytes = (size_t)n_bytes + 64;
    room->layers = spn_alloc_zeroed(network->n_layer, sizeof *room->layers);
    if (n_bytes < SIZE_MAX / 2) room->memory = spn_vm_reserve(room->n_bytes);
    if (room->layers == NULL || room->memory == NULL) {
        spn_kv_room_free(room);
        return SPN_FAIL(err, NO_MEMORY, "no address space for keys and values of %llu bytes",
                        (unsigned long long)n_bytes);
    }
    room_layout(network, n_slots, type_k, type_v, room->memory, room->layers);
    *out = room;
    return SPN_STATUS_OK;
}

void spn_kv_room_free(spn_kv_room *room) {
    if (room == NULL) return;
    if (room->memory != NULL) spn_vm_release(room->memory, room->n_bytes);
    spn_free(room->layers);
    spn_free(room);
}

uint32_t spn_kv_room_layers(const spn_kv_room *room, uint32_t first, uint32_t n_rows,
                            spn_kv_layer *out) {
    uint32_t n_slots = (uint32_t)round64(n_rows);
    for (uint32_t l = 0; l < room->network->n_layer; l++) {
        const spn_layer *layer = &room->network->layers[l];
        out[l] = room->layers[l];
        if (!has_cache(room->network, l)) continue;
        out[l].k += first * spn_type_row_bytes(out[l].type_k, layer->dim_k);
        out[l].v += first * spn_type_row_bytes(out[l].type_v, layer->dim_v);
        out[l].ring = n_slots;
    }
    return first + n_slots;
}
