"""Requests to a resource of Azure Communication Services as its SDK makes them: signed, each with an id."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from email.utils import formatdate
from hashlib import sha256
from typing import Any
from uuid import uuid4

import orjson

from gateway.softphone.far_ends.acs_resource import CALLS_PATH, ServiceRequest

ACCESS_KEY = b64encode(b"made-up key of a resource").decode("ascii")
HOST = "127.0.0.1:8420"
STREAMING = {
    "transportUrl": "wss://voice.example/telephony/acs/media/TICKET",
    "transportType": "websocket",
    "contentType": "audio",
    "audioChannelType": "mixed",
    "startMediaStreaming": True,
    "enableBidirectional": True,
    "audioFormat": "pcm24KMono",
    "enableDtmfTones": True,
}


def action(
    name: str, fields: Any, now_s: float, *, key: str = ACCESS_KEY, query: str = "api-version=1", **headers: str
) -> ServiceRequest:
    """A signed action; `headers` replace others after that, with _ for -."""
    target = f"{CALLS_PATH}{name}" + (f"?{query}" if query else "")
    body = b"" if fields is None else orjson.dumps(fields)
    date, content_hash = formatdate(now_s, usegmt=True), b64encode(sha256(body).digest()).decode("ascii")
    mac = hmac.digest(b64decode(key), f"POST\n{target}\n{date};{HOST};{content_hash}".encode(), "sha256")
    signed = "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256"
    sent = {
        "host": HOST,
        "content-type": "application/json",
        "x-ms-date": date,
        "x-ms-content-sha256": content_hash,
        "authorization": f"{signed}&Signature={b64encode(mac).decode('ascii')}",
        "repeatability-request-id": str(uuid4()),
        "repeatability-first-sent": date,
    }
    sent |= {header.replace("_", "-"): value for header, value in headers.items()}
    return ServiceRequest("POST", target, sent, body)


def answering(context: str, **options: Any) -> dict[str, Any]:
    """The fields with which a call is answered; `options` replace those of its media, and None leaves one out."""
    streaming = {name: value for name, value in {**STREAMING, **options}.items() if value is not None}
    return {
        "incomingCallContext": context,
        "callbackUri": "https://voice.example/telephony/acs/callbacks/KEY",
        "mediaStreamingOptions": streaming,
    }
