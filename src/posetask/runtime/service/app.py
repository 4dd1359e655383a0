"""The eight endpoints of a service, and the pages that every process of ours has."""

# FastAPI looks at annotations when a route is declared: none of these may be a string.
import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from posetask.errors import (
    AccessDenied,
    InputError,
    InvalidParameters,
    PoseTaskError,
    StageFailed,
    Unavailable,
)
from posetask.runtime.reports import StageReport
from posetask.runtime.service import problems
from posetask.runtime.service.contract import Health, ServiceInfo, TaskList, TaskStatus, parse_start
from posetask.runtime.service.service import StageService
from posetask.runtime.service.settings import is_loopback
from posetask.telemetry.metrics import CONTENT_TYPE

logger = logging.getLogger(__name__)

MOST_BYTES = 2**20
"""Of a request's body."""
OPEN = frozenset({"/health", "/healthz", "/readyz"})
"""Paths that say nothing of tasks; probes have no token."""
_RETRY_SECONDS = 5


def make_app(service: StageService) -> FastAPI:
    """The application of one service.

    Every error is a problem document (RFC 9457). Where the service has a token, everything but :data:`OPEN`
    needs ``Authorization: Bearer TOKEN``; without one it serves this machine alone, and no web page on it.
    """
    app = FastAPI(
        title=f"posetask {service.stage.name}",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(_guard(service))],
    )
    _endpoints(app, service)
    _pages(app, service)
    _errors(app)
    return app


def _endpoints(app: FastAPI, service: StageService) -> None:
    @app.get("/")
    def information() -> ServiceInfo:
        return service.info()

    @app.post("/services/start")
    def start(body: Annotated[Any, Depends(_json_body)], response: Response) -> TaskStatus:
        status, begun = service.start(parse_start(body))
        response.status_code = 202 if begun else 200
        response.headers["Location"] = f"/services/{status.task_id}/status"
        return status

    @app.get("/services/{task_id}/status")
    def status(task_id: str) -> TaskStatus:
        return service.status(task_id)

    @app.post("/services/{task_id}/stop", status_code=202)
    def stop(task_id: str) -> TaskStatus:
        return service.stop(task_id)

    @app.post("/services/{task_id}/complete", status_code=202)
    def complete(task_id: str) -> TaskStatus:
        return service.complete(task_id)

    @app.get("/services")
    def tasks() -> TaskList:
        return service.tasks()

    @app.delete("/services", status_code=202)
    def stop_all() -> TaskList:
        return service.stop_all()

    @app.get("/health")
    def health() -> Health:
        return service.health()


def _pages(app: FastAPI, service: StageService) -> None:
    """Of every process that has a stage: see :mod:`posetask.runtime.process`."""

    @app.get("/healthz")
    def healthz() -> PlainTextResponse:
        return PlainTextResponse("running\n")

    @app.get("/readyz")
    def readyz() -> PlainTextResponse:
        ready = service.ready
        return PlainTextResponse("ready\n" if ready else "not yet\n", 200 if ready else 503)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(service.metrics.render(), media_type=CONTENT_TYPE)

    @app.get("/status")
    def status() -> list[StageReport]:
        return service.reports()


def _guard(service: StageService) -> Callable[[Request], None]:
    token = service.settings.token
    expected = f"Bearer {token.get_secret_value()}".encode() if token is not None else None

    def guard(request: Request) -> None:
        if request.url.path in OPEN:
            return
        if expected is not None:
            given = request.headers.get("authorization", "").encode()
            if not hmac.compare_digest(given, expected):
                raise AccessDenied(
                    "this service wants a token",
                    hint="send Authorization: Bearer TOKEN; posetask services takes --token-file",
                )
        elif "origin" in request.headers or not is_loopback(request.url.hostname or ""):
            # A page in a browser of this machine, under its own name or one that was pointed at loopback.
            raise AccessDenied(
                "without a token this service answers programs of this machine alone",
                hint="ask it by 127.0.0.1 or localhost, or start it with a token",
            )

    return guard


async def _json_body(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise HTTPException(415, "the body must be application/json")
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > MOST_BYTES:
            raise HTTPException(413, f"the body is larger than {MOST_BYTES} bytes")
    request._body = bytes(read)
    try:
        return await request.json()
    except ValueError as error:  # also for bytes that are no UTF-8
        raise HTTPException(400, f"the body is no JSON: {error}") from None


def _errors(app: FastAPI) -> None:
    def answer(problem: problems.Problem, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse(
            problem.model_dump(), problem.status, headers=headers, media_type=problems.CONTENT_TYPE
        )

    async def ours(request: Request, error: Exception) -> JSONResponse:
        known = error if isinstance(error, PoseTaskError) else StageFailed(str(error))
        headers = {}
        if isinstance(known, AccessDenied):
            headers["WWW-Authenticate"] = "Bearer"
        if isinstance(known, Unavailable):
            headers["Retry-After"] = str(_RETRY_SECONDS)
        if not isinstance(known, InputError):
            logger.warning("%s %s: %s", request.method, request.url.path, known)
        return answer(problems.Problem.of(known, request.url.path), headers)

    async def http(request: Request, error: Exception) -> JSONResponse:
        status, said, headers = 500, "", None
        if isinstance(error, HTTPException):
            status, said, headers = error.status_code, error.detail, dict(error.headers or {})
        hint = "GET / says what this service is; docs/services.md lists its endpoints"
        return answer(problems.Problem.of_status(status, said, request.url.path, hint), headers)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        return await ours(request, InvalidParameters(str(error)))

    async def defect(request: Request, error: Exception) -> JSONResponse:
        logger.exception("%s %s", request.method, request.url.path, exc_info=error)
        problem = problems.Problem.of_status(
            500, f"{type(error).__name__}", request.url.path, "this is a defect; the service's log says more"
        )
        return answer(problem)

    handlers: list[tuple[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]] = [
        (PoseTaskError, ours),
        (HTTPException, http),
        (RequestValidationError, invalid),
        (Exception, defect),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
