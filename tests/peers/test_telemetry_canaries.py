"""Thirty calls full of personal data, and every byte that leaves a server about them, searched for it.

Looked at are the requests to all three kinds of receivers (as they were sent, and without gzip), `/metrics`, what the
server, its courier and `patchbay traces send` have logged, and the courier's files.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from peers.canaries import KEY_PATTERN, KEYS, MASKED, Hit, Place, hits_in, table
from peers.canary_calls import all_calls, is_over, sessions_of
from peers.canary_house import CALLS, COMMENT, MCP_START, PHONES, SECRET, canary_house
from peers.server_callers import run
from peers.server_process import Server, environment
from peers.telemetry_receivers import Receiver, receiving

pytestmark = [pytest.mark.sockets, pytest.mark.timed]

AZURE_KEY = "00000000-0000-0000-0000-000000000001"


@dataclass(frozen=True)
class Leaving:
    """What has left the server, by name, and what its record has of the calls."""

    sent: Mapping[str, bytes]
    sessions: list[Any]
    requests: int

    def hits(self) -> dict[str, list[Hit]]:
        """The canaries in each."""
        return {name: hits_in(what) for name, what in self.sent.items()}

    def recorded(self) -> list[Hit]:
        """The canaries in the record; of what the agent said those that were heard."""
        kept = json.loads(json.dumps(self.sessions))
        for entry in [entry for one in kept for turn in one["turns"] for entry in turn["entries"]]:
            if entry.get("speaker") == "agent":
                entry["text"] = entry["heard_text"]
        return hits_in(json.dumps(kept).encode())


def counted(hits: Iterable[Hit]) -> Counter[tuple[str, str]]:
    """How many canaries there are, by kind and place; those that are cut short are left out."""
    return Counter((hit.kind, hit.place.name) for hit in hits if hit.place is not None)


@pytest.fixture(
    params=[("none", "turn", "debug"), ("none", "call", "info"), ("text", "turn", "debug"), ("text", "call", "info")],
    ids=lambda given: " ".join(given[:2]),
)
def leaving(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Leaving]:
    """All calls of a server with this content and shape, and what has left it."""
    pytest.importorskip("azure.monitor.opentelemetry.exporter", reason="pip install 'patchbay[azure-monitor]'")
    content, shape, level = request.param
    settings = {
        "PATCHBAY_TELEMETRY__CONTENT": content,
        "PATCHBAY_TELEMETRY__TRACE": shape,
        "PATCHBAY_TELEMETRY__REDACT": KEY_PATTERN,
        "PATCHBAY_LOG_LEVEL": level,
    }
    with _receivers() as (receivers, destinations):
        with canary_house(tmp_path, **settings, **destinations) as server:
            run(lambda: all_calls(server), 120)
            sessions = _ended(server, receivers)
            figures = json.dumps(server.ask("/metrics")[1]).encode()
        again = _sent_again(server, {**settings, **destinations})
        files = [path for path in (tmp_path / "data" / "telemetry").glob("**/*") if path.is_file()]
        sent = {
            **{name: _everything(receiver) for name, receiver in receivers.items()},
            "/metrics": figures,
            "log": _log(server),
            "traces send": again,
            "courier's files": b"".join(path.read_bytes() for path in files),
        }
        requests = sum(len(receiver.asked) for receiver in receivers.values())
    return content, Leaving(sent, sessions, requests)


def test_no_canary_leaves_but_the_words_that_may(leaving: tuple[str, Leaving]) -> None:
    content, left = leaving
    in_record, hits = left.recorded(), left.hits()
    recorded, searched = counted(in_record), sum(map(len, left.sent.values()))
    print(
        f"\n{len(left.sessions)} calls, {left.requests} requests, {searched / 1e6:.1f} MB searched; content {content}"
    )
    print(f"{sum(recorded.values())} canaries in the record; hits, by where it was searched:")
    print("  " + ", ".join(f"{name} {len(found)}" for name, found in hits.items()))
    # The search finds what is there: the record has canaries of all kinds, from all places that hold words.
    assert len(left.sessions) == CALLS
    assert {place for _, place in recorded} >= {place.name for place in Place.known.values() if place.sent}
    assert Counter(one["end_reason"] for one in left.sessions)["server_fault"] == 6
    # Keys that are secret are not even in the record.
    assert {hit.call for hit in in_record if hit.kind == KEYS} == set(PHONES) - set(SECRET)
    wrong = {name: [str(hit) for hit in found if not _may_leave(hit, content)] for name, found in hits.items()}
    assert not any(wrong.values()), wrong
    if content == "text":
        may = [hit for hit in in_record if hit.place is not None and hit.place.sent]
        masked = counted(hit for hit in may if hit.kind in MASKED)
        names = counted(hit for hit in may if hit.kind == "name")
        print(f"masked kinds in words that were sent: n = {sum(masked.values())}, misses 0\n{table(masked)}")
        print(f"names in words that were sent:\n{table(names)}")
        assert counted(hits["langfuse"]) == names  # what may leave has left
        for name in ("otlp", "azure"):  # which have no scores
            assert counted(hits[name]) == Counter({one: n for one, n in names.items() if one[1] != COMMENT.name})


def _may_leave(hit: Hit, content: str) -> bool:
    """With content: names that were said or passed to tools. A name that is cut short is one of them."""
    return content == "text" and hit.kind == "name" and (hit.place is None or hit.place.sent)


@contextmanager
def _receivers() -> Iterator[tuple[dict[str, Receiver], dict[str, str]]]:
    with receiving() as otlp, receiving() as langfuse, receiving() as azure:
        yield (
            {"otlp": otlp, "langfuse": langfuse, "azure": azure},
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url,
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
                "LANGFUSE_SECRET_KEY": "sk-lf-1",
                "LANGFUSE_BASE_URL": langfuse.url,
                "APPLICATIONINSIGHTS_CONNECTION_STRING": (
                    f"InstrumentationKey={AZURE_KEY};IngestionEndpoint={azure.url}/"
                ),
            },
        )


def _ended(server: Server, receivers: Mapping[str, Receiver]) -> list[Any]:
    """All sessions, once every receiver has all turns and the ends of all calls."""
    receivers["otlp"].wait(lambda: is_over(sessions_of(server)), "the calls are not over")
    sessions = sessions_of(server)
    turns = sum(len(one["turns"]) for one in sessions)
    for name in ("otlp", "langfuse"):
        receiver = receivers[name]

        def has_all(receiver: Receiver = receiver) -> bool:
            kinds = Counter(span.name.partition(" ")[0] for span in receiver.spans())
            return (kinds["invoke_agent"], kinds["patchbay.call"]) == (turns, CALLS)

        receiver.wait(has_all, f"{name} has not got everything")
    azure = receivers["azure"]

    def has_turns() -> bool:
        sent = [one["data"]["baseData"].get("name", "") for one in azure.envelopes()]
        return sum(name.startswith("invoke_agent") for name in sent) == turns

    azure.wait(has_turns, "Azure Monitor has not got everything")
    return sessions


def _everything(receiver: Receiver) -> bytes:
    """All requests with address, headers and body, as sent and without gzip."""
    heads = [f"{one.path}\n{json.dumps(dict(one.headers), ensure_ascii=False)}\n" for one in receiver.asked]
    return "".join(heads).encode() + receiver.raw()


def _log(server: Server) -> bytes:
    """The log, without what a tool server has printed as it started, before any call: that is in this log only."""
    lines = server.log().splitlines()
    started = [line for line in lines if "mcp server wrote to stderr" in line]
    assert {hit.place for hit in hits_in("\n".join(started).encode()) if hit.call is not None} == {MCP_START}
    return "\n".join(line for line in lines if line not in started).encode()


def _sent_again(server: Server, settings: Mapping[str, str]) -> bytes:
    """What `patchbay traces send` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "traces", "send", "--since", "1h"],
        cwd=server.folder,
        env=environment(server.folder, settings),
        capture_output=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
