#!/usr/bin/env python3
"""test_install.py - what `meson install` puts down is enough to build and run a program.
SPDX-License-Identifier: Apache-2.0

    test_install.py SOURCE BUILD PREFIX SANITIZERS CC...

Installs into a folder of its own, then sees only that folder: builds examples/simple.c and
tests/api/cycle.c with pkg-config, runs them with the installed model, and runs the installed command.
"""
import os
import subprocess
import sys
import tempfile


def run(*command, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        sys.exit("%s failed:\n%s%s" % (" ".join(command), done.stdout, done.stderr))
    return done.stdout


def find(root, name):
    for folder, _, names in os.walk(root):
        if name in names:
            return os.path.join(folder, name)
    sys.exit("not installed: " + name)


def main():
    source, build, prefix, sanitizers, *cc = sys.argv[1:]
    with tempfile.TemporaryDirectory() as root:
        run("meson", "install", "-C", build, "--no-rebuild", env=dict(os.environ, DESTDIR=root))
        model = find(root, "tales.q8_0.gguf")
        library = os.path.dirname(find(root, "libspn-native.so"))
        env = dict(os.environ, LD_LIBRARY_PATH=library,
                   PKG_CONFIG_PATH=os.path.dirname(find(root, "spn-native.pc")))
        flags = run("pkg-config", "--define-variable=prefix=" + root + prefix, "--cflags", "--libs", "spn-native", env=env).split()
        program = os.path.join(root, "simple")
        more = [] if sanitizers == "none" else ["-fsanitize=" + sanitizers]
        run(*cc, os.path.join(source, "examples", "simple.c"), "-o", program, *more, *flags, env=env)
        text = run(program, model, "Once upon a time", env=env)
        if len(text) < 40:
            sys.exit("the example built against the installed tree printed only: %r" % text)
        # A program that uses every part of the runtime.
        run(*cc, os.path.join(source, "tests", "api", "cycle.c"), "-o", program, *more, *flags, env=env)
        run(program, model, "1", env=env, cwd=root)
        command = find(root + prefix + "/bin", "spn-native")
        run(command, "--version", env=env)
        run(command, "inspect", model, env=env)
        if not find(root, "engine.h").endswith("/include/spn/engine.h"):
            sys.exit("the headers stand at an unexpected place")
    print("4 passed, 0 failed")


main()
