"""Gang admission: who may begin, and in which order.

A task that waits holds nothing. It is granted all that it needs at once, or nothing. Each profile has one
queue, and nobody is let past a head that does not fit yet (no backfill): a large task would starve.

The order: priority, then the namespace that was served longest ago, then first come, first served. Priority
and turns could keep a task waiting for ever, so each has a bound: with ``a`` tasks ahead of it when it came,
at most ``2 a`` are admitted before it. That is a deadline in admissions, and it is kept as unit jobs with
deadlines are (earliest deadline first, Liu & Layland 1973): as soon as some set of tasks has no admission to
spare, only members of that set are candidates. A task that has been overtaken as often as it had tasks ahead
is such a set with those that are still ahead of it.

State lives in memory alone, and is rebuilt from what the tasks are seen to hold; nothing is granted before
every task was looked at once. Not for use by several threads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from posetask.spec import Reason
from posetask_operator.core.claims import Holding, Request
from posetask_operator.core.observed import Granted, Waiting
from posetask_operator.settings import Settings

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Place:
    """A place in a queue.

    Attributes:
        left: Admissions that may still be made before this one.
        order: Of arrival, unique.
    """

    request: Request
    left: int
    order: int


class Admission:
    """The one desk at which all tasks of an installation ask.

    Args:
        settings: Budgets.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queues: dict[str, dict[str, _Place]] = {}  # by profile, by key
        self._held: dict[str, Holding] = {}
        self._granted: dict[str, Request] = {}
        self._served: dict[str, tuple[datetime, int]] = {}
        self._unseen: set[str] = set()
        self._capacity: dict[str, int | None] = {}
        self._partitions = 0
        self._count = 0

    def expect(self, keys: Iterable[str]) -> None:
        """Grant nothing before these tasks were reported, or withdrawn, once."""
        self._unseen |= set(keys)

    def capacity(self, profile: str, gpus: int | None) -> None:
        """GPUs of a profile whose budget the settings leave open: allocatable minus what others use there.

        None: not known yet, and nothing that needs a GPU is granted.
        """
        self._capacity[profile] = gpus

    def partitions(self, total: int) -> None:
        """Partitions of all topics of the brokers, as seen last."""
        self._partitions = total

    def report(self, key: str, holding: Holding | None) -> None:
        """What a task is seen to hold; its grant ends once the attempt shows."""
        self._unseen.discard(key)
        if holding is None:
            self._held.pop(key, None)
            return
        self._held[key] = holding
        granted = self._granted.get(key)
        if granted is not None and holding.attempt >= granted.attempt:
            del self._granted[key]
        since = holding.since
        if since is not None and self._served.get(holding.namespace, (_NEVER, 0))[0] < since:
            self._serve(holding.namespace, since)

    def withdraw(self, key: str) -> None:
        """The task waits no more; what was granted to it and not taken goes back."""
        self._unseen.discard(key)
        self._granted.pop(key, None)
        self._leave(key)

    def forget(self, key: str) -> None:
        """The task is gone."""
        self.withdraw(key)
        self._held.pop(key, None)

    def ask(self, request: Request, now: datetime) -> Granted | Waiting:
        """May this attempt begin? Asked again at every look, and granted once."""
        granted = self._granted.get(request.key)
        if granted is not None and granted.attempt == request.attempt:
            return Granted()
        most = self._gpus(request.profile)
        if most is not None and request.gpus > most:
            self._leave(request.key)
            text = f"needs {request.gpus} GPUs at once, and profile {request.profile} has {most}"
            return Waiting(0, Reason.DOES_NOT_FIT, text)
        place = self._enter(request)
        if self._unseen:
            return Waiting(
                self._position(place),
                Reason.WAITING_FOR_TURN,
                "the operator has just begun, and looks at all tasks before it admits one",
            )
        first = self._candidate(request.profile)
        if first is not place:
            return self._behind(place, first)
        wait = self._lacks(request)
        if wait is not None:
            return wait
        self._grant(place, now)
        return Granted()

    def ready(self) -> tuple[str, ...]:
        """Tasks that would be granted if they asked now: the edge looks at them."""
        if self._unseen:
            return ()
        heads = (self._candidate(profile) for profile in self._queues)
        return tuple(h.request.key for h in heads if h is not None and self._lacks(h.request) is None)

    def waiting(self, profile: str) -> tuple[str, ...]:
        """Tasks of a queue in the order in which they would be admitted if nobody else came."""
        places = self._places(profile)
        return tuple(p.request.key for p in sorted(places, key=self._position))

    def used(self, profile: str) -> int:
        """GPUs that tasks hold, or were granted."""
        held = sum(h.gpus for k, h in self._held.items() if h.profile == profile and k not in self._granted)
        return held + sum(
            max(r.gpus, self._held[k].gpus if k in self._held else 0)
            for k, r in self._granted.items()
            if r.profile == profile
        )

    # Places in the queue

    def _enter(self, request: Request) -> _Place:
        known = self._queues.get(request.profile, {}).get(request.key)
        if known is not None and known.request.attempt == request.attempt:
            known.request = request  # the priority may have changed; its bound stays
            return known
        self._leave(request.key)
        queue = self._queues.setdefault(request.profile, {})
        self._count += 1
        place = _Place(request, 0, self._count)
        place.left = 2 * self._ahead(place, list(queue.values()))
        queue[request.key] = place
        return place

    def _leave(self, key: str) -> None:
        for profile, queue in list(self._queues.items()):
            queue.pop(key, None)
            if not queue:
                del self._queues[profile]

    def _ahead(self, new: _Place, others: list[_Place]) -> int:
        """Tasks that go before a new one: by the order, and so many more as their bounds demand."""
        ahead = self._before(new, others)
        lefts = sorted(p.left for p in others)
        while ahead < len(lefts) and not _feasible(lefts, 2 * ahead):
            ahead += 1
        return ahead

    def _before(self, place: _Place, others: Iterable[_Place]) -> int:
        """How many of others the order puts before a place, with namespaces taking turns."""
        mine, request = self._turn(place), place.request
        before, same = 0, dict[str, int]()
        for other in others:
            if other is place:
                continue
            if other.request.priority != request.priority:
                before += other.request.priority > request.priority
            elif other.request.namespace == request.namespace:
                before += _fifo(other) < _fifo(place)
            else:
                same[other.request.namespace] = same.get(other.request.namespace, 0) + 1
        rounds = sum(
            _fifo(o) < _fifo(place)
            for o in others
            if o is not place
            and o.request.namespace == request.namespace
            and o.request.priority == request.priority
        )
        for namespace, count in same.items():
            first = self._served.get(namespace, (_NEVER, 0)) < mine[1]
            before += min(count, rounds + 1 if first else rounds)
        return before

    def _turn(self, place: _Place) -> tuple[int, tuple[datetime, int], tuple[datetime, int]]:
        request = place.request
        return -request.priority, self._served.get(request.namespace, (_NEVER, 0)), _fifo(place)

    def _places(self, profile: str) -> list[_Place]:
        """Those that may be admitted: a namespace that runs as many tasks as it may holds nobody up."""
        return [p for p in self._queues.get(profile, {}).values() if self._room(p.request)]

    def _candidate(self, profile: str) -> _Place | None:
        places = sorted(self._places(profile), key=lambda p: (p.left, _fifo(p)))
        for number, place in enumerate(places):
            if place.left <= number:  # these have no admission to spare for others
                places = places[: number + 1]
                break
        return min(places, key=self._turn, default=None)

    def _position(self, place: _Place) -> int:
        places = self._places(place.request.profile)
        first = self._candidate(place.request.profile)
        if first is place:
            return 1
        due = sum(p.left < place.left and p.left <= 1 for p in places if p is not place)
        return 1 + max(1, due, self._before(place, places))

    def _grant(self, place: _Place, now: datetime) -> None:
        request = place.request
        for other in self._places(request.profile):
            other.left -= 1
        self._leave(request.key)
        self._granted[request.key] = request
        self._serve(request.namespace, now)

    def _serve(self, namespace: str, moment: datetime) -> None:
        self._count += 1
        self._served[namespace] = (moment, self._count)

    # What there is

    def _gpus(self, profile: str) -> int | None:
        found = self._settings.profiles.get(profile)
        if found is None:
            return 0
        if found.accelerator is None:
            return None
        return found.gpus if found.gpus is not None else self._capacity.get(profile)

    def _lacks(self, request: Request) -> Waiting | None:
        """What the first of the queue waits for."""
        profile = self._settings.profiles[request.profile]
        most, used = self._gpus(request.profile), self.used(request.profile)
        if request.gpus and most is None:
            return Waiting(1, Reason.WAITING_FOR_GPUS, f"the GPUs of profile {request.profile} are counted")
        if most is not None and used + request.gpus > most:
            text = (
                f"next in line; needs {request.gpus} GPUs at once, "
                f"{max(0, most - used)} of {most} in profile {request.profile} are free"
            )
            return Waiting(1, Reason.WAITING_FOR_GPUS, text)
        running = self._running(request.profile)
        if profile.tasks is not None and running >= profile.tasks:
            text = f"next in line; profile {request.profile} runs {running} tasks, the most it may"
            return Waiting(1, Reason.WAITING_FOR_TURN, text)
        budget = self._settings.kafka.partition_budget
        total = self._all_partitions()
        if budget is not None and request.partitions and total + request.partitions > budget:
            text = f"next in line; needs {request.partitions} partitions, {total} of {budget} are taken"
            return Waiting(1, Reason.WAITING_FOR_PARTITIONS, text)
        return None

    def _behind(self, place: _Place, first: _Place | None) -> Waiting:
        request = place.request
        if not self._room(request):
            grant = self._settings.storage.grant(request.namespace)
            most = grant.max_tasks if grant is not None else 0
            text = f"namespace {request.namespace} runs {most} tasks, the most it may"
            return Waiting(0, Reason.WAITING_FOR_TURN, text)
        position = self._position(place)
        text = f"position {position} in the queue of profile {request.profile}"
        if first is not None:
            text = f"{text}; next is {first.request.key}"
            lacks = self._lacks(first.request)
            if lacks is not None:
                text = f"{text}, which {lacks.message.removeprefix('next in line; ')}"
        return Waiting(position, Reason.WAITING_FOR_TURN, text)

    def _running(self, profile: str) -> int:
        held = {k for k, h in self._held.items() if h.runs and h.profile == profile}
        return len(held | {k for k, r in self._granted.items() if r.profile == profile})

    def _room(self, request: Request) -> bool:
        grant = self._settings.storage.grant(request.namespace)
        if grant is None or grant.max_tasks is None:
            return True
        held = {k for k, h in self._held.items() if h.runs and h.namespace == request.namespace}
        granted = {k for k, r in self._granted.items() if r.namespace == request.namespace}
        return len(held | granted) < grant.max_tasks

    def _all_partitions(self) -> int:
        """Of others, and of all our tasks, made or still to be made."""
        ours = self._held.items()
        others = max(0, self._partitions - sum(h.partitions_there for _, h in ours))
        held = sum(max(h.partitions, h.partitions_there) for k, h in ours if k not in self._granted)
        return others + held + sum(r.partitions for r in self._granted.values())


def _fifo(place: _Place) -> tuple[datetime, int]:
    return place.request.queued, place.order


def _feasible(lefts: list[int], new: int) -> bool:
    """Whether one more with ``new`` admissions to spare can be kept: the k-th to go has k before it."""
    return all(left >= number for number, left in enumerate(sorted([*lefts, new])))
