"""CoreDNS for the node, as a Deployment of one pod."""

from __future__ import annotations

from kubelib.api import Api, Object, Refused, condition, wait
from nodelib.configuration import COREDNS, DNS, DOMAIN

NAMESPACE, NAME = "kube-system", "coredns"
PORT = 1053  # no right to a port below 1024 is needed
COREFILE = f"""\
.:{PORT} {{
    errors
    health :8080
    ready :8181
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
    loop
    reload
}}
"""


def manifests() -> list[tuple[str, str | None, Object]]:
    """As (plural, namespace, manifest)."""
    meta = {"name": NAME, "namespace": NAMESPACE, "labels": {"k8s-app": NAME}}
    rbac = "rbac.authorization.k8s.io"
    read = ["list", "watch"]
    return [
        ("serviceaccounts", NAMESPACE, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}),
        (
            "clusterroles",
            None,
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "ClusterRole",
                "metadata": {"name": f"posetask:{NAME}"},
                "rules": [
                    {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": read},
                    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
                ],
            },
        ),
        (
            "clusterrolebindings",
            None,
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"posetask:{NAME}"},
                "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": f"posetask:{NAME}"},
                "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
            },
        ),
        (
            "configmaps",
            NAMESPACE,
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": COREFILE}},
        ),
        ("deployments", NAMESPACE, _deployment(meta)),
        (
            "services",
            NAMESPACE,
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {**meta, "name": "kube-dns"},
                "spec": {
                    "clusterIP": DNS,
                    "selector": {"k8s-app": NAME},
                    "ports": [
                        {"name": name, "protocol": protocol, "port": 53, "targetPort": PORT}
                        for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))
                    ],
                },
            },
        ),
    ]


def install(api: Api) -> None:
    """Create what is missing, and wait until names are answered.

    Raises:
        KubeFailed: The Deployment is not available in time.
    """
    for kind, namespace, manifest in manifests():
        try:
            api.create(kind, namespace, manifest)
        except Refused as error:
            if error.code != 409:
                raise
    wait(
        "CoreDNS is available",
        lambda: condition(api.get("apps/v1", "deployments", NAMESPACE, NAME), "Available") == "True",
        90,
        0.2,
    )


def _deployment(meta: Object) -> Object:
    labels = {"k8s-app": NAME}
    pod = {
        "serviceAccountName": NAME,
        "dnsPolicy": "Default",
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": NAME,
                "image": COREDNS,
                "imagePullPolicy": "Never",
                "args": ["-conf", "/etc/coredns/Corefile"],
                "ports": [{"containerPort": PORT, "protocol": "UDP"}, {"containerPort": PORT}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
