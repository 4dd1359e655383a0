"""The REST server's home on a cluster: a real API server with the real definition, a real object store.

No operator runs: what it would say is written into the status by the tests.
"""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
import uvicorn

from posetask.errors import InvalidParameters, NotAvailable, PoseTaskError, Unavailable
from posetask_api.__main__ import build
from posetask_api.app import make_app
from posetask_api.kubernetes import upload as uploading
from posetask_api.kubernetes.client import Access, PoseTasks
from posetask_api.serve import bind, url_of

pytestmark = [pytest.mark.kube, pytest.mark.timeout(300)]

TASKS, NAMESPACE = "posetask.io/v1alpha1", "default"
TOKEN = "a-token-of-these-tests"  # noqa: S105 - of these tests


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Access]]:
    """An API server with the definition, and how to reach it."""
    from kubelib.api import Api
    from kubelib.cluster import Cluster
    from kubelib.definitions import install
    from kubelib.errors import KubeFailed
    from kubelib.kubeconfig import read

    made = Cluster(tmp_path_factory.mktemp("kube"), tied=True)
    try:
        made.start(("etcd", "kube-apiserver"))
    except KubeFailed as error:
        if "make kube-build" not in str(error):
            raise
        pytest.skip(f"no Kubernetes: {error}")
    api = Api(made.kubeconfig)
    install(api)
    found = read(made.kubeconfig)
    yield api, Access(found.server, found.tls, lambda: found.token)
    api.close()
    made.stop()


@pytest.fixture
def environment(object_store: Any) -> dict[str, str]:
    return {
        **object_store.environment,
        "POSETASK_API_LISTEN": "127.0.0.1:0",
        "POSETASK_API_BACKEND": "kubernetes",
        "POSETASK_API_NAMESPACE": NAMESPACE,
        "POSETASK_API_ROOT": "s3://results/root",
        "POSETASK_API_MAX_UPLOAD_BYTES": "200000000",
        "POSETASK_API_TOKEN": TOKEN,
        "POSETASK_API_SPEC": '{"retries": 1, "output": {"formats": ["mp4"]}}',
    }


@contextmanager
def serving(environment: dict[str, str], access: Access) -> Iterator[httpx.Client]:
    """A client of a server that is running."""
    backend, settings = build(environment, access)
    with bind(settings) as listener:
        config = uvicorn.Config(make_app(backend, settings), log_config=None, access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=url_of(listener), headers=headers, timeout=60, trust_env=False) as client:
            while not server.started:
                time.sleep(0.02)
            yield client
        server.should_exit = True
        thread.join(30)


@pytest.fixture
def http(cluster: tuple[Any, Access], environment: dict[str, str]) -> Iterator[httpx.Client]:
    with serving(environment, cluster[1]) as client:
        yield client


def say(api: Any, name: str, **status: Any) -> None:
    """Be the operator."""
    api.call(
        "PATCH",
        f"{api.path(TASKS, 'posetasks', NAMESPACE, name)}/status",
        {"status": status},
        "application/merge-patch+json",
    )


def succeeded(status: str, reason: str, message: str = "") -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    one = {"type": "Succeeded", "status": status, "reason": reason, "message": message}
    return {"conditions": [{**one, "lastTransitionTime": now}], "completionTime": now}


def test_an_upload_becomes_an_object_and_a_posetask(
    cluster: tuple[Any, Access], http: httpx.Client, object_store: Any, red_clip: Path
) -> None:
    api = cluster[0]
    answer = http.post(
        "/upload", files={"file": ("walk.mp4", red_clip.read_bytes())}, headers={"X-Request-ID": "req-7"}
    )
    assert answer.status_code == 202, answer.text
    task_id = answer.json()["task_id"]
    made = api.get(TASKS, "posetasks", NAMESPACE, task_id)
    uri = f"s3://results/root/default/uploads/{task_id}/walk.mp4"
    assert made["spec"]["source"]["uri"] == uri
    assert made["spec"]["retries"] == 1
    assert made["metadata"]["annotations"]["posetask.io/request-id"] == "req-7"
    stored = object_store.folder / "results" / "root" / "default" / "uploads" / task_id / "walk.mp4"
    assert stored.read_bytes() == red_clip.read_bytes()
    status = http.get(f"/status/{task_id}").json()
    assert (status["status"], status["progress"], status["frames_total"]) == ("queued", "0%", 40)
    assert http.get(f"/result/{task_id}").json()["code"] == "result_not_ready"

    run = f"{task_id}-{made['metadata']['uid'][:8]}"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    say(api, task_id, run=run, startTime=now, progress={"framesAnnotated": 34, "framesTotal": 40})
    status = http.get(f"/status/{task_id}").json()
    assert (status["status"], status["progress"]) == ("running", "85%")
    place = object_store.folder / "results" / "root" / "default" / run
    (place / f"{task_id}.hls").mkdir(parents=True)
    (place / f"{task_id}.hls" / "stream.m3u8").write_text("#EXTM3U\n")
    assert http.get(f"/stream/{task_id}/stream.m3u8").text == "#EXTM3U\n"
    assert http.get(f"/stream/{task_id}/init.mp4").json()["code"] == "result_not_ready"

    (place / f"{task_id}.mp4").write_bytes(red_clip.read_bytes())
    result = {"uri": f"s3://results/root/default/{run}/{task_id}.mp4", "frames": 40}
    say(api, task_id, result=result, **succeeded("True", "Completed"))
    status = http.get(f"/status/{task_id}").json()
    assert (status["status"], status["progress"]) == ("completed", "100%")
    whole = http.get(f"/result/{task_id}")
    assert (whole.status_code, whole.headers["content-type"]) == (200, "video/mp4")
    with av.open(io.BytesIO(whole.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 40
    part = http.get(f"/result/{task_id}", headers={"Range": "bytes=5-9"})
    assert (part.status_code, part.content) == (206, whole.content[5:10])
    assert part.headers["content-range"] == f"bytes 5-9/{len(whole.content)}"
    assert http.get(f"/result/{task_id}", headers={"Range": "bytes=999999999-"}).status_code == 416
    assert http.get("/health").json()["tasks"]["completed"] >= 1


def test_a_task_that_failed_says_what_the_operator_says(
    cluster: tuple[Any, Access], http: httpx.Client, red_clip: Path
) -> None:
    task_id = http.post("/upload", files={"file": ("a.mp4", red_clip.read_bytes())}).json()["task_id"]
    say(cluster[0], task_id, **succeeded("False", "FramesExpired", "frames are gone"))
    status = http.get(f"/status/{task_id}").json()
    assert (status["status"], status["error"]["code"]) == ("failed", "FRAMES_EXPIRED")
    problem = http.get(f"/result/{task_id}").json()
    assert (problem["status"], problem["code"]) == (404, "TASK_FAILED")
    assert "frames are gone" in problem["detail"]


def test_what_is_no_video_leaves_neither_an_object_nor_a_task(
    cluster: tuple[Any, Access], http: httpx.Client, object_store: Any, red_clip: Path
) -> None:
    before = len(cluster[0].call("GET", cluster[0].path(TASKS, "posetasks", NAMESPACE))["items"])
    clip = red_clip.read_bytes()
    for data, code in (
        (b"words", "NOT_A_VIDEO"),
        (clip[: len(clip) // 2], "TRUNCATED"),
        (clip[:40] + bytes(30 * 2**20), "TRUNCATED"),
    ):
        answer = http.post("/upload", files={"file": ("a.mp4", data)})
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert len(cluster[0].call("GET", cluster[0].path(TASKS, "posetasks", NAMESPACE))["items"]) == before
    assert not [p for p in (object_store.folder / "results").rglob("*.mp4") if p.is_file()]


def test_a_large_video_is_looked_at_by_its_ends_wherever_its_index_is(
    http: httpx.Client, red_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "PART_BYTES", 5 * 2**20)
    clip = red_clip.read_bytes()
    free = (30 * 2**20).to_bytes(4, "big") + b"free" + bytes(30 * 2**20 - 8)
    at = clip.index(b"moov") - 4
    length = int.from_bytes(clip[at : at + 4], "big")
    index_last = clip[:at] + clip[at + length :]
    # The index in the middle, with nothing but padding at the end.
    for data in (clip + free, index_last + free + clip[at : at + length] + free):
        answer = http.post("/upload", files={"file": ("big.mp4", data)})
        assert answer.status_code == 202, answer.text


def test_clients_that_reach_the_store_are_sent_there(
    cluster: tuple[Any, Access], environment: dict[str, str], object_store: Any, red_clip: Path
) -> None:
    with serving({**environment, "POSETASK_API_LINK_SECONDS": "60"}, cluster[1]) as http:
        task_id = http.post("/upload", files={"file": ("a.mp4", red_clip.read_bytes())}).json()["task_id"]
        (object_store.folder / "results" / "out.mp4").write_bytes(b"the result")
        say(cluster[0], task_id, result={"uri": "s3://results/out.mp4"}, **succeeded("True", "Completed"))
        answer = http.get(f"/result/{task_id}")
        assert answer.status_code == 307
        assert httpx.get(answer.headers["Location"]).content == b"the result", "no credentials are needed"


@pytest.mark.parametrize("task_id", ["nothing", "Not-A-Name", "a.b", "x" * 80])
def test_an_unknown_task_is_404(task_id: str, http: httpx.Client) -> None:
    for path in ("status", "result"):
        answer = http.get(f"/{path}/{task_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "UNKNOWN_TASK")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"POSETASK_API_ROOT": ""}, "POSETASK_API_ROOT is missing"),
        ({"POSETASK_API_ROOT": "/data"}, "uploads go to no /data"),
        ({"POSETASK_API_BACKEND": "local"}, "posetask serve"),
        ({"POSETASK_API_SPEC": "[]"}, "no JSON object"),
        ({"POSETASK_API_SPEC": '{"colour": 1}'}, "colour"),
        ({"POSETASK_API_SPEC": '{"source": {"uri": "synth:"}}'}, "has a source"),
        ({"POSETASK_API_LISTEN": "0.0.0.0:0", "POSETASK_API_TOKEN": ""}, "needs a token"),
        ({"POSETASK_API_LINK_SECONDS": "for ever"}, "POSETASK_API_LINK_SECONDS"),
        ({"POSETASK_API_COLOUR": "red"}, "POSETASK_API_COLOUR is not known"),
    ],
)
def test_an_environment_that_cannot_be_is_named(
    changes: dict[str, str], words: str, environment: dict[str, str]
) -> None:
    nowhere = Access("http://127.0.0.1:1", None, lambda: None)
    with pytest.raises(InvalidParameters, match=words):
        build({**environment, **changes}, nowhere)


def test_a_cluster_that_is_away_or_refuses_is_told_apart(
    cluster: tuple[Any, Access], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posetask_api.kubernetes.client._PAUSE_SECONDS", 0.01)

    async def ask(access: Access, name: str = "a") -> None:
        tasks = PoseTasks(access, NAMESPACE)
        try:
            await tasks.get(name)
        finally:
            await tasks.close()

    known = cluster[1]
    cases: list[tuple[Access, type[PoseTaskError]]] = [
        (Access("http://127.0.0.1:1", None, lambda: None), Unavailable),
        (Access(known.server, _without_client(cluster[0]), lambda: "wrong"), NotAvailable),
    ]
    for access, error in cases:
        with pytest.raises(error):
            asyncio.run(ask(access))
    with pytest.raises(NotAvailable, match="no pod"):
        Access.in_cluster({})
    with pytest.raises(NotAvailable, match="no pod"):
        Access.in_cluster({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)


def _without_client(api: Any) -> Any:
    """Trust the server, and say nothing of who we are."""
    import ssl

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
