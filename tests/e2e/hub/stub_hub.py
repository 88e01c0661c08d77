#!/usr/bin/env python3
"""stub_hub.py - a Hugging Face Hub for tests, on loopback. SPDX-License-Identifier: Apache-2.0

A Hub answers /api/models/... and /OWNER/REPO/resolve/... and redirects files to a second port, the
content server, as the real one does. Both can be told to misbehave, through Faults.

    hub = Hub()                        # Hub(tls=True): HTTPS with a CA of its own, hub.ca_file
    repo = hub.add("owner/repo", {"model-Q4_K_M.gguf": b"..."})
    hub.faults.cut_after = 100_000     # the content server drops every connection after that
    ... HF_ENDPOINT=hub.url ...
    hub.close()

Run as a program it serves the files of a folder (DIR/OWNER/REPO/FILE) until it is killed:
    stub_hub.py DIR [--tls] [--connection-rate BYTES_PER_SECOND]
"""
import argparse
import gzip
import hashlib
import http.server
import json
import os
import re
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
import zlib


class Faults:
    """What goes wrong; a fault with a number in `times` ends after so many."""

    def __init__(self):
        self.times = {}             # name -> how often still
        self.api_status = None      # (status, headers, body) for /api
        self.resolve_status = None  # the same for /resolve
        self.cdn_status = None      # the same for the content server
        self.cut_after = None       # bytes of a body, then the connection is closed
        self.cut_at = None          # an offset in the file where it is closed
        self.stall_after = None     # bytes of a body, then silence
        self.stall_seconds = 60
        self.ignore_range = False   # 200 with the whole file
        self.wrong_length = None    # added to Content-Length
        self.wrong_total = None     # added to the total of Content-Range
        self.flip_at = None         # offset of a byte that is wrong
        self.etag_changes_at = None  # offset from which on ranges have another ETag and other data
        self.connection_rate = None  # bytes a second and connection
        self.drip = None            # bytes a tenth of a second
        self.redirect_loop = False
        self.garbage_json = False
        self.huge_json = False
        self.compress = None        # answers of the API are so encoded though nobody asked: gzip or deflate
        self.cdn_encoding = None    # files are said to be so encoded
        self.html = False           # a portal's page for everything
        self.no_lfs = False         # the listing has no SHA-256
        self.no_head = False        # 405 for HEAD, or this status
        self.range_limit = None     # bytes that one answer to a range has at most
        self.expire_after = None    # requests an address of the content server is good for
        self.delay = 0              # seconds before an answer of the content server

    def fires(self, name):
        """Whether fault `name` happens now; counts it down when it is to end."""
        if not getattr(self, name):
            return False
        if name in self.times:
            if self.times[name] <= 0:
                return False
            self.times[name] -= 1
        return True


class Repo:
    def __init__(self, name, files, gated=False, token=None):
        self.name, self.gated, self.token = name, gated, token
        self.revisions = {}
        self.commit = None
        self.push(files)

    def push(self, files, branch="main"):
        """A new state of the repository; files: {path: bytes or file name}."""
        entries = {}
        for path, data in files.items():
            entries[path] = Blob(data)
        seed = "%s %s" % (self.name, sorted((p, b.sha256) for p, b in entries.items()))
        self.commit = hashlib.sha1(seed.encode()).hexdigest()
        self.revisions[self.commit] = entries
        self.revisions[branch] = entries
        self.commits = getattr(self, "commits", {})
        self.commits[branch] = self.commit
        return self.commit


class Blob:
    """A file's bytes, in memory or on the disk."""

    def __init__(self, data):
        if isinstance(data, str):
            self.path, self.data = data, None
            self.size = os.path.getsize(data)
            digest = hashlib.sha256()
            with open(data, "rb") as file:
                for chunk in iter(lambda: file.read(1 << 20), b""):
                    digest.update(chunk)
            self.sha256 = digest.hexdigest()
        else:
            self.path, self.data, self.size = None, data, len(data)
            self.sha256 = hashlib.sha256(data).hexdigest()
        # What the content server calls it: 64 hex digits as well, but not the SHA-256.
        self.xet = hashlib.sha256(("xet" + self.sha256).encode()).hexdigest()

    def read(self, start, size):
        if self.data is not None:
            return self.data[start:start + size]
        with open(self.path, "rb") as file:
            file.seek(start)
            return file.read(size)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass  # clients that go away are part of the tests


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", headers=(), content_type="application/json"):
        self.send_response(status)
        if self.hub.faults.compress and body:
            body = {"gzip": gzip.compress, "deflate": zlib.compress}[self.hub.faults.compress](body)
            self.send_header("Content-Encoding", self.hub.faults.compress)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def canned(self, fault):
        status, headers, body = fault
        self.answer(status, body, headers)

    def do_HEAD(self):
        if self.hub.faults.no_head:
            return self.answer(405 if self.hub.faults.no_head is True else self.hub.faults.no_head)
        return self.do_GET()


class ApiHandler(Handler):
    def error(self, status, code, message):
        headers = [("X-Error-Code", code), ("X-Error-Message", message)] if code else []
        self.answer(status, json.dumps({"error": message}).encode(), headers)

    def token(self):
        value = self.headers.get("Authorization", "")
        return value[7:] if value.startswith("Bearer ") else None

    def find_repo(self, name, for_file):
        hub = self.hub
        if self.token() is not None and self.token() not in hub.tokens:
            self.error(401, "", "Invalid credentials in Authorization header")
            return None
        repo = hub.repos.get(name)
        if repo is None or (repo.token and self.token() != repo.token):
            if self.token() is None:
                self.error(401, "RepoNotFound", "Repository not found")
            else:
                self.error(404, "RepoNotFound", "Repository not found")
            return None
        if for_file and repo.gated:
            if self.token() is None:
                self.error(401, "GatedRepo", "Access to model %s is restricted. You must have access "
                           "to it and be authenticated to access it. Please log in." % name)
                return None
            if self.token() not in hub.accepted:
                self.error(403, "GatedRepo", "Access to model %s is restricted and you are not in "
                           "the authorized list." % name)
                return None
        return repo

    def do_GET(self):
        hub, faults = self.hub, self.hub.faults
        url = urllib.parse.urlsplit(self.path)
        path, query = url.path, urllib.parse.parse_qs(url.query)
        hub.log.append((self.command, self.path, dict(self.headers)))
        if faults.fires("html"):
            return self.answer(200, b"<html>log in to the hotel's network</html>",
                               content_type="text/html")
        if faults.fires("redirect_loop"):
            return self.answer(302, headers=[("Location", self.path)])
        if path.startswith("/api/") and faults.fires("api_status"):
            return self.canned(faults.api_status)
        if path == "/api/whoami-v2":
            if self.token() in hub.tokens:
                return self.answer(200, b'{"name":"tester","type":"user"}')
            return self.error(401, "", "Invalid credentials in Authorization header")
        if path == "/api/models":
            return self.search(query)
        m = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path)
        if m:
            return self.api(m.group(1), m.group(2), urllib.parse.unquote(m.group(3) or "main"), query)
        m = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if m:
            if faults.fires("resolve_status"):
                return self.canned(faults.resolve_status)
            return self.resolve(m.group(1), urllib.parse.unquote(m.group(2)),
                                urllib.parse.unquote(m.group(3)))
        return self.error(404, "", "no such page")

    def search(self, query):
        words = query.get("search", [""])[0].lower().split()
        hits = [{"id": name, "modelId": name, "downloads": 100 + i, "likes": i, "gated": repo.gated,
                 "lastModified": "2026-01-02T03:04:05.000Z"}
                for i, (name, repo) in enumerate(sorted(self.hub.repos.items()))
                if all(w in name.lower() for w in words)]
        self.answer(200, json.dumps(hits[:int(query.get("limit", ["20"])[0])]).encode())

    def api(self, name, verb, revision, query):
        faults = self.hub.faults
        if name in self.hub.renamed:
            return self.answer(307, headers=[("Location", self.path.replace(
                name, self.hub.renamed[name]))])
        repo = self.find_repo(name, False)
        if repo is None:
            return None
        entries = repo.revisions.get(revision)
        if entries is None:
            return self.error(404, "RevisionNotFound", "Invalid rev id: %s" % revision)
        commit = repo.commits.get(revision, revision)
        if faults.fires("garbage_json"):
            return self.answer(200, b'[{"type":"file","path":"x.gguf","size":')
        if verb != "tree":
            body = {"id": name, "sha": commit, "gated": "auto" if repo.gated else False,
                    "private": bool(repo.token), "siblings": [{"rfilename": p} for p in entries]}
            return self.answer(200, json.dumps(body).encode())
        if faults.fires("huge_json"):
            return self.huge()
        items = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": d}
                 for d in sorted({os.path.dirname(p) for p in entries} - {""})]
        for path, blob in sorted(entries.items()):
            item = {"type": "file", "oid": self.git_name(blob, path),
                    "size": blob.size, "path": path}
            if not faults.no_lfs:
                item["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": 134}
                item["xetHash"] = blob.xet
            items.append(item)
        start = int(query.get("cursor", ["0"])[0])
        page = items[start:start + self.hub.page_size]
        headers = []
        if start + self.hub.page_size < len(items):
            # As the real hub: its own name, also when a mirror answers.
            host = "https://huggingface.co" if self.hub.foreign_links else self.hub.url
            headers.append(("Link", '<%s%s?recursive=true&cursor=%d>; rel="next"' % (
                host, urllib.parse.urlsplit(self.path).path, start + self.hub.page_size)))
        return self.answer(200, json.dumps(page).encode(), headers)

    def git_name(self, blob, path):
        """Of a blob what git calls it; beside `lfs` the pointer's, which is something else."""
        if not self.hub.faults.no_lfs:
            return hashlib.sha1(path.encode()).hexdigest()
        digest = hashlib.sha1(b"blob %d\0" % blob.size)
        digest.update(blob.read(0, blob.size))
        return digest.hexdigest()

    def huge(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        piece = b'{"type":"file","path":"x","size":1},' * 4096
        packer = zlib.compressobj(wbits=31)
        if self.hub.faults.compress:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.close_connection = True
        for i in range(400):
            plain = b"[" + piece if i == 0 else piece
            data = packer.compress(plain) if self.hub.faults.compress else plain
            self.wfile.write(data)
            self.hub.sent += len(data)
        if self.hub.faults.compress:
            self.wfile.write(packer.flush())

    def resolve(self, name, revision, path):
        hub = self.hub
        if name in hub.renamed:
            return self.answer(307, headers=[("Location", self.path.replace(name, hub.renamed[name]))])
        repo = self.find_repo(name, True)
        if repo is None:
            return None
        entries = repo.revisions.get(revision)
        if entries is None:
            return self.error(404, "RevisionNotFound", "Invalid rev id: %s" % revision)
        blob = entries.get(path)
        commit = repo.commits.get(revision, revision)
        if blob is None:
            return self.error(404, "EntryNotFound", "Entry not found")
        key = hub.sign(blob)
        location = "%s/xet-bridge/%s?X-Amz-Expires=3600&key=%s" % (hub.cdn_url, blob.xet, key)
        headers = [("X-Repo-Commit", commit), ("X-Linked-Size", str(blob.size)),
                   ("ETag", '"%s"' % blob.sha256), ("Location", location),
                   ("X-Xet-Hash", blob.xet)]
        if not hub.faults.no_lfs:
            headers.append(("X-Linked-Etag", '"%s"' % blob.sha256))
        return self.answer(302, headers=headers)


class CdnHandler(Handler):
    def setup(self):
        super().setup()
        self.hub.cdn_connections += 1

    def do_GET(self):
        hub, faults = self.hub, self.hub.faults
        url = urllib.parse.urlsplit(self.path)
        key = urllib.parse.parse_qs(url.query).get("key", [""])[0]
        blob = hub.signed.get(key)
        hub.cdn_log.append((self.command, self.headers.get("Range"), dict(self.headers)))
        if faults.delay:
            time.sleep(faults.delay)
        if blob is None:
            return self.answer(403, b"<Error>AccessDenied</Error>", content_type="application/xml")
        if faults.expire_after is not None:
            hub.uses[key] = hub.uses.get(key, 0) + 1
            if hub.uses[key] > faults.expire_after:
                return self.answer(403, b"<Error>Request has expired</Error>",
                                   content_type="application/xml")
        if faults.fires("cdn_status"):
            return self.canned(faults.cdn_status)
        return self.file(blob)

    def wanted(self, blob, etag):
        m = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if_range = self.headers.get("If-Range")
        if not m or self.hub.faults.ignore_range or (if_range and if_range != etag):
            return 0, blob.size, False
        start = int(m.group(1))
        end = min(int(m.group(2)) + 1 if m.group(2) else blob.size, blob.size)
        end = min(end, start + (self.hub.faults.range_limit or blob.size))
        return start, end, True

    def file(self, blob):
        faults = self.hub.faults
        etag = '"%s"' % blob.xet
        start, end, partial = self.wanted(blob, etag)
        other = faults.etag_changes_at is not None and start >= faults.etag_changes_at
        if other:
            etag = '"%s"' % ("f" * 64)
            start, end, partial = self.wanted(blob, etag)
        if partial and start >= blob.size:
            return self.answer(416, headers=[("Content-Range", "bytes */%d" % blob.size)])
        self.send_response(206 if partial else 200)
        self.send_header("ETag", etag)
        if faults.cdn_encoding:
            self.send_header("Content-Encoding", faults.cdn_encoding)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start + (faults.wrong_length or 0)))
        if partial:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (
                start, end - 1, blob.size + (faults.wrong_total or 0)))
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(blob, start, end, other)
        return None

    def send_body(self, blob, start, end, other):
        faults, hub = self.hub.faults, self.hub
        drip = faults.drip if faults.fires("drip") else None
        cut = faults.cut_after if faults.cut_after is not None and faults.fires("cut_after") else None
        plain = (cut is None and faults.stall_after is None and faults.flip_at is None
                 and not drip and not faults.connection_rate and not other
                 and faults.cut_at is None)
        if plain and blob.path and not hub.tls:
            with open(blob.path, "rb") as file:
                hub.sent += self.request.sendfile(file, start, end - start) or 0
            return
        sent, begun, at = 0, time.monotonic(), start
        step = drip or (16384 if faults.connection_rate else 1 << 18)
        while at < end:
            n = min(step, end - at)
            if cut is not None:
                n = min(n, cut - sent)
            if faults.cut_at is not None and at < faults.cut_at:
                n = min(n, faults.cut_at - at)
            elif faults.cut_at is not None and at == faults.cut_at:
                faults.cut_at = None
                n = 0
            if n <= 0:
                self.close_connection = True
                self.request.shutdown(socket.SHUT_RDWR)
                return
            if faults.stall_after is not None and sent >= faults.stall_after and \
                    faults.fires("stall_after"):
                time.sleep(faults.stall_seconds)
                self.close_connection = True
                return
            data = blob.read(at, n)
            if faults.flip_at is not None and at <= faults.flip_at < at + n:
                i = faults.flip_at - at
                data = data[:i] + bytes([data[i] ^ 1]) + data[i + 1:]
            if other:
                data = bytes(len(data))
            self.wfile.write(data)
            at, sent = at + n, sent + n
            hub.sent += n
            if drip:
                time.sleep(0.1)
            elif faults.connection_rate:
                ahead = sent / faults.connection_rate - (time.monotonic() - begun)
                if ahead > 0:
                    time.sleep(ahead)


def make_ca(folder):
    """A CA and a certificate for localhost; returns (ca, certificate and key)."""
    ca, key = os.path.join(folder, "ca.pem"), os.path.join(folder, "ca.key")
    leaf, request = os.path.join(folder, "leaf.pem"), os.path.join(folder, "leaf.csr")
    leaf_key, names = os.path.join(folder, "leaf.key"), os.path.join(folder, "names")
    with open(names, "w", encoding="ascii") as file:
        file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(new + ["-x509", "-days", "2", "-subj", "/CN=test CA", "-keyout", key,
                          "-out", ca], **quiet)
    subprocess.run(new + ["-subj", "/CN=localhost", "-keyout", leaf_key, "-out", request], **quiet)
    subprocess.run(["openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", key,
                    "-CAcreateserial", "-days", "2", "-extfile", names, "-out", leaf], **quiet)
    return ca, leaf, leaf_key


class Hub:
    def __init__(self, tls=False, page_size=1000):
        self.faults, self.repos, self.renamed = Faults(), {}, {}
        self.tokens, self.accepted = {"hf_good", "hf_accepted"}, {"hf_accepted"}
        self.log, self.cdn_log = [], []
        self.signed, self.uses, self.sent, self.cdn_connections = {}, {}, 0, 0
        self.page_size, self.foreign_links, self.tls = page_size, False, tls
        self.folder = tempfile.TemporaryDirectory()
        self.ca_file = None
        context = None
        if tls:
            self.ca_file, leaf, key = make_ca(self.folder.name)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(leaf, key)
        self.servers = [self.start(ApiHandler, context), self.start(CdnHandler, context)]
        scheme = "https" if tls else "http"
        self.url, self.cdn_url = ["%s://localhost:%d" % (scheme, s.server_address[1])
                                  for s in self.servers]

    def start(self, handler, context):
        kind = type(handler.__name__, (handler,), {"hub": self})
        server = Server(("127.0.0.1", 0), kind)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True,
                                                do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def add(self, name, files, **options):
        self.repos[name] = Repo(name, files, **options)
        return self.repos[name]

    def sign(self, blob):
        key = "%s-%d" % (blob.xet[:16], len(self.signed))
        self.signed[key] = blob
        return key

    def reset(self):
        self.faults = Faults()
        self.log.clear()
        self.cdn_log.clear()
        self.sent = self.cdn_connections = 0

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
        self.folder.cleanup()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--connection-rate", type=int)
    options = parser.parse_args()
    hub = Hub(tls=options.tls)
    hub.faults.connection_rate = options.connection_rate
    for owner in sorted(os.listdir(options.dir)):
        for repo in sorted(os.listdir(os.path.join(options.dir, owner))):
            top = os.path.join(options.dir, owner, repo)
            files = {os.path.relpath(os.path.join(folder, name), top): os.path.join(folder, name)
                     for folder, _, names in os.walk(top) for name in names}
            hub.add("%s/%s" % (owner, repo), files)
    print(hub.url, hub.ca_file or "", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
