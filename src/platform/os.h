/* os.h - the one place with the operating system's names: maps, files, threads, time.
 * SPDX-License-Identifier: Apache-2.0
 *
 * os_posix*.c (Linux and macOS) and os_windows*.c implement it; ram_*.c and cpu*.c implement the
 * public platform.h. Paths are UTF-8 everywhere. Nothing here keeps state between calls.
 */
#ifndef SPN_OS_H
#define SPN_OS_H

#include "base/base.h"
#include "spn/platform.h"

/* ---- time ---- */

uint64_t spn_time_ns(void);  /* monotonic, from an arbitrary start */
int64_t spn_time_unix(void); /* seconds since 1970 */
void spn_sleep_ms(uint32_t ms);
/* `n_bytes` from the system's secure source. Errors: IO. */
spn_status spn_random_bytes(void *out, size_t n_bytes, spn_error *err);

/* ---- read-only file maps ---- */

typedef struct spn_map {
    const uint8_t *data; /* page-aligned; never NULL after success, also for an empty file */
    size_t n_bytes;
    void *handle;
} spn_map;

/* Errors: IO (missing, a directory, unreadable), NO_MEMORY (no address space). */
spn_status spn_map_open(spn_map *out, const char *path, spn_error *err);
void spn_map_close(spn_map *map);
/* Hints; they never fail visibly. */
void spn_map_will_need(const uint8_t *data, size_t n_bytes);
/* Locks pages in memory. Errors: INSUFFICIENT_MEMORY (names the limit). */
spn_status spn_map_lock(const uint8_t *data, size_t n_bytes, spn_error *err);

/* ---- virtual memory: address space now, pages when touched ---- */

/* Zero-filled on first touch, in pages of the usual size. NULL when the system has no such range.
 */
void *spn_vm_reserve(size_t n_bytes);
void spn_vm_release(void *start, size_t n_bytes);
/* Gives the pages wholly inside the range back; they read as zero afterwards. */
void spn_vm_discard(void *start, size_t n_bytes);
size_t spn_page_bytes(void);
/* A hint that all of the range will be written soon, so that the system may bring it in at once as
 * huge pages of SPN_VM_HUGE_BYTES, aligned to that. Nothing happens where there are none. */
#define SPN_VM_HUGE_BYTES ((size_t)2 << 20)
void spn_vm_want_huge(void *start, size_t n_bytes);

/* ---- threads ---- */

typedef struct spn_thread spn_thread;
spn_status spn_thread_start(spn_thread **out, void (*run)(void *arg), void *arg, const char *name,
                            spn_error *err);
void spn_thread_join(spn_thread *thread); /* and frees it */
void spn_thread_yield(void);

/* For a team of threads on a machine with several memory nodes: the node for each member, into
 * node_of[n_members]. False, with nothing written, where it does not matter: one node. */
bool spn_numa_plan(uint32_t n_members, uint32_t *node_of);
/* Keeps the calling thread on those of the node's processors that it may use. A hint. */
void spn_thread_stay_on(uint32_t node);

typedef struct spn_mutex spn_mutex;
spn_mutex *spn_mutex_create(void); /* NULL: no memory */
void spn_mutex_free(spn_mutex *mutex);
void spn_mutex_lock(spn_mutex *mutex);
void spn_mutex_unlock(spn_mutex *mutex);

typedef struct spn_cond spn_cond;
spn_cond *spn_cond_create(void);
void spn_cond_free(spn_cond *cond);
void spn_cond_wait(spn_cond *cond, spn_mutex *mutex);
/* False when `timeout_ns` passed first. */
bool spn_cond_wait_for(spn_cond *cond, spn_mutex *mutex, uint64_t timeout_ns);
void spn_cond_signal(spn_cond *cond);
void spn_cond_broadcast(spn_cond *cond);

/* A descriptor that poll() and select() find readable while the event is set. One thread at a time
 * (set and clear under a lock); the descriptor may be polled by any. */
typedef struct spn_event spn_event;
spn_event *spn_event_create(void); /* NULL: no memory, no descriptor, or no such thing here */
void spn_event_free(spn_event *event);
int spn_event_descriptor(const spn_event *event);
void spn_event_set(spn_event *event);
void spn_event_clear(spn_event *event);

/* ---- processor ---- */

/* Bytes of memory that this process occupies now; 0: the system does not tell. */
uint64_t spn_process_memory(void);
uint32_t spn_cpu_usable(void); /* as spn_cpu_info.n_usable, cheap enough to call often */
/* Bytes of a core's first cache for data; 0: not known. */
size_t spn_cpu_l1d_bytes(void);
/* A hint to the processor inside a spin loop. */
static inline void spn_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- files ---- */

/* Whole small files. read: at most `max` bytes, or FORMAT; text is NUL-terminated, free with
 * spn_free. write: through a temporary file, synced, renamed over `path`. */
spn_status spn_file_read(const char *path, size_t max, char **text, size_t *n_bytes,
                         spn_error *err);
spn_status spn_file_write(const char *path, const void *bytes, size_t n_bytes, spn_error *err);
bool spn_path_exists(const char *path);
bool spn_path_is_dir(const char *path);
spn_status spn_dir_create(const char *path, spn_error *err); /* with its parents; there is fine */

/* Puts `from` in the place of `to`, whatever was there, in one step; both on one file system. */
spn_status spn_path_rename(const char *from, const char *to, spn_error *err);
spn_status spn_path_remove(const char *path, spn_error *err); /* a file; absent is fine */

/* A file open for positioned reads and writes. WRITE_NEW empties what is there, UPDATE keeps it;
 * both create what is not. */
typedef struct spn_file spn_file;
typedef enum spn_file_mode { SPN_FILE_READ, SPN_FILE_WRITE_NEW, SPN_FILE_UPDATE } spn_file_mode;
spn_status spn_file_open(spn_file **out, const char *path, spn_file_mode mode, spn_error *err);
void spn_file_close(spn_file *file);
spn_status spn_file_read_at(spn_file *file, void *out, size_t n_bytes, uint64_t offset,
                            size_t *n_read, spn_error *err);
spn_status spn_file_write_at(spn_file *file, const void *bytes, size_t n_bytes, uint64_t offset,
                             spn_error *err); /* DISK_FULL told apart */
spn_status spn_file_sync(spn_file *file, spn_error *err);
spn_status spn_file_size(spn_file *file, uint64_t *out, spn_error *err);

/* ---- what a store of files needs: folders, links, locks, room (store_*.c) ---- */

typedef struct spn_path_info {
    bool is_dir, is_file, is_link; /* a link is looked at itself, not what it leads to */
    uint64_t n_bytes;
    uint64_t n_allocated; /* bytes on the disk; less than n_bytes where the file has holes */
    int64_t modified_ns;  /* since 1970 */
    uint64_t device, inode;
} spn_path_info;

/* False when nothing is there or it cannot be looked at. */
bool spn_path_look(const char *path, spn_path_info *out);
/* Calls `each` for every entry but "." and "..", in no order, until it returns false. Errors: IO,
 * NO_MEMORY. */
spn_status spn_dir_list(const char *path, bool (*each)(const char *name, void *user), void *user,
                        spn_error *err);
bool spn_dir_remove(const char *path); /* only an empty one */
/* A second name for the same file, of a symbolic link for the one it names. Errors: IO (other disk,
 * not supported, no permission). */
spn_status spn_path_link(const char *from, const char *to, spn_error *err);
/* A copy that shares its blocks until one of them is written. Errors: IO where it cannot be. */
spn_status spn_path_clone(const char *from, const char *to, spn_error *err);
/* The absolute path without links; free with spn_free. Errors: IO. */
spn_status spn_path_real(const char *path, char **out, spn_error *err);
/* The user's home by the system's records; free with spn_free. Errors: IO. */
spn_status spn_home_dir(char **out, spn_error *err);

/* One holder over all processes and threads; gone with its process. The file at `path` exists
 * while it is held and says in words who holds it. Errors: BUSY (err->text says who), IO. */
typedef struct spn_lock spn_lock;
spn_status spn_lock_try(spn_lock **out, const char *path, spn_error *err);
void spn_lock_release(spn_lock *lock);

/* Room on the disk that holds `path`, for this user. Errors: IO. */
typedef struct spn_disk_room {
    uint64_t total, available;
} spn_disk_room;
spn_status spn_disk_room_of(const char *path, spn_disk_room *out, spn_error *err);

/* Makes the file `n_bytes` long with room for all of it, where the file system can promise that.
 * Errors: DISK_FULL, IO. */
spn_status spn_file_allocate(spn_file *file, uint64_t n_bytes, spn_error *err);
/* The two halves of it: the length alone, and room for a part of the file, which must not reach
 * behind its end. Where room cannot be promised the second does nothing. */
spn_status spn_file_lengthen(spn_file *file, uint64_t n_bytes, spn_error *err);
spn_status spn_file_reserve(spn_file *file, uint64_t offset, uint64_t n_bytes, spn_error *err);
/* Starts writing that part out, so that a later sync has less to do; never waits, never fails. */
void spn_file_start_writing(spn_file *file, uint64_t offset, uint64_t n_bytes);
/* Whether some process has the file open or mapped; false where that cannot be found out. */
bool spn_file_in_use(const char *path);

#endif
