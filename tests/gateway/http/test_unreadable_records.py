"""Records that cannot be read: each costs only itself, the log names it, and it can still be deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from support.api_world import RECORD, served

from gateway.app import Gateway
from gateway.http.errors import UNREADABLE
from sessions.record import Turn
from sessions.stores.contract import Document
from sessions.stores.documents import session_document, turn_document

Change = Callable[[Document], Any]


def _with(**fields: Any) -> Change:
    return lambda document: {**document, **fields}


BODIES: dict[str, Change] = {
    "newer schema": _with(schema=99),
    "no schema": lambda document: {name: value for name, value in document.items() if name != "schema"},
    "another type": _with(type="turn"),
    "a field of the wrong type": _with(summary="long words"),
    "a state that is none": _with(state="asleep"),
    "an empty object": lambda document: {},
    "not JSON": lambda document: b"{nonsense",
    "not an object": lambda document: b"[1, 2]",
    "nothing": lambda document: b"",
    "a number": lambda document: 17,
    "text that is not UTF-8": lambda document: b"\xff\xfe",
    "the depth of a well": lambda document: b"[" * 100_000,
}


def overwrite(gateway: Gateway, session_id: str, document_id: str, body: Any) -> None:
    """Write into the store's file as another program would."""
    raw = orjson.dumps(body) if isinstance(body, dict) else body
    with closing(sqlite3.connect(gateway.settings.store_url.removeprefix("sqlite://"))) as file, file:
        changed = file.execute(
            "UPDATE documents SET body = ? WHERE session_id = ? AND id = ?", (raw, session_id, document_id)
        )
        assert changed.rowcount == 1


async def spoil(gateway: Gateway, change: Change) -> None:
    """Store one more session, newer than the others, and make its record unreadable."""
    document = session_document(replace(RECORD, session_id="sess_bad", started_at=2000.0), ttl_s=None)
    await gateway.store.put(document, None)
    overwrite(gateway, "sess_bad", "session", change(document))


@pytest.mark.parametrize("body", BODIES)
def test_an_unreadable_session_is_left_out_of_lists_and_can_be_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        await spoil(gateway, BODIES[body])
        page = await client.get("/api/v1/sessions")
        assert (page.status_code, [found["session_id"] for found in page.json()["sessions"]]) == (200, ["sess_a"])
        named = [record for record in caplog.records if "sess_bad" in str(vars(record))]
        assert [record.levelname for record in named] == ["ERROR"]
        for path in ("", "/transcript", "/recording", "/events"):
            refused = await client.get(f"/api/v1/sessions/sess_bad{path}")
            assert (refused.status_code, refused.content) == (500, UNREADABLE.body())
        assert len(caplog.records) == 5
        assert all("sess_bad" in str(vars(record)) for record in caplog.records)
        assert "long words" not in caplog.text + str([vars(record) for record in caplog.records])
        assert (await client.get("/api/v1/sessions/sess_a")).status_code == 200
        assert (await client.delete("/api/v1/sessions/sess_bad")).status_code == 200
        assert (await client.get("/api/v1/sessions/sess_bad")).status_code == 404

    served(tmp_path, scenario, store=f"sqlite://{tmp_path}/patchbay.db")


def test_pages_go_on_past_unreadable_sessions(tmp_path: Path) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        for number in range(12):
            record = replace(RECORD, session_id=f"s{number:02}", started_at=3000.0 - number)
            await gateway.store.put(session_document(record, ttl_s=None), None)
        with closing(sqlite3.connect(f"{tmp_path}/patchbay.db")) as file, file:
            for number, start in ((1, "soon"), (4, "soon"), (7, None)):
                file.execute("UPDATE documents SET started_at = ? WHERE session_id = ?", (start, f"s{number:02}"))
        overwrite(gateway, "s04", "session", b"{nonsense")
        overwrite(gateway, "s09", "session", b"{nonsense")
        found: list[str] = []
        after: str | None = None
        while True:
            params: dict[str, Any] = {"limit": 1} if after is None else {"limit": 1, "after": after}
            page = (await client.get("/api/v1/sessions", params=params)).json()
            found += [session["session_id"] for session in page["sessions"]]
            after = page["next_cursor"]
            if after is None:
                break
        # A row without a start comes after all others, where no cursor reaches.
        assert sorted(found) == [*(f"s{number:02}" for number in range(12) if number not in (4, 7, 9)), "sess_a"]

    served(tmp_path, scenario, store=f"sqlite://{tmp_path}/patchbay.db")


@pytest.mark.parametrize("body", BODIES)
def test_an_unreadable_turn_is_left_out_of_its_transcript(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: str
) -> None:
    change = {"another type": _with(type="session"), "a field of the wrong type": _with(entries="long words")}
    if body == "a state that is none":
        return  # turns have no state

    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        document = turn_document("default", "sess_a", Turn(1, 900, 1000, []), ttl_s=None)
        await gateway.store.put(document, None)
        overwrite(gateway, "sess_a", "turn_00001", change.get(body, BODIES[body])(document))
        transcript = await client.get("/api/v1/sessions/sess_a/transcript")
        assert [turn["index"] for turn in transcript.json()["turns"]] == [0]
        (record,) = caplog.records
        assert "turn_00001" in str(vars(record))
        assert "sess_a" in str(vars(record))

    served(tmp_path, scenario, store=f"sqlite://{tmp_path}/patchbay.db")


@pytest.mark.parametrize("name", [17, ["recording.flac"], "../../secret", "a/b", ".hidden", "", "x" * 300])
def test_a_record_that_names_no_possible_file_is_unreadable(tmp_path: Path, name: Any) -> None:
    async def scenario(gateway: Gateway, client: httpx.AsyncClient) -> None:
        document = session_document(RECORD, ttl_s=None)
        recording = {**dict(document["recording"]), "stereo": name, "events": name}  # type: ignore[arg-type]
        overwrite(gateway, "sess_a", "session", {**document, "recording": recording})
        for path in ("recording", "events"):
            refused = await client.get(f"/api/v1/sessions/sess_a/{path}")
            assert (refused.status_code, refused.content) == (500, UNREADABLE.body())

    served(tmp_path, scenario, store=f"sqlite://{tmp_path}/patchbay.db")
