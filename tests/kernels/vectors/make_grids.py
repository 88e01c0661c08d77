#!/usr/bin/env python3
"""Writes src/compute/iq_grids.c: the grids of the IQ types, read off an independent implementation
(ggml's libggml-base shared library) by decoding a block for each index.

  make_grids.py LIBGGML_BASE.so > iq_grids.c

A grid's row is 4 or 8 small numbers out of a list of at most 8; an entry packs their places in that
list, 2 or 3 bits each, the first one lowest.
"""
import ctypes
import struct
import sys

ONE = struct.pack("<e", 1.0)
IQ2, IQ3_XXS = (8, 25, 43), (4, 12, 20, 28, 36, 44, 52, 62)
IQ3_S, IQ1 = (1, 3, 5, 7, 9, 11, 13, 15), (-1, 0, 1)


# name, type, entries, numbers a row, value list, decoded value to number, block for an index
GRIDS = [
    ("iq2_xxs", 256, 8, IQ2, lambda y: y * 8, lambda i: ONE + bytes([i]) + bytes(63)),
    ("iq2_xs", 512, 8, IQ2, lambda y: y * 8, lambda i: ONE + struct.pack("<H", i) + bytes(70)),
    ("iq2_s", 1024, 8, IQ2, lambda y: y * 8,
     lambda i: ONE + bytes([i & 255]) + bytes(63) + bytes([i >> 8]) + bytes(15)),
    ("iq3_xxs", 256, 4, IQ3_XXS, lambda y: y * 4, lambda i: ONE + bytes([i]) + bytes(95)),
    ("iq3_s", 512, 4, IQ3_S, lambda y: y,
     lambda i: ONE + bytes([i & 255]) + bytes(63) + bytes([i >> 8]) + bytes(43)),
    ("iq1_s", 2048, 8, IQ1, lambda y: y - 0.125,
     lambda i: ONE + bytes([i & 255]) + bytes(31) + struct.pack("<H", i >> 8) + bytes(14)),
]

HEAD = """/* iq_grids.c - the grids of the IQ types. SPDX-License-Identifier: Apache-2.0
 *
 * Facts of the format, written by tests/kernels/vectors/make_grids.py. A row of a grid is 8 numbers
 * (4 in IQ3) out of a short list; an entry packs their places in it, 2 bits each (3 in IQ3), the
 * first one lowest. The lists: IQ2 8 25 43; IQ3_XXS 4 12 20 28 36 44 52 62; IQ3_S 1 3 5 ... 15;
 * IQ1 -1 0 1.
 */
#include "compute/quant.h"

// clang-format off"""


def main():
    lib = ctypes.CDLL(sys.argv[1])
    print(HEAD)
    for name, count, width, values, number, block in GRIDS:
        decode, bits = getattr(lib, "dequantize_row_" + name), 2 if width == 8 else 3
        entries = []
        for i in range(count):
            y = (ctypes.c_float * 256)()
            decode(block(i), y, ctypes.c_int64(256))
            entries.append(sum(values.index(int(number(v))) << bits * j for j, v in enumerate(y[:width])))
        print("const uint16_t spn_%s_grid[%d] = {" % (name, count))
        for i in range(0, count, 12):
            print("    " + " ".join("0x%04x," % e for e in entries[i:i + 12]))
        print("};")
    print("// clang-format on")


main()
