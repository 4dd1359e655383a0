"""Draws one person: tapered capsules shaded as cylinders, a torso, a head, cloth over all of it."""

from __future__ import annotations

import cv2
import numpy as np

from posetask.synth import body as b
from posetask.synth.body import Array, Build
from posetask.synth.head import head_parts
from posetask.synth.look import Bottom, Colour, Look, Sleeves
from posetask.synth.paint import Picture, capsules, fill, fixed, stamp, tone
from posetask.synth.parts import LAYERS, Figure, Part, layers_for
from posetask.synth.torso import Torso


class Painter:
    """Draws one person again and again; what build and look fix is worked out once."""

    def __init__(self, build: Build, look: Look, rng: np.random.Generator) -> None:
        """Lay out the limbs and weave the cloth."""
        self.look = look
        self.build = build
        self._limbs(build, look)
        self._torso = Torso(build, look)
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
        self._tones = [[tone(r[6], gain) for _, gain in LAYERS] for r in rows]

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
        layers = layers_for(0.06 * f.scale)
        picks = [LAYERS.index(layer) for layer in layers]
        parts: list[Part] = []
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
            parts.append(Part(float(depth[chain].mean()), links, len(chain)))
        parts += self._torso.parts(f, light, layers)
        parts += head_parts(self.build, self.look, f, light, layers)
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
