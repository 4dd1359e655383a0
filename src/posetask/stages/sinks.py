"""Where annotated pictures go: a video (segments while it runs, one MP4 at the end) or image files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2

from posetask.errors import InvalidParameters, OutputExists, StageFailed
from posetask.media.encodersettings import EncoderSettings
from posetask.media.manifest import MANIFEST, Manifest
from posetask.media.remux import remux
from posetask.media.segments import SegmentWriter
from posetask.messages import FrameHeader, Image, SourceInfo
from posetask.stages.names import stream_folder
from posetask.storage.durable import refuse_existing, storage_errors, write_durably
from posetask.telemetry import Timings


@dataclass(frozen=True, slots=True)
class PictureReport:
    """What became of the pictures.

    Attributes:
        path: The MP4, the image, or the folder of images.
        frames: Pictures in it.
        audio: What was done with the source's sound, in words.
    """

    path: Path
    frames: int
    audio: str = ""


class PictureSink(Protocol):
    """Takes the annotated frames in order."""

    @property
    def kept_index(self) -> int:
        """The first frame that is not safely stored yet."""
        ...

    def write(self, header: FrameHeader, image: Image) -> None:
        """One frame; ``image`` belongs to the caller again when this returns."""
        ...

    def cut(self) -> None:
        """Store safely what was written so far, soon."""
        ...

    def close(self) -> PictureReport:
        """Publish."""
        ...

    def abort(self) -> None:
        """Leave nothing behind."""
        ...


class VideoSink:
    """H.264 segments beside the output, a playable HLS stream meanwhile; remuxed into one MP4 at the end.

    Args:
        output: The MP4.
        source: Size, time base and rates.
        settings: Of the encoder.
        audio: The source, for its sound; None leaves it out.
        rebase: Let the MP4 begin at zero whatever the first frame's time is, as for a part of a source.
        overwrite: Replace an existing output.
        keep_stream: Leave the segments and their playlist beside the MP4.
        timings: Books ``annotator.encode`` and ``annotator.remux``.
        resumable: Go on after the last complete segment of an earlier process, and leave the segments
            where they are, whatever happens: whoever owns the run removes them.

    Raises:
        OutputExists: There is such a file, and ``overwrite`` is False.
    """

    def __init__(
        self,
        output: Path,
        source: SourceInfo,
        settings: EncoderSettings,
        *,
        audio: Path | None,
        rebase: bool = False,
        overwrite: bool,
        keep_stream: bool,
        timings: Timings,
        resumable: bool = False,
    ) -> None:
        refuse_existing(output, overwrite=overwrite)
        self.output = output
        self.folder = stream_folder(output)
        if not resumable:
            shutil.rmtree(self.folder, ignore_errors=True)  # of a run that was killed
        self._manifest: Manifest | None = None
        self._writer: SegmentWriter | None = None
        if resumable and (self.folder / MANIFEST).exists():
            self._manifest = Manifest.load(self.folder).intact(self.folder)
        if self._manifest is None:
            self._writer = SegmentWriter(self.folder, source, settings, rebase=rebase)
        elif not self._manifest.finished:
            self._writer = SegmentWriter.resume(self.folder)
        self._audio, self._overwrite, self._timings = audio, overwrite, timings
        self._keep, self._resumable = keep_stream or resumable, resumable

    @property
    def kept_index(self) -> int:
        """Frames of complete segments."""
        manifest = self._writer.manifest if self._writer is not None else self._manifest
        return manifest.frames if manifest is not None else 0

    def write(self, header: FrameHeader, image: Image) -> None:
        """Encode one frame."""
        if self._writer is None:
            raise StageFailed(f"frame {header.index} comes after the end of {self.folder}")
        with self._timings.measure("annotator.encode"):
            self._writer.write(image, header.pts, header.duration)

    def cut(self) -> None:
        """End the segment."""
        if self._writer is not None:
            with self._timings.measure("annotator.encode"):
                self._writer.cut()

    def close(self) -> PictureReport:
        """Finish the last segment, remux, publish."""
        if self._writer is not None:
            with self._timings.measure("annotator.encode"):
                self._writer.close()
        if self.kept_index == 0:
            self.abort()
            raise InvalidParameters("there was no frame to write", hint="check --start and --duration")
        with self._timings.measure("annotator.remux"):
            report = remux(
                self.folder,
                self.output,
                audio_from=self._audio,
                overwrite=self._overwrite,
            )
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        return PictureReport(
            self.output, report.frames, report.audio if self._audio else "the source has none"
        )

    def abort(self) -> None:
        """Remove the segments, unless somebody may go on with them."""
        if self._writer is not None:
            self._writer.abort()
        if not self._resumable:
            shutil.rmtree(self.folder, ignore_errors=True)


class ImageSink:
    """Annotated images: one file, or a folder with one for each frame.

    Args:
        output: ``.jpg``, ``.png`` or ``.webp`` for one; a folder for a sequence.
        names: File names for the frames in a folder, in order; numbered where they run out.
        overwrite: Replace existing files.
        timings: Books ``annotator.encode``.
    """

    def __init__(self, output: Path, names: list[str], *, overwrite: bool, timings: Timings) -> None:
        self.output = output
        self._single = output.suffix.lower() in IMAGE_SUFFIXES
        self._names, self._overwrite, self._timings = names, overwrite, timings
        self._written: list[Path] = []
        if self._single:
            refuse_existing(output, overwrite=overwrite)
        elif output.is_dir() and not overwrite and any(output.iterdir()):
            raise OutputExists(
                f"{output} is there already and not empty", hint="choose another -o, or pass --force"
            )

    def write(self, header: FrameHeader, image: Image) -> None:
        """Write one image, complete or not at all."""
        with self._timings.measure("annotator.encode"):
            if self._single:
                target = self.output
            else:
                with storage_errors(self.output):
                    self.output.mkdir(parents=True, exist_ok=True)
                known = header.index < len(self._names)
                target = self.output / (self._names[header.index] if known else f"{header.index:06d}.jpg")
            write_durably(target, encode_image(image, target.suffix))
            self._written.append(target)

    @property
    def kept_index(self) -> int:
        """Images written: each is whole at once."""
        return len(self._written)

    def cut(self) -> None:
        """Nothing is held back."""

    def close(self) -> PictureReport:
        """All is written already."""
        return PictureReport(self.output, len(self._written))

    def abort(self) -> None:
        """Remove what this run wrote."""
        for path in self._written:
            path.unlink(missing_ok=True)


IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def encode_image(image: Image, suffix: str) -> bytes:
    """Compress a picture as what ``suffix`` says, as JPEG where it says nothing known.

    Args:
        image: ``(h, w, 3)`` uint8, BGR.
        suffix: Of :data:`IMAGE_SUFFIXES`.

    Raises:
        InvalidParameters: The format cannot hold such a picture.
    """
    suffix = suffix.lower() if suffix.lower() in IMAGE_SUFFIXES else ".jpg"
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix in {".jpg", ".jpeg"} else []
    encoded, data = cv2.imencode(suffix, image, options)
    if not encoded:
        height, width = image.shape[:2]
        raise InvalidParameters(
            f"a picture of {width}x{height} cannot be written as {suffix}", hint="use .jpg or .png"
        )
    return data.tobytes()
