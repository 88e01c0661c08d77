#!/bin/sh
# check_symbols.sh BUILD - names at link time. SPDX-License-Identifier: Apache-2.0
#
# Every global of the static library starts with spn_; the shared library exports exactly what the
# public headers declare with SPN_API, as far as the features of this build have it.
set -eu
build=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

nm -g --defined-only "$build/src/libspn-native.a" | awk 'NF == 3 && $3 !~ /^spn_/' >"$tmp/foreign"
if [ -s "$tmp/foreign" ]; then
    echo "globals of the static library that do not start with spn_:"
    cat "$tmp/foreign"
    exit 1
fi

nm -D --defined-only "$build/src/libspn-native.so" | awk '{ print $NF }' | sed 's/@.*//' | sort >"$tmp/exported"
# Declarations may break over lines: the name is the word before the first parenthesis after SPN_API.
cat include/spn/*.h | grep -v '^#' | tr '\n' ' ' | grep -o 'SPN_API [^;(]*(' |
    sed 's/ *($//; s/.*[ *]//' | sort -u >"$tmp/declared"
comm -23 "$tmp/exported" "$tmp/declared" >"$tmp/extra"
comm -13 "$tmp/exported" "$tmp/declared" >"$tmp/missing"
bad=0
[ ! -s "$tmp/extra" ] || { echo "exported, but in no public header:"; cat "$tmp/extra"; bad=1; }
[ ! -s "$tmp/missing" ] || { echo "declared with SPN_API, but not exported:"; cat "$tmp/missing"; bad=1; }
[ -s "$tmp/declared" ] || { echo "no declarations were found"; bad=1; }
exit $bad
