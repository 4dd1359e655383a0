"""Accelerators of a profile without a budget of its own: what its nodes have, minus what others use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from posetask_operator.core.names import INSTALLATION_LABEL
from posetask_operator.edge.client import KubeClient
from posetask_operator.edge.resources import NODES, PODS
from posetask_operator.edge.seen import gpus_of
from posetask_operator.settings import Profile, Settings

Json = Mapping[str, Any]


class Capacity:
    """Counts.

    Args:
        client: To ask; needs to list nodes and pods of the whole cluster.
        settings: For the profiles.
    """

    def __init__(self, client: KubeClient, settings: Settings) -> None:
        self._client, self._installation = client, settings.installation
        self.profiles = {
            name: profile
            for name, profile in settings.profiles.items()
            if profile.accelerator is not None and profile.gpus is None
        }

    async def count(self) -> dict[str, int]:
        """Accelerators that PoseTasks of this installation may use, by profile.

        Raises:
            PoseTaskError: The API server is away, or does not let the operator look.
        """
        if not self.profiles:
            return {}
        nodes = await self._client.list(NODES)
        others = await self._client.list(PODS, labels=f"{INSTALLATION_LABEL}!={self._installation}")
        return {name: free(profile, nodes.items, others.items) for name, profile in self.profiles.items()}


def free(profile: Profile, nodes: Iterable[Json], others: Iterable[Json]) -> int:
    """Of a profile, from its nodes and the pods of others.

    >>> node = {"metadata": {"name": "n", "labels": {"pool": "gpu"}}, "spec": {},
    ...         "status": {"allocatable": {"nvidia.com/gpu": "4"},
    ...                    "conditions": [{"type": "Ready", "status": "True"}]}}
    >>> pod = {"spec": {"nodeName": "n", "containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]},
    ...        "status": {"phase": "Running"}}
    >>> free(Profile(accelerator="nvidia.com/gpu", node_selector={"pool": "gpu"}), [node], [pod])
    3
    """
    resource = profile.accelerator
    if resource is None:
        return 0
    there = {
        str(node["metadata"]["name"]): _amount((node.get("status") or {}).get("allocatable") or {}, resource)
        for node in nodes
        if _usable(profile, node)
    }
    used = sum(
        gpus_of(pod.get("spec") or {}, resource)
        for pod in others
        if (pod.get("spec") or {}).get("nodeName") in there
        and (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}
    )
    return max(0, sum(there.values()) - used)


def _usable(profile: Profile, node: Json) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(name) != value for name, value in profile.node_selector.items()):
        return False
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _amount(allocatable: Json, resource: str) -> int:
    amount = str(allocatable.get(resource, "0"))
    return int(amount) if amount.isdecimal() else 0
