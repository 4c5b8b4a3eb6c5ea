"""The Python that was measured: who built it, and whether others run a build like it."""

from __future__ import annotations

import pytest

from bench.python_build import read_build, this_build

FAST = "'--enable-optimizations' '--with-lto' '--enable-shared'"


@pytest.mark.parametrize(
    ("base_prefix", "config_args", "text", "usual"),
    [
        ("/usr", "'--prefix=/usr' '--with-dtrace'", "3.11.2 (Debian's own)", True),
        (
            "/root/.pyenv/versions/3.11.7",
            "'--enable-shared'",
            "3.11.2 (made by pyenv, not optimised by a profile)",
            False,
        ),
        (
            "/root/.pyenv/versions/3.11.7",
            FAST,
            "3.11.2 (made by pyenv, optimised by a profile, link-time optimisation)",
            True,
        ),
        (
            "/usr/local",
            FAST,
            "3.11.2 (from source, where the python images have it, optimised by a profile, link-time optimisation)",
            True,
        ),
        (
            "/Library/Frameworks/Python.framework/Versions/3.12",
            "'--enable-optimizations'",
            "3.11.2 (a framework, as python.org's, optimised by a profile)",
            True,
        ),
        (
            "/root/.local/share/uv/python/cpython-3.13",
            FAST,
            "3.11.2 (python-build-standalone, by uv, optimised by a profile, link-time optimisation)",
            True,
        ),
        ("/opt/python", "", "3.11.2 (from source, not optimised by a profile)", False),
    ],
)
def test_a_build_is_named_with_its_maker_and_never_with_its_path(
    base_prefix: str, config_args: str, text: str, usual: bool
) -> None:
    build = read_build("3.11.2", base_prefix, config_args, "Debian", debug=False)
    assert (str(build), build.usual) == (text, usual)
    assert base_prefix not in str(build)


def test_a_debug_build_is_not_usual() -> None:
    build = read_build("3.13.0", "/usr", "", "Debian", debug=True)
    assert (str(build), build.usual) == ("3.13.0 (Debian's own, a debug build)", False)


def test_this_python_can_be_named() -> None:
    assert str(this_build())[0] == "3"
