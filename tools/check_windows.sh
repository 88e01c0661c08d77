#!/bin/sh
# check_windows.sh - compiles base, platform and gguf for Windows. SPDX-License-Identifier: Apache-2.0
#
# With Debian's mingw-w64, warnings being errors. It also sees to it that every function of os.h and
# platform.h is there, and links a program. Seams over libraries that mingw-w64 does not bring
# (jansson, libcrypto) are left out.
set -eu
cd "$(dirname "$0")/.."

cc=x86_64-w64-mingw32-gcc
out=${1:-build/windows}
flags='-std=c17 -O2 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wundef -Werror
    -D__USE_MINGW_ANSI_STDIO=1 -Iinclude -Isrc'
mkdir -p "$out"
rm -f "$out"/*.o

sources="$(grep -LE '^#include <(jansson|openssl/)' src/base/*.c) src/platform/cpu.c src/platform/device.c src/platform/gpu_none.c src/platform/numa_none.c
    $(ls src/platform/*_windows*.c src/gguf/*.c)"
for source in $sources; do
    $cc $flags -c "$source" -o "$out/$(basename "$source" .c).o"
done

x86_64-w64-mingw32-nm --defined-only "$out"/*.o | awk '$2 == "T" { print $3 }' | sort -u >"$out/have"
grep -ohE '\bspn_[a-z0-9_]+\(' src/platform/os.h include/spn/platform.h | tr -d '(' | sort -u |
    grep -vx spn_cpu_relax >"$out/want"
missing=$(comm -13 "$out/have" "$out/want")
[ -z "$missing" ] || { echo "not there for Windows:" $missing >&2; exit 1; }

$cc $flags tests/fuzz/fuzz_gguf.c tests/fuzz/replay.c "$out"/*.o -lbcrypt -o "$out/replay_gguf.exe"
echo "$(echo $sources | wc -w) files compiled, $(wc -l <"$out/want") functions there, linked"
