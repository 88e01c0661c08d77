/* tok_trie.c - all strings of a set that start at a place. SPDX-License-Identifier: Apache-2.0
 *
 * Built breadth first from the sorted strings, so that a node's children stand together.
 */
#include <stdlib.h>
#include <string.h>

#include "text/tok_internal.h"

static int by_text(const void *a, const void *b) {
    const spn_tok_entry *x = a, *y = b;
    int order = memcmp(x->text, y->text, spn_min_size(x->len, y->len));
    if (order != 0) return order;
    if (x->len != y->len) return x->len < y->len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Entries that share a node's path, and the path's length. */
typedef struct range {
    size_t first, end, depth;
} range;

typedef struct builder {
    spn_tok_node *nodes;
    range *ranges; /* of each node */
    size_t n, cap_nodes, cap_ranges;
} builder;

static bool add_node(builder *b, unsigned char byte, range r) {
    if (!spn_tok_grow((void **)&b->nodes, &b->cap_nodes, b->n + 1, sizeof *b->nodes) ||
        !spn_tok_grow((void **)&b->ranges, &b->cap_ranges, b->n + 1, sizeof *b->ranges))
        return false;
    b->nodes[b->n] = (spn_tok_node){.value = SPN_TOKEN_NONE, .byte = byte};
    b->ranges[b->n++] = r;
    return true;
}

/* Gives node i its value and its children. */
static bool expand(builder *b, size_t i, const spn_tok_entry *entries) {
    range r = b->ranges[i];
    size_t at = r.first;
    if (at < r.end && entries[at].len == r.depth) {
        if (r.depth > 0) b->nodes[i].value = entries[at].id;
        while (at < r.end && entries[at].len == r.depth) at++;
    }
    b->nodes[i].first = (uint32_t)b->n;
    while (at < r.end) {
        unsigned char byte = (unsigned char)entries[at].text[r.depth];
        size_t end = at + 1;
        while (end < r.end && (unsigned char)entries[end].text[r.depth] == byte) end++;
        if (!add_node(b, byte, (range){at, end, r.depth + 1})) return false;
        b->nodes[i].n_children++;
        at = end;
    }
    return true;
}

spn_status spn_tok_trie_build(spn_tok_trie *trie, spn_tok_entry *entries, size_t n,
                              spn_error *err) {
    *trie = (spn_tok_trie){0};
    if (n == 0) return SPN_STATUS_OK;
    qsort(entries, n, sizeof *entries, by_text);
    builder b = {0};
    bool ok = add_node(&b, 0, (range){0, n, 0});
    for (size_t i = 0; ok && i < b.n; i++) ok = b.n < UINT32_MAX && expand(&b, i, entries);
    spn_free(b.ranges);
    if (!ok) {
        spn_free(b.nodes);
        return SPN_NO_MEMORY(err, "the vocabulary's trie");
    }
    trie->nodes = b.nodes;
    for (uint32_t i = 0; i < b.nodes[0].n_children; i++)
        trie->root[b.nodes[b.nodes[0].first + i].byte] = b.nodes[0].first + i;
    return SPN_STATUS_OK;
}

void spn_tok_trie_free(spn_tok_trie *trie) {
    spn_free(trie->nodes);
    trie->nodes = NULL;
}

uint32_t spn_tok_trie_step(const spn_tok_trie *trie, uint32_t node, unsigned char byte) {
    if (node == 0) return trie->root[byte];
    uint32_t low = trie->nodes[node].first, high = low + trie->nodes[node].n_children;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (trie->nodes[middle].byte == byte) return middle;
        if (trie->nodes[middle].byte < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

size_t spn_tok_trie_longest(const spn_tok_trie *trie, const char *bytes, size_t n, int32_t *id) {
    size_t longest = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        node = spn_tok_trie_step(trie, node, (unsigned char)bytes[i]);
        if (node == 0) break;
        if (trie->nodes[node].value == SPN_TOKEN_NONE) continue;
        longest = i + 1;
        *id = trie->nodes[node].value;
    }
    return longest;
}
