"""How an attempt ends, and how a task does: the durable facts of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from posetask.spec import ConditionType, PoseTaskStatus, Reason
from posetask_operator.core import figures
from posetask_operator.core.actions import Plan
from posetask_operator.core.conditions import Said, fitting
from posetask_operator.core.draft import durable
from posetask_operator.core.failures import Failure
from posetask_operator.core.gang import View


def succeeded(view: View) -> Plan:
    """All that the result needs has come to its end."""
    return _ended(view, Said(ConditionType.SUCCEEDED, "True", Reason.COMPLETED))


def cancelled(view: View) -> Plan:
    """``spec.cancel``."""
    return failed(view, Reason.CANCELLED)


def failed(
    view: View, reason: Reason, message: str = "", resolution: str | None = None, job: str = ""
) -> Plan:
    """The task is over without a result."""
    return _ended(view, Said(ConditionType.SUCCEEDED, "False", reason, message, resolution, job=job))


def failed_attempt(view: View, failure: Failure) -> Plan:
    """A failure: another attempt where one can mend it and is left, the end otherwise."""
    spec, status = view.seen.task.spec, view.seen.task.status
    job = next((m.job_name for m in view.members if m.stage == failure.stage), "")
    retries = spec.retries if spec is not None else 0
    if failure.retryable and status.retries < retries:
        timings = view.settings.timings
        wait = min(timings.requeue_most, timings.retry_base * 2 ** min(status.retries, 20))
        text = f"attempt {status.attempt} failed: {failure.message}"
        reason = fitting(ConditionType.RUNNING, failure.reason, Reason.STAGE_DIED)
        return _over(
            view,
            Said(ConditionType.ADMITTED, "False", Reason.BACKING_OFF, text, failure.resolution or None),
            Said(ConditionType.RUNNING, "False", reason, failure.message, job=job),
            again=view.seen.now + timedelta(seconds=wait),
            retries=status.retries + 1,
            active_seconds=_active_seconds(view),
        )
    if failure.retryable and retries > 0:
        text = f"{status.retries + 1} attempts failed, the last: {failure.reason}: {failure.message}"
        return failed(view, Reason.RETRIES_EXHAUSTED, text, job=job)
    return failed(view, failure.reason, failure.message, failure.resolution or None, job=job)


def not_ready_in_time(view: View, why: Failure | None) -> Plan:
    """The GPUs go back; the task waits again, or fails once that was tried often enough."""
    spec, status = view.seen.task.spec, view.seen.task.status
    limit = spec.scheduling.ready_timeout_seconds if spec is not None else 0
    held = f": {why.message}" if why is not None else ""
    text = f"not all stages were ready within {limit} s{held}"
    if status.ready_timeouts >= view.settings.requeues:
        text = f"{text}; {status.ready_timeouts + 1} attempts ended so"
        fix = (why.resolution or why.reason.resolution) if why is not None else None
        return failed(view, Reason.READY_TIMEOUT, text, fix)
    timings = view.settings.timings
    wait = min(timings.requeue_most, timings.requeue_base * 2 ** min(status.ready_timeouts, 20))
    return _over(
        view,
        Said(ConditionType.ADMITTED, "False", Reason.BACKING_OFF, text),
        Said(ConditionType.RUNNING, "False", Reason.READY_TIMEOUT, text),
        again=view.seen.now + timedelta(seconds=wait),
        ready_timeouts=status.ready_timeouts + 1,
    )


def suspended(view: View) -> Plan:
    """``spec.suspend``: the attempt is over, and what it held goes back."""
    return _over(
        view,
        Said(ConditionType.ADMITTED, "False", Reason.SUSPENDED),
        Said(ConditionType.RUNNING, "False", Reason.SUSPENDED),
        Said(ConditionType.SUSPENDED, "False", Reason.SUSPENDING),
        active_seconds=_active_seconds(view),
    )


def withdrawn(view: View, reason: Reason, message: str) -> Plan:
    """Its Jobs cannot be made any more (the settings changed): it waits again, and says why."""
    return _over(
        view,
        Said(ConditionType.ADMITTED, "False", reason, message),
        Said(ConditionType.RUNNING, "False", Reason.NOT_ADMITTED),
    )


def _active_seconds(view: View) -> int:
    status = view.seen.task.status
    began = status.admitted_time
    return status.active_seconds + (int((view.seen.now - began).total_seconds()) if began is not None else 0)


def _over(view: View, *said: Said, again: datetime | None = None, **facts: int) -> Plan:
    status = view.seen.task.status.model_copy(
        update={
            "admitted_time": None,
            "queued_time": view.seen.now,
            "requeue_time": again,
            "queue": None,
            **facts,
        }
    )
    jobs = Said(ConditionType.JOBS_CREATED, "False", Reason.JOBS_DELETED)
    return durable(view, status, (*said, jobs, figures.intact(view, status)))


def _ended(view: View, end: Said) -> Plan:
    stored = view.seen.task.status
    never = stored.attempt == 0
    update: dict[str, object] = {
        "completion_time": view.seen.now,
        "requeue_time": None,
        "queue": None,
        "active_seconds": _active_seconds(view),
    }
    if never:
        update["cleaned_up_time"] = view.seen.now  # nothing was made that could be left
    status: PoseTaskStatus = stored.model_copy(update=update)
    admitted = Reason.ENDED if end.status == "True" or not never else end.reason
    said: Sequence[Said] = (
        end,
        Said(ConditionType.ADMITTED, "False", admitted, "" if admitted == Reason.ENDED else end.message),
        Said(ConditionType.RUNNING, "False", Reason.ENDED),
        Said(ConditionType.SUSPENDED, "False", Reason.ENDED),
        Said(
            ConditionType.CLEANED_UP,
            "True" if never else "False",
            Reason.CLEANED_UP if never else Reason.TTL_NOT_OVER,
        ),
    )
    if never:
        said = (
            *said,
            Said(ConditionType.TOPICS_READY, "False", Reason.NOT_ADMITTED),
            Said(ConditionType.JOBS_CREATED, "False", Reason.NOT_ADMITTED),
        )
    return durable(view, status, (*said, figures.intact(view, status)))
