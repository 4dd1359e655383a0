"""Draws the people of one frame: limbs and joints in the colour of their id, the id on a label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from posetask.drawing.labels import Rect, Stamp, label_stamp, place_label
from posetask.drawing.palette import BGR, INK, PALETTE, color_of, mix
from posetask.drawing.style import DRAWN, label_height, line_width
from posetask.messages import FrameHeader, Image, Skeleton, Tracks

_SHIFT = 4  # coordinates go to OpenCV in sixteenths of a pixel
_WHITE: BGR = (255, 255, 255)
_LABELS_KEPT = 256

# OpenCV draws small circles as squares on their tips (it steps by 90 degrees); these have 12 corners.
_TURNS = np.arange(12) * (np.pi / 6) + np.pi / 12
_DISC = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=1) * (1 << _SHIFT)

Segments = npt.NDArray[np.int32]
"""``(N, 2, 2)`` int32: ends of N lines, in sixteenths of a pixel."""


@dataclass(frozen=True, slots=True)
class _Shades:
    """One person's colours: the person's left is a little lighter, the right a little darker."""

    across: BGR
    left: BGR
    right: BGR
    joint: BGR


_SHADES = tuple(
    _Shades(color, mix(color, _WHITE, 0.28), mix(color, INK, 0.16), mix(color, _WHITE, 0.62))
    for color in PALETTE
)


@dataclass(frozen=True, slots=True, eq=False)
class _Figures:
    """The people of a frame, made ready for drawing all at once: numpy is slow on one person at a time.

    Attributes:
        visible: ``(M, K)`` bool.
        points: ``(M, K, 2)`` float64, pixels; 0 where not visible.
        fixed: The same in sixteenths, int32.
        whole: ``(M, L)`` bool, links of which both ends are visible.
        boxes: ``(M, 4)`` float64, cut just outside the frame; NaN where not finite.
        radii: Of each person's joints in pixels; 0 draws none.
        head: Indices of the keypoints on the head; empty for another skeleton than the annotator's.
    """

    visible: npt.NDArray[np.bool_]
    points: npt.NDArray[np.float64]
    fixed: Segments
    whole: npt.NDArray[np.bool_]
    boxes: npt.NDArray[np.float64]
    radii: list[float]
    head: tuple[int, ...]


class PoseAnnotator:
    """Draws on frames of one size; make another for another size.

    A person whose keypoints were not estimated, or are all under the threshold, is marked by the corners of
    the box. Interpolated frames look like the others: a change of look with every N-th frame would flicker;
    what is interpolated stands in the data.

    Args:
        width: Of the frames, in pixels.
        height: Of the frames, in pixels.
        boxes: Draw every box.
        ids: Draw a label with the id above each head, or on the box.
        frame_counter: Write the frame's number and time into the top-left corner.
        keypoint_threshold: Keypoints with a lower score are not drawn, nor are limbs that end in one.
        skeleton: The links to draw; frames with another number of keypoints get joints without limbs.

    Raises:
        ValueError: The size is not positive.
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        boxes: bool = False,
        ids: bool = True,
        frame_counter: bool = False,
        keypoint_threshold: float = 0.3,
        skeleton: Skeleton = DRAWN,
    ) -> None:
        if width < 1 or height < 1:
            raise ValueError(f"a frame cannot be {width}x{height}")
        self.width, self.height = width, height
        self.line = line_width(width, height)
        self.label_height = label_height(width, height)
        self._boxes, self._ids, self._counter = boxes, ids, frame_counter
        self._threshold, self._skeleton = keypoint_threshold, skeleton
        self._links = np.array(skeleton.links, np.intp).reshape(-1, 2)
        self._sides = np.array([skeleton.side(link) for link in skeleton.links], np.int8)
        self._rim = max(1, round(self.line * 0.3))
        self._halo = self.line + (2 * self._rim if self.line > 1 else 1)  # a thin line drowns in a wide one
        self._radius = max(1.6, self.line * 1.05)
        self._stamps: dict[int, Stamp] = {}

    def draw(self, image: Image, tracks: Tracks) -> None:
        """Draw ``tracks`` on ``image``, in place. Whatever the coordinates, it draws what can be seen.

        Args:
            image: ``(height, width, 3)`` uint8, BGR, writable.
            tracks: The people of this frame.

        Raises:
            ValueError: The image has another size or type, or is read-only.
        """
        shape, writeable = (self.height, self.width, 3), image.flags.writeable
        if image.shape != shape or image.dtype != np.uint8 or not writeable:
            kind = f"{'' if writeable else 'read-only '}{image.dtype} of {image.shape}"
            raise ValueError(f"expected a writable uint8 image of shape {shape}, got {kind}")
        if not image.flags.c_contiguous:  # OpenCV wants it in one piece
            whole = np.ascontiguousarray(image)
            self.draw(whole, tracks)
            image[...] = whole
            return
        taken: list[Rect] = []
        if self._counter:
            self._draw_counter(image, tracks.header, taken)
        if len(tracks) == 0:
            return
        figures = self._figures(tracks)
        ids = tracks.ids.tolist()
        # Who stands lower in the picture is usually nearer to the camera, and so is drawn last.
        for row in np.argsort(figures.boxes[:, 3], kind="stable").tolist():
            self._draw_person(image, _SHADES[(ids[row] - 1) % len(_SHADES)], figures, row)
        if self._ids:
            for row in sorted(range(len(ids)), key=ids.__getitem__):  # older ids keep their places
                self._draw_label(image, ids[row], figures, row, taken)

    def _figures(self, tracks: Tracks) -> _Figures:
        visible = self._visible(tracks)
        points = np.where(visible[..., None], tracks.keypoints, 0).astype(np.float64)
        fits = visible.shape[1] == len(self._skeleton.keypoints)
        links = self._links if fits else self._links[:0]
        high = np.where(visible[..., None], points, -np.inf).max(axis=1, initial=-np.inf)
        low = np.where(visible[..., None], points, np.inf).min(axis=1, initial=np.inf)
        boxes = self._pixel_boxes(tracks)
        sizes = np.fmax((high - low).max(axis=1), boxes[:, 3] - boxes[:, 1]).tolist()
        whole: npt.NDArray[np.bool_] = np.logical_and.reduce(visible[:, links], axis=2)
        alone = [not limbs.any() for limbs in whole]
        return _Figures(
            visible,
            points,
            np.rint(points * (1 << _SHIFT)).astype(np.int32),
            whole,
            boxes,
            [self._joint_radius(size, least) for size, least in zip(sizes, alone, strict=True)],
            self._skeleton.head if fits else (),
        )

    def _joint_radius(self, size: float, alone: bool) -> float:
        # On small people discs of full size would hide the limbs: they shrink, and then go.
        radius = self._radius * min(1.0, size / (80 * self.line))
        return max(radius, self.line) if alone or radius > 0.6 * self.line else 0.0

    def _visible(self, tracks: Tracks) -> npt.NDArray[np.bool_]:
        """``(M, K)``: finite, over the threshold, and no further outside than the frame is large.

        What lies further out is an error of the model, and would overflow OpenCV's coordinates.
        """
        x, y = tracks.keypoints[..., 0], tracks.keypoints[..., 1]
        near = (x > -self.width) & (x < 2 * self.width) & (y > -self.height) & (y < 2 * self.height)
        return near & (tracks.keypoint_scores >= self._threshold)  # NaN compares False

    def _pixel_boxes(self, tracks: Tracks) -> npt.NDArray[np.float64]:
        """``(M, 4)``: the boxes, cut a little outside the frame so that cut edges are not seen; NaN stays."""
        edge = 4.0 * self._halo
        size = (self.width, self.height, self.width, self.height)
        boxes = tracks.xyxy.astype(np.float64)
        return np.clip(boxes, -edge, np.array(size) + edge)  # keeps NaN

    def _draw_person(self, image: Image, shades: _Shades, figures: _Figures, row: int) -> None:
        visible, fixed, whole = figures.visible[row], figures.fixed[row], figures.whole[row]
        seen = bool(visible.any())
        if self._boxes:
            self._lines(image, _outline(figures.boxes[row]), shades.across)
        elif not seen:
            self._lines(image, _corners(figures.boxes[row]), shades.across)
        if not seen:
            return
        if whole.any():
            limbs, sides = fixed[self._links[whole]], self._sides[whole]
            cv2.polylines(image, list(limbs), False, INK, self._halo, cv2.LINE_AA, _SHIFT)
            for side, color in ((0, shades.across), (1, shades.right), (-1, shades.left)):
                if len(some := limbs[sides == side]):
                    cv2.polylines(image, list(some), False, color, self.line, cv2.LINE_AA, _SHIFT)
        if radius := figures.radii[row]:
            joints = fixed[visible][:, None]
            rims = joints + np.rint(_DISC * (radius + self._rim)).astype(np.int32)
            discs = joints + np.rint(_DISC * radius).astype(np.int32)
            for rim, disc in zip(rims, discs, strict=True):
                cv2.fillConvexPoly(image, rim, INK, cv2.LINE_AA, _SHIFT)
                cv2.fillConvexPoly(image, disc, shades.joint, cv2.LINE_AA, _SHIFT)

    def _lines(self, image: Image, lines: npt.NDArray[np.float64], color: BGR) -> None:
        if not np.isfinite(lines).all():
            return
        fixed = list(np.rint(lines * (1 << _SHIFT)).astype(np.int32))
        cv2.polylines(image, fixed, False, INK, self._halo, cv2.LINE_AA, _SHIFT)
        cv2.polylines(image, fixed, False, color, self.line, cv2.LINE_AA, _SHIFT)

    def _draw_label(
        self, image: Image, track_id: int, figures: _Figures, row: int, taken: list[Rect]
    ) -> None:
        left, top, right, bottom = figures.boxes[row].tolist()
        inside = right > 0 and bottom > 0 and left < self.width and top < self.height  # NaN: False
        stamp = self._stamp(track_id)
        gap = self._halo + self._radius
        if self._boxes:  # flush with the box's left edge
            anchor = (left + (stamp.size[0] - self._halo) / 2, top - self._halo / 2)
        else:
            anchor = ((left + right) / 2, top - gap / 2)
            head = [figures.points[row, i].tolist() for i in figures.head if figures.visible[row, i]]
            if head:
                x, eyes = sum(x for x, _ in head) / len(head), min(y for _, y in head)
                # The crown is an eighth of a standing person above the eyes, at most; raised arms stretch
                # the box beyond it.
                crown = max(top, eyes - 0.12 * (bottom - top)) if inside else eyes
                anchor = (x, min(crown, eyes - gap / 2) - gap / 2)
                inside = inside or (0 <= x < self.width and 0 <= eyes < self.height)
        if not inside:
            return
        place = place_label(anchor, stamp.size, (self.width, self.height), taken)
        if place is not None:
            stamp.onto(image, place)
            taken.append(place)

    def _stamp(self, track_id: int) -> Stamp:
        stamp = self._stamps.get(track_id)
        if stamp is None:
            if len(self._stamps) >= _LABELS_KEPT:
                del self._stamps[next(iter(self._stamps))]
            stamp = self._stamps[track_id] = label_stamp(str(track_id), self.label_height, color_of(track_id))
        return stamp

    def _draw_counter(self, image: Image, header: FrameHeader, taken: list[Rect]) -> None:
        text = f"#{header.index}  {clock(header.time)}"
        stamp = label_stamp(text, self.label_height, INK, _WHITE, opacity=0.62)
        margin = self.label_height // 2
        width, height = stamp.size
        place = place_label((margin + width / 2, margin + height), stamp.size, (self.width, self.height))
        if place is not None:
            stamp.onto(image, place)
            taken.append(place)


def clock(seconds: float) -> str:
    """Time as minutes, seconds and hundredths, with hours where there are any.

    >>> clock(4.1), clock(3723.456), clock(-0.5), clock(59.999)
    ('0:04.10', '1:02:03.45', '-0:00.50', '0:59.99')
    """
    sign = "-" if seconds < 0 else ""
    hundredths = math.floor(round(abs(seconds) * 1e6) / 1e4)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 100:02d}.{rest % 100:02d}"
    return f"{sign}{hours}:{minutes:02d}:{tail}" if hours else f"{sign}{minutes}:{tail}"


def _outline(box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a box as ``(4, 2, 2)`` lines."""
    x1, y1, x2, y2 = box.tolist()
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    return np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)


def _corners(box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the corners of a box as ``(8, 2, 2)`` lines, a fifth of its shorter side long."""
    sides = _outline(box)
    size = np.abs(box[2:] - box[:2])
    reach = 0.2 * float(size.min())
    along = sides[:, 1] - sides[:, 0]
    length = np.maximum(np.abs(along).sum(axis=1, keepdims=True), 1e-6)
    step = along / length * reach
    return np.concatenate(
        [np.stack([sides[:, 0], sides[:, 0] + step], 1), np.stack([sides[:, 1] - step, sides[:, 1]], 1)]
    )
