"""Kubeconfigs: written for the clients of a cluster of ours, read from those of others."""

from __future__ import annotations

import base64
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kubelib.certs import Pair
from kubelib.errors import KubeFailed


def write(path: Path, server: str, authority: Path | None, client: Pair | None) -> Path:
    """A kubeconfig of one cluster and one user, all inline, so that it can be copied."""
    cluster: dict[str, str] = {"server": server}
    user: dict[str, str] = {}
    if authority is not None:
        cluster["certificate-authority-data"] = _encoded(authority)
    if client is not None:
        user = {
            "client-certificate-data": _encoded(client.certificate),
            "client-key-data": _encoded(client.key),
        }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "posetask",
        "contexts": [{"name": "posetask", "context": {"cluster": "posetask", "user": "posetask"}}],
        "clusters": [{"name": "posetask", "cluster": cluster}],
        "users": [{"name": "posetask", "user": user}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@dataclass(frozen=True)
class Access:
    """How a kubeconfig's current context reaches its server."""

    server: str
    tls: ssl.SSLContext | None
    token: str | None

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def read(path: Path) -> Access:
    """The current context, with client certificates or a token.

    Raises:
        KubeFailed: The file is not such a kubeconfig.
    """
    try:
        content: dict[str, Any] = yaml.safe_load(path.read_text())
        context = _named(content, "contexts", content["current-context"])["context"]
        cluster = _named(content, "clusters", context["cluster"])["cluster"]
        user = _named(content, "users", context["user"]).get("user") or {}
        server = str(cluster["server"]).rstrip("/")
    except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise KubeFailed(f"{path} is not a kubeconfig with a current context: {error!r}") from error
    if "exec" in user or "auth-provider" in user:
        raise KubeFailed(f"{path} logs in by a plugin; give one with a token or client certificates")
    tls = _context(path, cluster, user) if server.startswith("https:") else None
    return Access(server, tls, user.get("token"))


def _context(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    try:
        if data := cluster.get("certificate-authority-data"):
            context = ssl.create_default_context(cadata=base64.b64decode(data).decode())
        else:
            context = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
        if data := user.get("client-certificate-data"):
            with tempfile.TemporaryDirectory(prefix="posetask-kube-") as folder:  # ssl loads files alone
                certificate, key = Path(folder) / "crt", Path(folder) / "key"
                certificate.write_bytes(base64.b64decode(data))
                key.touch(mode=0o600)
                key.write_bytes(base64.b64decode(user["client-key-data"]))
                context.load_cert_chain(certificate, key)
        elif name := user.get("client-certificate"):
            context.load_cert_chain(path.parent / name, path.parent / user["client-key"])
    except (OSError, ValueError, KeyError) as error:
        raise KubeFailed(f"the certificates of {path} cannot be read: {error}") from error
    if cluster.get("insecure-skip-tls-verify"):
        raise KubeFailed(f"{path} switches the check of certificates off; give the authority's certificate")
    return context


def _named(content: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in content[kind] if item["name"] == name)
    return found


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
