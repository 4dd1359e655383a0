"""Floor 1: who is who. ByteTrack over arrays, its files, and the frames between two analysed ones."""

from posetask.tracking.bytetrack import ByteTracker, TrackerOutput
from posetask.tracking.interpolate import interpolate
from posetask.tracking.parameters import ByteTrackParameters, parse_parameters

__all__ = ["ByteTrackParameters", "ByteTracker", "TrackerOutput", "interpolate", "parse_parameters"]
