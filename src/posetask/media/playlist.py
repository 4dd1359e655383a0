"""The HLS media playlist over the segments (RFC 8216, protocol version 7: fragmented MP4)."""

from __future__ import annotations

import math
from fractions import Fraction

from posetask.media.manifest import INIT, Manifest

_MICRO = 1_000_000


def render(manifest: Manifest) -> str:
    """List what is complete, as an EVENT playlist: a player may go back to the start at any time.

    Each EXTINF is the difference of the segment's rounded bounds, so that their sum stays within a
    microsecond of the true time however long the stream is.
    """
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{target_duration(manifest)}",
        "#EXT-X-MEDIA-SEQUENCE:0",
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="{INIT}"',
    ]
    for segment in manifest.segments:
        length = _micros(segment.end_pts, manifest.time_base) - _micros(segment.first_pts, manifest.time_base)
        lines += [f"#EXTINF:{length // _MICRO}.{length % _MICRO:06d},", segment.name]
    if manifest.finished:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def target_duration(manifest: Manifest) -> int:
    """Whole seconds that no segment exceeds once rounded (RFC 8216, 4.3.3.1).

    It should not change while the stream grows; it does only where the source holds one frame for
    longer than a segment and than its frame rate would let one expect: such a frame cannot be cut in two.
    """
    rate = manifest.source.frame_rate
    expected = max(manifest.settings.segment_seconds, 1 / rate if rate > 0 else 0.0)
    longest = max((s.end_pts - s.first_pts for s in manifest.segments), default=0) * manifest.time_base
    return max(1, math.ceil(expected), math.floor(longest + Fraction(1, 2)))


def _micros(ticks: int, time_base: Fraction) -> int:
    """Nearest microsecond; whole numbers, because this runs for every segment at every segment."""
    return (2 * ticks * time_base.numerator * _MICRO + time_base.denominator) // (2 * time_base.denominator)
