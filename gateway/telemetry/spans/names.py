"""The names of all spans, events and attributes.

Source of `gen_ai.*`: the GenAI semantic conventions of OpenTelemetry, release v0.1.0, which are in development; the
names of realtime spans were proposals when this was written. Names that begin with `patchbay.` are Patchbay's own.
"""

from __future__ import annotations

# ---- spans

SETUP = "patchbay.setup"
DIAL = "patchbay.dial"
CALL = "patchbay.call"
PLAYBACK = "patchbay.playback"
INVOKE_AGENT = "invoke_agent"
USER_SPEECH = "user_speech"
INFERENCE = "realtime_inference"
EXECUTE_TOOL = "execute_tool"

# ---- events of a turn

INTERRUPTED_EVENT = "patchbay.interrupted"
TRUNCATED_EVENT = "patchbay.truncated"
MODEL_LOST_EVENT = "patchbay.model_lost"
BUDGET_EVENT = "patchbay.budget_reached"

# ---- every span

SESSION_ID = "patchbay.session.id"
READERS_SESSION_ID = "session.id"
CONVERSATION_ID = "gen_ai.conversation.id"
AGENT_NAME = "gen_ai.agent.name"
AGENT_VERSION = "gen_ai.agent.version"
TENANT = "patchbay.tenant"
PROTOCOL = "patchbay.protocol"
ERROR_TYPE = "error.type"
OPERATION = "gen_ai.operation.name"

# ---- the call

ADMISSION_MS = "patchbay.admission_ms"
CALLER_FORMAT = "patchbay.caller.format"
MODEL_FORMAT = "patchbay.model.format"
RESUMED = "patchbay.resumed"
DIAL_ATTEMPT = "patchbay.dial.attempt"
DIAL_CAUSE = "patchbay.dial.cause"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
END_REASON = "patchbay.end_reason"
TURNS = "patchbay.turns"
REDIALS = "patchbay.redials"
CALLER_AUDIO_MS = "patchbay.caller_audio_ms"
AGENT_AUDIO_MS = "patchbay.agent_audio_ms"
DROPPED_AUDIO_MS = "patchbay.dropped_audio_ms"
LATENCY_P50_MS = "patchbay.latency_p50_ms"
LATENCY_P95_MS = "patchbay.latency_p95_ms"
COST_USD = "patchbay.cost_usd"
PRICES = "patchbay.prices"
RECORDING_STATE = "patchbay.recording.state"

# ---- a turn

INVOCATION_END_REASON = "gen_ai.agent.invocation.end_reason"
TURN = "patchbay.turn"
LATENCY_MS = "patchbay.latency_ms"
HEARD_MS = "patchbay.heard_ms"
SENT_MS = "patchbay.sent_ms"
HEARD = "patchbay.heard"
ITEM_ID = "patchbay.item_id"
INTERRUPTED = "patchbay.interrupted"

# ---- a response of the model

PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
MODEL_SESSION_ID = "gen_ai.realtime_session.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
OUTPUT_TYPE = "gen_ai.output.type"
FIRST_CHUNK_S = "gen_ai.response.time_to_first_chunk"
ORIGIN = "patchbay.origin"

# ---- a tool call

TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_DEADLINE_MS = "patchbay.tool.deadline_ms"
TOOL_LATE = "patchbay.tool.late"
TOOL_RESULT_BYTES = "patchbay.tool.result_bytes"
MCP_METHOD = "mcp.method.name"
MCP_SERVER = "patchbay.mcp.server"
TRANSPORT = "network.transport"

# ---- usage

USAGE = "gen_ai.usage."
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
INPUT_TEXT_TOKENS = "gen_ai.usage.text.input_tokens"
INPUT_AUDIO_TOKENS = "gen_ai.usage.audio.input_tokens"
INPUT_IMAGE_TOKENS = "gen_ai.usage.image.input_tokens"
OUTPUT_TEXT_TOKENS = "gen_ai.usage.text.output_tokens"
OUTPUT_AUDIO_TOKENS = "gen_ai.usage.audio.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHED_TEXT_TOKENS = "gen_ai.usage.text.cache_read.input_tokens"
CACHED_AUDIO_TOKENS = "gen_ai.usage.audio.cache_read.input_tokens"
CACHED_IMAGE_TOKENS = "gen_ai.usage.image.cache_read.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
ACTIVE_MS = "patchbay.usage.active_ms"
STANDBY_MS = "patchbay.usage.standby_ms"

# ---- content

INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"

# ---- dialects

LANGFUSE_TYPE = "langfuse.observation.type"
LANGFUSE_TRACE_NAME = "langfuse.trace.name"
LANGFUSE_TRACE_TAGS = "langfuse.trace.tags"
LANGFUSE_ENVIRONMENT = "langfuse.environment"
LANGFUSE_RELEASE = "langfuse.release"
LANGFUSE_MODEL = "langfuse.observation.model.name"
LANGFUSE_USAGE = "langfuse.observation.usage_details"
LANGFUSE_COST = "langfuse.observation.cost_details"
LANGFUSE_COMPLETION_START = "langfuse.observation.completion_start_time"
LANGFUSE_LEVEL = "langfuse.observation.level"
LANGFUSE_INPUT = "langfuse.observation.input"
LANGFUSE_OUTPUT = "langfuse.observation.output"
OPENINFERENCE_KIND = "openinference.span.kind"
OPENINFERENCE_AUDIO_IN = "llm.token_count.prompt_details.audio"
OPENINFERENCE_AUDIO_OUT = "llm.token_count.completion_details.audio"
INPUT_VALUE = "input.value"
OUTPUT_VALUE = "output.value"
AZURE_SYSTEM = "gen_ai.system"
