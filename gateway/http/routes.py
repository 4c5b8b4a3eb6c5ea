"""The HTTP API for agents, sessions and live calls. Every route checks the API key and shows one tenant's data only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Depends, Query, Request, Response

from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Caller
from gateway.auth.http import UNREADABLE_QUERY, EntranceRefused, RequireCaller
from gateway.auth.requests import Refusal
from gateway.auth.secret_sessions import SecretSession
from gateway.blobs.contract import BadBlobName, BlobMissing, Blobs
from gateway.calls.live import LiveCalls
from gateway.http import examples, shapes
from gateway.http.bodies import TOO_LARGE, TOO_SLOW, CallerFirstRoute
from gateway.http.cursors import Cursors
from gateway.http.downloads import StoredFile, download
from gateway.http.errors import NO_BLOBS, NO_STORE, UNREADABLE, Responses, refusals
from gateway.http.file_answers import EVENTS, EVENTS_MEAN, HEADERS, SOUND, SOUND_MEANS, file_answers
from gateway.http.records import session_shape, session_shapes, turn_shapes
from gateway.http.scores import ScoreParts, score_routes
from gateway.http.traces import TraceLinks
from gateway.realtime import fields
from sessions.errors import WireError
from sessions.ports import Clock, Json, JsonObject
from sessions.stores.contract import BadCursor, BadDocument, Document, Missing, Store
from sessions.stores.documents import SESSION_ID, TURN
from sessions.stores.fields import Fields, boot_of

NO_SESSION = Refusal(404, "session_not_found", "There is no such session.")
NO_RECORDING = Refusal(404, "recording_not_found", "There is no recording of this session.")
NOT_READY = Refusal(409, "recording_not_ready", "The recording is being made; try again in a moment.", retry_after_s=1)
NO_EVENTS = Refusal(404, "events_not_found", "There is no event log of this session.")
STILL_LIVE = Refusal(409, "session_live", "The call has not ended; hang it up first.")
NO_CALL = Refusal(404, "call_not_found", "This process has no such live call.")
BAD_CURSOR = Refusal(400, "bad_cursor", "The cursor is not valid for this list; use a page's next_cursor unchanged.")

# Refusals that OpenAPI shows: first those of the entrance, then those of other modules.
AT_THE_ENTRANCE = (
    UNREADABLE_QUERY,
    Refusal(400, "ambiguous_credentials", "The request contains two different credentials."),
    Refusal(401, "missing_api_key", "This server requires an API key."),
    Refusal(401, "invalid_api_key", "This server does not know the API key."),
    Refusal(403, "api_key_required", "A client secret is not enough here; use an API key."),
    Refusal(403, "origin_not_allowed", "Pages from that origin may not use this server."),
)
BAD_LIMIT = WireError("Invalid 'limit': Input should be less than or equal to 200.", param="limit")
BAD_SESSIONS = (
    Refusal(400, "invalid_json", "The message is not valid JSON: unexpected end of data: line 1 column 2 (char 1)"),
    fields.missing("session.model"),
    WireError("There is no such agent.", code="model_not_found", param="session.model"),
    fields.invalid("session.type", "expected one of 'realtime'"),
)


class AgentList(Protocol):
    """What the API needs to know about the agents."""

    def shown(self) -> Sequence[shapes.AgentShape]:
        """All agents, sorted by name."""
        ...

    def secret_session(self, requested: JsonObject) -> SecretSession:
        """The session that a client secret for this requested session opens. Raises WireError if it is invalid."""
        ...


@dataclass(frozen=True, slots=True)
class ApiParts:
    """The parts that the routes use."""

    agents: AgentList
    store: Store
    blobs: Blobs
    calls: LiveCalls
    secrets: ClientSecrets
    clock: Clock
    caller: RequireCaller
    forget: Callable[[str, str], Awaitable[None]]  # tenant, session: remove documents, blobs and spools
    cursors: Cursors
    traces: TraceLinks
    scored: Callable[[Document, Document], None]  # takes the documents of a session and of its new score
    alive_elsewhere: Callable[[str | None], Awaitable[bool]]  # whether another instance with this boot id is alive


def api_router(parts: ApiParts) -> APIRouter:
    """Make all routes under `/api/v1`, and `/v1/realtime/client_secrets`."""
    router = APIRouter(route_class=CallerFirstRoute)
    key = Depends(parts.caller)
    _agent_routes(router, parts, key)
    _session_routes(router, parts, key)
    _recording_routes(router, parts, key)
    _call_routes(router, parts, key)
    reading = (NO_SESSION, NO_STORE)
    session = partial(_session, parts)
    score_routes(router, ScoreParts(parts.store, parts.clock, session, parts.scored, _answers, reading), key)
    return router


def _answers(example: Json, *known: Refusal | WireError, status: int = 200) -> Responses:
    """The OpenAPI entries for an operation's answers: the successful one, and each known refusal."""
    success: Responses = {status: {"content": {"application/json": {"example": example}}}}
    return success | refusals(*AT_THE_ENTRANCE, *known)


def _agent_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    @router.get("/api/v1/agents", tags=["agents"], responses=_answers(examples.AGENTS))
    async def list_agents(caller: Caller = key) -> shapes.AgentList:
        """All agents; for an agent that cannot be called, the reason."""
        return shapes.AgentList(agents=list(parts.agents.shown()))

    @router.post(
        "/v1/realtime/client_secrets",
        tags=["client secrets"],
        responses=_answers(examples.SECRET, *BAD_SESSIONS, TOO_LARGE, TOO_SLOW),
    )
    async def mint_client_secret(
        requested: Annotated[
            shapes.SecretRequest, Body(openapi_examples={"voice": {"value": examples.SECRET_REQUEST}})
        ],
        caller: Caller = key,
    ) -> shapes.SecretAnswer:
        """Make a short-lived key for a browser, which is valid only for calls to one agent."""
        session = parts.agents.secret_session(requested.session)
        try:
            value, expires_at = parts.secrets.mint(
                tenant=caller.tenant,
                agent=session.agent,
                session=session.defaults,
                now_s=parts.clock.wall_s(),
                life_s=requested.expires_after.seconds,
            )
        except ValueError as error:
            raise WireError(f"Invalid 'session': {error}.", param="session") from error
        return shapes.SecretAnswer(value=value, expires_at=expires_at, session=session.shown)


def _session_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    @router.get(
        "/api/v1/sessions", tags=["sessions"], responses=_answers(examples.SESSIONS, BAD_LIMIT, BAD_CURSOR, NO_STORE)
    )
    async def list_sessions(
        caller: Caller = key,
        agent: str | None = None,
        state: Annotated[str | None, Query(pattern="^(live|ended)$")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: str | None = None,
    ) -> shapes.SessionPage:
        """Sessions, newest first."""
        try:
            begin = parts.cursors.read(caller.tenant, after)
            page = await parts.store.sessions(caller.tenant, limit=limit, after=begin, agent=agent, state=state)
        except BadCursor as error:
            raise EntranceRefused(BAD_CURSOR) from error
        cursor = parts.cursors.shown(caller.tenant, page.next_cursor)
        return shapes.SessionPage(
            sessions=[parts.traces.session(one) for one in session_shapes(page.items)], next_cursor=cursor
        )

    @router.get(
        "/api/v1/sessions/{session_id}",
        tags=["sessions"],
        responses=_answers(examples.SESSION, NO_SESSION, NO_STORE, UNREADABLE),
    )
    async def one_session(session_id: str, caller: Caller = key) -> shapes.SessionShape:
        """One session, with its summary."""
        return parts.traces.session(session_shape(await _session(parts, caller, session_id)))

    @router.get(
        "/api/v1/sessions/{session_id}/transcript",
        tags=["sessions"],
        responses=_answers(examples.TRANSCRIPT, NO_SESSION, NO_STORE, UNREADABLE),
    )
    async def transcript(session_id: str, caller: Caller = key) -> shapes.Transcript:
        """The conversation by turns: what was said, how much of it was heard, and which tools ran."""
        session_shape(await _session(parts, caller, session_id))
        turns = await parts.store.query(caller.tenant, session_id, TURN)
        shown = [parts.traces.turn(session_id, one) for one in turn_shapes(turns)]
        return shapes.Transcript(session_id=session_id, turns=shown)

    @router.delete(
        "/api/v1/sessions/{session_id}",
        tags=["sessions"],
        responses=_answers(examples.DELETED, NO_SESSION, STILL_LIVE, NOT_READY, NO_STORE, NO_BLOBS),
    )
    async def delete_session(session_id: str, caller: Caller = key) -> shapes.Deleted:
        """Delete a session that has ended, with its record, recording and event log."""
        with suppress(BadDocument):  # a record that cannot be read can be deleted
            await _refuse_unfinished(parts, await _session(parts, caller, session_id))
        if parts.calls.find(caller.tenant, session_id) is not None:
            raise EntranceRefused(STILL_LIVE)
        await parts.forget(caller.tenant, session_id)
        return shapes.Deleted(session_id=session_id)


def _recording_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    common = (*AT_THE_ENTRANCE, NO_SESSION, NOT_READY, NO_STORE, NO_BLOBS, UNREADABLE)

    @router.get(
        "/api/v1/sessions/{session_id}/recording",
        tags=["sessions"],
        response_class=Response,
        responses=file_answers(SOUND, SOUND_MEANS, *common, NO_RECORDING),
        openapi_extra=HEADERS,
    )
    async def recording(request: Request, session_id: str, caller: Caller = key) -> Response:
        """The recording of the call, as it was heard; a `Range` gets a part of it."""
        return await _file(parts, request, caller, session_id, "stereo", NO_RECORDING)

    @router.get(
        "/api/v1/sessions/{session_id}/events",
        tags=["sessions"],
        response_class=Response,
        responses=file_answers(EVENTS, EVENTS_MEAN, *common, NO_EVENTS),
        openapi_extra=HEADERS,
    )
    async def events(request: Request, session_id: str, caller: Caller = key) -> Response:
        """The event log, from which the call can be replayed; a `Range` gets a part of it."""
        return await _file(parts, request, caller, session_id, "events", NO_EVENTS)


def _call_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    @router.get("/api/v1/calls", tags=["live calls"], responses=_answers(examples.LIVES))
    async def live_calls(caller: Caller = key) -> shapes.LiveList:
        """The live calls of this process."""
        found = [
            shapes.LiveShape(
                session_id=live.session_id,
                agent=live.agent,
                protocol=live.protocol,
                started_at=live.started_at,
                turns=len(live.running.call.turns),
            )
            for live in parts.calls.of(caller.tenant)
        ]
        return shapes.LiveList(calls=found)

    @router.post(
        "/api/v1/calls/{session_id}/hang_up",
        tags=["live calls"],
        status_code=202,
        responses=_answers(examples.LIVE, NO_CALL, status=202),
    )
    async def hang_up(session_id: str, caller: Caller = key) -> shapes.LiveShape:
        """End a call now; its record is written as usual."""
        live = parts.calls.find(caller.tenant, session_id)
        if live is None:
            raise EntranceRefused(NO_CALL)
        turns = len(live.running.call.turns)
        live.running.hang_up("hung_up_by_operator", 1000, "hung up by the operator")
        return shapes.LiveShape(
            session_id=session_id, agent=live.agent, protocol=live.protocol, started_at=live.started_at, turns=turns
        )


async def _session(parts: ApiParts, caller: Caller, session_id: str) -> Document:
    try:
        return await parts.store.get(caller.tenant, session_id, SESSION_ID)
    except Missing:
        raise EntranceRefused(NO_SESSION) from None


async def _refuse_unfinished(parts: ApiParts, found: Document) -> None:
    """Refuse to delete a session while another instance would still add files to it. Raises EntranceRefused."""
    shape = session_shape(found)
    refusal = STILL_LIVE if shape.state == "live" else NOT_READY if shape.recording.state == "running" else None
    if refusal is not None and await parts.alive_elsewhere(boot_of(found)):
        raise EntranceRefused(refusal)


async def _file(
    parts: ApiParts, request: Request, caller: Caller, session_id: str, kind: str, absent: Refusal
) -> Response:
    """Send the file that the recording's field `kind` names. Raises EntranceRefused, BadDocument and BlobFailed."""
    found = await _session(parts, caller, session_id)
    if session_shape(found).recording.state == "running":
        raise EntranceRefused(NOT_READY)
    name = Fields(found).object("recording").text_or_none(kind)
    if name is None:
        raise EntranceRefused(absent)
    # A file is complete before its record names it, and whatever replaces the file writes the record once more.
    etag = found.get("etag")
    try:
        file = StoredFile(caller.tenant, session_id, name, etag if isinstance(etag, str) else None)
        return await download(request, parts.blobs, file)
    except BlobMissing:
        raise EntranceRefused(absent) from None
    except BadBlobName as error:
        raise BadDocument(f"field {kind!r} of a recording: {error}") from error
