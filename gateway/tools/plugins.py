"""Finds the user's own tools: functions that `@tool` marks, in the Python files of one folder."""

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
from gateway.tools.functions import BUILT_IN, FunctionTool, from_function, is_marked


class PluginError(ValueError):
    """A plugin cannot be used; the message starts with its file and line."""


def load_functions(folder: Path | None) -> dict[str, FunctionTool]:
    """The built-in function tools and those of every `*.py` file in the folder, by name. Raises PluginError.

    Files whose name starts with `_` or `.` are left alone; a missing folder holds no plugins.
    """
    found = {tool.name: tool for tool in BUILT_IN}
    for path in sorted(folder.glob("*.py")) if folder is not None else ():
        if path.name.startswith(("_", ".")):
            continue
        for function in _marked(path, _load(path)):
            where = f"{path}:{inspect.unwrap(function).__code__.co_firstlineno}"
            tool = _made(path, where, function)
            if tool.name in found:
                raise PluginError(f"{where}: there is a tool named {tool.name} already")
            found[tool.name] = tool
    return found


def _load(path: Path) -> ModuleType:
    name = f"patchbay_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickling, dataclasses and type hints look here
    with Boundary(partial(_refuse, path)):
        spec.loader.exec_module(module)
    return module


def _made(path: Path, where: str, function: Callable[..., Any]) -> FunctionTool:
    with Boundary(partial(_refuse, path)):  # type hints, defaults and docstrings can be the user's own code
        try:
            return from_function(function)
        except TypeError as error:
            raise PluginError(f"{where}: {error}") from error
    raise AssertionError("the boundary's report raises")


def _refuse(path: Path, error: BaseException) -> NoReturn:
    """Whatever a file raises while it is read, as one line. Raises PluginError."""
    if isinstance(error, PluginError):
        raise error
    if isinstance(error, SyntaxError):
        raise PluginError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    # An absolute name may stand in the traceback where a relative one was given.
    own = {str(path), str(path.absolute())}
    lines = [place.lineno for place in traceback.extract_tb(error.__traceback__) if place.filename in own]
    raise PluginError(f"{path}:{lines[-1] if lines else 1}: {type(error).__name__}: {error}") from error


def _marked(path: Path, module: ModuleType) -> list[Callable[..., Any]]:
    """Marked functions that this file defines, in its own order; imported ones belong to the file that defines them."""
    found: list[Callable[..., Any]] = []
    for thing in list(vars(module).values()):
        with Boundary(partial(_refuse, path)):  # an object of the user's own may answer any question with an exception
            if is_marked(thing) and inspect.isfunction(inspect.unwrap(thing)):
                found.append(thing)
    return [thing for thing in found if thing.__module__ == module.__name__]
