"""Finds the user's own tools: functions marked with `@tool` in the Python files of one folder."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from gateway.guard import Boundary
from gateway.tools.contract import is_marked
from gateway.tools.functions import BUILT_IN, FunctionTool, from_function


class PluginError(ValueError):
    """A plugin cannot be used. The message starts with its file and line."""


def load_functions(folder: Path | None) -> dict[str, FunctionTool]:
    """The built-in function tools and those of every `*.py` file in the folder, by name. Raises PluginError.

    Files whose name starts with `_` or `.` are skipped. A folder that does not exist has no plugins.
    """
    found = {tool.name: tool for tool in BUILT_IN}
    for path in sorted(folder.glob("*.py")) if folder is not None else ():
        if path.name.startswith(("_", ".")):
            continue
        for function in _marked(path, _imported(path)):
            where = f"{path}:{inspect.unwrap(function).__code__.co_firstlineno}"
            tool = _to_tool(path, where, function)
            if tool.name in found:
                raise PluginError(f"{where}: another tool is named {tool.name}")
            found[tool.name] = tool
    return found


def _imported(path: Path) -> ModuleType:
    name = f"patchbay_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the file's name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Pickling, dataclasses and type hints look the module up here.
    sys.modules[name] = module
    with Boundary(partial(_raise_plugin_error, path)):
        spec.loader.exec_module(module)
    return module


def _to_tool(path: Path, where: str, function: Callable[..., Any]) -> FunctionTool:
    # Type hints, defaults and docstrings can run the user's own code.
    with Boundary(partial(_raise_plugin_error, path)):
        try:
            return from_function(function)
        except TypeError as error:
            raise PluginError(f"{where}: {error}") from error
    raise AssertionError("the boundary's report raises")


def _raise_plugin_error(path: Path, error: BaseException) -> NoReturn:
    """Report whatever a file raises while it is loaded, in one line. Raises PluginError."""
    if isinstance(error, PluginError):
        raise error
    if isinstance(error, SyntaxError):
        raise PluginError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    # The traceback may hold an absolute path where a relative one was given.
    own = {str(path), str(path.absolute())}
    lines = [place.lineno for place in traceback.extract_tb(error.__traceback__) if place.filename in own]
    raise PluginError(f"{path}:{lines[-1] if lines else 1}: {type(error).__name__}: {error}") from error


def _marked(path: Path, module: ModuleType) -> list[Callable[..., Any]]:
    """The marked functions that this file defines, in file order. Imported ones belong to their own file."""
    found: list[Callable[..., Any]] = []
    for thing in list(vars(module).values()):
        # Any attribute access on a user's object may raise.
        with Boundary(partial(_raise_plugin_error, path)):
            if is_marked(thing) and inspect.isfunction(inspect.unwrap(thing)):
                found.append(thing)
    return [thing for thing in found if thing.__module__ == module.__name__]
