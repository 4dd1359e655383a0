"""Who asks services: one face over those of all stages."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from posetask.errors import (
    InvalidParameters,
    PoseTaskError,
    SourceNotFound,
    StageFailed,
    Unavailable,
    UnknownTask,
)
from posetask.runtime.service.contract import ENDS, Health, ServiceInfo, TaskList, TaskStatus
from posetask.runtime.service.problems import Problem

_SECONDS = 60.0
"""For an answer: a start waits for the broker to make topics."""
_STATUS_SECONDS = 10.0


T = TypeVar("T", bound=BaseModel)


class ServiceClient:
    """Asks the services of a pipeline.

    Args:
        directory: By stage, where its services listen; the last stage of the pipeline last.
        token: Theirs, where they have one.
    """

    def __init__(self, directory: Mapping[str, Sequence[str]], token: str | None = None) -> None:
        self.directory = {stage: list(urls) for stage, urls in directory.items()}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # No proxy: the token goes to the services and to nobody else.
        self._http = httpx.Client(headers=headers, timeout=_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def info(self, stage: str) -> ServiceInfo:
        """What a stage's service is.

        Raises:
            PoseTaskError: It is away, or refuses.
        """
        return self._ask(ServiceInfo, "GET", self._urls(stage)[0] + "/")

    def health(self, stage: str) -> list[Health]:
        """How a stage's services fare.

        Raises:
            PoseTaskError: One is away.
        """
        return [self._ask(Health, "GET", url + "/health") for url in self._urls(stage)]

    def start(self, stage: str, body: Mapping[str, Any]) -> TaskStatus:
        """Start a task in the service of ``stage`` that has least to do; or resume it where it is.

        Raises:
            PoseTaskError: None is there, or it refuses.
        """
        urls = self._urls(stage)
        if len(urls) > 1:
            lists = {url: self._ask(TaskList, "GET", url + "/services") for url in urls}
            mine = [u for u in urls if any(t.task_id == body["task_id"] for t in lists[u].tasks)]
            urls = mine or sorted(urls, key=lambda u: sum(t.status not in ENDS for t in lists[u].tasks))
        return self._ask(TaskStatus, "POST", urls[0] + "/services/start", body)

    def status(self, stage: str, task_id: str) -> TaskStatus:
        """How far a task is in a stage.

        Raises:
            UnknownTask: No service of the stage knows it.
            PoseTaskError: One is away.
        """
        return self._anywhere(stage, "GET", _path(task_id, "status"))

    def stop(self, stage: str, task_id: str) -> TaskStatus:
        """Stop a task in a stage; see :meth:`status`."""
        return self._anywhere(stage, "POST", _path(task_id, "stop"))

    def complete(self, stage: str, task_id: str) -> TaskStatus:
        """End a task's stream early; see :meth:`status`."""
        return self._anywhere(stage, "POST", _path(task_id, "complete"))

    def tasks(self) -> list[TaskStatus]:
        """Of all stages, in the order of the pipeline.

        Raises:
            PoseTaskError: A service is away, or refuses.
        """
        found = []
        for stage in self.directory:
            for url in self._urls(stage):
                found += self._ask(TaskList, "GET", url + "/services").tasks
        return found

    def stop_everywhere(self, task_id: str) -> list[PoseTaskError]:
        """Stop a task in every stage that knows it, from the first on.

        Returns:
            What went wrong; the others are stopped all the same.
        """
        problems: list[PoseTaskError] = []
        for stage in self.directory:
            try:
                self.stop(stage, task_id)
            except UnknownTask:
                continue
            except PoseTaskError as error:
                problems.append(error)
        return problems

    def wait_until_ready(self, seconds: float) -> None:
        """Return when every service answers that it is.

        Raises:
            Unavailable: One does not in time.
        """
        deadline = time.monotonic() + seconds
        for stage, urls in self.directory.items():
            for url in urls:
                while not self._is_ready(url):
                    if time.monotonic() > deadline:
                        raise Unavailable(
                            f"the {stage} service at {url} is not ready after {seconds:.0f} s",
                            hint="its log says why",
                        )
                    time.sleep(0.2)

    def _is_ready(self, url: str) -> bool:
        try:
            return self._http.get(url + "/readyz", timeout=_STATUS_SECONDS).status_code == 200
        except httpx.HTTPError:
            return False

    def _urls(self, stage: str) -> list[str]:
        urls = self.directory.get(stage)
        if not urls:
            raise Unavailable(
                f"no {stage} service is known",
                hint="posetask services up starts them; --at says where they are",
            )
        return urls

    def _anywhere(self, stage: str, method: str, path: str) -> TaskStatus:
        urls = self._urls(stage)
        for url in urls[:-1]:
            try:
                return self._ask(TaskStatus, method, url + path)
            except UnknownTask:
                continue
        return self._ask(TaskStatus, method, urls[-1] + path)

    def _ask(self, kind: type[T], method: str, url: str, body: Mapping[str, Any] | None = None) -> T:
        try:
            answer = self._http.request(method, url, json=body)
        except httpx.TimeoutException as error:
            raise Unavailable(f"{url} did not answer in time", hint="see the service's log") from error
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{url} cannot be reached ({error})", hint="posetask services up starts the services"
            ) from error
        try:
            if answer.is_success:
                return kind.model_validate_json(answer.content)
            problem = Problem.model_validate_json(answer.content)
        except ValidationError:
            raise StageFailed(
                f"{url} answered {answer.status_code} with something that is no answer of a service",
                hint="is another program listening there?",
            ) from None
        raise problem.error()


def _path(task_id: str, verb: str) -> str:
    return f"/services/{quote(task_id, safe='')}/{verb}"


def read_directory(text: str) -> dict[str, list[str]]:
    """Where services are: ``services.json`` of ``posetask services up``, or ``STAGE=URL,…``.

    Raises:
        SourceNotFound: There is no such file.
        InvalidParameters: It is neither.

    >>> read_directory("yolox=http://a:8102,yolox=http://b:8102,annotator=http://a:8105")
    {'yolox': ['http://a:8102', 'http://b:8102'], 'annotator': ['http://a:8105']}
    """
    if "=" not in text:
        path = Path(text)
        try:
            found = json.loads(path.read_text())
            return {str(stage): [str(url) for url in urls] for stage, urls in found.items()}
        except FileNotFoundError:
            raise SourceNotFound(f"{path} does not exist", hint="posetask services up writes it") from None
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise InvalidParameters(
                f"{path} says of no services where they are: {error}", hint="give STAGE=URL,…"
            ) from None
    out: dict[str, list[str]] = {}
    for pair in text.split(","):
        stage, equals, url = pair.strip().partition("=")
        if not equals or not url.startswith(("http://", "https://")):
            raise InvalidParameters(f"{pair!r} is no STAGE=URL", hint="yolox=http://127.0.0.1:8102")
        out.setdefault(stage, []).append(url.rstrip("/"))
    return out
