"""Fetching from the web: real servers on loopback; what is not public is refused, on every hop."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from posetask.errors import InputError, InvalidParameters, PoseTaskError, SourceNotFound, Unavailable
from posetask.storage.fetched import Fetched
from posetask.storage.location import Location
from posetask.storage.web import WebRules, fetch_web

BODY = bytes(range(256)) * 400
LOCAL = WebRules((ip_network("127.0.0.0/8"),))


class Handler(http.server.BaseHTTPRequestHandler):
    hosts: list[str]
    broken: int

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        path = self.path.partition("?")[0]
        if path == "/ok":
            self.answer(200, BODY)
        elif path == "/flaky" and type(self).broken:
            type(self).broken -= 1
            self.answer(200, BODY, cut=100)
        elif path == "/flaky":
            self.answer(200, BODY)
        elif path == "/cut":
            self.answer(200, BODY, cut=100)
        elif path == "/endless":
            self.answer(200, BODY, length=None)
        elif path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", path.removeprefix("/to/"))
            self.end_headers()
        elif path == "/loop":
            self.send_response(307)
            self.send_header("Location", "/loop")
            self.end_headers()
        else:
            self.answer(int(path.strip("/")), b"no")

    def answer(self, status: int, body: bytes, cut: int = 0, length: int | None = -1) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    hosts: list[str] = []
    handler = type("H", (Handler,), {"hosts": hosts, "broken": 1})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made.server_port, hosts
        made.shutdown()
        thread.join()


def at(*addresses: str) -> Callable[[str, int], list[str]]:
    return lambda host, port: list(addresses)


def test_what_is_allowed_is_fetched_in_the_name_of_its_host(
    server: tuple[int, list[str]], tmp_path: Path
) -> None:
    port, hosts = server
    url = f"http://videos.example:{port}/ok?x=1"
    assert fetch_web(url, tmp_path / "a", LOCAL, resolve=at("127.0.0.1")) == len(BODY)
    assert (tmp_path / "a").read_bytes() == BODY
    assert hosts == [f"videos.example:{port}"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        "fe80::1%lo",
        "0.0.0.0",  # noqa: S104 - refused, not bound
        "224.0.0.1",
    ],
)
def test_what_is_not_public_is_refused_whatever_its_name(
    address: str, server: tuple[int, list[str]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="not on the public Internet") as caught:
        fetch_web(f"http://videos.example:{server[0]}/ok", tmp_path / "a", WebRules(), resolve=at(address))
    assert "POSETASK_SOURCE_NETWORKS" in caught.value.hint
    assert server[1] == []
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_is_checked_as_the_first_address_is(server: tuple[int, list[str]], tmp_path: Path) -> None:
    port, hosts = server
    places = {"outside.example": ["127.0.0.1"], "inside.example": ["127.0.0.2", "::1"]}
    rules = WebRules((ip_network("127.0.0.1/32"),))
    with pytest.raises(InputError, match=r"inside\.example is at 127\.0\.0\.2"):
        fetch_web(
            f"http://outside.example:{port}/to/http://inside.example:{port}/ok",
            tmp_path / "a",
            rules,
            resolve=lambda host, _: places[host],
        )
    assert hosts == [f"outside.example:{port}"]


def test_prefixes_hold_on_every_hop(server: tuple[int, list[str]], tmp_path: Path) -> None:
    port = server[0]
    base = f"http://videos.example:{port}"
    rules = WebRules(LOCAL.networks, (f"{base}/to/", f"{base}/ok"))
    fetch_web(f"{base}/to//ok", tmp_path / "a", rules, resolve=at("127.0.0.1"))
    for bad in ("/to//404", "/404", "/to/../404"):
        with pytest.raises(InputError, match="may not be read here"):
            fetch_web(base + bad, tmp_path / "b", rules, resolve=at("127.0.0.1"))


@pytest.mark.parametrize(
    ("path", "error", "words"),
    [
        ("/404", SourceNotFound, "does not exist"),
        ("/410", SourceNotFound, "does not exist"),
        ("/403", InputError, "says 403"),
        ("/503", Unavailable, "says 503"),
        ("/loop", InputError, "redirects more than"),
        ("/to/file:///etc/passwd", InputError, "no http"),
        ("/cut", Unavailable, "does not answer"),
        ("/ok", InputError, "larger than 50000 bytes"),
        ("/endless", InputError, "larger than 50000 bytes"),
    ],
)
def test_failures_are_told_apart_and_leave_nothing(
    path: str, error: type[PoseTaskError], words: str, server: tuple[int, list[str]], tmp_path: Path
) -> None:
    url, most = f"http://videos.example:{server[0]}{path}", None if path == "/cut" else 50_000
    with pytest.raises(error, match=words) as caught:
        fetch_web(url, tmp_path / "a", LOCAL, most=most, resolve=at("127.0.0.1"))
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_connection_that_breaks_is_tried_again(server: tuple[int, list[str]], tmp_path: Path) -> None:
    url = f"http://videos.example:{server[0]}/flaky"
    assert fetch_web(url, tmp_path / "a", LOCAL, resolve=at("127.0.0.1")) == len(BODY)
    assert len(server[1]) == 2


def test_a_name_that_is_none_can_be_tried_later(tmp_path: Path) -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Unavailable, match="cannot be resolved"):
        fetch_web("http://nowhere.example/x", tmp_path / "a", WebRules(), resolve=nobody)


def test_rules_come_from_the_environment() -> None:
    environment = {
        "POSETASK_SOURCE_NETWORKS": "10.0.0.0/8, fd00::/8",
        "POSETASK_SOURCE_PREFIXES": "https://a.example/v/",
    }
    rules = WebRules.from_environment(environment)
    assert [str(network) for network in rules.networks] == ["10.0.0.0/8", "fd00::/8"]
    assert rules.prefixes == ("https://a.example/v/",)
    with pytest.raises(InvalidParameters, match="POSETASK_SOURCE_NETWORKS"):
        WebRules.from_environment({"POSETASK_SOURCE_NETWORKS": "everything"})


def test_a_fetched_file_goes_with_who_holds_it(
    server: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSETASK_SOURCE_NETWORKS", "127.0.0.0/8")
    location = Location.parse(f"http://127.0.0.1:{server[0]}/ok?name=../../x")
    fetched = Fetched(location)
    path = fetched.path
    assert (path.name, path.read_bytes()) == ("ok", BODY)
    del fetched
    assert not path.parent.exists()
    monkeypatch.setenv("POSETASK_SOURCE_MAX_BYTES", "50")
    with pytest.raises(InputError, match="larger than 50 bytes"):
        Fetched(location)
    monkeypatch.setenv("POSETASK_SOURCE_MAX_BYTES", "much")
    with pytest.raises(InvalidParameters, match="POSETASK_SOURCE_MAX_BYTES"):
        Fetched(location)
