"""`python -m bench run` measures; `load`, `model`, `relay` and `profile` are its parts, each usable alone."""

from __future__ import annotations

import importlib
import sys

PARTS = ("run", "profile", "load", "model", "relay")


def main() -> int:
    """Hand the command line to the part it names; only that part is imported, so each process stays small."""
    if len(sys.argv) < 2 or sys.argv[1] not in PARTS:
        print(f"usage: python -m bench {{{','.join(PARTS)}}} [--help]", file=sys.stderr)
        return 2
    part = importlib.import_module(f"bench.{sys.argv[1]}")
    code: int = part.main(sys.argv[2:])
    return code


if __name__ == "__main__":
    sys.exit(main())
