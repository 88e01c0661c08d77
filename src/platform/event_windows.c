/* event_windows.c - Windows polls sockets only: there is no such event.
 * SPDX-License-Identifier: Apache-2.0 */
#include "platform/os.h"

spn_event *spn_event_create(void) { return NULL; }
void spn_event_free(spn_event *event) { (void)event; }
int spn_event_descriptor(const spn_event *event) {
    (void)event;
    return -1;
}
void spn_event_set(spn_event *event) { (void)event; }
void spn_event_clear(spn_event *event) { (void)event; }
