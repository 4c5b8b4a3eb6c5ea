"""`patchbay sessions`: what the store says of sessions, read beside the server that writes them."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from gateway.auth.keys import check_tenant
from gateway.cli.output import OutputLost, fail, output_closed, words_of, write_line
from gateway.clock import SystemClock
from gateway.config.settings import load_settings
from gateway.http.shapes import SessionShape
from gateway.logs import quiet_azure
from gateway.state.access import cosmos_access
from sessions.bounded import remember
from sessions.errors import VoiceError
from sessions.stores.contract import SESSION, BadCursor, BadDocument, ChangeReader, Changes, Document, StoreBusy
from sessions.stores.documents import SessionRecord, SessionState, session_from_document
from sessions.stores.opening import open_reader
from sessions.stores.store_meter import StoreMeter

POLL_S = 1.0
PAGE_DOCUMENTS = 20
# How many sessions are remembered, so that a session is not printed again when its recording is finished.
PRINTED_MAX_SESSIONS = 10_000
SHOWN_MAX_CHARACTERS = 100  # of a bad position in the message

log = logging.getLogger("patchbay.state")  # where the readers of stores log

sessions_app = typer.Typer(no_args_is_help=True, help="Sessions in the store.")


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that has ended, and the position in the store's changes after which to go on."""

    record: SessionRecord
    shape: SessionShape
    position: str

    def json_line(self) -> str:
        """All facts as one line of JSON: those of the HTTP API, the tenant, and the position."""
        facts = {"position": self.position, "tenant": self.record.tenant, **self.shape.model_dump(mode="json")}
        return json.dumps(facts)

    def text_line(self) -> str:
        """The main facts in one line for people."""
        record = self.record
        ended = datetime.fromtimestamp(record.started_at if record.ended_at is None else record.ended_at, UTC)
        return "  ".join(
            (
                f"{ended:%Y-%m-%dT%H:%M:%SZ}",
                record.session_id,
                f"{record.tenant}/{record.agent}",
                f"{record.summary.duration_ms / 1000:.1f} s",
                f"{record.summary.turns} turns",
                record.summary.end_reason or "-",
                f"recording {record.recording.state}",
                self.position,
            )
        )


class EndedSessions:
    """Finds the sessions that end in a store, in the order of their last change, each once."""

    def __init__(
        self, store: ChangeReader, position: str | None, tenant: str | None, skipped: Callable[[str], None]
    ) -> None:
        self.position = position
        self._store = store
        self._tenant = tenant  # None: of all tenants
        self._skipped = skipped
        self._printed: dict[tuple[str, str], None] = {}

    async def next(self) -> tuple[EndedSession | None, bool]:
        """Read on: the next ended session, if there is one in the next page, and whether more may be there at once.

        A document that cannot be read is passed to `skipped` as a message. Raises BadCursor and StoreFailed.
        """
        page = await self._page()
        self.position = page.position
        found = None
        for document in page.items:
            if self._is_new(document):
                found = self._read(document, page.position)
        for document in page.items:
            self._note(document)
        return found, bool(page.items)

    async def _page(self) -> Changes:
        """The next page of changes, cut after its first new session, so that its position belongs to that session."""
        limit = PAGE_DOCUMENTS
        while True:
            page = await self._store.changes(self.position, limit)
            new = [place for place, document in enumerate(page.items) if self._is_new(document)]
            if len(new) <= 1:
                return page
            limit = new[0] + 1

    def _is_new(self, document: Document) -> bool:
        return (
            document.get("type") == SESSION
            and document.get("state") == SessionState.ENDED
            and self._tenant in (None, document.get("tenant"))
            and _key(document) not in self._printed
        )

    def _note(self, document: Document) -> None:
        if document.get("type") != SESSION:
            return
        if document.get("state") == SessionState.ENDED:
            remember(self._printed, _key(document), None, PRINTED_MAX_SESSIONS)
        else:
            self._printed.pop(_key(document), None)

    def _read(self, document: Document, position: str) -> EndedSession | None:
        try:
            return EndedSession(session_from_document(document), SessionShape.model_validate(document), position)
        except BadDocument as error:
            self._skipped(f"{_named(document)} is skipped: {error}")
        except ValidationError:  # its text would show values of the document
            self._skipped(f"{_named(document)} is skipped: a field of its document has the wrong type")
        return None


def _key(document: Document) -> tuple[str, str]:
    return str(document.get("tenant")), str(document.get("session_id"))


def _named(document: Document) -> str:
    tenant, session_id = _key(document)
    return f"session {session_id} of tenant {tenant}"


async def follow_sessions(
    sessions: EndedSessions,
    show: Callable[[EndedSession], None],
    closed: Callable[[], bool],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Show sessions as they end until `closed`, which is asked between two reads. Raises BadCursor and StoreFailed."""
    while not closed():
        try:
            found, more = await sessions.next()
        except StoreBusy as busy:
            await sleep(max(busy.retry_after_ms / 1000, POLL_S))
            continue
        if found is not None:
            show(found)
        if not more:
            await sleep(POLL_S)


@sessions_app.command("follow")
def follow(
    since: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION", help="Go on after this position of a printed line; without it, from the start."
        ),
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only the sessions of this tenant.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, also for an error.")] = False,
) -> None:
    """Print sessions as they end, until Ctrl-C."""
    try:
        if tenant is not None:
            check_tenant(tenant)
    except ValueError as problem:
        fail(f"--tenant {tenant!r}: {problem}", 2, as_json=as_json)
    try:
        settings = load_settings()
        store = open_reader(settings.store_url, SystemClock(), cosmos=cosmos_access(settings, StoreMeter()))
        sessions = EndedSessions(store, since, tenant, _skip)
        asyncio.run(_follow(store, sessions, as_json=as_json))
    except KeyboardInterrupt:
        return
    except OutputLost as problem:
        if not problem.closed:
            fail(str(problem), 1, as_json=False)
    except BadCursor:
        _refuse_position(sessions.position, as_json=as_json)
    except (ValueError, VoiceError, OSError) as problem:
        fail(words_of(problem), 1, as_json=as_json)


async def _follow(store: ChangeReader, sessions: EndedSessions, *, as_json: bool) -> None:
    def show(session: EndedSession) -> None:
        write_line(session.json_line() if as_json else session.text_line())

    quiet_azure()
    left_out = _LeftOut()
    log.addHandler(left_out)
    await store.open()
    try:
        await follow_sessions(sessions, show, output_closed)
    finally:
        await store.close()
        log.removeHandler(left_out)


def _skip(message: str) -> None:
    sys.stderr.write(f"patchbay: {message}\n")


class _LeftOut(logging.Handler):
    """Names on standard error what the store's reader leaves out, because it is no document at all: each once."""

    def __init__(self) -> None:
        super().__init__()
        self._named: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, unless it was written before: a page is read again to cut it."""
        line = f"{record.getMessage()}: {getattr(record, 'reason', '')}"
        if line not in self._named:
            remember(self._named, line, None, PRINTED_MAX_SESSIONS)
            _skip(line)


def _refuse_position(position: str | None, *, as_json: bool) -> NoReturn:
    shown = repr(position)
    if len(shown) > SHOWN_MAX_CHARACTERS:
        shown = shown[:SHOWN_MAX_CHARACTERS] + "…"
    fail(
        f"--since {shown}: is no position in this store; give one that this command printed for the same store, "
        "or leave it out to begin with the oldest session",
        2,
        as_json=as_json,
    )
