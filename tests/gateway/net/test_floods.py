"""Repeated client messages must cost the same each time, counted in bytecode steps, which do not depend on load."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import orjson
import pytest
from support.calls.call_rig import NoServers, Rig, later, turn
from support.virtual import run

from gateway.callers.realtime.codec import RealtimeCallerCodec
from gateway.callers.realtime.leg import RealtimeCallerLeg
from gateway.callers.realtime.view import ClientView
from gateway.calls.record import CallRecord
from gateway.calls.running import RunningCall
from gateway.ids import CountingIds
from gateway.models.in_process import InProcessConnector
from gateway.models.registry import ScriptedEngine
from gateway.models.scripted.file import read_script
from gateway.realtime.session import AgentSide, EffectiveSession
from gateway.tools.contract import ToolContext
from gateway.tools.toolbox import Toolbox
from sessions.agent import TurnDetection
from sessions.call import Call
from sessions.state import CallRules

SCRIPT = "model: plain\notherwise: {say: 'Pardon?'}\n"
FEW, MANY = 40, 160
ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "words"}]}
CALL = {"type": "function_call", "name": "f", "arguments": "{}"}
MANUAL_TURNS = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}


class Client:
    """A call with the scripted model; this object is also the client's socket."""

    closed, ended_here, unsent_bytes, peer, subprotocol = False, False, 0, "127.0.0.1", None

    def __init__(self, folder: Path) -> None:
        rig = Rig(folder, {}, recording=False)
        ids, now_ms = CountingIds(), rig.clock.now_ms()
        record = CallRecord(rig.facts, rig.saved.append, rig.recorder, None, rig.clock)
        view = ClientView(ids, frozenset(), show_tools=False)
        side = AgentSide("Be brief.", (), None, None, TurnDetection(), None, None)
        session = EffectiveSession.for_agent(side, "sess_2", 2_000_000_000, "desk")
        codec = RealtimeCallerCodec(session, view, ids, frozenset())
        rules = CallRules({}, None, client_plays=True, length_ms=3_600_000, idle_ms=None)
        engine = ScriptedEngine(read_script(SCRIPT, "plain", folder), rig.clock, ids)
        self.running = RunningCall(
            Call(rules, codec.session.setup(), ids, now_ms),
            InProcessConnector(engine, rig.clock, ids),
            Toolbox([], NoServers(), {}),
            ToolContext("sess_2", "desk", {}, rig.clock),
            record,
            rig.clock,
            lambda: None,
        )
        self.leg = RealtimeCallerLeg(codec, view, self.running.from_caller, record.log)
        self.leg.opened(self)
        self.running.attach(self.leg)

    def send_text(self, message: bytes) -> None:
        pass

    def send_binary(self, message: bytes) -> None:
        pass

    def fast_send(self) -> Callable[[bytes], None]:
        return self.send_text

    def count_message(self) -> None:
        pass

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = True


async def steps_of(act: Callable[[], Awaitable[None]]) -> int:
    """How many steps of the interpreter this takes."""
    steps = 0

    def count(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        steps += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        await act()
    finally:
        sys.settrace(before)
    return steps


def cost(folder: Path, messages: list[bytes]) -> int:
    """The number of steps in a call in which a client sends these messages."""

    async def main() -> int:
        client = Client(folder)
        task = asyncio.ensure_future(client.running.run())
        for _ in range(20):
            await later(0)

        async def send() -> None:
            for message in messages:
                client.leg.text(message)
                await turn()  # in which the model's answers are taken

        steps = await steps_of(send)
        assert not task.done(), "the call goes on"
        client.running.hang_up("over")
        await task
        return steps

    return run(main())


def event(kind: str, **fields: Any) -> bytes:
    return orjson.dumps({"type": kind, **fields})


def create(item: dict[str, Any], **fields: Any) -> bytes:
    return event("conversation.item.create", item=item, **fields)


def repeated(*messages: bytes) -> Callable[[int], list[bytes]]:
    return lambda times: [*messages] * times


FLOODS: dict[str, Callable[[int], list[bytes]]] = {
    "requests for an answer": repeated(event("response.create")),
    "questions": repeated(create(ITEM), event("response.create")),
    "cancelled requests": repeated(event("response.create"), event("response.cancel")),
    "answers outside the conversation": repeated(event("response.create", response={"conversation": "none"})),
    "items": repeated(create(ITEM)),
    "items at the very beginning": repeated(create(ITEM, previous_item_id="root")),
    "items with the same id": repeated(create({**ITEM, "id": "one"})),
    "items of the agent": repeated(
        create({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]})
    ),
    "system messages": repeated(create({**ITEM, "role": "system"})),
    "items that are deleted": lambda times: [
        message
        for name in map(str, range(times))
        for message in (create({**ITEM, "id": name}), event("conversation.item.delete", item_id=name))
    ],
    "deletions of nothing": repeated(event("conversation.item.delete", item_id="none")),
    "truncations of nothing": repeated(
        event("conversation.item.truncate", item_id="none", content_index=0, audio_end_ms=1)
    ),
    "results of functions": lambda times: [
        message
        for name in map(str, range(times))
        for message in (
            create({**CALL, "call_id": name}),
            create({"type": "function_call_output", "call_id": name, "output": "done"}),
        )
    ],
    "changes of the session": repeated(event("session.update", session={"type": "realtime"})),
    "manual turns": lambda times: [
        event("session.update", session=MANUAL_TURNS),
        *[
            event("input_audio_buffer.append", audio="A" * 64),
            event("input_audio_buffer.commit"),
            event("response.create"),
        ]
        * times,
    ],
    "cleared sound": repeated(event("input_audio_buffer.append", audio="A" * 6400), event("input_audio_buffer.clear")),
    "empty turns": repeated(event("input_audio_buffer.commit")),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_a_repeated_message_costs_the_same_each_time(tmp_path: Path, flood: Callable[[int], list[bytes]]) -> None:
    cost(tmp_path, flood(1))  # fills the caches
    few, many = cost(tmp_path, flood(FEW)), cost(tmp_path, flood(MANY))
    assert many < few * (MANY / FEW) * 1.25, f"{FEW} take {few} steps and {MANY} take {many}"
