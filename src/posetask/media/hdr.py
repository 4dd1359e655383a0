"""High dynamic range to BT.709: the tone curve, and the 3D table through which FFmpeg's lut3d applies it.

The steps, on display light of the HDR signal:

1. PQ (SMPTE ST 2084, BT.2100 table 4): its EOTF. HLG (BT.2100 table 5): the inverse OETF, then the OOTF
   for a 1000 cd/m2 display, gamma 1.2, on luminance.
2. The highest of R, G, B goes through BT.2390's EETF (section 5.4.1: a Hermite spline above a knee, in PQ
   space) from 1000 cd/m2 to 203 cd/m2, HDR's reference white (BT.2408), and the pixel is scaled by the same
   factor: hue is kept, nothing leaves the range.
3. BT.2020 to BT.709 primaries (BT.2087), clipped, and the inverse of BT.1886's display curve, gamma 2.4.

Content above 1000 cd/m2 is clipped. Dynamic metadata (HDR10+, Dolby Vision) is not used.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Hdr = Literal["pq", "hlg"]
Array = npt.NDArray[np.float64]

PEAK = 1000.0
"""Luminance that the source is taken to reach, cd/m2."""
WHITE = 203.0
"""Luminance that becomes white, cd/m2 (BT.2408)."""
LUT_POINTS = 49
"""Grid points on each axis of the table."""

_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_LUMINANCE_2020 = np.array([0.2627, 0.6780, 0.0593])
_2020_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])


def transfer(characteristic: int) -> Hdr | None:
    """Name an HDR transfer characteristic (ITU-T H.273 table 3: 16 is PQ, 18 is HLG); None for SDR."""
    return {16: "pq", 18: "hlg"}.get(characteristic)  # type: ignore[return-value]


def pq_to_light(code: Array) -> Array:
    """Turn PQ code values, 0 to 1, into cd/m2.

    >>> round(float(pq_to_light(np.array(0.5081))), 1)
    100.0
    """
    p = np.power(code, 1 / _M2)
    light: Array = 10000.0 * np.power(np.maximum(p - _C1, 0) / (_C2 - _C3 * p), 1 / _M1)
    return light


def light_to_pq(light: Array) -> Array:
    """Turn light in cd/m2 into PQ code values, 0 to 1."""
    p = np.power(np.maximum(light, 0) / 10000.0, _M1)
    return np.power((_C1 + _C2 * p) / (1 + _C3 * p), _M2)


def hlg_to_light(code: Array) -> Array:
    """Turn HLG code values, ``(..., 3)``, 0 to 1, into the light of a 1000 cd/m2 display, cd/m2."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(code <= 0.5, code * code / 3, (np.exp((code - c) / a) + b) / 12)
    luminance = scene @ _LUMINANCE_2020
    light: Array = PEAK * scene * np.power(luminance, 0.2)[..., None]
    return light


def compress(light: Array) -> Array:
    """Apply BT.2390's EETF from :data:`PEAK` to :data:`WHITE`, both in cd/m2; black stays black."""
    top = light_to_pq(np.array(PEAK))
    e = np.minimum(light_to_pq(light) / top, 1.0)
    white = light_to_pq(np.array(WHITE)) / top
    knee = 1.5 * white - 0.5
    t = np.maximum(e - knee, 0) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * white
    )
    return pq_to_light(np.where(e < knee, e, spline) * top)


def tone_map(code: Array, kind: Hdr) -> Array:
    """Turn R'G'B' codes of BT.2100, ``(..., 3)``, 0 to 1, into those of BT.709, 0 to 1.

    >>> tone_map(np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), "pq").round(3).tolist()
    [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    light = pq_to_light(code) if kind == "pq" else hlg_to_light(code)
    highest = light.max(axis=-1, keepdims=True)
    scale = np.divide(compress(highest), highest, out=np.zeros_like(highest), where=highest > 0)
    linear = np.clip((light * scale / WHITE) @ _2020_TO_709.T, 0, 1)
    shown: Array = np.power(linear, 1 / 2.4)
    return shown


@cache
def cube(kind: Hdr) -> bytes:
    """Lay out :func:`tone_map` as a .cube table, red fastest, :data:`LUT_POINTS` points an axis.

    Values are laid so that the high byte of the 16-bit result is the rounded 8-bit code.
    """
    axis = np.linspace(0, 1, LUT_POINTS)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    table = (tone_map(np.stack([red, green, blue], axis=-1), kind).reshape(-1, 3) * 255 + 0.5) / 256
    rows = "".join(f"{r:.6f} {g:.6f} {b:.6f}\n" for r, g, b in table.tolist())
    return f"LUT_3D_SIZE {LUT_POINTS}\n{rows}".encode()
