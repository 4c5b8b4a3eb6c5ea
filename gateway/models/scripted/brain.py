"""The scripted model: a deterministic brain that follows a script, for tests, benchmarks and demonstrations.

```yaml
model: front-desk            # the name that the session shows; by default the file's name
pace: fast                   # fast (all at once), real, or a factor of real time
after_ms: 0                  # from the request to the first sound
ms_per_word: 300             # the placeholder voice's time for a word; a recording has its own duration
piece_ms: 100                # the sound in one delta
voice_gate: 400              # the caller speaks above this root mean square of 16-bit samples
usage: {input_audio: 50, output_audio: 80, output_text: 20}
refuse: [429, null]          # the first dial is refused; the second and all later ones are accepted
turns:                       # the first unused turn that fits answers
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
from gateway.models.scripted.answer import Answer, Stage
from gateway.models.scripted.cue import Prompter
from gateway.models.scripted.faults import FaultyWire
from gateway.models.scripted.hearing import ScriptedHearing
from gateway.models.scripted.shape import Script
from gateway.realtime.server.brain import OpenResponse, TurnEvents
from gateway.realtime.server.server import RealtimeServer
from sessions.ports import Ids, JsonObject


def _stay() -> None:
    """Do nothing: a connection that is closed cannot be cut."""


class ScriptedBrain:
    """Answers one session's requests with the turns of a script."""

    def __init__(
        self, script: Script, ear: TurnEvents, wire: FaultyWire, on_drop: Callable[[], None], attempt: int
    ) -> None:
        self._script = script
        self._wire = wire
        self._on_drop = on_drop
        self._prompter = Prompter(script, attempt)
        self._hearing = ScriptedHearing(ear, script.voice_gate, self._prompter.spoke)
        self._answers: dict[str, Answer] = {}

    # ---- hearing

    def configured(self, session: JsonObject) -> None:
        """Take over the session's turn detection; nothing else in the session matters here."""
        self._hearing.configure(session)

    def heard(self, frame: AudioFrame, now_ms: int) -> None:
        """Listen to a frame of the caller's sound."""
        self._wire.now_ms = now_ms
        self._hearing.heard(frame)

    def committed(self, item_id: str, now_ms: int) -> None:
        """Note that the client has committed a turn by hand."""
        self._hearing.committed(item_id)

    def cleared(self) -> None:
        """Forget the sound that the client has cleared."""
        self._hearing.cleared()

    def item_added(self, item: JsonObject, now_ms: int) -> None:
        """Note an item that the client has added: text, or a function's output."""
        self._prompter.note(item)

    def item_truncated(self, item_id: str, audio_end_ms: int) -> None:
        """Do nothing: what the script says next does not depend on what was heard."""

    # ---- answering

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        """Find the turn that fits the request, and begin its answer."""
        turn, spoken = self._prompter.turn_for(request)
        self._wire.now_ms = now_ms
        self._wire.arm(response.id, turn.faults)
        if spoken and turn.hears is not None:
            self._hearing.transcribe_later(turn.hears, now_ms)
        # The brain does not keep the stage: that would be a reference cycle, freed only by the garbage collector.
        stage = Stage(error=self._wire.error, drop=self._drop, stall=self.stopped, called=self._prompter.called)
        self._answers[response.id] = Answer(self._script, turn, response, stage, now_ms + turn.after_ms)
        self.on_time(now_ms)

    def stopped(self, response_id: str) -> None:
        """Drop an answer that was cancelled or that stalls."""
        self._answers.pop(response_id, None)

    @property
    def deadline_ms(self) -> int | None:
        """When the next step of an answer, the next transcript or the next delayed message is due."""
        times = [answer.due_ms for answer in self._answers.values()]
        times += [self._hearing.deadline_ms, self._wire.deadline_ms]
        return min((due for due in times if due is not None), default=None)

    def on_time(self, now_ms: int) -> None:
        """Do everything that is due."""
        self._wire.on_time(now_ms)
        self._hearing.on_time(now_ms)
        for response_id, answer in list(self._answers.items()):
            while response_id in self._answers and answer.due_ms is not None and answer.due_ms <= now_ms:
                answer.step()
            if answer.due_ms is None:
                self._answers.pop(response_id, None)

    def close(self) -> None:
        """End the session."""
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
    """Make a Realtime server that follows the script. `on_drop` is called when the connection has to be cut.

    `attempt` counts the dials from 0, for `when: {attempt: ...}`. The caller asks `script.refuses(attempt)` itself.
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
