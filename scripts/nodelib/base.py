"""A base image from Debian's own packages, for machines without a registry: Python 3.11 and no shell."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from nodelib import images
from nodelib.network import run

NAME = "localhost/posetask-base:bookworm"
SUITE = "bookworm"
PYTHON = "3.11"
PACKAGES = (
    "python3-minimal",
    "python3.11-minimal",
    "libpython3.11-stdlib",
    "libstdc++6",  # of the compiled wheels
    "zlib1g",
    "ca-certificates",  # its list of authorities
    "netbase",
)
_DROPPED = (
    *(
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/info",
        "usr/share/lintian",
        "var/cache",
    ),
    *("var/lib/dpkg", "var/lib/apt", "var/log", "etc/apt", "etc/dpkg", "usr/lib/python3.11/pydoc_data"),
    *(
        "usr/bin/openssl",
        "usr/bin/c_rehash",
        "usr/bin/debconf*",
        "usr/sbin",
        "usr/share/perl5",
        "usr/lib/apt",
    ),
    *("usr/lib/python3.11/lib2to3", "usr/lib/python3.11/__pycache__", "bin/tar", "usr/share/bash-completion"),
)
"""Never used by a program of ours; addresses of package mirrors are among it."""
_PREPARE = r"""set -eu
root="$1"
cd "$root"
cat usr/share/ca-certificates/mozilla/*.crt > etc/ssl/certs/ca-certificates.crt
printf 'root:x:0:0:root:/:/nologin\nposetask:x:65532:65532:posetask:/tmp:/nologin\n' > etc/passwd
printf 'root:x:0:\nposetask:x:65532:\n' > etc/group
printf 'hosts: files dns\n' > etc/nsswitch.conf
mkdir -p tmp && chmod 1777 tmp
"""


def build(archive: Path) -> Path:
    """The base as an archive; also left in buildah's storage for the images above it.

    Raises:
        KubeFailed: mmdebstrap or buildah is missing or fails.
    """
    with tempfile.TemporaryDirectory(prefix="posetask-base-") as folder:
        context = Path(folder)
        dropped = " ".join(f'"$1"/{path}' for path in _DROPPED)
        run(
            *("mmdebstrap", "--quiet", "--variant=extract", f"--include={','.join(PACKAGES)}"),
            f"--customize-hook={_PREPARE}",
            f"--customize-hook=rm -rf {dropped}",
            *(SUITE, str(context / "base.tar")),
        )
        (context / "Containerfile").write_text(
            "FROM scratch\nADD base.tar /\n"
            'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\nCMD ["python3"]\n'
        )
        return images.build(NAME, context, context / "Containerfile", archive)


def there() -> bool:
    """Whether this machine can make it."""
    return shutil.which("mmdebstrap") is not None
