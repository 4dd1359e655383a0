"""One person's life in the world: a script of actions on the floor, and where it stands at any moment."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from posetask.synth.body import Array, Build
from posetask.synth.look import Look
from posetask.synth.motion import Action, Style, angles

_BLEND = 0.35  # seconds from one action's pose into the next one's
_TURN = 0.5  # seconds to face the new way


@dataclass(frozen=True, slots=True)
class Floor:
    """The part of the floor that a person uses, in metres from the camera.

    Attributes:
        near: Closest distance.
        far: Farthest distance.
        slope: Half the width of the view, in metres, at a distance of one metre.
        middle: Middle of the person's sector; -1 and 1 are the picture's edges.
        reach: Half the sector's width, likewise; 1 is the whole view.
    """

    near: float
    far: float
    slope: float
    middle: float = 0.0
    reach: float = 1.0

    def across(self, share: float, z: float) -> float:
        """Metres to the right of the camera's axis at distance ``z``; ``share`` is -1 to 1 of the sector."""
        return (self.middle + self.reach * share) * self.slope * z


@dataclass(frozen=True, slots=True)
class _Scene:
    """One action: from where, how long, which way."""

    start: float
    length: float
    action: Action
    style: Style
    x: float
    z: float
    heading: float
    speed: float
    spin: float = 0.0

    @property
    def end(self) -> float:
        return self.start + self.length

    def place(self, t: float) -> tuple[float, float]:
        d = self.speed * min(max(t - self.start, 0.0), self.length)
        return self.x + d * math.sin(self.heading), self.z - d * math.cos(self.heading)

    def facing(self, t: float) -> float:
        return self.heading + self.spin * (t - self.start)


@dataclass(frozen=True, slots=True)
class State:
    """Where a person is and what the body does.

    Attributes:
        x: Metres to the right of the camera's axis.
        z: Metres from the camera.
        heading: Radians; 0 faces the camera, positive turns towards the right of the picture.
        angles: See :mod:`posetask.synth.body`.
    """

    x: float
    z: float
    heading: float
    angles: Array


class Actor:
    """A person; the script is drawn action by action, so a state does not depend on how far one looks."""

    def __init__(self, rng: np.random.Generator, floor: Floor, *, roam: float) -> None:
        """Draw build, look and the first action.

        Args:
            rng: The person's own stream of numbers; kept for the rest of the script.
            floor: Where people may go.
            roam: Chance that a walk leads out of the picture (and back in).
        """
        self._rng = rng
        self._floor = floor
        self._roam = roam
        self.build = Build.draw(rng)
        self.look = Look.draw(rng)
        z = self._depth()
        x = floor.across(float(rng.uniform(-0.85, 0.85)), z)
        self._scenes = [self._next(0.0, x, z, float(rng.uniform(-math.pi, math.pi)), None)]
        # Nobody starts at the beginning of an action.
        self._offset = float(rng.uniform(0, 2))

    def at(self, t: float) -> State:
        """State at ``t`` seconds."""
        t += self._offset
        while self._scenes[-1].end <= t:
            last = self._scenes[-1]
            x, z = last.place(last.end)
            self._scenes.append(self._next(last.end, x, z, last.facing(last.end), last.action))
        k = len(self._scenes) - 1
        while k and self._scenes[k].start > t:
            k -= 1
        scene = self._scenes[k]
        x, z = scene.place(t)
        heading, pose = scene.facing(t), angles(scene.action, scene.style, t - scene.start, scene.speed)
        if k:
            before, since = self._scenes[k - 1], t - scene.start
            if since < _TURN:
                w = _smooth(since / _TURN)
                old = before.facing(before.end)
                gap = math.remainder(heading - old, 2 * math.pi)
                heading = old + w * gap
            if since < _BLEND:
                w = _smooth(since / _BLEND)
                old_pose = angles(before.action, before.style, before.length + since, before.speed)
                pose = old_pose + w * (pose - old_pose)
        return State(x, z, heading, pose)

    def _depth(self) -> float:
        """Draw a distance such that the height in the picture is spread evenly on a logarithmic scale."""
        near, far = math.log(self._floor.near), math.log(self._floor.far)
        return math.exp(float(self._rng.uniform(near, far)))

    def _next(self, start: float, x: float, z: float, heading: float, before: Action | None) -> _Scene:
        rng = self._rng
        style = Style.draw(rng)
        edge = self._floor.slope * z
        outside = abs(x) > edge
        moved = before in (Action.WALK, Action.RUN)
        if outside or rng.random() < (0.35 if moved else 0.75):
            action = Action.RUN if rng.random() < 0.22 else Action.WALK
            speed = float(rng.uniform(2.2, 3.4) if action is Action.RUN else rng.uniform(0.8, 1.5))
            goal_z = self._depth()
            reach = 1.25 if not outside and rng.random() < self._roam else 0.8
            side = float(rng.uniform(-1, 1)) if reach < 1 else float(rng.choice([-1.0, 1.0]))
            if reach > 1:  # out of the picture, by the nearer edge where the sector has one
                side = side if self._floor.middle == 0 else math.copysign(1.0, self._floor.middle)
                goal_x = side * reach * self._floor.slope * goal_z
            else:
                goal_x = self._floor.across(side * reach, goal_z)
            distance = math.hypot(goal_x - x, goal_z - z)
            if distance > 0.4:
                length = min(distance / speed, 6.0) if not outside else distance / speed
                return _Scene(start, length, action, style, x, z, math.atan2(goal_x - x, z - goal_z), speed)
        kinds = [a for a in Action if a not in (Action.WALK, Action.RUN)]
        weights = np.array([0.26, 0.2, 0.17, 0.13, 0.1, 0.09, 0.05])
        action = kinds[int(rng.choice(len(kinds), p=weights))]
        length = float(rng.uniform(1.5, 4.5))
        spin = float(rng.choice([-1, 1]) * rng.uniform(0.9, 2.2)) if action is Action.TURN else 0.0
        if action is Action.WAVE:  # people wave at the camera, more or less
            heading = float(rng.normal(0, 0.7))
        return _Scene(start, length, action, style, x, z, heading, 0.0, spin)


def _smooth(u: float) -> float:
    u = min(max(u, 0.0), 1.0)
    return u * u * (3 - 2 * u)
