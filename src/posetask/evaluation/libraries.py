"""The libraries of the ``eval`` extra, imported at the moment they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from posetask.errors import NotAvailable


def library(name: str) -> Any:
    """Import a module of the ``eval`` extra.

    Args:
        name: Dotted module name, such as ``pycocotools.cocoeval``.

    Raises:
        NotAvailable: It is not installed, or does not load on this machine.

    >>> library("no_such_metrics")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    posetask.errors.NotAvailable: no_such_metrics does not load
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotAvailable(
            f"{name.partition('.')[0]} does not load ({error})", hint="pip install 'posetask[eval]'"
        ) from error
