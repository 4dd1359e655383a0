"""The head: a skull, hair or a cap over it, and a face where it can be seen."""

from __future__ import annotations

import numpy as np

from posetask.synth import body as b
from posetask.synth.body import Array, Build
from posetask.synth.look import Hair, Look
from posetask.synth.paint import capsules, ellipse, tone
from posetask.synth.parts import Figure, Layers, Part, Polygon, layered


def head_parts(build: Build, look: Look, f: Figure, light: Array, layers: Layers) -> list[Part]:
    """Parts of the head, not sorted.

    Args:
        build: The body.
        look: What it wears.
        f: The person.
        light: Unit vector ``(2,)`` in the picture, towards the light.
        layers: Of the shading.
    """
    parts: list[Part] = []
    r = build.head * f.scale
    centre = f.xy[b.HEAD]
    near = float(f.near[b.HEAD])
    face = (f.near[b.FACE] - near) / build.head  # 1 looks at the camera, -1 away
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
    parts.append(Part(near + base, layered(skull, look.skin, light, r, layers)))
    cap = look.hairdo is Hair.CAP
    if look.hairdo is not Hair.BALD:
        colour = look.print if cap else look.hair
        hair = ellipse(f.xy[b.HAIR], side * wide * 1.1, up * tall * 0.94)
        order = near + base - 0.02 * (1 if face > 0.15 else -1)
        parts.append(Part(order, layered(hair, colour, light, r, layers)))
        if face > -0.2:
            lean = (f.xy[b.FACE] - centre) * 0.25
            brow = 0.42 if not cap else 0.3
            keep = np.sin(angle) > brow
            fringe = skull[keep] + up * r * 0.06
            fringe = fringe + lean * 0.2
            parts.append(Part(near + base + 0.01, layered(fringe, colour, light, r * 0.6, layers[:3])))
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
            parts.append(Part(near + base + 0.02, [(brim, tone(colour, 0.7))]))
        if look.hairdo is Hair.LONG:
            fall = f.xy[b.NECK] + (f.xy[b.HAIR] - centre) * 1.2
            r0, r1 = np.array([wide * 1.05]), np.array([wide * 0.95])
            mane = capsules(f.xy[b.HAIR][None], fall[None], r0, r1)[0]
            behind = float(f.near[b.HAIR]) + (0.0 if face < 0 else -0.12)
            parts.append(Part(behind + (0.1 if face < -0.1 else 0), layered(mane, colour, light, r, layers)))
        elif look.hairdo is Hair.BUN:
            at = f.xy[b.HAIR] + (f.xy[b.HAIR] - centre) * 2.4
            bun = ellipse(at, side * r * 0.45, up * r * 0.45)
            parts.append(
                Part(float(f.near[b.HAIR]) - 0.1 * face, layered(bun, colour, light, r * 0.4, layers))
            )
    _face(parts, f, (r, up, side), (f.near - near) / build.head, near + base, look)
    return parts


def _face(
    parts: list[Part],
    f: Figure,
    frame: tuple[float, Array, Array],
    toward: Array,
    base: float,
    look: Look,
) -> None:
    """Ears, eyes, brows, glasses, nose and mouth, as far as they look at the camera (``toward`` > 0)."""
    r, up, side = frame
    if r < 2.2:
        return
    marks: list[Polygon] = []
    if look.hairdo is not Hair.LONG:
        for ear in (b.L_EAR, b.R_EAR):
            if toward[ear] > -0.25:
                lobe = ellipse(f.xy[ear], side * r * 0.14, up * r * 0.24)
                parts.append(
                    Part(
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
            Part(
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
        parts.append(Part(base + 0.015, marks))
