"""CustomResourceDefinitions: put there, brought up to date, and waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kubelib.api import Api, Refused, condition, wait

VERSION, KIND = "apiextensions.k8s.io/v1", "customresourcedefinitions"
POSETASKS = Path(__file__).parents[2] / "crds" / "posetasks.yaml"


def install(api: Api, file: Path = POSETASKS, change: bool = True) -> dict[str, Any]:
    """The definition of ``file``, established and served; its manifest.

    Args:
        api: Of the cluster.
        file: With one definition.
        change: Whether one that is there is brought up to date.

    Raises:
        KubeFailed: The API server refuses it, or does not serve it in time.
    """
    manifest: dict[str, Any] = yaml.safe_load(file.read_text())
    name, spec = manifest["metadata"]["name"], manifest["spec"]
    there = api.find(VERSION, KIND, None, name)
    if there is None:
        api.create(KIND, None, manifest)
    elif change:
        api.call("PUT", api.path(VERSION, KIND, None, name), {**there, "spec": spec})
    wait(
        f"{name} is established",
        lambda: condition(api.get(VERSION, KIND, None, name), "Established") == "True",
    )
    served = next(one["name"] for one in spec["versions"] if one["served"])
    wait(f"{name} is served", lambda: _served(api, f"{spec['group']}/{served}", spec["names"]["plural"]))
    return manifest


def _served(api: Api, version: str, plural: str) -> bool:
    try:
        api.list(version, plural)
    except Refused as error:
        if error.code not in {404, 429, 503}:  # not there yet, or its storage is just being made
            raise
        return False
    return True
