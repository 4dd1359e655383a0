"""helm test: operator and API answer, one replica leads, and the API server takes a PoseTask."""

import argparse
import datetime
import json
import pathlib
import ssl
import sys
import time
import urllib.error
import urllib.request

ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
TASK = {
    "apiVersion": "posetask.io/v1alpha1",
    "kind": "PoseTask",
    "metadata": {"name": "smoke"},
    "spec": {"source": {"uri": "synth:people=1,frames=10"}},
}


def answers(url: str) -> None:
    """What is there is ready."""
    with urllib.request.urlopen(url + "/readyz", timeout=10) as answer:  # noqa: S310 - the chart's address
        answer.read()


class Server:
    """The API server, as the pod's service account."""

    def __init__(self, address: str, account: pathlib.Path) -> None:
        self._address = address
        self._token = (account / "token").read_text().strip()
        self._trusted = ssl.create_default_context(cafile=str(account / "ca.crt"))

    def call(self, method: str, path: str, body: object = None) -> dict:
        """One request."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        url = self._address + path
        request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10, context=self._trusted) as answer:  # noqa: S310
            return json.load(answer)


def leads(server: Server, lease: str) -> None:
    """A replica renewed the Lease within the last minute."""
    namespace, _, name = lease.partition("/")
    spec = server.call("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}")["spec"]
    renewed = datetime.datetime.fromisoformat(spec["renewTime"].replace("Z", "+00:00"))
    age = (datetime.datetime.now(datetime.UTC) - renewed).total_seconds()
    if not spec.get("holderIdentity") or age > 60:
        raise ValueError(f"nobody holds {lease}: renewed {age:.0f} s ago")


def takes(server: Server, namespace: str) -> None:
    """A PoseTask would be taken, and defaults are filled in."""
    path = f"/apis/posetask.io/v1alpha1/namespaces/{namespace}/posetasks?dryRun=All"
    spec = server.call("POST", path, TASK)["spec"]
    if spec["execution"]["mode"] != "Distributed":
        raise ValueError(f"the definition is not the chart's: {spec}")


def main() -> int:
    """0 where all of it holds; each is tried until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operator", required=True, help="http://HOST:PORT")
    parser.add_argument("--api", help="http://HOST:PORT; none: it is not asked")
    parser.add_argument("--lease", required=True, help="NAMESPACE/NAME")
    parser.add_argument("--namespace", required=True, help="in which tasks may run")
    parser.add_argument("--server", default="https://kubernetes.default.svc")
    parser.add_argument("--account", type=pathlib.Path, default=ACCOUNT, help="folder of token and ca.crt")
    parser.add_argument("--timeout", type=int, default=120)
    given = parser.parse_args()
    server = Server(given.server, given.account)
    checks = {
        "the operator is ready": lambda: answers(given.operator),
        "one replica leads": lambda: leads(server, given.lease),
        "the API server takes a PoseTask": lambda: takes(server, given.namespace),
    }
    if given.api:
        checks["the API is ready"] = lambda: answers(given.api)
    deadline = time.monotonic() + given.timeout
    for words, check in checks.items():
        while True:
            try:
                check()
                break
            except (OSError, ValueError, KeyError) as error:
                if time.monotonic() > deadline:
                    detail = (
                        error.read().decode(errors="replace")
                        if isinstance(error, urllib.error.HTTPError)
                        else ""
                    )
                    print(f"FAILED {words}: {error} {detail}")
                    return 1
                time.sleep(2)
        print(f"ok     {words}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
