"""The torso: a stack of slices turned with the chest, in a garment with a print; skirt and backpack."""

from __future__ import annotations

import numpy as np

from posetask.synth import body as b
from posetask.synth.body import Array, Build
from posetask.synth.look import Bottom, Colour, Look, Pattern
from posetask.synth.paint import capsules, tone
from posetask.synth.parts import Figure, Layers, Part, Polygon, layered


def _smooth(at: Array, x: Array, y: Array) -> Array:
    """Monotone cubic through points, without SciPy: cosine steps between neighbours."""
    k = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)
    u = np.clip((at - x[k]) / (x[k + 1] - x[k]), 0, 1)
    u = 0.5 * u + 0.5 * (0.5 - 0.5 * np.cos(np.pi * u))
    return np.asarray(y[k] + u * (y[k + 1] - y[k]))


class Torso:
    """One person's torso."""

    def __init__(self, build: Build, look: Look) -> None:
        """Work out the slices."""
        self.build = build
        self.look = look
        g = build.girth
        # (position along pelvis..neck, half width, half depth) of the torso's slices, metres
        rough = np.array(
            [
                (-0.14, 0.110 * g, 0.085 * g),
                (0.02, build.hip + 0.062 * g, 0.112 * g),
                (0.40, build.hip + 0.030 * g, 0.098 * g),
                (0.72, build.shoulder * 0.84, 0.118 * g),
                (0.90, build.shoulder * 0.98, 0.098 * g),
                (0.98, build.shoulder * 0.86, 0.080 * g),
                (1.07, build.shoulder * 0.38, 0.060 * g),
            ]
        )
        along = np.concatenate([np.linspace(-0.14, 0.9, 13), [0.94, 0.98, 1.02, 1.07]])
        self._slices = np.stack([along, *(_smooth(along, rough[:, 0], rough[:, k]) for k in (1, 2))], -1)
        self._hem, self._waist = int(np.searchsorted(along, 0.0)), int(np.searchsorted(along, 0.3))

    def _rims(self, f: Figure) -> tuple[Array, Array]:
        """Left and right rim ``(17, 2)`` of the torso's slices in the picture."""
        spine = f.xy[b.NECK] - f.xy[b.PELVIS]
        length = float(np.hypot(*spine))
        along = self._slices[:, :1]
        centres = f.xy[b.PELVIS] + along * spine
        # across the spine as seen; a spine that points at the viewer falls back on the picture's upright
        up = spine / length if length > 0.12 * f.scale else np.array([0.0, -1.0])
        across = np.array([-up[1], up[0]])
        left, forward = f.axes[:, 0], f.axes[:, 2]
        lateral = float(left[0] * across[0] + (-left[1] + left[2] * f.pitch) * across[1])
        sagittal = float(forward[0] * across[0] + (-forward[1] + forward[2] * f.pitch) * across[1])
        half = f.scale * np.hypot(self._slices[:, 1] * lateral, self._slices[:, 2] * sagittal)[:, None]
        half += self.look.loose * f.scale
        return centres + half * across, centres - half * across

    def parts(
        self,
        f: Figure,
        light: Array,
        layers: Layers,
    ) -> list[Part]:
        """Parts of the torso, not sorted.

        Args:
            f: The person.
            light: Unit vector ``(2,)`` in the picture, towards the light.
            layers: Of the shading.
        """
        parts: list[Part] = []
        look = self.look
        left, right = self._rims(f)
        depth = 0.5 * float(f.near[b.CHEST] + f.near[b.PELVIS])
        radius = 0.13 * f.scale

        def bands(lefts: Array, rights: Array, colour: Colour) -> list[Polygon]:
            """Shade across the body only: a garment's ends show no rims."""
            middle, half = 0.5 * (lefts + rights), 0.5 * (lefts - rights)
            out = []
            for t, gain in layers:
                across = half * (1 - 0.8 * t)
                lit = middle + half * (0.4 * t * float(np.sign(half[0] @ light)) * abs(float(light[0])))
                out.append((np.concatenate([lit + across, (lit - across)[::-1]]), tone(colour, gain)))
            return out

        dress = look.cut is Bottom.DRESS
        low_colour = look.top if dress else look.bottom
        parts.append(
            Part(depth - 0.004, bands(left[: self._waist + 1], right[: self._waist + 1], low_colour))
        )
        top = bands(left[self._hem :], right[self._hem :], look.top)
        if f.scale > 22:
            top += self._print(f, left, right)
        parts.append(Part(depth + 0.008, top))
        if look.cut in (Bottom.SKIRT, Bottom.DRESS):
            knees = f.xy[[b.L_KNEE, b.R_KNEE]]
            mid = knees * 0.85 + f.xy[[b.L_HIP, b.R_HIP]] * 0.15
            flare = 0.13 * self.build.muscle * f.scale
            waist = left[self._waist] - right[self._waist]
            out = waist / max(float(np.hypot(*waist)), 1e-6)
            reach = mid @ out
            hem_left = mid[int(np.argmax(reach))] + out * flare
            hem_right = mid[int(np.argmin(reach))] - out * flare
            lefts = np.stack([hem_left, left[self._hem], left[self._waist]])
            rights = np.stack([hem_right, right[self._hem], right[self._waist]])
            parts.append(
                Part(
                    float(f.near[[b.L_KNEE, b.R_KNEE, b.PELVIS]].max()) + 0.03,
                    bands(lefts, rights, low_colour),
                )
            )
        if look.backpack:
            back = -0.19 * f.axes[:, 2]
            at = f.xy[b.CHEST] + f.scale * np.array([back[0], -back[1] + back[2] * f.pitch])
            up = (f.xy[b.NECK] - f.xy[b.PELVIS]) * 0.24
            r = np.array([0.115 * f.scale])
            bag = capsules((at - up)[None], (at + up * 0.7)[None], r * 1.1, r)[0]
            parts.append(
                Part(float(f.near[b.CHEST] + back[2]), layered(bag, look.bag, light, radius, layers))
            )
        return parts

    def _print(self, f: Figure, left: Array, right: Array) -> list[Polygon]:
        look = self.look
        along = self._slices[:, 0]

        def rim(u: float) -> tuple[Array, Array]:
            return (
                np.array([np.interp(u, along, left[:, 0]), np.interp(u, along, left[:, 1])]),
                np.array([np.interp(u, along, right[:, 0]), np.interp(u, along, right[:, 1])]),
            )

        def across(u0: float, u1: float, s0: float, s1: float) -> Array:
            (a0, b0), (a1, b1) = rim(u0), rim(u1)
            return np.array(
                [a0 + (b0 - a0) * s0, a0 + (b0 - a0) * s1, a1 + (b1 - a1) * s1, a1 + (b1 - a1) * s0]
            )

        forward = f.axes[:, 2]
        facing = float(forward[2])
        side = float(forward[0])  # where the chest's middle shows: 0.5 when it faces the viewer
        # the rims' order flips with nothing: `left` is always on the same side of the picture
        lead = 0.5 + 0.42 * side * (1 if left[8, 0] < right[8, 0] else -1)
        out: list[Polygon] = []
        if look.pattern is Pattern.STRIPES:
            for k in range(look.stripes):
                u = 0.1 + 0.85 * k / look.stripes
                out.append((across(u, u + 0.42 / look.stripes, 0.03, 0.97), tone(look.print, 0.95)))
        elif look.pattern is Pattern.BAND:
            out.append((across(0.5, 0.68, 0.02, 0.98), tone(look.print, 0.95)))
        elif look.pattern is Pattern.LOGO and facing > 0.25:
            out.append((across(0.52, 0.78, lead - 0.16, lead + 0.16), tone(look.print, 1.0)))
        elif look.pattern is Pattern.JACKET and facing > 0.1:
            out.append((across(0.04, 0.98, lead - 0.11, lead + 0.11), tone(look.print, 0.9)))
            out.append((across(0.04, 0.98, lead - 0.01, lead + 0.01), tone(look.print, 0.6)))
        return out
