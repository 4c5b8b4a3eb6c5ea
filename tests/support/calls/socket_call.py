"""A call whose legs are real and whose sockets are in memory: the test is the caller and the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from support.calls.call_rig import SETUP, NoServers, Rig, later

from gateway.calls.record import CallRecord
from gateway.calls.running import RunningCall
from gateway.ids import CountingIds
from gateway.legs.caller import CallerLeg, play_out_of
from gateway.legs.model import ModelConnector, ModelLeg
from gateway.models.realtime.codec import RealtimeModelCodec
from gateway.models.realtime.leg import RealtimeModelLeg
from gateway.recording.eventlog import EVENTS_FILE, Source, read_event_log
from gateway.recording.tracks import AGENT_FILE, CALLER_FILE
from gateway.tools.contract import ToolContext
from gateway.tools.toolbox import Toolbox
from sessions.agent import ReplayPolicy
from sessions.call import Call
from sessions.commands import CallerCommand, Configure, ModelCommand
from sessions.events import ModelEvent
from sessions.setup import ModelSetup
from sessions.state import CallRules
from sessions.stores.contract import SessionKey


class KeptSocket:
    """Keeps what is sent."""

    closed, ended_here, unsent_bytes, peer, subprotocol = False, False, 0, "127.0.0.1", None

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send_text(self, message: bytes) -> None:
        self.sent.append(message)

    def fast_send(self) -> Callable[[bytes], None]:
        return self.send_text

    def count_message(self) -> None:
        pass

    def send_binary(self, message: bytes) -> None:
        raise AssertionError("the protocol has no binary messages")

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = True


class PlainCallerLeg:
    """A caller's leg without its fast path."""

    def __init__(self, leg: CallerLeg) -> None:
        self._leg = leg
        self.play_out = play_out_of(leg)

    def do(self, command: CallerCommand) -> None:
        self._leg.do(command)

    def close(self, code: int, reason: str) -> None:
        self._leg.close(code, reason)

    @property
    def overfull(self) -> bool:
        return self._leg.overfull


class PlainModelLeg:
    """A model's leg without its fast path."""

    def __init__(self, leg: RealtimeModelLeg) -> None:
        self._leg = leg

    def send(self, command: ModelCommand) -> None:
        self._leg.send(command)

    def close(self) -> None:
        self._leg.close()


class SocketCall:
    """A call with a model that the test controls; a subclass attaches the caller's leg to `running`."""

    def __init__(
        self,
        folder: Path,
        *,
        fast_paths: bool,
        replay: ReplayPolicy,
        client_plays: bool = True,
        setup: ModelSetup = SETUP,
        wrap: Callable[[ModelConnector], ModelConnector] = lambda connector: connector,
    ) -> None:
        self.rig = rig = Rig(folder, {}, recording=False)
        self.fast_paths = fast_paths
        self.service = KeptSocket()
        key, now_ms = SessionKey("default", "sess_2"), rig.clock.now_ms()
        kept = rig.recorder.begin(
            key, recording=True, replay=replay, agent="desk", version="1", formats={}, started_ms=now_ms
        )
        assert kept is not None
        self.folder = kept.sink.folder
        self.replay = replay
        record = CallRecord(rig.facts, rig.saved.append, rig.recorder, kept, rig.clock)
        rules = CallRules({}, None, client_plays=client_plays, length_ms=3_600_000, idle_ms=None)
        self.call = Call(rules, setup, CountingIds(), now_ms)
        self.running = RunningCall(
            self.call,
            wrap(self),
            Toolbox([], NoServers(), {}),
            ToolContext("sess_2", "desk", {}, rig.clock),
            record,
            rig.clock,
            lambda: None,
        )
        self.model: RealtimeModelLeg | None = None
        self.answers = self.events = 0
        self.open = False

    async def dial(
        self,
        setup: ModelSetup,
        attempt: int,
        deliver: Callable[[ModelEvent], None],
        fault: Callable[[BaseException], None],
    ) -> ModelLeg:
        """As a connector does."""
        self.model = RealtimeModelLeg(RealtimeModelCodec(CountingIds(), speaks_given_text=False), deliver)
        self.model.opened(self.service)
        self.model.send(Configure(setup))
        return self.model if self.fast_paths else PlainModelLeg(self.model)

    async def connect(self) -> None:
        """Let the dial happen, and the model become ready."""
        for _ in range(10):
            await later(0)
        self.tell("session.updated", session={})

    # ---- what the model does

    def tell(self, kind: str, **fields: Any) -> None:
        """The model says something."""
        assert self.model is not None
        self.events += 1
        self.model.text(orjson.dumps({"type": kind, "event_id": f"event_{self.events}", **fields}))

    @property
    def place(self) -> dict[str, Any]:
        """Where the sound and the words of the present answer belong."""
        return {
            "response_id": f"resp_{self.answers}",
            "item_id": f"item_a{self.answers}",
            "output_index": 0,
            "content_index": 0,
        }

    def begin(self) -> None:
        """An answer begins."""
        self.answers += 1
        self.open = True
        self.tell("response.created", response={"id": f"resp_{self.answers}", "status": "in_progress"})
        item = {"id": f"item_a{self.answers}", "type": "message", "role": "assistant", "content": []}
        self.tell("response.output_item.added", response_id=f"resp_{self.answers}", output_index=0, item=item)

    def end(self) -> None:
        """The answer ends."""
        self.open = False
        usage = {"input_token_details": {"audio_tokens": 5}, "output_token_details": {"audio_tokens": 7}}
        response = {"id": f"resp_{self.answers}", "status": "completed", "output": [], "usage": usage}
        self.tell("response.done", response=response)

    def do(self, step: tuple[Any, ...], index: int) -> None:
        """One thing that the model does."""
        match step:
            case ("answer",):
                self.end() if self.open else self.begin()
            case ("words",):
                self.tell("response.output_audio_transcript.delta", **self.place, delta="word ")
            case ("speech", "began"):
                self.tell("input_audio_buffer.speech_started", item_id=f"item_u{index}", audio_start_ms=index * 5)
            case ("speech", "ended"):
                self.tell("input_audio_buffer.speech_stopped", item_id=f"item_u{index - 1}", audio_end_ms=index * 5)
            case _:
                raise AssertionError(step)

    # ---- what came of it

    def told(self) -> dict[str, Any]:
        """Everything that was recorded, saved and sent to the model."""
        now_ms = self.rig.clock.now_ms()
        return {
            **{name: _file(self.folder / name) for name in (CALLER_FILE, AGENT_FILE)},
            **self._logged(),
            "service": self.service.sent,
            "documents": self.rig.saved,
            "played": self.call.played(now_ms),
            "summary": self.call.summary(now_ms),
        }

    def _logged(self) -> dict[str, Any]:
        """The event log by source: lines of one millisecond have no promised order between two sources."""
        if self.replay is ReplayPolicy.OFF:
            return {}
        _, lines = read_event_log(self.folder / EVENTS_FILE)
        return {f"log of {source}": [line for line in lines if line.source is source] for source in Source}


def _file(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
