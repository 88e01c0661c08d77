/* store_posix.c - os.h's folders, links, locks and disk room on Linux and macOS.
 * SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif
#ifdef __APPLE__
#include <sys/clonefile.h>
#endif

#include "platform/os.h"

static spn_status fail_on(spn_error *err, const char *doing, const char *path) {
    int code = errno;
    spn_status status = code == ENOSPC || code == EDQUOT ? SPN_STATUS_DISK_FULL
                        : code == ENOMEM                 ? SPN_STATUS_NO_MEMORY
                                                         : SPN_STATUS_IO;
    return spn_fail_code(err, status, code, "cannot %s %s: %s", doing, path, strerror(code));
}

bool spn_path_look(const char *path, spn_path_info *out) {
    struct stat st;
    if (lstat(path, &st) != 0) return false;
#ifdef __APPLE__
    struct timespec modified = st.st_mtimespec;
#else
    struct timespec modified = st.st_mtim;
#endif
    *out = (spn_path_info){
        .is_dir = S_ISDIR(st.st_mode),
        .is_file = S_ISREG(st.st_mode),
        .is_link = S_ISLNK(st.st_mode),
        .n_bytes = (uint64_t)st.st_size,
        .n_allocated = (uint64_t)st.st_blocks * 512,
        .modified_ns = (int64_t)modified.tv_sec * 1000000000 + modified.tv_nsec,
        .device = (uint64_t)st.st_dev,
        .inode = (uint64_t)st.st_ino,
    };
    return true;
}

spn_status spn_dir_list(const char *path, bool (*each)(const char *name, void *user), void *user,
                        spn_error *err) {
    DIR *dir = opendir(path);
    if (dir == NULL) return fail_on(err, "read the folder", path);
    struct dirent *entry;
    bool more = true;
    while (more && (errno = 0, entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) more = each(name, user);
    }
    spn_status status = SPN_STATUS_OK;
    if (more && errno != 0) status = fail_on(err, "read the folder", path);
    closedir(dir);
    return status;
}

bool spn_dir_remove(const char *path) { return rmdir(path) == 0; }

spn_status spn_path_link(const char *from, const char *to, spn_error *err) {
    int code = linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
    return code == 0 ? SPN_STATUS_OK : fail_on(err, "hard-link", from);
}

spn_status spn_path_clone(const char *from, const char *to, spn_error *err) {
#if defined(__linux__) && defined(FICLONE)
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return fail_on(err, "open", from);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int code = out < 0 ? -1 : ioctl(out, FICLONE, in);
    spn_status status = code == 0 ? SPN_STATUS_OK : fail_on(err, "clone", from);
    if (out >= 0) close(out);
    if (out >= 0 && code != 0) unlink(to);
    close(in);
    return status;
#elif defined(__APPLE__)
    return clonefile(from, to, 0) == 0 ? SPN_STATUS_OK : fail_on(err, "clone", from);
#else
    (void)to;
    return SPN_FAIL(err, IO, "cannot clone %s: not supported here", from);
#endif
}

spn_status spn_path_real(const char *path, char **out, spn_error *err) {
    char real[PATH_MAX];
    if (realpath(path, real) == NULL) return fail_on(err, "find", path);
    char *copy = spn_strdup(real);
    if (copy == NULL) return SPN_NO_MEMORY(err, "a path");
    *out = copy;
    return SPN_STATUS_OK;
}

spn_status spn_home_dir(char **out, spn_error *err) {
    char text[4096];
    struct passwd entry, *found = NULL;
    int code = getpwuid_r(getuid(), &entry, text, sizeof text, &found);
    if (code != 0 || found == NULL || found->pw_dir == NULL || found->pw_dir[0] != '/')
        return spn_fail_code(err, SPN_STATUS_IO, code, "the system knows no home of this user");
    char *copy = spn_strdup(found->pw_dir);
    if (copy == NULL) return SPN_NO_MEMORY(err, "a path");
    *out = copy;
    return SPN_STATUS_OK;
}

/* ---- locks ---- */

struct spn_lock {
    int fd;
    char path[]; /* removed on release */
};

/* flock belongs to the open file, so two threads of one process exclude each other too. Where it
 * is not there (some network file systems), fcntl's lock, which a process holds as a whole. */
static int lock_descriptor(int fd) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != ENOSYS && errno != EOPNOTSUPP && errno != EINVAL) return -1;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_SETLK, &whole);
}

static spn_status held_by(int fd, const char *path, spn_error *err) {
    char who[200];
    ssize_t n = pread(fd, who, sizeof who - 1, 0);
    who[n > 0 ? n : 0] = '\0';
    who[strcspn(who, "\n")] = '\0';
    return SPN_FAIL(err, BUSY, "%s is held by %s", path, who[0] ? who : "another process");
}

static void write_holder(int fd) {
    char host[100] = "", text[200];
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    int n = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
    /* Only for messages: a failure changes nothing. */
    if (ftruncate(fd, 0) == 0 && n > 0 && pwrite(fd, text, (size_t)n, 0) < 0) return;
}

/* The last holder removes the file, so what was locked may have lost its name meanwhile: then it
 * is no lock any more and the next one is tried. */
static bool still_named(int fd, const char *path) {
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

spn_status spn_lock_try(spn_lock **out, const char *path, spn_error *err) {
    size_t len = strlen(path) + 1;
    spn_lock *lock = spn_alloc(sizeof *lock + len);
    if (lock == NULL) return SPN_NO_MEMORY(err, "a lock");
    memcpy(lock->path, path, len);
    spn_status status = SPN_STATUS_OK;
    for (;;) {
        lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (lock->fd < 0) {
            status = fail_on(err, "create the lock", path);
            break;
        }
        if (lock_descriptor(lock->fd) != 0)
            status = errno == EWOULDBLOCK || errno == EACCES ? held_by(lock->fd, path, err)
                                                             : fail_on(err, "lock", path);
        if (status != SPN_STATUS_OK || still_named(lock->fd, path)) break;
        close(lock->fd);
    }
    if (status != SPN_STATUS_OK) {
        if (lock->fd >= 0) close(lock->fd);
        spn_free(lock);
        return status;
    }
    write_holder(lock->fd);
    *out = lock;
    return SPN_STATUS_OK;
}

void spn_lock_release(spn_lock *lock) {
    if (lock == NULL) return;
    unlink(lock->path);
    close(lock->fd);
    spn_free(lock);
}

/* ---- room and use ---- */

spn_status spn_disk_room_of(const char *path, spn_disk_room *out, spn_error *err) {
    struct statvfs st;
    if (statvfs(path, &st) != 0) return fail_on(err, "ask for the disk's room at", path);
    out->total = (uint64_t)st.f_blocks * st.f_frsize;
    out->available = (uint64_t)st.f_bavail * st.f_frsize;
    return SPN_STATUS_OK;
}

bool spn_file_in_use(const char *path) {
    bool used = false;
#ifdef F_SETLEASE
    /* A write lease is given only while nobody else has the file open, which a mapping counts as.
     */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    used = fcntl(fd, F_SETLEASE, F_WRLCK) != 0 && errno == EAGAIN;
    close(fd);
#else
    (void)path;
#endif
    return used;
}
