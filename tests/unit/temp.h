/* temp.h - a folder of a test's own, gone after it. SPDX-License-Identifier: Apache-2.0 */
#ifndef TEST_TEMP_H
#define TEST_TEMP_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEMP_PATH = 512 };

static char temp_root[TEMP_PATH];

static inline int temp_remove_one(const char *path, const struct stat *st, int type,
                                  struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void temp_make(void) {
    const char *base = getenv("TMPDIR");
    snprintf(temp_root, sizeof temp_root, "%s/spn-test-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(temp_root) == NULL) {
        perror(temp_root);
        exit(1);
    }
}

static inline void temp_remove(void) { nftw(temp_root, temp_remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* The same as cmocka's fixtures. */
static inline int temp_setup(void **state) {
    (void)state;
    temp_make();
    return 0;
}

static inline int temp_teardown(void **state) {
    (void)state;
    temp_remove();
    return 0;
}

/* A path in the folder; `out` has TEMP_PATH bytes. */
static inline const char *temp_path(char *out, const char *name) {
    int n = snprintf(out, TEMP_PATH, "%s/%s", temp_root, name);
    if (n < 0 || n >= TEMP_PATH) exit(1);
    return out;
}

/* Writes a file and the folders above it. */
static inline void temp_write(const char *name, const void *content, size_t n_bytes) {
    char path[TEMP_PATH];
    temp_path(path, name);
    for (char *at = path + strlen(temp_root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(path, 0777);
        *at = '/';
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(content, 1, n_bytes, file) != n_bytes || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static inline void temp_write_text(const char *name, const char *text) {
    temp_write(name, text, strlen(text));
}

#endif
