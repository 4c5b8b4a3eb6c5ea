"""Hands each event to the function that decides on it. Both unions are matched in full, so no kind can be forgotten."""

from __future__ import annotations

from typing import assert_never

from sessions import answering, caller_side, ending, key_side, model_link, model_side, speaking
from sessions.commands import ClearSound, PassToModel, Relay
from sessions.events import (
    AgentAudio,
    AgentItemEnded,
    AgentText,
    CallerAudio,
    CallerAudioDropped,
    CallerCleared,
    CallerCommitted,
    CallerEvent,
    CallerPassed,
    CallerText,
    CallerTranscribed,
    CallerTurnTaken,
    CancelWanted,
    ClientToolAnswered,
    DeleteWanted,
    HungUp,
    ItemDeleted,
    ItemStarted,
    ItemTaken,
    ItemWritten,
    MarkEchoed,
    ModelEvent,
    ModelLost,
    ModelPassed,
    ModelReady,
    ModelRefused,
    PlaybackReported,
    ResponseEnded,
    ResponseStarted,
    ResponseWanted,
    SettingsChanged,
    SpeechEnded,
    SpeechStarted,
    ToolOutputTaken,
    ToolWanted,
)
from sessions.line_events import CallerSilence, DigitPressed, LineMeasured, SpeechDropped
from sessions.link import OPEN, LinkState
from sessions.state import CallState

CALLER_KINDS = frozenset(
    {
        CallerAudio,
        CallerSilence,
        LineMeasured,
        CallerCommitted,
        CallerCleared,
        CallerText,
        ItemWritten,
        DeleteWanted,
        ClientToolAnswered,
        ResponseWanted,
        CancelWanted,
        PlaybackReported,
        MarkEchoed,
        SpeechDropped,
        DigitPressed,
        SettingsChanged,
        CallerPassed,
        HungUp,
    }
)


def from_caller(state: CallState, event: CallerEvent, now_ms: int) -> None:
    """Take an event of the caller's leg."""
    match event:
        case CallerAudio():
            state.add(caller_side.sound(state, event, now_ms))
        case CallerSilence():
            state.add(caller_side.silence(state, event))
        case LineMeasured():
            state.meter.line = event.counts
        case CallerCommitted():
            caller_side.committed(state, event)
        case CallerCleared():
            state.to_model(ClearSound(event.wire))
        case CallerText():
            caller_side.typed(state, event, now_ms)
        case ItemWritten():
            caller_side.wrote(state, event)
        case DeleteWanted():
            caller_side.delete(state, event)
        case ClientToolAnswered():
            caller_side.tool_answered(state, event, now_ms)
        case ResponseWanted():
            answering.client_wants(state, event, now_ms)
        case CancelWanted():
            caller_side.cancel(state, event)
        case PlaybackReported():
            caller_side.played(state, event, now_ms)
        case MarkEchoed():
            caller_side.echoed(state, event.item_id, event.position_ms, now_ms)
        case SpeechDropped():
            caller_side.dropped(state, event, now_ms)
        case DigitPressed():
            key_side.pressed(state, event, now_ms)
        case SettingsChanged():
            caller_side.settings(state, event, now_ms)
        case CallerPassed():
            state.to_model(PassToModel(event.wire))
        case HungUp():
            ending.end(state, event.reason, "", None, now_ms)
        case _:
            assert_never(event)


def from_model(state: CallState, event: ModelEvent, now_ms: int) -> None:
    """Take an event of the model's leg. One that is lost, or not ready, only reports its state and problems."""
    if state.link.state is not OPEN and not isinstance(event, ModelReady | ModelLost | CallerAudioDropped):
        if isinstance(event, ModelRefused) and state.link.state is LinkState.DIALLING:
            state.note(event.problem, "request", None)
        return
    match event:
        case AgentAudio():
            state.add(speaking.speech(state, event, now_ms))
        case ModelPassed() | AgentItemEnded():
            state.responses.progress_ms = now_ms
            state.out.append(Relay(event))
        case AgentText():
            speaking.words(state, event, now_ms)
        case ModelReady():
            model_link.ready(state, event.session, now_ms)
        case SpeechStarted():
            model_side.speech_started(state, event, now_ms)
        case SpeechEnded():
            model_side.speech_ended(state, event, now_ms)
        case CallerTurnTaken():
            model_side.turn_taken(state, event, now_ms)
        case CallerTranscribed():
            model_side.transcribed(state, event, now_ms)
        case ResponseStarted():
            model_side.response_started(state, event, now_ms)
        case ItemStarted():
            model_side.item_started(state, event, now_ms)
        case ToolWanted():
            model_side.tool_wanted(state, event, now_ms)
        case ResponseEnded():
            model_side.response_ended(state, event, now_ms)
        case ModelRefused():
            model_side.refused(state, event, now_ms)
        case ToolOutputTaken():
            state.knowledge.output_taken(event.call_id)
            state.out.append(Relay(event))
        case ItemTaken():
            model_side.item_taken(state, event, now_ms)
        case ItemDeleted():
            model_side.item_deleted(state, event)
        case CallerAudioDropped():
            state.meter.dropped_ms += event.dropped_ms
        case ModelLost():
            model_link.lost(state, event, now_ms)
        case _:
            assert_never(event)
