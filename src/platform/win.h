/* win.h - what the Windows files share: the system's headers, UTF-8 paths, error texts.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Windows speaks UTF-16; everything else here is UTF-8. Windows 10 or newer.
 */
#ifndef SPN_WIN_H
#define SPN_WIN_H

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#undef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#include <windows.h>

#include "base/base.h"

/* The path for the system's calls; free with spn_free. Errors: NO_MEMORY, INVALID_ARGUMENT (the
 * text is no UTF-8). */
spn_status spn_win_path(const char *path, wchar_t **out, spn_error *err);

/* UTF-16 to UTF-8, cut to `cap` bytes with the NUL; never fails, out may be empty. */
void spn_win_text(const wchar_t *text, char *out, size_t cap);

/* "cannot DOING WHAT: the system's reason", with the status that the reason belongs to. */
spn_status spn_win_fail(spn_error *err, DWORD code, const char *doing, const char *what);

#endif
