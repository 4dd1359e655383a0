"""The four pages of a stage's process: /healthz, /readyz, /metrics, /status."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from posetask.errors import NotAvailable
from posetask.telemetry.metrics import CONTENT_TYPE

Page = Callable[[], tuple[int, str, bytes]]
"""Status, content type and body."""


class HealthServer:
    """Serves pages until it is closed.

    Args:
        address: ``host:port``; port 0 takes any free one.
        pages: By path.

    Raises:
        NotAvailable: The address is taken, or is none of this machine's.
    """

    def __init__(self, address: str, pages: dict[str, Page]) -> None:
        host, _, port = address.rpartition(":")
        try:
            self._server = _Server((host, int(port)), _handler(pages))
        except (OSError, OverflowError) as error:
            raise NotAvailable(
                f"cannot listen on {address} ({error})", hint="choose another with --listen, port 0 takes any"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        host, port = self._server.server_address[:2]
        return f"{host if isinstance(host, str) else host.decode()}:{port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def text(status: int, words: str) -> tuple[int, str, bytes]:
    """A page of plain text."""
    return status, "text/plain; charset=utf-8", f"{words}\n".encode()


def document(json: str) -> tuple[int, str, bytes]:
    """A page of JSON."""
    return 200, "application/json", json.encode()


def metrics(body: bytes) -> tuple[int, str, bytes]:
    """A page for Prometheus."""
    return 200, CONTENT_TYPE, body


def _handler(pages: dict[str, Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds that a client may be silent

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, kind, body = page() if page is not None else text(404, "there is " + ", ".join(pages))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class says so
            """Probes are no news."""

    return Handler
