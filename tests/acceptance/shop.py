"""A shop abroad for package tools, on MIRROR: python -m tests.acceptance.shop PEM DIRECTORY. Serves until SIGTERM.

It says "ready" once it does. Over HTTPS on port TLS and over HTTP on port PLAIN:

GET /            one JSON object: the client address that was seen
/pypi/simple/    an index for pip (the simple repository API) with the files in DIRECTORY/pypi
/npm/            a registry for npm with the package in DIRECTORY/npm
/git/            the repositories in DIRECTORY/git, by git's own http-backend(1)
"""

import http.server
import json
import os
import signal
import socketserver
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ops.demo.world import MIRROR, NAMES

TLS, PLAIN = 9443, 9080
TARBALL = "package.tgz"


class Shop(http.server.BaseHTTPRequestHandler):
    """One connection. root: the directory."""

    protocol_version = "HTTP/1.1"
    root: Path

    def do_GET(self) -> None:
        """Everything but a fetch of git's."""
        path = unquote(urlsplit(self.path).path)
        section, _, rest = path.lstrip("/").partition("/")
        if section == "git":
            self._git(path)
        elif section == "pypi":
            self._pypi(rest.removeprefix("simple/"))
        elif section == "npm":
            self._npm(rest)
        elif path == "/":
            self._say(200, "application/json", json.dumps({"client": self.client_address[0]}).encode() + b"\n")
        else:
            self._say(404, "text/plain", b"nothing here\n")

    def do_POST(self) -> None:
        """A fetch of git's."""
        self._git(unquote(urlsplit(self.path).path))

    def log_message(self, *_: Any) -> None:
        """Not a word."""

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pypi(self, rest: str) -> None:
        """PEP 503: a page of links for a project; the files lie beside it."""
        folder = self.root / "pypi"
        if rest.endswith("/"):
            links = [f'<a href="{file.name}">{file.name}</a>' for file in folder.iterdir()]
            self._say(200, "text/html", b"<!DOCTYPE html>\n" + "\n".join(links).encode())
        else:
            self._say(200, "application/octet-stream", (folder / Path(rest).name).read_bytes())

    def _npm(self, rest: str) -> None:
        """A packument, with its tarball below it."""
        folder = self.root / "npm"
        if rest.endswith(TARBALL):
            self._say(200, "application/octet-stream", (folder / TARBALL).read_bytes())
            return
        manifest = json.loads((folder / "package.json").read_text())
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        manifest["dist"] = {"tarball": f"{scheme}://{self.headers['Host']}/npm/{manifest['name']}/-/{TARBALL}"}
        version = manifest["version"]
        packument = {"name": rest, "dist-tags": {"latest": version}, "versions": {version: manifest}}
        self._say(200, "application/json", json.dumps(packument).encode())

    def _git(self, path: str) -> None:
        """RFC 3875 in as much as git http-backend needs of it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = {
            "GIT_PROJECT_ROOT": str(self.root / "git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",  # whoever the repository belongs to
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path.removeprefix("/git"),
            "QUERY_STRING": urlsplit(self.path).query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=os.environ | asked, capture_output=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self._say(int(fields.get("Status", "200").split()[0]), fields.get("Content-Type", "text/plain"), answer)


class Server(socketserver.ThreadingTCPServer):
    """A client that leaves in the middle, or dislikes the certificate, is no news. (HTTPServer would look its own name
    up.)"""

    allow_reuse_address = True
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake belongs to the connection's thread, not to the one that accepts."""
        request.settimeout(30)
        if self.context is not None:
            request = self.context.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Not a word."""


def main(certificate: Path, directory: Path) -> None:
    """Serves until SIGTERM."""
    Shop.root = directory
    for port in (TLS, PLAIN):
        server = Server((NAMES[MIRROR][0], port), Shop)
        if port == TLS:
            server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.context.load_cert_chain(certificate)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(Path(sys.argv[1]), Path(sys.argv[2]))
