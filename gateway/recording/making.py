"""Has the stereo files of finished calls made: by a separate program, or in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import orjson

from gateway.runtime.programs import start

log = logging.getLogger("patchbay.recording")


def make_in_process(job_files: Iterable[str]) -> list[dict[str, Any]]:
    """Do the program's work in this process; returns one result per job, as `gateway.recording.finish` describes it."""
    from gateway.recording.finish import run_job  # imports soundfile, which the server does not need

    return [run_job(Path(path)) for path in job_files]


async def make_in_program(job_files: Collection[str], timeout_s: float) -> list[dict[str, Any]]:
    """Run the program on these jobs, at most for `timeout_s`; returns the results that it reported until then."""
    if not job_files:  # no job file could be written
        return []
    try:
        program = await start(
            sys.executable,
            "-m",
            "gateway.recording.finish",
            *job_files,
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OPENBLAS_NUM_THREADS": "1"},
        )
    except OSError as error:  # no memory or no descriptor: the same as a program that crashed
        log.error("the program that makes recordings cannot be started", extra={"reason": error.strerror})
        return []
    assert program.stdout is not None
    out = b""
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                out = await program.stdout.read()
                await program.ended.wait()
    finally:
        program.kill()
        program.close()
        await program.ended.wait()
    results = (_result(line) for line in out.splitlines(keepends=True) if line.endswith(b"\n"))
    return [result for result in results if result is not None and result["job"] in job_files]


def _result(line: bytes) -> dict[str, Any] | None:
    """The result in a line that the program printed; None for others, because a library may print lines too."""
    try:
        result = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return result if isinstance(result, dict) and isinstance(result.get("job"), str) else None
