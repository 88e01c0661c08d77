/* fuzz_listing.c - the hub's JSON: listings, facts, search results.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "storage/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *json = (const char *)data;
    spn_hub_listing listing = {0};
    spn_search_list hits = {0};
    spn_error err = {0};
    /* Twice, as two pages of one listing. */
    for (int page = 0; page < 2; page++)
        if (spn_hub_parse_tree(json, size, &listing, &err) != SPN_STATUS_OK && err.text[0] == '\0')
            abort();
    for (size_t i = 0; i < listing.n; i++) {
        const spn_hub_file *file = &listing.files[i];
        if (spn_path_problem(file->path) != NULL) abort();
        if (file->sha256[0] && !spn_is_sha256(file->sha256)) abort();
    }
    (void)spn_hub_parse_info(json, size, &listing, &err);
    if (listing.commit[0] && !spn_is_hex(listing.commit, strlen(listing.commit))) abort();
    if (spn_hub_parse_search(json, size, &hits, &err) == SPN_STATUS_OK)
        for (size_t i = 0; i < hits.n; i++)
            if (spn_repo_problem(hits.items[i].repo) != NULL) abort();
    spn_search_list_clear(&hits);
    spn_hub_listing_clear(&listing);
    return 0;
}
