"""How the Python that was measured was made: builds of the same source differ by a tenth or more."""

from __future__ import annotations

import platform
import sys
import sysconfig
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PythonBuild:
    """What of a build makes a difference, and who made it.

    `optimised` is None for a distribution's build: how its makers build is not in what `sysconfig` tells.
    """

    version: str
    maker: str
    optimised: bool | None  # by a profile (--enable-optimizations)
    lto: bool
    debug: bool

    def __str__(self) -> str:
        """For a reader: the version, who made it, and how."""
        how = [self.maker]
        if self.optimised is not None:
            how.append("optimised by a profile" if self.optimised else "not optimised by a profile")
        if self.lto:
            how.append("link-time optimisation")
        if self.debug:
            how.append("a debug build")
        return f"{self.version} ({', '.join(how)})"

    @property
    def usual(self) -> bool:
        """Whether others will run a Python such as this: a distribution's, or one that was optimised as it is."""
        return self.optimised is not False and not self.debug


def read_build(version: str, base_prefix: str, config_args: str, system: str, *, debug: bool) -> PythonBuild:
    """What the arguments of `configure` and the place tell. `system` is the operating system's name."""
    folders = base_prefix.replace("\\", "/").split("/")
    optimised = "--enable-optimizations" in config_args
    maker = "from source"
    if base_prefix == "/usr":
        return PythonBuild(version, f"{system}'s own", optimised or None, "--with-lto" in config_args, debug)
    if ".pyenv" in folders or "pyenv" in folders:
        maker = "made by pyenv"
    elif "uv" in folders:
        maker = "python-build-standalone, by uv"
    elif "Python.framework" in folders:
        maker = "a framework, as python.org's"
    elif base_prefix == "/usr/local":
        maker = "from source, where the python images have it"
    return PythonBuild(version, maker, optimised, "--with-lto" in config_args, debug)


def this_build() -> PythonBuild:
    """The interpreter that runs this, which is also the servers'."""
    try:
        system = platform.freedesktop_os_release().get("NAME", platform.system()).split()[0]
    except OSError:
        system = platform.system()
    config_args = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    debug = bool(sysconfig.get_config_var("Py_DEBUG"))
    return read_build(platform.python_version(), sys.base_prefix, config_args, system, debug=debug)
