#!/usr/bin/env python3
"""make_gguf_corpus.py - writes the seeds of fuzz_gguf. SPDX-License-Identifier: Apache-2.0

    tests/fuzz/make_gguf_corpus.py FOLDER

Written from the format's description alone, so that it is also a second opinion on the reader.
"""
import os
import struct
import sys

KINDS = {"u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"),
         "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q"),
         "i64": (11, "<q"), "f64": (12, "<d")}
BLOCKS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_K": (12, 256, 144),
          "MXFP4": (39, 32, 17)}


def text(s):
    data = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, v):
    return text(v) if kind == "str" else struct.pack(KINDS[kind][1], v)


def kind_id(kind):
    return 8 if kind == "str" else KINDS[kind][0]


def pair(key, kind, v):
    if isinstance(v, list):
        head = struct.pack("<IIQ", 9, kind_id(kind), len(v))
        return text(key) + head + b"".join(value(kind, item) for item in v)
    return text(key) + struct.pack("<I", kind_id(kind)) + value(kind, v)


def gguf(pairs=(), tensors=(), version=3, alignment=32, order=None):
    """tensors: (name, type, dimensions); order: in which the data lies in the file."""
    sizes, offsets, at = [], {}, 0
    for _, kind, dims in tensors:
        n = 1
        for d in dims:
            n *= d
        sizes.append(n // BLOCKS[kind][1] * BLOCKS[kind][2])
    for i in order or range(len(tensors)):
        offsets[i] = at
        at += -(-sizes[i] // alignment) * alignment
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    out += b"".join(pair(*p) for p in pairs)
    for i, (name, kind, dims) in enumerate(tensors):
        out += text(name) + struct.pack("<I", len(dims))
        out += b"".join(struct.pack("<Q", d) for d in dims)
        out += struct.pack("<IQ", BLOCKS[kind][0], offsets[i])
    if tensors:
        out += bytes(-len(out) % alignment)
        out += bytes(j % 251 for j in range(at))
    return out


SCALARS = [("general.architecture", "str", "llama"), ("x.u8", "u8", 255), ("x.i8", "i8", -1),
           ("x.u16", "u16", 65535), ("x.i16", "i16", -2), ("x.u32", "u32", 1), ("x.i32", "i32", -3),
           ("x.f32", "f32", 1e-5), ("x.bool", "bool", True), ("x.u64", "u64", 1 << 63),
           ("x.i64", "i64", -4), ("x.f64", "f64", 1e300)]
ARRAYS = [("tokenizer.ggml.tokens", "str", ["<s>", "</s>", b"\xff\0", ""]),
          ("tokenizer.ggml.scores", "f32", [0.0, -1.5]), ("y.flags", "bool", [True, False]),
          ("y.wide", "u64", [1, 1 << 40]), ("y.small", "i8", [-1, 5]), ("y.none", "i32", [])]
TENSORS = [("token_embd.weight", "F32", [4, 3]), ("blk.0.attn_q.weight", "Q4_0", [32, 2]),
           ("blk.0.ffn.weight", "MXFP4", [32])]
SPLIT = [("split.no", "u16", 1), ("split.count", "u16", 3), ("split.tensors.count", "i32", 2)]

SEEDS = {
    "empty-model": gguf(),
    "scalars": gguf(SCALARS),
    "scalars-v2": gguf(SCALARS, version=2),
    "arrays": gguf(ARRAYS),
    "tensors": gguf(SCALARS[:1], TENSORS),
    "tensors-unordered": gguf((), TENSORS, order=[2, 0, 1]),
    "aligned-64": gguf([("general.alignment", "u32", 64)], TENSORS, alignment=64),
    "aligned-twice": gguf([("general.alignment", "u32", 8)] * 2),
    "one-block": gguf(ARRAYS[:2], [("w", "Q4_K", [256])]),
    "scalar-tensor": gguf((), [("s", "F16", [])]),
    "split-part": gguf(SPLIT, TENSORS[:1]),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "nested-array": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") +
                    struct.pack("<IIQIQ", 9, 9, 1, 4, 0),
    "huge-counts": b"GGUF" + struct.pack("<IQQ", 3, 1 << 63, 1 << 63),
    "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
}


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


main()
