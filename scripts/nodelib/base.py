"""Base images from Debian's own packages, for machines without a registry: Python or Java, and no shell."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nodelib import images
from nodelib.network import run

SUITE = "bookworm"
PYTHON_VERSION = "3.11"


@dataclass(frozen=True)
class Base:
    """One base.

    Args:
        name: Of the image.
        packages: Of Debian; what they depend on comes with them.
    """

    name: str
    packages: tuple[str, ...]


PYTHON = Base(
    f"localhost/posetask/base-python:{SUITE}",
    (
        "python3-minimal",
        "python3.11-minimal",
        "libpython3.11-stdlib",
        "libstdc++6",  # of the compiled wheels
        "zlib1g",
        "ca-certificates",  # its list of authorities
        "netbase",
    ),
)
JAVA = Base(
    f"localhost/posetask/base-java:{SUITE}",
    ("openjdk-17-jre-headless", "libstdc++6", "zlib1g", "ca-certificates", "netbase"),
)
_DROPPED = (
    "bin",
    "etc/apt",
    "etc/dpkg",
    "etc/hostname",
    "etc/resolv.conf",
    "usr/bin/[!jp]*",
    "usr/bin/perl*",
    "usr/bin/py3*",
    "usr/lib/apt",
    "usr/lib/python3.11/__pycache__",
    "usr/lib/python3.11/lib2to3",
    "usr/lib/python3.11/pydoc_data",
    "usr/sbin",
    "usr/share/bash-completion",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl*",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/log",
)
"""Never used by a program of ours; names of this machine and addresses of package mirrors are among it."""
_FILES = {
    "etc/passwd": "root:x:0:0:root:/:/nologin\nposetask:x:65532:65532:posetask:/tmp:/nologin\n",
    "etc/group": "root:x:0:\nposetask:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"


def build(base: Base, archive: Path) -> Path:
    """The base as an archive; also left in buildah's storage for the images above it.

    Raises:
        KubeFailed: mmdebstrap or buildah is missing or fails.
    """
    with tempfile.TemporaryDirectory(prefix="posetask-base-") as folder:
        context = Path(folder)
        root = context / "root"
        include = f"--include={','.join(base.packages)}"
        run("mmdebstrap", "--quiet", "--variant=extract", include, SUITE, str(root))
        prepare(root)
        (context / "Containerfile").write_text(
            f"FROM scratch\nCOPY root /\nENV SSL_CERT_FILE=/{AUTHORITIES}\n"
        )
        return images.build(base.name, context, context / "Containerfile", archive)


def prepare(root: Path) -> None:
    """Take out what is never used, and add what an installation's scripts would have."""
    for pattern in _DROPPED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name, content in _FILES.items():
        (root / name).write_text(content)
        (root / name).chmod(0o644)
    known = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (root / AUTHORITIES).write_text("".join(path.read_text() for path in known))
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
