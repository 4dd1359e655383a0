"""Put packages in place, in the build stage of an image: scripts, byte code, and nothing that never runs.

``python3 install.py PACKAGES TARGET``: PACKAGES is what ``scripts/images`` prepared (the folder ``lib``, the
file ``python-version``); TARGET gets ``lib`` and ``bin``. Needs Python alone: the base may lack a shell.
"""

from __future__ import annotations

import compileall
import configparser
import os
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

NEVER_RUN = ("tests", "test", "include", "__pycache__")
"""Folders inside packages that only developers of these need."""
SCRIPT = """#!{python}
import sys
from {module} import {name}
sys.exit({name}())
"""


def main() -> None:
    """Check, copy, trim, compile, write the scripts."""
    packages, target = Path(sys.argv[1]), Path(sys.argv[2])
    made_for = (packages / "python-version").read_text().strip()
    here = "{}.{}".format(*sys.version_info)
    if made_for != here:
        sys.exit(f"packages for Python {made_for}, base with {here}: give scripts/images --python {here}")
    lib = target / "lib"
    shutil.copytree(packages / "lib", lib, symlinks=True, ignore=_ignored)
    # Unchecked: the files of an image never change, so that no start looks at their times.
    mode = PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(lib, quiet=1, workers=os.cpu_count() or 1, invalidation_mode=mode):
        print("some files of third parties do not compile; they are for other versions of Python")
    (target / "bin").mkdir(parents=True)
    for entry in lib.glob("posetask*.dist-info/entry_points.txt"):
        parser = configparser.ConfigParser()
        parser.read(entry)
        for script, place in parser["console_scripts"].items():
            module, name = place.split(":")
            if not (lib / module.replace(".", "/")).with_suffix(".py").is_file():
                continue
            path = target / "bin" / script
            path.write_text(SCRIPT.format(python=sys.executable, module=module, name=name))
            path.chmod(0o755)


def _ignored(folder: str, names: list[str]) -> list[str]:
    inside = Path(folder).name != "lib"  # a package of that name at the top stays
    return [name for name in names if inside and name in NEVER_RUN]


if __name__ == "__main__":
    main()
