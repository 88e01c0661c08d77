#!/usr/bin/env python3
"""Turns a checkpoint of train.c into GGUF files.

  export.py CHECKPOINT SPM.vocab OUTDIR [EARLIER WEIGHT]

writes tales.f32.gguf and tales.q8_0.gguf. With an earlier checkpoint of the same run, the weights are
CHECKPOINT + WEIGHT * (EARLIER - CHECKPOINT): averaging along the run undoes some of the memorising.
"""
import array
import math
import os
import struct
import sys

TYPES = {"f32": (0, 1, 4), "q8_0": (8, 32, 34)}  # id, elements a block, bytes a block
U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9
PACK = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}


def gstr(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def gval(kind, v):
    if kind == STR:
        return gstr(v)
    if kind == ARR:
        sub, items = v
        return struct.pack("<IQ", sub, len(items)) + b"".join(gval(sub, i) for i in items)
    return struct.pack(PACK[kind], v)


EPS, ROPE_BASE = 1e-5, 10000.0
NAME = "spn tales 2M"
ABOUT = ("A tiny language model of English fairy tales, trained from scratch for this project on "
         "public-domain books from Project Gutenberg. For trying the engine without a network; "
         "it knows nothing but how tales sound.")


def read_checkpoint(path):
    b = open(path, "rb").read()
    assert b[:8] == b"SPNTALE1", path
    names = ("vocab", "dim", "layers", "heads", "kvh", "hd", "ff", "ctx")
    s = dict(zip(names, struct.unpack("<8i", b[8:40])))
    at = 40

    def take(n):
        nonlocal at
        a = array.array("f")
        a.frombytes(b[at:at + 4 * n])
        at += 4 * n
        return a

    d, q, kv, ff = s["dim"], s["heads"] * s["hd"], s["kvh"] * s["hd"], s["ff"]
    t = [("token_embd.weight", [d, s["vocab"]], take(d * s["vocab"]))]
    for i in range(s["layers"]):
        p = "blk.%d." % i
        t.append((p + "attn_norm.weight", [d], take(d)))
        t.append((p + "attn_q.weight", [d, q], take(d * q)))
        t.append((p + "attn_k.weight", [d, kv], take(d * kv)))
        t.append((p + "attn_v.weight", [d, kv], take(d * kv)))
        t.append((p + "attn_output.weight", [q, d], take(q * d)))
        t.append((p + "ffn_norm.weight", [d], take(d)))
        t.append((p + "ffn_gate.weight", [d, ff], take(d * ff)))
        t.append((p + "ffn_up.weight", [d, ff], take(d * ff)))
        t.append((p + "ffn_down.weight", [ff, d], take(ff * d)))
    t.append(("output_norm.weight", [d], take(d)))
    return s, t


def q8_0(x):
    """Blocks of 32: an f16 scale d = max|x|/127, then round(x/d), halves away from zero."""
    out = bytearray()
    for i in range(0, len(x), 32):
        blk = x[i:i + 32]
        d = max(map(abs, blk)) / 127
        inv = 1 / d if d else 0.0
        out += struct.pack("<e", d)
        out += struct.pack("<32b", *(int(math.copysign(math.floor(abs(v) * inv + 0.5), v)) for v in blk))
    return bytes(out)


class Gguf:
    """Metadata, and tensors that carry their bytes."""

    def __init__(self, arch):
        self.arch, self.kv, self.tensors = arch, [], []
        self.add("general.architecture", STR, arch)

    def add(self, key, kind, v):
        self.kv.append((key, kind, v))

    def hp(self, key, kind, v):
        self.add("%s.%s" % (self.arch, key), kind, v)

    def write(self, path, align=32):
        infos, off = [], 0
        for _, _, _, data in self.tensors:
            infos.append(off)
            off += (len(data) + align - 1) // align * align
        with open(path, "wb") as f:
            f.write(b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.kv)))
            for key, kind, v in self.kv:
                f.write(gstr(key) + struct.pack("<I", kind) + gval(kind, v))
            for (name, dims, kind, _), o in zip(self.tensors, infos):
                f.write(gstr(name) + struct.pack("<I", len(dims)) + struct.pack("<%dQ" % len(dims), *dims))
                f.write(struct.pack("<IQ", TYPES[kind][0], o))
            f.write(b"\0" * (-f.tell() % align))
            for _, _, _, data in self.tensors:
                f.write(data + b"\0" * (-len(data) % align))


def export(s, tensors, vocab, kind, path):
    m = Gguf("llama")
    params = sum(len(x) for _, _, x in tensors)
    m.add("general.type", STR, "model")
    m.add("general.name", STR, NAME)
    m.add("general.size_label", STR, "%.1fM" % (params / 1e6))
    m.add("general.license", STR, "apache-2.0")
    m.add("general.description", STR, ABOUT)
    m.add("general.languages", ARR, (STR, ["en"]))
    m.add("general.file_type", U32, {"f32": 0, "q8_0": 7}[kind])
    m.add("general.quantization_version", U32, 2)
    m.add("general.alignment", U32, 32)
    m.hp("block_count", U32, s["layers"])
    m.hp("context_length", U32, s["ctx"])
    m.hp("embedding_length", U32, s["dim"])
    m.hp("feed_forward_length", U32, s["ff"])
    m.hp("attention.head_count", U32, s["heads"])
    m.hp("attention.head_count_kv", U32, s["kvh"])
    m.hp("attention.key_length", U32, s["hd"])
    m.hp("attention.value_length", U32, s["hd"])
    m.hp("attention.layer_norm_rms_epsilon", F32, EPS)
    m.hp("rope.dimension_count", U32, s["hd"])
    m.hp("rope.freq_base", F32, ROPE_BASE)
    m.hp("vocab_size", U32, s["vocab"])
    pieces, scores, types = [], [], []
    for i, line in enumerate(open(vocab, encoding="utf-8", newline="\n")):
        p, score = line.rstrip("\n").split("\t")
        pieces.append(p)
        scores.append(float(score))
        types.append(2 if i == 0 else 3 if i < 3 else 6 if p.startswith("<0x") and len(p) == 6 else 1)
    assert pieces[:3] == ["<unk>", "<s>", "</s>"] and types.count(6) == 256 and len(pieces) == s["vocab"]
    m.add("tokenizer.ggml.model", STR, "llama")
    m.add("tokenizer.ggml.pre", STR, "default")
    m.add("tokenizer.ggml.tokens", ARR, (STR, pieces))
    m.add("tokenizer.ggml.scores", ARR, (F32, scores))
    m.add("tokenizer.ggml.token_type", ARR, (I32, types))
    m.add("tokenizer.ggml.bos_token_id", U32, 1)
    m.add("tokenizer.ggml.eos_token_id", U32, 2)
    m.add("tokenizer.ggml.unknown_token_id", U32, 0)
    m.add("tokenizer.ggml.add_bos_token", BOOL, True)
    m.add("tokenizer.ggml.add_eos_token", BOOL, False)
    m.add("tokenizer.ggml.add_space_prefix", BOOL, True)
    m.add("tokenizer.ggml.remove_extra_whitespaces", BOOL, False)
    for name, dims, x in tensors:
        if kind == "q8_0" and len(dims) == 2:
            m.tensors.append((name, dims, "q8_0", q8_0(x)))
        else:
            m.tensors.append((name, dims, "f32", x.tobytes()))
    m.write(path)
    print("%s: %d tensors, %d parameters, %d bytes" % (path, len(tensors), params, os.path.getsize(path)))


def main():
    if len(sys.argv) not in (4, 6):
        sys.exit(__doc__)
    s, tensors = read_checkpoint(sys.argv[1])
    if len(sys.argv) == 6:
        earlier, w = read_checkpoint(sys.argv[4]), float(sys.argv[5])
        assert earlier[0] == s
        tensors = [(name, dims, array.array("f", [x + w * (y - x) for x, y in zip(a, b)]))
                   for (name, dims, a), (_, _, b) in zip(tensors, earlier[1])]
    for kind in ("f32", "q8_0"):
        export(s, tensors, sys.argv[2], kind, os.path.join(sys.argv[3], "tales.%s.gguf" % kind))


if __name__ == "__main__":
    main()
