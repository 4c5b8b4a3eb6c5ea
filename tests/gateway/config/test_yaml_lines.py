"""Texts made to cost more than they are worth, as YAML; tests/gateway/agents/test_files.py has the rest."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
import yaml

from gateway.config.yaml_lines import LOADER, YamlFault, read_yaml

LOADERS = [LOADER, yaml.SafeLoader]
LINES_DEEP = "\n".join(" " * at + "a:" for at in range(1000))


def refused(text: str, loader: Any = LOADER) -> YamlFault:
    with pytest.raises(YamlFault) as caught:
        read_yaml(text, loader=loader)
    return caught.value


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: x\na: " + "[" * 1_000_000, 2),
        ("model: x\na: " + "[" * 1000 + "]" * 1000, 2),
        ("a: " + "{" * 100_000, 1),
        ("{a: " * 100_000, 1),
        ("[a, " * 100_000, 1),
        ("- " * 100_000, 1),
        ("- - a\n" + "- " * 100_000, 2),
        ("a:\n" + "".join(" " * at + "-\n" for at in range(1, 1000)), 34),
        (LINES_DEEP, 34),
    ],
)
def test_what_nests_deeply_is_refused_with_its_line(text: str, line: int, loader: Any) -> None:
    fault = refused(text, loader)
    assert fault.line == line
    assert "more than 32 deep" in fault.message or fault.message == "a key must be a word"


def test_keys_within_keys_are_refused() -> None:
    assert refused("? " * 100_000).message == "a key must be a word"


@pytest.mark.parametrize("loader", LOADERS)
def test_anchors_are_refused_where_they_stand(loader: Any) -> None:
    doubling = "a: x\nb: &b [x, x]\n" + "".join(
        f"{n}: &{n} [*{m}, *{m}]\n" for m, n in zip("bcdef", "cdefg", strict=True)
    )
    assert (refused(doubling, loader).line, refused(doubling, loader).field) == (2, "b")
    assert "anchors" in refused("&a b: c\n", loader).message
    assert refused("*a : c\n", loader).message == "a key must be a word"
    assert "anchors" in refused("a: [*b]\n", loader).message
    assert refused("<<: {a: b}\n", loader).message == "a key must be a word"


@pytest.mark.parametrize("loader", LOADERS)
def test_more_values_than_anybody_writes_are_refused(loader: Any) -> None:
    text = "model: x\nturns: [" + "{say: a}, " * 60_000 + "]\n"
    fault = refused(text, loader)
    assert (fault.line, fault.message) == (2, "more than 50000 values up to here; take some out")


def test_the_names_of_fields_take_no_more_memory_than_their_text() -> None:
    tracemalloc.start()
    assert "a key too long" in refused("? " + "a" * 100_000 + "\n: [" + "b, " * 40_000 + "]").message
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("loader", LOADERS)
def test_directives_for_tags_are_refused_before_they_are_compared(loader: Any) -> None:
    text = "# one\n%YAML 1.1\n" + "".join(f"%TAG !a{at}! x\n" for at in range(30_000)) + "---\na: b\n"
    fault = refused(text, loader)
    assert (fault.line, fault.message) == (3, "the directive %TAG is not supported")
    assert read_yaml("%YAML 1.1\n---\na: b\n", loader=loader).value == {"a": "b"}


@pytest.mark.parametrize("loader", LOADERS)
def test_a_long_text_is_not_taken_for_a_number(loader: Any) -> None:
    for text in ("1" + ":1" * 200_000, "1_" * 200_000, "1." + "0" * 200_000, "~" * 200_000):
        assert read_yaml(f"a: {text}", loader=loader).value == {"a": text}
    assert "more than 300 digits" in refused("a: " + "9" * 200_000, loader).message


@pytest.mark.parametrize("loader", LOADERS)
def test_a_second_document_is_refused_and_an_empty_text_is_none(loader: Any) -> None:
    assert refused("a: b\n---\nc: d\n", loader).line == 2
    assert refused("---\n" * 1000, loader).line == 2
    assert [read_yaml(text, loader=loader).value for text in ("", "# a\n", "---\n", "~")] == [None] * 4
    assert read_yaml("a: !!int 5", loader=loader).value == {"a": 5}
    assert read_yaml("a: !!str 5", loader=loader).value == {"a": "5"}


def test_a_tag_must_fit_its_value() -> None:
    assert read_yaml("{a: !!float '1.50', b: !!bool TRUE, c: !!null ~, d: !!str yes}").value == {
        "a": 1.5, "b": True, "c": None, "d": "yes",
    }  # fmt: skip
    for text in ("!!int x", "!!int 017", "!!float 5x", "!!bool yes", "!!null x", "!!timestamp 2026-11-21"):
        fault = refused(f"a: {text}")
        assert fault.field == "a"
        assert "does not fit its tag !!" in fault.message
    assert "more than 300 digits" in refused(f"a: !!int '{'9' * 5000}'").message


def test_an_emoji_of_two_escapes_is_one_character() -> None:
    assert read_yaml('"\\ud83d\\ude00": ["a\\ud83d", "\\ud83d\\ude00"]').value == {"😀": ["a\ufffd", "😀"]}
    fault = refused('a: "\\ud83d"\nb: "\\UFFFFFFFF"\n', None)
    assert (fault.line, fault.message) == (2, "is not YAML: it holds an escape that is no character")
