"""The operator dies, or an answer is lost, at any action: the end is the same, and nothing is made twice."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FAULTS = ("killed before", "killed after", "lost", "refused")
Live = Callable[[Any, Any], Any]


def plain(world: Any, quick: Any) -> Any:
    task = world.add("demo", **quick)
    world.run(120, lambda: world.cleaned(task))
    return task


def retried(world: Any, quick: Any) -> Any:
    fate = lambda stage, attempt: "flaky" if (stage, attempt) == ("yolox", 1) else "ok"  # noqa: E731
    task = world.add("demo", fate, **quick)
    world.run(160, lambda: world.cleaned(task))
    return task


def failing(world: Any, quick: Any) -> Any:
    task = world.add("demo", lambda stage, attempt: "bad" if stage == "producer" else "ok", **quick)
    world.run(120, lambda: world.cleaned(task))
    return task


def suspended(world: Any, quick: Any) -> Any:
    task = world.add("demo", **quick)
    world.run(4)
    world.edit(task, suspend=True)
    world.run(8)
    world.edit(task, suspend=False)
    world.run(120, lambda: world.cleaned(task))
    return task


def deleted(world: Any, quick: Any) -> Any:
    task = world.add("demo", **quick)
    world.run(4)
    world.delete(task)
    world.run(120, lambda: task.key not in world.tasks)
    return task


def fused(world: Any, quick: Any) -> Any:
    task = world.add("demo", **quick, execution={"mode": "Fused"})
    world.run(120, lambda: world.cleaned(task))
    return task


LIVES = [plain, retried, failing, suspended, deleted, fused]


def outcome(world: Any, task: Any) -> Any:
    """What must not depend on faults."""
    status = world.status(task)
    conditions = {c.type: (c.status, c.reason) for c in status.conditions}
    there = task.key in world.tasks
    return (
        there,
        (status.attempt, status.retries, status.ready_timeouts, status.state) if there else None,
        conditions if there else None,
        (status.result, status.progress and status.progress.summary) if there and status.result else None,
        world.left(),
        {name: count for name, count in world.made.items() if count > 1},
        sorted(world.made),
        world.admission.used("default"),
    )


def check(make_world: Any, quick: Any, live: Live, fault: str, first: int, stride: int) -> None:
    reference = make_world()
    wanted = outcome(reference, live(reference, quick))
    assert reference.actions > 10
    for number in range(first, reference.actions, stride):
        world = make_world()
        world.faults = {number: fault}
        task = live(world, quick)
        assert outcome(world, task) == wanted, f"{fault} at {number}: {reference.log[number]}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("live", LIVES)
def test_a_fault_at_every_action_changes_nothing_in_the_end(
    make_world: Any, quick: Any, live: Live, fault: str
) -> None:
    check(make_world, quick, live, fault, 0, 1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("live", LIVES)
def test_a_fault_at_some_actions_changes_nothing_in_the_end(make_world: Any, quick: Any, live: Live) -> None:
    for number, fault in enumerate(FAULTS):
        check(make_world, quick, live, fault, number, 17)


@pytest.mark.timeout(300)
@given(
    live=st.sampled_from(LIVES),
    faults=st.dictionaries(st.integers(0, 60), st.sampled_from(FAULTS), max_size=12),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_many_faults_in_one_life_change_nothing_in_the_end(
    make_world: Any, quick: Any, live: Live, faults: dict[int, str]
) -> None:
    reference, world = make_world(), make_world()
    wanted = outcome(reference, live(reference, quick))
    world.faults = faults
    assert outcome(world, live(world, quick)) == wanted
