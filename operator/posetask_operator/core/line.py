"""The queue of one profile: who is next, and how long it can take at most.

The order is priority, then the namespace that was served longest ago, then first come, first served. Priority
and turns alone could keep a task waiting for ever, so each has a bound: with ``a`` tasks ahead of it when it
came, at most ``2 a`` are admitted before it. That is a deadline in admissions, and the queue keeps such
deadlines as unit jobs on one machine are kept (earliest due date, Jackson 1955): as soon as the k tasks with
the nearest deadlines have none to spare for others, one of these k is next. A task that was overtaken as
often as it had tasks ahead, with nobody left ahead, is such a set of one: the only candidate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from posetask_operator.core.claims import Request

_NEVER = (datetime.min.replace(tzinfo=UTC), 0)


@dataclass(slots=True)
class Place:
    """A place in a queue.

    Attributes:
        left: Admissions that may still be made before this one.
        order: Of arrival, unique.
    """

    request: Request
    left: int
    order: int

    @property
    def key(self) -> str:
        """Of the task."""
        return self.request.key

    @property
    def since(self) -> tuple[datetime, int]:
        """First come, first served."""
        return self.request.queued, self.order


class Line:
    """Places, in no order but the one that is worked out when somebody asks."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._served: dict[str, tuple[datetime, int]] = {}
        self._count = 0

    def __len__(self) -> int:
        """Tasks that wait."""
        return len(self._places)

    def requests(self) -> tuple[Request, ...]:
        """Of all that wait."""
        return tuple(place.request for place in self._places.values())

    def enter(self, request: Request) -> Place:
        """Take a place, or keep it; the priority may have changed, the bound stays."""
        known = self._places.get(request.key)
        if known is not None and known.request.attempt == request.attempt:
            known.request = request
            return known
        self.leave(request.key)
        self._count += 1
        place = Place(request, 0, self._count)
        place.left = 2 * self.ahead(place)
        self._places[request.key] = place
        return place

    def leave(self, key: str) -> None:
        """Wait no more."""
        self._places.pop(key, None)

    def served(self, namespace: str, moment: datetime) -> None:
        """One of its tasks was admitted then."""
        self._count += 1
        self._served[namespace] = max(self._served.get(namespace, _NEVER), (moment, self._count))

    def admit(self, place: Place, moment: datetime, shut: frozenset[str] = frozenset()) -> None:
        """It leaves as the next one; time stands still for those that cannot be."""
        self.leave(place.key)
        for other in self._places.values():
            other.left -= other.request.namespace not in shut
        self.served(place.request.namespace, moment)

    def first(self, shut: frozenset[str] = frozenset()) -> Place | None:
        """Who is next.

        Args:
            shut: Namespaces of which nobody can be; they hold nobody else up.
        """
        places = [p for p in self._places.values() if p.request.namespace not in shut]
        return min(_candidates(places), key=self._rank, default=None)

    def ahead(self, place: Place) -> int:
        """Tasks that go before a place: by the order, and so many more as their bounds demand."""
        others = [p for p in self._places.values() if p is not place]
        due = {p.key for p in _due(others, place.left if place.key in self._places else None)}
        ahead = len(due | self._before(place, others))
        lefts = [p.left for p in others]
        while ahead < len(lefts) and not _kept([*lefts, 2 * ahead]):
            ahead += 1
        return ahead

    def _rank(self, place: Place) -> tuple[int, tuple[datetime, int], tuple[datetime, int]]:
        request = place.request
        return -request.priority, self._served.get(request.namespace, _NEVER), place.since

    def _before(self, place: Place, others: Iterable[Place]) -> set[str]:
        """Those of others that the order puts before a place, with namespaces taking turns."""
        request = place.request
        before: set[str] = set()
        same: dict[str, list[Place]] = {request.namespace: []}
        for other in others:
            if other.request.priority > request.priority:
                before.add(other.key)
            elif other.request.priority == request.priority:
                same.setdefault(other.request.namespace, []).append(other)
        own = sorted((o for o in same.pop(request.namespace) if o.since < place.since), key=_since)
        mine = self._rank(own[0] if own else place)
        for places in same.values():
            places.sort(key=_since)
            rounds = len(own) + (self._rank(places[0]) < mine)
            before |= {o.key for o in places[:rounds]}
        return before | {o.key for o in own}


def _since(place: Place) -> tuple[datetime, int]:
    return place.since


def _candidates(places: list[Place]) -> list[Place]:
    """The smallest set that has no admission to spare for others; all where there is none."""
    places = sorted(places, key=lambda p: (p.left, p.since))
    for number, place in enumerate(places):
        if place.left <= number:
            return places[: number + 1]
    return places


def _due(places: list[Place], left: int | None) -> list[Place]:
    """The largest set that has nothing to spare for one more, which has so much left itself."""
    places = sorted((p for p in places if left is None or p.left < left), key=lambda p: p.left)
    sizes = [number + 1 for number, place in enumerate(places) if place.left <= number]
    return places[: sizes[-1]] if sizes else []


def _kept(lefts: list[int]) -> bool:
    """Whether all bounds can be kept: the k-th to go has k before it.

    >>> _kept([0, 1, 2]), _kept([1, 0, 0])
    (True, False)
    """
    return all(left >= number for number, left in enumerate(sorted(lefts)))
