"""The frame producer: decodes the source and gives every frame its index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any, ClassVar

from pydantic import Field

from posetask.media.jpeg import WireCodec
from posetask.media.reader import FrameReader
from posetask.messages import DecodeReport, Frame, FrameHeader
from posetask.stages.base import Source, StageContext, StageParameters
from posetask.stages.names import RAW_FRAMES


class ProducerParameters(StageParameters):
    """Parameters of the producer."""

    every_n: int = Field(
        1, ge=1, le=1000, description="analyse every Nth frame; those between are interpolated"
    )
    wire_codec: str | None = Field(
        None, description="pass every frame once through a wire codec, e.g. jpeg:90"
    )


class ProducerStage(Source[ProducerParameters]):
    """Frames of an opened source, on ``raw_frames``.

    Args:
        parameters: See :class:`ProducerParameters`.
        context: The run.
        reader: The opened source; the stage closes it.
    """

    name = "producer"
    description = "decodes the source into numbered, upright frames"
    port = 8101
    output = RAW_FRAMES
    Parameters: ClassVar[type[StageParameters]] = ProducerParameters

    def __init__(self, parameters: ProducerParameters, context: StageContext, reader: FrameReader) -> None:
        super().__init__(parameters, context)
        self._reader = reader
        self._codec = WireCodec.parse(parameters.wire_codec) if parameters.wire_codec else None
        self._full: Callable[[], bool] = lambda: False
        self.dropped = 0
        """Frames of a live source that were lost because readers are behind."""

    def follow(self, begin: int, full: Callable[[], bool]) -> None:
        """The source is live: it does not wait, and it does not come again.

        Args:
            begin: Number of its first frame: an earlier process has published those below.
            full: Asked before each frame: where readers are a window behind, it is dropped, and counted.
        """
        self.begin, self._full = begin, full

    def produce(self) -> Iterator[Frame]:
        """Every frame that the decoder presents, in order, with the source's own times."""
        info, timings = self._reader.info, self.context.timings
        frames = iter(self._reader)
        index, dropped = self.begin, 0
        while True:
            with timings.measure("producer.decode"):
                decoded = next(frames, None)
            if decoded is None:
                return
            if self._full():
                dropped += 1
                self.dropped += 1
                continue
            image = decoded.image
            if self._codec is not None:
                with timings.measure("producer.wire_codec"):
                    image = self._codec.round_trip(image)
                image.flags.writeable = False
            height, width = image.shape[:2]
            header = FrameHeader(
                index=index,
                pts=decoded.pts,
                time_base=info.time_base,
                width=width,
                height=height,
                duration=decoded.duration,
                frame_rate=info.frame_rate,
                analysed=index % self.parameters.every_n == 0,
                dropped_before=dropped,
                run=self.context.run,
            )
            dropped = 0
            yield Frame(header, image)
            index += 1

    @property
    def report(self) -> DecodeReport:
        """What decoding came to."""
        return replace(self._reader.report)

    def facts(self) -> dict[str, Any]:
        """What decoding came to so far."""
        return {"decode": asdict(self._reader.report), "dropped": self.dropped}

    def stop(self) -> None:
        """End the stream after the current frame; safe from any thread."""
        self._reader.stop()

    def close(self) -> None:
        """Close the source."""
        self._reader.close()
