"""The one exception of these modules."""

from __future__ import annotations


class KubeFailed(Exception):
    """A part is missing or does not run; the message says what to do next."""
