"""A TCP connection of frames: ends from both sides, and what a peer may not do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from support.calls.call_rig import later, turn
from support.calls.memory_transport import MemoryTransport
from support.virtual import run

from gateway.net.frame_reader import FRAMES_A_TURN, FrameRules
from gateway.net.framed import FramedHooks, FramedLimits, FramedSocket
from gateway.net.sockets import Receiver, Socket
from sessions.errors import WireError

LIMITS = FramedLimits(first_frame_s=2.0, goodbye_s=1.0, max_unsent_bytes=100)


def size_of(head: bytes) -> int:
    """A frame of the test's protocol: a length byte below 200, and so many bytes."""
    if head[0] >= 200:
        raise WireError("too long")
    return 1 + head[0]


def frame(payload: bytes) -> bytes:
    return bytes([len(payload)]) + payload


class Far:
    """A connection, its far end, and its receiver."""

    def __init__(self, *, allowed: bool = True) -> None:
        self.frames: list[bytes] = []
        self.ends: list[tuple[int, str]] = []
        self.faults: list[BaseException] = []
        self.counted: list[str] = []
        self.adopted = self.lost_to_hooks = 0
        self.sockets: list[Socket] = []
        self.on_frame: Callable[[bytes], None] = lambda frame: None
        self._allowed = allowed
        self.socket = FramedSocket(FrameRules(1, size_of), LIMITS, self._hooks())
        self.wire = MemoryTransport(self.socket)

    def _hooks(self) -> FramedHooks:
        def adopted() -> None:
            self.adopted += 1

        def lost(socket: FramedSocket) -> None:
            self.lost_to_hooks += 1

        def opened(socket: FramedSocket) -> Receiver | None:
            return self if self._allowed else None

        return FramedHooks(opened, adopted, lost, self.counted.append)

    def opened(self, socket: Socket) -> None:
        self.sockets.append(socket)

    def text(self, message: bytes) -> None:
        raise AssertionError

    def binary(self, message: bytes) -> None:
        self.frames.append(message)
        self.on_frame(message)

    def lost(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))


def play(main: Callable[[Far], Awaitable[None]], *, allowed: bool = True) -> None:
    async def whole() -> None:
        await main(Far(allowed=allowed))

    run(whole())


def test_frames_that_wait_when_the_connection_breaks_are_handled_before_the_end() -> None:
    async def main(far: Far) -> None:
        far.wire.says(frame(b"x") * (2 * FRAMES_A_TURN))
        far.wire.goes(ConnectionResetError())
        far.on_frame = lambda frame: None if not far.ends else pytest.fail("after the end")
        await later(1)
        assert len(far.frames) == 2 * FRAMES_A_TURN
        assert far.ends == [(1006, "")]

    play(main)


def test_a_peer_that_closes_has_hung_up_and_one_that_resets_has_broken_off() -> None:
    async def main(far: Far) -> None:
        far.wire.says(frame(b"x"))
        far.wire.goes()
        await turn()
        assert (far.ends, far.socket.ended_here, far.lost_to_hooks) == ([(1000, "")], False, 1)
        other, third = Far(), Far()
        other.wire.goes(ConnectionResetError())
        third.wire.says(frame(b"abc")[:2])
        third.wire.goes()
        await turn()
        assert other.ends == third.ends == [(1006, "")]

    play(main)


def test_what_is_sent_before_a_close_leaves_and_then_the_peers_end_is_awaited() -> None:
    async def main(far: Far) -> None:
        far.socket.send_binary(b"last")
        far.socket.close(1008, "no")
        assert (far.wire.got, far.wire.ended) == (b"last", ["eof"])
        assert far.socket.closed
        assert far.socket.ended_here
        far.socket.send_binary(b"dropped")
        far.wire.says(frame(b"late"))
        assert (far.wire.got, far.frames, far.ends) == (b"last", [], [])
        far.wire.goes()
        await turn()
        assert (far.ends, far.wire.ended) == ([(1008, "no")], ["eof"])

    play(main)


def test_a_peer_that_does_not_end_is_cut_off_after_the_goodbye() -> None:
    async def main(far: Far) -> None:
        far.socket.close()
        await later(0.9)
        assert not far.wire.gone
        await later(0.2)
        assert (far.wire.ended, far.ends) == (["eof", "aborted"], [(1000, "")])

    play(main)


def test_a_first_frame_must_be_whole_within_two_seconds() -> None:
    async def main(far: Far) -> None:
        far.wire.says(frame(b"abc")[:3])
        await later(1.9)
        assert not far.socket.closed
        await later(0.2)
        assert (far.counted, far.wire.ended) == (["no_first_frame"], ["eof"])
        other = Far()
        other.wire.says(frame(b"abc"))
        await later(10)
        assert not other.socket.closed

    play(main)


@pytest.mark.parametrize("before", [b"", frame(b"abc"), frame(b"abc")[:2]])
def test_a_frame_that_no_peer_may_send_ends_the_connection(before: bytes) -> None:
    async def main(far: Far) -> None:
        far.wire.says(before)
        far.wire.says(frame(b"abc")[2:] + b"\xff" if len(before) == 2 else b"\xff")
        assert (far.counted, far.wire.ended) == (["bad_frame"], ["eof"])
        assert len(far.frames) == (1 if before else 0)
        far.wire.goes()
        await turn()
        assert far.ends == [(1002, "too long")]

    play(main)


def test_a_peer_that_does_not_read_is_given_up() -> None:
    async def main(far: Far) -> None:
        far.wire.full = True
        far.socket.send_binary(bytes(100))
        assert (far.socket.unsent_bytes, far.socket.closed) == (100, False)
        far.socket.send_binary(b"x")
        assert (far.socket.closed, far.counted) == (True, ["too_slow"])
        await later(1.1)
        assert far.ends == [(1013, "too much is unsent")]

    play(main)


def test_what_a_receiver_raises_goes_to_its_call_and_ends_the_connection() -> None:
    async def main(far: Far) -> None:
        def fails(frame: bytes) -> None:
            raise ZeroDivisionError

        far.socket.hand_to(far, far.faults.append)
        far.on_frame = fails
        far.wire.says(frame(b"x") * 2)
        assert [type(fault) for fault in far.faults] == [ZeroDivisionError]
        assert (len(far.frames), far.wire.ended) == (1, ["eof"])
        await later(1.1)
        assert far.ends == [(1011, "")]

    play(main)


def test_a_receiver_may_hand_the_connection_on_in_the_middle_of_a_read() -> None:
    async def main(far: Far) -> None:
        other = Far()
        far.on_frame = lambda frame: far.socket.hand_to(other, other.faults.append)
        far.wire.says(frame(b"a") + frame(b"b"))
        assert (far.frames, other.frames, far.adopted) == ([frame(b"a")], [frame(b"b")], 1)
        assert other.sockets[-1] is far.socket
        far.wire.goes()
        await turn()
        assert (far.ends, other.ends) == ([], [(1000, "")])

    play(main)


def test_a_connection_without_a_receiver_ends_at_once() -> None:
    async def main(far: Far) -> None:
        assert far.wire.ended == ["aborted"]
        far.wire.says(frame(b"x"))
        await turn()
        assert (far.frames, far.ends, far.lost_to_hooks) == ([], [], 1)

    play(main, allowed=False)
