"""Keypoints of people, by RTMPose (Jiang et al. 2023, arXiv 2303.07399), top-down with SimCC outputs.

SimCC (Li et al. 2022, arXiv 2107.03332) answers with two histograms per keypoint, over x and over y; the
highest bins are the place. The people of several frames are batched together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from posetask.errors import ModelContract
from posetask.models.catalogue import PoseSpec
from posetask.models.imageops import Doubles, Floats, Image, Normaliser, Spares, crop_matrix, crop_scale
from posetask.models.pooled import PooledModel
from posetask.models.store import ResolvedModel
from posetask.models.yolox import checked
from posetask.telemetry import Timings

Estimated = tuple[Floats, Floats]
"""Keypoints ``(N, K, 2)`` in frame pixels, NaN where unknown, and their scores ``(N, K)``."""

_BGRA_PIXELS_PER_PERSON = 600_000
"""Warping four channels takes half as long as three, with equal pixels; turning a frame into BGRA pays
from one person on each so many pixels (measured with OpenCV 5: 0.08 ms saved, 0.14 ns a pixel spent)."""

_SMALLEST, _LARGEST = 0.01, 32.0
"""Boxes with a side below (pixels) or above (longer sides of the frame) are nobody's."""


class RtmposeEstimator(PooledModel):
    """A loaded pose estimator; thread-safe.

    Args:
        resolved: Which model, from :func:`posetask.models.store.resolve_pose`.
        device: ``auto``, ``cpu`` or ``cuda``.
        sessions: Callers at once on a CPU; None: the cores.
        timings: Seconds go to ``rtmpose.pre``, ``rtmpose.infer`` and ``rtmpose.post``.

    Raises:
        ModelCorrupt, ModelContract, NotAvailable: As :class:`~posetask.models.session.SessionPool`.
    """

    spec: PoseSpec

    def __init__(
        self,
        resolved: ResolvedModel[PoseSpec],
        *,
        device: str = "auto",
        sessions: int | None = None,
        timings: Timings | None = None,
    ) -> None:
        super().__init__(resolved, device=device, sessions=sessions, timings=timings, step="rtmpose.infer")
        spec = self.spec = resolved.spec
        self._x, self._y = self._outputs(self._pool.probe(spec.height, spec.width))
        self._normaliser = Normaliser(spec.colour, spec.mean, spec.std)
        self._scratch = Spares(lambda: _Scratch(spec, self._pool.max_batch))

    @property
    def keypoints(self) -> int:
        """How many keypoints a pose has."""
        return self.spec.keypoints

    def estimate(self, images: Sequence[Image], boxes: Sequence[npt.NDArray[np.floating]]) -> list[Estimated]:
        """Keypoints of the people in each picture.

        Args:
            images: ``(height, width, 3)`` uint8 BGR each; sizes may differ.
            boxes: Per picture ``(N, 4)`` xyxy in its pixels.

        Returns:
            Per picture, in the boxes' order: keypoints ``(N, K, 2)`` float32 in its pixels and scores
            ``(N, K)`` float32, the lower of the two histograms' maxima: not probabilities, they can pass
            1. A keypoint whose score is not positive is NaN with score 0, and so are all of a box that
            has no area, is not finite, lies outside the picture, or is absurdly large.

        Raises:
            ValueError: Something is no such picture, or the counts differ.
        """
        if len(images) != len(boxes):
            raise ValueError(f"{len(images)} pictures and boxes for {len(boxes)}")
        people: list[_Person] = []
        for i, (image, xyxy) in enumerate(zip(images, boxes, strict=True)):
            people += self._people(i, checked(image), np.asarray(xyxy, np.float64).reshape(len(xyxy), 4))
        k = self.spec.keypoints
        out = [
            (np.full((len(xyxy), k, 2), np.nan, np.float32), np.zeros((len(xyxy), k), np.float32))
            for xyxy in boxes
        ]
        if people:
            with self._scratch.borrow() as scratch:
                bins, heights = self._peaks(images, people, scratch)
            start = time.perf_counter()
            places, scores = self._read(people, bins, heights)
            for person, place, score in zip(people, places, scores, strict=True):
                keypoints, sure = out[person.image]
                keypoints[person.row], sure[person.row] = place, score
            self._timings.add("rtmpose.post", time.perf_counter() - start)
        return out

    def _people(self, index: int, image: Image, xyxy: Doubles) -> list[_Person]:
        h, w = image.shape[:2]
        with np.errstate(invalid="ignore", over="ignore"):
            side = xyxy[:, 2:] - xyxy[:, :2]
            good = (
                np.isfinite(xyxy).all(axis=1)
                & (side >= _SMALLEST).all(axis=1)
                & (side <= _LARGEST * max(h, w)).all(axis=1)
                & (xyxy[:, :2] < (w, h)).all(axis=1)
                & (xyxy[:, 2:] > 0).all(axis=1)
            )
        rows = np.flatnonzero(good)
        spec = self.spec
        centre, size = crop_scale(xyxy[rows], spec.width / spec.height, spec.expansion)
        bgra = len(rows) * _BGRA_PIXELS_PER_PERSON >= h * w
        return [_Person(index, int(row), c, s, bgra) for row, c, s in zip(rows, centre, size, strict=True)]

    def _peaks(
        self, images: Sequence[Image], people: Sequence[_Person], scratch: _Scratch
    ) -> tuple[npt.NDArray[np.intp], Floats]:
        """Infer in batches: of every histogram the highest bin and its height, ``(people, K, 2)`` each."""
        bins = np.empty((len(people), self.spec.keypoints, 2), np.intp)
        heights = np.empty(bins.shape, np.float32)
        scratch.forget()
        for first in range(0, len(people), self._pool.max_batch):
            start = time.perf_counter()
            batch = people[first : first + self._pool.max_batch]
            for slot, person in enumerate(batch):
                crop, planes = scratch.crop(images[person.image], person)
                self._normaliser(crop, scratch.tensor[slot], planes)
            self._timings.add("rtmpose.pre", time.perf_counter() - start)
            outputs = self._pool.run(scratch.tensor[: self._pool.padded(len(batch))])
            start = time.perf_counter()
            rows = slice(first, first + len(batch))
            for axis, output in enumerate((outputs[self._x], outputs[self._y])):
                best = output[: len(batch)].argmax(axis=2)
                bins[rows, :, axis] = best
                heights[rows, :, axis] = np.take_along_axis(output[: len(batch)], best[:, :, None], 2)[
                    :, :, 0
                ]
            self._timings.add("rtmpose.post", time.perf_counter() - start)
        return bins, heights

    def _read(
        self, people: Sequence[_Person], bins: npt.NDArray[np.intp], heights: Floats
    ) -> tuple[Doubles, Floats]:
        """Turn bins into frame pixels, heights into scores: ``(people, K, 2)`` and ``(people, K)``."""
        spec = self.spec
        size = np.array([p.size for p in people])[:, None]
        corner = np.array([p.centre for p in people])[:, None] - size / 2
        places = bins / (spec.split_ratio * np.array([spec.width, spec.height])) * size + corner
        scores = heights.min(axis=2) if spec.score_rule == "min" else heights.mean(axis=2)
        unknown = ~(scores > 0)  # NaN too
        places[unknown] = np.nan
        scores[unknown] = 0
        return places, scores

    def _outputs(self, outputs: list[tuple[str, Floats]]) -> tuple[int, int]:
        """Which outputs are the histograms over x and over y."""
        spec, n = self.spec, self._pool.padded(1)
        shapes = [(n, spec.keypoints, round(side * spec.split_ratio)) for side in (spec.width, spec.height)]
        names = [name for name, _ in outputs]
        order = (
            [names.index(s) for s in ("simcc_x", "simcc_y")]
            if {"simcc_x", "simcc_y"} <= set(names)
            else [0, 1]
        )
        if len(outputs) < 2 or [outputs[i][1].shape for i in order] != shapes:
            got = "; ".join(f"{name} {list(array.shape)}" for name, array in outputs)
            self._pool.close()
            raise ModelContract(
                f"{spec.name}: expected simcc_x {list(shapes[0])} and simcc_y {list(shapes[1])}, got {got}"
            )
        return order[0], order[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Person:
    """Whose crop: picture, row, centre and size of the crop, and whether to warp the picture as BGRA."""

    image: int
    row: int
    centre: Doubles
    size: Doubles
    bgra: bool


class _Scratch:
    """One caller's memory: the input tensor, the warped crop, its planes, and the current frame as BGRA."""

    def __init__(self, spec: PoseSpec, batch: int) -> None:
        self._spec = spec
        h, w = spec.height, spec.width
        self.tensor = np.zeros((batch, 3, h, w), np.float32)
        self._crops = {c: np.empty((h, w, c), np.uint8) for c in (3, 4)}
        self._planes = [np.empty((h, w), np.uint8) for _ in range(4)]
        self._bgra = np.empty((0, 0, 4), np.uint8)
        self._converted: int | None = None

    def crop(self, image: Image, person: _Person) -> tuple[Image, list[Image]]:
        """Cut out the person, black where the frame ends; with it, scratch for the planes."""
        if person.bgra:
            image = self._as_bgra(image, person.image)
        channels = image.shape[2]
        spec, crop = self._spec, self._crops[channels]
        cv2.warpAffine(
            image,
            crop_matrix(person.centre, person.size, spec.width, spec.height),
            (spec.width, spec.height),
            dst=crop,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0, 0),
        )
        return crop, self._planes[:channels]

    def forget(self) -> None:
        """Begin a new call: its picture 0 is another one."""
        self._converted = None

    def _as_bgra(self, image: Image, index: int) -> Image:
        if self._converted != index:
            if self._bgra.shape[:2] != image.shape[:2]:
                self._bgra = np.empty((*image.shape[:2], 4), np.uint8)
            cv2.cvtColor(image, cv2.COLOR_BGR2BGRA, dst=self._bgra)
            self._converted = index
        return self._bgra
