"""Why a pod or a Job came to nothing: exit codes, last words and pod states as a reason, and what to do.

Sources: the exit codes of ``posetask.errors``; Kubernetes' container states and its Job conditions.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from posetask.errors import PoseTaskError
from posetask.spec import Reason
from posetask_operator.core.observed import FailureSeen, JobSeen, PodSeen

_IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
    | {"ImageInspectError", "SignatureValidationFailed"}
)
_REFUSED = frozenset({"ContainerCannotRun", "StartError", "CreateContainerError", "RunContainerError"})
_NO_SECRET = re.compile(r'secrets? "([^"]+)" not found')
_POLICY = re.compile(r"failed with exit code (\d+)")
_SIGTERM = 128 + signal.SIGTERM
_TEXT = 1000


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong.

    Attributes:
        stage: Where.
        reason: As in a condition.
        message: With the values that matter; names the stage.
        resolution: What to do next; empty: what the reason says in general.
        retryable: Another attempt may go well.
        exit_code: Of the process, where it ended.
        word: Why, as Kubernetes or the stage says it in one word.
    """

    stage: str
    reason: Reason
    message: str
    resolution: str = ""
    retryable: bool = True
    exit_code: int | None = None
    word: str = ""


def of_pod(pod: PodSeen) -> Failure | None:
    """Why a pod ended without success; None where it did not end so."""
    if pod.phase != "Failed" and pod.exit_code in {None, 0}:
        return None
    said = last_word(pod.message)
    if said is not None and not pod.disrupted:
        return of_word(pod.stage, said)
    code, where = pod.exit_code, f"stage {pod.stage}"
    line = _last_line(pod.message)
    tail = f": {line}" if line else ""
    if pod.reason == "OOMKilled":
        return Failure(
            pod.stage,
            Reason.OUT_OF_MEMORY,
            f"{where} was ended for using more memory than it may",
            retryable=False,  # its Job started it anew as often as it may
            exit_code=code,
            word=pod.reason,
        )
    if pod.disrupted or pod.reason in {"Evicted", "Preempting", "NodeShutdown", "Terminated"}:
        return Failure(
            pod.stage,
            Reason.EVICTED,
            f"{where} was put out by node {pod.node or 'unknown'}{tail}",
            exit_code=code,
            word=pod.reason or "Evicted",
        )
    if pod.reason in _REFUSED:
        text = f"{where} could not be started{tail}"
        return Failure(pod.stage, Reason.CONTAINER_REFUSED, text, exit_code=code, word=pod.reason)
    kind = by_exit_code(code)
    if kind is not None:
        return Failure(
            pod.stage,
            kind,
            f"{where} ended with exit code {code}{tail}",
            retryable=_retryable(code),
            exit_code=code,
            word=kind,
        )
    text = f"{where} {_end(code)}{tail}"
    return Failure(pod.stage, Reason.STAGE_DIED, text, exit_code=code, word=pod.reason or "Error")


def of_word(stage: str, said: FailureSeen) -> Failure:
    """From an error of the tree, as the stage wrote it.

    A reason that is not ours (an error of somebody's own stage) stands for its exit code's.
    """
    known = said.reason in set(Reason)
    reason = Reason(said.reason) if known else (by_exit_code(said.exit_code) or Reason.STAGE_FAILED)
    return Failure(
        stage,
        reason,
        f"stage {stage}: {said.message[:_TEXT] or reason.meaning}",
        resolution=said.hint[:_TEXT] if not reason.resolution else "",
        retryable=said.retryable,
        exit_code=said.exit_code,
        word=said.reason[:128],
    )


def of_job(job: JobSeen, pods: Sequence[PodSeen], said: FailureSeen | None = None) -> Failure:
    """Why a Job failed: by what its pods left, and by what the stage said last.

    Args:
        job: With a ``failed_reason``.
        pods: Of the Job.
        said: The stage's error on ``posetask_progress``.
    """
    found = [f for f in map(of_pod, pods) if f is not None]
    final = next((f for f in found if not f.retryable), None)
    if final is not None:
        return final
    code = _POLICY.search(job.failed_message)
    if code is not None and by_exit_code(int(code[1])) is not None:
        if said is not None and said.exit_code == int(code[1]):
            return of_word(job.stage, said)
        pod = PodSeen("", "", job.stage, job.attempt, job.uid, "Failed", exit_code=int(code[1]))
        return of_pod(pod) or _died(job)
    if found:
        last = found[-1]
        times = f", {job.failed} pods in all" if job.failed > 1 else ""
        return Failure(
            last.stage,
            last.reason,
            f"{last.message}{times}",
            last.resolution,
            last.retryable,
            last.exit_code,
            last.word,
        )
    return of_word(job.stage, said) if said is not None else _died(job)


def last_word(text: str) -> FailureSeen | None:
    """The termination message of a stage: its last line that is one of our errors as JSON.

    >>> last_word('{"reason":"TopicLost","message":"gone","exit_code":26}').reason
    'TopicLost'
    >>> last_word("Killed") is None
    True
    """
    for line in reversed(text.strip().splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and isinstance(found.get("reason"), str):
            code = found.get("exit_code")
            return FailureSeen(
                reason=found["reason"],
                message=str(found.get("message", "")),
                hint=str(found.get("hint", "")),
                retryable=found.get("retryable") is True,
                exit_code=code if isinstance(code, int) else 1,
            )
    return None


def by_exit_code(code: int | None) -> Reason | None:
    """The reason that an exit code stands for, None where it is none of ours.

    >>> by_exit_code(20), by_exit_code(30), by_exit_code(139)
    (<Reason.INPUT_ERROR: 'InputError'>, <Reason.UNAVAILABLE: 'Unavailable'>, None)
    """
    if code is None or code < 20:
        return None
    first = next((kind for kind in _tree(PoseTaskError) if kind.exit_code == code), None)
    return Reason(first.__name__) if first is not None else None


def lost(pod: PodSeen, unreachable: Iterable[str], now: datetime, after: float) -> bool:
    """Whether a pod cannot be ended: long past its grace, on a node that does not answer."""
    if pod.grace_ends is None or not pod.alive or pod.node not in set(unreachable):
        return False
    return (now - pod.grace_ends).total_seconds() >= after


def held_up(pod: PodSeen) -> Failure | None:
    """What keeps a pod from starting; None where nothing is known to."""
    where = f"stage {pod.stage}, pod {pod.name}"
    said = pod.waiting_message[:_TEXT]
    missing = _NO_SECRET.search(said)
    if missing is not None:
        return Failure(pod.stage, Reason.SECRET_MISSING, f"{where} needs Secret {missing[1]}")
    if pod.waiting in _IMAGE:
        return Failure(pod.stage, Reason.IMAGE_MISSING, f"{where}: {pod.waiting}: {said}", word=pod.waiting)
    if pod.waiting:
        return Failure(
            pod.stage, Reason.CONTAINER_REFUSED, f"{where}: {pod.waiting}: {said}", word=pod.waiting
        )
    if pod.unschedulable and pod.alive:
        return Failure(pod.stage, Reason.UNSCHEDULABLE, f"{where}: {pod.unschedulable[:_TEXT]}")
    return None


def _died(job: JobSeen) -> Failure:
    why = job.failed_message[:_TEXT] or job.failed_reason or "its Job failed"
    return Failure(job.stage, Reason.STAGE_DIED, f"stage {job.stage}: {why}", word=job.failed_reason or "")


def _end(code: int | None) -> str:
    if code is None:
        return "ended without a word"
    if code == _SIGTERM:
        return "was asked to end (SIGTERM), and nobody says by whom; a failed liveness probe does that"
    if 128 < code < 128 + signal.NSIG:
        try:
            return f"died of {signal.Signals(code - 128).name}"
        except ValueError:
            return f"died of signal {code - 128}"
    return f"ended with exit code {code}"


def _retryable(code: int | None) -> bool:
    return any(kind.retryable for kind in _tree(PoseTaskError) if kind.exit_code == code)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:_TEXT] if lines else ""


def _tree(root: type[PoseTaskError]) -> Iterator[type[PoseTaskError]]:
    for kind in root.__subclasses__():
        if kind.__module__ == PoseTaskError.__module__:
            yield kind
            yield from _tree(kind)
