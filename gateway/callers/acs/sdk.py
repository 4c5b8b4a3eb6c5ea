"""The actions through `azure-communication-callautomation` (1.6.0), and the fetch of keys, both over aiohttp.

The SDK is loaded in a thread, which takes 0.2 s of CPU. Its own retries are off, because they know no deadline.
A second try of an action carries the id of the first, so that the service does not do it twice.
Source: the SDK's own code; learn.microsoft.com, "Call Automation overview" and REST "Answer Call".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn, TypeVar
from uuid import uuid4

from gateway.callers.acs.actions import ActionFailed, Answering, Turndown
from gateway.callers.acs.key_set import FETCH_S, MAX_BYTES
from gateway.config.urls import is_near
from gateway.entra.credential import load_credential
from gateway.guard import Boundary, cause_of, innermost
from sessions.ports import Clock

log = logging.getLogger(__name__)

ANSWER_S = 10.0
HANG_UP_S = 5.0
TRIES = 2
PAUSE_S = 0.2
CLOSE_S = 2.0
AUDIO_FORMAT = "pcm24KMono"
PACKAGES = ("azure.communication.callautomation", "jwt", "cryptography", "aiohttp")
T = TypeVar("T")


def missing_package() -> str | None:
    """The first package of the extra `acs` that is not installed; None if all are."""
    for name in PACKAGES:
        with suppress(ImportError):  # of a package around it
            if find_spec(name) is not None:
                continue
        return name
    return None


@dataclass(frozen=True, slots=True)
class _Sdk:
    """The loaded SDK."""

    client: Any
    media_streaming: Any  # the class of the options
    credential: Any | None  # of Entra ID, to be closed


class SdkActions:
    """The actions on the calls of one resource."""

    def __init__(
        self,
        endpoint: str,
        access_key: str | None,
        clock: Clock,
        *,
        answer_s: float = ANSWER_S,
        hang_up_s: float = HANG_UP_S,
    ) -> None:
        """Without `access_key` the process's Entra identity is used. The last two bound an action with its retry."""
        self._endpoint = endpoint
        self._answer_s = answer_s
        self._hang_up_s = hang_up_s
        self._access_key = access_key
        self._clock = clock
        self._sdk: _Sdk | None = None
        self._loading = asyncio.Lock()

    async def open(self) -> None:
        """Load the SDK. Raises whatever it raises."""
        await self._loaded()

    async def answer(self, answering: Answering) -> str | None:
        """Answer a call that rings, with sound of 24 kHz both ways and its keys. Returns the call's connection id."""

        async def once(sdk: _Sdk, headers: dict[str, str]) -> Any:
            streaming = sdk.media_streaming(
                transport_url=answering.media_url,
                transport_type="websocket",
                content_type="audio",
                audio_channel_type="mixed",
                start_media_streaming=True,
                enable_bidirectional=True,  # without it the service drops the agent's sound and says nothing
                audio_format=AUDIO_FORMAT,
                enable_dtmf_tones=True,
            )
            return await sdk.client.answer_call(
                answering.context, answering.callback_url, media_streaming=streaming, headers=headers
            )

        answered = await self._do(once, self._answer_s)
        found = getattr(answered, "call_connection_id", None)
        return found if isinstance(found, str) and found else None

    async def turn_down(self, context: str, why: Turndown) -> None:
        """Refuse a call that rings."""
        await self._do(
            lambda sdk, headers: sdk.client.reject_call(context, call_reject_reason=why.value, headers=headers),
            self._hang_up_s,
        )

    async def hang_up(self, connection_id: str) -> None:
        """End a call for everybody in it."""
        await self._do(
            lambda sdk, headers: sdk.client.get_call_connection(connection_id).hang_up(True, headers=headers),
            self._hang_up_s,
        )

    async def close(self) -> None:
        """Close the connections."""
        sdk, self._sdk = self._sdk, None
        for part in () if sdk is None else (sdk.client, sdk.credential):
            if part is not None:
                with Boundary(_not_closed):
                    async with asyncio.timeout(CLOSE_S):
                        await part.close()

    async def _do(self, once: Callable[[_Sdk, dict[str, str]], Awaitable[T]], limit_s: float) -> T:
        """One action, tried twice within its time. Raises ActionFailed."""
        with Boundary(_translate):
            async with asyncio.timeout(limit_s):
                sdk = await self._loaded()
                first_sent = formatdate(self._clock.wall_s(), usegmt=True)
                names = {"Repeatability-Request-ID": str(uuid4()), "Repeatability-First-Sent": first_sent}
                for _ in range(TRIES - 1):
                    found: list[BaseException] = []
                    with Boundary(found.append):
                        async with asyncio.timeout(limit_s / TRIES):
                            return await once(sdk, dict(names))
                    if not _may_be_repeated(found[0]):
                        raise found[0]
                    await asyncio.sleep(PAUSE_S)
                return await once(sdk, dict(names))
        raise AssertionError("the boundary raises what it has caught")

    async def _loaded(self) -> _Sdk:
        async with self._loading:
            if self._sdk is None:
                self._sdk = await asyncio.to_thread(_load, self._endpoint, self._access_key)
            return self._sdk


def _load(endpoint: str, access_key: str | None) -> _Sdk:
    package: Any = import_module("azure.communication.callautomation")
    clients: Any = import_module("azure.communication.callautomation.aio")
    transport: Any = import_module("gateway.entra.transport").EntraTransport()
    credential = load_credential() if access_key is None else None
    key = credential or import_module("azure.core.credentials").AzureKeyCredential(access_key)
    client = clients.CallAutomationClient(endpoint, key, transport=transport, retry_total=0)
    return _Sdk(client, package.MediaStreamingOptions, credential)


def _may_be_repeated(fault: BaseException) -> bool:
    """Whether a second try can help: there was no answer, or one that says so."""
    status = getattr(fault, "status_code", None)
    return not isinstance(status, int) or status in (408, 429) or status >= 500


def _translate(fault: BaseException) -> NoReturn:
    status = getattr(fault, "status_code", None)
    raise ActionFailed(type(innermost(fault)).__name__, status if isinstance(status, int) else None) from None


def _not_closed(fault: BaseException) -> None:
    log.warning("the SDK of Azure Communication Services could not be closed", extra=cause_of(fault))


async def fetch_keys(url: str) -> bytes:
    """The body of an address, of at most `MAX_BYTES`; loopback addresses never go through a proxy.

    Raises whatever aiohttp raises, and ValueError for another status than 200 or a longer body.
    """
    aiohttp: Any = import_module("aiohttp")
    timeout = aiohttp.ClientTimeout(total=FETCH_S)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=not is_near(url)) as session,
        session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as answer,
    ):
        if answer.status != 200:
            raise ValueError("the keys were not given")
        body = bytearray()
        async for piece in answer.content.iter_chunked(16 * 1024):
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError("the keys are too long")
        return bytes(body)
