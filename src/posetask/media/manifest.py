"""What a folder of segments holds: enough to resume the encoder, and to remux without looking around."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from posetask.errors import OutputError
from posetask.media.encodersettings import EncoderSettings
from posetask.messages import SourceInfo
from posetask.storage.durable import write_durably

MANIFEST = "manifest.json"
INIT = "init.mp4"
PLAYLIST = "stream.m3u8"


class Segment(BaseModel):
    """One complete file of the stream. Times: ticks of the manifest's time base, from the stream's zero."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^segment_\d{5,}\.m4s$", description="File name in the folder.")
    first_index: int = Field(ge=0, description="Index of the first frame, counted from 0 over the stream.")
    frames: int = Field(ge=1, description="Frames in it; the first is an IDR.")
    first_pts: int = Field(ge=0, description="When the first frame is shown, in ticks.")
    last_pts: int = Field(ge=0, description="When the last frame is shown, in ticks.")
    end_pts: int = Field(ge=1, description="When the last frame's time is over, in ticks.")
    bytes: int = Field(ge=1, description="Size of the file.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Digest of the file.")


class Manifest(BaseModel):
    """``manifest.json``: the settings that the stream was begun with, and what is complete so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    source: SourceInfo = Field(description="What the frames came from.")
    settings: EncoderSettings = Field(
        description="Of the encoder; resuming uses these, whatever the caller has."
    )
    encoder: str = Field(description="Encoder and library versions that wrote the last segment.")
    width: int = Field(description="Coded width: the source's, made even.")
    height: int = Field(description="Coded height: the source's, made even.")
    time_base: Fraction = Field(gt=0, description="Seconds a tick: the source's, where an MP4 can hold it.")
    rebase: bool = Field(default=False, description="True where the first frame is to be shown at time 0.")
    origin: int = Field(default=0, description="The source's clock at the stream's time 0, in its ticks.")
    segments: tuple[Segment, ...] = Field(default=(), description="In order, without gaps.")
    finished: bool = Field(default=False, description="True once the last segment is closed.")

    @property
    def frames(self) -> int:
        """Frames in complete segments; the index of the next frame to write."""
        return self.segments[-1].first_index + self.segments[-1].frames if self.segments else 0

    @property
    def start(self) -> Fraction:
        """Seconds at which the first frame is shown."""
        return (self.segments[0].first_pts if self.segments else 0) * self.time_base

    @property
    def end(self) -> Fraction:
        """Seconds at which the last complete segment is over."""
        return (self.segments[-1].end_pts if self.segments else 0) * self.time_base

    def save(self, folder: Path) -> None:
        """Write it durably.

        Raises:
            StorageFull: No space left.
            OutputError: The folder cannot be written.
        """
        write_durably(folder / MANIFEST, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of ``folder``.

        Raises:
            OutputError: There is none, or it is not one of ours.
        """
        try:
            return cls.model_validate_json((folder / MANIFEST).read_bytes())
        except FileNotFoundError as error:
            raise OutputError(f"{folder} holds no {MANIFEST}", hint="it is no folder of segments") from error
        except (OSError, ValidationError) as error:
            raise OutputError(
                f"{folder / MANIFEST} cannot be read ({type(error).__name__})",
                hint="remove the folder and run again",
            ) from error

    def intact(self, folder: Path) -> Manifest:
        """Keep of the manifest what the files bear out: sizes of all, and the digest of the last.

        Files are durable before they are listed here, so nothing is lost but on a broken disk.
        """
        good: list[Segment] = []
        for segment in self.segments:
            path = folder / segment.name
            if not path.is_file() or path.stat().st_size != segment.bytes:
                break
            good.append(segment)
        if good and digest((folder / good[-1].name).read_bytes()) != good[-1].sha256:
            good.pop()
        complete = len(good) == len(self.segments)
        return self.model_copy(update={"segments": tuple(good), "finished": self.finished and complete})


def digest(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
