"""How the measured Python was built, because builds of the same source differ in speed by a tenth or more."""

from __future__ import annotations

import platform
import sys
import sysconfig
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PythonBuild:
    """The properties of a build that affect its speed, and who made it.

    `optimised` is None for the build of a distribution, because `sysconfig` does not show how that was built.
    """

    version: str
    maker: str
    optimised: bool | None  # profile-guided (--enable-optimizations)
    lto: bool
    debug: bool

    def __str__(self) -> str:
        """The version, who made the build, and how."""
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
        """Whether others run a Python like this: a distribution's build, or an optimised one without debug code."""
        return self.optimised is not False and not self.debug


def read_build(version: str, base_prefix: str, config_args: str, system: str, *, debug: bool) -> PythonBuild:
    """The build that the arguments of `configure` and the prefix show. `system`: the name of the operating system."""
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
    """The build of the running interpreter, which also runs the servers."""
    try:
        system = platform.freedesktop_os_release().get("NAME", platform.system()).split()[0]
    except OSError:
        system = platform.system()
    config_args = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    debug = bool(sysconfig.get_config_var("Py_DEBUG"))
    return read_build(platform.python_version(), sys.base_prefix, config_args, system, debug=debug)
