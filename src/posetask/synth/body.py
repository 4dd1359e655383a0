"""The kinematic skeleton: joint angles and build in, joints in 3D out.

Body axes: x to the person's left, y up, z forward; metres; the point on the floor below the pelvis is
the origin. Every function works on a batch of people at once, because a frame has few of them and
NumPy's cost is per call.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Joints 0-16 are COCO's keypoints in COCO's order; the rest serve the drawing.
NOSE, L_EYE, R_EYE, L_EAR, R_EAR, L_SHOULDER, R_SHOULDER, L_ELBOW, R_ELBOW, L_WRIST, R_WRIST = range(11)
L_HIP, R_HIP, L_KNEE, R_KNEE, L_ANKLE, R_ANKLE = range(11, 17)
HEAD, CROWN, CHIN, NECK, PELVIS, CHEST, L_HAND, R_HAND = range(17, 25)
L_HEEL, R_HEEL, L_TOE, R_TOE, HAIR, MOUTH, FACE = range(25, 32)
JOINTS = 32

# Indices into a vector of angles (radians; positive flexion is forward, positive abduction outward).
LEAN, ROLL, TWIST, HEAD_YAW, HEAD_PITCH, HEAD_ROLL = range(6)
L_ARM, R_ARM = 6, 10  # upper-arm flexion, abduction; forearm flexion, abduction (in the chest's axes)
L_LEG, R_LEG = 14, 18  # thigh flexion, abduction; knee flexion; foot pitch
BOUNCE = 22  # metres above the floor
SEAT = 23  # weight of the seat: 1 rests the pelvis at seat height, 0 stands on the lower foot
ANGLES = 24


@dataclass(frozen=True, slots=True)
class Build:
    """Lengths of one body in metres (``girth`` and ``muscle`` are factors of radii)."""

    thigh: float
    shank: float
    ankle: float
    foot: float
    torso: float
    shoulder: float
    hip: float
    upper_arm: float
    forearm: float
    hand: float
    neck: float
    head: float
    girth: float
    muscle: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Build:
        """Draw an adult or a child."""
        child = rng.random() < 0.12
        height = rng.uniform(1.15, 1.5) if child else rng.normal(1.70, 0.09)
        k = height / 1.70
        wide = rng.uniform(0.9, 1.1)

        def length(mean: float, spread: float = 0.05) -> float:
            return float(mean * k * rng.uniform(1 - spread, 1 + spread))

        return cls(
            thigh=length(0.42),
            shank=length(0.41),
            ankle=length(0.075),
            foot=length(0.20),
            torso=length(0.49),
            shoulder=length(0.185) * wide,
            hip=length(0.095) * wide,
            upper_arm=length(0.285),
            forearm=length(0.25),
            hand=length(0.10),
            neck=length(0.10),
            head=float((0.108 if child else 0.112) * k**0.4 * rng.uniform(0.93, 1.08)),
            girth=float(rng.uniform(0.85, 1.3)) * k,
            muscle=float(rng.uniform(0.85, 1.2)) * k,
        )


def stack(builds: list[Build]) -> dict[str, Array]:
    """Turn the builds of several people into one array of shape ``(N,)`` per length."""
    return {f.name: np.array([getattr(b, f.name) for b in builds], float) for f in fields(Build)}


def _rotation(pitch: Array, roll: Array, yaw: Array) -> Array:
    """``(N, 3, 3)``: columns are the turned left, up and forward axes; yaw turns towards the left."""
    cp, sp, cr, sr, cy, sy = (
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
        np.cos(yaw),
        np.sin(yaw),
    )
    zero, one = np.zeros_like(cp), np.ones_like(cp)
    rx = np.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], -1).reshape(-1, 3, 3)
    rz = np.stack([cr, sr, zero, -sr, cr, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    ry = np.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], -1).reshape(-1, 3, 3)
    return np.asarray(rx @ rz @ ry)


def _limb(flexion: Array, abduction: Array, side: float) -> Array:
    """Work out unit vectors ``(N, 3)`` of a hanging limb that is lifted forward and outward."""
    c = np.cos(abduction)
    return np.stack([side * np.sin(abduction), -np.cos(flexion) * c, np.sin(flexion) * c], -1)


_FACE = {  # in head radii, head axes
    NOSE: (0.0, -0.12, 1.08),
    L_EYE: (0.33, 0.14, 0.78),
    R_EYE: (-0.33, 0.14, 0.78),
    L_EAR: (0.76, 0.0, -0.05),
    R_EAR: (-0.76, 0.0, -0.05),
    CROWN: (0.0, 1.18, -0.1),
    CHIN: (0.0, -1.12, 0.45),
    HAIR: (0.0, 0.22, -0.26),
    MOUTH: (0.0, -0.55, 0.74),
    FACE: (0.0, 0.0, 1.0),
}
_FACE_INDEX = list(_FACE)
_FACE_XYZ = np.array(list(_FACE.values()))


def pose(angles: Array, build: dict[str, Array]) -> tuple[Array, Array]:
    """Forward kinematics.

    Args:
        angles: ``(N, ANGLES)``.
        build: What :func:`stack` gives, for the same N people.

    Returns:
        Joints ``(N, JOINTS, 3)`` in metres, lowest foot on the floor, and the chest's axes ``(N, 3, 3)``
        (columns left, up, forward).
    """
    a, n = angles, len(angles)
    out = np.zeros((n, JOINTS, 3))

    def times(length: Array, direction: Array) -> Array:
        return np.asarray(length[:, None] * direction)

    zero = np.zeros(n)
    chest = _rotation(a[:, LEAN], a[:, ROLL], a[:, TWIST])
    left, up = chest[:, :, 0], chest[:, :, 1]
    out[:, CHEST] = times(build["torso"] * 0.72, up)
    out[:, NECK] = times(build["torso"], up)
    head_axes = _rotation(
        a[:, LEAN] * 0.6 + a[:, HEAD_PITCH], a[:, ROLL] * 0.5 + a[:, HEAD_ROLL], a[:, TWIST] + a[:, HEAD_YAW]
    )
    out[:, HEAD] = (
        out[:, NECK]
        + times(build["neck"] * 0.75, up)
        + times(build["head"], head_axes[:, :, 1])
        + times(build["head"] * 0.15, head_axes[:, :, 2])
    )
    offsets = np.einsum("nij,kj->nki", head_axes, _FACE_XYZ) * build["head"][:, None, None]
    out[:, _FACE_INDEX] = out[:, HEAD, None] + offsets

    for side, shoulder, elbow, wrist, hand, arm in (
        (1.0, L_SHOULDER, L_ELBOW, L_WRIST, L_HAND, L_ARM),
        (-1.0, R_SHOULDER, R_ELBOW, R_WRIST, R_HAND, R_ARM),
    ):
        upper = np.einsum("nij,nj->ni", chest, _limb(a[:, arm], a[:, arm + 1], side))
        fore = np.einsum("nij,nj->ni", chest, _limb(a[:, arm + 2], a[:, arm + 3], side))
        out[:, shoulder] = times(build["torso"] * 0.94, up) + side * times(build["shoulder"], left)
        out[:, elbow] = out[:, shoulder] + times(build["upper_arm"], upper)
        out[:, wrist] = out[:, elbow] + times(build["forearm"], fore)
        out[:, hand] = out[:, wrist] + times(build["hand"], fore)

    for side, hip, knee, ankle, heel, toe, leg in (
        (1.0, L_HIP, L_KNEE, L_ANKLE, L_HEEL, L_TOE, L_LEG),
        (-1.0, R_HIP, R_KNEE, R_ANKLE, R_HEEL, R_TOE, R_LEG),
    ):
        flexion, abduction, bend = a[:, leg], a[:, leg + 1], a[:, leg + 2]
        out[:, hip, 0] = side * build["hip"]
        out[:, knee] = out[:, hip] + times(build["thigh"], _limb(flexion, abduction, side))
        out[:, ankle] = out[:, knee] + times(build["shank"], _limb(flexion - bend, abduction, side))
        pitch = a[:, leg + 3]
        foot = np.stack([side * 0.18 + zero, np.sin(pitch), np.cos(pitch)], -1)
        below = np.stack([zero, -np.cos(pitch), np.sin(pitch)], -1)
        out[:, heel] = out[:, ankle] + times(build["ankle"] * 0.62, below) - times(build["foot"] * 0.22, foot)
        out[:, toe] = out[:, ankle] + times(build["ankle"] * 0.68, below) + times(build["foot"] * 0.72, foot)

    lowest = out[:, [L_HEEL, R_HEEL, L_TOE, R_TOE], 1].min(1) - 0.035
    seated = -(build["shank"] + build["ankle"]) * 1.02
    rise = -(lowest * (1 - a[:, SEAT]) + seated * a[:, SEAT]) + a[:, BOUNCE]
    out[:, :, 1] += rise[:, None]
    return out, chest
