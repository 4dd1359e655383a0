"""An attempt that was admitted: its topics and Jobs are made, watched, and judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from posetask.spec import ConditionType, PoseTaskSpec, Reason
from posetask_operator.core import failures, figures, jobs, names
from posetask_operator.core.actions import Action, CreateJob, CreateTopics, Plan, RecordRun
from posetask_operator.core.conditions import Said, fitting, is_true, since
from posetask_operator.core.draft import showing
from posetask_operator.core.failures import Failure
from posetask_operator.core.gang import Member, View
from posetask_operator.core.layout import Layout, Problem
from posetask_operator.core.leftovers import lost_pod, strangers
from posetask_operator.core.observed import KafkaSeen, Trouble
from posetask_operator.core.plan_end import (
    failed,
    failed_attempt,
    not_ready_in_time,
    succeeded,
    suspended,
    withdrawn,
)
from posetask_operator.core.topics import run_topics

BLIP_SECONDS = 30.0
"""Brokers that are away for less are not worth a word."""

_ADMITTED = Said(ConditionType.ADMITTED, "True", Reason.ADMITTED)
_MAKING = frozenset({"RecordRun", "CreateTopics", "CreateJob"})


def active(view: View) -> Plan:
    """What to do about an admitted attempt."""
    seen, spec = view.seen, view.seen.task.spec
    if spec is None:  # an object of another version: what runs goes on, and nothing is made
        return showing(view, seen.task.status, (), after=(view.settings.timings.recheck,))
    sinks = [member for member in view.members if member.sink]
    if sinks and all(member.complete for member in sinks):
        return succeeded(view)
    if spec.suspend:
        return suspended(view)
    refused = _refused(view)
    if refused is not None:
        return failed(view, refused.reason, refused.message, refused.resolution or None)
    over = strangers(view)
    if over:
        return showing(view, seen.task.status, (), over, after=(view.settings.timings.settle,))
    if not is_true(seen.task.status, ConditionType.JOBS_CREATED):
        return _make(view, spec)
    return _watch(view, spec)


def _make(view: View, spec: PoseTaskSpec) -> Plan:
    """Topics and Jobs, all of them, in one plan; what is there already is taken over."""
    seen, settings, layout = view.seen, view.settings, view.layout
    task, settle = seen.task, view.settings.timings.settle
    if isinstance(layout, Problem):
        return withdrawn(view, layout.reason, layout.message)
    assert layout is not None  # noqa: S101 - there is a specification
    late = _ready_left(view, spec)
    if late <= 0:
        return not_ready_in_time(view, _held_up(view))
    if seen.namespace_terminating:
        going = Said(ConditionType.JOBS_CREATED, "False", Reason.NAMESPACE_TERMINATING)
        return showing(view, task.status, (_ADMITTED, going), after=(settings.timings.recheck, late))
    kafka = seen.kafka
    if kafka is None:
        return showing(view, task.status, (_ADMITTED,), after=(settle, late))
    if kafka.away_since is not None:
        away = _not_made(Reason.KAFKA_UNAVAILABLE, kafka.problem)
        return showing(view, task.status, (_ADMITTED, *away), after=(settle, late))
    taken = [member.job_name for member in view.members if member.foreign]
    if taken:
        text = f"Job {taken[0]} belongs to somebody else"
        said = Said(ConditionType.JOBS_CREATED, "False", Reason.NAME_TAKEN, text)
        return showing(view, task.status, (_ADMITTED, said), after=(settings.timings.cleanup_retry, late))
    actions = (*_topics(view, spec, layout, kafka), *_jobs(view, spec, layout))
    still = {type(action).__name__ for action in actions}  # not what went well after all: an answer was lost
    trouble = next((t for t in seen.troubles if t.about in still), None)
    if trouble is not None:
        # Say what is in the way, then try again; once that goes well, the next look says that all is there.
        return showing(view, task.status, (_ADMITTED, *_in_the_way(trouble)), then=actions, after=(0.0,))
    return showing(view, task.status, (_ADMITTED, *_made(layout), _starting(view)), actions, after=(late,))


def _topics(view: View, spec: PoseTaskSpec, layout: Layout, kafka: KafkaSeen) -> Iterator[Action]:
    task, known = view.seen.task, kafka.record
    record = names.run_record(task, layout, view.settings)
    if known is not None:  # what an earlier attempt made is to be taken away as well
        record = replace(
            record,
            topics=tuple(dict.fromkeys((*known.topics, *record.topics))),
            groups=tuple(dict.fromkeys((*known.groups, *record.groups))),
            stages=tuple(dict.fromkeys((*known.stages, *record.stages))),
        )
    if record != known:
        yield RecordRun(record)
    specs = run_topics(spec, layout, task.run, view.settings)
    if any(topic.name not in kafka.topics for topic in specs):
        yield CreateTopics(specs)


def _jobs(view: View, spec: PoseTaskSpec, layout: Layout) -> Iterator[CreateJob]:
    attempt = view.seen.task.status.attempt
    for member, stage in zip(view.members, layout.stages, strict=True):
        if member.job is None:
            manifest = jobs.job(view.seen.task, spec, layout, stage, attempt, view.settings)
            yield CreateJob(member.job_name, member.stage, attempt, manifest)


def _watch(view: View, spec: PoseTaskSpec) -> Plan:
    """All Jobs were made: whether they are well, in time, and whether anything moves."""
    seen, status, settings = view.seen, view.seen.task.status, view.settings
    if seen.namespace_terminating:
        return showing(view, status, (_ADMITTED,), after=(settings.timings.recheck,))
    required = [member for member in view.members if member.required]
    if any(member.job is None for member in required) and not seen.fresh:
        return showing(view, status, (), needs_fresh=True)
    failure = next((f for f in (_failure(view, m) for m in required) if f is not None), None)
    if failure is not None:
        if failure.exit_code is None and not seen.fresh:  # its pods may tell more
            return showing(view, status, (), needs_fresh=True)
        return failed_attempt(view, failure)
    left = spec.deadlines.active_seconds - _active_seconds(view)
    if left <= 0:
        text = f"it ran for {spec.deadlines.active_seconds} s, the most that deadlines.activeSeconds allows"
        return failed(view, Reason.DEADLINE_EXCEEDED, text)
    topics = _topics_said(view)
    if all(member.ready for member in required):
        quiet = _quiet_left(view, spec)
        if quiet is not None and quiet <= 0:
            text = f"no frame went through for {spec.deadlines.no_frames_seconds} s{_where(view)}"
            return failed(view, Reason.NO_FRAMES, text)
        started = status.model_copy(update={"start_time": status.start_time or seen.now})
        running = Said(ConditionType.RUNNING, "True", Reason.ALL_READY)
        said = (_ADMITTED, topics, running, figures.intact(view, status))
        return showing(view, started, said, after=(left, quiet, settings.timings.recheck))
    late = _ready_left(view, spec)
    if late <= 0:
        return not_ready_in_time(view, _held_up(view))
    said = (_ADMITTED, topics, _starting(view), figures.intact(view, status))
    return showing(view, status, said, after=(left, late, settings.timings.recheck))


def _failure(view: View, member: Member) -> Failure | None:
    report = figures.report_of(view, member)
    if member.job is None or (member.job.deleting and not member.job.complete):
        return Failure(
            member.stage, Reason.JOB_DELETED, f"somebody deleted Job {member.job_name}", exit_code=0
        )
    if member.job.failed_reason is not None:
        return failures.of_job(member.job, member.pods, report.error if report is not None else None)
    if member.disruptions > view.settings.disruptions:
        last = [pod for pod in member.pods if pod.disrupted][-1]
        text = f"stage {member.stage} was put out by its nodes {member.disruptions} times"
        found = failures.of_pod(last)
        return replace(found, message=text) if found is not None else None
    return None


def _refused(view: View) -> Failure | None:
    """What only a person can mend, and not while the task is there."""
    for trouble in view.seen.troubles:
        if trouble.retryable or trouble.about not in _MAKING:
            continue
        if trouble.reason in {Reason.KAFKA_ACCESS_DENIED, "Refused"}:
            reason = Reason.JOBS_REFUSED if trouble.reason == "Refused" else Reason.KAFKA_ACCESS_DENIED
            return Failure("", reason, trouble.message, retryable=False)
    return None


def _in_the_way(trouble: Trouble) -> tuple[Said, ...]:
    if trouble.about == "CreateJob" and trouble.retryable:
        return (Said(ConditionType.JOBS_CREATED, "False", Reason.CREATING_JOBS, trouble.message),)
    if trouble.about == "CreateJob":
        known = {"ForeignObject": Reason.NAME_TAKEN, "NamespaceTerminating": Reason.NAMESPACE_TERMINATING}
        reason = known.get(trouble.reason, Reason.JOBS_REFUSED)
        return (Said(ConditionType.JOBS_CREATED, "False", reason, trouble.message),)
    denied = {r.value: r for r in (Reason.KAFKA_REFUSED, Reason.KAFKA_ACCESS_DENIED, Reason.TOPIC_LOST)}
    denied |= {"KafkaUnavailable": Reason.KAFKA_UNAVAILABLE}
    return _not_made(denied.get(trouble.reason, Reason.CREATING_TOPICS), trouble.message)


def _not_made(reason: Reason, message: str) -> tuple[Said, ...]:
    return (
        Said(ConditionType.TOPICS_READY, "False", reason, message),
        Said(ConditionType.JOBS_CREATED, "False", Reason.CREATING_JOBS),
    )


def _made(layout: Layout) -> tuple[Said, ...]:
    topics = Reason.NO_TOPICS_NEEDED if layout.fused else Reason.TOPICS_READY
    return (
        Said(ConditionType.TOPICS_READY, "True", topics),
        Said(ConditionType.JOBS_CREATED, "True", Reason.JOBS_CREATED),
    )


def _topics_said(view: View) -> Said:
    kafka = view.seen.kafka
    if kafka is not None and kafka.away_since is not None:
        if (view.seen.now - kafka.away_since).total_seconds() >= BLIP_SECONDS:
            return Said(ConditionType.TOPICS_READY, "Unknown", Reason.KAFKA_UNAVAILABLE, kafka.problem)
        before = view.seen.task.status.condition(ConditionType.TOPICS_READY)
        if before is not None:
            return Said(ConditionType.TOPICS_READY, before.status, Reason(before.reason), before.message)
    fused = view.seen.task.spec is not None and view.seen.task.spec.execution.mode == "Fused"
    reason = Reason.NO_TOPICS_NEEDED if fused else Reason.TOPICS_READY
    return Said(ConditionType.TOPICS_READY, "True", reason)


def _starting(view: View) -> Said:
    why = _held_up(view)
    waits = [m.stage for m in view.members if m.required and not m.ready]
    if why is None:
        text = f"waits for {', '.join(waits)}" if waits else ""
        return Said(ConditionType.RUNNING, "False", Reason.STARTING_PODS, text)
    node = why.word if why.reason == Reason.NODE_LOST else ""
    reason = fitting(ConditionType.RUNNING, why.reason, Reason.STAGE_DIED)
    fix = why.resolution or why.reason.resolution
    job = next((m.job_name for m in view.members if m.stage == why.stage), "")
    return Said(ConditionType.RUNNING, "False", reason, why.message, fix, job=job, node=node)


def _held_up(view: View) -> Failure | None:
    """The best explanation of why not all is ready."""
    lost = lost_pod(view)
    if lost is not None:
        return lost
    missing: list[str] = []
    if isinstance(view.layout, Layout) and view.seen.secrets is not None:
        missing = sorted(view.layout.secrets - view.seen.secrets)
    found: list[Failure] = []
    for member in view.members:
        if member.required and not member.ready:
            found += [f for f in map(failures.held_up, member.pods) if f is not None]
            died = [f for f in map(failures.of_pod, member.pods) if f is not None]
            found += died[-1:]
    if missing:
        text = f"Secret {', '.join(missing)} is not in namespace {view.seen.task.namespace}"
        return Failure("", Reason.SECRET_MISSING, text)
    order = (Reason.SECRET_MISSING, Reason.IMAGE_MISSING, Reason.CONTAINER_REFUSED, Reason.UNSCHEDULABLE)
    return min(found, key=lambda f: order.index(f.reason) if f.reason in order else len(order), default=None)


def _active_seconds(view: View) -> float:
    status = view.seen.task.status
    began = status.admitted_time or view.seen.now
    return status.active_seconds + (view.seen.now - began).total_seconds()


def _ready_left(view: View, spec: PoseTaskSpec) -> float:
    """Seconds that are left to become ready: since the admission, or since it was last."""
    status, now = view.seen.task.status, view.seen.now
    began = status.admitted_time or now
    if is_true(status, ConditionType.RUNNING):
        began = now
    else:
        began = max(began, since(status, ConditionType.RUNNING, "False") or began)
    return spec.scheduling.ready_timeout_seconds - (now - began).total_seconds()


def _quiet_left(view: View, spec: PoseTaskSpec) -> float | None:
    """Seconds until no frame went through for too long; None where nothing can be said of that."""
    seen, status = view.seen, view.seen.task.status
    if seen.kafka is None or seen.kafka.away_since is not None or _finishing(view):
        return None
    moments: list[datetime | None] = [
        status.admitted_time,
        since(status, ConditionType.RUNNING, "True") or seen.now,
        since(status, ConditionType.TOPICS_READY, "True") or seen.now,
        *(report.at for report in seen.reports.values()),
    ]
    last = max(min(moment, seen.now) for moment in moments if moment is not None)
    return spec.deadlines.no_frames_seconds - (seen.now - last).total_seconds()


def _finishing(view: View) -> bool:
    """The last frame is annotated and the result is being published: that may take as long as it takes."""
    producer = view.seen.reports.get(figures.PRODUCER)
    annotator = view.seen.reports.get(figures.ANNOTATOR)
    if producer is None or annotator is None:
        return False
    return producer.state == "done" and annotator.frames >= producer.frames


def _where(view: View) -> str:
    said = {name: report.frames for name, report in view.seen.reports.items()}
    return f" ({', '.join(f'{name} {frames}' for name, frames in sorted(said.items()))})" if said else ""
