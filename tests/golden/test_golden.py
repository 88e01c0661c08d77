#!/usr/bin/env python3
"""test_golden.py - the engine's logits against an independent engine's. SPDX-License-Identifier: Apache-2.0

    test_golden.py COMMAND [NAME...]

COMMAND is spn-native; the rows of cases.py that the engine supports are checked. For each:

- F32: every kept logit within the case's tolerance of the reference's, in standard deviations of all
  logits, and the likeliest token the same behind every token (the last ones are the reference's own
  greedy continuation, so these are greedy tokens too).
- other types: `--exact` within F32's tolerance of the reference's logits for the weights written out as
  f32; and the fast path no further from `--exact`, in root mean square over all logits, than the
  reference's own logits are from those (BF16: 1.05 times as far, since both round activations alike to that
  type and only chance tells who comes nearer).
- encoders: the pooled embedding within the tolerance, in root mean squares of its numbers, alone and between
  other texts.
- a model whose matrices of one layer want activations in both forms (blocks of 32 and groups of 128): made
  here from a golden one, so only the bits are compared, with each other, and the fast path with --exact.
- every level of the processor, another number of threads, and tokens evaluated in other pieces give the
  same bits.
"""
import array
import concurrent.futures
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

from cases import CASES, F32, runs

HERE = os.path.dirname(os.path.abspath(__file__))

class Failure(Exception):
    pass


def read_vector(case):
    vec = {"rows": {}}
    with open(os.path.join(HERE, case.name + ".vec"), encoding="utf-8") as f:
        for line in f:
            key, _, rest = line.rstrip("\n").partition(" ")
            if key == "row":
                i, *numbers = rest.split()
                vec["rows"][int(i)] = [float(x) for x in numbers]
            elif key in ("tokens", "likeliest"):
                vec[key] = [int(t) for t in rest.split(",")]
            elif key == "embedding":
                vec[key] = [float(x) for x in rest.split()]
            elif key != "#":
                vec[key] = rest
    return vec


def call(command, *args):
    done = subprocess.run([command, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise Failure("%s: exit code %d: %s" % (" ".join(args[:1] + args[2:]), done.returncode,
                                                 done.stderr.decode(errors="replace").strip()))
    return done.stdout


def logits(command, model, tokens, *options):
    out = call(command, "logits", model, "--tokens", ",".join(map(str, tokens)), "--kv", "f32", *options)
    flat = array.array("f", out)
    n = len(flat) // len(tokens)
    if n == 0 or len(flat) != n * len(tokens):
        raise Failure("%d logits for %d tokens" % (len(flat), len(tokens)))
    return out, [flat[i * n:(i + 1) * n] for i in range(len(tokens))]


def largest_difference(rows, expected):
    worst = 0.0
    for i, want in expected.items():
        if len(rows[i]) != len(want):
            raise Failure("%d logits a row, not %d" % (len(rows[i]), len(want)))
        for a, b in zip(rows[i], want):
            if not abs(a - b) <= worst:  # NaN is larger than everything
                worst = abs(a - b)
    return worst


def rms(rows, others):
    differences = [a - b for row, other in zip(rows, others) for a, b in zip(row, other)]
    return (sum(d * d for d in differences) / len(differences)) ** 0.5


def within(what, value, limit):
    if not value <= limit:
        raise Failure("%s: %.3g, but the limit is %.3g" % (what, value, limit))
    return "%s %.2g of %.2g" % (what, value, limit)


def check_f32(case, vec, rows):
    scale = float(vec["deviation"])
    said = within("largest difference", largest_difference(rows, vec["rows"]) / scale, case.tolerance)
    ours = [max(range(len(row)), key=lambda i: row[i]) for row in rows]
    if ours != vec["likeliest"]:
        raise Failure("likeliest tokens are %s, not %s" % (ours, vec["likeliest"]))
    return [said]


def check_quantised(case, vec, rows, exact):
    scale = float(vec["deviation"])
    slack = 1.05 if case.type == "bf16" else 1
    return [within("exact", largest_difference(exact, vec["rows"]) / scale, F32),
            within("fast", rms(rows, exact) / scale, slack * float(vec["rounding"]) / scale)]


def check_embedding(command, case, vec, model):
    """The reference's tokens between others, in one pass and alone."""
    want, tokens, lists = vec["embedding"], vec["tokens"], []
    for text in (tokens[:3], tokens, tokens[::-1], tokens):
        lists += ["--tokens", ",".join(map(str, text))]
    options = ("embed", model, "--no-normalize")
    together = call(command, *options, *lists).splitlines()
    alone = call(command, *options, *lists[2:4])
    if len(together) != 4 or together[1] != together[3] or alone != together[1] + b"\n":
        raise Failure("embeddings in a batch are not those of the texts alone")
    out = json.loads(alone)
    size = (sum(x * x for x in want) / len(want)) ** 0.5
    return [within("largest difference", largest_difference([out], {0: want}) / size, case.tolerance)]


def check_same(command, model, tokens, out, levels):
    """The same bits on every level, in other pieces, with another number of threads."""
    ways = [("--cpu", level) for level in levels]
    ways += [("--batch", "1", "--threads", "1"), ("--batch", "7", "--threads", "3")]
    for way in ways:
        if logits(command, model, tokens, *way)[0] != out:
            raise Failure("%s gives other bits" % " ".join(way))
    return "the same bits in %d other ways" % len(ways)


def check(command, case, levels):
    model = os.path.join(HERE, case.name + ".gguf")
    vec = read_vector(case)
    with open(model, "rb") as f:
        if hashlib.sha256(f.read()).hexdigest() != vec["sha256"]:
            raise Failure("the model is not the one that the vector was made from")
    if "embedding" in vec:
        return check_embedding(command, case, vec, model)
    out, rows = logits(command, model, vec["tokens"])
    if case.type == "f32":
        said = check_f32(case, vec, rows)
    else:
        said = check_quantised(case, vec, rows, logits(command, model, vec["tokens"], "--exact")[1])
    return said + [check_same(command, model, vec["tokens"], out, levels)]


def with_q8_0(command, source, names):
    """The file with the named matrices as Q8_0 of random numbers, which stand behind its data."""
    tensors = json.loads(call(command, "inspect", source, "--json"))["tensors"]
    with open(source, "rb") as f:
        data = bytearray(f.read())
    types = {}  # where a tensor's description has its type and, behind it, where its data stand
    for tensor in tensors:
        name = tensor["name"].encode()
        at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
        types[tensor["name"]] = at + 4 + 8 * len(tensor["shape"])
    begin = (max(types.values()) + 12 + 31) // 32 * 32
    for name, shape in [(t["name"], t["shape"]) for t in tensors if t["name"] in names]:
        data += bytes(-(len(data) - begin) % 32)
        struct.pack_into("<IQ", data, types[name], 8, len(data) - begin)  # 8 is Q8_0
        numbers = random.Random(name)
        for _ in range(shape[0] * shape[1] // 32):
            data += struct.pack("<e32b", 0.0004, *(numbers.randint(-127, 127) for _ in range(32)))
    return data


def check_mixed(command, levels):
    tokens = list(range(3, 24))
    mixed = with_q8_0(command, os.path.join(HERE, "type-q4_k.gguf"),
                      ("blk.0.attn_v.weight", "blk.0.ffn_gate.weight", "blk.1.ffn_down.weight"))
    with tempfile.NamedTemporaryFile(suffix=".gguf") as model:
        model.write(mixed)
        model.flush()
        listing = json.loads(call(command, "inspect", model.name, "--json"))["tensors"]
        if not {"Q8_0", "Q4_K"} <= {t["type"] for t in listing if t["name"].startswith("blk.0.")}:
            raise Failure("the model does not mix the forms")
        out, rows = logits(command, model.name, tokens)
        exact = logits(command, model.name, tokens, "--exact")[1]
        size = rms(exact, [[0.0] * len(row) for row in exact])
        return [within("fast", rms(rows, exact) / size, 0.03), check_same(command, model.name, tokens, out, levels)]


def levels_of(command):
    return json.loads(call(command, "detect-ram", "--json"))["cpu_levels"]


def main():
    command, *names = sys.argv[1:]
    levels = levels_of(command)
    cases = [c for c in CASES if c.name in names or (runs(c) and not names)]
    passed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [(c.name, pool.submit(check, command, c, levels)) for c in cases]
        if not names:
            jobs.append(("mixed forms", pool.submit(check_mixed, command, levels)))
        for name, job in jobs:
            try:
                print("%-26s %s" % (name, "; ".join(job.result())))
                passed += 1
            except (Failure, OSError, ValueError, KeyError) as failure:
                print("%-26s FAILED: %s" % (name, failure))
    print("levels: %s; %d rows wait for their architecture or type" % (", ".join(levels), len(CASES) - len(cases)))
    print("%d passed, %d failed" % (passed, len(jobs) - passed))
    return passed != len(jobs) or passed == 0


sys.exit(main())
