"""The scripted model: a brain that follows a script, for tests, benches and demonstrations. Deterministic.

```yaml
model: front-desk            # the name it shows; the file's own by default
pace: fast                   # fast (all at once), real, or a number: times real time
after_ms: 0                  # from a request to the first sound
ms_per_word: 300             # of the placeholder voice; a recording has its own time
piece_ms: 100                # of sound in one delta
voice_gate: 400              # root mean square of 16-bit samples, above which the caller speaks
usage: {input_audio: 50, output_audio: 80, output_text: 20}
refuse: [429, null]          # the first dial is refused, the second let in, and all further ones
turns:                       # the first unused one that fits answers
  - hears: A table for two.  # or {text, after_ms, parts: true, fails: true}
    say: One moment.
    calls: [{name: find_table, arguments: {people: 2}}]
  - when: {tool: find_table, contains: free}   # or text, spoken, image, out_of_band, attempt
    say: There is one at seven.
    audio: seven.wav         # instead of the placeholder
    pace: real
    fault: {drop: 500}       # see docs/scripted-model.md
otherwise: {say: "Pardon?"}    # when no turn fits
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from audio.formats import AudioFrame
from gateway.models.scripted_answer import Answer, pieces
from gateway.models.scripted_faults import FaultyWire
from gateway.models.scripted_shape import NO_FAULTS, Script, ScriptedTurn, When
from gateway.models.scripted_sound import EnergyEar, Heard
from gateway.realtime.brain import Ear, OpenResponse
from gateway.realtime.owners import spoken_text
from gateway.realtime.server import RealtimeServer
from sessions.ports import Ids, Json, JsonObject

EAGERNESS_MS = {"low": 1000, "medium": 600, "auto": 600, "high": 300}  # of silence that ends a turn, in semantic_vad


@dataclass(slots=True)
class Cue:
    """What has happened since the last answer was asked for."""

    spoken: bool = False
    images: bool = False
    texts: list[str] = field(default_factory=list)
    outputs: list[tuple[str, str]] = field(default_factory=list)  # function's name, what it returned

    def note(self, item: JsonObject, names: Mapping[str, str]) -> None:
        """Take an item into account; `names` gives the function of a call's id."""
        if item.get("type") == "function_call_output":
            self.outputs.append((names.get(str(item["call_id"]), ""), str(item["output"])))
        content = item.get("content")
        if item.get("type") == "message" and item["role"] == "user" and isinstance(content, list):
            self.texts.extend(str(part["text"]) for part in content if part.get("type") == "input_text")
            self.images = self.images or any(part.get("type") == "input_image" for part in content)
            self.spoken = self.spoken or any(part.get("type") == "input_audio" for part in content)

    def fits(self, when: When | None, out_of_band: bool, attempt: int) -> bool:
        """Whether a turn under this condition may answer."""
        if when is None:
            return not out_of_band
        outputs = [output for name, output in self.outputs if when.tool in (None, name)]
        return (
            when.out_of_band == out_of_band
            and when.attempt in (None, attempt)
            and when.spoken in (None, self.spoken)
            and when.image in (None, self.images)
            and (when.text is None or any(when.text.lower() in text.lower() for text in self.texts))
            and (when.tool is None or bool(outputs))
            and (when.contains is None or any(when.contains.lower() in output.lower() for output in outputs))
        )


def _stay() -> None:
    """A connection that is closed cannot be cut."""


class ScriptedBrain:
    """Answers by the script, and hears the caller by the energy of the sound."""

    def __init__(self, script: Script, ear: Ear, wire: FaultyWire, on_drop: Callable[[], None], attempt: int) -> None:
        self._script = script
        self._ear = ear
        self._wire = wire
        self._on_drop = on_drop
        self._attempt = attempt
        self._left = list(script.turns)
        self._cue = Cue()
        self._names: dict[str, str] = {}  # of the functions called, by call id
        self._answers: dict[str, Answer] = {}
        self._energy = EnergyEar(script.voice_gate)
        self._detects = True
        self._last_item: str | None = None  # that the caller spoke
        self._to_tell: list[tuple[int, Callable[[], None]]] = []

    # ---- hearing

    def configured(self, session: JsonObject) -> None:
        """The session's way to find turns is emulated by energy."""
        detection = _inside(session, "audio", "input", "turn_detection")
        was, self._detects = self._detects, isinstance(detection, Mapping)
        if was and not self._detects:
            self._energy.reset()
        if isinstance(detection, Mapping):
            silence = detection.get("silence_duration_ms", EAGERNESS_MS[str(detection.get("eagerness", "auto"))])
            prefix = detection.get("prefix_padding_ms", 300)
            assert isinstance(silence, int), "the session was checked"
            assert isinstance(prefix, int), "the session was checked"
            self._energy.configure(silence, prefix)

    def heard(self, frame: AudioFrame, now_ms: int) -> None:
        """Listen, unless the client takes turns by hand."""
        self._wire.now_ms = now_ms
        if not self._detects:
            return
        for notice in self._energy.feed(frame):
            if notice.what is Heard.STARTED:
                self._last_item = self._ear.speech_started(notice.at_ms)
                self._cue.spoken = True
            else:
                self._ear.speech_stopped(notice.at_ms)

    def committed(self, item_id: str, now_ms: int) -> None:
        """A turn by hand."""
        self._energy.reset()
        self._last_item = item_id
        self._cue.spoken = True

    def cleared(self) -> None:
        """The sound was taken back."""
        self._energy.reset()

    def item_added(self, item: JsonObject, now_ms: int) -> None:
        """Text, or a function's output."""
        if item.get("type") == "function_call" and item.get("call_id") is not None:
            self._names[str(item["call_id"])] = str(item["name"])
        self._cue.note(item, self._names)

    def item_truncated(self, item_id: str, audio_end_ms: int) -> None:
        """The script knows what it says next without it."""

    # ---- answering

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        """Find the turn that fits, and begin it."""
        out_of_band = request.get("conversation") == "none"
        cue = Cue() if out_of_band else self._cue
        if not out_of_band:
            self._cue = Cue()
        asked = request.get("input")
        for entry in asked if isinstance(asked, list) else []:
            cue.note(entry, self._names)
        message = request.get("pre_generated_assistant_message")
        if isinstance(message, Mapping):
            turn = _plain(self._script.otherwise, spoken_text(message))
        else:
            turn = self._turn_for(cue, out_of_band)
        self._wire.now_ms = now_ms
        self._wire.arm(response.id, turn.faults)
        if not out_of_band and cue.spoken:
            self._schedule_hearing(turn, now_ms)
        self._answers[response.id] = Answer(self._script, turn, response, self, now_ms + turn.after_ms)
        self.on_time(now_ms)

    def stopped(self, response_id: str) -> None:
        """Nobody listens to that answer any more."""
        self._answers.pop(response_id, None)

    @property
    def deadline_ms(self) -> int | None:
        """The nearest step of any answer, word to tell, or message held back."""
        times = [answer.due_ms for answer in self._answers.values()]
        times += [due for due, _ in self._to_tell]
        times.append(self._wire.deadline_ms)
        return min((due for due in times if due is not None), default=None)

    def on_time(self, now_ms: int) -> None:
        """Do all that is due."""
        self._wire.on_time(now_ms)
        due = [tell for at, tell in sorted(self._to_tell, key=lambda entry: entry[0]) if at <= now_ms]
        self._to_tell = [(at, tell) for at, tell in self._to_tell if at > now_ms]
        for tell in due:
            tell()
        for response_id, answer in list(self._answers.items()):
            while response_id in self._answers and answer.due_ms is not None and answer.due_ms <= now_ms:
                answer.step()
            if answer.due_ms is None:
                self._answers.pop(response_id, None)

    def close(self) -> None:
        """The session is over."""
        self._answers.clear()
        self._to_tell.clear()
        self._on_drop = _stay

    def _turn_for(self, cue: Cue, out_of_band: bool) -> ScriptedTurn:
        for at, turn in enumerate(self._left):
            if cue.fits(turn.when, out_of_band, self._attempt):
                if not turn.repeat:
                    del self._left[at]
                return turn
        return self._script.otherwise

    def _schedule_hearing(self, turn: ScriptedTurn, now_ms: int) -> None:
        item_id, hears = self._last_item, turn.hears
        if item_id is None or hears is None:
            return

        def tell() -> None:
            if hears.fails:
                self._ear.not_transcribed(item_id, "audio_unintelligible", "The audio could not be understood.")
                return
            if hears.parts:
                for piece in pieces(hears.text.split()):
                    self._ear.transcribed_part(item_id, piece)
            self._ear.transcribed(item_id, hears.text)

        self._to_tell.append((now_ms + hears.after_ms, tell))

    # ---- what an answer needs

    def error(self, code: str, message: str) -> None:
        """Send an error event."""
        self._wire.error(code, message)

    def drop(self) -> None:
        """Cut the connection."""
        on_drop = self._on_drop
        self.close()
        self._wire.cut()
        on_drop()

    def stall(self, response_id: str) -> None:
        """Say no more in this answer."""
        self.stopped(response_id)

    def called(self, call_id: str, name: str) -> None:
        """Remember whose output will come."""
        self._names[call_id] = name


def scripted_server(
    script: Script,
    ids: Ids,
    emit: Callable[[bytes], None],
    on_drop: Callable[[], None],
    *,
    now_ms: int,
    wall_s: float,
    attempt: int = 0,
) -> RealtimeServer:
    """A Realtime server that follows the script; `open` it, then feed it. `on_drop`: cut the connection now.

    `attempt` counts the dials from 0, for `when: {attempt: ...}`; `script.refuses(attempt)` is the socket's to ask.
    """
    wire = FaultyWire(emit, ids)
    return RealtimeServer(
        lambda ear: ScriptedBrain(script, ear, wire, on_drop, attempt),
        ids,
        wire.emit,
        now_ms=now_ms,
        wall_s=wall_s,
        model=script.model,
    )


def _plain(turn: ScriptedTurn, text: str) -> ScriptedTurn:
    """A turn that says this text at the pace of that one, and nothing else."""
    return replace(turn, say=text, when=None, hears=None, recording=None, calls=(), faults=NO_FAULTS)


def _inside(value: Json, *keys: str) -> Json:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
