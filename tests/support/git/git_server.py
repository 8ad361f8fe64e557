"""A real Git server over https on loopback: Git's own http-backend behind Python's server."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER, PASSWORD = "agent", "s3cret"


@dataclass(frozen=True)
class GitServer:
    """Serves every repository below a folder; `ca_file` is the certificate to trust."""

    url: str
    ca_file: Path


@contextmanager
def git_server(
    folder: Path,
    *,
    asks: bool = False,
    redirects: bool = False,
    stalls_after: int | None = None,
    page: bytes | None = None,
) -> Iterator[GitServer]:
    """Serve the repositories of a folder; `asks` wants USER and PASSWORD.

    With a `page`, everything is answered with it, as a login page does. An answer of more than
    `stalls_after` bytes stops there, and never ends.
    """
    certificate, key = folder / "ca.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), _handler(folder, asks, redirects, stalls_after, page)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield GitServer(f"https://127.0.0.1:{server.server_port}", certificate)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(
    folder: Path, asks: bool, redirects: bool, stalls_after: int | None, page: bytes | None
) -> type[BaseHTTPRequestHandler]:
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _answer(self, body: bytes) -> None:
            if asks and self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self._end(b"")
            elif page is not None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self._end(page)
            elif redirects and not self.path.startswith("/moved"):
                self.send_response(301)
                self.send_header("Location", f"/moved{self.path}")
                self._end(b"")
            else:
                self._run_backend(body)

        def _run_backend(self, body: bytes) -> None:
            path, _, query = self.path.removeprefix("/moved").partition("?")
            done = subprocess.run(
                ["git", "-c", "safe.directory=*", "http-backend"],
                input=body,
                capture_output=True,
                check=False,
                env={
                    "PATH": os.environ["PATH"],
                    "GIT_PROJECT_ROOT": str(folder),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path,
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                },
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            status = next((value for name, value in headers if name == "Status"), "200")
            self.send_response(int(status.split()[0]))
            for name, value in headers:
                if name != "Status":
                    self.send_header(name, value)
            self._end(content)

        def _end(self, content: bytes) -> None:
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if stalls_after is None or len(content) <= stalls_after:
                self.wfile.write(content)
            else:
                self.wfile.write(content[:stalls_after])
                with suppress(OSError):
                    self.rfile.read(1)  # until the client is gone
                self.close_connection = True

    return Handler
