"""The rules of the house, read from its syntax trees: which package needs which, loose files, and the walls.

A room is a folder; a file that lies loose in `gateway/` is a room of its own. Every import counts: inside a function,
for types alone, and by `import_module` with a name that stands there.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TREES = ("audio", "sessions", "gateway", "patchbay", "mcp_servers", "bench")
ORDER = ("audio", "sessions", "gateway")  # each may import what stands before it
ALONE = ("mcp_servers",)  # a program of its own
MAX_LOOSE = 8
MAX_FILE = 400
MAX_FUNCTION = 60


@dataclass(frozen=True, slots=True)
class Import:
    """One import, as written."""

    path: str  # of the file that imports
    line: int
    importer: str  # module
    imported: str  # module

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.imported}"


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the house."""

    name: str
    path: str
    text: str
    tree: ast.Module


def modules(root: Path) -> list[Module]:
    """Every module under `root` that the rules are for."""
    found = []
    for path in sorted(file for top in TREES for file in (root / top).rglob("*.py")):
        relative = path.relative_to(root)
        parts = relative.with_suffix("").parts
        text = path.read_text()
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, str(relative), text, ast.parse(text)))
    return found


def imports(house: list[Module]) -> list[Import]:
    """Every import of one of the house's modules by another."""
    known = {module.name for module in house}
    return [
        Import(module.path, line, module.name, imported)
        for module in house
        for line, imported in _imported(module.tree, known)
        if imported in known and imported != module.name
    ]


def _imported(tree: ast.Module, known: set[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from ((node.lineno, name if name in known else node.module) for name in inner)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from ((node.lineno, arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def room(module: str, packages: set[str]) -> str:
    """The room of a module: its folder; for a loose file in `gateway/`, itself."""
    if module in packages and module != "gateway":
        return module
    folder, _, _ = module.rpartition(".")
    return module if folder in ("", "gateway") else folder


def cycles(house: list[Module]) -> list[str]:
    """Each cycle between rooms, as its imports: one line for every arrow of the shortest way round."""
    packages = {module.name for module in house if module.path.endswith("__init__.py")}
    arrows: dict[str, dict[str, Import]] = {}
    for each in imports(house):
        here, there = room(each.importer, packages), room(each.imported, packages)
        if here != there:
            arrows.setdefault(here, {}).setdefault(there, each)
    found: dict[frozenset[str], str] = {}
    for start in sorted(arrows):
        way = _way_back(start, arrows)
        if way and frozenset(way) not in found:
            steps = zip(way, [*way[1:], way[0]], strict=True)
            found[frozenset(way)] = "\n".join(f"{a} -> {b}: {arrows[a][b]}" for a, b in steps)
    return list(found.values())


def _way_back(start: str, arrows: dict[str, dict[str, Import]]) -> list[str]:
    ways = [[start]]
    seen = set()
    for way in ways:
        for following in sorted(arrows.get(way[-1], {})):
            if following == start:
                return way
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def upward(house: list[Module]) -> list[str]:
    """Imports that go up, and those of a program that stands alone."""
    found = []
    for each in imports(house):
        here, there = each.importer.split(".")[0], each.imported.split(".")[0]
        up = here in ORDER and there not in ORDER[: ORDER.index(here) + 1]
        if up or (here != there and here in ALONE):
            found.append(str(each))
    return found


def loose(house: list[Module]) -> list[str]:
    """The files that lie loose in `gateway/`."""
    return [m.path for m in house if m.name.startswith("gateway.") and Path(m.path).parent == Path("gateway")]


def over_the_walls(house: list[Module]) -> list[str]:
    """Files and functions that are too long."""
    found = []
    for module in house:
        lines = module.text.count("\n")
        if lines > MAX_FILE:
            found.append(f"{module.path}: {lines} lines")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION:
                    found.append(f"{module.path}:{node.lineno} {node.name}: {length} lines")
    return found
