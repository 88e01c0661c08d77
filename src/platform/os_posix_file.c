/* os_posix_file.c - os.h's files on Linux and macOS. SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/os.h"

static_assert(sizeof(off_t) == 8, "files may be larger than 2 GiB");

static spn_status fail_on(spn_error *err, const char *doing, const char *path) {
    int code = errno;
    spn_status status = code == ENOSPC || code == EDQUOT ? SPN_STATUS_DISK_FULL
                        : code == ENOMEM                 ? SPN_STATUS_NO_MEMORY
                                                         : SPN_STATUS_IO;
    return spn_failed(
        spn_fail_code(err, status, code, "cannot %s %s: %s", doing, path, strerror(code)), status);
}

/* ---- files open for positioned reads and writes ---- */

struct spn_file {
    int fd;
    char path[]; /* for messages */
};

spn_status spn_file_open(spn_file **out, const char *path, spn_file_mode mode, spn_error *err) {
    static const int flags[] = {[SPN_FILE_READ] = O_RDONLY,
                                [SPN_FILE_WRITE_NEW] = O_RDWR | O_CREAT | O_TRUNC,
                                [SPN_FILE_UPDATE] = O_RDWR | O_CREAT};
    size_t len = strlen(path) + 1;
    spn_file *file = spn_alloc(sizeof *file + len);
    if (file == NULL) return SPN_NO_MEMORY(err, "an open file");
    memcpy(file->path, path, len);
    file->fd = open(path, flags[mode] | O_CLOEXEC, 0666);
    if (file->fd < 0) {
        spn_status status = fail_on(err, mode == SPN_FILE_READ ? "open" : "create", path);
        spn_free(file);
        return status;
    }
    *out = file;
    return SPN_STATUS_OK;
}

void spn_file_close(spn_file *file) {
    if (file == NULL) return;
    close(file->fd);
    spn_free(file);
}

static bool range_fits(size_t n_bytes, uint64_t offset) {
    return offset <= INT64_MAX && n_bytes <= INT64_MAX - offset;
}

spn_status spn_file_read_at(spn_file *file, void *out, size_t n_bytes, uint64_t offset,
                            size_t *n_read, spn_error *err) {
    if (!range_fits(n_bytes, offset))
        return SPN_FAIL(err, INVALID_ARGUMENT, "no file reaches to byte %llu",
                        (unsigned long long)offset);
    size_t done = 0;
    while (done < n_bytes) {
        ssize_t n = pread(file->fd, (char *)out + done, n_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_on(err, "read", file->path);
        if (n == 0) break;
        done += (size_t)n;
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
        ssize_t n =
            pwrite(file->fd, (const char *)bytes + done, n_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = EIO;
        if (n <= 0) return fail_on(err, "write", file->path);
        done += (size_t)n;
    }
    return SPN_STATUS_OK;
}

static int sync_descriptor(int fd) {
#ifdef F_FULLFSYNC
    /* macOS' fsync leaves the data in the drive's own cache; not every file system knows better. */
    if (fcntl(fd, F_FULLFSYNC) == 0) return 0;
#endif
    int code;
    do code = fsync(fd);
    while (code != 0 && errno == EINTR);
    return code;
}

spn_status spn_file_sync(spn_file *file, spn_error *err) {
    /* Pipes and some special files have nothing to sync. */
    if (sync_descriptor(file->fd) != 0 && errno != EINVAL && errno != EROFS)
        return fail_on(err, "sync", file->path);
    return SPN_STATUS_OK;
}

spn_status spn_file_size(spn_file *file, uint64_t *out, spn_error *err) {
    struct stat st;
    if (fstat(file->fd, &st) != 0) return fail_on(err, "look at", file->path);
    *out = (uint64_t)st.st_size;
    return SPN_STATUS_OK;
}

spn_status spn_file_lengthen(spn_file *file, uint64_t n_bytes, spn_error *err) {
    if (!range_fits(0, n_bytes)) return SPN_FAIL(err, INVALID_ARGUMENT, "no file can be so long");
    if (ftruncate(file->fd, (off_t)n_bytes) != 0) return fail_on(err, "lengthen", file->path);
    return SPN_STATUS_OK;
}

spn_status spn_file_reserve(spn_file *file, uint64_t offset, uint64_t n_bytes, spn_error *err) {
    if (n_bytes == 0 || !range_fits(n_bytes, offset)) return SPN_STATUS_OK;
#ifdef __linux__
    int code;
    do code = fallocate(file->fd, 0, (off_t)offset, (off_t)n_bytes);
    while (code != 0 && errno == EINTR);
    if (code != 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)
        return fail_on(err, "make room for", file->path);
#else
    (void)file, (void)err;
#endif
    return SPN_STATUS_OK;
}

spn_status spn_file_allocate(spn_file *file, uint64_t n_bytes, spn_error *err) {
    SPN_TRY(spn_file_lengthen(file, n_bytes, err));
    return spn_file_reserve(file, 0, n_bytes, err);
}

void spn_file_start_writing(spn_file *file, uint64_t offset, uint64_t n_bytes) {
#ifdef SYNC_FILE_RANGE_WRITE
    (void)sync_file_range(file->fd, (off_t)offset, (off_t)n_bytes, SYNC_FILE_RANGE_WRITE);
#else
    (void)file, (void)offset, (void)n_bytes;
#endif
}

/* ---- whole small files ---- */

/* Reads to the end instead of asking for the size: files of /proc say 0. */
static spn_status read_all(int fd, const char *path, size_t max, spn_buf *buf, spn_error *err) {
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_on(err, "read", path);
        if (n == 0) return SPN_STATUS_OK;
        if ((size_t)n > max - buf->len)
            return SPN_FAIL(err, FORMAT, "%s is larger than %zu bytes, the most that is read", path,
                            max);
        if (!spn_buf_append(buf, chunk, (size_t)n)) return SPN_NO_MEMORY(err, path);
    }
}

spn_status spn_file_read(const char *path, size_t max, char **text, size_t *n_bytes,
                         spn_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_on(err, "open", path);
    spn_buf buf = SPN_BUF(spn_max_size(max, 1)); /* a limit of 0 would mean another */
    spn_status status;
    SPN_TRY_GOTO(read_all(fd, path, max, &buf, err));
    size_t len = buf.len;
    char *taken = spn_buf_take(&buf, NULL);
    if (taken == NULL) {
        status = SPN_NO_MEMORY(err, path);
        goto done;
    }
    *text = taken;
    if (n_bytes != NULL) *n_bytes = len;
done:
    close(fd);
    spn_buf_free(&buf);
    return status;
}

static bool parent_of(const char *path, char *out, size_t cap) {
    const char *slash = strrchr(path, '/');
    int n = slash == NULL
                ? snprintf(out, cap, ".")
                : snprintf(out, cap, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return n > 0 && (size_t)n < cap;
}

/* After a rename the folder itself must reach the disk. Not every file system can do that, and the
 * data is safe either way, so a failure is none. */
static void sync_parent(const char *path) {
    char parent[4096];
    if (!parent_of(path, parent, sizeof parent)) return;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)sync_descriptor(fd);
    close(fd);
}

spn_status spn_path_rename(const char *from, const char *to, spn_error *err) {
    if (rename(from, to) != 0)
        return spn_fail_code(err, SPN_STATUS_IO, errno, "cannot rename %s to %s: %s", from, to,
                             strerror(errno));
    sync_parent(to);
    return SPN_STATUS_OK;
}

spn_status spn_path_remove(const char *path, spn_error *err) {
    if (unlink(path) == 0 || errno == ENOENT) return SPN_STATUS_OK;
    return fail_on(err, "remove", path);
}

spn_status spn_file_write(const char *path, const void *bytes, size_t n_bytes, spn_error *err) {
    /* A name of its own for every writer: two of them must not meet in one temporary file. */
    uint64_t tag;
    SPN_TRY(spn_random_bytes(&tag, sizeof tag, err));
    spn_buf temp = SPN_BUF(0);
    spn_file *file = NULL;
    if (!spn_buf_printf(&temp, "%s.%016llx.tmp", path, (unsigned long long)tag)) {
        spn_buf_free(&temp);
        return SPN_NO_MEMORY(err, path);
    }
    spn_status status;
    status = spn_file_open(&file, temp.data, SPN_FILE_WRITE_NEW, err);
    if (file == NULL) goto done;
    SPN_TRY_GOTO(spn_file_write_at(file, bytes, n_bytes, 0, err));
    SPN_TRY_GOTO(spn_file_sync(file, err));
    SPN_TRY_GOTO(spn_path_rename(temp.data, path, err));
done:
    if (file != NULL && status != SPN_STATUS_OK) unlink(temp.data);
    spn_file_close(file);
    spn_buf_free(&temp);
    return status;
}

/* ---- paths ---- */

bool spn_path_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

bool spn_path_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

spn_status spn_dir_create(const char *path, spn_error *err) {
    char *part = spn_strdup(path);
    if (part == NULL) return SPN_NO_MEMORY(err, path);
    spn_status status = SPN_STATUS_OK;
    char *at = part, rest;
    do {
        at += strspn(at, "/");
        at += strcspn(at, "/");
        rest = *at;
        *at = '\0';
        int code = mkdir(part, 0777) == 0 ? 0 : errno;
        if (code != 0 && !spn_path_is_dir(part)) {
            errno = code == EEXIST ? ENOTDIR : code;
            status = fail_on(err, "create the folder", part);
        }
        *at = rest;
    } while (rest != '\0' && status == SPN_STATUS_OK);
    spn_free(part);
    return status;
}
