"""Messages to and from their protobuf (proto/posetask/v1). What is amiss is a ValueError; wire names it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from posetask.messages._pb import records_pb2 as pb
from posetask.messages.envelope import ForeignMessage, message_class
from posetask.messages.frame import FrameHeader
from posetask.messages.records import EndOfStream
from posetask.messages.reports import DecodeReport
from posetask.messages.results import Detections, Floats, Ints, Poses, Tracks

S = TypeVar("S", bound=np.generic)


def _pack(array: npt.NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def _unpack(name: str, data: bytes, shape: tuple[int, ...], dtype: type[S]) -> npt.NDArray[S]:
    """A read-only view of ``data``: a record is unpacked without a copy."""
    little = np.dtype(dtype).newbyteorder("<")
    wanted = int(np.prod(shape, dtype=np.int64)) * little.itemsize
    if len(data) != wanted:
        raise ValueError(f"{name}: {len(data)} bytes where {shape} of {np.dtype(dtype)} takes {wanted}")
    return np.frombuffer(data, little).astype(dtype, copy=False).reshape(shape)


def _floats(name: str, data: bytes, *shape: int) -> Floats:
    return _unpack(name, data, shape, np.float32)


def _ints(name: str, data: bytes, *shape: int) -> Ints:
    return _unpack(name, data, shape, np.int32)


def header_to_pb(header: FrameHeader, *, quarantined: bool) -> pb.FrameHeader:
    """See the .proto."""
    return pb.FrameHeader(
        run=header.run,
        index=header.index,
        pts=header.pts,
        time_base_num=header.time_base.numerator,
        time_base_den=header.time_base.denominator,
        width=header.width,
        height=header.height,
        duration=header.duration,
        frame_rate=header.frame_rate,
        analysed=header.analysed,
        dropped_before=header.dropped_before,
        quarantined=quarantined,
    )


def header_from_pb(h: pb.FrameHeader) -> FrameHeader:
    """The inverse; raises ValueError."""
    if h.time_base_den < 1 or h.time_base_num < 1:
        raise ValueError(f"a time base of {h.time_base_num}/{h.time_base_den}")
    return FrameHeader(
        index=h.index,
        pts=h.pts,
        time_base=Fraction(h.time_base_num, h.time_base_den),
        width=h.width,
        height=h.height,
        duration=h.duration,
        frame_rate=h.frame_rate,
        analysed=h.analysed,
        dropped_before=h.dropped_before,
        run=h.run,
    )


def detections_to_pb(m: Detections, *, quarantined: bool) -> pb.Detections:
    """See the .proto."""
    header = header_to_pb(m.header, quarantined=quarantined)
    return pb.Detections(header=header, people=len(m), xyxy=_pack(m.xyxy), scores=_pack(m.scores))


def detections_from_pb(m: pb.Detections) -> Detections:
    """The inverse; raises ValueError."""
    n = m.people
    return Detections(header_from_pb(m.header), _floats("xyxy", m.xyxy, n, 4), _floats("scores", m.scores, n))


def poses_to_pb(m: Poses, *, quarantined: bool) -> pb.Poses:
    """See the .proto."""
    return pb.Poses(
        header=header_to_pb(m.header, quarantined=quarantined),
        people=len(m),
        keypoints_each=m.keypoints.shape[1],
        xyxy=_pack(m.xyxy),
        scores=_pack(m.scores),
        keypoints=_pack(m.keypoints),
        keypoint_scores=_pack(m.keypoint_scores),
    )


def poses_from_pb(m: pb.Poses) -> Poses:
    """The inverse; raises ValueError."""
    n, k = m.people, m.keypoints_each
    return Poses(
        header_from_pb(m.header),
        _floats("xyxy", m.xyxy, n, 4),
        _floats("scores", m.scores, n),
        _floats("keypoints", m.keypoints, n, k, 2),
        _floats("keypoint_scores", m.keypoint_scores, n, k),
    )


def tracks_to_pb(m: Tracks, *, quarantined: bool) -> pb.Tracks:
    """See the .proto."""
    return pb.Tracks(
        header=header_to_pb(m.header, quarantined=quarantined),
        people=len(m),
        keypoints_each=m.keypoints.shape[1],
        ids=_pack(m.ids),
        xyxy=_pack(m.xyxy),
        scores=_pack(m.scores),
        det_index=_pack(m.det_index),
        keypoints=_pack(m.keypoints),
        keypoint_scores=_pack(m.keypoint_scores),
        interpolated=m.interpolated,
    )


def tracks_from_pb(m: pb.Tracks) -> Tracks:
    """The inverse; raises ValueError."""
    n, k = m.people, m.keypoints_each
    return Tracks(
        header_from_pb(m.header),
        _ints("ids", m.ids, n),
        _floats("xyxy", m.xyxy, n, 4),
        _floats("scores", m.scores, n),
        _ints("det_index", m.det_index, n),
        _floats("keypoints", m.keypoints, n, k, 2),
        _floats("keypoint_scores", m.keypoint_scores, n, k),
        m.interpolated,
    )


def foreign_to_pb(m: ForeignMessage, *, quarantined: bool) -> pb.Foreign:
    """See the .proto."""
    header = header_to_pb(m.header, quarantined=quarantined)
    return pb.Foreign(header=header, schema=m.schema, version=m.version, payload=m.payload)


def foreign_from_pb(m: pb.Foreign) -> Any:
    """The stage's own class where this process knows it, else the payload as it is; raises ValueError."""
    header = header_from_pb(m.header)
    cls = message_class(m.schema)
    if cls is None:
        return ForeignMessage(header, m.schema, m.version, m.payload)
    try:
        return cls.from_wire(header, m.version, m.payload)
    except Exception as error:
        raise ValueError(f"{m.schema} version {m.version}: {type(error).__name__}: {error}") from error


def end_to_pb(m: EndOfStream, run: str) -> pb.EndOfStream:
    """See the .proto."""
    r = m.report
    report = pb.DecodeReport(
        frames_decoded=r.frames_decoded,
        frames_declared=r.frames_declared,
        corrupt_packets=r.corrupt_packets,
        missing_seconds=r.missing_seconds,
        problems=r.problems,
        stopped_early=r.stopped_early,
    )
    return pb.EndOfStream(run=run, frames=m.frames, report=report)


def end_from_pb(m: pb.EndOfStream) -> EndOfStream:
    """The inverse."""
    r = m.report
    report = DecodeReport(
        frames_decoded=r.frames_decoded,
        frames_declared=r.frames_declared if r.HasField("frames_declared") else None,
        corrupt_packets=r.corrupt_packets,
        missing_seconds=r.missing_seconds,
        problems=list(r.problems),
        stopped_early=r.stopped_early,
    )
    return EndOfStream(m.frames, report)
