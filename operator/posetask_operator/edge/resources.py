"""The kinds that the operator touches, and their addresses."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind on the API server.

    Attributes:
        group: Empty for the core group.
        version: For example ``v1``.
        plural: For example ``jobs``.
        kind: For example ``Job``.
        namespaced: Whether its objects live in namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As it stands in an object.

        >>> JOBS.api_version
        'batch/v1'
        """
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """Path on the server; without a namespace, of all namespaces.

        >>> JOBS.path("demo", "yolox"), PODS.path()
        ('/apis/batch/v1/namespaces/demo/jobs/yolox', '/api/v1/pods')
        """
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, sub) if part is not None]
        return "/" + "/".join(quote(part, safe="") for part in parts)


POSETASKS = Resource("posetask.io", "v1alpha1", "posetasks", "PoseTask")
JOBS = Resource("batch", "v1", "jobs", "Job")
PODS = Resource("", "v1", "pods", "Pod")
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
