"""A server on this machine that answers whatever it is asked as it was told to, by TLS too."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request."""

    path: str
    kind: str
    authorization: str
    body: bytes


@dataclass
class Server:
    """Answers every request with `status` and `answer`, unless `decide` says otherwise, and keeps what was sent."""

    port: int = 0
    status: int = 200
    answer: bytes = b"{}"
    decide: Callable[[Asked], tuple[int, bytes] | None] = lambda _: None
    asked: list[Asked] = field(default_factory=list)

    @property
    def last(self) -> Asked:
        return self.asked[-1]


@contextmanager
def answering(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server, until the block is left."""
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            kind, authorization = (self.headers.get(name) or "" for name in ("content-type", "authorization"))
            found.asked.append(Asked(self.path, kind, authorization, body))
            status, answer = found.decide(found.last) or (found.status, found.answer)
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.handle_any
            raise AttributeError(name)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Whoever does not trust the certificate hangs up."""

    with Listener(("127.0.0.1", 0), Handler) as listener:
        if tls:
            listener.socket = tls.wrap_socket(listener.socket, server_side=True)
        found.port = listener.server_port
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            yield found
        finally:
            listener.shutdown()
            thread.join()
