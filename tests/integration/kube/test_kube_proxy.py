"""The proxies of the crash plans: they count what is written, and break exactly what they are told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.kube, pytest.mark.timeout(180)]

SETTING = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"n": "1"}}


@pytest.fixture
def ledger() -> Any:
    from operatorkit.writes import Ledger

    return Ledger()


@pytest.fixture
def proxied(cluster: Any, ledger: Any, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """The proxy, and a client that goes through it."""
    from kubelib.api import Api
    from operatorkit.apiproxy import ApiProxy

    with ApiProxy(cluster.kubeconfig, tmp_path, ledger) as proxy:
        client = Api(proxy.kubeconfig)
        yield proxy, client
        client.close()


def names(api: Any, namespace: str) -> set[str]:
    return {one["metadata"]["name"] for one in api.list("v1", "configmaps", namespace)} - {"kube-root-ca.crt"}


def test_writes_are_numbered_and_named_and_reads_are_not(
    proxied: tuple[Any, Any], ledger: Any, namespace: str
) -> None:
    _, client = proxied
    client.create("configmaps", namespace, SETTING)
    client.get("v1", "configmaps", namespace, "a")
    client.patch("v1", "configmaps", namespace, "a", {"data": {"n": "2"}})
    client.patch("v1", "configmaps", namespace, "a", {"data": {"n": "3"}})
    client.delete("v1", "configmaps", namespace, "a")
    assert [(write.number, write.name) for write in ledger.writes()] == [
        (1, "create configmaps a #1"),
        (2, "patch configmaps a #1"),
        (3, "patch configmaps a #2"),
        (4, "delete configmaps a #1"),
    ]
    assert ledger.open == 0


def test_the_renewal_of_a_lease_is_no_write_of_a_task(
    proxied: tuple[Any, Any], ledger: Any, namespace: str
) -> None:
    _, client = proxied
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}, "spec": {}}
    client.create("leases", namespace, lease)
    assert ledger.writes() == []
    assert [write.name for write in ledger.writes(background=True)] == ["create leases a #1"]


@pytest.mark.parametrize("code", [409, 410, 429, 500, 503])
def test_a_refused_write_never_reaches_the_server(
    proxied: tuple[Any, Any], ledger: Any, api: Any, namespace: str, code: int
) -> None:
    from kubelib.api import Refused
    from operatorkit.writes import Fault, once

    ledger.choose = once("create configmaps a #1", Fault(answer=code))
    with pytest.raises(Refused) as said:
        proxied[1].create("configmaps", namespace, SETTING)
    assert said.value.code == code
    assert names(api, namespace) == set()
    proxied[1].create("configmaps", namespace, SETTING)  # the second is another write
    assert names(api, namespace) == {"a"}


def test_a_lost_answer_leaves_the_write_done(
    proxied: tuple[Any, Any], ledger: Any, api: Any, namespace: str
) -> None:
    import httpx

    from operatorkit.writes import Fault, once

    ledger.choose = once("create configmaps a #1", Fault(lose=True))
    with pytest.raises(httpx.TransportError):
        proxied[1].create("configmaps", namespace, SETTING)
    assert names(api, namespace) == {"a"}


def test_before_and_after_stand_on_both_sides_of_the_write(
    proxied: tuple[Any, Any], ledger: Any, api: Any, namespace: str
) -> None:
    from operatorkit.writes import Fault, once

    seen: list[set[str]] = []

    def look() -> None:
        seen.append(names(api, namespace))

    ledger.choose = once("create configmaps a #1", Fault(before=look, after=look))
    proxied[1].create("configmaps", namespace, SETTING)
    assert seen == [set(), {"a"}]
    assert ledger.most_open == 1


def test_a_frozen_watch_brings_what_it_held_back(proxied: tuple[Any, Any], api: Any, namespace: str) -> None:
    proxy, client = proxied
    came: list[str] = []
    began, done = threading.Event(), threading.Event()

    def follow() -> None:
        for kind, body in client.watch("v1", "configmaps", namespace, seconds=20):
            began.set()
            if kind == "ADDED" and body["metadata"]["name"] in "ab":
                came.append(body["metadata"]["name"])
            if "b" in came:
                done.set()
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert began.wait(20)
    proxy.freeze("configmaps")
    for name in "ab":
        api.create("configmaps", namespace, {**SETTING, "metadata": {"name": name}})
    assert not done.wait(1.5)
    assert came == []
    proxy.thaw("configmaps")
    assert done.wait(20)
    assert came == ["a", "b"]
    thread.join(20)


def test_a_stale_list_is_the_last_one(proxied: tuple[Any, Any], api: Any, namespace: str) -> None:
    proxy, client = proxied
    assert names(client, namespace) == set()
    proxy.stale("configmaps")
    api.create("configmaps", namespace, SETTING)
    assert names(client, namespace) == set()
    proxy.stale("configmaps", False)
    assert names(client, namespace) == {"a"}


def test_a_server_that_is_away_takes_no_requests(proxied: tuple[Any, Any], namespace: str) -> None:
    import httpx

    proxy, client = proxied
    proxy.go_away()
    with pytest.raises(httpx.TransportError):
        client.list("v1", "configmaps", namespace)
    proxy.go_away(False)
    assert names(client, namespace) == set()


def test_reads_can_be_refused_too(proxied: tuple[Any, Any], namespace: str) -> None:
    from kubelib.api import Refused

    proxy, client = proxied
    proxy.refuse("configmaps", 410)
    with pytest.raises(Refused, match="Expired"):
        client.list("v1", "configmaps", namespace)
    proxy.refuse("configmaps", None)
    assert names(client, namespace) == set()


@pytest.fixture
def kafka(make_broker: Callable[..., Any], ledger: Any) -> Iterator[tuple[Any, Any]]:
    """The proxy before a broker of its own, and an admin client through it."""
    from confluent_kafka.admin import AdminClient

    from kubelib.ports import free_ports
    from operatorkit.kafkaproxy import KafkaProxy, listeners

    with KafkaProxy(ledger) as proxy:
        (port,) = free_ports(1)
        make_broker(*listeners([proxy], [port]))
        proxy.forward_to(port)
        yield proxy, AdminClient({"bootstrap.servers": proxy.bootstrap, "log_level": 0})


def test_changes_on_a_broker_are_counted_broken_and_seen_on_both_sides(
    kafka: tuple[Any, Any], ledger: Any
) -> None:
    from confluent_kafka import KafkaException, Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    from operatorkit.writes import Fault, once

    proxy, admin = kafka
    other = AdminClient(
        {"bootstrap.servers": proxy.bootstrap, "log_level": 0}
    )  # a connection holds its order

    def there() -> set[str]:
        return {name for name in other.list_topics(timeout=20).topics if not name.startswith("__")}

    def make(name: str, seconds: float = 20) -> None:
        (future,) = admin.create_topics([NewTopic(name, 1, 1)], request_timeout=seconds).values()
        future.result()

    make("first")
    producer = Producer({"bootstrap.servers": proxy.bootstrap, "log_level": 0})
    make("posetask_runs")
    producer.produce("posetask_runs", key="a", value="b")
    assert producer.flush(30) == 0
    assert [write.name for write in ledger.writes()] == [
        "kafka create-topics #1",
        "kafka create-topics #2",
        "kafka produce posetask_runs #1",
    ]
    seen: list[set[str]] = []
    look = Fault(before=lambda: seen.append(there()), after=lambda: seen.append(there()))
    ledger.choose = once("kafka create-topics #3", look)
    make("third")
    assert ["third" in one for one in seen] == [False, True]
    ledger.choose = once("kafka create-topics #4", Fault(answer=1))
    with pytest.raises(KafkaException):
        make("fourth", 3)
    ledger.choose = None
    assert "fourth" not in there()
    assert ledger.open == 0


def test_brokers_can_go_away_and_come_back(kafka: tuple[Any, Any]) -> None:
    from confluent_kafka import KafkaException

    proxy, admin = kafka
    assert admin.list_topics(timeout=20).brokers
    proxy.go_away()
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=2)
    proxy.go_away(False)
    assert admin.list_topics(timeout=30).brokers
