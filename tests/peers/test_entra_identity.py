"""azure-identity with an identity service on this machine, and with a proxy in the environment that would break it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from peers.server_process import environment

pytestmark = pytest.mark.sockets

ASK = """
import asyncio
from gateway.models.realtime.endpoints import EntraTokens
async def main():
    tokens = EntraTokens("https://ai.azure.com/.default")
    for _ in range(2):
        print((await tokens.headers())["Authorization"])
    await tokens.close()
asyncio.run(main())
"""


class Identity(BaseHTTPRequestHandler):
    """Gives a token to every request."""

    def do_GET(self) -> None:
        until = int(time.time()) + 3600
        body = json.dumps(
            {
                "access_token": "t-1",
                "expires_on": str(until),
                "expires_in": 3600,
                "resource": "a",
                "token_type": "Bearer",
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def identity() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Identity) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("service", ["IDENTITY_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"])
def test_an_identity_service_on_this_machine_is_asked_without_a_proxy(tmp_path: Path, service: str) -> None:
    pytest.importorskip("azure.identity", reason="pip install 'patchbay[azure]'")
    pytest.importorskip("aiohttp", reason="pip install 'patchbay[azure]'")
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    with identity() as url:
        place = {service: url} | ({"IDENTITY_HEADER": "secret"} if service == "IDENTITY_ENDPOINT" else {})
        done = subprocess.run(
            [sys.executable, "-c", ASK],
            cwd=tmp_path,
            env=environment(tmp_path, proxies | place | {"NO_PROXY": "", "no_proxy": ""}),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert (done.returncode, done.stdout) == (0, "Bearer t-1\nBearer t-1\n"), done.stderr
    assert "Unclosed" not in done.stderr
