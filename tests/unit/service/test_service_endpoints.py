"""The eight endpoints over HTTP: what they answer, whom they refuse, and how errors look."""

from __future__ import annotations

import datetime
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from posetask.errors import KafkaUnavailable, NotAvailable
from posetask.runtime.service import service as service_module
from posetask.runtime.service.app import MOST_BYTES, make_app
from posetask.runtime.service.server import ServiceServer
from posetask.runtime.service.settings import ServiceSettings

TOKEN = "of-tests-" + 20 * "x"
EIGHT = {
    ("GET", "/"),
    ("POST", "/services/start"),
    ("GET", "/services/{task_id}/status"),
    ("POST", "/services/{task_id}/stop"),
    ("POST", "/services/{task_id}/complete"),
    ("GET", "/services"),
    ("DELETE", "/services"),
    ("GET", "/health"),
}
PAGES = {("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/status")}

Open = Callable[..., Any]
WaitFor = Callable[..., None]


def problem(answer: httpx.Response) -> dict[str, Any]:
    """The body, held against RFC 9457."""
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["status"] == answer.status_code
    assert {"type", "title", "detail", "instance", "code", "hint", "retryable"} <= set(found)
    return found


def test_there_are_the_eight_endpoints_and_the_pages_of_every_process(open_service: Open) -> None:
    routes = [route for route in make_app(open_service().service).routes if isinstance(route, APIRoute)]
    assert {(method, route.path) for route in routes for method in route.methods} == EIGHT | PAGES


def test_a_task_goes_through_all_of_them(
    open_service: Open, topics: dict[str, list[str]], wait_for: WaitFor
) -> None:
    resident = open_service()
    with httpx.Client(base_url=resident.url) as http:
        info = http.get("/").json()
        assert (info["name"], info["inputs"], info["output"]) == (
            "bytetrack",
            ["rtmpose_{task_id}"],
            "bytetrack_{task_id}",
        )
        assert "track_thresh" in info["parameters"]["properties"]
        body = {"task_id": "lobby-1", "parameters": {"track_buffer": 20}}
        begun = http.post("/services/start", json=body)
        assert (begun.status_code, begun.headers["location"]) == (202, "/services/lobby-1/status")
        assert topics["made"] == ["lobby-1"]
        resident.work("lobby-1").frames = 7
        wait_for(lambda: http.get("/services/lobby-1/status").json()["frames"] == 7)
        again = [http.post("/services/start", json=words) for words in (body, {"task_id": "lobby-1"})]
        assert [answer.status_code for answer in again] == [200, 200]
        other = http.post("/services/start", json={**body, "parameters": {"track_buffer": 21}})
        assert problem(other)["code"] == "TASK_CONFLICT"
        assert other.status_code == 409
        assert topics["made"] == ["lobby-1"], "only a first start makes topics"
        stopped = http.post("/services/lobby-1/stop")
        assert (stopped.status_code, stopped.json()["status"] in ("stopping", "stopped")) == (202, True)
        wait_for(lambda: http.get("/services/lobby-1/status").json()["status"] == "stopped")
        resumed = http.post("/services/start", json={"task_id": "lobby-1"})
        assert resumed.status_code == 202
        wait_for(lambda: len(resident.works["lobby-1"]) == 2)
        assert resident.work("lobby-1").spec.parameters == {"track_buffer": 20}
        assert topics["made"] == ["lobby-1"], "never on a resume: a lost topic must show"
        resident.work("lobby-1").end()
        wait_for(lambda: http.get("/services/lobby-1/status").json()["status"] == "completed")
        listed = http.get("/services").json()
        assert (listed["service"], [task["task_id"] for task in listed["tasks"]]) == (
            "bytetrack",
            ["lobby-1"],
        )
        assert http.delete("/services").status_code == 202
        wait_for(lambda: http.get("/services").json()["tasks"] == [])
        health = http.get("/health").json()
        assert (health["status"], health["kafka"], health["tasks"]) == ("degraded", "away", {})
        assert http.get("/readyz").text == "ready\n"
        assert 'posetask_service_tasks{state="' not in http.get("/metrics").text


def test_completing_is_the_producers_alone(open_service: Open, red_clip: Path, wait_for: WaitFor) -> None:
    tracker, producer = open_service("bytetrack"), open_service("producer")
    httpx.post(tracker.url + "/services/start", json={"task_id": "a-1"})
    refused = httpx.post(tracker.url + "/services/a-1/complete")
    assert refused.status_code == 409
    assert "producer" in problem(refused)["hint"]
    httpx.post(producer.url + "/services/start", json={"task_id": "a-1", "source": str(red_clip)})
    work = producer.work("a-1")
    assert httpx.post(producer.url + "/services/a-1/complete").status_code == 202
    assert work.finishing
    work.end()
    wait_for(lambda: producer.service.status("a-1").status == "completed")
    assert httpx.post(producer.url + "/services/a-1/complete").json()["status"] == "completed"


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "code"),
    [
        ("GET", "/services/none/status", {}, 404, "UNKNOWN_TASK"),
        ("POST", "/services/none/stop", {}, 404, "UNKNOWN_TASK"),
        ("POST", "/services/none/complete", {}, 404, "UNKNOWN_TASK"),
        ("GET", "/elsewhere", {}, 404, "NOT_FOUND"),
        ("PUT", "/services", {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/services/start", {"json": {}}, 422, "INVALID_PARAMETERS"),
        ("POST", "/services/start", {"json": []}, 422, "INVALID_PARAMETERS"),
        ("POST", "/services/start", {"json": {"task_id": "../../etc"}}, 422, "INVALID_PARAMETERS"),
        ("POST", "/services/start", {"json": {"task_id": "a", "run": "b"}}, 422, "INVALID_PARAMETERS"),
        ("POST", "/services/start", {"json": {"task_id": "a", "listen": "b"}}, 422, "INVALID_PARAMETERS"),
        ("POST", "/services/start", {"json": {"task_id": "a", "parameters": 3}}, 422, "INVALID_PARAMETERS"),
        (
            "POST",
            "/services/start",
            {"json": {"task_id": "a", "parameters": {"x": 1}}},
            422,
            "INVALID_PARAMETERS",
        ),
        ("POST", "/services/start", {"json": {"task_id": "a", "partitions": 0}}, 422, "INVALID_PARAMETERS"),
        ("POST", "/services/start", {"data": {"task_id": "a"}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (
            "POST",
            "/services/start",
            {"content": b"{", "headers": {"content-type": "application/json"}},
            400,
            "BAD_REQUEST",
        ),
        (
            "POST",
            "/services/start",
            {"content": b"\xff\xfe\xfa", "headers": {"content-type": "application/json"}},
            400,
            "BAD_REQUEST",
        ),
        (
            "POST",
            "/services/start",
            {"content": b" " * (MOST_BYTES + 1), "headers": {"content-type": "application/json"}},
            413,
            "REQUEST_ENTITY_TOO_LARGE",
        ),
    ],
)
def test_what_cannot_be_is_a_problem_document(
    method: str, path: str, sent: dict[str, Any], status: int, code: str, open_service: Open
) -> None:
    answer = httpx.request(method, open_service().url + path, **sent)
    assert (answer.status_code, problem(answer)["code"]) == (status, code)
    assert problem(answer)["hint"]


def test_the_producer_says_that_it_needs_a_source(open_service: Open) -> None:
    answer = httpx.post(open_service("producer").url + "/services/start", json={"task_id": "a"})
    assert (answer.status_code, "source" in problem(answer)["detail"]) == (422, True)


def test_where_there_is_a_token_everything_but_the_probes_needs_it(open_service: Open) -> None:
    with httpx.Client(base_url=open_service(token=TOKEN).url) as http:
        ask_with_and_without(http)


def ask_with_and_without(http: httpx.Client) -> None:
    for path in ("/", "/services", "/services/x/status", "/metrics", "/status", "/nothing"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            answer = http.get(path, headers=headers)
            if path == "/nothing":
                assert answer.status_code == 404
                continue
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert TOKEN not in answer.text
            assert problem(answer)["code"] == "ACCESS_DENIED"
    for method, path in (("POST", "/services/start"), ("POST", "/services/x/stop"), ("DELETE", "/services")):
        assert http.request(method, path).status_code == 401
    for path in ("/health", "/healthz", "/readyz"):
        assert http.get(path).status_code == 200
    allowed = http.get("/services", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (allowed.status_code, allowed.json()["tasks"]) == (200, [])


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://example.com"}, {"Host": "example.com"}, {"Origin": "http://127.0.0.1:8102"}],
)
def test_without_a_token_no_web_page_is_answered(headers: dict[str, str], open_service: Open) -> None:
    url = open_service().url
    assert httpx.post(url + "/services/start", json={"task_id": "a"}, headers=headers).status_code == 401
    assert httpx.get(url + "/services", headers=headers).status_code == 401


def test_too_many_tasks_and_a_broker_that_is_away_are_said_to_pass(
    open_service: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = open_service(most_tasks=1).url + "/services/start"
    assert httpx.post(url, json={"task_id": "a"}).status_code == 202
    full = httpx.post(url, json={"task_id": "b"})
    assert (full.status_code, "retry-after" in full.headers, problem(full)["retryable"]) == (503, True, True)
    httpx.post(url.replace("start", "a/stop"))

    def away(*_: object) -> None:
        raise KafkaUnavailable("no broker answers", hint="start one")

    monkeypatch.setattr(service_module, "make_topics", away)
    refused = httpx.post(url, json={"task_id": "b"})
    assert (refused.status_code, problem(refused)["code"]) == (503, "KAFKA_UNAVAILABLE")
    assert httpx.get(url.replace("start", "b/status")).status_code == 404, "nothing is left of it"


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "/etc/passwd"},
        {"source": "INSIDE/../../outside.mp4"},
        {"source": "INSIDE/link/x.mp4"},
        {"source": "INSIDE/a.mp4", "output": "/srv/out.mp4"},
        {"source": "https://example.com/a.mp4"},
    ],
)
def test_only_files_of_the_folder_may_be_named(
    fields: dict[str, str], open_service: Open, tmp_path: Path
) -> None:
    inside = tmp_path / "files"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    named = {name: value.replace("INSIDE", str(inside)) for name, value in fields.items()}
    body = {"task_id": "a", "output": str(inside / "out.mp4"), **named}
    url = open_service("annotator", files=inside).url + "/services/start"
    answer = httpx.post(url, json=body)
    assert (answer.status_code, str(inside) in problem(answer)["hint"]) == (422, True)
    good = {"task_id": "a", "source": str(inside / "a.mp4"), "output": str(inside / "out.mp4")}
    assert httpx.post(url, json=good).status_code == 202


def test_a_defect_is_answered_without_its_inside(
    open_service: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resident = open_service()

    def broken() -> None:
        raise RuntimeError("a secret inside")

    monkeypatch.setattr(resident.service, "tasks", broken)
    answer = httpx.get(resident.url + "/services")
    assert (answer.status_code, problem(answer)["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert "secret" not in answer.text
    assert "a secret inside" in caplog.text


def certificate(folder: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "tls.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return folder / "tls.crt", folder / "tls.key"


def test_with_a_certificate_it_speaks_tls_and_a_bad_one_is_named(open_service: Open, tmp_path: Path) -> None:
    public, private = certificate(tmp_path)
    url = open_service(tls_certificate=public, tls_key=private).url
    assert url.startswith("https://")
    trusting = ssl.create_default_context(cafile=str(public))
    answer = httpx.get(url.replace("127.0.0.1", "localhost") + "/health", verify=trusting)
    assert json.loads(answer.content)["service"] == "bytetrack"
    settings = ServiceSettings.parse(
        stage="bytetrack", listen="127.0.0.1:0", state=tmp_path, tls_certificate=private, tls_key=private
    )
    with ServiceServer(settings) as server, pytest.raises(NotAvailable, match="certificate"):
        server.serve(make_app(open_service("rtmpose", parameters={"model": "demo"}).service))
