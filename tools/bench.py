# bench.py - the standard measurements, interleaved with those of peers.
# SPDX-License-Identifier: Apache-2.0
"""bench.py COMMAND [--oracle FOLDER] [--llama-bench PROGRAM]... [-p N] [-n N] [-r ROUNDS] [-t N] MODEL...

Each round measures every program once, one after the other; the medians of the rounds count, and only
their ratios mean anything on a shared machine. FOLDER is where the reference was set up: it holds the
program `oracle` and llama.cpp's published build under node_modules. PROGRAM is a llama-bench, of
llama.cpp or of a fork, with its arguments. Prints a table as Markdown, and how it was measured.
"""
import argparse
import datetime
import glob
import json
import os
import shlex
import statistics
import subprocess


def run(command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          **more).stdout


def ours(args, model):
    return json.loads(run([args.command, "bench", model, "-p", str(args.p), "-n", str(args.n), "-r", "1",
                           "-t", str(args.t), "--json"]))


def oracle(folder, args, model):
    libs = glob.glob(os.path.join(folder, "node_modules/@node-llama-cpp/*/bins/*"))[0]
    words = run([os.path.join(folder, "oracle"), "bench", model, str(args.p), str(args.n), str(args.t)],
                env=dict(os.environ, ORACLE_LIBS=libs)).split()
    return dict(zip(words[0::2], map(float, words[1::2])))


def llama_bench(program, args, model):
    rows = json.loads(run(shlex.split(program) + ["-m", model, "-t", str(args.t), "-p", str(args.p), "-n",
                                                  str(args.n), "-r", "1", "-o", "json"]))
    return {"gen_tok_s" if row["n_gen"] else "prompt_tok_s": row["avg_ts"] for row in rows}


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def peers_of(args):
    peers = []
    if args.oracle:
        peers.append(("llama.cpp", lambda model: oracle(args.oracle, args, model)))
    for program in args.llama_bench:
        name = os.path.basename(shlex.split(program)[0]) if len(args.llama_bench) == 1 else program
        peers.append((name, lambda model, program=program: llama_bench(program, args, model)))
    return peers


def measure(args, peers, model):
    rounds = [[] for _ in range(len(peers) + 1)]
    for _ in range(args.r):
        rounds[0].append(ours(args, model))
        for rows, (_, peer) in zip(rounds[1:], peers):
            rows.append(peer(model))
    return rounds


def row(args, peers, model):
    mine, *others = measure(args, peers, model)
    prompt, gen = median(mine, "prompt_tok_s"), median(mine, "gen_tok_s")
    cells = [os.path.basename(model).removesuffix(".gguf"), f"{median(mine, 'prompt_of_int8'):.2f}",
             f"{median(mine, 'gen_of_read'):.2f}"]
    for rows in others:
        cells += [f"{prompt / median(rows, 'prompt_tok_s'):.2f}", f"{gen / median(rows, 'gen_tok_s'):.2f}"]
    return cells + [f"{prompt:.0f}", f"{gen:.1f}", f"{median(mine, 'load_s'):.2f}"]


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        facts = dict(line.strip().partition(":")[::2] for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    return f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--oracle")
    parser.add_argument("--llama-bench", action="append", default=[])
    parser.add_argument("-p", type=int, default=512)
    parser.add_argument("-n", type=int, default=32)
    parser.add_argument("-r", type=int, default=3)
    parser.add_argument("-t", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    peers = peers_of(args)
    print(f"{datetime.date.today()}, {processor()}, {args.t} threads, {args.p} tokens of prompt and {args.n} "
          f"generated, medians of {args.r} rounds:\n")
    head = ["model", "prompt, of the int8 bound", "generation, of the read bound"]
    for name, _ in peers:
        head += [f"prompt / {name}", f"generation / {name}"]
    head += ["prompt, tok/s", "generation, tok/s", "load, s"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for model in args.models:
        print("| " + " | ".join(row(args, peers, model)) + " |", flush=True)


main()
