"""Which programs there are, from which pinned Go modules, and where their builds lie."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from kubelib.errors import KubeFailed

MODULES = Path(__file__).parents[2] / "hack" / "kube"


def cache() -> Path:
    """Shared by all checkouts of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posetask" / "kube"


@dataclass(frozen=True)
class Tool:
    """One Go module and the programs that it gives.

    Args:
        name: Folder under ``hack/kube`` with go.mod and go.sum.
        module: The module whose version counts.
        packages: Program -> Go package.
        stamps: Linker variables; ``{version}``, ``{major}`` and ``{minor}`` are filled in.
    """

    name: str
    module: str
    packages: dict[str, str]
    stamps: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where go.mod lies."""
        return MODULES / self.name

    @property
    def version(self) -> str:
        """The pinned one, e.g. ``v1.35.4``."""
        return self._pinned(rf"^(?:require)?\s*{re.escape(self.module)} (v\S+)")

    @property
    def go(self) -> str:
        """The oldest Go that builds it, e.g. ``1.26.0``."""
        return self._pinned(r"^go (\S+)")

    @property
    def ldflags(self) -> str:
        """Small programs that know their version."""
        major, minor, *_ = self.version.removeprefix("v").split(".")
        filled = (s.format(version=self.version, major=major, minor=minor) for s in self.stamps)
        return " ".join(["-s", "-w", *(f"-X {stamp}" for stamp in filled)])

    @property
    def home(self) -> Path:
        """Folder of its builds, another for another go.sum or source: no old program is ever taken."""
        ours = sorted(self.folder.rglob("*.go"))
        said = [path.read_bytes() for path in (self.folder / "go.mod", self.folder / "go.sum", *ours)]
        key = hashlib.sha256(b"\0".join([*said, self.ldflags.encode(), platform.machine().encode()]))
        return cache() / f"{self.name}-{self.version}-{key.hexdigest()[:12]}"

    def _pinned(self, pattern: str) -> str:
        found = re.search(pattern, (self.folder / "go.mod").read_text(), re.M)
        if found is None:
            raise KubeFailed(f"{self.folder / 'go.mod'} has no line like {pattern!r}")
        return found[1]


_KUBERNETES = "k8s.io/kubernetes/cmd/"
TOOLS = (
    Tool("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
    Tool(
        "kubernetes",
        "k8s.io/kubernetes",
        {
            name: _KUBERNETES + name
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubectl",
                "kubelet",
                "kube-proxy",
            )
        },
        (
            "k8s.io/component-base/version.gitVersion={version}",
            "k8s.io/component-base/version.gitMajor={major}",
            "k8s.io/component-base/version.gitMinor={minor}",
            "k8s.io/component-base/version.gitTreeState=clean",
        ),
    ),
    Tool(
        "kwok",
        "sigs.k8s.io/kwok",
        {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
        ("sigs.k8s.io/kwok/pkg/consts.Version={version}",),
    ),
    Tool(
        "helm",
        "helm.sh/helm/v4",
        {"helm": "helm.sh/helm/v4/cmd/helm"},
        ("helm.sh/helm/v4/internal/version.version={version}",),
    ),
    Tool("coredns", "github.com/coredns/coredns", {"coredns": "github.com/coredns/coredns"}),
    Tool(
        "versitygw",
        "github.com/versity/versitygw",
        {"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
        ("main.Version={version}",),
    ),
    Tool(
        "node",
        "k8s.io/kubelet",
        {name: f"posetask.io/hack/kube/node/{name}" for name in ("gpu-plugin", "pause", "kafka-start")},
    ),
)

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok")
"""What development and the tests of the operator need."""


def tool_of(program: str) -> Tool:
    """The module that gives ``program``."""
    for tool in TOOLS:
        if program in tool.packages:
            return tool
    known = ", ".join(sorted(name for tool in TOOLS for name in tool.packages))
    raise KubeFailed(f"no program {program!r} here; there are {known}")


def find(program: str) -> Path | None:
    """Path of a program that is there: KUBEBUILDER_ASSETS first, then the cache."""
    tool = tool_of(program)
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for path in (*([Path(assets) / program] if assets else []), tool.home / program):
        if os.access(path, os.X_OK):
            return path
    return None


def need(program: str) -> Path:
    """Path of a program.

    Raises:
        KubeFailed: It was not built yet.
    """
    path = find(program)
    if path is None:
        extra = "" if program in CONTROL_PLANE else f" ARGS={program}"
        raise KubeFailed(f"{program} is not there (run: make kube-build{extra})")
    return path
