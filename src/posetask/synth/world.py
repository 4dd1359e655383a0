"""The world itself: any frame of it, with its truth, in any order."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from posetask.synth import body as b
from posetask.synth.actor import Actor, Floor, State
from posetask.synth.body import Array
from posetask.synth.camera import Camera, Darkroom, Film
from posetask.synth.figure import Painter
from posetask.synth.framecode import write_frame_number
from posetask.synth.paint import Picture, capsules, fill, fixed, shadow, tone
from posetask.synth.parts import Figure
from posetask.synth.scenery import Thing, background
from posetask.synth.spec import CameraMotion, Difficulty, Paths, WorldSpec
from posetask.synth.truth import Truth

__all__ = ["World", "WorldSpec"]

_ADULT = 1.70
_THING = 255


class World:
    """A synthetic world. Frame i is a pure function of the spec and i.

    >>> world = World(WorldSpec(seed=7, width=128, height=96, frames=3, people=2))
    >>> image, truth = world.frame(2)
    >>> image.shape, len(truth) <= 2
    ((96, 128, 3), True)
    """

    def __init__(self, spec: WorldSpec) -> None:
        """Build the place and cast the people; the frames are drawn when asked for."""
        self.spec = spec
        hard = spec.difficulty is Difficulty.HARD
        chance = np.random.default_rng([spec.seed, 0])
        low, high = spec.heights
        near, far = (1.15 * _ADULT / h for h in (high, low))
        self._camera = Camera.draw(
            chance, spec.width, spec.height, near, far, 1.0 if spec.camera is CameraMotion.MOVING else 0.0
        )
        slope = 0.5 * spec.width / self._camera.focal
        self._margin = np.array([round(0.2 * spec.width), round(0.2 * spec.height)])
        self._backdrop = background(
            np.random.default_rng([spec.seed, 1]),
            spec.width + 2 * int(self._margin[0]),
            spec.height + 2 * int(self._margin[1]),
            self._camera.horizon + float(self._margin[1]),
            spec.place,
        )
        self._darkroom = Darkroom(
            Film.draw(np.random.default_rng([spec.seed, 2]), spec.height, hard), spec.width, spec.height
        )
        turn = float(chance.uniform(-2.6, -0.5))
        self._light = np.array([np.cos(turn), np.sin(turn)])
        self._shade = float(chance.uniform(0.2, 0.6))
        self._actors, self._painters = [], []
        lanes = chance.permutation(spec.people)
        for k in range(spec.people):
            floor = Floor(near, far, slope)
            if spec.ways is Paths.CROSSING:
                step = (far / near) ** (1 / spec.people)
                floor = Floor(near * step ** int(lanes[k]), near * step ** (int(lanes[k]) + 0.85), slope)
            elif spec.ways is Paths.APART:
                sector = 1.8 / spec.people
                floor = Floor(near, far, slope, -0.9 + sector * (int(lanes[k]) + 0.5), 0.42 * sector)
            rng = np.random.default_rng([spec.seed, 3, k])
            actor = Actor(rng, floor, roam=0.2 if hard else 0.1)
            self._actors.append(actor)
            self._painters.append(Painter(actor.build, actor.look, np.random.default_rng([spec.seed, 4, k])))
        self._builds = b.stack([actor.build for actor in self._actors])
        things = np.random.default_rng([spec.seed, 5])
        self._things = []
        for _ in range(int(things.integers(2, 9) if hard else things.integers(0, 3))):
            z = float(np.exp(things.uniform(np.log(near), np.log(far))))
            self._things.append(Thing.draw(things, float(things.uniform(-0.95, 0.95)) * slope * z, z))

    def __len__(self) -> int:
        return self.spec.frames

    def __iter__(self) -> Iterator[tuple[Picture, Truth]]:
        for i in range(self.spec.frames):
            yield self.frame(i)

    def frame(self, i: int) -> tuple[Picture, Truth]:
        """Draw frame ``i``.

        Returns:
            The picture ``(height, width, 3)`` uint8 BGR, and what is true of it.

        Raises:
            IndexError: ``i`` is not in ``0..frames-1``.
        """
        spec = self.spec
        if not 0 <= i < spec.frames:
            raise IndexError(f"frame {i} of a world of {spec.frames}")
        t = i / spec.frame_rate
        affine = self._camera.affine(t)
        image = self._scene(affine)
        ids: Picture = np.zeros((spec.height, spec.width), np.uint8)
        states = [actor.at(t) for actor in self._actors]
        figures = self._figures(states, affine)
        order = [(state.z, k) for k, state in enumerate(states)]
        order += [(thing.z, -1 - n) for n, thing in enumerate(self._things)]
        boxes, sizes, inside = np.zeros((spec.people, 4)), np.zeros(spec.people), np.zeros(spec.people)
        for z, k in sorted(order, reverse=True):
            if k < 0:
                thing = self._things[-1 - k]
                foot, scale = self._foot(thing.x, z, affine)
                thing.paint(image, ids, foot, scale, affine[:, :2] / np.hypot(*affine[:, 0]), _THING)
                continue
            f = figures[k]
            self._ground(image, states[k], f, affine)
            boxes[k], mask, corner = self._painters[k].draw(image, f, self._light)
            sizes[k] = cv2.countNonZero(mask)
            inside[k] = _paste(ids, mask, corner, k % 254 + 1)
        out = self._darkroom.develop(image, i, t)
        if spec.number_code:
            write_frame_number(out, i)
        return out, self._truth(i, figures, boxes, sizes, inside, ids)

    def _scene(self, affine: Array) -> Picture:
        full = affine.copy()
        full[:, 2] -= affine[:, :2] @ self._margin
        size = (self.spec.width, self.spec.height)
        return np.asarray(cv2.warpAffine(self._backdrop, full, size, borderMode=cv2.BORDER_REFLECT), np.uint8)

    def _foot(self, x: float, z: float, affine: Array) -> tuple[Array, float]:
        p = self._camera.project(np.array([x, 0.0, z]))
        return affine[:, :2] @ p + affine[:, 2], self._camera.focal / z * float(np.hypot(*affine[:, 0]))

    def _figures(self, states: list[State], affine: Array) -> list[Figure]:
        if not states:
            return []
        angles = np.stack([s.angles for s in states])
        joints, chest = b.pose(angles, self._builds)
        heading = np.array([s.heading for s in states])
        c, s = np.cos(heading), np.sin(heading)
        zero, one = np.zeros_like(c), np.ones_like(c)
        # columns: the body's left, up, forward in the picture's right, up, towards
        turn = np.stack([c, zero, s, zero, one, zero, -s, zero, c], -1).reshape(-1, 3, 3)
        seen = joints @ turn.transpose(0, 2, 1)
        axes = turn @ chest
        x, z = np.array([p.x for p in states]), np.array([p.z for p in states])
        world = np.stack([x[:, None] + seen[..., 0], seen[..., 1], z[:, None] - seen[..., 2]], -1)
        flat = self._camera.project(world) @ affine[:, :2].T + affine[:, 2]
        zoom = float(np.hypot(*affine[:, 0]))
        out = []
        for k in range(len(states)):
            pitch = (self._camera.above - float(seen[k, b.PELVIS, 1])) / z[k]
            near = seen[k, :, 2] + seen[k, :, 1] * pitch  # a camera above sees the higher as nearer
            near = near - near[b.PELVIS]
            out.append(
                Figure(
                    flat[k], near, self._camera.focal / z[k] * zoom, axes[k], pitch, float(angles[k, b.SEAT])
                )
            )
        return out

    def _ground(self, image: Picture, state: State, f: Figure, affine: Array) -> None:
        foot, scale = self._foot(state.x, state.z, affine)
        slope = max(0.06, self._camera.above / state.z)
        shadow(image, foot[0], foot[1], 0.42 * scale, 0.42 * scale * min(slope, 0.8), self._shade)
        if f.seat > 0.5:  # a stool, which belongs to the place and not to the person
            top = f.xy[b.PELVIS] + [0, 0.10 * scale]
            legs = np.array([[-0.16, 0.0], [0.16, 0.0]]) * scale
            r = np.full(2, 0.018 * scale)
            for leg in capsules(top + legs, foot + legs * 1.15, r, r):
                fill(image, fixed(leg), (38, 48, 60))
            w, h = 0.21 * scale, max(0.035, 0.12 * slope) * scale
            side, r = np.array([w - h, 0.0]), np.array([h])
            seat = capsules((top - side)[None], (top + side)[None], r, r)[0]
            fill(image, fixed(seat), tone((62, 84, 110), 0.9))

    def _truth(
        self, i: int, figures: list[Figure], boxes: Array, sizes: Array, inside: Array, ids: Picture
    ) -> Truth:
        spec = self.spec
        clipped = np.clip(boxes, 0, [spec.width, spec.height, spec.width, spec.height])
        reach = clipped[:, 2:] - clipped[:, :2] if len(boxes) else np.zeros((0, 2))
        keep = [k for k in range(spec.people) if reach[k].min() >= 2 and inside[k] > 0]
        seen = np.zeros(len(keep), np.float32)
        points = np.zeros((len(keep), b.R_ANKLE + 1, 3), np.float32)
        for n, k in enumerate(keep):
            x0, y0, x1, y1 = clipped[k].astype(int) + np.array([0, 0, 1, 1])
            value = k % 254 + 1
            seen[n] = min(1.0, np.count_nonzero(ids[y0:y1, x0:x1] == value) / max(1.0, sizes[k]))
            points[n, :, :2] = figures[k].xy[: b.R_ANKLE + 1]
            points[n, :, 2] = _flags(figures[k], ids, value, self._actors[k].build.head)
        return Truth(
            frame=i,
            ids=np.array(keep, np.int32) + np.int32(1),
            boxes=clipped[keep].astype(np.float32),
            full_boxes=boxes[keep].astype(np.float32),
            keypoints=points,
            visibility=seen,
            areas=inside[keep].astype(np.float32),
        )


def _paste(ids: Picture, mask: Picture, corner: tuple[int, int], value: int) -> int:
    """Write a silhouette into the map of ids; how many of its pixels lie inside the picture."""
    x0, y0 = max(0, corner[0]), max(0, corner[1])
    x1, y1 = min(ids.shape[1], corner[0] + mask.shape[1]), min(ids.shape[0], corner[1] + mask.shape[0])
    if x0 >= x1 or y0 >= y1:
        return 0
    part = mask[y0 - corner[1] : y1 - corner[1], x0 - corner[0] : x1 - corner[0]]
    ids[y0:y1, x0:x1][part > 0] = value
    return cv2.countNonZero(np.ascontiguousarray(part))


def _flags(f: Figure, ids: Picture, value: int, head: float) -> Array:
    """COCO's v of the keypoints ``(17,)``."""
    height, width = ids.shape
    out = np.zeros(b.R_ANKLE + 1)
    r = max(1, round(0.03 * f.scale))
    spine = f.xy[b.NECK] - f.xy[b.PELVIS]
    along = max(float(np.hypot(*spine)), 1.0)
    for k in range(len(out)):
        x, y = f.xy[k]
        if not (0 <= x < width and 0 <= y < height):
            continue
        around = ids[max(0, int(y) - r) : int(y) + r + 1, max(0, int(x) - r) : int(x) + r + 1]
        hidden = not (around == value).any()
        if k <= b.R_EAR:
            hidden |= bool((f.near[k] - f.near[b.HEAD]) / head < -0.1)
        elif f.near[k] < -0.09 and not hidden:
            # behind the torso: inside its outline as seen, and farther away than its back
            rel = f.xy[k] - f.xy[b.PELVIS]
            u = float(rel @ spine) / along**2
            across = abs(float(rel[0] * spine[1] - rel[1] * spine[0])) / along
            breadth = 0.12 * f.scale * (0.6 + 0.4 * abs(float(f.axes[2, 2])))
            hidden = -0.1 < u < 1.0 and across < breadth
        out[k] = 1 if hidden else 2
    return out
