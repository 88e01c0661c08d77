/* line_editor.h - messages from the terminal or a pipe. SPDX-License-Identifier: Apache-2.0 */
#ifndef SPN_LINE_EDITOR_H
#define SPN_LINE_EDITOR_H

#include <stdbool.h>

typedef struct spn_line_editor spn_line_editor;

/* `history_path` (may be NULL) keeps the history from one program to the next. NULL: no memory. */
spn_line_editor *spn_line_editor_create(const char *history_path);
void spn_line_editor_free(spn_line_editor *editor);
/* A message, free with free(). NULL: at the end of input *is_end is set; else it was thrown away
 * with Ctrl-C. */
char *spn_line_editor_read(spn_line_editor *editor, bool *is_end);

#endif
