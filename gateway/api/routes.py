"""Agents, sessions, live calls over HTTP. Every route asks for a key, where keys are set, and shows one tenant only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from gateway.api import shapes
from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Caller, KeyKind
from gateway.auth.http import EntranceRefused
from gateway.auth.requests import Refusal
from gateway.live import CallBoard
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
KEY_ONLY = Refusal(403, "api_key_required", "A client secret does not open this; use an API key.")
MEDIA_TYPES = {"wav": "audio/wav", "flac": "audio/flac"}


class AgentList(Protocol):
    """What the API needs to know of the agents."""

    def shown(self) -> Sequence[shapes.AgentShape]:
        """Every agent, by name."""
        ...

    def secret_session(self, agent: str | None, session: JsonObject, tenant: str) -> dict[str, Json]:
        """The effective session that a client secret with these defaults opens. Raises WireError."""
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
    caller: Callable[[Request], Awaitable[Caller]]
    forget: Callable[[str, str], Awaitable[None]]  # tenant, session: remove documents, blobs and spools


def api_router(parts: ApiParts) -> APIRouter:
    """All routes under `/api/v1`, and `/v1/realtime/client_secrets`."""
    errors: dict[int | str, dict[str, Any]] = {
        401: {"model": shapes.ErrorAnswer, "description": "No key, or one that is not known"},
        404: {"model": shapes.ErrorAnswer, "description": "No such thing, for this tenant"},
    }
    router = APIRouter(responses=errors)
    key = Depends(parts.caller)
    _agent_routes(router, parts, key)
    _session_routes(router, parts, key)
    _kept_routes(router, parts, key)
    _call_routes(router, parts, key)
    return router


def _agent_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    @router.get("/api/v1/agents", tags=["agents"])
    async def list_agents(caller: Caller = key) -> shapes.AgentList:
        """All agents, with the reason where one cannot be called."""
        return shapes.AgentList(agents=list(parts.agents.shown()))

    @router.post("/v1/realtime/client_secrets", tags=["client secrets"])
    async def mint_client_secret(wanted: shapes.SecretRequest, caller: Caller = key) -> shapes.SecretAnswer:
        """A short-lived key for a browser: it opens calls to one agent, and nothing else."""
        if caller.key_kind is KeyKind.CLIENT_SECRET:
            raise EntranceRefused(KEY_ONLY)
        model = wanted.session.get("model")
        agent = model if isinstance(model, str) and model else None
        try:
            session = parts.agents.secret_session(agent, wanted.session, caller.tenant)
            value, expires_at = parts.secrets.mint(
                tenant=caller.tenant,
                agent=agent,
                session={key: entry for key, entry in wanted.session.items() if key != "model"} or None,
                now_s=parts.clock.wall_s(),
                life_s=wanted.expires_after.seconds,
            )
        except WireError as error:
            raise EntranceRefused(Refusal(400, error.code, error.message)) from error
        except ValueError as error:
            raise EntranceRefused(Refusal(400, "invalid_value", str(error))) from error
        return shapes.SecretAnswer(value=value, expires_at=expires_at, session=session)


def _session_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    @router.get("/api/v1/sessions", tags=["sessions"])
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
            raise EntranceRefused(Refusal(400, "bad_cursor", str(error))) from error
        found = [shapes.SessionShape.model_validate(document) for document in page.items]
        return shapes.SessionPage(sessions=found, next_cursor=page.next_cursor)

    @router.get("/api/v1/sessions/{session_id}", tags=["sessions"])
    async def one_session(session_id: str, caller: Caller = key) -> shapes.SessionShape:
        """One session's facts and sums."""
        return shapes.SessionShape.model_validate(await _session(parts, caller, session_id))

    @router.get("/api/v1/sessions/{session_id}/transcript", tags=["sessions"])
    async def transcript(session_id: str, caller: Caller = key) -> shapes.Transcript:
        """The talk, turn by turn: what was said, what of it was heard, which tools ran."""
        await _session(parts, caller, session_id)
        turns = await parts.store.query(caller.tenant, session_id, "turn")
        found = [shapes.TurnShape.model_validate(document) for document in turns]
        return shapes.Transcript(session_id=session_id, turns=sorted(found, key=lambda turn: turn.index))

    @router.delete("/api/v1/sessions/{session_id}", tags=["sessions"], responses={409: {"model": shapes.ErrorAnswer}})
    async def delete_session(session_id: str, caller: Caller = key) -> shapes.Deleted:
        """Remove a session that has ended, with its record, recording and event log."""
        await _session(parts, caller, session_id)
        if parts.calls.find(caller.tenant, session_id) is not None:
            raise EntranceRefused(STILL_LIVE)
        await parts.forget(caller.tenant, session_id)
        return shapes.Deleted(session_id=session_id)


def _kept_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    sound: dict[str, dict[str, str]] = {"audio/wav": {}, "audio/flac": {}}

    @router.get(
        "/api/v1/sessions/{session_id}/recording",
        tags=["sessions"],
        response_class=FileResponse,
        responses={200: {"content": sound, "description": "Stereo: the caller left, the agent right, as heard"}},
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
        responses={200: {"content": {"application/jsonl": {}}, "description": "One message a line, as a replay file"}},
    )
    async def events(session_id: str, caller: Caller = key) -> Response:
        """The event log, which replays the call."""
        kept = _object((await _session(parts, caller, session_id)).get("recording"))
        if kept.get("state") == "running":
            raise EntranceRefused(NOT_READY)
        return await _blob(parts, caller, session_id, kept.get("events"), NO_EVENTS)


def _call_routes(router: APIRouter, parts: ApiParts, key: Any) -> None:
    @router.get("/api/v1/calls", tags=["live calls"])
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

    @router.post("/api/v1/calls/{session_id}/hang_up", tags=["live calls"], status_code=202)
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
