/* line_editor.c - reads a message from the terminal or a pipe. SPDX-License-Identifier: Apache-2.0
 *
 * On a terminal libedit edits the line and keeps the history. Its terminal delivers no signals
 * while a line is edited: Ctrl-C is a key there, which throws the line away. A message of several
 * lines has a backslash at the end of each but the last, or stands between lines of """. */
#include <stdlib.h>
#include <string.h>
#ifdef SPN_HAVE_LIBEDIT
#include <histedit.h>
#include <wchar.h>
#endif

#include "cli/cli.h"
#include "cli/line_editor.h"

#define FENCE "\"\"\""
#define MAX_MESSAGE ((size_t)16 << 20)

struct spn_line_editor {
    bool is_terminal;
    bool is_continued; /* the next line belongs to the same message */
    bool was_interrupted;
    char history_path[4096]; /* "": none */
#ifdef SPN_HAVE_LIBEDIT
    EditLine *edit;
    History *history;
#endif
};

/* ---- libedit ---- */

#ifdef SPN_HAVE_LIBEDIT
static char *prompt(EditLine *edit) {
    static char first[] = ">>> ", more[] = "... ";
    spn_line_editor *editor = NULL;
    el_get(edit, EL_CLIENTDATA, (void *)&editor);
    return editor != NULL && editor->is_continued ? more : first;
}

static unsigned char on_interrupt_key(EditLine *edit, wint_t key) {
    spn_line_editor *editor = NULL;
    (void)key;
    el_get(edit, EL_CLIENTDATA, (void *)&editor);
    if (editor != NULL) editor->was_interrupted = true;
    fputs("^C\n", stdout);
    return CC_NEWLINE;
}

static bool start_editing(spn_line_editor *editor) {
    HistEvent event;
    editor->edit = el_init("spn-native", stdin, stdout, stderr);
    editor->history = history_init();
    if (editor->edit == NULL || editor->history == NULL) return false;
    history(editor->history, &event, H_SETSIZE, 1000);
    history(editor->history, &event, H_SETUNIQUE, 1);
    if (editor->history_path[0]) history(editor->history, &event, H_LOAD, editor->history_path);
    el_set(editor->edit, EL_CLIENTDATA, editor);
    el_set(editor->edit, EL_PROMPT, prompt);
    el_set(editor->edit, EL_EDITOR, "emacs");
    el_set(editor->edit, EL_HIST, history, editor->history);
    /* The narrow el_set copies the texts and never frees them. */
    el_wset(editor->edit, EL_ADDFN, L"spn-interrupt", L"throw the line away", on_interrupt_key);
    el_set(editor->edit, EL_SETTY, "-d", "-isig", NULL);
    el_set(editor->edit, EL_BIND, "^C", "spn-interrupt", NULL);
    el_set(editor->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    return true;
}

static void stop_editing(spn_line_editor *editor) {
    HistEvent event;
    if (editor->history != NULL && editor->history_path[0])
        history(editor->history, &event, H_SAVE, editor->history_path);
    if (editor->edit != NULL) el_end(editor->edit);
    if (editor->history != NULL) history_end(editor->history);
}

/* One line with its line break, in memory of the editor's; NULL at the end. */
static const char *edit_line(spn_line_editor *editor, int *n) {
    HistEvent event;
    editor->was_interrupted = false;
    const char *line = el_gets(editor->edit, n);
    if (line != NULL && *n > 1 && !editor->was_interrupted)
        history(editor->history, &event, H_ENTER, line);
    return line;
}
#endif

/* ---- lines ---- */

/* Appends a line without its break to *text [*n]. False at the end of input or memory. */
static bool append_line(spn_line_editor *editor, char **text, size_t *n, size_t *line_at) {
    *line_at = *n;
    for (bool is_whole = false; !is_whole;) {
        char chunk[4096];
        const char *piece = NULL;
        int n_piece = 0;
#ifdef SPN_HAVE_LIBEDIT
        if (editor->is_terminal) piece = edit_line(editor, &n_piece);
#endif
        if (!editor->is_terminal) {
            piece = fgets(chunk, sizeof chunk, stdin);
            n_piece = piece != NULL ? (int)strlen(piece) : 0;
        }
        if (piece == NULL || n_piece <= 0) return *n > *line_at;
        is_whole = editor->is_terminal || piece[n_piece - 1] == '\n';
        size_t n_kept = (size_t)n_piece - (piece[n_piece - 1] == '\n');
        if (*n + n_kept > MAX_MESSAGE) return false;
        char *longer = realloc(*text, *n + n_kept + 2);
        if (longer == NULL) return false;
        *text = longer;
        memcpy(*text + *n, piece, n_kept);
        *n += n_kept;
        (*text)[*n] = '\0';
    }
    return true;
}

/* Lines up to the closing fence. The opening one is in *text already, from `at` on. */
static bool read_fenced(spn_line_editor *editor, char **text, size_t *n, size_t at) {
    size_t line_at;
    memmove(*text + at, *text + at + strlen(FENCE), *n - at - strlen(FENCE) + 1);
    *n -= strlen(FENCE);
    for (;;) {
        char *end = strstr(*text + at, FENCE);
        if (end != NULL) {
            *end = '\0';
            return true;
        }
        if (*n > at) (*text)[(*n)++] = '\n';
        editor->is_continued = true;
        if (!append_line(editor, text, n, &line_at) || editor->was_interrupted) return false;
    }
}

char *spn_line_editor_read(spn_line_editor *editor, bool *is_end) {
    char *text = NULL;
    size_t n = 0, line_at;
    *is_end = false;
    editor->is_continued = false;
    editor->was_interrupted = false;
    bool ok = append_line(editor, &text, &n, &line_at);
    *is_end = !ok && !editor->was_interrupted;
    if (ok && strncmp(text, FENCE, strlen(FENCE)) == 0) {
        ok = read_fenced(editor, &text, &n, 0);
    } else {
        while (ok && !editor->was_interrupted && n > line_at && text[n - 1] == '\\') {
            text[n - 1] = '\n';
            editor->is_continued = true;
            ok = append_line(editor, &text, &n, &line_at);
        }
    }
    if (ok && !editor->was_interrupted) return text;
    free(text);
    return NULL;
}

/* ---- life ---- */

spn_line_editor *spn_line_editor_create(const char *history_path) {
    spn_line_editor *editor = calloc(1, sizeof *editor);
    if (editor == NULL) return NULL;
    if (history_path != NULL && strlen(history_path) < sizeof editor->history_path)
        memcpy(editor->history_path, history_path, strlen(history_path) + 1);
#ifdef SPN_HAVE_LIBEDIT
    editor->is_terminal = spn_term_is_terminal(stdin) && spn_term_is_terminal(stdout);
    if (editor->is_terminal && !start_editing(editor)) {
        spn_line_editor_free(editor);
        return NULL;
    }
#endif
    return editor;
}

void spn_line_editor_free(spn_line_editor *editor) {
    if (editor == NULL) return;
#ifdef SPN_HAVE_LIBEDIT
    if (editor->is_terminal) stop_editing(editor);
#endif
    free(editor);
}
