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

from collections.abc import Callable

from audio.formats import AudioFrame
from gateway.models.scripted_answer import Answer, Stage
from gateway.models.scripted_cue import Prompter
from gateway.models.scripted_faults import FaultyWire
from gateway.models.scripted_hearing import ScriptedHearing
from gateway.models.scripted_shape import Script
from gateway.realtime.brain import Ear, OpenResponse
from gateway.realtime.server import RealtimeServer
from sessions.ports import Ids, JsonObject


def _stay() -> None:
    """A connection that is closed cannot be cut."""


class ScriptedBrain:
    """Answers by the script."""

    def __init__(self, script: Script, ear: Ear, wire: FaultyWire, on_drop: Callable[[], None], attempt: int) -> None:
        self._script = script
        self._wire = wire
        self._on_drop = on_drop
        self._prompter = Prompter(script, attempt)
        self._hearing = ScriptedHearing(ear, script.voice_gate, self._prompter.spoke)
        self._answers: dict[str, Answer] = {}

    # ---- hearing

    def configured(self, session: JsonObject) -> None:
        """The session's way to find turns is all that matters here."""
        self._hearing.configure(session)

    def heard(self, frame: AudioFrame, now_ms: int) -> None:
        """The caller's sound."""
        self._wire.now_ms = now_ms
        self._hearing.heard(frame)

    def committed(self, item_id: str, now_ms: int) -> None:
        """A turn by hand."""
        self._hearing.committed(item_id)

    def cleared(self) -> None:
        """The sound was taken back."""
        self._hearing.cleared()

    def item_added(self, item: JsonObject, now_ms: int) -> None:
        """Text, or a function's output."""
        self._prompter.note(item)

    def item_truncated(self, item_id: str, audio_end_ms: int) -> None:
        """The script knows what it says next without it."""

    # ---- answering

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        """Find the turn that fits, and begin it."""
        turn, spoken = self._prompter.turn_for(request)
        self._wire.now_ms = now_ms
        self._wire.arm(response.id, turn.faults)
        if spoken and turn.hears is not None:
            self._hearing.tell_later(turn.hears, now_ms)
        # Not kept: with a stage of its own the brain would go with the next collection of garbage only.
        stage = Stage(error=self._wire.error, drop=self._drop, stall=self.stopped, called=self._prompter.called)
        self._answers[response.id] = Answer(self._script, turn, response, stage, now_ms + turn.after_ms)
        self.on_time(now_ms)

    def stopped(self, response_id: str) -> None:
        """Nobody listens to that answer any more."""
        self._answers.pop(response_id, None)

    @property
    def deadline_ms(self) -> int | None:
        """The nearest step of any answer, word to tell, or message held back."""
        times = [answer.due_ms for answer in self._answers.values()]
        times += [self._hearing.deadline_ms, self._wire.deadline_ms]
        return min((due for due in times if due is not None), default=None)

    def on_time(self, now_ms: int) -> None:
        """Do all that is due."""
        self._wire.on_time(now_ms)
        self._hearing.on_time(now_ms)
        for response_id, answer in list(self._answers.items()):
            while response_id in self._answers and answer.due_ms is not None and answer.due_ms <= now_ms:
                answer.step()
            if answer.due_ms is None:
                self._answers.pop(response_id, None)

    def close(self) -> None:
        """The session is over."""
        self._answers.clear()
        self._hearing.close()
        self._on_drop = _stay

    def _drop(self) -> None:
        on_drop = self._on_drop
        self.close()
        self._wire.cut()
        on_drop()


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
