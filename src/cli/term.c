/* term.c - the terminal: is it one, Ctrl-C, time. SPDX-License-Identifier: Apache-2.0
 *
 * The one file of the command with names that are not in the C standard. */
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#define isatty _isatty
#define fileno _fileno
#else
#include <unistd.h>
#endif

#include "cli/cli.h"

bool spn_term_is_terminal(FILE *stream) { return isatty(fileno(stream)) != 0; }

bool spn_term_has_colour(FILE *stream) {
    const char *no = getenv("NO_COLOR");
    return (no == NULL || no[0] == '\0') && spn_term_is_terminal(stream);
}

void spn_term_binary(FILE *stream) {
#ifdef _WIN32
    _setmode(_fileno(stream), _O_BINARY);
#else
    (void)stream;
#endif
}

static void (*volatile interrupted)(void);
static volatile sig_atomic_t handler_stays;

static void handle(int number) {
    void (*call)(void) = interrupted;
    /* Whoever presses the keys again does not want to wait for the first answer to stop. Some
     * systems reset the handler by themselves. */
    signal(number, handler_stays ? handle : SIG_DFL);
    if (call != NULL) call();
}

static void set_handler(void (*on_interrupt)(void), bool stays) {
    interrupted = on_interrupt;
    handler_stays = stays;
    signal(SIGINT, on_interrupt != NULL ? handle : SIG_DFL);
}

void spn_term_on_interrupt(void (*on_interrupt)(void)) { set_handler(on_interrupt, false); }

void spn_term_on_interrupts(void (*on_interrupt)(void)) { set_handler(on_interrupt, true); }

double spn_term_seconds(void) {
    struct timespec now;
#ifdef _WIN32
    timespec_get(&now, TIME_UTC);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
