/* plan.h - from a request to files of a repository. SPDX-License-Identifier: Apache-2.0 */
#ifndef SPN_STORAGE_PLAN_H
#define SPN_STORAGE_PLAN_H

#include "storage/store.h"

/* What a request means, before the hub is asked. */
typedef struct spn_target {
    spn_resolved_model resolved; /* CURATED or HUGGINGFACE; `repo` is set for both */
    const spn_known_file *hint;  /* of the catalogue, or NULL */
    uint64_t available;          /* memory that the best that fits must fit in; 0: not asked */
    char label[400];             /* for messages */
    char notice[400];
} spn_target;
spn_status spn_target_of(spn_target *t, const spn_download_request *request, spn_error *err);

/* The files of the listing that are wanted; the model's first, then companions. */
typedef struct spn_choice {
    spn_hub_listing listing;
    const spn_hub_file **files; /* into `listing` */
    size_t n, n_model;
    uint64_t total;
} spn_choice;
void spn_choice_clear(spn_choice *choice);
spn_status spn_choose(spn_storage *storage, spn_target *t, bool with_projector,
                      const spn_http_wait *wait, spn_choice *out, spn_error *err);

#endif
