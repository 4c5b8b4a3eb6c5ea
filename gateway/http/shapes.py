"""The JSON objects of the HTTP API, as OpenAPI shows them. Times are in Unix seconds, durations in milliseconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.http.account_shapes import Cost, DialShape, ResponseShape, TranscriptionShape, UsageShape


class Shape(BaseModel):
    """A JSON object of the API."""

    model_config = ConfigDict(extra="ignore")


class ToolServerShape(Shape):
    """A tool server that is not connected."""

    server: Annotated[str, Field(description="its name in the MCP configuration", examples=["crm"])]
    reason: Annotated[str, Field(examples=["its program ended with code 1"])]


class AgentShape(Shape):
    """An agent that callers can call."""

    name: Annotated[str, Field(examples=["front-desk"])]
    description: Annotated[str, Field(examples=["Takes table bookings for a restaurant"])]
    model: Annotated[str, Field(examples=["local/offline"])]
    version: Annotated[str, Field(description="a digest of the agent's file", examples=["5d1f2c9a"])]
    available: bool
    reason: Annotated[str | None, Field(examples=["OPENAI_API_KEY is not set"])] = None
    tool_servers_down: Annotated[
        list[ToolServerShape],
        Field(description="the tool servers that it may use and that are not connected; it can be called without them"),
    ] = []


class AgentList(Shape):
    """All agents, sorted by name."""

    agents: list[AgentShape]


class ProblemShape(Shape):
    """An error that the model reported, by its service's short code; a code of unusual form is shown as `other`."""

    code: Annotated[str, Field(examples=["rate_limit_exceeded"])]
    type: Annotated[str | None, Field(examples=["server_error"])] = None


class CountedProblem(ProblemShape):
    """An error that the model reported, and how often in one call."""

    count: int


class LineShape(Shape):
    """How the line of a caller on the telephone was."""

    late_ms: Annotated[int, Field(description="sound that came late, and was kept")] = 0
    filled_ms: Annotated[int, Field(description="silence that the model got in the place of missing sound")] = 0
    clipped_ms: Annotated[int, Field(description="sound that came too late, and was dropped")] = 0


class SummaryShape(Shape):
    """The totals of a call."""

    turns: Annotated[int, Field(examples=[4])]
    caller_audio_ms: Annotated[int, Field(examples=[31240])]
    agent_audio_ms: Annotated[int, Field(examples=[18900])]
    dropped_audio_ms: int = 0
    redials: Annotated[int, Field(description="how often the connection to the model was opened again")] = 0
    problems: Annotated[list[CountedProblem], Field(description="errors that the model reported")] = []
    line: Annotated[LineShape | None, Field(description="None for a caller without a telephone")] = None
    duration_ms: Annotated[int, Field(examples=[42000])]
    usage: UsageShape
    outside: Annotated[UsageShape, Field(description="of responses beside the conversation; contained in `usage`")] = (
        UsageShape()
    )
    cost_nano: Cost = None
    transcriptions: Annotated[list[TranscriptionShape], Field(description="by model")] = []


class RecordingShape(Shape):
    """The state of the call's recording."""

    state: Literal["off", "running", "ready", "failed"]
    complete: bool
    rate_hz: int | None = None
    duration_ms: int | None = None


class CallerShape(Shape):
    """What the caller's protocol says of the caller; a Realtime client says nothing."""

    number: Annotated[str | None, Field(description="of the caller", examples=["+4930123456"])] = None
    called: Annotated[str | None, Field(description="the number that was called", examples=["+4989123456"])] = None
    direction: Literal["inbound", "outbound"] = "inbound"
    metadata: Annotated[dict[str, str], Field(description="from the carrier", examples=[{"order": "17"}])] = {}
    carrier_call_id: Annotated[
        str | None, Field(description="the carrier's own id of the call", examples=["CA5f0c1b7e2a9d4c63"])
    ] = None
    language: Annotated[
        str | None, Field(description="which the settings give to the called number", examples=["de-DE"])
    ] = None


class TraceShape(Shape):
    """The trace of a call or a turn, wherever traces are sent to."""

    trace_id: Annotated[str, Field(examples=["9f2b61c04d8a4be3a7708d2c5e1f9340"])]
    url: Annotated[str | None, Field(description="None without `PATCHBAY_TRACE_URL`")] = None


class SessionShape(Shape):
    """One call, live or ended."""

    session_id: Annotated[str, Field(examples=["sess_5f0c1b7e2a9d4c63"])]
    agent: Annotated[str, Field(examples=["front-desk"])]
    agent_version: str
    model: str
    protocol: Annotated[str, Field(examples=["realtime"])]
    state: Literal["live", "ended"]
    started_at: Annotated[float, Field(examples=[1795300000.0])]
    ended_at: float | None
    end_reason: Annotated[str | None, Field(examples=["caller_hung_up"])]
    summary: SummaryShape
    latencies_ms: Annotated[list[int], Field(description="of the turns that have one, in order", examples=[[640, 720]])]
    recording: RecordingShape
    caller: CallerShape = CallerShape()
    dials: Annotated[list[DialShape], Field(description="of the model, the first 32")] = []
    prices: Annotated[
        str, Field(description="the version of the price list; empty if there was none", examples=["2026-12-01"])
    ] = ""
    trace: Annotated[TraceShape | None, Field(description="of the call's set-up and sums")] = None


class SessionPage(Shape):
    """Sessions, newest first. For the next page, send `next_cursor` as `after`."""

    sessions: list[SessionShape]
    next_cursor: str | None


class EntryShape(Shape):
    """Something that was said, or a tool call, as `kind` says. Times count from the call's start."""

    kind: Literal["said", "tool"]
    item_id: str
    begin_ms: int
    speaker: Literal["caller", "agent"] | None = None
    text: Annotated[str | None, Field(examples=["A table for two tomorrow at seven, please."])] = None
    heard_text: str | None = None
    spoken: bool | None = None
    sent_ms: int | None = None
    heard_ms: int | None = None
    heard: Annotated[str | None, Field(description="how `heard_ms` is known: reported, marked or estimated")] = None
    images: int | None = None
    call_id: str | None = None
    name: Annotated[str | None, Field(examples=["book_table"])] = None
    arguments: str | None = None
    output: str | None = None
    error: str | None = None
    server_side: bool | None = None
    end_ms: int | None = None
    transcription: TranscriptionShape | None = None


class TurnShape(Shape):
    """One turn: what the caller said, and everything that the agent did in answer."""

    index: int
    begin_ms: int
    end_ms: int | None
    latency_ms: Annotated[
        int | None,
        Field(description="from the end of the caller's speech to the first audible sample of the answer"),
    ]
    interrupted: bool
    outcome: str | None
    problem: Annotated[
        ProblemShape | None, Field(description="the last error that the model reported in this turn")
    ] = None
    usage: UsageShape
    cost_nano: Cost = None
    budget_reached: Annotated[bool, Field(description="the call's budget was used up in this turn")] = False
    responses: Annotated[list[ResponseShape], Field(description="of the model, the first 32")] = []
    entries: list[EntryShape]
    trace: TraceShape | None = None


class Transcript(Shape):
    """The conversation, in the order of speech."""

    session_id: str
    turns: list[TurnShape]


class LiveShape(Shape):
    """A live call."""

    session_id: str
    agent: str
    protocol: str
    started_at: float
    turns: int


class LiveList(Shape):
    """The live calls of this process, oldest first."""

    calls: list[LiveShape]


class Deleted(Shape):
    """A session has been deleted, with its recording."""

    session_id: str
    deleted: Literal[True] = True


class ExpiresAfter(Shape):
    """How long a client secret is valid."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(ge=10, le=7200)] = 600


class SecretRequest(Shape):
    """The request for a client secret: `session.model` names the agent; other fields become the caller's defaults."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: dict[str, Any] = {}


class SecretAnswer(Shape):
    """A client secret: a key for one agent that can be given to a browser."""

    value: Annotated[str, Field(examples=["ek_…"])]
    expires_at: Annotated[int, Field(examples=[1795300600])]
    session: dict[str, Any]


class Alive(Shape):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Shape):
    """Whether new calls are taken: only if it is `ready`. `problems` names what does not work nevertheless.

    `store` is `busy` while the store asks for time, and `lost` from its loss until it has all that was kept meanwhile.
    `spooled_documents` wait beside the store, on the disk or in memory.
    """

    status: Literal["starting", "ready", "draining"]
    store: Literal["ok", "busy", "lost"]
    spooled_documents: int
    problems: list[str] = []


class ErrorBody(Shape):
    """The error."""

    type: Annotated[str, Field(examples=["invalid_request_error"])]
    code: Annotated[str, Field(examples=["session_not_found"])]
    message: Annotated[str, Field(examples=["There is no such session."])]
    param: str | None = None


class ErrorAnswer(Shape):
    """The shape of every error answer."""

    error: ErrorBody
