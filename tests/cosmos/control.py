"""The control routes, for a stand-in in a process of its own. They need no key: it listens on loopback only.

| route | body | does |
|---|---|---|
| `GET /_control/counters` | | requests and request units by operation, answers by status, conflicts, ... |
| `DELETE /_control/counters` | | begins them again |
| `POST /_control/faults` | a fault's fields, `{"kind": "cut", "after_commit": true, "count": 1}` | sets it |
| `DELETE /_control/faults` | | clears all |
| `POST /_control/clock` | `{"set_s": 1e9}` or `{"advance_s": 60}` | stops the clock there |
| `POST /_control/broken` | a list of promises | breaks these and keeps all others |
| `POST /_control/tokens` | `{"data_role": true}` | gives a bearer token |
| `POST /_control/journal` | | begins to note each write that is committed, anew |
| `GET /_control/journal` | | a list of them in their order; each is the list of the items that it left behind |
| `POST /_control/gone` | `{"for_s": 5}` | refuses connections for so long; what is stored stays |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from cosmos.faults import Fault

if TYPE_CHECKING:
    from cosmos.server import StandIn

PREFIX = "/_control/"


async def answer(server: StandIn, verb: str, route: str, body: bytes) -> web.Response:
    """Do what is asked: 200 with JSON, 400 for what makes no sense, 404 for an unknown route."""
    try:
        told = orjson.loads(body) if body else {}
        result = _do(server, verb, route, told)
    except (ValueError, TypeError, KeyError) as error:
        return web.Response(status=400, text=str(error))
    if result is None:
        return web.Response(status=404)
    return web.Response(body=orjson.dumps(result, option=orjson.OPT_NON_STR_KEYS), content_type="application/json")


def _do(server: StandIn, verb: str, route: str, told: Any) -> Any:
    match verb, route:
        case "GET", "counters":
            return counted(server)
        case "DELETE", "counters":
            server.counters.reset()
        case "POST", "faults":
            operations = tuple(told.pop("operations", ()))
            server.inject(Fault(**told, operations=operations))
        case "DELETE", "faults":
            server.clear_faults()
        case "POST", "clock":
            if "set_s" in told:
                server.clock.set(told["set_s"])
            else:
                server.clock.advance(told["advance_s"])
        case "POST", "broken":
            server.service.break_promises(told)
        case "POST", "tokens":
            return {"token": server.issuer.token(told.get("data_role", True))}
        case "POST", "journal":
            server.journal = []
        case "GET", "journal":
            return server.journal or []
        case "POST", "gone":
            server.leave_for(told["for_s"])
        case _:
            return None
    return {}


def counted(server: StandIn) -> dict[str, Any]:
    """The counters as JSON."""
    counters = server.counters
    return {
        "requests": dict(counters.requests),
        "answers": dict(counters.answers),
        "charge": dict(counters.charge),
        "conflicts": counters.conflicts,
        "throttled": counters.throttled,
        "cut": counters.cut,
    }
