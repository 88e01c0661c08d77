/* fuzz_gguf.c - any bytes as a GGUF file. SPDX-License-Identifier: Apache-2.0
 *
 * They open and can be read whole, or are refused with a FORMAT error that has a text; memory stays
 * within a small multiple of the file. The corpus is made by make_gguf_corpus.py.
 */
#include "../unit/gguf_bytes.h"
#include "../unit/hostile_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hostile_alloc heap = {0};
    spn_gguf *gguf = NULL;
    spn_error err = {0};
    hostile_install(&heap);
    spn_status status = spn_gguf_open_bytes(&gguf, data, size, "fuzz", &err);
    if (status != SPN_STATUS_OK && (status != SPN_STATUS_FORMAT || err.text[0] == '\0')) abort();
    if (heap.n_most_bytes > 8192 + 12 * size) abort();
    if (status == SPN_STATUS_OK) gguf_walk(gguf);
    spn_gguf_close(gguf);
    if (heap.n_blocks != 0) abort();
    spn_set_allocator(NULL);
    return 0;
}
