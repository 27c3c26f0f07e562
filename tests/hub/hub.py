"""A hub on this machine, for tests: repositories by `git http-backend`, files by the batch API of Git LFS, tokens, and a
second port that plays the CDN to which the first one redirects.

    python3 hub.py ROOT

ROOT has `repos/ORG/NAME.git`, `objects/SHA256`, the token in `token`, and may have a word in `fault` that says what the
hub does wrong. The hub prints its two ports, and writes one line per request to `log`.
"""

import base64
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse

ROOT = os.path.abspath(sys.argv[1])
HTML = b"<!doctype html><title>Log in</title>\n"


def text_of(name):
    try:
        with open(os.path.join(ROOT, name)) as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    @property
    def role(self):
        return "cdn" if self.server is CDN else "hub"

    def answer(self, status, body=b"", kind="text/plain", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def has_token(self):
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        token = text_of("token")
        if kind == "Bearer":
            return value == token
        if kind == "Basic":
            return base64.b64decode(value).decode().partition(":")[2] == token
        return False

    def handle_request(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(length)
        kind = self.headers.get("Authorization", "-").partition(" ")[0]
        line = f"{self.role} {self.command} {self.path} {kind} {self.headers.get('Range', '-')}\n"
        with open(os.path.join(ROOT, "log"), "a") as log:
            log.write(line)
        url = urllib.parse.urlsplit(self.path)
        fault = text_of("fault")
        if self.role == "cdn":
            return self.send_object(url.path.rpartition("/")[2], fault)
        if url.path.startswith("/lfs/"):
            return self.redirect(url.path.rpartition("/")[2], fault)
        parts = url.path.strip("/").split("/")
        cut = next((n for n, part in enumerate(parts) if part in ("info", "git-upload-pack")), None)
        if cut is None:
            return self.answer(404, b"{}")
        name = "/".join(parts[:cut]).removesuffix(".git")
        rest = "/".join(parts[cut:])
        if "private" in name and not self.has_token():
            return self.answer(401, b'{"error": "Invalid username or password."}', WWW_Authenticate='Basic realm="hub"')
        if "gated" in name:
            return self.answer(403, b'{"error": "Access to this repository is gated."}')
        if rest == "info/lfs/objects/batch":
            return self.batch(json.loads(body), fault)
        if fault == "git-html":
            return self.answer(200, HTML, "text/html")
        if fault == "git-elsewhere":
            return self.answer(302, Location=f"http://127.0.0.1:{CDN.server_port}{self.path}")
        return self.git(name, rest, url.query, body)

    do_GET = do_POST = handle_request

    def git(self, name, rest, query, body):
        env = dict(os.environ)
        env.update(
            GIT_PROJECT_ROOT=os.path.join(ROOT, "repos"),
            GIT_HTTP_EXPORT_ALL="1",
            PATH_INFO=f"/{name}.git/{rest}",
            QUERY_STRING=query,
            REQUEST_METHOD=self.command,
            CONTENT_TYPE=self.headers.get("Content-Type", ""),
            CONTENT_LENGTH=str(len(body)),
            GIT_PROTOCOL=self.headers.get("Git-Protocol", ""),
            HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding", ""),
        )
        out = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE).stdout
        head, _, content = out.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200 OK").split()[0])
        self.answer(status, content, headers.get("Content-Type", "text/plain"))

    def batch(self, request, fault):
        if fault == "html":
            return self.answer(200, HTML, "text/html")
        if fault == "endless-batch":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"[" * 65536)
            except OSError:
                self.close_connection = True
                return None
        here = f"http://127.0.0.1:{HUB.server_port}"
        objects = []
        for one in request["objects"]:
            oid, size = one["oid"], one["size"]
            href = {
                "metadata": "http://169.254.169.254/latest/meta-data/",
                "file": "file:///etc/passwd",
                "plain": "http://cdn.example.org/x",
                "root": f"{here}/etc/passwd",
            }.get(fault, f"{here}/lfs/{oid}")
            entry = {"oid": oid, "size": size, "actions": {"download": {"href": href, "header": {"X-Signed": "yes"}}}}
            if fault == "other-size":
                entry["size"] = size + 1
            if fault == "lacks" or not os.path.exists(os.path.join(ROOT, "objects", oid)):
                entry = {"oid": oid, "size": size, "error": {"code": 404, "message": "Object does not exist"}}
            objects.append(entry)
        body = json.dumps({"transfer": "basic", "objects": objects}).encode()
        return self.answer(200, body, "application/vnd.git-lfs+json")

    def redirect(self, oid, fault):
        if fault == "loop":
            return self.answer(302, Location=self.path)
        if fault == "redirect-metadata":
            return self.answer(302, Location="http://169.254.169.254/latest/meta-data/")
        return self.answer(302, Location=f"http://127.0.0.1:{CDN.server_port}/{oid}?Signature=abc")

    def send_object(self, oid, fault):
        if self.headers.get("Authorization") or self.headers.get("X-Signed"):
            return self.answer(400, b"two ways of authorization")
        if fault == "cdn-html":
            return self.answer(200, HTML, "text/html")
        path = os.path.join(ROOT, "objects", oid)
        if not os.path.isfile(path):
            return self.answer(404)
        with open(path, "rb") as file:
            content = file.read()
        if fault == "other-bytes":
            content = bytes(255 - byte for byte in content)
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        if fault == "no-range":
            start = 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if fault == "endless":
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                self.close_connection = True
                return None
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        # Half of what is left, and then the connection ends.
        end = start + (len(content) - start) // 2 if fault in ("breaks", "no-range") and not start else len(content)
        if fault == "breaks-always":
            end = start + min(1000, len(content) - start)
        self.wfile.write(content[start:end])
        self.close_connection = end < len(content)
        return None


HUB = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
CDN = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=CDN.serve_forever, daemon=True).start()
print(HUB.server_port, CDN.server_port, flush=True)
threading.Thread(target=HUB.serve_forever, daemon=True).start()
# The hub ends with the process that holds its standard input.
sys.stdin.read()
