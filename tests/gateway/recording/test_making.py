"""Recordings made by a program of its own: jobs that cannot be, and none at all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.recording.making import make_apart


def test_a_job_that_cannot_be_read_is_told_of_and_without_a_job_no_program_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "job.json")
    (told,) = asyncio.run(make_apart([missing], 20.0))
    assert told["job"] == missing
    assert told["error"].startswith("FileNotFoundError")
    assert asyncio.run(make_apart([], 20.0)) == []
    assert capfd.readouterr().err == ""
