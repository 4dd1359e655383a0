"""A multipart form, read as it comes: one file goes to where it is stored, and nothing is held but a piece.

Reference: RFC 7578 (multipart/form-data).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from posetask.media.sniff import HEAD, identify, refusal
from posetask_api.backend import Upload
from posetask_api.errors import BadForm, NotAForm, UploadTooLarge

PIECE_BYTES = 2**20
"""What is gathered before it is written."""
_OTHER_BYTES = 2**16
_MOST_PARTS = 20
_HINT = "curl -F file=@clip.mp4 …/upload"

Begin = Callable[[str], Awaitable[Upload]]


class _Form:
    """What the parser finds; called back by it, in order, in between two pieces of the body."""

    def __init__(self, boundary: bytes) -> None:
        self.name: str | None = None
        self.data = bytearray()
        self.begun = self.ended = self.whole = False
        self._header, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        self._mine, self._parts, self._other = False, 0, 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part,
                "on_header_field": self._field,
                "on_header_value": self._text,
                "on_header_end": self._line,
                "on_headers_finished": self._open,
                "on_part_data": self._bytes,
                "on_part_end": self._close,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise BadForm(f"the body is no multipart form: {error}", hint=_HINT) from None

    def take(self) -> bytes:
        """What came of the file since the last call."""
        data, self.data = bytes(self.data), bytearray()
        return data

    def _part(self) -> None:
        self._parts += 1
        self._headers = {}
        if self._parts > _MOST_PARTS:
            raise BadForm(f"the form has more than {_MOST_PARTS} parts", hint=_HINT)

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _line(self) -> None:
        name = self._header.decode("latin-1").strip().lower()
        self._headers[name] = self._value.decode("utf-8", "replace").strip()
        self._header, self._value = bytearray(), bytearray()

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        self._mine = options.get(b"name") == b"file"
        if not self._mine:
            return
        if self.begun:
            raise BadForm("the form has two files", hint="upload them one by one")
        self.begun = True
        self.name = clean_name(options.get(b"filename", b"").decode("utf-8", "replace"))

    def _bytes(self, data: bytes, start: int, end: int) -> None:
        if self._mine:
            self.data += data[start:end]
            return
        self._other += end - start
        if self._other > _OTHER_BYTES:
            raise BadForm("the form's other fields are too large", hint=_HINT)

    def _close(self) -> None:
        self.ended = self.ended or self._mine

    def _end(self) -> None:
        self.whole = True


async def receive_file(
    content_type: str, body: AsyncIterator[bytes], begin: Begin, most: int, on_bytes: Callable[[int], None]
) -> Upload:
    """Store the form's field ``file``.

    Its first bytes decide whether the rest is read at all.

    Args:
        content_type: Of the request.
        body: Of the request.
        begin: Called with the file's name once its first bytes are seen to be a video's.
        most: Bytes of the file at most.
        on_bytes: Told how many were stored.

    Returns:
        The whole upload, not yet submitted.

    Raises:
        NotAForm, BadForm: It is none, or not whole, or without a file.
        UploadTooLarge: The file is larger than ``most``.
        InputError: It does not begin as a video does.
    """
    form = _Form(_boundary(content_type))
    upload: Upload | None = None
    size = 0
    try:
        async for piece in body:
            form.feed(piece)
            enough = len(form.data) >= (PIECE_BYTES if upload is not None else HEAD)
            if form.begun and (enough or form.ended) and (form.data or upload is None):
                data = form.take()
                size += len(data)
                if size > most:
                    raise too_large(most)
                if upload is None:
                    name = form.name or "video"
                    content = identify(data[:HEAD])
                    if content.kind != "video":
                        raise refusal(Path(name), content)
                    upload = await begin(name)
                await upload.write(data)
                on_bytes(len(data))
        if not form.begun:
            raise BadForm("the form has no field named file", hint=_HINT)
        if upload is None or not form.ended or not form.whole:
            raise BadForm("the upload ended in the middle", hint="send it again")
    except BaseException:
        if upload is not None:
            await upload.discard()
        raise
    return upload


def too_large(most: int) -> UploadTooLarge:
    """The refusal of a file over the limit."""
    return UploadTooLarge(f"the file is larger than {most} bytes", hint="cut it, or encode it smaller")


def clean_name(name: str) -> str:
    r"""A file's name that can be shown and stored: no folders, nothing that a shell or a page would act on.

    >>> [clean_name(n) for n in ("..\\..\\clips\\walk (1).mp4", "/etc/passwd", "%2e%2e%2fa\n.mp4")]
    ['walk-1-.mp4', 'passwd', 'a-.mp4']
    """
    last = re.split(r"[/\\]", unquote(name))[-1]
    kept = re.sub(r"[^\w.-]+", "-", last, flags=re.ASCII).strip(".-")[-100:]
    return kept or "video"


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise NotAForm("the body must be multipart/form-data", hint=_HINT)
    boundary: bytes | None = options.get(b"boundary")
    if not boundary or len(boundary) > 70:
        raise BadForm("the form has no boundary", hint=_HINT)
    return boundary
