/* fuzz_reference.c - model references, quantization names and name checks over arbitrary text.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (text == NULL) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    spn_resolved_model r;
    spn_error err;
    if (spn_resolve_model(text, &r, &err) == SPN_STATUS_OK) {
        /* What was accepted as a place below the store must be one. */
        if (r.file[0] && spn_path_problem(r.file) != NULL) abort();
        if (r.repo[0] && spn_repo_problem(r.repo) != NULL) abort();
        if (r.revision[0] && spn_revision_problem(r.revision) != NULL) abort();
        if (r.kind == SPN_REFERENCE_CURATED && r.model == NULL) abort();
    } else if (err.text[0] == '\0') {
        abort();
    }
    (void)spn_extract_quantization(text);
    (void)spn_quantization_parse(text);
    (void)spn_name_problem((const char *)data, size);
    const spn_known_model *near[2];
    (void)spn_nearest_models(text, near, 2);
    free(text);
    return 0;
}
