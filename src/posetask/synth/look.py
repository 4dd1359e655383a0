"""What a person wears: colours and cuts, drawn once for each person."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

Colour = tuple[float, float, float]
"""BGR, 0 to 255."""

_SKIN: tuple[Colour, ...] = (
    (200, 218, 245),
    (180, 205, 238),
    (150, 185, 228),
    (130, 165, 210),
    (105, 140, 190),
    (80, 112, 160),
    (60, 85, 130),
    (45, 62, 98),
    (35, 45, 72),
)
_HAIR: tuple[Colour, ...] = (
    (25, 22, 22),
    (35, 40, 55),
    (40, 60, 95),
    (55, 90, 140),
    (90, 150, 200),
    (150, 200, 225),
    (40, 65, 150),
    (165, 165, 168),
    (215, 218, 220),
)


class Sleeves(StrEnum):
    """Length of the sleeves."""

    NONE = "none"
    SHORT = "short"
    LONG = "long"


class Bottom(StrEnum):
    """Cut below the waist."""

    TROUSERS = "trousers"
    SHORTS = "shorts"
    SKIRT = "skirt"
    DRESS = "dress"


class Hair(StrEnum):
    """Hair or what covers it."""

    SHORT = "short"
    LONG = "long"
    BUN = "bun"
    BALD = "bald"
    CAP = "cap"


class Pattern(StrEnum):
    """Print of the top."""

    PLAIN = "plain"
    STRIPES = "stripes"
    BAND = "band"
    LOGO = "logo"
    JACKET = "jacket"


def _cloth(rng: np.random.Generator) -> Colour:
    """Clothes are often grey, black, white or dark blue, and any colour at times."""
    kind = rng.random()
    if kind < 0.3:
        v = float(rng.choice([28, 50, 85, 130, 185, 232])) + float(rng.uniform(-12, 12))
        return (v + float(rng.uniform(-4, 4)), v, v + float(rng.uniform(-4, 4)))
    hue = float(rng.uniform(0.55, 0.68)) if kind < 0.5 else float(rng.random())
    red, green, blue = colorsys.hsv_to_rgb(hue, float(rng.uniform(0.25, 0.9)), float(rng.uniform(0.2, 0.95)))
    return (blue * 255, green * 255, red * 255)


@dataclass(frozen=True, slots=True)
class Look:
    """One person's appearance.

    Attributes:
        loose: How much wider than the body the clothes are, in metres.
        weave: Strength of the fabric's texture, 0 to 1.
        stripes: Number of stripes of a striped top.
    """

    skin: Colour
    hair: Colour
    top: Colour
    print: Colour
    bottom: Colour
    shoes: Colour
    sleeves: Sleeves
    cut: Bottom
    hairdo: Hair
    pattern: Pattern
    loose: float
    weave: float
    stripes: int
    glasses: bool
    backpack: bool
    bag: Colour

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Look:
        """Draw a look."""

        def pick(kind: type[StrEnum], weights: list[float]) -> str:
            return list(kind)[int(rng.choice(len(weights), p=np.array(weights) / sum(weights)))].value

        skin = _SKIN[int(rng.integers(len(_SKIN)))]
        return cls(
            skin=(
                skin[0] * float(rng.uniform(0.92, 1.05)),
                skin[1] * float(rng.uniform(0.95, 1.04)),
                skin[2] * float(rng.uniform(0.95, 1.04)),
            ),
            hair=_HAIR[int(rng.integers(len(_HAIR)))],
            top=_cloth(rng),
            print=_cloth(rng),
            bottom=_cloth(rng),
            shoes=_cloth(rng),
            sleeves=Sleeves(pick(Sleeves, [1, 4, 5])),
            cut=Bottom(pick(Bottom, [6, 3, 1, 1])),
            hairdo=Hair(pick(Hair, [5, 3, 1, 1, 1.5])),
            pattern=Pattern(pick(Pattern, [4, 2, 1, 1.5, 2])),
            loose=float(rng.uniform(0.004, 0.028)),
            weave=float(rng.uniform(0.0, 1.0)),
            stripes=int(rng.integers(3, 8)),
            glasses=bool(rng.random() < 0.15),
            backpack=bool(rng.random() < 0.1),
            bag=_cloth(rng),
        )
