"""Whole lives of tasks in the small world: what becomes of them, and what is left."""

from collections.abc import Callable
from typing import Any

import pytest

from posetask.spec import ConditionType, Reason
from posetask_operator.core import actions as act

Said = tuple[str, str]


def said(world: Any, task: Any, kind: ConditionType) -> Said:
    found = world.status(task).condition(kind)
    return found.status, found.reason


def on(stage: str, *fates: str) -> Callable[[str, int], str]:
    """That stage's fates by attempt, the last one for all that follow; the others do well."""
    return lambda name, attempt: fates[min(attempt, len(fates)) - 1] if name == stage else "ok"


@pytest.mark.parametrize("mode", ["Distributed", "Fused"])
def test_a_task_runs_and_leaves_nothing(world: Any, quick: Any, mode: str) -> None:
    task = world.add("demo", **quick, execution={"mode": mode})
    assert world.run(60, lambda: world.cleaned(task))
    status = world.status(task)
    assert said(world, task, ConditionType.SUCCEEDED) == ("True", "Completed")
    assert said(world, task, ConditionType.CLEANED_UP) == ("True", "CleanedUp")
    assert (status.state, status.attempt, status.retries) == ("Succeeded", 1, 0)
    assert status.result.uri == f"s3://results/lab/{status.run}/demo.mp4"
    assert status.ready == ("5/5" if mode == "Distributed" else "1/1")
    assert world.left() == {}
    assert len(world.writes) <= 25, world.writes


@pytest.mark.parametrize("mode", ["Distributed", "Fused"])
def test_result_and_progress_are_what_the_stages_said(world: Any, quick: Any, mode: str) -> None:
    task = world.add("demo", **quick, execution={"mode": mode})
    world.run(60, lambda: world.cleaned(task))
    status = world.status(task)
    assert (status.result.frames, status.result.people, status.result.tracks) == (100, 2, 3)
    assert (status.progress.percent, status.progress.summary) == (100, "100%")
    assert (status.progress.frames_annotated, status.progress.frames_decoded) == (100, 100)
    assert status.stages[-1].frames == 100


@pytest.mark.parametrize(
    ("stage", "fates", "spec", "end", "attempts"),
    [
        ("producer", ("bad",), {}, ("False", Reason.INPUT_ERROR), 1),
        ("yolox", ("flaky", "ok"), {}, ("True", Reason.COMPLETED), 2),
        ("yolox", ("flaky",), {}, ("False", Reason.RETRIES_EXHAUSTED), 3),
        ("yolox", ("flaky",), {"retries": 0}, ("False", Reason.UNAVAILABLE), 1),
        ("rtmpose", ("killed",), {}, ("False", Reason.OUT_OF_MEMORY), 1),
        ("annotator", ("hangs",), {}, ("True", Reason.COMPLETED), 1),
        ("yolox", ("stuck", "ok"), {}, ("True", Reason.COMPLETED), 2),
    ],
)
def test_failures_end_a_task_or_an_attempt(
    world: Any, quick: Any, stage: str, fates: tuple[str, ...], spec: Any, end: Said, attempts: int
) -> None:
    fate = on(stage, *fates)
    if fates == ("hangs",):  # of all stages: with one that works, frames still go through
        fate = lambda name, attempt: "hangs"  # noqa: E731
        end = ("False", Reason.NO_FRAMES)
    task = world.add("demo", fate, **quick, **spec)
    assert world.run(400, lambda: world.cleaned(task))
    assert said(world, task, ConditionType.SUCCEEDED) == end
    assert world.status(task).attempt == attempts
    assert world.left() == {}


def test_a_failure_says_the_next_step(world: Any, quick: Any) -> None:
    task = world.add("demo", on("producer", "bad"), **quick)
    world.run(60, lambda: world.cleaned(task))
    status = world.status(task)
    assert status.terminal.resolution
    assert "producer" in status.message
    assert status.stages[0].last_exit_code == 20


def test_gpus_go_back_when_not_all_is_ready_in_time(world: Any, quick: Any) -> None:
    task = world.add("demo", on("rtmpose", "stuck"), **quick)
    assert world.run(400, lambda: world.status(task).requeue_time is not None)
    assert world.run(10, lambda: not world.jobs)
    assert world.admission.used("default") == 0
    status = world.status(task)
    assert (status.ready_timeouts, status.retries, status.admitted_time) == (1, 0, None)
    assert said(world, task, ConditionType.ADMITTED) == ("False", "BackingOff")
    assert "rtmpose" not in status.message or "ready" in status.message


def test_a_task_that_is_never_ready_fails_in_the_end(make_world: Any, quick: Any) -> None:
    world = make_world(requeues=2, timings={"requeue_base": 10})
    task = world.add("demo", on("yolox", "stuck"), **quick)
    assert world.run(600, lambda: world.cleaned(task))
    assert said(world, task, ConditionType.SUCCEEDED) == ("False", "ReadyTimeout")
    assert world.status(task).attempt == 3


def test_waits_after_ready_timeouts_double(make_world: Any, quick: Any) -> None:
    world = make_world(timings={"requeue_base": 100})
    task = world.add("demo", on("yolox", "stuck"), **quick)
    waits = []
    for count in (1, 2, 3):
        world.run(800, lambda count=count: world.status(task).ready_timeouts == count)
        waits.append((world.status(task).requeue_time - world.now).total_seconds())
    assert waits == [100, 200, 400]


def test_a_task_that_ran_too_long_fails(world: Any, quick: Any) -> None:
    spec = quick | {"deadlines": {"activeSeconds": 20, "noFramesSeconds": 60}}
    task = world.add("demo", lambda s, a: "hangs", **spec)
    assert world.run(100, lambda: world.cleaned(task))
    assert said(world, task, ConditionType.SUCCEEDED) == ("False", "DeadlineExceeded")


def test_time_of_earlier_attempts_counts_but_not_the_queue(world: Any, quick: Any) -> None:
    spec = quick | {"deadlines": {"activeSeconds": 60, "noFramesSeconds": 600}}
    task = world.add("demo", lambda s, a: "hangs", **spec)
    world.run(6)
    world.edit(task, suspend=True)
    world.run(100)
    assert 25 <= world.status(task).active_seconds <= 35
    assert world.status(task).terminal is None
    world.edit(task, suspend=False)
    assert world.run(8, lambda: world.status(task).terminal is not None)
    assert said(world, task, ConditionType.SUCCEEDED) == ("False", "DeadlineExceeded")


@pytest.mark.parametrize("ticks", [0, 1, 3, 5])
def test_suspend_holds_nothing_and_resume_goes_on(world: Any, quick: Any, ticks: int) -> None:
    task = world.add("demo", **quick)
    world.run(ticks)
    world.edit(task, suspend=True)
    world.run(10)
    assert said(world, task, ConditionType.SUSPENDED) == ("True", "Suspended")
    assert world.status(task).state == "Suspended"
    assert (world.jobs, world.pods, world.admission.used("default")) == ({}, {}, 0)
    world.edit(task, suspend=False)
    assert world.run(60, lambda: world.cleaned(task))
    assert said(world, task, ConditionType.SUCCEEDED) == ("True", "Completed")
    assert world.status(task).attempt == 2
    assert world.left() == {}


@pytest.mark.parametrize("ticks", [0, 1, 3, 8, 12])
def test_cancel_ends_a_task_for_good_at_once(world: Any, quick: Any, ticks: int) -> None:
    task = world.add("demo", **quick)
    world.run(ticks)
    before = world.status(task).terminal
    world.edit(task, cancel=True)
    world.run(4)
    assert world.admission.used("default") == 0
    assert world.run(60, lambda: world.cleaned(task))
    end = ("False", "Cancelled") if before is None else ("True", "Completed")
    assert said(world, task, ConditionType.SUCCEEDED) == end
    assert world.left() == {}


@pytest.mark.parametrize("ticks", range(16))
def test_delete_in_every_state_leaves_nothing(world: Any, quick: Any, ticks: int) -> None:
    task = world.add("demo", **quick)
    if ticks:
        world.run(ticks - 1)
    world.delete(task)
    assert world.run(20, lambda: task.key not in world.tasks)
    assert world.left() == {}


def test_a_task_made_anew_under_its_name_is_another(world: Any, quick: Any) -> None:
    first = world.add("demo", **quick)
    world.run(4)
    world.delete(first)
    world.run(10, lambda: first.key not in world.tasks)
    second = world.add("demo", **quick)
    assert world.run(60, lambda: world.cleaned(second))
    assert world.status(second).run != world.status(first).run
    assert said(world, second, ConditionType.SUCCEEDED) == ("True", "Completed")


def test_a_finished_task_is_never_run_again(world: Any, quick: Any) -> None:
    task = world.add("demo", **quick)
    world.run(60, lambda: world.cleaned(task))
    made = dict(world.made)
    world.restart()
    world.edit(task, cleanup={"ttlSecondsAfterSuccess": 7200})
    world.run(50)
    assert world.made == made
    assert world.jobs == {}


def test_jobs_that_somebody_deleted_do_not_bring_a_finished_task_back(world: Any, quick: Any) -> None:
    task = world.add("demo", **(quick | {"cleanup": {"ttlSecondsAfterSuccess": 7200}}))
    world.run(60, lambda: world.status(task).terminal is not None)
    world.jobs.clear()
    world.pods.clear()
    world.restart()
    assert world.run(60, lambda: world.cleaned(task))
    assert world.left() == {}


def test_delete_self_takes_the_task_with_its_jobs(world: Any, quick: Any) -> None:
    task = world.add("demo", **(quick | {"cleanup": quick["cleanup"] | {"deleteSelf": True}}))
    assert world.run(60, lambda: task.key not in world.tasks)
    assert world.left() == {}


def test_without_delete_self_the_task_stays(world: Any, quick: Any) -> None:
    task = world.add("demo", **quick)
    world.run(200)
    assert task.key in world.tasks


def test_somebody_deletes_a_job_of_a_running_task(world: Any, quick: Any) -> None:
    task = world.add("demo", **quick)
    world.run(3)
    name = next(name for name in world.jobs if "yolox" in name)
    world.jobs[name].seen = world.jobs[name].seen.__class__(name, "u", "yolox", 1, task.uid, deleting=True)
    assert world.run(60, lambda: world.cleaned(task))
    assert said(world, task, ConditionType.SUCCEEDED) == ("True", "Completed")
    assert world.status(task).attempt == 2


def test_a_secret_that_is_missing_is_said_and_waited_for(make_world: Any, quick: Any) -> None:
    grant = {"secrets": [{"name": "s3-key"}]}
    world = make_world(storage={"root": "s3://results", "default": grant})
    task = world.add("demo", **quick)
    world.run(5)
    assert said(world, task, ConditionType.ADMITTED) == ("False", "SecretMissing")
    assert "s3-key" in world.status(task).message
    world.secrets = frozenset({"s3-key"})
    assert world.run(60, lambda: world.cleaned(task))
    assert said(world, task, ConditionType.SUCCEEDED) == ("True", "Completed")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"stages": [{"name": "faces"}]}, Reason.UNKNOWN_STAGE),
        ({"stages": [{"name": "yolox", "parameters": {"colour": "red"}}]}, Reason.INVALID_PARAMETERS),
        ({"scheduling": {"profile": "big"}}, Reason.UNKNOWN_PROFILE),
        ({"source": {"uri": "s3://elsewhere/a.mp4"}}, Reason.SOURCE_NOT_ALLOWED),
        ({"stages": [{"name": "yolox", "replicas": 8}]}, Reason.DOES_NOT_FIT),
    ],
)
def test_what_can_never_run_fails_before_it_holds_anything(
    world: Any, quick: Any, spec: Any, reason: Reason
) -> None:
    task = world.add("demo", **(quick | spec))
    world.run(2)
    assert said(world, task, ConditionType.SUCCEEDED) == ("False", reason)
    assert world.status(task).attempt == 0
    assert world.status(task).state == "Failed"
    assert (world.made, world.left()) == ({}, {})
    assert reason.resolution in world.status(task).message


def test_brokers_that_are_away_admit_nobody(world: Any, quick: Any) -> None:
    world.kafka_away = world.now
    task = world.add("demo", **quick)
    world.run(20)
    assert said(world, task, ConditionType.ADMITTED) == ("False", "KafkaUnavailable")
    assert world.made == {}
    world.kafka_away = None
    assert world.run(60, lambda: world.cleaned(task))
    assert said(world, task, ConditionType.SUCCEEDED) == ("True", "Completed")


def test_brokers_that_go_while_topics_are_made(world: Any, quick: Any) -> None:
    task = world.add("demo", **quick)
    world.faults[4] = "refused"  # the topics, after finalizer, admission, event and record
    world.settle()
    world.kafka_away = world.now
    world.run(5)
    assert world.log[4][1] is act.CreateTopics
    assert said(world, task, ConditionType.TOPICS_READY) == ("False", "KafkaUnavailable")
    world.kafka_away = None
    assert world.run(60, lambda: world.cleaned(task))
    assert world.status(task).attempt == 1
    assert said(world, task, ConditionType.SUCCEEDED) == ("True", "Completed")


def test_brokers_that_are_away_for_long_are_said_and_do_not_fail_a_running_task(
    world: Any, quick: Any
) -> None:
    task = world.add("demo", **quick)
    world.run(4)
    world.kafka_away = world.now
    world.run(40)
    assert said(world, task, ConditionType.TOPICS_READY) == ("Unknown", "KafkaUnavailable")
    assert world.status(task).terminal is None
    world.kafka_away = None
    assert world.run(60, lambda: world.cleaned(task))
    assert said(world, task, ConditionType.SUCCEEDED) == ("True", "Completed")


def test_clean_up_waits_for_the_brokers(world: Any, quick: Any) -> None:
    task = world.add("demo", **quick)
    world.run(60, lambda: world.status(task).terminal is not None)
    world.kafka_away = world.now
    world.run(60)
    assert said(world, task, ConditionType.CLEANED_UP) == ("False", "KafkaUnavailable")
    assert world.jobs == {}
    world.kafka_away = None
    assert world.run(10, lambda: world.cleaned(task))
    assert world.left() == {}


def test_a_task_is_let_go_when_the_brokers_are_gone_for_good(world: Any, quick: Any) -> None:
    task = world.add("demo", **quick)
    world.run(4)
    record = world.records[world.status(task).run]
    world.kafka_away = world.now
    world.delete(task)
    assert not world.run(300, lambda: task.key not in world.tasks)
    assert world.run(80, lambda: task.key not in world.tasks)
    assert world.tombstones == {f"posetask-abandoned-{record.run}": record}
    assert "jobs" not in world.left()


def test_a_task_that_was_never_admitted_is_deleted_without_the_brokers(world: Any, quick: Any) -> None:
    world.kafka_away = world.now
    task = world.add("demo", **quick)
    world.run(3)
    world.delete(task)
    world.run(1)
    assert (world.tasks, world.tombstones) == ({}, {})


def test_a_pod_on_a_node_that_does_not_answer_is_named_and_never_forced(world: Any, quick: Any) -> None:
    task = world.add("demo", **quick)
    world.run(3)
    world.unreachable = frozenset({"node-1"})
    world.delete(task)
    world.run(100)
    status, reason = said(world, task, ConditionType.CLEANED_UP)
    assert (status, reason) == ("False", "NodeLost")
    assert "kubectl delete node node-1" in world.status(task).condition(ConditionType.CLEANED_UP).resolution
    assert world.pods
    world.unreachable = frozenset()
    assert world.run(20, lambda: task.key not in world.tasks)
    assert world.left() == {}


def test_the_next_attempt_waits_for_pods_of_a_lost_node(world: Any, quick: Any) -> None:
    task = world.add("demo", on("yolox", "flaky", "ok"), **quick)
    world.run(60, lambda: world.status(task).retries == 1)
    world.unreachable = frozenset({"node-1"})
    world.run(100)
    if world.pods:
        assert said(world, task, ConditionType.ADMITTED) == ("False", "NodeLost")
        assert world.admission.used("default") > 0
    world.unreachable = frozenset()
    assert world.run(60, lambda: world.cleaned(task))
    assert world.status(task).attempt == 2


def test_at_a_fixed_point_a_plan_asks_for_nothing(world: Any, quick: Any) -> None:
    task = world.add("demo", **quick)
    for _ in range(30):
        world.run(1)
        first, second = world.decide(task), world.decide(task)
        assert first == second
        assert [a for a in first.actions if not (isinstance(a, act.WriteStatus) and a.slow)] == []
