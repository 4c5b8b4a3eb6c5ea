"""A receiver shaped like Langfuse: traces, scores, and media whose files it takes at an address of its own.

Source: `langfuse` 5.0.4, `api/scores`, `api/media` and `_task_manager/media_manager.py`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import soundfile
from peers.telemetry_receivers import Handler, Receiver, receiving

PUBLIC, SECRET = "pk-lf-1", "sk-lf-1"
KEYS = {"LANGFUSE_PUBLIC_KEY": PUBLIC, "LANGFUSE_SECRET_KEY": SECRET}
BASIC = "Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode()


@dataclass
class Langfuse:
    """What it has, and how it behaves."""

    receiver: Receiver
    takes_lists: bool = True  # of scores; Langfuse 3 does not
    refuses: tuple[str, ...] = ()  # names of scores
    key_is_wrong: bool = False
    upload_status: int = 200
    scores: dict[str, Any] = field(default_factory=dict)  # by id
    posted: list[Any] = field(default_factory=list)  # bodies of requests for scores
    asked: list[Any] = field(default_factory=list)  # bodies of requests for media
    files: dict[str, bytes] = field(default_factory=dict)  # by media id; those that were uploaded and reported
    reports: list[Any] = field(default_factory=list)
    uploads: int = 0
    faults: list[str] = field(default_factory=list)  # what no client may do
    _uploaded: dict[str, bytes] = field(default_factory=dict)

    def post_score(self, body: Any) -> tuple[int, Any]:
        """Take scores."""
        self.posted.append(body)
        if isinstance(body, list) and not self.takes_lists:
            return 400, {"message": "Invalid request data"}
        given = body if isinstance(body, list) else [body]
        taken = [one for one in given if one["name"] not in self.refuses]
        for one in taken:
            if ("sessionId" in one) == ("traceId" in one):
                self.faults.append("a score belongs to a trace or to a session")
            self.scores[one["id"]] = one
        if len(taken) == len(given):
            return 202, {"message": "Accepted"}
        if not isinstance(body, list):
            return 400, {"message": "Invalid request data"}
        return 207, {"accepted": len(taken), "rejected": len(given) - len(taken), "errors": [{"message": "no"}]}

    def post_media(self, body: Any) -> tuple[int, Any]:
        """Say where a file is to be put, if it is not there."""
        self.asked.append(body)
        name = body["sha256Hash"].replace("+", "-").replace("/", "_")[:22]
        address = None if name in self.files else f"{self.receiver.url}/bucket/{name}?signature=1"
        return 201, {"mediaId": name, "uploadUrl": address}

    def put_file(self, name: str, content: bytes, headers: Any) -> int:
        """Take a file."""
        self.uploads += 1
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        if headers.get("x-amz-checksum-sha256") != digest or name != digest.translate({43: 45, 47: 95})[:22]:
            self.faults.append("the hash is not the file's")
        if headers.get("x-ms-blob-type") != "BlockBlob" or headers.get("content-type") != "audio/ogg":
            self.faults.append("a header is missing")
        if "authorization" in headers or "x-langfuse-public-key" in headers:
            self.faults.append("the key was sent to the bucket")
        if self.upload_status == 200:
            self._uploaded[name] = content
        return self.upload_status

    def patch_media(self, name: str, body: Any) -> None:
        """Take a report about an upload."""
        self.reports.append(body)
        if body["uploadHttpStatus"] == 200:
            self.files[name] = self._uploaded[name]

    def sound(self, asked: Any) -> tuple[Any, int]:
        """The sound of a file, by the request that announced it: samples and their rate."""
        name = asked["sha256Hash"].replace("+", "-").replace("/", "_")[:22]
        samples, rate_hz = soundfile.read(io.BytesIO(self.files[name]), always_2d=True)
        return samples, rate_hz


class _LangfuseHandler(Handler):
    langfuse: Langfuse

    def do_PUT(self) -> None:
        """Take a file."""
        request = self.read()
        name = request.path.removeprefix("/bucket/").partition("?")[0]
        self._json(self.langfuse.put_file(name, request.body, request.headers), {"error": "the bucket says no"})

    def do_PATCH(self) -> None:
        """Take a report."""
        request = self.read()
        self._check(request.headers)
        self.langfuse.patch_media(request.path.removeprefix("/api/public/media/"), json.loads(request.body))
        self._json(200, {})

    def reply(self, decided: Any) -> None:
        """Answer a POST."""
        if self.langfuse.key_is_wrong:
            self._json(401, {"message": "Invalid credentials"})
            return
        if decided != "ok" or self.path.endswith("/v1/traces"):
            super().reply(decided)
            return
        request = self.receiver.got[-1]
        self._check(request.headers)
        body = json.loads(request.plain)
        if self.path == "/api/public/scores":
            self._json(*self.langfuse.post_score(body))
        elif self.path == "/api/public/media":
            self._json(*self.langfuse.post_media(body))
        else:
            self._json(404, {})

    def _check(self, headers: Any) -> None:
        if headers.get("authorization") != BASIC:
            self.langfuse.faults.append("the key is missing")

    def _json(self, status: int, body: Any) -> None:
        self.write(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


@contextmanager
def langfuse_receiving() -> Iterator[Langfuse]:
    """A Langfuse that runs."""
    state = Langfuse.__new__(Langfuse)
    kind = type("LangfuseHandler", (_LangfuseHandler,), {"langfuse": state})
    with receiving(kind=kind) as receiver:
        Langfuse.__init__(state, receiver)
        yield state
