"""`python -m bench run` measures; `load`, `model`, `relay` and `profile` are its parts and can be used alone."""

from __future__ import annotations

import importlib
import sys

PARTS = (
    "run",
    "profile",
    "load",
    "model",
    "relay",
    "collector",
    "scrape",
    "phone_load",
    "phone_floor",
    "interruptions",
)


def main() -> int:
    """Run the part that the command line names. Only that part is imported, so each process stays small."""
    if len(sys.argv) < 2 or sys.argv[1] not in PARTS:
        print(f"usage: python -m bench {{{','.join(PARTS)}}} [--help]", file=sys.stderr)
        return 2
    part = importlib.import_module(f"bench.{sys.argv[1]}")
    code: int = part.main(sys.argv[2:])
    return code


if __name__ == "__main__":
    sys.exit(main())
