"""What a call used and cost, as OpenAPI shows it. Money is in whole nano-dollars: 1,000,000,000 are one US dollar."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Cost = Annotated[
    int | None,
    Field(description="in nano-dollars (1 USD = 1000000000); null if a part of it is not known", examples=[85200000]),
]


class AccountShape(BaseModel):
    """A JSON object in the account of a call."""

    model_config = ConfigDict(extra="ignore")


class UsageShape(AccountShape):
    """Numbers of tokens, as the model counts them, or time of a model that is sold by time.

    Parts are contained in their totals: the cached ones in the input of their kind, `output_reasoning` in
    `output_text`. `input_cached` is all cached input.
    """

    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    input_cached: int = 0
    output_text: int = 0
    output_audio: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    output_reasoning: int = 0
    active_ms: int = 0
    standby_ms: int = 0


class TranscriptionShape(AccountShape):
    """What the transcription of the caller's speech used, in tokens or in time, and what it cost."""

    model: Annotated[str, Field(description="the name that was asked for", examples=["gpt-4o-mini-transcribe"])]
    input_text: int = 0
    input_audio: int = 0
    output_text: int = 0
    audio_ms: int = 0
    cost_nano: Cost = None


class ResponseShape(AccountShape):
    """One response of the model. Times count from the call's start."""

    response_id: str
    origin: Annotated[
        Literal["client", "model", "greeting", "tool", "keys", "redial", "budget"],
        Field(description="who wanted it; `model`: it began by itself"),
    ]
    leg: Annotated[int, Field(description="the index of the session's dial that it ran on")]
    asked_ms: int | None = None
    begin_ms: int
    first_sound_ms: int | None = None
    end_ms: int | None = None
    outcome: str | None = None
    reason: Annotated[str | None, Field(description="the model's own word", examples=["turn_detected"])] = None
    usage: Annotated[UsageShape | None, Field(description="null where the model reported none")] = None
    cost_nano: Cost = None


class DialShape(AccountShape):
    """One dial of a model. Times count from the call's start."""

    cause: Annotated[str, Field(description="start, lost, rollover or failover")]
    attempt: int
    model: Annotated[str, Field(examples=["azure/voice"])]
    begin_ms: int
    ready_ms: int | None = None
    lost_ms: int | None = None
    error: str | None = None
