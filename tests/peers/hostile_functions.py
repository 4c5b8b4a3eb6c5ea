"""Function tools that fail, return nonsense or do not return, each as a plain function and as an async one."""

from __future__ import annotations

from peers.hostile_calls import talk
from peers.hostile_table import Case, Says

PART = "function tools"
FAILED: tuple[str | None, ...] = ("tool_execution_error",)
WORKED: tuple[str | None, ...] = (None,)
DEADLINE_S = 1.0

HEAD = '''"""Function tools that misbehave."""

import asyncio
import sys
import time
from typing import Any

from patchbay import ToolResult, tool


class Strange(BaseException):
    """No Exception."""


def deep(depth: int = 0) -> Any:
    return deep(depth + 1)


def nested(depth: int) -> Any:
    made: Any = 1
    for _ in range(depth):
        made = [made]
    return made


def circle() -> Any:
    made: list[Any] = []
    made.append(made)
    return made


# Made beforehand: what a function itself does to the loop is not the gateway's.
DEEP = nested(1000)
DEEPEST = nested(100_000)
PARTS = [{"number": n, "words": "aaaaaaaaaa"} for n in range(400_000)]
WORDS = "word " * 2_400_000


class NoWords:
    def __str__(self) -> str:
        raise SystemExit(5)

    __repr__ = __str__


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


async def exits() -> None:
    raise SystemExit(6)


async def waits_for_ever() -> str:
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
'''

# Kind: the function's body, and how the tool call must end.
RAISED = {
    "SystemExit": "raise SystemExit(2)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "GeneratorExit": "raise GeneratorExit",
    "RecursionError": "deep()",
    "TypeError": "return None + 1",
    "CancelledError": "raise asyncio.CancelledError",
    "BaseException": 'raise Strange("words")',
    "BaseExceptionGroup": 'raise BaseExceptionGroup("two", [SystemExit(1), KeyboardInterrupt()])',
    "MemoryError": "raise MemoryError",
    "StopIteration": "raise StopIteration(7)",
    "StopAsyncIteration": "raise StopAsyncIteration",
    "TimeoutError": "raise TimeoutError",
    "UnicodeError": 'return "\\ud83d".encode()',
    "an error without words": "raise Unspeakable",
}
# Kind: the body, whether the tool worked, a part of what the model reads.
RETURNED: dict[str, tuple[str, tuple[str | None, ...], str | None]] = {
    "None": ("return None", (None, *FAILED), None),
    "list": ("return [1, None, {}]", WORKED, "null"),
    "number": ("return 7", WORKED, "7"),
    "NaN": ('return float("nan")', (None, *FAILED), None),
    "a number of 5000 digits": ("return 10**4999", (None, *FAILED), None),
    "object": ("return object()", FAILED, None),
    "an object without words": ("return NoWords()", FAILED, None),
    "a class": ("return NoWords", FAILED, None),
    "bytes": (r'return b"\xff\xfe"', (None, *FAILED), None),
    "ToolResult(None)": ("return ToolResult(None)", FAILED, None),
    "ToolResult(7, [], {})": ("return ToolResult(7, [], {})", FAILED, None),
    "ToolResult with an unknown then": ('return ToolResult("fine", None, "dance")', (None, *FAILED), None),
    "half an emoji": (r'return "\ud83d fine"', WORKED, "\ufffd fine"),
    "half an emoji in a list": (r'return ["\ud83d"]', WORKED, "\ufffd"),
    "half an emoji as a key": (r'return {"\ud83d": 1}', WORKED, "\ufffd"),
    "12 MB of JSON": ("return PARTS", (None, *FAILED), None),
    "12 MB of words": ("return WORDS", WORKED, "word word"),
    "1000 lists in one another": ("return DEEP", (None, *FAILED), None),
    "100000 lists in one another": ("return DEEPEST", FAILED, None),
    "a list that holds itself": ("return circle()", FAILED, None),
    "an endless generator": ("return iter(int, 1)", FAILED, None),
    "a module": ("return sys", FAILED, None),
}
# Cases for one of the two forms only. Kind: the whole function, how the call must end, a part of what the model reads.
WHOLE: dict[str, tuple[str, tuple[str | None, ...], str | None]] = {
    "swallows its cancellation": ("async def NAME():\n    return await waits_for_ever()", ("timeout",), None),
    "never returns": ("def NAME():\n    time.sleep(90)", ("timeout",), None),
    "never ends its loop": ("def NAME():\n    while True:\n        time.sleep(0.001)", ("timeout",), None),
    "sleeps": ("async def NAME():\n    await asyncio.sleep(90)", ("timeout",), None),
    "raises when it is cancelled": (
        "async def NAME():\n    try:\n        await asyncio.sleep(90)\n    finally:\n        raise SystemExit(3)",
        ("timeout",),
        None,
    ),
    "hands out a coroutine": ("def NAME():\n    return asyncio.sleep(0, 'fine')", WORKED, "fine"),
    "hands out a coroutine that exits": ("def NAME():\n    return exits()", FAILED, None),
    "hands out two coroutines": (
        "async def NAME():\n    async def inner(): return 1\n    made = inner()\n    made.close()\n    return made",
        FAILED,
        None,
    ),
    "cancels its own task": (
        "async def NAME():\n    asyncio.current_task().cancel()\n    await asyncio.sleep(0)",
        FAILED,
        None,
    ),
    "starts a task that exits": (
        (
            "async def NAME():\n    task = asyncio.get_running_loop().create_task(exits())\n"
            "    await asyncio.sleep(0.05)\n    return 'fine'"
        ),
        (None, *FAILED),
        None,
    ),
    "lets the loop call sys.exit": (
        (
            "async def NAME():\n    asyncio.get_running_loop().call_soon(sys.exit)\n"
            "    await asyncio.sleep(0.05)\n    return 'fine'"
        ),
        (None, *FAILED),
        None,
    ),
    "stops the loop": (
        "async def NAME():\n    asyncio.get_running_loop().stop()\n    await asyncio.sleep(0.05)\n    return 'fine'",
        (None, *FAILED),
        None,
    ),
    "closes the loop": (
        "async def NAME():\n    asyncio.get_running_loop().close()",
        FAILED,
        None,
    ),
    "cancels every task": (
        "async def NAME():\n    for task in asyncio.all_tasks():\n        task.cancel()\n    await asyncio.sleep(0)",
        FAILED,
        None,
    ),
    "awaits what raises in a thread": (
        "async def NAME():\n    await asyncio.to_thread(sys.exit, 4)",
        FAILED,
        None,
    ),
}


def _functions() -> list[tuple[str, str, str, tuple[str | None, ...], str | None]]:
    """For each: the kind, the function's name, its source, how the tool call must end, and its output."""
    found = []
    both = {f"raises {kind}": (body, FAILED, None) for kind, body in RAISED.items()}
    both |= {f"returns {kind}": entry for kind, entry in RETURNED.items()}
    for number, (kind, (body, end, output)) in enumerate(both.items()):
        for how, word in (("plain", "def"), ("async", "async def")):
            name = f"{how}_{number}"
            found.append((f"{kind}, {how}", name, f"{word} NAME():\n    {body}", end, output))
    for number, (kind, (source, end, output)) in enumerate(WHOLE.items()):
        found.append((kind, f"whole_{number}", source, end, output))
    return [(kind, name, _tool(name, source), end, output) for kind, name, source, end, output in found]


def _tool(name: str, source: str) -> str:
    head, _, body = source.partition("\n")
    head = head.replace("NAME():", f"{name}() -> Any:")
    return f'\n\n@tool\n{head}\n    """Misbehave."""\n{body}\n'


FUNCTIONS = _functions()
NAMES = [name for _, name, _, _, _ in FUNCTIONS] + ["good"]
PLUGIN = HEAD + "".join(source for _, _, source, _, _ in FUNCTIONS) + _tool("good", "def NAME():\n    return 'good'")

CASES = [
    Case(
        PART,
        kind,
        talk("functions", f"do {name};"),
        # The record never holds half a character of a tool's output, and an unexpected error shows no words.
        Says(tool=end, output=output, output_not="Traceback", said="Told."),
    )
    for kind, name, _, end, output in FUNCTIONS
]
