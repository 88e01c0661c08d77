/* reference.c - models by the store's references. SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"
#include "spn/executor.h"
#include "spn/runtime.h"
#include "spn/storage.h"

spn_status spn_runtime_load_reference(spn_runtime *runtime, struct spn_storage *storage,
                                      const char *reference, const spn_load_config *config,
                                      spn_error *err) {
    char *path = NULL;
    SPN_TRY(spn_storage_locate(storage, reference, &path, err));
    spn_status status = spn_runtime_load(runtime, path, config, err);
    spn_free(path);
    return status;
}

spn_status spn_executor_locate(const char *reference, char **path, void *user, spn_error *err) {
    return spn_storage_locate(user, reference, path, err);
}
