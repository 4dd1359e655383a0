"""What a person is painted from: shaded polygons, in parts that are sorted by depth."""

from __future__ import annotations

from dataclasses import dataclass

from posetask.synth.body import Array
from posetask.synth.look import Colour
from posetask.synth.paint import tone

Polygon = tuple[Array, Colour]
Layers = tuple[tuple[float, float], ...]

LAYERS: Layers = ((0.0, 0.56), (0.16, 0.78), (0.38, 0.95), (0.62, 1.06), (0.84, 1.14))
"""(how far from the rim towards the light, gain of the colour)."""


def layers_for(limb: float) -> Layers:
    """Pick the layers for limbs of this radius in pixels; small people need few.

    >>> len(layers_for(20)), len(layers_for(0.5))
    (5, 1)
    """
    if limb > 9:
        return LAYERS
    if limb > 4:
        return LAYERS[:4]
    return (LAYERS[0], LAYERS[2]) if limb > 1.4 else LAYERS[2:3]


@dataclass(frozen=True, slots=True)
class Part:
    """Polygons that are painted together; the first ``solid`` of them make the silhouette."""

    near: float
    polygons: list[Polygon]
    solid: int = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """One person in the picture.

    Attributes:
        xy: ``(JOINTS, 2)`` pixels.
        near: ``(JOINTS,)`` metres towards the camera, from the pelvis.
        scale: Pixels per metre at the pelvis.
        axes: ``(3, 3)`` columns: the chest's left, up, forward in the picture's right, up, towards.
        pitch: How much lower in the picture a point goes per metre towards the camera (metres).
        seat: Weight of sitting, 0 to 1.
    """

    xy: Array
    near: Array
    scale: float
    axes: Array
    pitch: float
    seat: float


def layered(outline: Array, colour: Colour, light: Array, radius: float, layers: Layers) -> list[Polygon]:
    """Shade an outline as a ball: each layer smaller, nearer to the light and lighter."""
    centre = outline.mean(0)
    return [
        (centre + (outline - centre) * (1 - 0.8 * t) + light * (radius * 0.42 * t), tone(colour, gain))
        for t, gain in layers
    ]
