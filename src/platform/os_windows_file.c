/* os_windows_file.c - os.h's files on Windows. SPDX-License-Identifier: Apache-2.0 */
#include "platform/win.h"

#include <stdio.h>
#include <string.h>

#include "platform/os.h"

/* ---- files open for positioned reads and writes ---- */

struct spn_file {
    HANDLE handle;
    char path[]; /* for messages */
};

static HANDLE open_handle(const wchar_t *path, spn_file_mode mode) {
    static const DWORD how[] = {[SPN_FILE_READ] = OPEN_EXISTING,
                                [SPN_FILE_WRITE_NEW] = CREATE_ALWAYS,
                                [SPN_FILE_UPDATE] = OPEN_ALWAYS};
    DWORD access = mode == SPN_FILE_READ ? GENERIC_READ : GENERIC_READ | GENERIC_WRITE;
    return CreateFileW(path, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL,
                       how[mode], FILE_ATTRIBUTE_NORMAL, NULL);
}

spn_status spn_file_open(spn_file **out, const char *path, spn_file_mode mode, spn_error *err) {
    size_t len = strlen(path) + 1;
    wchar_t *wide = NULL;
    SPN_TRY(spn_win_path(path, &wide, err));
    spn_file *file = spn_alloc(sizeof *file + len);
    if (file == NULL) {
        spn_free(wide);
        return SPN_NO_MEMORY(err, "an open file");
    }
    memcpy(file->path, path, len);
    file->handle = open_handle(wide, mode);
    DWORD code = GetLastError();
    spn_free(wide);
    if (file->handle == INVALID_HANDLE_VALUE) {
        spn_free(file);
        return spn_win_fail(err, code, mode == SPN_FILE_READ ? "open" : "create", path);
    }
    *out = file;
    return SPN_STATUS_OK;
}

void spn_file_close(spn_file *file) {
    if (file == NULL) return;
    CloseHandle(file->handle);
    spn_free(file);
}

static bool range_fits(size_t n_bytes, uint64_t offset) {
    return offset <= INT64_MAX && n_bytes <= INT64_MAX - offset;
}

static OVERLAPPED place(uint64_t offset) {
    OVERLAPPED at = {0};
    at.Offset = (DWORD)(offset & 0xFFFFFFFF);
    at.OffsetHigh = (DWORD)(offset >> 32);
    return at;
}

/* A piece of a large request: the calls count in 32 bits. */
static DWORD piece(size_t n_bytes) { return (DWORD)spn_min_size(n_bytes, (size_t)1 << 30); }

spn_status spn_file_read_at(spn_file *file, void *out, size_t n_bytes, uint64_t offset,
                            size_t *n_read, spn_error *err) {
    if (!range_fits(n_bytes, offset))
        return SPN_FAIL(err, INVALID_ARGUMENT, "no file reaches to byte %llu",
                        (unsigned long long)offset);
    size_t done = 0;
    while (done < n_bytes) {
        OVERLAPPED at = place(offset + done);
        DWORD n = 0;
        if (!ReadFile(file->handle, (char *)out + done, piece(n_bytes - done), &n, &at)) {
            DWORD code = GetLastError();
            if (code == ERROR_HANDLE_EOF) break;
            return spn_win_fail(err, code, "read", file->path);
        }
        if (n == 0) break;
        done += n;
    }
    *n_read = done;
    return SPN_STATUS_OK;
}

spn_status spn_file_write_at(spn_file *file, const void *bytes, size_t n_bytes, uint64_t offset,
                             spn_error *err) {
    if (!range_fits(n_bytes, offset))
        return SPN_FAIL(err, INVALID_ARGUMENT, "no file reaches to byte %llu",
                        (unsigned long long)offset);
    for (size_t done = 0; done < n_bytes;) {
        OVERLAPPED at = place(offset + done);
        DWORD n = 0;
        if (!WriteFile(file->handle, (const char *)bytes + done, piece(n_bytes - done), &n, &at))
            return spn_win_fail(err, GetLastError(), "write", file->path);
        if (n == 0) return spn_win_fail(err, ERROR_WRITE_FAULT, "write", file->path);
        done += n;
    }
    return SPN_STATUS_OK;
}

spn_status spn_file_sync(spn_file *file, spn_error *err) {
    if (FlushFileBuffers(file->handle)) return SPN_STATUS_OK;
    return spn_win_fail(err, GetLastError(), "sync", file->path);
}

spn_status spn_file_size(spn_file *file, uint64_t *out, spn_error *err) {
    LARGE_INTEGER size;
    if (!GetFileSizeEx(file->handle, &size))
        return spn_win_fail(err, GetLastError(), "look at", file->path);
    *out = (uint64_t)size.QuadPart;
    return SPN_STATUS_OK;
}

spn_status spn_file_lengthen(spn_file *file, uint64_t n_bytes, spn_error *err) {
    FILE_END_OF_FILE_INFO end;
    if (!range_fits(0, n_bytes)) return SPN_FAIL(err, INVALID_ARGUMENT, "no file can be so long");
    end.EndOfFile.QuadPart = (LONGLONG)n_bytes; /* takes the room, too */
    if (!SetFileInformationByHandle(file->handle, FileEndOfFileInfo, &end, sizeof end))
        return spn_win_fail(err, GetLastError(), "make room for", file->path);
    return SPN_STATUS_OK;
}

spn_status spn_file_reserve(spn_file *file, uint64_t offset, uint64_t n_bytes, spn_error *err) {
    (void)file, (void)offset, (void)n_bytes, (void)err; /* the length took the room already */
    return SPN_STATUS_OK;
}

spn_status spn_file_allocate(spn_file *file, uint64_t n_bytes, spn_error *err) {
    return spn_file_lengthen(file, n_bytes, err);
}

void spn_file_start_writing(spn_file *file, uint64_t offset, uint64_t n_bytes) {
    (void)file, (void)offset, (void)n_bytes;
}

/* ---- whole small files ---- */

static spn_status read_all(spn_file *file, size_t max, spn_buf *buf, spn_error *err) {
    for (;;) {
        char chunk[16384];
        size_t n = 0;
        SPN_TRY(spn_file_read_at(file, chunk, sizeof chunk, buf->len, &n, err));
        if (n == 0) return SPN_STATUS_OK;
        if (n > max - buf->len)
            return SPN_FAIL(err, FORMAT, "%s is larger than %zu bytes, the most that is read",
                            file->path, max);
        if (!spn_buf_append(buf, chunk, n)) return SPN_NO_MEMORY(err, file->path);
    }
}

spn_status spn_file_read(const char *path, size_t max, char **text, size_t *n_bytes,
                         spn_error *err) {
    spn_file *file = NULL;
    SPN_TRY(spn_file_open(&file, path, SPN_FILE_READ, err));
    spn_buf buf = SPN_BUF(spn_max_size(max, 1)); /* a limit of 0 would mean another */
    spn_status status;
    SPN_TRY_GOTO(read_all(file, max, &buf, err));
    size_t len = buf.len;
    char *taken = spn_buf_take(&buf, NULL);
    if (taken == NULL) {
        status = SPN_NO_MEMORY(err, path);
        goto done;
    }
    *text = taken;
    if (n_bytes != NULL) *n_bytes = len;
done:
    spn_file_close(file);
    spn_buf_free(&buf);
    return status;
}

/* Write-through: the name reaches the disk before the call returns. */
spn_status spn_path_rename(const char *from, const char *to, spn_error *err) {
    wchar_t *wide_from = NULL, *wide_to = NULL;
    spn_status status;
    SPN_TRY_GOTO(spn_win_path(from, &wide_from, err));
    SPN_TRY_GOTO(spn_win_path(to, &wide_to, err));
    if (!MoveFileExW(wide_from, wide_to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH))
        status = spn_win_fail(err, GetLastError(), "rename a file to", to);
done:
    spn_free(wide_from);
    spn_free(wide_to);
    return status;
}

spn_status spn_path_remove(const char *path, spn_error *err) {
    wchar_t *wide = NULL;
    SPN_TRY(spn_win_path(path, &wide, err));
    DWORD code = DeleteFileW(wide) ? ERROR_SUCCESS : GetLastError();
    spn_free(wide);
    if (code == ERROR_SUCCESS || code == ERROR_FILE_NOT_FOUND || code == ERROR_PATH_NOT_FOUND)
        return SPN_STATUS_OK;
    return spn_win_fail(err, code, "remove", path);
}

spn_status spn_file_write(const char *path, const void *bytes, size_t n_bytes, spn_error *err) {
    /* A name of its own for every writer: two of them must not meet in one temporary file. */
    uint64_t tag;
    SPN_TRY(spn_random_bytes(&tag, sizeof tag, err));
    spn_buf temp = SPN_BUF(0);
    spn_file *file = NULL;
    bool created = false;
    if (!spn_buf_printf(&temp, "%s.%016llx.tmp", path, (unsigned long long)tag)) {
        spn_buf_free(&temp);
        return SPN_NO_MEMORY(err, path);
    }
    spn_status status;
    SPN_TRY_GOTO(spn_file_open(&file, temp.data, SPN_FILE_WRITE_NEW, err));
    created = true;
    SPN_TRY_GOTO(spn_file_write_at(file, bytes, n_bytes, 0, err));
    SPN_TRY_GOTO(spn_file_sync(file, err));
    spn_file_close(file);
    file = NULL;
    SPN_TRY_GOTO(spn_path_rename(temp.data, path, err));
done:
    spn_file_close(file);
    if (created && status != SPN_STATUS_OK) spn_path_remove(temp.data, NULL);
    spn_buf_free(&temp);
    return status;
}

/* ---- paths ---- */

static DWORD attributes_of(const char *path) {
    wchar_t *wide = NULL;
    if (spn_win_path(path, &wide, NULL) != SPN_STATUS_OK) return INVALID_FILE_ATTRIBUTES;
    DWORD attributes = GetFileAttributesW(wide);
    spn_free(wide);
    return attributes;
}

bool spn_path_exists(const char *path) { return attributes_of(path) != INVALID_FILE_ATTRIBUTES; }

bool spn_path_is_dir(const char *path) {
    DWORD attributes = attributes_of(path);
    return attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0;
}

static bool is_separator(wchar_t c) { return c == L'/' || c == L'\\'; }

/* Tries every part of the path; drives and network shares cannot be created, so only the last
 * part's success counts. */
spn_status spn_dir_create(const char *path, spn_error *err) {
    wchar_t *wide = NULL;
    DWORD code = ERROR_SUCCESS;
    SPN_TRY(spn_win_path(path, &wide, err));
    for (wchar_t *at = wide;; at++) {
        if (*at != L'\0' && (at == wide || !is_separator(*at) || is_separator(at[-1]))) continue;
        wchar_t rest = *at;
        *at = L'\0';
        code = CreateDirectoryW(wide, NULL) ? ERROR_SUCCESS : GetLastError();
        *at = rest;
        if (rest == L'\0') break;
    }
    spn_free(wide);
    if (spn_path_is_dir(path)) return SPN_STATUS_OK;
    return spn_win_fail(err, code, "create the folder", path);
}
