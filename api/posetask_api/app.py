"""The routes: upload, status, result, stream; and the pages that every process of ours has."""

# FastAPI looks at annotations when a route is declared: none of these may be a string.
import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    StreamingResponse,
)
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from posetask.errors import (
    AccessDenied,
    InputError,
    InvalidParameters,
    PoseTaskError,
    StageFailed,
    Unavailable,
)
from posetask.exports.metadata import tool_version
from posetask.runtime.service.problems import CONTENT_TYPE as PROBLEM
from posetask.runtime.service.problems import Problem
from posetask.runtime.service.settings import is_loopback
from posetask.telemetry.metrics import CONTENT_TYPE
from posetask_api.backend import TaskBackend
from posetask_api.errors import BadForm
from posetask_api.form import receive_file, too_large
from posetask_api.metrics import ApiMetrics
from posetask_api.model import Health, Link, LocalFile, StoredObject, TaskStatus, UploadAccepted
from posetask_api.observe import Observer, request_id
from posetask_api.ranges import check_range, one_range
from posetask_api.settings import ApiSettings

logger = logging.getLogger(__name__)

OPEN = frozenset({"/health", "/healthz", "/readyz"})
"""Paths that say nothing of tasks: probes have no token. ``/openapi.json`` needs none either."""
_RETRY_SECONDS = 5
_DRAIN_BYTES = 64 * 2**20
_DRAIN_SECONDS = 10.0
_MEDIA = {"m3u8": "application/vnd.apple.mpegurl", "m4s": "video/iso.segment", "mp4": "video/mp4"}
_FORM = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary", "description": "The video."}},
            }
        }
    },
}


def make_app(backend: TaskBackend, settings: ApiSettings) -> FastAPI:
    """The application.

    Every error is a problem document (RFC 9457). Where there is a token, everything but :data:`OPEN` needs
    ``Authorization: Bearer TOKEN``; without one the server answers this machine alone, and no web page on it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await backend.start()
        yield
        await backend.close()

    metrics = ApiMetrics()
    app = FastAPI(
        title="PoseTask",
        summary="Videos in, tracked human poses out.",
        version=tool_version().removeprefix("posetask "),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        dependencies=[Depends(HTTPBearer(auto_error=False)), Depends(_guard(settings))],
    )
    _tasks(app, backend, settings, metrics)
    _pages(app, backend, metrics)
    _errors(app)
    app.add_middleware(Observer, metrics=metrics)
    return app


def _tasks(app: FastAPI, backend: TaskBackend, settings: ApiSettings, metrics: ApiMetrics) -> None:
    def address(request: Request, path: str) -> str:
        return (settings.public_url or str(request.base_url)).rstrip("/") + path

    @app.post(
        "/upload",
        status_code=202,
        openapi_extra={"requestBody": _FORM},
        responses=_problems(400, 413, 415, 422, 503, 507),
    )
    async def upload(request: Request, response: Response) -> UploadAccepted:
        """Store a video and begin to work on it: multipart/form-data with one field, `file`."""
        body = request.stream()
        try:
            _check_length(request, settings.most_bytes)
            kind = request.headers.get("content-type", "")
            stored = await receive_file(kind, body, backend.begin, settings.most_bytes, metrics.uploaded)
            try:
                task = await backend.submit(stored, request_id(request.scope))
            except BaseException:
                await asyncio.shield(stored.discard())
                raise
        except PoseTaskError as error:
            metrics.refused(error.code)
            if error.http_status != 413 or "content-length" not in request.headers:
                await _drain(body)
            raise
        except ClientDisconnect:
            metrics.refused("CLIENT_LEFT")
            raise BadForm("the upload ended in the middle", hint="send it again") from None
        response.headers["Location"] = f"/status/{task.task_id}"
        return UploadAccepted(
            task_id=task.task_id,
            message=f"{task.name} is in the queue",
            stream_url=address(request, f"/stream/{task.task_id}/stream.m3u8"),
        )

    @app.get("/status/{task_id}", responses=_problems(404))
    async def status(task_id: str, request: Request) -> TaskStatus:
        """How far a task is."""
        task = await backend.find(task_id)
        return TaskStatus.of(
            task,
            result_url=address(request, f"/result/{task_id}"),
            stream_url=address(request, f"/stream/{task_id}/stream.m3u8"),
        )

    @app.get(
        "/result/{task_id}",
        response_class=FileResponse,
        responses={
            200: {"content": {"video/mp4": {}}, "description": "The annotated video."},
            206: {"content": {"video/mp4": {}}, "description": "The part that `Range` asked for."},
            307: {"description": "Where it is."},
            **_problems(404, 416),
        },
    )
    async def result(
        task_id: str,
        request: Request,
        range_header: Annotated[str | None, Header(alias="range", description="bytes=…")] = None,
    ) -> Response:
        """The annotated video; 404 with code `result_not_ready` until it is there."""
        return _file(request, await backend.result(task_id), range_header)

    @app.get(
        "/stream/{task_id}/{name}",
        response_class=FileResponse,
        responses={200: {"content": {"application/vnd.apple.mpegurl": {}}}, **_problems(404, 416)},
    )
    async def stream(
        task_id: str,
        name: str,
        request: Request,
        range_header: Annotated[str | None, Header(alias="range")] = None,
    ) -> Response:
        """The annotated video while it is made, as HLS: `stream.m3u8` and what it names."""
        answer = _file(request, await backend.stream_file(task_id, name), range_header)
        if name.endswith(".m3u8"):
            answer.headers["Cache-Control"] = "no-cache"
        return answer


def _pages(app: FastAPI, backend: TaskBackend, metrics: ApiMetrics) -> None:
    @app.get("/health")
    async def health() -> Health:
        """That the server answers, and what it has to do."""
        return Health(tasks=await backend.counts())

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> PlainTextResponse:
        return PlainTextResponse("running\n")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> PlainTextResponse:
        await backend.counts()
        return PlainTextResponse("ready\n")

    @app.get("/metrics", include_in_schema=False)
    async def scrape() -> Response:
        return Response(metrics.render(await backend.counts()), media_type=CONTENT_TYPE)


def _file(request: Request, found: LocalFile | Link | StoredObject, range_header: str | None) -> Response:
    if isinstance(found, Link):
        return RedirectResponse(found.url, 307)
    if isinstance(found, StoredObject):
        return _stored(request, found, range_header)
    size = found.path.stat().st_size
    if not check_range(range_header, size):
        # What means nothing is as if it were not there (RFC 9110, 14.2); the class below would refuse it.
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
    kind = _MEDIA.get(found.path.suffix.removeprefix("."), "application/octet-stream")
    return FileResponse(
        found.path,
        media_type=kind,
        filename=found.name,
        content_disposition_type="inline",
        headers={"X-Content-Type-Options": "nosniff"},
    )


def _stored(request: Request, found: StoredObject, range_header: str | None) -> Response:
    """A part where one part was asked for, else the whole, read from the store as the client takes it."""
    kind = _MEDIA.get(found.name.rpartition(".")[2], "application/octet-stream")
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'inline; filename="{found.name}"',
        "ETag": found.etag,
        "X-Content-Type-Options": "nosniff",
    }
    part = None
    if request.headers.get("if-range", found.etag) == found.etag and check_range(range_header, found.size):
        part = one_range(range_header, found.size)
    start, end = part or (0, found.size)
    headers["Content-Length"] = str(end - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    body = found.store.read(found.at, start, end) if end > start else iter(())
    return StreamingResponse(body, 206 if part is not None else 200, headers, kind)


def _check_length(request: Request, most: int) -> None:
    """Refuse what is too large before any of it is read."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most + 2**16:  # the form around the file
        raise too_large(most)


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Let a refused client say the rest, within reason: most read no answer before."""
    left = _DRAIN_BYTES
    with suppress(ClientDisconnect, TimeoutError, RuntimeError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for piece in body:
                left -= len(piece)
                if left < 0:
                    return


def _guard(settings: ApiSettings) -> Callable[[Request], None]:
    token = settings.token
    expected = f"Bearer {token.get_secret_value()}".encode() if token is not None else None

    def guard(request: Request) -> None:
        if request.url.path in OPEN:
            return
        if expected is not None:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, expected):
                raise AccessDenied("this server wants a token", hint="send Authorization: Bearer TOKEN")
        elif "origin" in request.headers or not is_loopback(request.url.hostname or ""):
            # A page in a browser of this machine, under its own name or one that was pointed at loopback.
            raise AccessDenied(
                "without a token this server answers programs of this machine alone",
                hint="ask it by 127.0.0.1 or localhost, or start it with a token",
            )

    return guard


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": Problem, "content": {PROBLEM: {}}, "description": "A problem document (RFC 9457)."}
        for status in sorted({401, 422, *statuses})
    }


def _errors(app: FastAPI) -> None:
    def answer(problem: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse(problem.model_dump(), problem.status, headers=headers, media_type=PROBLEM)

    async def ours(request: Request, error: Exception) -> JSONResponse:
        known = error if isinstance(error, PoseTaskError) else StageFailed(str(error))
        headers = {}
        if isinstance(known, AccessDenied):
            headers["WWW-Authenticate"] = "Bearer"
        if isinstance(known, Unavailable):
            headers["Retry-After"] = str(_RETRY_SECONDS)
        if known.http_status == 413:
            headers["Connection"] = "close"
        if not isinstance(known, InputError):
            logger.warning("%s %s: %s", request.method, request.url.path, known)
        return answer(Problem.of(known, request.url.path), headers)

    async def http(request: Request, error: Exception) -> JSONResponse:
        status, said, headers = 500, "", None
        if isinstance(error, HTTPException):
            status, said, headers = error.status_code, error.detail, dict(error.headers or {})
        return answer(
            Problem.of_status(status, said, request.url.path, "docs/api.md lists the routes"), headers
        )

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        return await ours(request, InvalidParameters(str(error)))

    async def defect(request: Request, error: Exception) -> JSONResponse:
        logger.exception("%s %s", request.method, request.url.path, exc_info=error)
        hint = "this is a defect; the server's log says more"
        return answer(Problem.of_status(500, type(error).__name__, request.url.path, hint))

    handlers: list[tuple[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]] = [
        (PoseTaskError, ours),
        (HTTPException, http),
        (RequestValidationError, invalid),
        (Exception, defect),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
