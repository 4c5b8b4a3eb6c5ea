"""The Realtime protocol from the client's side: a model's messages become events, the call's commands become messages.

Source: OpenAI Realtime API reference (GA).
"""

from __future__ import annotations

from typing import assert_never

import pybase64

from audio.formats import AudioFrame
from audio.runs import FrameRun
from gateway.models.realtime.call_ids import CallNames, UsedNames
from gateway.models.realtime.decode import ModelReader
from gateway.models.realtime.encode import Writer
from gateway.models.realtime.input_clock import SoundPositions
from gateway.models.realtime.negotiation import ModelSettings
from gateway.models.realtime.responses import ModelResponses
from gateway.models.realtime.speech import ModelSpeech
from gateway.realtime.dialect import own
from gateway.realtime.scan import PLAIN_APPEND
from sessions.commands import (
    AddItem,
    AddToolOutput,
    CancelResponse,
    ClearSound,
    CommitSound,
    Configure,
    DeleteItem,
    ModelCommand,
    PassToModel,
    RequestResponse,
    Seed,
    SendAudio,
    TruncateItem,
)
from sessions.events import ModelEvent, ModelRefused
from sessions.past import PastToolCall
from sessions.ports import OWN_PREFIX, Ids
from sessions.problems import ModelProblem

FOREIGN = "foreign_message"  # the code of a message of another dialect, which is refused
APPEND_TYPE = b'"input_audio_buffer.append"'


class RealtimeModelCodec:
    """Reads and writes the messages of one leg."""

    __slots__ = (
        "_beside",
        "_calls",
        "_positions",
        "_reader",
        "_told",
        "_write",
        "settings",
        "speech",
    )

    def __init__(
        self,
        ids: Ids,
        *,
        speaks_given_text: bool,
        voids: frozenset[str] = frozenset(),
        semantic_vad: bool = True,
        used: UsedNames | None = None,
    ) -> None:
        """`voids`: session fields that this service refuses. `semantic_vad` False: it refuses that turn detection too.

        `used`: the ids of function calls, shared with the other legs of the same call.
        """
        self._write = Writer(ids, speaks_given_text=speaks_given_text)
        # What reading and writing share: one notes what the other asks for.
        self._calls = CallNames(ids, used or UsedNames())
        self._positions = SoundPositions()
        self.settings = ModelSettings(self._write, voids=voids, semantic_vad=semantic_vad)
        self.speech = ModelSpeech()
        responses = ModelResponses(ids)
        self._beside = responses.out_of_band_requests
        self._told: set[str] = set()  # items of the past: the client knows them
        self._reader = ModelReader(
            calls=self._calls,
            positions=self._positions,
            responses=responses,
            settings=self.settings,
            speech=self.speech,
            seeded=self._told,
        )

    # ---- messages in

    def decode(self, text: bytes) -> ModelEvent | None:
        """The event of one message; None if the call does not need it. Raises WireError for a malformed message."""
        return self._reader.read(text)

    # ---- commands out

    def encode(self, command: ModelCommand) -> tuple[bytes, ...]:
        """The messages that carry a command out, in order; none for one that is `not_understood`."""
        match command:
            case SendAudio():
                return (self.sound(command),)
            case CommitSound():
                return (self._write.commit(command),)
            case ClearSound():
                return (self._write.clear(command),)
            case AddItem():
                return (self._write.add_item(command),)
            case DeleteItem():
                return (self._write.delete(command),)
            case PassToModel():
                wire = own(command.wire)
                return () if wire is None else (self._calls.write(wire).text,)
            case Configure():
                return (self._configure(command),)
            case RequestResponse():
                if command.request.out_of_band:
                    self._beside.add(command.request.request_id)
                return (self._write.response_create(command.request),)
            case CancelResponse():
                return (self._write.cancel(command),)
            case TruncateItem():
                return (self._write.truncate(command),)
            case AddToolOutput():
                return (self._tool_output(command),)
            case Seed():
                return self._seed(command)
            case _:
                assert_never(command)

    def sound(self, command: SendAudio) -> bytes:
        """The message for caller sound: the one that it came in, if it is of this protocol, else a new one."""
        wire = command.wire
        if wire is not None and (
            wire.startswith(PLAIN_APPEND) or APPEND_TYPE in wire[:128] or APPEND_TYPE in wire[-128:]
        ):
            self._positions.sent(command.frame)
            return wire
        return self.frame(command.frame)

    def frame(self, frame: AudioFrame) -> bytes:
        """A new message for a frame of caller sound."""
        self._positions.sent(frame)
        encoded: bytes = pybase64.b64encode(frame.payload)
        return PLAIN_APPEND + encoded + b'"}'

    def note_sent(self, run: FrameRun) -> None:
        """Count caller sound that was sent to the model on the fast path."""
        self._positions.note_sent(run)

    def _configure(self, command: Configure) -> bytes:
        if not self.settings.ready:
            self.speech.format = command.setup.output_format
        return self.settings.ask(command)

    def _tool_output(self, command: AddToolOutput) -> bytes:
        wire = own(command.wire)
        if wire is not None:
            return self._calls.write(wire).text
        message, item_id = self._write.tool_output(self._calls.models(command.call_id), command.output)
        self._calls.sent(item_id, command.call_id)
        return message

    def _seed(self, command: Seed) -> tuple[bytes, ...]:
        messages: list[bytes] = []
        for entry in command.past:
            if isinstance(entry, PastToolCall):
                written, item_ids = self._write.past(self._calls.told(entry))
                for item_id in item_ids:
                    self._calls.sent(item_id, entry.call_id)
            else:
                written, item_ids = self._write.past(entry)
            messages.extend(written)
            item_id = item_ids[0]
            ours = item_id.startswith(OWN_PREFIX)  # hidden from the client anyway
            if not ours and item_id not in command.unseen:
                self._told.add(item_id)
        return tuple(messages)


def not_understood(command: ModelCommand) -> ModelRefused | None:
    """The refusal of a message of another dialect, for the call's log and figures; None for any other command."""
    if type(command) is not PassToModel or own(command.wire) is not None:
        return None
    text = "The model does not understand messages of this kind."
    return ModelRefused(FOREIGN, text, None, None, ModelProblem(FOREIGN, None))
