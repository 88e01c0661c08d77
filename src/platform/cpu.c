/* cpu.c - processor levels and the processor's name. SPDX-License-Identifier: Apache-2.0
 *
 * A level counts as available when the processor has every instruction of its bundle and, on x86,
 * the operating system saves the registers they use (XCR0). Nothing is cached: CPUID is asked at
 * start-up only.
 * Bits: Intel's Software Developer's Manual, volume 2A, CPUID, and volume 1, chapter 13.
 */
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "platform/machine.h"
#include "platform/os.h"

static const char *const level_names[SPN_CPU_LEVEL_COUNT] = {
    [SPN_CPU_LEVEL_DEFAULT] = "default",
    [SPN_CPU_LEVEL_REF] = "ref",
    [SPN_CPU_LEVEL_AVX2] = "avx2",
    [SPN_CPU_LEVEL_AVX512] = "avx512",
    [SPN_CPU_LEVEL_AVX512BF16] = "avx512bf16",
    [SPN_CPU_LEVEL_NEON] = "neon",
    [SPN_CPU_LEVEL_DOTPROD] = "dotprod",
    [SPN_CPU_LEVEL_I8MM] = "i8mm",
};

const char *spn_cpu_level_name(spn_cpu_level level) {
    return (unsigned)level < SPN_CPU_LEVEL_COUNT ? level_names[level] : "unknown";
}

bool spn_cpu_level_parse(const char *name, spn_cpu_level *out) {
    for (unsigned i = 0; name != NULL && i < SPN_CPU_LEVEL_COUNT; i++) {
        if (strcmp(name, level_names[i]) != 0) continue;
        *out = (spn_cpu_level)i;
        return true;
    }
    return false;
}

#if defined(__x86_64__) || defined(__i386__)

#define BIT(n) (1u << (n))

typedef struct x86_bundle {
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx;
    uint32_t xcr0;        /* register sets that the system must save */
    uint32_t leaf7_1_eax; /* leaf 7's second part */
} x86_bundle;

/* OSXSAVE 27, AVX 28, FMA 12, F16C 29; BMI1 3, AVX2 5, BMI2 8; XMM 1, YMM 2 */
#define AVX2_LEAF1_ECX (BIT(12) | BIT(27) | BIT(28) | BIT(29))
#define AVX2_LEAF7_EBX (BIT(3) | BIT(5) | BIT(8))
#define AVX2_XCR0 (BIT(1) | BIT(2))

static const x86_bundle avx2 = {AVX2_LEAF1_ECX, AVX2_LEAF7_EBX, 0, AVX2_XCR0, 0};
/* F 16, DQ 17, BW 30, VL 31; VBMI 1, VNNI 11; mask registers 5, upper halves 6, ZMM16-31 7 */
#define AVX512_LEAF7_EBX (AVX2_LEAF7_EBX | BIT(16) | BIT(17) | BIT(30) | BIT(31))
#define AVX512_LEAF7_ECX (BIT(1) | BIT(11))
#define AVX512_XCR0 (AVX2_XCR0 | BIT(5) | BIT(6) | BIT(7))

static const x86_bundle avx512 = {AVX2_LEAF1_ECX, AVX512_LEAF7_EBX, AVX512_LEAF7_ECX, AVX512_XCR0,
                                  0};
/* AVX512_BF16 5 */
static const x86_bundle avx512bf16 = {AVX2_LEAF1_ECX, AVX512_LEAF7_EBX, AVX512_LEAF7_ECX,
                                      AVX512_XCR0, BIT(5)};

/* Legal only when OSXSAVE is set. */
static uint32_t read_xcr0(void) {
    uint32_t eax, edx;
    __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
    return eax;
}

static bool has_bundle(const x86_bundle *want) {
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
    if ((ecx & want->leaf1_ecx) != want->leaf1_ecx) return false;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
    if ((ebx & want->leaf7_ebx) != want->leaf7_ebx) return false;
    if ((ecx & want->leaf7_ecx) != want->leaf7_ecx) return false;
    if (want->leaf7_1_eax != 0 && (!__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) ||
                                   (eax & want->leaf7_1_eax) != want->leaf7_1_eax))
        return false;
    return (read_xcr0() & want->xcr0) == want->xcr0;
}

static bool level_runs(spn_cpu_level level) {
    if (level == SPN_CPU_LEVEL_AVX2) return has_bundle(&avx2);
    if (level == SPN_CPU_LEVEL_AVX512) return has_bundle(&avx512);
    return level == SPN_CPU_LEVEL_AVX512BF16 && has_bundle(&avx512bf16);
}

/* Leaf 4 (Intel) and leaf 0x8000001d (AMD) list the caches alike: in eax the kind (1: data, 0: no
 * more) and the level, in ebx and ecx their dimensions less one. */
static size_t l1d_of_leaf(uint32_t leaf) {
    uint32_t eax, ebx, ecx, edx;
    for (uint32_t i = 0; i < 8 && __get_cpuid_count(leaf, i, &eax, &ebx, &ecx, &edx); i++) {
        if ((eax & 31) == 0) break;
        if ((eax & 31) != 1 || (eax >> 5 & 7) != 1) continue;
        size_t ways = (ebx >> 22) + 1, parts = (ebx >> 12 & 1023) + 1, line = (ebx & 4095) + 1;
        return ways * parts * line * ((size_t)ecx + 1);
    }
    return 0;
}

size_t spn_cpu_l1d_bytes(void) {
    size_t n = l1d_of_leaf(4);
    return n != 0 ? n : l1d_of_leaf(0x8000001d);
}

/* 48 characters in three leaves; some makers pad them with blanks on the left. */
static bool own_name(char *out, size_t cap) {
    uint32_t words[12];
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                         &words[4 * i + 3]))
            return false;
    char text[sizeof words + 1];
    memcpy(text, words, sizeof words);
    text[sizeof words] = '\0';
    snprintf(out, cap, "%s", text + strspn(text, " "));
    return out[0] != '\0';
}

#else

static bool level_runs(spn_cpu_level level) {
#ifdef __aarch64__
    spn_arm_features features = spn_machine_arm_features();
    if (level == SPN_CPU_LEVEL_NEON) return true; /* part of the base architecture */
    if (level == SPN_CPU_LEVEL_DOTPROD) return features.dotprod;
    if (level == SPN_CPU_LEVEL_I8MM) return features.dotprod && features.i8mm;
#endif
    (void)level;
    return false;
}

size_t spn_cpu_l1d_bytes(void) { return 0; }

static bool own_name(char *out, size_t cap) {
    (void)out, (void)cap;
    return false;
}

#endif

bool spn_cpu_level_is_available(spn_cpu_level level) {
    if (level == SPN_CPU_LEVEL_DEFAULT || level == SPN_CPU_LEVEL_REF) return true;
    return level_runs(level);
}

static spn_cpu_level best_level(void) {
    unsigned level = SPN_CPU_LEVEL_COUNT - 1;
    while (!spn_cpu_level_is_available((spn_cpu_level)level)) level--;
    return (spn_cpu_level)level;
}

/* Keeps printable ASCII: the name goes to terminals and into JSON. */
static void clean_name(char *name) {
    size_t len = 0;
    for (const char *at = name; *at != '\0'; at++)
        if (*at >= ' ' && *at <= '~') name[len++] = *at;
    while (len > 0 && name[len - 1] == ' ') len--;
    name[len] = '\0';
}

spn_status spn_detect_cpu(spn_cpu_info *out, spn_error *err) {
    (void)err;
    spn_cpu_info info = {.level = best_level(),
                         .n_online = spn_machine_n_online(),
                         .n_usable = spn_machine_n_usable(),
                         .n_numa_nodes = spn_machine_n_numa_nodes()};
    if (!own_name(info.name, sizeof info.name) &&
        !spn_machine_cpu_name(info.name, sizeof info.name))
        info.name[0] = '\0';
    clean_name(info.name);
    if (info.name[0] == '\0') snprintf(info.name, sizeof info.name, "unknown");
    *out = info;
    return SPN_STATUS_OK;
}

uint32_t spn_cpu_usable(void) { return spn_machine_n_usable(); }
