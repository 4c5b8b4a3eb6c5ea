"""Problems that the models of all calls have reported, counted by code for the metrics."""

from __future__ import annotations

from collections import Counter

from sessions.problems import OTHER

# Only these codes are counted by name. A service may send any code, and a monitor keeps a series for each for ever.
KNOWN = frozenset(
    {
        "account_deactivated",
        "authentication_error",
        "beta_api_shape_disabled",
        "billing_hard_limit_reached",
        "cannot_update_voice",
        "closed_1008",
        "content_filter",
        "context_length_exceeded",
        "credit_balance_exhausted",
        "foreign_message",
        "http_400",
        "http_401",
        "http_403",
        "http_404",
        "http_408",
        "http_429",
        "http_500",
        "http_502",
        "http_503",
        "http_504",
        "inference_rate_limit_exceeded",
        "insufficient_quota",
        "internal_error",
        "invalid_api_key",
        "invalid_event",
        "invalid_function_parameters",
        "invalid_request_error",
        "invalid_type",
        "invalid_value",
        "max_output_tokens",
        "missing_required_parameter",
        "model_not_found",
        "rate_limit_exceeded",
        "server_error",
        "session_expired",
        "string_above_max_length",
        "unknown_parameter",
    }
)


class ProblemCounts:
    """Counts how often each code was reported since the process began."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, code: str) -> None:
        """Count one problem; a code that is not known counts as `other`."""
        self._counts[code if code in KNOWN else OTHER] += 1

    def items(self) -> list[tuple[str, int]]:
        """Each code that was reported and its count, sorted by code."""
        return sorted(self._counts.items())
