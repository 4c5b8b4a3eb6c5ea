"""Tests for the container image and the pinned requirements, which read the files that define them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from gateway.tools.config import StdioServer, load_mcp_config

ROOT = Path(__file__).parents[2]


def image_environment() -> dict[str, str]:
    """The ENV of the last stage."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    line = [line for line in text.splitlines() if line.startswith("ENV ")][-1]
    return dict(re.findall(r"(\w+)=(\S+)", line))


def pinned(name: str) -> set[str]:
    """The packages of one requirements file, with normalised names."""
    lines = (ROOT / name).read_text().splitlines()
    return {re.split("[=;]", line)[0].lower().replace("_", "-") for line in lines if not line.startswith("#")}


def test_the_bookings_are_in_the_volume_with_the_data() -> None:
    environ = image_environment()
    server = load_mcp_config(ROOT / "mcp.json", environ)["bookings"]
    assert isinstance(server, StdioServer)
    database = Path(server.env["BOOKINGS_DB"])
    assert database.is_absolute()
    assert database.is_relative_to(environ["PATCHBAY_DATA_DIR"])
    assert f"VOLUME {environ['PATCHBAY_DATA_DIR']}\n" in (ROOT / "Dockerfile").read_text()


def test_every_package_of_the_project_is_copied_into_the_image() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    dockerfile = (ROOT / "Dockerfile").read_text()
    for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]:
        name = pattern.rstrip("*")
        assert f"COPY {name} {name}\n" in dockerfile


def test_the_pinned_packages_cover_every_extra_and_no_package_is_in_both_lists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split("[<>=; ]", one)[0] for one in wanted}
    assert names - pinned("requirements.txt") == set()
    assert pinned("requirements.txt") & pinned("requirements-dev.txt") == set()


def test_serving_does_not_load_modules_that_only_some_agents_need() -> None:
    heavy = ("azure", "aiohttp", "msal", "requests", "openai", "mcp", "onnxruntime", "typer", "rich", "soundfile")
    script = f"import sys, gateway.cli.serve; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
