/* model_path.c - from a MODEL argument to a file. SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/cli.h"
#ifdef SPN_HAVE_STORAGE
#include "cli/store.h"
#endif

static bool is_readable(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file != NULL) fclose(file);
    return file != NULL;
}

static int keep(const char *found, char *path, size_t n_path) {
    if (strlen(found) >= n_path)
        return spn_cli_fail("cannot open the model: its path is longer than %zu bytes", n_path - 1);
    memcpy(path, found, strlen(found) + 1);
    return SPN_EXIT_OK;
}

static int find_demo(char *path, size_t n_path) {
    static const char *const places[] = {SPN_DEMO_SOURCE_PATH, SPN_DEMO_BUILD_PATH,
                                         SPN_DEMO_INSTALL_PATH};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (is_readable(places[i])) return keep(places[i], path, n_path);
    return spn_cli_fail("cannot find the demo model: neither %s nor %s is there; give a path to a "
                        "GGUF file",
                        SPN_DEMO_SOURCE_PATH, SPN_DEMO_INSTALL_PATH);
}

#ifdef SPN_HAVE_STORAGE
static spn_status pull(spn_storage *storage, const char *reference, char **found, spn_error *err) {
    spn_download_request request = {.reference = reference};
    spn_download_result result = {0};
    spn_store_bar bar = {0};
    spn_store_bar_start(&bar, false, false);
    spn_status status =
        spn_storage_download(storage, &request, spn_store_bar_tell, &bar, &result, err);
    spn_store_bar_end(&bar);
    if (status != SPN_STATUS_OK) return status;
    if (result.notice[0]) fprintf(stderr, "spn-native: %s\n", result.notice);
    *found = result.path;
    result.path = NULL;
    spn_download_result_clear(&result);
    return SPN_STATUS_OK;
}

static int find_in_store(const char *reference, bool may_pull, char *path, size_t n_path) {
    int code = SPN_EXIT_FAILED;
    char *found = NULL;
    spn_error err = {0};
    spn_storage *storage = spn_store_open(NULL, &code);
    if (storage == NULL) return code;
    spn_status status = spn_storage_locate(storage, reference, &found, &err);
    if (status == SPN_STATUS_MODEL_NOT_FOUND && may_pull)
        status = pull(storage, reference, &found, &err);
    code = status == SPN_STATUS_OK ? keep(found, path, n_path) : spn_store_fail(&err, false);
    spn_free(found);
    spn_storage_close(storage);
    return code;
}
#endif

int spn_cli_find_model(const char *model, bool may_pull, char *path, size_t n_path) {
    if (strcmp(model, "demo") == 0) return find_demo(path, n_path);
#ifdef SPN_HAVE_STORAGE
    if (!is_readable(model) && model[0] != '/' && model[0] != '.' && model[0] != '\0')
        return find_in_store(model, may_pull, path, n_path);
#else
    (void)may_pull;
#endif
    return keep(model, path, n_path);
}

bool spn_cli_model_path(const char *model, char *path, size_t n_path) {
    return spn_cli_find_model(model, false, path, n_path) == SPN_EXIT_OK;
}
