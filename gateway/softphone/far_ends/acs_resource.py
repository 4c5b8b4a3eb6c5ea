"""What a resource of Azure Communication Services answers over HTTP about one call, and where its keys are. Pure.

It takes only actions that are signed with its access key, and refuses an answer that would leave the caller in silence.
An action that comes again under the same id gets the same answer, and does nothing.
Source: learn.microsoft.com, "Authenticate to Azure Communication Services" and the REST operations "Answer Call",
"Reject Call" and "Terminate Call"; OASIS, "Repeatable Requests Version 1.0".
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import orjson

from audio.formats import PCM16_16K, PCM16_24K, AudioFormat
from gateway.softphone.far_ends.acs import AcsFarEnd
from gateway.softphone.far_ends.acs_tokens import TokenMint

CALLS_PATH = "/calling/callConnections"
MAX_SKEW_S = 300
FORMATS = {"pcm16KMono": PCM16_16K, "pcm24KMono": PCM16_24K}
REASONS = ("none", "busy", "forbidden")
_SIGNED = "x-ms-date;host;x-ms-content-sha256"


class ActionRefused(Exception):
    """A request is not taken: with this status, and for this reason."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class ServiceRequest:
    """A request to the service. `target` is path and query as they were sent; header names are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What the service answers; a body is JSON."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class AnswerOrder:
    """How the call was answered. The addresses hold a key and a ticket."""

    callback_url: str = field(repr=False)
    media_url: str = field(repr=False)
    format: AudioFormat
    bidirectional: bool


class AcsResource:
    """The resource while one call rings and goes on; `refusals` are the actions that it has not taken, and why."""

    def __init__(
        self, far_end: AcsFarEnd, mint: TokenMint, access_key: str, *, openid_path: str, key_set_url: str
    ) -> None:
        """`key_set_url` is an address of this resource."""
        self.order: AnswerOrder | None = None  # once the call has been answered
        self.turned_down: str | None = None  # why the call was rejected
        self.ended = False  # the call was ended by the other side
        self.refusals: list[str] = []
        self._far_end = far_end
        self._access_key = b64decode(access_key)
        self._documents = {
            openid_path: mint.openid(key_set_url),
            urlsplit(key_set_url).path: mint.key_set(),
        }
        self._given: dict[str, ServiceAnswer] = {}  # by the id of the action

    def take(self, request: ServiceRequest, now_s: float) -> ServiceAnswer:
        """Answer a request; `now_s` is in Unix seconds."""
        path = request.target.partition("?")[0]
        if request.method == "GET" and path in self._documents:
            return ServiceAnswer(200, self._documents[path])
        try:
            check_signature(request, self._access_key, now_s)
            repeated = _id_of(request)
            if repeated not in self._given:
                self._given[repeated] = self._act(request, path)
            return self._given[repeated]
        except ActionRefused as refused:
            self.refusals.append(f"{request.method} {path}: {refused.why}")
            return ServiceAnswer(refused.status, orjson.dumps({"error": {"code": "refused", "message": refused.why}}))

    def _act(self, request: ServiceRequest, path: str) -> ServiceAnswer:
        action = path.removeprefix(CALLS_PATH)
        if "api-version" not in parse_qs(request.target.partition("?")[2]):
            raise ActionRefused(400, "api-version is missing")
        if request.method == "POST" and action == ":answer":
            return self._answer(_fields(request))
        if request.method == "POST" and action == ":reject":
            return self._reject(_fields(request))
        if request.method == "POST" and action == f"/{self._far_end.connection_id}:terminate":
            return self._terminate()
        raise ActionRefused(404, "no such action, or no such call")

    def _answer(self, fields: Mapping[str, Any]) -> ServiceAnswer:
        self._check_rings(fields)
        order = self.order = read_answer(fields)
        self._far_end.answered(order.format, bidirectional=order.bidirectional)
        found = {
            "callConnectionId": self._far_end.connection_id,
            "correlationId": self._far_end.correlation_id,
            "serverCallId": "s",
            "callConnectionState": "connecting",
            "callbackUri": order.callback_url,
        }
        return ServiceAnswer(200, orjson.dumps(found))

    def _reject(self, fields: Mapping[str, Any]) -> ServiceAnswer:
        self._check_rings(fields)
        why = fields.get("callRejectReason", "none")
        if why not in REASONS:
            raise ActionRefused(400, f"callRejectReason is none of {', '.join(REASONS)}")
        self.turned_down = why
        return ServiceAnswer(204)

    def _terminate(self) -> ServiceAnswer:
        if self.order is None or self.ended:
            raise ActionRefused(404, "the call is not connected")
        self.ended = True
        return ServiceAnswer(204)

    def _check_rings(self, fields: Mapping[str, Any]) -> None:
        if fields.get("incomingCallContext") != self._far_end.context:
            raise ActionRefused(400, "incomingCallContext is of no call that rings")
        if self.order is not None or self.turned_down is not None:
            raise ActionRefused(400, "the call does not ring any more")


def read_answer(fields: Mapping[str, Any]) -> AnswerOrder:
    """How a call is to be answered, with sound on a media socket from the beginning. Raises ActionRefused."""
    options = fields.get("mediaStreamingOptions")
    if not isinstance(options, dict):
        raise ActionRefused(400, "mediaStreamingOptions are missing, so that no media socket would be opened")
    wanted = {"transportType": ("websocket",), "contentType": ("audio",), "audioChannelType": ("mixed", "unmixed")}
    for name, values in wanted.items():
        if options.get(name) not in values:
            raise ActionRefused(400, f"mediaStreamingOptions.{name} is not {' or '.join(values)}")
    if options.get("startMediaStreaming") is not True:
        raise ActionRefused(400, "mediaStreamingOptions.startMediaStreaming is not true, so that no sound would flow")
    format = FORMATS.get(str(options.get("audioFormat", "pcm16KMono")))
    if format is None:
        raise ActionRefused(400, f"mediaStreamingOptions.audioFormat is not {' or '.join(FORMATS)}")
    callback_url, media_url = fields.get("callbackUri"), options.get("transportUrl")
    if not isinstance(callback_url, str) or not isinstance(media_url, str):
        raise ActionRefused(400, "callbackUri or mediaStreamingOptions.transportUrl is missing")
    return AnswerOrder(callback_url, media_url, format, options.get("enableBidirectional") is True)


def check_signature(request: ServiceRequest, access_key: bytes, now_s: float) -> None:
    """Check who asks: the date, the hash of the body, and the signature over both. Raises ActionRefused."""
    headers = request.headers
    date, content_hash = headers.get("x-ms-date", ""), b64encode(sha256(request.body).digest()).decode("ascii")
    try:
        sent_s = parsedate_to_datetime(date).timestamp()
    except ValueError:
        raise ActionRefused(401, "x-ms-date is missing, or is no date") from None
    if abs(now_s - sent_s) > MAX_SKEW_S:
        raise ActionRefused(401, f"x-ms-date is more than {MAX_SKEW_S} s away")
    if headers.get("x-ms-content-sha256") != content_hash:
        raise ActionRefused(401, "x-ms-content-sha256 is not the hash of the body")
    text = f"{request.method}\n{request.target}\n{date};{headers.get('host', '')};{content_hash}"
    signature = b64encode(hmac.digest(access_key, text.encode(), "sha256")).decode("ascii")
    shown = f"HMAC-SHA256 SignedHeaders={_SIGNED}&Signature={signature}"
    if not hmac.compare_digest(headers.get("authorization", "").encode(), shown.encode()):
        raise ActionRefused(401, "the request is not signed with access_key")


def _id_of(request: ServiceRequest) -> str:
    """The id under which an action may be repeated. Raises where it, or the time of its first try, is missing."""
    try:
        parsedate_to_datetime(request.headers.get("repeatability-first-sent", ""))
        return str(UUID(request.headers.get("repeatability-request-id", "")))
    except ValueError:
        raise ActionRefused(400, "Repeatability-Request-ID is no UUID, or Repeatability-First-Sent no date") from None


def _fields(request: ServiceRequest) -> Mapping[str, Any]:
    try:
        found = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or not request.headers.get("content-type", "").startswith("application/json"):
        raise ActionRefused(400, "the body is no JSON object")
    return found
