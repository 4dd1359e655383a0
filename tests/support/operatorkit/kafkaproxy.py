"""A proxy before a Kafka broker: it counts every request that changes something, and can break each.

It reads the length, the kind and the correlation id of every request and hands the bytes on as they are, so
what is behind it is the unchanged client and the unchanged broker. (Kafka protocol guide: a request begins
with its size, then the API's key and version, int16 each, and the correlation id, int32.)
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

from operatorkit.loops import Loop
from operatorkit.writes import Fault, Ledger, Write

CHANGES = {
    0: "produce",
    8: "commit-offsets",
    19: "create-topics",
    20: "delete-topics",
    21: "delete-records",
    37: "create-partitions",
    42: "delete-groups",
}
"""Keys of the requests that change something."""

_SHARED = (b"posetask_runs", b"posetask_progress")


class KafkaProxy:
    """One proxy, and one listener of the broker's. Use it as a context, around the broker.

    Args:
        ledger: Told every change; says what happens to it. ``Fault.answer`` ends the connection here: the
            broker never sees the request, the client no answer.
        name: Of the broker's listener; capital letters.
    """

    def __init__(self, ledger: Ledger, name: str = "FAULT") -> None:
        self.ledger, self.name = ledger, name
        self._upstream: tuple[str, int] | None = None
        self._loop = Loop("kafka-proxy")
        self._writers: set[asyncio.StreamWriter] = set()
        self._down = False

    def __enter__(self) -> KafkaProxy:
        self._server = self._loop.run(self._start())
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._stop())
        self._loop.close()

    @property
    def bootstrap(self) -> str:
        """For the clients."""
        return f"127.0.0.1:{self.port}"

    def forward_to(self, port: int) -> None:
        """The broker's own port of the listener."""
        self._upstream = ("127.0.0.1", port)

    def go_away(self, down: bool = True) -> None:
        """End all connections, and take none: the brokers are away."""
        self._down = down
        if down:
            self._loop.run(self._cut())

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down or self._upstream is None:
            writer.transport.abort()
            return
        try:
            broker = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, broker[1]}
        self._writers |= both
        waiting: dict[int, tuple[Write, Fault]] = {}
        pumps = [
            asyncio.create_task(self._ask(reader, broker[1], waiting)),
            asyncio.create_task(self._reply(broker[0], writer, waiting)),
        ]
        try:
            with suppress(asyncio.CancelledError):  # the end of the proxy; asyncio.streams would complain
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._writers -= both
            for pump in pumps:
                pump.cancel()
            for one in both:
                one.transport.abort()
            await asyncio.gather(*pumps, return_exceptions=True)
            for write, _ in waiting.values():
                self.ledger.end(write)

    async def _ask(
        self,
        client: asyncio.StreamReader,
        broker: asyncio.StreamWriter,
        waiting: dict[int, tuple[Write, Fault]],
    ) -> None:
        while (frame := await _frame(client)) is not None:
            key, _, correlation = struct.unpack_from(">hhi", frame)
            if key in CHANGES:
                write, fault = await asyncio.to_thread(self.ledger.begin, describe(key, frame))
                waiting[correlation] = (write, fault or Fault())
                if fault is not None and fault.before is not None:
                    await asyncio.to_thread(fault.before)
                if fault is not None and fault.answer is not None:
                    return
            with suppress(ConnectionError):
                broker.write(struct.pack(">i", len(frame)) + frame)
                await broker.drain()

    async def _reply(
        self,
        broker: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        waiting: dict[int, tuple[Write, Fault]],
    ) -> None:
        while (frame := await _frame(broker)) is not None:
            (correlation,) = struct.unpack_from(">i", frame)
            known = waiting.pop(correlation, None)
            if known is not None:
                write, fault = known
                try:
                    if fault.after is not None:
                        await asyncio.to_thread(fault.after)
                finally:
                    self.ledger.end(write)
                if fault.lose:
                    return
            with suppress(ConnectionError):
                client.write(struct.pack(">i", len(frame)) + frame)
                await client.drain()


def listeners(proxies: list[KafkaProxy], ports: list[int]) -> list[str]:
    """Settings of a broker that listens at ``ports`` and sends clients to ``proxies``."""
    names = [proxy.name for proxy in proxies]
    inside = ",".join(f"{name}://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True))
    outside = ",".join(f"{proxy.name}://{proxy.bootstrap}" for proxy in proxies)
    kinds = ",".join(f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names))
    return [
        f"listeners={inside}",
        f"advertised.listeners={outside}",
        f"listener.security.protocol.map={kinds}",
    ]


def describe(key: int, frame: bytes) -> str:
    """What a request changes.

    >>> describe(0, b"..posetask_runs..")
    'kafka produce posetask_runs'
    """
    topics = [name.decode() for name in _SHARED if name in frame] if key == 0 else []
    return " ".join(["kafka", CHANGES[key], *topics])


async def _frame(reader: asyncio.StreamReader) -> bytes | None:
    try:
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
