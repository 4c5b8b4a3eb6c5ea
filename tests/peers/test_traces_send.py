"""`patchbay traces send`: stored calls at real receivers, with the ids that they had when they were made."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from peers.server_callers import calling, run
from peers.server_process import Server, environment, serving
from peers.telemetry_receivers import receiving

pytestmark = pytest.mark.sockets

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}


def call(server: Server) -> str:
    async def main() -> str:
        async with calling(server) as caller:
            for turn in range(3):
                await caller.turn(f"ping {turn}")
            await asyncio.sleep(0.5)
            return caller.session_id

    session = run(main)
    server.ended(session)
    return session


def send(folder: Path, *arguments: str, **settings: str) -> tuple[int, Any, str]:
    """Run the command; returns its exit code, its JSON, and what it printed besides."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "traces", "send", "--json", *arguments],
        cwd=folder,
        env=environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def test_calls_from_before_a_destination_was_set_arrive_there(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        sessions = [call(server) for _ in range(3)]
    with receiving() as otlp, receiving() as langfuse:
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "LANGFUSE_BASE_URL": langfuse.url, **KEYS}
        code, told, printed = send(tmp_path, "--since", "1h", **given)
        assert (code, told["calls"], printed) == (0, 3, "")
        for receiver, one in zip((otlp, langfuse), told["destinations"], strict=True):
            assert one["spans"] == len(receiver.spans()) > 3 * 7
            assert [receiver.turns(session) for session in sessions] == [{0, 1, 2}] * 3
        code, told, _ = send(tmp_path, sessions[0], "sess_unknown", **given)
        assert (code, told["calls"], told["missing"]) == (1, 1, ["sess_unknown"])
        assert send(tmp_path, "--since", "2999-01-01", **given)[:2][1]["calls"] == 0


def test_ids_are_those_of_the_call(tmp_path: Path) -> None:
    with receiving() as otlp:
        given = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{otlp.url}/v1/traces"}
        with serving(tmp_path, **given) as server:
            session = call(server)
        before = {(one.trace, one.span) for one in otlp.spans()}
        otlp.got.clear()
        assert send(tmp_path, session, **given)[0] == 0
        assert before <= {(one.trace, one.span) for one in otlp.spans()}


def test_a_destination_that_refuses_is_told_and_the_others_get_everything(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        session = call(server)
    with receiving() as otlp, receiving() as langfuse:
        langfuse.answer = lambda number: 401
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "LANGFUSE_BASE_URL": langfuse.url, **KEYS}
        code, told, printed = send(tmp_path, session, **given)
    assert (code, printed) == (1, "")
    taken, refused = told["destinations"]
    assert (taken["destination"], taken["refused"]) == ("otlp", 0)
    assert (refused["destination"], refused["spans"], refused["reason"]) == ("langfuse", 0, "HTTP 401")
    assert refused["refused"] == taken["spans"] > 0


def test_wrong_usage_is_told(tmp_path: Path) -> None:
    assert send(tmp_path)[0] == 2
    assert send(tmp_path, "--since", "yesterday")[0] == 2
    code, told, _ = send(tmp_path, "sess_x")
    assert (code, "no destination of traces is set" in told["error"]["message"]) == (1, True)
    code, told, _ = send(tmp_path, "sess_x", OTEL_EXPORTER_OTLP_ENDPOINT="nonsense")
    assert (code, "OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL" in told["error"]["message"]) == (1, True)
