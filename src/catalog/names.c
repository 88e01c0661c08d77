/* names.c - which names may become folders and files of the store.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Names come from people, from repositories and from manifests, so none of them is trusted. What
 * one system forbids is refused on all of them: a store can then be moved to any disk.
 */
#include <string.h>

#include "catalog/catalog.h"

char spn_ascii_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c; }

bool spn_ascii_equal(const char *a, const char *b) {
    while (*a && spn_ascii_lower(*a) == spn_ascii_lower(*b)) a++, b++;
    return spn_ascii_lower(*a) == spn_ascii_lower(*b);
}

bool spn_ascii_starts(const char *text, const char *prefix) {
    for (; *prefix; text++, prefix++)
        if (spn_ascii_lower(*text) != spn_ascii_lower(*prefix)) return false;
    return true;
}

bool spn_ascii_ends(const char *text, const char *suffix) {
    size_t n = strlen(text), n_suffix = strlen(suffix);
    return n >= n_suffix && spn_ascii_equal(text + n - n_suffix, suffix);
}

/* Bytes of the UTF-8 character at `text`, 0 when it is none: too long a form, a surrogate, a value
 * over U+10FFFF or a control character (below U+0020, U+007F to U+009F) counts as none. */
static size_t utf8_length(const unsigned char *text, size_t n_bytes) {
    unsigned char c = text[0];
    if (c < 0x80) return c >= 0x20 && c != 0x7f;
    size_t n = c >= 0xc2 && c < 0xe0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
    if (n == 0 || n > n_bytes) return 0;
    for (size_t i = 1; i < n; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if (c == 0xc2 && text[1] < 0xa0) return 0;
    if (c == 0xe0 && text[1] < 0xa0) return 0;
    if (c == 0xed && text[1] >= 0xa0) return 0;
    if (c == 0xf0 && text[1] < 0x90) return 0;
    if (c == 0xf4 && text[1] >= 0x90) return 0;
    return n;
}

/* Windows takes these for devices, whatever follows the first dot. */
static bool is_device(const char *name, size_t n_bytes) {
    static const char *const devices[] = {"con", "prn", "aux", "nul", "conin$", "conout$"};
    size_t n = 0;
    while (n < n_bytes && name[n] != '.') n++;
    while (n > 0 && name[n - 1] == ' ') n--;
    for (size_t i = 0; i < SPN_COUNT(devices); i++)
        if (n == strlen(devices[i]) && spn_ascii_starts(name, devices[i])) return true;
    return n == 4 && name[3] >= '0' && name[3] <= '9' &&
           (spn_ascii_starts(name, "com") || spn_ascii_starts(name, "lpt"));
}

const char *spn_name_problem(const char *name, size_t n_bytes) {
    if (n_bytes == 0) return "a part of it is empty";
    if (n_bytes > 255) return "a part of it is longer than 255 bytes";
    if (name[0] == '.' && (n_bytes == 1 || (n_bytes == 2 && name[1] == '.')))
        return "\".\" and \"..\" are not allowed in it";
    for (size_t i = 0, n; i < n_bytes; i += n) {
        n = utf8_length((const unsigned char *)name + i, n_bytes - i);
        if (n == 0) return "it holds a control character or bytes that are no UTF-8";
        if (n == 1 && strchr("/\\:<>|?*\"", name[i]) != NULL)
            return "one of the characters / \\ : < > | ? * \" stands where it must not";
    }
    if (name[0] == ' ' || name[n_bytes - 1] == ' ' || name[n_bytes - 1] == '.')
        return "a part of it starts with a space, or ends in a space or a dot";
    if (is_device(name, n_bytes)) return "a part of it is the name of a device";
    return NULL;
}

const char *spn_path_problem(const char *path) {
    if (path[0] == '\0') return "it is empty";
    if (path[0] == '/') return "it is an absolute path";
    if (strlen(path) >= SPN_REFERENCE_MAX) return "it is too long";
    for (const char *part = path;; part++) {
        size_t n = strcspn(part, "/");
        const char *problem = spn_name_problem(part, n);
        if (problem != NULL) return problem;
        part += n;
        if (*part == '\0') return NULL;
    }
}

static const char *repo_part_problem(const char *part, size_t n) {
    if (n == 0) return "its form must be OWNER/REPO";
    if (n > 96) return "a part of it is longer than 96 characters";
    for (size_t i = 0; i < n; i++) {
        char c = spn_ascii_lower(part[i]);
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (!plain && c != '-' && c != '.')
            return "only letters, digits, \"-\", \"_\", \".\" may be in it";
        if (!plain && i + 1 < n && part[i + 1] == c)
            return "\"--\" and \"..\" are not allowed in it";
    }
    if (part[0] == '.' || part[0] == '-' || part[n - 1] == '-')
        return "a part of it starts or ends with \"-\" or \".\"";
    return spn_name_problem(part, n);
}

const char *spn_repo_problem(const char *repo) {
    const char *slash = strchr(repo, '/');
    if (slash == NULL || strchr(slash + 1, '/') != NULL) return "its form must be OWNER/REPO";
    const char *problem = repo_part_problem(repo, (size_t)(slash - repo));
    return problem ? problem : repo_part_problem(slash + 1, strlen(slash + 1));
}

const char *spn_revision_problem(const char *revision) {
    size_t n = strlen(revision);
    if (n == 0) return "it is empty";
    if (n >= 256) return "it is longer than 255 bytes";
    for (size_t i = 0; i < n; i++) {
        if (revision[i] <= ' ' || revision[i] > '~') return "only printable ASCII may be in it";
        if (strchr("\\:?*[~^\"<>|", revision[i]) != NULL) return "a character of it is not allowed";
        if (revision[i] == '.' && revision[i + 1] == '.') return "\"..\" is not allowed in it";
        if (revision[i] == '/' && revision[i + 1] == '/') return "\"//\" is not allowed in it";
    }
    if (revision[0] == '/' || revision[0] == '-' || revision[0] == '.' || revision[n - 1] == '/')
        return "it starts or ends with a character that is not allowed there";
    return NULL;
}
