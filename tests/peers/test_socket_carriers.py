"""Carriers' media sockets on a real server: a ticket in the path, the target as sent, and the public host."""

from __future__ import annotations

import httpx
import orjson
import pytest
from peers.socket_harness import CapturingReceiver, Raw, Wire, frame, route_to, run, serving, trusting, upgrade_head

from gateway.auth.client_secrets import ClientSecrets
from gateway.auth.entrance import Entrance
from gateway.auth.keys import read_keys
from gateway.auth.origins import OriginRules, read_public
from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.auth.ticket_errors import TicketCounts, TicketRefused
from gateway.auth.tickets import MediaTicket, MediaTickets
from gateway.clock import SystemClock
from gateway.net.media_routes import MediaRoute

pytestmark = pytest.mark.sockets

PATH = "/telephony/twilio/media"
RULES = OriginRules(credentials=False, public=read_public("https://voice.example"))
REFUSED = Refusal(403, "ticket_refused", "The ticket is not valid.")


class Carrier:
    """Admits by host and ticket, and keeps the requests that it sees."""

    def __init__(self) -> None:
        self.tickets = MediaTickets(b"settings", TicketCounts())
        self.entrance = Entrance(RULES, read_keys([]), ClientSecrets(b"s" * 32), SystemClock())
        self.clock = SystemClock()
        self.seen: list[UpgradeRequest] = []
        self.receiver = CapturingReceiver(echo=True)

    def ticket(self) -> str:
        return self.tickets.mint(
            carrier="twilio", tenant="default", agent="desk", call_id="CA1", now_s=self.clock.wall_s()
        )

    async def admit(self, request: UpgradeRequest) -> MediaTicket | Refusal:
        self.seen.append(request)
        found = self.entrance.let_carrier_in(request)
        if isinstance(found, Refusal):
            return found
        try:
            return self.tickets.take(found.segment, carrier="twilio", now_s=self.clock.wall_s())
        except TicketRefused:
            return REFUSED

    def route(self) -> MediaRoute[str]:
        return route_to(self.receiver, path=f"{PATH}/{{ticket}}", admit=self.admit, hosts_public=True)


async def ask(port: int, path: str, **changed: str | None) -> tuple[int, str]:
    raw = await Raw.connect(port)
    status, _ = await raw.ask(upgrade_head(path, **changed))
    code = "" if status == 101 else orjson.loads(await raw.reader.read())["error"]["code"]
    return status, code


def test_a_ticket_in_the_path_opens_one_socket_under_the_public_host(wire: Wire) -> None:
    async def main() -> None:
        carrier = Carrier()
        async with serving([carrier.route()]) as server:
            value = carrier.ticket()
            target = f"{PATH}/{value}?a=%41&b"
            raw = await Raw.connect(server.bound_port)
            status, _ = await raw.ask(upgrade_head(target, host="voice.example"))
            assert status == 101
            raw.writer.write(frame(1, b"hello"))
            await carrier.receiver.until(lambda: carrier.receiver.received)
            assert await ask(server.bound_port, target, host="voice.example") == (403, "ticket_refused")
        first = carrier.seen[0]
        assert (first.path, first.segment, first.target) == (f"{PATH}/{{ticket}}", value, target)
        assert (first.query.get("a"), first.query.get("b")) == ("A", "")
        assert value not in repr(first)

    run(main, wire)


def test_other_hosts_pages_and_paths_are_refused(wire: Wire) -> None:
    async def main() -> None:
        carrier = Carrier()
        async with serving([carrier.route()]) as server:
            port, target = server.bound_port, f"{PATH}/{carrier.ticket()}"
            assert await ask(port, target, host="evil.example") == (403, "host_not_allowed")
            assert await ask(port, target, host="voice.example:81") == (403, "host_not_allowed")
            page = {"host": "voice.example", "origin": "https://evil.example"}
            assert await ask(port, target, **page) == (403, "origin_not_allowed")
            assert await ask(port, f"{PATH}/%2e%2e") == (403, "ticket_refused")
            assert await ask(port, target, host="voice.example") == (101, "")
            assert [request.segment for request in carrier.seen[3:4]] == [".."]

    run(main, wire)


def test_a_plain_request_for_such_a_path_is_told_to_upgrade(wire: Wire) -> None:
    async def main() -> None:
        carrier = Carrier()
        async with serving([carrier.route()]) as server:
            verify = trusting() if wire.tls else True
            async with httpx.AsyncClient(verify=verify) as http:
                for path, status in ((f"{PATH}/abc", 426), (f"{PATH}/a%2Fb", 426), (PATH, 404), (f"{PATH}/a/b", 404)):
                    answer = await http.get(wire.url(server.bound_port, path, http=True))
                    assert answer.status_code == status, path
        assert carrier.seen == []

    run(main, wire)
