"""The server's process: bound first, then opened, then answering until it is told to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import uvicorn

from posetask.errors import NotAvailable
from posetask_api.app import make_app
from posetask_api.backend import TaskBackend
from posetask_api.settings import ApiSettings

_MOST_CONNECTIONS = 500
_IDLE_SECONDS = 30
_GRACE_SECONDS = 5


def bind(settings: ApiSettings) -> socket.socket:
    """The listening socket.

    Raises:
        NotAvailable: The address is taken, or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise NotAvailable(
            f"cannot listen on {settings.listen} ({error})", hint="choose another with --listen"
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Where it listens."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(backend: TaskBackend, settings: ApiSettings, on_ready: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM.

    Args:
        backend: Where tasks live.
        settings: Of the server.
        on_ready: Told the address once it listens.

    Raises:
        NotAvailable: The address cannot be listened on.
    """
    with bind(settings) as listener:
        on_ready(url_of(listener))
        config = uvicorn.Config(
            make_app(backend, settings),
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            # uvicorn takes both while it runs, and sends itself what came once it has ended in good order.
            signal.signal(number, lambda *_: None)
        uvicorn.Server(config).run([listener])
