"""The configuration files of containerd, kubelet and kube-proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nodelib.cgroups import OURS
from nodelib.network import PLUGINS, POD_GATEWAY, PODS

DNS = "10.96.0.10"
DOMAIN = "cluster.local"
PAUSE = "localhost/posetask/pause:1"
COREDNS = "localhost/posetask/coredns:1"


def containerd(folder: Path) -> str:
    """Of containerd 1.x, everything in our folder; needs no rights beyond root's usual ones."""
    return f"""version = 2
root = "{folder / "containerd"}"
state = "{folder / "containerd-state"}"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{socket(folder)}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE every sandbox would die
  netns_mounts_under_state_dir = true  # inside our mount namespace, so that they go with it
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{folder / "cni"}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def socket(folder: Path) -> Path:
    """Where containerd listens."""
    return folder / "containerd.sock"


def kubelet(folder: Path, authority: Path) -> str:
    """KubeletConfiguration v1beta1."""
    return _yaml(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": "0.0.0.0",  # noqa: S104 - of a network namespace without an uplink
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(authority)},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{OURS}",
            "clusterDNS": [DNS],
            "clusterDomain": DOMAIN,
            "containerRuntimeEndpoint": f"unix://{socket(folder)}",
            "enforceNodeAllocatable": ["pods"],
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "2%",
                "imagefs.available": "2%",
            },
            "failCgroupV1": False,
            "failSwapOn": False,
            "imageMinimumGCAge": "24h",
            "imageGCHighThresholdPercent": 100,  # what we brought in cannot be pulled again
            "oomScoreAdj": 0,
            "registerNode": True,
            "resolvConf": str(folder / "resolv.conf"),
            "staticPodPath": "",
            "volumePluginDir": str(folder / "volume-plugins"),
            "podLogsDir": str(folder / "pod-logs"),
            "shutdownGracePeriod": "0s",
            "syncFrequency": "10s",
            "nodeStatusUpdateFrequency": "5s",
            "serializeImagePulls": False,
        }
    )


def proxy(kubeconfig: Path) -> str:
    """KubeProxyConfiguration v1alpha1."""
    return _yaml(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": PODS,
            "conntrack": {
                "maxPerCore": 0,  # the table's size belongs to the machine
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
            "nodePortAddresses": [f"{POD_GATEWAY}/32"],
        }
    )


def _yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False)
