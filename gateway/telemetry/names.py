"""Every figure that the gateway shows: name, kind, labels, buckets and meaning, in one table.

The names that begin with `gen_ai_` are those of OpenTelemetry's conventions for generative AI, release v0.1.0, in
Prometheus' spelling. A label's values come from the configuration or from a closed list, and never from a caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of figures that Prometheus knows."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """All series of one name. `buckets` are the upper bounds of a histogram, in the unit of the name."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


FAMILIES: list[Family] = []  # in the order in which they are shown


def _listed(family: Family) -> Family:
    FAMILIES.append(family)
    return family


def _counter(name: str, help: str, *labels: str) -> Family:
    return _listed(Family(f"{name}_total", Kind.COUNTER, help, labels))


def _gauge(name: str, help: str, *labels: str) -> Family:
    return _listed(Family(name, Kind.GAUGE, help, labels))


def _histogram(name: str, buckets: tuple[float, ...], help: str, *labels: str) -> Family:
    return _listed(Family(name, Kind.HISTOGRAM, help, labels, buckets))


# Upper bounds in seconds: of an answer's latency, of short work, of tools, of inference (the conventions' own), of
# whole calls, of what should take no time at all; and in US dollars.
_LATENCY = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1, 1.2, 1.5, 2, 3, 5, 10)
_FAST = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 8)
_TOOL = (0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30)
_INFERENCE = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_DURATION = (10, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200)
_SUDDEN = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1)
_DOLLARS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")

BUILD_INFO = _gauge("patchbay_build_info", "Always 1; the label names the version that runs.", "version")
READY = _gauge("patchbay_ready", "Whether new calls are taken: 1 if they are.")
DRAINING = _gauge("patchbay_draining", "Whether the server is about to stop, and lets its calls end: 1 if it is.")

LIVE_CALLS = _gauge("patchbay_live_calls", "Calls that are going on.", "agent", "protocol")
CALL_CAPACITY = _gauge("patchbay_call_capacity", "How many calls may go on at once (PATCHBAY_MAX_CALLS).")
CALLS_STARTED = _counter("patchbay_calls_started", "Calls that have begun.", "agent", "protocol")
CALLS_ENDED = _counter("patchbay_calls_ended", "Calls that have ended, by end reason.", "agent", "protocol", "reason")
CALLS_REFUSED = _counter("patchbay_calls_refused", "Calls that were not let in, by the refusal's code.", "code")
CALLS_BROKEN = _counter("patchbay_calls_broken", "Calls that ended because of a fault in the gateway.")
CALL_DURATION = _histogram("patchbay_call_duration_seconds", _DURATION, "How long calls lasted.", "agent")
CALL_SETUP = _histogram(
    "patchbay_call_setup_seconds", _FAST, "From the caller's connection to a ready model.", "agent", "protocol"
)
CALL_COST = _histogram(
    "patchbay_call_cost_usd", _DOLLARS, "What calls cost whose every price is known.", "agent", "model"
)
COST = _counter("patchbay_cost_usd", "What calls have cost so far, as far as prices are known.", "agent", "model")

TURNS = _counter("patchbay_turns", "Turns, by the outcome of their last response.", "agent", "outcome")
TURN_LATENCY = _histogram(
    "patchbay_turn_latency_seconds",
    _LATENCY,
    "From the end of the caller's speech to the first audible sample of the answer.",
    "agent",
    "model",
)
INTERRUPTIONS = _counter("patchbay_interruptions", "Turns whose answer the caller has interrupted.", "agent")
INTERRUPTION_STOP = _histogram(
    "patchbay_interruption_stop_seconds",
    _SUDDEN,
    "From the news that the caller interrupts to the command that stops the speech, where the gateway plays it.",
    "protocol",
)
AUDIO = _counter(
    "patchbay_audio_seconds",
    "Sound of the callers and of the agents: carried, dropped on the way, or sent and not heard.",
    "side",
    "fate",
)
LINE_FRAMES = _counter(
    "patchbay_line_frames",
    "Sound of telephone lines that came late, was filled in, or was clipped, in frames of 20 ms; of ended calls.",
    "protocol",
    "fate",
)

LEGS_OPENED = _counter("patchbay_model_legs_opened", "Connections to models that were opened or tried.", "model")
LEGS_OPEN = _gauge("patchbay_model_legs_open", "Connections to models that are open.", "model")
DIALS = _counter("patchbay_model_dials", "Dials of models, by cause and outcome.", "model", "cause", "outcome")
DIAL_TIME = _histogram("patchbay_model_dial_seconds", _FAST, "From a dial to a ready model.", "model")
MODEL_ERRORS = _counter("patchbay_model_errors", "Errors that models have reported, by code.", "model", "code")
INFERENCE = _histogram(
    "gen_ai_client_inference_duration_seconds",
    _INFERENCE,
    "How long a model's responses took.",
    *_GEN_AI,
    "error_type",
)
FIRST_CHUNK = _histogram(
    "gen_ai_client_inference_time_to_first_chunk_seconds",
    _INFERENCE,
    "From the request of a response to its first audible sample.",
    *_GEN_AI,
)
INPUT_TOKENS = _counter(
    "gen_ai_client_inference_usage_input_tokens",
    "Input tokens, cached ones included.",
    *_GEN_AI,
    "gen_ai_token_modality",
)
OUTPUT_TOKENS = _counter(
    "gen_ai_client_inference_usage_output_tokens", "Output tokens.", *_GEN_AI, "gen_ai_token_modality"
)
CACHED_TOKENS = _counter(
    "gen_ai_client_inference_usage_cache_read_input_tokens",
    "Input tokens that were read from the model's cache.",
    *_GEN_AI,
    "gen_ai_token_modality",
)

TOOL_TIME = _histogram(
    "gen_ai_execute_tool_duration_seconds",
    _TOOL,
    "How long the agents' tools took.",
    "gen_ai_tool_name",
    "error_type",
)
TOOLS_RUNNING = _gauge("patchbay_tools_running", "Tools that are running for calls.")
MCP_UP = _gauge("patchbay_mcp_up", "Whether a tool server is connected: 1 if it is.", "server")
MCP_CONNECTS = _counter("patchbay_mcp_connects", "Attempts to connect a tool server, by outcome.", "server", "outcome")

STORE_HEALTHY = _gauge("patchbay_store_healthy", "Whether the store has all documents: 1 unless it was lost.")
STORE_BUSY = _gauge("patchbay_store_busy", "Whether the store asks for time: 1 if it does.")
STORE_WRITE = _histogram(
    "patchbay_store_write_seconds", _FAST, "How long it took to write a session's documents.", "store", "outcome"
)
STORE_THROTTLED = _counter("patchbay_store_throttled", "Requests that the store answered with 'too many requests'.")
STORE_UNITS = _counter("patchbay_store_request_units", "Request units that Cosmos DB has charged.", "operation")
STORE_OPERATIONS = _counter("patchbay_store_operations", "Operations of a remote store.", "operation", "outcome")
STORE_TIME = _counter("patchbay_store_operation_seconds", "Time that operations of a remote store took.", "operation")
DOCUMENTS_WAITING = _gauge("patchbay_documents_waiting", "Documents that store and disk refuse, kept in memory.")
DOCUMENTS_WAITING_BYTES = _gauge("patchbay_documents_waiting_bytes", "About how much memory these documents take.")
DOCUMENTS_OLDEST = _gauge("patchbay_documents_oldest_seconds", "How long the oldest document has waited for the store.")
DOCUMENTS_SPOOLED = _counter("patchbay_documents_spooled", "Documents that were written to the spool file.")
DOCUMENTS_LOST = _counter("patchbay_documents_lost", "Documents that were lost.")
DOCUMENTS_DROPPED = _counter("patchbay_documents_dropped", "Documents of deleted or taken sessions, not written.")
SESSIONS_FENCED = _counter("patchbay_sessions_fenced", "Sessions that another server has taken over.")
SPOOL_DOCUMENTS = _gauge("patchbay_spool_documents", "Documents in the spool files.")
SPOOL_BYTES = _gauge("patchbay_spool_bytes", "Size of the spool files.")
SPOOL_AGE = _gauge("patchbay_spool_age_seconds", "How long the oldest document has been in the spool; 0 if none is.")

RECORDINGS_WAITING = _gauge("patchbay_recordings_waiting", "Calls whose recording is not made and stored yet.")
RECORDINGS_FAILED = _counter("patchbay_recordings_failed", "Recordings that could not be made.")

CARRIER_EVENTS = _counter("patchbay_carrier_events", "Requests and calls of carriers, by event.", "carrier", "event")
TICKETS_REFUSED = _counter("patchbay_tickets_refused", "Carriers' tickets that were refused.", "carrier", "reason")

SOCKETS_OPEN = _gauge("patchbay_sockets_open", "Media sockets that are open, by the side they lead to.", "side")
LOOP_LAG = _histogram(
    "patchbay_loop_lag_seconds", _SUDDEN, "How late a timer of 100 ms rang in the loop that carries the sound."
)

TELEMETRY_ITEMS = _counter(
    "patchbay_telemetry_items", "Telemetry that was sent on, by outcome.", "signal", "destination", "outcome"
)
TELEMETRY_DROPPED = _counter("patchbay_telemetry_dropped", "Telemetry that was dropped.", "signal", "why")
TELEMETRY_UP = _gauge("patchbay_telemetry_up", "Whether a destination takes telemetry: 1 if it does.", "destination")
