"""Which media route a path belongs to, and what is its variable segment."""

from __future__ import annotations

import pytest

from gateway.auth.requests import Refusal, UpgradeRequest
from gateway.net.media_routes import Accepted, MediaRoute, MediaRoutes


class Opener:
    subprotocols = ("audio.twilio.com",)

    def __init__(self, path: str) -> None:
        self.path = path

    async def admit(self, request: UpgradeRequest) -> str | Refusal:
        return "admitted"

    def accept(self, admitted: str, request: UpgradeRequest) -> Accepted:
        raise AssertionError("no socket opens here")

    def release(self, admitted: str) -> None:
        raise AssertionError("nothing was admitted here")


def routes(*paths: str) -> MediaRoutes:
    return MediaRoutes(MediaRoute.of(Opener(path)) for path in paths)


TABLE = routes("/v1/realtime", "/telephony/twilio/media/{ticket}", "/telephony/twilio/media/fixed", "/{any}")


@pytest.mark.parametrize(
    ("sent", "path", "segment"),
    [
        (b"/v1/realtime", "/v1/realtime", ""),
        (b"/v1/re%61ltime", "/v1/realtime", ""),
        (b"/telephony/twilio/media/abc", "/telephony/twilio/media/{ticket}", "abc"),
        (b"/telephony/twilio/media/fixed", "/telephony/twilio/media/fixed", ""),
        (b"/telephony/tw%69lio/media/a%62c", "/telephony/twilio/media/{ticket}", "abc"),
        (b"/telephony/twilio/media/a%2Fb", "/telephony/twilio/media/{ticket}", "a/b"),
        (b"/telephony/twilio/media/%7Bticket%7D", "/telephony/twilio/media/{ticket}", "{ticket}"),
        (b"/telephony/twilio/media/%ff", "/telephony/twilio/media/{ticket}", "\ufffd"),
        (b"/telephony/twilio/media/\xff", "/telephony/twilio/media/{ticket}", "\ufffd"),
        (b"/abc", "/{any}", "abc"),
    ],
)
def test_a_path_finds_its_route(sent: bytes, path: str, segment: str) -> None:
    found = TABLE.find(sent)
    assert found is not None
    assert (found[0].path, found[1]) == (path, segment)


@pytest.mark.parametrize(
    "sent",
    [
        *(b"", b"/", b"*", b"/v1/realtime/", b"/v1", b"/telephony/twilio/media/", b"/telephony/twilio/media/a/b"),
        *(b"/telephony/twilio/media/a/", b"/telephony/twilio/media%2Fa/b", b"//abc"),
    ],
)
def test_other_paths_find_none(sent: bytes) -> None:
    found = routes("/v1/realtime", "/telephony/twilio/media/{ticket}").find(sent)
    assert found is None


@pytest.mark.parametrize("path", ["/a/{b}/c", "/a/x{b}", "/a/{b}x", "/a/{b", "/a/{}", "{a}"])
def test_only_the_whole_last_segment_may_vary(path: str) -> None:
    with pytest.raises(ValueError, match="only the last segment"):
        routes(path)


def test_paths_of_carriers_also_answer_to_the_public_host() -> None:
    assert MediaRoute.of(Opener("/telephony/twilio/media/{ticket}")).hosts_public
    assert not MediaRoute.of(Opener("/v1/realtime")).hosts_public
