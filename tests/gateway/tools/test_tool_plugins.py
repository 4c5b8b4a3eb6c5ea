"""The user's own tools: found in a folder, and refused at start-up with file and line when broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.tools.plugins import PluginError, load_functions

GOOD = '''
from patchbay import tool

@tool
async def soup(day: str) -> str:
    """The soup of the day."""
    return day

def helper() -> None: ...
'''

LAZY = """
class Lazy:
    def __call__(self): ...

    def __getattr__(self, name):
        raise SystemExit

lazy = Lazy()
"""


def plugin(folder: Path, text: str, name: str = "house.py") -> Path:
    path = folder / name
    path.write_bytes(text.encode("latin-1", "replace"))
    return path


def test_without_a_folder_there_are_only_the_built_in_tools(tmp_path: Path) -> None:
    assert set(load_functions(None)) == {"hang_up", "current_time", "collect_digits"}
    assert set(load_functions(tmp_path / "nothing")) == {"hang_up", "current_time", "collect_digits"}


def test_marked_functions_become_tools(tmp_path: Path) -> None:
    plugin(tmp_path, GOOD)
    plugin(tmp_path, "raise SystemExit", "_private.py")
    plugin(tmp_path, "not python", "notes.txt")
    functions = load_functions(tmp_path)
    assert set(functions) == {"hang_up", "current_time", "collect_digits", "soup"}
    assert functions["soup"].description == "The soup of the day."


def test_an_imported_tool_is_not_loaded_twice(tmp_path: Path) -> None:
    plugin(tmp_path, GOOD, "a_house.py")
    plugin(tmp_path, "from patchbay_plugin_a_house import soup", "b_other.py")
    assert "soup" in load_functions(tmp_path)


@pytest.mark.parametrize(
    ("text", "line", "wrong"),
    [
        ("x = 1\ndef broken(:\n", 2, "invalid syntax"),
        ("import nothing_like_this\n", 1, "ModuleNotFoundError"),
        ("\n\ndef f():\n    return 1 / 0\n\nf()\n", 4, "ZeroDivisionError"),
        ("\nfrom patchbay import tool\n@tool\ndef soup(day):\n    'Soup.'\n", 3, "needs a type hint"),
        ("import asyncio\nraise SystemExit(2)\n", 2, "SystemExit"),
        ("import asyncio\nraise asyncio.CancelledError\n", 2, "CancelledError"),
        ("raise KeyboardInterrupt\n", 1, "KeyboardInterrupt"),
        ("def f():\n    f()\nf()\n", 2, "RecursionError"),
        ("class Odd(BaseException):\n    pass\nraise Odd('x')\n", 3, "Odd: x"),
        ("raise OSError(None, None)\n", 1, "OSError"),
        (LAZY, 6, "SystemExit"),
        ("x = '\ud83d'".encode("utf-8", "surrogatepass").decode("latin-1"), 1, "utf-8"),
        (GOOD.replace("async def soup", "async def hang_up"), 4, "another tool is named hang_up"),
    ],
)
def test_a_broken_plugin_is_reported_with_file_and_line(tmp_path: Path, text: str, line: int, wrong: str) -> None:
    path = plugin(tmp_path, text)
    with pytest.raises(PluginError, match=wrong) as error:
        load_functions(tmp_path)
    assert str(error.value).startswith(f"{path}:{line}: ")
