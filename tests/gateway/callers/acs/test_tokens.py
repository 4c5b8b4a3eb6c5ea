"""The tokens that the service shows, and the keys that check them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import jwt.algorithms
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from support.calls.acs_world import GUID, ISSUER, KEY_SET, OPENID, mint, other_mint
from support.calls.call_rig import later
from support.virtual import run

from gateway.callers.acs.key_set import FETCH_S, KeysMissing
from gateway.callers.acs.tokens import SKEW_S, TokenChecker, TokenRefused, make_checker
from gateway.clock import LoopClock

NOW = 1_900_000_000.0


class Issuer:
    """The issuer's web server. `bodies` are its documents, `failing` makes it fail, `slow_s` makes it slow."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: dict[str, bytes] = {OPENID: mint().openid(KEY_SET), KEY_SET: mint().key_set()}
        self.failing = False
        self.slow_s = 0.0

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if self.slow_s:
            await later(self.slow_s)
        if self.failing:
            raise OSError("no route to host")
        return self.bodies[url]

    @property
    def fetches(self) -> int:
        return self.asked.count(KEY_SET)


def checked(main: Callable[[TokenChecker, Issuer, DayClock], Awaitable[None]], **changes: Any) -> None:
    async def whole() -> None:
        issuer = Issuer()
        clock = DayClock(asyncio.get_running_loop(), NOW)
        asked: dict[str, Any] = {"issuer": ISSUER, "audience": GUID, "openid_url": OPENID, **changes}
        checker = make_checker(issuer.fetch, clock, **asked)
        try:
            await main(checker, issuer, clock)
        finally:
            await checker.close()

    run(whole())


async def reason(checker: TokenChecker, token: str) -> str | None:
    """Why a token is refused; None for a good one."""
    try:
        await checker.check(f"Bearer {token}")
    except TokenRefused as refused:
        return refused.reason
    return None


class DayClock(LoopClock):
    """A loop's clock of which whole days can be left out."""

    days = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.days * 86_400_000

    def wall_s(self) -> float:
        return super().wall_s() + self.days * 86_400


def test_a_good_token_is_taken_and_the_keys_are_fetched_once() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        assert await reason(checker, mint().token(NOW)) is None
        assert await reason(checker, mint().token(NOW, aud=[GUID, "another"])) is None
        await later(3600)
        await checker.check(f"bearer  {mint().token(clock.wall_s())}")
        assert issuer.asked == [OPENID, KEY_SET]

    checked(main)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "another-resource"}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": {GUID: 1}}, "audience"),
        ({"exp": None}, "malformed"),
        ({"nbf": NOW + SKEW_S + 5}, "not_yet_valid"),
    ],
)
def test_a_token_for_something_else_is_refused(claims: dict[str, Any], why: str) -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        assert await reason(checker, mint().token(NOW, **claims)) == why

    checked(main)


def test_a_token_is_good_until_its_time_and_a_minute_more() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        token = mint().token(NOW, 300)
        await later(300 + SKEW_S - 1)
        assert await reason(checker, token) is None
        await later(2)
        assert await reason(checker, token) == "expired"

    checked(main)


def test_a_token_that_is_not_signed_with_the_issuers_key_is_refused() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        assert await reason(checker, mint().unsigned(NOW)) == "algorithm"
        assert await reason(checker, mint().of_public_key(NOW)) == "algorithm"
        assert await reason(checker, mint().of_other_key(NOW)) == "signature"
        head, body, signature = mint().token(NOW).split(".")
        other = mint().token(NOW, sub="somebody").split(".")[1]
        assert await reason(checker, f"{head}.{other}.{signature}") == "signature"
        assert await reason(checker, f"{head}.{body}.") == "signature"

    checked(main)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "missing"),
        ("", "missing"),
        ("Bearer", "missing"),
        ("Bearer ", "missing"),
        ("Basic dTpw", "missing"),
        ("Bearer x", "malformed"),
        ("Bearer a.b.c", "malformed"),
        ("Bearer e30.e30.e30", "malformed"),
        ("Bearer " + "x" * 9000, "malformed"),
        ("Bearer ÄÖÜ", "malformed"),
        ("Bearer eyJraWQiOjd9.e30.", "malformed"),
    ],
)
def test_what_is_no_token_is_refused_and_fetches_nothing(header: str | None, why: str) -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        with pytest.raises(TokenRefused) as found:
            await checker.check(header)
        assert (found.value.reason, issuer.asked) == (why, [])

    checked(main)


def test_an_unknown_key_is_looked_for_once_a_minute_at_most() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        assert await reason(checker, mint().token(NOW)) is None
        stranger = other_mint()
        for _ in range(20):
            assert await reason(checker, stranger.token(clock.wall_s())) == "unknown_key"
            await later(2)
        assert issuer.fetches == 1
        issuer.bodies[KEY_SET] = stranger.key_set()
        await later(25)
        assert await reason(checker, stranger.token(clock.wall_s())) is None
        assert issuer.fetches == 2
        assert await reason(checker, mint().token(clock.wall_s())) == "unknown_key"  # it was withdrawn

    checked(main)


def test_keys_are_fetched_again_after_a_day() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        await checker.check(f"Bearer {mint().token(NOW)}")
        clock.days += 1
        issuer.slow_s = 0.5
        begun_ms = clock.now_ms()
        assert await reason(checker, mint().token(clock.wall_s())) is None
        assert clock.now_ms() == begun_ms  # it has not waited for the fetch
        await later(2)
        assert issuer.fetches == 2

    checked(main)


def test_many_tokens_at_once_make_one_fetch() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        issuer.slow_s = 1
        async with asyncio.TaskGroup() as tasks:
            for _ in range(10):
                tasks.create_task(checker.check(f"Bearer {mint().token(NOW)}"))
        assert issuer.fetches == 1

    checked(main)


def test_without_keys_nothing_is_known_of_a_token_and_the_fetch_is_tried_again() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        issuer.failing = True
        for _ in range(3):
            with pytest.raises(KeysMissing):
                await checker.check(f"Bearer {mint().token(NOW)}")
        assert issuer.asked == [OPENID]
        await later(6)
        issuer.failing = False
        assert await reason(checker, mint().token(NOW)) is None

    checked(main)


def test_a_fetch_that_takes_too_long_is_given_up() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        issuer.slow_s = 1000
        begun_ms = clock.now_ms()
        with pytest.raises(KeysMissing):
            await checker.check(f"Bearer {mint().token(NOW)}")
        assert clock.now_ms() - begun_ms == FETCH_S * 1000

    checked(main)


def test_known_keys_are_good_while_the_issuer_cannot_be_reached() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        await checker.check(f"Bearer {mint().token(NOW)}")
        issuer.failing = True
        clock.days += 2
        for _ in range(3):
            assert await reason(checker, mint().token(clock.wall_s())) is None
            await later(1)
        assert issuer.asked.count(OPENID) == 2

    checked(main)


@pytest.mark.parametrize(
    "bodies",
    [
        {OPENID: b"nonsense"},
        {OPENID: b"[]"},
        {OPENID: orjson.dumps({"issuer": "https://elsewhere.example", "jwks_uri": KEY_SET})},
        {OPENID: orjson.dumps({"issuer": ISSUER, "jwks_uri": "http://acs.example/keys"})},
        {OPENID: orjson.dumps({"issuer": ISSUER, "jwks_uri": 7})},
        {KEY_SET: b"nonsense"},
        {KEY_SET: b"[]"},
        {KEY_SET: b'{"keys":[]}'},
        {KEY_SET: b'{"keys":{"kid":"key-1"}}'},
        {KEY_SET: b'{"keys":[7,{"kid":"key-1"},{"kid":"key-1","kty":"RSA"}]}'},
        {KEY_SET: b'{"keys":[{"kid":"key-1","kty":"oct","k":"c2VjcmV0"}]}'},
    ],
)
def test_documents_that_are_of_no_use_leave_no_keys(bodies: dict[str, bytes]) -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        issuer.bodies.update(bodies)
        with pytest.raises(KeysMissing):
            await checker.check(f"Bearer {mint().token(NOW)}")

    checked(main)


def test_keys_that_are_weak_or_not_secret_are_not_trusted() -> None:
    rsa = jwt.algorithms.RSAAlgorithm
    weak = rsa.to_jwk(generate_private_key(65537, 1024).public_key(), as_dict=True)
    told = rsa.to_jwk(mint().key, as_dict=True)

    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        issuer.bodies[KEY_SET] = orjson.dumps({"keys": [{**key, "kid": "key-1"} for key in (weak, told)]})
        with pytest.raises(KeysMissing):
            await checker.check(f"Bearer {mint().token(NOW)}")

    checked(main)


def test_the_address_of_the_keys_may_be_given() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        assert await reason(checker, mint().token(NOW)) is None
        assert issuer.asked == [KEY_SET]

    checked(main, key_set_url=KEY_SET)


def test_an_issuer_may_have_two_names() -> None:
    async def main(checker: TokenChecker, issuer: Issuer, clock: DayClock) -> None:
        assert await reason(checker, mint().token(NOW, iss="https://sts.example/")) is None
        assert await reason(checker, mint().token(NOW)) is None

    checked(main, other_issuers=("https://sts.example/",))
