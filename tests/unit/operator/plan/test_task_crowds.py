"""Many tasks at once in the small world: gangs of several sizes, faults, and people who change their mind."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FATES = ("ok", "ok", "ok", "ok", "bad", "flaky", "stuck", "killed")
FAULTS = ("killed before", "killed after", "lost", "refused")


def live(
    make_world: Any, quick: Any, rng: random.Random, count: int, faults: int, *, outages: bool, lagging: bool
) -> Any:
    """So many tasks come, live, and go; returns the world once all is over."""
    world = make_world(requeues=1, timings={"requeue_base": 10})
    world.lagging = lagging
    world.faults = {rng.randrange(40 * count): rng.choice(FAULTS) for _ in range(faults)}
    tasks: list[Any] = []
    for _ in range(200 * count):
        if len(tasks) < count and rng.random() < 0.5:
            tasks.append(arrive(world, quick, rng, len(tasks)))
        for task in tasks:
            if task.key in world.tasks and rng.random() < 0.02:
                change_mind(world, task, rng)
        if outages and rng.random() < 0.1:
            world.kafka_away = None if world.kafka_away else world.now
        world.settle(200)
        world.step()
        assert world.most_gpus <= 4
        if len(tasks) == count and all(world.cleaned(t) for t in tasks if not t.spec.get("suspend")):
            break
    world.kafka_away = None
    for task in tasks:
        if task.key in world.tasks and task.spec.get("suspend"):
            world.edit(task, suspend=False)
    assert world.run(200 * count, lambda: all(world.cleaned(t) for t in tasks)), [
        world.status(t).message for t in tasks if not world.cleaned(t)
    ]
    return world


def arrive(world: Any, quick: Any, rng: random.Random, number: int) -> Any:
    bad_stage, fate = rng.choice(("producer", "yolox", "annotator")), rng.choice(FATES)
    fates = [fate, rng.choice(FATES)]

    def fated(stage: str, attempt: int) -> str:
        return fates[min(attempt, 2) - 1] if stage == bad_stage else "ok"

    spec: dict[str, Any] = {"retries": rng.choice((0, 1))}
    if rng.random() < 0.3:
        spec["execution"] = {"mode": "Fused"}
    else:
        replicas = rng.choice((1, 1, 2))
        spec["stages"] = [{"name": "yolox", "replicas": replicas}, {"name": "rtmpose", "replicas": replicas}]
    spec["scheduling"] = quick["scheduling"] | {"priority": rng.choice((-1, 0, 0, 3))}
    return world.add(f"t{number}", fated, rng.choice(("lab", "lab", "field")), **(quick | spec))


def change_mind(world: Any, task: Any, rng: random.Random) -> None:
    what = rng.choice(("suspend", "suspend", "resume", "resume", "cancel", "delete"))
    if what == "delete":
        world.delete(task)
    elif what == "cancel":
        world.edit(task, cancel=True)
    else:
        world.edit(task, suspend=what == "suspend")


def check(world: Any) -> None:
    assert world.left() == {}
    assert {name: count for name, count in world.made.items() if count > 1} == {}
    assert (world.admission.used("default"), world.admission.waiting("default")) == (0, 0)


@pytest.mark.timeout(300)
@given(seed=st.integers(0, 2**32), faults=st.integers(0, 8), outages=st.booleans(), lagging=st.booleans())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_crowd_ends_clean(
    make_world: Any, quick: Any, seed: int, faults: int, outages: bool, lagging: bool
) -> None:
    check(live(make_world, quick, random.Random(seed), 5, faults, outages=outages, lagging=lagging))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_large_crowd_ends_clean(make_world: Any, quick: Any) -> None:
    for seed in range(4):
        check(live(make_world, quick, random.Random(seed), 50, 20, outages=False, lagging=bool(seed % 2)))
