#!/usr/bin/env python3
"""check_tidy.py - clang-tidy over source files, in parallel. SPDX-License-Identifier: Apache-2.0

    git ls-files 'src/*.c' | tools/check_tidy.py BUILD JOBS

uses BUILD/compile_commands.json; a file that is not compiled there is skipped with its name. A file
that was clean before is not asked again while it, every header and the configuration stay the same.
`clang-tidy -p BUILD FILE` shows the path that leads to a complaint.
"""
import concurrent.futures
import glob
import hashlib
import json
import os
import subprocess
import sys

# gcc has options that clang does not know; asserts tell the analyser what holds.
ARGS = ["--quiet", "--extra-arg=-Wno-unknown-warning-option", "--extra-arg=-UNDEBUG"]


def digest(paths):
    h = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as f:
            h.update(path.encode() + b"\0" + f.read())
    return h.hexdigest()


def tidy(build, path):
    run = subprocess.run(["clang-tidy", "-p", build, *ARGS, path], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    return run.returncode, run.stdout, run.stderr


def main():
    build, jobs = sys.argv[1], int(sys.argv[2])
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        known = {os.path.relpath(os.path.join(c["directory"], c["file"])) for c in json.load(f)}
    paths = [line.strip() for line in sys.stdin]
    for path in sorted(set(paths) - known):
        print("not compiled in this build, skipped: " + path)
    paths = [p for p in paths if p in known]
    if not paths:
        sys.exit("no file to check")
    common = digest(sorted(glob.glob("include/**/*.h", recursive=True) +
                           glob.glob("src/**/*.h", recursive=True)) + [".clang-tidy"])
    cache = os.path.join(build, "tidy-clean")
    os.makedirs(cache, exist_ok=True)
    marks = {p: os.path.join(cache, hashlib.sha256((common + digest([p])).encode()).hexdigest())
             for p in paths}
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        todo = [p for p in paths if not os.path.exists(marks[p])]
        for path, (code, out, err) in zip(todo, pool.map(lambda p: tidy(build, p), todo)):
            if code == 0:
                open(marks[path], "w", encoding="utf-8").close()
            else:
                bad += 1
                errors = [line for line in out.splitlines() if ": error: " in line]
                print("\n".join(errors) or out + err, flush=True)
    if bad:
        sys.exit("%d of %d files have complaints" % (bad, len(paths)))


main()
