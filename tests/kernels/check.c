/* check.c - the harness: random inputs, guarded memory, signals, options, times.
 * SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "platform/os.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* ---- random inputs ---- */

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t check_random(check *c) {
    uint64_t z = c->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

size_t check_range(check *c, size_t low, size_t high) {
    return low + check_random(c) % (high - low + 1);
}

bool check_chance(check *c, unsigned percent) { return check_random(c) % 100 < percent; }

float check_uniform(check *c) { return (float)((double)check_random(c) * 0x1p-63 - 1.0); }

check_fill check_fill_any(check *c) {
    return check_chance(c, 60) ? CHECK_FILL_PLAIN : (check_fill)check_range(c, 0, CHECK_FILL_ODD);
}

static float odd_float(check *c) {
    static const float odd[] = {INFINITY, -INFINITY, NAN,    0.0f,    -0.0f, 3.4e38f, -3.4e38f,
                                88.5f,    -88.5f,    1e-45f, -104.0f, 0.5f,  -0.625f, 127.0f};
    return odd[check_random(c) % SPN_COUNT(odd)];
}

static float one_float(check *c, check_fill fill) {
    switch (fill) {
    case CHECK_FILL_WIDE: {
        float x = spn_f32_of_bits((uint32_t)check_random(c));
        return isfinite(x) ? x : 1.0f;
    }
    case CHECK_FILL_ZERO:
        return check_chance(c, 50) ? 0.0f : -0.0f;
    case CHECK_FILL_TINY:
        return spn_f32_of_bits((uint32_t)check_random(c) & 0x80ffffffu);
    case CHECK_FILL_ODD:
        return check_chance(c, 10) ? odd_float(c) : check_uniform(c) * 8.0f;
    default:
        return check_uniform(c) + check_uniform(c);
    }
}

void check_floats(check *c, float *x, size_t n, check_fill fill) {
    float scale = fill == CHECK_FILL_PLAIN && check_chance(c, 20) ? 20.0f : 1.0f;
    for (size_t i = 0; i < n; i++) x[i] = one_float(c, fill) * scale;
}

#define TRAITS(NAME, id, block, bytes, text) [id] = {text, block, bytes},
static const spn_type_traits traits[SPN_TYPE_LIMIT] = {SPN_TYPE_LIST(TRAITS)};

size_t check_block_len(spn_type type) { return traits[type].block_len; }
size_t check_row_bytes(spn_type type, size_t k) {
    return k / traits[type].block_len * traits[type].block_bytes;
}
const char *check_type_name(spn_type type) { return traits[type].name; }

static void put_half(check *c, uint8_t *at, check_fill fill) {
    float x = one_float(c, fill == CHECK_FILL_WIDE ? CHECK_FILL_PLAIN : fill);
    uint16_t half = fill == CHECK_FILL_TINY   ? (uint16_t)(check_random(c) & 0x87ff)
                    : fill == CHECK_FILL_WIDE ? (uint16_t)(check_random(c) & 0xfbff)
                                              : spn_f16_of_f32(x * 0.01f);
    memcpy(at, &half, 2);
}

/* Where the types keep their half-precision scales: offsets in a block, 0xff ends. */
static const uint8_t *scale_offsets(spn_type type) {
    static const uint8_t first[] = {0, 0xff}, two[] = {0, 2, 0xff}, none[] = {0xff};
    static const uint8_t q2_k[] = {80, 82, 0xff}, q3_k[] = {108, 0xff}, q6_k[] = {208, 0xff};
    static const uint8_t tq1[] = {52, 0xff}, tq2[] = {64, 0xff};
    switch (type) {
    case SPN_TYPE_Q4_1:
    case SPN_TYPE_Q5_1:
    case SPN_TYPE_Q4_K:
    case SPN_TYPE_Q5_K:
        return two;
    case SPN_TYPE_Q2_K:
        return q2_k;
    case SPN_TYPE_Q3_K:
        return q3_k;
    case SPN_TYPE_Q6_K:
        return q6_k;
    case SPN_TYPE_TQ1_0:
        return tq1;
    case SPN_TYPE_TQ2_0:
        return tq2;
    case SPN_TYPE_MXFP4:
    case SPN_TYPE_IQ1_M:
        return none;
    default:
        return first;
    }
}

static void float_blocks(check *c, uint8_t *w, spn_type type, size_t n_bytes, check_fill fill) {
    size_t bytes = type == SPN_TYPE_F32 ? 4 : 2;
    for (size_t i = 0; i < n_bytes / bytes; i++) {
        float x = one_float(c, fill);
        uint16_t half = type == SPN_TYPE_F16 ? spn_f16_of_f32(x) : spn_bf16_of_f32(x);
        memcpy(w + i * bytes, bytes == 4 ? (void *)&x : (void *)&half, bytes);
    }
}

void check_blocks(check *c, uint8_t *w, spn_type type, size_t n_bytes, check_fill fill) {
    if (type == SPN_TYPE_F32 || type == SPN_TYPE_F16 || type == SPN_TYPE_BF16) {
        float_blocks(c, w, type, n_bytes, fill);
        return;
    }
    unsigned pattern = (unsigned)check_range(c, 0, 9); /* all bits set or clear now and then */
    for (size_t i = 0; i < n_bytes; i++)
        w[i] = pattern == 0 ? 0xff : pattern == 1 ? 0 : (uint8_t)check_random(c);
    for (size_t at = 0; at + traits[type].block_bytes <= n_bytes; at += traits[type].block_bytes) {
        for (const uint8_t *o = scale_offsets(type); *o != 0xff; o++)
            put_half(c, w + at + *o, fill);
        if (type == SPN_TYPE_MXFP4 && fill == CHECK_FILL_PLAIN)
            w[at] = (uint8_t)(120 + check_random(c) % 16);
    }
}

/* ---- memory ---- */

enum { N_SLOTS = 32, POISON = 0x5a, POISON_ZONE = 256 };

typedef struct slot {
    uint8_t *start;
    size_t n_bytes; /* before the forbidden page */
    uint8_t *taken; /* NULL: free */
} slot;

static slot slots[N_SLOTS];

static bool slot_map(slot *s, size_t n_bytes) {
    size_t page = spn_page_bytes();
    n_bytes = (n_bytes + POISON_ZONE + page - 1) / page * page;
    if (s->start && s->n_bytes >= n_bytes) return true;
    if (s->start) munmap(s->start, s->n_bytes + page);
    *s = (slot){0};
    uint8_t *start =
        mmap(NULL, n_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED || mprotect(start + n_bytes, page, PROT_NONE) != 0) return false;
    *s = (slot){start, n_bytes, NULL};
    return true;
}

void *check_take(check *c, size_t n_bytes) {
    for (size_t i = 0; i < N_SLOTS; i++) {
        slot *s = &slots[i];
        if (s->taken) continue;
        if (!slot_map(s, n_bytes)) break;
        s->taken = s->start + s->n_bytes - n_bytes;
        memset(s->taken - POISON_ZONE, POISON, POISON_ZONE + n_bytes);
        return s->taken;
    }
    check_fail(c, "no memory for %zu bytes", n_bytes);
    exit(1);
}

void *check_take_aligned(check *c, size_t n_bytes) {
    return check_take(c, (n_bytes + 63) / 64 * 64);
}

void check_release(check *c) {
    for (size_t i = 0; i < N_SLOTS; i++) {
        if (!slots[i].taken) continue;
        for (size_t j = 1; j <= POISON_ZONE; j++)
            if (slots[i].taken[-(ptrdiff_t)j] != POISON)
                check_fail(c, "wrote %zu bytes before buffer %zu", j, i);
        slots[i].taken = NULL;
    }
}

/* ---- verdicts ---- */

void check_fail(check *c, const char *fmt, ...) {
    if (c->failed) return; /* one line a run is enough */
    c->failed = true;
    va_list args;
    printf("FAILED --level %s --func %s --seed %llu: ", spn_cpu_level_name(c->level->level),
           c->test->name, (unsigned long long)c->seed);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

void check_same_floats(check *c, const char *what, const float *ref, const float *got, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (spn_bits_of_f32(ref[i]) == spn_bits_of_f32(got[i])) continue;
        if (ref[i] != ref[i] && got[i] != got[i]) continue;
        check_fail(c, "%s[%zu] of %zu is %a, not %a", what, i, n, (double)got[i], (double)ref[i]);
        return;
    }
}

void check_same_bytes(check *c, const char *what, const void *ref, const void *got, size_t n) {
    const uint8_t *a = ref, *b = got;
    for (size_t i = 0; i < n; i++) {
        if (a[i] == b[i]) continue;
        check_fail(c, "%s: byte %zu of %zu is %02x, not %02x", what, i, n, b[i], a[i]);
        return;
    }
}

/* ---- bench ---- */

/* Of this thread, so that what else runs on the machine counts less. */
static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double check_time(void (*call)(void *arg), void *arg) {
    enum { RUNS = 7 };
    double times[RUNS];
    uint64_t start = cpu_ns();
    call(arg);
    uint64_t once = cpu_ns() - start;
    size_t repeat = once < 4000000 ? 4000000 / (once + 50) + 1 : 1;
    for (size_t i = 0; i < RUNS; i++) {
        start = cpu_ns();
        for (size_t j = 0; j < repeat; j++) call(arg);
        double seconds = (double)(cpu_ns() - start) * 1e-9 / (double)repeat;
        size_t at = i;
        for (; at > 0 && times[at - 1] > seconds; at--) times[at] = times[at - 1];
        times[at] = seconds;
    }
    return times[1]; /* disturbances only ever make a run slower */
}

static double cycles_per_second(void) {
#if defined(__x86_64__)
    static double known;
    if (known == 0.0) {
        uint64_t ns = spn_time_ns(), cycles = __rdtsc();
        while (spn_time_ns() - ns < 20000000) {
        }
        known = (double)(__rdtsc() - cycles) / ((double)(spn_time_ns() - ns) * 1e-9);
    }
    return known;
#else
    return 1e9; /* cycles are nanoseconds here */
#endif
}

void check_report(check *c, const char *shape, double seconds, double units, double bytes,
                  double macs) {
    printf("%s\t%s\t%s\t%.3f\t%.2f\t%.2f\n", spn_cpu_level_name(c->level->level), c->test->name,
           shape, seconds * cycles_per_second() / units, bytes / seconds * 1e-9,
           macs / seconds * 1e-9);
    fflush(stdout);
}

/* ---- the runner ---- */

typedef struct options {
    const char *func; /* a name's beginning */
    spn_cpu_level level;
    uint64_t seed;
    unsigned budget_ms; /* for each case of a level */
    bool one_seed, list, bench;
} options;

typedef struct tally {
    unsigned cases, runs, failed;
} tally;

static sigjmp_buf after_signal;
static volatile sig_atomic_t watching;

static void on_signal(int number) {
    if (!watching) _Exit(128 + number);
    siglongjmp(after_signal, number);
}

static void catch_signals(void) {
    const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
    for (size_t i = 0; i < SPN_COUNT(numbers); i++) sigaction(numbers[i], &action, NULL);
}

check_fn check_pointer(const spn_kernels *table, size_t offset) {
    check_fn fn;
    memcpy(&fn, (const char *)table + offset, sizeof(fn));
    return fn;
}

static bool run_once(check *c) {
    int number = sigsetjmp(after_signal, 1);
    if (number == 0) {
        watching = 1;
        c->test->run(c);
    } else {
        check_fail(c, "signal %d (%s)", number,
                   number == SIGILL ? "an instruction this processor lacks" : "memory");
    }
    watching = 0;
    check_release(c);
    return !c->failed;
}

static void run_case(check *c, const options *opt, tally *total) {
    uint64_t start = spn_time_ns();
    unsigned n = 0;
    do {
        c->seed = opt->seed + n++;
        c->state = c->seed * 0x2545f4914f6cdd1du + c->test->offset;
        c->failed = false;
        total->runs++;
        if (!run_once(c)) {
            total->failed++;
            return;
        }
    } while (!opt->one_seed &&
             (n < 6 || spn_time_ns() - start < (uint64_t)opt->budget_ms * 1000000));
}

static void visit(check *c, const options *opt, tally *total) {
    if (opt->func && strncmp(c->test->name, opt->func, strlen(opt->func)) != 0) return;
    check_fn own = check_pointer(c->level, c->test->offset);
    bool is_ref = c->level == c->ref;
    if (!own || (!is_ref && own == check_pointer(c->ref, c->test->offset))) return;
    if (is_ref && !opt->bench && !opt->list) return;
    total->cases++;
    if (opt->list) {
        printf("%s %s\n", spn_cpu_level_name(c->level->level), c->test->name);
    } else if (opt->bench) {
        if (c->test->bench) c->test->bench(c);
        check_release(c);
    } else {
        run_case(c, opt, total);
    }
}

static bool parse(int argc, char **argv, options *opt) {
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--list") == 0) {
            opt->list = true;
        } else if (strcmp(argv[i], "--bench") == 0) {
            opt->bench = true;
        } else if (!value) {
            return false;
        } else if (strcmp(argv[i], "--func") == 0) {
            opt->func = value, i++;
        } else if (strcmp(argv[i], "--level") == 0) {
            if (!spn_cpu_level_parse(value, &opt->level)) return false;
            i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            opt->seed = strtoull(value, NULL, 10), opt->one_seed = true, i++;
        } else if (strcmp(argv[i], "--budget") == 0) {
            opt->budget_ms = (unsigned)strtoul(value, NULL, 10), i++;
        } else {
            return false;
        }
    }
    return true;
}

static void visit_level(check *c, const options *opt, tally *total) {
    const check_case *families[] = {check_vec_cases(), check_row_cases(), check_mat_cases(),
                                    check_attn_cases(), check_delta_cases()};
    for (size_t f = 0; f < SPN_COUNT(families); f++)
        for (c->test = families[f]; c->test->name[0]; c->test++) visit(c, opt, total);
}

int main(int argc, char **argv) {
    options opt = {.seed = spn_time_ns() % 1000000007u, .budget_ms = 40};
    tally total = {0};
    check c = {.ref = spn_kernels_get(SPN_CPU_LEVEL_REF)};
    if (!parse(argc, argv, &opt) || !c.ref) {
        fprintf(stderr, "usage: check_kernels [--list] [--bench] [--func PREFIX] [--level LEVEL] "
                        "[--seed N] [--budget MS]\n");
        return 2;
    }
    catch_signals();
    if (opt.bench) puts("level\tkernel\tshape\tcycles/unit\tGB/s\tGMAC/s");
    for (int level = SPN_CPU_LEVEL_REF; level < SPN_CPU_LEVEL_COUNT; level++) {
        c.level = spn_kernels_get((spn_cpu_level)level);
        if (!c.level || (opt.level != SPN_CPU_LEVEL_DEFAULT && opt.level != (spn_cpu_level)level))
            continue;
        if (opt.bench) {
            static const check_case roof = {.name = "roof"};
            c.test = &roof;
            check_roof(&c);
            check_release(&c);
        }
        visit_level(&c, &opt, &total);
    }
    if (!opt.list && !opt.bench)
        printf("seed %llu: %u kernels, %u runs, %u failed\n", (unsigned long long)opt.seed,
               total.cases, total.runs, total.failed);
    return total.failed > 0;
}
