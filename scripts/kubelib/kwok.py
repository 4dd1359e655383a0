"""What kwok plays: nodes with GPUs, and pods that do what their annotations say.

An annotation can stand in the pod's template, or be put on the pod while it lives:

    fake.posetask.io/ready-after      time from scheduled to ready, e.g. "2s"; at once without; "never"
    fake.posetask.io/waiting          the pod stays Pending, its containers wait for this (ImagePullBackOff)
    fake.posetask.io/exit-code        the pod ends with this code; it runs on without
    fake.posetask.io/exit-after       time from ready (or from the annotation) to that end
    fake.posetask.io/exit-reason      of the ended container, e.g. OOMKilled; Completed or Error without
    fake.posetask.io/exit-message     its termination message
    fake.posetask.io/terminate-after  time from a delete to the pod's end; at once without; "never"
"""

from __future__ import annotations

from typing import Any

import yaml

PREFIX = "fake.posetask.io/"
NODE_LABEL = "posetask.io/fake-node"
"""kwok plays the nodes with this label; one that loses it falls silent, as if its machine were gone."""


def node(name: str, gpus: int = 0, labels: dict[str, str] | None = None, pods: int = 1000) -> dict[str, Any]:
    """Manifest of a node with so many GPUs."""
    resources = {"cpu": "64", "memory": "256Gi", "pods": str(pods), "ephemeral-storage": "1Ti"}
    if gpus:
        resources["nvidia.com/gpu"] = str(gpus)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {NODE_LABEL: "true", "kubernetes.io/hostname": name, **(labels or {})},
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"capacity": resources, "allocatable": resources},
    }


def configuration() -> str:
    """The configuration file of kwok: options and stages."""
    options = {  # with a file kwok takes no defaults
        "manageAllNodes": False,
        "manageNodesWithLabelSelector": NODE_LABEL,
        "cidr": "10.0.0.1/16",
        "nodeIP": "10.0.0.1",
        "nodePort": 0,  # no kubelet's server: two clusters would fight for its port
        "nodeLeaseDurationSeconds": 40,
        "nodeLeaseParallelism": 4,
        "nodePlayStageParallelism": 4,
        "podPlayStageParallelism": 16,
        "podsOnNodeSyncParallelism": 4,
        "enableCRDs": [],
    }
    head = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "metadata": {"name": "kwok"},
        "options": options,
    }
    stages = [
        _stage("node-initialize", "Node", [_is_not(_CONDITION, "True")], status=_NODE),
        _stage("node-heartbeat", "Node", [_is(_CONDITION, "True")], {"durationMilliseconds": 300_000}, _NODE),
        _stage(
            "pod-waiting",
            "Pod",
            [_ALIVE, _is(_PHASE, "Pending"), _has(_annotation("waiting")), _lacks(_WAITING)],
            status=_POD_WAITING,
        ),
        _stage(
            "pod-ready",
            "Pod",
            [
                _ALIVE,
                _is(_PHASE, "Pending"),
                _lacks(_annotation("waiting")),
                _is_not(_annotation("ready-after"), "never"),
            ],
            _delay("ready-after"),
            _POD_READY,
        ),
        _stage(
            "pod-exit",
            "Pod",
            [_ALIVE, _is(_PHASE, "Running"), _has(_annotation("exit-code"))],
            _delay("exit-after"),
            _POD_EXIT,
        ),
        # A kubelet says how the containers ended before the pod goes; without it the Job controller, which
        # replaces only failed pods, would hold its finalizer for ever. A Job that goes itself drops it first.
        _stage(
            "pod-terminate",
            "Pod",
            [
                _has(".metadata.deletionTimestamp"),
                _has(".metadata.finalizers"),
                _is(_PHASE, "Pending", "Running"),
                _is_not(_annotation("terminate-after"), "never"),
            ],
            _delay("terminate-after") | {"durationMilliseconds": 1000},
            _POD_TERMINATED,
        ),
        _stage(
            "pod-delete",
            "Pod",
            [
                _has(".metadata.deletionTimestamp"),
                _lacks(".metadata.finalizers"),
                _is_not(_annotation("terminate-after"), "never"),
            ],
            _delay("terminate-after"),
            delete=True,
        ),
    ]
    return yaml.safe_dump_all([head, *stages], sort_keys=False)


def _stage(
    name: str,
    kind: str,
    selector: list[dict[str, Any]],
    delay: dict[str, Any] | None = None,
    status: str = "",
    delete: bool = False,
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": selector},
        "next": {"delete": True} if delete else {"statusTemplate": status},
    }
    if delay:
        spec["delay"] = delay
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _annotation(name: str) -> str:
    return f'.metadata.annotations["{PREFIX}{name}"]'


def _delay(name: str) -> dict[str, Any]:
    return {"durationMilliseconds": 0, "durationFrom": {"expressionFrom": _annotation(name)}}


def _is(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}


def _is_not(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "NotIn", "values": list(values)}


def _has(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "Exists"}


def _lacks(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "DoesNotExist"}


_PHASE = ".status.phase"
_CONDITION = '.status.conditions.[] | select( .type == "Ready" ) | .status'
_WAITING = ".status.containerStatuses.[].state.waiting.reason"
_ALIVE = _lacks(".metadata.deletionTimestamp")

_NODE = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- {type: {{ .type | Quote }}, status: {{ .status | Quote }}, reason: {{ .reason | Quote }},
   message: {{ .message | Quote }},
   lastHeartbeatTime: {{ $now | Quote }}, lastTransitionTime: {{ $now | Quote }}}
{{ end }}
addresses:
- {type: InternalIP, address: {{ NodeIP | Quote }}}
- {type: Hostname, address: {{ .metadata.name | Quote }}}
nodeInfo:
  architecture: amd64
  bootID: ""
  containerRuntimeVersion: kwok
  kernelVersion: kwok
  kubeProxyVersion: ""
  kubeletVersion: kwok
  machineID: ""
  operatingSystem: linux
  osImage: ""
  systemUUID: ""
phase: Running
"""

_POD_WAITING = """
{{ $waiting := index .metadata.annotations "fake.posetask.io/waiting" }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  restartCount: 0
  state:
    waiting: {reason: {{ $waiting | Quote }}, message: {{ printf "played by kwok: %s" $waiting | Quote }}}
{{ end }}
phase: Pending
"""

_POD_READY = """
{{ $now := Now }}
conditions:
{{ range $type := list "Initialized" "Ready" "ContainersReady" }}
- {type: {{ $type | Quote }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
  state:
    terminated:
      {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  started: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
phase: Running
startTime: {{ $now | Quote }}
"""

_POD_EXIT = """
{{ $now := Now }}
{{ $code := index .metadata.annotations "fake.posetask.io/exit-code" }}
{{ $well := eq $code "0" }}
{{ $said := index .metadata.annotations "fake.posetask.io/exit-reason" }}
{{ $reason := or $said (ternary "Completed" "Error" $well) }}
{{ $message := or (index .metadata.annotations "fake.posetask.io/exit-message") "" }}
conditions:
{{ range $type := list "Ready" "ContainersReady" }}
- {type: {{ $type | Quote }}, status: "False", lastTransitionTime: {{ $now | Quote }},
   reason: {{ ternary "PodCompleted" "PodFailed" $well | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  started: false
  restartCount: 0
  state:
    terminated:
      exitCode: {{ $code }}
      reason: {{ $reason | Quote }}
      message: {{ $message | Quote }}
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
phase: {{ ternary "Succeeded" "Failed" $well }}
"""

_POD_TERMINATED = """
{{ $now := Now }}
conditions:
{{ range $type := list "Ready" "ContainersReady" }}
- {type: {{ $type | Quote }}, status: "False", lastTransitionTime: {{ $now | Quote }}, reason: PodFailed}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  started: false
  restartCount: 0
  state:
    terminated: {exitCode: 143, reason: Error, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}
{{ end }}
phase: Failed
"""
