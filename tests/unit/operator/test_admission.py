"""Gang admission: the order, the bounds, the budgets, and what the ones who wait are told."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from posetask_operator.core.admission import Admission
from posetask_operator.core.claims import Holding, Request
from posetask_operator.core.observed import Granted, Waiting
from posetask_operator.settings import Settings

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
MakeSettings = Callable[..., Settings]


def want(name: str, gpus: int = 1, namespace: str = "lab", **given: Any) -> Request:
    asked = Request(f"{namespace}/{name}", namespace, "default", 1, gpus, 4, 0, START)
    return replace(asked, **given)


def have(asked: Request, **given: Any) -> Holding:
    held = Holding(asked.namespace, asked.profile, asked.attempt, asked.gpus, True, since=START)
    return replace(held, **given)


def order(admission: Admission, waiting: list[Request]) -> list[str]:
    """Everybody asks until nobody is left; each one that is granted ends at once."""
    out: list[str] = []
    left = {r.key: r for r in waiting}
    while left:
        before = len(out)
        for key in admission.ready():
            assert isinstance(admission.ask(left[key], START), Granted)
            out.append(left.pop(key).key.split("/")[1])
            admission.forget(key)
        assert len(out) > before, "nobody is ready, and some wait"
    return out


def queue_behind_one(settings: Settings, waiting: list[Request]) -> tuple[Admission, list[Waiting]]:
    """All of them asked while another task held every GPU, which it then gave back."""
    admission = Admission(settings)
    admission.report("x/first", have(want("first", 4), namespace="x"))
    said = [admission.ask(request, START) for request in waiting]
    admission.forget("x/first")
    assert all(isinstance(verdict, Waiting) for verdict in said)
    return admission, [verdict for verdict in said if isinstance(verdict, Waiting)]


def test_first_come_first_served(settings: Settings) -> None:
    waiting = [want(name, queued=START + timedelta(seconds=n)) for n, name in enumerate("abcd")]
    admission, said = queue_behind_one(settings, waiting)
    assert [verdict.position for verdict in said] == [1, 2, 3, 4]
    assert order(admission, waiting) == ["a", "b", "c", "d"]


def test_priority_goes_first_but_not_before_one_that_may_not_be_overtaken(settings: Settings) -> None:
    waiting = [want("a"), want("b"), want("c"), want("high", priority=9)]
    admission, said = queue_behind_one(settings, waiting)
    assert said[-1].position == 2
    assert order(admission, waiting) == ["a", "high", "b", "c"]


def test_namespaces_take_turns(settings: Settings) -> None:
    waiting = [want(f"a{n}", namespace="a") for n in range(4)] + [want("b0", namespace="b")]
    admission, said = queue_behind_one(settings, waiting)
    assert said[-1].position == 2
    assert order(admission, waiting)[:2] == ["a0", "b0"]


def test_nobody_is_let_past_a_head_that_does_not_fit(settings: Settings) -> None:
    admission = Admission(settings)
    assert isinstance(admission.ask(want("runs", 3), START), Granted)
    large = admission.ask(want("large", 4), START)
    small = admission.ask(want("small", 1), START)
    assert isinstance(large, Waiting)
    assert isinstance(small, Waiting)
    assert (large.position, large.reason) == (1, "WaitingForGPUs")
    assert large.message == "next in line; needs 4 GPUs at once, 1 of 4 in profile default are free"
    assert (small.position, small.reason) == (2, "WaitingForTurn")
    assert small.message == (
        "position 2 in the queue of profile default; next is lab/large, "
        "which needs 4 GPUs at once, 1 of 4 in profile default are free"
    )


def test_what_was_granted_stays_granted_until_the_attempt_shows(settings: Settings) -> None:
    admission, asked = Admission(settings), want("a", 4)
    assert [admission.ask(asked, START) for _ in range(2)] == [Granted(), Granted()]
    assert admission.used("default") == 4
    admission.report("lab/a", None)  # the write of its admission has not come through yet
    assert admission.used("default") == 4
    admission.report("lab/a", have(asked))
    assert admission.used("default") == 4
    admission.report("lab/a", None)
    assert admission.used("default") == 0


def test_a_grant_that_is_not_taken_goes_back(settings: Settings) -> None:
    admission = Admission(settings)
    admission.ask(want("a", 4), START)
    admission.withdraw("lab/a")
    assert isinstance(admission.ask(want("b", 4), START), Granted)


def test_nothing_is_granted_before_every_task_was_looked_at(settings: Settings) -> None:
    admission = Admission(settings)
    admission.expect(["lab/old", "lab/new"])
    said = admission.ask(want("new", 4), START)
    assert isinstance(said, Waiting)
    admission.report("lab/new", None)
    assert admission.ready() == ()
    admission.report("lab/old", have(want("old", 2)))
    assert admission.ready() == ()  # two of four are free
    admission.report("lab/old", None)
    assert admission.ready() == ("lab/new",)


def test_a_task_that_can_never_fit_stands_in_no_queue(settings: Settings) -> None:
    admission = Admission(settings)
    said = admission.ask(want("big", 5), START)
    assert said == Waiting(0, "DoesNotFit", "needs 5 GPUs at once, and profile default has 4")
    assert isinstance(admission.ask(want("a", 4), START), Granted)


def test_gpus_are_counted_where_the_settings_leave_it_open(make_settings: MakeSettings) -> None:
    admission = Admission(make_settings(profiles={"default": {"accelerator": "nvidia.com/gpu"}}))
    said = admission.ask(want("a", 2), START)
    assert isinstance(said, Waiting)
    assert said.reason == "WaitingForGPUs"
    admission.capacity("default", 2)
    assert admission.ready() == ("lab/a",)


def test_a_profile_without_gpus_may_bound_its_tasks(make_settings: MakeSettings) -> None:
    admission = Admission(make_settings(profiles={"default": {"tasks": 1}}))
    assert isinstance(admission.ask(want("a", 0), START), Granted)
    said = admission.ask(want("b", 0), START)
    assert isinstance(said, Waiting)
    assert said.message == "next in line; profile default runs 1 tasks, the most it may"


def test_a_namespace_that_runs_all_it_may_holds_nobody_up(make_settings: MakeSettings) -> None:
    admission = Admission(make_settings(storage={"root": "s3://r", "namespaces": {"a": {"max_tasks": 1}}}))
    assert isinstance(admission.ask(want("one", namespace="a"), START), Granted)
    said = admission.ask(want("two", namespace="a"), START)
    assert said == Waiting(0, "WaitingForTurn", "namespace a runs as many tasks as it may")
    assert isinstance(admission.ask(want("three", namespace="b"), START), Granted)
    admission.forget("a/one")
    assert admission.ready() == ("a/two",)


def test_partitions_are_reserved_before_they_are_made(make_settings: MakeSettings) -> None:
    admission = Admission(make_settings(kafka={"partition_budget": 10}))
    admission.partitions(2)  # somebody else's
    assert isinstance(admission.ask(want("a"), START), Granted)
    assert isinstance(admission.ask(want("b"), START), Granted)
    said = admission.ask(want("c"), START)
    assert isinstance(said, Waiting)
    assert (said.reason, said.message) == (
        "WaitingForPartitions",
        "next in line; needs 4 partitions, 10 of 10 are taken",
    )
    admission.report("lab/a", have(want("a"), partitions=4, partitions_there=4))
    admission.partitions(6)
    assert admission.ready() == ()
    admission.report("lab/a", None)
    admission.partitions(2)
    assert admission.ready() == ("lab/c",)


@dataclass
class Client:
    """A task of the randomised crowd."""

    request: Request
    ticks: int
    ends: list[str]
    ahead: int = 0
    before: int = 0
    state: str = "away"
    until: int = 0


@dataclass
class Crowd:
    """Tasks that come, run, fail, are suspended, and leave pods that take their time; and the desk."""

    budget: int
    settings: Settings
    clients: list[Client] = field(default_factory=list)
    tick: int = 0
    admitted: int = 0
    worst: float = 0.0

    def __post_init__(self) -> None:
        self.admission = Admission(self.settings)

    def ask(self, client: Client) -> None:
        fresh = client.state != "waiting"
        verdict = self.admission.ask(client.request, START + timedelta(seconds=self.tick))
        if isinstance(verdict, Waiting):
            assert 0 < verdict.position <= self.admission.waiting("default")
            if fresh:
                client.ahead, client.before = verdict.position - 1, 0
            client.state = "waiting"
            return
        if fresh:
            client.ahead = client.before = 0
        assert client.before <= 2 * client.ahead, (client.before, client.ahead)
        self.worst = max(self.worst, client.before / client.ahead if client.ahead else 0)
        self.admitted += 1
        for other in self.clients:
            other.before += other.state == "waiting" and other is not client
        client.state, client.until = "running", self.tick + client.ticks
        self.hold(client)

    def hold(self, client: Client) -> None:
        holds = client.state in {"running", "terminating"}
        self.admission.report(client.request.key, have(client.request) if holds else None)
        used = sum(c.request.gpus for c in self.clients if c.state in {"running", "terminating"})
        assert used <= self.budget

    def again(self, client: Client) -> None:
        """The next attempt."""
        queued = START + timedelta(seconds=self.tick)
        client.request = replace(client.request, attempt=client.request.attempt + 1, queued=queued)
        self.ask(client)

    def step(self, rng: random.Random) -> None:
        self.tick += 1
        for client in self.clients:
            if client.state == "waiting" and rng.random() < 0.02:
                self.admission.withdraw(client.request.key)  # suspended while it waits
                client.state, client.until = "suspended", self.tick + rng.randint(1, 5)
            elif client.state == "running" and self.tick >= client.until:
                client.state, client.until = "terminating", self.tick + rng.randint(0, 3)
                self.hold(client)
            elif client.state == "terminating" and self.tick >= client.until:
                end = client.ends.pop(0) if client.ends else "done"
                client.state, client.until = end, self.tick + rng.randint(1, 4)
                self.hold(client)
            elif client.state in {"failed", "suspended"} and self.tick >= client.until:
                self.again(client)
        self.wake()

    def wake(self) -> None:
        by_key = {c.request.key: c for c in self.clients}
        while ready := self.admission.ready():
            for key in ready:
                self.ask(by_key[key])


def crowd(settings: Settings, rng: random.Random, count: int, budget: int, arrivals: float) -> Crowd:
    """Runs until everybody is done; more is asked for than there is, most of the time."""
    made = Crowd(budget, settings)
    while len(made.clients) < count or any(c.state != "done" for c in made.clients):
        if len(made.clients) < count and rng.random() < arrivals:
            number = len(made.clients)
            asked = want(
                f"t{number}",
                rng.randint(1, budget),
                rng.choice("aaab"),
                priority=rng.choice((-1, 0, 0, 0, 5)),
                queued=START + timedelta(seconds=made.tick),
            )
            ends = rng.choices(("failed", "suspended"), k=rng.choice((0, 0, 1, 2)))
            made.clients.append(Client(asked, rng.randint(1, 6), ends))
            made.ask(made.clients[-1])
        made.step(rng)
        assert made.tick < 60 * count + 500, "they wait for ever"
    return made


def test_a_thousand_random_admissions_keep_budget_and_bounds(make_settings: MakeSettings) -> None:
    settings = make_settings(profiles={"default": {"accelerator": "nvidia.com/gpu", "gpus": 8}})
    rng = random.Random(6)
    crowds = [crowd(settings, rng, 40, 8, arrivals) for arrivals in (0.2, 0.5, 0.9, 1.0) for _ in range(4)]
    assert sum(c.admitted for c in crowds) >= 1000
    assert max(c.worst for c in crowds) > 1  # the bound was needed


@given(seed=st.integers(0, 2**32), budget=st.integers(1, 8), arrivals=st.floats(0.1, 1.0))
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_crowd_is_served_within_its_bounds(
    make_settings: MakeSettings, seed: int, budget: int, arrivals: float
) -> None:
    settings = make_settings(profiles={"default": {"accelerator": "nvidia.com/gpu", "gpus": budget}})
    made = crowd(settings, random.Random(seed), 20, budget, arrivals)
    assert made.admission.used("default") == 0
    assert made.admission.waiting("default") == 0


@pytest.mark.parametrize("other", [1, -1])
def test_a_changed_priority_moves_a_task_but_never_its_bound(settings: Settings, other: int) -> None:
    waiting = [want("a"), want("b"), want("c"), want("d")]
    admission, _ = queue_behind_one(settings, waiting)
    waiting[3] = replace(waiting[3], priority=other)
    admission.ask(waiting[3], START)
    assert order(admission, waiting) == (["a", "d", "b", "c"] if other > 0 else ["a", "b", "c", "d"])
