"""Thirty calls in which every place for words holds canaries: Realtime clients, and telephones over Twilio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from peers.canaries import in_url, spelled
from peers.canary_house import (
    ACCOUNT,
    CALLS,
    CARRIER,
    CLIENT_RESULT,
    CLIENTS,
    COLLECTED,
    COMMENT,
    FAULT,
    HEADER,
    NUMBER,
    PHONES,
    PRESSED,
    PUBLIC,
    SCORE,
    TOKEN,
    TYPED,
    URL,
    keys_of,
    number_of,
)
from peers.server_callers import Caller, calling
from peers.server_process import Server
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from audio.formats import PCM16_24K, PCMU_8K
from gateway.models.scripted.sound import word
from gateway.softphone.far_ends.twilio import TwilioStream
from gateway.softphone.far_ends.twilio_requests import TwilioCaller, read_twiml

AT_ONCE = 6
STEPS = ["typed", "function", "raise", "refuse", "mcp", "no", "break", "invented", "client", "error", "fail"]
VOICE_PATH = "/telephony/twilio/voice"


async def all_calls(server: Server) -> None:
    """Make all calls, some at a time, and everything else that a client may ask with words in it."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(make: Callable[[Server, int], Awaitable[None]], call: int) -> None:
        async with room:
            await make(server, call)

    async with asyncio.TaskGroup() as group:
        for call in range(CALLS):
            group.create_task(one(_phone_call if call in PHONES else _web_call, call))
        group.create_task(_odd_requests(server))


# ---- Realtime


async def _web_call(server: Server, call: int) -> None:
    headers = {"User-Agent": HEADER.words(call), "X-Customer": HEADER.words(call), "Baggage": HEADER.words(call)}
    async with calling(server, f"c{call:02}", headers=headers, user=URL.words(call), greeting="1") as caller:
        words = CLIENTS.words(call)
        page = {"type": "function", "name": "ask_page", "description": words, "parameters": {"type": "object"}}
        session = {"type": "realtime", "instructions": words, "tools": [page], "tracing": {"metadata": {"a": words}}}
        await caller.send("session.update", session=session, event_id=f"event {words}"[:500])
        system = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": words}]}
        await caller.send("conversation.item.create", item=system)
        for step in STEPS:
            await _step(caller, call, step)
        await _speak(caller)
        await caller.send(words)  # an event of an unknown kind
        await caller.socket.send(f'{{"type": "{words}')
        await asyncio.sleep(0.3)
        if call % 3 == 0:
            await caller.say(f"break {FAULT.words(call)}")
            assert await caller.close_code() == 1011
    value = f"{SCORE.canary('email', call)} {spelled('card', SCORE.canary('card', call), call)}"
    await _score(server, caller.session_id, name="booked", value="yes", comment=COMMENT.words(call))
    await _score(server, caller.session_id, name="about", value=value)


async def _score(server: Server, session: str, **score: str) -> None:
    path = f"/api/v1/sessions/{session}/scores"
    status, answer = await asyncio.to_thread(server.ask, path, method="POST", body=score)
    assert status in (200, 201), answer


async def _step(caller: Caller, call: int, step: str) -> None:
    text = f"step-{step}" + (f" {TYPED.words(call)}" if step == "typed" else "")
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await caller.send("conversation.item.create", item=item)
    words = CLIENTS.words(call)
    await caller.send("response.create", response={"metadata": {"who": words[:500]}, "instructions": words})
    if step == "client":
        asked = (await caller.until("response.function_call_arguments.done"))["call_id"]
        await caller.until("response.done")
        output = {"type": "function_call_output", "call_id": asked, "output": CLIENT_RESULT.words(call)}
        await caller.send("conversation.item.create", item=output)
        await caller.send("response.create")
    await caller.until("response.done")
    if step in ("function", "raise", "refuse", "mcp", "no", "break", "invented"):
        await caller.until("response.done")


async def _speak(caller: Caller) -> None:
    voice = word(250, PCM16_24K) * 2 + bytes(48_000)
    for at in range(0, len(voice), 960):
        await caller.sound(voice[at : at + 960])
        await asyncio.sleep(0.015)
    await caller.until("response.done")


async def _odd_requests(server: Server) -> None:
    words = URL.words(CALLS)
    for path in ("/v1/realtime?model=", "/api/v1/sessions/", f"/{in_url(words)}?token=", "/api/v1/sessions?after="):
        await asyncio.to_thread(server.ask, path + in_url(words), headers={"X-Key": HEADER.words(CALLS)})
    await asyncio.to_thread(server.ask, "/v1/realtime/client_secrets", method="POST", body={"session": {"x": words}})
    with suppress(InvalidStatus, ConnectionClosed):
        async with calling(server, words):
            pass


# ---- telephones


class _Telephone:
    """One telephone call over Twilio's media socket; frames are sent all the time."""

    def __init__(self, socket: ClientConnection, stream: TwilioStream) -> None:
        self._socket = socket
        self._stream = stream
        self._loud = 0  # frames of voice to send

    async def run(self) -> None:
        """Send frames, and take what comes, until cancelled."""
        loop = asyncio.get_running_loop()
        voice, quiet, due = word(250, PCMU_8K), b"\xff" * 160, loop.time()
        frames = [voice[at : at + 160] for at in range(0, len(voice) - 160, 160)]
        for message in self._stream.begin():
            await self._socket.send(message.decode())
        at = 0
        while True:
            payload = frames[at % len(frames)] if self._loud > 0 else quiet
            self._loud, at, due = self._loud - 1, at + 1, due + 0.02
            for message in (*self._stream.speak(payload), *self._stream.on_time(loop.time() * 1000)):
                await self._socket.send(message.decode())
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    while True:
                        received = await self._socket.recv()
                        answers = self._stream.text(str(received).encode(), loop.time() * 1000)
                        for message in answers:
                            await self._socket.send(message.decode())

    async def press(self, keys: str) -> None:
        """Press keys."""
        for key in keys:
            for message in self._stream.press(key):
                await self._socket.send(message.decode())

    def speak(self) -> None:
        """Say a word or two."""
        self._loud = 30


async def _phone_call(server: Server, call: int) -> None:
    caller = TwilioCaller(ACCOUNT, f"CA{call:032}", TOKEN, "", "")
    words = CARRIER.words(call)
    number = NUMBER.canary("phone", call)
    fields = {"From": number, "To": number_of(call), "Caller": number, "CallerName": words, "CallerCity": words}
    request = caller.status(PUBLIC + VOICE_PATH, **fields, ForwardedFrom=number, Direction="inbound")
    order = read_twiml(await _post(server, request.headers, request.body))
    stream = TwilioStream(
        account_sid=ACCOUNT,
        call_sid=caller.call_sid,
        stream_sid=f"MZ{call:032}",
        parameters={**order.parameters, "customer": words[:200]},
    )
    url = f"ws://127.0.0.1:{server.port}/" + order.url.split("/", 3)[3]
    async with connect(url, additional_headers=caller.handshake(order), compression=None, max_size=None) as socket:
        telephone = _Telephone(socket, stream)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(telephone.run())
            await asyncio.sleep(1.0)
            await telephone.press(keys_of(PRESSED, call) + "#")
            await asyncio.sleep(1.5)
            await telephone.press(keys_of(COLLECTED, call) + "#")
            await asyncio.sleep(1.5)
            telephone.speak()
            await asyncio.sleep(2.5)
            running.cancel()
        for message in stream.stop():
            await socket.send(message.decode())


async def _post(server: Server, headers: dict[str, str], body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    more = {"Host": "voice.example", "Content-Length": str(len(body)), "Connection": "close", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in more.items())
    writer.write(f"POST {quote(VOICE_PATH)} HTTP/1.1\r\n{head}\r\n".encode() + body)
    answer = await reader.read(-1)
    writer.close()
    front, _, content = answer.partition(b"\r\n\r\n")
    assert front.split(b" ")[1] == b"200", answer
    return content


def sessions_of(server: Server) -> list[Any]:
    """All sessions in the store, with their turns and scores."""
    _, page = server.ask("/api/v1/sessions?limit=100")
    found = []
    for one in page["sessions"]:
        scores = server.ask(f"/api/v1/sessions/{one['session_id']}/scores")[1]
        found.append({**one, "turns": server.turns(one["session_id"]), "scores": scores})
    return found


def is_over(sessions: list[Any]) -> bool:
    """Whether all calls are in the store and over."""
    return len(sessions) == CALLS and all(one["state"] == "ended" for one in sessions)
