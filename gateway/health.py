"""`python -m gateway.health`: whether the server on this machine answers, for a container's health check.

It is asked every few seconds beside live calls, so it loads no settings: host and port come from the environment alone,
and TLS is found out by trying. A certificate is not verified: it is our own machine that we ask.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from http.client import HTTPException
from ssl import CERT_NONE, PROTOCOL_TLS_CLIENT, SSLContext
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

TIMEOUT_S = 1.0  # for each of two tries
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask, not where to listen


def health_urls(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Where to ask, the likelier scheme first."""
    host = environ.get("PATCHBAY_HOST", "").strip() or "127.0.0.1"
    host = _EVERYWHERE.get(host, host)
    port = environ.get("PATCHBAY_PORT", "").strip() or "8080"
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    schemes = ("https", "http") if environ.get("PATCHBAY_TLS_CERT", "").strip() else ("http", "https")
    return tuple(f"{scheme}://{place}/healthz" for scheme in schemes)


def problem(url: str) -> str | None:
    """Why the server does not answer there; None: it does."""
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = CERT_NONE
    # Not through a proxy that the container's environment names.
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            answer.read()
    except (OSError, HTTPException, ValueError) as error:
        return f"{url}: {error}"
    return None


def main() -> int:
    """0 where the server lives, 1 where it does not."""
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
