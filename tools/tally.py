#!/usr/bin/env python3
"""tally.py - counts the single tests of one meson test run. SPDX-License-Identifier: Apache-2.0

    tally.py BUILD/meson-logs/testlog.json ok|FAILED

prints `passed failed`. A program of cmocka counts with its own tests, a program whose last line is
`N passed, N failed` with those, any other as one. A program that failed counts as one failure at
least, and so does a run that failed without a test having failed. Skipped tests count as nothing. Where
there is no log the run itself is the one test.
"""
import json
import re
import sys

CMOCKA_PASSED = re.compile(r"^\[  PASSED  \] (\d+) test", re.M)
CMOCKA_FAILED = re.compile(r"^\[  FAILED  \] [^\n]*?(\d+) test", re.M)
OWN_COUNT = re.compile(r"^(\d+) passed, (\d+) failed$|^seed \d+: (\d+) kernels, \d+ runs, (\d+) failed$")


def count(test):
    text = test.get("stdout", "") + "\n" + test.get("stderr", "")
    own = [m for m in map(OWN_COUNT.match, text.splitlines()) if m]
    if own:
        passed, failed = (int(n) for n in own[-1].groups() if n is not None)
    else:
        passed = sum(map(int, CMOCKA_PASSED.findall(text)))
        failed = sum(map(int, CMOCKA_FAILED.findall(text)))
    if test["result"] in ("SKIP", "EXPECTEDFAIL"):
        return 0, 0
    if test["result"] == "OK":
        return max(passed, 1), failed
    return passed, max(failed, 1)


def main():
    path, status = sys.argv[1:]
    passed = failed = 0
    try:
        with open(path, encoding="utf-8") as log:
            for line in log:
                p, f = count(json.loads(line))
                passed += p
                failed += f
    except FileNotFoundError:
        passed = int(status == "ok")
    if status != "ok" and failed == 0:
        failed = 1
    print(passed, failed)


main()
