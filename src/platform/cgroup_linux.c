/* cgroup_linux.c - finds and reads the control groups that bound this process.
 * SPDX-License-Identifier: Apache-2.0
 *
 * /proc/self/cgroup names a path for each hierarchy: "0::/a/b" for version 2 and "4:memory:/a/b"
 * for a controller of version 1. Each folder from that path up to the root may hold a limit, and
 * the lowest one counts. In a container the path may be as the host sees it while the container
 * sees only its own end of it, mounted as the root: folders that are not there are passed over, and
 * the root is read in the end, so both views find their limits.
 *
 * Where both generations are mounted, each controller is in one of them: both are read.
 * Formats: https://docs.kernel.org/admin-guide/cgroup-v2.html, .../cgroup-v1/
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform/machine.h"

enum { PATH_BYTES = 4096 };

bool spn_linux_read(char *out, size_t cap, const char *folder, const char *name) {
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof path) return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t len = 0;
    while (len + 1 < cap) {
        ssize_t got = read(fd, out + len, cap - 1 - len);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        len += (size_t)got;
    }
    close(fd);
    out[len] = '\0';
    return len > 0;
}

/* Digits only: strtoull alone would take blanks and a minus sign. */
static bool parse_number(const char *text, const char **end, uint64_t *out) {
    if (*text < '0' || *text > '9') return false;
    char *stop;
    errno = 0;
    unsigned long long value = strtoull(text, &stop, 10);
    if (errno != 0) return false;
    *end = stop;
    *out = value;
    return true;
}

bool spn_linux_number(const char *text, const char *key, uint64_t *out) {
    size_t len = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) != 0) continue;
        const char *at = line + len, *end;
        if (*at != ' ' && *at != '\t') continue;
        at += strspn(at, " \t");
        if (parse_number(at, &end, out)) return true;
    }
    return false;
}

bool spn_linux_number_file(const char *folder, const char *name, uint64_t *out) {
    char text[64];
    const char *end;
    uint64_t value;
    if (!spn_linux_read(text, sizeof text, folder, name)) return false;
    if (!parse_number(text, &end, &value) || (*end != '\n' && *end != '\0')) return false;
    *out = value;
    return true;
}

uint32_t spn_linux_list_count(const char *list) {
    uint64_t n = 0, first, last;
    for (const char *at = list; *at != '\0' && *at != '\n'; at += *at == ',') {
        if (!parse_number(at, &at, &first)) return 0;
        last = first;
        if (*at == '-' && !parse_number(at + 1, &at, &last)) return 0;
        if (last < first || last - first >= UINT32_MAX - n) return 0;
        if (*at != ',' && *at != '\n' && *at != '\0') return 0;
        n += last - first + 1;
    }
    return (uint32_t)n;
}

/* Whether `controller` is one of the names in "cpu,cpuacct". */
static bool names_controller(const char *names, size_t len, const char *controller) {
    size_t want = strlen(controller);
    for (const char *at = names, *end = names + len; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t n = comma != NULL ? (size_t)(comma - at) : (size_t)(end - at);
        if (n == want && memcmp(at, controller, n) == 0) return true;
        at += n + 1;
    }
    return false;
}

/* Visits mount/path, then each parent down to `mount` itself. */
static void visit_upward(const char *mount, const char *path, size_t len, bool is_v2,
                         spn_linux_visit *visit, void *user) {
    char folder[PATH_BYTES];
    size_t base = strlen(mount);
    if (base + len >= sizeof folder) len = 0;
    memcpy(folder, mount, base);
    memcpy(folder + base, path, len);
    /* A path above the namespace's root, such as "/../x", cannot be followed. */
    folder[base + len] = '\0';
    if (strstr(folder + base, "/..") != NULL) len = 0;
    for (;;) {
        while (len > 0 && folder[base + len - 1] == '/') len--;
        folder[base + len] = '\0';
        if (access(folder, F_OK) == 0) visit(folder, is_v2, user);
        if (len == 0) return;
        while (len > 0 && folder[base + len - 1] != '/') len--;
    }
}

/* Where a hierarchy is mounted: the usual places, the first that is there. */
static bool find_mount(char *out, const char *root, const char *const *places) {
    for (; *places != NULL; places++) {
        int n = snprintf(out, PATH_BYTES, "%s/sys/fs/cgroup%s", root, *places);
        if (n > 0 && n < PATH_BYTES && access(out, F_OK) == 0) return true;
    }
    return false;
}

void spn_linux_cgroups(const char *root, spn_linux_controller controller, spn_linux_visit *visit,
                       void *user) {
    static const char *const v2_places[] = {"/unified", "", NULL};
    static const char *const v1_places[][4] = {{"/memory", NULL},
                                               {"/cpu", "/cpu,cpuacct", "/cpuacct,cpu", NULL}};
    static const char *const names[] = {"memory", "cpu"};
    char text[16384], mount[PATH_BYTES];
    if (!spn_linux_read(text, sizeof text, root, "proc/self/cgroup")) return;
    for (char *line = text, *next; *line != '\0'; line = next) {
        size_t line_len = strcspn(line, "\n");
        next = line + line_len + (line[line_len] == '\n');
        line[line_len] = '\0';
        char *list = strchr(line, ':');
        char *path = list != NULL ? strchr(list + 1, ':') : NULL;
        if (path == NULL) continue;
        size_t list_len = (size_t)(path - ++list);
        path++;
        bool is_v2 = list_len == 0;
        if (!is_v2 && !names_controller(list, list_len, names[controller])) continue;
        if (!find_mount(mount, root, is_v2 ? v2_places : v1_places[controller])) continue;
        visit_upward(mount, path, strlen(path), is_v2, visit, user);
    }
}
