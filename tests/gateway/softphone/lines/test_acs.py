"""A call as Azure Communication Services makes it, in virtual time: event, actions, callbacks and media socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jwt
import orjson
import pytest
from support.calls.acs_requests import ACCESS_KEY, action, answering
from support.calls.acs_world import GUID, mint
from support.calls.call_rig import later
from support.virtual import run
from websockets.exceptions import ConnectionClosedOK

from gateway.callers.acs.showing import SECRET_HEADER
from gateway.clock import LoopClock
from gateway.softphone.far_ends.acs import AcsFarEnd
from gateway.softphone.far_ends.acs_resource import AcsResource, ServiceAnswer, ServiceRequest
from gateway.softphone.lines.acs import AcsLine
from gateway.softphone.lines.acs_service import RING_S, AcsService
from gateway.softphone.lines.gateway_http import HttpAnswer
from gateway.softphone.lines.line import LineRefused
from gateway.softphone.lines.media_socket import FarStream, MediaSocket

PUBLIC = "https://voice.example"
SECRET = "an-event-secret"
STOP = b'{"Kind":"StopAudio","AudioData":null,"StopAudio":{}}'
EVENTS, CALLBACKS = "/telephony/acs/events", "/telephony/acs/callbacks/KEY"
OK = HttpAnswer(200, b"")


class Connection:
    """The gateway's end of a media socket, as the `websockets` package shows it to the line."""

    close_reason = ""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.close_code: int | None = None
        self._messages: asyncio.Queue[str | None] = asyncio.Queue()

    def says(self, message: bytes) -> None:
        self._messages.put_nowait(message.decode())

    def goes(self) -> None:
        self.close_code = self.close_code or 1000
        self._messages.put_nowait(None)

    async def recv(self) -> str:
        message = await self._messages.get()
        if message is None:
            raise ConnectionClosedOK(None, None)
        return message

    async def send(self, message: bytes, text: bool) -> None:
        assert text
        if self.close_code is not None:
            raise ConnectionClosedOK(None, None)
        self.sent.append(orjson.loads(message))

    async def close(self, code: int) -> None:
        self.goes()


class World:
    """A gateway that does with a call what the test says, and the line that calls it."""

    def __init__(self, public_url: str = PUBLIC) -> None:
        self.clock = LoopClock(asyncio.get_running_loop(), 1_900_000_000.0)
        self.far_end = AcsFarEnd("+12025550199", "+12025550100")
        resource = AcsResource(self.far_end, mint(), ACCESS_KEY, openid_path="/openid", key_set_url="http://x/keys")
        self.connection = Connection()
        self.answers: dict[str, list[HttpAnswer]] = {}  # by path, the last one again and again
        self.told: list[tuple[str, str, Any]] = []  # path, kind, headers
        self.dialled: list[tuple[str, Mapping[str, str]]] = []
        self.acts: list[ServiceRequest] = []  # when the call rings
        self.acted: list[ServiceAnswer] = []
        self.stopped = 0
        self.take: Callable[[ServiceRequest], ServiceAnswer]
        self.line = AcsLine(
            self.far_end,
            AcsService(resource, self._serve, self.clock),
            mint(),
            event_secret=SECRET,
            public_url=public_url,
            server_url="http://127.0.0.1:1",
            ask=self._ask,
            clock=self.clock,
            dial=self._dial,
        )

    def action(self, name: str, fields: Any, **headers: str) -> ServiceRequest:
        return action(name, fields, self.clock.wall_s(), **headers)

    def answers_it(self, **options: Any) -> ServiceRequest:
        return self.action(":answer", answering(self.far_end.context, **options))

    def ends(self) -> ServiceAnswer:
        return self.take(self.action(f"/{self.far_end.connection_id}:terminate", None))

    async def _serve(self, take: Callable[[ServiceRequest], ServiceAnswer]) -> Callable[[], Awaitable[None]]:
        self.take = take

        async def stop() -> None:
            self.stopped += 1

        return stop

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        (event,) = orjson.loads(body)
        self.told.append((path, event.get("eventType") or event["type"], headers))
        answers = self.answers.get(path, [OK])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if path == EVENTS and answer.ok:
            asyncio.get_running_loop().call_later(0.1, lambda: self.acted.extend(map(self.take, self.acts)))
        return answer

    async def _dial(self, url: str, far_end: FarStream, headers: Mapping[str, str], *, tls: Any) -> MediaSocket:
        self.dialled.append((url, headers))
        return MediaSocket(self.connection, far_end)  # type: ignore[arg-type]


def with_line(main: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World()
        world.acts = [world.answers_it()]
        await main(world)

    run(whole())


def claims(authorization: str) -> dict[str, Any]:
    token, key = authorization.removeprefix("Bearer "), mint().key.public_key()
    options = {"verify_nbf": False, "verify_exp": False}
    found: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], options=options, audience=GUID)
    return found


def test_a_call_rings_is_connected_and_speaks_until_the_caller_hangs_up() -> None:
    async def main(world: World) -> None:
        line, connection = world.line, world.connection
        await line.dial()
        (rung, connected) = world.told
        assert rung[:2] == (EVENTS, "Microsoft.Communication.IncomingCall")
        assert rung[2][SECRET_HEADER] == SECRET
        assert connected[:2] == (CALLBACKS, "Microsoft.Communication.CallConnected")
        assert [answer.status for answer in world.acted] == [200]
        ((url, headers),) = world.dialled
        assert url == "ws://127.0.0.1:1/telephony/acs/media/TICKET"
        assert headers["x-ms-call-connection-id"] == line.carrier_call_id == world.far_end.connection_id
        shown = [claims(connected[2]["Authorization"]), claims(headers["authorization"])]
        assert [found["exp"] - found["nbf"] for found in shown] == [300, 24 * 3600]
        begun_ms = world.clock.now_ms()
        await line.begin(lambda: world.clock.now_ms() - begun_ms)
        await line.speak(bytes(960))
        assert [message["kind"] for message in connection.sent] == ["AudioMetadata", "AudioData"]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(line.listen())
            sound = {"Kind": "AudioData", "AudioData": {"Data": "AAAA" * 640}, "StopAudio": None}
            connection.says(orjson.dumps(sound))
            await later(0.01)
            connection.says(STOP)
            await later(1.0)
            assert line.ear.heard_bytes(1_000) == 480  # 10 ms at 24 kHz
            await line.hang_up()
        assert world.stopped == 0
        await line.after()
        assert world.told[-1][:2] == (CALLBACKS, "Microsoft.Communication.CallDisconnected")
        assert (world.stopped, line.faults()) == (1, [])

    with_line(main)


def test_the_sound_is_in_the_format_that_the_answer_asks_for() -> None:
    async def main(world: World) -> None:
        world.acts = [world.answers_it(audioFormat="pcm16KMono")]
        await world.line.dial()
        await world.line.begin(lambda: 0.0)
        await world.line.speak(b"\x00\x20" * 480)
        metadata, sound = world.connection.sent
        assert metadata["audioMetadata"]["sampleRate"] == 16_000
        assert len(sound["audioData"]["data"]) == 856  # 640 bytes as base64

    with_line(main)


@pytest.mark.parametrize("socket_first", [True, False])
def test_the_gateway_ends_the_call_by_an_action(socket_first: bool) -> None:
    async def main(world: World) -> None:
        await world.line.dial()
        await world.line.begin(lambda: 0.0)
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(world.line.listen())
            if socket_first:
                world.connection.goes()
                await later(1.0)
            assert not listening.done()
            assert world.ends().status == 204
            assert await listening == "the gateway hung up"
        assert world.connection.close_code == 1000
        await world.line.hang_up()
        await world.line.after()
        assert world.line.faults() == []

    with_line(main)


def test_a_socket_that_is_closed_without_an_action_leaves_the_caller_in_silence() -> None:
    async def main(world: World) -> None:
        await world.line.dial()
        await world.line.begin(lambda: 0.0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(world.line.listen())
            world.connection.goes()
            await world.line.hang_up()  # as the call does once nothing more can be said
        assert world.line.faults() == ["a media socket that is closed without the action that ends the call"]

    with_line(main)


def test_an_event_is_sent_again_while_the_gateway_asks_for_that() -> None:
    async def main(world: World) -> None:
        busy = HttpAnswer(503, b'{"error": {"message": "No keys.", "code": "keys_missing"}}')
        world.answers[CALLBACKS] = [busy, busy, OK]
        begun_ms = world.clock.now_ms()
        await world.line.dial()
        assert [kind.rpartition(".")[2] for _, kind, _ in world.told] == ["IncomingCall", *["CallConnected"] * 3]
        assert 2_000 <= world.clock.now_ms() - begun_ms < 3_000
        world.answers[CALLBACKS] = [busy]
        await world.line.after()
        assert world.line.faults() == ["the event that the call is over was refused: No keys. (keys_missing)"]

    with_line(main)


def test_a_gateway_that_refuses_says_why() -> None:
    no = HttpAnswer(401, b'{"error": {"message": "Not shown.", "code": "invalid_token"}}')

    async def main(world: World) -> None:
        for path, why in ((EVENTS, "refused the event of the call"), (CALLBACKS, "refused the event that the call is")):
            refused = World()
            refused.acts, refused.answers = [refused.answers_it()], {path: [no]}
            with pytest.raises(LineRefused, match=rf"{why}.*Not shown. \(invalid_token\)"):
                await refused.line.dial()
            assert (refused.stopped, refused.dialled) == (1, [])

    with_line(main)


def test_a_call_that_is_not_answered_says_why() -> None:
    async def main(world: World) -> None:
        begun_ms = world.clock.now_ms()
        acts = {
            "does not take the call: busy": [
                world.action(":reject", {"incomingCallContext": world.far_end.context, "callRejectReason": "busy"})
            ],
            "the gateway's action was refused: POST .*:answer: the request is not signed": [
                world.action(":answer", answering(world.far_end.context), authorization="none")
            ],
            "has not answered the call within 20 s": [],
            "the answer's addresses are not under public_url": [world.answers_it(transportUrl="wss://other.example/")],
        }
        for why, requests in acts.items():
            asked = World()
            asked.acts = requests
            with pytest.raises(LineRefused, match=why):
                await asked.line.dial()
            assert (asked.stopped, asked.dialled) == (1, [])
        assert world.clock.now_ms() - begun_ms >= RING_S * 1000

    with_line(main)


def test_an_answer_that_the_service_would_not_use_is_a_fault() -> None:
    async def main(world: World) -> None:
        world.acts = [world.answers_it(enableBidirectional=False)]
        await world.line.dial()
        assert world.line.faults() == ["an answer without enableBidirectional, so that the agent is not heard"]
        plain = World(PUBLIC.replace("https", "http"))
        fields = orjson.dumps(answering(plain.far_end.context)).replace(b"https:", b"http:").replace(b"wss:", b"ws:")
        plain.acts = [plain.action(":answer", orjson.loads(fields))]
        await plain.line.dial()
        assert plain.line.faults() == ["addresses that are not wss:// and https://, which the service does not use"]

    with_line(main)
