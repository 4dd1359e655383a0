"""A run's result in an object store: segments as they are complete, the files at the end, each of them once.

The stages write on the local disk, which a pod loses. What must outlive it (DESIGN §4) is copied to the store
before anything is committed that rests on it: whose the place is, the segments and their manifest, the
result. A process that takes over fetches them and goes on as if the disk were the same.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posetask.errors import InvalidParameters, OutputExists
from posetask.exports.multi import target
from posetask.media.manifest import INIT, MANIFEST, PLAYLIST, Manifest
from posetask.messages import FrameHeader, Image
from posetask.runtime.ownership import OWNER
from posetask.runtime.stagespec import StageProcessSpec
from posetask.stages.names import stream_folder
from posetask.stages.sinks import PictureReport, PictureSink
from posetask.storage.durable import storage_errors
from posetask.storage.location import Location
from posetask.storage.s3 import S3, S3Settings

logger = logging.getLogger(__name__)


class Publisher:
    """Brings what one run writes beside ``local`` to the same names beside ``uri``.

    Args:
        uri: ``s3://…/NAME.mp4``.
        local: The same file on this machine.
        run: Id of the run.
        targets: The local files that shall be published.
        force: Replace what another run left there.
        environment: How to reach the store; None takes this process's.
    """

    def __init__(
        self,
        uri: str,
        local: Path,
        run: str,
        targets: Sequence[Path],
        *,
        force: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.at, self.local, self.run, self.targets = Location.parse(uri), local, run, tuple(targets)
        self._force, self._ours = force, False
        self._store = S3(S3Settings.from_environment(environment))
        self._segments = 0

    def close(self) -> None:
        """Close the connections."""
        self._store.close()

    def location(self, path: Path) -> Location:
        """Where a local file is published.

        Raises:
            ValueError: It does not lie beside the result.
        """
        return self.at.sibling(path.relative_to(self.local.parent).as_posix())

    def claim(self) -> None:
        """Make the place this run's, and fetch what an earlier process of it left.

        Raises:
            OutputExists: It is another run's, or something is there; and ``force`` is False.
            PoseTaskError: The store is away, or refuses.
        """
        folder = stream_folder(self.local)
        mark = self.location(folder / OWNER)
        owner = None
        if self._store.stat(mark) is not None:
            owner = b"".join(self._store.read(mark)).decode(errors="replace")
        self._ours = owner == self.run
        with storage_errors(folder):
            self.local.parent.mkdir(parents=True, exist_ok=True)
        if self._ours:
            if not (folder / OWNER).exists():
                self._fetch(folder)
            return
        if not self._force:
            for target in self.targets:
                if self._store.stat(self.location(target)) is not None:
                    raise _exists(self.location(target))
            if owner is not None:
                raise _exists(mark)
        for stale in self._store.list(self.location(folder / "x").sibling("")):
            self._store.delete(stale)
        shutil.rmtree(folder, ignore_errors=True)
        self._store.put(mark, self.run.encode(), overwrite=self._force)

    def segments(self, folder: Path) -> int:
        """Bring the segments that are complete to the store, and then their manifest.

        Returns:
            Frames in them: these are safe.
        """
        manifest = Manifest.load(folder)
        if self._segments == 0:
            self._keep(folder / INIT)
        for segment in manifest.segments[self._segments :]:
            self._keep(folder / segment.name)
        self._segments = len(manifest.segments)
        self._keep(folder / PLAYLIST)
        self._keep(folder / MANIFEST)
        return manifest.frames

    def files(self) -> None:
        """Publish the finished files, each once; only a process that took over writes them again.

        Raises:
            OutputExists: Someone else published meanwhile.
        """
        for path in filter(Path.exists, self.targets):
            self._store.upload(path, self.location(path), overwrite=self._force or self._ours)
            logger.info("published %s", self.location(path).text)

    def result(self, path: Path) -> None:
        """Say that all is published: a process that finds this has nothing left to do."""
        self._keep(path)

    def named(self, facts: dict[str, Any]) -> dict[str, Any]:
        """What the annotator says of its files, by where they are published."""
        named = {name: self.location(Path(path)).text for name, path in facts.get("exports", {}).items()}
        written = {"output": self.location(Path(facts["output"])).text} if "output" in facts else {}
        return facts | written | {"exports": named}

    def _keep(self, path: Path) -> None:
        if path.exists():
            self._store.upload(path, self.location(path), overwrite=True)

    def _fetch(self, folder: Path) -> None:
        """What an earlier process left; the owner's mark last, so that half of it is never taken for all."""
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        base = self.location(folder / "x").sibling("")
        found = {at.key.removeprefix(base.key): at for at in self._store.list(base)}
        for name in sorted(found, key=lambda name: name == OWNER):
            if "/" in name or name.startswith("."):
                continue
            (folder / name).unlink(missing_ok=True)
            self._store.fetch(found[name], folder / name)


def claim_output(spec: StageProcessSpec) -> Publisher:
    """The publisher of a stage that writes to a store, its place claimed.

    Raises:
        InvalidParameters: The specification names no place in a store.
        PoseTaskError: See :meth:`Publisher.claim`.
    """
    if spec.publish is None or spec.output is None:
        raise InvalidParameters(f"stage {spec.stage} publishes nothing", hint="set output to s3://…")
    files = [spec.output] if spec.video else []
    files += [target(spec.output.with_suffix(""), name) for name in spec.formats]
    publisher = Publisher(spec.publish, spec.output, spec.run, files, force=spec.force)
    try:
        publisher.claim()
    except BaseException:
        publisher.close()
        raise
    return publisher


class PublishingSink:
    """A sink whose frames are safe once their segment is in the store.

    Args:
        inner: Writes the video on the local disk.
        publisher: Of the run.
    """

    def __init__(self, inner: PictureSink, publisher: Publisher) -> None:
        self._inner, self._publisher = inner, publisher
        self._folder = stream_folder(publisher.local)
        self._kept = inner.kept_index  # what was fetched came from the store

    @property
    def kept_index(self) -> int:
        """Frames of segments in the store."""
        return self._kept

    def write(self, header: FrameHeader, image: Image) -> None:
        """One frame."""
        self._inner.write(header, image)
        self._follow()

    def cut(self) -> None:
        """Store safely what was written so far."""
        self._inner.cut()
        self._follow()

    def close(self) -> PictureReport:
        """Finish the video; :meth:`Publisher.files` publishes it."""
        report = self._inner.close()
        self._kept = self._publisher.segments(self._folder)
        return report

    def abort(self) -> None:
        """Leave what another process can go on with."""
        self._inner.abort()

    def _follow(self) -> None:
        if self._inner.kept_index > self._kept:
            self._kept = self._publisher.segments(self._folder)


def _exists(at: Location) -> OutputExists:
    return OutputExists(f"{at.text} is there already", hint="choose another output, or force it")
