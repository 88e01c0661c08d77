/* platform.h - what the machine offers: memory and processor.
 * SPDX-License-Identifier: Apache-2.0
 *
 * All functions here may be called from any thread at any time.
 */
#ifndef SPN_PLATFORM_H
#define SPN_PLATFORM_H

#include "spn/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Memory in bytes. A container's or service's limit counts: `total` and `available` are never more
 * than the control group (cgroup v1 or v2, with all its parents) allows. */
typedef struct spn_ram_info {
    uint64_t total;        /* what this process could ever use */
    uint64_t available;    /* what it could use now without swapping; page cache counts as free */
    uint64_t host_total;   /* the machine's own memory */
    uint64_t cgroup_limit; /* 0: no limit below host_total */
} spn_ram_info;

/* Linux: /proc/meminfo and the cgroup files; macOS: sysctl and Mach statistics; Windows:
 * GlobalMemoryStatusEx and the job object. Errors: IO (the system gave no answer). */
SPN_API spn_status spn_detect_ram(spn_ram_info *out, spn_error *err);

/* Levels of processor instructions, each a bundle that kernels exist for. A level includes those
 * above it in its own family (x86: AVX2, AVX512, AVX512BF16; ARM: NEON, DOTPROD, I8MM). */
typedef enum spn_cpu_level {
    SPN_CPU_LEVEL_DEFAULT,    /* in options: the best one available */
    SPN_CPU_LEVEL_REF,        /* portable C */
    SPN_CPU_LEVEL_AVX2,       /* AVX2, FMA, F16C, BMI1, BMI2 */
    SPN_CPU_LEVEL_AVX512,     /* AVX-512 F BW DQ VL VBMI VNNI, and AVX2's bundle */
    SPN_CPU_LEVEL_AVX512BF16, /* and AVX512_BF16 */
    SPN_CPU_LEVEL_NEON,       /* ARMv8-A Advanced SIMD */
    SPN_CPU_LEVEL_DOTPROD,    /* and SDOT/UDOT, half-precision conversion */
    SPN_CPU_LEVEL_I8MM,       /* and SMMLA/UMMLA */
    SPN_CPU_LEVEL_COUNT
} spn_cpu_level;

/* "ref", "avx2", …; "default" for DEFAULT; "unknown" for other numbers. Static text. */
SPN_API const char *spn_cpu_level_name(spn_cpu_level level);
/* The level of that name; false (and *out untouched) when there is none. */
SPN_API bool spn_cpu_level_parse(const char *name, spn_cpu_level *out);
/* Whether this processor and operating system can run that level. */
SPN_API bool spn_cpu_level_is_available(spn_cpu_level level);

typedef struct spn_cpu_info {
    char name[64];       /* the maker's name of the processor; "unknown" where there is none */
    spn_cpu_level level; /* the best one available */
    uint32_t n_online;   /* processors the machine has switched on */
    uint32_t n_usable; /* processors this process may use: affinity and cgroup quota, at least 1 */
    uint32_t n_numa_nodes;
} spn_cpu_info;

/* Never fails at present; what the system does not tell is "unknown", or 1. */
SPN_API spn_status spn_detect_cpu(spn_cpu_info *out, spn_error *err);

typedef enum spn_device_kind { SPN_DEVICE_KIND_CPU, SPN_DEVICE_KIND_GPU } spn_device_kind;

/* Something that could run a model (the seed's GpuInfo, for processors too). */
typedef struct spn_device_info {
    spn_device_kind kind;
    char name[64];         /* "AMD EPYC"; of a GPU its maker and PCI number where that is all that
                              the system tells */
    char backend[16];      /* "cpu"; "" where this library cannot use the device */
    uint64_t memory_total; /* bytes; 0: not known */
    uint64_t memory_available;
    bool is_usable;
    char note[160]; /* why it is not usable; "" otherwise */
} spn_device_info;

/* The devices of this machine, usable or not: first the processor, then GPUs. Writes at most
 * `n_max` of them and sets *n to how many there are. GPUs are looked for on Linux (sysfs). Errors:
 * IO (the system gave no answer about memory). */
SPN_API spn_status spn_detect_devices(spn_device_info *out, size_t n_max, size_t *n,
                                      spn_error *err);

#ifdef __cplusplus
}
#endif
#endif
