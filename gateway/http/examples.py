"""Complete example answers, which OpenAPI shows for each operation."""

from __future__ import annotations

from sessions.ports import Json

AGENTS: Json = {
    "agents": [
        {
            "name": "front-desk",
            "description": "Takes table bookings for a restaurant",
            "model": "local/offline",
            "version": "5d1f2c9a",
            "available": True,
            "reason": None,
            "tool_servers_down": [{"server": "bookings", "reason": "its program ended with code 1"}],
        },
        {
            "name": "harbour",
            "description": "Answers questions about the ferry timetable",
            "model": "openai/gpt-realtime",
            "version": "07be41f3",
            "available": False,
            "reason": "OPENAI_API_KEY is not set",
            "tool_servers_down": [],
        },
    ]
}
USAGE: Json = {
    "input_text": 412,
    "input_audio": 655,
    "input_image": 0,
    "input_cached": 320,
    "output_text": 96,
    "output_audio": 371,
}
SESSION: dict[str, Json] = {
    "session_id": "sess_5f0c1b7e2a9d4c63",
    "agent": "front-desk",
    "agent_version": "5d1f2c9a",
    "model": "local/offline",
    "protocol": "realtime",
    "state": "ended",
    "started_at": 1795300000.25,
    "ended_at": 1795300042.25,
    "end_reason": "caller_hung_up",
    "summary": {
        "turns": 4,
        "caller_audio_ms": 31240,
        "agent_audio_ms": 18900,
        "dropped_audio_ms": 0,
        "redials": 0,
        "problems": [{"code": "rate_limit_exceeded", "type": "server_error", "count": 1}],
        "line": None,
        "duration_ms": 42000,
        "usage": USAGE,
    },
    "latencies_ms": [640, 720],
    "recording": {"state": "ready", "complete": True, "rate_hz": 24000, "duration_ms": 42000},
    "caller": {
        "number": None,
        "called": None,
        "direction": "inbound",
        "metadata": {},
        "carrier_call_id": None,
        "language": None,
    },
}
SESSIONS: Json = {"sessions": [SESSION], "next_cursor": None}
_SAID: dict[str, Json] = {
    "kind": "said",
    "item_id": "item_1",
    "begin_ms": 1200,
    "speaker": "caller",
    "text": "A table for two tomorrow at seven, please.",
    "heard_text": "A table for two tomorrow at seven, please.",
    "spoken": True,
    "sent_ms": 0,
    "heard_ms": 0,
    "heard": None,
    "images": 0,
}
_USED: dict[str, Json] = {
    "kind": "tool",
    "item_id": "item_2",
    "begin_ms": 4300,
    "call_id": "call_1",
    "name": "book_table",
    "arguments": '{"people": 2, "time": "19:00"}',
    "output": '{"booked": true}',
    "error": None,
    "server_side": True,
    "end_ms": 4340,
}
_ANSWERED: dict[str, Json] = {
    "kind": "said",
    "item_id": "item_3",
    "begin_ms": 5000,
    "speaker": "agent",
    "text": "Your table is booked. Goodbye!",
    "heard_text": "Your table is booked.",
    "spoken": True,
    "sent_ms": 2100,
    "heard_ms": 1400,
    "heard": "reported",
    "images": 0,
}
TRANSCRIPT: Json = {
    "session_id": SESSION["session_id"],
    "turns": [
        {
            "index": 0,
            "begin_ms": 1200,
            "end_ms": 6400,
            "latency_ms": 640,
            "interrupted": True,
            "outcome": "completed",
            "problem": {"code": "rate_limit_exceeded", "type": "server_error"},
            "usage": USAGE,
            "entries": [_SAID, _USED, _ANSWERED],
        }
    ],
}
DELETED: Json = {"session_id": SESSION["session_id"], "deleted": True}
LIVE: dict[str, Json] = {
    "session_id": "sess_5f0c1b7e2a9d4c63",
    "agent": "front-desk",
    "protocol": "realtime",
    "started_at": 1795300000.25,
    "turns": 2,
}
LIVES: Json = {"calls": [LIVE]}
SECRET_REQUEST: Json = {
    "expires_after": {"anchor": "created_at", "seconds": 600},
    "session": {"type": "realtime", "model": "front-desk", "audio": {"output": {"voice": "marin"}}},
}
SECRET: Json = {
    "value": "ek_GFyJ…",
    "expires_at": 1795300600,
    "session": {
        "type": "realtime",
        "object": "realtime.session",
        "id": "sess_90b2c7d15e3f4a68",
        "model": "front-desk",
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": 1795303600,
        "include": None,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "noise_reduction": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "idle_timeout_ms": None,
                    "create_response": True,
                    "interrupt_response": True,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
        },
    },
}
EVENTS = '{"schema": 1}\n{"at_ms": 0, "from": "caller", "text": {"type": "session.update", "session": {}}}\n'
ETAG = '"3f6b0c9e41d7a25880be13c6f2954d07"'
SOUND = "(the file's bytes)"
FIGURES = (
    "# HELP patchbay_live_calls Calls that are going on.\n"
    "# TYPE patchbay_live_calls gauge\n"
    'patchbay_live_calls{agent="front-desk",protocol="realtime"} 3.0\n'
)
