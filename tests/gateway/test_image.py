"""What the container image and the pinned requirements promise, read from the files that make them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from gateway.tools.config import StdioServer, load_mcp_config

ROOT = Path(__file__).parents[2]


def image_environment() -> dict[str, str]:
    """The last stage's ENV."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    line = [line for line in text.splitlines() if line.startswith("ENV ")][-1]
    return dict(re.findall(r"(\w+)=(\S+)", line))


def pinned(name: str) -> set[str]:
    """The packages of one list, in one spelling."""
    lines = (ROOT / name).read_text().splitlines()
    return {re.split("[=;]", line)[0].lower().replace("_", "-") for line in lines if not line.startswith("#")}


def test_the_bookings_lie_in_the_volume_with_the_data() -> None:
    environ = image_environment()
    server = load_mcp_config(ROOT / "mcp.json", environ)["bookings"]
    assert isinstance(server, StdioServer)
    database = Path(server.env["BOOKINGS_DB"])
    assert database.is_absolute()
    assert database.is_relative_to(environ["PATCHBAY_DATA_DIR"])
    assert f"VOLUME {environ['PATCHBAY_DATA_DIR']}\n" in (ROOT / "Dockerfile").read_text()


def test_the_pinned_packages_cover_every_extra_and_none_stands_in_both_lists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split("[<>=; ]", one)[0] for one in wanted}
    assert names - pinned("requirements.txt") == set()
    assert pinned("requirements.txt") & pinned("requirements-dev.txt") == set()


def test_serving_loads_nothing_that_only_some_agents_need() -> None:
    heavy = ("azure", "aiohttp", "msal", "requests", "openai", "mcp", "onnxruntime", "typer", "rich", "soundfile")
    script = f"import sys, gateway.serving; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
