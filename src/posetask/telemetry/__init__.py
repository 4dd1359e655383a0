"""Floor 1: what the process says of itself: timings, and the cores it may use."""

from posetask.telemetry.cores import available_cores, quota_cores
from posetask.telemetry.memory import peak_rss_mib
from posetask.telemetry.timing import Timings

__all__ = ["Timings", "available_cores", "peak_rss_mib", "quota_cores"]
