"""Reading ``http(s)://`` without being led astray: every hop's address is checked after it is resolved.

A URL of a user's can name, or redirect to, or resolve to, what only this machine can reach: a metadata
service, a database, the loopback. So each hop is resolved here, its addresses must be public ones (or
allowed by the administrator), and the connection goes to the address that was checked, so that a second
answer of the name server changes nothing.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from posetask.errors import InputError, InvalidParameters, SourceNotFound, Unavailable
from posetask.storage.durable import storage_errors

_HOPS = 5
_TRIES = 3
_CHUNK = 2**18
_WAIT_SECONDS = 0.5
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class WebRules:
    """What may be fetched.

    Attributes:
        networks: Of addresses that may be reached although they are not public.
        prefixes: URLs that may be fetched; empty allows all. Scheme, host and port must be equal, and the
            path must begin alike; redirects are held to them, too.
    """

    networks: tuple[_Network, ...] = ()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """``POSETASK_SOURCE_NETWORKS`` (10.0.0.0/8,…) and ``POSETASK_SOURCE_PREFIXES`` (https://a.example/v/,…).

        Raises:
            InvalidParameters: A network or prefix is none.
        """
        env = os.environ if environment is None else environment
        try:
            networks = tuple(
                ipaddress.ip_network(text) for text in _words(env.get("POSETASK_SOURCE_NETWORKS", ""))
            )
        except ValueError as error:
            raise InvalidParameters(
                f"POSETASK_SOURCE_NETWORKS: {error}", hint="for example 10.0.0.0/8"
            ) from None
        return cls(networks, _words(env.get("POSETASK_SOURCE_PREFIXES", "")))

    def check(self, url: str) -> None:
        """Refuse a URL that no prefix covers.

        Raises:
            InputError: Says so.

        >>> WebRules(prefixes=("https://videos.example/a/",)).check("https://videos.example/a/1.mp4")
        >>> WebRules(prefixes=("https://videos.example",)).check("https://videos.example.evil.example/1.mp4")
        Traceback (most recent call last):
        posetask.errors.InputError: https://videos.example.evil.example/1.mp4 may not be read here; ...
        """
        if self.prefixes and not any(_covers(prefix, url) for prefix in self.prefixes):
            raise InputError(f"{url} may not be read here", hint="ask the administrator to allow its prefix")

    def address(self, host: str, port: int, resolve: Resolve) -> str:
        """An address of ``host`` that may be reached.

        Raises:
            InputError: It has none.
            Unavailable: The name cannot be resolved now.
        """
        try:
            found = resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise Unavailable(f"{host} cannot be resolved ({error})", hint="check the name") from None
        for text in found:
            address = ipaddress.ip_address(text.partition("%")[0])
            mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
            real = mapped or address
            public = real.is_global and not real.is_multicast
            if public or any(real in network for network in self.networks if network.version == real.version):
                return text
        raise InputError(
            f"{host} is at {', '.join(found) or 'no address'}, which is not on the public Internet",
            hint="the administrator can allow it with POSETASK_SOURCE_NETWORKS",
        )


def resolve_name(host: str, port: int) -> list[str]:
    """Addresses by the machine's own resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def fetch_web(
    url: str, path: Path, rules: WebRules, *, most: int | None = None, resolve: Resolve = resolve_name
) -> int:
    """Write what is at ``url`` to a new file.

    Args:
        url: ``http://`` or ``https://``.
        path: The file.
        rules: What may be fetched.
        most: Bytes that are taken at most.
        resolve: Host and port to addresses.

    Returns:
        Bytes.

    Raises:
        SourceNotFound: There is nothing.
        InputError: It may not be read, leads astray, or is larger than ``most``.
        Unavailable: The server does not answer, or ends too early.
        StorageFull: No space left.
    """
    for attempt in range(_TRIES):
        try:
            return _fetch(url, path, rules, most, resolve)
        except httpx.TransportError as error:
            path.unlink(missing_ok=True)
            if attempt == _TRIES - 1:
                raise Unavailable(
                    f"{url} does not answer ({type(error).__name__})", hint="try again later"
                ) from error
            time.sleep(_WAIT_SECONDS * 2**attempt)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    raise AssertionError  # pragma: no cover - the last try answers or raises


def _fetch(url: str, path: Path, rules: WebRules, most: int | None, resolve: Resolve) -> int:
    with httpx.Client(timeout=30.0, trust_env=False, follow_redirects=False) as client:
        here = url
        for _ in range(_HOPS + 1):
            with closing(client.send(_hop(client, here, rules, resolve), stream=True)) as answer:
                if answer.is_redirect:
                    here = urljoin(here, answer.headers.get("location", ""))
                    continue
                _check(url, answer, most)
                done = 0
                with storage_errors(path), path.open("xb") as file:
                    for piece in answer.iter_bytes(_CHUNK):
                        done += len(piece)
                        if most is not None and done > most:
                            raise _too_large(url, most)
                        file.write(piece)
                return done
    raise InputError(f"{url} redirects more than {_HOPS} times", hint="give the address of the video itself")


def _hop(client: httpx.Client, url: str, rules: WebRules, resolve: Resolve) -> httpx.Request:
    """What to ask, of the address that was checked, in the name of the host that was given."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in ("http", "https"):
        raise InputError(f"{url} is no http(s) address", hint="give the address of the video itself")
    rules.check(url)
    address = rules.address(host, port or (443 if parts.scheme == "https" else 80), resolve)
    netloc = f"[{address}]" if ":" in address else address
    asked = urlunsplit(
        (parts.scheme, netloc + (f":{port}" if port else ""), parts.path or "/", parts.query, "")
    )
    named = host if port is None else f"{host}:{port}"
    headers = {"host": named, "accept-encoding": "identity", "user-agent": "posetask"}
    return client.build_request("GET", asked, headers=headers, extensions={"sni_hostname": host})


def _check(url: str, answer: httpx.Response, most: int | None) -> None:
    status = answer.status_code
    if status in (404, 410):
        raise SourceNotFound(f"{url} does not exist", hint="check the address")
    if status in (408, 429) or status >= 500:
        raise Unavailable(f"{url}: the server says {status}", hint="try again later")
    if status != 200:
        raise InputError(f"{url}: the server says {status}", hint="check the address; no log-in is tried")
    length = answer.headers.get("content-length", "")
    if most is not None and length.isdigit() and int(length) > most:
        raise _too_large(url, most)


def _too_large(url: str, most: int) -> InputError:
    return InputError(f"{url} is larger than {most} bytes", hint="give a shorter video")


def _covers(prefix: str, url: str) -> bool:
    given, asked = urlsplit(prefix), urlsplit(url)
    same = (given.scheme, given.hostname, given.port) == (asked.scheme, asked.hostname, asked.port)
    parts = asked.path.split("/")
    return same and ".." not in parts and asked.path.startswith(given.path)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
