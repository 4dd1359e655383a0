"""One machine as a whole cluster: control plane, containerd, kubelet, services, counted GPUs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from kubelib import kubeconfig
from kubelib.api import Api, condition, wait
from kubelib.certs import Authority
from kubelib.cluster import API_SERVER, CONTROLLERS, ETCD, SCHEDULER, Cluster
from kubelib.errors import KubeFailed
from kubelib.tools import need
from nodelib import cgroups, configuration, network

CONTAINERD, KUBELET, PROXY, GPUS = "containerd", "kubelet", "kube-proxy", "gpu-plugin"
NAME = "posetask-node"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")  # fixed in the kubelet; ours by a mount of our own


class Node(Cluster):
    """The cluster of one folder; every method is for a process inside its namespaces.

    Args:
        folder: As of ``Cluster``.
        gpus: How many devices of ``nvidia.com/gpu`` the node offers.
    """

    parts = (ETCD, API_SERVER, CONTROLLERS, SCHEDULER, CONTAINERD, KUBELET, PROXY, GPUS)

    def __init__(self, folder: Path, gpus: int = 2) -> None:
        super().__init__(folder, tied=False, address=network.NODE_ADDRESS)
        self.gpus = gpus
        self._environment["PATH"] = f"{network.PLUGINS}:{SYSTEM_PATH}"

    def program(self, name: str) -> Path:
        """Ours from the cache, containerd from the system."""
        if name != CONTAINERD:
            return need(name)
        path = shutil.which(name, path=SYSTEM_PATH)
        if path is None:
            raise KubeFailed("containerd is not there (run: sudo make setup-cluster)")
        return Path(path)

    def begin(self) -> None:
        """Start containerd alone: images can be brought in before anything runs.

        Raises:
            KubeFailed: A program is missing or does not start.
        """
        network.set_up()
        cgroups.make()
        _mount_device_plugins(self.folder)
        for name in ("cni", "volume-plugins", "pod-logs", "kubelet"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        network.plugins(self.folder / "cni", self.folder / "addresses")
        (self.folder / "resolv.conf").write_text("")  # nobody outside is to be asked
        self.start([CONTAINERD])
        wait("containerd listens", configuration.socket(self.folder).exists, 20)

    def finish(self) -> None:
        """Start everything else, and wait until the node is ready and offers its devices.

        Raises:
            KubeFailed: As ``begin``; or the node is not ready in time.
        """
        self.start(self.parts)
        api = Api(self.kubeconfig)
        try:
            wait("the node is ready", lambda: self._ready(api), 90, 0.2)
            wait("the node offers its devices", lambda: self._devices(api) == self.gpus, 30, 0.2)
        finally:
            api.close()

    def _ready(self, api: Api) -> bool:
        node = api.find("v1", "nodes", None, NAME)
        return node is not None and condition(node, "Ready") == "True"

    def _devices(self, api: Api) -> int:
        node = api.get("v1", "nodes", None, NAME)
        return int(node["status"].get("allocatable", {}).get("nvidia.com/gpu", 0))

    def _command(self, name: str) -> list[str | Path]:
        authority = Authority(self.folder / "pki")
        if name == CONTAINERD:
            path = self._write("containerd.toml", configuration.containerd(self.folder))
            return [self.program(name), "--config", path]
        if name == KUBELET:
            path = self._write("kubelet.yaml", configuration.kubelet(self.folder, authority.certificate))
            pair = authority.server(NAME, network.NODE_ADDRESS)
            login = authority.client(f"system:node:{NAME}", "system:nodes")
            file = self.folder / "kubelet.kubeconfig"
            return [
                self.program(name),
                f"--config={path}",
                f"--kubeconfig={kubeconfig.write(file, self.server, authority.certificate, login)}",
                f"--root-dir={self.folder / 'kubelet'}",
                f"--node-ip={network.NODE_ADDRESS}",
                f"--hostname-override={NAME}",
                f"--tls-cert-file={pair.certificate}",
                f"--tls-private-key-file={pair.key}",
            ]
        if name == PROXY:
            proxied = self._client("system:kube-proxy", None, authority)
            path = self._write("kube-proxy.yaml", configuration.proxy(proxied))
            return [self.program(name), f"--config={path}", f"--hostname-override={NAME}"]
        if name == GPUS:
            return [self.program(name), f"--dir={self.folder / 'device-plugins'}", f"--count={self.gpus}"]
        command = super()._command(name)
        if name == API_SERVER:
            login = authority.client("kube-apiserver-kubelet-client", "system:masters")
            command = [word for word in command if not str(word).startswith("--endpoint-reconciler-type")]
            command += [
                f"--advertise-address={network.NODE_ADDRESS}",
                "--allow-privileged=true",
                "--enable-admission-plugins=NodeRestriction",
                f"--kubelet-certificate-authority={authority.certificate}",
                f"--kubelet-client-certificate={login.certificate}",
                f"--kubelet-client-key={login.key}",
                "--kubelet-preferred-address-types=InternalIP",  # names of nodes are not in any DNS
            ]
        return command

    def _write(self, name: str, content: str) -> Path:
        path = self.folder / name
        path.write_text(content)
        return path


def _mount_device_plugins(folder: Path) -> None:
    """Give the kubelet's fixed folder for device plugins a place of ours, inside the mount namespace."""
    ours = folder / "device-plugins"
    ours.mkdir(parents=True, exist_ok=True)
    DEVICE_PLUGINS.mkdir(parents=True, exist_ok=True)
    if not os.path.samefile(ours, DEVICE_PLUGINS):
        network.run("mount", "--bind", str(ours), str(DEVICE_PLUGINS))
