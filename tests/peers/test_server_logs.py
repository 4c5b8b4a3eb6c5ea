"""A conversation with tools, numbers, secrets and all kinds of faults: none of its words appear in the logs."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from peers.server_callers import calling, refused, run
from peers.server_files import KEY, SECRETS
from peers.server_process import Server, serving, start, stop

from audio.formats import PCM16_24K
from gateway.models.scripted.sound import word

pytestmark = pytest.mark.sockets

BOOM = '''
from patchbay import tool


@tool
def look_up(phone: str) -> str:
    """Look somebody up."""
    raise RuntimeError(f"marmalade at {phone}")
'''


async def _talk(server: Server) -> str:
    async with calling(server, greeting="1", server_tools="show") as caller:
        await caller.turn("ping xylophone")
        done = await caller.turn("number +491701234567 xylophone")
        assert done["response"]["output"][0]["name"] == "look_up"
        await caller.until("response.done")  # the answer that follows the tool's result
        for _ in range(12):
            await caller.sound(word(100, PCM16_24K)[:4800])
        for _ in range(40):
            await caller.sound()
        await caller.until("conversation.item.input_audio_transcription.completed")
        await caller.socket.send('{"type": "xylophone", "marmalade": ')
        await caller.problem()
        await caller.send("input_audio_buffer.append", audio="marmalade!")
        await caller.problem()
        await caller.say("story")
        await caller.until("response.output_audio.delta")
        caller.socket.transport.abort()
    await refused(server, headers={"Authorization": "Bearer sk-narwhal-0001"})
    await refused(server, agent="+491701234567")
    return caller.session_id


@pytest.mark.parametrize("broken", [False, True])
def test_no_word_is_logged(tmp_path: Path, broken: bool) -> None:
    settings = {"PATCHBAY_API_KEYS": KEY, "OPENAI_API_KEY": "sk-narwhal-0001", "PATCHBAY_LOG_LEVEL": "debug"}
    with serving(tmp_path, **settings) as server:
        if broken:
            stop(server)
            (tmp_path / "plugins" / "look_up.py").write_text(BOOM)
            server = start(tmp_path, **settings)
        session_id = run(lambda: _talk(server))
        server.ended(session_id)
        stored = json.dumps(server.turns(session_id))
        assert "xylophone" in stored
        assert "+491701234567" in stored  # the record holds them
        server.signal(signal.SIGKILL)
        server.wait()
        stop(server)
        again = start(tmp_path, **settings)
        stop(again)
        log = again.log()
        assert session_id in log  # the end of the call, with its reason
        for line in log.splitlines():
            assert isinstance(json.loads(line)["message"], str)
        for secret in (*SECRETS, "Once upon", "instructions"):
            assert secret not in log, [line for line in log.splitlines() if secret in line]
        assert not re.search(r"\b(Bearer|ek_|sk-)", log)
