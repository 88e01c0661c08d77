/* log.c - the log callback. SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/base.h"

static spn_log_fn callback;
static void *callback_user;

void spn_set_log(spn_log_fn log, void *user) {
    callback = log;
    callback_user = user;
}

void spn_log(spn_log_level level, const char *fmt, ...) {
    if (callback == NULL) return;
    char line[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n >= 0) callback(level, line, callback_user);
}
