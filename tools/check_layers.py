#!/usr/bin/env python3
"""check_layers.py - includes go downwards only. SPDX-License-Identifier: Apache-2.0

Reads the table of docs/architecture.md ("may include") and compares every #include line of include/
and src/ with it. A folder may always include itself and the public headers; `public headers only`
means nothing else. Libraries and the operating system's headers belong to the folders whose row
names them.
"""
import os
import re
import sys

TABLE = "docs/architecture.md"
# What a library's name in the table stands for, as beginnings of header names.
LIBRARIES = {
    "jansson": ("jansson",),
    "libcrypto": ("openssl/",),
    "libcurl": ("curl/",),
    "PCRE2": ("pcre2",),
    "utf8proc": ("utf8proc",),
    "libedit": ("editline/", "histedit"),
    "libmicrohttpd": ("microhttpd",),
}
C_HEADERS = set("assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal "
                "stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath "
                "threads time uchar wchar wctype".split())
# The compiler's own headers: instructions, not the operating system.
COMPILER = ("immintrin", "x86intrin", "emmintrin", "arm_neon", "cpuid")
PROGRAMS = ("cli", "server")  # programs talk to a terminal or to sockets: they may name the system
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def read_table():
    """{folder: (set of folders it may include, text of the cell)}"""
    rows = {}
    with open(TABLE, encoding="utf-8") as table:
        for line in table:
            cells = [c.strip() for c in line.strip().strip("|").split("|")]
            m = re.match(r"`src/(\w+)/`", cells[1]) if len(cells) == 4 else None
            if m:
                rows[m.group(1)] = cells[3]
    return {name: (set(re.findall(r"\w+", cell)) & set(rows), cell) for name, cell in rows.items()}


def sources():
    for top in ("include", "src"):
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.join(folder, name)


def complaint(table, path, bracket, header):
    parts = path.split(os.sep)
    module = parts[1] if parts[0] == "src" and len(parts) > 2 else None
    if bracket == "<":
        return foreign_complaint(table, module, header)
    if header.startswith("spn/"):
        return None if os.path.exists("include/" + header) else "no such public header"
    if module is None:
        return "public headers include public headers and C headers only"
    if os.path.exists(os.path.join(os.path.dirname(path), header)):
        return None
    other = header.split("/")[0]
    if not os.path.exists("src/" + header) and not is_generated(header):
        return "no such header in src/ or beside the file"
    if other == module or other in table[module][0]:
        return None
    return "src/%s may include: %s" % (module, table[module][1])


def is_generated(header):
    folder, name = os.path.split(header)
    build_file = os.path.join("src", folder, "meson.build")
    if not os.path.exists(build_file):
        return False
    with open(build_file, encoding="utf-8") as f:
        return "output: '%s'" % name in f.read()


def foreign_complaint(table, module, header):
    stem = header[:-2] if header.endswith(".h") else header
    if stem in C_HEADERS or (module and stem.startswith(COMPILER)):
        return None
    if module is None:
        return "public headers include public headers and C headers only"
    for library, starts in LIBRARIES.items():
        if stem.startswith(starts):
            ok = library in table[module][1] or module in PROGRAMS
            return None if ok else "%s is not in the row of src/%s" % (library, module)
    ok = module == "platform" or module in PROGRAMS
    return None if ok else "only src/platform may name the operating system"


def main():
    table = read_table()
    if len(table) < 5:
        sys.exit("%s: the table of folders was not found" % TABLE)
    n_bad = n_files = 0
    for path in sources():
        parts = path.split(os.sep)
        if parts[0] == "src" and len(parts) > 2 and parts[1] not in table:
            print("%s: src/%s is not in the table of %s" % (path, parts[1], TABLE))
            n_bad += 1
            continue
        n_files += 1
        with open(path, encoding="utf-8") as source:
            for n, line in enumerate(source, 1):
                m = INCLUDE.match(line)
                what = complaint(table, path, *m.groups()) if m else None
                if what:
                    print("%s:%d: %s: %s" % (path, n, m.group(2), what))
                    n_bad += 1
    if n_bad or not n_files:
        sys.exit("%d includes against the direction" % n_bad)


main()
