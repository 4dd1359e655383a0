"""Where the API server is and who we are there: one configuration for our client and for kopf's watches."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf
from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration

from posetask.errors import InvalidParameters

_loaders: Any = config  # untyped upstream
IN_CLUSTER = "KUBERNETES_SERVICE_HOST"


@dataclass(frozen=True, slots=True)
class Connection:
    """A way to one API server.

    Attributes:
        configuration: Of ``kubernetes.aio``; it renews the service account's token by itself.
        namespace: Where the operator itself lives.
    """

    configuration: Configuration
    namespace: str

    async def token(self) -> str | None:
        """The value of the Authorization header, renewed where it must be; None with certificates."""
        value = await self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        return None if value is None else str(value)

    async def for_kopf(self) -> kopf.ConnectionInfo:
        """The same for kopf."""
        c = self.configuration
        token = await self.token()
        scheme, _, word = token.partition(" ") if token else ("", "", "")
        return kopf.ConnectionInfo(
            server=c.host,
            ca_path=c.ssl_ca_cert,
            ca_data=c.ca_cert_data,
            insecure=not c.verify_ssl,
            scheme=scheme.capitalize() or None,
            token=word or None,
            certificate_path=c.cert_file,
            private_key_path=c.key_file,
        )


async def connect(kubeconfig: str | None = None, *, namespace: str | None = None) -> Connection:
    """Find the API server: the given file, else the pod's service account, else ``KUBECONFIG``.

    Args:
        kubeconfig: Path of a kubeconfig.
        namespace: Of the operator; by default the pod's own, or ``posetask-system``.

    Raises:
        InvalidParameters: There is none, or the file cannot be read.
    """
    configuration: Any = Configuration()
    own = "posetask-system"
    try:
        if kubeconfig is None and IN_CLUSTER in os.environ:
            _loaders.load_incluster_config(client_configuration=configuration)
            own = await asyncio.to_thread(_pod_namespace, own)
        else:
            path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
            await _loaders.load_kube_config(
                config_file=path, client_configuration=configuration, persist_config=False
            )
    except (_loaders.ConfigException, OSError, ValueError) as error:
        raise InvalidParameters(
            f"no API server: {error}", hint="set KUBECONFIG, or run in a pod with a service account"
        ) from error
    configuration.retries = None  # what may be tried again is decided in client.py
    configuration.connection_pool_maxsize = 32
    return Connection(configuration, namespace or own)


def _pod_namespace(default: str) -> str:
    path = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    return path.read_text().strip() if path.is_file() else default
