"""Single looks: one observation, and what is asked for because of it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from posetask.spec import ConditionType, PoseTaskStatus, Reason
from posetask_operator.core import actions as act
from posetask_operator.core.claims import holding, request
from posetask_operator.core.names import job_name
from posetask_operator.core.observed import (
    FINALIZER,
    FailureSeen,
    Granted,
    JobSeen,
    KafkaSeen,
    Observed,
    PodSeen,
    ReportSeen,
    RunRecord,
    TaskSeen,
    Trouble,
)
from posetask_operator.core.plan import look_at, plan
from posetask_operator.settings import Settings

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
STAGES = ("producer", "yolox", "rtmpose", "bytetrack", "annotator")
MakeTask = Callable[..., TaskSeen]
MakeSeen = Callable[..., Observed]


def kinds(made: act.Plan) -> list[str]:
    return [type(action).__name__ for action in made.actions if not isinstance(action, act.EmitEvent)]


def said(made: act.Plan, kind: ConditionType) -> tuple[str, str]:
    found = made.status.condition(kind)
    assert found is not None
    return found.status, found.reason


@pytest.fixture
def admitted(make_seen: MakeSeen, settings: Settings) -> Observed:
    """Admitted just now: nothing is made yet."""
    seen = make_seen(verdict=Granted())
    made = plan(seen, settings)
    return replace(seen, task=replace(seen.task, status=made.status), verdict=None)


@pytest.fixture
def running(admitted: Observed, settings: Settings) -> Observed:
    """All Jobs are there, and every stage is ready."""
    task = replace(admitted.task, status=plan(admitted, settings).status)
    jobs = tuple(
        JobSeen(job_name(task.run, stage, 1), f"j-{stage}", stage, 1, task.uid, active=1, ready=1)
        for stage in STAGES
    )
    pods = tuple(
        PodSeen(
            f"p-{s}", f"p-{s}", s, 1, f"j-{s}", "Running", ready=True, node="n1", gpus=s in "yolox rtmpose"
        )
        for s in STAGES
    )
    seen = replace(admitted, task=task, jobs=jobs, pods=pods)
    return replace(seen, task=replace(task, status=plan(seen, settings).status))


def with_job(seen: Observed, stage: str, **given: Any) -> Observed:
    return replace(seen, jobs=tuple(replace(j, **given) if j.stage == stage else j for j in seen.jobs))


def later(seen: Observed, seconds: float) -> Observed:
    return replace(seen, now=seen.now + timedelta(seconds=seconds))


def test_the_finalizer_comes_before_everything(
    make_seen: MakeSeen, make_task: MakeTask, settings: Settings
) -> None:
    made = plan(make_seen(make_task(finalizers=())), settings)
    assert kinds(made) == ["AddFinalizer"]


def test_admission_is_written_before_anything_is_made(make_seen: MakeSeen, settings: Settings) -> None:
    made = plan(make_seen(verdict=Granted()), settings)
    assert kinds(made) == ["WriteStatus"]
    write = made.actions[0]
    assert isinstance(write, act.WriteStatus)
    assert write.durable
    assert (made.status.attempt, made.status.admitted_time) == (1, START)


def test_the_next_attempt_begins_only_after_a_fresh_look(
    make_seen: MakeSeen, make_task: MakeTask, settings: Settings
) -> None:
    seen = make_seen(make_task(status=PoseTaskStatus(attempt=1)), verdict=Granted(), fresh=False)
    made = plan(seen, settings)
    assert (made.actions, made.needs_fresh, made.wants_admission) == ((), True, True)
    assert plan(replace(seen, fresh=True), settings).status.attempt == 2


def test_a_suspended_task_says_so_only_after_a_fresh_look(
    make_seen: MakeSeen, make_task: MakeTask, settings: Settings
) -> None:
    seen = make_seen(make_task({"suspend": True}, status=PoseTaskStatus(attempt=1)), fresh=False)
    assert plan(seen, settings).needs_fresh
    assert said(plan(replace(seen, fresh=True), settings), ConditionType.SUSPENDED) == ("True", "Suspended")


def test_a_fused_pod_is_judged_by_the_word_of_the_stage_that_failed(
    make_seen: MakeSeen, make_task: MakeTask, settings: Settings
) -> None:
    task = make_task({"execution": {"mode": "Fused"}})
    seen = make_seen(task, verdict=Granted())
    task = replace(task, status=plan(seen, settings).status)
    task = replace(task, status=plan(replace(seen, task=task), settings).status)
    job = JobSeen(job_name(task.run, "fused", 1), "j", "fused", 1, task.uid, failed_reason="PodFailurePolicy")
    error = FailureSeen("NotAVideo", "in.mp4 is no video", exit_code=20)
    reports = {"producer": ReportSeen("producer", "failed", START, error=error)}
    made = plan(replace(seen, task=task, jobs=(job,), reports=reports), settings)
    assert said(made, ConditionType.SUCCEEDED) == ("False", "NotAVideo")


def test_topics_and_jobs_are_made_in_one_plan(admitted: Observed, settings: Settings) -> None:
    assert kinds(plan(admitted, settings)) == ["RecordRun", "CreateTopics", *["CreateJob"] * 5, "WriteStatus"]


def test_what_is_there_already_is_not_asked_for_again(running: Observed, settings: Settings) -> None:
    status = running.task.status.model_copy(update={"conditions": ()})
    made = plan(replace(running, task=replace(running.task, status=status), jobs=running.jobs[:2]), settings)
    assert kinds(made)[:5] == ["RecordRun", "CreateTopics", "CreateJob", "CreateJob", "CreateJob"]


def test_a_running_task_in_which_nothing_changes_is_left_alone(running: Observed, settings: Settings) -> None:
    made = plan(running, settings)
    assert made.actions == ()
    assert said(made, ConditionType.RUNNING) == ("True", "AllReady")
    assert made.requeue_after == 60


def test_it_looks_again_when_the_next_deadline_is_due(running: Observed, settings: Settings) -> None:
    assert plan(later(running, 290), settings).requeue_after == pytest.approx(10)


@pytest.mark.parametrize(
    ("report", "after", "ends"),
    [
        (None, 299, False),
        (None, 300, True),
        (ReportSeen("yolox", "running", START + timedelta(seconds=100), 9), 399, False),
        (ReportSeen("yolox", "running", START + timedelta(seconds=100), 9), 400, True),
    ],
)
def test_no_frames_counts_from_the_last_one(
    running: Observed, settings: Settings, report: ReportSeen | None, after: int, ends: bool
) -> None:
    seen = replace(running, reports={"yolox": report} if report else {})
    made = plan(later(seen, after), settings)
    assert (made.status.terminal is not None) is ends
    if ends:
        assert said(made, ConditionType.SUCCEEDED) == ("False", "NoFrames")


def test_no_frames_stands_still_while_the_result_is_published(running: Observed, settings: Settings) -> None:
    reports = {"producer": ReportSeen("producer", "done", START, 100)}
    reports["annotator"] = ReportSeen("annotator", "running", START, 100)
    assert plan(later(replace(running, reports=reports), 5000), settings).status.terminal is None


def test_no_frames_stands_still_while_the_brokers_are_away_and_for_as_long_after(
    running: Observed, settings: Settings
) -> None:
    away = replace(later(running, 5000), kafka=KafkaSeen(away_since=START))
    made = plan(away, settings)
    assert made.status.terminal is None
    back = replace(away, task=replace(away.task, status=made.status), kafka=running.kafka)
    back = later(back, 1)
    made = plan(back, settings)
    assert made.status.terminal is None
    back = replace(back, task=replace(back.task, status=made.status))
    assert plan(later(back, 299), settings).status.terminal is None
    assert plan(later(back, 300), settings).status.terminal is not None


def test_brokers_away_for_a_moment_are_not_worth_a_word(running: Observed, settings: Settings) -> None:
    made = plan(replace(later(running, 20), kafka=KafkaSeen(away_since=START)), settings)
    assert made.actions == ()


def test_a_failed_job_hinges_on_its_pods(running: Observed, settings: Settings) -> None:
    failed = with_job(running, "yolox", failed_reason="BackoffLimitExceeded", ready=0)
    assert plan(replace(failed, fresh=False), settings).needs_fresh
    made = plan(failed, settings)
    assert said(made, ConditionType.ADMITTED) == ("False", "BackingOff")
    assert made.status.retries == 1
    assert made.status.admitted_time is None


def test_the_result_wins_over_a_failure_and_over_suspend(
    running: Observed, make_task: MakeTask, settings: Settings
) -> None:
    done = with_job(running, "annotator", complete=True, succeeded=1, ready=0, active=0)
    done = with_job(done, "yolox", failed_reason="BackoffLimitExceeded")
    spec = make_task({"suspend": True}).spec
    made = plan(replace(done, task=replace(done.task, spec=spec)), settings)
    assert said(made, ConditionType.SUCCEEDED) == ("True", "Completed")


def test_a_stage_that_is_not_required_fails_nothing(
    make_settings: Any, make_seen: MakeSeen, make_task: MakeTask
) -> None:
    settings = make_settings(stages={"faces": {"image": "f:1", "port": 8110, "inputs": ["raw_frames"]}})
    task = make_task({"stages": [{"name": "faces", "required": False}]})
    seen = make_seen(task, verdict=Granted())
    task = replace(task, status=plan(seen, settings).status)
    task = replace(task, status=plan(replace(seen, task=task), settings).status)
    jobs = [JobSeen(job_name(task.run, s, 1), s, s, 1, task.uid, ready=1) for s in STAGES]
    jobs.append(
        JobSeen(job_name(task.run, "faces", 1), "f", "faces", 1, task.uid, failed_reason="PodFailurePolicy")
    )
    made = plan(replace(seen, task=task, jobs=tuple(jobs)), settings)
    assert said(made, ConditionType.RUNNING) == ("True", "AllReady")
    jobs[4] = replace(jobs[4], complete=True)
    made = plan(replace(seen, task=task, jobs=tuple(jobs)), settings)
    assert said(made, ConditionType.SUCCEEDED) == ("True", "Completed")


def test_evictions_are_borne_up_to_a_bound(running: Observed, settings: Settings) -> None:
    gone = [
        PodSeen(f"e{n}", f"e{n}", "yolox", 1, "j-yolox", "Failed", node="n1", exit_code=137, disrupted=True)
        for n in range(11)
    ]
    assert plan(replace(running, pods=(*running.pods, *gone[:10])), settings).status.retries == 0
    made = plan(replace(running, pods=(*running.pods, *gone)), settings)
    assert made.status.retries == 1
    assert "11 times" in made.status.message


@pytest.mark.parametrize(
    ("trouble", "end"),
    [
        (Trouble("CreateJob", "Refused", "spec.x: invalid", retryable=False), Reason.JOBS_REFUSED),
        (Trouble("CreateTopics", "KafkaAccessDenied", "no", retryable=False), Reason.KAFKA_ACCESS_DENIED),
    ],
)
def test_what_nobody_can_mend_while_the_task_is_there_ends_it(
    admitted: Observed, settings: Settings, trouble: Trouble, end: Reason
) -> None:
    made = plan(replace(admitted, troubles=(trouble,)), settings)
    assert said(made, ConditionType.SUCCEEDED) == ("False", end)
    assert trouble.message in made.status.message


@pytest.mark.parametrize(
    ("trouble", "kind", "reason"),
    [
        (
            Trouble("CreateJob", "Forbidden", "quota", retryable=False),
            ConditionType.JOBS_CREATED,
            "JobsRefused",
        ),
        (
            Trouble("CreateJob", "ForeignObject", "taken", retryable=False),
            ConditionType.JOBS_CREATED,
            "NameTaken",
        ),
        (Trouble("CreateJob", "ApiUnavailable", "500"), ConditionType.JOBS_CREATED, "CreatingJobs"),
        (Trouble("CreateTopics", "KafkaUnavailable", "away"), ConditionType.TOPICS_READY, "KafkaUnavailable"),
        (
            Trouble("CreateTopics", "KafkaRefused", "x", retryable=False),
            ConditionType.TOPICS_READY,
            "KafkaRefused",
        ),
        (Trouble("RecordRun", "Unavailable", "lost"), ConditionType.TOPICS_READY, "CreatingTopics"),
    ],
)
def test_what_may_pass_is_said_first_and_tried_again(
    admitted: Observed, settings: Settings, trouble: Trouble, kind: ConditionType, reason: str
) -> None:
    made = plan(replace(admitted, troubles=(trouble,)), settings)
    assert said(made, kind) == ("False", reason)
    assert made.status.terminal is None
    assert kinds(made)[-7:] == ["RecordRun", "CreateTopics", *["CreateJob"] * 5]


def test_a_trouble_that_is_over_is_forgotten(admitted: Observed, settings: Settings) -> None:
    task = admitted.task
    names = ("raw_frames", "yolox", "rtmpose", "bytetrack")
    wanted = plan(admitted, settings).actions[0]
    assert isinstance(wanted, act.RecordRun)
    kafka = KafkaSeen(record=wanted.record, topics={f"{name}_{task.run}": 1 for name in names})
    seen = replace(admitted, kafka=kafka, troubles=(Trouble("CreateTopics", "KafkaUnavailable", "lost"),))
    made = plan(seen, settings)
    assert kinds(made) == [*["CreateJob"] * 5, "WriteStatus"]
    assert said(made, ConditionType.TOPICS_READY) == ("True", "TopicsReady")


def test_a_strangers_job_under_our_name_is_left_alone(admitted: Observed, settings: Settings) -> None:
    job = JobSeen(job_name(admitted.task.run, "yolox", 1), "x", "", 0, "somebody-else")
    made = plan(replace(admitted, jobs=(job,)), settings)
    assert kinds(made) == ["WriteStatus"]
    assert said(made, ConditionType.JOBS_CREATED) == ("False", "NameTaken")


def test_settings_that_changed_restart_nothing(running: Observed, make_settings: Any) -> None:
    other = make_settings(profiles={"default": {"accelerator": "amd.com/gpu", "gpus": 1}}, image="new:2")
    assert plan(running, other).actions == ()
    without = make_settings(image=None)
    assert kinds(plan(running, without)) == []
    done = replace(running, jobs=tuple(replace(j, complete=True) for j in running.jobs))
    assert said(plan(done, without), ConditionType.SUCCEEDED) == ("True", "Completed")


def test_settings_that_changed_before_anything_was_made_take_the_admission_back(
    admitted: Observed, make_settings: Any
) -> None:
    made = plan(admitted, make_settings(image=None))
    assert made.status.admitted_time is None
    assert said(made, ConditionType.ADMITTED) == ("False", "UnknownStage")


def test_a_specification_of_another_version_is_said_and_left_alone(
    make_seen: MakeSeen, make_task: MakeTask, running: Observed, settings: Settings
) -> None:
    task = replace(make_task(), spec=None, problem="spec.x: extra inputs are not permitted")
    made = plan(make_seen(task), settings)
    assert said(made, ConditionType.ADMITTED) == ("False", "InvalidSpec")
    assert "spec.x" in made.status.message
    assert plan(replace(running, task=replace(running.task, spec=None)), settings).actions == ()


def test_jobs_of_an_attempt_that_is_over_are_taken_away(running: Observed, settings: Settings) -> None:
    old = JobSeen("demo-1f2e3d4c-yolox-0", "old", "yolox", 0, running.task.uid)
    made = plan(replace(running, jobs=(*running.jobs, old)), settings)
    assert made.actions == (act.DeleteJob("demo-1f2e3d4c-yolox-0", "old"),)


def test_every_delete_names_a_uid_and_none_is_asked_for_twice(running: Observed, settings: Settings) -> None:
    task = replace(running.task, deleting=START)
    made = plan(replace(running, task=task), settings)
    assert made.actions == tuple(act.DeleteJob(j.name, j.uid) for j in running.jobs)
    going = replace(running, task=task, jobs=tuple(replace(j, deleting=True) for j in running.jobs))
    assert plan(going, settings).actions == ()


def test_a_finalizer_goes_only_after_a_fresh_look_and_after_the_brokers(
    running: Observed, settings: Settings
) -> None:
    task, run = replace(running.task, deleting=START), running.task.run
    record = RunRecord("main", "lab", "demo", task.uid, run, (f"yolox_{run}",), (f"yolox_{run}",), ("yolox",))
    kafka = KafkaSeen(record=record, topics={f"yolox_{run}": 1}, progress_keys=frozenset({"yolox"}))
    seen = replace(running, task=task, jobs=(), pods=(), kafka=kafka)
    assert plan(replace(seen, fresh=False), settings) == act.Plan(task.status, needs_fresh=True)
    assert kinds(plan(seen, settings)) == [
        "DeleteGroups",
        "DeleteTopics",
        "TombstoneProgress",
        "ForgetRun",
        "RemoveFinalizer",
    ]


def test_a_deleted_task_whose_topics_are_gone_needs_no_brokers(running: Observed, settings: Settings) -> None:
    status = running.task.status.model_copy(update={"topics_deleted_time": START})
    task = replace(running.task, deleting=START, status=status)
    made = plan(replace(running, task=task, jobs=(), pods=(), kafka=None), settings)
    assert kinds(made) == ["RemoveFinalizer"]
    assert not look_at(task, settings).kafka


@pytest.mark.parametrize(
    ("away", "asked", "let_go"), [(1800, 1800, True), (1800, 60, False), (60, 1800, False)]
)
def test_brokers_are_gone_for_good_after_a_while(
    running: Observed, settings: Settings, away: int, asked: int, let_go: bool
) -> None:
    now = START + timedelta(seconds=2000)
    task = replace(running.task, deleting=now - timedelta(seconds=asked))
    kafka = KafkaSeen(away_since=now - timedelta(seconds=away), problem="no broker answers")
    made = plan(replace(running, now=now, task=task, jobs=(), pods=(), kafka=kafka), settings)
    assert (kinds(made) == ["WriteTombstone", "RemoveFinalizer"]) is let_go
    if not let_go:
        assert said(made, ConditionType.CLEANED_UP) == ("False", "KafkaUnavailable")


def test_an_orphaned_pod_is_deleted_after_a_fresh_look(running: Observed, settings: Settings) -> None:
    seen = replace(running, task=replace(running.task, deleting=START), jobs=())
    assert plan(replace(seen, fresh=False), settings).needs_fresh
    assert set(kinds(plan(seen, settings))) == {"DeletePod"}


def test_progress_is_written_no_more_often_than_said(running: Observed, settings: Settings) -> None:
    reports = {"annotator": ReportSeen("annotator", "running", START, 10)}
    seen = replace(running, reports=reports, slow_written_at=START)
    early = plan(later(seen, 4), settings)
    assert (early.actions, early.requeue_after) == ((), pytest.approx(6))
    due = plan(later(seen, 10), settings)
    assert [(type(a), a.slow) for a in due.actions if isinstance(a, act.WriteStatus)] == [
        (act.WriteStatus, True)
    ]


def test_a_suspended_task_is_never_admitted(
    make_seen: MakeSeen, make_task: MakeTask, settings: Settings
) -> None:
    made = plan(make_seen(make_task({"suspend": True})), settings)
    assert not made.wants_admission
    assert said(made, ConditionType.SUSPENDED) == ("True", "Suspended")


def test_a_task_holds_its_gang_until_its_last_pod_has_ended(running: Observed, settings: Settings) -> None:
    def gpus(seen: Observed) -> int:
        found = holding(seen, settings)
        return found.gpus if found is not None else 0

    assert gpus(running) == 2
    over = running.task.status.model_copy(update={"admitted_time": None})
    seen = replace(running, task=replace(running.task, status=over))
    assert gpus(replace(seen, jobs=())) == 2
    going = tuple(replace(p, grace_ends=START) for p in seen.pods if p.stage == "producer")
    assert gpus(replace(seen, jobs=(), pods=going)) == 2
    ended = tuple(replace(p, phase="Failed") for p in seen.pods)
    assert gpus(replace(seen, jobs=(), pods=ended)) == 0


def test_a_request_asks_for_the_next_attempt_with_all_gpus(make_seen: MakeSeen, settings: Settings) -> None:
    asked = request(make_seen(), settings)
    assert asked is not None
    assert (asked.key, asked.attempt, asked.gpus, asked.partitions) == ("lab/demo", 1, 2, 4)
    assert asked.queued == START


def test_a_loss_is_said_and_stays_said(running: Observed, settings: Settings) -> None:
    expired = FailureSeen("FramesExpired", "frames 3 to 9 left the brokers")
    reports = {"yolox": ReportSeen("yolox", "failed", START, 3, error=expired)}
    made = plan(replace(running, reports=reports), settings)
    assert said(made, ConditionType.DATA_INTACT) == ("False", "FramesExpired")
    seen = replace(running, task=replace(running.task, status=made.status), reports={})
    assert said(plan(seen, settings), ConditionType.DATA_INTACT) == ("False", "FramesExpired")


def test_frames_of_a_live_source_that_came_too_fast_are_counted(
    running: Observed, settings: Settings
) -> None:
    reports = {"producer": ReportSeen("producer", "running", START, 90, facts={"dropped": 7})}
    made = plan(replace(running, reports=reports), settings)
    assert said(made, ConditionType.DATA_INTACT) == ("False", "FramesDropped")
    assert made.status.progress is not None
    assert made.status.progress.frames_dropped == 7


def test_damage_and_frames_given_up_are_said(running: Observed, settings: Settings) -> None:
    decode = {"decode": {"problems": ["3 frames are damaged"]}}
    reports = {
        "producer": ReportSeen("producer", "running", START, 3, facts=decode),
        "yolox": ReportSeen("yolox", "running", START, 3, quarantined=2),
    }
    made = plan(replace(running, reports=reports), settings)
    found = made.status.condition(ConditionType.DATA_INTACT)
    assert found is not None
    assert (found.reason, found.message) == (
        "DamagedInput",
        "3 frames are damaged; 2 frames were given up, and stand empty",
    )


def test_what_an_empty_status_says_of_itself_is_nothing() -> None:
    assert PoseTaskStatus().terminal is None
    assert FINALIZER == "posetask.io/cleanup"
