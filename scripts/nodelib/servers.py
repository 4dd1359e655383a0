"""Images of the servers that the chart runs for development: Kafka and an S3 server over a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from kubelib.errors import KubeFailed
from kubelib.tools import need
from nodelib import images
from nodelib.packages import ROOT

KAFKA = "localhost/posetask/kafka-dev:dev"
STORE = "localhost/posetask/s3-dev:dev"


def kafka(base: str, archive: Path) -> Path:
    """The broker: the jars that `make kafka` runs, on a base with Java.

    Raises:
        KubeFailed: The jars cannot be had, or the build fails.
    """
    said = subprocess.run(  # noqa: S603
        [sys.executable, str(ROOT / "scripts" / "kafka"), "install"],
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode != 0:
        raise KubeFailed(said.stderr.strip())
    jars = Path(said.stdout.strip().split()[-1])
    if not (jars / "complete").is_file():
        raise KubeFailed(f"scripts/kafka install said {said.stdout!r}, which names no folder of jars")
    with tempfile.TemporaryDirectory(prefix="posetask-image-") as folder:
        context = Path(folder)
        (context / "jars").mkdir()
        for jar in jars.glob("*.jar"):
            shutil.copy(jar, context / "jars")
        shutil.copy(jars / "log4j2.properties", context)
        shutil.copy(need("kafka-start"), context)
        (context / "kafka-start").chmod(0o755)
        return images.build(KAFKA, context, ROOT / "images/kafka-dev/Containerfile", archive, BASE=base)


def store(archive: Path) -> Path:
    """The S3 server: one static program."""
    return images.scratch(STORE, need("versitygw"), archive)
