#!/usr/bin/env python3
"""test_readme.py - the README says what is so. SPDX-License-Identifier: Apache-2.0

    test_readme.py SOURCE COMMAND

Its C example is examples/simple.c; the tale under `./dev demo` is the one that is told; each `spn-native`
line that it shows names a command and options that exist; it is no longer than 200 lines; files that it
links to are there.
"""
import os
import re
import shlex
import subprocess
import sys


def check_commands(text, command):
    for line in re.findall(r"^\$ (spn-native .*)$|^(?:    )?(spn-native \w.*)$", text, re.M):
        words = (line[0] or line[1]).split()
        page = subprocess.run([command, words[1], "--help"], stdout=subprocess.PIPE, text=True)
        if page.returncode != 0 and not words[1].startswith("-"):
            yield "no command: " + " ".join(words)
        for word in words[2:]:
            if re.fullmatch(r"--?[a-z][a-z-]*", word) and not re.search(r"(?<![\w-])%s(?![\w-])" % word, page.stdout):
                yield "%s has no option %s" % (words[1], word)


def told(source, command):
    """The tale of `./dev demo`, with the options that stand there."""
    with open(os.path.join(source, "dev"), encoding="utf-8") as f:
        options = re.search(r"set -- (\"Once upon a time\"[^;]*);", f.read()).group(1)
    run = subprocess.run([command, "run", "demo", *shlex.split(options)], stdout=subprocess.PIPE, text=True)
    return "Once upon a time" + run.stdout


def main():
    source, command = sys.argv[1:]
    with open(os.path.join(source, "README.md"), encoding="utf-8") as f:
        text = f.read()
    with open(os.path.join(source, "examples", "simple.c"), encoding="utf-8") as f:
        example = f.read()
    bad = list(check_commands(text, command))
    if " ".join(told(source, command).split()) not in " ".join(text.split()):
        bad.append("./dev demo tells another tale")
    blocks = re.findall(r"^```c\n(.*?)^```$", text, re.M | re.S)
    if blocks != [example]:
        bad.append("the C example is not examples/simple.c")
    if text.count("\n") > 200:
        bad.append("%d lines; the limit is 200" % text.count("\n"))
    bad += ["no such file: " + link for link in re.findall(r"\]\(([^)#:]+)\)", text)
            if not os.path.exists(os.path.join(source, link))]
    print("\n".join(bad))
    return len(bad) > 0


sys.exit(main())
