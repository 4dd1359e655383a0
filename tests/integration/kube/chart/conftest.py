"""helm itself on the chart of the checkout, and what it renders."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

try:
    from yaml import CSafeLoader as Loader
except ImportError:
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

ROOT = Path(__file__).parents[4]
CHART = ROOT / "charts" / "posetask"
SYSTEM = "posetask-system"

Object = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]

VALUES: dict[str, tuple[str, ...]] = {
    "dev": ("values-dev.yaml",),
    "dev-gpu": ("values-dev.yaml", "values-gpu.yaml"),
    "prod": ("values-prod.yaml",),
    "prod-gpu": ("values-prod.yaml", "values-gpu.yaml"),
}
"""The values files, as people lay them over each other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kube)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """helm, with a home of its own."""
    from kubelib.tools import find

    program = find("helm")
    if program is None:
        pytest.skip("helm not built (run: make kube-build ARGS=helm)")
    home = tmp_path_factory.mktemp("helm")

    def run(*arguments: str | Path, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.defpath, "HOME": str(home)}
        if kubeconfig is not None:
            environment["KUBECONFIG"] = str(kubeconfig)
        return subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, timeout=60, env=environment
        )

    return run


@pytest.fixture(scope="session")
def template(helm: Helm) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``template("dev", "--set", "a=b")``: helm template with one of ``VALUES``; or with none."""

    def run(name: str | None, *more: str) -> subprocess.CompletedProcess[str]:
        files = [word for file in VALUES.get(name or "", ()) for word in ("-f", CHART / file)]
        return helm("template", "posetask", CHART, "-n", SYSTEM, *files, *more)

    return run


@pytest.fixture(scope="session")
def rendered(template: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., list[Object]]:
    """The same, as objects."""

    @cache
    def text(name: str | None, *more: str) -> str:
        said = template(name, *more)
        assert said.returncode == 0, said.stderr
        return said.stdout

    def render(name: str | None, *more: str) -> list[Object]:
        return [one for one in yaml.load_all(text(name, *more), Loader) if one]

    return render


@pytest.fixture(params=list(VALUES))
def values(request: pytest.FixtureRequest) -> str:
    """Each of ``VALUES``."""
    return str(request.param)


class Release:
    """The chart, installed in namespaces of its own: ``chart-SCOPE``, and ``chart-SCOPE-tasks`` for tasks."""

    def __init__(self, cluster: Any, helm: Helm, scope: str) -> None:
        self.cluster, self._helm = cluster, helm
        self.name = f"posetask-{scope}"
        self.system, self.tasks = f"chart-{scope}", f"chart-{scope}-tasks"
        self.scope = scope

    def helm(self, command: str, *arguments: str | Path) -> str:
        """A command of helm on this release."""
        where = (self.name, *arguments, "-n", self.system)
        said = self._helm(*command.split(), *where, kubeconfig=self.cluster.kubeconfig)
        assert said.returncode == 0, said.stderr
        return said.stdout

    def account(self, name: str, folder: Path) -> Path:
        """Folder with a token of a service account and the authority, as a pod has it."""
        where = self.cluster.api.path("v1", "serviceaccounts", self.system, name) + "/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self.cluster.api.call("POST", where, body)["status"]["token"]
        cluster = yaml.safe_load(self.cluster.kubeconfig.read_text())["clusters"][0]["cluster"]
        folder.mkdir(exist_ok=True)
        (folder / "token").write_text(token)
        (folder / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
        return folder

    def script(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """A file of the chart, as a hook's pod runs it."""
        command = [sys.executable, "-I", CHART / "files" / name, f"--server={self.cluster.api.server}"]
        return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, timeout=60)

    def user(self, account: str) -> str:
        """What the API server calls a service account."""
        return f"system:serviceaccount:{self.system}:{account}"

    def may(self, account: str, verb: str, what: Object) -> bool:
        """Whether the API server would let an account do it."""
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{self.system}", "system:authenticated"]
        asked = {"user": self.user(account), "groups": groups}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": asked | {"resourceAttributes": {"verb": verb, **what}},
        }
        return bool(self.cluster.api.create("subjectaccessreviews", None, body)["status"]["allowed"])

    def may_list(self, account: str, namespace: str) -> dict[str, list[str]]:
        """What ``kubectl auth can-i --list`` shows of an account, without what everybody may."""
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        answer = self.cluster.api._http.post(
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            json=body,
            headers={"Impersonate-User": self.user(account)},
        )
        rights: dict[str, list[str]] = {}
        for rule in answer.json()["status"]["resourceRules"]:
            names = " ".join(sorted(n.replace(self.name, "RELEASE") for n in rule.get("resourceNames", ())))
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    said = f"{resource}.{group} {names}".replace(". ", " ").strip()
                    if not said.startswith("selfsubject"):
                        rights[said] = sorted({*rights.get(said, []), *rule["verbs"]})
        return rights


@pytest.fixture(scope="session")
def make_release(cluster: Any, crd: Any, helm: Helm) -> Iterator[Callable[[str], Release]]:
    """``make_release("namespaced")``: installed with that scope; made once, and gone at the end."""
    made: dict[str, Release] = {}

    def make(scope: str) -> Release:
        if scope in made:
            return made[scope]
        release = made[scope] = Release(cluster, helm, scope)
        for name in (release.system, release.tasks):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            cluster.api.create("namespaces", None, body)
        namespaces = json.dumps([{"name": release.tasks, "secrets": [{"name": "own"}]}])
        aggregate = str(scope == "cluster").lower()
        said = release.helm(
            "install",
            CHART,
            *("-f", CHART / "values-dev.yaml"),
            *("--set", f"rbac.scope={scope},rbac.aggregate={aggregate},crds.enabled=false"),
            *("--set-json", f"taskNamespaces={namespaces}"),
        )
        assert f"kubectl -n {release.tasks} apply -f examples/01-demo.yaml" in said
        return release

    yield make
    for release in made.values():
        release.helm("uninstall", "--no-hooks")
        for name in (release.system, release.tasks):
            cluster.api.delete("v1", "namespaces", None, name)


@pytest.fixture(scope="session")
def wide(make_release: Callable[[str], Release]) -> Release:
    """A release with a ClusterRole."""
    return make_release("cluster")


@pytest.fixture(scope="session")
def narrow(make_release: Callable[[str], Release]) -> Release:
    """A release with Roles alone."""
    return make_release("namespaced")


@pytest.fixture(params=["cluster", "namespaced"])
def release(request: pytest.FixtureRequest, make_release: Callable[[str], Release]) -> Release:
    """Each of the two."""
    return make_release(request.param)
