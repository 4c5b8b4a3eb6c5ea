"""Makes the outlets of all destinations: for each signal that one takes, its encoding, its queue and its requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from gateway.telemetry.courier.azure import AzureSender
from gateway.telemetry.courier.figure_messages import FigureEncoder, rejected_figures
from gateway.telemetry.courier.log_messages import LogEncoder, rejected_logs
from gateway.telemetry.courier.outlet import GATHER_S, QUEUE_MAX_BYTES, Deliver, Outlet
from gateway.telemetry.courier.posting import Encode, Poster, Rejected
from gateway.telemetry.courier.score_posting import ScorePoster
from gateway.telemetry.courier.span_messages import SpanEncoder, rejected_spans
from gateway.telemetry.courier.standing import Standing
from gateway.telemetry.courier.values import resource_message, scope_message
from gateway.telemetry.link.destinations import AUDIO, LOGS, METRICS, SCORES, TRACES, Destination, Target
from gateway.telemetry.link.wire import TelemetryFigures
from gateway.telemetry.spans.policy import Shape

if TYPE_CHECKING:
    from gateway.telemetry.courier.media import MediaSender


@dataclass(frozen=True, slots=True)
class Sender:
    """What all that a courier sends has in common.

    `blobs` says where recordings are (`url` and `key`), None where no sound is sent; `folder` is for their files while
    they are used, None: the system's.
    """

    resource: Mapping[str, str]
    version: str
    started_ns: int  # when the server's process began, and its figures with it
    shape: Shape
    blobs: Mapping[str, str | None] | None = None
    folder: Path | None = None

    @property
    def signals(self) -> tuple[str, ...]:
        """What is sent, where a destination takes it."""
        return (TRACES, METRICS, LOGS, SCORES) if self.blobs is None else (TRACES, METRICS, LOGS, SCORES, AUDIO)

    @property
    def agent(self) -> str:
        """Our name and version, for the requests."""
        return f"patchbay/{self.version}"


@dataclass(slots=True)
class Outlets:
    """The outlets, by signal and destination."""

    all: list[Outlet] = field(default_factory=list)
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def of(self, signal: str) -> list[Outlet]:
        """Those of one signal."""
        return [outlet for outlet in self.all if outlet.signal == signal]

    async def close(self) -> None:
        """Close all connections."""
        for close in self.closers:
            await close()


def make_outlets(
    destinations: Sequence[Destination],
    sender: Sender,
    counts: TelemetryFigures,
    *,
    wrap: Callable[[str, Deliver], Deliver] = lambda destination, deliver: deliver,
    gather_s: float = GATHER_S,
    max_bytes: int = QUEUE_MAX_BYTES,
) -> Outlets:
    """The outlets of these destinations. `wrap` may put something around the requests to one, by its name."""
    made = Outlets()
    for destination in destinations:
        standing = Standing(destination.name, counts)
        for signal in sender.signals:
            if destination.takes(signal):
                deliver = wrap(destination.name, _deliver(destination, signal, sender, made))
                made.all.append(
                    Outlet(
                        signal,
                        destination.name,
                        deliver,
                        counts,
                        gather_s=gather_s,
                        max_bytes=max_bytes,
                        standing=standing,
                    )
                )
    return made


def _deliver(destination: Destination, signal: str, sender: Sender, made: Outlets) -> Deliver:
    if signal not in destination.targets:
        return AzureSender(destination, sender.resource, sender.version).deliver
    target = destination.targets[signal]
    poster: Poster | ScorePoster | MediaSender
    if signal == SCORES:
        poster = ScorePoster(target, sender.agent)
    elif signal == AUDIO:
        poster = _media(target, sender)
    else:
        poster = Poster(target, *_encoding(signal, sender), sender.agent)
    made.closers.append(poster.close)
    return poster.deliver


def _media(target: Target, sender: Sender) -> MediaSender:
    # Only where sound is sent: these take 25 MB.
    from gateway.blobs.opening import make_blobs
    from gateway.telemetry.courier.media import MediaSender
    from gateway.telemetry.courier.recordings import Recordings

    assert sender.blobs is not None
    key = sender.blobs["key"]
    blobs = make_blobs(str(sender.blobs["url"]), None if key is None else SecretStr(key))
    return MediaSender(target, Recordings(blobs, sender.folder), sender.agent)


def _encoding(signal: str, sender: Sender) -> tuple[Encode, Rejected]:
    resource, scope = resource_message(sender.resource), scope_message(sender.version)
    if signal == TRACES:
        return SpanEncoder(resource, scope).encode, rejected_spans
    if signal == LOGS:
        return LogEncoder(resource, scope, sender.shape).encode, rejected_logs
    return FigureEncoder(resource, scope, sender.started_ns).encode, rejected_figures
