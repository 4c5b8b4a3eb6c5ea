"""Twilio's own `RequestValidator`: reads cases as JSON from its input, and writes what it makes of each.

A case has `token`, `url`, `fields` (lists of values by name), `algorithm`, `signature` and maybe a `body`. The answer
to it has the `signature` that the validator computes, and whether `signature` was `valid`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twilio.request_validator import RequestValidator


class Lists(dict[str, list[str]]):
    """A form with several values of a name, as web frameworks give it to the validator."""

    def getall(self, name: str) -> list[str]:
        return self[name]


def answer(case: dict[str, Any]) -> dict[str, Any]:
    """What the validator makes of one case."""
    validator, fields = RequestValidator(case["token"]), Lists(case["fields"])
    given = case["body"] if case.get("body") is not None else fields
    return {
        "signature": validator.compute_signature(case["url"], fields, case["algorithm"]),
        "valid": validator.validate(case["url"], given, case["signature"], case["algorithm"]),
    }


if __name__ == "__main__":
    json.dump([answer(case) for case in json.load(sys.stdin)], sys.stdout)
