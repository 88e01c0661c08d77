/* network.c - loading a network from a GGUF file. SPDX-License-Identifier: Apache-2.0 */
#include "model/network.h"

#include <string.h>

static spn_status find_arch(const spn_gguf *gguf, const spn_arch **out, spn_error *err) {
    spn_gguf_str name;
    SPN_TRY(spn_gguf_get_str(gguf, "general.architecture", true, &name, err));
    int shown = (int)spn_min_size(name.len, 64);
    *out = spn_arch_find(name.data, name.len);
    if (*out != NULL) return SPN_STATUS_OK;
    const char *missing = spn_arch_refusal(name.data, name.len);
    if (missing != NULL)
        return SPN_FAIL(err, UNSUPPORTED_ARCHITECTURE, "architecture '%.*s': %s", shown, name.data,
                        missing);
    return SPN_FAIL(err, UNSUPPORTED_ARCHITECTURE, "architecture '%.*s' is not known", shown,
                    name.data);
}

spn_status spn_network_load(spn_network **out, const spn_gguf *gguf, spn_error *err) {
    spn_status status = SPN_STATUS_OK;
    const spn_arch *arch;
    SPN_TRY(find_arch(gguf, &arch, err));
    spn_network *network = spn_alloc_zeroed(1, sizeof *network);
    bool *used = spn_alloc_zeroed(spn_gguf_n_tensors(gguf) + 1, sizeof *used);
    if (network == NULL || used == NULL) {
        status = SPN_NO_MEMORY(err, "the model's description");
        goto done;
    }
    network->arch = arch;
    network->arena.max = (size_t)4 << 30; /* deepseek2's old files have matrices to be turned */
    spn_loader loader = {.gguf = gguf, .network = network, .used = used};
    SPN_TRY_GOTO(spn_hparams_read(&loader, err));
    SPN_TRY_GOTO(spn_weights_bind(&loader, err));
    *out = network;
    network = NULL;
done:
    spn_free(used);
    spn_network_free(network);
    return status;
}

void spn_network_free(spn_network *network) {
    if (network == NULL) return;
    spn_arena_free(&network->arena);
    spn_free(network);
}
