#!/usr/bin/env python3
"""make_golden.py - makes the golden models and what an independent engine computes from them.
SPDX-License-Identifier: Apache-2.0

    make_golden.py MAKER ORACLE [NAME...]

MAKER is a program that writes synthetic GGUF models from arguments like those in cases.py, ORACLE
one that prints the logits of llama.cpp's published build (`ORACLE logits MODEL IDS`: float32, a row a
token; `greedy MODEL N IDS`; `embed MODEL IDS`); ORACLE_LIBS names the folder of its libraries. Neither
is part of this repository: they are needed to make vectors anew, not to test with them.

For quantised models the logits are those that llama.cpp computes from the same weights written out as
f32 by its own decoders, so without rounding of activations; `rounding` is how far its logits from the
quantised file itself lie from them, in root mean square over all of them.
"""
import array
import ctypes
import hashlib
import os
import random
import struct
import subprocess
import sys

from cases import CASES

HERE = os.path.dirname(os.path.abspath(__file__))
N_PROMPT, N_GREEDY = 24, 16
ROWS = (0, 17, 39)  # behind the first token, past a window of 16, the last
MAX_MODEL = 300 << 10
# id: (elements a block, bytes a block, decoder in libggml-base)
DECODERS = {
    1: (1, 2, "ggml_fp16_to_fp32_row"), 30: (1, 2, "ggml_bf16_to_fp32_row"),
    2: (32, 18, "dequantize_row_q4_0"), 3: (32, 20, "dequantize_row_q4_1"),
    6: (32, 22, "dequantize_row_q5_0"), 7: (32, 24, "dequantize_row_q5_1"),
    8: (32, 34, "dequantize_row_q8_0"), 10: (256, 84, "dequantize_row_q2_K"),
    11: (256, 110, "dequantize_row_q3_K"), 12: (256, 144, "dequantize_row_q4_K"),
    13: (256, 176, "dequantize_row_q5_K"), 14: (256, 210, "dequantize_row_q6_K"),
    16: (256, 66, "dequantize_row_iq2_xxs"), 17: (256, 74, "dequantize_row_iq2_xs"),
    18: (256, 98, "dequantize_row_iq3_xxs"), 19: (256, 50, "dequantize_row_iq1_s"),
    20: (32, 18, "dequantize_row_iq4_nl"), 21: (256, 110, "dequantize_row_iq3_s"),
    22: (256, 82, "dequantize_row_iq2_s"), 23: (256, 136, "dequantize_row_iq4_xs"),
    29: (256, 56, "dequantize_row_iq1_m"), 34: (256, 54, "dequantize_row_tq1_0"),
    35: (256, 66, "dequantize_row_tq2_0"), 39: (32, 17, "dequantize_row_mxfp4"),
}


# ---- writing a model's weights out as f32

class Reader:
    """A cursor over a GGUF file (format: little-endian, version 3)."""
    SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        value = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return value if len(value) > 1 else value[0]

    def text(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n:self.at]

    def skip_value(self, kind):
        if kind == 8:
            self.text()
        elif kind == 9:
            kind, n = self.take("IQ")
            for _ in range(n):
                self.skip_value(kind)
        else:
            self.at += self.SIZES[kind]


def decode(base, kind, data, n):
    out = (ctypes.c_float * n)()
    if kind == 0:
        return data
    function = getattr(base, DECODERS[kind][2])
    function.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64]
    function(data, ctypes.addressof(out), n)
    return bytes(out)


def write_f32(base, source, target):
    with open(source, "rb") as f:
        r = Reader(f.read())
    r.take("4sI")
    n_tensors, n_items = r.take("QQ")
    for _ in range(n_items):
        r.text()
        r.skip_value(r.take("I"))
    head = r.data[:r.at]
    infos, blobs, offset = b"", [], 0
    tensors = []
    for _ in range(n_tensors):
        name, n_dims = r.text(), r.take("I")
        tensors.append((name, [r.take("Q") for _ in range(n_dims)], r.take("I"), r.take("Q")))
    start = (r.at + 31) // 32 * 32
    for name, shape, kind, at in tensors:
        n = 1
        for dim in shape:
            n *= dim
        elements, n_bytes = DECODERS[kind][:2] if kind else (1, 4)
        blob = decode(base, kind, r.data[start + at:start + at + n // elements * n_bytes], n)
        infos += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(shape))
        infos += b"".join(struct.pack("<Q", dim) for dim in shape) + struct.pack("<IQ", 0, offset)
        blob += bytes(-len(blob) % 32)
        blobs.append(blob)
        offset += len(blob)
    with open(target, "wb") as f:
        f.write(head + infos + bytes(-(len(head) + len(infos)) % 32) + b"".join(blobs))


# ---- a gemma3 model as the embedder that gemma-embedding is

def text(b):
    return struct.pack("<Q", len(b)) + b


def into_embedder(path, seed=5):
    """Renames the architecture and its keys, and adds the two matrices behind pooling."""
    with open(path, "rb") as f:
        r = Reader(f.read())
    version, (n_tensors, n_items) = r.take("4sI"), r.take("QQ")
    items = b""
    for _ in range(n_items):
        key, start = r.text(), r.at
        r.skip_value(r.take("I"))
        value = r.data[start:r.at]
        if key == b"general.architecture":
            value = struct.pack("<I", 8) + text(b"gemma-embedding")
        if key == b"gemma3.embedding_length":
            n = struct.unpack("<I", value[4:])[0]
        items += text(key.replace(b"gemma3.", b"gemma-embedding.")) + value
    for name, number in (("2_feat_in", n), ("2_feat_out", 2 * n), ("3_feat_in", 2 * n), ("3_feat_out", n)):
        items += text(b"gemma-embedding.dense_" + name.encode()) + struct.pack("<II", 4, number)
    start, end = r.at, 0
    for _ in range(n_tensors):
        r.text()
        size = 4
        for _ in range(r.take("I")):
            size *= r.take("Q")
        end = max(end, r.take("IQ")[1] + size)
    infos, data = r.data[start:r.at], r.data[(r.at + 31) // 32 * 32:][:end]
    rng = random.Random(seed)
    for name, shape in ((b"dense_2.weight", (n, 2 * n)), (b"dense_3.weight", (2 * n, n))):
        data += bytes(-len(data) % 32)
        infos += text(name) + struct.pack("<IQQIQ", 2, *shape, 0, len(data))
        data += struct.pack("<%df" % (2 * n * n), *(rng.gauss(0, shape[0] ** -0.5) for _ in range(2 * n * n)))
    head = struct.pack("<4sIQQ", *version, n_tensors + 2, n_items + 4) + items + infos
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % 32) + data)


# ---- asking the reference

class Oracle:
    def __init__(self, program):
        self.program = program
        self.base = ctypes.CDLL(os.path.join(os.environ["ORACLE_LIBS"], "libggml-base.so"))
        self.env = dict(os.environ, ORACLE_THREADS="1")

    def run(self, *args):
        return subprocess.run([self.program, *args], env=self.env, check=True, stdout=subprocess.PIPE).stdout

    def logits(self, model, tokens):
        flat = array.array("f", self.run("logits", model, ids(tokens)))
        n = len(flat) // len(tokens)
        return [flat[i * n:(i + 1) * n] for i in range(len(tokens))]

    def greedy(self, model, n, tokens):
        return [int(t) for t in self.run("greedy", model, str(n), ids(tokens)).replace(b",", b" ").split()]

    def embed(self, model, tokens):
        return [float(x) for x in self.run("embed", model, ids(tokens)).split()]


def ids(tokens):
    return ",".join(map(str, tokens))


def deviation(rows):
    flat = [x for row in rows for x in row]
    mean = sum(flat) / len(flat)
    return (sum((x - mean) ** 2 for x in flat) / len(flat)) ** 0.5


def distance(a, b):
    """Root mean square over all logits."""
    differences = [x - y for row_a, row_b in zip(a, b) for x, y in zip(row_a, row_b)]
    return (sum(d * d for d in differences) / len(differences)) ** 0.5


def likeliest(row):
    return max(range(len(row)), key=lambda i: row[i])


def gap(rows):
    """The smallest distance between a row's largest logit and its second."""
    return min(a - b for a, b in (sorted(row, reverse=True)[:2] for row in rows))


def numbers(row):
    return " ".join("%.7g" % x for x in row)


def prompt_of(seed):
    return random.Random(seed).sample(range(3, 256), N_PROMPT)


def text_vector(case, oracle, model):
    """Tokens are a random prompt and the reference's greedy continuation of it. A prompt whose
    likeliest tokens are nearly tied is passed over: rounding may decide such a tie either way."""
    for seed in range(1, 100):
        tokens = prompt_of(seed)
        tokens += oracle.greedy(model, N_GREEDY, tokens)
        rows = oracle.logits(model, tokens)
        scale = deviation(rows)
        if len(tokens) == N_PROMPT + N_GREEDY and gap(rows) > 2 * case.tolerance * scale:
            break
    else:
        sys.exit("%s: no prompt without ties" % case.name)
    lines = ["tokens " + ids(tokens), "deviation %.7g" % scale]
    if case.type == "f32":
        lines.append("likeliest " + ids(map(likeliest, rows)))
    else:
        as_f32 = model + ".f32"
        write_f32(oracle.base, model, as_f32)
        exact = oracle.logits(as_f32, tokens)
        os.remove(as_f32)
        lines.append("rounding %.7g" % distance(rows, exact))
        rows = exact
    return lines + ["row %d %s" % (i, numbers(rows[i])) for i in ROWS]


def embedding_vector(oracle, model):
    tokens = [2] + prompt_of(1)[:14] + [3]
    return ["tokens " + ids(tokens), "embedding " + numbers(oracle.embed(model, tokens))]


def make(case, maker, oracle):
    model = os.path.join(HERE, case.name + ".gguf")
    subprocess.run([sys.executable, maker, *case.make.split(), "-o", model], check=True, stdout=subprocess.PIPE)
    if case.arch == "gemma-embedding":
        into_embedder(model)
    size = os.path.getsize(model)
    if size > MAX_MODEL:
        sys.exit("%s has %d bytes; the limit is %d" % (case.name, size, MAX_MODEL))
    encoder = "pooling_type" in case.make or case.arch.endswith("bert")
    lines = embedding_vector(oracle, model) if encoder else text_vector(case, oracle, model)
    with open(model, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    with open(os.path.join(HERE, case.name + ".vec"), "w", encoding="utf-8") as f:
        f.write("# llama.cpp v0.5.0, CPU, keys and values in f32; the model: %s\n" % case.make)
        f.write("sha256 %s\n%s\n" % (digest, "\n".join(lines)))
    print("%-24s %7d bytes" % (case.name, size), flush=True)


def main():
    maker, program, *names = sys.argv[1:]
    oracle = Oracle(program)
    for case in CASES:
        if not names or case.name in names:
            make(case, maker, oracle)


main()
