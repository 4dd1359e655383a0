"""The figures of a status: stages, progress, models, result, and whether data were lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from posetask.spec import (
    ConditionType,
    ModelStatus,
    PoseTaskStatus,
    Progress,
    Reason,
    Result,
    StageStatus,
)
from posetask_operator.core import failures
from posetask_operator.core.conditions import Said
from posetask_operator.core.gang import Member, View
from posetask_operator.core.jobs import output_uri
from posetask_operator.core.layout import Layout
from posetask_operator.core.observed import ReportSeen
from posetask_operator.settings import FUSED

PRODUCER, ANNOTATOR = "producer", "annotator"
_MIN_SECONDS = 1.0
_ERROR = 1024


def with_figures(view: View, status: PoseTaskStatus) -> PoseTaskStatus:
    """The status with all figures as they are now. What nobody says any more stays as it was said last."""
    stages = tuple(_stage(view, status, member) for member in view.members) or status.stages
    required = [m for m in view.members if m.required]
    ready = status.ready
    if required and not (status.terminal is not None and any(m.job is None for m in required)):
        ready = f"{sum(m.ready for m in required)}/{len(required)}"
    return status.model_copy(
        update={
            "stages": stages,
            "ready": ready,
            "restarts": sum(s.restarts for s in stages),
            "models": _models(view, status),
            "progress": _progress(view, status),
            "result": _result(view, status),
        }
    )


def intact(view: View, status: PoseTaskStatus) -> Said:
    """Whether data were lost so far; what was lost stays lost."""
    before = status.condition(ConditionType.DATA_INTACT)
    found: list[tuple[Reason, str]] = []
    for report in view.seen.reports.values():
        if report.error is not None and report.error.reason == Reason.FRAMES_EXPIRED:
            found.append((Reason.FRAMES_EXPIRED, report.error.message))
    producer = view.seen.reports.get(PRODUCER)
    problems = _mapping(producer, "decode").get("problems")
    if isinstance(problems, list) and problems:
        found.append((Reason.DAMAGED_INPUT, "; ".join(map(str, problems))))
    given_up = sum(report.quarantined for report in view.seen.reports.values())
    if given_up:
        found.append((Reason.FRAMES_QUARANTINED, f"{given_up} frames were given up, and stand empty"))
    dropped = _dropped(producer)
    if dropped:
        found.append((Reason.FRAMES_DROPPED, f"{dropped} frames came too fast, and were dropped"))
    if found:
        text = "; ".join(text for _, text in found)
        return Said(ConditionType.DATA_INTACT, "False", found[0][0], text[:_ERROR])
    if before is not None and before.status == "False":
        return Said(ConditionType.DATA_INTACT, "False", Reason(before.reason), before.message)
    return Said(ConditionType.DATA_INTACT, "True", Reason.INTACT)


def _stage(view: View, status: PoseTaskStatus, member: Member) -> StageStatus:
    before = next((s for s in status.stages if s.name == member.stage), StageStatus(name=member.stage))
    if member.job is None and status.terminal is not None:
        return before  # its Job is gone, by its TTL: what it came to stays said
    report = report_of(view, member)
    ended = [f for f in map(failures.of_pod, member.pods) if f is not None]
    job = member.job
    died = job.failed if job is not None else 0
    return StageStatus(
        name=member.stage,
        job=job.name if job is not None else "",
        replicas=member.replicas,
        ready=member.ready_pods,
        complete=member.complete,
        # Of earlier attempts nothing is left to count: what was said is the least there were.
        restarts=max(before.restarts, status.retries + died),
        frames=report.frames if report is not None else before.frames,
        lag=report.lag if report is not None else before.lag,
        last_exit_code=ended[-1].exit_code if ended else before.last_exit_code,
        last_reason=ended[-1].word[:128] if ended else before.last_reason,
        last_error=ended[-1].message[:_ERROR] if ended else before.last_error,
    )


def report_of(view: View, member: Member) -> ReportSeen | None:
    """The last word of a Job's stage; of the stages in one pod, that of the one that failed, or the last."""
    reports = view.seen.reports
    if member.stage != FUSED:
        return reports.get(member.stage)
    failed = (report for report in reports.values() if report.error is not None)
    return next(failed, reports.get(ANNOTATOR))


def _models(view: View, status: PoseTaskStatus) -> tuple[ModelStatus, ...]:
    if not isinstance(view.layout, Layout) or status.attempt == 0:
        return status.models
    out = []
    for stage in view.layout.within:
        before = next((m for m in status.models if m.stage == stage.name), None)
        said = _mapping(view.seen.reports.get(stage.name), "model")
        given = stage.given.model if stage.given is not None else None
        name = str(said.get("name") or given or (before.name if before else ""))[:128]
        if stage.type.takes_model and name:
            sha = str(said.get("sha256") or (before.sha256 if before else ""))[:64]
            version = before.version if before else ""
            out.append(ModelStatus(stage=stage.name, name=name, version=version, sha256=sha))
    return tuple(out)


def _progress(view: View, status: PoseTaskStatus) -> Progress | None:
    """As the reports say; the same object as before where nothing changed."""
    reports, before, now = view.seen.reports, status.progress, view.seen.now
    producer, annotator = reports.get(PRODUCER), reports.get(ANNOTATOR)
    done = status.terminal is not None and status.terminal.status == "True"
    if producer is None and annotator is None:
        if done and before is not None and before.percent not in {None, 100}:
            return before.model_copy(update={"percent": 100, "summary": "100%", "fps": ""})
        return before
    known = before or Progress()
    decoded = max(known.frames_decoded, producer.frames if producer is not None else 0)
    annotated = max(known.frames_annotated, annotator.frames if annotator is not None else 0)
    total = _total(view, producer) or known.frames_total
    percent = min(100 if done else 99, 100 * annotated // total) if total else (100 if done else None)
    rate = known.fps if status.terminal is None else ""
    if before is not None and before.update_time is not None and status.terminal is None:
        seconds = (now - before.update_time).total_seconds()
        if annotated > before.frames_annotated and seconds >= _MIN_SECONDS:
            rate = f"{(annotated - before.frames_annotated) / seconds:.1f}"
        elif annotated == before.frames_annotated and _idle(view, annotator):
            rate = ""
    made = Progress(
        frames_total=total,
        frames_decoded=decoded,
        frames_annotated=annotated,
        frames_dropped=max(known.frames_dropped, _dropped(producer)),
        frames_quarantined=max(known.frames_quarantined, sum(r.quarantined for r in reports.values())),
        percent=percent,
        fps=rate,
        summary=f"{percent}%" if percent is not None else f"{annotated} frames",
        update_time=known.update_time,
    )
    return before if made == before else made.model_copy(update={"update_time": now})


def _idle(view: View, report: ReportSeen | None) -> bool:
    wait = timedelta(seconds=3 * view.settings.timings.progress_every)
    return report is None or view.seen.now - report.at >= wait


def _total(view: View, producer: ReportSeen | None) -> int | None:
    spec = view.seen.task.spec
    if producer is not None and producer.state == "done":
        return producer.frames
    if spec is None or spec.source.is_live or spec.source.duration_seconds or spec.source.start_seconds:
        return None  # what the container declares is of the whole
    declared = _mapping(producer, "decode").get("frames_declared")
    if not isinstance(declared, int) or declared <= 0:
        return spec.source.max_frames if declared else None
    return min(declared, spec.source.max_frames or declared)


def _result(view: View, status: PoseTaskStatus) -> Result | None:
    end = status.terminal
    if end is None or end.status != "True":
        return status.result
    said = view.seen.reports.get(ANNOTATOR)
    facts: Mapping[str, Any] = said.facts if said is not None else {}
    before = status.result
    uri = before.uri if before is not None else _uri(view, facts)
    if not uri:
        return None
    return Result(
        uri=uri[:2048],
        frames=max(_count(facts.get("frames")), before.frames if before is not None else 0),
        people=max(_count(facts.get("people")), before.people if before is not None else 0),
        tracks=max(_count(facts.get("tracks")), before.tracks if before is not None else 0),
        sha256=str(facts.get("sha256") or (before.sha256 if before is not None else ""))[:64],
        expired_time=before.expired_time if before is not None else None,
    )


def _uri(view: View, facts: Mapping[str, Any]) -> str:
    spec = view.seen.task.spec
    if isinstance(view.layout, Layout) and spec is not None:
        video = output_uri(view.seen.task, view.layout, view.settings)
        return video if "mp4" in spec.output.formats else video.rpartition("/")[0] + "/"
    return str(facts.get("output") or "")


def _dropped(producer: ReportSeen | None) -> int:
    return _count(producer.facts.get("dropped")) if producer is not None else 0


def _mapping(report: ReportSeen | None, name: str) -> Mapping[str, Any]:
    found = report.facts.get(name) if report is not None else None
    return found if isinstance(found, dict) else {}


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and value >= 0 else 0
