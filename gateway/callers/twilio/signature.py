"""The signatures of Twilio's and SignalWire's requests: webhooks, and the handshake of the media socket. Pure.

A signature is the base64 form of an HMAC over the request's URL, as the carrier has it, followed by the names and
values of the form without separators, in the order of the names; equal values of a name count once. It is SHA-1 with
the account's token, or SHA-256 with a key that a header names. A body that is no form is covered by its hash in the
URL. The URL of a handshake begins with wss.
Sources: twilio.com/docs/usage/security; twilio-node, "Validating webhook signatures"; twilio-python 9.13.0 for ports:
carriers sign with or without the port, whatever the configured address has.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit

SIGNATURE_HEADER = "x-twilio-signature"
SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"
BODY_HASH = "bodySHA256"
SHA1, SHA256 = "sha1", "sha256"
DEFAULT_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}
Pairs = Iterable[tuple[str, str]]


def sign(key: str, url: str, pairs: Pairs = (), algorithm: str = SHA1) -> str:
    """The signature of a request to `url` with the form `pairs`; `algorithm` is `SHA1` or `SHA256`."""
    named = "".join(name + value for name, value in sorted(set(pairs)))
    mac = hmac.digest(key.encode(), (url + named).encode("utf-8", "surrogatepass"), algorithm)
    return base64.b64encode(mac).decode("ascii")


def url_forms(url: str) -> Iterator[str]:
    """A URL as it is, without its port, and with the port that its scheme implies. Raises ValueError for a bad port."""
    yield url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if parts.port is not None:
        yield parts._replace(netloc=host.removesuffix(f":{parts.port}")).geturl()
    elif parts.scheme in DEFAULT_PORTS:
        yield parts._replace(netloc=f"{host.removesuffix(':')}:{DEFAULT_PORTS[parts.scheme]}").geturl()


def fits(signature: str, key: str, url: str, pairs: Pairs = (), algorithm: str = SHA1) -> bool:
    """Whether a request was signed with `key`. Takes the same time for every wrong signature of the same request."""
    pairs = tuple(pairs)
    given = signature.encode("utf-8", "surrogatepass")
    found = False
    for form in url_forms(url):
        found |= hmac.compare_digest(given, sign(key, form, pairs, algorithm).encode())
    return found


class Signatures:
    """Checks the signatures of one account's requests."""

    def __init__(self, token: str, shared_key: Callable[[str], str | None] = lambda key_id: None) -> None:
        """`token` signs with SHA-1; `shared_key` gives the key for SHA-256 by its id, or None for an unknown id."""
        self._token = token
        self._shared_key = shared_key

    def form_fits(self, signature: str | None, settings: str | None, url: str, pairs: Pairs) -> bool:
        """Whether a form, or a request without a body, was signed; the first two are the headers' values."""
        chosen = self._key(settings)
        return signature is not None and chosen is not None and fits(signature, chosen[0], url, pairs, chosen[1])

    def body_fits(self, signature: str | None, settings: str | None, url: str, body: bytes) -> bool:
        """Whether a body that is no form was signed: its hash must stand in the URL, which is signed alone."""
        hashes = parse_qs(urlsplit(url).query).get(BODY_HASH, [])
        given = hashes[0].lower() if hashes else ""
        covered = hmac.compare_digest(given.encode("utf-8", "surrogatepass"), sha256(body).hexdigest().encode())
        return self.form_fits(signature, settings, url, ()) and covered

    def _key(self, settings: str | None) -> tuple[str, str] | None:
        """The key and the algorithm that the header names; None for what is not known here, and never a weaker one."""
        if settings is None:
            return self._token, SHA1
        named = dict(_named(settings))
        key = self._shared_key(named["key"]) if named.get("key") else None
        return None if key is None or named.get("algorithm", "").upper() != "HMAC_SHA256" else (key, SHA256)


def _named(settings: str) -> Iterator[tuple[str, str]]:
    """The entries of a header such as `key=ID,algorithm=HMAC_SHA256`."""
    for entry in settings.split(","):
        name, _, value = entry.partition("=")
        yield name.strip().lower(), value.strip()
