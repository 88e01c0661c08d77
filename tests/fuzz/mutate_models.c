/* mutate_models.c - every golden model with bytes of its head changed at random.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Weights are most of a model's bytes, and changing them proves little; so the changes hit metadata
 * and the list of tensors. Every outcome but a crash is right. The seed is printed and may be given
 * as SPN_TEST_SEED, the number of changes a model as SPN_TEST_MUTATIONS. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gguf/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t random_state;

static uint64_t random_next(void) { /* splitmix64, Steele et al. 2014 */
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint8_t *read_all(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*size);
    if (data != NULL && fread(data, 1, *size, file) != *size) {
        free(data);
        data = NULL;
    }
    fclose(file);
    return data;
}

static size_t head_bytes(const uint8_t *data, size_t size) {
    spn_gguf *gguf;
    if (spn_gguf_open_bytes(&gguf, data, size, "model", NULL) != SPN_STATUS_OK) return 0;
    size_t head = size;
    for (size_t i = 0; i < spn_gguf_n_tensors(gguf); i++) {
        size_t at = (size_t)(spn_gguf_tensor_at(gguf, i)->data - data);
        if (at < head) head = at;
    }
    spn_gguf_close(gguf);
    return head;
}

static void change(uint8_t *data, size_t head) {
    static const uint8_t telling[] = {0, 1, 2, 4, 16, 127, 128, 255};
    for (uint64_t n = 1 + random_next() % 3; n > 0; n--) {
        uint64_t how = random_next();
        uint8_t *at = &data[how % head];
        *at = how >> 40 & 1 ? telling[how >> 41 & 7] : (uint8_t)(*at + (how >> 48) % 5 - 2);
    }
}

static int mutate(const char *path, int n_mutations) {
    size_t size = 0;
    uint8_t *data = read_all(path, &size), *copy = malloc(size ? size : 1);
    size_t head = data ? head_bytes(data, size) : 0;
    if (head == 0 || copy == NULL) {
        fprintf(stderr, "%s: no model\n", path);
        free(data);
        free(copy);
        return 1;
    }
    for (int i = 0; i < n_mutations; i++) {
        memcpy(copy, data, size);
        change(copy, head);
        LLVMFuzzerTestOneInput(copy, size);
    }
    free(data);
    free(copy);
    return 0;
}

int main(int argc, char **argv) {
    const char *seed = getenv("SPN_TEST_SEED"), *count = getenv("SPN_TEST_MUTATIONS");
    int n_mutations = count ? (int)strtol(count, NULL, 10) : 40, n_models = 0, failed = 0;
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)random_state);
    fflush(stdout);
    DIR *dir = argc > 1 ? opendir(argv[1]) : NULL;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        char path[4096];
        if (len < 5 || strcmp(entry->d_name + len - 5, ".gguf") != 0) continue;
        if (argc > 2 && strstr(entry->d_name, argv[2]) == NULL) continue;
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        failed |= mutate(path, n_mutations);
        n_models++;
    }
    if (dir != NULL) closedir(dir);
    printf("%d models, %d changes each\n", n_models, n_mutations);
    return failed || n_models == 0;
}
