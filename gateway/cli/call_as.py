"""`patchbay call --as`: the line of a carrier, played against the server on this machine that has the same settings."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

from gateway.auth.origins import is_loopback
from gateway.cli.output import UsedWrongly
from gateway.config.urls import is_this_machine

if TYPE_CHECKING:
    from gateway.config.carriers import Acs
    from gateway.config.numbers import Numbers
    from gateway.config.settings import Settings
    from gateway.softphone.lines.line import Line
    from gateway.softphone.telephone import TelephoneOptions

GUIDE = "docs/telephony.md shows the settings for a trial"
# Numbers that are kept for stories, so that none of them is anybody's.
CALLER = "+12025550199"
FREE_NUMBERS = tuple(f"+1202555{last:04}" for last in range(100, 199))
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # such a server is dialled on loopback


class Carrier(StrEnum):
    """The carriers that a caller can play, by the protocol's name in records."""

    TWILIO = "twilio"
    AUDIOSOCKET = "audiosocket"
    ASTERISK = "asterisk"
    ACS = "acs"

    @property
    def wide(self) -> bool:
        """Whether its sound is as good as that of a Realtime client."""
        return self is Carrier.ACS


@dataclass(frozen=True, slots=True)
class Server:
    """The server that is called, at an http or https address of this machine."""

    url: str
    key: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None


def server_at(url: str, key: str | None, tls: ssl.SSLContext | None) -> Server:
    """The server at the address that `--url` gives. Raises UsedWrongly for one on another machine."""
    if not is_this_machine(url):
        raise UsedWrongly("--as: plays a carrier against a server on this machine; give --url a loopback address")
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return Server(urlunsplit((scheme, parts.netloc, parts.path, "", "")), key, tls)


def options_for(carrier: Carrier, agent: str, server: Server, answer_timeout_s: float) -> TelephoneOptions:
    """How to call an agent as a carrier does, by the settings of the working directory. Raises ValueError."""
    from gateway.config.settings import load_settings
    from gateway.softphone.call_record import RecordReader
    from gateway.softphone.lines.gateway_http import asker
    from gateway.softphone.telephone import TelephoneOptions

    line = line_for(carrier, agent, server, load_settings())
    return TelephoneOptions(line, RecordReader(asker(server.url, server.tls), agent, server.key), answer_timeout_s)


def line_for(carrier: Carrier, agent: str, server: Server, settings: Settings) -> Line:
    """The carrier's line for a call to a number that leads to the agent. Raises UsedWrongly."""
    called = called_for(agent, settings.numbers)
    makers: Callable[[str, Server, Settings], Line]
    match carrier:
        case Carrier.TWILIO:
            makers = _twilio
        case Carrier.AUDIOSOCKET:
            makers = _audiosocket
        case Carrier.ASTERISK:
            makers = _asterisk
        case Carrier.ACS:
            makers = _acs
        case _:
            assert_never(carrier)
    return makers(called, server, settings)


def called_for(agent: str, numbers: Numbers) -> str:
    """A number that leads to the agent. Raises UsedWrongly where there is none."""
    number = numbers.number_of(agent)
    if number is None:
        raise UsedWrongly(
            f"no number in `numbers:` leads to {agent}; call from the folder that has the server's settings, "
            f"or add one to its patchbay.yaml, such as  numbers: {{'*': {agent}}}"
        )
    if number != "*":
        return number
    return next(each for each in FREE_NUMBERS if each not in numbers.root)


def _twilio(called: str, server: Server, settings: Settings) -> Line:
    from gateway.softphone.lines.gateway_http import asker
    from gateway.softphone.lines.twilio import TwilioLine

    account, public_url = settings.carriers.twilio, settings.public_url
    if account is None or public_url is None:
        raise UsedWrongly(f"--as twilio: needs the table carriers.twilio and public_url in the settings; {GUIDE}")
    return TwilioLine(
        account,
        public_url=public_url,
        server_url=server.url,
        caller=CALLER,
        called=called,
        ask=asker(server.url, server.tls),
        tls=server.tls,
    )


def _audiosocket(called: str, server: Server, settings: Settings) -> Line:
    from gateway.softphone.lines.asterisk_registration import Announcement, new_channel
    from gateway.softphone.lines.audiosocket import AudioSocketLine
    from gateway.softphone.lines.gateway_http import asker

    if not settings.audiosocket_port:  # with 0 nobody knows which port the server has got
        raise UsedWrongly(f"--as audiosocket: needs a port in audiosocket_port; {GUIDE}")
    host = settings.audiosocket_host
    host = "127.0.0.1" if host in _EVERYWHERE else host
    if not is_this_machine(f"tcp://{f'[{host}]' if ':' in host else host}"):
        raise UsedWrongly("--as audiosocket: audiosocket_host is another machine's address; set it to 127.0.0.1")
    announcement = Announcement(CALLER, called, new_channel(), server.key)
    return AudioSocketLine(announcement, asker(server.url, server.tls), host, settings.audiosocket_port)


def _asterisk(called: str, server: Server, settings: Settings) -> Line:
    from gateway.softphone.lines.asterisk import ChanWebsocketLine
    from gateway.softphone.lines.asterisk_registration import Announcement, new_channel
    from gateway.softphone.lines.gateway_http import asker

    table = settings.carriers.asterisk
    if table is None or table.user is None or table.password is None:
        raise UsedWrongly(f"--as asterisk: needs user and password in the table carriers.asterisk; {GUIDE}")
    announcement = Announcement(CALLER, called, new_channel(), server.key)
    login = (table.user, table.password.get_secret_value())
    return ChanWebsocketLine(announcement, asker(server.url, server.tls), server.url, login, server.tls)


def _acs(called: str, server: Server, settings: Settings) -> Line:
    from gateway.callers.acs.sdk import missing_package
    from gateway.clock import SystemClock
    from gateway.softphone.far_ends.acs import AcsFarEnd
    from gateway.softphone.far_ends.acs_resource import AcsResource
    from gateway.softphone.far_ends.acs_tokens import TokenMint, key_from
    from gateway.softphone.lines.acs import AcsLine
    from gateway.softphone.lines.acs_service import AcsService, http_service
    from gateway.softphone.lines.gateway_http import asker

    table, public_url = settings.carriers.acs, settings.public_url
    if table is None or table.access_key is None or table.event_secret is None or public_url is None:
        raise UsedWrongly(
            f"--as acs: needs access_key and event_secret in the table carriers.acs, and public_url; {GUIDE}"
        )
    host, port = _place_of_azure(table)
    missing = missing_package()
    if missing is not None:
        raise UsedWrongly(f"--as acs: needs the package {missing}: pip install 'patchbay[acs]'")
    event_secret, access_key = table.event_secret.get_secret_value(), table.access_key.get_secret_value()
    if not (event_secret.isascii() and event_secret.isprintable()):
        raise UsedWrongly("--as acs: carriers.acs.event_secret has characters that no header can carry")
    ids = [str(uuid4()) for _ in range(3)]
    far_end = AcsFarEnd(CALLER, called, correlation_id=ids[0], connection_id=ids[1], context=ids[2])
    # The server keeps the public key, and looks for another one once a minute at most.
    mint = TokenMint(table.issuer, table.resource_id, key=key_from(access_key.encode()))
    openid_path = urlsplit(table.openid_url).path
    key_set_url = table.key_set_url or f"{table.endpoint}/calling/keys"
    resource = AcsResource(far_end, mint, access_key, openid_path=openid_path, key_set_url=key_set_url)
    return AcsLine(
        far_end,
        AcsService(resource, http_service(host, port), SystemClock()),
        mint,
        event_secret=event_secret,
        public_url=public_url,
        server_url=server.url,
        ask=asker(server.url, server.tls),
        clock=SystemClock(),
        tls=server.tls,
    )


def _place_of_azure(table: Acs) -> tuple[str, int]:
    """The host and the port at which the command listens as Azure does. Raises UsedWrongly."""
    place = urlsplit(table.endpoint)
    if place.scheme != "http" or place.hostname is None or not is_loopback(place.hostname) or place.path:
        raise UsedWrongly(
            "--as acs: plays Azure on this machine, so carriers.acs.endpoint must be a loopback address such as "
            f"http://127.0.0.1:8420; {GUIDE}"
        )
    keys = "openid_url" if table.key_set_url is None else "key_set_url"
    if not getattr(table, keys).startswith(f"{table.endpoint}/"):
        raise UsedWrongly(f"--as acs: carriers.acs.{keys} must be an address under {table.endpoint}; {GUIDE}")
    return place.hostname, place.port or 80
