"""The embedded model behind a `RealtimeServer`: listens, has a mind think of answers, and speaks them.

Everything of its own is synchronous and inline, so that a call on it can be replayed in virtual time. What comes from
elsewhere (an endpoint) is looked for every 20 ms while it is awaited. While sound waits to be heard the brain is
`behind`, and nothing but the time and a cancelled answer is to reach it: `server.py` sees to that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audio.formats import PCM16_24K, AudioFrame
from gateway.models.local.backlog import SLOT_MS, Pace, Roster
from gateway.models.local.ears import Ears, Listener
from gateway.models.local.mind import Input, Mind, Picture, Spoken, Thought, ToolOutput, Typed
from gateway.models.local.mind import Ready as ReadyThought
from gateway.models.local.speaking import POLL_MS, Answer, Mouth
from gateway.realtime.brain import Ear, OpenResponse
from gateway.realtime.owners import spoken_text
from gateway.realtime.wire_formats import FORMATS
from sessions.ports import Json, JsonObject

MOST_WAITING = 200  # inputs of a client that never asks for an answer; the oldest go


class LocalBrain:
    """One caller's partner."""

    def __init__(self, ear: Ear, listener: Listener, mind: Mind, mouth: Mouth, roster: Roster) -> None:
        """`roster` is shared with the other calls of the process."""
        self._mind = mind
        self._roster = roster
        self._pace = Pace(PCM16_24K)
        self._slot_ms: int | None = None  # when to go on hearing what waits
        self._heard_some = False  # of it; what comes of that is done in a step of its own, as it may be as much work
        self._mouth = mouth
        self._ears = Ears(ear, listener, self._inputs_add, lambda: mind.expects)
        self._inputs: list[Input] = []  # not answered yet
        self._asked: list[tuple[OpenResponse, JsonObject]] = []  # for an answer, which waits for the ears
        self._answers: dict[str, Answer] = {}
        self._now_ms = 0

    # ---- what the server tells

    def configured(self, session: JsonObject) -> None:
        """The session's formats, turn detection, instructions and tools."""
        self._hear_all()
        given = _at(session, "audio", "input")
        format = _at(given, "format", "type")
        detection = _at(given, "turn_detection")
        sound = FORMATS.get(format, PCM16_24K) if isinstance(format, str) else PCM16_24K
        self._pace = Pace(sound)
        self._ears.configure(sound, detection if isinstance(detection, Mapping) else None)
        self._mind.configured(session)

    def heard(self, frame: AudioFrame, now_ms: int) -> None:
        """Sound of the caller. Of more than comes in time, most is heard in `on_time`."""
        self._now_ms = now_ms
        if self._pace.allows(len(frame.payload), now_ms) and not self._ears.behind:
            self._ears.heard(frame)
        else:
            self._ears.heard_later(frame)
            self._book()
        self._go_on()

    def missed(self, frame: AudioFrame) -> None:
        """Sound that the caller took back before it was heard."""
        self._ears.missed(frame)

    def committed(self, item_id: str, now_ms: int) -> None:
        """The caller ended the turn by hand."""
        self._now_ms = now_ms
        self._hear_all()
        self._ears.committed(item_id)

    def cleared(self) -> None:
        """The caller took back what was not committed, heard or not."""
        self._ears.cleared()
        self._book()

    def item_added(self, item: JsonObject, now_ms: int) -> None:
        """Something typed, a picture, recorded sound, a tool's result, or history."""
        self._now_ms = now_ms
        match item:
            case {"type": "function_call_output", "call_id": str(call_id), "output": str(output)}:
                self._inputs_add(ToolOutput(call_id, output))
            case {"type": "function_call", "call_id": str(call_id), "name": str(name), "arguments": str(arguments)}:
                self._settle_past("")
                self._mind.past_call(call_id, name, arguments)
            case {"type": "message", "role": "user", "content": [*parts]}:
                for part in parts:
                    self._take_part(part, str(item.get("id")))
            case {"type": "message", "role": "assistant", "content": [*parts]}:
                self._settle_past(" ".join(filter(None, map(_words, parts))))

    def item_truncated(self, item_id: str, audio_end_ms: int) -> None:
        """What was not heard changes nothing in what was meant."""

    def respond(self, response: OpenResponse, request: JsonObject, now_ms: int) -> None:
        """Answer what has come since the last answer, or say what is given."""
        self._now_ms = now_ms
        given = request.get("pre_generated_assistant_message")
        own_input = request.get("input")
        if isinstance(given, Mapping):
            text = spoken_text(given)
            if request.get("conversation") != "none":
                self._mind.said(text)
            self._begin(response, ReadyThought(text, None))
        elif request.get("conversation") == "none" or isinstance(own_input, list):
            entries = own_input if isinstance(own_input, list) else []
            self._begin(response, self._mind.answer_apart(_inputs_of(entries)))
        else:
            self._asked.append((response, request))
        self._go_on()

    def stopped(self, response_id: str) -> None:
        """The answer was cut: the rest of it is never made."""
        self._asked = [(response, request) for response, request in self._asked if response.id != response_id]
        answer = self._answers.pop(response_id, None)
        if answer is not None:
            answer.drop()

    @property
    def behind(self) -> bool:
        """Whether sound waits to be heard. What comes then must be held back."""
        return self._ears.behind

    @property
    def behind_with_item(self) -> bool:
        """Whether a recording is among it, which is not the client's to take back."""
        return self._ears.behind_with_item

    @property
    def deadline_ms(self) -> int | None:
        """When to go on hearing or speaking, or to look for what is awaited."""
        times = [answer.due_ms(self._now_ms) for answer in self._answers.values()]
        if self._ears.busy:
            times.append(self._now_ms + (SLOT_MS if self._ears.by_work else POLL_MS))
        if self._heard_some:
            times.append(self._now_ms)
        if self._slot_ms is not None:
            times.append(self._slot_ms)
        return min(times, default=None)

    def on_time(self, now_ms: int) -> None:
        """Go on."""
        self._now_ms = now_ms
        if self._slot_ms is None or now_ms < self._slot_ms or self._heard_some:
            self._heard_some = False
            self._go_on()
            return
        self._slot_ms = None
        if self._roster.begin(now_ms):
            self._ears.catch_up()
            self._heard_some = True
        self._book()

    def close(self) -> None:
        """The call is over."""
        self._ears.close()
        self._slot_ms = None
        self._heard_some = False
        for answer in self._answers.values():
            answer.drop()
        self._answers.clear()
        self._asked.clear()

    # ---- what came from the caller

    def _inputs_add(self, entry: Input) -> None:
        self._inputs.append(entry)
        del self._inputs[:-MOST_WAITING]

    def _take_part(self, part: Json, item_id: str) -> None:
        match part:
            case {"type": "input_image", "image_url": str(url)}:
                self._inputs_add(Picture(url))
            case {"type": "input_audio", "transcript": str(text)} if text:
                self._inputs_add(Typed(text))
            case {"type": "input_audio", "audio": str(sound)}:
                self._ears.recorded(item_id, sound)
                self._book()
            case _ if _words(part):
                self._inputs_add(Typed(_words(part)))

    def _book(self) -> None:
        if not self._ears.behind:
            self._slot_ms = None
        elif self._slot_ms is None:
            self._slot_ms = self._roster.book(self._now_ms)

    def _hear_all(self) -> None:
        """For whoever does not hold back what depends on sound that waits."""
        while self._ears.behind:
            self._ears.catch_up()
        self._slot_ms = None

    def _settle_past(self, agent_text: str) -> None:
        """What lies before an item of the agent's own was answered by it."""
        inputs, self._inputs = self._inputs, []
        self._mind.past(inputs, agent_text)

    # ---- answering

    def _go_on(self) -> None:
        if self._ears.busy:
            self._ears.work()
        if self._ears.telling:  # the transcript goes out before the answer to it
            return
        settled = all(entry.settled for entry in self._inputs if isinstance(entry, Spoken))
        if self._asked and settled:
            asked, self._asked = self._asked, []
            for response, _ in asked:
                inputs, self._inputs = self._inputs, []
                self._begin(response, self._mind.answer(inputs))
        for response_id, answer in list(self._answers.items()):
            calls = answer.go_on(self._now_ms)
            if calls is None or self._answers.get(response_id) is not answer:
                continue
            del self._answers[response_id]
            for call in calls:
                self._mind.called(answer.response.call_tool(call.tool, call.arguments), call)
            answer.response.finish()

    def _begin(self, response: OpenResponse, thought: Thought) -> None:
        self._answers[response.id] = Answer(response, thought, self._mouth, self._now_ms)


def _inputs_of(entries: Sequence[Json]) -> list[Input]:
    """The typed words and pictures among a request's own items."""
    inputs: list[Input] = []
    for entry in entries:
        parts = _at(entry, "content")
        for part in parts if isinstance(parts, list) and _at(entry, "role") == "user" else ():
            match part:
                case {"type": "input_image", "image_url": str(url)}:
                    inputs.append(Picture(url))
                case _ if _words(part):
                    inputs.append(Typed(_words(part)))
    return inputs


def _words(part: Json) -> str:
    text = _at(part, "text") or _at(part, "transcript")
    return text.strip() if isinstance(text, str) else ""


def _at(value: Json, *keys: str) -> Json:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
