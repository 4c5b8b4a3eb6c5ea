"""How all tests run: few examples on a developer's machine, and a collector that leaves alone what is there to stay."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import settings

# Where nobody asks for more, a property gets 40 examples instead of 100. Tests that name a number keep theirs.
# None has a deadline: on a busy machine it would judge the machine.
settings.register_profile("quick", max_examples=40, deadline=None)
settings.register_profile("whole", deadline=None)
settings.load_profile("whole" if "TEST_EXAMPLES" in os.environ else "quick")

# Tests read the settings that they make, and none that whoever runs them has in the shell.
OURS = ("PATCHBAY_", "OTEL_", "LANGFUSE_", "APPLICATIONINSIGHTS_")
for name in [name for name in os.environ if name.upper().startswith(OURS)]:
    del os.environ[name]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Take modules and tests, which live to the end, out of each search for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
