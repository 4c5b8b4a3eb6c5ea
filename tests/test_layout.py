"""The house keeps its rooms: no cycle between packages, no import that goes up, no new loose file, no file too long."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.layout import MAX_LOOSE, Module, cycles, loose, modules, over_the_walls, upward

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def house() -> list[Module]:
    found = modules(ROOT)
    assert len(found) > 300
    return found


def test_no_package_needs_one_that_needs_it(house: list[Module]) -> None:
    found = cycles(house)
    assert not found, "\n" + "\n\n".join(found)


def test_no_import_goes_up(house: list[Module]) -> None:
    found = upward(house)
    assert not found, "\n" + "\n".join(found)


def test_few_files_lie_loose_in_the_gateway(house: list[Module]) -> None:
    assert len(loose(house)) <= MAX_LOOSE, loose(house)


def test_no_file_and_no_function_is_too_long(house: list[Module]) -> None:
    found = over_the_walls(house)
    assert not found, "\n" + "\n".join(found)


def built(folder: Path, files: dict[str, str]) -> list[Module]:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return modules(folder)


def test_a_cycle_is_shown_with_its_imports(tmp_path: Path) -> None:
    house = built(
        tmp_path,
        {
            "gateway/a/one.py": "from gateway.b.two import x\n",
            "gateway/b/two.py": "def f():\n    from gateway import three\n",
            "gateway/three.py": "import gateway.a.one\n",
            "gateway/a/inside.py": "from gateway.a import one\n",
        },
    )
    (cycle,) = cycles(house)
    assert cycle.splitlines() == [
        "gateway.a -> gateway.b: gateway/a/one.py:1 imports gateway.b.two",
        "gateway.b -> gateway.three: gateway/b/two.py:2 imports gateway.three",
        "gateway.three -> gateway.a: gateway/three.py:1 imports gateway.a.one",
    ]


def test_a_module_that_is_imported_by_its_name_counts(tmp_path: Path) -> None:
    house = built(
        tmp_path,
        {
            "gateway/a/one.py": "from importlib import import_module\nimport_module('gateway.b.two')\n",
            "gateway/b/two.py": "from gateway.a.one import x\n",
        },
    )
    assert len(cycles(house)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("audio/low.py", "from sessions.call import Call\n"),
        ("sessions/call2.py", "import gateway.app\n"),
        ("mcp_servers/desk/server.py", "from audio.formats import X\n"),
    ],
)
def test_an_import_that_goes_up_is_shown(tmp_path: Path, path: str, text: str) -> None:
    others = {
        "audio/formats.py": "",
        "sessions/call.py": "import audio.formats\n",
        "gateway/app.py": "import sessions.call",
    }
    (found,) = upward(built(tmp_path, {**others, path: text}))
    assert found.startswith(f"{path}:1 imports ")


def test_a_ninth_loose_file_is_one_too_many(tmp_path: Path) -> None:
    house = built(tmp_path, {f"gateway/m{number}.py": "" for number in range(9)} | {"gateway/room/file.py": ""})
    assert len(loose(house)) == 9 > MAX_LOOSE


def test_what_is_over_a_wall_is_shown(tmp_path: Path) -> None:
    short = "def short():\n" + "    pass\n" * 59
    long = "async def long():\n" + "    pass\n" * 60
    house = built(tmp_path, {"audio/a.py": short + long, "audio/b.py": "x = 1\n" * 401, "audio/c.py": "x = 1\n" * 400})
    assert over_the_walls(house) == ["audio/a.py:61 long: 61 lines", "audio/b.py: 401 lines"]
