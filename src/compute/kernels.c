/* kernels.c - a table of kernels for each level, built once from what this build has.
 * SPDX-License-Identifier: Apache-2.0
 *
 * kernel_levels.h, which the build generates, defines SPN_HAVE_<LEVEL>_<FAMILY> for each file that
 * it compiles.
 */
#include "compute/kernels.h"

#include "compute/kernel_levels.h"
#include "platform/os.h"

typedef void (*init_fn)(spn_kernels *table);

static const struct {
    spn_cpu_level level;
    init_fn init;
} initialisers[] = {
    /* In the order they override each other. */
    {SPN_CPU_LEVEL_REF, spn_vec_init_ref},
    {SPN_CPU_LEVEL_REF, spn_fmat_init_ref},
    {SPN_CPU_LEVEL_REF, spn_qmat_init_ref},
    {SPN_CPU_LEVEL_REF, spn_attn_init_ref},
    {SPN_CPU_LEVEL_REF, spn_delta_init_ref},
    {SPN_CPU_LEVEL_REF, spn_roof_init_ref},
#ifdef SPN_HAVE_AVX2_ROOF
    {SPN_CPU_LEVEL_AVX2, spn_roof_init_avx2},
#endif
#ifdef SPN_HAVE_AVX512_ROOF
    {SPN_CPU_LEVEL_AVX512, spn_roof_init_avx512},
#endif
#ifdef SPN_HAVE_AVX2_VEC
    {SPN_CPU_LEVEL_AVX2, spn_vec_init_avx2},
#endif
#ifdef SPN_HAVE_AVX2_FMAT
    {SPN_CPU_LEVEL_AVX2, spn_fmat_init_avx2},
#endif
#ifdef SPN_HAVE_AVX2_ATTN
    {SPN_CPU_LEVEL_AVX2, spn_attn_init_avx2},
#endif
#ifdef SPN_HAVE_AVX2_DELTA
    {SPN_CPU_LEVEL_AVX2, spn_delta_init_avx2},
#endif
#ifdef SPN_HAVE_AVX2_QMAT
    {SPN_CPU_LEVEL_AVX2, spn_qmat_init_avx2},
#endif
#ifdef SPN_HAVE_AVX512_VEC
    {SPN_CPU_LEVEL_AVX512, spn_vec_init_avx512},
#endif
#ifdef SPN_HAVE_AVX512_FMAT
    {SPN_CPU_LEVEL_AVX512, spn_fmat_init_avx512},
#endif
#ifdef SPN_HAVE_AVX512BF16_FMAT
    {SPN_CPU_LEVEL_AVX512BF16, spn_fmat_init_avx512bf16},
#endif
#ifdef SPN_HAVE_AVX512_ATTN
    {SPN_CPU_LEVEL_AVX512, spn_attn_init_avx512},
#endif
#ifdef SPN_HAVE_AVX512_DELTA
    {SPN_CPU_LEVEL_AVX512, spn_delta_init_avx512},
#endif
#ifdef SPN_HAVE_AVX512_QMAT
    {SPN_CPU_LEVEL_AVX512, spn_qmat_init_avx512},
#endif
#ifdef SPN_HAVE_NEON_VEC
    {SPN_CPU_LEVEL_NEON, spn_vec_init_neon},
#endif
#ifdef SPN_HAVE_NEON_FMAT
    {SPN_CPU_LEVEL_NEON, spn_fmat_init_neon},
#endif
#ifdef SPN_HAVE_NEON_ATTN
    {SPN_CPU_LEVEL_NEON, spn_attn_init_neon},
#endif
#ifdef SPN_HAVE_NEON_DELTA
    {SPN_CPU_LEVEL_NEON, spn_delta_init_neon},
#endif
#ifdef SPN_HAVE_NEON_QMAT
    {SPN_CPU_LEVEL_NEON, spn_qmat_init_neon},
#endif
#ifdef SPN_HAVE_DOTPROD_QMAT
    {SPN_CPU_LEVEL_DOTPROD, spn_qmat_init_dotprod},
#endif
#ifdef SPN_HAVE_I8MM_QMAT
    {SPN_CPU_LEVEL_I8MM, spn_qmat_init_i8mm},
#endif
};

/* Whether this build has files of a level. */
static bool level_is_built(spn_cpu_level level) {
    for (size_t i = 0; i < SPN_COUNT(initialisers); i++)
        if (initialisers[i].level == level) return true;
    return false;
}

/* Also a panel of 32 rows of four bytes an element, which the levels of ARM fill. A level that
 * needs more sets its own. */
static size_t scratch_default(size_t k) {
    return spn_max_size(spn_fmat_scratch(k), 32 * 4 * k + 65536);
}

atomic_bool spn_fetch_near;
#define NEAR_FETCH_L1D_BYTES ((size_t)48 * 1024)

static bool is_usable(spn_cpu_level level) {
    return level_is_built(level) && spn_cpu_level_is_available(level);
}

/* The best level below `limit` that there is; REF is always. */
static spn_cpu_level best_level_below(int limit) {
    int level = limit - 1;
    while (level > SPN_CPU_LEVEL_REF && !is_usable((spn_cpu_level)level)) level--;
    return (spn_cpu_level)level;
}

/* A level adds its files to the table of the one below, so that each of them is set up once. */
static void build(spn_kernels *table, spn_cpu_level level) {
    if (level == SPN_CPU_LEVEL_REF) {
        atomic_store_explicit(&spn_fetch_near, spn_cpu_l1d_bytes() >= NEAR_FETCH_L1D_BYTES,
                              memory_order_relaxed);
        table->matmul_scratch = scratch_default;
    } else {
        *table = *spn_kernels_get(best_level_below(level));
    }
    for (size_t i = 0; i < SPN_COUNT(initialisers); i++)
        if (initialisers[i].level == level) initialisers[i].init(table);
    table->level = level;
}

const spn_kernels *spn_kernels_get(spn_cpu_level level) {
    static spn_kernels tables[SPN_CPU_LEVEL_COUNT];
    static atomic_int states[SPN_CPU_LEVEL_COUNT]; /* 0 empty, 1 being built, 2 there */
    if (level == SPN_CPU_LEVEL_DEFAULT) level = best_level_below(SPN_CPU_LEVEL_COUNT);
    if ((unsigned)level >= SPN_CPU_LEVEL_COUNT || !is_usable(level)) return NULL;
    int state = 0;
    if (atomic_compare_exchange_strong(&states[level], &state, 1)) {
        build(&tables[level], level);
        atomic_store_explicit(&states[level], 2, memory_order_release);
    }
    /* Acquire pairs with the release above: who sees 2 sees the table. */
    while (atomic_load_explicit(&states[level], memory_order_acquire) != 2) spn_cpu_relax();
    return &tables[level];
}

size_t spn_attn_scratch(size_t n_q, size_t dim_k, size_t dim_v) {
    /* In floats: a block's K and V, and for each query row its scores, its output (rounded up to
     * whole registers) and a few numbers. */
    size_t wide_v = (dim_v + 15) / 16 * 16;
    return 4 * (SPN_KV_BLOCK * (dim_k + wide_v) + n_q * (SPN_KV_BLOCK + wide_v + 16) + 64);
}
