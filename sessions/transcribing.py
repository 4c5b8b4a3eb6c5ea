"""Takes the words that the caller has said, as the model's transcription gives them, with what that used."""

from __future__ import annotations

from dataclasses import replace

from sessions.events import CallerTranscribed
from sessions.ports import Json, JsonObject
from sessions.state import CallState


def words(state: CallState, event: CallerTranscribed) -> None:
    """Note the caller's words in the record, and what their transcription used."""
    state.transcript.caller_text(event.item_id, event.text, final=event.final)
    place = state.transcript.places.get(event.item_id)
    if event.usage is not None and place is not None:
        model = event.usage.model or transcription_model(state.setup.session)
        state.accounts.transcribed(place.turn, place.said, replace(event.usage, model=model))


def transcription_model(session: JsonObject) -> str:
    """The model that a session asks to transcribe the caller's sound; "" if it names none."""
    value: Json = session
    for name in ("audio", "input", "transcription", "model"):
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
