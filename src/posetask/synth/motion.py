"""Cycles of movement: an action, its style and a moment in, joint angles out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from posetask.synth.body import (
    ANGLES,
    BOUNCE,
    HEAD_PITCH,
    HEAD_ROLL,
    HEAD_YAW,
    L_ARM,
    L_LEG,
    LEAN,
    R_ARM,
    R_LEG,
    ROLL,
    SEAT,
    TWIST,
    Array,
)


class Action(StrEnum):
    """What a person does for a while."""

    WALK = "walk"
    RUN = "run"
    STAND = "stand"
    WAVE = "wave"
    SIT = "sit"
    SQUAT = "squat"
    TURN = "turn"
    REACH = "reach"
    JUMPING_JACK = "jumping_jack"


class Arms(StrEnum):
    """What the arms do while nothing else needs them."""

    HANG = "hang"
    HIPS = "hips"
    CROSSED = "crossed"
    PHONE = "phone"
    CARRY = "carry"
    RAISED = "raised"
    POINT = "point"


# upper-arm flexion, abduction, forearm flexion, abduction of (left, right), degrees
_ARMS: dict[Arms, tuple[tuple[float, float, float, float], tuple[float, float, float, float]]] = {
    Arms.HANG: ((0, 9, 12, 4), (0, 9, 12, 4)),
    Arms.HIPS: ((-15, 42, 12, -48), (-15, 42, 12, -48)),
    Arms.CROSSED: ((28, 10, 80, -58), (28, 10, 88, -58)),
    Arms.PHONE: ((0, 9, 12, 4), (38, 14, 135, -22)),
    Arms.CARRY: ((22, 14, 78, -14), (22, 14, 78, -14)),
    Arms.RAISED: ((150, 22, 168, 8), (150, 22, 168, 8)),
    Arms.POINT: ((0, 9, 12, 4), (82, 20, 90, 14)),
}


@dataclass(frozen=True, slots=True)
class Style:
    """One person's habits while an action lasts; amplitudes are factors near 1."""

    cadence: float = 1.0
    swing: float = 1.0
    arms: Arms = Arms.HANG
    mirrored: bool = False
    lean: float = 0.0
    gaze: float = 0.0
    nod: float = 0.0
    phase: float = 0.0
    jitter: tuple[float, ...] = (0.0,) * ANGLES

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Style:
        """Draw a style."""
        kinds = list(Arms)
        arms = Arms.HANG if rng.random() < 0.45 else kinds[int(rng.integers(len(kinds)))]
        jitter = rng.normal(0, math.radians(6), ANGLES)
        jitter[[BOUNCE, SEAT]] = 0
        jitter[[LEAN, ROLL, TWIST]] *= 0.5
        return cls(
            cadence=float(rng.uniform(0.85, 1.15)),
            swing=float(rng.uniform(0.75, 1.25)),
            arms=arms,
            mirrored=bool(rng.random() < 0.5),
            lean=float(rng.normal(0, 0.04)),
            gaze=float(rng.normal(0, 0.35)),
            nod=float(rng.normal(0.05, 0.15)),
            phase=float(rng.uniform(0, 2 * math.pi)),
            jitter=tuple(float(j) for j in jitter),
        )


def angles(action: Action, style: Style, t: float, speed: float) -> Array:
    """Joint angles ``(ANGLES,)`` of an action, ``t`` seconds after it began.

    Args:
        action: What is done.
        style: How it is done.
        t: Seconds since the action began.
        speed: Metres per second over the floor; sets cadence and stride of a gait.
    """
    a = np.array(style.jitter)
    a[LEAN] += style.lean
    a[HEAD_YAW] += style.gaze * (1 + 0.5 * math.sin(0.9 * t + style.phase))
    a[HEAD_PITCH] += style.nod
    a[HEAD_ROLL] *= 0.5
    pair = _ARMS[style.arms]
    for base, values in ((L_ARM, pair[style.mirrored]), (R_ARM, pair[not style.mirrored])):
        a[base : base + 4] += np.radians(values)
    breath = math.sin(1.7 * t + style.phase)
    a[LEAN] += 0.012 * breath
    a[ROLL] += 0.015 * math.sin(0.6 * t + style.phase)
    match action:
        case Action.WALK | Action.RUN:
            _gait(a, style, t, speed, running=action is Action.RUN)
        case Action.WAVE:
            _wave(a, style, t)
        case Action.SIT:
            _sit(a, style)
        case Action.SQUAT:
            _squat(a, style, t)
        case Action.REACH:
            _reach(a, style, t)
        case Action.JUMPING_JACK:
            _jack(a, style, t)
        case Action.STAND | Action.TURN:
            _stand(a, style, t)
    # An elbow does not bend backward: the forearm is never behind the upper arm's line by more than a little.
    for arm in (L_ARM, R_ARM):
        a[arm + 2] = max(a[arm + 2], a[arm] - 0.05)
    for leg in (L_LEG, R_LEG):
        a[leg + 2] = max(a[leg + 2], 0.0)
    return a


def _gait(a: Array, style: Style, t: float, speed: float, *, running: bool) -> None:
    # Cadence grows with the root of speed, as in people; a full cycle is two steps.
    rate = (
        (1.38 if running else 0.92) * style.cadence * math.sqrt(max(speed, 0.3) / (2.8 if running else 1.3))
    )
    p = 2 * math.pi * rate * t + style.phase
    reach = (0.78 if running else 0.44) * min(
        1.3, style.swing * math.sqrt(max(speed, 0.3) / (2.8 if running else 1.3))
    )
    bend, lift = (1.5, 0.32) if running else (0.95, 0.1)
    for leg, q in ((L_LEG, p), (R_LEG, p + math.pi)):
        forward = math.sin(q)
        a[leg] += reach * forward + (0.2 if running else 0.05)
        # The knee bends most while the leg swings forward (cos q > 0), a little on landing.
        swing = max(0.0, math.cos(q + 0.35))
        a[leg + 2] += bend * swing**1.4 + lift
        a[leg + 3] += 0.35 * max(0.0, forward) - (0.7 if running else 0.5) * max(0.0, -math.sin(q + 0.3))
    free = style.arms in (Arms.HANG, Arms.PHONE, Arms.POINT) or running
    if free:
        for arm, q, busy in ((L_ARM, p + math.pi, style.mirrored), (R_ARM, p, not style.mirrored)):
            if busy and style.arms is not Arms.HANG and not running:
                continue
            amplitude = (0.85 if running else 0.45) * style.swing
            if running:
                a[arm : arm + 4] = np.array([0, 0.18, 0, 0.02])
            a[arm] += amplitude * math.sin(q) - (0.25 if running else 0.0)
            a[arm + 2] += amplitude * math.sin(q) + (1.35 if running else 0.12 + 0.2 * max(0.0, math.sin(q)))
    a[TWIST] += (0.18 if running else 0.09) * math.sin(p)
    a[ROLL] += 0.03 * math.cos(p)
    a[LEAN] += 0.2 if running else 0.04
    a[BOUNCE] = (0.10 * max(0.0, math.sin(2 * p + 0.6)) if running else 0.012 * (1 + math.sin(2 * p))) + 0.0


def _stand(a: Array, style: Style, t: float) -> None:
    sway = math.sin(0.8 * t + style.phase)
    for leg, s in ((L_LEG, 1.0), (R_LEG, -1.0)):
        a[leg] += 0.02 * s * sway
        a[leg + 1] += 0.06 + 0.05 * style.swing
        a[leg + 2] += 0.05 + max(0.0, 0.12 * s * sway)


def _wave(a: Array, style: Style, t: float) -> None:
    _stand(a, style, t)
    swing = math.sin(2 * math.pi * 1.3 * style.cadence * t + style.phase)
    arm = L_ARM if style.mirrored else R_ARM
    a[arm : arm + 4] = (
        0.25,
        math.radians(82 + 25 * (style.swing - 1)),
        0.25,
        math.radians(158) + 0.42 * swing,
    )
    if style.phase > 4.5:  # some wave with both
        other = R_ARM if style.mirrored else L_ARM
        a[other : other + 4] = a[arm : arm + 4]


def _sit(a: Array, style: Style) -> None:
    a[SEAT] = 1.0
    for leg in (L_LEG, R_LEG):
        a[leg] += math.radians(84)
        a[leg + 1] += 0.1 * style.swing
        a[leg + 2] += math.radians(86) + 0.3 * (style.cadence - 1)
    if style.arms is Arms.HANG:
        for arm in (L_ARM, R_ARM):
            a[arm : arm + 4] += np.radians((28, 6, 50, -8))
    a[LEAN] += 0.08


def _squat(a: Array, style: Style, t: float) -> None:
    depth = 0.5 - 0.5 * math.cos(2 * math.pi * 0.45 * style.cadence * t)
    for leg in (L_LEG, R_LEG):
        a[leg] += depth * math.radians(98)
        a[leg + 1] += 0.12 + 0.22 * depth
        a[leg + 2] += depth * math.radians(118)
    a[LEAN] += 0.55 * depth
    for arm in (L_ARM, R_ARM):
        a[arm] += depth * math.radians(75)
        a[arm + 2] += depth * math.radians(70)


def _reach(a: Array, style: Style, t: float) -> None:
    """Bends down to the floor, or stretches up, and comes back."""
    _stand(a, style, t)
    depth = 0.5 - 0.5 * math.cos(2 * math.pi * 0.3 * style.cadence * t)
    if style.phase < math.pi:
        a[LEAN] += 1.15 * depth
        for leg in (L_LEG, R_LEG):
            a[leg] += 0.3 * depth
            a[leg + 2] += 0.5 * depth
        for arm in (L_ARM, R_ARM):
            a[arm] += 1.0 * depth
            a[arm + 2] += 1.0 * depth
    else:
        for arm in (L_ARM, R_ARM):
            a[arm : arm + 4] = a[arm : arm + 4] * (1 - depth) + depth * np.array([2.7, 0.25, 2.9, 0.05])


def _jack(a: Array, style: Style, t: float) -> None:
    open_ = 0.5 - 0.5 * math.cos(2 * math.pi * 0.9 * style.cadence * t)
    for arm in (L_ARM, R_ARM):
        a[arm : arm + 4] = (0.05, 0.15 + 2.4 * open_, 0.1, 0.1 + 2.7 * open_)
    for leg in (L_LEG, R_LEG):
        a[leg + 1] += 0.05 + 0.4 * open_
        a[leg + 2] += 0.1
    a[BOUNCE] = 0.12 * math.sin(math.pi * open_)
