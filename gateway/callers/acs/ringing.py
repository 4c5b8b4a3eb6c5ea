"""Answers the calls that ring: lets them in, makes the addresses for the service, and asks for the action."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial

from gateway.auth.callback_keys import CallbackKeys
from gateway.auth.requests import Refusal
from gateway.auth.ticket_errors import TicketTooLong
from gateway.auth.tickets import MediaTickets
from gateway.callers.acs.action_jobs import LAST_S, ActionJobs
from gateway.callers.acs.actions import Answering, Turndown
from gateway.callers.acs.call import AcsCall
from gateway.callers.acs.calls import CALLBACKS_PATH, MEDIA_PATH, PROTOCOL, AcsCalls
from gateway.callers.acs.events import IncomingCall
from gateway.callers.phone.calls import NO_NUMBER
from gateway.guard import ForeignTasks, cause_of
from sessions.errors import Overloaded
from sessions.ports import Clock

log = logging.getLogger(__name__)

SOCKET_S = 30.0  # an answered call without a media socket is given up after this time


class Ringing:
    """Answers each call once, in the background."""

    def __init__(
        self,
        calls: AcsCalls,
        actions: ActionJobs,
        tickets: MediaTickets,
        keys: CallbackKeys,
        clock: Clock,
        public_url: str,
    ) -> None:
        """`public_url` is where the service reaches this server, with http or https."""
        self._calls = calls
        self._actions = actions
        self._tickets = tickets
        self._keys = keys
        self._clock = clock
        self._public_url = public_url.rstrip("/")
        self._jobs = ForeignTasks()

    def ring(self, incoming: IncomingCall) -> bool:
        """Answer a call. Returns False for one that is known: the service may tell of it twice."""
        call = self._calls.add(incoming)
        if call is not None:
            self._jobs.start(self._answer_and_watch(call), partial(self._broke, call))
        return call is not None

    async def close(self) -> None:
        """Give up what has not been answered yet."""
        await self._jobs.close(LAST_S)

    async def _answer_and_watch(self, call: AcsCall) -> None:
        call.watched = True
        try:
            if await self._answer(call):
                await self._watch(call)
        finally:
            call.watched = False
            self._calls.forget(call)

    async def _answer(self, call: AcsCall) -> bool:
        """Let a call in and answer it. Returns whether the service was asked to."""
        phone, tenant = self._calls.phone, self._calls.tenant
        admitted = await phone.admit(tenant, call.incoming.called)
        if isinstance(admitted, Refusal):
            await self._turn_down(call, Turndown.FORBIDDEN if admitted is NO_NUMBER else Turndown.BUSY, admitted.code)
            return False
        call.ticket = admitted
        try:
            answering = self._answering(call, admitted.agent.name)
        except (TicketTooLong, Overloaded):
            await self._turn_down(call, Turndown.BUSY, "no ticket could be made for it")
            return False
        answered, connection_id = await self._actions.answer(answering)
        if connection_id is not None:
            self._calls.connected(call, connection_id)
        if not answered and not call.settled.is_set():
            # The service may have answered it all the same, and then its socket comes; it needs a new place then.
            self._calls.free(call)
        return True

    async def _watch(self, call: AcsCall) -> None:
        """Wait for the socket; and for a call that has ended before its connection was known, wait for that."""
        try:
            async with asyncio.timeout(SOCKET_S):
                await call.settled.wait()
        except TimeoutError:
            log.warning("an answered call has not opened its media socket", extra={"protocol": PROTOCOL})
            self._calls.end(call)
        if not call.gone:
            with suppress(TimeoutError):
                async with asyncio.timeout(SOCKET_S):
                    await call.named.wait()

    def _answering(self, call: AcsCall, agent: str) -> Answering:
        """Raises TicketTooLong and Overloaded."""
        now_s, tenant = self._clock.wall_s(), self._calls.tenant
        key = self._keys.mint(PROTOCOL, tenant, call.id, now_s)
        ticket = self._tickets.mint(
            carrier=PROTOCOL, tenant=tenant, agent=agent, call_id=call.id, now_s=now_s, redial=True
        )
        return Answering(
            context=call.incoming.context,
            callback_url=f"{self._public_url}{CALLBACKS_PATH}{key}",
            media_url=f"ws{self._public_url.removeprefix('http')}{MEDIA_PATH}{ticket}",
        )

    async def _turn_down(self, call: AcsCall, why: Turndown, reason: str) -> None:
        log.warning("a call was refused", extra={"protocol": PROTOCOL, "why": reason})
        call.gone = True  # there is nothing to hang up
        self._calls.end(call)
        await self._actions.turn_down(call.incoming.context, why)

    def _broke(self, call: AcsCall, fault: BaseException) -> None:
        log.error("a call could not be answered", extra=cause_of(fault))
        self._calls.end(call, "server_fault")
