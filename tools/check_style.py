#!/usr/bin/env python3
"""check_style.py - limits and words that clang-format does not know. SPDX-License-Identifier: Apache-2.0

    git ls-files | tools/check_style.py [--report]

reads file names and checks: no trailing blanks, tabs, control or invisible characters; a newline at
the end; sizes of files and functions; a first line that names the file; banned functions; no unfinished
work; no large files. --report lists the longest functions instead.

A line that must be as it is carries `style: WHY` in a comment and is passed over.
"""
import os
import re
import sys

MAX_BYTES = 512 << 10
LARGE = ("models/",)  # trained weights that belong to the project
LARGE_FILES = ("tests/golden/stories260K.gguf",)  # a real trained model, see the README beside it
MAX_LINES = 1200
MAX_FUNCTION = 120
MAX_KERNEL_FUNCTION = 250  # unrolled loops over registers
TEXT = (".c", ".h", ".py", ".sh", ".md", ".build", ".ini", ".txt", ".yml", ".vec")
GENERATED = ()  # tables that a script writes may be as long as they are

# Unsafe, locale-dependent or hidden state; everywhere, also in tests.
BANNED = "sprintf vsprintf strcpy strcat strncat atoi atol atof gets strtok rand srand system tmpnam".split()
# The library allocates through base.h, and never prints, ends the process, reads the environment or
# catches signals. A folder named here is the place for it.
LIBRARY_BANNED = {
    "malloc calloc realloc free strdup strndup aligned_alloc posix_memalign": ("src/base/mem.c", "src/cli/", "src/server/"),
    "exit _exit abort quick_exit atexit": ("src/cli/", "src/server/"),
    "printf vprintf puts putchar perror": ("src/cli/", "src/server/"),
    "getenv setenv putenv": ("src/cli/", "src/server/"),
    "signal sigaction": ("src/cli/", "src/server/"),
}
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
CALL = r"(?<![\w.>])(?:%s)\s*\("

n_bad = 0
lengths = []


def bad(path, line, what):
    global n_bad
    n_bad += 1
    print("%s:%d: %s" % (path, line, what))


def code_only(text):
    """The text with comments and literals blanked out, lines kept."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_calls(path, code, lines):
    banned = [(" ".join(BANNED), ())]
    if path.startswith(("src/", "include/")):
        banned += LIBRARY_BANNED.items()
    for names, allowed in banned:
        if path.startswith(allowed) if allowed else False:
            continue
        pattern = re.compile(CALL % "|".join(names.split()))
        for n, line in enumerate(code, 1):
            m = pattern.search(line)
            if m and "style:" not in lines[n - 1]:
                bad(path, n, "%s) is not for this file" % m.group(0).strip())
    if path.startswith("src/") and not path.startswith(("src/cli/", "src/server/")):
        for n, line in enumerate(code, 1):
            if re.search(r"\bf(printf|puts|putc|write)\s*\(.*\bstd(out|err)\b", line):
                bad(path, n, "the library does not print")


def check_functions(path, code):
    """Formatted code opens a function's body at the end of a line and closes it in column 0."""
    limit = MAX_KERNEL_FUNCTION if path.startswith(("src/compute/", "tests/kernels/")) else MAX_FUNCTION
    start = None
    for n, line in enumerate(code, 1):
        if line.startswith("}"):
            if start is not None:
                lengths.append((n - start + 1, path, start))
                if n - start + 1 > limit:
                    bad(path, start, "function of %d lines; the limit is %d" % (n - start + 1, limit))
            start = None
        elif re.match(r"[A-Za-z_]", line) and not re.match(r"\w+:$", line):
            start = n if re.search(r"\)\s*\{\s*$", line) else (n if line.rstrip().endswith(("(", ",")) else None)
        elif start is None and re.search(r"\)\s*\{\s*$", line) and line[:1] == " " and code[n - 2][:1].isalpha():
            start = n


def check_c(path, text, lines):
    name = os.path.basename(path)
    if not lines or not lines[0].startswith("/* %s - " % name):
        bad(path, 1, "the first line is `/* %s - purpose. ...`" % name)
    if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines[:6]):
        bad(path, 1, "no SPDX-License-Identifier in the first lines")
    code = code_only(text).split("\n")
    check_calls(path, code, lines)
    check_functions(path, code)


def check_text(path, text):
    lines = text.split("\n")
    if text and not text.endswith("\n"):
        bad(path, len(lines), "no newline at the end")
    if len(lines) > MAX_LINES + 1 and path not in GENERATED and path.endswith((".c", ".h", ".py")):
        bad(path, 1, "%d lines; the limit is %d" % (len(lines) - 1, MAX_LINES))
    for n, line in enumerate(lines, 1):
        if "style:" in line:
            continue
        if line != line.rstrip():
            bad(path, n, "blanks at the end of the line")
        if "\t" in line:
            bad(path, n, "a tab")
        if CONTROL.search(line.replace("\t", "")) or INVISIBLE.search(line):
            bad(path, n, "an invisible character")
        if UNFINISHED.search(line):
            bad(path, n, "unfinished: %s" % line.strip())
    if path.endswith((".c", ".h")):
        check_c(path, text, lines)


def check_file(path):
    if os.path.islink(path) or not os.path.exists(path):
        return
    size = os.path.getsize(path)
    if size > MAX_BYTES and not path.startswith(LARGE) and path not in LARGE_FILES:
        bad(path, 1, "%d bytes; the limit is %d" % (size, MAX_BYTES))
    if not path.endswith(TEXT) and os.path.basename(path) not in ("dev", "run", "pre-commit"):
        return
    if "/corpus/" in path or re.match(r"tests/golden/\w+/.*\.(txt|json|inp|out)$", path):
        return  # inputs are what they are
    try:
        with open(path, encoding="utf-8", newline="") as f:
            check_text(path, f.read())
    except UnicodeDecodeError:
        bad(path, 1, "not UTF-8")


def main():
    paths = [line.rstrip("\n") for line in sys.stdin]
    for path in paths:
        check_file(path)
    if "--report" in sys.argv:
        for length, path, line in sorted(lengths, reverse=True)[:30]:
            print("%4d lines  %s:%d" % (length, path, line))
        only = sorted(n for n, _, _ in lengths)
        print("%d functions, median %d lines" % (len(only), only[len(only) // 2]))
    if n_bad:
        sys.exit("%d complaints" % n_bad)


main()
