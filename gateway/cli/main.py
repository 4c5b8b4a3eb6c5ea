"""The entry point of the command `patchbay`. `serve` skips the other commands' imports, to start quickly."""

from __future__ import annotations

import gc
import os
import sys

# One thread for numpy's products: they are tiny, and a thread pool would take cores from the calls.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    """Run a command. The exit code is 0 for success, 1 for failure and 2 for wrong usage."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["serve"]:
        # Objects made at start stay alive; repeated collections over them would take a tenth of the start.
        gc.disable()
        from gateway.cli.fast_import import import_fastapi

        import_fastapi()
        from gateway.cli.serve import serve

        raise SystemExit(serve(arguments[1:]))
    from gateway.cli.commands import run

    raise SystemExit(run(arguments))
