#!/usr/bin/env python3
# bench_store.py - a pull beside `curl -o` of the same file, interleaved. SPDX-License-Identifier: Apache-2.0
"""bench_store.py COMMAND [--mb N] [--rounds N] [--folder DIR] [--server nginx|stub] [-c N...]

One file of random bytes, one server on loopback, one file system (that of --folder). Each round runs
curl and a pull with each number of connections, in an order that changes; medians count, and only
their ratio means anything on a shared machine. A pull also hashes, and syncs before the file gets its
name; where the disk is what is slow, curl with a sync is the fair peer. Then 64 MB from a server that gives each connection
4 MB a second, with 1, 2, 4 and 8 of them. The server is nginx where it is installed, else the tests'
stub hub. On a busy machine, as root: chrt -f 50 python3 tools/bench_store.py COMMAND
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

COMMIT = "1" * 40
NAME = "big-Q4_K_M.gguf"
LIMITED_MB, LIMIT = 61, 4000000
NGINX = """
daemon off; worker_processes 1; pid %(dir)s/nginx.pid; error_log /dev/null; user root;
events {}
http {
  access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
  client_body_temp_path %(dir)s/t1; proxy_temp_path %(dir)s/t2; fastcgi_temp_path %(dir)s/t3;
  uwsgi_temp_path %(dir)s/t4; scgi_temp_path %(dir)s/t5;
  server { listen 127.0.0.1:%(port)d; root %(dir)s/www; add_header X-Repo-Commit %(commit)s; }
}
"""


def make_file(path, mb):
    """Random bytes; returns size and SHA-256."""
    digest = hashlib.sha256()
    rng = random.Random(7)
    with open(path, "wb") as file:
        for i in range(mb):
            data = b"GGUF" + rng.randbytes((1 << 20) - 4) if i == 0 else rng.randbytes(1 << 20)
            file.write(data)
            digest.update(data)
    return mb << 20, digest.hexdigest()


def make_site(folder, mb):
    """A static hub: listing and file where a hub has them."""
    www = os.path.join(folder, "www")
    files = os.path.join(www, "o/big/resolve", COMMIT)
    api = os.path.join(www, "api/models/o/big")
    for path in (files, api + "/revision", api + "/tree"):
        os.makedirs(path)
    size, sha256 = make_file(os.path.join(files, NAME), mb)
    os.symlink(COMMIT, os.path.join(www, "o/big/resolve/main"))
    with open(api + "/revision/main", "w", encoding="ascii") as file:
        json.dump({"id": "o/big", "sha": COMMIT, "gated": False}, file)
    with open(api + "/tree/" + COMMIT, "w", encoding="ascii") as file:
        json.dump([{"type": "file", "path": NAME, "size": size, "oid": "0" * 40,
                    "lfs": {"oid": sha256, "size": size}}], file)
    return size


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_nginx(folder):
    values = {"dir": folder, "port": free_port(), "commit": COMMIT}
    conf = os.path.join(folder, "nginx.conf")
    with open(conf, "w", encoding="ascii") as file:
        file.write(NGINX % values)
    process = subprocess.Popen(["nginx", "-c", conf, "-p", folder], stderr=subprocess.DEVNULL)
    return process, "http://127.0.0.1:%d" % values["port"]


def start_stub(folder, mb=None, rate=None):
    """The tests' hub with the same file, or with another that its limited connections can serve."""
    hub = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/e2e/hub/stub_hub.py")
    served = os.path.join(folder, "limited" if rate else "stub")
    os.makedirs(served + "/o/big")
    if rate:
        make_file(os.path.join(served, "o/big", NAME), mb)
    else:
        os.link(os.path.join(folder, "www/o/big/resolve", COMMIT, NAME),
                os.path.join(served, "o/big", NAME))
    options = ["--connection-rate", str(rate)] if rate else []
    process = subprocess.Popen([sys.executable, hub, served, *options], text=True,
                               stdout=subprocess.PIPE)
    return process, process.stdout.readline().split()[0]


def wait_for(url):
    for _ in range(100):
        try:
            urllib.request.urlopen(url + "/api/models/o/big/revision/main").close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("the server does not answer")


def timed(command, env):
    """Seconds on the clock and of CPU."""
    start = time.monotonic()
    with open(os.devnull, "wb") as null:
        process = subprocess.Popen(command, env=env, stdout=null)
        _, status, use = os.wait4(process.pid, 0)
    process.returncode = status
    seconds = time.monotonic() - start
    if status != 0:
        sys.exit("%s failed" % command[0])
    return seconds, use.ru_utime + use.ru_stime


class Bench:
    def __init__(self, args, folder, urls):
        self.args, self.folder, (self.fast, self.slow) = args, folder, urls
        self.store = os.path.join(folder, "store")

    def pull(self, url, connections):
        shutil.rmtree(self.store, ignore_errors=True)
        env = {"HOME": self.folder, "PATH": os.environ["PATH"], "HF_ENDPOINT": url,
               "SPN_MODELS_DIR": self.store}
        result = timed([self.args.command, "pull", "hf:o/big", "--quiet", "-c", str(connections)], env)
        shutil.rmtree(self.store)
        return result

    def curl(self, sync=False):
        out = os.path.join(self.folder, "out")
        url = "%s/o/big/resolve/main/%s" % (self.fast, NAME)
        command = ["curl", "-sfL", "-o", out, url]
        if sync:
            command = ["sh", "-c", '"$@" && sync "$0"', out] + command
        result = timed(command, os.environ)
        os.remove(out)
        return result

    def beside_curl(self, size):
        runs = {"curl -o": self.curl, "curl -o and sync": lambda: self.curl(True)}
        for n in self.args.c:
            runs["pull -c %d" % n] = lambda n=n: self.pull(self.fast, n)
        rows = {name: [] for name in runs}
        order = list(runs)
        for i in range(self.args.rounds + 1):
            for name in order:
                row = runs[name]()
                if i > 0:  # the first round warms the caches
                    rows[name].append(row)
            order.append(order.pop(0))
        base = statistics.median(r[0] for r in rows["curl -o"])
        print("| | seconds (least to most) | MB/s | of curl | CPU s |\n|---|---|---|---|---|")
        for name, row in rows.items():
            seconds = statistics.median(r[0] for r in row)
            print("| `%s` | %.3f (%.3f-%.3f) | %.0f | %.2f | %.2f |" % (
                name, seconds, min(r[0] for r in row), max(r[0] for r in row), size / seconds / 1e6,
                base / seconds, statistics.median(r[1] for r in row)))

    def scaling(self):
        print("\n| connections of 4 MB/s | seconds | times as fast as one |\n|---|---|---|")
        first = None
        for n in (1, 2, 4, 8):
            seconds = self.pull(self.slow, n)[0]
            first = first or seconds
            print("| %d | %.2f | %.2f |" % (n, seconds, first / seconds), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command")
    parser.add_argument("--mb", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--server", choices=["nginx", "stub"],
                        default="nginx" if shutil.which("nginx") else "stub")
    parser.add_argument("-c", type=int, nargs="+", default=[1, 4], help="numbers of connections")
    args = parser.parse_args()
    args.command = os.path.abspath(args.command)
    servers = []
    with tempfile.TemporaryDirectory(prefix="spn-bench-", dir=args.folder) as folder:
        size = make_site(folder, args.mb)
        start = start_nginx if args.server == "nginx" else start_stub
        try:
            # The stub's limit is an even one; nginx gives each request a second's worth at once.
            servers = [start(folder), start_stub(folder, LIMITED_MB, LIMIT)]
            urls = [url for _, url in servers]
            for url in urls:
                wait_for(url)
            print("%d MB from %s on loopback, medians of %d interleaved rounds\n" % (
                size // 1000000, args.server, args.rounds), flush=True)
            bench = Bench(args, folder, urls)
            bench.beside_curl(size)
            bench.scaling()
        finally:
            for process, _ in servers:
                process.terminate()
                process.wait()


main()
