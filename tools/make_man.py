#!/usr/bin/env python3
"""make_man.py - manual pages from what the program says of itself. SPDX-License-Identifier: Apache-2.0

    make_man.py PROGRAM TAIL VERSION OUT.1 [COMMAND]

Without COMMAND the page of the whole program, which lists the commands and ends with the file TAIL.
"""
import subprocess
import sys


def ask(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def lines(text):
    return "\n".join(escape(line) for line in text.strip("\n").split("\n"))


def whole(program, tail, version):
    commands = [row.split("\t") for row in ask(program, "--help-commands").splitlines()]
    page = [".TH SPN\\-NATIVE 1 \"\" \"spn\\-native %s\"" % version, ".SH NAME",
            "spn\\-native \\- find, keep and run GGUF models on this machine", ".SH SYNOPSIS",
            ".B spn\\-native", ".I COMMAND", "[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...", ".SH COMMANDS"]
    for name, summary in commands:
        page += [".TP", ".BR spn\\-native\\-%s (1)" % escape(name), escape(summary[:1].upper() + summary[1:]) + "."]
    with open(tail, encoding="utf-8") as f:
        page.append(f.read().strip("\n"))
    return page


def single(program, version, name):
    summary = dict(row.split("\t") for row in ask(program, "--help-commands").splitlines())[name]
    text = ask(program, name, "--help")
    usage, _, rest = text.partition("\n\n")
    about, _, rest = rest.partition("\n\nOptions:\n")
    _, _, examples = rest.partition("\n\nExamples:\n")
    page = [".TH SPN\\-NATIVE\\-%s 1 \"\" \"spn\\-native %s\"" % (escape(name.upper()), version), ".SH NAME",
            "spn\\-native\\-%s \\- %s" % (escape(name), escape(summary)), ".SH SYNOPSIS", ".nf",
            escape(usage.replace("Usage: ", "")), ".fi", ".SH DESCRIPTION", lines(about), ".SH OPTIONS"]
    for row in ask(program, name, "--help-options").splitlines():
        option, brief, value, help_text = row.split("\t")
        label = (brief + ", " if brief else "") + option
        page += [".TP", "\\fB%s\\fR%s" % (escape(label), " \\fI%s\\fR" % escape(value) if value else ""),
                 escape(help_text[:1].upper() + help_text[1:]) + "."]
    if examples:
        page += [".SH EXAMPLES", ".nf", lines(examples), ".fi"]
    return page + [".SH SEE ALSO", ".BR spn\\-native (1)"]


def main():
    program, tail, version, out = sys.argv[1:5]
    page = single(program, version, sys.argv[5]) if len(sys.argv) > 5 else whole(program, tail, version)
    with open(out, "w", encoding="utf-8") as f:
        f.write("\n".join(page) + "\n")


main()
