"""The camera: where things fall in the picture, how it moves, and what lens, sensor and codec do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from posetask.synth.paint import Array, Picture


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera that looks level over a floor and sways a little.

    Attributes:
        width: Pixels.
        height: Pixels.
        focal: Pixels.
        above: Height of the lens above the floor, metres.
        horizon: Row of the horizon in the still picture.
        sway: Amplitudes of pan, tilt (pixels), zoom (factor) and roll (radians).
        rhythm: ``(4, 2, 2)`` rates (radians a second) and phases of two sines for each of them.
    """

    width: int
    height: int
    focal: float
    above: float
    horizon: float
    sway: tuple[float, float, float, float]
    rhythm: Array

    @classmethod
    def draw(
        cls, rng: np.random.Generator, width: int, height: int, near: float, far: float, motion: float
    ) -> Camera:
        """Draw a camera.

        Args:
            rng: Source of chance.
            width: Pixels.
            height: Pixels.
            near: Distance of the closest people, metres.
            far: Distance of the farthest, metres.
            motion: 0 stands on a tripod, 1 is held by hand.
        """
        focal = 1.15 * height
        low, high = height * float(rng.uniform(0.93, 1.08)), height * float(rng.uniform(0.5, 0.75))
        above = (low - high) / (focal * (1 / near - 1 / far)) if far > near * 1.05 else 1.4
        horizon = high - focal * above / far
        sway = (
            0.035 * width * motion * float(rng.uniform(0.3, 1)),
            0.02 * height * motion * float(rng.uniform(0.3, 1)),
            0.05 * motion * float(rng.uniform(0.3, 1)),
            math.radians(1.4) * motion * float(rng.uniform(0.3, 1)),
        )
        rhythm = np.stack(
            [
                np.stack([rng.uniform(0.2, 0.6, 4), rng.uniform(0, 2 * np.pi, 4)], -1),
                np.stack([rng.uniform(1.0, 2.6, 4), rng.uniform(0, 2 * np.pi, 4)], -1),
            ],
            1,
        )
        return cls(width, height, focal, above, horizon, sway, rhythm)

    def affine(self, t: float) -> Array:
        """``(2, 3)``: from the still picture to the one at ``t`` seconds."""
        wave = np.sin(self.rhythm[:, 0, 0] * t + self.rhythm[:, 0, 1]) + 0.25 * np.sin(
            self.rhythm[:, 1, 0] * t + self.rhythm[:, 1, 1]
        )
        pan, tilt, zoom, roll = wave * np.array(self.sway)
        k = 1 + float(zoom)
        c, s = k * math.cos(float(roll)), k * math.sin(float(roll))
        cx, cy = self.width / 2, self.height / 2
        turn = np.array([[c, -s], [s, c]])
        move = np.array([cx + pan, cy + tilt]) - turn @ [cx, cy]
        return np.concatenate([turn, move[:, None]], 1)

    def project(self, points: Array) -> Array:
        """Pixels ``(..., 2)`` of points ``(..., 3)``: right, up from the floor, distance; still picture."""
        z = np.maximum(points[..., 2], 0.3)
        return np.stack(
            [
                self.width / 2 + self.focal * points[..., 0] / z,
                self.horizon + self.focal * (self.above - points[..., 1]) / z,
            ],
            -1,
        )


@dataclass(frozen=True, slots=True)
class Film:
    """What happens to a picture after the lens.

    Attributes:
        gain: ``(3,)`` factor for blue, green, red.
        flicker: Amplitude of slow changes of light.
        blur: Sigma of the lens, pixels.
        motion: Length of the motion blur, pixels; its direction in ``direction``.
        noise: Sigma of the sensor's noise, grey levels.
        quality: JPEG quality of the compression, 0 for none.
        vignette: Darkening of the corners, 0 to 1.
    """

    gain: Array
    flicker: float
    rate: float
    blur: float
    motion: float
    direction: float
    noise: float
    quality: int
    vignette: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, height: int, hard: bool) -> Film:
        """Draw a film; a hard one is darker, noisier and more compressed."""
        k = height / 360
        light = float(rng.uniform(0.5, 1.15) if hard else rng.uniform(0.82, 1.18))
        return cls(
            gain=np.clip(rng.normal(1, 0.05, 3), 0.85, 1.15) * light,
            flicker=float(rng.uniform(0, 0.2 if hard else 0.08)),
            rate=float(rng.uniform(0.4, 2.5)),
            blur=k * float(rng.uniform(0, 1.0 if hard else 0.6)),
            motion=k * float(rng.uniform(0, 5 if hard else 2)),
            direction=float(rng.uniform(0, math.pi)),
            noise=float(rng.uniform(1, 9 if hard else 4)),
            quality=int(rng.integers(35, 80) if hard else rng.integers(70, 96)),
            vignette=float(rng.uniform(0, 0.35)),
            seed=int(rng.integers(2**31)),
        )


class Darkroom:
    """Develops frames: applies a :class:`Film`. Frame i's noise depends on the film's seed and i alone."""

    def __init__(self, film: Film, width: int, height: int) -> None:
        """Prepare the tables that all frames share."""
        self._film = film
        rng = np.random.default_rng(film.seed)
        # Noise is cut at a random place from one sheet a little larger than the frame, halved to both signs.
        sheet = np.clip(rng.normal(0, film.noise, (height + 64, width + 64, 3)), -127, 127)
        self._more = np.clip(sheet, 0, None).astype(np.uint8)
        self._less = np.clip(-sheet, 0, None).astype(np.uint8)
        y, x = np.mgrid[0:height, 0:width]
        radius = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2
        corner = np.rint(255 * (1 - film.vignette * radius)).astype(np.uint8)
        self._corner: Picture = cv2.merge([corner, corner, corner]).astype(np.uint8)
        levels = np.arange(256)[:, None, None] * film.gain
        self._gain: Picture = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        self._kernel = _streak(film.motion, film.direction)

    def develop(self, image: Picture, index: int, t: float) -> Picture:
        """Make of a scene the picture that comes out of the camera's codec; same shape and type."""
        f = self._film
        light = 1 + f.flicker * math.sin(f.rate * t + f.seed)
        out = cv2.multiply(image, self._corner, scale=light / 255)
        out = cv2.LUT(out, self._gain)
        if f.blur > 0.3:
            out = cv2.GaussianBlur(out, (0, 0), f.blur)
        if self._kernel is not None:
            out = cv2.filter2D(out, -1, self._kernel)
        dy, dx = np.random.default_rng([f.seed, index]).integers(0, 64, 2)
        h, w = out.shape[:2]
        out = cv2.subtract(
            cv2.add(out, self._more[dy : dy + h, dx : dx + w]), self._less[dy : dy + h, dx : dx + w]
        )
        if f.quality:
            _, data = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, f.quality])
            return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return np.asarray(out, np.uint8)


def _streak(length: float, direction: float) -> Array | None:
    """Kernel of a straight motion blur, or None where it is shorter than a pixel and a half."""
    if length < 1.5:
        return None
    n = 2 * math.ceil(length / 2) + 1
    kernel = np.zeros((n, n), np.float32)
    half, c = length / 2, (n - 1) / 2
    d = np.array([math.cos(direction), math.sin(direction)]) * half * 16
    p, q = (np.array([c, c]) * 16 - d).astype(int), (np.array([c, c]) * 16 + d).astype(int)
    cv2.line(kernel, (int(p[0]), int(p[1])), (int(q[0]), int(q[1])), 1.0, 1, cv2.LINE_AA, 4)
    if kernel.sum() == 0:
        return None
    return np.asarray(kernel / kernel.sum(), float)
