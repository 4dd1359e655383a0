"""Places: procedural backgrounds, and the things that stand in front of people."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np

from posetask.synth.paint import Array, Picture, capsules, fill, fixed, stamp, tone
from posetask.synth.spec import Place

Colour = tuple[float, float, float]


def _colour(
    rng: np.random.Generator, saturation: float = 0.5, low: float = 0.25, high: float = 0.95
) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(
        float(rng.random()), float(rng.uniform(0, saturation)), float(rng.uniform(low, high))
    )
    return (b * 255, g * 255, r * 255)


def _gradient(height: int, width: int, top: Colour, bottom: Colour) -> Picture:
    t = np.linspace(0, 1, height)[:, None, None]
    rows = np.array(top) * (1 - t) + np.array(bottom) * t
    return np.ascontiguousarray(np.broadcast_to(rows, (height, width, 3)).astype(np.uint8))


def _cloud(rng: np.random.Generator, height: int, width: int, octaves: int = 5) -> Array:
    """Smooth noise of several octaves, mean 0, about -1 to 1, ``(height, width)``."""
    out = np.zeros((height, width), np.float32)
    for k in range(octaves):
        n = 3 * 2**k
        grid = rng.normal(0, 1, (n, max(2, int(n * width / height)))).astype(np.float32)
        out += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.6**k
    return np.asarray(out / 2.2, float)


def _textured(image: Picture, noise: Array, strength: float) -> Picture:
    return np.clip(
        image.astype(np.float32) * (1 + strength * noise[..., None].astype(np.float32)), 0, 255
    ).astype(np.uint8)


def _floor(rng: np.random.Generator, image: Picture, horizon: int, colour: Colour) -> None:
    """Lay the floor below the horizon: a gradient, tiles or boards in perspective, and grain."""
    height, width = image.shape[:2]
    depth = height - horizon
    if depth < 4:
        return
    image[horizon:] = _gradient(depth, width, tone(colour, 0.75), tone(colour, 1.08))
    kind = rng.random()
    if kind < 0.6:
        y, x = np.mgrid[0:depth, 0:width].astype(np.float32)
        z = depth / (y + 1.5)
        u = (x - width * float(rng.uniform(0.3, 0.7))) * z / depth
        size = float(rng.uniform(0.25, 0.9))
        checks = (np.floor(u / size) + (np.floor(z * 1.2 / size) if kind < 0.4 else 0)) % 2
        fade = np.clip((y + 1) / depth * 3, 0, 1)
        gain = 1 + (checks - 0.5) * float(rng.uniform(0.08, 0.3)) * fade
        image[horizon:] = np.clip(image[horizon:] * gain[..., None], 0, 255).astype(np.uint8)
    image[horizon:] = _textured(image[horizon:], _cloud(rng, depth, width), float(rng.uniform(0.02, 0.1)))


def _room(rng: np.random.Generator, image: Picture, horizon: int) -> None:
    height, width = image.shape[:2]
    foot = min(height - 2, horizon + int(height * rng.uniform(0.06, 0.2)))
    wall = _colour(rng, 0.35, 0.45, 0.95)
    image[:foot] = _gradient(foot, width, tone(wall, 1.05), tone(wall, 0.85))
    if rng.random() < 0.4:
        step = int(rng.integers(width // 24, width // 8))
        for x in range(0, width, step):
            cv2.line(image, (x, 0), (x, foot), tone(wall, 0.86), max(1, width // 500), cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 8))):
        w, h = int(width * rng.uniform(0.04, 0.16)), int(height * rng.uniform(0.08, 0.3))
        x, y = int(rng.uniform(0, width - w)), int(rng.uniform(0.02, 0.5) * foot)
        colour = _colour(rng, 0.8)
        cv2.rectangle(image, (x, y), (x + w, y + h), tone(colour, 0.5), -1)
        e = max(1, width // 250)
        cv2.rectangle(image, (x + e, y + e), (x + w - e, y + h - e), colour, -1)
        if rng.random() < 0.6:
            patch = image[y + e : y + h - e, x + e : x + w - e]
            if patch.size:
                patch[:] = _textured(patch.copy(), _cloud(rng, patch.shape[0], patch.shape[1], 4), 0.5)
    image[foot - max(1, height // 90) : foot] = tone(wall, 0.55)
    _floor(rng, image, foot, _colour(rng, 0.4, 0.25, 0.8))
    for _ in range(int(rng.integers(0, 6))):  # cupboards, sofas
        w, h = int(width * rng.uniform(0.05, 0.2)), int(height * rng.uniform(0.08, 0.3))
        x, y = int(rng.uniform(-0.1, 1) * width), foot + int(height * rng.uniform(0.0, 0.08))
        _box(image, x, y - h, w, h, _colour(rng, 0.6, 0.15, 0.8))


def _box(image: Picture, x: int, y: int, w: int, h: int, colour: Colour) -> None:
    lip = max(2, h // 8)
    cv2.rectangle(image, (x, y), (x + w, y + h), tone(colour, 0.8), -1, cv2.LINE_AA)
    top = np.array([(x, y), (x + w, y), (x + w - lip, y - lip), (x + lip, y - lip)], float)
    fill(image, fixed(top), tone(colour, 1.1))
    for k in range(1, 3):
        cv2.line(image, (x + w * k // 3, y + 2), (x + w * k // 3, y + h), tone(colour, 0.6), 1, cv2.LINE_AA)


def _street(rng: np.random.Generator, image: Picture, horizon: int) -> None:
    height, width = image.shape[:2]
    image[:] = _gradient(height, width, (235, 200, 150), (235, 230, 220))
    x = -int(width * 0.05)
    while x < width:
        w, top = int(width * rng.uniform(0.08, 0.22)), int(horizon * rng.uniform(-0.2, 0.6))
        colour = _colour(rng, 0.35, 0.3, 0.85)
        cv2.rectangle(image, (x, top), (x + w, horizon + 4), colour, -1)
        nx, ny = int(rng.integers(3, 7)), int(rng.integers(3, 8))
        glass = tone(_colour(rng, 0.3, 0.2, 0.7), float(rng.uniform(0.6, 1.2)))
        for i in range(nx):
            for j in range(ny):
                wx, wy = x + int((i + 0.25) * w / nx), top + int((j + 0.25) * (horizon - top) / ny)
                cv2.rectangle(
                    image,
                    (wx, wy),
                    (wx + max(1, int(w / nx * 0.5)), wy + max(1, int((horizon - top) / ny * 0.55))),
                    tone(glass, float(rng.uniform(0.7, 1.3))),
                    -1,
                )
        x += w
    grey = float(rng.uniform(70, 170))
    _floor(rng, image, horizon, (grey, grey, grey * 0.98))
    kerb = horizon + int((height - horizon) * rng.uniform(0.05, 0.3))
    cv2.rectangle(image, (0, kerb), (width, kerb + max(1, height // 80)), (grey * 0.6,) * 3, -1)


def _park(rng: np.random.Generator, image: Picture, horizon: int) -> None:
    height, width = image.shape[:2]
    image[:] = _textured(
        _gradient(height, width, (240, 190, 130), (245, 235, 220)),
        np.maximum(_cloud(rng, height, width, 4), 0),
        0.2,
    )
    for _ in range(int(rng.integers(8, 26))):
        x, base = float(rng.uniform(0, width)), horizon + float(rng.uniform(0, 0.06)) * height
        tall = height * float(rng.uniform(0.15, 0.55))
        green = (float(rng.uniform(20, 70)), float(rng.uniform(70, 150)), float(rng.uniform(30, 110)))
        trunk = capsules(
            np.array([[x, base]]),
            np.array([[x, base - tall * 0.6]]),
            np.array([tall * 0.05]),
            np.array([tall * 0.03]),
        )[0]
        fill(image, fixed(trunk), (40, 55, 75))
        for _ in range(9):
            r = tall * float(rng.uniform(0.1, 0.22))
            cx, cy = x + rng.normal(0, tall * 0.16), base - tall * rng.uniform(0.5, 1.0)
            cv2.circle(
                image,
                (int(cx), int(cy)),
                max(1, int(r)),
                tone(green, float(rng.uniform(0.7, 1.25))),
                -1,
                cv2.LINE_AA,
            )
    _floor(
        rng,
        image,
        horizon,
        (float(rng.uniform(40, 80)), float(rng.uniform(110, 160)), float(rng.uniform(70, 130))),
    )
    image[horizon:] = _textured(image[horizon:].copy(), rng.normal(0, 1, (height - horizon, width)), 0.08)


def _clutter(rng: np.random.Generator, image: Picture, horizon: int) -> None:
    """No place at all: colour clouds and shapes, some of them like limbs, as counter-examples."""
    height, width = image.shape[:2]
    image[:] = _gradient(height, width, _colour(rng, 0.8, 0.1), _colour(rng, 0.8, 0.1))
    for channel in range(3):
        layer = image[..., channel].astype(np.float32) + 45 * _cloud(rng, height, width)
        image[..., channel] = np.clip(layer, 0, 255).astype(np.uint8)
    for _ in range(int(rng.integers(15, 70))):
        _limb_like(rng, image)
    if rng.random() < 0.5:
        _floor(rng, image, horizon, _colour(rng, 0.5, 0.2, 0.8))


def _limb_like(rng: np.random.Generator, image: Picture) -> None:
    height, width = image.shape[:2]
    p = np.array([[rng.uniform(0, width), rng.uniform(0, height)]])
    size = height * float(rng.uniform(0.02, 0.25))
    turn = float(rng.uniform(0, 2 * np.pi))
    q = p + size * np.array([[np.cos(turn), np.sin(turn)]])
    r = size * float(rng.uniform(0.05, 0.5))
    colour = _colour(rng, 0.8, 0.1)
    for t, gain in ((0.0, 0.6), (0.3, 0.9), (0.6, 1.1)):
        outline = capsules(p, q, np.array([r * (1 - t)]), np.array([r * (1 - t) * rng.uniform(0.5, 1)]))[0]
        fill(image, fixed(outline), tone(colour, gain))


def background(
    rng: np.random.Generator, width: int, height: int, horizon: float, place: Place = Place.ANY
) -> Picture:
    """Paint a place.

    Args:
        rng: Source of chance.
        width: Pixels.
        height: Pixels.
        horizon: Row where the floor ends at infinity, in pixels.
        place: What it is; ``any`` draws one.

    Returns:
        ``(height, width, 3)`` BGR.
    """
    image: Picture = np.zeros((height, width, 3), np.uint8)
    row = int(min(max(horizon, height * 0.08), height * 0.92))
    painters = {Place.ROOM: _room, Place.STREET: _street, Place.PARK: _park, Place.CLUTTER: _clutter}
    drawn = list(painters)[int(rng.choice(4, p=[0.4, 0.22, 0.2, 0.18]))]
    where = drawn if place is Place.ANY else place
    painters[where](rng, image, row)
    if where is Place.CLUTTER or rng.random() < 0.15:
        for _ in range(int(rng.integers(2, 12))):
            _limb_like(rng, image)
    image = _textured(image, _cloud(rng, height, width, 3), float(rng.uniform(0.0, 0.12)))
    blur = float(rng.uniform(0.0, 0.006)) * height
    return cv2.GaussianBlur(image, (0, 0), blur).astype(np.uint8) if blur > 0.4 else image


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that stands on the floor and hides what is behind it.

    Attributes:
        x: Metres to the right of the camera's axis.
        z: Metres from the camera.
        outlines: Convex polygons in metres (right, up) with their colours, back to front.
    """

    x: float
    z: float
    outlines: tuple[tuple[Array, Colour], ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, x: float, z: float) -> Thing:
        """Draw a pole, crate, bush or bench."""
        colour = _colour(rng, 0.7, 0.15, 0.9)
        kind = rng.random()
        parts: list[tuple[Array, Colour]] = []

        def slab(x0: float, y0: float, x1: float, y1: float, gain: float) -> None:
            parts.append((np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), tone(colour, gain)))

        if kind < 0.35:
            r, h = float(rng.uniform(0.04, 0.14)), float(rng.uniform(1.6, 4.0))
            for k, gain in enumerate((0.55, 0.8, 1.0, 1.12)):
                slab(-r * (1 - 0.3 * k) - 0.1 * r * k, 0, r * (1 - 0.24 * k) - 0.1 * r * k, h, gain)
        elif kind < 0.65:
            w, h = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.4, 1.1))
            slab(-w / 2, 0, w / 2, h, 0.75)
            parts.append(
                (
                    np.array([[-w / 2, h], [w / 2, h], [w * 0.42, h + 0.1], [-w * 0.42, h + 0.1]]),
                    tone(colour, 1.1),
                )
            )
            slab(-w / 2 + 0.05, h * 0.12, w / 2 - 0.05, h * 0.88, 0.88)
        elif kind < 0.85:
            size = float(rng.uniform(0.3, 0.7))
            turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
            for _ in range(22):
                cx, cy, r = (
                    rng.normal(0, size * 0.4),
                    rng.uniform(0.1, 1.5) * size,
                    size * rng.uniform(0.15, 0.34),
                )
                leaf = (
                    float(rng.uniform(20, 60)),
                    float(rng.uniform(80, 150)),
                    float(rng.uniform(30, 90)),
                )
                parts.append((np.stack([cx + r * np.cos(turn), cy + r * np.sin(turn)], -1), leaf))
        else:
            w = float(rng.uniform(0.9, 1.8))
            for s in (-1, 1):
                slab(s * w * 0.42 - 0.03, 0, s * w * 0.42 + 0.03, 0.45, 0.55)
            slab(-w / 2, 0.4, w / 2, 0.48, 0.95)
            slab(-w / 2, 0.62, w / 2, 0.88, 1.0)
        return cls(x, z, tuple(parts))

    def paint(self, image: Picture, ids: Picture, foot: Array, scale: float, spin: Array, value: int) -> None:
        """Draw onto the picture and the map of ids.

        Args:
            image: BGR.
            ids: Map of ids.
            foot: ``(2,)`` where the thing stands, pixels.
            scale: Pixels per metre.
            spin: ``(2, 2)`` the camera's roll.
            value: What to write into ``ids``.
        """
        for outline, colour in self.outlines:
            points = fixed(foot + (outline * [scale, -scale]) @ spin.T)
            fill(image, points, colour)
            stamp(ids, points, value)
