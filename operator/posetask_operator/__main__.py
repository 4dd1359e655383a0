"""``python -m posetask_operator``."""

from __future__ import annotations

import sys

from posetask_operator.edge.main import main

if __name__ == "__main__":
    sys.exit(main())
