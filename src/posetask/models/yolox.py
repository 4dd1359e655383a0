"""People in pictures, by YOLOX (Ge et al. 2021, arXiv 2107.08430).

Person only: the scores of the other classes are never looked at, and the boxes of an anchor are decoded
only if its score passes, so reading the answer costs microseconds instead of the milliseconds of the
all-classes post-processing that is usual.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from posetask.errors import InvalidParameters, ModelContract
from posetask.models.catalogue import DetectorSpec
from posetask.models.imageops import Doubles, Floats, Image, Letterbox, Normaliser, Spares
from posetask.models.nms import nms
from posetask.models.pooled import PooledModel
from posetask.models.store import ResolvedModel
from posetask.telemetry import Timings

Found = tuple[Floats, Floats]
"""Boxes ``(N, 4)`` xyxy in frame pixels and scores ``(N,)``, best first."""


class YoloxDetector(PooledModel):
    """A loaded person detector; thread-safe.

    Args:
        resolved: Which model, from :func:`posetask.models.store.resolve_detector`.
        device: ``auto``, ``cpu`` or ``cuda``.
        sessions: Callers at once on a CPU; None: the cores.
        score_threshold: Boxes at or below it are dropped; ByteTrack wants those down to 0.1.
        nms_threshold: IoU; None: the model's own. A model with NMS inside is suppressed once more.
        max_people: At most so many boxes a picture.
        timings: Seconds go to ``yolox.pre``, ``yolox.infer`` and ``yolox.post``.

    Raises:
        InvalidParameters: A threshold is not between 0 and 1.
        ModelCorrupt, ModelContract, NotAvailable: As :class:`~posetask.models.session.SessionPool`.
    """

    spec: DetectorSpec

    def __init__(
        self,
        resolved: ResolvedModel[DetectorSpec],
        *,
        device: str = "auto",
        sessions: int | None = None,
        score_threshold: float = 0.1,
        nms_threshold: float | None = None,
        max_people: int | None = None,
        timings: Timings | None = None,
    ) -> None:
        if not 0 <= score_threshold < 1:
            raise InvalidParameters(f"score_threshold must be in [0, 1), not {score_threshold}")
        if nms_threshold is not None and not 0 < nms_threshold <= 1:
            raise InvalidParameters(f"nms_threshold must be in (0, 1], not {nms_threshold}")
        if max_people is not None and max_people < 1:
            raise InvalidParameters(f"max_people must be at least 1, not {max_people}")
        super().__init__(resolved, device=device, sessions=sessions, timings=timings, step="yolox.infer")
        spec = self.spec = resolved.spec
        self._threshold = np.float32(score_threshold)
        self._nms = nms_threshold if nms_threshold is not None else spec.nms_threshold
        self._limit = max_people
        self._check(self._pool.probe(spec.height, spec.width))
        # On a CPU a batch of pictures gains nothing and makes the first wait for the last.
        free = self._pool.fixed_batch is None and not self._pool.on_gpu
        self._batch = 1 if free else self._pool.max_batch
        self._normaliser = Normaliser(spec.colour, spec.mean, spec.std)
        self._scratch = Spares(lambda: _Scratch(spec, self._normaliser, self._pool.padded(self._batch)))
        self._grid, self._stride = _grid(spec)

    def detect(self, images: Sequence[Image]) -> list[Found]:
        """People in each picture.

        Args:
            images: ``(height, width, 3)`` uint8 BGR each; sizes may differ.

        Returns:
            Per picture: boxes ``(N, 4)`` float32 xyxy in its pixels, not clipped to it, and scores
            ``(N,)`` float32; best first, equal scores in the network's order.

        Raises:
            ValueError: Something is no such picture.
        """
        found: list[Found] = []
        for start in range(0, len(images), self._batch):
            found += self._detect(images[start : start + self._batch])
        return found

    def _detect(self, images: Sequence[Image]) -> list[Found]:
        start = time.perf_counter()
        with self._scratch.borrow() as scratch:
            boxes = [scratch.place(i, checked(image)) for i, image in enumerate(images)]
            inputs = scratch.tensor[: self._pool.padded(len(images))]
            self._timings.add("yolox.pre", time.perf_counter() - start)
            outputs = self._pool.run(inputs)
        start = time.perf_counter()
        read = self._raw if self.spec.output == "raw" else self._decoded
        found = [self._select(*read(outputs, i), box) for i, box in enumerate(boxes)]
        self._timings.add("yolox.post", time.perf_counter() - start)
        return found

    def _raw(self, outputs: list[Floats], i: int) -> tuple[Doubles, Floats]:
        rows = outputs[0][i]
        scores = rows[:, 4] * rows[:, 5 + self.spec.person_class]
        best = self._above(scores)
        # float64 for the few that are left: no rounding of ours in the boxes
        picked = rows[best, :4].astype(np.float64)
        stride = self._stride[best]
        centre = (picked[:, :2] + self._grid[best]) * stride
        with np.errstate(over="ignore"):
            half = np.exp(picked[:, 2:]) * stride / 2
            return np.concatenate([centre - half, centre + half], axis=1), scores[best]

    def _decoded(self, outputs: list[Floats], i: int) -> tuple[Doubles, Floats]:
        rows = outputs[0][i]
        labels = next((o for o in outputs[1:] if o.ndim == 2 and o.dtype.kind == "i"), None)
        scores = rows[:, 4].copy()
        if labels is not None:
            scores[labels[i] != self.spec.person_class] = 0
        best = self._above(scores)
        return rows[best, :4].astype(np.float64), scores[best]

    def _above(self, scores: Floats) -> npt.NDArray[np.intp]:
        passed = np.flatnonzero(scores > self._threshold)
        return passed[np.argsort(-scores[passed], kind="stable")]

    def _select(self, xyxy: Doubles, scores: Floats, box: Letterbox) -> Found:
        # exp of a wild output is infinite; a box without area is nobody
        real = np.isfinite(xyxy).all(axis=1) & (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
        if not real.all():
            xyxy, scores = xyxy[real], scores[real]
        if self._nms is not None:
            kept = nms(xyxy, self._nms, self._limit)
        else:
            kept = np.arange(len(xyxy))[: self._limit]
        return box.to_frame(xyxy[kept]).astype(np.float32), scores[kept].astype(np.float32)

    def _check(self, outputs: list[tuple[str, Floats]]) -> None:
        spec, got = self.spec, "; ".join(f"{name} {list(array.shape)}" for name, array in outputs)
        first = outputs[0][1].shape
        n = self._pool.padded(1)
        if spec.output == "raw":
            wanted = f"[{n}, {spec.anchors}, {5 + spec.classes}] (YOLOX, boxes not decoded)"
            right = first == (n, spec.anchors, 5 + spec.classes)
        else:
            wanted = f"[{n}, people, 5] (boxes and scores, NMS inside)"
            right = len(first) == 3 and first[0] == n and first[2] == 5
        if not right:
            self._pool.close()
            raise ModelContract(f"{spec.name}: expected an output of {wanted}, got {got}")


class _Scratch:
    """One caller's memory: the input tensor, grey where no picture lies, and what resizing needs."""

    def __init__(self, spec: DetectorSpec, normaliser: Normaliser, batch: int) -> None:
        self._spec = spec
        self._normaliser = normaliser
        self._pad = normaliser.value(spec.pad_value)
        self.tensor = np.empty((batch, 3, spec.height, spec.width), np.float32)
        self.tensor[:] = self._pad
        self._last: list[Letterbox | None] = [None] * batch
        self._small = np.empty((0, 0, 3), np.uint8)
        self._planes: list[Image] = []

    def place(self, i: int, image: Image) -> Letterbox:
        """Put ``image`` into row ``i`` of the tensor."""
        spec = self._spec
        h, w = image.shape[:2]
        box = Letterbox.fit((w, h), (spec.width, spec.height), spec.padding, spec.rounding)
        if self._small.shape[:2] != (box.height, box.width):
            self._small = np.empty((box.height, box.width, 3), np.uint8)
            self._planes = [np.empty((box.height, box.width), np.uint8) for _ in range(3)]
        cv2.resize(image, (box.width, box.height), dst=self._small, interpolation=cv2.INTER_LINEAR)
        if self._last[i] != box:
            self.tensor[i] = self._pad
            self._last[i] = box
        window = self.tensor[i, :, box.top : box.top + box.height, box.left : box.left + box.width]
        self._normaliser(self._small, window, self._planes)
        return box


def checked(image: Image) -> Image:
    """Return the picture, if it is one.

    Raises:
        ValueError: It is not ``(height, width, 3)`` uint8, or has no pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"expected a uint8 picture (height, width, 3), got {image.dtype} {image.shape}")
    return image


def _grid(spec: DetectorSpec) -> tuple[Doubles, Doubles]:
    """Cell ``(A, 2)`` (x, y) and stride ``(A, 1)`` of every anchor: levels in order, row by row."""
    cells, strides = [], []
    for s in spec.strides:
        ys, xs = np.mgrid[: spec.height // s, : spec.width // s]
        cells.append(np.stack([xs.ravel(), ys.ravel()], axis=1))
        strides.append(np.full((xs.size, 1), s))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)
