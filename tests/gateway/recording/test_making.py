"""Recordings made by a separate program: a job that cannot be read, and no job."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.recording.making import make_in_program


def test_a_job_that_cannot_be_read_has_an_error_and_without_a_job_no_program_runs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "job.json")
    (result,) = asyncio.run(make_in_program([missing], 20.0))
    assert result["job"] == missing
    assert result["error"].startswith("FileNotFoundError")
    assert asyncio.run(make_in_program([], 20.0)) == []
    assert capfd.readouterr().err == ""
