"""The image of the REST server has no OpenCV, Parquet or ONNX Runtime: it looks at videos, and works none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

WITHOUT = ("cv2", "lap", "onnxruntime", "pyarrow", "simplejpeg")
SCRIPT = """
import runpy, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[2].split(","):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
import posetask_api.__main__
from posetask_api.local.probe import main
raise SystemExit(main(__import__("pathlib").Path(sys.argv[1])))
"""


def test_the_server_of_a_cluster_starts_and_looks_at_a_video_without_them(red_clip: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(red_clip), ",".join(WITHOUT)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"frames": 40}
