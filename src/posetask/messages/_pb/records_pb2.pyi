# mypy: ignore-errors
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FrameHeader(_message.Message):
    __slots__ = ("run", "index", "pts", "time_base_num", "time_base_den", "width", "height", "duration", "frame_rate", "analysed", "dropped_before", "quarantined")
    RUN_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PTS_FIELD_NUMBER: _ClassVar[int]
    TIME_BASE_NUM_FIELD_NUMBER: _ClassVar[int]
    TIME_BASE_DEN_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    FRAME_RATE_FIELD_NUMBER: _ClassVar[int]
    ANALYSED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    run: str
    index: int
    pts: int
    time_base_num: int
    time_base_den: int
    width: int
    height: int
    duration: int
    frame_rate: float
    analysed: bool
    dropped_before: int
    quarantined: bool
    def __init__(self, run: _Optional[str] = ..., index: _Optional[int] = ..., pts: _Optional[int] = ..., time_base_num: _Optional[int] = ..., time_base_den: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., duration: _Optional[int] = ..., frame_rate: _Optional[float] = ..., analysed: _Optional[bool] = ..., dropped_before: _Optional[int] = ..., quarantined: _Optional[bool] = ...) -> None: ...

class Detections(_message.Message):
    __slots__ = ("header", "people", "xyxy", "scores")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    XYXY_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    header: FrameHeader
    people: int
    xyxy: bytes
    scores: bytes
    def __init__(self, header: _Optional[_Union[FrameHeader, _Mapping]] = ..., people: _Optional[int] = ..., xyxy: _Optional[bytes] = ..., scores: _Optional[bytes] = ...) -> None: ...

class Poses(_message.Message):
    __slots__ = ("header", "people", "keypoints_each", "xyxy", "scores", "keypoints", "keypoint_scores")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    KEYPOINTS_EACH_FIELD_NUMBER: _ClassVar[int]
    XYXY_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    KEYPOINTS_FIELD_NUMBER: _ClassVar[int]
    KEYPOINT_SCORES_FIELD_NUMBER: _ClassVar[int]
    header: FrameHeader
    people: int
    keypoints_each: int
    xyxy: bytes
    scores: bytes
    keypoints: bytes
    keypoint_scores: bytes
    def __init__(self, header: _Optional[_Union[FrameHeader, _Mapping]] = ..., people: _Optional[int] = ..., keypoints_each: _Optional[int] = ..., xyxy: _Optional[bytes] = ..., scores: _Optional[bytes] = ..., keypoints: _Optional[bytes] = ..., keypoint_scores: _Optional[bytes] = ...) -> None: ...

class Tracks(_message.Message):
    __slots__ = ("header", "people", "keypoints_each", "ids", "xyxy", "scores", "det_index", "keypoints", "keypoint_scores", "interpolated")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_FIELD_NUMBER: _ClassVar[int]
    KEYPOINTS_EACH_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    XYXY_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    DET_INDEX_FIELD_NUMBER: _ClassVar[int]
    KEYPOINTS_FIELD_NUMBER: _ClassVar[int]
    KEYPOINT_SCORES_FIELD_NUMBER: _ClassVar[int]
    INTERPOLATED_FIELD_NUMBER: _ClassVar[int]
    header: FrameHeader
    people: int
    keypoints_each: int
    ids: bytes
    xyxy: bytes
    scores: bytes
    det_index: bytes
    keypoints: bytes
    keypoint_scores: bytes
    interpolated: bool
    def __init__(self, header: _Optional[_Union[FrameHeader, _Mapping]] = ..., people: _Optional[int] = ..., keypoints_each: _Optional[int] = ..., ids: _Optional[bytes] = ..., xyxy: _Optional[bytes] = ..., scores: _Optional[bytes] = ..., det_index: _Optional[bytes] = ..., keypoints: _Optional[bytes] = ..., keypoint_scores: _Optional[bytes] = ..., interpolated: _Optional[bool] = ...) -> None: ...

class Foreign(_message.Message):
    __slots__ = ("header", "schema", "version", "payload")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    header: FrameHeader
    schema: str
    version: int
    payload: bytes
    def __init__(self, header: _Optional[_Union[FrameHeader, _Mapping]] = ..., schema: _Optional[str] = ..., version: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class EndOfStream(_message.Message):
    __slots__ = ("run", "frames", "report")
    RUN_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    run: str
    frames: int
    report: DecodeReport
    def __init__(self, run: _Optional[str] = ..., frames: _Optional[int] = ..., report: _Optional[_Union[DecodeReport, _Mapping]] = ...) -> None: ...

class DecodeReport(_message.Message):
    __slots__ = ("frames_decoded", "frames_declared", "corrupt_packets", "missing_seconds", "problems", "stopped_early")
    FRAMES_DECODED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DECLARED_FIELD_NUMBER: _ClassVar[int]
    CORRUPT_PACKETS_FIELD_NUMBER: _ClassVar[int]
    MISSING_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    STOPPED_EARLY_FIELD_NUMBER: _ClassVar[int]
    frames_decoded: int
    frames_declared: int
    corrupt_packets: int
    missing_seconds: float
    problems: _containers.RepeatedScalarFieldContainer[str]
    stopped_early: bool
    def __init__(self, frames_decoded: _Optional[int] = ..., frames_declared: _Optional[int] = ..., corrupt_packets: _Optional[int] = ..., missing_seconds: _Optional[float] = ..., problems: _Optional[_Iterable[str]] = ..., stopped_early: _Optional[bool] = ...) -> None: ...
