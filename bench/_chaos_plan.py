"""Kill plans: what dies when, drawn from a seed, so that a name is enough to do it again.

A plan is for one run. Its chosen kills are dealt from every pair of stage and moment, so that five plans in a
row hit each pair once; every plan has one kill of the broker, and two at moments that nobody chose.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

STAGES = ("producer", "yolox", "rtmpose", "bytetrack", "annotator")
BROKER = "broker"
_PRODUCE = ("before-produce", "after-produce", "after-delivery")
_COMMIT = ("before-commit", "after-commit")
_SEGMENT = ("before-segment", "within-segment", "after-segment")
_END = ("before-publish", "after-publish")
MOMENTS = {
    "producer": (*_PRODUCE, *_END),
    "yolox": (*_PRODUCE, *_COMMIT, *_END),
    "rtmpose": (*_PRODUCE, *_COMMIT, *_END),
    "bytetrack": (*_PRODUCE, *_COMMIT, *_END),
    "annotator": (*_COMMIT, *_SEGMENT, "before-publish", "within-publish", "after-publish", "after-result"),
}
"""A frame is produced when the client takes it, delivered when the broker has it. A segment is its file, then
the manifest that lists it. What a stage publishes is the end of its stream; the annotator the MP4, then the
data, then the word that it is done."""
_NTH = {"produce": (2, 60), "delivery": (2, 60), "commit": (3, 12), "segment": (1, 2)}
_ROUND = 5


@dataclass(frozen=True)
class Kill:
    """A kill at a chosen moment.

    Attributes:
        stage: Whose process comes to the moment.
        moment: Of :data:`MOMENTS`.
        nth: So often that process has come to it.
        victim: The stage, or the broker.
    """

    stage: str
    moment: str
    nth: int
    victim: str

    @property
    def publishes(self) -> bool:
        """It hits after the end of the stream, by its nature."""
        return self.moment.endswith(("publish", "result"))


@dataclass(frozen=True)
class Chance:
    """A kill at a moment that nobody chose.

    Attributes:
        victim: A stage, or the broker.
        seconds: After the victim came to work (after the last kill of this kind, for the broker).
        starting: Kill the process while it starts, rather than at work.
    """

    victim: str
    seconds: float
    starting: bool = False


@dataclass(frozen=True)
class Plan:
    """What dies in one run.

    Attributes:
        name: Seed and number.
        kills: At chosen moments; those of one stage one after the other, a process each.
        chances: At any moment, one after the other.
    """

    name: str
    kills: tuple[Kill, ...]
    chances: tuple[Chance, ...]

    @classmethod
    def named(cls, name: str) -> Plan:
        """The plan of this name: the same for ever.

        >>> plan = Plan.named("1-3")
        >>> plan == Plan.named("1-3"), plan == Plan.named("2-3")
        (True, False)
        >>> hit = {(k.stage, k.moment) for n in range(5) for k in Plan.named(f"1-{n}").kills}
        >>> hit >= {(stage, moment) for stage in STAGES for moment in MOMENTS[stage]}
        True
        """
        seed, number = (int(part) for part in name.split("-"))
        dealer = random.Random(f"{seed}/{number // _ROUND}")
        deck = [
            (s, m) for s in STAGES for m in dealer.sample(MOMENTS[s], len(MOMENTS[s]))
        ]  # of one stage no plan gets more than two
        chance = random.Random(f"{seed}-{number}")
        kills = [_at(chance, stage, moment, stage) for stage, moment in deck[number % _ROUND :: _ROUND]]
        chances = [
            Chance(chance.choice(STAGES), round(chance.uniform(0.3, 2.0), 2), chance.random() < 0.2)
            for _ in range(2)
        ]
        if number % 2:
            chances.append(Chance(BROKER, round(chance.uniform(1.0, 5.0), 2)))
        else:
            stage = chance.choice(STAGES)
            moment = chance.choice([m for m in MOMENTS[stage] if not m.endswith(("publish", "result"))])
            kills.append(_at(chance, stage, moment, BROKER))
        chance.shuffle(chances)
        kills.sort(key=lambda kill: _order(kill, chance))
        return cls(name, tuple(kills), tuple(chances))

    def arms(self, stage: str) -> list[Kill]:
        """The chosen kills that a stage's processes carry out."""
        return [kill for kill in self.kills if kill.stage == stage]

    @property
    def size(self) -> int:
        """Kills."""
        return len(self.kills) + len(self.chances)


def _at(chance: random.Random, stage: str, moment: str, victim: str) -> Kill:
    low, high = _NTH.get(moment.rpartition("-")[2], (1, 1))
    if stage == "annotator" and moment in _COMMIT:
        high = 6  # it commits once a segment, on two topics
    return Kill(stage, moment, chance.randint(low, high), victim)


def _order(kill: Kill, chance: random.Random) -> tuple[int, int, float]:
    """Of a stage's kills: what publishes comes last and in its order, as each waits for the one before."""
    last = MOMENTS[kill.stage].index(kill.moment) if kill.publishes else -1
    return STAGES.index(kill.stage), last, chance.random()


def write_arms(folder: Path, plan: Plan) -> None:
    """Where the processes of the stages look for them."""
    folder.mkdir(parents=True)
    for stage in STAGES:
        text = json.dumps([asdict(kill) for kill in plan.arms(stage)])
        (folder / f"{stage}.arms").write_text(text)


def read_arms(folder: Path, stage: str) -> list[Kill]:
    """The inverse."""
    return [Kill(**fields) for fields in json.loads((folder / f"{stage}.arms").read_text())]


@dataclass(frozen=True)
class Shot:
    """A chosen kill that was carried out, as the process said just before.

    Attributes:
        kill: What the plan said.
        pid: Of the process.
        ended: The victim's stream was over (of the broker: the annotator's).
    """

    kill: Kill
    pid: int
    ended: bool


def write_shot(folder: Path, shot: Shot) -> None:
    """One line, in one step."""
    with (folder / f"{shot.kill.stage}.shots").open("a") as file:
        file.write(json.dumps(asdict(shot)) + "\n")


def read_shots(folder: Path, stage: str) -> Iterator[Shot]:
    """What was carried out so far."""
    path = folder / f"{stage}.shots"
    for line in path.read_text().splitlines() if path.exists() else ():
        fields = json.loads(line)
        yield Shot(Kill(**fields["kill"]), fields["pid"], fields["ended"])
