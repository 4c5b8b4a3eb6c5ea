from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from audio.formats import PCM16_24K, AudioFrame
from gateway.ids import CountingIds
from gateway.models.realtime.codec import RealtimeModelCodec
from gateway.models.realtime.leg import (
    CONGESTED_BYTES,
    CONGESTED_CHECK_FRAMES,
    HELD_MS,
    MAX_MALFORMED,
    RealtimeModelLeg,
)
from sessions.accounts import LegError
from sessions.commands import CancelResponse, CommitSound, Configure, PassToModel, SendAudio
from sessions.events import AgentAudio, ModelEvent, ModelLost, ModelPassed, ModelReady, ModelRefused
from sessions.problems import ModelProblem
from sessions.setup import ModelSetup, TurnPolicy
from sessions.values import Wire

SETUP = ModelSetup(
    {"type": "realtime", "tracing": "auto"}, PCM16_24K, PCM16_24K, False, TurnPolicy.MODEL_INTERRUPTS, None
)
READY = b'{"type":"session.updated","event_id":"e","session":{}}'
FRAME_MS = 100


class MemorySocket:
    """Keeps what is sent; `unsent_bytes` is what the test says."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.unsent_bytes = 0
        self.closed = self.ended_here = False
        self.peer = "127.0.0.1"
        self.subprotocol: str | None = None

    def send_text(self, message: bytes) -> None:
        self.sent.append(message)

    def fast_send(self) -> Callable[[bytes], None]:
        return self.send_text

    def send_binary(self, message: bytes) -> None:
        raise AssertionError("the protocol has no binary messages")

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = True


class Rig:
    """A leg on a socket in memory."""

    def __init__(self) -> None:
        self.events: list[ModelEvent] = []
        self.socket = MemorySocket()
        codec = RealtimeModelCodec(CountingIds(), speaks_given_text=False)
        self.leg = RealtimeModelLeg(codec, self.events.append)
        self.leg.opened(self.socket)
        self.frames = 0

    def speak(self, frames: int = 1) -> None:
        """The caller says something; each frame holds its own number."""
        for _ in range(frames):
            payload = self.frames.to_bytes(2, "little") * (PCM16_24K.bytes_for_ms(FRAME_MS) // 2)
            start = self.frames * PCM16_24K.rate_hz * FRAME_MS // 1000
            self.leg.send(SendAudio(AudioFrame(payload, PCM16_24K, start), None))
            self.frames += 1

    def heard(self) -> list[int]:
        """The numbers of the frames that went out."""
        messages = [orjson.loads(text) for text in self.socket.sent]
        return [int.from_bytes(base64.b64decode(one["audio"])[:2], "little") for one in messages if "audio" in one]


def test_the_leg_sets_the_session_up_and_hands_events_on() -> None:
    rig = Rig()
    rig.leg.send(Configure(SETUP))
    assert orjson.loads(rig.socket.sent[0])["type"] == "session.update"
    rig.leg.text(READY)
    rig.leg.text(b'{"type":"rate_limits.updated","event_id":"e","rate_limits":[]}')
    assert [type(event) for event in rig.events] == [ModelReady, ModelPassed]


def test_speech_is_handed_on_in_the_sockets_callback() -> None:
    rig = Rig()
    text = (
        b'{"type":"response.output_audio.delta","event_id":"e","response_id":"r","item_id":"i","output_index":0,'
        b'"content_index":0,"delta":"AAAA"}'
    )
    rig.leg.text(text)
    (event,) = rig.events
    assert isinstance(event, AgentAudio)
    assert event.wire == text


def test_a_field_that_is_refused_is_tried_without() -> None:
    rig = Rig()
    rig.leg.send(Configure(SETUP))
    event_id = orjson.loads(rig.socket.sent[0])["event_id"]
    error: dict[str, Any] = {"type": "invalid_request_error", "code": "unknown_parameter", "message": ""}
    error |= {"param": "session.tracing", "event_id": event_id}
    rig.leg.text(orjson.dumps({"type": "error", "event_id": "e", "error": error}))
    assert orjson.loads(rig.socket.sent[1])["session"] == {"type": "realtime"}
    rig.leg.text(READY)
    assert rig.events == [ModelReady()]


def test_ten_malformed_messages_in_a_row_end_the_leg() -> None:
    rig = Rig()
    for _ in range(MAX_MALFORMED - 1):
        rig.leg.text(b"{")
    rig.leg.text(b'{"type":"x"}')
    for _ in range(MAX_MALFORMED - 1):
        rig.leg.text(b"{")
    assert [type(event) for event in rig.events] == [ModelPassed]
    rig.leg.text(b"{")
    assert isinstance(rig.events[-1], ModelLost)
    assert rig.events[-1].retryable
    assert rig.socket.closed


@pytest.mark.parametrize(
    ("code", "retryable"), [(1006, True), (1011, True), (1000, True), (1008, False), (4000, False)]
)
def test_a_lost_connection_says_whether_to_dial_again(code: int, retryable: bool) -> None:
    rig = Rig()
    rig.leg.lost(code, "")
    problem = None if retryable else ModelProblem(f"closed_{code}", "close")
    error = LegError.CLOSED if retryable else LegError.REFUSED
    assert rig.events == [ModelLost(f"closed with {code}", retryable, problem, error)]
    rig.leg.lost(code, "")
    assert len(rig.events) == 1


def test_an_error_that_ends_the_session_is_a_loss_and_said_once() -> None:
    rig = Rig()
    rig.leg.text(b'{"type":"error","event_id":"e","error":{"code":"session_expired","message":"","event_id":null}}')
    rig.leg.lost(1000, "")
    assert rig.events == [ModelLost("session_expired", True, ModelProblem("session_expired", None))]
    assert rig.socket.closed


def test_nothing_is_delivered_or_sent_after_close() -> None:
    rig = Rig()
    rig.leg.close()
    rig.leg.text(b'{"type":"x"}')
    rig.leg.send(CancelResponse(None, None))
    rig.leg.lost(1000, "")
    rig.leg.close()
    assert rig.socket.closed
    assert (rig.events, rig.socket.sent) == ([], [])


def test_a_message_of_another_dialect_is_refused_and_not_sent() -> None:
    rig = Rig()
    rig.leg.send(PassToModel(Wire("other", b"{}", {})))
    assert rig.socket.sent == []
    (event,) = rig.events
    assert isinstance(event, ModelRefused)
    assert event.problem == ModelProblem("foreign_message", None)


def test_binary_messages_are_passed_over() -> None:
    rig = Rig()
    rig.leg.binary(b"\x00")
    assert rig.events == []


def test_a_slow_connection_costs_the_oldest_sound_and_it_is_counted() -> None:
    rig = Rig()
    rig.speak(CONGESTED_CHECK_FRAMES)
    rig.socket.unsent_bytes = CONGESTED_BYTES + 1
    before = len(rig.heard())
    held = HELD_MS // FRAME_MS
    rig.speak(2 * CONGESTED_CHECK_FRAMES + held)
    assert rig.leg.dropped_ms > 0
    assert len(rig.heard()) <= before + CONGESTED_CHECK_FRAMES
    rig.socket.unsent_bytes = 0
    rig.speak()
    heard = rig.heard()
    assert heard[-held:] == list(range(rig.frames - held, rig.frames))
    assert len(heard) * FRAME_MS + rig.leg.dropped_ms == rig.frames * FRAME_MS


def test_what_is_not_sound_keeps_its_place_behind_the_sound_before_it() -> None:
    rig = Rig()
    rig.speak(CONGESTED_CHECK_FRAMES - 1)
    rig.socket.unsent_bytes = CONGESTED_BYTES + 1
    rig.speak(3)
    rig.leg.send(CommitSound(Wire("realtime", b'{"type":"input_audio_buffer.commit"}', {})))
    assert rig.heard() == list(range(rig.frames))
    assert rig.socket.sent[-1] == b'{"type":"input_audio_buffer.commit"}'
