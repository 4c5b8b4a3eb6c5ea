"""A link keeps its server connected and answers its callers in time, whatever the connection does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from support import virtual

from gateway.tools.connection import ConnectionGone, McpTool, NeverRan
from gateway.tools.contract import ToolResult
from gateway.tools.link import Link, LinkTimes
from sessions.errors import ToolFailed
from sessions.ports import JsonObject
from sessions.setup import ToolSpec

TIMES = LinkTimes(
    connect_ms=200,
    goodbye_ms=20,
    wait_ms=150,
    wait_dead_ms=10,
    first_retry_ms=1,
    last_retry_ms=4,
    refresh_ms=10_000,
    settle_ms=1,
)
Step = Callable[[], Coroutine[Any, Any, ToolResult]]


def tool(name: str, repeatable: bool) -> McpTool:
    return McpTool(ToolSpec(name, "", {"type": "object"}), repeatable)


async def fine() -> ToolResult:
    return ToolResult("fine", None, None)


async def gone() -> ToolResult:
    raise ConnectionGone


async def refuses() -> ToolResult:
    raise ToolFailed("no", kind="protocol_error")


async def never_ran() -> ToolResult:
    raise NeverRan


async def hangs() -> ToolResult:
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_whatever_comes() -> ToolResult:
    """Swallows its cancellation, as an SDK may."""
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return ToolResult("too late", None, None)


class Peer:
    """A scripted server: each dial takes the next of `dials`, each call the next of `steps`; the last one repeats."""

    def __init__(self, *steps: Step, dials: tuple[str, ...] = ("up",)) -> None:
        self.steps = list(steps) or [fine]
        self.dials = list(dials)
        self.dialled = 0
        self.open = 0
        self.calls: list[str] = []
        self.offered: tuple[McpTool, ...] = (tool("read", True), tool("write", False))
        self.lists = 0
        self.answers_lists = True
        self.look_again: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def dial(self) -> AsyncIterator[Peer]:
        self.dialled += 1
        match self.dials[0] if len(self.dials) == 1 else self.dials.pop(0):
            case "down":
                raise ExceptionGroup("unhandled errors", [ConnectionError("refused")])
            case "silent":
                await asyncio.Event().wait()
            case "stubborn":
                await hangs_whatever_comes()
            # The SDK cancels the task that opened a client whose connection is lost.
            case "cancels":
                asyncio.get_running_loop().call_later(0.005, asyncio.current_task().cancel)  # type: ignore[union-attr]
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    async def list_tools(self) -> tuple[McpTool, ...]:
        self.lists += 1
        if not self.answers_lists:
            raise ConnectionGone
        return self.offered

    async def call(self, tool: str, arguments: JsonObject, deadline_ms: int) -> ToolResult:
        self.calls.append(tool)
        step = self.steps[0] if len(self.steps) == 1 else self.steps.pop(0)
        return await step()

    async def listen(self, look_again: Callable[[], None]) -> None:
        self.look_again = look_again
        await asyncio.Event().wait()


def with_link(peer: Peer, body: Callable[[Link], Coroutine[Any, Any, None]]) -> None:
    """Run `body` beside a running link, and check that the link closes."""

    async def main() -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            link = Link("peer", peer.dial, TIMES)
            running = tasks.create_task(link.run())
            try:
                await body(link)
            finally:
                link.close()
            await running

    asyncio.run(main())


class Moment:
    """Lets every other task that is ready run once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await Moment()


def test_a_call_reaches_the_server_and_the_connection_is_closed_at_the_end() -> None:
    peer = Peer()

    async def body(link: Link) -> None:
        await link.settled()
        assert link.problem is None
        assert set(link.tools) == {"read", "write"}
        assert (await link.call("write", {}, 1000)).text == "fine"
        assert peer.open == 1

    with_link(peer, body)
    assert (peer.open, peer.dialled) == (0, 1)


def test_a_refusal_is_raised_and_keeps_the_connection() -> None:
    peer = Peer(refuses, fine)

    async def body(link: Link) -> None:
        with pytest.raises(ToolFailed, match="no") as refused:
            await link.call("read", {}, 1000)
        assert refused.value.kind == "protocol_error"
        assert (await link.call("read", {}, 1000)).text == "fine"

    with_link(peer, body)
    assert peer.dialled == 1


def test_a_lost_call_of_a_repeatable_tool_is_repeated_once() -> None:
    peer = Peer(gone, fine)

    async def body(link: Link) -> None:
        assert (await link.call("read", {}, 1000)).text == "fine"

    with_link(peer, body)
    assert (peer.calls, peer.dialled) == (["read", "read"], 2)


def test_a_lost_call_of_another_tool_is_not_repeated() -> None:
    peer = Peer(gone, fine)

    async def body(link: Link) -> None:
        with pytest.raises(ToolFailed, match="may or may not have been done"):
            await link.call("write", {}, 1000)
        assert (await link.call("write", {}, 1000)).text == "fine"

    with_link(peer, body)
    assert peer.calls == ["write", "write"]


def test_a_call_that_is_lost_twice_fails() -> None:
    peer = Peer(gone)

    async def body(link: Link) -> None:
        with pytest.raises(ToolFailed) as lost:
            await link.call("read", {}, 1000)
        assert lost.value.kind == "protocol_error"

    with_link(peer, body)
    assert peer.calls == ["read", "read"]


def test_a_caller_returns_at_its_deadline_even_if_the_call_swallows_its_cancellation() -> None:
    peer = Peer(hangs_whatever_comes, fine)

    async def body(link: Link) -> None:
        await link.settled()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await link.call("read", {}, 10)
        assert (await link.call("read", {}, 1000)).text == "fine"

    with_link(peer, body)
    assert peer.dialled == 1


def test_a_call_that_times_out_makes_the_link_check_its_peer() -> None:
    peer = Peer(hangs, fine)

    async def body(link: Link) -> None:
        await link.settled()
        peer.answers_lists = False
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await link.call("read", {}, 10)
        await until(lambda: link.problem is not None)
        peer.answers_lists = True
        assert (await link.call("read", {}, 1000)).text == "fine"

    with_link(peer, body)
    assert peer.dialled >= 2


def test_cancelling_the_connection_loses_running_calls_but_not_their_callers() -> None:
    peer = Peer(hangs, fine, dials=("cancels", "up"))

    async def body(link: Link) -> None:
        assert (await link.call("read", {}, 1000)).text == "fine"

    with_link(peer, body)
    assert (peer.calls, peer.dialled) == (["read", "read"], 2)


def test_a_dead_server_fails_calls_soon_and_is_dialled_again() -> None:
    peer = Peer(dials=("down",) * 4 + ("up",))

    async def body(link: Link) -> None:
        await link.settled()
        assert link.problem == "ConnectionError: refused"
        assert (await link.call("read", {}, 1000)).text == "fine"
        assert link.problem is None

    with_link(peer, body)
    assert peer.dialled == 5


def test_a_call_to_a_server_that_stays_dead_fails_with_http_error() -> None:
    peer = Peer(dials=("down",))

    async def body(link: Link) -> None:
        await link.settled()
        with pytest.raises(ToolFailed) as failed:
            await link.call("read", {}, 1000)
        assert failed.value.kind == "http_error"

    with_link(peer, body)
    assert peer.calls == []


@pytest.mark.parametrize("manner", ["silent", "stubborn"])
def test_a_server_that_never_finishes_the_handshake_is_given_up(manner: str) -> None:
    peer = Peer(dials=(manner, "up"))

    async def body(link: Link) -> None:
        await link.settled()
        assert link.problem == "it did not answer in time"
        await until(lambda: link.problem is None)
        assert (await link.call("read", {}, 1000)).text == "fine"

    with_link(peer, body)


def test_closing_while_connecting_does_not_wait_for_the_server() -> None:
    peer = Peer(dials=("silent",))

    async def body(link: Link) -> None:
        await until(lambda: peer.dialled == 1)

    with_link(peer, body)
    assert peer.open == 0


def test_closing_drops_running_calls() -> None:
    peer = Peer(hangs)

    async def call(link: Link) -> str:
        with pytest.raises(ToolFailed) as dropped:
            await link.call("write", {}, 1000)
        return dropped.value.kind

    async def main() -> str:
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            link = Link("peer", peer.dial, TIMES)
            tasks.create_task(link.run())
            calling = tasks.create_task(call(link))
            await until(lambda: bool(peer.calls))
            link.close()
            return await calling

    assert asyncio.run(main()) == "protocol_error"


def test_a_cancelled_link_closes_its_connection_first() -> None:
    peer = Peer()

    async def main() -> None:
        async with asyncio.timeout(5):
            link = Link("peer", peer.dial, TIMES)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(link.run())
                await link.settled()
                running.cancel()
            assert peer.open == 0

    asyncio.run(main())


def test_a_hint_makes_the_link_list_the_tools_again() -> None:
    peer = Peer()

    async def body(link: Link) -> None:
        await link.settled()
        peer.offered = (tool("new", True),)
        await Moment()
        peer.look_again()
        await until(lambda: set(link.tools) == {"new"})

    with_link(peer, body)
    assert (peer.dialled, peer.lists) == (1, 2)


def test_tools_stay_known_while_the_server_is_disconnected() -> None:
    peer = Peer(dials=("up", "down"))

    async def body(link: Link) -> None:
        await link.settled()
        await Moment()
        peer.answers_lists = False
        peer.look_again()
        await until(lambda: peer.dialled > 2)
        assert link.problem is not None
        assert set(link.tools) == {"read", "write"}

    with_link(peer, body)


# ---- a server that forgets its session


def test_a_call_that_did_not_run_is_repeated_whatever_the_tool() -> None:
    peer = Peer(never_ran, fine)

    async def body(link: Link) -> None:
        assert (await link.call("write", {}, 1000)).text == "fine"

    with_link(peer, body)
    assert (peer.calls, peer.dialled) == (["write", "write"], 2)


def test_a_call_that_never_runs_is_given_up_and_reported_as_not_done() -> None:
    peer = Peer(never_ran)

    async def body(link: Link) -> None:
        with pytest.raises(ToolFailed, match="It was not done") as failed:
            await link.call("write", {}, 1000)
        assert failed.value.kind == "http_error"

    with_link(peer, body)
    assert peer.calls == ["write", "write"]


def test_running_calls_continue_when_another_call_finds_the_session_lost() -> None:
    peer = Peer()
    go_on = asyncio.Event()

    async def slow() -> ToolResult:
        await go_on.wait()
        return ToolResult("slow", None, None)

    peer.steps = [slow, never_ran, never_ran, fine]

    async def body(link: Link) -> None:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(link.call("write", {}, 1000))
            await until(lambda: peer.calls == ["write"])
            others = [tasks.create_task(link.call("write", {}, 1000)) for _ in range(2)]
            await asyncio.wait(others)
            assert [other.result().text for other in others] == ["fine", "fine"]
            assert not first.done()
            go_on.set()
        assert first.result().text == "slow"
        assert link.problem is None

    with_link(peer, body)
    assert peer.dialled == 2  # one dial for all of them
    assert peer.open == 0


def test_a_lingering_connection_is_closed_with_its_link() -> None:
    peer = Peer(hangs, never_ran, fine)

    async def body(link: Link) -> None:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(link.call("write", {}, 60_000))
            await until(lambda: peer.calls == ["write"])
            assert (await link.call("write", {}, 1000)).text == "fine"
            assert peer.open == 2
            first.cancel()

    with_link(peer, body)
    assert peer.open == 0


# ---- a server that is slow to start, or dies


def with_slow_start(body: Callable[[Peer, Link], Coroutine[Any, Any, None]], times: LinkTimes, start_s: float) -> None:
    peer = Peer()

    @asynccontextmanager
    async def dial() -> AsyncIterator[Peer]:
        await asyncio.sleep(start_s)
        async with peer.dial() as connection:
            yield connection

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            link = Link("peer", dial, times, starts=True)
            running = tasks.create_task(link.run())
            await body(peer, link)
            link.close()
            await running

    virtual.run(main())


def test_a_call_waits_for_a_server_that_starts_as_long_as_its_deadline_allows(caplog: pytest.LogCaptureFixture) -> None:
    async def body(peer: Peer, link: Link) -> None:
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        with pytest.raises(ToolFailed, match=r"is still starting\. It was not done") as failed:
            await link.call("write", {}, 8_000)
        assert failed.value.kind == "timeout"
        assert loop.time() - begin_s == pytest.approx(8.0)
        assert (await link.call("write", {}, 30_000)).text == "fine"
        assert loop.time() - begin_s == pytest.approx(20.0)
        assert peer.dialled == 1

    with caplog.at_level("INFO"):
        with_slow_start(body, LinkTimes(), 20.0)
    waited = [record.__dict__["waited_ms"] for record in caplog.records if "still being" in record.message]
    assert waited == [10_000]


def test_a_slow_start_is_given_up_at_its_limit() -> None:
    async def body(peer: Peer, link: Link) -> None:
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        await link.settled()
        assert link.problem == "it did not answer in time"
        assert loop.time() - begin_s == pytest.approx(60.0)

    with_slow_start(body, LinkTimes(), 3600.0)


def test_a_server_that_dies_at_once_is_started_less_and_less_often_however_many_calls_come() -> None:
    peer = Peer(dials=("down",))

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            link = Link("peer", peer.dial, LinkTimes(), starts=True)
            running = tasks.create_task(link.run())
            for _ in range(600):  # one minute of calls
                with pytest.raises(ToolFailed, match="It was not done"):
                    await link.call("write", {}, 100)
            link.close()
            await running

    virtual.run(main())
    assert 20 < peer.dialled < 40


# ---- faulty connections


class OddError(BaseException):
    """A foreign exception that cannot even be shown."""

    def __str__(self) -> str:
        raise SystemExit(3)


def raises(error: type[BaseException]) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def step() -> Any:
        raise error

    return step


def gives(value: object) -> Callable[[], Coroutine[Any, Any, Any]]:
    async def step() -> Any:
        return value

    return step


ANYTHING: list[Callable[[], Coroutine[Any, Any, Any]]] = [
    *map(raises, (SystemExit, KeyboardInterrupt, RecursionError, TypeError, asyncio.CancelledError, OddError)),
    *map(gives, (None, [1], 7, {"a": 1}, b"x", "x", ToolResult(None, None, None))),  # type: ignore[arg-type]
    raises(MemoryError),
    raises(GeneratorExit),
]


@pytest.mark.parametrize("odd", ANYTHING)
def test_a_call_with_any_odd_outcome_is_reported_as_unknown_and_the_next_one_works(odd: Step) -> None:
    peer = Peer(odd, fine)

    async def body(link: Link) -> None:
        with pytest.raises(ToolFailed, match="It may or may not have been done") as failed:
            await link.call("write", {}, 1000)
        assert failed.value.kind == "protocol_error"
        assert (await link.call("write", {}, 1000)).text == "fine"

    with_link(peer, body)


@pytest.mark.parametrize("odd", ANYTHING)
@pytest.mark.parametrize("where", ["list_tools", "list_again", "listen", "dial", "goodbye"])
def test_an_odd_connection_affects_only_itself(odd: Callable[[], Coroutine[Any, Any, Any]], where: str) -> None:
    peer = Peer()
    good_list = peer.list_tools

    async def odd_once() -> Any:
        peer.list_tools = good_list  # type: ignore[method-assign]
        return await odd()

    async def odd_listen(look_again: Callable[[], None]) -> None:
        peer.look_again = look_again
        await odd()

    @asynccontextmanager
    async def odd_dial() -> AsyncIterator[Peer]:
        peer.dialled += 1
        if where == "dial" and peer.dialled == 1:
            await odd()
        try:
            yield peer
        finally:
            if where == "goodbye":
                await odd()

    async def body(link: Link) -> None:
        await until(lambda: link.problem is None)
        if where == "list_again":
            peer.list_tools = odd_once  # type: ignore[method-assign]
            await Moment()
            peer.look_again()
            await until(lambda: peer.list_tools == good_list)
        await until(lambda: link.problem is None)
        assert (await link.call("read", {}, 1000)).text == "fine"

    if where == "list_tools":
        peer.list_tools = odd_once  # type: ignore[method-assign]
    if where == "listen":
        peer.listen = odd_listen  # type: ignore[method-assign]

    async def main() -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            link = Link("peer", odd_dial, TIMES)
            tasks.create_task(link.run())
            await body(link)
            link.close()

    asyncio.run(main())
