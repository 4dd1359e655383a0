"""What could not be taken off the brokers, written down where the task's namespace cannot take it along."""

from __future__ import annotations

import json
from dataclasses import asdict

from posetask_operator.core.names import INSTALLATION_LABEL, MANAGER
from posetask_operator.core.observed import RunRecord
from posetask_operator.edge.client import Json
from posetask_operator.edge.resources import CONFIG_MAPS


def tombstone(namespace: str, name: str, record: RunRecord, message: str) -> Json:
    """A ConfigMap that says what was left, and of which task.

    >>> made = tombstone("ops", "gone-a-1", RunRecord("main", "demo", "a", "u", "a-1", ("t_a-1",)), "left")
    >>> made["data"]["topics"], made["metadata"]["labels"]["posetask.io/installation"]
    ('t_a-1', 'main')
    """
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": MANAGER | {INSTALLATION_LABEL: record.installation},
        },
        "data": {
            "message": message,
            "task": f"{record.namespace}/{record.name}",
            "uid": record.uid,
            "topics": "\n".join(record.topics),
            "groups": "\n".join(record.groups),
            "record": json.dumps(asdict(record)),
        },
    }
