"""Which format a file is in, by its content."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from posetask.errors import InputError, SourceNotFound

FORMATS = "a COCO dataset or results JSON, MOT rows (frame,id,left,top,width,height,...) or Parquet"


class Format(Enum):
    """The formats that can be scored."""

    COCO_DATASET = "COCO dataset"
    COCO_RESULTS = "COCO results"
    MOT = "MOT"
    PARQUET = "Parquet"


def sniff(path: Path) -> Format:
    """Tell the format from the first bytes. An empty text file is MOT without rows.

    Raises:
        SourceNotFound: There is no such file.
        InputError: It is none of the formats.
    """
    if not path.is_file():
        raise SourceNotFound(f"{path} is not a file", hint="check the path")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error
    if head.startswith(b"PAR1"):
        return Format.PARQUET
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return Format.COCO_DATASET
    if text.startswith(b"["):
        return Format.COCO_RESULTS
    if text[:1] in tuple(b"%c" % c for c in b"0123456789+-.") or (
        not text and path.suffix in (".txt", ".csv")
    ):
        return Format.MOT
    raise InputError(f"{path} is in no format that can be scored", hint=f"give {FORMATS}")
