"""What has happened since the last answer, and which turn of the script fits it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.models.scripted.shape import NO_FAULTS, Script, ScriptedTurn, When
from gateway.realtime.owners import spoken_text
from sessions.ports import JsonObject


@dataclass(slots=True)
class Cue:
    """What has happened since the last answer was requested."""

    spoken: bool = False
    images: bool = False
    texts: list[str] = field(default_factory=list)
    outputs: list[tuple[str, str]] = field(default_factory=list)  # the function's name and its output

    def note(self, item: JsonObject, names: Mapping[str, str]) -> None:
        """Note an item of the conversation; `names` has the function's name for each call id."""
        if item.get("type") == "function_call_output":
            self.outputs.append((names.get(str(item["call_id"]), ""), str(item["output"])))
        content = item.get("content")
        if item.get("type") == "message" and item["role"] == "user" and isinstance(content, list):
            self.texts.extend(str(part["text"]) for part in content if part.get("type") == "input_text")
            self.images = self.images or any(part.get("type") == "input_image" for part in content)
            self.spoken = self.spoken or any(part.get("type") == "input_audio" for part in content)

    def fits(self, when: When | None, out_of_band: bool, attempt: int) -> bool:
        """Whether a turn with this condition may answer."""
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


class Prompter:
    """Notes what happens in one session, and finds the turn of the script that answers it."""

    def __init__(self, script: Script, attempt: int) -> None:
        self._script = script
        self._attempt = attempt
        self._left = list(script.turns)
        self._cue = Cue()
        self._names: dict[str, str] = {}  # call id -> the function's name

    def spoke(self) -> None:
        """Note that the caller spoke."""
        self._cue.spoken = True

    def called(self, call_id: str, name: str) -> None:
        """Note a function call: the item with its output has the call id only."""
        self._names[call_id] = name

    def note(self, item: JsonObject) -> None:
        """Note an item that the client has added."""
        if item.get("type") == "function_call" and item.get("call_id") is not None:
            self.called(str(item["call_id"]), str(item["name"]))
        self._cue.note(item, self._names)

    def turn_for(self, request: JsonObject) -> tuple[ScriptedTurn, bool]:
        """The turn that answers a request, and whether it answers speech in the conversation."""
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
            turn = self._take(cue, out_of_band)
        return turn, cue.spoken and not out_of_band

    def _take(self, cue: Cue, out_of_band: bool) -> ScriptedTurn:
        for at, turn in enumerate(self._left):
            if cue.fits(turn.when, out_of_band, self._attempt):
                if not turn.repeat:
                    del self._left[at]
                return turn
        return self._script.otherwise


def _plain(turn: ScriptedTurn, text: str) -> ScriptedTurn:
    """A turn that says this text at the pace of `turn` and does nothing else."""
    return replace(turn, say=text, when=None, hears=None, recording=None, calls=(), faults=NO_FAULTS)
