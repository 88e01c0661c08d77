/* fuzz_manifest.c - manifests and tables of blocks. SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "storage/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    spn_manifest m = {0};
    spn_blocks blocks;
    if (spn_manifest_parse((const char *)data, size, &m, NULL) == SPN_STATUS_OK) {
        if (!spn_is_sha256(m.sha256)) abort();
        if (m.path[0] && spn_path_problem(m.path) != NULL) abort();
        if (m.repo[0] && spn_repo_problem(m.repo) != NULL) abort();
        spn_manifest_clear(&m);
    }
    if (spn_blocks_parse(&blocks, data, size, NULL) == SPN_STATUS_OK) {
        if (blocks.n > size / 16 || spn_blocks_done_bytes(&blocks) > blocks.size) abort();
        spn_blocks_close(&blocks);
    }
    return 0;
}
