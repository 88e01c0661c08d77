/* event_posix.c - an event that poll() sees: a pipe with a byte in it, or none.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "platform/os.h"

struct spn_event {
    int read_end, write_end;
    bool is_set;
};

static bool prepare(int descriptor) {
    return fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 &&
           fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0;
}

spn_event *spn_event_create(void) {
    int ends[2];
    spn_event *event = spn_alloc_zeroed(1, sizeof *event);
    if (event == NULL) return NULL;
    if (pipe(ends) != 0) {
        spn_free(event);
        return NULL;
    }
    event->read_end = ends[0];
    event->write_end = ends[1];
    if (!prepare(ends[0]) || !prepare(ends[1])) {
        spn_event_free(event);
        return NULL;
    }
    return event;
}

void spn_event_free(spn_event *event) {
    if (event == NULL) return;
    close(event->read_end);
    close(event->write_end);
    spn_free(event);
}

int spn_event_descriptor(const spn_event *event) { return event->read_end; }

void spn_event_set(spn_event *event) {
    while (!event->is_set) { /* the pipe is empty: a byte fits, unless a signal comes between */
        event->is_set = write(event->write_end, "", 1) == 1;
        if (!event->is_set && errno != EINTR) break;
    }
}

void spn_event_clear(spn_event *event) {
    char byte;
    while (event->is_set) {
        event->is_set = read(event->read_end, &byte, 1) != 1;
        if (event->is_set && errno != EINTR) break;
    }
}
