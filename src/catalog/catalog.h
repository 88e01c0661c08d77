/* catalog.h - what the catalogue's files share, and the storage with them.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SPN_CATALOG_INTERNAL_H
#define SPN_CATALOG_INTERNAL_H

#include "base/base.h"
#include "spn/catalog.h"

/* ASCII only: names on the Hub and in the catalogue are; a locale must not change what matches. */
char spn_ascii_lower(char c);
bool spn_ascii_equal(const char *a, const char *b); /* in any letter case */
bool spn_ascii_starts(const char *text, const char *prefix);
bool spn_ascii_ends(const char *text, const char *suffix);
/* Levenshtein distance in any letter case; only the first 255 bytes count. */
unsigned spn_ascii_distance(const char *a, const char *b);

/* Whether `name` may stand as one folder or file below the store, on every system: UTF-8, at most
 * 255 bytes, no "/", "\", ":", "<>|?*" or quote, no control character, not "." or "..", no space
 * at its start, no space or dot at its end, no device name of Windows ("nul", "com1.gguf").
 * Returns NULL when it may, or what is wrong with it. */
const char *spn_name_problem(const char *name, size_t n_bytes);
/* The same for a relative path: each part between "/" must be such a name, and the whole shorter
 * than SPN_REFERENCE_MAX. */
const char *spn_path_problem(const char *path);
/* "OWNER/REPO" with the Hub's own rules: letters, digits, "-", "_", "."; no "--" or "..". */
const char *spn_repo_problem(const char *repo);
/* A branch, tag or commit: printable ASCII without what git forbids in names. */
const char *spn_revision_problem(const char *revision);

#endif
