"""Tests for gateway/net/message_budget.py; tests/peers/test_socket_turns.py has them over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from picows import WSMsgType
from support.calls.call_rig import turn

from gateway.net.message_budget import MESSAGES_A_TURN, MessageBudget


class Frame:
    """The part of a picows frame that is kept for later."""

    msg_type, fin, rsv1, rsv2, rsv3 = WSMsgType.TEXT, True, 0, 0, 0

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def get_payload_as_bytes(self) -> bytes:
        return self._payload


def test_frames_above_the_budget_are_handled_in_later_turns_and_in_order() -> None:
    taken: list[bytes] = []
    drained: list[int] = []

    def take(kind: WSMsgType, fin: bool, reserved: int, payload: bytes) -> None:
        taken.append(payload)
        budget.count_message()

    budget = MessageBudget(take, lambda: drained.append(len(taken)))

    async def main() -> None:
        for _ in range(MESSAGES_A_TURN - 1):
            budget.count_message()
        assert budget.deferred is None
        budget.count_message()
        frames = [b"%d" % number for number in range(MESSAGES_A_TURN + 1)]
        for frame in frames:
            budget.defer(cast(Any, Frame(frame)))
        await turn()
        assert (taken, drained) == (frames[:-1], [])
        await turn()
        assert (taken, drained, budget.deferred) == (frames, [len(frames)], None)
        await turn()

    asyncio.run(main())


def test_a_closed_budget_calls_nothing() -> None:
    calls: list[str] = []
    budget = MessageBudget(lambda *frame: calls.append("take"), lambda: calls.append("drained"))

    async def main() -> None:
        for _ in range(MESSAGES_A_TURN):
            budget.count_message()
        budget.defer(cast(Any, Frame(b"late")))
        budget.close()
        await turn()

    asyncio.run(main())
    assert calls == []


def test_of_all_long_messages_one_is_handled_in_a_turn_and_frames_wait_behind_theirs() -> None:
    taken: list[tuple[str, bytes]] = []

    def budget(name: str) -> MessageBudget:
        return MessageBudget(lambda kind, fin, reserved, payload: taken.append((name, payload)), lambda: None)

    first, second = budget("first"), budget("second")

    async def main() -> None:
        first.count_message()  # its own turn does not hand out the long message early
        first.defer_long(lambda: taken.append(("first", b"long")))
        first.defer(cast(Any, Frame(b"behind it")))
        second.defer_long(lambda: taken.append(("second", b"long too")))
        await turn()
        assert taken == [("first", b"long"), ("first", b"behind it")]
        await turn()
        assert taken[2:] == [("second", b"long too")]
        assert (first.deferred, second.deferred) == (None, None)

    asyncio.run(main())
