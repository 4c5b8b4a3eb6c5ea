"""A whole call of a caller's leg whose events never carry a message, as a leg of another dialect gives them.

The far end is the scripted model: in this process, and behind the leg that speaks to OpenAI over a socket.
"""

from __future__ import annotations

import array
import asyncio
import math
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.calls.call_rig import DEADLINE_MS, NoServers, Phone, Rig, later
from support.virtual import run

from audio.formats import PCM16_24K, AudioFrame
from gateway.calls.live import LiveCall
from gateway.calls.record import CallRecord
from gateway.calls.running import RunningCall
from gateway.ids import CountingIds
from gateway.legs.model import ModelConnector, ModelLeg
from gateway.models.in_process import InProcessConnector
from gateway.models.realtime.codec import RealtimeModelCodec
from gateway.models.realtime.leg import RealtimeModelLeg
from gateway.models.registry import ScriptedEngine
from gateway.models.scripted.file import read_script
from gateway.realtime.server.server import RealtimeServer
from gateway.timer import Alarm
from gateway.tools.contract import ToolContext
from gateway.tools.functions import from_function
from gateway.tools.toolbox import Toolbox
from sessions.agent import ToolGrant, ToolRule
from sessions.call import Call
from sessions.commands import ClearPlayback, Configure, Play, Relay
from sessions.events import (
    AgentItemEnded,
    CallerAudio,
    CallerCleared,
    CallerCommitted,
    CallerEvent,
    CallerPassed,
    CallerText,
    CancelWanted,
    ClientToolAnswered,
    DeleteWanted,
    HungUp,
    ItemWritten,
    ModelEvent,
    ResponseWanted,
    SettingsChanged,
    ToolWanted,
)
from sessions.past import PastMessage, PastToolCall
from sessions.ports import Clock, JsonObject
from sessions.record import Utterance
from sessions.setup import ModelSetup, TurnPolicy
from sessions.state import CallRules
from sessions.values import ResponseRequest, Wire

SCRIPT = """
model: plain
turns:
  - {when: {text: hello}, say: Good evening.}
  - {when: {spoken: true}, hears: A table for two., say: For when?}
  - {when: {text: is there}, calls: [{name: find, arguments: {people: 2}}]}
  - {when: {tool: find, contains: seven}, say: There is one at seven.}
  - {when: {text: show me}, calls: [{name: on_screen, arguments: {}}]}
  - {when: {tool: on_screen, contains: shown}, say: There you see it.}
  - {when: {text: story}, pace: real, say: Once upon a time there was a table at the window and nobody ever sat there.}
  - {when: {text: again}, pace: real, say: Once upon a time there was a table at the window and nobody ever sat there.}
  - {when: {spoken: true}, hears: Stop., say: As you wish.}
otherwise: {say: "Pardon?"}
"""


def setup(policy: TurnPolicy) -> ModelSetup:
    """A session in which nobody detects turns, or the model does and is interrupted."""
    detects = {"type": "server_vad", "create_response": True, "interrupt_response": True}
    heard: JsonObject = {"turn_detection": None if policy is TurnPolicy.CLIENT else detects}
    session: JsonObject = {"type": "realtime", "audio": {"input": heard}}
    return ModelSetup(session, PCM16_24K, PCM16_24K, False, policy, None)


class Tap:
    """A server of the scripted model that also keeps what it is sent."""

    def __init__(self, server: RealtimeServer, got: list[dict[str, Any]]) -> None:
        self._server = server
        self._got = got

    def receive(self, text: bytes, now_ms: int) -> None:
        self._got.append(orjson.loads(text))
        self._server.receive(text, now_ms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


class TappedEngine(ScriptedEngine):
    """Keeps all that its servers are sent in `got`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(read_script(SCRIPT, "plain", folder), clock, CountingIds())
        self.got: list[dict[str, Any]] = []

    def server(self, emit: Callable[[bytes], None], on_drop: Callable[[], None], attempt: int) -> Any:
        return Tap(super().server(emit, on_drop, attempt), self.got)


class ServedSocket:
    """The socket of a model's leg; at its other end is a server of the engine."""

    unsent_bytes, closed, ended_here, peer, subprotocol = 0, False, False, "127.0.0.1", None

    def __init__(self, engine: TappedEngine, clock: Clock, leg: RealtimeModelLeg) -> None:
        self._clock = clock
        self._leg = leg
        self._loop = asyncio.get_running_loop()
        self._said: deque[bytes] = deque()
        self._server = engine.server(self._emit, lambda: None, 0)
        self._alarm = Alarm(clock, self._on_time)
        self._server.open(clock.now_ms())

    def send_text(self, message: bytes) -> None:
        self._server.receive(message, self._clock.now_ms())
        self._alarm.set(self._server.deadline_ms)

    def fast_send(self) -> Callable[[bytes], None]:
        return self.send_text

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._alarm.close()
        self._server.close()

    def _emit(self, message: bytes) -> None:
        self._said.append(message)
        self._loop.call_soon(self._arrives)

    def _arrives(self) -> None:
        self._leg.text(self._said.popleft())

    def _on_time(self) -> None:
        self._server.on_time(self._clock.now_ms())
        self._alarm.set(self._server.deadline_ms)


class SocketConnector:
    """Dials the engine as the model's leg over a socket does."""

    def __init__(self, engine: TappedEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def dial(
        self,
        setup: ModelSetup,
        attempt: int,
        deliver: Callable[[ModelEvent], None],
        fault: Callable[[BaseException], None],
    ) -> ModelLeg:
        leg = RealtimeModelLeg(RealtimeModelCodec(CountingIds(), speaks_given_text=False), deliver)
        leg.opened(ServedSocket(self._engine, self._clock, leg))
        leg.send(Configure(setup))
        return leg


async def find(people: int) -> str:
    """Find a table."""
    return f"at seven, for {people}"


class Talk:
    """A call with the scripted model, its caller's leg, and what a caller does."""

    def __init__(self, folder: Path, connector: Callable[[TappedEngine, Clock], ModelConnector]) -> None:
        self.rig = Rig(folder, {}, recording=False)
        clock = self.rig.clock
        self.engine = TappedEngine(folder, clock)
        self.phone = Phone()
        rules = CallRules(
            {"find": ToolRule(None, "find", DEADLINE_MS)}, None, client_plays=False, length_ms=600_000, idle_ms=None
        )
        self.running = RunningCall(
            Call(rules, setup(TurnPolicy.CLIENT), CountingIds(), clock.now_ms()),
            connector(self.engine, clock),
            Toolbox([ToolGrant(None, "find", None, DEADLINE_MS)], NoServers(), {"find": from_function(find)}),
            ToolContext("sess_1", "desk", {}, clock),
            CallRecord(self.rig.facts, self.rig.saved.append, self.rig.recorder, None, clock),
            clock,
            lambda: None,
        )
        self.running.attach(self.phone)
        self.rig.live_calls.start(LiveCall("sess_1", "default", "desk", "phone", 0.0, self.running))
        self._samples = self._asked = 0

    def tell(self, *events: CallerEvent) -> None:
        for event in events:
            self.running.from_caller(event)

    def types(self, text: str) -> None:
        name = f"text_{text.split()[0].lower()}"
        self.tell(CallerText(name, text, 0, False, f"create_{name}", None, None))

    async def asks(self, wait_s: float = 5.0) -> None:
        self._asked += 1
        self.tell(ResponseWanted(ResponseRequest(f"ask_{self._asked}", False, None, None, None), None))
        await later(wait_s)

    async def speaks(self, ms: int, *, loud: bool = True) -> None:
        tone = array.array("h", (int(12_000 * math.sin(n / 20)) if loud else 0 for n in range(480))).tobytes()
        for _ in range(0, ms, 20):
            self.tell(CallerAudio(AudioFrame(tone, PCM16_24K, self._samples), None))
            self._samples += 480
            await later(0.02)

    def got(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.engine.got if message["type"] == kind]

    @property
    def items(self) -> list[dict[str, Any]]:
        return [message["item"] for message in self.got("conversation.item.create")]

    @property
    def said(self) -> list[str]:
        """What the caller's side and the agent said, as the record has it."""
        turns = self.running.call.turns
        return [entry.text for turn in turns for entry in turn.entries if isinstance(entry, Utterance)]


async def typed_text(talk: Talk) -> None:
    talk.types("Hello there")
    await talk.asks()
    assert talk.items == [
        {
            "id": "text_hello",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "Hello there"}],
        }
    ]
    assert talk.got("conversation.item.create")[0]["event_id"] == "create_text_hello"


async def sound_by_hand(talk: Talk) -> None:
    await talk.speaks(200)
    talk.tell(CallerCleared(None))
    await talk.speaks(400)
    talk.tell(CallerCommitted(None))
    await talk.asks()
    kinds = [message["type"] for message in talk.engine.got]
    of_sound = [kind.removeprefix("input_audio_buffer.") for kind in kinds if kind.startswith("input_audio_buffer.")]
    assert of_sound == ["append"] * 10 + ["clear"] + ["append"] * 20 + ["commit"]


async def items_of_an_earlier_talk(talk: Talk) -> None:
    before = len(talk.items)
    note, call = PastMessage("note", "system", "Be brief."), PastToolCall("old", "call_old", "weather", "{}", None)
    talk.tell(ItemWritten(note, "create_note", None, None), ItemWritten(call, "create_old", None, None))
    talk.tell(ClientToolAnswered("call_old", "rain", None), DeleteWanted("text_hello", "delete_1", None, None))
    await later(1)
    added = talk.items[before:]
    assert [item["type"] for item in added] == ["message", "function_call", "function_call_output"]
    assert (added[0]["role"], added[0]["content"][0]["text"]) == ("system", "Be brief.")
    assert (added[1]["call_id"], added[1]["name"]) == (added[2]["call_id"], "weather") == ("call_old", "weather")
    assert added[2]["output"] == "rain"
    (deleted,) = talk.got("conversation.item.delete")
    assert (deleted["item_id"], deleted["event_id"]) == ("text_hello", "delete_1")


async def functions(talk: Talk) -> None:
    talk.types("Is there a table?")
    await talk.asks(10)
    assert talk.items[-1]["output"] == "at seven, for 2"
    talk.types("Show me.")
    await talk.asks()
    relayed = [told.event for told in talk.phone.told if isinstance(told, Relay)]
    (wanted,) = [event for event in relayed if isinstance(event, ToolWanted) and event.name == "on_screen"]
    talk.tell(ClientToolAnswered(wanted.call_id, "shown", None))
    await talk.asks()
    assert (talk.items[-1]["call_id"], talk.items[-1]["output"]) == (wanted.call_id, "shown")


async def cancelled_and_interrupted(talk: Talk) -> None:
    talk.types("A story, please.")
    await talk.asks(1)
    talk.tell(CancelWanted(None, None, None))
    await later(2)
    assert len(talk.got("response.cancel")) == 1
    talk.tell(SettingsChanged(setup(TurnPolicy.MODEL_INTERRUPTS)))
    talk.types("Once again.")
    await talk.asks(1)
    assert not any(isinstance(told, ClearPlayback) for told in talk.phone.told)
    await talk.speaks(400)
    assert any(isinstance(told, ClearPlayback) for told in talk.phone.told)
    (cut,) = talk.got("conversation.item.truncate")
    assert 900 < cut["audio_end_ms"] < 1_500
    await talk.speaks(1_000, loud=False)
    await later(5)


async def odd_message(talk: Talk) -> None:
    before = len(talk.engine.got)
    talk.tell(CallerPassed(Wire("telephone", b"{}", {})))
    await later(1)
    assert len(talk.engine.got) == before


@pytest.mark.parametrize(
    "connector",
    [lambda engine, clock: InProcessConnector(engine, clock, CountingIds()), SocketConnector],
    ids=["in process", "over a socket"],
)
def test_a_leg_that_gives_no_messages_holds_a_whole_call(
    tmp_path: Path, connector: Callable[[TappedEngine, Clock], ModelConnector]
) -> None:
    async def main() -> Talk:
        talk = Talk(tmp_path, connector)
        await later(1)
        parts = (typed_text, sound_by_hand, items_of_an_earlier_talk, functions, cancelled_and_interrupted, odd_message)
        for part in parts:
            await part(talk)
        talk.tell(HungUp("caller_hung_up"))
        await talk.rig.live_calls.wait_empty()
        return talk

    talk = run(main())
    assert talk.said == [
        "Hello there",
        "Good evening.",
        "",  # spoken, and transcribed by nobody
        "For when?",
        "Is there a table?",
        "There is one at seven.",
        "Show me.",
        "There you see it.",
        "A story, please.",
        "Once upon a time",
        "Once again.",
        "Once upon a time",
        "",
        "As you wish.",
    ]
    assert any(isinstance(told, Play) for told in talk.phone.told)
    assert any(isinstance(told, Relay) and isinstance(told.event, AgentItemEnded) for told in talk.phone.told)
    summary = talk.rig.summary
    assert [problem["code"] for problem in summary["problems"]] == ["foreign_message"]
