"""An MCP server over standard streams that repeats all that it is asked on its standard error.

python -m peers.canary_mcp SCRIPT START     SCRIPT as for odd_mcp.py; START is printed before everything else
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from peers import odd_mcp


def repeated(lines: Iterator[str]) -> Iterator[str]:
    """The lines, each of which is printed on standard error first."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)
        yield line


if __name__ == "__main__":
    odd_mcp.SCRIPT.update(json.loads(Path(sys.argv[1]).read_text()))
    print(sys.argv[2], file=sys.stderr, flush=True)
    sys.stdin = cast("Any", repeated(iter(sys.stdin)))
    odd_mcp.over_stdio()
