"""Floor 2: how records get from stage to stage."""

from posetask.transport.bus import Bus, Cancelled, EmitAgain, Reader, Record, Writer
from posetask.transport.memory import MemoryBus, Window

__all__ = ["Bus", "Cancelled", "EmitAgain", "MemoryBus", "Reader", "Record", "Window", "Writer"]
