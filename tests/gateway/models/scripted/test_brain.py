"""Tests for gateway/models/scripted/brain.py and its parts: answers, faults, hearing, voice, speech detection."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest
from support.local.parrot import kinds

from audio.formats import PCM16_8K, PCM16_24K, PCMU_8K, AudioFormat, AudioFrame
from audio.g711 import to_pcm16
from audio.levels import FrameTime, LevelTrack
from audio.wav import write_wav
from gateway.ids import CountingIds
from gateway.models.scripted.brain import scripted_server
from gateway.models.scripted.file import read_script
from gateway.models.scripted.sound import EnergyEar, Heard, word

BY_HAND = {"audio": {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}}


class Talk:
    """A client of a scripted server, with a clock of its own."""

    def __init__(self, yaml: str, folder: Path = Path(), attempt: int = 0, **session: Any) -> None:
        self.now_ms = 0
        self.drops = 0
        self.told: list[tuple[int, dict[str, Any]]] = []
        self.server = scripted_server(
            read_script(yaml, "test.yaml", folder),
            CountingIds(),
            lambda text: self.told.append((self.now_ms, orjson.loads(text))),
            self._dropped,
            now_ms=0,
            wall_s=0.0,
            attempt=attempt,
        )
        self.server.open(0)
        self.send("session.update", session={"type": "realtime", **(session or BY_HAND)})
        self.told.clear()

    def _dropped(self) -> None:
        self.drops += 1

    def send(self, type: str, **fields: Any) -> None:
        self.server.receive(orjson.dumps({"type": type, **fields}), self.now_ms)

    def type_in(self, text: str) -> None:
        self.add({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})

    def add(self, item: dict[str, Any]) -> None:
        self.send("conversation.item.create", item=item)

    def until(self, ms: int) -> None:
        """Let time pass until `ms`, from deadline to deadline."""
        while (due := self.server.deadline_ms) is not None and due <= ms:
            self.now_ms = max(self.now_ms, due)
            self.server.on_time(self.now_ms)
        self.now_ms = ms

    def hear(self, payload: bytes, format: AudioFormat = PCM16_24K) -> None:
        """Say something in real time, 20 ms at a time."""
        step = format.bytes_for_ms(20)
        for begin in range(0, len(payload), step):
            sound = base64.b64encode(payload[begin : begin + step]).decode()
            self.send("input_audio_buffer.append", audio=sound)
            self.until(self.now_ms + 20)

    def ask(self, **response: Any) -> dict[str, Any]:
        """Request an answer, wait for it, and return the response of its end."""
        self.send("response.create", response=response)
        self.until(self.now_ms + 60_000)
        return self.events("response.done")[-1]["response"]  # type: ignore[no-any-return]

    def events(self, type: str) -> list[dict[str, Any]]:
        return [event for _, event in self.told if event["type"] == type]

    def times(self, type: str) -> list[int]:
        return [at for at, event in self.told if event["type"] == type]

    def said(self) -> list[str]:
        """The words of each answer so far."""
        return [event["transcript"] for event in self.events("response.output_audio_transcript.done")]

    def sound(self) -> bytes:
        return b"".join(base64.b64decode(event["delta"]) for event in self.events("response.output_audio.delta"))


def test_turns_are_said_in_order_and_then_the_otherwise_turn() -> None:
    talk = Talk("turns: [{say: One.}, {say: Two.}]\notherwise: {say: 'Pardon?'}")
    for _ in range(4):
        assert talk.ask()["status"] == "completed"
    assert talk.said() == ["One.", "Two.", "Pardon?", "Pardon?"]


def test_a_script_may_say_nothing() -> None:
    assert Talk("").ask()["output"] == []


def test_a_turn_waits_for_its_condition() -> None:
    talk = Talk(
        """
        turns:
          - {when: {tool: find, contains: FREE}, say: There is one.}
          - {when: {tool: find}, say: There is none.}
          - {when: {text: hello}, say: Hi., repeat: true}
          - {when: {image: true}, say: Nice.}
          - {when: {spoken: true}, say: Heard.}
          - {when: {attempt: 1}, say: Again.}
          - {say: Looking., calls: [{name: find, arguments: {people: 2}}]}
        """
    )
    talk.type_in("Well, HELLO there")
    talk.ask()
    talk.ask()
    call = talk.events("response.output_item.done")[-1]["item"]
    assert (call["name"], call["arguments"]) == ("find", '{"people":2}')
    talk.add({"type": "function_call_output", "call_id": call["call_id"], "output": "nothing is left"})
    talk.ask()
    talk.type_in("hello")
    talk.ask()
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    talk.add({"type": "message", "role": "user", "content": [picture]})
    talk.ask()
    talk.add({"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"[:0]}]})
    talk.ask()
    seeded = {"type": "function_call", "name": "find", "arguments": "{}", "call_id": "old"}
    talk.add(seeded)
    talk.add({"type": "function_call_output", "call_id": "old", "output": "one is free"})
    talk.ask()
    assert talk.said() == ["Hi.", "Looking.", "There is none.", "Hi.", "Nice.", "Heard.", "There is one."]
    again = Talk("turns: [{when: {attempt: 1}, say: Again.}, {say: First.}]", attempt=1)
    again.ask()
    assert again.said() == ["Again."]


def test_out_of_band_requests_take_out_of_band_turns_only() -> None:
    talk = Talk("turns: [{say: Aloud.}, {when: {out_of_band: true, text: sum}, say: Beside.}]")
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "sum up"}]}
    done = talk.ask(conversation="none", input=[item], output_modalities=["text"])
    assert done["output"][0]["content"] == [{"type": "output_text", "text": "Beside."}]
    talk.ask()
    assert talk.said() == ["Aloud."]


def test_a_given_text_is_spoken_word_for_word() -> None:
    talk = Talk("turns: [{say: Later.}]")
    talk.ask(pre_generated_assistant_message={"content": [{"type": "text", "text": "Hello, Harbour here."}]})
    talk.ask()
    assert talk.said() == ["Hello, Harbour here.", "Later."]


def test_pace_and_delay() -> None:
    talk = Talk(
        "{ms_per_word: 100, piece_ms: 50, turns: [{say: a b c, pace: real, after_ms: 500}, {say: a b c, pace: 2}]}"
    )
    talk.ask()
    assert talk.times("response.output_audio.delta") == [500, 550, 600, 650, 700, 750]
    assert talk.times("response.output_audio_transcript.delta") == [500, 600, 700]
    assert talk.times("response.done") == [800]
    talk.told.clear()
    start_ms = talk.now_ms
    talk.ask()
    assert [at - start_ms for at in talk.times("response.output_audio.delta")] == [0, 25, 50, 75, 100, 125]


@pytest.mark.parametrize("format", [PCM16_24K, PCM16_8K, PCMU_8K])
def test_the_placeholder_is_audible_from_its_first_to_its_last_word(format: AudioFormat) -> None:
    payload = word(300, format) * 3
    assert payload == word(300, format) * 3
    assert len(payload) == format.bytes_for_ms(900)
    track = LevelTrack(PCM16_24K if format == PCM16_24K else PCM16_8K, FrameTime.BEGIN)
    track.feed(to_pcm16(AudioFrame(payload, format, 0)), 0)
    first, last = track.first_audible_ms(), track.last_audible_ms()
    assert first is not None
    assert last is not None
    assert first <= 20
    assert 800 <= last <= 860


def test_the_sound_is_in_the_sessions_format() -> None:
    session: dict[str, Any] = {
        "audio": {"input": {"turn_detection": None}, "output": {"format": {"type": "audio/pcmu"}}}
    }
    talk = Talk("turns: [{say: One two.}]", **session)
    talk.ask()
    assert talk.sound() == word(300, PCMU_8K) * 2


def test_a_recording_is_sent_unchanged(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", PCM16_24K, [bytes(range(250)) * 40])
    talk = Talk("turns: [{say: One two three., audio: a.wav}, {say: quiet, audio: a.wav, pace: real}]", tmp_path)
    talk.ask()
    assert talk.sound() == bytes(range(250)) * 40
    assert talk.said() == ["One two three."]


def test_what_the_caller_said_comes_before_or_after_the_answer() -> None:
    talk = Talk(
        """
        turns:
          - {hears: Good day., say: Hi.}
          - {hears: {text: And you, after_ms: 700, parts: true}, say: Fine.}
          - {hears: {text: x, fails: true}, say: 'What?'}
        """
    )
    completed = "conversation.item.input_audio_transcription.completed"
    for _ in range(3):
        talk.hear(bytes(4800))
        talk.send("input_audio_buffer.commit")
        talk.ask()
    items = [event["item_id"] for event in talk.events("input_audio_buffer.committed")]
    assert [(e["item_id"], e["transcript"]) for e in talk.events(completed)] == [
        (items[0], "Good day."),
        (items[1], "And you"),
    ]
    assert talk.times(completed)[1] == talk.times("response.done")[1] + 700
    parts = talk.events("conversation.item.input_audio_transcription.delta")
    assert [part["delta"] for part in parts] == ["And", " you"]
    assert len(talk.events("conversation.item.input_audio_transcription.failed")) == 1


SPEECH = word(300, PCM16_24K) * 3


def vad(**detection: Any) -> dict[str, Any]:
    return {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 300, **detection}}}}


def test_a_spoken_turn_is_heard_and_answered() -> None:
    talk = Talk("turns: [{say: Hi.}]", **vad(prefix_padding_ms=100))
    talk.hear(bytes(48 * 500) + SPEECH + bytes(48 * 600))
    (started,), (stopped,) = (talk.events(f"input_audio_buffer.speech_{what}") for what in ("started", "stopped"))
    assert 380 <= started["audio_start_ms"] <= 440
    assert 1600 <= stopped["audio_end_ms"] <= 1720
    assert talk.said() == ["Hi."]
    assert talk.times("response.created") == talk.times("input_audio_buffer.speech_stopped")


def test_speech_interrupts_an_answer_at_a_pace() -> None:
    talk = Talk("turns: [{say: a b c d e f g h i j k, pace: real}, {say: 'Yes?'}]", **vad())
    talk.send("response.create")
    talk.hear(bytes(48 * 1000) + SPEECH + bytes(48 * 500))
    first, second = talk.events("response.done")
    assert first["response"]["status_details"]["reason"] == "turn_detected"
    assert talk.times("response.done")[0] == talk.times("input_audio_buffer.speech_started")[0]
    assert second["response"]["status"] == "completed"


def test_the_session_may_forbid_answers_and_interruptions() -> None:
    talk = Talk(
        "turns: [{say: a b c d e f g h i j k, pace: real}]", **vad(interrupt_response=False, create_response=False)
    )
    talk.send("response.create")
    talk.hear(SPEECH + bytes(48 * 5000))
    assert len(talk.events("input_audio_buffer.speech_stopped")) == 1
    (done,) = talk.events("response.done")
    assert done["response"]["status"] == "completed"


def test_speech_is_not_detected_while_turns_are_committed_by_hand() -> None:
    talk = Talk("turns: [{say: Hi.}]")
    talk.hear(SPEECH + bytes(48 * 1000))
    assert kinds([event for _, event in talk.told]) == []


def test_cleared_sound_ends_speech() -> None:
    talk = Talk("turns: [{say: Hi.}]", **vad())
    talk.hear(SPEECH)
    talk.send("input_audio_buffer.clear")
    talk.hear(bytes(48 * 1000))
    assert talk.events("input_audio_buffer.speech_stopped") == []
    talk.hear(SPEECH)
    talk.send("session.update", session={"type": "realtime", **BY_HAND})
    talk.hear(bytes(48 * 1000))
    assert talk.events("input_audio_buffer.speech_stopped") == []


def test_speech_is_detected_in_g711_too() -> None:
    ear = EnergyEar(400)
    payload = word(300, PCMU_8K) * 3 + b"\xff" * 8000
    notices = [
        notice
        for begin in range(0, len(payload), 133)
        for notice in ear.feed(AudioFrame(payload[begin : begin + 133], PCMU_8K, begin))
    ]
    assert [notice.what for notice in notices] == [Heard.STARTED, Heard.STOPPED]


# ---- faults

LONG = "{ms_per_word: 100, turns: [{say: a b c d e f g h i j, pace: real, fault: %s}, {say: Next.}]}"


def test_a_drop_cuts_the_answer_and_everything_after_it() -> None:
    talk = Talk(LONG % "{drop: 500}")
    talk.send("response.create")
    talk.until(5000)
    assert talk.drops == 1
    assert len(talk.sound()) == 500 * 48
    assert talk.events("response.done") == []
    talk.send("response.cancel")
    assert talk.events("response.done") == []


def test_a_stalled_answer_ends_only_when_it_is_cancelled() -> None:
    talk = Talk(LONG % "{stall: 300}")
    talk.send("response.create")
    talk.until(60_000)
    assert len(talk.sound()) == 300 * 48
    talk.send("response.cancel")
    assert talk.events("response.done")[0]["response"]["status"] == "cancelled"


def test_an_answer_may_fail_or_be_cut_at_a_limit() -> None:
    failed = Talk(LONG % "{fail: {code: broken, after_ms: 200}}").ask()
    assert failed["status_details"]["error"]["code"] == "broken"
    assert Talk(LONG % "{incomplete: 200}").ask()["status_details"]["reason"] == "max_output_tokens"
    assert Talk("turns: [{say: a, fault: {incomplete: 9000}}]").ask()["status"] == "incomplete"


def test_an_error_event_leaves_the_answer_alone() -> None:
    talk = Talk(LONG % "{error: {code: odd, message: Hm., after_ms: 300}}")
    assert talk.ask()["status"] == "completed"
    (error,) = talk.events("error")
    assert (error["error"]["code"], error["error"]["type"]) == ("odd", "server_error")
    assert talk.times("error") == [300]


def test_events_can_be_duplicated_reordered_and_lost() -> None:
    doubled = Talk(LONG % "{duplicate: response.output_audio.delta}")
    doubled.ask()
    deltas = doubled.events("response.output_audio.delta")
    assert len(deltas) == 11
    assert deltas[0] == deltas[1]
    swapped = Talk(LONG % "{reorder: response.output_audio.done}")
    swapped.ask()
    order = kinds([event for _, event in swapped.told])
    assert order.index("response.output_audio.done") == order.index("response.output_audio_transcript.done") + 1
    lost = Talk(LONG % "{lose: response.done}")
    lost.send("response.create")
    lost.until(5000)
    assert lost.events("response.done") == []
    assert lost.events("response.output_item.done")
    assert lost.ask()["output"][0]["content"][0]["transcript"] == "Next."


def test_sound_may_come_after_the_cancel() -> None:
    talk = Talk(LONG % "{late_audio: 3}")
    talk.send("response.create")
    talk.until(250)
    talk.send("response.cancel")
    order = kinds([event for _, event in talk.told])
    assert order[-4:] == ["response.done", *["response.output_audio.delta"] * 3]
    ids = [event["event_id"] for _, event in talk.told]
    assert len(set(ids)) == len(ids)


def test_the_end_of_a_response_may_come_late() -> None:
    talk = Talk(LONG % "{done_late_ms: 2000}")
    talk.ask()
    assert talk.times("response.done") == [talk.times("response.output_item.done")[0] + 2000]


def test_dials_are_refused_by_their_number() -> None:
    script = read_script("refuse: [429, null, 503]", "x.yaml", Path())
    assert [script.refuses(attempt) for attempt in range(4)] == [429, None, 503, None]
