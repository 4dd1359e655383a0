"""The parts of the edge that need no server: store, batches, health, events, logs, options."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from posetask.errors import InvalidParameters, KafkaRefused, KafkaUnavailable
from posetask_operator.edge import main
from posetask_operator.edge.batch import Batcher
from posetask_operator.edge.connect import connect
from posetask_operator.edge.faults import (
    AlreadyThere,
    ApiUnavailable,
    Conflict,
    Expired,
    Forbidden,
    NamespaceTerminating,
    NotThere,
    Refused,
    api_fault,
)
from posetask_operator.edge.health import Health, HealthServer
from posetask_operator.edge.logs import bound, set_up
from posetask_operator.edge.store import Key, Store

UID = "0a1b2c3d-0000-0000-0000-000000000000"
RUN = "demo-0a1b2c3d"


def task(version: int = 1, uid: str = UID, name: str = "demo") -> dict[str, Any]:
    return {"metadata": {"namespace": "lab", "name": name, "uid": uid, "resourceVersion": str(version)}}


def job(version: int = 1, uid: str = "j1", run: str = RUN) -> dict[str, Any]:
    meta = {"namespace": "lab", "name": uid, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": {**meta, "labels": {"posetask.io/run": run}}}


class TestStore:
    def test_older_news_does_not_replace_newer(self) -> None:
        store = Store()
        store.put("task", {**task(7), "status": {"state": "Running"}})
        store.put("task", {**task(6), "status": {"state": "Queued"}})
        assert store.states() == {"Running": 1}
        assert store.versions("task") == {UID: 7}

    def test_what_went_does_not_come_back_by_late_news(self) -> None:
        store = Store()
        store.put("task", task(3))
        store.drop("task", UID, at=5)
        store.put("task", task(4))
        assert store.task(Key("lab", "demo")) is None

    def test_a_task_made_anew_takes_the_place_of_one_whose_end_was_missed(self) -> None:
        store = Store()
        store.put("task", task(3))
        store.put("task", task(9, uid="ffffffff-1"))
        assert not store.has_uid(UID)
        assert store.key_of("demo-ffffffff") == Key("lab", "demo")
        assert store.key_of(RUN) is None
        assert len(store) == 1

    def test_a_child_wakes_its_task_and_is_found_by_its_run(self) -> None:
        woken: list[Key] = []
        store = Store(lambda key, _: woken.append(key))
        store.put("job", job())  # before its task is known
        assert woken == []
        store.put("task", task())
        store.put("job", job(2))
        store.put("job", job(5, uid="other", run="else-1"))
        assert woken == [Key("lab", "demo")] * 2
        assert [body["metadata"]["uid"] for body in store.children("job", RUN)] == ["j1"]
        store.drop("job", "j1")
        assert woken == [Key("lab", "demo")] * 3
        assert store.children("job", RUN) == []

    def test_a_fresh_list_of_a_run_drops_what_is_not_in_it(self) -> None:
        store = Store()
        store.put("task", task())
        for uid in ("j1", "j2"):
            store.put("job", job(uid=uid))
        store.put("job", job(12, uid="j4"))
        store.replace("job", RUN, [job(8, uid="j2"), job(8, uid="j3")], at=10)
        found = [body["metadata"]["uid"] for body in store.children("job", RUN)]
        assert found == ["j2", "j3", "j4"], "j4 changed after the list was made"

    def test_what_an_old_list_lacked_comes_back_by_newer_news(self) -> None:
        store = Store()
        store.put("task", task())
        store.put("job", job(5))
        store.replace("job", RUN, [], at=6)
        store.put("job", job(6))
        assert store.children("job", RUN) == [], "older than the list that lacked it"
        store.put("job", job(7))
        assert len(store.children("job", RUN)) == 1


class TestBatches:
    def test_what_comes_while_a_call_runs_goes_out_together(self) -> None:
        calls: list[list[str]] = []

        def call(items: Sequence[str]) -> None:
            calls.append(sorted(items))

        async def work() -> None:
            batcher = Batcher[str](call)
            await asyncio.gather(*(batcher.do([name]) for name in "abcde"))
            await batcher.close()

        asyncio.run(work())
        assert sorted(name for items in calls for name in items) == list("abcde")
        assert len(calls) < 5

    def test_one_bad_item_fails_alone(self) -> None:
        def call(items: Sequence[str]) -> None:
            if "bad" in items:
                raise KafkaRefused("bad is bad")

        async def work() -> list[Any]:
            batcher = Batcher[str](call)
            asked = [batcher.do([name]) for name in ("a", "bad", "b")]
            found = await asyncio.gather(*asked, return_exceptions=True)
            await batcher.close()
            return list(found)

        first, bad, last = asyncio.run(work())
        assert (first, last) == (None, None)
        assert isinstance(bad, KafkaRefused)

    def test_brokers_that_are_away_are_asked_once_for_all(self) -> None:
        calls: list[int] = []

        def call(items: Sequence[str]) -> None:
            calls.append(len(items))
            raise KafkaUnavailable("away")

        async def work() -> list[Any]:
            batcher = Batcher[str](call)
            asked = [batcher.do([name]) for name in "abc"]
            found = await asyncio.gather(*asked, return_exceptions=True)
            await batcher.close()
            return list(found)

        assert all(isinstance(error, KafkaUnavailable) for error in asyncio.run(work()))
        assert sum(calls) == 3

    def test_a_defect_reaches_who_waits(self) -> None:
        def call(_: Sequence[str]) -> None:
            raise ZeroDivisionError

        async def work() -> None:
            batcher = Batcher[str](call)
            try:
                await batcher.do(["a"])
            finally:
                await batcher.close()

        with pytest.raises(ZeroDivisionError):
            asyncio.run(work())


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {}, Forbidden),
        (403, {}, Forbidden),
        (403, {"details": {"causes": [{"reason": "NamespaceTerminating"}]}}, NamespaceTerminating),
        (404, {}, NotThere),
        (409, {"reason": "AlreadyExists"}, AlreadyThere),
        (409, {"reason": "Conflict"}, Conflict),
        (410, {}, Expired),
        (422, {"message": "spec.x is wrong"}, Refused),
        (429, {}, ApiUnavailable),
        (500, {}, ApiUnavailable),
        (503, {}, ApiUnavailable),
    ],
)
def test_an_answer_becomes_an_error_that_says_what_to_do(
    status: int, body: dict[str, Any], kind: type[Exception]
) -> None:
    error = api_fault(status, body, "POST /x", retry_after="3")
    assert type(error) is kind
    assert "POST /x" in error.message
    if isinstance(error, ApiUnavailable):
        assert (error.retry_after, error.sent) == (3.0, status != 429)


@pytest.mark.parametrize(
    ("health", "path", "code", "said"),
    [
        (Health(), "/healthz", 200, "ok"),
        (Health(watch_lag=100), "/healthz", 503, "owed a change for 100 s"),
        (Health(worker_silence=61), "/healthz", 503, "not heard for 61 s"),
        (Health(watch_lag=80, worker_silence=50), "/healthz", 200, "ok"),
        (Health(), "/readyz", 503, "not everything has been listed"),
        (Health(filled=True), "/readyz", 200, "ok"),
        (Health(), "/metrics", 200, "some_metric 1"),
    ],
)
def test_health_is_said_by_status_and_in_words(health: Health, path: str, code: int, said: str) -> None:
    def get(port: int) -> tuple[int, str]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    async def work() -> tuple[int, str]:
        server = HealthServer(lambda: health, lambda: b"some_metric 1\n")
        await server.start("127.0.0.1", 0)
        try:
            return await asyncio.to_thread(get, server.port)
        finally:
            await server.close()

    status, text = asyncio.run(work())
    assert status == code
    assert said in text


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    set_up("info", stream)
    yield stream
    root.handlers, root.level = handlers, level


def test_a_line_of_the_log_is_json_and_names_the_task(lines: io.StringIO) -> None:
    with bound(namespace="lab", task="demo"), bound(run=RUN):
        logging.getLogger("posetask_operator").info("state %s", "Running")
    logging.getLogger("posetask_operator").info("outside")
    inside, outside = (json.loads(line) for line in lines.getvalue().splitlines())
    assert (inside["message"], inside["task"], inside["run"]) == ("state Running", "demo", RUN)
    assert "task" not in outside


class TestCommand:
    def test_settings_that_are_missing_end_it_with_a_word(
        self, tmp_path: Path, lines: io.StringIO, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code = main.main(["--settings", str(tmp_path / "none.yaml")])
        assert code == 20
        said = json.loads(capsys.readouterr().err.splitlines()[-1])
        assert "none.yaml does not exist" in said["message"]
        assert "traceback" not in said

    @pytest.mark.parametrize(
        "bad",
        [
            ["--listen", "nowhere"],
            ["--lease-seconds", "1,2,3"],
            ["--lease-seconds", "x"],
            ["--relist-seconds", "-1"],
            ["--listen", "127.0.0.1:99999"],
        ],
    )
    def test_options_that_make_no_sense_are_refused(
        self, bad: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            main.main(["--settings", "x.yaml", *bad])
        assert bad[0] in capsys.readouterr().err

    def test_without_an_api_server_it_says_what_to_set(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidParameters, match="KUBECONFIG"):
            asyncio.run(connect(str(tmp_path / "none")))
