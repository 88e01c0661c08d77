/* store_windows.c - os.h's folders, links, locks and disk room on Windows.
 * SPDX-License-Identifier: Apache-2.0 */
#include "platform/win.h"

#include <stdio.h>
#include <string.h>

#include "platform/os.h"

/* 100 ns steps from 1601 to 1970. */
#define EPOCH INT64_C(116444736000000000)

static HANDLE open_path(const char *path, DWORD access, DWORD flags) {
    wchar_t *wide;
    if (spn_win_path(path, &wide, NULL) != SPN_STATUS_OK) return INVALID_HANDLE_VALUE;
    HANDLE handle =
        CreateFileW(wide, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                    OPEN_EXISTING, flags, NULL);
    DWORD code = GetLastError();
    spn_free(wide);
    SetLastError(code);
    return handle;
}

bool spn_path_look(const char *path, spn_path_info *out) {
    BY_HANDLE_FILE_INFORMATION info;
    FILE_STANDARD_INFO more;
    HANDLE handle = open_path(path, FILE_READ_ATTRIBUTES,
                              FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT);
    if (handle == INVALID_HANDLE_VALUE) return false;
    bool ok = GetFileInformationByHandle(handle, &info) &&
              GetFileInformationByHandleEx(handle, FileStandardInfo, &more, sizeof more);
    CloseHandle(handle);
    if (!ok) return false;
    bool link = (info.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) != 0;
    bool dir = (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
    int64_t time = (int64_t)((uint64_t)info.ftLastWriteTime.dwHighDateTime << 32 |
                             info.ftLastWriteTime.dwLowDateTime);
    *out = (spn_path_info){
        .is_dir = dir && !link,
        .is_file = !dir && !link,
        .is_link = link,
        .n_bytes = (uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow,
        .n_allocated = (uint64_t)more.AllocationSize.QuadPart,
        .modified_ns = (time - EPOCH) * 100,
        .device = info.dwVolumeSerialNumber,
        .inode = (uint64_t)info.nFileIndexHigh << 32 | info.nFileIndexLow,
    };
    return true;
}

spn_status spn_dir_list(const char *path, bool (*each)(const char *name, void *user), void *user,
                        spn_error *err) {
    WIN32_FIND_DATAW found;
    wchar_t *wide;
    spn_buf pattern = SPN_BUF(0);
    spn_buf_printf(&pattern, "%s/*", path);
    spn_status status =
        pattern.failed ? SPN_NO_MEMORY(err, "a path") : spn_win_path(pattern.data, &wide, err);
    spn_buf_free(&pattern);
    if (status != SPN_STATUS_OK) return status;
    HANDLE search = FindFirstFileW(wide, &found);
    spn_free(wide);
    if (search == INVALID_HANDLE_VALUE)
        return spn_win_fail(err, GetLastError(), "read the folder", path);
    bool more = true;
    do {
        char name[4 * MAX_PATH];
        spn_win_text(found.cFileName, name, sizeof name);
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) more = each(name, user);
    } while (more && FindNextFileW(search, &found));
    DWORD code = GetLastError();
    FindClose(search);
    return !more || code == ERROR_NO_MORE_FILES ? SPN_STATUS_OK
                                                : spn_win_fail(err, code, "read the folder", path);
}

bool spn_dir_remove(const char *path) {
    wchar_t *wide;
    if (spn_win_path(path, &wide, NULL) != SPN_STATUS_OK) return false;
    bool ok = RemoveDirectoryW(wide);
    spn_free(wide);
    return ok;
}

spn_status spn_path_link(const char *from, const char *to, spn_error *err) {
    wchar_t *wide_from, *wide_to;
    SPN_TRY(spn_win_path(from, &wide_from, err));
    spn_status status = spn_win_path(to, &wide_to, err);
    if (status == SPN_STATUS_OK) {
        if (!CreateHardLinkW(wide_to, wide_from, NULL))
            status = spn_win_fail(err, GetLastError(), "hard-link", from);
        spn_free(wide_to);
    }
    spn_free(wide_from);
    return status;
}

spn_status spn_path_clone(const char *from, const char *to, spn_error *err) {
    (void)to;
    return SPN_FAIL(err, IO, "cannot clone %s: not supported here", from);
}

spn_status spn_path_real(const char *path, char **out, spn_error *err) {
    wchar_t real[4096];
    char text[3 * 4096];
    HANDLE handle = open_path(path, FILE_READ_ATTRIBUTES, FILE_FLAG_BACKUP_SEMANTICS);
    if (handle == INVALID_HANDLE_VALUE) return spn_win_fail(err, GetLastError(), "find", path);
    DWORD n = GetFinalPathNameByHandleW(handle, real, 4096, FILE_NAME_NORMALIZED);
    DWORD code = GetLastError();
    CloseHandle(handle);
    if (n == 0 || n >= 4096) return spn_win_fail(err, code, "find", path);
    /* "\\?\C:\x": the rest of the library takes and gives "/". */
    spn_win_text(wcsncmp(real, L"\\\\?\\", 4) == 0 ? real + 4 : real, text, sizeof text);
    for (char *c = text; *c; c++)
        if (*c == '\\') *c = '/';
    char *copy = spn_strdup(text);
    if (copy == NULL) return SPN_NO_MEMORY(err, "a path");
    *out = copy;
    return SPN_STATUS_OK;
}

spn_status spn_home_dir(char **out, spn_error *err) {
    /* The profile's folder is in the environment only, short of loading the shell's library. */
    wchar_t wide[4096];
    char text[3 * 4096];
    DWORD n = GetEnvironmentVariableW(L"USERPROFILE", wide, 4096);
    if (n == 0 || n >= 4096) return SPN_FAIL(err, IO, "the system knows no home of this user");
    spn_win_text(wide, text, sizeof text);
    for (char *c = text; *c; c++)
        if (*c == '\\') *c = '/';
    char *copy = spn_strdup(text);
    if (copy == NULL) return SPN_NO_MEMORY(err, "a path");
    *out = copy;
    return SPN_STATUS_OK;
}

/* ---- locks ---- */

struct spn_lock {
    HANDLE handle;
};

/* The file goes with its last handle, so a lock's name never outlives it. The locked byte lies far
 * behind the text, which others may read. */
spn_status spn_lock_try(spn_lock **out, const char *path, spn_error *err) {
    wchar_t *wide;
    char who[100];
    OVERLAPPED at = {.OffsetHigh = 1};
    DWORD n;
    SPN_TRY(spn_win_path(path, &wide, err));
    HANDLE handle = CreateFileW(wide, GENERIC_READ | GENERIC_WRITE | DELETE,
                                FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                                OPEN_ALWAYS, FILE_FLAG_DELETE_ON_CLOSE, NULL);
    DWORD code = GetLastError();
    spn_free(wide);
    if (handle == INVALID_HANDLE_VALUE) {
        if (code == ERROR_ACCESS_DENIED || code == ERROR_DELETE_PENDING)
            return SPN_FAIL(err, BUSY, "%s is held by another process", path);
        return spn_win_fail(err, code, "create the lock", path);
    }
    if (!LockFileEx(handle, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)) {
        CloseHandle(handle);
        return SPN_FAIL(err, BUSY, "%s is held by another process", path);
    }
    spn_lock *lock = spn_alloc(sizeof *lock);
    if (lock == NULL) {
        CloseHandle(handle);
        return SPN_NO_MEMORY(err, "a lock");
    }
    snprintf(who, sizeof who, "process %lu\n", (unsigned long)GetCurrentProcessId());
    (void)WriteFile(handle, who, (DWORD)strlen(who), &n, NULL);
    lock->handle = handle;
    *out = lock;
    return SPN_STATUS_OK;
}

void spn_lock_release(spn_lock *lock) {
    if (lock == NULL) return;
    CloseHandle(lock->handle);
    spn_free(lock);
}

/* ---- room and use ---- */

spn_status spn_disk_room_of(const char *path, spn_disk_room *out, spn_error *err) {
    wchar_t *wide;
    ULARGE_INTEGER available, total;
    SPN_TRY(spn_win_path(path, &wide, err));
    bool ok = GetDiskFreeSpaceExW(wide, &available, &total, NULL);
    DWORD code = GetLastError();
    spn_free(wide);
    if (!ok) return spn_win_fail(err, code, "ask for the disk's room at", path);
    *out = (spn_disk_room){.total = total.QuadPart, .available = available.QuadPart};
    return SPN_STATUS_OK;
}

bool spn_file_in_use(const char *path) {
    wchar_t *wide;
    if (spn_win_path(path, &wide, NULL) != SPN_STATUS_OK) return false;
    /* Shared with nobody: refused while anybody has it open. */
    HANDLE handle = CreateFileW(wide, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    bool used = handle == INVALID_HANDLE_VALUE && GetLastError() == ERROR_SHARING_VIOLATION;
    if (handle != INVALID_HANDLE_VALUE) CloseHandle(handle);
    spn_free(wide);
    return used;
}
