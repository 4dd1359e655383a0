"""Gang admission: a task that waits holds nothing, and is granted all that it needs at once, or nothing.

Each profile has one queue (:class:`posetask_operator.core.line.Line`), and nobody is let past a head
that does not fit yet (no backfill): a large task would starve. A namespace that runs as many tasks as it may
holds nobody up, and its tasks wait beside the queue.

State lives in memory alone. It is rebuilt from what the tasks are seen to hold; nothing is granted before
every task was looked at once. For one event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from posetask.spec import Reason
from posetask_operator.core.claims import Holding, Request
from posetask_operator.core.line import Line, Place
from posetask_operator.core.observed import Granted, Waiting
from posetask_operator.settings import Settings

_NEXT = "next in line; "


class Admission:
    """The one desk at which all tasks of an installation ask.

    Args:
        settings: Budgets.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lines = {profile: Line() for profile in settings.profiles}
        self._held: dict[str, Holding] = {}
        self._granted: dict[str, Request] = {}
        self._unseen: set[str] = set()
        self._capacity: dict[str, int] = {}
        self._partitions = 0

    def expect(self, keys: Iterable[str]) -> None:
        """Grant nothing before these tasks were reported, or withdrawn, once."""
        self._unseen |= set(keys)

    def capacity(self, profile: str, gpus: int) -> None:
        """GPUs of a profile whose budget the settings leave open: allocatable minus what others use there.

        As long as nobody has said, nothing is granted there that needs a GPU.
        """
        self._capacity[profile] = gpus

    def partitions(self, total: int) -> None:
        """Partitions of all topics of the brokers, as seen last."""
        self._partitions = total

    def report(self, key: str, holding: Holding | None) -> None:
        """What a task is seen to hold; what was granted to it becomes that once the attempt shows."""
        self._unseen.discard(key)
        if holding is None:
            self._held.pop(key, None)
            return
        before = self._held.get(key)
        self._held[key] = holding
        granted = self._granted.get(key)
        if granted is not None and holding.attempt >= granted.attempt:
            del self._granted[key]
        elif before is None and holding.since is not None and holding.profile in self._lines:
            self._lines[holding.profile].served(holding.namespace, holding.since)

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
        """Whether this attempt may begin. Asked again at every look; what is granted stays granted."""
        granted = self._granted.get(request.key)
        if granted is not None and granted.attempt == request.attempt:
            return Granted()
        never = self._never(request)
        if never is not None:
            self._leave(request.key)
            return never
        line = self._lines[request.profile]
        place = line.enter(request)
        if self._unseen:
            text = "the operator has just begun, and looks at all tasks before it admits one"
            return Waiting(1 + line.ahead(place), Reason.WAITING_FOR_TURN, text)
        shut = self._shut()
        first = line.first(shut)
        if first is not place:
            return self._behind(place, first)
        lacks = self._lacks(request)
        if lacks is not None:
            return Waiting(1, lacks[0], _NEXT + lacks[1])
        line.admit(place, now, shut)
        self._granted[request.key] = request
        return Granted()

    def ready(self) -> tuple[str, ...]:
        """Tasks that would be granted if they asked now: the edge looks at them."""
        if self._unseen:
            return ()
        heads = [line.first(self._shut()) for line in self._lines.values()]
        return tuple(h.key for h in heads if h is not None and self._lacks(h.request) is None)

    def waiting(self, profile: str) -> int:
        """Tasks in a profile's queue."""
        return len(self._lines[profile])

    def used(self, profile: str) -> int:
        """GPUs that tasks hold, their terminating pods included, or were granted."""
        return sum(
            max(
                self._held[key].gpus if key in self._held and self._held[key].profile == profile else 0,
                self._granted[key].gpus
                if key in self._granted and self._granted[key].profile == profile
                else 0,
            )
            for key in self._held.keys() | self._granted.keys()
        )

    def running(self, profile: str) -> int:
        """Tasks that hold something of a profile, or were granted it."""
        held = {key for key, h in self._held.items() if h.runs and h.profile == profile}
        return len(held | {key for key, r in self._granted.items() if r.profile == profile})

    def _leave(self, key: str) -> None:
        for line in self._lines.values():
            line.leave(key)

    def _gpus(self, profile: str) -> int | None:
        found = self._settings.profiles[profile]
        if found.accelerator is None:
            return 0
        return found.gpus if found.gpus is not None else self._capacity.get(profile)

    def _never(self, request: Request) -> Waiting | None:
        """What cannot be granted even when nobody else is there; it stands in no queue."""
        most, budget = self._gpus(request.profile), self._settings.kafka.partition_budget
        if most is not None and request.gpus > most:
            text = f"needs {request.gpus} GPUs at once, and profile {request.profile} has {most}"
            return Waiting(0, Reason.DOES_NOT_FIT, text)
        if budget is not None and request.partitions > budget:
            text = f"needs {request.partitions} partitions, and the budget of all topics is {budget}"
            return Waiting(0, Reason.WAITING_FOR_PARTITIONS, text)
        return None

    def _lacks(self, request: Request) -> tuple[Reason, str] | None:
        """What the first of a queue waits for."""
        where = f"profile {request.profile}"
        profile, most = self._settings.profiles[request.profile], self._gpus(request.profile)
        if request.gpus and most is None:
            return Reason.WAITING_FOR_GPUS, f"the GPUs of {where} are being counted"
        free = (most or 0) - self.used(request.profile)
        if request.gpus > free:
            text = f"needs {request.gpus} GPUs at once, {max(0, free)} of {most} in {where} are free"
            return Reason.WAITING_FOR_GPUS, text
        running = self.running(request.profile)
        if profile.tasks is not None and running >= profile.tasks:
            return Reason.WAITING_FOR_TURN, f"{where} runs {running} tasks, the most it may"
        budget, taken = self._settings.kafka.partition_budget, self._taken()
        if budget is not None and request.partitions and taken + request.partitions > budget:
            text = f"needs {request.partitions} partitions, {taken} of {budget} are taken"
            return Reason.WAITING_FOR_PARTITIONS, text
        return None

    def _behind(self, place: Place, first: Place | None) -> Waiting:
        request = place.request
        if request.namespace in self._shut():
            text = f"namespace {request.namespace} runs as many tasks as it may"
            return Waiting(0, Reason.WAITING_FOR_TURN, text)
        position = 1 + max(1, self._lines[request.profile].ahead(place))
        text = f"position {position} in the queue of profile {request.profile}"
        if first is not None:
            lacks = self._lacks(first.request)
            text += f"; next is {first.key}" + (f", which {lacks[1]}" if lacks is not None else "")
        return Waiting(position, Reason.WAITING_FOR_TURN, text)

    def _shut(self) -> frozenset[str]:
        """Namespaces that run as many tasks as they may."""
        found = []
        for namespace in {r.namespace for line in self._lines.values() for r in line.requests()}:
            grant = self._settings.storage.grant(namespace)
            if grant is not None and grant.max_tasks is not None:
                held = {key for key, h in self._held.items() if h.runs and h.namespace == namespace}
                granted = {key for key, r in self._granted.items() if r.namespace == namespace}
                if len(held | granted) >= grant.max_tasks:
                    found.append(namespace)
        return frozenset(found)

    def _taken(self) -> int:
        """Partitions of others, and of all our tasks, made or still to be made."""
        others = max(0, self._partitions - sum(h.partitions_there for h in self._held.values()))
        held = sum(max(h.partitions, h.partitions_there) for h in self._held.values())
        return others + held + sum(r.partitions for r in self._granted.values())
