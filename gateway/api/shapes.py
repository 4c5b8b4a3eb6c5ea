"""What the HTTP API answers with, as OpenAPI shows it. Times are Unix seconds, durations milliseconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """A JSON object of the API."""

    model_config = ConfigDict(extra="ignore")


class ToolServerShape(Shape):
    """A tool server that is not connected."""

    server: Annotated[str, Field(description="its name in the MCP configuration", examples=["crm"])]
    reason: Annotated[str, Field(examples=["its program ended with code 1"])]


class AgentShape(Shape):
    """An agent that callers can ask for."""

    name: Annotated[str, Field(examples=["front-desk"])]
    description: Annotated[str, Field(examples=["Takes table bookings for a restaurant"])]
    model: Annotated[str, Field(examples=["local/offline"])]
    version: Annotated[str, Field(description="a digest of the agent's file", examples=["5d1f2c9a"])]
    available: bool
    reason: Annotated[str | None, Field(examples=["OPENAI_API_KEY is not set"])] = None
    tool_servers_down: Annotated[
        list[ToolServerShape],
        Field(description="the tool servers of its grants that are not connected; it can be called without them"),
    ] = []


class AgentList(Shape):
    """All agents, by name."""

    agents: list[AgentShape]


class UsageShape(Shape):
    """Tokens, as the model counts them."""

    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    input_cached: int = 0
    output_text: int = 0
    output_audio: int = 0


class ProblemShape(Shape):
    """What the model reported to be wrong, in its service's own short words; a word that is not plain is `other`."""

    code: Annotated[str, Field(examples=["rate_limit_exceeded"])]
    type: Annotated[str | None, Field(examples=["server_error"])] = None


class CountedProblem(ProblemShape):
    """The same, and how often it came in one call."""

    count: int


class SummaryShape(Shape):
    """A call's sums."""

    turns: Annotated[int, Field(examples=[4])]
    caller_audio_ms: Annotated[int, Field(examples=[31240])]
    agent_audio_ms: Annotated[int, Field(examples=[18900])]
    dropped_audio_ms: int = 0
    redials: Annotated[int, Field(description="how often the model's leg was opened anew")] = 0
    problems: Annotated[list[CountedProblem], Field(description="that the model reported")] = []
    duration_ms: Annotated[int, Field(examples=[42000])]
    usage: UsageShape


class RecordingShape(Shape):
    """Whether there is a recording of the call."""

    state: Literal["off", "running", "ready", "failed"]
    complete: bool
    rate_hz: int | None = None
    duration_ms: int | None = None


class SessionShape(Shape):
    """One call, going on or over."""

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


class SessionPage(Shape):
    """Sessions, newest first; `next_cursor` goes into `after` for the next page."""

    sessions: list[SessionShape]
    next_cursor: str | None


class EntryShape(Shape):
    """Something said, or a tool used; which of the two, `kind` tells. Times count from the call's start."""

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


class TurnShape(Shape):
    """One turn: what the caller said, and all that the agent did in answer."""

    index: int
    begin_ms: int
    end_ms: int | None
    latency_ms: Annotated[
        int | None,
        Field(description="from the end of the caller's speech to the first audible sample of the answer"),
    ]
    interrupted: bool
    outcome: str | None
    problem: Annotated[ProblemShape | None, Field(description="the last that the model reported in this turn")] = None
    usage: UsageShape
    entries: list[EntryShape]


class Transcript(Shape):
    """The talk, in speech order."""

    session_id: str
    turns: list[TurnShape]


class LiveShape(Shape):
    """A call that is going on."""

    session_id: str
    agent: str
    protocol: str
    started_at: float
    turns: int


class LiveList(Shape):
    """The calls that are going on in this process, oldest first."""

    calls: list[LiveShape]


class Deleted(Shape):
    """A session is gone, with its recording."""

    session_id: str
    deleted: Literal[True] = True


class ExpiresAfter(Shape):
    """How long a client secret shall live."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(ge=10, le=7200)] = 600


class SecretRequest(Shape):
    """What to mint: `session.model` names the agent; other session fields become the caller's defaults."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: dict[str, Any] = {}


class SecretAnswer(Shape):
    """A client secret: a key for one agent that a browser may hold."""

    value: Annotated[str, Field(examples=["ek_…"])]
    expires_at: Annotated[int, Field(examples=[1795300600])]
    session: dict[str, Any]


class Alive(Shape):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(Shape):
    """Whether new calls are taken: only where it is `ready`. `problems` names what does not work all the same."""

    status: Literal["starting", "ready", "draining"]
    problems: list[str] = []


class ErrorBody(Shape):
    """What went wrong."""

    type: Annotated[str, Field(examples=["invalid_request_error"])]
    code: Annotated[str, Field(examples=["session_not_found"])]
    message: Annotated[str, Field(examples=["There is no such session."])]
    param: str | None = None


class ErrorAnswer(Shape):
    """Every refusal has this shape."""

    error: ErrorBody
