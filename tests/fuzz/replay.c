/* replay.c - runs a fuzz target over every file of the folders named on the command line.
 * SPDX-License-Identifier: Apache-2.0
 *
 * It fails when a folder cannot be read or holds no file, so an empty corpus is no pass.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (file == NULL || fstat(fileno(file), &st) != 0) {
        perror(path);
        return 1;
    }
    /* Exactly as large as the file, so that a sanitizer sees the first byte behind it. */
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (data == NULL || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        free(data);
        fclose(file);
        return 1;
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

static int replay_folder(const char *folder, int *n_files) {
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        perror(folder);
        return 1;
    }
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        failed |= replay_file(path);
        ++*n_files;
    }
    closedir(dir);
    return failed;
}

int main(int argc, char **argv) {
    int n_files = 0, failed = 0;
    for (int i = 1; i < argc; i++) failed |= replay_folder(argv[i], &n_files);
    printf("%d files replayed\n", n_files);
    return failed || n_files == 0;
}
