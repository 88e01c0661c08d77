#!/usr/bin/env python3
# bench_peer.py - this engine beside llama.cpp's published build, interleaved.
# SPDX-License-Identifier: Apache-2.0
"""bench_peer.py COMMAND ORACLE_FOLDER [-p N] [-n N] [-r ROUNDS] [-t N] MODEL...

ORACLE_FOLDER is where the reference was set up: it holds the program `oracle` and its library under
node_modules. Each round runs one measurement of either side; medians of the rounds count, and only
their ratio means anything on a shared machine. Prints a table as Markdown.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess


def ours(args, model):
    out = subprocess.run([args.command, "bench", model, "-p", str(args.p), "-n", str(args.n), "-r", "1",
                          "-t", str(args.t), "--json"], check=True, capture_output=True).stdout
    return json.loads(out)


def peer(args, model):
    libs = glob.glob(os.path.join(args.oracle, "node_modules/@node-llama-cpp/*/bins/*"))[0]
    out = subprocess.run([os.path.join(args.oracle, "oracle"), "bench", model, str(args.p),
                          str(args.n), str(args.t)], check=True, capture_output=True, text=True,
                         env=dict(os.environ, ORACLE_LIBS=libs)).stdout.split()
    return dict(zip(out[0::2], map(float, out[1::2])))


def median(rows, key):
    return statistics.median(row[key] for row in rows if key in row)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("oracle")
    parser.add_argument("models", nargs="+")
    parser.add_argument("-p", type=int, default=512)
    parser.add_argument("-n", type=int, default=32)
    parser.add_argument("-r", type=int, default=3)
    parser.add_argument("-t", type=int, default=2)
    args = parser.parse_args()
    print("| model | prompt, tok/s | / llama.cpp | of int8 limit | generation, tok/s | / llama.cpp "
          "| of read limit | load, s |")
    print("|---|---|---|---|---|---|---|---|")
    for model in args.models:
        a, b = [], []
        for _ in range(args.r):
            a.append(ours(args, model))
            b.append(peer(args, model))
        prompt, gen = median(a, "prompt_tok_s"), median(a, "gen_tok_s")
        print(f"| {os.path.basename(model)} | {prompt:.0f} | {prompt / median(b, 'prompt_tok_s'):.2f} "
              f"| {median(a, 'prompt_of_int8'):.2f} | {gen:.1f} | {gen / median(b, 'gen_tok_s'):.2f} "
              f"| {median(a, 'gen_of_read'):.2f} | {median(a, 'load_s'):.2f} "
              f"({median(b, 'load_s'):.2f}) |", flush=True)


main()
