"""The node's network inside its namespace: an address, a route for services, a bridge for pods."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from kubelib.cluster import SERVICES
from kubelib.errors import KubeFailed

NODE_BRIDGE, NODE_ADDRESS = "node0", "10.90.0.1"
POD_BRIDGE, PODS, POD_GATEWAY = "pods0", "10.91.0.0/24", "10.91.0.1"
PLUGINS = Path("/usr/lib/cni")


def set_up() -> None:
    """Addresses, routes and forwarding; harmless when it is done already."""
    run("ip", "link", "set", "lo", "up")
    if not Path(f"/sys/class/net/{NODE_BRIDGE}").exists():
        # The kernel may lack the dummy device: an empty bridge carries an address as well.
        run("ip", "link", "add", NODE_BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{NODE_ADDRESS}/24", "dev", NODE_BRIDGE)
        run("ip", "link", "set", NODE_BRIDGE, "up")
        run("ip", "route", "add", SERVICES, "dev", NODE_BRIDGE)  # so that the node's processes reach services
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")


def plugins(folder: Path, state: Path) -> Path:
    """The CNI configuration: pods on a bridge, addresses from a file, no way out.

    Args:
        folder: Where it is written.
        state: Where the addresses in use are kept.
    """
    configuration = {
        "cniVersion": "0.4.0",
        "name": "posetask",
        "plugins": [
            {
                "type": "bridge",
                "bridge": POD_BRIDGE,
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,  # a pod may reach itself through its service
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(state),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "10-posetask.conflist"
    path.write_text(json.dumps(configuration, indent=1))
    return path


def run(*command: str) -> None:
    """One of the system's tools.

    Raises:
        KubeFailed: It says no.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        raise KubeFailed(f"{command[0]} is not there (run: sudo make setup-cluster)") from None
    if done.returncode != 0:
        raise KubeFailed(f"{' '.join(command)}: {done.stderr.strip()}")
