"""Before helm uninstall: no PoseTask may be left without the operator that cleans up after it."""

import argparse
import json
import pathlib
import ssl
import sys
import time
import urllib.error
import urllib.request

ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
KIND = "/apis/posetask.io/v1alpha1"


def call(method: str, path: str, server: str, account: pathlib.Path) -> dict:
    """One request; an empty list where the kind is not there."""
    headers = {"Authorization": f"Bearer {(account / 'token').read_text().strip()}"}
    trusted = ssl.create_default_context(cafile=str(account / "ca.crt"))
    request = urllib.request.Request(server + path, method=method, headers=headers)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return {}
        raise


def main() -> int:
    """0 where nothing is left, 1 where something is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", required=True)
    parser.add_argument("--namespaces", default="", help="by commas; default: all")
    parser.add_argument("--delete", action="store_true", help="delete them, and wait")
    parser.add_argument("--timeout", type=int, default=600)
    parser.add_argument("--server", default="https://kubernetes.default.svc")
    parser.add_argument("--account", type=pathlib.Path, default=ACCOUNT, help="folder of token and ca.crt")
    given = parser.parse_args()
    where = [f"/namespaces/{name}" for name in given.namespaces.split(",") if name] or [""]
    deadline = time.monotonic() + given.timeout
    asked = set()
    while True:
        lists = [call("GET", f"{KIND}{w}/posetasks", given.server, given.account) for w in where]
        tasks = [item["metadata"] for one in lists for item in one.get("items", ())]
        names = [f"{task['namespace']}/{task['name']}" for task in tasks]
        if not tasks:
            print("no PoseTask is left")
            return 0
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        if not given.delete:
            print(
                f"{len(tasks)} PoseTasks are left: {shown}. Delete them, or let this be done: "
                f"helm upgrade {given.release} CHART --reuse-values --set uninstall.deleteTasks=true, "
                "and then uninstall"
            )
            return 1
        for task in tasks:
            if task["uid"] not in asked:
                path = f"{KIND}/namespaces/{task['namespace']}/posetasks/{task['name']}"
                call("DELETE", path, given.server, given.account)
                asked.add(task["uid"])
                print(f"deleting {task['namespace']}/{task['name']}", flush=True)
        if time.monotonic() > deadline:
            print(
                f"after {given.timeout} s {len(tasks)} PoseTasks are left: {shown}. kubectl describe says why"
            )
            return 1
        time.sleep(2)


if __name__ == "__main__":
    sys.exit(main())
