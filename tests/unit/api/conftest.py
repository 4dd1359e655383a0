"""Forms as bytes, and a place for uploads that only remembers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

Form = Callable[..., tuple[str, bytes]]
BOUNDARY = "----of-these-tests"


@dataclass
class Kept:
    """An upload in memory."""

    name: str
    data: bytearray = field(default_factory=bytearray)
    pieces: list[int] = field(default_factory=list)
    discarded: bool = False

    async def write(self, data: bytes) -> None:
        self.data += data
        self.pieces.append(len(data))

    async def discard(self) -> None:
        self.discarded = True


@pytest.fixture(scope="session")
def make_form() -> Form:
    """``make_form((field, filename | None, bytes), …)``: content type and body."""

    def make(*parts: tuple[str, str | None, bytes]) -> tuple[str, bytes]:
        body = b""
        for name, filename, data in parts:
            shown = f'; filename="{filename}"' if filename is not None else ""
            body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode()
            body += data + b"\r\n"
        return f"multipart/form-data; boundary={BOUNDARY}", body + f"--{BOUNDARY}--\r\n".encode()

    return make


@pytest.fixture(scope="session")
def in_pieces() -> Callable[[bytes, int], AsyncIterator[bytes]]:
    """A body that comes in pieces of so many bytes."""

    async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]
        yield b""

    return pieces


@pytest.fixture
def uploads() -> list[Kept]:
    """What was begun with :func:`begin`."""
    return []


@pytest.fixture
def begin(uploads: list[Kept]) -> Callable[[str], object]:
    async def begun(name: str) -> Kept:
        uploads.append(Kept(name))
        return uploads[-1]

    return begun
