"""A video through resident services: submitted, watched to its end, or ended early."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from posetask.errors import InvalidParameters, PoseTaskError, TaskConflict, Unavailable
from posetask.exports import RunMetadata, check_targets
from posetask.models.store import resolve_detector, resolve_pose
from posetask.runtime.options import RunOptions
from posetask.runtime.outputs import check_output
from posetask.runtime.reports import error_of
from posetask.runtime.service.client import ServiceClient
from posetask.runtime.service.contract import ENDS, TaskStatus
from posetask.runtime.sources import Source, digest, open_source
from posetask.runtime.summary import Summary, summarise
from posetask.stages.names import ANNOTATOR, MODULES, PRODUCER, RTMPOSE, YOLOX
from posetask.storage.durable import refuse_existing
from posetask.telemetry import available_cores
from posetask.transport.bus import Cancelled
from posetask.transport.kafka.names import run_id

_AWAY_SECONDS = 120.0
"""A service that is started anew is away for a while."""


class Submission:
    """One video, worked by services that may have other work too.

    What can be refused here is refused here; the models are the services' own unless ``options`` names some.

    Args:
        client: Asks the services; every stage that it knows takes part.
        source: A video.
        output: The MP4; the services write it, so both see the same folders.
        options: Of the run; ``device`` is the services' own.

    Attributes:
        task_id: Under which the services know it.

    Raises:
        PoseTaskError: The source, an option or the output is refused.
    """

    def __init__(self, client: ServiceClient, source: Source, output: Path, options: RunOptions) -> None:
        if source.kind != "video":
            raise InvalidParameters("images are not run by services", hint="posetask run works them")
        missing = [name for name in MODULES if name not in client.directory]
        if missing:
            raise Unavailable(
                f"no service is known for {', '.join(missing)}", hint="posetask services up starts all five"
            )
        self._client, self.source, self.output, self.options = client, source, output.absolute(), options
        o = options
        with open_source(source, start=o.start, duration=o.duration, max_frames=o.max_frames) as opened:
            self.info = opened.info
        check_output(output, source)
        self._targets = check_targets(self.output.with_suffix(""), o.formats, overwrite=o.force)
        if o.video:
            refuse_existing(self.output, overwrite=o.force)
        name = re.sub(r"[^a-z0-9]+", "-", source.name.lower()).strip("-") or "run"
        self.task_id = run_id(name, uuid.uuid4().hex)
        self._began = time.monotonic()
        self._ended_early = self._cancelled = False
        self._seen: dict[str, TaskStatus] = {}
        self._answered = time.monotonic()

    @property
    def bodies(self) -> dict[str, dict[str, Any]]:
        """What each service is told, by stage."""
        o = self.options
        models = self._models()
        common = {"wire_codec": o.wire_codec or "jpeg:90", "encoder": o.encoder.model_dump(mode="json")}
        part = o.model_dump(mode="json", include={"start", "duration", "max_frames"}, exclude_none=True)
        reading = {"source": self.source.location, **part}
        metadata = RunMetadata(
            source=self.source.name,
            source_sha256=digest(self.source),
            width=self.info.width,
            height=self.info.height,
            frame_rate=self.info.frame_rate,
            **models,
        )
        more: dict[str, dict[str, Any]] = {
            PRODUCER: {**common, **reading},
            ANNOTATOR: {
                **common,
                **reading,
                **o.model_dump(mode="json", include={"formats", "video", "force"}),
                "output": str(self.output),
                "metadata": metadata.model_dump(mode="json"),
            },
        }
        out = {}
        for stage in self._client.directory:
            parameters = {k: v for k, v in o.stage_parameters.get(stage, {}).items() if v is not None}
            body = {"task_id": self.task_id, "parameters": parameters, "wire_codec": common["wire_codec"]}
            out[stage] = body | more.get(stage, {})
        return out

    def start(self) -> None:
        """Hand it to every service, readers first; all or none.

        Raises:
            PoseTaskError: A service is away, or refuses.
        """
        self._began = self._answered = time.monotonic()
        bodies = self.bodies
        try:
            for stage in reversed(self._client.directory):
                self._seen[stage] = self._client.start(stage, bodies[stage])
        except BaseException:
            self._client.stop_everywhere(self.task_id)
            raise

    def stop(self) -> None:
        """End the stream early: what is under way is finished, and everything written is whole and valid."""
        try:
            self._client.complete(PRODUCER, self.task_id)
            self._ended_early = True
        except (TaskConflict, Unavailable):
            return  # not yet under way, or away for now: whoever wants it asks again

    def cancel(self) -> None:
        """Give up at once: nothing is published."""
        self._cancelled = True

    @property
    def frames_expected(self) -> int | None:
        """How many frames there will be, as far as the container's claims go; None if unknown."""
        return self.options.frames_expected(self.info)

    @property
    def annotated(self) -> tuple[int, int]:
        """Frames done so far, and the most people seen in one."""
        seen = self._seen.get(ANNOTATOR)
        return (seen.frames, int(seen.facts.get("people", 0))) if seen is not None else (0, 0)

    def wait(self, timeout: float | None = None) -> Summary | None:
        """Look how it is; waits at most ``timeout`` seconds for the end, None as long as it takes.

        Returns:
            What it came to, or None where the time passed.

        Raises:
            PoseTaskError: A stage failed, or was stopped by somebody; it is stopped in all of them.
        """
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        try:
            while True:
                if self._cancelled:
                    raise Cancelled("cancelled by the caller")
                if self._look():
                    return self._summary()
                pause = min(0.5, deadline - time.monotonic())
                if pause <= 0:
                    return None
                time.sleep(pause)
        except PoseTaskError:
            self._client.stop_everywhere(self.task_id)
            raise

    def _look(self) -> bool:
        """Whether every stage has come to the end."""
        for stage in self._client.directory:
            try:
                self._seen[stage] = self._client.status(stage, self.task_id)
            except Unavailable:
                if time.monotonic() - self._answered > _AWAY_SECONDS:
                    raise
                return False
        self._answered = time.monotonic()
        for stage, seen in self._seen.items():
            if seen.status == "failed" and seen.error is not None:
                raise error_of(seen.error)
            if seen.status in ("stopped", "stopping"):
                raise TaskConflict(
                    f"task {self.task_id} was stopped in {stage}", hint="posetask services resume goes on"
                )
        return all(seen.status in ENDS for seen in self._seen.values())

    def _summary(self) -> Summary:
        seen = self._seen.values()
        return summarise(
            {stage: status.facts for stage, status in self._seen.items()},
            [status.busy for status in seen],
            source=self.source.name,
            output=self.output if self.options.video else None,
            exports=self._targets,
            frames_declared=self.info.frames_declared,
            given_up=sum(status.quarantined for status in seen),
            seconds=time.monotonic() - self._began,
            interrupted=self._ended_early,
            cores=available_cores(),
        )

    def _models(self) -> dict[str, str]:
        """Names and checksums for the data files: the services' own models, where none are named."""
        o, ask = self.options, self._client.info
        detector = resolve_detector(o.detector_name) if o.detector_name else None
        pose = resolve_pose(o.pose_name) if o.pose_name else None
        out = {}
        for role, stage, named in (("detector", YOLOX, detector), ("pose", RTMPOSE, pose)):
            model = {"name": named.spec.name, "sha256": named.sha256} if named else ask(stage).model
            out[role], out[f"{role}_sha256"] = model.get("name") or "", model.get("sha256") or ""
        return out


def resume(client: ServiceClient, task_id: str) -> list[TaskStatus]:
    """Let a task that was stopped, or has failed, go on in every stage that knows it.

    Raises:
        PoseTaskError: A stage does not know it, is away, or refuses.
    """
    return _everywhere(client, lambda stage: client.start(stage, {"task_id": task_id}), task_id)


def look(client: ServiceClient, task_id: str) -> list[TaskStatus]:
    """How far a task is in every stage.

    Raises:
        PoseTaskError: A stage does not know it, or is away.
    """
    return _everywhere(client, lambda stage: client.status(stage, task_id), task_id)


def _everywhere(client: ServiceClient, ask: Callable[[str], TaskStatus], task_id: str) -> list[TaskStatus]:
    for stage in client.directory:  # nothing is started where one stage has never heard of it
        client.status(stage, task_id)
    found = {stage: ask(stage) for stage in reversed(client.directory)}  # readers first
    return [found[stage] for stage in client.directory]
