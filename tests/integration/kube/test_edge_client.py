"""The operator's client, lease, store and watches against a real API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from posetask_operator.edge.client import KubeClient
from posetask_operator.edge.connect import Connection, connect
from posetask_operator.edge.faults import (
    AlreadyThere,
    Conflict,
    ForeignObject,
    LeaseLost,
    NamespaceTerminating,
    NotThere,
    Refused,
)
from posetask_operator.edge.lease import Lease, LeaseTimes
from posetask_operator.edge.relist import Relist
from posetask_operator.edge.resources import CONFIG_MAPS, JOBS, LEASES, NAMESPACES, POSETASKS, Resource
from posetask_operator.edge.store import Key, Store
from posetask_operator.edge.watch import Delivered, Watches

pytestmark = [pytest.mark.kube, pytest.mark.timeout(120)]

Json = dict[str, Any]


@asynccontextmanager
async def opened(kube: Any, **options: Any) -> AsyncIterator[KubeClient]:
    client = KubeClient(await connect(str(kube.kubeconfig)), **options)
    try:
        yield client
    finally:
        await client.close()


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def posetask(name: str) -> Json:
    return {
        "apiVersion": "posetask.io/v1alpha1",
        "kind": "PoseTask",
        "metadata": {"name": name},
        "spec": {"source": {"uri": "synth:people=1,frames=9"}},
    }


async def until(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := check()):
            await asyncio.sleep(0.02)
    return found


def test_a_second_create_is_told_and_an_object_of_ours_is_adopted(cluster: Any, namespace: str) -> None:
    async def main() -> None:
        async with opened(cluster) as client:
            body = config_map("a", x="1")
            made = await client.create(CONFIG_MAPS, namespace, body)
            with pytest.raises(AlreadyThere):
                await client.create(CONFIG_MAPS, namespace, body)
            with pytest.raises(ForeignObject, match="belongs to somebody else"):
                await client.create_or_adopt(CONFIG_MAPS, namespace, body, "another")
            owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": made["metadata"]["uid"]}
            child = config_map("b")
            child["metadata"]["ownerReferences"] = [owner]
            uid = made["metadata"]["uid"]
            first, now = await client.create_or_adopt(CONFIG_MAPS, namespace, child, uid)
            again, later = await client.create_or_adopt(CONFIG_MAPS, namespace, child, uid)
            assert (now, later) == (True, False)
            assert first["metadata"]["uid"] == again["metadata"]["uid"]

    asyncio.run(main())


def test_a_write_from_an_old_look_is_a_conflict(cluster: Any, namespace: str) -> None:
    async def main() -> None:
        async with opened(cluster) as client:
            made = await client.create(CONFIG_MAPS, namespace, config_map("a", x="1"))
            old = made["metadata"]["resourceVersion"]
            change = {"data": {"x": "2"}}
            new = await client.patch(CONFIG_MAPS, namespace, "a", change, resource_version=old)
            with pytest.raises(Conflict):
                await client.patch(CONFIG_MAPS, namespace, "a", {"data": {"x": "3"}}, resource_version=old)
            with pytest.raises(Conflict):
                await client.replace(CONFIG_MAPS, namespace, "a", made)
            put = await client.replace(CONFIG_MAPS, namespace, "a", {**new, "data": {"x": "4"}})
            assert put["data"] == {"x": "4"}
            with pytest.raises(NotThere):
                await client.patch(CONFIG_MAPS, namespace, "none", {}, resource_version="1")

    asyncio.run(main())


def test_a_delete_spares_another_object_of_the_same_name(cluster: Any, namespace: str) -> None:
    async def main() -> None:
        async with opened(cluster) as client:
            made = await client.create(CONFIG_MAPS, namespace, config_map("a"))
            assert await client.delete(CONFIG_MAPS, namespace, "a", uid="another") is None
            assert await client.get(CONFIG_MAPS, namespace, "a") is not None
            uid = made["metadata"]["uid"]
            await client.delete(CONFIG_MAPS, namespace, "a", uid=uid, propagation="Background")
            assert await client.get(CONFIG_MAPS, namespace, "a") is None
            assert await client.delete(CONFIG_MAPS, namespace, "a", uid=uid) is None

    asyncio.run(main())


def test_a_list_comes_whole_over_many_pages_and_as_metadata_alone(cluster: Any, namespace: str) -> None:
    async def main() -> None:
        async with opened(cluster) as client:
            for number in range(23):
                await client.create(CONFIG_MAPS, namespace, config_map(f"a{number}", x="1"))
            whole = await client.list(CONFIG_MAPS, namespace, page=5)
            names = {body["metadata"]["name"] for body in whole.items}
            assert {f"a{number}" for number in range(23)} <= names
            bare = await client.list(CONFIG_MAPS, namespace, metadata_only=True)
            assert all("data" not in body for body in bare.items)
            one = await client.get(CONFIG_MAPS, namespace, "a0", metadata_only=True)
            assert one is not None
            assert "data" not in one

    asyncio.run(main())


def test_what_the_server_refuses_says_why(cluster: Any, crd: Any, namespace: str) -> None:
    async def main() -> None:
        async with opened(cluster) as client:
            with pytest.raises(Refused, match="source"):
                await client.create(POSETASKS, namespace, {**posetask("a"), "spec": {}})
            missing = Resource("posetask.io", "v9", "posetasks", "PoseTask")
            with pytest.raises(NotThere, match=r"crds/posetasks\.yaml"):
                await client.list(missing, namespace)

    asyncio.run(main())


def test_nothing_can_be_made_in_a_namespace_that_goes(cluster: Any, make_namespace: Any) -> None:
    async def main() -> None:
        name = make_namespace()
        async with opened(cluster) as client:
            held = config_map("held")
            held["metadata"]["finalizers"] = ["example.org/held"]
            await client.create(CONFIG_MAPS, name, held)
            found = await client.get(NAMESPACES, None, name)
            assert found is not None
            await client.delete(
                NAMESPACES, None, name, uid=found["metadata"]["uid"], propagation="Background"
            )
            with pytest.raises(NamespaceTerminating):
                await client.create(CONFIG_MAPS, name, config_map("late"))
            held = await client.get(CONFIG_MAPS, name, "held") or {}
            await client.patch(
                CONFIG_MAPS,
                name,
                "held",
                {"metadata": {"finalizers": None}},
                resource_version=held["metadata"]["resourceVersion"],
            )

    asyncio.run(main())


def test_a_fence_is_asked_before_every_write_and_never_for_a_read(cluster: Any, namespace: str) -> None:
    def closed() -> float:
        raise LeaseLost("not ours")

    async def main() -> None:
        async with opened(cluster, guard=closed) as client, opened(cluster) as beside:
            await beside.create(CONFIG_MAPS, namespace, config_map("a"))
            assert await client.get(CONFIG_MAPS, namespace, "a") is not None
            for write in (
                client.create(CONFIG_MAPS, namespace, config_map("b")),
                client.replace(CONFIG_MAPS, namespace, "a", config_map("a", x="1")),
                client.delete(CONFIG_MAPS, namespace, "a", uid="any"),
            ):
                with pytest.raises(LeaseLost):
                    await write
            assert await client.get(CONFIG_MAPS, namespace, "b") is None

    asyncio.run(main())


def test_one_replica_holds_the_lease_and_hands_it_over(cluster: Any, namespace: str) -> None:
    async def main() -> None:
        times = LeaseTimes(duration=3.0, renew_by=2.0, retry=0.2)
        async with opened(cluster) as client:
            one, two = (Lease(client, namespace, "op", name, times=times) for name in ("one", "two"))
            await one.acquire()
            assert one.guard() > 0
            keeping = asyncio.create_task(one.keep())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(4):  # longer than the lease's duration: it is renewed
                    await two.acquire()
            assert not two.held
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            await one.release()
            with pytest.raises(LeaseLost):
                one.guard()
            async with asyncio.timeout(10):
                await two.acquire()
            found = await client.get(LEASES, namespace, "op")
            assert found is not None
            assert found["spec"]["holderIdentity"] == "two"
            assert found["spec"]["leaseTransitions"] == 1

    asyncio.run(main())


def test_a_lease_that_is_not_renewed_is_taken_over_after_the_holder_stopped_writing(
    cluster: Any, namespace: str
) -> None:
    async def main() -> None:
        times = LeaseTimes(duration=2.0, renew_by=1.0, retry=0.2)
        async with opened(cluster) as client:
            one, two = (Lease(client, namespace, "op", name, times=times) for name in ("one", "two"))
            await one.acquire()  # and then it is never heard of again
            async with asyncio.timeout(20):
                await two.acquire()
            assert not one.held
            assert two.held

    asyncio.run(main())


def test_watches_fill_the_store_and_tell_of_changes_and_ends(cluster: Any, crd: Any, namespace: str) -> None:
    async def main() -> None:
        changed: list[Key] = []
        store, delivered = Store(lambda key, _: changed.append(key)), Delivered()

        async def again() -> Connection:
            return await connect(str(cluster.kubeconfig))

        watches = Watches(again, store, delivered, "main", [namespace])
        async with opened(cluster) as client:
            before = await client.create(POSETASKS, namespace, posetask("before"))
            watching = asyncio.create_task(watches.run())
            key = Key(namespace, "before")
            await until(lambda: store.task(key))
            after = await client.create(POSETASKS, namespace, posetask("after"))
            uid = after["metadata"]["uid"]
            await until(lambda: store.has_uid(uid))
            assert delivered.version("task", uid) > 0
            assert Key(namespace, "after") in changed
            await client.delete(POSETASKS, namespace, "after", uid=uid)
            await until(lambda: not store.has_uid(uid))
            assert store.task(key) is not None
            assert before["metadata"]["uid"] in store.versions("task")
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    asyncio.run(main())


def test_a_list_drops_ghosts_and_tells_what_a_dead_watch_owes(cluster: Any, crd: Any, namespace: str) -> None:
    async def main() -> None:
        now = [100.0]
        store, delivered = Store(), Delivered()
        async with opened(cluster) as client:
            relist = Relist(client, store, delivered, "main", [namespace], clock=lambda: now[0])
            made = await client.create(POSETASKS, namespace, posetask("ghost"))
            await relist.fill()
            key = Key(namespace, "ghost")
            assert store.task(key) is not None
            assert relist.lag == 0.0
            await relist.check()
            now[0] += 70
            assert relist.lag == 70.0, "no watch runs, and so it owes the task"
            delivered.note("task", "ADDED", made)
            assert relist.lag == 0.0
            uid = made["metadata"]["uid"]
            await client.delete(POSETASKS, namespace, "ghost", uid=uid, propagation="Background")
            assert store.task(key) is not None, "no watch runs"
            await relist.check()
            assert store.task(key) is None

    asyncio.run(main())


def test_jobs_of_another_installation_are_not_listed(cluster: Any, crd: Any, namespace: str) -> None:
    async def main() -> None:
        async with opened(cluster) as client:
            for installation in ("main", "other"):
                job = cluster_job(f"job-{installation}", installation)
                await client.create(JOBS, namespace, job)
            store = Store()
            relist = Relist(client, store, Delivered(), "main", [namespace])
            await relist.fill()
            names = [body["metadata"]["name"] for body in store.children("job", "run-1")]
            assert names == ["job-main"]

    asyncio.run(main())


def cluster_job(name: str, installation: str) -> Json:
    labels = {"posetask.io/run": "run-1", "posetask.io/installation": installation}
    pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "none"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {"suspend": True, "template": {"spec": pod}},
    }
