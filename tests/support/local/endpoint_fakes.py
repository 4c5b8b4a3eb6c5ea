"""A fake of the SDK's client that raises or answers anything at any point."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from support.calls.call_rig import later


@dataclass
class FakeClient:
    """All its methods give the same answer: `pieces`, each after `gap_s`, then `raises`."""

    pieces: list[bytes] = field(default_factory=list)
    raises: Callable[[], BaseException] | None = None
    at_once: bool = False  # raise before the answer's head
    content_type: Any = "text/event-stream"
    status_code: Any = 200
    gap_s: float = 0.0
    stays_open: bool = False
    closed: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __getattr__(self, name: str) -> FakeClient:
        if name in ("chat", "completions", "audio", "speech", "transcriptions", "with_streaming_response"):
            return self
        raise AttributeError(name)

    def create(self, **request: Any) -> FakeClient:
        """Send a request."""
        self.requests.append(request | request.pop("extra_body", {}))
        return self

    async def __aenter__(self) -> FakeClient:
        if self.at_once and self.raises is not None:
            raise self.raises()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.closed += 1

    @property
    def headers(self) -> Any:
        """The answer's headers."""
        return {"content-type": self.content_type}

    async def iter_bytes(self, size: int | None = None) -> AsyncIterator[bytes]:
        """The answer's body."""
        for piece in self.pieces:
            await later(self.gap_s)
            yield piece
        if self.raises is not None:
            raise self.raises()
        if self.stays_open:
            await later(10_000)

    async def close(self) -> None:
        """Close the client."""
        self.closed += 1
        if self.raises is not None:
            raise self.raises()


def events(*chunks: Any) -> list[bytes]:
    """A server-sent event for each chunk, without `[DONE]`."""
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]


def delta(finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """A chunk of a chat answer."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


END = b"data: [DONE]\n\n"
