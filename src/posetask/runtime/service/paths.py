"""Which files a caller may name: those in one folder, wherever links lead."""

from __future__ import annotations

from pathlib import Path

from posetask.errors import InvalidParameters
from posetask.runtime.stagespec import StageProcessSpec
from posetask.storage.location import Location

_NO_FILE = "synth:"


def confine(spec: StageProcessSpec, folder: Path) -> None:
    """Refuse a specification that names a file outside ``folder``.

    A synthetic world is no file.

    Raises:
        InvalidParameters: Names the file, not what is there.
    """
    named = [_file(spec.publish, folder) if spec.publish is not None else spec.output]
    if spec.source is not None and not spec.source.startswith(_NO_FILE):
        named.append(_file(spec.source, folder))
    model = spec.parameters.get("model")
    if isinstance(model, str) and ("/" in model or model.endswith(".onnx")):
        named.append(Path(model))
    root = folder.resolve()
    for path in named:
        if path is not None and not path.resolve().is_relative_to(root):
            raise InvalidParameters(f"{path} lies outside of {folder}", hint=f"name files in {folder}")


def _file(text: str, folder: Path) -> Path:
    location = Location.parse(text)
    if location.path is None:
        raise InvalidParameters(f"{text} is no file in {folder}", hint=f"name files in {folder}")
    return location.path
