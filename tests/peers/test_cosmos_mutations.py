"""A table of mutations: with each promise of the Cosmos DB stand-in broken in turn, a test of the store fails.

The tests are the store's contract and those of `test_cosmos_promises.py`. GUARDS are left out: they refuse what the
store never sends. Run with `-s` to see which test catches what.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
from cosmos import server
from cosmos.promises import GUARDS, PROMISES

FOLDER = Path(__file__).parents[1] / "sessions" / "stores"
Test = Callable[[], None]

pytestmark = [
    pytest.mark.sockets,
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK asks for the account three times, half a second apart, also where its key is refused."""
    monkeypatch.setenv("AZURE_COSMOS_HEALTH_CHECK_RETRY_AFTER_MS", "1")


def loaded(name: str) -> ModuleType:
    """A module of tests, by its file."""
    spec = util.spec_from_file_location(f"mutated_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def store_tests(folder: Path) -> Iterator[tuple[str, Test]]:
    """The tests that need nothing but a folder; the promises' own first, because they are the fewest."""
    for name, test in vars(loaded("test_cosmos_promises")).items():
        if name.startswith("test_") and not inspect.signature(test).parameters:
            yield name, test
    contract = loaded("test_cosmos").TestContract
    for name in dir(contract):
        method = getattr(contract, name)
        if name.startswith("test_") and list(inspect.signature(method).parameters) == ["self", "tmp_path"]:
            yield name, lambda method=method, name=name: method(contract(), folder / name)  # type: ignore[misc]


def caught_by(folder: Path) -> str | None:
    """The first test that fails."""
    for name, test in store_tests(folder):
        try:
            test()
        except (Exception, pytest.fail.Exception) as error:
            return f"{name} ({type(error).__name__})"
    return None


def test_all_tests_pass_while_all_promises_are_kept(tmp_path: Path) -> None:
    assert len(list(store_tests(tmp_path))) > 30
    assert caught_by(tmp_path) is None


@pytest.mark.parametrize("promise", [name for name in PROMISES if name not in GUARDS])
def test_a_broken_promise_is_caught(promise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BROKEN", (promise,))
    caught = caught_by(tmp_path)
    print(f"{promise:18} {caught}")
    assert caught is not None


def test_a_right_store_does_not_notice_that_the_guards_are_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BROKEN", tuple(sorted(GUARDS)))
    assert caught_by(tmp_path) is None
