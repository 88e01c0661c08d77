/* measure.c - what bounds a model's speed here, and where a session's time goes.
 * SPDX-License-Identifier: Apache-2.0 */
#include "compute/roofline.h"
#include "runtime/session.h"

enum { LEAST_BYTES = 1 << 20 };
#define MOST_BYTES ((size_t)1 << 30)

spn_status spn_model_roofline(const spn_model *model, uint32_t n_threads, spn_roofline *out,
                              spn_error *err) {
    const uint8_t *data;
    size_t n_bytes;
    spn_pool *pool;
    spn_limits limits;
    spn_gguf_file_span(model->gguf, 0, &data, &n_bytes);
    if (n_bytes > MOST_BYTES) n_bytes = MOST_BYTES;
    if (n_bytes < LEAST_BYTES)
        return SPN_FAIL(err, INVALID_ARGUMENT, "a file of %zu bytes is too small to be measured",
                        n_bytes);
    SPN_TRY(spn_pool_create(&pool, n_threads, err));
    spn_limits_measure(spn_kernels_get(model->options.cpu_level), pool, data, n_bytes, &limits);
    *out = (spn_roofline){.read_gb_s = limits.read_bytes_s * 1e-9,
                          .int8_tops = limits.int8_ops_s * 1e-12,
                          .f32_gflops = limits.f32_ops_s * 1e-9};
    spn_pool_free(pool);
    return SPN_STATUS_OK;
}

bool spn_session_profile(const spn_session *session, size_t i, spn_profile_item *out) {
    const spn_backend_profile *profile = &session->profile;
    if (!session->options.profile || i >= SPN_OP_KIND_COUNT) return false;
    *out = (spn_profile_item){.name = spn_op_name((spn_op_kind)i),
                              .n = profile->n[i],
                              .seconds = 1e-9 * (double)profile->ns[i]};
    return true;
}
