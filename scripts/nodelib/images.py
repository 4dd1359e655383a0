"""Images for the node: built by buildah without root's network, brought into containerd from files."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from kubelib.errors import KubeFailed
from kubelib.tools import need
from nodelib import configuration

SECONDS = 1800


def build(name: str, context: Path, containerfile: Path, archive: Path, **arguments: str) -> Path:
    """Build an image into an OCI archive.

    Args:
        name: With its tag, e.g. ``localhost/posetask-stage:dev``.
        context: Folder of what may be copied.
        containerfile: What to do.
        archive: The file to write.
        arguments: Build arguments.

    Raises:
        KubeFailed: buildah is missing or fails; the end of what it said is in the message.
    """
    said = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_suffix(".part")
    part.unlink(missing_ok=True)
    _buildah("bud", "--isolation", "chroot", "--format", "oci", "--timestamp", "0",
             *said, "-f", str(containerfile), "-t", name, str(context))  # fmt: skip
    _buildah("push", "--quiet", name, f"oci-archive:{part}:{name}")
    part.rename(archive)
    return archive


def scratch(name: str, program: Path, archive: Path, user: str = "65532:65532") -> Path:
    """An image of one static program and nothing else."""
    with tempfile.TemporaryDirectory(prefix="posetask-image-") as folder:
        context = Path(folder)
        shutil.copy(program, context / program.name)
        (context / program.name).chmod(0o755)
        (context / "Containerfile").write_text(
            f"FROM scratch\nCOPY {program.name} /{program.name}\n"
            f'USER {user}\nENTRYPOINT ["/{program.name}"]\n'
        )
        return build(name, context, context / "Containerfile", archive)


def bring_in(folder: Path, archive: Path) -> None:
    """Import an archive into the node's containerd; for a process inside the namespaces."""
    _run(["ctr", "--address", str(configuration.socket(folder)), "--namespace", "k8s.io",
          "images", "import", "--digests=false", str(archive)])  # fmt: skip


def present(folder: Path) -> set[str]:
    """Names of the images on the node."""
    said = _run(["ctr", "--address", str(configuration.socket(folder)), "--namespace", "k8s.io",
                 "images", "ls", "--quiet"])  # fmt: skip
    return set(said.split())


def system(archives: Path) -> dict[str, Path]:
    """Archives of what every node needs, built where they are missing: pause and CoreDNS."""
    made = {}
    for name, program in ((configuration.PAUSE, "pause"), (configuration.COREDNS, "coredns")):
        path = need(program)
        archive = archives / f"{program}-{path.parent.name}.tar"
        made[name] = archive if archive.is_file() else scratch(name, path, archive)
    return made


def known(name: str) -> bool:
    """Whether buildah's storage has the image."""
    return name in _buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()


def _buildah(*words: str) -> str:
    return _run(["buildah", "--storage-driver", "overlay", *words])


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError:
        raise KubeFailed(f"{command[0]} is not there (run: sudo make setup-cluster)") from None
    if done.returncode != 0:
        raise KubeFailed(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
