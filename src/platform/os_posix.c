/* os_posix.c - os.h on Linux and macOS but its files: time, maps, virtual memory, threads.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A mapped file that somebody shortens while it is in use ends the process with SIGBUS: nothing
 * short of a signal handler, which a library must not install, can prevent that. Programs replace
 * model files by renaming, as spn_file_write does, and not in place.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif

#include "platform/os.h"

#define NS_PER_S UINT64_C(1000000000)

/* ---- time ---- */

uint64_t spn_time_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

int64_t spn_time_unix(void) { return (int64_t)time(NULL); }

void spn_sleep_ms(uint32_t ms) {
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) continue;
}

spn_status spn_random_bytes(void *out, size_t n_bytes, spn_error *err) {
    enum { MOST = 256 }; /* getentropy's limit a call */
    for (size_t done = 0; done < n_bytes;) {
        size_t n = spn_min_size(n_bytes - done, MOST);
        if (getentropy((char *)out + done, n) != 0)
            return spn_fail_code(err, SPN_STATUS_IO, errno, "the system gave no random bytes: %s",
                                 strerror(errno));
        done += n;
    }
    return SPN_STATUS_OK;
}

/* ---- read-only file maps ---- */

static spn_status map_fail(spn_error *err, spn_status status, const char *path, const char *why) {
    return spn_fail_code(err, status, errno, "cannot map %s: %s", path, why);
}

static spn_status map_descriptor(spn_map *out, int fd, const char *path, spn_error *err) {
    struct stat st;
    if (fstat(fd, &st) != 0) return map_fail(err, SPN_STATUS_IO, path, strerror(errno));
    errno = 0;
    if (S_ISDIR(st.st_mode)) return map_fail(err, SPN_STATUS_IO, path, "it is a directory");
    if (!S_ISREG(st.st_mode)) return map_fail(err, SPN_STATUS_IO, path, "it is no regular file");
    if ((uintmax_t)st.st_size > SIZE_MAX)
        return map_fail(err, SPN_STATUS_NO_MEMORY, path, "it is larger than the address space");
    size_t n_bytes = (size_t)st.st_size;
    /* A map of no bytes does not exist: an empty file gets a page of nothing. */
    void *data = n_bytes ? mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0)
                         : mmap(NULL, 1, PROT_READ, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (data == MAP_FAILED)
        return map_fail(err, errno == ENOMEM ? SPN_STATUS_NO_MEMORY : SPN_STATUS_IO, path,
                        strerror(errno));
    *out = (spn_map){.data = data, .n_bytes = n_bytes, .handle = data};
    return SPN_STATUS_OK;
}

spn_status spn_map_open(spn_map *out, const char *path, spn_error *err) {
    /* O_NONBLOCK: opening a pipe without a writer would wait for one. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return spn_fail_code(err, SPN_STATUS_IO, errno, "cannot open %s: %s", path,
                             strerror(errno));
    spn_status status = map_descriptor(out, fd, path, err);
    close(fd);
    return status;
}

void spn_map_close(spn_map *map) {
    if (map->handle != NULL) munmap(map->handle, spn_max_size(map->n_bytes, 1));
    *map = (spn_map){0};
}

/* Widens a range to whole pages; the system's calls want that. */
static uintptr_t page_start(const void *data) {
    return (uintptr_t)data / spn_page_bytes() * spn_page_bytes();
}

void spn_map_will_need(const uint8_t *data, size_t n_bytes) {
    uintptr_t start = page_start(data);
    int saved = errno;
    posix_madvise((void *)start, n_bytes + ((uintptr_t)data - start), POSIX_MADV_WILLNEED);
    errno = saved;
}

spn_status spn_map_lock(const uint8_t *data, size_t n_bytes, spn_error *err) {
    uintptr_t start = page_start(data);
    if (mlock((const void *)start, n_bytes + ((uintptr_t)data - start)) == 0) return SPN_STATUS_OK;
    int code = errno;
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return spn_fail_code(err, SPN_STATUS_INSUFFICIENT_MEMORY, code,
                             "cannot lock %zu bytes in memory: %s", n_bytes, strerror(code));
    return spn_fail_code(err, SPN_STATUS_INSUFFICIENT_MEMORY, code,
                         "cannot lock %zu bytes in memory: %s; this process may lock %llu "
                         "(RLIMIT_MEMLOCK, `ulimit -l`): raise that limit, or do not lock",
                         n_bytes, strerror(code), (unsigned long long)limit.rlim_cur);
}

/* ---- virtual memory ---- */

size_t spn_page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

void *spn_vm_reserve(size_t n_bytes) {
    void *start =
        mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return NULL;
#ifdef MADV_NOHUGEPAGE
    /* Where huge pages are for everybody, a byte here and there would bring in 2 MiB each. */
    int saved = errno;
    madvise(start, n_bytes, MADV_NOHUGEPAGE);
    errno = saved;
#endif
    return start;
}

void spn_vm_release(void *start, size_t n_bytes) {
    if (start != NULL) munmap(start, n_bytes);
}

void spn_vm_want_huge(void *start, size_t n_bytes) {
#ifdef MADV_HUGEPAGE
    int saved = errno; /* EINVAL from a kernel without them */
    madvise(start, n_bytes, MADV_HUGEPAGE);
    errno = saved;
#else
    (void)start, (void)n_bytes;
#endif
}

/* Only Linux promises zeros after MADV_DONTNEED; elsewhere a fresh map takes the range's place. */
static bool drop_pages(void *start, size_t n_bytes) {
#ifdef __linux__
    return madvise(start, n_bytes, MADV_DONTNEED) == 0;
#else
    return mmap(start, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1,
                0) != MAP_FAILED;
#endif
}

void spn_vm_discard(void *start, size_t n_bytes) {
    uintptr_t page = spn_page_bytes();
    uintptr_t from = ((uintptr_t)start + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)start + n_bytes) / page * page;
    if (from >= to) return;
    void *first = (char *)start + (from - (uintptr_t)start);
    /* Locked pages cannot be dropped, but they can be cleared. */
    if (!drop_pages(first, to - from)) memset(first, 0, to - from);
}

/* ---- threads ---- */

struct spn_thread {
    pthread_t id;
    void (*run)(void *arg);
    void *arg;
    char name[16]; /* Linux takes 15 characters */
};

static void *thread_main(void *self) {
    spn_thread *thread = self;
#ifdef __APPLE__
    pthread_setname_np(thread->name);
#else
    pthread_setname_np(pthread_self(), thread->name);
#endif
    thread->run(thread->arg);
    return NULL;
}

/* The program's signals belong to the program's own threads, so ours start with all of them
 * blocked but those that report the thread's own faults. */
static void block_signals(sigset_t *before) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < SPN_COUNT(faults); i++) sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

spn_status spn_thread_start(spn_thread **out, void (*run)(void *arg), void *arg, const char *name,
                            spn_error *err) {
    spn_thread *thread = spn_alloc_zeroed(1, sizeof *thread);
    if (thread == NULL) return SPN_NO_MEMORY(err, "a thread");
    thread->run = run;
    thread->arg = arg;
    snprintf(thread->name, sizeof thread->name, "%s", name);
    sigset_t before;
    block_signals(&before);
    int code = pthread_create(&thread->id, NULL, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        spn_free(thread);
        return spn_fail_code(err, SPN_STATUS_NO_MEMORY, code, "cannot start the thread %s: %s",
                             name, strerror(code));
    }
    *out = thread;
    return SPN_STATUS_OK;
}

void spn_thread_join(spn_thread *thread) {
    if (thread == NULL) return;
    pthread_join(thread->id, NULL);
    spn_free(thread);
}

void spn_thread_yield(void) { sched_yield(); }

struct spn_mutex {
    pthread_mutex_t mutex;
};

spn_mutex *spn_mutex_create(void) {
    spn_mutex *mutex = spn_alloc(sizeof *mutex);
    if (mutex != NULL && pthread_mutex_init(&mutex->mutex, NULL) != 0) {
        spn_free(mutex);
        return NULL;
    }
    return mutex;
}

void spn_mutex_free(spn_mutex *mutex) {
    if (mutex == NULL) return;
    pthread_mutex_destroy(&mutex->mutex);
    spn_free(mutex);
}

static void must_be_zero(int code) {
    assert(code == 0); /* anything else is a misuse: not locked, not ours, destroyed */
    (void)code;
}

void spn_mutex_lock(spn_mutex *mutex) { must_be_zero(pthread_mutex_lock(&mutex->mutex)); }

void spn_mutex_unlock(spn_mutex *mutex) { must_be_zero(pthread_mutex_unlock(&mutex->mutex)); }

struct spn_cond {
    pthread_cond_t cond;
};

/* Timeouts count on the monotonic clock, so that setting the system's time does not move them. */
static int cond_init(pthread_cond_t *cond) {
#ifdef __APPLE__
    return pthread_cond_init(cond, NULL);
#else
    pthread_condattr_t attr;
    int code = pthread_condattr_init(&attr);
    if (code != 0) return code;
    code = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (code == 0) code = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return code;
#endif
}

spn_cond *spn_cond_create(void) {
    spn_cond *cond = spn_alloc(sizeof *cond);
    if (cond != NULL && cond_init(&cond->cond) != 0) {
        spn_free(cond);
        return NULL;
    }
    return cond;
}

void spn_cond_free(spn_cond *cond) {
    if (cond == NULL) return;
    pthread_cond_destroy(&cond->cond);
    spn_free(cond);
}

void spn_cond_wait(spn_cond *cond, spn_mutex *mutex) {
    must_be_zero(pthread_cond_wait(&cond->cond, &mutex->mutex));
}

bool spn_cond_wait_for(spn_cond *cond, spn_mutex *mutex, uint64_t timeout_ns) {
    /* A century stands for more than that: the sum below must not overflow. */
    const uint64_t longest = UINT64_C(100) * 366 * 24 * 3600 * NS_PER_S;
    if (timeout_ns > longest) timeout_ns = longest;
#ifdef __APPLE__
    struct timespec wait = {.tv_sec = (time_t)(timeout_ns / NS_PER_S),
                            .tv_nsec = (long)(timeout_ns % NS_PER_S)};
    int code = pthread_cond_timedwait_relative_np(&cond->cond, &mutex->mutex, &wait);
#else
    uint64_t end = spn_time_ns() + timeout_ns;
    struct timespec when = {.tv_sec = (time_t)(end / NS_PER_S), .tv_nsec = (long)(end % NS_PER_S)};
    int code = pthread_cond_timedwait(&cond->cond, &mutex->mutex, &when);
#endif
    return code != ETIMEDOUT;
}

void spn_cond_signal(spn_cond *cond) { pthread_cond_signal(&cond->cond); }

void spn_cond_broadcast(spn_cond *cond) { pthread_cond_broadcast(&cond->cond); }
