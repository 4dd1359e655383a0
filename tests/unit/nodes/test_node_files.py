"""What the cluster of one node writes for its programs, and what goes into its base images."""

from __future__ import annotations

import ipaddress
import json
import tomllib
from pathlib import Path

import pytest
import yaml
from nodelib import base, configuration, network, packages

from kubelib.cluster import SERVICES

ROOT = Path(__file__).parents[3]


def test_containerd_keeps_everything_in_its_folder(tmp_path: Path) -> None:
    read = tomllib.loads(configuration.containerd(tmp_path))
    cri = read["plugins"]["io.containerd.grpc.v1.cri"]
    assert read["version"] == 2
    for place in (read["root"], read["state"], read["grpc"]["address"], cri["cni"]["conf_dir"]):
        assert Path(place).is_relative_to(tmp_path)
    assert cri["sandbox_image"] == configuration.PAUSE


def test_the_kubelet_asks_the_dns_service_and_no_resolver_of_the_machine(tmp_path: Path) -> None:
    read = yaml.safe_load(configuration.kubelet(tmp_path, tmp_path / "ca.crt"))
    assert ipaddress.ip_address(read["clusterDNS"][0]) in ipaddress.ip_network(SERVICES)
    assert read["resolvConf"] == str(tmp_path / "resolv.conf")
    assert read["authentication"]["anonymous"] == {"enabled": False}
    assert read["containerRuntimeEndpoint"] == f"unix://{configuration.socket(tmp_path)}"


def test_pods_services_and_the_node_have_addresses_apart(tmp_path: Path) -> None:
    conflist = json.loads(network.plugins(tmp_path / "cni", tmp_path / "state").read_text())
    pods = ipaddress.ip_network(conflist["plugins"][0]["ipam"]["ranges"][0][0]["subnet"])
    services = ipaddress.ip_network(SERVICES)
    node = ipaddress.ip_address(network.NODE_ADDRESS)
    assert not pods.overlaps(services)
    assert node not in pods
    assert node not in services
    assert conflist["plugins"][0]["ipMasq"] is False  # nothing is to leave


def test_a_base_loses_what_names_the_machine_or_a_mirror(tmp_path: Path) -> None:
    unwanted = ("etc/apt/sources.list", "etc/resolv.conf", "usr/bin/perl", "var/lib/dpkg/status", "bin/tar")
    kept = ("usr/bin/python3.11", "usr/bin/java", "lib/x86_64-linux-gnu/libc.so.6")
    authorities = {
        "usr/share/ca-certificates/mozilla/a.crt": "A\n",
        "usr/share/ca-certificates/mozilla/b.crt": "B\n",
    }
    for name in (*unwanted, *kept, *authorities, "etc/ssl/certs/.keep"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(authorities.get(name, ""))
    base.prepare(tmp_path)
    assert not [name for name in unwanted if (tmp_path / name).exists()]
    assert [name for name in kept if (tmp_path / name).exists()] == list(kept)
    assert (tmp_path / base.AUTHORITIES).read_text() == "A\nB\n"
    assert ":65532:" in (tmp_path / "etc/passwd").read_text()


@pytest.mark.parametrize("name", sorted(packages.RECIPES))
def test_every_recipe_has_a_containerfile_for_a_numeric_user(name: str) -> None:
    said = (ROOT / "images" / name / "Containerfile").read_text()
    assert "USER 65532:65532" in said
    assert said.count("FROM ${BASE}") == 2


def test_every_recipe_asks_for_extras_that_the_package_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"])
    assert {extra for recipe in packages.RECIPES.values() for extra in recipe.extras} <= extras
