"""Draws one person: tapered capsules shaded as cylinders, a torso of slices, a head with a face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from posetask.synth import body as b
from posetask.synth.body import Array, Build
from posetask.synth.look import Bottom, Colour, Hair, Look, Pattern, Sleeves
from posetask.synth.paint import Picture, capsules, ellipse, fill, fixed, stamp, tone

Polygon = tuple[Array, Colour]


@dataclass(frozen=True, slots=True)
class _Part:
    """Polygons that are painted together; the first ``solid`` of them make the silhouette."""

    near: float
    polygons: list[Polygon]
    solid: int = 1


_LAYERS = ((0.0, 0.56), (0.16, 0.78), (0.38, 0.95), (0.62, 1.06), (0.84, 1.14))
"""(how far from the rim towards the light, gain of the colour); fewer are drawn on small people."""


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


def _smooth(at: Array, x: Array, y: Array) -> Array:
    """Monotone cubic through points, without SciPy: cosine steps between neighbours."""
    k = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)
    u = np.clip((at - x[k]) / (x[k + 1] - x[k]), 0, 1)
    u = 0.5 * u + 0.5 * (0.5 - 0.5 * np.cos(np.pi * u))
    return np.asarray(y[k] + u * (y[k + 1] - y[k]))


class Painter:
    """Draws one person again and again; what build and look fix is worked out once."""

    def __init__(self, build: Build, look: Look, rng: np.random.Generator) -> None:
        """Lay out the limbs and weave the cloth."""
        self.look = look
        self.build = build
        self._limbs(build, look)
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
        threads = rng.normal(0, 1, (96, 96)).astype(np.float32)
        weave = cv2.GaussianBlur(threads, (0, 0), float(rng.uniform(0.8, 2.5)))
        folds = cv2.GaussianBlur(rng.normal(0, 1, (96, 96)).astype(np.float32), (0, 0), 7)
        texture = weave / weave.std() * (3 + 9 * look.weave) + folds / folds.std() * 9
        self._texture: Picture = np.clip(128 + texture, 64, 192).astype(np.uint8)

    def _limbs(self, build: Build, look: Look) -> None:
        m, cloth = build.muscle, look.loose
        rows: list[tuple[int, int, float, float, float, float, Colour, float, int]] = []
        legs = (
            (b.L_HIP, b.L_KNEE, b.L_ANKLE, b.L_HEEL, b.L_TOE),
            (b.R_HIP, b.R_KNEE, b.R_ANKLE, b.R_HEEL, b.R_TOE),
        )
        for leg, (hip, knee, ankle, heel, toe) in enumerate(legs):
            covered = look.cut is Bottom.TROUSERS
            wear = look.bottom if covered else look.skin
            extra = cloth if covered else 0.0
            rows.append((heel, toe, 0, 1, 0.038, 0.032, look.shoes, 0.012, leg))
            rows.append((knee, ankle, 0, 1, 0.054 * m + extra, 0.036 * m + extra * 1.3, wear, 0.0, 2 + leg))
            rows.append((hip, knee, 0, 1, 0.086 * m + extra, 0.058 * m + extra, wear, 0.0, 2 + leg))
            if look.cut is Bottom.SHORTS:
                rows.append(
                    (hip, knee, 0, 0.72, 0.09 * m + cloth, 0.078 * m + cloth, look.bottom, 0.006, 4 + leg)
                )
        arms = (
            (b.L_SHOULDER, b.L_ELBOW, b.L_WRIST, b.L_HAND),
            (b.R_SHOULDER, b.R_ELBOW, b.R_WRIST, b.R_HAND),
        )
        for arm, (shoulder, elbow, wrist, hand) in enumerate(arms):
            covered = look.sleeves is Sleeves.LONG
            wear = look.top if covered else look.skin
            extra = cloth if covered else 0.0
            rows.append(
                (
                    wrist,
                    hand,
                    0,
                    0.8,
                    0.027 * m,
                    0.024 * m,
                    look.skin,
                    0.034,
                    6 + arm if not covered else 8 + arm,
                )
            )
            rows.append((elbow, wrist, 0, 1, 0.040 * m + extra, 0.027 * m + extra, wear, 0.034, 6 + arm))
            rows.append((shoulder, elbow, 0, 1, 0.053 * m + extra, 0.041 * m + extra, wear, 0.034, 6 + arm))
            if look.sleeves is Sleeves.SHORT:
                rows.append(
                    (shoulder, elbow, 0, 0.6, 0.058 * m + cloth, 0.052 * m + cloth, look.top, 0.038, 10 + arm)
                )
        rows.append((b.CHEST, b.HEAD, 0.5, 0.9, 0.058 * m, 0.052 * m, look.skin, -0.015, 12))
        self._a = np.array([r[0] for r in rows])
        self._b = np.array([r[1] for r in rows])
        self._t0 = np.array([r[2] for r in rows])[:, None]
        self._t1 = np.array([r[3] for r in rows])[:, None]
        self._ra = np.array([r[4] for r in rows])
        self._rb = np.array([r[5] for r in rows])
        self._bias = np.array([r[7] for r in rows])
        chain = [r[8] for r in rows]
        self._chains = [[k for k, c in enumerate(chain) if c == one] for one in sorted(set(chain))]
        self._tones = [[tone(r[6], gain) for _, gain in _LAYERS] for r in rows]

    def draw(self, image: Picture, f: Figure, light: Array) -> tuple[Array, Picture, tuple[int, int]]:
        """Paint the person over what is there.

        Args:
            image: BGR, changed in place.
            f: The person.
            light: Unit vector ``(2,)`` in the picture, towards the light.

        Returns:
            The box ``(4,)`` xyxy of the whole body, its silhouette (255 inside) cut at the box, and the
            pixel ``(x, y)`` of the silhouette's top-left corner; all may reach outside the picture.
        """
        limb = 0.06 * f.scale
        layers = (
            _LAYERS
            if limb > 9
            else _LAYERS[0:4:1]
            if limb > 4
            else (_LAYERS[0], _LAYERS[2])
            if limb > 1.4
            else _LAYERS[2:3]
        )
        picks = [_LAYERS.index(layer) for layer in layers]
        parts: list[_Part] = []
        p = f.xy[self._a] * (1 - self._t0) + f.xy[self._b] * self._t0
        q = f.xy[self._a] * (1 - self._t1) + f.xy[self._b] * self._t1
        t = np.array([layer[0] for layer in layers])
        ra, rb = self._ra * f.scale, self._rb * f.scale
        shift = (t * 0.42)[None, :, None] * light
        outlines = capsules(
            p[:, None] + shift * ra[:, None, None],
            q[:, None] + shift * rb[:, None, None],
            ra[:, None] * (1 - t),
            rb[:, None] * (1 - t),
        )
        depth = 0.5 * (f.near[self._a] + f.near[self._b]) + self._bias
        for chain in self._chains:  # a layer of all its links before the next, so that joints show no rims
            links = [(outlines[k, j], self._tones[k][i]) for j, i in enumerate(picks) for k in chain]
            parts.append(_Part(float(depth[chain].mean()), links, len(chain)))
        self._torso(parts, f, light, layers)
        self._head(parts, f, light, layers)
        parts.sort(key=lambda part: part.near)

        solid = np.concatenate([outline for part in parts for outline, _ in part.polygons[: part.solid]])
        low, high = solid.min(0), solid.max(0)
        corner = (int(np.floor(low[0])) - 1, int(np.floor(low[1])) - 1)
        size = np.ceil(np.minimum(high, 8192) - corner).astype(int) + 2
        mask: Picture = np.zeros((max(1, size[1]), max(1, size[0])), np.uint8)
        offset = np.array(corner) * 16
        for part in parts:
            for n, (outline, colour) in enumerate(part.polygons):
                points = fixed(outline)
                fill(image, points, colour)
                if n < part.solid:
                    stamp(mask, points - offset, 255)
        self._weave(image, mask, corner, f)
        return np.concatenate([low, high]), mask, corner

    def _layered(
        self,
        outline: Array,
        colour: Colour,
        light: Array,
        radius: float,
        layers: tuple[tuple[float, float], ...],
    ) -> list[Polygon]:
        centre = outline.mean(0)
        return [
            (centre + (outline - centre) * (1 - 0.8 * t) + light * (radius * 0.42 * t), tone(colour, gain))
            for t, gain in layers
        ]

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

    def _torso(
        self,
        parts: list[_Part],
        f: Figure,
        light: Array,
        layers: tuple[tuple[float, float], ...],
    ) -> None:
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
            _Part(depth - 0.004, bands(left[: self._waist + 1], right[: self._waist + 1], low_colour))
        )
        top = bands(left[self._hem :], right[self._hem :], look.top)
        if f.scale > 22:
            top += self._print(f, left, right)
        parts.append(_Part(depth + 0.008, top))
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
                _Part(
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
                _Part(float(f.near[b.CHEST] + back[2]), self._layered(bag, look.bag, light, radius, layers))
            )

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

    def _head(
        self,
        parts: list[_Part],
        f: Figure,
        light: Array,
        layers: tuple[tuple[float, float], ...],
    ) -> None:
        look = self.look
        r = self.build.head * f.scale
        centre = f.xy[b.HEAD]
        near = float(f.near[b.HEAD])
        face = (f.near[b.FACE] - near) / self.build.head  # 1 looks at the camera, -1 away
        up = f.xy[b.CROWN] - f.xy[b.CHIN]
        size = float(np.hypot(*up))
        up = up / size if size > 0.3 * r else np.array([0.0, -1.0])
        side = np.array([-up[1], up[0]])
        wide = r * float(np.sqrt((0.80 * face) ** 2 + 0.95 * max(0.0, 1 - face**2)))
        tall = max(0.5 * size, 0.95 * r)
        base = 0.03 + 0.06 * abs(face)
        angle = np.linspace(0, 2 * np.pi, 18, endpoint=False)
        jaw = 1 - 0.16 * np.maximum(0, -np.sin(angle))
        skull = centre + np.outer(np.cos(angle) * wide * jaw, side) + np.outer(np.sin(angle) * tall, up)
        parts.append(_Part(near + base, self._layered(skull, look.skin, light, r, layers)))
        cap = look.hairdo is Hair.CAP
        if look.hairdo is not Hair.BALD:
            colour = look.print if cap else look.hair
            hair = ellipse(f.xy[b.HAIR], side * wide * 1.1, up * tall * 0.94)
            order = near + base - 0.02 * (1 if face > 0.15 else -1)
            parts.append(_Part(order, self._layered(hair, colour, light, r, layers)))
            if face > -0.2:
                lean = (f.xy[b.FACE] - centre) * 0.25
                brow = 0.42 if not cap else 0.3
                keep = np.sin(angle) > brow
                fringe = skull[keep] + up * r * 0.06
                fringe = fringe + lean * 0.2
                parts.append(
                    _Part(near + base + 0.01, self._layered(fringe, colour, light, r * 0.6, layers[:3]))
                )
            if cap and face > -0.3:
                tip = f.xy[b.FACE] * 1.25 - centre * 0.25 + up * r * 0.42
                brim = capsules(
                    (centre + up * r * 0.45 - side * 0)[None],
                    tip[None],
                    np.array([wide * 0.75]),
                    np.array([wide * 0.5]),
                )[0]
                flat = centre + up * r * 0.5
                brim = brim - np.outer((brim - flat) @ up, up) * 0.72
                parts.append(_Part(near + base + 0.02, [(brim, tone(colour, 0.7))]))
            if look.hairdo is Hair.LONG:
                fall = f.xy[b.NECK] + (f.xy[b.HAIR] - centre) * 1.2
                r0, r1 = np.array([wide * 1.05]), np.array([wide * 0.95])
                mane = capsules(f.xy[b.HAIR][None], fall[None], r0, r1)[0]
                behind = float(f.near[b.HAIR]) + (0.0 if face < 0 else -0.12)
                parts.append(
                    _Part(behind + (0.1 if face < -0.1 else 0), self._layered(mane, colour, light, r, layers))
                )
            elif look.hairdo is Hair.BUN:
                at = f.xy[b.HAIR] + (f.xy[b.HAIR] - centre) * 2.4
                bun = ellipse(at, side * r * 0.45, up * r * 0.45)
                parts.append(
                    _Part(
                        float(f.near[b.HAIR]) - 0.1 * face, self._layered(bun, colour, light, r * 0.4, layers)
                    )
                )
        self._face(parts, f, r, up, side, near, near + base, look)

    def _face(
        self,
        parts: list[_Part],
        f: Figure,
        r: float,
        up: Array,
        side: Array,
        near: float,
        base: float,
        look: Look,
    ) -> None:
        if r < 2.2:
            return
        toward = (f.near - near) / self.build.head
        marks: list[Polygon] = []
        if look.hairdo is not Hair.LONG:
            for ear in (b.L_EAR, b.R_EAR):
                if toward[ear] > -0.25:
                    lobe = ellipse(f.xy[ear], side * r * 0.14, up * r * 0.24)
                    parts.append(
                        _Part(
                            base + 0.012,
                            [
                                (lobe, tone(look.skin, 0.72)),
                                (lobe * 0.6 + f.xy[ear] * 0.4, tone(look.skin, 0.92)),
                            ],
                        )
                    )
        for eye in (b.L_EYE, b.R_EYE):
            facing = float(toward[eye])
            if facing < 0.12:
                continue
            narrow = 0.17 * (0.35 + 0.65 * min(1.0, facing))
            at = f.xy[eye]
            if r > 7:
                marks.append((ellipse(at, side * r * narrow, up * r * 0.105), (235, 238, 240)))
                marks.append((ellipse(at, side * r * narrow * 0.5, up * r * 0.1), (40, 35, 30)))
                brow = at + up * r * 0.24
                span = side * r * 0.2
                thick = up * r * 0.045
                marks.append(
                    (
                        np.array([brow - span, brow + span, brow + span + thick, brow - span + thick]),
                        tone(look.hair, 0.8),
                    )
                )
            else:
                marks.append((ellipse(at, side * r * narrow, up * r * 0.12), tone(look.skin, 0.25)))
            if look.glasses and r > 4:
                ring = ellipse(at, side * r * (narrow + 0.1), up * r * 0.2)
                marks.insert(max(0, len(marks) - 3), (ring, (50, 45, 45)))
        if toward[b.NOSE] > 0.0:
            bridge = 0.5 * (f.xy[b.L_EYE] + f.xy[b.R_EYE])
            tip = f.xy[b.NOSE]
            wing = side * r * 0.13
            marks.append((np.array([bridge, tip + wing, tip - wing]), tone(look.skin, 0.8)))
            marks.append((ellipse(tip, side * r * 0.1, up * r * 0.08), tone(look.skin, 1.12)))
        elif toward[b.NOSE] > -0.35:  # in profile the nose sticks out
            tip = f.xy[b.NOSE]
            root = f.xy[b.HEAD] * 0.3 + tip * 0.7
            parts.append(
                _Part(
                    base - 0.001,
                    [(np.array([root + up * r * 0.3, tip, root - up * r * 0.1]), tone(look.skin, 0.9))],
                )
            )
        if toward[b.MOUTH] > 0.2:
            at = f.xy[b.MOUTH]
            skin = tone(look.skin, 0.7)
            marks.append(
                (
                    ellipse(at, side * r * 0.26 * min(1.0, 1.2 * float(toward[b.MOUTH])), up * r * 0.06),
                    (skin[0] * 0.8, skin[1] * 0.75, min(255.0, skin[2] * 1.1)),
                )
            )
        if marks:
            parts.append(_Part(base + 0.015, marks))

    def _weave(self, image: Picture, mask: Picture, corner: tuple[int, int], f: Figure) -> None:
        """Multiply the fabric over the silhouette; it is pinned to the chest, so it moves with the body."""
        if f.scale < 20:
            return
        x0, y0 = max(0, corner[0]), max(0, corner[1])
        x1, y1 = (
            min(image.shape[1], corner[0] + mask.shape[1]),
            min(image.shape[0], corner[1] + mask.shape[0]),
        )
        if x0 >= x1 or y0 >= y1:
            return
        k = 0.02 * f.scale  # one texel is two centimetres
        k = max(k, 0.5)
        pin = f.xy[b.CHEST] - [x0, y0] - 48 * k
        warp = np.array([[k, 0, pin[0]], [0, k, pin[1]]])
        cloth = cv2.warpAffine(self._texture, warp, (x1 - x0, y1 - y0), borderMode=cv2.BORDER_REFLECT)
        region = image[y0:y1, x0:x1]
        inside = mask[y0 - corner[1] : y1 - corner[1], x0 - corner[0] : x1 - corner[0]]
        woven = cv2.multiply(region, cv2.merge([cloth, cloth, cloth]), scale=1 / 128)
        cv2.copyTo(woven, inside, region)
