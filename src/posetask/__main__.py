"""``python -m posetask``."""

from posetask.cli.main import main

main()
