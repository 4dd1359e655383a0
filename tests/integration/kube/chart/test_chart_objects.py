"""What the chart renders, on a real API server: every object is taken, every pod is a restricted one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubelib.api import Refused

ROOT = Path(__file__).parents[4]
CHART = ROOT / "charts" / "posetask"
Object = dict[str, Any]
SYSTEM = "posetask-system"
MONITORING = "monitoring.coreos.com/v1"

PLURALS = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ConfigMap": "configmaps",
    "CustomResourceDefinition": "customresourcedefinitions",
    "Deployment": "deployments",
    "Job": "jobs",
    "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "StatefulSet": "statefulsets",
}
EVERYTHING = (
    "--set-json",
    'api={"enabled":true,"tokenSecret":"posetask-api","namespace":"NAMESPACE"}',
    "--set",
    "networkPolicy.enabled=true,monitoring.dashboard.enabled=true,api.replicas=2",
)


def everything(values: str) -> tuple[str, ...]:
    namespace = "vision-lobby" if values.startswith("prod") else "default"
    return tuple(word.replace("NAMESPACE", namespace) for word in EVERYTHING)


@pytest.fixture(scope="module")
def homes(cluster: Any) -> Iterator[Any]:
    """The namespaces that the values files name, for dry runs."""
    made = []
    for name in (SYSTEM, "vision-lobby", "vision-sport"):
        if cluster.api.find("v1", "namespaces", None, name) is None:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            cluster.api.create("namespaces", None, body)
            made.append(name)
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}  # a pod is admitted only where its account is
    account |= {"metadata": {"name": "posetask-test", "namespace": SYSTEM}}
    if cluster.api.find("v1", "serviceaccounts", SYSTEM, "posetask-test") is None:
        cluster.api.create("serviceaccounts", SYSTEM, account)
    yield cluster.api
    for name in made:
        cluster.api.delete("v1", "namespaces", None, name)


def dry(api: Any, manifest: Object) -> Object:
    """As kubectl apply --server-side --dry-run=server has it: created, or merged with what is there."""
    meta = manifest["metadata"]
    where = api.path(manifest["apiVersion"], PLURALS[manifest["kind"]], meta.get("namespace"), meta["name"])
    query = {"dryRun": "All", "fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
    taken: Object = api.call("PATCH", where, manifest, "application/apply-patch+yaml", query)
    return taken


def test_the_api_server_takes_every_object(homes: Any, rendered: Any, values: str) -> None:
    refused = {}
    objects = rendered(values, *everything(values))
    tried = [one for one in objects if one["apiVersion"] != MONITORING]
    for one in tried:
        try:
            dry(homes, one)
        except Refused as error:
            refused[f"{one['kind']} {one['metadata']['name']}"] = str(error)
    assert refused == {}
    assert len(tried) >= 25
    kinds = {one["kind"] for one in tried}
    assert {"Deployment", "ConfigMap", "Job", "Pod", "NetworkPolicy", "Role", "Service"} <= kinds


def test_every_object_has_the_charts_labels_and_its_namespace(rendered: Any, values: str) -> None:
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace"}
    for one in rendered(values, *everything(values)):
        meta = one["metadata"]
        assert meta["labels"]["app.kubernetes.io/instance"] == "posetask", meta["name"]
        assert ("namespace" in meta) == (one["kind"] not in cluster_wide), meta["name"]


def test_no_object_is_rendered_twice(rendered: Any, values: str) -> None:
    names = [
        (one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"])
        for one in rendered(values, *everything(values))
    ]
    assert len(names) == len(set(names))


def pods(objects: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    for one in objects:
        template = one if one["kind"] == "Pod" else (one.get("spec") or {}).get("template")
        if template:
            yield one["metadata"]["name"], template["metadata"], template["spec"]


def test_every_pod_passes_the_restricted_standard_under_enforcement(
    cluster: Any, make_namespace: Any, rendered: Any, values: str
) -> None:
    namespace = make_namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    tried = 0
    for name, meta, spec in pods(rendered(values, *everything(values))):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{name}-{uuid.uuid4().hex[:6]}", "labels": meta["labels"]},
            "spec": spec | {"serviceAccountName": "default"},
        }
        where = cluster.api.path("v1", "pods", namespace)
        cluster.api.call("POST", where, pod, query={"dryRun": "All", "fieldValidation": "Strict"})
        tried += 1
    assert tried >= 4
    careless = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "careless"}}
    careless |= {"spec": {"containers": [{"name": "a", "image": "a"}]}}
    with pytest.raises(Refused, match="violates PodSecurity"):
        cluster.api.create("pods", namespace, careless)


def test_containers_say_what_they_need(rendered: Any, values: str) -> None:
    for name, _, spec in pods(rendered(values, *everything(values))):
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), name
            assert "memory" in resources["limits"], name
            assert not container["image"].endswith(":latest"), name
            if "kafka-dev" not in name:
                assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        assert spec["enableServiceLinks"] is False, name


def test_the_chart_has_the_definition_of_the_checkout(rendered: Any) -> None:
    (crd,) = [one for one in rendered("dev") if one["kind"] == "CustomResourceDefinition"]
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    wanted = yaml.safe_load((ROOT / "crds" / "posetasks.yaml").read_text())
    assert crd["spec"] == wanted["spec"]
    (loose,) = [
        one
        for one in rendered("dev", "--set", "crds.keep=false")
        if one["kind"] == "CustomResourceDefinition"
    ]
    assert "annotations" not in loose["metadata"]
    kinds = [one["kind"] for one in rendered("dev", "--set", "crds.enabled=false")]
    assert "CustomResourceDefinition" not in kinds


def test_a_namespaced_installation_makes_nothing_of_the_cluster_but_the_definition(rendered: Any) -> None:
    objects = rendered("prod", "--set", "rbac.aggregate=false")
    wide = {one["kind"] for one in objects if "namespace" not in one["metadata"]}
    assert wide == {"CustomResourceDefinition", "Namespace"}
    (operator,) = [one for one in objects if one["kind"] == "Deployment"]
    args = operator["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--namespaces=vision-lobby,vision-sport" in args


def test_the_operators_command_line_is_one_that_it_takes(rendered: Any, values: str) -> None:
    from posetask_operator.edge.main import _parser

    for one in rendered(values):
        if one["kind"] == "Deployment" and one["metadata"]["name"] == "posetask-operator":
            given = _parser().parse_args(one["spec"]["template"]["spec"]["containers"][0]["args"])
            assert str(given.settings) == "/etc/posetask/settings.yaml"
            assert given.lease_seconds == ((60, 45, 5) if "dev" in values else (15, 10, 2))
            return
    pytest.fail("no operator")


def test_one_replica_stays_while_nodes_are_drained(rendered: Any) -> None:
    assert [o for o in rendered("dev") if o["kind"] == "PodDisruptionBudget"] == []  # it would block for ever
    (budget,) = [o for o in rendered("prod") if o["kind"] == "PodDisruptionBudget"]
    assert budget["spec"]["minAvailable"] == 1


def test_the_dashboard_is_json_and_the_alerts_are_rules(rendered: Any) -> None:
    objects = rendered("prod")
    (dashboard,) = [o for o in objects if o["metadata"]["name"] == "posetask-dashboard"]
    assert json.loads(dashboard["data"]["posetask.json"])["panels"]
    (rule,) = [o for o in objects if o["kind"] == "PrometheusRule"]
    for group in rule["spec"]["groups"]:
        for alert in group["rules"]:
            assert alert["annotations"]["runbook"], alert["alert"]
    kinds = {o["kind"] for o in objects if o["apiVersion"] == MONITORING}
    assert kinds == {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
