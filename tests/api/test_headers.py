#!/usr/bin/env python3
"""test_headers.py - each public header compiles alone, in old and new C and in C++.
SPDX-License-Identifier: Apache-2.0

    test_headers.py INCLUDE_FOLDER CC... (the C compiler's command; its C++ sibling is found by name)
"""
import glob
import os
import shutil
import subprocess
import sys

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]


def main():
    include, *cc = sys.argv[1:]
    cxx = [{"clang": "clang++"}.get(os.path.basename(cc[-1]), "g++")]
    if shutil.which(cxx[0]) is None:
        sys.exit("no C++ compiler: %s" % cxx[0])
    languages = [(cc, "c", "c99"), (cc, "c", "c11"), (cc, "c", "c17"), (cxx, "c++", "c++11"), (cxx, "c++", "c++17")]
    headers = sorted(glob.glob(os.path.join(include, "spn", "*.h")))
    passed = failed = 0
    for header in headers:
        name = "spn/" + os.path.basename(header)
        for compiler, language, standard in languages:
            run = subprocess.run([*compiler, "-x", language, "-std=" + standard, *WARNINGS, "-I" + include, "-"],
                                 input="#include <%s>\nint main(void);\nint main(void) { return 0; }\n" % name,
                                 text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if run.returncode == 0:
                passed += 1
            else:
                failed += 1
                print("%s as %s:\n%s" % (name, standard, run.stdout))
    print("%d passed, %d failed" % (passed, failed))
    return failed > 0 or passed == 0


sys.exit(main())
