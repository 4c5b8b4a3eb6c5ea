"""Agents, sessions, live calls over HTTP. Every route asks for a key, where keys are set, and shows one tenant only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, Depends, Query, Response
from fastapi.responses import FileResponse, StreamingResponse

from gateway.api import examples, shapes
from gateway.api.bodies import TOO_LARGE, TOO_SLOW, CallerFirstRoute
from gateway.api.errors import NO_STORE, Responses, refusals
from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Caller
from gateway.auth.http import UNREADABLE_QUERY, EntranceRefused, RequireCaller
from gateway.auth.requests import Refusal
from gateway.auth.secret_sessions import SecretSession
from gateway.live import CallBoard
from gateway.realtime import fields
from gateway.recording.blobs import BlobMissing, Blobs
from sessions.documents import SESSION_ID
from sessions.errors import WireError
from sessions.ports import Clock, Json, JsonObject
from sessions.stores.contract import BadCursor, Document, Missing, Store

NO_SESSION = Refusal(404, "session_not_found", "There is no such session.")
NO_RECORDING = Refusal(404, "recording_not_found", "There is no recording of this session.")
NOT_READY = Refusal(409, "recording_not_ready", "The recording is being made; ask again in a moment.", retry_after_s=1)
NO_EVENTS = Refusal(404, "events_not_found", "No event log was kept of this session.")
STILL_LIVE = Refusal(409, "session_live", "The call is going on; hang it up first.")
NO_CALL = Refusal(404, "call_not_found", "No such call is going on here.")
BAD_CURSOR = Refusal(400, "bad_cursor", "The cursor is not this list's; give the page's next_cursor as it came.")
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac"}
BINARY = {"type": "string", "format": "binary"}

# For OpenAPI: what else an operation may answer. The entrance decides on the first, other modules on the rest.
AT_THE_ENTRANCE = (
    UNREADABLE_QUERY,
    Refusal(400, "ambiguous_credentials", "The request holds two different credentials."),
    Refusal(401, "missing_api_key", "This server asks for an API key."),
    Refusal(401, "invalid_api_key", "The API key is not known here."),
    Refusal(403, "api_key_required", "A client secret does not open this; use an API key."),
    Refusal(403, "origin_not_allowed", "Pages from that origin may not use this server."),
)
BAD_LIMIT = WireError("Invalid 'limit': Input should be less than or equal to 200.", param="limit")
BAD_WISHES = (
    Refusal(400, "invalid_json", "The message is not valid JSON: unexpected end of data: line 1 column 2 (char 1)"),
    fields.missing("session.model"),
    WireError("There is no such agent.", code="model_not_found", param="session.model"),
    fields.invalid("session.type", "expected one of 'realtime'"),
)


class AgentList(Protocol):
    """What the API needs to know of the agents."""

    def shown(self) -> Sequence[shapes.AgentShape]:
        """Every agent, by name."""
        ...

    def secret_session(self, wish: JsonObject) -> SecretSession:
        """The session that a client secret made for this wish opens. Raises WireError."""
        ...


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the routes work on."""

    agents: AgentList
    store: Store
    blobs: Blobs
    calls: CallBoard
    secrets: ClientSecrets
    clock: Clock
    caller: RequireCaller
    forget: Callable[[str, str], Awaitable[None]]  # tenant, session: remove documents, blobs and spools


def api_router(parts: ApiParts) -> APIRouter:
    """All routes under `/api/v1`, and `/v1/realtime/client_secrets`."""
    router = APIRouter(route_class=CallerFirstRoute)
    key = Depends(parts.caller)
    _agent_routes(router, parts, key)
    _session_routes(router, parts, key)
    _kept_routes(router, parts, key)
    _call_routes(router, parts, key)
    return router


def _answers(example: Json, *known: Refusal | WireError, status: int = 200) -> Responses:
    """What OpenAPI shows of an operation's answers: one that went well, and each known refusal."""
    well: Responses = {status: {"content": {"application/json": {"example": example}}}}
    return well | refusals(*AT_THE_ENTRANCE, *known)


def _agent_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    @router.get("/api/v1/agents", tags=["agents"], responses=_answers(examples.AGENTS))
    async def list_agents(caller: Caller = key) -> shapes.AgentList:
        """All agents, with the reason where one cannot be called."""
        return shapes.AgentList(agents=list(parts.agents.shown()))

    @router.post(
        "/v1/realtime/client_secrets",
        tags=["client secrets"],
        responses=_answers(examples.SECRET, *BAD_WISHES, TOO_LARGE, TOO_SLOW),
    )
    async def mint_client_secret(
        wanted: Annotated[shapes.SecretRequest, Body(openapi_examples={"voice": {"value": examples.SECRET_WISH}})],
        caller: Caller = key,
    ) -> shapes.SecretAnswer:
        """A short-lived key for a browser: it opens calls to one agent, and nothing else."""
        session = parts.agents.secret_session(wanted.session)
        try:
            value, expires_at = parts.secrets.mint(
                tenant=caller.tenant,
                agent=session.agent,
                session=session.defaults,
                now_s=parts.clock.wall_s(),
                life_s=wanted.expires_after.seconds,
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
            page = await parts.store.sessions(caller.tenant, limit=limit, after=after, agent=agent, state=state)
        except BadCursor as error:
            raise EntranceRefused(BAD_CURSOR) from error
        found = [shapes.SessionShape.model_validate(document) for document in page.items]
        return shapes.SessionPage(sessions=found, next_cursor=page.next_cursor)

    @router.get(
        "/api/v1/sessions/{session_id}",
        tags=["sessions"],
        responses=_answers(examples.SESSION, NO_SESSION, NO_STORE),
    )
    async def one_session(session_id: str, caller: Caller = key) -> shapes.SessionShape:
        """One session's facts and sums."""
        return shapes.SessionShape.model_validate(await _session(parts, caller, session_id))

    @router.get(
        "/api/v1/sessions/{session_id}/transcript",
        tags=["sessions"],
        responses=_answers(examples.TRANSCRIPT, NO_SESSION, NO_STORE),
    )
    async def transcript(session_id: str, caller: Caller = key) -> shapes.Transcript:
        """The talk, turn by turn: what was said, what of it was heard, which tools ran."""
        await _session(parts, caller, session_id)
        turns = await parts.store.query(caller.tenant, session_id, "turn")
        found = [shapes.TurnShape.model_validate(document) for document in turns]
        return shapes.Transcript(session_id=session_id, turns=sorted(found, key=lambda turn: turn.index))

    @router.delete(
        "/api/v1/sessions/{session_id}",
        tags=["sessions"],
        responses=_answers(examples.DELETED, NO_SESSION, STILL_LIVE, NO_STORE),
    )
    async def delete_session(session_id: str, caller: Caller = key) -> shapes.Deleted:
        """Remove a session that has ended, with its record, recording and event log."""
        await _session(parts, caller, session_id)
        if parts.calls.find(caller.tenant, session_id) is not None:
            raise EntranceRefused(STILL_LIVE)
        await parts.forget(caller.tenant, session_id)
        return shapes.Deleted(session_id=session_id)


def _kept_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    common = (*AT_THE_ENTRANCE, NO_SESSION, NOT_READY, NO_STORE)
    sound = {kind: {"schema": BINARY, "example": examples.SOUND} for kind in MEDIA_TYPES.values()}
    lines = {"application/jsonl": {"schema": {"type": "string"}, "example": examples.EVENTS}}

    @router.get(
        "/api/v1/sessions/{session_id}/recording",
        tags=["sessions"],
        response_class=FileResponse,
        responses={
            200: {"content": sound, "description": "Stereo: the caller left, the agent right, as heard"},
            **refusals(*common, NO_RECORDING),
        },
    )
    async def recording(session_id: str, caller: Caller = key) -> Response:
        """The sound of the call, as it was heard."""
        kept = _object((await _session(parts, caller, session_id)).get("recording"))
        if kept.get("state") == "running":
            raise EntranceRefused(NOT_READY)
        return await _blob(parts, caller, session_id, kept.get("stereo"), NO_RECORDING)

    @router.get(
        "/api/v1/sessions/{session_id}/events",
        tags=["sessions"],
        response_class=FileResponse,
        responses={
            200: {"content": lines, "description": "One message a line, as a replay file"},
            **refusals(*common, NO_EVENTS),
        },
    )
    async def events(session_id: str, caller: Caller = key) -> Response:
        """The event log, which replays the call."""
        kept = _object((await _session(parts, caller, session_id)).get("recording"))
        if kept.get("state") == "running":
            raise EntranceRefused(NOT_READY)
        return await _blob(parts, caller, session_id, kept.get("events"), NO_EVENTS)


def _call_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    @router.get("/api/v1/calls", tags=["live calls"], responses=_answers(examples.LIVES))
    async def live_calls(caller: Caller = key) -> shapes.LiveList:
        """The calls that this process carries now."""
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
        """End a call now; its record is written as for any other."""
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


async def _blob(parts: ApiParts, caller: Caller, session_id: str, name: Json, absent: Refusal) -> Response:
    if not isinstance(name, str):
        raise EntranceRefused(absent)
    media_type = MEDIA_TYPES.get(name.rpartition(".")[2], "application/jsonl")
    path = parts.blobs.local_path(caller.tenant, session_id, name)
    if path is not None:
        return FileResponse(path, media_type=media_type, filename=f"{session_id}-{name}")
    try:
        size = await parts.blobs.size(caller.tenant, session_id, name)
    except BlobMissing:
        raise EntranceRefused(absent) from None
    pieces = parts.blobs.read(caller.tenant, session_id, name)
    return StreamingResponse(pieces, media_type=media_type, headers={"content-length": str(size)})


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}
