"""A whole server whose local model uses hostile endpoints: its calls and the process survive"""

from __future__ import annotations

import asyncio
import base64
import signal
from pathlib import Path

import pytest
from peers.server_callers import calling, run
from peers.server_files import write_server_files
from peers.server_process import serving
from support.local.local_world import parts_or_skip

pytest.importorskip("openai", reason="needs openai: pip install 'patchbay[openai]'")
pytest.importorskip("uvicorn")

from peers.endpoint_house import Body, deltas, hostile

from gateway.models.local.chat import APOLOGY

pytestmark = [pytest.mark.openai_sdk, pytest.mark.sockets, pytest.mark.timed]

AGENT = """
model: local/offline
instructions: Be kind.
offline:
  rules: [{name: hello, phrases: [hello], say: Hello.}]
"""


@pytest.mark.parametrize(
    "body",
    [
        deltas({"tool_calls": [{"index": 0, "function": {"name": [], "arguments": [1]}}]}),
        deltas({"content": {"type": "text", "text": 7}}),
        Body([b"[" * 200_000], "application/json"),
    ],
)
def test_a_hostile_endpoint_costs_only_its_answers(body: Body, tmp_path: Path) -> None:
    parts_or_skip()
    write_server_files(tmp_path)
    (tmp_path / "agents" / "near.yaml").write_text(AGENT)

    async def main() -> None:
        async with calling(server, "desk") as beside, calling(server, "near") as bad:
            for _ in range(2):
                done, beside_done = await asyncio.gather(bad.turn("hello"), beside.turn("ping"))
                assert done["response"]["output"][0]["content"][0]["transcript"] == APOLOGY
                assert (done["response"]["status"], beside_done["response"]["status"]) == ("completed", "completed")
            spoken = [event for event in bad.events if event["type"] == "response.output_audio.delta"]
            assert sum(len(base64.b64decode(event["delta"])) for event in spoken) > 2 * 96_000

    with hostile(body) as port:
        local = {"PATCHBAY_LOCAL__CHAT__MODEL": "m", "PATCHBAY_LOCAL__SPEECH__MODEL": "m"}
        local |= {name.replace("MODEL", "BASE_URL"): f"http://127.0.0.1:{port}/v1" for name in local}
        with serving(tmp_path, **local, HTTP_PROXY="http://127.0.0.1:9", ALL_PROXY="socks5://127.0.0.1:9") as server:
            run(main, 60)
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert '"a background job failed"' not in server.log()
