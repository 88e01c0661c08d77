/* types.c - the table of tensor types. SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>

#include "gguf/gguf.h"

#define TRAITS_ROW(NAME, id, block, bytes, text) [id] = {text, block, bytes},
static const spn_type_traits traits[SPN_TYPE_LIMIT] = {SPN_TYPE_LIST(TRAITS_ROW)};
#undef TRAITS_ROW

#define TRAITS_CHECK(NAME, id, block, bytes, text) \
    static_assert((id) < SPN_TYPE_LIMIT && (block) > 0 && (bytes) > 0, text);
SPN_TYPE_LIST(TRAITS_CHECK)
#undef TRAITS_CHECK

const spn_type_traits *spn_type_traits_of(uint32_t id) {
    return id < SPN_TYPE_LIMIT && traits[id].name != NULL ? &traits[id] : NULL;
}

const char *spn_type_name(spn_type type) {
    const spn_type_traits *row = spn_type_traits_of((uint32_t)type);
    return row != NULL ? row->name : "unknown";
}

size_t spn_type_row_bytes(spn_type type, size_t n) {
    const spn_type_traits *row = spn_type_traits_of((uint32_t)type);
    assert(row != NULL && n % row->block_len == 0);
    return row != NULL ? n / row->block_len * row->block_bytes : 0;
}
