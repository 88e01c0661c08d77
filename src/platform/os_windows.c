/* os_windows.c - os.h on Windows but its files: time, maps, virtual memory, threads.
 * SPDX-License-Identifier: Apache-2.0 */
#include "platform/win.h"

#include <bcrypt.h>
#include <limits.h>
#include <process.h>
#include <stdio.h>
#include <string.h>

#include "platform/os.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* ---- texts and errors ---- */

void spn_win_text(const wchar_t *text, char *out, size_t cap) {
    int most = cap > INT_MAX ? INT_MAX : (int)cap;
    int n = WideCharToMultiByte(CP_UTF8, 0, text, -1, out, most, NULL, NULL);
    if (n <= 0 && cap > 0) out[0] = '\0';
}

spn_status spn_win_path(const char *path, wchar_t **out, spn_error *err) {
    int n = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
    if (n <= 0) return SPN_FAIL(err, INVALID_ARGUMENT, "a path is no valid UTF-8");
    wchar_t *wide = spn_alloc_array((size_t)n, sizeof *wide);
    if (wide == NULL) return SPN_NO_MEMORY(err, "a path");
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, n);
    *out = wide;
    return SPN_STATUS_OK;
}

/* Error codes of newer headers, by their numbers so that older ones serve. */
enum { DISK_QUOTA_EXCEEDED = 1295 };

static spn_status status_of(DWORD code) {
    switch (code) {
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case DISK_QUOTA_EXCEEDED:
        return SPN_STATUS_DISK_FULL;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT:
        return SPN_STATUS_NO_MEMORY;
    default:
        return SPN_STATUS_IO;
    }
}

spn_status spn_win_fail(spn_error *err, DWORD code, const char *doing, const char *what) {
    wchar_t wide[256];
    char reason[512];
    DWORD n = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, code,
                             0, wide, (DWORD)SPN_COUNT(wide), NULL);
    while (n > 0 && (wide[n - 1] == L'\r' || wide[n - 1] == L'\n' || wide[n - 1] == L'.')) n--;
    wide[n] = L'\0';
    spn_win_text(wide, reason, sizeof reason);
    return spn_fail_code(err, status_of(code), (int)code, "cannot %s %s: %s", doing, what,
                         reason[0] != '\0' ? reason : "unknown error");
}

/* ---- time ---- */

uint64_t spn_time_ns(void) {
    LARGE_INTEGER count, per_s;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&per_s);
    uint64_t n = (uint64_t)count.QuadPart, f = (uint64_t)per_s.QuadPart;
    /* In two steps: n * 10^9 overflows after half an hour at 10 GHz. */
    return n / f * NS_PER_S + n % f * NS_PER_S / f;
}

int64_t spn_time_unix(void) {
    const int64_t from_1601_to_1970 = INT64_C(11644473600);
    FILETIME now;
    GetSystemTimeAsFileTime(&now);
    uint64_t ticks = (uint64_t)now.dwHighDateTime << 32 | now.dwLowDateTime; /* of 100 ns */
    return (int64_t)(ticks / 10000000) - from_1601_to_1970;
}

void spn_sleep_ms(uint32_t ms) { Sleep(ms == INFINITE ? INFINITE - 1 : ms); }

spn_status spn_random_bytes(void *out, size_t n_bytes, spn_error *err) {
    const size_t most = (size_t)1 << 20;
    for (size_t done = 0; done < n_bytes;) {
        size_t n = spn_min_size(n_bytes - done, most);
        NTSTATUS status =
            BCryptGenRandom(NULL, (PUCHAR)out + done, (ULONG)n, BCRYPT_USE_SYSTEM_PREFERRED_RNG);
        if (status < 0)
            return spn_fail_code(err, SPN_STATUS_IO, (int)status,
                                 "the system gave no random bytes: status 0x%08lx",
                                 (unsigned long)status);
        done += n;
    }
    return SPN_STATUS_OK;
}

/* ---- read-only file maps ---- */

/* An empty file cannot be mapped: it gets a page of nothing. */
static void *view_of(HANDLE file, uint64_t n_bytes) {
    if (n_bytes == 0) return VirtualAlloc(NULL, 1, MEM_RESERVE | MEM_COMMIT, PAGE_READONLY);
    HANDLE mapping = CreateFileMappingW(file, NULL, PAGE_READONLY, 0, 0, NULL);
    if (mapping == NULL) return NULL;
    void *view = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
    DWORD code = GetLastError();
    CloseHandle(mapping); /* the view keeps what it needs */
    SetLastError(code);
    return view;
}

static spn_status map_handle(spn_map *out, HANDLE file, const char *path, spn_error *err) {
    LARGE_INTEGER size;
    if (GetFileType(file) != FILE_TYPE_DISK)
        return SPN_FAIL(err, IO, "cannot map %s: it is no regular file", path);
    if (!GetFileSizeEx(file, &size)) return spn_win_fail(err, GetLastError(), "look at", path);
    if ((uint64_t)size.QuadPart > SIZE_MAX)
        return SPN_FAIL(err, NO_MEMORY, "cannot map %s: it is larger than the address space", path);
    void *view = view_of(file, (uint64_t)size.QuadPart);
    if (view == NULL) return spn_win_fail(err, GetLastError(), "map", path);
    *out = (spn_map){.data = view, .n_bytes = (size_t)size.QuadPart, .handle = view};
    return SPN_STATUS_OK;
}

spn_status spn_map_open(spn_map *out, const char *path, spn_error *err) {
    wchar_t *wide = NULL;
    SPN_TRY(spn_win_path(path, &wide, err));
    HANDLE file = CreateFileW(wide, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, NULL,
                              OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
    DWORD code = GetLastError();
    spn_free(wide);
    if (file == INVALID_HANDLE_VALUE) {
        if (spn_path_is_dir(path))
            return SPN_FAIL(err, IO, "cannot map %s: it is a directory", path);
        return spn_win_fail(err, code, "open", path);
    }
    spn_status status = map_handle(out, file, path, err);
    CloseHandle(file);
    return status;
}

void spn_map_close(spn_map *map) {
    if (map->handle != NULL && map->n_bytes > 0) UnmapViewOfFile(map->handle);
    if (map->handle != NULL && map->n_bytes == 0) VirtualFree(map->handle, 0, MEM_RELEASE);
    *map = (spn_map){0};
}

void spn_map_will_need(const uint8_t *data, size_t n_bytes) {
    WIN32_MEMORY_RANGE_ENTRY range = {(void *)(uintptr_t)data, n_bytes};
    PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

/* A process may lock little less than its working set's least size, so that is raised first. */
spn_status spn_map_lock(const uint8_t *data, size_t n_bytes, spn_error *err) {
    SIZE_T least = 0, most = 0;
    size_t want_least = 0, want_most = 0;
    HANDLE self = GetCurrentProcess();
    if (VirtualLock((void *)(uintptr_t)data, n_bytes)) return SPN_STATUS_OK;
    if (GetProcessWorkingSetSize(self, &least, &most) &&
        spn_add_size(least, n_bytes, &want_least) && spn_add_size(most, n_bytes, &want_most) &&
        SetProcessWorkingSetSize(self, want_least, want_most) &&
        VirtualLock((void *)(uintptr_t)data, n_bytes))
        return SPN_STATUS_OK;
    return spn_fail_code(err, SPN_STATUS_INSUFFICIENT_MEMORY, (int)GetLastError(),
                         "cannot lock %zu bytes in memory: the least size of this process' working "
                         "set is %zu bytes, and the system does not raise it",
                         n_bytes, (size_t)least);
}

/* ---- virtual memory ---- */

size_t spn_page_bytes(void) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwPageSize;
}

/* Windows has no overcommitment: the range counts against the system's commit limit from now on,
 * although its pages come when they are touched. */
void *spn_vm_reserve(size_t n_bytes) {
    return VirtualAlloc(NULL, n_bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

/* Large pages exist only for memory that is committed and locked from the start. */
void spn_vm_want_huge(void *start, size_t n_bytes) { (void)start, (void)n_bytes; }

void spn_vm_release(void *start, size_t n_bytes) {
    (void)n_bytes;
    if (start != NULL) VirtualFree(start, 0, MEM_RELEASE);
}

/* After MEM_RESET a page reads as before or as zero, at the system's choice: once it is cleared,
 * both are the same. Decommitting would clear it too, but committing it again may fail. */
void spn_vm_discard(void *start, size_t n_bytes) {
    uintptr_t page = spn_page_bytes();
    uintptr_t from = ((uintptr_t)start + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)start + n_bytes) / page * page;
    if (from >= to) return;
    void *first = (char *)start + (from - (uintptr_t)start);
    memset(first, 0, to - from);
    VirtualAlloc(first, to - from, MEM_RESET, PAGE_READWRITE);
}

/* ---- threads ---- */

struct spn_thread {
    HANDLE handle;
    void (*run)(void *arg);
    void *arg;
    wchar_t name[32];
};

typedef HRESULT WINAPI describe_thread(HANDLE thread, PCWSTR name);

/* The first versions of Windows 10 have no such call, so it is looked up. */
static void name_thread(const wchar_t *name) {
    HMODULE kernel = GetModuleHandleW(L"kernel32.dll");
    if (kernel == NULL) return;
    void (*found)(void) = (void (*)(void))GetProcAddress(kernel, "SetThreadDescription");
    if (found != NULL) ((describe_thread *)found)(GetCurrentThread(), name);
}

static unsigned __stdcall thread_main(void *self) {
    spn_thread *thread = self;
    name_thread(thread->name);
    thread->run(thread->arg);
    return 0;
}

spn_status spn_thread_start(spn_thread **out, void (*run)(void *arg), void *arg, const char *name,
                            spn_error *err) {
    spn_thread *thread = spn_alloc_zeroed(1, sizeof *thread);
    if (thread == NULL) return SPN_NO_MEMORY(err, "a thread");
    thread->run = run;
    thread->arg = arg;
    for (size_t i = 0; i + 1 < SPN_COUNT(thread->name) && name[i] != '\0'; i++)
        thread->name[i] = (wchar_t)(unsigned char)name[i];
    thread->handle = (HANDLE)_beginthreadex(NULL, 0, thread_main, thread, 0, NULL);
    if (thread->handle == NULL) {
        spn_free(thread);
        return spn_fail_code(err, SPN_STATUS_NO_MEMORY, 0, "cannot start the thread %s", name);
    }
    *out = thread;
    return SPN_STATUS_OK;
}

void spn_thread_join(spn_thread *thread) {
    if (thread == NULL) return;
    WaitForSingleObject(thread->handle, INFINITE);
    CloseHandle(thread->handle);
    spn_free(thread);
}

void spn_thread_yield(void) { SwitchToThread(); }

struct spn_mutex {
    SRWLOCK lock;
};

spn_mutex *spn_mutex_create(void) {
    spn_mutex *mutex = spn_alloc(sizeof *mutex);
    if (mutex != NULL) InitializeSRWLock(&mutex->lock);
    return mutex;
}

void spn_mutex_free(spn_mutex *mutex) { spn_free(mutex); }

void spn_mutex_lock(spn_mutex *mutex) { AcquireSRWLockExclusive(&mutex->lock); }

void spn_mutex_unlock(spn_mutex *mutex) { ReleaseSRWLockExclusive(&mutex->lock); }

struct spn_cond {
    CONDITION_VARIABLE cond;
};

spn_cond *spn_cond_create(void) {
    spn_cond *cond = spn_alloc(sizeof *cond);
    if (cond != NULL) InitializeConditionVariable(&cond->cond);
    return cond;
}

void spn_cond_free(spn_cond *cond) { spn_free(cond); }

void spn_cond_wait(spn_cond *cond, spn_mutex *mutex) {
    SleepConditionVariableSRW(&cond->cond, &mutex->lock, INFINITE, 0);
}

/* Up to the next millisecond, so that no wait ends early. One of more than 49 days is cut and ends
 * as if woken for no reason, which every caller must expect. */
bool spn_cond_wait_for(spn_cond *cond, spn_mutex *mutex, uint64_t timeout_ns) {
    uint64_t ms = timeout_ns / NS_PER_MS + (timeout_ns % NS_PER_MS != 0);
    bool cut = ms >= INFINITE;
    if (SleepConditionVariableSRW(&cond->cond, &mutex->lock, cut ? INFINITE - 1 : (DWORD)ms, 0))
        return true;
    return cut || GetLastError() != ERROR_TIMEOUT;
}

void spn_cond_signal(spn_cond *cond) { WakeConditionVariable(&cond->cond); }

void spn_cond_broadcast(spn_cond *cond) { WakeAllConditionVariable(&cond->cond); }
