"""The HTTP server of a service: bound before anything is loaded, served on a thread of its own."""

from __future__ import annotations

import socket
import threading
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from posetask.errors import NotAvailable
from posetask.runtime.service.settings import ServiceSettings

_MOST_CONNECTIONS = 200
_IDLE_SECONDS = 10
_GRACE_SECONDS = 3


class ServiceServer:
    """Listens from the start; answers from :meth:`serve` on.

    Args:
        settings: Where, and with which certificate.

    Raises:
        NotAvailable: The address is taken, or is none of this machine's.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((settings.host, settings.port))
            self._socket.listen(128)
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise NotAvailable(
                f"cannot listen on {settings.listen} ({error})",
                hint="choose another with --listen, port 0 takes any",
            ) from error
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self._settings.tls_certificate else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def serve(self, app: ASGIApp) -> None:
        """Answer, until it is closed.

        Raises:
            NotAvailable: The certificate or its key cannot be used.
        """
        given = self._settings
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            ssl_certfile=given.tls_certificate,
            ssl_keyfile=given.tls_key,
        )
        try:
            config.load()
        except (OSError, ValueError) as error:
            raise NotAvailable(
                f"the certificate {given.tls_certificate} cannot be used ({error})",
                hint="give PEM files that belong together",
            ) from error
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, args=([self._socket],), name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; answers under way are finished."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
