"""How much memory this process has taken at most."""

from __future__ import annotations

from pathlib import Path


def peak_rss_mib(status: Path = Path("/proc/self/status")) -> float | None:
    """Peak resident set of this process since it was started, in MiB; None where the system does not say.

    Read from the kernel's ``VmHWM``, because ``getrusage`` of a child begins at its parent's peak.

    >>> peak_rss_mib(Path("/nowhere")) is None
    True
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return round(int(kib) / 1024, 1) if kib else None
