"""How all tests run: few examples on a developer's machine, and a collector that leaves alone what is there to stay."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

# Where nobody asks for more, a property gets 40 examples instead of 100. Tests that name a number keep theirs.
settings.register_profile("quick", max_examples=40)
if "PATCHBAY_EXAMPLES" not in os.environ:
    settings.load_profile("quick")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Take modules and tests, which live to the end, out of each search for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
