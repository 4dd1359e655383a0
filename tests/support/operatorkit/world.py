"""What is left of a task, without what is new in every run: two lives that ended alike look alike."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import httpx
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from kubelib.api import Api, Refused
from kubelib.errors import KubeFailed
from operatorkit.stand import TASKS
from operatorkit.writes import plain

_FIGURES = ("state", "reason", "attempt", "retries", "readyTimeouts", "ready", "restarts")
_SHARED = ("posetask_runs", "posetask_progress")
World = dict[str, Any]


class Children:
    """Every Job and pod that a namespace ever saw, by a watch of our own.

    Args:
        api: Directly.
        namespace: Of the tasks.
    """

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace
        self._uids: dict[str, set[str]] = defaultdict(set)
        for kind, version in (("jobs", "batch/v1"), ("pods", "v1")):
            threading.Thread(target=self._follow, args=(kind, version), name="children", daemon=True).start()

    def twice(self) -> list[str]:
        """Jobs made more than once, and replicas that had more than one pod though none failed."""
        return sorted(name for name, uids in self._uids.items() if len(uids) > 1)

    def clear(self) -> None:
        """Begin anew."""
        self._uids.clear()

    def _follow(self, kind: str, version: str) -> None:
        while True:
            try:
                for event, body in self._api.watch(version, kind, self._namespace, seconds=300):
                    if event == "ADDED":
                        self._note(kind, body)
            except (httpx.HTTPError, KubeFailed, KeyError):
                time.sleep(0.1)
            except RuntimeError:  # the client was closed: all is over
                return

    def _note(self, kind: str, body: Mapping[str, Any]) -> None:
        meta = body["metadata"]
        if kind == "jobs":
            name = f"Job {meta['name']}"
        else:
            job = meta["labels"].get("batch.kubernetes.io/job-name", "")
            name = f"pod {job}/{meta['labels'].get('batch.kubernetes.io/job-completion-index', '')}"
        self._uids[name].add(meta["uid"])


def task_world(api: Api, namespace: str, name: str, bootstrap: str, runs: frozenset[str]) -> World:
    """The task, its children, and what the broker holds of ``runs``, each without uids and times."""
    found = api.find(TASKS, "posetasks", namespace, name)
    status = (found or {}).get("status") or {}
    seen: World = {"task": None if found is None else {key: status.get(key) for key in _FIGURES}}
    if found is not None:
        seen["finalizers"] = found["metadata"].get("finalizers", [])
        seen["conditions"] = {
            c["type"]: f"{c['status']} {c['reason']}" for c in status.get("conditions") or ()
        }
        progress = status.get("progress") or {}
        seen["progress"] = {key: value for key, value in progress.items() if key not in {"updateTime", "fps"}}
        result = status.get("result") or {}
        seen["result"] = {key: plain_path(value, namespace) for key, value in result.items()}
        seen["stages"] = {s["name"]: [s.get("frames"), s.get("restarts")] for s in status.get("stages") or ()}
    seen["jobs"] = _names(api, "batch/v1", "jobs", namespace)
    seen["pods"] = _names(api, "v1", "pods", namespace)
    return seen | broker_world(bootstrap, runs)


def broker_world(bootstrap: str, runs: frozenset[str]) -> World:
    """Topics, groups and keys of runs; others may have theirs on the same brokers."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    topics = set(admin.list_topics(timeout=60).topics)
    groups = {one.group_id for one in admin.list_consumer_groups(request_timeout=60).result().valid}
    return {
        "topics": sorted(plain(topic) for topic in topics if topic.rpartition("_")[2] in runs),
        "groups": sorted(plain(group) for group in groups if group.rpartition("_")[2] in runs),
        "keys": {
            topic: sorted(plain_path(k) for k in live_keys(bootstrap, topic) if k.split("/")[0] in runs)
            for topic in _SHARED
            if topic in topics
        },
    }


def live_keys(bootstrap: str, topic: str) -> set[str]:
    """Keys of a compacted topic whose last value is not null."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "world", "enable.auto.commit": False, "log_level": 0}
    )
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
        values: dict[str, bytes | None] = {}
        consumer.assign([TopicPartition(topic, 0, low)])
        at, deadline = low, time.monotonic() + 30
        while at < high and time.monotonic() < deadline:
            for message in consumer.consume(500, 0.5):
                if message.error() is None:
                    values[(message.key() or b"").decode()] = message.value()
            (place,) = consumer.position([TopicPartition(topic, 0)])
            at = max(at, place.offset)
        return {key for key, value in values.items() if value is not None}
    finally:
        consumer.close()


def difference(reference: World, found: World) -> list[str]:
    """What is not alike, in words.

    >>> difference({"jobs": [], "topics": []}, {"jobs": ["a"], "topics": []})
    ['jobs: [] in peace, ["a"] here']
    """
    return [
        f"{key}: {json.dumps(reference.get(key))} in peace, {json.dumps(found.get(key))} here"
        for key in sorted(reference.keys() | found.keys())
        if reference.get(key) != found.get(key)
    ]


def plain_path(value: Any, namespace: str = "") -> Any:
    """A path without uids, and without the namespace; anything else as it is.

    >>> plain_path("s3://results/a/demo-0a1b2c3d/demo.mp4", "a")
    's3://results/NAMESPACE/demo-*/demo.mp4'
    """
    if not isinstance(value, str):
        return value
    return "/".join("NAMESPACE" if part and part == namespace else plain(part) for part in value.split("/"))


def _names(api: Api, version: str, kind: str, namespace: str) -> list[str]:
    try:
        return sorted(plain(one["metadata"]["name"]) for one in api.list(version, kind, namespace))
    except Refused:
        return []
