"""The codes of models' errors that figures name; all others count as one."""

from __future__ import annotations

from sessions.problems import OTHER

# Only these codes are counted by name. A service may send any code, and a monitor keeps a series for each for ever.
KNOWN_CODES = frozenset(
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


def known_code(code: str) -> str:
    """The code under which an error is counted: `other` where it is not known."""
    return code if code in KNOWN_CODES else OTHER
