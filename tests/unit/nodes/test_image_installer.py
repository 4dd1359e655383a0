"""``images/install.py``, run as the build stage of an image runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = "{}.{}".format(*sys.version_info)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Packages as scripts/images leaves them: ours with two scripts, one for a module that is not there."""
    lib = tmp_path / "packages" / "lib"
    files = {
        "posetask/__init__.py": "",
        "posetask/cli.py": "def main():\n    print('it runs')\n    return 3\n",
        "posetask-1.dist-info/entry_points.txt": (
            "[console_scripts]\nposetask = posetask.cli:main\nposetask-train = posetask_train.cli:main\n"
        ),
        "other/tests/test_it.py": "",
        "other/include/it.h": "",
        "tests/__init__.py": "",
    }
    for name, text in files.items():
        (lib / name).parent.mkdir(parents=True, exist_ok=True)
        (lib / name).write_text(text)
    (lib.parent / "python-version").write_text(f"{HERE}\n")
    return lib.parent


def install(installer: Path, packages: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", str(installer), str(packages), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_script_runs_and_returns_what_its_program_returns(
    installer: Path, prepared: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    assert install(installer, prepared, target).returncode == 0
    ran = subprocess.run(
        [str(target / "bin" / "posetask")],
        env={"PYTHONPATH": str(target / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (3, "it runs\n")
    assert not (target / "bin" / "posetask-train").exists()


def test_what_only_developers_need_stays_out_and_byte_code_is_there(
    installer: Path, prepared: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    install(installer, prepared, target)
    assert not (target / "lib/other/tests").exists()
    assert not (target / "lib/other/include").exists()
    assert (target / "lib/tests/__init__.py").exists()  # a package of that name
    assert list((target / "lib/posetask/__pycache__").glob("cli.*.pyc"))


def test_packages_for_another_python_are_refused(installer: Path, prepared: Path, tmp_path: Path) -> None:
    (prepared / "python-version").write_text("2.7\n")
    said = install(installer, prepared, tmp_path / "target")
    assert said.returncode != 0
    assert f"--python {HERE}" in said.stderr
