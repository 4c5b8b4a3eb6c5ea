"""`python -m gateway.http.health`: a container's health check, which says whether the server on this machine answers.

It runs every few seconds beside live calls, so it does not load the settings: it takes host and port from the
environment and tries both with and without TLS. It does not verify the certificate, because it asks only this machine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from http.client import HTTPException
from ssl import CERT_NONE, PROTOCOL_TLS_CLIENT, SSLContext
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

TIMEOUT_S = 1.0  # for each of two requests
# The address to ask if the server listens on all addresses.
_ALL_ADDRESSES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here


def health_urls(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The URLs to try, the more likely scheme first."""
    host = environ.get("PATCHBAY_HOST", "").strip() or "127.0.0.1"
    host = _ALL_ADDRESSES.get(host, host)
    port = environ.get("PATCHBAY_PORT", "").strip() or "8080"
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    schemes = ("https", "http") if environ.get("PATCHBAY_TLS_CERT", "").strip() else ("http", "https")
    return tuple(f"{scheme}://{place}/healthz" for scheme in schemes)


def problem(url: str) -> str | None:
    """The reason why the server does not answer at `url`, or None if it does."""
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = CERT_NONE
    # Ignore proxies that are set in the container's environment.
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            answer.read()
    except (OSError, HTTPException, ValueError) as error:
        return f"{url}: {error}"
    return None


def main() -> int:
    """Return 0 if the server answers, otherwise 1."""
    problems: list[str] = []
    for url in health_urls(os.environ):
        found = problem(url)
        if found is None:
            return 0
        problems.append(found)
    sys.stderr.write("\n".join(problems) + "\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
