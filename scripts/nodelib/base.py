"""Base images from Debian's own packages, for machines without a registry: Python or Java, and no shell."""

from __future__ import annotations

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
    "usr/bin/c_rehash",
    "usr/bin/debconf*",
    "usr/bin/openssl",
    "usr/bin/perl*",
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
"""Never used by a program of ours; addresses of package mirrors are among it."""
_PREPARE = r"""set -eu
cd "$1"
cat usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt
printf 'root:x:0:0:root:/:/nologin\nposetask:x:65532:65532:posetask:/tmp:/nologin\n' > etc/passwd
printf 'root:x:0:\nposetask:x:65532:\n' > etc/group
printf 'hosts: files dns\n' > etc/nsswitch.conf
mkdir -p tmp && chmod 1777 tmp
"""


def build(base: Base, archive: Path) -> Path:
    """The base as an archive; also left in buildah's storage for the images above it.

    Raises:
        KubeFailed: mmdebstrap or buildah is missing or fails.
    """
    with tempfile.TemporaryDirectory(prefix="posetask-base-") as folder:
        context = Path(folder)
        dropped = " ".join(f'"$1"/{path}' for path in _DROPPED)
        run(
            *("mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(base.packages)}"),
            f"--customize-hook={_PREPARE}",
            f"--customize-hook=rm -rf {dropped}",
            *(SUITE, str(context / "base.tar")),
        )
        (context / "Containerfile").write_text(
            "FROM scratch\nADD base.tar /\nENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\n"
        )
        return images.build(base.name, context, context / "Containerfile", archive)
