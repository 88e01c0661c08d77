#!/usr/bin/env python3
"""make_tokenizer_corpus.py - writes corpus/tokenizer. SPDX-License-Identifier: Apache-2.0

Texts under each built-in vocabulary (first byte 0-4) and small vocabularies, good and damaged
(first byte 255): see fuzz_tokenizer.c.
"""
import os
import struct

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "tokenizer")
TEXTS = {
    "prose": b"the thee ab  the\n\nthe 111 <x><x><x> x><x> don't DON'T",
    "bytes": bytes(range(256)) + bytes(range(255, -1, -1)),
    "broken": b"\xe8B the\xfaX \xff\xe2\x96 \xf0\x9f\x98 \xc0\xaf\xed\xa0\x80<x\xe2\x96\x81>",
    "marks": "\u2581\u2581 \u2581the the\u2581".encode(),
    "scripts": "\u4f60\u597d \ud55c\uad6d \u0e44\u0e17\u0e22 caf\u00e9 cafe\u0301 \U0001f468\u200d\U0001f469 \u0130\u01c5".encode(),
    "long": b"a" * 300 + b" " * 300 + b"\n" * 100 + b"1" * 100 + b"<x>" * 40,
}


def text(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack("<Q", len(data)) + data


def pair(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, bool):
        return text(key) + struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", 4, value)
    if isinstance(value, bytes):
        return text(key) + struct.pack("<IIQ", 9, 0, len(value)) + value
    if value and isinstance(value[0], float):
        return text(key) + struct.pack("<IIQ%df" % len(value), 9, 6, len(value), *value)
    if value and isinstance(value[0], int):
        return text(key) + struct.pack("<IIQ%di" % len(value), 9, 5, len(value), *value)
    return text(key) + struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))


def file(**pairs):
    body = b"".join(pair("tokenizer.ggml." + key, value) for key, value in pairs.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + body


TOKENS = ["<unk>", "<s>", "</s>", "\u2581", "a", "b", "ab", "\u2581a", "<x>", "<0x41>", "", "a"]
TYPES = [2, 3, 3, 1, 1, 1, 1, 1, 4, 6, 1, 1]
SCORES = [0.0, 0.0, 0.0, -1.0, -2.0, -3.0, -4.0, float("nan"), 0.0, float("-inf"), -5.0, -0.0]
BASE = dict(tokens=TOKENS, token_type=TYPES, scores=SCORES)
# The double array of the map "b" -> "a": root, its child, the child's value.
MAP = struct.pack("<I", 4 * 256) + struct.pack("<256I", 0x400, *([0] * 98), 0x562, 0, *([0] * 155)) + b"a\0"
FILES = {
    "llama": file(model="llama", add_space_prefix=True, **BASE),
    "llama-merged": file(model="llama", remove_extra_whitespaces=True, add_eos_token=True, **BASE),
    "gpt2": file(model="gpt2", pre="qwen2", merges=["a b", "ab a", "\u0120 a", "x y"], **BASE),
    "gpt2-tekken": file(model="gpt2", pre="tekken", merges=["a b"], **BASE),
    "gpt2-kimi": file(model="gpt2", pre="kimi-k2", merges=["a b"], **BASE),
    "gpt2-unknown": file(model="gpt2", pre="none such", merges=["a b"], **BASE),
    "gpt2-no-merges": file(model="gpt2", pre="gpt-2", **BASE),
    "gpt2-bad-merge": file(model="gpt2", pre="gpt-2", merges=["a b", " ", ""], **BASE),
    "gemma4": file(model="gemma4", merges=["a b", "\u2581 a", "\u2581 \u2581"], bos_token_id=1, **BASE),
    "bert": file(model="bert", unknown_token_id=0, cls_token_id=1, seperator_token_id=2, **BASE),
    "bert-cased": file(model="bert", unknown_token_id=0, **{"normalizer.lowercase": False}, **BASE),
    "t5": file(model="t5", unknown_token_id=0, precompiled_charsmap=MAP, add_space_prefix=True, **BASE),
    "t5-far": file(model="t5", unknown_token_id=0,
                   precompiled_charsmap=struct.pack("<IIII", 12, 0xFFFFFFFF, 0x62, 0x80FFFFFF) + b"\0", **BASE),
    "t5-cut": file(model="t5", unknown_token_id=0, precompiled_charsmap=MAP[:-1], **BASE),
    "short": file(model="llama", tokens=TOKENS, token_type=TYPES[:3], scores=SCORES),
    "odd-ids": file(model="llama", bos_token_id=0xFFFFFFFF, eos_token_id=12, eot_token_id=11, **BASE),
}


def main():
    os.makedirs(OUT, exist_ok=True)
    for name, data in TEXTS.items():
        for model in range(5):
            with open(os.path.join(OUT, "text-%d-%s" % (model, name)), "wb") as out:
                out.write(bytes([model]) + data)
    for name, data in FILES.items():
        with open(os.path.join(OUT, "file-" + name), "wb") as out:
            out.write(b"\xff" + data)


if __name__ == "__main__":
    main()
