"""The command `patchbay`. `serve` is answered without what only the other commands need: it must start quickly."""

from __future__ import annotations

import gc
import os
import sys

# One thread for numpy's products: they are tiny, and a pool of threads would take cores from the calls.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    """Run a command; the exit code says how it went (0 well, 1 not, 2 used wrongly)."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["serve"]:
        gc.disable()  # what a start makes stays: looking for garbage in it, again and again, takes a tenth of the start
        from gateway.quickstart import import_fastapi

        import_fastapi()
        from gateway.serving import serve

        raise SystemExit(serve(arguments[1:]))
    from gateway.commands import run

    raise SystemExit(run(arguments))


if __name__ == "__main__":
    main()
