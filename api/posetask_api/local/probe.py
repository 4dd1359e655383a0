"""Looking at an upload in a process of its own: a file that crashes a decoder crashes no server."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from posetask.errors import InputError, NotAVideo, PoseTaskError, StageFailed
from posetask.runtime.reports import Failure, error_of

SECONDS = 120.0


async def look(path: Path, seconds: float = SECONDS) -> int | None:
    """Open a video as the pipeline will, and decode its first picture.

    Returns:
        Frames that it claims to have; None where it claims nothing.

    Raises:
        InputError: It is refused; see ``docs/inputs.md``.
        StageFailed: This machine cannot look.
    """
    command = (sys.executable, "-m", "posetask_api.local.probe", str(path))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        raise NotAVideo(
            f"{path.name} cannot be opened within {seconds:.0f} s", hint="convert it to MP4 first"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    code = process.returncode or 0
    if code < 0:
        raise NotAVideo(f"{path.name} ends the decoder (signal {-code})", hint="convert it to MP4 first")
    try:
        said = json.loads(out)
    except ValueError:
        tail = err.decode(errors="replace")[-300:].strip()
        raise StageFailed(f"{path.name} could not be looked at: {tail}", hint="posetask doctor") from None
    if "error" in said:
        raise error_of(Failure.model_validate(said["error"]))
    frames = said["frames"]
    return int(frames) if frames else None


def main(path: Path) -> int:
    """Print what :func:`look` reads."""
    from posetask.media.probe import probe  # not for the server: FFmpeg stays out of it

    try:
        info = probe(path)
        frames = info.frames_declared
        if frames is None and info.duration and info.frame_rate:
            frames = round(info.duration * info.frame_rate)
        if info.container == "image":
            raise NotAVideo(f"{path.name} is an image", hint="upload a video; posetask run takes images")
        said: dict[str, object] = {"frames": frames}
    except PoseTaskError as error:
        message = error.message.replace(str(path), path.name)
        kind = type(error) if isinstance(error, InputError) else StageFailed
        said = {"error": Failure.of(kind(message, hint=error.hint)).model_dump()}
    sys.stdout.write(json.dumps(said) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
