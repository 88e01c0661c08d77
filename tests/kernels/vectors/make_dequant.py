#!/usr/bin/env python3
"""Writes dequant.vec: blocks of random bits of every quantised type, and the values that an
independent implementation (ggml's libggml-base shared library) decodes them to.

  make_dequant.py LIBGGML_BASE.so > dequant.vec

A line is: type name, the bytes in hex, the f32 values' bits in hex. Scales that are half-precision
numbers are replaced by finite ones of ordinary size; all other bits are random.
"""
import ctypes
import random
import struct
import sys

# name: elements, bytes, offsets of f16 scales
TYPES = {
    "Q4_0": (32, 18, [0]), "Q4_1": (32, 20, [0, 2]), "Q5_0": (32, 22, [0]),
    "Q5_1": (32, 24, [0, 2]), "Q8_0": (32, 34, [0]), "Q2_K": (256, 84, [80, 82]),
    "Q3_K": (256, 110, [108]), "Q4_K": (256, 144, [0, 2]), "Q5_K": (256, 176, [0, 2]),
    "Q6_K": (256, 210, [208]), "IQ2_XXS": (256, 66, [0]), "IQ2_XS": (256, 74, [0]),
    "IQ2_S": (256, 82, [0]), "IQ3_XXS": (256, 98, [0]), "IQ3_S": (256, 110, [0]),
    "IQ1_S": (256, 50, [0]), "IQ1_M": (256, 56, []), "IQ4_NL": (32, 18, [0]),
    "IQ4_XS": (256, 136, [0]), "TQ1_0": (256, 54, [52]), "TQ2_0": (256, 66, [64]),
    "MXFP4": (32, 17, []),
}


def block(rng, name):
    _, size, scales = TYPES[name]
    data = bytearray(rng.randbytes(size))
    for at in scales:
        data[at:at + 2] = struct.pack("<e", rng.choice((-1, 1)) * rng.uniform(1e-4, 2.0))
    if name == "IQ1_M":  # its scale lies in the top four bits of its four scale words
        bits = struct.unpack("<H", struct.pack("<e", rng.uniform(1e-4, 2.0)))[0]
        for w in range(4):
            data[49 + 2 * w] = data[49 + 2 * w] & 15 | (bits >> 4 * w & 15) << 4
    return bytes(data)


def main():
    lib, rng = ctypes.CDLL(sys.argv[1]), random.Random(20)
    for name, (n, size, _) in TYPES.items():
        for _ in range(3 if n == 32 else 1):
            data = block(rng, name)
            values = (ctypes.c_float * n)()
            decode = getattr(lib, "dequantize_row_" + name.lower().replace("_k", "_K"))
            decode(data, values, ctypes.c_int64(n))
            print(name, data.hex(), struct.pack(">%df" % n, *values).hex())


main()
