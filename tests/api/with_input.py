#!/usr/bin/env python3
"""with_input.py - runs a program with a text as its standard input; it must succeed and say something.
SPDX-License-Identifier: Apache-2.0

    with_input.py TEXT PROGRAM ARGUMENT...
"""
import subprocess
import sys

text = sys.argv[1].replace("\\n", "\n")
done = subprocess.run(sys.argv[2:], input=text.encode(), stdout=subprocess.PIPE)
sys.stdout.buffer.write(done.stdout)
sys.exit(done.returncode or not done.stdout)
