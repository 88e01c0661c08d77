#!/usr/bin/env python3
"""test_store.py - the store's commands against a stub hub that misbehaves. SPDX-License-Identifier: Apache-2.0

    test_store.py COMMAND [NAME...]

Every function named test_... is a test; each gets a hub and an empty store of its own.
SPN_TEST_KILLS=200 SPN_TEST_MB=200 make the test of kills as long as it is meant to be at its longest.
"""
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "hub"))
from stub_hub import Hub  # noqa: E402

COMMAND = os.path.abspath(sys.argv[1])
FAST = ["--retry-pause", "20"]
BLOCK = 256 << 10


def blob(seed, size):
    return b"GGUF" + random.Random(seed).randbytes(size - 4)


class Skip(Exception):
    """Why a test cannot be made here."""


class Store:
    """A store, a home and an environment without anything of the machine's own."""

    def __init__(self, hub, folder):
        self.hub, self.folder = hub, folder
        self.dir = os.path.join(folder, "models")
        self.env = {"HOME": folder, "PATH": os.environ["PATH"], "HF_ENDPOINT": hub.url,
                    "SPN_MODELS_DIR": self.dir}
        for name in ("LD_LIBRARY_PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        if hub.ca_file:
            self.env["SSL_CERT_FILE"] = hub.ca_file

    def start(self, *args, **env):
        return subprocess.Popen([COMMAND, *args], env=dict(self.env, **env), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *args, code=0, **env):
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=120)
        if process.returncode != code:
            raise AssertionError("%s: exit code %d, not %d\n%s%s" % (
                " ".join(args), process.returncode, code, out, err))
        self.err = err
        return out.strip()

    def pull(self, ref, *args, **kw):
        return self.run("pull", ref, *FAST, *args, **kw)

    def path(self, name):
        return os.path.join(self.dir, name)

    def files(self):
        return sorted(os.path.relpath(os.path.join(d, n), self.dir)
                      for d, _, names in os.walk(self.dir) for n in names if ".locks" not in d)


def check(ok, text):
    if not ok:
        raise AssertionError(text)


def same(path, data):
    with open(path, "rb") as file:
        check(file.read() == data, "%s has other bytes" % path)


def contains(text, *words):
    for word in words:
        check(word in text, "%r is not in %r" % (word, text))


def ranged(hub):
    return sum(1 for _, r, _ in hub.cdn_log if r)


# ---- the plain road ----

def test_pull_verify_and_keep(hub, store):
    data = blob(1, 5_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data, "m-Q8_0.gguf": blob(2, 900_000), "README.md": b"x"})
    path = store.pull("hf:o/r")
    check(path == store.path("o/r/m-Q4_K_M.gguf"), path)
    same(path, data)
    check(store.files() == ["o/r/m-Q4_K_M.gguf", "o/r/m-Q4_K_M.gguf.blocks",
                            "o/r/m-Q4_K_M.gguf.json"], store.files())
    manifest = json.load(open(path + ".json", encoding="utf-8"))
    check(manifest["sha256"] == hashlib.sha256(data).hexdigest(), manifest)
    check(manifest["commit"] == hub.repos["o/r"].commit and manifest["size"] == len(data), manifest)
    hub.reset()
    check(store.pull("hf:o/r") == path, "again")
    check(not hub.log and not hub.cdn_log, "a model that is here was asked for again")
    check(store.pull("hf:o/r", HF_HUB_OFFLINE="1") == path, "offline")
    check(store.run("path", "hf:o/r:Q4_K_M") == path, "path")
    check(store.run("path", "m-Q4_K_M") == path, "path by stem")
    contains(store.run("verify"), manifest["sha256"])
    models = json.loads(store.run("list", "--json"))
    check([m["name"] for m in models] == ["o/r/m-Q4_K_M.gguf"] and
          models[0]["state"] == "complete", models)
    # Force fetches it again, and by the name of the file it finds the other one.
    hub.reset()
    store.pull("hf:o/r", "--force")
    check(hub.sent >= len(data), "force fetched nothing")
    check(store.pull("hf:o/r/m-Q8_0.gguf").endswith("m-Q8_0.gguf"), "by file")
    store.run("rm", "hf:o/r", code=2)
    contains(store.err, "fits 2 models")
    store.run("rm", "hf:o/r:Q4_K_M")
    store.run("rm", "o/r/m-Q8_0.gguf")
    check(store.files() == [] and not os.path.exists(store.path("o")), store.files())


def test_curated_models_by_quantization(hub, store):
    # The catalogue's name is gone: the file of the same quantization is found.
    data = blob(3, 700_000)
    hub.add("Qwen/Qwen3-8B-GGUF", {"renamed-q4_k_m.gguf": data, "renamed-q8_0.gguf": blob(4, 1000)})
    path = store.pull("qwen3:8b")
    same(path, data)
    contains(store.err, "is called renamed-q4_k_m.gguf now")
    check(store.run("path", "qwen3:8b") == path, "by id")
    store.pull("qwen3:8b:q6_k", code=3)
    contains(store.err, "no Q6_K", "renamed-q4_k_m.gguf")
    # A vision model comes with its encoder.
    hub.add("Qwen/Qwen3-VL-8B-Instruct-GGUF", {
        "Qwen3VL-8B-Instruct-Q4_K_M.gguf": blob(5, 3000), "mmproj-x-F16.gguf": blob(6, 2000)})
    store.pull("llama4-vision:8b")
    contains(store.err, "no Llama 4 of 8B")
    check(any("mmproj-x-F16.gguf" in f for f in store.files()), store.files())


def test_split_models_are_one(hub, store):
    parts = {"Q4_K_M/m-Q4_K_M-0000%d-of-00003.gguf" % i: blob(10 + i, 1_000_000) for i in (1, 2, 3)}
    hub.add("o/split", parts)
    hub.faults.cdn_status = (500, [], b"")
    hub.faults.times["cdn_status"] = 10 ** 6
    store.pull("hf:o/split", "--retries", "0", code=10)
    check(not any(f.endswith(".gguf") for f in store.files()), "a part got its name too early")
    hub.faults.cdn_status = None
    first = store.pull("hf:o/split")
    check(first.endswith("-00001-of-00003.gguf"), first)
    for name, data in parts.items():
        same(store.path("o/split/" + name), data)
    models = json.loads(store.run("list", "--json"))
    check(len(models) == 1 and models[0]["files"] == 3 and models[0]["size"] == 3_000_000, models)
    os.remove(store.path("o/split/Q4_K_M/m-Q4_K_M-00002-of-00003.gguf"))
    store.run("path", "hf:o/split", code=3)
    contains(store.err, "not complete")
    store.pull("hf:o/split")
    store.run("verify", "hf:o/split")
    store.run("rm", "hf:o/split")
    check(store.files() == [], store.files())
    hub.add("o/holes", {"m-00001-of-00002.gguf": blob(1, 1000)})
    store.pull("hf:o/holes", code=3)
    contains(store.err, "lacks m-00002-of-00002.gguf")


def test_pages_renames_and_mirrors(hub, store):
    files = {"f%03d.txt" % i: b"x" for i in range(30)}
    files["z-Q4_K_M.gguf"] = blob(20, 100_000)
    hub.page_size, hub.foreign_links = 7, True
    hub.add("new/name", files)
    hub.renamed["old/name"] = "new/name"
    store.pull("hf:old/name")
    check(sum("/tree/" in path for _, path, _ in hub.log) >= 5, "pages")


def test_revisions_are_pinned(hub, store):
    repo = hub.add("o/r", {"m-Q4_K_M.gguf": blob(1, 300_000)})
    old = repo.commit
    store.pull("hf:o/r")
    repo.push({"m-Q4_K_M.gguf": blob(2, 300_001)})
    contains(store.run("outdated"), "has a newer file")
    path = store.pull("hf:o/r")
    same(path, blob(1, 300_000))  # never replaced silently
    store.pull("hf:o/r", "--force")
    same(path, blob(2, 300_001))
    check(store.run("outdated") == "", "outdated")
    store.pull("hf:o/r@" + old)
    same(path, blob(1, 300_000))
    store.pull("hf:o/r@no-such", code=3)
    contains(store.err, "no-such")


# ---- what goes wrong on the way ----

def test_errors_are_told_apart(hub, store):
    hub.add("o/gated", {"m-Q4_K_M.gguf": blob(1, 1000)}, gated=True)
    hub.add("o/private", {"m-Q4_K_M.gguf": blob(1, 1000)}, token="hf_good")
    hub.add("o/r", {"m-Q4_K_M.gguf": blob(1, 1000), "other-Q8_0.gguf": blob(2, 1000)})
    store.pull("hf:o/none", code=3)
    contains(store.err, "not found, or it is private", "HF_TOKEN")
    store.pull("hf:o/none", code=3, HF_TOKEN="hf_good")
    store.pull("hf:o/r/nope.gguf", code=3)
    contains(store.err, "nope.gguf", "m-Q4_K_M.gguf", "other-Q8_0.gguf")
    store.pull("hf:o/gated", code=5)
    contains(store.err, "accept the licence", "HF_TOKEN", hub.url)
    store.pull("hf:o/gated", code=5, HF_TOKEN="hf_good")
    contains(store.err, "account of the token")
    store.pull("hf:o/gated", HF_TOKEN="hf_accepted")
    store.pull("hf:o/r", code=4, HF_TOKEN="hf_wrong")
    contains(store.err, "token was refused")
    store.pull("hf:o/private", HF_TOKEN="hf_good")
    store.pull("qwen3:8", code=3)
    contains(store.err, "qwen3:8b")
    store.pull("hf:o/../x", code=2)
    store.pull("hf:o/r/../../x.gguf", code=2)
    store.pull("hf:o/new", code=9, HF_HUB_OFFLINE="1")
    contains(store.err, "switched off")
    store.pull("hf:o/r", code=10, HF_ENDPOINT="http://no-such-host.invalid")
    contains(store.err, "cannot be resolved")
    store.pull("hf:o/r", "--retries", "1", code=10, HF_ENDPOINT="http://127.0.0.1:1")
    contains(store.err, "cannot connect")


def test_the_token_stays_at_home(hub, store):
    hub.add("o/r", {"m-Q4_K_M.gguf": blob(1, 3_000_000)})
    store.pull("hf:o/r", HF_TOKEN="hf_good")
    check(all("Authorization" in h for _, _, h in hub.log), "the hub did not get the token")
    check(not any("Authorization" in h for _, _, h in hub.cdn_log), "the token leaked")
    check(all(h.get("Accept-Encoding") == "identity" for _, _, h in hub.cdn_log), "encoding")
    os.makedirs(os.path.join(store.folder, "hf"))
    with open(os.path.join(store.folder, "hf", "token"), "w", encoding="ascii") as file:
        file.write("hf_accepted\n")
    hub.reset()
    store.pull("hf:o/r", "--force", HF_HOME=os.path.join(store.folder, "hf"))
    check(hub.log[0][2]["Authorization"] == "Bearer hf_accepted", "token file")


def test_api_faults(hub, store):
    hub.add("o/r", {"m-Q4_K_M.gguf": blob(1, 1000)})
    faults = hub.faults
    faults.api_status = (503, [], b"")
    faults.times["api_status"] = 2
    store.pull("hf:o/r")
    store.run("rm", "hf:o/r")
    faults.api_status = (429, [("RateLimit", '"api";r=0;t=0')], b"")
    faults.times["api_status"] = 1
    start = time.monotonic()
    store.pull("hf:o/r")
    check(time.monotonic() - start >= 1, "did not wait as told")
    store.run("rm", "hf:o/r")
    faults.api_status = (429, [("Retry-After", "100000")], b"")
    faults.times.clear()
    store.pull("hf:o/r", code=6)
    contains(store.err, "too many requests", "100000")
    faults.api_status = (500, [], b'{"error":"inner trouble"}')
    store.pull("hf:o/r", "--retries", "1", code=10)
    contains(store.err, "HTTP 500", "inner trouble")
    faults.api_status = (403, [], b'{"error":"Access to this resource is disabled."}')
    store.pull("hf:o/r", code=4)
    contains(store.err, "disabled")
    faults.api_status = None
    for fault, word in (("garbage_json", "no JSON"), ("huge_json", "longer than"),
                        ("html", "web page"), ("redirect_loop", "without an end")):
        setattr(faults, fault, True)
        store.pull("hf:o/r", "--retries", "0", code=10)
        contains(store.err, word)
        setattr(faults, fault, False)
    for status in (True, 501, 404, 403):
        faults.no_head = status
        store.pull("hf:o/r", "--force")


def test_answers_that_a_proxy_compressed(hub, store):
    data = blob(44, 2_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    faults = hub.faults
    for faults.compress in ("gzip", "deflate"):
        same(store.pull("hf:o/r", "--force"), data)
        contains(store.run("search", "o"), "o/r")
    check(all(h["Accept-Encoding"] == "identity" for _, _, h in hub.log + hub.cdn_log), "more was asked for")
    # The bound is on what comes out: 59 MB that are 170 kB on the way.
    faults.compress, faults.huge_json = "gzip", True
    hub.sent = 0
    store.pull("hf:o/r", "--force", "--retries", "0", code=10)
    contains(store.err, "longer than 16 MiB")
    check(hub.sent < 1 << 20, hub.sent)
    faults.huge_json = False
    # The words of a failure: their begin is enough.
    faults.api_status = (403, [], b"disabled " * (8 << 20))
    store.pull("hf:o/r", "--force", code=4)
    contains(store.err, "is disabled")
    faults.api_status = faults.compress = None
    # A file's bytes are hashed and fetched in ranges: they must come as they are.
    faults.cdn_encoding = "gzip"
    store.pull("hf:o/r", "--force", code=10)
    contains(store.err, "m-Q4_K_M.gguf", "gzip", "Content-Encoding", "proxy")
    for faults.cdn_encoding in ("identity", "aws-chunked"):
        same(store.pull("hf:o/r", "--force"), data)


def test_transfer_faults(hub, store):
    data = blob(7, 6_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    path = store.path("o/r/m-Q4_K_M.gguf")

    def again(*args, code=0):
        if os.path.exists(path):
            store.run("rm", "o/r/m-Q4_K_M.gguf")
        store.run("prune")
        store.pull("hf:o/r", *args, code=code)
        if code == 0:
            same(path, data)
        else:
            check(not os.path.exists(path), "a wrong file has its name")

    faults = hub.faults
    faults.cut_after = 200_000
    again("--retries", "2")
    faults.cut_after, faults.cut_at = None, 3_333_333
    again()
    for status in (500, 503, 429, 403, 404):
        faults.cdn_status = (status, [("Retry-After", "0")], b"no")
        faults.times["cdn_status"] = 1
        again()
    faults.cdn_status = (403, [], b"no way")
    faults.times.clear()
    again("--retries", "1", code=4)
    contains(store.err, "no way")
    faults.cdn_status = (416, [], b"")
    again("--retries", "1", code=10)
    faults.cdn_status = None
    faults.ignore_range = True
    again()
    hub.sent = 0
    again("-c", "1")
    check(hub.sent < 1.5 * len(data), "a server without ranges was asked too often")
    faults.cut_after, faults.times["cut_after"] = 2_000_000, 1
    again()
    faults.cut_after, faults.ignore_range = None, False
    faults.wrong_length = 1000
    again("--retries", "1", "-c", "1")
    faults.wrong_length, faults.wrong_total = None, 5
    again("--retries", "1", code=10)
    contains(store.err, "changed on the server")
    faults.wrong_total = None
    faults.expire_after = 3
    again("-c", "2")
    # Addresses for two requests, of which four connections want one each.
    for faults.expire_after in (2, 2, 2):
        again("-c", "4")
    faults.expire_after = None
    # The content server's own words, without its tags.
    faults.cdn_status = (403, [], b"<Error><Code>AccessDenied</Code><Message>bad key</Message></Error>")
    for connections in ("1", "4"):
        hub.cdn_log.clear()
        again("-c", connections, code=4)
        contains(store.err, "refuses the address that the hub gave (HTTP 403): AccessDenied bad key")
        check(len(hub.cdn_log) <= 20, "asked too often")
    faults.cdn_status = None
    # Answers that are shorter than what was asked for, and say so, are no failures.
    faults.range_limit = 300_000
    again("--retries", "0", "-c", "1")
    check(len(hub.cdn_log) >= len(data) // 300_000, "the limit did nothing")
    faults.range_limit = None
    faults.redirect_loop = False


def test_stalls_are_noticed(hub, store):
    data = blob(8, 3_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    hub.faults.stall_after, hub.faults.stall_seconds = 100_000, 20
    hub.faults.times["stall_after"] = 2
    start = time.monotonic()
    same(store.pull("hf:o/r", "--timeout", "1"), data)
    check(time.monotonic() - start < 15, "the stall was waited for")
    hub.faults.times["stall_after"] = 10 ** 6
    store.pull("hf:o/r", "--force", "--timeout", "1", "--retries", "0", code=10)
    contains(store.err, "stalled")


def test_a_crawling_connection_is_overtaken(hub, store):
    data = blob(33, 3_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    hub.faults.drip, hub.faults.times["drip"] = 200, 1  # one of the connections: 2 kB a second
    start = time.monotonic()
    same(store.pull("hf:o/r"), data)
    check(time.monotonic() - start < 20, "the last block crawled to the end")


def test_a_slow_drip_arrives(hub, store):
    data = blob(9, 60_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    hub.faults.drip = 4000
    same(store.pull("hf:o/r"), data)


def test_wrong_bytes_never_get_a_name(hub, store):
    data = blob(11, 4_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    hub.faults.flip_at = 2_500_000
    store.pull("hf:o/r", code=8)
    wrong = bytearray(data)
    wrong[2_500_000] ^= 1
    contains(store.err, hashlib.sha256(data).hexdigest(), hashlib.sha256(wrong).hexdigest())
    check(store.files() == [], store.files())
    hub.faults.flip_at = None
    same(store.pull("hf:o/r"), data)


def test_a_file_that_changes_midway_is_never_mixed(hub, store):
    data = blob(12, 8_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    hub.faults.etag_changes_at = 4_000_000
    store.pull("hf:o/r", "--retries", "1", code=10)
    contains(store.err, "changed on the server")
    check(not os.path.exists(store.path("o/r/m-Q4_K_M.gguf")), "mixed file")
    hub.faults.etag_changes_at = None
    same(store.pull("hf:o/r"), data)
    # Without a SHA-256 in the listing an old part proves nothing: it is not gone on with.
    hub.faults.no_lfs = True
    repo = hub.add("o/plain", {"m-Q4_K_M.gguf": data})
    hub.faults.cut_after = 1_000_000
    store.pull("hf:o/plain", "--retries", "0", "-c", "1", code=10)
    hub.faults.cut_after = None
    repo.push({"m-Q4_K_M.gguf": blob(13, 8_000_000)})
    same(store.pull("hf:o/plain"), blob(13, 8_000_000))
    # It is compared with git's name of the blob then.
    hub.faults.flip_at, hub.faults.times["flip_at"] = 4_000_000, 1
    repo.push({"m-Q4_K_M.gguf": blob(14, 5_000_000)})
    store.pull("hf:o/plain", "--force", code=8)
    contains(store.err, "git's SHA-1")
    same(store.path("o/plain/m-Q4_K_M.gguf"), blob(13, 8_000_000))
    hub.reset()
    hub.faults.no_lfs = True
    same(store.pull("hf:o/plain", "--force"), blob(14, 5_000_000))


# ---- resuming ----

def test_kills_lose_little(hub, store):
    size = int(os.environ.get("SPN_TEST_MB", "24")) << 20
    n_kills = int(os.environ.get("SPN_TEST_KILLS", "12"))
    source = os.path.join(store.folder, "big")
    with open(source, "wb") as file:
        file.write(blob(14, size))
    hub.add("o/big", {"m-Q4_K_M.gguf": source})
    path = store.path("o/big/m-Q4_K_M.gguf")
    rng = random.Random(15)
    # So slow that the kills spread over the whole download, whatever the machine.
    hub.faults.connection_rate = max(size // 4 // 8, 1 << 20)
    want = hub.repos["o/big"].revisions["main"]["m-Q4_K_M.gguf"].sha256
    killed = done = 0
    while killed < n_kills:
        process = store.start("pull", "hf:o/big", *FAST, "--quiet")
        try:
            process.wait(rng.choice([rng.uniform(0.02, 0.4), rng.uniform(0.02, 2.0)]))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate()
        if os.path.exists(path):
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    digest.update(chunk)
            check(digest.hexdigest() == want, "a wrong file under the final name")
            done += 1
            store.run("rm", "o/big/m-Q4_K_M.gguf", "--force")
    hub.faults.connection_rate = None
    store.pull("hf:o/big")
    wasted = hub.sent - size * (done + 1)
    print("  %d kills of %d MB, %d times whole meanwhile: %.2f MB fetched twice a kill" % (
        killed, size >> 20, done, wasted / 1e6 / killed))
    with open(source, "rb") as a, open(path, "rb") as b:
        check(a.read() == b.read(), "the file is wrong")
    # Four blocks under way, and what the sockets hold.
    check(wasted <= killed * (4 * BLOCK + 4_000_000), "too much was fetched twice")


def test_damage_in_a_part_is_found(hub, store):
    data = blob(16, 6_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    hub.faults.cut_at = 5_000_000
    store.pull("hf:o/r", "--retries", "0", "-c", "1", code=10)
    part = store.path("o/r/m-Q4_K_M.gguf.part")
    with open(part, "r+b") as file:  # as after a loss of power: a record without its data
        file.seek(BLOCK + 100)
        file.write(bytes(1000))
    hub.reset()
    same(store.pull("hf:o/r"), data)
    check(hub.sent < 3_000_000, "more than the damaged block was fetched again: %d" % hub.sent)


def test_cancel_keeps_what_arrived(hub, store):
    data = blob(17, 8_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    hub.faults.connection_rate = 1_000_000
    process = store.start("pull", "hf:o/r", "--json")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    check(process.returncode == 130, "exit code %d" % process.returncode)
    events = [json.loads(line) for line in out.splitlines()]
    check(events[-1]["event"] == "error" and events[-1]["status"] == "cancelled", events[-1])
    check(any(e.get("status") == "downloading" for e in events), "no progress")
    models = json.loads(store.run("list", "--json"))
    check(models[0]["state"] == "partial" and 0 < models[0]["done"] < len(data), models)
    check("would be freed" in store.run("prune", "--dry-run"), "prune")
    hub.reset()
    same(store.pull("hf:o/r"), data)
    check(hub.sent < len(data), "nothing was resumed")


def test_eight_at_once(hub, store):
    data = blob(18, 8_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    hub.faults.connection_rate = 2_000_000
    many = [store.start("pull", "hf:o/r", *FAST) for _ in range(8)]
    for process in many:
        out, err = process.communicate(timeout=60)
        check(process.returncode == 0, err)
        same(out.strip(), data)
    check(hub.sent < 1.1 * len(data), "it was fetched %.1f times" % (hub.sent / len(data)))
    store.run("rm", "hf:o/r")
    first = store.start("pull", "hf:o/r", *FAST)
    time.sleep(0.7)
    store.pull("hf:o/r", "--no-wait", code=11)
    contains(store.err, "process %d" % first.pid)
    store.run("rm", "hf:o/r", code=11)
    store.run("prune")
    first.communicate()
    check(first.returncode == 0, "the first one was disturbed")


# ---- disk, memory, speed ----

@contextlib.contextmanager
def mounted(store, *options):
    """A small file system of its own; the test is skipped where nothing can be mounted."""
    small = os.path.join(store.folder, "small")
    os.mkdir(small)
    if os.geteuid() != 0 or subprocess.run(["mount", *options, small], capture_output=True,
                                           check=False).returncode:
        raise Skip("nothing can be mounted here")
    try:
        yield small
    finally:
        subprocess.run(["umount", "-l", small], check=False)


def fill(path):
    """Takes all the room that is left."""
    with open(path, "wb", buffering=0) as file:
        for step in (1 << 16, 1 << 10):
            try:
                while True:
                    file.write(bytes(step))
            except OSError:
                pass


def test_full_disk(hub, store):
    with mounted(store, "-t", "tmpfs", "-o", "size=24m", "none") as small:
        data = blob(19, 16_000_000)
        hub.add("o/r", {"m-Q4_K_M.gguf": data})
        filler = os.path.join(small, "filler")
        env = {"SPN_MODELS_DIR": os.path.join(small, "s")}
        with open(filler, "wb") as file:
            file.write(bytes(12_000_000))
        store.pull("hf:o/r", code=7, **env)
        contains(store.err, "MB free", "are needed")
        os.remove(filler)
        store.pull("hf:o/r", **env)
        same(os.path.join(small, "s", "o/r/m-Q4_K_M.gguf"), data)
        store.pull("hf:o/r", "--force", code=7, **env)
        same(os.path.join(small, "s", "o/r/m-Q4_K_M.gguf"), data)
        store.run("rm", "hf:o/r", **env)
        fill(filler)
        store.pull("hf:o/r", code=7, **env)
        os.remove(filler)
        # Once it runs its room is taken: who comes later finds the disk full.
        hub.faults.connection_rate = 2_000_000
        process = store.start("pull", "hf:o/r", **env)
        time.sleep(0.7)
        fill(filler)
        os.truncate(filler, os.path.getsize(filler) - (64 << 10))  # for the manifest
        _, err = process.communicate(timeout=60)
        check(process.returncode == 0, err)
        same(os.path.join(small, "s", "o/r/m-Q4_K_M.gguf"), data)


def test_the_disk_fills_meanwhile(hub, store):
    # ext2 cannot promise room, so that the check before is passed and the writes fail.
    image = os.path.join(store.folder, "image")
    with open(image, "wb") as file:
        file.truncate(48 << 20)
    maker = shutil.which("mke2fs", path="/sbin:/usr/sbin:" + os.environ["PATH"])
    if maker is None or subprocess.run([maker, "-q", "-t", "ext2", image], check=False).returncode:
        raise Skip("no ext2 can be made here")
    with mounted(store, "-o", "loop", image) as small:
        data = blob(35, 20_000_000)
        hub.add("o/r", {"m-Q4_K_M.gguf": data})
        filler, env = os.path.join(small, "filler"), {"SPN_MODELS_DIR": os.path.join(small, "s")}
        hub.faults.connection_rate = 1_500_000
        for _ in range(2):
            before, hub.sent = hub.sent, 0
            process = store.start("pull", "hf:o/r", "--json", **env)
            time.sleep(1)
            fill(filler)
            out, err = process.communicate(timeout=60)
            check(process.returncode == 7, "exit code %d: %s" % (process.returncode, err))
            contains(out.splitlines()[-1], '"disk-full"')
            words = re.search(r"filled up: (\d+) bytes of m-Q4_K_M.gguf are still to come, (\d+) are free",
                              err + out)
            check(words, err + out)
            missing = int(words.group(1))
            check(len(data) - before - hub.sent <= missing < len(data), "%d missing" % missing)
            models = json.loads(store.run("list", "--json", **env))
            check(models[0]["state"] == "partial" and models[0]["done"] == len(data) - missing, models)
            check(not os.path.exists(os.path.join(small, "s/o/r/m-Q4_K_M.gguf")), "a name for a part")
            os.remove(filler)
        hub.reset()
        same(store.pull("hf:o/r", **env), data)
        # What a shortened range had under way is sent in vain.
        check(hub.sent < (missing + len(data)) / 2, "%d were sent for %d" % (hub.sent, missing))
        store.run("verify", "hf:o/r", **env)


def test_memory_stays_small(hub, store):
    if "asan" in COMMAND or "tsan" in COMMAND:
        raise Skip("a sanitizer needs memory of its own")
    source = os.path.join(store.folder, "big")
    with open(source, "wb") as file:
        file.write(b"GGUF")
        file.truncate(300 << 20)
    hub.add("o/big", {"m-Q4_K_M.gguf": source})
    code = ("import os,resource,subprocess,sys\n"
            "p=subprocess.Popen(sys.argv[1:],stdout=subprocess.DEVNULL)\n"
            "_,s,u=os.wait4(p.pid,0)\nprint(s,u.ru_maxrss)")
    out = subprocess.run([sys.executable, "-c", code, COMMAND, "pull", "hf:o/big", "-c", "8",
                          "--quiet"], env=store.env, capture_output=True, text=True, check=True)
    status, peak = map(int, out.stdout.split())
    print("  peak %.1f MB with 8 connections" % (peak / 1024))
    check(status == 0 and peak < 32 << 10, "%d KiB, status %d: %s" % (peak, status, out.stderr))


def test_ranges_scale(hub, store):
    data = blob(21, 8_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    hub.faults.connection_rate = 2_000_000
    seconds = {}
    for n in (1, 4):
        start = time.monotonic()
        same(store.pull("hf:o/r", "--force", "-c", str(n)), data)
        seconds[n] = time.monotonic() - start
    print("  1 connection %.2f s, 4 connections %.2f s" % (seconds[1], seconds[4]))
    check(seconds[4] < seconds[1] / 2, "parallel ranges bring nothing")


def test_ranges_share_a_connection(hub, store):
    data = blob(34, 20_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    same(store.pull("hf:o/r", "-c", "1"), data)
    check(len(hub.cdn_log) >= 2, "one range for all: nothing is shown")
    check(hub.cdn_connections == 1, "%d connections for %d ranges" % (
        hub.cdn_connections, len(hub.cdn_log)))
    check(hub.sent == len(data), "%d bytes sent for %d" % (hub.sent, len(data)))


def test_too_many_connections_are_refused(hub, store):
    store.pull("hf:o/r", "-c", "17", code=2)
    contains(store.err, "at most 16")
    check(not hub.log, "asked nevertheless")


def test_the_rate_limit_holds(hub, store):
    data = blob(22, 2_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    start = time.monotonic()
    same(store.pull("hf:o/r", "--limit-rate", "1M"), data)
    check(time.monotonic() - start > 1.7, "too fast")


# ---- keeping ----

def test_verify_and_repair(hub, store):
    data = blob(23, 10_000_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    path = store.pull("hf:o/r")
    with open(path, "r+b") as file:
        file.seek(4_200_000)
        file.write(b"damage")
    store.run("verify", "hf:o/r", code=8)
    contains(store.err, hashlib.sha256(data).hexdigest(), "repair")
    hub.reset()
    store.run("repair", "hf:o/r")
    same(path, data)
    check(hub.sent <= 2 * BLOCK, "%d bytes were fetched for 6" % hub.sent)
    store.run("verify", "hf:o/r")
    with open(path, "r+b") as file:
        file.truncate(7_000_000)
    store.run("repair", "hf:o/r")
    same(path, data)
    os.remove(path + ".blocks")
    with open(path, "r+b") as file:
        file.write(b"X")
    store.run("repair", "hf:o/r")
    same(path, data)
    contains((store.run("repair", "hf:o/r"), store.err)[1], "nothing was wrong")


def test_import_of_a_split_model_is_all_or_nothing(hub, store):
    parts = [os.path.join(store.folder, "big-Q8_0-%05d-of-00003.gguf" % no) for no in (1, 2, 3)]
    contents = [b"bad!" + bytes(1000), blob(47, 600_000), blob(48, 300_000)]
    for part, data in zip(parts, contents):
        with open(part, "wb") as file:
            file.write(data)
    for how in ((), ("--link",), ("--move",)):
        store.run("import", parts[0], *how, code=1)
        check(store.files() == [], (how, store.files()))
        for part, data in zip(parts, contents):
            same(part, data)
    contents[0] = blob(46, 200_000)
    with open(parts[0], "wb") as file:
        file.write(contents[0])
    path = store.run("import", parts[0])
    # Killed before the first file, which comes last: no model, and the same import goes on.
    for suffix in ("", ".json", ".blocks"):
        os.remove(path + suffix)
    store.run("verify", "local/big-Q8_0/big-Q8_0-00001-of-00003.gguf", code=3)
    before = os.stat(path.replace("00001-of", "00002-of")).st_ino
    check(store.run("import", parts[0], "--move") == path, "another place")
    check(os.stat(path.replace("00001-of", "00002-of")).st_ino == before, "copied again")
    check(not any(os.path.exists(part) for part in parts), "not moved")
    for no, data in enumerate(contents):
        same(path.replace("00001-of", "%05d-of" % (no + 1)), data)
    store.run("verify", "local/big-Q8_0/big-Q8_0-00001-of-00003.gguf")


def test_a_killed_move_of_a_split_model_goes_on(hub, store):
    parts = [os.path.join(store.folder, "big-Q8_0-%05d-of-00003.gguf" % no) for no in (1, 2, 3)]
    for no, part in enumerate(parts):
        with open(part, "wb") as file:
            file.write(b"GGUF" + bytes([no]))
            file.truncate(1_000_000 if no == 2 else 300_000_000)
    last = store.path("local/big-Q8_0/big-Q8_0-00003-of-00003.gguf")
    process = store.start("import", parts[0], "--move")
    while not os.path.exists(last):
        check(process.poll() is None, "ended before its last file was there")
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    check(not os.path.exists(last.replace("00003-of", "00001-of")), "killed too late")
    check(all(os.path.exists(part) for part in parts), "a file is neither here nor there")
    inodes = [os.stat(part).st_ino for part in parts]
    path = store.run("import", parts[0], "--move")
    check(not any(os.path.exists(part) for part in parts), "not moved")
    there = [os.stat(path.replace("00001-of", "%05d-of" % no)).st_ino for no in (1, 2, 3)]
    check(there == inodes, "copied, not moved")


def test_import_and_in_use(hub, store):
    data = blob(24, 700_000)
    source = os.path.join(store.folder, "my-Q8_0.gguf")
    with open(source, "wb") as file:
        file.write(data)
    store.run("import", source, "--name", "a/b/copy.gguf")
    check(not re.search(r"[1-9]\d\d%", store.err.replace("100%", "")), store.err)
    path = store.run("import", source, "--link")
    check(path == store.path("local/my-Q8_0/my-Q8_0.gguf"), path)
    check(os.stat(path).st_ino == os.stat(source).st_ino, "no link")
    store.run("import", source, code=11)
    with open(path, "rb"):
        store.run("rm", "my-Q8_0", code=11)
        contains(store.err, "in use")
        store.run("rm", "my-Q8_0", "--force")
    same(source, data)
    same(store.run("import", source, "--name", "a/b/c.gguf"), data)
    store.run("verify", "a/b/c.gguf")
    # A symbolic link stands for its file: that is linked or copied, and --move takes the link away.
    for no, how in enumerate(((), ("--link",), ("--move",))):
        alias = os.path.join(store.folder, "alias.gguf")
        if not os.path.lexists(alias):
            os.symlink("my-Q8_0.gguf", alias)
        path = store.run("import", alias, "--name", "a/b/alias%d.gguf" % no, *how)
        check(not os.path.islink(path), how)
        check(not re.search(r"[1-9]\d\d%", store.err.replace("100%", "")), store.err)
        same(path, data)
    check(not os.path.lexists(alias), "the link is still there")
    same(source, data)
    store.run("import", source, "--move", "--name", "a/b/d.gguf")
    check(not os.path.exists(source), "not moved")
    bad = os.path.join(store.folder, "bad.gguf")
    with open(bad, "wb") as file:
        file.write(b"<html>")
    store.run("import", bad, code=1)
    contains(store.err, "does not begin as a GGUF file")
    for name in ("../x.gguf", "/x.gguf", "a/../../x.gguf", "a\\b.gguf", "a/nul.gguf", "a/b\x01.gguf"):
        store.run("import", store.path("a/b/c.gguf"), "--name", name, code=2)


def test_other_stores_are_used(hub, store):
    data = blob(25, 900_000)
    digest = hashlib.sha256(data).hexdigest()
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    cache = os.path.join(store.folder, ".cache/huggingface/hub/models--o--r")
    os.makedirs(cache + "/blobs")
    os.makedirs(cache + "/snapshots/" + "1" * 40)
    with open(cache + "/blobs/" + digest, "wb") as file:
        file.write(data)
    os.symlink("../../blobs/" + digest, cache + "/snapshots/" + "1" * 40 + "/m-Q4_K_M.gguf")
    contains(store.run("import", "--scan"), "o/r/m-Q4_K_M.gguf", "hf-cache")
    path = store.pull("hf:o/r")
    check(not hub.cdn_log, "fetched although the cache has it")
    check(os.stat(path).st_ino == os.stat(cache + "/blobs/" + digest).st_ino, "copied")
    ollama = os.path.join(store.folder, ".ollama/models")
    os.makedirs(ollama + "/blobs")
    os.makedirs(ollama + "/manifests/registry.ollama.ai/library/tiny")
    other = blob(26, 500_000)
    name = hashlib.sha256(other).hexdigest()
    with open(ollama + "/blobs/sha256-" + name, "wb") as file:
        file.write(other)
    with open(ollama + "/manifests/registry.ollama.ai/library/tiny/latest", "w",
              encoding="ascii") as file:
        json.dump({"layers": [{"mediaType": "application/vnd.ollama.image.model",
                               "digest": "sha256:" + name, "size": len(other)}]}, file)
    contains(store.run("import", "--adopt"), "ollama/library-tiny/latest.gguf")
    same(store.run("path", "ollama/library-tiny/latest.gguf"), other)
    # A blob that is not what its name says is not believed.
    hub.add("o/bad", {"m-Q4_K_M.gguf": blob(27, 5000)})
    wrong = os.path.join(store.folder, ".cache/huggingface/hub/models--o--bad/blobs")
    os.makedirs(wrong)
    with open(os.path.join(wrong, hashlib.sha256(blob(27, 5000)).hexdigest()), "wb") as file:
        file.write(blob(28, 5000))
    same(store.pull("hf:o/bad"), blob(27, 5000))


def test_the_store_moves(hub, store):
    data = blob(29, 600_000)
    hub.add("o/r", {"m-Q4_K_M.gguf": data})
    del store.env["SPN_MODELS_DIR"]
    check(store.pull("hf:o/r") == os.path.join(store.folder, ".spn/models/o/r/m-Q4_K_M.gguf"), "home")
    target = os.path.join(store.folder, "elsewhere")
    store.run("store", "--move", target)
    check(store.run("path", "hf:o/r") == target + "/o/r/m-Q4_K_M.gguf", "after the move")
    hub.reset()
    store.pull("hf:o/r")
    check(not hub.log, "the moved model was asked for again")
    check(not os.path.exists(os.path.join(store.folder, ".spn/models/o")), "left behind")
    shm = tempfile.mkdtemp(dir="/dev/shm") if os.path.isdir("/dev/shm") else None
    if shm:
        try:
            store.run("store", "--move", shm)  # another file system: copied and hashed
            same(shm + "/o/r/m-Q4_K_M.gguf", data)
            store.pull("hf:o/r", HF_HUB_OFFLINE="1")
        finally:
            shutil.rmtree(shm)


def test_a_move_to_a_full_disk_loses_nothing(hub, store):
    data = {"m-Q4_K_M.gguf": blob(36, 5_000_000), "m-Q8_0.gguf": blob(37, 5_000_000)}
    hub.add("o/r", data)
    for name in data:
        store.pull("hf:o/r/" + name)
    with mounted(store, "-t", "tmpfs", "-o", "size=8m", "none") as small:
        store.run("store", "--move", small, code=7)
        contains(store.err, "MB free", "same call goes on")
        here = [n for n in data if os.path.exists(store.path("o/r/" + n))]
        there = [n for n in data if os.path.exists(small + "/o/r/" + n)]
        check(sorted(here + there) == sorted(data) and len(here) == 1, (here, there))
        same(store.path("o/r/" + here[0]), data[here[0]])
        same(small + "/o/r/" + there[0], data[there[0]])
        subprocess.run(["mount", "-o", "remount,size=32m", small], check=True)
        store.run("store", "--move", small)
        store.env["SPN_MODELS_DIR"] = small
        store.run("verify", HF_HUB_OFFLINE="1")
        for name in data:
            same(store.run("path", "o/r/" + name), data[name])


def test_links_do_not_lead_out(hub, store):
    hub.add("o/r", {"m-Q4_K_M.gguf": blob(30, 1000)})
    outside = os.path.join(store.folder, "outside")
    os.makedirs(outside)
    os.makedirs(store.dir)
    os.symlink(outside, store.path("o"))
    store.pull("hf:o/r", code=2)
    contains(store.err, "link")
    check(os.listdir(outside) == [], "written through a link")


def test_dry_run_says_what_fits(hub, store):
    hub.add("Qwen/Qwen3-0.6B-GGUF", {"Qwen3-0.6B-Q8_0.gguf": blob(31, 3_000_000)})
    out = store.run("pull", "qwen3:0.6b", "--dry-run")
    contains(out, "3000000 bytes", "it fits", "memory", "choice", "free")
    check(not hub.cdn_log and store.files() == [], "a dry run did something")
    plan = json.loads(store.run("pull", "qwen3:0.6b", "--dry-run", "--json"))
    check(plan["to_fetch"] == 3_000_000 and plan["fits_disk"], plan)


def test_health_and_search(hub, store):
    hub.add("o/tales-GGUF", {"m-Q4_K_M.gguf": blob(1, 1000)})
    hub.add("o/other", {})
    contains(store.run("search", "tales"), "hf:o/tales-GGUF")
    check("other" not in store.run("search", "tales"), "search")
    out = store.run("doctor", HF_TOKEN="hf_good")
    contains(out, "the hub answers", "accepted for tester", "fits now", "certificates")
    contains(store.run("doctor", HF_TOKEN="hf_bad", code=4), "refused")
    contains(store.run("doctor", HF_HUB_OFFLINE="1"), "switched off")
    contains(store.run("catalog", "--type", "embedding"), "bge-m3", "nomic-embed")


class Proxy(socketserver.ThreadingTCPServer):
    """CONNECT only; counts."""
    allow_reuse_address = daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            line = self.rfile.readline().decode()
            while self.rfile.readline().strip():
                pass
            self.server.lines.append(line)
            host, port = line.split()[1].rsplit(":", 1)
            host = "127.0.0.1" if host == "localhost" else host  # also where no /etc/hosts says so
            with socket.create_connection((host, int(port))) as there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                threading.Thread(target=self.pump, args=(there, self.connection), daemon=True).start()
                self.pump(self.connection, there)

        @staticmethod
        def pump(a, b):
            try:
                for data in iter(lambda: a.recv(65536), b""):
                    b.sendall(data)
            except OSError:
                pass


def test_tls_and_proxy(hub, store):
    secure = Hub(tls=True)
    try:
        other = Store(secure, store.folder)
        data = blob(32, 3_000_000)
        secure.add("o/r", {"m-Q4_K_M.gguf": data})
        same(other.pull("hf:o/r"), data)
        del other.env["SSL_CERT_FILE"]
        other.pull("hf:o/r", "--force", code=10)
        contains(other.err, "TLS", "SSL_CERT_FILE")
        other.env["SSL_CERT_FILE"] = secure.ca_file
        proxy = Proxy(("127.0.0.1", 0), Proxy.Handler)
        proxy.lines = []
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        address = "http://user:secret@127.0.0.1:%d" % proxy.server_address[1]
        same(other.pull("hf:o/r", "--force", HTTPS_PROXY=address), data)
        check(len(proxy.lines) >= 2, "the proxy was not used")
        out = other.run("doctor", HTTPS_PROXY=address)
        contains(out, "127.0.0.1:%d" % proxy.server_address[1])
        check("secret" not in out, "the proxy's password is shown")
        n = len(proxy.lines)
        other.pull("hf:o/r", "--force", HTTPS_PROXY=address, NO_PROXY="localhost")
        check(len(proxy.lines) == n, "NO_PROXY was ignored")
        proxy.shutdown()
    finally:
        secure.close()


def main():
    wanted = sys.argv[2:]
    tests = [(n, f) for n, f in globals().items() if n.startswith("test_") and callable(f)]
    if wanted:
        tests = [(n, f) for n, f in tests if any(w in n for w in wanted)]
    failed = skipped = 0
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, function in tests:
        hub, folder = Hub(), tempfile.mkdtemp(prefix="spn-store-")
        start = time.monotonic()
        try:
            function(hub, Store(hub, folder))
            print("%s (%.1f s)" % (name, time.monotonic() - start), flush=True)
        except Skip as why:
            skipped += 1
            print("%s SKIPPED: %s" % (name, why), flush=True)
        except Exception as problem:  # pylint: disable=broad-except
            failed += 1
            print("%s FAILED: %s: %s" % (name, type(problem).__name__, problem), flush=True)
        hub.close()
        shutil.rmtree(folder, ignore_errors=True)
    if skipped:
        print("%d skipped" % skipped)
    print("%d passed, %d failed" % (len(tests) - failed - skipped, failed))
    sys.exit(1 if failed or not tests else 77 if skipped == len(tests) else 0)


main()
